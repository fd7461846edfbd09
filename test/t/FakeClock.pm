# FakeClock.pm
#		A server whose clock a test moves, while it is down or while it runs.
#
# fake_clock.c is preloaded into the postmaster, and reads a file that is written
# here.  pg_ctl gets the same clock, because it compares it with what the
# postmaster wrote.
package FakeClock;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;
use Time::HiRes ();

our @ISA    = ('PostgreSQL::Test::Cluster');
our @EXPORT = qw(new_clock_node with_clock clock_refuses @STEPS);

# How far the clocks of the tests move: a name, and seconds.
our @STEPS = (
	[ '1 ms',   0.001 ],
	[ '1 s',    1 ],
	[ '1 min',  60 ],
	[ '1 h',    3600 ],
	[ '1 day',  86_400 ],
	[ '1 year', 31_536_000 ]);

# As new_node(), with a clock; clock => its offset at the start, in seconds.
sub new_clock_node
{
	my ($name, %options) = @_;
	my $node = with_clock(new_node($name, %options, start => 0));

	$node->set_clock($options{clock}) if $options{clock};
	return $node if defined $options{start} && !$options{start};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION snowflake');
	return $node;
}

# The library to preload, built once per test.
my $library;

sub library
{
	my ($node) = @_;

	unless (defined $library)
	{
		my ($compiler) = split ' ', $node->config_data('--cc');

		$library = PostgreSQL::Test::Utils::tempdir() . '/fake_clock.so';
		IPC::Run::run([ $compiler, '-O2', '-shared', '-fPIC', '-o', $library, dirname(__FILE__) . '/fake_clock.c' ])
		  or die 'could not build the fake clock';
	}
	return $library;
}

# Gives a server that is down a clock of its own.
sub with_clock
{
	my ($node) = @_;

	bless $node, 'FakeClock';
	$node->{clock_file} = $node->basedir . '/clock';
	append_to_file($node->{clock_file}, pack 'q2', 0, 0);
	$node->set_clock(0);
	return $node;
}

# In place, for it is mapped; what was frozen goes last, and comes first.
sub write_clock
{
	my ($node, $offset, $frozen) = @_;

	open my $fh, '+<', $node->{clock_file} or die "$node->{clock_file}: $!";
	foreach my $word ($frozen ? ([ 8, $frozen ], [ 0, $offset ]) : ([ 0, $offset ], [ 8, 0 ]))
	{
		sysseek $fh, $word->[0], 0;
		syswrite $fh, pack 'q', $word->[1];
	}
	close $fh;
	return;
}

# Moves the clock to so many seconds after the true time; negative: before it.
# A clock that stood still runs again.
sub set_clock
{
	my ($node, $offset) = @_;

	$node->{clock_offset} = $offset;
	$node->write_clock(int($offset * 1e9), 0);
	return;
}

# Stops the clock at what it shows now, or at a time in Unix milliseconds (an
# integer, or it would be rounded to 256 ns).
sub freeze_clock
{
	my ($node, $at) = @_;
	my $offset = int($node->{clock_offset} * 1e9);

	unless (defined $at)
	{
		my ($seconds, $microseconds) = Time::HiRes::gettimeofday();
		$at = $seconds * 1000 + int($microseconds / 1000) + int($offset / 1_000_000);
	}
	$node->write_clock($offset, $at * 1_000_000);
	return;
}

sub clock_environment
{
	my ($node) = @_;
	return (LD_PRELOAD => library($node), FAKE_CLOCK => $node->{clock_file});
}

sub start
{
	my ($node, @arguments) = @_;
	local %ENV = (%ENV, clock_environment($node));
	return $node->SUPER::start(@arguments);
}

sub restart
{
	my ($node, @arguments) = @_;
	local %ENV = (%ENV, clock_environment($node));
	return $node->SUPER::restart(@arguments);
}

# A call fails because the clock is too far behind.  It says how far (at most so many
# seconds), until when, and the way out.
sub clock_refuses
{
	my ($node, $name, $seconds) = @_;
	my ($status, $out, $err) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT snowflake_next()",
		timeout => $PostgreSQL::Test::Utils::timeout_default);

	is($out, '', "$name: no ID");
	like($err, qr/ERROR:  58000: the system clock is too far behind the newest snowflake ID/, "$name: says so");

	my ($clock, $next, $ahead, $allowed) = $err =~
	  /DETAIL:  The clock shows (.+), and the next ID would have the time (.+), which is ([\d.]+) s ahead; "snowflake.max_ahead" allows ([\d.]+) s\./;
	my ($until) = $err =~
	  /HINT:  IDs will be issued again when the clock shows (.+?)\. If .*worker ID that has never been used, restart it, and call snowflake_forget_mark\(\)/;

	ok(defined $ahead, "$name: says how far");
	ok(defined $until, "$name: says until when, and the way out");
	return unless defined $ahead && defined $until;

	is( $node->safe_psql('postgres',
			"SELECT '$next'::timestamptz - '$clock' = '$ahead s', '$next'::timestamptz - '$until' = '$allowed s'"),
		't|t', "$name: the times are right");
	cmp_ok($ahead, '>', $allowed, "$name: that is too far");
	cmp_ok($ahead, '<=', $seconds + $allowed + 1, "$name: and not farther than it can be");
	return $until;
}

1;
