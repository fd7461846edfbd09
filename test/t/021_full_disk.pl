# The disk with the WAL is full, under load.  A limit on the size of files, which an
# unprivileged test can set for the processes of a running server, simulates this: as
# with a full disk, no more WAL can be written.
#
# What the server does is up to core: whoever has to write WAL ends in a PANIC, and
# the server goes down with it.
#
# Ruled out: IDs that were given out beyond a mark that found no room; a server
# that, once there is room again, starts below them.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $node = new_node('main', conf => q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 1h
	autovacuum = off
	checkpoint_timeout = 1h});
my @incarnations;

# First a session finds no room, then the keeper, for the mark: nobody else has
# anything to write then, and the segment ends where it did.
foreach my $writer ('a session', 'the keeper')
{
	my $burst  = burst($node);
	my @takers = map { start_taker($node) } 1 .. 2;
	my $offset = -s $node->logfile;

	wait_for_ids($_, 200_000) foreach @takers;

	# From now on no file may grow beyond half a WAL segment.
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	foreach my $pid ($postmaster, split ' ', `ps -o pid= --ppid $postmaster`)
	{
		system('prlimit', '--pid', $pid, '--fsize=8388608:unlimited') == 0
		  or kill(0, $pid) == 0
		  or die "prlimit: $?";
	}
	like(`prlimit --noheadings --raw --output SOFT --fsize --pid $postmaster`, qr/^8388608$/m, "no room for $writer: files are limited");

	if ($writer eq 'a session')
	{
		my ($status) = $node->psql('postgres', q{
			SELECT count(pg_logical_emit_message(false, 'snowflake', repeat('x', 1000000)))
			  FROM generate_series(1, 20)});
		isnt($status, 0, "no room for $writer: it ends");
	}
	wait_for_end($_) foreach @takers;
	isnt($_->{errors}, '', "no room for $writer: a session that takes IDs ends") foreach @takers;
	ok(poll_until(sub { !-e $node->data_dir . '/postmaster.pid' }), "no room for $writer: the server goes down");
	my $log = log_since($node, $offset);
	like($log, qr/PANIC:  could not write to (log )?file .*: File too large/, "no room for $writer: says so");
	like($log, qr/background worker "snowflake keeper" .* was terminated by signal 6/, 'the keeper was in need of room')
	  if $writer eq 'the keeper';
	$node->{_pid} = undef;

	$node->start;
	push @incarnations, [ $burst, map { $_->{file} } @takers ], [ take_ids($node, 1000) ];
}
check_ids('full disk', @incarnations);

$node->stop;
done_testing();
