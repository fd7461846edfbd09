# The exporter runs the queries of doc/monitoring/queries.yml on a real server,
# as a role that has pg_monitor and no more, and promtool runs the rules of
# alerts.yml.  Takes prometheus-postgres-exporter and promtool in the PATH.
#
# Ruled out: an alert that never fires, because its metric has another name, is
# missing, or does not move with what it stands for.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../t";
use HTTP::Tiny;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $top     = "$FindBin::RealBin/../..";
my $queries = "$top/doc/monitoring/queries.yml";
my $rules   = "$top/doc/monitoring/alerts.yml";

command_ok([ 'promtool', 'check', 'rules', $rules ], 'promtool reads the rules');
command_ok([ 'promtool', 'test', 'rules', "$top/test/monitoring/alerts_test.yml" ],
	'each alert fires when it should');

# 64 IDs a millisecond, so that a burst soon leads the clock.
my $registry = new_registry('registry');
set_up($registry, "worker_bits => 16, longest_lease => '1 h'");
my $node = new_node('main', worker_id => 17, registry => $registry, conf => q{
	snowflake.lease_duration = 30min
	snowflake.worker_bits = 16
	snowflake.max_ahead = 1h});
ok($node->poll_query_until('postgres', 'SELECT lease_valid_until IS NOT NULL FROM snowflake_status()'), 'there is a lease');
my $watcher = 'CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher';
$node->safe_psql('postgres', $watcher);

# An exporter for that server.
my @exporters;
END
{
	my $status = $?;

	$_->{run}->kill_kill foreach @exporters;
	$? = $status;
}

sub start_exporter
{
	my ($server) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $exporter = {
		url => "http://127.0.0.1:$port/metrics",
		log => PostgreSQL::Test::Utils::tempdir() . "/exporter$port.log"
	};
	local $ENV{DATA_SOURCE_NAME} = $server->connstr('postgres') . ' user=watcher sslmode=disable';

	$exporter->{run} = IPC::Run::start(
		[
			'prometheus-postgres-exporter', "--web.listen-address=127.0.0.1:$port",
			"--extend.query-path=$queries"
		],
		'<', \undef, '>', $exporter->{log}, '2>&1');
	push @exporters, $exporter;
	return $exporter;
}

# The metrics of ours: name and labels, and the value.
my $http = HTTP::Tiny->new(proxy => undef, http_proxy => undef);

sub scrape
{
	my ($exporter) = @_;
	my $answer = $http->get($exporter->{url});

	return unless $answer->{success};
	return { $answer->{content} =~ /^(snowflake_\w+(?:\{[^\n]*\})?) (\S+)$/mg };
}

# The value of the one series with that name, whatever its labels.
sub value
{
	my ($metrics, $name) = @_;
	my @series = grep { /^\Q$name\E(?:\{|$)/ } keys %$metrics;

	return @series == 1 ? $metrics->{ $series[0] } + 0 : undef;
}

sub has
{
	my ($metrics, $name, $operator, $expected) = @_;
	my $value = value($metrics, $name);

	return fail("there is one $name") unless defined $value;
	cmp_ok($value, $operator, $expected, $name);
	return;
}

# Waits until what one scrape shows is so.
sub scrape_until
{
	my ($exporter, $name, $condition) = @_;
	my $metrics;

	ok( poll_until(sub {
			$metrics = scrape($exporter) or return 0;
			return $condition->($metrics);
		}),
		$name)
	  or diag(slurp_file($exporter->{log}));
	return $metrics // {};
}

my $exporter = start_exporter($node);
my $metrics  = scrape_until($exporter, 'the exporter has our metrics', sub { defined value($_[0], 'snowflake_ready') });

# Every metric that an alert reads, and every one that the queries name.
my %names = map { $_ => 1 } slurp_file($rules) =~ /\b(snowflake_\w+)/g;
my $namespace;
foreach (split /\n/, slurp_file($queries))
{
	$namespace = $1 if /^(\w+):$/;
	$names{"${namespace}_$1"} = 1 if /^    - (\w+):$/ && $1 !~ /^(?:worker_id|worker_source|state)$/;
}
cmp_ok(scalar keys %names, '>', 10, 'there are metrics');
like(value($metrics, $_) // 'none', qr/^\d+(?:\.\d+)?(?:e[+-]\d+)?$/i, "$_ has a number") foreach sort keys %names;

# A server that has just started, and has a lease.
has($metrics, 'snowflake_ready',                            '==', 1);
has($metrics, 'snowflake_ids_issued_total',                 '==', 0);
has($metrics, 'snowflake_lead_seconds',                     '==', 0);
has($metrics, 'snowflake_max_ahead_seconds',                '==', 3600);
has($metrics, 'snowflake_horizon_lag_seconds',              '==', 0);
has($metrics, 'snowflake_clock_steps_back_total',           '==', 0);
has($metrics, 'snowflake_keeper_running',                   '==', 1);
has($metrics, 'snowflake_keeper_error_timestamp_seconds',   '==', 0);
has($metrics, 'snowflake_lease_error_timestamp_seconds',    '==', 0);
has($metrics, 'snowflake_time_exhausted_timestamp_seconds', '==', (1_672_531_200_000 + 2**41) / 1000);
my ($info) = grep { /^snowflake_worker_info/ } keys %$metrics;
like($info, qr/\Q$_\E/, "the worker has the label $_")
  foreach 'worker_id="17"', 'worker_source="configuration file"', 'state="issuing"';

has($metrics, 'snowflake_lease_duration_seconds',           '==', 1800);
has($metrics, 'snowflake_lease_valid_until_timestamp_seconds', '>', time() + 1000);

# It follows what happens.
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; SELECT snowflake_next()');
scrape_until($exporter, 'a transaction that holds the horizon back shows', sub { (value($_[0], 'snowflake_horizon_lag_seconds') // 0) > 0.1 });
$holder->query_safe('COMMIT');
$holder->quit;
burst($node);
$metrics = scrape_until($exporter, 'a burst shows', sub { (value($_[0], 'snowflake_ids_issued_total') // 0) == 4_000_001 });
has($metrics, 'snowflake_lead_seconds',              '>', 10);
has($metrics, 'snowflake_max_lead_seconds',          '>', 10);
has($metrics, 'snowflake_keeper_waits_total',        '>', 0);
has($metrics, 'snowflake_keeper_wait_seconds_total', '>', 0);
has($metrics, 'snowflake_ready',                     '==', 1);

$node->append_conf('postgresql.conf', 'snowflake.max_ahead = 1500ms');
$node->reload;
$metrics = scrape_until($exporter, 'a smaller max_ahead shows', sub { (value($_[0], 'snowflake_max_ahead_seconds') // 0) == 1.5 });
has($metrics, 'snowflake_ready', '==', 0);
($info) = grep { /^snowflake_worker_info/ } keys %$metrics;
like($info, qr/state="waiting for the clock"/, 'and the state says why');

# A role that may not see the errors is not told that there were none.
$node->safe_psql('postgres', 'REVOKE pg_monitor FROM watcher');
scrape_until($exporter, 'without pg_monitor the errors are unknown',
	sub {
		my ($metrics) = @_;
		return !grep { (value($metrics, "snowflake_${_}_error_timestamp_seconds") // '') !~ /nan/i } 'keeper', 'lease';
	});
$node->stop;

# The registry is unreachable: an error of the lease, and not of the keeper.
$registry->stop;
my $leasing = new_node('leasing', registry => $registry, conf => 'snowflake.worker_bits = 16');
$leasing->safe_psql('postgres', $watcher);
$exporter = start_exporter($leasing);
$metrics = scrape_until($exporter, 'a registry that is away shows',
	sub { (value($_[0], 'snowflake_lease_error_timestamp_seconds') // 0) > 0 });
has($metrics, 'snowflake_keeper_error_timestamp_seconds', '==', 0);
has($metrics, 'snowflake_ready', '==', 0);
$leasing->stop;

# A keeper that fails: one of the two replication origin states is taken.
my $states = origin_states($node);
my $failing = new_node('failing', conf => "$states = 2", start => 0);
$failing->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$failing->start;
$failing->safe_psql('postgres', qq{
	CREATE EXTENSION snowflake;
	SELECT pg_replication_origin_create('other');
	SELECT pg_replication_origin_advance('other', '0/1');
	$watcher});
$failing->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'");
$failing->restart;
call_fails($failing, 'while the keeper fails', 'SELECT snowflake_next()', '55000', qr/could not find free replication state/);
$exporter = start_exporter($failing);
ok(!defined value(scrape($exporter) // {}, 'snowflake_lease_duration_seconds'), 'there is no lease where none is asked for');
$metrics = scrape_until($exporter, 'the keeper\'s error shows',
	sub { (value($_[0], 'snowflake_keeper_error_timestamp_seconds') // 0) > 0 });
has($metrics, 'snowflake_lease_error_timestamp_seconds', '==', 0);
my $at = value($metrics, 'snowflake_keeper_error_timestamp_seconds') // 0;
is($failing->safe_psql('postgres', "SELECT to_timestamp($at) BETWEEN pg_postmaster_start_time() AND now()"), 't', 'with the time of a failure');
has($metrics, 'snowflake_ready', '==', 0);
$failing->stop;

done_testing();
