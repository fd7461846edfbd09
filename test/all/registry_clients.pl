# Applications that make snowflake IDs themselves, each on a worker ID that it
# leases: test/clients/registry/lease.mjs, with node-postgres; and servers that lease
# theirs from the same registry.  Meanwhile some applications are stopped for longer
# than their lease; the registry is restarted, stopped for longer than a lease, and
# failed over to an asynchronous standby without the latest commits.  Takes node and
# npm in the PATH.
#
# Ruled out: one ID from two holders; a holder that does not come back by itself; one
# that keeps its worker ID when it has ended.
use strict;
use warnings;

use File::Copy;
use FindBin;
use IPC::Run;
use lib "$FindBin::RealBin/../t";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;
use Time::HiRes ();

my $sources = "$FindBin::RealBin/../clients/registry";
my $dir     = PostgreSQL::Test::Utils::tempdir();
my $seconds = 3;

copy("$sources/$_", $dir) or die "$_: $!" foreach qw(package.json lease.mjs take.mjs);
my ($out, $err);
ok( IPC::Run::run([ 'npm', 'install', '--no-package-lock', '--no-audit', '--no-fund' ], '>', \$out, '2>', \$err,
		init => sub { chdir $dir or die "$dir: $!" }),
	'npm')
  or diag("$out\n$err");

my $registry = new_registry('registry', init => [ allows_streaming => 1 ], conf => 'max_connections = 50');
set_up($registry, "worker_bits => 3, longest_lease => '5 s', fence_itself => true");
my $standby = new_standby($registry, 'standby');
my $port    = $registry->port;

# Holders that find their registry at one port, whichever server it is.
my @holders;
my $started = 0;

sub start_holder
{
	my $n = $started++;
	local $ENV{PGHOST}     = $registry->host;
	local $ENV{PGPORT}     = $port;
	local $ENV{PGUSER}     = $registry->safe_psql('postgres', 'SELECT current_user');
	local $ENV{PGDATABASE} = 'postgres';
	my $holder = { file => "$dir/ids$n", name => "holder $n", out => '', err => '' };

	append_to_file($holder->{file}, '');
	$holder->{run} = IPC::Run::start([ 'node', 'take.mjs', $holder->{file}, $holder->{name}, $seconds ],
		'<', \undef, '>', \$holder->{out}, '2>', \$holder->{err},
		init => sub { chdir $dir or die "$dir: $!" });
	push @holders, $holder;
	return;
}

# A server, with a session that takes IDs whatever happens.
my $statements = "$dir/statements.sql";
append_to_file($statements, "SELECT snowflake_next() FROM generate_series(1, 20);\nSELECT FROM pg_sleep(0.005);\n" x 100_000);

sub start_server
{
	my $n      = $started++;
	my $node   = new_node("server$n", registry => $registry, conf => "snowflake.worker_bits = 3\nsnowflake.lease_duration = ${seconds}s");
	my $holder = { file => "$dir/ids$n", name => "server $n", node => $node };

	append_to_file($holder->{file}, '');
	$holder->{run} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', $statements ],
		'<', \undef, '>', $holder->{file}, '2>', "$holder->{file}.err");
	push @holders, $holder;
	return;
}

# Waits until it has made another thousand IDs.
sub goes_on
{
	my ($holder, $name, $size) = @_;

	$size //= -s $holder->{file};
	ok(poll_until(sub { -s $holder->{file} > $size + 20_000 }), "$name: $holder->{name} makes IDs");
	return;
}

sub all_go_on
{
	my ($name) = @_;
	my @sizes = map { -s $_->{file} } @holders;

	goes_on($holders[$_], $name, $sizes[$_]) foreach 0 .. $#holders;
	return;
}

# It ends, and gives back.
sub end
{
	my ($holder) = @_;

	$holder->{run}->signal('TERM');
	$holder->{run}->finish;
	return $holder->{node}->stop if $holder->{node};
	is($holder->{err}, '', "$holder->{name}: no error");
	like($holder->{out}, qr/^leases [1-9]\d*, refused \d+$/, "$holder->{name}: ends");
	note("$holder->{name}: $holder->{out}");
	return;
}

# Stops processes for this long.
sub hold
{
	my ($for, @pids) = @_;

	pause_process($_, "process $_ of the registry") foreach @pids;
	Time::HiRes::sleep($for);
	resume_process($_, "process $_ of the registry") foreach @pids;
	return;
}

# As many as there are worker IDs.
start_holder() foreach 1 .. 6;
start_server() foreach 1 .. 2;
all_go_on('at the start');
is($registry->safe_psql('postgres', q{SELECT count(*) FROM snowflake_registry.status WHERE state = 'leased'}), '8', 'eight hold leases');

# Two are stopped for longer than their leases; two others take their worker IDs.
# When those end, they recover.
my @stopped = @holders[ 0, 1 ];
$_->{run}->signal('STOP') foreach @stopped;
ok($registry->poll_query_until('postgres', q{SELECT count(*) = 2 FROM snowflake_registry.status WHERE state = 'ended'}),
	'the leases of those that are stopped end');
start_holder() foreach 1 .. 2;
my @others = @holders[ 8, 9 ];
goes_on($_, 'in place of those that are stopped') foreach @others;
$_->{run}->signal('CONT') foreach @stopped;
goes_on($_, 'after others were stopped') foreach @others;
end($_) foreach @others;
@holders = @holders[ 0 .. 7 ];
all_go_on('after they were stopped');

$registry->restart;
all_go_on('after a restart of the registry');
$registry->stop('immediate');
$registry->start;
all_go_on('after a crash of the registry');

# The registry hangs for longer than a lease.
hold(2 * $seconds, $registry->{_pid}, split /\n/, $registry->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"));
all_go_on('after the registry hung');

# Failover, with commits that are lost.
$standby->append_conf('postgresql.conf', "primary_conninfo = ''");
$standby->reload;
ok($standby->poll_query_until('postgres', 'SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)'), 'the standby is cut off');
ok($standby->poll_query_until('postgres', 'SELECT max(valid_until) < clock_timestamp() FROM snowflake_registry.worker'),
	'it has no lease that has not ended');
$registry->stop('immediate');
$standby->stop;
$standby->append_conf('postgresql.conf', "port = $port");
$standby->{_port} = $port;
$standby->start;
$standby->promote;
ok($standby->poll_query_until('postgres', 'SELECT timeline = 2 AND fence_needed IS NULL FROM snowflake_registry.registry'), 'it fences itself');
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 8 FROM snowflake_registry.status WHERE state = 'leased'}), 'all lease again');
all_go_on('after a failover');

end($_) foreach @holders;
is($standby->safe_psql('postgres', q{SELECT count(*) FROM snowflake_registry.status WHERE state = 'leased'}), '0', 'no lease is left');
check_ids('applications and servers', [ map { $_->{file} } @holders, @others ]);

$standby->stop;
done_testing();
