# What a holder was told is committed and flushed: lease() and renew() commit by
# themselves, and answer after that, or fail where they cannot.
#
# Ruled out: a lease that is taken back by a rollback, or that is lost in a crash
# because the caller's synchronous_commit is off; an answer, by the procedures or by
# their two steps, for what can still be rolled back; a plain call that is mistaken
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
my $lease    = q{CALL snowflake_registry.lease('a')};
my $refusal  = qr/ERROR:  25001: a worker ID cannot be leased or renewed in a transaction block/;

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
	like($err, qr/a worker ID cannot be leased or renewed in a transaction block/, "$name: refused");
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
my $renew = "CALL snowflake_registry.renew('$held->{token}')";
foreach my $call ([ 'lease', $lease ], [ 'renew', $renew ])
{
	my ($name, $sql) = @$call;
	my (undef, $err) = by_messages("BEGIN; $sql; ROLLBACK;");

	like($err, $refusal, "$name in a block: refused");
	refused("$name in one message", leases(), by_one_message("SELECT 1; $sql"));
}

# PL/pgSQL wants a variable for each result.
my $declared = 'DECLARE w integer; t uuid; f timestamptz; u timestamptz; b integer; e timestamptz; r uuid; i integer;';
my $called   = q{CALL snowflake_registry.lease('a', '1 h', w, clock_timestamp(), t, f, u, b, e, r, i);};
$node->safe_psql('postgres', qq{
	CREATE PROCEDURE taken_back() LANGUAGE plpgsql AS \$\$ $declared BEGIN COMMIT; $called ROLLBACK; END \$\$;
	CREATE PROCEDURE handled() LANGUAGE plpgsql AS \$\$ $declared
	BEGIN
		$called
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN NULL;
	END \$\$;
	CREATE FUNCTION inside() RETURNS void LANGUAGE plpgsql AS \$\$ $declared BEGIN $called END \$\$});
refused('a block that would commit',      leases(), by_messages("BEGIN; SELECT 1; $lease; COMMIT;"));
refused('a block that has just begun',    leases(), by_messages("BEGIN; $lease; COMMIT;"));
refused('before another statement',       leases(), by_one_message("$lease; SELECT 1"));
refused('a block within one message',     leases(), by_one_message("BEGIN; $lease; ROLLBACK"));
refused('a prepared statement in a block', leases(), by_messages("BEGIN; PREPARE p AS SELECT 1; $lease; COMMIT;"));
refused('a savepoint',                    leases(), by_messages("BEGIN; SAVEPOINT s; $lease; RELEASE s; COMMIT;"));
refused('a function',                     leases(), by_messages('SELECT inside();'));
refused('a procedure with a handler',     leases(), by_messages('CALL handled();'));
allowed('a statement',                leases(), 1, by_messages("$lease;"));
allowed('one message',                leases(), 1, by_one_message($lease));
allowed('one message, its end marked', leases(), 1, by_one_message("$lease; "));
allowed('a semicolon in the name',    leases(), 1, by_messages(q{CALL snowflake_registry.lease('a;"b'';c');}));
allowed('after a block',              leases(), 1, by_messages("BEGIN; SELECT 1; COMMIT; $lease;"));
allowed('a setting of somebody else', leases(), 1, by_messages("SET snowflake_registry.called = '1'; $lease;"));

# Taken back by whoever called it: what was leased stays leased.
allowed('a procedure that rolls back', leases(), 1, by_messages('CALL taken_back();'));
allowed('a DO that rolls back',       leases(), 1,
	by_messages("DO \$\$ $declared BEGIN w := 900; $called ROLLBACK; END \$\$;"));
is($node->safe_psql('postgres', 'SELECT token IS NOT NULL FROM snowflake_registry.worker WHERE worker_id = 900'), 't', 'and stays');

# At each isolation level.
foreach my $level ('repeatable read', 'serializable')
{
	local $ENV{PGOPTIONS} = '-c default_transaction_isolation=' . $level =~ s/ /\\ /r;
	allowed($level, leases(), 1, by_messages("$lease;"));
}

# The extended protocol.
foreach my $mode ('extended', 'prepared')
{
	allowed("$mode: a statement", leases(), 2, by_pgbench($mode, "$lease;\n"));
	allowed("$mode: with a parameter", leases(), 2,
		by_pgbench($mode, "\\set n random(1, 9)\nCALL snowflake_registry.lease('a;' || :n);\n"));
	allowed("$mode: a pipeline of its own", leases(), 2, by_pgbench($mode, "\\startpipeline\n$lease;\n\\endpipeline\n"));
	refused("$mode: a block", leases(), by_pgbench($mode, "BEGIN;\n$lease;\nCOMMIT;\n"));
	refused("$mode: a block that rolls back", leases(), by_pgbench($mode, "BEGIN;\n$lease;\nROLLBACK;\n"));
	refused("$mode: a long block", leases(), by_pgbench($mode, "BEGIN;\nSELECT pg_sleep(1.1);\n$lease;\nROLLBACK;\n"));
	refused("$mode: a block that is prepared", leases(), by_pgbench($mode, "BEGIN;\n$lease;\nPREPARE TRANSACTION 'p';\n"));
}

# By hand, in two steps: there is no answer in the transaction that proposed.
my $propose = q{SELECT snowflake_registry.propose_lease('hand', '1 h', NULL, clock_timestamp()) AS p \gset};
my $confirm = q{SELECT (l).worker_id FROM snowflake_registry.confirm(:'p') AS l};
foreach my $block (
	[ 'a block', "BEGIN; $propose\n$confirm; COMMIT;" ],
	[ 'a savepoint', "BEGIN; SAVEPOINT s; $propose\nRELEASE s; SAVEPOINT t; $confirm; COMMIT;" ],
	[ 'a cursor', "BEGIN; $propose\nDECLARE c CURSOR FOR $confirm; FETCH c; COMMIT;" ],
	[ 'a block at REPEATABLE READ', "BEGIN ISOLATION LEVEL REPEATABLE READ; $propose\n$confirm; COMMIT;" ],
	[ 'one statement', q{SELECT snowflake_registry.confirm(snowflake_registry.propose_lease('hand', '1 h', NULL, clock_timestamp()));} ])
{
	my ($name, $sql) = @$block;
	my ($out, $err) = by_messages($sql);

	like($err, qr/ERROR:  (?:25001: a lease cannot be confirmed in the transaction that proposed it|SR001: this proposal does not belong)/, "by hand, $name: refused");
	is($out, '', "by hand, $name: no answer");
}
my ($hand, $hand_error) = by_messages("BEGIN; $propose\nROLLBACK; $confirm;");
like($hand_error, qr/ERROR:  SR001: this proposal does not belong to a current lease/, 'by hand, rolled back: refused');
($hand, $hand_error) = by_messages("$propose\n$confirm;");
like($hand, qr/^\d+$/, 'by hand, committed: a lease');

# Nobody keeps the registry locked: a proposal in a block that idles ends by itself.
{
	my $idle = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ], '<', \my $in, '>', \my $out, '2>', \my $err);

	$in = "BEGIN; SELECT 'locked' FROM snowflake_registry.propose_lease('idle', '1 h', NULL, clock_timestamp());\n";
	ok(poll_until(sub { $idle->pump_nb; $out =~ /locked/ }), 'a session idles in a transaction that has locked the registry');
	my (undef, $waited) = by_messages("$lease;");
	like($waited, qr/^$|ERROR:  55P03: canceling statement due to lock timeout/, 'others wait for some seconds at most');
	ok(poll_until(sub { ((by_messages("$lease;"))[1] // '') !~ /ERROR/ }), 'and it ends by itself');
	$in = "SELECT 1;\n";
	eval { $idle->finish };
	like($err, qr/terminating connection due to idle-in-transaction timeout/, 'it was ended');
}

# Releasing is safe anywhere: if it is rolled back, the lease goes on.
my $given = lease($node, q{'given', '1 h'});
by_messages("BEGIN; SELECT snowflake_registry.release('$given->{token}', now()); ROLLBACK;");
ok(renew($node, $given), 'given back, and rolled back: it can be renewed');

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

	($waits, $out) = waits("renew-$setting", "CALL snowflake_registry.renew('$token')");
	is($waits, 't', "renew with synchronous_commit = $setting: waits");
	($token) = $out =~ /^([-0-9a-f]{36})\|/;
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
