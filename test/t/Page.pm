# Page.pm
#		Lets a test run what a page of doc/ says: the blocks of the page, by the
#		words after their fence.
package Page;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(page_block address);

# The one block of doc/$page that begins with "```$mark"; each pair of further
# arguments is something in it (an address, say) and its replacement here.
sub page_block
{
	my ($page, $mark, @replacements) = @_;
	my @blocks = slurp_file(dirname(__FILE__) . "/../../doc/$page") =~ /^```\Q$mark\E\n(.*?)^```$/msg;

	die "$page has " . @blocks . " blocks \"$mark\"" if @blocks != 1;
	while (my ($from, $to) = splice @replacements, 0, 2)
	{
		die "block \"$mark\" of $page has no \"$from\"" unless $blocks[0] =~ s/\Q$from\E/$to/g;
	}
	return $blocks[0];
}

# Where a server is, for a page that has host=….example and so on.  Unlike
# connstr() without quotes, as it stands in a string of SQL.
sub address
{
	my ($node, $database) = @_;
	return sprintf 'host=%s port=%d dbname=%s', $node->host, $node->port, $database // 'postgres';
}

1;
