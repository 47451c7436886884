-- The job client's functions: what dlt asks of the database between packages.
SET client_min_messages = warning;
\pset format unaligned
\pset tuples_only on

-- What a dataset looks like: tables with their columns and constraints, and the stored versions.
CREATE FUNCTION test.dataset(dataset text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT c.relname || ': ' || string_agg(format('%s %s%s', a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN '!' END), ', ' ORDER BY a.attnum)
		|| coalesce((SELECT '; ' || string_agg(pg_get_constraintdef(k.oid), ', ' ORDER BY k.conname) FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype <> 'n'), '')
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE c.relnamespace = to_regnamespace(quote_ident(dataset)) AND c.relkind = 'r' GROUP BY c.oid, c.relname ORDER BY c.relname $$;
CREATE FUNCTION test.update(dataset text, schema text, more text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT loader_update_stored_schema(%L, %L%s)', dataset, schema, more) INTO result;
	RETURN result;
END $$;
SELECT test.schema('shop', 'items: id bigint!~, name text(8)', 'items__tags: value text; parent="items"', 'all: at date; write_disposition="replace"') AS v1 \gset
SELECT test.schema('shop', 'items: id bigint!~, name text(8), price decimal', 'items__tags: value text; parent="items"', 'all: at date; write_disposition="replace"',
	'empty: id bigint; x-normalizer={}') AS v2 \gset

-- Names
SELECT loader_normalize_dataset_name('d', 's'), loader_normalize_dataset_name('d', 's', 's'), loader_normalize_dataset_name('d', 's', 'other'),
	loader_normalize_dataset_name('d', 's', 'other', 'x_%s_y'), loader_normalize_dataset_name('d', 's', 'other', staging => true),
	loader_normalize_dataset_name('d', 's', staging => true, staging_dataset_name_layout => 'st_%s'),
	loader_normalize_dataset_name('d', 's', staging => true, staging_dataset_name_layout => 'one_for_all');
SELECT * FROM test.try($$SELECT loader_normalize_dataset_name(NULL, 's')$$);
SELECT * FROM test.try($$SELECT loader_normalize_dataset_name('d', NULL)$$);
SELECT * FROM test.try($$SELECT loader_normalize_dataset_name('d', 's', NULL, 'fixed')$$);
SELECT * FROM test.try($$SELECT loader_normalize_dataset_name('', 's')$$);
SELECT * FROM test.try($$SELECT loader_normalize_dataset_name('pg_x', 's')$$);
SELECT code, hint FROM test.try($$SELECT loader_normalize_dataset_name(repeat('d', 60), 'schema', 'other')$$);
SELECT code, hint FROM test.try($$SELECT loader_normalize_dataset_name(repeat('d', 60), 's', staging => true)$$);
SELECT * FROM test.try($$SELECT loader_normalize_dataset_name('d', 's', staging => true, staging_dataset_name_layout => 'd')$$);
SELECT * FROM test.try($$SELECT loader_normalize_dataset_name('d', 's', staging => true, staging_dataset_name_layout => '')$$);

-- Where we are
SELECT loader_fingerprint() ~ '^[A-Za-z0-9+/]{20}$', loader_fingerprint() = loader_fingerprint(), loader_location() ~ '^postgresql://[^/]+:\d+/[^/]+$',
	loader_capabilities() @> '{"supports_ddl_transactions": true, "max_identifier_length": 63, "decimal_precision": [38, 9]}';
CREATE DATABASE "regress loader/ä" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
SELECT loader_fingerprint() AS here, current_database() AS home \gset
\c "regress loader/ä"
CREATE EXTENSION loader;
SELECT loader_fingerprint() = :'here' AS same_database, substring(loader_location() FROM '[^/]*$');
\c :home
DROP DATABASE "regress loader/ä";
SET client_min_messages = warning;

-- A dataset from nothing
SELECT loader_is_storage_initialized('st'), loader_is_storage_initialized('st', staging => true);
SELECT * FROM loader_get_stored_schema('st');
SELECT * FROM loader_get_stored_schema_by_hash('st', 'x');
SELECT * FROM test.try($$SELECT * FROM loader_get_stored_state('st', 'p')$$);
SELECT * FROM loader_get_storage_tables('st', ARRAY['b', 'a', 'b']);
SELECT * FROM test.try(format('SELECT loader_update_stored_schema(%L, %L)', 'st', :'v1'));
-- a dry run tells it all the same
SELECT string_agg(k, ' ') FROM json_object_keys(test.update('st', :'v1', ', dry_run => true')::json) k;
SELECT loader_initialize_storage('st');
SELECT loader_is_storage_initialized('st'), loader_is_storage_initialized('st', staging => true);
SELECT loader_initialize_storage('st', ARRAY[]::text[]);

-- Tables, a few at first: dlt's table of versions comes with them, and a dry run changes nothing
SELECT test.update('st', :'v1', ', only_tables => ARRAY[''items''], dry_run => true') AS dry \gset
SELECT * FROM test.dataset('st');
SELECT test.update('st', :'v1', ', only_tables => ARRAY[''items'', ''items'']') AS update \gset
SELECT :'dry' = :'update' AS as_the_dry_run_said;
\echo :update
SELECT * FROM test.dataset('st');
SELECT version_hash = :'v1'::json ->> 'version_hash' AS hash, schema_name, version, engine_version, inserted_at > now() - interval '1 hour' AS recent, schema = :'v1' AS byte_for_byte
FROM loader_get_stored_schema('st', 'shop');
-- it is stored: nothing is done, but by force, and then no second version is stored
SELECT test.update('st', :'v1');
SELECT test.update('st', :'v1', ', force => true, replace_strategy => ''insert-from-staging'', expected_update => ''{}''');
SELECT * FROM test.dataset('st');
SELECT test.update('st', :'v1', ', force => true');
SELECT count(*) FROM st._dlt_version;

-- The next version: a column for one, a table that has seen no data (which to make is the client's choice)
INSERT INTO st.items VALUES (1, 'one');
SELECT test.update('st', :'v2');
SELECT * FROM test.dataset('st');
SELECT schema = :'v2' AS newest FROM loader_get_stored_schema('st');
SELECT h.schema = :'v1' AS first FROM st._dlt_version v, loader_get_stored_schema_by_hash('st', v.version_hash) h ORDER BY v.inserted_at;
SELECT count(*) FROM loader_get_stored_schema('st', 'nobody');
SELECT count(*) FROM loader_get_stored_schema('st', '');
SELECT * FROM loader_get_storage_tables('st', ARRAY['none', 'items__tags', 'items']);
SELECT count(*) > 12 FROM loader_get_storage_tables('st');
SELECT count(*) FROM loader_get_storage_tables('st', '{}');

-- In one transaction with what comes with it
BEGIN;
SELECT test.update('st', test.schema('shop', 'more: id bigint')) <> '{}';
SELECT count(*) FROM st.more;
ROLLBACK;
SELECT to_regclass('st.more'), count(*) FROM st._dlt_version;

-- What may not be NULL, in a table with rows; without unique constraints; types that there are not
SELECT code, message FROM test.try(format('SELECT loader_update_stored_schema(%L, %L)', 'st', test.schema('shop', 'items: id bigint!~, must bigint!')));
SELECT test.update('st', test.schema('shop', 'plain: id bigint!~'), ', create_indexes => false, only_tables => ARRAY[''plain'']') <> '{}';
SELECT * FROM test.dataset('st') AS d WHERE d LIKE 'plain%';
SELECT * FROM test.try(format('SELECT loader_update_stored_schema(%L, %L)', 'st', test.schema('shop', 'wide: id bigint(99)')));
-- Not a schema, and bad arguments
SELECT * FROM test.try($$SELECT loader_update_stored_schema('st', '{}')$$);
SELECT * FROM test.try($$SELECT loader_update_stored_schema('st', '[1, 2]')$$);
SELECT code, message FROM test.try($$SELECT loader_update_stored_schema('st', '{')$$);
SELECT * FROM test.try($$SELECT loader_update_stored_schema('st', NULL)$$);
SELECT * FROM test.try($$SELECT loader_update_stored_schema(NULL, '{}')$$);
SELECT * FROM test.try(format('SELECT loader_update_stored_schema(%L, %L, ARRAY[%L])', 'st', :'v1', 'nowhere'));
SELECT * FROM test.try(format('SELECT loader_update_stored_schema(%L, %L, ARRAY[NULL])', 'st', :'v1'));
SELECT * FROM test.try(format('SELECT loader_update_stored_schema(%L, %L, replace_strategy => %L)', 'st', :'v1', 'x'));
SELECT * FROM test.try(format('SELECT loader_update_stored_schema(%L, %L)', 'loader', :'v1'));
SELECT * FROM test.try($$SELECT loader_initialize_storage('information_schema')$$);
SELECT code FROM test.try(format('SELECT loader_update_stored_schema(%L, %L)', 'st', test.schema('shop', repeat('x', 64) || ': id bigint')));

-- The staging dataset: a schema of its own
SELECT loader_initialize_storage('st', staging => true);
SELECT test.update('st', :'v1', ', only_tables => ARRAY[''items'', ''_dlt_version''], staging => true') <> '{}';
SELECT * FROM test.dataset('st_staging');
SELECT count(*) FROM loader_get_stored_schema('st', 'shop', staging => true);
SELECT table_name, column_name FROM loader_get_storage_tables('st', ARRAY['items', 'all'], staging => true);
SELECT loader_initialize_storage('st', staging => true, staging_dataset_name_layout => 'st_other');
SELECT loader_is_storage_initialized('st', true, 'st_other');
SELECT loader_is_storage_initialized('st', true, '%s_another');

-- Tables that refer to others are emptied with them, or not at all
CREATE TABLE st.a (id bigint PRIMARY KEY);
CREATE TABLE st.b (id bigint REFERENCES st.a);
INSERT INTO st.a VALUES (1);
INSERT INTO st.b VALUES (1);
SELECT code, message, detail FROM test.try($$SELECT loader_initialize_storage('st', ARRAY['a'])$$);
SELECT loader_initialize_storage('st', ARRAY['a', 'b', 'a', 'items']);
SELECT (SELECT count(*) FROM st.a), (SELECT count(*) FROM st.b), (SELECT count(*) FROM st.items);
CREATE TABLE st.parts (id bigint) PARTITION BY LIST (id);
CREATE TABLE st.part PARTITION OF st.parts DEFAULT;
INSERT INTO st.parts VALUES (1);
SELECT loader_initialize_storage('st', ARRAY['parts']);
SELECT count(*) FROM st.parts;
SELECT * FROM test.try($$SELECT loader_initialize_storage('st', ARRAY['a', 'none'])$$);
SELECT * FROM test.try($$SELECT loader_initialize_storage('st', ARRAY[NULL])$$);
CREATE VIEW st.v AS SELECT * FROM st.items;
SELECT code, message FROM test.try($$SELECT loader_initialize_storage('st', ARRAY['v'])$$);

-- Tables are dropped, but not what depends on them; and the schema's versions with them
SELECT code, message, hint FROM test.try($$SELECT loader_drop_tables('st', ARRAY['items'], 'shop')$$);
SELECT * FROM test.try($$SELECT loader_drop_tables('st', ARRAY['a', 'b'])$$);
SELECT loader_drop_tables('st', ARRAY['a', 'none', 'b'], delete_schema => false);
SELECT to_regclass('st.a'), to_regclass('st.b'), count(*) FROM st._dlt_version;
INSERT INTO st._dlt_version SELECT 1, 11, now(), 'other', 'h', 's';
SELECT loader_drop_tables('st', ARRAY['parts'], 'shop');
SELECT to_regclass('st.parts'), string_agg(schema_name, ' ') FROM st._dlt_version;
SELECT loader_drop_tables('st', '{}', 'other');
SELECT loader_drop_tables('nowhere', ARRAY['a'], 'shop');
SELECT loader_drop_tables('st', ARRAY['items', 'all'], 'shop', staging => true);
SELECT * FROM test.dataset('st_staging');
-- what was dropped comes back
SELECT json_object_keys(test.update('st', test.schema('shop', 'parts: id bigint'))::json);

-- States: the newest of a load that was completed
SELECT * FROM test.try($$SELECT * FROM loader_get_stored_state('st', 'p')$$);
SELECT test.update('st', test.schema('shop', '_dlt_pipeline_state: version bigint!, engine_version bigint!, pipeline_name text!, state text!, created_at timestamp!, version_hash text, _dlt_load_id text!, _dlt_id text!~')) <> '{}';
INSERT INTO st._dlt_loads SELECT n || '.5', 'shop', CASE n WHEN 3 THEN 1 ELSE 0 END, now() FROM generate_series(1, 3) n;
INSERT INTO st._dlt_pipeline_state SELECT n, 4, 'p', 'state' || n, '2024-01-01 12:00+00', 'h', n || '.5', 'i' || n FROM generate_series(1, 4) n;
SET timezone = 'UTC';
SELECT * FROM loader_get_stored_state('st', 'p');
SELECT * FROM loader_get_stored_state('st', 'q');
SELECT * FROM test.try($$SELECT * FROM loader_get_stored_state('st', NULL)$$);
ALTER TABLE st._dlt_pipeline_state RENAME state TO condition;
SELECT * FROM test.try($$SELECT * FROM loader_get_stored_state('st', 'p')$$);
ALTER TABLE st._dlt_pipeline_state RENAME condition TO state;

-- A naming convention may have made capitals of it all
SELECT format('{"version": 1, "version_hash": "up", "engine_version": 11, "name": "SHOP", "tables": {
"_DLT_VERSION": {"columns": {%s}}, "_DLT_LOADS": {"columns": {%s}}, "_DLT_PIPELINE_STATE": {"columns": {%s}}, "Items": {"columns": {"ID": {"data_type": "bigint"}}}}}',
	'"VERSION": {"data_type": "bigint"}, "ENGINE_VERSION": {"data_type": "bigint"}, "INSERTED_AT": {"data_type": "timestamp"}, "SCHEMA_NAME": {"data_type": "text"}, "VERSION_HASH": {"data_type": "text"}, "SCHEMA": {"data_type": "text"}',
	'"LOAD_ID": {"data_type": "text"}, "SCHEMA_NAME": {"data_type": "text"}, "STATUS": {"data_type": "bigint"}',
	'"VERSION": {"data_type": "bigint"}, "ENGINE_VERSION": {"data_type": "bigint"}, "PIPELINE_NAME": {"data_type": "text"}, "STATE": {"data_type": "text"}, "CREATED_AT": {"data_type": "timestamp"}, "_DLT_LOAD_ID": {"data_type": "text"}') AS upper \gset
SELECT loader_initialize_storage('ST up');
SELECT test.update('ST up', :'upper', ', only_tables => ARRAY[''Items'']');
SELECT test.update('ST up', :'upper', ', force => true') <> '{}';
SELECT version_hash, schema_name, schema = :'upper' FROM loader_get_stored_schema('ST up');
INSERT INTO "ST up"."_DLT_LOADS" VALUES ('1', 'SHOP', 0);
INSERT INTO "ST up"."_DLT_PIPELINE_STATE" VALUES (1, 2, 'P', 's', '2024-01-01 12:00+00', '1');
SELECT * FROM loader_get_stored_state('ST up', 'P');
SELECT loader_drop_tables('ST up', ARRAY['Items'], 'SHOP');
SELECT count(*) FROM loader_get_stored_schema('ST up');
SELECT loader_drop_storage('ST up');

-- A package that waits or runs has its staging tables and its dataset for itself
CALL test.package('9.1', test.schema('stage', 'merged: id bigint +primary_key; write_disposition="merge"'), 'merged.a.0.csv', E'id\n1\n');
SELECT loader_register(test.path('9.1'), 'busy') AS id \gset
SELECT loader_initialize_storage('busy');
CREATE SCHEMA busy_staging;
CREATE TABLE busy_staging.merged (id bigint);
INSERT INTO loader.stage VALUES ('busy_staging.merged'::regclass, :id, 'merged', 'staging');
SELECT code, replace(message, :'id', '<id>') AS message, detail, replace(hint, :'id', '<id>') AS hint FROM test.try($$SELECT loader_initialize_storage('busy', ARRAY['merged'], staging => true)$$);
SELECT code FROM test.try($$SELECT loader_drop_tables('busy', ARRAY['merged'], delete_schema => false, staging => true)$$);
SELECT code FROM test.try($$SELECT loader_drop_storage('busy')$$);
UPDATE loader.package SET state = 'loading' WHERE package_id = :id;
SELECT code, message, replace(detail, :'id', '<id>') AS detail, replace(hint, :'id', '<id>') AS hint FROM test.try($$SELECT loader_drop_storage('busy')$$);
UPDATE loader.package SET state = 'failed' WHERE package_id = :id;
SELECT loader_initialize_storage('busy', ARRAY['merged'], staging => true);
SELECT loader_drop_storage('busy');
SELECT to_regnamespace('busy'), to_regnamespace('busy_staging');
SELECT loader_forget(:id);

-- Rights: the functions have to be given, and what they do is done as the caller
CREATE ROLE regress_loader_client;
GRANT USAGE ON SCHEMA test TO regress_loader_client;
GRANT SELECT ON test.directory TO regress_loader_client;
SET ROLE regress_loader_client;
SELECT code, message FROM test.try($$SELECT loader_initialize_storage('st')$$);
SELECT code FROM test.try($$SELECT loader_drop_storage('st')$$);
SELECT code FROM test.try($$SELECT loader_drop_tables('st', '{}', 's')$$);
SELECT code FROM test.try($$SELECT loader_update_stored_schema('st', '{}')$$);
SELECT loader_is_storage_initialized('st'), count(*) FROM loader_get_storage_tables('st');
SELECT code, message FROM test.try($$SELECT * FROM loader_get_stored_schema('st')$$);
SELECT code, message FROM test.try($$SELECT * FROM loader_get_stored_state('st', 'p')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION loader_initialize_storage, loader_drop_storage, loader_drop_tables, loader_update_stored_schema TO regress_loader_client;
SET ROLE regress_loader_client;
SELECT * FROM test.try($$SELECT loader_initialize_storage('st_new')$$);
SELECT code, message FROM test.try($$SELECT loader_initialize_storage('st', ARRAY['items'])$$);
SELECT code, message FROM test.try($$SELECT loader_drop_storage('st')$$);
SELECT code, message FROM test.try($$SELECT loader_drop_tables('st', ARRAY['items'], delete_schema => false)$$);
SELECT code, message FROM test.try(format('SELECT loader_update_stored_schema(%L, %L)', 'st', test.schema('shop', 'mine: id bigint')));
RESET ROLE;
GRANT USAGE, CREATE ON SCHEMA st TO regress_loader_client;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA st TO regress_loader_client;
SET ROLE regress_loader_client;
SELECT code, message FROM test.try(format('SELECT loader_update_stored_schema(%L, %L)', 'st', test.schema('shop', 'items: id bigint!~, new text')));
SELECT test.update('st', test.schema('shop', 'mine: id bigint')) <> '{}';
SELECT tableowner FROM pg_tables WHERE schemaname = 'st' AND tablename = 'mine';
RESET ROLE;
-- Not in a read-only transaction, but for what only looks
BEGIN READ ONLY;
SELECT loader_update_stored_schema('st', test.schema('shop', 'mine: id bigint, more text')::json, dry_run => true)::jsonb #> '{mine,columns,more}';
SELECT count(*) FROM loader_get_stored_schema('st');
SELECT code, message FROM test.try($$SELECT loader_initialize_storage('st')$$);
SELECT code FROM test.try($$SELECT loader_drop_storage('st')$$);
SELECT code FROM test.try($$SELECT loader_drop_tables('st', '{}', 's')$$);
SELECT code FROM test.try($$SELECT loader_update_stored_schema('st', '{}')$$);
ROLLBACK;

-- All of it goes, the staging dataset too, and what depends on it
CREATE VIEW test.of_items AS SELECT * FROM st.items;
SELECT loader_drop_storage('st', 'st_other');
SELECT to_regclass('test.of_items'), to_regnamespace('st'), to_regnamespace('st_other'), to_regnamespace('st_staging') IS NOT NULL;
SELECT * FROM test.try($$SELECT loader_drop_storage('st')$$);
DROP SCHEMA st_staging CASCADE;
DROP OWNED BY regress_loader_client;
DROP ROLE regress_loader_client;
DROP FUNCTION test.update, test.dataset;
