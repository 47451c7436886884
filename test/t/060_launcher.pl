# test/t/060_launcher.pl: the launcher: interrupted packages go on in every database that has them,
# whatever is wrong with another one; on a standby that is promoted; and a package that brings the server
# down each time is begun less and less often, and given up.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderTest;
use Test::More;

my $launcher = "shared_preload_libraries = 'loader'";
my $node = new_node('main', "loader.launcher_naptime = 1h\nmax_prepared_transactions = 5\nloader.max_workers = 12\nmax_worker_processes = 30\nrestart_after_crash = on");
my $package = items_package(1, 10);

sub count_rows
{
	my ($database) = @_;

	return one($node, 'SELECT count(*), count(DISTINCT id) FROM d.items', database => $database);
}

# --- databases ----------------------------------------------------------------------------------------

# Those that make trouble come first, so that the launcher meets them before the others.
my @databases = qw(older locked closed dropped renamed a b);
my (%holder, %id);

for my $database (@databases)
{
	my @db = (database => $database);

	one($node, "CREATE DATABASE $database");
	one($node, 'CREATE EXTENSION loader', @db);
	load($node, items_package(-9, 0), 'd', @db) eq 'loaded' or die 'table';
	$holder{$database} = LoaderCrash->new($node, @db);
	$holder{$database}->query('BEGIN; LOCK d.items');
	$id{$database} = start_package($node, $package, 'd', @db);
}
one($node, "CREATE DATABASE without");    # the extension
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator'", scalar @databases);
is(one($node, q{SELECT string_agg(state, ' ' ORDER BY package_id) FROM loader.packages}, database => 'a'), 'loaded loading', 'packages are loading in several databases');
power_cut($node);
$_->quit for values %holder;
is(nothing_runs($node), 0, 'without a launcher nothing goes on after a crash');

# A session that began a transaction and went, a database of another version, one that nobody may enter,
# one that has gone, and one of another name.
one($node, q{UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'loader'}, database => 'older');
one($node, q{BEGIN; LOCK loader.package; PREPARE TRANSACTION 'locked'}, database => 'locked');
one($node, 'ALTER DATABASE closed ALLOW_CONNECTIONS false; ALTER DATABASE renamed RENAME TO other_name');
one($node, 'DROP DATABASE dropped');
$node->append_conf('postgresql.conf', $launcher);
$node->restart;
for my $database (qw(other_name a b))
{
	wait_for($node, 'SELECT count(*) FROM loader.package WHERE state = \'loaded\'', 2, database => $database);
	is(count_rows($database), '20|20', "$database: the launcher brings it in, once");
	is(one($node, 'SELECT attempts FROM loader.packages ORDER BY package_id DESC LIMIT 1', database => $database), 2, "$database: at the second beginning");
	is(one($node, q{SELECT detail FROM loader.events WHERE kind = 'started'}, database => $database), 'Beginning 2, after an interruption.', "$database: on record");
}
cmp_ok(log_count($node, qr/ERROR:  library loader has version \S+, but extension "loader" has version 0\.9/), '>=', 1, 'another version: the log says so');
cmp_ok(log_count($node, qr/ERROR:  canceling statement due to lock timeout/), '>=', 1, 'a locked catalog: the scout has not waited for it');
is(one($node, 'SELECT state FROM loader.package WHERE package_id = ' . $id{older}, database => 'older'), 'new', 'another version: the package is still to do');

# They go on when what was wrong has gone; the launcher looks again and again.
one($node, "UPDATE pg_extension SET extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'loader') WHERE extname = 'loader'", database => 'older');
one($node, q{COMMIT PREPARED 'locked'}, database => 'locked');
one($node, 'ALTER DATABASE closed ALLOW_CONNECTIONS true');
$node->append_conf('postgresql.conf', 'loader.launcher_naptime = 1');
$node->restart;    # the launcher would sleep for an hour
for my $database (qw(older locked closed))
{
	wait_for($node, 'SELECT count(*) FROM loader.package WHERE state = \'loaded\'', 2, database => $database);
	is(count_rows($database), '20|20', "$database: the next round brings it in, once");
}
is(nothing_runs($node), 0, 'nothing is left');

# --- places ---------------------------------------------------------------------------------------------

# One place, and a long queue in one database: another one gets its turn before that is done, and the
# queue goes on then.
{
	my $queue = "SELECT string_agg(state, ' ' ORDER BY package_id) FROM loader.package WHERE package_id > $id{a}";

	$node->append_conf('postgresql.conf', "loader.max_workers = 1\nloader.launcher_naptime = 1h");
	$node->restart;    # a round, and no more for an hour but those that are asked for
	my $holder = LoaderCrash->new($node, database => 'a');
	$holder->query('BEGIN; LOCK d.items');
	start_package($node, items_package(11, 20), 'd', database => 'a');
	# who waits behind another one has no worker, which could come late and take the place
	my $top = packages_dir() . '/turns';
	mkdir $top;
	items_package($_ * 10 + 1, $_ * 10 + 10, dir => $top) for 2 .. 6;
	is(one($node, "SELECT count(*) FROM loader_scan('$top', 'd')", database => 'a'), 5, 'a queue');
	my $other = start_package($node, items_package(11, 20), 'd', database => 'b');
	wait_for($node, 'SELECT count(*) FROM loader.running()', 1, database => 'a');
	$node->reload;    # wakes the launcher
	wait_for($node, q{SELECT datname FROM pg_stat_activity WHERE backend_type = 'loader scout' AND query = 'waiting for a place'}, 'b');
	wait_for($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 19466 AND mode = 'ExclusiveLock' AND granted}, 1);
	$holder->quit;
	wait_for($node, "SELECT state FROM loader.package WHERE package_id = $other", 'loaded', database => 'b');
	wait_for($node, $queue, join(' ', ('loaded') x 6), database => 'a');
	my $when = one($node, "SELECT started_at FROM loader.package WHERE package_id = $other", database => 'b');
	is(one($node, "SELECT count(*) FROM loader.package WHERE package_id > $id{a} AND started_at < '$when'", database => 'a'), 1, 'one place: another database has its turn after one package');
	is(one($node, "SELECT count(*) FROM loader.package WHERE package_id > $id{a} AND started_at > '$when'", database => 'a'), 5, 'and then the queue goes on');
	is(nothing_runs($node), 0, 'nothing is left');
	$node->append_conf('postgresql.conf', "loader.max_workers = 12\nloader.launcher_naptime = 1");
	$node->restart;
}

# --- a package that brings the server down ------------------------------------------------------------

# The first time a user asks for it, the second time the launcher tries at once; then it waits.
{
	my $id;
	my $is_up = sub { eval { one($node, 'SELECT 1') } };

	$node->append_conf('postgresql.conf', "loader.retry_attempts = 3\nloader.retry_delay = 1h");
	$node->reload;
	wait_for($node, 'SHOW loader.retry_delay', '1h');
	one($node, q{CREATE SCHEMA deadly; CREATE TABLE deadly.items (id bigint, name text, _dlt_id text);
		CREATE FUNCTION deadly.kill() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'; PERFORM pg_sleep(60); RETURN NULL; END $$;
		CREATE TRIGGER kill BEFORE INSERT ON deadly.items FOR EACH STATEMENT EXECUTE FUNCTION deadly.kill()});
	$id = start_package($node, $package, 'deadly');
	wait_until('the package to be given a rest', sub {
		eval { one($node, "SELECT phase FROM loader.progress WHERE package_id = $id") eq 'waiting to retry' } });
	is(one($node, "SELECT state, attempts FROM loader.packages WHERE package_id = $id"), 'loading|2', 'what has brought the server down twice has to wait');
	my $crashes = log_count($node, qr/all server processes terminated; reinitializing/);
	is(load($node, $package, 'harmless'), 'loaded', 'others are loaded meanwhile');
	is(log_count($node, qr/all server processes terminated; reinitializing/), $crashes, 'without a crash');

	# who waits does not count as begun
	one($node, q{SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE backend_type = 'loader coordinator'});
	wait_for($node, "SELECT phase FROM loader.progress WHERE package_id = $id", 'waiting to retry');
	is(one($node, "SELECT attempts FROM loader.packages WHERE package_id = $id"), 2, 'interrupted while it waits: not counted');

	$node->append_conf('postgresql.conf', 'loader.retry_delay = 10ms');
	$node->reload;
	wait_for($node, 'SHOW loader.retry_delay', '10ms');
	one($node, q{SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE backend_type = 'loader coordinator'});
	wait_until('the package to be given up', sub { eval { one($node, "SELECT state FROM loader.packages WHERE package_id = $id") eq 'failed' } });
	is(one($node, "SELECT attempts, sqlstate, message FROM loader.packages WHERE package_id = $id"), '5|55000|package was interrupted 5 times', 'at last it is given up');
	is(one($node, "SELECT string_agg(kind || ' ' || detail, E'\\n' ORDER BY event_id) FROM loader.events WHERE package_id = $id AND kind IN ('started', 'failed') AND detail !~ ' 2,'"),
		join("\n", map { "started Beginning $_, after an interruption." } 3 .. 5) . "\nfailed package was interrupted 5 times", 'all of it is on record');
	my $cancelled = one($node, "SELECT loader_cancel($id)");
	is($cancelled, 't', 'somebody has seen it');
	is(nothing_runs($node), 0, 'nothing is left');

	# a cancel ends the rest
	$node->append_conf('postgresql.conf', 'loader.retry_delay = 1h');
	$node->reload;
	wait_for($node, 'SHOW loader.retry_delay', '1h');
	is(one($node, "SELECT loader_resume($id)"), 't', 'resumed');
	wait_until('the package to be given a rest', sub {
		eval { one($node, "SELECT phase FROM loader.progress WHERE package_id = $id") eq 'waiting to retry' } });
	is(one($node, "SELECT loader_cancel($id)"), 't', 'cancelled while it waits');
	is(wait_package($node, $id), 'cancelled', 'at once');
}

# What has been in the catalog for long enough goes, also where nothing is loaded.
cmp_ok(one($node, 'SELECT count(*) FROM loader.package', database => 'a'), '>', 0, 'finished packages are in the catalog');
$node->append_conf('postgresql.conf', 'loader.retention = 0');
$node->reload;
wait_for($node, 'SELECT count(*) FROM loader.package', 0, database => 'a');
$node->stop;

# --- a standby that is promoted -------------------------------------------------------------------------

{
	my $primary = new_node('primary', "$launcher\nloader.launcher_naptime = 1", streaming => 1);

	load($primary, items_package(-9, 0), 'd') eq 'loaded' or die 'table';
	$primary->backup('base');
	my $standby = new_node('standby', '', from => $primary, backup => 'base');
	my $holder = LoaderCrash->new($primary);
	$holder->query('BEGIN; LOCK d.items IN SHARE MODE');
	my $id = start_package($primary, $package, 'd');
	wait_for($primary, "SELECT count(*) FROM loader.running() WHERE package_id = $id", 1);
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
	is(one($standby, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'loader%'}), 0, 'a standby has no launcher');
	is(one($standby, "SELECT state FROM loader.packages WHERE package_id = $id"), 'new', 'it shows the package');
	$primary->stop('immediate');
	$holder->quit;
	$standby->promote;
	wait_for($standby, "SELECT state FROM loader.packages WHERE package_id = $id", 'loaded');
	is(one($standby, 'SELECT count(*), count(DISTINCT id) FROM d.items'), '20|20', 'promoted: its launcher brings it in');
	$standby->stop;
}

done_testing();
