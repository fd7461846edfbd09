# The clock of a server that leases its worker ID is set back, by less than
# max_ahead but by more than the lease reaches.
#
# Ruled out: IDs past the end of the lease, whatever the clock shows; a lease that
# is renewed again and again because IDs are far ahead; an error that blames the
# registry, which is fine.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use FakeClock;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $registry = new_registry('registry');
set_up($registry, "worker_bits => 16, longest_lease => '2 h'");

# 64 IDs a millisecond: a lease is soon used up.
my $node = new_clock_node('main', registry => $registry, conf => q{
	snowflake.worker_bits = 16
	snowflake.lease_duration = 2s
	snowflake.max_ahead = 1h});
my @incarnations = ([ take_ids($node, 1000) ]);
my $worker = worker_of($node);

# To the end of the lease, and no further.
my $taker = start_taker($node);
wait_for_ids($taker, 20_000);
$node->set_clock(-1800);
wait_for_end($taker);
like($taker->{errors}, qr/ERROR:  snowflake IDs have run ahead of the clock to the end of the lease of their worker ID/, 'IDs end');
push @incarnations, [ $taker->{file} ];
cmp_ok(last_line($taker->{file}), '<', $node->safe_psql('postgres', 'SELECT snowflake_min_id(lease_valid_until) FROM snowflake_status()'),
	'before the end of the lease');
my $renewals = $registry->safe_psql('postgres', 'SELECT changes FROM snowflake_registry.registry');
call_fails($node, 'the clock is behind', 'SELECT snowflake_next()', '58000',
	qr/snowflake IDs have run ahead of the clock to the end of the lease of their worker ID/,
	qr/DETAIL:  The clock shows .*, and the lease of worker ID $worker ends at .*\./,
	qr/HINT:  IDs will be issued again when the clock has caught up\. A longer "snowflake.lease_duration" lets them run further ahead\./);
is($registry->safe_psql('postgres', 'SELECT changes FROM snowflake_registry.registry'), $renewals, 'meanwhile the lease is left as it is');

# With a longer lease they go further.
$node->append_conf('postgresql.conf', 'snowflake.lease_duration = 1h');
$node->reload;
goes_on_by_itself($node, 'with a longer lease IDs go on, far ahead of the clock');
push @incarnations, [ take_ids($node, 1000) ];
is( $node->safe_psql('postgres', q{
		SELECT snowflake_timestamp(id) > clock_timestamp() + interval '1000 s' FROM (SELECT snowflake_next() AS id) AS s}),
	't', 'as they were');
is(worker_of($node), $worker, 'as the same worker');

$node->set_clock(0);
goes_on_by_itself($node, 'and when the clock is right');
push @incarnations, [ take_ids($node, 1000) ];
check_ids('a lease, and the clock set back', @incarnations);

$node->stop;
$registry->stop;
done_testing();
