# test/t/027_exactly_once.pl: ways in which a job could be done twice or not at all, a package hold
# up others, or code of the user's tables find another world than its owner's.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderTest;
use Test::More;

my $node = new_node('main', "loader.max_workers = 3\nloader.retry_delay = '10ms'");
my @items = ([id => 'bigint'], [name => 'text']);
my $coordinators = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator'";

sub counts
{
	my ($table) = @_;

	return one($node, "SELECT coalesce(string_agg(format('%s:%s', id, n), ' ' ORDER BY id), '') FROM (SELECT id, count(*) AS n FROM $table GROUP BY id) q");
}

# --- jobs that commit by themselves --------------------------------------------------------------

my $path = make_package(tables => [
	{name => 'good', columns => \@items, rows => [[1, 'a'], [2, 'b']]},
	{name => 'worse', columns => \@items, rows => [[1, 'a'], ['x', 'b']]}]);
my %loose = (arguments => {atomic => 'false'});
my $id = start_package($node, $path, 'd1', %loose);

is(wait_package($node, $id), 'failed', 'one of two jobs fails');
is(counts('d1.good'), '1:1 2:1', 'the other one has committed');
my $e = error_of($node, "SELECT loader_forget($id)");
is("$e->{sqlstate} $e->{message}", "55000 package $id has jobs whose rows are in the tables already", 'it cannot be forgotten');
is(load($node, $path, 'd1', %loose), 'failed', 'registered anew');
is(counts('d1.good'), '1:1 2:1', 'what was committed is not loaded again');
one($node, 'DROP TABLE d1.good');
is(load($node, $path, 'd1', %loose), 'failed', 'registered anew after its table was dropped');
is(counts('d1.good'), '1:1 2:1', 'what was dropped is loaded again');
one($node, 'DROP SCHEMA d1 CASCADE; CREATE SCHEMA d1');
is(load($node, $path, 'd1', %loose), 'failed', 'registered anew after its dataset was made anew');
is(counts('d1.good'), '1:1 2:1', 'and loaded again, once');
one($node, 'DROP SCHEMA d1 CASCADE');
is(one($node, "SELECT loader_forget($id)"), 't', 'without the rows it may be forgotten');

# dlt's own loader has recorded the load meanwhile
$path = make_package(tables => [{name => 'items', columns => \@items, rows => [[1, 'a']]}]);
is(load($node, make_package(tables => [{name => 'items', columns => \@items, rows => [[9, 'z']]}]), 'd2'), 'loaded', 'a dataset');
for my $atomic (qw(true false))
{
	my $again = make_package(tables => [{name => 'items', columns => \@items, rows => [[1, 'a']]}]);
	my $load_id = ($again =~ m{([^/]+)$})[0];

	$id = one($node, 'SELECT loader_register(' . quote_literal($again) . ", 'd2', atomic => $atomic)");
	one($node, "INSERT INTO d2._dlt_loads (load_id, schema_name, status, inserted_at, schema_version_hash) VALUES ('$load_id', 'test', 0, now(), 'x')");
	one($node, "SELECT loader_start($id)");
	is(wait_package($node, $id), 'loaded', "recorded by another loader, atomic $atomic");
	is(counts('d2.items'), '9:1', "recorded by another loader, atomic $atomic: not loaded again");
}

# --- files -------------------------------------------------------------------------------------

$path = make_package(tables => [{name => 'items', columns => \@items, rows => [[1, 'a']]}]);
$id = one($node, 'SELECT loader_register(' . quote_literal($path) . ", 'd3')");
open(my $late, '>', "$path/new_jobs/items.ffffffffff.0.csv") or die $!;
print $late "id,name\n2,b\n";
close $late;
one($node, "SELECT loader_start($id)");
is(wait_package($node, $id), 'failed', 'a job file that came after the package was registered');
is(one($node, "SELECT sqlstate || ' ' || message FROM loader.packages WHERE package_id = $id"), '55000 package has 2 job files, but 1 were registered', 'and why');
is(load($node, $path, 'd3'), 'loaded', 'registered anew with all files');
is(counts('d3.items'), '1:1 2:1', 'all rows are there');

# --- who holds up whom ---------------------------------------------------------------------------

one($node, 'CREATE ROLE owner LOGIN; CREATE ROLE analyst LOGIN; GRANT pg_read_server_files TO owner, analyst; GRANT CREATE ON DATABASE postgres TO owner');
grant_loader($node, $_) for qw(owner analyst);
is(load($node, make_package(tables => [{name => 'items', columns => \@items, rows => [[1, 'a']]}]), 'd4', user => 'owner'), 'loaded', 'the owner loads');
one($node, 'GRANT USAGE ON SCHEMA d4 TO analyst; GRANT SELECT ON ALL TABLES IN SCHEMA d4 TO analyst');
$path = make_package(tables => [{name => 'items', columns => \@items, rows => [[2, 'b']]}]);
$e = error_of($node, 'SELECT loader_start(' . quote_literal($path) . ", 'd4')", user => 'analyst');
is("$e->{sqlstate} $e->{message}", '42501 permission denied to load into dataset "d4"', 'who may not write gets no place in the queue');
is(load($node, $path, 'd4', user => 'owner'), 'loaded', 'and takes nobody\'s');

# A package that creates a table does not hold up one for another table of the same dataset.
one($node, 'CREATE TABLE d4.held (id bigint, name text); CREATE TABLE d4.free (id bigint, name text)');
my $session = session($node);
$session->run('BEGIN; LOCK d4.held IN SHARE MODE');
my $held = start_package($node, make_package(tables => [
	{name => 'held', columns => \@items, rows => [[1, 'a']]}, {name => 'brand_new', columns => \@items, rows => [[1, 'a']]}]), 'd4');
wait_for($node, "SELECT count(*) FROM loader.running() WHERE package_id = $held", 1);
is(load($node, make_package(tables => [{name => 'free', columns => \@items, rows => [[1, 'a']]}]), 'd4'), 'loaded', 'another table loads meanwhile');
is(one($node, "SELECT state FROM loader.packages WHERE package_id = $held"), 'loading', 'the first still waits');
$session->run('COMMIT');
is(wait_package($node, $held), 'loaded', 'and then loads');

# An open transaction takes no more processes than there are slots.
my @paths = map { make_package(tables => [{name => "many$_", columns => \@items, rows => [[1, 'a']]}]) } 1 .. 5;
wait_for($node, $coordinators, 0);
$session->run('BEGIN');
$session->run('SELECT loader_start(' . quote_literal($_) . ", 'd4')") for @paths;
cmp_ok(one($node, $coordinators), '<=', 3, 'starts of one transaction');
$session->run('COMMIT');
$session->end;
wait_for($node, "SELECT count(*) FROM loader.packages WHERE dataset = 'd4' AND state <> 'loaded'", 0);
pass('all of them are loaded');

# --- a package that always ends its worker is given up -------------------------------------------

one($node, 'CREATE SCHEMA d5; CREATE TABLE d5.items (id bigint, name text)');
one($node, q{CREATE FUNCTION d5.die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN NEW; END $$;
	CREATE TRIGGER die BEFORE INSERT ON d5.items FOR EACH ROW EXECUTE FUNCTION d5.die()});
my $dir = packages_dir() . '/dying';
mkdir $dir or die $!;
make_package(dir => $dir, tables => [{name => 'items', columns => \@items, rows => [[1, 'a']]}]);
one($node, 'SELECT loader_scan(' . quote_literal($dir) . ", 'd5')");
$id = one($node, "SELECT package_id FROM loader.packages WHERE dataset = 'd5'");
wait_for($node, "SELECT state FROM loader.packages WHERE package_id = $id AND (SELECT count(*) FROM loader_scan(" . quote_literal($dir) . ", 'd5')) = 0", 'failed');
is(one($node, "SELECT state || ' ' || message FROM loader.packages WHERE package_id = $id"), 'failed package was interrupted 7 times', 'scans give a package up');

# --- the world of the user's code ----------------------------------------------------------------

one($node, 'CREATE SCHEMA d6; CREATE TABLE d6.items (id bigint, name text); CREATE TABLE public.audit (what text)');
one($node, q{CREATE FUNCTION d6.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_unlock_all(); INSERT INTO audit VALUES (TG_NAME); RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON d6.items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION d6.note();
	CREATE TRIGGER at_once AFTER INSERT ON d6.items FOR EACH ROW EXECUTE FUNCTION d6.note()});
is(load($node, make_package(tables => [{name => 'items', columns => \@items, rows => [[1, 'a']]}]), 'd6'), 'loaded', 'triggers with the caller\'s search_path, which let all advisory locks go');
is(one($node, "SELECT string_agg(what, ' ' ORDER BY what) FROM audit"), 'at_once deferred', 'both have run');
wait_for($node, $coordinators, 0);
is(one($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0, 'no lock is left');

done_testing();
