# A server with IDs of 53 bits: each function keeps to them, and whatever reads numbers
# as doubles reads the IDs exactly.
#
# Ruled out: an ID above 2^53 - 1, or one that a bound, a partition or a text takes
# for another one; a number of another layout that decodes without an error; a
# cluster pinned before there were other widths whose layout is taken for a changed one.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $greatest = '9007199254740991';    # not 2**53 - 1, which is a double
my $node = new_node('main', worker_id => 5, conf => q{
	snowflake.id_bits = 53
	snowflake.worker_bits = 3
	timezone = 'UTC'});

sub query
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

like(slurp_file($node->logfile), qr/as worker 5 \(configuration file\), of 0 to 7/, 'the log has the range of worker IDs');
like(slurp_file($node->logfile), qr/512000 IDs a second, until 2092-09-06/, 'and the rate, until the same day as ever');
is(query('SELECT id_bits, worker_bits, sequence_bits, time_exhausted_at FROM snowflake_status()'),
	'53|3|9|2092-09-06 15:47:35.552+00', 'the status shows the layout');

# What is generated.  A burst runs through all sequences.
query(q{CREATE TABLE event AS SELECT snowflake_next(20000) AS id});
is( query(qq{SELECT count(DISTINCT id), bool_and(id BETWEEN 1 AND $greatest), bool_and(d.worker_id = 5), min(d.sequence), max(d.sequence),
			bool_and(d.created_at BETWEEN now() - interval '1 min' AND now() + interval '5 s')
		FROM event, snowflake_decode(id) AS d}),
	'20000|t|t|0|511|t', 'IDs of 53 bits, with all sequences');
is( query(q{SELECT count(*) FROM event, snowflake_decode(id) AS d
		WHERE snowflake_encode(d.created_at, d.worker_id, d.sequence) = id
		  AND id = (floor(extract(epoch FROM d.created_at - '2023-01-01Z') * 1000)::bigint << 12) | (d.worker_id << 9) | d.sequence
		  AND snowflake_timestamp(id) = d.created_at AND snowflake_worker_id(id) = 5 AND snowflake_sequence(id) = d.sequence}),
	'20000', 'the parts make up the ID');

# As doubles, which is what JavaScript has.
is( query(q{SELECT count(DISTINCT id::float8), count(*) FILTER (WHERE id::float8::bigint = id AND to_jsonb(id::float8) = to_jsonb(id)) FROM event}),
	'20000|20000', 'exact as doubles and in JSON');

# Text.
is( query(q{SELECT count(*) FROM event, unnest('{base32, base58}'::text[]) AS e WHERE snowflake_from_text(snowflake_to_text(id, e), e) = id}),
	'40000', 'text and back');
is(query("SELECT snowflake_to_text($greatest), snowflake_from_text('007ZZZZZZZZZZ')"), "007ZZZZZZZZZZ|$greatest", 'the greatest text');
call_fails($node, 'a text above it', q{SELECT snowflake_from_text('0080000000000')}, '22P02',
	qr/invalid snowflake ID in base32/, qr/The greatest ID is "007ZZZZZZZZZZ"/);

# The bounds, and whatever uses them.
is( query(q{SELECT snowflake_min_id('-infinity'), snowflake_min_id('2023-01-01 00:00:00.001Z'), snowflake_max_id('2023-01-01Z'), snowflake_last_before('2023-01-01Z')}),
	'0|4096|4095|-1', 'the first bounds');
is(query(q{SELECT snowflake_max_id('infinity'), snowflake_last_before('infinity')}), "$greatest|$greatest", 'the last ones');
is(query(q{SELECT snowflake_max_id('2092-09-06 15:47:35.551Z'), snowflake_encode('2092-09-06 15:47:35.551Z', 7, 511)}), "$greatest|$greatest", 'of the last millisecond, too');
call_fails($node, 'a worker ID', q{SELECT snowflake_encode(now(), 8, 0)}, '22003', qr/worker ID out of range: 8/, qr/Allowed: 0 to 7/);
call_fails($node, 'a sequence', q{SELECT snowflake_encode(now(), 7, 512)}, '22003', qr/sequence out of range: 512/, qr/Allowed: 0 to 511/);
is( query(q{SELECT count(*) FILTER (WHERE snowflake_between(id, now() - interval '1 min', 'infinity')),
			count(*) FILTER (WHERE snowflake_between(id, '-infinity', now() - interval '1 min')) FROM event}),
	'20000|0', 'between');
query(q{
	CREATE TABLE log (id bigint DEFAULT snowflake_next() PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE log_old PARTITION OF log FOR VALUES FROM (0) TO (snowflake_min_id('2026-01-01Z'));
	CREATE TABLE log_new PARTITION OF log FOR VALUES FROM (snowflake_min_id('2026-01-01Z')) TO (snowflake_min_id('2091-01-01Z'));
	INSERT INTO log DEFAULT VALUES});
is(query('SELECT tableoid::regclass FROM log'), 'log_new', 'a partition takes the new row');
unlike(query(q{EXPLAIN SELECT FROM log WHERE snowflake_between(id, now() - interval '1 h', 'infinity') AND id > 0}), qr/log_old/, 'and the other is pruned');

# Numbers of a wider layout.
foreach my $call ('snowflake_decode(%s)', 'snowflake_timestamp(%s)', 'snowflake_worker_id(%s)', 'snowflake_sequence(%s)', 'snowflake_to_text(%s)',
	q{snowflake_wait_for_horizon(%s, '1 s')})
{
	call_fails($node, "$call of 2^53", 'SELECT ' . sprintf($call, '9007199254740992'), '22003', qr/9007199254740992 is not a snowflake ID/,
		qr/With "snowflake.id_bits" = 53, the greatest ID is 9007199254740991\./);
}
call_fails($node, 'a negative number', 'SELECT snowflake_decode(-1)', '22003', qr/-1 is not a snowflake ID/, qr/Snowflake IDs are not negative\./);

# Across a crash, and pinned.
my $before = next_id($node);
$node->stop('immediate');
$node->start;
cmp_ok(next_id($node), '>', $before, 'after a crash');
$node->append_conf('postgresql.conf', "snowflake.id_bits = 63");
$node->restart;
call_fails($node, 'with 63 bits', $_, '55000', qr/the configured snowflake layout does not match this cluster's IDs/,
	qr/Configured: epoch 2023-01-01 00:00:00\+00, 3 worker bits, 63 ID bits\. Pinned .*, 3 worker bits, 53 ID bits\./)
  foreach 'SELECT snowflake_next()', "SELECT snowflake_decode($before)", 'SELECT snowflake_min_id(now())';
is(query('SELECT state FROM snowflake_status()'), 'wrong layout', 'the status says so');
$node->append_conf('postgresql.conf', "snowflake.id_bits = 53");
$node->restart;
cmp_ok(next_id($node), '>', $before, 'and back');
$node->stop;

# A cluster whose pin was written when 63 was the only width: the epoch in
# milliseconds << 8 | worker_bits.
my $old = new_node('old', worker_id => 1);
next_id($old);
is( $old->safe_psql('postgres', q{SELECT ('x' || lpad(split_part(remote_lsn::text, '/', 1), 8, '0') || lpad(split_part(remote_lsn::text, '/', 2), 8, '0'))::bit(64)::bigint
		FROM pg_replication_origin_status WHERE local_id = 65002}),
	(1672531200000 << 8) + 10, 'with 63 bits the pin is what it was');
$old->stop;

# The narrowest sequence, and a width between the two.
foreach ([ 53, 6, 63, 63 ], [ 58, 11, 2047, 63 ])
{
	my ($id_bits, $bits, $worker, $sequence) = @$_;
	my $edge = new_node("edge$id_bits", worker_id => $worker, conf => "snowflake.id_bits = $id_bits\nsnowflake.worker_bits = $bits\n");

	is( $edge->safe_psql('postgres', qq{SELECT bool_and(id < 1::bigint << $id_bits), min(d.worker_id), max(d.worker_id), max(d.sequence)
			FROM snowflake_next(2000) AS id, snowflake_decode(id) AS d}),
		"t|$worker|$worker|$sequence", "$bits worker bits of $id_bits");
	$edge->stop;
}

# With a worker ID that is leased.
my $registry = new_registry('registry');
set_up($registry, 'worker_bits => 3, id_bits => 53');
my $leased = new_node('leased', registry => $registry, conf => "snowflake.id_bits = 53\nsnowflake.worker_bits = 3");
is($leased->safe_psql('postgres', "SELECT worker_id, id BETWEEN 1 AND $greatest FROM snowflake_next() AS id, snowflake_decode(id)"), '0|t',
	'a registry leases worker IDs of this layout');
$leased->stop;
$registry->stop;

done_testing();
