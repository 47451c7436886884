-- chosen cases: what the random values do not reach
CREATE DOMAIN percent AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN required AS text NOT NULL CHECK (length(VALUE) > 2);
CREATE DOMAIN day AS date CHECK (VALUE > '2000-01-01');
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a int, b text);

-- one value, all types of fields, through both
SELECT CASE WHEN result = 'same' THEN 'ok ' ELSE 'FAIL ' END
	|| format('%s %s "%s" in %s: %s', type, typmod, left(value, 60), format, result)
FROM (VALUES
	('percent', -1, '99.999'), ('percent', -1, '12.345'), ('percent', -1, '-1'), ('percent', -1, 'x'),
	('required', -1, 'abc'), ('required', -1, 'ab'), ('required', -1, ''),
	('day', -1, '2024-01-01'), ('day', -1, '1999-01-01'), ('mood', -1, 'sad'), ('mood', -1, 'SAD'),
	('pair', -1, '(1,x)'), ('pair', -1, '(x,1)'), ('int4range', -1, '[1,5)'), ('inet', -1, '::1'),
	('int8', -1, '9223372036854775807'), ('int8', -1, '-9223372036854775808'),
	('int8', -1, '9223372036854775808'), ('int4', -1, ' 1 '), ('int4', -1, ''),
	('float8', -1, repeat('1', 400)), ('float8', -1, '0.' || repeat('0', 400) || '1'),
	('float8', -1, repeat('0', 63) || '1'), ('float4', -1, '1e-320'), ('float4', -1, '0.1'),
	('numeric', -1, repeat('9', 320)), ('numeric', -1, repeat('9', 321)),
	('numeric', -1, '-' || repeat('9', 319)), ('numeric', -1, '.' || repeat('9', 319)),
	('numeric', (38 << 16 | 9) + 4, repeat('9', 29) || '.9999999995'),
	('numeric', (38 << 16 | 9) + 4, repeat('9', 29) || '.9999999994'),
	('numeric', (156 << 16 | 78) + 4, repeat('9', 78) || '.' || repeat('9', 78)),
	('numeric', (156 << 16 | 78) + 4, repeat('9', 78) || '.' || repeat('9', 78) || '5'),
	('numeric', (156 << 16 | 78) + 4, '-' || repeat('0', 100) || '.' || repeat('0', 77) || '5'),
	('numeric', -1, '0.' || repeat('0', 255) || '1'), ('numeric', -1, '0.' || repeat('0', 259) || '1'),
	('numeric', -1, '1' || repeat('0', 255)), ('numeric', -1, '1' || repeat('0', 256)),
	-- where one way of reading ends and another begins
	('numeric', -1, '1234567.12345678'), ('numeric', -1, '12345678.12345678'),
	('numeric', -1, '123456789.1234567'), ('numeric', -1, '12345678.1234567'),
	('numeric', -1, '1234567.123456789'), ('numeric', -1, '-1234567.12345678'),
	('numeric', -1, '-12345678.1234567'), ('numeric', -1, '12345678'), ('numeric', -1, '123456789'),
	('numeric', -1, '.12345678'), ('numeric', -1, '-.5'), ('numeric', -1, '5.'), ('numeric', -1, '-5.'),
	('numeric', -1, '.'), ('numeric', -1, '-.'), ('numeric', -1, '-'), ('numeric', -1, '--1.5'),
	('numeric', -1, '-+1.5'), ('numeric', -1, '1.2.3'), ('numeric', -1, '1..2'), ('numeric', -1, '-0.00'),
	('numeric', -1, '10000.0001'), ('numeric', -1, '0.00010000'), ('numeric', -1, '10000.0000'),
	('numeric', -1, '00000.0001'), ('numeric', -1, '10000000.0000001'), ('numeric', -1, '1.5 '),
	('numeric', (2 << 16 | 2) + 4, '0.99'), ('numeric', (2 << 16 | 2) + 4, '1.00'),
	('numeric', (2 << 16 | 2) + 4, '.99'), ('numeric', (3 << 16 | 1) + 4, '099.9'),
	('numeric', (3 << 16 | 1) + 4, '100.0'), ('numeric', (3 << 16 | 1) + 4, '99.95'),
	('numeric', (3 << 16 | 0) + 4, '999'), ('numeric', (3 << 16 | 0) + 4, '1000'),
	('numeric', (3 << 16 | 0) + 4, '-1000'), ('numeric', (12 << 16 | 4) + 4, '12345678.5'),
	('numeric', (11 << 16 | 4) + 4, '12345678.5'), ('numeric', (2 << 16 | 4) + 4, '0.0099'),
	('numeric', (2 << 16 | 4) + 4, '0.0100'), ('numeric', (5 << 16 | 2046) + 4, '1234.0'),
	('numeric', -1, '1.' || repeat('0', 63)), ('numeric', -1, '1.' || repeat('0', 64)),
	('text', -1, ''), ('text', -1, repeat('a', 3000000)), ('text', -1, repeat('ä', 3000000)),
	('varchar', 4 + 3, 'äöü'), ('varchar', 4 + 3, 'äöü   '), ('varchar', 4 + 3, 'äöüx'),
	('varchar', 4 + 3, 'abc     '), ('bpchar', 4 + 5, 'ä'), ('bpchar', -1, 'ä  '),
	('jsonb', -1, '{"a": "' || repeat('x', 3000000) || '"}'), ('jsonb', -1, '{"a": "\u0000"}'),
	('bytea', -1, '\x'), ('bytea', -1, '\x0'), ('bytea', -1, '\xZZ'), ('bytea', -1, '\x 00 ff'),
	('bytea', -1, '\\'), ('bytea', -1, '\000\377'), ('bytea', -1, '\9'), ('bytea', -1, 'äöü'),
	('bytea', -1, ''), ('bytea', -1, '\x' || repeat('deadBEEF', 300000)),
	('timestamptz', -1, '2024-06-01T12:00:00'), ('timestamp', -1, '2024-06-01T12:00:00Z'),
	('timestamptz', 0, '1999-12-31T23:59:59.5Z'), ('timestamptz', 0, '2000-01-01T00:00:00.5Z'),
	('timestamp', 3, '1969-12-31 23:59:59.9995'), ('time', 0, '23:59:59.5'),
	('time', -1, '23:59:59.9999999'), ('date', -1, '2024-01-01T00:00:00')
	) AS v (type, typmod, value),
	unnest(ARRAY['csv', 'insert_values', 'jsonl']) AS format,
	convert_compare(v.type::regtype, v.typmod, v.value, format) AS result
WHERE NOT (v.type = 'bytea' AND format = 'jsonl');

-- bytes that are no valid text, at every place of a word; zero bytes
SELECT CASE WHEN bool_and(result = 'same') THEN 'ok ' ELSE 'FAIL ' END
	|| format('bad byte %s in %s from %s: %s', byte, type, encoding, min(result))
FROM unnest(ARRAY['text', 'varchar', 'bytea', 'int4', 'jsonb', 'date']) AS type,
	unnest(ARRAY['\x00', '\xff', '\xc3', '\xe282', '\xeda080']::bytea[]) AS byte,
	unnest(ARRAY['UTF8', 'LATIN1', 'SQL_ASCII', 'EUC_JP', 'SJIS']) AS encoding,
	generate_series(0, 40) AS before, unnest(ARRAY[0, 1, 9]) AS behind,
	convert_compare_bytes(type::regtype, -1,
		convert_to(repeat('1', before), 'UTF8') || byte || convert_to(repeat('2', behind), 'UTF8'),
		'csv', encoding::name) AS result
GROUP BY type, byte, encoding;

-- base64 is what encode() makes, without its line breaks
SELECT CASE WHEN bool_and(convert_bytea(translate(encode(bytes, 'base64'), E'\n', '')) = bytes)
	THEN 'ok ' ELSE 'FAIL ' END || 'base64 of random bytes'
FROM generate_series(0, 500) AS i,
	LATERAL (SELECT coalesce(string_agg(decode(md5(i || '-' || j), 'hex'), ''), '')
		FROM generate_series(0, i % 7 - 1) AS j) AS long (bytes16),
	LATERAL (SELECT substr(bytes16, 1, i % 97)) AS cut (bytes);

CREATE FUNCTION base64_error(value text) RETURNS text LANGUAGE plpgsql AS
$$
BEGIN
	PERFORM convert_bytea(value);
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
SELECT CASE WHEN error LIKE '22P02 invalid base64%' THEN 'ok ' ELSE 'FAIL ' END
	|| format('base64 %s: %s', to_json(value), to_json(error))
FROM unnest(ARRAY['A', 'AA', 'AAA', 'AA=A', '====', 'A===', 'AAA=AAAA', 'AA==AAAA', 'AA-_', 'AAAA ',
	E'AAAA\nAAAA', 'äää', '\xdeadbeef', 'AAA!', '!AAA', 'A!AA', 'AA!A', 'AAAAA']) AS value,
	base64_error(value) AS error;
