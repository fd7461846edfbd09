# The spread of IDs over 16 shards, by the number itself (id % 16) and by hash
# partitions, at a rate so low that each ID has a millisecond of its own.
#
# Ruled out: low bits that never move, because each millisecond starts at the
# same sequence, so that all rows land in one shard; and low bits that always move
# by two, so that all parents land in the even ones.
#
# Rows count as unevenly spread when chance alone would do it once in a million
# times.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $shards       = 16;
my $rows         = 800;
my $significance = 1e-6;
my $node         = new_node('main');

# The probability that chi-square with so many degrees of freedom is $x or
# more: 1 - P(k / 2, x / 2), P being the lower regularized gamma function by its
# series.  For an odd number, whose gamma function is elementary.
sub chance
{
	my ($k, $x) = @_;
	my ($a, $y) = ($k / 2, $x / 2);
	my $gamma = sqrt(atan2(1, 1) * 4);
	my ($term, $sum) = (1, 0);

	for (my $i = 0.5; $i <= $a; $i++)
	{
		$gamma *= $i;
	}
	for (my $n = 1; $term > 1e-18; $n++)
	{
		$sum += $term;
		$term *= $y / ($a + $n);
	}
	return 1 - $y**$a * exp(-$y) / $gamma * $sum;
}

# The chi-square that chance reaches that rarely.
sub threshold
{
	my ($k) = @_;
	my ($low, $high) = (0, 200);

	for (1 .. 60)
	{
		my $middle = ($low + $high) / 2;
		(chance($k, $middle) > $significance ? $low : $high) = $middle;
	}
	return $high;
}

my $threshold = threshold($shards - 1);

# Known values, from tables of the distribution.
cmp_ok(abs(chance(1,  3.841459) - 0.05),  '<', 1e-6, 'chi-square, 1 degree of freedom');
cmp_ok(abs(chance(15, 24.99579) - 0.05),  '<', 1e-6, 'chi-square, 15 degrees of freedom');
cmp_ok(abs(chance(15, 37.69730) - 0.001), '<', 1e-7, 'and further out');

# $shard: an expression that names the shard of a row of $table.
sub spreads
{
	my ($name, $table, $shard) = @_;
	my ($chi_square, $used, $n) = split /\|/, $node->safe_psql('postgres', qq{
		SELECT sum(count * count) * $shards / sum(count) - sum(count), count(*), sum(count)
		  FROM (SELECT count(*) FROM $table GROUP BY $shard) AS shards});

	cmp_ok($chi_square, '<', $threshold, "$name: $n rows, $used shards of $shards");
	return;
}

# Runs statements of one session each, side by side.  $sql runs in a loop with a
# pause that is long enough for the next ID to have another millisecond.
sub slowly
{
	my (@sql) = @_;
	my @sessions = map {
		IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', qq{
			DO \$\$
			BEGIN
				FOR i IN 1 .. $rows LOOP
					$_
					COMMIT;
					PERFORM pg_sleep(0.002);
				END LOOP;
			END \$\$} ])
	} @sql;

	ok($_->finish, 'a client has inserted its rows') foreach @sessions;
	return;
}

my $columns = 'id bigint DEFAULT snowflake_next() PRIMARY KEY';
$node->safe_psql('postgres', qq{
	CREATE TABLE one ($columns) PARTITION BY HASH (id);
	CREATE TABLE several ($columns, client integer) PARTITION BY HASH (id);
	CREATE TABLE parent ($columns) PARTITION BY HASH (id);
	CREATE TABLE child ($columns) PARTITION BY HASH (id)});
foreach my $table (qw(one several parent child))
{
	$node->safe_psql('postgres', join ';', map {
		"CREATE TABLE ${table}_$_ PARTITION OF $table FOR VALUES WITH (MODULUS $shards, REMAINDER $_)"
	} 0 .. $shards - 1);
}

# One client.
slowly('INSERT INTO one DEFAULT VALUES;');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT id >> 22) FROM one'), $rows, 'each ID has a millisecond of its own');
spreads('one client, by the number', 'one', 'id % 16');
spreads('one client, by the hash',   'one', 'tableoid');

# Three independent clients.
slowly(map { "INSERT INTO several (client) VALUES ($_);" } 1 .. 3);
spreads('three clients, by the number', 'several', 'id % 16');
spreads('three clients, by the hash',   'several', 'tableoid');

# A client that takes two IDs each time.
slowly('INSERT INTO parent DEFAULT VALUES; INSERT INTO child DEFAULT VALUES;');
foreach ([ first => 'parent' ], [ second => 'child' ])
{
	my ($which, $table) = @$_;
	spreads("the $which of two IDs, by the number", $table, 'id % 16');
	spreads("the $which of two IDs, by the hash",   $table, 'tableoid');
}

$node->stop;
done_testing();
