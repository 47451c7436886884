-- Airbyte: syncs that a session feeds, and messages in a file.
SET client_min_messages = warning;
CREATE TABLE test.given_back (n bigint GENERATED ALWAYS AS IDENTITY, state json);
-- A catalog of streams: name, mode, primary key, cursor, properties, and what else it says.
CREATE FUNCTION test.stream(name text, mode text, properties text, key text[] DEFAULT '{}', cursor text DEFAULT NULL, more jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS
	$$ SELECT format('{"stream": {"name": %s, "json_schema": {"type": "object", "properties": {%s}}, "supported_sync_modes": ["full_refresh", "incremental"]}, "sync_mode": "%s", "destination_sync_mode": "%s", "primary_key": %s, "cursor_field": %s%s}',
		to_json(name), properties, coalesce(more ->> 'sync_mode', 'incremental'), mode, (SELECT coalesce(json_agg(json_build_array(k)), '[]') FROM unnest(key) k),
		CASE WHEN cursor IS NULL THEN '[]' ELSE json_build_array(cursor)::text END, (SELECT string_agg(format(', "%s": %s', k, v), '' ORDER BY k) FROM jsonb_each(more - 'sync_mode') AS e(k, v))) $$;
CREATE FUNCTION test.catalog(VARIADIC streams text[]) RETURNS json LANGUAGE sql AS
	$$ SELECT format('{"streams": [%s]}', array_to_string(streams, ', '))::json $$;
-- Messages, one a line: stream|data, stream!state, stream=STATUS, or a message as it is.
CREATE FUNCTION test.messages(lines text) RETURNS bytea LANGUAGE sql AS
	$$ SELECT convert_to(string_agg(CASE
		WHEN l ~ '^\w+@\d+\|' THEN format('{"type":"RECORD","record":{"stream":"%s","data":%s,"emitted_at":%s}}', substring(l FROM '^\w+'), substring(l FROM '\|(.*)$'), substring(l FROM '@(\d+)'))
		WHEN l ~ '^\w+\|' THEN format('{"type":"RECORD","record":{"stream":"%s","data":%s,"emitted_at":1700000000000}}', substring(l FROM '^\w+'), substring(l FROM '\|(.*)$'))
		WHEN l ~ '^\w+!' THEN format('{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"%s"},"stream_state":%s},"sourceStats":{"recordCount":1.0}}}', substring(l FROM '^\w+'), substring(l FROM '!(.*)$'))
		WHEN l ~ '^\w+=\w+$' THEN format('{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1.5,"stream_status":{"stream_descriptor":{"name":"%s"},"status":"%s"}}}', substring(l FROM '^\w+'), substring(l FROM '=(\w+)$'))
		ELSE l END || E'\n', '' ORDER BY n), 'UTF8') FROM regexp_split_to_table(btrim(lines, E'\n'), E'\n') WITH ORDINALITY AS t(l, n) $$;
-- The parts of a report that are the same each time.
CREATE FUNCTION test.report(report json) RETURNS TABLE (line text) LANGUAGE sql AS
	$$ SELECT concat_ws(' ', report ->> 'state', report -> 'records', 'records', nullif(regexp_replace((report -> 'error')::text, '"(started_at|finished_at)":"[^"]*"', ''), 'null'), nullif(report ->> 'warnings', '[]'))
	UNION ALL SELECT concat_ws(' ', s ->> 'dataset', s ->> 'table', s ->> 'mode', s ->> 'status', 'records', s ->> 'records', 'states', s ->> 'states', 'inserted', s ->> 'rows_inserted', 'updated', s ->> 'rows_updated', 'deleted', s ->> 'rows_deleted', 'nulled', s ->> 'nulled_values') FROM json_array_elements(report -> 'streams') s $$;
CREATE FUNCTION test.close(id bigint) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE report json := loader_airbyte_close(id);
BEGIN
	INSERT INTO test.given_back (state) SELECT json_array_elements(report -> 'states');
	RETURN QUERY SELECT test.report(report);
END $$;
CREATE FUNCTION test.write(id bigint, lines text) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO test.given_back (state) SELECT loader_airbyte_write(id, test.messages(lines)) $$;
\set id '"id": {"type": "integer"}'
\set a '"id": {"type": "integer"}, "name": {"type": ["null", "string"]}'
\set config '{"schema": "ab"}'
-- Append: rows, our columns, the states and what they count.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('a', 'append', :'a')), 'src') AS p \gset
\set m 'a=STARTED\na|{"id": 1, "name": "x"}\na|{"id": 2, "name": null}\na!{"at": 2, "big": 12345678901234567890.10}\na|{"id": 3, "name": "z"}\na!{"at": 3}\na=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT state FROM test.given_back ORDER BY n;
SELECT id, name, _airbyte_extracted_at AT TIME ZONE 'UTC' AS extracted, _airbyte_meta, _airbyte_generation_id, _airbyte_raw_id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$' AS uuid FROM ab.a ORDER BY id;
SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute WHERE attrelid = 'ab.a'::regclass AND attnum > 0 ORDER BY attnum;
SELECT indexdef FROM pg_indexes WHERE schemaname = 'ab' ORDER BY 1;
SELECT state, mode, source, schema_name, dataset, jobs, completed_jobs FROM loader.packages WHERE package_id = :p;
SELECT job_id, file_name, table_name, format, state, rows_read, rows_inserted FROM loader.jobs WHERE package_id = :p;
SELECT table_name, disposition, strategy, sink, rows_read, rows_inserted FROM loader.tables WHERE package_id = :p;
SELECT stream, table_name, mode, status, records, states FROM loader.streams WHERE package_id = :p;
-- Where the source goes on, kept in the transaction of the rows.
SELECT loader_airbyte_states('src');
SELECT loader_airbyte_states('src', streams => '{b}'), loader_airbyte_states('another'), loader_airbyte_states('src', 'elsewhere');
SELECT dataset, pipeline_name, stream, state FROM loader.states WHERE stream IS NOT NULL;
-- A state is given back as it came, also with codes that no text of the database can have. An estimate is for the counters.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('a', 'append', :'a')), 'codes') AS p \gset
\set m '{"type":"TRACE","trace":{"type":"ESTIMATE","emitted_at":1.5,"estimate":{"name":"a","type":"STREAM","row_estimate":1,"byte_estimate":100}}}\na!{"at": "\\u0000 \\ud800"}\na=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT loader_airbyte_close(:p)::text ~ 'state" : "loaded"' AS loaded;
SELECT loader_airbyte_states('codes');
-- Not kept if the caller keeps them.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('a', 'append', :'a')), 'own', store_state => false) AS p \gset
\set m 'a!{"at": 4}\na=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT loader_airbyte_states('own');
-- What no state covers is not kept, and a stream that has sent nothing is left alone.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('a', 'append', :'a'), test.stream('silent', 'overwrite', :'id')), 'src') AS p \gset
\set m 'a|{"id": 10}\na!{"at": 10}\na|{"id": 11}\na|{"id": 12}'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT count(*), max(id) FROM ab.a;
SELECT message, sqlstate FROM loader.packages WHERE package_id = :p;
-- Interleaved streams: each goes by its own states, whatever the others have sent by then.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('i', 'append', :'id'), test.stream('j', 'append', :'id'), test.stream('k', 'append', :'id')), 'mix') AS p \gset
\set m 'i|{"id": 1}\nj|{"id": 1}\ni|{"id": 2}\nk|{"id": 1}\nj!{"j": 1}\nj|{"id": 2}\ni!{"i": 2}\nk|{"id": 2}\nj|{"id": 3}\nk!{"k": 2}\ni|{"id": 3}\nj!{"j": 3}\nk|{"id": 3}\nj|{"id": 4}\nk=COMPLETE\nj=INCOMPLETE\ni|{"id": 4}'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT 'i' AS t, array_agg(id ORDER BY id) FROM ab.i UNION ALL SELECT 'j', array_agg(id ORDER BY id) FROM ab.j UNION ALL SELECT 'k', array_agg(id ORDER BY id) FROM ab.k;
SELECT state -> 'stream' -> 'stream_state' AS s, state -> 'destinationStats' AS d FROM test.given_back WHERE state -> 'stream' -> 'stream_state' ->> 'i' = '2' OR (state -> 'stream' -> 'stream_state')::text ~ '"[jk]"' ORDER BY 1::text;
-- States of the whole source cover all streams, under either name; and one of no type.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('g', 'append', :'id'), test.stream('h', 'append', :'id')), 'glob') AS p \gset
TRUNCATE test.given_back;
\set m 'g|{"id": 1}\nh|{"id": 1}\n{"type":"STATE","log":null,"state":{"type":"GLOBAL","stream":null,"global_":1,"global_":{"shared_state":{"lsn":1},"stream_states":[]},"id":7}}\nh|{"id": 2}\n{"type":"STATE","state":{"data":{"cursor":"c"}}}\nh|{"id": 3}'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT state FROM test.given_back ORDER BY n;
SELECT (SELECT count(*) FROM ab.g), (SELECT count(*) FROM ab.h), loader_airbyte_states('glob');
-- Dedup: of each key the greatest cursor, then the latest extraction, then the later arrival; keys with NULLs are inserted each time.
\set d '"k": {"type": "integer"}, "l": {"type": "string"}, "c": {"type": "integer"}, "v": {"type": "string"}'
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('d', 'append_dedup', :'d', '{k,l}', 'c')), 'ded') AS p \gset
\set m 'd@1000000000000|{"k":1,"l":"a","c":5,"v":"kept"}\nd@1000000000001|{"k":1,"l":"a","c":4,"v":"older"}\nd@1000000000002|{"k":2,"l":"a","c":1,"v":"first"}\nd@1000000000003|{"k":2,"l":"a","c":1,"v":"later"}\nd@1000000000003|{"k":3,"l":"a","c":1,"v":"same, first"}\nd@1000000000003|{"k":3,"l":"a","c":1,"v":"same, second"}\nd@1000000000004|{"k":4,"l":"a","v":"no cursor"}\nd@1000000000004|{"k":4,"l":"a","c":0,"v":"cursor"}\nd|{"k":5,"v":"no key"}\nd|{"k":5,"v":"no key"}\nd!{"s": 1}\nd=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT k, l, c, v FROM ab.d ORDER BY k, v;
SELECT indexdef FROM pg_indexes WHERE schemaname = 'ab' AND tablename = 'd' ORDER BY 1;
-- The table's row goes only if the new one is newer.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('d', 'append_dedup', :'d', '{k,l}', 'c')), 'ded') AS p \gset
\set m 'd@1000000000009|{"k":1,"l":"a","c":4,"v":"less"}\nd@1000000000009|{"k":2,"l":"a","c":1,"v":"equal, later"}\nd@1000000000001|{"k":3,"l":"a","c":1,"v":"equal, earlier"}\nd@1|{"k":4,"l":"a","c":1,"v":"greater"}\nd|{"k":5,"v":"no key"}\nd|{"k":6,"l":"a","v":"new"}\nd=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT k, l, c, v FROM ab.d ORDER BY k, v;
SELECT count(*) FROM pg_class WHERE relnamespace = 'airbyte_internal'::regnamespace;
-- Deletes of a source that follows changes: hard by default, soft by configuration.
\set c '"id": {"type": "integer"}, "v": {"type": "string"}, "_ab_cdc_lsn": {"type": "integer"}, "_ab_cdc_deleted_at": {"type": ["null", "string"]}'
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('cdc', 'append_dedup', :'c', '{id}', '_ab_cdc_lsn')), 'cdc') AS p \gset
\set m 'cdc|{"id":1,"v":"a","_ab_cdc_lsn":1}\ncdc|{"id":2,"v":"b","_ab_cdc_lsn":2}\ncdc|{"id":3,"v":"c","_ab_cdc_lsn":3}\ncdc|{"id":3,"_ab_cdc_lsn":4,"_ab_cdc_deleted_at":"2024-01-01"}\ncdc=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('cdc', 'append_dedup', :'c', '{id}', '_ab_cdc_lsn')), 'cdc') AS p \gset
\set m 'cdc|{"id":1,"_ab_cdc_lsn":5,"_ab_cdc_deleted_at":"2024-01-01"}\ncdc|{"id":2,"_ab_cdc_lsn":1,"_ab_cdc_deleted_at":"2023-01-01"}\ncdc|{"id":9,"_ab_cdc_lsn":6,"_ab_cdc_deleted_at":"2024-01-01"}\ncdc=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT id, v, _ab_cdc_lsn, _ab_cdc_deleted_at FROM ab.cdc ORDER BY id;
SELECT loader_airbyte_open('{"schema": "ab", "cdc_deletion_mode": "Soft delete"}', test.catalog(test.stream('cdc', 'append_dedup', :'c', '{id}', '_ab_cdc_lsn')), 'cdc') AS p \gset
\set m 'cdc|{"id":2,"_ab_cdc_lsn":7,"_ab_cdc_deleted_at":"2024-01-01"}\ncdc=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT id, v, _ab_cdc_lsn, _ab_cdc_deleted_at FROM ab.cdc ORDER BY id;
-- Overwrite: the old rows until the stream is complete; the table keeps its identity.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('o', 'overwrite', :'a')), 'ov') AS p \gset
\set m 'o|{"id": 1, "name": "old"}\no=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
CREATE VIEW ab.o_view AS SELECT id, name FROM ab.o;
SELECT 'ab.o'::regclass::oid AS before \gset
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('o', 'overwrite', :'a')), 'ov') AS p \gset
\set m 'o|{"id": 2, "name": "new"}\no!{"at": 2}'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
TABLE ab.o_view;
SELECT relname FROM pg_class WHERE relnamespace = 'airbyte_internal'::regnamespace AND relkind = 'r';
-- The state was given back, so its rows are still there when the source goes on.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('o', 'overwrite', :'a')), 'ov') AS p \gset
\set m 'o|{"id": 3, "name": "new"}\no!{"at": 3}\no=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
TABLE ab.o_view;
SELECT 'ab.o'::regclass::oid = :before AS same_table, (SELECT count(*) FROM pg_class WHERE relnamespace = 'airbyte_internal'::regnamespace) AS staged;
SELECT kind, object FROM loader.events WHERE package_id = :p AND kind ~ 'staged' ORDER BY event_id;
-- PyAirbyte's ids are always the same, and it replaces each time; nothing sent is nothing there.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('o', 'overwrite', :'a', more => '{"generation_id": 1, "minimum_generation_id": 1, "sync_id": 1}')), 'ov') AS p \gset
\set m 'o|{"id": 4}\no=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('o', 'overwrite', :'a', more => '{"generation_id": 1, "minimum_generation_id": 1, "sync_id": 1}')), 'ov') AS p \gset
\set m 'o|{"id": 5}\no=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT id, _airbyte_meta, _airbyte_generation_id FROM ab.o;
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('o', 'overwrite', :'a')), 'ov') AS p \gset
\set m 'o=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT count(*) FROM ab.o;
-- Generations: rows of older ones go when the stream is complete; another attempt of the same sync goes on beside what is complete.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('gen', 'append', :'id', more => '{"generation_id": 7, "minimum_generation_id": 0, "sync_id": 70}')), 'gen') AS p \gset
\set m 'gen|{"id": 1}\ngen=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('gen', 'append', :'id', more => '{"generation_id": 7, "minimum_generation_id": 7, "sync_id": 71}')), 'gen') AS p \gset
\set m 'gen|{"id": 2}\ngen=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('gen', 'append', :'id', more => '{"generation_id": 8, "minimum_generation_id": 8, "sync_id": 72}')), 'gen') AS p \gset
\set m 'gen|{"id": 3}\ngen!{"at": 3}'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT id, _airbyte_generation_id FROM ab.gen ORDER BY id;
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('gen', 'append', :'id', more => '{"generation_id": 8, "minimum_generation_id": 8, "sync_id": 72}')), 'gen') AS p \gset
\set m 'gen|{"id": 4}\ngen=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('gen', 'append', :'id', more => '{"generation_id": 8, "minimum_generation_id": 8, "sync_id": 72}')), 'gen') AS p \gset
\set m 'gen|{"id": 5}\ngen=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT id, _airbyte_generation_id FROM ab.gen ORDER BY id;
-- The same of a table that another loader has left: its rows say of which generation they are.
CREATE TABLE ab.left1 (_airbyte_raw_id varchar NOT NULL, _airbyte_extracted_at timestamptz NOT NULL, _airbyte_meta jsonb NOT NULL, _airbyte_generation_id bigint, id bigint);
INSERT INTO ab.left1 VALUES ('r1', 'epoch', '{}', 6, 1), ('r2', 'epoch', '{}', NULL, 2);
CREATE TABLE ab.left2 (LIKE ab.left1 INCLUDING ALL);
INSERT INTO ab.left2 VALUES ('r1', 'epoch', '{}', 7, 1);
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('left1', 'append', :'id', more => '{"generation_id": 7, "minimum_generation_id": 7, "sync_id": 70}'),
	test.stream('left2', 'append', :'id', more => '{"generation_id": 7, "minimum_generation_id": 7, "sync_id": 70}')), 'left') AS p \gset
\set m 'left1|{"id": 3}\nleft2|{"id": 3}\nleft1=COMPLETE\nleft2=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT 1 AS t, id, _airbyte_generation_id FROM ab.left1 UNION ALL SELECT 2, id, _airbyte_generation_id FROM ab.left2 ORDER BY 1, 2;
-- Strategies as PyAirbyte resolves them, and streams that take part.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('s1', 'append', :'a', '{id}', 'name'), test.stream('s2', 'append', :'a', cursor => 'name'), test.stream('s3', 'append', :'a'), test.stream('s4', 'append', :'a')), 'str', '{s1,s2,s3}', 'AUTO', true) AS p \gset
\set m 's1|{"id": 1}\ns1|{"id": 1}\ns2|{"id": 1}\ns2|{"id": 1}\ns3|{"id": 1}\ns1=COMPLETE\ns2=COMPLETE\ns3=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
-- Values that do not fit become NULL, with the reason beside those that the record brought; or an error, if that is wanted.
\set v '"id": {"type": "integer"}, "b": {"type": "boolean"}, "n": {"type": "number"}, "t": {"type": "string", "format": "date-time"}, "d": {"type": "string", "format": "date"}, "o": {"type": "object"}, "a": {"type": "array"}, "u": {"oneOf": [{"type": "string"}, {"type": "integer"}]}'
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('v', 'append', :'v')), 'val') AS p \gset
\set m 'v|{"id": "12", "b": true, "n": "1.50", "t": "2015-05-22T16:42:22", "d": "2020-02-29", "o": {"x": "a\\u0000b"}, "a": [1], "u": "s"}\nv|{"id": 99999999999999999999, "b": "yes", "n": "abc", "t": "never", "d": "2021-02-29", "o": [], "a": {}, "u": 1}\n{"type":"RECORD","record":{"stream":"v","data":{"id": 1.5, "extra": "ignored", "t": "2020-01-01T00:00:00+02:00"},"emitted_at":1700000000,"meta":{"changes":[{"field":"z","change":"TRUNCATED","reason":"SOURCE_FIELD_SIZE_LIMITATION"}]}}}\nv=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SET TIME ZONE 'UTC';
SELECT id, b, n, t, d, o, a, u, _airbyte_extracted_at, jsonb_pretty(_airbyte_meta -> 'changes') FROM ab.v ORDER BY id NULLS LAST, t NULLS LAST;
SELECT loader_airbyte_open('{"schema": "ab", "bad_values": "fail"}', test.catalog(test.stream('v', 'append', :'v')), 'val') AS p \gset
\set m 'v|{"id": 3}\nv|{"id": 4, "b": "yes"}\nv=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
-- Names, and columns called like ours.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('Ünï cödé!', 'append', '"1st": {"type": "string"}, "a b": {"type": "string"}, "a-b": {"type": "string"}, "_airbyte_raw_id": {"type": "string"}, "MiXed": {"type": "string"}')), 'names') AS p \gset
\set m '{"type":"RECORD","record":{"stream":"Ünï cödé!","data":{"1st":"1","a b":"2","a-b":"3","_airbyte_raw_id":"4","mixed":"5"},"emitted_at":1}}\n{"type":"TRACE","trace":{"type":"STREAM_STATUS","stream_status":{"stream_descriptor":{"name":"Ünï cödé!"},"status":"COMPLETE"}}}'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT attname FROM pg_attribute WHERE attrelid = (SELECT oid FROM pg_class WHERE relname ~ 'U' AND relnamespace = 'ab'::regnamespace AND relkind = 'r') AND attnum > 0 ORDER BY attnum;
SELECT "_1st", a_b, "MiXed" FROM ab."Uni_code_";
-- The schema changes: new columns, columns that stay away, other types.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('s', 'append_dedup', '"id": {"type": "integer"}, "n": {"type": "string"}, "j": {"type": "string"}, "gone": {"type": "string"}', '{id}')), 'sch') AS p \gset
\set m 's|{"id": 1, "n": "12", "j": "x", "gone": "here"}\ns=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('s', 'append_dedup', '"id": {"type": "integer"}, "n": {"type": "integer"}, "j": {"type": "object"}, "new": {"type": "boolean"}', '{id}')), 'sch') AS p \gset
\set m 's|{"id": 2, "n": 13, "j": {}, "new": true}\ns=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT id, n, j, gone, new, pg_typeof(n), pg_typeof(j) FROM ab.s ORDER BY id;
SELECT kind, object, detail FROM loader.events WHERE package_id = :p AND kind = 'alter table';
-- A second end of a stream: what came before stays, and what came after the first one goes beside it.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('twice', 'overwrite', :'a'), test.stream('again', 'overwrite', :'a'), test.stream('merged', 'append_dedup', :'a', '{id}')), 'twice') AS p \gset
\set m 'twice|{"id": 1}\ntwice=COMPLETE\ntwice=COMPLETE\nagain|{"id": 1}\nagain=COMPLETE\nagain|{"id": 2}\nagain=COMPLETE\nmerged|{"id": 1, "name": "x"}\nmerged=COMPLETE\nmerged@1800000000000|{"id": 1, "name": "y"}\nmerged|{"id": 2}\nmerged=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT 'twice' AS t, id, name FROM ab.twice UNION ALL SELECT 'again', id, name FROM ab.again UNION ALL SELECT 'merged', id, name FROM ab.merged ORDER BY 1, 2;
-- Rows that came without a look at keys: by another loader, or a sync in append mode that did not come to its end.
CREATE TABLE ab.found (_airbyte_raw_id varchar NOT NULL, _airbyte_extracted_at timestamptz NOT NULL, _airbyte_meta jsonb NOT NULL, _airbyte_generation_id bigint, id bigint, name varchar);
INSERT INTO ab.found SELECT 'r' || i, to_timestamp(1600000000 + i), '{}', 0, 1, 'old ' || i FROM generate_series(1, 3) i;
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('found', 'append_dedup', :'a', '{id}')), 'found') AS p \gset
\set m 'found|{"id": 2}\nfound=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('found', 'append', :'a')), 'found') AS p \gset
\set m 'found|{"id": 1, "name": "appended"}\nfound!{"at": 1}'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('found', 'append_dedup', :'a', '{id}')), 'found') AS p \gset
\set m 'found|{"id": 3}\nfound=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT id, name FROM ab.found ORDER BY id;
-- A staging table has the types that somebody gave the table's columns, also if they change in between.
CREATE TABLE ab.typed (_airbyte_raw_id varchar NOT NULL, _airbyte_extracted_at timestamptz NOT NULL, _airbyte_meta jsonb NOT NULL, _airbyte_generation_id bigint, id uuid, name varchar(3));
\set s '"id": {"type": "string"}, "name": {"type": "string"}'
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('typed', 'append_dedup', :'s', '{id}')), 'typed') AS p \gset
\set m 'typed|{"id": "4c6e8d0a-1b3c-4d5e-8f70-8192a3b4c5d6", "name": "abc"}\ntyped!{"at": 1}'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
ALTER TABLE ab.typed ALTER id TYPE text;
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('typed', 'append_dedup', :'s', '{id}')), 'typed') AS p \gset
\set m 'typed|{"id": "4c6e8d0a-1b3c-4d5e-8f70-8192a3b4c5d7", "name": "abcd"}\ntyped=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT id, name, _airbyte_meta -> 'changes' AS changes FROM ab.typed ORDER BY id;
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('typed', 'overwrite', :'s')), 'typed') AS p \gset
\set m 'typed|{"id": "1", "name": "abc"}\ntyped=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT id, name FROM ab.typed ORDER BY id;
-- Properties called like a system column, or like the column that staging tables have.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('system', 'append_dedup', '"id": {"type": "integer"}, "xmin": {"type": "string"}, "_loader_arrival": {"type": "integer"}', '{id}', 'xmin')), 'system') AS p \gset
\set m 'system|{"id": 1, "xmin": "a", "_loader_arrival": 7}\nsystem=COMPLETE'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT id, xmin_1, _loader_arrival_1 FROM ab.system;
-- A file of messages is a package like any other.
CALL test.sh('mkdir -p airbyte');
CALL test.file('airbyte/f.jsonl', convert_from(test.messages(E'f|{"id": 1}\nf!{"at": 1}\nf|{"id": 2}\nf=COMPLETE'), 'UTF8'));
SELECT loader_start(source => test.path('airbyte/f.jsonl'), catalog => test.catalog(test.stream('f', 'append', :'id')), config => :'config', source_name => 'file') AS p \gset
SELECT loader_wait(:p);
SELECT array_agg(id ORDER BY id) FROM ab.f;
SELECT mode, state, schema_name, jobs FROM loader.packages WHERE package_id = :p;
SELECT loader_start(source => test.path('airbyte/f.jsonl'), catalog => test.catalog(test.stream('f', 'append', :'id')), config => :'config', source_name => 'file') = :p AS same;
SELECT count(*) FROM ab.f;
SELECT loader_forget(:p);
-- One that has none is of something else.
CALL test.file('airbyte/none.jsonl', E'id,name\n1,one\n');
SELECT loader_start(source => test.path('airbyte/none.jsonl'), catalog => test.catalog(test.stream('f', 'append', :'id')), config => :'config', source_name => 'file') AS p \gset
SELECT state FROM loader_wait(:p) AS state;
SELECT sqlstate, message, detail, hint FROM loader.packages WHERE package_id = :p;
SELECT loader_forget(:p);
-- What is refused.
\set VERBOSITY default
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('x', 'append', :'id')), 'bad') AS p \gset
\set m 'not json\nx|{"id": 1}\ny|{"id": 1}'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('x', 'append', :'id')), 'bad') AS p \gset
\set m 'Starting\n{"type":"LOG","log":{"level":"INFO","message":"m"}}\n{"type":"NEW","new":{}}\nx|{"id": 1}\n{"type":"RECORD","record":{"stream":"x","data":{"id": 2}'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('x', 'append', :'id')), 'bad') AS p \gset
\set m 'x|{"id": 1}\n{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1,"error":{"message":"token expired"}}}'
SELECT test.write(:p, :'m') AS w \gset
SELECT test.close(:p);
SELECT loader_airbyte_open(:'config', '{"streams": []}');
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('x', 'append_dedup', :'id')));
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('x', 'soft_delete', :'id')));
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('x', 'append', :'id')), streams => '{y}');
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('x', 'append', :'id')), write_strategy => 'sometimes');
SELECT loader_airbyte_open('{"schema": "loader"}', test.catalog(test.stream('x', 'append', :'id')));
SELECT loader_airbyte_open('{"schema": 3}', test.catalog(test.stream('x', 'append', :'id')));
CREATE TABLE ab.other (id int);
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('other', 'append', :'id'))) AS p \gset
SELECT test.close(:p);
BEGIN;
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('x', 'append', :'id')));
ROLLBACK;
-- One sync at a time has a table.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('x', 'append', :'id'))) AS p \gset
\set VERBOSITY sqlstate
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('x', 'append', :'id'))) AS q \gset
SELECT test.close(:p);
SELECT loader_airbyte_write(:p, '');
SELECT loader_airbyte_close(:p);
\set VERBOSITY default
-- The configuration.
SELECT loader_airbyte_spec() -> 'supported_destination_sync_modes' AS modes, loader_airbyte_spec() -> 'connectionSpecification' -> 'required' AS required;
SELECT loader_airbyte_check('{"schema": "ab"}'), loader_airbyte_check('{"schema": "ab"}', true);
SELECT loader_airbyte_check('{"host": "h", "port": 5432, "database": "d", "username": "u", "ssl_mode": {"mode": "often"}}', true);
SELECT loader_airbyte_check('{"host": "h", "port": 5432, "database": "d", "username": "u", "password": "p", "schema": "s"}', true);
-- Who cannot sync learns why, before and when he opens.
CREATE ROLE regress_loader_sync;
CREATE SCHEMA others;
CREATE SCHEMA airbyte_other;
CREATE TABLE others.t (id bigint);
GRANT USAGE ON SCHEMA test TO regress_loader_sync;
GRANT EXECUTE ON FUNCTION loader_airbyte_open, loader_airbyte_check TO regress_loader_sync;
GRANT SELECT ON test.directory TO regress_loader_sync;
SET SESSION AUTHORIZATION regress_loader_sync;
SELECT c ->> 'status' AS status, replace(c ->> 'message', current_database(), 'DB') AS message FROM (SELECT loader_airbyte_check(json_build_object('schema', s, 'raw_data_schema', 'airbyte_other')::jsonb) AS c
	FROM unnest(ARRAY['pg_catalog', 'loader', 'others', 'new']) WITH ORDINALITY AS u(s, n) ORDER BY n) x;
BEGIN READ ONLY;
SELECT loader_airbyte_check('{"schema": "others"}');
COMMIT;
SELECT loader_airbyte_open('{"schema": "others"}', test.catalog(test.stream('t', 'append', '"id": {"type": "integer"}')));
SELECT loader_airbyte_open('{"schema": "others"}', test.catalog(test.stream('u', 'append', '"id": {"type": "integer"}')));
RESET SESSION AUTHORIZATION;
GRANT CREATE ON SCHEMA others TO regress_loader_sync;
ALTER SCHEMA airbyte_other OWNER TO pg_monitor;
SET SESSION AUTHORIZATION regress_loader_sync;
-- the staging schema is of somebody whom the dataset's owner does not know
SELECT loader_airbyte_open('{"schema": "others", "raw_data_schema": "airbyte_other"}', test.catalog(test.stream('u', 'overwrite', '"id": {"type": "integer"}')));
RESET SESSION AUTHORIZATION;
SET client_min_messages = warning;
DROP SCHEMA others, airbyte_other CASCADE;
DROP OWNED BY regress_loader_sync;
DROP ROLE regress_loader_sync;
-- A worker that has ended: the session hears why, once its states are given back.
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('ended', 'append', :'id'))) AS p \gset
SELECT loader_airbyte_write(:p, NULL);
SELECT loader_airbyte_write(NULL, '');
CALL test.wait_for('EXISTS (SELECT FROM loader.progress)');
SELECT loader_cancel(:p) AS cancelled;
SELECT loader_wait(:p, '600s');
CALL test.wait_for($$NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_type LIKE 'loader coordinator%')$$);
\set VERBOSITY sqlstate
SELECT loader_airbyte_write(:p, '');
\set VERBOSITY default
SELECT loader_airbyte_close(:p)::json ->> 'state' AS state;
-- Forgotten meanwhile
SELECT loader_airbyte_open(:'config', test.catalog(test.stream('ended', 'append', :'id'))) AS p \gset
CALL test.wait_for('EXISTS (SELECT FROM loader.progress)');
SELECT loader_cancel(:p) AS cancelled;
SELECT loader_wait(:p, '600s');
CALL test.wait_for($$NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_type LIKE 'loader coordinator%')$$);
SELECT loader_forget(:p);
\set VERBOSITY sqlstate
SELECT loader_airbyte_write(:p, '');
SELECT loader_airbyte_close(:p);
\set VERBOSITY default
DROP SCHEMA ab, airbyte_internal CASCADE;
