-- tools/growth.sql: see growth.sh. Superuser; variables rounds, may_grow, packages. No temporary tables:
-- a session that writes to some has buffers for them.
\set QUIET on
SET client_min_messages = error;
CREATE FUNCTION pg_temp.kb(pid int) RETURNS bigint LANGUAGE sql AS
	$$ SELECT substring(pg_read_file('/proc/' || pid || '/status') FROM 'RssAnon:\s*(\d+)')::bigint $$;
CREATE UNLOGGED TABLE seen (who text, round int, kb bigint);
CREATE PROCEDURE pg_temp.look(round int) LANGUAGE sql AS $$
	INSERT INTO seen
		SELECT 'session', round, pg_temp.kb(pg_backend_pid())
		UNION ALL SELECT 'contexts of the session', round, sum(used_bytes) / 1024 FROM pg_backend_memory_contexts
		UNION ALL SELECT backend_type, round, pg_temp.kb(pid) FROM pg_stat_activity
			WHERE backend_type = 'loader launcher' OR backend_type LIKE 'loader coordinator%' $$;

-- What is done in each round of loads: packages that make tables, append, replace, merge; a plan, the
-- views. A statement each, as CALL loader_run commits.
CREATE UNLOGGED TABLE statements (n bigint GENERATED ALWAYS AS IDENTITY, text text);
INSERT INTO statements (text) SELECT format('DROP SCHEMA IF EXISTS %I, %I CASCADE', kind, kind || '_staging') FROM pg_ls_dir(:'packages') kind;
INSERT INTO statements (text) SELECT format('CALL loader_run(%L, dataset => %L)', :'packages' || '/' || kind || '/' || load, kind)
FROM pg_ls_dir(:'packages') kind, LATERAL pg_ls_dir(:'packages' || '/' || kind) load
WHERE kind IN ('append_nested', 'replace_optimized', 'upsert_nested') AND load ~ '^[0-9.]+$' ORDER BY kind, load;
INSERT INTO statements (text) SELECT format('SELECT FROM loader_plan(%s, dataset => %L) LIMIT 0', substring(text FROM '\((''[^'']*'')'), 'fresh')
FROM statements WHERE text LIKE 'CALL%';
INSERT INTO statements (text) VALUES ('SELECT FROM loader.packages, loader.jobs, loader.tables, loader.progress, loader.datasets LIMIT 0'),
	('SELECT FROM loader_forget((SELECT max(package_id) FROM loader.packages)) LIMIT 0');
\o /dev/null
SELECT what FROM generate_series(1, :rounds) AS r(round),
	LATERAL (SELECT n, text FROM statements UNION ALL SELECT 1e9, format('CALL pg_temp.look(%s)', round)) AS s(n, what)
ORDER BY round, n \gexec

-- One sync, a checkpoint a round.
SELECT loader_airbyte_open('{"schema": "ab"}', '{"streams": [{"stream": {"name": "s", "json_schema": {"type": "object", "properties":
	{"id": {"type": "integer"}, "v": {"type": ["null", "string"]}}}, "supported_sync_modes": ["full_refresh", "incremental"]},
	"sync_mode": "incremental", "destination_sync_mode": "append", "primary_key": [], "cursor_field": ["id"]}]}', 'growth') AS sync \gset
SELECT s FROM generate_series(1, :rounds) AS r(round), LATERAL (VALUES
	(1, format($$SELECT loader_airbyte_write(%s, convert_to((SELECT string_agg(format('{"type":"RECORD","record":{"stream":"s","data":{"id":%%s,"v":"%%s"},"emitted_at":1}}' || E'\n', i, repeat('x', 100)), '') FROM generate_series(1, 200) i)
		|| '{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{"at":%s}}}}' || E'\n', 'UTF8'))$$, :sync, round)),
	(2, format('CALL pg_temp.look(%s)', :rounds + round))) AS x(n, s)
ORDER BY round, n \gexec
SELECT loader_airbyte_write(:sync, convert_to('{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1,"stream_status":{"stream_descriptor":{"name":"s"},"status":"COMPLETE"}}}' || E'\n', 'UTF8'));
SELECT loader_airbyte_close(:sync)::jsonb ->> 'state' AS sync_state \gset
\o

-- Of a worker, which lives for one sync only, its own rounds count.
WITH bounds AS (
	SELECT who, min(round) + (max(round) - min(round)) / 10 AS early, max(round) AS last FROM seen WHERE kb IS NOT NULL GROUP BY who),
grown AS (
	SELECT who, (SELECT kb FROM seen s WHERE s.who = b.who AND round >= early AND kb IS NOT NULL ORDER BY round LIMIT 1) AS early_kb,
		(SELECT kb FROM seen s WHERE s.who = b.who AND round = last) AS last_kb FROM bounds b)
SELECT format('%-40s %8s kB after a tenth, %8s kB at the end%s', regexp_replace(who, '\d+', 'N'), early_kb, last_kb,
	CASE WHEN last_kb - early_kb > :may_grow THEN ': grows' END) FROM grown ORDER BY who;
SELECT format('%s rounds of %s loads; one sync of %s checkpoints, %s rows: %s', :rounds,
	(SELECT count(*) FROM statements WHERE text LIKE 'CALL%'), :rounds, (SELECT count(*) FROM ab.s), :'sync_state');
