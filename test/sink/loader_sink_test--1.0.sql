-- Put rows into rel through a sink: 'auto', 'heap' or 'executor'. data is two-dimensional, a row
-- per line; '<absent>' marks a column that the row does not bring. An error names its line.
CREATE FUNCTION sink_load(rel regclass, kind text, cols text[], data text[],
	OUT inserted bigint, OUT sink text, OUT reason text)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE;

-- The same with rows made up here (bigint, integer, text), to measure the sink alone.
CREATE FUNCTION sink_generate(rel regclass, kind text, n bigint) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT;

-- Fill the columns of rel with the rows of each query (the same types), one sink after the other: as
-- pages if storage_sink is 'on' and they can go so, else through buffers. With another table of these
-- columns, made by this transaction, the rows go into that, frozen. Returns the sink.
CREATE FUNCTION sink_fill(rel regclass, into_rel regclass, storage_sink text, builds_indexes boolean,
	VARIADIC queries text[]) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE;

-- Build the indexes of rel, which have no entries.
CREATE FUNCTION sink_index(rel regclass) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT;

-- What loader.index_memory would say, in kB.
CREATE FUNCTION sink_index_memory(kb int) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT;

-- How rel can be replaced: 'swap', 'diff' or 'refill', and why not by a swap.
CREATE FUNCTION swap_choose(rel regclass, OUT way text, OUT reason text)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT;

-- Make a swap heap of rel, fill its columns with the rows of each query (the same types, one sink
-- after the other), complete it.
CREATE FUNCTION swap_make(rel regclass, cols text[], VARIADIC queries text[],
	OUT heap oid, OUT fingerprint bigint)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT;

-- Put it into rel: both parts, with the locks between them. Returns ms under the strong lock.
CREATE FUNCTION swap_exchange(rel regclass, heap oid, fingerprint bigint) RETURNS float8
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT;

-- What the first part wants locked before the second.
CREATE FUNCTION swap_relations(rel regclass, heap oid, fingerprint bigint) RETURNS regclass[]
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT;

CREATE FUNCTION swap_report(rel regclass) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT;

CREATE FUNCTION swap_drop(heap oid) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT;

CREATE FUNCTION swap_heaps() RETURNS int
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT;
