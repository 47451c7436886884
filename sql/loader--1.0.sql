/* sql/loader--1.0.sql: the extension's catalog, views and functions */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION loader" to load this file. \quit

/*
 * The catalog. Only C code of the extension writes here, as the extension's owner and one
 * statement at a time; everybody else looks at the views below.
 */
CREATE SCHEMA loader;
GRANT USAGE ON SCHEMA loader TO PUBLIC;

/*
 * The extension's schema may be one where others create, too: bodies of views and functions are
 * read without it, or an operator of theirs that fits better than the server's would be in them.
 */
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE TABLE loader.package (
	package_id			bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	load_id				text NOT NULL,
	schema_name			text NOT NULL,
	schema_hash			text NOT NULL,
	dataset				text NOT NULL,
	pipeline_name		text,
	destination_name	text,							-- the client's name for this destination
	mode				text NOT NULL DEFAULT 'package'	-- job: its client sends the jobs, one by one, and no worker touches it
						CHECK (mode IN ('package', 'job', 'stream')),	-- stream: its client sends messages, to the one worker that it has
	source				text CHECK (source IS NOT NULL OR mode <> 'package'),
	catalog				json,							-- of a sync: the configured catalog; NULL: a package of dlt
	state				text NOT NULL DEFAULT 'new'
						CHECK (state IN ('new', 'loading', 'loaded', 'failed', 'cancelled')),
	wanted				boolean NOT NULL DEFAULT false,	-- was started: whoever finds it idle goes on with it
	cancel_requested	boolean NOT NULL DEFAULT false,
	superseded			boolean NOT NULL DEFAULT false,	-- its dataset was dropped and it was loaded anew
	dropped				boolean NOT NULL DEFAULT false,	-- what its refresh drops is gone, committed by itself (not atomic)
	attempts			integer NOT NULL DEFAULT 0,		-- beginnings, each committed before the work
	begun_at			timestamptz,					-- the last of them
	options				jsonb NOT NULL,
	settings			jsonb NOT NULL,					-- the caller's, for the workers
	schema_size			bigint NOT NULL,				-- schema.json as it was registered
	schema_inode		bigint NOT NULL,
	schema_mtime_ns		bigint NOT NULL,
	state_size			bigint,							-- load_package_state.json, likewise
	state_inode			bigint,
	state_mtime_ns		bigint,
	role_oid			oid NOT NULL,
	role_name			text NOT NULL,
	system_identifier	bigint NOT NULL,				-- a restored dump must not resume by itself
	database_oid		oid NOT NULL,
	registered_at		timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	started_at			timestamptz,
	finished_at			timestamptz,
	sqlstate			text,
	message				text,
	detail				text,
	hint				text
);
CREATE UNIQUE INDEX package_load_id ON loader.package (dataset, schema_name, load_id) WHERE NOT superseded;
CREATE INDEX package_unfinished ON loader.package (dataset, package_id) WHERE state IN ('new', 'loading', 'failed');
CREATE INDEX package_waiting ON loader.package (package_id) WHERE wanted AND state IN ('new', 'loading');
CREATE INDEX package_finished ON loader.package (finished_at);
CREATE INDEX package_dataset ON loader.package (role_oid, schema_name, dataset) WHERE state = 'loaded';
CREATE INDEX package_source ON loader.package USING hash (source);	-- hash: a path may be too long for btree

CREATE TABLE loader.job (
	package_id	bigint NOT NULL REFERENCES loader.package ON DELETE CASCADE,
	ordinal		integer NOT NULL,						-- order within the package, from 1
	job_id		text NOT NULL,
	file_name	text NOT NULL,
	table_name	text NOT NULL,
	format		text NOT NULL,
	kind		text NOT NULL DEFAULT 'load'			-- of a file, or what follows for its chain of tables
				CHECK (kind IN ('load', 'merge', 'replace')),
	state		text NOT NULL DEFAULT 'new'
				CHECK (state IN ('new', 'running', 'retry', 'completed', 'failed')),
	size		bigint NOT NULL,
	inode		bigint NOT NULL,
	mtime_ns	bigint NOT NULL,
	retry_count	integer NOT NULL DEFAULT 0,
	relation	oid,									-- the table that got the rows
	rows_read	bigint,
	rows_inserted	bigint,
	rows_rejected	bigint,
	columns		text[],									-- of the file in their order, if rows of it were rejected
	started_at	timestamptz,
	finished_at	timestamptz,
	sqlstate	text,
	exception	text,
	hint		text,
	source		text,									-- in job mode, of one whose rows are staged: where its bytes are
	definition	json,									-- in job mode, of what follows for a chain: options, schema and state, each as a string; of a statement that is staged: that
	PRIMARY KEY (package_id, job_id)
);
CREATE UNIQUE INDEX job_ordinal ON loader.job (package_id, ordinal);

CREATE TABLE loader.package_table (
	package_id	bigint NOT NULL REFERENCES loader.package ON DELETE CASCADE,
	table_name	text NOT NULL,
	chain		text NOT NULL,							-- the root table
	disposition	text NOT NULL CHECK (disposition IN ('append', 'replace', 'merge', 'skip')),
	strategy	text,
	stage		text CHECK (stage IN ('staging', 'swap heap')),	-- where jobs put rows before publish; NULL: nowhere
	sink		text,
	reason		text,									-- why not the fastest sink, or no swap
	rows_read	bigint NOT NULL DEFAULT 0,
	rows_inserted	bigint NOT NULL DEFAULT 0,
	rows_updated	bigint NOT NULL DEFAULT 0,
	rows_deleted	bigint NOT NULL DEFAULT 0,
	rows_rejected	bigint NOT NULL DEFAULT 0,
	bytes		bigint NOT NULL DEFAULT 0,
	lock_wait	interval,
	lock_hold	interval,
	PRIMARY KEY (package_id, table_name)
);

/*
 * Relations that a package has for itself until it ends: swap heaps, which are dropped then, and
 * tables of the staging dataset. A row commits together with the relation, and outlives its package,
 * so that whatever ends a package leaves nothing without an owner. Of this server only: not dumped.
 */
CREATE TABLE loader.stage (
	relation	oid PRIMARY KEY,
	package_id	bigint NOT NULL,
	table_name	text NOT NULL,
	kind		text NOT NULL CHECK (kind IN ('staging', 'swap heap')),
	target		oid,									-- of a swap heap: the table whose place it takes ...
	fingerprint	bigint									-- ... and what that table was like
);
CREATE INDEX stage_package ON loader.stage (package_id);

/*
 * Airbyte. A sync is a package, and this is what it does to each stream.
 */
CREATE TABLE loader.package_stream (
	package_id	bigint NOT NULL REFERENCES loader.package ON DELETE CASCADE,
	ordinal		integer NOT NULL,						-- order within the catalog, from 1: that of the stream's job
	namespace	text,									-- as messages have it
	stream		text NOT NULL,
	dataset		text NOT NULL,
	table_name	text NOT NULL,
	mode		text NOT NULL CHECK (mode IN ('append', 'overwrite', 'append_dedup')),
	status		text NOT NULL DEFAULT 'new'
				CHECK (status IN ('new', 'running', 'complete', 'incomplete', 'empty')),
	records		bigint NOT NULL DEFAULT 0,				-- these are of what was committed
	bytes		bigint NOT NULL DEFAULT 0,
	states		bigint NOT NULL DEFAULT 0,
	nulled_values	bigint NOT NULL DEFAULT 0,
	position	bigint NOT NULL DEFAULT 0,				-- the line up to which they are
	finished	boolean NOT NULL DEFAULT false,			-- it was complete once, and brought into the table
	PRIMARY KEY (package_id, ordinal)
);
CREATE INDEX package_stream_table ON loader.package_stream (dataset, table_name, package_id);

/* What the next sync of a table has to know. */
CREATE TABLE loader.stream (
	dataset		text NOT NULL,
	table_name	text NOT NULL,
	mode		text NOT NULL,							-- these are of the sync whose rows are in the table
	generation_id	bigint,
	sync_id		bigint,
	complete	boolean NOT NULL DEFAULT false,
	stage_schema	text,								-- rows that wait for the stream's end, also for that of the next sync
	stage_name	text,
	stage_generation_id	bigint,
	PRIMARY KEY (dataset, table_name)
);

/* The last committed state of each stream, where its source goes on. */
CREATE TABLE loader.stream_state (
	role_oid	oid NOT NULL,
	role_name	text NOT NULL,
	system_identifier	bigint NOT NULL,
	destination_name	text NOT NULL,					-- '': not said; so are the next three
	source_name	text NOT NULL,
	namespace	text NOT NULL,
	stream		text NOT NULL,							-- '' for a state of the whole source
	kind		text NOT NULL CHECK (kind IN ('stream', 'global', 'legacy')),
	state		json NOT NULL,
	dataset		text NOT NULL,
	package_id	bigint NOT NULL,
	updated_at	timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (role_name, destination_name, source_name, namespace, stream)
);

CREATE TABLE loader.reject (
	reject_id	bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	package_id	bigint NOT NULL REFERENCES loader.package ON DELETE CASCADE,
	job_id		text NOT NULL,
	line		bigint NOT NULL,						-- where the row begins
	column_name	text,
	sqlstate	text NOT NULL,
	message		text NOT NULL,
	detail		text,
	raw			bytea NOT NULL,							-- bytes of the file: the row, or the start of a long one ...
	raw_size	bigint NOT NULL							-- ... of so many
);
CREATE INDEX reject_package ON loader.reject (package_id, job_id, reject_id);	-- in the order in which they are loaded again, a few at a time

CREATE TABLE loader.event (
	event_id	bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	package_id	bigint NOT NULL REFERENCES loader.package ON DELETE CASCADE,
	happened_at	timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	kind		text NOT NULL,
	object		text,
	detail		text
);
CREATE INDEX event_package ON loader.event (package_id, event_id);

REVOKE ALL ON ALL TABLES IN SCHEMA loader FROM PUBLIC;

/* Swap heaps: filled tables that wait to take the place of others. Nobody uses them by name. */
CREATE SCHEMA loader_swap;

SELECT pg_catalog.pg_extension_config_dump('loader.package', '');
SELECT pg_catalog.pg_extension_config_dump('loader.package_package_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('loader.job', '');
SELECT pg_catalog.pg_extension_config_dump('loader.package_table', '');
SELECT pg_catalog.pg_extension_config_dump('loader.package_stream', '');
SELECT pg_catalog.pg_extension_config_dump('loader.stream', '');
SELECT pg_catalog.pg_extension_config_dump('loader.stream_state', '');
SELECT pg_catalog.pg_extension_config_dump('loader.reject', '');
SELECT pg_catalog.pg_extension_config_dump('loader.reject_reject_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('loader.event', '');
SELECT pg_catalog.pg_extension_config_dump('loader.event_event_id_seq', '');

/*
 * What is running now, from the workers' progress counters: publish is one transaction, so the
 * catalog cannot show it. Shows a role its own packages, like the views.
 */
CREATE FUNCTION loader.running(OUT pid integer, OUT package_id bigint, OUT is_coordinator boolean, OUT phase text,
	OUT job_ordinal integer, OUT jobs_done integer, OUT jobs_total integer, OUT bytes_done bigint, OUT bytes_total bigint,
	OUT rows_read bigint, OUT started_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'loader_running'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION loader.running() IS 'the workers that load packages in this database now, one row each; those of the caller''s own roles, all for members of pg_monitor';

/* The dlt tables of all datasets into which the caller's packages went, read with the caller's rights. */
CREATE FUNCTION loader.dataset_rows(kind text, OUT dataset text, OUT content jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'loader_dataset_rows'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader.dataset_rows(text) IS 'rows of _dlt_loads (kind loads), _dlt_version (schemas) or _dlt_pipeline_state (states) of every dataset that one of the visible packages was loaded into, as jsonb; datasets the caller may not read are left out';

/* A role sees its own packages, also those of roles it is a member of; pg_monitor sees all. */
CREATE FUNCTION loader.may_see(role_oid oid, role_name text, system_identifier bigint)
RETURNS boolean
AS 'MODULE_PATHNAME', 'loader_may_see'
LANGUAGE C STRICT STABLE PARALLEL SAFE;
COMMENT ON FUNCTION loader.may_see(oid, text, bigint) IS 'whether the current role sees packages of this role: in the server that registered them the OID decides, in another one the name';

/* Bytes of a file as text, if they are text of its encoding (NULL: UTF8) and of the database's; else NULL. */
CREATE FUNCTION loader.raw_text(raw bytea, encoding text)
RETURNS text
AS 'MODULE_PATHNAME', 'loader_raw_text'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION loader.raw_text(bytea, text) IS 'bytes of a file as text of the database, if they are valid in the file''s encoding (NULL: UTF8) and the database''s has all their characters; else NULL';

CREATE VIEW loader.packages WITH (security_barrier) AS
SELECT p.package_id, p.load_id, p.schema_name, p.dataset, p.pipeline_name, p.source,
	CASE WHEN p.state = 'new' AND r.package_id IS NOT NULL THEN 'loading' ELSE p.state END AS state,
	(p.wanted OR p.started_at IS NOT NULL OR r.package_id IS NOT NULL) AS started, p.attempts, p.role_name, p.options, p.registered_at,
	coalesce(r.started_at, p.started_at) AS started_at, p.finished_at,
	j.jobs, j.completed_jobs, j.failed_jobs, p.sqlstate, p.message, p.detail, p.hint, p.mode, p.destination_name, j.rows_rejected
FROM loader.package p
LEFT JOIN (SELECT package_id, min(started_at) AS started_at FROM loader.running() GROUP BY package_id) r USING (package_id)
CROSS JOIN LATERAL (SELECT count(*) AS jobs, count(*) FILTER (WHERE state = 'completed') AS completed_jobs,
		count(*) FILTER (WHERE state = 'failed') AS failed_jobs, (sum(rows_rejected) FILTER (WHERE kind = 'load'))::bigint AS rows_rejected
	FROM loader.job WHERE job.package_id = p.package_id) j
WHERE loader.may_see(p.role_oid, p.role_name, p.system_identifier);
COMMENT ON VIEW loader.packages IS 'packages, one row each';

CREATE VIEW loader.jobs WITH (security_barrier) AS
SELECT j.package_id, j.job_id, j.file_name, j.table_name, j.format,
	CASE WHEN j.state = 'new' AND p.state IN ('new', 'loading') AND EXISTS (SELECT FROM loader.running() r WHERE r.package_id = j.package_id
			AND CASE WHEN r.is_coordinator THEN j.ordinal <= r.job_ordinal ELSE j.ordinal = r.job_ordinal END)
		THEN 'running' ELSE j.state END AS state,
	j.retry_count, j.size AS bytes, j.rows_read, j.rows_inserted, j.started_at, j.finished_at, j.sqlstate, j.exception, j.kind,
	j.rows_rejected
FROM loader.job j JOIN loader.package p USING (package_id)
WHERE loader.may_see(p.role_oid, p.role_name, p.system_identifier);
COMMENT ON VIEW loader.jobs IS 'jobs of packages, one row per file (kind load) and one per chain of tables that is merged or replaced (kind merge, replace)';

CREATE VIEW loader.tables WITH (security_barrier) AS
SELECT t.package_id, p.dataset, t.table_name, t.chain, t.disposition, t.strategy, t.sink, t.reason,
	t.rows_read, t.rows_inserted, t.rows_updated, t.rows_deleted, t.rows_rejected, t.bytes, t.lock_wait, t.lock_hold, t.stage
FROM loader.package_table t JOIN loader.package p USING (package_id)
WHERE loader.may_see(p.role_oid, p.role_name, p.system_identifier);
COMMENT ON VIEW loader.tables IS 'what a package did to each table, one row per package and table';

CREATE VIEW loader.progress WITH (security_barrier) AS
SELECT package_id, load_id, dataset, phase, jobs_done, jobs_total, bytes_done, bytes_total, rows_read,
	round(rows_read / greatest(seconds, 0.001)) AS rows_per_second, elapsed,
	CASE WHEN bytes_done > 0 THEN make_interval(secs => (seconds * (bytes_total - bytes_done) / bytes_done)::float8) END AS eta,
	round(100 * share)::integer AS percent,
	repeat('#', floor(20 * share)::integer) || repeat('.', 20 - floor(20 * share)::integer) AS bar
FROM (SELECT p.package_id, p.load_id, p.dataset, max(r.phase) FILTER (WHERE r.is_coordinator) AS phase,
		sum(r.jobs_done) AS jobs_done, max(r.jobs_total) AS jobs_total,
		sum(r.bytes_done)::bigint AS bytes_done, max(r.bytes_total) AS bytes_total, sum(r.rows_read)::bigint AS rows_read,
		clock_timestamp() - min(r.started_at) AS elapsed, extract(epoch FROM clock_timestamp() - min(r.started_at)) AS seconds,
		CASE WHEN max(r.bytes_total) > 0 THEN least(sum(r.bytes_done) / max(r.bytes_total), 1) WHEN bool_or(p.mode = 'stream') THEN NULL ELSE 1 END AS share
	FROM loader.running() r JOIN loader.package p USING (package_id)
	WHERE loader.may_see(p.role_oid, p.role_name, p.system_identifier)
	GROUP BY p.package_id, p.load_id, p.dataset) q;
COMMENT ON VIEW loader.progress IS 'packages that are loading now: bytes as read from the files, rows, rate, estimated time left, a bar';

CREATE VIEW loader.rejects WITH (security_barrier) AS
SELECT r.package_id, r.job_id, j.table_name, j.file_name, r.line, r.column_name, r.sqlstate, r.message, r.detail,
	loader.raw_text(r.raw, CASE WHEN j.format = 'csv' THEN p.options ->> 'csv_encoding' END) AS raw_text, r.raw, r.raw_size, r.reject_id
FROM loader.reject r JOIN loader.package p USING (package_id) JOIN loader.job j USING (package_id, job_id)
WHERE loader.may_see(p.role_oid, p.role_name, p.system_identifier);
COMMENT ON VIEW loader.rejects IS 'rows that were refused (on_error => ''reject''): where they stand, why, and the bytes of the file, which raw_text shows as text if they are such; kept until they are loaded again or discarded, or for loader.reject_retention';

CREATE VIEW loader.events WITH (security_barrier) AS
SELECT e.event_id, e.package_id, e.happened_at, e.kind, e.object, e.detail
FROM loader.event e JOIN loader.package p USING (package_id)
WHERE loader.may_see(p.role_oid, p.role_name, p.system_identifier);
COMMENT ON VIEW loader.events IS 'what happened to packages, and when';

CREATE VIEW loader.datasets WITH (security_barrier) AS
SELECT dataset, count(*) AS packages, max(finished_at) FILTER (WHERE state = 'loaded') AS last_success,
	clock_timestamp() - max(finished_at) FILTER (WHERE state = 'loaded') AS lag,
	count(*) FILTER (WHERE state IN ('new', 'loading')) AS pending, count(*) FILTER (WHERE state = 'failed') AS failed
FROM loader.package p
WHERE loader.may_see(p.role_oid, p.role_name, p.system_identifier)
GROUP BY dataset;
COMMENT ON VIEW loader.datasets IS 'datasets by their packages: last success and how long ago, pending and failed';

CREATE VIEW loader.loads WITH (security_barrier) AS
SELECT d.dataset, c.load_id, c.schema_name, c.status, c.inserted_at, c.schema_version_hash
FROM loader.dataset_rows('loads') d,
	jsonb_to_record(d.content) AS c(load_id text, schema_name text, status bigint, inserted_at timestamptz, schema_version_hash text);
COMMENT ON VIEW loader.loads IS '_dlt_loads of all datasets that packages went into, as far as the reader may read them';

CREATE VIEW loader.schemas WITH (security_barrier) AS
SELECT d.dataset, c.schema_name, c.version, c.engine_version, c.version_hash, c.inserted_at, c.schema
FROM loader.dataset_rows('schemas') d,
	jsonb_to_record(d.content) AS c(schema_name text, version bigint, engine_version bigint, version_hash text, inserted_at timestamptz, schema text);
COMMENT ON VIEW loader.schemas IS '_dlt_version of all datasets that packages went into, as far as the reader may read them';

CREATE VIEW loader.states WITH (security_barrier) AS
SELECT d.dataset, c.pipeline_name, c.version, c.engine_version, c.state, c.created_at, c.version_hash, c._dlt_load_id AS load_id,
	NULL::text AS destination_name, NULL::text AS namespace, NULL::text AS stream
FROM loader.dataset_rows('states') d,
	jsonb_to_record(d.content) AS c(pipeline_name text, version bigint, engine_version bigint, state text, created_at timestamptz, version_hash text, _dlt_load_id text)
UNION ALL
SELECT s.dataset, s.source_name, NULL, NULL, s.state::text, s.updated_at, NULL, s.package_id::text, s.destination_name, nullif(s.namespace, ''), nullif(s.stream, '')
FROM loader.stream_state s
WHERE loader.may_see(s.role_oid, s.role_name, s.system_identifier);
COMMENT ON VIEW loader.states IS '_dlt_pipeline_state of all datasets that packages went into, as far as the reader may read them; and the last committed states of the sources of Airbyte syncs (pipeline_name: the source, load_id: the package_id; a state of the whole source has no stream)';

CREATE VIEW loader.streams WITH (security_barrier) AS
SELECT t.package_id, t.namespace, t.stream, t.dataset, t.table_name, t.mode, t.status, t.records, t.bytes, t.states, t.nulled_values
FROM loader.package_stream t JOIN loader.package p USING (package_id)
WHERE loader.may_see(p.role_oid, p.role_name, p.system_identifier);
COMMENT ON VIEW loader.streams IS 'what Airbyte syncs did to each stream, one row per package and stream; records, bytes and states are those that were committed';

GRANT SELECT ON loader.packages, loader.jobs, loader.tables, loader.progress, loader.rejects, loader.events,
	loader.datasets, loader.loads, loader.schemas, loader.states, loader.streams TO PUBLIC;

SET LOCAL search_path = @extschema@, pg_temp;

/*
 * Packages. The named arguments after dataset are the same for all; docs/reference.md explains each.
 */
CREATE FUNCTION loader_register(source text, dataset text DEFAULT NULL, replace_strategy text DEFAULT NULL,
	default_schema_name text DEFAULT NULL, staging_dataset_name_layout text DEFAULT NULL, create_indexes boolean DEFAULT true,
	csv_format jsonb DEFAULT NULL, truncate_staging_dataset boolean DEFAULT false, workers integer DEFAULT NULL,
	atomic boolean DEFAULT true, on_error text DEFAULT 'abort', max_rejects text DEFAULT NULL,
	complete_with_failed_jobs boolean DEFAULT false, destination_name text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'loader_register'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_register(text, text, text, text, text, boolean, jsonb, boolean, integer, boolean, text, text, boolean, text) IS
'read and check the dlt load package at source (a directory or an archive on the server, or upload:<upload_id>) and enter it in the catalog; nothing runs yet. Returns its package_id; NULL with a NOTICE if the dataset has loaded it and the catalog no longer knows it. Errors: 58P01 no such directory, 42501 not permitted or not readable, 22023 not a package, bad argument, or a hint for replace or merge that cannot be followed, 42602 or 42939 a name that cannot be used, 0A000 not supported';

CREATE FUNCTION loader_start(source text, dataset text DEFAULT NULL, replace_strategy text DEFAULT NULL,
	default_schema_name text DEFAULT NULL, staging_dataset_name_layout text DEFAULT NULL, create_indexes boolean DEFAULT true,
	csv_format jsonb DEFAULT NULL, truncate_staging_dataset boolean DEFAULT false, workers integer DEFAULT NULL,
	atomic boolean DEFAULT true, on_error text DEFAULT 'abort', max_rejects text DEFAULT NULL,
	complete_with_failed_jobs boolean DEFAULT false, destination_name text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'loader_start'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_start(text, text, text, text, text, boolean, jsonb, boolean, integer, boolean, text, text, boolean, text) IS
'loader_register, and load the package in the background as soon as the calling transaction commits. Returns its package_id. Imitates the load step of a dlt pipeline (dlt.Pipeline.load)';

CREATE FUNCTION loader_start(package_id bigint)
RETURNS bigint
AS 'MODULE_PATHNAME', 'loader_start_package'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_start(bigint) IS 'start a registered package. Errors: 42704 no such package, 55000 it has ended';

CREATE PROCEDURE loader_run(source text, dataset text DEFAULT NULL, replace_strategy text DEFAULT NULL,
	default_schema_name text DEFAULT NULL, staging_dataset_name_layout text DEFAULT NULL, create_indexes boolean DEFAULT true,
	csv_format jsonb DEFAULT NULL, truncate_staging_dataset boolean DEFAULT false, workers integer DEFAULT NULL,
	atomic boolean DEFAULT true, on_error text DEFAULT 'abort', max_rejects text DEFAULT NULL,
	complete_with_failed_jobs boolean DEFAULT false, destination_name text DEFAULT NULL, INOUT package_id bigint DEFAULT NULL)
AS 'MODULE_PATHNAME', 'loader_run'
LANGUAGE C;
COMMENT ON PROCEDURE loader_run(text, text, text, text, text, boolean, jsonb, boolean, integer, boolean, text, text, boolean, text, bigint) IS
'loader_start and wait for the end, with progress as NOTICE; raises the package''s error if it fails, such as 21000 several rows would change the same one, 55P03 locks could not be had in time, 22xxx and 23xxx bad data. Commits inside, so not in a transaction block (25001)';

CREATE FUNCTION loader_wait(package_id bigint, timeout interval DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'loader_wait'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_wait(bigint, interval) IS
'wait until a package has ended, at most timeout; returns its state. Errors: 42704 no such package, 55000 it was not started, is held back by a failed one, was started in this transaction, or this transaction holds locks on its tables';

CREATE FUNCTION loader_cancel(package_id bigint)
RETURNS boolean
AS 'MODULE_PATHNAME', 'loader_cancel'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_cancel(bigint) IS 'stop a package; takes effect when the calling transaction commits. True if it was stopped or will be, false if it had ended';

CREATE FUNCTION loader_resume(package_id bigint)
RETURNS boolean
AS 'MODULE_PATHNAME', 'loader_resume'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_resume(bigint) IS 'go on with a package after a stop, a crash or a failure; failed jobs become new. False if it was loaded already';

CREATE FUNCTION loader_forget(package_id bigint)
RETURNS boolean
AS 'MODULE_PATHNAME', 'loader_forget'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_forget(bigint) IS 'remove a package that does not run from the catalog; what it loaded stays, and still counts as loaded, but for a file of messages, which the catalog alone knows. False if there is no such package';

CREATE FUNCTION loader_replay(package_id bigint, table_name text DEFAULT NULL, OUT loaded bigint, OUT "left" bigint)
RETURNS record
AS 'MODULE_PATHNAME', 'loader_replay'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_replay(bigint, text) IS
'load the rejected rows of a package (of one of its tables) again, after what refused them was mended: into the tables that it appended to or replaced, and by their strategy into those that it merged; in the calling transaction, with the caller''s rights. Rows that are refused again stay, with the new reason. Returns how many were loaded, and how many rejected rows the package (the table) still has. Errors: 42704 no such package, 42P01 no such table, 55000 it has not ended, 0A000 a table that a later package has replaced, or whose merge does more than its rows say (cdc; scd2 or delete-insert by keys of groups; conditions)';

CREATE FUNCTION loader_discard(package_id bigint, table_name text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'loader_discard'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_discard(bigint, text) IS
'remove the rejected rows of a package (of one of its tables) from the catalog. Returns how many. Errors: 42704 no such package, 55000 it has not ended';

CREATE FUNCTION loader_plan(source text, dataset text DEFAULT NULL, replace_strategy text DEFAULT NULL,
	default_schema_name text DEFAULT NULL, staging_dataset_name_layout text DEFAULT NULL, create_indexes boolean DEFAULT true,
	csv_format jsonb DEFAULT NULL, truncate_staging_dataset boolean DEFAULT false, workers integer DEFAULT NULL,
	atomic boolean DEFAULT true, on_error text DEFAULT 'abort', max_rejects text DEFAULT NULL,
	complete_with_failed_jobs boolean DEFAULT false, destination_name text DEFAULT NULL)
RETURNS TABLE (step integer, action text, object text, detail text)
AS 'MODULE_PATHNAME', 'loader_plan'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_plan(text, text, text, text, text, boolean, jsonb, boolean, integer, boolean, text, text, boolean, text) IS
'what loading the package would do, step by step: DDL, locks and who holds them, bytes and rows per job, how each chain of tables is replaced (and why not by a swap) or merged, with the statements; changes nothing';

CREATE FUNCTION loader_scan(directory text, dataset text DEFAULT NULL, replace_strategy text DEFAULT NULL,
	default_schema_name text DEFAULT NULL, staging_dataset_name_layout text DEFAULT NULL, create_indexes boolean DEFAULT true,
	csv_format jsonb DEFAULT NULL, truncate_staging_dataset boolean DEFAULT false, workers integer DEFAULT NULL,
	atomic boolean DEFAULT true, on_error text DEFAULT 'abort', max_rejects text DEFAULT NULL,
	complete_with_failed_jobs boolean DEFAULT false, destination_name text DEFAULT NULL)
RETURNS SETOF bigint
AS 'MODULE_PATHNAME', 'loader_scan'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_scan(text, text, text, text, text, boolean, jsonb, boolean, integer, boolean, text, text, boolean, text) IS
'start every complete package under a directory, packed ones too, that was not loaded before, by load_id, and resume interrupted ones; returns the package_ids started. A call while another one of the same role scans the same directory returns nothing';

CREATE FUNCTION loader_upload(upload_id text, file text, "offset" bigint, data bytea, size bigint DEFAULT NULL, sha256 bytea DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'loader_upload'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_upload(text, text, bigint, bytea, bigint, bytea) IS
'write a chunk of a file of an upload, at an offset that is at most what is there; size and sha256 with the last chunk, which completes the file. Returns how many bytes are there, with data NULL without writing any. Not undone by a rollback. The package is loaded from source ''upload:<upload_id>''. Errors: 42602 bad name, 22023 wrong offset or size, 53400 beyond loader.upload_limit, 55000 the file is complete, and another one, XX001 wrong sha256';

CREATE FUNCTION loader_upload_drop(upload_id text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'loader_upload_drop'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_upload_drop(text) IS
'remove an upload, complete or not, at once and for good; false if the role has none of that name. Errors: 55006 a package that is not loaded needs it';

SET LOCAL search_path = pg_catalog, pg_temp;
CREATE FUNCTION @extschema@.loader_job(package_id bigint, job_id text, OUT state text, OUT file_name text, OUT exception text, OUT table_name text,
	OUT retry_count integer, OUT rows_read bigint, OUT rows_inserted bigint, OUT started_at timestamptz, OUT finished_at timestamptz)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT j.state, j.file_name, j.exception, j.table_name, j.retry_count, j.rows_read, j.rows_inserted, j.started_at, j.finished_at
	FROM loader.jobs j WHERE j.package_id = $1 AND j.job_id = $2;
END;
SET LOCAL search_path = @extschema@, pg_temp;
COMMENT ON FUNCTION loader_job(bigint, text) IS 'one job of a package as dlt''s LoadJob shows it: state new, running, retry, completed or failed; its exception, if it failed';

CREATE FUNCTION loader_raise(package_id bigint, job_id text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'loader_raise'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_raise(bigint, text) IS
'raise the error that a package, or one of its jobs, ended with: its SQLSTATE, message, detail and hint; does nothing if there is none. Errors: 42704 no such package or job';

/*
 * Job mode: the client's loader drives, as dlt's does, and its sessions do the work.
 */
CREATE PROCEDURE loader_start_file_load(dataset text, schema json, load_id text, file_name text, source text DEFAULT NULL,
	statement text DEFAULT NULL, staging boolean DEFAULT false, csv_format jsonb DEFAULT NULL, replace_strategy text DEFAULT NULL,
	staging_dataset_name_layout text DEFAULT NULL, destination_name text DEFAULT NULL,
	INOUT package_id bigint DEFAULT NULL, INOUT state text DEFAULT NULL)
AS 'MODULE_PATHNAME', 'loader_start_file_load'
LANGUAGE C;
COMMENT ON PROCEDURE loader_start_file_load(text, json, text, text, text, text, boolean, jsonb, text, text, text, bigint, text) IS
'load one file of a load into its table, or its staging table, in this session; a job that was completed is not run again. Imitates create_load_job (restore included) and start_file_load of dlt''s JobClientBase, and LoadJob.run. Commits inside: once when the job is entered, once with its rows; an error is recorded and raised. Errors: 25001 in a transaction block, 42P01 no such table, 57014 cancelled, 55P03 the staging table is another package''s, 22xxx and 23xxx bad data';

SET LOCAL search_path = pg_catalog, pg_temp;
CREATE FUNCTION @extschema@.loader_restore_file_load(dataset text, schema_name text, load_id text, file_name text, OUT package_id bigint,
	OUT job_id text, OUT state text, OUT exception text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT j.package_id, j.job_id, j.state, j.exception
	FROM loader.packages p JOIN loader.jobs j USING (package_id)
	WHERE p.dataset = $1 AND p.schema_name = $2 AND p.load_id = $3
		AND j.job_id = regexp_replace($4, '^([^.]+[.][^.]+)[.][0-9]+[.]', '\1.')
	ORDER BY j.package_id DESC LIMIT 1;
END;
SET LOCAL search_path = @extschema@, pg_temp;
COMMENT ON FUNCTION loader_restore_file_load(text, text, text, text) IS
'what became of the job of a file that was sent before: its state new, running, retry, completed or failed; no row if it was never entered. Imitates restore_file_load of dlt''s JobClientBase';

CREATE FUNCTION loader_create_table_chain_completed_followup_jobs(dataset text, schema json, load_id text, root_table text,
	replace_strategy text DEFAULT NULL, staging_dataset_name_layout text DEFAULT NULL, state json DEFAULT NULL,
	OUT job_id text, OUT kind text, OUT file_name text, OUT content text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'loader_create_table_chain_completed_followup_jobs'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_create_table_chain_completed_followup_jobs(text, json, text, text, text, text, json) IS
'what follows when all jobs of a chain of tables are done: a merge, or a replace from the staging dataset; no row if nothing does. content is the statement to run, file_name dlt''s name for a file of it. Imitates the method of dlt''s JobClientBase and NewLoadJob. Errors: 42P01 no such root table, 22023 the merge lacks its keys, or no such strategy';

CREATE PROCEDURE loader_run_followup_job(package_id bigint, job_id text)
AS 'MODULE_PATHNAME', 'loader_run_followup_job'
LANGUAGE C;
COMMENT ON PROCEDURE loader_run_followup_job(bigint, text) IS
'merge or replace a chain of tables from the staging dataset, in one transaction; done once, however often it is called. Commits inside. Errors: 25001 in a transaction block, 42704 no such job, 55000 rows of a job are not staged';

CREATE FUNCTION loader_complete_load(dataset text, schema json, load_id text, destination_name text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'loader_complete_load'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_complete_load(text, json, text, text) IS
'record the load in the dataset''s _dlt_loads: from now on its data counts. Returns the package_id; NULL if it was recorded before and the catalog does not know it. Imitates complete_load of dlt''s JobClientBase';

/*
 * The job client: one function for each method of dlt's destination clients that needs the database,
 * in the caller's transaction and with the caller's rights. Arguments staging and
 * staging_dataset_name_layout come last: what dlt calls within with_staging_dataset().
 */
SET LOCAL search_path = pg_catalog, pg_temp;
CREATE FUNCTION @extschema@.loader_capabilities()
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT jsonb_build_object(
		'preferred_loader_file_format', 'insert_values', 'supported_loader_file_formats', '["insert_values", "csv", "jsonl", "model"]'::jsonb,
		'preferred_staging_file_format', 'jsonl', 'supported_staging_file_formats', '["jsonl", "csv", "insert_values"]'::jsonb,
		'supported_merge_strategies', '["delete-insert", "upsert", "scd2", "insert-only", "cdc"]'::jsonb,
		'supported_replace_strategies', '["truncate-and-insert", "insert-from-staging", "staging-optimized"]'::jsonb,
		'decimal_precision', '[38, 9]'::jsonb, 'wei_precision', '[156, 78]'::jsonb, 'timestamp_precision', 6, 'max_timestamp_precision', 6,
		'has_case_sensitive_identifiers', true, 'max_identifier_length', current_setting('max_identifier_length')::integer,
		'max_column_identifier_length', current_setting('max_identifier_length')::integer,
		'max_query_length', 33554432, 'is_max_query_length_in_bytes', true,
		'max_text_data_type_length', 1073741824, 'is_max_text_data_type_length_in_bytes', true,
		'supports_transactions', true, 'supports_ddl_transactions', true, 'alter_add_multi_column', true,
		'supports_multiple_statements', true, 'supports_truncate_command', true, 'schema_supports_numeric_precision', true,
		'enforces_nulls_on_alter', true, 'sqlglot_dialect', 'postgres');
END;
SET LOCAL search_path = @extschema@, pg_temp;
COMMENT ON FUNCTION loader_capabilities() IS
'what this destination can do, by the names of dlt''s DestinationCapabilitiesContext (Destination.capabilities()); lengths in bytes, precisions in digits. What is not said is as dlt has it by default';

CREATE FUNCTION loader_fingerprint()
RETURNS text
AS 'MODULE_PATHNAME', 'loader_fingerprint'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION loader_fingerprint() IS
'a hash of the server''s system identifier and the database''s OID, 20 characters: the same after a rename, another one for a database that was made anew. Imitates fingerprint() of a dlt configuration';

CREATE FUNCTION loader_location()
RETURNS text
AS 'MODULE_PATHNAME', 'loader_location'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION loader_location() IS
'postgresql://host:port/database as the server sees it: the address that the client came to, over a socket the machine''s name. For people, without secrets. Imitates what str() of a dlt configuration shows';

CREATE FUNCTION loader_normalize_dataset_name(dataset text, schema_name text, default_schema_name text DEFAULT NULL, dataset_name_layout text DEFAULT NULL,
	staging boolean DEFAULT false, staging_dataset_name_layout text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'loader_normalize_dataset_name'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION loader_normalize_dataset_name(text, text, text, text, boolean, text) IS
'the schema that a dlt schema is loaded into: the dataset, with dataset_name_layout (in which %s stands for it) around it and _<schema_name> behind it if there is a default schema and it is another one; with staging its staging dataset. The naming convention is the client''s: names come in normalized. Errors: 22004 no dataset or schema_name, 22023 a layout without %s, 42602 empty, over 63 bytes, or a staging dataset that is the dataset itself, 42939 reserved. Imitates normalize_dataset_name and normalize_staging_dataset_name of DestinationClientDwhConfiguration';

CREATE FUNCTION loader_is_storage_initialized(dataset text, staging boolean DEFAULT false, staging_dataset_name_layout text DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'loader_is_storage_initialized'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION loader_is_storage_initialized(text, boolean, text) IS
'whether the dataset''s schema exists. Errors: 22004, 42602, 42939 for the name. Imitates JobClientBase.is_storage_initialized';

CREATE FUNCTION loader_initialize_storage(dataset text, truncate_tables text[] DEFAULT NULL, staging boolean DEFAULT false,
	staging_dataset_name_layout text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'loader_initialize_storage'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_initialize_storage(text, text[], boolean, text) IS
'create the dataset''s schema; if it exists, TRUNCATE the tables named, all in one statement. Errors: 42P01 no such table, 42501 not permitted, 55006 a table holds rows of a package that has not ended, 55P03 no locks within loader.lock_deadline, 0A000 a table that others refer to. Imitates JobClientBase.initialize_storage';

CREATE FUNCTION loader_drop_storage(dataset text, staging_dataset_name_layout text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'loader_drop_storage'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_drop_storage(text, text) IS
'drop the dataset''s schema, and that of its staging dataset if there is one, with everything in them (CASCADE). Errors: 3F000 no such schema, 42501 not its owner, 55006 a package is being loaded into it, 55P03 no locks within loader.lock_deadline. Imitates JobClientBase.drop_storage';

CREATE FUNCTION loader_drop_tables(dataset text, tables text[], schema_name text DEFAULT NULL, delete_schema boolean DEFAULT true,
	staging boolean DEFAULT false, staging_dataset_name_layout text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'loader_drop_tables'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_drop_tables(text, text[], text, boolean, boolean, text) IS
'drop the tables that exist, all in one statement; with delete_schema also delete all versions of the schema from _dlt_version. Errors: 22004 no schema_name for delete_schema, 42501 not the owner, 2BP01 something else depends on a table, 55006 a table holds rows of a package that has not ended, 55P03 no locks within loader.lock_deadline. Imitates drop_tables of dlt''s SQL job clients';

CREATE FUNCTION loader_update_stored_schema(dataset text, schema json, only_tables text[] DEFAULT NULL, expected_update json DEFAULT NULL,
	force boolean DEFAULT false, dry_run boolean DEFAULT false, create_indexes boolean DEFAULT true, replace_strategy text DEFAULT NULL,
	staging boolean DEFAULT false, staging_dataset_name_layout text DEFAULT NULL)
RETURNS json
AS 'MODULE_PATHNAME', 'loader_update_stored_schema'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_update_stored_schema(text, json, text[], json, boolean, boolean, boolean, text, boolean, text) IS
'bring the tables of the dataset (only_tables, NULL or empty: all of the schema, and _dlt_version) up to the schema and store that in _dlt_version, byte for byte; if its version_hash is stored there already, do nothing, or with force the tables only. Returns what was changed as dlt''s TSchemaTables: tables as dlt prepares them (replace_strategy is what the client has configured) with their new columns; {} if nothing was. dry_run only tells. expected_update is not looked at, as by dlt. Errors: 3F000 no such schema, 22P02 not JSON, 22023 not a schema, or a table that it does not have, 42602 names, 42501 not permitted, 55P03 no locks within loader.lock_deadline, 40001 another session was first, 23502 a NOT NULL column for a table with rows, 0A000 types that PostgreSQL does not have. Imitates JobClientBase.update_stored_schema';

CREATE FUNCTION loader_get_stored_schema(dataset text, schema_name text DEFAULT NULL, staging boolean DEFAULT false,
	staging_dataset_name_layout text DEFAULT NULL)
RETURNS TABLE (version_hash text, schema_name text, version bigint, engine_version bigint, inserted_at timestamptz, schema text)
AS 'MODULE_PATHNAME', 'loader_get_stored_schema'
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION loader_get_stored_schema(text, text, boolean, text) IS
'the newest row of the dataset''s _dlt_version, of that schema if it is named; no row if there is none, or no such table. Errors: 42501 not permitted, 42703 a table that dlt did not make. Imitates WithStateSync.get_stored_schema';

CREATE FUNCTION loader_get_stored_schema_by_hash(dataset text, version_hash text, staging boolean DEFAULT false,
	staging_dataset_name_layout text DEFAULT NULL)
RETURNS TABLE (version_hash text, schema_name text, version bigint, engine_version bigint, inserted_at timestamptz, schema text)
AS 'MODULE_PATHNAME', 'loader_get_stored_schema_by_hash'
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION loader_get_stored_schema_by_hash(text, text, boolean, text) IS
'the row of the dataset''s _dlt_version with that hash; no row if there is none, or no such table. Errors: 22004 no version_hash, 42501 not permitted, 42703 a table that dlt did not make. Imitates WithStateSync.get_stored_schema_by_hash';

CREATE FUNCTION loader_get_stored_state(dataset text, pipeline_name text)
RETURNS TABLE (version bigint, engine_version bigint, pipeline_name text, state text, created_at timestamptz, _dlt_load_id text)
AS 'MODULE_PATHNAME', 'loader_get_stored_state'
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION loader_get_stored_state(text, text) IS
'the newest state of the pipeline, by load id, among those whose load stands in _dlt_loads with status 0; no row if there is none. Errors: 42P01 the dataset has no _dlt_pipeline_state or no _dlt_loads, 42501 not permitted, 42703 a table that dlt did not make. Imitates WithStateSync.get_stored_state';

CREATE FUNCTION loader_get_storage_tables(dataset text, tables text[] DEFAULT NULL, staging boolean DEFAULT false,
	staging_dataset_name_layout text DEFAULT NULL)
RETURNS TABLE (table_name text, column_name text, data_type text, nullable boolean, "precision" integer, scale integer)
AS 'MODULE_PATHNAME', 'loader_get_storage_tables'
LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_get_storage_tables(text, text[], boolean, text) IS
'the columns of these tables (NULL: of all) in order, as information_schema.columns shows them to the caller: data_type, numeric_precision and numeric_scale. A table that is not there, or that the caller may not see, has one row, at the end, with nothing but its name. Imitates get_storage_tables and get_storage_table of dlt''s SQL job clients';

/*
 * Airbyte: a sync is a package. What PyAirbyte's Destination.write() does with a destination
 * connector is loader_airbyte_open, loader_airbyte_write as often as messages come, and
 * loader_airbyte_close.
 */
CREATE FUNCTION loader_airbyte_spec()
RETURNS json
AS 'MODULE_PATHNAME', 'loader_airbyte_spec'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION loader_airbyte_spec() IS 'what the destination''s configuration consists of: the payload of a SPEC message of the Airbyte protocol';

CREATE FUNCTION loader_airbyte_check(config jsonb, validate_only boolean DEFAULT false)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'loader_airbyte_check'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_airbyte_check(jsonb, boolean) IS
'could the current role sync with this configuration? The payload of a CONNECTION_STATUS message: {"status": "SUCCEEDED"}, or "FAILED" with a message. With validate_only the configuration is only compared with the spec. Raises no error for what is wrong with it';

CREATE FUNCTION loader_airbyte_open(config jsonb, catalog json, source_name text DEFAULT NULL, streams text[] DEFAULT NULL,
	write_strategy text DEFAULT NULL, force_full_refresh boolean DEFAULT false, store_state boolean DEFAULT true,
	destination_name text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'loader_airbyte_open'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_airbyte_open(jsonb, json, text, text[], text, boolean, boolean, text) IS
'begin a sync of the configured catalog, whose messages this session sends with loader_airbyte_write; returns its package_id. The arguments are those of PyAirbyte''s Destination.write(): streams are the names of the only ones that take part, write_strategy is auto, append, merge or replace (NULL: as the catalog says). Only in autocommit (25001). Errors: 22023 bad configuration, catalog or argument, 42501 not permitted, 53400 no worker is free, 55006 another sync has one of the tables';

CREATE FUNCTION loader_airbyte_write(package_id bigint, messages bytea)
RETURNS SETOF json
AS 'MODULE_PATHNAME', 'loader_airbyte_write'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_airbyte_write(bigint, bytea) IS
'hand messages of the Airbyte protocol, one JSON object a line, to the sync''s worker; a call may end in the middle of a line, and NULL or nothing just looks. Waits while the worker is behind. Returns the states whose records have been committed since the last call, with destinationStats. Only in autocommit, and in the session that opened the sync. Raises the error that the sync has failed with';

CREATE FUNCTION loader_airbyte_close(package_id bigint)
RETURNS json
AS 'MODULE_PATHNAME', 'loader_airbyte_close'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_airbyte_close(bigint) IS
'the messages of a sync are at their end: wait until it has ended, and report: state, records and bytes committed, each stream, the states that no call has returned, warnings, and the error if it has failed, which is not raised. Only in autocommit, and in the session that opened the sync';

CREATE FUNCTION loader_airbyte_states(source_name text DEFAULT NULL, destination_name text DEFAULT NULL, streams text[] DEFAULT NULL)
RETURNS json
AS 'MODULE_PATHNAME', 'loader_airbyte_states'
LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_airbyte_states(text, text, text[]) IS
'the last committed states of a source of the current role, as the source takes them as its state: an array of STREAM states or of one GLOBAL state, or the data of a legacy one; [] if there are none';

CREATE FUNCTION loader_start(source text, catalog json, config jsonb DEFAULT NULL, source_name text DEFAULT NULL, streams text[] DEFAULT NULL,
	write_strategy text DEFAULT NULL, force_full_refresh boolean DEFAULT false, store_state boolean DEFAULT true,
	destination_name text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'loader_start_stream'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION loader_start(text, json, jsonb, text, text[], text, boolean, boolean, text) IS
'enter a file of messages of the Airbyte protocol (.jsonl, .gz, .zst) on the server as a package, and load it in the background as soon as the calling transaction commits. Returns its package_id, that of before for a file that is known. The arguments are those of loader_airbyte_open';

/* What starts work, reads files of the server or changes what is stored is for those who are given it. */
REVOKE ALL ON FUNCTION loader_register(text, text, text, text, text, boolean, jsonb, boolean, integer, boolean, text, text, boolean, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_start(text, text, text, text, text, boolean, jsonb, boolean, integer, boolean, text, text, boolean, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_start(bigint) FROM PUBLIC;
REVOKE ALL ON PROCEDURE loader_run(text, text, text, text, text, boolean, jsonb, boolean, integer, boolean, text, text, boolean, text, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_plan(text, text, text, text, text, boolean, jsonb, boolean, integer, boolean, text, text, boolean, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_scan(text, text, text, text, text, boolean, jsonb, boolean, integer, boolean, text, text, boolean, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_wait(bigint, interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_cancel(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_resume(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_forget(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_replay(bigint, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_discard(bigint, text) FROM PUBLIC;
REVOKE ALL ON PROCEDURE loader_start_file_load(text, json, text, text, text, text, boolean, jsonb, text, text, text, bigint, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_create_table_chain_completed_followup_jobs(text, json, text, text, text, text, json) FROM PUBLIC;
REVOKE ALL ON PROCEDURE loader_run_followup_job(bigint, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_complete_load(text, json, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_raise(bigint, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_initialize_storage(text, text[], boolean, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_drop_storage(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_drop_tables(text, text[], text, boolean, boolean, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_update_stored_schema(text, json, text[], json, boolean, boolean, boolean, text, boolean, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_upload(text, text, bigint, bytea, bigint, bytea) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_upload_drop(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_start(text, json, jsonb, text, text[], text, boolean, boolean, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_airbyte_open(jsonb, json, text, text[], text, boolean, boolean, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_airbyte_write(bigint, bytea) FROM PUBLIC;
REVOKE ALL ON FUNCTION loader_airbyte_close(bigint) FROM PUBLIC;
