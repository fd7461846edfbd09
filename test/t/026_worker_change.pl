# The worker ID is changed, and changed back, by restarts and after crashes.  A
# burst before each change takes the IDs a minute ahead of the clock.
#
# Ruled out: a mark that belongs to a worker ID rather than to the cluster: the
# new worker's IDs would be below those of the old one, and after the change back
# they would come twice.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $node = new_node('main', worker_id => 1, conf => q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 1h});
my @incarnations;

sub issue_as
{
	my ($worker) = @_;
	my $single = take_ids($node, 1000);

	is( $node->safe_psql('postgres', 'SELECT snowflake_worker_id(' . last_line($single) . ')'),
		$worker, "IDs of worker $worker");
	push @incarnations, [$single], [ burst($node) ];
	return;
}

issue_as(1);
foreach my $mode ('fast', 'immediate')
{
	foreach my $worker (2, 1, 65535, 0, 1)
	{
		$node->adjust_conf('postgresql.conf', 'snowflake.worker_id', $worker);
		$node->stop($mode);
		$node->start;
		issue_as($worker);
	}
}
check_ids('changes of worker', @incarnations);

$node->stop;
done_testing();
