# torture.pl
#		A primary, a standby, clients that keep the IDs they got, and faults in
#		random order until the time is up: then no ID may have come twice, none after
#		one that is greater, and none with another time than the clock's.
#
# usage: torture.pl SECONDS SEED [leased | configured]
#
# With leased worker IDs there is a registry, too, and the standby issues IDs.
# By default, an odd seed has them leased.
#
# The library is taken from the working directory, where it was built; nothing needs
# to be installed.
#
# All random numbers are drawn before anything is started, so that a seed stands
# for a schedule, one with leases and one without.  What a fault needs for the IDs
# to be promised at all is part of it: before a promotion, the standby is made
# synchronous.
use strict;
use warnings;

# The test framework uses the standard output for its log.
my $report;
BEGIN { open $report, '>&', \*STDOUT or die; }

use Cwd;
use FindBin;
use lib "$FindBin::RealBin/../t", $FindBin::RealBin;
use FakeClock;
use Faults;
use IPC::Run;
use Leases;
use Load;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);
use Verdict;
use World;

# A run of so many seconds has had each fault, unless the machine is so slow that
# not all have had their turn.
use constant LONG => 300;

# Fewer rows a second with a clock reading are too few to prove anything.
use constant LEAST_ROWS => 100;

my ($seconds, $seed, $workers) = @ARGV;
$world{leased} = defined $workers ? $workers eq 'leased' : $seed % 2;

Test::More->builder->output(\*STDOUT);
Test::More->builder->failure_output(\*STDERR);
$report->autoflush(1);
World::report_to($report);

my %faults = %Faults::faults;
if ($world{leased})
{
	%faults = (%faults, %Faults::with_leases);
	$world{machines} = [ @world{qw(primary standby registry)} ];
}

# 64 IDs a millisecond produce leads, and a slow walwriter leaves an unflushed mark
# where a crash loses it.  A step of a clock must not end a replication connection,
# and nothing but a promotion may change the primary.
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
$conf .= "dynamic_library_path = '" . getcwd() . ":\$libdir'\n";

# One of the arguments.
sub draw
{
	return $_[ rand @_ ];
}

# The faults are dealt like cards, so that each has its turn in any few minutes.
my @hand = map { ($_) x $faults{$_}[0] } sort keys %faults;
my @cards;

sub draw_fault
{
	@cards = @hand unless @cards;
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
		machine     => draw(0 .. 5),
		size        => draw(sort { $Faults::ms{$a} <=> $Faults::ms{$b} } keys %Faults::ms),
		max_ahead   => draw('0', '10ms', '1s', '1min'),
		worker      => draw(1, 1, 2, 65535),
		lasts       => draw(1, 2, 3),
	};
}

# clock_ns() in SQL, built for this server.
sub clock_function
{
	my ($node)     = @_;
	my ($compiler) = split ' ', $node->config_data('--cc');
	my $library    = PostgreSQL::Test::Utils::tempdir() . '/clock_ns';

	IPC::Run::run([ $compiler, '-O2', '-shared', '-fPIC', '-I' . $node->config_data('--includedir-server'),
			'-o', "$library.so", "$FindBin::RealBin/clock_ns.c" ])
	  or die 'could not build clock_ns';
	return "CREATE FUNCTION clock_ns(clock integer) RETURNS bigint VOLATILE STRICT LANGUAGE C AS '$library';";
}

# The functions of the library that was built here, rather than of an installed one.
sub start_servers
{
	my ($kind) = @_;
	my $sql  = slurp_file(install_script('snowflake', '.', 'sql'));
	my $node = PostgreSQL::Test::Cluster->new('any');
	my $clock = clock_function($node);

	$sql =~ s/^\\echo.*//m;
	$sql =~ s/MODULE_PATHNAME/snowflake/g;
	$conf .= Leases::start_registry($kind, $clock) if $world{leased};
	my $primary = new_clock_node(World::next_name(), start => 0, init => [ allows_streaming => 1 ],
		conf => $conf, registry => $world{leased} ? $world{registry}{node} : undef);
	$primary->start;
	$primary->safe_psql('postgres', $sql . $clock);
	$world{primary}{node} = $primary;
	Load::begin_order($primary);
	make_standby();
	return settle();
}

# The faults that would expose a mark that is not durable come first, while nobody
# waits for the standby.
srand $seed;
my $kind = draw(Leases::kinds());
my @schedule = map { draw_step() } 1 .. 2 * $seconds + 10;
unshift @schedule, { %{ $schedule[0] }, fault => 'postmaster', crash => 'kill -9', burst => 1 };
printf $report "seed %d, %d s, worker IDs %s\n", $seed, $seconds, $world{leased} ? "leased for $kind" : 'configured';

start_servers($kind);

my $happened = \%Faults::happened;
%$happened = map { $_ => [ 0, 0 ] } keys %faults;

foreach my $step (@schedule)
{
	last if clock_gettime(CLOCK_MONOTONIC) - $world{begin} >= $seconds;
	$world{step}++;
	Faults::inflict($faults{ $step->{fault} }[2], $step);
	undo_due($world{step});
	settle() or last;
	busy($step->{pause});
}

# At the end all clocks are right, and IDs must be issued.
undo_due('inf');
settle();
Load::stop();
my $leases = $world{leased} ? Leases::all() : undef;
$_->{node}->stop('immediate') foreach grep { $_->{node} } @world{qw(primary standby registry)};
say_that('time is up; looking through what was kept');

my $verdict = Verdict::of($leases);
my ($leased, $leased_workers, $overlaps) = $leases ? Leases::overlaps($leases) : ();
my $checked = $verdict->{looked_at} - $verdict->{excused};

cmp_ok($verdict->{ids}, '>', 0, 'there are IDs');
is($verdict->{duplicates}, 0, 'no ID twice');
is($verdict->{order}, 0, 'no ID after a greater one');
is($verdict->{time}, 0, 'no ID of another time than the clock and max_ahead allow');
cmp_ok($checked, '>', LEAST_ROWS * $seconds, 'the time of many IDs was looked at');
if ($leases)
{
	is($verdict->{unleased}, 0, 'no ID that the server had not leased');
	is($overlaps, 0, 'no two leases of a worker ID overlap');
	cmp_ok($leased, '>', 1, 'worker IDs were leased');
}
if ($seconds >= LONG && $world{step} > @hand)
{
	cmp_ok($happened->{$_}[0], '>', 0, "it happened: $faults{$_}[1]") foreach sort keys %faults;
	cmp_ok(Faults::bursts(), '>', 0, 'there were bursts');
	cmp_ok($leased, '>', $leased_workers, 'worker IDs were leased again') if $leases;
}

sub line
{
	my ($what, $count, $rest) = @_;
	printf $report "%-42s %15s%s\n", $what, grouped($count), $rest // '';
	return;
}

print $report "$_\n" foreach @{ $verdict->{evidence} };
foreach my $fault (sort { $faults{$a}[1] cmp $faults{$b}[1] } keys %faults)
{
	my ($times, $in_vain) = @{ $happened->{$fault} };
	line($faults{$fault}[1], $times, $in_vain ? ", and $in_vain in vain" : '');
}
line(@$_) foreach [ 'bursts, all in all', Faults::bursts() ],
  [ 'faults',           $world{step} ],           [ 'crashes',    $world{count}{crashes} ],
  [ 'clock steps',      $world{count}{steps} ],   [ 'promotions', $world{count}{promotions} ],
  [ 'refusals',         $world{count}{refusals} ],
  [ 'leases',           $leased // 0, $leases ? ", of $leased_workers worker IDs" : '' ],
  [ 'sessions',         $verdict->{sessions} ],   [ 'IDs',        $verdict->{ids} ],
  [ 'IDs whose time was looked at', $checked, ", and $verdict->{excused} while the clock was set" ],
  [ 'IDs of another time',          $verdict->{time} ],
  $leases ? [ 'IDs that were not leased', $verdict->{unleased} ] : (),
  [ 'duplicates', $verdict->{duplicates} ],
  [ 'order violations', $verdict->{order} ];

done_testing();
