# Crashes under load while the clock moves: kill -9 of a backend, of the keeper
# and of the postmaster, and immediate stops, each together with a step of the
# clock, back or forward.  IDs have run ahead of the clock by a burst then.
#
# Ruled out: a generator that restarts from a clock that shows an earlier time than
# before the crash, or a later one that is then corrected.
# SNOWFLAKE_TEST_LONG=1 runs ten times as many rounds.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use FakeClock;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

# Two bursts of a minute, some seconds at each restart, and the largest step add
# up to less than max_ahead.
my $node = new_clock_node('main', conf => q{
	restart_after_crash = on
	snowflake.worker_bits = 16
	snowflake.max_ahead = 1h});

# Backends that lose the postmaster issue IDs until their window is used up, and
# hold up the next start for as long.  So only the first ones are left alone.
my $orphans_live = 1;

sub kill_postmaster
{
	my @pids = map { taker_pid($node, $_) } @_;

	$node->kill9;
	kill 'TERM', @pids unless $orphans_live;
	$orphans_live = 0;
	return;
}

my @faults = (
	[ 'a backend',      sub { kill_process(taker_pid($node, $_[0]), 'a backend') } ],
	[ 'the keeper',     sub { kill_process(keeper_pid($node), 'the keeper') } ],
	[ 'the postmaster', \&kill_postmaster ],
	[ 'everything',     sub { $node->stop('immediate') } ]);
my @offsets = (-1, -60, 0, -0.001, 1, -300, 60, 0, -900, 600);
my $rounds  = ($ENV{SNOWFLAKE_TEST_LONG} ? 100 : 10) * 2;
my @incarnations;

foreach my $round (0 .. $rounds - 1)
{
	my ($victim, $kill) = @{ $faults[ $round % @faults ] };
	my $offset = $offsets[ $round % @offsets ];

	push @incarnations, [ burst($node) ] if $round == 0 || $round == 10;

	my @takers = map { start_slow_taker($node) } 1 .. 3;

	wait_for_ids($_, 0) foreach @takers;

	# The step comes before the crash and after it by turns.
	$node->set_clock($offset) if $round % 3 == 0;
	$kill->(@takers);
	$node->set_clock($offset) if $round % 3 == 1;
	wait_for_end($_) foreach @takers;
	$node->set_clock($offset) if $round % 3 == 2;
	is(scalar(grep { $_->{errors} eq '' } @takers), 0, "killed $victim, clock at $offset s: all sessions end");

	if (defined $node->{_pid} && $victim !~ /postmaster|everything/)
	{
		ok($node->poll_query_until('postgres', 'SELECT true'), 'it restarts by itself');
	}
	else
	{
		start_again($node);
	}
	push @incarnations, [ map { $_->{file} } @takers ];
}
push @incarnations, [ take_ids($node, 1000) ];
check_ids('crashes while the clock moves', @incarnations);

$node->stop;
done_testing();
