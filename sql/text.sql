-- Text that PostgreSQL cannot hold, and values beyond their types, in each format: what is stored,
-- or the SQLSTATE of the refusal. The table in docs/reference.md, "Values that do not fit", says the
-- same. Nothing becomes NULL, but in an Airbyte sync, which counts it and says why.
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
\pset expanded off

-- A case: a column, its value as text, and what a format has to write otherwise, byte for byte.
CREATE TABLE test.odd (n integer GENERATED ALWAYS AS IDENTITY, what text, col text, value text,
	csv text, jsonl text, insert_values text, airbyte text, bytes bytea, csv_cell text, jsonl_cell text, insert_values_cell text, airbyte_cell text, failing_cell text);
-- The bytes stand in the place of ~ in all formats.
INSERT INTO test.odd (what, col, value, csv, jsonl, insert_values, airbyte, bytes) VALUES
	('a character beyond the first plane', 't', '~', NULL, NULL, NULL, NULL, '\xf09f9880'),
	('the same, by a pair of escapes', 't', NULL, NULL, '"\ud83d\ude00"', 'E''\ud83d\ude00''', '"\ud83d\ude00"', NULL),
	('zero byte', 't', 'a~b', NULL, NULL, NULL, NULL, '\x00'),
	('\u0000', 't', NULL, NULL, '"a\u0000b"', 'E''a\u0000b''', '"a\u0000b"', NULL),
	('\u0000 in json', 'j', NULL, '"{""a"":""\u0000""}"', '{"a":"\u0000"}', 'E''{"a":"\\u0000"}''', '{"a":"\u0000"}', NULL),
	('high surrogate alone', 't', NULL, NULL, '"a\ud83d"', 'E''a\ud83d''', '"a\ud83d"', NULL),
	('low surrogate alone', 't', NULL, NULL, '"\ude00a"', 'E''\ude00a''', '"\ude00a"', NULL),
	('surrogates in the wrong order', 't', NULL, NULL, '"\ude00\ud83d"', 'E''\ude00\ud83d''', '"\ude00\ud83d"', NULL),
	('surrogate alone in json', 'j', NULL, '"{""a"":""\ud83d""}"', '{"a":"\ud83d"}', 'E''{"a":"\\ud83d"}''', '{"a":"\ud83d"}', NULL),
	('not UTF-8', 't', 'a~', NULL, NULL, NULL, NULL, '\xc328'),
	('UTF-8 cut short', 't', 'a~', NULL, NULL, NULL, NULL, '\xf09f98'),
	('UTF-8, overlong', 't', 'a~', NULL, NULL, NULL, NULL, '\xc0af'),
	('UTF-8 of a surrogate', 't', 'a~', NULL, NULL, NULL, NULL, '\xeda0bd'),
	('UTF-8 beyond Unicode', 't', 'a~', NULL, NULL, NULL, NULL, '\xf4908080'),
	('not UTF-8, in json', 'j', NULL, '"{""a"":""~""}"', '{"a":"~"}', 'E''{"a":"~"}''', '{"a":"~"}', '\xff'),
	('not UTF-8, in a key of json', 'j', NULL, '"{""~"":1}"', '{"~":1}', 'E''{"~":1}''', '{"~":1}', '\xff'),
	('control characters', 't', NULL, E'"a\t\x01\x1b"', '"a\t\u0001\u001b"', E'E''a\\t\x01\x1b''', '"a\t\u0001\u001b"', NULL),
	('control characters, which no message repeats', 'i', E'1\x1b[31m', NULL, '"1\u001b[31m"', NULL, '"1\u001b[31m"', NULL),
	('longer than varchar(3)', 't3', 'abcd', NULL, NULL, NULL, '-', NULL),
	('the same, but for spaces', 't3', 'abc  ', NULL, NULL, NULL, '-', NULL),
	('the greatest bigint', 'i', '9223372036854775807', NULL, NULL, NULL, NULL, NULL),
	('one more', 'i', '9223372036854775808', NULL, NULL, NULL, NULL, NULL),
	('bigint of 400 digits', 'i', repeat('9', 400), NULL, NULL, NULL, NULL, NULL),
	('beyond smallint', 's', '32768', NULL, NULL, NULL, '-', NULL),
	('fraction for bigint', 'i', '1.5', NULL, NULL, NULL, NULL, NULL),
	('1.0 for bigint', 'i', '1.0', NULL, NULL, NULL, NULL, NULL),
	('1e3 for bigint', 'i', '1e3', NULL, NULL, NULL, NULL, NULL),
	('NaN for bigint', 'i', 'NaN', NULL, '"NaN"', NULL, '"NaN"', NULL),
	('empty text for bigint', 'i', NULL, '', '""', 'E''''', '""', NULL),
	('beyond numeric(10,2)', 'n', '123456789', NULL, NULL, NULL, '-', NULL),
	('a digit too many behind the point', 'n', '1.005', NULL, NULL, NULL, '-', NULL),
	('NaN for numeric', 'n', 'NaN', NULL, '"NaN"', NULL, '-', NULL),
	('Infinity for numeric(10,2)', 'n', 'Infinity', NULL, '"Infinity"', NULL, '-', NULL),
	('beyond numeric(156,78)', 'w', '1' || repeat('0', 78), NULL, NULL, NULL, '-', NULL),
	('NaN for numeric', 'w', 'NaN', NULL, '"NaN"', NULL, '"NaN"', NULL),
	('beyond numeric', 'w', '1e200000', NULL, NULL, NULL, NULL, NULL),
	('NaN as a bare word', 'f', 'NaN', NULL, 'NaN', NULL, 'NaN', NULL),
	('NaN for double', 'f', 'NaN', NULL, '"NaN"', NULL, '-', NULL),
	('Infinity for double', 'f', '-Infinity', NULL, '"-Infinity"', NULL, '-', NULL),
	('beyond double', 'f', '1e400', NULL, NULL, NULL, '-', NULL),
	('below double', 'f', '1e-400', NULL, NULL, NULL, '-', NULL),
	('number beyond jsonb', 'j', NULL, '"{""a"":1e200000}"', '{"a":1e200000}', '''{"a":1e200000}''', '{"a":1e200000}', NULL),
	('neither true nor false', 'b', 'maybe', NULL, NULL, NULL, NULL, NULL),
	('2 for boolean', 'b', '2', NULL, NULL, NULL, NULL, NULL),
	('year 0', 'd', '0000-01-01', NULL, NULL, NULL, NULL, NULL),
	('year 10000', 'd', '10000-01-01', NULL, NULL, NULL, NULL, NULL),
	('beyond date', 'd', '5874898-01-01', NULL, NULL, NULL, NULL, NULL),
	('no such day', 'd', '2024-02-30', NULL, NULL, NULL, NULL, NULL),
	('infinity for date', 'd', 'infinity', NULL, NULL, NULL, NULL, NULL),
	('24:00:00', 'ti', '24:00:00', NULL, NULL, NULL, NULL, NULL),
	('24:00:01', 'ti', '24:00:01', NULL, NULL, NULL, NULL, NULL),
	('leap second', 'ti', '23:59:60', NULL, NULL, NULL, NULL, NULL),
	('24:00:00 in a timestamp', 'ts', '2024-01-01T24:00:00Z', NULL, NULL, NULL, NULL, NULL),
	('year 0 in a timestamp', 'ts', '0000-01-01T00:00:00Z', NULL, NULL, NULL, NULL, NULL),
	('beyond timestamp', 'ts', '294277-01-01T00:00:00Z', NULL, NULL, NULL, NULL, NULL),
	('before timestamp', 'ts', '4714-11-23T00:00:00Z BC', NULL, NULL, NULL, NULL, NULL),
	('infinity for timestamp', 'ts', 'infinity', NULL, NULL, NULL, NULL, NULL),
	('offset beyond a day', 'ts', '2024-01-01T00:00:00+25:00', NULL, NULL, NULL, NULL, NULL),
	('binary that is neither base64 nor hex', 'x', '\xzz', NULL, '"!!!"', '''\xzz''', '-', NULL),
	('NULL where it may not be', 'r', NULL, '-', 'null', 'NULL', '-', NULL);

-- What a case is in a format: a number stands bare where it is one, all else in quotes.
CREATE FUNCTION test.written(o test.odd, format text) RETURNS text LANGUAGE sql AS $$
SELECT CASE format
	WHEN 'csv' THEN coalesce(o.csv, '"' || o.value || '"')
	WHEN 'insert_values' THEN coalesce(o.insert_values, CASE WHEN o.value ~ '^(-?\d[\d.]*(e-?\d+)?|-?NaN|-?Infinity)$' THEN o.value ELSE '''' || o.value || '''' END)
	ELSE coalesce(CASE format WHEN 'jsonl' THEN o.jsonl ELSE o.airbyte END, CASE WHEN o.value ~ '^-?\d[\d.]*(e-?\d+)?$' THEN o.value ELSE '"' || o.value || '"' END) END $$;
-- The same as a whole file, with the bytes in their place.
CREATE FUNCTION test.odd_file(o test.odd, format text, head text, tail text) RETURNS bytea LANGUAGE sql AS $$
SELECT coalesce(convert_to(head || split_part(w, '~', 1), 'UTF8') || o.bytes || convert_to(split_part(w, '~', 2) || tail, 'UTF8'), convert_to(head || w || tail, 'UTF8'))
FROM test.written(o, format) AS w $$;
-- All of them in one package whose jobs commit one by one: a row of each that is loaded, an error of each other.
CREATE PROCEDURE test.odd_package() LANGUAGE plpgsql AS $$
DECLARE
	o test.odd;
BEGIN
	CALL test.package('1.1', test.schema('a', 'odd: id bigint!, t text, t3 text(3), i bigint, s bigint(16), n decimal(10) +scale=2, w wei, f double, b bool, d date, ti time, ts timestamp, j json, x binary, r text!'));
	FOR o IN SELECT * FROM test.odd ORDER BY n LOOP
		-- r may not be NULL: it has a value where it is not the case itself
		IF test.written(o, 'csv') <> '-' THEN
			CALL test.file(format('1.1/new_jobs/odd.%s.0.csv', o.n), test.odd_file(o, 'csv', format(E'id,r,%s\n%s1,x,', o.col, o.n), E'\n'));
		END IF;
		IF test.written(o, 'jsonl') <> '-' THEN
			CALL test.file(format('1.1/new_jobs/odd.%s.0.jsonl', o.n), test.odd_file(o, 'jsonl', format('{"id":%s2,"r":"x","%s":', o.n, o.col), E'}\n'));
		END IF;
		IF test.written(o, 'insert_values') <> '-' THEN
			CALL test.file(format('1.1/new_jobs/odd.%s.0.insert_values', o.n), CASE WHEN o.col = 'r'
				THEN test.odd_file(o, 'insert_values', format(E'INSERT INTO {}("id","r")\nVALUES\n(%s3,', o.n), E');\n')
				ELSE test.odd_file(o, 'insert_values', format(E'INSERT INTO {}("id","r","%s")\nVALUES\n(%s3,E\'x\',', o.col, o.n), E');\n') END);
		END IF;
	END LOOP;
END $$;
CALL test.odd_package();
SELECT loader_start(test.path('1.1'), 'odd', atomic => false, complete_with_failed_jobs => true) AS id \gset
SELECT loader_wait(:id, '180s');
-- How a job of the package ended: the value, or the SQLSTATE, which must come with a place.
CREATE FUNCTION test.odd_cell(package bigint, n integer, k integer, form text, col text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	j record;
	cell text;
BEGIN
	SELECT state, sqlstate, exception FROM loader.jobs WHERE package_id = package AND job_id = format('odd.%s.%s', n, form) INTO j;
	IF NOT FOUND THEN
		RETURN '-';
	ELSIF j.state = 'completed' THEN
		EXECUTE format('SELECT coalesce(%I::text, ''NULL'') FROM odd.odd WHERE id = $1', col) INTO STRICT cell USING n * 10 + k;
		RETURN cell;
	ELSIF j.exception ~ 'File "odd\.\d+\.0\.[a-z_]+", line \d+(, column "|\. Failing row)' AND j.exception !~ '[\x01-\x09\x0b-\x1f\x7f]' THEN
		RETURN j.sqlstate;
	END IF;
	RETURN concat_ws(' ', j.state, j.sqlstate, j.exception);
END $$;
UPDATE test.odd SET csv_cell = test.odd_cell(:id, n, 1, 'csv', col), jsonl_cell = test.odd_cell(:id, n, 2, 'jsonl', col), insert_values_cell = test.odd_cell(:id, n, 3, 'insert_values', col);
SELECT count(*), count(*) FILTER (WHERE state = 'completed') AS completed, (SELECT count(*) FROM odd.odd) AS rows FROM loader.jobs WHERE package_id = :id;

-- Airbyte: one sync with a record for each case; then one for each, with "bad_values": "fail".
CREATE FUNCTION test.odd_catalog() RETURNS json LANGUAGE sql AS $$
SELECT '{"streams": [{"stream": {"name": "odd", "json_schema": {"type": "object", "properties": {"id": {"type": "integer"}, "t": {"type": "string"}, "i": {"type": "integer"},
	"w": {"type": "number"}, "f": {"type": "number"}, "b": {"type": "boolean"}, "d": {"type": "string", "format": "date"}, "ti": {"type": "string", "format": "time", "airbyte_type": "time_without_timezone"},
	"ts": {"type": "string", "format": "date-time"}, "j": {"type": "object"}}}, "supported_sync_modes": ["full_refresh"]}, "sync_mode": "full_refresh", "destination_sync_mode": "append"}]}'::json $$;
CREATE FUNCTION test.odd_record(o test.odd) RETURNS bytea LANGUAGE sql AS $$
SELECT test.odd_file(o, 'airbyte', format('{"type":"RECORD","record":{"stream":"odd","emitted_at":1,"data":{"id":%s,"%s":', o.n, o.col), E'}}}\n') $$;
CREATE FUNCTION test.odd_end() RETURNS bytea LANGUAGE sql AS
$$ SELECT convert_to(E'{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1,"stream_status":{"stream_descriptor":{"name":"odd"},"status":"COMPLETE"}}}\n', 'UTF8') $$;
CREATE PROCEDURE test.odd_sync(content bytea, config jsonb, INOUT state text, INOUT code text, INOUT detail text) LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
BEGIN
	CALL test.file('odd.jsonl', content);
	id := loader_start(test.path('odd.jsonl'), test.odd_catalog(), config);
	COMMIT;
	PERFORM loader_wait(id, '180s');
	SELECT p.state, p.sqlstate, p.detail FROM loader.packages p WHERE p.package_id = id INTO state, code, detail;
	PERFORM loader_forget(id);
	COMMIT;
END $$;
CREATE PROCEDURE test.odd_syncs() LANGUAGE plpgsql AS $$
DECLARE
	o test.odd;
	all_of_them bytea;
	state text;
	code text;
	detail text;
BEGIN
	SELECT string_agg(test.odd_record(odd), ''::bytea ORDER BY n) || test.odd_end() FROM test.odd WHERE coalesce(airbyte, value) <> '-' AND bytes IS DISTINCT FROM '\x00' AND airbyte IS DISTINCT FROM 'NaN' INTO all_of_them;
	CALL test.odd_sync(all_of_them, '{"schema": "odd_sync"}', state, code, detail);
	IF state <> 'loaded' THEN
		RAISE '% % %', state, code, detail;
	END IF;
	FOR o IN SELECT * FROM test.odd WHERE coalesce(airbyte, value) <> '-' ORDER BY n LOOP
		EXECUTE format($q$UPDATE test.odd SET airbyte_cell = (SELECT coalesce(%1$I::text, 'NULL, ' || (_airbyte_meta #>> '{changes,0,reason}'), 'NULL') FROM odd_sync.odd WHERE id = $1)
			WHERE n = $1$q$, o.col) USING o.n;
		-- what is wrong with the message, not with the value: its sync fails anyway
		IF o.bytes = '\x00' OR o.airbyte = 'NaN' THEN
			CALL test.odd_sync(test.odd_record(o) || test.odd_end(), '{"schema": "odd_fail"}', state, code, detail);
			UPDATE test.odd SET airbyte_cell = code WHERE n = o.n;
		END IF;
		CALL test.odd_sync(test.odd_record(o) || test.odd_end(), '{"schema": "odd_fail", "bad_values": "fail"}', state, code, detail);
		IF state <> 'loaded' AND detail !~ '^File "odd\.jsonl", (message line 1, stream "odd"\. Value ".*"|line 1, column ")' THEN
			code := code || ' ' || detail;
		END IF;
		UPDATE test.odd SET failing_cell = CASE state WHEN 'loaded' THEN 'the same' ELSE code END WHERE n = o.n;
		COMMIT;
	END LOOP;
END $$;
CALL test.odd_syncs();

-- A long value is told by its start and end.
CREATE FUNCTION test.brief(cell text) RETURNS text LANGUAGE sql AS
$$ SELECT replace(replace(CASE WHEN length(cell) > 60 THEN left(cell, 8) || '...' || length(cell) ELSE cell END, 'DESTINATION_', ''), E'\t', '\t') $$;
SELECT what, csv_cell AS csv, jsonl_cell AS jsonl, insert_values_cell AS insert_values FROM test.odd ORDER BY n;
SELECT what, test.brief(airbyte_cell) AS airbyte, failing_cell AS fail FROM test.odd WHERE airbyte_cell IS NOT NULL ORDER BY n;
-- An empty field of csv is NULL in a column that may be; nothing else has become NULL without a word.
SELECT what FROM test.odd WHERE 'NULL' IN (csv_cell, jsonl_cell, insert_values_cell, airbyte_cell) ORDER BY n;
DROP SCHEMA odd, odd_sync, odd_fail CASCADE;
DROP TABLE test.odd CASCADE;
