# Verdict.pm
#		Reads everything that the clients kept, and finds what is wrong with it.
#
# P1: no ID came twice, whichever server it is from; and none is outside of what
# its server had leased.  P2: each session's IDs increase, from its floor on.
# P3: an ID has the time of the clock that was read before and after it.
package Verdict;

use strict;
use warnings;

use PostgreSQL::Test::Utils ();
use Load;

# How many violations of each kind are shown.
use constant EVIDENCE => 10;

my %verdict;

# Counts violations, and keeps the first of each kind.
sub note
{
	my ($kind, $what, @values) = @_;
	push @{ $verdict{evidence} }, sprintf $what, @values if !$verdict{$kind}++ && @{ $verdict{evidence} } < EVIDENCE;
	return;
}

# The lease that a server had of this worker ID at this time, as [ from, until ].
sub lease_of
{
	my ($leases, $server, $worker, $ms) = @_;

	foreach my $lease (@{ $leases->{$server}{$worker} // [] })
	{
		return $lease if $ms >= $lease->[0] && $ms < $lease->[1];
	}
	return undef;
}

# One session's IDs.  leases is what Leases::all() returns, or undef.
sub read_session
{
	my ($session, $leases) = @_;
	my $previous = $session->{floor};
	my ($worker, $from, $until) = (-1, 0, 0);

	open my $fh, '<', $session->{file} or die "$session->{file}: $!";
	while (<$fh>)
	{
		/\A\d+\n\z/ or die "not an ID in $session->{file}: $_";
		note('order', 'session %s on %s: %d came after %d', $session->{name}, $session->{server}, $_, $previous)
		  if $_ <= $previous;
		$previous = $_ + 0;
		$verdict{ids}++;
		$verdict{looked_at}++ if $session->{claims};
		next unless $leases;

		my $ms = $previous >> Load::LOW_BITS;
		next if ($previous >> 6 & 0xffff) == $worker && $ms >= $from && $ms < $until;
		my $lease = lease_of($leases, $session->{server}, $previous >> 6 & 0xffff, $ms);
		if ($lease)
		{
			($worker, $from, $until) = ($previous >> 6 & 0xffff, @$lease);
			next;
		}
		note('unleased', '%s issued %d, as worker %d at %d ms, which it had not leased',
			$session->{server}, $previous, $previous >> 6 & 0xffff, $ms);
	}
	close $fh;
	return;
}

# The IDs whose time was not the clock's.  One is excused when the clock was set
# between the first moment at which it may have been claimed and the last.
sub read_suspects
{
	my ($session) = @_;

	open my $fh, '<', "$session->{file}.clock" or return;
	while (<$fh>)
	{
		my ($start, $end, $id, $ms, $least, $most) = split;

		unless (defined $most && /\n\z/)
		{
			die "not a suspect in $session->{file}.clock: $_";
		}
		if (grep { $_->[0] <= $end && $_->[1] >= $start } @{ $session->{steps} })
		{
			$verdict{excused}++;
			next;
		}
		note('time', 'session %s on %s: %d has the time %d ms, not %d to %d',
			$session->{name}, $session->{server}, $id, $ms, $least, $most);
	}
	close $fh;
	return;
}

# Each file is sorted, or was found to be out of order.
sub find_duplicates
{
	my @files = @_ or return;
	my $list = PostgreSQL::Test::Utils::tempdir() . '/sessions';

	PostgreSQL::Test::Utils::append_to_file($list, join "\0", @files);
	open my $twice, '-|', "LC_ALL=C sort -n -m --batch-size=500 --files0-from=$list | uniq -d" or die "sort: $!";
	while (<$twice>)
	{
		chomp;
		note('duplicates', '%s came twice', $_);
	}
	close $twice or die 'could not sort the IDs';
	return;
}

# The counts, and the first of what is wrong.
sub of
{
	my ($leases) = @_;
	my @sessions = grep { -s $_->{file} } Load::sessions();

	%verdict = (map({ $_ => 0 } qw(ids looked_at excused order time unleased duplicates)), evidence => []);
	$verdict{sessions} = @sessions;
	foreach my $session (@sessions)
	{
		read_session($session, $leases);
		read_suspects($session) if $session->{claims};
	}
	find_duplicates(map { $_->{file} } @sessions);
	return \%verdict;
}

1;
