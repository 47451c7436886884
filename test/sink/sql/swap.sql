-- Swaps: a table gets new contents and stays what it was.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS loader_sink_test;
CREATE EXTENSION amcheck;
CREATE EXTENSION pg_visibility;
CREATE SCHEMA loader_swap;
CREATE SCHEMA test;
CREATE ROLE regress_swap_reader;
GRANT USAGE ON SCHEMA test TO regress_swap_reader;
SET search_path = test, public;

-- All that a table is, but for its contents: a line for each thing. OIDs are in it, it is not shown.
CREATE FUNCTION shape(t regclass) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('class %s %s %s %s %s %s %s %s', oid, relname, relnamespace, reltype, relowner,
		relacl, reloptions, relreplident)
		|| format(' %s %s %s %s %s', relam, reltablespace, relrowsecurity, relrewrite, relpersistence)
	FROM pg_class WHERE oid = t
	UNION ALL
	SELECT format('toast %s %s %s %s', x.relname = 'pg_toast_' || t::oid, i.relname = 'pg_toast_' || t::oid
		|| '_index', x.reloptions, x.relrewrite)
	FROM pg_class c JOIN pg_class x ON x.oid = c.reltoastrelid JOIN pg_index ON indrelid = x.oid
		JOIN pg_class i ON i.oid = indexrelid
	WHERE c.oid = t
	UNION ALL
	SELECT format('column %s %s %s %s %s %s', attnum, attname, atttypid, attstorage, attcompression,
		attstattarget)
		|| format(' %s %s %s %s %s %s', attoptions, attacl, attnotnull, atthasdef, attidentity, attgenerated)
	FROM pg_attribute WHERE attrelid = t
	UNION ALL
	SELECT format('index %s %s %s %s %s', indexrelid, pg_get_indexdef(indexrelid), reloptions, reltablespace,
		pg_index.*::text)
	FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indrelid = t
	UNION ALL
	SELECT format('index column %s %s %s %s', attrelid, attnum, attstattarget, attoptions)
	FROM pg_index JOIN pg_attribute ON attrelid = indexrelid WHERE indrelid = t
	UNION ALL
	SELECT format('constraint %s %s %s', oid, conname, pg_get_constraintdef(oid))
	FROM pg_constraint WHERE conrelid = t
	UNION ALL
	SELECT format('default %s %s', adnum, pg_get_expr(adbin, adrelid)) FROM pg_attrdef WHERE adrelid = t
	UNION ALL
	SELECT format('policy %s', p.*) FROM pg_policy p WHERE polrelid = t
	UNION ALL
	SELECT format('rule %s', oid) FROM pg_rewrite WHERE ev_class = t
	UNION ALL
	SELECT format('trigger %s %s', tgname, tgenabled) FROM pg_trigger WHERE tgrelid = t
	UNION ALL
	SELECT format('comment %s %s', objsubid, description) FROM pg_description WHERE objoid = t
	UNION ALL
	SELECT format('statistics %s', pg_get_statisticsobjdef(oid)) FROM pg_statistic_ext WHERE stxrelid = t
	UNION ALL
	SELECT format('depends %s %s %s %s %s %s', classid, CASE WHEN toast THEN 0::oid ELSE objid END, objsubid,
		refobjid, refobjsubid, deptype)
	FROM pg_depend, LATERAL (SELECT EXISTS (SELECT FROM pg_class WHERE reltoastrelid = objid)) AS x(toast)
	WHERE refclassid = 'pg_class'::regclass AND refobjid = t
$$;
CREATE TABLE before (line text);
-- What has changed since.
CREATE FUNCTION changed(t regclass) RETURNS TABLE (what text, line text) LANGUAGE sql AS $$
	(SELECT 'lost', b.line FROM before b EXCEPT ALL SELECT 'lost', shape(t))
	UNION ALL
	(SELECT 'new', shape(t) EXCEPT ALL SELECT 'new', b.line FROM before b)
$$;
-- Is it sound, inside? Problems of the heap are returned, those of B-trees raised.
CREATE FUNCTION check_all(t regclass) RETURNS TABLE (problem text) LANGUAGE plpgsql AS $$
DECLARE
	index regclass;
BEGIN
	FOR index IN SELECT indexrelid FROM pg_index JOIN pg_class ON oid = indexrelid
		WHERE relam = (SELECT oid FROM pg_am WHERE amname = 'btree')
			AND indrelid IN (t, (SELECT reltoastrelid FROM pg_class WHERE oid = t))
	LOOP
		PERFORM bt_index_parent_check(index, true, true);
	END LOOP;
	RETURN QUERY SELECT msg FROM verify_heapam(t);
	RETURN QUERY SELECT 'not visible: ' || t_ctid FROM pg_check_visible(t);
	RETURN QUERY SELECT 'not frozen: ' || t_ctid FROM pg_check_frozen(t);
	RETURN QUERY SELECT 'pages not frozen' FROM pg_visibility_map_summary(t)
		WHERE all_frozen <> pg_relation_size(t) / current_setting('block_size')::int;
END $$;
-- All of a swap but for making the heap; the locks end in between, as they do in a worker.
CREATE PROCEDURE swap(t regclass, heap oid, fingerprint bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM swap_exchange(t, heap, fingerprint);
	COMMIT;
	PERFORM swap_report(t);
END $$;

-- What a statement raises; its detail where that does not hold times.
CREATE FUNCTION error_of(statement text) RETURNS TABLE (state text, message text, detail text, at text)
LANGUAGE plpgsql AS $$
DECLARE
	s text; t text; c text;
BEGIN
	EXECUTE statement;
	state := '00000';
	RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		s = SCHEMA_NAME, t = TABLE_NAME, c = CONSTRAINT_NAME;
	IF detail ~ 'Failing row' THEN detail := NULL; END IF;
	at := concat_ws('.', nullif(s, ''), nullif(t, ''), nullif(c, ''));
	RETURN NEXT;
END $$;

-- A table with about everything.
CREATE DOMAIN positive AS int NOT NULL CHECK (value > 0);
CREATE TABLE full_house (
	gone_first int,
	id bigint NOT NULL,
	name text COLLATE "C" NOT NULL,
	amount numeric(12,2) CHECK (amount >= 0),
	doc jsonb,
	gone text,
	span int4range,
	slot int UNIQUE DEFERRABLE INITIALLY DEFERRED,
	tags text[],
	twice bigint GENERATED ALWAYS AS (id * 2) STORED,
	seq int GENERATED BY DEFAULT AS IDENTITY,
	ser serial,
	pos positive DEFAULT 1,
	at timestamptz DEFAULT now(),
	PRIMARY KEY (id) INCLUDE (amount),
	EXCLUDE USING gist (span WITH &&)
) WITH (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
ALTER TABLE full_house DROP COLUMN gone_first, DROP COLUMN gone;
INSERT INTO full_house (id, name, amount, slot) SELECT i, 'old ' || i, i, i FROM generate_series(1, 100) i;
ALTER TABLE full_house ADD COLUMN later text DEFAULT 'added later' NOT NULL;
SELECT count(*) AS has_missing FROM pg_attribute WHERE attrelid = 'full_house'::regclass AND atthasmissing;
CREATE INDEX full_house_lower ON full_house (lower(left(name, 30)) text_pattern_ops, id DESC NULLS LAST);
CREATE INDEX full_house_partial ON full_house (amount) WITH (fillfactor = 55) WHERE amount > 10 AND name <> 'x';
CREATE INDEX full_house_doc ON full_house USING gin (doc jsonb_path_ops) WITH (fastupdate = off);
CREATE INDEX full_house_hash ON full_house USING hash (id);
CREATE INDEX full_house_brin ON full_house USING brin (at) WITH (pages_per_range = 4);
CREATE INDEX full_house_ts ON full_house USING gist (to_tsvector('simple', left(name, 30)) tsvector_ops (siglen = 100));
CREATE INDEX full_house_same_1 ON full_house (pos);
CREATE INDEX full_house_same_2 ON full_house (pos);
CREATE UNIQUE INDEX full_house_ident ON full_house (id);
ALTER INDEX full_house_lower ALTER COLUMN 1 SET STATISTICS 7;
ALTER TABLE full_house REPLICA IDENTITY USING INDEX full_house_ident;
ALTER TABLE full_house CLUSTER ON full_house_ident;
ALTER TABLE full_house ALTER COLUMN name SET STATISTICS 13;
ALTER TABLE full_house ALTER COLUMN doc SET STATISTICS 0;
ALTER TABLE full_house ALTER COLUMN amount SET (n_distinct = -0.25);
ALTER TABLE full_house ALTER COLUMN name SET STORAGE EXTERNAL;
ALTER TABLE full_house ALTER COLUMN later SET COMPRESSION pglz;
COMMENT ON TABLE full_house IS 'a table';
COMMENT ON COLUMN full_house.name IS 'a column';
COMMENT ON INDEX full_house_partial IS 'an index';
GRANT SELECT ON full_house TO regress_swap_reader;
GRANT UPDATE (name) ON full_house TO regress_swap_reader;
ALTER TABLE full_house ENABLE ROW LEVEL SECURITY;
CREATE POLICY some_rows ON full_house FOR SELECT TO regress_swap_reader USING (id < 3);
CREATE STATISTICS full_house_stats (ndistinct, dependencies) ON name, amount FROM full_house;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE TRIGGER on_update BEFORE UPDATE ON full_house FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE VIEW a_view AS SELECT id, name, twice FROM full_house WHERE id <= 2;
CREATE MATERIALIZED VIEW a_matview AS SELECT count(*) AS n, min(name) AS first FROM full_house;
CREATE FUNCTION a_function() RETURNS SETOF full_house LANGUAGE sql STABLE AS
	$$ SELECT * FROM full_house WHERE id = 1 $$;
PREPARE by_id(bigint) AS SELECT id, left(name, 5) AS name, later FROM full_house WHERE id = $1;
PREPARE by_name AS SELECT count(*) FROM full_house WHERE lower(left(name, 30)) ~>=~ 'new';
SET plan_cache_mode = force_generic_plan;
EXECUTE by_id(1);
EXECUTE by_name;
ANALYZE full_house;

SELECT * FROM swap_choose('full_house');
INSERT INTO before SELECT shape('full_house');
SELECT oid AS toast FROM pg_class WHERE oid = (SELECT reltoastrelid FROM pg_class
	WHERE oid = 'full_house'::regclass) \gset
SELECT * FROM swap_make('full_house', '{id, name, amount, doc, span, slot, tags}',
	$$ SELECT i, 'new ' || repeat(md5(i::text), 200), 1.5 * i, jsonb_build_object('k', i % 10),
		int4range(i::int * 10, i::int * 10 + 5), i::int, ARRAY['x', 'y' || i]
		FROM generate_series(1, 50::bigint) i $$,
	$$ SELECT i, 'newer ' || i, 1.5 * i, NULL::jsonb, int4range(i::int * 10, i::int * 10 + 5), i::int,
		NULL::text[] FROM generate_series(51, 2000::bigint) i $$) \gset
-- Nobody sees anything of it yet.
SELECT * FROM changed('full_house');
EXECUTE by_id(1);
SELECT swap_heaps();
SELECT relname = format('swap_1_%s', 'full_house'::regclass::oid) AS name, relnamespace::regnamespace,
	reloptions, reltuples, relallvisible > 0 AS visible FROM pg_class WHERE oid = :heap;

CALL swap('full_house', :heap, :fingerprint);
SELECT * FROM changed('full_house');
SELECT * FROM check_all('full_house');
SELECT swap_heaps();
-- The old TOAST table is gone with the rest of the old contents.
SELECT count(*) FROM pg_class WHERE oid IN (:toast, :heap);
SELECT count(*), sum(id), sum(twice), sum(amount), min(later), count(doc), count(DISTINCT seq) AS seqs,
	count(DISTINCT ser) AS sers, sum(pos), count(at) FROM full_house;
SELECT id, length(name), right(name, 32) = md5(id::text) AS same FROM full_house WHERE id IN (1, 50);
EXECUTE by_id(2);
EXECUTE by_name;
SELECT id, left(name, 5), twice FROM a_view;
SELECT id, later FROM a_function();
REFRESH MATERIALIZED VIEW a_matview;
SELECT n, left(first, 5) FROM a_matview;
SELECT reltuples, relallvisible = relpages AS all_visible FROM pg_class WHERE oid = 'full_house'::regclass;
SELECT relname, reltuples FROM pg_class JOIN pg_index ON indexrelid = oid
	WHERE indrelid = 'full_house'::regclass AND relname ~ 'partial|pkey' ORDER BY 1;
SELECT attname, null_frac > 0.9 AS mostly_null, round(n_distinct::numeric, 3) AS n_distinct,
	array_length(most_common_vals::text::text[], 1) AS common, array_length(histogram_bounds::text::text[], 1) AS bounds
	FROM pg_stats WHERE tablename = 'full_house' AND attname IN ('name', 'doc', 'amount', 'tags') ORDER BY 1;
SELECT tablename, attname, array_length(histogram_bounds::text::text[], 1) AS bounds
	FROM pg_stats WHERE tablename IN ('full_house_lower') ORDER BY 2;
SELECT count(*) AS extended FROM pg_stats_ext WHERE statistics_name = 'full_house_stats';
SELECT count(*) FROM pg_statistic WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = starelid);
SELECT count(*) AS has_missing FROM pg_attribute WHERE attrelid = 'full_house'::regclass AND atthasmissing;

-- Each index finds what it should.
SET enable_seqscan = off;
SET enable_bitmapscan = on;
SELECT id FROM full_house WHERE doc @> '{"k": 7}' ORDER BY 1;
SELECT id FROM full_house WHERE span && int4range(100, 111) ORDER BY 1;
SELECT count(*) FROM full_house WHERE amount > 2990 AND name <> 'x';
SELECT count(*) FROM full_house WHERE at <= now();
SELECT count(*) FROM full_house WHERE to_tsvector('simple', left(name, 30)) @@ to_tsquery('simple', 'newer & 77');
RESET enable_seqscan;

-- Constraints hold, and what can be deferred can be.
\x on
SELECT * FROM error_of($$INSERT INTO full_house (id, name) VALUES (5, 'x')$$);
SELECT * FROM error_of($$INSERT INTO full_house (id, name, amount) VALUES (3000, 'x', -1)$$);
SELECT * FROM error_of($$INSERT INTO full_house (id, name, span) VALUES (3000, 'x', int4range(12, 13))$$);
\x off
BEGIN;
INSERT INTO full_house (id, name, slot) VALUES (3000, 'x', 5);
UPDATE full_house SET slot = 3000 WHERE id = 5;
COMMIT;
INSERT INTO full_house (id, name) VALUES (3001, repeat('long', 3000)) RETURNING id, twice, later;
UPDATE full_house SET name = name || '!' WHERE id = 1;
DELETE FROM full_house WHERE id = 2;
SET ROLE regress_swap_reader;
SELECT id, right(name, 1) FROM test.full_house ORDER BY 1;
RESET ROLE;

-- Whatever else rewrites it works on it, and it can be swapped again and again.
SELECT count(*) FROM changed('full_house');
VACUUM full_house;
VACUUM (FULL) full_house;
CLUSTER full_house;
REINDEX TABLE full_house;
SET client_min_messages = error; -- it skips exclusion constraints
REINDEX TABLE CONCURRENTLY full_house;
SELECT * FROM changed('full_house') WHERE line !~ '^(index|depends)';
TRUNCATE before;
INSERT INTO before SELECT shape('full_house');
SELECT * FROM swap_make('full_house', '{id, name, amount}',
	$$ SELECT i, repeat(i || ' ', 2000), 1.0 FROM generate_series(1, 10::bigint) i $$) \gset
REINDEX TABLE CONCURRENTLY full_house;
TRUNCATE before;
INSERT INTO before SELECT shape('full_house');
CALL swap('full_house', :heap, :fingerprint);
SELECT * FROM changed('full_house');
SELECT * FROM check_all('full_house');
SELECT count(*), min(length(name)) FROM full_house;
-- An empty one.
SELECT * FROM swap_make('full_house', '{id}', $$ SELECT 1::bigint LIMIT 0 $$) \gset
CALL swap('full_house', :heap, :fingerprint);
SELECT * FROM changed('full_house');
SELECT * FROM check_all('full_house');
SELECT count(*) FROM full_house;

-- All in one transaction, and what comes after it there.
BEGIN;
SELECT * FROM swap_make('full_house', '{id, name}',
	$$ SELECT i, repeat(i || ' ', 3000) FROM generate_series(1, 10::bigint) i $$) \gset
SELECT swap_exchange('full_house', :heap, :fingerprint) IS NOT NULL AS swapped;
INSERT INTO full_house (id, name) SELECT i, repeat(i || ' ', 3000) FROM generate_series(11, 20) i;
COMMIT;
SELECT * FROM changed('full_house');
SELECT count(*), sum(length(name)) FROM full_house;
-- An abort leaves both.
SELECT * FROM swap_make('full_house', '{id, name}', $$ SELECT 1::bigint, 'x'::text $$) \gset
BEGIN;
SELECT swap_exchange('full_house', :heap, :fingerprint) IS NOT NULL AS swapped;
SELECT count(*) FROM full_house;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT swap_exchange('full_house', :heap, :fingerprint) IS NOT NULL AS swapped;
ROLLBACK TO s;
INSERT INTO full_house (id, name) VALUES (21, 'x');
COMMIT;
SELECT count(*), sum(length(name)) FROM full_house;
CALL swap('full_house', :heap, :fingerprint);
SELECT * FROM changed('full_house');
SELECT * FROM check_all('full_house');
SELECT count(*) FROM full_house;

-- A target without TOAST of its own, and one whose TOAST table has nothing to do any more.
CREATE TABLE narrow (a int, b text);
CREATE TABLE wide (a int, b text);
INSERT INTO wide VALUES (1, repeat('x', 10000));
ALTER TABLE narrow DROP COLUMN b;
ALTER TABLE wide DROP COLUMN b;
CREATE TABLE plain (a int);
SELECT * FROM swap_make('narrow', '{a}', 'SELECT 1') \gset
CALL swap('narrow', :heap, :fingerprint);
SELECT * FROM swap_make('wide', '{a}', 'SELECT 2') \gset
CALL swap('wide', :heap, :fingerprint);
SELECT * FROM swap_make('plain', '{a}', 'SELECT 3') \gset
CALL swap('plain', :heap, :fingerprint);
SELECT * FROM narrow, wide, plain;
ALTER TABLE wide ADD b text;
INSERT INTO wide VALUES (3, repeat('y', 10000));
SELECT a, length(b) FROM wide;
SELECT count(*) FROM pg_class t WHERE relkind = 't' AND relname ~ '^pg_toast_[0-9]+$' AND oid > 16384
	AND NOT EXISTS (SELECT FROM pg_class WHERE reltoastrelid = t.oid);

-- What rows must be is asked of the target, and errors speak of it.
\x on
SELECT * FROM error_of($$SELECT swap_make('full_house', '{id}', 'SELECT 1::bigint')$$);
SELECT * FROM error_of($$SELECT swap_make('full_house', '{id, name, amount}',
	'SELECT 1::bigint, ''x''::text, -1.0')$$);
SELECT * FROM error_of($$SELECT swap_make('full_house', '{id, name, pos}',
	'SELECT 1::bigint, ''x''::text, NULL::int')$$);
SELECT * FROM error_of($$SELECT swap_make('full_house', '{id, name, twice}',
	'SELECT 1::bigint, ''x''::text, 2::bigint')$$);
SELECT * FROM error_of($$SELECT swap_make('full_house', '{id, name}',
	'SELECT i % 3 + 1, ''x''::text FROM generate_series(1, 4::bigint) i')$$);
SELECT * FROM error_of($$SELECT swap_make('full_house', '{id, name, slot}',
	'SELECT i, ''x''::text, 1 FROM generate_series(1, 2::bigint) i')$$);
SELECT * FROM error_of($$SELECT swap_make('full_house', '{id, name, span}',
	'SELECT i, ''x''::text, int4range(1, 2) FROM generate_series(1, 2::bigint) i')$$);
CREATE TABLE long_key (a text);
CREATE INDEX long_key_a ON long_key (a);
SELECT * FROM error_of($$SELECT swap_make('long_key', '{a}',
	'SELECT string_agg(md5(i::text), '''') FROM generate_series(1, 100) i')$$);
\x off
SELECT swap_heaps();

DROP SCHEMA test CASCADE;
DROP ROLE regress_swap_reader;
