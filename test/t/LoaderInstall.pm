# test/t/LoaderInstall.pm: a copy of the server's installation for one test, in which it may put another
# version of the extension.
#
#	my $install = LoaderInstall->new;
#	my $node = new_node('main', '', install => $install->path);
#	my $next = $install->build('1.1', $upgrade_script);	# made, and not there yet
#	$install->put($next);					# now it is
#	$install->restore;					# as it was
package LoaderInstall;

use strict;
use warnings;

use File::Basename qw(basename dirname);
use File::Copy ();
use File::Path qw(make_path);
use LoaderTest;

sub command
{
	my (@command) = @_;

	system(@command) == 0 or die "failed: @command";
	return;
}

# Links to all that is in a directory, but for what is ours, which is copied.
sub link_all
{
	my ($from, $to, $ours) = @_;

	make_path($to);
	for my $file (glob("$from/*"))
	{
		my $name = basename($file);

		next if $name =~ /^extension$/;
		$name =~ $ours ? command('cp', '-a', $file, $to) : symlink($file, "$to/$name") || die "$to/$name: $!";
	}
	return;
}

# The programs find the rest from where they are, so they are copied, and all lies in the same places
# below another root.
sub new
{
	my ($class) = @_;
	my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
	my %dir = map { $_ => qx($pg_config --$_) =~ s/\n//r } qw(bindir pkglibdir sharedir);
	my $root = $dir{bindir};
	my $top = packages_dir() . '/install';

	$root = dirname($root) while grep { index("$_/", "$root/") != 0 } values %dir;
	my %copy = map { $_ => $top . substr($dir{$_}, length $root) } keys %dir;
	make_path($copy{bindir});
	command('cp', '-a', glob("$dir{bindir}/*"), $copy{bindir});
	link_all($dir{pkglibdir}, $copy{pkglibdir}, qr/^loader\.so$/);
	link_all($dir{sharedir}, $copy{sharedir}, qr/^$/);
	link_all("$dir{sharedir}/extension", "$copy{sharedir}/extension", qr/^loader(\.control|--)/);
	return bless {%copy, top => $top, pg_config => $pg_config, version => slurp("$copy{sharedir}/extension/loader.control") =~ /default_version = '(.*)'/ ? $1 : die,
		library => slurp("$copy{pkglibdir}/loader.so")}, $class;
}

# What PostgreSQL::Test::Cluster calls the path of an installation.
sub path { return dirname($_[0]{bindir}) }

# Build the library of another version, with a script that leads there from this one.
sub build
{
	my ($self, $version, $script) = @_;
	my $tree = "$self->{top}/tree-$version";
	my $source = source_dir();
	my $header;

	make_path($tree);
	# with their times: what is built already is not built again
	command('cp', '-a', (map { "$source/$_" } qw(Makefile loader.control src sql tools)), $tree);
	($header = slurp("$tree/src/version.h")) =~ s/(#define LDR_VERSION )"(.*)"/$1"$version"/ or die 'no version';
	my $from = $2;
	spew("$tree/src/version.h", $header);
	{
		local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)} = ('', '', '');
		# whatever the flags were: without the stamp that tells of them
		command('make', '-s', '-C', $tree, "PG_CONFIG=$self->{pg_config}", 'build_stamp=', 'loader.so');
	}
	spew("$tree/sql/loader--$from--$version.sql", $script);
	return {tree => $tree, script => "loader--$from--$version.sql", version => $version};
}

# As a package manager does: servers that run keep the library that they have.
sub replace
{
	my ($self, $library, $version) = @_;
	my $file = "$self->{pkglibdir}/loader.so";
	my $control = "$self->{sharedir}/extension/loader.control";

	spew("$file.new", $library);
	rename("$file.new", $file) or die $!;
	(my $text = slurp($control)) =~ s/default_version = '.*'/default_version = '$version'/ or die 'no default_version';
	unlink($control) or die $!;
	spew($control, $text);
	return;
}

sub put
{
	my ($self, $next) = @_;

	File::Copy::copy("$next->{tree}/sql/$next->{script}", "$self->{sharedir}/extension") or die $!;
	$self->replace(slurp("$next->{tree}/loader.so"), $next->{version});
	return;
}

# Back to what was there at first.
sub restore
{
	my ($self) = @_;

	$self->replace(@$self{qw(library version)});
	return;
}

1;
