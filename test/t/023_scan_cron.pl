# test/t/023_scan_cron.pl: loader_scan: what it takes and what not, and the real pg_cron calling it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderTest;
use File::Path qw(make_path);
use Test::More;

my $top = packages_dir();
my $node = new_node('main');

sub scan_sql
{
	my ($dir, $dataset) = @_;

	return 'SELECT loader_scan(' . quote_literal("$top/$dir") . ($dataset ? ", '$dataset'" : '') . ')';
}

# Scan and wait for what was started. Returns the load_ids in the order in which they were started,
# and what was said.
sub scan
{
	my ($dir, $dataset, %option) = @_;
	my ($rc, $out, $said) = try_psql($node, scan_sql($dir, $dataset), %option);
	my @ids = split /\n/, $out;

	die $said if $rc != 0;
	wait_package($node, $_) for @ids;
	return (join(' ', map { one($node, "SELECT load_id FROM loader.packages WHERE package_id = $_") } @ids), $said);
}

sub package_in
{
	my ($dir, $load_id, @more) = @_;

	make_path("$top/$dir");
	return items_package(@more ? splice(@more, 0, 2) : (1, 2), dir => "$top/$dir", load_id => $load_id, @more);
}

# --- what it takes ------------------------------------------------------------------------------------------

# dlt's working directory: only what normalize has finished.
{
	my $p = 'pipelines/shop';

	package_in("$p/load/normalized", '1700000002.5', 1, 2);
	package_in("$p/load/new", '1700000003.5', 3, 4);
	package_in("$p/load/loaded", '1700000001.5', 5, 6);
	package_in("$p/normalize/normalized", '1700000004.5', 7, 8);
	package_in("$p/normalize/extracted", '1700000005.5', 9, 10);
	make_path("$top/$p/schemas", "$top/pipelines/empty/load/normalized", "$top/pipelines/empty/normalize");
	package_in('pipelines/two/load/normalized', '1699999999.5', 11, 12, schema => 'two');
	make_path("$top/pipelines/two/normalize");
	my ($loaded, $said) = scan('pipelines', 'dlt');
	is($loaded, '1699999999.5 1700000002.5', 'of pipelines only load/normalized, by load_id');
	is($said, '', 'without a word');
	is(one($node, 'SELECT string_agg(id::text, \',\' ORDER BY id) FROM dlt.items'), '1,2,11,12', 'their rows');
	is_deeply([scan("$p/load", 'dlt2')], ['1700000002.5', ''], 'from the load directory');
	is_deeply([scan("$p/load/normalized", 'dlt3')], ['1700000002.5', ''], 'from the directory of packages');
	is_deeply([scan("$p/load/normalized/1700000002.5", 'dlt4')], ['1700000002.5', ''], 'from the package itself');
	is_deeply([scan('pipelines', 'dlt')], ['', ''], 'again: nothing, and without a word');
}

# Ids are seconds with a fraction of any length; text order would be another.
{
	my $key = 0;

	package_in('order', $_, ++$key, $key) for qw(9.5 10.25 10.3 100 10.125);
	is((scan('order', 'ordered'))[0], '9.5 10.125 10.25 10.3 100', 'in the order of time');
	is(one($node, "SELECT array_agg(load_id ORDER BY package_id) FROM loader.packages WHERE dataset = 'ordered'"),
		'{9.5,10.125,10.25,10.3,100}', 'registered in this order');
}

# The default dataset of a package comes from its pipeline's state.
{
	package_in('default', '1700000010.5', 1, 2,
		pipeline_state => {pipeline_name => 'p', state => '{"dataset_name": "from_state", "default_schema_name": "test", "sources": {}}'});
	is_deeply([scan('default')], ['1700000010.5', ''], 'without a dataset');
	is(one($node, 'SELECT count(*) FROM from_state.items'), 2, 'it is the one of the state');
}

# Half a package is none, and no reason to complain; it may be on its way.
{
	my $path = package_in('half', '1700000020.5');

	for my $part (qw(schema.json load_package_state.json new_jobs))
	{
		rename("$path/$part", "$path/.$part") or die $!;
		is_deeply([scan('half', 'half')], ['', ''], "without $part");
		rename("$path/.$part", "$path/$part") or die $!;
	}
	rename($path, "$top/half/.copying") or die $!;
	is_deeply([scan('half', 'half')], ['', ''], 'a name that begins with a dot');
	rename("$top/half/.copying", $path) or die $!;
	is_deeply([scan('half', 'half')], ['1700000020.5', ''], 'complete, and renamed in');
	symlink($path, "$top/half/1700000021.5") or die $!;
	is_deeply([scan('half', 'half')], ['', ''], 'links are not followed');
}

# One that cannot be loaded does not keep the others from it.
{
	my %why;
	my %bad = (
		'1700000030.5' => sub { spew("$_[0]/schema.json", "{\n\"name\": x}"); 'JSON' },
		'1700000031.5' => sub { spew("$_[0]/new_jobs/items.abc.0.parquet", 'PAR1'); 'file format "parquet" is not supported' },
		'1700000032.5' => sub { spew("$_[0]/new_jobs/nothing.abc.0.csv", ''); 'not in the package' },
		'1700000033.5' => sub { make_path("$_[0]/started_jobs"); spew("$_[0]/started_jobs/items.abc.0.csv", ''); 'not a package that can be loaded' },
		'1700000034.5' => sub { symlink('/etc/passwd', "$_[0]/new_jobs/items.abc.0.csv"); 'not a package that can be loaded' },
		'1700000035.5' => sub { spew("$_[0]/new_jobs/items.0000000001.1.insert_values", ''); 'not a package that can be loaded' });

	$why{$_} = $bad{$_}->(package_in('bad', $_)) for sort keys %bad;
	package_in('bad', '1700000029.5', 1, 2);
	package_in('bad', '1700000039.5', 3, 4);
	my ($loaded, $said) = scan('bad', 'bad');
	is($loaded, '1700000029.5 1700000039.5', 'those that are whole are loaded');
	is(scalar(() = $said =~ /WARNING:  /g), 6, 'a WARNING for each of the others');
	like($said, qr/WARNING:  \w{5}: skipped "\Q$top\E\/bad\/\Q$_\E": .*\Q$why{$_}\E/, "$_: $why{$_}") for sort keys %bad;
	($loaded, $said) = scan('bad', 'bad');
	is($loaded, '', 'nothing to load the next time');
	is(scalar(() = $said =~ /WARNING:  /g), 6, 'but the same WARNINGs');
	is(one($node, "SELECT string_agg(id::text, ',' ORDER BY id) FROM bad.items"), '1,2,3,4', 'the rows');
}

# A directory that cannot be read is a WARNING, too.
SKIP:
{
	skip 'root reads everything', 2 if $> == 0;
	package_in('closed/inner', '1700000040.5');
	package_in('closed', '1700000041.5');
	chmod 0, "$top/closed/inner";
	my ($loaded, $said) = scan('closed', 'closed');
	chmod 0755, "$top/closed/inner";
	is($loaded, '1700000041.5', 'beside a directory that is closed');
	like($said, qr/WARNING:  42501: could not look into "\Q$top\E\/closed\/inner": Permission denied/, 'which is a WARNING');
}

# A failed package waits for somebody to look at it.
{
	my $path = package_in('failed', '1700000050.5', 1, 2, file => 'INSERT INTO {}("id") VALUES (1');
	my $event = "SELECT count(*) FROM loader.events e JOIN loader.packages p USING (package_id) WHERE dataset = 'failed'";

	is((scan('failed', 'failed'))[0], '1700000050.5', 'taken');
	is(one($node, "SELECT state FROM loader.packages WHERE dataset = 'failed'"), 'failed', 'and failed');
	my $events = one($node, $event);
	is_deeply([scan('failed', 'failed')], ['', ''], 'not taken again') for 1 .. 3;
	is(one($node, $event), $events, 'and not tried');
	package_in('failed', '1700000051.5', 3, 4);
	my ($rc, $id) = try_psql($node, scan_sql('failed', 'failed'));
	isnt($id, '', 'a later one is registered');
	is_deeply([scan('failed', 'failed')], ['', ''], 'once');
	is(nothing_runs($node), 0, 'and waits');
	is(one($node, "SELECT state FROM loader.packages WHERE package_id = $id"), 'new', 'behind the failed one');
	is(one($node, "SELECT loader_cancel(package_id) FROM loader.packages WHERE load_id = '1700000050.5'"), 't', 'the failed one is given up');
	is(wait_package($node, $id), 'loaded', 'and the later one loads');
	is_deeply([scan('failed', 'failed')], ['', ''], 'what was given up is not taken up by a scan');
	is(one($node, "SELECT loader_forget(package_id) FROM loader.packages WHERE load_id = '1700000050.5'"), 't', 'forgotten');
	is((scan('failed', 'failed'))[0], '1700000050.5', 'then it is as good as new');
}

# What was registered by hand is started by hand; what was loaded stays loaded.
{
	my $path = package_in('again', '1700000060.5');
	my $id = one($node, 'SELECT loader_register(' . quote_literal($path) . ", 'again')");

	is_deeply([scan('again', 'again')], ['', ''], 'registered only: not started');
	one($node, "SELECT loader_start($id)");
	is(wait_package($node, $id), 'loaded', 'started by hand');
	one($node, 'DROP SCHEMA again CASCADE');
	is_deeply([scan('again', 'again')], ['', ''], 'dataset dropped: a scan does not bring it back');
	is(load($node, $path, 'again'), 'loaded', 'a start does');
	is(one($node, "SELECT bool_and(loader_forget(package_id)) FROM loader.packages WHERE dataset = 'again'"), 't', 'forgotten');
	is_deeply([scan('again', 'again')], ['', ''], 'loaded and forgotten: not loaded twice');
}

# --- calls that overlap ---------------------------------------------------------------------------------------

{
	package_in('overlap', "170000007$_.5", $_ * 10, $_ * 10 + 1) for 0 .. 4;
	my ($a, $b, $c) = map { LoaderCrash->new($node) } 1 .. 3;
	my @ids = split /\n/, $a->query('BEGIN; ' . scan_sql('overlap', 'overlap'));
	is(scalar @ids, 5, 'one scan finds them');
	is($b->query(scan_sql('overlap', 'overlap')), '', 'another one that overlaps nothing');
	is($c->query(scan_sql('overlap', 'overlap')), '', 'nor does a third, and neither waits');
	is($b->query(scan_sql('order', 'overlap2') =~ s/loader_scan/count(*) FROM loader_scan/r), 5, 'but one of another directory does');
	is($a->query('ROLLBACK'), '', 'the first rolls back');
	$_->query('BEGIN') for $a, $b, $c;
	$_->send(scan_sql('overlap', 'overlap') . '; COMMIT') for $a, $b, $c;
	is(join(' ', map { $_->answer } $a, $b, $c) =~ s/\d+//gr =~ s/\s+//gr, '', 'three at once');
	wait_for($node, "SELECT count(*), count(*) FILTER (WHERE state = 'loaded') FROM loader.packages WHERE dataset = 'overlap'", '5|5');
	is(one($node, 'SELECT count(*), count(DISTINCT id) FROM overlap.items'), '10|10', 'all of it once');
	$_->quit for $a, $b, $c;
	wait_for($node, "SELECT count(*) FROM loader.packages WHERE dataset = 'overlap2' AND state <> 'loaded'", 0);
	is(nothing_runs($node), 0, 'nothing is left');
}

# --- refusals ---------------------------------------------------------------------------------------------------

one($node, 'CREATE ROLE scanner LOGIN; GRANT CREATE ON DATABASE postgres TO scanner');
is(error_of($node, scan_sql('order', 'x'), user => 'scanner')->{sqlstate}, '42501', 'not for everybody');
grant_loader($node, 'scanner');
my $error = error_of($node, scan_sql('order', 'x'), user => 'scanner');
is($error->{sqlstate}, '42501', 'nor every directory');
is(error_of($node, scan_sql('nowhere', 'x'))->{sqlstate}, '58P01', 'no such directory');
is(error_of($node, 'SELECT loader_scan(NULL)')->{sqlstate}, '22004', 'no directory');
is(error_of($node, 'BEGIN READ ONLY; ' . scan_sql('order', 'x'))->{sqlstate}, '25006', 'read-only');
$node->append_conf('postgresql.conf', "loader.package_directories = '$top/order'");
$node->reload;
wait_for($node, 'SHOW loader.package_directories', "$top/order");
is((scan('order', 'of_scanner', user => 'scanner'))[0], '9.5 10.125 10.25 10.3 100', 'with a directory for all it may');
is(one($node, "SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables WHERE schemaname = 'of_scanner'"), 'scanner', 'and the tables are its own');
$node->stop;

# --- pg_cron ----------------------------------------------------------------------------------------------------

SKIP:
{
	my $library = qx(pg_config --pkglibdir);
	chomp $library;
	skip 'pg_cron is not installed', 1 unless -e "$library/pg_cron.so";

	# Once without our launcher and with the jobs in background workers, once with it and over a connection.
	my %cron = (cron => "shared_preload_libraries = 'pg_cron'\ncron.use_background_workers = on",
		cron_loader => "shared_preload_libraries = 'pg_cron,loader'");
	my %node;
	my $job = scan_sql('cron', 'crontab');

	package_in('cron', "170000008$_.5", $_ * 10, $_ * 10 + 1) for 0 .. 4;
	package_in('cron', '1700000079.5', 1, 2, name => 'bad', schema => 'bad', file => 'INSERT');
	for my $name (sort keys %cron)
	{
		my $n = new_node($name, "max_worker_processes = 20\ncron.database_name = 'postgres'\n$cron{$name}", stopped => 1);

		$n->append_conf('postgresql.conf', "cron.host = '" . $n->host . "'");
		$n->start;
		one($n, 'CREATE EXTENSION loader; CREATE EXTENSION pg_cron; CREATE ROLE nightly LOGIN;
			GRANT CREATE ON DATABASE postgres TO nightly; GRANT USAGE ON SCHEMA cron TO nightly; GRANT pg_read_server_files TO nightly');
		grant_loader($n, 'nightly');
		# three jobs for the same directory begin in the same second
		one($n, "SELECT cron.schedule('load $_', '* * * * *', " . quote_literal($job) . ')', user => 'nightly') for 1 .. 3;
		$node{$name} = $n;
	}
	for my $name (sort keys %node)
	{
		my $n = $node{$name};

		# each comes by once a minute; what counts is the first time, and the next minute may be a whole one away
		my $runs = "(SELECT DISTINCT ON (jobid) * FROM cron.job_run_details ORDER BY jobid, runid) r";
		wait_for($n, "SELECT count(*) = 3 FROM $runs WHERE status IN ('succeeded', 'failed')");
		is(one($n, "SELECT count(*), min(status), max(status), min(username) FROM $runs"), '3|succeeded|succeeded|nightly', "$name: the jobs have run");
		one($n, 'SELECT count(cron.unschedule(jobid)) FROM cron.job', user => 'nightly');
		wait_for($n, "SELECT count(*) FROM loader.packages WHERE dataset = 'crontab' AND state NOT IN ('loaded', 'failed')", 0);
		is(one($n, "SELECT load_id || ' ' || state || ' ' || role_name FROM loader.packages ORDER BY package_id"),
			join("\n", '1700000079.5 failed nightly', map { "170000008$_.5 loaded nightly" } 0 .. 4), "$name: the packages are loaded, by the role");
		is(one($n, 'SELECT count(*), count(DISTINCT id) FROM crontab.items'), '10|10', "$name: once");
		is(nothing_runs($n), 0, "$name: nothing is left");
		is(one($n, "SELECT count(*) FROM loader.packages WHERE attempts > 2"), 0, "$name: and none was started again and again");
		$n->stop;
	}
}

done_testing();
