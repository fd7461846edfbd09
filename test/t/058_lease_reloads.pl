# Whether the worker ID is leased is decided when the server starts: a registry that
# is set, or emptied, by a reload; the move from a fixed worker ID to leased ones;
# and a keeper that dies while a lease is taken.
#
# Ruled out: a standby that leases its primary's worker ID; IDs without a lease after
# the registry was emptied; a primary without IDs because of a reload; a lead that no
# lease reaches; a generator that stays closed although the reason is gone.
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
set_up($registry, "longest_lease => '1 h'");

sub set_conf
{
	my ($node, $conf) = @_;
	$node->append_conf('postgresql.conf', $conf);
	$node->reload;
	return;
}

sub lease_from_now
{
	my ($node) = @_;
	lease_from($node, $registry);
	$node->reload;
	return;
}

sub goes_on
{
	my ($node, $name) = @_;
	ok(poll_until(sub { ($node->psql('postgres', 'SELECT snowflake_next()'))[0] == 0 }), "$name: IDs go on");
	return take_ids($node, 1000);
}

sub state_becomes
{
	my ($node, $state, $name) = @_;
	ok($node->poll_query_until('postgres', "SELECT state = '$state' FROM snowflake_status()"), "$name: $state");
	return;
}

# Takes IDs until the keeper has moved the window once more.
sub window_moves
{
	my ($node, $name) = @_;
	my $until = $node->safe_psql('postgres', 'SELECT coalesce(window_until, now()) FROM snowflake_status()');

	ok( poll_until(sub {
			$node->psql('postgres', 'SELECT snowflake_next()');
			$node->safe_psql('postgres', "SELECT window_until > '$until' FROM snowflake_status()") eq 't';
		}),
		"$name: the window moves");
	return;
}

# Does the log say that the registry has to wait for a restart?
sub lease_by_reload
{
	my ($node, $name) = @_;
	my $offset = -s $node->logfile;

	lease_from_now($node);
	ok(poll_until(sub { log_since($node, $offset) =~ /LOG:  parameter "snowflake.registry" takes effect when the server is restarted/ }),
		"$name: the log says that it waits for a restart");
	return;
}

# A registry that comes with a reload.  Somebody else has leased the worker ID that is
# configured here, so that a lease would be noticed.
my $node = new_node('main', worker_id => 5, init => [ allows_streaming => 1 ], conf => q{
	snowflake.lease_duration = 3s
	snowflake.max_ahead = 1s});
my $standby = new_standby($node, 'standby', conf => 'snowflake.worker_id = 6');
my $lease = lease($registry, q{'another', '1 h', 5});
my @incarnations = ([ take_ids($node, 1000) ]);
lease_by_reload($node, 'a primary');
lease_by_reload($standby, 'a standby');
window_moves($node, 'a registry by a reload');
push @incarnations, [ take_ids($node, 1000) ];
is(worker_of($node), 5, 'a registry by a reload: as the configured worker');

# A configured worker ID is the primary's: neither by a reload nor by a restart does
# a standby lease it.
sub standby_issues_nothing
{
	my ($name) = @_;
	call_fails($standby, $name, 'SELECT snowflake_next()', '25006', qr/cannot issue snowflake IDs during recovery/);
	state_becomes($standby, 'in recovery', $name);
	return;
}
standby_issues_nothing('a standby, reloaded');
$standby->restart;
standby_issues_nothing('a standby, restarted');

# From the restart on the primary needs the lease.
$node->restart;
call_fails($node, 'held by another', 'SELECT snowflake_next()', '55000', qr/this server holds no lease of a worker ID/, qr/worker ID 5 is held by "another"/);
$registry->safe_psql('postgres', "SELECT snowflake_registry.release('$lease->{token}', clock_timestamp())");
push @incarnations, [ goes_on($node, 'released') ];
is(worker_of($node), 5, 'released: as the configured worker');
standby_issues_nothing('a standby, later');
is($registry->safe_psql('postgres', 'SELECT array_agg(worker_id) FROM snowflake_registry.worker'), '{5}',
	'the registry knows nothing of the worker ID of the standby');
$standby->stop;

# Emptied by a reload: IDs are issued to the end of the lease, and none without one.
set_conf($node, "snowflake.registry = ''");
my $taker = start_slow_taker($node);
state_becomes($node, 'no lease', 'emptied');
ok($node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '$taker->{name}')"),
	'emptied: a session that takes IDs ends');
stop_taker($taker);
like($taker->{errors}, qr/this server holds no lease of a worker ID/, 'emptied: it says why');
push @incarnations, [ $taker->{file} ];
cmp_ok((last_line($taker->{file}) >> 22) + 1_672_531_200_000, '<',
	$registry->safe_psql('postgres', 'SELECT ' . ms('valid_until') . ' FROM snowflake_registry.worker WHERE worker_id = 5'),
	'emptied: no ID at the end of the lease or after it');
call_fails($node, 'emptied', 'SELECT snowflake_next()', '55000', qr/this server holds no lease of a worker ID/, qr/"snowflake.registry" is empty/);
lease_from_now($node);
push @incarnations, [ goes_on($node, 'set again') ];
is(worker_of($node), 5, 'set again: as the configured worker');
check_ids('reloads', @incarnations);

# Nor is the lease given back to the server that libpq would take.
set_conf($node, "snowflake.registry = ''");
state_becomes($node, 'no lease', 'emptied again');
my $stopped = -s $node->logfile;
$node->stop;
unlike(log_since($node, $stopped), qr/could not give back the lease/, 'emptied: nobody is asked to take the lease back');

# The move of a primary and its standby from a fixed worker ID to leased ones, under
# load: both settings arrive by a reload, and the restarts follow, one by one.
$node = new_node('moving', worker_id => 7, init => [ allows_streaming => 1 ]);
$standby = new_standby($node, 'following');
$registry->safe_psql('postgres', q{SELECT snowflake_registry.reserve(7, 'fixed')});
my @takers = (start_slow_taker($node));
wait_for_ids($takers[0], 10_000);

sub keeps_taking
{
	my ($name) = @_;
	window_moves($node, $name);
	wait_for_ids($takers[-1], 10_000 + -s $takers[-1]{file});
	is(worker_of($node), 7, "$name: as the fixed worker");
	return;
}
foreach ($standby, $node)
{
	$_->adjust_conf('postgresql.conf', 'snowflake.worker_id', undef);
	lease_by_reload($_, 'the move');
	ok($_->poll_query_until('postgres', q{SELECT pending_restart FROM pg_settings WHERE name = 'snowflake.worker_id'}),
		'the worker ID waits for a restart, too');
	keeps_taking('the move, ' . $_->name . ' has reloaded');
}
call_fails($standby, 'the move, a standby that has reloaded', 'SELECT snowflake_next()', '25006', qr/cannot issue snowflake IDs during recovery/);
$standby->restart;
goes_on($standby, 'the move, a standby that has restarted');
my $leased = start_slow_taker($standby);
wait_for_ids($leased, 10_000);
keeps_taking('the move, the standby leases');
$node->restart;
stop_taker($takers[0]);
goes_on($node, 'the move, the primary has restarted');
push @takers, start_slow_taker($node);
wait_for_ids($_, 10_000 + -s $_->{file}) foreach $takers[1], $leased;
my %workers = map { worker_of($_) => 1 } $node, $standby;
is(keys %workers, 2, 'the move: each has a worker ID of its own');
ok(!$workers{7}, 'the move: and neither the fixed one');
stop_taker($_) foreach $takers[1], $leased;
check_ids('the move, the primary', map { [ $_->{file} ] } @takers);
check_ids('the move', [ map { $_->{file} } @takers, $leased ]);
is($registry->safe_psql('postgres', 'SELECT token IS NULL FROM snowflake_registry.worker WHERE worker_id = 7'), 't',
	'the move: nobody has leased the fixed one');

# A lead of an hour does not cause a wait of an hour.
set_conf($standby, "snowflake.max_ahead = 1h\nsnowflake.lease_duration = 3s");
$standby->restart;
@incarnations = ([ goes_on($standby, 'more lead than lease, in recovery') ]);
$standby->promote;
push @incarnations, [ goes_on($standby, 'more lead than lease, promoted') ];
check_ids('more lead than lease', @incarnations);
$_->stop foreach $standby, $node;

# There is no room for the high-water mark when the lease is already there.
my $states = origin_states($node);
my $full = new_node('full', start => 0, registry => $registry, conf => "$states = 2");
$full->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$full->start;
$full->safe_psql('postgres', "SELECT pg_replication_origin_create('$_'); SELECT pg_replication_origin_advance('$_', '0/1')")
  foreach 'one', 'two';
$full->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'");
$full->restart;
$full->safe_psql('postgres', 'CREATE EXTENSION snowflake');
ok( poll_until(sub { slurp_file($full->logfile) =~ /ERROR:  could not find free replication state slot for replication origin with ID 65001/ }),
	'no place for the mark');
isnt(scalar $full->psql('postgres', 'SELECT snowflake_next()'), 0, 'no place for the mark: no ID');
$full->safe_psql('postgres', "SELECT pg_replication_origin_drop('$_')") foreach 'one', 'two';
goes_on($full, 'a place for the mark');
$full->stop;

$registry->stop;
done_testing();
