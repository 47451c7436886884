-- random values of the types in which the encoding of the file matters
SELECT CASE WHEN r.differences = 0 THEN 'ok ' ELSE 'FAIL ' END
	|| format('%s from %s: %s random %s %s: %s differences, %s errors, %s without input function %s',
		current_setting('server_encoding'), :'encoding', :n, c.type, c.typmod,
		r.differences, r.errors, r.fast, r.example)
FROM (VALUES ('text', -1), ('varchar', 9), ('varchar', 44), ('bpchar', 9), ('bytea', -1),
	('jsonb', -1), ('numeric', -1), ('timestamptz', -1)) AS c (type, typmod),
	convert_random(c.type::regtype, c.typmod, :n, 7 + c.typmod, :'encoding') r;
