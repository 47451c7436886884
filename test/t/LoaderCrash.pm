# test/t/LoaderCrash.pm: for the tests that hold, kill and compare.
#
#	my $other = LoaderCrash->new($node);		# a session that stays
#	$other->query('BEGIN; LOCK shop.items');
#	crash($node, worker_pid($node, 'coordinator'));
#	is(differences($node, 'shop', 'expected'), '', 'same result');
package LoaderCrash;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use LoaderTest;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(items_package wait_phase wait_state wait_until worker_pid crash power_cut nothing_runs differences log_count);

my $limit = $LoaderTest::limit;

# --- a session of psql that stays -------------------------------------------------------------------

sub new
{
	my ($class, $node, %option) = @_;
	my $self = bless {in => '', out => '', n => 0}, $class;

	$self->{timer} = IPC::Run::timeout($limit);
	$self->{run} = IPC::Run::start(
		['psql', '-XAtq', '-d', $node->connstr($option{database} || 'postgres'), '-v', 'VERBOSITY=verbose',
			$option{user} ? ('-U', $option{user}) : ()],
		'<', \$self->{in}, '>', \$self->{out}, '2>&1', $self->{timer});
	$self->{pid} = $self->query('SELECT pg_backend_pid()');
	return $self;
}

# Send statements and do not wait for their end.
sub send
{
	my ($self, $sql) = @_;

	$self->{n}++;
	$self->{in} .= "$sql;\n\\echo done $self->{n}\n";
	$self->{timer}->start($limit);
	$self->{run}->pump_nb;
	return $self;
}

# Wait for what was sent; returns all that psql said, errors too.
sub answer
{
	my ($self) = @_;
	my $text;

	$self->{timer}->start($limit);
	$self->{run}->pump until $self->{out} =~ /^done $self->{n}$/m;
	($text = $self->{out}) =~ s/^done \d+\n//mg;
	$self->{out} = '';
	chomp $text;
	return $text;
}

sub query
{
	my ($self, $sql) = @_;

	return $self->send($sql)->answer;
}

# End it, also if the server has ended it already. What it has locked is free then: psql does not wait
# for that.
sub quit
{
	my ($self) = @_;

	$self->{in} .= "\\q\n";
	$self->{timer}->start($limit);
	eval { $self->{run}->finish };
	wait_gone($self->{pid});
	return;
}

# --- a package to hold somewhere ---------------------------------------------------------------------

# items_package(FROM, TO, OPTION => VALUE...): rows FROM..TO of table items with a unique row key
# each, so that another session's uncommitted row of the same key holds the load. Options of
# make_package, and of the table: name, jobs, more => [[column => type]...] (all NULL).
sub items_package
{
	my ($from, $to, %p) = @_;
	my %table = map { exists $p{$_} ? ($_ => delete $p{$_}) : () } qw(name jobs file);
	my @more = @{ delete $p{more} || [] };
	my @key = (nullable => JSON::PP::false, unique => JSON::PP::true, row_key => JSON::PP::true);

	return make_package(%p, tables => [{name => 'items',
		columns => [[id => 'bigint'], [name => 'text'], ['_dlt_id' => 'text', {@key}], @more],
		rows => [map { [$_, "name $_", "key$_", map { undef } @more] } $from .. $to], %table}]);
}

# --- waiting, killing --------------------------------------------------------------------------------

sub wait_phase
{
	my ($node, $id, $phase) = @_;

	wait_for($node, "SELECT phase FROM loader.progress WHERE package_id = $id", $phase);
	return;
}

sub wait_state
{
	my ($node, $id, $state) = @_;

	wait_for($node, "SELECT state FROM loader.packages WHERE package_id = $id", $state);
	return;
}

# The pid of a worker of ours: coordinator or job worker.
sub worker_pid
{
	my ($node, $kind) = @_;
	my $sql = "SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'loader $kind'";

	wait_for($node, "SELECT count(*) > 0 FROM ($sql) q(pid) WHERE pid IS NOT NULL");
	return one($node, $sql);
}

sub wait_until
{
	my ($what, $done) = @_;
	my $end = time() + $limit;

	until ($done->())
	{
		die "timed out waiting for $what" if time() > $end;
		sleep 0.05;
	}
	return;
}

sub wait_gone
{
	my (@pids) = @_;

	wait_until('processes to end', sub { !grep { kill 0, $_ } @pids });
	return;
}

# All processes of the server but the postmaster, which stays through a crash of one of them; or some.
sub children
{
	my ($node, $condition) = @_;

	return split /\n/, one($node, 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()' . ($condition ? " AND $condition" : ''));
}

# Kill one process of the server, and wait until all is up again.
sub crash
{
	my ($node, $pid) = @_;
	my @all = children($node);

	kill 9, $pid or die "no process $pid";
	wait_gone(@all);
	# psql that is turned away may leave before it has read the query, which Perl takes for an error
	wait_until('the server to be back', sub { eval { one($node, 'SELECT 1') } });
	return;
}

# Kill the postmaster; its children see that and end. Then start anew.
#
# Who ends lets its locks go, and who waits for one and gets it goes on before he looks for the
# postmaster. So sessions that do nothing are stopped until all others have gone. There may be
# processes that we do not know of, begun after our look: while one is there the server does not start.
sub power_cut
{
	my ($node) = @_;
	my %idle = map { $_ => 1 } children($node, q{state LIKE 'idle%'});
	my @others = grep { !$idle{$_} } children($node);
	my $postmaster = $node->{_pid};

	kill 'STOP', keys %idle;
	$node->kill9;
	wait_gone($postmaster, @others);
	kill 'CONT', keys %idle;
	wait_gone(keys %idle);
	wait_until('the server to start', sub { $node->start(fail_ok => 1) });
	return;
}

# Wait until no worker of ours is left; returns what it left all the same: locks of ours. A launcher's
# scout may come by and have some for a moment.
sub nothing_runs
{
	my ($node) = @_;
	my $locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid > 2";

	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'loader %' AND backend_type <> 'loader launcher'", 0);
	$node->poll_query_until('postgres', $locks, 0);
	return one($node, $locks);
}

sub log_count
{
	my ($node, $pattern) = @_;
	my $n = 0;

	open(my $log, '<', $node->logfile) or die "no log: $!";
	while (<$log>) { $n++ if /$pattern/ }
	return $n;
}

# --- comparing ---------------------------------------------------------------------------------------

# Where two datasets differ, apart from the times at which they were loaded: definitions of tables and
# indexes, and rows, each as often as it is there. '' if nowhere.
sub differences
{
	my ($node, $a, $b) = @_;
	my @differences;
	my $definition = sub {
		my ($dataset) = @_;
		return one($node, qq{
			SELECT string_agg(d, E'\\n' ORDER BY d) FROM (
				SELECT format('%s.%s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull)
				FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
				WHERE c.relnamespace = to_regnamespace('$dataset') AND c.relkind <> 'i'
				UNION ALL
				SELECT format('index on %s%s', tablename, substring(indexdef FROM ' USING .*'))
				FROM pg_indexes WHERE schemaname = '$dataset') q(d)});
	};

	push @differences, "definitions: " . $definition->($a) . "\n--\n" . $definition->($b)
		if $definition->($a) ne $definition->($b);
	for my $table (split /\n/, one($node, "SELECT tablename FROM pg_tables WHERE schemaname = '$b' ORDER BY 1"))
	{
		my $columns = one($node, "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
			WHERE attrelid = '$b.$table'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'inserted_at'");
		my ($rc, $out, $err) = try_psql($node, qq{
			SELECT * FROM ((SELECT '-', $columns FROM $b."$table" EXCEPT ALL SELECT '-', $columns FROM $a."$table")
			UNION ALL (SELECT '+', $columns FROM $a."$table" EXCEPT ALL SELECT '+', $columns FROM $b."$table")) q LIMIT 5});

		push @differences, "$table: $out$err" if $out ne '' || $rc != 0;
	}
	return join("\n", @differences);
}

1;
