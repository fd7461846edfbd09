# A synchronous standby that is absent holds the keeper exactly between the flush
# of the mark and the window that depends on it.
#
# Ruled out: a window that is published before the mark is durable, here or on
# the standby, so that the server that takes over gives out an ID that somebody
# has already; a window that stays open when a standby is asked for that need not
# have the mark; a keeper that hangs on the absent standby, at a shutdown or when
# the standby is not asked for any more.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $primary = new_node('primary', init => [ allows_streaming => 1 ], conf => q{
	wal_keep_size = 128MB
	snowflake.worker_bits = 16
	snowflake.max_ahead = 10min});
my $standby = new_standby($primary, 'standby');
my @incarnations;

sub require_standby
{
	my ($names) = @_;
	$primary->append_conf('postgresql.conf', "synchronous_standby_names = '$names'");
	$primary->reload;
	return;
}

sub wait_for_standby
{
	ok( $primary->poll_query_until('postgres', q{
		SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming')}),
		'the standby is synchronous');
	return;
}

# A session that takes IDs until the window is used up, and then waits.
sub use_up_window
{
	my $taker = start_taker($primary, sql => 'SELECT snowflake_next(1000000000)');
	wait_until_held($primary, $taker);
	return $taker;
}

# It has got more IDs since, and is stopped.
sub goes_on
{
	my ($taker, $size, $name) = @_;
	ok(poll_until(sub { -s $taker->{file} > $size + 100_000 }), "$name: IDs go on");
	stop_taker($taker);
	push @incarnations, [ $taker->{file} ];
	return;
}

require_standby('standby');
wait_for_standby();
push @incarnations, [ take_ids($primary, 1000) ], [ burst($primary) ];

# Nothing is issued past the mark that the standby has flushed.
$standby->stop;
{
	my $taker = use_up_window();

	call_fails($primary, 'standby absent', 'SELECT snowflake_next()', '55000',
		qr/could not issue a snowflake ID: the background worker did not respond in time/,
		qr/The background worker "snowflake keeper" is waiting for a synchronous standby to flush WAL/);
	$taker->{run}->finish;
	like($taker->{errors}, qr/could not issue a snowflake ID: the background worker did not respond in time/, 'standby absent: a batch ends');
	push @incarnations, [ $taker->{file} ];
}
my $newest = last_line($incarnations[-1][0]);
cmp_ok(mark_ms($primary), '>', $newest >> 22, 'the primary has flushed a mark beyond');

# Nor does a restart get past it.
$primary->restart;
{
	my $taker = start_taker($primary, sql => 'SELECT snowflake_next()');

	wait_until_held($primary, $taker);
	ok($primary->stop('fast', fail_ok => 1), 'a fast shutdown works while a call and the keeper wait');
	$taker->{run}->finish;
	is(-s $taker->{file}, 0, 'the call has got nothing');
	like($taker->{errors}, qr/terminating connection due to administrator command/, 'the call was ended by the shutdown');
}
$standby->start;
cmp_ok(mark_ms($standby), '>', $newest >> 22, 'all IDs are below the mark that the standby has');

# When it is back, IDs are issued again.
$primary->start;
wait_for_standby();
push @incarnations, [ take_ids($primary, 1000) ];
$standby->stop;
{
	my $taker = use_up_window();
	my $size  = -s $taker->{file};

	$standby->start;
	goes_on($taker, $size, 'the standby is back');
}

# Also when it is no longer required.
$standby->stop;
{
	my $taker = use_up_window();
	my $size  = -s $taker->{file};

	require_standby('');
	goes_on($taker, $size, 'no standby is asked for');
}

# A standby that is asked for by a reload need not have the mark that IDs are
# issued under: they stop until it has.
$standby->start;
$primary->wait_for_catchup('standby');
$standby->stop;
push @incarnations, [ take_ids($primary, 1000) ];
require_standby('standby');
ok( $primary->poll_query_until('postgres', q{SELECT state = 'waiting for the keeper' FROM snowflake_status()}),
	'asked for by a reload: IDs stop');
{
	my $taker = start_taker($primary);

	wait_until_held($primary, $taker);
	is(-s $taker->{file}, 0, 'asked for by a reload: not one more');
	$standby->start;
	goes_on($taker, 0, 'the standby that was asked for is there');
}
require_standby('');
$standby->stop;

# What counts is which standbys acknowledged the mark.  Here another one does,
# which is asked for while the keeper is paused, and not any more when it goes on.
my $another = new_standby($primary, 'another');
my $late = qr/The background worker "snowflake keeper" is waiting for a synchronous standby to flush WAL/;
require_standby('standby');
{
	my $taker  = use_up_window();
	my $keeper = $primary->safe_psql('postgres', 'SELECT keeper_pid FROM snowflake_status()');

	ok(kill('STOP', $keeper), 'the keeper is paused');
	require_standby('another');
	wait_for_standby();
	$primary->safe_psql('postgres', 'CREATE TABLE acknowledged_by_another ()');
	require_standby('standby');
	ok( $primary->poll_query_until('postgres', q{SELECT sync_state = 'async' FROM pg_stat_replication WHERE application_name = 'another'}),
		'it is not asked for any more');
	ok(kill('CONT', $keeper), 'the keeper goes on');
	call_fails($primary, 'another one acknowledged', 'SELECT snowflake_next()', '55000', $late);
	$taker->{run}->finish;
	push @incarnations, [ $taker->{file} ];
}

# It does not help either that none was required in between.
foreach (1 .. 20)
{
	require_standby('');
	require_standby('standby');
	select undef, undef, undef, 0.02 * rand;
}
ok( $primary->poll_query_until('postgres', q{SELECT state = 'waiting for the keeper' FROM snowflake_status()}),
	'none was asked for in between: IDs stop');
call_fails($primary, 'none was asked for in between', 'SELECT snowflake_next()', '55000', $late);
require_standby('');
$another->stop;
push @incarnations, [ take_ids($primary, 1000) ];

# Failover: whatever was returned is below the mark that the standby has, though
# it grants no lead to start from.
$standby->append_conf('postgresql.conf', 'snowflake.max_ahead = 0');
$standby->start;
require_standby('standby');
wait_for_standby();
push @incarnations, [ burst($primary) ];
$newest = last_line($incarnations[-1][0]);
$primary->stop('immediate');
cmp_ok(mark_ms($standby), '>', $newest >> 22, 'all IDs are below the mark at the failover');
$standby->promote;
call_fails($standby, 'promoted', 'SELECT snowflake_next()', '58000',
	qr/the system clock is too far behind the newest snowflake ID/);
$standby->append_conf('postgresql.conf', q{
	snowflake.max_ahead = 1h
	synchronous_standby_names = ''});
$standby->reload;
ok($standby->poll_query_until('postgres', q{SELECT setting = '3600000' FROM pg_settings WHERE name = 'snowflake.max_ahead'}),
	'max_ahead is raised');
push @incarnations, [ take_ids($standby, 1000) ];

check_ids('synchronous standby', @incarnations);

$standby->stop;
done_testing();
