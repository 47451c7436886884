# test/t/062_retries.pl: which errors are tried again and which are not, by SQLSTATE, and what a package
# that was tried again tells of it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderTest;
use Test::More;

my $node = new_node('main', "loader.retry_delay = '1ms'\nloader.retry_attempts = 2");
my $attempts = 2;

# A table whose trigger raises an error the first times: the sequence does not care for rollbacks.
one($node, q{
	CREATE SCHEMA d;
	CREATE TABLE d.items (id bigint, name text, _dlt_id text NOT NULL UNIQUE);
	CREATE TABLE public.fault (sqlstate text, message text, times bigint);
	CREATE SEQUENCE public.tries;
	CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE
		f public.fault;
	BEGIN
		SELECT * INTO f FROM public.fault;
		IF nextval('public.tries') <= f.times THEN
			RAISE EXCEPTION USING ERRCODE = f.sqlstate, MESSAGE = f.message;
		END IF;
		RETURN NULL;
	END $$;
	CREATE TRIGGER fail BEFORE INSERT ON d.items FOR EACH STATEMENT EXECUTE FUNCTION public.fail()});

my $key = 0;

# Load a package whose first attempts fail so. Returns its id.
sub load_with
{
	my ($sqlstate, $message, $times, %option) = @_;

	one($node, 'DELETE FROM fault; ALTER SEQUENCE tries RESTART; INSERT INTO fault VALUES ('
		. join(', ', quote_literal($sqlstate), quote_literal($message), $times) . ')');
	$key++;
	my $id = start_package($node, items_package($key, $key), 'd', %option);
	wait_package($node, $id);
	return $id;
}

# state of the package and of its job, times that it was begun and that the job was tried again, the
# errors on record, and the rows
sub outcome
{
	my ($id) = @_;

	return one($node, "SELECT p.state, j.state, p.attempts, j.retry_count, concat(p.sqlstate, j.sqlstate), (SELECT count(*) FROM d.items WHERE id = $key)
		FROM loader.packages p JOIN loader.jobs j USING (package_id) WHERE package_id = $id");
}

sub history
{
	my ($id) = @_;

	return one($node, "SELECT string_agg(concat_ws(' ', kind, detail), E'\\n' ORDER BY event_id) FROM loader.events
		WHERE package_id = $id AND kind NOT IN ('registered', 'loaded', 'create table')");
}

sub tries { return one($node, 'SELECT last_value FROM tries') }

# --- one of each --------------------------------------------------------------------------------------

my @transient = (
	['08000', 'connection exception'], ['08001', 'could not connect to server'], ['08003', 'connection does not exist'],
	['08006', 'server closed the connection unexpectedly'],
	['40000', 'transaction rollback'], ['40001', 'could not serialize access'], ['40P01', 'deadlock detected'],
	['42P06', 'schema "x" already exists'], ['42P07', 'relation "x" already exists'], ['42710', 'type "x" already exists'],
	['53000', 'insufficient resources'], ['53100', 'could not extend file: No space left on device'], ['53200', 'out of memory'],
	['53300', 'sorry, too many clients already'],
	['55P03', 'canceling statement due to lock timeout'],
	['57P01', 'terminating connection due to administrator command'], ['57P02', 'terminating connection because of crash'],
	['57P03', 'the database system is starting up'], ['57P05', 'terminating connection due to idle-session timeout'],
	['58000', 'system error'], ['58030', 'could not read block: Input/output error'],
	['72000', 'snapshot too old'],
	['HV00N', 'could not connect to the other server'],
	['0A000', 'cached plan must not change result type'],
	['XX000', 'tuple concurrently updated'], ['XX000', 'tuple concurrently deleted'],
	['XX000', 'cache lookup failed for relation 16385'], ['XX000', 'could not open relation with OID 16385']);
my @terminal = (
	['08P01', 'protocol violation'],
	['0A000', 'cannot do that'],
	['21000', 'more than one row'], ['22003', 'integer out of range'], ['22P02', 'invalid input syntax'],
	['23502', 'null value'], ['23503', 'foreign key'], ['23505', 'duplicate key'], ['23514', 'check'],
	['25006', 'cannot execute INSERT in a read-only transaction'], ['28000', 'invalid authorization'],
	['2BP01', 'dependent objects still exist'],
	['42501', 'permission denied'], ['42601', 'syntax error'], ['42701', 'column "x" specified more than once'],
	['42703', 'column "x" does not exist'], ['42P01', 'relation "x" does not exist'],
	['42P05', 'prepared statement "x" already exists'],
	['53400', 'temporary file size exceeds temp_file_limit'],
	['54000', 'program limit exceeded'], ['55000', 'not in prerequisite state'], ['55006', 'object in use'],
	['57P04', 'database was dropped'], ['58P01', 'could not open file: No such file or directory'],
	['P0001', 'the user says no'],
	['XX000', 'something is wrong'], ['XX001', 'invalid page'], ['XX002', 'index is corrupted']);

for my $case (@transient)
{
	my ($sqlstate, $message) = @$case;
	my $id = load_with($sqlstate, $message, 1);

	is(outcome($id), 'loaded|completed|1|1||1', "$sqlstate $message: tried again, and loaded");
	is(history($id), "retry $sqlstate: $message", "$sqlstate $message: which its history tells");
}
for my $case (@terminal)
{
	my ($sqlstate, $message) = @$case;
	my $id = load_with($sqlstate, $message, 1);

	is(outcome($id), "failed|failed|1|0|$sqlstate$sqlstate|0", "$sqlstate $message: failed");
	is(history($id), "failed $sqlstate: $message", "$sqlstate $message: at once");
	is(tries(), 1, "$sqlstate $message: and not tried again");
	one($node, "SELECT loader_cancel($id)");
}

# What is cancelled has not failed.
{
	my $id = load_with('57014', 'canceling statement due to user request', 1);

	is(outcome($id) . ' ' . tries(), 'cancelled|new|1|0|57014|0 1', 'a cancel ends the package, and is no error of the job');
}

# --- up to a limit --------------------------------------------------------------------------------------

for my $case (['40001', $attempts, 'as often as it may be'], ['40001', $attempts + 1, 'too often'])
{
	my ($sqlstate, $times, $what) = @$case;
	my $id = load_with($sqlstate, 'again', $times);
	my $is_loaded = $times <= $attempts;

	is(outcome($id), $is_loaded ? "loaded|completed|1|$attempts||1" : "failed|failed|1|$attempts|$sqlstate$sqlstate|0", "$what: " . ($is_loaded ? 'loaded' : 'failed'));
	is(history($id), join("\n", ("retry $sqlstate: again") x $attempts, $is_loaded ? () : "failed $sqlstate: again"), "$what: all of it is on record");
	is(tries(), $attempts + 1, "$what: and not tried more often");
	next if $is_loaded;
	is(one($node, "SELECT loader_resume($id)"), 't', "$what: resumed");
	is(wait_package($node, $id), 'loaded', "$what: it loads then");
	is(history($id), join("\n", ("retry $sqlstate: again") x $attempts, "failed $sqlstate: again", 'resumed By role "postgres".'),
		"$what: the history goes on");
	is(one($node, "SELECT retry_count, exception IS NULL FROM loader_job($id, (SELECT job_id FROM loader.jobs WHERE package_id = $id))"), "$attempts|t",
		"$what: the job still tells how often, and no longer why");
}

# --- jobs by themselves ---------------------------------------------------------------------------------

for my $case (['53100', 1], ['XX000', 0])
{
	my ($sqlstate, $is_transient) = @$case;
	my $id = load_with($sqlstate, 'no', 1, arguments => {atomic => 'false'});

	is(outcome($id), $is_transient ? 'loaded|completed|1|1||1' : 'failed|failed|1|0|22000XX000|0', "jobs, $sqlstate: tried again or not");
	is(history($id) =~ s/\nfailed 22000: .*//r, ($is_transient ? 'job retry' : 'job failed') . " $sqlstate: no", "jobs, $sqlstate: on record");
	one($node, "SELECT loader_cancel($id)") unless $is_transient;
}

# --- another server ---------------------------------------------------------------------------------------

# It is down, and comes back.
SKIP:
{
	skip 'postgres_fdw is not installed', 3 if one($node, q{SELECT count(*) FROM pg_available_extensions WHERE name = 'postgres_fdw'}) == 0;
	my $other = new_node('other', '', bare => 1);

	one($other, 'CREATE TABLE items (id bigint, name text, _dlt_id text)');
	one($node, 'CREATE EXTENSION postgres_fdw; CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname \'postgres\', host '
		. quote_literal($other->host) . ', port ' . quote_literal($other->port) . ');
		CREATE USER MAPPING FOR postgres SERVER other OPTIONS (user \'postgres\');
		CREATE SCHEMA far; CREATE FOREIGN TABLE far.items (id bigint, name text, _dlt_id text) SERVER other OPTIONS (schema_name \'public\')');
	$other->stop;
	my $id = one($node, "SET loader.retry_attempts = 1000; SET loader.retry_delay = '20ms'; SELECT loader_start(" . quote_literal(items_package(1, 10)) . ", 'far')");
	wait_for($node, "SELECT count(*) > 1 FROM loader.events WHERE package_id = $id AND kind = 'retry' AND detail ^@ '08001: '");
	is(one($node, "SELECT state FROM loader.packages WHERE package_id = $id"), 'loading', 'a server that is down is waited for');
	$other->start;
	is(wait_package($node, $id), 'loaded', 'and loaded into when it is back');
	is(one($other, 'SELECT count(*), count(DISTINCT id) FROM items'), '10|10', 'once');
	$other->stop;
}

$node->stop;
done_testing();
