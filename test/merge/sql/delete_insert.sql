-- delete-insert: which rows go, which come.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET search_path = help, evil, pg_catalog;

-- 1 one table, primary key; NULL keys match nothing and are deduplicated as one
SELECT schema(root('t', 'id bigint primary_key, v text', 'delete-insert')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|old', '2|old', '\N|old');
CALL put('"Stage".t', '2|new', '3|new', '\N|new', '\N|newer');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id, v;
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)

-- 2 duplicates: the greatest of the sort column wins, NULL before all under desc, last under asc
SELECT schema(root('t', 'id bigint primary_key, seq bigint dedup_sort=desc, v text', 'delete-insert')) AS s \gset
CALL make(:'s');
CALL put('"Stage".t', '1|1|a', '1|3|b', '1|2|c', '2|5|d', '2|\N|e', '3|\N|f');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id, v;
SELECT schema(root('t', 'id bigint primary_key, seq bigint dedup_sort=asc, v text', 'delete-insert')) AS s \gset
TRUNCATE "Data".t;
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id, v;
-- declared free of them: nobody looks
SELECT schema(root('t', 'id bigint primary_key, seq bigint dedup_sort=asc, v text', 'delete-insert',
	'{"x-stage-data-deduplicated": true}')) AS s \gset
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id, v;

-- 3 marks: a winner that is deleted takes its losers with it; both kinds of mark
SELECT schema(root('t', 'id bigint primary_key, seq bigint dedup_sort=desc, gone bool hard_delete', 'delete-insert')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|0|\N', '2|0|\N', '3|0|\N', '4|0|\N');
CALL put('"Stage".t', '1|1|f', '1|2|t', '2|2|f', '2|1|t', '3|1|\N', '5|1|t');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id;
SELECT schema(root('t', 'id bigint primary_key, gone timestamp hard_delete', 'delete-insert')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|\N', '2|\N');
CALL put('"Stage".t', '1|2024-01-01', '2|\N', '3|2024-01-01');
SELECT * FROM run(:'s');
TABLE "Data".t;

-- 4 keys of several columns; merge key; both kinds, never by OR
SELECT schema(root('t', 'a bigint! primary_key, b text primary_key, day date merge_key, v text', 'delete-insert')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|x|2024-01-01|old', '1|\N|2024-01-01|old', '2|x|2024-01-02|old', '3|x|2024-01-03|old',
	'4|x|\N|old');
CALL put('"Stage".t', '2|x|2024-01-05|new', '9|x|2024-01-03|new', '4|y|\N|new');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY a, b;
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
-- a merge key alone keeps duplicates
SELECT schema(root('t', 'day date merge_key, v text', 'delete-insert')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '2024-01-01|old', '2024-01-01|old', '2024-01-02|old');
CALL put('"Stage".t', '2024-01-01|new', '2024-01-01|new');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY 1, 2;
-- a key that is part of the other makes that one superfluous; no key appends
SELECT * FROM statements(schema(root('t', 'a bigint! primary_key merge_key, b bigint! primary_key', 'delete-insert'))) \g (format=unaligned tuples_only=on)
SELECT * FROM statements(schema(root('t', 'a bigint', 'delete-insert'))) \g (format=unaligned tuples_only=on)

-- 5 a chain: nested rows follow their root row, by its row key
SELECT schema(root('t', 'id bigint! primary_key, seq bigint dedup_sort=desc, gone bool hard_delete, _dlt_id text! row_key', 'delete-insert'),
	nested('t__k', 't', 'v text'), nested('t__k__l', 't__k', 'w text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|1|\N|r1', '2|1|\N|r2');
CALL put('"Data".t__k', 'old|r1|r1|0|k1', 'old|r2|r2|0|k2');
CALL put('"Data".t__k__l', 'old|r1|k1|0|l1', 'old|r2|k2|0|l2');
CALL put('"Stage".t', '2|1|f|s1', '2|2|f|s2', '3|1|t|s3');
CALL put('"Stage".t__k', 'loser|s1|s1|0|k3', 'winner|s2|s2|0|k4', 'winner|s2|s2|0|k4', 'gone|s3|s3|0|k5', 'orphan|s9|s9|0|k6');
CALL put('"Stage".t__k__l', 'loser|s1|k3|0|l3', 'winner|s2|k4|0|l4', 'gone|s3|k5|0|l5');
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
BEGIN;
SELECT * FROM run(:'s');
-- twice in one transaction, with temporary tables of its own
SELECT * FROM run(:'s');
COMMIT;
SELECT * FROM "Data".t ORDER BY id;
SELECT * FROM "Data".t__k ORDER BY v, _dlt_id;
SELECT * FROM "Data".t__k__l ORDER BY w, _dlt_id;

-- 6 what a merge cannot do without
SELECT * FROM run(schema(root('t', 'id bigint! primary_key', 'delete-insert'), nested('t__k', 't', 'v text')), 'check');
SELECT * FROM run(schema(root('t', 'id bigint! primary_key, _dlt_id text! row_key, k bigint primary_key', 'delete-insert'),
	tab('t__k', 'v text, _dlt_id text row_key', '{"parent": "t"}')), 'check');
SELECT * FROM run(schema(root('t', 'id bigint! primary_key, a bool hard_delete, b bool hard_delete', 'delete-insert')), 'check');
SELECT * FROM run(schema(root('t', 'id bigint! primary_key, a bigint dedup_sort=asc, b bigint dedup_sort=asc', 'delete-insert')), 'check');
SELECT * FROM run(schema(root('t', 'id bigint! primary_key', 'merge-o-matic')), 'check');

-- 7 a root row without a row key is not loaded, nor are nested rows without one
SELECT schema(root('t', 'id bigint! primary_key, _dlt_id text row_key', 'delete-insert'), nested('t__k', 't', 'v text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|r1', '2|r2');
CALL put('"Stage".t', '1|s1', '2|\N', '3|s3');
CALL put('"Stage".t__k', 'new|s1|s1|0|k1', 'new|s3|s3|0|k3');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id;
SELECT * FROM "Data".t__k ORDER BY _dlt_id;

-- 8 a chain with both kinds of key: rows are found by either, by both once; nested ones with them
SELECT schema(root('t', 'id bigint! primary_key, day date merge_key, v text, _dlt_id text! row_key', 'delete-insert'),
	nested('t__k', 't', 'v text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|2024-01-01|old|r1', '2|2024-01-02|old|r2', '3|2024-01-03|old|r3', '4|2024-01-04|old|r4');
CALL put('"Data".t__k', 'old|r1|r1|0|k1', 'old|r2|r2|0|k2', 'old|r3|r3|0|k3', 'old|r4|r4|0|k4');
CALL put('"Stage".t', '1|2024-01-09|new|s1', '9|2024-01-02|new|s9', '3|2024-01-03|new|s3');
CALL put('"Stage".t__k', 'new|s1|s1|0|k5', 'new|s9|s9|0|k6');
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id;
SELECT * FROM "Data".t__k ORDER BY _dlt_id;
-- a merge key alone, or no key
SELECT schema(root('t', 'day date merge_key, v text, _dlt_id text! row_key', 'delete-insert'), nested('t__k', 't', 'v text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '2024-01-01|old|r1', '2024-01-01|old|r2', '2024-01-02|old|r3');
CALL put('"Data".t__k', 'old|r1|r1|0|k1', 'old|r3|r3|0|k3');
CALL put('"Stage".t', '2024-01-01|new|s1', '2024-01-01|new|s2');
CALL put('"Stage".t__k', 'new|s1|s1|0|k4', 'new|s2|s2|0|k5');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY 1, 2, 3;
SELECT * FROM "Data".t__k ORDER BY _dlt_id;
SELECT schema(root('t', 'v text, _dlt_id text! row_key', 'delete-insert'), nested('t__k', 't', 'v text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', 'old|r1');
CALL put('"Stage".t', 'new|s1');
CALL put('"Stage".t__k', 'new|s1|s1|0|k1');
SELECT * FROM run(:'s');

-- 9 a scope takes the nested rows along
SELECT schema(root('t', 'id bigint! primary_key, v bigint, _dlt_id text! row_key', 'delete-insert', '{"x-merge-destination-scope": "{table}.v >= 2"}'),
	nested('t__k', 't', 'v text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|1|r1', '2|2|r2', '3|3|r3');
CALL put('"Data".t__k', 'old|r1|r1|0|k1', 'old|r2|r2|0|k2');
CALL put('"Stage".t', '2|7|s2');
CALL put('"Stage".t__k', 'new|s2|s2|0|k3');
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id;
SELECT * FROM "Data".t__k ORDER BY _dlt_id;
