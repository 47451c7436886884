-- Merge the chain of a root table of the schema from staging into dataset. how: 'merge', 'dry run',
-- 'check', 'diff', 'refill' (of the whole chain). Tables that have to be there are made before.
CREATE FUNCTION test_merge(schema_json text, root text, dataset text, staging text,
	created_at text DEFAULT NULL, how text DEFAULT 'merge',
	OUT tab text, OUT inserted bigint, OUT updated bigint, OUT deleted bigint)
RETURNS SETOF record AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE;

-- The same, with the statements as result.
CREATE FUNCTION test_statements(schema_json text, root text, dataset text, staging text,
	created_at text DEFAULT NULL, how text DEFAULT 'dry run') RETURNS SETOF text
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE;

-- CREATE TABLE statements for all tables of the schema, as the loader makes them.
CREATE FUNCTION test_ddl(schema_json text, dataset text, create_indexes boolean DEFAULT false)
RETURNS SETOF text AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT;
