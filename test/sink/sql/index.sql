-- Index entries that are made in key order: every kind of index is whole afterwards, the server's
-- own check says; whom a duplicate blames; who looks into the table meanwhile.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS loader_sink_test;
CREATE EXTENSION amcheck;
CREATE SCHEMA sink_index;
SET search_path = sink_index, public;

-- rows i = a .. b: columns that are random, rising, the same, rare, NULL
CREATE FUNCTION made(a int, b int, step int DEFAULT 1) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
SELECT array_agg(ARRAY[i::text, md5(i::text), 'https://example.com/item/' || i, (i % 7)::text,
	CASE WHEN i % 1000 = 0 THEN repeat(md5(i::text), 40) WHEN i % 5 > 0 THEN 'Ä' || md5(i::text || 'z') END,
	CASE WHEN i % 97 = 0 THEN 'NaN' ELSE ((i * 7919 % 10007 - 5000) / 3.0)::text END,
	md5(i::text)::uuid::text, (timestamptz '2020-01-01 00:00Z' + i * interval '1 min')::text,
	format('[%s,%s)', i % 1000, i)] ORDER BY i)
FROM generate_series(a, b, step) i $$;
CREATE TABLE kinds (i int, random text, rising text COLLATE "C", same int, rare text, f float8, u uuid,
	at timestamptz, r int8range);
CREATE FUNCTION halved(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i / 2';
CREATE UNIQUE INDEX ON kinds (i);
CREATE UNIQUE INDEX ON kinds (random);
CREATE UNIQUE INDEX ON kinds (random COLLATE "C" DESC) INCLUDE (same);
CREATE UNIQUE INDEX ON kinds (rising);
CREATE INDEX ON kinds (rising COLLATE "default" DESC NULLS LAST);
CREATE UNIQUE INDEX ON kinds (same, random);
CREATE INDEX ON kinds (same);
CREATE UNIQUE INDEX ON kinds (rare);
CREATE INDEX ON kinds (rare NULLS FIRST, i DESC);
CREATE INDEX ON kinds (f);
CREATE INDEX ON kinds ((f::float4) DESC);
CREATE INDEX ON kinds ((f::numeric), same);
CREATE UNIQUE INDEX ON kinds (u);
CREATE INDEX ON kinds ((decode(random, 'hex')));
CREATE INDEX ON kinds (at DESC);
CREATE INDEX ON kinds ((at AT TIME ZONE 'UTC'), (i::int8), (i::int2));
CREATE INDEX ON kinds (((at AT TIME ZONE 'UTC')::date), (same = 3), (i::oid));
CREATE INDEX ON kinds (r);
CREATE INDEX ON kinds (halved(i)) WHERE same < 3;
CREATE UNIQUE INDEX ON kinds ((random::varchar) varchar_pattern_ops);
CREATE INDEX ON kinds ((random::char(40)));
CREATE INDEX ON kinds ((random::name));
CREATE INDEX ON kinds USING hash (random);
CREATE INDEX ON kinds USING brin (i);
CREATE INDEX ON kinds USING gist (r);
-- where the server has them
DO $$ BEGIN
	IF EXISTS (SELECT FROM pg_collation WHERE collname = 'en-x-icu') THEN
		CREATE UNIQUE INDEX ON kinds (random COLLATE "en-x-icu");
		CREATE INDEX ON kinds (rare COLLATE "en-x-icu" DESC);
	END IF;
	IF current_setting('server_version_num')::int >= 150000 THEN
		EXECUTE 'CREATE UNIQUE INDEX ON kinds (rare, i) NULLS NOT DISTINCT';
	END IF;
END $$;
-- what is wrong with an index, if anything; and rows that are not found through it
CREATE PROCEDURE look(rel regclass) LANGUAGE plpgsql AS $$
DECLARE
	index regclass;
BEGIN
	FOR index IN SELECT x.indexrelid FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
		WHERE x.indrelid = rel AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'btree')
	LOOP
		PERFORM bt_index_parent_check(index, true, true);
	END LOOP;
END $$;

-- with memory for all, for some, for none; into empty indexes and between what is there
CREATE TABLE seen (memory int, rows bigint, i bigint, random bigint, u bigint, hashed bigint);
CREATE PROCEDURE load_all(memory int) LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE kinds;
	PERFORM sink_index_memory(memory);
	PERFORM sink_load('kinds', 'heap', '{i,random,rising,same,rare,f,u,at,r}', d)
		FROM (VALUES (1, made(1, 6000, 3)), (2, made(2, 6000, 3)), (3, made(6001, 6400)), (4, made(-3, 6000, 3)))
			v(o, d) ORDER BY o;
	CALL look('kinds');
	SET LOCAL enable_seqscan = off;
	INSERT INTO seen SELECT memory, count(*), count(DISTINCT i),
		(SELECT count(*) FROM made(1, 6400, 13) d, generate_subscripts(d, 1) n, kinds k WHERE k.random = d[n][2]),
		(SELECT count(*) FROM made(1, 6400, 13) d, generate_subscripts(d, 1) n, kinds k WHERE k.u = d[n][7]::uuid),
		(SELECT count(*) FROM kinds k WHERE k.i BETWEEN 100 AND 200)
	FROM kinds;
END $$;
CALL load_all(16384);
CALL load_all(64);
CALL load_all(1);
CALL load_all(0);
SELECT count(*), rows, i, random, u, hashed FROM seen GROUP BY 2, 3, 4, 5, 6;
-- dead entries and pages that were emptied
SELECT sink_index_memory(16384);
DELETE FROM kinds WHERE i % 3 <> 0 OR i BETWEEN 2000 AND 4000;
VACUUM kinds;
SELECT * FROM sink_load('kinds', 'heap', '{i,random,rising,same,rare,f,u,at,r}', made(1, 6000, 3));
BEGIN;
DELETE FROM kinds WHERE i % 3 = 1;
SELECT * FROM sink_load('kinds', 'heap', '{i,random,rising,same,rare,f,u,at,r}', made(1, 6000, 3));
COMMIT;
CALL look('kinds');
-- undone, then once more
BEGIN;
DELETE FROM kinds;
SELECT * FROM sink_load('kinds', 'heap', '{i,random,rising,same,rare,f,u,at,r}', made(1, 3000));
ROLLBACK;
CALL look('kinds');
SELECT count(*), count(DISTINCT i) FROM kinds;
-- temporary, unlogged, of this transaction
CREATE TEMP TABLE temp_keys (i int PRIMARY KEY, t text UNIQUE);
SELECT * FROM sink_load('temp_keys', 'heap', '{i,t}', (SELECT array_agg(ARRAY[i::text, md5(i::text)]) FROM generate_series(1, 3000) i));
CALL look('temp_keys');
CREATE UNLOGGED TABLE unlogged_keys (LIKE temp_keys INCLUDING ALL);
SELECT * FROM sink_load('unlogged_keys', 'heap', '{i,t}', (SELECT array_agg(ARRAY[i::text, md5(i::text)]) FROM generate_series(1, 3000) i));
CALL look('unlogged_keys');
BEGIN;
CREATE TABLE new_keys (LIKE temp_keys INCLUDING ALL);
SELECT * FROM sink_load('new_keys', 'heap', '{i,t}', (SELECT array_agg(ARRAY[i::text, md5(i::text)]) FROM generate_series(1, 3000) i));
COMMIT;
CALL look('new_keys');

-- duplicates: the row that comes second is blamed, however far, in one run or in another ---------
CREATE TABLE keys (i int, t text UNIQUE);
CREATE FUNCTION keys_with(n int, at int, t text) RETURNS text[] LANGUAGE sql IMMUTABLE AS
$$ SELECT array_agg(ARRAY[i::text, CASE WHEN i = at THEN t ELSE md5(i::text) END] ORDER BY i) FROM generate_series(1, n) i $$;
CREATE FUNCTION try_keys(memory int, data text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	PERFORM sink_index_memory(memory);
	PERFORM sink_load('keys', 'heap', '{i,t}', data);
	RETURN 'loaded';
EXCEPTION WHEN unique_violation THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLERRM || ': ' || detail;
END $$;
SELECT memory, try_keys(memory, keys_with(5000, 4321, md5('17'))) FROM unnest('{16384,100,1,0}'::int[]) memory;
SELECT memory, try_keys(memory, keys_with(5000, 2, md5('1'))) FROM unnest('{16384,100,1,0}'::int[]) memory;
INSERT INTO keys VALUES (0, 'in the way');
SELECT memory, try_keys(memory, keys_with(5000, 1234, 'in the way')) FROM unnest('{16384,100,1,0}'::int[]) memory;
-- many of the same key, and one that is there but dead
SELECT try_keys(16384, array_agg(ARRAY[i::text, 'k' || i % 5])) FROM generate_series(1, 3000) i;
DELETE FROM keys;
SELECT try_keys(16384, keys_with(5000, 1234, 'in the way'));
CALL look('keys');
SELECT count(*) FROM keys;
-- NULLs are no duplicates
SELECT try_keys(16384, '{{1,a},{2,A},{3,á},{4,NULL},{5,NULL}}');

-- who looks into the table by the index must find the rows before his own -------------------------
CREATE TABLE looks (i int PRIMARY KEY, n bigint);
CREATE FUNCTION before() RETURNS bigint LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS
$$ BEGIN RETURN (SELECT count(*) FROM looks WHERE i BETWEEN 0 AND 1000000); END $$;
ALTER TABLE looks ALTER n SET DEFAULT before();
SELECT sink_index_memory(16384);
SELECT inserted FROM sink_load('looks', 'heap', '{i}', (SELECT array_agg(ARRAY[i::text]) FROM generate_series(1, 1200) i));
SELECT count(*) FROM looks WHERE n <> i - 1;
TRUNCATE looks;
SELECT inserted FROM sink_load('looks', 'heap', '{i,n}',
	(SELECT array_agg(ARRAY[i::text, CASE WHEN i > 1000 AND i % 500 = 1 THEN '<absent>' ELSE '-1' END]) FROM generate_series(1, 3100) i));
SELECT * FROM looks WHERE n >= 0 ORDER BY i;
CREATE TABLE checked (i int PRIMARY KEY, t text);
CREATE INDEX ON checked (t);
CREATE FUNCTION is_new(key text) RETURNS boolean LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS
$$ BEGIN RETURN NOT EXISTS (SELECT FROM checked WHERE t = key); END $$;
ALTER TABLE checked ADD CHECK (is_new(t));
SELECT inserted FROM sink_load('checked', 'heap', '{i,t}',
	(SELECT array_agg(ARRAY[i::text, CASE WHEN i = 2500 THEN '7' ELSE i::text END] ORDER BY i) FROM generate_series(1, 3000) i));
DROP SCHEMA sink_index CASCADE;
DROP EXTENSION amcheck;
DROP EXTENSION loader_sink_test;
