# Copies of a cluster that are started as if they were the original: a standby
# without its standby.signal, a base backup without a signal file; data that are
# older than what was issued, on a machine that was started since; and a cluster
# whose file with the mark is gone.
#
# Ruled out: a copy that issues IDs as the worker of an original that still runs;
# a missing mark that looks like a cluster which never had one; a cluster that was
# promoted before it had the extension, and whose first IDs use up all of the lead.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

# 64 IDs a millisecond, for a lead that shows.
my $conf = q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 1h};
my $primary = new_node('primary', init => [ allows_streaming => 1 ], conf => $conf);
my @issued = ([ burst($primary) ]);

sub lead_seconds
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT extract(epoch FROM snowflake_timestamp(snowflake_next()) - clock_timestamp())');
}

sub remove
{
	my ($node, $file) = @_;
	ok(unlink($node->data_dir . "/$file"), "$file is removed");
	return;
}

# A standby, stopped cleanly and not, whose standby.signal is gone.
my $standby = new_standby($primary, 'standby');
$primary->wait_for_catchup('standby');
foreach my $stop ('fast', 'immediate')
{
	$standby->stop($stop);
	remove($standby, 'standby.signal');
	start_fails($standby, "a standby without its signal, stop $stop",
		qr/FATAL:  this data directory is a copy of another server's, and was not promoted/,
		qr/DETAIL:  It is a standby's: its control file says that it was in recovery, and there is neither "standby.signal" nor "recovery.signal"\. The other server may still issue snowflake IDs as worker 1\./,
		qr/HINT:  Stop the other server, .* Then create "standby.signal", start this server, and promote it\./);
	$standby->{_pid} = undef;
	$standby->set_standby_mode;
	$standby->start;
}

# A base backup, likewise, and the way that the hint shows.
$primary->backup('backup');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($primary, 'backup');
ok(-e $copy->data_dir . '/backup_label', 'it is a base backup');
foreach (1, 2)
{
	start_fails($copy, 'a base backup without a signal file',
		qr/FATAL:  this data directory is a copy of another server's, and was not promoted/,
		qr/DETAIL:  It is a base backup: there is a file "backup_label", and/);
}
$primary->stop;
$copy->set_standby_mode;
$copy->start;
$copy->promote;
push @issued, [ take_ids($copy, 1000) ];
check_ids('a copy that was promoted', @issued);
$copy->stop;
$standby->stop;

# A leased worker ID belongs to nobody else.
my $registry = new_registry('registry');
set_up($registry, 'worker_bits => 16');
my $leased = PostgreSQL::Test::Cluster->new('leased');
$leased->init_from_backup($primary, 'backup');
$leased->adjust_conf('postgresql.conf', 'snowflake.worker_id', undef);
lease_from($leased, $registry);
$leased->start;
cmp_ok(next_id($leased), '>', 0, 'a copy that leases its worker ID starts');
$leased->stop;
$registry->stop;

# The machine has been restarted since, and the server was not shut down: a storage
# snapshot that was taken while it ran, say.  Otherwise it starts from the clock.
sub lead_after
{
	my ($stop, $boot) = @_;
	my $node = new_node('boot' . $stop . length $boot, conf => $conf);
	my $file = $node->data_dir . '/snowflake_boot_id';

	next_id($node);
	like(slurp_file($file), qr/^[0-9a-f-]{36}\n$/, 'the boot of the machine is kept');
	$node->stop($stop);
	if ($boot ne '')
	{
		open my $fh, '>', $file or die $!;
		print $fh "$boot\n";
		close $fh;
	}
	$node->start;
	my $lead = lead_seconds($node);
	my $said = slurp_file($node->logfile) =~ /LOG:  snowflake IDs start "snowflake.max_ahead" ahead of the clock\n/;

	is($said ? 1 : 0, $lead > 60 ? 1 : 0, "stop $stop, boot '$boot': the log says so if it is");
	unlike(slurp_file($file), qr/another/, 'the new boot is kept');
	$node->stop;
	return $lead;
}
cmp_ok(lead_after('immediate', 'another'), '>',  3500, 'a crash, and another boot: beyond the lead');
cmp_ok(lead_after('immediate', ''),        '<=', 60,   'a crash: at the mark');
cmp_ok(lead_after('fast',      'another'), '<=', 60,   'a shutdown, and another boot: at the mark');

# Promoted before it had the extension: nothing was issued, so there is nothing
# to be beyond.
my $plain = PostgreSQL::Test::Cluster->new('plain');
$plain->init(allows_streaming => 1);
$plain->start;
my $promoted = new_standby($plain, 'promoted');
$plain->wait_for_catchup('promoted');
$plain->stop;
$promoted->promote;
$promoted->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'\nsnowflake.worker_id = 1\n$conf");
$promoted->restart;
$promoted->safe_psql('postgres', 'CREATE EXTENSION snowflake');
is($promoted->safe_psql('postgres', 'SELECT timeline_id FROM pg_control_checkpoint()'), '2', 'promoted before it had the extension');
cmp_ok(lead_seconds($promoted), '<=', 60, 'its first ID has the time of the clock');
cmp_ok(lead_seconds($promoted), '>=', -1, 'and not an earlier one');

# Without the file that keeps the mark there is none.
$promoted->stop;
remove($promoted, 'pg_logical/replorigin_checkpoint');
foreach (1, 2)
{
	start_fails($promoted, 'the file with the mark is gone',
		qr/FATAL:  could not find file "pg_logical\/replorigin_checkpoint"/,
		qr/DETAIL: .*Without it, IDs might be issued twice/, qr/HINT:  Restore the file\./);
}
$promoted->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$promoted->start;
$promoted->append_conf('postgresql.conf', q{shared_preload_libraries = 'snowflake'});
$promoted->restart;
cmp_ok(next_id($promoted), '>', 0, 'the way that the hint shows');
$promoted->stop;

done_testing();
