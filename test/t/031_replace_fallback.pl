# test/t/031_replace_fallback.pl: tables that are not swapped: each reason why, what is done instead,
# and that the contents are the same. Where somebody has to see the rows change, only differences are
# written (diff), elsewhere all is deleted and inserted (refill), in the one transaction.
#
# Everything twice: with the rows staged inside the publish transaction, and before it by a worker.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderTest;
use Test::More;

my %small = (inside => 4096, before => 0);	# loader.small_package
my $node = new_node('main', "wal_level = logical\nmax_wal_senders = 4\nloader.retry_delay = '10ms'\nloader.lock_timeout = '50ms'");
my $n = 0;

one($node, q{
	CREATE EXTENSION postgres_fdw; CREATE EXTENSION bloom;
	CREATE ROLE owners; CREATE ROLE lou LOGIN IN ROLE owners; CREATE ROLE helper LOGIN;
	GRANT pg_read_server_files TO lou, helper; GRANT CREATE ON DATABASE postgres TO lou, helper, owners;});
one($node, sprintf(q{CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '%s', port '%s', dbname 'postgres');
	GRANT USAGE ON FOREIGN SERVER loopback TO lou;
	CREATE USER MAPPING FOR PUBLIC SERVER loopback OPTIONS (user 'lou', password_required 'false')}, $node->host, $node->port));
grant_loader($node, 'lou, helper');
one($node, 'CREATE TYPE typed_by AS (id bigint, name varchar); GRANT USAGE ON TYPE typed_by TO lou');

my @lou = (user => 'lou');
my @not_null = {nullable => JSON::PP::false};
my @key = {nullable => JSON::PP::false, primary_key => JSON::PP::true};

# Rows 1 to 10, and what takes their place: 1 to 5 go, 6 to 8 stay, 9 and 10 are other, 11 to 15 come.
my @old = map { [$_, "name $_"] } 1 .. 10;
my @new = map { [$_, $_ < 9 ? "name $_" : "new $_"] } 6 .. 15;

sub items
{
	my ($rows, %t) = @_;

	return {name => 'items', disposition => 'replace', columns => [[id => 'bigint', @key], [name => 'text']], rows => $rows, %t};
}

sub text
{
	return join(',', map { join(' ', @$_) } @_);
}

sub contents
{
	my ($d, $table) = @_;

	return one($node, "SELECT string_agg(id || ' ' || name, ',' ORDER BY id, name) FROM $d." . ($table || 'items'));
}

sub reasons
{
	my ($id, $table) = @_;

	return one($node, "SELECT string_agg(detail, ',' ORDER BY event_id) FROM loader.events WHERE package_id = $id AND kind = 'not swapped' AND object = '" . ($table || 'items') . "'");
}

sub counts
{
	my ($id, $table) = @_;

	return one($node, "SELECT rows_read, rows_deleted, rows_updated, rows_inserted FROM loader.tables WHERE package_id = $id AND table_name = '" . ($table || 'items') . "'");
}

my %counts = (diff => '10|5|2|5', refill => '10|10|0|10');

# A dataset in which lou has loaded the old rows.
sub dataset
{
	my ($way, %t) = @_;
	my $d = 'd' . ++$n . "_$way";

	run_package($node, make_package(tables => [items(\@old, %t)]), $d, @lou);
	return $d;
}

sub with
{
	my ($way, %option) = @_;

	return (@lou, %option, settings => {'loader.small_package' => $small{$way}, %{ $option{settings} || {} }});
}

# --- each reason -------------------------------------------------------------------------------------------

my $log = 'CREATE TABLE {d}.log (n serial, what text); CREATE FUNCTION {d}.note() RETURNS trigger LANGUAGE plpgsql
	AS $$ BEGIN INSERT INTO {d}.log (what) VALUES (TG_OP); RETURN CASE TG_OP WHEN \'DELETE\' THEN OLD ELSE NEW END; END $$;';
my $noted = sub { my ($d) = @_; return one($node, "SELECT string_agg(what || ' ' || c, ',' ORDER BY what) FROM (SELECT what, count(*) c FROM $d.log GROUP BY 1) q") };
my $copy = 'ALTER TABLE {d}.items RENAME TO items_real;';

my @cases = (
	{name => 'partitioned', reason => 'table is partitioned', way => 'refill',
		sql => $copy . 'CREATE TABLE {d}.items (id bigint NOT NULL, name varchar) PARTITION BY RANGE (id);
			CREATE TABLE {d}.items_low PARTITION OF {d}.items FOR VALUES FROM (0) TO (8); CREATE TABLE {d}.items_high PARTITION OF {d}.items DEFAULT;
			INSERT INTO {d}.items TABLE {d}.items_real',
		check => sub { is(one($node, "SELECT count(*) FROM $_[0].items_low"), 2, "$_[1]: rows are in their partitions") }},
	{name => 'a partition', reason => 'table is a partition', way => 'refill',
		sql => 'CREATE TABLE {d}.whole (id bigint NOT NULL, name varchar) PARTITION BY RANGE (id); ALTER TABLE {d}.whole ATTACH PARTITION {d}.items FOR VALUES FROM (0) TO (100);
			CREATE TABLE {d}.rest PARTITION OF {d}.whole DEFAULT; INSERT INTO {d}.whole VALUES (1000, \'other\')',
		check => sub { is(one($node, "SELECT count(*) FROM $_[0].whole"), 11, "$_[1]: the others are untouched") }},
	{name => 'foreign', reason => 'table is foreign', way => 'refill',
		sql => $copy . 'CREATE FOREIGN TABLE {d}.items (id bigint NOT NULL, name varchar) SERVER loopback OPTIONS (schema_name \'{d}\', table_name \'items_real\')',
		check => sub { is(contents($_[0], 'items_real'), text(@new), "$_[1]: there") }},
	{name => 'view', reason => 'table is a view', way => 'refill',
		sql => $copy . 'CREATE VIEW {d}.items AS SELECT * FROM {d}.items_real WHERE id < 100; INSERT INTO {d}.items_real VALUES (100, \'unseen\')',
		check => sub { is(contents($_[0], 'items_real'), text(@new, [100, 'unseen']), "$_[1]: under it") }},
	{name => 'view with INSTEAD OF', reason => 'table is a view', way => 'refill',
		sql => $copy . 'CREATE VIEW {d}.items AS SELECT DISTINCT id, name FROM {d}.items_real;
			CREATE FUNCTION {d}.instead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF TG_OP = \'DELETE\' THEN DELETE FROM {d}.items_real WHERE id = OLD.id; RETURN OLD; END IF;
				INSERT INTO {d}.items_real VALUES (NEW.id, NEW.name); RETURN NEW; END $$;
			CREATE TRIGGER instead INSTEAD OF INSERT OR DELETE ON {d}.items FOR EACH ROW EXECUTE FUNCTION {d}.instead()',
		check => sub { is(contents($_[0], 'items_real'), text(@new), "$_[1]: under it") }},
	{name => 'inheritance children', reason => 'table has inheritance children', way => 'refill',
		sql => 'CREATE TABLE {d}.child () INHERITS ({d}.items); WITH moved AS (DELETE FROM {d}.items WHERE id > 8 RETURNING *) INSERT INTO {d}.child TABLE moved',
		check => sub { is(one($node, "SELECT count(*) FROM $_[0].child"), 0, "$_[1]: the child's rows are replaced too, as by TRUNCATE") }},
	{name => 'inherits', reason => 'table inherits from another', way => 'refill',
		sql => 'CREATE TABLE {d}.general (id bigint NOT NULL, name varchar); ALTER TABLE {d}.items INHERIT {d}.general; INSERT INTO {d}.general VALUES (1000, \'other\')',
		check => sub { is(contents($_[0], 'general'), text(@new, [1000, 'other']), "$_[1]: its parent's own rows are untouched") }},
	{name => 'unlogged', reason => 'table is unlogged', way => 'refill', sql => 'ALTER TABLE {d}.items SET UNLOGGED',
		check => sub { is(one($node, "SELECT relpersistence FROM pg_class WHERE oid = '$_[0].items'::regclass"), 'u', "$_[1]: and stays so") }},
	{name => 'typed', reason => 'table is a typed table', way => 'refill', sql => $copy . 'CREATE TABLE {d}.items OF typed_by; INSERT INTO {d}.items TABLE {d}.items_real'},
	{name => 'invalid index', reason => 'table has an invalid index', way => 'refill', super => "CREATE INDEX items_bad ON {d}.items (name); UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{d}.items_bad'::regclass"},
	{name => 'index on the whole row', reason => 'table has an index on the whole row', way => 'refill', sql => 'CREATE INDEX items_whole ON {d}.items ((items IS NULL))'},
	{name => 'not the owner', reason => 'role does not own the table', way => 'refill', user => 'helper',
		sql => 'GRANT USAGE ON SCHEMA {d} TO helper; GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA {d} TO helper'},
	{name => 'row security', reason => 'row-level security applies', way => 'refill', counts => '10|9|0|10',
		sql => 'UPDATE {d}.items SET id = 1000 WHERE id = 10; ALTER TABLE {d}.items ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY mine ON {d}.items USING (id < 1000)',
		contents => text(@new, [1000, 'name 10'])},
	{name => 'INSERT trigger', reason => 'table has triggers', way => 'refill', sql => $log . 'CREATE TRIGGER noted BEFORE INSERT ON {d}.items FOR EACH ROW EXECUTE FUNCTION {d}.note()',
		check => sub { is($noted->($_[0]), 'INSERT 10', "$_[1]: fires for each row") }},
	{name => 'DELETE trigger', reason => 'table has triggers', way => 'refill', sql => $log . 'CREATE TRIGGER noted AFTER DELETE ON {d}.items FOR EACH ROW EXECUTE FUNCTION {d}.note()',
		check => sub { is($noted->($_[0]), 'DELETE 10', "$_[1]: fires for each row") }},
	{name => 'statement triggers', reason => 'table has triggers', way => 'refill',
		sql => $log . 'CREATE TRIGGER noted AFTER INSERT OR DELETE ON {d}.items EXECUTE FUNCTION {d}.note()',
		check => sub { is($noted->($_[0]), 'DELETE 1,INSERT 1', "$_[1]: fire once") }},
	{name => 'TRUNCATE trigger', reason => 'table has triggers', way => 'refill', sql => $log . 'CREATE TRIGGER noted AFTER TRUNCATE ON {d}.items EXECUTE FUNCTION {d}.note()',
		check => sub { is($noted->($_[0]), '', "$_[1]: nothing is truncated") }},
	{name => 'deferred trigger', reason => 'table has triggers', way => 'refill',
		sql => $log . 'CREATE CONSTRAINT TRIGGER noted AFTER INSERT ON {d}.items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {d}.note()',
		check => sub { is($noted->($_[0]), 'INSERT 10', "$_[1]: fires for each row") }},
	{name => 'trigger for replicas', reason => 'table has triggers', way => 'refill', settings => {session_replication_role => 'replica'}, user => 'postgres',
		sql => $log . 'CREATE TRIGGER noted BEFORE INSERT ON {d}.items FOR EACH ROW EXECUTE FUNCTION {d}.note(); ALTER TABLE {d}.items ENABLE REPLICA TRIGGER noted',
		check => sub { is($noted->($_[0]), 'INSERT 10', "$_[1]: fires in a session that is one") }},
	{name => 'INSERT rule', reason => 'table has rules', way => 'refill', sql => $log . 'CREATE RULE noted AS ON INSERT TO {d}.items DO ALSO INSERT INTO {d}.log (what) VALUES (NEW.name)',
		check => sub { is(one($node, "SELECT count(*) FROM $_[0].log"), 10, "$_[1]: is followed") }},
	{name => 'DELETE rule', reason => 'table has rules', way => 'refill', sql => $log . 'CREATE RULE noted AS ON DELETE TO {d}.items DO ALSO INSERT INTO {d}.log (what) VALUES (OLD.name)',
		check => sub { is(one($node, "SELECT count(*) FROM $_[0].log"), 10, "$_[1]: is followed") }},
	{name => 'DELETE rule that does something else', reason => 'table has rules', way => 'refill', counts => '10|0|0|10', contents => text(sort { $a->[0] <=> $b->[0] || $a->[1] cmp $b->[1] } @old, @new),
		sql => 'CREATE RULE kept AS ON DELETE TO {d}.items DO INSTEAD NOTHING'},
	{name => 'DELETE rule that updates', reason => 'table has rules', way => 'refill', counts => '10|0|0|10',
		contents => text(@new, map { [$_ + 100, "name $_"] } 1 .. 10), sql => 'CREATE RULE marked AS ON DELETE TO {d}.items DO INSTEAD UPDATE {d}.items SET id = id + 100 WHERE id = OLD.id'},
	{name => 'INSERT rule that inserts elsewhere', reason => 'table has rules', way => 'refill', contents => '',
		sql => 'CREATE TABLE {d}.elsewhere (LIKE {d}.items); CREATE RULE moved AS ON INSERT TO {d}.items DO INSTEAD INSERT INTO {d}.elsewhere VALUES (NEW.*)',
		check => sub { is(contents($_[0], 'elsewhere'), text(@new), "$_[1]: there they are") }},
	{name => 'own foreign key', reason => 'table has foreign keys', way => 'refill',
		sql => 'CREATE TABLE {d}.known (name varchar PRIMARY KEY); INSERT INTO {d}.known SELECT prefix || i FROM generate_series(1, 20) i, (VALUES (\'name \'), (\'new \')) p(prefix);
			ALTER TABLE {d}.items ADD FOREIGN KEY (name) REFERENCES {d}.known'},
	{name => 'foreign key to itself', reason => 'table has foreign keys', way => 'refill',
		sql => 'ALTER TABLE {d}.items ADD PRIMARY KEY (id), ADD COLUMN up bigint REFERENCES {d}.items'},
	{name => 'target of a foreign key', reason => 'table is referenced by foreign keys', way => 'diff',
		sql => 'ALTER TABLE {d}.items ADD PRIMARY KEY (id); CREATE TABLE {d}.orders (item bigint REFERENCES {d}.items ON DELETE CASCADE ON UPDATE RESTRICT); INSERT INTO {d}.orders VALUES (1), (6), (9), (9)',
		check => sub { is(one($node, "SELECT string_agg(item::text, ',' ORDER BY item) FROM $_[0].orders"), '6,9,9', "$_[1]: who refers to a row that stays stays") }},
	{name => 'target of a foreign key with a disabled trigger', reason => 'table is referenced by foreign keys', way => 'diff',
		sql => 'ALTER TABLE {d}.items ADD PRIMARY KEY (id); CREATE TABLE {d}.orders (item bigint REFERENCES {d}.items)', super => 'ALTER TABLE {d}.items DISABLE TRIGGER ALL'},
	{name => 'published', reason => 'table is published', way => 'diff', sql => 'ALTER TABLE {d}.items ADD PRIMARY KEY (id); CREATE PUBLICATION {d} FOR TABLE {d}.items'},
	{name => 'published with its schema', reason => 'table is published', way => 'diff', sql => 'ALTER TABLE {d}.items REPLICA IDENTITY FULL', super => 'CREATE PUBLICATION {d} FOR TABLES IN SCHEMA {d}',
		undo => 'DROP PUBLICATION {d}'},
	{name => 'published with all', reason => 'table is published', way => 'diff', sql => 'ALTER TABLE {d}.items REPLICA IDENTITY FULL', super => 'CREATE PUBLICATION {d} FOR ALL TABLES',
		check => sub { is(one($node, "SELECT loader_forget($_[2])"), 't', "$_[1]: the package can be forgotten") }, undo => 'DROP PUBLICATION {d}'},
	{name => 'published without replica identity', reason => 'table is published and has no replica identity', counts => '10|0|0|10', way => 'refill', file => 'new',
		sql => 'CREATE PUBLICATION {d} FOR TABLE {d}.items'},
	{name => 'inserts published without replica identity', reason => 'table is published', way => 'diff', sql => 'CREATE PUBLICATION {d} FOR TABLE {d}.items WITH (publish = insert)'},
	{name => 'logical slot', reason => 'database has logical replication slots', way => 'diff', super => q{SELECT pg_create_logical_replication_slot('{d}', 'pgoutput')},
		undo => q{SELECT pg_drop_replication_slot('{d}')}},
	# and what is no reason
	{name => 'a view of it', sql => 'CREATE VIEW {d}.seen AS SELECT * FROM {d}.items', check => sub { is(contents($_[0], 'seen'), text(@new), "$_[1]: shows the new rows") }},
	{name => 'a materialized view of it', sql => 'CREATE MATERIALIZED VIEW {d}.seen AS SELECT * FROM {d}.items',
		check => sub { is(contents($_[0], 'seen'), text(@old), "$_[1]: is as it was"); one($node, "REFRESH MATERIALIZED VIEW $_[0].seen"); is(contents($_[0], 'seen'), text(@new), "$_[1]: and is refreshed") }},
	{name => 'row security that does not bind the owner', sql => 'ALTER TABLE {d}.items ENABLE ROW LEVEL SECURITY'},
	{name => 'owner by membership', sql => 'GRANT ALL ON SCHEMA {d} TO owners; ALTER TABLE {d}.items OWNER TO owners',
		check => sub { is(one($node, "SELECT relowner::regrole FROM pg_class WHERE oid = '$_[0].items'::regclass"), 'owners', "$_[1]: it stays so") }},
	{name => 'disabled trigger', sql => $log . 'CREATE TRIGGER noted BEFORE INSERT ON {d}.items FOR EACH ROW EXECUTE FUNCTION {d}.note(); ALTER TABLE {d}.items DISABLE TRIGGER noted'},
	{name => 'UPDATE trigger and rule', sql => $log . 'CREATE TRIGGER noted BEFORE UPDATE ON {d}.items FOR EACH ROW EXECUTE FUNCTION {d}.note(); CREATE RULE other AS ON UPDATE TO {d}.items DO ALSO DELETE FROM {d}.log'},
	{name => 'index of a known access method', sql => 'CREATE INDEX items_bloom ON {d}.items USING bloom (name) WITH (length = 64)', super => '',
		check => sub { is(one($node, "SET enable_seqscan = off; SELECT id FROM $_[0].items WHERE name = 'new 12'"), 12, "$_[1]: finds") }},
	{name => 'deferrable constraint', sql => 'ALTER TABLE {d}.items ADD UNIQUE (name) DEFERRABLE INITIALLY DEFERRED'},
	{name => 'slot of another database', super => q{CREATE DATABASE other}, elsewhere => q{SELECT pg_create_logical_replication_slot('{d}', 'pgoutput')}, undo => q{SELECT pg_drop_replication_slot('{d}')}, drop => 'DROP DATABASE other'},
	{name => 'physical slot', super => q{SELECT pg_create_physical_replication_slot('{d}', true)}, undo => q{SELECT pg_drop_replication_slot('{d}')}});

# Are rows 6 to 8, which do not change, still the same versions? Of views and foreign tables: of
# what is under them.
sub versions
{
	my ($d) = @_;
	my $real = one($node, "SELECT coalesce((SELECT '$d.items_real' WHERE (SELECT relkind IN ('v', 'f') FROM pg_class WHERE oid = '$d.items'::regclass)), '$d.items')");

	return one($node, "SELECT string_agg(xmin || ' ' || ctid, ',' ORDER BY id) FROM $real WHERE id BETWEEN 6 AND 8 AND name LIKE 'name%'");
}

sub run_case
{
	my ($case, $way, $what, $d) = @_;
	my ($sql, $super, $elsewhere) = map { ($case->{$_} || '') =~ s/\{d\}/$d/gr } qw(sql super elsewhere);
	my %with = with($way, settings => $case->{settings}, $case->{user} ? (user => $case->{user}) : ());
	my $file = "SELECT oid, relkind, relfilenode FROM pg_class WHERE oid = '$d.items'::regclass";
	my ($id, $before, $versions);

	one($node, $sql, @lou) if $sql;
	one($node, $_) for split /; /, $super;
	one($node, $elsewhere, database => 'other') if $elsewhere;
	$before = one($node, $file);
	$versions = versions($d);
	$id = run_package($node, make_package(tables => [items(\@new)]), $d, %with);
	is(reasons($id), $case->{reason} || '', "$what: " . ($case->{reason} ? "not swapped: $case->{reason}" : 'swapped'));
	is(contents($d), defined $case->{contents} ? $case->{contents} : text(@new), "$what: contents");
	is(one($node, "SELECT stage, reason FROM loader.tables WHERE package_id = $id AND table_name = 'items'"),
		$case->{reason} ? "staging|$case->{reason}" : 'swap heap|', "$what: in loader.tables");
	is(counts($id), $case->{counts} || $counts{ $case->{way} }, "$what: rows read, deleted, updated, inserted") if $case->{way};
	is(versions($d) eq $versions ? 'same' : 'new', ($case->{way} || '') eq 'diff' ? 'same' : 'new', "$what: versions of rows that stay")
		if $case->{name} !~ /rule that/;
	is(one($node, $file) eq $before ? 'same' : 'new', $case->{file} || ($case->{reason} ? 'same' : 'new'), "$what: file");
	$case->{check}->($d, $what, $id) if $case->{check};
	return;
}

for my $case (@cases)
{
	for my $way ('inside', 'before')
	{
		my $d = dataset($way);

		eval { run_case($case, $way, "$case->{name}, $way", $d); 1 } or fail("$case->{name}, $way: $@");
		one($node, $_) for map { s/\{d\}/$d/gr } grep { $_ } @$case{qw(undo drop)};
	}
}

# --- what cannot be done at all ----------------------------------------------------------------------------

for my $way ('inside', 'before')
{
	my $error_of = sub {
		my ($d) = @_;
		my $error = error_of($node, "SET loader.small_package = $small{$way}; CALL loader_run(" . quote_literal(make_package(tables => [items(\@new)])) . ", '$d')", @lou);

		is(contents($d), text(@old), "$way: then the old rows are there");
		return $error;
	};
	my $d = dataset($way);

	one($node, 'ALTER TABLE {d}.items ADD PRIMARY KEY (id); CREATE TABLE {d}.orders (item bigint REFERENCES {d}.items); INSERT INTO {d}.orders VALUES (3)' =~ s/\{d\}/$d/gr, @lou);
	is($error_of->($d)->{sqlstate}, '23503', "$way: a row that is referred to does not go");
	$d = dataset($way);
	one($node, "CREATE TABLE $d.known (name varchar PRIMARY KEY); INSERT INTO $d.known SELECT name FROM $d.items; ALTER TABLE $d.items ADD FOREIGN KEY (name) REFERENCES $d.known", @lou);
	is($error_of->($d)->{sqlstate}, '23503', "$way: a row that refers to nothing does not come");
	$d = dataset($way);
	one($node, "ALTER TABLE $d.items RENAME TO items_real; CREATE MATERIALIZED VIEW $d.items AS TABLE $d.items_real", @lou);
	is($error_of->($d)->{sqlstate}, '42809', "$way: a materialized view takes no rows");
}

# --- published without a replica identity: no row can be deleted, so the table is truncated ----------------

for my $way ('inside', 'before')
{
	my $d = dataset($way);

	one($node, "CREATE PUBLICATION $d FOR TABLE $d.items", @lou);
	my $id = run_package($node, make_package(tables => [items(\@new)]), $d, with($way));
	is(contents($d), text(@new), "$way: published without identity: the new rows");
	is(reasons($id), 'table is published and has no replica identity', "$way: published without identity: the reason");
}

# --- along a chain -------------------------------------------------------------------------------------------

# A child without new rows is emptied, swapped or not; foreign keys from child to parent hold.
for my $way ('inside', 'before')
{
	my $part = sub { my ($key, @rows) = @_; return {name => 'items__parts', parent => 'items', columns => [[id => 'bigint'], [name => 'text']], rows => [@rows]} };
	my @parts = map { [$_->[0], "part of $_->[0]"] } @old;
	my $reference = 'ALTER TABLE {d}.items ADD PRIMARY KEY (id); ALTER TABLE {d}.items__parts ADD FOREIGN KEY (id) REFERENCES {d}.items';
	my @chains = (
		['no new rows, triggers', $log . 'CREATE TRIGGER noted BEFORE DELETE ON {d}.items__parts FOR EACH ROW EXECUTE FUNCTION {d}.note()', [], '', 'table has triggers'],
		['no new rows, a foreign key to the parent', $reference, [], 'table is referenced by foreign keys', 'table has foreign keys'],
		['new rows, a foreign key to the parent', $reference, [map { [$_->[0], "new part of $_->[0]"] } @new], 'table is referenced by foreign keys', 'table has foreign keys'],
		['no new rows, published, a foreign key to the parent', $reference . '; ALTER TABLE {d}.items__parts REPLICA IDENTITY FULL; CREATE PUBLICATION {d} FOR TABLE {d}.items, {d}.items__parts',
			[], 'table is referenced by foreign keys', 'table is published'],
		['new rows, published, a foreign key to the parent', $reference . '; ALTER TABLE {d}.items__parts REPLICA IDENTITY FULL; CREATE PUBLICATION {d} FOR TABLE {d}.items, {d}.items__parts',
			[map { [$_->[0], "new part of $_->[0]"] } @new], 'table is referenced by foreign keys', 'table is published']);

	for my $chain (@chains)
	{
		my ($name, $sql, $rows, $of_parent, $of_child) = @$chain;
		my $d = 'd' . ++$n . "_$way";
		my $what = "chain, $name, $way";

		eval {
			run_package($node, make_package(tables => [items(\@old), $part->('x', @parts)]), $d, @lou);
			one($node, $sql =~ s/\{d\}/$d/gr, @lou);
			my $id = run_package($node, make_package(tables => [items(\@new), $part->('x', @$rows)]), $d, with($way));

			is(contents($d), text(@new), "$what: the parent");
			is(contents($d, 'items__parts'), text(@$rows), "$what: the child");
			is(reasons($id), $of_parent, "$what: not swapped: the parent");
			is(reasons($id, 'items__parts'), $of_child, "$what: not swapped: the child");
			1;
		} or fail("$what: $@");
	}
}

# --- the strategy diff ---------------------------------------------------------------------------------------

# load(NAME, COLUMNS, OLD, NEW, CHANGES): replace by differences; CHANGES is what loader.tables says
# of rows deleted, updated and inserted.
sub diff
{
	my ($way, $name, %t) = @_;
	my $d = 'd' . ++$n . "_$way";
	my $what = "diff, $name, $way";
	my $table = sub { return {name => 'items', disposition => 'replace', columns => $t{columns}, rows => $_[0], hints => $t{hint} ? {'x-replace-strategy' => 'diff'} : {}} };
	my $all = sub { return one($node, "SELECT string_agg(i::text, ' ' ORDER BY i::text) FROM $d.items i") };
	my ($old, $id, $file, $expected);

	run_package($node, make_package(tables => [$table->($t{new})]), "${d}_new", @lou);
	one($node, $t{sql} =~ s/\{d\}/${d}_new/gr, @lou) if $t{sql};
	$d = "${d}_new";
	$expected = $t{expected} || $all->();
	$d =~ s/_new$//;
	run_package($node, make_package(tables => [$table->($t{old})]), $d, @lou);
	one($node, $t{sql} =~ s/\{d\}/$d/gr, @lou) if $t{sql};

	# An older snapshot, of a transaction that has not looked at the table yet and one that has.
	my ($looked, $not_looked, $cursor) = map { session($node) } 1 .. 3;
	my $look = "SELECT string_agg(i::text, ' ' ORDER BY i::text) FROM $d.items i";
	$old = $all->();
	$_->run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1') for $looked, $not_looked;
	$looked->run($look);
	$cursor->run("BEGIN; DECLARE c CURSOR FOR SELECT * FROM $d.items; FETCH 1 FROM c");

	$file = one($node, "SELECT oid, relfilenode FROM pg_class WHERE oid = '$d.items'::regclass");
	my $before = one($node, "SELECT string_agg(ctid::text || xmin, ';' ORDER BY ctid) FROM $d.items");
	$id = run_package($node, make_package(tables => [$table->($t{new})]), $d, with($way, arguments => $t{hint} ? {} : {replace_strategy => 'diff'}));
	is($all->(), $expected, "$what: contents");
	is(one($node, "SELECT strategy, stage, reason, rows_deleted, rows_updated, rows_inserted FROM loader.tables WHERE package_id = $id AND table_name = 'items'"),
		"diff|staging||$t{changes}", "$what: changes");
	my %was = map { $_ => 1 } split /;/, $before;
	is(scalar(grep { $was{$_} } split /;/, one($node, "SELECT string_agg(ctid::text || xmin, ';' ORDER BY ctid) FROM $d.items")), $t{kept}, "$what: row versions that stay") if defined $t{kept};
	is(one($node, "SELECT oid, relfilenode FROM pg_class WHERE oid = '$d.items'::regclass"), $file, "$what: the same file");
	is($_->run($look), $old, "$what: an older snapshot sees the old rows") for $looked, $not_looked;
	is(scalar(split /\n/, $cursor->run('MOVE ABSOLUTE 0 FROM c; FETCH ALL FROM c')), scalar(@{ $t{old} }), "$what: an open cursor, too");
	$_->end for $looked, $not_looked, $cursor;
	return;
}

for my $way ('inside', 'before')
{
	my @plain = ([id => 'bigint'], [name => 'text']);
	my @keyed = ([id => 'bigint', @key], [name => 'text']);

	diff($way, 'by key', columns => \@keyed, old => \@old, new => \@new, changes => '5|2|5', kept => 3);
	diff($way, 'by the hint', columns => \@keyed, old => \@old, new => \@new, changes => '5|2|5', kept => 3, hint => 1);
	diff($way, 'nothing has changed', columns => \@keyed, old => \@old, new => \@old, changes => '0|0|0', kept => 10);
	diff($way, 'nothing has changed, without a key', columns => \@plain, old => \@old, new => \@old, changes => '0|0|0', kept => 10);
	diff($way, 'by whole row', columns => \@plain, old => \@old, new => \@new, changes => '7|0|7', kept => 3);
	diff($way, 'rows that are there several times', columns => \@plain,
		old => [[1, 'a'], [1, 'a'], [1, 'a'], [2, 'b'], [3, undef], [undef, undef], [4, 'gone']], new => [[1, 'a'], [2, 'b'], [2, 'b'], [3, undef], [undef, undef], [undef, undef]],
		changes => '3|0|2', kept => 4);
	diff($way, 'keys that are none: twice in the package', columns => \@keyed, old => \@old, new => [@old, [10, 'again']], changes => '0|0|1', kept => 10);
	diff($way, 'keys that are none: NULL', columns => [[id => 'bigint', {primary_key => JSON::PP::true}], [name => 'text']], old => [[1, 'a'], [undef, 'b']], new => [[undef, 'b'], [undef, 'c']],
		changes => '1|0|1', kept => 1);
	diff($way, 'a compound key', columns => [[a => 'text', @key], [b => 'text', @key], [name => 'text']], old => [['a', 'bc', 1], ['ab', 'c', 2]], new => [['ab', 'c', 2], ['a', 'bc', 3], ['abc', '', 4]],
		changes => '0|1|1', kept => 1);
	diff($way, 'unique values that rows exchange', columns => \@keyed, old => [[1, 'a'], [2, 'b'], [3, 'c']], new => [[1, 'b'], [2, 'a'], [3, 'c']], changes => '2|0|2', kept => 1,
		sql => 'CREATE UNIQUE INDEX ON {d}.items (name)');
	diff($way, 'equal, but not the same', columns => [[id => 'bigint', @key], [n => 'decimal'], [d => 'double'], [j => 'json']],
		old => [[1, '1.0', '0', '{"a": 1}'], [2, '2', '1', '{"a":  2}']], new => [[1, '1.00', '0', '{"a": 1}'], [2, '2', '1', '{"a": 2}']], changes => '0|0|0', kept => 2);
	diff($way, 'a column that the package does not have', columns => \@keyed, old => \@old, new => \@new, changes => '5|2|5', kept => 3, sql => 'ALTER TABLE {d}.items ADD more text');
	diff($way, 'such a column with a value', columns => \@keyed, old => [[1, 'a'], [2, 'b']], new => [[1, 'a'], [2, 'b']], changes => '0|1|0', kept => 1,
		sql => 'ALTER TABLE {d}.items ADD more text; UPDATE {d}.items SET more = name WHERE id = 2', expected => '(1,a,) (2,b,)');
	diff($way, 'such a column with a default', columns => \@keyed, old => [[1, 'a'], [2, 'b']], new => [[1, 'a'], [2, 'b']], changes => '2|0|2', kept => 0,
		sql => "ALTER TABLE {d}.items ADD more text; ALTER TABLE {d}.items ALTER more SET DEFAULT 'x'", expected => '(1,a,x) (2,b,x)');
	diff($way, 'big values', columns => \@keyed, old => [[1, 'x' x 100_000], [2, 'y' x 100_000]], new => [[1, 'x' x 100_000], [2, 'z' x 100_000]], changes => '0|1|0', kept => 1);
	diff($way, 'everything goes', columns => \@keyed, old => \@old, new => [[100, 'x']], changes => '10|0|1', kept => 0);
}

# --- what comes while the package waits --------------------------------------------------------------------

# A slot, or a publication of all tables, that was not there when the swap was planned: it is seen
# under the lock, and the package is planned anew.
for my $way ('inside', 'before')
{
	for my $new ([slot => "SELECT 1 FROM pg_create_logical_replication_slot('midway', 'pgoutput')", "SELECT pg_drop_replication_slot('midway')", 'database has logical replication slots',
			"SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'midway'"],
		[publication => 'CREATE PUBLICATION midway FOR ALL TABLES', 'DROP PUBLICATION midway', 'table is published', "SELECT count(*) FROM pg_publication WHERE pubname = 'midway'"])
	{
		my ($name, $create, $drop, $reason, $is_there) = @$new;
		my $d = dataset($way);
		my ($reader, $other) = map { session($node) } 1, 2;
		my $what = "$name midway, $way";

		one($node, "ALTER TABLE $d.items REPLICA IDENTITY FULL");
		$reader->run("BEGIN; SELECT count(*) FROM $d.items");
		my $id = start_package($node, make_package(tables => [items(\@new)]), $d, with($way));
		wait_for($node, "SELECT count(*) > 0 FROM pg_locks WHERE relation = '$d.items'::regclass AND mode = 'AccessExclusiveLock' AND NOT granted");
		$other->send($create);
		wait_for($node, $is_there, 1);
		$reader->run('COMMIT');
		is(wait_package($node, $id), 'loaded', "$what: loaded");
		is($other->answer, $name eq 'slot' ? 1 : '', "$what: it is made");
		is(one($node, "SELECT detail LIKE '40001%' FROM loader.events WHERE package_id = $id AND kind = 'retry'"), 't', "$what: planned anew");
		is(reasons($id), $reason, "$what: not swapped");
		is(contents($d), text(@new), "$what: contents");
		is(counts($id), $counts{diff}, "$what: as differences");
		is(one($node, "SELECT count(*) FROM pg_class WHERE relnamespace = 'loader_swap'::regnamespace"), 0, "$what: no swap heap is left");
		one($node, $drop);
		$_->end for $reader, $other;
	}
}

# --- a subscriber --------------------------------------------------------------------------------------------

{
	my $subscriber = new_node('subscriber', '', bare => 1);
	my $d = 'published';
	my @big = map { [$_, $_ % 3 ? "row $_" : join('', map { sprintf('%08x', $_ * 7919) } 1 .. 4000)] } 1 .. 300;
	# one table with a replica identity, and one as dlt makes them
	my $text = "SELECT count(*), md5(string_agg(i::text, ',' ORDER BY id)), (SELECT string_agg(v::text, ',') FROM $d.plain) FROM $d.items i";
	my $table = sub {
		my ($v) = @_;
		return items([map { [$_->[0] + 20 * $v, $_->[0] % 5 == $v ? "version $v" : $_->[1]] } @big]),
			{name => 'plain', disposition => 'replace', columns => [[v => 'bigint']], rows => [[$v]]};
	};
	my $same = sub {
		my ($what) = @_;

		$node->wait_for_catchup('subscriber');
		is(one($subscriber, $text), one($node, $text), "subscriber: $what");
	};
	my $id;

	run_package($node, make_package(tables => [$table->(0)]), $d, @lou);
	one($node, "ALTER TABLE $d.items ADD PRIMARY KEY (id); CREATE PUBLICATION published FOR TABLE $d.items, $d.plain", @lou);
	one($subscriber, "CREATE SCHEMA $d; CREATE TABLE $d.items (id bigint PRIMARY KEY, name varchar); CREATE TABLE $d.plain (v bigint)");
	one($subscriber, sprintf("CREATE SUBSCRIPTION subscriber CONNECTION '%s' PUBLICATION published", $node->connstr . ' dbname=postgres'));
	wait_for($subscriber, "SELECT bool_and(srsubstate IN ('r', 's')) FROM pg_subscription_rel");
	$same->('what there was');
	for my $way ('inside', 'before')
	{
		$id = run_package($node, make_package(tables => [$table->($way eq 'inside' ? 1 : 2)]), $d, with($way));
		is(reasons($id), 'table is published', "subscriber, $way: not swapped");
		$same->("replaced, $way");
		$id = run_package($node, make_package(tables => [$table->(3)]), $d, with($way, arguments => {replace_strategy => 'staging-optimized'}));
		$same->("replaced by another strategy, $way");
	}
	one($node, 'ALTER TABLE published.items REPLICA IDENTITY NOTHING', @lou);
	is(reasons(run_package($node, make_package(tables => [$table->(1)]), $d, @lou)), 'table is published and has no replica identity', 'subscriber: truncated');
	$same->('truncated and filled again');
	one($node, 'ALTER TABLE published.items REPLICA IDENTITY FULL', @lou);
	one($node, 'ALTER PUBLICATION published DROP TABLE published.items, published.plain', @lou);
	is(reasons(run_package($node, make_package(tables => [$table->(4)]), $d, @lou)), 'database has logical replication slots', 'the slot is reason enough');
	one($subscriber, 'DROP SUBSCRIPTION subscriber');
	is(reasons(run_package($node, make_package(tables => [$table->(0)]), $d, @lou)), '', 'without them it is swapped again');
	is(one($node, "SELECT count(*) FROM $d.items"), 300, 'and has the rows');
	$subscriber->stop;
}

$node->stop;
done_testing();
