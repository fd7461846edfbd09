# The ends of the time bits: the last millisecond that a layout has, and the
# clock before the epoch.
#
# Ruled out: an ID that is negative, or that comes again from the beginning,
# because the milliseconds do not fit; a clock out of range, for once, that
# leaves the server without IDs for good.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use FakeClock;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

# From 1970 on the time bits reach to 2039-09-07 15:47:35.552 UTC.
my $end = 2**41;
my $year = 31_536_000;

sub set_to
{
	my ($node, $unix_ms) = @_;

	$node->set_clock($unix_ms / 1000 - time);
	return;
}

sub used_up
{
	my ($node, $name) = @_;

	foreach my $call ('snowflake_next()', 'snowflake_next(1000)')
	{
		call_fails($node, "$name: $call", "SET timezone = 'UTC'; SELECT $call", '2200H',
			qr/the time bits of snowflake IDs are used up\n/,
			qr/DETAIL:  This layout ends at 2039-09-07 15:47:35.552\+00\.\n/,
			qr/HINT:  If that time is in the future, correct the system clock\.\n/);
	}
	return;
}

sub none_negative
{
	my (@files) = @_;

	is(`cat @files | grep -c '^-'`, "0\n", 'no ID is negative');
	return;
}

# The clock is past the end before there was any ID: once it is right, all is well.
{
	my $node = new_clock_node('late', clock => $end / 1000 + $year - time, conf => q{
		snowflake.epoch = '1970-01-01'
		snowflake.worker_bits = 16
		snowflake.max_ahead = 0});
	my @incarnations;

	used_up($node, 'a year past the end');
	set_to($node, $end + 200 * $year * 1000);
	used_up($node, 'two centuries past the end');
	set_to($node, $end - $year * 1000);
	push @incarnations, [ take_ids($node, 1000) ];
	$node->restart;
	set_to($node, $end + $year * 1000);
	used_up($node, 'past the end again');
	set_to($node, $end - $year * 1000 + 60_000);
	push @incarnations, [ take_ids($node, 1000) ];

	# One millisecond before the end, and onward.
	$node->freeze_clock($end - 1);
	my $id = next_id($node);
	is($id >> 22, $end - 1, 'an ID of the last millisecond');
	append_to_file($incarnations[-1][0], "$id\n");
	$node->freeze_clock($end);
	used_up($node, 'at the end');

	check_ids('past the end and back', @incarnations);
	none_negative(map { @$_ } @incarnations);
	$node->stop;
}

# A burst runs into the end.
{
	my $node = new_clock_node('burst', clock => $end / 1000 - 600 - time, conf => q{
		snowflake.epoch = '1970-01-01'
		snowflake.worker_bits = 16
		snowflake.max_ahead = 1h});

	# Do not go through all ten minutes by calls.
	my @incarnations = ([ take_ids($node, 1000) ], [ burst($node) ]);
	set_to($node, $end - 5000);
	my $taker = start_taker($node, sql => 'SELECT snowflake_next(1000000000)');
	wait_for_end($taker);
	push @incarnations, [ $taker->{file} ];
	like($taker->{errors}, qr/ERROR:  the time bits of snowflake IDs are used up/, 'a batch ends at the end');

	# Worker 1, all bits of the sequence.
	is(last_line($taker->{file}), ($end - 1) << 22 | 1 << 6 | 63, 'the last ID of all was issued');
	is($node->safe_psql('postgres', 'SELECT worker_id, sequence FROM snowflake_decode(' . last_line($taker->{file}) . ')'),
		'1|63', 'and can be decoded');
	used_up($node, 'after the last ID');
	$node->restart;
	used_up($node, 'after a restart');
	$node->kill9;
	start_again($node);
	used_up($node, 'after a crash');
	set_to($node, $end - $year * 1000);
	used_up($node, 'with the clock set back');

	check_ids('up to the end', @incarnations);
	none_negative(map { @$_ } @incarnations);
	$node->stop;
}

# The clock before the epoch.
{
	my $epoch = 1_672_531_200_000;    # 2023-01-01, the default
	my $node  = new_clock_node('early', start => 0, conf => 'restart_after_crash = on');
	my @incarnations;

	set_to($node, $epoch - 3_600_000);
	start_fails($node, 'the clock is before the epoch',
		qr/FATAL:  invalid value for parameter "snowflake.epoch": "2023-01-01 00:00:00 UTC"/,
		qr/DETAIL:  It is in the future: this server's clock shows 2022-12-31/,
		qr/HINT:  Correct "snowflake.epoch" or the clock/);

	$node->set_clock(0);
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION snowflake');

	# Before the first ID, a year before the epoch and at the beginning of 1970.
	foreach my $clock ($epoch - $year * 1000, 86_400_000)
	{
		set_to($node, $clock);
		clock_refuses($node, "before the epoch, no ID yet, $clock", ($epoch - $clock) / 1000);
	}
	$node->set_clock(0);
	push @incarnations, [ take_ids($node, 1000) ];

	foreach my $clock ($epoch - $year * 1000, 86_400_000)
	{
		my $taker = start_slow_taker($node);
		wait_for_ids($taker, 0);
		push @incarnations, [ $taker->{file} ];

		set_to($node, $clock);
		clock_refuses($node, "before the epoch, $clock", 100 * $year);
		wait_for_end($taker);
		like($taker->{errors}, qr/ERROR:  the system clock is too far behind/, 'a session that takes IDs is refused');

		# The memory is reinitialized while the clock is wrong.
		my $sleeper = start_taker($node, sql => 'SELECT pg_sleep(3600)');
		ok( $node->poll_query_until('postgres',
				"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '$sleeper->{name}' AND wait_event = 'PgSleep')"),
			'a session is there to be killed');
		my $offset = -s $node->logfile;
		kill_process(taker_pid($node, $sleeper), 'that session');
		wait_for_end($sleeper);
		ok($node->poll_query_until('postgres', 'SELECT true'), 'the server restarts by itself');
		like(log_since($node, $offset), qr/all server processes terminated; reinitializing/, 'with its memory made anew');
		clock_refuses($node, "before the epoch, after a crash, $clock", 100 * $year);

		$node->set_clock(0);
		push @incarnations, [ take_ids($node, 1000) ];
	}

	# The mark cannot be before the epoch either.  Another worker ID, since a server
	# that has issued IDs itself knows better.
	$node->append_conf('postgresql.conf', 'snowflake.worker_id = 2');
	$node->restart;
	set_to($node, $epoch - $year * 1000);
	$node->safe_psql('postgres', 'SELECT snowflake_forget_mark()');
	clock_refuses($node, 'before the epoch, the mark was forgotten', $year);
	$node->set_clock(60);
	push @incarnations, [ take_ids($node, 1000) ];

	check_ids('before the epoch and back', @incarnations);
	none_negative(map { @$_ } @incarnations);
	$node->stop;
}

done_testing();
