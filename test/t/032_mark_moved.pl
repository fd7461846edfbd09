# The high-water mark is moved by a role that may create, advance and drop
# replication origins, and has obtained the number of the mark's origin.  While IDs
# are issued it is lowered, dropped, and put on another timeline; a burst has taken
# the IDs a minute ahead of the clock, so that the clock alone would not be enough.
#
# Ruled out: a change that goes unnoticed; a keeper that continues from what it
# finds, so that IDs come twice after a crash; a mark that cannot be raised, and IDs
# that are issued anyway.
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
	autovacuum = off});
my @incarnations;

$node->safe_psql('postgres', q{
	CREATE ROLE meddler;
	GRANT EXECUTE ON FUNCTION pg_replication_origin_create(text), pg_replication_origin_drop(text),
		pg_replication_origin_advance(text, pg_lsn) TO meddler});

# That role can create origins until it has this number, which takes 65 000 of
# them.  The result is the same.
sub name_origin
{
	$node->safe_psql('postgres', q{
		SET allow_system_table_mods = on;
		INSERT INTO pg_replication_origin SELECT 65001, 'moved'
		 WHERE NOT EXISTS (SELECT FROM pg_replication_origin WHERE roident = 65001)});
	is($node->safe_psql('postgres', q{SELECT external_id FROM pg_replication_origin_status WHERE local_id = 65001}), 'moved',
		'the mark has a name');
	return;
}

sub meddle
{
	my ($sql) = @_;
	is(($node->psql('postgres', "SET ROLE meddler; SELECT $sql"))[0], 0, "a role that is no superuser: $sql");
	return;
}

foreach my $round (1, 2)
{
	foreach my $way (
		[ 'lowered', q{pg_replication_origin_advance('moved', '0/1')}, sub { mark_ms($node) < 0 } ],
		[ 'dropped', q{pg_replication_origin_drop('moved')},
			sub { $node->safe_psql('postgres', 'SELECT NOT EXISTS (SELECT FROM pg_replication_origin_status WHERE local_id = 65001)') eq 't' } ])
	{
		my ($name, $sql, $happened) = @$way;

		push @incarnations, [ burst($node) ];
		name_origin();
		my @takers = map { start_taker($node) } 1, 2;
		wait_for_ids($_, 200_000) foreach @takers;

		# The keeper must not be the first to look: then there would be nothing to see.
		my $offset = -s $node->logfile;
		my $keeper = pause_keeper($node);
		meddle($sql);
		ok($happened->(), "$name: so it is");
		resume_process($keeper, 'the keeper');
		ok( poll_until(sub {
				log_since($node, $offset) =~ /WARNING:  replication origin 65001 of snowflake was changed by another process\n.*DETAIL:  It was .*, and is now .*\.\n.*HINT:  Grant EXECUTE on functions that create, advance or drop replication origins to superusers only\./;
			}),
			"$name: the log warns");

		# By then the mark is raised again, or IDs wait for that.
		my $sizes = -s $takers[0]{file};
		ok(poll_until(sub { -s $takers[0]{file} > $sizes + 1_000_000 }), "$name: IDs go on");
		$node->stop('immediate');
		wait_for_end($_) foreach @takers;
		push @incarnations, [ map { $_->{file} } @takers ];
		$node->start;
		push @incarnations, [ take_ids($node, 1000) ];
	}
}
check_ids('the mark was moved', @incarnations);

# On a timeline that this server has not reached, as after one that went back.
name_origin();
meddle(q{pg_replication_origin_advance('moved', '0/0'::pg_lsn + (2 * power(2::numeric, 43) + extract(epoch FROM now()) * 1000)::numeric(20))});
ok( poll_until(sub {
		my ($status, $out, $err) = $node->psql('postgres', 'SELECT count(*) FROM (SELECT snowflake_next(1000000)) AS ids');
		return $err =~ /DETAIL:  The background worker "snowflake keeper" failed at .*: could not advance replication origin 65001 of snowflake\.\n/
		  && $err =~ /HINT:  The server went back to an earlier timeline\. Move the data to a new cluster, with a worker ID that has never been used\./;
	}),
	'another timeline: calls fail');
like(slurp_file($node->logfile), qr/ERROR:  could not advance replication origin 65001 of snowflake\n.*DETAIL:  It was written on timeline 3, and the server is on timeline 1\./,
	'another timeline: the log says which');
$node->restart;
call_fails($node, 'another timeline, restarted', 'SELECT snowflake_next()', '55000', qr/could not advance replication origin 65001 of snowflake/);

$node->stop;
done_testing();
