# torture.pl
#		A primary, a standby, clients that keep the IDs they got, and faults in
#		random order until the time is up: then no ID may have come twice, and none
#		after one that is greater.
#
# usage: torture.pl SECONDS SEED
#
# The library is taken from the working directory, where it was built; nothing
# has to be installed.
#
# All random numbers are drawn before anything is started, so that a seed stands
# for a schedule.  What a fault needs for the IDs to be promised at all is part of
# it: before a promotion, the standby is made synchronous.
use strict;
use warnings;

# The test framework will take the standard output for its log.
my $report;
BEGIN { open $report, '>&', \*STDOUT or die; }

use Cwd;
use FindBin;
use lib "$FindBin::RealBin/../t", $FindBin::RealBin;
use FakeClock;
use Load;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake qw(start_again);
use Test::More;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my ($seconds, $seed) = @ARGV;
my $begin = clock_gettime(CLOCK_MONOTONIC);

Test::More->builder->output(\*STDOUT);
Test::More->builder->failure_output(\*STDERR);
$report->autoflush(1);

# IDs of 64 a millisecond make leads, and a walwriter that is slow leaves a mark
# that nobody flushed where a crash loses it.  A clock that is set must not end
# a replication connection, nor anything but a promotion change the primary.
my $conf = q{
	autovacuum = off
	checkpoint_timeout = 1h
	restart_after_crash = on
	snowflake.max_ahead = 1h
	snowflake.worker_bits = 16
	synchronous_standby_names = ''
	wal_receiver_timeout = 0
	wal_retrieve_retry_interval = 100ms
	wal_sender_timeout = 0
	wal_writer_delay = 10s
};
$conf =~ s/^\t//mg;
my $most_ahead = '1h';

# How far clocks are set, in milliseconds.
my %ms = ('1 ms' => 1, '10 ms' => 10, '100 ms' => 100, '1 s' => 1000, '10 s' => 10_000,
	'1 min' => 60_000, '10 min' => 600_000, '1 h' => 3_600_000);

# Two machines, each with a clock.  What is temporary of one is undone after some
# more faults: how far its clock is behind, and a lower max_ahead.
my @machines = map { { lag => 0, max_ahead => $most_ahead } } 1 .. 2;
my ($primary, $standby) = @machines;
my $world = 0;    # how far the right time is after the true one, by the steps forward
my $synchronous = 0;
my $servers     = 0;
my $step_number = 0;
my @due;          # [ step, sub ]
my %count = (crashes => 0, steps => 0, promotions => 0, refusals => 0);

sub say_that
{
	my ($what) = @_;
	printf $report "%7.1f s %5.1f M IDs  %3d  %s\n", clock_gettime(CLOCK_MONOTONIC) - $begin,
	  Load::count() / 1e6, $step_number, $what;
	return;
}

sub role_of
{
	my ($machine) = @_;
	return $machine == $primary ? 'primary' : 'standby';
}

sub undo_later
{
	my ($faults, $undo) = @_;
	push @due, [ $step_number + $faults, $undo ];
	return;
}

sub undo_due
{
	my ($until) = @_;
	$_->[1]->() foreach grep { $_->[0] <= $until } @due;
	@due = grep { $_->[0] > $until } @due;
	return;
}

sub apply_clock
{
	my ($machine, $extra) = @_;
	$machine->{node}->set_clock(($world - $machine->{lag} + ($extra // 0)) / 1000);
	$count{steps}++;
	return;
}

sub set_max_ahead
{
	my ($machine, $value) = @_;
	$machine->{max_ahead} = $value;
	$machine->{node}->adjust_conf('postgresql.conf', 'snowflake.max_ahead', $value);
	$machine->{node}->reload;
	return;
}

sub set_synchronous_standby
{
	my ($machine, $names) = @_;
	$machine->{node}->adjust_conf('postgresql.conf', 'synchronous_standby_names', "'$names'");
	return;
}

# Do IDs go on?  They may be refused instead as long as the clock is behind or is
# allowed little lead.  If they do not, that is the end.
my $stuck = 0;

sub settle
{
	return 0 if $stuck;
	my $may_refuse = $primary->{lag} > 0 || $primary->{max_ahead} ne $most_ahead;
	my $end = clock_gettime(CLOCK_MONOTONIC) + $PostgreSQL::Test::Utils::timeout_default;

	for (;;)
	{
		my ($id, $error) = Load::probe($primary->{node});
		my $refused = $may_refuse && $error =~ /ERROR:  58000: /;

		$count{refusals}++ if $refused;
		return pass("step $step_number: IDs go on") if $id ne '' || $refused;
		if (clock_gettime(CLOCK_MONOTONIC) > $end)
		{
			$stuck = 1;
			say_that("no IDs any more: $error");
			return fail("step $step_number: IDs go on");
		}
		Load::keep_busy($primary->{node}, 0.1);
	}
}

# Ends the primary in one of three ways.
sub end_primary
{
	my ($how) = @_;

	if ($how eq 'kill -9')
	{
		$primary->{node}->kill9;
	}
	else
	{
		$primary->{node}->stop($how);
	}
	$count{crashes}++ if $how ne 'fast';
	return;
}

# A fresh standby of the primary, on the machine of the standby.
sub make_standby
{
	my $node   = PostgreSQL::Test::Cluster->new('server' . ++$servers);
	my $backup = 'for_' . $node->name;

	$primary->{node}->backup($backup);
	$node->init_from_backup($primary->{node}, $backup, has_streaming => 1);
	$standby->{node}->clean_node if $standby->{node};
	$standby->{node}      = with_clock($node);
	$standby->{max_ahead} = $primary->{max_ahead};
	apply_clock($standby);

	# Promoted, it issues nothing that its own standby could not continue from.
	set_synchronous_standby($standby, 'server' . ($servers + 1));
	$node->start;
	return;
}

# The restart closes the window, and what is issued from then on is below a mark
# that the standby has flushed.
sub synchronise
{
	return 1 if $synchronous;
	$synchronous = 1;
	set_synchronous_standby($primary, $standby->{node}->name);
	$primary->{node}->restart;
	return settle();
}

# Kills a process of the primary that this query finds: the server starts anew.
sub kill_process
{
	my ($query) = @_;
	my $pid = $primary->{node}->safe_psql('postgres', $query);

	kill 'KILL', $pid if $pid;
	$count{crashes}++;
	return;
}

sub burst
{
	my ($step) = @_;
	Load::burst($primary->{node}, 1_000_000, $step->{burst_bytes}) if $step->{burst};
	return;
}

sub after_burst
{
	my ($step, $what) = @_;
	say_that($step->{burst} ? "burst, then $what" : $what);
	burst($step);
	return;
}

# The standby takes over, with little max_ahead, for the mark to count rather than
# the clock.  If it is cut off before, IDs go on only as far as the mark it has;
# for there to be IDs, all that is temporary is undone first.
sub fail_over
{
	my ($step, $max_ahead, $cut_off) = @_;
	my ($old, $new) = ($primary, $standby);

	undo_due('inf') if $cut_off;
	synchronise() or return;
	set_max_ahead($new, $max_ahead);
	Load::keep_busy($old->{node}, $step->{pause});
	if ($cut_off)
	{
		$new->{node}->stop('immediate');
		Load::burst($old->{node}, 3_000_000, 'inf');
	}
	else
	{
		burst($step);
	}
	end_primary($step->{crash});
	start_again($new->{node}) if $cut_off;
	$new->{node}->promote;
	($primary, $standby) = ($new, $old);
	make_standby();
	undo_later($step->{lasts}, sub { set_max_ahead($_, $most_ahead) foreach @machines });
	$count{promotions}++;
	return;
}

my %faults = (

	backend => [ 2, sub {
		my ($step) = @_;

		after_burst($step, 'kill -9 of a backend');

		# If no client has one now, because IDs are refused: another process.
		kill_process(q{SELECT pid FROM pg_stat_activity
						WHERE application_name ~ '^(client|burst)' OR backend_type = 'walwriter'
						ORDER BY backend_type, application_name LIMIT 1});
	} ],

	keeper => [ 2, sub {
		my ($step) = @_;

		after_burst($step, 'kill -9 of the keeper');
		kill_process(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'snowflake keeper'});
	} ],

	postmaster => [ 4, sub {
		my ($step) = @_;

		after_burst($step, $step->{crash} eq 'kill -9' ? 'kill -9 of the postmaster' : 'immediate stop');
		end_primary($step->{crash});
		start_again($primary->{node});
	} ],

	worker => [ 1, sub {
		my ($step) = @_;

		after_burst($step, "$step->{stop}, and start as worker $step->{worker}");
		$primary->{node}->adjust_conf('postgresql.conf', 'snowflake.worker_id', $step->{worker});
		end_primary($step->{stop});
		start_again($primary->{node});
	} ],

	burst => [ 1, sub {
		say_that('burst');
		burst({ %{ $_[0] }, burst => 1 });
	} ],

	back => [ 3, sub {
		my ($step) = @_;
		my $machine = $machines[ $step->{machine} ];

		say_that('clock of the ' . role_of($machine) . " back by $step->{size}, for $step->{lasts} faults");
		$machine->{lag} += $ms{ $step->{size} };
		apply_clock($machine);
		undo_later($step->{lasts}, sub {
			$machine->{lag} -= $ms{ $step->{size} };
			apply_clock($machine);
		});
	} ],

	forward => [ 2, sub {
		my ($step) = @_;
		my $machine = $machines[ $step->{machine} ];
		my $other   = $machines[ !$step->{machine} ];

		say_that('clock of the ' . role_of($machine) . " forward by $step->{size}, the other one's $step->{lasts} faults later");
		$world += $ms{ $step->{size} };
		$other->{lag} += $ms{ $step->{size} };
		apply_clock($machine);
		undo_later($step->{lasts}, sub {
			$other->{lag} -= $ms{ $step->{size} };
			apply_clock($other);
		});
	} ],

	sawtooth => [ 2, sub {
		my ($step) = @_;
		my $machine = $machines[ $step->{machine} ];

		say_that('clock of the ' . role_of($machine) . " to and fro by $step->{size}");
		foreach (1 .. 20)
		{
			apply_clock($machine, -$ms{ $step->{size} });
			Load::keep_busy($primary->{node}, 0.05);
			apply_clock($machine);
			Load::keep_busy($primary->{node}, 0.05);
		}
	} ],

	max_ahead => [ 2, sub {
		my ($step) = @_;
		my $machine = $primary;

		say_that("max_ahead = $step->{max_ahead}, for $step->{lasts} faults");
		set_max_ahead($machine, $step->{max_ahead});
		undo_later($step->{lasts}, sub { set_max_ahead($machine, $most_ahead) });
	} ],

	standby => [ 2, sub {
		my ($step) = @_;

		say_that("restart of the standby, $step->{stop}");
		if ($step->{stop} eq 'kill -9')
		{
			$standby->{node}->kill9;
		}
		else
		{
			$standby->{node}->stop($step->{stop});
		}
		burst($step);
		Load::keep_busy($primary->{node}, $step->{pause});
		start_again($standby->{node});
	} ],

	synchronous => [ 1, sub {
		say_that('synchronous replication' . ($synchronous ? ', as it is' : ''));
		synchronise();
	} ],

	asynchronous => [ 3, sub {
		say_that('asynchronous replication');
		$synchronous = 0;
		set_synchronous_standby($primary, '');
		$primary->{node}->reload;
	} ],

	failover => [ 2, sub {
		my ($step) = @_;

		say_that(($step->{burst} ? 'burst, ' : '') . "$step->{crash}, and promotion, max_ahead = $step->{max_ahead} for $step->{lasts} faults");
		fail_over($step, $step->{max_ahead}, 0);
	} ],

	cut_off => [ 2, sub {
		my ($step) = @_;

		say_that("standby cut off, burst, $step->{crash}, and promotion, max_ahead = 0 for $step->{lasts} faults");
		fail_over($step, 0, 1);
	} ],
);

# One of the arguments.
sub draw
{
	return $_[ rand @_ ];
}

# The faults are dealt like cards, so that each has its turn in any two minutes.
my @cards;

sub draw_fault
{
	@cards = map { ($_) x $faults{$_}[0] } sort keys %faults unless @cards;
	return splice @cards, rand @cards, 1;
}

# Every step draws the same numbers, whatever it needs, so that a change of one
# fault does not change the schedule.
sub draw_step
{
	return {
		fault       => draw_fault(),
		pause       => 0.2 + rand 2,
		burst       => draw(0, 1, 1),
		burst_bytes => 4_000_000 + int rand 15_000_000,
		crash       => draw('kill -9', 'kill -9', 'immediate'),
		stop        => draw('fast', 'immediate', 'kill -9'),
		machine     => draw(0, 1),
		size        => draw(sort { $ms{$a} <=> $ms{$b} } keys %ms),
		max_ahead   => draw('0', '10ms', '1s', '1min'),
		worker      => draw(1, 1, 2, 65535),
		lasts       => draw(1, 2, 3),
	};
}

sub grouped
{
	my ($n) = @_;
	1 while $n =~ s/^(\d+)(\d{3})/$1,$2/;
	return $n;
}

# What a mark that is not durable would show first comes first, while nobody waits
# for the standby.
srand $seed;
my @schedule = map { draw_step() } 1 .. 2 * $seconds + 10;
unshift @schedule, { %{ $schedule[0] }, fault => 'postmaster', crash => 'kill -9', burst => 1 };
printf $report "seed %d, %d s\n", $seed, $seconds;

# The functions of the library that was built here, rather than of an installed one.
my $sql = slurp_file('sql/snowflake--1.0.sql');
$sql =~ s/^\\echo.*//m;
$sql =~ s/MODULE_PATHNAME/snowflake/g;

$servers++;
$primary->{node} = new_clock_node('server1', start => 0, init => [ allows_streaming => 1 ],
	conf => $conf . "dynamic_library_path = '" . getcwd() . ":\$libdir'\n");
$primary->{node}->start;
$primary->{node}->safe_psql('postgres', $sql);
make_standby();
settle();

foreach my $step (@schedule)
{
	last if clock_gettime(CLOCK_MONOTONIC) - $begin >= $seconds;
	$step_number++;
	$faults{ $step->{fault} }[1]->($step);
	undo_due($step_number);
	settle() or last;
	Load::keep_busy($primary->{node}, $step->{pause});
}

# At the end all clocks are right, and IDs are issued for certain.
undo_due('inf');
settle();
Load::stop();
$_->{node}->stop('immediate') foreach @machines;
say_that('time is up; looking through what was kept');

my $verdict = Load::verdict();

cmp_ok($verdict->{ids}, '>', 0, 'there are IDs');
is($verdict->{duplicates}, 0, 'no ID twice');
is($verdict->{order}, 0, 'no ID after a greater one');
print $report "$_\n" foreach @{ $verdict->{evidence} };
printf $report "%-18s %15s\n", @$_
  foreach [ 'IDs', grouped($verdict->{ids}) ], [ 'sessions', $verdict->{sessions} ],
  [ 'faults',      $step_number ],        [ 'crashes',     $count{crashes} ],
  [ 'clock steps', $count{steps} ],       [ 'promotions',  $count{promotions} ],
  [ 'refusals',    $count{refusals} ],    [ 'duplicates',  $verdict->{duplicates} ],
  [ 'order violations', $verdict->{order} ];

done_testing();
