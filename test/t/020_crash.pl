# test/t/020_crash.pl: whatever is killed, whenever: after recovery and resumption each package is in
# the dataset once and whole, and nothing else is.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderTest;
use Test::More;

my $conf = "restart_after_crash = on\nloader.retry_delay = '1min'\nlog_min_messages = info";
my $plain = new_node('plain', $conf);
my $preload = new_node('preload', "$conf\nshared_preload_libraries = 'loader'\nloader.launcher_naptime = 1");

# The first package makes the table; the second has rows for it in three jobs, the same as the wide one,
# which adds a column, too.
my $first = items_package(1, 10);
my $second = items_package(11, 40, jobs => 3);
my $wide = items_package(11, 40, jobs => 3, more => [[extra => 'text']]);

for my $node ($plain, $preload)
{
	is(load($node, $first, 'expected'), 'loaded', 'first package, undisturbed');
	is(load($node, $second, 'expected'), 'loaded', 'second package, undisturbed');
	is(load($node, $_, 'expected_wide'), 'loaded', 'the same with a column more, undisturbed') for $first, $wide;
}

my $hold_row = "BEGIN; INSERT INTO %s.items (id, _dlt_id) VALUES (0, '%s')";

# Where a package can be held, and how. Each gets ($node, $dataset, $holder) and returns the package_id,
# undef if it was never committed.
my %state = (
	'waiting for the caller' => sub {
		my ($node, $dataset, $holder) = @_;
		$holder->query("BEGIN; SELECT loader_start(" . quote_literal($second) . ", '$dataset')");
		return undef;
	},
	migrate => sub {
		my ($node, $dataset, $holder) = @_;
		$holder->query("BEGIN; SELECT FROM $dataset.items");
		my $id = start_package($node, $wide, $dataset);
		wait_phase($node, $id, 'waiting for locks');
		return $id;
	},
	loading => sub {
		my ($node, $dataset, $holder) = @_;
		$holder->query(sprintf $hold_row, $dataset, 'key25');
		my $id = start_package($node, $second, $dataset);
		wait_phase($node, $id, 'loading');
		return $id;
	},
	publishing => sub {
		my ($node, $dataset, $holder) = @_;
		$holder->query("BEGIN; LOCK $dataset._dlt_loads IN SHARE MODE");
		my $id = start_package($node, $second, $dataset);
		wait_phase($node, $id, 'publishing');
		return $id;
	},
	'waiting to retry' => sub {
		my ($node, $dataset, $holder) = @_;
		$holder->query(sprintf $hold_row, $dataset, 'key25');
		my $id = one($node, "SET loader.lock_deadline = '10ms'; SELECT loader_start(" . quote_literal($second) . ", '$dataset')");
		wait_phase($node, $id, 'waiting to retry');
		is(one($node, "SELECT state, retry_count, sqlstate FROM loader.jobs WHERE package_id = $id AND state <> 'new'"),
			'retry|1|55P03', 'the job waits to be tried again');
		return $id;
	});

my %end = (
	'kill -9' => sub { crash($_[0], worker_pid($_[0], 'coordinator')) },
	'kill -9 of the postmaster' => sub { power_cut($_[0]) },
	'immediate stop' => sub { $_[0]->stop('immediate'); $_[0]->start },
	'pg_terminate_backend' => sub {
		my ($node, $holder) = @_;
		my $pid = worker_pid($node, 'coordinator');
		one($node, "SELECT pg_terminate_backend($pid, 60000)");
		$holder->query('ROLLBACK');
	});

# Let what was interrupted go on, in the ways there are.
my $turn = 0;

sub resume
{
	my ($node, $id) = @_;

	if ($node == $plain && $turn++ % 2)
	{
		# a scan of a directory without packages resumes, too
		mkdir packages_dir() . '/none';
		one($node, 'SELECT loader_scan(' . quote_literal(packages_dir() . '/none') . ')');
		wait_state($node, $id, 'loaded');
	}
	elsif ($node == $plain)
	{
		is(wait_package($node, $id), 'loaded', 'loader_wait brings it in');
	}
	else
	{
		wait_state($node, $id, 'loaded');
	}
	return;
}

my $n = 0;

sub interrupt
{
	my ($node, $state, $end) = @_;
	my $name = ($node == $plain ? 'plain' : 'preload') . ", $state, $end";
	my $dataset = 'd' . ++$n;
	my $holder;
	my $id;

	note($name);
	load($node, $first, $dataset) eq 'loaded' or die 'first package';
	$holder = LoaderCrash->new($node);
	$id = $state{$state}->($node, $dataset, $holder);
	$end{$end}->($node, $holder);
	$holder->quit;
	if (!defined $id)
	{
		is(one($node, "SELECT count(*) FROM loader.packages WHERE dataset = '$dataset' AND state <> 'loaded'"), 0,
			"$name: never committed, never there");
		$id = start_package($node, $second, $dataset);
	}
	elsif ($node == $plain)
	{
		is(one($node, "SELECT count(*) FROM $dataset.items"), 10, "$name: nothing of it is visible");
		is(one($node, "SELECT state, started FROM loader.packages WHERE package_id = $id"), 'new|t', "$name: it is still to do");
	}
	resume($node, $id);
	is(nothing_runs($node), 0, "$name: no locks left");
	is(differences($node, $dataset, $state eq 'migrate' ? 'expected_wide' : 'expected'), '', "$name: result as undisturbed");
	return;
}

for my $node ($plain, $preload)
{
	interrupt($node, $_, 'kill -9') for sort keys %state;
	interrupt($node, 'loading', $_) for sort grep { $_ ne 'kill -9' } keys %end;
	interrupt($node, 'publishing', 'immediate stop');
	interrupt($node, 'waiting to retry', 'pg_terminate_backend');
}
interrupt($plain, $_, 'pg_terminate_backend') for 'migrate', 'publishing';

# --- jobs that commit one by one ---------------------------------------------------------------------

# Jobs 2 and 3 are held, so the coordinator and its helper wait for one each; job 1 is completed and
# must not be loaded again.
sub hold_jobs
{
	my ($node, $dataset) = @_;
	my @holders = map { LoaderCrash->new($node) } 2, 3;
	my $id;

	load($node, $first, $dataset) eq 'loaded' or die 'first package';
	$holders[$_]->query(sprintf $hold_row, $dataset, $_ ? 'key35' : 'key25') for 0, 1;
	$id = start_package($node, $second, $dataset, arguments => {atomic => 'false', workers => 2});
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'loader %' AND wait_event_type = 'Lock'", 2);
	return ($id, @holders);
}

sub interrupt_jobs
{
	my ($node, $who, $end) = @_;
	my $name = ($node == $plain ? 'plain' : 'preload') . ", jobs, $end of the $who";
	my $dataset = 'd' . ++$n;

	note($name);
	my ($id, @holders) = hold_jobs($node, $dataset);
	is(one($node, "SELECT count(*) FROM $dataset.items"), 20, "$name: one job of three is in");
	my $pid = worker_pid($node, $who);
	$end eq 'kill -9' ? crash($node, $pid) : one($node, "SELECT pg_terminate_backend($pid, 60000)");
	$_->quit for @holders;
	resume($node, $id);
	is(nothing_runs($node), 0, "$name: no locks left");
	is(differences($node, $dataset, 'expected'), '', "$name: result as undisturbed");
	is(one($node, "SELECT sum(rows_inserted), count(*) FROM loader.jobs WHERE package_id = $id AND state = 'completed'"),
		'30|3', "$name: each job has been loaded once");
	return;
}

for my $node ($plain, $preload)
{
	interrupt_jobs($node, $_, 'kill -9') for 'coordinator', 'job worker';
}
interrupt_jobs($plain, $_, 'pg_terminate_backend') for 'coordinator', 'job worker';

# A helper that outlives its coordinator goes on with its job, and the next coordinator waits for it.
{
	my $dataset = 'd' . ++$n;
	my ($id, @holders) = hold_jobs($plain, $dataset);
	my $coordinator = worker_pid($plain, 'coordinator');
	my $helper = worker_pid($plain, 'job worker');

	one($plain, "SELECT pg_terminate_backend($coordinator, 60000)");
	my $waiter = LoaderCrash->new($plain)->send("SELECT loader_wait($id)");
	isnt(worker_pid($plain, 'coordinator'), $coordinator, 'a new coordinator begins');
	is(worker_pid($plain, 'job worker'), $helper, 'beside the old helper');
	my $of_helper = one($plain, "SELECT count(*) FROM pg_locks l JOIN pg_locks h ON h.locktype = 'transactionid'
		AND h.transactionid = l.transactionid AND h.granted WHERE l.pid = $helper AND NOT l.granted AND h.pid = $holders[1]{pid}");
	# let the coordinator's job go first
	$holders[!$of_helper]->quit;
	wait_for($plain, "SELECT count(*) FROM loader.jobs WHERE package_id = $id AND state = 'completed'", 2);
	$holders[$of_helper]->quit;
	is($waiter->answer, 'loaded', 'and waits for it');
	$waiter->quit;
	is(one($plain, "SELECT count(*) FROM loader.events WHERE package_id = $id AND kind ~ 'retry|failed'"), 0, 'without failing');
	is(differences($plain, $dataset, 'expected'), '', 'result as undisturbed');
}

# --- a package that brings the server down each time is given up -----------------------------------

{
	my $dataset = 'd' . ++$n;

	load($plain, $first, $dataset);
	$plain->append_conf('postgresql.conf', 'loader.retry_attempts = 0');
	$plain->reload;
	wait_for($plain, 'SHOW loader.retry_attempts', 0);
	my $holder = LoaderCrash->new($plain);
	my $id = $state{loading}->($plain, $dataset, $holder);
	one($plain, q{SELECT pg_logical_emit_message(true, '', '')});    # its commit brings that the package has begun to disk
	crash($plain, worker_pid($plain, 'coordinator'));
	$holder->quit;
	$holder = LoaderCrash->new($plain);
	$holder->query(sprintf $hold_row, $dataset, 'key25');
	my $waiter = LoaderCrash->new($plain)->send("SELECT loader_wait($id)");
	wait_phase($plain, $id, 'loading');
	crash($plain, worker_pid($plain, 'coordinator'));
	$_->quit for $holder, $waiter;
	is(wait_package($plain, $id), 'failed', 'interrupted too often: failed');
	is(one($plain, "SELECT sqlstate, message FROM loader.packages WHERE package_id = $id"),
		'55000|package was interrupted 2 times', 'and says why');
	is(one($plain, "SELECT loader_resume($id)"), 't', 'resumed by hand');
	is(wait_package($plain, $id), 'loaded', 'it loads');
	is(differences($plain, $dataset, 'expected'), '', 'result as undisturbed');
}

$plain->stop;
$preload->stop;
done_testing();
