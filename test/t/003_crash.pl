# Crashes under load: kill -9 of a backend, of the keeper and of the postmaster,
# and immediate stops.  After each the shared memory is reinitialized.  A burst
# before each takes the IDs a minute ahead of the clock, so that the clock alone
# would not be enough.
#
# Ruled out: a generator that starts from the clock alone, or from state that
# was not durable when IDs went out, and gives one of them again.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $node = new_node('main', conf => q{
	restart_after_crash = on
	snowflake.worker_bits = 16
	snowflake.max_ahead = 1h});

my %faults = (
	'a backend' => sub {
		kill_process(taker_pid($node, $_[0]), 'a backend');
	},
	'the keeper' => sub {
		kill_process(keeper_pid($node), 'the keeper');
	},
	'the postmaster' => sub {
		$node->kill9;
	},
	'everything, by an immediate stop,' => sub {
		$node->stop('immediate');
	});

my @incarnations;
foreach my $fault ((sort keys %faults) x 2)
{
	my $burst  = burst($node);
	my @takers = map { start_taker($node) } 1 .. 3;

	wait_for_ids($_, 200_000) foreach @takers;
	my $offset = -s $node->logfile;
	$faults{$fault}->($takers[0]);
	wait_for_end($_) foreach @takers;
	isnt($_->{errors}, '', "killed $fault: the session ends") foreach @takers;

	if ($fault =~ /postmaster|everything/)
	{
		start_again($node);
	}
	else
	{
		ok($node->poll_query_until('postgres', 'SELECT true'), 'it restarts by itself');
		like(log_since($node, $offset), qr/all server processes terminated; reinitializing/, "killed $fault: the shared memory is made anew");
	}
	push @incarnations, [ $burst, map { $_->{file} } @takers ];
}
push @incarnations, [ take_ids($node, 1000) ];
check_ids('crashes', @incarnations);

$node->stop;
done_testing();
