# test/t/041_airbyte_doc.pl: docs/airbyte.md, block by block: what it says is what comes out. Its
# Python is run where PyAirbyte is: test/airbyte/test_walk_through.py.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use LoaderConnector;
use LoaderTest;
use Test::More;

my $connector = LoaderConnector::available();
my $node = new_node('main', '', bare => 1);
my $home = packages_dir();
my $page = do { local (@ARGV, $/) = source_dir() . '/docs/airbyte.md'; <> };
my ($psql, $timer, $in, $out, $marks) = (undef, undef, '', '', 0);

# What stands in the page for the reader's own.
sub place
{
	my ($text) = @_;
	my ($host, $port) = ($node->host, $node->port);

	$text =~ s/"host": "localhost", "port": 5432/"host": "$host", "port": $port/;
	$text =~ s,/srv/airbyte,$home,g;
	return $text;
}

# One session for all SQL that etl runs. Errors come out among the results.
sub run_sql
{
	my ($sql) = @_;
	my $mark = 'mark ' . ++$marks . "\n";

	$timer ||= IPC::Run::timeout($LoaderTest::limit);
	$timer->start($LoaderTest::limit);
	$psql ||= IPC::Run::start(
		['sh', '-c', 'cd "$0" && exec "$@" 2>&1', $home, 'psql', '-Xq', '-P', 'pager=off', '-f', '-',
			'-d', $node->connstr('shop') . ' user=etl'],
		'<', \$in, '>', \$out, $timer);
	$in .= "$sql\\echo $mark";
	$psql->pump until $out =~ /$mark\z/;
	my $result = $out =~ s/$mark\z//r;
	$out = '';
	return $result;
}

sub run_shell
{
	my ($text) = @_;
	my $result = '';

	IPC::Run::run(['bash', '-e'], '<', \"cd '$home'\n$text", '>', \$result, '2>&1',
		IPC::Run::timeout($LoaderTest::limit)) or $result .= "exit status $?\n";
	return $result;
}

$node->safe_psql('postgres', 'CREATE DATABASE shop');
my ($output, $before, $language, %count) = ('', '', '');

while ($page =~ /\G(.*?)^```(\w+)\n(.*?)^```$/gms)
{
	my ($prose, $block) = ($1, $2);
	my $text = place($3);
	my ($section) = "$before$prose" =~ /.*^#+ ([^\n]*)/ms;

	$before = "## $section\n";
	$count{$block}++;
	if ($block eq 'json')
	{
		my ($name) = $prose =~ /.*`(\w+\.jsonl?)`/s;

		open(my $fh, '>:raw', "$home/$name") or die "$home/$name: $!";
		print $fh $text;
		close $fh or die "$home/$name: $!";
	}
	elsif ($block eq 'sql')
	{
		# the first is the superuser's
		$output = $count{sql} == 1 ? $node->safe_psql('shop', $text) : run_sql($text);
		unlike($output, qr/^(psql:|ERROR)/m, "$section: no error");
	}
	elsif ($block eq 'sh')
	{
		$output = $connector || $text !~ /destination-loader/ ? run_shell($text) : undef;
	}
	elsif ($block eq 'text' && $language ne 'python')
	{
	  SKIP:
		{
			skip 'destination-loader is not installed: libpq\'s headers were missing', 1 unless defined $output;
			is($output, $text, "$section: prints what it says");
		}
	}
	$language = $block unless $block eq 'text';
}
is($count{text}, 9, 'pages without results show nothing');
$in .= "\\q\n";
$psql->finish;
done_testing();
