# Registry.pm
#		What the tests of snowflake_registry share: a server that is a registry, and
#		the check that no two leases of one worker ID overlap.
package Registry;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

our @EXPORT = qw(new_registry set_up lease renew ms check_leases all_leases);

# A server with the extension in the database postgres, not set up.  Options:
# conf (lines of postgresql.conf), init => [ options of init() ].
sub new_registry
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(@{ $options{init} // [] });
	$node->append_conf('postgresql.conf', 'log_statement = none');
	$node->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION snowflake_registry');
	return $node;
}

sub set_up
{
	my ($node, $arguments) = @_;
	return $node->safe_psql('postgres', 'SELECT snowflake_registry.setup(' . ($arguments // '') . ')');
}

# The whole milliseconds of a time since 1970, in SQL.
sub ms
{
	my ($time) = @_;
	return "(extract(epoch FROM $time) * 1000)::bigint";
}

# A call of lease() or renew(), with these arguments; what was returned, or
# undef when the call failed.
sub ask
{
	my ($node, $function, $arguments) = @_;
	my ($status, $out, $err) = $node->psql('postgres', qq{
		CALL snowflake_registry.$function($arguments) \\gset
		SELECT :worker_id, :'token', :'valid_until', :'registry', }
		  . ms(q{:'valid_from'::timestamptz}) . ', ' . ms(q{:'valid_until'::timestamptz}));
	my %lease;

	return undef if $status != 0;
	@lease{qw(worker_id token valid_until registry from until)} = split /\|/, $out;
	return \%lease;
}

sub lease
{
	my ($node, $arguments) = @_;
	return ask($node, 'lease', $arguments);
}

sub renew
{
	my ($node, $lease, $arguments) = @_;
	return ask($node, 'renew', "'$lease->{token}'" . ($arguments ? ", $arguments" : ''));
}

# Leases, from a query that returns worker ID, beginning and end.
sub all_leases
{
	my ($node, $database, $query) = @_;
	return map { my %lease; @lease{qw(worker_id from until)} = split /\|/; \%lease }
	  split /\n/, $node->safe_psql($database, $query);
}

# No two leases of one worker ID overlap.  Returns how many there are.
sub check_leases
{
	my ($name, @leases) = @_;
	my %end;
	my $overlaps = 0;

	foreach my $lease (sort { $a->{from} <=> $b->{from} || $a->{until} <=> $b->{until} } @leases)
	{
		my $end = $end{ $lease->{worker_id} };

		next if $lease->{until} == $lease->{from};
		if (defined $end && $lease->{from} < $end)
		{
			$overlaps++;
			diag("worker ID $lease->{worker_id} was leased until $end, and again from $lease->{from}") if $overlaps < 5;
		}
		$end{ $lease->{worker_id} } = $lease->{until} unless defined $end && $end > $lease->{until};
	}
	is($overlaps, 0, "$name: no two of " . @leases . ' leases overlap');
	cmp_ok(scalar @leases, '>', scalar keys %end, "$name: worker IDs were leased again");
	return scalar @leases;
}

1;
