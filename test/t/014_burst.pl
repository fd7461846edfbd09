# As many IDs as eight clients can take, for longer than max_ahead allows.
#
# Ruled out: a burst whose IDs are further ahead of the clock than max_ahead;
# one that ends in errors, or at less than the layout's rate, when the limit is
# reached; a change of max_ahead that takes effect late.
# SNOWFLAKE_TEST_LONG=1 makes it 20 s.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use FakeClock;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

# 64 IDs a millisecond are few enough that the clients are faster everywhere.
my $node = new_node('main', conf => 'snowflake.worker_bits = 16');
my $seconds = $ENV{SNOWFLAKE_TEST_LONG} ? 20 : 5;
my @incarnations;

sub set_max_ahead
{
	my ($max_ahead) = @_;

	$node->append_conf('postgresql.conf', "snowflake.max_ahead = $max_ahead");
	$node->reload;
	ok($node->poll_query_until('postgres', "SELECT current_setting('snowflake.max_ahead') = '$max_ahead'"),
		"snowflake.max_ahead is $max_ahead");
	return;
}

# Eight clients take IDs until they have reached the limit, and for some seconds
# more.  Returns the greatest lead in milliseconds, by the clock as it was read
# after the ID was taken; how many IDs have a time after the limit was reached;
# and how many milliseconds those are.
my $single_ids = 'SELECT snowflake_next() AS id FROM (SELECT generate_series(1, 1000000000)) AS calls';
my $batch_ids  = 'SELECT snowflake_next(1000000000) AS id';

sub take_all
{
	my ($limit) = @_;
	my @takers = map {
		my $ids = $_ % 2 ? $single_ids : $batch_ids;
		start_taker($node, sql => "SELECT id, extract(epoch FROM snowflake_timestamp(id) - clock_timestamp()) * 1000 FROM ($ids) AS ids")
	} 1 .. 8;

	ok($node->poll_query_until('postgres', qq{
			SELECT snowflake_timestamp(id) >= clock_timestamp() + interval '$limit ms' - interval '20 ms'
			  FROM (SELECT snowflake_next() AS id) AS s}),
		"the IDs are $limit ms ahead of the clock");
	my $since = next_id($node) >> 22;
	my $start = time;
	poll_until(sub { time > $start + $seconds });
	my $until = (next_id($node) >> 22) - 1;

	stop_taker($_) foreach @takers;

	my ($greatest, $count) = (-1e9, 0);
	my @files;
	foreach my $taker (@takers)
	{
		my $ids = '';

		unlike($taker->{errors}, qr/ERROR:  (?!canceling statement due to user request)/, 'no error but of being stopped');
		open my $fh, '<', $taker->{file} or die $!;
		while (<$fh>)
		{
			next unless /^(\d+)\t(\S+)\n/;
			$ids .= "$1\n";
			$greatest = $2 if $2 > $greatest;
			$count++       if $1 >> 22 > $since && $1 >> 22 <= $until;
		}
		close $fh;
		append_to_file("$taker->{file}.ids", $ids);
		push @files, "$taker->{file}.ids";
	}
	push @incarnations, \@files;
	return ($greatest, $count, $until - $since);
}

# Ahead of the clock no sequence is left out, so each millisecond is full, but
# for the IDs that were taken to look.
{
	set_max_ahead('2s');
	my ($greatest, $count, $ms) = take_all(2000);

	cmp_ok($greatest, '<=', 2000, 'no ID is further ahead than max_ahead');
	cmp_ok($greatest, '>', 1900, 'the limit was reached');
	cmp_ok($count, '>', 0.99 * 64 * $ms, 'IDs go on at the rate of the layout');
	cmp_ok($count, '<=', 64 * $ms, 'and not faster');
}

# The classic behaviour: wait for the next millisecond.
{
	set_max_ahead('0');
	ok($node->poll_query_until('postgres', 'SELECT snowflake_timestamp(id) <= clock_timestamp() FROM (SELECT snowflake_next() AS id) AS s'),
		'the clock catches up');
	my ($greatest, $count, $ms) = take_all(0);

	cmp_ok($greatest, '<=', 0, 'no ID is ahead of the clock');
	cmp_ok($count, '>', 0, 'IDs go on');
	cmp_ok($count, '<=', 64 * $ms, 'not faster than the layout allows');
}

# A minute ahead is much, or little.
set_max_ahead('1h');
push @incarnations, [ burst($node) ];
set_max_ahead('0');
clock_refuses($node, 'a minute ahead, none allowed', 3600);
set_max_ahead('1h');
push @incarnations, [ take_ids($node, 1000) ];

check_ids('bursts', @incarnations);
$node->stop;
done_testing();
