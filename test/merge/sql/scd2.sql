-- scd2: rows that are not in the package any more are retired, new ones become active.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET search_path = help, evil, pg_catalog;
SET timezone = 'America/New_York';
SET datestyle = 'SQL, DMY';

-- 1 with and without time zone; the boundary is created_at, in UTC if it has no zone
SELECT schema(root('t', '_dlt_valid_from timestamp x-valid-from, _dlt_valid_to timestamp x-valid-to x-active-record-timestamp=null, '
	'id bigint!, v text, _dlt_id text! row_key x-row-version', 'scd2')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '2024-01-01 00:00+00|\N|1|stays|h1', '2024-01-01 00:00+00|\N|2|old|h2', '2024-01-01 00:00+00|2024-02-01 00:00+00|3|was|h3');
CALL put('"Stage".t', '\N|\N|1|stays|h1', '\N|\N|2|new|h2b', '\N|\N|3|was|h3');
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
SELECT * FROM run(:'s');
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT * FROM "Data".t ORDER BY id, 1, 2;
SELECT * FROM run(:'s');
SET timezone = 'America/New_York';
SELECT schema(root('t', 'a timestamp x-valid-from timezone=false, b timestamp x-valid-to timezone=false x-active-record-timestamp=9999-12-31T01:00:00+01:00, '
	'id bigint!, rv text x-row-version', 'scd2', '{"x-boundary-timestamp": "2024-03-04T05:06:07.5"}')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '2024-01-01|9999-12-31|1|h1', '2024-01-01|9999-12-31|2|h2', '2024-01-01|\N|4|h4');
CALL put('"Stage".t', '\N|\N|2|h2', '\N|\N|3|h3');
SELECT * FROM run(:'s', created => NULL);
SELECT * FROM "Data".t ORDER BY id, 1, 2;
SELECT s FROM statements(:'s') s WHERE s LIKE 'UPDATE%' \g (format=unaligned tuples_only=on)
-- a NULL row version in the package: nobody can say what is absent; in the table: nor what is new
CALL put('"Stage".t', '\N|\N|5|\N', '\N|\N|6|h6');
SELECT * FROM run(:'s', created => NULL);
SELECT * FROM run(:'s', created => NULL);
SELECT * FROM "Data".t ORDER BY id, 1, 2;

-- 2 merge key: only its partitions retire; two columns of it, one NULL
SELECT schema(root('t', 'a timestamp x-valid-from, b timestamp x-valid-to, m text! merge_key, n text merge_key, rv text! x-row-version', 'scd2')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '2024-01-01|\N|a|\N|h1', '2024-01-01|\N|a|x|h2', '2024-01-01|\N|b|\N|h3');
CALL put('"Stage".t', '\N|\N|a|\N|h9');
SELECT * FROM run(:'s');
SELECT m, n, rv, b IS NULL AS active FROM "Data".t ORDER BY 1, 2, 3;

-- 3 a chain: nested rows are only added, and only if their key is new
SELECT schema(root('t', 'a timestamp x-valid-from, b timestamp x-valid-to, id bigint, _dlt_id text! row_key x-row-version', 'scd2',
	'{"x-merge-source-filter": "id < 10"}'), nested('t__k', 't', 'v text'),
	tab('t__k__l', 'w text, _dlt_parent_id text! parent_key, _dlt_id text! row_key', '{"parent": "t__k"}')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '2024-01-01|\N|1|h1', '2024-01-01|\N|2|h2');
CALL put('"Data".t__k', 'old|h1|h1|0|k1', 'old|h2|h2|0|k2');
CALL put('"Stage".t', '\N|\N|1|h1', '\N|\N|3|h3', '\N|\N|11|h11');
CALL put('"Stage".t__k', 'new|h1|h1|0|k1', 'new|h3|h3|0|k3', 'new|h11|h11|0|k11');
CALL put('"Stage".t__k__l', 'new|k3|l3', 'new|k11|l11');
SELECT * FROM statements(:'s') \g (format=unaligned tuples_only=on)
SELECT * FROM run(:'s');
SELECT id, _dlt_id, b IS NULL AS active FROM "Data".t ORDER BY 1;
SELECT * FROM "Data".t__k ORDER BY _dlt_id;
SELECT * FROM "Data".t__k__l ORDER BY _dlt_id;

-- 4 a scope instead of the merge key
SELECT schema(root('t', 'a timestamp x-valid-from, b timestamp x-valid-to, id bigint merge_key, rv text! x-row-version', 'scd2',
	'{"x-merge-destination-scope": "{table}.id >= 2"}')) AS s \gset
CALL make(:'s');
CALL put('"Data".t', '2024-01-01|\N|1|h1', '2024-01-01|\N|2|h2');
CALL put('"Stage".t', '\N|\N|9|h9');
SELECT * FROM run(:'s');
SELECT id, rv, b IS NULL AS active FROM "Data".t ORDER BY 1;

-- 5 what it cannot do without
SELECT * FROM run(schema(root('t', 'a timestamp x-valid-from, b timestamp x-valid-to', 'scd2')), 'check');
SELECT * FROM run(schema(root('t', 'b timestamp x-valid-to, rv text x-row-version', 'scd2')), 'check');
SELECT * FROM run(schema(root('t', 'a timestamp x-valid-from, rv text x-row-version', 'scd2')), 'check');
SELECT * FROM run(schema(root('t', 'a timestamp x-valid-from, b timestamp x-valid-to, rv text x-row-version', 'scd2')), 'check', NULL);
SELECT * FROM run(schema(root('t', 'a timestamp x-valid-from, b timestamp x-valid-to, rv text x-row-version', 'scd2')), 'check', 'now');
SELECT * FROM run(schema(root('t', 'a timestamp x-valid-from, b timestamp x-valid-to, rv text x-row-version', 'scd2')), 'check', '2024-13-01');

-- 6 every way to write a moment that dlt has, and what is none
CREATE FUNCTION help.moment(text) RETURNS text LANGUAGE plpgsql SET search_path = help, pg_catalog SET timezone = 'UTC' AS $$
BEGIN
	RETURN substring(s FROM '^UPDATE .* SET \S+ = (''[^'']*'') ') FROM statements(schema(root('t',
		'a timestamp x-valid-from, b timestamp x-valid-to, rv text! x-row-version', 'scd2',
		json_build_object('x-boundary-timestamp', $1)))) s WHERE s LIKE 'UPDATE%';
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT t, moment(t) FROM unnest(ARRAY['0', '1', '1700000000', '1700000000.5', '-1', '1e9', '-62135596800', '-62135596801',
	'253402300799', '253402300800', '1e99', 'e', '+', '1-2', '', ' ', '2024', '2024061', '20240301', '2024-03', '2024-3-1', '2024-03-01',
	'2024-03-01T12', '2024-03-01 12', '2024-03-01x12', '2024-03-01T1x', '2024-03-01T12:30', '2024-03-01T12:30:15.1234569Z',
	'2024-03-01T12:30:15,5', '2024-03-01T12:30:15.5+01:30', '0001-01-01', '9999-12-31', 'now', 'tomorrow', '-infinity', '/2024', ':2024']) t;
