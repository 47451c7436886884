# test/t/041_airbyte_large.pl: the memory of an Airbyte sync is bounded by its longest record, not by the
# stream.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderAirbyte;
use LoaderCrash;
use LoaderTest;
use Test::More;

# Kilobytes that a line of a file of /proc says; 0 if it does not.
sub kb
{
	my ($file, $name) = @_;

	open(my $fh, '<', $file) or return 0;
	while (my $line = <$fh>) { return $1 if $line =~ /^$name:\s+(\d+) kB/ }
	return 0;
}

my ($free) = `df -Pk '@{[packages_dir()]}'` =~ /\s(\d+)\s+\d+%/;

plan skip_all => 'no /proc to read memory from' unless -r '/proc/self/status' && kb('/proc/self/status', 'VmHWM');
plan skip_all => 'less than 4 GB of disk are free' if ($free || 0) < 4 * 1024 * 1024;
plan skip_all => 'less than 3 GB of memory are free' if kb('/proc/meminfo', 'MemAvailable') < 3 * 1024 * 1024;

# What a process has touched of the shared buffers counts as its memory, so there are few of them.
my $node = new_node('main', "shared_buffers = '16MB'\nmax_wal_size = '64MB'\nautovacuum = off\nwal_level = minimal\nmax_wal_senders = 0");
my @streams = ({name => 'a'}, {name => 'b', mode => 'append_dedup'});

# Records of a stream, ids from $from on, with names of $size characters; made by the server.
sub made
{
	my ($stream, $from, $n, $size) = @_;
	my $text = record($stream, 99999, name => 'NAME');

	$text =~ s/17000\d+/1700000000000/;
	$text =~ s/99999/' || i || '/g;
	$text =~ s/NAME/' || repeat('x', $size) || '/;
	return "SELECT convert_to(string_agg('$text', E'\\n') || E'\\n', 'UTF8') FROM generate_series($from, @{[$from + $n - 1]}) i";
}

# Peaks in MB: of the worker, of the session's backend.
sub peaks
{
	my ($sync) = @_;
	my $pid = one($node, "SELECT pid FROM loader.running() WHERE package_id = $sync->{id}");

	return map { sprintf '%.0f', kb("/proc/$_/status", 'VmHWM') / 1024 } $pid, $sync->{session}{pid};
}

sub sync
{
	my ($schema, $write) = @_;
	my $sync = open_sync($node, \@streams, {schema => $schema});

	$sync->write(started('a'), started('b'));
	$write->($sync);
	# read to the end, so that the peak is that of all
	wait_for($node, "SELECT rows_read FROM loader.running() WHERE package_id = $sync->{id}", $sync->{sent});
	my @peaks = peaks($sync);
	$sync->write(complete('a'), complete('b'));
	my $report = $sync->close;
	is($report->{state}, 'loaded', "$schema: loaded") or diag(explain($report->{error}));
	$sync->quit;
	return @peaks;
}

sub send_made
{
	my ($sync, $stream, $from, $n, $size) = @_;

	is($sync->{session}->query("SELECT count(*) FROM loader_airbyte_write($sync->{id}, (" . made($stream, $from, $n, $size) . '))') =~ /^\d+$/, 1, "$n records of $size characters sent");
	$sync->{sent} += $n;
	return;
}

my @base = sync('small', sub { send_made($_[0], $_, 1, 10, 1000) for 'a', 'b' });

# 200 MB, in states of 10; of the direct stream, and beside it of one that has to wait for a state
my @peaks = sync('stream', sub {
	my ($sync) = @_;
	for my $i (0 .. 19)
	{
		send_made($sync, 'a', 1 + $i * 5000, 5000, 1000);
		send_made($sync, 'b', 1 + $i * 5000, 5000, 1000);
		$sync->write(state('a', $i), state('b', $i)) if $i % 5 == 4;
	}});
note("@base MB for little, @peaks MB for a stream of 200 MB");
cmp_ok($peaks[0] - $base[0], '<', 64, 'memory of the worker for a stream of 200 MB');
cmp_ok($peaks[1] - $base[1], '<', 64, 'and of the session, for calls of 5 MB');
is(one($node, 'SELECT count(*), count(DISTINCT id) FROM stream.a'), '100000|100000', 'all is there');
is(one($node, 'SELECT count(*), count(DISTINCT id) FROM stream.b'), '100000|100000', 'of both streams');

# no state at all before the end: the second stream waits in a temporary file
@peaks = sync('stateless', sub { my ($sync) = @_; for my $i (0 .. 9) { send_made($sync, $_, 1 + $i * 5000, 5000, 2000) for 'a', 'b' } });
note("@peaks MB without states");
cmp_ok($peaks[0] - $base[0], '<', 64, 'memory of the worker without states');
is(one($node, 'SELECT (SELECT count(*) FROM stateless.a), (SELECT count(*) FROM stateless.b)'), '50000|50000', 'all is there');
wait_for($node, 'SELECT count(*) FROM pg_ls_tmpdir()', 0);
pass('no temporary file is left');

# one record of 100 MB
for my $stream ('a', 'b')
{
	@peaks = sync("long_$stream", sub { send_made($_[0], $stream, 1, 1, 100 * 1024 * 1024); send_made($_[0], $stream, 2, 100, 1000) });
	note("@peaks MB for a record of 100 MB");
	cmp_ok($peaks[0] - $base[0], '<', 600, 'memory of the worker for a record of 100 MB');
	is(one($node, "SELECT count(*), max(length(name)) FROM long_$stream.$stream"), '101|104857600', 'it is there');
}

# one that no column can hold, in pieces, as a client sends it
{
	my $sync = open_sync($node, \@streams, {schema => 'beyond'});
	my ($left, $right) = split /NAME/, record('a', 1, name => 'NAME');

	$sync->{session}->query("SELECT loader_airbyte_write($sync->{id}, convert_to(\$m\$$left\$m\$, 'UTF8'))");
	is($sync->{session}->query("SELECT loader_airbyte_write($sync->{id}, convert_to(repeat('x', 50 * 1024 * 1024), 'UTF8'))"), '', 'a piece of a value') for 1 .. 22;
	$sync->write($right, record('a', 2), complete('a'), complete('b'));
	my $report = $sync->close;
	is("$report->{state} $report->{records} $report->{streams}[0]{nulled_values}", 'loaded 2 1', 'a value of more than 1 GB does not fail the sync');
	is(one($node, q{SELECT id, name, _airbyte_meta -> 'changes' FROM beyond.a ORDER BY id}),
		qq{1||[{"field": "name", "change": "NULLED", "reason": "DESTINATION_FIELD_SIZE_LIMITATION"}]\n2|a 2|[]}, 'it is NULL, and noted');
	$sync->quit;
}

$node->stop;
done_testing();
