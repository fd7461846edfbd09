# The outbox of doc/tail.md: while slow transactions write messages, its relays are
# killed at random, and the servers, too.  The target gets each committed message
# once and in the order of the IDs; so does a consumer that may get some again.  A
# relay that does without the horizon misses messages in the same run.
#
# Ruled out: a message that a relay passes because it is committed late; a position
# that is stored before, or without, the messages; a relay that was killed, and
# whose last statement still delivers after the next one has.
#
# OUTBOX_SECONDS=…  for how long, instead of 12 s.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use Page;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{OUTBOX_SECONDS} || 12;
my $seed    = $ENV{OUTBOX_SEED} || time;
note("seed $seed");
srand $seed;

sub block { return page_block('tail.md', "sql $_[0]") =~ s/;\n\z//r; }

my $source = new_node('source');
my $target = PostgreSQL::Test::Cluster->new('target');
$target->init;
$target->start;

# Without its key the target keeps what it gets twice, and the naive one has an inbox
# of its own.
$source->safe_psql('postgres', block('outbox'));
$source->safe_psql('postgres', block('relay'));
$target->safe_psql('postgres', block($_)) foreach 'outbox target', 'relay consumer';
$target->safe_psql('postgres', q{
	ALTER TABLE inbox DROP CONSTRAINT inbox_pkey, ADD COLUMN arrived bigserial;
	CREATE SCHEMA naive;
	CREATE TABLE naive.inbox (LIKE public.inbox INCLUDING DEFAULTS);
	CREATE TABLE naive.inbox_position (LIKE public.inbox_position);
	INSERT INTO naive.inbox_position TABLE public.inbox_position;
	CREATE TABLE sent (id bigint)});

# Writers: each takes its ID and commits some time later, or rolls back.
my %writers = map { $_ => undef } 0.02, 0.05, 0.3, 1.5;

sub start_writer
{
	my ($pause) = @_;
	$writers{$pause} = IPC::Run::start([ 'psql', '-XqAt', '-d', $source->connstr('postgres'), '-c', qq{
		DO \$\$
		BEGIN
			LOOP
				INSERT INTO outbox (topic, payload) VALUES ('paid', '{"pause": $pause}');
				PERFORM pg_sleep(random() * $pause);
				IF random() < 0.2 THEN ROLLBACK; ELSE COMMIT; END IF;
			END LOOP;
		END \$\$} ], '<', \undef, '>', \my $out, '2>', \my $err);
	return;
}

# Relays.  Each turn is a psql that goes from one server to the other, as the page
# says.  The statements of the page are prepared, and so have parameters.
sub connect_to { return '\connect "' . $_[0]->connstr('postgres') =~ s/"/""/gr . qq{"\n}; }

sub read_batch
{
	my ($read) = @_;
	return connect_to($source) . "PREPARE read (bigint) AS $read;\nEXECUTE read (:position) \\gset\n\\if :{?batch}\n";
}

sub exactly_once
{
	my ($read) = @_;
	return connect_to($target) . block('outbox position') . " \\gset\n" . read_batch($read)
	  . connect_to($target) . 'PREPARE deliver (jsonb, bigint) AS ' . block('outbox deliver')
	  . ";\nEXECUTE deliver (:'batch', :position);\n\\endif\n";
}

sub at_least_once
{
	my ($after_sending) = @_;
	return connect_to($source) . "SELECT position FROM relay_position WHERE relay = 'mail' \\gset\n" . read_batch(block('outbox read'))
	  . connect_to($target)
	  . "INSERT INTO sent SELECT id FROM jsonb_to_recordset(:'batch') AS message (id bigint);\n"
	  . 'PREPARE consume (jsonb) AS ' . block('relay consume') . ";\nEXECUTE consume (:'batch');\n"
	  . ($after_sending // '')
	  . "SELECT max(id) AS last FROM jsonb_to_recordset(:'batch') AS message (id bigint) \\gset\n"
	  . connect_to($source) . 'PREPARE store (bigint) AS ' . block('relay store') . ";\nEXECUTE store (:last);\n\\endif\n";
}

my $naive = block('outbox read') =~ s/\s*AND id <= snowflake_horizon\(\)//r;
isnt($naive, block('outbox read'), 'the naive relay does without the horizon');

my %turns = (
	exactly_once  => exactly_once(block('outbox read')),
	at_least_once => at_least_once(),
	naive         => "\\setenv PGOPTIONS '-c search_path=naive,public'\n" . exactly_once($naive));

# A relay is a process group: it and its psql are killed together.
my $dir = PostgreSQL::Test::Utils::tempdir();
my %relays;

sub start_relay
{
	my ($name) = @_;
	my $file = "$dir/$name.sql";

	append_to_file($file, $turns{$name}) unless -e $file;
	$relays{$name} = IPC::Run::start(
		[ 'sh', '-c', 'while kill -0 $PPID; do psql -XqAt -v ON_ERROR_STOP=1 -f "$0" postgres; sleep 0.01; done', $file ],
		'<', \undef, '>', "$dir/$name.out", '2>>', "$dir/$name.err",
		init => sub { setpgrp; $ENV{PGHOST} = $target->host; $ENV{PGPORT} = $target->port; });
	return;
}

sub relay_pid { return $relays{ $_[0] }->{KIDS}[0]{PID}; }

sub kill_relay
{
	my ($name) = @_;
	my $killed = kill 'KILL', -relay_pid($name);

	$relays{$name}->finish;
	my $signal = ($relays{$name}->full_results)[0] & 127;
	delete $relays{$name};
	return $killed && $signal == 9;
}

END
{
	my $status = $?;

	kill 'KILL', -relay_pid($_) foreach keys %relays;
	$? = $status;
}

sub count { return $_[0]->safe_psql('postgres', "SELECT count(*) FROM $_[1]"); }

start_writer($_) foreach keys %writers;
start_relay($_) foreach keys %turns;

# Relays are killed all the time, one after the other at random moments, and in
# between a server.
my @names    = sort keys %turns;
my %kills    = map { $_ => 0 } @names;
my $unkilled = 0;
my @crashes  = ($source, $target, $source);
my $share    = $seconds / (@crashes + 1);

foreach my $part (0 .. @crashes)
{
	my $end = time + $share;

	for (my $turn = 0; $turn < 3 * @names || time < $end; $turn++)
	{
		my $name = $names[ $turn % @names ];

		sleep rand 0.3;
		if   (kill_relay($name)) { $kills{$name}++ }
		else                     { $unkilled++ }
		start_relay($name);
	}
	my $server = $crashes[$part] or next;
	my $before = count($target, 'inbox');

	cmp_ok($before, '>', 0, 'messages arrive');
	$server->kill9;
	ok(poll_until(sub { ($server->psql('postgres', 'SELECT true', timeout => 10))[0] != 0 }), $server->name . ' is gone');
	start_again($server);
	if ($server == $source)
	{
		foreach my $pause (keys %writers)
		{
			$writers{$pause}->finish;
			isnt($writers{$pause}->result, 0, 'a writer has noticed that the server was killed');
			start_writer($pause);
		}
	}
	ok(poll_until(sub { count($target, 'inbox') > $before }), 'and messages arrive again');
}
is($unkilled, 0, 'no relay was gone before it was killed');
cmp_ok($kills{$_}, '>', 5, "$_: the relay was killed $kills{$_} times") foreach @names;

# A relay that dies after it has sent, and before it has stored its position.
kill_relay('at_least_once');
$target->safe_psql('postgres', 'TRUNCATE sent');
my $died = "$dir/died.sql";
append_to_file($died, at_least_once("\\! kill -9 \$PPID\n"));
ok(poll_until(sub {
		my $run = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', $died, '-d', $target->connstr('postgres') ],
			'<', \undef, '>', \my $out, '2>', \my $err);
		$run->finish;
		return (($run->full_results)[0] & 127) == 9;
	}), 'a relay dies between sending and storing');
start_relay('at_least_once');
ok(poll_until(sub { count($target, '(SELECT FROM sent GROUP BY id HAVING count(*) > 1) AS twice') > 0 }), 'and messages are sent again');

# The end of it.
$source->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%INSERT INTO outbox%' AND pid <> pg_backend_pid()});
$_->finish foreach values %writers;
is($source->safe_psql('postgres', 'SELECT count(*) FROM snowflake_horizon_holders()'), 0, 'nobody holds the horizon any more');
my $last = $source->safe_psql('postgres', 'SELECT max(id) FROM outbox');
foreach my $table ('inbox', 'mail', 'naive.inbox')
{
	ok(poll_until(sub { $target->safe_psql('postgres', "SELECT count(*) FROM $table WHERE id = $last") > 0 }), "$table: the last message has arrived");
}
kill_relay($_) foreach keys %relays;

sub messages { return [ split /\n/, $_[0]->safe_psql('postgres', "SELECT id, topic, payload FROM $_[1]") ]; }

my $committed = messages($source, 'outbox ORDER BY id');
cmp_ok(scalar @$committed, '>', 100, 'there are ' . @$committed . ' messages');
is_deeply(messages($target, 'inbox ORDER BY id'), $committed, 'the target has each committed message once, and no other');
is_deeply(messages($target, 'mail ORDER BY id'),  $committed, 'and so has the consumer that may get some again');
is($target->safe_psql('postgres', 'SELECT count(*) FROM (SELECT id < lag(id) OVER (ORDER BY arrived) AS back FROM inbox) AS steps WHERE back'),
	0, 'the messages came in the order of their IDs');
my $missed = @$committed - count($target, 'naive.inbox');
cmp_ok($missed, '>', 0, "without the horizon $missed messages are missed");

# A relay that has read an old position, and only now gets to deliver.
my $late = "$dir/late.sql";
append_to_file($late, "\\set position 0\n" . exactly_once(block('outbox read')) =~ s/^SELECT position .*\n//mr);
command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', $late, '-d', $target->connstr('postgres') ], 'a late relay delivers');
is(count($target, 'inbox'), scalar @$committed, 'and the target takes nothing from it');

unlike(slurp_file("$dir/$_.err"), qr/ERROR:  (?!the snowflake horizon is not known to this transaction)/, "$_: no errors but of lost connections")
  foreach sort keys %turns;

$_->stop foreach $source, $target;
done_testing();
