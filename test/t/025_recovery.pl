# Copies of a cluster that start elsewhere in its history: a base backup that was
# taken under load, a recovery to a point in the middle, and an old primary that
# is rewound and rejoins.
#
# Ruled out: a copy whose data has IDs beyond its mark, because the copy of the
# mark is older than that of the data, and which gives those out again once it
# is on its own.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $primary = new_node('primary', init => [ allows_streaming => 1, has_archiving => 1 ], conf => q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 1h
	wal_keep_size = 256MB});
$primary->safe_psql('postgres', 'CREATE TABLE event (id bigint DEFAULT snowflake_next() PRIMARY KEY)');

my $script = PostgreSQL::Test::Utils::tempdir() . '/insert.sql';
append_to_file($script, "INSERT INTO event DEFAULT VALUES;\n");

sub start_load
{
	return IPC::Run::start(
		[ 'pgbench', '-n', '-c', '4', '-T', '3600', '-f', $script, $primary->connstr('postgres') ],
		'<', \undef, '>', \my $out, '2>', \my $err);
}

sub stop_load
{
	my ($load) = @_;
	$load->signal('INT');
	$load->finish;
	return;
}

sub count_rows
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT count(*) FROM event');
}

# All IDs in the data, in order, as if from one session.
sub data
{
	my ($node) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/data_' . $node->name;

	$node->safe_psql('postgres', "COPY (SELECT id FROM event ORDER BY id) TO '$file'");
	return [$file];
}

# On its own it issues IDs above what it has in its data, and above the others.
sub goes_on
{
	my ($node, $name, @others) = @_;
	my $data = data($node);

	ok($node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), "$name: the recovery ends");
	$node->safe_psql('postgres', 'INSERT INTO event SELECT snowflake_next(1000)');
	check_ids($name, $data, @others, [ take_ids($node, 1000) ]);
	is($node->safe_psql('postgres', 'SELECT count(*) = count(DISTINCT id) FROM event'), 't', "$name: every row once");
	return;
}

# A base backup under load.  Each burst takes the IDs another minute ahead.
burst($primary);
my $load = start_load();
my $some = count_rows($primary);
ok($primary->poll_query_until('postgres', "SELECT count(*) > $some + 1000 FROM event"), 'rows are inserted');
burst($primary);
$primary->backup('under_load');
burst($primary);
$some = count_rows($primary);
ok($primary->poll_query_until('postgres', "SELECT count(*) > $some + 1000 FROM event"), 'more rows are inserted');
$primary->safe_psql('postgres', "SELECT pg_create_restore_point('middle')");
my $middle = $primary->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
ok($primary->poll_query_until('postgres', "SELECT count(*) > $some + 2000 FROM event"), 'and more');
stop_load($load);
my $lost = burst($primary);
my $rows = count_rows($primary);
my $segment = $primary->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn())');
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
ok($primary->poll_query_until('postgres', "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver"),
	'the WAL is archived');

# A copy that streams, for the rewind.
my $standby = new_standby($primary, 'standby');
$primary->wait_for_catchup($standby);

# From its own WAL: as a standby, and promoted.  (029 starts it as it is.)
my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($primary, 'under_load');
$restored->append_conf('postgresql.conf', 'archive_mode = off');
$restored->set_standby_mode;
$restored->start;
$restored->promote;
cmp_ok(count_rows($restored), '<', $rows, 'the backup has the first rows');
goes_on($restored, 'base backup');
$restored->stop;

# To the middle.  IDs that were given out later are not in its data; they led the
# clock by less than max_ahead.
my $pitr = PostgreSQL::Test::Cluster->new('pitr');
$pitr->init_from_backup($primary, 'under_load', has_restoring => 1, standby => 0);
$pitr->append_conf('postgresql.conf', q{
	archive_mode = off
	recovery_target_name = 'middle'
	recovery_target_action = promote});
$pitr->start;
ok($pitr->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), 'recovery to the middle ends');
cmp_ok(count_rows($pitr), '>', $some, 'the middle has the rows before it');
cmp_ok(count_rows($pitr), '<', $rows, 'and not those after it');
goes_on($pitr, 'recovery to the middle', [$lost]);
$pitr->stop;

# The old primary goes on for a while after the promotion: those rows are lost,
# and its mark is not the new primary's.
$standby->append_conf('postgresql.conf', 'archive_mode = off');
$standby->promote;
$standby->safe_psql('postgres', 'CHECKPOINT');
my $split = burst($primary);
$primary->safe_psql('postgres', 'INSERT INTO event SELECT snowflake_next(1000)');
$primary->stop;
$standby->safe_psql('postgres', 'INSERT INTO event SELECT snowflake_next(1000)');
my $newest = take_ids($standby, 1000);
$standby->safe_psql('postgres', 'INSERT INTO event SELECT snowflake_next(1000)');
my $kept = $primary->data_dir . '/postgresql.conf';
my $conf = slurp_file($kept);
command_ok(
	[ 'pg_rewind', '--source-server', $standby->connstr('postgres'), '--target-pgdata', $primary->data_dir, '--no-sync' ],
	'the old primary is rewound');
unlink $kept;
append_to_file($kept, $conf . "archive_mode = off\n");
$primary->enable_streaming($standby);
$primary->start;
$standby->wait_for_catchup($primary);
call_fails($primary, 'rejoined', 'SELECT snowflake_next()', '25006', qr/cannot issue snowflake IDs during recovery/);
is(count_rows($primary), count_rows($standby), 'rejoined: it has the rows of the new primary');
cmp_ok(mark_ms($primary), '>', last_line($newest) >> 22, 'rejoined: it has the mark of the new primary');
my $data = data($standby);
$standby->stop('immediate');
$primary->promote;
check_ids('rewound and promoted', $data, [ take_ids($primary, 1000) ]);
check_ids('rewound and promoted, before the rewind', [$split], [ take_ids($primary, 1000) ]);

$primary->stop;
done_testing();
