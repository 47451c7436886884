-- on_error => 'reject' and tables that are merged, or replaced by differences: what they refuse
SET client_min_messages = warning;
SET TimeZone = 'UTC';
\pset format unaligned

CREATE FUNCTION test.last() RETURNS bigint LANGUAGE sql AS 'SELECT max(package_id) FROM loader.packages';
CREATE FUNCTION test.counts(OUT job text, OUT read bigint, OUT inserted bigint, OUT updated bigint, OUT deleted bigint, OUT rejected bigint) RETURNS SETOF record LANGUAGE sql AS
$$ SELECT job_id, rows_read, rows_inserted, NULL, NULL, rows_rejected FROM loader.jobs WHERE package_id = test.last() AND kind = 'load' UNION ALL
	SELECT table_name || ' ' || coalesce(sink, ''), rows_read, rows_inserted, rows_updated, rows_deleted, rows_rejected FROM loader.tables WHERE package_id = test.last() ORDER BY 1 $$;
CREATE FUNCTION test.rejects(OUT job text, OUT line bigint, OUT col text, OUT code text, OUT reason text, OUT raw text) RETURNS SETOF record LANGUAGE sql AS
$$ SELECT job_id, line, column_name, sqlstate, concat_ws(' / ', message, detail), raw_text
	FROM loader.rejects WHERE package_id = test.last() ORDER BY job_id, line, reject_id $$;

CREATE SCHEMA rm;
CREATE DOMAIN rm.short AS text CHECK (length(VALUE) < 6);

-- upsert, all that a table can refuse, in the three formats; the rows that are there stay as they are
CREATE TABLE rm.items (id bigint PRIMARY KEY, name rm.short CHECK (name <> 'evil'), code int UNIQUE, note varchar(5), must text NOT NULL,
	extra int NOT NULL DEFAULT 7, at timestamptz, EXCLUDE USING btree (at WITH =), CHECK (extra <> code));
INSERT INTO rm.items VALUES (1, 'one', 11, 'n1', 'm', 7, '2024-01-01'), (2, 'two', 12, 'n2', 'm', 22, NULL), (3, 'three', 13, 'n3', 'm', 7, NULL);
\set items '''items: id bigint! +primary_key, name text, code bigint, note text, must text, at timestamp; write_disposition="merge", x-merge-strategy="upsert"'''
CALL test.package('1.1', test.schema('a', :items),
	'items.a.0.csv', E'id,name,code,note,must\n1,ONE,11,n1,x\n2,evil,12,n2,x\n3,THREE,3000000000,n3,x\nx,bad,1,n,x\n4,tootoolong,14,n4,x\n5,five,15,note too long,x\n6,six,16,n6,\n7,seven,17,n7,x\n',
	'items.b.0.jsonl', E'{"id":8,"code":17,"must":"x","name":"8"}\n{"id":9,"code":13,"must":"x"}\n{"id":10,"code":7,"must":"x"}\n{"id":2,"code":7,"must":"ok"}\n{"id":11,"must":"x"}\n{"id":12,"must":"x","at":"2024-01-01"}\n',
	'items.c.0.insert_values', E'INSERT INTO {}("id","must","at")\nVALUES\n(13,E\'x\',E\'2024-02-01\'),(14,E\'x\',E\'2024-02-01 00:00:00\'),\n(15,E\'x\',NULL),(16,NULL,NULL);\n');
CALL test.load('1.1', 'rm', $$, on_error => 'abort'$$);
CALL test.load('1.1', 'rm', $$, on_error => 'reject'$$);
SELECT * FROM rm.items ORDER BY id;
SELECT * FROM test.counts();
SELECT * FROM test.rejects();
SELECT kind, object, detail FROM loader.events WHERE package_id = test.last() AND kind = 'rejected' ORDER BY object, detail;
SELECT count(*) FROM rm_staging.items;

-- What would go through without on_error goes through with it: rows that no statement writes are not looked at.
CALL test.package('1.2', test.schema('a', 'items: id bigint! +primary_key, name text, must text, gone bool +hard_delete; write_disposition="merge", x-merge-strategy="insert-only", x-merge-source-filter="must <> ''no''"'),
	'items.a.0.csv', E'id,name,must,gone\n1,evil,x,\n7,tootoolong,,\n20,new,x,\n21,evil,,true\n');
CALL test.load('1.2', 'rm', $$, on_error => 'reject'$$);
SELECT * FROM test.counts();
-- One that is refused gives way to the next of its key.
CALL test.package('1.3', test.schema('a', :items),
	'items.a.0.csv', E'id,name,must\n1,evil,x\n1,good,x\n30,evil,x\n30,good,x\n30,twin,x\n');
CALL test.load('1.3', 'rm', $$, on_error => 'reject'$$);
SELECT id, name FROM rm.items WHERE id IN (1, 30) ORDER BY id;
SELECT * FROM test.rejects();
-- The row that one would have replaced stays, and is then in the way of another.
CREATE TABLE rm.chain (id bigint PRIMARY KEY, code int UNIQUE, v int CHECK (v > 0));
INSERT INTO rm.chain SELECT i, i, 1 FROM generate_series(1, 5) AS i;
\set chain '''chain: id bigint! +primary_key, code bigint, v bigint; write_disposition="merge"'''
CALL test.package('1.4', test.schema('a', :chain), 'chain.a.0.csv', E'id,code,v\n4,3,1\n3,2,1\n2,1,1\n1,6,0\n5,5,2\n');
CALL test.load('1.4', 'rm', $$, on_error => 'reject'$$);
SELECT * FROM rm.chain ORDER BY id;
SELECT * FROM test.rejects();
-- max_rejects, by number and by share
CALL test.package('1.5', test.schema('a', :chain), 'chain.a.0.csv', E'id,code,v\nx,1,1\n11,11,0\n12,12,0\n13,13,1\n');
CALL test.load('1.5', 'rm', $$, on_error => 'reject', max_rejects => '2'$$);
CALL test.load('1.5', 'rm', $$, on_error => 'reject', max_rejects => '74%'$$);
SELECT count(*) FROM loader.reject WHERE package_id NOT IN (SELECT package_id FROM loader.package WHERE state = 'loaded');
CALL test.load('1.5', 'rm', $$, on_error => 'reject', max_rejects => '3'$$);
SELECT * FROM test.counts();
-- job by job, and staged by workers
CALL test.package('1.6', test.schema('a', :chain), 'chain.a.0.csv', E'id,code,v\nx,1,1\n21,21,0\n22,22,1\n', 'chain.b.0.jsonl', E'{"id":23,"code":23,"v":0}\n{"id":24}\n');
CALL test.load('1.6', 'rm', $$, on_error => 'reject', atomic => false, max_rejects => '3'$$);
SELECT * FROM test.counts();
SELECT * FROM test.rejects();
SET loader.small_package = 0;
CALL test.package('1.7', test.schema('a', :chain), 'chain.a.0.csv', E'id,code,v\nx,1,1\n31,31,0\n32,32,1\n', 'chain.b.0.jsonl', E'{"id":33,"code":33,"v":0}\n{"id":34}\n');
CALL test.load('1.7', 'rm', $$, on_error => 'reject', workers => 2$$);
SELECT * FROM test.counts();
SELECT * FROM test.rejects();
RESET loader.small_package;
SELECT * FROM rm.chain WHERE id > 20 ORDER BY id;
-- rows that are equal to the last bit: the first stays
CREATE TABLE rm.twins (id bigint UNIQUE, v text);
\set twins '''twins: id bigint, v text, k text +merge_key; write_disposition="merge"'''
CALL test.package('1.8', test.schema('a', :twins), 'twins.a.0.csv', E'id,v,k\n1,a,k\n2,b,k\n1,a,k\n', 'twins.b.0.csv', E'k,v,id\nk,a,1\nk,c,3\nk,b,2\nk,b,2\n');
CALL test.load('1.8', 'rm', $$, on_error => 'reject'$$);
SELECT * FROM rm.twins ORDER BY id;
SELECT * FROM test.rejects();
-- many
CREATE TABLE rm.many (id bigint PRIMARY KEY, k bigint UNIQUE, v text CHECK (length(v) < 5));
SELECT E'id,k,v\n' || string_agg(format(E'%s,%s,%s\n', i, CASE WHEN i % 1013 = 0 THEN i - 1 ELSE i END, CASE WHEN i % 771 = 0 THEN 'toolong' ELSE i::text END), '' ORDER BY i) AS file
	FROM generate_series(1, 9999) AS i \gset
CALL test.package('1.9', test.schema('a', 'many: id bigint +primary_key, k bigint, v text; write_disposition="merge"'), 'many.a.0.csv', :'file');
CALL test.load('1.9', 'rm', $$, on_error => 'reject'$$);
SELECT * FROM test.counts();
SELECT count(*) FROM generate_series(1, 9999) AS i WHERE (i % 771 = 0 OR i % 1013 = 0) <> (NOT EXISTS (SELECT FROM rm.many WHERE id = i));
SELECT count(*), count(*) FILTER (WHERE split_part(raw_text, ',', 1) <> (line - 1)::text) AS wrong FROM loader.rejects WHERE package_id = test.last();

-- Triggers, foreign keys, policies and partitions of the target say which row they refuse, too; one that mends a row is heard.
CREATE FUNCTION rm.trap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.v = 'trap' THEN
		RAISE 'says the trigger' USING ERRCODE = 'MY007';
	END IF;
	NEW.must := coalesce(NEW.must, 'mended');
	RETURN NEW;
END $$;
CREATE TABLE rm.traps (id bigint PRIMARY KEY, v text, must text NOT NULL, parent bigint REFERENCES rm.many, twice bigint GENERATED ALWAYS AS (id * 2) STORED CHECK (twice <> 8)) PARTITION BY RANGE (id);
CREATE TABLE rm.traps_1 PARTITION OF rm.traps FOR VALUES FROM (1) TO (50);
CREATE TRIGGER trap BEFORE INSERT OR UPDATE ON rm.traps FOR EACH ROW EXECUTE FUNCTION rm.trap();
INSERT INTO rm.traps VALUES (1, 'old', 'm', NULL);
\set traps '''traps: id bigint +primary_key, v text, must text, parent bigint; write_disposition="merge", x-merge-strategy="upsert"'''
CALL test.package('2.1', test.schema('a', :traps), 'traps.a.0.csv', E'id,v,must,parent\n1,trap,,\n2,b,,\n60,c,,\n3,d,,99999999\n4,e,,\n5,f,,1\n');
CALL test.load('2.1', 'rm', $$, on_error => 'reject'$$);
SELECT * FROM rm.traps ORDER BY id;
SELECT * FROM test.counts();
SELECT * FROM test.rejects();
-- What no row is to blame for, or what is found at the end, is an error of the package.
CREATE TABLE rm.later (id bigint PRIMARY KEY, k bigint UNIQUE DEFERRABLE INITIALLY DEFERRED);
CALL test.package('2.2', test.schema('a', 'later: id bigint +primary_key, k bigint; write_disposition="merge", x-merge-strategy="upsert"'), 'later.a.0.csv', E'id,k\n1,1\n2,1\n');
CALL test.load('2.2', 'rm', $$, on_error => 'reject'$$);
CREATE TABLE rm.held (id bigint PRIMARY KEY, of bigint REFERENCES rm.chain);
INSERT INTO rm.held VALUES (1, 5);
CALL test.package('2.3', test.schema('a', :chain), 'chain.a.0.csv', E'id,code,v\n5,5,2\n41,41,0\n');
CALL test.load('2.3', 'rm', $$, on_error => 'reject'$$);
SELECT count(*) FROM loader.reject WHERE package_id NOT IN (SELECT package_id FROM loader.package WHERE state = 'loaded');

-- Replaced by differences, by key and by row, and as a whole
CREATE TABLE rm.changed (id bigint PRIMARY KEY, note text CHECK (note <> 'evil'), code int UNIQUE);
INSERT INTO rm.changed VALUES (1, 'n1', 1), (2, 'n2', 2), (4, 'n4', 4);
\set changed '''changed: id bigint +primary_key, note text, code bigint; write_disposition="replace"'''
CALL test.package('3.1', test.schema('a', :changed), 'changed.a.0.csv', E'id,note,code\n1,n1,2\n2,evil,1\n4,n5,4\n5,n6,2\n6,n7,3000000000\n7,,\n');
CALL test.load('3.1', 'rm', $$, on_error => 'reject', replace_strategy => 'diff'$$);
SELECT * FROM rm.changed ORDER BY id;
SELECT * FROM test.counts();
SELECT * FROM test.rejects();
-- here a value that cannot be compared stops the statements before any has written a row
CALL test.package('3.2', test.schema('a', 'changed: id bigint, note text, code bigint; write_disposition="replace"'), 'changed.a.0.csv', E'id,note,code\n1,n1,2\n2,evil,1\n4,n8,4\n5,n6,2\n,n9,9\n6,n7,3000000000\n');
CALL test.load('3.2', 'rm', $$, on_error => 'reject', replace_strategy => 'diff'$$);
SELECT * FROM rm.changed ORDER BY id;
SELECT * FROM test.counts();
SELECT * FROM test.rejects();
CREATE TABLE rm.parts (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE rm.parts_1 PARTITION OF rm.parts FOR VALUES FROM (1) TO (50);
CALL test.package('3.3', test.schema('a', 'parts: id bigint; write_disposition="replace"'), 'parts.a.0.csv', E'id\n1\nx\n60\n1\n');
CALL test.load('3.3', 'rm', $$, on_error => 'reject'$$);
SELECT id FROM rm.parts;
SELECT * FROM test.rejects();

-- Through a filter, duplicates by a sort column, marks of deletion, and nested tables
CREATE TABLE rm.all (id bigint PRIMARY KEY, v text CHECK (v <> 'evil'), n int UNIQUE, gone bool, _dlt_id text);
CREATE TABLE rm.all__b (v text CHECK (v <> 'evil'), _dlt_root_id text, _dlt_parent_id text, _dlt_id text);
INSERT INTO rm.all VALUES (1, 'old', 1, NULL, 'r1'), (2, 'old', 2, NULL, 'r2'), (3, 'old', 3, NULL, 'r3');
INSERT INTO rm.all__b VALUES ('old', 'r1', 'r1', 'b1'), ('old', 'r2', 'r2', 'b2'), ('old', 'r3', 'r3', 'b3');
CREATE FUNCTION test.all_schema(strategy text) RETURNS text LANGUAGE sql AS $$
SELECT test.schema('a', format('all: id bigint +primary_key, v text, n bigint +dedup_sort="desc", gone bool +hard_delete, _dlt_id text! +unique +row_key; write_disposition="merge", x-merge-strategy="%s", x-merge-source-filter="v IS DISTINCT FROM ''no''"', strategy),
	'all__b: v text, _dlt_root_id text! +root_key, _dlt_parent_id text! +parent_key, _dlt_id text! +unique +row_key; parent="all"') $$;
CALL test.package('6.2', test.all_schema('delete-insert'),
	'all.a.0.jsonl', E'{"id":1,"v":"no","n":2,"_dlt_id":"r1"}\n{"id":2,"v":"new","n":30,"_dlt_id":"r2"}\n{"id":2,"v":"lost","n":1,"_dlt_id":"r20"}\n{"id":3,"v":"evil","gone":true,"_dlt_id":"r3"}\n{"id":4,"v":"new","n":4,"_dlt_id":"r4"}\n{"id":5,"v":"new","n":4,"_dlt_id":"r5"}\n',
	'all__b.b.0.jsonl', E'{"v":"new","_dlt_root_id":"r2","_dlt_parent_id":"r2","_dlt_id":"b22"}\n{"v":"evil","_dlt_root_id":"r4","_dlt_parent_id":"r4","_dlt_id":"b44"}\n{"v":"new","_dlt_root_id":"r5","_dlt_parent_id":"r5","_dlt_id":"b55"}\n{"v":"evil","_dlt_root_id":"r20","_dlt_parent_id":"r20","_dlt_id":"b20"}\n');
CALL test.load('6.2', 'rm', $$, on_error => 'reject'$$);
SELECT id, v, n, _dlt_id FROM rm.all ORDER BY id;
SELECT * FROM rm.all__b ORDER BY _dlt_id;
SELECT job, line, code, reason FROM test.rejects();
CALL test.package('6.3', test.all_schema('upsert'),
	'all.a.0.jsonl', E'{"id":1,"v":"no","n":2,"_dlt_id":"r1"}\n{"id":2,"v":"newer","n":4,"_dlt_id":"r2"}\n{"id":4,"v":"evil","gone":true,"_dlt_id":"r4"}\n{"id":6,"v":"new","n":6,"_dlt_id":"r6"}\n{"id":7,"v":"evil","n":7,"_dlt_id":"r7"}\n',
	'all__b.b.0.jsonl', E'{"v":"newer","_dlt_root_id":"r2","_dlt_parent_id":"r2","_dlt_id":"b22"}\n{"v":"evil","_dlt_root_id":"r6","_dlt_parent_id":"r6","_dlt_id":"b66"}\n{"v":"new","_dlt_root_id":"r7","_dlt_parent_id":"r7","_dlt_id":"b77"}\n{"v":"evil","_dlt_root_id":"r1","_dlt_parent_id":"r1","_dlt_id":"b11"}\n');
CALL test.load('6.3', 'rm', $$, on_error => 'reject'$$);
SELECT id, v, n, _dlt_id FROM rm.all ORDER BY id;
SELECT * FROM rm.all__b ORDER BY _dlt_id;
SELECT job, line, code, reason FROM test.rejects();

-- Nested tables: rows whose parent was refused, when it was read or when it was merged, are rejected with it. A replay after the fix brings all of them.
SET check_function_bodies = off;
CREATE FUNCTION test.tree() RETURNS SETOF text LANGUAGE sql AS
$$ SELECT * FROM (SELECT format('%s %s', id, v) FROM rm.tree UNION ALL SELECT format('%s > %s %s', _dlt_root_id, _dlt_id, v) FROM rm.tree__b
	UNION ALL SELECT format('%s > %s > %s %s', _dlt_root_id, _dlt_parent_id, _dlt_id, v) FROM rm.tree__b__c) AS t(row) ORDER BY row COLLATE "C" $$;
RESET check_function_bodies;
CREATE FUNCTION test.tree_schema(strategy text, load_id text) RETURNS text LANGUAGE sql AS $$
SELECT test.schema('a', format('tree: id bigint! +primary_key, v text, _dlt_id text! +unique +row_key%s; write_disposition="merge", x-merge-strategy=%s', ', ' || load_id || ' text', to_json(strategy)),
	'tree__b: v text, _dlt_root_id text! +root_key, _dlt_parent_id text! +parent_key, _dlt_id text! +unique +row_key; parent="tree"',
	'tree__b__c: v text, _dlt_root_id text! +root_key, _dlt_parent_id text! +parent_key, _dlt_id text! +unique +row_key; parent="tree__b"') $$;
CREATE PROCEDURE test.tree_load(strategy text, load_id text DEFAULT '_dlt_load_id', INOUT state text DEFAULT NULL, INOUT code text DEFAULT NULL, INOUT message text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	d text;
	name text := strategy || '.' || load_id;
BEGIN
	DROP TABLE IF EXISTS rm.tree, rm.tree__b, rm.tree__b__c;
	CALL test.package('old.' || name, test.tree_schema(strategy, load_id),
		'tree.a.0.jsonl', replace(E'{"id":1,"v":"old","_dlt_id":"r1"}\n{"id":2,"v":"old","_dlt_id":"r2"}\n', '}', format(',%s:"old.%s"}', to_json(load_id), name)),
		'tree__b.b.0.jsonl', E'{"v":"old","_dlt_id":"b1","_dlt_parent_id":"r1","_dlt_root_id":"r1"}\n{"v":"old","_dlt_id":"b2","_dlt_parent_id":"r2","_dlt_root_id":"r2"}\n',
		'tree__b__c.c.0.jsonl', E'{"v":"old","_dlt_id":"c1","_dlt_parent_id":"b1","_dlt_root_id":"r1"}\n');
	CALL test.load('old.' || name, 'rm', ', on_error => ''reject''', state, code, message, d, d);
	ALTER TABLE rm.tree ADD CONSTRAINT tree_v CHECK (v <> 'evil');
	ALTER TABLE rm.tree__b ADD CONSTRAINT tree__b_v CHECK (v <> 'evil');
	CALL test.package('new.' || name, test.tree_schema(strategy, load_id),
		-- 1 and 4 are refused by the table, 3 by its type; of 2 a nested row is
		'tree.a.0.jsonl', replace(E'{"id":1,"v":"evil","_dlt_id":"r1"}\n{"id":2,"v":"new","_dlt_id":"r2"}\n{"id":3,"v":"new","_dlt_id":null}\n{"id":4,"v":"evil","_dlt_id":"r4"}\n', '}', format(',%s:"new.%s"}', to_json(load_id), name)),
		'tree__b.b.0.jsonl', E'{"v":"new","_dlt_id":"b1","_dlt_parent_id":"r1","_dlt_root_id":"r1"}\n{"v":"new","_dlt_id":"b22","_dlt_parent_id":"r2","_dlt_root_id":"r2"}\n'
			'{"v":"evil","_dlt_id":"b23","_dlt_parent_id":"r2","_dlt_root_id":"r2"}\n{"v":"new","_dlt_id":"b3","_dlt_parent_id":"r3","_dlt_root_id":"r3"}\n{"v":"new","_dlt_id":"b4","_dlt_parent_id":"r4","_dlt_root_id":"r4"}\n',
		'tree__b__c.c.0.jsonl', E'{"v":"new","_dlt_id":"c11","_dlt_parent_id":"b1","_dlt_root_id":"r1"}\n{"v":"new","_dlt_id":"c22","_dlt_parent_id":"b22","_dlt_root_id":"r2"}\n'
			'{"v":"new","_dlt_id":"c23","_dlt_parent_id":"b23","_dlt_root_id":"r2"}\n');
	CALL test.load('new.' || name, 'rm', ', on_error => ''reject''', state, code, message, d, d);
END $$;
CALL test.tree_load('upsert');
SELECT * FROM test.tree();
SELECT * FROM test.rejects();
SELECT * FROM test.counts();
SELECT * FROM loader_replay(test.last());
SELECT * FROM test.rejects();
ALTER TABLE rm.tree DROP CONSTRAINT tree_v;
BEGIN;
SELECT * FROM loader_replay(test.last());
ROLLBACK;
-- of one table: a nested row needs its parent
SELECT * FROM loader_replay(test.last(), 'tree__b__c');
SELECT line, col, code, reason FROM test.rejects() WHERE job = 'tree__b__c.c.jsonl';
SELECT * FROM loader_replay(test.last());
SELECT * FROM test.tree();
ALTER TABLE rm.tree__b DROP CONSTRAINT tree__b_v;
SELECT * FROM loader_replay(test.last());
SELECT * FROM test.tree();
SELECT * FROM test.counts();
SELECT * FROM test.rejects();
SELECT detail FROM loader.events WHERE package_id = test.last() AND kind = 'replayed' ORDER BY event_id;
CALL test.tree_load('delete-insert');
SELECT * FROM test.tree();
SELECT job, line, code FROM test.rejects();
ALTER TABLE rm.tree__b DROP CONSTRAINT tree__b_v;
SELECT * FROM loader_replay(test.last());
SELECT * FROM test.tree();
ALTER TABLE rm.tree DROP CONSTRAINT tree_v;
SELECT * FROM loader_replay(test.last());
SELECT * FROM test.tree();
SELECT job, line, code FROM test.rejects();
CALL test.tree_load('insert-only');
SELECT * FROM test.tree();
SELECT job, line, code FROM test.rejects();
ALTER TABLE rm.tree DROP CONSTRAINT tree_v;
SELECT * FROM loader_replay(test.last());
SELECT * FROM test.tree();
SELECT job, line, code FROM test.rejects();
-- Without a load id in root rows nobody knows whose they are: nested rows wait until no root row is a reject.
CALL test.tree_load('upsert', 'some_id');
ALTER TABLE rm.tree__b DROP CONSTRAINT tree__b_v;
SELECT * FROM loader_replay(test.last());
SELECT loader_discard(test.last(), 'tree');
SELECT * FROM loader_replay(test.last());
SELECT * FROM test.tree();
CALL test.tree_load('cdc');
SELECT * FROM test.tree();
SELECT * FROM test.try(format('SELECT loader_replay(%s)', test.last()));

-- Slowly changing dimensions: with a merge key that is one of rows
CREATE FUNCTION test.scd2_schema(key text) RETURNS text LANGUAGE sql AS $$
SELECT test.schema('a', format('scd: k bigint%s, v text, h text! +x-row-version, f timestamp +x-valid-from, t timestamp +x-valid-to; write_disposition="merge", x-merge-strategy="scd2"', key)) $$;
CREATE PROCEDURE test.scd2_load(key text, INOUT state text DEFAULT NULL, INOUT code text DEFAULT NULL, INOUT message text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	d text;
	name text := 'scd.' || length(key);
BEGIN
	DROP TABLE IF EXISTS rm.scd;
	CALL test.package(name || '.1', test.scd2_schema(key), 'scd.a.0.csv', E'k,v,h\n1,a,h1\n2,b,h2\n3,c,h3\n');
	CALL test.file(name || '.1/load_package_state.json', '{"created_at": "2024-01-01T00:00:00Z"}');
	CALL test.load(name || '.1', 'rm', ', on_error => ''reject''', state, code, message, d, d);
	ALTER TABLE rm.scd ADD CONSTRAINT scd_v CHECK (v <> 'evil');
	CALL test.package(name || '.2', test.scd2_schema(key), 'scd.a.0.csv', E'k,v,h\n1,evil,h11\n2,bb,h22\n3,c,h3\n4,evil,h4\n');
	CALL test.file(name || '.2/load_package_state.json', '{"created_at": "2024-02-01T00:00:00Z"}');
	CALL test.load(name || '.2', 'rm', ', on_error => ''reject''', state, code, message, d, d);
END $$;
CALL test.scd2_load(' +merge_key');
SELECT k, v, f, t FROM rm.scd ORDER BY k, f;
SELECT * FROM test.rejects();
ALTER TABLE rm.scd DROP CONSTRAINT scd_v;
BEGIN;
SELECT * FROM loader_replay(test.last());
SELECT k, v, CASE f WHEN now() THEN 'now' ELSE f::text END AS f, CASE t WHEN now() THEN 'now' ELSE t::text END AS t FROM rm.scd ORDER BY k, rm.scd.f;
COMMIT;
CALL test.scd2_load('');
SELECT k, v, f, t FROM rm.scd ORDER BY k, f;
SELECT * FROM test.try(format('SELECT loader_replay(%s)', test.last()));
-- with one that many rows have
CALL test.package('scd.3', test.scd2_schema(' +merge_key'), 'scd.a.0.csv', E'k,v,h\n1,a,h1\n1,b,h2\n1,evil,h9\n');
CALL test.file('scd.3/load_package_state.json', '{"created_at": "2024-03-01T00:00:00Z"}');
CALL test.load('scd.3', 'rm', $$, on_error => 'reject'$$);
SELECT k, v, f, t FROM rm.scd ORDER BY k, v;
SELECT * FROM test.rejects();
ALTER TABLE rm.scd DROP CONSTRAINT scd_v;
SELECT * FROM test.try(format('SELECT loader_replay(%s)', test.last()));

-- Replay in the three formats, of what was refused by the type, the staging table and the table; of a table whose type was mended
SELECT max(package_id) AS first FROM loader.rejects WHERE job_id = 'items.c.insert_values' \gset
ALTER TABLE rm.items DROP CONSTRAINT items_name_check, DROP CONSTRAINT items_at_excl, ALTER must DROP NOT NULL, ALTER id TYPE text, ALTER code TYPE bigint;
SELECT * FROM loader_replay(:first);
SELECT id, name, code, note, must, at FROM rm.items ORDER BY length(id), id;
SELECT job_id, line, column_name, sqlstate, message FROM loader.rejects WHERE package_id = :first ORDER BY job_id, line;
SELECT job_id, rows_read, rows_inserted, rows_rejected FROM loader.jobs WHERE package_id = :first AND kind = 'load' ORDER BY 1;
SELECT rows_read, rows_inserted, rows_updated, rows_rejected FROM loader.tables WHERE package_id = :first AND table_name = 'items';
SELECT count(*) FROM pg_class WHERE relname LIKE 'loader\_replay%';
-- What part of the rows would do harm: a merge key of delete-insert; conditions are not run
SELECT * FROM test.try(format('SELECT loader_replay(%s)', (SELECT max(package_id) FROM loader.rejects WHERE job_id = 'twins.b.csv')));
CALL test.package('5.1', test.schema('a', 'chain: id bigint! +primary_key, code bigint, v bigint; write_disposition="merge", x-merge-source-filter="id > 0"'), 'chain.a.0.csv', E'id,code,v\nx,1,1\n');
CALL test.load('5.1', 'rm', $$, on_error => 'reject'$$);
SELECT * FROM test.try(format('SELECT loader_replay(%s)', test.last()));
-- The schema is needed, and the rights are those of the caller.
CREATE ROLE regress_loader_reject_merge;
GRANT USAGE ON SCHEMA rm, test TO regress_loader_reject_merge;
GRANT pg_read_server_files TO regress_loader_reject_merge;
GRANT SELECT ON test.directory TO regress_loader_reject_merge;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_loader_reject_merge;
GRANT ALL ON ALL TABLES IN SCHEMA rm TO regress_loader_reject_merge;
GRANT CREATE ON SCHEMA rm_staging TO regress_loader_reject_merge;
ALTER SCHEMA rm_staging OWNER TO regress_loader_reject_merge;
ALTER TABLE rm_staging.chain OWNER TO regress_loader_reject_merge;
ALTER TABLE rm_staging._dlt_version OWNER TO regress_loader_reject_merge;
CALL test.package('5.2', test.schema('a', :chain), 'chain.a.0.csv', E'id,code,v\n50,50,0\n51,51,1\n');
SELECT test.path('5.2') AS path \gset
SET ROLE regress_loader_reject_merge;
SELECT loader_start(:'path', 'rm', on_error => 'reject') AS id \gset
SELECT loader_wait(:id, '180s');
SELECT message FROM loader.packages WHERE package_id = :id;
SELECT line, sqlstate FROM loader.rejects WHERE package_id = :id;
BEGIN;
UPDATE rm._dlt_version SET version_hash = 'none';
SELECT code, message, detail, hint FROM test.try(format('SELECT loader_replay(%s)', :id));
ROLLBACK;
RESET ROLE;
ALTER TABLE rm.chain DROP CONSTRAINT chain_v_check;
REVOKE INSERT ON rm.chain FROM regress_loader_reject_merge;
SET ROLE regress_loader_reject_merge;
SELECT code, message FROM test.try(format('SELECT loader_replay(%s)', :id));
RESET ROLE;
GRANT INSERT ON rm.chain TO regress_loader_reject_merge;
SET ROLE regress_loader_reject_merge;
SELECT * FROM loader_replay(:id);
RESET ROLE;
SELECT * FROM rm.chain WHERE id >= 50 ORDER BY id;

-- A bad row costs a few statements, not one for each half of what it was in; and the table is not read for each of them, without an index either.
CREATE SCHEMA rf;
CREATE TABLE rf.many (id bigint, v bigint CHECK (v % 50 <> 0), w text);
INSERT INTO rf.many SELECT i, 1, 'old' FROM generate_series(1, 4000) AS i;
ANALYZE rf.many;
SELECT E'id,v,w\n' || string_agg(format(E'%s,%s,new\n', i, i), '' ORDER BY i) AS file FROM generate_series(2001, 6000) AS i \gset
CALL test.package('6.1', test.schema('a', 'many: id bigint +primary_key, v bigint, w text; write_disposition="merge", x-merge-strategy="upsert"'), 'many.a.0.csv', :'file');
SELECT pg_snapshot_xmax(pg_current_snapshot()) AS before \gset
CALL test.load('6.1', 'rf', $$, on_error => 'reject'$$);
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint - :before < 500 AS few;
SELECT w, count(*), min(id), max(id) FROM rf.many GROUP BY 1 ORDER BY 1;
SELECT * FROM test.counts();
BEGIN;
SELECT pg_stat_get_xact_numscans('rf.many'::regclass) AS scans, pg_stat_get_xact_tuples_updated('loader.reject'::regclass) AS updates \gset
SELECT loaded, "left" FROM loader_replay(test.last());
SELECT pg_stat_get_xact_numscans('rf.many'::regclass) - :scans < 20 AS few, pg_stat_get_xact_tuples_updated('loader.reject'::regclass) - :updates AS renewed;
-- what was refused for the same reason is left as it is; other reasons come many at a time
ALTER TABLE rf.many RENAME CONSTRAINT many_v_check TO named;
CREATE SEQUENCE rf.updates;
CREATE FUNCTION rf.count() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('rf.updates'); RETURN NULL; END $$;
CREATE TRIGGER updates AFTER UPDATE ON loader.reject EXECUTE FUNCTION rf.count();
SELECT loaded, "left" FROM loader_replay(test.last());
SELECT pg_stat_get_xact_tuples_updated('loader.reject'::regclass) - :updates AS renewed, last_value AS statements FROM rf.updates;
SELECT message, count(*) FROM loader.rejects WHERE package_id = test.last() GROUP BY 1;
DROP TRIGGER updates ON loader.reject;
COMMIT;
-- One staged row for several rows of the target, and a row that another one has changed before it.
CREATE TABLE rf.several (id bigint, v bigint, w text, UNIQUE (w, v));
INSERT INTO rf.several VALUES (1, 1, 'a'), (1, 2, 'b'), (2, 1, 'c'), (3, 1, 'd');
CALL test.package('6.2', test.schema('a', 'several: id bigint +primary_key, v bigint, w text; write_disposition="merge", x-merge-strategy="upsert"'), 'several.a.0.csv',
	E'id,v,w\n1,1,e\n2,1,f\n2,2,g\n3,5,g\n4,5,g\n');
CALL test.load('6.2', 'rf', $$, on_error => 'reject'$$);
SELECT * FROM rf.several ORDER BY id, v, w;
SELECT * FROM test.rejects();

-- A row that a foreign key has changed before it, in a piece of its own.
CREATE TABLE rf.tree (id bigint, code int UNIQUE, boss int REFERENCES rf.tree (code) ON UPDATE CASCADE, v bigint CHECK (v > 0));
INSERT INTO rf.tree VALUES (1, 10, NULL, 1), (2, 20, 10, 1), (3, 30, 10, 1);
CALL test.package('6.4', test.schema('a', 'tree: id bigint +primary_key, code bigint, boss bigint, v bigint; write_disposition="merge", x-merge-strategy="upsert"'), 'tree.a.0.csv',
	E'id,code,boss,v\n1,11,,2\n2,20,11,0\n3,30,11,2\n');
CALL test.load('6.4', 'rf', $$, on_error => 'reject'$$);
SELECT * FROM rf.tree ORDER BY id;
SELECT * FROM test.rejects();

-- A row that somebody else changes while it is looked for: the third time that a row is checked.
CREATE SEQUENCE rf.checks;
CREATE FUNCTION rf.check(v bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN v > 0 AND (nextval('rf.checks') <> 3 OR test.waits()); END $$;
CREATE TABLE rf.busy (id bigint, v bigint, w text);
INSERT INTO rf.busy VALUES (1, 1, 'old'), (2, 2, 'old'), (3, 3, 'old');
ALTER TABLE rf.busy ADD CONSTRAINT positive CHECK (rf.check(v)) NOT VALID;
CALL test.package('6.6', test.schema('a', 'busy: id bigint +primary_key, v bigint; write_disposition="merge", x-merge-strategy="upsert"'), 'busy.a.0.csv', E'id,v\n1,11\n2,12\n3,0\n');
SELECT test.hold();
SELECT loader_start(test.path('6.6'), 'rf', on_error => 'reject') AS id \gset
CALL test.wait_for('(SELECT last_value = 3 FROM rf.checks)');
UPDATE rf.busy SET w = 'other' WHERE id = 3;
SELECT test.release();
SELECT loader_wait(:id, '180s');
SELECT * FROM rf.busy ORDER BY id;
SELECT * FROM test.rejects();

-- Many bad rows are many statements, between which it can be cancelled. Each takes some time here, so few come to be run then.
CREATE TABLE rf.slow (id bigint, v bigint CHECK (v > 0));
CREATE SEQUENCE rf.calls;
CREATE FUNCTION rf.call() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('rf.calls'), pg_sleep(0.01); RETURN NEW; END $$;
CREATE TRIGGER a BEFORE INSERT ON rf.slow FOR EACH ROW EXECUTE FUNCTION rf.call();
CREATE TRIGGER b BEFORE INSERT ON rf.slow FOR EACH ROW EXECUTE FUNCTION test.held();
SELECT E'id,v\n' || string_agg(format(E'%s,0\n', i), '' ORDER BY i) AS file FROM generate_series(1, 1000) AS i \gset
CALL test.package('6.5', test.schema('a', 'slow: id bigint +primary_key, v bigint; write_disposition="merge", x-merge-strategy="upsert"'), 'slow.a.0.csv', :'file');
SELECT test.hold();
SELECT loader_start(test.path('6.5'), 'rf', on_error => 'reject') AS id \gset
CALL test.wait_for('(SELECT is_called FROM rf.calls)');
SELECT loader_cancel(:id);
SELECT test.release();
SELECT loader_wait(:id, '180s');
SELECT state FROM loader.packages WHERE package_id = :id;
SELECT last_value < 500 AS few FROM rf.calls;
SELECT count(*) FROM rf.slow;
SELECT loader_forget(:id);

-- Nested rows that know their root row only; and a column that has no type yet, of which nothing is staged.
CALL test.package('6.3', replace(test.schema('a', 'root: id bigint +primary_key, v bigint, untyped text, _dlt_id text! +unique +row_key; write_disposition="merge", x-merge-strategy="upsert"',
	'root__n: v text, _dlt_root_id text! +root_key, _dlt_id text! +unique +row_key; parent="root"'), '"untyped": {"data_type": "text"}', '"untyped": {}'),
	'root.a.0.jsonl', E'{"id":1,"v":1,"_dlt_id":"r1"}\n{"id":2,"v":2,"_dlt_id":"r2"}\n',
	'root__n.b.0.jsonl', E'{"v":"a","_dlt_id":"n1","_dlt_root_id":"r1"}\n{"v":"b","_dlt_id":"n2","_dlt_root_id":"r2"}\n');
CREATE TABLE rf.root (id bigint, v bigint CONSTRAINT small CHECK (v < 2), _dlt_id text NOT NULL UNIQUE);
CALL test.load('6.3', 'rf', $$, on_error => 'reject'$$);
SELECT * FROM test.rejects();
ALTER TABLE rf.root DROP CONSTRAINT small;
SELECT loaded, "left" FROM loader_replay(test.last());
SELECT r.id, n.v FROM rf.root r JOIN rf.root__n n ON n._dlt_root_id = r._dlt_id ORDER BY 1;

-- A package that has failed after one of its files was staged has no rejects, and says so.
CALL test.package('6.40', test.schema('a', 'cut: id bigint +primary_key, v bigint; write_disposition="merge", x-merge-strategy="upsert"'),
	'cut.a.0.jsonl', E'{"id":1,"v":"x"}\n{"id":2,"v":2}\n', 'cut.b.0.csv', E'id,v\n3,"3\n');
SET loader.small_package = 0;
SET loader.workers = 1;
SELECT loader_start(test.path('6.40'), 'rf', on_error => 'reject') AS id \gset
SELECT loader_wait(:id);
RESET loader.small_package;
RESET loader.workers;
SELECT rows_rejected, message, hint FROM loader.packages WHERE package_id = :id;
SELECT job_id, state, rows_read, rows_inserted, rows_rejected FROM loader.jobs WHERE package_id = :id AND kind = 'load' ORDER BY 1;
SELECT table_name, rows_read, rows_rejected FROM loader.tables WHERE package_id = :id;
SELECT count(*) FROM loader.rejects WHERE package_id = :id;
SELECT loader_forget(:id);

DROP SCHEMA rm, rm_staging, rf, rf_staging CASCADE;
SELECT test.forget();
SELECT count(*) FROM loader.reject;
DROP OWNED BY regress_loader_reject_merge;
DROP ROLE regress_loader_reject_merge;
DROP FUNCTION test.last, test.counts, test.rejects, test.all_schema, test.tree, test.tree_schema, test.scd2_schema;
DROP PROCEDURE test.tree_load, test.scd2_load;
