# Copies of the registry's database within its cluster, where system identifier and
# timeline are the same: a template, a dump that is restored beside it, and one that
# is restored in its place.
#
# Ruled out: two registries that hand out the same worker IDs; a copy that cannot be
# opened; an original that is closed because there are copies.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $node = new_registry('registry', conf => 'fsync = off');
set_up($node, "worker_bits => 6, longest_lease => '1 min'");
my $lease = lease($node, q{'original', '60 s'});
my $dump  = $node->basedir . '/dump';

# Closed to every call, and open after a fence, which no token survives.
sub is_closed
{
	my ($name, $database, $detail) = @_;
	my $in = sub { $node->psql($database, "\\set VERBOSITY verbose\n$_[0]") };

	foreach my $call (q{CALL snowflake_registry.lease('a')}, "CALL snowflake_registry.renew('$lease->{token}')",
		"SELECT snowflake_registry.release('$lease->{token}', now())", q{SELECT snowflake_registry.reserve(8, 'a')})
	{
		my ($status, $out, $err) = $in->($call);

		is($out, '', "$name: no answer: $call");
		like($err, qr/ERROR:  55000: the registry may have lost leases, and is closed until it is fenced\n.*$detail\n.*HINT:  Make sure that nobody uses the old registry any more, then call snowflake_registry\.fence\(\)/s,
			"$name: closed");
	}
	is(($in->('SELECT snowflake_registry.fence()'))[0], 0, "$name: fenced");
	like(($in->("CALL snowflake_registry.renew('$lease->{token}')"))[2], qr/ERROR:  SR001: /, "$name: the token is void");
	like(($in->(q{CALL snowflake_registry.lease('a')}))[2], qr/ERROR:  53400: all worker IDs are taken/, "$name: it rests");
	return;
}
my $by_database = qr/DETAIL:  It is a copy: its data is from the database with OID \d+, and this is the one with OID \d+\./;
my $by_table    = qr/DETAIL:  It is a copy: its data is from the table with OID \d+, and this is the one with OID \d+\./;

$node->safe_psql('template1', 'CREATE DATABASE by_template TEMPLATE postgres');
is_closed('a template', 'by_template', $by_database);

$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE by_dump');
$node->command_ok([ 'pg_restore', '-d', 'by_dump', $dump ], 'pg_restore');
is_closed('a dump', 'by_dump', $by_database);

ok($lease = renew($node, $lease), 'the original is open');
$node->command_ok([ 'pg_restore', '--clean', '-d', 'postgres', $dump ], 'pg_restore --clean');
is_closed('a dump in its place', 'postgres', $by_table);

# Another name is no copy.
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION snowflake_registry; SELECT snowflake_registry.setup()');
$node->safe_psql('postgres', 'ALTER DATABASE fresh RENAME TO renamed');
is(($node->psql('renamed', q{CALL snowflake_registry.lease('a')}))[0], 0, 'a database that was renamed is open');

$node->stop;
done_testing();
