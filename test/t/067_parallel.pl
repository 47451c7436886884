# test/t/067_parallel.pl: files that several processes load: the same rows and the same errors as from one
# process, whatever happens to the workers.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderTest;
use Test::More;

my $node = new_node('main', "loader.min_parallel_file_size = 0\nloader.workers = 3\nloader.max_workers = 8\n"
	. "loader.storage_sink = on\nmax_worker_processes = 24\nmax_parallel_workers = 8\nloader.retry_delay = 10\nparallel_leader_participation = off");
my %serial = (settings => {'loader.workers' => 1});
my @columns = ([id => 'bigint'], [name => 'text'], [amount => 'decimal'], [at => 'timestamp'], [ok => 'bool'], [doc => 'text']);

one($node, 'CREATE EXTENSION amcheck');

# 60,000 rows are about 20 blocks. Some have quotes and ends of line in them, some NULLs.
sub row
{
	my ($id) = @_;
	my $name = $id % 97 == 0 ? "two\nlines, \"quoted\", it's $id" : $id % 11 == 0 ? undef : "name of row $id";

	return [$id, $name, "$id.25", '2024-02-' . sprintf('%02d', $id % 28 + 1) . ' 03:04:05', $id % 2 ? 'true' : 'false', 'x' x ($id % 50 + 1)];
}

sub package_of
{
	my ($format, $rows, %table) = @_;

	return make_package(format => $format, tables => [{name => 'items', columns => \@columns, rows => $rows, %table}]);
}

# What is in a table, and how many workers there were.
sub contents
{
	my ($dataset, $order) = @_;

	return one($node, "SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY $order)) FROM $dataset.items t");
}

sub workers
{
	return one($node, "SELECT detail FROM loader.events WHERE kind = 'parallel' AND package_id = (SELECT max(package_id) FROM loader.packages)");
}

sub sound
{
	my ($dataset) = @_;

	return one($node, "SELECT count(*) FROM verify_heapam('$dataset.items')");
}

# Does the leader work on blocks, too? It begins before its workers are there, so of a small file little is left to them.
sub leader_helps
{
	my ($on) = @_;

	one($node, "ALTER SYSTEM SET parallel_leader_participation = $on");
	one($node, 'SELECT pg_reload_conf()');
	wait_for($node, "SELECT current_setting('parallel_leader_participation') = '$on'");
	return;
}

my @rows = map { row($_) } 1 .. 60_000;

# --- the same rows -------------------------------------------------------------------------------

for my $format (qw(csv jsonl insert_values))
{
	my $path = package_of($format, \@rows);

	is(load($node, $path, "one_$format", %serial), 'loaded', "$format, one process");
	is(workers(), '', '... without workers');
	is(load($node, package_of($format, \@rows), "all_$format"), 'loaded', "$format, several");
	like(workers(), qr/^[1-3] parallel workers?$/, '... with workers');
	is(contents("all_$format", 'id'), contents("one_$format", 'id'), '... the same rows');
	is(sound("all_$format"), 0, '... the heap is sound');

	is(load($node, package_of($format, \@rows, disposition => 'replace'), "all_$format"), 'loaded', '... replaced');
	is(contents("all_$format", 'id'), contents("one_$format", 'id'), '... the same rows');
	is(sound("all_$format"), 0, '... sound again');
}

# --- rows that fit nowhere ----------------------------------------------------------------------

# Of some the document is put apart; that of row 30,000 is longer than a block, and so is that of the last.
{
	my @large = map { [@$_] } @rows;

	$large[$_ - 1][5] = join('', map { chr(97 + ($_ * 7919 + $_ * $_) % 26) } 1 .. 9000) for grep { $_ % 500 == 0 } 1 .. 60_000;
	$large[$_][5] = 'abc' x 400_000 for 29_999, 59_999;
	for my $format (qw(csv jsonl insert_values))
	{
		is(load($node, package_of($format, \@large), "large_one_$format", %serial), 'loaded', "$format with large rows, one process");
		is(load($node, package_of($format, \@large), "large_all_$format"), 'loaded', '... several');
		like(workers(), qr/parallel/, '... with workers');
		is(contents("large_all_$format", 'id'), contents("large_one_$format", 'id'), '... the same rows');
		is(sound("large_all_$format"), 0, '... sound');
	}
	leader_helps('on');
	for my $format (qw(csv jsonl insert_values))
	{
		is(load($node, package_of($format, \@large, disposition => 'replace'), "large_all_$format"), 'loaded', "$format with large rows, the leader helps");
		like(workers(), qr/^[12] parallel workers?$/, '... with workers');
		is(contents("large_all_$format", 'id'), contents("large_one_$format", 'id'), '... the same rows');
		is(sound("large_all_$format"), 0, '... sound');
	}
	leader_helps('off');
	# more of them in a block than there is room to note
	my @many = map { [$_, undef, 1, undef, undef, $_ x 900] } 10_000 .. 13_000;

	one($node, 'CREATE SCHEMA many; CREATE TABLE many.items (id bigint, name text, amount numeric(38,9), at timestamptz, ok boolean, doc text)');
	one($node, 'ALTER TABLE many.items ALTER doc SET STORAGE EXTERNAL');
	is(load($node, package_of('csv', \@many, disposition => 'replace'), 'many'), 'loaded', 'many large rows');
	is(one($node, 'SELECT count(*), sum(length(doc)), min(id), max(id) FROM many.items'), '3001|13504500|10000|13000', '... all are there');
}

# --- rows that may be refused ---------------------------------------------------------------------

# As long as none is, files are loaded as others are. The first bad one undoes that, and all is loaded by one process.
for my $format (qw(csv jsonl insert_values))
{
	my @bad = map { [@$_] } @rows;
	my $reject = "on_error => 'reject'";

	for my $disposition (qw(append replace))
	{
		my $name = "$format, $disposition";

		one($node, 'CALL loader_run(' . quote_literal(package_of($format, \@rows, disposition => $disposition)) . ", 'may_$format', $reject)");
		like(workers(), qr/^[1-3] parallel workers?$/, "$name, rows may be refused: with workers");
		is(contents("may_$format", 'id'), contents("one_$format", 'id'), '... the same rows');
		$bad[$_][3] = 'no time' for 777, 30_000;
		one($node, 'CALL loader_run(' . quote_literal(package_of($format, \@bad, disposition => $disposition)) . ", '${disposition}_$format', $reject)");
		is(workers(), '', "$name, two are refused: by one process");
		is(one($node, "SELECT count(*), count(DISTINCT id), sum(id) FROM ${disposition}_$format.items"), '59998|59998|' . (30_000 * 60_001 - 778 - 30_001), '... all others are there');
		is(one($node, 'SELECT string_agg(sqlstate || $$ $$ || column_name, $$, $$) FROM loader.rejects WHERE package_id = (SELECT max(package_id) FROM loader.packages)'),
			'22007 at, 22007 at', '... and they are set aside');
		is(sound("${disposition}_$format"), 0, '... the heap is sound');
	}
	one($node, "DROP SCHEMA may_$format, append_$format, replace_$format CASCADE");
}

# --- the first error is the one that is raised -----------------------------------------------------

sub bad_at
{
	my ($format, @bad) = @_;
	my @with = map { [@$_] } @rows;

	$with[$_][3] = 'no time' for @bad;
	return package_of($format, \@with);
}

for my $format (qw(csv jsonl))
{
	my $path = bad_at($format, 12_000, 30_000, 30_001, 59_000);
	my $alone = error_of($node, "SET loader.workers = 1; CALL loader_run('$path', dataset => 'bad')");

	is($alone->{sqlstate}, '22007', "$format with bad rows");
	one($node, 'SELECT loader_forget(max(package_id)) FROM loader.packages');
	for my $try (1 .. 6)
	{
		leader_helps('on') if $try == 4;
		my $e = error_of($node, "CALL loader_run('$path', dataset => 'bad')");

		is("$e->{sqlstate} $e->{message} $e->{detail}" =~ s/package \d+/package/r,
			"$alone->{sqlstate} $alone->{message} $alone->{detail}" =~ s/package \d+/package/r, "... the first, try $try");
		one($node, 'SELECT loader_forget(max(package_id)) FROM loader.packages');
	}
	leader_helps('off');
}

# What a worker says of a row is not mixed with the place of one that the leader has put by itself: of a row
# that is put apart, or that is longer than a block.
for ([4000, join('', map { chr(97 + ($_ * 7919 + $_ * $_) % 26) } 1 .. 9000)], [1000, 'abc' x 400_000])
{
	my ($bad, $doc) = @$_;
	my @with = map { [@$_] } @rows[0 .. 9_999];

	$with[10][5] = $doc;
	$with[$bad][3] = 'no time';
	my $path = package_of('csv', \@with);
	my $alone = error_of($node, "SET loader.workers = 1; CALL loader_run('$path', dataset => 'bad')");
	one($node, 'SELECT loader_forget(max(package_id)) FROM loader.packages');
	my $e = error_of($node, "CALL loader_run('$path', dataset => 'bad')");

	is($e->{detail}, $alone->{detail}, 'a bad row in the block behind a large one of ' . length($doc) . ' bytes');
	one($node, 'SELECT loader_forget(max(package_id)) FROM loader.packages');
}

# A file that ends in the middle: rows before it are read, and their errors come first.
{
	my $path = package_of('insert_values', \@rows);
	my ($file) = glob("$path/new_jobs/*");

	spew($file, substr(slurp($file), 0, 3_000_000));
	my $alone = error_of($node, "SET loader.workers = 1; CALL loader_run('$path', dataset => 'cut')");
	one($node, 'SELECT loader_forget(max(package_id)) FROM loader.packages');
	my $e = error_of($node, "CALL loader_run('$path', dataset => 'cut')");

	like($alone->{detail}, qr/line \d+/, 'a file that ends early');
	is($e->{detail}, $alone->{detail}, '... is refused at the same place');
	one($node, 'SELECT loader_forget(max(package_id)) FROM loader.packages');
}

# Other files that are damaged: packed and cut short; a row that is longer than a block, and has a field too many.
for my $damage ('packed, cut short', 'a long row')
{
	my @with = map { [@$_] } @rows;

	$with[40_000][5] = 'abc' x 400_000;
	my $path = package_of('csv', \@with);
	my ($file) = glob("$path/new_jobs/*");

	if ($damage eq 'a long row')
	{
		spew($file, slurp($file) =~ s/((?:abc){1000}"?)\n/$1,more\n/r);
	}
	else
	{
		system('gzip', '-1', $file) == 0 or die 'gzip';
		truncate("$file.gz", 0.7 * -s "$file.gz") or die $!;
	}
	my $alone = error_of($node, "SET loader.workers = 1; CALL loader_run('$path', dataset => 'cut')");
	one($node, 'SELECT loader_forget(max(package_id)) FROM loader.packages');
	my $e = error_of($node, "CALL loader_run('$path', dataset => 'cut')");

	is($alone->{sqlstate}, $damage eq 'a long row' ? '22P04' : 'XX001', "$damage: refused");
	is("$e->{sqlstate} $e->{message} $e->{detail}" =~ s/package \d+/package/r, "$alone->{sqlstate} $alone->{message} $alone->{detail}" =~ s/package \d+/package/r, '... at the same place');
	one($node, 'SELECT loader_forget(max(package_id)) FROM loader.packages');
}

# --- what runs in workers ----------------------------------------------------------------------

# A table to be replaced, with a constraint or default; it is not new, so its definition is ours.
sub with_table
{
	my ($dataset, $more) = @_;

	one($node, "CREATE SCHEMA $dataset; CREATE TABLE $dataset.items (id bigint, name text, amount numeric(38,9), at timestamptz, ok boolean, doc text, $more)");
	return load($node, package_of('csv', \@rows, disposition => 'replace'), $dataset);
}

is(with_table('safe', "CHECK (id > 0), extra int DEFAULT 7, total numeric GENERATED ALWAYS AS (amount * 2) STORED"), 'loaded', 'safe expressions');
like(workers(), qr/parallel/, '... run in workers');
is(one($node, 'SELECT count(*), sum(extra), sum(total - 2 * amount) FROM safe.items'), '60000|420000|0.000000000', '... and do what they do');

is(with_table('serial', 'extra bigserial'), 'loaded', 'a default that is not safe');
is(workers(), '', '... does without workers');
is(one($node, 'SELECT count(*), count(DISTINCT extra) FROM serial.items'), '60000|60000', '... all are there');

one($node, q{CREATE FUNCTION small(bigint) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN $1 < 1000000; END'});
is(with_table('check_unsafe', 'CHECK (small(id))'), 'loaded', 'a constraint whose function is not marked as safe');
is(workers(), '', '... does without workers');

# Each query in such a function is a command: the leader must begin none while it has workers.
one($node, q{CREATE FUNCTION looks(bigint) RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE AS 'BEGIN PERFORM 1 FROM pg_class LIMIT 1; RETURN true; END'});
leader_helps('on');
is(with_table('check_looks', 'CHECK (looks(id))'), 'loaded', 'a constraint whose function begins commands');
is(workers(), '', '... does without workers');
leader_helps('off');

one($node, 'CREATE DOMAIN short AS text CHECK (length(VALUE) < 1000)');
one($node, 'CREATE SCHEMA domains; CREATE TABLE domains.items (id bigint, name short, amount numeric(38,9), at timestamptz, ok boolean, doc text)');
is(load($node, package_of('csv', \@rows, disposition => 'replace'), 'domains'), 'loaded', 'a domain');
is(workers(), '', '... does without workers');

# The role's rights, and no way to more: what a constraint does when a worker asks it.
one($node, q{
	CREATE ROLE etl LOGIN;
	GRANT CREATE ON DATABASE postgres TO etl;
	GRANT pg_read_server_files TO etl;
	CREATE TABLE witness (what text);
	GRANT INSERT ON witness TO PUBLIC;
});
grant_loader($node, 'etl');
one($node, q{
	CREATE SCHEMA mine;
	CREATE FUNCTION mine.spy(bigint) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
	DECLARE
		r text;
		s text := '';
	BEGIN
		IF $1 <> 40000 THEN RETURN true; END IF;
		s := current_user;
		FOREACH r IN ARRAY ARRAY['SET ROLE postgres', 'RESET ROLE', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION postgres',
			'ALTER ROLE etl SUPERUSER', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1', $q$SET search_path = 'x'$q$, 'INSERT INTO public.witness VALUES (1)']
		LOOP
			BEGIN
				EXECUTE r;
				s := s || ', ' || r;
			EXCEPTION WHEN OTHERS THEN NULL;
			END;
		END LOOP;
		RAISE EXCEPTION 'as %: %', s, current_setting('is_superuser');
	END $$;
	CREATE TABLE mine.items (id bigint CHECK (mine.spy(id)), name text, amount numeric(38,9), at timestamptz, ok boolean, doc text);
}, user => 'etl');
{
	my $path = package_of('csv', \@rows, disposition => 'replace');
	my $e = error_of($node, "CALL loader_run('$path', dataset => 'mine')", user => 'etl');

	# subtransactions are not for workers, so the first of them ends it
	like($e->{message}, qr/(cannot start subtransactions during a parallel operation|as etl: off)/, 'a constraint in a worker has no rights but the role\'s');
	one($node, 'SELECT loader_forget(max(package_id)) FROM loader.packages');
}
for my $sql ('RESET SESSION AUTHORIZATION', 'SET ROLE postgres', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1', "SELECT set_config('work_mem', '1MB', false)")
{
	one($node, "CREATE OR REPLACE FUNCTION mine.spy(bigint) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS \$\$
		BEGIN IF \$1 = 40000 THEN EXECUTE \$q\$$sql\$q\$; END IF; RETURN true; END \$\$", user => 'etl');
	my $path = package_of('csv', \@rows, disposition => 'replace');
	my $e = error_of($node, "CALL loader_run('$path', dataset => 'mine')", user => 'etl');

	like($e->{message}, qr/cannot|is not allowed/, "a worker refuses: $sql");
	one($node, 'SELECT loader_forget(max(package_id)) FROM loader.packages');
}

# --- when there are no workers, or no longer --------------------------------------------------------

is(load($node, package_of('csv', \@rows), 'none', settings => {'max_parallel_workers' => 0}), 'loaded', 'the server has no worker to give');
is(workers(), '', '... so one process does it');
is(contents('none', 'id'), contents('one_csv', 'id'), '... and all rows are there');

# A constraint that waits, in a worker, until this session lets it go on.
one($node, q{
	CREATE SCHEMA held;
	CREATE FUNCTION held.wait(bigint) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS
		$$ BEGIN IF $1 = 40000 THEN PERFORM pg_advisory_xact_lock_shared(42); END IF; RETURN true; END $$;
	CREATE TABLE held.items (id bigint CHECK (held.wait(id)), name text, amount numeric(38,9), at timestamptz, ok boolean, doc text);
});
my $waiting = q{FROM pg_stat_activity WHERE backend_type = 'parallel worker' AND wait_event = 'advisory'};

sub held
{
	my ($do) = @_;
	my $holder = session($node);

	$holder->run('SELECT pg_advisory_lock(42)');
	my $id = start_package($node, package_of('csv', \@rows, disposition => 'replace'), 'held');
	wait_for($node, "SELECT count(*) = 1 $waiting");
	$do->($id, $holder);
	$holder->end;
	return $id;
}

is(load($node, package_of('csv', \@rows, disposition => 'replace'), 'held', %serial), 'loaded', 'one process');
my $held = contents('held', 'id');
my $id = held(sub { one($node, "SELECT pg_terminate_backend(pid) $waiting"); wait_for($node, "SELECT attempts > 1 OR EXISTS (SELECT FROM loader.events e WHERE e.package_id = $_[0] AND kind ~ 'retry') FROM loader.packages WHERE package_id = $_[0]") });
is(wait_package($node, $id), 'loaded', 'a worker is terminated: it is done again');
is(contents('held', 'id'), $held, '... and all rows are there, once');

$id = held(sub { one($node, "SELECT loader_cancel($_[0])"); wait_for($node, "SELECT state = 'cancelled' FROM loader.packages WHERE package_id = $_[0]") });
is(one($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'"), 0, 'cancelled: no worker is left');
is(contents('held', 'id'), $held, '... and the old rows are there');

$id = held(sub { one($node, "SELECT pg_terminate_backend(pid) FROM loader.running() WHERE package_id = $_[0]"); wait_for($node, "SELECT count(*) = 0 $waiting") });
is(wait_package($node, one($node, "SELECT loader_start($id)")), 'loaded', 'the leader is terminated: its workers go with it, and the package goes on');
is(contents('held', 'id'), $held, '... all rows are there, once');

# A constraint at which workers wait, and the leader: in its first block, so that they come, and in its next one.
one($node, q{
	CREATE SCHEMA apart;
	CREATE FUNCTION apart.wait(bigint) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
	BEGIN
		IF (SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()) = 'parallel worker' THEN
			PERFORM pg_advisory_xact_lock_shared(41);
		ELSE
			PERFORM pg_advisory_xact_lock_shared(CASE WHEN $1 < 3000 THEN 42 ELSE 43 END);
		END IF;
		RETURN true;
	END $$;
	CREATE TABLE apart.items (id bigint CHECK (id % 500 <> 1 OR apart.wait(id)), name text, amount numeric(38,9), at timestamptz, ok boolean, doc text);
});
my $apart = q{FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND objsubid = 1 AND NOT granted};

# A package whose workers and leader have come to where they wait, the leader in the first block; or nothing, and all
# is as before: another has been there first.
sub apart_begin
{
	my ($holder, $path) = @_;

	$holder->run("SELECT pg_advisory_lock($_)") for 41 .. 43;
	my $id = start_package($node, $path, 'apart');
	wait_for($node, "SELECT count(*) $apart", 3);
	return $id if one($node, "SELECT count(*) $apart AND objid = 42");
	one($node, "SELECT loader_cancel($id)");    # seen when they no longer wait for a lock
	$holder->run("SELECT pg_advisory_unlock($_)") for 41 .. 43;
	wait_for($node, "SELECT state FROM loader.packages WHERE package_id = $id", 'cancelled');
	one($node, "SELECT loader_forget($id)");
	return;
}

sub apart
{
	my ($do, $path) = @_;
	my $holder = session($node);
	my $id;

	$path ||= package_of('csv', \@rows, disposition => 'replace');
	for (1 .. 50)
	{
		last if defined($id = apart_begin($holder, $path));
	}
	$holder->run('SELECT pg_advisory_unlock(42)');
	wait_for($node, "SELECT coalesce(string_agg(objid::text, ' ' ORDER BY objid), '') $apart", '41 41 43');
	$do->($id, $holder);
	$holder->end;
	return $id;
}

# The leader has an error in a block of its own, and a row before, which a worker leaves to it, is too large.
{
	my @with = map { [@$_] } @rows;

	$with[5000][5] = 'x' x 9000;
	$with[$_ * 100][3] = 'no time' for 97 .. 117;
	one($node, 'ALTER TABLE apart.items ALTER doc SET STORAGE PLAIN');
	my $path = package_of('csv', \@with, disposition => 'replace');
	my $alone = error_of($node, "SET loader.workers = 1; CALL loader_run('$path', dataset => 'apart')");

	is($alone->{sqlstate}, '54000', 'a row that is too large, one process');
	one($node, 'SELECT loader_forget(max(package_id)) FROM loader.packages');
	leader_helps('on');
	$id = apart(sub { $_[1]->run('SELECT pg_advisory_unlock(43)'); wait_for($node, "SELECT string_agg(objid::text, ' ') $apart", '41 41') }, $path);
	wait_package($node, $id);
	is(one($node, "SELECT sqlstate || message FROM loader.packages WHERE package_id = $id"), '54000' . ($alone->{message} =~ s/^package \d+ failed: //r), '... comes before what the leader finds');
	one($node, "SELECT loader_forget($id)");
	one($node, 'ALTER TABLE apart.items ALTER doc SET STORAGE EXTENDED');
}

apart(sub { one($node, "SELECT pg_cancel_backend(pid) $apart AND objid = 43"); wait_for($node, "SELECT state FROM loader.packages WHERE package_id = $_[0]", 'cancelled') });
is(one($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'"), 0, 'the leader is cancelled in a block of its own: it does not wait for workers');
$id = apart(sub
{
	one($node, "SELECT pg_terminate_backend(pid) $apart AND objid = 41 ORDER BY pid LIMIT 1");
	wait_for($node, "SELECT EXISTS (SELECT FROM loader.events e WHERE e.package_id = $_[0] AND kind ~ 'retry')");
});
is(wait_package($node, $id), 'loaded', 'a worker is terminated meanwhile: neither');
unlike(slurp($node->logfile), qr/terminating background worker "parallel worker" due to administrator command\n[^\n]*DETAIL:  File/, '... and that is the fault of no row');
is(one($node, 'SELECT count(*), count(DISTINCT id) FROM apart.items'), '60000|60000', '... all rows are there, once');
leader_helps('off');

# Shared memory for the blocks is not to be had.
{
	my $place = $node->data_dir . '/pg_dynshmem';

	$node->append_conf('postgresql.conf', 'dynamic_shared_memory_type = mmap');
	$node->restart;
	is(load($node, package_of('csv', \@rows), 'mapped'), 'loaded', 'shared memory of another kind');
	like(workers(), qr/parallel/, '... with workers');
	chmod(0500, $place) or die "$place: $!";
	is(load($node, package_of('csv', \@rows), 'no_memory'), 'loaded', 'no more shared memory');
	chmod(0700, $place) or die "$place: $!";
	is(workers(), '', '... so one process does it');
	is(contents('no_memory', 'id'), contents('mapped', 'id'), '... and all rows are there');
	like(slurp($node->logfile), qr/LOG:  could not open shared memory segment/, '... and the log says so');
}

done_testing();
