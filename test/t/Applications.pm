# Applications.pm
#		The generators for applications, client/: how a test builds and runs them, and
#		what it finds in their IDs.
#
# A client here is a process that takes IDs, test/clients/applications/take.*, with a
# clock of its own.  What is wrong with a client is noted and not reported, so that a
# test can also expect it.
package Applications;

use strict;
use warnings;

use Exporter 'import';
use FakeClock;
use File::Basename;
use File::Copy;
use IPC::Run;
use List::Util qw(max sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;
use Time::HiRes ();

our @EXPORT = qw(%language build start_client replace_client signal_client clock_of end_client pid_of ids_of bytes_of newest_of ms_of worker_by
  goes_on stands_still soon note_fault log_leases leases_of leased read_ids);

my $top = dirname(__FILE__) . '/../..';
my $dir;

our %language = (
	Python     => { source => 'python/snowflakes.py',      threads => 2, forks => 1 },
	Go         => { source => 'go/snowflakes.go',          threads => 2 },
	JavaScript => { source => 'javascript/snowflakes.mjs', threads => 1 },
	'C++'      => { source => 'cpp/lease_keeper.hpp',      threads => 2, forks => 1 });

# All leases are this long, in seconds, and the registry's longest_lease is twice that.
use constant LEASE => 3;

# Of the registry in use.  It leaves the sequence 6 bits.
our $worker_bits = 16;

# How long a generator may take to recover, in seconds.
use constant PATIENCE => 30;

sub run_program
{
	my ($name, $command, %options) = @_;
	my ($out, $err);
	my $status = IPC::Run::run($command, '>', \$out, '2>', \$err, init => sub {
		chdir($options{dir} // $dir) or die $!;
		%ENV = (%ENV, %{ $options{env} // {} });
	});

	ok($status, $name) or diag("$out\n$err");
	return;
}

# The source of a generator, with each occurrence of a text replaced.
sub source_of
{
	my ($language, $change) = @_;
	my $file = "$top/client/$language{$language}{source}";
	my $text = slurp_file($file);

	if ($change)
	{
		my $changed = $text =~ s/\Q$change->[0]\E/$change->[1]/gr;

		die "$file has no \"$change->[0]\"" if $changed eq $text;
		$text = $changed;
	}
	return $text;
}

# Builds the programs that take IDs, and returns the command for each: of all
# languages, or, with some of their sources changed, of those.
my $builds = 0;

sub build
{
	my ($node, $changes) = @_;
	my $programs = "$top/test/clients/applications";

	$dir //= PostgreSQL::Test::Utils::tempdir();
	my $build    = "$dir/build" . $builds++;
	my %command;

	if ($builds == 1)
	{
		mkdir "$dir/node";
		copy("$programs/package.json", "$dir/node") or die $!;
		run_program('npm', [ 'npm', 'install', '--no-package-lock', '--no-audit', '--no-fund' ], dir => "$dir/node");
	}
	mkdir $_ or die "$_: $!" foreach $build, map { "$build/$_" } qw(python cpp src src/take src/snowflakes);

	foreach my $language ($changes ? grep { $changes->{$_} } sort keys %language : sort keys %language)
	{
		my $source = source_of($language, $changes && $changes->{$language});

		if ($language eq 'Python')
		{
			append_to_file("$build/python/snowflakes.py", $source);
			copy("$programs/take.py", "$build/python") or die $!;
			$command{$language} = [ '/usr/bin/python3', "$build/python/take.py" ];
		}
		elsif ($language eq 'JavaScript')
		{
			# Where node finds its modules.
			append_to_file("$dir/node/snowflakes$builds.mjs", $source);
			append_to_file("$dir/node/take$builds.mjs", slurp_file("$programs/take.mjs") =~ s/snowflakes\.mjs/snowflakes$builds.mjs/r);
			$command{$language} = [ 'node', "$dir/node/take$builds.mjs" ];
		}
		elsif ($language eq 'Go')
		{
			append_to_file("$build/src/snowflakes/snowflakes.go", $source);
			copy("$programs/fake_clock.go", "$build/src/snowflakes") or die $!;
			copy("$programs/take.go",       "$build/src/take")       or die $!;
			run_program($language, [ 'go', 'build', '-o', "$build/take", 'take' ],
				dir => $build,
				env => { GO111MODULE => 'off', GOPATH => "$build:/usr/share/gocode", GOCACHE => "$dir/gocache" });
			$command{$language} = ["$build/take"];
		}
		else
		{
			append_to_file("$build/cpp/lease_keeper.hpp", $source);
			copy("$top/client/cpp/$_.hpp", "$build/cpp") or die $! foreach qw(registry_call snowflakes);
			run_program($language,
				[ 'g++', '-std=c++20', '-O1', '-Wall', '-Wextra', '-I', "$build/cpp", '-I', "$top/src",
					'-I', $node->config_data('--includedir'), '-o', "$build/cpp/take", "$programs/take.cpp", '-lpq', '-pthread' ]);
			$command{$language} = ["$build/cpp/take"];
		}
	}
	return \%command;
}

# A process that takes IDs, and a holder of its own.  Options: pause (ms between twenty
# IDs of a thread), threads.
my $started = 0;

sub start_client
{
	my ($registry, $language, $command, %options) = @_;
	my $client = {
		language => $language,
		name     => $language . ' ' . $started,
		command  => $command->{$language},
		clock    => "$dir/clock$started",
		threads  => $options{threads} // $language{$language}{threads},
		pause    => $options{pause}   // 20,
		earlier  => [],
		faults   => [],
	};

	append_to_file($client->{clock}, pack 'q2', 0, 0);
	start_process($registry, $client);
	return $client;
}

sub start_process
{
	my ($registry, $client) = @_;
	local %ENV = (
		%ENV,
		PGHOST     => $registry->host,
		PGPORT     => $registry->port,
		PGDATABASE => 'postgres',
		PGUSER     => scalar getpwuid($<),
		LD_PRELOAD => FakeClock::library($registry),
		FAKE_CLOCK => $client->{clock});
	delete $ENV{PGAPPNAME};

	@$client{qw(file out err)} = ("$dir/ids" . $started++, '', '');
	$client->{run} = IPC::Run::start(
		[ @{ $client->{command} }, $client->{file}, $client->{name}, LEASE, $client->{threads}, $client->{pause} ],
		'<', \undef, '>', \$client->{out}, '2>', \$client->{err});
	return;
}

# Kills it, and starts another one in its place.
sub replace_client
{
	my ($registry, $client) = @_;

	kill 'KILL', pid_of($client) or die "$client->{name}: $!";
	ok(!$client->{run}->finish, "$client->{name} is killed");
	push @{ $client->{earlier} }, glob "$client->{file}.*";
	start_process($registry, $client);
	return;
}

sub note_fault
{
	my ($client, $what) = @_;

	push @{ $client->{faults} }, $what if @{ $client->{faults} } < 10;
	return;
}

sub pid_of
{
	my ($client) = @_;
	return $client->{run}{KIDS}[0]{PID};
}

# The files with its IDs, or with those of its child.
sub ids_of
{
	my ($client, $child) = @_;
	return glob $client->{file} . ($child ? '.child' : '') . '.[0-9]*';
}

sub bytes_of
{
	my ($client, $child) = @_;
	return sum0(map { -s $_ } ids_of($client, $child));
}

# The newest ID in its files.
sub newest_of
{
	my ($client, $child) = @_;
	local $_;    # last_line() reads into it
	my $newest = 0;

	foreach my $file (ids_of($client, $child))
	{
		$newest = max($newest, last_line($file) // 0);
	}
	return $newest;
}

sub time_in   { return $_[0] >> 6 + $worker_bits; }
sub worker_in { return $_[0] >> 6 & (1 << $worker_bits) - 1; }
sub ms_of     { return time_in(newest_of(@_)); }
sub worker_by { return worker_in(newest_of(@_)); }

# Becomes true until then, or for as long as a generator may take.
sub soon
{
	my ($condition, $end) = @_;

	$end //= Time::HiRes::time() + PATIENCE;
	until ($condition->())
	{
		return 0 if Time::HiRes::time() > $end;
		Time::HiRes::sleep(0.05);
	}
	return 1;
}

# Each has made some more IDs since now.
sub goes_on
{
	my ($what, $clients, %options) = @_;
	my @bytes = map { bytes_of($_) } @$clients;
	my $end   = Time::HiRes::time() + ($options{patience} // PATIENCE);

	foreach my $i (0 .. $#$clients)
	{
		soon(sub { bytes_of($clients->[$i]) > $bytes[$i] + 4000 }, $end)
		  or note_fault($clients->[$i], "$what: it makes no IDs");
	}
	return;
}

# Each makes no IDs for a while.
sub stands_still
{
	my ($what, $clients) = @_;
	my $end = Time::HiRes::time() + PATIENCE;

	foreach my $client (@$clients)
	{
		my $bytes = -1;

		soon(sub {
			my $before = $bytes;
			Time::HiRes::sleep(0.5);
			$bytes = bytes_of($client);
			return $bytes == $before;
		}, $end) or note_fault($client, "$what: it makes IDs");
	}
	return;
}

# Moves the clocks of clients to so many seconds after the true time.
sub clock_of
{
	my ($seconds, @clients) = @_;

	foreach my $client (@clients)
	{
		open my $fh, '+<', $client->{clock} or die "$client->{clock}: $!";
		syswrite $fh, pack 'q', int($seconds * 1e9);
		close $fh;
	}
	return;
}

# STOP or CONT.
sub signal_client
{
	my ($signal, @clients) = @_;

	foreach my $client (@clients)
	{
		pause_process(pid_of($client), $client->{name})  if $signal eq 'STOP';
		resume_process(pid_of($client), $client->{name}) if $signal eq 'CONT';
	}
	return;
}

# Ends it, which gives back the lease: to the millisecond after its last ID.
sub end_client
{
	my ($registry, $client) = @_;

	$client->{run}->signal('TERM');
	$client->{run}->finish;
	note_fault($client, "it fails: $client->{err}") if $client->{err} ne '';
	note_fault($client, "it says at its end: $client->{out}") unless $client->{out} =~ /^refused (\d+)$/;
	$client->{refused} = $1;

	my $last   = newest_of($client);
	my $worker = worker_in($last);
	my $state  = $registry->safe_psql('postgres', 'SELECT state, '
		  . ms('valid_until') . ' - ' . ms('epoch')
		  . " FROM snowflake_registry.status, snowflake_registry.registry WHERE worker_id = $worker");
	my $expected = 'ended|' . (time_in($last) + 1);

	note_fault($client, "the lease of worker ID $worker is $state, not $expected") unless $state eq $expected;
	return;
}

# Has a registry keep every state of every lease.
sub log_leases
{
	my ($registry) = @_;

	$registry->safe_psql('postgres', q{
		CREATE TABLE lease_log (holder text, worker_id integer, valid_from timestamptz, valid_until timestamptz);
		CREATE FUNCTION log_lease() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO public.lease_log VALUES (NEW.holder, NEW.worker_id, NEW.valid_from, NEW.valid_until);
			RETURN NULL;
		END
		$$;
		CREATE TRIGGER log_lease AFTER INSERT OR UPDATE ON snowflake_registry.worker
			FOR EACH ROW WHEN (NEW.token IS NOT NULL) EXECUTE FUNCTION log_lease();
	});
	return;
}

sub leases_of
{
	my ($registry, $client) = @_;
	return $registry->safe_psql('postgres', "SELECT count(DISTINCT (worker_id, valid_from)) FROM lease_log WHERE holder = '$client->{name}'");
}

# What was leased, in ms since the epoch: $leased{holder}{worker ID} is a list of
# [ from, until ].  Several registries may follow each other.
sub leased
{
	my (@registries) = @_;
	my %leased;

	foreach my $registry (@registries)
	{
		foreach my $row (split /\n/, $registry->safe_psql('postgres', q{SELECT holder, worker_id, }
			  . ms('valid_from') . ' - ' . ms('epoch') . ', ' . ms('max(valid_until)') . ' - ' . ms('epoch')
			  . ' FROM lease_log, snowflake_registry.registry GROUP BY holder, worker_id, valid_from, epoch'))
		{
			my ($holder, $worker, $from, $until) = split /\|/, $row;
			push @{ $leased{$holder}{$worker} }, [ $from, $until ];
		}
	}
	return \%leased;
}

# Reads all IDs of all clients, counts them, and notes what is wrong: none may come
# twice, those of each thread increase, and each lies in an interval that its holder
# had leased.
sub read_ids
{
	my ($leased, @clients) = @_;
	my %seen;

	foreach my $client (@clients)
	{
		$client->{ids} = 0;
		foreach my $file (@{ $client->{earlier} }, glob "$client->{file}.*")
		{
			my $previous = -1;
			my ($worker, $from, $until) = (-1, 0, 0);

			open my $fh, '<', $file or die "$file: $!";
			while (my $id = <$fh>)
			{
				# A process that is killed may leave half a line.
				next unless chomp $id;
				$client->{ids}++;
				note_fault($client, "$id came after $previous") if $id <= $previous;
				$previous = $id;
				if (defined $seen{$id})
				{
					note_fault($_, "$id came twice, from $client->{name} and $clients[$seen{$id}]{name}") foreach $client, $clients[ $seen{$id} ];
				}
				$seen{$id} = $client->{number} //= (grep { $clients[$_] == $client } 0 .. $#clients)[0];

				my $ms = time_in($id);
				next if worker_in($id) == $worker && $ms >= $from && $ms < $until;
				$worker = worker_in($id);
				my ($lease) = grep { $ms >= $_->[0] && $ms < $_->[1] } @{ $leased->{ $client->{name} }{$worker} // [] };
				if ($lease)
				{
					($from, $until) = @$lease;
				}
				else
				{
					note_fault($client, "$id has the time $ms ms, which it has not leased as worker ID $worker");
					($from, $until) = (0, 0);
				}
			}
			close $fh;
		}
	}
	return;
}

1;
