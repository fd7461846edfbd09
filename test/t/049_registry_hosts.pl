# The registry has several hosts, and the first of them accepts connections and
# never answers.
#
# Ruled out: a host that hangs and keeps a server from reaching the next one.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IO::Select;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

# Never calls accept(): the kernel completes each connection.
my $silent = IO::Socket::INET->new(Listen => 128, LocalAddr => '127.0.0.1') or die "no socket: $!";
my $registry = new_registry('registry');
set_up($registry);

my $node = new_node('main', start => 0, registry => $registry, conf =>
	  sprintf(q{snowflake.registry = 'host=127.0.0.1,%s port=%d,%d dbname=postgres'}, $registry->host, $silent->sockport, $registry->port));
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION snowflake');
ok($node->poll_query_until('postgres', q{SELECT state = 'issuing' FROM snowflake_status()}), 'the server gets a lease from the second host');
ok(IO::Select->new($silent)->can_read(0), 'it had asked the first one');
like(slurp_file($node->logfile), qr/could not lease a snowflake worker ID: it did not answer in time/, 'which did not answer');
is(worker_of($node), 0, 'IDs are issued with the worker ID that was leased');

$node->stop;
$registry->stop;
done_testing();
