# Load.pm
#		Clients that take IDs as long as the torture lasts, and keep each one they
#		got, with what they knew when they began.  Verdict.pm checks the IDs at the
#		end.
#
# A client is one psql after the other.  The IDs of each, in the order in which they
# came, are a session's file.
#
# Its floor is the greatest ID in any file of its server when it was started: all of
# its own must be above that (promise P2), whatever happened in between.  A server
# that is promoted must be above the old primary, too.
#
# A client also reads the server's clock before and after each ID (promise P3).
# An ID whose time is not between the one and the other plus max_ahead, as that
# statement has it, is written down beside the session's file; it is excused when
# the clock was set meanwhile.
package Load;

use strict;
use warnings;

use Errno ();
use List::Util qw(max);
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Utils ();
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

# A client that is blocked or refused tries again after this many seconds.
use constant RETRY => 0.5;

# Clients read this many bytes in so many seconds, some 10000 IDs a second in all;
# otherwise the check would take longer than the torture.  The server waits for them.
use constant { CHUNK => 65536, CHUNK_SECONDS => 0.26 };

# The layout's epoch, 2023, in Unix milliseconds, and its 22 bits below the time.
use constant { EPOCH => 1_672_531_200_000, LOW_BITS => 22 };

# snowflake_next(n) claims so many IDs at a time, at most: one of them may have
# been claimed as many rows before it came.
use constant BATCH => 256;

# A backend may read its clock once a millisecond, so it may notice a millisecond
# late that the clock was set.
use constant CLOCK_READ_NS => 1_000_000;

my $watched = 'SELECT clock_ns(1), clock_ns(0), %s, clock_ns(0), clock_ns(1), current_setting(\'snowflake.max_ahead\')%s';
my $calls   = sprintf $watched, 'snowflake_next()', ' FROM (SELECT generate_series(1, 1000000000)) AS calls';
my $batches = sprintf $watched, 'snowflake_next(1000000000)', '';

# Two of the clients are the standby's, if that issues IDs.
my @clients = (
	map({ { of => 'primary', sql => $calls, claims => 1 } } 1, 2),
	map({ { of => 'primary', sql => $batches, claims => BATCH } } 1, 2),
	{ of => 'standby', sql => $calls,   claims => 1 },
	{ of => 'standby', sql => $batches, claims => BATCH });
my @sessions;

sub sessions { return @sessions; }

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

sub has_ended
{
	my ($session) = @_;
	$session->{ended} ||= waitpid($session->{pid}, WNOHANG) != 0;
	return $session->{ended};
}

# What a server has issued so far, by its name: the greatest ID that was certainly
# returned, and the sessions that may have more.
my %issued;

sub begin_order
{
	my ($node) = @_;
	$issued{ $node->name } = { highest => -1, sessions => [] };
	return;
}

# The server was promoted: it continues from the old primary, too.
sub continue_order
{
	my ($node, $old) = @_;
	my ($own, $other) = map { $issued{ $_->name } } $node, $old;

	$own->{highest} = max($own->{highest}, $other->{highest});
	push @{ $own->{sessions} }, @{ $other->{sessions} };
	return;
}

sub highest
{
	my ($node) = @_;
	my $issued = $issued{ $node->name };
	my @running;

	foreach my $session (@{ $issued->{sessions} })
	{
		push @running, $session unless has_ended($session);
		$issued->{highest} = max($issued->{highest}, last_id($session->{file}));
	}
	$issued->{sessions} = \@running;
	return $issued->{highest};
}

# claims: among how many rows before it an ID may have been claimed; 0 when its
# clock is not looked at.
sub new_session
{
	my ($node, $name, $claims) = @_;
	my $session = {
		name   => $name,
		server => $node->name,
		floor  => highest($node),
		claims => $claims,
		steps  => $node->{clock_steps},
		file   => PostgreSQL::Test::Utils::tempdir() . '/session' . @sessions,
	};

	push @sessions, $session;
	push @{ $issued{ $node->name }{sessions} }, $session;
	return $session;
}

my %unit = (ms => 1, s => 1000, min => 60_000, h => 3_600_000);

sub milliseconds
{
	my ($text) = @_;
	return $1 * ($2 ? $unit{$2} : 1) if $text =~ /\A(\d+)(ms|s|min|h)?\z/;
	die "not a duration: $text";
}

# Nanoseconds take 61 bits, more than a double has.
sub id_time
{
	my ($ns) = @_;
	use integer;
	return $ns / 1_000_000 - EPOCH;
}

# The rows of a watched session.  Returns a sub that is given a row, and returns
# its ID; IDs of another time than the clock's go to the other file.
sub row_reader
{
	my ($session) = @_;
	my $claims = $session->{claims};
	my @before;    # monotonic time and clock, before as many rows
	my $n = 0;

	open my $suspects, '>', "$session->{file}.clock" or die "open: $!";
	return sub {
		my ($row) = @_;
		my ($start, $clock, $id, $clock_after, $end, $ahead) = split /\t/, $row;

		$before[ $n % $claims ] = [ $start, $clock ];
		my $earliest = $before[ $n < $claims ? 0 : ($n + 1) % $claims ];
		$n++;
		my $ms    = $id >> LOW_BITS;
		my $least = id_time($earliest->[1]);
		my $most  = id_time($clock_after) + milliseconds($ahead);

		if ($ms < $least || $ms > $most)
		{
			printf $suspects "%d %d %d %d %d %d\n", $earliest->[0] - CLOCK_READ_NS, $end, $id, $ms, $least, $most;
		}
		return $id;
	};
}

# What a session's process does: it reads from psql, at the intended pace.
sub read_ids
{
	my ($session, $connstr, $sql) = @_;
	my $throttled = $session->{claims};
	my $id_of     = $throttled && row_reader($session);
	my $rest      = '';

	open my $out, '>', $session->{file} or return;
	my $psql = open my $rows, '-|', 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $connstr,
	  '-c', "COPY ($sql) TO STDOUT";
	return unless $psql;

	local $SIG{TERM} = sub { $throttled = 0; kill 'INT', $psql };
	for (;;)
	{
		my $bytes = sysread $rows, my $buffer, CHUNK;

		next if !defined $bytes && $!{EINTR};
		last unless $bytes;
		if ($id_of)
		{
			my @lines = split /\n/, $rest . $buffer, -1;

			$rest   = pop @lines;
			$buffer = join '', map { $id_of->($_) . "\n" } @lines;
		}
		syswrite $out, $buffer;
		select undef, undef, undef, CHUNK_SECONDS if $throttled;
	}
	return;
}

sub start_session
{
	my ($node, $name, $sql, $claims) = @_;
	my $session = new_session($node, $name, $claims);
	my $connstr = $node->connstr('postgres') . " application_name=$name";

	$session->{pid} = fork // die "fork: $!";
	return $session if $session->{pid};

	# Without the END blocks: they would stop the servers.
	eval { read_ids($session, $connstr, $sql); 1 } or print STDERR $@;
	POSIX::_exit(0);
}

# Makes sure that every client has a session, while $seconds pass.  A session on a
# standby that was promoted continues by itself.
sub keep_busy
{
	my ($seconds, %node) = @_;
	my $end = clock_gettime(CLOCK_MONOTONIC) + $seconds;

	for (;;)
	{
		my $now = clock_gettime(CLOCK_MONOTONIC);

		foreach my $i (0 .. $#clients)
		{
			my $client = $clients[$i];
			my $node   = $node{ $client->{of} } or next;

			next if $now < ($client->{retry_at} // 0);
			next
			  if $client->{session}
			  && $client->{session}{server} eq $node->name
			  && !has_ended($client->{session});
			$client->{session}  = start_session($node, "client$i", $client->{sql}, $client->{claims});
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
	my $session = new_session($node, 'probe', 0);
	my $late = 0;
	my ($status, $id, $error) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSELECT snowflake_next()", timeout => 60, timed_out => \$late);

	PostgreSQL::Test::Utils::append_to_file($session->{file}, "$id\n") if $id ne '';
	$session->{ended} = 1;
	return ($id, $late ? 'no answer' : $error);
}

# Takes IDs as fast as it can, so that they run ahead of the clock, until so many
# bytes of them are there, or no more come.  Returns how many bytes came.
sub burst
{
	my ($node, $ids, $bytes) = @_;
	my $session = start_session($node, 'burst', "SELECT snowflake_next($ids)", 0);
	my $idle = 0;
	my $size = 0;

	for (; $size < $bytes && $idle < 20 && !has_ended($session);)
	{
		my $before = $size;

		select undef, undef, undef, 0.05;
		$size = -s $session->{file} // 0;
		$idle = $size > $before ? 0 : $idle + 1;
	}
	return -s $session->{file} // 0;
}

sub stop
{
	my @running = map { $_->{pid} } grep { !has_ended($_) } @sessions;

	kill 'TERM', @running;
	waitpid $_, 0 foreach @running;
	return;
}

# Roughly how many there are by now.
sub count
{
	my $bytes = 0;
	$bytes += -s $_->{file} // 0 foreach @sessions;
	return int($bytes / 19);
}

1;
