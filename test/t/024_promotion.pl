# Promotions, one after the other, of standbys whose clocks are right, ten seconds
# behind and an hour behind, and of one whose primary's clock had been an hour
# ahead.  Rows with IDs are written until just before each failover.
#
# Ruled out: a new primary that believes its own clock, and gives out IDs at or
# below those in the data that it has taken over; one that never recovers by
# itself, or does not say why it cannot.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use FakeClock;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my @issued;

# Inserts rows, each by a call of its own; keeps the IDs.
sub insert_rows
{
	my ($node, $n) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/rows' . @issued;

	append_to_file($file, $node->safe_psql('postgres',
		join '', ("INSERT INTO event DEFAULT VALUES RETURNING id;\n") x $n) . "\n");
	push @issued, [$file];
	return;
}

# Then kills it, as soon as the rows are on the standby that takes over.
sub fail_over
{
	my ($old, $new) = @_;
	my $newest = last_line($issued[-1][0]);

	ok($new->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM event WHERE id = $newest)"),
		$new->name . ' has all rows');
	$old->stop('immediate');
	$new->promote;
	return;
}

sub goes_on
{
	my ($node, $why) = @_;
	my $id;

	ok( poll_until(sub {
			my ($status, $out) = $node->psql('postgres', 'INSERT INTO event DEFAULT VALUES RETURNING id');
			$id = $out;
			return $status == 0;
		}),
		$node->name . " goes on by itself, $why");
	push @issued, [ PostgreSQL::Test::Utils::tempdir() . '/first' . @issued ];
	append_to_file($issued[-1][0], "$id\n");
	insert_rows($node, 100);
	return;
}

my $first = new_clock_node('first', init => [ allows_streaming => 1 ], conf => q{
	snowflake.worker_bits = 16
	wal_sender_timeout = 0
	wal_receiver_timeout = 0});
$first->safe_psql('postgres', 'CREATE TABLE event (id bigint DEFAULT snowflake_next() PRIMARY KEY)');

# Each is a standby of the previous one.
my @nodes = ($first);
foreach ([ 'right', 0 ], [ 'seconds', -10 ], [ 'hour', -3600 ], [ 'last', 0 ])
{
	my ($name, $offset) = @$_;
	my $standby = with_clock(new_standby($nodes[-1], $name, start => 0));

	$standby->set_clock($offset);
	$standby->start;
	push @nodes, $standby;
}
my (undef, $right, $seconds, $hour, $last) = @nodes;

# The clock is right: at once.  The IDs have run as far ahead as they may.
insert_rows($first, 100);
push @issued, [ PostgreSQL::Test::Utils::tempdir() . '/ahead' ];
append_to_file($issued[-1][0], $first->safe_psql('postgres', q{
	INSERT INTO event SELECT max(id) FROM (SELECT snowflake_next(250000) AS id) AS ids RETURNING id}) . "\n");
fail_over($first, $right);
goes_on($right, 'for the clock is right');

# Ten seconds behind: when P3 allows it.
fail_over($right, $seconds);
clock_refuses($seconds, 'ten seconds behind', 10);
goes_on($seconds, 'when its clock has caught up');

# An hour behind: not before somebody sets the clock right.
fail_over($seconds, $hour);
clock_refuses($hour, 'an hour behind', 3600);
$hour->set_clock(0);
goes_on($hour, 'when its clock has been set right');

# The old primary's clock was an hour ahead for a while.
$hour->set_clock(3600);
goes_on($hour, 'when its clock goes forward');
$hour->set_clock(0);
clock_refuses($hour, 'an hour ahead once', 3600);
fail_over($hour, $last);
clock_refuses($last, 'the primary had been an hour ahead', 3600);
$last->set_clock(3600);
goes_on($last, 'when its clock shows that time');

check_ids('promotions', @issued);
is( $last->safe_psql('postgres', 'SELECT count(*) = count(DISTINCT id) FROM event'),
	't', 'the last one has every row once');

$last->stop;
done_testing();
