-- The storage sink: pages that are built in memory are those that the server would have made.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS loader_sink_test;
CREATE EXTENSION IF NOT EXISTS amcheck;
CREATE EXTENSION IF NOT EXISTS pageinspect;
CREATE EXTENSION IF NOT EXISTS pg_visibility;
CREATE SCHEMA storage_test;
SET search_path = storage_test, public;

CREATE FUNCTION blocks(t regclass) RETURNS bigint LANGUAGE sql AS
$$ SELECT pg_relation_size(t) / current_setting('block_size')::int $$;
-- All that is in the pages of a table, but for the command that wrote the rows.
CREATE FUNCTION pages(t regclass) RETURNS TABLE (block bigint, line text) LANGUAGE sql AS $$
	SELECT b, format('page %s %s %s %s', lower, upper, special, flags)
	FROM generate_series(0, blocks(t) - 1) b, page_header(get_raw_page(t::text, b::int))
	UNION ALL
	SELECT b, format('row %s %s %s %s %s %s %s', lp, lp_off, lp_flags, lp_len, t_xmin, t_xmax, t_ctid)
		|| format(' %s %s %s %s %s %s', t_infomask, t_infomask2, t_hoff, t_bits, t_oid, md5(t_data))
	FROM generate_series(0, blocks(t) - 1) b, heap_page_items(get_raw_page(t::text, b::int))
$$;
CREATE FUNCTION differ(a regclass, b regclass) RETURNS bigint LANGUAGE sql AS $$
	WITH pa AS MATERIALIZED (SELECT * FROM pages(a)), pb AS MATERIALIZED (SELECT * FROM pages(b))
	SELECT count(*) FROM ((TABLE pa EXCEPT ALL TABLE pb) UNION ALL (TABLE pb EXCEPT ALL TABLE pa)) d
$$;
-- What is wrong with a table. Nothing is frozen that ought not to be, and the map says what pages say.
CREATE FUNCTION wrong(t regclass, frozen boolean) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s %s %s: %s', blkno, offnum, attnum, msg) FROM verify_heapam(t, check_toast => true)
	UNION ALL
	SELECT format('all-visible, and is not: %s', t_ctid) FROM pg_check_visible(t)
	UNION ALL
	SELECT format('all-frozen, and is not: %s', t_ctid) FROM pg_check_frozen(t)
	UNION ALL
	SELECT format('block %s: %s', blkno, v) FROM pg_visibility(t) v
	WHERE (all_visible, all_frozen, pd_all_visible) <> (frozen, frozen, frozen)
$$;
-- Values that the toaster has to see, or not; and all alignments, NULLs, a column that was dropped.
CREATE TABLE model (a "char", b smallint, dropped text, c int, d text COLLATE "C", e numeric, f float8,
	g timestamptz, h boolean, i jsonb, j bytea, k uuid, l int[], m name, n bigint);
ALTER TABLE model DROP COLUMN dropped;
CREATE TABLE source AS
SELECT (CASE WHEN i % 3 > 0 THEN chr(65 + i % 26) END)::"char" a, CASE WHEN i % 5 > 0 THEN i % 32000 END::smallint b,
	nullif(i % 7, 0) c, CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE repeat(i::text, i % 23) END d,
	CASE WHEN i % 6 > 0 THEN i / 8.0 END e, CASE WHEN i % 2 > 0 THEN sqrt(i) END f,
	CASE WHEN i % 9 > 0 THEN timestamptz '2020-01-01 UTC' + i * interval '1 min' END g, nullif(i % 3, 1) = 0 h,
	CASE WHEN i % 8 = 0 THEN jsonb_build_object('i', i, 'x', repeat('y', i % 50)) END i,
	CASE WHEN i % 10 = 0 THEN decode(md5(i::text), 'hex') END j, CASE WHEN i % 11 = 0 THEN md5(i::text)::uuid END k,
	CASE WHEN i % 12 = 0 THEN ARRAY[i, NULL, 3] END l, CASE WHEN i % 13 = 0 THEN 'n' || i END::name m,
	CASE WHEN i % 14 > 0 THEN i END::bigint n
FROM generate_series(1, 6000) i;

CREATE FUNCTION state_of(statement text, OUT state text, OUT of text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, of = CONSTRAINT_NAME;
END $$;

-- 1 The same pages, to the bit -----------------------------------------------------------------------
BEGIN;
CREATE TABLE a (LIKE model);
CREATE TABLE b (LIKE model);
CREATE TABLE a40 (LIKE model) WITH (fillfactor = 40);
CREATE TABLE b40 (LIKE model) WITH (fillfactor = 40);
SELECT sink_fill('a', NULL, 'off', false, 'TABLE source'), sink_fill('b', NULL, 'on', false, 'TABLE source'),
	sink_fill('a40', NULL, 'off', false, 'TABLE source'), sink_fill('b40', NULL, 'on', false, 'TABLE source');
COMMIT;
SELECT differ('a', 'b'), differ('a40', 'b40'), blocks('b') > 20 AS many, blocks('b40') > blocks('b') * 2 AS spare;
SELECT wrong('b', false);
SELECT wrong('b40', false);
SELECT count(*), min(relpersistence) FROM b, pg_class WHERE oid = 'b'::regclass;
-- what comes later, through buffers, goes on where the pages end
INSERT INTO a SELECT * FROM source LIMIT 500;
INSERT INTO b SELECT * FROM source LIMIT 500;
SELECT blocks('a') - blocks('b') AS difference, (SELECT count(*) FROM (TABLE a EXCEPT ALL TABLE b) x) AS missing;
SELECT wrong('b', false);

-- frozen
BEGIN;
CREATE TABLE fa (LIKE model);
CREATE TABLE fb (LIKE model);
SELECT sink_fill('a', 'fa', 'off', false, 'TABLE source'), sink_fill('b', 'fb', 'on', false, 'TABLE source');
COMMIT;
SELECT differ('fa', 'fb'), (SELECT count(*) FROM fb);
SELECT wrong('fb', true);
SELECT all_visible = blocks('fb') AS all_visible, all_frozen = blocks('fb') AS all_frozen FROM pg_visibility_map_summary('fb');

-- 2 Values that are long -----------------------------------------------------------------------------
CREATE TABLE long_source (id int, t text, e text);
ALTER TABLE long_source ALTER e SET STORAGE EXTERNAL;
INSERT INTO long_source SELECT i, CASE i % 4 WHEN 0 THEN repeat('long ', 3000) WHEN 1 THEN (SELECT string_agg(md5(j::text || i), '') FROM generate_series(1, 200) j) ELSE 'short' END,
	CASE WHEN i % 5 = 0 THEN repeat('x', 4000) END FROM generate_series(1, 200) i;
BEGIN;
CREATE TABLE la (LIKE long_source INCLUDING STORAGE);
CREATE TABLE lb (LIKE long_source INCLUDING STORAGE);
CREATE TABLE lf (LIKE long_source INCLUDING STORAGE);
SELECT sink_fill('la', NULL, 'off', false, 'TABLE long_source'), sink_fill('lb', NULL, 'on', false, 'TABLE long_source'),
	sink_fill('lb', 'lf', 'on', false, 'TABLE long_source');
COMMIT;
SELECT (SELECT count(*) FROM (TABLE long_source EXCEPT ALL TABLE lb) x) AS missing, (SELECT count(*) FROM (TABLE long_source EXCEPT ALL TABLE lf) x) AS missing_frozen;
SELECT wrong('lb', false);
SELECT wrong('lf', true);
-- as many values beside the table as it takes, and none that nobody refers to
CREATE FUNCTION beside(t regclass, OUT chunks bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SELECT count(DISTINCT chunk_id) FROM %s', (SELECT reltoastrelid::regclass FROM pg_class WHERE oid = t)) INTO chunks;
END $$;
SELECT beside('la') = beside('lb') AS as_many, beside('lb') = beside('lf') AS as_many, beside('lb') > 80 AS many;
-- what no page can hold
DO $$ BEGIN EXECUTE (SELECT format('CREATE TABLE wide (%s)', string_agg('c' || i || ' text', ', ')) FROM generate_series(1, 600) i); END $$;
BEGIN;
CREATE TABLE wb (LIKE wide);
SELECT sink_fill('wb', NULL, 'on', false, 'SELECT ' || string_agg('''0123456789abcdef''::text', ', ')) FROM generate_series(1, 600) i;
ROLLBACK;

-- 3 Many small ones leave no holes ---------------------------------------------------------------------
BEGIN;
CREATE TABLE sa (LIKE model);
CREATE TABLE sb (LIKE model);
CREATE TABLE sf (LIKE model);
CREATE FUNCTION small(t regclass, f regclass, storage_sink text, rows int) RETURNS text LANGUAGE sql AS
$$ SELECT sink_fill(t, f, storage_sink, false, VARIADIC array_agg(format('SELECT * FROM source LIMIT %s OFFSET %s', $4, i * $4))) FROM generate_series(0, 299) i $$;
SELECT small('sa', NULL, 'off', 10), small('sb', NULL, 'on', 10), small('sa', 'sf', 'on', 10);
COMMIT;
SELECT differ('sa', 'sb'), blocks('sf') = blocks('sa') AS as_small;
SELECT wrong('sb', false);
SELECT wrong('sf', true);
-- nor do ones that are larger than a page
BEGIN;
CREATE TABLE ma (LIKE model);
CREATE TABLE mb (LIKE model);
SELECT sink_fill('ma', NULL, 'off', false, VARIADIC q), sink_fill('mb', NULL, 'on', false, VARIADIC q)
FROM (SELECT array_agg(format('SELECT * FROM source LIMIT 110 OFFSET %s', i * 110)) FROM generate_series(0, 49) i) x (q);
COMMIT;
SELECT blocks('mb') <= blocks('ma') * 1.1 AS small_enough, (SELECT count(*) FROM (TABLE ma EXCEPT ALL TABLE mb) x) AS missing;
SELECT wrong('mb', false);

-- 4 Subtransactions: rows of one that is undone stay dead ----------------------------------------------
BEGIN;
CREATE TABLE sub (LIKE model);
SELECT sink_fill('sub', NULL, 'on', false, 'TABLE source');
SAVEPOINT s;
SELECT sink_fill('sub', NULL, 'on', false, 'TABLE source');
SELECT count(*) FROM sub;
ROLLBACK TO s;
SELECT count(*) FROM sub;
SELECT sink_fill('sub', NULL, 'on', false, 'SELECT * FROM source LIMIT 77');
INSERT INTO sub SELECT * FROM source LIMIT 23;
COMMIT;
SELECT count(*) FROM sub;
SELECT wrong('sub', false);
-- frozen ones must be of this very subtransaction
BEGIN;
CREATE TABLE sub_frozen (LIKE model);
SAVEPOINT s;
SELECT sink_fill('sub', 'sub_frozen', 'on', false, 'TABLE source');
ROLLBACK;
-- a table that was emptied
BEGIN;
TRUNCATE sub;
SELECT sink_fill('sub', NULL, 'on', false, 'TABLE source');
COMMIT;
SELECT count(*) FROM sub;
SELECT wrong('sub', false);

-- 5 What rows have to pass ----------------------------------------------------------------------------
CREATE TABLE checks (id int NOT NULL, t text CHECK (t <> 'bad'), twice int GENERATED ALWAYS AS (id * 2) STORED, n int DEFAULT 7);
BEGIN;
CREATE TABLE checked (LIKE checks);
SELECT sink_fill('checks', 'checked', 'on', false, 'SELECT 1, ''a''::text, 3', 'SELECT NULL::int, ''a''::text, 3');
ROLLBACK;
BEGIN;
CREATE TABLE checked (LIKE checks);
SELECT sink_fill('checks', 'checked', 'on', false, 'SELECT 1, ''bad''::text, 3');
ROLLBACK;
BEGIN;
CREATE TABLE checked (LIKE checks);
SELECT sink_fill('checks', 'checked', 'on', false, 'SELECT i, ''a''::text, NULL::int FROM generate_series(1, 3) i');
SELECT * FROM checked ORDER BY 1;
ROLLBACK;

-- 6 Which tables it is for -----------------------------------------------------------------------------
BEGIN;
CREATE TABLE plain (i int);
CREATE UNLOGGED TABLE unlogged (i int);
CREATE TEMP TABLE temporary (i int);
CREATE FUNCTION rows_of_plain() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT count(*) FROM storage_test.plain';
CREATE TABLE asks (i int, n bigint DEFAULT rows_of_plain());
CREATE TABLE numbered (i int, n serial);
CREATE TABLE looks (i int CHECK (rows_of_plain() >= 0));
CREATE TABLE indexed (i int UNIQUE);
SELECT t, sink_fill(t::regclass, NULL, 'on', false, q) FROM (VALUES ('plain', 'SELECT 1'), ('unlogged', 'SELECT 1'), ('temporary', 'SELECT 1'),
	('asks', 'SELECT 1, 2::bigint'), ('numbered', 'SELECT 1, 2'), ('looks', 'SELECT 1'), ('indexed', 'SELECT 1'), ('model', 'SELECT * FROM source LIMIT 1')) x (t, q);
SELECT sink_fill('indexed', NULL, 'on', true, 'SELECT 2');
COMMIT;
SELECT sink_fill('plain', NULL, 'on', false, 'SELECT 2');
SELECT count(*) FROM unlogged;

-- 7 Indexes of a new table -----------------------------------------------------------------------------
BEGIN;
CREATE TABLE keyed (id int UNIQUE, t text);
CREATE INDEX keyed_t ON keyed (t);
SELECT sink_fill('keyed', NULL, 'on', true, 'SELECT i, ''t'' || i FROM generate_series(1, 3000) i', 'SELECT i, ''t'' || i FROM generate_series(3001, 5000) i');
SELECT sink_index('keyed');
SET LOCAL enable_seqscan = off;
SELECT t FROM keyed WHERE id IN (1, 3001) ORDER BY id;
SELECT id FROM keyed WHERE t = 't5000';
COMMIT;
SELECT bt_index_check(i, true) FROM unnest('{keyed_id_key, keyed_t}'::regclass[]) i;
INSERT INTO keyed VALUES (4000, 'again');
SELECT wrong('keyed', false);
BEGIN;
CREATE TABLE twice (id int UNIQUE, EXCLUDE USING gist (int4range(id, id + 2) WITH &&));
SELECT sink_fill('twice', NULL, 'on', true, 'SELECT i % 300 FROM generate_series(1, 301) i');
SELECT * FROM state_of($$ SELECT sink_index('twice') $$);
SELECT sink_index('twice');
ROLLBACK;
BEGIN;
CREATE TABLE twice (id int, EXCLUDE USING gist (int4range(id, id + 2) WITH &&));
SELECT sink_fill('twice', NULL, 'on', true, 'SELECT 1 UNION ALL SELECT 2');
SELECT sink_index('twice');
ROLLBACK;

DROP SCHEMA storage_test CASCADE;
DROP EXTENSION amcheck, pageinspect, pg_visibility;
