# test/t/004_dump.pl: pg_dump keeps the catalog; the restored database takes new packages, and goes
# on with none of the old ones by itself, whether it lies in the same server, in another, or is
# seen by a launcher. loader.retention clears what is done.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderTest;
use Test::More;

my $top = packages_dir();
my $node = new_node('main');

one($node, q{
	CREATE ROLE etl LOGIN;
	GRANT pg_read_server_files TO etl;
	CREATE DATABASE source;
	GRANT CREATE ON DATABASE source TO etl;});
one($node, 'CREATE EXTENSION loader', database => 'source');
grant_loader($node, 'etl', 'source');

my @db = (database => 'source', user => 'etl');
my @columns = ([id => 'bigint'], [name => 'text']);
my %dir;

sub package_of
{
	my ($name, @rows) = @_;

	mkdir "$top/$name" unless -d "$top/$name";
	return $dir{$name} = make_package(dir => "$top/$name", schema => $name,
		tables => [{name => 'items', columns => \@columns, rows => [@rows ? @rows : [1, 'a']]}]);
}

# One package in each state. One more is started and has not begun: a lock holds it while the
# database is dumped.
my %id;
$id{loaded} = start_package($node, package_of('loaded'), 'loaded', @db);
is(wait_package($node, $id{loaded}, @db[0, 1]), 'loaded', 'a package that is loaded');
one($node, "INSERT INTO loader.reject (package_id, job_id, line, sqlstate, message, raw, raw_size)
	SELECT package_id, job_id, 2, '22P02', 'a bad row', 'x', 1 FROM loader.job WHERE package_id = $id{loaded}", database => 'source');
$id{failed} = start_package($node, package_of('failed', ['x', 'a']), 'failed', @db);
is(wait_package($node, $id{failed}, @db[0, 1]), 'failed', 'one that has failed');
$id{cancelled} = one($node, 'SELECT loader_register(' . quote_literal(package_of('cancelled')) . ", 'cancelled')", @db);
one($node, "SELECT loader_cancel($id{cancelled})", @db);
$id{registered} = one($node, 'SELECT loader_register(' . quote_literal(package_of('registered')) . ", 'registered')", @db);
$id{started} = one($node, 'SELECT loader_register(' . quote_literal(package_of('started')) . ", 'started')", @db);
one($node, 'CREATE SCHEMA started; GRANT ALL ON SCHEMA started TO etl; CREATE TABLE started.items (id bigint, name text); GRANT ALL ON started.items TO etl', database => 'source');
my $holder = session($node, database => 'source');
$holder->run('BEGIN; LOCK TABLE started.items IN SHARE MODE');
one($node, "SELECT loader_start($id{started})", @db);
wait_for($node, "SELECT phase FROM loader.progress WHERE package_id = $id{started}", 'waiting for locks', database => 'source');

my $dump = "$top/source.sql";
$node->command_ok(['pg_dump', '-f', $dump, '-d', $node->connstr('source')], 'pg_dump');
my $roles = "$top/roles.sql";
$node->command_ok(['pg_dumpall', '--roles-only', '-f', $roles], 'pg_dumpall');

my @catalog = qw(package job package_table reject event);
my $content = join(' UNION ALL ', map { "SELECT '$_', count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM loader.$_ t" } @catalog)
	. q{ UNION ALL SELECT 'package sequence', last_value, is_called::text FROM loader.package_package_id_seq
	UNION ALL SELECT 'event sequence', last_value, is_called::text FROM loader.event_event_id_seq
	UNION ALL SELECT 'reject sequence', last_value, is_called::text FROM loader.reject_reject_id_seq};
my $before = one($node, $content, database => 'source');

sub restore
{
	my ($where, $database) = @_;

	one($where, "CREATE DATABASE $database");
	$where->command_ok(['psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $where->connstr($database), '-f', $dump], "restored as $database");
	one($where, "GRANT CREATE ON DATABASE $database TO etl");
	return;
}

# nothing_goes_on(NODE, DATABASE): whoever looks for work finds none; then one is resumed.
sub nothing_goes_on
{
	my ($where, $database, $name) = @_;
	my @here = (database => $database, user => 'etl');
	my $states = "SELECT string_agg(dataset || ' ' || state, ', ' ORDER BY package_id) FROM loader.packages";
	my $expected = 'loaded loaded, failed failed, cancelled cancelled, registered new, started new';

	# a new package beside the old ones: the sequences go on where they were
	is(load($where, package_of("new_$database"), "new_$database", @here), 'loaded', "$name: a new package loads");
	is(one($where, "SELECT package_id FROM loader.packages WHERE dataset = 'new_$database'", @here), $id{started} + 1, "$name: with the next number");
	# each of these looks for packages that wait
	is(one($where, 'SELECT loader_scan(' . quote_literal("$top/new_$database") . ", 'new_$database')", @here), '', "$name: a scan finds nothing new");
	is(one($where, 'SELECT loader_scan(' . quote_literal("$top/$_") . ", '$_')", @here), '', "$name: nor in the directory of the $_ one") for qw(started registered failed loaded);
	my $e = error_of($where, "SELECT loader_wait($id{started}, '60s')", @here);
	is("$e->{sqlstate} $e->{message}", "55000 package $id{started} does not go on by itself", "$name: nobody waits for the started one");
	one($where, 'SELECT loader_start(' . quote_literal(package_of("more_$database")) . ", 'more_$database')", @here);
	wait_for($where, "SELECT state FROM loader.packages WHERE dataset = 'more_$database'", 'loaded', database => $database);
	wait_for($where, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'loader %' AND backend_type <> 'loader launcher' AND datname = '$database'", 0);
	is(one($where, "$states WHERE package_id <= $id{started}", database => $database), $expected, "$name: the old ones are as they were");
	is(one($where, 'SELECT count(*) FROM started.items', database => $database), 0, "$name: nothing came of the started one");
	# what was loaded still counts
	is(start_package($where, $dir{loaded}, 'loaded', @here), $id{loaded}, "$name: the loaded one is known");
	is(one($where, 'SELECT count(*) FROM loaded.items', database => $database), 1, "$name: and not loaded twice");
	# on request
	is(one($where, "SELECT loader_resume($id{started})", @here), 't', "$name: resumed on request");
	is(wait_package($where, $id{started}, database => $database), 'loaded', "$name: and loaded");
	is(one($where, 'SELECT count(*) FROM started.items', database => $database), 1, "$name: with its rows");
	is(one($where, "SELECT loader_resume($id{registered})", @here), 't', "$name: so is the registered one");
	is(wait_package($where, $id{registered}, database => $database), 'loaded', "$name: and loaded");
	return;
}

# Into the same server: the system is the same, the database is not.
restore($node, 'copy');
is(one($node, $content, database => 'copy'), $before, 'same server: the catalog is the same');
nothing_goes_on($node, 'copy', 'same server');
$holder->run('ROLLBACK');
$holder->end;
is(wait_package($node, $id{started}, database => 'source'), 'loaded', 'the original goes on undisturbed');
is(one($node, 'SELECT count(*) FROM started.items', database => 'source'), 1, 'and is loaded once');

# Into another, where roles have other OIDs, somebody has the OID of the old etl, and a launcher
# looks for what waits.
my $other = new_node('other', "shared_preload_libraries = 'loader'\nloader.launcher_naptime = 1", bare => 1);
my $oid = one($node, q{SELECT oid FROM pg_roles WHERE rolname = 'etl'});
my $last = one($other, "CREATE ROLE first; SELECT oid FROM pg_roles WHERE rolname = 'first'");
for (my $n = 1; $last < $oid && $n < 10000; $n++)
{
	$last = one($other, "CREATE ROLE r$n LOGIN; SELECT oid FROM pg_roles WHERE rolname = 'r$n'");
}
my $stranger = one($other, "SELECT rolname FROM pg_roles WHERE oid = $oid");
one($other, do { local (@ARGV, $/) = ($roles); (my $sql = <>) =~ s/^CREATE ROLE postgres;//m; $sql });
isnt(one($other, q{SELECT oid FROM pg_roles WHERE rolname = 'etl'}), $oid, 'another server: the role has another OID');
restore($other, 'away');
is(one($other, $content, database => 'away'), $before, 'another server: the catalog is the same');
SKIP:
{
	skip 'no role has the OID that etl had', 1 unless $stranger;
	is(one($other, "SET ROLE $stranger; SELECT count(*) FROM loader.packages", database => 'away'), 0, 'another server: who has the OID now sees nothing');
}
nothing_goes_on($other, 'away', 'another server');

# --- retention ------------------------------------------------------------------------------------

my $states = q{SELECT string_agg(dataset, ' ' ORDER BY dataset) FROM loader.packages};
one($node, "SELECT loader_resume($id{failed})", @db);
is(wait_package($node, $id{failed}, @db[0, 1]), 'failed', 'retention: the failed one has failed again');
is(one($node, $states, database => 'source'), 'cancelled failed loaded registered started', 'retention: without it all stay');
is(one($node, 'SELECT loader_scan(' . quote_literal("$top/loaded") . ", 'loaded')", @db), '', 'retention: a scan');
is(one($node, $states, database => 'source'), 'cancelled failed loaded registered started', 'retention: and a scan clears nothing');
$node->append_conf('postgresql.conf', 'loader.retention = 1h');
$node->reload;
wait_for($node, "SELECT count(*) FROM loader.running(); SHOW loader.retention", "0\n1h");
one($node, 'SELECT loader_scan(' . quote_literal("$top/loaded") . ", 'loaded')", @db);
is(one($node, $states, database => 'source'), 'cancelled failed loaded registered started', 'retention: not before its time');
one($node, q{UPDATE loader.package SET finished_at = finished_at - interval '61 min'}, database => 'source');
one($node, 'SELECT loader_scan(' . quote_literal("$top/loaded") . ", 'loaded')", @db);
is(one($node, $states, database => 'source'), 'failed loaded registered', 'retention: loaded and cancelled ones are cleared; failed and new ones stay, and one with a rejected row');
$node->append_conf('postgresql.conf', 'loader.reject_retention = 2h');
$node->reload;
wait_for($node, "SELECT count(*) FROM loader.running(); SHOW loader.reject_retention", "0\n2h");
one($node, 'SELECT loader_scan(' . quote_literal("$top/loaded") . ", 'loaded')", @db);
is(one($node, $states, database => 'source'), 'failed loaded registered', 'retention: not before loader.reject_retention');
one($node, q{UPDATE loader.package SET finished_at = finished_at - interval '1 h'}, database => 'source');
one($node, 'SELECT loader_scan(' . quote_literal("$top/loaded") . ", 'loaded')", @db);
is(one($node, $states, database => 'source'), 'failed registered', 'retention: but after it');
is(one($node, 'SELECT count(*) FROM loader.reject', database => 'source'), 0, 'retention: with the row');
is(one($node, 'SELECT count(*) FROM loader.job j WHERE NOT EXISTS (SELECT FROM loader.package p WHERE p.package_id = j.package_id)', database => 'source'), 0, 'retention: with their jobs');
is(start_package($node, $dir{loaded}, 'loaded', @db), '', 'retention: what was loaded still counts as loaded');
is(one($node, 'SELECT count(*) FROM loaded.items', database => 'source'), 1, 'retention: and is not loaded twice');
one($node, q{UPDATE loader.package SET finished_at = clock_timestamp() - interval '61 min'}, database => 'source');
is(load($node, package_of('last'), 'last', @db), 'loaded', 'retention: one more package');
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'loader %'", 0);
is(one($node, $states, database => 'source'), 'failed last registered', 'retention: nothing else is cleared by a package that ends');
$node->append_conf('postgresql.conf', 'loader.reject_retention = -1');
$node->reload;
wait_for($node, "SELECT count(*) FROM loader.running(); SHOW loader.reject_retention", "0\n-1");
one($node, "INSERT INTO loader.reject (package_id, job_id, line, sqlstate, message, raw, raw_size)
	SELECT package_id, job_id, 2, '22P02', 'a bad row', 'x', 1 FROM loader.job JOIN loader.package USING (package_id) WHERE dataset = 'last'", database => 'source');
one($node, q{UPDATE loader.package SET finished_at = clock_timestamp() - interval '1 year'}, database => 'source');
one($node, 'SELECT loader_scan(' . quote_literal("$top/loaded") . ", 'loaded')", @db);
is(one($node, $states, database => 'source'), 'failed last registered', 'retention: a rejected row is kept until somebody has looked');
is(one($node, q{SELECT loader_discard(package_id) FROM loader.packages WHERE dataset = 'last'}, @db), 1, 'retention: it is discarded');
one($node, 'SELECT loader_scan(' . quote_literal("$top/loaded") . ", 'loaded')", @db);
is(one($node, $states, database => 'source'), 'failed registered', 'retention: then its package goes');

done_testing();
