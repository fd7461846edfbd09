# Three primaries, each with a worker ID of its own, insert into the same table,
# and a fourth server collects their rows by logical replication, as
# doc/more-than-one-server.md says; it has rows of its own, too.
#
# Ruled out: two rows of different servers with the same ID, which would stop the
# replication; a subscriber that gives the rows IDs of its own; an order by ID that
# is not the order by time, by more than the clocks differ.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use FakeClock;
use Page;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $page = 'more-than-one-server.md';
my $rows = 2000;

# The last one has a clock that is an hour fast.
my $skew = 3600;
my @primaries = map {
	new_clock_node($_->[0], worker_id => $_->[1], clock => $_->[2], init => [ allows_streaming => 1 ],
		conf => page_block($page, 'ini many-to-one'))
} [ 'a', 1, 0 ], [ 'b', 2, 0 ], [ 'c', 3, $skew ];
# It has fewer workers than it wants at first; they should not wait for long.
my $collector = new_node('collector', worker_id => 4, conf => 'wal_retrieve_retry_interval = 100ms');
my $fast = $primaries[2];

foreach my $node (@primaries)
{
	$node->safe_psql('postgres', page_block($page, 'sql each server'));
	$node->safe_psql('postgres', page_block($page, 'sql primary'));
	$node->safe_psql('postgres', q{INSERT INTO event (what) SELECT 'before' FROM generate_series(1, 10)});
}

my %address = map { ("host=$_.example dbname=app" => address($primaries[ ord($_) - ord('a') ])) } qw(a b c);
my $subscribe = page_block($page, 'sql collector', %address);
$collector->safe_psql('postgres', page_block($page, 'sql each server'));
$collector->safe_psql('postgres', $_) foreach split /;\n/, $subscribe;
$collector->wait_for_subscription_sync;

# All at once, each row in a transaction of its own.
my @clients = map {
	IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $_->connstr('postgres'), '-c', qq{
		DO \$\$
		BEGIN
			FOR i IN 1 .. $rows LOOP
				INSERT INTO event (what) VALUES (i);
				COMMIT;
			END LOOP;
		END \$\$} ])
} @primaries;
ok($_->finish, 'a primary takes its rows') foreach @clients;

# One after the other, by the clock that the first two share.
my $turns = 40;
foreach my $turn (1 .. $turns)
{
	$primaries[ $turn % 2 ]->safe_psql('postgres', "INSERT INTO event (what) VALUES ('turn $turn')");
}
foreach my $turn (1 .. 3)
{
	$fast->safe_psql('postgres', "INSERT INTO event (what) VALUES ('fast $turn')");
	$primaries[0]->safe_psql('postgres', "INSERT INTO event (what) VALUES ('true $turn')");
}

sub collected
{
	my ($sql) = @_;
	return $collector->safe_psql('postgres', $sql);
}

$primaries[$_]->wait_for_catchup('from_' . qw(a b c)[$_]) foreach 0 .. 2;
is( collected('SELECT snowflake_worker_id(id), count(*) FROM event GROUP BY 1 ORDER BY 1'),
	join("\n", '1|' . (10 + $rows + $turns / 2 + 3), '2|' . (10 + $rows + $turns / 2), '3|' . (10 + $rows + 3)),
	'all rows arrive, with the IDs of their servers');
foreach my $node (@primaries)
{
	my $worker = $node->safe_psql('postgres', 'SELECT worker_id FROM snowflake_status()');
	my $sum = 'SELECT md5(string_agg(id || what, $$,$$ ORDER BY id)) FROM event WHERE snowflake_worker_id(id) = ' . $worker;

	is(collected($sum), $node->safe_psql('postgres', $sum), 'each as it is at home');
}
is(collected('SELECT ids_issued FROM snowflake_status()'), '0', 'the collector has made none of them');

collected(q{INSERT INTO event (what) VALUES ('own')});
is(collected(q{SELECT snowflake_worker_id(id) FROM event WHERE what = 'own'}), '4', 'but that of its own row');
unlike(slurp_file($collector->logfile), qr/duplicate key|conflict|ERROR|FATAL/, 'no conflict, and no error');
is(collected("SELECT count(*), sum(apply_error_count) FROM pg_stat_subscription_stats"), '3|0',
	'nor are any counted');

# Order: within a server, that of its calls; among servers, that of their clocks.
is( collected(q{
		SELECT count(*) FROM (
			SELECT what::integer AS n, lag(what::integer) OVER (PARTITION BY snowflake_worker_id(id) ORDER BY id) AS previous
			  FROM event WHERE what ~ '^\d+$') AS t
		 WHERE n <> coalesce(previous, 0) + 1}),
	'0', 'the order by ID is that of each server\'s calls');
is( collected(q{SELECT string_agg(what, ',' ORDER BY id) FROM event WHERE what ~ '^turn'}),
	join(',', map { "turn $_" } 1 .. $turns), 'the order by ID is that of calls on two servers with the same clock');
is( collected(q{SELECT count(*) FROM event AS x JOIN event AS y
		ON x.what LIKE 'fast %' AND y.what LIKE 'true %' AND right(x.what, 1) <= right(y.what, 1) WHERE x.id < y.id}),
	'0', 'where clocks differ, a row can come before one that is older');
is( collected(qq{SELECT count(*) FROM event AS x JOIN event AS y
		ON x.what LIKE 'fast %' AND y.what LIKE 'true %' AND right(x.what, 1) <= right(y.what, 1)
		WHERE snowflake_timestamp(x.id) - interval '$skew s' > snowflake_timestamp(y.id)}),
	'0', 'but not by more than they differ');

$_->stop foreach $collector, @primaries;
done_testing();
