-- What the other scripts use: schemas in short, tables made of them, results as rows.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION loader_merge_test;
CREATE SCHEMA help;

-- Columns in short: "id bigint! primary_key, name text, n bigint dedup_sort=desc". "!" is NOT NULL.
CREATE FUNCTION help.columns(def text) RETURNS json LANGUAGE sql IMMUTABLE AS $$
	SELECT json_object_agg(w[1], (
		SELECT json_object_agg(k, v) FROM (
			SELECT 'name' AS k, to_json(w[1]) AS v
			UNION ALL SELECT 'data_type', to_json(rtrim(w[2], '!'))
			UNION ALL SELECT 'nullable', to_json(w[2] NOT LIKE '%!')
			UNION ALL SELECT split_part(h, '=', 1),
				CASE WHEN h LIKE '%=null' THEN 'null'::json
					WHEN h LIKE '%=false' THEN 'false'::json
					WHEN h LIKE '%=%' THEN to_json(split_part(h, '=', 2))
					ELSE 'true'::json END
			FROM unnest(w[3:]) h) x))
	FROM (SELECT string_to_array(trim(c), ' ') AS w FROM regexp_split_to_table(def, ',\s*') c) y $$;
-- json and not jsonb, which would put the columns in another order
CREATE FUNCTION help.plus(a json, b json) RETURNS json LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE '{}' WHEN a::text THEN b WHEN b::text THEN a
		ELSE (regexp_replace(a::text, '\}\s*$', ', ') || regexp_replace(b::text, '^\s*\{', ''))::json
	END $$;
CREATE FUNCTION help.tab(name text, def text, hints json DEFAULT '{}') RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT help.plus(hints, json_build_object('name', name, 'columns', help.columns(def))) $$;
-- A root table that is merged, and a nested one.
CREATE FUNCTION help.root(name text, def text, strategy text, hints json DEFAULT '{}') RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT help.tab(name, def, help.plus(
		json_build_object('write_disposition', 'merge', 'x-merge-strategy', strategy), hints)) $$;
CREATE FUNCTION help.nested(name text, parent text, def text) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT help.tab(name, def || ', _dlt_root_id text! root_key, _dlt_parent_id text! parent_key, '
		'_dlt_list_idx bigint!, _dlt_id text! row_key', json_build_object('parent', parent)) $$;
CREATE FUNCTION help.schema(VARIADIC tables json[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT json_build_object('version', 1, 'version_hash', 'x', 'engine_version', 11, 'name', 's',
		'tables', json_object_agg(t ->> 'name', t))::text
	FROM (SELECT unnest(tables) AS t
		UNION ALL SELECT help.tab('_dlt_version', 'version bigint!, engine_version bigint!, '
			'inserted_at timestamp!, schema_name text!, version_hash text!, schema text!')
		UNION ALL SELECT help.tab('_dlt_loads', 'load_id text!, schema_name text, status bigint!, '
			'inserted_at timestamp!, schema_version_hash text')) x $$;

-- Make the tables anew, in "Data" and "Stage".
CREATE PROCEDURE help.make(schema text) LANGUAGE plpgsql AS $$
DECLARE
	s text;
	ddl text;
BEGIN
	FOREACH s IN ARRAY ARRAY['Data', 'Stage'] LOOP
		EXECUTE format('DROP SCHEMA IF EXISTS %1$I CASCADE; CREATE SCHEMA %1$I', s);
		FOR ddl IN SELECT public.test_ddl(schema, s) LOOP EXECUTE ddl; END LOOP;
	END LOOP;
END $$;

-- Put lines into a table: columns apart by |, \N is NULL.
CREATE PROCEDURE help.put(rel text, VARIADIC lines text[]) LANGUAGE plpgsql AS $$
DECLARE
	l text;
BEGIN
	FOREACH l IN ARRAY lines LOOP
		EXECUTE format('INSERT INTO %s VALUES (%s)', rel,
			(SELECT string_agg(coalesce(quote_literal(v), 'NULL'), ',' ORDER BY o)
			 FROM unnest(string_to_array(l, '|', '\N')) WITH ORDINALITY u(v, o)));
	END LOOP;
END $$;

-- Merge "Stage" into "Data": what was done. A search_path that would mislead a merge stays on.
CREATE FUNCTION help.run(schema text, how text DEFAULT 'merge',
	created text DEFAULT '2024-05-06T07:08:09.123456+00:00')
RETURNS TABLE (tab text, inserted bigint, updated bigint, deleted bigint) LANGUAGE sql AS $$
	SELECT * FROM public.test_merge(schema, (SELECT k FROM json_object_keys(schema::json -> 'tables') k LIMIT 1),
		'Data', 'Stage', created, how) $$;
CREATE FUNCTION help.statements(schema text, how text DEFAULT 'dry run',
	created text DEFAULT '2024-05-06T07:08:09.123456+00:00') RETURNS SETOF text LANGUAGE sql AS $$
	SELECT public.test_statements(schema, (SELECT k FROM json_object_keys(schema::json -> 'tables') k LIMIT 1),
		'Data', 'Stage', created, how) $$;

DO $$ DECLARE r regprocedure; BEGIN
	FOR r IN SELECT oid FROM pg_proc WHERE pronamespace = 'help'::regnamespace
		AND proname NOT IN ('run', 'statements') LOOP
		EXECUTE format('ALTER ROUTINE %s SET search_path = pg_catalog', r);
	END LOOP;
END $$;

-- Operators that a search_path would find first.
CREATE SCHEMA evil;
CREATE FUNCTION evil.no(anyelement, anyelement) RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'somebody else''s operator'; END $$;
DO $$ DECLARE t text; BEGIN
	FOREACH t IN ARRAY ARRAY['bigint', 'text', 'varchar', 'timestamptz', 'numeric', 'boolean'] LOOP
		EXECUTE format('CREATE FUNCTION evil.eq(%1$s, %1$s) RETURNS boolean LANGUAGE sql AS ''SELECT evil.no($1, $2)''', t);
		EXECUTE format('CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = %1$s, RIGHTARG = %1$s)', t);
	END LOOP;
END $$;
