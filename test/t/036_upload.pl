# test/t/036_upload.pl: uploads and archives: what is taken, what is refused, and what is left of it
# by crashes, rollbacks, dropped roles, and time.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Digest::SHA qw(sha256_hex);
use File::Basename qw(basename dirname);
use File::Find ();
use File::Path qw(make_path);
use LoaderArchive;
use LoaderCrash;
use LoaderTest;
use Test::More;

my $node = new_node('main', "loader.max_workers = 4\nrestart_after_crash = on");
my $top = packages_dir();
my $spool = $node->data_dir . '/loader_spool';
my $n = 0;

one($node, q{
	CREATE ROLE etl LOGIN;
	CREATE ROLE reader LOGIN;
	GRANT pg_read_server_files TO reader;
	GRANT CREATE ON DATABASE postgres TO etl, reader;});
grant_loader($node, 'etl, reader');

# What is in the spool, without directories; of one role if its name is given.
sub spooled
{
	my ($role) = @_;
	my $oid = $role ? one($node, "SELECT '$role'::regrole::oid") : '';
	my @found;

	return '' unless -d $spool;
	File::Find::find({no_chdir => 1, wanted => sub {
		push @found, substr($_, length $spool) if -f $_ && (!$role || m,/$oid/,);
	}}, $spool);
	return join(' ', sort @found);
}

# The directories of a role.
sub role_dirs
{
	my ($role) = @_;

	return map { basename($_) } glob("$spool/*/" . one($node, "SELECT '$role'::regrole::oid") . '/{,.}[!.]*');
}

# Nothing is left, once who removes it has come by.
sub nothing_spooled
{
	my ($role, $name) = @_;

	LoaderCrash::wait_until('the spool to be swept', sub { !role_dirs($role) });
	is(join(' ', role_dirs($role)), '', $name);
	return;
}

sub call
{
	my ($sql, %option) = @_;

	return one($node, $sql, user => 'etl', %option);
}

sub chunk_sql
{
	my ($id, $file, $offset, $data, @complete) = @_;

	return "SELECT loader_upload('$id', '$file', $offset, '\\x" . unpack('H*', $data) . "'"
		. (@complete ? ', ' . length($complete[0]) . ", '\\x" . sha256_hex($complete[0]) . "'" : '') . ')';
}

# Bring a file in chunks of that size; returns what the last call says.
sub upload
{
	my ($id, $file, $bytes, $size, %option) = @_;
	my $there = 0;
	my @sql;

	$size ||= 100_000;
	for (my $at = 0; $at == 0 || $at < length $bytes; $at += $size)
	{
		push @sql, chunk_sql($id, $file, $at, substr($bytes, $at, $size), $at + $size >= length $bytes ? $bytes : ());
	}
	$there = (split /\n/, call(join('; ', @sql), %option))[-1];
	return $there;
}

# All files of a package directory.
sub upload_package
{
	my ($id, $path, %option) = @_;

	for my $m (package_members($path))
	{
		upload($id, $m->{name}, $m->{data}, 1000, %option) if ($m->{type} || 0) != 5;
	}
	return;
}

sub register_sql
{
	my ($source, $dataset) = @_;

	return 'SELECT loader_register(' . quote_literal($source) . ', ' . quote_literal($dataset || 'd') . ')';
}

sub sweep
{
	make_path("$top/empty");
	one($node, 'SELECT loader_scan(' . quote_literal("$top/empty") . ')');
	return;
}

sub set_retention
{
	my ($minutes) = @_;

	# workers that are about to leave sweep, too, as they were told before
	wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'loader %'}, 0);
	$node->append_conf('postgresql.conf', "loader.upload_retention = $minutes");
	$node->reload;
	wait_for($node, "SELECT setting FROM (SELECT count(*) FROM loader.running()) r, pg_settings WHERE name = 'loader.upload_retention'", $minutes);
	return;
}

# --- archives that are taken ----------------------------------------------------------------------------

for my $case (['tar', sub { $_[0] }], ['tar.gz', \&gzip], ['tgz', \&gzip], ['tar.zst', \&zstd],
	# told by the bytes, not by the name
	['tar', \&gzip])
{
	my ($ending, $pack) = @$case;
	my $name = 'a' . ++$n;
	my $bytes = $pack->(tar(package_members(items_package(1, 500))));
	my $path = spew("$top/$name.$ending", $bytes);

	is(load($node, $path, "disk_$name", user => 'reader'), 'loaded', "$name.$ending on disk: loaded");
	is(one($node, "SELECT count(*) FROM disk_$name.items"), 500, "$name.$ending on disk: rows");
	is(one($node, "SELECT source FROM loader.packages WHERE dataset = 'disk_$name'"), $path, "$name.$ending on disk: its source");
	nothing_spooled('reader', "$name.$ending on disk: its copy is removed");
	ok(-f $path, "$name.$ending on disk: the archive is not");
	is(upload($name, "x.$ending", $bytes, 7000), length $bytes, "$name.$ending: uploaded");
	is(load($node, "upload:$name", "up_$name", user => 'etl'), 'loaded', "$name.$ending: loaded");
	is(one($node, "SELECT count(*) FROM up_$name.items"), 500, "$name.$ending: rows");
	nothing_spooled('etl', "$name.$ending: removed");
}

# as GNU tar and others make it: ./ before the names, and what dlt leaves there
{
	my $path = items_package(1, 3);
	my $load_id = basename($path);
	my @members = map { {%$_, name => "./$_->{name}"} } package_members($path);

	push @members, {name => "./$load_id/schema_updates.json", data => '{}'}, {name => "./$load_id/started_jobs/", type => 5};
	spew("$top/gnu.tar", tar({name => './', type => 5}, @members) . "\0" x 8192);
	is(load($node, "$top/gnu.tar", 'gnu', user => 'reader'), 'loaded', 'with ./ before the names: loaded');
}
if (-x '/bin/tar' || -x '/usr/bin/tar')
{
	my $path = items_package(1, 3);

	system('tar', '-C', dirname($path), '-czf', "$top/real.tar.gz", basename($path)) == 0 or die 'tar';
	is(load($node, "$top/real.tar.gz", 'real', user => 'reader'), 'loaded', 'made by tar: loaded');
}
nothing_spooled('reader', 'and removed');

# a worker that was killed after the commit, and before it said that the source is needed no more
{
	upload_package('unmarked', items_package(1, 3));
	my ($dir) = glob("$spool/*/" . one($node, "SELECT 'etl'::regrole::oid") . '/unmarked');

	# cp keeps times: what a sweep finds later is the upload as it was when its package was loaded
	system('cp', '-a', $dir, "$top/unmarked") == 0 or die 'cp';
	is(load($node, 'upload:unmarked', 'unmarked', user => 'etl'), 'loaded', 'an upload is loaded');
	nothing_spooled('etl', 'and removed');
	system('cp', '-a', "$top/unmarked", $dir) == 0 or die 'cp';
	sweep();
	nothing_spooled('etl', 'and so it is without a mark');
	upload_package('unmarked', items_package(1, 3));
	sweep();
	is(join(' ', role_dirs('etl')), 'unmarked', 'a new one of that name stays');
	is(load($node, 'upload:unmarked', 'again', user => 'etl'), 'loaded', 'and is loaded');
	nothing_spooled('etl', 'and removed, too');
}

# a package that fails keeps what it is read from
{
	my $path = make_package(format => 'csv', tables => [{name => 'items', columns => [[id => 'bigint']], file => "id\nx\n"}]);
	my $archive = spew("$top/bad_row.tar", tar(package_members($path)));

	upload('bad_row', 'bad_row.tar', tar(package_members($path)));
	for my $case ([$archive, 'reader'], ['upload:bad_row', 'etl'])
	{
		my ($source, $user) = @$case;
		my $id = start_package($node, $source, "bad_row_$user", user => $user);

		is(wait_package($node, $id), 'failed', "$source: a bad row fails");
		is(one($node, "SELECT detail FROM loader.packages WHERE package_id = $id"),
			'File "items.0000000001.0.csv", line 2, column "id", value "x".', "$source: and is told");
		sweep();
		is(scalar role_dirs($user), 1, "$source: it stays, as it could be resumed");
		is(call("SELECT loader_resume($id)", user => $user), 't', "$source: it is resumed");
		is(wait_package($node, $id), 'failed', "$source: and fails again");
		call("SELECT loader_forget($id)", user => $user);
		nothing_spooled($user, "$source: forgotten, it is removed");
	}
}

# --- archives that are refused ----------------------------------------------------------------------------

my $good = items_package(1, 100);
my $load_id = basename($good);
my @good = package_members($good);
my $whole = tar(@good);
my @odd = (
	['a symbolic link', '22023', qr/is a symbolic link$/, tar(@good, {name => "$load_id/new_jobs/items.x.0.csv", type => 2, link => '/etc/passwd'})],
	['a link for a directory', '22023', qr/is a symbolic link$/, tar({name => $load_id, type => 2, link => $top}, @good)],
	['a hard link', '22023', qr/is a hard link$/, tar(@good, {name => "$load_id/new_jobs/items.x.0.csv", type => 1, link => "$load_id/schema.json"})],
	['a device', '22023', qr/is neither a file nor a directory$/, tar(@good, {name => "$load_id/new_jobs/items.x.0.csv", type => 3})],
	['a pipe', '22023', qr/is neither a file nor a directory$/, tar(@good, {name => "$load_id/new_jobs/items.x.0.csv", type => 6})],
	['an absolute path', '42602', qr/it is an absolute path$/, tar(@good, {name => "$top/evil"})],
	['a way out', '42602', qr/leads out of the archive$/, tar(@good, {name => '../evil'})],
	['a way out from below', '42602', qr/no package has such a file$/, tar(@good, {name => "$load_id/../../evil"})],
	['a way out among the jobs', '42602', qr/^invalid job file name "\.\.\/\.\.\/evil"/, tar(@good, {name => "$load_id/new_jobs/../../evil"})],
	['a backslash', '42602', qr/it has a backslash$/, tar(@good, {name => "$load_id\\evil"})],
	['a control character', '42602', qr/it has a control character$/, tar(@good, {name => "$load_id/new_jobs/items.\n.0.csv"})],
	['an unknown file', '42602', qr/no package has such a file$/, tar(@good, {name => "$load_id/run.sh"})],
	['a file beside the directory', '42602', qr/it is not in the package's directory$/, tar(@good, {name => 'README'})],
	['a hidden directory', '42602', qr/it begins with a dot$/, tar({name => '.unfinished/schema.json'}, @good)],
	['two packages', '22023', qr/more than one directory: "$load_id" and "2.2"$/, tar(@good, package_members($good, load_id => '2.2'))],
	['a file twice', '22023', qr/is in the archive more than once$/, tar(@good, $good[-1])],
	['a file twice, once with ./', '22023', qr/is in the archive more than once$/, tar(@good, {%{ $good[-1] }, name => "./$good[-1]{name}"})],
	['a load that has begun', '22023', qr/^dlt's own loader has begun/, tar(@good, {name => "$load_id/completed_jobs/items.x.0.csv"})],
	['nothing', '22023', qr/has no package in it$/, tar()],
	['only directories', '22023', qr/has no package in it$/, tar(@good[0, 1])],
	['no schema', '22023', qr/is not a package that can be loaded$/, tar(grep { $_->{name} !~ /schema/ } @good)],
	['no end', 'XX001', qr/^archive ends too early$/, substr($whole, 0, -1024)],
	['half an end', 'XX001', qr/^archive ends too early$/, substr($whole, 0, -512)],
	['half a file', 'XX001', qr/^archive is damaged: Truncated tar archive/, substr($whole, 0, -1536)],
	['bytes after the end', 'XX001', qr/^archive is followed by other bytes$/, $whole . 'x'],
	['two archives', 'XX001', qr/^archive is followed by other bytes$/, $whole . $whole],
	['a cut gzip stream', 'XX001', qr/^gzip data ends too early$/, substr(gzip($whole), 0, -20)],
	['bytes after gzip', 'XX001', qr/^there are bytes after the end of the gzip data$/, gzip($whole) . 'and more'],
	['a damaged gzip stream', 'XX001', qr/^gzip data is damaged/, do { my $b = gzip($whole); substr($b, -6, 1) ^= 'x'; $b }],
	['a cut zstd stream', 'XX001', qr/^zstd data ends too early$/, substr(zstd($whole), 0, -20)],
	['another format', 'XX001', qr/^archive is damaged: Unrecognized archive format/, "PK\3\4" . 'x' x 2000],
	['no bytes', 'XX001', qr/^archive is damaged/, '']);

for my $case (@odd)
{
	my ($what, $sqlstate, $message, $bytes) = @$case;
	my $path = spew("$top/odd.tar.gz", $bytes);
	my $e = error_of($node, register_sql($path), user => 'reader');

	is($e->{sqlstate}, $sqlstate, "$what: SQLSTATE");
	like($e->{message}, $message, "$what: message");
	upload('odd', 'odd.tar.gz', $bytes);
	$e = error_of($node, register_sql('upload:odd'), user => 'etl');
	is($e->{sqlstate}, $sqlstate, "$what, uploaded: SQLSTATE");
	like($e->{message}, $message, "$what, uploaded: message");
	is(call("SELECT loader_upload_drop('odd')"), 't', "$what, uploaded: dropped");
}
is(scalar(grep { !/^\.archive/ } role_dirs('reader')), 0, 'nothing half unpacked is left of them');
is(scalar role_dirs('reader'), 1, 'one was an archive, if no package');
is(join(' ', role_dirs('etl')), '', 'nor of the uploaded ones');
ok(!-e "$top/evil" && !-e "$spool/evil" && !-e dirname($spool) . '/evil', 'nothing was written elsewhere');
set_retention(0);
sweep();
nothing_spooled('reader', 'the rest is swept');
set_retention(1440);

# bombs
one($node, "ALTER ROLE reader SET loader.upload_limit = '1MB'");
my $e = error_of($node, register_sql(spew("$top/bomb.tar.gz",
	gzip(tar(@good, {name => "$load_id/new_jobs/items.b.0.csv", data => "\n" x 50_000_000})))), user => 'reader');
is("$e->{sqlstate} $e->{message}", '53400 loader.upload_limit of role "reader" is exceeded', 'a bomb is stopped at the limit');
is(join(' ', role_dirs('reader')), '', 'and nothing of it is left');
$e = error_of($node, register_sql(spew("$top/many.tar.gz",
	gzip(tar(@good, map { {name => "$load_id/new_jobs/items.$_.0.csv"} } 1 .. 5000)))), user => 'reader');
is($e->{sqlstate}, '53400', 'so are many empty files');
$e = error_of($node, register_sql(spew("$top/many.tar.gz", gzip(tar(@good, map { {name => "$load_id/", type => 5} } 1 .. 5000)))),
	user => 'reader');
is($e->{sqlstate}, '53400', 'and many directories');
$e = error_of($node, register_sql(spew("$top/skip.tar.gz",
	gzip(tar(@good, {name => "$load_id/schema_updates.json", data => "\n" x 70_000_000})))), user => 'reader');
is("$e->{sqlstate} $e->{message}", "22023 \"$load_id/schema_updates.json\" in the archive is too large for what it is",
	'and a large file that would be skipped');
is(join(' ', role_dirs('reader')), '', 'nothing of them is left either');
one($node, 'ALTER ROLE reader RESET loader.upload_limit');

# who may read it
$e = error_of($node, register_sql("$top/gnu.tar"), user => 'etl');
is("$e->{sqlstate} $e->{message}", "42501 permission denied to load from \"$top/gnu.tar\"", 'an archive is read by who may read there');
symlink("$top/gnu.tar", "$top/link.tar");
$e = error_of($node, register_sql("$top/link.tar"), user => 'etl');
is($e->{sqlstate}, '42501', 'nor through a link');

# --- an archive that changes -----------------------------------------------------------------------------

my $archive = spew("$top/changes.tar.gz", gzip(tar(package_members(items_package(1, 10, load_id => '5.1')))));
my $id = one($node, register_sql($archive, 'changes'), user => 'reader');
spew($archive, gzip(tar(package_members(items_package(1, 20, load_id => '5.1', dir => "$top/empty")))));
one($node, "SELECT loader_start($id)", user => 'reader');
is(wait_package($node, $id), 'failed', 'an archive that was changed: the package fails');
is(one($node, "SELECT sqlstate, message FROM loader.packages WHERE package_id = $id"),
	"55000|archive \"$archive\" is not the one that was registered", 'and says so');
is(load($node, $archive, 'changes', user => 'reader'), 'loaded', 'registered anew it is loaded');
is(one($node, 'SELECT count(*) FROM changes.items'), 20, 'as it is now');
nothing_spooled('reader', 'both copies are removed');
system('rm', '-r', "$top/empty");

# --- loader_plan, loader_scan ------------------------------------------------------------------------------

$archive = spew("$top/plan.tar", tar(package_members(items_package(1, 10))));
is(one($node, 'SELECT count(*) FROM loader_plan(' . quote_literal($archive) . ", 'plan') WHERE action = 'load'", user => 'reader'), 1, 'a plan of an archive');
is(scalar role_dirs('reader'), 1, 'leaves a copy');
is(load($node, $archive, 'plan', user => 'reader'), 'loaded', 'which a load takes');
nothing_spooled('reader', 'and which goes with it');
one($node, 'SELECT count(*) FROM loader_plan(' . quote_literal($archive) . ", 'plan2')", user => 'reader');
sweep();
is(scalar role_dirs('reader'), 1, 'one that nobody loads stays for a while');
set_retention(0);
sweep();
nothing_spooled('reader', 'and is swept then');
set_retention(1440);

{
	my $dir = "$top/scan";

	make_path($dir, "$top/made");
	items_package(1, 2, load_id => '7.2', dir => $dir);
	spew("$dir/$_->[0].$_->[1]", $_->[2]->(tar(package_members(items_package($_->[3], $_->[3], load_id => $_->[0], dir => "$top/made")))))
		for ['7.1', 'tar.gz', \&gzip, 3], ['7.3', 'tar.zst', \&zstd, 4], ['7.10', 'tar', sub { $_[0] }, 5];
	# one that is being written, and one of another kind
	spew("$dir/.7.4.tar.gz", 'half');
	spew("$dir/7.5.tar.gz.part", 'half');
	spew("$dir/7.6.zip", 'zip');
	spew("$dir/7.7.tar", 'damaged');
	# the same package once more, packed
	spew("$dir/7.2.tar", tar(package_members("$dir/7.2")));
	my $sql = 'SELECT loader_scan(' . quote_literal($dir) . ", 'scan')";
	my ($rc, $out, $said) = try_psql($node, $sql, user => 'reader');
	my @ids = split /\n/, $out;
	is($rc, 0, 'a scan');
	wait_package($node, $_) for @ids;
	is(join(' ', map { one($node, "SELECT load_id || ':' || state FROM loader.packages WHERE package_id = $_") } @ids),
		'7.1:loaded 7.10:loaded 7.2:loaded 7.3:loaded', 'finds archives and directories, by load_id');
	like($said, qr{WARNING:  XX001: skipped "\Q$dir\E/7\.7\.tar": archive is damaged}, 'and warns of one that is none');
	unlike($said, qr/half|7\.[456]/, 'and of no other');
	is(one($node, 'SELECT count(*) FROM scan.items'), 5, 'each row once');
	is(one($node, $sql, user => 'reader'), '', 'the next one finds nothing');
	is(scalar role_dirs('reader'), 1, 'and looks each time at the one that another has brought');
	set_retention(0);
	sweep();
	nothing_spooled('reader', 'whose copy goes with time');
	set_retention(1440);
}

# --- crashes, and going on ---------------------------------------------------------------------------------

{
	my $path = items_package(1, 3000, jobs => 1);
	my ($job) = grep { $_->{name} =~ /new_jobs.*items/ } package_members($path);
	my $half = int(length($job->{data}) / 2);
	my $writer = LoaderCrash->new($node, user => 'etl');

	upload('crash', $_->{name}, $_->{data}) for grep { defined $_->{data} && $_ != $job && $_->{name} ne $job->{name} } package_members($path);
	is($writer->query(chunk_sql('crash', $job->{name}, 0, substr($job->{data}, 0, $half))), $half, 'half a file is there');
	crash($node, $writer->{pid});
	$writer->quit;
	my $there = call("SELECT loader_upload('crash', '$job->{name}', NULL, NULL)");
	is($there, $half, 'and after a crash, too');
	$e = error_of($node, register_sql('upload:crash'), user => 'etl');
	is("$e->{sqlstate} $e->{message} $e->{detail}", "55000 \"upload:crash\" is not complete File \"$job->{name}\" is unfinished.",
		'it is not loaded without the rest');
	is(call(chunk_sql('crash', $job->{name}, $half, substr($job->{data}, $half, 10))), $half + 10, 'the client goes on');
	power_cut($node);
	is(call("SELECT loader_upload('crash', '$job->{name}', NULL, NULL)"), $half + 10, 'and after another crash');
	is(call(chunk_sql('crash', $job->{name}, $half + 10, substr($job->{data}, $half + 10), $job->{data})), length $job->{data}, 'to the end');
	power_cut($node);
	is(call(chunk_sql('crash', $job->{name}, $half + 10, substr($job->{data}, $half + 10), $job->{data})), length $job->{data},
		'an answer that was lost is given again');
	$id = call(register_sql('upload:crash', 'crash'));
	$node->restart;
	call("SELECT loader_start($id)");
	is(wait_package($node, $id), 'loaded', 'after a restart it is loaded');
	is(one($node, 'SELECT count(*) FROM crash.items'), 3000, 'with all rows');
	nothing_spooled('etl', 'and removed');
}

# what a crash leaves of an unpacking, and of a removal
{
	my $dir = "$spool/" . one($node, q{SELECT (SELECT oid FROM pg_database WHERE datname = 'postgres') || '/' || 'reader'::regrole::oid});

	make_path("$dir/.tmp.0123456789abcdef/1.1/new_jobs", "$dir/.gone.upload/1.1");
	spew("$dir/.tmp.0123456789abcdef/1.1/schema.json", '{');
	spew("$dir/.gone.upload/1.1/schema.json", '{');
	is(scalar role_dirs('reader'), 2, 'a crash leaves something');
	sweep();
	nothing_spooled('reader', 'that is swept');
	upload('half', 'half.tar', tar(package_members(items_package(1, 5))));
	make_path("$spool/" . one($node, q{SELECT (SELECT oid FROM pg_database WHERE datname = 'postgres') || '/' || 'etl'::regrole::oid}) . '/half/.tmp/9.9');
	is(load($node, 'upload:half', 'half', user => 'etl'), 'loaded', 'or unpacked over');
	nothing_spooled('etl', 'and removed');
}

# --- two at a time -----------------------------------------------------------------------------------------

{
	my $file = '1.1/new_jobs/items.a.0.csv';
	my @writers = map { LoaderCrash->new($node, user => 'etl') } 1 .. 2;
	my $path = "$spool/" . one($node, q{SELECT (SELECT oid FROM pg_database WHERE datname = 'postgres') || '/' || 'etl'::regrole::oid});

	$writers[$_]->send("DO \$\$ BEGIN FOR i IN 1 .. 300 LOOP PERFORM loader_upload('both', '$file', 0, convert_to(repeat('" . chr(97 + $_)
		. "', 200000 + 100000 * $_), 'UTF8')); END LOOP; END \$\$") for 0 .. 1;
	is($writers[$_]->answer, '', "writer $_ is through") for 0 .. 1;
	my $written = slurp("$path/both/.unfinished/$file");
	ok($written eq 'a' x 200_000 || $written eq 'b' x 300_000, 'two writers do not mix');
	$_->quit for @writers;

	# one that is complete for one session is complete for the other
	my $first = LoaderCrash->new($node, user => 'etl');
	$first->query('BEGIN');
	$first->query(chunk_sql('both', $file, 0, 'id', 'id'));
	is(call(chunk_sql('both', $file, 0, 'id', 'id')), 2, 'without waiting for the transaction of another');
	$first->quit;
	is(call("SELECT loader_upload_drop('both')"), 't', 'it is dropped');
}

# a registration that is not committed keeps sweeps off
{
	my $session = LoaderCrash->new($node, user => 'etl');

	upload_package('slow', items_package(1, 7));
	$session->query('BEGIN');
	$id = $session->query(register_sql('upload:slow', 'slow'));
	set_retention(0);
	sweep();
	is(join(' ', role_dirs('etl')), 'slow', 'what is being registered is not swept');
	$session->send("SELECT loader_upload_drop('slow')");
	like($session->answer, qr/55006/, 'nor dropped by who registers it');
	$session->query('ROLLBACK');
	$session->query('BEGIN');
	$id = $session->query(register_sql('upload:slow', 'slow'));
	my $other = LoaderCrash->new($node, user => 'etl');
	$other->send("SELECT loader_upload_drop('slow')");
	wait_for($node, "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = $other->{pid}", 1);
	$session->query('COMMIT');
	like($other->answer, qr/55006.*"upload:slow" is the source of a package that is not loaded/, 'a drop waits for it, and sees the package');
	$_->quit for $session, $other;
	sweep();
	is(join(' ', role_dirs('etl')), 'slow', 'nor swept as long as the package is there');
	call("SELECT loader_start($id)");
	is(wait_package($node, $id), 'loaded', 'it is loaded');
	nothing_spooled('etl', 'and removed');
	set_retention(1440);
}

# --- time, roles and databases that go ----------------------------------------------------------------------

{
	my $db = one($node, q{SELECT oid FROM pg_database WHERE datname = 'postgres'});
	my $dir = "$spool/$db/" . one($node, q{SELECT 'etl'::regrole::oid});
	my $old = time() - 2 * 24 * 60 * 60;

	upload('young', '1.1/schema.json', '{');
	call(chunk_sql('old', '1.1/schema.json', 0, '{'));
	upload_package('cancelled', items_package(1, 2));
	upload_package('registered', items_package(1, 2));
	call(register_sql('upload:registered', 'registered'));
	call('SELECT loader_cancel(' . call(register_sql('upload:cancelled', 'cancelled')) . ')');
	utime($old, $old, "$dir/$_") or die "$_: $!" for qw(old cancelled registered);
	sweep();
	is(join(' ', sort(role_dirs('etl'))), 'registered young', 'what is old is swept, unless a package needs it');
	utime($old, $old, "$dir/young") or die "young: $!";
	call(chunk_sql('young', '1.1/new_jobs/items.a.0.csv', 0, 'id'));
	sweep();
	is(join(' ', sort(role_dirs('etl'))), 'registered young', 'a chunk makes it young again');
	is(sprintf('%04o', (stat "$_->[0]")[2] & 07777), $_->[1], "mode of $_->[0]")
		for map { [$_, -d $_ ? '0700' : '0600'] } $spool, "$spool/$db", $dir, "$dir/young", "$dir/young/1.1", "$dir/young/1.1/schema.json";
	call("SELECT loader_upload_drop('young')");

	one($node, q{CREATE ROLE gone LOGIN});
	grant_loader($node, 'gone');
	upload('x', '1.1/schema.json', '{', 10, user => 'gone');
	my $gone = "$spool/$db/" . one($node, q{SELECT 'gone'::regrole::oid});
	ok(-d "$gone/x", 'a role has an upload');
	one($node, 'DROP OWNED BY gone; DROP ROLE gone');
	sweep();
	ok(!-d $gone, 'which goes after the role');

	one($node, 'CREATE DATABASE gone');
	one($node, 'CREATE EXTENSION loader', database => 'gone');
	upload('x', '1.1/schema.json', '{', 10, user => 'postgres', database => 'gone');
	$gone = "$spool/" . one($node, q{SELECT oid FROM pg_database WHERE datname = 'gone'});
	ok(-d $gone, 'a database has an upload');
	sweep();
	ok(-d $gone, 'which no other one sweeps');
	one($node, 'DROP DATABASE gone');
	sweep();
	ok(!-d $gone, 'until the database has gone');
	call('SELECT loader_forget(package_id) FROM loader.packages WHERE dataset = \'registered\'');
	nothing_spooled('etl', 'a package that is forgotten takes its upload along');
}

# the limit counts all that a role has, in all databases
one($node, "ALTER ROLE etl SET loader.upload_limit = '100kB'");
upload('limit', '1.1/schema.json', 'x' x 50_000);
one($node, 'CREATE DATABASE other');
one($node, 'CREATE EXTENSION loader; GRANT EXECUTE ON FUNCTION loader_upload TO etl', database => 'other');
$e = error_of($node, chunk_sql('limit', '1.1/schema.json', 0, 'x' x 50_000), user => 'etl', database => 'other');
is($e->{sqlstate}, '53400', 'the limit of a role is over all databases');
is(upload('limit', '1.1/schema.json', 'x' x 20_000, 100_000, database => 'other'), 20_000, 'below it there is room');
call("SELECT loader_upload_drop('limit')");
one($node, 'ALTER ROLE etl RESET loader.upload_limit');

# a directory that others can write to is not used
chmod 0777, $spool;
$e = error_of($node, chunk_sql('open', '1.1/schema.json', 0, 'x'), user => 'etl');
is("$e->{sqlstate} $e->{message}", '55000 loader.spool_directory is not a directory of the server\'s own', 'a spool that is open to others');
chmod 0700, $spool;
is(spooled('reader'), '', 'the spool is empty');
is($node->stop('fast'), 1, 'the server stops');
my $log = slurp($node->logfile);
unlike($log, qr/PANIC|TRAP|could not (remove|rename|mark)/, 'and has complained of nothing');

done_testing();
