# The clock of the registry is an hour off, in either direction, and the clocks of its
# clients are right, or off as well.
#
# Ruled out: intervals that overlap because of a clock; a healthy holder that loses its
# worker ID to a client that believes the registry's clock; a lease that reaches
# further than a fence does.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use FakeClock;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;
use Time::HiRes ();

# Leases that have to hold meanwhile are much longer than the test takes.
my $node = new_registry('registry', conf => 'fsync = off');
set_up($node, "worker_bits => 1, longest_lease => '10 min'");
$node->stop;
with_clock($node);
$node->start;

# The true time, as an argument; so many seconds off.
sub now_is
{
	my ($off) = @_;
	return sprintf 'to_timestamp(%.3f)', Time::HiRes::time() + ($off // 0);
}

my @issued;
sub keep
{
	my ($name, $lease) = @_;

	ok($lease, $name);
	push @issued, $lease if $lease;
	return $lease;
}

# A renewal extends the same lease.
sub keep_renewed
{
	my ($name, $lease, $off) = @_;
	my $renewed = renew($node, $lease, "'5 min', " . now_is($off));

	ok($renewed, $name) or return $lease;
	cmp_ok($renewed->{until}, '>=', $lease->{until}, "$name: is never shorter");
	@issued = grep { $_ != $lease } @issued;
	push @issued, $renewed;
	return $renewed;
}

# A healthy holder whose clock is an hour behind keeps its worker ID while another one
# is available.
my $short  = keep('a short one', lease($node, q{'short', '1 s', NULL, } . now_is()));
my $behind = keep('one that is behind', lease($node, q{'behind', '5 min', NULL, } . now_is(-3600)));
ok($node->poll_query_until('postgres', "SELECT '$short->{valid_until}' < clock_timestamp()"), 'the short one ends');
keep_renewed('the one that is behind calls', $behind, -3600);
my $next = keep('another', lease($node, q{'next', '1 s', NULL, } . now_is()));
is($next->{worker_id}, $short->{worker_id}, 'the one that is behind is not robbed');
ok($node->poll_query_until('postgres', "SELECT '$next->{valid_until}' < clock_timestamp()"), 'that one ends');

my $first  = keep('the first',  lease($node, q{'first', '5 min', 0, } . now_is()));
my $second = keep('the second', lease($node, q{'second', '5 min', 1, } . now_is()));

# Right, but the asker's is ahead, as far as a lease may reach: by that clock both have ended.
call_fails($node, 'right, an asker somewhat ahead', q{CALL snowflake_registry.lease('thief', '1 min', NULL, } . now_is(400) . ')', '53400',
	qr/all worker IDs are taken/);

# An hour ahead: by this clock both have ended.
$node->set_clock(3600);
call_fails($node, 'ahead', q{CALL snowflake_registry.lease('thief', '5 min', NULL, } . now_is() . ')', '53400', qr/all worker IDs are taken/);
call_fails($node, 'ahead, asked for', q{CALL snowflake_registry.lease('thief', '5 min', 0, } . now_is() . ')', '55006',
	qr/worker ID 0 is held by "first" until /);
$first = keep_renewed('ahead: a renewal', $first);

# A client that is an hour ahead as well may take over, for time that nobody else has.
my $taken = keep('ahead, and so is the asker', lease($node, q{'ahead', '5 min', 1, } . now_is(3600)));
call_fails($node, 'the one that was there', "CALL snowflake_registry.renew('$second->{token}')", 'SR001',
	qr/this token does not belong to a current lease/);

# An hour behind.
$node->set_clock(-3600);
call_fails($node, 'behind', q{CALL snowflake_registry.lease('right', '5 min', NULL, } . now_is() . ')', '22008',
	qr/the asker's clock is too far ahead of the registry's/, qr/DETAIL:  It shows .*, the registry's .*, and no lease reaches further than/);
$first = keep_renewed('behind: a renewal says what there is', $first);
call_fails($node, 'behind, and so is the asker', q{CALL snowflake_registry.lease('behind', '5 min', NULL, } . now_is(-3600) . ')', '53400',
	qr/all worker IDs are taken/);
call_fails($node, 'right, an asker ahead', q{CALL snowflake_registry.lease('ahead', '5 min', NULL, } . now_is(3600) . ')', '22008',
	qr/the asker's clock is too far ahead of the registry's/);

# Right again.
$node->set_clock(0);
$first = keep_renewed('right: a renewal', $first);
$node->safe_psql('postgres', "SELECT snowflake_registry.release('$first->{token}', '$first->{valid_until}'::timestamptz - interval '295 s')");
$first->{until} -= 295_000;
ok( poll_until(sub {
		my $again = lease($node, q{'again', '2 s', NULL, } . now_is());
		push @issued, $again if $again;
		return $again;
	}),
	'what was released is leased again');

# A fence that sees a correct clock does not decide by itself which one was wrong.
sub fence
{
	my ($arguments) = @_;
	$node->safe_psql('postgres', "SELECT snowflake_registry.fence($arguments)");
	return $node->safe_psql('postgres', 'SELECT ' . ms('floor') . ', ' . ms('max(valid_until)')
		  . ' FROM snowflake_registry.registry, snowflake_registry.worker GROUP BY floor');
}
call_fails($node, 'a fence after a clock that was ahead', 'SELECT snowflake_registry.fence()', '55000',
	qr/the registry's clock is far behind the latest call/, qr/DETAIL:  The clock shows .*, and the latest call was at .*\./,
	qr/HINT:  An administrator must say what is right, in snowflake_registry\.fence\(now_is => \.\.\.\)\./);
my ($floor, $latest) = split /\|/, fence('now_is => ' . now_is());
my $now = 1000 * Time::HiRes::time();
cmp_ok($floor, '<=', $now + 600_000, 'a fence by the right time: what was never used rests for the longest lease');
cmp_ok($latest, '>=', $taken->{until}, 'a fence by the right time: what is leased by the wrong clock stays leased');
cmp_ok($latest, '<=', $taken->{until}, 'a fence by the right time: and no longer');
($floor) = split /\|/, fence('');
cmp_ok($floor, '<=', 1000 * Time::HiRes::time() + 600_000, 'fenced once more: what is said once is believed, and nothing adds up');
($floor) = split /\|/, fence('now_is => ' . now_is(3600));
cmp_ok($floor, '>=', $taken->{from} + 600_000, 'a fence reaches as far as a lease may have, by the clock that was');

check_leases('clocks', @issued);

$node->stop;
done_testing();
