# A keeper that is paused until others have leased its worker ID, a data directory
# that is copied, and servers that are configured alike, with a registry.
#
# Ruled out: two holders of one worker ID that issue IDs of the same time, whatever
# one of them believes; a lost lease that is renewed, or that is not noticed; IDs
# that are lower after it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $registry = new_registry('registry');
set_up($registry, 'worker_bits => 2');
my $conf = q{
	snowflake.worker_bits = 2
	snowflake.lease_duration = 1s};
my $node = new_node('main', registry => $registry, conf => $conf);
my $worker = worker_of($node);

# Takes the worker ID as an application would, as soon as it is free; returns the
# IDs of each millisecond of the lease, were they issued.
sub take_over
{
	my ($worker_id) = @_;
	my $lease;

	ok( poll_until(sub {
			my ($status, $out) = $registry->psql('postgres', qq{
				CALL snowflake_registry.lease('another', '2 s', $worker_id)});
			return 0 if $status != 0;
			$lease = $registry->safe_psql('postgres', qq{
				SELECT floor(extract(epoch FROM valid_from - '2023-01-01 00:00:00Z') * 1000)::bigint,
					   ceil(extract(epoch FROM valid_until - '2023-01-01 00:00:00Z') * 1000)::bigint
				  FROM snowflake_registry.worker WHERE worker_id = $worker_id});
			return 1;
		}),
		"another leases worker ID $worker_id");
	return split /\|/, $lease;
}

# The keeper is paused while IDs are taken.
my $taker = start_slow_taker($node);
my $errors = $node->logfile;
wait_for_ids($taker, 100_000);
my $keeper = pause_keeper($node);
my ($from, $until) = take_over($worker);
resume_process($keeper, 'the keeper');
ok( poll_until(sub { slurp_file($errors) =~ /WARNING:  lost the lease of snowflake worker ID $worker\n.*DETAIL:  The registry said: / }),
	'the old token is refused');
ok( poll_until(sub {
		slurp_file($errors) =~ /LOG:  snowflake IDs are issued as worker (\d+)\n.*DETAIL:  The registry leases it until .* It was worker $worker before\./
		  && $1 != $worker;
	}),
	'another worker ID is taken, and that is logged');
my $size = -s $taker->{file};
ok(poll_until(sub { -s $taker->{file} > $size + 100_000 || $taker->{errors} ne '' }), 'the session goes on');
stop_taker($taker);
my @after = (take_ids($node, 1000));
check_ids('a keeper that was paused', [ $taker->{file} ], \@after);

my $trespasses = 0;
open my $fh, '<', $taker->{file} or die;
while (<$fh>)
{
	next unless /^(\d+)\n/;
	$trespasses++ if ($1 >> 20 & 3) == $worker && ($1 >> 22) >= $from && ($1 >> 22) < $until;
}
close $fh;
is($trespasses, 0, 'no ID as the worker that another has leased');

# A copy of the data directory: both go on, as different workers.
$node->stop('immediate');
my $copy = PostgreSQL::Test::Cluster->new('copy');
PostgreSQL::Test::RecursiveCopy::copypath($node->data_dir, $copy->data_dir);
chmod 0700, $copy->data_dir;
$copy->append_conf('postgresql.conf', 'port = ' . $copy->port);
$copy->append_conf('postgresql.conf', 'unix_socket_directories = \'' . $copy->host . '\'');
$copy->{_pid} = undef;
unlink $copy->data_dir . '/postmaster.pid';
$_->start foreach $node, $copy;
my @takers = map { start_taker($_) } $node, $copy;
wait_for_ids($_, 1_000_000) foreach @takers;
isnt(worker_of($node), worker_of($copy), 'a copied data directory leases a worker ID of its own');
stop_taker($_) foreach @takers;
check_ids('a copied data directory', [ map { $_->{file} } @takers ]);
check_ids('beside those from before', [ $taker->{file}, @after, map { $_->{file} } @takers ]);
$_->stop('fast') foreach $node, $copy;

# Configured alike: only one of the two issues IDs.
my @alike = map { new_node("alike$_", registry => $registry, worker_id => 3, conf => "$conf\ncluster_name = 'alike$_'") } 1, 2;
is(worker_of($alike[0]), 3, 'the configured worker ID is leased');
like($alike[0]->safe_psql('postgres', 'SELECT worker_id, worker_source, lease_holder FROM snowflake_status()'),
	qr/^3\|configuration file\|alike1 /, 'as the status says');
call_fails($alike[1], 'configured alike', 'SELECT snowflake_next()', '55000',
	qr/this server holds no lease of a worker ID/, qr/None has been granted yet.*alike1/);
$alike[0]->stop('fast');
goes_on_by_itself($alike[1], 'when one is stopped, the other goes on');
is(worker_of($alike[1]), 3, 'as that worker');

# A reserved worker ID is leased only to its holder.
$alike[1]->stop('fast');
ok(poll_until(sub { my ($status) = $registry->psql('postgres', q{SELECT snowflake_registry.reserve(3, 'alike1')}); return $status == 0 }),
	'the worker ID is reserved');
$alike[1]->start;
call_fails($alike[1], 'reserved for another', 'SELECT snowflake_next()', '55000', qr/None has been granted yet.*reserved/);
$alike[1]->stop;
$alike[0]->start;
is(worker_of($alike[0]), 3, 'the holder leases what is reserved for it');

$alike[0]->stop;
$registry->stop;
done_testing();
