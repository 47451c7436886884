-- loader_convert_test: see loader_convert_test.c

-- 'same', or what differs between our converter and the input function
CREATE FUNCTION convert_compare(type regtype, typmod int, value text, format text DEFAULT 'csv')
RETURNS text LANGUAGE C STRICT AS 'MODULE_PATHNAME';

-- the same for the bytes of a file in some encoding
CREATE FUNCTION convert_compare_bytes(type regtype, typmod int, value bytea,
	format text DEFAULT 'csv', encoding name DEFAULT 'UTF8')
RETURNS text LANGUAGE C STRICT AS 'MODULE_PATHNAME';

-- n random values of the type: how many of them differ, how many raised errors, how many did not
-- need the input function, and the first that differs
CREATE FUNCTION convert_random(type regtype, typmod int, n bigint, seed int,
	encoding name DEFAULT 'UTF8',
	OUT differences bigint, OUT errors bigint, OUT fast bigint, OUT example text)
LANGUAGE C STRICT AS 'MODULE_PATHNAME';

-- what our converter makes of a value of a bytea column
CREATE FUNCTION convert_bytea(value text, format text DEFAULT 'jsonl')
RETURNS bytea LANGUAGE C STRICT AS 'MODULE_PATHNAME';

-- nanoseconds per value: ours and the input function's, n rounds over the values
CREATE FUNCTION convert_time(type regtype, typmod int, samples text[], n bigint,
	OUT ours float8, OUT theirs float8)
LANGUAGE C STRICT AS 'MODULE_PATHNAME';

-- what becomes of a field of an Airbyte record (kind: null, absent, bare, string, raw, invalid) in a
-- column of the type that its property asks for, or another: the value, or NULL and the reason
CREATE FUNCTION airbyte_convert(property text, kind text, value bytea, type regtype DEFAULT 0,
	typmod int DEFAULT -1)
RETURNS text LANGUAGE C STRICT AS 'MODULE_PATHNAME';

-- n random values of a property: how many differ from what the type's input function makes of them,
-- how many became NULL, and the first that differs
CREATE FUNCTION airbyte_random(property text, typmod int, n bigint, seed int,
	OUT differences bigint, OUT nulls bigint, OUT example text)
LANGUAGE C STRICT AS 'MODULE_PATHNAME';

-- n random strings, which need not be valid for anything: how many became values
CREATE FUNCTION airbyte_junk(property text, type regtype, typmod int, n bigint, seed int)
RETURNS bigint LANGUAGE C STRICT AS 'MODULE_PATHNAME';

-- nanoseconds per value, n rounds over the values
CREATE FUNCTION airbyte_time(property text, kind text, samples text[], n bigint,
	type regtype DEFAULT 0)
RETURNS float8 LANGUAGE C STRICT AS 'MODULE_PATHNAME';

-- n rows of random values of the table's columns (but those named missing...), as one tuple: how many
-- were formed, left to the other way, or raised an error, and how many of them differ from what the
-- input functions and heap_form_tuple do. One field in nulls is NULL, one in longs is long; 0: none.
CREATE FUNCTION convert_form(rel regclass, n bigint, seed int, nulls int DEFAULT 0,
	longs int DEFAULT 0, reverse boolean DEFAULT false, jsonl boolean DEFAULT false,
	encoding name DEFAULT 'UTF8',
	OUT formed bigint, OUT others bigint, OUT errors bigint, OUT differences bigint,
	OUT example text)
LANGUAGE C STRICT AS 'MODULE_PATHNAME';
