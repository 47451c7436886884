# test/t/035_replace_locks.pl: a swap waits for those who use its tables, without holding others off:
# for how long, until when, what is recorded, and what is left when it ends otherwise.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderTest;
use Test::More;
use Time::HiRes qw(time);

use constant {TIMEOUT => 0.3, LONG => 60, ROUNDS => 15};

my %small = (inside => 4096, before => 0);	# loader.small_package
my $node = new_node('main', "loader.lock_timeout = '" . TIMEOUT . "s'\nloader.retry_delay = '10ms'\ndeadlock_timeout = '10min'");
my $n = 0;

# Tables a and b, which all packages here replace; in version V each has V rows.
sub replacement
{
	my ($v) = @_;

	return make_package(tables => [map { {name => $_, disposition => 'replace', columns => [[v => 'bigint'], [note => 'text']], rows => [map { [$_, 'x' x 100] } 1 .. $v]} } qw(a b)]);
}

sub dataset
{
	my $d = 'd' . ++$n;

	run_package($node, replacement(1), $d);
	one($node, "CREATE INDEX ON $d.a (v); CREATE VIEW $d.both AS SELECT a.v FROM $d.a JOIN $d.b USING (v)");
	return $d;
}

sub versions
{
	my ($d) = @_;

	return one($node, "SELECT (SELECT count(*) FROM $d.a), (SELECT count(*) FROM $d.b)");
}

sub files
{
	my ($d) = @_;

	return one($node, "SELECT string_agg(relfilenode::text, ',' ORDER BY oid) FROM pg_class WHERE relnamespace = '$d'::regnamespace AND relkind IN ('r', 'i') AND relname ~ '^[ab]'");
}

# The package waits for strong locks: it has asked at least once for one that it could not have.
sub wait_for_request
{
	my ($d) = @_;

	wait_for($node, "SELECT count(*) > 0 FROM pg_locks WHERE relation IN ('$d.a'::regclass, '$d.b'::regclass) AND mode = 'AccessExclusiveLock' AND NOT granted");
	return;
}

# ... and has let go of all locks that would be in the way of readers.
sub wait_for_pause
{
	my ($d) = @_;

	wait_for($node, "SELECT count(*) = 0 FROM pg_locks WHERE relation IN ('$d.a'::regclass, '$d.b'::regclass) AND mode = 'AccessExclusiveLock'");
	return;
}

# The longest that another reader, or writer, was held off in so many rounds, in seconds.
sub longest
{
	my ($session, @sql) = @_;
	my $longest = 0;

	for my $sql ((@sql) x ROUNDS)
	{
		my $begin = time();
		my $answer = $session->run($sql);

		die $answer if $answer =~ /ERROR/;
		$longest = time() - $begin if time() - $begin > $longest;
	}
	return $longest;
}

sub nothing_left
{
	my ($what) = @_;

	wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'loader%'}, 0);
	is(one($node, q{SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'loader_swap'::regnamespace), (SELECT count(*) FROM loader.stage),
		(SELECT count(*) FROM pg_class t WHERE relkind = 't' AND NOT EXISTS (SELECT FROM pg_class c WHERE c.reltoastrelid = t.oid))}), '0|0|0', "$what: no relation is left");
	return;
}

# --- a reader that takes its time ------------------------------------------------------------------------

for my $way ('inside', 'before')
{
	# on either of two tables: who gets the first must not keep it while waiting for the second
	for my $held ('a', 'b')
	{
		my $d = dataset();
		my ($holder, $other) = map { session($node) } 1, 2;
		my $what = "$held is read, $way";
		my $files = files($d);
		my ($id, $longest);

		$holder->run("BEGIN; SELECT count(*) FROM $d.$held");
		$id = start_package($node, replacement(2), $d, settings => {'loader.small_package' => $small{$way}});
		wait_for_request($d);
		$longest = longest($other, "SELECT count(*) FROM $d.a", "SELECT count(*) FROM $d.b", "SELECT count(*) FROM $d.both", "BEGIN; UPDATE $d.a SET v = v; ROLLBACK");
		# by a request without a timeout they would be until the holder lets go, which is for them to see
		cmp_ok($longest, '<', TIMEOUT + LONG, "$what: others are not held off for longer than loader.lock_timeout");
		is(versions($d), '1|1', "$what: the publish has not happened");
		is(files($d), $files, "$what: none of its parts");
		is(one($node, "SELECT state, sqlstate FROM loader.packages WHERE package_id = $id"), 'loading|', "$what: it goes on waiting");
		is(one($node, "SELECT count(*) FROM loader.events WHERE package_id = $id AND kind = 'retry'"), 0, "$what: that is not a retry");
		is($holder->run("SELECT count(*) FROM $d.both; COMMIT"), 1, "$what: the reader reads on");
		is(wait_package($node, $id), 'loaded', "$what: then it loads");
		is(versions($d), '2|2', "$what: both tables");
		is(one($node, "SELECT string_agg(table_name, ',' ORDER BY table_name), bool_and(lock_wait > '100ms' AND lock_wait < '1h'), bool_and(lock_hold > '0' AND lock_hold < lock_wait) FROM loader.tables
			WHERE package_id = $id AND stage = 'swap heap'"), 'a,b|t|t', "$what: wait and hold are recorded");
		nothing_left($what);
		$_->end for $holder, $other;
	}
}

# Without anybody in the way: both are recorded, too, and only for what is swapped.
{
	my $d = dataset();
	my $id = run_package($node, replacement(2), $d);

	is(one($node, "SELECT string_agg(table_name, ',' ORDER BY table_name), bool_and(lock_wait >= '0' AND lock_wait < '1min'), bool_and(lock_hold > '0' AND lock_hold < '1min') FROM loader.tables
		WHERE package_id = $id AND stage = 'swap heap'"), 'a,b|t|t', 'nobody in the way: wait and hold are recorded');
	$id = run_package($node, replacement(3), $d, arguments => {replace_strategy => 'diff'});
	is(one($node, "SELECT count(*), count(lock_wait), count(lock_hold) FROM loader.tables WHERE package_id = $id AND table_name IN ('a', 'b')"), '2|0|0', 'differences take no strong lock');
}

# --- loader.lock_deadline ----------------------------------------------------------------------------------

for my $way ('inside', 'before')
{
	my $d = dataset();
	my $holder = session($node);
	my $files = files($d);
	my $what = "deadline, $way";
	my $id;

	$holder->run("BEGIN; SELECT count(*) FROM $d.a");
	$id = start_package($node, replacement(2), $d, settings => {'loader.small_package' => $small{$way}, 'loader.lock_deadline' => '500ms', 'loader.retry_attempts' => 2});
	is(wait_package($node, $id), 'failed', "$what: the package fails");
	is(one($node, "SELECT sqlstate, message FROM loader.packages WHERE package_id = $id"), '55P03|could not get the locks of the package within loader.lock_deadline', "$what: and says why");
	like(one($node, "SELECT detail FROM loader.packages WHERE package_id = $id"), qr/"a"/, "$what: and for which table");
	is(one($node, "SELECT count(*), bool_and(detail LIKE '55P03: %') FROM loader.events WHERE package_id = $id AND kind = 'retry'"), '2|t', "$what: after as many tries as loader.retry_attempts says");
	is(versions($d), '1|1', "$what: the old contents");
	is(files($d), $files, "$what: in the old files");
	nothing_left($what);
	$holder->run('COMMIT');
	is(one($node, "SELECT loader_resume($id)"), 't', "$what: resumed");
	is(wait_package($node, $id), 'loaded', "$what: it loads");
	is(versions($d), '2|2', "$what: the new contents");
	is(one($node, "SELECT string_agg(rows_read::text, ',') FROM loader.tables WHERE package_id = $id AND table_name IN ('a', 'b')"), '2,2', "$what: counted once");
	$holder->end;

	# A retry gets the lock that the first try did not get; what was staged is used again.
	$holder = session($node);
	$holder->run("BEGIN; SELECT count(*) FROM $d.b");
	$id = start_package($node, replacement(3), $d, settings => {'loader.small_package' => $small{$way}, 'loader.lock_deadline' => '500ms', 'loader.retry_attempts' => 1000});
	wait_for($node, "SELECT count(*) > 0 FROM loader.events WHERE package_id = $id AND kind = 'retry' AND detail LIKE '55P03: %'");
	$holder->run('COMMIT');
	is(wait_package($node, $id), 'loaded', "$what: a retry loads");
	is(versions($d), '3|3', "$what: a retry: the new contents");
	is(one($node, "SELECT string_agg(rows_read || ' ' || rows_inserted, ',') FROM loader.tables WHERE package_id = $id AND table_name IN ('a', 'b')"), '3 3,3 3', "$what: a retry: counted once");
	is(one($node, "SELECT max(retry_count) FROM loader.jobs WHERE package_id = $id AND kind = 'load'"), 0, "$what: a retry: its jobs are not to blame");
	nothing_left("$what: a retry");
	$holder->end;
}

# --- cancel --------------------------------------------------------------------------------------------------

for my $way ('inside', 'before')
{
	for my $moment ('asking', 'pausing')
	{
		my $d = dataset();
		my $holder = session($node);
		my $files = files($d);
		my $what = "cancel, $moment, $way";
		my ($id, $begin);

		$holder->run("BEGIN; SELECT count(*) FROM $d.b");
		$id = start_package($node, replacement(2), $d, settings => {'loader.small_package' => $small{$way}});
		wait_for_request($d);
		wait_for_pause($d) if $moment eq 'pausing';
		is(one($node, "SELECT loader_cancel($id)"), 't', "$what: cancelled");
		is(one($node, "SELECT loader_wait($id, '60s')"), 'cancelled', "$what: without waiting for the reader");
		is($holder->run("SELECT count(*) FROM $d.both"), 1, "$what: who reads on");
		is(versions($d), '1|1', "$what: the old contents");
		is(files($d), $files, "$what: in the old files");
		nothing_left($what);
		is(one($node, "SELECT count(*) FROM $d._dlt_loads JOIN loader.packages USING (load_id) WHERE package_id = $id"), 0, "$what: the load is not recorded");
		$holder->run('COMMIT');
		is(one($node, "SELECT loader_resume($id)"), 't', "$what: resumed");
		is(wait_package($node, $id), 'loaded', "$what: it loads");
		is(versions($d), '2|2', "$what: the new contents");
		$holder->end;
	}
}

# --- others who want strong locks ------------------------------------------------------------------------------

# DDL that comes while the package waits: it waits for the package, or the package for it, but not each
# for the other.
for my $way ('inside', 'before')
{
	my $d = dataset();
	my ($holder, $ddl) = map { session($node) } 1, 2;
	my $what = "DDL, $way";
	my $id;

	$holder->run("BEGIN; SELECT count(*) FROM $d.a");
	$id = start_package($node, replacement(2), $d, settings => {'loader.small_package' => $small{$way}});
	wait_for_request($d);
	$ddl->send("SET lock_timeout = '3min'; ALTER TABLE $d.a ADD COLUMN more text; CREATE INDEX ON $d.b (v)");
	wait_for($node, "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%ADD COLUMN more%' AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()");
	$holder->run('COMMIT');
	is(wait_package($node, $id), 'loaded', "$what: the package loads");
	is($ddl->answer, '', "$what: and the change is made");
	is(versions($d), '2|2', "$what: the new contents");
	is(one($node, "SELECT count(*) FROM pg_attribute WHERE attrelid = '$d.a'::regclass AND attname = 'more'"), 1, "$what: with the column");
	nothing_left($what);
	$_->end for $holder, $ddl;
}

# Something that vacuums gives way, or is waited for: it is not in the way for ever.
{
	my $d = dataset();
	my $vacuum = session($node);

	$vacuum->run("BEGIN; LOCK $d.a IN SHARE UPDATE EXCLUSIVE MODE");	# as VACUUM, CREATE INDEX CONCURRENTLY
	my $id = start_package($node, replacement(2), $d);
	wait_for($node, "SELECT count(*) > 0 FROM pg_locks WHERE relation = '$d.a'::regclass AND mode = 'ShareUpdateExclusiveLock' AND NOT granted");
	is(versions($d), '1|1', 'maintenance: waited for');
	$vacuum->run('COMMIT');
	is(wait_package($node, $id), 'loaded', 'maintenance: then it loads');
	is(versions($d), '2|2', 'maintenance: the new contents');
	$vacuum->end;
}

nothing_left('in the end');
$node->stop;
done_testing();
