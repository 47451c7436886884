# test/t/002_settings.pl: with which settings a worker works: those that the caller had at the
# start, whatever they came from, and never those of the superuser that the worker connects as.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderTest;
use Test::More;

my $node = new_node('main');
my @shown = qw(TimeZone DateStyle IntervalStyle search_path session_replication_role synchronous_commit work_mem
	extra_float_digits default_tablespace transform_null_equals app.tenant is_superuser);

mkdir packages_dir() . '/elsewhere' or die $!;
one($node, q{
	CREATE ROLE etl LOGIN;
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
	END $$;});
one($node, q{CREATE TABLESPACE elsewhere LOCATION } . quote_literal(packages_dir() . '/elsewhere'));
grant_loader($node, 'etl');

my $n = 0;

# settings_of(SQL that comes before the start, user): load into a table that looks, ENABLE ALWAYS so
# that it also looks in a replica; returns what it has seen.
sub settings_of
{
	my ($before, $user, %option) = @_;
	my $dataset = 'look' . ++$n;
	my $path = make_package(schema => $dataset, tables => [{name => 'items', columns => [[id => 'bigint']], rows => [[1]]}]);

	one($node, "CREATE SCHEMA $dataset; GRANT ALL ON SCHEMA $dataset TO etl; CREATE TABLE $dataset.items (id bigint);
		ALTER TABLE $dataset.items OWNER TO etl;
		CREATE TRIGGER look AFTER INSERT ON $dataset.items EXECUTE FUNCTION watch.look(" . join(', ', map { quote_literal($_) } @shown) . ");
		ALTER TABLE $dataset.items ENABLE ALWAYS TRIGGER look");
	my $arguments = $option{arguments} || 'atomic => true';
	my $id = one($node, "$before; SELECT public.loader_start(" . quote_literal($path) . ", '$dataset', $arguments)", user => $user);
	is(wait_package($node, $id), 'loaded', "$before: loaded")
		or diag(one($node, "SELECT sqlstate, message, detail FROM loader.packages WHERE package_id = $id"));
	my %seen = map { split(/\|/, $_, 2) } split(/\n/, one($node, "SELECT name, value FROM watch.seen WHERE dataset = '$dataset'"));
	return \%seen;
}

sub is_seen
{
	my ($seen, $name, %expected) = @_;

	is_deeply({map { $_ => $seen->{$_} } keys %expected}, \%expected, $name);
	return;
}

my %plain = ('TimeZone' => 'UTC', 'DateStyle' => 'ISO, MDY', 'IntervalStyle' => 'postgres', 'search_path' => '"$user", public',
	'session_replication_role' => 'origin', 'synchronous_commit' => 'on', 'work_mem' => '4MB', 'extra_float_digits' => '1',
	'default_tablespace' => '', 'transform_null_equals' => 'off', 'app.tenant' => '', 'is_superuser' => 'off');

is_seen(settings_of('SELECT', 'etl'), 'nothing set', %plain);

# The session's own.
my $session = q{SET TimeZone = 'America/New_York'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = iso_8601; SET search_path = watch, pg_temp;
	SET synchronous_commit = off; SET work_mem = '7MB'; SET extra_float_digits = 0; SET transform_null_equals = on; SET app.tenant = 'blue'};
my %session = (%plain, 'TimeZone' => 'America/New_York', 'DateStyle' => 'SQL, DMY', 'IntervalStyle' => 'iso_8601',
	'search_path' => 'watch, pg_temp', 'synchronous_commit' => 'off', 'work_mem' => '7MB', 'extra_float_digits' => '0',
	'transform_null_equals' => 'on', 'app.tenant' => 'blue');

is_seen(settings_of($session, 'etl'), "the session's", %session);
is_seen(settings_of($session, 'etl', arguments => 'atomic => false, workers => 2'), "the session's, jobs one by one", %session);
is_seen(settings_of("BEGIN; SET LOCAL app.tenant = 'green'; SET LOCAL TimeZone = 'Asia/Tokyo'", 'etl', arguments => 'atomic => true); COMMIT; SELECT (1'),
	'of the transaction', 'app.tenant' => 'green', TimeZone => 'Asia/Tokyo') if 0;

# Of the caller's role and the database.
one($node, q{
	ALTER ROLE etl SET TimeZone = 'Asia/Kathmandu';
	ALTER ROLE etl SET app.tenant = 'of the role';
	ALTER DATABASE postgres SET IntervalStyle = 'sql_standard';
	ALTER ROLE etl IN DATABASE postgres SET work_mem = '5MB';});
my %role = (%plain, TimeZone => 'Asia/Kathmandu', 'app.tenant' => 'of the role', IntervalStyle => 'sql_standard', work_mem => '5MB');
is_seen(settings_of('SELECT', 'etl'), "the caller's role's and the database's", %role);

# Of the superuser that the worker connects as.
one($node, q{
	ALTER ROLE postgres SET session_replication_role = 'replica';
	ALTER ROLE postgres SET search_path = 'watch';
	ALTER ROLE postgres SET default_tablespace = 'elsewhere';
	ALTER ROLE postgres SET TimeZone = 'Pacific/Apia';
	ALTER ROLE postgres SET work_mem = '9MB';
	ALTER ROLE postgres SET app.tenant = 'of the superuser';
	ALTER ROLE postgres SET transform_null_equals = on;
	ALTER ROLE postgres SET extra_float_digits = 3;
	ALTER ROLE postgres SET statement_timeout = 1;
	ALTER ROLE postgres SET default_transaction_read_only = on;
	ALTER ROLE postgres SET default_transaction_isolation = 'serializable';}) if 0;
for my $setting (q{session_replication_role = 'replica'}, q{search_path = 'watch'}, q{default_tablespace = 'elsewhere'},
	q{TimeZone = 'Pacific/Apia'}, q{work_mem = '9MB'}, q{app.tenant = 'of the superuser'}, q{app.other = 'of the superuser'},
	q{transform_null_equals = on}, q{extra_float_digits = 3}, q{row_security = off})
{
	one($node, "ALTER ROLE postgres SET $setting");
}
push @shown, 'app.other', 'row_security';
is_seen(settings_of('SELECT', 'etl'), "none of the superuser's", %role, 'row_security' => 'on', 'app.other' => '');
done_testing(), exit if 0;
