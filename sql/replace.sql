-- Replaced tables: strategies, what becomes of a table that cannot be swapped, refresh, plans.
SET client_min_messages = error;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SELECT test.forget();	-- what other scripts have loaded
CREATE VIEW test.replaced AS
SELECT p.load_id, t.table_name AS "table", t.disposition, t.strategy, t.stage, t.sink, t.reason, t.rows_read AS read,
	t.rows_inserted AS inserted, t.rows_updated AS updated, t.rows_deleted AS deleted
FROM loader.tables t JOIN loader.packages p USING (package_id);
CREATE FUNCTION test.plan(name text, dataset text, more text DEFAULT '', OUT action text, OUT object text, OUT detail text)
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT action, object, detail FROM loader_plan(%L, %L%s) WHERE step > 1 ORDER BY step', test.path(name), dataset, more);
END $$;
\set items '''items: id bigint!, name text, _dlt_load_id text!, _dlt_id text!~ +row_key; write_disposition="replace"'''
\set kids '''items__kids: v text, _dlt_parent_id text! +parent_key, _dlt_list_idx bigint!, _dlt_id text!~ +row_key; parent="items"'''
\set log '''log: line text; write_disposition="append"'''

-- A first load creates the tables and replaces nothing.
CALL test.package('1.1', test.schema('shop', :items, :kids, :log), 'items.a.0.csv', E'id,name,_dlt_load_id,_dlt_id\n1,one,1.1,a\n2,two,1.1,b\n',
	'items__kids.a.0.csv', E'v,_dlt_parent_id,_dlt_list_idx,_dlt_id\nx,a,0,aa\n', 'log.a.0.csv', E'line\nfirst\n');
SELECT * FROM test.plan('1.1', 'shop');
CALL test.load('1.1', 'shop');
SELECT * FROM test.replaced WHERE load_id = '1.1' ORDER BY "table";

-- A later one swaps; a nested table without new rows is emptied. Tables stay the same for all who know them.
CREATE VIEW public.item_names AS SELECT i.name, k.v FROM shop.items i LEFT JOIN shop.items__kids k ON k._dlt_parent_id = i._dlt_id;
CREATE TABLE test.was AS SELECT oid, relname, relfilenode FROM pg_class WHERE relnamespace = 'shop'::regnamespace;
PREPARE names AS SELECT * FROM public.item_names ORDER BY name;
EXECUTE names;
CALL test.package('1.2', test.schema('shop', :items, :kids, :log), 'items.a.0.csv', E'id,name,_dlt_load_id,_dlt_id\n3,three,1.2,c\n',
	'items.b.0.jsonl', E'{"id":4,"_dlt_load_id":"1.2","_dlt_id":"d"}\n', 'log.a.0.csv', E'line\nsecond\n');
SELECT * FROM test.plan('1.2', 'shop');
CALL test.load('1.2', 'shop');
SELECT * FROM test.replaced WHERE load_id = '1.2' ORDER BY "table";
EXECUTE names;
SELECT * FROM shop.items ORDER BY id;
SELECT * FROM shop.log ORDER BY line;
SELECT c.relname, c.relfilenode <> w.relfilenode AS other_storage FROM test.was w JOIN pg_class c USING (oid) WHERE w.relname !~ '^_dlt' ORDER BY 1;
SELECT j.file_name, j.table_name, j.format, j.kind, j.state, j.retry_count, j.bytes, j.rows_read, j.rows_inserted, j.finished_at >= j.started_at AS finished
FROM loader.jobs j JOIN loader.packages p USING (package_id) WHERE p.load_id = '1.2' ORDER BY j.job_id;
SELECT p.load_id, p.jobs, p.completed_jobs FROM loader.packages p ORDER BY 1;
SELECT e.kind, e.object, e.detail FROM loader.events e JOIN loader.packages p USING (package_id) WHERE p.load_id = '1.2' ORDER BY e.event_id;
CALL test.wait_for('NOT EXISTS (SELECT FROM loader.running())');
SELECT table_name, lock_wait IS NOT NULL AS waited, lock_hold > '0' AND lock_hold < '1 day' AS held FROM loader.tables JOIN loader.packages USING (package_id) WHERE load_id = '1.2' ORDER BY 1;
-- nothing is left, and no staging dataset was needed
SELECT count(*) FROM loader.stage;
SELECT count(*) FROM pg_class WHERE relnamespace = 'loader_swap'::regnamespace;
SELECT nspname FROM pg_namespace WHERE nspname LIKE 'shop%';

-- Which strategy: the option, else the hint, else truncate-and-insert. By a swap they are all the same, but for diff.
CALL test.package('1.3', test.schema('shop', :items, :kids), 'items.a.0.csv', E'id,name,_dlt_load_id,_dlt_id\n3,three,1.2,c\n4,four,1.3,d\n5,five,1.3,e\n');
SELECT * FROM test.plan('1.3', 'shop', $$, replace_strategy => 'diff'$$) WHERE action !~ '^(lock|load|publish)$';
CALL test.load('1.3', 'shop', $$, replace_strategy => 'diff'$$);
CALL test.package('1.4', test.schema('shop', :items || ', x-replace-strategy="insert-from-staging"', :kids), 'items.a.0.csv', E'id,name,_dlt_load_id,_dlt_id\n3,three,1.2,c\n');
CALL test.load('1.4', 'shop');
CALL test.package('1.5', test.schema('shop', :items || ', x-replace-strategy="insert-from-staging"', :kids), 'items.a.0.csv', E'id,name,_dlt_load_id,_dlt_id\n3,3,1.2,c\n');
CALL test.load('1.5', 'shop', $$, replace_strategy => 'staging-optimized'$$);
CALL test.package('1.6', test.schema('shop', :items || ', x-replace-strategy="diff"', :kids), 'items.a.0.csv', E'id,name,_dlt_load_id,_dlt_id\n3,3,1.2,c\n',
	'items__kids.a.0.csv', E'v,_dlt_parent_id,_dlt_list_idx,_dlt_id\ny,c,0,cc\n');
CALL test.load('1.6', 'shop');
SELECT * FROM test.replaced WHERE load_id > '1.2' ORDER BY load_id, "table";
EXECUTE names;
SELECT count(*) FROM loader.events WHERE kind = 'not swapped';
-- the staging dataset that diff needs; what a swap replaces is not in it
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'shop_staging'::regnamespace AND c.relkind = 'r' ORDER BY 1;
SELECT * FROM shop_staging.items;
SELECT count(*) FROM shop_staging._dlt_version;

-- An empty package of a replaced table empties it, and its nested tables.
CALL test.package('1.7', test.schema('shop', :items, :kids), 'items.a.0.jsonl', '');
CALL test.load('1.7', 'shop');
EXECUTE names;
SELECT * FROM test.replaced WHERE load_id = '1.7' ORDER BY "table";
-- A row that is refused: the table stays as it is.
ALTER TABLE shop.items ADD PRIMARY KEY (id);
CALL test.package('1.8', test.schema('shop', :items, :kids), 'items.a.0.csv', E'id,name,_dlt_load_id,_dlt_id\n1,x,1.8,a\n1,y,1.8,b\n', 'items__kids.a.0.csv', E'v,_dlt_parent_id,_dlt_list_idx,_dlt_id\ny,c,0,cc\n');
SELECT loader_start(test.path('1.8'), 'shop') AS id \gset
SELECT loader_wait(:id, '600s');
SELECT sqlstate, message, detail, hint FROM loader.packages WHERE package_id = :id;
SELECT table_name, kind, state, sqlstate, exception FROM loader.jobs WHERE package_id = :id ORDER BY table_name, kind;
SELECT e.kind, regexp_replace(e.object, '^(items)\..*', '\1') AS object, e.detail FROM loader.events e WHERE package_id = :id ORDER BY event_id;
SELECT count(*) FROM shop.items;
SELECT loader_forget(:id);
DEALLOCATE names;
DROP VIEW public.item_names;

-- What cannot be swapped, and why. Contents are the same, views of all kinds stay.
CREATE SCHEMA odd;
CREATE TABLE odd.plain (id bigint PRIMARY KEY, v text);
CREATE TABLE odd.referenced (id bigint PRIMARY KEY, v text);
CREATE TABLE odd.referencing (id bigint REFERENCES odd.referenced, v text);
CREATE TABLE test.keys (id bigint PRIMARY KEY);
INSERT INTO test.keys SELECT generate_series(1, 9);
CREATE TABLE odd.keyed (id bigint REFERENCES test.keys, v text);
CREATE TABLE odd.parted (id bigint, v text) PARTITION BY RANGE (id);
CREATE TABLE odd.parted_1 PARTITION OF odd.parted FOR VALUES FROM (0) TO (2);
CREATE TABLE odd.parted_2 PARTITION OF odd.parted DEFAULT;
CREATE TABLE odd.parent (id bigint, v text);
CREATE TABLE odd.child () INHERITS (odd.parent);
CREATE UNLOGGED TABLE odd.unlogged (id bigint, v text);
CREATE TABLE odd.fired (id bigint, v text);
CREATE TABLE test.fired (what text);
CREATE FUNCTION test.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.fired VALUES (TG_OP || ' ' || coalesce(NEW.id, OLD.id)); RETURN coalesce(NEW, OLD); END $$;
CREATE TRIGGER fire BEFORE INSERT OR DELETE ON odd.fired FOR EACH ROW EXECUTE FUNCTION test.fire();
CREATE TABLE odd.unfired (id bigint, v text);
CREATE TRIGGER fire BEFORE INSERT OR DELETE ON odd.unfired FOR EACH ROW EXECUTE FUNCTION test.fire();
ALTER TABLE odd.unfired DISABLE TRIGGER fire;
CREATE TABLE odd.updated (id bigint, v text);
CREATE TRIGGER fire BEFORE UPDATE ON odd.updated FOR EACH ROW EXECUTE FUNCTION test.fire();
CREATE TABLE odd.ruled (id bigint, v text);
CREATE RULE note AS ON DELETE TO odd.ruled DO ALSO INSERT INTO test.fired VALUES ('rule ' || OLD.id);
CREATE TABLE odd.whole_row (id bigint, v text);
CREATE INDEX ON odd.whole_row ((whole_row IS NULL));
CREATE TABLE odd.base (id bigint, v text);
CREATE VIEW odd.viewed AS SELECT * FROM odd.base;
CREATE TABLE odd.published (id bigint PRIMARY KEY, v text);
CREATE PUBLICATION regress_loader_replace FOR TABLE odd.published;
CREATE PROCEDURE test.odd(name text, file text) LANGUAGE plpgsql AS $$
DECLARE
	tables text[] := (SELECT array_agg(relname || ': id bigint +primary_key, v text; write_disposition="replace"' ORDER BY relname) FROM pg_class
		WHERE relnamespace = 'odd'::regnamespace AND relkind IN ('r', 'p', 'v') AND relname !~ '^(_dlt|child|base|parted_|referencing)');
	jobs text[] := (SELECT array_agg(j ORDER BY relname, n) FROM pg_class, unnest(ARRAY[relname || '.a.0.csv', file]) WITH ORDINALITY AS u(j, n)
		WHERE relnamespace = 'odd'::regnamespace AND relkind IN ('r', 'p', 'v') AND relname !~ '^(_dlt|child|base|parted_|referencing)');
BEGIN
	CALL test.package(name, test.schema('odd', VARIADIC tables), VARIADIC jobs);
END $$;
CALL test.odd('2.1', E'id,v\n1,a\n2,b\n3,c\n');
SELECT * FROM test.plan('2.1', 'odd') WHERE object !~ '_dlt' AND action !~ '^(lock|load|publish|replace)$';
CALL test.load('2.1', 'odd');
INSERT INTO odd.referencing VALUES (2, 'held');
TRUNCATE test.fired;
CALL test.odd('2.2', E'id,v\n2,B\n3,c\n4,d\n');
CALL test.load('2.2', 'odd');
SELECT "table", stage, sink, reason, read, inserted, updated, deleted FROM test.replaced WHERE load_id = '2.2' ORDER BY "table";
SELECT e.object, e.detail FROM loader.events e JOIN loader.packages p USING (package_id) WHERE e.kind = 'not swapped' AND p.load_id = '2.2' ORDER BY 1;
SELECT what FROM test.fired ORDER BY 1;
CREATE FUNCTION test.rows_of(relation regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	rows text;
BEGIN
	EXECUTE format('SELECT string_agg(id || v, '' '' ORDER BY id) FROM %s', relation) INTO rows;
	RETURN rows;
END $$;
SELECT c.relname, test.rows_of(c.oid) AS rows FROM pg_class c
WHERE c.relnamespace = 'odd'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND relname !~ '^_dlt' AND test.rows_of(c.oid) IS NOT NULL ORDER BY 1;
-- a row that is referenced cannot go: nothing of the package is done
CALL test.odd('2.3', E'id,v\n3,c\n');
CALL test.load('2.3', 'odd');
SELECT count(*) FROM odd.plain;
DROP PUBLICATION regress_loader_replace;
SELECT relname FROM pg_class WHERE relnamespace = 'odd_staging'::regnamespace AND relkind = 'r' ORDER BY relname COLLATE "C";

-- Somebody who may write but does not own the table; row security that binds.
CREATE ROLE regress_loader_writer;
GRANT pg_read_server_files TO regress_loader_writer;
SELECT current_database() AS database \gset
GRANT CREATE ON DATABASE :"database" TO regress_loader_writer;
GRANT EXECUTE ON FUNCTION loader_start(text, text, text, text, text, boolean, jsonb, boolean, integer, boolean, text, text, boolean, text), loader_wait TO regress_loader_writer;
GRANT USAGE ON SCHEMA test, odd TO regress_loader_writer;
GRANT SELECT ON test.directory TO regress_loader_writer;
GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA odd TO regress_loader_writer;
CREATE TABLE odd.secured (id bigint, v text);
ALTER TABLE odd.secured ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, OWNER TO regress_loader_writer;
CREATE POLICY mine ON odd.secured USING (id < 10);
INSERT INTO odd.secured VALUES (20, 'not his');
CALL test.package('2.4', test.schema('odd', 'plain: id bigint +primary_key, v text; write_disposition="replace"', 'secured: id bigint, v text; write_disposition="replace"'),
	'plain.a.0.csv', E'id,v\n7,g\n', 'secured.a.0.csv', E'id,v\n7,g\n');
SET ROLE regress_loader_writer;
SELECT loader_start(test.path('2.4'), 'odd', staging_dataset_name_layout => 'his_%s') AS id \gset
SELECT loader_wait(:id, '600s');
RESET ROLE;
SELECT state, sqlstate, message FROM loader.packages WHERE package_id = :id;
SELECT "table", stage, reason, read, inserted, updated, deleted FROM test.replaced WHERE load_id = '2.4' ORDER BY "table";
SELECT * FROM odd.plain;
SELECT * FROM odd.secured ORDER BY id;
SELECT relname, relowner::regrole FROM pg_class WHERE relnamespace = 'his_odd'::regnamespace AND relkind = 'r' ORDER BY relname COLLATE "C";

-- A staging dataset, or a table in it, that somebody else has made: his triggers would run as whoever loads, a superuser too.
CREATE ROLE regress_loader_other;
GRANT CREATE ON DATABASE :"database" TO regress_loader_other;
SET ROLE regress_loader_other;
CREATE SCHEMA trap_staging;
GRANT ALL ON SCHEMA trap_staging TO PUBLIC;
RESET ROLE;
CALL test.package('2.5', test.schema('trap', 'a: id bigint +primary_key; write_disposition="merge"', 'b: id bigint +primary_key; write_disposition="merge"'),
	'a.a.0.csv', E'id\n1\n', 'b.a.0.csv', E'id\n1\n');
CALL test.load('2.5', 'trap');
ALTER SCHEMA trap_staging OWNER TO CURRENT_USER;
CREATE TABLE trap_staging.a (id bigint);
ALTER TABLE trap_staging.a OWNER TO regress_loader_other;
CALL test.load('2.5', 'trap');
DROP TABLE trap_staging.a;
CALL test.load('2.5', 'trap');
-- One that is made anew while the package stages its rows: they are staged again.
CREATE TRIGGER held BEFORE INSERT ON trap_staging.b FOR EACH ROW EXECUTE FUNCTION test.held();
CALL test.package('2.6', test.schema('trap', 'a: id bigint +primary_key; write_disposition="merge"', 'b: id bigint +primary_key; write_disposition="merge"'),
	'a.a.0.csv', E'id\n2\n', 'b.a.0.csv', E'id\n2\n');
SELECT test.hold();
SET loader.small_package = 0;
SELECT loader_start(test.path('2.6'), 'trap', workers => 1) AS id \gset
RESET loader.small_package;
CALL test.wait_for($$(SELECT count(*) = 1 FROM loader.jobs WHERE state = 'completed' AND package_id = $$ || :id || ')');
DROP TABLE trap_staging.a;
CREATE TABLE trap_staging.a (id bigint);
SELECT test.release();
SELECT loader_wait(:id, '600s');
SELECT kind, object, detail FROM loader.events WHERE package_id = :id AND kind = 'retry';
SELECT (SELECT count(*) FROM trap.a) AS a, (SELECT count(*) FROM trap.b) AS b;
-- And so they are when the one that has them is still there, under another name.
CALL test.package('2.6.1', test.schema('trap', 'a: id bigint +primary_key; write_disposition="merge"', 'b: id bigint +primary_key; write_disposition="merge"'),
	'a.a.0.csv', E'id\n12\n', 'b.a.0.csv', E'id\n12\n');
SELECT test.hold();
SET loader.small_package = 0;
SELECT loader_start(test.path('2.6.1'), 'trap', workers => 1) AS id \gset
RESET loader.small_package;
CALL test.wait_for($$(SELECT count(*) = 1 FROM loader.jobs WHERE state = 'completed' AND package_id = $$ || :id || ')');
ALTER TABLE trap_staging.a RENAME TO was_a;
CREATE TABLE trap_staging.a (id bigint);
SELECT test.release();
SELECT loader_wait(:id, '600s');
SELECT (SELECT count(*) FROM trap.a WHERE id = 12) AS a, (SELECT count(*) FROM trap.b WHERE id = 12) AS b;
-- what the package has staged is nobody's as soon as it is loaded
SELECT count(*) FROM loader.stage;

-- A heap on record that is none any more: whoever cleans up forgets it, and nothing else.
INSERT INTO loader.stage (relation, package_id, table_name, kind) SELECT 'trap.a'::regclass, package_id, 'a', 'swap heap' FROM loader.packages WHERE load_id = '2.6';
CALL test.package('2.7', test.schema('trap', 'a: id bigint +primary_key; write_disposition="merge"'), 'a.a.0.csv', E'id\n3\n');
CALL test.load('2.7', 'trap');
CALL test.wait_for('NOT EXISTS (SELECT FROM loader.stage)');
SELECT count(*) FROM trap.a;

-- truncate_staging_dataset empties what the package has staged.
CALL test.package('3.1', test.schema('trunc', 'one: id bigint; write_disposition="replace"', 'two: id bigint +primary_key; write_disposition="merge"'),
	'one.a.0.csv', E'id\n1\n', 'two.a.0.csv', E'id\n1\n');
CALL test.load('3.1', 'trunc', ', truncate_staging_dataset => true');
SELECT (SELECT count(*) FROM trunc.one) AS one, (SELECT count(*) FROM trunc.two) AS two, (SELECT count(*) FROM trunc_staging.two) AS staged;
-- A swap beside it is no matter of the staging dataset; and what it replaces is only read while the rows come.
CREATE FUNCTION test.only_read(t text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN RETURN (SELECT bool_and(mode = 'AccessShareLock') FROM pg_locks WHERE relation = t::regclass AND pid = pg_backend_pid()); END $$;
ALTER TABLE trunc.one ADD CONSTRAINT only_read CHECK (id > 0 AND test.only_read('trunc.one')) NOT VALID;
CALL test.package('3.1.1', test.schema('trunc', 'one: id bigint; write_disposition="replace"', 'two: id bigint +primary_key; write_disposition="merge"'),
	'one.a.0.csv', E'id\n11\n', 'two.a.0.csv', E'id\n1\n');
CALL test.load('3.1.1', 'trunc', ', truncate_staging_dataset => true');
SELECT stage FROM loader.tables WHERE dataset = 'trunc' AND table_name = 'one' ORDER BY package_id DESC LIMIT 1;
SELECT (SELECT sum(id) FROM trunc.one) AS one, (SELECT count(*) FROM trunc.two) AS two, (SELECT count(*) FROM trunc_staging.two) AS staged;
ALTER TABLE trunc.one DROP CONSTRAINT only_read;
CALL test.package('3.2', test.schema('trunc', 'one: id bigint; write_disposition="replace"', 'two: id bigint +primary_key; write_disposition="merge"'),
	'one.a.0.csv', E'id\n2\n', 'two.a.0.csv', E'id\n2\n');
CALL test.load('3.2', 'trunc', $$, replace_strategy => 'diff'$$);
SELECT (SELECT count(*) FROM trunc.one) AS one, (SELECT count(*) FROM trunc.two) AS two, (SELECT count(*) FROM trunc_staging.one) AS staged_one,
	(SELECT count(*) FROM trunc_staging.two) AS staged_two;
CALL test.package('3.3', test.schema('trunc', 'one: id bigint; write_disposition="replace"', 'two: id bigint +primary_key; write_disposition="merge"'),
	'one.a.0.csv', E'id\n3\n', 'two.a.0.csv', E'id\n3\n');
CALL test.load('3.3', 'trunc', $$, replace_strategy => 'diff', truncate_staging_dataset => true$$);
SELECT (SELECT count(*) FROM trunc.one) AS one, (SELECT count(*) FROM trunc.two) AS two, (SELECT count(*) FROM trunc_staging.one) AS staged_one,
	(SELECT count(*) FROM trunc_staging.two) AS staged_two;

-- Rows that are left in a staging table are not in the way of a column that must have values.
CALL test.package('3.4', test.schema('trunc', 'one: id bigint; write_disposition="replace"', 'two: id bigint +primary_key; write_disposition="merge"'),
	'one.a.0.csv', E'id\n3\n', 'two.a.0.csv', E'id\n3\n');
CALL test.load('3.4', 'trunc', $$, replace_strategy => 'diff'$$);
TRUNCATE trunc.one, trunc.two;
CALL test.package('3.5', test.schema('trunc', 'one: id bigint, c text!; write_disposition="replace"', 'two: id bigint +primary_key, c text!; write_disposition="merge"'),
	'one.a.0.csv', E'id,c\n4,x\n', 'two.a.0.csv', E'id,c\n4,x\n');
CALL test.load('3.5', 'trunc', $$, replace_strategy => 'diff'$$);
SELECT * FROM trunc.one, trunc.two;
SELECT * FROM trunc_staging.one, trunc_staging.two;

-- Refresh, drop_data: tables of the schema and some that it no longer has are emptied; those without a table are nothing.
\set a '''a: id bigint; write_disposition="append"'''
\set b '''b: id bigint; write_disposition="append"'''
\set c '''c: id bigint +primary_key; write_disposition="merge"'''
\set d '''d: id bigint; write_disposition="replace"'''
\set all :a , :b , :c , :d
CALL test.package('4.1', test.schema('fresh', :all), 'a.a.0.csv', E'id\n1\n', 'b.a.0.csv', E'id\n1\n', 'c.a.0.csv', E'id\n1\n', 'd.a.0.csv', E'id\n1\n');
CALL test.load('4.1', 'fresh');
CREATE TABLE fresh.old AS SELECT 1 AS id;
CREATE TABLE fresh.other AS SELECT 1 AS id;
CALL test.package('4.2', test.schema('fresh', :all), 'a.a.0.csv', E'id\n2\n');
CALL test.file('4.2/load_package_state.json', '{"refresh": "drop_data", "truncated_tables": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}, {"name": "old"}, {"name": "never"}]}');
SELECT * FROM test.plan('4.2', 'fresh');
CALL test.load('4.2', 'fresh');
SELECT "table", disposition, strategy, stage, sink, reason, read, inserted, updated, deleted FROM test.replaced WHERE load_id = '4.2' ORDER BY "table";
SELECT j.table_name, j.kind, j.state FROM loader.jobs j JOIN loader.packages p USING (package_id) WHERE p.load_id = '4.2' ORDER BY 1;
CREATE VIEW test.fresh AS SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM fresh.a) AS a, (SELECT string_agg(id::text, ' ' ORDER BY id) FROM fresh.b) AS b,
	(SELECT string_agg(id::text, ' ' ORDER BY id) FROM fresh.c) AS c, (SELECT string_agg(id::text, ' ' ORDER BY id) FROM fresh.d) AS d,
	(SELECT count(*) FROM fresh.old) AS old, (SELECT count(*) FROM fresh.other) AS other;
SELECT * FROM test.fresh;
-- the same where tables cannot be swapped, and with rows for all of them
INSERT INTO fresh.b VALUES (7);
INSERT INTO fresh.c VALUES (7);
INSERT INTO fresh.old VALUES (7);
CREATE PUBLICATION regress_loader_replace FOR ALL TABLES;
-- a published table has to say which of its rows is which
CALL test.package('4.3', test.schema('fresh', :all), 'a.a.0.csv', E'id\n2\n3\n', 'c.a.0.csv', E'id\n3\n', 'd.a.0.csv', E'id\n3\n');
CALL test.file('4.3/load_package_state.json', '{"refresh": "drop_data", "truncated_tables": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}, {"name": "old"}]}');
SELECT * FROM test.plan('4.3', 'fresh') WHERE action !~ '^(lock|load|publish)$';
CALL test.load('4.3', 'fresh');
ALTER TABLE fresh.a REPLICA IDENTITY FULL;
ALTER TABLE fresh.b REPLICA IDENTITY FULL;
ALTER TABLE fresh.c REPLICA IDENTITY FULL;
ALTER TABLE fresh.d REPLICA IDENTITY FULL;
ALTER TABLE fresh.old REPLICA IDENTITY FULL;
CALL test.load('4.3', 'fresh');
SELECT "table", disposition, strategy, stage, sink, reason, read, inserted, updated, deleted FROM test.replaced WHERE load_id = '4.3' ORDER BY "table";
SELECT * FROM test.fresh;
DROP PUBLICATION regress_loader_replace;
-- drop_resources, drop_sources: tables go, here and in the staging dataset, and all versions of the schema
CALL test.package('4.4', test.schema('fresh', :all), 'c.a.0.csv', E'id\n4\n', 'd.a.0.csv', E'id\n4\n');
CALL test.file('4.4/load_package_state.json', '{"refresh": "drop_resources", "dropped_tables": [{"name": "c"}, {"name": "d"}, {"name": "never"}]}');
-- what depends on them is an error, as for dlt
CALL test.load('4.4', 'fresh');
SELECT * FROM test.fresh;
DROP VIEW test.fresh;
SELECT * FROM test.plan('4.4', 'fresh');
CALL test.load('4.4', 'fresh');
SELECT "table", disposition, strategy, stage, sink, reason, read, inserted, updated, deleted FROM test.replaced WHERE load_id = '4.4' ORDER BY "table";
SELECT e.kind, e.object FROM loader.events e JOIN loader.packages p USING (package_id) WHERE p.load_id = '4.4' ORDER BY e.event_id;
SELECT (SELECT string_agg(id::text, ' ') FROM fresh.c) AS c, (SELECT string_agg(id::text, ' ') FROM fresh.d) AS d, (SELECT count(*) FROM fresh._dlt_version) AS versions;
CALL test.package('4.5', test.schema('fresh', 'e: id bigint; write_disposition="append"'), 'e.a.0.csv', E'id\n5\n');
CALL test.file('4.5/load_package_state.json', '{"refresh": "drop_sources", "dropped_tables": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}]}');
CALL test.load('4.5', 'fresh');
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('fresh', 'fresh_staging') AND c.relkind = 'r'
ORDER BY n.nspname, c.relname COLLATE "C";
SELECT (SELECT count(*) FROM fresh._dlt_version) AS versions, (SELECT count(*) FROM fresh_staging._dlt_version) AS staging_versions, (SELECT count(*) FROM fresh._dlt_loads) AS loads;

-- Dropped once, also if the package goes on later: what has the name then is not what it dropped.
-- A table that is dropped and made anew has indexes of the names that they would have had. A column without a type, of which
-- nothing but NULL was seen, is none.
CALL test.package('4.6', test.schema('renewed', :items), 'items.a.0.csv', E'id,name,_dlt_load_id,_dlt_id\n1,one,4.6,a\n');
CALL test.load('4.6', 'renewed');
CALL test.package('4.7', regexp_replace(test.schema('renewed', :items, 'plain: id bigint, never text; write_disposition="append"'), '("never": \{[^}]*)"data_type": "text",? ?', '\1'),
	'items.a.0.csv', E'id,name,_dlt_load_id,_dlt_id\n2,two,4.7,b\n', 'plain.a.0.csv', E'id\n1\n');
CALL test.file('4.7/load_package_state.json', '{"refresh": "drop_resources", "dropped_tables": [{"name": "items"}]}');
SELECT action, object, detail FROM test.plan('4.7', 'renewed') WHERE action ~ '^(load|create)';
CALL test.load('4.7', 'renewed');
SELECT indexrelid::regclass, indrelid::regclass FROM pg_index WHERE indrelid = 'renewed.items'::regclass;
SELECT attname FROM pg_attribute WHERE attrelid = 'renewed.plain'::regclass AND attnum > 0;
CALL test.package('4.7.1', regexp_replace(test.schema('renewed', 'plain: never text, id bigint; write_disposition="append"'), '("never": \{[^}]*)"data_type": "text",? ?', '\1'),
	'plain.a.0.csv', E'2\n');
CALL test.load('4.7.1', 'renewed', $$, csv_format => '{"header": false}'$$);
SELECT id FROM renewed.plain ORDER BY 1;
CALL test.package('4.8', test.schema('once', 'old: id bigint; write_disposition="append"'), 'old.a.0.csv', E'id\n1\n');
CALL test.load('4.8', 'once');
CALL test.package('4.9', test.schema('once', 'a: id bigint; write_disposition="append"', 'b: id bigint; write_disposition="append"'), 'a.a.0.csv', E'id\n1\n', 'b.a.0.csv', E'id\nx\n');
CALL test.file('4.9/load_package_state.json', '{"refresh": "drop_resources", "dropped_tables": [{"name": "old"}]}');
SELECT loader_start(test.path('4.9'), 'once', atomic => false) AS id \gset
SELECT loader_wait(:id, '600s');
SELECT to_regclass('once.old') AS old;
CREATE TABLE once.old AS SELECT 'somebody else''s' AS what;
CREATE DOMAIN once.lenient AS text;
ALTER TABLE once.b ALTER id TYPE once.lenient;
SELECT loader_resume(:id);
SELECT loader_wait(:id, '600s');
SELECT (SELECT what FROM once.old) AS old, (SELECT id FROM once.b) AS b;
DROP SCHEMA once CASCADE;

-- What is swapped in was analyzed: by the columns and by an index's expression.
CALL test.package('4.91', test.schema('counted', 'c: id bigint, v text; write_disposition="replace"'), 'c.a.0.csv', E'id,v\n1,x\n');
CALL test.load('4.91', 'counted');
CREATE INDEX c_upper ON counted.c (upper(v));
CALL test.package('4.92', test.schema('counted', 'c: id bigint, v text; write_disposition="replace"'), 'c.a.0.csv', E'id,v\n1,x\n2,x\n3,y\n');
CALL test.load('4.92', 'counted');
SELECT tablename, attname, n_distinct FROM pg_stats WHERE schemaname = 'counted' AND tablename LIKE 'c%' ORDER BY 1, 2;
DROP SCHEMA counted CASCADE;

-- A disposition or strategy that is another one than last time.
CREATE PROCEDURE test.turn(name text, hints text) LANGUAGE plpgsql AS $$
BEGIN
	CALL test.package(name, test.schema('turns', 't: id bigint! +primary_key, v text, _dlt_load_id text!, _dlt_id text!~ +row_key; ' || hints), 't.a.0.csv', format(E'id,v,_dlt_load_id,_dlt_id\n1,%1$s,%1$s,%1$s-1\n2,%1$s,%1$s,%1$s-2\n', name));
END $$;
CALL test.turn('5.1', 'write_disposition="append"');
CALL test.load('5.1', 'turns');
CALL test.turn('5.2', 'write_disposition="replace"');
CALL test.load('5.2', 'turns');
CALL test.turn('5.3', 'write_disposition="append"');
CALL test.load('5.3', 'turns');
CALL test.turn('5.4', 'write_disposition="merge"');
SELECT * FROM test.plan('5.4', 'turns');
CALL test.load('5.4', 'turns');
CALL test.turn('5.5', 'write_disposition="merge", x-merge-strategy="upsert"');
SELECT * FROM test.plan('5.5', 'turns') WHERE action !~ '^(lock|load|publish)$';
CALL test.load('5.5', 'turns');
CALL test.turn('5.6', 'write_disposition="merge", x-merge-strategy="insert-only"');
CALL test.load('5.6', 'turns');
SELECT id, v FROM turns.t ORDER BY id, v;
-- a merge table becomes append, and its key is none of the table's
CALL test.turn('5.7', 'write_disposition="append"');
CALL test.load('5.7', 'turns');
SELECT id, v FROM turns.t ORDER BY id, v;
-- a new key: rows that are there have none, and are not found by it
CALL test.package('5.8', test.schema('turns', 't: id bigint!, v text, k bigint +primary_key, _dlt_load_id text!, _dlt_id text!~ +row_key; write_disposition="merge"'),
	't.a.0.csv', E'id,v,k,_dlt_load_id,_dlt_id\n1,5.8,1,5.8,5.8-1\n');
SELECT * FROM test.plan('5.8', 'turns') WHERE action !~ '^(load|publish)$';
CALL test.load('5.8', 'turns');
SELECT id, v, k FROM turns.t ORDER BY id, v;
-- delete-insert to scd2: the columns of validity come along, NULL in the old rows, which count as active and are retired
CALL test.package('5.9', test.schema('turns', 't: id bigint!, v text, _dlt_load_id text!, _dlt_id text! +x-row-version, _dlt_valid_from timestamp +x-valid-from, _dlt_valid_to timestamp +x-valid-to; write_disposition="merge", x-merge-strategy="scd2"'),
	't.a.0.csv', E'id,v,_dlt_load_id,_dlt_id\n1,5.9,5.9,5.8-1\n9,5.9,5.9,5.9-1\n');
CALL test.file('5.9/load_package_state.json', '{"created_at": "2024-02-03T04:05:06.789Z"}');
SELECT * FROM test.plan('5.9', 'turns') WHERE action !~ '^(load|publish)$';
CALL test.load('5.9', 'turns');
SELECT id, v, _dlt_valid_from, _dlt_valid_to FROM turns.t ORDER BY id, v;
-- and to replace again
CALL test.turn('5.99', 'write_disposition="replace"');
CALL test.load('5.99', 'turns');
SELECT id, v, k, _dlt_valid_from FROM turns.t ORDER BY id, v;
SELECT load_id, disposition, strategy, stage, reason, read, inserted, updated, deleted FROM test.replaced WHERE load_id LIKE '5.%' ORDER BY load_id;

-- Not atomic: jobs commit by themselves, replaces and merges still come all at once at the end.
CALL test.package('6.1', test.schema('jobs', 'a: id bigint; write_disposition="append"', 'b: id bigint; write_disposition="replace"', 'c: id bigint +primary_key; write_disposition="merge"'),
	'a.a.0.csv', E'id\n1\n', 'b.a.0.csv', E'id\n1\n', 'c.a.0.csv', E'id\n1\n');
SELECT * FROM test.plan('6.1', 'jobs', ', atomic => false');
CALL test.load('6.1', 'jobs', ', atomic => false');
CALL test.package('6.2', test.schema('jobs', 'a: id bigint; write_disposition="append"', 'b: id bigint; write_disposition="replace"', 'c: id bigint +primary_key; write_disposition="merge"'),
	'a.a.0.csv', E'id\n2\n', 'b.a.0.csv', E'id\n2\n', 'b.b.0.csv', E'id\n3\n', 'c.a.0.csv', E'id\n1\n', 'c.b.0.csv', E'id\n2\n');
CALL test.load('6.2', 'jobs', ', atomic => false, workers => 2');
SELECT load_id, "table", strategy, stage, sink, read, inserted, updated, deleted FROM test.replaced WHERE load_id LIKE '6.%' ORDER BY load_id, "table";
SELECT p.load_id, j.table_name, j.kind, j.state, j.rows_read, j.rows_inserted FROM loader.jobs j JOIN loader.packages p USING (package_id) WHERE p.load_id = '6.2' ORDER BY j.table_name, j.kind, j.job_id;
SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM jobs.a) AS a, (SELECT string_agg(id::text, ' ' ORDER BY id) FROM jobs.b) AS b, (SELECT string_agg(id::text, ' ' ORDER BY id) FROM jobs.c) AS c;
-- one that fails: its appended rows are in, of the replaced and the merged table nothing
CALL test.package('6.3', test.schema('jobs', 'a: id bigint; write_disposition="append"', 'b: id bigint; write_disposition="replace"', 'c: id bigint +primary_key; write_disposition="merge"'),
	'a.a.0.csv', E'id\n4\n', 'b.a.0.csv', E'id\n4\n', 'b.b.0.csv', E'id\nfour\n', 'c.a.0.csv', E'id\n4\n');
CALL test.load('6.3', 'jobs', ', atomic => false');
SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM jobs.a) AS a, (SELECT string_agg(id::text, ' ' ORDER BY id) FROM jobs.b) AS b, (SELECT string_agg(id::text, ' ' ORDER BY id) FROM jobs.c) AS c;
SELECT j.file_name, j.kind, j.state, j.sqlstate, j.exception FROM loader.jobs j JOIN loader.packages p USING (package_id) WHERE p.load_id = '6.3' AND kind = 'load' ORDER BY j.file_name;
SELECT count(*) FROM loader.stage;
SELECT count(*) FROM pg_class WHERE relnamespace = 'loader_swap'::regnamespace;
-- mended, and registered anew: what was appended is not appended again
CALL test.sh($$printf 'id\n5\n' > 6.3/new_jobs/b.b.0.csv$$);
CALL test.load('6.3', 'jobs', ', atomic => false');
SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM jobs.a) AS a, (SELECT string_agg(id::text, ' ' ORDER BY id) FROM jobs.b) AS b, (SELECT string_agg(id::text, ' ' ORDER BY id) FROM jobs.c) AS c;

-- one that goes on without the job that fails
CALL test.package('6.4', test.schema('jobs', 'b: id bigint; write_disposition="replace"'), 'b.a.0.csv', E'id\nsix\n', 'b.b.0.csv', E'id\n6\n', 'b.c.0.csv', E'id\n7\n');
CALL test.load('6.4', 'jobs', ', atomic => false, complete_with_failed_jobs => true');
SELECT string_agg(id::text, ' ' ORDER BY id) AS b FROM jobs.b;
SELECT j.file_name, j.kind, j.state, j.rows_read FROM loader.jobs j JOIN loader.packages p USING (package_id) WHERE p.load_id = '6.4' ORDER BY j.kind, j.file_name;

-- By several workers, in transactions of their own before publish, as large packages are.
SET loader.small_package = 0;
\set many 'test.schema(''many'', ''a: id bigint; write_disposition="append"'', ''b: id bigint! +primary_key, v text; write_disposition="replace"'', ''b__kids: v text; parent="b"'', ''c: id bigint +primary_key, v text; write_disposition="merge"'', ''d: id bigint; write_disposition="replace", x-replace-strategy="diff"'')'
CALL test.package('8.1', :many, 'a.a.0.csv', E'id\n1\n', 'b.a.0.csv', E'id,v\n1,one\n', 'b__kids.a.0.csv', E'v\nx\n', 'c.a.0.csv', E'id,v\n1,one\n', 'd.a.0.csv', E'id\n1\n');
CALL test.load('8.1', 'many');
CALL test.package('8.2', :many, 'a.a.0.csv', E'id\n2\n', 'b.a.0.csv', E'id,v\n2,two\n', 'b.b.0.csv', E'id,v\n3,three\n', 'c.a.0.csv', E'id,v\n1,uno\n', 'c.b.0.csv', E'id,v\n2,due\n', 'd.a.0.csv', E'id\n1\n2\n');
CALL test.load('8.2', 'many', ', workers => 3');
SELECT load_id, "table", strategy, stage, sink, read, inserted, updated, deleted FROM test.replaced WHERE load_id LIKE '8.%' ORDER BY load_id, "table";
SELECT j.table_name, j.kind, j.state, j.rows_read, j.rows_inserted FROM loader.jobs j JOIN loader.packages p USING (package_id) WHERE p.load_id = '8.2' ORDER BY j.table_name, j.kind, j.file_name;
CREATE VIEW test.many AS SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM many.a) AS a, (SELECT string_agg(id || v, ' ' ORDER BY id) FROM many.b) AS b,
	(SELECT count(*) FROM many.b__kids) AS kids, (SELECT string_agg(id || v, ' ' ORDER BY id) FROM many.c) AS c, (SELECT string_agg(id::text, ' ' ORDER BY id) FROM many.d) AS d,
	(SELECT count(*) FROM loader.stage) AS staged, (SELECT count(*) FROM pg_class WHERE relnamespace = 'loader_swap'::regnamespace) AS heaps;
SELECT * FROM test.many;
-- a row that the swap heap, its index or the table's CHECK refuses; nothing is left of the package, with the error of its job
CALL test.package('8.3', :many, 'b.a.0.csv', E'id,v\n4,four\n', 'b.b.0.csv', E'id,v\nfive,5\n', 'c.a.0.csv', E'id,v\n4,four\n');
CALL test.load('8.3', 'many');
ALTER TABLE many.b ADD PRIMARY KEY (id);
CALL test.package('8.4', :many, 'b.a.0.csv', E'id,v\n4,four\n', 'b.b.0.csv', E'id,v\n4,five\n', 'c.a.0.csv', E'id,v\n4,four\n');
SELECT loader_start(test.path('8.4'), 'many') AS id \gset
SELECT loader_wait(:id, '600s');
SELECT sqlstate, message, detail, hint FROM loader.packages WHERE package_id = :id;
SELECT file_name, kind, state, sqlstate FROM loader.jobs WHERE package_id = :id AND table_name = 'b' ORDER BY file_name;
SELECT loader_forget(:id);
ALTER TABLE many.b ADD CHECK (v <> 'five');
CALL test.package('8.5', :many, 'b.a.0.csv', E'id,v\n4,four\n5,five\n', 'c.a.0.csv', E'id,v\n4,four\n');
SELECT loader_start(test.path('8.5'), 'many') AS id \gset
SELECT loader_wait(:id, '600s');
SELECT sqlstate, message, detail, hint FROM loader.packages WHERE package_id = :id;
SELECT table_name, kind, state, sqlstate FROM loader.jobs WHERE package_id = :id ORDER BY table_name, kind;
SELECT * FROM test.many;
-- mended and resumed
ALTER TABLE many.b DROP CONSTRAINT b_v_check;
SELECT loader_resume(:id);
SELECT loader_wait(:id, '600s');
SELECT table_name, kind, state, sqlstate FROM loader.jobs WHERE package_id = :id ORDER BY table_name, kind;
SELECT * FROM test.many;
RESET loader.small_package;

-- Jobs that have committed by themselves, and then the package is registered anew, and shall replace what they were to add
-- to: all its rows come again, in the place of those.
CALL test.package('9.1', test.schema('anew', 'a: id bigint; write_disposition="append"'), 'a.a.0.csv', E'id\n1\n', 'a.b.0.csv', E'id\nx\n');
SELECT loader_start(test.path('9.1'), 'anew', atomic => false, workers => 1) AS id \gset
SELECT loader_wait(:id, '600s');
SELECT (SELECT count(*) FROM anew.a) AS rows, j.file_name, j.state FROM loader.jobs j WHERE package_id = :id ORDER BY 2;
CALL test.file('9.1/schema.json', test.schema('anew', 'a: id bigint; write_disposition="replace"'));
CALL test.file('9.1/new_jobs/a.b.0.csv', E'id\n2\n');
SELECT loader_start(test.path('9.1'), 'anew') = :id AS the_same;
SELECT loader_wait(:id, '600s');
SELECT id FROM anew.a ORDER BY 1;
SELECT * FROM test.replaced WHERE load_id = '9.1' ORDER BY "table";

-- No indexes for unique hints, and a staging dataset of another name.
CALL test.package('7.1', test.schema('bare', :items, 'm: id bigint! +primary_key, u text~; write_disposition="merge"'),
	'items.a.0.csv', E'id,name,_dlt_load_id,_dlt_id\n1,one,7.1,a\n', 'm.a.0.csv', E'id,u\n1,x\n');
SELECT * FROM test.plan('7.1', 'bare', $$, create_indexes => false, staging_dataset_name_layout => 'stage of %s'$$) WHERE action !~ '^(lock|publish)$';
CALL test.load('7.1', 'bare', $$, create_indexes => false, staging_dataset_name_layout => 'stage of %s'$$);
CALL test.load('7.1', 'bare_too', $$, staging_dataset_name_layout => 'stage of %s'$$);
SELECT n.nspname, c.relname, (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid) AS indexes FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname ~ 'bare' AND c.relkind = 'r' AND c.relname !~ '^_dlt' ORDER BY 1, 2;

\set VERBOSITY terse
DROP VIEW test.many;
SELECT test.forget('shop', 'shop_staging', 'odd', 'odd_staging', 'his_odd', 'trunc', 'trunc_staging', 'trap', 'trap_staging', 'fresh', 'fresh_staging', 'turns', 'turns_staging', 'jobs', 'jobs_staging', 'many', 'many_staging',
	'bare', 'stage of bare', 'bare_too', 'stage of bare_too', 'anew', 'renewed', 'renewed_staging');
SELECT count(*) FROM loader.packages;
DROP OWNED BY regress_loader_writer, regress_loader_other;
DROP ROLE regress_loader_writer, regress_loader_other;
DROP VIEW test.replaced;
DROP FUNCTION test.plan, test.fire, test.only_read;
DROP PROCEDURE test.odd, test.turn;
DROP TABLE test.was, test.fired, test.keys;
