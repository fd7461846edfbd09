# META.json conforms to the PGXN Meta Spec 1.0, and agrees with the control files.
# Reads files; needs no server.
#
# Ruled out: an archive that the PostgreSQL Extension Network refuses, or one whose
# metadata was not updated for a new version.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $top  = "$FindBin::RealBin/../..";
my $meta = decode_json(slurp_file("$top/META.json"));

my $semver  = qr/^(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}(?:-?[A-Za-z][0-9A-Za-z-]*)?$/;
my $term    = qr/^[^\s\/\\[:cntrl:]]{2,}$/;
my $tag     = qr/^[^\/\\[:cntrl:]]{1,255}$/;
my $text    = qr/\S/;
my %license = map { $_ => 1 } qw(agpl_3 apache_1_1 apache_2_0 artistic_1 artistic_2 bsd freebsd gfdl_1_2 gfdl_1_3 gpl_1 gpl_2 gpl_3
  lgpl_2_1 lgpl_3_0 mit mozilla_1_0 mozilla_1_1 openssl perl_5 postgresql qpl_1_0 ssleay sun zlib open_source restricted unrestricted unknown);

# A value that must be there and look like this.
sub looks
{
	my ($name, $value, $pattern) = @_;

	ok(defined $value && !ref $value && $value =~ $pattern, "$name is well-formed");
	return;
}

is_deeply(
	[ grep { !/^(?:abstract|description|generated_by|license|maintainer|meta-spec|name|no_index|prereqs|provides|release_status|resources|tags|version|x_\w+)$/i } keys %$meta ],
	[], 'no key that the specification does not know');

looks('name', $meta->{name}, $term);
looks('version', $meta->{version}, $semver);
looks('abstract', $meta->{abstract}, $text);
looks('meta-spec version', $meta->{'meta-spec'}{version}, qr/^1\.0\.[0-9]+$/);
looks('release_status', $meta->{release_status}, qr/^(?:stable|testing|unstable)$/);
ok($license{$_}, "license $_ is known") foreach ref $meta->{license} ? @{ $meta->{license} } : $meta->{license};
looks('maintainer', $_, $text) foreach @{ $meta->{maintainer} };
cmp_ok(scalar @{ $meta->{maintainer} }, '>', 0, 'there is a maintainer');
looks("tag $_", $_, $tag) foreach @{ $meta->{tags} };

foreach my $phase (sort keys %{ $meta->{prereqs} })
{
	like($phase, qr/^(?:configure|build|test|runtime|develop)$/, "prereqs: phase $phase");
	foreach my $relation (sort keys %{ $meta->{prereqs}{$phase} })
	{
		my $wanted = $meta->{prereqs}{$phase}{$relation};

		like($relation, qr/^(?:requires|recommends|suggests|conflicts)$/, "prereqs: relation $relation");
		looks("prereqs: $_", $wanted->{$_}, $semver) foreach sort keys %$wanted;
	}
}

# Each extension of the tree is there, with the version that it has.
my @extensions = map { m,([^/]+)\.control$, ? $1 : () } glob "$top/*.control";

is_deeply([ sort keys %{ $meta->{provides} } ], [ sort @extensions ], 'provides each extension');
foreach my $name (@extensions)
{
	my $provided = $meta->{provides}{$name};
	my ($version) = slurp_file("$top/$name.control") =~ /^default_version = '(.+)'$/m;

	looks("$name: version", $provided->{version}, $semver);
	like($provided->{version}, qr/^\Q$version\E\.\d+$/, "$name: it is that of the control file");
	is($provided->{file}, "sql/$name--$version.sql", "$name: the file is that of the version");
	ok(-f "$top/$provided->{$_}", "$name: $_ is there") foreach qw(file docfile);
	looks("$name: abstract", $provided->{abstract}, $text);
}

done_testing();
