-- Keys of types that are not the staging table's, and names that need quotes.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET search_path = help, evil, pg_catalog;

-- 1 the target's types were changed: a domain, an enum, other numbers, json
SELECT schema(root('My "Table"', 'Key text! primary_key, n bigint, j json, d decimal', 'upsert')) AS s \gset
CALL make(:'s');
CREATE DOMAIN "Data".word AS text CHECK (VALUE <> 'bad');
ALTER TABLE "Data"."My ""Table""" ALTER "Key" TYPE "Data".word, ALTER n TYPE numeric, ALTER j TYPE json, ALTER d TYPE numeric;
CALL put('"Data"."My ""Table"""', 'a|1|{"x": 1}|1', 'b|1|{"x": 1}|2');
CALL put('"Stage"."My ""Table"""', 'a|1|{"x": 1}|1', 'b|2|{"x": 2}|2', 'c|3|\N|\N');
SELECT * FROM run(:'s');
SELECT * FROM run(:'s');
SELECT * FROM "Data"."My ""Table""" ORDER BY 1;
SELECT * FROM statements(:'s', 'merge') \g (format=unaligned tuples_only=on)
-- the domain still has its say
CALL put('"Stage"."My ""Table"""', 'bad|1|\N|\N');
SELECT * FROM run(:'s');

-- 2 an operator of the type's own schema is found without a search_path, and no other
CREATE SCHEMA own;
CREATE TYPE own.color AS ENUM ('red', 'blue');
SELECT schema(root('t', 'c text! primary_key merge_key, v text', 'delete-insert')) AS s \gset
CALL make(:'s');
ALTER TABLE "Data".t ALTER c TYPE own.color USING NULL::own.color;
ALTER TABLE "Stage".t ALTER c TYPE own.color USING NULL::own.color;
CALL put('"Data".t', 'red|old', 'blue|old');
CALL put('"Stage".t', 'red|new');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY c;
CREATE TYPE own.pair AS (a int, b int);
CREATE FUNCTION own.same(own.pair, own.pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.a = $2.a';
CREATE FUNCTION own.compare(own.pair, own.pair) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.btint4cmp($1.a, $2.a)';
CREATE FUNCTION own.less(own.pair, own.pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.a < $2.a';
CREATE OPERATOR own.=== (FUNCTION = own.same, LEFTARG = own.pair, RIGHTARG = own.pair);
CREATE OPERATOR own.<<< (FUNCTION = own.less, LEFTARG = own.pair, RIGHTARG = own.pair);
CREATE OPERATOR CLASS own.pair_ops DEFAULT FOR TYPE own.pair USING btree AS
	OPERATOR 1 own.<<<, OPERATOR 3 own.===, FUNCTION 1 own.compare(own.pair, own.pair);
CALL make(:'s');
ALTER TABLE "Data".t ALTER c TYPE own.pair USING NULL::own.pair;
ALTER TABLE "Stage".t ALTER c TYPE own.pair USING NULL::own.pair;
CALL put('"Data".t', '(1,1)|old', '(2,2)|old');
CALL put('"Stage".t', '(1,9)|new');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY v;
SELECT * FROM statements(:'s', 'merge') \g (format=unaligned tuples_only=on)

-- keys that differ in staging only: in the target they are one
SELECT schema(root('t', 'id text! primary_key, v text', 'upsert')) AS s \gset
CALL make(:'s');
ALTER TABLE "Data".t ALTER id TYPE numeric USING NULL;
CALL put('"Data".t', '1|old', '2|old');
CALL put('"Stage".t', '1|new', '1.0|newer');
SELECT * FROM run(:'s');

-- 3 a partitioned target, moved between partitions
SELECT schema(root('t', 'id bigint! primary_key, p bigint!, v text', 'upsert')) AS s \gset
CALL make(:'s');
DROP TABLE "Data".t;
CREATE TABLE "Data".t (v varchar, id bigint, p bigint) PARTITION BY LIST (p);
CREATE TABLE "Data".t1 PARTITION OF "Data".t FOR VALUES IN (1);
CREATE TABLE "Data".t2 PARTITION OF "Data".t DEFAULT;
INSERT INTO "Data".t VALUES ('old', 1, 1), ('same', 2, 2), ('old', 3, 3);
CALL put('"Stage".t', '1|2|new', '2|2|same', '3|3|new', '4|1|new');
SELECT * FROM run(:'s');
SELECT tableoid::regclass, * FROM "Data".t ORDER BY id;
CALL put('"Stage".t', '1|1|newer');
SELECT * FROM run(:'s');

-- 4 a dry run knows no types and needs no tables
DROP SCHEMA "Data" CASCADE;
DROP SCHEMA "Stage" CASCADE;
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
SELECT * FROM statements(:'s', 'dry diff') \g (format=unaligned tuples_only=on)
