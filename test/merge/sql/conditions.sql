-- The conditions of hints: what they do, and what they cannot.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET search_path = help, pg_catalog;
CREATE FUNCTION help.with_filter(filter text) RETURNS text LANGUAGE sql AS
$$ SELECT schema(root('t', 'id bigint! primary_key, v bigint', 'delete-insert', json_build_object('x-merge-source-filter', filter))) $$;
CREATE FUNCTION help.with_scope(scope text) RETURNS text LANGUAGE sql AS
$$ SELECT schema(root('t', 'id bigint! primary_key, v bigint', 'delete-insert', json_build_object('x-merge-destination-scope', scope))) $$;
SELECT with_filter('true') AS s \gset
CALL make(:'s');
CREATE PROCEDURE help.fresh() LANGUAGE sql AS $$
	TRUNCATE "Data".t, "Stage".t;
	INSERT INTO "Data".t VALUES (1, 1), (2, 2), (3, 3), (4, NULL);
	INSERT INTO "Stage".t VALUES (2, 20), (3, 1), (5, 50) $$;

-- 1 filters
CALL fresh();
SELECT * FROM run(with_filter('v > 10'));
SELECT * FROM "Data".t ORDER BY id;
CALL fresh();
-- a winner that the filter refuses takes its losers with it
CALL put('"Stage".t', '3|30', '3|31');
SELECT * FROM run(with_filter($$v > 10 OR '{{}}' = '' -- a comment that would hide the parenthesis$$));
SELECT * FROM "Data".t ORDER BY id, v;
-- the table's own name is good everywhere
SELECT * FROM run(with_filter('t.v > 1'));
DELETE FROM "Stage".t WHERE v > 29;
SELECT * FROM run(with_filter('t.v > 1'));
SELECT * FROM statements(with_filter($$v > 10 OR '{{}}' = '' -- a comment that would hide the parenthesis$$)) \g (format=unaligned tuples_only=on)

-- 2 scopes: in the place of keys
CALL fresh();
SELECT * FROM run(with_scope('{table}.v >= 2 AND EXISTS (SELECT FROM {staging_table} x WHERE x.id = {table}.id)'));
SELECT * FROM "Data".t ORDER BY id, v;
SELECT * FROM statements(with_scope('{table}.v >= 2 AND EXISTS (SELECT FROM {staging_table} x WHERE x.id = {table}.id)')) \g (format=unaligned tuples_only=on)
SELECT schema(root('t', 'id bigint!, v bigint', 'delete-insert', '{"x-merge-destination-scope": "v = 2"}')) AS s \gset
CALL fresh();
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id, v;

-- 3 what sees what: the filter no target, the scope no staging
\set VERBOSITY sqlstate
CALL fresh();
SELECT * FROM run(with_filter('d.v = 1'));
SELECT * FROM run(with_filter('"Data".t.v = 1'));
SELECT * FROM run(with_scope('s.v = 1'));
SELECT * FROM run(with_scope('"Stage".t.v = 1'));
SELECT * FROM run(with_filter('v'));
SELECT * FROM run(with_filter('count(*) > 0'));
SELECT * FROM run(with_filter('v = $1'));

\set VERBOSITY default

-- 4 what is no expression, or more than one
DO $$ DECLARE f text; BEGIN
	FOREACH f IN ARRAY ARRAY['true) OR (true', 'x; DROP TABLE y', 'true; ', 'true UNION SELECT true',
		'true FROM t', 'true WHERE true', 'true ORDER BY 1', 'true LIMIT 1', 'true FOR UPDATE', 'true GROUP BY 1',
		'true HAVING true', 'true, true', 'true AS x', 'true x', '*', 't.*', 'DISTINCT true', 'ALL true', '', ' ', '-- nothing',
		'1 = 1 /*', '1 = 1 */', $f$v = 'open$f$, 'v = "open', '$x$ v', ') --', 'SELECT true', 'DELETE FROM t',
		'INTO x true', 'true INTO x', 'true WINDOW w AS ()', 'VALUES (true)', 'v > {table}', 'v > {', 'v > }', 'v > {}', 'v > {0}',
		'v = {{{', 'v := 1', 'a.b.c.d.e.f(', E'true\\gexec'] LOOP
		BEGIN
			PERFORM run(with_filter(f), 'check');
			RAISE WARNING 'passed: "%"', f;
		EXCEPTION WHEN invalid_parameter_value THEN RAISE WARNING '%', SQLERRM;
		END;
	END LOOP;
	FOREACH f IN ARRAY ARRAY['{table', 'table}', '{tables}', '{table!r}', '{table.x}', '{staging}', '{{table}', '{TABLE}.v = 1'] LOOP
		BEGIN
			PERFORM run(with_scope(f), 'check');
			RAISE WARNING 'passed: "%"', f;
		EXCEPTION WHEN invalid_parameter_value THEN RAISE WARNING '%', SQLERRM;
		END;
	END LOOP;
	-- these are one
	FOREACH f IN ARRAY ARRAY['(true)', 'v IN (SELECT 1 UNION SELECT 2 ORDER BY 1 LIMIT 1)', $f$v = 1 /* x */ -- y$f$, E'v\n=\n1',
		$f$t = '{{"a": 1}}'$f$, 'CASE WHEN v > 1 THEN true END', 'NOT v = 1', 'v IS NULL', 't.v = 1', $f$U&'\0061' = 'a'$f$] LOOP
		PERFORM run(with_filter(f), 'check');
	END LOOP;
END $$;
SELECT * FROM run(with_filter(repeat('x', 200) || ' +'), 'check');
\set VERBOSITY sqlstate
SELECT * FROM run(with_filter('true) OR (true'), 'check');
\set VERBOSITY default

-- 5 with a chain: the filter asks the root row of each nested row
SELECT schema(root('t', 'id bigint! primary_key, v bigint, _dlt_id text! row_key', 'upsert', '{"x-merge-source-filter": "v = 1"}'),
	nested('t__k', 't', 'x text')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '1|0|r1', '2|0|r2');
CALL put('"Data".t__k', 'old|r1|r1|0|k1', 'old|r2|r2|0|k2');
CALL put('"Stage".t', '1|1|r1', '2|2|r2', '3|1|r3');
CALL put('"Stage".t__k', 'new|r1|r1|1|k11', 'new|r2|r2|1|k22', 'new|r3|r3|0|k3');
SELECT * FROM run(:'s');
SELECT * FROM "Data".t ORDER BY id;
SELECT * FROM "Data".t__k ORDER BY _dlt_id;

-- the root's row key by a name of its own
SELECT schema(root('t', 'id bigint! primary_key, v bigint, own text! row_key', 'upsert', '{"x-merge-source-filter": "v = 1"}'),
	nested('t__k', 't', 'x text')) AS s \gset
CALL make(:'s');
CALL put('"Stage".t', '1|1|r1', '2|2|r2');
CALL put('"Stage".t__k', 'new|r1|r1|0|k1', 'new|r2|r2|0|k2');
SELECT * FROM run(:'s');
SELECT schema(root('t', 'id bigint! primary_key, v bigint, own text! row_key', 'delete-insert', '{"x-merge-source-filter": "v = 1"}'),
	nested('t__k', 't', 'x text')) AS s \gset
SELECT * FROM run(:'s');
SELECT * FROM "Data".t__k ORDER BY _dlt_id;
