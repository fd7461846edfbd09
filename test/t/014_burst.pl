# As many IDs as eight clients can take, for longer than max_ahead allows.
#
# Ruled out: a burst whose IDs are further ahead of the clock than max_ahead;
# one that ends in errors when the limit is reached, that leaves out IDs although it
# is ahead, or does not return to the limit; a change of max_ahead that takes
# effect late.
#
# How long all that takes depends on the machine, so time is counted in the
# milliseconds of the IDs.  SNOWFLAKE_TEST_LONG=1 makes it 20 s.
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

# Milliseconds and sequence, without the worker between them.
sub tick
{
	my ($id) = @_;
	return ($id >> 22) << 6 | $id & 63;
}

sub reaches
{
	my ($limit, $name) = @_;
	ok($node->poll_query_until('postgres', qq{
			SELECT snowflake_timestamp(id) >= clock_timestamp() + interval '$limit ms' - interval '20 ms'
			  FROM (SELECT snowflake_next() AS id) AS s}),
		"$name: the IDs are $limit ms ahead of the clock");
	return;
}

# Eight clients take IDs until they have reached the limit, for some seconds of
# IDs more, and until they reach it again.  Returns the greatest lead in
# milliseconds, by the clock as it was read after the ID was taken; and of those
# seconds: how many milliseconds they are, how many IDs have their time, and how
# often some were left out by one that was ahead of the clock.  (Where the clock
# has come up with the IDs, it is followed.)
my $single_ids = 'SELECT snowflake_next() AS id FROM (SELECT generate_series(1, 1000000000)) AS calls';
my $batch_ids  = 'SELECT snowflake_next(1000000000) AS id';

sub take_all
{
	my ($limit) = @_;
	my @takers = map {
		my $ids = $_ % 2 ? $single_ids : $batch_ids;
		start_taker($node, sql => "SELECT id, extract(epoch FROM snowflake_timestamp(id) - clock_timestamp()) * 1000 FROM ($ids) AS ids")
	} 1 .. 8;

	reaches($limit, 'at first');
	my $since = next_id($node) >> 22;
	my @looks;
	ok( poll_until(sub {
			push @looks, next_id($node);
			return $looks[-1] >> 22 > $since + 1000 * $seconds;
		}),
		'IDs go on');
	my $until = $looks[-1] >> 22;
	reaches($limit, 'again');

	# What was claimed must be written before the session is stopped.
	foreach my $taker (@takers)
	{
		ok(poll_until(sub { `tail -n 2 $taker->{file}` =~ /^(\d+)\t.*\n/ && $1 >> 22 > $until }), 'each session is past those seconds');
	}
	stop_taker($_) foreach @takers;

	my $greatest = -1e9;
	my @files;
	my %lead = map { $_ => 0 } grep { $_ >> 22 > $since && $_ >> 22 < $until } @looks;
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
			$lead{$1} = $2 if $1 >> 22 > $since && $1 >> 22 < $until;
		}
		close $fh;
		append_to_file("$taker->{file}.ids", $ids);
		push @files, "$taker->{file}.ids";
	}
	push @incarnations, \@files;
	my @ids    = sort { $a <=> $b } keys %lead;
	my $holes  = grep { $lead{ $ids[$_] } > 0 && tick($ids[$_]) != tick($ids[ $_ - 1 ]) + 1 } 1 .. $#ids;
	return ($greatest, $until - $since - 1, scalar @ids, $holes);
}

# The classic behaviour: wait for the next millisecond.
{
	set_max_ahead('0');
	my ($greatest, $ms, $count) = take_all(0);

	cmp_ok($greatest, '<=', 0, 'no ID is ahead of the clock');
	cmp_ok($count, '>', 0, 'IDs go on');
	cmp_ok($count, '<=', 64 * $ms, 'not faster than the layout allows');
}

# A lead that outlasts a machine that is busy elsewhere for a while.
{
	set_max_ahead('15s');
	my ($greatest, $ms, $count, $holes) = take_all(15_000);

	cmp_ok($greatest, '<=', 15_000, 'no ID is further ahead than max_ahead');
	cmp_ok($count, '<=', 64 * $ms, 'IDs go on at the rate of the layout');
	is($holes, 0, 'while they are ahead of the clock none is left out');
}

# A minute ahead, with a large max_ahead and a small one.
set_max_ahead('1h');
push @incarnations, [ burst($node) ];
set_max_ahead('0');
clock_refuses($node, 'a minute ahead, none allowed', 3600);
set_max_ahead('1h');
push @incarnations, [ take_ids($node, 1000) ];

check_ids('bursts', @incarnations);
$node->stop;
done_testing();
