# The clock is set while the server is down, back and forward, by a millisecond
# to a year, after an orderly stop, an immediate one and a kill -9 under load.
#
# Ruled out: a server that starts from what its clock shows then, and issues earlier
# IDs once more, or IDs that sort before them.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use FakeClock;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $node = new_clock_node('main');
$node->stop;
my @incarnations;
my @stops = ('fast', 'immediate', 'kill -9');

# Stops the server while a session takes IDs, each time in a different way.
sub take_and_stop
{
	my $how   = shift @stops;
	my $taker = start_taker($node);

	wait_for_ids($taker, 20_000);
	if ($how eq 'kill -9')
	{
		$node->kill9;
	}
	else
	{
		$node->stop($how);
	}
	wait_for_end($taker);
	isnt($taker->{errors}, '', "$how: the session ends");
	push @stops, $how;
	push @incarnations, [ $taker->{file} ];
	return;
}

sub start_at
{
	my ($offset) = @_;

	$node->set_clock($offset);
	start_again($node);
	return;
}

# The clock is so many seconds before where it was when the last IDs were
# issued, and $lead is how far those can have been ahead of it.
sub goes_on_or_refuses
{
	my ($name, $seconds, $lead, $max_ahead) = @_;

	if ($seconds + $lead < $max_ahead)
	{
		push @incarnations, [ take_ids($node, 1000) ];
	}
	else
	{
		clock_refuses($node, $name, $seconds);
	}
	$node->stop('fast');
	return;
}

my $base = 0;
foreach my $step (
	[ @{ $STEPS[0] }, 30 ],
	[ @{ $STEPS[1] }, 30 ],
	(map { [ @$_, 10 ] } @STEPS[ 2 .. $#STEPS ]),
	[ '1 min',  60,      3600 ],
	[ '59 min', 59 * 60, 3600 ],
	[ '1 day',  86_400,  3600 ])
{
	my ($name, $seconds, $max_ahead) = @$step;

	$node->append_conf('postgresql.conf', "snowflake.max_ahead = ${max_ahead}s");

	# Each restart starts at the mark, up to 5 s on, so the lead adds up.
	start_at($base);
	take_and_stop();
	start_at($base - $seconds);
	goes_on_or_refuses("$name back, $max_ahead s allowed", $seconds, 5, $max_ahead);

	start_at($base);
	take_and_stop();
	start_at($base + $seconds);
	take_and_stop();
	start_at($base);
	goes_on_or_refuses("$name forward and back, $max_ahead s allowed", $seconds, 20, $max_ahead);

	$base += $seconds + 60;
}
start_at($base);
push @incarnations, [ take_ids($node, 1000) ];
check_ids('clock set while the server is down', @incarnations);

$node->stop;
done_testing();
