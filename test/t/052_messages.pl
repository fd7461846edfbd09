# The page for whoever is paged has every message and every alert, and none that does
# not exist.  Reads the sources; needs no server.
#
# Ruled out: an error message that was changed or added, and that nobody can look up.
use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $top  = "$FindBin::RealBin/../..";
my $page = slurp_file("$top/doc/when-something-is-wrong.md");

# Where the registry has its own.
my $registry = -e "$top/doc/registry.md" ? slurp_file("$top/doc/registry.md") : '';

# A message as the page has it, with three dots for each value.
my $conversion = qr/%[-+ 0#]*(?:\d+|\*)?(?:\.(?:\d+|\*))?(?:hh|h|ll|l|z)?[a-zA-Z]/;

# The messages, with the file that has each.
my %messages;
my $unread = 0;

sub keep
{
	my ($text, $name) = @_;

	if ($text =~ /[a-z]{2}/)
	{
		$messages{$text} = $name;
		return;
	}
	$unread++;
	diag("$name: a message without words of its own: \"$text\"");
	return;
}

# The texts of errmsg().
foreach my $file (glob "$top/src/*.cpp $top/src/*.hpp $top/src/*.h")
{
	my $source = slurp_file($file);
	my ($name) = $file =~ m,([^/]+)$,;

	while ($source =~ /\berrmsg(?:_plural)?\s*\(\s*((?:"(?:[^"\\]|\\.)*"\s*)*)/g)
	{
		my $text = join '', $1 =~ /"((?:[^"\\]|\\.)*)"/g;

		$text =~ s/\\(.)/$1/g;
		$text =~ s/$conversion/…/g;
		keep($text, $name);
	}
}

# Those of PL/pgSQL: the format of RAISE, or its MESSAGE.  The registry has a page of
# its own, and its messages count if that page exists.
my $string = qr/'((?:[^']|'')*)'/;
foreach my $file (glob "$top/sql/*--*.sql")
{
	my $source = slurp_file($file);
	my ($name) = $file =~ m,([^/]+)$,;

	next if $name =~ /^snowflake_registry/ && !$registry;
	while ($source =~ /\bRAISE\b(?!\s*;)((?:'(?:[^']|'')*'|[^';])*);/g)
	{
		my $text = $1 =~ /(?:^\s*(?:[A-Z]+\s+)?|\bMESSAGE\s*=\s*(?:format\s*\(\s*)?)$string/ ? $1 : '';

		$text =~ s/''/'/g;
		$text =~ s/%[sIL]?/…/g;
		keep($text, $name);
	}
}
is($unread, 0, 'each message stands in the source as a text');
cmp_ok(scalar keys %messages, '>', 20, 'there are messages');

my @rules = slurp_file("$top/doc/monitoring/alerts.yml") =~ /^\s*- alert: (\S+)$/mg;
cmp_ok(scalar @rules, '>', 4, 'there are alerts');

my @titles = $page =~ /^### `(.+)`$/mg;
my @alerts = $page =~ /^### (Snowflake\w+)$/mg;
my %titles = map { $_ => 1 } @titles, $registry =~ /^### `(.+)`$/mg;

ok($titles{$_}, "a page has \"$_\" ($messages{$_})") foreach sort keys %messages;
is_deeply([ grep { !$messages{$_} } @titles ], [], 'the page has no message that is not in the source');
is_deeply([ sort @alerts ], [ sort @rules ], 'the page has each alert, and no other');

# Links within the page lead somewhere.
my %anchors;
foreach my $title ($page =~ /^#+ (.+)$/mg)
{
	my $anchor = lc $title;

	$anchor =~ s/[^\w -]|[^\x00-\x7f]//g;
	$anchor =~ tr/ /-/;
	$anchors{$anchor} = 1;
}
is_deeply([ grep { !$anchors{$_} } $page =~ /\]\(#([^)]+)\)/g ], [], 'each link in the page leads somewhere');

done_testing();
