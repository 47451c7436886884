-- values of Airbyte records in a database that does not store UTF-8: what its encoding cannot hold
-- is nulled. A record is in UTF-8 in any case; so is what comes out here, in hex if need be.
CREATE TEMP TABLE cases (property text, kind text, value bytea, latin1 text, ascii text, type regtype DEFAULT 0,
	typmod int DEFAULT -1);
-- ä is \xc3a4, € is \xe282ac
INSERT INTO cases VALUES
	('varchar', 'string', 'plain', 'plain', 'plain'), ('varchar', 'string', '\x61c3a462', '\x61e462', '\x61c3a462'),
	('varchar', 'string', '\xe282ac', 'SERIALIZATION', '\xe282ac'), ('varchar', 'string', '\x61e4', 'SERIALIZATION', 'SERIALIZATION'),
	('varchar', 'string', convert_to('a' || repeat('b', 100000), 'UTF8') || '\xc3a4', '\x61' || repeat('62', 100000) || 'e4',
		'\x61' || repeat('62', 100000) || 'c3a4'),
	('varchar', 'string', ('\x61' || repeat('c3a4', 100000))::bytea, '\x61' || repeat('e4', 100000), '\x61' || repeat('c3a4', 100000)),
	('varchar', 'string', ('\x' || repeat('c3a4', 100000) || 'e282ac')::bytea, 'SERIALIZATION',
		'\x' || repeat('c3a4', 100000) || 'e282ac'),
	('varchar', 'raw', '\x7b22c3a4223a225c7530306534227d', '\x7b22e4223a225c7530306534227d', '\x7b22c3a4223a225c7530306534227d'),
	('varchar', 'raw', '\x5b22e282ac225d', 'SERIALIZATION', '\x5b22e282ac225d'),
	('object', 'raw', '\x7b22c3a4223a225c7530306534227d', '\x7b22e4223a2022e4227d', '\x7b22c3a4223a2022c3a4227d'),
	('json', 'raw', '"\\u20ac"', 'SERIALIZATION', '\x22e282ac22'), ('json', 'raw', '\x22e282ac22', 'SERIALIZATION', '\x22e282ac22'),
	('json', 'raw', '"\\ud83d\\ude00"', 'SERIALIZATION', '\x22f09f988022'), ('json', 'raw', '"a\\u0000\\u0041"', '"aA"', '"aA"'),
	('json', 'string', '\xc3a4', '\x22e422', '\x22c3a422'), ('json', 'string', '\xe282ac', 'SERIALIZATION', '\x22e282ac22'),
	('bigint', 'string', '\xc3a4', 'SERIALIZATION', 'SERIALIZATION'), ('date', 'string', '\x323032342d30312d3032c3a4', 'SERIALIZATION', 'SERIALIZATION');
INSERT INTO cases VALUES
	('varchar', 'string', '\xc3a4c3a4c3a4', '\xe4e4e4', 'SIZE', 'varchar', 4 + 3), ('varchar', 'string', '\xc3a4c3a4', '\xe4e42020', '\xc3a4c3a4', 'bpchar', 4 + 4),
	('varchar', 'string', '\xe282ac', 'SERIALIZATION', '\xe282ac', 'bpchar', 4 + 3), ('varchar', 'string', '\xe282ac', 'SERIALIZATION', '\xe282ac', 'name', -1),
	('json', 'raw', '"\\u00e4"', '\xe4', '\xc3a4', 'text', -1), ('json', 'raw', '"\\u20ac"', 'SERIALIZATION', '\xe282ac', 'text', -1),
	('json', 'raw', '"\\u20ac"', '"\u20ac"', '"\u20ac"', 'json', -1), ('json', 'raw', '\x22c3a422', '\x22e422', '\x22c3a422', 'json', -1),
	('json', 'raw', '\x22e282ac22', 'SERIALIZATION', '\x22e282ac22', 'json', -1);

SELECT CASE WHEN convert_to(result, :'encoding') = CASE expected
		WHEN 'SERIALIZATION' THEN 'NULL DESTINATION_SERIALIZATION_ERROR'::bytea
		WHEN 'SIZE' THEN 'NULL DESTINATION_FIELD_SIZE_LIMITATION'
		ELSE CASE WHEN expected LIKE '\\x%' THEN expected::bytea ELSE convert_to(expected, :'encoding') END END
	THEN 'ok ' ELSE 'FAIL ' END || format('airbyte in %s: %s %s %s in %s %s: %s', :'encoding', property, kind, left(value::text, 60),
		type, typmod, left(convert_to(result, :'encoding')::text, 100))
FROM cases, airbyte_convert(property, kind, value, type, typmod) AS result,
	LATERAL (SELECT CASE :'encoding' WHEN 'LATIN1' THEN latin1 ELSE ascii END) AS e (expected);
