# A database of pgEdge's snowflake moves over by the steps of doc/from-pgedge.md,
# which are read from that page.  pgEdge's extension is not here: its functions are
# played by ones with the same names and the same arithmetic (its version 2.5: the
# counter begins at 0 in each millisecond and runs over into the next one, which the
# sequence keeps), and the extension that they belong to by ours, before the step
# that exchanges the two.
#
# Ruled out: a new ID that is not above each of the table's, whoever made them; old
# IDs that change or mean something else; a default that is overlooked, or a half of
# the steps done.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my ($steps) = slurp_file("$FindBin::RealBin/../../doc/from-pgedge.md") =~ /^```pgsql\n(.*?)^```$/ms;
like($steps, qr/^BEGIN;.*^COMMIT;$/ms, 'the page has the steps');

# The server as it was, node 7.
my $node = new_node('main', start => 0);
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\nsnowflake.node = 7");
$node->start;
sub query
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}
query(q{
	CREATE EXTENSION snowflake;
	CREATE SCHEMA snowflake;
	CREATE SEQUENCE snowflake.id_seq;
	CREATE FUNCTION snowflake.nextval(seq regclass DEFAULT 'snowflake.id_seq') RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE
		now_ms bigint := floor(extract(epoch FROM clock_timestamp()) * 1000) - 1672531200000;
		last bigint;
		next bigint;
	BEGIN
		EXECUTE format('SELECT last_value FROM %s', seq) INTO last;
		IF now_ms > last >> 22 THEN
			next := now_ms << 22;
		ELSIF last & 4095 = 4095 THEN
			next := ((last >> 22) + 1) << 22;
		ELSE
			next := (last >> 22) << 22 | (last & 4095) + 1;
		END IF;
		RETURN setval(seq, next | (current_setting('snowflake.node')::bigint << 12));
	END
	$$;
	CREATE FUNCTION snowflake.currval(regclass DEFAULT 'snowflake.id_seq') RETURNS bigint LANGUAGE sql AS 'SELECT pg_catalog.currval($1)';
	ALTER EXTENSION snowflake ADD SEQUENCE snowflake.id_seq;
	ALTER EXTENSION snowflake ADD FUNCTION snowflake.nextval(regclass);
	ALTER EXTENSION snowflake ADD FUNCTION snowflake.currval(regclass)});

# Its tables: with IDs of a sequence of its own, and of the common one; one that was
# an identity column, as pgEdge leaves it; one with partitions; and a plain serial.
query(q{
	CREATE TABLE orders (n serial, id bigserial PRIMARY KEY);
	ALTER TABLE orders ALTER COLUMN id SET DEFAULT snowflake.nextval('orders_id_seq');
	CREATE TABLE lines (n serial, id bigint DEFAULT snowflake.nextval() PRIMARY KEY);
	CREATE TABLE former (n serial, id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
	UPDATE pg_attribute SET attidentity = '' WHERE attrelid = 'former'::regclass AND attname = 'id';
	ALTER TABLE former ALTER COLUMN id SET DEFAULT snowflake.nextval('former_id_seq');
	CREATE TABLE visits (n serial, id bigserial PRIMARY KEY) PARTITION BY HASH (id);
	CREATE TABLE visits_0 PARTITION OF visits FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE visits_1 PARTITION OF visits FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	ALTER TABLE visits ALTER COLUMN id SET DEFAULT snowflake.nextval('visits_id_seq');
	CREATE TABLE other (id bigserial)});
my @tables = ('orders', 'lines', 'former', 'visits');

sub insert
{
	my ($rows) = @_;
	query("INSERT INTO $_ SELECT FROM generate_series(1, $rows)") foreach @tables;
	return;
}
sub digests
{
	my ($condition) = @_;
	return join ' ', map { query("SELECT md5(string_agg(t::text, ' ' ORDER BY n)) FROM $_ AS t $condition") } @tables;
}
insert(1000);

# And what the other nodes have sent, with days, milliseconds, nodes and counters of
# our choice.  n is the position of each row.
query(q{
	CREATE TABLE history AS
	SELECT row_number() OVER (ORDER BY at, node, count) - 1801 AS n, at, node, count,
		   ((extract(epoch FROM at) * 1000)::bigint - 1672531200000 << 22) | (node << 12) | count AS id
	  FROM generate_series(date_trunc('milliseconds', now()) - interval '100 days', now() - interval '1 minute', '1 day') AS day,
		   generate_series(0, 2) AS ms, generate_series(1, 3) AS node, unnest('{0, 4095}'::int[]) AS count,
		   LATERAL (SELECT day + ms * interval '1 ms') AS time (at);
	INSERT INTO orders (n, id) SELECT n, id FROM history});
is(query('SELECT count(*) = 1800 AND max(n) = -1 FROM history'), 't', 'there are rows of other nodes');
my $rows = digests('');

# Steps 2 and 3: another library, and a restart.
$node->adjust_conf('postgresql.conf', 'snowflake.node', undef);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'\nsnowflake.worker_id = 7");
$node->restart;
call_fails($node, "a function of pgEdge's library",
	q{CREATE FUNCTION real_nextval() RETURNS bigint AS '$libdir/snowflake', 'snowflake_nextval' LANGUAGE C},
	'42883', qr/could not find function "snowflake_nextval"/);

# Step 4, all of it or nothing.
my $file = PostgreSQL::Test::Utils::tempdir() . '/steps.sql';
append_to_file($file, $steps);
sub step_4
{
	my ($out, $err) = run_command([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', $file ]);
	return ($out, $err);
}
sub state
{
	return query(q{
		SELECT md5(string_agg(line, ' ' ORDER BY line)) FROM (
			SELECT (adrelid, adnum, pg_get_expr(adbin, adrelid))::text AS line FROM pg_attrdef
			UNION ALL SELECT (oid, relname, relkind)::text FROM pg_class
			UNION ALL SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend WHERE deptype = 'e') AS lines});
}
sub takes_it_back
{
	my ($name, $error) = @_;
	my $before = state();
	my ($out, $err) = step_4();

	like($err, $error, "$name: an error");
	is(state(), $before, "$name: nothing has changed");
	return;
}
query(q{CREATE VIEW newest AS SELECT snowflake.currval('orders_id_seq')});
takes_it_back('a view', qr/view newest depends on function snowflake\.currval\(regclass\)/);
query('DROP VIEW newest');
query(q{CREATE VIEW next AS SELECT snowflake.nextval('orders_id_seq')});
takes_it_back('a view of nextval()', qr/view next depends on function snowflake\.nextval\(regclass\)/);
query('DROP VIEW next');
query(q{INSERT INTO lines SELECT 0, ((extract(epoch FROM now() + interval '1 hour') * 1000)::bigint - 1672531200000 << 22) | (2 << 12)});
takes_it_back('a node whose clock is an hour ahead', qr/column "id" of table "public\.lines" has values above new IDs/);
query('DELETE FROM lines WHERE n = 0');

my ($out, $err) = step_4();
is($err, '', 'the steps');
like($out, qr/^$_\|id\|ALTER TABLE public\.$_ ALTER COLUMN id SET DEFAULT public\.snowflake_next\(\)$/m, "$_: its default") foreach @tables;
is(join(' ', map { $_ // '' } $out =~ /DROP SEQUENCE public\.(\w+)/g), 'orders_id_seq visits_id_seq', 'the sequences that are dropped');
is(query(q{SELECT to_regnamespace('snowflake') IS NULL, extnamespace::regnamespace FROM pg_extension WHERE extname = 'snowflake'}),
	't|public', 'nothing is left of it');
is(query(q{SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'other'::regclass}), q{nextval('other_id_seq'::regclass)},
	'what was no column of its own stays');
is(digests(''), $rows, 'the rows are as they were');

# New IDs follow, and all of them decode as they should.
insert(1000);
foreach my $table (@tables)
{
	is(query("SELECT count(*) FROM (SELECT id, lag(id) OVER (ORDER BY n) AS previous FROM $table) AS pairs WHERE id <= previous"),
		'0', "$table: IDs sort as they came");
	is(query("SELECT count(*), count(DISTINCT snowflake_worker_id(id)), max(snowflake_worker_id(id)) FROM $table WHERE n > 0"),
		'2000|1|7', "$table: the node is the worker");
	is(query("SELECT count(*) FROM $table WHERE snowflake_decode(id) IS DISTINCT FROM snowflake_decode(id, 'pgedge')"),
		'0', "$table: decoded as pgEdge's");
}
is( query(q{SELECT count(*) FROM history JOIN orders USING (n, id) WHERE snowflake_decode(id) = (at, node, count) AND id = snowflake_encode(at, node, count)}),
	'1800', 'the IDs of other nodes are what they were made of');

$node->stop;
done_testing();
