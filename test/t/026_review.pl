# test/t/026_review.pl: names that are no text of the database, many packages in one scan, the same
# load_id twice, a directory that is closed.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderCrash;
use LoaderTest;
use File::Path qw(make_path);
use Test::More;

my $top = packages_dir();
my $row = 0;
# A backend may then have 64 descriptors, and a third of those beside its own files.
my $node = new_node('main', 'max_files_per_process = 64');

sub scan_sql
{
	my ($dir, $dataset) = @_;

	return 'SELECT loader_scan(' . quote_literal("$top/$dir") . ", '$dataset')";
}

# A package of one row, each with another.
sub package_in
{
	my ($dir, $load_id) = @_;

	make_path("$top/$dir");
	$row++;
	return items_package($row, $row, dir => "$top/$dir", load_id => $load_id);
}

# The ids that a scan returned, and what it said; the packages are waited for.
sub scan
{
	my ($dir, $dataset) = @_;
	my ($rc, $out, $said) = try_psql($node, scan_sql($dir, $dataset));

	die $said if $rc != 0;
	wait_package($node, $_) for split /\n/, $out;
	return ([split /\n/, $out], $said);
}

# --- names ---------------------------------------------------------------------------------------

{
	package_in('names', '1700000001.5');
	package_in('names', '1700000002.5');
	rename("$top/names/1700000002.5", "$top/names/1700000002.\xff5") or die $!;
	my ($ids, $said) = scan('names', 'names');
	is(scalar @$ids, 1, 'beside a directory whose name is no text');
	like($said, qr{WARNING:  22021: skipped "\Q$top\E/names/1700000002\.\?5": path "\Q$top\E/names/1700000002\.\?5" is not valid in the database's encoding UTF8\nHINT:  Rename it\.},
		'which is a WARNING, in characters');

	my $path = package_in('names', '1700000003.5');
	my ($job) = glob "$path/new_jobs/items.*";
	(my $bad = $job) =~ s/items\./items.\xc3\xa4/;
	rename($job, $bad) or die $!;
	is((scan('names', 'names'))[0][0], one($node, "SELECT package_id FROM loader.packages WHERE load_id = '1700000003.5'"),
		'a job file beyond ASCII in a UTF8 database');
	is(one($node, "SELECT count(*) FROM loader.jobs WHERE job_id LIKE 'items.\xc3\xa4%'"), 1, 'is stored as it is named');

	$node->safe_psql('postgres', q{CREATE DATABASE latin ENCODING LATIN1 LOCALE 'C' TEMPLATE template0});
	$node->safe_psql('latin', 'CREATE EXTENSION loader');
	my ($rc, $out, $said_latin) = try_psql($node, "SELECT loader_register('$path', 'latin')", database => 'latin');
	like($said_latin, qr/ERROR:  0A000: job file name "items\.\?\?\S+" has characters beyond ASCII and the database's encoding is LATIN1/, 'and refused in another');
	rename($bad, $job) or die $!;
	($rc, $out, $said_latin) = try_psql($node, "SELECT loader_register('$path', 'latin')", database => 'latin');
	is($rc, 0, 'which takes it under another name') or diag $said_latin;
}

# --- many packages, one load_id twice ------------------------------------------------------------

{
	package_in('many', sprintf('17000001%02d.5', $_)) for 0 .. 39;
	my ($ids, $said) = scan('many', 'many');
	is($said, '', 'more packages than a backend may have descriptors');
	is(scalar @$ids, 40, 'are all started');
	is(one($node, "SELECT string_agg(DISTINCT state, ',') FROM loader.packages WHERE dataset = 'many'"), 'loaded', 'and loaded');

	package_in("twice/$_", '1700000200.5') for 1 .. 3;
	package_in('twice/1', '1700000201.5');
	($ids, $said) = scan('twice', 'twice');
	is(one($node, "SELECT string_agg(load_id, ' ' ORDER BY load_id) FROM loader.packages WHERE package_id IN (" . join(', ', @$ids) . ')'),
		'1700000200.5 1700000201.5', 'packages of two load_ids');
	is(scalar @$ids, 2, 'in four directories: each id once');
}

# --- a directory that is closed ------------------------------------------------------------------

SKIP:
{
	skip 'root reads everything', 1 if $> == 0;
	package_in('closed/inner', '1700000300.5');
	chmod 0, "$top/closed/inner";
	my (undef, $said) = scan('closed', 'closed');
	chmod 0755, "$top/closed/inner";
	like($said, qr{WARNING:  42501: could not look into "(\Q$top\E/closed/inner)": Permission denied
DETAIL:  The server runs as operating system user "([^"]+)", which may not enter or read "\1"\.
HINT:  Give that user access: chmod g\+rx on "\1" and g\+r on the files in it, with a group that "\2" is in \(a running server sees new groups only after a restart\), or setfacl -m u:\2:rx\.}, 'a closed directory: who, where, what to do');
}

done_testing();
