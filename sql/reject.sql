-- on_error => 'reject': bad rows are set aside, and the load goes on.
SET client_min_messages = warning;
SET TimeZone = 'UTC';
\set items '''items: id bigint!, name text, at timestamp, note text!; write_disposition="append"'''
\pset format unaligned

-- The last package: its rows, and what was refused, in the order of the files.
CREATE FUNCTION test.last() RETURNS bigint LANGUAGE sql AS 'SELECT max(package_id) FROM loader.packages';
CREATE FUNCTION test.counts(OUT job text, OUT read bigint, OUT inserted bigint, OUT rejected bigint) RETURNS SETOF record LANGUAGE sql AS
$$ SELECT job_id, rows_read, rows_inserted, rows_rejected FROM loader.jobs WHERE package_id = test.last() AND kind = 'load' UNION ALL
	SELECT table_name || ' ' || sink, rows_read, rows_inserted, rows_rejected FROM loader.tables WHERE package_id = test.last() ORDER BY 1 $$;
CREATE FUNCTION test.rejects(OUT job text, OUT line bigint, OUT col text, OUT code text, OUT reason text, OUT raw text) RETURNS SETOF record LANGUAGE sql AS
$$ SELECT job_id, line, column_name, sqlstate, concat_ws(' / ', message, detail), raw_text
	FROM loader.rejects WHERE package_id = test.last() ORDER BY job_id, line, reject_id $$;

-- The arguments.
CALL test.package('1.0', test.schema('a', :items), 'items.a.0.csv', E'id,note\n1,x\n');
SELECT * FROM test.refuse('1.0', $$, 'd', on_error => 'ignore'$$);
SELECT * FROM test.refuse('1.0', $$, 'd', max_rejects => '1'$$);
SELECT r.* FROM unnest(ARRAY['', '-1', '0.01', '1 %', '101%', '1.2.3%', '99999999999999999999', 'all']) AS m,
	test.refuse('1.0', format($$, 'd', on_error => 'reject', max_rejects => %L$$, m)) AS r;
-- a number needs its quotes, or a cast
SELECT code FROM test.refuse('1.0', $$, 'd', on_error => 'reject', max_rejects => 5$$);
SELECT code FROM test.refuse('1.0', $$, 'd', on_error => 'reject', max_rejects => 5::text$$);
SELECT action, detail FROM loader_plan(test.path('1.0'), 'd', on_error => 'reject', max_rejects => '0.5%') WHERE action = 'on error';
SELECT action, detail FROM loader_plan(test.path('1.0'), 'd', on_error => 'reject') WHERE action = 'on error';
SELECT action FROM loader_plan(test.path('1.0'), 'd') WHERE action = 'on error';

-- csv into a plain table: conversion, NOT NULL, CHECK, domain, unique within the file and against the table, exclusion, fields
CREATE SCHEMA bad;
CREATE DOMAIN bad.short AS text CHECK (length(VALUE) < 5);
CREATE TABLE bad.items (id bigint NOT NULL PRIMARY KEY, name bad.short CHECK (name <> 'evil'), at timestamptz, note text NOT NULL UNIQUE,
	EXCLUDE USING btree (at WITH =));
INSERT INTO bad.items VALUES (100, 'old', '2000-01-01', 'old');
CALL test.package('1.1', test.schema('a', :items), 'items.a.0.csv', E'id,name,at,note\n1,a,2024-01-01,n1\nseven,b,,n2\n3,evil,,n3\n4,c,2024-02-30,n4\n5,d,,n1\n6,e\n7,f,,n7,extra\n,g,,n8\n'
	|| E'9,"x\ny",,n9\n1,twin,,n10\n11,fine,,n11\n12,tootoolong,,n12\n13,h,2024-01-01,n13\n14,i,,old\n100,j,,n15\n\n16,last,,n16\n');
CALL test.load('1.1', 'bad', $$, on_error => 'reject'$$);
SELECT id, name, note FROM bad.items ORDER BY id;
SELECT * FROM test.counts();
SELECT * FROM test.rejects();
SELECT kind, object, detail FROM loader.events WHERE package_id = test.last() AND kind = 'rejected';
SELECT file_name, table_name, raw, raw_size FROM loader.rejects WHERE package_id = test.last() AND line = 10;

-- insert_values and jsonl, in the same package: a row whose end is known is passed over
CALL test.package('1.2', test.schema('a', :items),
	'items.a.0.insert_values', E'INSERT INTO {}("id","note","name")\nVALUES\n(21,E\'v1\',NULL),(22,E\'v2\'),(23,E\'v3\',NULL,4),\n(E\'x\',E\'v4\',NULL),\n(25,NULL,NULL),\n(26,E\'\\uD800\',NULL),\n(27,E\'a\\x00b\',NULL),(28,\'it\'\'s\',E\'d\\\'\');\nINSERT INTO {}("id","note","name") VALUES (28,E\'v8\',NULL), (29,E\'v9\',NULL);\n',
	'items.b.0.jsonl', E'{"id":41,"note":"j1"}\n{"id":42,"note":}\n{"id":43}\n{"id":44,"note":"j4","nothing":1}\n{"id":45,"note":"\\u0000"}\n[1]\nnot json at all\n{"id":"x","note":"j8"}\n{"id":49,"note":"\\ud800"}\n{"id":50,"note":"j10"} {"id":51,"note":"j11"}\n{"id":1,"note":"j12"}\n\n{"id":52,"note":"j13"}');
CALL test.load('1.2', 'bad', $$, on_error => 'reject'$$);
SELECT id, name, note FROM bad.items WHERE id > 20 ORDER BY id;
SELECT * FROM test.counts();
SELECT * FROM test.rejects();

-- Where nobody knows where the next row begins, the file is bad, not the row.
CALL test.package('1.3', test.schema('a', :items), 'items.a.0.csv', E'id,note\nx,y\n1,"x\n2,y\n');
CALL test.load('1.3', 'bad', $$, on_error => 'reject'$$);
CALL test.package('1.3', test.schema('a', :items), 'items.a.0.csv', E'id,note\n1,x\n2,"y\n3,"z,z,z"\n4,"a"\n');
CALL test.load('1.3', 'bad', $$, on_error => 'reject'$$);
CALL test.package('1.3', test.schema('a', :items), 'items.a.0.insert_values', E'INSERT INTO {}("id","note")\nVALUES\n(60,E\'x\'),\n(61,now()),\n(62,E\'y\');\n');
CALL test.load('1.3', 'bad', $$, on_error => 'reject'$$);
CALL test.package('1.3', test.schema('a', :items), 'items.a.0.insert_values', E'INSERT INTO {}("id","note")\nVALUES\n(60,E\'x\'),\n(61,\'it\'s\'),\n(62,E\'y\');\n');
CALL test.load('1.3', 'bad', $$, on_error => 'reject'$$);
CALL test.package('1.3', test.schema('a', :items), 'items.a.0.insert_values', E'INSERT INTO {}("id","note")\nVALUES\n(60,E\'x\'),\n(61)');
CALL test.load('1.3', 'bad', $$, on_error => 'reject'$$);
CALL test.package('1.3', test.schema('a', :items), 'items.a.0.jsonl', E'{"id":60,"note":"x"}\n{"id":61,"note":"');
CALL test.load('1.3', 'bad', $$, on_error => 'reject'$$);
CALL test.package('1.3', test.schema('a', :items), 'items.a.0.csv', E'id,nothing\nx,y\n');
CALL test.load('1.3', 'bad', $$, on_error => 'reject'$$);
SELECT count(*) FROM bad.items WHERE id >= 60;
SELECT count(*) FROM loader.reject WHERE package_id NOT IN (SELECT package_id FROM loader.package WHERE state = 'loaded');

-- Text that is none of the file's encoding; rows larger than a page
CALL test.package('1.4', test.schema('a', :items));
CALL test.file('1.4/new_jobs/items.a.0.csv', convert_to(E'id,name,note\n70,', 'UTF8') || '\xe9' || convert_to(E',ok\n71,\u00e9,ok2\n', 'UTF8'));
CALL test.load('1.4', 'bad', $$, on_error => 'reject'$$);
SELECT line, sqlstate, message, raw_text, raw FROM loader.rejects WHERE package_id = test.last();
CALL test.package('1.5', test.schema('a', :items));
CALL test.file('1.5/new_jobs/items.a.0.csv', convert_to(E'id,name,note\nx,', 'UTF8') || '\xe9' || convert_to(E',ok3\n72,', 'UTF8') || '\xe9' || convert_to(E',ok4\n', 'UTF8'));
CALL test.load('1.5', 'bad', $$, on_error => 'reject', csv_format => '{"encoding": "latin1"}'$$);
SELECT line, sqlstate, message, raw_text, raw FROM loader.rejects WHERE package_id = test.last();
SELECT id, name FROM bad.items WHERE id BETWEEN 70 AND 79 ORDER BY id;
SELECT loader.raw_text('\x00', NULL), loader.raw_text('\x80', 'UTF8'), loader.raw_text('\x41', 'nonsense'), loader.raw_text('\xe9', 'nonsense'), loader.raw_text('\xe282ac', NULL), loader.raw_text('\xe282ac', 'UTF-8'), loader.raw_text(NULL, NULL);
CREATE TABLE bad.wide (id bigint, a text, UNIQUE (a));
ALTER TABLE bad.wide ALTER a SET STORAGE PLAIN;
CALL test.package('1.6', test.schema('a', 'wide: id bigint, a text; write_disposition="append"'), 'wide.a.0.csv',
	E'id,a\n1,' || repeat('x', 3000) || E'\n2,' || repeat('y', 9000) || E'\n3,short\n');
CALL test.load('1.6', 'bad', $$, on_error => 'reject'$$);
SELECT id FROM bad.wide ORDER BY id;
SELECT line, sqlstate, message, raw_size FROM loader.rejects WHERE package_id = test.last() ORDER BY line;
-- Of a row of more than 1 MB the start is kept.
CALL test.package('1.7', test.schema('a', 'wide: id bigint, a text; write_disposition="append"'), 'wide.a.0.csv', E'id,a\nx,' || repeat('x', 2000000) || E'\n4,z\n');
CALL test.load('1.7', 'bad', $$, on_error => 'reject'$$);
SELECT line, sqlstate, raw_size, length(raw) FROM loader.rejects WHERE package_id = test.last();
SELECT * FROM loader_replay(test.last());
SELECT sqlstate, message FROM loader.rejects WHERE package_id = test.last();

-- Many rows, many bad ones, in batches: every one of them is found, and no other
SELECT E'id,k,v\n' || string_agg(format(E'%s,%s,%s\n', i, CASE WHEN i % 1013 = 0 THEN i - 1 ELSE i END, CASE WHEN i % 771 = 0 THEN 'x' ELSE i::text END), '' ORDER BY i) AS file
	FROM generate_series(1, 10000) AS i \gset
CREATE TABLE bad.many (id bigint PRIMARY KEY, k bigint UNIQUE, v bigint CHECK (v % 97 <> 0));
CALL test.package('1.8', test.schema('a', 'many: id bigint, k bigint, v bigint; write_disposition="append"'), 'many.a.0.csv', :'file');
CALL test.load('1.8', 'bad', $$, on_error => 'reject'$$);
SELECT * FROM test.counts();
SELECT sqlstate, count(*), min(line), max(line) FROM loader.rejects WHERE package_id = test.last() GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM generate_series(1, 10000) AS i WHERE (i % 771 = 0 OR i % 97 = 0 OR i % 1013 = 0) <> (NOT EXISTS (SELECT FROM bad.many WHERE id = i));
SELECT count(*) FROM loader.rejects r WHERE package_id = test.last() AND split_part(raw_text, ',', 1) <> (line - 1)::text;
-- Nothing but bad ones
SELECT E'id,k,v\n' || string_agg(format(E'%s,%s,1\n', i, i), '' ORDER BY i) AS file
	FROM generate_series(1, 2500) AS i WHERE i % 97 <> 0 AND i % 771 <> 0 AND i % 1013 <> 0 \gset
CALL test.package('1.9', test.schema('a', 'many: id bigint, k bigint, v bigint; write_disposition="append"'), 'many.a.0.csv', :'file');
CALL test.load('1.9', 'bad', $$, on_error => 'reject'$$);
SELECT * FROM test.counts();

-- A constraint that cannot be evaluated is no row's fault.
CREATE TABLE bad.broken (id bigint, CHECK (id > 0), CHECK (id <> 1 / 0));
CALL test.package('1.10', test.schema('a', 'broken: id bigint; write_disposition="append"'), 'broken.a.0.csv', E'id\n1\n2\n3\n');
CALL test.load('1.10', 'bad', $$, on_error => 'reject'$$);
DROP TABLE bad.broken;

-- Tables that only the executor can insert into: triggers, policies, partitions, foreign keys, generated columns, views
CREATE FUNCTION bad.no_seven() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.id = 7 THEN
		RAISE 'no seven' USING DETAIL = 'Says the trigger.', ERRCODE = 'MY007';
	END IF;
	IF NEW.id = 8 THEN
		RETURN NULL;
	END IF;
	RETURN NEW;
END $$;
CREATE TABLE bad.traps (id bigint PRIMARY KEY, name text CHECK (name <> 'evil'), twice bigint GENERATED ALWAYS AS (id * 2) STORED, parent bigint REFERENCES bad.many) PARTITION BY RANGE (id);
CREATE TABLE bad.traps_1 PARTITION OF bad.traps FOR VALUES FROM (1) TO (50);
CREATE TRIGGER no_seven BEFORE INSERT ON bad.traps_1 FOR EACH ROW EXECUTE FUNCTION bad.no_seven();
\set traps '''traps: id bigint, name text, parent bigint; write_disposition="append"'''
CALL test.package('2.1', test.schema('a', :traps), 'traps.a.0.csv', E'id,name,parent\n1,a,\n2,evil,\n7,b,\n8,c,\n60,d,\n5,e,x\n1,f,\n6,g,1\n9,h,99999999\n,i,\n10,j,\n');
CALL test.load('2.1', 'bad', $$, on_error => 'reject'$$);
SELECT * FROM bad.traps ORDER BY id;
SELECT * FROM test.counts();
SELECT * FROM test.rejects();
-- a bad row costs a few pieces of its batch, not a subtransaction for each row of it
CREATE TABLE bad.sifted (id bigint PRIMARY KEY, parent bigint REFERENCES bad.sifted);
SELECT E'id,parent\n' || string_agg(format(E'%s,%s\n', CASE i WHEN 1500 THEN 1 ELSE i END, CASE i WHEN 777 THEN 0 WHEN 2000 THEN 5000 END), '' ORDER BY i) AS file
	FROM generate_series(1, 3000) AS i \gset
CALL test.package('2.4', test.schema('a', 'sifted: id bigint, parent bigint; write_disposition="append"'), 'sifted.a.0.csv', :'file');
SELECT pg_snapshot_xmax(pg_current_snapshot()) AS before \gset
CALL test.load('2.4', 'bad', $$, on_error => 'reject'$$);
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint - :before < 500 AS few;
SELECT * FROM test.counts();
SELECT line, code FROM test.rejects();
SELECT count(*), sum(id) FROM bad.sifted;
CREATE TABLE bad.guarded (id bigint, owner text DEFAULT 'me');
ALTER TABLE bad.guarded ENABLE ROW LEVEL SECURITY;
CREATE ROLE regress_loader_reject;
CREATE POLICY mine ON bad.guarded TO regress_loader_reject WITH CHECK (owner = 'me');
GRANT ALL ON SCHEMA bad TO regress_loader_reject;
GRANT ALL ON ALL TABLES IN SCHEMA bad TO regress_loader_reject;
GRANT pg_read_server_files TO regress_loader_reject;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_loader_reject;
GRANT USAGE ON SCHEMA test TO regress_loader_reject;
GRANT SELECT ON test.directory TO regress_loader_reject;
CALL test.package('2.2', test.schema('a', 'guarded: id bigint, owner text; write_disposition="append"'), 'guarded.a.0.jsonl', E'{"id":1,"owner":"me"}\n{"id":2,"owner":"you"}\n{"id":3}\n');
SELECT test.path('2.2') AS path \gset
SET ROLE regress_loader_reject;
SELECT loader_start(:'path', 'bad', on_error => 'reject') AS id \gset
SELECT loader_wait(:id, '180s');
SELECT line, sqlstate, message, raw_text FROM loader.rejects WHERE package_id = :id;
SELECT * FROM loader_replay(:id);
-- another's are not to be seen, loaded or removed
SELECT package_id IS NULL AS unseen FROM (SELECT max(package_id) AS package_id FROM loader.rejects WHERE package_id <> :id) q;
RESET ROLE;
SELECT * FROM bad.guarded ORDER BY id;
SELECT min(package_id) AS other FROM loader.rejects \gset
SET ROLE regress_loader_reject;
SELECT t.code, replace(t.message, :'other', '<id>') AS message, t.detail FROM unnest(ARRAY['loader_replay', 'loader_discard']) AS f, test.try(format('SELECT %s(%s)', f, :other)) AS t;
SELECT loader_discard(:id), loader_discard(:id);
RESET ROLE;
-- who has put on a role to replay keeps it, whatever a table's code does
CREATE FUNCTION bad.take_off() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RESET ROLE; NEW.owner := current_user; RETURN NEW; END';
CREATE TABLE bad.worn (id int, owner text DEFAULT 'me');
GRANT ALL ON bad.worn TO regress_loader_reject;
CALL test.package('2.8', test.schema('a', 'worn: id bigint, owner text; write_disposition="append"'), 'worn.a.0.jsonl', E'{"id":3000000000}\n');
SELECT test.path('2.8') AS path \gset
SET ROLE regress_loader_reject;
SELECT loader_start(:'path', 'bad', on_error => 'reject') AS id \gset
SELECT loader_wait(:id, '180s');
RESET ROLE;
ALTER TABLE bad.worn ALTER id TYPE bigint;
CREATE TRIGGER take_off BEFORE INSERT ON bad.worn FOR EACH ROW EXECUTE FUNCTION bad.take_off();
SET ROLE regress_loader_reject;
SELECT code, message FROM test.try(format('SELECT loader_replay(%s)', :id));
SELECT current_user;
RESET ROLE;
DROP TRIGGER take_off ON bad.worn;
SET ROLE regress_loader_reject;
SELECT * FROM loader_replay(:id);
RESET ROLE;
SELECT current_user = session_user AS taken_off, id, owner FROM bad.worn;
-- a missing privilege is no row's fault
REVOKE INSERT ON bad.guarded FROM regress_loader_reject;
CALL test.package('2.3', test.schema('a', 'guarded: id bigint, owner text; write_disposition="append"'), 'guarded.a.0.jsonl', E'{"id":1,"owner":"me"}\n');
SELECT test.path('2.3') AS path \gset
SET ROLE regress_loader_reject;
SELECT loader_start(:'path', 'bad', on_error => 'reject') AS id \gset
SELECT loader_wait(:id, '180s');
RESET ROLE;
SELECT sqlstate, message FROM loader.packages WHERE package_id = :id;
SELECT loader_forget(:id);

-- max_rejects: by number over all files of the package, and by share
CREATE TABLE bad.limited (id bigint);
\set limited '''limited: id bigint; write_disposition="append"'''
CALL test.package('3.1', test.schema('a', :limited), 'limited.a.0.csv', E'id\n1\nx\n2\n', 'limited.b.0.csv', E'id\n3\ny\nz\n4\n');
CALL test.load('3.1', 'bad', $$, on_error => 'reject', max_rejects => '2'$$);
CALL test.load('3.1', 'bad', $$, on_error => 'reject', max_rejects => '0'$$);
CALL test.load('3.1', 'bad', $$, on_error => 'reject', max_rejects => '42%'$$);
SELECT count(*) FROM bad.limited;
SELECT count(*) FROM loader.reject WHERE package_id NOT IN (SELECT package_id FROM loader.package WHERE state = 'loaded');
CALL test.load('3.1', 'bad', $$, on_error => 'reject', max_rejects => '43%'$$);
SELECT * FROM test.counts();
CALL test.package('3.2', test.schema('a', :limited), 'limited.a.0.csv', E'id\n1\nx\n2\n', 'limited.b.0.csv', E'id\n3\ny\nz\n4\n');
CALL test.load('3.2', 'bad', $$, on_error => 'reject', max_rejects => '3'$$);
-- job by job: what is committed stays, and the job that had too many is the one that failed
CALL test.package('3.3', test.schema('a', :limited), 'limited.a.0.csv', E'id\n10\nx\n', 'limited.b.0.csv', E'id\n11\ny\nz\n');
SELECT loader_start(test.path('3.3'), 'bad', atomic => false, workers => 1, on_error => 'reject', max_rejects => '2') AS id \gset
SELECT loader_wait(:id, '180s');
SELECT job_id, state, sqlstate, exception, rows_rejected FROM loader.jobs WHERE package_id = :id ORDER BY job_id;
SELECT job_id, line FROM loader.rejects WHERE package_id = :id;
SELECT loader_start(test.path('3.3'), 'bad', atomic => false, workers => 1, on_error => 'reject', max_rejects => '3') = :id AS the_same;
SELECT loader_wait(:id, '180s');
SELECT job_id, line FROM loader.rejects WHERE package_id = :id ORDER BY 1, 2;
SELECT * FROM test.counts();
SELECT id FROM bad.limited WHERE id >= 10 ORDER BY id;
-- two jobs that are each within the limit, at once: the second one to commit is the one that failed
CREATE TABLE bad.gated (id bigint);
CREATE TRIGGER held BEFORE INSERT ON bad.gated FOR EACH ROW EXECUTE FUNCTION test.held();
SELECT test.hold();
CALL test.package('3.7', test.schema('a', 'gated: id bigint; write_disposition="append"'), 'gated.a.0.csv', E'id\nx\n1\n', 'gated.b.0.csv', E'id\nx\n1\n');
SELECT loader_start(test.path('3.7'), 'bad', atomic => false, workers => 2, on_error => 'reject', max_rejects => '1') AS id \gset
CALL test.wait_for($$ count(*) = 2 FROM pg_stat_activity WHERE backend_type ~ '^loader' AND wait_event = 'PgSleep' AND datname = current_database() $$);
SELECT test.release();
SELECT loader_wait(:id, '180s');
SELECT message, completed_jobs, failed_jobs, rows_rejected FROM loader.packages WHERE package_id = :id;
SELECT state, sqlstate, split_part(exception, E'\n', 1) AS exception FROM loader.jobs WHERE package_id = :id ORDER BY state;
SELECT * FROM bad.gated;
SELECT loader_cancel(:id);
-- what dlt needs to go on from is never set aside
\set state '''_dlt_pipeline_state: version bigint!, engine_version bigint!, pipeline_name text!, state text!, created_at timestamp!, version_hash text, _dlt_load_id text!, _dlt_id text!~; write_disposition="append"'''
CALL test.package('3.8', test.schema('a', :limited, :state), 'limited.a.0.csv', E'id\n30\nx\n', '_dlt_pipeline_state.b.0.jsonl', E'{"version":"x","engine_version":4,"pipeline_name":"p","state":"s","created_at":"2024-01-01T00:00:00Z","_dlt_load_id":"3.8","_dlt_id":"a"}\n');
CALL test.load('3.8', 'bad', $$, on_error => 'reject'$$);
SELECT count(*) FROM bad.limited WHERE id = 30;
-- a job that is tried again, after an error that no row is to blame for, has each reject once
CREATE TABLE bad.shaky (id bigint);
CREATE SEQUENCE bad.tries;
CREATE FUNCTION bad.shake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.id = 3 AND nextval('bad.tries') <= 2 THEN
		RAISE 'try again' USING ERRCODE = 'serialization_failure';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER shake BEFORE INSERT ON bad.shaky FOR EACH ROW EXECUTE FUNCTION bad.shake();
SET loader.retry_delay = '10ms';
CALL test.package('3.5', test.schema('a', 'shaky: id bigint; write_disposition="append"'), 'shaky.a.0.csv', E'id\n1\nx\n2\ny\n3\nz\n');
CALL test.load('3.5', 'bad', $$, on_error => 'reject', max_rejects => '3'$$);
SELECT * FROM test.counts();
SELECT line FROM test.rejects();
ALTER SEQUENCE bad.tries RESTART;
CALL test.package('3.6', test.schema('a', 'shaky: id bigint; write_disposition="append"'), 'shaky.a.0.csv', E'id\n1\nx\n2\ny\n3\nz\n');
CALL test.load('3.6', 'bad', $$, on_error => 'reject', max_rejects => '3', atomic => false$$);
SELECT * FROM test.counts();
SELECT line FROM test.rejects();
SELECT id, count(*) FROM bad.shaky GROUP BY 1 ORDER BY 1;
RESET loader.retry_delay;
CALL test.package('3.4', test.schema('a', :limited), 'limited.a.0.csv', E'id\n20\nx\n', 'limited.b.0.csv', E'id\n21\ny\nz\n');
CALL test.load('3.4', 'bad', $$, on_error => 'reject', atomic => false, max_rejects => '3'$$);
SELECT * FROM test.counts();

-- Replaced: a swap heap has no indexes while it is filled, and its rows cannot be taken back
CREATE TABLE bad.swapped (id bigint PRIMARY KEY, note text UNIQUE, span int4range, name text CHECK (name <> 'evil'), big text,
	twice bigint GENERATED ALWAYS AS (id * 2) STORED, EXCLUDE USING gist (span WITH &&));
INSERT INTO bad.swapped VALUES (1, 'old');
CREATE VIEW bad.seen AS SELECT id, note, twice FROM bad.swapped;
\set swapped '''swapped: id bigint, note text, span text, name text, big text; write_disposition="replace"'''
CALL test.package('4.1', test.schema('a', :swapped), 'swapped.a.0.csv', E'id,note,name\n1,n1,\nx,n2,\n3,n3,evil\n4,n4,\n');
CALL test.load('4.1', 'bad', $$, on_error => 'reject'$$);
SELECT * FROM bad.seen ORDER BY id;
SELECT * FROM test.counts();
SELECT * FROM test.rejects();
-- a duplicate shows when an index is built: all is done again, row by row
CALL test.package('4.2', test.schema('a', :swapped),
	'swapped.a.0.csv', E'id,note,name,span,big\n11,m1,,"[1,3]",' || repeat('long ', 1000) || E'\nx,m2,,,\n13,m3,evil,,\n11,m4,,,\n15,m1,,,\n16,m6,,"[3,4]",\n17,m7,,"[5,6]",\n',
	'swapped.b.0.jsonl', E'{"id":17,"note":"again"}\n{"id":18,"note":"m8"}\n{"id":null}\n{"id":19,"note":"' || repeat('x', 200000) || E'"}\n');
CALL test.load('4.2', 'bad', $$, on_error => 'reject'$$);
SELECT id, left(note, 10) AS note, twice FROM bad.seen ORDER BY id;
SELECT id, span, length(big) FROM bad.swapped ORDER BY id;
SELECT * FROM test.counts();
SELECT job, line, col, code, left(reason, 140) AS reason, left(raw, 40) AS raw FROM test.rejects();
SELECT stage, reason FROM loader.tables WHERE package_id = test.last() AND table_name = 'swapped';
SELECT count(*) FROM pg_class WHERE relnamespace = 'loader_swap'::regnamespace;
INSERT INTO bad.swapped VALUES (11, 'm9');
INSERT INTO bad.swapped VALUES (20, 'm20');
-- an index whose expression has no value for a row
CREATE TABLE bad.spans (id bigint, low int, high int, EXCLUDE USING gist (int4range(low, high) WITH &&));
CALL test.package('4.7', test.schema('a', 'spans: id bigint, low bigint, high bigint; write_disposition="replace"'), 'spans.a.0.csv', E'id,low,high\n1,1,3\n2,7,5\n3,2,4\n4,3,9\n');
CALL test.load('4.7', 'bad', $$, on_error => 'reject'$$);
SELECT id FROM bad.spans ORDER BY id;
SELECT line, code, reason FROM test.rejects();
-- the same, staged by workers of its own
SET loader.small_package = 0;
CALL test.package('4.3', test.schema('a', :swapped), 'swapped.a.0.csv', E'id,note\n1,n1\n1,n2\n3,n1\n4,n4\n');
CALL test.load('4.3', 'bad', $$, on_error => 'reject', max_rejects => '1'$$);
SELECT count(*), min(id) FROM bad.swapped;
SELECT count(*) FROM loader.reject WHERE package_id NOT IN (SELECT package_id FROM loader.package WHERE state IN ('loaded', 'cancelled'));
CALL test.load('4.3', 'bad', $$, on_error => 'reject', max_rejects => '50%'$$);
SELECT id, note FROM bad.swapped ORDER BY id;
SELECT * FROM test.counts();
SELECT * FROM test.rejects();
RESET loader.small_package;
-- by differences, and where all is deleted and inserted: rows wait in the staging dataset (more in reject_merge)
CREATE TABLE bad.changed (id bigint PRIMARY KEY, note text);
INSERT INTO bad.changed VALUES (1, 'n1'), (2, 'n2'), (4, 'n4');
\set changed '''changed: id bigint +primary_key, note text; write_disposition="replace"'''
CALL test.package('4.4', test.schema('a', :changed), 'changed.a.0.csv', E'id,note\n1,n1\nx,n2\n4,n5\n');
CALL test.load('4.4', 'bad', $$, on_error => 'reject', replace_strategy => 'diff'$$);
SELECT * FROM bad.changed ORDER BY id;
SELECT * FROM test.counts();
CREATE TABLE bad.parts (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE bad.parts_1 PARTITION OF bad.parts FOR VALUES FROM (1) TO (50);
\set parts '''parts: id bigint; write_disposition="replace"'''
CALL test.package('4.5', test.schema('a', :parts), 'parts.a.0.csv', E'id\n1\nx\n2\n');
CALL test.load('4.5', 'bad', $$, on_error => 'reject'$$);
SELECT id FROM bad.parts ORDER BY id;
SELECT * FROM test.counts();
CALL test.package('4.6', test.schema('a', :parts), 'parts.a.0.csv', E'id\n1\nx\n60\n');
CALL test.load('4.6', 'bad', $$, on_error => 'reject'$$);

-- Merged (more in reject_merge)
CREATE TABLE bad.merged (id bigint PRIMARY KEY, v text CHECK (v <> 'evil'));
\set merged '''merged: id bigint! +primary_key, v text; write_disposition="merge", x-merge-strategy="upsert"'''
CALL test.package('5.1', test.schema('a', :merged), 'merged.a.0.jsonl', E'{"id":1,"v":"a"}\n{"id":"x"}\n{"v":"c"}\n{"id":2,"v":"b"}\n');
CALL test.load('5.1', 'bad', $$, on_error => 'reject'$$);
SELECT * FROM bad.merged ORDER BY id;
SELECT * FROM test.counts();
SELECT * FROM test.rejects();
SELECT * FROM test.try(format('SELECT loader_replay(%s)', test.last()));
SELECT code, replace(message, test.last()::text, '<id>') AS message, hint FROM test.try(format('SELECT loader_discard(%s, ''nothing'')', test.last()));
SELECT loader_discard(test.last(), 'merged');
SELECT object, detail FROM loader.events WHERE package_id = test.last() AND kind = 'discarded';
CALL test.package('5.2', test.schema('a', :merged), 'merged.a.0.jsonl', E'{"id":1,"v":"evil"}\n');
CALL test.load('5.2', 'bad', $$, on_error => 'reject'$$);

-- loader_replay, after a fix
CREATE TABLE bad.again (id int PRIMARY KEY, "a ""b, c" text CHECK (length("a ""b, c") < 3), n text NOT NULL);
\set again '''again: id bigint, a text, n text; write_disposition="append"'''
ALTER TABLE bad.again RENAME "a ""b, c" TO a;
CALL test.package('6.1', test.schema('a', :again),
	'again.a.0.csv', E'n|id|a\nx|1|ok\nx|2|long\nx|3000000000|ok\n"x|y\nz"|4|long\nx|5\nx|1|a\n',
	'again.b.0.insert_values', E'INSERT INTO {}("id","n","a") VALUES\n(11,E\'v\',E\'it\\\'s long\'),(3000000001,E\'v\',NULL),\n(13,NULL,NULL);\n',
	'again.c.0.jsonl', E'{"id":21,"n":"j","a":"long"}\n{"id":22}\n{"id":3000000002,"n":"j"}\n');
CALL test.load('6.1', 'bad', $$, on_error => 'reject', csv_format => '{"delimiter": "|"}'$$);
SELECT * FROM test.counts();
SELECT loader_replay(NULL), loader_discard(NULL);
SELECT * FROM test.try('SELECT loader_replay(999999)');
SELECT * FROM loader_replay(test.last());
ALTER TABLE bad.again DROP CONSTRAINT "again_a ""b, c_check", ALTER id TYPE bigint;
BEGIN;
SELECT * FROM loader_replay(test.last(), 'again');
ROLLBACK;
SELECT code, replace(message, test.last()::text, '<id>') AS message, hint FROM test.try(format('SELECT loader_replay(%s, ''nothing'')', test.last()));
SELECT * FROM loader_replay(test.last());
SELECT * FROM bad.again ORDER BY id;
SELECT * FROM test.counts();
SELECT * FROM test.rejects();
SELECT rows_rejected FROM loader.packages WHERE package_id = test.last();
SELECT loader_discard(test.last()), loader_discard(test.last());
SELECT kind, object, detail FROM loader.events WHERE package_id = test.last() AND kind IN ('replayed', 'discarded') ORDER BY event_id;
SELECT * FROM loader_replay(test.last());
SELECT * FROM test.counts();
-- a file without a header, in another encoding
CREATE TABLE bad.plain (id int, name text, note text);
CALL test.package('6.3', test.schema('a', 'plain: id bigint, name text, note text; write_disposition="append"'));
CALL test.file('6.3/new_jobs/plain.a.0.csv', convert_to(E'1;a;b\n3000000000;', 'UTF8') || '\xe9' || convert_to(E'; ""\n3;c\n', 'UTF8'));
CALL test.load('6.3', 'bad', $$, on_error => 'reject', csv_format => '{"header": false, "delimiter": ";", "encoding": "latin1"}'$$);
SELECT * FROM test.rejects();
ALTER TABLE bad.plain ALTER id TYPE bigint;
SELECT * FROM loader_replay(test.last());
SELECT * FROM bad.plain ORDER BY id;
-- code of the table that loads or removes the same rejects meanwhile: nothing is loaded twice
CREATE TABLE bad.nested (id int);
CALL test.package('6.4', test.schema('a', 'nested: id bigint; write_disposition="append"'), 'nested.a.0.csv', E'id\n3000000001\n3000000002\n');
CALL test.load('6.4', 'bad', $$, on_error => 'reject'$$);
ALTER TABLE bad.nested ALTER id TYPE bigint;
CREATE TABLE bad.meddle (what text);
CREATE FUNCTION bad.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_trigger_depth() = 1 THEN
		EXECUTE (SELECT what FROM bad.meddle);
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER meddle BEFORE INSERT ON bad.nested FOR EACH ROW EXECUTE FUNCTION bad.meddle();
INSERT INTO bad.meddle VALUES ('SELECT loader_replay(test.last())');
SELECT * FROM test.try(format('SELECT loader_replay(%s)', test.last()));
UPDATE bad.meddle SET what = 'SELECT loader_discard(test.last())';
SELECT * FROM test.try(format('SELECT loader_replay(%s)', test.last()));
UPDATE bad.meddle SET what = 'SELECT 1';
SELECT * FROM loader_replay(test.last());
SELECT id FROM bad.nested ORDER BY id;
-- many of them
SELECT E'id\n' || string_agg(format(E'%s\n', i::bigint << 32), '' ORDER BY i) AS file FROM generate_series(1, 3000) AS i \gset
CREATE TABLE bad.often (id int);
CALL test.package('6.5', test.schema('a', 'often: id bigint; write_disposition="append"'), 'often.a.0.csv', :'file');
CALL test.load('6.5', 'bad', $$, on_error => 'reject'$$);
ALTER TABLE bad.often ALTER id TYPE bigint;
SELECT * FROM loader_replay(test.last());
SELECT count(*) FROM bad.often;
-- a later package has replaced the rows
CALL test.load('4.2', 'bad', $$, on_error => 'reject'$$);
CALL test.package('6.2', test.schema('a', :swapped), 'swapped.a.0.csv', E'id,note\n1,n1\n1,n2\n');
CALL test.load('6.2', 'bad', $$, on_error => 'reject'$$);
SELECT code, message, replace(detail, test.last()::text, '<id>') AS detail, hint
	FROM test.try(format('SELECT loader_replay(%s)', (SELECT max(package_id) FROM loader.rejects WHERE package_id < test.last() AND table_name = 'swapped')));
UPDATE bad.swapped SET id = 5;
SELECT * FROM loader_replay(test.last());
SELECT id, note, twice FROM bad.swapped ORDER BY id;
-- a later package's refresh has dropped or emptied the table
CREATE TABLE bad.fresh (id int);
CREATE TABLE bad.stale (id int);
\set fresh '''fresh: id bigint; write_disposition="append"''', '''stale: id bigint; write_disposition="append"'''
CALL test.package('7.1', test.schema('a', :fresh), 'fresh.a.0.csv', E'id\n1\n3000000001\n', 'stale.a.0.csv', E'id\n1\n3000000001\n');
CALL test.load('7.1', 'bad', $$, on_error => 'reject'$$);
SELECT test.last() AS id \gset
CALL test.package('7.2', test.schema('a', :fresh), 'fresh.a.0.csv', E'id\n2\n');
CALL test.file('7.2/load_package_state.json', '{"refresh": "drop_data", "truncated_tables": [{"name": "fresh", "columns": {}}]}');
CALL test.load('7.2', 'bad');
SELECT kind, object, detail FROM loader.events WHERE package_id = test.last() AND object IS NOT NULL ORDER BY event_id;
SELECT t.code, t.message, replace(t.detail, test.last()::text, '<id>') AS detail FROM test.try(format('SELECT loader_replay(%s, %L)', :id, 'fresh')) t;
CALL test.package('7.3', test.schema('a', :fresh), 'stale.a.0.csv', E'id\n2\n');
CALL test.file('7.3/load_package_state.json', '{"refresh": "drop_resources", "dropped_tables": [{"name": "stale", "columns": {}}]}');
CALL test.load('7.3', 'bad');
SELECT t.code, t.message, replace(t.detail, test.last()::text, '<id>') AS detail FROM test.try(format('SELECT loader_replay(%s, %L)', :id, 'stale')) t;
SELECT (SELECT array_agg(id) FROM bad.fresh) AS fresh, (SELECT array_agg(id) FROM bad.stale) AS stale;
-- the dataset was dropped, and the load came again: its rejects are those of the new package
CREATE SCHEMA sad;
CREATE TABLE sad.fresh (id int);
CALL test.package('7.4', test.schema('a', :fresh), 'fresh.a.0.csv', E'id\n1\n3000000001\n');
CALL test.load('7.4', 'sad', $$, on_error => 'reject'$$);
SELECT test.last() AS id \gset
DROP SCHEMA sad CASCADE;
CREATE SCHEMA sad;
CREATE TABLE sad.fresh (id int);
CALL test.load('7.4', 'sad', $$, on_error => 'reject'$$);
ALTER TABLE sad.fresh ALTER id TYPE bigint;
SELECT t.* FROM test.try(format('SELECT loader_replay(%s)', :id)) t;
SELECT * FROM loader_replay(test.last());
SELECT id FROM sad.fresh ORDER BY id;
DROP SCHEMA sad CASCADE;

-- a column, or the table, is not there any more: what to do
CREATE SCHEMA lost;
CREATE TABLE lost.items (id bigint, v bigint CHECK (v > 0), w text);
CREATE TABLE lost.merged (LIKE lost.items INCLUDING CONSTRAINTS);
CREATE TABLE lost.gone (LIKE lost.items INCLUDING CONSTRAINTS);
CALL test.package('8.1', test.schema('a', 'items: id bigint, v bigint, w text; write_disposition="append"', 'gone: id bigint, v bigint, w text; write_disposition="append"',
	'merged: id bigint +primary_key, v bigint, w text; write_disposition="merge", x-merge-strategy="upsert"'),
	'items.a.0.csv', E'id,v,w\n1,0,a\n', 'items.b.0.insert_values', E'INSERT INTO {}("id","v","w")\nVALUES\n(2,0,E\'b\');\n',
	'items.c.0.jsonl', E'{"id":3,"v":0,"w":"c"}\n', 'merged.a.0.csv', E'id,v,w\n1,0,a\n', 'gone.a.0.csv', E'id,v,w\n1,0,a\n');
CALL test.load('8.1', 'lost', $$, on_error => 'reject'$$);
ALTER TABLE lost.items RENAME w TO x;
ALTER TABLE lost.items RENAME v TO "V";
ALTER TABLE lost.merged DROP w;
ALTER TABLE lost.gone RENAME TO away;
SELECT name, t.code, t.message, replace(t.detail, test.last()::text, '<id>') AS detail, t.hint FROM unnest(ARRAY['items', 'merged', 'gone']) AS name, test.try(format('SELECT loader_replay(test.last(), %L)', name)) AS t;
DELETE FROM loader.reject WHERE job_id = 'items.a.csv' AND package_id = test.last();
SELECT t.* FROM test.try('SELECT loader_replay(test.last(), ''items'')') AS t;
DELETE FROM loader.reject WHERE job_id = 'items.b.insert_values' AND package_id = test.last();
SELECT * FROM loader_replay(test.last(), 'items');
SELECT job, code, reason FROM test.rejects() WHERE job LIKE 'items.%';
ALTER SCHEMA lost RENAME TO lost_too;
SELECT t.code, t.message, replace(t.detail, test.last()::text, '<id>') AS detail, t.hint FROM test.try('SELECT loader_replay(test.last(), ''gone'')') AS t;
ALTER SCHEMA lost_too RENAME TO lost;
ALTER TABLE lost.items RENAME x TO w;
ALTER TABLE lost.items RENAME "V" TO v;
ALTER TABLE lost.items DROP CONSTRAINT items_v_check;
SELECT * FROM loader_replay(test.last(), 'items');
DROP SCHEMA lost CASCADE;

-- a column whose name has quotes in it, in files that name it and in the head that a replay makes for their rows
CREATE SCHEMA quoted;
CREATE TABLE quoted.items (id bigint CHECK (id > 0), "a""b" text);
CALL test.package('8.2', test.schema('a', 'items: id bigint, a"b text; write_disposition="append"'), 'items.a.0.csv', E'id,"a""b"\n0,x\n',
	'items.b.0.insert_values', E'INSERT INTO {}("id","a""b")\nVALUES\n(0,E\'y\');\n');
CALL test.load('8.2', 'quoted', $$, on_error => 'reject'$$);
ALTER TABLE quoted.items DROP CONSTRAINT items_id_check;
SELECT * FROM loader_replay(test.last());
SELECT * FROM quoted.items ORDER BY 2;
DROP SCHEMA quoted CASCADE;
-- not while the package may still be loaded
CALL test.package('8.3', test.schema('a', 'items: id bigint; write_disposition="append"'), 'items.a.0.csv', E'id\n1\n');
SELECT loader_register(test.path('8.3'), 'waits') AS id \gset
SELECT t.code, replace(t.message, :'id', '<id>') AS message, t.detail, t.hint FROM unnest(ARRAY['loader_replay', 'loader_discard']) AS f, test.try(format('SELECT %s(%s)', f, :id)) AS t;
SELECT loader_forget(:id);

-- Files of a table with indexes are loaded as if no row were bad, and again if one is, which leaves dead rows. After a
-- package that has rejects rows are guarded at once, until these are settled.
CREATE SCHEMA trust;
CREATE TABLE trust.items (id bigint PRIMARY KEY, name text);
CREATE FUNCTION test.some(from_id int, to_id int) RETURNS text LANGUAGE sql AS
$$ SELECT E'id,name\n' || string_agg(format(E'%s,name %s\n', i, i), '' ORDER BY i) FROM generate_series(from_id, to_id) i $$;
-- are there as many dead rows between the last package's and those before?
CREATE FUNCTION test.twice(first_id bigint, OUT again text, OUT rejected bigint, OUT dead boolean) LANGUAGE sql AS
$$ SELECT (SELECT object || ', ' || detail FROM loader.events WHERE package_id = test.last() AND kind = 'load again'), (SELECT rows_rejected FROM loader.packages WHERE package_id = test.last()),
	(SELECT min((ctid::text::point)[0]) FROM trust.items WHERE id >= first_id) - coalesce((SELECT max((ctid::text::point)[0]) FROM trust.items WHERE id < first_id), 0) > 30 $$;
\set some 'test.schema(''a'', ''items: id bigint!, name text; write_disposition="append"''), ''items.a.0.csv'','
CALL test.package('9.1', :some test.some(1, 9000));
CALL test.load('9.1', 'trust', $$, on_error => 'reject'$$);
SELECT * FROM test.twice(1);
CALL test.package('9.2', :some test.some(9000, 18000));
CALL test.load('9.2', 'trust', $$, on_error => 'reject'$$);
SELECT * FROM test.twice(9001);
CALL test.package('9.3', :some test.some(18000, 27000));
CALL test.load('9.3', 'trust', $$, on_error => 'reject'$$);
SELECT * FROM test.twice(18001);
SELECT count(*), max(id), loader_discard(test.last()) FROM trust.items;
CALL test.package('9.4', :some test.some(27001, 36000) || E'x,y\n');
CALL test.load('9.4', 'trust', $$, on_error => 'reject', atomic => false$$);
SELECT again, rejected FROM test.twice(27001);
SELECT count(*), max(id) FROM trust.items;
-- What the package makes need not be a table when it is made: a view has no files.
CREATE TABLE trust.behind (id bigint, name text);
CREATE FUNCTION trust.to_behind() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO trust.behind VALUES (NEW.id, NEW.name); RETURN NEW; END $$;
CREATE FUNCTION trust.make_view() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'trust.front') THEN
		DROP TABLE trust.front;
		CREATE VIEW trust.front AS SELECT * FROM trust.behind;
		CREATE TRIGGER to_behind INSTEAD OF INSERT ON trust.front FOR EACH ROW EXECUTE FUNCTION trust.to_behind();
	END IF;
END $$;
CREATE EVENT TRIGGER test_view ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION trust.make_view();
CALL test.package('9.5', test.schema('a', 'front: id bigint!, name text; write_disposition="append"'), 'front.a.0.csv', E'id,name\n1,a\nx,y\n2,b\n');
CALL test.load('9.5', 'trust', $$, on_error => 'reject'$$);
DROP EVENT TRIGGER test_view;
SELECT again, rejected, (SELECT string_agg(name, ' ' ORDER BY id) FROM trust.behind) AS there FROM test.twice(0);
DROP SCHEMA trust CASCADE;
DROP FUNCTION test.some, test.twice;

-- They go with their package.
SELECT count(*) > 0 AS has_rejects FROM loader.reject;
DROP SCHEMA bad, bad_staging CASCADE;
SELECT test.forget();
SELECT count(*) FROM loader.reject;
DROP OWNED BY regress_loader_reject;
DROP ROLE regress_loader_reject;
DROP FUNCTION test.last, test.counts, test.rejects;
