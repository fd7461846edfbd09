# The programs of doc/clients.md, as they stand there: node-postgres, TypeORM,
# Drizzle and psycopg.  Takes node and npm in the PATH, which fetches what
# test/clients/package.json names, and Debian's python3-psycopg.
#
# Ruled out: an ID that is changed on its way, because it was a floating-point
# number in between; a page that does not work.
use strict;
use warnings;

use File::Copy;
use FindBin;
use IPC::Run;
use lib "$FindBin::RealBin/../t";
use Page;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $page    = 'clients.md';
my $sources = "$FindBin::RealBin/../clients";
my $dir     = PostgreSQL::Test::Utils::tempdir();

# With this layout no ID is a floating-point number: they are above 2^62, where
# those are 2^10 apart, and worker 1 sets the bit 2^6.
my $node = new_node('main', conf => q{
	snowflake.worker_bits = 16
	snowflake.epoch = '1970-01-01 00:00:00 UTC'});

# Runs a command in the directory; returns its output.
sub run_there
{
	my ($name, @command) = @_;
	local $ENV{PGHOST}     = $node->host;
	local $ENV{PGPORT}     = $node->port;
	local $ENV{PGUSER}     = $node->safe_psql('postgres', 'SELECT current_user');
	local $ENV{PGDATABASE} = 'clients';
	my $run = IPC::Run::run(\@command, '<', \undef, '>', \my $out, '2>', \my $err,
		init => sub { chdir $dir or die "$dir: $!" },
		IPC::Run::timeout(2 * $PostgreSQL::Test::Utils::timeout_default));

	ok($run, "$name runs") or diag("$out\n$err");
	return $out;
}

sub query
{
	my ($sql) = @_;
	return $node->safe_psql('clients', $sql);
}

# What the page's program does, and what it sees of it.  $before runs first, in
# an empty database.
sub check_client
{
	my ($name, $before, $type, $file, @command) = @_;

	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS clients');
	$node->safe_psql('postgres', 'CREATE DATABASE clients');
	query('CREATE EXTENSION snowflake');
	query($before);

	my %got = run_there($name, @command, $file) =~ /^(\w+) (.*)$/mg;
	is($got{type}, $type, "$name: the ID has a type that can hold it");
	isnt(sprintf('%.0f', $got{$_}), $got{$_}, "$name: $_ is no floating-point number") foreach qw(inserted known);
	is(query(q{SELECT id FROM parent WHERE name = 'inserted'}), $got{inserted}, "$name: it is told the ID of its row");
	is($got{read}, $got{inserted}, "$name: and finds the row by it");
	is(query(q{SELECT id FROM parent WHERE name = 'known'}), $got{known}, "$name: it may say the ID itself");
	is(query(q{SELECT parent_id, id > parent_id FROM child WHERE name = 'of known'}), "$got{known}|t", "$name: and use it as a foreign key");

	my @block = split ' ', $got{block};
	is(scalar @block, 1000, "$name: it gets a thousand IDs");
	is(scalar(grep { $block[$_] <= ($_ ? $block[ $_ - 1 ] : $got{known}) } 0 .. $#block), 0, "$name: which increase");
	is(query("SELECT count(*) FROM unnest('{" . join(',', @block) . "}'::bigint[]) AS id WHERE snowflake_worker_id(id) = 1"),
		'1000', "$name: and have come through whole");
	return;
}

# A program of the page, with the report behind it.
sub program
{
	my ($mark, $report, $file) = @_;

	append_to_file("$dir/$file", page_block($page, $mark) . slurp_file("$sources/$report"));
	return $file;
}

my $tables = page_block($page, 'sql');

copy("$sources/package.json", $dir) or die $!;
run_there('npm', 'npm', 'install', '--no-package-lock', '--no-audit', '--no-fund');

check_client('node-postgres', $tables, 'bigint', program('js node-postgres', 'report.mjs', 'node-postgres.mjs'), 'node');
check_client('drizzle',       $tables, 'bigint', program('js drizzle',       'report.mjs', 'drizzle.mjs'),       'node');
check_client('psycopg',       $tables, 'int',    program('python psycopg',   'report.py',  'page.py'),           '/usr/bin/python3');

# TypeORM makes the tables itself, or finds them.
check_client('typeorm', '', 'string', program('js typeorm', 'report.mjs', 'typeorm.mjs'), 'node');
is( query(q{SELECT string_agg(column_default, ' ') FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'id'}),
	'snowflake_next() snowflake_next()', 'typeorm: its tables have the default');
my $columns = 'SELECT md5(string_agg(concat(a, d), $$,$$ ORDER BY a::text)) FROM pg_attribute AS a'
  . ' LEFT JOIN pg_attrdef AS d ON adrelid = attrelid AND adnum = attnum JOIN pg_class AS c ON c.oid = attrelid WHERE relname IN ($$parent$$, $$child$$)';
my $before = query($columns);
run_there('typeorm, once more', 'node', 'typeorm.mjs');
is(query($columns), $before, 'typeorm: it leaves tables alone that are as it wants them');

$node->stop;
done_testing();
