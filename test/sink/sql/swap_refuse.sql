-- What is not swapped, and why; and what is found out late.
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS loader_sink_test;
CREATE SCHEMA IF NOT EXISTS loader_swap;
CREATE SCHEMA test;
SET search_path = test, public;
CREATE ROLE regress_swap_owner;
CREATE ROLE regress_swap_other;
GRANT ALL ON SCHEMA test TO regress_swap_owner, regress_swap_other;

-- Which of these tables, and why not.
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TABLE a_plain (a int);
CREATE TABLE b_parted (a int) PARTITION BY LIST (a);
CREATE TABLE b_parted_1 PARTITION OF b_parted FOR VALUES IN (1);
CREATE FOREIGN DATA WRAPPER regress_swap_fdw;
CREATE SERVER regress_swap_server FOREIGN DATA WRAPPER regress_swap_fdw;
CREATE FOREIGN TABLE c_foreign (a int) SERVER regress_swap_server;
CREATE VIEW d_view AS SELECT 1 AS a;
CREATE MATERIALIZED VIEW d_matview AS SELECT 1 AS a;
CREATE TEMPORARY TABLE e_temporary (a int);
CREATE UNLOGGED TABLE f_unlogged (a int);
CREATE TABLE g_parent (a int);
CREATE TABLE g_child () INHERITS (g_parent);
CREATE ACCESS METHOD regress_swap_am TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE h_method (a int) USING regress_swap_am;
CREATE TYPE i_type AS (a int);
CREATE TABLE i_typed OF i_type;
CREATE TABLE j_trigger_insert (a int);
CREATE TRIGGER t AFTER INSERT ON j_trigger_insert FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE TABLE j_trigger_delete (a int);
CREATE TRIGGER t BEFORE DELETE ON j_trigger_delete FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TABLE j_trigger_truncate (a int);
CREATE TRIGGER t AFTER TRUNCATE ON j_trigger_truncate FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE TABLE j_trigger_constraint (a int);
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON j_trigger_constraint FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TABLE j_trigger_update (a int);
CREATE TRIGGER t BEFORE UPDATE ON j_trigger_update FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TABLE j_trigger_disabled (a int);
CREATE TRIGGER t AFTER INSERT ON j_trigger_disabled FOR EACH STATEMENT EXECUTE FUNCTION nothing();
ALTER TABLE j_trigger_disabled DISABLE TRIGGER t;
CREATE TABLE j_trigger_replica (a int);
CREATE TRIGGER t AFTER INSERT ON j_trigger_replica FOR EACH STATEMENT EXECUTE FUNCTION nothing();
ALTER TABLE j_trigger_replica ENABLE REPLICA TRIGGER t;
CREATE TABLE k_rule_insert (a int);
CREATE RULE r AS ON INSERT TO k_rule_insert DO NOTHING;
CREATE TABLE k_rule_delete (a int);
CREATE RULE r AS ON DELETE TO k_rule_delete DO INSTEAD NOTHING;
CREATE TABLE k_rule_update (a int);
CREATE RULE r AS ON UPDATE TO k_rule_update DO INSTEAD NOTHING;
CREATE TABLE k_rule_disabled (a int);
CREATE RULE r AS ON INSERT TO k_rule_disabled DO NOTHING;
ALTER TABLE k_rule_disabled DISABLE RULE r;
CREATE TABLE l_referenced (a int PRIMARY KEY);
CREATE TABLE l_referencing (a int REFERENCES l_referenced);
CREATE TABLE l_itself (a int PRIMARY KEY, b int REFERENCES l_itself);
CREATE TABLE m_invalid (a int);
INSERT INTO m_invalid VALUES (1), (1);
CREATE UNIQUE INDEX CONCURRENTLY ON m_invalid (a);
CREATE TABLE n_whole_row (a int);
CREATE FUNCTION whole(n_whole_row) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT ($1).a';
CREATE INDEX ON n_whole_row (whole(n_whole_row));
CREATE ACCESS METHOD regress_swap_index TYPE INDEX HANDLER hashhandler;
CREATE OPERATOR CLASS regress_swap_ops DEFAULT FOR TYPE int USING regress_swap_index AS
	OPERATOR 1 =, FUNCTION 1 hashint4(int);
CREATE TABLE n_index_method (a int);
CREATE INDEX ON n_index_method USING regress_swap_index (a);
CREATE TABLE o_deferrable (a int PRIMARY KEY DEFERRABLE);
CREATE TABLE p_published (a int);
CREATE PUBLICATION regress_swap_p FOR TABLE p_published;
CREATE SEQUENCE r_sequence;
SELECT relname, way, reason FROM pg_class, swap_choose(oid)
	WHERE (relnamespace = 'test'::regnamespace OR relname IN ('e_temporary', 'pg_class')) AND relkind IN ('r', 'f', 'v', 'm', 'p', 'S')
	ORDER BY relname;
SET session_replication_role = replica;
SELECT relname, way, reason FROM pg_class, swap_choose(oid)
	WHERE relnamespace = 'test'::regnamespace AND relname ~ '_trigger_(insert|replica)|_rule_(insert|disabled)' ORDER BY relname;
RESET session_replication_role;
CREATE PUBLICATION regress_swap_all FOR ALL TABLES;
SELECT * FROM swap_choose('a_plain');
SELECT * FROM swap_choose('b_parted');
DROP PUBLICATION regress_swap_all, regress_swap_p;
SELECT * FROM swap_choose('p_published');
BEGIN;
CREATE TABLE q_new (a int);
SELECT * FROM swap_choose('q_new');
SAVEPOINT q;
SELECT swap_exchange('q_new', heap, fingerprint) FROM swap_make('q_new', '{a}', 'SELECT 1');
ROLLBACK TO q;
TRUNCATE a_plain;
SELECT swap_exchange('a_plain', heap, fingerprint) FROM swap_make('a_plain', '{a}', 'SELECT 1');
ROLLBACK;
-- What Citus knows of.
BEGIN;
SET LOCAL allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass, partmethod "char");
INSERT INTO pg_dist_partition VALUES ('a_plain', 'h');
SELECT * FROM swap_choose('a_plain');
SELECT * FROM swap_choose('o_deferrable');
ROLLBACK;

-- Roles.
SET ROLE regress_swap_owner;
CREATE TABLE owned (id int PRIMARY KEY, a text);
INSERT INTO owned VALUES (1, 'old');
SELECT * FROM swap_choose('owned');
ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
SELECT * FROM swap_choose('owned');
ALTER TABLE owned FORCE ROW LEVEL SECURITY;
SELECT * FROM swap_choose('owned');
ALTER TABLE owned DISABLE ROW LEVEL SECURITY;
SET ROLE regress_swap_other;
SELECT * FROM swap_choose('owned');
-- The owner swaps; what is in the hidden schema is none of its business.
SET ROLE regress_swap_owner;
SELECT * FROM swap_make('owned', '{id, a}', $$ SELECT 1, 'new'::text $$) \gset
SELECT relowner::regrole, relacl FROM pg_class WHERE oid = :heap;
SELECT count(*) FROM pg_class, LATERAL (SELECT has_schema_privilege('loader_swap', 'USAGE')) AS p(ok) WHERE oid = :heap AND ok;
SELECT swap_exchange('owned', :heap, :fingerprint) IS NOT NULL AS swapped;
SELECT swap_report('owned');
SELECT * FROM owned;
RESET ROLE;

-- What changes in between is found, and nothing is lost then.
CREATE FUNCTION try(t regclass, heap oid, fingerprint bigint) RETURNS TABLE (state text, message text, detail text)
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM swap_exchange(t, heap, fingerprint);
	state := '00000';
	RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN NEXT;
END $$;
CREATE TABLE stale (id int PRIMARY KEY, a text DEFAULT 'x', b int CHECK (b > 0));
CREATE INDEX stale_a ON stale (a);
SELECT * FROM swap_make('stale', '{id}', 'SELECT 1') \gset
\x on
BEGIN;
ALTER TABLE stale ADD c int;
SELECT * FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
ALTER TABLE stale RENAME id TO z;
SELECT state FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
ALTER TABLE stale RENAME a TO z;
SELECT state FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
ALTER TABLE stale ADD CHECK (b < 10);
SELECT state FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
ALTER TABLE stale ALTER a SET NOT NULL;
SELECT state FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
DROP INDEX stale_a;
SELECT state FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
DROP INDEX stale_a;
CREATE INDEX ON stale (a DESC);
SELECT state FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
DROP INDEX stale_a;
CREATE UNIQUE INDEX ON stale (a);
SELECT state FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
ALTER TABLE stale OWNER TO regress_swap_other;
SELECT state FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
CREATE TRIGGER t AFTER DELETE ON stale FOR EACH STATEMENT EXECUTE FUNCTION nothing();
SELECT * FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
CREATE PUBLICATION regress_swap_all FOR ALL TABLES;
SELECT * FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
DROP TABLE stale;
SELECT state, detail FROM try(4294967295::oid, :heap, :fingerprint);
ROLLBACK;
BEGIN;
DO $$ BEGIN
	EXECUTE (SELECT format('ALTER TABLE %s ALTER a TYPE int USING 1', oid::regclass) FROM pg_class
		WHERE relnamespace = 'loader_swap'::regnamespace AND relkind = 'r');
END $$;
SELECT * FROM try('stale', :heap, :fingerprint);
ROLLBACK;
-- What its owner can do to the heap itself, if he is let into the schema; %s is its name, or that of its index on a.
CREATE PROCEDURE to_heap(statement text, what text DEFAULT 'r') LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE (SELECT format(statement, oid::regclass) FROM pg_class WHERE relnamespace = 'loader_swap'::regnamespace AND relkind = what
		AND NOT EXISTS (SELECT FROM pg_index WHERE indexrelid = oid AND indisunique));
END $$;
BEGIN;
CALL to_heap('ALTER TABLE %s ADD COLUMN more int');
SELECT state, detail FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
CALL to_heap('ALTER TABLE %s DROP COLUMN b');
SELECT state, detail FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
CALL to_heap('CREATE INDEX ON %s (b)');
SELECT state, detail FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
CALL to_heap('DROP INDEX %s', 'i');
CALL to_heap('CREATE INDEX ON %s (b)');
SELECT state, detail FROM try('stale', :heap, :fingerprint);
ROLLBACK;
BEGIN;
SELECT swap_drop(:heap);
SELECT swap_drop(:heap);
SELECT * FROM try('stale', :heap, :fingerprint);
ROLLBACK;
-- In use by this session.
BEGIN;
INSERT INTO stale VALUES (5);
DECLARE c CURSOR FOR SELECT * FROM stale;
FETCH c;
SELECT * FROM try('stale', :heap, :fingerprint);
ROLLBACK;
-- What does not matter.
BEGIN;
DROP INDEX stale_a;
CREATE INDEX stale_other ON stale (a);
ALTER TABLE stale ALTER a SET DEFAULT 'y', ALTER a SET STATISTICS 5, SET (fillfactor = 50, toast.autovacuum_enabled = off);
COMMENT ON TABLE stale IS 'stale';
GRANT SELECT ON stale TO regress_swap_other;
COMMIT;
SELECT * FROM try('stale', :heap, :fingerprint);
\x off
SELECT * FROM stale;
SELECT t.reloptions, x.reloptions AS toast FROM pg_class t JOIN pg_class x ON x.oid = t.reltoastrelid WHERE t.oid = 'stale'::regclass;
-- What is locked before anything is changed: all that changes, with what belongs to it.
SELECT * FROM swap_make('stale', '{id}', 'SELECT 3') \gset
SELECT regexp_replace(relation::text, '\d+', 'N') AS relation
	FROM unnest(swap_relations('stale', :heap, :fingerprint)) WITH ORDINALITY AS r(relation, n) ORDER BY n = 1 DESC, 1;
SELECT swap_drop(:heap);
-- A view of it does not keep a heap that is to be dropped; no other table is.
SELECT * FROM swap_make('stale', '{id}', 'SELECT 1') \gset
DO $$ BEGIN
	EXECUTE (SELECT format('CREATE VIEW on_heap AS SELECT * FROM %s', oid::regclass) FROM pg_class
		WHERE relnamespace = 'loader_swap'::regnamespace AND relkind = 'r');
END $$;
SELECT swap_drop(:heap);
SELECT to_regclass('on_heap');
\set VERBOSITY sqlstate
SELECT swap_drop('stale'::regclass);
\set VERBOSITY default
SELECT swap_heaps();
-- The table is gone when its statistics are to be reported: that is not the swap's business any more.
SELECT swap_report(4294967295::oid);
-- An index that old snapshots could not use yet, for rows that were updated while it was built.
CREATE TABLE chains (id int, a int);
INSERT INTO chains VALUES (1, 1);
BEGIN;
UPDATE chains SET a = 2;
CREATE INDEX chains_a ON chains (a);
COMMIT;
SELECT indcheckxmin FROM pg_index WHERE indexrelid = 'chains_a'::regclass;
SELECT swap_exchange('chains', heap, fingerprint) IS NOT NULL AS swapped FROM swap_make('chains', '{id, a}', 'SELECT 1, 3');
SELECT indcheckxmin FROM pg_index WHERE indexrelid = 'chains_a'::regclass;
-- Made again, it takes the place of what an earlier attempt left.
SELECT heap AS first FROM swap_make('stale', '{id}', 'SELECT 1') \gset
SELECT * FROM swap_make('stale', '{id}', 'SELECT 2') \gset
SELECT :heap <> :first AS other, swap_heaps();
SELECT swap_exchange('stale', :heap, :fingerprint) IS NOT NULL AS swapped;
SELECT * FROM stale;

DROP SCHEMA test CASCADE;
DROP FOREIGN DATA WRAPPER regress_swap_fdw CASCADE;
DROP ACCESS METHOD regress_swap_am;
DROP ACCESS METHOD regress_swap_index CASCADE;
DROP ROLE regress_swap_owner, regress_swap_other;
