# test/t/003_access.pl: who may call what, read which directories, see which packages; and what is
# said when the database's own rights, or the operating system's, stand in the way.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderTest;
use Test::More;

my $top = packages_dir();
my ($listed, $beside) = ("$top/pack", "$top/packages");
mkdir $_ or die "could not make $_: $!" for $listed, $beside;

my $node = new_node('main', 'loader.package_directories = ' . quote_literal("$top/none, $listed"), streaming => 1);
my $os_user = getpwuid($>);

one($node, q{
	CREATE ROLE etl LOGIN;
	CREATE ROLE etl_member LOGIN IN ROLE etl;
	CREATE ROLE other LOGIN;
	CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
	CREATE ROLE stranger LOGIN;
	GRANT pg_read_server_files TO etl;
	GRANT CREATE ON DATABASE postgres TO etl, other;});
grant_loader($node, 'etl, other');

my @columns = ([id => 'bigint'], [name => 'text']);

sub package_in
{
	my ($dir, $schema, %more) = @_;

	return make_package(dir => $dir, schema => $schema, tables => [{name => 'items', columns => \@columns, rows => [[1, 'a']]}], %more);
}

# refused(NAME, SQL, SQLSTATE, MESSAGE, ...): the error is this one; MESSAGE is text or a regexp.
# Returns it.
sub refused
{
	my ($name, $sql, $sqlstate, $message, %option) = @_;
	my $e = error_of($node, $sql, %option);

	is($e->{sqlstate}, $sqlstate, "$name: $sqlstate");
	ref $message ? like($e->{message}, $message, "$name: message") : is($e->{message}, $message, "$name: message");
	return $e;
}

# fails(NAME, PATH, DATASET, ROLE, SQLSTATE, MESSAGE): the package is accepted and then fails.
sub fails
{
	my ($name, $path, $dataset, $role, $sqlstate, $message) = @_;
	my $id = start_package($node, $path, $dataset, user => $role);

	is(wait_package($node, $id), 'failed', "$name: fails");
	is(one($node, "SELECT sqlstate, message FROM loader.packages WHERE package_id = $id"), "$sqlstate|$message", "$name: says why");
	return $id;
}

# --- functions, tables, schema ------------------------------------------------------------------

is(one($node, q{
	SELECT string_agg(DISTINCT proname, ' ' ORDER BY proname) FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid,
		aclexplode(coalesce(proacl, acldefault('f', proowner))) a
	WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND a.grantee = 0
		AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'loader')}),
	'dataset_rows loader_airbyte_check loader_airbyte_spec loader_airbyte_states loader_capabilities loader_fingerprint loader_get_storage_tables loader_get_stored_schema loader_get_stored_schema_by_hash loader_get_stored_state'
		. ' loader_is_storage_initialized loader_job loader_location loader_normalize_dataset_name loader_restore_file_load may_see raw_text running', 'these functions are for everybody, all others are not');
is(one($node, q{
	SELECT count(*) FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
	WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND p.prosecdef
		AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'loader')}),
	0, 'none runs as its owner');
for my $call ('SELECT loader_register(%s)', 'SELECT loader_start(%s)', 'CALL loader_run(%s)', 'SELECT loader_plan(%s)', 'SELECT loader_scan(%s)')
{
	my ($function) = $call =~ /(loader_\w+)/;
	my $kind = $function eq 'loader_run' ? 'procedure' : 'function';

	refused($function, sprintf($call, "'/tmp'"), '42501', "permission denied for $kind $function", user => 'stranger');
}
for my $function (qw(loader_start loader_wait loader_cancel loader_resume loader_forget loader_replay loader_discard))
{
	refused($function, "SELECT $function(1)", '42501', "permission denied for function $function", user => 'stranger');
}
for my $table (qw(package job package_table reject event))
{
	refused("table $table", "SELECT * FROM loader.$table", '42501', "permission denied for table $table", user => 'etl');
	refused("table $table", "DELETE FROM loader.$table", '42501', "permission denied for table $table", user => 'etl');
}
refused('sequence', "SELECT nextval('loader.package_package_id_seq')", '42501', 'permission denied for sequence package_package_id_seq', user => 'etl');
refused('our schema', 'CREATE TABLE loader.x ()', '42501', 'permission denied for schema loader', user => 'etl');
refused("the extension's schema", 'CREATE FUNCTION public.loader_start(source text) RETURNS bigint LANGUAGE sql AS $$SELECT 1::bigint$$',
	'42501', 'permission denied for schema public', user => 'etl');
refused('the list of directories', 'SELECT count(*) FROM loader.running(); SHOW loader.package_directories', '42501', qr/"loader.package_directories"/, user => 'etl');
refused('the list of directories', "SELECT count(*) FROM loader.running(); SET loader.package_directories = '/'", '55P02',
	'parameter "loader.package_directories" cannot be changed now', user => 'etl');

# --- directories --------------------------------------------------------------------------------

my $inside = package_in($listed, 'inside');
my $outside = package_in($beside, 'outside');
my $denied = sub { 'permission denied to load from "' . $_[0] . '"' };

is(load($node, $inside, 'inside', user => 'other'), 'loaded', 'a listed directory');
for my $case (
	['a directory whose name begins like a listed one', $outside],
	['out by ..', "$listed/../packages/" . ($outside =~ s,.*/,,r)],
	['a package behind a link', "$listed/link"],
	['a directory behind a link', "$listed/links/" . ($outside =~ s,.*/,,r)],
	['nothing there, outside', "$beside/nothing"],
	['nothing there, out by ..', "$listed/../packages/nothing"],
	['nothing there, behind a link', "$listed/links/nothing"],
	['something there that is not for us', "$top/nothing/../pack/../../etc"],
	['the root', '/'])
{
	my ($name, $path) = @$case;

	symlink($outside, "$listed/link") or $!{EEXIST} or die $!;
	symlink($beside, "$listed/links") or $!{EEXIST} or die $!;
	for my $call ('SELECT loader_register(%s, %s)', 'SELECT * FROM loader_plan(%s, %s)', 'SELECT loader_scan(%s, %s)', 'CALL loader_run(%s, %s)')
	{
		my $e = refused("$name: " . $call =~ s/.*(loader_\w+).*/$1/r, sprintf($call, quote_literal($path), "'d'"), '42501', $denied->($path), user => 'other');

		# word for word the same for what is there and what is not
		is("$e->{detail} $e->{hint}",
			'Role "other" is not a member of pg_read_server_files, and the directory, links resolved, does not lie under loader.package_directories.'
				. ' Ask an administrator to GRANT pg_read_server_files, or to add the directory to loader.package_directories.',
			"$name: detail and hint");
	}
}
refused('nothing there, in a listed directory', 'SELECT loader_register(' . quote_literal("$listed/nothing") . ", 'd')",
	'58P01', "\"$listed/nothing\" does not exist", user => 'other');
refused('a relative path', "SELECT loader_register('pack', 'd')", '22023', '"pack" is not an absolute path', user => 'other');
symlink($inside, "$beside/inside") or die $!;
is(one($node, 'SELECT count(*) FROM loader_plan(' . quote_literal("$beside/inside") . ", 'd')", user => 'other') > 0, 1, 'a link into a listed directory');
is(one($node, 'SELECT loader_scan(' . quote_literal($listed) . ", 'inside')", user => 'other'), '', 'a scan follows no links');

# Before the library is loaded, a name with a dot is anybody's to set.
refused('a list of one\'s own', "SET loader.package_directories = '/'; SELECT loader_register(" . quote_literal($outside) . ", 'd')", '42501',
	$denied->($outside), user => 'other');

# What was allowed at registration is looked at again.
my $moved = package_in($listed, 'moved');
my $id = one($node, 'SELECT loader_register(' . quote_literal($moved) . ", 'moved')", user => 'other');
rename($moved, "$beside/moved") or die $!;
symlink("$beside/moved", $moved) or die $!;
one($node, "SELECT loader_start($id)", user => 'other');
is(wait_package($node, $id), 'failed', 'moved out of the listed directory: fails');
is(one($node, "SELECT sqlstate, message FROM loader.packages WHERE package_id = $id"), '42501|' . $denied->($moved), 'moved: says why');
one($node, "SELECT loader_forget($id)", user => 'other');
unlink($moved) or die $!;

# --- the operating system's user ----------------------------------------------------------------

SKIP:
{
	skip 'root may read everything', 1 if $> == 0;
	my $closed = "$beside/closed";
	mkdir $closed or die $!;
	my $path = package_in($closed, 'closed');
	my ($file) = glob("$path/new_jobs/*");

	for my $case (
		['a directory above', $closed, 0000, $closed, $path],
		['the package', $path, 0000, $path, $path],
		['schema.json', "$path/schema.json", 0000, "$path/schema.json", "$path/schema.json"],
		['new_jobs', "$path/new_jobs", 0000, "$path/new_jobs", "$path/new_jobs"],
		['a job file', $file, 0000, $file, $file])
	{
		my ($name, $what, $mode, $element, $named) = @$case;
		my $before = (stat $what)[2] & 07777;

		chmod($mode, $what) or die $!;
		my $e = refused("not readable: $name", 'SELECT loader_register(' . quote_literal($path) . ", 'closed')", '42501',
			"could not read \"$named\": Permission denied", user => 'etl');
		is($e->{detail}, "The server runs as operating system user \"$os_user\", which may not enter or read \"$element\".", "not readable: $name: whom and where");
		like($e->{hint}, qr/^Give that user access: chmod g\+rx? on "\Q$element\E"/, "not readable: $name: what to do");
		chmod($before, $what) or die $!;
	}
	$id = one($node, 'SELECT loader_register(' . quote_literal($path) . ", 'closed')", user => 'etl');
	chmod(0000, $file) or die $!;
	one($node, "SELECT loader_start($id)", user => 'etl');
	is(wait_package($node, $id), 'failed', 'not readable any more: fails');
	is(one($node, "SELECT sqlstate, message, detail FROM loader.packages WHERE package_id = $id"),
		"42501|could not read \"$file\": Permission denied|The server runs as operating system user \"$os_user\", which may not enter or read \"$file\".",
		'not readable any more: says why');
	chmod(0600, $file) or die $!;
	is(one($node, "SELECT loader_resume($id)", user => 'etl'), 't', 'readable again: resumed');
	is(wait_package($node, $id), 'loaded', 'readable again: loaded');
}

# --- packages of others -------------------------------------------------------------------------

my $path = package_in($beside, 'mine');
$id = one($node, 'SELECT loader_register(' . quote_literal($path) . ", 'mine')", user => 'etl');
for my $function (qw(loader_start loader_cancel loader_resume loader_forget loader_wait loader_replay loader_discard))
{
	my $e = refused("$function of another's package", "SELECT $function($id)", '42501', "permission denied for package $id", user => 'other');

	is($e->{detail}, 'It belongs to role "etl".', "$function of another's package: whose");
}
refused('no such package', 'SELECT loader_cancel(4711)', '42704', 'package 4711 does not exist', user => 'other');
is(load($node, $path, 'mine', user => 'etl_member'), 'loaded', 'a member of the role acts for it');
is(one($node, "SELECT role_name FROM loader.packages WHERE package_id = $id"), 'etl', 'and does not take it over');

one($node, "INSERT INTO loader.reject (package_id, job_id, line, sqlstate, message, raw, raw_size)
	SELECT package_id, job_id, 2, '22P02', 'a bad row', 'x', 1 FROM loader.job JOIN loader.package USING (package_id) WHERE dataset IN ('inside', 'mine')");
my %sees = (etl => 'mine', etl_member => 'mine', other => 'inside', watcher => 'inside mine', stranger => '', postgres => 'inside mine');
for my $role (sort keys %sees)
{
	for my $view (
		q{loader.packages}, q{loader.tables}, q{loader.datasets}, q{loader.jobs JOIN loader.packages USING (package_id)},
		q{loader.events JOIN loader.packages USING (package_id)}, q{loader.rejects JOIN loader.packages USING (package_id)})
	{
		(my $what = $view) =~ s/.*loader.(\w+).*/$1/;
		is(one($node, "SELECT string_agg(DISTINCT dataset, ' ' ORDER BY dataset) FROM $view WHERE dataset IN ('inside', 'mine')", user => $role),
			$sees{$role}, "$what that $role sees");
	}
}
is(one($node, "SELECT count(*) FROM loader.jobs WHERE package_id = $id", user => 'other'), 0, "another's jobs");
my $job = one($node, "SELECT job_id FROM loader.jobs WHERE package_id = $id");
is(one($node, "SELECT state FROM loader_job($id, '$job')", user => 'etl'), 'completed', 'loader_job');
is(one($node, "SELECT count(*) FROM loader_job($id, '$job')", user => 'other'), 0, "loader_job of another's package");
is(one($node, 'SELECT DISTINCT dataset FROM loader.loads', user => 'other'), 'inside', 'loads of own datasets');
is(one($node, 'SELECT count(*) FROM loader.loads', user => 'watcher'), 0, 'pg_monitor does not read tables for it');
my $e = refused('registering the same for oneself', 'SELECT loader_register(' . quote_literal($path) . ", 'mine')", '42501', $denied->($path), user => 'other');
one($node, 'GRANT pg_read_server_files TO other');
one($node, 'GRANT USAGE ON SCHEMA mine TO other; GRANT SELECT ON ALL TABLES IN SCHEMA mine TO other');
refused('registering the same for oneself', 'SELECT loader_register(' . quote_literal($path) . ", 'mine')", '42501',
	qr/^permission denied to load into dataset "mine"/, user => 'other');
one($node, 'GRANT INSERT ON ALL TABLES IN SCHEMA mine TO other');
refused('registering the same for oneself, with rights', 'SELECT loader_register(' . quote_literal($path) . ", 'mine')", '42501',
	qr/^package ".*" was registered by another role/, user => 'other');

# While it runs: only its owner's eyes. The table's lock holds it.
one($node, 'CREATE SCHEMA held AUTHORIZATION etl; CREATE TABLE held.items (id bigint, name text); ALTER TABLE held.items OWNER TO etl');
my $holder = session($node);
$holder->run('BEGIN; LOCK TABLE held.items');
$id = start_package($node, package_in($beside, 'held'), 'held', user => 'etl');
wait_for($node, "SELECT count(*) FROM loader.progress WHERE package_id = $id", 1);
for my $role (sort keys %sees)
{
	my $expected = $sees{$role} =~ /mine/ ? 1 : 0;

	is(one($node, "SELECT count(*) FROM loader.progress WHERE package_id = $id", user => $role), $expected, "progress that $role sees");
	is(one($node, "SELECT count(*) FROM loader.running() WHERE package_id = $id", user => $role), $expected, "workers that $role sees");
	# before 17 the server counts a worker as the superuser's, and hides its activity from the owner, too
	is(one($node, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'loading package $id%'", user => $role), $expected, "activity that $role sees")
		unless $role =~ /^etl/;
}
is(one($node, "SELECT state FROM loader.packages WHERE package_id = $id", user => 'etl'), 'loading', 'it is loading');
$holder->run('COMMIT');
$holder->end;
is(wait_package($node, $id), 'loaded', 'and goes on');

# --- what a dataset's owner could put in the way of whoever looks ----------------------------------

one($node, <<'SQL', user => 'other');
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TABLE evil.log (what text, who text);
GRANT INSERT ON evil.log TO PUBLIC;
CREATE TYPE evil.kind AS ENUM ('x');
CREATE FUNCTION evil.note(what text) RETURNS text LANGUAGE plpgsql AS
	$$BEGIN INSERT INTO evil.log VALUES (what, current_user); RETURN 'x'; END$$;
CREATE FUNCTION evil.to_json(evil.kind) RETURNS json LANGUAGE plpgsql AS $$BEGIN PERFORM evil.note('cast'); RETURN '"x"'; END$$;
CREATE FUNCTION evil.to_text(evil.kind) RETURNS text LANGUAGE plpgsql AS $$BEGIN PERFORM evil.note('cast'); RETURN 'x'; END$$;
CREATE CAST (evil.kind AS json) WITH FUNCTION evil.to_json(evil.kind);
CREATE CAST (evil.kind AS text) WITH FUNCTION evil.to_text(evil.kind) AS IMPLICIT;
SQL
for my $case (
	['view', q{CREATE VIEW inside._dlt_loads AS SELECT evil.note('view')::varchar AS load_id, 'inside'::varchar AS schema_name,
		0::bigint AS status, now() AS inserted_at, ''::varchar AS schema_version_hash}],
	['cast', q{CREATE TABLE inside._dlt_loads (load_id evil.kind, schema_name evil.kind, status bigint, inserted_at timestamptz, schema_version_hash varchar);
		INSERT INTO inside._dlt_loads VALUES ('x', 'x', 0, now(), '')}],
	['policy', q{CREATE TABLE inside._dlt_loads (load_id varchar, schema_name varchar, status bigint, inserted_at timestamptz, schema_version_hash varchar);
		INSERT INTO inside._dlt_loads VALUES ('x', 'inside', 0, now(), '');
		ALTER TABLE inside._dlt_loads ENABLE ROW LEVEL SECURITY;
		CREATE POLICY p ON inside._dlt_loads USING (evil.note('policy') = 'x')}])
{
	my ($name, $sql) = @$case;

	one($node, "DROP TABLE IF EXISTS inside._dlt_loads_kept; ALTER TABLE inside._dlt_loads RENAME TO _dlt_loads_kept; $sql; GRANT ALL ON inside._dlt_loads TO PUBLIC", user => 'other');
	for my $role (qw(postgres watcher))
	{
		one($node, 'SELECT count(*) FROM loader.loads', user => $role);
		error_of($node, 'SELECT * FROM loader_plan(' . quote_literal($inside) . ", 'inside')", user => $role);
		is(one($node, "SELECT count(*) FROM evil.log WHERE who <> 'other'"), 0, "a $name in place of _dlt_loads does nothing as $role");
	}
	my $kind = $name eq 'view' ? 'VIEW' : 'TABLE';
	one($node, "DROP $kind inside._dlt_loads; ALTER TABLE inside._dlt_loads_kept RENAME TO _dlt_loads", user => 'other');
}

# --- rights in the database, at the time of the load ---------------------------------------------

sub dataset
{
	my ($name, $sql) = @_;

	one($node, "CREATE SCHEMA $name; CREATE TABLE $name.items (id bigint, name text); $sql");
	return package_in($beside, $name);
}

# Who may not write to a dataset gets no place in its queue either.
sub not_admitted
{
	my ($name, $path, $dataset) = @_;

	my $e = refused($name, 'SELECT loader_start(' . quote_literal($path) . ", '$dataset')", '42501',
		"permission denied to load into dataset \"$dataset\"", user => 'etl');
	like($e->{detail}, qr/^Role "etl" needs /, "$name: what it takes");
	return;
}

not_admitted('no USAGE on the schema', dataset('r1', 'GRANT INSERT ON r1.items TO etl'), 'r1');
not_admitted('no CREATE on the schema', dataset('r2', 'GRANT USAGE ON SCHEMA r2 TO etl; GRANT INSERT ON r2.items TO etl'), 'r2');
fails('no INSERT on the table', dataset('r3', 'GRANT ALL ON SCHEMA r3 TO etl; GRANT SELECT ON r3.items TO etl'), 'r3', 'etl', '42501', 'permission denied for table items');
fails('no INSERT on a column', dataset('r4', 'GRANT ALL ON SCHEMA r4 TO etl; GRANT INSERT (id) ON r4.items TO etl'), 'r4', 'etl', '42501', 'permission denied for table items');
is(load($node, dataset('r5', 'GRANT ALL ON SCHEMA r5 TO etl; GRANT INSERT (id, name) ON r5.items TO etl'), 'r5', user => 'etl'), 'loaded', 'INSERT on each column is enough');
fails('not the owner of a table that gets a column', dataset('r6', 'GRANT ALL ON SCHEMA r6 TO etl; ALTER TABLE r6.items DROP name; GRANT ALL ON r6.items TO etl'),
	'r6', 'etl', '42501', 'must be owner of table items');
$id = fails('row security', dataset('r7', 'GRANT ALL ON SCHEMA r7 TO etl; GRANT ALL ON r7.items TO etl; ALTER TABLE r7.items ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON r7.items WITH CHECK (id > 1)'), 'r7', 'etl', '42501', 'new row violates row-level security policy for table "items"');
like(one($node, "SELECT detail FROM loader.packages WHERE package_id = $id"), qr/^File "items\.\w+\.0\.insert_values", line \d+\.$/, 'row security: which row');
is(one($node, 'SELECT count(*) FROM r7.items'), 0, 'row security: nothing is loaded');
$path = dataset('r8', 'GRANT ALL ON SCHEMA r8 TO etl; GRANT ALL ON r8.items TO etl; CREATE TABLE r8._dlt_loads (load_id varchar(64) NOT NULL, schema_name varchar,
	status bigint NOT NULL, inserted_at timestamptz NOT NULL, schema_version_hash varchar); GRANT INSERT ON r8._dlt_loads TO etl');
$e = refused('record of loads not readable', 'SELECT loader_register(' . quote_literal($path) . ", 'r8')", '42501', 'cannot read the record of loads "r8._dlt_loads"', user => 'etl');
like($e->{detail}, qr/^Role "etl" needs /, 'record of loads not readable: what it takes');
one($node, 'REVOKE CREATE ON DATABASE postgres FROM etl');
not_admitted('no CREATE on the database', package_in($beside, 'r9'), 'r9');
is(one($node, "SELECT count(*) FROM pg_namespace WHERE nspname = 'r9'"), 0, 'no CREATE on the database: nothing is left');

# Names are names, whatever is in them.
my $odd = q{a"b; DROP SCHEMA inside; --};
is(load($node, package_in($beside, 'odd'), $odd), 'loaded', 'an odd name of a dataset');
is(one($node, 'SELECT count(*) FROM ' . q{"a""b; DROP SCHEMA inside; --"} . '.items'), 1, 'is its name');
is(one($node, "SELECT count(*) FROM pg_namespace WHERE nspname = 'inside'"), 1, 'and no statement');

# --- where nothing can be written -----------------------------------------------------------------

my %calls = (
	loader_register => 'SELECT loader_register(' . quote_literal($outside) . ", 'outside')",
	loader_start => 'SELECT loader_start(' . quote_literal($outside) . ", 'outside')",
	loader_scan => 'SELECT loader_scan(' . quote_literal($beside) . ", 'outside')",
	loader_cancel => 'SELECT loader_cancel(1)', loader_resume => 'SELECT loader_resume(1)', loader_forget => 'SELECT loader_forget(1)',
	loader_replay => 'SELECT loader_replay(1)', loader_discard => 'SELECT loader_discard(1)');
for my $function (sort keys %calls)
{
	refused("$function, read only", "BEGIN READ ONLY; $calls{$function}", '25006', "cannot execute $function() in a read-only transaction");
}
refused('loader_start of a package, read only', 'BEGIN READ ONLY; SELECT loader_start(1)', '25006', 'cannot execute loader_start() in a read-only transaction');
refused('loader_run, read only', 'SET default_transaction_read_only = on; CALL loader_run(' . quote_literal($outside) . ", 'outside')", '25006',
	'cannot execute loader_run() in a read-only transaction');
is(one($node, 'BEGIN READ ONLY; SELECT count(*) > 0 FROM loader_plan(' . quote_literal($outside) . ", 'outside')"), 't', 'loader_plan changes nothing');

$node->backup('backup');
my $primary = $node;
$node = new_node('standby', '', from => $primary, backup => 'backup');
$primary->wait_for_catchup($node);
for my $function (sort keys %calls)
{
	refused("$function, standby", $calls{$function}, '25006', qr/^cannot execute $function\(\) (during recovery|in a read-only transaction)$/);
}
is(one($node, "SELECT state FROM loader.packages WHERE dataset = 'inside'"), 'loaded', 'the views work on a standby');
is(one($node, 'SELECT count(*) FROM loader.progress'), 0, 'nothing runs there');
is(one($node, "SELECT loader_wait(package_id) FROM loader.packages WHERE dataset = 'inside'"), 'loaded', 'loader_wait of what has ended');

done_testing();
