-- all values near the places where one way of reading ends and another begins
CREATE TEMP TABLE typmods (name text, typmod int);
INSERT INTO typmods VALUES ('', -1), ('(38,9)', (38 << 16 | 9) + 4), ('(15,2)', (15 << 16 | 2) + 4),
	('(8,8)', (8 << 16 | 8) + 4), ('(16,8)', (16 << 16 | 8) + 4), ('(18,10)', (18 << 16 | 10) + 4),
	('(5,5)', (5 << 16 | 5) + 4), ('(3,6)', (3 << 16 | 6) + 4), ('(2,0)', (2 << 16 | 0) + 4);
CREATE FUNCTION found(what text, n bigint, differences bigint, example text) RETURNS text LANGUAGE sql AS
$$ SELECT CASE WHEN n > 0 AND differences = 0 THEN 'ok ' ELSE 'FAIL ' END
	|| format('%s: %s values, %s differences %s', what, n, differences, example) $$;

-- each byte at each place, and behind the last one
SELECT found('bytes in ' || type || ' ' || typmod || ' ' || value, count(*), count(*) FILTER (WHERE result <> 'same'),
	min(result) FILTER (WHERE result <> 'same'))
FROM (VALUES ('date', -1, '{2024-02-29,1900-02-28,0001-01-01,9999-12-31,1999-09-09}'::text[]),
	('int2', -1, '{32767,-32768,32768,0000000000032767}'),
	('int4', -1, '{12345678,2147483647,-2147483648,2147483648,0000000000000000001}'),
	('int8', -1, '{1,12,1234567,12345678,123456789,1234567890123456,12345678901234567,9223372036854775807,
		-9223372036854775807,-9223372036854775808}'),
	('numeric', -1, '{0,-0,1.5,-1.5,-0.0,0.00000001,10000000.0,12345678,99999999,1234567.12345678,12345678.1234567,
		123456789012345.6,1234567890123456}'),
	('numeric', (15 << 16 | 2) + 4, '{12345.67,9999999999999.99,-12345678.9,-0.00,0.005,-0.004,12345678.995}'),
	('numeric', (38 << 16 | 9) + 4, '{1.5,12345678.12345678,12345678.1234567,12345678901234567890123456789.123456789,
		99999999999999999999999999999.9999999994}'),
	('timestamp', -1, '{2024-02-29 23:59:59.999999,0001-01-01T00:00:00}'),
	('timestamptz', -1, '{2024-02-29 23:59:59.999999+00:00,0001-01-01T00:00:00Z,9999-12-31T23:59:59-15:59}'))
	AS v (type, typmod, texts),
	unnest(texts) AS value, generate_series(0, length(value)) AS place, generate_series(1, 255) AS byte,
	LATERAL (SELECT overlay(value::bytea PLACING decode(lpad(to_hex(byte), 2, '0'), 'hex') FROM place + 1)) AS b (bytes),
	convert_compare_bytes(type::regtype, typmod, bytes, 'csv', 'LATIN1') AS result
GROUP BY type, typmod, value;

-- each day of some years, and days that there are not
SELECT found('days', count(*), count(*) FILTER (WHERE result <> 'same'), min(result) FILTER (WHERE result <> 'same'))
FROM unnest(ARRAY[0, 1, 4, 99, 100, 400, 1900, 1970, 1999, 2000, 2001, 2004, 2023, 2024, 2100, 2400, 9996, 9999, 10000]) AS year,
	generate_series(0, 13) AS month, generate_series(0, 32) AS day, unnest(ARRAY['', ' BC', 'T00:00:00', '+00']) AS more,
	convert_compare('date', -1, concat(lpad(year::text, greatest(4, length(year::text)), '0'), '-', lpad(month::text, 2, '0'), '-',
		lpad(day::text, 2, '0'), more)) AS result;

-- all numbers of up to five of these characters; signs and points in digits of each number
WITH RECURSIVE words (word) AS (SELECT '' UNION ALL
	SELECT word || c FROM words, unnest(ARRAY['0', '1', '9', '.', '-', '+']) AS c WHERE length(word) < 5)
SELECT found('words as numeric' || name, count(*), count(*) FILTER (WHERE result <> 'same'),
	min(result) FILTER (WHERE result <> 'same'))
FROM words, typmods, convert_compare('numeric', typmod, word) AS result GROUP BY name;
SELECT found('points in numeric' || name, count(*), count(*) FILTER (WHERE result <> 'same'),
	min(result) FILTER (WHERE result <> 'same'))
FROM typmods, generate_series(0, 42) AS n, generate_series(-1, n) AS point, unnest(ARRAY['', '-', '+']) AS sign,
	unnest(ARRAY['9', '0', '5', '4', '10000000', '00019999']) AS pattern,
	LATERAL (SELECT left(repeat(pattern, 42), n)) AS d (digits),
	LATERAL (SELECT sign || CASE WHEN point < 0 THEN digits ELSE left(digits, point) || '.' || substr(digits, point + 1) END) AS v (value),
	convert_compare('numeric', typmod, value) AS result GROUP BY name;
SELECT found('limits of ' || type, count(*), count(*) FILTER (WHERE result <> 'same'),
	min(result) FILTER (WHERE result <> 'same'))
FROM unnest(ARRAY['int2', 'int4', 'int8']) AS type,
	unnest(ARRAY['0', '1', '32767', '32768', '32769', '2147483647', '2147483648', '2147483649', '99999999', '100000000',
		'9999999999999999', '10000000000000000', '9223372036854775807', '9223372036854775808', '9999999999999999999',
		'18446744073709551615', '18446744073709551616']) AS number,
	generate_series(0, 20) AS zeros, unnest(ARRAY['', '-', '+', '--', '+-', ' ']) AS sign, unnest(ARRAY['', ' ', '.', 'a']) AS more,
	convert_compare(type::regtype, -1, concat(sign, repeat('0', zeros), number, more)) AS result
GROUP BY type;
DROP FUNCTION found;
