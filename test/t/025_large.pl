# test/t/025_large.pl: memory is bounded by the batch, not by the file; what is too large is refused.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderTest;
use Test::More;

my $MB = 1024 * 1024;

# Kilobytes that a line of a file of /proc says, or that df does; 0 if it does not.
sub kb
{
	my ($file, $name) = @_;

	open(my $fh, '<', $file) or return 0;
	while (<$fh>) { return $1 if /^$name:\s+(\d+) kB/ }
	return 0;
}

my ($free) = `df -Pk '@{[packages_dir()]}'` =~ /\s(\d+)\s+\d+%/;

plan skip_all => 'no /proc to read memory from' unless -r '/proc/self/status' && kb('/proc/self/status', 'VmHWM');
plan skip_all => 'less than 8 GB of disk are free' if ($free || 0) < 8 * 1024 * 1024;
plan skip_all => 'less than 3 GB of memory are free' if kb('/proc/meminfo', 'MemAvailable') < 3 * 1024 * 1024;

# What a process has touched of the shared buffers counts as its memory, so there are few of them.
my $node = new_node('main', "shared_buffers = '16MB'\nmax_wal_size = '64MB'\nautovacuum = off\nwal_level = minimal\nmax_wal_senders = 0");
my @columns = ([id => 'bigint'], [body => 'text']);

# A package whose one file is written by $write, which is given a handle to it.
sub package_file
{
	my ($format, $write) = @_;
	my $path = make_package(format => $format, tables => [{name => 'items', columns => \@columns, file => ''}]);
	my ($file) = glob("$path/new_jobs/*");

	open(my $fh, '>:raw', $file) or die "$file: $!";
	$write->($fh);
	close($fh) or die "$file: $!";
	return ($path, -s $file);
}

# Load, and stop just before the end to read the peak of the coordinator's memory, in MB.
sub peak
{
	my ($path) = @_;
	my $holder = LoaderCrash->new($node);

	$holder->query('BEGIN; LOCK big._dlt_loads IN SHARE MODE');
	my $id = start_package($node, $path, 'big');
	wait_for($node, "SELECT phase = 'publishing' OR state NOT IN ('new', 'loading') FROM loader.packages LEFT JOIN loader.progress USING (package_id) WHERE package_id = $id");
	my $pid = one($node, 'SELECT pid FROM loader.running() WHERE is_coordinator');
	my $peak = $pid ? kb("/proc/$pid/status", 'VmHWM') / 1024 : -1;
	$holder->quit;
	is(wait_package($node, $id), 'loaded', 'loaded') or diag(one($node, "SELECT message, detail FROM loader.packages WHERE package_id = $id"));
	# the next one begins with an empty table
	system('rm', '-rf', $path);
	return sprintf('%.0f', $peak);
}

# Neither compressed nor logged: this is about memory.
is(load($node, make_package(tables => [{name => 'items', columns => \@columns, rows => [[0, 'x']]}]), 'big'), 'loaded', 'table');
one($node, 'ALTER TABLE big.items ALTER body SET STORAGE EXTERNAL, SET UNLOGGED');

my ($path, $size) = package_file('csv', sub { print { $_[0] } "id,body\n1,x\n" });
my $base = peak($path);
my $megabyte = 'x' x $MB;
my $peak;

# 2 GB of rows of 1 MB
($path, $size) = package_file('csv', sub { my $fh = shift; print $fh "id,body\n"; print $fh "$_,$megabyte\n" for 1 .. 2048 });
cmp_ok($size, '>', 2048 * $MB, '2 GB of csv');
$peak = peak($path);
note("$base MB for one row, $peak MB for 2 GB of rows of 1 MB");
cmp_ok($peak - $base, '<', 64, 'memory for rows of 1 MB');
is(one($node, 'SELECT count(*), sum(length(body))::bigint, sum(id) FROM big.items WHERE id > 0'), '2049|2147483649|2098177', 'all is there');
one($node, 'TRUNCATE big.items');

# many short ones, in each format
my %line = (csv => sub { qq{$_[0],"line $_[0]"\n} }, jsonl => sub { qq({"id":$_[0],"body":"line $_[0]"}\n) },
	insert_values => sub { ($_[0] > 1 ? ",\n" : '') . "($_[0],E'line $_[0]')" });
my %before = (csv => "id,body\n", jsonl => '', insert_values => qq{INSERT INTO {}("id","body")\nVALUES\n});

for my $format (sort keys %line)
{
	($path, $size) = package_file($format, sub {
		my $fh = shift;
		print $fh $before{$format};
		print $fh $line{$format}->($_) for 1 .. 1_000_000;
		print $fh ';' if $format eq 'insert_values' });
	$peak = peak($path);
	note("$peak MB for " . int($size / $MB) . " MB of short rows of $format");
	cmp_ok($peak - $base, '<', 64, "memory for short rows of $format");
	is(one($node, 'SELECT count(*), sum(id) FROM big.items'), '1000000|500000500000', "$format: all is there");
	one($node, 'TRUNCATE big.items');

	# one value of 200 MB
	my ($left, $right) = $format eq 'csv' ? ('1,"', "\"\n") : $format eq 'jsonl' ? ('{"id":1,"body":"', "\"}\n") : ("(1,E'", "');");
	($path) = package_file($format, sub {
		my $fh = shift;
		print $fh $before{$format}, $left;
		print $fh $megabyte for 1 .. 200;
		print $fh $right });
	$peak = peak($path);
	note("$peak MB for a value of 200 MB of $format");
	cmp_ok($peak - $base, '<', 1000, "memory for a value of 200 MB of $format");
	is(one($node, 'SELECT id, length(body) FROM big.items'), '1|' . 200 * $MB, "$format: it is there");
	one($node, 'TRUNCATE big.items');

	# one that no column can hold
	($path) = package_file($format, sub {
		my $fh = shift;
		print $fh $before{$format}, $left;
		print $fh $megabyte for 1 .. 1100;
		print $fh $right });
	my $id = start_package($node, $path, 'big');
	is(wait_package($node, $id), 'failed', "a value of 1.1 GB of $format fails");
	is(one($node, "SELECT sqlstate FROM loader.packages WHERE package_id = $id"), '54000', "$format: as beyond a limit");
	my $message = one($node, "SELECT message || ' ' || detail FROM loader.packages WHERE package_id = $id");
	like($message, qr/longer than \d+ bytes.* line \d+/, "$format: with a clear message");
	cmp_ok(length $message, '<', 1000, "$format: that does not quote it");
	one($node, "SELECT loader_forget($id)");
	system('rm', '-rf', $path);
}

# Two values that are not too large each, in a row that is.
{
	my $wide = make_package(format => 'csv', tables => [{name => 'wide', columns => [@columns, [more => 'text']], file => ''}]);
	my ($file) = glob("$wide/new_jobs/*");

	open(my $fh, '>:raw', $file) or die "$file: $!";
	print $fh "id,body,more\n1,x,y\n2,";
	print $fh $megabyte for 1 .. 600;
	print $fh ',';
	print $fh $megabyte for 1 .. 600;
	print $fh "\n";
	close($fh) or die "$file: $!";
	my $id = start_package($node, $wide, 'big');
	is(wait_package($node, $id), 'failed', 'a row of 1.2 GB fails');
	note(one($node, "SELECT sqlstate, message, detail FROM loader.packages WHERE package_id = $id"));
	like(one($node, "SELECT detail FROM loader.packages WHERE package_id = $id"), qr/\.csv", line(?: 3|s 2 to 3)/, 'and says which');
	is(one($node, "SELECT sqlstate FROM loader.packages WHERE package_id = $id"), '54000', 'as beyond a limit');
	one($node, "SELECT loader_forget($id)");
}

# Rows that were rejected are loaded again a few at a time, however long they are.
{
	my ($bad) = package_file('csv', sub { my $fh = shift; print $fh "id,body\n"; print $fh "9223372036854775808,", substr($megabyte, 100), "\n" for 1 .. 150 });
	my $id = start_package($node, $bad, 'big', arguments => {on_error => 'reject'});
	my $session = LoaderCrash->new($node);
	my $pid = $session->query('SELECT pg_backend_pid()');

	is(wait_package($node, $id), 'loaded', '150 rows of 1 MB are rejected');
	one($node, 'ALTER TABLE big.items ALTER id TYPE numeric');
	$session->query('SELECT 1 FROM big.items LIMIT 1');
	my $before = kb("/proc/$pid/status", 'VmHWM') / 1024;
	is($session->query("SELECT loaded, \"left\" FROM loader_replay($id)"), '150|0', 'and loaded again');
	my $after = kb("/proc/$pid/status", 'VmHWM') / 1024;
	note(sprintf('%.0f MB before, %.0f MB after', $before, $after));
	cmp_ok($after - $before, '<', 64, 'memory for that');
	$session->quit;
}

$node->stop;
done_testing();
