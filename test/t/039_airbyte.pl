# test/t/039_airbyte.pl: the session that feeds an Airbyte sync, what comes between it and its worker,
# and who may do what.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderAirbyte;
use LoaderCrash;
use LoaderTest;
use Test::More;

my $node = new_node('main', "loader.max_workers = 8\nloader.retry_delay = '50ms'");
my $append = [{name => 'users'}];

one($node, q{
	CREATE ROLE etl LOGIN;
	CREATE ROLE other LOGIN;
	GRANT CREATE ON DATABASE postgres TO etl, other;});
grant_loader($node, 'etl, other');
grant_airbyte($node, 'etl, other');

sub package_is
{
	my ($id, $expected, $name) = @_;

	is(one($node, "SELECT concat_ws(' ', state, sqlstate, message) FROM loader.packages WHERE package_id = $id"), $expected, $name);
	return;
}

# --- where the functions can be called ------------------------------------------------------------

{
	my $s = LoaderCrash->new($node, user => 'etl');
	my $open = open_sql($append, {schema => 'calls'});

	like($s->query("BEGIN; $open; ROLLBACK"), qr/25001: loader_airbyte_open cannot run inside a transaction block/, 'open in a transaction block');
	my $sync = open_sync($node, $append, {schema => 'calls'}, session => $s);
	like($s->query('BEGIN; ' . $sync->sql . '; ROLLBACK'), qr/25001: loader_airbyte_write cannot run inside a transaction block/, 'write');
	like($s->query("BEGIN; SELECT loader_airbyte_close($sync->{id}); ROLLBACK"), qr/25001: loader_airbyte_close cannot run inside a transaction block/, 'close');

	my $o = LoaderCrash->new($node, user => 'etl');
	like($o->query($sync->sql(record('users', 9))), qr/55000: package \d+ is no sync that this session has open/, 'write from another session');
	like($o->query("SELECT loader_airbyte_close($sync->{id})"), qr/55000: package \d+ is no sync that this session has open/, 'close from another session');
	$o->quit;
	$o = LoaderCrash->new($node, user => 'other');
	like($o->query($sync->sql(record('users', 9))), qr/42501: permission denied for package $sync->{id}/, 'write of another role');
	like($o->query("SELECT loader_airbyte_close($sync->{id})"), qr/42501: permission denied for package $sync->{id}/, 'close of another role');
	like($o->query('SELECT loader_airbyte_write(4711, NULL)'), qr/42704: package 4711 does not exist/, 'no such package');
	$o->quit;

	$sync->write(messages_of('users', 3));
	is($sync->close->{state}, 'loaded', 'nothing of that is in the way of the sync');
	is(rows($node, 'calls.users'), '1 2 3', 'its records are there, and those of others are not');
	like($sync->write(record('users', 9)), qr/55000: package \d+ is no sync that this session has open/, 'write after close');
	like($s->query("SELECT loader_airbyte_close($sync->{id})"), qr/55000: package \d+ is no sync that this session has open/, 'close after close');

	# in one statement, which is one transaction
	like($s->query(q{DO $do$ DECLARE id bigint; BEGIN EXECUTE } . quote_literal($open) . q{ INTO id; PERFORM loader_airbyte_write(id, 'x'); END $do$}),
		qr/25001: package \d+ was opened in this transaction/, 'open and write in one DO');
	is(nothing_runs($node), 0, 'which leaves nothing');
	like($s->query("$open / 0"), qr/22012: division by zero/, 'an open that is rolled back');
	is(nothing_runs($node), 0, 'leaves no worker and no lock');
	is(one($node, "SELECT count(*) FROM loader.packages WHERE dataset = 'calls'"), 1, 'and no package');
	like($s->query(q{DO $do$ BEGIN EXECUTE } . quote_literal($open) . q{; EXCEPTION WHEN SQLSTATE 'P0042' THEN NULL; END $do$}),
		qr/25001: loader_airbyte_open cannot run inside a transaction block/, 'an open in a subtransaction');
	$sync = open_sync($node, $append, {schema => 'calls'}, session => $s);
	$sync->write(record('users', 4), state('users', 4), complete('users'));
	is_deeply([$sync->states(1)], ['users 4'], 'the next one opens');
	is($sync->close->{state}, 'loaded', 'and loads');
	is(rows($node, 'calls.users'), '1 2 3 4', 'its record');
	is(nothing_runs($node), 0, 'and nothing is left');

	# a message may be cut anywhere, within a character, too
	$sync = open_sync($node, $append, {schema => 'calls'}, session => $s);
	my $bytes = unpack 'H*', join("\n", record('users', 5, name => "\x{20ac}"), state('users', 5), complete('users')) . "\n";
	$s->query("SELECT loader_airbyte_write($sync->{id}, '\\x$1')") while $bytes =~ /(..)/g;
	is($sync->close->{state}, 'loaded', 'byte by byte');
	is(one($node, q{SELECT name = U&'\20AC' FROM calls.users WHERE id = 5}), 't', 'and whole');
	$s->quit;
}

# --- what the session does to its locks ------------------------------------------------------------

for my $sql ('DISCARD ALL', 'SELECT pg_advisory_unlock_all()')
{
	my $sync = open_sync($node, $append, {schema => 'locks'}, user => 'etl');
	my $other = LoaderCrash->new($node, user => 'etl');
	my $n = $sql =~ /DISCARD/ ? 1 : 3;

	$sync->write(record('users', $n), state('users', $n));
	$sync->states(1);
	$sync->{session}->query($sql);
	like($other->query(open_sql($append, {schema => 'locks'})), qr/55006: package $sync->{id} is loading the same table/, "$sql: another sync is kept out all the same");
	$sync->write(record('users', $n + 1), complete('users'));
	is($sync->close->{state}, 'loaded', "$sql: the sync goes on");
	is(nothing_runs($node), 0, "$sql: and leaves no lock");
	$_->quit for $sync, $other;
}
is(rows($node, 'locks.users'), '1 2 3 4', 'with all records');

# --- syncs beside each other ------------------------------------------------------------------------

{
	my $one = open_sync($node, $append, {schema => 'beside'}, user => 'etl');
	my $o = LoaderCrash->new($node, user => 'etl');
	my $said = $o->query(open_sql([{name => 'items'}, {name => 'users'}], {schema => 'beside'}));
	like($said, qr/55006: package $one->{id} is loading the same table/, 'two syncs of one table');
	like($said, qr/HINT:.*loader_cancel\($one->{id}\)/, 'and what can be done');
	like($o->query(open_sql([{name => 'users', namespace => 'beside'}], {schema => 'elsewhere'})), qr/55006: package $one->{id} is/, 'also by another name');
	my $two = open_sync($node, [{name => 'items'}], {schema => 'beside'}, session => $o);
	my $three = open_sync($node, [{name => 'more'}], {schema => 'beside'}, session => $o);

	$one->write(record('users', 1), state('users', 1));
	$two->write(record('items', 1), state('items', 1));
	$three->write(record('more', 1), state('more', 1));
	is_deeply([$_->states(1)], [$_ == $one ? 'users 1' : $_ == $two ? 'items 1' : 'more 1'], 'each gets its own states') for $three, $one, $two;
	$_->write(complete($_ == $one ? 'users' : $_ == $two ? 'items' : 'more')) for $two, $three, $one;
	is($_->close->{state}, 'loaded', 'of other tables, side by side, two of them from one session') for $one, $three, $two;
	$two = open_sync($node, $append, {schema => 'beside'}, session => $o);
	$two->write(messages_of('users', 3, 1));
	is($two->close->{state}, 'loaded', 'and of the same one after the other');
	is(rows($node, 'beside.users'), '1 2 3', 'with all records');
	$_->quit for $one, $two;
}

# --- no worker is free -------------------------------------------------------------------------------

{
	$node->append_conf('postgresql.conf', 'loader.max_workers = 1');
	$node->reload;
	wait_for($node, 'SELECT count(*) FROM loader.running(); SHOW loader.max_workers', "0\n1");
	my $one = open_sync($node, $append, {schema => 'busy'}, user => 'etl');
	$one->write(record('users', 1), state('users', 1));
	$one->states(1);
	my $two = open_sync($node, [{name => 'items'}], {schema => 'busy'}, user => 'etl');
	like($two->failure, qr/53400: .*all 1 workers of loader are busy/, 'loader.max_workers is reached: the sync fails');
	my $report = $two->close;
	is("$report->{state} $report->{error}{sqlstate} $report->{error}{message}", 'failed 53400 all 1 workers of loader are busy', 'and says why');
	$one->write(complete('users'));
	is($one->close->{state}, 'loaded', 'the other one is not disturbed');
	is(nothing_runs($node), 0, 'nothing is left');
	$two = open_sync($node, [{name => 'items'}], {schema => 'busy'}, session => $two->{session});
	$two->write(messages_of('items', 2));
	is($two->close->{state}, 'loaded', 'later there is one');
	$_->quit for $one, $two;
	$node->append_conf('postgresql.conf', 'loader.max_workers = 8');
	$node->reload;
	wait_for($node, 'SELECT count(*) FROM loader.running(); SHOW loader.max_workers', "0\n8");

	# the server's own launcher of logical replication has one of these
	my $small = new_node('small', 'max_worker_processes = 2');
	$one = open_sync($small, $append, {schema => 'busy'});
	$one->write(record('users', 1), state('users', 1));
	$one->states(1);
	my $s = LoaderCrash->new($small);
	$report = $s->query(open_sql([{name => 'items'}], {schema => 'busy'}));
	like($report, qr/53400: no worker of the server is free/, 'max_worker_processes is reached');
	like($report, qr/HINT:.*max_worker_processes/, 'and what can be done');
	is(one($small, q{SELECT count(*) FROM loader.packages WHERE state <> 'loading'}), 0, 'no package of it is there');
	is(one($small, "SELECT count(*) FROM pg_locks WHERE pid = $s->{pid} AND locktype = 'advisory'"), 0, 'and no lock');
	$one->write(complete('users'));
	is($one->close->{state}, 'loaded', 'the other one is not disturbed');
	is(nothing_runs($small), 0, 'nothing is left');
	$two = open_sync($small, [{name => 'items'}], {schema => 'busy'}, session => $s, patient => 1);
	$two->write(messages_of('items', 2));
	is($two->close->{state}, 'loaded', 'later there is one');
	$_->quit for $one, $two;
	$small->stop;
}

# --- back-pressure, and calls that are interrupted ------------------------------------------------------

# The call for 4 MB of records with ids from 10 on, more than the queue holds. The server makes them, and
# before the call, which does nothing but send them.
sub many
{
	my ($sync) = @_;

	$sync->{session}->query("CREATE TEMP TABLE many AS SELECT convert_to(string_agg('"
		. record('users', 99999) =~ s/99999/' || i || '/gr . "', E'\\n') || E'\\n', 'UTF8') AS messages FROM generate_series(10, 30009) i");
	return "SELECT loader_airbyte_write($sync->{id}, messages) FROM many";
}

# The worker waits for the table, so the session has to wait, too.
sub held
{
	my ($sync, $name) = @_;

	wait_phase($node, $sync->{id}, 'waiting for locks');
	wait_for($node, "SELECT state || ' ' || wait_event FROM pg_stat_activity WHERE pid = $sync->{session}{pid}", 'active Extension');
	pass("$name: the call waits for the worker");
	return;
}

one($node, 'CREATE SCHEMA pressure AUTHORIZATION etl');
for my $case ('goes on', 'statement_timeout', 'pg_cancel_backend', 'pg_cancel_backend in close', 'loader_cancel', 'the session is ended')
{
	(my $schema = "p_$case") =~ s/\W+/_/g;
	my $init = open_sync($node, $append, {schema => $schema}, user => 'etl');
	$init->write(messages_of('users', 2));
	is($init->close->{state}, 'loaded', "$case: table");
	my $sync = open_sync($node, $append, {schema => $schema}, session => $init->{session}, source_name => quote_literal($schema));
	my $holder = LoaderCrash->new($node);
	my $report;

	$sync->write(record('users', 3), state('users', 3));
	$sync->states(1);
	$holder->query("BEGIN; LOCK $schema.users");
	if ($case eq 'statement_timeout')
	{
		my $call = many($sync);
		$sync->{session}->query("SET statement_timeout = '3s'");
		like($sync->{session}->query($call), qr/57014: canceling statement due to statement timeout/, "$case: the call ends");
		$sync->{session}->query('RESET statement_timeout');
	}
	elsif ($case =~ /in close/)
	{
		$sync->write(record('users', 4), state('users', 4), complete('users'));
		$sync->{session}->send("SELECT loader_airbyte_close($sync->{id})");
		held($sync, $case);
		one($node, "SELECT pg_cancel_backend($sync->{session}{pid})");
		like($sync->{session}->answer, qr/57014: canceling statement due to user request/, "$case: the call ends");
	}
	else
	{
		$sync->{session}->send(many($sync));
		held($sync, $case);
		one($node, "SELECT pg_cancel_backend($sync->{session}{pid})") if $case eq 'pg_cancel_backend';
		one($node, "SELECT pg_terminate_backend($sync->{session}{pid}, 60000)") if $case eq 'the session is ended';
		is(one($node, "SELECT loader_cancel($sync->{id})"), 't', "$case: asked to stop") if $case eq 'loader_cancel';
		$holder->query('ROLLBACK') if $case eq 'goes on';
		my $said = $sync->{session}->answer unless $case eq 'the session is ended';
		is($said, '', "$case: the call ends when the lock has gone") if $case eq 'goes on';
		like($said, qr/57014: canceling statement due to user request/, "$case: the call ends") if $case eq 'pg_cancel_backend';
		# what ends during a call is for the next to say
		is($said, '', "$case: the call ends, though the lock is there") if $case eq 'loader_cancel';
	}
	if ($case eq 'goes on')
	{
		$sync->write(state('users', 30009), complete('users'));
		$report = $sync->close;
		is("$report->{state} $report->{records}", 'loaded 30001', "$case: the sync is loaded");
		is(one($node, "SELECT count(*), count(DISTINCT id) FROM $schema.users"), '30003|30003', "$case: with every record");
	}
	elsif ($case eq 'the session is ended')
	{
		$holder->query('ROLLBACK');
		wait_state($node, $sync->{id}, 'failed');
		package_is($sync->{id}, 'failed 08006 the session that sent the messages has gone', "$case: the sync has failed");
		is(rows($node, "$schema.users"), '1 2 3', "$case: with what was committed before");
	}
	elsif ($case eq 'loader_cancel')
	{
		$holder->query('ROLLBACK');
		like($sync->write(record('users', 5)), qr/57014: package $sync->{id} was cancelled/, "$case: the next one says so");
		$report = $sync->close;
		is($report->{state}, 'cancelled', "$case: close says so, too");
		is(rows($node, "$schema.users"), '1 2 3', "$case: with what was committed before");
	}
	elsif ($case =~ /in close/)
	{
		$holder->query('ROLLBACK');
		like($sync->write, qr/55000: a call for package $sync->{id} was interrupted/, "$case: no more can be sent");
		is($sync->close->{state}, 'loaded', "$case: but all had been, so the sync is loaded");
		is(rows($node, "$schema.users"), '1 2 3 4', "$case: with every record");
	}
	else
	{
		like($sync->write(record('users', 5)), qr/55000: a call for package $sync->{id} was interrupted/, "$case: no more can be sent");
		$sync->{session}->send("SELECT loader_airbyte_close($sync->{id})");
		$holder->query('ROLLBACK');
		$report = JSON::PP::decode_json($sync->{session}->answer);
		is("$report->{state} $report->{error}{sqlstate}", 'failed 08006', "$case: close says that the sync has failed");
		is(rows($node, "$schema.users"), '1 2 3', "$case: with what was committed before");
	}
	is(nothing_runs($node), 0, "$case: no lock is left");
	is(states_kept($node, $schema, user => 'etl'), $case eq 'goes on' ? 'users 30009' : $case =~ /in close/ ? 'users 4' : 'users 3', "$case: and the state is that of the rows");
	my $next = open_sync($node, $append, {schema => $schema}, user => 'etl');
	$next->write(record('users', 50000), state('users', 3), complete('users'));
	is($next->close->{state}, 'loaded', "$case: a new sync opens");
	$_->quit for $sync, $holder, $next;
}

# States that nobody fetches are more than the queue takes: the worker waits, and sees a cancel all the same.
{
	my $sync = open_sync($node, $append, {schema => 'unread'}, user => 'etl');
	my $state = state('users', 1);
	(my $long = $state) =~ s/"at":1/'"at":1,"more":"' . 'x' x 20000 . '"'/e;

	$sync->write(map { (record('users', $_), $long) } 1 .. 20);
	wait_for($node, "SELECT states > 2 FROM loader.streams WHERE package_id = $sync->{id}");
	is(one($node, "SELECT loader_cancel($sync->{id})"), 't', 'a worker whose states nobody fetches: asked to stop');
	wait_state($node, $sync->{id}, 'cancelled');
	is($sync->close->{state}, 'cancelled', 'stops');
	$sync = open_sync($node, $append, {schema => 'unread'}, session => $sync->{session});
	$sync->write(map { (record('users', $_), $long) } 21 .. 60);
	$sync->write(complete('users'));
	my $report = $sync->close;
	is($report->{state}, 'loaded', 'the same, until it is closed');
	is($report->{streams}[0]{states}, 40, 'all states are there');
	my $counts = 0;
	$counts += ($_ =~ /"recordCount":(\d+)/)[0] for grep { /"destinationStats"/ } split /\n/, $sync->{seen};
	is($counts, 40, 'and were given back, with their counts');
	$sync->quit;
}

# --- a session, or a worker, that just ends ---------------------------------------------------------------

for my $end ('the client quits', 'the client is killed', 'pg_terminate_backend of the session', 'pg_terminate_backend of the worker')
{
	(my $schema = "e_$end") =~ s/\W+/_/g;
	my $sync = open_sync($node, $append, {schema => $schema}, user => 'etl', source_name => quote_literal($schema));

	$sync->write(record('users', 1), record('users', 2), state('users', 2));
	$sync->states(1);
	$sync->write(record('users', 3));
	wait_read($sync, 3);
	if ($end =~ /worker/)
	{
		one($node, "SELECT pg_terminate_backend(pid, 60000) FROM loader.running() WHERE package_id = $sync->{id}");
		like($sync->failure, qr/ERROR:.*55000: the worker of package $sync->{id} has ended/, "$end: the next call says so");
		my $other = LoaderCrash->new($node, user => 'etl');
		like($other->query(open_sql($append, {schema => $schema})), qr/55006/, "$end: the sync is not over until it is closed");
		$other->quit;
		my $report = $sync->close;
		is($report->{state}, 'failed', "$end: and then has failed");
		like($report->{error}{message}, qr/worker/, "$end: with an error");
		$sync->quit;
	}
	else
	{
		$end =~ /quits/ ? $sync->quit : $end =~ /killed/ ? $sync->{session}{run}->kill_kill
			: one($node, "SELECT pg_terminate_backend($sync->{session}{pid}, 60000)");
		wait_state($node, $sync->{id}, 'failed');
		package_is($sync->{id}, 'failed 08006 the session that sent the messages has gone', "$end: the sync has failed");
	}
	is(nothing_runs($node), 0, "$end: nothing runs, no lock is left");
	is(rows($node, "$schema.users"), '1 2', "$end: records after the last state are not there");
	is(states_kept($node, $schema, user => 'etl'), 'users 2', "$end: the state is that of the rows");
	my $next = open_sync($node, $append, {schema => $schema}, user => 'etl', source_name => quote_literal($schema));
	$next->write(messages_of('users', 4, 2));
	is($next->close->{state}, 'loaded', "$end: a new sync opens at once");
	is(rows($node, "$schema.users"), '1 2 3 4', "$end: and goes on");
	$_->quit for $sync, $next;
}

{
	my $sync = open_sync($node, $append, {schema => 'cancel'}, user => 'etl', source_name => "'cancel'");

	# a record behind it does not hold up a state
	$sync->write(record('users', 1), state('users', 1), record('users', 2));
	is_deeply([$sync->states(1)], ['users 1'], 'a state, behind which a record waits');
	wait_read($sync, 2);
	is(one($node, "SELECT loader_cancel($sync->{id})", user => 'etl'), 't', 'loader_cancel of a sync that waits for messages');
	wait_state($node, $sync->{id}, 'cancelled');
	like($sync->write(record('users', 3)), qr/57014: package $sync->{id} was cancelled/, 'the next call says so');
	is($sync->close->{state}, 'cancelled', 'and so does close');
	is(rows($node, 'cancel.users') . '|' . states_kept($node, 'cancel', user => 'etl'), '1|users 1', 'what was committed stays');
	like(error_of($node, "SELECT loader_resume($sync->{id})", user => 'etl')->{message}, qr/^sync $sync->{id} cannot be resumed/, 'it cannot be resumed');
	is(nothing_runs($node), 0, 'nothing is left');
	$sync->quit;
}

# Several tables to be altered, one of which somebody reads for long: nobody waits for the others.
{
	my $sync = open_sync($node, [{name => 'free'}, {name => 'held'}], {schema => 'altered'}, user => 'etl');
	my $reader = LoaderCrash->new($node);

	$sync->write(map { (record($_, 1), complete($_)) } 'free', 'held');
	is($sync->close->{state}, 'loaded', 'two tables');
	one($node, "ALTER TABLE altered.$_ DROP COLUMN updated") for 'free', 'held';
	$reader->query('BEGIN; SELECT FROM altered.held');
	$sync = open_sync($node, [{name => 'free'}, {name => 'held'}], {schema => 'altered'}, session => $sync->{session});
	wait_phase($node, $sync->{id}, 'waiting for locks');
	is(one($node, "SET lock_timeout = '20s'; SELECT count(*) FROM altered.free"), 1, 'while the sync waits for one of them, the other can be read');
	$reader->query('ROLLBACK');
	$sync->write(complete('free'), complete('held'));
	is($sync->close->{state}, 'loaded', 'and then it goes on');
	is(one($node, q{SELECT string_agg(table_name, ' ' ORDER BY 1) FROM information_schema.columns WHERE table_schema = 'altered' AND column_name = 'updated'}), 'free held', 'with both columns there');
	$_->quit for $sync, $reader;
}

# A session that closes nothing and opens the next one.
{
	my $one = open_sync($node, $append, {schema => 'unclosed'}, user => 'etl');

	$one->write('{"type": broken');
	my $said = $one->failure;
	like($said, qr/22P04: package \d+ failed: unexpected character "b".*line 1/s, 'a sync that has failed');
	unlike($said, qr/loader_resume/, 'which cannot be resumed');
	my $two = open_sync($node, $append, {schema => 'unclosed'}, session => $one->{session});
	$two->write(messages_of('users', 2));
	is($two->close->{state}, 'loaded', 'and was not closed, is not in the way of the next');
	is($one->close->{state}, 'failed', 'and can still be closed');
	is(rows($node, 'unclosed.users'), '1 2', 'rows of the one that was loaded');
	$one->quit;
}

# --- a replaced table --------------------------------------------------------------------------------------

# A table with rows 1 and 2, a view of it, and who may read it.
sub table_with_readers
{
	my ($schema) = @_;
	my $sync = open_sync($node, [{name => 'users', mode => 'overwrite'}], {schema => $schema}, user => 'etl');

	$sync->write(messages_of('users', 2));
	is($sync->close->{state}, 'loaded', "$schema: table");
	one($node, "CREATE VIEW $schema.names AS SELECT id, name FROM $schema.users; GRANT SELECT ON $schema.users TO other; GRANT USAGE ON SCHEMA $schema TO other;
		COMMENT ON TABLE $schema.users IS 'people'; CREATE INDEX names_index ON $schema.users (name)", user => 'etl');
	return $sync->{session};
}

{
	my $session = table_with_readers('shown');
	my $identity = "SELECT oid, relacl, obj_description(oid), (SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY indexrelid) FROM pg_index WHERE indrelid = c.oid) FROM pg_class c WHERE oid = 'shown.users'::regclass";
	my $before = one($node, $identity);
	my $filenode = one($node, "SELECT pg_relation_filenode('shown.users')");
	my $sync = open_sync($node, [{name => 'users', mode => 'overwrite'}], {schema => 'shown'}, session => $session);
	my ($reader, $repeatable) = map { LoaderCrash->new($node, user => 'other') } 1, 2;

	$sync->write(record('users', 11), state('users', 11));
	$sync->states(1);
	is(rows($node, 'shown.users', user => 'other'), '1 2', 'before its end readers see the old rows');
	is($repeatable->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM shown.users'), 2, 'one of them does not end');
	$sync->{session}->send($sync->sql(record('users', 12), complete('users')));
	$sync->{session}->answer;
	wait_phase($node, $sync->{id}, 'waiting for locks');
	is($reader->query(q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM shown.users}), '1 2', 'the end waits for it, but other readers do not');
	is($repeatable->query(q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM shown.users}), '1 2', 'and it sees what it saw');
	$sync->{session}->send("SELECT loader_airbyte_close($sync->{id})");
	$repeatable->query('COMMIT');
	like($sync->{session}->answer, qr/"state" : "loaded"/, 'when it has ended the sync is loaded');
	is(rows($node, 'shown.users', user => 'other'), '11 12', 'with the new rows only');
	is(one($node, "SELECT count(*) FROM shown.names"), 2, 'also in the view');
	is(one($node, $identity), $before, 'OID, grants, comment and indexes are those of before');
	isnt(one($node, "SELECT pg_relation_filenode('shown.users')"), $filenode, 'and it was swapped');
	is(staging_tables($node), '', 'nothing is staged');
	$_->quit for $reader, $repeatable, $sync;
}

for my $attempts (1000, 0)
{
	my $schema = "deadline_$attempts";
	my $session = table_with_readers($schema);
	my $reader = LoaderCrash->new($node, user => 'other');

	$session->query("SET loader.lock_deadline = '100ms'; SET loader.retry_attempts = $attempts");
	my $sync = open_sync($node, [{name => 'users', mode => 'overwrite'}], {schema => $schema}, session => $session);
	$reader->query("BEGIN; SELECT count(*) FROM $schema.users");
	$sync->write(record('users', 11), state('users', 11), complete('users'));
	if ($attempts)
	{
		wait_for($node, "SELECT count(*) > 0 FROM loader.events WHERE package_id = $sync->{id} AND kind = 'retry' AND detail LIKE '55P03:%'");
		is(rows($node, "$schema.users", user => 'other'), '1 2', 'the lock deadline passes: readers see the old rows');
		$reader->query('COMMIT');
		is($sync->close->{state}, 'loaded', 'it is tried again, and loaded');
	}
	else
	{
		wait_state($node, $sync->{id}, 'failed');
		like($sync->write . $sync->write, qr/55P03/, 'the lock deadline passes, and there is no retry: the sync fails');
		my $report = $sync->close;
		is("$report->{state} $report->{error}{sqlstate}", 'failed 55P03', 'and close says so');
		is(rows($node, "$schema.users", user => 'other'), '1 2', 'readers see the old rows');
		is(staging_tables($node), "${schema}_users", 'the new ones are staged');
		$reader->query('COMMIT');
		$sync = open_sync($node, [{name => 'users', mode => 'overwrite'}], {schema => $schema}, session => $session);
		$sync->write(complete('users'));
		is($sync->close->{state}, 'loaded', 'the next sync, whose source has nothing more to say, brings them in');
	}
	is(rows($node, "$schema.users", user => 'other'), '11', 'the new rows are there');
	is(staging_tables($node), '', 'nothing is staged');
	$_->quit for $reader, $session;
}

# --- roles ---------------------------------------------------------------------------------------------------

# What a sync of the role comes to: an error of open, or of the report.
sub outcome
{
	my ($role, $mode, $config, @messages) = @_;
	my $s = LoaderCrash->new($node, user => $role);
	my $id = $s->query(open_sql([{name => 'users', mode => $mode}], $config));
	my $outcome = $id;

	if ($id =~ /^\d+$/)
	{
		my $said = $s->query("SELECT loader_airbyte_write($id, convert_to(\$m\$" . join('', map { "$_\n" } @messages ? @messages : messages_of('users', 2)) . "\$m\$, 'UTF8'))");
		my $report = JSON::PP::decode_json($s->query("SELECT loader_airbyte_close($id)"));
		my $e = $report->{error};

		$outcome = $e ? join(' ', map { defined $e->{$_} ? "$e->{$_}" : '' } qw(sqlstate message detail hint)) : $report->{state};
	}
	$s->quit;
	return $outcome;
}

one($node, q{
	CREATE SCHEMA closed;
	CREATE SCHEMA half; GRANT ALL ON SCHEMA half TO etl;
	CREATE SCHEMA foreign_raw AUTHORIZATION other; GRANT ALL ON SCHEMA foreign_raw TO etl;
	CREATE SCHEMA closed_raw; GRANT USAGE ON SCHEMA closed_raw TO etl;
	CREATE ROLE poor LOGIN; CREATE SCHEMA poor AUTHORIZATION poor;});
grant_airbyte($node, 'poor');
like(outcome('etl', 'append', {schema => 'closed'}), qr/42501: permission denied to load into table closed\.users\nDETAIL:  role "etl" needs CREATE on schema "closed"/, 'no right to create in the schema');
like(outcome('poor', 'append', {schema => 'nowhere'}), qr/42501: permission denied to load into table nowhere\.users\nDETAIL:  role "poor" needs CREATE on database/, 'none to create the schema');
one($node, 'CREATE TABLE half.users (_airbyte_raw_id varchar, _airbyte_extracted_at timestamptz, _airbyte_meta jsonb, _airbyte_generation_id bigint, id bigint, name varchar, updated bigint)');
like(outcome('etl', 'append', {schema => 'half'}), qr/42501: permission denied to load into table half\.users\nDETAIL:  role "etl" needs INSERT on it/, 'none to write to the table');
one($node, 'GRANT SELECT, INSERT ON half.users TO etl');
is(outcome('etl', 'append', {schema => 'half'}), 'loaded', 'INSERT is enough to append');
like(outcome('etl', 'overwrite', {schema => 'half'}), qr/^42501 permission denied for table users/, 'but not to replace');
one($node, 'GRANT DELETE ON half.users TO etl');
is(outcome('etl', 'overwrite', {schema => 'half'}, complete('users')), 'loaded', 'DELETE and INSERT are');
is(rows($node, 'half.users'), '1 2', 'rows of the replaced table');
like(outcome('etl', 'append_dedup', {schema => 'half'}), qr/^42501 (permission denied for|must be owner of) table users/, 'nor to merge');
one($node, 'ALTER TABLE half.users DROP updated');
like(outcome('etl', 'append', {schema => 'half'}), qr/^42501 must be owner of table (half\.)?users/, 'a new column is the owner\'s to make');
is(outcome('etl', 'append', {schema => 'half2', raw_data_schema => 'closed_raw'}), 'loaded', 'who appends stages nothing');
like(outcome('etl', 'overwrite', {schema => 'half2', raw_data_schema => 'closed_raw'}), qr/42501: permission denied for staging tables\nDETAIL:  role "etl" needs CREATE on schema "closed_raw"/, 'no right to create in raw_data_schema');
like(outcome('poor', 'overwrite', {schema => 'poor', raw_data_schema => 'nowhere'}), qr/42501: permission denied for staging tables\nDETAIL:  role "poor" needs CREATE on database/, 'none to create raw_data_schema');
like(outcome('etl', 'overwrite', {schema => 'half2', raw_data_schema => 'foreign_raw'}), qr/42501: permission denied for staging tables\nDETAIL:  schema "foreign_raw" belongs to another role;.*raw_data_schema/, 'a raw_data_schema of another role');
is(one($node, q{SELECT count(*) FROM pg_class WHERE relnamespace IN ('foreign_raw'::regnamespace, 'closed_raw'::regnamespace)}), 0, 'in which nothing is left');
like(outcome('etl', 'append', {schema => 'loader'}), qr/42939: schema name "loader" is reserved/, 'our own schema');
like(outcome('etl', 'overwrite', {schema => 'half2', raw_data_schema => 'pg_catalog'}), qr/42939: schema name "pg_catalog" is reserved/, 'the server\'s own');

# The same once more, when the first record comes: a schema can change hands.
{
	one($node, 'CREATE SCHEMA given_raw AUTHORIZATION etl');
	my $sync = open_sync($node, [{name => 'users', mode => 'overwrite'}], {schema => 'half3', raw_data_schema => 'given_raw'}, user => 'etl');

	wait_phase($node, $sync->{id}, 'loading');
	one($node, 'ALTER SCHEMA given_raw OWNER TO other; GRANT ALL ON SCHEMA given_raw TO etl');
	$sync->write(record('users', 1), state('users', 1), complete('users'));
	my $report = $sync->close;
	is("$report->{error}{sqlstate} $report->{error}{message}", '42501 schema "given_raw" for staging tables belongs to another role', 'a raw_data_schema that another role gets meanwhile');
	is(one($node, q{SELECT count(*) FROM pg_class WHERE relnamespace = 'given_raw'::regnamespace}), 0, 'in which nothing is left either');
	$sync->quit;
}

# A staging table's name is no secret.
one($node, q{CREATE SCHEMA trap AUTHORIZATION etl; CREATE SCHEMA trap_raw AUTHORIZATION etl; GRANT ALL ON SCHEMA trap_raw TO other});
one($node, q{CREATE TABLE trap_raw.trap_users (id bigint)}, user => 'other');
like(outcome('etl', 'overwrite', {schema => 'trap', raw_data_schema => 'trap_raw'}), qr/^42P07 relation trap_raw\.trap_users is in the way/, 'a table of another role where one is to be staged');

# A table that another role has left staged.
one($node, 'CREATE SCHEMA shared; GRANT ALL ON SCHEMA shared TO etl, other; CREATE SCHEMA shared_raw; GRANT ALL ON SCHEMA shared_raw TO etl, other');
like(outcome('other', 'overwrite', {schema => 'shared', raw_data_schema => 'shared_raw'}, record('users', 1), state('users', 1)), qr/^55000 stream "users" is not complete/, 'a stream that is not complete');
is(one($node, "SELECT tableowner FROM pg_tables WHERE schemaname = 'shared_raw'"), 'other', 'is staged');
one($node, 'GRANT INSERT, SELECT, DELETE ON shared.users TO etl', user => 'other');
like(outcome('etl', 'overwrite', {schema => 'shared', raw_data_schema => 'shared_raw'}), qr/^42501 must be owner of staging table shared_raw\.shared_users/, 'for its owner to go on with');
is(outcome('other', 'overwrite', {schema => 'shared', raw_data_schema => 'shared_raw'}), 'loaded', 'who does');

# --- code of the target table ------------------------------------------------------------------------------------

one($node, q{CREATE ROLE mallory LOGIN; GRANT CREATE ON DATABASE postgres TO mallory});
one($node, q{
	CREATE SCHEMA evil;
	GRANT USAGE ON SCHEMA evil TO PUBLIC;
	CREATE TABLE evil.log (place text, attempt text, who text, session text, super boolean, done boolean);
	GRANT ALL ON evil.log TO PUBLIC;
	CREATE TABLE evil.late (place text);
	GRANT ALL ON evil.late TO PUBLIC;
	CREATE FUNCTION evil.attack() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE
		attempt text;
		ok boolean;
	BEGIN
		FOREACH attempt IN ARRAY ARRAY['RESET ROLE', 'SET ROLE NONE', 'SET ROLE postgres', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION postgres',
			'ALTER ROLE mallory SUPERUSER', 'SELECT count(rolpassword) FROM pg_authid', 'UPDATE loader.stream_state SET state = NULL'] LOOP
			ok := true;
			BEGIN EXECUTE attempt; EXCEPTION WHEN insufficient_privilege THEN ok := false; END;
			INSERT INTO evil.log VALUES (TG_ARGV[0], attempt, current_user, session_user, current_setting('is_superuser')::boolean, ok);
		END LOOP;
		PERFORM pg_advisory_unlock_all();
		RETURN coalesce(NEW, OLD);
	END $$;
	CREATE FUNCTION evil.postpone() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN SET CONSTRAINTS ALL DEFERRED; INSERT INTO evil.late VALUES (TG_OP); RETURN coalesce(NEW, OLD); END $$;
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON evil.late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.attack('deferred')}, user => 'mallory');
for my $mode (qw(append overwrite append_dedup))
{
	my $schema = "evil_$mode";

	is(outcome('etl', $mode, {schema => $schema}, record('users', 1, updated => 0), record('users', 3), complete('users')), 'loaded', "$mode: table");
	one($node, "ALTER SCHEMA $schema OWNER TO mallory; ALTER TABLE $schema.users OWNER TO mallory");
	one($node, "GRANT ALL ON SCHEMA $schema TO etl; GRANT ALL ON $schema.users TO etl;
		CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON $schema.users FOR EACH ROW EXECUTE FUNCTION evil.attack('before row');
		CREATE TRIGGER b AFTER INSERT OR UPDATE OR DELETE ON $schema.users FOR EACH STATEMENT EXECUTE FUNCTION evil.attack('after statement');
		CREATE TRIGGER c AFTER INSERT OR UPDATE OR DELETE ON $schema.users FOR EACH ROW EXECUTE FUNCTION evil.postpone();
		TRUNCATE evil.log", user => 'mallory');
	my $sync = open_sync($node, [{name => 'users', mode => $mode}], {schema => $schema}, user => 'etl', source_name => "'evil'");
	$sync->write(record('users', 1), state('users', 1));
	$sync->states(1);
	# its locks were released by the table's code, if it has run
	my $o = LoaderCrash->new($node, user => 'etl');
	like($o->query(open_sql([{name => 'users', mode => $mode}], {schema => $schema})), qr/55006: package $sync->{id} is loading the same table/, "$mode: another sync is kept out");
	$o->quit;
	$sync->write(record('users', 2), complete('users'));
	my $report = $sync->close;
	is($report->{state}, 'loaded', "$mode: loaded") or diag(explain($report));
	is(rows($node, "$schema.users"), {append => '1 1 2 3', overwrite => '1 2', append_dedup => '1 2 3'}->{$mode}, "$mode: the rows");
	is(one($node, q{SELECT string_agg(DISTINCT place, ', ' ORDER BY place) FROM evil.log}), 'after statement, before row, deferred', "$mode: each trigger has fired");
	is(one($node, 'SELECT DISTINCT who, session, super FROM evil.log'), 'etl|etl|f', "$mode: as the role that syncs");
	is(one($node, 'SELECT DISTINCT place, attempt FROM evil.log WHERE done'), '', "$mode: and could do nothing else");
	$sync->quit;
}
is(nothing_runs($node), 0, 'nothing runs');

# --- an encoding that is not the messages' ----------------------------------------------------------------------

{
	$node->safe_psql('postgres', q{CREATE DATABASE latin ENCODING LATIN1 LOCALE 'C' TEMPLATE template0});
	one($node, 'CREATE EXTENSION loader', database => 'latin');
	my $sync = open_sync($node, $append, {schema => 'latin'}, session => LoaderCrash->new($node, database => 'latin'), source_name => "'latin'");
	my $messages = unpack 'H*', join('', map { "$_\n" } record('users', 1, name => "\x{e4}"), state('users', "\x{e9}\x{20ac}\x{1f600}"));
	my $state = q("stream_state":{"at":"\\u00e9\\u20ac\\ud83d\\ude00"});

	$sync->{seen} = $sync->{session}->query("SELECT loader_airbyte_write($sync->{id}, '\\x$messages')") . "\n";
	$sync->states(1);
	like($sync->{seen}, qr/\Q$state\E.*destinationStats/, 'LATIN1: a state comes back with codes for what is not ASCII');
	$sync->write(complete('users'));
	is($sync->close->{state}, 'loaded', 'LATIN1: loaded');
	like(one($node, q{SELECT loader_airbyte_states('latin')}, database => 'latin'), qr/\Q$state\E/, 'LATIN1: the state is kept so, too');
	is(one($node, q{SELECT ascii(name), length(name) FROM latin.users}, database => 'latin'), '228|1', 'LATIN1: the record is in that encoding');
	$sync->quit;
}

done_testing();
