# test/t/061_crash_traps.pl: traps that a crash sets for who writes files by itself. A checkpoint falls into
# the writing of a heap and its indexes; the id of a transaction that died is used again; a coordinator
# ends while its helper lives.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderStage;
use LoaderTest;
use Test::More;

# With wal_level minimal what is in a new file is not in the log at all.
my %level = (replica => 'wal_level = replica', minimal => "wal_level = minimal\nmax_wal_senders = 0");
my ($first, $second) = (shop_package(1), shop_package(2, rows => 600));
my %big = map { $_ => make_package(tables => [{name => 'big', disposition => 'replace',
	columns => [[id => 'bigint'], [pad => 'text'], ['_dlt_id' => 'text', {nullable => JSON::PP::false, unique => JSON::PP::true, row_key => JSON::PP::true}]],
	rows => [map { [$_, 'x' x 1500, "$_"] } 1 .. $_]}]) } 10, 5000, 14000;

sub start_shop
{
	my ($node, $dataset, $is_staged, $package, $more) = @_;

	return one($node, 'SET loader.small_package = ' . ($is_staged ? 0 : q{'1GB'}) . '; SELECT loader_start('
		. quote_literal($package || $second) . ", '$dataset'" . ($more ? ", $more" : '') . ')');
}

# A gate of our own, at a row far into the file.
my $late = 6;

sub add_late_gate
{
	my ($node, $table, $column, $id) = @_;

	one($node, "ALTER TABLE $table ADD CHECK (id <> $id OR gate.pass($late, $column))");
	return;
}

sub wait_late
{
	my ($node) = @_;

	wait_for($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND objid = $late AND NOT granted", 1);
	return;
}

sub expect
{
	my ($node) = @_;

	one($node, 'CREATE EXTENSION amcheck');
	gates($node);
	new_shop($node, $_, $first) for 'old', 'new';
	is(load($node, $second, 'new'), 'loaded', 'undisturbed');
	return (contents($node, 'old'), contents($node, 'new'));
}

# --- a checkpoint falls into direct writes ------------------------------------------------------------

sub checkpoint_within
{
	my ($node, $level, $old, $new) = @_;
	my $holder = LoaderCrash->new($node);
	my $name = "checkpoint, $level";

	new_shop($node, 'checkpoint', $first);
	add_late_gate($node, 'checkpoint.goods', 'name', 500);
	$holder->query("SELECT pg_advisory_lock($late)");
	close_gate($holder, $_) for qw(index append merge);
	my $id = start_shop($node, 'checkpoint', 1);
	wait_late($node);
	one($node, 'CHECKPOINT');    # in a heap that is half full
	$holder->query("SELECT pg_advisory_unlock($late)");
	wait_gate($node, 'index');
	one($node, 'CHECKPOINT');    # with a heap that has some of its indexes
	open_gate($holder, 'index');
	for my $gate (qw(append merge))
	{
		wait_gate($node, $gate);
		one($node, 'CHECKPOINT');    # in publish
		is(contents($node, 'checkpoint'), $old, "$name, $gate: nothing can be seen");
		open_gate($holder, $gate);
	}
	is(wait_package($node, $id), 'loaded', "$name: loaded");
	$node->stop('immediate');
	$holder->quit;
	$node->start;
	is(contents($node, 'checkpoint'), $new, "$name: all of it is there after an immediate stop");
	is(amcheck($node), '', "$name: amcheck finds nothing");
	is(left_over($node), '', "$name: nothing left");

	# the same, and the end comes before the commit
	new_shop($node, 'checkpoint2', $first);
	$holder = LoaderCrash->new($node);
	close_gate($holder, 'index');
	$id = start_shop($node, 'checkpoint2', 1, undef, 'workers => 1');
	wait_gate($node, 'index');
	one($node, 'CHECKPOINT');
	$node->stop('immediate');
	$holder->quit;
	$node->start;
	is(contents($node, 'checkpoint2'), $old, "$name, before the commit: old contents");
	is(wait_package($node, $id), 'loaded', "$name, before the commit: loaded");
	is(contents($node, 'checkpoint2'), $new, "$name, before the commit: with the undisturbed result");
	is(amcheck($node), '', "$name, before the commit: amcheck finds nothing");
	return;
}

# --- a transaction id is used again ---------------------------------------------------------------------

sub parent_of
{
	my ($pid) = @_;

	open(my $fh, '<', "/proc/$pid/stat") or return 0;
	return (<$fh> // '') =~ /^.*\) \S (\d+)/ ? $1 : 0;
}

# End all processes of the server before any of them can do anything more.
sub annihilate
{
	my ($node) = @_;
	my $postmaster = $node->{_pid};

	kill 'STOP', $postmaster;    # it makes no more of them, and does not see them go
	my @children = grep { parent_of($_) == $postmaster } map { m{/(\d+)$} } glob('/proc/[0-9]*');
	kill 'KILL', @children;    # first: one that sees it gone would end its transaction, and remove the files
	kill 'KILL', $postmaster;
	wait_until('all processes to end', sub { !grep { kill 0, $_ } $postmaster, @children });
	$node->{_pid} = undef;
	wait_until('the server to start', sub { $node->start(fail_ok => 1) });
	return;
}

# Files of the database that no relation has.
sub files_of_nobody
{
	my ($node) = @_;
	my $data = $node->data_dir;
	my $directory = 'base/' . one($node, 'SELECT oid FROM pg_database WHERE datname = current_database()');
	my %known = map { $_ => 1 } split /\n/, one($node, 'SELECT pg_relation_filepath(oid) FROM pg_class WHERE pg_relation_filepath(oid) IS NOT NULL');
	my $size = 0;

	for my $file (glob("$data/$directory/[0-9]*"))
	{
		my ($number) = $file =~ m{/(\d+)(?:_fsm|_vm|_init)?(?:\.\d+)?$} or next;

		$size += -s $file unless $known{"$directory/$number"};
	}
	return $size;
}

# Those that write out the log, or what makes others do that.
sub writers
{
	my ($node) = @_;

	return split /\n/, one($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type IN ('walwriter', 'background writer', 'checkpointer')});
}

# hold => sub ($holder) closes a gate, wait => sub waits there: until then nobody but the coordinator has
# a transaction, nobody commits, and who writes out the log does not run: of that transaction nothing is
# known to the server that comes up again, but for what it has written into files of its own.
sub id_again
{
	my ($node, $name, %case) = @_;
	my $holder = LoaderCrash->new($node);
	my $id;

	one($node, 'CHECKPOINT');
	my @writers = writers($node);
	$case{hold}->($holder);
	kill 'STOP', @writers;
	$id = $case{start}->();
	$case{wait}->();
	my $xid = one($node, q{SELECT backend_xid FROM pg_stat_activity WHERE backend_type = 'loader coordinator'});
	cmp_ok($xid, '>', 0, "$name: it has a transaction id");
	annihilate($node);
	$holder->quit;

	# and those of its subtransactions
	my $use = 'INSERT INTO used DEFAULT VALUES RETURNING pg_current_xact_id(); ';
	my @ids = split /\n/, one($node, $use x 20);
	cmp_ok($ids[0], '<=', $xid, "$name: after the crash its id is given to somebody else");
	push @ids, one($node, $use) while $ids[-1] < $xid;
	is((grep { $_ == $xid } @ids), 1, "$name: who commits");
	cmp_ok(files_of_nobody($node), '>', 100_000, "$name: files of the dead transaction are there") if $case{has_files};
	is(contents($node, $case{dataset}), $case{old}, "$name: none of its rows can be seen");
	is(one($node, "SELECT count(*) FROM pg_class WHERE relnamespace = 'loader_swap'::regnamespace"), 0, "$name: nor a heap");
	is(one($node, "SELECT (SELECT count(*) FROM loader.stage WHERE package_id = $id), (SELECT count(*) FROM loader.job WHERE package_id = $id AND state = 'completed')"), '0|0',
		"$name: nor a mark");
	is(amcheck($node), '', "$name: amcheck finds nothing");
	is(wait_package($node, $id), 'loaded', "$name: it loads");
	is(contents($node, $case{dataset}), $case{new}, "$name: with the undisturbed result");
	is(amcheck($node), '', "$name: amcheck finds nothing then");
	is(left_over($node), '', "$name: nothing left");
	return;
}

for my $level (sort keys %level)
{
	# nothing leaves the buffers of the server, but what is written around them
	my $node = new_node($level, "$level{$level}\nshared_buffers = 256MB\nwal_buffers = 64MB\nautovacuum = off\nmax_parallel_maintenance_workers = 0");
	my ($old, $new) = expect($node);

	one($node, 'CREATE TABLE used (at timestamptz DEFAULT clock_timestamp())');
	checkpoint_within($node, $level, $old, $new);

	# A swap heap, full but for its last row. Pages without a log can go to its file at any time, those with one
	# only after that: so it is 28 MB, which is more than its share of the buffers, or 10 MB, which is less.
	my $n = $level eq 'minimal' ? 14000 : 5000;
	load($node, $big{10}, $_) eq 'loaded' or die 'table' for 'big', 'big_new';
	my $big_old = contents($node, 'big');
	is(load($node, $big{$n}, 'big_new'), 'loaded', 'undisturbed');
	add_late_gate($node, 'big.big', 'pad', $n);
	id_again($node, "id again, swap heap, $level", dataset => 'big', old => $big_old, new => contents($node, 'big_new'), has_files => 1,
		hold => sub { $_[0]->query("SELECT pg_advisory_lock($late)") },
		start => sub { start_shop($node, 'big', 1, $big{$n}, 'workers => 1') },
		wait => sub { wait_late($node) });

	# publish: rows in tables that others see, staging, heaps
	new_shop($node, 'again', $first);
	id_again($node, "id again, publish, $level", dataset => 'again', old => $old, new => $new,
		hold => sub { close_gate($_[0], 'merge') },
		start => sub { start_shop($node, 'again', 0) },
		wait => sub { wait_gate($node, 'merge') });
	$node->stop;
}

# --- the coordinator ends while its helper lives ----------------------------------------------------------

# See also 020_crash.pl, where jobs commit by themselves, and 034_stage_end.pl, where nobody goes on with the package.
my $node = new_node('main', 'autovacuum = off');
my ($old, $new) = expect($node);

# Both wait while they stage; a new coordinator comes beside the helper of the one that has gone.
sub lose_coordinator
{
	my ($dataset, $package) = @_;
	my $holder = LoaderCrash->new($node);

	new_shop($node, $dataset, $first);
	close_gate($holder, $_) for qw(staging fill);
	my $id = start_shop($node, $dataset, 1, $package);
	wait_gate($node, $_) for qw(staging fill);
	my ($coordinator, $helper) = map { worker_pid($node, $_) } 'coordinator', 'job worker';
	is(one($node, "SELECT pg_terminate_backend($coordinator, 60000)"), 't', "$dataset: the coordinator ends");
	my $waiter = LoaderCrash->new($node)->send("SELECT loader_wait($id)");
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator' AND pid <> $coordinator", 1);
	wait_gate($node, $_) for qw(staging fill);    # it has taken up the job that was lost
	is(one($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $helper"), 1, "$dataset: its helper lives");
	is(contents($node, $dataset), $old, "$dataset: nothing can be seen");
	return ($id, $holder, $waiter, $helper);
}

{
	my ($id, $holder, $waiter, $helper) = lose_coordinator('taken_up');

	open_gate($holder, $_) for qw(staging fill);
	is($waiter->answer, 'loaded', 'another coordinator goes on beside it');
	is(contents($node, 'taken_up'), $new, 'with the undisturbed result');
	is(one($node, "SELECT count(*) FROM loader.events WHERE package_id = $id AND kind ~ 'retry|failed'"), 0, 'nothing had to be done twice');
	$_->quit for $holder, $waiter;
}

{
	my $bad = sub { $_[0][599][0] = 'x' };
	my ($id, $holder, $waiter, $helper) = lose_coordinator('fails', shop_package(2, rows => 600, bad => {goods => $bad, orders => $bad}));

	open_gate($holder, $_) for qw(staging fill);
	is($waiter->answer, 'failed', 'what the helper fails of, without its coordinator, the next one hears');
	is(one($node, "SELECT p.sqlstate, count(*) > 0 FROM loader.packages p JOIN loader.jobs j USING (package_id) WHERE package_id = $id AND j.state = 'failed' GROUP BY 1"), '22P04|t', 'and why');
	is(contents($node, 'fails'), $old, 'old contents');
	is(nothing_runs($node), 0, 'nothing runs');
	is(left_over($node), '', 'nothing is left');
	$_->quit for $holder, $waiter;
}

$node->stop;
done_testing();
