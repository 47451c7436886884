# test/t/LoaderAirbyte.pm: for the tests of Airbyte syncs: messages made on the fly, and a session that
# sends them.
#
#	my $sync = open_sync($node, [{name => 'users', mode => 'append'}], {schema => 'shop'}, source_name => "'crm'");
#	$sync->write(record('users', 1), state('users', 1));
#	is_deeply([$sync->states(1)], ['users 1'], 'the state comes back');
#	is($sync->close->{state}, 'loaded', 'loaded');
#
# Each stream has the columns id, name and updated, its cursor; append_dedup's key is id.
package LoaderAirbyte;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP ();
use LoaderCrash;
use LoaderTest;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(catalog record state status started complete messages_of grant_airbyte open_sync open_sql rows states_kept
	staging_tables wait_read);

my $json = JSON::PP->new->canonical->utf8;

# --- messages ---------------------------------------------------------------------------------------

# The configured catalog of streams: {name, mode => 'append', full => 1 for full_refresh, namespace,
# ids => [generation_id, minimum_generation_id, sync_id]}.
sub catalog
{
	my (@streams) = @_;
	my @configured;

	for my $s (@streams)
	{
		my %c = (
			stream => {
				name => $s->{name}, supported_sync_modes => ['full_refresh', 'incremental'],
				json_schema => {type => 'object', properties => {
					id => {type => 'integer'}, name => {type => 'string'}, updated => {type => 'integer'}}}},
			sync_mode => $s->{full} ? 'full_refresh' : 'incremental',
			destination_sync_mode => $s->{mode} || 'append', cursor_field => ['updated'], primary_key => [['id']]);

		$c{stream}{namespace} = $s->{namespace} if $s->{namespace};
		@c{qw(generation_id minimum_generation_id sync_id)} = @{ $s->{ids} } if $s->{ids};
		push @configured, \%c;
	}
	return $json->encode({streams => \@configured});
}

# One record; its name and cursor can be given.
sub record
{
	my ($stream, $id, %data) = @_;

	return $json->encode({type => 'RECORD', record => {stream => $stream, emitted_at => 1700000000000 + $id,
		data => {id => $id, name => "$stream $id", updated => $id, %data}}});
}

sub state
{
	my ($stream, $at) = @_;

	return $json->encode({type => 'STATE', state => {type => 'STREAM',
		stream => {stream_descriptor => {name => $stream}, stream_state => {at => $at}}}});
}

sub status
{
	my ($stream, $status) = @_;

	return $json->encode({type => 'TRACE', trace => {type => 'STREAM_STATUS', emitted_at => 1700000000000,
		stream_status => {stream_descriptor => {name => $stream}, status => $status}}});
}

sub started { return status($_[0], 'STARTED') }
sub complete { return status($_[0], 'COMPLETE') }

# All that a source has to say of a stream of records 1 to N, after record $after: a state follows each
# second one.
sub messages_of
{
	my ($stream, $n, $after) = @_;

	return (started($stream), (map { (record($stream, $_), $_ % 2 == 0 ? state($stream, $_) : ()) } ($after || 0) + 1 .. $n),
		complete($stream));
}

# --- a session that sends them ------------------------------------------------------------------------

sub grant_airbyte
{
	my ($node, $role) = @_;

	one($node, "GRANT EXECUTE ON FUNCTION loader_airbyte_open, loader_airbyte_write, loader_airbyte_close,
		loader_start(text, json, jsonb, text, text[], text, boolean, boolean, text) TO $role");
	return;
}

# SELECT of loader_airbyte_open; more arguments as SQL.
sub open_sql
{
	my ($streams, $config, %argument) = @_;

	return 'SELECT loader_airbyte_open(' . join(', ', quote_literal($json->encode($config)), quote_literal(catalog(@$streams)),
		map { "$_ => $argument{$_}" } sort keys %argument) . ')';
}

# Dies if it cannot be opened. session => a LoaderCrash, or user => for a new one.
sub open_sync
{
	my ($node, $streams, $config, %argument) = @_;
	my $user = delete $argument{user};
	my $session = delete $argument{session} || LoaderCrash->new($node, user => $user);
	my $self = bless {session => $session, node => $node, seen => ''}, 'LoaderAirbyte::Sync';

	$self->{id} = $session->query(open_sql($streams, $config, %argument));
	die "could not open: $self->{id}" unless $self->{id} =~ /^\d+$/;
	return $self;
}

# The call that sends these messages.
sub LoaderAirbyte::Sync::sql
{
	my ($self, @messages) = @_;
	my $text = join('', map { "$_\n" } @messages);

	return "SELECT loader_airbyte_write($self->{id}, " . ($text eq '' ? 'NULL' : "convert_to(\$m\$$text\$m\$, 'UTF8')") . ')';
}

# Send them; returns what the call says. The states among it are kept.
sub LoaderAirbyte::Sync::write
{
	my ($self, @messages) = @_;
	my $said = $self->{session}->query($self->sql(@messages));

	$self->{seen} .= "$said\n";
	return $said;
}

# A state as 'stream cursor', in the order in which they came.
sub LoaderAirbyte::Sync::states_seen
{
	my ($self) = @_;

	return map { my $s = $json->decode($_); "$s->{stream}{stream_descriptor}{name} $s->{stream}{stream_state}{at}" }
		grep { /^\{.*"destinationStats"/ } split /\n/, $self->{seen};
}

# Look until so many states have come; returns them.
sub LoaderAirbyte::Sync::states
{
	my ($self, $n) = @_;
	my $end = time() + 180;

	while ($self->states_seen < $n)
	{
		my $said = $self->write;

		die "no state, but $said" if $said =~ /ERROR/;
		die "timed out waiting for state $n; there are: " . join(', ', $self->states_seen) if time() > $end;
		sleep 0.05;
	}
	return $self->states_seen;
}

# Look until a call fails; returns what it says.
sub LoaderAirbyte::Sync::failure
{
	my ($self) = @_;
	my $end = time() + 180;

	for (;;)
	{
		my $said = $self->write;

		return $said if $said =~ /ERROR/;
		die 'timed out waiting for the sync to fail' if time() > $end;
		sleep 0.05;
	}
}

# The report; its states count as seen.
sub LoaderAirbyte::Sync::close
{
	my ($self) = @_;
	my $said = $self->{session}->query("SELECT loader_airbyte_close($self->{id})");
	my $report = eval { $json->decode($said) } || die "no report, but $said";

	$self->{seen} .= $json->encode($_) . "\n" for @{ $report->{states} };
	return $report;
}

sub LoaderAirbyte::Sync::quit
{
	my ($self) = @_;

	$self->{session}->quit;
	return;
}

# --- what can be seen ----------------------------------------------------------------------------------

# Until the worker has read so many records.
sub wait_read
{
	my ($sync, $n) = @_;

	wait_for($sync->{node}, "SELECT rows_read FROM loader.running() WHERE package_id = $sync->{id}", $n);
	return;
}

# ids of a table, in order, each as often as it is there.
sub rows
{
	my ($node, $table, %option) = @_;

	return one($node, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM $table", %option);
}

# The states that a source would go on from: 'first 2, second 4'.
sub states_kept
{
	my ($node, $source, %option) = @_;
	my $states = $json->decode(one($node, 'SELECT loader_airbyte_states(' . quote_literal($source) . ')', %option));

	return join ', ', sort map { "$_->{stream}{stream_descriptor}{name} $_->{stream}{stream_state}{at}" } @$states;
}

# Names of staging tables.
sub staging_tables
{
	my ($node, %option) = @_;

	return one($node, q{SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
		WHERE relkind = 'r' AND relnamespace = to_regnamespace('airbyte_internal')}, %option);
}

1;
