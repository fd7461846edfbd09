package Tail;

# The test of the horizon: builds it, makes what it works on, and runs it.

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

our @EXPORT = qw(tail_conf make_tail_schema new_tail_subscriber run_tail);

$ENV{PG_CONFIG} //= 'pg_config';

my $sources = dirname(__FILE__) . '/../tail';

# Lines of the primary's configuration.
sub tail_conf
{
	return <<'CONF';
max_prepared_transactions = 50
max_connections = 100
max_worker_processes = 20
wal_level = logical
autovacuum = off
fsync = off
CONF
}

# extension: statements in the place of CREATE EXTENSION.
sub make_tail_schema
{
	my ($node, $extension) = @_;

	$node->safe_psql('postgres', $extension // 'CREATE EXTENSION snowflake');
	$node->safe_psql('postgres', slurp_file("$sources/schema.sql"));
	return;
}

# A server that subscribes to the rows and to the heartbeat, which it applies in
# the order of the commits, with the initial copy behind it.
sub new_tail_subscriber
{
	my ($primary) = @_;
	my $node = PostgreSQL::Test::Cluster->new('subscriber');

	$node->init;
	$node->append_conf('postgresql.conf', 'fsync = off');
	$node->start;
	$node->safe_psql('postgres', q{
		CREATE TABLE event (id bigint PRIMARY KEY, what text NOT NULL);
		CREATE TABLE heartbeat (one integer PRIMARY KEY, h bigint NOT NULL)});
	$primary->safe_psql('postgres', 'CREATE PUBLICATION tail FOR TABLE event, heartbeat');
	my $connstr = $primary->connstr('postgres') =~ s,','',gr;
	$node->safe_psql('postgres', "CREATE SUBSCRIPTION tail CONNECTION '$connstr' PUBLICATION tail");
	$node->wait_for_subscription_sync($primary, 'tail');
	return $node;
}

# The program, built once.
sub program
{
	my $program = PostgreSQL::Test::Utils::tempdir() . '/tail';
	my ($include, $lib) = map { my $path = `$ENV{PG_CONFIG} --$_`; chomp $path; $path } 'includedir', 'libdir';

	system_or_bail('g++', '-std=c++20', '-O1', '-g', '-Wall', '-Wextra', '-Werror', "-I$include", '-o', $program,
		glob("$sources/*.cpp"), "-L$lib", "-Wl,-rpath,$lib", '-lpq', '-pthread');
	return $program;
}

# Its checks become this test's.  during: code to be run meanwhile.
sub run_tail
{
	my ($seconds, $seed, @nodes) = @_;
	my $during = ref $nodes[-1] eq 'CODE' ? pop @nodes : undef;
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ program(), $seconds, $seed, map { $_->connstr('postgres') } @nodes ], '<', \undef, '>', \$out, '2>', \$err);

	$during->() if $during;
	$run->finish;
	my $count = 0;
	foreach (split /\n/, $out)
	{
		$count++;
		if    (/^(not )?ok \d+ - (.*)/) { ok(!$1, $2) }
		elsif (/^# (.*)/)               { note($1) }
		elsif (/^1\.\.(\d+)$/)          { cmp_ok($1, '>', 30, 'it came to its end') }
	}
	is($err, '', 'it has no complaint of its own');
	cmp_ok($count, '>', 30, 'there were checks');
	return;
}

1;
