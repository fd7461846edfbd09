# A server in recovery: what it refuses, what it allows, and what it needs.
#
# Ruled out: IDs from two servers as one worker; IDs that decode otherwise on a
# standby than on its primary; a standby that replays the rows but cannot keep
# the mark, and goes on without it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $primary = new_node('primary', start => 0, init => [ allows_streaming => 1 ]);
my $states = origin_states($primary);

# From before there was a mark, so that the standby meets the first one in redo.
$primary->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$primary->start;
my $standby = new_standby($primary, 'standby', start => 0, conf => "$states = 1");
$primary->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'");
$primary->restart;
$primary->safe_psql('postgres', q{
	CREATE EXTENSION snowflake;
	CREATE TABLE event (id bigint DEFAULT snowflake_next() PRIMARY KEY);
	INSERT INTO event DEFAULT VALUES});

sub catch_up
{
	my $newest = $primary->safe_psql('postgres', 'INSERT INTO event DEFAULT VALUES RETURNING id');

	ok($standby->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM event WHERE id = $newest)"),
		'the standby catches up');
	return $newest;
}

# One state is too few, with the library or without it: the redo of the second
# record stops the standby.
{
	local $ENV{PGCTLTIMEOUT} = 30;

	$standby->start(fail_ok => 1);
}
ok(poll_until(sub { !-e $standby->data_dir . '/postmaster.pid' }), 'one state: the standby stops');
like(slurp_file($standby->logfile), qr/FATAL:  could not find free replication state slot for replication origin with ID 65002/,
	'one state: says so');
like(slurp_file($standby->logfile), qr/HINT:  Increase "?$states"? and try again/, 'one state: says what to raise');
$standby->{_pid} = undef;

# With the setting raised, it continues where it was.  It need not have the library.
$standby->append_conf('postgresql.conf', "$states = 2");
$standby->start;
my $id = catch_up();
call_fails($standby, 'not preloaded', 'SELECT snowflake_next()', '55000',
	qr/snowflake must be loaded via "shared_preload_libraries"/);
cmp_ok(mark_ms($standby), '>', $id >> 22, 'the standby has the mark beyond the row');

# With it, as the worker that the primary is.
$standby->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'");
my $offset = -s $standby->logfile;
$standby->restart;
like(log_since($standby, $offset), qr/HINT:  The generator takes two of "$states" \(2\), which leaves fewer/, 'the log of the standby says what it has');
foreach my $call ('snowflake_next()', 'snowflake_next(3)')
{
	call_fails($standby, "in recovery: $call", "SELECT $call", '25006',
		qr/cannot issue snowflake IDs during recovery/,
		qr/DETAIL:  The primary issues IDs with the worker ID that is configured here/,
		qr/HINT:  Get the ID from the primary/);
}
call_fails($standby, 'in recovery: forget', 'SELECT snowflake_forget_mark()', '25006',
	qr/cannot execute snowflake_forget_mark\(\) during recovery/);
my $decode = "SELECT * FROM snowflake_decode($id)";
my $fields = $primary->safe_psql('postgres', $decode);
is($standby->safe_psql('postgres', $decode), $fields, 'in recovery: IDs decode');

# Another layout than the primary's.
foreach my $setting ([ 'worker_bits', '9' ], [ 'epoch', '2023-01-02' ])
{
	my ($name, $value) = @$setting;
	my $before = $standby->safe_psql('postgres', "SHOW snowflake.$name");

	$standby->append_conf('postgresql.conf', "snowflake.$name = '$value'");
	$standby->restart;
	call_fails($standby, "$name: $_", "SELECT $_", '55000',
		qr/the configured snowflake layout does not match this cluster's IDs/,
		qr/Pinned when the first ID was issued: epoch 2023-01-01 00:00:00\+00, 10 worker bits/)
	  foreach 'snowflake_next()', "snowflake_decode($id)", "snowflake_timestamp($id)";
	$standby->append_conf('postgresql.conf', "snowflake.$name = '$before'");
}
$standby->restart;
is($standby->safe_psql('postgres', $decode), $fields, 'back again, IDs decode');
my $newest = catch_up();

# Promoted with another layout, it does not issue IDs either.
$standby->append_conf('postgresql.conf', 'snowflake.worker_bits = 11');
$standby->restart;
$primary->stop;
$standby->promote;
call_fails($standby, 'promoted, another layout', 'SELECT snowflake_next()', '55000',
	qr/the configured snowflake layout does not match this cluster's IDs/);
$standby->append_conf('postgresql.conf', 'snowflake.worker_bits = 10');
$standby->restart;
cmp_ok(next_id($standby), '>', $newest, 'back again, IDs go on');

$standby->stop;
done_testing();
