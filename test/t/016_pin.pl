# When the layout is pinned: with the first ID, not before; and what is permanent
# from then on.
#
# Ruled out: a start with an unintended layout that binds the cluster although no ID
# was issued; an ID that was issued before its layout was pinned.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $wrong = 'the configured snowflake layout does not match this cluster\'s IDs';

sub is_pinned
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_origin_status WHERE local_id = 65002');
}

# Restarts, a crash and a standby with other layouts: nothing has been issued yet.
my $primary = new_node('primary', init => [ allows_streaming => 1 ], conf => 'snowflake.worker_bits = 12');
my $standby = new_standby($primary, 'standby');
foreach my $layout (q{snowflake.worker_bits = 5}, q{snowflake.id_bits = 60}, q{snowflake.epoch = '2020-01-01'}, q{snowflake.worker_bits = 9})
{
	foreach my $stop ('fast', 'immediate')
	{
		$_->append_conf('postgresql.conf', $layout) foreach $primary, $standby;
		$primary->stop($stop);
		$primary->start;
		$standby->restart;
		ok($primary->poll_query_until('postgres', 'SELECT state = $$issuing$$ FROM snowflake_status()'), "$layout, after stop $stop: ready");
		is(is_pinned($primary), 0, 'not pinned');
		is($primary->safe_psql('postgres', 'SELECT worker_id FROM snowflake_decode(1 << 20)'),
			$standby->safe_psql('postgres', 'SELECT worker_id FROM snowflake_decode(1 << 20)'), 'both decode as configured');
	}
}

# With the first ID, before the caller has it, on the standby as well.
$primary->append_conf('postgresql.conf', q{synchronous_standby_names = '*'});
$primary->reload;
ok( $primary->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming')}),
	'the standby is synchronous');
my $id = next_id($primary);
is(is_pinned($primary), 1, 'pinned with the first ID');
$standby->stop('immediate');
$standby->start;
is(is_pinned($standby), 1, 'on the standby, too');

# From then on a reload, a restart and a crash find it.
$primary->append_conf('postgresql.conf', q{synchronous_standby_names = ''});
foreach my $node ($primary, $standby)
{
	foreach my $stop ('fast', 'immediate')
	{
		my $change = $stop eq 'fast' ? 'snowflake.worker_bits = 8' : "snowflake.worker_bits = 9\nsnowflake.id_bits = 63";

		$node->append_conf('postgresql.conf', $change);
		$node->stop($stop);
		$node->start;
		call_fails($node, $node->name . ", stop $stop", "SELECT $_", '55000', qr/$wrong/,
			qr/Pinned when the first ID was issued: epoch 2020-01-01 00:00:00\+00, 9 worker bits, 60 ID bits\./)
		  foreach 'snowflake_next()', "snowflake_decode($id)";
	}
	like(slurp_file($node->logfile), qr/WARNING:  no snowflake IDs are issued: the configured layout does not match/, 'the log says so')
	  if $node == $primary;
	$node->append_conf('postgresql.conf', 'snowflake.id_bits = 60');
	$node->restart;
}
cmp_ok(next_id($primary), '>', $id, 'back again, IDs are issued');
$_->stop foreach $standby, $primary;

# A standby that leases issues before its primary has pinned anything: the
# registry has the layout.  When the primary pins another one, that counts.
my $registry = new_registry('registry');
set_up($registry);
my $other = new_node('other', worker_id => 7, init => [ allows_streaming => 1 ], conf => 'snowflake.worker_bits = 11');
my $leased = new_standby($other, 'leased', start => 0);
$leased->adjust_conf('postgresql.conf', 'snowflake.worker_id', undef);
$leased->append_conf('postgresql.conf', 'snowflake.worker_bits = 10');
lease_from($leased, $registry);
$leased->start;
cmp_ok(next_id($leased), '>', 0, 'a standby that leases, before anything is pinned');
next_id($other);
$other->wait_for_catchup('leased');
ok(poll_until(sub { ($leased->psql('postgres', 'SELECT snowflake_next()'))[2] =~ /$wrong/ }), 'the pin of its primary counts');
is($leased->safe_psql('postgres', 'SELECT state FROM snowflake_status()'), 'wrong layout', 'and shows');
$_->stop foreach $leased, $other, $registry;

done_testing();
