-- Put rows into rel through a sink: 'auto', 'heap' or 'executor'. data is two-dimensional, a row
-- per line; '<absent>' marks a column that the row does not bring. An error names its line.
CREATE FUNCTION sink_load(rel regclass, kind text, cols text[], data text[],
	OUT inserted bigint, OUT sink text, OUT reason text)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE;

-- The same with rows made up here (bigint, integer, text), to measure the sink alone.
CREATE FUNCTION sink_generate(rel regclass, kind text, n bigint) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT;
