-- random values of all types that have routines, and of some that have none
CREATE TEMP TABLE columns (type regtype, typmod int);
INSERT INTO columns VALUES
	('int2', -1), ('int4', -1), ('int8', -1), ('float4', -1), ('float8', -1), ('bool', -1),
	('numeric', -1), ('date', -1), ('time', -1), ('timestamp', -1), ('timestamptz', -1),
	('text', -1), ('varchar', -1), ('bytea', -1), ('json', -1), ('jsonb', -1), ('uuid', -1),
	('interval', -1), ('int4[]', -1), ('text[]', -1), ('timetz', -1), ('name', -1), ('oid', -1);
INSERT INTO columns SELECT 'numeric', (precision << 16 | scale) + 4
	FROM (VALUES (38, 9), (156, 78), (10, 2), (5, 0), (1, 1), (18, 4), (4, 4), (20, 7), (1000, 500))
		AS v (precision, scale);
-- scales that only 15 and later know: negative, and larger than the precision
INSERT INTO columns SELECT 'numeric', (precision << 16 | scale & 2047) + 4
	FROM (VALUES (5, -2), (3, 5), (2, 9)) AS v (precision, scale)
	WHERE current_setting('server_version_num')::int >= 150000;
INSERT INTO columns SELECT type, p
	FROM unnest(ARRAY['time', 'timestamp', 'timestamptz']::regtype[]) AS type,
		generate_series(0, 6) AS p;
INSERT INTO columns SELECT type, n + 4
	FROM unnest(ARRAY['varchar', 'bpchar']::regtype[]) AS type, unnest(ARRAY[1, 5, 40]) AS n;

SELECT CASE WHEN r.differences = 0 THEN 'ok ' ELSE 'FAIL ' END
	|| format('%s from %s: %s random %s %s: %s differences, %s errors, %s without input function %s',
		current_setting('server_encoding'), :'encoding', :n, c.type, c.typmod,
		r.differences, r.errors, r.fast, r.example)
FROM columns c, convert_random(c.type, c.typmod, :n, 42 + c.typmod, :'encoding') r;
