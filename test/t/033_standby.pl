# test/t/033_standby.pl: a physical standby replays swaps, differences and merges; one that is promoted
# goes on with what the primary has staged.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderStage;
use LoaderTest;
use Test::More;

my $primary = new_node('primary', 'autovacuum = off', streaming => 1);
my ($first, $second) = (shop_package(1), shop_package(2));

gates($primary);
one($primary, 'CREATE EXTENSION amcheck');
my @datasets = qw(staged small diff slow cancelled failover);
new_shop($primary, $_, $first) for 'old', @datasets;
$primary->backup('base');
my $standby = new_node('standby', '', from => $primary, backup => 'base');

# Old snapshots there must not fall to what is removed from catalogs here.
$standby->append_conf('postgresql.conf', "hot_standby_feedback = on\nwal_receiver_status_interval = 1s");
$standby->reload;

sub start_shop
{
	my ($node, $dataset, %option) = @_;
	my $small = $option{small} ? q{'1GB'} : 0;

	return one($node, "SET loader.small_package = $small; SELECT loader_start(" . quote_literal($option{package} || $second) . ", '$dataset'"
		. ($option{strategy} ? ", replace_strategy => '$option{strategy}'" : '') . ')');
}

sub load_shop
{
	my ($node, @shop) = @_;

	is(wait_package($node, start_shop($node, @shop)), 'loaded', "@shop: loaded");
	return;
}

sub catch_up
{
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
	return;
}

# --- replay -----------------------------------------------------------------------------------------

# Readers of the standby from before: a plan that is kept, and a snapshot. The latter has no lock on what
# is swapped, so it sees the new rows then, and not none.
my $prepared = LoaderCrash->new($standby);
my $snapshot = LoaderCrash->new($standby);
my $kept = q{SELECT count(*), count(DISTINCT long), max(substring(name FROM 'version .')) FROM staged.goods WHERE _dlt_id ^@ 'goods'};

catch_up();
$prepared->query("PREPARE kept AS $kept");
is($prepared->query('EXECUTE kept') . $prepared->query('EXECUTE kept'), '60|12|version 160|12|version 1', 'standby: old rows');
$snapshot->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM staged._dlt_loads');
wait_for($primary, 'SELECT count(*) FROM pg_stat_replication WHERE backend_xmin IS NOT NULL', 1);
load_shop($primary, 'staged');
load_shop($primary, 'small', small => 1);
load_shop($primary, 'diff', strategy => 'diff');
catch_up();
for my $dataset (qw(staged small diff))
{
	isnt(contents($primary, $dataset), contents($primary, 'old'), "$dataset: there is something new");
	is(contents($standby, $dataset), contents($primary, $dataset), "$dataset: the same contents");
}
is(one($standby, q{SELECT dataset, count(*) FROM loader.tables WHERE stage = 'swap heap' AND sink IS NOT NULL GROUP BY 1 ORDER BY 1}), "small|2\nstaged|2", 'tables were swapped, or not');
is($prepared->query('EXECUTE kept'), '60|12|version 2', 'a prepared statement there goes on');
is($snapshot->query($kept), '60|12|version 2', 'so does an old snapshot');
is($snapshot->query('SELECT count(*) FROM staged._dlt_loads'), 1, 'which is an old one');
$_->quit for $prepared, $snapshot;
is(amcheck($standby), '', 'amcheck finds nothing there');

# --- conflicts --------------------------------------------------------------------------------------

sub is_behind
{
	my ($reader, $dataset, $delay) = @_;

	$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = $delay");
	$standby->reload;
	wait_for($standby, 'SHOW max_standby_streaming_delay', $delay);
	$reader->query("BEGIN; SELECT count(*) FROM $dataset.goods");
	load_shop($primary, $dataset);
	return;
}

# Replay waits for who reads the table, however long, and then goes on.
{
	my $reader = LoaderCrash->new($standby);

	is_behind($reader, 'slow', '-1');
	wait_for($standby, q{SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE backend_type = 'startup'}, 'Lock|relation');
	is($reader->query('SELECT count(*) FROM slow.goods'), 60, 'a reader holds replay up');
	is(contents($standby, 'cancelled'), contents($primary, 'old'), 'others read on');
	$reader->quit;
	catch_up();
	is(contents($standby, 'slow'), contents($primary, 'slow'), 'replay goes on when he has gone');
}

# Or it ends him.
{
	my $reader = LoaderCrash->new($standby);

	is_behind($reader, 'cancelled', '100ms');
	catch_up();
	is(contents($standby, 'cancelled'), contents($primary, 'cancelled'), 'replay goes on at its time');
	wait_for($standby, 'SELECT confl_lock FROM pg_stat_database_conflicts WHERE datname = current_database()', 1);
	$reader->quit;
}

# --- promotion --------------------------------------------------------------------------------------

# The primary is lost while a heap is filled and another one is indexed: the package goes on here.
{
	my $holder = LoaderCrash->new($primary);

	close_gate($holder, 'index');
	my $id = start_shop($primary, 'failover');
	wait_gate($primary, 'index');
	wait_staged($primary, $id, 6);
	catch_up();
	$primary->stop('immediate');
	$holder->quit;
	my $before = staged($standby, $id);
	is(one($standby, "SELECT count(*) FROM loader.stage WHERE package_id = $id AND kind = 'swap heap'"), 1, 'a heap is there');
	is(error_of($standby, "SELECT loader_resume($id)")->{sqlstate}, '25006', 'nothing is done by a standby');
	$standby->promote;
	is(contents($standby, 'failover'), contents($standby, 'old'), 'promoted: old contents');
	is(left_over($standby), '', 'promoted: the heap is of a package that lives');
	is(wait_package($standby, $id), 'loaded', 'promoted: loaded');
	my $after = staged($standby, $id);
	is(join("\n", grep { index("$after\n", "$_\n") < 0 } split /\n/, $before), '', 'promoted: what was staged was not staged again');
	is(contents($standby, 'failover'), contents($standby, 'staged'), 'promoted: with the undisturbed result');
}

my $third = shop_package(3);
load_shop($standby, 'staged', package => $third);
load_shop($standby, 'small', package => $third, small => 1);
load_shop($standby, 'diff', package => $third, strategy => 'diff');
is(contents($standby, $_), contents($standby, 'staged'), "$_, replaced again: the same contents") for qw(small diff);
like(one($standby, 'SELECT min(name) FROM staged.goods'), qr/version 3/, 'replaced again: the new ones');
is(left_over($standby), '', 'nothing is left');
is(amcheck($standby), '', 'amcheck finds nothing');

$standby->stop;
done_testing();
