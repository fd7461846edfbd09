# portable/snowflake_reader.sql agrees with the extension: on random IDs and times
# and on those at every edge, in several layouts, with the same SQLSTATE where there is
# an error.
#
# Ruled out: an ID that is read differently where the extension cannot be installed;
# a range by time that does not use the index there.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $file = "$FindBin::RealBin/../../portable/snowflake_reader.sql";

# Both are asked in one statement; an error counts as its SQLSTATE.
my $ask = q{
	CREATE FUNCTION ask(path text, query text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		answer text;
	BEGIN
		PERFORM set_config('search_path', path, true);
		EXECUTE query INTO answer;
		RETURN answer;
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE;
	END $$;
	CREATE TABLE ids AS
		SELECT id FROM (VALUES (0::bigint), (1), (-1), (9223372036854775807), (-9223372036854775808)) AS edge (id)
		UNION SELECT (1::bigint << bit) + d FROM generate_series(0, 62) AS bit, generate_series(-1, 1) AS d
		UNION SELECT (random() * 9223372036854774784)::bigint FROM generate_series(1, 150);
	CREATE TABLE times AS
		SELECT t FROM (VALUES (timestamptz 'infinity'), ('-infinity'), ('1969-12-31 23:59:59.9999Z'), ('4713-01-01 BC'), ('290000-01-01')) AS edge (t)
		UNION SELECT at + d * interval '1 us'
		  FROM snowflake_timestamp(0) AS epoch, LATERAL (VALUES (epoch), (epoch + interval '2199023255551 ms'), (epoch + interval '2199023255552 ms')) AS at (at),
			   unnest(ARRAY[-1001, -1000, -999, -1, 0, 1, 999, 1000, 1001]) AS d
		UNION SELECT snowflake_timestamp((random() * 9223372036854774784)::bigint & snowflake_max_id('infinity'))
					 + (random() * 1000)::integer * interval '1 us' FROM generate_series(1, 150);
	CREATE TABLE texts AS
		SELECT snowflake_to_text(id, encoding) AS t, encoding FROM ids, unnest(ARRAY['base32', 'base58']) AS encoding WHERE snowflake_is_valid(id)
		UNION SELECT lower(snowflake_to_text(id)), 'base32' FROM ids WHERE snowflake_is_valid(id)
		UNION VALUES ('', 'base32'), ('0000000000000', 'base32'), ('OIL0000000000', 'base32'), ('oil0000000000', 'base32'), ('U000000000000', 'base32'),
			('7ZZZZZZZZZZZZ', 'base32'), ('8000000000000', 'base32'), ('zzzzzzzzzzzzz', 'base32'), ('000000000000é', 'base32'), ('11111111111', 'base58'),
			('zzzzzzzzzzz', 'base58'), ('0IOl1111111', 'base58'), ('1', 'base58'), ('1', 'base64')};

sub differences
{
	my ($node, $table, $query, $arguments) = @_;

	return $node->safe_psql('postgres', qq{
		SELECT string_agg(format('%s: %s, and the reader %s', query, ours, readers), chr(10))
		  FROM (SELECT query, ask('public', query) AS ours, ask('reader', query) AS readers
				  FROM (SELECT format('$query', $arguments) AS query FROM $table) AS all_queries) AS asked
		 WHERE ours IS DISTINCT FROM readers});
}

my @queries = (
	(map { [ 'ids', "SELECT snowflake_$_(%s)", 'id' ] } qw(timestamp worker_id sequence is_valid decode to_text)),
	[ 'ids', 'SELECT snowflake_to_text(%s, %L)', q{id, 'base58'} ],
	(map { [ 'times', "SELECT snowflake_$_(%L)", 't' ] } qw(min_id max_id last_before)),
	[ 'texts', 'SELECT snowflake_from_text(%L, %L)', 't, encoding' ],
	[ 'ids, LATERAL (SELECT t FROM times ORDER BY hashint8(id) # hashtext(t::text) LIMIT 1) AS chosen', 'SELECT snowflake_between(%s, %L, %L)', q{id, t, t + interval '1 year'} ]);

foreach my $layout (
	{},
	{ worker_bits => 16, epoch => '2010-11-04 01:42:54.657 UTC' },
	{ worker_bits => 3, id_bits => 53 })
{
	my $name = join(', ', map { "$_ $layout->{$_}" } sort keys %$layout) || 'default';
	my $node = new_node('main' . ($layout->{worker_bits} // ''), conf => join("\n", map { "snowflake.$_ = '$layout->{$_}'" } keys %$layout));
	my @variables = map { ('-v', "$_=$layout->{$_}") } sort keys %$layout;

	command_ok(
		[ 'psql', '-Xq1', '-v', 'ON_ERROR_STOP=1', @variables, '-d', $node->connstr('postgres'),
			'-c', 'CREATE SCHEMA reader; SET search_path = reader', '-f', $file ],
		"$name: the reader is installed");
	$node->safe_psql('postgres', $ask);
	foreach my $query (@queries)
	{
		is(differences($node, @$query), '', "$name: $query->[1]");
	}
	cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM $_"), '>', 150, "$name: there were many $_") foreach qw(ids times texts);
	if (!%$layout)
	{
		# As doc/reader.md says for pg_tle: no psql is left in it.
		my ($sed) = slurp_file("$FindBin::RealBin/../../doc/reader.md") =~ /^    (sed .*?)\n\n/ms;
		my $script = `cd $FindBin::RealBin/../.. && $sed`;
		command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', "CREATE SCHEMA tle; SET search_path = tle; $script" ],
			'without psql');
		is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_proc WHERE pronamespace = $$tle$$::regnamespace'),
			$node->safe_psql('postgres', 'SELECT count(*) FROM pg_proc WHERE pronamespace = $$reader$$::regnamespace'), 'it has the same functions');
		my $plan = $node->safe_psql('postgres', q{
			SET search_path = reader, public;
			CREATE TABLE event (id bigint PRIMARY KEY);
			SET enable_seqscan = off;
			EXPLAIN SELECT FROM event WHERE snowflake_between(id, '2026-01-01Z', now())});
		like($plan, qr/Index Cond: \(\(id >= '397\d+'::bigint\) AND \(id <= /, 'a range by time uses the index');
		call_fails($node, 'no worker bits left', q{\set worker_bits 17} . "\n" . q{\i } . $file, '22023', qr/worker_bits must be from 1 to 16/);
	}
	$node->stop;
}

done_testing();
