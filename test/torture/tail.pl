# The test of the horizon for as long as you like, on the library that was built
# here, and with "kill" while the server is killed again and again.
#
# usage: tail.pl SECONDS SEED [kill]
use strict;
use warnings;

use Cwd;
use FindBin;
use lib "$FindBin::RealBin/../t";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Tail;
use Test::More;
use Time::HiRes qw(sleep time);

my ($seconds, $seed, $kill) = @ARGV;

Test::More->builder->output(\*STDOUT);
Test::More->builder->failure_output(\*STDERR);
srand $seed;

my $primary = PostgreSQL::Test::Cluster->new('primary');

$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', tail_conf() . "restart_after_crash = on\nshared_preload_libraries = 'snowflake'\n"
	  . "snowflake.worker_id = 1\nlog_statement = none\ndynamic_library_path = '" . getcwd() . ":\$libdir'\n");
$primary->start;
my $sql = slurp_file(install_script('snowflake', '.', 'sql'));
$sql =~ s/^\\echo.*//m;
$sql =~ s/MODULE_PATHNAME/snowflake/g;
make_tail_schema($primary, $sql);

my @nodes = ($primary);
push @nodes, new_standby($primary, 'standby'), new_tail_subscriber($primary) unless $kill;

# A backend, which takes all others with it, or the server.
my %killed;
sub kill_again_and_again
{
	my $end = time + $seconds - 2;

	while (time < $end)
	{
		sleep 1 + rand 3;
		if (rand() < 0.5)
		{
			my ($status, $pid) = $primary->psql('postgres',
				q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1});
			next unless $status == 0 && $pid;
			my $before = () = slurp_file($primary->logfile) =~ /terminating any other active server processes/g;
			kill 'KILL', $pid;
			ok(poll_until(sub { (() = slurp_file($primary->logfile) =~ /terminating any other active server processes/g) > $before }),
				'a backend was killed, and the others with it');
			$killed{backend}++;
		}
		else
		{
			$primary->kill9;
			start_again($primary);
			$killed{server}++;
		}
		ok(poll_until(sub { ($primary->psql('postgres', 'SELECT snowflake_next()'))[0] == 0 }), 'the server is back');
	}
	return;
}

run_tail($seconds, $seed, @nodes, $kill ? \&kill_again_and_again : ());
if ($kill)
{
	ok($killed{$_}, "$_: killed " . ($killed{$_} // 0) . ' times') foreach qw(backend server);
}
$_->stop foreach reverse @nodes;
done_testing();
