# Every statement in the documentation runs.
#
# The blocks marked sql of each page run in their order, in one session in a
# database of the page's own, which has the extension unless the page itself
# creates it.  One marked "sql NAME MAJOR" runs only if that is the major version of
# the extension NAME, and "sql NAME *" if there is any.  Blocks that are not to be run have another mark, or none.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $top   = "$FindBin::RealBin/../..";
my @pages = ("$top/README.md", sort glob "$top/doc/*.md");
my $node  = PostgreSQL::Test::Cluster->new('main');

$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'\nsnowflake.worker_id = 1");
$node->start;

# Its major version; 0 if it is not installed.
sub major
{
	my ($extension) = @_;
	my $version = $node->safe_psql('postgres', "SELECT default_version FROM pg_available_extensions WHERE name = '$extension'");

	return $version =~ /^(\d+)/ ? $1 : 0;
}

sub is_installed
{
	my ($extension, $major) = @_;
	return $major eq '*' ? major($extension) > 0 : major($extension) == $major;
}

# The page with everything but its statements removed; line by line, so that psql
# reports the page's line numbers.
sub statements
{
	my ($page) = @_;
	my ($blocks, $inside, $sql) = (0, 0, '');

	foreach my $line (split /^/, slurp_file($page))
	{
		if ($line =~ /^```/)
		{
			$inside = !$inside && $line =~ /^```sql(?: (\S+) (\d+|\*))?$/ && (!defined $1 || is_installed($1, $2));
			$blocks++ if $inside;
			$line = "\n";
		}
		$sql .= $inside ? $line : "\n";
	}
	return ($sql, $blocks);
}

my $all = 0;
foreach my $page (@pages)
{
	my ($name) = $page =~ m{([^/]+)\.md$};
	my ($sql, $blocks) = statements($page);
	my $file = PostgreSQL::Test::Utils::tempdir() . "/$name.sql";

	$all += $blocks;
	append_to_file($file, $sql);
	$node->safe_psql('postgres', qq{CREATE DATABASE "$name"});
	$node->safe_psql($name, 'CREATE EXTENSION snowflake') unless $sql =~ /^CREATE EXTENSION snowflake;/m;
	my $result = run_log([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($name), '-f', $file ],
		'>', \my $out, '2>', \my $err);
	ok($result, "$name: $blocks blocks run");
	unlike($err, qr/ERROR|FATAL/, "$name: without an error");
}
cmp_ok($all, '>', scalar @pages, 'the pages have statements');

$node->stop;
done_testing();
