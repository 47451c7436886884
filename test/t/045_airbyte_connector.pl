# test/t/045_airbyte_connector.pl: the connector as a program: its command line, its pipes, signals,
# lost servers, and secrets.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IO::Socket::INET;
use JSON::PP ();
use LoaderConnector;
use LoaderCrash;
use LoaderTest;
use Test::More;

plan skip_all => 'destination-loader is not installed: libpq\'s headers were missing'
	unless LoaderConnector::available();

my $node = new_node('main', "log_statement = all\nlog_connections = on\nlog_min_duration_statement = 0\nlog_parameter_max_length_on_error = -1");
my $top = packages_dir();
my $json = JSON::PP->new->canonical->utf8;
my $secret = 'sesame-open-7';
my $n = 0;

sub file
{
	my ($content) = @_;
	my $path = "$top/file" . ++$n;

	open(my $fh, '>:raw', $path) or die "$path: $!";
	print $fh ref $content ? $json->encode($content) : $content;
	close $fh or die "$path: $!";
	return $path;
}

# A configuration for the server, with changes; undef removes a key.
sub config
{
	my (%change) = @_;
	my %config = (host => $node->host, port => $node->port + 0, database => 'postgres', username => 'etl',
		password => $secret, schema => 'shop', %change);

	delete @config{ grep { !defined $config{$_} } keys %config };
	return file(\%config);
}

my $catalog = file({streams => [{
	stream => {name => 'users', supported_sync_modes => ['full_refresh'],
		json_schema => {type => 'object', properties => {id => {type => 'integer'}, name => {type => 'string'}}}},
	sync_mode => 'full_refresh', destination_sync_mode => 'append', primary_key => [], cursor_field => []}]});

sub record
{
	my ($id, $name) = @_;

	return $json->encode({type => 'RECORD', record => {stream => 'users', emitted_at => 1700000000000,
		data => {id => $id, name => $name}}}) . "\n";
}

sub state_line
{
	my ($n) = @_;

	return qq({"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"users"},"stream_state":{"n":$n}}}}\n);
}

sub behave
{
	my (%behaviour) = @_;

	one($node, 'TRUNCATE stand_in.behaviour', user => 'postgres');
	one($node, "INSERT INTO stand_in.behaviour VALUES ('$_', " . quote_literal($behaviour{$_}) . ')') for keys %behaviour;
	return;
}

sub writer
{
	my ($config, @more) = @_;

	return LoaderConnector->new('write', '--config', $config || config(), '--catalog', $catalog, @more);
}

sub states
{
	my ($c) = @_;

	return join(' ', map { $_->{stream}{stream_state}{n} } $c->messages('STATE'));
}

my ($rc, $c, $e);

# --- without a server ---------------------------------------------------------------------------

($rc, $c) = LoaderConnector->run('spec');
my ($spec) = $c->messages('SPEC');
is("$rc " . join(' ', sort @{ $spec->{supported_destination_sync_modes} }), '0 append append_dedup overwrite', 'spec');
is(($c->{out} =~ tr/\n//), 1, 'it is one line');

($rc, $c) = LoaderConnector->run('--help');
like("$rc $c->{out}", qr/^0 .*check --config FILE.*\n\z/s, 'help for people');
($rc, $c) = LoaderConnector->run('--version');
like("$rc $c->{out}", qr/^0 destination-loader \d+\.\d+\n\z/, 'version');

for my $case (
	[[], qr/no command/], [['spec', 'check'], qr/unexpected argument "check"/], [['discover'], qr/"discover"/],
	[['check'], qr/"--config" is missing/], [['write', '--config', 'x'], qr/"--catalog" is missing/],
	[['check', '--config'], qr/"--config" needs a value/], [['check', '-c', 'x'], qr/"-c"/],
	[['check', '--configx=y'], qr/unknown option "--configx=y"/])
{
	($rc, $c) = LoaderConnector->run(@{ $case->[0] });
	ok($rc == 2 && $c->error->{message} =~ $case->[1] && $c->stderr =~ $case->[1], "refused: @{ $case->[0] }")
		or diag("$rc $c->{out}" . $c->stderr);
}

sub check_message
{
	my (@arguments) = @_;
	my ($status, $connector) = LoaderConnector->run('check', @arguments);
	my @answers = $connector->messages('CONNECTION_STATUS');

	return "$status, " . @answers . ' answers' unless $status == 0 && @answers == 1;
	return $answers[0]{status} . (defined $answers[0]{message} ? ": $answers[0]{message}" : '');
}

like(check_message('--config', "$top/nowhere"), qr/^FAILED: could not read the configuration, file ".*": No such file/, 'no file');
like(check_message('--config', file('{')), qr/^FAILED: invalid JSON in the configuration/, 'no JSON');
like(check_message('--config', file("{}\0")), qr/^FAILED: .*zero byte/, 'a zero byte');
like(check_message('--config', config(username => undef)), qr/^FAILED: .*"username"/, 'a key that is missing');
like(check_message('--config', config(port => 1)), qr/^FAILED: connection to server.*failed/, 'nobody answers');
($rc, $c) = LoaderConnector->run('write', '--config', config(port => 1), '--catalog', $catalog);
is("$rc " . $c->error->{failure_type}, '1 transient_error', 'write: nobody answers');
($rc, $c) = LoaderConnector->run('write', '--config', file('[]'), '--catalog', $catalog);
is("$rc " . $c->error->{failure_type}, '1 config_error', 'write: a configuration that is none');
($rc, $c) = LoaderConnector->run('write', '--config', config(), '--catalog', "$top/nowhere");
like("$rc " . $c->error->{message}, qr/^1 could not read the catalog/, 'write: no catalog');

# --- check --------------------------------------------------------------------------------------

one($node, "CREATE ROLE etl LOGIN PASSWORD '$secret'; CREATE DATABASE bare; ALTER ROLE etl SET statement_timeout = '1s'");
$node->append_conf('pg_hba.conf', "local all postgres trust\nlocal all all scram-sha-256");
{
	my $hba = $node->data_dir . '/pg_hba.conf';
	open(my $fh, '>', $hba) or die "$hba: $!";
	print $fh "local all postgres trust\nlocal all all scram-sha-256\n";
	close $fh;
	$node->reload;
}

like(check_message('--config', config()), qr/^FAILED: the extension loader has version \S+ in database "postgres", which lacks loader_airbyte_check.*ALTER EXTENSION loader UPDATE/,
	'an extension without what is needed');
one($node, 'DROP EXTENSION loader; CREATE SCHEMA "some where"; CREATE EXTENSION loader SCHEMA "some where"');
{
	open(my $fh, '<', source_dir() . '/test/airbyte/stand_in.sql') or die "stand_in.sql: $!";
	one($node, 'SET search_path = "some where"; ' . join('', <$fh>));
	one($node, 'GRANT USAGE ON SCHEMA stand_in TO etl; GRANT ALL ON ALL TABLES IN SCHEMA stand_in TO etl');
}
like(check_message('--config', config()), qr/^FAILED: role "etl" may not use the schema of the extension loader. Run GRANT USAGE ON SCHEMA "some where" TO "etl"/,
	'no right to use its schema');
one($node, 'GRANT USAGE ON SCHEMA "some where" TO etl; REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA "some where" FROM PUBLIC;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA "some where" TO etl; REVOKE EXECUTE ON FUNCTION "some where".loader_airbyte_open FROM etl');
like(check_message('--config', config()), qr/^FAILED: role "etl" may not call what a sync needs. Run GRANT EXECUTE ON FUNCTION "some where"\.loader_airbyte_open TO "etl"/,
	'no right to call its functions');
one($node, 'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA "some where" TO etl');
is(check_message('--config', config()), 'SUCCEEDED', 'all is there, in a schema outside of the search path');
is(check_message('--config=' . config()), 'SUCCEEDED', 'option with =');
($rc, $c) = LoaderConnector->run('--config', config(), 'check');
is($rc . scalar $c->messages('CONNECTION_STATUS'), '01', 'options first');
like(check_message('--config', config(database => 'bare')), qr/^FAILED: the extension loader is not installed in database "bare". Run CREATE EXTENSION loader there/,
	'no extension');
like(check_message('--config', config(database => 'nodb')), qr/^FAILED: .*database "nodb" does not exist\z/, 'no database');
like(check_message('--config', config(password => 'wrong')), qr/^FAILED: .*password authentication failed for user "etl"\z/, 'wrong password');
behave(check => 'schema "shop" cannot be made');
is(check_message('--config', config()), 'FAILED: schema "shop" cannot be made', 'what the server has to say');
behave();

($rc, $c) = LoaderConnector->run('write', '--config', config(password => 'wrong'), '--catalog', $catalog);
is("$rc " . $c->error->{failure_type} . ' ' . $c->error->{internal_message}, '1 config_error SQLSTATE 28P01', 'write: wrong password');

# --- configuration ------------------------------------------------------------------------------

# an older form goes back upgraded, before anything else
($rc, $c) = LoaderConnector->run('check', '--config', config(port => $node->port . '', ssl_mode => 'prefer', future => [1]));
like($c->{out}, qr/\A\{"type":"CONTROL".*\n\{"type":"CONNECTION_STATUS".*\n\z/, 'the upgraded configuration comes first');
my ($control) = $c->messages('CONTROL');
is("$control->{type} " . ($control->{emitted_at} > 1.6e12 ? 'ms' : 'no ms'), 'CONNECTOR_CONFIG ms', 'as a CONTROL message');
is($json->encode($control->{connectorConfig}{config}),
	$json->encode({host => $node->host, port => $node->port + 0, database => 'postgres', username => 'etl', password => $secret,
		schema => 'shop', ssl_mode => {mode => 'prefer'}, future => [1]}), 'with all of it');
($rc, $c) = LoaderConnector->run('check', '--config', file($control->{connectorConfig}{config}));
is(scalar $c->messages('CONTROL'), 0, 'which is not upgraded again');

($rc, $c) = LoaderConnector->run('check', '--config',
	config(jdbc_url_params => 'ApplicationName=my%20sync&user=postgres&prepareThreshold=0&connectTimeout=7'));
is(join('|', $c->logged('WARN')), '"user" in "jdbc_url_params" is ignored|"prepareThreshold" in "jdbc_url_params" is ignored',
	'parameters of a URL that mean nothing here');
ok(log_count($node, 'application_name=my sync') > 0, 'others are taken');

# --- a sync -------------------------------------------------------------------------------------

my $input = join('', map { record($_, "name $_") . ($_ % 100 == 0 ? state_line($_) : '') } 1 .. 1000);
($rc, $c) = (undef, writer(undef, '--source-name', 'a source'));
$c->feed($input);
is($c->end, 0, 'a sync');
is(states($c), join(' ', map { $_ * 100 } 1 .. 10), 'states in order');
is(one($node, q{SELECT string_agg(bytes, '' ORDER BY n) = } . quote_literal($input) . q{::bytea FROM stand_in.piece WHERE sync = 1}), 't', 'the bytes as they came');
is(one($node, q{SELECT config, source_name FROM stand_in.sync}), '{"schema": "shop"}|a source', 'what the server gets of the configuration');
like(join("\n", $c->logged('INFO')), qr/stream "users": complete, 7 records.*\nsync 1 is loaded: 7 records/, 'a summary');
is(join('|', $c->logged('WARN')), 'one warning|2 lines of the input were no messages', 'warnings');
is($c->stderr, '', 'and nothing on standard error');

# a state does not wait for the next record, nor for the end of the input; and it is as it came
behave();
$c = writer();
$c->feed(record(1, 'a'));
$c->feed(state_line('12345678901234567890.10'));
$c->wait_line(qr/"n":12345678901234567890\.10\}/);
pass('a state comes while its source is silent');
$c->feed(state_line(2))->wait_line(qr/"n":2\}/);
is($c->end, 0, 'and the sync goes on');

# a source that hears nothing before it has said all
$c = LoaderConnector->new('write', '--config', config(), '--catalog', $catalog, {deaf => 1});
$c->feed(join('', map { state_line($_ . ' ' x 1000) } 1 .. 3000));
is($c->end, 0, 'a source that reads nothing before its end');
is(scalar(my @all = $c->messages('STATE')), 3000, 'gets all states then');

# a server that is behind: the source is held up, and memory does not grow
behave(hold => 45, bulk => 1);
{
	my $other = LoaderCrash->new($node);

	$other->query('SELECT pg_advisory_lock(45)');
	$c = writer();
	my $taken = $c->stuff(record(1, 'x' x 1000) x 60, 100_000_000);
	ok($taken > 1_000_000 && $taken < 8_000_000, 'a source waits for a server that does not go on') or diag($taken);
	$other->query('SELECT pg_advisory_unlock(45)');
	$c->feed(record(1, 'x' x 1000) x 100) for 1 .. 600;
	cmp_ok($c->peak, '<', 40_000, 'constant memory');
	is($c->end, 0, 'and goes on with it');
	is(one($node, 'SELECT sum(len) FROM stand_in.piece WHERE sync = (SELECT max(id) FROM stand_in.sync)'), $c->{sent}, 'with all that was sent');
	$other->quit;
}

# an input that cannot be read is no end of it
{
	my ($config, $n) = (config(), 0);

	for my $redirect ('<&-', "< $top")
	{
		my $out = `destination-loader write --config $config --catalog $catalog $redirect`;

		ok($? >> 8 == 1 && $out =~ /TRACE.*could not read standard input/, 'no input: ' . ('closed', 'a directory')[$n++]) or diag($out);
	}
}

# --- ends ---------------------------------------------------------------------------------------

behave(raise => '22P02', last_state => '{"type":"STREAM","stream":{"stream_descriptor":{"name":"users"},"stream_state":{"n":9}}}');
$c = writer();
$c->feed(record(1, 'a'));
is($c->wait_end, 1, 'a sync that fails ends before its input');
$e = $c->error;
is("$e->{failure_type}: $e->{message}", 'transient_error: stream "users" is not complete. Its source ended before. Run it again.', 'with the cause in the report');
is("$e->{internal_message} $e->{stream_descriptor}{name}", 'SQLSTATE 55000 users', 'its code and stream');
is(states($c), 9, 'and the states that are left');
behave(state => 'cancelled');
($rc, $c) = LoaderConnector->run('write', '--config', config(), '--catalog', $catalog);
like("$rc " . $c->error->{message}, qr/^1 sync \d+ is cancelled/, 'a sync that was cancelled');

behave(last_state => '{"type":"STREAM","stream":{"stream_descriptor":{"name":"users"},"stream_state":{"n":9}}}');
for my $signal ('TERM', 'INT')
{
	$c = writer();
	$c->feed(record(1, 'a') . state_line(1))->wait_line(qr/"n":1\}/);
	kill $signal, $c->{pid};
	is($c->wait_end, $signal eq 'TERM' ? -15 : -2, "SIG$signal ends it");
	is(states($c), '1 9', 'after the states that are left');
}
{
	my $other = LoaderCrash->new($node);

	behave(hold => 45, last_state => '{"type":"STREAM","stream":{"stream_descriptor":{"name":"users"},"stream_state":{"n":9}}}');
	$other->query('SELECT pg_advisory_lock(45)');
	$c = writer();
	$c->feed(record(1, 'a') . state_line(1));
	wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%loader_airbyte_write%' AND wait_event = 'advisory'}, 1);
	kill 'TERM', $c->{pid};
	is($c->wait_end, -15, 'SIGTERM ends a call that waits');
	is(states($c), '9', 'after the states that are left');

	# a second one does not wait for them
	$c = writer();
	$c->feed(record(1, 'a') . state_line(1));
	wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%loader_airbyte_write%' AND wait_event = 'advisory'}, 1);
	kill 'TERM', $c->{pid};
	kill 'TERM', $c->{pid} while kill(0, $c->{pid}) && $c->proc('stat') !~ /^\d+ \(.*\) Z/;
	is($c->wait_end . states($c), -15, 'a second one ends it at once');
	$other->quit;
}

behave();
$c = writer();
$c->feed(record(1, 'a') . state_line(1))->wait_line(qr/"n":1\}/);
$c->close_output;
is($c->wait_end, -13, 'who has no reader any more dies of SIGPIPE');
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'etl'}, 0);
pass('and its session has gone');

for my $way ('idle', 'busy')
{
	my $other = LoaderCrash->new($node);

	behave($way eq 'busy' ? (hold => 45) : ());
	$other->query('SELECT pg_advisory_lock(45)');
	$c = writer();
	$c->feed(record(1, 'a') . state_line(1));
	if ($way eq 'busy')
	{
		wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%loader_airbyte_write%' AND wait_event = 'advisory'}, 1);
	}
	else
	{
		$c->wait_line(qr/"n":1\}/);
	}
	one($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'etl'});
	is($c->wait_end, 1, "a lost connection, $way");
	is($c->error->{failure_type}, 'transient_error', 'may be tried again') or diag($c->{out});
	$other->quit;
}

# a server that does not react at all
behave();
$c = writer();
$c->feed(record(1, 'a') . state_line(1))->wait_line(qr/"n":1\}/);
{
	my $backend = one($node, q{SELECT pid FROM pg_stat_activity WHERE usename = 'etl'});

	kill 'STOP', $backend;
	kill 'TERM', $c->{pid};
	is($c->wait_end . ' ' . states($c), '-15 1', 'SIGTERM ends it where the server does not react');
	kill 'CONT', $backend;
}

# --- encrypted ----------------------------------------------------------------------------------

# A key and a certificate that is signed by itself.
sub certificate
{
	my ($name) = @_;

	return if system("openssl req -new -x509 -days 3650 -nodes -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 "
		. "-keyout '$top/$name.key' -out '$top/$name.crt' >'$top/openssl.log' 2>&1") != 0;
	chmod 0600, "$top/$name.key";
	open(my $fh, '<', "$top/$name.crt") or die "$name.crt: $!";
	return join('', <$fh>);
}

SKIP:
{
	my $own = certificate('own');
	my $other = certificate('other');
	my $tmp = "$top/tmp";

	skip 'no certificates: openssl is missing', 7 unless $own && $other;
	mkdir $tmp or die "$tmp: $!";
	one($node, "ALTER SYSTEM SET ssl = on");
	one($node, "ALTER SYSTEM SET ssl_cert_file = '$top/own.crt'");
	one($node, "ALTER SYSTEM SET ssl_key_file = '$top/own.key'");
	one($node, "ALTER SYSTEM SET listen_addresses = '127.0.0.1'");
	{
		open(my $fh, '>>', $node->data_dir . '/pg_hba.conf') or die "pg_hba.conf: $!";
		print $fh "hostssl all etl 127.0.0.1/32 scram-sha-256\n";
		close $fh;
	}
	$node->restart;
	my $check = sub {
		my ($mode) = @_;

		return LoaderConnector->run('check', '--config', config(host => '127.0.0.1', ssl_mode => $mode), {env => {TMPDIR => $tmp}});
	};
	my $answer = sub {
		my ($connector) = @_;
		my ($status) = $connector->messages('CONNECTION_STATUS');

		return $status->{status} . ($status->{message} || '');
	};

	($rc, $c) = $check->({mode => 'verify-full', ca_certificate => $own});
	is("$rc " . $answer->($c), '0 SUCCEEDED', 'a certificate that is trusted');
	($rc, $c) = $check->({mode => 'verify-ca', ca_certificate => $other});
	like($answer->($c), qr/^FAILED.*certificate verify failed/, 'one that is not');
	($rc, $c) = $check->({mode => 'disable'});
	like($answer->($c), qr/^FAILED.*no pg_hba.conf entry/, 'and none');
	is(join(' ', glob("$tmp/*")), '', 'temporary files are gone');

	# somebody listens, and says nothing
	my $deaf = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "listen: $!";
	my @arguments = ('--config', config(host => '127.0.0.1', port => $deaf->sockport, jdbc_url_params => 'connect_timeout=2',
			ssl_mode => {mode => 'verify-ca', ca_certificate => $own, client_certificate => $own, client_key => 'none'}),
		{env => {TMPDIR => $tmp}});

	($rc, $c) = LoaderConnector->run('check', @arguments);
	like($answer->($c), qr/^FAILED.*could not connect to the server: no answer in 2 s/, 'a server that does not answer');
	$c = LoaderConnector->new('check', @arguments);
	$deaf->accept->close;		# of the one before
	my $connection = $deaf->accept;
	is(join(' ', map { sprintf('%04o', (stat $_)[2] & 07777) } glob("$tmp/* $tmp/*/*")), '0700 0600 0600 0600',
		'temporary files are for nobody else');
	kill 'TERM', $c->{pid};
	is($c->wait_end . join(' ', glob("$tmp/*")), -15, 'SIGTERM before it is connected leaves none');
}

# --- secrets ------------------------------------------------------------------------------------

behave(hold => 45);
{
	my $other = LoaderCrash->new($node);

	$other->query('SELECT pg_advisory_lock(45)');
	$c = writer();
	$c->feed(record(1, 'a'));
	wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%loader_airbyte_write%' AND wait_event = 'advisory'}, 1);
	unlike($c->proc($_), qr/\Q$secret\E/, "not in /proc/<pid>/$_") for 'cmdline', 'environ';
	$other->query('SELECT pg_advisory_unlock(45)');
	$c->end;
	unlike($c->{out} . $c->stderr, qr/\Q$secret\E/, 'nor in what it says');
	$other->quit;
}
one($node, 'DELETE FROM stand_in.sync');
{
	open(my $fh, '<', $node->logfile) or die "log: $!";
	my @logged = grep { /\Q$secret\E/ && !/CREATE ROLE etl/ } <$fh>;
	is("@logged", '', 'nor in the server\'s log');
}

done_testing();
