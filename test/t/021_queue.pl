# test/t/021_queue.pl: which package goes when: the queue of a table, a failed one before others, and
# places for workers that run out.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderTest;
use Test::More;

my $n = 0;
my $held = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator' AND wait_event_type = 'Lock'";

sub states
{
	my ($node, @ids) = @_;

	return one($node, 'SELECT string_agg(state, \' \' ORDER BY package_id) FROM loader.packages WHERE package_id IN ('
		. join(', ', @ids) . ')');
}

# Hold the next package that loads key 1 into the dataset.
sub hold
{
	my ($node, $dataset) = @_;
	my $holder = LoaderCrash->new($node);

	$holder->query("BEGIN; INSERT INTO $dataset.items (id, _dlt_id) VALUES (0, 'key1')");
	return $holder;
}

sub same_tables
{
	my ($node, $name) = @_;
	my $dataset = 'd' . ++$n;

	load($node, items_package(-9, 0), $dataset) eq 'loaded' or die 'table';
	my $holder = hold($node, $dataset);
	# started in another order than that of registration, which counts
	my @paths = map { items_package($_ * 10 + 1, $_ * 10 + 10) } 0 .. 3;
	my @ids = map { one($node, 'SELECT loader_register(' . quote_literal($_) . ", '$dataset')") } @paths;
	one($node, "SELECT loader_start($_)") for @ids[0, 2, 1, 3];
	my $other = start_package($node, items_package(1, 10, name => 'others'), $dataset);
	is(wait_package($node, $other), 'loaded', "$name: a package for another table overtakes");
	wait_for($node, $held, 1);
	is(states($node, @ids), 'loading new new new', "$name: those for the same table wait");
	is(one($node, "SELECT loader_wait($ids[3], '1s')"), 'new', "$name: a wait does not change that");
	$holder->quit;
	is(wait_package($node, $ids[3]), 'loaded', "$name: the last one loads at last");
	is(states($node, @ids), 'loaded loaded loaded loaded', "$name: as do those before it");
	is(one($node, "SELECT array_agg(package_id ORDER BY finished_at) = array_agg(package_id ORDER BY package_id)
		FROM loader.packages WHERE package_id IN (" . join(', ', @ids) . ')'), 't', "$name: in order of registration");
	is(one($node, "SELECT array_agg(a.started_at >= b.finished_at) FROM loader.packages a JOIN loader.packages b
		ON a.package_id = b.package_id + 1 WHERE a.package_id IN (" . join(', ', @ids[1 .. 3]) . ')'), '{t,t,t}',
		"$name: one after the other");
	is(one($node, "SELECT count(*), count(DISTINCT id) FROM $dataset.items"), '50|50', "$name: all rows, each once");
	is(nothing_runs($node), 0, "$name: nothing is left");
	return;
}

# Of the same dataset and schema, whatever the table; another schema or dataset does not care.
sub failed_before
{
	my ($node, $name, $way) = @_;
	my $dataset = 'd' . ++$n;

	load($node, items_package(-9, 0), $dataset) eq 'loaded' or die 'table';
	my $bad = start_package($node, items_package(1, 10, file => 'INSERT INTO {}("id") VALUES (1'), $dataset);
	is(wait_package($node, $bad), 'failed', "$name, $way: a package fails");
	my @later = map { start_package($node, $_, $dataset) } items_package(11, 20), items_package(1, 5, name => 'others');
	my $free = start_package($node, items_package(1, 5, name => 'free', schema => 'other'), $dataset);
	is(wait_package($node, $free), 'loaded', "$name, $way: one of another schema does not wait for it");
	is(nothing_runs($node), 0, "$name, $way: nothing runs");
	is(states($node, @later), 'new new', "$name, $way: later ones are held back");
	my $error = error_of($node, "SELECT loader_wait($later[0])");
	is_deeply([@$error{qw(sqlstate message hint)}], ['55000', "package $later[0] is held back by package $bad, which failed",
		"Call loader_resume, loader_cancel or loader_forget for package $bad."], "$name, $way: a wait for one says so");
	if ($way eq 'resume')
	{
		# the file is as bad as before
		is(one($node, "SELECT loader_resume($bad)"), 't', "$name, $way: resumed");
		is(wait_package($node, $bad), 'failed', "$name, $way: it fails again");
		is(nothing_runs($node), 0, "$name, $way: nothing runs");
		is(states($node, @later), 'new new', "$name, $way: they are still held back");
		is(one($node, "SELECT loader_cancel($bad)"), 't', "$name, $way: given up");
		is(states($node, $bad), 'cancelled', "$name, $way: which is cancelled");
	}
	else
	{
		is(one($node, "SELECT loader_$way($bad)"), 't', "$name, $way: done");
	}
	wait_for($node, "SELECT bool_and(state = 'loaded') FROM loader.packages WHERE package_id IN ($later[0], $later[1])");
	pass("$name, $way: then they load without anybody's help");
	is(nothing_runs($node), 0, "$name, $way: nothing is left");
	return;
}

# Several packages that make the same new dataset and tables, at the same moment.
sub first_run
{
	my ($node, $name) = @_;
	my $dataset = 'new' . ++$n;
	my @sessions = map { LoaderCrash->new($node) } 1 .. 4;
	my $k = 0;
	# two schemas: the queue keeps those for the same table apart anyway
	my @paths = map { items_package($_ * 10 + 1, $_ * 10 + 10, name => "items$_", schema => 's' . $_ % 2) } 0 .. 3;

	$_->query('BEGIN') for @sessions;
	$_->query('SELECT loader_start(' . quote_literal($paths[$k++]) . ", '$dataset')") for @sessions;
	$_->send('COMMIT') for @sessions;
	is($_->answer, '', "$name: committed") for @sessions;
	$_->quit for @sessions;
	wait_for($node, "SELECT count(*) FROM loader.packages WHERE dataset = '$dataset' AND state IN ('new', 'loading')", 0);
	is(one($node, "SELECT string_agg(state || coalesce(message, ''), ' ') FROM loader.packages WHERE dataset = '$dataset'"),
		'loaded loaded loaded loaded', "$name: all of them load");
	is(one($node, "SELECT count(*), count(DISTINCT load_id) FROM $dataset._dlt_loads"), '4|4', "$name: four loads");
	is(one($node, "SELECT (SELECT count(*) FROM $dataset.items0) + (SELECT count(*) FROM $dataset.items1)
		+ (SELECT count(*) FROM $dataset.items2) + (SELECT count(*) FROM $dataset.items3)"), 40, "$name: all rows");
	is(one($node, "SELECT count(*) FROM loader.events e JOIN loader.packages p USING (package_id)
		WHERE dataset = '$dataset' AND kind IN ('retry', 'failed')"), 0, "$name: none had to try twice");
	is(nothing_runs($node), 0, "$name: nothing is left");
	return;
}

# More packages than there are places. How many workers were started tells whether somebody spins.
sub one_place
{
	my ($node, $name) = @_;
	my $dataset = 'd' . ++$n;
	my @names = map { "t$_" } 1 .. 6;
	my $before = log_count($node, qr/DEBUG:  registering background worker "loader (?:coordinator|job)/);
	my $begin = time();
	my @ids;

	is(one($node, 'SHOW loader.max_workers'), 1, "$name: one place");
	load($node, items_package(-9, 0), $dataset) eq 'loaded' or die 'table';
	my $holder = hold($node, $dataset);
	push @ids, start_package($node, items_package(1, 10), $dataset);
	wait_for($node, $held, 1);
	push @ids, start_package($node, items_package(1, 10, name => $_), $dataset) for @names;
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator'", 1);
	is(states($node, @ids), 'loading' . ' new' x 6, "$name: only one package loads");
	is(one($node, "SELECT loader_wait($ids[6], '2s')"), 'new', "$name: a wait does not make it two");
	$holder->quit;
	wait_for($node, "SELECT count(*) FROM loader.packages WHERE dataset = '$dataset' AND state = 'loaded'", 8);
	is(nothing_runs($node), 0, "$name: then all load, without anybody's help");
	my $started = log_count($node, qr/DEBUG:  registering background worker "loader (?:coordinator|job)/) - $before;
	# one for each, one more for each that found no place; and each second one by a launcher, or by
	# our wait, that looks before the one that is started has begun
	cmp_ok($started, '<=', 16 + time() - $begin, "$name: and no more workers were started than that takes");

	# the helpers of a package that is not atomic are out of luck, but it loads
	is(load($node, items_package(101, 140, jobs => 4), $dataset, arguments => {atomic => 'false', workers => 4}), 'loaded',
		"$name: no place for helpers is no error");
	is(one($node, "SELECT count(*) FROM $dataset.items"), 60, "$name: all rows");
	is(nothing_runs($node), 0, "$name: nothing is left");
	return;
}

# No process slot left: all of max_worker_processes are taken, those that are for us by packages. A package
# that ends cannot start the next if it has the only one itself; with the launcher it goes on nevertheless.
#
# A process that has ended keeps its slot until the postmaster has seen that, so what is to start in one
# that was used before is asked for until it does.
sub no_slot
{
	my ($node, $name, $slots, $launcher) = @_;
	my $dataset = 'd' . ++$n;
	my $none = packages_dir() . '/none';
	my @holders = map { LoaderCrash->new($node) } 1 .. $slots;
	my (@first, $id, $third);

	mkdir $none;
	for my $i (0 .. $slots - 1)
	{
		load($node, items_package(-9, 0, name => "held$i"), $dataset) eq 'loaded' or die 'table';
		$holders[$i]->query("BEGIN; INSERT INTO $dataset.held$i (id, _dlt_id) VALUES (0, 'key1')");
		push @first, start_package($node, items_package(1, 10, name => "held$i"), $dataset);
		wait_for($node, "SELECT ($held) + 0 * (SELECT count(*) FROM loader_scan('$none'))", $i + 1);
	}
	(my $rc, $id, my $said) = try_psql($node, 'SELECT loader_start(' . quote_literal(items_package(1, 10, name => 'second')) . ", '$dataset')");
	is($rc, 0, "$name: a start without a slot is no error");
	like($said, qr/NOTICE:  00000: no worker slot is free: package $id stays new\nHINT:  .*max_worker_processes/, "$name: but a NOTICE");
	my $scanned = packages_dir() . "/scan$n";
	mkdir $scanned;
	items_package(1, 10, name => 'third', dir => $scanned);
	($rc, $third, $said) = try_psql($node, "SELECT loader_scan('$scanned', '$dataset')");
	is($rc, 0, "$name: nor is a scan");
	is(states($node, $id, $third), 'new new', "$name: both are new");
	is(one($node, "SELECT loader_wait($id, '3s')"), 'new', "$name: a wait cannot help it");
	$_->quit for @holders;
	is(wait_package($node, $_), 'loaded', "$name: what holds the slots loads") for @first;
	if ($launcher)
	{
		wait_for($node, "SELECT bool_and(state = 'loaded') FROM loader.packages WHERE package_id IN ($id, $third)");
		pass("$name: what waits is started without anybody's help");
	}
	else
	{
		is(wait_package($node, $id), 'loaded', "$name: a wait starts it");
		is(nothing_runs($node), 0, "$name: nothing runs");
		wait_for($node, "SELECT state FROM loader.packages WHERE package_id = $third AND (SELECT count(*) FROM loader_scan('$scanned', '$dataset')) >= 0", 'loaded');
		pass("$name: a scan starts the other");
	}
	is(nothing_runs($node), 0, "$name: nothing is left");
	return;
}

sub wait_for_log
{
	my ($node, $pattern, $times) = @_;

	wait_until("the log: $pattern", sub { log_count($node, $pattern) >= $times });
	return;
}

# One process is left, and what comes first cannot begin, as a transaction has locked its package: it is
# tried now and then, not again and again.
sub locked
{
	my ($node, $name) = @_;
	my $dataset = 'd' . ++$n;
	my $holder = LoaderCrash->new($node);
	my $locker = LoaderCrash->new($node);
	my $scouts = qr/ registering background worker "loader scout"/;

	load($node, items_package(-9, 0, name => 'held'), $dataset) eq 'loaded' or die 'table';
	$holder->query("BEGIN; INSERT INTO $dataset.held (id, _dlt_id) VALUES (0, 'key1')");
	my $first = start_package($node, items_package(1, 10, name => 'held'), $dataset);
	# a wait starts it where a scout had the slot
	wait_for($node, "SELECT ($held) + 0 * length(loader_wait($first, '0s'))", 1);
	my $id = start_package($node, items_package(1, 10, name => 'second'), $dataset);
	$locker->query("BEGIN; SELECT loader_cancel($id)");
	$holder->quit;
	is(wait_package($node, $first), 'loaded', "$name: what holds the slot loads");
	wait_for_log($node, qr/ registering background worker "loader coordinator for package $id"/, 1);
	my ($begin, $before) = (time(), log_count($node, $scouts));
	wait_for_log($node, $scouts, $before + 10);
	cmp_ok(time() - $begin, '>=', 2, "$name: what cannot begin is not tried all the time");
	$locker->query('ROLLBACK');
	$locker->quit;
	wait_for($node, "SELECT state FROM loader.packages WHERE package_id = $id", 'loaded');
	is(nothing_runs($node), 0, "$name: nothing is left");
	return;
}

for my $preload ('', 'preload')
{
	my $conf = $preload ? "shared_preload_libraries = 'loader'\nloader.launcher_naptime = 1\n" : '';
	my $name = $preload || 'plain';
	my $node = new_node($name, $conf);

	same_tables($node, $name);
	failed_before($node, $name, $_) for qw(resume cancel forget);
	first_run($node, $name);

	$node->append_conf('postgresql.conf', "loader.max_workers = 1\nlog_min_messages = debug1");
	$node->restart;
	one_place($node, $name);

	# the launcher of logical replication takes one, ours another
	for my $slots ($preload ? (2, 1) : 1)
	{
		$node->append_conf('postgresql.conf', "loader.max_workers = 4\nlog_min_messages = info\nmax_worker_processes = "
			. ($slots + ($preload ? 2 : 1)) . ($preload ? "\nloader.launcher_naptime = 1h" : ''));    # it is told to look
		$node->restart;
		no_slot($node, "$name, $slots", $slots, $preload);
	}
	if ($preload)
	{
		$node->append_conf('postgresql.conf', "log_min_messages = debug1\nloader.launcher_naptime = 1");
		$node->restart;
		locked($node, 'locked');
	}
	$node->stop;
}

done_testing();
