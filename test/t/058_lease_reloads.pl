# A registry that is set, and emptied again, while the server runs, in each state
# that it may be in; and a keeper that dies while a lease is taken.
#
# Ruled out: IDs as another worker than the configured one, or as one that somebody
# else holds; IDs in recovery that neither a mark nor a lease guards; a generator
# that stays closed after what had closed it is over; a lead that no lease reaches.
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

# A registry that is down, and that is then not asked for any more.
my $node = new_node('main', worker_id => 5, start => 0, init => [ allows_streaming => 1 ], conf => q{
	snowflake.registry = 'host=/nonexistent'
	snowflake.lease_duration = 3s
	snowflake.max_ahead = 1s});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION snowflake');
call_fails($node, 'registry down', 'SELECT snowflake_next()', '55000', qr/no lease of a worker ID for snowflake IDs/);
set_conf($node, "snowflake.registry = ''");
my @incarnations = ([ goes_on($node, 'without the registry') ]);
is(worker_of($node), 5, 'without the registry: as the configured worker');

# Somebody else has leased what is configured here: a registry that comes by a
# reload counts at once, for the window that there is, too.
my $lease = lease($registry, q{'another', '1 h', 5});
lease_from_now($node);
ok($node->poll_query_until('postgres', q{SELECT state = 'no lease' FROM snowflake_status}), 'a registry by a reload: no lease');
call_fails($node, 'held by another', 'SELECT snowflake_next()', '55000', qr/no lease of a worker ID for snowflake IDs/, qr/worker ID 5 is held by "another"/);
set_conf($node, "snowflake.registry = ''");
push @incarnations, [ goes_on($node, 'without the registry again') ];

# The keeper waits for a synchronous standby, to extend the window, meanwhile.
set_conf($node, "synchronous_standby_names = 'absent'");
ok($node->poll_query_until('postgres', q{SELECT state = 'waiting for the keeper' FROM snowflake_status}), 'the keeper waits for a standby');
{
	my $taker = start_taker($node, sql => 'SELECT snowflake_next(1000000000)');

	wait_until_held($node, $taker);
	lease_from_now($node);
	ok( $node->poll_query_until('postgres', q{SELECT setting <> '' FROM pg_settings WHERE name = 'snowflake.registry'}),
		'a registry is set meanwhile');
	$taker->{run}->finish;
	set_conf($node, "synchronous_standby_names = ''");
	is(-s $taker->{file}, 0, 'not one ID is issued');
	call_fails($node, 'no longer waiting', 'SELECT snowflake_next()', '55000', qr/no lease of a worker ID for snowflake IDs/);
}
$registry->safe_psql('postgres', "SELECT snowflake_registry.release('$lease->{token}', clock_timestamp())");
push @incarnations, [ goes_on($node, 'released') ];
is(worker_of($node), 5, 'released: as the configured worker');

# A standby with a lease of its own, which is then configured only.
my $standby = new_standby($node, 'standby', conf => 'snowflake.worker_id = 6');
is(worker_of($standby), 6, 'a standby issues IDs on its lease');
set_conf($standby, "snowflake.registry = ''");
ok( poll_until(sub { ($standby->psql('postgres', 'SELECT snowflake_next()'))[2] =~ /cannot issue snowflake IDs during recovery/ }),
	'in recovery, without the registry: none');
foreach (1 .. 3)
{
	call_fails($standby, 'nor later', 'SELECT snowflake_next()', '25006', qr/cannot issue snowflake IDs during recovery/);
}
lease_from_now($standby);
goes_on($standby, 'on a lease again');
set_conf($standby, "snowflake.registry = ''");

# A lead of an hour is no wait of an hour.
set_conf($standby, 'snowflake.max_ahead = 1h');
$standby->restart;
call_fails($standby, 'restarted', 'SELECT snowflake_next()', '25006', qr/cannot issue snowflake IDs during recovery/);
lease_from_now($standby);
goes_on($standby, 'more lead than lease, in recovery');
$standby->promote;
push @incarnations, [ goes_on($standby, 'more lead than lease, promoted') ];
$standby->stop;

check_ids('reloads', @incarnations);
$node->stop;

# The mark finds no place when the lease is there already.
my $states = $node->pg_version >= 18 ? 'max_active_replication_origins' : 'max_replication_slots';
my $full = new_node('full', start => 0, registry => $registry, conf => "$states = 2");
$full->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$full->start;
$full->safe_psql('postgres', q{
	SELECT pg_replication_origin_create('other');
	SELECT pg_replication_origin_advance('other', '0/1')});
$full->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'");
$full->restart;
$full->safe_psql('postgres', 'CREATE EXTENSION snowflake');
ok( poll_until(sub { slurp_file($full->logfile) =~ /ERROR:  could not find free replication state slot for replication origin with ID 65001/ }),
	'no place for the mark');
$full->safe_psql('postgres', q{SELECT pg_replication_origin_drop('other')});
goes_on($full, 'a place for the mark');
$full->stop;

$registry->stop;
done_testing();
