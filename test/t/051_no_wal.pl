# An ID costs no WAL and no transaction ID on its way to the caller, and whoever
# has to wait for one is seen waiting: what pg_stat_statements, auto_explain,
# EXPLAIN and pg_stat_activity show.
#
# Ruled out: a generator that writes on the caller's account, and a wait that
# looks like work.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

# The process that is stopped for a while; it must not outlive the test so.
my $stopped;
END { kill 'CONT', $stopped if $stopped; }

# 64 IDs a millisecond, so that a batch soon uses a window up.
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

# The first time, looking up the catalogs may tidy up a page of them.
$node->safe_psql('postgres', $calls);
$node->safe_psql('postgres', 'SELECT pg_stat_statements_reset()');
$node->safe_psql('postgres', $calls);
is( $node->safe_psql('postgres', q{
		SELECT query ~ 'nextval', count(*), sum(calls), min(wal_records) > 0, max(wal_records) > 0, max(wal_bytes) > 0
		  FROM pg_stat_statements WHERE query ~ '^SELECT.*(snowflake_next|nextval)' GROUP BY 1 ORDER BY 1}),
	"f|3|3|f|f|f\nt|1|1|t|t|t", 'pg_stat_statements: no WAL for IDs, but for a sequence');

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
sub wal_records
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', qq{
		CREATE FUNCTION pg_temp.wal_records(statement text) RETURNS bigint LANGUAGE plpgsql AS \$\$
		DECLARE
			plan json;
		BEGIN
			EXECUTE 'EXPLAIN (ANALYZE, WAL, FORMAT JSON) ' || statement INTO plan;
			RETURN plan->0->'Plan'->>'WAL Records';
		END \$\$;
		SELECT pg_temp.wal_records(\$statement\$$sql\$statement\$)});
}

is(wal_records('SELECT snowflake_next()'),       0, 'EXPLAIN: no WAL for an ID');
is(wal_records('SELECT snowflake_next(100000)'), 0, 'EXPLAIN: no WAL for a batch');

my $given = wal_records(q{INSERT INTO given SELECT i, 'x' FROM generate_series(1, 20000) AS i});
cmp_ok($given, '>=', 40_000, 'EXPLAIN: rows with a given key, each in the table and in the index');
is(wal_records(q{INSERT INTO snowflakes (what) SELECT 'x' FROM generate_series(1, 20000)}),
	$given, 'EXPLAIN: with an ID as default just as many');
cmp_ok(wal_records(q{INSERT INTO serials (what) SELECT 'x' FROM generate_series(1, 20000)}),
	'>', $given, 'EXPLAIN: with a sequence as default more');

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

# For the clock: more IDs than the layout has room for, and none may lead.
my $paced = new_node('paced', conf => q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 0});
my $taker = start_taker($paced, sql => 'SELECT snowflake_next(1000000000)');
waits_as($paced, "application_name = '$taker->{name}'", 'SnowflakeClockWait');
stop_taker($taker);
$paced->stop;

# For the keeper: stopped while it holds no lock, so that others can go on.
sub stop_keeper
{
	my $pid = $node->safe_psql('postgres', 'SELECT keeper_pid FROM snowflake_status');

	ok( poll_until(sub {
			my ($out, $stuck);

			$stopped = $pid;
			kill 'STOP', $pid;
			$node->psql('postgres', 'SELECT pg_current_xact_id(), state FROM snowflake_status',
				stdout => \$out, timeout => 10, timed_out => \$stuck);
			return 1 unless $stuck;
			continue_keeper();
			return 0;
		}),
		'the keeper is stopped');
	return;
}

sub continue_keeper
{
	kill 'CONT', $stopped;
	undef $stopped;
	return;
}

stop_keeper();
$taker = start_taker($node, sql => 'SELECT snowflake_next(1000000000)');
waits_as($node, "application_name = '$taker->{name}'", 'SnowflakeWindowWait');
is($node->safe_psql('postgres', 'SELECT state FROM snowflake_status'), 'waiting for the keeper', 'snowflake_status says so');
my $size = -s $taker->{file};
continue_keeper();
ok(poll_until(sub { -s $taker->{file} > $size + 100_000 }), 'it goes on with the keeper');
stop_taker($taker);

stop_keeper();
my $forgetter = start_taker($node, sql => 'SELECT snowflake_forget_mark() IS NOT NULL');
waits_as($node, "application_name = '$forgetter->{name}'", 'SnowflakeForgetMark');
continue_keeper();
$forgetter->{run}->finish;
unlike($forgetter->{errors}, qr/ERROR/, 'the mark is forgotten');

$node->stop;
done_testing();
