# The clock is set while the server runs and sessions take IDs: back and
# forward, by a millisecond to a year, and back and forth as a sawtooth.
#
# Ruled out: an ID that comes twice, or that sorts before the ones that were
# returned earlier, because the clock shows a time for the second time; calls
# that fail although max_ahead covers the step, or that succeed although it does
# not; a log that is silent about a step, or full of it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use FakeClock;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $node = new_clock_node('main', conf => 'snowflake.max_ahead = 5s');
my @incarnations;

sub start
{
	my $taker = start_slow_taker($node);

	wait_for_ids($taker, 0);
	push @incarnations, [ $taker->{file} ];
	return $taker;
}

sub goes_on
{
	my ($name, $taker) = @_;
	my $size = -s $taker->{file};

	poll_until(sub { -s $taker->{file} > $size + 10_000 || !$taker->{run}->pumpable || !$taker->{run}->pump_nb });
	cmp_ok(-s $taker->{file}, '>', $size, "$name: IDs go on");
	is($taker->{errors}, '', "$name: no call fails");
	return;
}

sub refused
{
	my ($name, $taker, $seconds) = @_;

	return stop_taker($taker) unless clock_refuses($node, $name, $seconds);
	wait_for_end($taker);
	like($taker->{errors}, qr/ERROR:  the system clock is too far behind/, "$name: the session's calls fail");
	return;
}

sub set_max_ahead
{
	my ($max_ahead) = @_;

	$node->append_conf('postgresql.conf', "snowflake.max_ahead = $max_ahead");
	$node->reload;
	ok($node->poll_query_until('postgres', "SELECT current_setting('snowflake.max_ahead') = '$max_ahead'"),
		"snowflake.max_ahead is $max_ahead");
	return;
}

# Steps that max_ahead covers: calls continue, and the log reports the step once.
{
	my $taker  = start();
	my $offset = -s $node->logfile;
	my (@expected, @leads);

	foreach my $step (@STEPS[ 0, 1 ], [ '3 s', 3 ])
	{
		my ($name, $seconds) = @$step;

		foreach my $direction ('back', 'forward')
		{
			push @expected, sprintf "$direction by %.3f s", $seconds;
			$node->set_clock($direction eq 'back' ? -$seconds : 0);
			ok( poll_until(
					sub {
						return @expected <= (() = log_since($node, $offset) =~ /WARNING:  system clock was set /g);
					}),
				"$name $direction: the log tells");
			goes_on("$name $direction", $taker);
		}
	}
	stop_taker($taker);

	my $log = log_since($node, $offset);
	is_deeply([ $log =~ /WARNING:  system clock was set (.*)/g ], \@expected, 'the log tells of each step once');

	while ($log =~ /set back by ([\d.]+) s\n.*DETAIL:  The newest snowflake ID is ([\d.]+) s ahead of it; "snowflake.max_ahead" is 5.000 s/g)
	{
		push @leads, [ $1, $2 ];
	}
	is(scalar @leads, 3, 'for each step back it tells the lead');
	cmp_ok($_->[1], '<=', $_->[0], "after $_->[0] s back the lead is no greater") foreach @leads;
}

# The same for long steps.
set_max_ahead('1h');
foreach my $seconds (60, 59 * 60)
{
	my $taker = start();

	$node->set_clock(-$seconds);
	goes_on("$seconds s back, 1 h allowed", $taker);
	is( $node->safe_psql('postgres', qq{
			SELECT lead > '0' AND lead <= '$seconds s'
			  FROM (SELECT snowflake_timestamp(id) - clock_timestamp() AS lead
					  FROM (SELECT snowflake_next() AS id) AS s) AS t}),
		't', "$seconds s back, 1 h allowed: the IDs are ahead of the clock");
	$node->set_clock(0);
	goes_on("$seconds s forward again", $taker);
	stop_taker($taker);
}

# A sawtooth under full load.
set_max_ahead('30s');
{
	my @takers = map { start_taker($node) } 1 .. 4;

	wait_for_ids($_, 0) foreach @takers;
	push @incarnations, [ map { $_->{file} } @takers ];
	foreach my $offset ((-1, -5, -3, -0.001, -9, 0) x 3)
	{
		$node->set_clock($offset);
		goes_on("sawtooth at $offset s", $takers[0]);
	}
	stop_taker($_) foreach @takers;
	unlike($_->{errors}, qr/clock/, 'no call failed for the sawtooth') foreach @takers;
}

# Steps that max_ahead does not cover.
set_max_ahead('10s');
my $base = 60;
foreach my $step (@STEPS[ 2 .. $#STEPS ])
{
	my ($name, $seconds) = @$step;
	my $taker;

	$node->set_clock($base);
	$taker = start();
	$node->set_clock($base - $seconds);
	refused("$name back", $taker, $seconds);

	$node->set_clock($base);
	$taker = start();
	$node->set_clock($base + $seconds);
	goes_on("$name forward", $taker);
	is( $node->safe_psql('postgres', q{
			SELECT snowflake_timestamp(id) BETWEEN clock_timestamp() - interval '30 s' AND clock_timestamp() + interval '10 s'
			  FROM (SELECT snowflake_next() AS id) AS s}),
		't', "$name forward: the IDs have the new time");
	$node->set_clock($base);
	refused("$name forward and back", $taker, $seconds);

	$base += $seconds;
	$node->set_clock($base);
	push @incarnations, [ take_ids($node, 1000) ];
}

check_ids('clock set while the server runs', @incarnations);
$node->stop;
done_testing();
