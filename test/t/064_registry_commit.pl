# What a holder was told is committed and flushed: no call in a transaction block, in
# any form, and no commit that does not wait for the flush.
#
# Ruled out: a lease that is taken back by a rollback, or that is lost in a crash
# because the caller's synchronous_commit is off; a plain call that is mistaken
# for one in a block.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $node = new_registry('registry', init => [ allows_streaming => 1 ], conf => 'max_prepared_transactions = 1');
set_up($node, "longest_lease => '1 h'");
my $lease    = q{SELECT * FROM snowflake_registry.lease('a')};
my $refusal  = qr/ERROR:  25001: a worker ID cannot be leased, renewed or released in a transaction block/;

sub leases
{
	return $node->safe_psql('postgres', 'SELECT changes FROM snowflake_registry.registry');
}

# Each statement of the text is one message.
sub by_messages
{
	my ($text) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$text", on_error_stop => 0);
	return ($out, $err);
}

# The whole text is one message.
sub by_one_message
{
	my ($text) = @_;
	my $result = run_log([ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'), '-c', $text ],
		'>', \my $out, '2>', \my $err);
	return ($out, $err);
}

# pgbench speaks the extended protocol.
sub by_pgbench
{
	my ($mode, $text) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/pgbench' . leases() . '.sql';

	unlink $file;
	append_to_file($file, $text);
	run_log([ 'pgbench', '-n', '-M', $mode, '-t', '2', '-f', $file, $node->connstr('postgres') ], '>', \my $out, '2>', \my $err);
	return ($out, $err);
}

sub refused
{
	my ($name, $before, undef, $err) = @_;
	# pgbench does not show the code.
	like($err, qr/a worker ID cannot be leased, renewed or released in a transaction block/, "$name: refused");
	is(leases(), $before, "$name: and nothing was leased");
	return;
}

sub allowed
{
	my ($name, $before, $n, undef, $err) = @_;
	unlike($err, qr/ERROR|aborted/, "$name: allowed");
	is(leases(), $before + $n, "$name: leased");
	return;
}

# The simple protocol.
my $held = lease($node, q{'held', '1 h'});
my $renew   = "SELECT * FROM snowflake_registry.renew('$held->{token}')";
my $release = "SELECT snowflake_registry.release('$held->{token}', now())";
foreach my $call ([ 'lease', $lease ], [ 'renew', $renew ], [ 'release', $release ])
{
	my ($name, $sql) = @$call;
	my (undef, $err) = by_messages("BEGIN; $sql; ROLLBACK;");

	like($err, $refusal, "$name in a block: refused");
	refused("$name in one message", leases(), by_one_message("SELECT 1; $sql"));
}
refused('a block that would commit',      leases(), by_messages("BEGIN; SELECT 1; $lease; COMMIT;"));
refused('before another statement',       leases(), by_one_message("$lease; SELECT 1"));
refused('a block within one message',     leases(), by_one_message("BEGIN; $lease; ROLLBACK"));
refused('behind a comment',               leases(), by_one_message("SELECT 1 /* ' */; $lease -- '"));
refused('behind a dollar quote',          leases(), by_one_message("SELECT \$\$'\$\$; $lease -- '"));
refused('DO with a block of its own',     leases(), by_one_message("DO \$\$ BEGIN PERFORM snowflake_registry.lease('a'); END \$\$"));
refused('a cursor',                       leases(), by_messages("BEGIN; DECLARE c CURSOR FOR $lease; FETCH c; COMMIT;"));
refused('a prepared statement in a block', leases(), by_messages("PREPARE p AS $lease; BEGIN; EXECUTE p; COMMIT;"));
refused('a savepoint',                    leases(), by_messages("BEGIN; SAVEPOINT s; $lease; RELEASE s; COMMIT;"));
$node->safe_psql('postgres', q{
	CREATE PROCEDURE later() LANGUAGE plpgsql AS $$ BEGIN COMMIT; PERFORM snowflake_registry.lease('a'); END $$;
	CREATE FUNCTION inside() RETURNS SETOF snowflake_registry.leased LANGUAGE SQL AS $$ SELECT * FROM snowflake_registry.lease('a') $$});
refused('a later transaction of a procedure', leases(), by_messages('CALL later();'));

allowed('a statement',                leases(), 1, by_messages("$lease;"));
allowed('one message',                leases(), 1, by_one_message($lease));
allowed('one message, its end marked', leases(), 1, by_one_message("$lease; "));
allowed('a semicolon in the name',    leases(), 1, by_messages(q{SELECT * FROM snowflake_registry.lease('a;"b'';c');}));
allowed('after a block',              leases(), 1, by_messages("BEGIN; SELECT 1; COMMIT; $lease;"));
allowed('a prepared statement',       leases(), 1, by_messages("PREPARE p AS $lease; EXECUTE p;"));
allowed('through a function',         leases(), 1, by_messages('SELECT * FROM inside();'));
allowed('several in one statement',   leases(), 3,
	by_messages(q{SELECT l.* FROM generate_series(1, 3) AS n, snowflake_registry.lease('a' || n) AS l;}));

# The extended protocol.  A block that begins in the same second is found by its end.
foreach my $mode ('extended', 'prepared')
{
	allowed("$mode: a statement", leases(), 2, by_pgbench($mode, "$lease;\n"));
	allowed("$mode: with a parameter", leases(), 2,
		by_pgbench($mode, "\\set n random(1, 9)\nSELECT * FROM snowflake_registry.lease('a;' || :n);\n"));
	allowed("$mode: a pipeline of its own", leases(), 2, by_pgbench($mode, "\\startpipeline\n$lease;\n\\endpipeline\n"));
	refused("$mode: a block", leases(), by_pgbench($mode, "BEGIN;\n$lease;\nCOMMIT;\n"));
	refused("$mode: a long block", leases(), by_pgbench($mode, "BEGIN;\nSELECT pg_sleep(1.1);\n$lease;\nROLLBACK;\n"));
	refused("$mode: a block that is prepared", leases(), by_pgbench($mode, "BEGIN;\n$lease;\nPREPARE TRANSACTION 'p';\n"));
	refused("$mode: a pipeline, last", leases(), by_pgbench($mode, "\\startpipeline\nSELECT pg_sleep(1.1);\n$lease;\n\\endpipeline\n"));
	refused("$mode: a pipeline, first", leases(), by_pgbench($mode, "\\startpipeline\n$lease;\nSELECT 1;\n\\endpipeline\n"));
	refused("$mode: a pipeline of two", leases(), by_pgbench($mode, "\\startpipeline\n$lease;\n$lease;\n\\endpipeline\n"));
}

# Whatever the caller's synchronous_commit is: with a synchronous standby that is
# absent, each call waits for it.
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'absent'");
$node->reload;

# Runs a statement; returns whether it came to wait for the standby, what it
# printed and what it said, when it was cancelled.
sub waits
{
	my ($name, $sql) = @_;
	my ($out, $err, $waits) = ('', '', 'f');
	my $run = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ." application_name=$name", '-c', $sql ],
		'>', \$out, '2>', \$err);

	poll_until(sub {
		$waits = $node->safe_psql('postgres', qq{
			SELECT count(pg_cancel_backend(pid)) > 0 FROM pg_stat_activity
			 WHERE application_name = '$name' AND wait_event = 'SyncRep'});
		$run->pump_nb;
		return $waits eq 't' || !$run->pumpable;
	});
	$run->finish;
	return ($waits, $out, $err);
}

# The setting takes a moment.
ok(poll_until(sub { (waits('probe', q{SELECT pg_logical_emit_message(true, '', '')}))[0] eq 't' }), 'commits wait for a standby');
foreach my $setting ('off', 'local', 'remote_write', 'remote_apply')
{
	local $ENV{PGOPTIONS} = "-c synchronous_commit=$setting";
	my ($waits, $out, $err) = waits("lease-$setting", $lease);

	is($waits, 't', "lease with synchronous_commit = $setting: waits for the standby");
	like($err, qr/WARNING:  canceling wait for synchronous replication/, 'and for nothing else');
	my ($token) = $out =~ /\|([-0-9a-f]{36})\|/;

	($waits, $out) = waits("renew-$setting", "SELECT * FROM snowflake_registry.renew('$token')");
	is($waits, 't', "renew with synchronous_commit = $setting: waits");
	($token) = $out =~ /\|([-0-9a-f]{36})\|/;
	($waits) = waits("release-$setting", "SELECT snowflake_registry.release('$token', now())");
	is($waits, 't', "release with synchronous_commit = $setting: waits");
}
foreach my $call (q{reserve(1000, 'a')}, 'unreserve(1000)', 'fence()')
{
	local $ENV{PGOPTIONS} = '-c synchronous_commit=off';
	my ($name) = $call =~ /(\w+)/;
	my ($waits) = waits($name, "SELECT snowflake_registry.$call");

	is($waits, 't', "$call with synchronous_commit = off: waits");
}

$node->stop;
done_testing();
