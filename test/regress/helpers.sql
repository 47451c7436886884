/*
 * test/regress/helpers.sql: what the pg_regress and isolation tests share: load packages made on
 * the spot, by the server's user and where it can read them; errors as rows, without paths.
 *
 * Run as superuser. Everything is in the schema test and in one temporary directory, which
 * test.clean() removes.
 */
CREATE SCHEMA test;

CREATE TABLE test.directory (path text NOT NULL);
COPY test.directory FROM PROGRAM 'mktemp -d';

-- The path of something in the temporary directory.
CREATE FUNCTION test.path(name text) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT path || '/' || name FROM test.directory $$;

-- The same text without the temporary directory and the server's user.
CREATE FUNCTION test.hide(t text) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT regexp_replace(regexp_replace(replace(t, d.path, '<dir>'), '(operating system user|a group that) "[^"]*"', '\1 "<user>"', 'g'),
	'u:[^:]*:r', 'u:<user>:r') FROM test.directory d $$;

-- A command in the temporary directory, as the server's user.
CREATE PROCEDURE test.sh(command text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('COPY (SELECT WHERE false) TO PROGRAM %L', format('cd %s && { %s; }', test.path(''), command));
END $$;

-- Write a file, byte for byte. Its directory must exist.
CREATE PROCEDURE test.file(name text, content bytea) LANGUAGE plpgsql AS $$
DECLARE
	large_object oid := lo_from_bytea(0, content);
BEGIN
	PERFORM lo_export(large_object, test.path(name));
	PERFORM lo_unlink(large_object);
END $$;

-- The same for a text, in UTF-8.
CREATE PROCEDURE test.file(name text, content text) LANGUAGE plpgsql AS $$
BEGIN
	CALL test.file(name, convert_to(content, 'UTF8'));
END $$;

-- The same bytes as a zstd frame of one raw block; fewer than 256 of them.
CREATE FUNCTION test.zstd(content bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS
$$ SELECT '\x28b52ffd20'::bytea || set_byte('\x00', 0, length(content))
	|| set_byte(set_byte('\x000000', 0, (length(content) << 3) & 255 | 1), 1, length(content) >> 5) || content $$;

/*
 * A table of a schema from one line: 'name: column type!~ +hint, ...; key=json, ...'. "!" is NOT
 * NULL, "~" is unique; a type may have a precision, as in text(8). A hint is true, or +hint=json.
 * dlt marks tables that have seen rows; so are all here that do not say otherwise.
 */
CREATE FUNCTION test.table_json(line text) RETURNS json LANGUAGE sql IMMUTABLE AS $$
SELECT ('{' || concat_ws(', ', format('"columns": {%s}', (
		SELECT string_agg(format('%s: {%s}', to_json(m[1]), concat_ws(', ', '"data_type": ' || to_json(m[2]), '"precision": ' || m[3],
				CASE WHEN m[4] LIKE '%!%' THEN '"nullable": false' END, CASE WHEN m[4] LIKE '%~%' THEN '"unique": true' END,
				(SELECT string_agg(format('%s: %s', to_json(h[1]), coalesce(h[2], 'true')), ', ')
					FROM regexp_matches(m[5], ' \+([^\s=]+)(?:=(\S+))?', 'g') AS h))),
			', ' ORDER BY n)
		FROM regexp_split_to_table(split_part(regexp_replace(line, '^[^:]*:\s*', ''), ';', 1), '\s*,\s*') WITH ORDINALITY AS c(text, n),
			regexp_match(c.text, '^(\S+) ([a-z]+)(?:\((\d+)\))?([!~]*)((?: \+\S+)*)$') AS m)),
	CASE WHEN line NOT LIKE '%x-normalizer=%' THEN '"x-normalizer": {"seen-data": true}' END,
	(SELECT string_agg(format('%s: %s', to_json(m[1]), m[2]), ', ')
		FROM regexp_split_to_table(split_part(line, ';', 2), '\s*,\s*') AS c(text), regexp_match(c.text, '^\s*([^\s=]+)=(.*)$') AS m WHERE m IS NOT NULL))
	|| '}')::json $$;

-- A schema.json with these tables and dlt's own.
CREATE FUNCTION test.schema(name text, VARIADIC tables text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
SELECT format('{"version": 1, "version_hash": %s, "engine_version": 11, "name": %s, "tables": {%s},
"settings": {}, "normalizers": {"names": "snake_case"}, "previous_hashes": []}', to_json(md5(name || tables::text)), to_json(name),
	string_agg(format('%s: %s', to_json(split_part(line, ':', 1)), test.table_json(line)), E',\n' ORDER BY n))
FROM unnest(ARRAY[
	'_dlt_version: version bigint!, engine_version bigint!, inserted_at timestamp!, schema_name text!, version_hash text!, schema text!; write_disposition="skip"',
	'_dlt_loads: load_id text!, schema_name text, status bigint!, inserted_at timestamp!, schema_version_hash text; write_disposition="skip"']
	|| tables) WITH ORDINALITY AS t(line, n) $$;

-- A package: its directory name, the text of schema.json, and name and content of each job file.
CREATE PROCEDURE test.package(name text, schema text, VARIADIC jobs text[] DEFAULT '{}') LANGUAGE plpgsql AS $$
BEGIN
	CALL test.sh(format('rm -rf %1$s && mkdir -p %1$s/new_jobs', name));
	CALL test.file(name || '/schema.json', schema);
	CALL test.file(name || '/load_package_state.json', '{}');
	FOR i IN 1 .. cardinality(jobs) - 1 BY 2 LOOP
		CALL test.file(name || '/new_jobs/' || jobs[i], jobs[i + 1]);
	END LOOP;
END $$;

/*
 * Run a statement and undo it: how it ended. What is done in it does not last, so a package that
 * is accepted can be asked for again.
 */
CREATE FUNCTION test.try(statement text, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RAISE EXCEPTION 'no error' USING ERRCODE = '00NOE';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	code := replace(code, '00NOE', '00000');
	message := test.hide(message);
	detail := nullif(test.hide(detail), '');
	hint := nullif(test.hide(hint), '');
END $$;

-- Is a package of the temporary directory accepted, and if not why?
CREATE FUNCTION test.refuse(name text, more text DEFAULT ', dataset => ''d''',
	OUT code text, OUT message text, OUT detail text, OUT hint text) LANGUAGE sql AS
$$ SELECT * FROM test.try(format('SELECT loader_register(%L%s)', test.path(name), more)) $$;

/*
 * Load a package of the temporary directory to its end. One that fails is forgotten, so that it
 * does not hold back others.
 */
CREATE PROCEDURE test.load(name text, dataset text, more text DEFAULT '', INOUT state text DEFAULT NULL,
	INOUT code text DEFAULT NULL, INOUT message text DEFAULT NULL, INOUT detail text DEFAULT NULL, INOUT hint text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
BEGIN
	EXECUTE format('SELECT loader_start(%L, %L%s)', test.path(name), dataset, more) INTO id;
	COMMIT;
	PERFORM loader_wait(id, '180s');
	SELECT p.state, p.sqlstate, test.hide(p.message), test.hide(p.detail), p.hint FROM loader.packages p WHERE p.package_id = id
		INTO state, code, message, detail, hint;
	IF state <> 'loaded' THEN
		BEGIN
			PERFORM loader_forget(id);
		EXCEPTION WHEN object_not_in_prerequisite_state THEN
			-- not atomic, and some of its rows are there: the record of that stays
			PERFORM loader_cancel(id);
		END;
	END IF;
END $$;

-- Wait until a condition holds, for at most three minutes.
CREATE PROCEDURE test.wait_for(condition text) LANGUAGE plpgsql AS $$
DECLARE
	holds boolean;
BEGIN
	FOR i IN 1 .. 18000 LOOP
		EXECUTE 'SELECT ' || condition INTO holds;
		IF holds THEN
			RETURN;
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE 'waited in vain for %', condition;
END $$;

/*
 * A trigger that holds up a load as long as somebody has test.hold(): whoever loads is then in the
 * middle of it.
 */
CREATE FUNCTION test.held() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT pg_try_advisory_xact_lock_shared(4711) LOOP
		PERFORM pg_sleep(0.005);
	END LOOP;
	RETURN NEW;
END $$;
-- The same as a condition, for the CHECK of a table that is not swapped if it has triggers.
CREATE FUNCTION test.waits() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT pg_try_advisory_xact_lock_shared(4711) LOOP
		PERFORM pg_sleep(0.005);
	END LOOP;
	RETURN true;
END $$;
-- Is somebody held up by one of them?
CREATE FUNCTION test.is_held() RETURNS boolean LANGUAGE sql AS
$$ SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type ~ '^loader' AND wait_event = 'PgSleep' AND datname = current_database()) $$;
CREATE FUNCTION test.hold() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_lock(4711)';
CREATE FUNCTION test.release() RETURNS boolean LANGUAGE sql AS 'SELECT pg_advisory_unlock(4711)';

-- Between two specs: no packages, no datasets of theirs.
CREATE FUNCTION test.forget(VARIADIC datasets text[] DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	dataset text;
BEGIN
	PERFORM loader_forget(package_id) FROM loader.packages;
	FOREACH dataset IN ARRAY datasets LOOP
		EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', dataset);
	END LOOP;
END $$;

CREATE PROCEDURE test.clean() LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('COPY (SELECT WHERE false) TO PROGRAM %L', format('rm -rf %s', (SELECT path FROM test.directory)));
END $$;
