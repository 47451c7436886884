-- What is refused at registration, and with which words. Paths and the server's user are replaced.
SET client_min_messages = warning;
\pset format unaligned
\pset expanded on
\pset tuples_only on
\set good '''items: id bigint!, name text'''

-- A package that is accepted, for comparison.
CALL test.package('1.1', test.schema('shop', :good), 'items.a.0.csv', E'id,name\n1,x\n');
SELECT * FROM test.refuse('1.1');

-- Where it lies
SELECT * FROM test.refuse('nowhere');
SELECT * FROM test.refuse('1.1/schema.json');
SELECT * FROM test.refuse('1.1/schema.json/x');
SELECT * FROM test.try($$SELECT loader_register('relative/path', 'd')$$);
SELECT * FROM test.try($$SELECT loader_register('', 'd')$$);
SELECT * FROM test.try($$SELECT loader_scan('relative/path', 'd')$$);
SELECT * FROM test.try(format($$SELECT loader_scan(%L, 'd')$$, test.path('nowhere')));
SELECT * FROM test.try(format($$SELECT * FROM loader_plan(%L, 'd')$$, test.path('nowhere')));
SELECT code, message LIKE '%name too long%' AS says_why, length(message) < 200 AS short, detail, hint
FROM test.try($$SELECT loader_register('/' || repeat('x', 5000), 'd')$$);
SELECT * FROM test.try($$SELECT loader_register('/', 'd')$$);
CALL test.sh('ln -s 1.1 link && mkdir outside && ln -s / outside/1.9');
SELECT * FROM test.refuse('link');
SELECT * FROM test.refuse('outside/1.9');
SELECT * FROM test.refuse('outside/../1.1');

-- Not a package
CALL test.sh('mkdir 2.1');
SELECT * FROM test.refuse('2.1');
CALL test.package('2.2', test.schema('shop', :good));
CALL test.sh('rm 2.2/schema.json');
SELECT * FROM test.refuse('2.2');
CALL test.package('2.2', test.schema('shop', :good));
CALL test.sh('rm 2.2/load_package_state.json');
SELECT * FROM test.refuse('2.2');
CALL test.package('2.2', test.schema('shop', :good));
CALL test.sh('rmdir 2.2/new_jobs');
SELECT * FROM test.refuse('2.2');
CALL test.sh('touch 2.2/new_jobs');
SELECT * FROM test.refuse('2.2');
CALL test.sh('rm 2.2/new_jobs && ln -s ../1.1/new_jobs 2.2/new_jobs');
SELECT * FROM test.refuse('2.2');
CALL test.sh('rm 2.2/new_jobs && mkdir 2.2/new_jobs && mv 2.2/schema.json 2.2/s && ln -s s 2.2/schema.json');
SELECT * FROM test.refuse('2.2');
CALL test.sh('rm 2.2/schema.json && mkdir 2.2/schema.json');
SELECT * FROM test.refuse('2.2');
CALL test.sh('rmdir 2.2/schema.json && mkfifo 2.2/schema.json');
SELECT * FROM test.refuse('2.2');
SELECT * FROM test.refuse('1.1/new_jobs');
CALL test.package(repeat('1', 65), test.schema('shop', :good));
SELECT code, replace(message, repeat('1', 65), '<65 digits>') AS message, detail, hint FROM test.refuse(repeat('1', 65));

-- Not readable for the server's user
CALL test.package('2.3', test.schema('shop', :good), 'items.a.0.csv', E'id\n1\n');
CALL test.sh('chmod 000 2.3/new_jobs/items.a.0.csv');
SELECT * FROM test.refuse('2.3');
CALL test.sh('chmod 600 2.3/new_jobs/items.a.0.csv && chmod 000 2.3/new_jobs');
SELECT * FROM test.refuse('2.3');
CALL test.sh('chmod 700 2.3/new_jobs && chmod 000 2.3/schema.json');
SELECT * FROM test.refuse('2.3');
CALL test.sh('chmod 600 2.3/schema.json && chmod 000 2.3');
SELECT * FROM test.refuse('2.3');
CALL test.sh('chmod 700 2.3 && mkdir deep && mv 2.3 deep/2.3 && chmod 000 deep');
SELECT * FROM test.refuse('deep/2.3');
CALL test.sh('chmod 700 deep && chmod 300 deep/2.3/new_jobs');
SELECT * FROM test.refuse('deep/2.3');
CALL test.sh('chmod 700 deep/2.3/new_jobs');
SELECT code FROM test.refuse('deep/2.3');

-- Not permitted
CREATE ROLE regress_loader_etl;
GRANT EXECUTE ON FUNCTION loader_register, loader_scan TO regress_loader_etl;
GRANT USAGE ON SCHEMA test TO regress_loader_etl;
GRANT SELECT ON test.directory TO regress_loader_etl;
SET ROLE regress_loader_etl;
SELECT * FROM test.refuse('1.1');
SELECT * FROM test.refuse('nowhere');
SELECT * FROM test.try(format('SELECT loader_scan(%L)', test.path('.')));
SELECT * FROM test.try(format('SELECT loader_start(%L)', test.path('1.1')));
SELECT * FROM test.try(format('SELECT loader_plan(%L)', test.path('1.1')));
SELECT * FROM test.try('SELECT loader_cancel(1)');
RESET ROLE;
GRANT pg_read_server_files TO regress_loader_etl;
SET ROLE regress_loader_etl;
SELECT * FROM test.refuse('1.1');
RESET ROLE;
SELECT current_database() AS database \gset
GRANT CREATE ON DATABASE :"database" TO regress_loader_etl;
SET ROLE regress_loader_etl;
SELECT code, message FROM test.refuse('1.1');
RESET ROLE;

-- schema.json
CALL test.package('3.1', E'{"version": 1,\n"name": "shop",\n oops}');
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', '');
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', '[]');
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', '{"version": 1, "version": 2}');
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', repeat('[', 100000));
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', replace(test.schema('shop', :good), '"shop"', '"sh\u0000op"'));
SELECT * FROM test.refuse('3.1');
CALL test.file('3.1/schema.json', convert_to(test.schema('shop', :good), 'UTF8') || '\x00');
SELECT * FROM test.refuse('3.1');
CALL test.file('3.1/schema.json', overlay(convert_to(test.schema('shop', :good), 'UTF8') PLACING '\xff' FROM 20));
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', replace(test.schema('shop', :good), '"shop"', '""'));
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', replace(test.schema('shop', :good), '"shop"', '7'));
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', replace(test.schema('shop', :good), '"version_hash": "', '"version_hash_": "'));
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', replace(test.schema('shop', :good), '"_dlt_loads"', '"_dlt_lots"'));
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', replace(test.schema('shop', :good), '"tables": {', '"tables": {"x": 1, '));
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', test.schema('shop', 'items: id money'));
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', test.schema('shop', 'items: id bigint; write_disposition="upsert"'));
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', test.schema('shop', 'items: id bigint; parent="gone"'));
SELECT * FROM test.refuse('3.1');
CALL test.package('3.1', test.schema('shop', 'a: id bigint; parent="b"', 'b: id bigint; parent="a"'));
SELECT * FROM test.refuse('3.1');

-- Engine versions: another one is accepted if each of its keys is known.
CALL test.package('3.2', replace(test.schema('shop', :good), '"engine_version": 11', '"engine_version": 12'));
SELECT * FROM test.refuse('3.2');
CALL test.package('3.2', replace(test.schema('shop', :good), '"engine_version": 11', '"engine_version": 9'));
SELECT * FROM test.refuse('3.2');
CALL test.package('3.2', replace(replace(test.schema('shop', :good), '"engine_version": 11', '"engine_version": 12, "lineage": 1'),
	'"data_type": "bigint"', '"data_type": "bigint", "masked": true, "x-hint": 1'));
SELECT * FROM test.refuse('3.2');
CALL test.package('3.2', replace(test.schema('shop', :good), '"engine_version": 11', '"engine_version": "11"'));
SELECT * FROM test.refuse('3.2');
-- of the version we know, an unknown key is an adapter's
CALL test.package('3.2', replace(test.schema('shop', :good), '"settings"', '"lineage": 1, "settings"'));
SELECT * FROM test.refuse('3.2');

-- Names
CALL test.package('3.3', test.schema('shop', ': id bigint'));
SELECT * FROM test.refuse('3.3');
CALL test.package('3.3', replace(test.schema('shop', 'items: id bigint'), '"id":', '"":'));
SELECT * FROM test.refuse('3.3');
CALL test.package('3.3', test.schema('shop', repeat('t', 64) || ': id bigint, ' || repeat('c', 64) || ' text', 'ok: ' || repeat('ä', 32) || ' text'));
SELECT * FROM test.refuse('3.3');
CALL test.package('3.3', test.schema('shop', repeat('t', 63) || ': id bigint, ' || repeat('ä', 31) || 'x text'));
SELECT * FROM test.refuse('3.3');
DO $$
DECLARE
	tables text[] := (SELECT array_agg(repeat('t', 60) || to_char(i, 'FM0000') || ': id bigint') FROM generate_series(1, 2000) i);
BEGIN
	CALL test.package('3.3', test.schema('shop', VARIADIC tables));
END $$;
SELECT code, left(message, 60) AS message, right(message, 15) AS and_more, detail, hint FROM test.refuse('3.3');

-- load_package_state.json
CALL test.package('3.4', test.schema('shop', :good));
CALL test.file('3.4/load_package_state.json', E'{\n\n');
SELECT * FROM test.refuse('3.4');
CALL test.file('3.4/load_package_state.json', '[]');
SELECT * FROM test.refuse('3.4');
CALL test.file('3.4/load_package_state.json', '{"pipeline_state": {"state": "not base64"}}');
SELECT * FROM test.refuse('3.4');
CALL test.file('3.4/load_package_state.json', '{"pipeline_state": {"state": "AAAA"}}');
SELECT * FROM test.refuse('3.4');
CALL test.file('3.4/load_package_state.json', '{"pipeline_state": {"state": "{\"dataset_name\": 7}"}}');
SELECT * FROM test.refuse('3.4');
CALL test.file('3.4/load_package_state.json', '{"refresh": 1}');
SELECT * FROM test.refuse('3.4');
CALL test.file('3.4/load_package_state.json', '{"refresh": "drop_sources", "dropped_tables": "items"}');
SELECT * FROM test.refuse('3.4');
CALL test.file('3.4/load_package_state.json', '{"refresh": "drop_sources", "dropped_tables": ["items"]}');
SELECT * FROM test.refuse('3.4');
CALL test.file('3.4/load_package_state.json', '{"refresh": "drop_data", "truncated_tables": [{"name": 1}]}');
SELECT * FROM test.refuse('3.4');
CALL test.file('3.4/load_package_state.json', '{"refresh": "drop_data", "truncated_tables": [{"name": ""}, {"name": "items"}]}');
SELECT * FROM test.refuse('3.4');
CALL test.file('3.4/load_package_state.json', '{"refresh": "drop_data", "truncated_tables": [{"name": "it\u0000ems"}]}');
SELECT * FROM test.refuse('3.4');
-- dlt's own tables are the record of what was loaded
CALL test.file('3.4/load_package_state.json', '{"refresh": "drop_sources", "dropped_tables": [{"name": "items"}, {"name": "_dlt_loads"}]}');
SELECT * FROM test.refuse('3.4');
SELECT * FROM test.try(format($$SELECT * FROM loader_plan(%L, 'd')$$, test.path('3.4')));
CALL test.file('3.4/load_package_state.json', '{"refresh": "drop_data", "truncated_tables": [{"name": "_dlt_version"}]}');
SELECT * FROM test.refuse('3.4');
CALL test.file('3.4/load_package_state.json', '{"refresh": "drop_data", "truncated_tables": [{"name": "items"}, {"name": "gone"}]}');
SELECT * FROM test.refuse('3.4');
CALL test.file('3.4/load_package_state.json', '{"dropped_tables": [], "truncated_tables": null}');
SELECT * FROM test.refuse('3.4');

-- Begun by dlt's own loader
CALL test.package('4.1', test.schema('shop', :good));
CALL test.sh('mkdir 4.1/started_jobs 4.1/completed_jobs 4.1/failed_jobs');
SELECT code FROM test.refuse('4.1');
CALL test.sh('touch 4.1/started_jobs/items.a.0.csv');
SELECT * FROM test.refuse('4.1');
CALL test.sh('mv 4.1/started_jobs/* 4.1/completed_jobs');
SELECT * FROM test.refuse('4.1');
CALL test.sh('mv 4.1/completed_jobs/* 4.1/failed_jobs');
SELECT * FROM test.refuse('4.1');
CALL test.sh('rm 4.1/failed_jobs/* && touch 4.1/.pending_transitions');
SELECT * FROM test.refuse('4.1');
CALL test.sh('rm 4.1/.pending_transitions && touch 4.1/package_completed.json');
SELECT * FROM test.refuse('4.1');

-- Job files
CREATE PROCEDURE test.job(name text) LANGUAGE plpgsql AS $$
BEGIN
	CALL test.package('5.1', test.schema('shop', 'items: id bigint!, name text'));
	CALL test.file('5.1/new_jobs/' || name, '');
END $$;
CREATE TABLE test.job_name (n integer GENERATED ALWAYS AS IDENTITY, name text);
INSERT INTO test.job_name (name) VALUES ('items.a.0.csv'), ('items.a.0.csv.gz'), ('items.a.0.jsonl.zst'), ('items.a.17.insert_values'),
	('gone.a.0.csv'), ('items.a.0.parquet'), ('items.a.0.model'), ('items.a.0.sql'), ('items.a.0.reference'), ('items.a.0.typed-jsonl'),
	('items.a.0.CSV'), ('items.a.0.csv.bz2'), ('items.a.0.csv.gz.gz'), ('items.csv'), ('items.a.csv'), ('items.a.x.csv'), ('items.a.-1.csv'),
	('items.a.99999999999.csv'), ('items..0.csv'), ('.items.a.0.csv'), ('items.a.0.'), ('.hidden'), ('README'),
	(repeat('i', 250)), ('items.a.0.' || repeat('x', 200));
\pset expanded off
\pset format aligned
\pset tuples_only off
CREATE FUNCTION test.refuse_jobs(OUT name text, OUT code text, OUT message text, OUT detail text, OUT hint text) RETURNS SETOF record
LANGUAGE plpgsql AS $$
BEGIN
	FOR name IN SELECT j.name FROM test.job_name j ORDER BY n LOOP
		CALL test.job(name);
		SELECT * FROM test.refuse('5.1') INTO code, message, detail, hint;
		RETURN NEXT;
	END LOOP;
END $$;
SELECT left(name, 30) AS name, code, message FROM test.refuse_jobs();
\pset format unaligned
\pset expanded on
\pset tuples_only on
CALL test.job('gone.a.0.csv');
SELECT * FROM test.refuse('5.1');
CALL test.job('items.a.0.parquet');
SELECT * FROM test.refuse('5.1');
CALL test.job('items.a.csv');
SELECT * FROM test.refuse('5.1');
CALL test.job('items.a.0.csv');
CALL test.file('5.1/new_jobs/items.a.1.csv', '');
SELECT * FROM test.refuse('5.1');
CALL test.sh('rm 5.1/new_jobs/* && touch 5.1/new_jobs/items.a.0.csv 5.1/new_jobs/items.a.0.csv.gz');
SELECT * FROM test.refuse('5.1');
CALL test.sh('rm 5.1/new_jobs/* && ln -s ../schema.json 5.1/new_jobs/items.a.0.csv');
SELECT * FROM test.refuse('5.1');
CALL test.sh('rm 5.1/new_jobs/* && ln -s /etc/passwd 5.1/new_jobs/items.a.0.csv');
SELECT * FROM test.refuse('5.1');
CALL test.sh('rm 5.1/new_jobs/* && mkdir 5.1/new_jobs/items.a.0.csv');
SELECT * FROM test.refuse('5.1');
CALL test.sh('rmdir 5.1/new_jobs/* && mkfifo 5.1/new_jobs/items.a.0.csv');
SELECT * FROM test.refuse('5.1');
CALL test.sh($$rm 5.1/new_jobs/* && touch "5.1/new_jobs/items.$(printf '\377').0.csv"$$);
SELECT * FROM test.refuse('5.1');

CALL test.sh($$mkdir bad && mkdir "bad/6.1$(printf '\377')x" && ln -s "bad/6.1$(printf '\377')x" 6.1$$);
SELECT * FROM test.refuse('6.1');
SELECT * FROM test.try(format('SELECT loader_scan(%L)', test.path('6.1')));
SELECT * FROM test.try(format('SELECT loader_plan(%L)', test.path('6.1')));

-- Replace
\set replaced '''items: id bigint; write_disposition="replace"'''
CALL test.package('5.2', test.schema('shop', :replaced), 'items.a.0.csv', E'id\n1\n');
SELECT * FROM test.refuse('5.2');
CALL test.package('5.2', test.schema('shop', 'items: id bigint; write_disposition="replace", x-replace-strategy="truncate"'), 'items.a.0.csv', E'id\n1\n');
SELECT * FROM test.refuse('5.2');
SELECT * FROM test.try(format($$SELECT * FROM loader_plan(%L, 'd')$$, test.path('5.2')));
-- the option goes before the hint
SELECT * FROM test.refuse('5.2', $$, 'd', replace_strategy => 'diff'$$);
CALL test.package('5.2', test.schema('shop', 'items: id bigint; write_disposition="replace", x-replace-strategy=7'), 'items.a.0.csv', E'id\n1\n');
SELECT * FROM test.refuse('5.2');
-- without a job, and on a table that is not replaced, it does not matter
CALL test.package('5.2', test.schema('shop', 'items: id bigint; write_disposition="replace", x-replace-strategy="truncate"'));
SELECT * FROM test.refuse('5.2');
CALL test.package('5.2', test.schema('shop', 'items: id bigint; write_disposition="append", x-replace-strategy="truncate"'), 'items.a.0.csv', E'id\n1\n');
SELECT * FROM test.refuse('5.2');

-- Merge: a table from one line, and perhaps one nested in it
CREATE FUNCTION test.refuse_merge(items text, kids text DEFAULT NULL, state text DEFAULT '{}',
	OUT code text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
	CALL test.package('5.3', test.schema('shop', VARIADIC CASE WHEN kids IS NULL THEN ARRAY[items] ELSE ARRAY[items, kids] END),
		'items.a.0.jsonl', E'{}\n');
	CALL test.file('5.3/load_package_state.json', state);
	SELECT * FROM test.refuse('5.3') INTO code, message, detail, hint;
END $$;
-- delete-insert needs no key as long as there is one table, and row and root keys if there are more
SELECT * FROM test.refuse_merge('items: id bigint; write_disposition="merge"');
SELECT * FROM test.refuse_merge('items: id bigint; write_disposition="merge"', 'items__kids: v text; parent="items"');
SELECT * FROM test.refuse_merge('items: id bigint! +primary_key; write_disposition="merge"', 'items__kids: v text, _dlt_id text!~ +row_key; parent="items"');
SELECT * FROM test.refuse_merge('items: id bigint! +primary_key, b bigint! +primary_key; write_disposition="merge"',
	'items__kids: v text, _dlt_id text!~ +row_key, p text +parent_key; parent="items"');
-- one that has never seen a row is not there to be merged
SELECT * FROM test.refuse_merge('items: id bigint! +primary_key; write_disposition="merge"', 'items__kids: v text; parent="items", x-normalizer={}');
SELECT * FROM test.refuse_merge('items: id bigint! +primary_key, gone bool +hard_delete, left bool +hard_delete; write_disposition="merge"');
SELECT * FROM test.refuse_merge('items: id bigint! +primary_key, a bigint +dedup_sort="asc", b bigint +dedup_sort="desc"; write_disposition="merge"');
SELECT * FROM test.refuse_merge('items: id bigint! +primary_key, a bigint +dedup_sort="up"; write_disposition="merge"');
SELECT * FROM test.refuse_merge('items: id bigint! +primary_key="yes"; write_disposition="merge"');
-- upsert and its kin need a primary key
SELECT * FROM test.refuse_merge('items: id bigint; write_disposition="merge", x-merge-strategy="upsert"');
SELECT * FROM test.refuse_merge('items: id bigint +merge_key; write_disposition="merge", x-merge-strategy="insert-only"');
SELECT * FROM test.refuse_merge('items: id bigint; write_disposition="merge", x-merge-strategy="cdc"');
SELECT * FROM test.refuse_merge('items: id bigint! +primary_key; write_disposition="merge", x-merge-strategy="upsert"', 'items__kids: v text; parent="items"');
SELECT * FROM test.refuse_merge('items: id bigint! +primary_key; write_disposition="merge", x-merge-strategy="upsert"');
-- scd2 needs its columns and a moment
SELECT * FROM test.refuse_merge('items: id bigint; write_disposition="merge", x-merge-strategy="scd2"');
SELECT * FROM test.refuse_merge('items: h text +x-row-version; write_disposition="merge", x-merge-strategy="scd2"');
SELECT * FROM test.refuse_merge('items: h text +x-row-version, f timestamp +x-valid-from, t timestamp +x-valid-to; write_disposition="merge", x-merge-strategy="scd2"');
SELECT * FROM test.refuse_merge('items: h text +x-row-version, f timestamp +x-valid-from, t timestamp +x-valid-to; write_disposition="merge", x-merge-strategy="scd2"',
	NULL, '{"created_at": "2024-01-01T00:00:00Z"}');
SELECT * FROM test.refuse_merge('items: h text +x-row-version, f timestamp +x-valid-from, t timestamp +x-valid-to; write_disposition="merge", x-merge-strategy="scd2", x-boundary-timestamp="now"');
SELECT * FROM test.refuse_merge('items: h text +x-row-version, f timestamp +x-valid-from, t timestamp +x-valid-to; write_disposition="merge", x-merge-strategy="scd2", x-boundary-timestamp="2024-13-01"');
SELECT * FROM test.refuse_merge('items: h text +x-row-version, f timestamp +x-valid-from, t timestamp +x-valid-to +x-active-record-timestamp="tomorrow"; write_disposition="merge", x-merge-strategy="scd2", x-boundary-timestamp="2024-01-01"');
-- no such strategy, or none that is a string
SELECT * FROM test.refuse_merge('items: id bigint; write_disposition="merge", x-merge-strategy="overwrite"');
SELECT * FROM test.try(format($$SELECT * FROM loader_plan(%L, 'd')$$, test.path('5.3')));
SELECT * FROM test.refuse_merge('items: id bigint; write_disposition="merge", x-merge-strategy=["upsert"]');
SELECT * FROM test.refuse_merge('items: id bigint; write_disposition="merge", x-merge-source-filter=true');
SELECT * FROM test.refuse_merge('items: id bigint; write_disposition="merge", x-merge-skip-unchanged-rows="yes"');

-- Conditions: one boolean expression and nothing after it
CREATE TABLE test.condition (n integer GENERATED ALWAYS AS IDENTITY, text text);
INSERT INTO test.condition (text) VALUES ('id > 1'), ('id > 1 AND exists (SELECT 1) -- why'), ('true; DROP TABLE items'), ('true) OR (true'),
	('id >'), ('id = 1 AS x'), ('id, id'), ('*'), ('i.*'), ('true FROM items'), ('true LIMIT 1'), ('true UNION SELECT false'), ('SELECT true'), (' '), ('-- only'),
	('name = ''{'), ('{table}.id > 1'), ('name = ''{{}}'''), ('name = ''open'), ('/* open'), ('id > $1'), (repeat('ä', 150) || ' >');
CREATE FUNCTION test.condition(hint text, condition text, OUT code text, OUT message text, OUT detail text, OUT hint_ text) LANGUAGE plpgsql AS $$
BEGIN
	CALL test.package('5.4', jsonb_set(test.schema('shop', 'items: id bigint! +primary_key, name text; write_disposition="merge"')::jsonb,
		ARRAY['tables', 'items', hint], to_jsonb(condition))::text, 'items.a.0.jsonl', E'{}\n');
	SELECT * FROM test.refuse('5.4') INTO code, message, detail, hint_;
END $$;
\pset expanded off
\pset format aligned
\pset tuples_only off
SELECT c.text, r.code, r.message FROM test.condition c, test.condition('x-merge-source-filter', c.text) r WHERE length(c.text) < 100 ORDER BY n;
SELECT c.text, r.code, r.message FROM test.condition c, test.condition('x-merge-destination-scope', c.text) r WHERE length(c.text) < 100 ORDER BY n;
\pset format unaligned
\pset expanded on
\pset tuples_only on
SELECT r.* FROM test.condition c, test.condition('x-merge-destination-scope', c.text) r WHERE length(c.text) > 100;
SELECT * FROM test.condition('x-merge-destination-scope', '{staging_table}.id = {other}.id');
-- one that is empty is none, and only a merge asks for them
SELECT code FROM test.condition('x-merge-destination-scope', '');
SELECT code FROM test.refuse_merge('items: id bigint; write_disposition="append", x-merge-source-filter="true AND"');

-- The dataset
SELECT code, message, replace(detail, format('role "%s"', current_user), 'role "<role>"') AS detail, hint FROM test.refuse('1.1', '');
SELECT * FROM test.refuse('1.1', ', dataset => ''''');
SELECT * FROM test.refuse('1.1', format(', dataset => %L', repeat('d', 64)));
SELECT * FROM test.refuse('1.1', format(', dataset => %L', repeat('ä', 32)));
SELECT * FROM test.refuse('1.1', format(', dataset => %L', repeat('d', 63)));
-- the staging dataset's name is longer; it has to do only for packages that may need one
CALL test.package('5.5', test.schema('shop', :replaced), 'items.a.0.csv', E'id\n1\n');
SELECT * FROM test.refuse('5.5', format(', dataset => %L', repeat('d', 56)));
SELECT * FROM test.refuse('5.5', format(', dataset => %L, staging_dataset_name_layout => ''s_%%s''', repeat('d', 56)));
SELECT * FROM test.refuse('5.5', $$, dataset => 'd', staging_dataset_name_layout => '%s'$$);
SELECT * FROM test.refuse('1.1', $$, dataset => 'd', staging_dataset_name_layout => '%s'$$);
SELECT * FROM test.refuse('5.5', $$, dataset => 'd', staging_dataset_name_layout => 'pg_%s'$$);
SELECT * FROM test.refuse('1.1', ', dataset => ''pg_catalog''');
SELECT * FROM test.refuse('1.1', ', dataset => ''pg_new''');
SELECT * FROM test.refuse('1.1', ', dataset => ''loader''');
SELECT * FROM test.refuse('1.1', ', dataset => ''loader_swap''');
SELECT * FROM test.refuse('1.1', ', dataset => ''information_schema''');
CALL test.file('1.1/load_package_state.json', '{"pipeline_state": {"state": "{\"dataset_name\": \"pg_toast\"}"}}');
SELECT * FROM test.refuse('1.1', '');
CALL test.file('1.1/load_package_state.json', '{"pipeline_state": {"state": "{\"dataset_name\": \"\"}"}}');
SELECT * FROM test.refuse('1.1', '');

-- Arguments
CALL test.file('1.1/load_package_state.json', '{}');
SELECT * FROM test.refuse('1.1', $$, 'd', replace_strategy => 'drop'$$);
SELECT * FROM test.refuse('1.1', $$, 'd', workers => 0$$);
SELECT * FROM test.refuse('1.1', $$, 'd', workers => -1$$);
SELECT * FROM test.refuse('1.1', $$, 'd', on_error => 'ignore'$$);
SELECT * FROM test.refuse('1.1', $$, 'd', complete_with_failed_jobs => true$$);
SELECT * FROM test.refuse('1.1', $$, 'd', complete_with_failed_jobs => true, atomic => false$$);
SELECT * FROM test.refuse('1.1', $$, 'd', csv_format => '7'$$);
SELECT * FROM test.refuse('1.1', $$, 'd', csv_format => '{"quote": "x"}'$$);
SELECT * FROM test.refuse('1.1', $$, 'd', csv_format => '{"delimiter": ";;"}'$$);
SELECT * FROM test.refuse('1.1', $$, 'd', csv_format => '{"delimiter": ""}'$$);
SELECT * FROM test.refuse('1.1', $$, 'd', csv_format => '{"delimiter": "\""}'$$);
SELECT * FROM test.refuse('1.1', $$, 'd', csv_format => '{"delimiter": "ä"}'$$);
SELECT * FROM test.refuse('1.1', $$, 'd', csv_format => '{"header": 1}'$$);
SELECT * FROM test.refuse('1.1', $$, 'd', csv_format => '{"header": true, "quoted": true}'$$);
SELECT * FROM test.refuse('1.1', $$, 'd', csv_format => '{"encoding": "klingon"}'$$);
SELECT * FROM test.refuse('1.1', $$, 'd', csv_format => '{"encoding": "sjis"}'$$);
SELECT * FROM test.refuse('1.1', $$, 'd', csv_format => '{"delimiter": "|", "include_header": false, "encoding": "latin1"}'$$);
SELECT * FROM test.refuse('1.1', $$, 'd', replace_strategy => 'diff', staging_dataset_name_layout => '%s_s', create_indexes => false,
	csv_format => '{}', truncate_staging_dataset => true, workers => 3, atomic => false, on_error => 'abort'$$);

-- Nothing of all this is left.
SELECT count(*) FROM loader.packages;
DROP PROCEDURE test.job;
DROP FUNCTION test.refuse_jobs, test.refuse_merge, test.condition(text, text);
DROP TABLE test.condition;
DROP TABLE test.job_name;
REVOKE ALL ON FUNCTION loader_register, loader_scan FROM regress_loader_etl;
REVOKE ALL ON SCHEMA test FROM regress_loader_etl;
REVOKE ALL ON DATABASE :"database" FROM regress_loader_etl;
REVOKE ALL ON test.directory FROM regress_loader_etl;
DROP ROLE regress_loader_etl;
