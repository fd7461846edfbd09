# Two primaries write rows, some of them slowly, and send them with a heartbeat to
# a standby and to a collector, as doc/tail.md says.  Readers there get each
# committed row once.  On the collector one that follows the newest row misses some.
#
# Ruled out: a heartbeat that arrives before the rows that it vouches for; a
# collector that reads one server's rows by the horizon of another.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use Page;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = 8;

sub block { return page_block('tail.md', "sql $_[0]") =~ s/;\n\z//r; }

my $table = 'CREATE TABLE event (id bigint PRIMARY KEY, what text NOT NULL)';
my @primaries = map { new_node("worker$_", worker_id => $_, conf => 'wal_level = logical', init => [ allows_streaming => 1 ]) } 1, 2;
my $collector = new_node('collector', worker_id => 3, conf => 'wal_retrieve_retry_interval = 100ms');

foreach my $node (@primaries)
{
	$node->safe_psql('postgres', "$table; ALTER TABLE event ALTER id SET DEFAULT snowflake_next()");
	$node->safe_psql('postgres', block('heartbeat'));
	$node->safe_psql('postgres', 'CREATE PUBLICATION events FOR TABLE event, heartbeat');
}
$collector->safe_psql('postgres', $table);
$collector->safe_psql('postgres', (split /;\n/, block('heartbeat'))[0]);
$collector->safe_psql('postgres', 'CREATE SUBSCRIPTION from_' . $_->name . " CONNECTION '" . address($_) . q{' PUBLICATION events}) foreach @primaries;
$collector->wait_for_subscription_sync;
$collector->safe_psql('postgres', block('collector positions'));
$collector->safe_psql('postgres', 'CREATE TABLE got (LIKE event); CREATE TABLE naive (LIKE event)');
is($collector->safe_psql('postgres', 'SELECT count(*) FROM collected'), 2, 'the collector knows both servers');
my $standby = new_standby($primaries[0], 'standby');
call_fails($standby, 'the horizon on a standby', 'SELECT snowflake_horizon()', '55000', qr/not known during recovery/);

# Sessions that go on until they are stopped.
my @sessions;

sub start_session
{
	my ($node, $sql) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/session' . @sessions . '.sql';

	append_to_file($file, $sql);
	push @sessions, IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', $file ], '<', \undef, '>', \my $out, '2>', \my $err);
	return;
}

foreach my $node (@primaries)
{
	start_session($node, block('heartbeat raise') . " \\watch 0.05\n");
	foreach my $pause (0.02, 0.3, 1)
	{
		start_session($node, qq{
			DO \$\$
			BEGIN
				LOOP
					INSERT INTO event (what) VALUES ('$pause');
					PERFORM pg_sleep(random() * $pause);
					IF random() < 0.2 THEN ROLLBACK; ELSE COMMIT; END IF;
				END LOOP;
			END \$\$});
	}
}

# Readers.
my %on_standby;
my $position = 0;
my $twice    = 0;

sub read_standby
{
	my $rows = $standby->safe_psql('postgres', 'PREPARE read (bigint) AS ' . block('heartbeat read') . "; EXECUTE read ($position)");

	foreach (split /\n/, $rows)
	{
		my ($id) = split /\|/;

		$twice++ if $on_standby{$id}++;
		$position = $id;
	}
	return;
}

sub read_collector
{
	$collector->safe_psql('postgres', block('collector read') =~ s/SELECT \* FROM batch ORDER BY id\z/INSERT INTO got SELECT id, what FROM batch/r);
	$collector->safe_psql('postgres', 'INSERT INTO naive SELECT * FROM event WHERE id > coalesce((SELECT max(id) FROM naive), 0)');
	return;
}

my $end = time + $seconds;
while (time < $end)
{
	read_standby();
	read_collector();
	sleep 0.05;
}

# The writers end; the heartbeats go on, and show all that there is.
foreach my $node (@primaries)
{
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%INSERT INTO event%' AND pid <> pg_backend_pid()});
	ok($node->poll_query_until('postgres', 'SELECT horizon >= (SELECT max(id) FROM event) FROM heartbeat'), 'the heartbeat reaches the last row');
	$node->wait_for_catchup('from_' . $node->name);
}
$primaries[0]->wait_for_catchup($standby);
for (1 .. 20) { read_standby(); read_collector(); }

sub ids { return [ map { split /\n/, $_->safe_psql('postgres', 'SELECT id FROM event ORDER BY id') } @_ ]; }

my $first = ids($primaries[0]);
my $both  = [ sort { $a <=> $b } @{ ids(@primaries) } ];
cmp_ok(scalar @$both, '>', 200, 'there are ' . @$both . ' rows');
is_deeply([ sort { $a <=> $b } keys %on_standby ], $first, 'the reader of the standby has each row');
is($twice, 0, 'and none twice');
is_deeply([ split /\n/, $collector->safe_psql('postgres', 'SELECT id FROM got ORDER BY id') ], $both, 'the collector has each row of both servers once');
my $missed = @$both - $collector->safe_psql('postgres', 'SELECT count(*) FROM naive');
cmp_ok($missed, '>', 0, "without the heartbeat $missed are missed");

foreach (@sessions) { $_->signal('INT'); $_->finish; }
$_->stop foreach $collector, $standby, @primaries;
done_testing();
