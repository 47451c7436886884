# test/t/028_many.pl: many packages of several roles at once, some cancelled on the way and resumed:
# in the end all are loaded, each row is there once, and nothing is left over.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderTest;
use Test::More;

use constant {ROLES => 3, PACKAGES => 30, ROWS => 200, SEED => 7};

# Package I belongs to one of the roles, goes into one of that role's two datasets, and has a table
# that all packages of the dataset have and one that only some have.
sub package_of
{
	my ($i) = @_;
	my $role = 1 + $i % ROLES;
	my @tables = map { {name => $_, columns => [[id => 'bigint'], [name => 'text']],
			rows => [map { [$i * 1000 + $_, 'x'] } 1 .. ROWS]} } "t" . $i % 4, 'common';

	return {role => $role, dataset => "d$role" . ($i % 2 ? 'a' : 'b'),
		path => make_package(schema => "s$role", tables => \@tables)};
}

sub run_many
{
	my ($max_workers) = @_;
	my $node = new_node("max$max_workers", "loader.max_workers = $max_workers\nloader.retry_delay = '10ms'");
	my @packages = map { package_of($_) } 1 .. PACKAGES;
	my %session;

	for my $role (1 .. ROLES)
	{
		one($node, "CREATE ROLE r$role LOGIN; GRANT pg_read_server_files TO r$role; GRANT CREATE ON DATABASE postgres TO r$role");
		grant_loader($node, "r$role");
		$session{$role} = session($node, user => "r$role");
	}
	srand(SEED);
	for my $p (@packages)
	{
		my $atomic = rand() < 0.8 ? 'true' : 'false';

		$session{ $p->{role} }->send('SELECT loader_start(' . quote_literal($p->{path}) . ", '$p->{dataset}', atomic => $atomic)");
		one($node, 'SELECT loader_cancel(package_id) FROM loader.package ORDER BY random() LIMIT 1') if rand() < 0.2;
	}
	$_->answer for values %session;

	# whatever was cancelled is resumed, until nothing is left to resume
	wait_for($node, q{SELECT count(*) FILTER (WHERE loader_resume(package_id)) = 0 AND
		(SELECT count(*) FROM loader.package WHERE state <> 'loaded') = 0
		FROM loader.package WHERE state IN ('cancelled', 'failed')});
	is(one($node, 'SELECT count(*) FROM loader.packages'), PACKAGES, "$max_workers at a time: all are loaded");
	for my $dataset (map { ("d${_}a", "d${_}b") } 1 .. ROLES)
	{
		my $rows = ROWS * grep { $_->{dataset} eq $dataset } @packages;

		is(one($node, "SELECT count(*) || ' ' || count(DISTINCT id) FROM $dataset.common"), "$rows $rows", "$max_workers at a time: $dataset, each row once");
	}
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'loader%'", 0);
	is(one($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0, "$max_workers at a time: no lock is left");
	$_->end for values %session;
	$node->stop;
	return;
}

run_many($_) for 1, 3;
done_testing();
