# The way out after a clock that was far in the future: snowflake_forget_mark(),
# on a worker ID that has never been used.
#
# Ruled out: a call by somebody without permission, or that goes unnoticed; a mark
# that was lowered and comes back after a crash, or IDs of the new worker that come
# twice; a call that failed and is carried out later; one that forgets what the
# server itself has issued.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use FakeClock;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $node = new_clock_node('main', worker_id => 1, clock => 86_400, init => [ allows_streaming => 1 ]);
my $future = take_ids($node, 1000);

$node->stop;
$node->set_clock(0);
$node->append_conf('postgresql.conf', 'snowflake.worker_id = 2');
$node->start;
clock_refuses($node, 'the clock was a day ahead', 86_400);

# By superusers only, whatever is granted.
$node->safe_psql('postgres', 'CREATE ROLE somebody LOGIN');
my $call = 'SELECT snowflake_forget_mark()';
call_fails($node, 'not granted', "SET ROLE somebody; $call", '42501', qr/permission denied for function snowflake_forget_mark/);
$node->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION snowflake_forget_mark() TO somebody');
call_fails($node, 'granted', "SET ROLE somebody; $call", '42501', qr/must be superuser to call snowflake_forget_mark\(\)/);
clock_refuses($node, 'nothing has changed', 86_400);

my $offset = -s $node->logfile;
my ($status, $out, $warning) = $node->psql('postgres', $call);
is($status, 0, 'a superuser may');
like($warning, qr/WARNING:  snowflake IDs start from the system clock again/, 'it warns');
like($warning, qr/DETAIL:  This assumes that worker ID 2 has never issued an ID later than now\. If it has, IDs will repeat\./, 'and says what it assumes');
my $log = log_since($node, $offset);
like($log, qr/LOG:  snowflake_forget_mark\(\) was called by role "\w+"/, 'the log says who');
like($log, qr/LOG:  snowflake_forget_mark\(\) has taken effect\n.*DETAIL:  The value of "mark" in snowflake_status\(\) was .* and is now .*; IDs are issued as worker 2\./, 'and what');

# From the clock, and durably so.
my @issued = ([ take_ids($node, 1000) ]);
cmp_ok(last_line($issued[0][0]), '<', last_line($future), 'IDs start from the clock again');
foreach my $stop ('immediate', 'fast')
{
	$node->stop($stop);
	$node->start;
	push @issued, [ take_ids($node, 1000) ];
}
cmp_ok(last_line($issued[-1][0]), '<', last_line($future), 'the old mark does not come back');
check_ids('after the mark was forgotten', @issued);
is(`cat $future $issued[0][0] $issued[1][0] $issued[2][0] | sort | uniq -d`, '', 'nor do IDs of the worker before');

# It guards as the one before did.
$node->set_clock(-3600);
clock_refuses($node, 'an hour back, later', 3600);
$node->set_clock(0);

# A call that gives up is withdrawn: what is issued after it is not forgotten.
sub forgotten
{
	return scalar(() = slurp_file($node->logfile) =~ /LOG:  snowflake_forget_mark\(\) has taken effect/g);
}

my @ways = (
	[ 'timed out',  undef,   qr/ERROR:  could not issue a snowflake ID: the background worker did not respond in time/ ],
	[ 'cancelled',  'cancel', qr/ERROR:  canceling statement due to user request/ ],
	[ 'terminated', 'terminate', qr/FATAL:  terminating connection due to administrator command/ ]);
my $count = forgotten();
foreach my $way (@ways)
{
	my ($name, $function, $error) = @$way;
	my $taker  = start_slow_taker($node);
	my $keeper = keeper_pid($node);

	wait_for_ids($taker, 10_000);
	ok(kill('STOP', $keeper), "$name: the keeper is stopped");
	my $caller = start_taker($node, sql => 'SELECT snowflake_forget_mark()');
	wait_until_held($node, $caller);
	is($node->safe_psql('postgres', "SELECT pg_${function}_backend(" . taker_pid($node, $caller) . ')'), 't', "$name: the call is ended")
	  if $function;
	$caller->{run}->finish;
	like($caller->{errors}, $error, "$name: the call fails");

	# As many as there are, to the end of the window.
	$taker->{run}->finish;
	ok(kill('CONT', $keeper), "$name: the keeper goes on");
	push @issued, [ $taker->{file} ], [ take_ids($node, 1000) ];
	is(forgotten(), $count, "$name: nothing was forgotten");
}
check_ids('calls that failed', @issued);

# Two at once: the second one gets an error.
{
	my $keeper = keeper_pid($node);

	ok(kill('STOP', $keeper), 'the keeper is stopped');
	my $caller = start_taker($node, sql => 'SELECT snowflake_forget_mark()');
	wait_until_held($node, $caller);
	call_fails($node, 'two at once', $call, '55006', qr/snowflake_forget_mark\(\) is running in another session/);
	ok(kill('CONT', $keeper), 'the keeper goes on');
	$caller->{run}->finish;
	is($caller->{errors} =~ /ERROR/ ? 1 : 0, 0, 'the first one is answered');
	is(forgotten(), ++$count, 'and was carried out');
	push @issued, [ take_ids($node, 1000) ];
	check_ids('two at once', @issued);
}

# While the keeper waits for an absent standby, it still notices a call.
$node->append_conf('postgresql.conf', q{synchronous_standby_names = 'absent'});
$node->reload;
{
	my $taker = start_taker($node);

	wait_until_held($node, $taker);
	($status, $out, $warning) = $node->psql('postgres', $call);
	is($status, 0, 'the call gets through to a keeper that waits for a standby');
	is(forgotten(), ++$count, 'and is carried out');
	stop_taker($taker);
	is(-s $taker->{file}, 0, 'while no ID is issued');
}
$node->append_conf('postgresql.conf', q{synchronous_standby_names = ''});
$node->reload;
push @issued, [ take_ids($node, 1000) ];
check_ids('forgotten while the keeper waits for a standby', @issued);

# IDs that this run has issued, and whose time is in the future.
$node->set_clock(3600);
push @issued, [ take_ids($node, 1000) ];
$node->set_clock(0);
$node->append_conf('postgresql.conf', 'snowflake.max_ahead = 1h');
$node->reload;
call_fails($node, 'issued ahead', $call, '55000',
	qr/cannot execute snowflake_forget_mark\(\) because worker ID 2 has issued IDs with a future time/,
	qr/DETAIL:  Since it was started, this server has issued IDs up to .*, and the clock shows /,
	qr/HINT:  Give the server a worker ID that has never been used, restart it, and call snowflake_forget_mark\(\) again/);
is(forgotten(), $count, 'nothing was forgotten');
push @issued, [ take_ids($node, 1000) ];
check_ids('issued ahead', @issued);

$node->stop;
done_testing();
