-- What `make demo` shows of replace and merge. :packages is a directory with the packages of two
-- pipelines, :copies one with many packages of the first, which differ in their load ids only.
\set QUIET 1
\pset border 1
\pset null '(null)'
SET client_min_messages = warning;

\echo
\echo '== Replace a table that others use: a view, a grant, an index of its own'
\set first :packages /replace_optimized/1795377788.1976807
\o /dev/null
CALL loader_run(:'first', dataset => 'replaced');
\o
CREATE ROLE analyst;
CREATE VIEW replaced.report AS SELECT id, name, _dlt_load_id FROM replaced.tree;
CREATE INDEX tree_name ON replaced.tree (name);
GRANT SELECT ON replaced.tree TO analyst;
\echo '   CALL loader_run(\'.../1795377788.1976807\', dataset => \'replaced\');'
\echo '   CREATE VIEW replaced.report AS SELECT id, name, _dlt_load_id'
\echo '   FROM replaced.tree;'
\echo '   CREATE INDEX tree_name ON replaced.tree (name);'
\echo '   GRANT SELECT ON replaced.tree TO analyst;'
\echo '   SELECT * FROM replaced.report ORDER BY id;'
SELECT * FROM replaced.report ORDER BY id;
CREATE TABLE public.before AS
SELECT oid, relfilenode, relacl::text AS grants FROM pg_class WHERE oid = 'replaced.tree'::regclass;

\set second :packages /replace_optimized/1795377788.7219872
\echo '== How would the next package replace it?'
\echo '   SELECT action, detail FROM loader_plan(\'.../1795377788.7219872\','
\echo '   dataset => \'replaced\') WHERE object = \'replaced.tree\';'
\pset format wrapped
\pset columns 80
SELECT action, detail
FROM loader_plan(:'second', dataset => 'replaced') WHERE object = 'replaced.tree';
\pset format aligned

-- A session that reads through the view until it is told to stop.
CREATE TABLE public.reader (reads bigint, empty_reads bigint, mixed_reads bigint, errors bigint,
	longest_read interval, stop boolean DEFAULT false, stopped boolean DEFAULT false);
CREATE PROCEDURE public.read_on() LANGUAGE plpgsql AS $$
DECLARE
	reads_done bigint := 0;
	reads_empty bigint := 0;
	reads_mixed bigint := 0;
	reads_failed bigint := 0;
	longest interval := '0';
	begun timestamptz;
	found_rows bigint;
	found_loads bigint;
BEGIN
	INSERT INTO public.reader DEFAULT VALUES;
	COMMIT;
	WHILE NOT (SELECT stop FROM public.reader) LOOP
		begun := clock_timestamp();
		BEGIN
			SELECT count(*), count(DISTINCT _dlt_load_id) INTO found_rows, found_loads
			FROM replaced.report;
			reads_done := reads_done + 1;
			reads_empty := reads_empty + (found_rows = 0)::integer;
			reads_mixed := reads_mixed + (found_loads > 1)::integer;
		EXCEPTION WHEN OTHERS THEN
			reads_failed := reads_failed + 1;
		END;
		longest := greatest(longest, clock_timestamp() - begun);
		COMMIT;
	END LOOP;
	UPDATE public.reader SET reads = reads_done, empty_reads = reads_empty,
		mixed_reads = reads_mixed, errors = reads_failed, longest_read = longest, stopped = true;
END $$;
CREATE PROCEDURE public.wait_for_reader(condition text) LANGUAGE plpgsql AS $$
DECLARE
	is_so boolean := false;
BEGIN
	FOR i IN 1 .. 3000 LOOP
		EXECUTE 'SELECT EXISTS (SELECT FROM public.reader WHERE ' || condition || ')' INTO is_so;
		EXIT WHEN is_so;
		PERFORM pg_sleep(0.01);
	END LOOP;
	IF NOT is_so THEN
		RAISE 'the reader does not answer';
	END IF;
END $$;

\echo '== Replace it many times, while a session reads the view without a pause'
\echo '   SELECT loader_scan(\'...\', dataset => \'replaced\');'
\! psql -X -q -c 'CALL public.read_on()' &
CALL public.wait_for_reader('NOT stop');
\o /dev/null
SELECT loader_scan(:'copies', dataset => 'replaced');
SELECT loader_wait(package_id, timeout => '50s') FROM loader.packages WHERE dataset = 'replaced';
\o
UPDATE public.reader SET stop = true;
CALL public.wait_for_reader('stopped');
SELECT state, count(*) AS packages FROM loader.packages WHERE dataset = 'replaced' GROUP BY 1;
SELECT reads, empty_reads, mixed_reads, errors, longest_read FROM public.reader;

\echo '== How long was the table locked for the swap?'
\echo '   SELECT table_name, count(*) AS swaps, max(lock_hold), percentile_disc(0.5)'
\echo '   WITHIN GROUP (ORDER BY lock_hold) AS median'
\echo '   FROM loader.tables WHERE stage = \'swap heap\' GROUP BY 1 ORDER BY 1;'
SELECT table_name, count(*) AS swaps, max(lock_hold),
	percentile_disc(0.5) WITHIN GROUP (ORDER BY lock_hold) AS median
FROM loader.tables WHERE stage = 'swap heap' AND dataset = 'replaced' GROUP BY 1 ORDER BY 1;

\echo '== Is it still the same table?'
SELECT c.oid = b.oid AS same_oid, c.relacl::text = b.grants AS same_grants,
	c.relfilenode <> b.relfilenode AS new_storage,
	(SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid) AS indexes
FROM pg_class c, public.before b WHERE c.oid = 'replaced.tree'::regclass;
\echo '   SELECT * FROM replaced.report ORDER BY id;'
SELECT * FROM replaced.report ORDER BY id;

\echo '== Merge: strategy upsert, with nested tables and rows marked as deleted'
\set first :packages /upsert_nested/1795377796.1547942
\set second :packages /upsert_nested/1795377796.6000133
\o /dev/null
CALL loader_run(:'first', dataset => 'merged');
\o
\echo '   CALL loader_run(\'.../1795377796.1547942\', dataset => \'merged\');'
\echo '   SELECT id, name, _dlt_load_id FROM merged.tree ORDER BY id;'
SELECT id, name, _dlt_load_id FROM merged.tree ORDER BY id;
\o /dev/null
CALL loader_run(:'second', dataset => 'merged');
\o
\echo '   CALL loader_run(\'.../1795377796.6000133\', dataset => \'merged\');'
\echo '   SELECT id, name, _dlt_load_id FROM merged.tree ORDER BY id;'
SELECT id, name, _dlt_load_id FROM merged.tree ORDER BY id;
\echo '   SELECT table_name, rows_read, rows_inserted, rows_updated, rows_deleted'
\echo '   FROM loader.tables WHERE package_id = ...;'
SELECT table_name, rows_read AS read, rows_inserted AS inserted, rows_updated AS updated,
	rows_deleted AS deleted
FROM loader.tables WHERE package_id = (SELECT max(package_id) FROM loader.packages) ORDER BY 1;
