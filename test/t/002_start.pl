# What stops the server, and what it says; where the worker ID comes from; what
# is decided at the start; and what functions say when the library is not
# preloaded or the layout is not the pinned one.
#
# Ruled out: a server that issues IDs with a worker ID or layout other than intended,
# because a number was read differently or a name was misspelt; one that starts or
# stops leasing its worker ID while it runs.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

delete $ENV{SNOWFLAKE_WORKER_ID};

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
my $plain = slurp_file($node->data_dir . '/postgresql.conf');

# Sets the configuration to what initdb made, plus these lines.
sub configure
{
	my (@lines) = @_;
	open my $fh, '>', $node->data_dir . '/postgresql.conf' or die $!;
	print $fh $plain, map { "$_\n" } "shared_preload_libraries = 'snowflake'", @lines;
	close $fh;
	return;
}

sub setting
{
	my ($column, $name) = @_;
	return $node->safe_psql('postgres', "SELECT $column FROM pg_settings WHERE name = 'snowflake.$name'");
}

# Nor does the server start with these command line options.
sub start_fails_with
{
	my ($name, $options, @patterns) = @_;
	my $offset = -s $node->logfile || 0;

	ok(!run_log([ 'pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, '-o', $options, 'start' ]),
		"$name: the server does not start");
	my $log = log_since($node, $offset);
	like($log, $_, "$name: says so") foreach @patterns;
	return;
}

# No worker ID from anywhere.
configure();
start_fails($node, 'no worker ID',
	qr/FATAL:  parameter "snowflake.worker_id" is not set/,
	qr/DETAIL: .*allowed: 0 to 1023/,
	qr/HINT:  Set "snowflake.worker_id" in postgresql.conf, or the environment variable "SNOWFLAKE_WORKER_ID"/);

# Out of range for the number of worker bits.
configure('snowflake.worker_id = 5000');
start_fails($node, 'worker ID 5000',
	qr/FATAL:  invalid value for parameter "snowflake.worker_id": "5000"/,
	qr/Allowed: 0 to 1023 in plain decimal digits, with "snowflake.worker_bits" = 10/,
	qr/HINT:  Correct "snowflake.worker_id"/);
configure('snowflake.worker_id = 16', 'snowflake.worker_bits = 4');
start_fails($node, 'worker ID 16 of 4 bits', qr/"snowflake.worker_id": "16"/, qr/0 to 15/);

# Out of range for the setting: PostgreSQL would go on with the next source.  Or
# not a plain number: PostgreSQL would take 8 for 010, and 1 for 1.4.
foreach my $bad ('70000', '-2', 'one', '99999999999', '1e9',
	'010', '0777', '08', '00', '0x10', '1.4', '7.6', '-0.4', '-0', '+5', '1e1', ' 5', '5 ', '5s', '-1', '')
{
	local $ENV{SNOWFLAKE_WORKER_ID} = '3';
	configure("snowflake.worker_id = '$bad'");
	start_fails($node, "worker ID '$bad' beside a good environment",
		qr/FATAL:  invalid value for parameter "snowflake.worker_id": "\Q$bad\E"/, qr/Allowed: 0 to 1023 in plain decimal digits/);
}
configure('snowflake.worker_id = 010');
start_fails($node, 'worker ID 010 without quotes', qr/FATAL:  invalid value for parameter "snowflake.worker_id": "010"/);
configure('snowflake.worker_id = 1');
start_fails_with("worker ID $_ on the command line", "-c snowflake.worker_id=$_",
	qr/FATAL:  invalid value for parameter "snowflake.worker_id": "\Q$_\E"/)
  foreach '010', '1.4', '-1', '1024';

# -1 does not stand for unset where a registry leases worker IDs, either.
configure(q{snowflake.worker_id = -1}, q{snowflake.registry = 'host=/nonexistent'});
start_fails($node, 'worker ID -1 beside a registry', qr/FATAL:  invalid value for parameter "snowflake.worker_id": "-1"/);

foreach my $bad ('', 'x', '1024', '-1', '1.5', ' 1', '0x1', '99999999999999999999',
	'010', '0777', '08', '00', '1 ', '+1', '1e1', '-0')
{
	local $ENV{SNOWFLAKE_WORKER_ID} = $bad;
	configure();
	start_fails($node, "environment '$bad'",
		qr/FATAL:  invalid value for environment variable "SNOWFLAKE_WORKER_ID": "\Q$bad\E"/,
		qr/Allowed: 0 to 1023 in plain decimal digits/, qr/HINT:  Correct "SNOWFLAKE_WORKER_ID"/);
}

foreach my $bad ('0', '17', 'ten', '012', '010', '0xA', '10.4', '1e1', '+10', ' 10', '10 ', '10kB', '-1', '')
{
	configure('snowflake.worker_id = 1', "snowflake.worker_bits = '$bad'");
	start_fails($node, "worker bits '$bad'",
		qr/FATAL:  invalid value for parameter "snowflake.worker_bits": "\Q$bad\E"/, qr/Allowed: 1 to 16 in plain decimal digits/);
}

# With fewer ID bits there is room for fewer worker bits, and not for the default.
foreach my $bad ('0', '52', '64', 'all', '053', '0x35', '53.0', '+53', ' 53', '53 ', '53kB', '-1', '')
{
	configure('snowflake.worker_id = 1', 'snowflake.worker_bits = 3', "snowflake.id_bits = '$bad'");
	start_fails($node, "ID bits '$bad'",
		qr/FATAL:  invalid value for parameter "snowflake.id_bits": "\Q$bad\E"/, qr/Allowed: 53 to 63 in plain decimal digits/);
}
foreach ([ 53, 10, 6 ], [ 53, 7, 6 ], [ 56, 10, 9 ], [ 62, 16, 15 ])
{
	my ($id_bits, $bits, $most) = @$_;

	configure('snowflake.worker_id = 1', "snowflake.id_bits = $id_bits", $bits == 10 ? () : "snowflake.worker_bits = $bits");
	start_fails($node, "$bits worker bits of $id_bits ID bits",
		qr/FATAL:  invalid value for parameter "snowflake.worker_bits": "$bits"/,
		qr/DETAIL:  Allowed: 1 to $most in plain decimal digits, with "snowflake.id_bits" = $id_bits\./);
}
configure('snowflake.worker_id = 8', 'snowflake.id_bits = 53', 'snowflake.worker_bits = 3');
start_fails($node, 'worker ID 8 of 3 bits', qr/"snowflake.worker_id": "8"/, qr/0 to 7/);

foreach my $bad ('', 'yesterday', '2023-02-30', '1969-12-31', ' 2023-01-01', '2023-01-01 ', '2023-1-1', '2023-01-01 00:00:00 CET')
{
	configure('snowflake.worker_id = 1', "snowflake.epoch = '$bad'");
	start_fails($node, "epoch '$bad'",
		qr/FATAL:  invalid value for parameter "snowflake.epoch": "\Q$bad\E"/);
}
configure('snowflake.worker_id = 1', "snowflake.epoch = '2091-01-01'");
start_fails($node, 'epoch in the future',
	qr/FATAL:  invalid value for parameter "snowflake.epoch": "2091-01-01"/, qr/in the future/);
foreach my $bad ('-1', '2h', '5 parsecs')
{
	configure('snowflake.worker_id = 1', "snowflake.max_ahead = '$bad'");
	start_fails($node, "max_ahead $bad",
		qr/FATAL:  invalid value for parameter "snowflake.max_ahead": "$bad"/, qr/0 to 1h/);
}

# A setting that does not exist, most likely misspelt: PostgreSQL would go on with the
# default, or with the environment.  It is reported before what is wrong because of it.
{
	local $ENV{SNOWFLAKE_WORKER_ID} = '5';

	foreach ([ 'snowflake.worker_bit', '14', 'worker_bits' ], [ 'snowflake.epoc', q{'2024-01-01'}, 'epoch' ],
		[ 'snowflake.workerid', '7', 'worker_id' ], [ 'snowflake.worker', '7', 'worker_id' ],
		[ 'Snowflake.WORKER_BIT', '14', 'worker_bits' ], [ 'snowflake.max_ahaed', '1s', 'max_ahead' ],
		[ 'snowflake.regsitry', q{''}, 'registry' ])
	{
		my ($name, $value, $meant) = @$_;

		configure("$name = $value");
		start_fails($node, $name, qr/FATAL:  unrecognized configuration parameter "$name"/,
			qr/DETAIL:  It is set in file ".*postgresql\.conf", line \d+\./,
			qr/HINT:  Perhaps you meant "snowflake\.$meant"\. Correct it, or remove it, and start the server again\./);
	}
}
configure('snowflake.workerid = 7');
start_fails($node, 'a worker ID under a wrong name', qr/FATAL:  unrecognized configuration parameter "snowflake.workerid"/);
configure('snowflake.worker_bit = 14', 'snowflake.worker_id = 5000');
start_fails($node, 'a worker ID that wants a setting with a wrong name', qr/FATAL:  unrecognized configuration parameter "snowflake.worker_bit"/);

# One of pgEdge's extension, and others that resemble none of ours.
my $known = join ', ', map { qq{"snowflake.$_"} } qw(epoch id_bits lease_duration max_ahead registry worker_bits worker_id);
foreach my $name ('snowflake.node', 'snowflake.foo', 'snowflake.x')
{
	configure('snowflake.worker_id = 1', "$name = 1");
	start_fails($node, $name, qr/FATAL:  unrecognized configuration parameter "$name"/,
		qr/HINT:  Remove it, and start the server again\. Known parameters are \Q$known\E\./);
}
configure('snowflake.worker_id = 1');
start_fails_with('unknown on the command line', '-c snowflake.foo=1',
	qr/FATAL:  unrecognized configuration parameter "snowflake.foo"/, qr/DETAIL:  It is set by the command line\./);
start_fails_with('misspelt on the command line', '-c snowflake.worker-bit=14',
	qr/FATAL:  unrecognized configuration parameter "snowflake.worker_bit"/, qr/HINT:  Perhaps you meant "snowflake\.worker_bits"/);

my $states = origin_states($node);
foreach my $few (0, 1)
{
	configure('snowflake.worker_id = 1', "$states = $few");
	start_fails($node, "replication states: $few",
		qr/FATAL:  invalid value for parameter "$states": "$few"/, qr/2 more than replication needs, on each standby/);
}

# Where the worker ID comes from.
{
	local $ENV{SNOWFLAKE_WORKER_ID} = '3';

	configure();
	$node->start;
	is(setting('setting', 'worker_id'), '3', 'the environment gives the worker ID');
	is(setting('source', 'worker_id'), 'environment variable', 'and is its source');
	$node->safe_psql('postgres', 'CREATE EXTENSION snowflake');
	is($node->safe_psql('postgres', 'SELECT snowflake_worker_id(snowflake_next())'), '3', 'it is in the ID');
	like(slurp_file($node->logfile), qr/LOG:  snowflake IDs are issued as worker 3 \(environment variable\), of 0 to 1023/, 'the log says so');
	like(slurp_file($node->logfile), qr/4096000 IDs a second, until 2092-09-06/, 'the log says what the layout allows');
	unlike(slurp_file($node->logfile), qr/HINT:  The generator takes two/, 'the log gives no hint where nothing is short');

	# Other prefixes are not ours.
	configure('snowflake.worker_id = 4', 'snowflakes.worker_bit = 1', 'snowflake_registry.worker_bit = 1');
	$node->restart;
	is(setting('setting', 'worker_id'), '4', 'the file wins over the environment');
	is(setting('source', 'worker_id'), 'configuration file', 'and is its source');
	is($node->safe_psql('postgres', 'SELECT snowflake_worker_id(snowflake_next())'), '4', 'it is in the ID');
}

# The smallest one, and the one that the command line gives.
configure('snowflake.worker_id = 0');
$node->restart;
is($node->safe_psql('postgres', 'SELECT snowflake_worker_id(snowflake_next())'), '0', 'worker ID 0');
$node->stop;
ok(run_log([ 'pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, '-o', '-c snowflake.worker_id=6', 'start' ]), 'start with an option');
is(setting('setting', 'worker_id') . ' ' . setting('source', 'worker_id'), '6 command line', 'the command line wins over the file');
is($node->safe_psql('postgres', 'SELECT snowflake_worker_id(snowflake_next())'), '6', 'it is in the ID');
ok(run_log([ 'pg_ctl', '-w', '-D', $node->data_dir, 'stop' ]), 'and stop');
configure('snowflake.worker_id = 4');
$node->start;

# What the server would not start with, ALTER SYSTEM does not take.
foreach my $bad ('worker_id = 65536', q{worker_id = '010'}, 'worker_id = 1.4', q{worker_id = '0x10'}, 'worker_id = 1e1', 'worker_id = -1', q{worker_id = ''},
	q{worker_id = ' 5'}, 'worker_bits = 17', 'worker_bits = 0', q{worker_bits = '012'}, 'worker_bits = 10.4',
	q{epoch = 'yesterday'}, q{max_ahead = '2h'})
{
	call_fails($node, "ALTER SYSTEM SET $bad", "ALTER SYSTEM SET snowflake.$bad", '22023', qr/invalid value for parameter "snowflake\.|is outside the valid range/);
}
isnt(scalar $node->psql('postgres', 'ALTER SYSTEM SET snowflake.worker_bit = 14'), 0, 'ALTER SYSTEM refuses what there is not');
ok(!-s $node->data_dir . '/postgresql.auto.conf' || slurp_file($node->data_dir . '/postgresql.auto.conf') !~ /snowflake/, 'nothing was written');

# Settings that fit together are accepted in any order, for one restart.
my $resized = new_node('resized');
foreach my $settings ([ 'worker_bits = 14', 'worker_id = 5000' ], [ 'worker_id = 5000', 'worker_bits = 14' ])
{
	my $name = join ', then ', @$settings;

	is(scalar $resized->psql('postgres', "ALTER SYSTEM SET snowflake.$_"), 0, "$name: ALTER SYSTEM takes $_") foreach @$settings;
	$resized->reload;
	ok( $resized->poll_query_until('postgres', q{
			SELECT count(*) = 2 FROM pg_settings WHERE name IN ('snowflake.worker_bits', 'snowflake.worker_id') AND pending_restart}),
		"$name: both wait for a restart");
	$resized->restart;
	is($resized->safe_psql('postgres', 'SELECT worker_id, worker_bits FROM snowflake_status()'), '5000|14', "$name: take effect");
	is(worker_of($resized), '5000', "$name: it is in the ID");
	$resized->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
	$resized->restart;
	is($resized->safe_psql('postgres', 'SELECT worker_id, worker_bits FROM snowflake_status()'), '1|10', "$name: back again");
}
is(scalar $resized->psql('postgres', 'ALTER SYSTEM SET snowflake.worker_id = 5000'), 0, 'a worker ID whose bits are to follow');
$resized->stop;
start_fails($resized, 'a worker ID without the bits for it', qr/FATAL:  invalid value for parameter "snowflake.worker_id": "5000"/,
	qr/Allowed: 0 to 1023 in plain decimal digits, with "snowflake.worker_bits" = 10/);

# A layout that is not the pinned one: every call says so, decoding included.
my $id = next_id($node);
$node->safe_psql('postgres', "CREATE TABLE pinned AS SELECT $id AS id");
foreach my $line ('snowflake.worker_bits = 9', "snowflake.epoch = '2023-01-02'")
{
	configure('snowflake.worker_id = 4', $line);
	$node->restart;
	foreach my $call ('snowflake_next()', 'snowflake_next(2)', "snowflake_decode($id)", "snowflake_timestamp($id)",
		"snowflake_worker_id($id)", "snowflake_sequence($id)", 'snowflake_forget_mark()')
	{
		my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");

		isnt($status, 0, "$line: $call fails");
		like($err, qr/ERROR:  55000: the configured snowflake layout does not match this cluster's IDs/, "$line: $call says why");
		like($err, qr/Pinned when the first ID was issued: epoch 2023-01-01 00:00:00\+00, 10 worker bits/, "$line: $call says what is pinned");
		like($err, qr/HINT:  Set "snowflake.epoch", "snowflake.worker_bits" and "snowflake.id_bits"/, "$line: $call says how to go back");
	}
}
configure('snowflake.worker_id = 4');
$node->restart;
cmp_ok(next_id($node), '>', $id, 'back again, IDs go on');

# Not preloaded: objects can be created, calls say what to do.
configure();
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->restart;
$node->safe_psql('postgres', q{
	CREATE DATABASE other;
	CREATE TABLE unloaded (id bigint DEFAULT snowflake_next() PRIMARY KEY)});
$node->safe_psql('other', 'CREATE EXTENSION snowflake');
foreach my $call ('snowflake_next()', 'snowflake_next(1)', 'snowflake_decode(1)', 'snowflake_forget_mark()')
{
	my ($status, $out, $err) = $node->psql('other', "\\set VERBOSITY verbose\nSELECT $call");

	isnt($status, 0, "not preloaded: $call fails");
	like($err, qr/ERROR:  55000: snowflake must be loaded via "shared_preload_libraries"/, "not preloaded: $call says why");
	like($err, qr/HINT:  Add snowflake to "shared_preload_libraries"/, "not preloaded: $call says what to do");
}
$node->command_ok([ 'pg_dump', '-f', $node->data_dir . '/dump.sql', 'postgres' ], 'not preloaded: a dump works');

# No worker process is left for the keeper.
configure('snowflake.worker_id = 4', 'max_worker_processes = 0');
$node->restart;
{
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT snowflake_next()");

	isnt($status, 0, 'no keeper: the call fails');
	like($err, qr/ERROR:  55000: could not issue a snowflake ID: the background worker did not respond in time/, 'no keeper: says so');
	like($err, qr/"snowflake keeper" is not running/, 'no keeper: says that there is none');
	like($err, qr/HINT: .*"max_worker_processes"/, 'no keeper: says what to look at');
}

# Replication origin states left for subscriptions: as many as they may want, or fewer.
foreach ([ 2, 1 ], [ 5, 1 ], [ 6, 0 ])
{
	my ($number, $short) = @$_;
	my $offset = -s $node->logfile;

	configure('snowflake.worker_id = 4', "$states = $number", 'max_logical_replication_workers = 4');
	$node->restart;
	cmp_ok(next_id($node), '>', $id, "replication states: $number are enough for IDs");
	my $log = log_since($node, $offset);
	like($log, qr/LOG:  snowflake IDs are issued as worker 4/, "replication states: $number: the log says what is issued");
	my $hint = qr/HINT:  The generator takes two of "$states" \($number\), which leaves fewer than "max_logical_replication_workers" \(4\)\. .* on each standby first/;
	$short ? like($log, $hint, "replication states: $number: a hint") : unlike($log, qr/generator takes two/, "replication states: $number: no hint");
}

# Whether the worker ID is leased is decided at the start.
configure('snowflake.worker_id = 4', q{snowflake.registry = 'host=/nonexistent'});
$node->reload;
ok( poll_until(sub { slurp_file($node->logfile) =~ /parameter "snowflake.registry" takes effect when the server is restarted/ }),
	'a registry that comes by a reload: noticed');
is(setting('setting', 'registry'), 'host=/nonexistent', 'a registry that comes by a reload: set');
is($node->safe_psql('postgres', 'SELECT state FROM snowflake_status()'), 'issuing', 'a registry that comes by a reload: not asked yet');
cmp_ok(next_id($node), '>', $id, 'a registry that comes by a reload: IDs are issued');
$node->restart;
ok($node->poll_query_until('postgres', q{SELECT state = 'no lease' AND lease_error ~ 'connection to server' FROM snowflake_status()}),
	'a registry, restarted: no lease');
configure('snowflake.worker_id = 4');
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT state = 'no lease' AND lease_error ~ '"snowflake.registry" is empty' FROM snowflake_status()}),
	'a registry that goes by a reload: still no lease');
call_fails($node, 'a registry that goes by a reload', 'SELECT snowflake_next()', '55000', qr/this server holds no lease of a worker ID/);
$node->restart;
cmp_ok(next_id($node), '>', $id, 'without a registry, restarted: IDs are issued');
$node->stop;

# An invalid connection string, which may have a password in it, is not repeated.
$node->append_conf('postgresql.conf', q{snowflake.registry = 'host=nowhere password=my secret'});
start_fails($node, 'a registry that cannot be', qr/FATAL:  invalid value for parameter "snowflake.registry": "\.\.\."\n.*DETAIL:  Allowed: a libpq connection string\./);
unlike(slurp_file($node->logfile), qr/secret/, 'a registry that cannot be: its password is not in the log');

done_testing();
