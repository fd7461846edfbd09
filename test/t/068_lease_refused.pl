# Registries that have another layout, are not the same one as before, or answer with
# what no registry should: wrong types, absurd numbers, huge texts, no row, or
# nothing at all.
#
# Ruled out: a lease that is trusted unchecked; an answer that ends the keeper, crashes
# the server or makes it issue an ID twice.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $registry = new_registry('registry');
set_up($registry);
my $node = new_node('main', registry => $registry, conf => q{
	snowflake.lease_duration = 1s});
my @incarnations = ([ take_ids($node, 1000) ]);

# Points the server at a database of the registry's server, with a reload.
my $uses = 0;
sub use_database
{
	my ($database) = @_;
	my $connstr = $registry->connstr($database) =~ s/'/''/gr;

	# Another name each time: a new one is tried at once.
	$connstr .= ' application_name=use' . ++$uses;

	$node->append_conf('postgresql.conf', "snowflake.registry = '$connstr'");
	$node->reload;
	return;
}

# Calls fail, and say that of the registry.
# There is no lease to continue with, so all calls fail.
sub refuses
{
	my ($name, $why) = @_;
	my $err;

	ok( poll_until(sub {
			(undef, undef, $err) = $node->psql('postgres', 'SELECT snowflake_next()');
			return $err =~ $why;
		}),
		"$name: refused, with the reason") or diag($err);
	return;
}

sub goes_on
{
	my ($name) = @_;
	my $offset = -s $node->logfile;

	use_database('postgres');
	goes_on_by_itself($node, "$name: with the right registry IDs go on");
	like(log_since($node, $offset), qr/LOG:  snowflake registry is granting leases again/, "$name: the log says so");
	push @incarnations, [ take_ids($node, 1000) ];
	return;
}

# Has the liar answer with what is right, but for these columns, to renew() if that is
# not an answer of its own.  A column is an expression, or a type and an expression.
my $right;
my %type = (
	worker_id => 'integer', token => 'uuid', valid_from => 'timestamptz', valid_until => 'timestamptz',
	worker_bits => 'integer', epoch => 'timestamptz', registry => 'uuid', id_bits => 'integer');

sub liar
{
	my ($procedure, %row) = @_;
	my %types = map { $_ => ref $row{$_} ? $row{$_}[0] : $type{$_} } keys %type;
	my $result = sub { join '', map { ", INOUT $_ $types{$_} DEFAULT NULL" } @_ };
	my $body = join '', map { "$_ := " . (ref $row{$_} ? $row{$_}[1] : $row{$_}) . '; ' } sort keys %type;
	my $arguments = $procedure eq 'lease'
	  ? "holder text, duration interval, INOUT worker_id $types{worker_id}, asker_now timestamptz" . $result->(qw(token valid_from valid_until worker_bits epoch registry id_bits))
	  : "INOUT token $types{token}, duration interval, asker_now timestamptz, INOUT registry $types{registry}, attempt uuid"
	  . $result->(qw(worker_id valid_from valid_until worker_bits epoch id_bits));

	return qq{
		DROP PROCEDURE IF EXISTS snowflake_registry.$procedure;
		CREATE PROCEDURE snowflake_registry.$procedure($arguments) LANGUAGE plpgsql AS \$\$ BEGIN $body END \$\$;};
}

sub answer
{
	my ($lie, $renewal) = @_;
	my %row = (%$right, %$lie);

	# A renewal passes on the token and the registry, so they have to be UUIDs.
	$registry->safe_psql('liar', liar('lease', %row) . liar('renew', %row, map({ ref $row{$_} ? ($_ => $right->{$_}) : () } qw(token registry)), %{ $renewal // {} }));
	return;
}

sub logs
{
	my ($server, $offset, $name, $pattern) = @_;
	ok(poll_until(sub { log_since($server, $offset) =~ $pattern }), "$name: the log says so");
	return;
}

# Another layout, another epoch, another registry.
foreach (
	[ 'layout',  'worker_bits => 11', qr/it has another layout: epoch 2023-01-01 00:00:00\+00, 11 worker bits of 63; configured here: epoch 2023-01-01 00:00:00\+00, 10 worker bits of 63/ ],
	[ 'width',   'worker_bits => 10, id_bits => 62', qr/it has another layout: epoch 2023-01-01 00:00:00\+00, 10 worker bits of 62; configured here/ ],
	[ 'epoch',   "epoch => '2024-01-01 00:00:00Z'", qr/it has another layout: epoch 2024-01-01 00:00:00\+00, 10 worker bits of 63; configured here: epoch 2023-01-01/ ],
	[ 'another', '', qr/it is not the same registry as before: it is ([0-9a-f-]{36}), but file "snowflake_registry" in the data directory has (?!\1)[0-9a-f-]{36}/ ])
{
	my ($database, $setup, $why) = @$_;

	$registry->safe_psql('postgres', "CREATE DATABASE $database");
	$registry->safe_psql($database, "CREATE EXTENSION snowflake_registry; SELECT snowflake_registry.setup($setup)");
	use_database($database);
	refuses("another $database, to renew", qr/the lease belongs to another registry: It belongs to registry [0-9a-f-]{36}, and this is registry /);
	$node->stop('immediate');
	$node->start;
	refuses("another $database", $why);
	is($registry->safe_psql($database, 'SELECT fence_needed IS NULL FROM snowflake_registry.registry'), 't',
		"another $database: it goes on for its own");
	goes_on("another $database");
}
my $uuid = $registry->safe_psql('postgres', 'SELECT uuid FROM snowflake_registry.registry');
is(slurp_file($node->data_dir . '/snowflake_registry'), $uuid, 'the file names the registry');

# A registry that is not one.
$right = {
	worker_id   => '1',
	token       => 'gen_random_uuid()',
	valid_from  => q{date_trunc('ms', clock_timestamp())},
	valid_until => q{date_trunc('ms', clock_timestamp() + '1 s')},
	worker_bits => '10',
	epoch       => "timestamptz '2023-01-01 00:00:00Z'",
	registry    => "'$uuid'::uuid",
	id_bits     => '63' };
my $values = qr/its answer has values that are impossible for a lease/;
my $form   = qr/its answer does not have the form of a lease/;

$registry->safe_psql('postgres', 'CREATE DATABASE liar');
$registry->safe_psql('liar', 'CREATE SCHEMA snowflake_registry');
my @lies = (
	[ 'a worker ID that is negative', { worker_id => '-1' }, $values ],
	[ 'one that the layout has not', { worker_id => '1024' }, $values ],
	[ 'one of another type', { worker_id => [ bigint => '7' ] }, $form ],
	[ 'one that is NULL', { worker_id => 'NULL' }, $form ],
	[ 'a token that is a huge text', { token => [ text => q{repeat('a', 50000000)} ] }, $form ],
	[ 'a token that is a text', { token => [ text => 'gen_random_uuid()::text' ] }, $form ],
	[ 'a token that is empty', { token => [ text => q{''} ] }, $form ],
	[ 'a token of another length', { token => [ bytea => q{'\x00'} ] }, $form ],
	[ 'a time that is a number', { valid_until => [ bigint => '0' ] }, $form ],
	[ 'a time that is no whole millisecond', { valid_until => "date_trunc('ms', clock_timestamp()) + interval '1 s 1 us'" }, $values ],
	[ 'a lease that is over before it begins', { valid_until => "date_trunc('ms', clock_timestamp() - interval '1 d')" }, $values ],
	[ 'a lease before the epoch', { valid_from => "timestamptz '1980-01-01'", valid_until => "timestamptz '1980-01-02'" }, $values ],
	[ 'a lease for ever', { valid_until => "timestamptz 'infinity'" }, $values ],
	[ 'a lease after all time', { valid_until => "timestamptz '2200-01-01'" }, $values ],
	[ 'worker bits that are absurd', { worker_bits => '1000000' }, $values ],
	[ 'ID bits that are absurd', { id_bits => '64' }, $values ],
	[ 'ID bits that leave the worker too few', { id_bits => '56' }, $values ],
	[ 'a registry that is no UUID', { registry => [ text => q{'that one'} ] }, $form ],
	[ 'no row', undef, $form ],
	[ 'an error', { worker_id => '1 / 0' }, qr/division by zero/ ],
	[ 'a FATAL error', { worker_id => '(SELECT pg_terminate_backend(pg_backend_pid())::int)' }, qr/terminating connection due to administrator command/ ],
	[ 'no answer', { worker_id => '(SELECT 1 FROM pg_sleep(600))' }, qr/it did not answer in time/ ]);
foreach (@lies)
{
	my ($name, $lie, $why) = @$_;

	$lie ? answer($lie) : $registry->safe_psql('liar', q{
		DROP PROCEDURE snowflake_registry.lease;
		CREATE PROCEDURE snowflake_registry.lease(holder text, duration interval, worker_id integer, asker_now timestamptz)
		LANGUAGE plpgsql AS 'BEGIN END'});
	use_database('liar');
	if ($name eq $lies[0][0])
	{
		$node->stop('immediate');
		$node->start;
	}
	refuses($name, $why);
}
ok($registry->poll_query_until('liar', q{SELECT bool_and(pg_terminate_backend(pid)) IS NOT FALSE FROM pg_stat_activity WHERE wait_event = 'PgSleep'}),
	'whoever still sleeps is ended');
goes_on('a liar');

# The setting is emptied while there is a lease: it lasts to its end.
my $offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "snowflake.registry = ''");
$node->reload;
refuses('no registry any more', qr/DETAIL:  The lease of worker ID \d+ ended at .*: "snowflake.registry" is empty\./);
logs($node, $offset, 'no registry any more', qr/WARNING:  could not lease a snowflake worker ID: "snowflake.registry" is empty\n/);
goes_on('no registry any more');

# One that renews a lease other than ours.
answer({});
use_database('liar');
foreach my $renewal (
	[ 'another worker ID', { worker_id => 2 } ],
	[ 'an earlier end', { map { $_->[0] => "date_trunc('ms', clock_timestamp() - interval '$_->[1] h')" } [ valid_until => 1 ], [ valid_from => 2 ] } ])
{
	my ($name, $lie) = @$renewal;

	answer({ valid_until => "date_trunc('ms', clock_timestamp() + '3 s')" }, $lie);
	$node->stop('immediate');
	$offset = -s $node->logfile;
	$node->start;
	push @incarnations, [ take_ids($node, 1000) ];
	is(worker_of($node), 1, "a renewal with $name: the lease was taken");
	logs($node, $offset, "a renewal with $name",
		qr/WARNING:  could not lease a snowflake worker ID: it answered a renewal with a different lease\n.*DETAIL:  The lease of worker ID 1 ends at /);
	refuses("a renewal with $name", qr/DETAIL:  The lease of worker ID 1 ended at .*: it answered a renewal with a different lease\./);
}

# A liar who deals the same worker ID again and again, with times of the past: our
# own mark is above.
answer({ valid_from => $right->{epoch}, valid_until => q{date_trunc('ms', clock_timestamp() + interval '1 d')} });
$registry->safe_psql('liar', q{
	DROP PROCEDURE snowflake_registry.renew;
	CREATE PROCEDURE snowflake_registry.renew(token uuid, duration interval, asker_now timestamptz, registry uuid, attempt uuid)
	LANGUAGE plpgsql AS $$BEGIN RAISE SQLSTATE 'SR001'; END$$});
use_database('liar');
ok(poll_until(sub { ($node->psql('postgres', 'SELECT snowflake_worker_id(snowflake_next())'))[1] eq '1' }), 'a lease again and again: taken');
push @incarnations, [ take_ids($node, 1000) ];
foreach (1 .. 3)
{
	$node->stop('immediate');
	$node->start;
	push @incarnations, [ take_ids($node, 100_000) ];
}
check_ids('whatever the registry says', @incarnations);
unlike(slurp_file($node->logfile), qr/was terminated by signal|exited with exit code [02-9]|ERROR:  XX000/, 'nothing has crashed');

# It does not know how to take a lease back.
$offset = -s $node->logfile;
$node->stop('fast');
like(log_since($node, $offset), qr/LOG:  could not give back the lease of snowflake worker ID 1\n.*DETAIL:  It ends by itself at /,
	'a lease that is not taken back: the log says so');

# A worker ID that is configured, and another one that is granted.
answer({});
my $fixed = new_node('fixed', worker_id => 5, start => 0);
$fixed->append_conf('postgresql.conf', "snowflake.registry = '" . $registry->connstr('liar') =~ s/'/''/gr . "'");
$fixed->start;
$fixed->safe_psql('postgres', 'CREATE EXTENSION snowflake');
call_fails($fixed, 'another worker ID than the configured one', 'SELECT snowflake_next()', '55000',
	qr/this server holds no lease of a worker ID/,
	qr/DETAIL:  None has been granted yet\. The last request to the registry failed at .*: it granted a worker ID other than the configured one\./);
answer({ worker_id => 5 });
goes_on_by_itself($fixed, 'with the configured one IDs go on');
is(worker_of($fixed), 5, 'as that worker');
$fixed->stop;

# The file that remembers the registry cannot be written.
my $blocked = new_node('blocked', registry => $registry, start => 0);
my $temporary = $blocked->data_dir . '/snowflake_registry.tmp';
ok(mkdir($temporary), 'a directory is in the way');
$blocked->start;
logs($blocked, 0, 'the file cannot be written', qr/ERROR:  could not write file "snowflake_registry.tmp": Is a directory/);
$blocked->safe_psql('postgres', 'CREATE EXTENSION snowflake');
call_fails($blocked, 'the file cannot be written', 'SELECT snowflake_next()', '55000', qr/this server holds no lease of a worker ID/);
ok(rmdir($temporary), 'it is not in the way any more');
goes_on_by_itself($blocked, 'IDs go on when the file can be written');
is(slurp_file($blocked->data_dir . '/snowflake_registry'), $uuid, 'and it is there');
$blocked->stop;

$registry->stop('immediate');
done_testing();
