# Load.pm
#		Clients that take IDs as long as the torture lasts, and keep each one they
#		got, with what they knew when they began; and what is wrong with them.
#
# A client is one psql after the other.  Each one's IDs, in the order in which they
# came, are a session's file.  Its floor is the greatest ID that stood in any file
# when it was started: all of its own have to be above (promise P2), whatever
# happened to the servers in between.
package Load;

use strict;
use warnings;

use Errno ();
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Utils ();
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

# A client that is held or refused tries again after this many seconds.
use constant RETRY => 0.5;

# Clients read this many bytes in so many seconds, 10000 IDs a second; else the
# check would take longer than the torture.  The server waits for them.
use constant { CHUNK => 16384, CHUNK_SECONDS => 0.08 };

my $calls   = 'SELECT snowflake_next() FROM (SELECT generate_series(1, 1000000000)) AS calls';
my $batches = 'SELECT snowflake_next(1000000000)';
my @clients = map { { sql => $_, retry_at => 0 } } $calls, $calls, $batches, $batches;
my @sessions;
my $highest = -1;

# The ID in the last whole line of a file that is being written.
sub last_id
{
	my ($file) = @_;
	my $end = '';

	open my $fh, '<', $file or return -1;
	seek $fh, -64, 2 if -s $file > 64;
	read $fh, $end, 64;
	close $fh;
	return $end =~ /(?:^|\n)(\d+)\n\d*\z/ ? $1 : -1;
}

# The greatest ID that was certainly returned by now.
sub highest
{
	foreach my $session (grep { !$_->{seen} } @sessions)
	{
		my $ended = has_ended($session);
		my $last  = last_id($session->{file});

		$highest = $last if $last > $highest;
		$session->{seen} = $ended;
	}
	return $highest;
}

sub new_session
{
	my ($name) = @_;
	my $session = {
		name  => $name,
		floor => highest(),
		file  => PostgreSQL::Test::Utils::tempdir() . '/session' . @sessions,
	};

	push @sessions, $session;
	return $session;
}

# What a session's process does: psql, read as slowly as it is to be.
sub read_ids
{
	my ($session, $connstr, $sql, $throttled) = @_;

	open my $out, '>', $session->{file} or return;
	my $psql = open my $ids, '-|', 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $connstr,
	  '-c', "COPY ($sql) TO STDOUT";
	return unless $psql;

	local $SIG{TERM} = sub { $throttled = 0; kill 'INT', $psql };
	for (;;)
	{
		my $bytes = sysread $ids, my $buffer, CHUNK;

		next if !defined $bytes && $!{EINTR};
		last unless $bytes;
		syswrite $out, $buffer;
		select undef, undef, undef, CHUNK_SECONDS if $throttled;
	}
	return;
}

sub start_session
{
	my ($node, $name, $sql, $throttled) = @_;
	my $session = new_session($name);
	my $connstr = $node->connstr('postgres') . " application_name=$name";

	$session->{pid} = fork // die "fork: $!";
	return $session if $session->{pid};

	# Without the END blocks: they would stop the servers.
	read_ids($session, $connstr, $sql, $throttled);
	POSIX::_exit(0);
}

sub has_ended
{
	my ($session) = @_;
	$session->{ended} ||= waitpid($session->{pid}, WNOHANG) != 0;
	return $session->{ended};
}

# Sees to it that every client has a session, while $seconds pass.
sub keep_busy
{
	my ($node, $seconds) = @_;
	my $end = clock_gettime(CLOCK_MONOTONIC) + $seconds;

	for (;;)
	{
		my $now = clock_gettime(CLOCK_MONOTONIC);

		foreach my $i (0 .. $#clients)
		{
			my $client = $clients[$i];

			next if $client->{session} && !has_ended($client->{session}) || $now < $client->{retry_at};
			$client->{session}  = start_session($node, "client$i", $client->{sql}, 1);
			$client->{retry_at} = $now + RETRY;
		}
		last if $now >= $end;
		select undef, undef, undef, 0.05;
	}
	return;
}

# One call, which has to return or fail within a minute.  Returns the ID or
# nothing, and the error.
sub probe
{
	my ($node) = @_;
	my $session = new_session('probe');
	my $late = 0;
	my ($status, $id, $error) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSELECT snowflake_next()", timeout => 60, timed_out => \$late);

	PostgreSQL::Test::Utils::append_to_file($session->{file}, "$id\n") if $id ne '';
	$session->{ended} = 1;
	return ($id, $late ? 'no answer' : $error);
}

# Takes IDs as fast as it can, so that they run ahead of the clock, until so many
# bytes of them are there, or no more come.
sub burst
{
	my ($node, $ids, $bytes) = @_;
	my $session = start_session($node, 'burst', "SELECT snowflake_next($ids)", 0);
	my $idle    = 0;

	for (my $size = 0; $size < $bytes && $idle < 20 && !has_ended($session);)
	{
		my $before = $size;

		select undef, undef, undef, 0.05;
		$size = -s $session->{file} // 0;
		$idle = $size > $before ? 0 : $idle + 1;
	}
	return;
}

sub stop
{
	my @running = map { $_->{pid} } grep { !has_ended($_) } @sessions;

	kill 'TERM', @running;
	waitpid $_, 0 foreach @running;
	return;
}

# How many there are by now, about.
sub count
{
	my $bytes = 0;
	$bytes += -s $_->{file} // 0 foreach @sessions;
	return int($bytes / 19);
}

# Reads all that was kept.  Returns the counts, and the first of what is wrong.
sub verdict
{
	my %verdict = (ids => 0, sessions => 0, order => 0, duplicates => 0, evidence => []);
	my @files;

	foreach my $session (@sessions)
	{
		next unless -s $session->{file};

		my $previous = $session->{floor};
		my $session_order = 0;

		open my $fh, '<', $session->{file} or die "$session->{file}: $!";
		while (<$fh>)
		{
			/\A\d+\n\z/ or die "not an ID in $session->{file}: $_";
			if ($_ <= $previous)
			{
				push @{ $verdict{evidence} }, sprintf 'session %s: %d came after %d', $session->{name}, $_, $previous
				  unless $session_order++;
			}
			$previous = $_ + 0;
			$verdict{ids}++;
		}
		close $fh;
		$verdict{order} += $session_order;
		push @files, $session->{file};
	}
	$verdict{sessions} = @files;
	return \%verdict unless @files;

	# Each file is sorted, or its order was found wrong.
	my $list = PostgreSQL::Test::Utils::tempdir() . '/sessions';
	PostgreSQL::Test::Utils::append_to_file($list, join "\0", @files);
	open my $twice, '-|', "LC_ALL=C sort -n -m --batch-size=500 --files0-from=$list | uniq -d" or die "sort: $!";
	while (<$twice>)
	{
		chomp;
		push @{ $verdict{evidence} }, "$_ came twice" unless $verdict{duplicates}++ > 3;
	}
	close $twice or die 'could not sort the IDs';
	splice @{ $verdict{evidence} }, 10;
	return \%verdict;
}

1;
