# World.pm
#		What the torture knows of its servers: which is primary and which standby, what
#		their clocks show, what is temporary and when it is undone, and whether IDs
#		have to be issued.
package World;

use strict;
use warnings;

use Exporter 'import';
use FakeClock;
use Load;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake qw(poll_until start_again);
use Test::More;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC CLOCK_REALTIME);

our @EXPORT = qw(%world say_that role_of undo_later undo_due apply_clock clock_shows pass_time ask wait_for
  is_gone is_stopped set_conf set_max_ahead busy issuers settle make_standby start_standby grouped);

# Allows leads of an hour, if a fault causes them.
use constant MOST_AHEAD => '1h';

# Two machines, each with a clock, and a third one with the registry's.  What is
# temporary of one is undone after some more faults: how far its clock is behind,
# and a lower max_ahead.  lowered: on a standby nothing durable tells what it has
# issued, so the order of its IDs ends with it when its clock went back, or its
# max_ahead was lowered, since it was started.
my @machines = map { { lag => 0, max_ahead => MOST_AHEAD, lowered => 0 } } 1 .. 3;

our %world = (
	primary     => $machines[0],
	standby     => $machines[1],
	registry    => $machines[2],
	machines    => [ @machines[ 0, 1 ] ],    # those whose clocks are set: with leases all
	leased      => 0,
	time        => 0,     # how far the right time is after the true one, by the steps forward, in ms
	synchronous => 0,
	fences      => 0,     # those after which the registry does not lease again yet
	step        => 0,
	begin       => clock_gettime(CLOCK_MONOTONIC),
	count       => { crashes => 0, steps => 0, promotions => 0, refusals => 0 },
);

# Is the registry down, or paused?  Leases.pm has the answer.
our $registry_in_trouble = sub { 0 };

my $servers = 0;
my $report;
my @due;    # [ step, sub ]

sub report_to
{
	($report) = @_;
	return;
}

sub say_that
{
	my ($what) = @_;
	printf $report "%7.1f s %5.1f M IDs  %3d  %s\n", clock_gettime(CLOCK_MONOTONIC) - $world{begin},
	  Load::count() / 1e6, $world{step}, $what;
	return;
}

sub grouped
{
	my ($n) = @_;
	1 while $n =~ s/^(\d+)(\d{3})/$1,$2/;
	return $n;
}

sub role_of
{
	my ($machine) = @_;
	my ($role) = grep { $world{$_} == $machine } qw(primary standby registry);
	return $role;
}

sub undo_later
{
	my ($faults, $undo) = @_;
	push @due, [ $world{step} + $faults, $undo ];
	return;
}

sub undo_due
{
	my ($until) = @_;
	my @now = grep { $_->[0] <= $until } @due;

	@due = grep { $_->[0] > $until } @due;
	$_->[1]->() foreach @now;
	return;
}

# What a query returns, or nothing if the server cannot be asked now.
sub ask
{
	my ($machine, $sql) = @_;
	my ($status, $out) = $machine->{node}->psql('postgres', $sql, timeout => 60, timed_out => \my $late);
	return $status || $late ? '' : $out;
}

# A check: this becomes true.
sub wait_for
{
	my ($name, $condition) = @_;
	return ok(poll_until($condition), "step $world{step}: $name");
}

# As /proc shows it; a zombie does not count as running.
sub process_state
{
	my ($pid) = @_;

	open my $fh, '<', "/proc/$pid/stat" or return 'gone';
	my ($state) = (<$fh> // '') =~ /.*\) (\S)/;
	return $state // 'gone';
}

sub is_gone
{
	my ($pid) = @_;
	return process_state($pid) =~ /gone|[ZX]/;
}

sub is_stopped
{
	my ($pid) = @_;
	return process_state($pid) eq 'T';
}

# Sets a machine's clock to what it shows of its own accord; extra: for a moment,
# so far from that.
sub apply_clock
{
	my ($machine, $extra) = @_;
	my $node  = $machine->{node};
	my $start = clock_gettime(CLOCK_MONOTONIC);

	$node->set_clock(($world{time} - $machine->{lag} + ($extra // 0)) / 1000);
	push @{ $node->{clock_steps} },
	  [ map { sprintf '%.0f', $_ * 1e9 } $start, clock_gettime(CLOCK_MONOTONIC) ];
	$world{count}{steps}++;
	return;
}

# A check: a server's clock is as far from the true time as it was set.  It and the
# monotonic clock are read one after the other, so the quickest of many reads is
# near enough to tell a millisecond.
sub clock_shows
{
	my ($machine, $extra) = @_;
	my $wanted = $world{time} - $machine->{lag} + ($extra // 0);
	my $there = ask($machine, 'SELECT max(clock_ns(0) - clock_ns(1)) FROM generate_series(1, 1000)');
	my $here;

	foreach (1 .. 1000)
	{
		my $difference = clock_gettime(CLOCK_REALTIME) - clock_gettime(CLOCK_MONOTONIC);
		$here = $difference if !defined $here || $difference > $here;
	}
	return fail("step $world{step}: the clock of the " . role_of($machine) . ' can be read') if $there eq '';
	return cmp_ok(abs($there / 1e6 - $here * 1e3 - $wanted), '<', 0.5,
		"step $world{step}: the clock of the " . role_of($machine) . " is $wanted ms from the true time");
}

# This many milliseconds pass, for everybody.
sub pass_time
{
	my ($ms) = @_;
	$world{time} += $ms;
	apply_clock($_) foreach @{ $world{machines} };
	return;
}

sub set_conf
{
	my ($machine, $name, $value) = @_;
	$machine->{node}->adjust_conf('postgresql.conf', $name, $value);
	return;
}

# Reloads; sessions that begin now have the new value.
sub set_max_ahead
{
	my ($machine, $value) = @_;

	$machine->{lowered}   = 1 if $value ne MOST_AHEAD;
	$machine->{max_ahead} = $value;
	set_conf($machine, 'snowflake.max_ahead', $value);
	$machine->{node}->reload;
	return wait_for('max_ahead of the ' . role_of($machine) . " is $value",
		sub { ask($machine, 'SHOW snowflake.max_ahead') eq $value });
}

# Clients are at work while so many seconds pass.
sub busy
{
	my ($seconds) = @_;
	Load::keep_busy($seconds, map { $_ => $world{$_}{node} } 'primary', $world{leased} ? 'standby' : ());
	return;
}

sub issuers
{
	return $world{leased} ? @world{qw(primary standby)} : $world{primary};
}

# May calls be refused?  As long as a clock is behind, as little lead is allowed, or
# as the registry does not lease.
sub may_refuse
{
	my ($machine) = @_;
	return 1 if $machine->{lag} > 0 || $machine->{max_ahead} ne MOST_AHEAD;
	return $world{leased} && ($world{registry}{lag} > 0 || $world{fences} > 0 || $registry_in_trouble->());
}

# Are IDs still issued?  If not, the torture ends.
my $stuck = 0;

sub ids_go_on
{
	my ($machine) = @_;
	my $refusal = $world{leased} ? qr/ERROR:  (?:58000: |55000: this server holds no lease of a worker ID)/ : qr/ERROR:  58000: /;
	my $end     = clock_gettime(CLOCK_MONOTONIC) + $PostgreSQL::Test::Utils::timeout_default;
	my $name    = "step $world{step}: IDs go on, on the " . role_of($machine);

	for (;;)
	{
		my ($id, $error) = Load::probe($machine->{node});
		my $refused = may_refuse($machine) && $error =~ $refusal;

		$world{count}{refusals}++ if $refused;
		return pass($name) if $id ne '' || $refused;
		if (clock_gettime(CLOCK_MONOTONIC) > $end)
		{
			$stuck = 1;
			say_that('no IDs any more on the ' . role_of($machine) . ": $error");
			return fail($name);
		}
		busy(0.1);
	}
}

sub settle
{
	return 0 if $stuck;
	ids_go_on($_) or return 0 foreach issuers();
	return 1;
}

# A standby that was down.
sub start_standby
{
	my ($machine) = @_;

	Load::begin_order($machine->{node}) if $machine->{lowered};
	$machine->{lowered} = 0;
	start_again($machine->{node});
	return;
}

# A fresh standby of the primary, on the machine of the standby.
sub make_standby
{
	my ($primary, $standby) = @world{qw(primary standby)};
	my $node   = PostgreSQL::Test::Cluster->new(next_name());
	my $backup = 'for_' . $node->name;

	$primary->{node}->backup($backup);
	$node->init_from_backup($primary->{node}, $backup, has_streaming => 1);
	$standby->{node}->clean_node if $standby->{node};
	$standby->{node}      = with_clock($node);
	$standby->{max_ahead} = $primary->{max_ahead};
	$standby->{lowered}   = 0;
	apply_clock($standby);
	Load::begin_order($node);

	# Promoted, it issues nothing that its own standby could not continue from.
	set_conf($standby, 'synchronous_standby_names', "'server" . ($servers + 1) . "'");
	$node->start;
	return;
}

sub next_name
{
	return 'server' . ++$servers;
}

1;
