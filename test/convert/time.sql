-- nanoseconds per value: ours, the input function's (with the verification that COPY does too), and
-- how many times faster ours is; the best of five runs
SELECT name, typmod, round(min(ours)::numeric, 1) AS ours, round(min(theirs)::numeric, 1) AS theirs,
	round((min(theirs) / min(ours))::numeric, 1) AS ratio
FROM (VALUES
	(1, 'int2', 'int2', -1, ARRAY['1', '-200', '32000']),
	(2, 'int4', 'int4', -1, ARRAY['1', '-20055', '3200077', '1500000000']),
	(3, 'int8', 'int8', -1, ARRAY['1', '123456789', '-9876543210123', '1234567890123456789']),
	(4, 'float8, short', 'float8', -1, ARRAY['1.5', '0.25', '-123.456', '99999.99']),
	(5, 'float8, 17 digits', 'float8', -1,
		ARRAY['0.12345678901234567', '123.45678901234567', '-9.8765432109876543', '5.1234567890123456e-05']),
	(6, 'float4, short', 'float4', -1, ARRAY['1.5', '0.25', '-123.456', '99999.99']),
	(7, 'float4, 9 digits', 'float4', -1, ARRAY['1.23456789', '0.333333343']),
	(8, 'numeric', 'numeric', -1, ARRAY['1', '17.25', '-12345.67', '901234567.123456789']),
	(9, 'numeric(38,9)', 'numeric', (38 << 16 | 9) + 4, ARRAY['1', '17.25', '-12345.67', '901234567.123456789']),
	(10, 'numeric(156,78)', 'numeric', (156 << 16 | 78) + 4, ARRAY['123456789012345678901234567890', '1']),
	(11, 'bool', 'bool', -1, ARRAY['true', 'False', 't', '0']),
	(12, 'date', 'date', -1, ARRAY['2024-01-02', '1998-12-01']),
	(13, 'time', 'time', -1, ARRAY['12:34:56', '12:34:56.123456']),
	(14, 'timestamp', 'timestamp', -1, ARRAY['2024-01-02 12:34:56', '2024-01-02T12:34:56.123456']),
	(15, 'timestamptz', 'timestamptz', -1, ARRAY['2024-01-02T12:34:56Z', '2024-01-02T12:34:56.123456+00:00']),
	(16, 'timestamptz(3)', 'timestamptz', 3, ARRAY['2024-01-02T12:34:56Z', '2024-01-02T12:34:56.123456+00:00']),
	(17, 'text, short', 'text', -1, ARRAY['hello', 'carefully final deposits', 'R']),
	(18, 'text, 1000 bytes', 'text', -1, ARRAY[repeat('hello wo', 125)]),
	(19, 'text, not ASCII', 'text', -1, ARRAY[repeat('hällo wo', 12)]),
	(20, 'varchar(40)', 'varchar', 44, ARRAY['hello', 'DELIVER IN PERSON', 'TRUCK']),
	(21, 'bytea, 32 bytes', 'bytea', -1, ARRAY['\x' || repeat('deadbeef', 8)]),
	(22, 'jsonb, short', 'jsonb', -1, ARRAY['{"a": 1}', '[]', '"text"']),
	(25, 'jsonb, 10 keys', 'jsonb', -1, ARRAY['{"name": "somebody", "age": 21, "ok": true, "city": "Berlin", "price": 12345.67, "tags": ["a", "b", "c"], "none": null, "address": {"street": "Main Street", "no": 12}, "zip": "10115", "at": "2024-01-02T12:34:56Z"}']),
	(26, 'jsonb, not ASCII', 'jsonb', -1, ARRAY['{"name": "Jürgen", "city": "München", "note": "a \"quoted\" word"}']),
	(27, 'json, 10 keys', 'json', -1, ARRAY['{"name": "somebody", "age": 21, "ok": true, "city": "Berlin", "price": 12345.67, "tags": ["a", "b", "c"], "none": null, "address": {"street": "Main Street", "no": 12}, "zip": "10115", "at": "2024-01-02T12:34:56Z"}']),
	(23, 'uuid', 'uuid', -1, ARRAY['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']),
	(24, 'char(10)', 'bpchar', 14, ARRAY['R', 'TRUCK'])
	) AS v (i, name, type, typmod, samples),
	generate_series(1, 5) AS run,
	convert_time(type::regtype, typmod, samples, 40000 + run)
GROUP BY i, name, typmod ORDER BY i;

-- the same for fields of Airbyte records
SELECT name, round(min(ours)::numeric, 1) AS ours
FROM (VALUES
	(1, 'bigint', 'bigint', 'bare', 0, ARRAY['1', '123456789', '-9876543210123', '1234567890123456789']),
	(2, 'numeric', 'numeric', 'bare', 0, ARRAY['1', '17.25', '-12345.67', '901234567.123456789']),
	(3, 'bool', 'bool', 'bare', 0, ARRAY['true', 'false']),
	(4, 'varchar, short', 'varchar', 'string', 0, ARRAY['hello', 'carefully final deposits', 'R']),
	(5, 'varchar, 1000 bytes', 'varchar', 'string', 0, ARRAY[repeat('hello wo', 125)]),
	(6, 'varchar, not ASCII', 'varchar', 'string', 0, ARRAY[repeat('hällo wo', 12)]),
	(7, 'date', 'date', 'string', 0, ARRAY['2024-01-02', '1998-12-01']),
	(8, 'time', 'time', 'string', 0, ARRAY['12:34:56', '12:34:56.123456']),
	(9, 'timetz', 'timetz', 'string', 0, ARRAY['12:34:56+00:00', '12:34:56.123456Z']),
	(10, 'timestamp', 'timestamp', 'string', 0, ARRAY['2024-01-02T12:34:56', '2024-01-02 12:34:56.123456']),
	(11, 'timestamptz', 'timestamptz', 'string', 0, ARRAY['2026-11-22T20:05:50+00:00']),
	(12, 'timestamptz, fraction', 'timestamptz', 'string', 0, ARRAY['2026-11-22T20:05:50.123456Z']),
	(13, 'object', 'object', 'raw', 0, ARRAY['{"a": 1}']),
	(14, 'object, 400 bytes', 'object', 'raw', 0, ARRAY['{' || repeat('"name": "somebody", "age": 21, "ok": true, ', 9) || '"z": null}']),
	(15, 'varchar in int4 (caught)', 'varchar', 'string', 'int4'::regtype, ARRAY['1', '12345']),
	(16, 'varchar in int4 (error)', 'varchar', 'string', 'int4'::regtype, ARRAY['x'])
	) AS v (i, name, property, kind, type, samples),
	generate_series(1, 5) AS run,
	LATERAL (SELECT airbyte_time(property, kind, samples, 20000 + run, type)) AS t (ours)
GROUP BY i, name ORDER BY i;

-- nanoseconds per row: as a tuple, and by way of Datums
CREATE TEMP TABLE lineitem (l_orderkey int8, l_partkey int8, l_suppkey int8, l_linenumber int4,
	l_quantity numeric(15,2), l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2),
	l_returnflag text, l_linestatus text, l_shipdate date, l_commitdate date, l_receiptdate date,
	l_shipinstruct text, l_shipmode text, l_comment text);
CREATE TEMP TABLE events (id int8, name text, user_id uuid, at timestamptz, value float8, ok bool,
	country varchar(2), day date, city text, note text);
SELECT rel AS row, round(min(formed)) AS formed, round(min(datums)) AS datums,
	round((min(datums) / min(formed))::numeric, 1) AS ratio
FROM (VALUES
	('lineitem', ARRAY['155190', '7706', '1234567', '1', '17.00', '21168.23', '0.04', '0.02', 'N', 'O',
		'1996-03-13', '1996-02-12', '1996-03-22', 'DELIVER IN PERSON', 'TRUCK', 'egular courts above the']),
	('events', ARRAY['1234567', 'page_view', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
		'2024-01-02T12:34:56.123456+00:00', '123.456', 'true', 'DE', '2024-01-02', 'München', ''])
	) AS v (rel, samples),
	generate_series(1, 5) AS run,
	convert_form_time(rel::regclass, samples, 200000 + run)
GROUP BY rel ORDER BY rel DESC;
