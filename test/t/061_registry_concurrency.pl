# Two hundred clients at once lease, renew and release, at each isolation level;
# and twenty while the registry is fenced again and again.
#
# Ruled out: one worker ID leased to two for overlapping ID time; a deadlock; any
# error but those for all worker IDs being taken and for a call to be repeated.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $files = 0;
my $node = new_registry('registry', conf => "max_connections = 250\nfsync = off");
set_up($node, "worker_bits => 8, longest_lease => '5 s', most_per_holder => 1000");

# What the clients hold; they stop using a worker ID before they release it.
my $table = 'CREATE TABLE held (id uuid PRIMARY KEY, worker_id integer, f timestamptz, u timestamptz)';
$node->safe_psql('postgres', $table);

# The rounds of a client, which is a psql: where a call fails, the round ends.
sub rounds
{
	my ($times, $round) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/rounds' . ++$files . '.sql';

	append_to_file($file, "SET synchronous_commit = off;\n" . $round x $times);
	return $file;
}
my $leases = q{
	CALL snowflake_registry.lease('client', '1 s') \gset
	\if :ERROR
		SELECT pg_sleep(0.05);
	\else
		\set id :token
		INSERT INTO held VALUES (:'id', :worker_id, :'valid_from', :'valid_until');
		SELECT floor(random() * 3) > 0 AS renews, floor(random() * 3) > 0 AS releases \gset
		\if :renews
			CALL snowflake_registry.renew(:'token', '2 s') \gset
			UPDATE held SET u = :'valid_until' WHERE id = :'id';
		\endif
		\if :releases
			\unset u
			UPDATE held SET u = least(:'valid_until', clock_timestamp() + '1 ms') WHERE id = :'id' RETURNING u \gset
			\if :{?u}
				SELECT snowflake_registry.release(:'token', :'u');
			\endif
		\endif
	\endif
};

# Starts so many clients in a database.
sub start_clients
{
	my ($database, $n, $file) = @_;
	return map { IPC::Run::start([ 'psql', '-Xqf', $file, $node->connstr($database) ], '<', \undef, '>', '/dev/null', '2>', '/dev/null') } 1 .. $n;
}

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

	$_->finish foreach start_clients('postgres', 200, rounds($times, $leases));
	my %errors;
	$errors{$1}++ foreach log_since($node, $offset) =~ /ERROR:  (.*)/g;
	note("$level: $errors{$_} times $_") foreach keys %errors;
	is_deeply([ grep { !/^all worker IDs are taken|^could not serialize access/ } keys %errors ], [], "$level: no other error");
	check_leases($level, held('postgres'));
}

# A fence goes through all rows while others hold some of them.
$node->safe_psql('postgres', 'CREATE DATABASE fenced');
$node->safe_psql('fenced', "CREATE EXTENSION snowflake_registry; $table;
	SELECT snowflake_registry.setup(worker_bits => 8, longest_lease => '1 s', most_per_holder => 1000)");
my $renewals = q{
	CALL snowflake_registry.lease('client', '1 s') \gset
	\if :ERROR
		SELECT pg_sleep(0.05);
	\else
		\set id :token
		INSERT INTO held VALUES (:'id', :worker_id, :'valid_from', :'valid_until');
		CALL snowflake_registry.renew(:'token', '1 s') \gset
		UPDATE held SET u = :'valid_until' WHERE id = :'id';
		CALL snowflake_registry.renew(:'token', '1 s') \gset
		UPDATE held SET u = :'valid_until' WHERE id = :'id';
	\endif
};
my $offset = -s $node->logfile;
my @running = start_clients('fenced', 20, rounds(10_000, $renewals));
my $held = 0;
foreach my $round (1 .. 3)
{
	ok($node->poll_query_until('fenced', "SELECT count(*) > $held + 200 FROM held"), "round $round: clients lease");
	$node->safe_psql('fenced', 'SELECT snowflake_registry.fence()');
	$held = $node->safe_psql('fenced', 'SELECT count(*) FROM held');
}
ok($node->poll_query_until('fenced', "SELECT count(*) > $held FROM held"), 'clients lease again');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'fenced'});
$_->finish foreach @running;
my %refused = map { $_ => 1 } log_since($node, $offset) =~ /ERROR:  (.*)/g;
is_deeply([ grep { !/^all worker IDs are taken|^this (?:token|proposal) does not belong to a current lease|terminating connection/ } keys %refused ],
	[], 'fences: no other error');
check_leases('fences', held('fenced'));
is($node->safe_psql('fenced', 'SELECT fence_needed IS NULL FROM snowflake_registry.registry'), 't', 'no holder knows of more');

$node->stop;
done_testing();
