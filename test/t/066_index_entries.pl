# test/t/066_index_entries.pl: index entries that are put on their pages many at a time: replayed after a
# crash and by a standby, byte for byte, and where a crash comes between a row and its entries.
use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderStage;
use LoaderTest;
use Test::More;

# what redo makes of a page is compared with what was there
my $primary = new_node('primary', "autovacuum = off\nshared_preload_libraries = 'loader'\nwal_consistency_checking = 'generic, btree'", streaming => 1);

one($primary, 'CREATE EXTENSION amcheck; CREATE SCHEMA keyed');
one($primary, 'CREATE TABLE keyed.one (id bigint PRIMARY KEY, k text COLLATE "C" UNIQUE, same bigint); CREATE INDEX one_same ON keyed.one (same)');
$primary->backup('base');
my $standby = new_node('standby', '', from => $primary, backup => 'base');

my @columns = (['id', 'bigint'], ['k', 'text'], ['same', 'bigint']);

sub keys_package
{
	my ($from, $to, $step) = @_;
	my $file = "id,k,same\n";

	for (my $i = $from; $i <= $to; $i += $step)
	{
		$file .= "$i," . md5_hex($i) . ',' . $i % 3 . "\n";
	}
	return make_package(format => 'csv', tables => [{ name => 'one', columns => \@columns, file => $file }]);
}

# Of each node: the number of rows by each index, and what amcheck says.
sub look
{
	my ($node, $rows, $name) = @_;
	my $set = 'SET enable_seqscan = off; SET enable_bitmapscan = off; ';

	is(one($node, $set . "SELECT count(*) FROM keyed.one WHERE $_"), $rows, "$name: rows by $_") for q{id > 0}, q{k > ''}, q{same >= 0};
	is(amcheck($node), '', "$name: amcheck finds nothing");
	return;
}

sub catch_up
{
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
	return;
}

# into empty indexes, between what is there, and in several runs
is(load($primary, keys_package(1, 20_000, 2), 'keyed'), 'loaded', 'into empty indexes: loaded');
is(load($primary, keys_package(4, 20_000, 4), 'keyed'), 'loaded', 'between what is there: loaded');
is(load($primary, keys_package(2, 20_000, 4), 'keyed', settings => { 'loader.index_memory' => '100kB' }), 'loaded', 'in several runs: loaded');
my $large = one($primary, q{SELECT count(*) FROM pg_class WHERE relnamespace = 'keyed'::regnamespace AND relkind = 'i' AND pg_relation_size(oid) > 100000});
cmp_ok($large, '>=', 3, 'indexes of many pages');
look($primary, 20_000, 'primary');
catch_up();
look($standby, 20_000, 'standby');
$primary->stop('immediate');
$primary->start;
look($primary, 20_000, 'after a crash');

# a crash while some rows have entries, and some have not
my $other = LoaderCrash->new($primary);
my $pid = $other->query('SELECT pg_backend_pid()');
my $middle = (sort map { md5_hex($_) } 20_001 .. 24_000)[2000];
$other->query("BEGIN; INSERT INTO keyed.one VALUES (-1, '$middle', 0)");
my $id = start_package($primary, keys_package(20_001, 24_000, 1), 'keyed');
wait_for($primary, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'loader coordinator' AND $pid = ANY (pg_blocking_pids(pid))");
one($primary, 'CHECKPOINT');
look($primary, 20_000, 'while it waits');
power_cut($primary);
$other->quit;
is(wait_package($primary, $id), 'loaded', 'a crash between rows and entries: loaded afterwards');
look($primary, 24_000, 'afterwards');
catch_up();
look($standby, 24_000, 'standby, afterwards');
for my $index (split /\n/, one($primary, q{SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'keyed.one'::regclass}))
{
	one($primary, "SELECT bt_index_parent_check('$index', true, true)");
}

done_testing();
