# Faults.pm
#		What the torture does to its servers.
#
# Each fault asserts that it happened: that the process was there and is gone, that
# the clock shows what was set, that the promotion is on a new timeline.  It returns
# whether it happened; false if there was nothing to do, for instance no burst while
# IDs are refused.
package Faults;

use strict;
use warnings;

use Leases;
use Load;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake qw(start_again);
use Test::More;
use World;

# How far clocks are set, in milliseconds.
our %ms = ('1 ms' => 1, '10 ms' => 10, '100 ms' => 100, '1 s' => 1000, '10 s' => 10_000,
	'1 min' => 60_000, '10 min' => 600_000, '1 h' => 3_600_000);

# Of each fault: how often it happened, and how often in vain.
our %happened;

sub check
{
	my ($ok, $what) = @_;
	return ok($ok, "step $world{step}: $what");
}

# A burst, if this step has one.  If IDs may be refused, there may be none; nor if a
# lease has ended, which a busy machine renews late.
my $bursts = 0;

sub burst
{
	my ($step, $may_fail) = @_;
	return 1 unless $step->{burst};
	my $bytes = Load::burst($world{primary}{node}, 1_000_000, $step->{burst_bytes});

	return 0 if $bytes == 0 && ($may_fail || $world{leased} || World::may_refuse($world{primary}));
	$bursts++;
	return check($bytes > 0, 'a burst has IDs');
}

sub bursts { return $bursts; }

sub after_burst
{
	my ($step, $what) = @_;
	say_that($step->{burst} ? "burst, then $what" : $what);
	burst($step);
	return;
}

# Ends the primary in one of three ways.
sub end_primary
{
	my ($how) = @_;
	my $node = $world{primary}{node};
	my $pid  = $node->{_pid};

	$how eq 'kill -9' ? $node->kill9 : $node->stop($how);
	$world{count}{crashes}++ if $how ne 'fast';
	return wait_for('the postmaster is gone', sub { is_gone($pid) });
}

# The same, and starts it again.
sub restart_primary
{
	my ($how, $before_start) = @_;
	my $pid = $world{primary}{node}{_pid};

	end_primary($how);
	$before_start->() if $before_start;
	start_again($world{primary}{node});
	return check($world{primary}{node}{_pid} != $pid, 'the postmaster is another one');
}

# The restart closes the window, and what is issued from then on is below a high-water
# mark that the standby has flushed.
sub synchronise
{
	my ($primary, $standby) = @world{qw(primary standby)};
	return 1 if $world{synchronous};
	my $pid = $primary->{node}{_pid};

	$world{synchronous} = 1;
	$happened{synchronous}[0]++;
	set_conf($primary, 'synchronous_standby_names', "'" . $standby->{node}->name . "'");
	$primary->{node}->restart;
	check($primary->{node}{_pid} != $pid, 'the primary was restarted');
	standby_is('sync');
	return settle();
}

sub standby_is
{
	my ($state) = @_;
	my $name = $world{standby}{node}->name;

	return wait_for("the standby is $state", sub {
		ask($world{primary}, "SELECT sync_state FROM pg_stat_replication WHERE application_name = '$name'") eq $state;
	});
}

# The keeper's process.  It need not be in pg_stat_activity.
sub keeper_of
{
	my ($machine) = @_;
	return ask($machine, 'SELECT keeper_pid FROM snowflake_status()');
}

# Ends a process of the primary that this query finds.  Returns its name, which
# the query returns after its number.
sub end_process
{
	my ($signal, $query) = @_;
	my ($pid, $name);

	wait_for('a process was found', sub { ($pid, $name) = ask($world{primary}, $query) =~ /\A(\d+)\|(.*)\z/ })
	  or return '';
	check(kill($signal, $pid) == 1, "the $name, process $pid, got a SIG$signal");
	return wait_for("process $pid is gone", sub { is_gone($pid) }) ? $name : '';
}

sub end_keeper
{
	my ($signal) = @_;
	my $keeper = keeper_of($world{primary});

	end_process($signal, q{SELECT keeper_pid, 'keeper' FROM snowflake_status()}) or return 0;
	return wait_for('there is another keeper', sub {
		busy(0);
		my $now = keeper_of($world{primary});
		$now ne '' && $now ne $keeper;
	});
}

# The keeper of the primary is stopped while IDs are issued and time passes: the lease
# may end meanwhile.
sub pause_keeper
{
	my ($step) = @_;
	my $pid = keeper_of($world{primary});

	check($pid =~ /\A\d+\z/, 'there is a keeper') or return 0;
	kill 'STOP', $pid;
	my $paused = wait_for('the keeper is stopped', sub { is_stopped($pid) });
	burst($step);
	pass_time($ms{ $step->{size} });
	clock_shows($world{primary});
	busy($step->{pause});
	check(is_stopped($pid), 'the keeper is stopped still');
	kill 'CONT', $pid;
	return wait_for('the keeper goes on', sub { !is_stopped($pid) }) && $paused;
}

# A fault of a clock needs a server that reads it.
sub clock_of
{
	my ($step) = @_;
	my $machines = $world{machines};
	my $machine  = $machines->[ $step->{machine} % @$machines ];

	Leases::end_trouble() if $machine == $world{registry};
	return $machine;
}

sub set_lag
{
	my ($machine, $ms) = @_;

	$machine->{lag} += $ms;
	$machine->{lowered} = 1 if $ms > 0;
	apply_clock($machine);
	return;
}

sub timeline
{
	my ($machine) = @_;
	return hex ask($machine, 'SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)');
}

# The standby takes over, with a small max_ahead, so that the mark counts rather than
# the clock.  If it is cut off before, IDs are issued only up to the mark that it has;
# for there to be IDs, everything temporary is undone first.  Where the window had
# ended by the time that the standby was gone, there are none, and it was in vain.
sub fail_over
{
	my ($step, $max_ahead, $cut_off) = @_;
	my ($old, $new) = @world{qw(primary standby)};

	undo_due('inf') if $cut_off;
	synchronise() or return 0;
	set_max_ahead($new, $max_ahead);
	busy($step->{pause});
	my $timeline = timeline($old);
	my $done = 1;
	if ($cut_off)
	{
		$new->{node}->stop('immediate');
		$done = Load::burst($old->{node}, 3_000_000, 'inf') > 0;
	}
	else
	{
		burst($step);
	}
	end_primary($step->{crash});
	start_standby($new) if $cut_off;
	$new->{node}->promote;
	cmp_ok(timeline($new), '>', $timeline, "step $world{step}: a promotion, on a new timeline");
	Load::continue_order($new->{node}, $old->{node});
	@world{qw(primary standby)} = ($new, $old);
	make_standby();
	undo_later($step->{lasts}, sub { set_max_ahead($_, World::MOST_AHEAD) foreach @world{qw(primary standby)} });
	$world{count}{promotions}++;
	return check(ask($old, 'SELECT pg_is_in_recovery()') eq 't', 'there is a new standby') && $done;
}

# By name: how many there are of it when faults are dealt; its name in the report;
# and what it does.
our %faults = (

	backend => [ 2, 'kill -9 of a backend', sub {
		my ($step) = @_;

		after_burst($step, 'kill -9 of a backend');

		# Another process if no client has one now, because IDs are refused.
		$world{count}{crashes}++;
		return end_process('KILL', q{
			SELECT pid, backend_type FROM pg_stat_activity
			 WHERE application_name ~ '^(client|burst)' OR backend_type = 'walwriter'
			 ORDER BY backend_type, application_name LIMIT 1}) eq 'client backend';
	} ],

	keeper => [ 2, 'kill -9 of the keeper', sub {
		my ($step) = @_;

		after_burst($step, 'kill -9 of the keeper');
		$world{count}{crashes}++;
		return end_keeper('KILL');
	} ],

	keeper_ends => [ 1, 'end of the keeper', sub {
		my ($step) = @_;

		after_burst($step, 'end of the keeper');
		return end_keeper('TERM');
	} ],

	keeper_pause => [ 2, 'keeper paused', sub {
		my ($step) = @_;

		say_that("keeper paused, while $step->{size} pass");
		return pause_keeper($step);
	} ],

	postmaster => [ 4, 'crash of the primary', sub {
		my ($step) = @_;

		after_burst($step, $step->{crash} eq 'kill -9' ? 'kill -9 of the postmaster' : 'immediate stop');
		return restart_primary($step->{crash});
	} ],

	worker => [ 1, 'another worker ID', sub {
		my ($step) = @_;

		if ($world{leased})
		{
			after_burst($step, "$step->{stop}, and start with another lease");
			return restart_primary($step->{stop});
		}
		after_burst($step, "$step->{stop}, and start as worker $step->{worker}");
		restart_primary($step->{stop}, sub { set_conf($world{primary}, 'snowflake.worker_id', $step->{worker}) });
		return check(ask($world{primary}, 'SELECT worker_id FROM snowflake_status()') eq $step->{worker},
			'it has that worker ID');
	} ],

	burst => [ 1, 'burst alone', sub {
		say_that('burst');
		return burst({ %{ $_[0] }, burst => 1 });
	} ],

	back => [ 3, 'clock back', sub {
		my ($step) = @_;
		my $machine = clock_of($step);

		say_that('clock of the ' . role_of($machine) . " back by $step->{size}, for $step->{lasts} faults");
		set_lag($machine, $ms{ $step->{size} });
		undo_later($step->{lasts}, sub { set_lag($machine, -$ms{ $step->{size} }) });
		return clock_shows($machine);
	} ],

	forward => [ 2, 'clock forward', sub {
		my ($step) = @_;
		my $machine = clock_of($step);
		my @others  = grep { $_ != $machine } @{ $world{machines} };

		say_that('clock of the ' . role_of($machine) . " forward by $step->{size}, the others' $step->{lasts} faults later");
		$world{time} += $ms{ $step->{size} };
		$_->{lag} += $ms{ $step->{size} } foreach @others;
		apply_clock($machine);
		undo_later($step->{lasts}, sub { set_lag($_, -$ms{ $step->{size} }) foreach @others });
		return clock_shows($machine);
	} ],

	sawtooth => [ 2, 'clock to and fro', sub {
		my ($step) = @_;
		my $machine = clock_of($step);
		my $shows;

		say_that('clock of the ' . role_of($machine) . " to and fro by $step->{size}");
		$machine->{lowered} = 1;
		foreach (1 .. 20)
		{
			apply_clock($machine, -$ms{ $step->{size} });
			$shows //= clock_shows($machine, -$ms{ $step->{size} });
			busy(0.05);
			apply_clock($machine);
			busy(0.05);
		}
		return clock_shows($machine) && $shows;
	} ],

	max_ahead => [ 2, 'max_ahead lowered', sub {
		my ($step) = @_;
		my $machine = $world{primary};

		say_that("max_ahead = $step->{max_ahead}, for $step->{lasts} faults");
		undo_later($step->{lasts}, sub { set_max_ahead($machine, World::MOST_AHEAD) });
		return set_max_ahead($machine, $step->{max_ahead});
	} ],

	standby => [ 2, 'restart of the standby', sub {
		my ($step) = @_;
		my $standby = $world{standby};
		my $pid     = $standby->{node}{_pid};

		say_that("restart of the standby, $step->{stop}");
		$step->{stop} eq 'kill -9' ? $standby->{node}->kill9 : $standby->{node}->stop($step->{stop});
		wait_for('the standby is gone', sub { is_gone($pid) });

		# Nobody else may have the mark.
		burst($step, $world{synchronous});
		busy($step->{pause});
		start_standby($standby);
		check($standby->{node}{_pid} != $pid, 'its postmaster is another one');
		return check(ask($standby, 'SELECT pg_is_in_recovery()') eq 't', 'the standby was restarted');
	} ],

	synchronous => [ 1, 'standby becomes synchronous', sub {
		my $was = $world{synchronous};

		say_that('synchronous replication' . ($was ? ', as it is' : ''));
		return synchronise() && !$was;
	} ],

	asynchronous => [ 3, 'standby becomes asynchronous', sub {
		my $was = $world{synchronous};

		say_that('asynchronous replication' . ($was ? '' : ', as it is'));
		$world{synchronous} = 0;
		set_conf($world{primary}, 'synchronous_standby_names', "''");
		$world{primary}{node}->reload;
		return standby_is('async') && $was;
	} ],

	failover => [ 2, 'promotion', sub {
		my ($step) = @_;

		say_that(($step->{burst} ? 'burst, ' : '') . "$step->{crash}, and promotion, max_ahead = $step->{max_ahead} for $step->{lasts} faults");
		return fail_over($step, $step->{max_ahead}, 0);
	} ],

	cut_off => [ 2, 'promotion of a standby that was cut off', sub {
		my ($step) = @_;

		say_that("standby cut off, burst, $step->{crash}, and promotion, max_ahead = 0 for $step->{lasts} faults");
		return fail_over($step, 0, 1);
	} ],
);

# With leases, these faults as well.
our %with_leases = (

	registry => [ 2, 'end of the registry', sub {
		my ($step) = @_;

		say_that("registry down, $step->{stop}, for $step->{lasts} faults");
		undo_later($step->{lasts}, \&Leases::end_trouble);
		return Leases::stop_registry($step->{stop});
	} ],

	registry_pause => [ 2, 'registry paused', sub {
		my ($step) = @_;

		say_that("registry paused, for $step->{lasts} faults");
		undo_later($step->{lasts}, \&Leases::end_trouble);
		return Leases::pause_registry();
	} ],

	fence => [ 1, 'registry fenced', sub {
		my ($step) = @_;

		say_that("registry fenced, and $step->{lasts} faults later time passes");
		my $rest = Leases::fence();
		$world{fences}++;
		undo_later($step->{lasts}, sub {
			pass_time($rest) if $rest > 0;
			$world{fences}--;
		});
		return check($rest > 0, 'no worker ID is free for some time');
	} ],
);

# Standbys also become synchronous for a promotion, so that is counted where it is done.
sub inflict
{
	my ($fault, $step) = @_;
	my $name = $step->{fault};
	my $done = $fault->($step);

	$happened{$name}[0]++ if $done && $name ne 'synchronous';
	$happened{$name}[1]++ unless $done;
	return;
}

1;
