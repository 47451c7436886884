-- Files that come by SQL: for a role that may read no file of the server.
SET client_min_messages = warning;
\pset format unaligned
\pset tuples_only on
SELECT current_database() AS database \gset
CREATE ROLE regress_loader_up LOGIN;
CREATE ROLE regress_loader_other LOGIN;
GRANT CREATE ON DATABASE :"database" TO regress_loader_up, regress_loader_other;
GRANT USAGE ON SCHEMA test TO regress_loader_up, regress_loader_other;
GRANT SELECT ON test.directory TO regress_loader_up, regress_loader_other;
SELECT has_function_privilege('regress_loader_up', oid, 'EXECUTE') FROM pg_proc WHERE proname IN ('loader_upload', 'loader_upload_drop');
GRANT EXECUTE ON FUNCTION loader_upload, loader_upload_drop, loader_register, loader_plan, loader_wait, loader_forget, loader_cancel TO regress_loader_up, regress_loader_other;
SELECT format('GRANT EXECUTE ON FUNCTION %s TO regress_loader_up', oid::regprocedure) FROM pg_proc WHERE proname = 'loader_start' \gexec

-- A real package: its files as rows, read by somebody who may.
\pset tuples_only off
\pset expanded on
\set packages `echo "$LOADER_PACKAGES"`
CREATE TABLE test.upload_file (package text, file text, data bytea);
INSERT INTO test.upload_file
SELECT p, f, pg_read_binary_file(format('%s/append_nested/%s', :'packages', f))
FROM pg_ls_dir(:'packages' || '/append_nested') p,
	LATERAL (SELECT p || '/schema.json' UNION ALL SELECT p || '/load_package_state.json'
		UNION ALL SELECT p || '/new_jobs/' || j FROM pg_ls_dir(format('%s/append_nested/%s/new_jobs', :'packages', p)) j) AS files(f);
SELECT package, count(*), sum(length(data)) > 1000 AS has_bytes FROM test.upload_file GROUP BY 1 ORDER BY 1;
\pset tuples_only on
GRANT SELECT ON test.upload_file TO regress_loader_up, regress_loader_other;
-- All files of a package in chunks; how many bytes there are now.
CREATE FUNCTION test.upload(id text, which text, chunk int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	f record;
	there bigint;
	total bigint := 0;
BEGIN
	FOR f IN SELECT * FROM test.upload_file WHERE package = which ORDER BY file LOOP
		there := 0;
		WHILE there + chunk < length(f.data) LOOP
			there := loader_upload(id, f.file, there, substr(f.data, there::int + 1, chunk));
		END LOOP;
		there := loader_upload(id, f.file, there, substr(f.data, there::int + 1), length(f.data), sha256(f.data));
		total := total + there;
	END LOOP;
	RETURN total;
END $$;
SELECT min(package) AS first, max(package) AS last FROM test.upload_file \gset
SELECT sum(length(data)) AS bytes FROM test.upload_file WHERE package = :'first' \gset

SET SESSION AUTHORIZATION regress_loader_up;
SELECT test.upload('one', :'first', 700) = :bytes AS all_there;
SELECT action, object FROM loader_plan('upload:one', 'up') ORDER BY step LIMIT 2;
SELECT loader_start('upload:one', 'up') AS id \gset
SELECT loader_wait(:id, '600s');
SELECT source, state, role_name FROM loader.packages WHERE package_id = :id;
SELECT count(*) > 0 AS has_rows FROM up.tree;
-- it is removed with its coordinator, and needed no more
RESET SESSION AUTHORIZATION;
CALL test.wait_for('NOT EXISTS (SELECT FROM loader.running())');
CALL test.wait_for($$NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type ~ '^loader coord' AND datname = current_database())$$);
SET SESSION AUTHORIZATION regress_loader_up;
SELECT * FROM test.try($$SELECT loader_register('upload:one', 'up')$$);
SELECT loader_upload_drop('one');
-- once more: it counts as loaded, and is not needed
SELECT test.upload('one', :'first', 1000000) = :bytes AS all_there;
SELECT loader_start('upload:one', 'up') = :id AS same;

-- Chunks: what is there, a retry, and going on
SELECT loader_upload('two', '1.1/schema.json', NULL, NULL);
SELECT loader_upload('two', '1.1/schema.json', 0, 'abcdef');
SELECT loader_upload('two', '1.1/schema.json', NULL, NULL);
SELECT loader_upload('two', '1.1/schema.json', 6, 'ghi');
-- the answer was lost, so the same again
SELECT loader_upload('two', '1.1/schema.json', 6, 'ghi');
-- what follows an earlier offset is replaced
SELECT loader_upload('two', '1.1/schema.json', 3, 'DEF');
SELECT loader_upload('two', '1.1/schema.json', 0, NULL, 99, sha256(''));
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', 7, 'x')$$);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', -1, 'x')$$);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', 9223372036854775807, 'x')$$);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', NULL, 'x')$$);
-- it is no part of the transaction
BEGIN;
SELECT loader_upload('two', '1.1/schema.json', 6, 'g');
ROLLBACK;
SELECT loader_upload('two', '1.1/schema.json', NULL, NULL);

-- The end of a file
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', 7, 'h', 9)$$);
SELECT loader_upload('two', '1.1/schema.json', NULL, NULL);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', 7, 'h', 8, sha256('abcDEFgX'))$$);
-- nobody knows which bytes are wrong
SELECT loader_upload('two', '1.1/schema.json', NULL, NULL);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', 0, 'ab', 2, sha256('aB'))$$);
SELECT loader_upload('two', '1.1/schema.json', 0, 'abc');
SELECT loader_upload('two', '1.1/schema.json', 3, '', 3, sha256('abc'));
SELECT loader_upload('two', '1.1/schema.json', 0, 'abc', 3, sha256('abc'));
SELECT loader_upload('two', '1.1/schema.json', 2, 'c', 3, sha256('abc'));
SELECT loader_upload('two', '1.1/schema.json', 0, 'abc', 3);
SELECT loader_upload('two', '1.1/schema.json', NULL, NULL);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', 0, 'abd', 3)$$);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', 0, 'abd', 3, sha256('abd'))$$);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', 0, 'ab', 2, sha256('ab'))$$);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', 3, 'd')$$);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', 0, 'a')$$);
SELECT loader_upload('two', '1.1/new_jobs/items.a.0.csv', 0, '', 0, sha256(''));
SELECT loader_upload('two', '1.1/new_jobs/items.a.0.csv', 0, '', 0);

-- Arguments
SELECT * FROM test.try($$SELECT loader_upload(NULL, '1.1/schema.json', 0, 'x')$$);
SELECT * FROM test.try($$SELECT loader_upload('two', NULL, 0, 'x')$$);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', 0, 'x', -1)$$);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', 0, 'x', NULL, sha256('x'))$$);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', 0, 'x', 1, encode(sha256('x'), 'hex')::bytea)$$);
SELECT * FROM test.try($$SELECT loader_upload_drop(NULL)$$);
SELECT * FROM test.try($$SELECT loader_upload_drop('../two')$$);
BEGIN READ ONLY;
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/schema.json', NULL, NULL)$$);
SELECT * FROM test.try($$SELECT loader_upload_drop('two')$$);
ROLLBACK;
\pset expanded off
SELECT n.id, t.code, t.message FROM unnest(ARRAY['', '.', '..', '.two', 'a/b', 'a b', 'ä', repeat('x', 64), repeat('x', 65)]) WITH ORDINALITY AS n(id, i),
	test.try(format($$SELECT loader_upload(%L, '1.1/schema.json', NULL, NULL)$$, n.id)) t ORDER BY n.i;
SELECT n.file, t.code, t.message FROM unnest(ARRAY['', 'schema.json', '/etc/passwd', '../x/schema.json', '1.1/../schema.json', '1.1/new_jobs', '1.1/new_jobs/../schema.json',
	'1.1/new_jobs/items.csv', '1.1/new_jobs/.x.a.0.csv', '1.1/schema_updates.json', '.unfinished/schema.json', '.done', 'x.zip', E'x\ny.tar', 'x.tar']) WITH ORDINALITY AS n(file, i),
	test.try(format($$SELECT loader_upload('two', %L, NULL, NULL)$$, n.file)) t ORDER BY n.i;
\pset expanded on
SELECT * FROM test.try($$SELECT loader_upload('.two', '1.1/schema.json', NULL, NULL)$$);
SELECT * FROM test.try($$SELECT loader_upload('two', '1.1/x', NULL, NULL)$$);

-- What is no package, or not yet one
SELECT * FROM test.try($$SELECT loader_register('upload:nothing', 'd')$$);
SELECT * FROM test.try($$SELECT loader_register('upload:', 'd')$$);
SELECT * FROM test.try($$SELECT loader_register('upload:../one', 'd')$$);
SELECT * FROM test.try($$SELECT loader_register('upload:two', 'd')$$);
SELECT loader_upload('two', '1.1/new_jobs/items.b.0.csv', 0, 'id');
SELECT * FROM test.try($$SELECT loader_register('upload:two', 'd')$$);
SELECT loader_upload('two', '1.1/new_jobs/items.b.0.csv', 2, '', 2);
SELECT loader_upload('two', '1.2/schema.json', 0, '{}', 2);
SELECT code, message, hint FROM test.try($$SELECT loader_register('upload:two', 'd')$$);
SELECT loader_upload_drop('two'), loader_upload_drop('two');
SELECT loader_upload('two', '1.1/schema.json', NULL, NULL);
SELECT loader_upload('two', 'x.tar.gz', 0, 'not an archive', 14);
SELECT * FROM test.try($$SELECT loader_register('upload:two', 'd')$$);
SELECT loader_upload_drop('two');

-- Each role has its own
SELECT test.upload('mine', :'last', 1000) > 0 AS all_there;
SET SESSION AUTHORIZATION regress_loader_other;
SELECT * FROM test.try($$SELECT loader_register('upload:mine', 'other')$$);
SELECT loader_upload('mine', :'last' || '/schema.json', NULL, NULL), loader_upload_drop('mine');
SELECT loader_upload('mine', '1.1/schema.json', 0, 'other');
SET SESSION AUTHORIZATION regress_loader_up;
SELECT loader_upload('mine', '1.1/schema.json', NULL, NULL), loader_upload('mine', :'last' || '/schema.json', NULL, NULL) > 0 AS still_there;
SELECT * FROM test.try(format('SELECT loader_register(%L, ''d'')', test.path('x')));

-- One that a package needs is not dropped; it goes when that is forgotten
SELECT loader_register('upload:mine', 'up2') AS id \gset
SELECT * FROM test.try($$SELECT loader_upload_drop('mine')$$);
BEGIN;
SELECT loader_forget(:id);
ROLLBACK;
SELECT loader_register('upload:mine', 'up2') = :id AS same;
SELECT loader_forget(:id);
-- with the one that was loaded already
CALL test.wait_for(format($$loader_upload('mine', '%s/schema.json', NULL, NULL) = 0$$, :'last'));
CALL test.wait_for(format($$loader_upload('one', '%s/schema.json', NULL, NULL) = 0$$, :'first'));
SELECT * FROM test.try($$SELECT loader_register('upload:mine', 'up2')$$);

-- The limit: it is for the administrator to set
SELECT * FROM test.try('SET loader.upload_limit = -1');
SELECT code FROM test.try('SHOW loader.spool_directory');
RESET SESSION AUTHORIZATION;
SET loader.upload_limit = '64kB';
SET ROLE regress_loader_up;
SELECT loader_upload('big', '1.1/new_jobs/items.a.0.csv', 0, convert_to(repeat('x', 20000), 'UTF8'));
SELECT * FROM test.try($$SELECT loader_upload('big', '1.1/new_jobs/items.b.0.csv', 0, convert_to(repeat('x', 40000), 'UTF8'))$$);
SELECT loader_upload('big', '1.1/new_jobs/items.b.0.csv', NULL, NULL);
-- a retry in the same place needs no more room
SELECT loader_upload('big', '1.1/new_jobs/items.a.0.csv', 0, convert_to(repeat('y', 20000), 'UTF8'));
-- many small files count, too
SELECT count(loader_upload('big', format('1.1/new_jobs/items.%s.0.csv', i), 0, '')) FROM generate_series(1, 100) i;
SELECT loader_upload_drop('big');
SELECT loader_upload('big', '1.1/new_jobs/items.b.0.csv', 0, convert_to(repeat('x', 40000), 'UTF8'));
SELECT loader_upload_drop('big');
RESET ROLE;
RESET loader.upload_limit;

-- Nothing is left
SET SESSION AUTHORIZATION regress_loader_other;
SELECT loader_upload_drop('mine');
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM pg_ls_dir(format('%s/%s', current_setting('loader.spool_directory'), (SELECT oid FROM pg_database WHERE datname = current_database()))) role,
	pg_ls_dir(format('%s/%s/%s', current_setting('loader.spool_directory'), (SELECT oid FROM pg_database WHERE datname = current_database()), role)) upload;
-- A sweep must not come to the server's own directories.
\set VERBOSITY terse
ALTER SYSTEM SET loader.spool_directory = 'base';
ALTER SYSTEM SET loader.spool_directory = 'pg_wal/spool';
ALTER SYSTEM SET loader.spool_directory = 'spool/../base';
ALTER SYSTEM SET loader.spool_directory = '';
\set VERBOSITY default
SELECT loader_forget(package_id) FROM loader.packages WHERE dataset = 'up';
CALL test.wait_for('NOT EXISTS (SELECT FROM loader.running())');
DROP SCHEMA up CASCADE;
DROP TABLE test.upload_file;
DROP FUNCTION test.upload;
REVOKE ALL ON SCHEMA test FROM regress_loader_up, regress_loader_other;
DROP OWNED BY regress_loader_up, regress_loader_other;
DROP ROLE regress_loader_up, regress_loader_other;
