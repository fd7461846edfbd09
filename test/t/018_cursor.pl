# A cursor over snowflake_next(count) that is read slowly, while others take IDs:
# each FETCH returns IDs that are above all that were returned before it began,
# and not behind the clock, at the clock as well as ahead of it.
#
# Ruled out: IDs of a chunk that was claimed for an earlier FETCH.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $rows = 1000;

# 64 IDs a millisecond, so that a chunk has more than a millisecond.
my $node = new_node('main', conf => q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 1h});
my $other = 'psql -XqAt -d "' . $node->connstr('postgres') . '" -c "SELECT snowflake_next()"';

# What the clock shows, as the smallest ID of that millisecond.
my $clock = q{snowflake_min_id(date_trunc('milliseconds', clock_timestamp()))};

# Before each FETCH another session takes an ID, and the clock is read.
sub read_slowly
{
	my ($name, @fetches) = @_;
	my $script = "BEGIN;\nDECLARE ids CURSOR FOR SELECT snowflake_next($rows);\n";
	my ($count, $last, $floor, $unsorted, $below, %above) = (0, 0, 0, 0, 0);

	$script .= "\\set other `$other`\n\\echo other :other\nSELECT 'clock ' || $clock;\nFETCH $_ FROM ids;\n" foreach @fetches;
	$script .= 'COMMIT;';
	foreach (split /\n/, $node->safe_psql('postgres', $script))
	{
		if (/^(other|clock) (\d+)$/)
		{
			$above{$1}++ if $last > 0 && $2 > $last;
			$floor = $2 if $2 > $floor;
			next;
		}
		$count++;
		$unsorted++ if $_ <= $last;
		$below++    if $_ <= $floor;
		$last = $_;
	}
	is($count,        $rows,           "$name: as many IDs as were asked for");
	is($unsorted,     0,               "$name: they increase");
	is($above{other}, $#fetches,       "$name: another session's ID came between any two FETCHes");
	is($below,        0,               "$name: each FETCH is above what was before it");
	return $above{clock} // 0;
}

my @fetches = (1, 1, 1, 7, 1, 20, 100, 1, 300, 1, 'ALL');
is(read_slowly('at the clock', @fetches), $#fetches, 'at the clock: and so was the clock');

# A short burst: IDs are ahead of the clock, and stay ahead for long enough.
my $lead = burst($node);
is(read_slowly('ahead of the clock', @fetches), 0, 'ahead of the clock: the clock stayed behind');
check_ids('ahead of the clock', [$lead]);

# Fetching rows one by one does not use up what others need: little more than the
# first chunk is lost.
my $slow = "BEGIN;\nDECLARE ids CURSOR FOR SELECT snowflake_next($rows);\n" . "FETCH 1 FROM ids;\n" x 200 . 'COMMIT;';
my $before = $node->safe_psql('postgres', 'SELECT ids_issued FROM snowflake_status()');
is(scalar(my @ids = split /\n/, $node->safe_psql('postgres', $slow)), 200, 'IDs one by one');
cmp_ok($node->safe_psql('postgres', 'SELECT ids_issued FROM snowflake_status()') - $before, '<', 600, 'and few are lost');
$node->stop;

# Within one statement the clock decides: of each row at first, and of every
# sixteenth later on.
my $one = new_node('one', conf => 'snowflake.worker_bits = 5');
is( $one->safe_psql('postgres', qq{
		CREATE FUNCTION late(skip integer, further integer) RETURNS boolean LANGUAGE plpgsql AS \$\$
		DECLARE
			ids CURSOR FOR SELECT snowflake_next(100000);
			id bigint;
			own bigint;
			began bigint;
		BEGIN
			OPEN ids;
			MOVE FORWARD skip FROM ids;
			FETCH ids INTO id;
			own := snowflake_next();
			-- Until their millisecond is past.
			LOOP
				began := $clock;
				EXIT WHEN began > greatest(id, own) AND snowflake_timestamp(began) > snowflake_timestamp(own);
			END LOOP;
			MOVE FORWARD further FROM ids;
			FETCH ids INTO id;
			CLOSE ids;
			RETURN id > own AND id >= began;
		END \$\$;
		SELECT late(0, 0), late(3, 0), late(60, 0), late(130, 16), late(5000, 16)}),
	't|t|t|t|t', 'a row that is fetched late is not behind the clock');
$one->stop;

done_testing();
