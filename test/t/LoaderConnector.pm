# test/t/LoaderConnector.pm: destination-loader, driven message by message.
#
#	my $c = LoaderConnector->new('write', '--config', $config, '--catalog', $catalog);
#	$c->feed($lines);				# to its standard input; its output is read meanwhile
#	$c->wait_line(qr/"STATE"/);			# until it has said that
#	is($c->end, 0, 'exit status');			# end of the input; -15 if SIGTERM has ended it
#	$c->messages('STATE')				# payloads of all messages of a type, so far
#
# With deaf => 1 nobody reads the output before the end, or before $c->listen.
package LoaderConnector;

use strict;
use warnings;

use Errno qw(EAGAIN EINTR EPIPE);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use JSON::PP ();
use POSIX ();
use Time::HiRes qw(time);

my $program = 'destination-loader';
my $limit = 120;

# Is it there? It is not built without libpq's headers.
sub available
{
	return scalar grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

# new(ARGUMENT..., {deaf => 1, env => {NAME => VALUE...}})
sub new
{
	my ($class, @arguments) = @_;
	my %option = ref $arguments[-1] ? %{ pop @arguments } : ();
	my $self = bless {out => '', err => '', sent => 0, deaf => $option{deaf}}, $class;

	pipe(my $child_in, $self->{to}) or die "pipe: $!";
	pipe($self->{from}, my $child_out) or die "pipe: $!";
	$self->{stderr} = PostgreSQL::Test::Utils::tempdir() . '/stderr';
	$self->{pid} = fork();
	die "fork: $!" unless defined $self->{pid};
	if ($self->{pid} == 0)
	{
		open(STDIN, '<&', $child_in) or POSIX::_exit(127);
		open(STDOUT, '>&', $child_out) or POSIX::_exit(127);
		open(STDERR, '>', $self->{stderr}) or POSIX::_exit(127);
		close $_ for $self->{to}, $self->{from}, $child_in, $child_out;
		$ENV{$_} = $option{env}{$_} for keys %{ $option{env} || {} };
		exec($program, @arguments) or POSIX::_exit(127);
	}
	close $_ for $child_in, $child_out;
	fcntl($self->{to}, F_SETFL, fcntl($self->{to}, F_GETFL, 0) | O_NONBLOCK) or die "fcntl: $!";
	return $self;
}

# Wait up to a second for the program to take or to say something, and see to it. Returns whether
# anything was taken.
sub turn
{
	my ($self, $bytes) = @_;
	my ($readable, $writable) = ('', '');
	my $taken = 0;

	vec($readable, fileno $self->{from}, 1) = 1 if !$self->{deaf} && $self->{from};
	vec($writable, fileno $self->{to}, 1) = 1 if defined $bytes && $self->{to};
	return 0 if select($readable, $writable, undef, 1) <= 0;
	if ($writable ne '' && vec($writable, fileno $self->{to}, 1))
	{
		local $SIG{PIPE} = 'IGNORE';
		my $n = syswrite($self->{to}, $bytes, 65536);

		die "write: $!" unless defined $n || $! == EAGAIN || $! == EINTR || $! == EPIPE;
		die "it has ended\n" if !defined $n && $! == EPIPE;
		$taken = $n || 0;
		$self->{sent} += $taken;
	}
	if ($readable ne '' && vec($readable, fileno $self->{from}, 1))
	{
		my $n = sysread($self->{from}, $self->{out}, 65536, length $self->{out});

		if (defined $n && $n == 0)
		{
			close $self->{from};
			delete $self->{from};
		}
	}
	return $taken;
}

# Give it all these bytes; reads what it says meanwhile.
sub feed
{
	my ($self, $bytes) = @_;
	my $end = time() + $limit;

	while (length $bytes)
	{
		substr($bytes, 0, $self->turn($bytes)) = '';
		die "timed out feeding, $self->{sent} bytes taken" if time() > $end;
	}
	return $self;
}

# Give it these bytes over and over, until it has taken nothing for two seconds, or so many; returns
# how many.
sub stuff
{
	my ($self, $bytes, $max) = @_;
	my $start = $self->{sent};
	my $last = time();

	while (time() - $last < 2 && $self->{sent} - $start < $max)
	{
		$last = time() if $self->turn(substr($bytes, ($self->{sent} - $start) % length $bytes));
	}
	return $self->{sent} - $start;
}

sub listen
{
	my ($self) = @_;

	$self->{deaf} = 0;
	return $self;
}

# Until a whole line of its output matches.
sub wait_line
{
	my ($self, $pattern) = @_;
	my $end = time() + $limit;

	until ((my ($lines) = $self->{out} =~ /^(.*\n)/s) && grep { /$pattern/ } split /\n/, $self->{out} =~ s/[^\n]*\z//r)
	{
		die "it ended without a line like $pattern: $self->{out}" unless $self->{from};
		die "timed out waiting for $pattern, have: $self->{out}" if time() > $end;
		$self->turn;
	}
	return $self;
}

# No more input.
sub close_input
{
	my ($self) = @_;

	close(delete $self->{to}) if $self->{to};
	return $self;
}

# Nobody reads its output any more.
sub close_output
{
	my ($self) = @_;

	close(delete $self->{from}) if $self->{from};
	return $self;
}

# End of the input; all of the output; its exit status, or the signal that ended it, negative.
sub end
{
	my ($self) = @_;

	$self->close_input;
	return $self->wait_end;
}

# The same without an end of the input.
sub wait_end
{
	my ($self) = @_;
	my $end = time() + $limit;

	$self->{deaf} = 0;
	while ($self->{from})
	{
		$self->turn;
		die "timed out waiting for its end, have: $self->{out}" if time() > $end;
	}
	$self->close_input;
	local $SIG{ALRM} = sub { die "timed out waiting for its end" };
	alarm($limit);
	waitpid($self->{pid}, 0);
	alarm(0);
	return $? & 127 ? -($? & 127) : $? >> 8;
}

# Payloads of its messages of one type; dies if a whole line of the output is none.
sub messages
{
	my ($self, $type) = @_;
	my $json = JSON::PP->new->utf8;
	my @all = map { $json->decode($_) } $self->{out} =~ /^(.*)\n/mg;
	my %key = (CONNECTION_STATUS => 'connectionStatus');

	return map { $_->{ $key{$type} || lc $type } } grep { $_->{type} eq $type } @all;
}

# Its messages of the log of one level, as text.
sub logged
{
	my ($self, $level) = @_;

	return map { $_->{message} } grep { $_->{level} eq $level } $self->messages('LOG');
}

# The error that it ended with: {message, internal_message, failure_type, stream_descriptor}.
sub error
{
	my ($self) = @_;
	my @errors = map { $_->{error} } grep { $_->{type} eq 'ERROR' } $self->messages('TRACE');

	return @errors == 1 ? $errors[0] : {message => scalar(@errors) . ' errors', failure_type => ''};
}

sub stderr
{
	my ($self) = @_;

	open(my $fh, '<', $self->{stderr}) or die "$self->{stderr}: $!";
	return join('', <$fh>);
}

# A file of /proc about it; '' where there is none.
sub proc
{
	my ($self, $name) = @_;

	open(my $fh, '<', "/proc/$self->{pid}/$name") or return '';
	return join('', <$fh>);
}

# The most memory that it has used, in kB.
sub peak
{
	my ($self) = @_;

	return $self->proc('status') =~ /VmHWM:\s+(\d+)/ ? $1 : 0;
}

# Run it to its end: the exit status and the driver of what it said.
sub run
{
	my ($class, @arguments) = @_;
	my $self = $class->new(@arguments);

	return ($self->end, $self);
}

1;
