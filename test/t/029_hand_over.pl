# test/t/029_hand_over.pl: a transaction that keeps a queued package's lock, while the package in
# front of it ends, must not leave the queue without anybody to start it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use LoaderTest;
use Test::More;

my $node = new_node('main', 'loader.max_workers = 1');
my @items = ([id => 'bigint'], [name => 'text']);

sub start_one
{
	my ($dataset) = @_;

	return start_package($node, make_package(tables => [{name => 'items', columns => \@items, rows => [[1, 'a']]}]), $dataset);
}

one($node, 'CREATE SCHEMA front; CREATE TABLE front.items (id bigint, name text)');
for my $case (['loader_cancel', 'COMMIT', 'cancelled'], ['loader_cancel', 'ROLLBACK', 'loaded'], ['loader_forget', 'COMMIT', undef], ['loader_forget', 'ROLLBACK', 'loaded'])
{
	my ($function, $end, $state) = @$case;
	my $name = lc "${function}_$end";
	my ($lock, $open) = (session($node), session($node));

	$lock->run('BEGIN; LOCK front.items');
	my $front = start_one('front');
	wait_for($node, "SELECT count(*) FROM loader.running() WHERE package_id = $front", 1);
	my ($p, $q) = map { start_one("${name}_$_") } 1, 2;
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator'", 1);
	$open->run("BEGIN; SELECT $function($p)");
	$lock->run('COMMIT');
	wait_for($node, "SELECT state FROM loader.packages WHERE package_id = $front", 'loaded');
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'loader coordinator'", 0);
	$open->run($end);
	$_->end for $lock, $open;
	# nobody calls loader_wait, loader_scan or loader_start from here on
	wait_for($node, "SELECT state FROM loader.packages WHERE package_id = $q", 'loaded');
	pass("$name: the other one is loaded");
	if (defined $state)
	{
		wait_for($node, "SELECT state FROM loader.packages WHERE package_id = $p", $state);
		pass("$name: this one is $state");
	}
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'loader%'", 0);
}

done_testing();
