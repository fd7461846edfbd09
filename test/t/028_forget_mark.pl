# The way out after a clock that was far in the future: snowflake_forget_mark(),
# on a worker ID that nobody has used.
#
# Ruled out: that it is called by somebody who may not, or goes unnoticed; that
# the mark that it lowered comes back by a crash, or that IDs of the new worker
# come twice.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use FakeClock;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $node = new_clock_node('main', worker_id => 1, clock => 86_400);
my $future = take_ids($node, 1000);

$node->stop;
$node->set_clock(0);
$node->append_conf('postgresql.conf', 'snowflake.worker_id = 2');
$node->start;
clock_refuses($node, 'the clock was a day ahead', 86_400);

# By superusers only, whatever is granted.
$node->safe_psql('postgres', 'CREATE ROLE somebody LOGIN');
my $call = 'SELECT snowflake_forget_mark()';
call_fails($node, 'not granted', "SET ROLE somebody; $call", '42501', qr/permission denied for function snowflake_forget_mark/);
$node->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION snowflake_forget_mark() TO somebody');
call_fails($node, 'granted', "SET ROLE somebody; $call", '42501', qr/must be superuser to forget the snowflake mark/);
clock_refuses($node, 'nothing has changed', 86_400);

my $offset = -s $node->logfile;
my ($status, $out, $warning) = $node->psql('postgres', $call);
is($status, 0, 'a superuser may');
like($warning, qr/WARNING:  snowflake IDs start from the system clock again/, 'it warns');
like($warning, qr/DETAIL:  This assumes that worker ID 2 has never issued an ID later than now\. If it has, IDs repeat\./, 'and says what it assumes');
my $log = log_since($node, $offset);
like($log, qr/LOG:  snowflake mark is to be forgotten, by role "\w+"/, 'the log says who');
like($log, qr/LOG:  snowflake mark was forgotten\n.*DETAIL:  It was .* and is .*; IDs are issued as worker 2\./, 'and what');

# From the clock, and durably so.
my @issued = ([ take_ids($node, 1000) ]);
cmp_ok(last_line($issued[0][0]), '<', last_line($future), 'IDs start from the clock again');
foreach my $stop ('immediate', 'fast')
{
	$node->stop($stop);
	$node->start;
	push @issued, [ take_ids($node, 1000) ];
}
cmp_ok(last_line($issued[-1][0]), '<', last_line($future), 'the old mark does not come back');
check_ids('after the mark was forgotten', @issued);
is(`cat $future $issued[0][0] $issued[1][0] $issued[2][0] | sort | uniq -d`, '', 'nor do IDs of the worker before');

$node->stop;
done_testing();
