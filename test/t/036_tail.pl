# Rows are read by their ID up to the horizon while every kind of transaction
# writes them: see test/tail.  Each reader has every committed row once, on the
# primary, and by a heartbeat on a standby and on a subscriber; one that does
# without the horizon misses rows in the same run.
#
# Ruled out: a row that becomes visible below the position of a reader.
#
# TAIL_SECONDS=…  for how long, instead of 10 s.  TAIL_SEED=…  the dice.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Tail;
use Test::More;

my $primary = new_node('primary', conf => tail_conf(), start => 0, init => [ allows_streaming => 1 ]);
$primary->start;
make_tail_schema($primary);
my $standby = new_standby($primary, 'standby');
my $subscriber = new_tail_subscriber($primary);

run_tail($ENV{TAIL_SECONDS} || 10, $ENV{TAIL_SEED} || time, $primary, $standby, $subscriber);
$_->stop foreach $subscriber, $standby, $primary;
done_testing();
