# Calls that wait for the clock: what others see of them, what ends them, and what
# the error is when the clock does not come.  (028 has the way out then.)
#
# Ruled out: a call that waits forever, because the clock that it waits for
# stands still; that cannot be cancelled, or is not visible; that holds a lock
# others need.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use FakeClock;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

# 64 IDs a millisecond, and no lead: it is easy to have to wait.
my $node = new_clock_node('main', conf => q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 0});
my @incarnations = ([ take_ids($node, 1000) ]);

# Calls once; returns the SQLSTATE of the error, or an empty string for an ID.
# $before stands before the call, in the same session.
sub call
{
	my ($before) = @_;
	my ($status, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\n" . ($before // '') . "SELECT snowflake_next();",
		timeout => $PostgreSQL::Test::Utils::timeout_default);

	append_to_file($incarnations[-1][0], "$out\n") if $out ne '';
	return $err =~ /ERROR:  (.....):/ ? $1 : '';
}

# A clock that stands still: patience is measured by another clock.
$node->freeze_clock;
ok(poll_until(sub { call() eq '58000' }), 'the clock stands still, and IDs end');
clock_refuses($node, 'the clock stands still', 0.001);

# A session that calls again whenever its call has failed waits for almost all of
# the time, so that others can take theirs to look at it.
$node->safe_psql('postgres', q{
	CREATE FUNCTION call_for_ever() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		LOOP
			BEGIN
				PERFORM snowflake_next();
			EXCEPTION WHEN system_error THEN
			END;
		END LOOP;
	END $$});
my $caller = start_taker($node, sql => 'SELECT call_for_ever()');

# On 15 and 16 the same name serves all extensions.
my $event   = $node->pg_version >= 17 ? 'SnowflakeClockWait' : 'Extension';
my $waiting = "FROM pg_stat_activity AS a WHERE application_name = '$caller->{name}' AND wait_event_type = 'Extension' AND wait_event = '$event'";
my $locks;
ok( poll_until(
		sub {
			$locks = $node->safe_psql('postgres',
				"SELECT (SELECT string_agg(DISTINCT l.locktype, ', ') FROM pg_locks AS l WHERE l.pid = a.pid) $waiting");
			return $locks ne '';
		}),
	'a call that waits shows as a wait event');
is($locks, 'virtualxid', 'and holds no lock but that on its own transaction');

ok($node->poll_query_until('postgres', "SELECT count(pg_cancel_backend(pid)) > 0 $waiting"), 'it is cancelled');
wait_for_end($caller);
like($caller->{errors}, qr/ERROR:  canceling statement due to user request\nCONTEXT:  SQL statement "SELECT snowflake_next\(\)"/,
	'a call that waits can be cancelled');

# The clock is behind by less than a second.
ok( poll_until(
		sub {
			$node->set_clock(0);
			append_to_file($incarnations[-1][0], next_id($node) . "\n");
			$node->set_clock(-0.9);
			my $code = call('SET statement_timeout = 100; ');
			die "the call ended with \"$code\"" if $code ne '' && $code ne '57014';
			return $code eq '57014';
		}),
	'statement_timeout ends a call that waits');
is(call(), '', 'without it the call waits for its ID');

# Far behind: the ID comes when the clock shows what the hint says, and not a
# millisecond before.
$node->set_clock(86_400);
push @incarnations, [ take_ids($node, 1000) ];
$node->set_clock(0);
my $until = clock_refuses($node, 'a day back', 86_400);
my $then = $node->safe_psql('postgres', "SELECT (extract(epoch FROM '$until'::timestamptz) * 1000)::bigint");
$node->freeze_clock($then - 1);
is(call(), '58000', 'no ID before the time that the hint says');
$node->freeze_clock($then);
is(call(), '', 'an ID at the time that the hint says');
check_ids('calls that wait', @incarnations);

$node->stop;
done_testing();
