# The registry fails over to an asynchronous standby, under load, and the latest
# commits are lost: leases of worker IDs that had a row on the standby, and of
# some that had not; renewals; releases.  Then once more, by itself.
#
# Ruled out: a worker ID that the new registry leases while somebody holds it
# from the old one; a call that is answered before the registry is fenced; a token
# from before that still works; a registry that fences itself and forgets it,
# since its first calls fail.
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

# The clock is stopped while leases have to hold, and goes on when they are to
# end; so nothing depends on how long the test takes.
my $longest = 60;
my @issued;
my $sessions = 0;

# A session that leases, renews and releases until the server goes away; it
# keeps what it was told.
sub start_session
{
	my ($node) = @_;
	my $session = {
		file   => PostgreSQL::Test::Utils::tempdir() . '/session' . ++$sessions,
		script => PostgreSQL::Test::Utils::tempdir() . "/session$sessions.sql",
	};
	my $show = "SELECT :worker_id, :'id', " . ms(":'valid_from'::timestamptz") . ', ';
	my $until = ms(":'valid_until'::timestamptz");
	my $from  = ms(":'valid_from'::timestamptz");
	# Another name each time, or it would get what it has released.
	my $round = qq{
		CALL snowflake_registry.lease('session $sessions ' || random(), '$longest s') \\gset
		\\set id :token
		$show $until;
		CALL snowflake_registry.renew(:'token', '$longest s') \\gset
		$show $until;
		-- every other one is given back without having been used
		SELECT :worker_id % 2 = 0 AS given_back \\gset
		\\if :given_back
			$show $from;
			SELECT snowflake_registry.release(:'token', :'valid_from');
		\\endif
	};

	append_to_file($session->{script}, $round x 10_000);
	$session->{run} = IPC::Run::start(
		[ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', $session->{script} ],
		'<', \undef, '>', $session->{file}, '2>', "$session->{file}.err");
	return $session;
}

# The leases that the sessions of a server have got: of each the last that it
# was told.
sub end_sessions
{
	my (@sessions) = @_;
	my %leases;

	foreach my $session (@sessions)
	{
		$session->{run}->finish;
		foreach (split /\n/, slurp_file($session->{file}))
		{
			next unless /^(\d+)\|([-0-9a-f]{36})\|(\d+)\|(\d+)$/;
			$leases{$2} = { worker_id => $1, from => $3, until => $4 };
		}
	}
	return values %leases;
}

# The standby stops receiving; the primary goes on, and is killed; the standby
# takes over.
sub fail_over
{
	my ($primary, $standby) = @_;
	my @before = map { start_session($primary) } 1 .. 2;
	my $taken = 'SELECT count(*) FROM snowflake_registry.worker';

	ok($primary->poll_query_until('postgres', "SELECT ($taken) >= 8"), 'leases before');
	$primary->wait_for_catchup($standby);
	$standby->append_conf('postgresql.conf', "primary_conninfo = ''");
	$standby->reload;
	ok($standby->poll_query_until('postgres', 'SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)'), 'the standby is cut off');
	my $there = $standby->safe_psql('postgres', $taken);
	my $lost = lease($primary, "'lost', '$longest s'");
	ok($primary->poll_query_until('postgres', "SELECT ($taken) > $there + 20"), 'more leases, which are lost');
	$lost = renew($primary, $lost, "'$longest s'");
	$primary->stop('immediate');
	push @issued, end_sessions(@before);

	call_fails($standby, 'in recovery', $_, '25006', qr/the registry cannot be used during recovery/)
	  foreach "CALL snowflake_registry.lease('early')", 'SELECT snowflake_registry.fence()';
	$standby->promote;
	$standby->freeze_clock;
	is($standby->safe_psql('postgres', $taken), $there, 'they are lost');
	return $lost;
}

# Later: many leases.
sub lease_all
{
	my ($node) = @_;
	my @got;

	$node->set_clock($node->{clock_offset} + 2 * $longest);
	push @got, lease($node, "'late', '1 s'");
	ok($got[0], 'there are leases again');
	while (my $lease = lease($node, "'late', '1 s'"))
	{
		push @got, $lease;
		last if @got > 60;
	}
	push @issued, @got;
	return @got;
}

sub standby_with_clock
{
	my ($primary, $name) = @_;
	my $standby = with_clock(new_standby($primary, $name, start => 0));

	$standby->set_clock($primary->{clock_offset});
	$standby->start;
	return $standby;
}

my $first = new_registry('first', init => [ allows_streaming => 1 ], conf => q{
	fsync = off
	autovacuum = off
	wal_sender_timeout = 0
	wal_receiver_timeout = 0});
$first->stop;
with_clock($first);
$first->start;
set_up($first, "worker_bits => 16, longest_lease => '$longest s'");
$first->safe_psql('postgres', q{SELECT snowflake_registry.reserve(200, 'db200')});
my $second = standby_with_clock($first, 'second');
my $kept = lease($first, "'kept', '$longest s'");
my $lost = fail_over($first, $second);

# Closed, to everybody and for everything.
foreach my $call ("CALL lease('a')", "CALL renew('$kept->{token}')", "SELECT release('$kept->{token}', now())", "SELECT reserve(9, 'a')", 'SELECT unreserve(200)')
{
	call_fails($second, "before the fence: $call", $call =~ s/ / snowflake_registry./r, '55000',
		qr/the registry may have lost leases, and is closed until it is fenced/,
		qr/DETAIL:  It was on timeline 1, and is now on timeline 2\./);
}
my ($status, $floor, $notice) = $second->psql('postgres', 'SELECT ' . ms('f') . ' FROM snowflake_registry.fence() AS f');
is($status, 0, 'fenced');
like($notice, qr/DETAIL:  1 worker IDs are reserved/, 'the notice says what is reserved');
like($notice, qr/HINT:  Compare the reservations/, 'and what to do');

# Open, but no token works, nor does what its holder knows close it again.
call_fails($second, 'a token that is not lost', "CALL snowflake_registry.renew('$kept->{token}')",
	'SR001', qr/this token does not belong to a current lease/);
call_fails($second, 'a lost token', "CALL snowflake_registry.renew('$lost->{token}')",
	'SR001', qr/this token does not belong to a current lease/);
call_fails($second, 'too early', q{CALL snowflake_registry.lease('a', '1 s')}, '53400', qr/all worker IDs are taken/,
	qr/DETAIL:  Worker ID \d+ is free at /);
call_fails($second, 'too early to reserve', q{SELECT snowflake_registry.reserve(201, 'a')}, '55006', qr/worker ID 201 is not free until/);
my @late = lease_all($second);
is(scalar(grep { $_->{from} < $floor } @late), 0, 'not before fence() said so');
is(scalar(grep { $_->{worker_id} == 200 } @late), 0, 'nor what is reserved');
cmp_ok($lost->{until}, '>', $lost->{from} + 1000 * $longest, 'the lost lease was renewed');

# Now by itself: the first call fails, but commits.
$second->safe_psql('postgres', 'UPDATE snowflake_registry.registry SET fence_itself = true');
my $third = standby_with_clock($second, 'third');
fail_over($second, $third);
my ($ok, $out, $warning) = $third->psql('postgres', q{CALL snowflake_registry.lease('first')});
like($warning, qr/ERROR:  the registry has just fenced itself, and has leased nothing/, 'by itself: an error');
is($out, '', 'by itself: no lease');
like($warning, qr/WARNING:  the registry has fenced itself on its new timeline 3/, 'by itself: says so');
call_fails($third, 'by itself: too early', q{CALL snowflake_registry.lease('a', '1 s')}, '53400', qr/all worker IDs are taken/);
call_fails($third, 'by itself: a token', "CALL snowflake_registry.renew('$late[-1]{token}')", 'SR001',
	qr/this token does not belong to a current lease/);
is($third->safe_psql('postgres', 'SELECT timeline, fence_needed IS NULL FROM snowflake_registry.registry'), '3|t', 'by itself: committed');
lease_all($third);

check_leases('failover', @issued);

$third->stop;
done_testing();
