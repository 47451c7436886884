-- One name by the rule for all names.
CREATE FUNCTION test_identifier(name text) RETURNS text AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT;

-- The tables and columns of a configured catalog; a table without properties is one row.
CREATE FUNCTION test_names(catalog text, schema text DEFAULT 'public',
	OUT dataset text, OUT tab text, OUT property text, OUT col text)
RETURNS SETOF record AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT;
