# test/t/040_airbyte_crash.pl: whatever is killed in the middle of an Airbyte sync, and whenever: the states
# that can be read back are those of the records that are there, and a source that goes on from them
# brings every record once.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IO::Compress::Gzip qw(gzip);
use LoaderAirbyte;
use LoaderCrash;
use LoaderTest;
use Test::More;

my $conf = "restart_after_crash = on\nloader.max_workers = 8\nloader.retry_delay = '50ms'";
my $plain = new_node('plain', $conf);
my $preload = new_node('preload', "$conf\nshared_preload_libraries = 'loader'\nloader.launcher_naptime = 1");
my $none = packages_dir() . '/none';
my @modes = qw(append overwrite append_dedup);
my $n = 0;

mkdir $none or die $!;

# --- a session's messages -----------------------------------------------------------------------------

# How far the source has come, and what it has sent after the last state. The first stream has old rows
# in its table, the second is new.
my %moment = (
	'before the first state' => {
		messages => [started('first')], more => [record('first', 1)], read => 1, states => [],
		first => {append => '101', overwrite => '101', append_dedup => '1 101'}, second => ''},
	'between two states' => {
		messages => [(messages_of('first', 6))[0 .. 3]], more => [record('first', 3)], read => 3, states => ['first 2'], staged => 'first', kept => '1 2',
		first => {append => '1 2 101', overwrite => '101', append_dedup => '1 101'}, second => ''},
	'after one stream, in the middle of another' => {
		messages => [messages_of('first', 6), (messages_of('second', 6))[0 .. 3]], more => [record('second', 3)], read => 9,
		states => ['first 2', 'first 4', 'first 6', 'second 2'], staged => 'second', kept => '1 2',
		first => {append => '1 2 3 4 5 6 101', overwrite => '1 2 3 4 5 6', append_dedup => '1 2 3 4 5 6 101'},
		second => '1 2'});

# Each gets the node and the syncs.
my %end = (
	'kill -9 of a worker' => sub { crash($_[0], one($_[0], "SELECT pid FROM loader.running() WHERE package_id = $_[1]{id}")) },
	'kill -9 of a session' => sub { crash($_[0], $_[1]{session}{pid}) },
	'an immediate stop' => sub { $_[0]->stop('immediate'); $_[0]->start },
	'a fast stop' => sub { $_[0]->stop('fast'); $_[0]->start },
	'the end of the sessions' => sub { $_->quit for @_[1 .. $#_] },
	'termination of workers, then sessions' => sub {
		my ($node, @syncs) = @_;

		one($node, 'SELECT pg_terminate_backend(pid, 60000) FROM loader.running()');
		$_->quit for @syncs;
	});

sub streams_of
{
	my ($mode, $moment, $sync_id) = @_;

	# a retry of the same sync leaves what is complete as it is, if ids say that it is one
	return [map { {name => $_, mode => $mode, $mode eq 'overwrite' && $moment =~ /after one/ ? (ids => [5, 5, $sync_id]) : ()} } 'first', 'second'];
}

sub sync_of
{
	my ($node, $mode, $moment, $dataset) = @_;

	return open_sync($node, streams_of($mode, $moment, 7), {schema => $dataset}, source_name => quote_literal($dataset));
}

sub states_at
{
	my (@states) = @_;
	my %last = map { split / / } @states;

	return join ', ', map { "$_ $last{$_}" } sort keys %last;
}

# The sync is known to have failed: by the launcher, by a scan, or by the next sync that opens.
sub settle
{
	my ($node, $sync, $how) = @_;

	if ($node == $preload)
	{
		wait_state($node, $sync->{id}, 'failed');
	}
	elsif ($how)
	{
		one($node, 'SELECT loader_scan(' . quote_literal($none) . ')');
		wait_state($node, $sync->{id}, 'failed');
	}
	return;
}

sub interrupt
{
	my ($node, $moment, $end) = @_;
	my $name = ($node == $plain ? 'plain' : 'preload') . ", $moment, $end";
	my $m = $moment{$moment};
	my (%sync, %dataset);

	note($name);
	$n++;
	for my $mode (@modes)
	{
		my $dataset = $dataset{$mode} = "d${n}_$mode";
		my $old = open_sync($node, [{name => 'first', mode => $mode}], {schema => $dataset}, source_name => "'old'");

		$old->write($mode eq 'append_dedup' ? record('first', 1, name => 'old', updated => 0) : (), record('first', 101), complete('first'));
		$old->close->{state} eq 'loaded' or die "old rows of $mode";
		$old->quit;
		$sync{$mode} = sync_of($node, $mode, $moment, $dataset);
		$sync{$mode}->write(@{ $m->{messages} });
	}
	for my $mode (@modes)
	{
		is_deeply([$sync{$mode}->states(scalar @{ $m->{states} })], $m->{states}, "$name, $mode: states came back");
		$sync{$mode}->write(@{ $m->{more} });
		wait_read($sync{$mode}, $m->{read});
		wait_for($node, "SELECT status FROM loader.streams WHERE package_id = $sync{$mode}{id} AND stream = 'first'", 'complete') if $moment =~ /after one/;
	}
	$end{$end}->($node, @sync{@modes});
	$_->quit for values %sync;
	is(nothing_runs($node), 0, "$name: no lock is left") if $end !~ /stop|kill/;
	for my $mode (@modes)
	{
		my ($sync, $dataset) = ($sync{$mode}, $dataset{$mode});
		my $staged = $mode eq 'append' ? undef : $m->{staged};

		is(states_kept($node, $dataset), states_at(@{ $m->{states} }), "$name, $mode: states can be read back");
		is(rows($node, "$dataset.first"), $m->{first}{$mode}, "$name, $mode: what can be seen of the first stream");
		is(rows($node, "$dataset.second"), $mode eq 'append' ? $m->{second} : '', "$name, $mode: and of the second");
		is(one($node, "SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = to_regnamespace('airbyte_internal') AND relkind = 'r' AND relname IN ('${dataset}_first', '${dataset}_second')"),
			$staged ? "${dataset}_$staged" : '', "$name, $mode: what is staged");
		is(rows($node, "airbyte_internal.${dataset}_$staged"), $m->{kept}, "$name, $mode: which is what the states are of") if $staged;
		settle($node, $sync, $mode eq 'overwrite' || $end =~ /end of the sessions/);

		my $next = sync_of($node, $mode, $moment, $dataset);
		is(one($node, "SELECT state, sqlstate, message FROM loader.packages WHERE package_id = $sync->{id}"),
			'failed|08006|the session that sent the messages has gone', "$name, $mode: the interrupted sync has failed");
		my %at = map { split / / } split /, /, states_kept($node, $dataset);
		$next->write(messages_of('first', 6, $at{first}), messages_of('second', 6, $at{second}));
		my $report = $next->close;
		is($report->{state}, 'loaded', "$name, $mode: the next one is loaded") or diag(explain($report->{error}));
		is(one($node, "SELECT count(*) FROM loader.events WHERE package_id = $next->{id} AND kind = 'staged rows kept'"), $staged ? 1 : 0,
			"$name, $mode: and goes on with what was staged");
		is(rows($node, "$dataset.first"), $mode eq 'overwrite' ? '1 2 3 4 5 6' : '1 2 3 4 5 6 101', "$name, $mode: every record of the first stream, once");
		is(one($node, "SELECT name FROM $dataset.first WHERE id = 1"), 'first 1', "$name, $mode: in its newest version");
		is(rows($node, "$dataset.second"), '1 2 3 4 5 6', "$name, $mode: and of the second");
		is(states_kept($node, $dataset), 'first 6, second 6', "$name, $mode: with their states");
		$next->quit;
	}
	is(nothing_runs($node), 0, "$name: nothing runs");
	is(staging_tables($node), '', "$name: nothing is staged");
	return;
}

for my $moment (sort keys %moment)
{
	interrupt($plain, $moment, $_) for 'kill -9 of a worker', 'an immediate stop', 'termination of workers, then sessions';
	interrupt($preload, $moment, $_) for 'kill -9 of a session', 'the end of the sessions';
}
interrupt($plain, 'between two states', 'kill -9 of a session');
interrupt($preload, 'between two states', $_) for 'an immediate stop', 'a fast stop', 'kill -9 of a worker';
interrupt($plain, 'after one stream, in the middle of another', 'the end of the sessions');

# In the middle of the end: the stream is complete, and its rows are on their way into the table.
for my $case (['overwrite', 'ACCESS SHARE', 'kill -9 of a worker'], ['append_dedup', 'SHARE', 'an immediate stop'], ['overwrite', 'ACCESS SHARE', 'the end of the sessions'])
{
	my ($mode, $lock, $end) = @$case;
	my $dataset = 'end' . ++$n;
	my $name = "the end of $mode, $end";
	my $sync = open_sync($plain, [{name => 'first', mode => $mode}], {schema => $dataset}, source_name => quote_literal($dataset));
	my $holder = LoaderCrash->new($plain);

	$sync->write(record('first', 1, name => 'old', updated => 0), record('first', 101), complete('first'));
	is($sync->close->{state}, 'loaded', "$name: old rows");
	$sync = open_sync($plain, [{name => 'first', mode => $mode}], {schema => $dataset}, session => $sync->{session}, source_name => quote_literal($dataset));
	$holder->query("BEGIN; LOCK $dataset.first IN $lock MODE");
	$sync->write(messages_of('first', 6));
	wait_phase($plain, $sync->{id}, 'waiting for locks');
	is_deeply([$sync->states(3)], ['first 2', 'first 4', 'first 6'], "$name: all states came back");
	is(rows($plain, "$dataset.first"), '1 101', "$name: the old rows can be seen");
	$end{$end}->($plain, $sync);
	$_->quit for $sync, $holder;
	if ($end =~ /sessions/)
	{
		# it had all it needed, but nobody had said that this was the end of the input
		wait_state($plain, $sync->{id}, 'failed');
		is(rows($plain, "$dataset.first"), '1 2 3 4 5 6', "$name: a stream that was complete is there");
		my $next = open_sync($plain, [{name => 'first', mode => $mode}], {schema => $dataset}, source_name => quote_literal($dataset));
		$next->write(messages_of('first', 6, 6));
		is($next->close->{state}, 'loaded', "$name: the next sync, whose source has no more, is loaded");
		is(rows($plain, "$dataset.first"), '1 2 3 4 5 6', "$name: and the rows are still there");
		$next->quit;
	}
	else
	{
		is(rows($plain, "$dataset.first"), '1 101', "$name: and after it");
		is(staging_tables($plain), "${dataset}_first", "$name: the new ones are staged");
		is(states_kept($plain, $dataset), 'first 6', "$name: with their state");
		my $next = open_sync($plain, [{name => 'first', mode => $mode}], {schema => $dataset}, source_name => quote_literal($dataset));
		$next->write(messages_of('first', 6, 6));
		is($next->close->{state}, 'loaded', "$name: the next sync, whose source has no more, is loaded");
		is(rows($plain, "$dataset.first"), $mode eq 'overwrite' ? '1 2 3 4 5 6' : '1 2 3 4 5 6 101', "$name: with all rows, once");
		is(one($plain, "SELECT name FROM $dataset.first WHERE id = 1"), 'first 1', "$name: in their newest version");
		$next->quit;
	}
	is(staging_tables($plain), '', "$name: nothing is left staged");
	is(nothing_runs($plain), 0, "$name: nor a lock");
}

# --- what becomes of staged rows ------------------------------------------------------------------------

my $s = LoaderCrash->new($plain);

# A sync of one stream; @messages, and then its session ends, or with COMPLETE among them it is closed.
sub one_sync
{
	my ($dataset, $stream, $arguments, @messages) = @_;
	my $whole = grep { /COMPLETE/ } @messages;
	my $sync = open_sync($plain, [{name => 'users', %$stream}], {schema => $dataset}, source_name => quote_literal($dataset), %$arguments,
		$whole ? (session => $s) : ());

	if ($whole)
	{
		$sync->write(@messages);
		my $report = $sync->close;
		is($report->{state}, 'loaded', "$dataset: loaded") or diag(explain($report->{error}));
	}
	else
	{
		my $last = (grep { $messages[$_] =~ /"STATE"/ } 0 .. $#messages)[-1];
		my @after = splice @messages, $last + 1;
		$sync->write(@messages);
		$sync->states(scalar grep { /"STATE"/ } @messages);
		$sync->write(@after);
		$sync->quit;
		wait_state($plain, $sync->{id}, 'failed');
	}
	return $sync->{id};
}

sub happened
{
	my ($id, $kind) = @_;

	return one($plain, "SELECT count(*) FROM loader.events WHERE package_id = $id AND kind = 'staged rows $kind'");
}

for my $case (
	['full_refresh without ids', {full => 1}, {full => 1}, {}, 'dropped'],
	['force_full_refresh', {}, {}, {force_full_refresh => 'true'}, 'dropped'],
	['another generation', {ids => [6, 6, 1]}, {ids => [7, 7, 2]}, {}, 'dropped'],
	['incremental', {}, {}, {}, 'kept'],
	['full_refresh, another attempt', {full => 1, ids => [6, 6, 1]}, {full => 1, ids => [6, 6, 1]}, {}, 'kept'],
	['another sync of the generation', {ids => [6, 6, 1]}, {ids => [6, 6, 2]}, {}, 'kept'],
	['ids that are always 1', {ids => [1, 1, 1]}, {ids => [1, 1, 1]}, {}, 'kept'])
{
	my ($name, $before, $after, $arguments, $becomes) = @$case;

	for my $mode ('overwrite', 'append_dedup')
	{
		(my $dataset = "staged_${mode}_$name") =~ s/\W+/_/g;
		one_sync($dataset, {mode => $mode}, {}, record('users', 100), complete('users'));
		one_sync($dataset, {mode => $mode, %$before}, {}, record('users', 1), state('users', 1));
		is(staging_tables($plain), "${dataset}_users", "$name, $mode: a row is staged");
		my $id = one_sync($dataset, {mode => $mode, %$after}, $arguments, record('users', 2), state('users', 2), complete('users'));
		is(happened($id, $becomes), 1, "$name, $mode: staged rows are $becomes");
		my $old = $mode eq 'overwrite' || $name =~ /generation|attempt/ ? '' : ' 100';
		is(rows($plain, "$dataset.users"), ($becomes eq 'kept' ? '1 2' : '2') . $old, "$name, $mode: rows");
		is(staging_tables($plain), '', "$name, $mode: nothing is left staged");
	}
}

# Attempts of one sync, of which the first was complete: none takes away what another has brought.
{
	my $ids = {mode => 'overwrite', ids => [5, 5, 9]};

	one_sync('attempts', $ids, {}, record('users', 1), record('users', 2), state('users', 2), complete('users'));
	one_sync('attempts', $ids, {}, record('users', 3), state('users', 3), record('users', 4));
	is(rows($plain, 'attempts.users'), '1 2 3', 'another attempt of a sync that was complete adds to it');
	one_sync('attempts', $ids, {}, record('users', 4), state('users', 4), complete('users'));
	is(rows($plain, 'attempts.users'), '1 2 3 4', 'and so does one more, after the other was interrupted');
	one_sync('attempts', {%$ids, ids => [6, 6, 10]}, {}, record('users', 5), complete('users'));
	is(rows($plain, 'attempts.users'), '5', 'the next sync replaces it');
}

# The end of a stream said twice, or not quite the end.
for my $mode (@modes)
{
	one_sync("twice_$mode", {mode => $mode}, {}, record('users', 1), state('users', 1), complete('users'), complete('users'));
	is(rows($plain, "twice_$mode.users"), '1', "$mode: COMPLETE twice");
	one_sync("twice_$mode", {mode => $mode}, {}, record('users', 2), complete('users'), started('users'), complete('users'));
	is(rows($plain, "twice_$mode.users"), $mode eq 'overwrite' ? '2' : '1 2', "$mode: STARTED and COMPLETE once more");
	one_sync("twice_$mode", {mode => $mode}, {}, record('users', 3), complete('users'), record('users', 4), state('users', 4), complete('users'));
	is(rows($plain, "twice_$mode.users"), $mode eq 'overwrite' ? '3 4' : '1 2 3 4', "$mode: a record between");
}

# --- a state that was given back is on disk ---------------------------------------------------------------

{
	$plain->append_conf('postgresql.conf', "wal_writer_delay = '10s'\nautovacuum = off");
	$plain->restart;
	my $sync = LoaderCrash->new($plain);
	$sync->query('SET synchronous_commit = off');
	$sync = open_sync($plain, [{name => 'users'}], {schema => 'durable'}, session => $sync, source_name => "'durable'");
	$sync->write(record('users', 1), state('users', 1));
	is_deeply([$sync->states(1)], ['users 1'], 'a state, though commits need not wait for the disk');
	$plain->stop('immediate');
	$plain->start;
	$sync->quit;
	is(rows($plain, 'durable.users'), '1', 'is on disk when it is given back');
	is(states_kept($plain, 'durable'), 'users 1', 'with its records');
}

# --- a file ---------------------------------------------------------------------------------------------

# Three streams, one of each mode, mixed; records 1 to 60, each with a state after every few. With
# $broken a line of the middle is. Returns the path, and the number of that line.
sub file
{
	my ($name, $broken) = @_;
	my $path = packages_dir() . "/$name";
	my %every = (append => 7, overwrite => 5, append_dedup => 11);
	my @lines = map { started($_) } @modes;

	for my $id (1 .. 60)
	{
		for my $mode (@modes)
		{
			push @lines, record($mode, $id);
			push @lines, state($mode, $id) if $id % $every{$mode} == 0;
		}
	}
	push @lines, map { (state($_, 60), complete($_)) } @modes;
	$lines[120] = substr($lines[120], 0, 40) if $broken;
	my $text = join('', map { "$_\n" } @lines);
	if ($name =~ /\.gz$/)
	{
		gzip(\$text => $path) or die 'gzip failed';
	}
	else
	{
		spew($path, $text);
	}
	return ($path, 121);
}

sub file_sql
{
	my ($path, $dataset) = @_;

	return "SELECT loader_start(" . quote_literal($path) . ', ' . quote_literal(catalog(map { {name => $_, mode => $_} } @modes))
		. ", config => '{\"schema\": \"$dataset\"}', source_name => '$dataset')";
}

# The table of appended rows, with gates: whoever holds the advisory lock of an id holds the row.
sub gated
{
	my ($node, $dataset) = @_;

	one($node, qq{
		CREATE SCHEMA $dataset;
		CREATE TABLE $dataset.append (_airbyte_raw_id varchar NOT NULL, _airbyte_extracted_at timestamptz NOT NULL, _airbyte_meta jsonb NOT NULL,
			_airbyte_generation_id bigint, id bigint, name varchar, updated bigint);
		CREATE FUNCTION $dataset.gate() RETURNS trigger LANGUAGE plpgsql AS \$\$
		BEGIN IF NEW.id IN (40, 55) THEN PERFORM pg_advisory_xact_lock_shared(40, NEW.id::int); END IF; RETURN NEW; END \$\$;
		CREATE TRIGGER gate BEFORE INSERT ON $dataset.append FOR EACH ROW EXECUTE FUNCTION $dataset.gate()});
	return;
}

sub at_gate
{
	my ($node, $id) = @_;

	wait_for($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND classid = 40 AND objid = $id AND NOT granted", 1);
	return;
}

sub file_is_whole
{
	my ($node, $id, $dataset, $name) = @_;
	my $all = join ' ', 1 .. 60;

	for my $mode (@modes)
	{
		is(rows($node, "$dataset.$mode"), $all, "$name, $mode: every record, once");
	}
	is(one($node, "SELECT string_agg(concat_ws(' ', stream, status, records, states), ', ' ORDER BY stream) FROM loader.streams WHERE package_id = $id"),
		'append complete 60 9, append_dedup complete 60 6, overwrite complete 60 13', "$name: and once in the counters");
	is(one($node, "SELECT string_agg(concat_ws(' ', table_name, rows_inserted), ', ' ORDER BY table_name) FROM loader.tables WHERE package_id = $id"),
		'append 60, append_dedup 60, overwrite 60', "$name: of tables, too");
	is(states_kept($node, $dataset), 'append 60, append_dedup 60, overwrite 60', "$name: states");
	is(staging_tables($node), '', "$name: nothing is staged");
	return;
}

for my $case (
	[$plain, 'file1', '.jsonl', [40, 'kill -9 of a worker'], [55, 'an immediate stop']],
	[$plain, 'file2', '.jsonl.gz', [40, 'an immediate stop']],
	[$preload, 'file3', '.jsonl', [40, 'kill -9 of a worker']],
	[$preload, 'file4', '.jsonl', [55, 'an immediate stop']])
{
	my ($node, $dataset, $suffix, @interruptions) = @$case;
	my ($path) = file("$dataset$suffix");
	my ($id, $holder);

	gated($node, $dataset);
	for my $i (@interruptions)
	{
		my ($gate, $end) = @$i;

		$holder = LoaderCrash->new($node);
		$holder->query("SELECT pg_advisory_lock(40, $gate)");
		if (!$id)
		{
			$id = one($node, 'SET loader.checkpoint_interval = 0; ' . file_sql($path, $dataset));
		}
		else
		{
			# whoever looks for work finds it
			one($node, 'SELECT loader_scan(' . quote_literal($none) . ')');
		}
		at_gate($node, $gate);
		# a state that covers all that came before it was committed
		cmp_ok(one($node, "SELECT sum(states) FROM loader.streams WHERE package_id = $id"), '>', 3, "$dataset, $end at $gate: some is committed");
		is(one($node, "SELECT count(*) FROM $dataset.append WHERE id > 35 AND id >= $gate"), 0, "$dataset, $end at $gate: and the rest is not");
		my $count = one($node, "SELECT count(*) FROM $dataset.append");
		is(one($node, "SELECT records FROM loader.streams WHERE package_id = $id AND stream = 'append'"), $count, "$dataset, $end at $gate: counted as it is");
		$end{$end}->($node, {id => $id});
		$holder->quit;
		is(one($node, "SELECT count(*) >= $count FROM $dataset.append"), 't', "$dataset, $end at $gate: what was committed is there");
	}
	$node == $plain ? is(wait_package($node, $id), 'loaded', "$dataset: goes on") : wait_state($node, $id, 'loaded');
	is(nothing_runs($node), 0, "$dataset: nothing is left");
	file_is_whole($node, $id, $dataset, $dataset);
	is(one($node, file_sql($path, $dataset)), $id, "$dataset: the same file again is the same package");
	is(one($node, "SELECT count(*) FROM $dataset.append"), 60, "$dataset: and not loaded again");
}

# One that is broken: it fails there each time, and what came before stays once.
{
	my ($path, $line) = file('broken.jsonl', 1);
	my $id = one($plain, 'SET loader.checkpoint_interval = 0; ' . file_sql($path, 'broken'));

	is(wait_package($plain, $id), 'failed', 'a file with a broken line fails');
	my $why = one($plain, "SELECT concat_ws(' ', sqlstate, detail) FROM loader.packages WHERE package_id = $id");
	like($why, qr/^22\w+ File "broken\.jsonl", line $line\b/, 'and says which');
	my $before = one($plain, 'SELECT count(*) FROM broken.append');
	cmp_ok($before, '>', 20, 'what states cover before it is there');
	my ($rc, $out, $said) = try_psql($plain, file_sql($path, 'broken'));
	is($out, $id, 'the same file again');
	like($said, qr/NOTICE:.*package $id of this file failed before/, 'has failed before');
	is(one($plain, "SELECT loader_resume($id)"), 't', 'resumed');
	is(wait_package($plain, $id), 'failed', 'it fails again');
	is(one($plain, 'SELECT count(*) FROM broken.append'), $before, 'and has loaded nothing twice');
	file('broken.jsonl');
	is(one($plain, "SELECT loader_resume($id)"), 't', 'resumed after the file was mended');
	is(wait_package($plain, $id), 'failed', 'it fails, since this is another file');
	like(one($plain, "SELECT concat_ws(' ', sqlstate, message, detail) FROM loader.packages WHERE package_id = $id"), qr/changed.*\Q$path\E/, 'and says so');
	is(one($plain, 'SELECT count(*) FROM broken.append'), $before, 'nothing was loaded twice');
	isnt(one($plain, file_sql($path, 'broken')), $id, 'started anew it is another package');
}

# --- a dump in the middle ------------------------------------------------------------------------------------

{
	my @streams = map { {name => $_, mode => $_} } @modes;
	my $open = sub { open_sync($plain, \@streams, {schema => 'dumped'}, session => LoaderCrash->new($plain, database => $_[0] || 'postgres'), source_name => "'dumped'") };
	my $sync = $open->();
	my $dump = packages_dir() . '/dump.sql';

	$sync->write(map { record($_, 100), state($_, 0), complete($_) } @modes);
	is($sync->close->{state}, 'loaded', 'dump: old rows');
	$sync = $open->();
	$sync->write(map { my $mode = $_; (map { record($mode, $_) } 1, 2), state($mode, 2) } @modes);
	$sync->states(3);
	$sync->write(map { record($_, 3) } @modes);
	wait_read($sync, 9);
	$plain->command_ok(['pg_dump', '-f', "$dump.running", '-d', $plain->connstr('postgres')], 'pg_dump while a sync is in its middle');
	$sync->quit;
	wait_state($plain, $sync->{id}, 'failed');
	$plain->command_ok(['pg_dump', '-f', $dump, '-d', $plain->connstr('postgres')], 'pg_dump after it was interrupted');
	for my $database ('postgres', 'running', 'interrupted')
	{
		if ($database ne 'postgres')
		{
			one($plain, "CREATE DATABASE $database");
			$plain->command_ok(['psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $plain->connstr($database), '-f', $database eq 'running' ? "$dump.running" : $dump], "restored as $database");
		}
		is(states_kept($plain, 'dumped', database => $database), 'append 2, append_dedup 2, overwrite 2', "$database: states are there");
		my $next = $open->($database);
		$next->write(map { my $mode = $_; record($mode, 3), state($mode, 3), complete($mode) } @modes);
		is($next->close->{state}, 'loaded', "$database: the next sync is loaded");
		is(rows($plain, "dumped.$_", database => $database), $_ eq 'overwrite' ? '1 2 3' : '1 2 3 100', "$database, $_: and goes on") for @modes;
		is(staging_tables($plain, database => $database), '', "$database: nothing is left staged");
		$next->quit;
	}
}

$plain->stop;
$preload->stop;
done_testing();
