# Unique and in order, in everyday use: many sessions, several databases, and
# clean restarts.
#
# Ruled out: two sessions that get the same ID; an ID that is not above all that
# were returned before; a restart that begins below the IDs of the run before.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $node = new_node('main');

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other',    'CREATE EXTENSION snowflake');

# P2 across sessions: each call begins after the previous one has returned.
my @ids;
foreach (1 .. 5)
{
	push @ids, next_id($node, 'postgres'), next_id($node, 'other');
}
is_deeply(\@ids, [ sort { $a <=> $b } @ids ], 'IDs increase from session to session');

# Eight sessions in two databases, with single calls and with batches.
my @takers;
foreach my $database ('postgres', 'other')
{
	push @takers, start_taker($node, database => $database) foreach 1 .. 2;
	push @takers, start_taker($node, database => $database,
		sql => 'SELECT snowflake_next(100000000)') foreach 1 .. 2;
}
wait_for_ids($_, 1_000_000) foreach @takers;
stop_taker($_) foreach @takers;
my @first = map { $_->{file} } @takers;

# A restart, and another one immediately after.
$node->restart;
my @second = (take_ids($node, 1000));
$node->restart;
$node->restart;
my @third = (take_ids($node, 1000));

check_ids('sessions, databases, restarts', \@first, \@second, \@third);

# A million in one session.
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*), count(DISTINCT id), bool_and(id > previous IS NOT FALSE)
		  FROM (SELECT id, lag(id) OVER (ORDER BY n) AS previous
				  FROM (SELECT n, snowflake_next() AS id FROM generate_series(1, 1000000) AS n) AS s) AS t}
	),
	'1000000|1000000|t',
	'a million IDs of one session increase');

# Rows by pgbench, eight clients.
$node->safe_psql('postgres',
	'CREATE TABLE event (id bigint DEFAULT snowflake_next() PRIMARY KEY, client int, n bigserial)');
my $script = PostgreSQL::Test::Utils::tempdir() . '/insert.sql';
append_to_file($script, "INSERT INTO event (client) VALUES (:client_id);\n");
$node->command_ok(
	[ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', '2000', '-f', $script, 'postgres' ],
	'eight clients insert');
is( $node->safe_psql('postgres',
		'SELECT count(*), count(DISTINCT id) FROM event'),
	'16000|16000', 'each row has its own ID');
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*) FROM (SELECT id, lag(id) OVER (PARTITION BY client ORDER BY n) AS previous
							   FROM event) AS t WHERE id <= previous}
	),
	'0', 'IDs increase within each client');

# A large batch streams, with constant memory, and can be cancelled.
{
	my $taker = start_taker($node, sql => 'SELECT snowflake_next(100000000)');
	wait_for_ids($taker, 5_000_000);
	my $pid      = taker_pid($node, $taker);
	my $resident = sub {
		my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;
		return $kb;
	};
	my $early = $resident->() * 1024;
	my $size  = -s $taker->{file};

	# Twenty bytes each in the file; how many have not been written yet is unknown.
	wait_for_ids($taker, $size + 45_000_000);
	my $ids = (-s $taker->{file}) / 20 - $size / 20;
	cmp_ok($resident->() * 1024 - $early, '<', 8 * $ids, 'a batch of 100 million takes no memory for each ID');
	is($node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)"), 't', 'cancel it');
	wait_for_end($taker);
	like($taker->{errors}, qr/canceling statement due to user request/, 'it is cancelled');
}

done_testing();
