# test/t/038_job_mode.pl: a client drives a load: sessions beside each other, killed, cancelled; and
# packages that come in between.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderTest;
use Test::More;

my $node = new_node('main', "restart_after_crash = on\nshared_preload_libraries = 'loader'");
my @keys = ([id => 'bigint', {nullable => JSON::PP::false, primary_key => JSON::PP::true}], [name => 'text']);
my $load_id = 1;

# Files and the schema's text are those of a package, which is not loaded as one.
sub files
{
	my (%p) = @_;
	my $dir = make_package(load_id => '1700000000.' . $load_id++, format => 'csv', tables => [{name => 'items', columns => \@keys, %p}]);
	my $schema = do { local (@ARGV, $/) = "$dir/schema.json"; <> };
	my @files = sort glob "$dir/new_jobs/*";

	return ($dir, quote_literal($schema), $dir =~ s{.*/}{}r, @files);
}

# The CALL for a file of a load.
sub file_load
{
	my ($dataset, $schema, $load, $file, $more) = @_;
	my $name = quote_literal($file =~ s{.*/}{}r);

	return "CALL loader_start_file_load('$dataset', $schema, '$load', $name, " . quote_literal($file) . ($more || '') . ", package_id => NULL, state => NULL)";
}

sub storage
{
	my ($dataset, $schema) = @_;

	one($node, "SELECT loader_initialize_storage('$dataset'); SELECT loader_update_stored_schema('$dataset', $schema)");
	return;
}

sub staging
{
	my ($dataset, $schema) = @_;

	one($node, "SELECT loader_initialize_storage('$dataset', staging => true); SELECT loader_update_stored_schema('$dataset', $schema, staging => true)");
	return;
}

# What a session waits in, inside of the job: a row of the same key that is not committed yet.
my $hold = "BEGIN; INSERT INTO %s.items VALUES (2, 'held')";

sub waits_for_lock
{
	my ($session, $name) = @_;

	wait_for($node, "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $session->{pid}", 'Lock');
	pass($name);
	return;
}

# --- beside each other ----------------------------------------------------------------------------

{
	my ($dir, $schema, $load, @file) = files(rows => [map { [$_, "n$_"] } 1 .. 4], jobs => 2);
	my ($holder, $one, $same, $other) = map { LoaderCrash->new($node) } 1 .. 4;

	storage('beside', $schema);
	one($node, 'CREATE UNIQUE INDEX ON beside.items (id)');
	$holder->query(sprintf $hold, 'beside');
	my ($held, $free) = sort { (grep { /^2,/ } lines($b)) <=> (grep { /^2,/ } lines($a)) } @file;
	$one->send(file_load('beside', $schema, $load, $held));
	waits_for_lock($one, 'a job is held');
	is(one($node, "SELECT state FROM loader.jobs WHERE file_name = " . quote_literal($held =~ s{.*/}{}r)), 'running', 'and shown as running');
	like($other->query(file_load('beside', $schema, $load, $free)), qr/\|completed$/, 'another one of the load is not held up by it');
	$same->send(file_load('beside', $schema, $load, $held =~ s/\.0\.csv$/.0.csv/r));
	waits_for_lock($same, 'the same again waits');
	$holder->query('ROLLBACK');
	like($one->answer, qr/\|completed$/, 'the job is done');
	like($same->answer, qr/\|completed$/, 'and so it is for the second');
	is(one($node, 'SELECT count(*), count(DISTINCT id) FROM beside.items'), '4|4', 'its rows are there once');
	is(one($node, "SELECT loader_complete_load('beside', $schema, '$load') IS NOT NULL"), 't', 'complete');
	is(one($node, "SELECT state, completed_jobs FROM loader.packages WHERE load_id = '$load'"), 'loaded|2', 'with both jobs');
	$_->quit for $holder, $one, $same, $other;
}

sub lines
{
	my ($path) = @_;

	local @ARGV = $path;
	return <>;
}

# --- a client that has gone, a backend that is killed ----------------------------------------------

for my $how ('kill -9', 'pg_terminate_backend', 'loader_cancel', 'the client goes')
{
	my ($dir, $schema, $load, $file) = files(rows => [map { [$_, "n$_"] } 1 .. 3]);
	my $dataset = 'end_' . $load_id;
	my ($holder, $one, $again) = map { LoaderCrash->new($node) } 1 .. 3;

	storage($dataset, $schema);
	one($node, "CREATE UNIQUE INDEX ON $dataset.items (id)");
	$holder->query(sprintf $hold, $dataset);
	$one->send(file_load($dataset, $schema, $load, $file));
	waits_for_lock($one, "$how: the job is held");
	my $id = one($node, "SELECT package_id FROM loader.packages WHERE load_id = '$load'");
	if ($how eq 'kill -9')
	{
		one($node, q{SELECT pg_logical_emit_message(true, '', '')});    # its commit brings that the job was entered to disk
		crash($node, $one->{pid});
		is(one($node, "SELECT state FROM loader.jobs WHERE package_id = $id"), 'new', "$how: the job is to do");
	}
	elsif ($how eq 'pg_terminate_backend')
	{
		one($node, "SELECT pg_terminate_backend($one->{pid}, 60000)");
		is(one($node, "SELECT state FROM loader.jobs WHERE package_id = $id"), 'new', "$how: the job is to do");
	}
	elsif ($how eq 'loader_cancel')
	{
		is(one($node, "SELECT loader_cancel($id)"), 't', "$how: asked to stop");
		$holder->query('ROLLBACK');
		like($one->answer, qr/57014.*has ended/, "$how: the job sees it before it commits");
		is(one($node, "SELECT count(*) FROM $dataset.items"), 0, "$how: nothing is there");
		like($again->query(file_load($dataset, $schema, $load, $file)), qr/57014.*was cancelled/, "$how: no job of it is loaded");
		is(one($node, "SELECT loader_resume($id)"), 't', "$how: until it is resumed");
	}
	else
	{
		# its backend is still at work, and does not know
		$one->{run}->signal('KILL');
	}
	$again = LoaderCrash->new($node);
	$again->send(file_load($dataset, $schema, $load, $file));
	waits_for_lock($again, "$how: a client that comes again waits") if $how eq 'the client goes';
	$holder->query('ROLLBACK') unless $how eq 'loader_cancel';
	like($again->answer, qr/\|completed$/, "$how: loaded when it comes again");
	is(one($node, "SELECT count(*), count(DISTINCT id) FROM $dataset.items"), '3|3', "$how: once");
	is(one($node, "SELECT count(*) FROM loader.jobs WHERE package_id = $id"), 1, "$how: as one job");
	$_->quit for $holder, $one, $again;
}

# --- staged, and then the server dies, or somebody else comes ---------------------------------------

{
	my ($dir, $schema, $load, @file) = files(rows => [map { [$_, "n$_"] } 1 .. 4], jobs => 2, disposition => 'merge');

	storage('staged', $schema);
	staging('staged', $schema);
	my $session = LoaderCrash->new($node);
	$session->query(file_load('staged', $schema, $load, $file[0], ', staging => true'));
	power_cut($node);
	$session = LoaderCrash->new($node);
	for my $file (@file)
	{
		like($session->query(file_load('staged', $schema, $load, $file, ', staging => true')), qr/\|completed$/, 'staged, and not again after a crash');
	}
	is(one($node, 'SELECT count(*) FROM staged_staging.items'), 4, 'all rows are staged once');
	my $follow = one($node, "SELECT content FROM loader_create_table_chain_completed_followup_jobs('staged', $schema, '$load', 'items')");
	is($session->query($follow), '', 'merged');
	is($session->query($follow), '', 'and only once');
	is(one($node, 'SELECT count(*) FROM staged.items'), 4, 'rows are there');
	is(one($node, 'SELECT count(*) FROM staged._dlt_loads'), 0, 'and do not count yet');

	# a client that stages and goes; a package takes its place
	my ($gone_dir, $gone_schema, $gone_load, $gone_file) = files(rows => [[1, 'gone']], disposition => 'merge');
	is(one($node, "SELECT loader_complete_load('staged', $schema, '$load') IS NOT NULL"), 't', 'complete');
	$session->query(file_load('staged', $gone_schema, $gone_load, $gone_file, ', staging => true'));
	my $package = make_package(load_id => '1700000000.' . $load_id++, tables => [{name => 'items', columns => \@keys, disposition => 'merge', rows => [[2, 'package']]}]);
	is(load($node, $package, 'staged'), 'loaded', 'a package is not held up by a client that has gone');
	is(one($node, "SELECT string_agg(name, ' ' ORDER BY id) FROM staged.items"), 'n1 package n3 n4', 'and merges its own rows only');
	$follow = one($node, "SELECT content FROM loader_create_table_chain_completed_followup_jobs('staged', $gone_schema, '$gone_load', 'items')");
	is($session->query($follow), '', 'the client that comes back has its rows staged again, and merged');
	is(one($node, "SELECT string_agg(name, ' ' ORDER BY id) FROM staged.items"), 'gone package n3 n4', 'to the same end');
	is(one($node, "SELECT count(*) FROM loader.jobs JOIN loader.packages p USING (package_id) WHERE load_id = '$gone_load' AND jobs.state <> 'completed'"), 0, 'all its jobs are completed');

	# two clients at once, file by file; each has staged what the other one empties
	my ($a_dir, $a_schema, $a_load, @a) = files(rows => [map { [$_, "a$_"] } 11 .. 14], jobs => 2, disposition => 'merge');
	my ($b_dir, $b_schema, $b_load, @b) = files(rows => [map { [$_, "b$_"] } 15 .. 18], jobs => 2, disposition => 'merge');
	for my $n (0, 1)
	{
		like($session->query(file_load('staged', $a_schema, $a_load, $a[$n], ', staging => true')), qr/\|completed$/, 'one stages');
		like($session->query(file_load('staged', $b_schema, $b_load, $b[$n], ', staging => true')), qr/\|completed$/, 'and so does the other');
	}
	for (["$a_schema, '$a_load'"], ["$b_schema, '$b_load'"])
	{
		my $statement = one($node, "SELECT content FROM loader_create_table_chain_completed_followup_jobs('staged', $_->[0], 'items')");
		is($session->query($statement), '', 'merged');
	}
	is(one($node, "SELECT string_agg(name, ' ' ORDER BY id) FROM staged.items WHERE id > 10"), 'a11 a12 a13 a14 b15 b16 b17 b18', 'rows of both, once');

	# the file is not there any more
	my ($lost_dir, $lost_schema, $lost_load, $lost_file) = files(rows => [[1, 'lost']], disposition => 'merge');
	$session->query(file_load('staged', $lost_schema, $lost_load, $lost_file, ', staging => true'));
	one($node, "SELECT loader_initialize_storage('staged', ARRAY['items'], staging => true)");
	rename $lost_file, "$lost_file.gone" or die $!;
	$follow = one($node, "SELECT content FROM loader_create_table_chain_completed_followup_jobs('staged', $lost_schema, '$lost_load', 'items')");
	like($session->query($follow), qr/58P01.*does not exist/, 'rows whose file has gone are missed');
	is(one($node, "SELECT name FROM staged.items WHERE id = 1"), 'gone', 'and nothing else is merged');
	$session->quit;
}

# --- somebody takes the staging table over while we wait for its lock --------------------------------

{
	my ($dir, $schema, $load, @file) = files(rows => [map { [$_, "n$_"] } 1 .. 4], jobs => 2, disposition => 'merge');
	my ($taker, $one) = map { LoaderCrash->new($node) } 1 .. 2;
	my $take = "BEGIN; SELECT loader_initialize_storage('taken', ARRAY['items'], staging => true)";
	my $staged = ', staging => true';

	storage('taken', $schema);
	staging('taken', $schema);
	$one->query(file_load('taken', $schema, $load, $file[0], $staged));
	my $follow = one($node, "SELECT content FROM loader_create_table_chain_completed_followup_jobs('taken', $schema, '$load', 'items')");
	$taker->query($take);
	$one->send($follow);
	waits_for_lock($one, 'what follows for a chain waits');
	$taker->query('COMMIT');
	like($one->answer, qr/40001/, 'and does not merge what is no longer there');
	is($one->query($follow), '', 'when it comes again it stages that anew');
	is(one($node, 'SELECT count(*) FROM taken.items'), 2, 'and merges it');

	($dir, $schema, $load, @file) = files(rows => [map { [$_, "n$_"] } 1 .. 4], jobs => 2, disposition => 'merge');
	$follow = one($node, "SELECT content FROM loader_create_table_chain_completed_followup_jobs('taken', $schema, '$load', 'items')");
	for my $call (file_load('taken', $schema, $load, $file[1], $staged),
		"CALL loader_start_file_load('taken', $schema, '$load', 'items.s.0.model', statement => 'INSERT INTO taken_staging.items SELECT 9', staging => true, package_id => NULL, state => NULL)")
	{
		$one->query(file_load('taken', $schema, $load, $file[0], $staged));
		$taker->query($take);
		$one->send($call);
		waits_for_lock($one, 'a job waits');
		$taker->query('COMMIT');
		like($one->answer, qr/40001.*is not the package's any more/, 'and puts no rows into a table that is not its own');
		is(one($node, 'SELECT count(*) FROM taken_staging.items'), 0, 'none');
	}

	# cancelled and resumed while a job runs: the next one has the table anew, and waits for the other
	my $two = LoaderCrash->new($node);
	my $id = one($node, "SELECT package_id FROM loader.packages WHERE load_id = '$load'");
	my $call = "CALL loader_start_file_load('taken', $schema, '$load', 'items.%s.0.model', statement => 'INSERT INTO taken_staging.items SELECT %s FROM pg_advisory_xact_lock_shared(%s)', staging => true, package_id => NULL, state => NULL)";
	$taker->query('SELECT pg_advisory_lock(38)');
	$one->send(sprintf $call, 'x', 7, 38);
	waits_for_lock($one, 'a job runs');
	is(one($node, "SELECT loader_cancel($id), loader_resume($id)"), 't|t', 'cancelled and resumed');
	$two->send(sprintf $call, 'y', 8, 39);
	waits_for_lock($two, 'the next one waits');
	$taker->query('SELECT pg_advisory_unlock(38)');
	like($one->answer, qr/40001.*is not the package's any more/, 'the first one ends, and has lost its table');
	like($two->answer, qr/\|completed$/, 'the second has it');
	like($one->query(sprintf $call, 'x', 7, 38), qr/\|completed$/, 'the first comes again');
	is(one($node, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM taken_staging.items"), '7 8', 'rows of both are there');
	$two->quit;
	for my $file (@file)
	{
		like($one->query(file_load('taken', $schema, $load, $file, $staged)), qr/\|completed$/, 'sent again');
	}
	like($one->query("CALL loader_start_file_load('taken', $schema, '$load', 'items.s.1.model', statement => 'INSERT INTO taken_staging.items SELECT 9', staging => true, package_id => NULL, state => NULL)"), qr/\|completed$/, 'also the statement');
	is($one->query($follow), '', 'merged');
	is(one($node, 'SELECT count(*), count(DISTINCT id) FROM taken.items'), '7|7', 'all rows, once');
	$_->quit for $taker, $one;
}

# --- under another isolation level ------------------------------------------------------------------

{
	my ($dir, $schema, $load, @file) = files(rows => [map { [$_, "n$_"] } 1 .. 2], jobs => 2);
	my ($holder, $one, $two) = map { LoaderCrash->new($node) } 1 .. 3;

	storage('isolated', $schema);
	$_->query("SET default_transaction_isolation = 'repeatable read'") for $one, $two;
	$one->query(file_load('isolated', $schema, $load, $file[0]));
	# both wait to enter a job, and have their snapshots
	$holder->query("BEGIN; UPDATE loader.package SET wanted = wanted WHERE load_id = '$load'");
	$one->send("CALL loader_start_file_load('isolated', $schema, '$load', 'items.x.0.model', statement => 'INSERT INTO isolated.items SELECT 3', package_id => NULL, state => NULL)");
	waits_for_lock($one, 'one waits to enter a job');
	$two->send(file_load('isolated', $schema, $load, $file[1]));
	waits_for_lock($two, 'and another one');
	$holder->query('ROLLBACK');
	like($one->answer, qr/\|completed$/, 'the first one enters it');
	like($two->answer, qr/\|completed$/, 'and so does the other');
	is(one($node, 'SELECT count(*) FROM isolated.items'), 3, 'rows of all are there');
	$_->quit for $holder, $one, $two;
}

is(nothing_runs($node), 0, 'no lock of ours is left');
done_testing();
