# test/t/LoaderStage.pm: for the tests of what replaces and merges: a package that does all of it at
# once, places where it can be held, and what must not be left of it.
#
#	gates($node);
#	my ($old, $new) = (shop_package(1), shop_package(2));
#	new_shop($node, 'd1', $old);		# loaded, with gates in its tables
#	my $holder = LoaderCrash->new($node);
#	close_gate($holder, 'fill');
#	my $id = start_package($node, $new, 'd1');
#	wait_gate($node, 'fill');
#	is(contents($node, 'd1'), contents($node, 'old'), 'nothing to be seen');
#	is(left_over($node), '', 'nothing is left');
package LoaderStage;

use strict;
use warnings;

use Exporter 'import';
use LoaderCrash;
use LoaderTest;

our @EXPORT = qw(gates new_shop close_gate open_gate wait_gate shop_package contents left_over stray_files
	staged wait_staged wait_strong_lock amcheck);

# --- gates: a statement in a table of the package waits for whoever holds the gate's advisory lock -----

my %gate = (staging => 1, fill => 2, index => 3, append => 4, merge => 5);

sub gates
{
	my ($node, %option) = @_;

	one($node, q{
		CREATE SCHEMA gate;
		CREATE FUNCTION gate.pass(gate int, value anyelement) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
		BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(gate); RETURN true; END $$;
		CREATE FUNCTION gate.on_insert() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(TG_ARGV[0]::int); RETURN NEW; END $$;
		-- STABLE: all of it with one snapshot, the caller's
		CREATE FUNCTION gate.contents(dataset text) RETURNS text LANGUAGE plpgsql STABLE AS $$
		DECLARE
			query text;
			result text;
		BEGIN
			SELECT string_agg(format('SELECT %L, count(*), md5(string_agg(t, E''\n'' ORDER BY t COLLATE "C")) FROM (SELECT %s FROM %I.%I t) q(t)',
				tablename, CASE tablename WHEN '_dlt_loads' THEN 'load_id' ELSE 't::text' END, dataset, tablename), ' UNION ALL ')
				INTO query FROM pg_tables WHERE schemaname = dataset AND tablename <> '_dlt_version';
			EXECUTE format('SELECT string_agg(concat_ws(%L, name, n, sum), E''\n'' ORDER BY name) FROM (%s) q(name, n, sum)', ' ', query) INTO result;
			RETURN result;
		END $$}, %option);
	return;
}

# Load the first package, and put gates into the tables it has made. Row 70 is in version 2
# only, in the second job.
sub new_shop
{
	my ($node, $dataset, $package, %option) = @_;
	my $has = sub { return one($node, "SELECT to_regclass('$_[0]') IS NOT NULL", %option) eq 't' };
	my $sql = '';

	load($node, $package, $dataset, %option) eq 'loaded' or die "first package of $dataset";
	$sql .= qq{
		ALTER TABLE $dataset.goods ADD CHECK (id <> 70 OR gate.pass($gate{fill}, name));
		CREATE INDEX ON $dataset.prices (gate.pass($gate{index}, amount)) WHERE id = 70;
		CREATE INDEX ON $dataset.goods (lower(name) text_pattern_ops) INCLUDE (id);} if $has->("$dataset.goods");
	$sql .= qq{
		ALTER TABLE ${dataset}_staging.orders ADD CHECK (id <> 70 OR gate.pass($gate{staging}, name));
		CREATE TRIGGER gate BEFORE INSERT ON $dataset.orders FOR EACH STATEMENT EXECUTE FUNCTION gate.on_insert($gate{merge});}
		if $has->("$dataset.orders");
	$sql .= qq{
		CREATE TRIGGER gate BEFORE INSERT ON $dataset.visits FOR EACH STATEMENT EXECUTE FUNCTION gate.on_insert($gate{append});}
		if $has->("$dataset.visits");
	one($node, $sql, %option);
	return;
}

sub close_gate
{
	my ($holder, $gate) = @_;

	$holder->query("SELECT pg_advisory_lock($gate{$gate})");
	return;
}

sub open_gate
{
	my ($holder, $gate) = @_;

	$holder->query("SELECT pg_advisory_unlock($gate{$gate})");
	return;
}

# Until a worker waits at the gate; returns its pid.
sub wait_gate
{
	my ($node, $gate) = @_;
	my $waits = "SELECT %s FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND objid = $gate{$gate} AND NOT granted";

	wait_for($node, sprintf($waits, 'count(*)'), 1);
	return one($node, sprintf($waits, 'pid'));
}

# Until somebody asks for AccessExclusiveLock on the table, or with it on others has what he wants.
sub wait_strong_lock
{
	my ($node, $table, $granted) = @_;

	wait_for($node, "SELECT count(*) > 0 FROM pg_locks WHERE relation = '$table'::regclass AND mode = 'AccessExclusiveLock' AND "
		. ($granted ? 'granted' : 'NOT granted'));
	return;
}

# --- packages -----------------------------------------------------------------------------------------

my @row_key = ('_dlt_id' => 'text', {nullable => JSON::PP::false, unique => JSON::PP::true, row_key => JSON::PP::true});
my @child_keys = (['_dlt_root_id' => 'text', {root_key => JSON::PP::true}], ['_dlt_parent_id' => 'text', {parent_key => JSON::PP::true}],
	['_dlt_list_idx' => 'bigint']);

# A long value that does not compress.
sub noise
{
	my ($seed, $length) = @_;
	my $text = '';

	while (length $text < $length)
	{
		$seed = ($seed * 1103515245 + 12345) % 2147483648;
		$text .= sprintf '%07x', $seed;
	}
	return substr($text, 0, $length);
}

# A table and its child, all rows of one version: ids FROM to TO. Every fifth row is too long for a page.
sub chain
{
	my ($version, $name, $from, $to, %hints) = @_;
	my $jobs = delete $hints{jobs} || 2;
	my $childless = delete $hints{childless};
	my $key = delete $hints{key};
	my @rows = map { [$_, "$name $_ of version $version", $_ % 5 ? undef : noise($_ + $version, 3000), "$name-$version-$_"] } $from .. $to;
	my @child_rows = map { my $id = $_; map { ["item $_", ("$name-$version-$id") x 2, $_, "$name-$version-$id-$_"] } 1 .. $id % 3 } $from .. $to;

	return ({name => $name, columns => [[id => 'bigint', $key ? {nullable => JSON::PP::false, primary_key => JSON::PP::true} : ()],
			[name => 'text'], [long => 'text'], [@row_key]], rows => \@rows, jobs => $jobs, %hints},
		{name => "${name}__items", parent => $name, columns => [[value => 'text'], @child_keys, [@row_key]],
			rows => $childless ? [] : \@child_rows});
}

# shop_package(VERSION, rows => N, only => 'replace' or 'merge', rows_of => {TABLE => [...]}, ...): a package that
#	replaces	goods with its child, whose rows are gone in version 2; prices
#	merges		orders with its child (delete-insert); stocks (upsert)
#	appends		visits
# Version 1 has rows 1 to N of each, version 2 has 31 to N + 30. bad => {TABLE => sub (rows)} changes rows.
# Other options are those of make_package.
sub shop_package
{
	my ($version, %p) = @_;
	my $n = delete $p{rows} || 60;
	my $only = delete $p{only} || 'replace merge append';
	my $bad = delete $p{bad} || {};
	my ($from, $to) = $version == 1 ? (1, $n) : (31, $n + 30);
	my @tables;

	push @tables, chain($version, 'goods', $from, $to, disposition => 'replace', childless => $version == 2),
		{name => 'prices', disposition => 'replace', jobs => 1, columns => [[id => 'bigint'], [amount => 'double'], [@row_key]],
			rows => [map { [$_, "$_.$version", "price-$_"] } $from .. $to]} if $only =~ /replace/;
	push @tables, chain($version, 'orders', $from, $to, disposition => 'merge', key => 1),
		{name => 'stocks', disposition => 'merge', hints => {'x-merge-strategy' => 'upsert'},
			columns => [[id => 'bigint', {nullable => JSON::PP::false, primary_key => JSON::PP::true}], [amount => 'bigint'], [@row_key]],
			rows => [map { [$_, $version * 1000 + $_, "stock-$_"] } $from .. $to]} if $only =~ /merge/;
	push @tables, {name => 'visits', jobs => 2, columns => [[id => 'bigint'], [name => 'text'], [@row_key]],
		rows => [map { [$_, "visit $_", "visit-$version-$_"] } $from .. $to]} if $only =~ /append/;
	for my $table (@tables)
	{
		$bad->{ $table->{name} }->($table->{rows}) if $bad->{ $table->{name} };
	}
	return make_package(%p, tables => \@tables);
}

# --- what can be seen ---------------------------------------------------------------------------------

# All rows of all tables of the dataset as one statement sees them: a line a table, rows and a sum. The
# same text for the same contents. What was loaded when is left out.
sub contents
{
	my ($node, $dataset, %option) = @_;

	return one($node, "SELECT gate.contents('$dataset')", %option);
}

# All tables and indexes but the server's own. '' if there is nothing wrong.
sub amcheck
{
	my ($node) = @_;
	my $of = q{relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^(pg_catalog|information_schema)$')};

	one($node, qq{SELECT count(bt_index_check(c.oid, true)::text) FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE relkind = 'i' AND amname = 'btree' AND $of});
	return one($node, qq{SELECT c.oid::regclass, v.* FROM pg_class c, verify_heapam(c.oid, skip => 'none') v WHERE relkind IN ('r', 't') AND $of});
}

# The jobs whose rows wait for publish: when each was run.
sub staged
{
	my ($node, $id, %option) = @_;

	return one($node, "SELECT job_id, started_at FROM loader.job WHERE package_id = $id AND kind = 'load' AND state = 'completed' ORDER BY 1", %option);
}

# Until so many are completed.
sub wait_staged
{
	my ($node, $id, $n) = @_;

	wait_for($node, "SELECT count(*) FROM loader.job WHERE package_id = $id AND kind = 'load' AND state = 'completed'", $n);
	return;
}

# --- what is left -------------------------------------------------------------------------------------

# Relations that a package has made for itself, of which none is alive. '' if there are none.
sub left_over
{
	my ($node, %option) = @_;
	my $live = "EXISTS (SELECT FROM loader.package p WHERE p.package_id = s.package_id AND p.state IN ('new', 'loading'))";

	return one($node, qq{
		SELECT 'relation', relname FROM pg_class c WHERE relnamespace = 'loader_swap'::regnamespace AND relkind = 'r'
			AND NOT EXISTS (SELECT FROM loader.stage s WHERE s.relation = c.oid AND $live)
		UNION ALL SELECT 'row', relation || ' of package ' || package_id FROM loader.stage s WHERE NOT $live
		UNION ALL SELECT 'row without relation', relation::text FROM loader.stage s WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = relation)
		UNION ALL SELECT 'toast or index of nobody', relname FROM pg_class c WHERE relkind = 't' AND NOT EXISTS (SELECT FROM pg_class WHERE reltoastrelid = c.oid)
		UNION ALL SELECT 'toast dependency', objid::regclass || ' on ' || refobjid::regclass FROM pg_depend d WHERE classid = 'pg_class'::regclass
			AND refclassid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class WHERE oid = objid AND relkind = 't')
			AND NOT EXISTS (SELECT FROM pg_class WHERE oid = refobjid AND reltoastrelid = objid)}, %option);
}

# Files of the database that no relation has, after a checkpoint, which removes those of what was dropped.
#
# The server itself leaves files when it dies while a transaction is open that has made them, be it by
# CREATE TABLE or by REINDEX: recovery makes them again from the log, or their records never got there,
# and nobody tells it that the transaction has not ended well. No extension can do better. So the log is
# # asked: what counts is files that a transaction has removed at its end, and those that were made by one
# that has ended, committed or rolled back.
sub stray_files
{
	my ($node) = @_;
	my $data = $node->data_dir;
	my $directory = 'base/' . one($node, 'CHECKPOINT; SELECT oid FROM pg_database WHERE datname = current_database()');
	my %known = map { $_ => 1 } split /\n/, one($node, 'SELECT pg_relation_filepath(oid) FROM pg_class WHERE pg_relation_filepath(oid) IS NOT NULL');
	my (%stray, %maker, %ended);

	opendir(my $dir, "$data/$directory") or die "no $directory: $!";
	for my $name (readdir $dir)
	{
		next unless $name =~ /^(\d+)(_(fsm|vm|init))?(\.\d+)?$/;
		push @{ $stray{"$directory/$1"} }, $name unless $known{"$directory/$1"};
	}
	closedir $dir;
	for my $line (%stray ? wal($node) : ())
	{
		my ($xid) = $line =~ /tx: +(\d+),/ or next;

		push @{ $maker{$1} }, $xid if $line =~ m{desc: CREATE (base/\d+/\d+)};
		next unless $line =~ /desc: (?:COMMIT|ABORT)\b/;
		$ended{$_} = 1 for $xid, $line =~ /; subxacts: ([\d ]+)/ ? split(/ +/, $1) : ();
		push @{ $maker{$_} }, $xid for $line =~ /; rels: ([^;]+)/ ? split(/ +/, $1) : ();
	}
	return join(' ', sort map { @{ $stray{$_} } } grep { grep { $ended{$_} } @{ $maker{$_} || [] } } keys %stray);
}

# What the log says of files and of transactions, from its beginning. Where the server died the log goes
# on at another place than its reader looks for it, so there it begins anew, with the next page.
sub wal
{
	my ($node) = @_;
	my $program = $node->config_data('--bindir') . '/pg_waldump -p ' . $node->data_dir . '/pg_wal -r Storage -r Transaction';
	my $number = sub { my ($high, $low) = split m{/}, $_[0]; return hex($high) * 2**32 + hex $low };
	my $lsn = sub { return sprintf '%X/%X', int($_[0] / 2**32), $_[0] % 2**32 };
	my $segment = sub { return sprintf '00000001%08X%08X', int($_[0] / 2**32), ($_[0] % 2**32) >> 24 };
	my ($first, $end) = split /\|/, one($node, q{SELECT min(name), pg_current_wal_flush_lsn() FROM pg_ls_waldir() WHERE name ~ '^0000000[0-9A-F]{17}$'});
	my $at = hex(substr $first, 8, 8) * 2**32 + (hex(substr $first, 16) << 24);
	my @lines;

	while ($at < $number->($end))
	{
		my @read = split /\n/, qx($program -s @{[$lsn->($at)]} -e $end @{[$segment->($at)]} @{[$segment->($number->($end))]} 2>&1);

		push @lines, grep { /^rmgr/ } @read;
		my ($broken) = map { m{error in WAL record at ([0-9A-F]+/[0-9A-F]+)} ? $number->($1) : () } @read;
		my @other = grep { /pg_waldump: error/ && !/error in WAL record at/ } @read;
		die "cannot read the log: @other" if @other;
		last unless defined $broken;
		$at = (int(($broken > $at ? $broken : $at) / 8192) + 1) * 8192;
	}
	return @lines;
}

1;
