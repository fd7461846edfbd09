# snowflake_convert() beside other sessions: four that insert all the time, one
# with a transaction open, and another that converts the same table.
#
# Ruled out: a row that gets no key or an old row's, a session that keeps using the
# old default from a cached plan, keys that do not increase from the old to the
# new ones, a deadlock of two who convert, and a table that is left half converted.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my ($clients, $inserts) = (4, 600);
my $node = new_node('main');

$node->safe_psql('postgres', q{
	CREATE TABLE busy (id bigserial PRIMARY KEY, client int, n int);
	CREATE TABLE quiet (id bigserial PRIMARY KEY, what text);
	CREATE VIEW seen AS SELECT * FROM quiet;
	CREATE ROLE app;
	GRANT INSERT ON quiet TO app});
my $before = next_id($node);

# Runs a program in the background; finish() returns what it printed.
sub start
{
	my @command = @_;
	my $job = { out => '', err => '' };

	$job->{run} = IPC::Run::start(\@command, '<', \undef, '>', \$job->{out}, '2>', \$job->{err});
	return $job;
}
sub finish
{
	my ($name, $job) = @_;

	ok($job->{run}->finish, $name) or diag($job->{err});
	return $job->{out};
}
sub start_psql
{
	my ($sql) = @_;
	return start('psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', $sql);
}
sub poll
{
	my ($name, $sql) = @_;
	return ok($node->poll_query_until('postgres', $sql), $name);
}

my $script = PostgreSQL::Test::Utils::tempdir() . '/insert.sql';
append_to_file($script, "\\set n :n + 1\nINSERT INTO busy (client, n) VALUES (:client_id, :n);\n");
my $load = start('pgbench', '-n', '-M', 'prepared', '-D', 'n=0', '-f', $script, '-c', $clients, '-t', $inserts,
	'--rate=400', '-h', $node->host, '-p', $node->port, 'postgres');
poll('rows come in', 'SELECT count(*) > 100 FROM busy');

my $open = start_psql('BEGIN; INSERT INTO busy (client, n) VALUES (-1, 1); SELECT pg_sleep(1000)');
poll('a transaction stays open', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')});
my @converts = map { start_psql("SELECT snowflake_convert('busy', 'id')") } 1, 2;
poll('both who convert wait', q{
	SELECT count(*) = 2 FROM pg_stat_activity WHERE query LIKE '%snowflake_convert%' AND wait_event_type = 'Lock'});
is($node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'}), 't', 'it is to be ended');
ok(!$open->{run}->finish, 'the transaction is ended');

my @ran = sort map { finish('converts', $_) } @converts;
is($ran[0], '', 'one of them finds nothing to do');
is( $ran[1], "ALTER TABLE public.busy ALTER COLUMN id SET DEFAULT public.snowflake_next()\nDROP SEQUENCE public.busy_id_seq\n",
	'the other does it');
finish('all inserts succeed', $load);

is($node->safe_psql('postgres', 'SELECT count(*) FROM busy'), $clients * $inserts, 'no row is missing');
is($node->safe_psql('postgres', "SELECT count(*) > 100, count(*) FILTER (WHERE id > $before) > 100, count(*) FILTER (WHERE id < $before) > 100 FROM busy"),
	't|t|t', 'there are old keys and new ones');
is( $node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT id, lag(id) OVER (PARTITION BY client ORDER BY n) AS previous FROM busy) AS pairs WHERE id <= previous}),
	'0', 'the keys of each session increase');

# A lock timeout is respected, and leaves everything as it was.
$open = start_psql('BEGIN; INSERT INTO quiet (what) VALUES (1); SELECT pg_sleep(1000)');
poll('a transaction stays open', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')});
call_fails($node, 'a limit to the wait', q{SET lock_timeout = '100ms'; SELECT snowflake_convert('quiet', 'id')},
	'55P03', qr/canceling statement due to lock timeout/);
is($node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'}), 't', 'it is to be ended');
ok(!$open->{run}->finish, 'the transaction is ended');

# Without a generator: what is wrong with the call is said first, and nothing is
# asked of the generator where there is nothing to do.
sub default_of
{
	my ($table) = @_;
	return $node->safe_psql('postgres', "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = '$table'::regclass");
}
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
call_fails($node, 'not preloaded', q{SELECT snowflake_convert('quiet', 'id')}, '55000', qr/must be loaded via "shared_preload_libraries"/);
call_fails($node, 'not preloaded, a view', q{SELECT snowflake_convert('seen', 'id')}, '42809', qr/"public.seen" is not a table/);
is($node->safe_psql('postgres', q{SELECT snowflake_convert('busy', 'id')}), '', 'not preloaded: converted already');
is(default_of('quiet'), "nextval('quiet_id_seq'::regclass)", 'not preloaded: nothing is changed');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'");
$node->restart;

# Who may insert may do so afterwards, wherever the extension is.
$node->safe_psql('postgres', 'CREATE SCHEMA elsewhere; ALTER EXTENSION snowflake SET SCHEMA elsewhere');
like($node->safe_psql('postgres', q{SELECT elsewhere.snowflake_convert('quiet', 'id')}), qr/SET DEFAULT elsewhere\.snowflake_next\(\)/,
	'converts from another schema');
$node->safe_psql('postgres', q{SET ROLE app; INSERT INTO quiet (what) VALUES ('by the application')});
is($node->safe_psql('postgres', "SELECT count(*) FROM quiet WHERE id > $before"), '1', 'an application inserts');

$node->stop;
done_testing();
