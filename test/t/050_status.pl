# snowflake_status when something is wrong: each state it can show, what it
# counts, and that the counters are taken back by a restart only.
#
# Ruled out: monitoring that says "issuing" while calls fail or wait.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

# 64 IDs a millisecond, so that a burst soon leads the clock by a minute.
my $node = new_node(
	'main',
	init => [ allows_streaming => 1 ],
	conf => q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 1h
	autovacuum = off});

sub status
{
	my ($server, $column) = @_;
	return $server->safe_psql('postgres', "SELECT $column FROM snowflake_status()");
}

sub reload
{
	my ($server, $setting, $value) = @_;
	$server->append_conf('postgresql.conf', "$setting = $value");
	$server->reload;
	return;
}

ok($node->poll_query_until('postgres', q{SELECT state = 'issuing' FROM snowflake_status()}), 'a server that has just started is ready to issue');
is(status($node, 'ids_issued'), '0', 'and has not issued anything');
is(status($node, 'last_id IS NULL AND lead IS NULL'), 't', 'so there is no last ID');

burst($node);
# A batch that falls behind the clock loses IDs, but not more than it gives out.
is(status($node, 'ids_issued BETWEEN 4000000 AND 8000000'), 't', 'a batch is counted');
is(status($node, q{lead > '10s' AND max_lead >= lead}), 't', 'the lead shows');
is(status($node, 'window_until > last_id_at AND mark >= window_until'), 't', 'the window is ahead of the last ID, and the mark no less');

# With a smaller max_ahead there is nothing to do but wait.
reload($node, 'snowflake.max_ahead', '0');
ok($node->poll_query_until('postgres', q{SELECT state = 'waiting for the clock' FROM snowflake_status()}), 'waiting for the clock');
my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT snowflake_next()");
like($err, qr/ERROR:  58000: the system clock is too far behind the newest snowflake ID/, 'and a call says so');

# A lead that can be waited for is counted as a wait.
is(status($node, 'clock_waits'), '0', 'no call has waited for the clock yet');
reload($node, 'snowflake.max_ahead', '1h');
ok($node->poll_query_until('postgres', q{SELECT state = 'issuing' FROM snowflake_status()}), 'issuing again');

# Counters of sessions that have ended are kept, and a reset takes them all.
is(status($node, 'ids_issued >= 4000000'), 't', 'what ended sessions have issued is kept');
$node->safe_psql('postgres', 'SELECT snowflake_status_reset()');
is(status($node, q{ids_issued = 0 AND max_lead = '0'}), 't', 'until it is reset');

# Pacing: more IDs than fit between the newest one and the allowed lead.
my $paced = new_node('paced', conf => q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 0});
$paced->safe_psql('postgres', 'SELECT count(snowflake_next()) FROM generate_series(1, 10000)');
is(status($paced, 'clock_waits > 0 AND clock_wait_time > 0'), 't', 'waits for the clock are counted');
is(status($paced, 'max_lead'), '00:00:00', 'and there was no lead');
is(status($paced, 'keeper_waits > 0 AND keeper_wait_time > 0'), 't', 'the first call waited for the keeper');

# A keeper that does not respond, while the clock moves past the window: the call
# gives up nevertheless.
my $keeper = pause_keeper($paced);
ok($paced->poll_query_until('postgres', 'SELECT window_until < clock_timestamp() FROM snowflake_status()'), 'the window lapses');
($status, $out, $err) = $paced->psql('postgres', 'SELECT snowflake_next()', timeout => $PostgreSQL::Test::Utils::timeout_default);
resume_process($keeper, 'the keeper');
like($err, qr/ERROR:  could not issue a snowflake ID: the background worker did not respond in time/, 'a call does not wait for a stopped keeper for ever');
like($err, qr/"snowflake keeper" is not responding/, 'and says what is wrong');
ok(next_id($paced), 'IDs go on when the keeper does');
$paced->stop;

# A standby.
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
is(status($standby, 'state'), 'in recovery', 'a standby is in recovery');
$standby->promote;
ok($standby->poll_query_until('postgres', q{SELECT state = 'issuing' FROM snowflake_status()}), 'after its promotion it issues, without a call');
is(status($standby, 'ids_issued'), '0', 'and has not issued anything');
$standby->stop;

# Another layout than the pinned one.
reload($node, 'snowflake.worker_bits', '15');
$node->restart;
is(status($node, 'state'), 'wrong layout', 'another layout');
$node->stop;

# A keeper that fails: one of the two replication origin states is taken.
my $states = origin_states($node);
my $failing = new_node('failing', conf => "$states = 2", start => 0);
$failing->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$failing->start;
$failing->safe_psql('postgres', q{
	CREATE EXTENSION snowflake;
	SELECT pg_replication_origin_create('other');
	SELECT pg_replication_origin_advance('other', '0/1')});
$failing->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'");
$failing->restart;
isnt(scalar $failing->psql('postgres', 'SELECT snowflake_next()'), 0, 'without a place for the mark, calls fail');
is(status($failing, 'state'), 'waiting for the keeper', 'the keeper is what is waited for');
ok($failing->poll_query_until('postgres', q{
	SELECT keeper_error LIKE 'could not find free replication state%' AND keeper_error_at > stats_reset FROM snowflake_status()}),
	'its error shows');
is(status($failing, 'lease_error IS NULL AND lease_error_at IS NULL'), 't', 'and there is none of a lease');
is(status($failing, 'ids_issued'), '0', 'nothing is counted');

# The server's own message and hint may contain names that are not for everybody.
$failing->safe_psql('postgres', 'CREATE ROLE nobody; CREATE ROLE watcher; GRANT pg_read_all_stats TO watcher');
foreach my $role ('nobody', 'watcher')
{
	my ($sees, $fails, $words, $call_err) = ($role eq 'watcher');

	is($failing->safe_psql('postgres', "SET ROLE $role; SELECT keeper_error IS NOT NULL, keeper_error_at IS NOT NULL FROM snowflake_status()"),
		$sees ? 't|t' : 'f|f', "$role: what the status shows");
	($fails, $words, $call_err) = $failing->psql('postgres', "SET ROLE $role; SELECT snowflake_next()");
	like($call_err, qr/DETAIL:  The background worker "snowflake keeper" failed at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*[.:]/, "$role: a call says that it failed, and when");
	is($call_err =~ /replication state/, $sees ? 1 : '', "$role: why it failed");
	like($call_err, $sees ? qr/HINT:  Increase / : qr/HINT:  Check the server log\./, "$role: the hint");
}

# It takes longer each time: after the second failure it waits once more for as long
# as the postmaster did.  A busy machine makes both take longer, so the least that
# each takes is compared with the postmaster's five seconds.
ok(poll_until(sub {
	my @failures = log_since($failing) =~ /^(\d\S+ \S+) .* ERROR:  could not find free replication state/mg;
	return 1 if @failures >= 3;
	$failing->psql('postgres', 'SELECT snowflake_next()');
	return 0;
}), 'it tries again');
my @times = map { my ($h, $m, $s) = split /:/; $h * 3600 + $m * 60 + $s }
  log_since($failing) =~ /^\d\S+ (\d+:\d+:[\d.]+) .* ERROR:  could not find free replication state/mg;
my @pauses = map { my $pause = $times[$_] - $times[ $_ - 1 ]; $pause < 0 ? $pause + 86_400 : $pause } 1, 2;
cmp_ok($pauses[0], '>=', 5, 'first when the postmaster starts it again');
cmp_ok($pauses[1], '>=', 2 * 5, 'then later');
$failing->stop;

done_testing();
