# test/t/001_role.pl: whose rights a worker has. Tables with code of a malicious role in every place
# where PostgreSQL runs code for an INSERT or at a commit; none of it may become superuser, or
# anybody else than the role that started the package.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderTest;
use Test::More;

my $node = new_node('main', 'loader.max_workers = 8');

one($node, q{
	CREATE ROLE mallory LOGIN;
	CREATE ROLE etl LOGIN;
	CREATE ROLE etl_nologin NOLOGIN;
	CREATE ROLE app LOGIN IN ROLE etl_nologin;
	CREATE ROLE nobody_much LOGIN;
	GRANT pg_read_server_files TO etl, etl_nologin;
	GRANT CREATE ON DATABASE postgres TO mallory, etl, etl_nologin;});
grant_loader($node, 'etl, etl_nologin');

# Everything that a piece of code tries. All of it is refused to a plain role, but becoming who one
# was at the start of the session is not: this is what the worker has to prevent.
one($node, <<'SQL', user => 'mallory');
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TABLE evil.log (vector text, attempt text, who text, session text, super boolean, done boolean, sqlstate text, message text, state text);
GRANT INSERT ON evil.log TO PUBLIC;
CREATE TABLE evil.late (vector text);
GRANT INSERT ON evil.late TO PUBLIC;

-- by a setting of the function: applied by the server when it is called
CREATE FUNCTION evil.as_role() RETURNS text LANGUAGE sql SET role = 'none' AS 'SELECT current_user::text';
CREATE FUNCTION evil.as_session() RETURNS text LANGUAGE sql SET session_authorization = 'mallory' AS 'SELECT current_user::text';

CREATE FUNCTION evil.attack(vector text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	attempt text;
	done boolean;
	state text;
	code text;
	message text;
BEGIN
	FOREACH attempt IN ARRAY ARRAY['RESET ROLE', 'SET ROLE NONE', 'SET ROLE postgres', 'RESET SESSION AUTHORIZATION',
		'SET SESSION AUTHORIZATION DEFAULT', 'SET SESSION AUTHORIZATION postgres', 'SET LOCAL SESSION AUTHORIZATION postgres',
		$q$SELECT set_config('role', 'postgres', false)$q$, $q$SELECT set_config('role', 'none', true)$q$,
		$q$SELECT set_config('session_authorization', 'postgres', false)$q$,
		'SELECT evil.as_role()', 'SELECT evil.as_session()',
		$q$COPY (SELECT 1) TO PROGRAM 'true'$q$, $q$SELECT pg_read_file('/etc/passwd')$q$, 'CREATE ROLE evil_root SUPERUSER',
		'ALTER ROLE mallory SUPERUSER', 'GRANT postgres TO mallory', 'SELECT count(rolpassword) FROM pg_authid',
		'SET session_replication_role = replica', 'UPDATE loader.package SET wanted = true', 'SELECT count(*) FROM loader.package']
	LOOP
		done := true;
		code := NULL;
		message := NULL;
		BEGIN
			IF attempt LIKE 'SELECT pg_read_file%' AND pg_has_role('pg_read_server_files', 'MEMBER') THEN
				CONTINUE;
			END IF;
			EXECUTE attempt;
		EXCEPTION WHEN OTHERS THEN
			done := false;
			code := SQLSTATE;
			message := SQLERRM;
		END;
		state := (SELECT p.state FROM loader.packages p ORDER BY package_id DESC LIMIT 1);
		INSERT INTO evil.log VALUES (vector, attempt, current_user, session_user,
			current_setting('is_superuser')::boolean OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
			done, code, message, state);
	END LOOP;
	RETURN 'x';
END $$;

CREATE FUNCTION evil.passes(vector text) RETURNS boolean LANGUAGE plpgsql AS
	'BEGIN PERFORM evil.attack(vector); RETURN true; END';
CREATE FUNCTION evil.same(vector text, value text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
	'BEGIN PERFORM evil.attack(vector); RETURN value; END';
CREATE FUNCTION evil.fires() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN PERFORM evil.attack(TG_ARGV[0]); RETURN NEW; END';
CREATE FUNCTION evil.opens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('DECLARE held_%s CURSOR WITH HOLD FOR SELECT evil.attack(''cursor'')', NEW.id);
	RETURN NEW;
END $$;
-- on one of dlt's tables, the last that is written: what is deferred here waits for the commit itself
CREATE FUNCTION evil.postpones() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	SET CONSTRAINTS ALL DEFERRED;
	INSERT INTO evil.late VALUES ('commit');
	RETURN NEW;
END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON evil.late DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION evil.fires('commit');
CREATE DOMAIN evil.name_type AS text CHECK (evil.passes('domain'));
SQL

sub make_trap
{
	my ($schema, $owner, $reader) = @_;

	one($node, <<"SQL", user => $owner);
CREATE SCHEMA $schema;
GRANT ALL ON SCHEMA $schema TO $reader;
CREATE TABLE $schema.items (
	id bigint NOT NULL CHECK (evil.passes('check')),
	name evil.name_type,
	note text DEFAULT evil.attack('default'),
	made text GENERATED ALWAYS AS (evil.same('generated', id::text)) STORED);
CREATE INDEX ON $schema.items (evil.same('index', note));
CREATE TRIGGER a BEFORE INSERT ON $schema.items EXECUTE FUNCTION evil.fires('before statement');
CREATE TRIGGER b BEFORE INSERT ON $schema.items FOR EACH ROW EXECUTE FUNCTION evil.fires('before row');
CREATE TRIGGER c AFTER INSERT ON $schema.items FOR EACH ROW EXECUTE FUNCTION evil.fires('after row');
CREATE TRIGGER d AFTER INSERT ON $schema.items EXECUTE FUNCTION evil.fires('after statement');
CREATE CONSTRAINT TRIGGER e AFTER INSERT ON $schema.items DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION evil.fires('deferred');
CREATE TRIGGER f AFTER INSERT ON $schema.items FOR EACH ROW EXECUTE FUNCTION evil.opens();
ALTER TABLE $schema.items ENABLE ROW LEVEL SECURITY;
ALTER TABLE $schema.items FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON $schema.items WITH CHECK (evil.passes('policy'));
CREATE TABLE $schema.parts (id bigint, name text) PARTITION BY LIST (evil.same('partition', name));
CREATE TABLE $schema.parts_a PARTITION OF $schema.parts DEFAULT;
CREATE TABLE $schema._dlt_loads (load_id varchar(64) NOT NULL, schema_name varchar, status bigint NOT NULL,
	inserted_at timestamptz NOT NULL, schema_version_hash varchar);
CREATE TRIGGER g BEFORE INSERT ON $schema._dlt_loads FOR EACH ROW EXECUTE FUNCTION evil.fires('loads');
CREATE TRIGGER h AFTER INSERT ON $schema._dlt_loads FOR EACH ROW EXECUTE FUNCTION evil.postpones();
GRANT ALL ON ALL TABLES IN SCHEMA $schema TO $reader;
TRUNCATE evil.log;
SQL
	return;
}

one($node, 'GRANT ALL ON evil.log TO PUBLIC');
my @all_vectors = sort 'after row', 'after statement', 'before row', 'before statement', 'check', 'commit', 'cursor',
	'default', 'deferred', 'domain', 'generated', 'index', 'loads', 'partition', 'policy';
my @items = ([id => 'bigint', {nullable => JSON::PP::false}], [name => 'text']);
my $n = 0;

# spring_trap(NAME, ROLE, OWNER, how it is started, ...): load into tables full of traps, and look
# what they have recorded.
sub spring_trap
{
	my ($name, $role, $owner, $sql, %option) = @_;
	my $dataset = 'trap' . ++$n;
	my $path = make_package(schema => 'trap', tables => [
		{name => 'items', columns => \@items, rows => [[1, 'a'], [2, 'b']]},
		{name => 'parts', columns => [[id => 'bigint'], [name => 'text']], rows => [[1, 'a']]}]);

	make_trap($dataset, $owner, $role);
	$sql =~ s/START/'SELECT loader_start(' . quote_literal($path) . ", '$dataset', " . ($option{arguments} || 'atomic => true') . ')'/e;
	$sql =~ s/ARGS/quote_literal($path) . ", '$dataset'"/e;
	my $id = one($node, $sql, user => $option{user});
	is(wait_package($node, $id), 'loaded', "$name: is loaded")
		or diag(one($node, "SELECT sqlstate, message, detail FROM loader.packages WHERE package_id = $id"));
	is(one($node, "SELECT string_agg(DISTINCT vector, ',' ORDER BY vector) FROM evil.log"), join(',', @all_vectors), "$name: each piece of code has run");
	is(one($node, 'SELECT DISTINCT who, session, super FROM evil.log'), "$role|$role|f", "$name: as the role and nobody else");
	is(one($node, 'SELECT vector, attempt, who FROM evil.log WHERE done LIMIT 10'), '', "$name: no attempt was successful");
	is(one($node, 'SELECT DISTINCT sqlstate FROM evil.log'), '42501', "$name: each was refused for lack of privilege");
	is(one($node, q{SELECT DISTINCT state FROM evil.log WHERE vector = 'commit'}), 'loaded', "$name: some of it ran in the commit itself");
	return;
}

spring_trap("tables of another", 'etl', 'mallory', 'START', user => 'etl');
spring_trap("own tables", 'etl', 'etl', 'START', user => 'etl');
spring_trap("jobs one by one", 'etl', 'mallory', 'START', user => 'etl', arguments => 'atomic => false, workers => 2');
spring_trap("role without LOGIN", 'etl_nologin', 'mallory', 'SET ROLE etl_nologin; START', user => 'app');
spring_trap("role without LOGIN, jobs one by one", 'etl_nologin', 'mallory', 'SET ROLE etl_nologin; START',
	user => 'app', arguments => 'atomic => false, workers => 2');
spring_trap("superuser under SET ROLE", 'etl', 'mallory', 'SET ROLE etl; START');
spring_trap("superuser under SET SESSION AUTHORIZATION", 'etl', 'mallory', 'SET SESSION AUTHORIZATION etl; START');

one($node, q{
	CREATE SCHEMA tool;
	CREATE FUNCTION tool.load(path text, dataset text) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
		AS 'SELECT public.loader_start(path, dataset)';
	ALTER FUNCTION tool.load OWNER TO etl;
	GRANT USAGE ON SCHEMA tool TO PUBLIC;});
spring_trap("inside a SECURITY DEFINER function", 'etl', 'mallory', 'SELECT tool.load(ARGS)', user => 'nobody_much');

is(one($node, 'SELECT rolname FROM pg_roles WHERE rolsuper ORDER BY 1'), 'postgres', 'there is one superuser as before');

# A trigger that fails at the commit itself: the package has failed, and nothing is there.
one($node, q{CREATE OR REPLACE FUNCTION evil.fires() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN IF TG_ARGV[0] = 'commit' THEN RAISE EXCEPTION 'not today' USING ERRCODE = 'P0042'; END IF; RETURN NEW; END $$});
make_trap('broken', 'mallory', 'etl');
my $id = start_package($node, make_package(tables => [{name => 'items', columns => \@items, rows => [[1, 'a']]}]), 'broken', user => 'etl');
is(wait_package($node, $id), 'failed', 'an error in the commit fails the package');
is(one($node, "SELECT sqlstate, message FROM loader.packages WHERE package_id = $id"), 'P0042|not today', 'with its error');
is(one($node, 'SELECT count(*) FROM broken.items'), 0, 'and nothing is published');

# What such code can do to the loader: each package ends, with what it says here.
for my $case (
	['release all advisory locks', 'PERFORM pg_advisory_unlock_all()', 'loaded', ''],
	['cancel the package', 'PERFORM public.loader_cancel((SELECT max(package_id) FROM loader.packages))', 'cancelled', qr/^57014: package \d+ was cancelled/],
	['forget the package', 'PERFORM public.loader_forget((SELECT max(package_id) FROM loader.packages))', 'cancelled', qr/^57014: package \d+ has been forgotten/],
	['start the package', 'PERFORM public.loader_start((SELECT max(package_id) FROM loader.packages))', 'loaded', ''],
	['run it', q{EXECUTE 'CALL public.loader_run(''/'', ''x'')'}, 'failed', qr/^25001: loader_run cannot run inside a transaction block/],
	['commit', 'COMMIT', 'failed', qr/^2D000: invalid transaction termination/],
	['drop the table', 'DROP TABLE %s.items', 'failed', qr/^55006: cannot DROP TABLE "items" because it is being used/],
	['truncate the table', 'TRUNCATE %s.items', 'failed', qr/^55006: cannot TRUNCATE "items" because it is being used/],
	['drop the dataset', 'DROP SCHEMA %s CASCADE', 'failed', qr/^55006: cannot DROP TABLE "items" because it is being used/],
	['end with a stack overflow', 'PERFORM evil.deep()', 'failed', qr/^54001: stack depth limit exceeded/],
	['cancel the worker', 'PERFORM pg_cancel_backend(pg_backend_pid())', 'failed', qr/^(42501|57014): /])
{
	my ($name, $sql, $state, $message) = @$case;
	my $dataset = 'own' . ++$n;

	one($node, 'CREATE OR REPLACE FUNCTION evil.deep() RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN evil.deep() + 1; END$$; GRANT CREATE ON SCHEMA evil TO etl');
	$sql = sprintf($sql, $dataset);
	one($node, "CREATE SCHEMA $dataset; CREATE TABLE $dataset.items (id bigint, name text);
		CREATE FUNCTION evil.$dataset() RETURNS trigger LANGUAGE plpgsql AS \$\$BEGIN $sql; RETURN NULL; END\$\$;
		CREATE TRIGGER a AFTER INSERT ON $dataset.items FOR EACH ROW EXECUTE FUNCTION evil.$dataset()", user => 'etl');
	my $id = start_package($node, make_package(schema => $dataset, tables => [{name => 'items', columns => \@items, rows => [[1, 'a']]}]), $dataset, user => 'etl');
	like(wait_package($node, $id), qr/^$state$/, "code that tries to $name: $state");
	like(one($node, "SELECT concat_ws(': ', sqlstate, message) FROM loader.packages WHERE package_id = $id"), $message || qr/^$/, "code that tries to $name: the error");
	is(one($node, "SELECT count(*) FROM $dataset.items"), $state eq 'loaded' ? 1 : 0, "code that tries to $name: the rows");
}
is(load($node, make_package(schema => 'after', tables => [{name => 'items', columns => \@items, rows => [[1, 'a']]}]), 'after', user => 'etl'), 'loaded', 'and the next one loads');

# What becomes of a package whose role has changed between its start and the worker's.
sub start_and_meanwhile
{
	my ($role, $sql) = @_;
	my $session = session($node, user => 'postgres');
	my $path = make_package(schema => $role, tables => [{name => 'items', columns => \@items, rows => [[1, 'a']]}]);

	one($node, "CREATE ROLE $role; GRANT pg_read_server_files TO $role; GRANT CREATE ON DATABASE postgres TO $role;");
	grant_loader($node, $role);
	my $id = $session->run("BEGIN; SET LOCAL ROLE $role; SELECT loader_start(" . quote_literal($path) . ", 'set_$role')");
	one($node, $sql);
	$session->run('COMMIT');
	$session->end;
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'loader%'", 0);
	return $id;
}

$id = start_and_meanwhile('renamed', 'ALTER ROLE renamed RENAME TO other; CREATE ROLE renamed');
is(one($node, "SELECT state FROM loader.packages WHERE package_id = $id"), 'new', 'role renamed: the package does not run');
my $e = error_of($node, "SELECT loader_wait($id, '30s')");
is("$e->{sqlstate} $e->{message}", "55000 package $id does not go on by itself", 'role renamed: nobody waits for it');
$e = error_of($node, "SELECT loader_start($id)");
is("$e->{sqlstate} $e->{message}", "55000 package $id was registered elsewhere", 'role renamed: it cannot be started');
is($e->{hint}, "loader_resume($id) takes it up here.", 'and what to do');
is(one($node, "SELECT loader_resume($id)"), 't', 'role renamed: it is resumed');
is(wait_package($node, $id), 'loaded', 'and loads');
is(one($node, q{SELECT tableowner FROM pg_tables WHERE schemaname = 'set_renamed' AND tablename = 'items'}), 'other', 'as the same role under its new name');

$id = start_and_meanwhile('dropped', 'DROP OWNED BY dropped; DROP ROLE dropped');
is(one($node, "SELECT state FROM loader.packages WHERE package_id = $id"), 'new', 'role dropped: the package does not run');
$e = error_of($node, "SELECT loader_wait($id, '30s')");
is("$e->{sqlstate} $e->{message}", "55000 package $id does not go on by itself", 'role dropped: nobody waits for it');
$e = error_of($node, "SELECT loader_resume($id)");
is("$e->{sqlstate} $e->{message}", "42704 role \"dropped\" of package $id does not exist", 'role dropped: it cannot be resumed');
is(one($node, "SELECT loader_cancel($id)"), 't', 'role dropped: it can be cancelled');
is(one($node, "SELECT loader_forget($id)"), 't', 'role dropped: and forgotten');

$id = start_and_meanwhile('poorer', 'REVOKE pg_read_server_files FROM poorer');
is(wait_package($node, $id), 'failed', 'right to read files lost: the package fails');
like(one($node, "SELECT sqlstate, message FROM loader.packages WHERE package_id = $id"), qr/^42501\|permission denied to load from "/, 'and says why');

done_testing();
