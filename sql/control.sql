-- Register, start, wait, cancel, resume, forget, scan: in each state of a package.
SET client_min_messages = warning;
\set one '''one: id bigint!, name text'''
SELECT E'id,name\n1,x\n' AS good, E'id,name\nx,x\n' AS bad \gset
CALL test.package('1.1', test.schema('s', :one), 'one.a.0.csv', :'good');
SELECT test.path('1.1') AS p11 \gset

-- A start belongs to its transaction, and to its subtransaction.
BEGIN;
SELECT loader_start(:'p11', 'control') IS NOT NULL AS started;
ROLLBACK;
SELECT count(*) FROM loader.packages WHERE dataset = 'control';
BEGIN;
SAVEPOINT a;
SELECT loader_start(:'p11', 'control') IS NOT NULL AS started;
ROLLBACK TO a;
SELECT count(*) FROM loader.packages WHERE dataset = 'control';
COMMIT;
SELECT count(*) FROM loader.packages WHERE dataset = 'control';
BEGIN;
SELECT loader_start(:'p11', 'control') IS NOT NULL AS started;
PREPARE TRANSACTION 'regress_loader';
SELECT count(*) FROM loader.packages WHERE dataset = 'control';
SELECT to_regnamespace('control') IS NULL AS nothing_happened;

-- Registered, not started
SELECT loader_register(:'p11', 'control') AS id \gset
SELECT loader_register(:'p11', 'control') = :id AS same;
SELECT state, started FROM loader.packages WHERE package_id = :id;
SELECT code, replace(message, :'id', '<id>') AS message, replace(hint, :'id', '<id>') AS hint FROM test.try(format('SELECT loader_wait(%s)', :id));
-- one that is only registered holds nobody back
CALL test.package('1.2', test.schema('s', :one), 'one.a.0.csv', :'good');
CALL test.load('1.2', 'control');
SELECT count(*) FROM control.one;

-- Wait in the transaction that starts it, and while holding its tables
BEGIN;
SELECT loader_start(:id) = :id AS same;
SELECT code, replace(message, :'id', '<id>') AS message, hint FROM test.try(format('SELECT loader_wait(%s)', :id));
ROLLBACK;
BEGIN;
LOCK TABLE control.one IN SHARE MODE;
SELECT code, replace(message, :'id', '<id>') AS message, hint FROM test.try(format('SELECT loader_wait(%s)', :id));
ROLLBACK;

-- Started twice; waited for at every level of isolation
SELECT loader_start(:id) = :id AS same, loader_start(:id) = :id AS again;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) > 0 AS snapshot FROM loader.packages;
SELECT loader_wait(:id, '600s');
COMMIT;
SELECT loader_wait(:id), loader_wait(:id, '0');

-- Loaded
SELECT code, replace(message, :'id', '<id>') AS message, hint FROM test.try(format('SELECT loader_start(%s)', :id));
SELECT loader_cancel(:id) AS cancel, loader_resume(:id) AS resume;
SELECT loader_start(:'p11', 'control') = :id AS same;
SELECT state, attempts FROM loader.packages WHERE package_id = :id;
SELECT loader_forget(:id) AS forget, loader_forget(:id) AS again;
SELECT loader_register(:'p11', 'control') IS NULL AS loaded;
SELECT loader_start(:'p11', 'control') IS NULL AS loaded;
SELECT count(*) FROM loader.jobs WHERE package_id = :id;
-- the dataset was dropped: what is known to be loaded is loaded anew, and so is what is not known
SELECT package_id AS id2 FROM loader.packages WHERE load_id = '1.2' \gset
DROP SCHEMA control CASCADE;
CALL test.load('1.1', 'control');
CALL test.load('1.2', 'control');
SELECT load_id, state, package_id = :id2 AS old FROM loader.packages ORDER BY package_id;
SELECT count(*) FROM control.one;

-- No such package
SELECT * FROM test.try('SELECT loader_start(0)');
SELECT * FROM test.try('SELECT loader_wait(0)');
SELECT * FROM test.try('SELECT loader_cancel(0)');
SELECT * FROM test.try('SELECT loader_resume(0)');
SELECT loader_forget(0), loader_forget(-1);

-- Cancelled before it was started, and before its turn
CALL test.package('2.1', test.schema('s', :one), 'one.a.0.csv', :'good');
SELECT test.path('2.1') AS p21 \gset
SELECT loader_register(:'p21', 'control') AS id \gset
SELECT loader_cancel(:id) AS cancel, loader_cancel(:id) AS again, loader_wait(:id) AS wait;
SELECT state, finished_at IS NOT NULL AS finished, sqlstate, message FROM loader.packages WHERE package_id = :id;
SELECT code, replace(message, :'id', '<id>') AS message, hint FROM test.try(format('SELECT loader_start(%s)', :id));
-- registered anew, under its number
SELECT loader_register(:'p21', 'control') = :id AS same;
SELECT state, finished_at FROM loader.packages WHERE package_id = :id;
SELECT loader_cancel(:id);
SELECT loader_resume(:id);
SELECT loader_wait(:id, '600s');
SELECT kind, object FROM loader.events WHERE package_id = :id ORDER BY event_id;
-- cancelled in the transaction that starts it
CALL test.package('2.2', test.schema('s', :one), 'one.a.0.csv', :'good');
BEGIN;
SELECT loader_start(test.path('2.2'), 'control') AS id \gset
SELECT loader_cancel(:id);
COMMIT;
SELECT loader_wait(:id, '600s');
SELECT loader_forget(:id);
-- forgotten in the transaction that starts it
BEGIN;
SELECT loader_start(test.path('2.2'), 'control') AS id \gset
SELECT loader_forget(:id);
COMMIT;
SELECT count(*) FROM loader.packages WHERE package_id = :id;

-- While it runs
CREATE TRIGGER held BEFORE INSERT ON control.one FOR EACH ROW EXECUTE FUNCTION test.held();
CREATE TABLE control.two (id bigint);
SELECT test.hold();
CALL test.package('3.1', test.schema('s', :one, 'two: id bigint'), 'one.a.0.csv', :'good', 'one.b.0.csv', :'good', 'two.a.0.csv', E'id\n1\n');
SELECT loader_start(test.path('3.1'), 'control') AS id \gset
CALL test.wait_for(format('EXISTS (SELECT FROM loader.jobs WHERE package_id = %s AND state = ''running'')', :id));
SELECT state, started, jobs, completed_jobs FROM loader.packages WHERE package_id = :id;
SELECT job_id, state FROM loader.jobs WHERE package_id = :id ORDER BY job_id;
SELECT load_id, dataset, phase, jobs_done, jobs_total, bytes_total, percent < 100 AS percent, length(bar) AS bar FROM loader.progress;
SELECT is_coordinator, phase, job_ordinal, jobs_done, jobs_total FROM loader.running();
SELECT loader_wait(:id, '1ms');
SELECT loader_start(:id) = :id AS start, loader_resume(:id) AS resume;
SELECT loader_start(test.path('3.1'), 'control') = :id AS start;
SELECT code, replace(message, :'id', '<id>') AS message, hint FROM test.try(format('SELECT loader_forget(%s)', :id));
-- another one for the same tables queues; one for other tables does not
CALL test.package('3.2', test.schema('s', :one), 'one.a.0.csv', :'good');
CALL test.package('3.3', test.schema('s', 'three: id bigint'), 'three.a.0.csv', E'id\n1\n');
CALL test.package('3.4', test.schema('s', :one), 'one.a.0.csv', :'good');
SELECT loader_start(test.path('3.2'), 'control') AS id2 \gset
SELECT loader_start(test.path('3.4'), 'control') AS id4 \gset
CALL test.load('3.3', 'control');
SELECT started, finished_at FROM loader.packages WHERE package_id = :id2;
-- its worker may be looking at it in this moment
SELECT loader_cancel(:id4) AS cancel;
SELECT loader_wait(:id4) AS wait;
-- the flag is seen before the end, whenever the workers look
SELECT loader_cancel(:id) AS cancel, loader_cancel(:id) AS again;
SELECT test.release();
SELECT loader_wait(:id, '600s');
SELECT state, sqlstate, replace(message, :'id', '<id>') AS message FROM loader.packages WHERE package_id = :id;
SELECT job_id, state, sqlstate FROM loader.jobs WHERE package_id = :id ORDER BY job_id;
SELECT loader_wait(:id2, '600s');
SELECT loader_resume(:id);
SELECT loader_wait(:id, '600s');
SELECT (SELECT count(*) FROM control.one) AS one, (SELECT count(*) FROM control.two) AS two, (SELECT count(*) FROM control.three) AS three;
SELECT loader_forget(:id4);
DROP TRIGGER held ON control.one;

-- A failed one holds back the later ones of its dataset and schema, until it is cancelled, ...
CALL test.package('4.1', test.schema('s', :one), 'one.a.0.csv', :'bad');
CALL test.package('4.2', test.schema('s', 'three: id bigint'), 'three.a.0.csv', E'id\n2\n');
CALL test.package('4.3', test.schema('other', :one), 'one.a.0.csv', :'good');
SELECT loader_start(test.path('4.1'), 'control') AS failed \gset
SELECT loader_wait(:failed, '600s');
SELECT code, replace(message, :'failed', '<id>') AS message, hint FROM test.try(format('SELECT loader_start(%s)', :failed));
SELECT loader_start(test.path('4.2'), 'control') AS later \gset
SELECT code, replace(replace(message, :'later', '<later>'), :'failed', '<failed>') AS message, replace(hint, :'failed', '<failed>') AS hint
FROM test.try(format('SELECT loader_wait(%s, ''600s'')', :later));
SELECT started, finished_at FROM loader.packages WHERE package_id = :later;
CALL test.load('4.3', 'control');
SELECT pending, failed FROM loader.datasets WHERE dataset = 'control';
SELECT loader_cancel(:failed) AS cancel, loader_cancel(:failed) AS again;
SELECT loader_wait(:later, '600s'), loader_wait(:failed, '600s');
SELECT loader_forget(:failed);
-- ... forgotten, ...
CALL test.package('4.4', test.schema('s', 'three: id bigint'), 'three.a.0.csv', E'id\n2\n');
SELECT loader_start(test.path('4.1'), 'control') AS failed \gset
SELECT loader_wait(:failed, '600s');
SELECT loader_start(test.path('4.4'), 'control') AS later \gset
SELECT loader_forget(:failed);
SELECT loader_wait(:later, '600s');
-- ... or resumed with success.
CALL test.package('4.5', test.schema('s', 'three: id bigint'), 'three.a.0.csv', E'id\n2\n');
CREATE TABLE control.four (id smallint);
CALL test.package('4.6', test.schema('s', 'four: id bigint'), 'four.a.0.csv', E'id\n100000\n');
SELECT loader_start(test.path('4.6'), 'control') AS failed \gset
SELECT loader_wait(:failed, '600s');
SELECT loader_start(test.path('4.5'), 'control') AS later \gset
SELECT loader_resume(:failed);
SELECT loader_wait(:failed, '600s');
SELECT job_id, state, sqlstate, retry_count FROM loader.jobs WHERE package_id = :failed;
ALTER TABLE control.four ALTER id TYPE integer;
SELECT loader_resume(:failed);
SELECT loader_wait(:failed, '600s'), loader_wait(:later, '600s');
SELECT state, sqlstate, message, detail, hint FROM loader.packages WHERE package_id = :failed;
SELECT job_id, state, sqlstate, exception FROM loader.jobs WHERE package_id = :failed;
SELECT kind, object, detail FROM loader.events WHERE package_id = :failed AND kind <> 'resumed' ORDER BY event_id;
-- A failed package is registered anew from what lies there now.
CALL test.package('4.7', test.schema('s', :one), 'one.a.0.csv', :'bad', 'one.b.0.csv', :'good');
SELECT loader_start(test.path('4.7'), 'control') AS failed \gset
SELECT loader_wait(:failed, '600s');
CALL test.package('4.7', test.schema('s', :one), 'one.c.0.csv', :'good');
SET client_min_messages = notice;
SELECT loader_start(test.path('4.7'), 'control') = :failed AS same;
SET client_min_messages = warning;
SELECT loader_wait(:failed, '600s');
SELECT job_id, state FROM loader.jobs WHERE package_id = :failed;

-- loader_run raises the error of the package, and says how to go on.
CALL test.package('5.1', test.schema('s', :one), 'one.a.0.csv', :'bad');
SELECT test.path('5.1') AS p51 \gset
\set VERBOSITY sqlstate
CALL loader_run(:'p51', 'control');
\set VERBOSITY default
SELECT package_id AS id FROM loader.packages WHERE load_id = '5.1' \gset
SELECT state, sqlstate, message, detail, hint FROM loader.packages WHERE package_id = :id;
SELECT loader_forget(:id);

-- Packages of others
CREATE ROLE regress_loader_etl;
GRANT EXECUTE ON FUNCTION loader_start(bigint), loader_wait, loader_cancel, loader_resume, loader_forget TO regress_loader_etl;
GRANT USAGE ON SCHEMA test TO regress_loader_etl;
GRANT SELECT ON test.directory TO regress_loader_etl;
CALL test.package('6.1', test.schema('s', :one), 'one.a.0.csv', :'good');
SELECT loader_register(test.path('6.1'), 'control') AS id \gset
SET ROLE regress_loader_etl;
SELECT f, code, replace(message, :'id', '<id>') AS message
FROM unnest(ARRAY['start', 'wait', 'cancel', 'resume', 'forget']) WITH ORDINALITY AS u(f, n), test.try(format('SELECT loader_%s(%s)', f, :id)) ORDER BY n;
SELECT (SELECT count(*) FROM loader.packages) AS packages, (SELECT count(*) FROM loader.jobs) AS jobs, (SELECT count(*) FROM loader.tables) AS tables,
	(SELECT count(*) FROM loader.events) AS events, (SELECT count(*) FROM loader.datasets) AS datasets, (SELECT count(*) FROM loader.loads) AS loads;
SELECT count(*) FROM loader_job(:id, 'one.a.csv');
SELECT * FROM loader.package;
RESET ROLE;
GRANT pg_monitor TO regress_loader_etl;
SET ROLE regress_loader_etl;
SELECT count(*) FROM loader.packages WHERE package_id = :id;
SELECT code FROM test.try(format('SELECT loader_cancel(%s)', :id));
RESET ROLE;
SELECT loader_forget(:id);
DROP OWNED BY regress_loader_etl;
DROP ROLE regress_loader_etl;

-- Scan: what is complete, by load id; not what failed, not what is hidden, unfinished or dlt's own business.
CALL test.sh('mkdir scan scan/deep');
CALL test.package('scan/deep/10.5', test.schema('scan', 'got: id bigint'), 'got.a.0.csv', E'id\n10\n');
CALL test.package('scan/9.5', test.schema('scan', 'got: id bigint'), 'got.a.0.csv', E'id\n9\n');
CALL test.package('scan/.8.5', test.schema('scan', 'got: id bigint'), 'got.a.0.csv', E'id\n8\n');
CALL test.package('scan/7.5', test.schema('scan', 'got: id bigint'), 'got.a.0.csv', E'id\n7\n');
CALL test.sh('rm scan/7.5/load_package_state.json');
CALL test.package('scan/pipe/load/normalized/11.5', test.schema('scan', 'got: id bigint'), 'got.a.0.csv', E'id\n11\n');
CALL test.package('scan/pipe/load/new/12.5', test.schema('scan', 'got: id bigint'), 'got.a.0.csv', E'id\n12\n');
CALL test.package('scan/pipe/load/loaded/13.5', test.schema('scan', 'got: id bigint'), 'got.a.0.csv', E'id\n13\n');
CALL test.package('scan/pipe/normalize/extracted/14.5', test.schema('scan', 'got: id bigint'), 'got.a.0.csv', E'id\n14\n');
CALL test.package('scan/15.5', '{}');
CALL test.sh('ln -s ../1.1 scan/16.5');
SET client_min_messages = error;
CREATE TEMP TABLE scanned AS SELECT * FROM loader_scan(test.path('scan'), 'scan') WITH ORDINALITY AS s(id, n);
SELECT n, load_id FROM scanned JOIN loader.packages ON package_id = id ORDER BY n;
SELECT loader_wait(id, '600s') FROM scanned ORDER BY n;
SELECT array_agg(id ORDER BY id) FROM scan.got;
SELECT count(*) FROM loader_scan(test.path('scan'), 'scan');
-- one that failed is not tried again by the scan; what comes later waits for it
CALL test.package('scan/17.5', test.schema('scan', 'got: id bigint'), 'got.a.0.csv', E'id\nx\n');
SELECT count(*) FROM loader_scan(test.path('scan'), 'scan');
SELECT package_id AS id FROM loader.packages WHERE load_id = '17.5' \gset
SELECT loader_wait(:id, '600s');
SELECT count(*) FROM loader_scan(test.path('scan'), 'scan');
CALL test.package('scan/18.5', test.schema('scan', 'got: id bigint'), 'got.a.0.csv', E'id\n18\n');
SELECT count(*) FROM loader_scan(test.path('scan'), 'scan');
SELECT started, finished_at FROM loader.packages WHERE load_id = '18.5';
SELECT loader_cancel(:id);
SELECT loader_wait(package_id, '600s') FROM loader.packages WHERE load_id = '18.5';
SELECT array_agg(id ORDER BY id) FROM scan.got;
-- a broken package is a warning
SET client_min_messages = warning;
\set VERBOSITY sqlstate
SELECT count(*) FROM loader_scan(test.path('scan'), 'scan');
\set VERBOSITY default

CALL test.wait_for('NOT EXISTS (SELECT FROM loader.running())');
DROP SCHEMA control, scan CASCADE;
