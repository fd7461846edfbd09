# A primary is lost together with IDs that it had given out and not replicated,
# nor the mark that they had.  They led its clock, by less than max_ahead.
#
# Ruled out: a new primary that starts from the mark that it happens to have: when
# it was a hot standby, when it was not, when it crashes before its keeper has
# done anything, and when it is restarted before it has issued anything.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $primary = new_node('primary', init => [ allows_streaming => 1 ], conf => q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 10min});
my @before = (take_ids($primary, 1000));
my %standbys = (
	'hot standby'       => new_standby($primary, 'hot'),
	'no hot standby'    => new_standby($primary, 'cold', conf => 'hot_standby = off'),
	'crashed standby'   => new_standby($primary, 'crashed'),
	'restarted standby' => new_standby($primary, 'restarted'));

# By their names: newer versions of the module ask a standby itself, if they can.
$primary->wait_for_catchup($_->name) foreach values %standbys;
$_->stop foreach values %standbys;
my $lost = burst($primary);
$primary->stop('immediate');

foreach my $name (sort keys %standbys)
{
	my $standby = $standbys{$name};

	$standby->start;
	if ($name eq 'crashed standby')
	{
		my $mark = mark_ms($standby);

		pause_keeper($standby);
		$standby->promote;
		is(mark_ms($standby), $mark, "$name: the mark is not raised yet");
		$standby->stop('immediate');
		$standby->start;
	}
	else
	{
		$standby->promote;
	}
	if ($name eq 'restarted standby')
	{
		ok(poll_until(sub { mark_ms($standby) > last_line($lost) >> 22 }), "$name: the mark is raised at once");
		$standby->stop('immediate');
		$standby->start;
	}
	check_ids($name, \@before, [$lost], [ take_ids($standby, 1000) ]);
	$standby->stop;
}

done_testing();
