# Whatever needs this server's layout says so if the layout is not available or not
# the pinned one; everything else works without the preload.
#
# Ruled out: an ID or a bound that is computed from a wrong epoch, and then
# stands in a row, an index or a partition.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my @of_the_layout = (
	"snowflake_is_valid(1)", "snowflake_encode('2026-01-01Z', 1, 1)", "snowflake_min_id('2026-01-01Z')", "snowflake_max_id('2026-01-01Z')",
	"snowflake_min_id('-infinity')", "snowflake_max_id('infinity')", "snowflake_last_before('infinity')",
	"snowflake_between(1, '2026-01-01Z', '2026-02-01Z')");

my %of_none = (
	"snowflake_decode(1050118621198921728, 'twitter')" => '("2018-10-10 20:19:24.211+00",347,0)',
	"snowflake_decode(515421582429024256, 'pgedge')" => '("2026-11-23 07:01:21.321+00",7,0)',
	"snowflake_decode(515421582429024256, epoch => '2023-01-01Z')" => '("2026-11-23 07:01:21.321+00",7,0)',
	"snowflake_is_valid(20, 'twitter')" => 'f',
	"snowflake_min_id('2018-10-10 20:19:24.211Z', 'twitter')" => '1050118621197500416',
	"snowflake_min_id('2018-10-10 20:19:24.211Z', epoch => '2010-11-04 01:42:54.657Z')" => '1050118621197500416',
	"snowflake_from_text('3l25zusnsfctk', 'tid')" => '1765551611692032816',
	"snowflake_to_text(38390726480144748)" => '0123456789ABC',
	"snowflake_from_text('0123456789ABC')" => '38390726480144748',
	"count(*) > 5 FROM snowflake_layouts()" => 't');

my $node = new_node('main', conf => "timezone = 'UTC'");

sub refuse
{
	my ($name, $error) = @_;
	foreach my $call (@of_the_layout)
	{
		my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");

		isnt($status, 0, "$name: $call fails");
		like($err, $error, "$name: $call says why");
	}
}

sub work
{
	my ($name) = @_;
	foreach my $call (sort keys %of_none)
	{
		is($node->safe_psql('postgres', "SELECT $call"), $of_none{$call}, "$name: $call works");
	}
}

# Preloaded, with the layout that gets pinned: the bounds of a partition.
ok(next_id($node), 'the layout is pinned');
$node->safe_psql('postgres', q{
	CREATE TABLE event (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE event_2026 PARTITION OF event FOR VALUES FROM (snowflake_min_id('2026-01-01Z')) TO (snowflake_min_id('2027-01-01Z'))});
work('preloaded');

foreach my $line ('snowflake.worker_bits = 9', "snowflake.epoch = '2023-01-02'")
{
	$node->append_conf('other.conf', $line);
	$node->append_conf('postgresql.conf', "include_if_exists = 'other.conf'");
	$node->restart;
	refuse($line, qr/ERROR:  55000: the configured snowflake layout does not match this cluster's IDs/);
	work($line);
	unlink $node->data_dir . '/other.conf';
}

$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->restart;
refuse('not preloaded', qr/ERROR:  55000: snowflake must be loaded via "shared_preload_libraries"/);
work('not preloaded');

$node->stop;
done_testing();
