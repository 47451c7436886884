-- Merged tables: each strategy with its hints, on small packages; what was read, inserted, updated and deleted.
SET client_min_messages = error;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SELECT test.forget();	-- what other scripts have loaded
CREATE VIEW test.merged AS
SELECT p.load_id, t.table_name AS "table", t.strategy, t.stage, t.rows_read AS read, t.rows_inserted AS inserted, t.rows_updated AS updated, t.rows_deleted AS deleted
FROM loader.tables t JOIN loader.packages p USING (package_id);
CREATE FUNCTION test.statements(name text, dataset text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT object || '': '' || detail FROM loader_plan(%L, %L) WHERE action = ''statement'' ORDER BY step', test.path(name), dataset);
END $$;
-- A package of one table, or of one with a table nested in it; its state says when it was made.
CREATE PROCEDURE test.merge(name text, root text, rows text, nested text DEFAULT NULL, nested_rows text DEFAULT NULL, created_at text DEFAULT '2024-02-03T04:05:06.789Z')
LANGUAGE plpgsql AS $$
DECLARE
	jobs text[] := ARRAY[split_part(root, ':', 1) || '.a.0.csv', rows];
BEGIN
	IF nested_rows IS NOT NULL THEN
		jobs := jobs || ARRAY[split_part(nested, ':', 1) || '.a.0.csv', nested_rows];
	END IF;
	CALL test.package(name, test.schema('m', VARIADIC CASE WHEN nested IS NULL THEN ARRAY[root] ELSE ARRAY[root, nested] END), VARIADIC jobs);
	CALL test.file(name || '/load_package_state.json', format('{"created_at": %s}', to_json(created_at)));
END $$;
\set kids '''tree__kids: v text, _dlt_root_id text! +root_key, _dlt_parent_id text! +parent_key, _dlt_list_idx bigint!, _dlt_id text!~ +row_key; parent="tree"'''
\set tree '''tree: id bigint! +primary_key, name text, at bigint +dedup_sort="desc", gone bool +hard_delete, _dlt_load_id text!, _dlt_id text!~ +row_key; write_disposition="merge"'''
\set head 'id,name,at,gone,_dlt_load_id,_dlt_id\n'
\set kids_head 'v,_dlt_root_id,_dlt_parent_id,_dlt_list_idx,_dlt_id\n'

-- delete-insert: by primary key, newest of each key, and without those that are marked as deleted; nested rows come and go with their roots.
CALL test.merge('1.1', :tree, E:'head' || E'1,one,1,,1.1,a\n2,two,1,,1.1,b\n3,three,1,false,1.1,c\n', :kids, E:'kids_head' || E'x,a,a,0,ax\ny,b,b,0,by\nz,c,c,0,cz\n');
CALL test.load('1.1', 'di');
CALL test.merge('1.2', :tree, E:'head' || E'1,uno,1,,1.2,d\n1,Uno,3,,1.2,e\n1,UNO,2,,1.2,f\n2,,9,true,1.2,g\n4,,1,true,1.2,h\n5,five,1,,1.2,i\n', :kids, E:'kids_head' || E'x,e,e,0,ex\nxx,e,e,1,exx\nno,d,d,0,dx\ngone,g,g,0,gx\n');
SELECT test.statements('1.2', 'di');
CALL test.load('1.2', 'di');
SELECT id, name, at, gone, _dlt_load_id, _dlt_id FROM di.tree ORDER BY id;
SELECT v, _dlt_root_id FROM di.tree__kids ORDER BY v;
-- nested rows may be missing from the package: those of changed roots go
CALL test.merge('1.3', :tree, E:'head' || E'1,ein,1,,1.3,j\n', :kids);
CALL test.load('1.3', 'di');
SELECT v, _dlt_root_id FROM di.tree__kids ORDER BY v;
SELECT * FROM test.merged ORDER BY load_id, "table";
SELECT j.table_name, j.kind, j.state, j.rows_read, j.rows_inserted FROM loader.jobs j JOIN loader.packages p USING (package_id) WHERE p.load_id = '1.2' ORDER BY 1, 2;
-- what stays in the staging dataset
SELECT id, name, _dlt_id FROM di_staging.tree;
SELECT count(*) FROM di_staging.tree__kids;
SELECT schema_name, version, jsonb_object_keys(schema::jsonb->'tables') AS "table" FROM di_staging._dlt_version ORDER BY 3;

-- delete-insert by other keys: merge key, both, compound, none; where a filter and a scope say what.
CALL test.merge('2.1', 'by_merge_key: day date! +merge_key, n bigint, _dlt_load_id text!, _dlt_id text!~ +row_key; write_disposition="merge"', E'day,n,_dlt_load_id,_dlt_id\n2024-01-01,1,1,a\n2024-01-01,2,1,b\n2024-01-02,3,1,c\n');
CALL test.load('2.1', 'keys');
CALL test.merge('2.2', 'by_merge_key: day date! +merge_key, n bigint, _dlt_load_id text!, _dlt_id text!~ +row_key; write_disposition="merge"', E'day,n,_dlt_load_id,_dlt_id\n2024-01-01,4,2,d\n2024-01-01,4,2,e\n');
CALL test.load('2.2', 'keys');
SELECT day, n FROM keys.by_merge_key ORDER BY n;
CALL test.merge('2.3', 'by_both: day date! +merge_key, id bigint +primary_key, n bigint; write_disposition="merge"', E'day,id,n\n2024-01-01,1,1\n2024-01-01,2,2\n2024-01-02,3,3\n2024-01-03,4,4\n');
CALL test.load('2.3', 'keys');
CALL test.merge('2.4', 'by_both: day date! +merge_key, id bigint +primary_key, n bigint; write_disposition="merge"', E'day,id,n\n2024-01-01,3,30\n');
SELECT test.statements('2.4', 'keys');
CALL test.load('2.4', 'keys');
SELECT * FROM keys.by_both ORDER BY id;
CALL test.merge('2.5', 'by_two: a bigint +primary_key, b text +primary_key, n bigint; write_disposition="merge"', E'a,b,n\n1,x,1\n1,y,2\n2,x,3\n,x,4\n,x,5\n');
CALL test.load('2.5', 'keys');
CALL test.merge('2.6', 'by_two: a bigint +primary_key, b text +primary_key, n bigint; write_disposition="merge"', E'a,b,n\n1,y,20\n,x,40\n,x,50\n');
CALL test.load('2.6', 'keys');
-- keys that are NULL match nothing, but of the staged ones one is kept
SELECT a, b, n > 5 AS new, count(*) FROM keys.by_two GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
CALL test.merge('2.7', 'no_key: v text; write_disposition="merge"', E'v\nx\nx\n');
CALL test.load('2.7', 'keys');
CALL test.merge('2.8', 'no_key: v text; write_disposition="merge"', E'v\nx\ny\n');
CALL test.load('2.8', 'keys');
SELECT v, count(*) FROM keys.no_key GROUP BY v ORDER BY v;
CALL test.merge('2.91', 'scoped: id bigint, region text, n bigint; write_disposition="merge", x-merge-destination-scope="{table}.region IN (SELECT region FROM {staging_table})", x-merge-source-filter="n > 0"',
	E'id,region,n\n1,eu,1\n2,eu,2\n3,us,3\n4,us,-4\n');
CALL test.load('2.91', 'keys');
CALL test.merge('2.92', 'scoped: id bigint, region text, n bigint; write_disposition="merge", x-merge-destination-scope="{table}.region IN (SELECT region FROM {staging_table})", x-merge-source-filter="n > 0"',
	E'id,region,n\n5,eu,5\n6,eu,-6\n');
SELECT test.statements('2.92', 'keys');
CALL test.load('2.92', 'keys');
SELECT * FROM keys.scoped ORDER BY id;
-- a marked row, where any value marks it
CALL test.merge('2.93', 'marked: id bigint +primary_key, gone timestamp +hard_delete; write_disposition="merge"', E'id,gone\n1,\n2,\n3,\n');
CALL test.load('2.93', 'keys');
CALL test.merge('2.94', 'marked: id bigint +primary_key, gone timestamp +hard_delete; write_disposition="merge"', E'id,gone\n2,2024-01-01T00:00:00Z\n4,\n');
CALL test.load('2.94', 'keys');
SELECT * FROM keys.marked ORDER BY id;
SELECT * FROM test.merged WHERE load_id LIKE '2.%' ORDER BY load_id;
-- a condition that is an expression, but not of this table, or not boolean: the follow-up job fails, and with it the package
CREATE FUNCTION test.failed(name text, dataset text, OUT code text, OUT message text, OUT detail text, OUT hint text, OUT jobs text) LANGUAGE sql AS $$
SELECT p.sqlstate, test.hide(p.message), test.hide(p.detail), p.hint, (SELECT string_agg(j.kind || ' ' || j.state || coalesce(' ' || j.sqlstate, ''), ', ' ORDER BY j.kind, j.file_name)
	FROM loader.jobs j WHERE j.package_id = p.package_id) FROM loader.packages p WHERE p.load_id = name AND p.dataset = $2 $$;
CREATE PROCEDURE test.fail(name text, dataset text) LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
BEGIN
	id := loader_start(test.path(name), dataset);
	COMMIT;
	PERFORM loader_wait(id, '600s');
END $$;
\pset expanded on
CALL test.merge('2.95', 'scoped: id bigint, region text, n bigint; write_disposition="merge", x-merge-destination-scope="{table}.area = ''eu''"', E'id,region,n\n7,eu,7\n');
CALL test.fail('2.95', 'keys');
SELECT * FROM test.failed('2.95', 'keys');
SELECT test.forget();
CALL test.merge('2.96', 'scoped: id bigint, region text, n bigint; write_disposition="merge", x-merge-source-filter="n + 1"', E'id,region,n\n7,eu,7\n');
CALL test.fail('2.96', 'keys');
SELECT * FROM test.failed('2.96', 'keys');
SELECT test.forget();
\pset expanded off
SELECT count(*) FROM keys.scoped;

-- upsert: matched rows are updated, the others inserted; nested rows that are gone go.
\set tree '''tree: id bigint! +primary_key, name text, gone bool +hard_delete, _dlt_load_id text!, _dlt_id text!~ +row_key; write_disposition="merge", x-merge-strategy="upsert"'''
\set head 'id,name,gone,_dlt_load_id,_dlt_id\n'
CALL test.merge('3.1', :tree, E:'head' || E'1,one,,3.1,a\n2,two,,3.1,b\n3,three,,3.1,c\n', :kids, E:'kids_head' || E'x,a,a,0,ax\ny,b,b,0,by\nz,c,c,0,cz\nz,c,c,1,czz\n');
CALL test.load('3.1', 'up');
CALL test.merge('3.2', :tree, E:'head' || E'1,uno,,3.2,a\n2,,true,3.2,b\n3,three,,3.2,c\n4,four,false,3.2,d\n5,,true,3.2,e\n', :kids, E:'kids_head' || E'X,a,a,0,ax\nnew,a,a,1,axx\nz,c,c,0,cz\n');
SELECT test.statements('3.2', 'up');
CALL test.load('3.2', 'up');
SELECT id, name, gone, _dlt_load_id FROM up.tree ORDER BY id;
SELECT v, _dlt_root_id, _dlt_list_idx, _dlt_id FROM up.tree__kids ORDER BY _dlt_id;
-- two rows for one: an error of the follow-up job; the staged rows stay unpublished
CALL test.merge('3.3', :tree, E:'head' || E'1,eins,,3.3,a\n1,zwei,,3.3,aa\n', :kids);
\pset expanded on
CALL test.fail('3.3', 'up');
SELECT * FROM test.failed('3.3', 'up');
SELECT e.kind, regexp_replace(e.object, '\..*', '') AS object, e.detail FROM loader.events e JOIN loader.packages p USING (package_id) WHERE p.load_id = '3.3' ORDER BY event_id;
SELECT test.forget();
\pset expanded off
SELECT id, name FROM up.tree ORDER BY id;
SELECT count(*) FROM loader.stage;
-- unchanged rows are left alone
\set tree '''flat: id bigint! +primary_key, name text, n bigint, _dlt_load_id text!; write_disposition="merge", x-merge-strategy="upsert", x-merge-skip-unchanged-rows=true'''
CALL test.merge('3.4', :tree, E'id,name,n,_dlt_load_id\n1,a,1,3.4\n2,,2,3.4\n3,c,,3.4\n');
CALL test.load('3.4', 'up');
CALL test.merge('3.5', :tree, E'id,name,n,_dlt_load_id\n1,a,1,3.5\n2,,2,3.5\n3,c,3,3.5\n4,d,4,3.5\n');
CALL test.load('3.5', 'up');
SELECT * FROM up.flat ORDER BY id;
SELECT * FROM test.merged ORDER BY load_id, "table";
SELECT test.forget();

-- insert-only: nothing that is there changes.
\set tree '''tree: id bigint! +primary_key, name text, _dlt_load_id text!, _dlt_id text!~ +row_key; write_disposition="merge", x-merge-strategy="insert-only"'''
\set head 'id,name,_dlt_load_id,_dlt_id\n'
CALL test.merge('4.1', :tree, E:'head' || E'1,one,4.1,a\n', :kids, E:'kids_head' || E'x,a,a,0,ax\n');
CALL test.load('4.1', 'ins');
CALL test.merge('4.2', :tree, E:'head' || E'1,uno,4.2,a\n2,two,4.2,b\n', :kids, E:'kids_head' || E'X,a,a,0,ax\ny,b,b,0,by\n');
CALL test.load('4.2', 'ins');
SELECT id, name FROM ins.tree ORDER BY id;
SELECT v FROM ins.tree__kids ORDER BY v;
-- cdc: what the package does not have goes, within the scope or the merge key
\set tree '''tree: id bigint! +primary_key, name text, _dlt_load_id text!, _dlt_id text!~ +row_key; write_disposition="merge", x-merge-strategy="cdc"'''
CALL test.merge('4.3', :tree, E:'head' || E'2,due,4.3,b\n3,tre,4.3,c\n', :kids, E:'kids_head' || E'Y,b,b,0,by\n');
SELECT test.statements('4.3', 'ins');
CALL test.load('4.3', 'ins');
SELECT id, name FROM ins.tree ORDER BY id;
SELECT v FROM ins.tree__kids ORDER BY v;
CALL test.merge('4.4', 'flat: id bigint! +primary_key, region text +merge_key, n bigint; write_disposition="merge", x-merge-strategy="cdc"', E'id,region,n\n1,eu,1\n2,eu,2\n3,us,3\n');
CALL test.load('4.4', 'ins');
CALL test.merge('4.5', 'flat: id bigint! +primary_key, region text +merge_key, n bigint; write_disposition="merge", x-merge-strategy="cdc"', E'id,region,n\n2,eu,20\n4,eu,4\n');
CALL test.load('4.5', 'ins');
SELECT * FROM ins.flat ORDER BY id;
SELECT * FROM test.merged ORDER BY load_id, "table";
SELECT test.forget();

-- scd2: rows that changed or are gone are retired, their new versions valid from then on.
\set dim '''dim: id bigint, name text, _dlt_id text! +x-row-version, _dlt_load_id text!, _dlt_valid_from timestamp +x-valid-from, _dlt_valid_to timestamp +x-valid-to; write_disposition="merge", x-merge-strategy="scd2"'''
\set dim_kids '''dim__kids: v text, _dlt_parent_id text! +parent_key, _dlt_list_idx bigint!, _dlt_id text!~ +row_key; parent="dim"'''
CALL test.merge('5.1', :dim, E'id,name,_dlt_id,_dlt_load_id\n1,one,h1,5.1\n2,two,h2,5.1\n3,three,h3,5.1\n', :dim_kids, E'v,_dlt_parent_id,_dlt_list_idx,_dlt_id\nx,h1,0,k1\n', '2024-01-01T00:00:00Z');
CALL test.load('5.1', 'scd');
CALL test.merge('5.2', :dim, E'id,name,_dlt_id,_dlt_load_id\n1,uno,h1b,5.2\n2,two,h2,5.2\n', :dim_kids, E'v,_dlt_parent_id,_dlt_list_idx,_dlt_id\nX,h1b,0,k1b\n', '2024-02-01T00:00:00+01:00');
SELECT test.statements('5.2', 'scd');
CALL test.load('5.2', 'scd');
-- and one that comes back
CALL test.merge('5.3', :dim, E'id,name,_dlt_id,_dlt_load_id\n1,one,h1,5.3\n2,two,h2,5.3\n', :dim_kids, E'v,_dlt_parent_id,_dlt_list_idx,_dlt_id\nx,h1,0,k1\n', '2024-03-01');
CALL test.load('5.3', 'scd');
SELECT id, name, _dlt_load_id, _dlt_valid_from, _dlt_valid_to FROM scd.dim ORDER BY id, _dlt_valid_from;
SELECT v, _dlt_parent_id FROM scd.dim__kids ORDER BY v COLLATE "C";
-- other names, a date for what is valid, a boundary of its own; by merge key only what the package speaks of is retired
\set dim '''other: id bigint +merge_key, name text, h text! +x-row-version, since timestamp +x-valid-from, till timestamp +x-valid-to +x-active-record-timestamp="9999-12-31"; write_disposition="merge", x-merge-strategy="scd2", x-boundary-timestamp="2024-05-05T12:00:00"'''
CALL test.merge('5.4', :dim, E'id,name,h\n1,one,h1\n2,two,h2\n');
CALL test.load('5.4', 'scd');
CALL test.merge('5.5', :dim, E'id,name,h\n1,uno,h1b\n');
CALL test.load('5.5', 'scd');
SELECT * FROM scd.other ORDER BY id, name COLLATE "C";
SELECT * FROM test.merged ORDER BY load_id, "table";
-- the source filter of the root decides for nested rows, which know only their parents; not from any depth
CREATE FUNCTION test.nested(depth int) RETURNS text LANGUAGE sql AS $$
SELECT test.schema('m', VARIADIC ARRAY['d0: id bigint, _dlt_id text! +x-row-version, f timestamp +x-valid-from, t timestamp +x-valid-to; write_disposition="merge", x-merge-strategy="scd2", x-merge-source-filter="id > 1"']
	|| (SELECT array_agg(format('d%s: _dlt_id text! +row_key, _dlt_parent_id text! +parent_key; parent="d%s"', n, n - 1) ORDER BY n) FROM generate_series(1, depth) AS n)) $$;
CALL test.package('5.6', test.nested(3), 'd0.a.0.csv', E'id,_dlt_id\n1,a\n2,b\n', 'd1.a.0.csv', E'_dlt_id,_dlt_parent_id\na1,a\nb1,b\n',
	'd2.a.0.csv', E'_dlt_id,_dlt_parent_id\na2,a1\nb2,b1\n', 'd3.a.0.csv', E'_dlt_id,_dlt_parent_id\na3,a2\nb3,b2\n');
CALL test.file('5.6/load_package_state.json', '{"created_at": "2024-01-01"}');
CALL test.load('5.6', 'scd');
SELECT * FROM scd.d0 NATURAL FULL JOIN (SELECT _dlt_id FROM scd.d1 UNION ALL SELECT _dlt_id FROM scd.d2 UNION ALL SELECT _dlt_id FROM scd.d3) AS nested ORDER BY _dlt_id;
CALL test.package('5.7', test.nested(1000), 'd0.a.0.csv', E'id,_dlt_id\n1,a\n');
CALL test.file('5.7/load_package_state.json', '{"created_at": "2024-01-01"}');
SELECT * FROM test.refuse('5.7');
SELECT test.forget();

-- Tables that are somebody's: other types, domains, a type with an "=" of its own, and operators that lie in wait.
CREATE SCHEMA own;
CREATE DOMAIN own.code AS text CHECK (VALUE ~ '^[a-z]+$');
CREATE TYPE own.ci;
CREATE FUNCTION own.ci_in(cstring) RETURNS own.ci LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION own.ci_out(own.ci) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE FUNCTION own.ci_send(own.ci) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'textsend';
CREATE FUNCTION own.ci_recv(internal) RETURNS own.ci LANGUAGE internal IMMUTABLE STRICT AS 'textrecv';
CREATE TYPE own.ci (INPUT = own.ci_in, OUTPUT = own.ci_out, SEND = own.ci_send, RECEIVE = own.ci_recv, LIKE = text, COLLATABLE = true);
-- (with an implicit cast to text, as citext has it, SQL's own rules compare it as a text)
CREATE CAST (own.ci AS text) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (varchar AS own.ci) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (text AS own.ci) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE FUNCTION own.ci_cmp(own.ci, own.ci) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS 'SELECT pg_catalog.bttextcmp(pg_catalog.lower($1::text) COLLATE "C", pg_catalog.lower($2::text) COLLATE "C")';
CREATE FUNCTION own.ci_eq(own.ci, own.ci) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT own.ci_cmp($1, $2) OPERATOR(pg_catalog.=) 0';
CREATE FUNCTION own.ci_lt(own.ci, own.ci) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT own.ci_cmp($1, $2) OPERATOR(pg_catalog.<) 0';
CREATE FUNCTION own.ci_gt(own.ci, own.ci) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT own.ci_cmp($1, $2) OPERATOR(pg_catalog.>) 0';
CREATE FUNCTION own.ci_le(own.ci, own.ci) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT own.ci_cmp($1, $2) OPERATOR(pg_catalog.<=) 0';
CREATE FUNCTION own.ci_ge(own.ci, own.ci) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT own.ci_cmp($1, $2) OPERATOR(pg_catalog.>=) 0';
CREATE OPERATOR own.= (LEFTARG = own.ci, RIGHTARG = own.ci, FUNCTION = own.ci_eq, COMMUTATOR = OPERATOR(own.=), MERGES);
CREATE OPERATOR own.< (LEFTARG = own.ci, RIGHTARG = own.ci, FUNCTION = own.ci_lt);
CREATE OPERATOR own.> (LEFTARG = own.ci, RIGHTARG = own.ci, FUNCTION = own.ci_gt);
CREATE OPERATOR own.<= (LEFTARG = own.ci, RIGHTARG = own.ci, FUNCTION = own.ci_le);
CREATE OPERATOR own.>= (LEFTARG = own.ci, RIGHTARG = own.ci, FUNCTION = own.ci_ge);
CREATE OPERATOR CLASS own.ci_ops DEFAULT FOR TYPE own.ci USING btree AS
	OPERATOR 1 own.<, OPERATOR 2 own.<=, OPERATOR 3 own.=, OPERATOR 4 own.>=, OPERATOR 5 own.>, FUNCTION 1 own.ci_cmp(own.ci, own.ci);
CREATE FUNCTION own.trap(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION own.trap(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE OPERATOR own.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = own.trap);
CREATE OPERATOR own.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = own.trap);
CREATE SCHEMA typed;
CREATE TABLE typed.by_domain (k own.code PRIMARY KEY, n integer);
CREATE TABLE typed.by_ci (k own.ci PRIMARY KEY, n smallint);
CREATE TABLE typed.by_number (k numeric(10,0) PRIMARY KEY, n text);
CREATE TABLE typed.by_nothing (k integer, n integer);
CREATE TABLE typed.generated (k bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n integer, twice integer GENERATED ALWAYS AS (n * 2) STORED);
CREATE PROCEDURE test.typed(name text, strategy text, keys text[]) LANGUAGE plpgsql AS $$
DECLARE
	hints text := format('; write_disposition="merge", x-merge-strategy="%s"', strategy);
BEGIN
	CALL test.package(name, test.schema('typed', 'by_domain: k text +primary_key, n bigint' || hints, 'by_ci: k text +primary_key, n bigint' || hints,
		'by_number: k bigint +primary_key, n bigint' || hints, 'by_nothing: k bigint +primary_key, n bigint' || hints, 'generated: k bigint +primary_key, n bigint' || hints),
		'by_domain.a.0.csv', E'k,n\n' || keys[1], 'by_ci.a.0.csv', E'k,n\n' || keys[2], 'by_number.a.0.csv', E'k,n\n' || keys[3], 'by_nothing.a.0.csv', E'k,n\n' || keys[4],
		'generated.a.0.csv', E'k,n\n' || keys[3]);
END $$;
CALL test.typed('6.1', 'delete-insert', ARRAY[E'a,1\nb,2\n', E'Ab,1\ncd,2\n', E'1,1\n2,2\n', E'1,1\n2,2\n,3\n']);
SELECT test.statements('6.1', 'typed');
SET search_path = own, pg_catalog, public;
SELECT loader_start(test.path('6.1'), 'typed') AS id \gset
RESET search_path;
SELECT loader_wait(:id, '600s');
SELECT sqlstate, message, detail FROM loader.packages WHERE package_id = :id;
CALL test.typed('6.2', 'delete-insert', ARRAY[E'b,20\nc,3\n', E'aB,10\nef,3\n', E'2,20\n3,3\n', E'2,20\n,30\n']);
SET search_path = own, pg_catalog, public;
SELECT loader_start(test.path('6.2'), 'typed') AS id \gset
RESET search_path;
SELECT loader_wait(:id, '600s');
SELECT sqlstate, message, detail FROM loader.packages WHERE package_id = :id;
CALL test.typed('6.3', 'upsert', ARRAY[E'c,30\nd,4\n', E'EF,30\ngh,4\n', E'3,30\n4,4\n', E'2,200\n,300\n']);
SET search_path = own, pg_catalog, public;
SELECT loader_start(test.path('6.3'), 'typed') AS id \gset
RESET search_path;
SELECT loader_wait(:id, '600s');
SELECT sqlstate, message, detail FROM loader.packages WHERE package_id = :id;
SELECT * FROM typed.by_domain ORDER BY k::text;
SELECT * FROM typed.by_ci ORDER BY k::text COLLATE "C";
SELECT * FROM typed.by_number ORDER BY k;
SELECT * FROM typed.by_nothing ORDER BY k, n;
SELECT * FROM typed.generated ORDER BY k;
SELECT * FROM test.merged ORDER BY load_id, "table";
-- a row that the domain refuses: staging has dlt's type, so it is the merge that fails
CALL test.typed('6.4', 'upsert', ARRAY[E'x,1\nUPPER,2\n', E'x,1\n', E'9,9\n', E'9,9\n']);
\pset expanded on
CALL test.fail('6.4', 'typed');
SELECT * FROM test.failed('6.4', 'typed');
\pset expanded off
SELECT count(*) FROM typed.by_ci;

-- All this by several workers.
SELECT test.forget();
SET loader.small_package = 0;
\set tree '''tree: id bigint! +primary_key, name text, _dlt_load_id text!, _dlt_id text!~ +row_key; write_disposition="merge"'''
CALL test.merge('7.1', :tree, E:'head' || E'1,one,7.1,a\n2,two,7.1,b\n', :kids, E:'kids_head' || E'x,a,a,0,ax\n');
CALL test.load('7.1', 'many', ', workers => 2');
CALL test.merge('7.2', :tree, E:'head' || E'2,due,7.2,c\n3,tre,7.2,d\n', :kids, E:'kids_head' || E'y,c,c,0,cy\n');
CALL test.load('7.2', 'many', ', workers => 2');
SELECT id, name FROM many.tree ORDER BY id;
SELECT v FROM many.tree__kids ORDER BY v;
SELECT * FROM test.merged ORDER BY load_id, "table";
\set tree '''tree: id bigint! +primary_key, name text, _dlt_load_id text!, _dlt_id text!~ +row_key; write_disposition="merge", x-merge-strategy="upsert"'''
CALL test.merge('7.3', :tree, E:'head' || E'2,a,7.3,c\n2,b,7.3,cc\n', :kids);
\pset expanded on
CALL test.fail('7.3', 'many');
SELECT * FROM test.failed('7.3', 'many');
\pset expanded off
SELECT count(*) FROM loader.stage;
-- mended and registered anew: the staged rows of the first time are gone
CALL test.sh($$printf 'id,name,_dlt_load_id,_dlt_id\n2,b,7.3,c\n' > 7.3/new_jobs/tree.a.0.csv$$);
CALL test.load('7.3', 'many');
SELECT id, name FROM many.tree ORDER BY id;
RESET loader.small_package;

\set VERBOSITY terse
SELECT test.forget('di', 'di_staging', 'keys', 'keys_staging', 'up', 'up_staging', 'ins', 'ins_staging', 'scd', 'scd_staging', 'typed', 'typed_staging', 'many', 'many_staging', 'own');
DROP VIEW test.merged;
DROP FUNCTION test.statements, test.failed, test.nested;
DROP PROCEDURE test.merge, test.fail, test.typed;
