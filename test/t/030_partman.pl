# Partitions by the time in the key, made and dropped by pg_partman: its mode for
# integer keys, with a day of IDs as the interval.  Days to come are days in the
# keys (snowflake_encode), not on the clock.
#
# Ruled out: partitions that do not begin at midnight UTC, rows that land beside
# them, and limits of pg_partman that doc/partitioning.md does not tell.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $node = new_node('main', conf => "timezone = 'America/Caracas'");

sub query
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

# Where there should be one, it must not be missing.
plan skip_all => 'there is no pg_partman for PostgreSQL 19 yet'
  if query('SHOW server_version_num') >= 190000 && !query(q{SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_partman'});
query('CREATE SCHEMA partman; CREATE EXTENSION pg_partman SCHEMA partman');
my ($major) = query("SELECT extversion FROM pg_extension WHERE extname = 'pg_partman'") =~ /^(\d+)/;
my $type = $major < 5 ? 'native' : 'range';

# The midnight UTC that begins a day, counted from the one on which the test began.
my $today = query("SELECT date_trunc('day', now(), 'UTC')");
sub day
{
	my ($n) = @_;
	return "(timestamptz '$today' + $n * interval '24 hours')";
}
sub insert_on
{
	my ($n) = @_;
	return query('INSERT INTO event SELECT snowflake_encode(' . day($n) . " + interval '12 hours', 1, s), 'day $n' FROM generate_series(1, 3) AS s");
}

# The partitions but the default one.
query(q{
	CREATE VIEW partition AS
	SELECT c.oid, c.relname, bounds[1]::bigint AS first, bounds[2]::bigint AS beyond
	  FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid,
		   regexp_match(pg_get_expr(relpartbound, c.oid), $$FROM \('(\d+)'\) TO \('(\d+)'\)$$) AS bounds
	 WHERE inhparent = to_regclass('event')});

# The days that have a partition.
sub days
{
	return query("SELECT string_agg(((extract(epoch FROM snowflake_timestamp(first) - " . day(0) . ")) / 86400)::int::text, ' ' ORDER BY first)
		FROM partition");
}

sub in_default
{
	return query('SELECT count(*) FROM event_default');
}

query(q{CREATE TABLE event (id bigint DEFAULT snowflake_next() PRIMARY KEY, what text) PARTITION BY RANGE (id)});
is( query("SELECT partman.create_parent('public.event', 'id', p_type => '$type', p_interval => (snowflake_min_id('2030-01-02Z') - snowflake_min_id('2030-01-01Z'))::text, "
			. "p_premake => 3, p_start_partition => snowflake_min_id(" . day(0) . " + interval '1 hour')::text)"),
	't', 'pg_partman takes the table');
is(days(), '0 1 2 3', 'it has a partition for today and three ahead');
is( query("SELECT count(*) FROM partition WHERE snowflake_timestamp(first) <> date_trunc('day', snowflake_timestamp(first), 'UTC')
			  OR beyond <> snowflake_min_id(snowflake_timestamp(first) + interval '1 day')"),
	'0', 'each holds a day in UTC');

# The default of the key.
query(q{INSERT INTO event (what) SELECT 'now' FROM generate_series(1, 1000)});
is(in_default(), '0', 'new rows land in a partition');
is( query('SELECT count(*) FROM event JOIN partition ON event.tableoid = partition.oid AND id >= first AND id < beyond'),
	'1000', 'of their day');

# The days go by.
insert_on($_) foreach 1 .. 2;
query("SELECT partman.run_maintenance('public.event')");
is(days(), '0 1 2 3 4 5', 'maintenance makes partitions three days ahead of the newest row');
insert_on($_) foreach 3 .. 5;
query("SELECT partman.run_maintenance('public.event')");
is(days(), '0 1 2 3 4 5 6 7 8', 'and again');

# Old ones go.
query("UPDATE partman.part_config SET retention = (snowflake_min_id('2030-01-03Z') - snowflake_min_id('2030-01-01Z'))::text, retention_keep_table = false
	WHERE parent_table = 'public.event'");
query("SELECT partman.run_maintenance('public.event')");
is(days(), '3 4 5 6 7 8', 'retention drops what is older than two days before the newest row');
is(query('SELECT string_agg(DISTINCT what, $$,$$ ORDER BY what) FROM event'), 'day 3,day 4,day 5', 'with its rows');

# A pause longer than premake: the rows land in the default partition, and
# maintenance stops, or no longer sees them.
query("UPDATE partman.part_config SET retention = NULL WHERE parent_table = 'public.event'");
insert_on(20);
is(in_default(), '3', 'after a longer pause rows land in the default partition');
my ($status, $out, $err) = $node->psql('postgres', "SELECT partman.run_maintenance('public.event')");
if ($major < 5)
{
	isnt($status, 0, 'and maintenance fails');
	like($err, qr/updated partition constraint for default partition "event_default" would be violated/, 'because of them');
}
else
{
	is($status, 0, 'and maintenance takes no notice');
	is(days(), '3 4 5 6 7 8', 'so that no partition is made for them');
}
query("SELECT partman.partition_data_id('public.event', p_batch_count => 10)");
is(in_default(), '0', 'partition_data_id() moves them out');
query("SELECT partman.run_maintenance('public.event')");
like(days(), qr/ 20 21 22 23$/, 'and maintenance goes on');

# Partitions by the clock, whether rows come or not.
query("SELECT partman.create_partition_id('public.event', array_agg(snowflake_min_id(day)))
	FROM generate_series(" . day(22) . ', ' . day(40) . ", '1 day') AS day");
like(days(), qr/ 20 21 22 23 24 .* 38 39 40$/, 'create_partition_id() makes those that are missing');
insert_on(39);
is(in_default(), '0', 'then rows land in theirs after any pause');
query("SELECT partman.run_maintenance('public.event')");
like(days(), qr/ 40 41 42$/, 'and maintenance goes on from there');

# What all that is for.
my @scans = query("EXPLAIN (COSTS OFF) SELECT * FROM event WHERE snowflake_between(id, " . day(39) . ', ' . day(40) . ')') =~ /Scan.* on event_\w+ event/g;
is(scalar @scans, 1, 'a query by time reads one partition');
is(query("SELECT count(*) FROM event WHERE snowflake_between(id, " . day(39) . ', ' . day(40) . ')'), '3', 'and finds its rows');

$node->stop;
done_testing();
