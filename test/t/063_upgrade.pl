# test/t/063_upgrade.pl: another version of the library is installed, ALTER EXTENSION loader UPDATE run and
# the server restarted, in any order, with packages under way: whoever meets tables of another version
# says so and stops, nothing is lost, and when all fits again everything is loaded.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Digest::SHA qw(sha256_hex);
use File::Basename qw(basename);
use LoaderCrash;
use LoaderInstall;
use LoaderStage;
use LoaderTest;
use Test::More;

my $install = LoaderInstall->new;
my $next = $install->build('1.1', q{
	ALTER TABLE loader.package ADD COLUMN note text NOT NULL DEFAULT 'from 1.0';
	ALTER TABLE loader.package ALTER COLUMN note SET DEFAULT 'from 1.1';});
my $old_library = 'library loader has version 1.0, but extension "loader" has version 1.1';
my $new_library = 'library loader has version 1.1, but extension "loader" has version 1.0';

# --- without shared_preload_libraries: the library is replaced under a session -----------------------

{
	my $node = new_node('plain', '', install => $install->path);
	my $session = LoaderCrash->new($node);

	is($session->query("SELECT loader_start(" . quote_literal(items_package(1, 10)) . ", 'd')"), 1, 'a session has the old library');
	is(wait_package($node, 1), 'loaded', 'as have its workers');
	nothing_runs($node);
	$install->put($next);
	is($session->query("SELECT loader_start(" . quote_literal(items_package(11, 20)) . ", 'd')"), 2, 'the library is replaced: the session does not know');
	wait_until('the worker to refuse', sub {
		log_count($node, qr/FATAL:  library loader has version 1\.1, but this worker was started by version 1\.0/) });
	pass('but the worker that it starts does');
	is(one($node, 'SELECT state, attempts FROM loader.package WHERE package_id = 2'), 'new|0', 'the package is new');
	my $error = error_of($node, "SELECT loader_wait(2)");
	is_deeply([@$error{qw(sqlstate message)}], ['55000', $new_library], 'a new session says what does not fit');
	is(one($node, 'SELECT state FROM loader.packages WHERE package_id = 2'), 'new', 'and can look at the views all the same');
	one($node, 'ALTER EXTENSION loader UPDATE');
	is(wait_package($node, 2), 'loaded', 'updated: it loads');
	like($session->query('SELECT loader_wait(2)'), qr/ERROR:  55000: \Q$old_library\E\n/, 'the old session says so now');
	is(one($node, 'SELECT count(*), count(DISTINCT id) FROM d.items'), '20|20', 'all rows, once');
	$session->quit;
	$node->stop;
	$install->restore;
}

# --- with it -------------------------------------------------------------------------------------------

my $node = new_node('main', "shared_preload_libraries = 'loader'\nloader.launcher_naptime = 1\nloader.max_workers = 8\nmax_worker_processes = 24\nautovacuum = off",
	install => $install->path);
my %holder = map { $_ => LoaderCrash->new($node) } qw(loading jobs gate);
my %id;
my @other = (database => 'other');

# A package in each state.
gates($node);
my ($first, $shop) = (shop_package(1), shop_package(2));
new_shop($node, $_, $first) for qw(old new staged);
is(load($node, $shop, 'new'), 'loaded', 'undisturbed');
load($node, items_package(-9, 0), $_) eq 'loaded' or die 'table' for qw(loading jobs);
$id{registered} = one($node, 'SELECT loader_register(' . quote_literal(items_package(1, 10)) . ", 'registered')");
$id{failed} = start_package($node, items_package(1, 10, file => 'INSERT'), 'failed');
is(wait_package($node, $id{failed}), 'failed', 'one has failed');

my $uploaded = items_package(1, 10);
my @chunks;
for my $file (glob("$uploaded/*.json"), glob("$uploaded/new_jobs/*"))
{
	my $bytes = slurp($file);
	my $name = basename($uploaded) . ($file =~ m{/new_jobs/} ? "/new_jobs/" : "/") . basename($file);

	push @chunks, [$name, 0, substr($bytes, 0, 100)], [$name, 100, substr($bytes, 100), $bytes];
}

sub upload
{
	my ($upload, $chunk) = @_;
	my ($name, $at, $data, $whole) = @$chunk;

	return one($node, "SELECT loader_upload('$upload', '$name', $at, '\\x" . unpack('H*', $data) . "'"
		. (defined $whole ? ', ' . length($whole) . ", '\\x" . sha256_hex($whole) . "'" : '') . ')');
}

upload('whole', $_) for @chunks;
$id{uploaded} = one($node, q{SELECT loader_register('upload:whole', 'uploaded')});
my @rest = @chunks;
upload('half', shift @rest) for 1 .. 3;

# ... and some that are under way: one waits for a lock to change its table, and another one for that;
# one has committed a job and waits in the next; one waits where it stages.
$holder{loading}->query('BEGIN; SELECT FROM loading.items');
$id{loading} = start_package($node, items_package(1, 10, more => [[extra => 'text']]), 'loading');
wait_phase($node, $id{loading}, 'waiting for locks');
$id{queued} = start_package($node, items_package(11, 20), 'loading');
$holder{jobs}->query(q{BEGIN; INSERT INTO jobs.items (id, _dlt_id) VALUES (0, 'key15')});
$id{jobs} = start_package($node, items_package(1, 30, jobs => 3), 'jobs', arguments => {atomic => 'false', workers => 1});
wait_for($node, "SELECT count(*) FROM loader.job WHERE package_id = $id{jobs} AND state = 'completed'", 1);
close_gate($holder{gate}, $_) for qw(staging index);
$id{staged} = one($node, 'SET loader.small_package = 0; SELECT loader_start(' . quote_literal($shop) . ", 'staged')");
wait_gate($node, $_) for qw(staging index);

# and one in another database, which nobody updates
one($node, 'CREATE DATABASE other');
one($node, 'CREATE EXTENSION loader', @other);
load($node, items_package(-9, 0), 'd', @other) eq 'loaded' or die 'table';
my $holder_other = LoaderCrash->new($node, @other);
$holder_other->query('BEGIN; LOCK d.items');
my $id_other = start_package($node, items_package(1, 10), 'd', @other);
wait_for($node, "SELECT count(*) FROM loader.running() WHERE package_id = $id_other", 1, @other);

sub states
{
	return one($node, q{SELECT string_agg(state, ' ' ORDER BY package_id) FROM loader.package WHERE package_id IN (}
		. join(', ', @id{qw(registered failed uploaded loading queued jobs staged)}) . ')');
}

sub of_package
{
	my ($name, $columns) = @_;

	return one($node, "SELECT $columns FROM loader.package WHERE package_id = $id{$name}");
}

# Tables of the next version under workers of this one: the update waits for their transactions, each of
# which may end, and the next one does not begin.
$install->put($next);
my $update = LoaderCrash->new($node)->send('ALTER EXTENSION loader UPDATE');
wait_for($node, "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $update->{pid}", 'Lock');
$holder{$_}->quit for qw(loading jobs gate);
is($update->answer, '', 'updated while packages are loaded');
$update->quit;
is(one($node, q{SELECT extversion FROM pg_extension WHERE extname = 'loader'}), '1.1', 'the tables are those of the next version');
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type ~ '^loader (coordinator|job worker)'}, 0);
pass('nothing runs any more');
cmp_ok(log_count($node, qr/ERROR:  \Q$old_library\E/), '>=', 3, 'workers have said so');
is(states(), 'new failed new new new loading loading', 'nothing has ended');
is(one($node, 'SELECT count(*) FROM loader.event WHERE package_id IN (' . join(', ', @id{qw(loading queued jobs staged)}) . ") AND kind IN ('retry', 'failed', 'job failed')"), 0,
	'nor failed');
is(contents($node, 'staged'), contents($node, 'old'), 'old contents');
my @staged = split /\n/, staged($node, $id{staged});
cmp_ok(scalar @staged, '>', 0, 'jobs are staged');
for my $call ("loader_wait($id{loading})", "loader_start($id{registered})", "loader_resume($id{failed})", "loader_cancel($id{queued})", "loader_forget($id{failed})")
{
	my $error = error_of($node, "SELECT $call");
	is_deeply([@$error{qw(sqlstate message detail)}], ['55000', $old_library, 'Database "postgres".'], ($call =~ /(\w+)/)[0] . ': refused');
}
is(one($node, 'SELECT state FROM loader.packages WHERE package_id = ' . $id{staged}), 'loading', 'the views go on');

# The library of the next version over tables of this one, in the other database.
is(one($node, 'SELECT extversion FROM pg_extension', @other) =~ s/.*(\d\.\d).*/$1/sr, '1.0', 'the other database has the old tables');
$node->stop('immediate');
$holder_other->quit;
$node->start;
for my $name (qw(loading queued jobs staged))
{
	wait_for($node, "SELECT state FROM loader.package WHERE package_id = $id{$name}", 'loaded');
	pass("restarted: $name is loaded, without anybody's help");
}
wait_until('the launcher to say why not', sub { log_count($node, qr/ERROR:  \Q$new_library\E/) });
pass('in the other database the library says that it does not fit');
cmp_ok(log_count($node, qr/DETAIL:  Database "other"\./), '>=', 1, 'and where');
is(one($node, "SELECT state FROM loader.package WHERE package_id = $id_other", @other), 'new', 'its package is still to do');
is(error_of($node, "SELECT loader_wait($id_other)", @other)->{message}, $new_library, 'a session says the same');
is(one($node, 'SELECT count(*) FROM d.items', @other), 10, 'nothing of it is there');
one($node, 'ALTER EXTENSION loader UPDATE', @other);
wait_for($node, "SELECT state FROM loader.package WHERE package_id = $id_other", 'loaded', @other);
pass('updated: it is loaded, without anybody\'s help');

# --- all of it, once --------------------------------------------------------------------------------------

is(states(), 'new failed new loaded loaded loaded loaded', 'the others are as they were');
is(one($node, "SELECT loader_start($id{$_})"), $id{$_}, "$_: started") for qw(registered uploaded);
is(wait_package($node, $id{$_}), 'loaded', "$_: loaded") for qw(registered uploaded);
upload('half', $_) for @rest;
is(load($node, 'upload:half', 'half'), 'loaded', 'the half upload is made whole, and loaded');
is(one($node, "SELECT loader_resume($id{failed})"), 't', 'failed: resumed');
is(wait_package($node, $id{failed}), 'failed', 'failed: for the same reason');
is(one($node, "SELECT count(*), count(DISTINCT id) FROM $_->[0].items"), "$_->[1]|$_->[1]", "$_->[0]: all rows, once")
	for ['registered', 10], ['uploaded', 10], ['half', 10], ['loading', 30], ['jobs', 40];
is(one($node, 'SELECT count(*), count(DISTINCT id) FROM d.items', @other), '20|20', 'other: all rows, once');
is(contents($node, 'staged'), contents($node, 'new'), 'staged: with the undisturbed result');
my $after = staged($node, $id{staged});
is(join("\n", grep { index("$after\n", "$_\n") < 0 } @staged), '', 'staged: what was staged was not staged again');
is(left_over($node), '', 'nothing is left');
is(one($node, 'SELECT string_agg(DISTINCT note, \' \' ORDER BY note) FROM loader.package'), 'from 1.0 from 1.1', 'the tables are those of the next version');
$node->stop;
done_testing();
