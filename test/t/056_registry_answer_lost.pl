# Renewals whose answers do not come: the registry waits for a synchronous standby that
# is away, and a lock in the registry is held.
#
# Ruled out: a server that loses its worker ID because an answer was lost, which takes
# the worker IDs of a whole fleet; calls that pile up in the registry, and lease to
# nobody when it goes on; an outage that the server does not explain.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $registry = new_registry('registry', init => [ allows_streaming => 1 ], conf => 'max_connections = 50');
set_up($registry);
my @nodes = map { new_node("server$_", registry => $registry, conf => 'snowflake.lease_duration = 4s') } 1 .. 2;
my %worker = map { $_->name => worker_of($_) } @nodes;
my @files = map { take_ids($_, 1000) } @nodes;

sub wait_for_standby
{
	my ($standby) = @_;
	$registry->append_conf('postgresql.conf', "synchronous_standby_names = '$standby'");
	$registry->reload;
	return;
}

# Until each server has given up on a renewal that was written.
my @offsets = map { -s $_->logfile } @nodes;
wait_for_standby('absent');
foreach my $i (0, 1)
{
	ok(poll_until(sub { log_since($nodes[$i], $offsets[$i]) =~ /WARNING:  could not lease a snowflake worker ID: it did not answer in time/ }),
		'a renewal is given up');
	like(log_since($nodes[$i], $offsets[$i]), qr/WARNING:  could not lease a snowflake worker ID: it has not answered before the end of the lease/,
		'the log says when the lease was over before that');
	call_fails($nodes[$i], 'no answer', 'SELECT snowflake_next()', '55000', qr/this server holds no lease of a worker ID/,
		qr/The last request to the registry failed at .*: it (?:did not answer in time|has not answered)/);
}
wait_for_standby('');
foreach my $i (0, 1)
{
	my $node = $nodes[$i];

	goes_on_by_itself($node, 'the standby is there');
	is(worker_of($node), $worker{ $node->name }, 'as the same worker');
	unlike(log_since($node, $offsets[$i]), qr/lost the lease|snowflake IDs are issued as worker/, 'the lease was never lost');
	push @files, take_ids($node, 1000);
}
is($registry->safe_psql('postgres', 'SELECT count(*) FROM snowflake_registry.worker'), '2', 'nobody has leased another worker ID');

# Calls that are given up: applications ask again and again while somebody holds the
# registry's row.
my $locker = IPC::Run::start([ 'psql', '-XqAt', '-d', $registry->connstr('postgres') ], '<', \my $in, '>', \my $out, '2>', \my $err);
$in = "BEGIN; SELECT 'locked' FROM snowflake_registry.registry FOR UPDATE;\n";
ok(poll_until(sub { $locker->pump_nb; $out =~ /locked/ }), 'the registry is locked');
my @asking = map { { out => '', err => '' } } 1 .. 10;
$_->{run} = IPC::Run::start([ 'psql', '-XqAt', '-d', $registry->connstr('postgres'), '-c', "CALL snowflake_registry.lease('asking ' || random())" ],
	'<', \undef, '>', \$_->{out}, '2>', \$_->{err}) foreach @asking;
$_->{run}->finish foreach @asking;
is(scalar(grep { $_->{err} =~ /ERROR:  canceling statement due to lock timeout/ } @asking), 10, 'ten ask, and are told to ask again');
$in = "COMMIT;\n\\q\n";
$locker->finish;
is($registry->safe_psql('postgres', q{SELECT count(*) FROM snowflake_registry.worker WHERE holder LIKE 'asking%'}), '0', 'none of them has taken a worker ID');
ok(lease($registry, q{'afterwards'}), 'then there are leases');

check_ids('answers that were lost', \@files);
$_->stop foreach @nodes, $registry;
done_testing();
