-- Job mode: the client drives, one call for a file, its own session does the work.
SET client_min_messages = warning;
CREATE SCHEMA jobs;
CREATE SCHEMA jobs_staging;
CREATE TABLE jobs._dlt_loads (load_id varchar NOT NULL, schema_name varchar, status bigint NOT NULL, inserted_at timestamptz NOT NULL, schema_version_hash varchar);
CREATE TABLE jobs.a (id bigint NOT NULL, name varchar);
CREATE TABLE jobs.m (id bigint NOT NULL, name varchar, _dlt_id varchar NOT NULL UNIQUE);
CREATE TABLE jobs.m__c (v bigint, _dlt_id varchar NOT NULL UNIQUE, _dlt_parent_id varchar NOT NULL, _dlt_root_id varchar NOT NULL);
CREATE TABLE jobs.r (id bigint);
CREATE TABLE jobs_staging.m (LIKE jobs.m);
CREATE TABLE jobs_staging.m__c (LIKE jobs.m__c);
CREATE TABLE jobs_staging.r (LIKE jobs.r);
SELECT test.schema('s', 'a: id bigint!, name text; write_disposition="append"',
	'm: id bigint! +primary_key, name text, _dlt_id text!~ +row_key; write_disposition="merge"',
	'm__c: v bigint, _dlt_id text!~ +row_key, _dlt_parent_id text! +parent_key, _dlt_root_id text! +root_key; parent="m"',
	'r: id bigint; write_disposition="replace", x-replace-strategy="insert-from-staging"')::json AS schema \gset
CALL test.sh('mkdir -p jobs');
CALL test.file('jobs/1.csv', E'id,name\n1,x\n2,y\n');
CALL test.file('jobs/bad.csv', E'id,name\n3,z\nx,y\n');
CALL test.file('jobs/m.csv', E'id,name,_dlt_id\n1,x,i1\n2,y,i2\n');
CALL test.file('jobs/m2.csv', E'id,name,_dlt_id\n1,xx,j1\n');
CALL test.file('jobs/c.jsonl', E'{"v": 1, "_dlt_id": "c1", "_dlt_parent_id": "i1", "_dlt_root_id": "i1"}\n');
CALL test.file('jobs/r.csv', E'id\n1\n2\n');
SELECT test.path('jobs/1.csv') AS f1, test.path('jobs/bad.csv') AS bad, test.path('jobs/m.csv') AS m, test.path('jobs/m2.csv') AS m2,
	test.path('jobs/c.jsonl') AS c, test.path('jobs/r.csv') AS r \gset
-- A file, and the same again: it is not loaded twice, whatever its retry count.
CALL loader_start_file_load('jobs', :'schema', '1.1', 'a.f1.0.csv', :'f1', destination_name => 'warehouse', package_id => NULL, state => NULL) \gset
SELECT :'state' AS state;
CALL loader_start_file_load('jobs', :'schema', '1.1', 'a.f1.1.csv', :'f1', package_id => NULL, state => NULL) \gset again_
SELECT :'again_state' AS again, :again_package_id = :package_id AS same;
SELECT * FROM jobs.a ORDER BY id;
SELECT mode, source, state, load_id, dataset, schema_name, destination_name, jobs, completed_jobs FROM loader.packages WHERE package_id = :package_id;
SELECT job_id, file_name, table_name, format, state, rows_read, rows_inserted FROM loader.jobs WHERE package_id = :package_id ORDER BY job_id;
SELECT table_name, chain, disposition, stage, sink, rows_read, rows_inserted FROM loader.tables WHERE package_id = :package_id;
-- It does not count before the load is complete.
SELECT count(*) FROM jobs._dlt_loads;
-- One that fails: raised, with its own code, and on record.
\set VERBOSITY terse
CALL loader_start_file_load('jobs', :'schema', '1.1', 'a.bad.0.csv', :'bad', package_id => NULL, state => NULL);
\set VERBOSITY default
SELECT job_id, package_id = :package_id AS same, state, test.hide(exception) AS exception FROM loader_restore_file_load('jobs', 's', '1.1', 'a.bad.7.csv');
SELECT job_id, state FROM loader_restore_file_load('jobs', 's', '1.1', 'a.never.0.csv');
SELECT code, message, detail FROM test.try(format('SELECT loader_raise(%s, %L)', :package_id, 'a.bad.csv'));
SELECT code FROM test.try(format('SELECT loader_raise(%s, %L)', :package_id, 'a.f1.csv'));
SELECT code, replace(message, :'package_id', '<id>') AS message FROM test.try(format('SELECT loader_raise(%s, %L)', :package_id, 'none.csv'));
-- mended, it is loaded
CALL test.file('jobs/bad.csv', E'id,name\n3,z\n');
CALL loader_start_file_load('jobs', :'schema', '1.1', 'a.bad.1.csv', :'bad', package_id => NULL, state => NULL) \gset mended_
SELECT job_id, file_name, state, retry_count FROM loader.jobs WHERE package_id = :package_id AND job_id = 'a.bad.csv';
-- A statement, for dlt's model jobs.
CALL loader_start_file_load('jobs', :'schema', '1.1', 'a.sel.0.model', statement => 'INSERT INTO jobs.a (id, name) SELECT 10 + g, ''m'' FROM generate_series(1, 3) g', package_id => NULL, state => NULL) \gset sel_
SELECT job_id, format, state, rows_inserted FROM loader.jobs WHERE package_id = :package_id AND job_id = 'a.sel.model';
CALL loader_start_file_load('jobs', :'schema', '1.1', 'a.two.0.model', statement => 'INSERT INTO jobs.a SELECT 99; DROP TABLE jobs.a', package_id => NULL, state => NULL);
CALL loader_start_file_load('jobs', :'schema', '1.1', 'a.two.0.model', statement => 'DELETE FROM jobs.a', package_id => NULL, state => NULL);
CALL loader_start_file_load('jobs', :'schema', '1.1', 'a.two.0.model', statement => 'INSERT INTO jobs.a VALUES (99) RETURNING id', package_id => NULL, state => NULL);
-- Not for a table that is not there: nobody could tell later whether its rows are.
ALTER TABLE jobs.a RENAME TO moved;
CALL loader_start_file_load('jobs', :'schema', '1.1', 'a.two.0.model', statement => 'INSERT INTO jobs.moved VALUES (99)', package_id => NULL, state => NULL);
ALTER TABLE jobs.moved RENAME TO a;
-- A merge: staged, and what follows for the chain.
INSERT INTO jobs_staging.m VALUES (77, 'left over', 'old');
INSERT INTO jobs_staging.m__c VALUES (77, 'old', 'old', 'old');
CALL loader_start_file_load('jobs', :'schema', '1.1', 'm.f.0.csv', :'m', staging => true, package_id => NULL, state => NULL) \gset m_
SELECT id, name FROM jobs_staging.m ORDER BY id;
CALL loader_start_file_load('jobs', :'schema', '1.1', 'm__c.f.0.jsonl', :'c', staging => true, package_id => NULL, state => NULL) \gset c_
SELECT kind, regexp_replace(job_id, '\.[0-9a-f]{10}\.', '.<hash>.') AS job_id, regexp_replace(file_name, '\.[0-9a-f]{10}\.', '.<hash>.') AS file_name,
	content ~ ('^CALL public\.loader_run_followup_job\(' || :package_id || ', ''m\.[0-9a-f]{10}\.sql''\)$') AS content
FROM loader_create_table_chain_completed_followup_jobs('jobs', :'schema', '1.1', 'm');
SELECT content FROM loader_create_table_chain_completed_followup_jobs('jobs', :'schema', '1.1', 'm') \gset
:content;
:content;
SELECT id, name, _dlt_id FROM jobs.m ORDER BY id;
SELECT v, _dlt_id FROM jobs.m__c;
SELECT table_name, strategy, stage, rows_read, rows_inserted, rows_updated, rows_deleted FROM loader.tables WHERE package_id = :package_id AND chain = 'm' ORDER BY table_name;
-- A replace from staging; nothing follows an append, or a replace that is truncated first.
INSERT INTO jobs.r VALUES (77);
CALL loader_start_file_load('jobs', :'schema', '1.1', 'r.f.0.csv', :'r', staging => true, package_id => NULL, state => NULL) \gset r_
SELECT kind FROM loader_create_table_chain_completed_followup_jobs('jobs', :'schema', '1.1', 'a');
SELECT kind FROM loader_create_table_chain_completed_followup_jobs('jobs', :'schema', '1.1', 'r', 'truncate-and-insert');
SELECT kind, content FROM loader_create_table_chain_completed_followup_jobs('jobs', :'schema', '1.1', 'r') \gset
SELECT :'kind' AS kind;
:content;
SELECT id FROM jobs.r ORDER BY id;
-- The state may hold what the server's JSON functions cannot read.
SELECT content FROM loader_create_table_chain_completed_followup_jobs('jobs', :'schema', '1.0', 'r', state => '{"note": "\u0000", "n": 12345678901234567890123}') \gset
:content;
SELECT count(*) FROM jobs.r;
-- Complete: recorded once, and then nothing of it is loaded any more.
SELECT loader_complete_load('jobs', :'schema', '1.1') = :package_id AS complete, loader_complete_load('jobs', :'schema', '1.1') = :package_id AS again;
SELECT load_id, schema_name, status FROM jobs._dlt_loads;
SELECT state, finished_at IS NOT NULL AS finished FROM loader.packages WHERE package_id = :package_id;
CALL loader_start_file_load('jobs', :'schema', '1.1', 'a.late.0.csv', :'f1', package_id => NULL, state => NULL);
SELECT count(*) FROM jobs.a;
SELECT count(*) FROM loader.stage;
-- Two loads stage into one table: the second takes it over.
CALL loader_start_file_load('jobs', :'schema', '2.1', 'm.f.0.csv', :'m', staging => true, package_id => NULL, state => NULL) \gset first_
CALL loader_start_file_load('jobs', :'schema', '2.2', 'm.f.0.csv', :'m2', staging => true, package_id => NULL, state => NULL) \gset second_
SELECT job_id, state FROM loader.jobs WHERE package_id = :first_package_id;
SELECT loader_cancel(:first_package_id);
\set VERBOSITY sqlstate
CALL loader_start_file_load('jobs', :'schema', '2.1', 'm.g.0.csv', :'m', staging => true, package_id => NULL, state => NULL);
\set VERBOSITY default
CALL loader_start_file_load('jobs', :'schema', '2.2', 'm.f.1.csv', :'m2', staging => true, package_id => NULL, state => NULL) \gset second_
SELECT content FROM loader_create_table_chain_completed_followup_jobs('jobs', :'schema', '2.2', 'm') \gset
:content;
SELECT id, name, _dlt_id FROM jobs.m ORDER BY id;
SELECT count(*) FROM jobs.m__c;
SELECT loader_complete_load('jobs', :'schema', '2.2') = :second_package_id AS complete;
-- The first goes on: its rows are gone from there, and are staged again.
SELECT loader_resume(:first_package_id);
SELECT content FROM loader_create_table_chain_completed_followup_jobs('jobs', :'schema', '2.1', 'm') \gset
:content;
SELECT id, name, _dlt_id FROM jobs.m ORDER BY id;
SELECT loader_complete_load('jobs', :'schema', '2.1') = :first_package_id AS complete;
-- What was merged stays so, whoever empties the staging table afterwards.
CALL loader_start_file_load('jobs', :'schema', '2.3', 'm.f.0.csv', :'m2', staging => true, package_id => NULL, state => NULL) \gset third_
SELECT content FROM loader_create_table_chain_completed_followup_jobs('jobs', :'schema', '2.3', 'm') \gset
:content;
SELECT loader_initialize_storage('jobs', ARRAY['m', 'm__c'], staging => true);
CALL loader_start_file_load('jobs', :'schema', '2.3', 'm.f.1.csv', :'m2', staging => true, package_id => NULL, state => NULL) \gset third_
SELECT kind, state, file_name ~ '\.0\.' AS as_before FROM loader.jobs WHERE package_id = :third_package_id ORDER BY kind;
SELECT count(*) FROM jobs_staging.m;
SELECT loader_complete_load('jobs', :'schema', '2.3') = :third_package_id AS complete;
-- A reference, to a file of a staging area.
CALL test.sh('mkdir -p "jobs/bucket/a b" && cp jobs/1.csv "jobs/bucket/a b/3.1.f.csv"');
CALL loader_start_file_load('jobs', :'schema', '3.1', 'a.ref.0.reference', 'file://' || replace(test.path('jobs/bucket/a b/3.1.f.csv'), ' ', '%20'), package_id => NULL, state => NULL) \gset ref_
SELECT job_id, file_name, format, state, rows_inserted FROM loader.jobs WHERE package_id = :ref_package_id;
CALL loader_start_file_load('jobs', :'schema', '3.1', 'a.s3.0.reference', 's3://bucket/x.csv', package_id => NULL, state => NULL);
-- An upload, which is not needed any more once its rows are there.
SELECT loader_upload('up', '3.1/new_jobs/a.up.0.csv', 0, 'id,name
9,up
', 13, sha256('id,name
9,up
')) AS bytes;
CALL loader_start_file_load('jobs', :'schema', '3.1', 'a.up.0.csv', 'upload:up/3.1/new_jobs/a.up.0.csv', package_id => NULL, state => NULL) \gset up_
SELECT file_name, state, rows_inserted FROM loader.jobs WHERE package_id = :up_package_id AND job_id = 'a.up.csv';
SELECT loader_upload_drop('up') AS is_there;
SELECT loader_upload('up', '3.1/new_jobs/a.bad.0.csv', 0, 'id,name
x,up
', 13) AS bytes;
CALL loader_start_file_load('jobs', :'schema', '3.1', 'a.bad.0.csv', 'upload:up/3.1/new_jobs/a.bad.0.csv', package_id => NULL, state => NULL);
CALL loader_start_file_load('jobs', :'schema', '3.1', 'a.bad.0.csv', 'upload:up/3.1/new_jobs/a.other.0.csv', package_id => NULL, state => NULL);
SELECT loader_upload_drop('up') AS is_there;
-- and in a package
SELECT test.schema('s', 'a: id bigint!, name text; write_disposition="append"') AS small \gset
CALL test.package('3.2', :'small', 'a.ref.0.reference', 'file://' || test.path('jobs/1.csv'));
CALL test.load('3.2', 'jobs');
SELECT job_id, file_name, format, j.state, rows_inserted FROM loader.packages JOIN loader.jobs j USING (package_id) WHERE load_id = '3.2';
CALL test.package('3.3', :'small', 'a.ref.0.reference', 's3://bucket/x.csv');
SELECT * FROM test.refuse('3.3');
CALL test.package('3.3', :'small', 'a.ref.0.reference', E'/a.csv\n/b.csv');
SELECT * FROM test.refuse('3.3');
CALL test.package('3.3', :'small', 'a.ref.0.reference', '');
SELECT * FROM test.refuse('3.3');
CALL test.package('3.3', :'small', 'a.ref.0.reference', 'x.csv');
SELECT * FROM test.refuse('3.3');
CALL test.package('3.3', :'small', 'a.ref.0.reference', 'file://' || test.path('jobs/1.parquet'));
CALL test.sh('touch jobs/1.parquet');
SELECT * FROM test.refuse('3.3');
CALL test.sh('ln -s 1.csv jobs/link.csv');
CALL test.package('3.3', :'small', 'a.ref.0.reference', 'file://' || test.path('jobs/link.csv'));
SELECT * FROM test.refuse('3.3');
-- What is not for job mode, and the other way round.
SELECT code, replace(message, :'ref_package_id', '<id>') AS message FROM test.try(format('SELECT loader_start(%s)', :ref_package_id));
CALL test.package('3.1', :'small', 'a.f.0.csv', E'id\n1\n');
SELECT code, message, regexp_replace(detail, '\d+', '<id>') AS detail, regexp_replace(hint, '\d+', '<id>') AS hint FROM test.refuse('3.1', ', dataset => ''jobs''');
CALL test.package('4.1', :'small', 'a.f.0.csv', E'id\n1\n');
SELECT loader_register(test.path('4.1'), 'jobs') AS whole \gset
BEGIN;
CALL loader_start_file_load('jobs', :'schema', '4.2', 'a.f.0.csv', :'f1', package_id => NULL, state => NULL);
ROLLBACK;
SELECT code, message, hint FROM test.try('CALL loader_run_followup_job(1, ''x'')');
\set VERBOSITY terse
CALL loader_start_file_load('jobs', :'schema', '4.2', 'a.f.0.csv', package_id => NULL, state => NULL);
CALL loader_start_file_load('jobs', :'schema', '4.2', 'a.f.0.csv', :'f1', 'INSERT', package_id => NULL, state => NULL);
CALL loader_start_file_load('jobs', :'schema', '4.2', 'a.f.csv', :'f1', package_id => NULL, state => NULL);
CALL loader_start_file_load('jobs', :'schema', '4.2', 'none.f.0.csv', :'f1', package_id => NULL, state => NULL);
CALL loader_start_file_load('jobs', :'schema', '', 'a.f.0.csv', :'f1', package_id => NULL, state => NULL);
CALL loader_start_file_load('pg_x', :'schema', '4.2', 'a.f.0.csv', :'f1', package_id => NULL, state => NULL);
CALL loader_start_file_load('jobs', '{"name": "s"}', '4.2', 'a.f.0.csv', :'f1', package_id => NULL, state => NULL);
CALL loader_start_file_load('jobs', :'schema', '4.2', 'a.f.0.csv', '/nowhere/x.csv', package_id => NULL, state => NULL);
CALL loader_start_file_load('jobs', :'schema', '4.2', 'a.f.0.parquet', :'f1', package_id => NULL, state => NULL);
CALL loader_run_followup_job(NULL, 'x');
\set VERBOSITY sqlstate
CALL loader_run_followup_job(:ref_package_id, 'x');
\set VERBOSITY terse
SELECT * FROM loader_create_table_chain_completed_followup_jobs('jobs', :'schema', '4.2', 'm__c');
-- A role: only with a grant, only its own loads, only files it may read.
CREATE ROLE regress_loader_jobs;
SET ROLE regress_loader_jobs;
CALL loader_start_file_load('jobs', :'schema', '5.1', 'a.f.0.csv', :'f1', package_id => NULL, state => NULL);
SELECT loader_complete_load('jobs', :'schema', '5.1');
RESET ROLE;
GRANT EXECUTE ON ALL PROCEDURES IN SCHEMA public TO regress_loader_jobs;
GRANT EXECUTE ON FUNCTION loader_complete_load TO regress_loader_jobs;
GRANT USAGE ON SCHEMA jobs TO regress_loader_jobs;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA jobs TO regress_loader_jobs;
SET ROLE regress_loader_jobs;
\set VERBOSITY sqlstate
CALL loader_start_file_load('jobs', :'schema', '5.1', 'a.f.0.csv', :'f1', package_id => NULL, state => NULL);
\set VERBOSITY terse
CALL loader_start_file_load('jobs', :'schema', '3.1', 'a.f.0.model', statement => 'INSERT INTO jobs.a SELECT 1', package_id => NULL, state => NULL);
CALL loader_start_file_load('jobs', :'schema', '5.1', 'a.f.0.model', statement => 'INSERT INTO jobs.r SELECT 1', package_id => NULL, state => NULL) \gset own_
SELECT loader_complete_load('jobs', :'schema', '5.1') = :own_package_id AS complete;
-- What it has defined nobody else runs by going on with its load, not even a superuser.
CALL loader_start_file_load('jobs', :'schema', '5.2', 'a.f.0.model', statement => 'INSERT INTO jobs.a SELECT 1 / 0', package_id => NULL, state => NULL);
RESET ROLE;
CALL loader_start_file_load('jobs', :'schema', '5.2', 'a.g.0.model', statement => 'INSERT INTO jobs.a SELECT 1', package_id => NULL, state => NULL);
SELECT loader_complete_load('jobs', :'schema', '5.2');
\set VERBOSITY default
SELECT mode, state, role_name, jobs FROM loader.packages WHERE load_id LIKE '5._' ORDER BY load_id;
SELECT loader_cancel(package_id) FROM loader.packages WHERE load_id = '5.2';
SELECT loader_forget(package_id) FROM loader.packages WHERE dataset = 'jobs' AND load_id <> '3.1';
SELECT loader_cancel(:ref_package_id);
-- The error of a package, of none, and of one that has none.
\set VERBOSITY sqlstate
SELECT loader_raise(NULL), loader_raise(NULL, 'a.f.model');
SELECT loader_raise(package_id) FROM loader.packages WHERE load_id = '3.1' AND dataset = 'jobs';
SELECT loader_raise(-1);
SELECT loader_raise(:ref_package_id);
\set VERBOSITY default
DROP OWNED BY regress_loader_jobs;
DROP ROLE regress_loader_jobs;
DROP SCHEMA jobs, jobs_staging CASCADE;
