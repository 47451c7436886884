-- Heaps that are filled by pages: new tables with their indexes, staging tables, swap heaps; and where not.
SET client_min_messages = warning;
SET loader.storage_sink = on;
\set items '''items: id bigint!, name text, key text!~; write_disposition="append"'''
\pset format unaligned

CREATE FUNCTION test.last() RETURNS bigint LANGUAGE sql AS 'SELECT max(package_id) FROM loader.packages';
CREATE FUNCTION test.sinks(OUT name text, OUT stage text, OUT sink text, OUT read bigint, OUT inserted bigint) RETURNS SETOF record LANGUAGE sql AS
$$ SELECT table_name, t.stage, t.sink, rows_read, rows_inserted FROM loader.tables t WHERE package_id = test.last() ORDER BY 1 $$;
CREATE FUNCTION test.rows(from_id int, to_id int) RETURNS text LANGUAGE sql AS
$$ SELECT E'id,name,key\n' || string_agg(format(E'%s,name %s,k%s\n', i, i, i), '' ORDER BY i) FROM generate_series(from_id, to_id) i $$;

-- A new table: two files, and an index to build.
CALL test.package('1.1', test.schema('a', :items), 'items.a.0.csv', test.rows(1, 3000), 'items.b.0.csv', test.rows(3001, 3010));
SELECT object, detail FROM loader_plan(test.path('1.1'), 'pages') WHERE action = 'load' ORDER BY 1;
CALL test.load('1.1', 'pages');
SELECT * FROM test.sinks();
SELECT count(*), sum(id), count(DISTINCT key) FROM pages.items;
SET enable_seqscan = off;
SELECT id FROM pages.items WHERE key IN ('k1', 'k3000', 'k3010') ORDER BY 1;
RESET enable_seqscan;
SELECT code, message FROM test.try($$INSERT INTO pages.items VALUES (0, '', 'k3005')$$);
SELECT relname, relpages > 0 AS full, reltuples FROM pg_class JOIN pg_index ON indexrelid = oid WHERE indrelid = 'pages.items'::regclass;
-- the table is no longer new
CALL test.package('1.2', test.schema('a', :items), 'items.a.0.csv', test.rows(4001, 4002));
SELECT detail FROM loader_plan(test.path('1.2'), 'pages') WHERE action = 'load';
CALL test.load('1.2', 'pages');
SELECT * FROM test.sinks();

-- A trigger of another table finds the rows of a new one by its index.
CREATE SCHEMA looks;
CREATE TABLE looks.later (id bigint, found bigint);
CREATE FUNCTION looks.find() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS
$$ BEGIN SELECT i.id INTO NEW.found FROM looks.items i WHERE i.key = 'k' || NEW.id; RETURN NEW; END $$;
CREATE TRIGGER find BEFORE INSERT ON looks.later FOR EACH ROW EXECUTE FUNCTION looks.find();
CALL test.package('1.3', test.schema('a', :items, 'later: id bigint; write_disposition="append"'), 'items.a.0.csv', test.rows(1, 3000), 'items.b.0.csv', test.rows(3001, 3010),
	'later.a.0.csv', E'id\n1\n3000\n3010\n');
CALL test.load('1.3', 'looks');
SELECT * FROM test.sinks();
SELECT * FROM looks.later ORDER BY 1;

-- A domain finds the rows before its own by the index.
CREATE FUNCTION looks.seen(text) RETURNS boolean LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS
$$ BEGIN RETURN $1 <> 'k3000' OR EXISTS (SELECT FROM looks.domains d WHERE d.key = 'k1'); END $$;
CREATE DOMAIN looks.key AS text CHECK (looks.seen(VALUE));
CREATE TABLE looks.domains (id bigint, name text, key looks.key PRIMARY KEY);
CALL test.package('1.4', test.schema('a', 'domains: id bigint, name text, key text; write_disposition="append"'), 'domains.a.0.csv', test.rows(1, 3000));
CALL test.load('1.4', 'looks');

-- A key that is twice, in one file or in two; nothing of it stays.
CALL test.package('2.1', test.schema('a', :items), 'items.a.0.csv', test.rows(1, 500), 'items.b.0.csv', test.rows(500, 600), 'items.c.0.csv', test.rows(601, 602));
CALL test.load('2.1', 'twice');
SELECT to_regnamespace('twice');
-- a row that is refused is known
CALL test.package('2.2', test.schema('a', :items), 'items.a.0.csv', test.rows(1, 500) || E',x,y\n');
CALL test.load('2.2', 'twice');

-- Merges by way of a staging table that publish has emptied, and replaces.
\set merged '''merged: id bigint! +primary_key, name text, key text!~; write_disposition="merge"'''
\set replaced '''replaced: id bigint!, name text, key text!~; write_disposition="replace"'''
CALL test.package('3.1', test.schema('b', :merged, :replaced), 'merged.a.0.csv', test.rows(1, 400), 'replaced.a.0.csv', test.rows(1, 400));
CALL test.load('3.1', 'pages');
SELECT * FROM test.sinks();
CALL test.package('3.2', test.schema('b', :merged, :replaced), 'merged.a.0.csv', replace(test.rows(390, 410), 'name 4', 'new 4'), 'replaced.a.0.csv', test.rows(390, 410));
CALL test.load('3.2', 'pages');
SELECT * FROM test.sinks();
SELECT count(*), count(*) FILTER (WHERE name ~ 'new') AS new, count(DISTINCT key) FROM pages.merged;
SELECT count(*), min(id), max(id) FROM pages.replaced;

-- Rows that may be refused: none is, then by pages. One is, by itself or by the index that is built at the end: that
-- is undone, and nothing of it is left in the table's files.
CREATE TABLE looks.same (id bigint NOT NULL, name text, key text NOT NULL UNIQUE);
-- rows begin at the first page; of TOAST table and index there is as much as of a copy
CREATE FUNCTION test.dead_pages(t regclass, OUT toast bigint, OUT index bigint) LANGUAGE sql AS
$$ SELECT (pg_relation_size(c.reltoastrelid) - pg_relation_size(d.reltoastrelid)) / 8192, (pg_indexes_size(c.oid) - pg_indexes_size(d.oid)) / 8192
	FROM pg_class c, pg_class d WHERE c.oid = t AND d.oid = 'looks.same'::regclass $$;
\set sure '''sure: id bigint!, name text, key text!~; write_disposition="append"'''
CALL test.package('5.1', test.schema('a', :sure), 'sure.a.0.csv', test.rows(1, 3000), 'sure.b.0.csv', test.rows(3001, 3010));
SELECT object, detail FROM loader_plan(test.path('5.1'), 'pages', on_error => 'reject') WHERE action = 'load' ORDER BY 1;
CALL test.load('5.1', 'pages', $$, on_error => 'reject'$$);
SELECT * FROM test.sinks();
DROP TABLE pages.sure;
SELECT E'3001,' || string_agg(md5(i::text), '') || E',k3001\n' AS long FROM generate_series(1, 2000) i \gset
CALL test.package('5.2', test.schema('a', :sure), 'sure.a.0.csv', test.rows(1, 3000) || :'long', 'sure.b.0.csv', E'id,name,key\n3005,x,k7\n,y,k3006\nz,z,k3007\n3008,fine,k3008\n');
CALL test.load('5.2', 'pages', $$, on_error => 'reject'$$);
SELECT * FROM test.sinks();
SELECT job_id, line, sqlstate, column_name FROM loader.rejects WHERE package_id = test.last() ORDER BY 1, 2;
SELECT job_id, rows_read, rows_inserted, rows_rejected FROM loader.jobs WHERE package_id = test.last() AND kind = 'load' ORDER BY 1;
SELECT count(*), sum(id), max(length(name)) FROM pages.sure;
SELECT code FROM test.try($$INSERT INTO pages.sure VALUES (0, '', 'k3008')$$);
INSERT INTO looks.same SELECT * FROM pages.sure ORDER BY id;
SELECT min(ctid) AS first, d.* FROM pages.sure, test.dead_pages('pages.sure') AS d GROUP BY toast, index;
-- one that only the index refuses, and too many of them
DROP TABLE pages.sure;
CALL test.package('5.3', test.schema('a', :sure), 'sure.a.0.csv', test.rows(1, 3000) || :'long', 'sure.b.0.csv', test.rows(2999, 3003));
CALL test.load('5.3', 'pages', $$, on_error => 'reject', max_rejects => '2'$$);
SELECT to_regclass('pages.sure');
CALL test.load('5.3', 'pages', $$, on_error => 'reject', max_rejects => '3'$$);
SELECT job_id, line, sqlstate, detail FROM loader.rejects WHERE package_id = test.last() ORDER BY 1, 2;
TRUNCATE looks.same;
INSERT INTO looks.same SELECT * FROM pages.sure ORDER BY id;
SELECT min(ctid) AS first, d.* FROM pages.sure, test.dead_pages('pages.sure') AS d GROUP BY toast, index;
-- a replaced table
CALL test.package('5.4', test.schema('b', :replaced), 'replaced.a.0.csv', test.rows(1, 400));
CALL test.load('5.4', 'pages', $$, on_error => 'reject'$$);
SELECT * FROM test.sinks();
CALL test.package('5.5', test.schema('b', :replaced), 'replaced.a.0.csv', test.rows(1, 400) || E'x,x,x\n', 'replaced.b.0.csv', test.rows(401, 410));
CALL test.load('5.5', 'pages', $$, on_error => 'reject'$$);
SELECT * FROM test.sinks();
SELECT job_id, line, sqlstate FROM loader.rejects WHERE package_id = test.last();
CALL test.package('5.6', test.schema('b', :replaced), 'replaced.a.0.csv', test.rows(1, 400), 'replaced.b.0.csv', test.rows(400, 410));
CALL test.load('5.6', 'pages', $$, on_error => 'reject'$$);
SELECT * FROM test.sinks();
SELECT job_id, line, sqlstate FROM loader.rejects WHERE package_id = test.last();
SELECT count(*), count(DISTINCT key) FROM pages.replaced;

-- Where it is not for: jobs that commit by themselves, sizes that do not pay, if it is switched off.
CREATE PROCEDURE test.new_items(name text, rows int, more text DEFAULT '') LANGUAGE plpgsql AS $$
DECLARE
	state text;
	code text;
	message text;
	detail text;
	hint text;
BEGIN
	CALL test.package(name, test.schema('c', 'items: id bigint!, name text, key text!~; write_disposition="append"', 'plain: id bigint!, name text, key text; write_disposition="append"'),
		'items.a.0.csv', test.rows(1, rows), 'plain.a.0.csv', test.rows(1, rows));
	CALL test.load(name, 'd' || replace(name, '.', '_'), more, state, code, message, detail, hint);
END $$;
CALL test.new_items('4.1', 10);
SELECT * FROM test.sinks();
CALL test.new_items('4.3', 10, $$, atomic => false$$);
SELECT * FROM test.sinks();
SET loader.storage_sink = off;
CALL test.new_items('4.4', 10);
SELECT * FROM test.sinks();
RESET loader.storage_sink;
CALL test.new_items('4.5', 10);
SELECT * FROM test.sinks();
CALL test.new_items('4.6', 4000);
SELECT * FROM test.sinks();
CALL test.new_items('4.7', 14000);
SELECT * FROM test.sinks();
SELECT object, regexp_replace(detail, '.*, append', 'append') FROM loader_plan(test.path('4.6'), 'other') WHERE action = 'load' ORDER BY 1;

DROP FUNCTION test.last, test.sinks, test.rows, test.dead_pages;
DROP PROCEDURE test.new_items;
SELECT test.forget('pages', 'looks', 'd4_1', 'd4_3', 'd4_4', 'd4_5', 'd4_6', 'd4_7');
