# Where the high-water mark lives: in two of the server's replication origin states,
# whose number is limited.
#
# Ruled out: a mark that is lost, or not found again, because the states are too
# few or all taken, and a server that then starts from its clock; a mark that is
# still on its way to the disk when IDs below it are given out.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

# For a long time only the keeper flushes WAL.
my $settings = q{
	snowflake.worker_bits = 16
	snowflake.max_ahead = 1h
	wal_writer_delay = 10s
	autovacuum = off};
my $node = new_node('main', conf => $settings);
my $states = origin_states($node);
my @incarnations;

sub set_states
{
	my ($n) = @_;
	$node->append_conf('postgresql.conf', "$states = $n");
	return;
}

sub take_origin
{
	my ($server, $name) = @_;
	return $server->psql('postgres',
		"SELECT pg_replication_origin_create('$name');
		 SELECT pg_replication_origin_advance('$name', '0/1')");
}

# The mark was flushed before IDs below it were given out.
push @incarnations, [ burst($node) ];
$node->stop('immediate');
$node->start;
push @incarnations, [ take_ids($node, 1000) ], [ burst($node) ];

# States that others take do not affect these two.
set_states(3);
$node->restart;
is((take_origin($node, 'first'))[0], 0, 'a third state is somebody else\'s');
my (undef, undef, $error) = take_origin($node, 'second');
like($error, qr/could not find free replication state slot/, 'there is no fourth');
push @incarnations, [ take_ids($node, 1000) ], [ burst($node) ];
is( $node->safe_psql('postgres', 'SELECT local_id, external_id FROM pg_replication_origin_status ORDER BY 1'),
	"1|first\n65001|\n65002|", 'the two stand beside it');
ok($node->psql('postgres', "SELECT pg_replication_origin_drop('first')") == 0, 'it can go again');
$node->safe_psql('postgres', 'SELECT pg_replication_origin_create(\'third\')');
$node->safe_psql('postgres', "SELECT pg_replication_origin_advance('third', '0/1')");

# Lowered: the server does not start, and loses nothing until it is raised again.
foreach my $few ([ 0, qr/FATAL:  invalid value for parameter "$states": "0"/ ],
	[ 1, qr/FATAL:  invalid value for parameter "$states": "1"/ ],
	[ 2, qr/PANIC:  could not find free replication state, increase "?$states"?/ ])
{
	my ($n, $message) = @$few;
	foreach my $stop ('fast', 'immediate')
	{
		$node->stop($stop);
		set_states($n);
		start_fails($node, "$n states after $stop", $message);
		set_states(3);
		$node->start;
		push @incarnations, [ take_ids($node, 1000) ], [ burst($node) ];
	}
}
check_ids('states lowered and raised', @incarnations);
$node->stop;

# All states are taken before the extension is created.
my $full = new_node('full', start => 0, conf => "$settings\n$states = 2");
$full->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$full->start;
is((take_origin($full, $_))[0], 0, "$_ takes a state") foreach 'first', 'second';
$full->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'");
$full->restart;
$full->safe_psql('postgres', 'CREATE EXTENSION snowflake');
call_fails($full, 'no state left', 'SELECT snowflake_next()', '55000',
	qr/could not issue a snowflake ID: the background worker did not respond in time/,
	qr/"snowflake keeper" failed at .*: could not find free replication state slot for replication origin with ID 65001/,
	qr/HINT:  Increase "?$states"? and try again/);
ok($full->psql('postgres', "SELECT pg_replication_origin_drop('$_')") == 0, "$_ gives it back") foreach 'first', 'second';
goes_on_by_itself($full, 'IDs go on by themselves');
$full->stop;

done_testing();
