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
	$two = open_sync($small, [{name => 'items'}], {schema => 'busy'}, session => $s);
	$two->write(messages_of('items', 2));
	is($two->close->{state}, 'loaded', 'later there is one');
	$_->quit for $one, $two;
	$small->stop;
}

# --- back-pressure, and calls that are interrupted ------------------------------------------------------

# 4 MB of records with ids from $from on, more than the queue holds; made by the server.
sub many
{
	my ($sync, $from) = @_;

	return "SELECT loader_airbyte_write($sync->{id}, (SELECT convert_to(string_agg('"
		. record('users', 99999) =~ s/99999/' || i || '/gr . "', E'\\n') || E'\\n', 'UTF8') FROM generate_series($from, $from + 29999) i))";
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
		$sync->{session}->query("SET statement_timeout = '3s'");
		like($sync->{session}->query(many($sync, 10)), qr/57014: canceling statement due to statement timeout/, "$case: the call ends");
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
		$sync->{session}->send(many($sync, 10));
		held($sync, $case);
		one($node, "SELECT pg_cancel_backend($sync->{session}{pid})") if $case eq 'pg_cancel_backend';
		one($node, "SELECT pg_terminate_backend($sync->{session}{pid}, 60000)") if $case eq 'the session is ended';
		is(one($node, "SELECT loader_cancel($sync->{id})"), 't', "$case: asked to stop") if $case eq 'loader_cancel';
		$holder->query('ROLLBACK') if $case eq 'goes on';
		my $said = $sync->{session}->answer unless $case eq 'the session is ended';
		is($said, '', "$case: the call ends when the lock has gone") if $case eq 'goes on';
		like($said, qr/57014: canceling statement due to user request/, "$case: the call ends") if $case eq 'pg_cancel_backend';
		like($said, qr/57014: package $sync->{id} was cancelled/, "$case: the call ends, though the lock is there") if $case eq 'loader_cancel';
	}
	if ($case eq 'goes on')
	{
		$sync->write(state('users', 40009), complete('users'));
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
		like($sync->write(record('users', 5)), qr/57014: package $sync->{id} was cancelled/, "$case: and so does the next");
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
	is(states_kept($node, $schema, user => 'etl'), $case eq 'goes on' ? 'users 40009' : $case =~ /in close/ ? 'users 4' : 'users 3', "$case: and the state is that of the rows");
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

	$sync->write(record('users', 1), state('users', 1));
	$sync->states(1);
	$sync->write(record('users', 2));
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

# A session that closes nothing and opens the next one.
{
	my $one = open_sync($node, $append, {schema => 'unclosed'}, user => 'etl');

	$one->write('{"type": broken');
	like($one->failure, qr/22P02|22032/, 'a sync that has failed');
	my $two = open_sync($node, $append, {schema => 'unclosed'}, session => $one->{session});
	$two->write(messages_of('users', 2));
	is($two->close->{state}, 'loaded', 'and was not closed, is not in the way of the next');
	is($one->close->{state}, 'failed', 'and can still be closed');
	is(rows($node, 'unclosed.users'), '1 2', 'rows of the one that was loaded');
	$one->quit;
}

done_testing();
