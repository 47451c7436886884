-- What the extension consists of; from a package to its tables, and what the views say of it.
\set packages `echo "$LOADER_PACKAGES"`
\set first :packages /append_nested/1795377782.4696941
\set second :packages /append_nested/1795377782.9596603
\set third :packages /append_nested/1795377783.2752023
\set csv :packages /types_csv/1795378532.5171893
\set jsonl :packages /types_jsonl/1795378536.3105726
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';

-- Each function: kind, volatility, parallel safety, strictness, whether PUBLIC may execute it. What
-- starts work or reads files is not for PUBLIC.
SELECT p.oid::regprocedure::text AS function, p.prokind, p.provolatile, p.proparallel, p.proisstrict, p.prosecdef AS definer,
	has_function_privilege('public', p.oid, 'EXECUTE') AS public
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'loader'
ORDER BY p.oid::regprocedure::text COLLATE "C";

-- Functions and views without a comment: none.
SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0) AS uncommented
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'loader' AND d.deptype = 'e'
WHERE (d.classid = 'pg_proc'::regclass AND obj_description(d.objid, 'pg_proc') IS NULL)
	OR (d.classid = 'pg_class'::regclass AND (SELECT relkind FROM pg_catalog.pg_class WHERE oid = d.objid) = 'v'
		AND obj_description(d.objid, 'pg_class') IS NULL)
ORDER BY 1;

-- Tables are for nobody, views for all, and all views are barriers.
SELECT relname, relkind, has_table_privilege('public', oid, 'SELECT') AS public, reloptions
FROM pg_catalog.pg_class WHERE relnamespace = 'loader'::regnamespace AND relkind IN ('r', 'v') ORDER BY relname COLLATE "C";

-- The columns of the views. What is new comes last, so that they can be replaced.
SELECT c.relname, string_agg(a.attname, ', ' ORDER BY a.attnum) AS columns
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'loader'::regnamespace AND c.relkind = 'v' GROUP BY c.relname ORDER BY c.relname COLLATE "C";

-- The schema in which swap heaps wait is for nobody.
SELECT nspname, has_schema_privilege('public', oid, 'USAGE') AS usage, has_schema_privilege('public', oid, 'CREATE') AS create
FROM pg_catalog.pg_namespace WHERE nspname LIKE 'loader%' ORDER BY nspname;

-- Tables and sequences whose contents pg_dump keeps.
SELECT c.relname FROM pg_catalog.pg_extension e, unnest(e.extconfig) AS o JOIN pg_catalog.pg_class c ON c.oid = o
WHERE e.extname = 'loader' ORDER BY c.relname COLLATE "C";

-- States that do not exist.
\set VERBOSITY terse
INSERT INTO loader.package (load_id, schema_name, schema_hash, dataset, source, state, options, settings, schema_size, schema_inode,
	schema_mtime_ns, role_oid, role_name, system_identifier, database_oid)
VALUES ('1', 's', 'h', 'd', '/', 'running', '{}', '{}', 0, 0, 0, 0, '', 0, 0);

\set VERBOSITY default

-- For plans: the role that runs the test.
CREATE VIEW test.role AS SELECT format('role "%s"', current_user) AS is;

-- The plan of a first load. It changes nothing.
SELECT p.step, p.action, p.object, replace(p.detail, r.is, 'role "<role>"') AS detail
FROM loader_plan(:'first') p, test.role r;
SELECT count(*) FROM loader.packages;
SELECT to_regnamespace('append_nested_dataset') IS NULL AS no_dataset;

-- The first package brings its dataset's name along.
CALL loader_run(:'first') \gset first_
SELECT dataset, load_id, schema_name, pipeline_name, state, started, attempts, role_name = current_user AS own, options,
	started_at >= registered_at AS started_at, finished_at >= started_at AS finished_at, jobs, completed_jobs, failed_jobs,
	sqlstate, message, detail, hint
FROM loader.packages;
SELECT dataset AS ds FROM loader.packages \gset
SELECT job_id, file_name, table_name, format, kind, state, retry_count, bytes, rows_read, rows_inserted,
	finished_at >= started_at AS finished, sqlstate, exception
FROM loader.jobs ORDER BY job_id COLLATE "C";
SELECT table_name, chain, disposition, strategy, stage, sink, reason, rows_read, rows_inserted, rows_updated, rows_deleted, rows_rejected, bytes,
	lock_wait, lock_hold
FROM loader.tables ORDER BY table_name COLLATE "C";
SELECT kind, object, detail FROM loader.events ORDER BY event_id;

SET search_path TO :"ds", public;
\d tree
\d tree__kids
SELECT * FROM tree ORDER BY id;
SELECT k.k, k.v, t.id AS of, k._dlt_list_idx FROM tree__kids k JOIN tree t ON t._dlt_id = k._dlt_parent_id ORDER BY t.id, k.k;

-- The second and the third carry no pipeline state: they go where their schema went last.
SELECT p.step, p.action, p.object, replace(p.detail, r.is, 'role "<role>"') AS detail
FROM loader_plan(:'second') p, test.role r;
SELECT loader_register(:'second') AS second \gset
SELECT state, started, started_at, finished_at FROM loader.packages WHERE package_id = :second;
SELECT loader_start(:second) = :second AS same;
SELECT loader_wait(:second, '600s');
SELECT loader_start(:'third') AS third \gset
SELECT loader_wait(:third, '600s');
SELECT load_id, dataset = :'ds' AS same_dataset, state FROM loader.packages ORDER BY load_id;
SELECT t._dlt_load_id, count(*) FROM tree t GROUP BY 1 ORDER BY 1;
SELECT load_id, schema_name, status, schema_version_hash FROM _dlt_loads ORDER BY load_id;
RESET search_path;

-- What is loaded is not loaded again.
CALL loader_run(:'first') \gset again_
SELECT :again_package_id = :first_package_id AS same;
SELECT action, object, detail FROM loader_plan(:'first') WHERE step > 1;
SELECT package_id = :first_package_id AS first, state, attempts FROM loader.packages ORDER BY package_id;

-- One job.
SELECT state, file_name, exception, table_name, retry_count, rows_read, rows_inserted, finished_at >= started_at AS finished
FROM loader_job(:first_package_id, 'tree.2aed52e67e.insert_values.gz');
SELECT state, file_name FROM loader_job(:first_package_id, 'tree.2aed52e67e.insert_values');
SELECT state, file_name FROM loader_job(:first_package_id, 'nix');

-- csv and jsonl
CALL loader_run(:'csv', dataset => 'typed_csv') \gset csv_
CALL loader_run(:'jsonl', dataset => 'typed_jsonl', workers => 2) \gset jsonl_
SELECT dataset, options FROM loader.packages WHERE package_id IN (:csv_package_id, :jsonl_package_id) ORDER BY dataset;
SELECT (SELECT count(*) FROM typed_csv.typed) AS csv, (SELECT count(*) FROM typed_jsonl.typed) AS jsonl;
SELECT c.id, c.txt_8, c.i_8, c.f, c.ok, c.d, c.t, c.ts, c.bin, c.dec, c.js FROM typed_csv.typed c WHERE length(c.txt) < 1000 OR c.txt IS NULL ORDER BY id;
-- jsonl tells an empty text from none, csv does not; all else is the same
SELECT id, key, cv.value AS csv, left(jv.value::text, 40) AS jsonl
FROM typed_csv.typed c JOIN typed_jsonl.typed j USING (id), jsonb_each(to_jsonb(c)) cv JOIN jsonb_each(to_jsonb(j)) jv USING (key)
WHERE cv.value <> jv.value AND key NOT LIKE '\_dlt\_%' ORDER BY id, key;

-- The views over all datasets.
SELECT dataset, packages, last_success IS NOT NULL AS success, lag > '0' AS lag, pending, failed FROM loader.datasets ORDER BY dataset;
SELECT dataset, load_id, schema_name, status, inserted_at IS NOT NULL AS inserted, schema_version_hash FROM loader.loads ORDER BY load_id;
SELECT dataset, schema_name, version, engine_version, version_hash, schema::jsonb->>'version_hash' = version_hash AS whole
FROM loader.schemas ORDER BY dataset, version_hash COLLATE "C";
SELECT dataset, pipeline_name, version, engine_version, state LIKE 'eNp%' AS packed, load_id FROM loader.states ORDER BY load_id;
CALL test.wait_for('NOT EXISTS (SELECT FROM loader.running())');	-- they linger for a moment
SELECT * FROM loader.progress;
SELECT * FROM loader.running();
SELECT * FROM loader.rejects;
SELECT * FROM loader.dataset_rows('views');
SELECT * FROM loader.dataset_rows(NULL);

-- NULL for what must be given, and for what need not.
SELECT loader_register(NULL);
SELECT loader_start(NULL::text);
SELECT loader_start(NULL::bigint) IS NULL AS is_null;
CALL loader_run(NULL);
SELECT * FROM loader_plan(NULL);
SELECT loader_scan(NULL);
SELECT loader_wait(NULL), loader_wait(NULL, '1s'), loader_cancel(NULL), loader_resume(NULL), loader_forget(NULL);
SELECT * FROM loader_job(NULL, 'x');
SELECT loader_register(:'first', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL) = :first_package_id AS same;

-- Not in a transaction block, nor where nothing may be written.
BEGIN;
CALL loader_run(:'first');
ROLLBACK;
BEGIN READ ONLY;
SELECT loader_start(:'first');
ROLLBACK;
BEGIN READ ONLY;
SELECT loader_cancel(1);
ROLLBACK;
BEGIN READ ONLY;
SELECT action, object FROM loader_plan(:'first') WHERE step = 1;
ROLLBACK;

-- Away with the extension: the datasets stay, and what they say they hold counts.
DROP EXTENSION loader;
SELECT count(*) FROM :"ds".tree;
CREATE SCHEMA elsewhere;
CREATE EXTENSION loader SCHEMA elsewhere;
SELECT loader_register('/');
SELECT elsewhere.loader_register(:'first') IS NULL AS already_loaded;
CALL elsewhere.loader_run(:'first', 'once_more') \gset
SELECT load_id, dataset, state FROM loader.packages;
SELECT state FROM elsewhere.loader_job(:package_id, 'tree.2aed52e67e.insert_values.gz');
ALTER EXTENSION loader SET SCHEMA public;
DROP EXTENSION loader;
CREATE EXTENSION loader;
SELECT loader_register(:'first') IS NULL AS already_loaded;
\set VERBOSITY terse
DROP SCHEMA elsewhere, once_more, typed_csv, typed_jsonl, :"ds" CASCADE;
