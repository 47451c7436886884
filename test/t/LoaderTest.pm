# test/t/LoaderTest.pm: what the TAP tests share: servers, packages made on the fly, answers of psql.
#
#	use FindBin;
#	use lib $FindBin::RealBin;
#	use LoaderTest;
#	my $node = new_node('main', 'loader.max_workers = 2');
#	my $path = make_package(load_id => '1.1', tables => [{name => 'items',
#		columns => [[id => 'bigint'], [name => 'text']], rows => [[1, 'a'], [2, undef]]}]);
#	is(load($node, $path, 'shop'), 'loaded', 'loads');
#
# What is waited for has $LoaderTest::limit seconds: a slow machine needs some of them, only what has
# failed needs all.
#
# Packages lie below the test's own directory of temporary files, which the server, run by the same
# user, can read. The superuser is named postgres whoever runs the test.
package LoaderTest;

use strict;
use warnings;

use Cwd qw(abs_path);
use Digest::SHA qw(sha256_base64);
use Exporter 'import';
use File::Basename qw(basename);
use File::Copy ();
use File::Path qw(make_path);
use FindBin;
use IPC::Run ();
use JSON::PP ();

our @EXPORT = qw(new_node grant_loader packages_dir make_package copy_package scenario_packages
	source_dir load start_package run_package wait_package wait_for one error_of try_psql quote_literal session slurp spew);

# Since 15; the last releases of 14 have them under these names, too.
my $cluster;

BEGIN
{
	for my $names (['PostgreSQL::Test::Utils', 'PostgreSQL::Test::Cluster'], ['TestLib', 'PostgresNode'])
	{
		next unless eval "require $names->[0]; require $names->[1]; 1";
		$cluster = $names->[1];
		last;
	}
	die "no TAP modules of PostgreSQL: $@" unless $cluster;
}
$ENV{PGUSER} = 'postgres';
$ENV{PGCTLTIMEOUT} ||= 180;

our $limit = 180;
my $packages;

# The directory above all packages of this test, without links in it.
sub packages_dir
{
	my $temp = PostgreSQL::Test::Utils->can('tempdir') || TestLib->can('tempdir');

	$packages ||= abs_path($temp->());
	return $packages;
}

# The project's tree: test/packages and test/oracle/scenarios are below it.
sub source_dir
{
	return abs_path("$FindBin::RealBin/../..");
}

# new_node(NAME, CONF, OPTION => VALUE...): a server that runs, with the extension in database
# postgres. CONF is text for postgresql.conf. Options: streaming => 1 for a primary of standbys,
# from => NODE and backup => NAME for such a standby, bare => 1 without the extension, stopped => 1
# leaves it to the caller to start, install => PATH takes another installation (LoaderInstall).
sub new_node
{
	my ($name, $conf, %option) = @_;
	my @install = $option{install} ? (install_path => $option{install}) : ();
	my $node = $cluster->can('get_new_node') ? $cluster->get_new_node($name, @install) : $cluster->new($name, @install);

	if ($option{from})
	{
		$node->init_from_backup($option{from}, $option{backup}, has_streaming => 1);
		$node->start;
		return $node;
	}
	$node->init(
		allows_streaming => $option{streaming} ? 1 : 0,
		extra => ['-U', 'postgres', '-E', 'UTF8', '--locale=C', $option{checksums} ? '--data-checksums' : ()]);
	$node->append_conf('postgresql.conf', "max_worker_processes = 16\nfsync = off\ntimezone = 'UTC'\n"
			. ($ENV{LOADER_STORAGE_SINK} ? "loader.storage_sink = $ENV{LOADER_STORAGE_SINK}\n" : '') . ($conf || '') . "\n");
	return $node if $option{stopped};
	$node->start;
	unless ($option{bare})
	{
		$node->safe_psql('postgres', 'CREATE EXTENSION loader');
		$node->safe_psql('postgres', 'REVOKE CREATE ON SCHEMA public FROM PUBLIC');
	}
	return $node;
}

my $long = 'text, text, text, text, text, boolean, jsonb, boolean, integer, boolean, text, text, boolean, text';

# What README says a role needs, but for the right to read files.
sub grant_loader
{
	my ($node, $role, $database) = @_;

	$node->safe_psql($database || 'postgres', qq{
		GRANT EXECUTE ON PROCEDURE loader_run TO $role;
		GRANT EXECUTE ON FUNCTION loader_plan, loader_register($long), loader_scan, loader_start(bigint),
			loader_start($long), loader_wait, loader_cancel, loader_resume, loader_forget, loader_replay,
			loader_discard, loader_upload, loader_upload_drop TO $role;});
	return;
}

sub quote_literal
{
	my ($text) = @_;

	return 'NULL' unless defined $text;
	$text =~ s/'/''/g;
	return $text =~ s/\\/\\\\/g ? "E'$text'" : "'$text'";
}

# Write a file; returns its path.
sub spew
{
	my ($path, $bytes) = @_;

	open(my $fh, '>:raw', $path) or die "could not write $path: $!";
	print $fh $bytes or die "could not write $path: $!";
	close($fh) or die "could not write $path: $!";
	return $path;
}

sub slurp
{
	my ($path) = @_;

	open(my $fh, '<:raw', $path) or die "could not read $path: $!";
	local $/;
	return scalar <$fh>;
}

my $json = JSON::PP->new->canonical->utf8->allow_nonref;
my %is_bare = map { $_ => 1 } qw(bigint double decimal bool wei);

# dlt's columns as a hash; each is [name => type] or [name => type, {more hints}].
sub columns
{
	my ($n, %c) = (0);

	for (@_)
	{
		my ($name, $type, $hints) = @$_;
		$c{$name} = {name => $name, data_type => $type, nullable => JSON::PP::true, %{ $hints || {} }};
	}
	return \%c;
}

sub schema_tables
{
	my (@tables) = @_;
	my $not_null = {nullable => JSON::PP::false};
	my %t = (
		_dlt_version => {
			name => '_dlt_version', write_disposition => 'skip', columns => columns(
				[version => 'bigint', $not_null], [engine_version => 'bigint', $not_null],
				[inserted_at => 'timestamp', $not_null], [schema_name => 'text', $not_null],
				[version_hash => 'text', $not_null], [schema => 'text', $not_null]) },
		_dlt_loads => {
			name => '_dlt_loads', write_disposition => 'skip', columns => columns(
				[load_id => 'text', $not_null], [schema_name => 'text'], [status => 'bigint', $not_null],
				[inserted_at => 'timestamp', $not_null], [schema_version_hash => 'text']) });

	for my $table (@tables)
	{
		my %entry = (name => $table->{name}, columns => columns(@{ $table->{columns} }),
			'x-normalizer' => {'seen-data' => JSON::PP::true}, %{ $table->{hints} || {} });

		$entry{parent} = $table->{parent} if $table->{parent};
		$entry{write_disposition} = $table->{disposition} || 'append' unless $table->{parent};
		$t{ $table->{name} } = \%entry;
	}
	return \%t;
}

sub value_sql
{
	my ($value, $type) = @_;

	return 'NULL' unless defined $value;
	return $value if $is_bare{$type};
	$value =~ s/\\/\\\\/g;
	$value =~ s/'/\\'/g;
	$value =~ s/\n/\\n/g;
	return "E'$value'";
}

sub value_csv
{
	my ($value) = @_;

	return '' unless defined $value;
	$value =~ s/"/""/g;
	return qq{"$value"};
}

sub value_json
{
	my ($value, $type) = @_;

	return 'null' unless defined $value;
	return $value if $is_bare{$type} && $type ne 'decimal' && $type ne 'wei';
	return $json->encode("$value");
}

# The text of one job file.
sub rows_text
{
	my ($format, $columns, $rows) = @_;
	my @names = map { $_->[0] } @$columns;
	my @types = map { $_->[1] } @$columns;
	my $line = sub {
		my ($row, $value, $glue) = @_;
		return join($glue, map { $value->($row->[$_], $types[$_], $names[$_]) } 0 .. $#names);
	};

	return '' unless @$rows;
	if ($format eq 'csv')
	{
		return join('', map { "$_\n" } join(',', map { qq{"$_"} } @names), map { $line->($_, \&value_csv, ',') } @$rows);
	}
	if ($format eq 'jsonl')
	{
		my $member = sub { $json->encode($_[2]) . ':' . value_json($_[0], $_[1]) };

		return join('', map { '{' . $line->($_, $member, ',') . "}\n" } @$rows);
	}
	return 'INSERT INTO {}(' . join(',', map { qq{"$_"} } @names) . ")\nVALUES\n"
		. join(",\n", map { '(' . $line->($_, \&value_sql, ',') . ')' } @$rows) . ';';
}

my $made = 0;

# make_package(...): write a package as dlt leaves it after normalize; returns its directory.
#	load_id => '1700000000.1'	default: one that no other package of the test has
#	schema => 'shop'		name of dlt's schema; default: test
#	format => 'csv'			or jsonl, insert_values (the default)
#	dir => DIRECTORY		where to put it; default: packages_dir()
#	pipeline_state => {...}		dlt's state document, for the default dataset: pipeline_name, dataset_name
#	engine => 11
#	tables => [{name, columns => [[name => type, {hints}]...], rows => [[...]...],
#		parent, disposition, hints => {more of the table}, jobs => N: spread the rows over N files,
#		file => bytes, instead of rows}...]; no rows and no file: no job
sub make_package
{
	my (%p) = @_;
	my $format = $p{format} || 'insert_values';
	my $load_id = $p{load_id} || sprintf('1700000000.%06d', ++$made);
	my $path = ($p{dir} || packages_dir()) . "/$load_id";
	my $tables = schema_tables(@{ $p{tables} });
	my $hash = sha256_base64($json->encode([$p{schema} || 'test', $tables])) . '=';
	my $file_id = 0;

	make_path("$path/new_jobs");
	spew("$path/schema.json", $json->encode({
		version => 1, version_hash => $hash, engine_version => $p{engine} || 11, name => $p{schema} || 'test',
		tables => $tables, settings => {}, previous_hashes => [],
		normalizers => {names => 'snake_case', json => {module => 'dlt.common.normalizers.json.relational'}}}));
	for my $table (@{ $p{tables} })
	{
		my @rows = @{ $table->{rows} || [] };
		my $jobs = defined $table->{file} ? 1 : @rows ? $table->{jobs} || 1 : 0;

		for my $job (1 .. $jobs)
		{
			my $text = $table->{file};

			$text = rows_text($format, $table->{columns},
				[@rows[int(@rows * ($job - 1) / $jobs) .. int(@rows * $job / $jobs) - 1]]) unless defined $text;
			spew(sprintf('%s/new_jobs/%s.%010x.0.%s', $path, $table->{name}, ++$file_id, $format), $text);
		}
	}
	spew("$path/load_package_state.json", $json->encode({
		_state_version => 1, _state_engine_version => 1, created_at => '2024-01-01T00:00:00+00:00', _version_hash => 'x',
		$p{pipeline_state} ? (pipeline_state => $p{pipeline_state}) : ()}));
	return $path;
}

# copy_package(FROM, NAME): copy a package of the tree, the sources may be where the server's user
# cannot look. FROM is relative to test/. Returns its directory.
sub copy_package
{
	my ($from, $name) = @_;
	my $source = source_dir() . "/test/$from";
	my $path = packages_dir() . '/' . ($name || basename($from));

	make_path("$path/new_jobs");
	for my $folder ('', 'new_jobs/')
	{
		for my $file (glob("$source/$folder*"))
		{
			next unless -f $file;
			File::Copy::copy($file, "$path/$folder" . basename($file)) or die "could not copy $file: $!";
		}
	}
	return $path;
}

# The packages of one scenario of the oracle, in order, copied.
sub scenario_packages
{
	my ($scenario) = @_;
	my $top = source_dir() . '/test/';

	return map { copy_package(substr($_, length $top)) } sort glob("${top}oracle/scenarios/$scenario/*/package/*");
}

# --- asking the server --------------------------------------------------------------------------

sub database
{
	return $_[0]->{database} || 'postgres';
}

# Named arguments of ours as SQL; dataset and any other.
sub arguments
{
	my ($path, $dataset, $option) = @_;

	return join(', ', quote_literal($path), 'dataset => ' . quote_literal($dataset),
		map { "$_ => " . quote_literal($option->{arguments}{$_}) } sort keys %{ $option->{arguments} || {} });
}

# try_psql(NODE, SQL, user =>, database =>): returns (status, output, messages), and does not die.
sub try_psql
{
	my ($node, $sql, %option) = @_;
	my ($out, $err) = ('', '');
	my $rc = $node->psql(database(\%option), $sql, stdout => \$out, stderr => \$err, on_error_stop => 1,
		extra_params => ['-v', 'VERBOSITY=verbose', $option{user} ? ('-U', $option{user}) : ()]);

	return ($rc, $out, $err);
}

# one(NODE, SQL, ...): the output of SQL as the given user; dies of an error.
sub one
{
	my ($node, $sql, %option) = @_;
	my ($rc, $out, $err) = try_psql($node, $sql, %option);

	die "psql: $err\nwhile running: $sql" if $rc != 0;
	return $out;
}

# error_of(NODE, SQL, ...): the error that SQL raises: {sqlstate, message, detail, hint}; empty if
# there is none.
sub error_of
{
	my ($node, $sql, %option) = @_;
	my ($rc, $out, $err) = try_psql($node, $sql, %option);
	my %e = (sqlstate => '', message => '', detail => '', hint => '');

	return \%e if $rc == 0;
	$e{message} = $err;
	@e{qw(sqlstate message)} = ($1, $2) if $err =~ /(?:ERROR|FATAL):  (\w{5}): (.*)/;
	$e{detail} = $1 if $err =~ /^DETAIL:  (.*)/m;
	$e{hint} = $1 if $err =~ /^HINT:  (.*)/m;
	return \%e;
}

# Settings of the session that a package is started from, as SQL.
sub settings
{
	my ($option) = @_;
	my $s = $option->{settings} || {};

	return join('', map { "SET $_ = " . quote_literal($s->{$_}) . '; ' } sort keys %$s);
}

# start_package(NODE, DIRECTORY, DATASET, user =>, arguments => {...}, settings => {...}): returns the
# package_id.
sub start_package
{
	my ($node, $path, $dataset, %option) = @_;

	return one($node, settings(\%option) . 'SELECT loader_start(' . arguments($path, $dataset, \%option) . ')', %option);
}

# run_package(NODE, DIRECTORY, DATASET, ...): CALL loader_run, the same options; returns the
# package_id, dies if the package fails.
sub run_package
{
	my ($node, $path, $dataset, %option) = @_;

	return one($node, settings(\%option) . 'CALL loader_run(' . arguments($path, $dataset, \%option) . ')', %option);
}

# wait_package(NODE, ID, ...): wait for its end, as superuser; returns its state.
sub wait_package
{
	my ($node, $id, %option) = @_;

	return one($node, "SELECT loader_wait($id, '${limit}s')", database => database(\%option));
}

# load(NODE, DIRECTORY, DATASET, ...): start and wait; returns the state.
sub load
{
	my ($node, $path, $dataset, %option) = @_;

	return wait_package($node, start_package($node, $path, $dataset, %option), %option);
}

# wait_for(NODE, SQL, EXPECTED, ...): until the superuser's query has this output (default: t).
sub wait_for
{
	my ($node, $sql, $expected, %option) = @_;

	return $node->poll_query_until(database(\%option), $sql, defined $expected ? $expected : 't')
		|| die "timed out waiting for: $sql";
}

# session(NODE, user =>, database =>): a psql that stays, for transactions that overlap.
#	$s->run(SQL) returns what it prints, errors included; $s->end lets it go. A statement that
#	waits for somebody else: $s->send(SQL), and $s->answer when it is through.
sub session
{
	my ($node, %option) = @_;
	my $self = bless {in => '', out => '', marks => 0}, 'LoaderTest::Session';

	$self->{timer} = IPC::Run::timeout($limit);
	$self->{psql} = IPC::Run::start(
		['psql', '-XAtq', '-d', $node->connstr(database(\%option)), '-U', $option{user} || 'postgres', '-f', '-'],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{out}, $self->{timer});
	return $self;
}

sub LoaderTest::Session::send
{
	my ($self, $sql) = @_;

	$self->{in} .= "$sql\n;\\echo mark " . ++$self->{marks} . "\n";
	$self->{timer}->start($limit);
	$self->{psql}->pump_nb;
	return;
}

sub LoaderTest::Session::answer
{
	my ($self) = @_;
	my $mark = "mark $self->{marks}\n";

	$self->{timer}->start($limit);
	$self->{psql}->pump until index($self->{out}, $mark) >= 0;
	my $answer = substr($self->{out}, 0, index($self->{out}, $mark));
	$self->{out} = '';
	chomp $answer;
	return $answer;
}

sub LoaderTest::Session::run
{
	my ($self, $sql) = @_;

	$self->send($sql);
	return $self->answer;
}

sub LoaderTest::Session::end
{
	my ($self) = @_;

	$self->{in} .= "\\q\n";
	$self->{timer}->start($limit);
	$self->{psql}->finish;
	return;
}

1;
