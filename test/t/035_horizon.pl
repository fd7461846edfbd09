# snowflake_horizon() and what is around it, case by case; 036 has them all at once.
#
# Ruled out: a horizon that passes an ID whose transaction has not ended for the
# reader's snapshot; one that is guessed where it cannot be known; a prepared
# transaction that is forgotten over a restart or a promotion; a wait that cannot
# end; a key that gets past the trigger although another transaction took it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $node = new_node('main', conf => "max_prepared_transactions = 5\nwal_level = replica", init => [ allows_streaming => 1 ]);

sub sql
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

my $horizon = 'SELECT snowflake_horizon()';

sql(q{
	CREATE TABLE event (id bigint DEFAULT snowflake_next() PRIMARY KEY, what text);
	CREATE TRIGGER own BEFORE INSERT OR UPDATE OF id ON event FOR EACH ROW EXECUTE FUNCTION snowflake_require_own_id()});

# Idle, it is the newest ID.
my $id = next_id($node);
is(sql($horizon), $id, 'nobody holds it back: it is the newest ID');
is(sql('SELECT count(*) FROM snowflake_horizon_holders()'), 0, 'there are no holders');
is(sql("SELECT horizon_lag FROM snowflake_status()"), '00:00:00', 'there is no lag');

# A transaction that has taken an ID holds it back until it ends; one that has not
# taken one does not.
my $writer = $node->background_psql('postgres', on_error_stop => 1);
my $other  = $node->background_psql('postgres', on_error_stop => 1);

$other->query_safe('BEGIN; SELECT txid_current()');
$writer->query_safe('BEGIN');
my $first = $writer->query_safe(q{INSERT INTO event (what) VALUES ('slow') RETURNING id});
next_id($node) foreach 1 .. 3;
is(sql($horizon), $first - 1, 'an open transaction holds it below its first ID');
is(sql('SELECT first_id, state, gid IS NULL, xid IS NOT NULL, since IS NOT NULL, left(query, 17) FROM snowflake_horizon_holders()'),
	"$first|idle in transaction|t|t|t|INSERT INTO event", 'it is shown as the holder');
is(sql(q{SELECT horizon_lag > '0' FROM snowflake_status()}), 't', 'the lag is seen');
is(sql(q{CREATE ROLE anybody; SET ROLE anybody; SELECT query FROM snowflake_horizon_holders()}), '<insufficient privilege>',
	'its query only by those who may');

# A snapshot that is older than its end does not see it, however late the call.
$other->query_safe('COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM event');
$writer->query_safe('COMMIT');
cmp_ok(sql($horizon), '>=', $first, 'it has ended');
is($other->query_safe($horizon), $first - 1, 'but not for a snapshot from before');
next_id($node);
is($other->query_safe($horizon), $first - 1, 'nor later');
$other->query_safe('COMMIT');

# A rollback, a subtransaction that is rolled back.
$writer->query_safe('BEGIN; SAVEPOINT a');
$first = $writer->query_safe('SELECT snowflake_next()');
$writer->query_safe('ROLLBACK TO a');
next_id($node);
is(sql($horizon), $first - 1, 'a subtransaction that is rolled back is still of its transaction');
$writer->query_safe('ROLLBACK');
cmp_ok(sql($horizon), '>', $first, 'rolled back, it holds nothing back');

# Prepared, over everything.
sub prepare
{
	my ($gid) = @_;
	return sql("BEGIN; INSERT INTO event (what) VALUES ('$gid') RETURNING id; PREPARE TRANSACTION '$gid'");
}

sub holds
{
	my ($name, $gid, $id) = @_;

	next_id($node);
	is(sql($horizon), $id - 1, "$name: the prepared transaction holds it back");
	is(sql('SELECT gid, first_id, state, pid IS NULL FROM snowflake_horizon_holders()'), "$gid|$id|prepared|t", "$name: it is shown");
	return;
}

my $prepared = prepare('one');
holds('running', 'one', $prepared);
$node->restart;
ok($node->poll_query_until('postgres', 'SELECT snowflake_horizon() IS NOT NULL'), 'after a restart it is known');
holds('after a restart', 'one', $prepared);
$node->kill9;
start_again($node);
ok($node->poll_query_until('postgres', 'SELECT snowflake_horizon() IS NOT NULL'), 'after a crash it is known');
holds('after a crash', 'one', $prepared);

my $standby = new_standby($node, 'standby');
$node->wait_for_catchup($standby);
my ($status, $out, $err) = $standby->psql('postgres', $horizon);
like($err, qr/ERROR:  the snowflake horizon is not known during recovery/, 'a standby does not guess');
my $reader = $standby->background_psql('postgres', on_error_stop => 0);
$reader->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$node->stop;
$standby->promote;
$node = $standby;
ok($node->poll_query_until('postgres', 'SELECT snowflake_horizon() IS NOT NULL'), 'after a promotion it is known');
$reader->query($horizon);
like($reader->{stderr}, qr/ERROR:  the snowflake horizon is not known during recovery/, 'but not to a snapshot from before');
$reader->quit;
holds('after a promotion', 'one', $prepared);
$writer = $node->background_psql('postgres', on_error_stop => 1);
$writer->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
sql("COMMIT PREPARED 'one'");
cmp_ok(sql($horizon), '>', $prepared, 'committed, it holds nothing back');
is(sql('SELECT count(*) FROM snowflake_horizon_holders()'), 0, 'and is no holder');
is($writer->query_safe($horizon), $prepared - 1, 'but for a snapshot from before');

# Its entry is used again, and so are all there are.
prepare("more $_"), sql("ROLLBACK PREPARED 'more $_'") foreach 1 .. 20;
is($writer->query_safe($horizon), $prepared - 1, 'although its entry was used again');
$writer->query_safe('COMMIT');

# More ended transactions than are remembered.
$writer->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
sql(q{DO $$ BEGIN FOR n IN 1 .. 65600 LOOP PERFORM txid_current(), snowflake_next(); COMMIT; END LOOP; END $$});
$node->psql('postgres', q{SELECT 1});
my $old = $node->background_psql('postgres', on_error_stop => 0);
$writer->quit;
$old->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
sql(q{DO $$ BEGIN FOR n IN 1 .. 65600 LOOP PERFORM txid_current(), snowflake_next(); COMMIT; END LOOP; END $$});
$old->query($horizon);
like($old->{stderr}, qr/ERROR:  the snapshot is too old for the snowflake horizon/, 'a snapshot that is too old is told so');
$old->quit;
cmp_ok(sql($horizon), '>', 0, 'and no other is');

# The wait.
$writer = $node->background_psql('postgres', on_error_stop => 1);
$writer->query_safe('BEGIN');
$id = $writer->query_safe(q{INSERT INTO event (what) VALUES ('awaited') RETURNING id});
is(sql("SELECT snowflake_wait_for_horizon($id, '50 ms')"), 'f', 'the wait ends by its timeout');
my $waiter = start_taker($node, sql => "SELECT snowflake_wait_for_horizon($id, '1 h')");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = '$waiter->{name}' AND wait_event_type = 'Extension'"),
	'a wait is seen');
$writer->query_safe('COMMIT');
wait_for_end($waiter);
is(slurp_file($waiter->{file}), "t\n", 'the wait ends when the transaction does');
$writer->query_safe('BEGIN');
$id = $writer->query_safe(q{INSERT INTO event (what) VALUES ('awaited') RETURNING id});
$waiter = start_taker($node, sql => "SELECT snowflake_wait_for_horizon($id, '1 h')");
ok($node->poll_query_until('postgres', "SELECT count(pg_cancel_backend(pid)) = 1 FROM pg_stat_activity WHERE application_name = '$waiter->{name}' AND wait_event_type = 'Extension'"),
	'a wait is cancelled');
wait_for_end($waiter);
like($waiter->{errors}, qr/canceling statement due to user request/, 'and ends');
$writer->query_safe('ROLLBACK');
is(sql(q{SELECT snowflake_wait_for_horizon(snowflake_max_id(clock_timestamp()), '1 min')}), 't',
	'a time up to now is reached without another ID');
is(sql(q{SELECT snowflake_wait_for_horizon(snowflake_max_id(clock_timestamp() + '1 h'), '10 ms')}), 'f', 'one to come is not');
is(sql('SELECT snowflake_wait_for_horizon(NULL, NULL)'), '', 'null for null');
call_fails($node, 'negative', q{SELECT snowflake_wait_for_horizon(1, '-1 s')}, '22023', qr/timeout must not be negative/);
call_fails($node, 'no ID', q{SELECT snowflake_wait_for_horizon(-1, '1 s')}, '22003', qr/-1 is not a snowflake ID/);
call_fails($node, 'own ID', q{BEGIN; SELECT snowflake_next() AS id \gset} . "\n" . q{SELECT snowflake_wait_for_horizon(:id, '1 s')}, '25000',
	qr/cannot wait for the snowflake horizon to reach an ID of this transaction/);
call_fails($node, 'repeatable read', q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT snowflake_wait_for_horizon(1, '1 s')}, '25000',
	qr/cannot wait for the snowflake horizon in isolation level "repeatable read"/);

# A transaction that ends without having written leaves all snapshots as they are.
$writer->query_safe('BEGIN');
$id = $writer->query_safe('SELECT snowflake_next()');
$other = $node->background_psql('postgres', on_error_stop => 1);
$other->query_safe('BEGIN');
is($other->query_safe($horizon), $id - 1, 'held back by one that has not written');
$writer->query_safe('COMMIT');
is($other->query_safe("SELECT snowflake_wait_for_horizon($id, '1 min')"), 't', 'the wait ends with it');
cmp_ok($other->query_safe($horizon), '>=', $id, 'and the next statement has the horizon');
$other->query_safe('COMMIT');

# The trigger.
my $insert = 'INSERT INTO event (id) ';
$id = next_id($node);
call_fails($node, 'from another transaction', "$insert VALUES ($id)", '23000', qr/ID \d+ was not taken in this transaction/, qr/DETAIL:  This transaction has not taken an ID\./);
call_fails($node, 'from before the own ones', "BEGIN; INSERT INTO event (what) VALUES ('x'); $insert VALUES ($id)", '23000', qr/ID $id was not taken/,
	qr/DETAIL:  The IDs that this transaction took are of worker ID 1, and not below \d+\./);
call_fails($node, 'another worker', "BEGIN; INSERT INTO event (what) VALUES ('x'); $insert SELECT snowflake_encode(clock_timestamp(), 2, 0)", '23000', qr/was not taken/);
call_fails($node, 'not issued yet', "BEGIN; INSERT INTO event (what) VALUES ('x'); $insert SELECT snowflake_next() + 1", '23000', qr/was not taken/);
is(sql("BEGIN; SELECT snowflake_next() AS id \\gset\n SELECT pg_sleep(0.01); $insert VALUES (:id) RETURNING id = :id; COMMIT") =~ /t$/ ? 1 : 0, 1,
	'an ID that the transaction took itself');
is(sql("$insert SELECT snowflake_next(300) RETURNING 1") =~ tr/1//, 300, 'many of them');
is(sql(q{UPDATE event SET id = id, what = 'again' WHERE what = 'awaited' RETURNING what}), 'again', 'a key that stays');
call_fails($node, 'a key that changes', q{UPDATE event SET id = id + 1 WHERE what = 'again'}, '23000', qr/was not taken/);
sql(q{
	CREATE TABLE moving (id bigint DEFAULT snowflake_next(), part int) PARTITION BY LIST (part);
	CREATE TABLE moving_1 PARTITION OF moving FOR VALUES IN (1);
	CREATE TABLE moving_2 PARTITION OF moving FOR VALUES IN (2);
	CREATE TRIGGER own BEFORE INSERT OR UPDATE OF id ON moving FOR EACH ROW EXECUTE FUNCTION snowflake_require_own_id();
	INSERT INTO moving (part) VALUES (1)});
call_fails($node, 'a row that moves', 'UPDATE moving SET part = 2', '23000', qr/was not taken/,
	qr/An UPDATE that moves a row to another partition inserts it there\./);
sql(q{
	CREATE DOMAIN key AS bigint CHECK (value > 0);
	CREATE TABLE named (k key, id text, g bigint GENERATED ALWAYS AS (k + 1) STORED);
	CREATE TRIGGER own BEFORE INSERT ON named FOR EACH ROW EXECUTE FUNCTION snowflake_require_own_id('k')});
is(sql('INSERT INTO named (k) VALUES (snowflake_next()), (NULL) RETURNING 1') =~ tr/1//, 2, 'a column of another name, a domain, and null');
call_fails($node, 'another name', 'INSERT INTO named (k) VALUES (1)', '23000', qr/ID 1 was not taken/);
foreach my $wrong (
	[ 'BEFORE INSERT', q{snowflake_require_own_id('nothing')}, '42703', qr/column "nothing" of relation "named" does not exist/ ],
	[ 'BEFORE INSERT', q{snowflake_require_own_id('id')}, '42804', qr/column "id" of relation "named" is not of type bigint/ ],
	[ 'BEFORE INSERT', q{snowflake_require_own_id('g')}, '42809', qr/column "g" of relation "named" is a generated column/ ],
	[ 'BEFORE INSERT', q{snowflake_require_own_id('k', 'id')}, '39P01', qr/trigger "own" has more than one argument/ ],
	[ 'AFTER INSERT', q{snowflake_require_own_id('k')}, '39P01', qr/must be fired BEFORE INSERT OR UPDATE, FOR EACH ROW/ ])
{
	my ($when, $call, $sqlstate, $message) = @$wrong;

	sql("DROP TRIGGER own ON named; CREATE TRIGGER own $when ON named FOR EACH ROW EXECUTE FUNCTION $call");
	call_fails($node, "$when $call", 'INSERT INTO named (k) VALUES (snowflake_next())', $sqlstate, $message);
}

# Without the keeper nobody knows what is prepared.
$writer->quit;
$other->quit;
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
call_fails($node, 'no keeper', $horizon, '55000', qr/the snowflake horizon is not known to this transaction/);
is(sql('SELECT horizon_lag IS NULL FROM snowflake_status()'), 't', 'nor what the lag is');

$node->stop;
done_testing();
