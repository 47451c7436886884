# test/t/050_role_matrix.pl: every function and every relation of the extension, called by every kind of
# role upon what belongs to one of them. What each may is written down here, cell by cell; a function or
# a relation without a line fails the test. What 001_role and 003_access show of workers, of directories
# and of single rights is not repeated.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderAirbyte;
use LoaderCrash;
use LoaderStage;
use LoaderTest;
use Test::More;

my $top = packages_dir();
my ($listed, $closed) = ("$top/listed", "$top/closed");
mkdir $_ or die "could not make $_: $!" for $listed, "$listed/more", $closed, "$closed/empty";

my $node = new_node('main', "shared_preload_libraries = 'loader'\nloader.max_workers = 12\nmax_worker_processes = 40\n"
	. 'loader.package_directories = ' . quote_literal($listed));

# --- who there is ---------------------------------------------------------------------------------

# etl owns all that is called upon. All but plain may call every function: then what counts is whose it
# is. visitor may call none, but one that runs as a role that may and cannot log in; app is a member of
# that role, and becomes it.
one($node, q{
	CREATE ROLE etl LOGIN;
	CREATE ROLE member LOGIN IN ROLE etl;
	CREATE ROLE loader_user LOGIN;
	CREATE ROLE reader LOGIN IN ROLE pg_read_server_files;
	CREATE ROLE nologin NOLOGIN;
	CREATE ROLE app LOGIN IN ROLE nologin;
	CREATE ROLE visitor LOGIN;
	CREATE ROLE plain LOGIN;
	CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
	GRANT CREATE ON DATABASE postgres TO etl, loader_user, reader, nologin, plain, monitor;
	CREATE SCHEMA tool;
	CREATE FUNCTION tool.run(sql text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
		$$DECLARE r text; BEGIN EXECUTE sql INTO r; RETURN r; END$$;
	ALTER FUNCTION tool.run OWNER TO nologin;
	GRANT USAGE ON SCHEMA tool TO visitor;});
one($node, q{
	DO $$
	DECLARE f record;
	BEGIN
		FOR f IN SELECT p.oid::regprocedure AS name, p.prokind FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
			WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'loader')
		LOOP
			EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO etl, loader_user, reader, nologin, monitor', f.name);
		END LOOP;
	END $$});

my @roles = qw(super owner member user reader nologin definer plain monitor);
my %login = (super => 'postgres', owner => 'etl', user => 'loader_user', nologin => 'app', definer => 'visitor');
my %session = map { $_ => LoaderCrash->new($node, user => $login{$_} || $_) } @roles;
$session{nologin}->query('SET ROLE nologin');

# --- what belongs to etl --------------------------------------------------------------------------

my @keys = ([id => 'bigint', {nullable => JSON::PP::false, primary_key => JSON::PP::true}], [name => 'text'],
	[_dlt_id => 'text', {nullable => JSON::PP::false, unique => JSON::PP::true, row_key => JSON::PP::true}]);

sub package_of
{
	my ($schema, %p) = @_;

	return make_package(dir => $listed, schema => $schema, pipeline_state => {pipeline_name => $schema, dataset_name => $schema},
		tables => [{name => 'items', columns => \@keys, rows => [[1, 'secret', 'r1']], disposition => 'merge'}], %p);
}

my %path = map { $_ => package_of($_) } qw(shop shop_failed shop_new shop_held);
one($node, 'CREATE SCHEMA shop_failed; CREATE TABLE shop_failed.items (id bigint NOT NULL, name text CHECK (false), _dlt_id text NOT NULL);
	ALTER SCHEMA shop_failed OWNER TO etl; ALTER TABLE shop_failed.items OWNER TO etl', user => 'postgres');
my %id = (shop => start_package($node, $path{shop}, 'shop', user => 'etl'), shop_failed => start_package($node, $path{shop_failed}, 'shop_failed', user => 'etl'));
is(wait_package($node, $id{shop}), 'loaded', 'a package of etl that is loaded');
is(wait_package($node, $id{shop_failed}), 'failed', 'one that has failed');
$id{shop_new} = one($node, 'SELECT loader_register(' . quote_literal($path{shop_new}) . ", 'shop_new')", user => 'etl');

# one that runs, and waits for a lock
one($node, 'CREATE SCHEMA shop_held AUTHORIZATION etl; CREATE TABLE shop_held.items (id bigint NOT NULL, name text, _dlt_id text NOT NULL); ALTER TABLE shop_held.items OWNER TO etl');
my $holder = LoaderCrash->new($node);
$holder->query('BEGIN; LOCK shop_held.items');
$id{shop_held} = start_package($node, $path{shop_held}, 'shop_held', user => 'etl');
wait_for($node, "SELECT count(*) FROM loader.running() WHERE package_id = $id{shop_held}", 1);

# one in job mode, with a merge to come
my $schema = do { local (@ARGV, $/) = "$path{shop}/schema.json"; quote_literal(<>) };
my ($file) = glob("$path{shop}/new_jobs/*");
my $file_load = "CALL loader_start_file_load('shop_jobs', $schema, 'job.1', 'items.abc.0.insert_values', " . quote_literal($file) . ', staging => true)';
one($node, "SELECT loader_initialize_storage('shop_jobs', staging => s), loader_update_stored_schema('shop_jobs', $schema, staging => s)
	FROM unnest(ARRAY[false, true]) s", user => 'etl');
one($node, $file_load, user => 'etl');
my $job = one($node, "SELECT job_id FROM loader_create_table_chain_completed_followup_jobs('shop_jobs', $schema, 'job.1', 'items')", user => 'etl');
$id{shop_jobs} = one($node, "SELECT package_id FROM loader.packages WHERE load_id = 'job.1'");

# a sync that is open in another session of etl; with a state that is committed
my $sync = open_sync($node, [{name => 'users'}], {schema => 'shop_sync'}, source_name => "'crm'", user => 'etl');
$sync->write(record('users', 1), state('users', 1));
is_deeply([$sync->states(1)], ['users 1'], 'a sync of etl is open');
$id{shop_sync} = $sync->{id};
# a file of the spool, and a rejected row
one($node, "SELECT loader_upload('letter', '1700000000.9/schema.json', 0, 'secret')", user => 'etl');
one($node, "INSERT INTO loader.reject (package_id, job_id, line, sqlstate, message, raw, raw_size)
	SELECT package_id, job_id, 1, '22023', 'secret', 'secret', 6 FROM loader.job WHERE package_id = $id{shop} LIMIT 1");
my $stored_hash = one($node, 'SELECT version_hash FROM shop._dlt_version');
my $outside = package_of('elsewhere', dir => $closed);
package_of('shop', dir => "$listed/more");
my $ids = join(', ', values %id);

# --- what each may: functions ---------------------------------------------------------------------

# How a cell is read: ok, a word for a refusal, five characters for an SQLSTATE, or = and the output.
my %refusal = (
	execute => [42501, qr/^permission denied for (function|procedure) \w+$/],
	package => [42501, qr/^permission denied for package \d+$/],
	dataset => [42501, qr/^permission denied to load into dataset "\w+"$/],
	record => [42501, qr/^cannot read the record of loads "shop\._dlt_loads"$/],
	file => [42501, qr/^permission denied to load from "/],
	schema => [42501, qr/^permission denied for schema shop$/],
	target => [42501, qr/^permission denied to load into table shop_sync\.users$/],
	table => [42501, qr/^permission denied for table \w+$/],
	sequence => [42501, qr/^permission denied for sequence \w+$/],
	owner => [42501, qr/^must be owner of (schema|table) \w+$/],
	begun => [42501, qr/^load "job\.1" was begun by another role$/],
	atomic => [25001, qr/^loader_\w+ cannot run inside a transaction block$/],
	session => [55000, qr/^package \d+ is no sync that this session has open$/],
	busy => [55006, qr/^package \d+ is loading the same table$/]);

my $p = quote_literal($path{shop});
my $o = quote_literal($outside);
my $f = quote_literal($file);
my $q = quote_literal("$closed/messages.jsonl");
my $catalog = quote_literal(catalog({name => 'users'}));
my %seen;

# The line of a function: what is done, and what is said to each of @roles. Functions are called in a
# transaction that is rolled back; a CALL, and what is to be called in autocommit, is not.
my @matrix = (
	['loader_register(%long)', "a package of etl's", "SELECT loader_register($p, 'shop')",
		qw(ok ok ok dataset dataset dataset dataset execute dataset)],
	['loader_register(%long)', 'a file outside', "SELECT loader_register($o, 'mine')",
		qw(ok file file file ok file file execute file)],
	['loader_start(%long)', "a package of etl's", "SELECT loader_start($p, 'shop')",
		qw(ok ok ok dataset dataset dataset dataset execute dataset)],
	['loader_start(%long)', 'a file outside', "SELECT loader_start($o, 'mine')",
		qw(ok file file file ok file file execute file)],
	['loader_start(bigint)', "a package of etl's", "SELECT loader_start($id{shop_new})",
		qw(ok ok ok package package package package execute package)],
	['loader_run(%long,bigint)', "a package of etl's", "CALL loader_run($p, 'shop')",
		qw(ok ok ok dataset dataset dataset atomic execute dataset)],
	['loader_run(%long,bigint)', 'a file outside', "CALL loader_run($o, 'no such', default_schema_name => 'x', workers => -1)",
		qw(22023 22023 22023 22023 22023 22023 atomic execute 22023)],
	['loader_plan(%long)', "a package of etl's", "SELECT count(*) > 0 FROM loader_plan($p, 'shop')",
		qw(=t =t =t record record record record execute record)],
	['loader_plan(%long)', 'a file outside', "SELECT count(*) > 0 FROM loader_plan($o, 'mine')",
		qw(=t file file file =t file file execute file)],
	['loader_scan(%long)', 'a directory outside', 'SELECT count(*) FROM loader_scan(' . quote_literal("$closed/empty") . ')',
		qw(=0 file file file =0 file file execute file)],
	['loader_scan(%long)', "a directory of etl's packages", 'SELECT count(*) FROM loader_scan(' . quote_literal("$listed/more") . ", 'shop')",
		qw(=1 =1 =1 =0 =0 =0 =0 execute =0)],
	['loader_wait(bigint,interval)', "a package of etl's", "SELECT loader_wait($id{shop_failed})",
		qw(=failed =failed =failed package package package package execute package)],
	['loader_cancel(bigint)', "etl's, not started", "SELECT loader_cancel($id{shop_new})",
		qw(=t =t =t package package package package execute package)],
	['loader_cancel(bigint)', "etl's, that runs", "SELECT loader_cancel($id{shop_held})",
		qw(=t =t =t package package package package execute package)],
	['loader_cancel(bigint)', "etl's, a sync", "SELECT loader_cancel($id{shop_sync})",
		qw(=t =t =t package package package package execute package)],
	['loader_resume(bigint)', "a package of etl's", "SELECT loader_resume($id{shop_failed})",
		qw(=t =t =t package package package package execute package)],
	['loader_forget(bigint)', "etl's, not started", "SELECT loader_forget($id{shop_new})",
		qw(=t =t =t package package package package execute package)],
	['loader_forget(bigint)', "etl's, loaded", "SELECT loader_forget($id{shop})",
		qw(=t =t =t package package package package execute package)],
	['loader_replay(bigint,text)', "of a package of etl's", "SELECT loaded FROM loader_replay($id{shop}, 'none')",
		qw(42704 42704 42704 package package package package execute package)],
	['loader_discard(bigint,text)', "of a package of etl's", "SELECT loader_discard($id{shop})",
		qw(=1 =1 =1 package package package package execute package)],
	['loader_job(bigint,text)', "of a package of etl's", "SELECT count(*) FROM loader_job($id{shop_jobs}, " . quote_literal($job) . ')',
		qw(=1 =1 =1 =0 =0 =0 =0 =0 =1)],
	['loader_raise(bigint,text)', "of a package of etl's", "SELECT loader_raise($id{shop_failed})",
		qw(23514 23514 23514 package package package package execute package)],
	['loader_upload(text,text,bigint,bytea,bigint,bytea)', "how much of etl's is there", "SELECT loader_upload('letter', '1700000000.9/schema.json', 0, NULL)",
		qw(=0 =6 =0 =0 =0 =0 =0 execute =0)],
	['loader_upload(text,text,bigint,bytea,bigint,bytea)', "more of etl's", "SELECT loader_upload('letter', '1700000000.9/schema.json', 6, 'x')",
		qw(22023 =7 22023 22023 22023 22023 22023 execute 22023)],
	['loader_upload_drop(text)', "an upload of etl's", "SELECT loader_upload_drop('letter')",
		qw(=f =t =f =f =f =f =f execute =f)],
	['loader_start_file_load(text,json,text,text,text,text,boolean,jsonb,text,text,text,bigint,text)', "into a load of etl's", $file_load,
		qw(begun ok begun dataset dataset dataset atomic execute dataset)],
	['loader_restore_file_load(text,text,text,text)', "of a load of etl's", "SELECT count(*) FROM loader_restore_file_load('shop_jobs', 'shop', 'job.1', 'items.abc.0.insert_values')",
		qw(=1 =1 =1 =0 =0 =0 =0 =0 =1)],
	['loader_create_table_chain_completed_followup_jobs(text,json,text,text,text,text,json)', "of a load of etl's",
		"SELECT count(*) FROM loader_create_table_chain_completed_followup_jobs('shop_jobs', $schema, 'job.1', 'items')",
		qw(begun =1 begun dataset dataset dataset dataset execute dataset)],
	['loader_run_followup_job(bigint,text)', "of a load of etl's", "CALL loader_run_followup_job($id{shop_jobs}, " . quote_literal($job) . ')',
		qw(begun ok begun package package package atomic execute package)],
	['loader_complete_load(text,json,text,text)', "a load of etl's", "SELECT loader_complete_load('shop_jobs', $schema, 'job.1')",
		qw(begun ok begun dataset dataset dataset dataset execute dataset)],
	['loader_capabilities()', '', 'SELECT count(loader_capabilities())', ('=1') x 9],
	['loader_fingerprint()', '', 'SELECT count(loader_fingerprint())', ('=1') x 9],
	['loader_location()', '', 'SELECT count(loader_location())', ('=1') x 9],
	['loader_normalize_dataset_name(text,text,text,text,boolean,text)', '', "SELECT loader_normalize_dataset_name('a', 'b')", ('=a') x 9],
	['loader_is_storage_initialized(text,boolean,text)', "a dataset of etl's", "SELECT loader_is_storage_initialized('shop')", ('=t') x 9],
	['loader_initialize_storage(text,text[],boolean,text)', "a table of etl's", "SELECT loader_initialize_storage('shop', ARRAY['items'])",
		qw(ok ok ok table table table table execute table)],
	['loader_drop_tables(text,text[],text,boolean,boolean,text)', "a table of etl's", "SELECT loader_drop_tables('shop', ARRAY['items'], delete_schema => false)",
		qw(ok ok ok owner owner owner owner execute owner)],
	['loader_drop_tables(text,text[],text,boolean,boolean,text)', "etl's schema", "SELECT loader_drop_tables('shop', '{}', 'shop')",
		qw(ok ok ok schema schema schema schema execute schema)],
	['loader_drop_storage(text,text)', "a dataset of etl's", "SELECT loader_drop_storage('shop')",
		qw(ok ok ok owner owner owner owner execute owner)],
	['loader_update_stored_schema(text,json,text[],json,boolean,boolean,boolean,text,boolean,text)', "a dataset of etl's",
		"SELECT loader_update_stored_schema('shop', $schema)", qw(={} ={} ={} schema schema schema schema execute schema)],
	['loader_get_stored_schema(text,text,boolean,text)', "a dataset of etl's", "SELECT count(*) FROM loader_get_stored_schema('shop')",
		qw(=1 =1 =1 schema schema schema schema schema schema)],
	['loader_get_stored_schema_by_hash(text,text,boolean,text)', "a dataset of etl's", "SELECT count(*) FROM loader_get_stored_schema_by_hash('shop', " . quote_literal($stored_hash) . ')',
		qw(=1 =1 =1 schema schema schema schema schema schema)],
	['loader_get_stored_state(text,text)', "a dataset of etl's", "SELECT count(*) FROM loader_get_stored_state('shop_state', 'shop')",
		qw(=1 =1 =1 42501 42501 42501 42501 42501 42501)],
	['loader_get_storage_tables(text,text[],boolean,text)', "a table of etl's", "SELECT count(column_name) FROM loader_get_storage_tables('shop', ARRAY['items'])",
		qw(=3 =3 =3 =0 =0 =0 =0 =0 =0)],
	['loader_airbyte_spec()', '', 'SELECT count(loader_airbyte_spec())', ('=1') x 9],
	['loader_airbyte_check(jsonb,boolean)', "a dataset of etl's", q{SELECT loader_airbyte_check('{"schema": "shop"}') ->> 'status'},
		qw(=SUCCEEDED =SUCCEEDED =SUCCEEDED =FAILED =FAILED =FAILED =FAILED =FAILED =FAILED)],
	['loader_airbyte_open(jsonb,json,text,text[],text,boolean,boolean,text)', "into a table of etl's", qq{SELECT loader_airbyte_open('{"schema": "shop_sync"}', $catalog)},
		qw(busy busy busy target target target target execute target)],
	['loader_airbyte_write(bigint,bytea)', "to a sync of etl's", "SELECT loader_airbyte_write($id{shop_sync}, '{}')",
		qw(session session session package package package package execute package)],
	['loader_airbyte_close(bigint)', "a sync of etl's", "SELECT loader_airbyte_close($id{shop_sync})",
		qw(session session session package package package package execute package)],
	['loader_airbyte_states(text,text,text[])', "of a source of etl's", q{SELECT loader_airbyte_states('crm')::text = '[]'},
		qw(=t =f =t =t =t =t =t =t =t)],
	['loader_start(text,json,jsonb,text,text[],text,boolean,boolean,text)', "into a table of etl's",
		qq{SELECT loader_start($q, catalog => $catalog, config => '{"schema": "shop_sync"}')}, qw(58P01 file file target target target target execute target)],
	['loader_start(text,json,jsonb,text,text[],text,boolean,boolean,text)', 'a file outside',
		qq{SELECT loader_start($q, catalog => $catalog, config => '{"schema": "mine"}')}, qw(58P01 file file file 58P01 file file execute file)],
	['loader.running()', "packages of etl's", "SELECT count(*) FROM loader.running() WHERE package_id IN ($id{shop_held}, $id{shop_sync})",
		qw(=2 =2 =2 =0 =0 =0 =0 =0 =2)],
	['loader.dataset_rows(text)', "of a dataset of etl's", "SELECT count(*) FROM loader.dataset_rows('loads') WHERE dataset = 'shop'",
		qw(=1 =1 =1 =0 =0 =0 =0 =0 =0)],
	['loader.raw_text(bytea,text)', 'of any bytes', "SELECT loader.raw_text('x', NULL)",
		qw(=x =x =x =x =x =x =x =x =x)],
	['loader.may_see(oid,text,bigint)', 'of etl', q{SELECT loader.may_see('etl'::regrole, 'etl', system_identifier) FROM pg_control_system()},
		qw(=t =t =t =f =f =f =f =f =t)],
);
one($node, 'CREATE SCHEMA shop_state AUTHORIZATION etl');
is(load($node, make_package(dir => $listed, schema => 'shop_state', tables => [
	{name => '_dlt_pipeline_state', columns => [[version => 'bigint'], [engine_version => 'bigint'], [pipeline_name => 'text'], [state => 'text'],
		[created_at => 'timestamp'], [version_hash => 'text'], [_dlt_load_id => 'text'], [_dlt_id => 'text']],
		rows => [[1, 4, 'shop', 'secret', '2024-01-01 00:00:00Z', 'h', '1700000000.777', 'i']]}], load_id => '1700000000.777'),
	'shop_state', user => 'etl'), 'loaded', 'a pipeline state of etl');
one($node, q{GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC});

sub outcome
{
	my ($role, $sql) = @_;
	my $block = $sql !~ /^CALL/ && $sql !~ /airbyte_(open|write|close)/;

	$sql = 'SELECT tool.run(' . quote_literal($sql) . ')' if $role eq 'definer';
	my $said = $session{$role}->query($block ? "BEGIN; $sql; ROLLBACK" : $sql);
	my %e = (text => $said);

	@e{qw(sqlstate message)} = ($1, $2) if $said =~ /(?:ERROR|FATAL):  (\w{5}): (.*)/;
	$said =~ s/^true$/t/m, $said =~ s/^false$/f/m;	# of EXECUTE ... INTO text
	$e{value} = join('|', grep { !/^(psql:)?(NOTICE|WARNING|DETAIL|HINT|LOCATION):/ } split /\n/, $said);
	return \%e;
}

# cell(NAME, WHAT CAME, WHAT SHOULD): is it this cell's?
sub cell
{
	my ($name, $e, $expected) = @_;

	if ($expected =~ /^=(.*)/s)
	{
		is($e->{sqlstate} ? $e->{text} : $e->{value}, $1, "$name: $expected");
	}
	elsif ($expected eq 'ok')
	{
		is($e->{sqlstate} ? $e->{text} : '', '', "$name: ok");
	}
	else
	{
		my ($sqlstate, $message) = @{ $refusal{$expected} || [$expected, qr/./] };

		ok(($e->{sqlstate} || '') eq $sqlstate && $e->{message} =~ $message, "$name: refused ($expected)") or diag($e->{text});
	}
	return;
}

my $long = 'text,text,text,text,text,boolean,jsonb,boolean,integer,boolean,text,text,boolean,text';
for my $line (@matrix)
{
	my ($function, $what, $sql, @cells) = @$line;

	$function =~ s/%long/$long/;
	$seen{$function} = 1;
	die "$function, $what: a cell for each role" unless @cells == @roles;
	# others first: what etl does is done
	for my $i (sort { ($roles[$a] eq 'owner') <=> ($roles[$b] eq 'owner') } 0 .. $#roles)
	{
		cell("$function $what, $roles[$i]", outcome($roles[$i], $sql), $cells[$i]);
	}
}
is(one($node, q{
	SELECT string_agg(f, E'\n' ORDER BY f) FROM (SELECT CASE pronamespace::regnamespace::text WHEN 'public' THEN '' ELSE pronamespace::regnamespace || '.' END
		|| proname || '(' || array_to_string(ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes) t), ',') || ')'
	FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
	WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'loader')) q(f)}),
	join("\n", sort keys %seen), 'every function of the extension has a line here');

# A member that does not inherit has nothing of it before SET ROLE.
one($node, q{CREATE ROLE reserved LOGIN NOINHERIT IN ROLE etl, pg_read_server_files, loader_user; GRANT CREATE ON DATABASE postgres TO reserved});
$session{reserved} = LoaderCrash->new($node, user => 'reserved');
cell('a member that does not inherit', outcome('reserved', "SELECT loader_cancel($id{shop_new})"), 'execute');
one($node, 'GRANT EXECUTE ON FUNCTION loader_cancel, loader_register TO reserved');
cell('a member that does not inherit, with EXECUTE', outcome('reserved', "SELECT loader_cancel($id{shop_new})"), 'package');
cell('a member of pg_read_server_files that does not inherit', outcome('reserved', "SELECT loader_register($o, 'mine')"), 'file');
cell('its view of packages', outcome('reserved', "SELECT count(*) FROM loader.packages WHERE package_id IN ($ids)"), '=0');
$session{reserved}->query('SET ROLE etl');
cell('it has become the owner', outcome('reserved', "SELECT loader_cancel($id{shop_new})"), '=t');

# --- what each sees: views, tables, sequences ------------------------------------------------------

# Which of a view's rows are etl's, and whether each of @roles sees them; a member of pg_monitor does not
# read tables for it.
my $own = "package_id IN ($ids)";
my @sees = qw(t t t f f f f f t);
my @reads = qw(t t t f f f f f f);
my %view = (
	packages => [$own, @sees], jobs => [$own, @sees], tables => [$own, @sees], progress => [$own, @sees], rejects => [$own, @sees],
	events => [$own, @sees], streams => [$own, @sees], datasets => [q{dataset = 'shop'}, @sees], loads => [q{dataset = 'shop'}, @reads],
	schemas => [q{dataset = 'shop'}, @reads], states => [q{dataset = 'shop_state'}, @reads]);
my %state = (states => [q{pipeline_name = 'crm'}, @sees]);

for my $more (\%view, \%state)
{
	for my $view (sort keys %$more)
	{
		my ($condition, @cells) = @{ $more->{$view} };

		for my $i (0 .. $#roles)
		{
			cell("loader.$view of etl's, $roles[$i]", outcome($roles[$i], "SELECT count(*) > 0 FROM loader.$view WHERE $condition"), "=$cells[$i]");
		}
	}
}
my %other = map { $_ => 1 } qw(event job package package_stream package_table reject stage stream stream_state event_event_id_seq package_package_id_seq reject_reject_id_seq);
my @relations = split /\n/, one($node, q{
	SELECT relkind, relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
	WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND relkind NOT IN ('i', 'c', 't')
		AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'loader')
	UNION SELECT 'S', relname FROM pg_class WHERE relkind = 'S' AND relnamespace = 'loader'::regnamespace});
is(join(' ', sort grep { s/^v\|// } @{ [@relations] }), join(' ', sort keys %view), 'every view of the extension has a line here');
is(join(' ', sort grep { s/^[^v]\|// } @{ [@relations] }), join(' ', sort keys %other), 'and so has everything else');
for my $relation (sort keys %other)
{
	my $is_sequence = $relation =~ /_seq$/;

	for my $i (0 .. $#roles)
	{
		my $refused = $is_sequence ? 'sequence' : 'table';

		cell("loader.$relation, $roles[$i]", outcome($roles[$i], 'SELECT ' . ($is_sequence ? 'last_value > 0' : 'count(*) >= 0') . " FROM loader.$relation"),
			$roles[$i] eq 'super' ? '=t' : $refused);
		cell("writing to loader.$relation, $roles[$i]", outcome($roles[$i], $is_sequence ? "SELECT nextval('loader.$relation')" :
			"WITH d AS (DELETE FROM loader.$relation WHERE false RETURNING 1) SELECT count(*) = 0 FROM d"), $refused) unless $roles[$i] eq 'super';
	}
}
for my $role (@roles)
{
	next if $role eq 'super';
	cell("a heap that waits to be swapped in, $role", outcome($role, 'CREATE TABLE loader_swap.mine ()'), 42501);
	cell("the place of the spool, $role", outcome($role, 'SHOW loader.spool_directory'), $role eq 'monitor' ? 'ok' : 42501) unless $role eq 'definer';
}

# Views show a function that cheats no more rows than they show; no statistics are for others to read.
for my $role (qw(user plain))
{
	my $s = $session{$role};

	$s->query('CREATE FUNCTION pg_temp.leak(t text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
		$$BEGIN RAISE NOTICE \'leaked %\', t; RETURN true; END$$');
	for my $view (sort keys %view)
	{
		unlike($s->query("SELECT count(*) FROM loader.$view v WHERE pg_temp.leak(v::text)"), qr/shop|secret|\Q$listed\E/, "a function in a condition on $view, $role");
	}
	is($s->query(q{SELECT count(*) FROM pg_stats WHERE schemaname = 'loader'}), 0, "statistics of the catalog, $role");
}

# --- what is to be learnt elsewhere ----------------------------------------------------------------

# of a process that loads for etl: that there is one
for my $role (qw(user reader nologin plain))
{
	is($session{$role}->query(q{SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()
		AND (backend_type LIKE 'loader%' OR query LIKE 'loading%' OR query LIKE '%} . $listed . q{%' OR application_name ~ 'shop|listed')}), 0, "pg_stat_activity, $role");
	is($session{$role}->query(q{SELECT count(*) FROM pg_stat_progress_copy WHERE command IS NOT NULL OR bytes_total IS NOT NULL OR relid IS NOT NULL}), 0, "pg_stat_progress_copy, $role");
}

# A notification reaches everybody: ids and states, and nothing else.
$session{plain}->query('LISTEN loader');
is(load($node, package_of('shop_told'), 'shop_told', user => 'etl'), 'loaded', 'a package of etl is loaded meanwhile');
my ($told) = map { /Asynchronous notification "loader" with payload "(.*)" received/ ? $1 : () } split /\n/, $session{plain}->query('SELECT 1');
like($told, qr/^\{"package_id": \d+, "state": "loaded"\}$/, 'what a NOTIFY tells');

# What there is outside of the listed directories: the same is said of what is there and of what is not,
# whatever leads there.
symlink("$closed/empty", "$listed/to_something") or die $!;
symlink("$closed/nothing", "$listed/to_nothing") or die $!;
symlink('/root/x/y', "$listed/to_root") or die $!;
mkdir "$closed/new_jobs" or die $!;
for my $pair (
	["$closed/empty", "$closed/nothing"], ["$listed/to_something", "$listed/to_nothing"], ["$listed/to_something", "$listed/to_root"],
	["$listed/to_something/x", "$listed/to_nothing/x"], ["$listed/to_something/", "$listed/to_nothing/"],
	["$listed/to_something/.", "$listed/to_nothing/.."], ["$listed/../closed/empty", "$listed/../closed/nothing"],
	["$listed/more/../../closed/empty", "$listed/more/../../closed/nothing"])
{
	my @said = map { my $path = $_; my $said = $session{user}->query('SELECT loader_register(' . quote_literal($path) . ", 'mine')"); $said =~ s/\Q$path\E/PATH/g; $said } @$pair;

	like($said[0], qr/^ERROR:  42501: permission denied to load from "PATH"\n/, "what is there: $pair->[0]");
	is($said[1], $said[0], "and what is not: $pair->[1]");
}
like($session{user}->query('SELECT loader_register(' . quote_literal("$listed/more/none") . ", 'mine')"), qr/^ERROR:  58P01: "\Q$listed\E\/more\/none" does not exist/,
	'inside of them it is said what is not there');
unlink "$listed/to_something", "$listed/to_nothing", "$listed/to_root";

# A directory with a link in it is scanned the same way, wherever that leads.
for my $name (qw(new_jobs normalized load))
{
	my @found;

	for my $target ("$closed/empty", "$closed/nothing")
	{
		my $dir = "$listed/scan_$name";

		mkdir $dir or die $!;
		symlink($target, "$dir/$name") or die $!;
		symlink("$closed/empty", "$dir/normalize") or die $! if $name eq 'load';
		package_of('seen', dir => $dir, load_id => '1700000001.1');
		push @found, $session{user}->query('BEGIN; SELECT count(*) FROM loader_scan(' . quote_literal($dir) . ", 'mine'); ROLLBACK");
		system('rm', '-rf', $dir) == 0 or die "could not remove $dir";
	}
	is($found[1], $found[0], "a scan of a directory with a link $name in it");
	like($found[0], qr/^[01]$/, "it ends well: $name");
}

# --- a session that becomes another role ------------------------------------------------------------

# A sync is fed by its session; but not by a function of somebody else that runs there, nor by the role
# that the session has become.
one($node, q{
	CREATE FUNCTION tool.inject(id bigint, text text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
		$$BEGIN RETURN (SELECT string_agg(s::text, ',') FROM loader_airbyte_write(id, convert_to(text, 'UTF8')) s); END$$;
	ALTER FUNCTION tool.inject OWNER TO loader_user;
	GRANT USAGE ON SCHEMA tool TO etl;});
my $message = quote_literal(record('users', 666) . "\n");
like($sync->{session}->query("SELECT tool.inject($sync->{id}, $message)"), qr/^ERROR:  42501: permission denied for package $sync->{id}$/m, 'a function of another role cannot write to a sync of the session');
my $shared = open_sync($node, [{name => 'shared'}], {schema => 'shared'}, source_name => "'crm'", session => do {
	my $s = LoaderCrash->new($node);
	$s->query('SET SESSION AUTHORIZATION etl');
	$s });
$shared->{session}->query('SET SESSION AUTHORIZATION loader_user');
like($shared->write(record('shared', 666)), qr/^ERROR:  42501: permission denied for package $shared->{id}$/m, 'nor can the role that a session has become');
like($shared->{session}->query("SELECT loader_airbyte_close($shared->{id})"), qr/^ERROR:  42501: permission denied for package $shared->{id}$/m, 'nor close it');
$shared->{session}->query('SET SESSION AUTHORIZATION etl');
$shared->write(record('shared', 1), complete('shared'));
is($shared->close->{state}, 'loaded', 'the role that opened it goes on');
is(rows($node, 'shared.shared'), '1', 'with its own record and no other');

# --- two roles and one package -----------------------------------------------------------------------

# Another role with all rights on the dataset registers a package that is being registered by etl: it
# waits for that to be committed, and then neither gets nor starts it.
one($node, 'CREATE SCHEMA common; CREATE SCHEMA common_jobs; GRANT ALL ON SCHEMA common, common_jobs TO etl, loader_user');
my $both = quote_literal(package_of('common'));
my $etl = LoaderCrash->new($node, user => 'etl');
my $second = LoaderCrash->new($node, user => 'loader_user');
$etl->query('BEGIN');
$id{common} = $etl->query("SELECT loader_register($both, 'common')");
$second->send("SELECT loader_start($both, 'common')");
wait_for($node, "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $second->{pid}", 'Lock');
$etl->query('COMMIT');
like($second->answer, qr/^ERROR:  42501: package "[0-9.]+" was registered by another role$/m, 'a package that another role registers meanwhile is not started');
is(one($node, "SELECT state, started FROM loader.packages WHERE package_id = $id{common}"), 'new|f', 'it is as its role left it');

# One in job mode: who is not its role is told whose it is, and not how far it is.
one($node, q{SELECT loader_update_stored_schema('common_jobs', } . $schema . ')', user => 'etl');
one($node, 'GRANT ALL ON ALL TABLES IN SCHEMA common_jobs TO loader_user');
my $load = $path{shop} =~ s{.*/}{}r;
one($node, "CALL loader_start_file_load('common_jobs', $schema, '$load', 'items.abc.0.insert_values', " . quote_literal($file) . ')', user => 'etl');
like($second->query('SELECT loader_register(' . quote_literal($path{shop}) . ", 'common_jobs')"), qr/^ERROR:  42501: package "$load" was registered by another role$/m, 'a load in job mode of another role');
one($node, "SELECT loader_complete_load('common_jobs', $schema, '$load')", user => 'etl');

# The dataset of a package that is loaded goes, and another role makes one of that name: the package stays
# what it is.
one($node, 'DROP SCHEMA common_jobs CASCADE; CREATE SCHEMA common_jobs AUTHORIZATION loader_user');
one($node, "SELECT loader_update_stored_schema('common_jobs', $schema)", user => 'loader_user');
like($second->query("CALL loader_start_file_load('common_jobs', $schema, '$load', 'items.abc.0.insert_values', " . quote_literal($file) . ')'),
	qr/^ERROR:  42501: load "$load" was begun by another role$/m, 'a load that another role has ended');
is(one($node, "SELECT count(*) FROM loader.package WHERE load_id = '$load' AND dataset = 'common_jobs' AND NOT superseded"), 1, 'its record is not set aside');

# A scan that does not end keeps off no other role's.
my $scan = 'SELECT count(*) FROM loader_scan(' . quote_literal("$listed/more") . ", '%s')";
$second->query('BEGIN; ' . sprintf $scan, 'mine');
is($etl->query('BEGIN; ' . sprintf($scan, 'shop') . '; ROLLBACK'), 1, 'the scan of another role, in a transaction that stays open, is in nobody\'s way');
$second->query('ROLLBACK');
$_->quit for $etl, $second;

$sync->write(complete('users'));
is($sync->close->{state}, 'loaded', 'the sync of etl was not touched');
is(rows($node, 'shop_sync.users'), '1', 'nor were its rows');
$holder->query('COMMIT');
is(wait_package($node, $id{shop_held}), 'loaded', 'nor was the package that waited');
is(one($node, 'SELECT string_agg(name, $$ $$) FROM shop.items'), 'secret', 'nor the table');
$_->quit for $holder, values %session;

done_testing();
