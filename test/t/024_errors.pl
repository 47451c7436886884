# test/t/024_errors.pl: what goes wrong, what is tried again, what is said, and what is left behind.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IO::Compress::Gzip ();
use LoaderCrash;
use LoaderTest;
use Test::More;

my $node = new_node('main', "loader.retry_delay = '50ms'");
my $n = 0;

# A dataset with table items, of keys -9 to 0.
sub dataset
{
	my $dataset = 'd' . ++$n;

	load($node, items_package(-9, 0), $dataset) eq 'loaded' or die 'table';
	return $dataset;
}

sub start_sql
{
	my ($path, $dataset, $more) = @_;

	return 'SELECT loader_start(' . quote_literal($path) . ", '$dataset'" . ($more ? ", $more" : '') . ')';
}

sub register
{
	my ($path, $dataset) = @_;

	return one($node, 'SELECT loader_register(' . quote_literal($path) . ", '$dataset')");
}

sub package_of
{
	my ($id, $columns) = @_;

	return one($node, "SELECT $columns FROM loader.packages WHERE package_id = $id");
}

sub events_of
{
	my ($id, $kind) = @_;

	return one($node, "SELECT detail FROM loader.events WHERE package_id = $id AND kind = '$kind' ORDER BY event_id");
}

sub hold
{
	my ($dataset, $key) = @_;
	my $holder = LoaderCrash->new($node);

	$holder->query("BEGIN; INSERT INTO $dataset.items (id, _dlt_id) VALUES (0, 'key$key')");
	return $holder;
}

# --- what is tried again --------------------------------------------------------------------------------------

# A lock on the table is waited for.
{
	my $dataset = dataset();
	my $holder = LoaderCrash->new($node);

	$holder->query("BEGIN; LOCK $dataset.items");
	my $id = start_package($node, items_package(1, 5), $dataset);
	wait_state($node, $id, 'loading');
	is(one($node, "SELECT loader_wait($id, '1s')"), 'loading', 'it waits for a lock on its table');
	$holder->quit;
	is(wait_package($node, $id), 'loaded', 'and loads when it gets it');
	is(events_of($id, 'retry'), '', 'that is not a retry');
	is(one($node, "SELECT jobs.retry_count FROM loader.jobs WHERE package_id = $id"), 0, 'nor counted as one');
}

# Until loader.lock_deadline.
{
	my $dataset = dataset();
	my $holder = LoaderCrash->new($node);

	$holder->query("BEGIN; LOCK $dataset.items IN SHARE MODE");
	my $id = one($node, "SET loader.lock_deadline = '100ms'; SET loader.retry_attempts = 2; " . start_sql(items_package(1, 5), $dataset));
	is(wait_package($node, $id), 'failed', 'until loader.lock_deadline');
	is(package_of($id, 'sqlstate, message, hint'),
		'55P03|could not get the locks of the package within loader.lock_deadline|loader_plan() shows who holds it.', 'and says so');
	like(package_of($id, 'detail'), qr/"items"/, 'and for which table');
	is(events_of($id, 'retry') =~ s/.*55P03: could not get the locks.*/retry/gr, "retry\nretry", 'after as many tries as loader.retry_attempts says');
	$holder->quit;
	is(one($node, "SELECT loader_resume($id)"), 't', 'resumed');
	is(wait_package($node, $id), 'loaded', 'it loads');
}

# A row of another session: tried again, and seen to be.
{
	my $dataset = dataset();
	my $holder = hold($dataset, 3);
	my $id = one($node, "SET loader.lock_deadline = '100ms'; SET loader.retry_attempts = 1000; SET loader.retry_delay = '1h'; "
		. start_sql(items_package(1, 5), $dataset));

	wait_for($node, "SELECT state, retry_count, sqlstate FROM loader.jobs WHERE package_id = $id", 'retry|1|55P03');
	wait_phase($node, $id, 'waiting to retry');
	pass('the package waits');
	is(package_of($id, 'state'), 'loading', 'it is loading');
	like(events_of($id, 'retry'), qr/^55P03: /, 'the event');
	is(one($node, "SELECT loader_cancel($id)"), 't', 'cancelled while it waits');
	is(wait_package($node, $id), 'cancelled', 'at once');
	$holder->quit;
	is(one($node, "SELECT count(*) FROM $dataset.items"), 10, 'nothing is loaded');
	is(one($node, "SELECT loader_resume($id)"), 't', 'resumed');
	is(wait_package($node, $id), 'loaded', 'it loads');
	is(one($node, "SELECT state, sqlstate IS NULL, exception IS NULL FROM loader.jobs WHERE package_id = $id"), 'completed|t|t', 'no error is left');
}

# A deadlock with another session, which has ours as its victim: it waits for us first, and does not look
# for deadlocks.
{
	my $dataset = dataset();
	my $gate = LoaderCrash->new($node);

	one($node, "CREATE FUNCTION $dataset.pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(24); RETURN NEW; END';
		CREATE TRIGGER gate BEFORE INSERT ON $dataset.items FOR EACH ROW WHEN (NEW._dlt_id = 'key2') EXECUTE FUNCTION $dataset.pass()");
	$gate->query('SELECT pg_advisory_lock(24)');
	my $holder = hold($dataset, 3);
	my $id = start_package($node, items_package(1, 5), $dataset);
	wait_for($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 24 AND NOT granted", 1);
	$holder->query("SET deadlock_timeout = '1h'");
	$holder->send("INSERT INTO $dataset.items (id, _dlt_id) VALUES (0, 'key1')");
	wait_for($node, "SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE pid = $holder->{pid}", 'Lock|transactionid');
	$gate->quit;
	is($holder->answer, '', 'the other session gets the row');
	$holder->query('ROLLBACK');
	is(wait_package($node, $id), 'loaded', 'the package is tried again');
	like(events_of($id, 'retry'), qr/^40P01: deadlock detected$/, 'after a deadlock');
	is(one($node, "SELECT count(*), count(DISTINCT id) FROM $dataset.items"), '15|15', 'all rows, once');
	$holder->quit;
}

# --- what is not ------------------------------------------------------------------------------------------------

my %file = (
	csv => sub { join('', map { join(',', map { defined $_ ? qq{"$_"} : '' } @$_) . "\n" } ['id', 'name', '_dlt_id'], @_) },
	jsonl => sub {
		join('', map { my $r = $_; '{' . join(',', map { '"' . ('id', 'name', '_dlt_id')[$_] . '":' . (!defined $r->[$_] ? 'null'
			: $r->[$_] =~ /^\d+$/ ? $r->[$_] : qq{"$r->[$_]"}) } 0 .. 2) . "}\n" } @_)
	},
	insert_values => sub {
		qq{INSERT INTO {}("id","name","_dlt_id")\nVALUES\n} . join(",\n", map { '(' . join(',', map { !defined $_ ? 'NULL'
			: /^\d+$/ ? $_ : "E'$_'" } @$_) . ')' } @_) . ';'
	});
my %first_line = (csv => 2, jsonl => 1, insert_values => 3);
my @good = ([1, 'a', 'key1'], [2, 'b', 'key2']);
my $dataset = dataset();

one($node, "ALTER TABLE $dataset.items ADD CHECK (id < 1000)");
for my $format (sort keys %file)
{
	my $line = $first_line{$format} + 2;
	my $file = qr/File "items\.\w+\.0\.$format", line/;
	my @case = (
		['not a number', ['12x', 'c', 'key3'], '22P02', qr/"12x"/, qr/^$file $line, column "id", value "12x"\./],
		['number too large', ['99999999999999999999', 'c', 'key3'], '22003', qr/99999999999999999999/,
			qr/^$file $line, column "id", value "99999999999999999999"\./],
		['not null', [3, 'c', undef], '23502', qr/null value in column "_dlt_id" of relation "items" violates not-null constraint/, qr/^$file $line\b/],
		['unique among the live rows', [3, 'c', 'key-1'], '23505', qr/duplicate key value violates unique constraint/, qr/^$file $line\b.*Key \(_dlt_id\)=\(key-1\) already exists/],
		['unique in the file', [3, 'c', 'key1'], '23505', qr/duplicate key value violates unique constraint/, qr/^$file $line\b/],
		['check', [1000, 'c', 'key3'], '23514', qr/violates check constraint "items_id_check"/, qr/^$file $line\b/]);

	for my $case (@case)
	{
		my ($what, $row, $sqlstate, $message, $detail) = @$case;

		# nothing between two commas is an empty string for a text column that cannot be NULL
		next if $format eq 'csv' && $what eq 'not null';
		my $path = items_package(1, 1, format => $format, file => $file{$format}->(@good, $row, [4, 'd', 'key4']));
		my $id = start_package($node, $path, $dataset);

		is(wait_package($node, $id), 'failed', "$format, $what: failed");
		is(package_of($id, 'sqlstate, attempts'), "$sqlstate|1", "$format, $what: SQLSTATE, and not tried again");
		like(package_of($id, 'message'), $message, "$format, $what: message");
		like(package_of($id, 'detail'), $detail, "$format, $what: place");
		is(one($node, "SELECT state, j.sqlstate, exception = message || E'\\n' || detail FROM loader.jobs j JOIN loader.packages p USING (package_id)
			WHERE package_id = $id" =~ s/SELECT state/SELECT j.state/r), "failed|$sqlstate|t", "$format, $what: the job has it, too");
		is(events_of($id, 'retry'), '', "$format, $what: no retry");
		one($node, "SELECT loader_forget($id)");
	}
	is(one($node, "SELECT count(*) FROM $dataset.items"), 10, "$format: nothing is loaded");
}

# --- files that are not what they were ----------------------------------------------------------------------

$dataset = dataset();
{
	my %change = (
		'written to' => sub { open(my $fh, '>>', $_[0]) or die; print $fh ' '; close $fh },
		'cut short' => sub { truncate($_[0], 20) or die },
		'replaced' => sub { spew("$_[0].new", slurp($_[0])); rename("$_[0].new", $_[0]) or die },
		'touched' => sub { utime(1, 1, $_[0]) or die },
		'gone' => sub { unlink($_[0]) or die });
	my $key = 100;

	for my $what (sort keys %change)
	{
		my $path = items_package($key += 10, $key + 2);
		my ($file) = glob("$path/new_jobs/*");
		my $bytes = slurp($file);
		my $id = register($path, $dataset);

		$change{$what}->($file);
		one($node, "SELECT loader_start($id)");
		is(wait_package($node, $id), 'failed', "file $what: failed");
		is(package_of($id, 'sqlstate, message'), $what eq 'gone' ? '55000|file has gone since the package was registered'
			: '55000|file was changed after it was registered', "file $what: and says so");
		like(package_of($id, 'detail'), qr/^File ".*items\.0000000001\.0\.insert_values"/, "file $what: which one");
		spew($file, $bytes);
		is(one($node, "SELECT loader_resume($id)"), 't', "file $what: mended and resumed");
		is(wait_package($node, $id), 'failed', "file $what: it is not the file that was registered");
		my ($rc, $again, $said) = try_psql($node, start_sql($path, $dataset));
		is($again, $id, "file $what: started by its source");
		like($said, qr/NOTICE:  00000: package ".*" failed before and is registered anew/, "file $what: it is registered anew");
		is(wait_package($node, $id), 'loaded', "file $what: and loads");
	}
	is(one($node, "SELECT count(*), count(DISTINCT id) FROM $dataset.items WHERE id > 100"), '15|15', 'all rows, once');
}

# The schema, too.
{
	my $path = items_package(201, 202);
	my $id = register($path, $dataset);

	spew("$path/schema.json", slurp("$path/schema.json"));
	one($node, "SELECT loader_start($id)");
	is(wait_package($node, $id), 'failed', 'schema written anew: failed');
	is(package_of($id, 'sqlstate, message'), '55000|file is not the one that was registered', 'and says so');
	like(package_of($id, 'detail'), qr/^File ".*schema\.json"/, 'which file');
	one($node, "SELECT loader_forget($id)");
}

# While it is read: the worker is held at a row of the first batch, the file is much longer.
for my $what ('longer', 'longer by half a row', 'shorter')
{
	my $rows = join('', map { sprintf qq{%d,"%s","key%d"\n}, $_, 'x' x 1000, $_ } 300 .. 3000);
	my $path = items_package(1, 1, format => 'csv', file => qq{"id","name","_dlt_id"\n$rows});
	my ($file) = glob("$path/new_jobs/*");
	my $holder = hold($dataset, 300);
	# else all of the file is read before an index is asked
	my $id = start_package($node, $path, $dataset, settings => {'loader.index_memory' => 0});

	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator' AND wait_event_type = 'Lock'", 1);
	if ($what eq 'shorter')
	{
		truncate($file, length($rows) - 100_000) or die $!;
	}
	else
	{
		open(my $fh, '>>', $file) or die $!;
		print $fh $what eq 'longer' ? qq{3001,"x","key3001"\n} : '3001,"x';
		close $fh;
	}
	$holder->quit;
	is(wait_package($node, $id), 'failed', "file $what while it is read: failed");
	like(package_of($id, "sqlstate || ' ' || message"), qr/^55000 file was changed after it was registered/, "$what: and says so");
	is(one($node, "SELECT count(*) FROM $dataset.items WHERE id BETWEEN 300 AND 4000"), 0, "$what: nothing is loaded");
	one($node, "SELECT loader_forget($id)");
}

# Compressed files that are damaged.
{
	my $text = $file{csv}->(map { [$_, "name $_", "key$_"] } 300 .. 3000);
	my $packed;

	IO::Compress::Gzip::gzip(\$text => \$packed) or die 'gzip';
	my %damage = (
		'cut short' => substr($packed, 0, length($packed) / 2),
		'of wrong check sum' => substr($packed, 0, -8) . "\0\0\0\0" . substr($packed, -4),
		'with rubbish in it' => substr($packed, 0, 1000) . ("\xff" x 100) . substr($packed, 1100),
		'with rubbish behind it' => $packed . 'rubbish');

	for my $what (sort keys %damage)
	{
		my $path = items_package(1, 1, format => 'csv', file => $damage{$what});
		my ($file) = glob("$path/new_jobs/*");

		rename($file, "$file.gz") or die $!;
		my $id = start_package($node, $path, $dataset);
		is(wait_package($node, $id), 'failed', "gzip file $what: failed");
		is(package_of($id, 'sqlstate'), 'XX001', "gzip file $what: as damaged");
		like(package_of($id, 'detail'), qr/items\.0000000001\.0\.csv\.gz/, "gzip file $what: which one");
		is(events_of($id, 'retry'), '', "gzip file $what: not tried again");
		is(one($node, "SELECT count(*) FROM $dataset.items WHERE id BETWEEN 300 AND 4000"), 0, "gzip file $what: nothing is loaded");
		one($node, "SELECT loader_forget($id)");
	}
	my $path = items_package(1, 1, format => 'csv', file => $packed);
	my ($file) = glob("$path/new_jobs/*");
	rename($file, "$file.gz") or die $!;
	is(load($node, $path, $dataset), 'loaded', 'the same file undamaged loads');
	is(one($node, "SELECT count(*) FROM $dataset.items WHERE id BETWEEN 300 AND 4000"), 2701, 'all of it');
}

# --- all or nothing ---------------------------------------------------------------------------------------------

sub two_tables
{
	my ($from, $last) = @_;
	my @key = ('_dlt_id' => 'text', {nullable => JSON::PP::false, unique => JSON::PP::true, row_key => JSON::PP::true});

	return make_package(tables => [
		{name => 'items', columns => [[id => 'bigint'], [name => 'text'], [more => 'text'], [@key]],
			rows => [map { [$_, 'n', 'm', "key$_"] } $from .. $from + 5], jobs => 2},
		{name => 'other', columns => [[id => 'bigint'], [@key]], rows => [map { [$_, "key$_"] } $from .. $from + 4], jobs => 1},
		{name => 'zzz', columns => [[id => 'bigint'], [@key]], rows => [[1, 'key1'], [$last, 'key2']]}]);
}

{
	my $dataset = dataset();
	my $path = two_tables(1, "'bad'");
	my ($file) = glob("$path/new_jobs/zzz*");
	my $id = start_package($node, $path, $dataset);

	is(wait_package($node, $id), 'failed', 'the last file of a package is bad');
	is(one($node, "SELECT count(*) FROM $dataset.items"), 10, 'the first is not loaded');
	is(one($node, "SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_tables WHERE schemaname = '$dataset'"), '_dlt_loads,_dlt_version,items', 'there is no new table');
	is(one($node, "SELECT (SELECT count(*) FROM $dataset._dlt_loads), (SELECT count(*) FROM $dataset._dlt_version)"), '1|1', 'nor a record of it');
	is(one($node, "SELECT attnotnull FROM pg_attribute WHERE attrelid = '$dataset.items'::regclass AND attname = 'more'"), 'f', 'but the new column');
	like(events_of($id, 'add column'), qr/ALTER TABLE/, 'which is recorded');
	is(one($node, "SELECT string_agg(state, ',' ORDER BY state), count(*) FROM loader.jobs WHERE package_id = $id"), 'failed,new,new,new|4', 'one job failed');
	spew($file, slurp($file) =~ s/'bad'/3/r);
	is(one($node, start_sql($path, $dataset)), $id, 'mended and started');
	is(wait_package($node, $id), 'loaded', 'it loads');
	is(one($node, "SELECT (SELECT count(*) FROM $dataset.items), (SELECT count(*) FROM $dataset.other), (SELECT count(*) FROM $dataset.zzz)"), '16|5|2', 'all of it');
}

# --- each job by itself ------------------------------------------------------------------------------------------

for my $mend ('resume', 'start', 'start as atomic')
{
	my $dataset = dataset();
	my $path = two_tables(1, $mend eq 'resume' ? 3 : "'bad'");
	my ($file) = glob("$path/new_jobs/zzz*");
	my $id;

	if ($mend eq 'resume')
	{
		# the data is right, the table is not
		one($node, "CREATE TABLE $dataset.zzz (id bigint CHECK (id <> 3), _dlt_id text NOT NULL UNIQUE)");
	}
	$id = start_package($node, $path, $dataset, arguments => {atomic => 'false'});
	is(wait_package($node, $id), 'failed', "jobs, $mend: one of them is bad");
	is(package_of($id, 'sqlstate, message'), '22000|1 job of the package failed', "$mend: the package says so");
	is(package_of($id, 'hint'), 'See loader.jobs for their errors; loader_resume runs the failed jobs again.', "$mend: and what to do");
	is(one($node, "SELECT string_agg(state, ',' ORDER BY state), count(*) FROM loader.jobs WHERE package_id = $id"), 'completed,completed,completed,failed|4', "$mend: the others are loaded");
	is(one($node, "SELECT (SELECT count(*) FROM $dataset.items), (SELECT count(*) FROM $dataset.other), (SELECT count(*) FROM $dataset.zzz)"), '16|5|0', "$mend: their rows are in");
	is(one($node, "SELECT count(*) FROM $dataset._dlt_loads"), 1, "$mend: but not the record");
	if ($mend eq 'resume')
	{
		one($node, "ALTER TABLE $dataset.zzz DROP CONSTRAINT zzz_id_check");
		is(one($node, "SELECT loader_resume($id)"), 't', "$mend: resumed");
	}
	else
	{
		spew($file, slurp($file) =~ s/'bad'/3/r);
		is(one($node, start_sql($path, $dataset, 'atomic => ' . ($mend eq 'start' ? 'false' : 'true'))), $id, "$mend: started");
	}
	is(wait_package($node, $id), 'loaded', "$mend: then it loads");
	is(one($node, "SELECT (SELECT count(*) FROM $dataset.items), (SELECT count(*) FROM $dataset.other), (SELECT count(*) FROM $dataset.zzz)"), '16|5|2', "$mend: each job once");
	is(one($node, "SELECT count(*) FROM $dataset._dlt_loads"), 2, "$mend: and the record");
	is(package_of($id, 'jobs, completed_jobs, failed_jobs'), '4|4|0', "$mend: four jobs");
	is(one($node, "SELECT string_agg(table_name || ' ' || rows_inserted, ',' ORDER BY table_name) FROM loader.tables WHERE package_id = $id"),
		'items 6,other 5,zzz 2', "$mend: what it did to each table");
}

{
	my $dataset = dataset();
	my $id = start_package($node, two_tables(1, "'bad'"), $dataset, arguments => {atomic => 'false', complete_with_failed_jobs => 'true'});

	is(wait_package($node, $id), 'loaded', 'complete_with_failed_jobs');
	is(one($node, "SELECT string_agg(state, ',' ORDER BY state) FROM loader.jobs WHERE package_id = $id"), 'completed,completed,completed,failed', 'with a failed job');
	is(package_of($id, 'jobs, completed_jobs, failed_jobs'), '4|3|1', 'which is counted');
	is(one($node, "SELECT state, exception ~ 'line' FROM loader_job($id, (SELECT job_id FROM loader.jobs WHERE package_id = $id AND state = 'failed'))"), 'failed|t', 'and has its exception');
	is(one($node, "SELECT count(*) FROM $dataset._dlt_loads"), 2, 'the load is recorded');
}

# --- cancel --------------------------------------------------------------------------------------------------------

{
	my $dataset = dataset();
	my $holder = LoaderCrash->new($node);
	my $rows = 0;
	# a job of 50000 rows takes minutes, a batch of them, after which the worker looks, seconds
	my $slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END'";
	my %hold = (
		registered => sub { register($_[0], $dataset) },
		'waiting in the queue' => sub {
			$holder->query("BEGIN; LOCK $dataset.items");
			start_package($node, items_package(901, 902), $dataset);
			return start_package($node, $_[0], $dataset);
		},
		migrate => sub {
			$holder->query("BEGIN; SELECT FROM $dataset.items");
			my $id = start_package($node, $_[0], $dataset);
			wait_phase($node, $id, 'waiting for locks');
			return $id;
		},
		'waiting for a table' => sub {
			$holder->query("BEGIN; LOCK $dataset.items IN SHARE MODE");
			my $id = start_package($node, $_[0], $dataset);
			wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator' AND wait_event_type = 'Lock'", 1);
			return $id;
		},
		loading => sub {
			one($node, "$slow; CREATE TRIGGER slow BEFORE INSERT ON $dataset.items FOR EACH ROW EXECUTE FUNCTION slow()");
			my $id = start_package($node, items_package(1000, 51000), $dataset);
			wait_for($node, "SELECT rows_read > 100 FROM loader.progress WHERE package_id = $id");
			return $id;
		},
		publishing => sub {
			$holder->query("BEGIN; LOCK $dataset._dlt_loads IN SHARE MODE");
			my $id = start_package($node, $_[0], $dataset);
			wait_phase($node, $id, 'publishing');
			return $id;
		});

	for my $state ('registered', 'waiting in the queue', 'migrate', 'waiting for a table', 'publishing', 'loading')
	{
		my $path = items_package(++$rows * 10, $rows * 10 + 2, $state eq 'migrate' ? (more => [["c$rows" => 'text']]) : ());
		my $id = $hold{$state}->($path);

		is(one($node, "BEGIN; SELECT loader_cancel($id); ROLLBACK"), 't', "cancel, $state: rolled back");
		isnt(package_of($id, 'state'), 'cancelled', "$state: then it is not cancelled");
		is(one($node, "SELECT loader_cancel($id)"), 't', "$state: cancelled");
		$holder->query('ROLLBACK') if $state eq 'publishing';
		is(one($node, "SELECT loader_wait($id, '60s')"), 'cancelled', "$state: without waiting for what holds it");
		is(one($node, "SELECT loader_cancel($id)"), 'f', "$state: twice");
		$holder->query('ROLLBACK');
		wait_for($node, "SELECT count(*) FROM loader.packages WHERE dataset = '$dataset' AND state IN ('new', 'loading')", 0);
		is(one($node, "SELECT count(*) FROM $dataset.items WHERE id BETWEEN 10 AND 900 OR id >= 1000"), 0, "$state: none of its rows is there");
		is(one($node, "SELECT count(*) FROM $dataset._dlt_loads JOIN loader.packages USING (load_id) WHERE package_id = $id"), 0, "$state: nor a record");
		is(nothing_runs($node), 0, "$state: nothing is left");
	}
	one($node, "DROP TRIGGER slow ON $dataset.items; DROP FUNCTION slow()");
	my $id = start_package($node, items_package(5000, 5001), $dataset);
	is(wait_package($node, $id), 'loaded', 'cancelled ones hold nobody back');
	is(one($node, "SELECT loader_cancel($id)"), 'f', 'what is loaded cannot be cancelled');
	is(error_of($node, 'SELECT loader_cancel(999999)')->{sqlstate}, '42704', 'nor what is not there');
	$id = one($node, "SELECT package_id FROM loader.packages WHERE dataset = '$dataset' AND state = 'cancelled' ORDER BY 1 LIMIT 1");
	is(one($node, "SELECT loader_resume($id)"), 't', 'a cancelled one can be resumed');
	is(wait_package($node, $id), 'loaded', 'and loads');
	is(one($node, "SELECT loader_resume($id)"), 'f', 'once');
	is(error_of($node, 'SELECT loader_resume(999999)')->{sqlstate}, '42704', 'what is not there cannot');

	# a job worker stops, too
	one($node, "$slow; CREATE TRIGGER slow BEFORE INSERT ON $dataset.items FOR EACH ROW EXECUTE FUNCTION slow()");
	$id = start_package($node, items_package(100000, 199999, jobs => 2), $dataset, arguments => {atomic => 'false', workers => 2});
	wait_for($node, "SELECT rows_read > 100 FROM loader.progress WHERE package_id = $id");
	my $error = error_of($node, "SELECT loader_forget($id)");
	is_deeply([@$error{qw(sqlstate message)}], ['55006', "package $id is being loaded"], 'what runs cannot be forgotten');
	is(one($node, "SELECT loader_cancel($id)"), 't', 'jobs: cancelled');
	is(one($node, "SELECT loader_wait($id, '60s')"), 'cancelled', 'jobs: at once');
	is(nothing_runs($node), 0, 'jobs: nothing is left');
	is(one($node, "SELECT count(*) FROM $dataset.items WHERE id >= 100000"), 0, 'jobs: none was completed');
	is(one($node, "SELECT loader_forget($id)"), 't', 'then it can');
	$holder->quit;
}

# --- seen while it runs ----------------------------------------------------------------------------------------------

{
	my $dataset = dataset();
	my $listener = LoaderCrash->new($node);
	my $holder = hold($dataset, 150);
	my $said = sub { join(',', $listener->query('SELECT') =~ /"loader" with payload "(.*)" received/g) };
	# a state can be seen a moment before others are told
	my $says = sub { my $text; wait_until('a NOTIFY', sub { $text = $said->() }); return $text };
	my $id;

	$listener->query('LISTEN loader');
	$id = start_package($node, items_package(1, 300, jobs => 3), $dataset);
	wait_for($node, "SELECT jobs_done FROM loader.progress WHERE package_id = $id", 1);
	is(one($node, "SELECT load_id = (SELECT load_id FROM loader.packages WHERE package_id = $id), dataset, phase, jobs_done, jobs_total FROM loader.progress"),
		"t|$dataset|loading|1|3", 'progress: who and where');
	is(one($node, 'SELECT bytes_total = (SELECT sum(bytes) FROM loader.jobs WHERE package_id = ' . $id . '), bytes_done BETWEEN 1 AND bytes_total, rows_read >= 100,
		percent BETWEEN 1 AND 99, length(bar), rows_per_second > 0, elapsed > \'0\', eta >= \'0\' FROM loader.progress'), 't|t|t|t|20|t|t|t', 'progress: how far');
	is(package_of($id, 'state, started, completed_jobs'), 'loading|t|0', 'the package loads');
	is(one($node, "SELECT string_agg(state, ',' ORDER BY job_id) FROM loader.jobs WHERE package_id = $id"), 'running,running,new', 'and the jobs run that its transaction has begun');
	is($said->(), '', 'no NOTIFY yet');
	$holder->query('ROLLBACK');
	is(wait_package($node, $id), 'loaded', 'loaded');
	is(one($node, 'SELECT count(*) FROM loader.progress'), 0, 'no more progress');
	is($says->(), "{\"package_id\": $id, \"state\": \"loaded\"}", 'NOTIFY: loaded');
	$id = start_package($node, items_package(301, 302, file => 'INSERT'), $dataset);
	is(wait_package($node, $id), 'failed', 'failed');
	is($says->(), "{\"package_id\": $id, \"state\": \"failed\"}", 'NOTIFY: failed');
	one($node, "SELECT loader_cancel($id)");
	is($says->(), "{\"package_id\": $id, \"state\": \"cancelled\"}", 'NOTIFY: cancelled');
	$holder->quit;
	$listener->quit;
}

is(nothing_runs($node), 0, 'nothing is left');
$node->stop;
done_testing();
