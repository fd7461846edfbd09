# Two hundred clients on twenty connections: pgbench through PgBouncer in
# transaction mode, as doc/more-than-one-server.md has it.  Takes pgbouncer in the
# PATH.
#
# Ruled out: an ID that depends on the session it was taken in, so that a client
# which gets another connection for each transaction sees an error, or one ID
# twice.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib "$FindBin::RealBin/../t";
use Page;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $page    = 'more-than-one-server.md';
my $clients = 200;
my $each    = 50;
my $node    = new_node('main');
my $dir     = PostgreSQL::Test::Utils::tempdir();

# No index that would keep a duplicate out.
$node->safe_psql('postgres', q{
	CREATE TABLE parent (id bigint DEFAULT snowflake_next(), backend integer DEFAULT pg_backend_pid());
	CREATE TABLE child (id bigint DEFAULT snowflake_next(), parent bigint)});

# One statement a transaction; and several, with the ID known beforehand.
append_to_file("$dir/one.sql", "INSERT INTO parent DEFAULT VALUES RETURNING id;\n");
append_to_file("$dir/several.sql", q{BEGIN;
SELECT snowflake_next() AS id \gset
INSERT INTO parent (id) VALUES (:id);
INSERT INTO child (parent) SELECT :id FROM generate_series(1, 3);
SELECT count(*) FROM snowflake_next(10);
COMMIT;
});

my ($major, $minor) = `pgbouncer --version` =~ /PgBouncer (\d+)\.(\d+)/ or die 'no pgbouncer in the PATH';
my $prepares = $major > 1 || $minor >= 21;
my $pooler;
END
{
	my $status = $?;

	$pooler->{run}->kill_kill if $pooler;
	$? = $status;
}

sub start_pooler
{
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $user = $node->safe_psql('postgres', 'SELECT current_user');
	my $settings = page_block($page, 'ini pgbouncer');

	$settings .= page_block($page, 'ini pgbouncer 1.21 or later') if $prepares;
	append_to_file("$dir/users.txt", qq{"$user" ""\n});
	append_to_file("$dir/pgbouncer.ini", "[databases]\napp = " . address($node) . qq{
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = trust
auth_file = $dir/users.txt
$settings
});
	$pooler = { port => $port, log => "$dir/pgbouncer.log" };
	$pooler->{run} = IPC::Run::start([ 'pgbouncer', "$dir/pgbouncer.ini" ], '<', \undef, '>', $pooler->{log}, '2>&1');
	ok( poll_until(sub {
			return run_log([ 'psql', '-XqAt', '-h', '127.0.0.1', '-p', $port, '-d', 'app', '-c', 'SELECT 1' ], '>', \my $out, '2>', \my $err);
		}),
		'the pooler answers')
	  or diag(slurp_file($pooler->{log}));
	return;
}

# pgbench with that protocol and these scripts; returns its exit status, output
# and errors.  Each client has a thread, because pgbench waits for a statement to
# be prepared: meanwhile those of the same thread would keep their connections.
# By TCP, for a socket refuses when so many come at once.
sub bench
{
	my ($protocol, @scripts) = @_;
	my $run = IPC::Run::run(
		[
			'pgbench', '-n', '-h', '127.0.0.1', '-p', $pooler->{port}, '-M', $protocol, '-c', $clients, '-j', $clients, '-t', $each,
			(map { ('-f', "$dir/$_.sql") } @scripts), 'app'
		],
		'<', \undef, '>', \my $out, '2>', \my $err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return ($?, $out, $err);
}

sub query
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

start_pooler();
my $parents = 0;
foreach my $protocol ('simple', 'extended', $prepares ? 'prepared' : ())
{
	my ($status, $out, $err) = bench($protocol, 'one', 'several');

	$parents += $clients * $each;
	is($status, 0, "$protocol: no error") or diag($err);
	like($out, qr{actually processed: (\d+)/\1$}m, "$protocol: all transactions are done");
	like($out, qr{number of failed transactions: 0 }, "$protocol: none failed");
	unlike($err, qr/ERROR|FATAL|aborted/, "$protocol: nor is one told");
	is(query('SELECT count(*) FROM parent'), $parents, "$protocol: all rows are there");
	is( query('SELECT count(DISTINCT id) = count(*) FROM (SELECT id FROM parent UNION ALL SELECT id FROM child) AS ids'),
		't', "$protocol: no ID twice");
	is(query('SELECT count(*) % 3, count(DISTINCT parent) * 3 = count(*) FROM child JOIN parent ON parent.id = child.parent'),
		'0|t', "$protocol: each child has its parent");
}

# It was as crowded as the page says.
cmp_ok(query('SELECT count(DISTINCT backend) FROM parent'), '<=', 20 * ($prepares ? 3 : 2), 'many clients shared few connections');
cmp_ok(query('SELECT count(*) FROM child'), '>', 0, 'both kinds of transactions were run');

# What old versions do with prepared statements.  (pgbench tells the error, and
# may go on: the statement that has the name is the same.)  A client that fails
# keeps its connection to the end if it is in a transaction: not 'several'.
if (!$prepares)
{
	my (undef, undef, $err) = bench('prepared', 'one');

	like($err, qr/prepared statement "\w+" (?:already exists|does not exist)/, 'prepared: fails with this version, as the page says');
	is( query('SELECT count(DISTINCT id) = count(*) FROM (SELECT id FROM parent UNION ALL SELECT id FROM child) AS ids'),
		't', 'prepared: no ID twice all the same');
}

$node->stop;
done_testing();
