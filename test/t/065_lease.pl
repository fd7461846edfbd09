# A server leases its worker ID, renews the lease, survives without its registry for
# as long as the lease lasts, crashes, and gives the lease back.
#
# Ruled out: IDs past the end of the lease, when the registry does not answer; a
# server that does not say why it issues none, or does not go on by itself; one
# that comes back after a crash with a lease that it does not know any more.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $registry = new_registry('registry');
set_up($registry);
my $node = new_node('main', registry => $registry, conf => q{
	snowflake.lease_duration = 2s
	restart_after_crash = on});
my @incarnations = ([ take_ids($node, 1000) ]);
my $worker = worker_of($node);

# What the server and the registry know about it.
is($worker, 0, 'the first worker ID is leased');
is( $node->safe_psql('postgres', q{
		SELECT worker_id, worker_source, state, lease_valid_until > clock_timestamp(), lease_valid_until < clock_timestamp() + '3 s'
		  FROM snowflake_status()}),
	'0|registry|issuing|t|t', 'the status shows the lease');
is( $registry->safe_psql('postgres', 'SELECT holder FROM snowflake_registry.status'),
	$node->safe_psql('postgres', 'SELECT lease_holder FROM snowflake_status()'), 'both name the holder alike');
like($node->safe_psql('postgres', q{SELECT replace(lease_holder, system_identifier::text, 'SYSTEM') FROM snowflake_status(), pg_control_system()}),
	qr/^main [^ ]+:@{[ $node->port ]} SYSTEM$/, 'by the name of the cluster, host, port and system');
is( $node->safe_psql('postgres', q{
		CREATE ROLE nobody;
		SET ROLE nobody;
		SELECT lease_holder IS NULL, lease_valid_until IS NOT NULL FROM snowflake_status()}),
	't|t', 'the holder is not everybody\'s business');
{
	my ($status, $out, $err) = $node->psql('postgres', 'SET ROLE nobody; SHOW snowflake.registry');

	like($err, qr/must be superuser or have privileges of pg_read_all_settings to examine "snowflake.registry"|permission denied to examine "snowflake.registry"/,
		'nor is the connection string');
}
like(slurp_file($node->logfile), qr/LOG:  snowflake IDs are issued as worker 0\n.*DETAIL:  The registry leases it until /,
	'the log says which worker it is');

# Many renewals later, it is the same lease.
my $taker = start_slow_taker($node);
ok( $registry->poll_query_until('postgres', 'SELECT renewals > 5 FROM snowflake_registry.status'), 'the lease is renewed');
stop_taker($taker);
push @incarnations, [ $taker->{file} ];
is(worker_of($node), $worker, 'the worker ID stays');
unlike(slurp_file($node->logfile), qr/snowflake IDs are issued as worker.*snowflake IDs are issued as worker 0\n/s, 'and is logged once');

# The registry goes away: IDs are issued to the end of the lease, and no further.
$registry->stop('immediate');
my $until = $node->safe_psql('postgres', 'SELECT snowflake_min_id(lease_valid_until) FROM snowflake_status()');
$taker = start_slow_taker($node);
wait_for_end($taker);
like($taker->{errors}, qr/ERROR:  this server holds no lease of a worker ID/, 'without a registry IDs end');
push @incarnations, [ $taker->{file} ];
$until = $node->safe_psql('postgres', "SELECT greatest($until, snowflake_min_id(lease_valid_until)) FROM snowflake_status()");
cmp_ok(last_line($taker->{file}), '<', $until, 'before the end of the lease');
call_fails($node, 'no registry', 'SELECT snowflake_next()', '55000',
	qr/this server holds no lease of a worker ID/, qr/DETAIL:  The lease of worker ID 0 ended at .* The last request to the registry failed at .*: connection to server/,
	qr/HINT:  IDs will be issued again as soon as the registry grants a lease/);
{
	my ($status, $out, $err) = $node->psql('postgres', 'SET ROLE nobody; SELECT snowflake_next()');

	like($err, qr/DETAIL:  The lease of worker ID 0 ended at .* The last request to the registry failed at [^:]*:\d\d:[^:]*\.\n/, 'where the registry is, is nobody\'s business');
}
is($node->safe_psql('postgres', 'SELECT state FROM snowflake_status()'), 'no lease', 'the status shows that');
is( $node->safe_psql('postgres', q{
		SELECT lease_error LIKE 'connection to server%', lease_error_at > stats_reset, keeper_error IS NULL, keeper_error_at IS NULL
		  FROM snowflake_status()}),
	't|t|t|t', 'and the registry\'s error, which is not the keeper\'s');
is( $node->safe_psql('postgres', 'SET ROLE nobody; SELECT lease_error IS NULL, lease_error_at IS NULL FROM snowflake_status()'),
	't|t', 'but not to everybody');
like(slurp_file($node->logfile), qr/WARNING:  could not lease a snowflake worker ID: connection to server/, 'and the log why');

# A start without it, too: the server accepts connections.
$node->stop('immediate');
$node->start;
call_fails($node, 'started without a registry', 'SELECT snowflake_next()', '55000', qr/DETAIL:  None has been granted yet\. The last request to the registry failed at /);

# It is back: IDs are issued again without intervention.
$registry->start;
goes_on_by_itself($node, 'with the registry IDs go on');
push @incarnations, [ take_ids($node, 1000) ];
is(worker_of($node), $worker, 'after a crash, and when the lease is over, it gets its worker ID back');

# A crash of a backend forgets the lease as well.
$worker = worker_of($node);
$taker = start_taker($node);
wait_for_ids($taker, 100_000);
kill_process(taker_pid($node, $taker), 'a backend');
wait_for_end($taker);
push @incarnations, [ $taker->{file} ];
goes_on_by_itself($node, 'the server is back after a crash');
push @incarnations, [ take_ids($node, 1000) ];
isnt(worker_of($node), $worker, 'a crash forgets the lease');

# Only the keeper is terminated, by SQL, which takes a superuser.  It is restarted.
my $keeper = keeper_pid($node);
is($node->safe_psql('postgres', 'SELECT keeper_pid FROM snowflake_status()'), $keeper, 'the status names the keeper, as pg_stat_activity has it');
$node->safe_psql('postgres', 'CREATE ROLE signaller; GRANT pg_signal_backend TO signaller');
call_fails($node, "ending the keeper as $_", "SET ROLE $_; SELECT pg_terminate_backend($keeper)", '42501', qr/must be |permission denied to terminate process/)
  foreach 'nobody', 'signaller';
is(keeper_pid($node), $keeper, 'it goes on');
$taker = start_slow_taker($node);
wait_for_ids($taker, 20_000);
is($node->safe_psql('postgres', "SELECT pg_terminate_backend($keeper)"), 't', 'a superuser ends the keeper');
ok($node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $keeper)"), 'it is gone');
isnt(keeper_pid($node), $keeper, 'another one comes');
stop_taker($taker);
push @incarnations, [ $taker->{file} ], [ take_ids($node, 1000) ];
SKIP:
{
	skip 'wait events have no names before 17', 1 if $node->pg_version < 17;
	is( $node->safe_psql('postgres', q{SELECT count(*) FROM pg_wait_events WHERE type = 'Extension' AND name = 'SnowflakeLeaseGiveBack'}),
		'1', 'it waited for the registry to take its lease back');
}

check_ids('a lease', @incarnations);

# The way out after a clock that was wrong is open, too.
is( $node->safe_psql('postgres', 'SELECT snowflake_forget_mark(); SELECT snowflake_next() > 0'), "\nt", 'forgets the mark');
like(slurp_file($node->logfile), qr/snowflake_forget_mark\(\) has taken effect\n.*DETAIL:  The value of "mark" in snowflake_status\(\) was .* and is now .*; another lease is taken\./, 'and takes another lease');
check_ids('the mark is forgotten', [ map { @$_ } @incarnations, [ take_ids($node, 1000) ] ]);

# A clean shutdown gives back what was not used.
$worker = worker_of($node);
my $last = next_id($node);
$node->stop('fast');
is( $registry->safe_psql('postgres', qq{
		SELECT token IS NULL, valid_until <= clock_timestamp() + '1 s',
			   floor(extract(epoch FROM valid_until - '2023-01-01 00:00:00Z') * 1000)::bigint << 22 > $last
		  FROM snowflake_registry.worker WHERE worker_id = $worker}),
	't|t|t', 'a clean shutdown gives the lease back, but not what was used');

$registry->stop;
done_testing();
