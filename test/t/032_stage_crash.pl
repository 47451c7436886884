# test/t/032_stage_crash.pl: packages that replace and merge, killed at each step of stage and publish:
# what can be seen is the old or the new, on all tables; what was staged is not staged again; at the
# end nothing is left but what is loaded, neither relations nor files.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderStage;
use LoaderTest;
use Test::More;
use Time::HiRes qw(sleep time);

# The log must reach back to the beginning, see stray_files. Big locks of others are waited for in one go.
my $conf = "restart_after_crash = on\nloader.retry_delay = '1min'\nlog_min_messages = info\ncheckpoint_timeout = 1h\nmax_wal_size = 10GB\nwal_keep_size = 10GB";
my $node = new_node('main', $conf);

my %only = (all => 'replace merge append', replace => 'replace', merge => 'merge');
my %first = map { $_ => shop_package(1, only => $only{$_}) } keys %only;
my %second = map { $_ => shop_package(2, only => $only{$_}) } keys %only;
my (%old, %new);

# What is there before the second package, and after it.
sub expect
{
	my ($node, @kinds) = @_;

	gates($node);
	for my $kind (@kinds)
	{
		new_shop($node, "old_$kind", $first{$kind});
		new_shop($node, "new_$kind", $first{$kind});
		is(load($node, $second{$kind}, "new_$kind"), 'loaded', "$kind, undisturbed");
		$old{$kind} = contents($node, "old_$kind");
		$new{$kind} = contents($node, "new_$kind");
	}
	return;
}

expect($node, sort keys %only);
is(one($node, q{SELECT count(*), min(stage) FROM loader.tables WHERE dataset = 'new_replace' AND stage = 'swap heap' AND sink IS NOT NULL}), '2|swap heap',
	'tables are swapped, gates or not');

# --- at each step -----------------------------------------------------------------------------------

# Where a package can be held, and how: each gets ($dataset, $holder, $start), calls $start->() for the
# package_id, and returns that when the package waits for $holder.
sub at_gates
{
	my (@gates) = @_;

	return sub {
		my ($dataset, $holder, $start) = @_;
		close_gate($holder, $_) for @gates;
		my $id = $start->();
		wait_gate($node, $_) for @gates;
		return $id;
	};
}

my %hold = (
	'making staging tables' => sub {
		my ($dataset, $holder, $start) = @_;
		$holder->query("BEGIN; SELECT FROM ${dataset}_staging.orders");
		my $id = $start->();
		wait_strong_lock($node, "${dataset}_staging.orders");
		return $id;
	},
	'staging' => at_gates('staging'),
	'filling a heap' => at_gates('fill'),
	'indexing a heap' => at_gates('index'),
	'staging and filling' => at_gates('staging', 'fill'),
	'filling and indexing' => at_gates('fill', 'index'),
	'between stage and publish' => sub {
		my ($dataset, $holder, $start) = @_;
		close_gate($holder, 'fill');
		my $id = $start->();
		wait_gate($node, 'fill');
		$holder->query("BEGIN; LOCK $dataset._dlt_loads");
		open_gate($holder, 'fill');
		wait_for($node, "SELECT count(*) FROM pg_locks WHERE relation = '$dataset._dlt_loads'::regclass AND NOT granted", 1);
		return $id;
	},
	'appending' => at_gates('append'),
	'merging' => at_gates('merge'),
	'waiting for strong locks' => sub {
		my ($dataset, $holder, $start) = @_;
		$holder->query("BEGIN; SELECT FROM $dataset.goods");
		my $id = $start->();
		wait_strong_lock($node, "$dataset.goods");
		return $id;
	},
	'swapped, before the commit' => sub {
		my ($dataset, $holder, $start) = @_;
		$holder->query("BEGIN; LOCK $dataset._dlt_loads IN SHARE MODE");
		my $id = $start->();
		wait_for($node, "SELECT count(*) FROM pg_locks WHERE relation = '$dataset._dlt_loads'::regclass AND NOT granted", 1);
		wait_strong_lock($node, "$dataset.goods", 1);
		return $id;
	});

# How many jobs can be staged when the package is held there, of the seven that are.
my %staged = ('making staging tables' => 0, 'staging' => 6, 'filling a heap' => 5, 'indexing a heap' => 6,
	'staging and filling' => 1, 'filling and indexing' => 3);

my %end = (
	'kill -9 of the coordinator' => sub { crash($node, worker_pid($node, 'coordinator')) },
	'kill -9 of the job worker' => sub { crash($node, worker_pid($node, 'job worker')) },
	'immediate stop' => sub { $node->stop('immediate'); $node->start });

my $n = 0;
my $none = packages_dir() . '/none';

mkdir $none;

sub start_shop
{
	my ($kind, $dataset, $is_staged) = @_;
	my $small = $is_staged ? 'SET loader.small_package = 0;' : '';

	return one($node, "$small SELECT loader_start(" . quote_literal($second{$kind}) . ", '$dataset')");
}

# The package is loaded as if nothing had been, and nothing is left of it.
sub is_loaded
{
	my ($id, $dataset, $kind, $name) = @_;

	# any scan resumes at once what was interrupted
	one($node, 'SELECT loader_scan(' . quote_literal($none) . ')');
	is(wait_package($node, $id), 'loaded', "$name: resumed and loaded");
	is(nothing_runs($node), 0, "$name: no locks left");
	is(contents($node, $dataset), $new{$kind}, "$name: with the undisturbed result");
	is(left_over($node), '', "$name: nothing left");
	return;
}

sub interrupt
{
	my ($kind, $is_staged, $where, $end) = @_;
	my $name = "$kind, " . ($is_staged ? 'staged' : 'small') . ", $where, $end";
	my $dataset = 'd' . ++$n;
	my $staged = !$is_staged ? 0 : $kind eq 'all' ? $staged{$where} // 7 : $kind eq 'merge' ? 4 : 3;
	my $holder;

	note($name);
	new_shop($node, $dataset, $first{$kind});
	$holder = LoaderCrash->new($node);
	my $id = $hold{$where}->($dataset, $holder, sub { start_shop($kind, $dataset, $is_staged) });
	wait_staged($node, $id, $staged) if $is_staged;
	$end{$end}->();
	$holder->quit;
	my $before = staged($node, $id);
	is(contents($node, $dataset), $old{$kind}, "$name: nothing to be seen of it");
	is(left_over($node), '', "$name: what was staged is the package's");
	is(scalar(my @jobs = split /\n/, $before), $staged, "$name: jobs that are staged");
	is_loaded($id, $dataset, $kind, $name);
	my $after = staged($node, $id);
	is(join("\n", grep { index("$after\n", "$_\n") < 0 } split /\n/, $before), '', "$name: they have not run again") if $is_staged;
	return;
}

my $turn = 0;

for my $where (sort keys %hold)
{
	my @ends = $where =~ / and (?!publish)/ ? ('kill -9 of the job worker') : grep { !/job worker/ } sort keys %end;

	interrupt('all', 1, $where, $_) for @ends;
	# small: the same in one transaction, ended one way here and the other there
	interrupt('all', 0, $where, $ends[$turn++ % 2]) if @ends == 2 && $where !~ /publish|staging|appending/;
}
interrupt('replace', 1, 'swapped, before the commit', 'kill -9 of the coordinator');
interrupt('merge', 1, 'merging', 'kill -9 of the coordinator');
is(differences($node, 'd1', 'new_all'), '', 'definitions are the same, too');
is(stray_files($node), '', 'no files left');

# That one can fail: a file whose transaction has ended, as if it had not been removed.
{
	my $file = one($node, q{CREATE TABLE public.stray AS SELECT 1; CHECKPOINT; SELECT pg_relation_filepath('public.stray')});
	my $path = $node->data_dir . "/$file";

	link $path, "$path.keep" or die $!;
	one($node, 'DROP TABLE public.stray; CHECKPOINT');
	rename "$path.keep", $path or die $!;
	is('base/5/' . stray_files($node), $file, 'they would have been found');
	unlink $path;
}

# --- at any moment ----------------------------------------------------------------------------------

# Without a log of what is written to files of the same transaction, which are synced instead.
my $minimal = new_node('minimal', "$conf\nwal_level = minimal\nmax_wal_senders = 0\nwal_skip_threshold = 0");

$node->stop;
$node = $minimal;
$_->{all} = shop_package($_ == \%first ? 1 : 2, rows => 2000) for \%first, \%second;
expect($node, 'all');

srand(20240101);
my (%seen, %took);

# Start it in a new dataset; returns that, the package_id and a session.
sub start_round
{
	my ($is_staged) = @_;
	my $dataset = 'r' . ++$n;

	new_shop($node, $dataset, $first{all});
	my $session = LoaderCrash->new($node);
	$session->query('SET loader.small_package = ' . ($is_staged ? 0 : q{'1GB'}));
	return ($dataset, $session->query('SELECT loader_start(' . quote_literal($second{all}) . ", '$dataset')"), $session);
}

# Stop a process. False if it has ended since: to kill it would bring nothing down.
sub is_stopped
{
	my ($pid) = @_;

	return kill('STOP', $pid) && `ps -o state= -p $pid` =~ /[TtDSR]/;
}

for my $is_staged (0, 1)
{
	my ($dataset, $id, $session) = start_round($is_staged);

	is(wait_package($node, $id), 'loaded', 'how long it takes when nothing happens');
	$took{$is_staged} = one($node, "SELECT extract(epoch FROM finished_at - registered_at) FROM loader.package WHERE package_id = $id");
	$session->quit;
}

# and more of them where most came too late
for (my $round = 1; $round <= 12 || $round <= 60 && ($seen{new} || 0) <= 2; $round++)
{
	my $is_staged = $round % 4 ? 1 : 0;
	my ($dataset, $id, $session) = start_round($is_staged);
	my $name = "round $round, " . ($is_staged ? 'staged' : 'small');

	sleep rand $took{$is_staged};
	my $pids = $session->query("SELECT string_agg(pid::text, ' ' ORDER BY backend_type) FROM pg_stat_activity WHERE backend_type ~ '^loader'");
	my @pids = split / /, $pids;
	note("$name of $took{$is_staged} s: workers $pids");
	@pids && $round % 3 && is_stopped($pids[$round % @pids]) ? crash($node, $pids[$round % @pids]) : $end{'immediate stop'}->();
	$session->quit;
	my $is = contents($node, $dataset);
	my $what = $is eq $old{all} ? 'new' : $is eq $new{all} ? 'loaded' : "neither: $is";
	is(one($node, "SELECT regexp_replace(state, 'loading', 'new') FROM loader.package WHERE package_id = $id"), $what, "$name: $what");
	$seen{$what}++;
	# however fast this machine is, let most come before the end
	$took{$is_staged} *= $what eq 'new' ? 1.1 : 0.7;
	is(left_over($node), '', "$name: what was staged is the package's");
	is_loaded($id, $dataset, 'all', $name);
}
cmp_ok($seen{new}, '>', 2, 'some were interrupted');
is(stray_files($node), '', 'no files left');
one($node, 'CREATE EXTENSION amcheck');
is(one($node, q{SELECT c.oid::regclass, v.* FROM pg_class c, verify_heapam(c.oid, skip => 'none') v WHERE relkind IN ('r', 't') AND relnamespace <> 'pg_catalog'::regnamespace}),
	'', 'amcheck finds nothing in tables');
is(one($node, q{SELECT count(bt_index_check(indexrelid, true)::text) > 0 FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam
	WHERE amname = 'btree' AND relnamespace <> 'pg_catalog'::regnamespace}), 't', 'nor in indexes');

$node->stop;
done_testing();
