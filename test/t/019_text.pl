# The message for a malformed text form, in databases of several encodings: the
# reader counts characters, and so must the message.
#
# Ruled out: "must have exactly 13 characters" for a text that has 13, and a
# position that counts bytes.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $node = new_node('main');

# 252 is one character in each: two bytes in UTF8, and one in LATIN1.
foreach my $encoding ('UTF8', 'LATIN1')
{
	my $database = lc $encoding;

	$node->safe_psql('postgres', "CREATE DATABASE $database ENCODING $encoding LOCALE 'C' TEMPLATE template0");
	$node->safe_psql($database, 'CREATE EXTENSION snowflake');

	my $says = sub {
		my ($name, $text, $detail) = @_;
		my ($status, $out, $err) = $node->psql($database, "\\set VERBOSITY verbose\nSELECT snowflake_from_text($text)");

		isnt($status, 0, "$encoding, $name: fails");
		like($err, qr/ERROR:  22P02: invalid snowflake ID in base32: /, "$encoding, $name: as a malformed text");
		like($err, qr/^DETAIL:  \Q$detail\E/m, "$encoding, $name: and says why");
		return;
	};

	$says->('13 characters', q{'0123' || chr(252) || '56789ABC'}, 'Character 5 is not one of "');
	$says->('the last one', q{'0123456789AB' || chr(252)}, 'Character 13 is not one of "');
	$says->('another one before it', q{'0U23' || chr(252) || '56789ABC'}, 'Character 2 is not one of "');
	$says->('13 bytes', q{'0123' || chr(252) || '56789A'}, 'It must have exactly 13 characters, and has 11.');
	$says->('12 characters', q{chr(252) || '123456789AB'}, 'It must have exactly 13 characters, and has 12.');
	$says->('many', q{repeat(chr(252), 100)}, 'It must have exactly 13 characters, and has 100.');
	$says->('too great', q{'ZZZZZZZZZZZZZ'}, 'The greatest ID is "');
}

$node->stop;
done_testing();
