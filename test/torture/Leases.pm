# Leases.pm
#		The registry from which both servers lease their worker IDs, what goes wrong
#		with it, and what it leased to whom.
package Leases;

use strict;
use warnings;

use FakeClock;
use List::Util qw(max);
use Load;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake qw(install_script start_again);
use Test::More;
use Time::HiRes ();
use World;

# How long leases are, in seconds, which limits the lead of IDs as max_ahead does; and
# how many worker IDs there are: few enough to be leased again, and enough for the
# servers that crash within a lease.
my %kinds = ('10s' => [ 10, 12 ], '1min' => [ 60, 20 ]);

# The registry leases twice as far beyond its own clock, so that a server may be a
# little ahead of it.
use constant LONGEST => 2;

sub kinds { return sort keys %kinds; }

# Records the final state of each lease, when it was given back or passed on; the holder
# by the first part of its name, that of the server.
my $log = q{
	CREATE TABLE lease_log (
		n bigint GENERATED ALWAYS AS IDENTITY,
		worker_id integer, holder text, valid_from timestamptz, valid_until timestamptz);
	CREATE FUNCTION log_lease() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		-- A fence takes the token away, but not what was leased.
		IF NEW.token IS NOT NULL OR NEW.valid_until <= OLD.valid_until THEN
			INSERT INTO public.lease_log (worker_id, holder, valid_from, valid_until)
			VALUES (NEW.worker_id, split_part(NEW.holder, ' ', 1), NEW.valid_from, NEW.valid_until);
		END IF;
		RETURN NULL;
	END
	$$;
	CREATE TRIGGER log_lease AFTER INSERT OR UPDATE ON snowflake_registry.worker
		FOR EACH ROW EXECUTE FUNCTION log_lease();
};

# Starts the registry, and returns the lines of its clients' postgresql.conf.
sub start_registry
{
	my ($kind, $more_sql) = @_;
	my ($seconds, $workers) = @{ $kinds{$kind} };
	my $node = PostgreSQL::Test::Cluster->new('registry');

	$node->init;
	$node->append_conf('postgresql.conf', "autovacuum = off\nlog_statement = none\nrestart_after_crash = on\n");
	$world{registry}{node} = with_clock($node);
	$node->start;
	$node->safe_psql('postgres', 'BEGIN; ' . slurp_file(install_script('snowflake_registry', '.', 'sql')) . 'COMMIT');
	$node->safe_psql('postgres', $more_sql . $log);
	$node->safe_psql('postgres', "SELECT snowflake_registry.setup(worker_bits => 16, longest_lease => '1 s'::interval * "
		  . LONGEST * $seconds . ')');
	$node->safe_psql('postgres', "UPDATE snowflake_registry.registry SET next_unused = 65536 - $workers");
	return "snowflake.lease_duration = $kind\n";
}

# One problem at a time: the next one ends it.
my $trouble;
my @paused;

$World::registry_in_trouble = sub { defined $trouble };

sub end_trouble
{
	my $end = $trouble or return;
	undef $trouble;
	$end->();
	return;
}

sub start_trouble
{
	($trouble) = @_;
	return;
}

# Stops the registry, and starts it again when the problem ends.
sub stop_registry
{
	my ($how) = @_;
	my $node = $world{registry}{node};

	end_trouble();
	my $pid = $node->{_pid};
	$how eq 'kill -9' ? $node->kill9 : $node->stop($how);
	start_trouble(sub {
		start_again($node);
		isnt($node->{_pid}, $pid, "step $world{step}: the registry runs again");
	});
	return wait_for('the registry is gone', sub { is_gone($pid) });
}

# Stops the registry's processes where they are, the postmaster first, so that
# there are no more of them.
sub pause_registry
{
	end_trouble();
	my $postmaster = $world{registry}{node}{_pid};

	@paused = ($postmaster);
	kill 'STOP', $postmaster;
	wait_for('the postmaster of the registry is stopped', sub { is_stopped($postmaster) });
	push @paused, grep { /\A\d+\z/ } split /\n/, `pgrep -P $postmaster`;
	kill 'STOP', @paused;
	start_trouble(sub {
		my @pids = @paused;

		@paused = ();
		kill 'CONT', reverse @pids;
		wait_for('the registry goes on', sub { ask($world{registry}, 'SELECT 1') eq '1' });
	});
	cmp_ok(scalar @paused, '>', 3, "step $world{step}: the registry's processes were found");
	return wait_for('the registry is paused', sub { !grep { !is_stopped($_) && !is_gone($_) } @paused });
}

# A stopped process would keep the tests' own clean-up waiting.
END { kill 'CONT', @paused if @paused }

# Voids all leases that are to come: until so many milliseconds have passed there
# are no new ones.  Returns them.
sub fence
{
	end_trouble();
	my $registry = $world{registry};
	# The registry's clock may have been set back: what it showed then counts.
	my $until = ask($registry, q{
		SELECT ceil(extract(epoch FROM snowflake_registry.fence(now_is => greatest(clock_timestamp(), max(last_seen)))) * 1000)
		  FROM snowflake_registry.worker});
	my $valid = ask($registry, 'SELECT ceil(extract(epoch FROM max(valid_until)) * 1000) FROM snowflake_registry.worker');

	like($until, qr/\A\d+\z/, "step $world{step}: the registry was fenced");
	is(ask($registry, 'SELECT count(*) FROM snowflake_registry.worker WHERE token IS NOT NULL'),
		'0', "step $world{step}: all tokens are void");
	return max($until, $valid || 0) - int(Time::HiRes::time() * 1000) - $world{time};
}

# What was leased: by server and worker ID, a list of [ from, until ], in
# milliseconds since the epoch of IDs.  The end that was logged last counts: what
# was given back is not the server's any more.
sub all
{
	my $rows = $world{registry}{node}->safe_psql('postgres', q{
		SELECT DISTINCT ON (holder, worker_id, valid_from) holder, worker_id,
			   round(extract(epoch FROM valid_from) * 1000), round(extract(epoch FROM valid_until) * 1000)
		  FROM lease_log
		 ORDER BY holder, worker_id, valid_from, n DESC});
	my %leases;

	foreach (split /\n/, $rows)
	{
		my ($server, $worker, $from, $until) = split /\|/;
		push @{ $leases{$server}{$worker} }, [ map { $_ - Load::EPOCH } $from, $until ];
	}
	return \%leases;
}

# How many leases there were of each worker ID, and how many of them began before
# the one before had ended.
sub overlaps
{
	my ($leases) = @_;
	my %of;
	my ($count, $overlaps) = (0, 0);

	foreach my $server (keys %$leases)
	{
		push @{ $of{$_} }, @{ $leases->{$server}{$_} } foreach keys %{ $leases->{$server} };
	}
	foreach my $worker (keys %of)
	{
		my $end = -1;

		foreach my $lease (sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @{ $of{$worker} })
		{
			$overlaps++ if $lease->[0] < $end && $lease->[1] > $lease->[0];
			$end = max($end, $lease->[1]);
			$count++;
		}
	}
	return ($count, scalar keys %of, $overlaps);
}

1;
