# Two primaries, each with a worker ID of its own, insert into the same table and
# have each other's rows by pglogical, as doc/more-than-one-server.md says.  Takes
# the package postgresql-NN-pglogical.
#
# Ruled out: two rows of different servers with the same ID, of which pglogical
# would drop one; rows that come back to where they were made; a replica that
# gives rows IDs of its own; a mark that pglogical's replication origins disturb.
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

my $page = 'more-than-one-server.md';
my $rows = 5000;

# Servers that name the output plugins they allow do not know pglogical's.
sub new_primary
{
	my ($name, $worker) = @_;
	my $node = new_node($name, worker_id => $worker, init => [ allows_streaming => 1 ], conf => page_block($page, 'ini pglogical'));

	if ($node->safe_psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'}))
	{
		my ($status, $out, $err) = $node->psql('postgres', q{SELECT pg_create_logical_replication_slot('refused', 'pglogical_output')});

		like($err, qr/library "pglogical_output" may not be used as an output plugin/, "$name: refuses pglogical at first");
		$node->append_conf('postgresql.conf', page_block($page, 'ini pglogical, where the setting is known'));
		$node->restart;
	}
	return $node;
}

my @nodes = (new_primary('a', 1), new_primary('b', 2));
my @addresses = ('host=a.example dbname=app' => address($nodes[0]), 'host=b.example dbname=app' => address($nodes[1]));

$_->safe_psql('postgres', page_block($page, 'sql each server')) foreach @nodes;
$nodes[0]->safe_psql('postgres', page_block($page, 'sql pglogical on a', @addresses[ 0, 1 ]));
$nodes[0]->safe_psql('postgres', q{INSERT INTO event (what) SELECT 'before' FROM generate_series(1, 10)});
$nodes[1]->safe_psql('postgres', page_block($page, 'sql pglogical on b', @addresses));
$nodes[0]->safe_psql('postgres', page_block($page, 'sql pglogical back to a', @addresses[ 2, 3 ]));

sub both
{
	my ($sql) = @_;
	return map { $_->safe_psql('postgres', $sql) } @nodes;
}

# Takes rows on both at once, each in a transaction of its own.
sub insert
{
	my ($what) = @_;
	my @clients = map {
		IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $_->connstr('postgres'), '-c', qq{
			DO \$\$
			BEGIN
				FOR i IN 1 .. $rows LOOP
					INSERT INTO event (what) VALUES ('$what');
					COMMIT;
				END LOOP;
			END \$\$} ])
	} @nodes;

	ok($_->finish, "$what: a primary takes its rows") foreach @clients;
	return;
}

# Both have the same, and as much as this.
sub same_on_both
{
	my ($name, $count) = @_;
	my $sum = 'SELECT count(*), md5(string_agg(id || what, $$,$$ ORDER BY id)) FROM event';

	ok( poll_until(sub {
			my ($first, $second) = both($sum);
			return $first eq $second && $first =~ /^$count\|/;
		}),
		"$name: both have all $count rows")
	  or diag(join "\n", both($sum));
	return;
}

insert('together');
same_on_both('at once', 10 + 2 * $rows);
is($_, join("\n", '1|' . (10 + $rows), "2|$rows"), 'each row has the ID of the server that took it')
  foreach both('SELECT snowflake_worker_id(id), count(*) FROM event GROUP BY 1 ORDER BY 1');
is(join(' ', both('SELECT ids_issued FROM snowflake_status()')), (10 + $rows) . " $rows", 'a server makes IDs for its own rows only');

# Each crashes and recovers.
my @greatest = both('SELECT max(id) FROM event WHERE snowflake_worker_id(id) = (SELECT worker_id FROM snowflake_status())');
foreach my $node (@nodes)
{
	$node->stop('immediate');
	$node->start;
}
my @next = both('SELECT snowflake_next()');
cmp_ok($next[$_], '>', $greatest[$_], 'after a crash the IDs are greater') foreach 0 .. 1;
insert('after the crash');
same_on_both('after a crash', 10 + 4 * $rows);
is($_, '65001|65002', 'the mark and the pin stand beside pglogical\'s origins')
  foreach both(q{SELECT string_agg(local_id::text, '|' ORDER BY local_id) FROM pg_replication_origin_status WHERE external_id IS NULL});
is($_, '1', 'of which there is one')
  foreach both('SELECT count(*) FROM pg_replication_origin_status WHERE external_id IS NOT NULL');

# pglogical logs each conflict, and resolves it.
unlike(slurp_file($_->logfile), qr/CONFLICT/, $_->name . ': no conflict') foreach @nodes;

$_->stop foreach @nodes;
done_testing();
