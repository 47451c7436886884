-- What `make demo` shows. :packages is a directory with three load packages of one pipeline.
-- A heading is the statement that follows; long texts are cut for the screen.
\set QUIET 1
\pset border 1
\pset null '(null)'
SET client_min_messages = notice;
CREATE EXTENSION loader;

\set first :packages /1795377782.4696941
\echo
\echo 'The packages of one pipeline, as dlt left them after normalize, are in'
\echo :packages

\echo
\echo '== What would the first package do?'
\echo '   SELECT * FROM loader_plan(\'.../1795377782.4696941\', dataset => \'shop\');'
SELECT step, action, CASE WHEN length(object) > 24 THEN left(object, 21) || '...' ELSE object END AS object,
	CASE WHEN length(detail) > 27 THEN left(detail, 24) || '...' ELSE detail END AS detail
FROM loader_plan(:'first', dataset => 'shop');

\echo '== Load it, and wait.'
\echo '   CALL loader_run(\'.../1795377782.4696941\', dataset => \'shop\');'
CALL loader_run(:'first', dataset => 'shop');

\echo '== Load what else is in its directory, in the background; wait for all.'
\echo '   SELECT loader_scan(\'...\', dataset => \'shop\');'
SELECT loader_scan(:'packages', dataset => 'shop') AS package_id;
\echo '   SELECT package_id, loader_wait(package_id, timeout => \'50s\') AS state'
\echo '   FROM loader.packages ORDER BY package_id;'
SELECT package_id, loader_wait(package_id, timeout => '50s') AS state
FROM loader.packages ORDER BY package_id;

\echo '== The tables of the dataset, and their rows'
SELECT c.relname AS table,
	(xpath('//n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I.%I',
		'shop', c.relname), false, true, '')))[1]::text::bigint AS rows
FROM pg_catalog.pg_class c
WHERE c.relnamespace = 'shop'::regnamespace AND c.relkind = 'r'
ORDER BY c.relname;
\echo '   \\d shop.tree'
\d shop.tree
\echo '   SELECT * FROM shop.tree ORDER BY _dlt_load_id, _dlt_id;'
SELECT * FROM shop.tree ORDER BY _dlt_load_id, _dlt_id;
\echo '   SELECT load_id, schema_name, status FROM shop._dlt_loads ORDER BY load_id;'
SELECT load_id, schema_name, status FROM shop._dlt_loads ORDER BY load_id;

\echo '== The packages'
\echo '   SELECT package_id, load_id, dataset, state, jobs, completed_jobs'
\echo '   FROM loader.packages ORDER BY package_id;'
SELECT package_id, load_id, dataset, state, jobs, completed_jobs
FROM loader.packages ORDER BY package_id;

\echo '== Their files'
\echo '   SELECT package_id, job_id, state, bytes, rows_inserted'
\echo '   FROM loader.jobs ORDER BY package_id, job_id;'
SELECT package_id AS package,
	CASE WHEN length(job_id) > 32 THEN left(job_id, 29) || '...' ELSE job_id END AS job_id,
	state, bytes, rows_inserted
FROM loader.jobs ORDER BY package_id, loader.jobs.job_id COLLATE "C";

\echo '== What was done to each table'
\echo '   SELECT package_id, table_name, disposition, sink, rows_inserted'
\echo '   FROM loader.tables ORDER BY package_id, table_name;'
SELECT package_id AS package, table_name, disposition, sink, rows_inserted
FROM loader.tables ORDER BY package_id, table_name COLLATE "C";
