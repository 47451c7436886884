# test/t/051_hostile_objects.pl: objects that somebody has laid in the way of a load: operators,
# functions, types and tables that fit better than those that are meant, tables with code of others in
# every place, names that are SQL, files that are exchanged while they are looked at. No code runs with
# rights that its author or, as for every INSERT, the role that loads has not. Triggers, defaults and the
# like under loads in package mode are 001_role's, and not repeated.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderAirbyte;
use LoaderCrash;
use LoaderStage;
use LoaderTest;
use POSIX ();
use Test::More;

my $top = packages_dir();
my ($listed, $closed) = ("$top/listed", "$top/closed");
mkdir $_ or die "could not make $_: $!" for $listed, $closed;

my $node = new_node('main', "shared_preload_libraries = 'loader'\nloader.max_workers = 8\nmax_worker_processes = 40\nloader.launcher_naptime = 1\n"
	. "wal_level = logical\nloader.package_directories = " . quote_literal($listed), bare => 1);

one($node, q{
	CREATE ROLE mallory LOGIN;
	CREATE ROLE etl LOGIN;
	CREATE ROLE bystander LOGIN;
	GRANT pg_read_server_files TO etl;});

# What a piece of code tries, and where it says how it went. Who it is counts most.
my $evil = <<'SQL';
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TABLE evil.log (vector text, attempt text, who text, session text, super boolean, done boolean, sqlstate text);
CREATE TABLE evil.planted (name text, who text);
GRANT INSERT ON evil.log, evil.planted TO PUBLIC;
CREATE FUNCTION evil.attack(vector text) RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
	attempt text;
	done boolean;
	code text;
BEGIN
	FOREACH attempt IN ARRAY ARRAY['none', 'RESET ROLE', 'SET ROLE postgres', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION postgres',
		$q$SELECT set_config('role', 'none', false)$q$, $q$SELECT set_config('session_authorization', 'postgres', false)$q$,
		'ALTER ROLE mallory SUPERUSER', $q$COPY (SELECT 1) TO PROGRAM 'true'$q$, 'SELECT count(rolpassword) FROM pg_authid',
		'UPDATE loader.package SET wanted = true', 'DELETE FROM bystanders.own']
	LOOP
		done := true;
		code := NULL;
		BEGIN
			IF attempt = 'none' THEN
				done := false;
			ELSE
				EXECUTE attempt;
			END IF;
		EXCEPTION WHEN OTHERS THEN
			done := false;
			code := SQLSTATE;
		END;
		INSERT INTO evil.log VALUES (vector, attempt, current_user, session_user,
			current_setting('is_superuser')::boolean OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), done, code);
	END LOOP;
	RETURN 'x';
END $$;
CREATE FUNCTION evil.passes(vector text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM evil.attack(vector); RETURN true; END';
CREATE FUNCTION evil.same(vector text, value text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM evil.attack(vector); RETURN value; END';
CREATE FUNCTION evil.fires() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN PERFORM evil.attack(TG_ARGV[0]); IF TG_OP = ''DELETE'' THEN RETURN OLD; END IF; RETURN NEW; END';
CREATE FUNCTION evil.opens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		EXECUTE format('DECLARE %I CURSOR WITH HOLD FOR SELECT evil.attack(''cursor'')', 'held_' || TG_RELID);
	EXCEPTION WHEN duplicate_cursor THEN NULL;
	END;
	RETURN NEW;
END $$;
CREATE FUNCTION evil.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.attack(''event trigger''); END';
SQL

# Another database for what is planted: it would be in the way of the rest.
my %planted = (database => 'planted');
one($node, 'CREATE DATABASE planted');
for my $database (qw(postgres planted))
{
	one($node, 'GRANT CREATE ON DATABASE ' . $database . ' TO mallory, etl, bystander; GRANT CREATE ON SCHEMA public TO mallory', database => $database);
	one($node, $evil, user => 'mallory', database => $database);
}

# --- objects that fit better: planted before the extension is made -------------------------------------

# In public, where mallory may create: an operator for every name that SQL of ours could use and for every
# pair of types, and functions with the names and arguments of the server's own. Each says that it was
# called, and does what the one that was meant does.
one($node, <<'SQL', user => 'mallory', %planted);
SET client_min_messages = error;
SET search_path = pg_catalog;
DO $$
DECLARE
	f record;
	named text;
	n int := 0;
	plain text[] := ARRAY['text', 'character varying', 'name', '"char"', 'smallint', 'integer', 'bigint', 'numeric', 'double precision', 'boolean', 'oid',
		'timestamp with time zone', 'timestamp without time zone', 'date', 'interval', 'json', 'jsonb', 'bytea', 'uuid', 'text[]', 'tid', 'regclass'];
BEGIN
	FOR f IN
		SELECT op, l, r, coalesce(o.result, 'boolean') AS result, o.found
		FROM unnest(ARRAY['=', '<>', '<', '>', '<=', '>=', '||', '+', '-', '*', '/', '%', '~', '!~', '~~', '!~~', '->', '->>', '#>>', '@>', '&&']) op,
			unnest(plain) l, unnest(plain) r
			LEFT JOIN LATERAL (SELECT format_type(oprresult, NULL) AS result, true AS found FROM pg_operator
				WHERE oprname = op AND oprleft = to_regtype(l) AND oprright = to_regtype(r) AND oprnamespace = 'pg_catalog'::regnamespace) o ON true
		WHERE o.found OR op IN ('=', '<>', '<', '>', '/', '*', '||', '-', '+')
	LOOP
		n := n + 1;
		EXECUTE format('CREATE FUNCTION evil.op_%s(a %s, b %s) RETURNS %s LANGUAGE plpgsql SET search_path = pg_catalog AS %L', n, f.l, f.r, f.result,
			format('BEGIN INSERT INTO evil.planted VALUES (%L, current_user); RETURN %s; END', format('operator %s(%s,%s)', f.op, f.l, f.r),
				CASE WHEN f.found THEN format('a OPERATOR(pg_catalog.%s) b', f.op) ELSE 'NULL' END));
		EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.op_%s)', f.op, f.l, f.r, n);
	END LOOP;
	FOR f IN
		SELECT proname, pg_get_function_identity_arguments(oid) AS arguments, pg_get_function_result(oid) AS result, pronargs
		FROM pg_proc p
		WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND prorettype <> 'void'::regtype AND NOT proretset AND provariadic = 0
			AND proname IN ('lower', 'upper', 'md5', 'now', 'clock_timestamp', 'format', 'quote_ident', 'quote_literal', 'length', 'substr', 'substring', 'left', 'right',
				'regexp_replace', 'split_part', 'starts_with', 'make_interval', 'round', 'repeat', 'floor', 'nextval', 'pg_has_role', 'to_regrole', 'to_regclass',
				'current_setting', 'set_config', 'pg_backend_pid', 'current_database', 'strpos', 'replace', 'concat_ws', 'hashtext', 'date_trunc', 'to_timestamp',
				'jsonb_typeof', 'json_typeof', 'pg_column_size', 'ceil', 'abs', 'sign', 'encode', 'decode', 'convert_from')
			AND NOT EXISTS (SELECT FROM unnest(proargtypes) t WHERE t::regtype::text LIKE 'any%' OR t::regtype::text IN ('internal', 'cstring', '"any"'))
	LOOP
		n := n + 1;
		EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql SET search_path = pg_catalog AS %L', f.proname, f.arguments, f.result,
			format('BEGIN INSERT INTO evil.planted VALUES (%L, current_user); RETURN pg_catalog.%I(%s); END', 'function ' || f.proname, f.proname,
				(SELECT string_agg('$' || i, ', ') FROM generate_series(1, f.pronargs) i)));
	END LOOP;
	-- what has a variable number of arguments, with as many as are used; and aggregates under plain names
	EXECUTE 'CREATE FUNCTION public.coalesce(bigint, integer) RETURNS bigint LANGUAGE plpgsql AS ''BEGIN INSERT INTO evil.planted VALUES (''''coalesce'''', current_user); RETURN $1; END''';
	FOR f IN SELECT name, t FROM unnest(ARRAY['max', 'min', 'count', 'sum']) name, unnest(ARRAY['bigint', 'text', 'timestamp with time zone', 'integer', 'character varying']) t
	LOOP
		EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.name, f.t, f.t,
			format('BEGIN INSERT INTO evil.planted VALUES (%L, current_user); RETURN $1; END', 'function ' || f.name));
	END LOOP;
	EXECUTE 'CREATE FUNCTION public.jsonb_build_object(VARIADIC text[]) RETURNS jsonb LANGUAGE plpgsql AS
		''BEGIN INSERT INTO evil.planted VALUES (''''jsonb_build_object'''', current_user); RETURN ''''{}''''; END''';
	-- types and relations of the names that DDL of ours writes
	FOREACH named IN ARRAY ARRAY['text', 'jsonb', 'json', 'bytea', 'date', 'varchar', 'int8', 'numeric', 'timestamptz', 'bool', 'pg_class', 'package', 'items']
	LOOP
		EXECUTE format('CREATE DOMAIN public.%I AS pg_catalog.text CHECK (false)', named);
	END LOOP;
END $$;
SQL
cmp_ok(one($node, 'SELECT count(*) FROM pg_operator WHERE oprnamespace = $$public$$::regnamespace', %planted), '>', 4000, 'operators are planted');

for my $database (qw(planted postgres))
{
	one($node, 'CREATE EXTENSION loader', database => $database);
	one($node, q{CREATE SCHEMA bystanders AUTHORIZATION bystander}, database => $database);
	one($node, q{CREATE TABLE bystanders.own (id int); INSERT INTO bystanders.own VALUES (1)}, user => 'bystander', database => $database);
	one($node, q{
		SET search_path = pg_catalog;
		DO $$
		DECLARE f record;
		BEGIN
			FOR f IN SELECT p.oid::regprocedure AS name FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.objid
				WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'loader')
			LOOP
				EXECUTE pg_catalog.format('GRANT EXECUTE ON ROUTINE %s TO etl, mallory, bystander', f.name);
			END LOOP;
		END $$}, database => $database);
}

is(one($node, q{
	SET search_path = pg_catalog;
	SELECT count(*) FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
	WHERE p.proowner = 'mallory'::regrole AND d.classid = 'pg_rewrite'::regclass}, %planted), 0, 'no view of the extension has a planted function in it');
is(one($node, q{
	SET search_path = pg_catalog;
	SELECT count(*) FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_operator'::regclass AND d.refobjid = o.oid
	WHERE o.oprowner = 'mallory'::regrole AND d.classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass, 'pg_constraint'::regclass, 'pg_class'::regclass)}, %planted),
	0, 'nor an operator');

# planted_idle(NAME): none of them was called until now
sub planted_idle
{
	is(one($node, q{SET search_path = pg_catalog; SELECT pg_catalog.string_agg(DISTINCT name OPERATOR(pg_catalog.||) ' as ' OPERATOR(pg_catalog.||) who, ', ') FROM evil.planted}, %planted),
		'', "$_[0]: nothing that was planted is called");
	return;
}

is(one($node, q{SET search_path = pg_catalog; SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proowner = 'mallory'::regrole AND proname = 'lower'}, %planted), 1, 'so are functions');
like(one($node, q{SET search_path = public, pg_catalog; SELECT 1 WHERE 'a'::pg_catalog.text = lower('A'); SET search_path = pg_catalog;
	SELECT string_agg(name, ', ' ORDER BY name) FROM evil.planted WHERE name IN ('function lower', 'operator =(text,text)')}, %planted),
	qr/function lower, operator =\(text,text\)$/, 'what is planted is found by who looks for it');
one($node, 'TRUNCATE evil.planted', %planted);

# Whoever loads has all of it before the server's own. In the dataset and in pg_temp, too.
sub hostile
{
	my ($sql, %option) = @_;

	return one($node, "SET search_path = 'public', 'pg_catalog'; $sql", %option, %planted);
}

# Both versions of a package that replaces, merges and appends: the second finds rows.
my $columns = [[id => 'bigint', {nullable => JSON::PP::false, primary_key => JSON::PP::true}], [name => 'text'], [price => 'decimal'], [at => 'timestamp'],
	[gone => 'bool'], [_dlt_id => 'text', {nullable => JSON::PP::false, unique => JSON::PP::true, row_key => JSON::PP::true}]];

sub version
{
	my ($n, $name, %p) = @_;

	return {name => $name, columns => $columns, rows => [map { [$_, "v$n", "$_.5", '2024-05-05 12:00:00Z', undef, "$name-$n-$_"] } $n .. $n + 3], %p};
}

sub ways
{
	my ($n, %p) = @_;
	my $merge = sub { return version($n, $_[0], disposition => 'merge', hints => {'x-merge-strategy' => $_[1]}) };

	return make_package(schema => 'ways', %p, tables => [
		version($n, 'appended'), version($n, 'swapped', disposition => 'replace'), version($n, 'published', disposition => 'replace'),
		version($n, 'refilled', disposition => 'replace'), $merge->('deleted', 'delete-insert'), $merge->('upserted', 'upsert'),
		$merge->('inserted', 'insert-only'), $merge->('captured', 'cdc'),
		{name => 'deleted__parts', parent => 'deleted', columns => [[value => 'text'], ['_dlt_root_id' => 'text', {root_key => JSON::PP::true}],
			['_dlt_parent_id' => 'text', {parent_key => JSON::PP::true}], ['_dlt_list_idx' => 'bigint'], $columns->[-1]],
			rows => [map { ["p$_", ("deleted-$n-$_") x 2, 0, "part-$n-$_"] } $n .. $n + 3]},
		{name => 'dimension', disposition => 'merge', hints => {'x-merge-strategy' => 'scd2', 'x-boundary-timestamp' => "2024-05-0${n}T12:00:00"}, columns => [[id => 'bigint'], [name => 'text'],
			[h => 'text', {nullable => JSON::PP::false, 'x-row-version' => JSON::PP::true}], [since => 'timestamp', {'x-valid-from' => JSON::PP::true}],
			[till => 'timestamp', {'x-valid-to' => JSON::PP::true}]],
			file => "INSERT INTO {}(\"id\",\"name\",\"h\")\nVALUES\n($n,E'v$n',E'h$n');"}]);
}

for my $case (['in one transaction', 'way1'], ['staged by several', 'way2', 'SET loader.small_package = 0; '], ['job by job', 'way3', '', ', atomic => false'])
{
	my ($name, $dataset, $settings, $arguments) = @$case;

	for my $n (1, 2)
	{
		my $package = ways($n);

		hostile('SELECT * FROM loader_plan(' . quote_literal($package) . ", '$dataset')", user => 'etl');
		my $id = hostile(($settings || '') . 'SELECT loader_start(' . quote_literal($package) . ", '$dataset'" . ($arguments || '') . ')', user => 'etl');
		is(wait_package($node, $id, %planted), 'loaded', "$name, version $n: loaded")
			or diag(one($node, "SELECT sqlstate, message, detail FROM loader.packages WHERE dataset = '$dataset' AND state <> 'loaded'", %planted));
		one($node, "CREATE FUNCTION $dataset.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
			CREATE TRIGGER t BEFORE INSERT ON $dataset.refilled FOR EACH ROW EXECUTE FUNCTION $dataset.nothing();
			ALTER TABLE $dataset.published REPLICA IDENTITY FULL", user => 'etl', %planted) if $n == 1;
		one($node, "CREATE PUBLICATION $dataset FOR TABLE $dataset.published", %planted) if $n == 1;
	}
	planted_idle($name);
	is(one($node, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM $dataset.$_", %planted), {
		appended => '1 2 2 3 3 4 4 5', deleted => '1 2 3 4 5', upserted => '1 2 3 4 5', inserted => '1 2 3 4 5', captured => '2 3 4 5',
		swapped => '2 3 4 5', published => '2 3 4 5', refilled => '2 3 4 5', dimension => '1 2'}->{$_}, "$name: the rows of $_")
		for qw(appended deleted upserted inserted captured swapped published refilled dimension);
}

# A session of the role itself, where pg_temp comes before everything.
my $session = LoaderCrash->new($node, user => 'etl', %planted);
my $ways = ways(3);
my $schema = do { local (@ARGV, $/) = "$ways/schema.json"; quote_literal(<>) };
$session->query("SET search_path = public, pg_catalog; SET client_min_messages = error");
$session->query("CREATE TEMP TABLE $_ (id pg_catalog.int8, name pg_catalog.text)") for qw(deleted upserted items package job _dlt_loads _dlt_version pg_namespace pg_class pg_attribute text varchar jsonb date bytea json);
my @files = sort glob("$ways/new_jobs/*");
for my $staging ('false', 'true')
{
	unlike($session->query("SELECT loader_initialize_storage('way4', staging => $staging)"), qr/ERROR/, "job mode: storage, staging $staging");
	unlike($session->query("SELECT loader_update_stored_schema('way4', $schema, staging => $staging)"), qr/ERROR/, "job mode: tables, staging $staging");
}
for my $file (@files)
{
	my $base = $file =~ s{.*/}{}r;
	my $staging = $base =~ /^(appended|swapped|published|refilled)/ ? 'false' : 'true';

	like($session->query("CALL loader_start_file_load('way4', $schema, 'job.4', '$base', " . quote_literal($file) . ", staging => $staging)"), qr/completed$/, "job mode: $base");
}
for my $root (qw(deleted upserted inserted captured dimension))
{
	my $call = $session->query("SELECT content FROM loader_create_table_chain_completed_followup_jobs('way4', $schema, 'job.4', '$root')");

	unlike($session->query($call), qr/ERROR/, "job mode: what follows for $root");
}
unlike($session->query("SELECT loader_complete_load('way4', $schema, 'job.4')"), qr/ERROR/, 'job mode: complete');
unlike($session->query($_), qr/ERROR/, $_) for q{SELECT loader_is_storage_initialized('way4')}, q{SELECT * FROM loader_get_stored_schema('way4', 'ways')},
	q{SELECT * FROM loader_get_storage_tables('way4', ARRAY['deleted'::pg_catalog.text])}, q{SELECT loader_capabilities()}, q{SELECT loader_location()},
	q{SELECT loader_airbyte_check('{"schema": "way4"}'::pg_catalog.jsonb)}, q{SELECT loader_airbyte_states()}, q{SELECT loader_drop_tables('way4', ARRAY['captured'::pg_catalog.text], delete_schema => false)},
	(map { "SELECT * FROM loader.$_" } qw(packages jobs tables progress rejects events datasets loads schemas states streams));
planted_idle('job mode, storage and views');
is($session->query("SELECT pg_catalog.count(*) FROM pg_temp.$_"), 0, "pg_temp.$_ is as it was") for qw(deleted upserted _dlt_loads package);
unlike($session->query(q{SELECT loader_drop_storage('way4')}), qr/ERROR/, 'job mode: all of it is dropped');

# Airbyte: two syncs of each mode
my @streams = ({name => 'a', mode => 'append'}, {name => 'o', mode => 'overwrite', full => 1}, {name => 'd', mode => 'append_dedup'});
for my $n (1, 2)
{
	my $sync = open_sync($node, \@streams, {schema => 'air'}, source_name => "'crm'", session => $session);

	$sync->write(map { my $s = $_->{name}; (started($s), record($s, 1), record($s, $n), state($s, $n), complete($s)) } @streams);
	is($sync->close->{state}, 'loaded', "Airbyte, sync $n: loaded");
}
planted_idle('Airbyte');
is(rows($node, "air.$_", %planted), {a => '1 1 1 2', o => '1 2', d => '1 2'}->{$_}, "Airbyte: the rows of $_") for qw(a o d);
$session->quit;

# A superuser who looks.
hostile("SELECT * FROM loader.$_") for qw(packages jobs tables progress rejects events datasets loads schemas states streams);
hostile('SELECT * FROM loader_plan(' . quote_literal(ways(5)) . ", 'way1')");
hostile("SELECT * FROM loader_get_stored_schema('way1', 'ways')");
planted_idle('a superuser who looks');

# --- tables with code of others in every place --------------------------------------------------------

one($node, <<'SQL', user => 'mallory');
CREATE DOMAIN evil.name_type AS pg_catalog.text CHECK (evil.passes('domain'));
CREATE TYPE evil.kind AS (value pg_catalog.text);
CREATE FUNCTION evil.to_kind(t pg_catalog.text) RETURNS evil.kind LANGUAGE plpgsql AS $$BEGIN PERFORM evil.attack('cast'); RETURN ROW(t)::evil.kind; END$$;
CREATE CAST (pg_catalog.text AS evil.kind) WITH FUNCTION evil.to_kind AS ASSIGNMENT;
CREATE FUNCTION evil.to_kind(t pg_catalog.varchar) RETURNS evil.kind LANGUAGE plpgsql AS $$BEGIN PERFORM evil.attack('cast'); RETURN ROW(t)::evil.kind; END$$;
CREATE CAST (pg_catalog.varchar AS evil.kind) WITH FUNCTION evil.to_kind(pg_catalog.varchar) AS ASSIGNMENT;
CREATE TABLE evil.late (vector pg_catalog.text);
GRANT INSERT ON evil.late TO PUBLIC;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON evil.late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.fires('commit');
CREATE FUNCTION evil.postpones() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN SET CONSTRAINTS ALL DEFERRED; INSERT INTO evil.late VALUES ('commit'); RETURN NEW; END$$;
GRANT ALL ON evil.log TO PUBLIC;
SQL

# trap(DATASET, TABLE, OWNER, kinds of traps): what there is to trap of a table that has its rows
my %trap = (
	generated => q{ALTER TABLE %t ADD made pg_catalog.text GENERATED ALWAYS AS (evil.same('generated', id::pg_catalog.text)) STORED},
	default => q{ALTER TABLE %t ADD note pg_catalog.text DEFAULT evil.attack('default')},
	check => q{ALTER TABLE %t ADD CHECK (evil.passes('check'))},
	domain => q{ALTER TABLE %t ALTER name TYPE evil.name_type},
	cast => q{ALTER TABLE %t ALTER name TYPE evil.kind USING ROW(name)::evil.kind},
	index => q{CREATE INDEX ON %t (evil.same('index', id::pg_catalog.text)); CREATE INDEX ON %t (id) WHERE evil.same('predicate', id::pg_catalog.text) IS NOT NULL},
	statistics => q{CREATE STATISTICS %d.%n_s ON (evil.same('statistics', id::pg_catalog.text)), id FROM %t},
	triggers => q{CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON %t EXECUTE FUNCTION evil.fires('statement');
		CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON %t FOR EACH ROW EXECUTE FUNCTION evil.fires('before row');
		CREATE TRIGGER c AFTER INSERT OR UPDATE OR DELETE ON %t FOR EACH ROW EXECUTE FUNCTION evil.fires('after row');
		CREATE TRIGGER f AFTER INSERT ON %t FOR EACH ROW EXECUTE FUNCTION evil.opens()},
	deferred => q{CREATE CONSTRAINT TRIGGER d AFTER INSERT OR UPDATE OR DELETE ON %t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.fires('deferred')},
	rule => q{CREATE RULE r AS ON INSERT TO %t DO ALSO INSERT INTO evil.planted VALUES (evil.attack('rule'), current_user)},
	policy => q{ALTER TABLE %t ENABLE ROW LEVEL SECURITY; ALTER TABLE %t FORCE ROW LEVEL SECURITY; CREATE POLICY p ON %t USING (evil.passes('policy')) WITH CHECK (evil.passes('policy'))},
	view => q{ALTER TABLE %t RENAME TO %n_kept; CREATE VIEW %t AS SELECT * FROM %d.%n_kept;
		CREATE TRIGGER v INSTEAD OF INSERT ON %t FOR EACH ROW EXECUTE FUNCTION evil.fires('view')},
	commit => q{CREATE TRIGGER h AFTER INSERT ON %t FOR EACH ROW EXECUTE FUNCTION evil.postpones()});

sub trap
{
	my ($dataset, $table, $owner, @kinds) = @_;

	for my $kind (@kinds)
	{
		my $sql = $trap{$kind};

		$sql =~ s/%t/$dataset.$table/g;
		$sql =~ s/%n/$table/g;
		$sql =~ s/%d/$dataset/g;
		one($node, "SET client_min_messages = error; $sql", user => $owner);
	}
	return;
}

# What code has said in the server's log, where an error does not take it back: each thing once.
sub logged
{
	my ($what) = @_;
	my %said;

	open(my $log, '<', $node->logfile) or die "no log: $!";
	/LOG:  \Q$what\E as (.*)/ and $said{$1} = 1 while <$log>;
	close $log;
	return join ', ', sort keys %said;
}

# sprung(NAME, WHO, vectors): all of these have run, as that role and in its session, and none of what they
# tried was done
sub sprung
{
	my ($name, $who, @vectors) = @_;

	is(one($node, q{SELECT string_agg(DISTINCT vector, ', ' ORDER BY vector) FROM evil.log}), join(', ', sort @vectors), "$name: each piece of code has run");
	is(one($node, 'SELECT string_agg(DISTINCT concat_ws($$ $$, who, session, super), $$, $$) FROM evil.log'), @vectors ? "$who $who f" : '', "$name: as $who and nobody else");
	is(one($node, q{SELECT string_agg(DISTINCT vector || ': ' || attempt, ', ') FROM evil.log WHERE done AND attempt !~ '^RESET|set_config.*none'}), '', "$name: nothing was done");
	one($node, 'TRUNCATE evil.log');
	return;
}

my @on_rows = ('statement', 'before row', 'after row', 'cursor', 'deferred');
my %traps = (
	appended => [qw(generated default check domain index triggers deferred policy)],
	swapped => [qw(generated default check domain index statistics)],
	refilled => [qw(default check index triggers deferred rule)],
	deleted => [qw(default check triggers deferred policy)], upserted => [qw(default check triggers deferred index)],
	inserted => [qw(cast triggers deferred)], dimension => [qw(default triggers deferred)], captured => ['view'], _dlt_loads => ['commit']);
my @all = (@on_rows, qw(generated default check domain index predicate statistics rule policy cast commit));

sub set_traps
{
	my ($dataset, %how) = @_;

	load($node, ways(1), $dataset, user => 'etl', arguments => $how{arguments} || {}) eq 'loaded' or die "first package of $dataset";
	for my $table (sort keys %traps)
	{
		trap($dataset, $table, 'etl', grep { $_ ne 'view' } @{ $traps{$table} });
	}
	one($node, 'TRUNCATE evil.log');
	return;
}

for my $case (['in one transaction', 'own1'], ['staged by several', 'own2', {'loader.small_package' => 0}], ['job by job', 'own3', {}, {atomic => 'false'}])
{
	my ($name, $dataset, $settings, $arguments) = @$case;

	set_traps($dataset, arguments => $arguments);
	my $id = start_package($node, ways(2), $dataset, user => 'etl', settings => $settings || {}, arguments => $arguments || {});
	is(wait_package($node, $id), 'loaded', "$name: loaded") or diag(one($node, "SELECT sqlstate, message, detail, hint FROM loader.packages WHERE package_id = $id"));
	# statistics are made after the commit
	wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator'}, 0);
	sprung($name, 'etl', @all);
}

# Tables of mallory's own, to which etl may write: what is no secret to an INSERT; and an event trigger
# that an administrator has made of a function of mallory's.
sub evil_dataset
{
	my ($dataset, @kinds) = @_;

	one($node, "CREATE SCHEMA $dataset; GRANT ALL ON SCHEMA $dataset TO etl, PUBLIC; CREATE TABLE $dataset.items (id bigint, name text);
		CREATE TABLE $dataset.viewed (id bigint, name text);
		CREATE TABLE $dataset._dlt_loads (load_id varchar(64) NOT NULL, schema_name varchar, status bigint NOT NULL,
			inserted_at timestamptz NOT NULL, schema_version_hash varchar)", user => 'mallory');
	trap($dataset, 'items', 'mallory', @kinds);
	trap($dataset, 'viewed', 'mallory', 'view');
	trap($dataset, '_dlt_loads', 'mallory', 'commit');
	one($node, "GRANT ALL ON ALL TABLES IN SCHEMA $dataset TO etl, PUBLIC; TRUNCATE evil.log", user => 'mallory');
	return;
}

my @item = ([id => 'bigint'], [name => 'text']);
my $two = sub { return make_package(schema => 'two', tables => [map { {name => $_, columns => \@item, rows => [[1, 'a']]} } 'items', 'viewed'], @_) };

evil_dataset('theirs', qw(generated default check domain index triggers deferred policy));
one($node, 'CREATE EVENT TRIGGER evil ON ddl_command_end EXECUTE FUNCTION evil.on_ddl()');
my $id = start_package($node, $two->(), 'theirs', user => 'etl');
is(wait_package($node, $id), 'loaded', 'tables of another: loaded');
one($node, 'DROP EVENT TRIGGER evil');
sprung('tables of another', 'etl', @on_rows, qw(generated default check domain index predicate policy view commit), 'event trigger');

# Job mode, by a session of etl; and a superuser that has become etl in its session, which RESET would undo.
for my $case (['job mode', 'etl'], ['job mode, become by SET SESSION AUTHORIZATION', 'postgres'])
{
	my ($name, $user) = @$case;
	my $dataset = $user eq 'etl' ? 'own_jobs' : 'own_jobs2';
	my $s = LoaderCrash->new($node, user => $user);
	my $package = ways(2);
	my $text = do { local (@ARGV, $/) = "$package/schema.json"; quote_literal(<>) };

	set_traps($dataset);
	if ($user ne 'etl')
	{
		# what ends a load runs in the caller's own transaction: there it is as for every INSERT
		one($node, "DROP TRIGGER h ON $dataset._dlt_loads");
		$s->query('SET SESSION AUTHORIZATION etl');
	}
	unlike($s->query("SELECT loader_initialize_storage('$dataset', staging => true), loader_update_stored_schema('$dataset', $text, staging => true)"), qr/ERROR/, "$name: staging");
	for my $file (sort glob("$package/new_jobs/*"))
	{
		my $base = $file =~ s{.*/}{}r;
		my $staging = $base =~ /^(appended|swapped|published|refilled)/ ? 'false' : 'true';

		like($s->query("CALL loader_start_file_load('$dataset', $text, 'job.5', '$base', " . quote_literal($file) . ", staging => $staging)"), qr/completed$/, "$name: $base");
	}
	unlike($s->query($s->query("SELECT content FROM loader_create_table_chain_completed_followup_jobs('$dataset', $text, 'job.5', '$_')")), qr/ERROR/, "$name: what follows for $_")
		for qw(deleted upserted inserted captured dimension);
	unlike($s->query("SELECT loader_complete_load('$dataset', $text, 'job.5')"), qr/ERROR/, "$name: complete");
	$s->quit;
	# but for RESET ROLE and the like, which take off nothing where nothing was put on
	sprung($name, 'etl', grep { $_ ne 'statistics' && ($_ ne 'commit' || $user eq 'etl') } @all);
}

# Airbyte: the second sync of tables that have traps by then.
{
	my @kinds = (a => [qw(default check index triggers deferred policy)], o => [qw(default check index)], d => [qw(default check index triggers deferred)]);
	my %kinds = @kinds;
	my @of = sort keys %kinds;

	for my $n (1, 2)
	{
		my $sync = open_sync($node, \@streams, {schema => 'air'}, source_name => "'crm'", user => 'etl');

		$sync->write(map { my $s = $_->{name}; (started($s), record($s, 1), record($s, $n), state($s, $n), complete($s)) } @streams);
		is($sync->close->{state}, 'loaded', "Airbyte, sync $n: loaded");
		$sync->quit;
		next if $n == 2;
		trap('air', $_, 'etl', @{ $kinds{$_} }) for @of;
		one($node, 'TRUNCATE evil.log');
	}
	sprung('Airbyte', 'etl', @on_rows, qw(default check index predicate policy));
}

# A superuser replaces a table of another: an index and its statistics are made as who owns the table.
{
	one($node, 'CREATE SCHEMA given AUTHORIZATION mallory');
	one($node, 'CREATE TABLE given.items (id bigint, name text)', user => 'mallory');
	trap('given', 'items', 'mallory', qw(index statistics));
	one($node, 'TRUNCATE evil.log');
	is(load($node, make_package(schema => 'given', tables => [{name => 'items', columns => \@item, rows => [[1, 'a'], [2, 'b']], disposition => 'replace'}]), 'given'),
		'loaded', 'a superuser replaces a table of another');
	is(one($node, q{SELECT strategy, stage FROM loader.tables WHERE dataset = 'given' AND table_name = 'items'}), 'truncate-and-insert|swap heap', 'by a swap');
	is(one($node, q{SELECT string_agg(DISTINCT vector, ', ' ORDER BY vector) FROM evil.log}), 'index, predicate, statistics', 'code of its indexes has run');
	is(one($node, q{SELECT string_agg(DISTINCT who, ', ') FROM evil.log}), 'mallory', 'as who owns the table');
	is(one($node, q{SELECT string_agg(DISTINCT attempt, ', ') FROM evil.log WHERE done}), '', 'and nothing was done');
	one($node, 'TRUNCATE evil.log');
}

# The same in parallel processes, if the server makes some: they say who they are in its log.
{
	one($node, q{CREATE FUNCTION evil.parallel(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS
		$$BEGIN RAISE LOG 'parallel as % % %', current_user, session_user, current_setting('is_superuser'); RETURN t; END$$}, user => 'mallory');
	one($node, q{CREATE SCHEMA wide AUTHORIZATION etl});
	one($node, q{CREATE TABLE wide.items (id bigint, name text); CREATE INDEX ON wide.items (evil.parallel(name))}, user => 'etl');
	is(load($node, make_package(schema => 'wide', tables => [{name => 'items', columns => \@item, rows => [map { [$_, 'x' x 100] } 1 .. 400], disposition => 'replace'}]), 'wide',
		user => 'etl', settings => {min_parallel_table_scan_size => 0, maintenance_work_mem => '512MB', max_parallel_maintenance_workers => 4,
			parallel_setup_cost => 0, parallel_tuple_cost => 0}), 'loaded', 'an index is built by several');
	is(logged('parallel'), 'etl etl off', 'each of them as etl');
}

# --- who only looks runs nobody's code ------------------------------------------------------------------

for my $role (qw(postgres etl))
{
	one($node, 'SELECT * FROM loader_plan(' . quote_literal($_->[0]) . ", '$_->[1]')", user => $role)
		for [ways(6), 'own1'], [ways(7, tables => []), 'own2'], [$two->(), 'theirs'];
	one($node, "SELECT * FROM loader.$_", user => $role) for qw(packages jobs tables progress rejects events datasets loads schemas states streams);
	sprung("loader_plan and the views, $role", $role);
}

# A table is looked at, found to be one, and is another one when it is read: while the look waits for a
# lock its owner puts a view in its place.
evil_dataset('swapped_out');
my $package = quote_literal($two->());
one($node, q{CREATE FUNCTION swapped_out.says() RETURNS varchar LANGUAGE plpgsql AS $$BEGIN RAISE LOG 'view as %', current_user; RETURN 'x'; END$$}, user => 'mallory');
one($node, "INSERT INTO loader.package (load_id, schema_name, schema_hash, dataset, source, options, settings, schema_size, schema_inode, schema_mtime_ns, role_oid, role_name,
	system_identifier, database_oid, state) SELECT 'x', 'x', '', 'swapped_out', '/x', '{}', '{}', 0, 0, 0, 'mallory'::regrole, 'mallory', system_identifier,
	(SELECT oid FROM pg_database WHERE datname = current_database()), 'loaded' FROM pg_control_system()");
for my $sql ("SELECT * FROM loader_plan($package, 'swapped_out')", "SELECT loader_register($package, 'swapped_out')", 'SELECT * FROM loader.loads')
{
	my ($theirs, $look) = (LoaderCrash->new($node, user => 'mallory'), LoaderCrash->new($node));

	$theirs->query('BEGIN; LOCK swapped_out._dlt_loads');
	$look->send($sql);
	wait_for($node, "SELECT state = 'active' AND wait_event_type IN ('Lock', 'Extension') FROM pg_stat_activity WHERE pid = $look->{pid}");
	$theirs->query(q{ALTER TABLE swapped_out._dlt_loads RENAME TO _dlt_kept; CREATE VIEW swapped_out._dlt_loads AS SELECT swapped_out.says() AS load_id,
		swapped_out.says() AS schema_name, 0::bigint AS status, now() AS inserted_at, ''::varchar AS schema_version_hash; GRANT ALL ON swapped_out._dlt_loads TO PUBLIC; COMMIT});
	$look->answer;
	is(logged('view'), '', "a view in place of a table that is looked at: $sql");
	$theirs->query('DROP VIEW swapped_out._dlt_loads; ALTER TABLE swapped_out._dlt_kept RENAME TO _dlt_loads');
	$_->quit for $theirs, $look;
}

# Staging tables that somebody has made first, with traps in them.
one($node, 'CREATE SCHEMA prey; GRANT ALL ON SCHEMA prey TO etl; CREATE SCHEMA prey_staging AUTHORIZATION mallory');
one($node, 'CREATE TABLE prey_staging.items (id bigint NOT NULL, name text); GRANT ALL ON SCHEMA prey_staging TO PUBLIC; GRANT ALL ON prey_staging.items TO PUBLIC', user => 'mallory');
trap('prey_staging', 'items', 'mallory', qw(triggers));
one($node, 'TRUNCATE evil.log');
my $merge = {name => 'items', columns => [[id => 'bigint', {nullable => JSON::PP::false, primary_key => JSON::PP::true}], [name => 'text']], rows => [[1, 'a']], disposition => 'merge'};
$id = start_package($node, make_package(schema => 'prey', tables => [$merge]), 'prey', user => 'etl');
is(wait_package($node, $id), 'failed', 'a staging dataset of another is not used');
is(one($node, "SELECT sqlstate, message FROM loader.packages WHERE package_id = $id"), '42501|staging dataset "prey_staging" belongs to another role', 'and it is said why');
sprung('staging tables of another', 'etl');

# --- those who sweep and start for others ---------------------------------------------------------------

# A heap of mallory's is left behind, because somebody has it locked; a worker of etl's removes it.
{
	my $holder = LoaderCrash->new($node);
	my $bad = make_package(schema => 'left', tables => [{name => 'items', columns => \@item, rows => [[1, 'a']], disposition => 'replace'},
		{name => 'parts', columns => \@item, rows => [[1, 'a']]}], dir => $listed);

	one($node, 'CREATE SCHEMA left_over AUTHORIZATION mallory');
	one($node, q{CREATE TABLE left_over.items (id bigint, name text); CREATE TABLE left_over.parts (id bigint, name text CHECK (false));
		CREATE FUNCTION left_over.waits() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(51); RETURN NEW; END';
		CREATE TRIGGER w BEFORE INSERT ON left_over.parts EXECUTE FUNCTION left_over.waits()}, user => 'mallory');
	trap('left_over', 'items', 'mallory', qw(generated default check index statistics));
	$holder->query('SELECT pg_advisory_lock(51)');
	$id = start_package($node, $bad, 'left_over', user => 'mallory', settings => {'loader.small_package' => 0});
	wait_for($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND objid = 51 AND NOT granted}, 1);
	my $heap = one($node, "SELECT relation FROM loader.stage WHERE package_id = $id");
	my $reader = LoaderCrash->new($node);
	$reader->query("BEGIN; LOCK TABLE loader_swap." . one($node, "SELECT quote_ident(relname) FROM pg_class WHERE oid = $heap") . ' IN ACCESS SHARE MODE');
	$holder->query('SELECT pg_advisory_unlock(51)');
	is(wait_package($node, $id), 'failed', 'a package of mallory fails');
	is(one($node, "SELECT count(*) FROM pg_class WHERE oid = $heap"), 1, 'and leaves a heap, which somebody has locked');
	one($node, 'TRUNCATE evil.log');
	$reader->query('COMMIT');
	is(load($node, make_package(schema => 'other', tables => [{name => 'items', columns => \@item, rows => [[1, 'a']]}]), 'other', user => 'etl'), 'loaded', 'a package of etl');
	wait_for($node, "SELECT count(*) FROM pg_class WHERE oid = $heap", 0);
	sprung('the sweep', 'etl');
	$_->quit for $holder, $reader;
}

# The launcher's scout looks into every database, as a superuser. In one without the extension mallory
# has made all that it could look for, with code in it; and where the extension is, objects that fit.
one($node, 'CREATE DATABASE fake OWNER mallory');
one($node, "$evil
	CREATE SCHEMA loader;
	CREATE VIEW loader.package AS SELECT 1::bigint AS package_id, evil.passes('scout') AS wanted, evil.attack('scout') AS state, 'x'::text AS role_name;
	CREATE VIEW loader.stage AS SELECT 1::oid AS relation, 1::bigint AS package_id, evil.attack('scout') AS kind;
	CREATE SCHEMA loader_swap;
	CREATE TABLE loader_swap.swap_1_1 (id int DEFAULT evil.attack('scout')::int);", user => 'mallory', database => 'fake');
my $visits = q{SELECT coalesce(sum(xact_commit + xact_rollback), 0) FROM pg_stat_database WHERE datname = 'fake'};
wait_for($node, "SELECT ($visits) > " . (one($node, $visits) + 3));
is(one($node, "SELECT count(*) FROM evil.log WHERE who <> 'mallory'", database => 'fake'), 0, 'the launcher: nothing of a database without the extension is called');
is(one($node, 'SELECT count(*) FROM pg_class WHERE relname = $$swap_1_1$$', database => 'fake'), 1, 'nor taken for its own');

# --- rows that a role may not see ------------------------------------------------------------------------

{
	my $rls = make_package(schema => 'rls', tables => [map { +{%$merge, name => $_->[0], rows => [[1, 'new'], [2, 'new']], hints => {'x-merge-strategy' => $_->[1]}} }
		['u', 'upsert'], ['d', 'delete-insert']]);

	one($node, 'CREATE SCHEMA rls; GRANT ALL ON SCHEMA rls TO etl');
	for my $t (qw(u d))
	{
		one($node, "CREATE TABLE rls.$t (id bigint NOT NULL, name text); INSERT INTO rls.$t VALUES (1, 'mine'), (2, 'hidden'), (3, 'hidden'); GRANT ALL ON rls.$t TO etl;
			ALTER TABLE rls.$t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON rls.$t USING (name <> 'hidden')");
	}
	is(load($node, $rls, 'rls', user => 'etl'), 'loaded', 'a merge into tables with row security');
	is(one($node, "SELECT string_agg(id || ' ' || name, ', ' ORDER BY id, name) FROM rls.$_"), '1 new, 2 hidden, 2 new, 3 hidden', "rows that the role does not see stay as they are: $_") for qw(u d);
}

# --- names that are SQL -----------------------------------------------------------------------------------

one($node, q{CREATE FUNCTION public.attack(text) RETURNS text LANGUAGE sql AS 'SELECT evil.attack($1)'}, user => 'mallory');
my @odd = (q{t"; SELECT attack('name'); --}, q{t' || attack('name') || '}, 't%s%I$1', '(SELECT attack(1))', "t\n); SELECT attack('name'); --");
my @odd_columns = map { s/^t/c/r } @odd;
my $odd_row = [1, map { "v$_" } 1 .. @odd_columns];

for my $n (1, 2)
{
	for my $strategy ('append', 'replace', 'delete-insert', 'upsert', 'insert-only', 'cdc')
	{
		my $is_merge = $strategy !~ /append|replace/;
		my @tables = map { my $t = $_; {name => "$t $strategy", disposition => $is_merge ? 'merge' : $strategy, $is_merge ? (hints => {'x-merge-strategy' => $strategy}) : (),
			columns => [['i"d' => 'bigint', {nullable => JSON::PP::false, primary_key => JSON::PP::true}], map { [$_ => 'text'] } @odd_columns],
			file => 'INSERT INTO {}(' . join(',', map { '"' . s/"/""/gr . '"' } 'i"d', @odd_columns) . ")\nVALUES\n(" . join(',', 1, map { "E'v$_'" } 1 .. @odd_columns) . ');'} }
			grep { !/\n/ } @odd;
		my $names = make_package(schema => q{s"; SELECT attack('schema') --}, tables => \@tables, format => 'insert_values');

		one($node, 'SELECT * FROM loader_plan(' . quote_literal($names) . ', ' . quote_literal($odd[0]) . ')', user => 'etl');
		my $odd_id = start_package($node, $names, $odd[0], user => 'etl', arguments => {staging_dataset_name_layout => q{%s"; SELECT attack('layout') --}});
		is(wait_package($node, $odd_id), 'loaded', "names that are SQL, $strategy, load $n") or diag(one($node, "SELECT message, detail FROM loader.packages WHERE package_id = $odd_id"));
	}
}
sprung('names that are SQL', 'etl');
is(one($node, 'SELECT count(*) FROM pg_tables WHERE schemaname = ' . quote_literal($odd[0]) . q{ AND tablename !~ '^_dlt'}), 4 * 6, 'they are names of tables');
for my $case (['x-active-record-timestamp', q{9999-12-31'; SELECT attack('moment'); --}], ['x-boundary-timestamp', q{' || attack('moment') || '}])
{
	my ($hint, $value) = @$case;
	my $e = error_of($node, 'SELECT loader_register(' . quote_literal(make_package(schema => 'moment', tables => [{name => 'dimension', disposition => 'merge',
		hints => {'x-merge-strategy' => 'scd2', $hint =~ /bound/ ? ($hint => $value) : ()}, columns => [[id => 'bigint'],
			[h => 'text', {nullable => JSON::PP::false, 'x-row-version' => JSON::PP::true}], [since => 'timestamp', {'x-valid-from' => JSON::PP::true}],
			[till => 'timestamp', {'x-valid-to' => JSON::PP::true, $hint =~ /active/ ? ($hint => $value) : ()}]], rows => [[1, 'h', undef, undef]]}])) . ", 'moment')", user => 'etl');

	like($e->{sqlstate}, qr/^22/, "$hint that is SQL is refused");
}
for my $sql (q{loader_airbyte_open('{"schema": "a\"; SELECT attack(1) --"}', '%s')}, q{loader_airbyte_open('{"schema": "a'' || attack(1) --"}', '%s')})
{
	my $s = LoaderCrash->new($node, user => 'etl');
	my $opened = $s->query('SELECT ' . sprintf($sql, catalog({name => q{u"; SELECT attack('x') --}}) =~ s/'/''/gr));

	like($opened, qr/^\d+$/, 'Airbyte: names that are SQL');
	like($s->query("SELECT loader_airbyte_close($opened)"), qr/"state" *: *"loaded"/, 'Airbyte: loaded');
	$s->quit;
}
sprung('hints and streams that are SQL', 'etl');

# --- files that are exchanged while they are looked at ----------------------------------------------------

# A process exchanges what is in a listed directory for links to what is outside, all the time. Whatever
# a load meets, nothing from outside is ever in a table or in a message.
one($node, 'REVOKE pg_read_server_files FROM etl');
my %race = map {
	my $text = $_;
	$text => make_package(dir => $text eq 'inside' ? $listed : $closed, load_id => "1700000002.$text", schema => 'race', format => 'csv',
		tables => [{name => 'items', columns => \@item, rows => [[1, $text eq 'inside' ? 'fine' : 'stolen']]}]) } 'inside', 'outside';
my ($inside_file) = glob("$race{inside}/new_jobs/*");
my ($outside_file) = glob("$race{outside}/new_jobs/*");
my %exchange = (file => [$inside_file, $outside_file], folder => ["$race{inside}/new_jobs", "$race{outside}/new_jobs"], package => [$race{inside}, $race{outside}]);
my $race_schema = do { local (@ARGV, $/) = "$race{inside}/schema.json"; quote_literal(<>) };
one($node, q{CREATE SCHEMA race AUTHORIZATION etl});
one($node, "SELECT loader_update_stored_schema('race', $race_schema)", user => 'etl');
my $race_load = sub { return "CALL loader_start_file_load('race', $race_schema, 'race.$_[0]', 'items.$_[1].0.csv', " . quote_literal($inside_file) . ')' };

for my $what (sort keys %exchange)
{
	my ($real, $target) = @{ $exchange{$what} };
	my $said = '';

	symlink($target, "$real.link") or die $!;
	my $parent = $$;
	my $pid = fork();
	die "fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		for (;;)
		{
			rename($real, "$real.real") && rename("$real.link", $real) && rename($real, "$real.link") && rename("$real.real", $real);
			POSIX::_exit(0) if getppid() != $parent;
		}
	}
	my $s = LoaderCrash->new($node, user => 'etl');
	for my $n (1 .. 40)
	{
		$said .= $s->query($race_load->($what, $n));
		$said .= $s->query('SELECT * FROM loader_plan(' . quote_literal($race{inside}) . ", 'race_plan')");
	}
	$said .= $s->query('CALL loader_run(' . quote_literal($race{inside}) . ", 'race_$what')") for 1 .. 5;
	kill 'KILL', $pid;
	waitpid $pid, 0;
	# the process was stopped somewhere in between
	unlink $real if -l $real;
	unlink "$real.link";
	rename("$real.real", $real) if -e "$real.real";
	like($s->query($race_load->($what, 'last')), qr/completed/, "exchanging the $what: when it is over the file loads");
	$s->quit;
	note("exchanging the $what: ", scalar(() = $said =~ /completed/g), ' loaded, ', scalar(() = $said =~ /ERROR/g), ' refused: ', join('; ', sort keys %{ { map { $_ => 1 } $said =~ /ERROR:  (\w{5}): (?:.*: )?([^:\n]*)$/mg } }));
	unlike($said, qr/stolen/, "exchanging the $what: no message has what is outside");
	for my $table (split /\n/, one($node, q{SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname ~ '^race' AND tablename !~ '^_dlt'}))
	{
		is(one($node, "SELECT count(*) FROM $table WHERE name IS DISTINCT FROM 'fine'"), 0, "exchanging the $what: nor has $table");
	}
}
is(one($node, q{SELECT count(*) FROM loader.jobs WHERE exception LIKE '%stolen%'}), 0, 'nor has the catalog');

# --- an extension is installed -------------------------------------------------------------------------

# What somebody has made before is not taken over, nor does the extension's own code end in it.
for my $case (
	['a schema loader', 'CREATE SCHEMA loader', '42P06'], ['a schema loader_swap', 'CREATE SCHEMA loader_swap', '42P06'],
	['a function of ours', 'CREATE FUNCTION public.loader_start(bigint) RETURNS bigint LANGUAGE sql AS $$SELECT 1::bigint$$', '42723'],
	['a function behind a grant', q{CREATE FUNCTION public.loader_airbyte_spec() RETURNS json LANGUAGE sql AS $$SELECT '{}'::json$$}, '42723'])
{
	my ($name, $sql, $sqlstate) = @$case;

	one($node, 'CREATE DATABASE before OWNER mallory');
	one($node, 'GRANT ALL ON SCHEMA public TO mallory', database => 'before');
	one($node, $sql, user => 'mallory', database => 'before');
	is(error_of($node, 'CREATE EXTENSION loader', database => 'before')->{sqlstate}, $sqlstate, "$name is there before the extension");
	one($node, 'DROP DATABASE before');
}
one($node, 'CREATE DATABASE before OWNER mallory');
for my $schema ('a"b', q{a'b}, 'a$b', 'a\\b')
{
	my $quoted = '"' . ($schema =~ s/"/""/gr) . '"';

	one($node, "CREATE SCHEMA $quoted", user => 'mallory', database => 'before');
	error_of($node, "CREATE EXTENSION loader SCHEMA $quoted; DROP EXTENSION loader", database => 'before');
}
is(error_of($node, 'CREATE EXTENSION loader', user => 'mallory', database => 'before')->{sqlstate}, '42501', 'it is a superuser who installs it');

is(one($node, 'SELECT string_agg(rolname, $$ $$) FROM pg_roles WHERE rolsuper'), 'postgres', 'there is one superuser as before');
is(one($node, 'SELECT count(*) FROM bystanders.own'), 1, 'and nobody has touched what is another\'s');

done_testing();
