# test/t/LoaderArchive.pm: archives made on the fly, also such as no program would write.
#
#	spew($path, tar(package_members($directory)));
#	spew($path, gzip(tar([name => '1/x', type => '2', link => '/etc/passwd'])));
package LoaderArchive;

use strict;
use warnings;

use Compress::Zlib ();
use Exporter 'import';
use File::Basename qw(basename);
use LoaderTest;

our @EXPORT = qw(tar gzip zstd package_members);

# One member: {name, data, type (0: file, 1: hard link, 2: link, 5: directory, ...), link}
sub member
{
	my ($m) = @_;
	my $data = defined $m->{data} ? $m->{data} : '';
	my $header = pack('a100 a8 a8 a8 a12 a12 a8 a1 a100 a6 a2 a32 a32 a8 a8 a155 x12', $m->{name}, '0000644', '0000000',
		'0000000', sprintf('%011o', length $data), '00000000000', ' ' x 8, $m->{type} || '0', $m->{link} || '', "ustar\0", '00',
		'', '', '', '', '');

	substr($header, 148, 8) = sprintf("%06o\0 ", unpack('%32C*', $header));
	return $header . $data . "\0" x (-length($data) % 512);
}

# An archive of these members, with its end.
sub tar
{
	return join('', map { member($_) } @_) . "\0" x 1024;
}

sub gzip
{
	return Compress::Zlib::memGzip($_[0]);
}

# A frame of raw blocks: no program needed.
sub zstd
{
	my ($bytes) = @_;
	my $frame = pack('V C V', 0xfd2fb528, 0xa0, length $bytes);

	for (my $at = 0; $at < length $bytes; $at += 100_000)
	{
		my $block = substr($bytes, $at, 100_000);
		my $last = $at + 100_000 >= length $bytes;

		$frame .= substr(pack('V', length($block) << 3 | $last), 0, 3) . $block;
	}
	return $frame;
}

# The members of a package directory, as tar would list them.
sub package_members
{
	my ($path, %option) = @_;
	my $id = $option{load_id} || basename($path);
	my @members = ({name => "$id/", type => 5}, {name => "$id/new_jobs/", type => 5});

	for my $file (glob("$path/*.json"), glob("$path/new_jobs/*"))
	{
		push @members, {name => $id . substr($file, length $path), data => slurp($file)};
	}
	return @members;
}

1;
