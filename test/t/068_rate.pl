# test/t/068_rate.pl: loader.max_rate: a load takes at least as long as its bytes need, and can be
# stopped while it waits.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderAirbyte;
use LoaderCrash;
use LoaderTest;
use Test::More;

my $node = new_node('main', "loader.min_parallel_file_size = 0\nloader.workers = 1\nmax_worker_processes = 24\nmax_parallel_workers = 8");
my @columns = ([id => 'bigint'], [body => 'text']);
my @rows = map { [$_, "$_ " x 20] } 1 .. 3000;
my $RATE = 512;		# kB a second

sub package_of
{
	my ($format, $jobs) = @_;

	return make_package(format => $format, tables => [{name => 'items', columns => \@columns, rows => \@rows, jobs => $jobs || 1}]);
}

sub bytes_of
{
	my ($path) = @_;
	my $bytes = 0;

	$bytes += -s $_ for glob("$path/new_jobs/*");
	return $bytes;
}

# A load at that rate; what it took by the server's clock, against what it has to take.
sub paced
{
	my ($path, $dataset, $what, %option) = @_;
	my $rate = $option{rate} || $RATE;
	my $least = bytes_of($path) / $rate / 1024;
	my $id = start_package($node, $path, $dataset, %option, settings => {'loader.max_rate' => $rate, %{ $option{settings} || {} }});

	is(wait_package($node, $id), 'loaded', "$what: loaded");
	my $took = one($node, "SELECT extract(epoch FROM finished_at - started_at) FROM loader.packages WHERE package_id = $id");
	note(sprintf('%s: %.2f s for %.2f s of bytes', $what, $took, $least));
	cmp_ok($least, '>', 0.1, "$what: there is something to wait for");
	# the clocks are two
	cmp_ok($took, '>=', 0.98 * $least, "$what: not faster than its bytes may come");
	is(one($node, "SELECT count(*), sum(id) FROM $dataset.items"), '3000|4501500', "$what: all is there");
	return $id;
}

for my $format (qw(csv jsonl insert_values))
{
	paced(package_of($format), "of_$format", $format);
}

# what counts is the file as it is
my $packed = package_of('csv');
system('gzip', '-1', glob("$packed/new_jobs/*")) == 0 or die 'gzip';
paced($packed, 'packed', 'csv.gz', rate => 32);

paced(package_of('csv', 100), 'jobs', 'many files');
paced(package_of('csv'), 'rejects', 'rejects', arguments => {on_error => 'reject'});
my $id = paced(package_of('csv'), 'parallel', 'parallel', settings => {'loader.workers' => 2, 'loader.storage_sink' => 'on'});
is(one($node, "SELECT count(*) FROM loader.events WHERE kind = 'parallel' AND package_id = $id"), '1', 'by parallel workers');

# --- a file of Airbyte messages ------------------------------------------------------------------

{
	my $file = spew(packages_dir() . '/messages.jsonl', join('', map { "$_\n" } messages_of('items', 2000)));
	my $least = (-s $file) / $RATE / 1024;
	my $sync = one($node, "SET loader.max_rate = '512kB'; SELECT loader_start(" . quote_literal($file) . ', catalog => '
		. quote_literal(catalog({name => 'items'})) . ", config => '{\"schema\": \"messages\"}')");

	is(wait_package($node, $sync), 'loaded', 'a sync: loaded');
	cmp_ok($least, '>', 0.1, 'a sync: there is something to wait for');
	cmp_ok(one($node, "SELECT extract(epoch FROM finished_at - started_at) FROM loader.packages WHERE package_id = $sync"), '>=', 0.98 * $least,
		'a sync: not faster than its bytes may come');
	is(one($node, 'SELECT count(*) FROM messages.items'), '2000', 'a sync: all is there');
}

# --- stopped while it waits: at 1 kB a second these would take minutes ------------------------------

for my $parallel (0, 1)
{
	my $what = $parallel ? 'parallel: ' : '';
	my $slow = start_package($node, package_of('csv'), "slow_$parallel",
		settings => {'loader.max_rate' => '1kB', 'loader.workers' => $parallel ? 2 : 1, 'loader.storage_sink' => 'on'});
	my $waits = "SELECT count(*) > 0 FROM pg_stat_activity JOIN loader.running() r USING (pid) WHERE r.package_id = $slow
		AND wait_event = 'Extension' AND (SELECT bytes_done > 0 FROM loader.progress WHERE package_id = $slow)";

	wait_for($node, $waits);
	one($node, "SELECT loader_cancel($slow)");
	is(wait_package($node, $slow), 'cancelled', "${what}loader_cancel");
	is(one($node, "SELECT to_regclass('slow_$parallel.items') IS NULL"), 't', "${what}nothing of it is there");
}

# what a source says before its first record is read between transactions
{
	my $log = '{"type": "LOG", "log": {"level": "INFO", "message": "' . 'x' x 1000 . '"}}' . "\n";
	my $file = spew(packages_dir() . '/talk.jsonl', $log x 3000 . join('', map { "$_\n" } messages_of('items', 10)));
	my $sync = one($node, "SET loader.max_rate = '1kB'; SELECT loader_start(" . quote_literal($file) . ', catalog => '
		. quote_literal(catalog({name => 'items'})) . ", config => '{\"schema\": \"talk\"}')");

	wait_for($node, "SELECT count(*) > 0 FROM pg_stat_activity JOIN loader.running() r USING (pid) WHERE r.package_id = $sync AND wait_event = 'Extension'
		AND (SELECT bytes_done > 0 FROM loader.progress WHERE package_id = $sync)");
	one($node, "SELECT loader_cancel($sync)");
	is(wait_package($node, $sync), 'cancelled', 'a sync: loader_cancel');
}

$node->stop;
done_testing();
