-- Names of tables and columns for Airbyte streams. Texts are written in ASCII, so that any encoding
-- of the client will do.
\set SHOW_CONTEXT never
CREATE EXTENSION loader_names_test;

-- The rule.
SELECT what, test_identifier(name) FROM (VALUES
	(1, 'plain_Name9', 'plain_Name9'),
	(2, 'letter case: ABC abc', 'ABC abc'),
	(3, 'a run of white space', E'a \t\n\x0B\f\r b'),
	(4, 'white space at the ends', ' a '),
	(5, 'other characters, each', 'a--b..c$'),
	(6, 'a digit at the start', '2nd'),
	(7, 'nothing', ''),
	(8, 'a space only', ' '),
	(9, 'accents', U&'na\00EFve caf\00E9'),
	(10, 'accents that are decomposed', U&'nai\0308ve cafe\0301'),
	(11, 'marks only', U&'\0301\0302'),
	(12, 'a mark in a run of spaces', U&'a \0301 b'),
	(13, 'no mark of its own, but a space with one', U&'a\00A8b'),
	(14, 'sharp s, o with stroke', U&'Gro\00DFe S\00F8r'),
	(15, 'full width, ligature, circled', U&'\FF21\FF11\FB01\2460'),
	(16, 'superscript digit at the start', U&'\00B2nd'),
	(17, 'no-break space, em space', U&'a\00A0b\2003c\2003\2003d'),
	(18, 'line separator, which is no white space', U&'a\2028\2028b'),
	(19, 'Cyrillic with a breve', U&'\0439\0418'),
	(20, 'Devanagari with vowel signs and virama', U&'\0939\093F\0928\094D\0926\0940'),
	(21, 'Hangul: two letters, three letters', U&'\AC00\AC01'),
	(22, 'beyond 16 bits: an emoji, a bold A', U&'\+01F600\+01D400'),
	(23, 'mark beyond 16 bits', U&'a\+01E8D0b'),
	(24, 'quote, backslash, percent', '"\%'))
	AS t (n, what, name) ORDER BY n;

-- 63 characters stay, 64 do not; the rest is a hash of the whole, of eight digits at most.
SELECT n, length(id), id FROM (VALUES (1, repeat('x', 63)), (2, repeat('x', 64)),
	(3, repeat('x', 65)), (4, '1' || repeat('x', 62)), (5, '1' || repeat('x', 63)),
	(6, repeat(U&'\00E9', 63)), (7, repeat(U&'\00E9', 64)),
	-- hashes -4779232, 30176 and 1801101152 of Java
	(8, repeat('n', 60) || 'egerxby'), (9, repeat('n', 60) || 'jbknend'),
	(10, repeat('n', 60) || 'bmgldgs'))
	AS t (n, name), test_identifier(name) AS id ORDER BY n;

-- Tables: the namespace or the schema, by the same rule; another name by the catalog.
\set entry '"sync_mode": "full_refresh", "destination_sync_mode": "append"'
SELECT dataset, tab FROM test_names(format('{"streams": [
	{"stream": {"name": "users"}, %1$s},
	{"stream": {"name": "Users"}, %1$s},
	{"stream": {"name": "users", "namespace": "my-space"}, %1$s},
	{"stream": {"name": "others", "namespace": ""}, %1$s, "destination_object_name": "other 1"},
	{"stream": {"name": "2\u00e8me"}, %1$s}]}', :'entry'), 'a schema');

-- Columns: what needs no change keeps its name, wherever it stands; ours are taken.
SELECT property, col FROM test_names(format('{"streams": [
	{"stream": {"name": "s", "json_schema": {"properties": {
		"a b": {}, "a-b": {}, "a_b": {}, "a_b_1": {}, "A_b": {}, "a.b": {},
		"_airbyte_raw_id": {}, "_airbyte_raw_id_1": {}, "_airbyte-meta": {}, "_AIRBYTE_META": {},
		"_airbyte_extracted_at": {}, "_airbyte_generation_id": {}, "_airbyte_loaded_at": {},
		"": {}, "_": {}, " ": {}, "1": {}, "_1": {}, "ctid": {}}}}, %s}]}', :'entry'));

-- Suffixes of names that are as long as a name can be.
SELECT right(property, 4) AS property, length(col), left(col, 56) AS start, right(col, 7)
FROM test_names(format('{"streams": [
	{"stream": {"name": "s", "json_schema": {"properties": {%s}}}, %s}]}',
	(SELECT string_agg(format('"%s%s": {}', repeat('y', 62), chr(32 + i)), ', ' ORDER BY i)
		FROM generate_series(1, 15) i WHERE i <> 2), :'entry'));

-- The same in each of two streams; as many as a table takes, all of one name.
SELECT count(*), count(DISTINCT (tab, col)), min(length(col)), max(length(col)),
	bool_and(col ~ '^_(_[0-9]+)?$')
FROM test_names(format('{"streams": [
	{"stream": {"name": "a", "json_schema": {"properties": {%1$s}}}, %2$s},
	{"stream": {"name": "b", "json_schema": {"properties": {%1$s}}}, %2$s}]}',
	(SELECT string_agg(format('"\u%s": {}', lpad(to_hex(19968 + i), 4, '0')), ', ')
		FROM generate_series(1, 1500) i), :'entry'));

-- Two streams of one table.
SELECT * FROM test_names(format('{"streams": [
	{"stream": {"name": "a b"}, %1$s},
	{"stream": {"name": "c"}, %1$s},
	{"stream": {"name": "a-b", "namespace": "public"}, %1$s}]}', :'entry'));
SELECT * FROM test_names(format('{"streams": [
	{"stream": {"name": "%1$s1", "namespace": "%1$s"}, %2$s},
	{"stream": {"name": "other", "namespace": "%1$s"}, "destination_object_name": "%1$s1", %2$s}]}',
	repeat('long ', 20), :'entry'));

DROP EXTENSION loader_names_test;
