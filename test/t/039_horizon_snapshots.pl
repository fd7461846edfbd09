# snowflake_horizon() and snapshots: several in one transaction, those around the
# end of the 32 bits of a transaction ID, and logical decoding's.
#
# Ruled out: a statement that reads up to one horizon and stores another; a
# transaction that has ended after the snapshot was taken, but counts as from before.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $node    = new_node('main', conf => "wal_level = logical\nautovacuum = off", init => [ allows_streaming => 1 ]);
my $horizon = 'SELECT snowflake_horizon()';

sub sql
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

sub session
{
	my (%options) = @_;
	return $node->background_psql('postgres', on_error_stop => 1, %options);
}

sub begin_with_id
{
	my ($session) = @_;

	$session->query_safe('BEGIN');
	return $session->query_safe('SELECT snowflake_next()');
}

sql('CREATE TABLE event (id bigint DEFAULT snowflake_next() PRIMARY KEY)');

# Two places of a plan, one of which is not executed before another statement has
# called the function with a newer snapshot.
my $holder = session();
my $reader = session();
my $twice  = "DECLARE two CURSOR FOR $horizon UNION ALL $horizon";
my $first  = begin_with_id($holder);

$reader->query_safe("BEGIN; $twice");
is($reader->query_safe('FETCH two'), $first - 1, 'the first place of a cursor');
$holder->query_safe('ROLLBACK');
sql('SELECT txid_current()');
cmp_ok($reader->query_safe($horizon), '>=', $first, 'another statement has a newer snapshot');
is($reader->query_safe('FETCH two'), $first - 1, 'the second place of the cursor has the value of the first');
$reader->query_safe('COMMIT');

# The same, where the first place is in a function with the statement's snapshot.
sql(q{
	CREATE FUNCTION horizon_in_function() RETURNS bigint STABLE LANGUAGE plpgsql AS $$
	BEGIN
		RETURN snowflake_horizon();
	END $$});
$first = begin_with_id($holder);
$reader->query_safe("BEGIN; DECLARE two CURSOR FOR SELECT horizon_in_function() UNION ALL $horizon");
is($reader->query_safe('FETCH two'), $first - 1, 'a function that the cursor calls');
$holder->query_safe('ROLLBACK');
sql('SELECT txid_current()');
cmp_ok($reader->query_safe($horizon), '>=', $first, 'another statement has a newer snapshot');
is($reader->query_safe('FETCH two'), $first - 1, 'the cursor itself has the value that its function had');
$reader->query_safe('COMMIT');

# The same, where a wait makes later statements compute a new one.
$first = begin_with_id($holder);
$reader->query_safe("BEGIN; $twice");
is($reader->query_safe('FETCH two'), $first - 1, 'the first place, again');
$holder->query_safe('ROLLBACK');
is($reader->query_safe("SELECT snowflake_wait_for_horizon($first, '1 min')"), 't', 'the wait has ended');
cmp_ok($reader->query_safe($horizon), '>=', $first, 'another statement computes anew, with the same snapshot');
is($reader->query_safe('FETCH two'), $first - 1, 'the cursor keeps what it had');
$reader->query_safe('COMMIT');

# A function in between that has a newer snapshot than the statement.
sql(q{
	CREATE TABLE go ();
	CREATE FUNCTION newer_snapshot() RETURNS bigint VOLATILE LANGUAGE plpgsql AS $$
	BEGIN
		WHILE NOT EXISTS (SELECT FROM go) LOOP PERFORM pg_sleep(0.01); END LOOP;
		RETURN snowflake_horizon();
	END $$});
$first = begin_with_id($holder);
my $three = start_taker($node, sql => 'SELECT snowflake_horizon(), newer_snapshot(), snowflake_horizon()');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = '$three->{name}' AND wait_event = 'PgSleep'"),
	'the function waits');
$holder->query_safe('ROLLBACK');
sql('INSERT INTO go DEFAULT VALUES');
wait_for_end($three);
my ($before, $between, $after) = slurp_file($three->{file}) =~ /^(\d+)\t(\d+)\t(\d+)$/m;
cmp_ok($between, '>=', $first, 'a VOLATILE function has a newer snapshot');
is($before, $first - 1, 'the statement has its own before it');
is($after,  $before,    'and after it');

# Logical decoding takes its snapshot from the WAL.  It sees a transaction that has
# committed there, but is among the running ones as long as it waits for a
# synchronous standby.  Another, older one, commits afterwards, and is not seen,
# although no newer one had ended.  Two more keep the slot waiting until then.
sub wait_for_slot
{
	my ($xid) = @_;

	return $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'transactionid' AND transactionid::text = '$xid' AND NOT granted");
}

my @older  = map { session() } 1 .. 2;
my $newer  = session();
my $slot   = session(extra_params => [ '-d', $node->connstr('postgres') . ' replication=database' ]);
my $xid_of = 'BEGIN; SELECT txid_current()';
my $xid    = $older[0]->query_safe($xid_of);

$slot->{stdin} .= "CREATE_REPLICATION_SLOT exported TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT;\n\\echo made\n";
$slot->{run}->pump_nb;
ok(wait_for_slot($xid), 'the slot waits for the older one');
$xid = $older[1]->query_safe($xid_of);
$older[0]->query_safe('COMMIT');
ok(wait_for_slot($xid), 'and for the next one');
$holder->query_safe('BEGIN; SET LOCAL synchronous_commit = local');
$first = $holder->query_safe('INSERT INTO event DEFAULT VALUES RETURNING id');
$xid = $newer->query_safe($xid_of);
$node->append_conf('postgresql.conf', q{synchronous_standby_names = 'nobody'});
$node->reload;
ok($node->poll_query_until('postgres', q{SHOW synchronous_standby_names}, 'nobody'), 'commits wait for a standby');
$newer->{stdin} .= "INSERT INTO go DEFAULT VALUES; COMMIT;\n";
$newer->{run}->pump_nb;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE 'COMMIT%'}),
	'the newer one does');
$older[1]->query_safe('SET synchronous_commit = local; COMMIT');
ok(wait_for_slot($xid), 'the slot waits for the newer one');
$holder->query_safe('COMMIT');
$node->append_conf('postgresql.conf', q{synchronous_standby_names = ''});
$node->reload;
$slot->{run}->pump until $slot->{stdout} =~ /^made$/m || $slot->{timeout}->is_expired;
my ($snapshot) = $slot->{stdout} =~ /^exported\|[^|]+\|([^|]+)\|/m;
ok($snapshot, 'the slot has exported its snapshot');
$reader->query_safe("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '$snapshot'");
is($reader->query_safe("SELECT count(*) FROM event WHERE id = $first"), 0, 'the snapshot does not see the one that committed later');
is($reader->query_safe('SELECT count(*) FROM go'), 2, 'but the newer one, which has not ended yet');
is($reader->query_safe($horizon), $first - 1, 'and the horizon is below the former');
$reader->query_safe('COMMIT');
$_->quit foreach $slot, $newer, @older, $holder, $reader;

# After the greatest transaction ID comes 3.
$node->run_log([ 'vacuumdb', '--all', '--freeze', '--quiet', '--port', $node->port, '--host', $node->host ]);
$node->stop;
command_ok([ 'pg_resetwal', '--next-transaction-id', 4294967280, $node->data_dir ], 'the next transaction ID is near the end');
append_to_file($node->data_dir . '/pg_xact/0FFF', "\0" x (32 * 8192));
$node->start;
$holder = session();
$reader = session();
my $next_xid = 'SELECT pg_snapshot_xmax(pg_current_snapshot())';
sql('SELECT txid_current()') while sql($next_xid) < 4294967294;
$holder->query_safe('BEGIN');
$first = $holder->query_safe('INSERT INTO event DEFAULT VALUES RETURNING id');
is($holder->query_safe('SELECT txid_current()'), 4294967294, 'one but the last');
is(sql('SELECT txid_current()'), 4294967295, 'the last');
$reader->query_safe("BEGIN; DECLARE late CURSOR FOR $horizon");
is($reader->query_safe($next_xid), 4294967299, 'the cursor was opened before there was another');
$holder->query_safe('COMMIT');
is($reader->query_safe('FETCH late'), $first - 1, 'what ended later has not ended for the cursor');
cmp_ok($reader->query_safe($horizon), '>=', $first, 'but for the next statement');
$_->quit foreach $holder, $reader;

$node->stop;
done_testing();
