# A hundred million IDs by four clients at once, two of them with a call for each
# ID, two with one for all: count(DISTINCT) equals the count.
#
# Ruled out: two calls that get the same ID, however rarely.
#
# Takes minutes and 10 GB of disk.  SNOWFLAKE_TEST_IDS=n makes it smaller.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib "$FindBin::RealBin/../t";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $clients = 4;
my $each    = int(($ENV{SNOWFLAKE_TEST_IDS} // 100_000_000) / $clients);
my $count   = $clients * $each;

# Two million IDs fit into a millisecond, so nobody waits for the clock.  Scans
# return the rows in the order in which they were written.
my $node = new_node('main', conf => q{
	snowflake.worker_bits = 1
	autovacuum = off
	max_wal_size = 4GB
	max_parallel_workers_per_gather = 0
	synchronize_seqscans = off
	work_mem = 1GB});

my %calls = (
	0 => "SELECT snowflake_next($each) AS id",
	1 => "SELECT snowflake_next() AS id FROM (SELECT generate_series(1, $each)) AS calls");

my @tables = map { "id_$_" } 1 .. $clients;
my @sessions = map {
	my $sql = "CREATE UNLOGGED TABLE $tables[$_] AS $calls{$_ % 2}";
	IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', $sql ])
} 0 .. $#tables;
ok($_->finish, 'a client has taken its IDs') foreach @sessions;

foreach my $table (@tables)
{
	is($node->safe_psql('postgres', qq{
			SELECT count(*) FROM (SELECT id, lag(id) OVER () AS previous FROM $table) AS t WHERE id <= previous}),
		'0', "$table: IDs increase");
}

is($node->safe_psql('postgres',
		'SELECT count(id), count(DISTINCT id) FROM ('
	  . join(' UNION ALL ', map { "SELECT id FROM $_" } @tables) . ') AS t'),
	"$count|$count", "no ID twice among $count");

$node->stop;
done_testing();
