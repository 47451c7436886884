-- What `make demo` shows. :packages is a directory with three load packages of one pipeline.
\set QUIET 1
\pset border 1
\pset null '(null)'
SET client_min_messages = notice;
CREATE EXTENSION loader;

\set first :packages /1795377782.4696941

\echo
\echo '== What would the first package do?  SELECT * FROM loader_plan(source, dataset)'
SELECT step, action, object,
	CASE WHEN length(detail) > 80 THEN left(detail, 77) || '...' ELSE detail END AS detail
FROM loader_plan(:'first', 'shop');

\echo '== Load it.  CALL loader_run(source, dataset)'
CALL loader_run(:'first', dataset => 'shop');

\echo '== Load what else is in its directory.  SELECT loader_scan(directory, dataset)'
SELECT loader_scan(:'packages', dataset => 'shop') AS package_id;
SELECT package_id, loader_wait(package_id, timeout => '50s') AS state
FROM loader.packages ORDER BY package_id;

\echo '== The tables'
SELECT c.relname AS table,
	(xpath('//n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I.%I',
		'shop', c.relname), false, true, '')))[1]::text::bigint AS rows
FROM pg_catalog.pg_class c
WHERE c.relnamespace = 'shop'::regnamespace AND c.relkind = 'r'
ORDER BY c.relname;
\d shop.tree
SELECT * FROM shop.tree ORDER BY _dlt_load_id, _dlt_id;
SELECT load_id, schema_name, status FROM shop._dlt_loads ORDER BY load_id;

\echo '== The packages: loader.packages'
SELECT package_id, load_id, schema_name, dataset, state, jobs, completed_jobs
FROM loader.packages ORDER BY package_id;

\echo '== Their files: loader.jobs'
SELECT package_id, job_id, state, bytes, rows_read, rows_inserted
FROM loader.jobs ORDER BY package_id, job_id;

\echo '== What was done to each table: loader.tables'
SELECT package_id, table_name, chain, disposition, sink, rows_inserted, bytes
FROM loader.tables ORDER BY package_id, table_name;
