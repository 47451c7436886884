# test/t/002_settings.pl: with which settings a worker works: those that the caller had at the
# start, whatever they came from, and never those of the superuser that the worker connects as.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderTest;
use Test::More;

my $node = new_node('main');
my $elsewhere = packages_dir() . '/elsewhere';

mkdir $elsewhere or die "could not make $elsewhere: $!";
one($node, q{
	CREATE ROLE root SUPERUSER LOGIN;
	CREATE ROLE etl LOGIN;
	CREATE ROLE app LOGIN;
	GRANT pg_read_server_files TO etl;
	GRANT CREATE ON DATABASE postgres TO etl;
	CREATE SCHEMA watch;
	GRANT USAGE ON SCHEMA watch TO PUBLIC;
	CREATE TABLE watch.seen (dataset text, name text, value text);
	GRANT INSERT ON watch.seen TO PUBLIC;
	CREATE FUNCTION watch.look() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO watch.seen SELECT TG_TABLE_SCHEMA, name, current_setting(name, true) FROM unnest(TG_ARGV::text[]) name;
		RETURN NULL;
	END $$;
	CREATE FUNCTION watch.fire() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO watch.seen VALUES (TG_TABLE_SCHEMA, 'ordinary trigger', 'fired');
		RETURN NULL;
	END $$;});
one($node, "CREATE TABLESPACE elsewhere LOCATION " . quote_literal($elsewhere));
one($node, 'GRANT CREATE ON TABLESPACE elsewhere TO etl');
grant_loader($node, 'etl');
# The bootstrap superuser gets settings of its own, which are none of the test's.
$ENV{PGUSER} = 'root';

my @shown = qw(TimeZone DateStyle IntervalStyle search_path session_replication_role synchronous_commit work_mem
	extra_float_digits default_tablespace transform_null_equals row_security statement_timeout
	transaction_isolation transaction_read_only app.tenant app.other);
my $n = 0;

# settings_of(NAME, SQL with a START in it, ...): load into a table that looks, also in a replica;
# returns what it has seen.
sub settings_of
{
	my ($name, $sql, %option) = @_;
	my $dataset = 'look' . ++$n;
	my $path = make_package(schema => $dataset, tables => [{name => 'items', columns => [[id => 'bigint']], rows => [[1]]}]);
	my $start = 'SELECT public.loader_start(' . quote_literal($path) . ", '$dataset', " . ($option{arguments} || 'atomic => true') . ')';

	one($node, "CREATE SCHEMA $dataset; GRANT ALL ON SCHEMA $dataset TO etl; CREATE TABLE $dataset.items (id bigint);
		ALTER TABLE $dataset.items OWNER TO etl;
		CREATE TRIGGER look AFTER INSERT ON $dataset.items EXECUTE FUNCTION watch.look(" . join(', ', map { quote_literal($_) } @shown) . ");
		ALTER TABLE $dataset.items ENABLE ALWAYS TRIGGER look;
		CREATE TRIGGER fire AFTER INSERT ON $dataset.items EXECUTE FUNCTION watch.fire();");
	$sql =~ s/START/$start/;
	$sql =~ s/ARGS/quote_literal($path) . ", '$dataset'"/e;
	my $id = one($node, $sql, user => $option{user} || 'etl');
	is(wait_package($node, $id), 'loaded', "$name: loaded")
		or diag(one($node, "SELECT sqlstate, message, detail FROM loader.packages WHERE package_id = $id"));
	return {map { split(/\|/, $_, 2) } split(/\n/, one($node, "SELECT name, value FROM watch.seen WHERE dataset = '$dataset'"))};
}

# settings_are(NAME, SQL, EXPECTED, ...)
sub settings_are
{
	my ($name, $sql, $expected, %option) = @_;
	my $seen = settings_of($name, $sql, %option);

	is_deeply({map { $_ => $seen->{$_} } keys %$expected}, $expected, "$name: settings");
	return;
}

my %plain = ('TimeZone' => 'UTC', 'DateStyle' => 'ISO, MDY', 'IntervalStyle' => 'postgres', 'search_path' => '"$user", public',
	'session_replication_role' => 'origin', 'synchronous_commit' => 'on', 'work_mem' => '4MB', 'extra_float_digits' => '1',
	'default_tablespace' => '', 'transform_null_equals' => 'off', 'row_security' => 'on', 'statement_timeout' => '0',
	'transaction_isolation' => 'read committed', 'transaction_read_only' => 'off', 'app.tenant' => '', 'app.other' => '',
	'ordinary trigger' => 'fired');

settings_are('nothing set', 'START', \%plain);

# The session's own.
my $session = q{SET TimeZone = 'America/New_York'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = iso_8601; SET search_path = watch, pg_temp;
	SET synchronous_commit = off; SET work_mem = '7MB'; SET extra_float_digits = 0; SET transform_null_equals = on;
	SET app.tenant = 'blue'; SET statement_timeout = '1min'; SET default_transaction_isolation = serializable; START};
my %session = (%plain, 'TimeZone' => 'America/New_York', 'DateStyle' => 'SQL, DMY', 'IntervalStyle' => 'iso_8601',
	'search_path' => 'watch, pg_temp', 'synchronous_commit' => 'off', 'work_mem' => '7MB', 'extra_float_digits' => '0',
	'transform_null_equals' => 'on', 'app.tenant' => 'blue');

settings_are("the session's", $session, \%session);
settings_are("the session's, jobs one by one", $session, \%session, arguments => 'atomic => false, workers => 2');
settings_are("the transaction's", q{BEGIN; SET LOCAL app.tenant = 'green'; SET LOCAL TimeZone = 'Asia/Tokyo'; START; COMMIT},
	{%plain, 'app.tenant' => 'green', TimeZone => 'Asia/Tokyo'});

one($node, q{
	CREATE FUNCTION watch.start(path text, dataset text) RETURNS bigint LANGUAGE sql SECURITY DEFINER
		SET search_path = pg_catalog, pg_temp SET app.tenant = 'of the function' AS 'SELECT public.loader_start(path, dataset)';
	ALTER FUNCTION watch.start OWNER TO etl;});
settings_are('of a SECURITY DEFINER function', q{SET search_path = watch; SET app.tenant = 'of the caller'; SET app.other = 'seen'; SELECT watch.start(ARGS)},
	{%plain, search_path => 'pg_catalog, pg_temp', 'app.tenant' => 'of the function', 'app.other' => 'seen'}, user => 'app');

# Those of the caller's role and of the database.
one($node, q{
	ALTER ROLE etl SET TimeZone = 'Asia/Kathmandu';
	ALTER ROLE etl SET app.tenant = 'of the role';
	ALTER DATABASE postgres SET IntervalStyle = 'sql_standard';
	ALTER ROLE etl IN DATABASE postgres SET work_mem = '5MB';});
my %role = (%plain, TimeZone => 'Asia/Kathmandu', 'app.tenant' => 'of the role', IntervalStyle => 'sql_standard', work_mem => '5MB');
settings_are("the role's and the database's", 'START', \%role);

# Those of the superuser that the worker connects as.
for my $setting (q{session_replication_role = 'replica'}, q{search_path = 'watch'}, q{default_tablespace = 'elsewhere'},
	q{TimeZone = 'Pacific/Apia'}, q{work_mem = '9MB'}, q{app.tenant = 'of the superuser'}, q{transform_null_equals = on},
	q{extra_float_digits = 3}, q{row_security = off}, q{statement_timeout = 1}, q{default_transaction_read_only = on},
	q{default_transaction_isolation = 'serializable'}, q{synchronous_commit = off})
{
	one($node, "ALTER ROLE postgres SET $setting");
}
settings_are("none of the superuser's", 'START', \%role);
settings_are("none of the superuser's, jobs one by one", 'START', \%role, arguments => 'atomic => false, workers => 2');
one($node, q{ALTER ROLE postgres SET app.other = 'of the superuser'; ALTER ROLE postgres IN DATABASE postgres SET app.third = 'of the superuser'});
push @shown, 'app.third';
settings_are("nor custom ones", 'START', {%role, 'app.third' => ''});

# What only a superuser may set.
settings_are('replica, of a superuser', 'SET session_replication_role = replica; START',
	{session_replication_role => 'replica', 'ordinary trigger' => undef}, user => 'root');
settings_are('replica, of a superuser who became another', 'SET session_replication_role = replica; SET ROLE etl; START',
	{session_replication_role => 'replica', 'ordinary trigger' => undef}, user => 'root');
one($node, 'ALTER ROLE etl SET session_replication_role = replica');
settings_are("replica, the role's own", 'START', {session_replication_role => 'replica', 'ordinary trigger' => undef});
one($node, 'ALTER ROLE etl RESET session_replication_role');
my $e = error_of($node, 'SET session_replication_role = replica', user => 'etl');
is($e->{sqlstate}, '42501', 'replica, not permitted to the session');
SKIP:
{
	skip 'settings are granted since 15', 2 if one($node, 'SHOW server_version_num') < 150000;
	one($node, 'GRANT SET ON PARAMETER session_replication_role TO etl');
	settings_are('replica, granted', 'SET session_replication_role = replica; START',
		{session_replication_role => 'replica', 'ordinary trigger' => undef});
}

# What they are for.
my $path = make_package(schema => 'times', format => 'csv', tables => [{name => 'times',
	columns => [[id => 'bigint'], [t => 'timestamp'], [d => 'date']],
	rows => [[1, '2024-07-01 12:00:00', '2024-02-01'], [2, '2024-07-01 12:00:00+02', '01/02/2024'], [3, '01/02/2024 12:00', undef]]}]);
my $id = one($node, q{SET TimeZone = 'America/New_York'; SET DateStyle = 'ISO, DMY'; SELECT loader_start(} . quote_literal($path) . q{, 'times')}, user => 'etl');
is(wait_package($node, $id), 'loaded', 'times: loaded')
	or diag(one($node, "SELECT sqlstate, message, detail FROM loader.packages WHERE package_id = $id"));
is(one($node, q{SET TimeZone = 'UTC'; SELECT id, t, d FROM times.times ORDER BY id}),
	"1|2024-07-01 16:00:00+00|2024-02-01\n2|2024-07-01 10:00:00+00|2024-02-01\n3|2024-02-01 17:00:00+00|",
	"times without offset are the caller's, days and months as its DateStyle says");

$path = make_package(schema => 'tenants', tables => [{name => 'items', columns => [[id => 'bigint']], rows => [[1]]}]);
one($node, q{
	CREATE SCHEMA tenants;
	GRANT ALL ON SCHEMA tenants TO etl;
	CREATE TABLE tenants.items (id bigint, tenant text DEFAULT current_setting('app.tenant'));
	ALTER TABLE tenants.items ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON tenants.items USING (true) WITH CHECK (tenant = current_setting('app.tenant'));
	GRANT ALL ON tenants.items TO etl;});
$id = one($node, q{SET app.tenant = 'blue'; SELECT loader_start(} . quote_literal($path) . q{, 'tenants')}, user => 'etl');
is(wait_package($node, $id), 'loaded', 'tenants: loaded')
	or diag(one($node, "SELECT sqlstate, message, detail FROM loader.packages WHERE package_id = $id"));
is(one($node, 'SELECT id, tenant FROM tenants.items'), '1|blue', 'a default and a policy see a setting of the caller');

$path = make_package(schema => 'spaces', tables => [{name => 'items', columns => [[id => 'bigint']], rows => [[1]]}]);
$id = one($node, q{SET default_tablespace = 'elsewhere'; SELECT loader_start(} . quote_literal($path) . q{, 'spaces')}, user => 'etl');
is(wait_package($node, $id), 'loaded', 'tablespace: loaded');
is(one($node, q{SELECT tablespace FROM pg_tables WHERE schemaname = 'spaces' AND tablename = 'items'}), 'elsewhere',
	"new tables are in the caller's tablespace");

done_testing();
