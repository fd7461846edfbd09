# Tables with snowflake IDs leave their server: by pg_dump and psql, by pg_dump -Fc
# and pg_restore, a schema alone, and by pg_upgrade.
#
# Ruled out: a dump that cannot be restored, because a default, an index, a check or
# a generated column calls a function that is not there yet or not in the search_path;
# a table that comes back different; a server that pg_upgrade cannot start because of
# the preload; and the belief that the high-water mark comes along.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

# 64 IDs a millisecond, so that few of them are a minute.
my $layout = "snowflake.worker_bits = 16\n";
my $old = new_node('old', worker_id => 1, conf => "$layout snowflake.max_ahead = 1h");

$old->safe_psql('postgres', q{
	CREATE SCHEMA shop;
	CREATE TABLE shop.customer (id bigserial PRIMARY KEY, name text);
	INSERT INTO shop.customer (name) SELECT 'old' FROM generate_series(1, 100);
	SELECT snowflake_convert('shop.customer', 'id');
	INSERT INTO shop.customer (name) SELECT 'new' FROM generate_series(1, 100);

	CREATE TABLE shop.purchase (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer bigint REFERENCES shop.customer);
	INSERT INTO shop.purchase (customer) SELECT id FROM shop.customer;
	SELECT snowflake_convert('shop.purchase', 'id');
	INSERT INTO shop.purchase (customer) SELECT id FROM shop.customer;

	CREATE TABLE shop.native (
		id bigint DEFAULT snowflake_next() PRIMARY KEY,
		made_at timestamptz GENERATED ALWAYS AS (snowflake_timestamp(id)) STORED,
		CHECK (snowflake_worker_id(id) < 1000));
	CREATE INDEX ON shop.native (snowflake_worker_id(id));
	CREATE VIEW shop.today AS SELECT * FROM shop.native WHERE snowflake_between(id, now() - interval '1 day', 'infinity');
	INSERT INTO shop.native SELECT FROM generate_series(1, 1000);

	CREATE TABLE shop.event (id bigint DEFAULT snowflake_next() PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE shop.event_before PARTITION OF shop.event FOR VALUES FROM (MINVALUE) TO (snowflake_min_id('2024-01-01 UTC'));
	CREATE TABLE shop.event_since PARTITION OF shop.event FOR VALUES FROM (snowflake_min_id('2024-01-01 UTC')) TO (MAXVALUE);
	INSERT INTO shop.event VALUES (snowflake_encode('2023-05-06 UTC', 1, 2));
	INSERT INTO shop.event SELECT FROM generate_series(1, 1000)});

# A dump as text; some versions of pg_dump have a random word in it.
sub dump_of
{
	my ($node, $database, @options) = @_;
	my ($out, $err) = run_command([ 'pg_dump', @options, '-d', $node->connstr($database) ]);

	is($err, '', "pg_dump @options");
	$out =~ s/^\\(?:un)?restrict .*$//mg;
	return $out;
}
my ($schema, $rows, $newest);
sub remember
{
	$schema = dump_of($old, 'postgres', '-s');
	$rows = dump_of($old, 'postgres', '-a');
	$newest = $old->safe_psql('postgres', 'SELECT greatest((SELECT max(id) FROM shop.native), (SELECT max(id) FROM shop.event))');
	return;
}
sub same
{
	my ($name, $node, $database) = @_;

	ok(dump_of($node, $database, '-s') eq $schema, "$name: the schema is the same");
	ok(dump_of($node, $database, '-a') eq $rows, "$name: the rows are the same");
	return;
}
sub insert
{
	my ($node, $database) = @_;
	my @ids;

	foreach my $table ('customer', 'purchase', 'native', 'event')
	{
		my ($columns) = $table eq 'customer' ? '(name)' : $table eq 'purchase' ? '(customer)' : '';
		push @ids, $node->safe_psql($database, "INSERT INTO shop.$table " . ($columns ? "$columns VALUES (NULL)" : 'DEFAULT VALUES') . ' RETURNING id');
	}
	return @ids;
}

remember();
like($schema, qr/id bigint DEFAULT public\.snowflake_next\(\) NOT NULL/, 'the default names its schema');
unlike($schema, qr/CREATE SEQUENCE/, 'no sequence is left');
my $new = new_node('new', worker_id => 2, conf => $layout);
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';

$new->safe_psql('postgres', "CREATE DATABASE $_ TEMPLATE template0") foreach 'text', 'custom', 'part';
$old->command_ok([ 'pg_dump', '-f', "$dump.sql", 'postgres' ], 'pg_dump');
$new->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dump.sql", 'text' ], 'psql');
$old->command_ok([ 'pg_dump', '-Fc', '-f', "$dump.custom", 'postgres' ], 'pg_dump -Fc');
$new->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'custom', "$dump.custom" ], 'pg_restore');
$old->command_ok([ 'pg_dump', '-n', 'shop', '-f', "$dump.part", 'postgres' ], 'pg_dump of a schema');
$new->safe_psql('part', 'CREATE EXTENSION snowflake');
$new->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dump.part", 'part' ], 'psql, where the extension is');
foreach my $database ('text', 'custom', 'part')
{
	same($database, $new, $database);
	cmp_ok($_, '>', $newest, "$database: a new ID is above all old ones") foreach insert($new, $database);
}

# IDs that are a minute ahead of the clock, and so is the mark.  Neither a dump nor
# pg_upgrade takes the mark along; a worker ID of its own keeps the new server's IDs apart.
burst($old);
$old->safe_psql('postgres', 'INSERT INTO shop.native DEFAULT VALUES');
remember();
my $mark = mark_ms($old);
my $upgraded = PostgreSQL::Test::Cluster->new('upgraded');

$upgraded->init;
$upgraded->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'\n$layout");
$old->stop;
chdir $PostgreSQL::Test::Utils::tmp_check;    # where it leaves its script
command_ok(
	[
		'pg_upgrade', '--no-sync',
		'-b', $old->config_data('--bindir'), '-d', $old->data_dir, '-p', $old->port,
		'-B', $upgraded->config_data('--bindir'), '-D', $upgraded->data_dir, '-P', $upgraded->port,
		'-s', $upgraded->host
	],
	'pg_upgrade, where there is no worker ID yet');
$upgraded->append_conf('postgresql.conf', 'snowflake.worker_id = 3');
$upgraded->start;
same('pg_upgrade', $upgraded, 'postgres');
cmp_ok(mark_ms($upgraded), '<', $mark, 'the mark does not come along');
foreach my $id (insert($upgraded, 'postgres'))
{
	cmp_ok($id, '<', $newest, 'a new ID is not above those that led the clock');
	is($upgraded->safe_psql('postgres', "SELECT snowflake_worker_id($id)"), '3', 'and is another, by its worker');
}

$upgraded->stop;
$new->stop;
done_testing();
