# test/t/034_stage_end.pl: packages that replace and merge and end without publish: failed, cancelled,
# forgotten, registered anew, restored from a dump: what they have staged goes with them, and nothing of
# them is to be seen. And packages of the same tables, and of different ones, side by side.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderStage;
use LoaderTest;
use Test::More;

my $node = new_node('main', "restart_after_crash = on\nloader.retry_delay = '1min'\nlog_min_messages = info\nautovacuum = off");
my $first = shop_package(1);
my $second = shop_package(2);

# What a package did to each table.
sub counts
{
	my ($id, %option) = @_;

	return one($node, "SELECT table_name, rows_read, rows_inserted, rows_updated, rows_deleted, bytes FROM loader.tables WHERE package_id = $id ORDER BY 1", %option);
}

# Contents but for the record of loads: a package that is made anew has another load_id.
sub data
{
	my ($dataset, %option) = @_;

	return contents($node, $dataset, %option) =~ s/^_dlt_loads .*\n//r;
}

gates($node);
new_shop($node, 'old', $first);
new_shop($node, 'new', $first);
my $undisturbed = start_package($node, $second, 'new');
is(wait_package($node, $undisturbed), 'loaded', 'undisturbed');
my ($old, $new) = (contents($node, 'old'), data('new'));

my $n = 0;

# A dataset with the first package in it.
sub shop
{
	my $dataset = 'd' . ++$n;

	new_shop($node, $dataset, $first);
	return $dataset;
}

sub start_shop
{
	my ($dataset, $is_staged, $package, $settings) = @_;

	return one($node, ($settings // '') . 'SET loader.small_package = ' . ($is_staged ? 0 : q{'1GB'}) . '; SELECT loader_start('
		. quote_literal($package || $second) . ", '$dataset')");
}

# Nothing of the package is to be seen, or to be found.
sub is_gone
{
	my ($id, $dataset, $name) = @_;

	is(nothing_runs($node), 0, "$name: no locks left");
	is(contents($node, $dataset), $old, "$name: old contents");
	is(left_over($node), '', "$name: nothing left");
	is(one($node, "SELECT (SELECT count(*) FROM loader.stage WHERE package_id = $id),
		(SELECT count(*) FROM loader.job WHERE package_id = $id AND (state NOT IN ('new', 'failed') OR relation IS NOT NULL))"), '0|0', "$name: nothing is its");
	return;
}

sub is_loaded
{
	my ($id, $dataset, $name) = @_;

	is(wait_package($node, $id), 'loaded', "$name: then it loads");
	is(data($dataset), $new, "$name: with the undisturbed result");
	is(counts($id), counts($undisturbed), "$name: each row is counted once");
	is(one($node, "SELECT count(*), count(exception) FROM loader.jobs WHERE package_id = $id AND state = 'completed'"), '13|0', "$name: all jobs are completed");
	is(nothing_runs($node), 0, "$name: no locks left then");
	is(left_over($node), '', "$name: nothing left then");
	return;
}

# --- failed -----------------------------------------------------------------------------------------

# A failure of the package is mended by other files, one of a table by what is undone there.
my @failures = (
	{what => 'bad row in the 2nd file of a replaced table', bad => {goods => sub { $_[0][45][0] = 'x' }}, is_staged => [0, 1],
		job => 'load|goods|failed|22P04|"x" is not a value'},
	{what => 'bad row in the 2nd file of a merged table', bad => {orders => sub { $_[0][45][0] = 'x' }}, is_staged => [1],
		job => 'load|orders|failed|22P04|"x" is not a value'},
	{what => 'a row twice in an upsert', bad => {stocks => sub { $_[0][45][0] = $_[0][3][0] }}, is_staged => [0, 1],
		job => 'merge|stocks|failed|21000|several rows of the package would change the same row of table "stocks"'},
	{what => 'a duplicate in a replaced table', is_staged => [0, 1],
		break => 'CREATE UNIQUE INDEX not_90 ON %s.goods ((CASE id WHEN 90 THEN 61 ELSE id END))', mend => 'DROP INDEX %s.not_90',
		job => 'load|goods|failed|23505|duplicate key value violates unique constraint "not_90"'},
	{what => 'a row that the replaced table refuses', is_staged => [1],
		break => 'ALTER TABLE %s.goods ADD CONSTRAINT not_75 CHECK (id <> 75)', mend => 'ALTER TABLE %s.goods DROP CONSTRAINT not_75',
		job => 'load|goods|failed|23514|new row for relation "goods" violates check constraint "not_75"'},
	{what => 'a row that the merged table refuses', is_staged => [0, 1],
		break => 'ALTER TABLE %s.orders ADD CONSTRAINT not_75 CHECK (id <> 75)', mend => 'ALTER TABLE %s.orders DROP CONSTRAINT not_75',
		job => 'merge|orders|failed|23514|new row for relation "orders" violates check constraint "not_75"'},
	{what => 'a row that the appended table refuses', is_staged => [1],
		break => 'ALTER TABLE %s.visits ADD CONSTRAINT not_75 CHECK (id <> 75)', mend => 'ALTER TABLE %s.visits DROP CONSTRAINT not_75',
		job => 'load|visits|failed|23514|new row for relation "visits" violates check constraint "not_75"'});

for my $f (@failures)
{
	for my $is_staged (@{ $f->{is_staged} })
	{
		my $name = ($is_staged ? 'staged' : 'small') . ", $f->{what}";
		my $dataset = shop();
		my @load_id = (load_id => '1800000000.' . $n);
		my $package = $f->{bad} ? shop_package(2, bad => $f->{bad}, @load_id) : $second;

		note($name);
		one($node, sprintf $f->{break}, $dataset) if $f->{break};
		my $id = start_shop($dataset, $is_staged, $package);
		is(wait_package($node, $id), 'failed', $name);
		is(one($node, "SELECT kind, table_name, state, sqlstate, split_part(exception, E'\n', 1) FROM loader.jobs WHERE package_id = $id AND sqlstate IS NOT NULL"),
			$f->{job}, "$name: the job that has failed");
		is(one($node, "SELECT count(*) FROM loader.packages p JOIN loader.jobs j USING (package_id) WHERE package_id = $id AND p.sqlstate = j.sqlstate AND j.exception ^@ p.message"),
			1, "$name: the package has the same error");
		is_gone($id, $dataset, $name);
		if ($f->{bad})
		{
			is(shop_package(2, @load_id), $package, "$name: other files");
			is(start_shop($dataset, $is_staged, $package), $id, "$name: registered anew");
		}
		else
		{
			one($node, sprintf($f->{mend}, $dataset) . "; SELECT loader_resume($id)");
		}
		is_loaded($id, $dataset, $name);
	}
}

# --- cancelled --------------------------------------------------------------------------------------

# Staged, at two gates: one process has to be let go before it sees that it is to stop, and the other may
# go on with its job when the package has ended.
for my $first_out ('coordinator', 'job worker')
{
	my $name = "cancelled while staging, the $first_out first";
	my $dataset = shop();
	my $holder = LoaderCrash->new($node);

	note($name);
	close_gate($holder, $_) for 'staging', 'fill';
	my $id = start_shop($dataset, 1);
	my %gate = map { wait_gate($node, $_) => $_ } 'staging', 'fill';
	my ($coordinator, $helper) = map { worker_pid($node, $_) } 'coordinator', 'job worker';
	is(one($node, "SELECT loader_cancel($id)"), 't', $name);
	my @order = $first_out eq 'coordinator' ? ($coordinator, $helper) : ($helper, $coordinator);
	open_gate($holder, $gate{ $order[0] });
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $order[0] AND backend_type LIKE 'loader%'", 0);
	open_gate($holder, $gate{ $order[1] });
	is(wait_package($node, $id), 'cancelled', "$name: it ends");
	$holder->quit;
	is_gone($id, $dataset, $name);
	one($node, "SELECT loader_resume($id)");
	is_loaded($id, $dataset, $name);
}

for my $where ('merging', 'waiting for strong locks')
{
	my $is_staged = $where ne 'merging';
	my $name = ($is_staged ? 'staged' : 'small') . ", cancelled while $where";
	my $dataset = shop();
	my $holder = LoaderCrash->new($node);

	note($name);
	$where eq 'merging' ? close_gate($holder, 'merge') : $holder->query("BEGIN; SELECT FROM $dataset.goods");
	my $id = start_shop($dataset, $is_staged);
	$where eq 'merging' ? wait_gate($node, 'merge') : wait_strong_lock($node, "$dataset.goods");
	is(one($node, "SELECT loader_cancel($id)"), 't', $name);
	# the strong locks are not needed for that
	open_gate($holder, 'merge') if $where eq 'merging';
	is(wait_package($node, $id), 'cancelled', "$name: it ends");
	is_gone($id, $dataset, $name);
	$holder->quit;
	one($node, "SELECT loader_resume($id)");
	is_loaded($id, $dataset, $name);
}

# Nobody works on it: its coordinator is gone, with the server or without. A heap is there.
sub leave_alone
{
	my ($dataset, $how, $settings) = @_;
	my $holder = LoaderCrash->new($node);

	close_gate($holder, $how eq 'crash' ? 'index' : $_) for $how eq 'crash' ? 'index' : ('index', 'staging');
	my $id = start_shop($dataset, 1, undef, $settings);
	wait_gate($node, 'index');
	if ($how eq 'crash')
	{
		wait_staged($node, $id, 6);
		crash($node, worker_pid($node, 'coordinator'));
		$holder->quit;
	}
	else
	{
		wait_gate($node, 'staging');
		one($node, 'SELECT pg_terminate_backend(' . worker_pid($node, 'coordinator') . ', 60000)');
	}
	return ($id, $holder);
}

{
	my $name = 'cancelled after a crash';
	my $dataset = shop();
	my ($id) = leave_alone($dataset, 'crash');

	is(one($node, "SELECT count(*) FROM loader.stage WHERE package_id = $id AND kind = 'swap heap'"), 1, "$name: a heap is there");
	is(one($node, "SELECT loader_cancel($id)"), 't', $name);
	is(one($node, "SELECT state FROM loader.packages WHERE package_id = $id"), 'cancelled', "$name: it has ended");
	is_gone($id, $dataset, $name);
	one($node, "SELECT loader_resume($id)");
	is_loaded($id, $dataset, $name);
}

{
	my $name = 'forgotten after a crash';
	my $dataset = shop();
	my ($id) = leave_alone($dataset, 'crash');

	is(one($node, "SELECT loader_forget($id)"), 't', $name);
	is_gone($id, $dataset, $name);
	isnt(my $again = start_shop($dataset, 1), $id, "$name: it is another one now");
	is_loaded($again, $dataset, $name);
}

# Its job worker goes on without a coordinator, and has nobody to work for any more.
for my $end ('cancel', 'forget')
{
	my $name = "$end without a coordinator";
	my $dataset = shop();
	my ($id, $holder) = leave_alone($dataset, 'terminate');

	if ($end eq 'forget')
	{
		is(error_of($node, "SELECT loader_forget($id)")->{sqlstate}, '55006', "$name: not while it works");
		is(one($node, "SELECT loader_cancel($id)"), 't', "$name: cancelled");
	}
	else
	{
		is(one($node, "SELECT loader_cancel($id)"), 't', $name);
	}
	$holder->quit;
	is(nothing_runs($node), 0, "$name: it notices");
	is(one($node, "SELECT loader_forget($id)"), 't', "$name: then it is forgotten") if $end eq 'forget';
	is_gone($id, $dataset, $name);
	$id = start_shop($dataset, 1) if $end eq 'forget';
	one($node, "SELECT loader_resume($id)") if $end eq 'cancel';
	is_loaded($id, $dataset, $name);
}

# Interrupted too often: what was staged before goes, too, and other files can be loaded.
{
	my $name = 'interrupted too often';
	my $dataset = shop();
	my ($id) = leave_alone($dataset, 'crash', 'SET loader.retry_attempts = 0;');
	my $holder = LoaderCrash->new($node);

	close_gate($holder, 'index');
	my $waiter = LoaderCrash->new($node)->send("SELECT loader_wait($id)");
	wait_gate($node, 'index');
	crash($node, worker_pid($node, 'coordinator'));
	$_->quit for $waiter, $holder;
	is(wait_package($node, $id), 'failed', $name);
	is(one($node, "SELECT sqlstate FROM loader.packages WHERE package_id = $id"), '55000', "$name: and says so");
	is_gone($id, $dataset, $name);
	shop_package(2, load_id => $second =~ s{.*/}{}r);
	is(start_shop($dataset, 1), $id, "$name: registered anew, with other files");
	is_loaded($id, $dataset, $name);
}

# Somebody has a heap locked, as pg_dump has. Nobody waits for that; a sweep drops it later, or the
# package takes it up again.
for my $later ('scan', 'resume')
{
	my $name = "cancelled while a heap is locked, $later";
	my $dataset = shop();
	my ($id) = leave_alone($dataset, 'crash');
	my $heap = one($node, "SELECT relation::regclass FROM loader.stage WHERE package_id = $id AND table_name = 'goods'");
	my $holder = LoaderCrash->new($node);

	$holder->query("BEGIN; SELECT FROM $heap");
	is(one($node, "SELECT loader_cancel($id)"), 't', $name);
	like(left_over($node), qr/^relation\|\w+\nrow\|\d+ of package $id$/, "$name: the heap is left, with its row");
	if ($later eq 'scan')
	{
		mkdir packages_dir() . '/none';
		one($node, 'SELECT loader_scan(' . quote_literal(packages_dir() . '/none') . ')');
		isnt(left_over($node), '', "$name: still locked");
		$holder->quit;
		one($node, 'SELECT loader_scan(' . quote_literal(packages_dir() . '/none') . ')');
		is_gone($id, $dataset, $name);
	}
	else
	{
		$holder->quit;
	}
	one($node, "SELECT loader_resume($id)");
	is_loaded($id, $dataset, $name);
}

# --- somewhere else ---------------------------------------------------------------------------------

# Dumped while a heap is there. The copy has the heap as a table, and nobody who wants it.
{
	my $name = 'restored';
	my $dataset = shop();
	my $holder = LoaderCrash->new($node);
	my $dump = packages_dir() . '/dump.sql';

	close_gate($holder, 'index');
	my $id = start_shop($dataset, 1);
	wait_gate($node, 'index');
	wait_staged($node, $id, 6);
	$node->command_ok(['pg_dump', '-f', $dump, '-d', $node->connstr('postgres')], "$name: dumped");
	open_gate($holder, 'index');
	is_loaded($id, $dataset, "$name, the original");
	$holder->quit;
	for my $copy ('copy', 'copy2')
	{
		my @db = (database => $copy);

		one($node, "CREATE DATABASE $copy");
		$node->command_ok(['psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($copy), '-f', $dump], "$name: restored as $copy");
		like(left_over($node, @db), qr/^relation\|swap_\d+_\d+$/, "$name: the heap is there, and nobody's");
	}
	my @db = (database => 'copy');
	one($node, 'SELECT loader_scan(' . quote_literal(packages_dir() . '/none') . ')', @db);
	is(left_over($node, @db), '', "$name: nothing left after a scan");
	is(contents($node, $dataset, @db), $old, "$name: old contents");
	one($node, "SELECT loader_resume($id)", @db);
	is(wait_package($node, $id, @db), 'loaded', "$name: on request it loads");
	is(data($dataset, @db), $new, "$name: with the undisturbed result");
	is(left_over($node, @db), '', "$name: nothing left then");

	@db = (database => 'copy2');
	is(error_of($node, 'DROP EXTENSION loader', @db)->{sqlstate}, '2BP01', 'DROP EXTENSION asks for CASCADE while there is a heap');
	one($node, 'DROP EXTENSION loader CASCADE', @db);
	is(one($node, q{SELECT to_regnamespace('loader_swap'), to_regnamespace('loader')}, @db), '|', 'dropped');
}

# --- side by side -----------------------------------------------------------------------------------

# Of the same tables: one after the other.
{
	my $name = 'the same tables';
	my $dataset = shop();
	my $holder = LoaderCrash->new($node);
	my $third = shop_package(3, rows => 90);
	my $expected = shop();

	load($node, $_, $expected) for $second, $third;
	close_gate($holder, 'fill');
	my $a = start_shop($dataset, 1);
	wait_gate($node, 'fill');
	my $b = start_shop($dataset, 1, $third);
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator'", 1);
	is(one($node, "SELECT state, (SELECT count(*) FROM loader.stage s WHERE s.package_id = p.package_id) FROM loader.packages p WHERE package_id = $b"), 'new|0',
		"$name: the second one waits, and has staged nothing");
	open_gate($holder, 'fill');
	is(wait_package($node, $_), 'loaded', "$name: loaded") for $b, $a;
	is(contents($node, $dataset), contents($node, $expected), "$name: in order");
	is(one($node, "SELECT a.finished_at <= b.started_at FROM loader.packages a, loader.packages b WHERE a.package_id = $a AND b.package_id = $b"), 't',
		"$name: one after the other");
	is(left_over($node), '', "$name: nothing left");
	$holder->quit;
}

# Of different tables of one dataset: who waits for strong locks holds up nobody.
{
	my $name = 'different tables';
	my $dataset = shop();
	my $reader = LoaderCrash->new($node);

	$reader->query("BEGIN; SELECT FROM $dataset.goods");
	my $a = start_shop($dataset, 1, shop_package(2, only => 'replace'));
	wait_strong_lock($node, "$dataset.goods");
	my $b = start_shop($dataset, 1, shop_package(2, only => 'merge append'));
	is(wait_package($node, $b), 'loaded', "$name: loaded while the other one waits for a reader");
	is(one($node, "SELECT state FROM loader.packages WHERE package_id = $a"), 'loading', "$name: which still does");
	$reader->quit;
	is(wait_package($node, $a), 'loaded', "$name: and is loaded when he has gone");
	is(data($dataset), $new, "$name: both are in");
	is(left_over($node), '', "$name: nothing left");
}

# --- afterwards -------------------------------------------------------------------------------------

# The server leaves the counters of a process that ended to the next one in its place. Processes of a
# parallel query take the places of job workers; none of them is taken for one.
{
	my $name = 'places of job workers';
	my $dataset = shop();
	my $id = start_shop($dataset, 1);

	is_loaded($id, $dataset, $name);
	one($node, q{CREATE TABLE wide AS SELECT n FROM generate_series(1, 10000) n;
		ALTER TABLE wide SET (parallel_workers = 4);
		CREATE FUNCTION running() RETURNS bigint LANGUAGE sql PARALLEL SAFE AS 'SELECT count(*) FROM loader.running()';
		CREATE FUNCTION look(n int) RETURNS bigint LANGUAGE plpgsql PARALLEL SAFE AS
			'BEGIN RETURN CASE WHEN n % 100 = 0 THEN running() END; END'});
	is(one($node, q{SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
		SET max_parallel_workers_per_gather = 4; SET parallel_leader_participation = off; SELECT max(look(n)) FROM wide}), 0, "$name: no worker of ours");
}

$node->stop;
done_testing();
