# test/t/000_module.pl: the packages that LoaderTest makes are packages, in each format.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderTest;
use Test::More;

my $node = new_node('main');
my @columns = ([id => 'bigint', {nullable => JSON::PP::false}], [name => 'text'], [price => 'decimal'],
	[good => 'bool'], [seen => 'timestamp']);
my @rows = ([1, "it's", '1.50', 'true', '2024-05-06T07:08:09+00:00'], [2, undef, undef, undef, undef],
	[3, "back\\slash \"quoted\"\nsecond line", '-3', 'false', '2024-05-06T07:08:09Z']);

for my $format (qw(insert_values csv jsonl))
{
	my $path = make_package(schema => $format, format => $format,
		tables => [{name => 'items', columns => \@columns, rows => \@rows, jobs => 2}]);

	is(load($node, $path, $format), 'loaded', "$format loads");
	is(one($node, "SELECT id, name, price, good, seen FROM $format.items ORDER BY id"),
		"1|it's|1.500000000|t|2024-05-06 07:08:09+00\n2||||\n"
			. "3|back\\slash \"quoted\"\nsecond line|-3.000000000|f|2024-05-06 07:08:09+00",
		"$format has the values");
	is(one($node, "SELECT count(*) FROM loader.jobs j JOIN loader.packages p USING (package_id) WHERE dataset = '$format'"),
		2, "$format is spread over two files");
}
is_deeply([map { load($node, $_, 'tree') } scenario_packages('append_nested')], [('loaded') x 3], 'packages of the oracle load');

my $error = error_of($node, "SELECT loader_start('/nowhere', dataset => 'x')");
is_deeply([@$error{qw(sqlstate message)}], ['58P01', '"/nowhere" does not exist'], 'errors come in parts');
like($error->{hint}, qr/^Name the absolute path/, 'with hint');

done_testing();
