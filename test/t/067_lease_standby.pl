# A primary and its standby, each with a lease of its own, both issue IDs; then the
# standby is promoted, and goes on with its lease.
#
# Ruled out: a standby that repeats what the primary issues, or after a crash what it
# has issued itself; a promotion after which IDs are not above those in the data.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $registry = new_registry('registry');
set_up($registry, 'worker_bits => 16');
my $primary = new_node('primary', registry => $registry, init => [ allows_streaming => 1 ], conf => q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 1min});
$primary->safe_psql('postgres', 'CREATE TABLE event (id bigint DEFAULT snowflake_next() PRIMARY KEY)');
my $standby = new_standby($primary, 'standby');

# Both at once.
my @takers = map { start_taker($_) } $primary, $standby;
wait_for_ids($_, 1_000_000) foreach @takers;
my $worker = worker_of($standby);
isnt($worker, worker_of($primary), 'a standby has a lease of its own');
is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery(), state, worker_source FROM snowflake_status()'),
	't|issuing|registry', 'with which it issues IDs in recovery');
stop_taker($_) foreach @takers;
check_ids('primary and standby', [ map { $_->{file} } @takers ]);

# The standby crashes: there is no mark of its own, so it takes another lease.
my @before = ($takers[1]{file});
$standby->stop('immediate');
$standby->start;
isnt(worker_of($standby), $worker, 'after a crash it takes another lease');
push @before, take_ids($standby, 1000);
check_ids('a standby that crashed', map { [$_] } @before);

# A standby whose own IDs are below those in the data that it has, by some twenty
# seconds; returns it, and the greatest ID in the data.
sub overtaken
{
	my ($name, $conf) = @_;
	my $other = new_standby($primary, $name, conf => "snowflake.max_ahead = 5s\n$conf");

	push @before, take_ids($other, 10);
	$other->append_conf('postgresql.conf', 'snowflake.max_ahead = 1min');
	$other->reload;
	$primary->safe_psql('postgres', 'INSERT INTO event SELECT max(id) FROM (SELECT snowflake_next(1500000) AS id) AS ids');
	$primary->wait_for_catchup($name);
	push @before, take_ids($other, 10);
	my $newest = $other->safe_psql('postgres', 'SELECT max(id) FROM event');
	cmp_ok(last_line($before[-1]), '<', $newest, "$name: the data are ahead");
	return ($other, $newest);
}

# The keeper dies, and the promotion is over before the next one starts.  It fails
# over a file that it cannot read; a SIGTERM would have it close the generator.
{
	my ($other, $newest) = overtaken('other', 'snowflake.lease_duration = 2s');
	my $file = $other->data_dir . '/snowflake_registry';

	chmod 0, $file;
	ok($other->poll_query_until('postgres', 'SELECT keeper_pid IS NULL FROM snowflake_status()'), 'the keeper dies');
	$other->promote;
	$other->append_conf('postgresql.conf', 'snowflake.lease_duration = 1min');
	$other->reload;
	chmod 0600, $file;
	cmp_ok(next_id($other), '>', $newest, 'a keeper that was not there at the promotion: above the data');
	$other->stop;
}

# Nor does a session go on below the data while the keeper has not noticed.
{
	my ($other, $newest) = overtaken('unnoticed', '');
	my $keeper = $other->safe_psql('postgres', 'SELECT keeper_pid FROM snowflake_status()');

	kill STOP => $keeper;
	$other->promote;
	my $taker = start_taker($other, sql => 'SELECT snowflake_next()');
	wait_until_held($other, $taker);
	kill CONT => $keeper;
	$taker->{run}->finish;
	cmp_ok(last_line($taker->{file}) // 0, '>', $newest, 'a call before the keeper has noticed the promotion: above the data');
	$other->stop;
}

# A configured worker ID is the primary's: it is leased from the promotion on.
{
	my $other = new_standby($primary, 'configured', conf => 'snowflake.worker_id = 77');
	my $rows = q{SELECT count(*) FROM snowflake_registry.worker WHERE worker_id = 77};
	my $newest = $primary->safe_psql('postgres', 'INSERT INTO event DEFAULT VALUES RETURNING id');

	foreach my $name ('first', 'again')
	{
		call_fails($other, "a configured worker ID in recovery, $name", 'SELECT snowflake_next()', '25006',
			qr/cannot issue snowflake IDs during recovery/);
		is($other->safe_psql('postgres', 'SELECT state FROM snowflake_status()'), 'in recovery', "$name: the state says so");
		$primary->wait_for_catchup('configured');
	}
	is($registry->safe_psql('postgres', $rows), '0', 'it is not leased in recovery');
	$other->promote;
	ok(poll_until(sub { ($other->psql('postgres', 'SELECT snowflake_next()'))[0] == 0 }), 'promoted, it is leased');
	is(worker_of($other), 77, 'and IDs are issued as it');
	cmp_ok(next_id($other), '>', $newest, 'above the data');
	is($registry->safe_psql('postgres', $rows), '1', 'as the registry has it');
	$other->stop;
}

# Promoted under load: it goes on with its lease.
$worker = worker_of($standby);
my $rows = PostgreSQL::Test::Utils::tempdir() . '/rows';
append_to_file($rows, $primary->safe_psql('postgres',
	'INSERT INTO event SELECT snowflake_next(1000) RETURNING id') . "\n");
$primary->wait_for_catchup('standby');
my $taker = start_taker($standby);
wait_for_ids($taker, 100_000);
$primary->stop('immediate');
$standby->promote;
my $size = -s $taker->{file};
ok(poll_until(sub { -s $taker->{file} > $size + 1_000_000 || $taker->{errors} ne '' }), 'a session goes on through the promotion');
stop_taker($taker);
ok($standby->poll_query_until('postgres', q{SELECT mark > now() - interval '10 s' FROM snowflake_status()}), 'the mark is kept from then on');
is(worker_of($standby), $worker, 'the worker ID stays');
check_ids('a promotion', [ $rows, $before[-1] ], [ take_ids($standby, 1000) ]);
check_ids('all of them', [ $rows, @before, $taker->{file}, $takers[0]{file} ]);

# The mark counts from now on: after a crash IDs are above.
my @incarnations = ([ $taker->{file} ]);
$standby->stop('immediate');
$standby->start;
push @incarnations, [ take_ids($standby, 1000) ];
check_ids('a crash after the promotion', @incarnations);

$standby->stop;
$registry->stop;
done_testing();
