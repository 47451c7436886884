-- test/airbyte/stand_in.sql: the server's side of a sync, in plpgsql: it keeps the bytes that come,
-- gives back the states in them, and does what a test asks for. Into a schema in front of ours.
--
-- stand_in.behaviour: check = a message: it fails; raise = sqlstate: the next write fails; hold: write
-- waits for this advisory lock; state = of the package at its end; bulk: only the size of pieces is kept.
CREATE SCHEMA stand_in;
CREATE TABLE stand_in.behaviour (key text PRIMARY KEY, value text);
CREATE TABLE stand_in.sync (id bigint GENERATED ALWAYS AS IDENTITY, pid int DEFAULT pg_backend_pid(), config jsonb, catalog json,
	source_name text, rest bytea NOT NULL DEFAULT '', states int NOT NULL DEFAULT 0, closed bool NOT NULL DEFAULT false,
	states_waiting json[] NOT NULL DEFAULT '{}');
CREATE TABLE stand_in.piece (sync bigint, n bigint GENERATED ALWAYS AS IDENTITY, len int, bytes bytea);

CREATE FUNCTION stand_in.does(text) RETURNS text LANGUAGE sql AS 'SELECT value FROM stand_in.behaviour WHERE key = $1';

CREATE FUNCTION loader_airbyte_check(config jsonb, validate_only boolean DEFAULT false) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('status', CASE WHEN stand_in.does('check') IS NULL THEN 'SUCCEEDED' ELSE 'FAILED' END,
		'message', stand_in.does('check'))
$$;

CREATE FUNCTION loader_airbyte_open(config jsonb, catalog json, source_name text DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO stand_in.sync (config, catalog, source_name) VALUES ($1, $2, $3) RETURNING id
$$;

-- The states in what has come so far, as payloads.
CREATE FUNCTION stand_in.take(package_id bigint, messages bytea) RETURNS SETOF json LANGUAGE plpgsql AS $$
DECLARE
	whole bytea;
	line text;
	lines text[];
BEGIN
	SELECT rest || messages INTO whole FROM stand_in.sync WHERE id = package_id;
	IF whole = '' OR position('\x0a'::bytea IN whole) = 0 THEN
		UPDATE stand_in.sync SET rest = whole WHERE id = package_id;
		RETURN;
	END IF;
	lines := string_to_array(convert_from(whole, 'UTF8'), E'\n');
	UPDATE stand_in.sync SET rest = convert_to(lines[cardinality(lines)], 'UTF8') WHERE id = package_id;
	FOREACH line IN ARRAY lines[1:cardinality(lines) - 1] LOOP
		IF line LIKE '{"type":"STATE"%' OR line LIKE '{"type": "STATE"%' THEN
			UPDATE stand_in.sync SET states = states + 1 WHERE id = package_id;
			RETURN NEXT line::json -> 'state';
		END IF;
	END LOOP;
END $$;

CREATE FUNCTION loader_airbyte_write(package_id bigint, messages bytea) RETURNS SETOF json LANGUAGE plpgsql AS $$
DECLARE
	raising text := stand_in.does('raise');
BEGIN
	IF NOT EXISTS (SELECT FROM stand_in.sync WHERE id = package_id AND pid = pg_backend_pid()) THEN
		RAISE EXCEPTION 'not this session''s sync';
	END IF;
	IF stand_in.does('hold') IS NOT NULL THEN
		PERFORM pg_advisory_xact_lock(stand_in.does('hold')::bigint);
	END IF;
	IF raising IS NOT NULL THEN
		RAISE EXCEPTION 'the sync has failed' USING ERRCODE = raising;
	END IF;
	IF messages <> '' THEN
		RAISE DEBUG 'piece of %', length(messages);
		INSERT INTO stand_in.piece (sync, len, bytes)
			VALUES (package_id, length(messages), CASE WHEN stand_in.does('bulk') IS NULL THEN messages END);
	END IF;
	IF stand_in.does('bulk') IS NULL THEN
		RETURN QUERY SELECT stand_in.take(package_id, messages);
	END IF;
END $$;

CREATE FUNCTION loader_airbyte_close(package_id bigint) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
	final text := coalesce(stand_in.does('state'), 'loaded');
	s stand_in.sync;
BEGIN
	UPDATE stand_in.sync SET closed = true WHERE id = package_id RETURNING * INTO s;
	IF stand_in.does('raise') IS NOT NULL THEN
		final := 'failed';
	END IF;
	RETURN json_build_object('package_id', package_id, 'state', final, 'records', 7, 'bytes',
		(SELECT sum(len) FROM stand_in.piece WHERE sync = package_id),
		'states', CASE WHEN stand_in.does('last_state') IS NULL THEN '[]'::json ELSE json_build_array(stand_in.does('last_state')::json) END,
		'streams', '[{"name": "users", "status": "complete", "records": 7, "records_committed": 7, "rows_inserted": 7, "rows_updated": 0, "rows_deleted": 0, "nulled_values": 0}]'::json,
		'skipped_lines', 2, 'warnings', '["one warning"]'::json,
		'error', CASE WHEN final = 'failed' THEN
			'{"sqlstate": "55000", "message": "stream \"users\" is not complete", "detail": "Its source ended before.", "hint": "Run it again.", "stream": {"name": "users"}}'::json END);
END $$;
