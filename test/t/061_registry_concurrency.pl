# Two hundred clients at once lease, renew and release, at each isolation level;
# and twenty while the registry is fenced again and again.
#
# Ruled out: one worker ID leased to two for overlapping ID time; a deadlock; any
# error but the one that says to call again.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $node = new_registry('registry', conf => "max_connections = 250\nfsync = off");
set_up($node, "worker_bits => 8, longest_lease => '5 s'");

# What the clients hold; they stop using a worker ID before they release it.
$node->safe_psql('postgres', q{
	CREATE TABLE held (id uuid PRIMARY KEY, worker_id integer, f timestamptz, u timestamptz);
	-- When all are taken, a client waits.
	CREATE FUNCTION try_lease(OUT w integer, OUT t uuid, OUT f timestamptz, OUT u timestamptz) LANGUAGE plpgsql AS $$
	BEGIN
		SELECT worker_id, token, valid_from, valid_until INTO w, t, f, u FROM snowflake_registry.lease('client', '1 s');
	EXCEPTION WHEN configuration_limit_exceeded THEN
		PERFORM pg_sleep(0.05);
		SELECT -1, gen_random_uuid(), now(), now() INTO w, t, f, u;
	END
	$$});
my $clients = PostgreSQL::Test::Utils::tempdir() . '/clients.sql';
append_to_file($clients, q{
	SELECT w, t, t AS id, f, u FROM try_lease() \gset
	\if :w >= 0
		INSERT INTO held VALUES (':id', :w, ':f', ':u');
		\set again random(0, 2)
		\if :again > 0
			SELECT token AS t, valid_until AS u FROM snowflake_registry.renew(':t', '2 s', ':u', :w) \gset
			UPDATE held SET u = ':u' WHERE id = ':id';
		\endif
		\if :again < 2
			UPDATE held SET u = least(':u', clock_timestamp() + '1 ms') WHERE id = ':id' RETURNING u \gset
			SELECT snowflake_registry.release(':t', ':u');
		\endif
	\endif
});

sub held
{
	my ($database) = @_;
	return all_leases($node, $database, 'SELECT worker_id, ' . ms('f') . ', ' . ms(q{date_trunc('milliseconds', u + '999 us')}) . ' FROM held');
}

foreach my $level ('read committed', 'repeatable read', 'serializable')
{
	local $ENV{PGOPTIONS} = '-c default_transaction_isolation=' . $level =~ s/ /\\ /r;
	my $offset = -s $node->logfile;
	my $times = $level eq 'read committed' ? 10 : $ENV{SNOWFLAKE_TEST_LONG} ? 10 : 2;

	$node->command_ok(
		[
			'pgbench', '-n', '-c', '200', '-j', '2', '-t', $times, '--max-tries', '0', '--latency-limit', '60000',
			'-f', $clients, 'postgres'
		],
		"$level: 200 clients");
	my %errors;
	$errors{$1}++ foreach log_since($node, $offset) =~ /ERROR:  (.*)/g;
	note("$level: $errors{$_} times $_") foreach keys %errors;
	is_deeply([ grep { !/^could not serialize access/ } keys %errors ], [], "$level: no other error");
	check_leases($level, held('postgres'));
}

# A fence goes through all rows while others hold some of them.
$node->safe_psql('postgres', 'CREATE DATABASE fenced TEMPLATE postgres');
$node->safe_psql('fenced', q{
	TRUNCATE held, snowflake_registry.registry, snowflake_registry.worker;
	SELECT snowflake_registry.setup(worker_bits => 8, longest_lease => '1 s');
	CREATE FUNCTION try_renew(t uuid, w integer, u timestamptz) RETURNS SETOF snowflake_registry.leased LANGUAGE plpgsql AS $$
	BEGIN
		RETURN QUERY SELECT * FROM snowflake_registry.renew(t, '1 s', u, w);
	EXCEPTION WHEN invalid_authorization_specification THEN
		RETURN NEXT row(w, t, NULL, u, NULL, NULL, NULL)::snowflake_registry.leased;
	END
	$$});
my $renewing = PostgreSQL::Test::Utils::tempdir() . '/renewing.sql';
append_to_file($renewing, q{
	SELECT w, t, t AS id, f, u FROM try_lease() \gset
	\if :w >= 0
		INSERT INTO held VALUES (':id', :w, ':f', ':u');
		SELECT token AS t, valid_until AS u FROM try_renew(':t', :w, ':u') \gset
		UPDATE held SET u = ':u' WHERE id = ':id';
		SELECT token AS t, valid_until AS u FROM try_renew(':t', :w, ':u') \gset
		UPDATE held SET u = ':u' WHERE id = ':id';
	\endif
});
my $offset = -s $node->logfile;
my $run = IPC::Run::start([ 'pgbench', '-n', '-c', '20', '-j', '2', '-t', '100000', '-f', $renewing, $node->connstr('fenced') ],
	'>', \my $out, '2>', \my $err);
my $held = 0;
foreach my $round (1 .. 3)
{
	ok($node->poll_query_until('fenced', "SELECT count(*) > $held + 200 FROM held"), "round $round: clients lease");
	$node->safe_psql('fenced', 'SELECT snowflake_registry.fence()');
	$held = $node->safe_psql('fenced', 'SELECT count(*) FROM held');
}
ok($node->poll_query_until('fenced', "SELECT count(*) > $held FROM held"), 'clients lease again');
$run->signal('INT');
$run->finish;
unlike(log_since($node, $offset), qr/ERROR:  (?!canceling statement due to user request)/, 'fences: no error');
check_leases('fences', held('fenced'));
is($node->safe_psql('fenced', 'SELECT fence_needed IS NULL FROM snowflake_registry.registry'), 't', 'no holder knows of more');

$node->stop;
done_testing();
