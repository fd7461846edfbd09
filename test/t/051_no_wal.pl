# An ID costs the caller no WAL and no transaction ID, and a session that has to wait
# for one shows as waiting: in pg_stat_statements, auto_explain, EXPLAIN and
# pg_stat_activity.
#
# Ruled out: a generator that writes at the caller's expense, or still writes when
# nobody has asked for a minute; a wait that looks like work.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

# 64 IDs a millisecond, so that a batch soon uses up a window.
my $node = new_node('main', conf => q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 1h
	shared_preload_libraries = 'pg_stat_statements, auto_explain, snowflake'
	auto_explain.log_min_duration = 0
	auto_explain.log_analyze = on
	auto_explain.log_timing = off
	auto_explain.log_wal = on
	auto_explain.log_verbose = on
	pg_stat_statements.track = all
	autovacuum = off});

$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_stat_statements;
	CREATE EXTENSION pg_walinspect;
	CREATE SEQUENCE numbers;
	CREATE TABLE given (id bigint PRIMARY KEY, what text);
	CREATE TABLE snowflakes (id bigint DEFAULT snowflake_next() PRIMARY KEY, what text);
	CREATE TABLE serials (id bigint DEFAULT nextval('numbers') PRIMARY KEY, what text)});

# pg_stat_statements.  nextval() is there to show that WAL would be seen.
my $calls = q{
	SELECT snowflake_next();
	SELECT count(*) FROM (SELECT snowflake_next(100000)) AS ids;
	SELECT count(snowflake_next()) FROM generate_series(1, 100000);
	SELECT nextval('numbers') FROM generate_series(1, 100)};

# Catalog lookups may prune a page, but not always.
my $seen;
ok( poll_until(
		sub {
			$node->safe_psql('postgres', 'SELECT pg_stat_statements_reset()');
			$node->safe_psql('postgres', $calls);
			$seen = $node->safe_psql('postgres', q{
				SELECT query ~ 'nextval', count(*), sum(calls), min(wal_records) > 0, max(wal_records) > 0, max(wal_bytes) > 0
				  FROM pg_stat_statements WHERE query ~ '^SELECT.*(snowflake_next|nextval)' GROUP BY 1 ORDER BY 1});
			return $seen eq "f|3|3|f|f|f\nt|1|1|t|t|t";
		}),
	'pg_stat_statements: no WAL for IDs, but for a sequence') or diag($seen);

# The WAL itself: how many records of which kind were written by whom.  Records that
# anything may cause at any time do not count: checkpoints and full-page images,
# running transactions, pruned pages.
sub wal_position
{
	return $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
}

sub wal_since
{
	my ($since, $where) = @_;

	# A commit, so that there is something, and everything is flushed.
	$node->safe_psql('postgres', q{SELECT pg_logical_emit_message(true, 'snowflake', 'end')});
	my $until = $node->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
	return { map { split /=/ } split /\n/, $node->safe_psql('postgres', qq{
		SELECT resource_manager || '/' || record_type || '=' || count(*)
		  FROM pg_get_wal_records_info('$since', '$until')
		 WHERE resource_manager NOT IN ('XLOG', 'Standby', 'Heap2', 'Transaction', 'LogicalMessage') AND $where
		 GROUP BY resource_manager, record_type}) };
}

my $position = wal_position();
$node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT snowflake_next(4000000)) AS ids;
	SELECT count(snowflake_next()) FROM generate_series(1, 1000000)});
my $kinds = wal_since($position, 'true');
is_deeply([ grep { !/^ReplicationOrigin/ } keys %$kinds ], [], 'five million IDs: nothing but the mark is written');
cmp_ok($kinds->{'ReplicationOrigin/SET'} // 0, '>', 0, 'and that is');
$kinds = wal_since($position, "xid::text <> '0'");
is_deeply($kinds, {}, 'nothing by a transaction');
$position = wal_position();
$node->safe_psql('postgres', q{SELECT count(nextval('numbers')) FROM generate_series(1, 1000)});
is_deeply([ grep { !/^ReplicationOrigin/ } keys %{ wal_since($position, 'true') } ], ['Sequence/LOG'], 'a sequence would be seen');

# Transaction IDs.
sub next_xid
{
	return $node->safe_psql('postgres', 'SELECT pg_snapshot_xmax(pg_current_snapshot())');
}

is( $node->safe_psql('postgres', q{
		BEGIN;
		SELECT count(*) = 1000 FROM (SELECT snowflake_next(1000)) AS ids;
		SELECT snowflake_next() > 0;
		SELECT pg_current_xact_id_if_assigned() IS NULL;
		COMMIT}),
	"t\nt\nt", 'a transaction that takes IDs gets no transaction ID');
my $xid = next_xid();
next_id($node) foreach 1 .. 5;
is(next_xid(), $xid, 'nor is one used up otherwise');

# EXPLAIN: the WAL records of the topmost node, and of what is below it.
sub explains_without_wal
{
	my ($name, $sql) = @_;

	ok( poll_until(sub {
			return $node->safe_psql('postgres', "EXPLAIN (ANALYZE, WAL, FORMAT JSON) $sql") =~ /"Plan": \{[^{}]*"WAL Records": 0,/;
		}),
		"EXPLAIN: no WAL for $name");
	return;
}

explains_without_wal('an ID', 'SELECT snowflake_next()');
explains_without_wal('a batch', 'SELECT snowflake_next(100000)');
like($node->safe_psql('postgres', q{EXPLAIN (ANALYZE, WAL, FORMAT JSON) SELECT nextval('numbers') FROM generate_series(1, 100)}),
	qr/"Plan": \{[^{}]*"WAL Records": [1-9]/, 'EXPLAIN: but for a sequence');

# Rows: each takes a record for the table and one for the index, or one that splits a
# page instead.
my $rows = 20_000;
sub wal_of_insert
{
	my ($sql) = @_;
	my $since = wal_position();
	my $xid = $node->safe_psql('postgres', "BEGIN; $sql; SELECT mod(pg_current_xact_id()::text::numeric, power(2::numeric, 32))::bigint; COMMIT;");
	my %kinds = %{ wal_since($since, "xid::text = '$xid'") };
	my %sum = (Heap => 0, Btree => 0, Sequence => 0, ReplicationOrigin => 0);

	foreach (keys %kinds)
	{
		$sum{Heap}  += $kinds{$_} if m{^Heap/INSERT};
		$sum{Btree} += $kinds{$_} if m{^Btree/(INSERT_LEAF|SPLIT_)};
		$sum{$1}    += $kinds{$_} if m{^(Sequence|ReplicationOrigin)/};
	}
	return \%sum;
}

my $given = wal_of_insert("INSERT INTO given SELECT i, 'x' FROM generate_series(1, $rows) AS i");
is_deeply($given, { Heap => $rows, Btree => $rows, Sequence => 0, ReplicationOrigin => 0 }, 'rows with a given key');
is_deeply(wal_of_insert("INSERT INTO snowflakes (what) SELECT 'x' FROM generate_series(1, $rows)"),
	$given, 'with an ID as default just as many records');
cmp_ok(wal_of_insert("INSERT INTO serials (what) SELECT 'x' FROM generate_series(1, $rows)")->{Sequence},
	'>', 0, 'with a sequence as default more');

# auto_explain.
my $offset = -s $node->logfile;
$node->safe_psql('postgres', q{
	SELECT snowflake_next() AS from_call;
	SELECT snowflake_next(3) AS from_batch;
	INSERT INTO snowflakes (what) VALUES ('from default')});

# What follows the query's text, up to the next line that starts an entry.
sub plan_of
{
	my ($marker) = @_;
	my ($plan) = log_since($node, $offset) =~ /Query Text: [^\n]*\Q$marker\E[^\n]*\n((?:\t[^\n]*\n)*)/;
	return $plan // '';
}

like(plan_of('from_call'), qr/Result .*rows=1.*Output: snowflake_next\(\)/s, 'auto_explain: a call');
like(plan_of('from_batch'), qr/ProjectSet .*rows=3.*Output: snowflake_next\(3\)/s, 'auto_explain: a batch');
unlike(plan_of('from_call') . plan_of('from_batch'), qr/WAL:/, 'auto_explain: neither writes WAL');
like(plan_of('from default'), qr/WAL: records=.*Output: snowflake_next\(\)/s, 'auto_explain: a default, and the WAL of the row');

# Wait events have names from 17 on.
sub waits_as
{
	my ($server, $who, $event) = @_;
	my $name = $server->pg_version >= 17 ? $event : 'Extension';

	ok( $server->poll_query_until('postgres', qq{
			SELECT EXISTS (SELECT FROM pg_stat_activity
							WHERE $who AND wait_event_type = 'Extension' AND wait_event = '$name')}),
		"$event shows as $name");
	return;
}

# For the clock: more IDs than the layout has room for, with no lead allowed.
my $paced = new_node('paced', conf => q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 0});
my $taker = start_taker($paced, sql => 'SELECT snowflake_next(1000000000)');
waits_as($paced, "application_name = '$taker->{name}'", 'SnowflakeClockWait');
stop_taker($taker);
$paced->stop;

# For the keeper.
my $keeper = pause_keeper($node);
$taker = start_taker($node, sql => 'SELECT snowflake_next(1000000000)');
waits_as($node, "application_name = '$taker->{name}'", 'SnowflakeWindowWait');
is($node->safe_psql('postgres', 'SELECT state FROM snowflake_status()'), 'waiting for the keeper', 'snowflake_status says so');
my $size = -s $taker->{file};
resume_process($keeper, 'the keeper');
ok(poll_until(sub { -s $taker->{file} > $size + 100_000 }), 'it goes on with the keeper');
stop_taker($taker);

# A server that has issued IDs itself, ahead of the clock, does not forget them.
$node->append_conf('postgresql.conf', 'snowflake.worker_id = 2');
$node->restart;
$keeper = pause_keeper($node);
my $forgetter = start_taker($node, sql => 'SELECT snowflake_forget_mark() IS NOT NULL');
waits_as($node, "application_name = '$forgetter->{name}'", 'SnowflakeForgetMark');
resume_process($keeper, 'the keeper');
wait_for_end($forgetter);
unlike($forgetter->{errors}, qr/ERROR/, 'the mark is forgotten');

# The window is kept open for a minute after the last ID, by a new high-water mark
# every few seconds; after that nothing is written.
sub marks_since
{
	my ($since) = @_;
	return wal_since($since, 'true')->{'ReplicationOrigin/SET'} // 0;
}

next_id($node);
$position = wal_position();
my ($marks, $quiet_since) = (0, 0);
ok(poll_until(sub { marks_since($position) >= 3 }), 'without an ID the mark is written on');
ok( poll_until(
		sub {
			my $now = marks_since($position);

			$quiet_since = time if $now != $marks;
			$marks = $now;
			return time > $quiet_since + 10;
		}),
	'but not for ever');

$node->stop;
done_testing();
