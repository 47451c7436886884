-- What files may hold, what is wrong with them, and what the tables they go into may be.
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
\set items '''items: id bigint!, name text, at timestamp, note text!; write_disposition="append"'''
\pset expanded auto

-- csv: an empty field is NULL, quoted or not, in a nullable column, and an empty text in another one.
CALL test.package('1.1', test.schema('a', :items), 'items.a.0.csv', E'id,name,at,note\n1,"","",""\n2,,,\n3,"a ""b""\nc,d",2024-02-29 12:00:00+01:00,"x"\n');
CALL test.load('1.1', 'data');
SELECT id, name, name IS NULL AS name_is_null, at, note, note IS NULL AS note_is_null FROM data.items ORDER BY id;
-- insert_values and jsonl say NULL when they mean it.
CALL test.package('1.2', test.schema('a', :items), 'items.a.0.insert_values',
	E'INSERT INTO {}("id","name","note")\nVALUES\n(11,E\'\',E\'\'),\n(12,NULL,E\'it\\\'s \\\\ \\n \\u00e4\'),\n(13,\'plain\',E\'x\');\nINSERT INTO {}("id","name","note") VALUES (14,NULL,E\'second\');\n',
	'items.b.0.jsonl', E'{"id":21,"name":"","note":""}\n{"note":"\\u00e4\\ud83d\\ude00","id":22,"name":null}\n\n  {"id":23,"at":"2024-02-29T12:00:00.5Z","note":"x"}');
CALL test.load('1.2', 'data');
SELECT id, name, name IS NULL AS name_is_null, at, note FROM data.items WHERE id > 10 ORDER BY id;
-- NULL where it may not be
CALL test.package('1.3', test.schema('a', :items), 'items.a.0.jsonl', E'{"id":31,"note":"x"}\n{"id":32}\n');
CALL test.load('1.3', 'data');
CALL test.package('1.3', test.schema('a', :items), 'items.a.0.insert_values', E'INSERT INTO {}("id","note")\nVALUES\n(1,E\'x\'),\n(2,NULL);\n');
CALL test.load('1.3', 'data');
SELECT count(*) FROM data.items;

-- What is wrong in a file: code, message and place for each.
CREATE TABLE test.bad (n integer GENERATED ALWAYS AS IDENTITY, file text, content bytea);
INSERT INTO test.bad (file, content) SELECT f, convert_to(c, 'UTF8') FROM (VALUES
	('items.a.0.csv', E'id,note\n1,x\nseven,x\n'),
	('items.a.0.csv', E'id,note\n9223372036854775808,x\n'),
	('items.a.0.csv', E'id,at,note\n1,yesterday maybe,x\n'),
	('items.a.0.csv', E'id,at,note\n1,2024-02-30,x\n'),
	('items.a.0.csv', E'id,note\n1\n'),
	('items.a.0.csv', E'id,note\n1,x,y\n'),
	('items.a.0.csv', E'id,note\n1,"x\n'),
	('items.a.0.csv', E'id,note\n1,"x"y\n'),
	('items.a.0.csv', E'id,nothing\n1,x\n'),
	('items.a.0.csv', E'id,id\n1,x\n'),
	('items.a.0.csv', E'id,""\n1,x\n'),
	('items.a.0.insert_values', E'INSERT INTO {}("id","note")\nVALUES\n(1,E\'x\'),\n(now(),E\'y\');\n'),
	('items.a.0.insert_values', E'INSERT INTO {}("id","note")\nVALUES\n(1,E\'x\'),\n(2);\n'),
	('items.a.0.insert_values', E'INSERT INTO {}("id","note")\nVALUES\n(1,E\'x\'),\n(2,E\'y\''),
	('items.a.0.insert_values', E'INSERT INTO {}("id","note")\nVALUES\n(1,E\'x\'); DROP TABLE data.items;\n'),
	('items.a.0.insert_values', E'INSERT INTO {}("id","nothing")\nVALUES\n(1,E\'x\');\n'),
	('items.a.0.insert_values', E'INSERT INTO {}("id","note")\nVALUES\n(E\'q\',E\'x\');\n'),
	('items.a.0.insert_values', E'DELETE FROM {};\n'),
	('items.a.0.insert_values', E'INSERT INTO {}("id","note")\nVALUES\n(1,E\'x\');\nINSERT INTO {}("note","id") VALUES (E\'second\',14);\n'),
	('items.a.0.insert_values', ''),
	('items.a.0.csv', E'id,note\n' || repeat('8', 5000) || E',x\n'),
	('items.a.0.jsonl', E'{"id":1,"note":"x"}\n{"id":\n'),
	('items.a.0.jsonl', E'{"id":1,"note":"x"}\n[1]\n'),
	('items.a.0.jsonl', E'{"id":1,"note":"x\\u0000y"}\n'),
	('items.a.0.jsonl', E'{"id":1,"note":"\\ud83d"}\n'),
	('items.a.0.jsonl', E'{"id":1,"nothing":"x"}\n'),
	('items.a.0.jsonl', E'{"id":1,"id":2,"note":"x"}\n'),
	('items.a.0.jsonl', E'{"id":1.5,"note":"x"}\n'),
	('items.a.0.jsonl', E'{"id":{"a":1},"note":"x"}\n'),
	('items.a.0.jsonl', E'{"id":1,"note":"x"} {"id":2,"note":"y"}\n'),
	('items.a.0.jsonl', repeat('[', 100000))) AS v(f, c);
INSERT INTO test.bad (file, content) VALUES
	('items.a.0.csv', E'\\x69642c6e6f74650a312cff0a'),
	('items.a.0.csv', E'\\x69642c6e6f74650a312c780079'),
	('items.a.0.jsonl', E'\\x7b226964223a312c226e6f7465223a22c328227d'),
	('items.a.0.insert_values', convert_to(E'INSERT INTO {}("id","note") VALUES (1,E\'x', 'UTF8') || E'\\xc0af' || convert_to(E'\');', 'UTF8')),
	('items.a.0.csv.gz', E'\\x1f8b08000000000000'),
	('items.a.0.csv.gz', E'\\x1f8b0800000000000003ffffffff'),
	('items.a.0.csv.zst', E'\\x28b52ffd20'),
	('items.a.0.csv.zst', E'\\x28b52ffd20050000ff');
CREATE PROCEDURE test.load_bad() LANGUAGE plpgsql AS $$
DECLARE
	b record;
	state text;
	code text;
	message text;
	detail text;
	hint text;
BEGIN
	FOR b IN SELECT * FROM test.bad ORDER BY n LOOP
		CALL test.package('1.40' || b.n, test.schema('a', 'items: id bigint!, name text, at timestamp, note text!'));
		CALL test.file(format('1.40%s/new_jobs/%s', b.n, b.file), b.content);
		CALL test.load('1.40' || b.n, 'data', '', state, code, message, detail, hint);
		RAISE INFO '% % %: % %|%|%', b.n, state, split_part(b.file, '.', 4), code, left(message, 200), left(detail, 200), hint;
		COMMIT;
	END LOOP;
END $$;
CALL test.load_bad();
SELECT DISTINCT id, name, note FROM data.items WHERE id < 10 ORDER BY 1, 2, 3;
-- The same once more by the view of jobs; a long value is cut at a character boundary.
CALL test.package('1.5', test.schema('a', :items), 'items.a.0.csv', E'id,note\n' || repeat('ä', 100) || E',x\n', 'items.b.0.csv', E'id,note\n1,x\n');
SELECT loader_start(test.path('1.5'), 'data') AS id \gset
SELECT loader_wait(:id, '600s');
SELECT job_id, state, retry_count, rows_read, rows_inserted, sqlstate, exception FROM loader.jobs WHERE package_id = :id ORDER BY job_id;
SELECT state, exception FROM loader_job(:id, 'items.a.csv');
SELECT kind, object, detail FROM loader.events WHERE package_id = :id ORDER BY event_id;
SELECT count(*) FROM loader.tables WHERE package_id = :id;
SELECT loader_forget(:id);

-- csv_format
CALL test.package('2.1', test.schema('a', 'latin: id bigint!, name text'));
CALL test.file('2.1/new_jobs/latin.a.0.csv', convert_to(E'1;Größe\n2;"a;b"\n', 'LATIN1'));
CALL test.load('2.1', 'data', $$, csv_format => '{"delimiter": ";", "header": false, "encoding": "latin1"}'$$);
SELECT * FROM data.latin ORDER BY id;
CALL test.package('2.2', test.schema('a', 'latin: id bigint!, name text'));
CALL test.file('2.2/new_jobs/latin.a.0.csv', convert_to(E'id;name\n3;Größe\n', 'LATIN1'));
CALL test.load('2.2', 'data', $$, csv_format => '{"delimiter": ";"}'$$);
-- without a header the columns are the schema's, in its order, also if the table has others
CREATE TABLE data.ordered (extra text DEFAULT 'e', name text, id bigint);
CALL test.package('2.3', test.schema('a', 'ordered: id bigint!, name text'), 'ordered.a.0.csv', E'1,x\n');
CALL test.load('2.3', 'data', $$, csv_format => '{"header": false}'$$);
SELECT id, name, extra FROM data.ordered;
CALL test.package('2.4', test.schema('a', 'latin: id bigint!, name text'), 'latin.a.0.csv', E'1,x,y\n');
CALL test.load('2.4', 'data', $$, csv_format => '{"header": false}'$$);

-- Packed or not is told by the first bytes, not by the name.
CALL test.package('3.1', test.schema('a', 'packed: id bigint!'), 'packed.a.0.csv', E'id\n1\n', 'packed.b.0.csv.gz', E'id\n2\n', 'packed.c.0.csv.zst', E'id\n3\n',
	'packed.d.0.csv', E'id\n4\n', 'packed.e.0.csv.zst', E'id\n5\n');
CALL test.sh('cd 3.1/new_jobs && gzip -n packed.d.0.csv && mv packed.d.0.csv.gz packed.d.0.csv && gzip -nc packed.e.0.csv.zst > e && mv e packed.e.0.csv.zst');
CALL test.file('3.1/new_jobs/packed.f.0.jsonl.gz', test.zstd(convert_to(E'{"id":6}\n', 'UTF8')));
CALL test.file('3.1/new_jobs/packed.g.0.jsonl.zst', test.zstd(convert_to(E'{"id":7}\n', 'UTF8')) || test.zstd(convert_to(E'{"id":8}\n', 'UTF8')));
CALL test.load('3.1', 'data');
SELECT array_agg(id ORDER BY id) FROM data.packed;
-- Files without rows; some have a header.
CALL test.package('3.2', test.schema('a', 'empty: id bigint!'), 'empty.b.0.csv', E'id\n', 'empty.c.0.jsonl', '',
	'empty.f.0.csv', E'id', 'empty.g.0.jsonl', '');
CALL test.sh('cd 3.2/new_jobs && gzip -n empty.g.0.jsonl');
CALL test.load('3.2', 'data');
SELECT count(*) FROM data.empty;
SELECT job_id, j.state, rows_read, rows_inserted FROM loader.jobs j JOIN loader.packages p USING (package_id) WHERE load_id = '3.2' ORDER BY job_id;
-- Files that should have had something in them.
CALL test.package('3.7', test.schema('a', 'empty: id bigint!'), 'empty.a.0.csv', '');
CALL test.load('3.7', 'data');
CALL test.sh('cd 3.7/new_jobs && gzip -n empty.a.0.csv');
CALL test.load('3.7', 'data');
CALL test.sh('cd 3.7/new_jobs && : > empty.a.0.csv.gz');
CALL test.load('3.7', 'data');
CALL test.load('3.7', 'data', $$, csv_format => '{"header": false}'$$);
CALL test.sh('cd 3.7/new_jobs && mv empty.a.0.csv.gz empty.a.0.jsonl.zst');
CALL test.load('3.7', 'data');
CALL test.sh('cd 3.7/new_jobs && mv empty.a.0.jsonl.zst empty.a.0.csv');
CALL test.load('3.7', 'data', $$, csv_format => '{"header": false}'$$);
SELECT count(*) FROM data.empty;
SELECT count(loader_forget(package_id)) FROM loader.packages WHERE load_id = '3.7';
-- A package without jobs is recorded.
CALL test.package('3.3', test.schema('a', 'never: id bigint!'));
CALL test.load('3.3', 'data');
SELECT to_regclass('data.never') IS NULL AS no_table, (SELECT count(*) FROM data._dlt_loads WHERE load_id = '3.3') AS recorded;
-- A table without a column is not made.
CALL test.package('3.4', replace(test.schema('a', 'void: id bigint'), '"columns": {"id": {"data_type": "bigint"}}', '"columns": {}'), 'void.a.0.jsonl', '');
CALL test.load('3.4', 'data');

-- A file that changes after registration.
CALL test.package('3.5', test.schema('a', 'empty: id bigint!'), 'empty.a.0.csv', E'id\n1\n');
SELECT loader_register(test.path('3.5'), 'data') AS id \gset
CALL test.file('3.5/new_jobs/empty.a.0.csv', E'id\n1\n2\n');
SELECT loader_start(:id) = :id AS same;
SELECT loader_wait(:id, '600s');
SELECT state, sqlstate, message, test.hide(detail) AS detail FROM loader.packages WHERE package_id = :id;
SELECT loader_start(test.path('3.5'), 'data') = :id AS anew;
SELECT loader_wait(:id, '600s');
SELECT count(*) FROM data.empty;
CALL test.package('3.6', test.schema('a', 'empty: id bigint!'), 'empty.a.0.csv', E'id\n1\n');
SELECT loader_register(test.path('3.6'), 'data') AS id \gset
CALL test.sh('rm 3.6/new_jobs/empty.a.0.csv');
SELECT loader_start(:id) = :id AS same;
SELECT loader_wait(:id, '600s');
SELECT state, sqlstate, message, test.hide(detail) AS detail FROM loader.packages WHERE package_id = :id;
CALL test.sh('rm -r 3.6');
SELECT loader_resume(:id);
SELECT loader_wait(:id, '600s');
SELECT state, sqlstate, test.hide(message) AS message FROM loader.packages WHERE package_id = :id;
SELECT loader_forget(:id);

-- Columns that exist with another type keep it; what does not fit is an error.
CREATE TABLE data.other (id integer, name varchar(3), at date, n numeric(4,1), b text);
CALL test.package('4.1', test.schema('a', 'other: id bigint!, name text, at timestamp, n double, b bool'), 'other.a.0.csv', E'id,name,at,n,b\n1,abc,2024-02-29 12:00:00,1.25,true\n');
SELECT action, object, detail FROM loader_plan(test.path('4.1'), 'data') WHERE action = 'keep type';
CALL test.load('4.1', 'data');
SELECT * FROM data.other;
CALL test.package('4.2', test.schema('a', 'other: id bigint!, name text, at timestamp, n double, b bool'), 'other.a.0.csv', E'id\n3000000000\n');
CALL test.load('4.2', 'data');
CALL test.package('4.2', test.schema('a', 'other: id bigint!, name text, at timestamp, n double, b bool'), 'other.a.0.csv', E'id,name\n1,abc\n2,abcd\n');
CALL test.load('4.2', 'data');
CALL test.package('4.2', test.schema('a', 'other: id bigint!, name text, at timestamp, n double, b bool'), 'other.a.0.csv', E'id,n\n1,1234\n');
CALL test.load('4.2', 'data');

-- What a table may be: through which sink its rows go, and why.
CREATE SCHEMA kinds;
SET search_path TO kinds, public;
CREATE TABLE plain (id bigint, name text);
CREATE TABLE defaults (id bigint, name text, n serial, at timestamptz DEFAULT '2000-01-01', x int GENERATED BY DEFAULT AS IDENTITY, d text DEFAULT upper('d'));
CREATE TABLE always (id bigint GENERATED ALWAYS AS IDENTITY, name text);
CREATE TABLE generated (id bigint, name text, twice bigint GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE parted (id bigint, name text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE inherited () INHERITS (plain);
CREATE TABLE checked (id bigint CHECK (id < 100), name text);
CREATE TABLE indexed (id bigint PRIMARY KEY, name text);
CREATE INDEX ON indexed (lower(name)) WHERE id > 0;
CREATE TABLE deferred (id bigint UNIQUE DEFERRABLE INITIALLY DEFERRED, name text);
CREATE TABLE target (id bigint PRIMARY KEY);
INSERT INTO target VALUES (1), (2);
CREATE TABLE keyed (id bigint REFERENCES target, name text);
CREATE TABLE keyed_late (id bigint REFERENCES target DEFERRABLE INITIALLY DEFERRED, name text);
CREATE TABLE triggered (id bigint, name text);
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$;
CREATE TRIGGER shout BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION shout();
CREATE TABLE untriggered (LIKE triggered);
CREATE TRIGGER shout BEFORE INSERT ON untriggered FOR EACH ROW EXECUTE FUNCTION shout();
ALTER TABLE untriggered DISABLE TRIGGER shout;
CREATE TABLE skipped (id bigint, name text);
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN NEW.id > 1 THEN NEW END; END $$;
CREATE TRIGGER skip BEFORE INSERT ON skipped FOR EACH ROW EXECUTE FUNCTION skip();
CREATE TABLE ruled (id bigint, name text);
CREATE RULE also AS ON INSERT TO ruled DO ALSO INSERT INTO plain VALUES (NEW.id + 1000, NEW.name);
CREATE VIEW simple AS SELECT id, name FROM plain;
CREATE VIEW grouped AS SELECT id, min(name) AS name FROM plain GROUP BY id;
CREATE MATERIALIZED VIEW material AS SELECT * FROM plain;
CREATE UNLOGGED TABLE unlogged (id bigint, name text);
CREATE DOMAIN small AS bigint CHECK (VALUE < 100);
CREATE DOMAIN given AS text NOT NULL;
CREATE TYPE mood AS ENUM ('sad', 'x', 'y');
CREATE TABLE typed (id small, name given);
CREATE TABLE moods (id bigint, name mood);
CREATE TABLE arrays (id bigint, name text[]);
CREATE TABLE documents (id bigint, name json);
RESET search_path;
CREATE SEQUENCE test.kind_no;
CREATE PROCEDURE test.kind(kind text, content text DEFAULT E'id,name\n1,x\n2,y\n') LANGUAGE plpgsql AS $$
DECLARE
	state text;
	code text;
	message text;
	detail text;
	hint text;
	how text;
	id text := '5.1' || nextval('test.kind_no');
BEGIN
	CALL test.package(id, test.schema('k_' || kind, format('%s: id bigint, name text', kind)), kind || '.a.0.csv', content);
	CALL test.load(id, 'kinds', '', state, code, message, detail, hint);
	SELECT format('sink %s%s, %s of %s rows', sink, ' (' || reason || ')', t.rows_inserted, t.rows_read) INTO how
	FROM loader.tables t JOIN loader.packages p USING (package_id) WHERE t.table_name = kind AND p.load_id = id AND p.schema_name = 'k_' || kind;
	RAISE INFO '%: % %', kind, state, coalesce(how, format('%s %s|%s|%s', code, message, detail, hint));
END $$;
CALL test.kind('plain');
CALL test.kind('defaults');
SELECT * FROM kinds.defaults ORDER BY id;
CALL test.kind('always');
SELECT * FROM kinds.always ORDER BY id;
CALL test.kind('generated');
SELECT * FROM kinds.generated ORDER BY id;
CALL test.kind('generated', E'id,twice\n1,7\n');
CALL test.kind('parted');
CALL test.kind('parted_1');
SELECT tableoid::regclass, * FROM kinds.parted ORDER BY id, name;
CALL test.kind('parted', E'id,name\n1,x\n100,y\n');
CALL test.kind('inherited');
CALL test.kind('checked');
CALL test.kind('checked', E'id,name\n1,x\n2,y\n300,z\n');
CALL test.kind('indexed');
CALL test.kind('indexed', E'id,name\n3,x\n1,y\n');
CALL test.kind('deferred');
CALL test.kind('deferred', E'id,name\n3,x\n3,y\n');
CALL test.kind('keyed');
CALL test.kind('keyed', E'id,name\n3,x\n');
CALL test.kind('keyed_late');
CALL test.kind('keyed_late', E'id,name\n3,x\n');
CALL test.kind('triggered');
CALL test.kind('untriggered');
SELECT name FROM kinds.triggered UNION ALL SELECT name FROM kinds.untriggered ORDER BY name;
CALL test.kind('skipped');
SELECT * FROM kinds.skipped;
CALL test.kind('ruled');
CALL test.kind('simple');
SELECT * FROM kinds.plain ORDER BY id, name;
CALL test.kind('grouped');
CALL test.kind('material');
CALL test.kind('unlogged');
CALL test.kind('typed');
CALL test.kind('typed', E'id,name\n1,x\n100,y\n');
CALL test.kind('typed', E'id,name\n1,x\n2,\n');
CALL test.kind('moods');
CALL test.kind('moods', E'id,name\n1,angry\n');
CALL test.kind('arrays', E'id,name\n1,"{a,""b c""}"\n');
SELECT name[2] FROM kinds.arrays;
CALL test.kind('arrays', E'id,name\n1,"{a"\n');
CALL test.kind('documents', E'id,name\n1,"{""a"": 1}"\n');
CALL test.kind('documents', E'id,name\n1,"{""a"""\n');
-- What is in the way of the record: dlt's own table is a view.
CREATE SCHEMA odd;
CREATE VIEW odd._dlt_loads AS SELECT 'x'::text AS load_id, 'x'::text AS schema_name, 0::bigint AS status, now() AS inserted_at, ''::text AS schema_version_hash;
CALL test.package('5.2', test.schema('a', 'one: id bigint'), 'one.a.0.csv', E'id\n1\n');
SELECT code, message, replace(detail, format('Role "%s"', current_user), 'Role "<role>"') AS detail FROM test.refuse('5.2', ', ''odd''');

-- Row-level security, as a role that it binds, and privileges on columns.
CREATE ROLE regress_loader_etl;
GRANT EXECUTE ON FUNCTION loader_start(text, text, text, text, text, boolean, jsonb, boolean, integer, boolean, text, bigint, boolean, text), loader_wait, loader_forget
	TO regress_loader_etl;
GRANT pg_read_server_files TO regress_loader_etl;
GRANT ALL ON SCHEMA test, kinds TO regress_loader_etl;
GRANT SELECT ON test.directory TO regress_loader_etl;
CREATE TABLE kinds.secured (id bigint, name text);
ALTER TABLE kinds.secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY low ON kinds.secured FOR INSERT WITH CHECK (id < 10);
GRANT INSERT ON kinds.secured TO regress_loader_etl;
CREATE TABLE kinds.columns (id bigint, name text, secret text DEFAULT 's');
GRANT INSERT (id, name) ON kinds.columns TO regress_loader_etl;
CREATE TABLE kinds.closed (id bigint, name text);
CREATE SCHEMA shut;
GRANT SELECT, INSERT ON kinds._dlt_loads, kinds._dlt_version TO regress_loader_etl;
CREATE PROCEDURE test.as_etl(name text, dataset text) LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
	p record;
BEGIN
	SET ROLE regress_loader_etl;
	id := loader_start(test.path(name), dataset);
	COMMIT;
	PERFORM loader_wait(id, '600s');
	SELECT state, sqlstate, message, detail FROM loader.packages WHERE package_id = id INTO p;
	RAISE INFO '% % % %', p.state, p.sqlstate, replace(p.message, current_database(), '<database>'), p.detail;
	IF p.state = 'failed' THEN
		PERFORM loader_forget(id);
	END IF;
	RESET ROLE;
END $$;
CALL test.package('5.3', test.schema('k_secured', 'secured: id bigint, name text'), 'secured.a.0.csv', E'id,name\n1,x\n');
CALL test.as_etl('5.3', 'kinds');
CALL test.package('5.4', test.schema('k_secured', 'secured: id bigint, name text'), 'secured.a.0.csv', E'id,name\n2,x\n20,y\n');
CALL test.as_etl('5.4', 'kinds');
SELECT * FROM kinds.secured;
SELECT sink, reason FROM loader.tables WHERE table_name = 'secured';
CALL test.package('5.5', test.schema('k_columns', 'columns: id bigint, name text'), 'columns.a.0.csv', E'id,name\n1,x\n');
CALL test.as_etl('5.5', 'kinds');
SELECT * FROM kinds.columns;
CALL test.package('5.6', test.schema('k_columns', 'columns: id bigint, name text, secret text'), 'columns.a.0.csv', E'id,secret\n1,x\n');
CALL test.as_etl('5.6', 'kinds');
CALL test.package('5.7', test.schema('k_closed', 'closed: id bigint, name text'), 'closed.a.0.csv', E'id,name\n1,x\n');
CALL test.as_etl('5.7', 'kinds');
-- a new column of a table of another owner
CALL test.package('5.7', test.schema('k_closed', 'columns: id bigint, name text, new text'), 'columns.a.0.csv', E'id,new\n1,x\n');
CALL test.as_etl('5.7', 'kinds');
-- a dataset that is not there, for a role that may not make one; one that it may not look into
SET ROLE regress_loader_etl;
SELECT * FROM test.try(format('SELECT loader_start(%L, %L)', test.path('5.7'), 'brand_new'));
SELECT * FROM test.try(format('SELECT loader_start(%L, %L)', test.path('5.7'), 'shut'));
RESET ROLE;

-- create_indexes
CALL test.package('6.1', test.schema('i', 'marked: id bigint!~, name text'), 'marked.a.0.csv', E'id,name\n1,x\n');
CALL test.load('6.1', 'with_indexes');
CALL test.load('6.1', 'without_indexes', ', create_indexes => false');
SELECT conrelid::regclass, conname, contype FROM pg_catalog.pg_constraint WHERE conrelid IN ('with_indexes.marked'::regclass, 'without_indexes.marked'::regclass) AND contype = 'u';
-- the same id in another package
CALL test.package('6.2', test.schema('i', 'marked: id bigint!~, name text'), 'marked.a.0.csv', E'id,name\n2,x\n1,x\n');
CALL test.load('6.2', 'with_indexes');
CALL test.load('6.2', 'without_indexes');
SELECT (SELECT count(*) FROM with_indexes.marked) AS with, (SELECT count(*) FROM without_indexes.marked) AS without;

-- Evolution: new columns are added before the load if they are nullable, with it if they are not.
CALL test.package('7.1', test.schema('e', 'grown: id bigint!'), 'grown.a.0.csv', E'id\n1\n');
CALL test.load('7.1', 'evolution');
CALL test.package('7.2', test.schema('e', 'grown: id bigint!, name text, u bigint~'), 'grown.a.0.csv', E'u,name,id\n7,x,2\n');
SELECT action, object, detail FROM loader_plan(test.path('7.2'), 'evolution') WHERE action = 'add column';
CALL test.load('7.2', 'evolution');
CALL test.package('7.3', test.schema('e', 'grown: id bigint!, name text, u bigint~, more text!'), 'grown.a.0.csv', E'id,more\n3,x\n');
CALL test.load('7.3', 'evolution');
-- a table that is empty takes a NOT NULL column
DELETE FROM evolution.grown;
CALL test.load('7.3', 'evolution');
-- a column that a failed package added stays, and is recorded
CALL test.package('7.4', test.schema('e', 'grown: id bigint!, name text, u bigint~, more text!, late text'), 'grown.a.0.csv', E'id,more,late\n4,x,y\nfive,x,y\n');
SELECT loader_start(test.path('7.4'), 'evolution') AS id \gset
SELECT loader_wait(:id, '600s');
SELECT kind, object, detail FROM loader.events WHERE package_id = :id ORDER BY event_id;
SELECT table_name, rows_inserted, lock_wait >= '0' AS waited, lock_hold >= '0' AS held FROM loader.tables WHERE package_id = :id;
SELECT loader_forget(:id);
\d evolution.grown
SELECT * FROM evolution.grown;
SELECT load_id, version_hash = schema_version_hash AS known FROM evolution._dlt_loads LEFT JOIN evolution._dlt_version ON version_hash = schema_version_hash ORDER BY load_id;
-- a column that the package no longer knows is left alone
CALL test.package('7.5', test.schema('e', 'grown: id bigint!, more text!'), 'grown.a.0.csv', E'id,more\n5,x\n');
CALL test.load('7.5', 'evolution');

-- A table that fails leaves no new table of its package behind, and no dataset.
CALL test.package('8.1', test.schema('f', 'one: id bigint', 'two: id bigint'), 'one.a.0.csv', E'id\n1\n', 'two.a.0.csv', E'id\nx\n');
CALL test.load('8.1', 'gone');
SELECT to_regnamespace('gone') IS NULL AS no_dataset;
-- atomic => false: what other jobs loaded stays; the load is not recorded.
CALL test.load('8.1', 'gone', ', atomic => false');
SELECT (SELECT count(*) FROM gone.one) AS one, (SELECT count(*) FROM gone.two) AS two, (SELECT count(*) FROM gone._dlt_loads) AS loads;
CALL test.package('8.2', test.schema('f2', 'one: id bigint', 'two: id bigint'), 'one.a.0.csv', E'id\n1\n', 'two.a.0.csv', E'id\nx\n');
SELECT loader_start(test.path('8.2'), 'gone', atomic => false, complete_with_failed_jobs => true) AS id \gset
SELECT loader_wait(:id, '600s');
SELECT state, completed_jobs, failed_jobs, sqlstate FROM loader.packages WHERE package_id = :id;
SELECT job_id, state, sqlstate, exception FROM loader.jobs WHERE package_id = :id ORDER BY job_id;
SELECT (SELECT count(*) FROM gone.one) AS one, (SELECT count(*) FROM gone.two) AS two, (SELECT count(*) FROM gone._dlt_loads) AS loads;

-- The dataset, where nobody names it: dlt's rule.
CALL test.package('9.1', test.schema('main', 'one: id bigint'), 'one.a.0.csv', E'id\n1\n');
CALL test.file('9.1/load_package_state.json', '{"pipeline_state": {"pipeline_name": "p", "state": "{\"dataset_name\": \"rule\", \"default_schema_name\": \"main\"}"}}');
SELECT object, detail FROM loader_plan(test.path('9.1')) WHERE action = 'create schema';
CALL test.file('9.1/load_package_state.json', '{"pipeline_state": {"pipeline_name": "p", "state": "{\"dataset_name\": \"rule\", \"default_schema_name\": \"other\"}"}}');
SELECT object, detail FROM loader_plan(test.path('9.1')) WHERE action = 'create schema';
SELECT object, detail FROM loader_plan(test.path('9.1'), default_schema_name => 'main') WHERE action = 'create schema';
CALL test.file('9.1/load_package_state.json', '{"pipeline_state": {"pipeline_name": "p", "state": "{\"dataset_name\": \"rule\"}"}}');
SELECT object, detail FROM loader_plan(test.path('9.1')) WHERE action = 'create schema';
SELECT object, detail FROM loader_plan(test.path('9.1'), default_schema_name => 'other') WHERE action = 'create schema';
CALL test.file('9.1/load_package_state.json', '{}');
SELECT code, message, replace(detail, current_user, '<user>') AS detail, hint FROM test.refuse('9.1', '');
CALL test.load('9.1', 'rule');
CALL test.package('9.2', test.schema('main', 'one: id bigint'), 'one.a.0.csv', E'id\n2\n');
SELECT loader_start(test.path('9.2')) AS id \gset
SELECT loader_wait(:id, '600s');
SELECT dataset FROM loader.packages WHERE package_id = :id;
CALL test.load('9.2', 'rule_2');
CALL test.package('9.3', test.schema('main', 'one: id bigint'));
SELECT code, message, replace(detail, current_user, '<user>') AS detail, hint FROM test.refuse('9.3', '');

-- Another encoding of the database: data are converted, names beyond ASCII are refused.
CREATE DATABASE regress_loader_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
SELECT path AS dir FROM test.directory \gset
SELECT current_database() AS db \gset
CALL test.package('10.1', test.schema('l', 'one: id bigint, name text'), 'one.a.0.csv', E'id,name\n1,Größe\n');
CALL test.package('10.2', test.schema('l', 'one: id bigint, größe text'), 'one.a.0.csv', E'id\n1\n');
CALL test.package('10.3', test.schema('l', 'one: id bigint, name text'), 'one.a.0.csv', E'id,name\n2,5 €\n');
\c regress_loader_latin1
SET client_encoding = 'UTF8';
CREATE EXTENSION loader;
\set p :dir /10.1
CALL loader_run(:'p', 'latin') \gset
SELECT *, octet_length(name) FROM latin.one;
\set p :dir /10.2
SELECT loader_register(:'p', 'latin');
\set p :dir /10.3
SELECT loader_start(:'p', 'latin') AS id \gset
SELECT loader_wait(:id, '600s');
SELECT sqlstate, message, detail FROM loader.packages WHERE package_id = :id;
\c :db
SET client_min_messages = warning;
-- the last worker may linger for a moment
CALL test.wait_for('NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = ''regress_loader_latin1'')');
DROP DATABASE regress_loader_latin1;

DROP PROCEDURE test.load_bad, test.kind, test.as_etl;
DROP TABLE test.bad;
DROP SEQUENCE test.kind_no;
DROP OWNED BY regress_loader_etl;
DROP ROLE regress_loader_etl;
DROP SCHEMA data, kinds, odd, shut, with_indexes, without_indexes, evolution, gone, rule, rule_2 CASCADE;
