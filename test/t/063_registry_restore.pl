# A registry that is an older copy of itself: a storage snapshot that was rolled
# back, and a dump that was restored into another system.
#
# Ruled out: a registry that has lost leases and continues; one that learns that from
# a holder and forgets it; a holder that is mistaken for one that knows more, although
# it has only released; reservations and a layout that a dump leaves out.
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
my $uuid = set_up($node, "worker_bits => 6, longest_lease => '1 min'");

sub is_open
{
	my ($registry, $expected, $name) = @_;
	is($registry->safe_psql('postgres', 'SELECT fence_needed IS NULL FROM snowflake_registry.registry'), $expected, $name);
	return;
}

my $renewed  = lease($node, q{'renewed', '10 s'});
my $released = lease($node, q{'released', '60 s'});
my $idle     = lease($node, q{'idle', '30 s'});
$node->safe_psql('postgres', q{SELECT snowflake_registry.reserve(7, 'db7')});
$node->stop;
$node->backup_fs_cold('snapshot');
$node->start;

# Since then:
$renewed = renew($node, $renewed);
my $later = lease($node, q{'later', '60 s'});

# A holder that has released knows of more than the row has, but not more than it had.
$node->safe_psql('postgres', "SELECT snowflake_registry.release('$released->{token}', clock_timestamp())");
call_fails($node, 'released', "CALL snowflake_registry.renew('$released->{token}')", 'SR001',
	qr/this token does not belong to a current lease/);
is_open($node, 't', 'released: the registry is open');
$node->stop;

sub roll_back
{
	my ($name) = @_;
	my $copy = PostgreSQL::Test::Cluster->new($name);

	$copy->init_from_backup($node, 'snapshot');
	$copy->start;
	is($copy->safe_psql('postgres', 'SELECT timeline FROM snowflake_registry.registry, pg_control_system() AS c WHERE c.system_identifier = registry.system_identifier'),
		'1', "$name: the same system and timeline");
	return $copy;
}

# The first renewal of a lease whose renewal or row is lost closes the registry.
foreach my $holder ([ 'renewal', $renewed ], [ 'row', $later ])
{
	my ($name, $lease) = @$holder;
	my $copy = roll_back($name);

	ok(renew($copy, $idle), "$name: who has not called since is served");
	my ($status, $out, $err) = $copy->psql('postgres', "CALL snowflake_registry.renew('$lease->{token}')");
	like($err, qr/ERROR:  the registry may have lost leases, and is closed until it is fenced/, "$name: an error");
	is($out, '', "$name: no lease");
	like($err, qr/WARNING:  the registry has lost leases, and is now closed until it is fenced/, "$name: says so");

	# Permanently, and for everybody.
	$copy->stop('immediate');
	$copy->start;
	call_fails($copy, "$name: closed", $_, '55000',
		qr/the registry may have lost leases, and is closed until it is fenced/,
		qr/DETAIL:  A holder of worker ID $lease->{worker_id} has a lease that the registry does not know about\./)
	  foreach q{CALL snowflake_registry.lease('a')}, "CALL snowflake_registry.renew('$lease->{token}')", q{SELECT snowflake_registry.reserve(8, 'a')};
	is_open($copy, 'f', "$name: closed");

	$copy->safe_psql('postgres', 'SELECT snowflake_registry.fence()');
	is_open($copy, 't', "$name: fenced, and open");
	call_fails($copy, "$name: fenced", "CALL snowflake_registry.renew('$lease->{token}')", 'SR001',
		qr/this token does not belong to a current lease/);
	is_open($copy, 't', "$name: what that holder knows of is fenced");
	is( $copy->safe_psql('postgres', "SELECT count(*) FROM snowflake_registry.registry AS r LEFT JOIN snowflake_registry.worker AS w ON worker_id = $lease->{worker_id}"
			  . " WHERE coalesce(w.valid_until, r.floor) > '$lease->{valid_until}'"),
		'1', "$name: so that nobody gets that time again");
	$copy->stop;
}

# A dump, into another system.
$node->start;
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, 'postgres' ], 'pg_dump');
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->start;
$other->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $other->connstr('postgres'), '-f', $dump ], 'restored');
my $rows = 'SELECT uuid, worker_bits, epoch, longest_lease, floor, next_unused, key FROM snowflake_registry.registry';
is($other->safe_psql('postgres', $rows), $node->safe_psql('postgres', $rows), 'the registry is as it was');
$rows = 'SELECT * FROM snowflake_registry.worker ORDER BY worker_id';
is($other->safe_psql('postgres', $rows), $node->safe_psql('postgres', $rows), 'so are the leases');
my @systems = map { $_->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()') } $node, $other;
call_fails($other, 'restored', $_ =~ s/ / snowflake_registry./r, '55000',
	qr/the registry may have lost leases, and is closed until it is fenced/,
	qr/DETAIL:  Its data is from the system $systems[0], and this is the system $systems[1]\./)
  foreach q{CALL lease('a')}, "CALL renew('$later->{token}')", "SELECT release('$later->{token}', now())", q{SELECT reserve(8, 'a')}, 'SELECT unreserve(7)';
# Not by itself: the old system may well go on.
$other->safe_psql('postgres', 'UPDATE snowflake_registry.registry SET fence_itself = true');
call_fails($other, 'restored, fence_itself', q{CALL snowflake_registry.lease('a')}, '55000', qr/closed until it is fenced/);
$other->safe_psql('postgres', 'SELECT snowflake_registry.fence()');
call_fails($other, 'fenced', q{CALL snowflake_registry.lease('a')}, '53400', qr/all worker IDs are taken/);
call_fails($other, 'reserved', q{CALL snowflake_registry.lease('a', worker_id => 7)}, '55006', qr/worker ID 7 is reserved for "db7"/);

$_->stop foreach $node, $other;
done_testing();
