-- Replace by SQL: afterwards the target has what staging has.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET search_path = help, evil, pg_catalog;

-- 1 by primary key: only what differs changes
SELECT schema(tab('t', 'id bigint! primary_key, v text, n decimal', '{"write_disposition": "replace"}')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|same|1.50', '2|old|2', '3|gone|3', '4|\N|4');
CALL put('"Stage".t', '1|same|1.50', '2|new|2', '4|\N|4', '5|new|5', '6|\N|\N');
CREATE TABLE "Data".before AS SELECT id, xmin AS x FROM "Data".t;
SELECT * FROM run(:'s', 'diff');
SET search_path = help, pg_catalog;
SELECT t.*, t.xmin = b.x AS untouched FROM "Data".t LEFT JOIN "Data".before b USING (id) ORDER BY id;
SET search_path = help, evil, pg_catalog;
SELECT * FROM run(:'s', 'diff');
SELECT * FROM statements(:'s', 'diff') \g (format=unaligned tuples_only=on)
-- with another unique column a changed row makes room first
SET search_path = help, pg_catalog;
UPDATE "Data".t SET v = 'new5' WHERE id = 5;
UPDATE "Stage".t SET v = CASE v WHEN 'same' THEN 'new' ELSE 'same' END WHERE id IN (1, 2);
UPDATE "Stage".t SET v = 'new5' WHERE id = 5;
SET search_path = help, evil, pg_catalog;
CREATE UNIQUE INDEX ON "Data".t (v);
SELECT * FROM run(:'s', 'diff');
SELECT * FROM "Data".t ORDER BY id;
SELECT * FROM statements(:'s', 'diff') \g (format=unaligned tuples_only=on)
-- but is updated where a foreign key holds it
ALTER TABLE "Data".t ADD PRIMARY KEY (id);
CREATE TABLE "Data".f (id bigint REFERENCES "Data".t);
INSERT INTO "Data".f VALUES (1), (2);
UPDATE "Stage".t SET v = 'changed' WHERE id = 1;
SELECT * FROM run(:'s', 'diff');
SELECT * FROM "Data".t ORDER BY id;
DROP TABLE "Data".f;

-- 2 by whole row: without a key, with NULL or twice the same in it
SELECT schema(tab('t', 'id bigint primary_key, v text', '{"write_disposition": "replace"}')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|a', '1|a', '1|a', '2|b', '\N|c', '\N|c', '3|\N');
CALL put('"Stage".t', '1|a', '1|a', '2|B', '\N|c', '\N|c', '\N|c', '3|\N', '\N|\N');
SELECT * FROM run(:'s', 'diff');
SELECT * FROM "Data".t ORDER BY 1, 2;
SELECT * FROM run(:'s', 'diff');
SELECT * FROM statements(:'s', 'diff') \g (format=unaligned tuples_only=on)

-- 3 columns that the package does not have
SELECT schema(tab('t', 'id bigint! primary_key, v text', '{"write_disposition": "replace"}')) AS s \gset
CALL make(:'s');
ALTER TABLE "Data".t ADD "Other" int, ADD g bigint GENERATED ALWAYS AS (id * 2) STORED;
INSERT INTO "Data".t VALUES (1, 'same', 1), (2, 'same', NULL), (3, 'old', 3);
CALL put('"Stage".t', '1|same', '2|same', '3|new');
SELECT * FROM run(:'s', 'diff');
SELECT * FROM "Data".t ORDER BY id;
ALTER TABLE "Data".t ADD d int DEFAULT 7;
SELECT * FROM statements(:'s', 'diff') \g (format=unaligned tuples_only=on)
SELECT * FROM run(:'s', 'refill');
SELECT id, "Other", g, v, d FROM "Data".t ORDER BY id;

-- 4 refill: identity columns, a parent and its partitions
SELECT schema(tab('t', 'id bigint! primary_key, v text', '{"write_disposition": "replace"}')) AS s \gset
CALL make(:'s');
DROP TABLE "Data".t;
CREATE TABLE "Data".t (id bigint GENERATED ALWAYS AS IDENTITY, v text);
INSERT INTO "Data".t (v) VALUES ('old'), ('old');
CALL put('"Stage".t', '5|new', '6|new');
SELECT * FROM statements(:'s', 'diff') \g (format=unaligned tuples_only=on)
SELECT * FROM run(:'s', 'refill');
SELECT * FROM "Data".t ORDER BY id;
DROP TABLE "Data".t;
CREATE TABLE "Data".t (id bigint, v text) PARTITION BY HASH (id);
CREATE TABLE "Data".t0 PARTITION OF "Data".t FOR VALUES WITH (modulus 2, remainder 0);
CREATE TABLE "Data".t1 PARTITION OF "Data".t FOR VALUES WITH (modulus 2, remainder 1);
INSERT INTO "Data".t SELECT i, 'old' FROM generate_series(1, 10) i;
INSERT INTO "Data".t SELECT 5, 'new' FROM generate_series(1, 3) i;
INSERT INTO "Data".t SELECT i, 'new' FROM generate_series(6, 7) i;
SELECT * FROM run(:'s', 'diff');
SELECT * FROM "Data".t ORDER BY id;

-- 5 a nested table has no key but its rows
SELECT schema(tab('t', 'id bigint!', '{"write_disposition": "replace"}'), nested('t__k', 't', 'v text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1', '2');
CALL put('"Stage".t', '2', '3');
CALL put('"Data".t__k', 'a|r|r|0|k0');
CALL put('"Stage".t__k', 'a|r|r|0|k0', 'b|r|r|1|k1');
SELECT * FROM run(:'s', 'diff');

-- 6 what else a table can have: a column that is gone, several that the package does not have, keys of
-- several columns, constraints that look at more than one row
SELECT schema(tab('t', 'a bigint! primary_key, b text! primary_key, v text', '{"write_disposition": "replace"}')) AS s \gset
CALL make(:'s');
ALTER TABLE "Data".t ADD gone int, ADD x int, ADD y text;
ALTER TABLE "Data".t DROP gone;
CALL put('"Data".t', '1|k|same', '1|l|old', '2|k|gone');
CALL put('"Stage".t', '1|k|same', '1|l|new', '3|k|new');
SET search_path = help, pg_catalog;
UPDATE "Data".t SET x = 5, y = 'mine' WHERE b = 'k';
SET search_path = help, evil, pg_catalog;
SELECT * FROM statements(:'s', 'diff') \g (format=unaligned tuples_only=on)
SELECT * FROM "Data".t ORDER BY a, b;
-- rows of one key are one row
CALL put('"Stage".t', '3|k|again');
SELECT * FROM run(:'s', 'diff');
SELECT * FROM "Data".t ORDER BY a, b, v;
SET search_path = help, pg_catalog;
DELETE FROM "Stage".t WHERE v = 'again';
TRUNCATE "Data".t;
SELECT * FROM run(:'s', 'diff');
UPDATE "Stage".t SET v = CASE b WHEN 'k' THEN 'new' ELSE 'same' END WHERE a = 1;
UPDATE "Stage".t SET v = 'other' WHERE a = 3;
SELECT * FROM run(:'s', 'diff');
-- an exclusion, a unique expression, and a deferrable constraint, each in the way of an update in place
ALTER TABLE "Data".t ADD CONSTRAINT e EXCLUDE USING btree (v WITH =);
UPDATE "Stage".t SET v = CASE v WHEN 'same' THEN 'new' WHEN 'new' THEN 'same' ELSE v END;
SELECT * FROM run(:'s', 'diff');
ALTER TABLE "Data".t DROP CONSTRAINT e;
CREATE UNIQUE INDEX e ON "Data".t (upper(v));
UPDATE "Stage".t SET v = CASE v WHEN 'same' THEN 'new' WHEN 'new' THEN 'same' ELSE v END;
SELECT * FROM run(:'s', 'diff');
DROP INDEX "Data".e;
ALTER TABLE "Data".t ADD CONSTRAINT e UNIQUE (v) DEFERRABLE;
UPDATE "Stage".t SET v = CASE v WHEN 'same' THEN 'new' WHEN 'new' THEN 'same' ELSE v END;
SELECT * FROM run(:'s', 'diff');
SELECT a, b, v FROM "Data".t ORDER BY a, b;
-- a column whose collation is another one: equal is not the same
ALTER TABLE "Data".t DROP CONSTRAINT e, ALTER b TYPE varchar COLLATE "POSIX";
UPDATE "Stage".t SET v = v || '+';
SELECT * FROM run(:'s', 'diff');
SELECT a, b, v FROM "Data".t ORDER BY a, b;

SET client_min_messages = error;
DROP SCHEMA "Data" CASCADE;
DROP SCHEMA "Stage" CASCADE;
DROP SCHEMA own CASCADE;
DROP SCHEMA evil CASCADE;
DROP SCHEMA help CASCADE;
DROP EXTENSION loader_merge_test;
