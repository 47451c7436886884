-- The sinks: which one a table gets, that each leaves what INSERT leaves, whom errors blame.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION loader_sink_test;
CREATE EXTENSION postgres_fdw;
CREATE SCHEMA "sink Test";
SET search_path = "sink Test", public;

-- rows from lines, their columns apart by |
CREATE FUNCTION rows_of(VARIADIC r text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS
$$ SELECT array_agg(string_to_array(x, '|', '\N')) FROM unnest(r) x $$;
-- n rows of (1, r1) .. (n, rn)
CREATE FUNCTION many(n int) RETURNS text[] LANGUAGE sql IMMUTABLE AS
$$ SELECT array_agg(ARRAY[i::text, 'r' || i] ORDER BY i) FROM generate_series(1, n) i $$;

-- 1 plain tables -------------------------------------------------------------------------
CREATE TABLE "Plain" ("Id" int PRIMARY KEY, dropped int, t text CHECK (t <> 'bad'),
	n int NOT NULL DEFAULT 7, u text DEFAULT upper('dflt'), s serial);
ALTER TABLE "Plain" DROP COLUMN dropped;
CREATE INDEX ON "Plain" (lower(t)) WHERE t IS NOT NULL;
CREATE INDEX ON "Plain" USING gin (string_to_array(t, ' '));
CREATE INDEX ON "Plain" USING brin ("Id");
SELECT * FROM sink_load('"Plain"', 'auto', '{Id,t}', rows_of('1|a', '2|\N'));
SELECT * FROM sink_load('"Plain"', 'executor', '{Id,t}', rows_of('3|a', '4|\N'));
INSERT INTO "Plain" ("Id", t) VALUES (5, 'a'), (6, NULL);
SELECT * FROM sink_load('"Plain"', 'heap', '{t,Id,n,u,s}', rows_of('x|7|1|\N|100'));
-- absent in some rows, in all; no column at all
SELECT * FROM sink_load('"Plain"', 'heap', '{Id,t,n,u}',
	rows_of('8|a|<absent>|<absent>', '9|<absent>|5|<absent>', '10|b|<absent>|v'));
SELECT * FROM sink_load('"Plain"', 'executor', '{Id,t,n,u}',
	rows_of('11|a|<absent>|<absent>', '12|<absent>|5|<absent>', '13|b|<absent>|v'));
SELECT * FROM "Plain" ORDER BY 1;
CREATE TABLE all_default (a int DEFAULT 1, b text DEFAULT 'x');
SELECT * FROM sink_load('all_default', 'heap', '{}', '{{x},{y}}');
SELECT * FROM sink_load('all_default', 'executor', '{}', '{{x},{y}}');
SELECT * FROM sink_load('all_default', 'executor', '{a,b}',
	'{{<absent>,<absent>},{<absent>,<absent>},{5,<absent>}}');
SELECT a, b, count(*) FROM all_default GROUP BY 1, 2 ORDER BY 1;
-- no rows; several batches; the indexes find the rows
CREATE TABLE many_rows (id int PRIMARY KEY, t text);
SELECT * FROM sink_load('many_rows', 'heap', '{id,t}', '{}');
SELECT * FROM sink_load('many_rows', 'executor', '{id,t}', '{}');
SELECT * FROM sink_load('many_rows', 'heap', '{id,t}', many(3500));
SET enable_seqscan = off;
SELECT id, t FROM many_rows WHERE id IN (1, 1000, 1001, 3000, 3500) ORDER BY id;
RESET enable_seqscan;
SELECT count(*), sum(id) FROM many_rows;
TRUNCATE many_rows;
SELECT * FROM sink_load('many_rows', 'executor', '{id,t}', many(3500));
SELECT count(*), sum(id) FROM many_rows;
-- a batch ends by bytes too; values that are toasted
TRUNCATE many_rows;
SELECT l.* FROM (VALUES ('heap', 0), ('executor', 100)) v(k, o), sink_load('many_rows', k, '{id,t}',
	(SELECT array_agg(ARRAY[(i + o)::text, repeat(i::text, 200000)]) FROM generate_series(1, 30) i)) l;
SELECT count(*), bool_and(t = repeat((id % 100)::text, 200000)) FROM many_rows;
TRUNCATE many_rows;
-- temporary and unlogged tables, a table of this transaction
CREATE TEMP TABLE temp_rows (id int, t text);
SELECT * FROM sink_load('temp_rows', 'auto', '{id,t}', many(3));
CREATE UNLOGGED TABLE unlogged_rows (id int, t text);
SELECT * FROM sink_load('unlogged_rows', 'auto', '{id,t}', many(3));
BEGIN;
CREATE TABLE new_rows (id int, t text);
SELECT * FROM sink_load('new_rows', 'auto', '{id,t}', many(1500));
SELECT count(*) FROM new_rows;
ROLLBACK;
-- inheritance: the rows are of the named table
CREATE TABLE child () INHERITS (many_rows);
SELECT * FROM sink_load('many_rows', 'auto', '{id,t}', many(2));
SELECT * FROM sink_load('child', 'auto', '{id,t}', many(3));
SELECT tableoid::regclass, count(*) FROM many_rows GROUP BY 1 ORDER BY 1;
DROP TABLE child;
TRUNCATE many_rows;

-- 2 errors, and the line that they blame ----------------------------------------------------
SELECT * FROM sink_load('"Plain"', 'heap', '{Id,t}', rows_of('20|a', '21|bad', '22|c'));
SELECT * FROM sink_load('"Plain"', 'executor', '{Id,t}', rows_of('20|a', '21|bad', '22|c'));
INSERT INTO "Plain" ("Id", t) VALUES (20, 'a'), (21, 'bad');
SELECT * FROM sink_load('"Plain"', 'heap', '{Id,n}', rows_of('20|1', '21|2', '22|\N'));
SELECT * FROM sink_load('"Plain"', 'executor', '{Id,n}', rows_of('20|1', '21|2', '22|\N'));
SELECT * FROM sink_load('"Plain"', 'heap', '{Id,t}', rows_of('20|a', '21|b', '20|c', '22|d'));
SELECT * FROM sink_load('"Plain"', 'executor', '{Id,t}', rows_of('20|a', '21|b', '20|c', '22|d'));
SELECT * FROM sink_load('"Plain"', 'heap', '{Id,t}', rows_of('20|a', 'x|b'));
-- in a later batch
INSERT INTO many_rows VALUES (2718, 'in the way');
SELECT * FROM sink_load('many_rows', 'heap', '{id,t}', many(5000));
SELECT * FROM sink_load('many_rows', 'executor', '{id,t}', many(5000));
-- where absent columns split the batches
SELECT * FROM sink_load('many_rows', 'executor', '{id,t}',
	rows_of('1|a', '2|<absent>', '3|<absent>', '2718|<absent>', '4|b'));
TABLE many_rows;
-- exclusion constraint, index expression that fails, value too long for an index, row too large
CREATE TABLE excl (id int, r int4range, EXCLUDE USING gist (r WITH &&));
SELECT * FROM sink_load('excl', 'heap', '{id,r}', rows_of('1|[1,3)', '2|[5,6)', '3|[2,4)'));
SELECT * FROM sink_load('excl', 'executor', '{id,r}', rows_of('1|[1,3)', '2|[5,6)', '3|[2,4)'));
CREATE TABLE expr (id int, t text);
CREATE INDEX ON expr ((100 / id));
SELECT * FROM sink_load('expr', 'heap', '{id}', '{{1},{0},{2}}');
SELECT * FROM sink_load('expr', 'executor', '{id}', '{{1},{0},{2}}');
CREATE TABLE long_key (id int, t text PRIMARY KEY);
CREATE FUNCTION noise(n int) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT string_agg(md5(i::text), '') FROM generate_series(1, n) i $$;
SELECT * FROM sink_load('long_key', 'heap', '{id,t}', ARRAY[['1','a'], ['2',noise(200)], ['3','c']]);
-- table_multi_insert does not say which row was too large; one by one it shows
CREATE TABLE long_row (id int, t text);
ALTER TABLE long_row ALTER t SET STORAGE PLAIN;
SELECT * FROM sink_load('long_row', 'heap', '{id,t}', ARRAY[['1','a'], ['2',noise(300)], ['3','c']]);
SELECT * FROM sink_load('long_row', 'executor', '{id,t}', ARRAY[['1','a'], ['2',noise(300)], ['3','c']]);
-- a default that fails for some rows; the sink's line, not the batch's
CREATE SEQUENCE countdown START 2 INCREMENT -1 MINVALUE -5 MAXVALUE 5;
CREATE TABLE bad_default (id int, d int DEFAULT 10 / nextval('countdown'));
SELECT * FROM sink_load('bad_default', 'heap', '{id}', '{{1},{2},{3},{4}}');
-- the whole batch: a statement trigger that refuses more than one row
CREATE TABLE one_by_one (id int);
CREATE FUNCTION at_most_one() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF (SELECT count(*) FROM new) > 1 THEN RAISE EXCEPTION 'one row, please'; END IF; RETURN NULL; END $$;
CREATE TRIGGER one AFTER INSERT ON one_by_one REFERENCING NEW TABLE AS new
	FOR EACH STATEMENT EXECUTE FUNCTION at_most_one();
SELECT * FROM sink_load('one_by_one', 'auto', '{id}', '{{1}}');
SELECT * FROM sink_load('one_by_one', 'auto', '{id}', '{{1},{2},{3}}');
TABLE one_by_one;
-- errors that are no row's fault are not looked for
CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'try again' USING ERRCODE = 'serialization_failure'; END $$;
CREATE TRIGGER conflict BEFORE INSERT ON one_by_one FOR EACH ROW EXECUTE FUNCTION conflict();
SELECT * FROM sink_load('one_by_one', 'auto', '{id}', '{{1},{2}}');
-- what takes no rows
CREATE SEQUENCE seq;
CREATE MATERIALIZED VIEW matview AS SELECT 1 AS a;
CREATE VIEW fixed_view AS SELECT count(*) AS a FROM many_rows;
CREATE TYPE comp AS (a int);
SELECT * FROM sink_load('seq', 'auto', '{last_value}', '{{1}}');
SELECT * FROM sink_load('matview', 'auto', '{a}', '{{1}}');
SELECT * FROM sink_load('fixed_view', 'auto', '{a}', '{{1}}');
SELECT * FROM sink_load('comp', 'auto', '{a}', '{{1}}');
SELECT * FROM sink_load('one_by_one', 'heap', '{id}', '{{1}}');
BEGIN READ ONLY;
SELECT * FROM sink_load('many_rows', 'heap', '{id}', '{{1}}');
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM sink_load('temp_rows', 'heap', '{id}', '{{1}}');
ROLLBACK;

-- 3 domains, identity, generated columns ----------------------------------------------------
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE DOMAIN filled AS text NOT NULL;
CREATE DOMAIN dflt AS text DEFAULT 'from domain' CHECK (VALUE <> '');
CREATE TABLE doms (id int, p posint, f filled, d dflt);
SELECT * FROM sink_load('doms', 'heap', '{id,p,f}', rows_of('1|1|a', '2|\N|b'));
SELECT * FROM sink_load('doms', 'executor', '{id,p,f}', rows_of('3|1|a', '4|\N|b'));
INSERT INTO doms (id, p, f) VALUES (5, 1, 'a'), (6, NULL, 'b');
SELECT * FROM sink_load('doms', 'heap', '{id,f}', rows_of('1|a', '2|\N'));
SELECT * FROM sink_load('doms', 'executor', '{id,f}', rows_of('1|a', '2|\N'));
SELECT * FROM sink_load('doms', 'heap', '{id,p}', rows_of('1|1', '2|1'));
SELECT * FROM sink_load('doms', 'executor', '{id,p}', rows_of('1|1', '2|1'));
INSERT INTO doms (id, p) VALUES (1, 1);
SELECT * FROM sink_load('doms', 'heap', '{id,p,f}', rows_of('1|1|a', '2|-1|b'));
SELECT * FROM doms ORDER BY id;

CREATE TABLE ident (id int GENERATED ALWAYS AS IDENTITY, b int GENERATED BY DEFAULT AS IDENTITY, t text);
SELECT * FROM sink_load('ident', 'heap', '{t}', '{{a}}');
SELECT * FROM sink_load('ident', 'executor', '{t}', '{{b}}');
SELECT * FROM sink_load('ident', 'heap', '{id,b,t}', '{{101,201,c},{<absent>,<absent>,d}}');
SELECT * FROM sink_load('ident', 'executor', '{id,b,t}', '{{102,202,e},{<absent>,<absent>,f}}');
SELECT * FROM ident ORDER BY t;

CREATE TABLE gen (a int, b int GENERATED ALWAYS AS (100 / a) STORED);
SELECT * FROM sink_load('gen', 'auto', '{a}', '{{1},{2}}');
SELECT * FROM sink_load('gen', 'auto', '{a}', '{{1},{0}}');
SELECT * FROM sink_load('gen', 'auto', '{a,b}', '{{1,1}}');
SELECT * FROM gen ORDER BY a;

-- volatile defaults that look at the table see the rows before theirs, as with INSERT
CREATE TABLE counted (id int, n bigint);
CREATE FUNCTION counted_rows() RETURNS bigint LANGUAGE sql VOLATILE AS
$$ SELECT count(*) FROM "sink Test".counted $$;
ALTER TABLE counted ALTER n SET DEFAULT counted_rows();
SELECT * FROM sink_load('counted', 'heap', '{id}', '{{1},{2},{3}}');
SELECT * FROM sink_load('counted', 'executor', '{id}', '{{4},{5},{6}}');
SELECT * FROM counted ORDER BY id;

-- 4 what goes through the executor ----------------------------------------------------------
CREATE TABLE parted (id int, k text, t text DEFAULT 'd') PARTITION BY LIST (k);
CREATE TABLE parted_a PARTITION OF parted FOR VALUES IN ('a');
CREATE TABLE parted_b (t text, k text, id int);
ALTER TABLE parted ATTACH PARTITION parted_b FOR VALUES IN ('b');
SELECT * FROM sink_load('parted', 'auto', '{id,k}', rows_of('1|a', '2|b', '3|a'));
SELECT * FROM sink_load('parted', 'auto', '{id,k}', rows_of('4|a', '5|b', '6|c', '7|a'));
SELECT * FROM sink_load('parted_a', 'auto', '{id,k}', rows_of('8|a'));
SELECT * FROM sink_load('parted_a', 'auto', '{id,k}', rows_of('9|a', '10|b'));
SELECT tableoid::regclass, * FROM parted ORDER BY id;

CREATE TABLE log (what text);
CREATE TABLE trig (id int, t text);
CREATE FUNCTION trig_before() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF NEW.t = 'skip' THEN RETURN NULL; END IF; NEW.t := NEW.t || '!'; RETURN NEW; END $$;
CREATE FUNCTION trig_row() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO log VALUES (TG_NAME || ' ' || NEW.id); RETURN NULL; END $$;
CREATE FUNCTION trig_stmt() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO log SELECT TG_NAME || ' ' || count(*) || ' rows' FROM fresh; RETURN NULL; END $$;
CREATE TRIGGER b BEFORE INSERT ON trig FOR EACH ROW EXECUTE FUNCTION trig_before();
CREATE TRIGGER r AFTER INSERT ON trig FOR EACH ROW EXECUTE FUNCTION trig_row();
CREATE TRIGGER s AFTER INSERT ON trig REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION trig_stmt();
SELECT * FROM sink_load('trig', 'auto', '{id,t}', rows_of('1|a', '2|skip', '3|c'));
TABLE trig;
TABLE log;
TRUNCATE log;
-- disabled, or not for this role of the session
ALTER TABLE trig DISABLE TRIGGER USER;
SELECT * FROM sink_load('trig', 'auto', '{id,t}', rows_of('4|d'));
ALTER TABLE trig ENABLE TRIGGER USER;
SET session_replication_role = replica;
SELECT * FROM sink_load('trig', 'auto', '{id,t}', rows_of('5|e'));
ALTER TABLE trig ENABLE ALWAYS TRIGGER r;
SELECT * FROM sink_load('trig', 'auto', '{id,t}', rows_of('6|f'));
RESET session_replication_role;
ALTER TABLE trig DISABLE TRIGGER USER;
ALTER TABLE trig ENABLE REPLICA TRIGGER r;
SELECT * FROM sink_load('trig', 'auto', '{id,t}', rows_of('7|g'));
TABLE trig;
TABLE log;
-- other events do not matter
CREATE TABLE upd_only (id int);
CREATE TRIGGER u BEFORE UPDATE ON upd_only FOR EACH ROW EXECUTE FUNCTION trig_before();
SELECT * FROM sink_load('upd_only', 'auto', '{id}', '{{1}}');

-- foreign keys and constraints that are deferred
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE kid (id int UNIQUE DEFERRABLE INITIALLY DEFERRED, p int);
SELECT * FROM sink_load('parent', 'auto', '{id}', '{{1},{2}}');
SELECT * FROM sink_load('kid', 'auto', '{id}', '{{1}}');
TRUNCATE kid;
ALTER TABLE kid ADD FOREIGN KEY (p) REFERENCES parent;
ALTER TABLE kid DROP CONSTRAINT kid_id_key;
SELECT * FROM sink_load('kid', 'auto', '{id,p}', '{{1,1},{2,2}}');
SELECT * FROM sink_load('parent', 'auto', '{id}', '{{3}}');
SELECT * FROM sink_load('kid', 'auto', '{id,p}', '{{3,3},{4,44},{5,1}}');
ALTER TABLE kid ADD CONSTRAINT late UNIQUE (id) DEFERRABLE INITIALLY DEFERRED;
BEGIN;
SELECT inserted FROM sink_load('kid', 'executor', '{id,p}', '{{1,1},{7,1}}');
DELETE FROM kid WHERE id = 1 AND ctid = (SELECT min(ctid) FROM kid WHERE id = 1);
COMMIT;
SELECT inserted FROM sink_load('kid', 'executor', '{id,p}', '{{8,1},{7,1}}');
SELECT * FROM kid ORDER BY id;

-- rules
CREATE TABLE ruled (id int, t text);
CREATE RULE also AS ON INSERT TO ruled DO ALSO INSERT INTO log VALUES ('rule ' || NEW.id);
TRUNCATE log;
SELECT * FROM sink_load('ruled', 'auto', '{id,t}', rows_of('1|a', '2|b'));
TABLE ruled;
SELECT * FROM log ORDER BY 1;
CREATE RULE instead AS ON INSERT TO ruled DO INSTEAD NOTHING;
SELECT * FROM sink_load('ruled', 'auto', '{id,t}', rows_of('3|c'));
ALTER TABLE ruled DISABLE RULE also;
ALTER TABLE ruled DISABLE RULE instead;
SELECT * FROM sink_load('ruled', 'auto', '{id,t}', rows_of('4|d'));
SELECT * FROM ruled ORDER BY id;

-- views
CREATE VIEW simple AS SELECT id, t FROM ident WHERE t <> 'no' WITH CHECK OPTION;
SELECT * FROM sink_load('simple', 'auto', '{id,t}', rows_of('301|v', '<absent>|w'));
SELECT * FROM sink_load('simple', 'auto', '{id,t}', rows_of('302|x', '303|no'));
SELECT * FROM ident WHERE t IN ('v', 'w', 'x') ORDER BY t;
CREATE FUNCTION via_trigger() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF NEW.a < 0 THEN RETURN NULL; END IF; INSERT INTO log VALUES ('instead ' || NEW.a); RETURN NEW; END $$;
CREATE VIEW instead AS SELECT count(*) AS a FROM log;
CREATE TRIGGER i INSTEAD OF INSERT ON instead FOR EACH ROW EXECUTE FUNCTION via_trigger();
TRUNCATE log;
SELECT * FROM sink_load('instead', 'auto', '{a}', '{{1},{-1},{3}}');
TABLE log;

-- foreign tables
DO $$ BEGIN EXECUTE format('CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw
	OPTIONS (dbname %L, port %L, host %L, batch_size ''10'')', current_database(), current_setting('port'),
	split_part(current_setting('unix_socket_directories'), ',', 1)); END $$;
CREATE USER MAPPING FOR CURRENT_USER SERVER loopback;
CREATE TABLE remote (id int PRIMARY KEY, t text DEFAULT 'remote');
CREATE FOREIGN TABLE local_name (id int, t text DEFAULT 'local') SERVER loopback
	OPTIONS (schema_name 'sink Test', table_name 'remote');
SELECT * FROM sink_load('local_name', 'auto', '{id,t}', rows_of('1|a', '2|<absent>', '3|c'));
SELECT * FROM sink_load('local_name', 'auto', '{id,t}', rows_of('4|a', '5|b', '2|c', '6|d'));
SELECT * FROM remote ORDER BY id;
ALTER SERVER loopback OPTIONS (updatable 'false');
SELECT * FROM sink_load('local_name', 'auto', '{id,t}', rows_of('7|a'));

-- 5 privileges and row-level security --------------------------------------------------------
CREATE ROLE regress_sink_user;
GRANT USAGE ON SCHEMA "sink Test" TO regress_sink_user;
CREATE TABLE owned (id int CHECK (id < 100), secret text DEFAULT 'hidden', t text);
GRANT INSERT (id, t) ON owned TO regress_sink_user;
CREATE TABLE secured (id int, who text DEFAULT CURRENT_USER);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secured FOR INSERT WITH CHECK (who = CURRENT_USER);
GRANT INSERT, SELECT ON secured TO regress_sink_user;
GRANT INSERT ON simple TO regress_sink_user;
SELECT * FROM sink_load('secured', 'auto', '{id}', '{{0}}');
SET ROLE regress_sink_user;
SELECT * FROM sink_load('many_rows', 'heap', '{id}', '{{1}}');
SELECT * FROM sink_load('many_rows', 'executor', '{}', '{{1}}');
SELECT * FROM sink_load('owned', 'heap', '{id,t}', '{{1,a}}');
SELECT * FROM sink_load('owned', 'executor', '{id,t}', '{{2,b}}');
SELECT * FROM sink_load('owned', 'heap', '{}', '{{x}}');
SELECT * FROM sink_load('owned', 'heap', '{id,secret}', '{{3,c}}');
SELECT * FROM sink_load('owned', 'executor', '{id,secret}', '{{3,c}}');
-- the error shows the columns that this role wrote, and no other
SELECT * FROM sink_load('owned', 'heap', '{id}', '{{1},{100}}');
SELECT * FROM sink_load('owned', 'executor', '{id}', '{{1},{100}}');
INSERT INTO owned (id) VALUES (100);
SELECT * FROM sink_load('secured', 'auto', '{id}', '{{1},{2}}');
SELECT * FROM sink_load('secured', 'auto', '{id,who}', '{{3,regress_sink_user},{4,other}}');
SELECT * FROM sink_load('secured', 'heap', '{id}', '{{5}}');
SET row_security = off;
SELECT * FROM sink_load('secured', 'auto', '{id}', '{{5}}');
RESET row_security;
-- a column that is not permitted may stand in the file's list, if no row brings it
SELECT * FROM sink_load('owned', 'heap', '{id,t,secret}', rows_of('4|d|<absent>', '5|<absent>|<absent>'));
SELECT * FROM sink_load('owned', 'executor', '{id,t,secret}', rows_of('6|d|<absent>', '7|<absent>|<absent>'));
SELECT * FROM sink_load('owned', 'heap', '{id,t,secret}', rows_of('8|d|<absent>', '9|e|f'));
SELECT * FROM sink_load('owned', 'executor', '{id,t,secret}', rows_of('8|d|<absent>', '9|e|\N'));
RESET ROLE;
SELECT * FROM secured ORDER BY id;
SELECT * FROM owned ORDER BY id;

-- 6 the caller's surroundings ----------------------------------------------------------------
-- inside SPI, with subtransactions around, many sets of absent columns
CREATE TABLE wide (c1 int DEFAULT 1, c2 int DEFAULT 2, c3 int DEFAULT 3, c4 int DEFAULT 4, c5 int DEFAULT 5);
DO $$
DECLARE
	data text[];
	r record;
BEGIN
	SELECT array_agg(ARRAY[
		CASE WHEN i & 1 = 0 THEN '<absent>' ELSE '-1' END, CASE WHEN i & 2 = 0 THEN '<absent>' ELSE '-1' END,
		CASE WHEN i & 4 = 0 THEN '<absent>' ELSE '-1' END, CASE WHEN i & 8 = 0 THEN '<absent>' ELSE '-1' END,
		CASE WHEN i & 16 = 0 THEN '<absent>' ELSE '-1' END] ORDER BY i) INTO data
		FROM generate_series(0, 127) i;
	FOR i IN 1..3 LOOP
		BEGIN
			SELECT * INTO r FROM sink_load('wide', CASE WHEN i = 2 THEN 'heap' ELSE 'executor' END,
				'{c1,c2,c3,c4,c5}', data);
			RAISE WARNING '% %', i, r;
			IF i = 3 THEN RAISE EXCEPTION 'undo'; END IF;
		EXCEPTION WHEN raise_exception THEN RAISE WARNING 'caught %', SQLERRM;
		END;
	END LOOP;
	BEGIN
		PERFORM sink_load('many_rows', 'executor', '{id,t}', rows_of('1|a', '2718|b'));
	EXCEPTION WHEN unique_violation THEN RAISE WARNING 'caught %', SQLERRM;
	END;
	PERFORM sink_load('many_rows', 'executor', '{id,t}', rows_of('1|a', '2|b'));
END $$;
SELECT count(*), sum(c1), sum(c2), sum(c3), sum(c4), sum(c5) FROM wide;
TABLE many_rows;
-- a column without a default is NULL where it is absent, and ends no batch
CREATE DOMAIN short AS text CHECK (VALUE IS NOT NULL);
CREATE TABLE gaps (id int, v int, d text DEFAULT 'd') PARTITION BY RANGE (id);
CREATE TABLE gaps_1 PARTITION OF gaps FOR VALUES FROM (0) TO (30000);
CREATE TABLE gaps_2 PARTITION OF gaps FOR VALUES FROM (30000) TO (100000);
SELECT txid_current() AS before \gset
SELECT * FROM sink_load('gaps', 'auto', '{id,v}', (SELECT array_agg(ARRAY[i::text,
	CASE WHEN i % 2 = 0 THEN i::text ELSE '<absent>' END] ORDER BY i) FROM generate_series(1, 50000) i));
-- a batch takes one, and others may take some meanwhile
SELECT txid_current() - :before < 200 AS one_each_batch, count(*), count(v), sum(v), count(d) FROM gaps;
SELECT * FROM sink_load('gaps', 'auto', '{id,v,d}', rows_of('1|<absent>|<absent>', '2|<absent>|x', '3|1|\N', '4|\N|<absent>'));
SELECT * FROM gaps WHERE id < 5 ORDER BY id, v, d;
CREATE TABLE domains (id int, s short) PARTITION BY LIST (id);
CREATE TABLE domains_1 PARTITION OF domains DEFAULT;
SELECT * FROM sink_load('domains', 'auto', '{id,s}', rows_of('1|x', '2|<absent>'));
CREATE TABLE below (id int, v int DEFAULT 5, w int);
CREATE VIEW above AS SELECT * FROM below;
SELECT * FROM sink_load('above', 'auto', '{id,v,w}', rows_of('1|1|1', '2|<absent>|<absent>', '3|\N|3'));
TABLE below;
-- the name that the executor sink gives its rows hides no table of that name
CREATE TABLE loader_rows (id int, t text);
SELECT * FROM sink_load('loader_rows', 'executor', '{id,t}', many(2));
TABLE loader_rows;

SET client_min_messages = error;
DROP SCHEMA "sink Test" CASCADE;
DROP ROLE regress_sink_user;
DROP SERVER loopback CASCADE;
DROP EXTENSION postgres_fdw;
DROP EXTENSION loader_sink_test;
