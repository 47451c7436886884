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

# What a shell runs in the background ignores it, and so would the connector, as is right.
$SIG{INT} = 'DEFAULT';

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

# A configured catalog of streams with an id and a name.
sub catalog
{
	return file({streams => [map { {
		stream => {name => $_, supported_sync_modes => ['full_refresh'], json_schema => {type => 'object',
			properties => {id => {type => 'integer'}, name => {type => 'string'}}}},
		sync_mode => 'full_refresh', destination_sync_mode => 'append', primary_key => [], cursor_field => []} } @_]});
}

my $catalog = catalog('users');

sub record
{
	my ($id, $name, $stream) = @_;

	return $json->encode({type => 'RECORD', record => {stream => $stream || 'users', emitted_at => 1700000000000,
		data => {id => $id, name => $name}}}) . "\n";
}

sub state_line
{
	my ($n, $stream) = @_;

	$stream ||= 'users';
	return qq({"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"$stream"},"stream_state":{"n":$n}}}}\n);
}

sub complete
{
	my ($stream) = @_;

	return $json->encode({type => 'TRACE', trace => {type => 'STREAM_STATUS', emitted_at => 1700000000000,
		stream_status => {stream_descriptor => {name => $stream || 'users'}, status => 'COMPLETE'}}}) . "\n";
}

# What the table of users holds: rows, and how many different ones.
sub rows
{
	return one($node, 'SELECT count(*), count(DISTINCT id) FROM shop.users');
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

one($node, 'DROP EXTENSION loader; CREATE SCHEMA "some where"; CREATE EXTENSION loader SCHEMA "some where"');
like(check_message('--config', config()), qr/^FAILED: role "etl" may not use the schema of the extension loader. Run GRANT USAGE ON SCHEMA "some where" TO "etl"/,
	'no right to use its schema');
one($node, 'GRANT USAGE ON SCHEMA "some where" TO etl');
like(check_message('--config', config()), qr/^FAILED: role "etl" may not call what a sync needs. Run GRANT EXECUTE ON FUNCTION ("some where"\.loader_airbyte_\w+(, )?)+ TO "etl"/,
	'no right to call its functions');
one($node, 'GRANT EXECUTE ON FUNCTION "some where".loader_airbyte_open, "some where".loader_airbyte_write, "some where".loader_airbyte_close TO etl');
like(check_message('--config', config()), qr/^FAILED: role "etl" needs CREATE on database "postgres"/, 'what the server has to say');
one($node, 'GRANT CREATE ON DATABASE postgres TO etl');
is(check_message('--config', config()), 'SUCCEEDED', 'all is there, in a schema outside of the search path');
is(check_message('--config=' . config()), 'SUCCEEDED', 'option with =');
($rc, $c) = LoaderConnector->run('--config', config(), 'check');
is($rc . scalar $c->messages('CONNECTION_STATUS'), '01', 'options first');
one($node, 'ALTER FUNCTION "some where".loader_airbyte_write RENAME TO of_an_older_version');
like(check_message('--config', config()), qr/^FAILED: the extension loader has version \S+ in database "postgres", which lacks loader_airbyte_write; this is destination-loader \d.*ALTER EXTENSION loader UPDATE/,
	'an extension without what is needed');
one($node, 'ALTER FUNCTION "some where".of_an_older_version RENAME TO loader_airbyte_write');
like(check_message('--config', config(database => 'bare')), qr/^FAILED: the extension loader is not installed in database "bare". Run CREATE EXTENSION loader there/,
	'no extension');
like(check_message('--config', config(database => 'nodb')), qr/^FAILED: .*database "nodb" does not exist\z/, 'no database');
like(check_message('--config', config(password => 'wrong')), qr/^FAILED: .*password authentication failed for user "etl"\z/, 'wrong password');
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

# Wait until the session of a connector is in a call of a function, and waits there.
sub wait_call
{
	my ($function) = @_;

	wait_for($node, qq{SELECT count(*) FROM pg_stat_activity WHERE usename = 'etl' AND query LIKE '%loader_airbyte_$function(%'
		AND state = 'active' AND wait_event_type = 'Extension'}, 1);
	return;
}

# The last package: its state, and the code of its error.
sub last_package
{
	my $sql = 'SELECT state, sqlstate FROM loader.package ORDER BY package_id DESC LIMIT 1';

	wait_for($node, "SELECT state NOT IN ('new', 'loading') FROM ($sql) q");
	return one($node, $sql);
}

$c = writer(undef, '--source-name', 'a source');
$c->feed(join('', map { record($_, "name $_") . ($_ % 100 == 0 ? state_line($_) : '') } 1 .. 1000) . "not a message\n" . complete());
is($c->end, 0, 'a sync');
is(states($c), join(' ', map { $_ * 100 } 1 .. 10), 'states in order');
is(join(' ', map { $_->{destinationStats}{recordCount} } $c->messages('STATE')), join(' ', ('100.0') x 10) =~ s/\.0//gr, 'with what they count');
is(rows(), '1000|1000', 'rows');
is(one($node, q{SELECT DISTINCT pipeline_name FROM loader.states WHERE stream = 'users'}), 'a source', 'the name of the source');
like(join("\n", $c->logged('INFO')), qr/stream "users" is complete: 1000 records; 1000 rows inserted.*\nsync \d+: loaded, 1000 records/, 'a summary');
like(join('|', $c->logged('WARN')), qr/^1 line was skipped[^|]*\z/, 'warnings of the report');
is($c->stderr, '', 'and nothing on standard error');

# a state does not wait for the next record, nor for the end of the input; and it is as it came
$c = writer();
$c->feed(record(1001, 'a'));
$c->feed(state_line('12345678901234567890.10'));
$c->wait_line(qr/"n":12345678901234567890\.10\}/);
pass('a state comes while its source is silent');
$c->feed(state_line(2))->wait_line(qr/"n":2\}/);
$c->feed(complete());
is($c->end, 0, 'and the sync goes on');

# a source that hears nothing before it has said all
$c = LoaderConnector->new('write', '--config', config(), '--catalog', $catalog, {deaf => 1});
$c->feed(join('', map { state_line(qq("$_ ) . '.' x 1000 . '"') } 1 .. 1000) . complete());
is($c->end, 0, 'a source that reads nothing before its end');
is(join(' ', map { /^(\d+)/ } split / \.+ ?/, states($c)), join(' ', 1 .. 1000), 'gets all states then');

# Loads of users wait for this lock, at the first row.
one($node, q{
	CREATE FUNCTION shop.hold() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN PERFORM pg_catalog.pg_advisory_xact_lock(45); RETURN NEW; END';
	CREATE TRIGGER hold BEFORE INSERT ON shop.users FOR EACH ROW EXECUTE FUNCTION shop.hold()});
my $holder = LoaderCrash->new($node);

sub hold { $holder->query('SELECT pg_advisory_lock(45)'); return }
sub let_go { $holder->query('SELECT pg_advisory_unlock(45)'); return }
sub wait_held { wait_for($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 45 AND NOT granted}, 1); return }

# a server that is behind: the source is held up, and memory does not grow
{
	my $before = one($node, 'SELECT count(*) FROM shop.users');
	my $many = record(1, 'x' x 1000) x 60;

	hold();
	$c = writer();
	cmp_ok($c->stuff($many, 100_000_000), '<', 8_000_000, 'a source waits for a server that does not go on');
	wait_call('write');
	let_go();
	$c->feed(substr($many, $c->{sent} % length $many));		# the rest of what was cut
	$c->feed($many) for 1 .. 300;
	$c->feed(state_line(1) . complete());
	cmp_ok($c->peak, '<', 40_000, 'constant memory') or diag($c->proc('status'));
	is($c->end, 0, 'and goes on with it');
	is(one($node, 'SELECT count(*) FROM shop.users') - $before, int($c->{sent} / length record(1, 'x' x 1000)), 'with all that was sent');
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

$c = writer();
$c->feed(record(1, 'a') . state_line(9) . record(2, 'b', 'strangers'));
is($c->wait_end, 1, 'a sync that fails ends before its input');
$e = $c->error;
like("$e->{failure_type}: $e->{message}", qr/^config_error: stream "strangers" is not in the catalog\. Message line 3\. /, 'with its cause');
is($e->{internal_message}, 'SQLSTATE 42704', 'and its code');

$c = writer();
$c->feed(record(1, 'a') . state_line(9))->wait_line(qr/"n":9\}/);
$c->feed(record(1, 'a') . "{\"type\":\"RECORD\"\n");
is($c->wait_end . ' ' . $c->error->{failure_type} . ' ' . states($c), '1 system_error 9', 'broken JSON; the state that is committed is out');

$c = writer();
$c->feed(record(1, 'a') . state_line(9) . record(2, 'b'));
is($c->end, 1, 'a stream that is not complete');
$e = $c->error;
like("$e->{failure_type} $e->{stream_descriptor}{name}: $e->{message}", qr/^transient_error users: stream "users" is not complete\. /, 'names it');
is(states($c), 9, 'and what is committed is out');

$c = writer();
$c->feed(record(1, 'a') . state_line(9))->wait_line(qr/"n":9\}/);
one($node, 'SELECT "some where".loader_cancel(max(package_id)) FROM loader.packages');
is($c->wait_end, 1, 'a sync that is cancelled ends while its source is silent');
like($c->error->{message}, qr/cancel/, 'and says so');

for my $signal ('TERM', 'INT')
{
	hold();
	$c = writer();
	$c->feed(record(1, 'a') . state_line(1) . record(2, 'b'));
	wait_held();
	kill $signal, $c->{pid};
	wait_call('close');
	let_go();
	is($c->wait_end, $signal eq 'TERM' ? -15 : -2, "SIG$signal ends it");
	is(states($c), 1, 'after the states that are left');
	is(last_package(), 'failed|55000', 'and the sync');
}

# more than fits between the session and its worker
my $much = record(1, 'x' x 1000) x 3000;

hold();
$c = writer();
$c->feed(record(1, 'a') . state_line(1));
$c->stuff($much, length $much);
wait_call('write');
kill 'TERM', $c->{pid};
wait_call('close');
let_go();
is($c->wait_end . ' ' . states($c), '-15 1', 'SIGTERM interrupts a call that waits, and states come all the same');
is(last_package(), 'failed|08006', 'the sync is cut off');

hold();
$c = writer();
$c->stuff($much, length $much);
wait_call('write');
kill 'TERM', $c->{pid};
kill 'TERM', $c->{pid} until $c->proc('stat') !~ /^\d+ \(.*\) [RSD]/;
is($c->wait_end, -15, 'a second SIGTERM ends it at once');
let_go();
is(last_package(), 'failed|08006', 'the sync is cut off');

$c = writer();
$c->feed(record(1, 'a') . state_line(1))->wait_line(qr/"n":1\}/);
$c->close_output;
is($c->wait_end, -13, 'who has no reader any more dies of SIGPIPE');
is(last_package(), 'failed|08006', 'and the sync is cut off');

for my $way ('idle', 'busy')
{
	hold() if $way eq 'busy';
	$c = writer();
	$c->feed(record(1, 'a') . state_line(1));
	if ($way eq 'busy')
	{
		$c->stuff($much, length $much);
		wait_call('write');
	}
	else
	{
		$c->wait_line(qr/"n":1\}/);
	}
	one($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'etl' AND application_name = 'destination-loader'});
	is($c->wait_end, 1, "a lost connection, $way");
	is($c->error->{failure_type}, 'transient_error', 'may be tried again') or diag($c->{out});
	let_go() if $way eq 'busy';
	is(last_package(), 'failed|08006', 'the sync is cut off');
}

# a server that does not react at all
$c = writer();
$c->feed(record(1, 'a') . state_line(1))->wait_line(qr/"n":1\}/);
{
	my $backend = one($node, q{SELECT pid FROM pg_stat_activity WHERE usename = 'etl' AND application_name = 'destination-loader'});

	kill 'STOP', $backend;
	kill 'TERM', $c->{pid};
	is($c->wait_end . ' ' . states($c), '-15 1', 'SIGTERM ends it where the server does not react');
	kill 'CONT', $backend;
	like(last_package(), qr/^failed/, 'the sync has failed, when it does');
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

$c = writer();
$c->feed(record(1, 'a') . state_line(1))->wait_line(qr/"n":1\}/);
unlike($c->proc($_), qr/\Q$secret\E/, "not in /proc/<pid>/$_") for 'cmdline', 'environ';
$c->end;
unlike($c->{out} . $c->stderr, qr/\Q$secret\E/, 'nor in what it says');
is(one($node, "SELECT count(*) FROM loader.package p WHERE p::text LIKE '%$secret%'"), 0, 'nor in the catalog');
{
	open(my $fh, '<', $node->logfile) or die "log: $!";
	my @logged = grep { /\Q$secret\E/ && !/CREATE ROLE etl|FROM loader.package p/ } <$fh>;
	is("@logged", '', 'nor in the server\'s log');
}

done_testing();
