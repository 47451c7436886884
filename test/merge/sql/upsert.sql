-- upsert, insert-only, cdc: matched rows are updated, the others inserted.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET search_path = help, evil, pg_catalog;

-- 1 as one statement where every matched row is updated, in steps where not
SELECT schema(root('t', 'id bigint primary_key, v text, _dlt_load_id text!', 'upsert')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|old|1', '2|old|1', '3|same|1', '\N|old|1');
CALL put('"Stage".t', '2|new|2', '3|same|2', '4|new|2', '\N|new|2');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id, v;
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
SELECT schema(root('t', 'id bigint primary_key, v text', 'upsert')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|old', '2|old', '3|same');
CALL put('"Stage".t', '2|new', '3|same', '4|new', '\N|new');
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id, v;
-- a trigger sees every row that dlt would update
CREATE FUNCTION "Data".count_up() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.v := NEW.v || '+'; IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER c BEFORE UPDATE ON "Data".t FOR EACH ROW EXECUTE FUNCTION "Data".count_up();
DELETE FROM "Stage".t WHERE id IS NULL;
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id, v;

-- 2 two rows for one: an error; for none: both are inserted; target rows of one key all change
SELECT schema(root('t', 'a bigint! primary_key, B text! primary_key, v text', 'upsert')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|x|old', '1|x|older', '1|y|old');
CALL put('"Stage".t', '1|x|new', '2|x|new', '2|x|newer');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY 1, 2, 3;
TRUNCATE "Data".t;
CALL put('"Data".t', '2|x|old');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY 1, 2, 3;
-- unless only one of them would change it
SELECT schema(root('t', 'a bigint! primary_key, B text! primary_key, v text', 'upsert', '{"x-merge-skip-unchanged-rows": true}')) AS s \gset
UPDATE "Data".t SET v = 'newer';
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY 1, 2, 3;

-- 3 marks: a matched row goes, an unmatched one is inserted all the same
SELECT schema(root('t', 'id bigint! primary_key, gone bool hard_delete, _dlt_load_id text', 'upsert')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|\N|1', '2|\N|1', '3|\N|1');
CALL put('"Stage".t', '1|t|2', '2|f|2', '4|t|2', '5|\N|2');
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id;
SELECT schema(root('t', 'id bigint! primary_key, gone text hard_delete', 'upsert')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|\N', '2|\N', '3|\N');
CALL put('"Stage".t', '1|yes', '2|\N', '4|yes', '5|\N');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id;
-- a mark and an update of the same row are two changes
CALL put('"Stage".t', '2|yes');
SELECT * FROM run(:'s');

-- 4 unchanged rows are left alone: by the columns that count, or by the row version
SELECT schema(root('t', 'id bigint! primary_key, v text, _DLT_LOAD_ID text', 'upsert', '{"x-merge-skip-unchanged-rows": true}')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|same|1', '2|old|1', '3|\N|1', '4|\N|1');
CALL put('"Stage".t', '1|same|2', '2|new|2', '3|\N|2', '4|new|2', '5|new|2');
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id;
SELECT schema(root('t', 'id bigint! primary_key, v text, rv text x-row-version', 'upsert', '{"x-merge-skip-unchanged-rows": true}')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|old|a', '2|old|a', '3|old|\N');
CALL put('"Stage".t', '1|new|a', '2|new|b', '3|new|c');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id;

-- 5 a chain: nested rows by row key; those that are gone, and those of deleted root rows
SELECT schema(root('t', 'id bigint! primary_key, gone bool hard_delete, _dlt_id text! row_key', 'upsert'),
	nested('t__k', 't', 'v text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|\N|r1', '2|\N|r2', '3|\N|r3');
CALL put('"Data".t__k', 'old|r1|r1|0|k10', 'old|r1|r1|1|k11', 'old|r2|r2|0|k20', 'old|r3|r3|0|k30');
CALL put('"Stage".t', '1|f|r1', '2|t|r2', '4|f|r4');
CALL put('"Stage".t__k', 'new|r1|r1|0|k10', 'new|r4|r4|0|k40', 'gone|r2|r2|0|k20');
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id;
SELECT * FROM "Data".t__k ORDER BY _dlt_id;
CALL put('"Stage".t__k', 'twice|r1|r1|0|k10');
SELECT * FROM run(:'s');

-- 6 insert-only: what is there stays
SELECT schema(root('t', 'id bigint! primary_key, gone bool hard_delete, _dlt_id text! row_key', 'insert-only',
	'{"x-merge-source-filter": "id > 100"}'), nested('t__k', 't', 'v text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|\N|r1');
CALL put('"Data".t__k', 'old|r1|r1|0|k1');
CALL put('"Stage".t', '1|t|r1', '2|f|r2', '2|\N|r2', '3|t|r3');
CALL put('"Stage".t__k', 'new|r1|r1|0|k1', 'new|r1|r1|1|k11', 'new|r3|r3|0|k3');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id, gone;
SELECT * FROM "Data".t__k ORDER BY _dlt_id;

-- 7 cdc: what is absent goes, within the merge key's partitions; a marked row does not come
SELECT schema(root('t', 'id bigint! primary_key, part text merge_key, gone bool hard_delete, _dlt_id text! row_key', 'cdc'),
	nested('t__k', 't', 'v text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|a|\N|r1', '2|a|\N|r2', '3|b|\N|r3', '4|\N|\N|r4', '5|a|\N|r5');
CALL put('"Data".t__k', 'old|r1|r1|0|k1', 'old|r2|r2|0|k2', 'old|r3|r3|0|k3');
CALL put('"Stage".t', '1|a|f|r1', '5|a|t|r5', '6|a|t|r6', '7|c|\N|r7', '8|\N|\N|r8');
CALL put('"Stage".t__k', 'new|r1|r1|0|k1', 'new|r7|r7|0|k7');
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id;
SELECT * FROM "Data".t__k ORDER BY _dlt_id;
-- where nothing is absent nested rows are not asked
SELECT * FROM run(:'s');
SELECT s FROM statements(:'s', 'merge') s WHERE s LIKE 'DELETE%' \g (format=unaligned tuples_only=on)
-- NULL among the staged keys: nobody can say what is absent
SELECT schema(root('t', 'id bigint primary_key, v text', 'cdc')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|old', '\N|old');
CALL put('"Stage".t', '2|new', '\N|new');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id, v;
DELETE FROM "Stage".t WHERE id IS NULL;
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id, v;
TRUNCATE "Stage".t;
SELECT * FROM run(:'s');
-- keys of several columns are compared by columns, merge keys too
SELECT schema(root('t', 'a text! primary_key, b text primary_key, m text merge_key, n text merge_key', 'cdc')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', 'a|b|x|yz', 'a|c|x|yz', 'a|\N|x|yz', 'q|q|xy|z', 'r|r|\N|z');
CALL put('"Stage".t', 'a|b|x|yz', 's|s|\N|z');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY 1, 2;
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)

-- absent by a scope, with nested rows
SELECT schema(root('t', 'id bigint! primary_key, v bigint, _dlt_id text! row_key', 'cdc', '{"x-merge-destination-scope": "{table}.v >= 2"}'),
	nested('t__k', 't', 'v text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|1|r1', '2|2|r2', '3|3|r3');
CALL put('"Data".t__k', 'old|r1|r1|0|k1', 'old|r2|r2|0|k2', 'old|r3|r3|0|k3');
CALL put('"Stage".t', '2|7|r2');
CALL put('"Stage".t__k', 'new|r2|r2|0|k2');
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id;
SELECT * FROM "Data".t__k ORDER BY _dlt_id;
-- unchanged nested rows are left alone, too
SELECT schema(root('t', 'id bigint! primary_key, v text, _dlt_id text! row_key', 'upsert', '{"x-merge-skip-unchanged-rows": true}'),
	nested('t__k', 't', 'v text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|same|r1', '2|old|r2');
CALL put('"Data".t__k', 'same|r1|r1|0|k1', 'old|r1|r1|1|k2', 'same|r2|r2|0|k3');
CALL put('"Stage".t', '1|same|r1', '2|new|r2');
CALL put('"Stage".t__k', 'same|r1|r1|0|k1', 'new|r1|r1|1|k2', 'same|r2|r2|0|k3');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t__k ORDER BY _dlt_id;

-- 8 what they cannot do without
SELECT * FROM run(schema(root('t', 'id bigint', 'upsert')), 'check');
SELECT * FROM run(schema(root('t', 'id bigint! primary_key, b bigint! primary_key', 'cdc'), nested('t__k', 't', 'v text')), 'check');
SELECT * FROM run(schema(root('t', 'id bigint! primary_key', 'upsert'), tab('t__k', 'v text, _dlt_id text row_key', '{"parent": "t"}')), 'check');

-- A column without a type, which no row has ever had, is none
SELECT regexp_replace(schema(root('t', 'id bigint! primary_key, never text, v text', 'upsert')),
	'("name" : "never"), "data_type" : "text"', '\1') AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|old');
CALL put('"Stage".t', '1|new', '2|new');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id;

-- A nested row that is marked: as the root's, it is inserted if it is new
SELECT schema(root('t', 'id bigint! primary_key, _dlt_id text! row_key', 'upsert'),
	nested('t__k', 't', 'gone bool hard_delete, v text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|r1');
CALL put('"Data".t__k', '\N|old|r1|r1|0|k1', '\N|old|r1|r1|1|k2');
CALL put('"Stage".t', '1|r1');
CALL put('"Stage".t__k', 't|new|r1|r1|0|k1', '\N|new|r1|r1|1|k2', 't|new|r1|r1|2|k3');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t__k ORDER BY _dlt_id;
