# test/t/064_load.pl: a lot to do: a thousand packages queued at once while sessions poll the views, and a
# catalog with ten thousand finished packages. Counts what is read, not how long it takes; `bench/load.py`
# tells that.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use File::Path qw(make_path);
use LoaderCrash;
use LoaderTest;
use Test::More;

use constant {FINISHED => 10_000, DATASETS => 10, PACKAGES => 1000, POLLERS => 50};

my @views = qw(packages jobs tables progress rejects events datasets loads schemas states streams);
my $node = new_node('main', "loader.max_workers = 8\nmax_worker_processes = 24\nautovacuum = off\nmax_connections = 120");
my $next = 0;

# A package of ten rows that no other one has, for one of two tables that all its kind have.
sub small_package
{
	my (%option) = @_;
	my $from = ++$next * 10;

	return items_package($from, $from + 9, %option);
}

# --- many in the catalog ------------------------------------------------------------------------------

# Rows that all others have read of our tables, once they have gone and told.
sub rows_read
{
	wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'loader|client backend' AND pid <> pg_backend_pid()}, 0);
	return one($node, q{SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) FROM pg_stat_user_tables WHERE schemaname = 'loader'});
}

# What is read from the start of a package to the end of its coordinator. Who waits for it looks at its
# table, and not at ours.
sub cost
{
	my ($dataset, $sql) = @_;
	my $table = "$dataset.items";
	my $rows = one($node, "SELECT count(*) FROM $table");
	my $before = rows_read();

	one($node, $sql);
	wait_for($node, "SELECT count(*) FROM $table", $rows + 10);
	wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator'}, 0);
	return rows_read() - $before;
}

my %start = (
	'start' => sub { "SELECT loader_start('" . small_package(schema => 'named') . "', 'named')" },
	'start without a dataset' => sub { "SELECT loader_start('" . small_package(schema => 'one') . "')" },
	'scan' => sub {
		my $top = packages_dir() . '/scan' . ++$next;
		make_path($top);
		small_package(schema => 'named', dir => $top);
		return "SELECT loader_scan('$top', 'named')";
	});
my %dataset = ('start' => 'named', 'start without a dataset' => 'one', 'scan' => 'named');

load($node, small_package(schema => $_), $_) eq 'loaded' or die 'table' for 'named', 'one';
$node->append_conf('postgresql.conf', 'loader.retention = 1d');
$node->reload;
wait_for($node, 'SHOW loader.retention', '1d');
my %few = map { $_ => cost($dataset{$_}, $start{$_}->()) } sort keys %start;

one($node, qq{
	INSERT INTO loader.package (load_id, schema_name, schema_hash, dataset, source, state, options, settings, schema_size, schema_inode, schema_mtime_ns,
		role_oid, role_name, system_identifier, database_oid, started_at, finished_at)
	SELECT 'old.' || n, q.dataset, 'hash', q.dataset, '/nowhere/' || n, 'loaded', '{}', '{}', 1, 1, 1, p.role_oid, p.role_name, p.system_identifier, p.database_oid,
		clock_timestamp(), clock_timestamp()
	FROM generate_series(1, @{[FINISHED]}) n, (SELECT * FROM loader.package LIMIT 1) p, LATERAL (SELECT CASE n % 2 WHEN 0 THEN 'named' ELSE 'one' END) q(dataset);
	INSERT INTO loader.job (package_id, ordinal, job_id, file_name, table_name, format, state, size, inode, mtime_ns)
	SELECT package_id, n, 't.' || n, 't.' || n || '.0.csv', 'items', 'csv', 'completed', 1, 1, 1 FROM loader.package, generate_series(1, 3) n WHERE load_id ^@ 'old.';
	INSERT INTO loader.package_table (package_id, table_name, chain, disposition) SELECT package_id, 'items', 'items', 'append' FROM loader.package WHERE load_id ^@ 'old.';
	INSERT INTO loader.event (package_id, kind) SELECT package_id, kind FROM loader.package, unnest(ARRAY['registered', 'loaded']) kind WHERE load_id ^@ 'old.'});

# Before anybody has analyzed the tables, too.
for my $is_analyzed ('not analyzed', 'analyzed')
{
	one($node, 'ANALYZE') if $is_analyzed eq 'analyzed';
	for my $what (sort keys %start)
	{
		my $cost = cost($dataset{$what}, $start{$what}->());

		cmp_ok($cost, '<', $few{$what} + 500, "$what: reads no more beside @{[FINISHED]} finished packages, $is_analyzed");
		note("$what: $cost rows, $few{$what} with few");
	}
	# one package in the views
	my $id = one($node, q{SELECT package_id FROM loader.package WHERE load_id = 'old.5000'});
	for my $view (qw(packages jobs tables events streams), 'progress')
	{
		my $where = $view eq 'progress' ? '' : "WHERE package_id = $id";
		my $plan = one($node, "EXPLAIN (ANALYZE, BUFFERS, TIMING off, COSTS off) SELECT * FROM loader.$view $where");
		my ($buffers) = $plan =~ /^[^\n]*\n\s*Buffers: shared(?: hit=(?<hit>\d+))?(?: read=(?<read>\d+))?/;

		cmp_ok(($+{hit} // 0) + ($+{read} // 0), '<', 100, "loader.$view, of one package: a few pages, $is_analyzed") or diag($plan);
	}
}

# They go when their time has come, however many there are; what they loaded counts as loaded.
{
	my $none = packages_dir() . '/none';
	my $loaded = small_package(schema => 'kept');
	my $failed = start_package($node, items_package(1, 1, schema => 'failed', file => 'INSERT'), 'failed');

	mkdir $none;
	is(load($node, $loaded, 'kept'), 'loaded', 'a package is loaded');
	is(wait_package($node, $failed), 'failed', 'and one fails');
	nothing_runs($node);
	one($node, q{UPDATE loader.package SET finished_at = clock_timestamp() - interval '2 days' WHERE finished_at IS NOT NULL AND (load_id ^@ 'old.' OR dataset IN ('kept', 'failed'))});
	one($node, "SELECT loader_scan('$none')") for 1 .. 1 + FINISHED / 1000;
	is(one($node, q{SELECT count(*) FROM loader.package WHERE finished_at < clock_timestamp() - interval '1 day'}), 1, 'after loader.retention all are gone but what has failed');
	is(one($node, 'SELECT (SELECT count(*) FROM loader.job j WHERE NOT EXISTS (SELECT FROM loader.package p WHERE p.package_id = j.package_id)), (SELECT count(*) FROM loader.event WHERE kind = \'registered\')
		= (SELECT count(*) FROM loader.package)'), '0|t', 'with all that is theirs');
	my ($rc, $out, $said) = try_psql($node, "SELECT loader_start('$loaded', 'kept')");
	like($said, qr/NOTICE:  00000: package ".*" is already loaded into dataset "kept"/, 'what they loaded counts as loaded');
	is(one($node, "SELECT loader_cancel($failed)"), 't', 'the failed one is given up');
}

# --- many to load --------------------------------------------------------------------------------------

# One place, and a queue for several tables: in order of registration.
{
	my $holder = LoaderCrash->new($node);
	my $started = q{SELECT string_agg(package_id::text, ' ' ORDER BY %s) FROM loader.package WHERE dataset = 'fair'};
	my $top = packages_dir() . '/fair';

	$node->append_conf('postgresql.conf', 'loader.max_workers = 1');
	$node->reload;
	wait_for($node, 'SHOW loader.max_workers', 1);
	one($node, 'CREATE SCHEMA fair; CREATE TABLE fair.items (id bigint, name text, _dlt_id text)');
	$holder->query('BEGIN; LOCK fair.items');
	my $id = start_package($node, small_package(), 'fair');
	wait_for($node, "SELECT count(*) FROM loader.running() WHERE package_id = $id", 1);
	make_path($top);
	small_package(dir => $top, name => 't' . $_ % 4) for 1 .. 40;
	is(one($node, "SELECT count(*) FROM loader_scan('$top', 'fair')"), 40, 'a queue');
	$holder->quit;
	wait_for($node, q{SELECT count(*) FROM loader.package WHERE dataset = 'fair' AND state = 'loaded'}, 41);
	is(one($node, sprintf $started, 'started_at'), one($node, sprintf $started, 'package_id'), 'one worker: in order of registration');
	is(nothing_runs($node), 0, 'nothing is left');
	$node->append_conf('postgresql.conf', 'loader.max_workers = 8');
	$node->reload;
	wait_for($node, 'SHOW loader.max_workers', 8);
}

# Eight places, and sessions that look all the time.
{
	my @datasets = map { "many$_" } 1 .. DATASETS;
	my $of = q{dataset ^@ 'many'};
	my $deadlocks = 'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()';
	my $before = one($node, $deadlocks);
	my @scans;

	for my $dataset (@datasets)
	{
		my $top = packages_dir() . "/$dataset";

		make_path($top);
		small_package(dir => $top, name => "t$_") for map { $_ % 2 } 1 .. PACKAGES / DATASETS;
		push @scans, "SELECT count(*) FROM loader_scan('$top', '$dataset')";
	}
	my @pollers = map { LoaderCrash->new($node) } 1 .. POLLERS;
	my $starter = LoaderCrash->new($node)->send(join('; ', @scans));
	my $errors = '';
	my $looks = 0;
	my $done = 0;
	my $end = time() + 5 * $LoaderTest::limit;

	until ($done)
	{
		$_->send(join('; ', map { "SELECT count(*) FROM loader.$_" } @views) . '; SELECT loader_wait(package_id, \'0s\') IS NULL FROM (SELECT max(package_id) FROM loader.packages) q(package_id)') for @pollers;
		for my $poller (@pollers)
		{
			my $answer = $poller->answer;

			$errors .= $answer if $answer =~ /ERROR|FATAL|WARNING/;
			$looks++;
		}
		$done = one($node, "SELECT count(*) FROM loader.package WHERE $of AND state IN ('loaded', 'failed', 'cancelled')") == PACKAGES;
		last if time() > $end;
	}
	is($starter->answer, join("\n", (PACKAGES / DATASETS) x DATASETS), PACKAGES . ' packages are queued');
	is(one($node, "SELECT state, count(*) FROM loader.packages WHERE $of GROUP BY 1"), 'loaded|' . PACKAGES, 'all of them are loaded');
	is($errors, '', POLLERS . ' sessions look at all views meanwhile');
	cmp_ok($looks, '>=', POLLERS, "$looks times");
	is(one($node, join(' + ', map { my $d = $_; map { "(SELECT count(DISTINCT id) FROM $d.t$_)" } 0, 1 } @datasets) =~ s/^/SELECT /r), 10 * PACKAGES, 'all rows are there');
	is(one($node, "SELECT count(*) FROM loader.events JOIN loader.packages USING (package_id) WHERE $of AND kind IN ('retry', 'job retry', 'failed', 'started')"), 0,
		'nothing had to be tried again');
	$_->quit for @pollers, $starter;
	is(one($node, $deadlocks) - $before, 0, 'no deadlock');
	is(one($node, "SELECT count(*) FROM (SELECT a.started_at < lag(a.finished_at) OVER (PARTITION BY a.dataset, j.table_name ORDER BY package_id)
		FROM loader.package a JOIN loader.job j USING (package_id) WHERE $of) q(is_early) WHERE is_early"), 0, 'each table: one after the other, in order of registration');
	is(nothing_runs($node), 0, 'nothing is left');
}

$node->stop;
done_testing();
