# test/t/065_storage.pl: heaps that are written around the shared buffers. A checkpoint falls into the middle;
# what was written before it is on disk then, and what comes after it can be made of the log alone, should
# the power fail; a worker dies; a standby has the same. By one process, and by several.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderStage;
use LoaderTest;
use Test::More;

my %level = (replica => 'wal_level = replica', minimal => "wal_level = minimal\nmax_wal_senders = 0");
my ($early, $late, $rows) = (6, 7, 3000);
my @key = ('_dlt_id' => 'text', {nullable => JSON::PP::false, unique => JSON::PP::true, row_key => JSON::PP::true});
my $seed = 'p' x 600;

# Long values, some too long for a page; two files.
my %package = map { my $n = $_; $n => make_package(tables => [{name => 'big', disposition => 'replace', jobs => 2,
	columns => [[id => 'bigint'], [pad => 'text'], [@key]],
	rows => [map { [$_, ($_ % 100 ? "$seed $_" : join(' ', map { $_ * 7919 % 10007 } $_ .. $_ + 2000)), "key$_"] } 1 .. $n]}]) } 10, $rows;

sub start_big
{
	my ($node, $dataset, $setting) = @_;
	my $several = $dataset =~ /several/ ? 'SET loader.min_parallel_file_size = 0; SET loader.workers = 3;' : '';

	return one($node, "SET loader.storage_sink = $setting; SET loader.retry_delay = 0; $several SELECT loader_start("
		. quote_literal($package{$rows}) . ", '$dataset')");
}

sub load_big
{
	my ($node, $dataset, $setting) = @_;

	return wait_package($node, start_big($node, $dataset, $setting));
}

# Where two rows wait for whoever holds the locks: in a table that is there, or in one that is being made.
sub add_gate
{
	my ($node, $dataset) = @_;
	my $sql = "ALTER TABLE $dataset.big ADD CHECK (id NOT IN (1000, 2500) OR gate.pass(CASE id WHEN 1000 THEN $early ELSE $late END, pad))";

	if (one($node, "SELECT to_regclass('$dataset.big') IS NOT NULL") eq 't')
	{
		one($node, $sql);
		return;
	}
	one($node, qq{
		CREATE FUNCTION gate.on_create() RETURNS event_trigger LANGUAGE plpgsql AS \$\$
		BEGIN
			IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE command_tag = 'CREATE TABLE' AND object_identity = '$dataset.big') THEN
				$sql;
			END IF;
		END \$\$;
		CREATE EVENT TRIGGER gate ON ddl_command_end EXECUTE FUNCTION gate.on_create()});
	return;
}

sub wait_at
{
	my ($node, $gate) = @_;

	wait_for($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND objid = $gate AND NOT granted", 1);
	return;
}

# What is wrong with the tables and their maps: ''.
sub wrong
{
	my ($node) = @_;

	return amcheck($node) . one($node, q{SELECT c.oid::regclass, 'visible', t_ctid FROM pg_class c, pg_check_visible(c.oid) WHERE relname = 'big'
		UNION ALL SELECT c.oid::regclass, 'frozen', t_ctid FROM pg_class c, pg_check_frozen(c.oid) WHERE relname = 'big'});
}

# Files of the databases, name => contents.
sub files
{
	my ($node) = @_;
	my $data = $node->data_dir;

	return map { my ($file) = m{^\Q$data\E/(.*)$}; $file => slurp($_) } grep { -s } glob("$data/base/*/*");
}

# The power fails: of a relation's files only what was there at the checkpoint is on disk.
sub lose
{
	my ($node, $file, %then) = @_;
	my $data = $node->data_dir;

	cmp_ok(-s "$data/$file", '>', length $then{$file}, "$file has grown since the checkpoint");
	spew($_, $then{ s{^\Q$data\E/}{}r } // '') for glob("$data/$file $data/${file}_*");
	return;
}

# A checkpoint in the middle of filling, and the end of the server after 'loaded'.
sub checkpoint_within
{
	my ($node, $level, $dataset, $new) = @_;
	my $name = "$level, $dataset";
	my $holder = LoaderCrash->new($node);

	add_gate($node, $dataset);
	$holder->query("SELECT pg_advisory_lock($_)") for $early, $late;
	my $id = start_big($node, $dataset, 'on');
	wait_at($node, $early);
	one($node, 'CHECKPOINT');    # who makes a file asks for it to be synced; the next one is for who has written
	$holder->query("SELECT pg_advisory_unlock($early)");
	wait_at($node, $late);
	my $log = -s $node->logfile;
	one($node, 'CHECKPOINT');
	my %then = files($node);
	$holder->query("SELECT pg_advisory_unlock($late)");
	is(wait_package($node, $id), 'loaded', "$name: loaded");
	is(one($node, "SELECT sink FROM loader.tables WHERE package_id = $id AND table_name = 'big'"), 'storage', "$name: as pages");
	is(one($node, "SELECT count(*) FROM loader.events WHERE package_id = $id AND kind = 'parallel'"), $dataset =~ /several/ ? 2 : 0, "$name: by how many");
	my $file = one($node, "SELECT pg_relation_filepath('$dataset.big')");
	cmp_ok(length($then{$file} // ''), '>', 1_000_000, "$name: much of it had been written before the checkpoint");
	like(substr(slurp($node->logfile), $log), qr/checkpoint sync: number=\d+ file=\Q$file\E /, "$name: which has synced it");
	$node->stop('immediate');
	$holder->quit;
	lose($node, $file, %then) if $level eq 'replica';
	$node->start;
	is(contents($node, $dataset), $new, "$name: all of it is there after an immediate stop");
	is(wrong($node), '', "$name: nothing is wrong with it");
	is(left_over($node), '', "$name: nothing left");
	one($node, "DROP EVENT TRIGGER IF EXISTS gate; DROP FUNCTION IF EXISTS gate.on_create");
	return;
}

# A worker dies in the middle of filling.
sub killed
{
	my ($node, $level, $dataset, $old, $new) = @_;
	my $name = "$level, killed in $dataset";
	my $holder = LoaderCrash->new($node);

	add_gate($node, $dataset);
	$holder->query("SELECT pg_advisory_lock($late)");
	my $id = start_big($node, $dataset, 'on');
	wait_at($node, $late);
	crash($node, worker_pid($node, 'coordinator'));
	$holder->quit;
	is(contents($node, $dataset), $old, "$name: old contents");
	is(wait_package($node, $id), 'loaded', "$name: loaded");
	is(contents($node, $dataset), $new, "$name: with the undisturbed result");
	is(wrong($node), '', "$name: nothing is wrong with it");
	return;
}

# The last row is refused: what was written as pages is cut off, and written anew through the buffers. What the log
# says of both has to give the same.
sub undone
{
	my ($node, $level, $dataset) = @_;
	my $name = "$level, undone in $dataset";
	my $several = $dataset =~ /several/ ? 'SET loader.min_parallel_file_size = 0; SET loader.workers = 3;' : '';
	my $bad = make_package(tables => [{name => 'big', columns => [[id => 'bigint'], [pad => 'text'], [@key]],
		rows => [(map { [$_, ($_ % 100 ? "$seed $_" : join(' ', map { $_ * 7919 % 10007 } $_ .. $_ + 2000)), "key$_"] } 1 .. $rows), [0, 'twice', 'key7']]}]);

	one($node, 'CHECKPOINT');
	my %then = files($node);
	my $id = one($node, "SET loader.storage_sink = on; $several SELECT loader_start(" . quote_literal($bad) . ", '$dataset', on_error => 'reject')");
	is(wait_package($node, $id), 'loaded', "$name: loaded");
	is(one($node, "SELECT sink, rows_inserted, rows_rejected FROM loader.tables WHERE package_id = $id AND table_name = 'big'"), "heap|$rows|1", "$name: but for one row");
	wait_for($node, "SELECT n_tup_ins >= $rows FROM pg_stat_all_tables WHERE schemaname = '$dataset' AND relname = 'big'");
	is(one($node, "SELECT n_live_tup, n_dead_tup FROM pg_stat_all_tables WHERE schemaname = '$dataset' AND relname = 'big'"), "$rows|0",
		"$name: nothing for autovacuum");
	my $file = one($node, "SELECT pg_relation_filepath('$dataset.big')");
	$node->stop('immediate');
	lose($node, $file, %then) if $level eq 'replica';
	$node->start;
	is(one($node, "SELECT count(*), sum(id), count(DISTINCT _dlt_id), sum(length(pad)) FROM $dataset.big"),
		one($node, 'SELECT count(*), sum(id), count(DISTINCT _dlt_id), sum(length(pad)) FROM through.big'), "$name: all others are there after an immediate stop");
	is(wrong($node), '', "$name: nothing is wrong with it");
	return;
}

for my $level (sort keys %level)
{
	my $streaming = $level eq 'replica';
	# the checkpoints below must not take away what a slow standby has not read
	my $node = new_node($level, "$level{$level}\nautovacuum = off\nrestart_after_crash = on\nfsync = on\nlog_checkpoints = on\nlog_min_messages = debug1\n"
		. "max_parallel_maintenance_workers = 0\nloader.small_package = '1GB'\n"
		. "wal_keep_size = '4GB'", streaming => $streaming, checksums => 1);
	my $standby;

	gates($node);
	one($node, 'CREATE EXTENSION amcheck; CREATE EXTENSION pg_visibility');
	one($node, 'ALTER FUNCTION gate.pass PARALLEL SAFE');
	load($node, $package{10}, $_) eq 'loaded' or die 'table' for 'swap', 'several_swap', 'killed', 'through';
	if ($streaming)
	{
		$node->backup('base');
		$standby = new_node('standby', '', from => $node, backup => 'base');
	}
	my $old = contents($node, 'killed');
	is(load_big($node, 'through', 'off'), 'loaded', "$level: through buffers");
	my $new = contents($node, 'through');
	is(load_big($node, 'expect_fresh', 'off'), 'loaded', "$level: through buffers, new");
	my $fresh = contents($node, 'expect_fresh');

	checkpoint_within($node, $level, 'swap', $new);
	checkpoint_within($node, $level, 'fresh', $fresh);
	checkpoint_within($node, $level, 'several_swap', $new);
	checkpoint_within($node, $level, 'several', $fresh);
	killed($node, $level, 'killed', $old, $new);
	undone($node, $level, $_) for 'undone', 'undone_by_several';
	if ($standby)
	{
		$node->wait_for_catchup($standby, 'replay', $node->lsn('flush'));
		is(contents($standby, $_), contents($node, $_), "standby: $_") for qw(swap fresh several_swap several killed undone undone_by_several);
		is(wrong($standby), '', 'standby: nothing is wrong with it');
		$standby->stop;
	}
	$node->stop;
}

done_testing();
