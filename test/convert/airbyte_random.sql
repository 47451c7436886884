-- random values of Airbyte records beside the input functions of their types; most are valid
SELECT CASE WHEN r.differences = 0 AND r.nulls < :n * 9 / 10 THEN 'ok ' ELSE 'FAIL ' END
	|| format('airbyte %s, %s: %s random %s %s: %s differences, %s nulls %s',
		current_setting('server_encoding'), current_setting('TimeZone'), :n, property, typmod,
		r.differences, r.nulls, r.example)
FROM (VALUES ('varchar', -1), ('varchar', 4 + 5), ('bigint', -1), ('numeric', -1), ('numeric', (38 << 16 | 9) + 4),
		('numeric', (10 << 16 | 2) + 4), ('bool', -1), ('date', -1), ('timestamptz', -1), ('timestamptz', 3), ('timestamp', -1),
		('timestamp', 0), ('timetz', -1), ('timetz', 2), ('time', -1), ('time', 0), ('json', -1)) AS v (property, typmod),
	airbyte_random(property, typmod, :n, 42 + typmod) AS r;
-- of these, most are of another kind
SELECT CASE WHEN r.differences = 0 AND r.nulls < :n THEN 'ok ' ELSE 'FAIL ' END
	|| format('airbyte %s: %s random %s: %s differences, %s nulls %s',
		current_setting('server_encoding'), :n, property, r.differences, r.nulls, r.example)
FROM unnest(ARRAY['object', 'array']) AS property, airbyte_random(property, -1, :n, 42) AS r;

-- no string raises an error; few are of any use
SELECT 'ok ' || format('airbyte %s: %s of %s random strings for %s in %s', current_setting('server_encoding'),
		airbyte_junk(property, type::regtype, -1, :n / 10, 43), :n / 10, property, type)
FROM (VALUES ('varchar', 'varchar'), ('varchar', 'bpchar'), ('varchar', 'int4'), ('varchar', 'float8'), ('varchar', 'timestamptz'),
		('varchar', 'interval'), ('varchar', 'uuid'), ('varchar', 'bytea'), ('varchar', 'jsonb'), ('varchar', 'json'),
		('varchar', 'numeric[]'), ('varchar', 'tsrange'), ('varchar', 'inet'), ('varchar', 'name'), ('bigint', 'int8'), ('bigint', 'numeric'),
		('numeric', 'numeric'), ('numeric', 'float4'), ('date', 'date'), ('date', 'timestamptz'), ('timestamptz', 'timestamptz'),
		('timestamptz', 'date'), ('timestamp', 'timestamp'), ('timetz', 'timetz'), ('time', 'time'), ('time', 'interval'), ('json', 'jsonb'),
		('json', 'text'), ('bool', 'bool'), ('object', 'jsonb')) AS v (property, type);
