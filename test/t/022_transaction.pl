# test/t/022_transaction.pl: a start belongs to its transaction, and a wait cannot be one that never ends.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderTest;
use Test::More;

my $node = new_node('main', 'max_prepared_transactions = 5');
my $n = 0;

sub start_sql
{
	my ($path, $dataset) = @_;

	return 'loader_start(' . quote_literal($path) . ", '$dataset')";
}

sub packages_of
{
	my ($dataset) = @_;

	return one($node, "SELECT count(*) FROM loader.packages WHERE dataset = '$dataset'");
}

sub not_there
{
	my ($dataset, $name) = @_;

	is(nothing_runs($node), 0, "$name: nothing runs");
	is(packages_of($dataset), 0, "$name: no package");
	is(one($node, "SELECT to_regnamespace('$dataset') IS NULL"), 't', "$name: no dataset");
	return;
}

# --- a start and the end of its transaction ------------------------------------------------------------

{
	my $path = items_package(1, 3);

	is(one($node, 'BEGIN; SELECT ' . start_sql($path, 'rolled') . ' > 0; ROLLBACK'), 't', 'started and rolled back');
	not_there('rolled', 'rollback');

	one($node, 'BEGIN; SAVEPOINT s; SELECT ' . start_sql($path, 'rolled') . '; ROLLBACK TO s; COMMIT');
	not_there('rolled', 'rollback to a savepoint');

	one($node, 'BEGIN; SAVEPOINT s; SELECT ' . start_sql($path, 'rolled') . '; RELEASE s; ROLLBACK');
	not_there('rolled', 'rollback after a released savepoint');

	one($node, 'DO $$ BEGIN PERFORM ' . start_sql($path, 'rolled')
		. q{; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END $$});
	not_there('rolled', 'exception block');

	is(error_of($node, 'SELECT ' . start_sql($path, 'rolled') . ', 1 / 0')->{sqlstate}, '22012', 'an error after the start');
	not_there('rolled', 'error in the same statement');
}

# The worker waits for as long as the transaction lasts.
{
	my $session = LoaderCrash->new($node);

	my $id = $session->query('BEGIN; SELECT ' . start_sql(items_package(1, 3), 'patient'));
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator'
		AND wait_event = 'transactionid'", 1);
	is(packages_of('patient'), 0, 'not visible before the commit');
	is($session->query('SAVEPOINT a; SELECT ' . start_sql(items_package(4, 5, name => 'more'), 'patient') . ' > 0; ROLLBACK TO a; COMMIT'),
		't', 'a second one is rolled back, the first committed');
	is(wait_package($node, $id), 'loaded', 'it loads after the commit');
	is(packages_of('patient'), 1, 'and the second is not there');
	$session->quit;
}
{
	my $session = LoaderCrash->new($node);

	$session->query('BEGIN; SELECT ' . start_sql(items_package(1, 3), 'rolled'));
	one($node, "SELECT pg_terminate_backend($session->{pid}, 60000)");
	$session->quit;
	not_there('rolled', 'session ended');
}

# PREPARE TRANSACTION would leave the worker waiting for who knows how long.
{
	my $path = items_package(1, 3);
	my $refused = ['0A000', 'cannot PREPARE a transaction that has started a package', 'Start the package in a transaction of its own.'];

	for my $between ('', 'SAVEPOINT b; RELEASE b;')
	{
		my $error = error_of($node, 'BEGIN; SAVEPOINT a; SELECT ' . start_sql($path, 'rolled') . "; RELEASE a; $between PREPARE TRANSACTION 'p'");

		is_deeply([@$error{qw(sqlstate message hint)}], $refused, 'PREPARE TRANSACTION is refused');
	}
	not_there('rolled', 'PREPARE');
	is(one($node, 'BEGIN; SAVEPOINT a; SELECT ' . start_sql($path, 'rolled') . " > 0; ROLLBACK TO a; PREPARE TRANSACTION 'p';"
		. "COMMIT PREPARED 'p'"), 't', 'but not when the start was rolled back');
	not_there('rolled', 'PREPARE after rollback');
	is(one($node, 'SELECT ' . start_sql($path, 'once') . ' > 0'), 't', 'the next transaction ...');
	is(one($node, "BEGIN; SELECT 1; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'"), 1, '... may prepare');
	is(one($node, 'SELECT count(*) FROM pg_prepared_xacts'), 0, 'none is left');
}

# --- loader_run ------------------------------------------------------------------------------------------

{
	my $path = items_package(1, 3);
	my $call = 'CALL loader_run(' . quote_literal($path) . ", 'run')";

	my $inner = $call =~ s/\)$/, package_id => i)/r;

	for my $in ("BEGIN; $call; COMMIT", "DO \$\$ DECLARE i bigint; BEGIN $inner; EXCEPTION WHEN division_by_zero THEN NULL; END \$\$")
	{
		my $error = error_of($node, $in);

		is_deeply([@$error{qw(sqlstate message hint)}],
			['25001', 'loader_run cannot run inside a transaction block', 'Use loader_start, commit, and then loader_wait.'],
			'loader_run in a transaction');
	}
	not_there('run', 'loader_run');
	my ($rc, $out, $said) = try_psql($node, $call);
	is($rc, 0, 'loader_run');
	is(one($node, "SELECT state FROM loader.packages WHERE package_id = $out"), 'loaded', 'returns the package_id when it is loaded');
	($rc, my $again, $said) = try_psql($node, $call);
	is($again, $out, 'again: the same');
	like($said, qr/NOTICE:  00000: package ".*" is already loaded into dataset "run"/, 'with a NOTICE');

	for my $file (["(1,'a'),\n(2)", 1], ["(3,'b'),\n(4,'c')", 0])
	{
		my ($rows, $rejected) = @$file;
		my $bad = items_package(1, 1, file => qq[INSERT INTO {}("id","_dlt_id")\nVALUES\n$rows;\n]);

		($rc, $out, $said) = try_psql($node, 'CALL loader_run(' . quote_literal($bad) . ", 'run_rejects', on_error => 'reject')");
		is($rc, 0, "loader_run, $rejected rejected");
		is($said =~ /WARNING:  01000: package $out: 1 of 2 rows were rejected/ ? 1 : 0, $rejected, 'it warns of them') or diag $said;
		(undef, undef, $said) = try_psql($node, "SELECT loader_forget($out)");
		is($said =~ /NOTICE:  00000: rejected rows of package $out that go with it: 1$/m ? 1 : 0, $rejected, 'and loader_forget says that they go') or diag $said;
	}

	my $error = error_of($node, 'CALL loader_run(' . quote_literal(items_package(1, 1, file => 'INSERT INTO {}("id") VALUES (x);')) . ", 'run_bad')");
	isnt($error->{sqlstate}, '', 'loader_run raises the error of the package');
	is($error->{sqlstate}, one($node, "SELECT sqlstate FROM loader.packages WHERE dataset = 'run_bad'"), 'the same that the catalog has');
	like($error->{message}, qr/^package \d+ failed: /, 'its message');
	like($error->{detail}, qr/line 1/, 'its place');
	like($error->{hint}, qr/loader_resume/, 'and a hint');
}

# --- loader_wait -----------------------------------------------------------------------------------------

load($node, items_package(-9, 0), 'held');
my $holder = LoaderCrash->new($node);

for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	my $session = LoaderCrash->new($node);

	$holder->query("BEGIN; INSERT INTO held.items (id, _dlt_id) VALUES (0, 'key" . (++$n * 10) . "')");
	my $id = start_package($node, items_package($n * 10, $n * 10 + 5), 'held');
	wait_phase($node, $id, 'loading');
	$session->query("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM pg_class");
	is($session->query("SELECT loader_wait($id, '0')"), 'loading', "$level: timeout 0");
	is($session->query("SELECT loader_wait($id, '300 ms')"), 'loading', "$level: timeout");
	$session->send("SELECT loader_wait($id)");
	$holder->query('ROLLBACK');
	is($session->answer, 'loaded', "$level: a wait ends");
	is($session->query("SELECT loader_wait($id)"), 'loaded', "$level: at once when it has ended");
	$session->query('COMMIT');
	$session->quit;
}

{
	my $path = items_package(101, 103);
	my $error = error_of($node, 'BEGIN; SELECT loader_wait(' . start_sql($path, 'held') . ')');

	is($error->{sqlstate}, '55000', 'wait for a package of this transaction');
	like($error->{message}, qr/^package \d+ was registered or started in this transaction$/, 'says so');
	is($error->{hint}, 'It begins when the transaction commits: wait after that.', 'with a hint');

	my $id = one($node, 'SELECT loader_register(' . quote_literal($path) . ", 'held')");
	$error = error_of($node, "SELECT loader_wait($id)");
	is_deeply([@$error{qw(sqlstate message hint)}], ['55000', "package $id was not started", "SELECT loader_start($id);"], 'wait for one that nobody started');
	$error = error_of($node, "BEGIN; SELECT loader_start($id); SELECT loader_wait($id)");
	is($error->{sqlstate}, '55000', 'wait for one that this transaction has started');
	$error = error_of($node, "BEGIN; SAVEPOINT a; SELECT loader_start($id); RELEASE a; SELECT loader_wait($id)");
	is($error->{sqlstate}, '55000', 'in a subtransaction, too');
	is(error_of($node, 'SELECT loader_wait(999999)')->{sqlstate}, '42704', 'wait for one that is not there');
	is(one($node, 'SELECT loader_wait(NULL) IS NULL'), 't', 'wait for NULL');

	for my $lock ('LOCK held.items IN SHARE MODE', 'SELECT count(*) FROM held.items', 'LOCK held._dlt_loads IN ROW EXCLUSIVE MODE')
	{
		$error = error_of($node, "BEGIN; $lock; SELECT loader_wait($id)");
		is_deeply([@$error{qw(sqlstate message)}], ['55006', "this transaction holds locks on tables of package $id"], "wait while holding locks: $lock");
	}
	is(one($node, "SELECT loader_start($id)"), $id, 'started');
	is(wait_package($node, $id), 'loaded', 'loads');
	$error = error_of($node, "SELECT loader_start($id)");
	is_deeply([@$error{qw(sqlstate message)}], ['55000', "package $id has ended with state loaded"], 'start of one that has ended');
}

# --- once ------------------------------------------------------------------------------------------------

{
	my $path = items_package(201, 203);
	my $sql = 'SELECT ' . start_sql($path, 'held');
	my $id;

	$holder->query("BEGIN; INSERT INTO held.items (id, _dlt_id) VALUES (0, 'key201')");
	$id = one($node, $sql);
	wait_phase($node, $id, 'loading');
	is(one($node, $sql), $id, 'started twice: the same id');
	is(one($node, "SELECT loader_start($id)"), $id, 'by its id, too');
	is(one($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator'"), 1, 'and one coordinator');
	$holder->query('ROLLBACK');
	is(wait_package($node, $id), 'loaded', 'it loads');

	my ($rc, $out, $said) = try_psql($node, $sql);
	is($out, $id, 'loaded already: the same id');
	like($said, qr/NOTICE:  00000: package ".*" is already loaded into dataset "held"/, 'and a NOTICE');
	is(one($node, "SELECT count(*) FROM held.items WHERE id > 200"), 3, 'and no second load');

	is(one($node, "SELECT loader_forget($id)"), 't', 'forgotten');
	is(one($node, "SELECT loader_forget($id)"), 'f', 'twice');
	($rc, $out, $said) = try_psql($node, $sql);
	is($out, '', 'loaded and forgotten: no id');
	like($said, qr/NOTICE:  00000: package ".*" is already loaded into dataset "held"/, 'but the NOTICE');
	is(one($node, "SELECT count(*) FROM held.items WHERE id > 200"), 3, 'and no second load');
	is(nothing_runs($node), 0, 'nothing runs');
}
{
	my $path = items_package(1, 3);
	my @id = load($node, $path, 'dropped');

	one($node, 'DROP SCHEMA dropped CASCADE');
	my ($rc, $out, $said) = try_psql($node, 'SELECT ' . start_sql($path, 'dropped'));
	is($rc, 0, 'after DROP SCHEMA it starts again');
	is($said, '', 'without a word');
	is(wait_package($node, $out), 'loaded', 'and loads');
	is(one($node, 'SELECT count(*) FROM dropped.items'), 3, 'what it did before');
	is(packages_of('dropped'), 2, 'the first load stays as history');
}

# Two sessions start the same package at the same time.
{
	my $path = items_package(1, 3);
	my ($a, $b) = map { LoaderCrash->new($node) } 1, 2;
	my $sql = 'SELECT ' . start_sql($path, 'two');
	my $id = $a->query("BEGIN; $sql");

	$b->send($sql);
	wait_for($node, "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $b->{pid}", 'Lock');
	$a->query('COMMIT');
	is($b->answer =~ s/^NOTICE.*\n//mr, $id, 'the second session gets the id of the first');
	$b->query('ROLLBACK');
	is(wait_package($node, $id), 'loaded', 'it loads');

	# the first rolls back: the second does it
	$path = items_package(4, 6);
	$sql = 'SELECT ' . start_sql($path, 'two');
	$a->query("BEGIN; $sql");
	$b->send($sql);
	wait_for($node, "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $b->{pid}", 'Lock');
	$a->query('ROLLBACK');
	is(wait_package($node, $b->answer), 'loaded', 'the first rolls back, the second loads');
	is(one($node, 'SELECT count(*), count(DISTINCT id) FROM two.items'), '6|6', 'once');
	$_->quit for $a, $b;
}

$holder->quit;
is(nothing_runs($node), 0, 'nothing is left');
$node->stop;
done_testing();
