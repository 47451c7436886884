-- What a dataset holds, a line for each table: columns, indexes, rows. Times of the load and random ids
-- are left out. STABLE: all of it with the caller's snapshot. With columns, of these alone, and without
-- indexes that others are in.
CREATE SCHEMA torture;

CREATE FUNCTION torture.columns(dataset text) RETURNS jsonb LANGUAGE sql STABLE AS $$
	SELECT coalesce(jsonb_object_agg(c.relname, (SELECT jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
		WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)), '{}')
	FROM pg_class c WHERE c.relnamespace = to_regnamespace(quote_ident(dataset)) AND c.relkind IN ('r', 'p')
$$;

CREATE FUNCTION torture.contents(dataset text, only_columns jsonb DEFAULT NULL) RETURNS TABLE (name text, definition text, n bigint, sum text)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	t record;
	list text;
BEGIN
	FOR t IN SELECT c.oid, c.relname FROM pg_class c WHERE c.relnamespace = to_regnamespace(quote_ident(dataset)) AND c.relkind IN ('r', 'p')
		ORDER BY c.relname COLLATE "C"
	LOOP
		SELECT string_agg(format('%s %s%s', a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' NOT NULL' END), ', ' ORDER BY a.attnum),
			string_agg(quote_ident(a.attname) || '::text', ', ' ORDER BY a.attnum) FILTER (WHERE a.attname NOT IN ('_airbyte_raw_id', '_airbyte_meta')
				AND NOT (t.relname IN ('_dlt_loads', '_dlt_version') AND a.attname = 'inserted_at'))
			INTO definition, list FROM pg_attribute a
			WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
				AND (NOT only_columns ? t.relname OR only_columns -> t.relname ? a.attname) IS NOT FALSE;
		definition := definition || coalesce((SELECT ' | ' || string_agg(regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE (UNIQUE )?INDEX .*? USING ', '\1'), ', '
			ORDER BY regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE (UNIQUE )?INDEX .*? USING ', '\1')) FROM pg_index i WHERE i.indrelid = t.oid
				AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = ANY (i.indkey)
					AND (NOT only_columns ? t.relname OR only_columns -> t.relname ? a.attname) IS FALSE)), '');
		name := t.relname;
		EXECUTE format('SELECT count(*), md5(string_agg(r::text, E''\n'' ORDER BY r::text COLLATE "C")) FROM (SELECT %s FROM %I.%I) r',
			list, dataset, t.relname) INTO n, sum;
		RETURN NEXT;
	END LOOP;
END $$;

-- What must not be there when nothing runs.
CREATE VIEW torture.left_over AS
	SELECT 'swap heap' AS what, relname::text AS which FROM pg_class WHERE relnamespace = 'loader_swap'::regnamespace AND relkind = 'r'
	UNION ALL SELECT 'claim', relation || ' of package ' || package_id FROM loader.stage
	UNION ALL SELECT 'staged stream', relname FROM pg_class WHERE relnamespace = to_regnamespace('airbyte_internal') AND relkind = 'r'
	UNION ALL SELECT 'TOAST table of nobody', relname FROM pg_class c WHERE relkind = 't' AND NOT EXISTS (SELECT FROM pg_class WHERE reltoastrelid = c.oid)
	UNION ALL SELECT 'TOAST dependency', objid::regclass || ' on ' || refobjid::regclass FROM pg_depend d WHERE classid = 'pg_class'::regclass
		AND refclassid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class WHERE oid = objid AND relkind = 't')
		AND NOT EXISTS (SELECT FROM pg_class WHERE oid = refobjid AND reltoastrelid = objid)
	UNION ALL SELECT 'package', concat_ws(' ', package_id, dataset, state, message) FROM loader.package WHERE state IN ('new', 'loading');

-- A hog of worker processes: each of a parallel query's sleeps.
CREATE TABLE torture.hog AS SELECT i FROM generate_series(1, 20000) i;
ALTER TABLE torture.hog SET (parallel_workers = 14);
ANALYZE torture.hog;
CREATE FUNCTION torture.idle(i int) RETURNS int LANGUAGE plpgsql PARALLEL SAFE COST 100000 AS $$
BEGIN PERFORM pg_sleep(0.02); RETURN i; END $$;
CREATE FUNCTION torture.on_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
