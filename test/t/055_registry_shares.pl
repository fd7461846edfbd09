# Who gets which worker ID, and how many: holders that crash again and again, the
# registry's own server, a fleet that restarts when every worker ID has been used, and a
# longest lease that is changed meanwhile.
#
# Ruled out: one holder that takes all worker IDs; one that takes a new worker ID
# although its own is free; a lease of the worker ID with which the registry's own
# server issues IDs; a lease that takes longer the more worker IDs there are; a lease
# that reaches further than a fence would after a failover.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

# Without the library, the setting is a placeholder that any session can set.
my $node = new_registry('registry', conf => 'fsync = off');
set_up($node, 'worker_bits => 4');

# A holder that crashes: it leases again, and never renews.
my $refused = qr/ERROR:  53400: "loop" has 2 running leases, the most that one holder may have from one address/;
my @got = map { lease($node, q{'loop', '60 s'}) } 1 .. 15;
is(scalar(grep { defined } @got), 2, 'a crash loop gets an eighth of the worker IDs');
my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nCALL snowflake_registry.lease('loop')");
like($err, $refused, 'then it is refused');
like($err, qr/DETAIL:  The first of them ends at .*\n.*HINT:  Give each instance a name of its own/s, 'and told until when');
($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nCALL snowflake_registry.lease('loop', worker_id => 9)");
like($err, $refused, 'nor does it get one that it names');
ok(lease($node, q{'another'}), 'others are not');
{
	local $ENV{PGHOST};
	my $url = 'host=127.0.0.1 port=' . $node->port . ' dbname=postgres';

	$node->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'");
	$node->append_conf('pg_hba.conf', 'host all all 127.0.0.1/32 trust');
	$node->restart;
	ok(run_log([ 'psql', '-Xq', '-d', $url, '-c', q{CALL snowflake_registry.lease('loop')} ], '>', '/dev/null'),
		'nor is one of that name from another address');
}
my $given = lease($node, q{'given', '60 s', 9});
$node->safe_psql('postgres', "SELECT snowflake_registry.release('$given->{token}', clock_timestamp())");

# It comes back, and gets its worker ID back, as soon as that is free.
ok($node->poll_query_until('postgres', "SELECT valid_until < clock_timestamp() FROM snowflake_registry.status WHERE worker_id = 9"), 'it is free');
is(lease($node, q{'given', '1 s'})->{worker_id}, 9, 'a holder that comes back gets its worker ID back');
isnt(lease($node, q{'given', '1 s'})->{worker_id}, 9, 'or another one, while it is leased');

# The registry's own server.
sub refuses_own
{
	my ($name, $refused) = @_;
	my (undef, $got, $why) = $node->psql('postgres', "\\set VERBOSITY verbose\nCALL snowflake_registry.lease('anybody', worker_id => 5)");

	$refused ? like($why, qr/ERROR:  55006: worker ID 5 is that of the registry's own server\n.*DETAIL:  Its "snowflake\.worker_id" is set, and it leases none\./s, $name)
			 : like($got, qr/^5\|/, $name);
	return;
}
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'\nsnowflake.worker_id = 5");
$node->restart;
refuses_own('the worker ID of the registry\'s own server is not leased', 1);
my %leased = map { ($_ ? $_->{worker_id} : 'none') => 1 } map { lease($node, "'server $_'") } 1 .. 20;
ok(!$leased{5} && $leased{none}, 'nor is it, when all others are');
is($node->safe_psql('postgres', 'SELECT holder, state FROM snowflake_registry.status WHERE worker_id = 5'),
	"the registry's own server|reserved", 'it is reserved');
$node->stop;

# Every worker ID has been used: a lease reads only a few of the rows.
my $full = new_registry('full', conf => 'fsync = off');
set_up($full, 'worker_bits => 16');
$full->safe_psql('postgres', q{
	INSERT INTO snowflake_registry.worker (worker_id, holder, valid_from, valid_until, first_seen, last_seen)
	SELECT n, 'holder ' || n, t, t + '1 min', t, t
	  FROM generate_series(0, 65535) AS n, LATERAL (SELECT timestamptz '2024-01-01 00:00:00Z' + n * interval '1 ms' AS t) AS s;
	UPDATE snowflake_registry.registry SET next_unused = 65536;
	ANALYZE snowflake_registry.worker});

sub rows_read
{
	return $full->safe_psql('postgres', q{
		SELECT pg_stat_force_next_flush();
		SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'worker'}) =~ s/^\s+//r;
}
my $before = rows_read();
$full->safe_psql('postgres', join "\n", "SELECT pg_stat_force_next_flush();", map { "CALL snowflake_registry.lease('new $_');" } 1 .. 50);
my $read = rows_read() - $before;
cmp_ok($read, '<', 50 * 200, "50 leases among 65536 ended ones read $read rows");
$full->safe_psql('postgres', q{UPDATE snowflake_registry.worker SET valid_until = clock_timestamp() + '1 min'; ANALYZE snowflake_registry.worker});
$before = rows_read();
$full->psql('postgres', join("\n", "SELECT pg_stat_force_next_flush();", map { "CALL snowflake_registry.lease('more $_');" } 1 .. 50), on_error_stop => 0);
$read = rows_read() - $before;
cmp_ok($read, '<', 50 * 200, "50 refusals among 65536 running leases read $read rows");
$full->stop;

# A longest lease that is raised takes effect only after the former one has passed, so
# that a standby knows it before anybody has such a lease.
my $raised = new_registry('raised', conf => 'fsync = off');
set_up($raised, "longest_lease => '3 s'");
my $seconds = "SELECT round(extract(epoch FROM valid_until - clock_timestamp())) FROM snowflake_registry.worker WHERE worker_id = ";
my $from = $raised->safe_psql('postgres', q{SELECT snowflake_registry.set_longest_lease('1 h')});
my $early = lease($raised, q{'early', '1 h'});
cmp_ok($raised->safe_psql('postgres', $seconds . $early->{worker_id}), '<=', 3, 'raised: not in force at once');
ok($raised->poll_query_until('postgres', "SELECT clock_timestamp() >= '$from'"), 'the former one passes');
my $late = lease($raised, q{'late', '1 h'});
cmp_ok($raised->safe_psql('postgres', $seconds . $late->{worker_id}), '>', 3000, 'then it is');
call_fails($raised, 'lowered below what is running', q{SELECT snowflake_registry.set_longest_lease('1 min')}, '55006',
	qr/the longest lease cannot be 00:01:00 while longer ones are running/, qr/DETAIL:  One of them lasts for another 00:59:/);
$raised->safe_psql('postgres', "SELECT snowflake_registry.release('$late->{token}', clock_timestamp())");
$raised->safe_psql('postgres', q{SELECT snowflake_registry.set_longest_lease('1 min')});
my $cut = lease($raised, q{'cut', '1 h'});
cmp_ok($raised->safe_psql('postgres', $seconds . $cut->{worker_id}), '<=', 60, 'lowered: at once, and who asks for more is not refused');
$raised->stop;

done_testing();
