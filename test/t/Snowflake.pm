# Snowflake.pm
#		What the TAP tests share: a server with the extension, sessions that take
#		IDs until they are stopped and keep each one they got, the check that none
#		came twice, and faults, each of which asserts that it happened.
package Snowflake;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_node next_id start_taker start_slow_taker taker_pid stop_taker wait_for_ids
  wait_for_end take_ids burst check_ids last_line log_since start_again start_fails poll_until
  new_standby mark_ms call_fails wait_until_held lease_from worker_of origin_states install_script goes_on_by_itself
  keeper_pid kill_process pause_process resume_process pause_keeper);

# A server that has the extension in the database postgres.
# Options: worker_id, registry (a node; then there is no worker ID unless one is
# given), conf (lines of postgresql.conf), start => 0, init => [ options of init() ].
sub new_node
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(@{ $options{init} // [] });
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'snowflake'");
	my $worker_id = $options{worker_id} // ($options{registry} ? undef : 1);
	$node->append_conf('postgresql.conf', "snowflake.worker_id = $worker_id") if defined $worker_id;
	lease_from($node, $options{registry}) if $options{registry};
	$node->append_conf('postgresql.conf', 'log_statement = none');
	$node->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	return $node if defined $options{start} && !$options{start};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION snowflake');
	return $node;
}

# Has a server lease from a registry, from the next start or reload on.
sub lease_from
{
	my ($node, $registry) = @_;
	my $connstr = $registry->connstr('postgres') =~ s/'/''/gr;

	$node->append_conf('postgresql.conf', "snowflake.registry = '$connstr'");
	return;
}

sub worker_of
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT snowflake_worker_id(snowflake_next())');
}

sub next_id
{
	my ($node, $database) = @_;
	return $node->safe_psql($database // 'postgres', 'SELECT snowflake_next()');
}

# n calls.  (A function in FROM would be materialised first.)
sub take_sql
{
	my ($n) = @_;
	return "SELECT snowflake_next() FROM (SELECT generate_series(1, $n)) AS calls";
}

# Starts a session that takes IDs, each by a call of its own, until it is stopped or
# the server goes away.  Uses COPY, because it streams.  The IDs are in its file in the
# order of the calls.
my $takers = 0;

sub start_taker
{
	my ($node, %options) = @_;
	my $sql = $options{sql} // take_sql(1_000_000_000);
	my $taker = {
		name   => 'taker' . ++$takers,
		file   => PostgreSQL::Test::Utils::tempdir() . "/taker$takers",
		errors => '',
	};
	my $connstr = $node->connstr($options{database} // 'postgres') . " application_name=$taker->{name}";

	$taker->{run} = IPC::Run::start(
		[
			'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1',
			'-d', $connstr, '-c', "COPY ($sql) TO STDOUT"
		],
		'<', \undef, '>', $taker->{file}, '2>', \$taker->{errors});
	return $taker;
}

# The same at a pace that a long test can keep: some ten thousand a second.
sub start_slow_taker
{
	my ($node) = @_;
	return start_taker($node,
		sql => 'SELECT snowflake_next() FROM (SELECT generate_series(1, 1000000000) AS n) AS calls'
		  . ' WHERE sha512(repeat(n::text, 1000)::bytea) IS NOT NULL');
}

# The backend of a session.
sub taker_pid
{
	my ($node, $taker) = @_;
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE application_name = '$taker->{name}'");
}

sub stop_taker
{
	my ($taker) = @_;

	# psql cancels the query.
	$taker->{run}->signal('INT');
	$taker->{run}->finish;
	return;
}

# Waits for a session that something else ends.  If it does not end, the test fails,
# but continues.
sub wait_for_end
{
	my ($taker) = @_;
	my $ended = poll_until(sub { !$taker->{run}->pumpable || !$taker->{run}->pump_nb });

	ok($ended, 'the session comes to its end');
	$taker->{run}->signal('INT') unless $ended;
	$taker->{run}->finish;
	return;
}

# Waits until the session has written at least so many bytes of IDs.
sub wait_for_ids
{
	my ($taker, $bytes) = @_;
	ok(poll_until(sub { -s $taker->{file} && -s $taker->{file} > $bytes }),
		'a session takes IDs');
	return;
}

# Takes n IDs, one per call, in one session; returns a file with them.
sub take_ids
{
	my ($node, $n) = @_;
	my $taker = start_taker($node, sql => take_sql($n));

	$taker->{run}->finish;
	is($taker->{errors}, '', "took $n IDs");
	return $taker->{file};
}

# Takes so many IDs at once that they run a minute ahead of the clock, on a
# server with snowflake.worker_bits = 16 (64 IDs a millisecond) and a max_ahead
# that allows it; returns a file with the last one.
sub burst
{
	my ($node) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/burst' . ++$takers;

	append_to_file($file, $node->safe_psql('postgres',
		'SELECT max(id) FROM (SELECT snowflake_next(4000000) AS id) AS ids') . "\n");
	return $file;
}

# The last whole line of a file: a session may have died while it wrote.
sub last_line
{
	my ($file) = @_;
	my $last;

	open my $fh, '<', $file or die "$file: $!";
	while (<$fh>)
	{
		$last = $1 if /^(\d+)\n/;
	}
	close $fh;
	return $last;
}

# Each argument is a list of files, one per session, that were written after those of
# the previous argument: no ID may occur twice, each file must increase, and all IDs
# of an argument must be above those of the previous one.  Returns how many IDs there
# were.
sub check_ids
{
	my ($name, @incarnations) = @_;
	my $count    = 0;
	my $unsorted = 0;
	my $early    = 0;
	my $ceiling  = -1;
	my @all;

	foreach my $files (@incarnations)
	{
		my $highest = $ceiling;

		foreach my $file (@$files)
		{
			my $previous = -1;

			open my $fh, '<', $file or die "$file: $!";
			while (<$fh>)
			{
				next unless /^(\d+)\n/;
				$unsorted++ if $1 <= $previous;
				$early++    if $1 <= $ceiling;
				$previous = $1;
				$count++;
			}
			close $fh;
			$highest = $previous if $previous > $highest;
			push @all, $file;
		}
		$ceiling = $highest;
	}

	my $twice = `cat @all | grep -xE '[0-9]+' | sort | uniq -d | head -3`;

	is($twice,    '', "$name: no ID twice among $count");
	is($unsorted, 0,  "$name: each session's IDs increase");
	is($early,    0,  "$name: IDs increase from one incarnation to the next");
	cmp_ok($count, '>', 0, "$name: there were IDs");
	return $count;
}

sub log_since
{
	my ($node, $offset) = @_;
	return substr(slurp_file($node->logfile), $offset // 0);
}

# Polls, for as long as a test may run.
sub poll_until
{
	my ($condition) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if $condition->();
		select undef, undef, undef, 0.1;
	}
	return 0;
}

# Starts a server whose postmaster was killed: its children must notice first.
sub start_again
{
	my ($node) = @_;

	ok( poll_until(
			sub {
				return 1 if $node->start(fail_ok => 1);
				$node->{_pid} = undef;    # from the pid file that was left
				return 0;
			}),
		'start again');
	return;
}

# The server does not start, and says why in these words.
sub start_fails
{
	my ($node, $name, @patterns) = @_;
	my $offset = -s $node->logfile || 0;

	ok(!$node->start(fail_ok => 1), "$name: the server does not start");
	my $log = log_since($node, $offset);
	like($log, $_, "$name: says so") foreach @patterns;
	return;
}

# A standby of a server that was made with init => [ allows_streaming => 1 ], by
# a backup of its own.  Options: conf (lines of postgresql.conf), start => 0.
sub new_standby
{
	my ($primary, $name, %options) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$primary->backup("for_$name");
	$standby->init_from_backup($primary, "for_$name", has_streaming => 1);
	$standby->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	$standby->start unless defined $options{start} && !$options{start};
	return $standby;
}

# The mark that a server has, as the milliseconds of an ID (its upper 41 bits);
# for servers with the default epoch.  Above 43 bits it has the timeline.
sub mark_ms
{
	my ($node) = @_;
	return $node->safe_psql('postgres', q{
		SELECT mod(remote_lsn - '0/0', power(2::numeric, 43)) - extract(epoch FROM timestamptz '2023-01-01 00:00:00+00') * 1000
		  FROM pg_replication_origin_status WHERE local_id = 65001}) + 0;
}

# A call fails, with this SQLSTATE and in these words.
sub call_fails
{
	my ($node, $name, $sql, $sqlstate, @patterns) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	isnt($status, 0, "$name: fails");
	like($err, qr/ERROR:  $sqlstate:/, "$name: SQLSTATE");
	like($err, $_, "$name: says so") foreach @patterns;
	return;
}

sub goes_on_by_itself
{
	my ($node, $name) = @_;
	ok(poll_until(sub { ($node->psql('postgres', 'SELECT snowflake_next()'))[0] == 0 }), $name);
	return;
}

# The setting that has the replication origin states.
sub origin_states
{
	my ($node) = @_;
	return $node->pg_version >= 18 ? 'max_active_replication_origins' : 'max_replication_slots';
}

# The script that installs the default version of an extension, by the directories
# that have its control file and its scripts.
sub install_script
{
	my ($extension, $control, $scripts) = @_;
	my ($version) = slurp_file("$control/$extension.control") =~ /^default_version = '(.*)'/m
	  or die "$extension has no default version";

	return "$scripts/$extension--$version.sql";
}

# The keeper's process, as soon as there is one.
sub keeper_pid
{
	my ($node) = @_;
	my $pid;

	poll_until(sub {
		$pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'snowflake keeper'});
		return $pid;
	}) or die 'there is no keeper';
	return $pid;
}

# R, S, T (stopped) and so on; undef when the process is gone.
sub process_state
{
	my ($pid) = @_;
	my $stat;

	open my $fh, '<', "/proc/$pid/stat" or return;
	$stat = <$fh>;
	close $fh;
	return defined $stat && $stat =~ /\) (\w) / ? $1 : undef;
}

# Sends a signal that must reach a process, and checks its visible effect.
sub send_signal
{
	my ($signal, $pid, $name, $effect) = @_;

	die "no process: $name" unless $pid =~ /^[1-9]\d*$/;
	ok(kill($signal, $pid), "$signal to $name") or return;
	ok(poll_until(sub { $effect->(process_state($pid)) }), "$name has got it");
	return;
}

# For children of a server that goes on: it has to take notice.
sub kill_process
{
	my ($pid, $name) = @_;
	return send_signal('KILL', $pid, $name, sub { !defined $_[0] });
}

# No process may stay stopped after the test, whatever happens to the test.
my %paused;
END { kill 'CONT', keys %paused; }

sub pause_process
{
	my ($pid, $name) = @_;

	$paused{$pid} = 1;
	return send_signal('STOP', $pid, $name, sub { ($_[0] // '') eq 'T' });
}

sub resume_process
{
	my ($pid, $name) = @_;

	delete $paused{$pid};
	return send_signal('CONT', $pid, $name, sub { ($_[0] // 'T') ne 'T' });
}

# Stops the keeper while it holds no lock, so that others can go on.
sub pause_keeper
{
	my ($node) = @_;
	my $pid = keeper_pid($node);

	for (;;)
	{
		my ($out, $stuck);

		pause_process($pid, 'the keeper');
		$node->psql('postgres', 'SELECT pg_current_xact_id(), state FROM snowflake_status()',
			stdout => \$out, timeout => 10, timed_out => \$stuck);
		return $pid unless $stuck;
		resume_process($pid, 'the keeper');
	}
}

# Waits until that session waits for the keeper (or something else of ours).
sub wait_until_held
{
	my ($node, $taker) = @_;
	ok( $node->poll_query_until('postgres', qq{
		SELECT EXISTS (SELECT FROM pg_stat_activity
						WHERE application_name = '$taker->{name}' AND wait_event_type = 'Extension')}),
		'a call waits');
	return;
}

1;
