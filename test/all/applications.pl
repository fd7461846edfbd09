# The generators for applications, client/: one in Python, one in Go, one in
# JavaScript and one in C++, which do the same.  First all four go through the same
# faults, one by one.  Then each mistake that a generator could make is put into their
# sources, and has to be found.  At last four instances of each, and a server, issue
# IDs on worker IDs of one registry while clocks step, processes are stopped and
# killed, and the registry is restarted, stopped, fenced and failed over.  And the
# program of doc/applications.md that takes blocks runs.
#
# Ruled out: one ID from two holders, or twice from one; an ID that its holder's lease
# does not cover; IDs of a thread that do not increase; a call that waits for the
# registry while the lease lasts; a lease that is lost with an answer, or taken without
# need; a generator that does not recover by itself; a child that uses its parent's
# lease; a lease that is given back up to another millisecond than that after its last ID.
#
# Takes python3-psycopg, golang-go with golang-github-jackc-pgx-v4-dev, and node and
# npm in the PATH.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use List::Util ();
use lib "$FindBin::RealBin/../t";
use Applications;
use Page;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;
use Time::HiRes ();

my @languages = sort keys %language;
my $registry;

sub sql
{
	my ($sql) = @_;
	return $registry->safe_psql('postgres', $sql);
}

# Stops the processes of the registry, the postmaster first, so that there are no more
# of them.  Those of calls may end meanwhile.
sub pause_registry
{
	my $postmaster = $registry->{_pid};

	pause_process($postmaster, 'the registry');
	my @children = split /\n/, `pgrep -P $postmaster`;
	kill 'STOP', @children;
	return (@children, $postmaster);
}

sub resume_registry
{
	my (@children) = @_;
	my $postmaster = pop @children;

	kill 'CONT', @children;
	resume_process($postmaster, 'the registry');
	return;
}

# Those that had one lease before have taken another one.
sub took_none
{
	my ($what, $before, @clients) = @_;

	foreach my $client (@clients)
	{
		my $more = leases_of($registry, $client) - $before->{ $client->{name} };
		note_fault($client, "$what: it has taken $more more leases") if $more;
	}
	return;
}

sub leases_before
{
	return { map { $_->{name} => leases_of($registry, $_) } @_ };
}

# What all clients go through, in this order.  Each step notes what a client does
# wrong, and asserts that the fault happened.
my @steps = qw(renewals clock_back clock_ahead stopped lower_worker fork lost_answers hung restarts killed fenced);
my %step = (

	# Without a fault a lease is renewed, and no other one is taken.
	renewals => sub {
		my @clients = @_;
		my $before  = leases_before(@clients);
		my %from    = map { $_->{name} => ms_of($_) } @clients;

		foreach my $client (@clients)
		{
			soon(sub { ms_of($client) > $from{ $client->{name} } + 2500 * Applications::LEASE })
			  or note_fault($client, 'without a fault: it ends');
		}
		took_none('without a fault', $before, @clients);
	},

	# The clock goes back: it counts on, above the last ID.
	clock_back => sub {
		my @clients = @_;

		foreach my $offset (-1, -3600, 0)
		{
			clock_of($offset, @clients);
			goes_on("clock at $offset s", \@clients);
		}
	},

	# The clock goes ahead: by less than the registry's longest lease it gets another
	# end, by more it gets none, and has to stop.
	clock_ahead => sub {
		my @clients = @_;

		clock_of(3, @clients);
		goes_on('clock 3 s ahead', \@clients);
		clock_of(3600, @clients);
		stands_still('clock 1 h ahead', \@clients);
		clock_of(0, @clients);
		goes_on('clock set right', \@clients);
	},

	# It is stopped for longer than its lease, and somebody else has its worker ID.
	stopped => sub {
		my @clients = @_;
		my %worker  = map { $_->{name} => worker_by($_) } @clients;

		signal_client('STOP', @clients);
		foreach my $worker (values %worker)
		{
			ok($registry->poll_query_until('postgres', "SELECT state = 'ended' FROM snowflake_registry.status WHERE worker_id = $worker"),
				"the lease of worker ID $worker ends");
			ok(lease($registry, "'somebody else', '5 s', $worker"), "somebody else has worker ID $worker");
		}
		signal_client('CONT', @clients);
		goes_on('after it was stopped', \@clients);
		foreach my $client (@clients)
		{
			note_fault($client, 'after it was stopped: it has the worker ID of somebody else')
			  if worker_by($client) == $worker{ $client->{name} };
		}
	},

	# It loses its lease and gets a smaller worker ID, while its clock is behind, so that
	# it counts on within a millisecond.
	lower_worker => sub {
		my @clients = @_;
		my %worker;

		clock_of(-3600, @clients);
		goes_on('clock at -3600 s', \@clients);
		$worker{ $_->{name} } = worker_by($_) foreach @clients;
		my $workers = join ', ', values %worker;
		sql(qq{BEGIN;
			DELETE FROM snowflake_registry.worker WHERE worker_id < 100 AND worker_id NOT IN ($workers);
			UPDATE snowflake_registry.worker SET token = NULL, previous_token = NULL WHERE worker_id IN ($workers);
			UPDATE snowflake_registry.registry SET next_unused = 0;
			COMMIT});
		foreach my $client (@clients)
		{
			soon(sub { worker_by($client) != $worker{ $client->{name} } })
			  or note_fault($client, 'a void token: it has no other worker ID');
		}
		cmp_ok((grep { worker_by($_) < $worker{ $_->{name} } } @clients), '>', 0, 'there is a smaller worker ID');
		goes_on('after a void token', \@clients);
		clock_of(0, @clients);
	},

	# A child takes its own lease, and shares no ID with its parent, although both count
	# on from the same one.
	fork => sub {
		my @clients = grep { $language{ $_->{language} }{forks} } @_;

		clock_of(-3600, @clients);
		goes_on('clock at -3600 s', \@clients);
		kill 'USR1', pid_of($_) or die "$_->{name}: $!" foreach @clients;
		foreach my $client (@clients)
		{
			soon(sub { bytes_of($client, 1) > 4000 }) or note_fault($client, 'its child makes no IDs');
			next unless bytes_of($client, 1);
			note_fault($client, 'its child has its worker ID') if worker_by($client, 1) == worker_by($client);
		}
		goes_on('after a fork', \@clients);
		clock_of(0, @clients);
	},

	# A renewal is committed, and its answer is lost.
	lost_answers => sub {
		my @clients = @_;
		my $before  = leases_before(@clients);

		sql(q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
		$registry->reload;
		foreach my $client (@clients)
		{
			ok( $registry->poll_query_until('postgres', qq{
					SELECT EXISTS (SELECT FROM pg_stat_activity
						WHERE application_name = '$client->{name}' AND wait_event = 'SyncRep')}),
				"$client->{name}: a call is not answered");
		}

		# Longer than they wait.
		Time::HiRes::sleep(6);
		sql('ALTER SYSTEM RESET synchronous_standby_names');
		$registry->reload;
		goes_on('after a lost answer', \@clients);
		took_none('after a lost answer', $before, @clients);
	},

	# The registry hangs for longer than a lease.  IDs are issued while it lasts.
	hung => sub {
		my @clients = @_;
		my @pids    = pause_registry();

		goes_on('while the registry hangs', \@clients, patience => 1);
		stands_still('while the registry hangs', \@clients);
		resume_registry(@pids);
		goes_on('after the registry hung', \@clients);
	},

	restarts => sub {
		my @clients = @_;

		$registry->restart;
		goes_on('after a restart of the registry', \@clients);
		$registry->stop('immediate');
		goes_on('while the registry is away', \@clients, patience => 1);
		stands_still('while the registry is away', \@clients);
		$registry->start;
		goes_on('after a crash of the registry', \@clients);
	},

	killed => sub {
		my @clients = @_;

		replace_client($registry, $_) foreach @clients;
		goes_on('after it was killed', \@clients);
	},

	fenced => sub {
		my @clients = @_;

		sql('SELECT snowflake_registry.fence()');
		stands_still('after a fence', \@clients);
		goes_on('after a fence', \@clients);
	},
);

# Starts one client of each language that has a program, has them go through the steps,
# and returns them, with what was found.
sub go_through
{
	my ($programs, @names) = @_;

	# So that lower_worker finds some that are smaller.
	sql('UPDATE snowflake_registry.registry SET next_unused = least(200, (1 << worker_bits) / 2)');
	my @clients = map { start_client($registry, $_, $programs) } sort keys %$programs;

	goes_on('at the start', \@clients);
	foreach my $name (@names)
	{
		note("step $name");
		$step{$name}->(@clients);
	}
	end_client($registry, $_) foreach @clients;
	read_ids(leased($registry), @clients);
	return @clients;
}

sub new_log
{
	my ($name, $id_bits) = @_;
	my $node = new_registry($name, conf => 'max_connections = 200', init => [ allows_streaming => 1 ]);

	log_leases($node);

	# The sequence has 6 bits.
	$id_bits //= 63;
	$Applications::worker_bits = $id_bits - 47;
	set_up($node, "worker_bits => $Applications::worker_bits, id_bits => $id_bits, longest_lease => '6 s', fence_itself => true, most_per_holder => 1000");
	return $node;
}

# One by one
$registry = new_log('registry');
my $programs = build($registry);

foreach my $client (go_through($programs, @steps))
{
	is_deeply($client->{faults}, [], "$client->{name}: nothing is wrong");
	cmp_ok($client->{ids}, '>', 1000, "$client->{name}: it has made $client->{ids} IDs");
	cmp_ok($client->{refused}, '>', 0, "$client->{name}: without a lease it has refused to");
}

# IDs of 53 bits
$registry->stop;
$registry = new_log('registry53', 53);
foreach my $client (go_through($programs, 'renewals', 'stopped'))
{
	is_deeply($client->{faults}, [], "$client->{name}, 53 bits: nothing is wrong");
	cmp_ok(newest_of($client), '<', 2**53, "$client->{name}: an ID has 53 bits");
}
$registry->stop;

$registry = new_log('registry63');

# Mistakes, the step that finds each, and in which words; and for each language what is
# replaced in the source.
my @mistakes = (
	{
		name       => 'the old token is kept',
		step       => 'renewals',
		found      => qr/more leases/,
		Python     => [ 'self._token = lease.token', 'self._token = self._token or lease.token' ],
		Go         => [ 's.lease = new', "if old.token != \"\" {\nnew.token = old.token\n}\ns.lease = new" ],
		JavaScript => [ 'this.#token = row.token', 'this.#token ??= row.token' ],
		'C++'      => [ 'token_ = answer.uuid("token")', 'token_ = token_.empty() ? answer.uuid("token") : token_' ],
	},
	{
		name       => 'a repetition is another attempt',
		step       => 'lost_answers',
		found      => qr/more leases/,
		Python     => [ 'self._attempt or uuid.uuid4()', 'uuid.uuid4()' ],
		Go         => [ 'if s.attempt == ""', 'if true' ],
		JavaScript => [ 'this.#attempt ??=', 'this.#attempt =' ],
		'C++'      => [ 'for (std::random_device random;', 'attempt_.clear(); for (std::random_device random;' ],
	},
	{
		name       => 'the end of the lease is ignored',
		step       => 'clock_ahead',
		found      => qr/which it has not leased/,
		Python     => [ 'if end > (self._until - self._epoch) << bits:', 'if self._closed:' ],
		Go         => [ 'if end > s.lease.tick(s.lease.until)', 'if s.lease.epoch == 0' ],
		JavaScript => [ 'this.#closed || last_ms >= this.#lease.until', 'this.#closed' ],
		'C++'      => [ 'publish({worker, until}', 'publish({worker, kEndOfTime}' ],
	},
	{
		name       => 'the next tick is not above the last one',
		step       => 'clock_back',
		found      => qr/came after|came twice/,
		Python     => [ 'first = self._last + 1 if first <= self._last else first |', 'first |=' ],
		Go         => [ 'if first <= s.last', 'if false' ],
		JavaScript => [ 'if (ms > this.#ms)', 'if (true)' ],
		'C++'      => [ 'const Claim claim = generator_', 'generator_.open(layout_.tick_of(now) - 1); const Claim claim = generator_' ],
	},
	{
		name       => 'another worker ID in the same millisecond',
		step       => 'lower_worker',
		found      => qr/came after/,
		Python     => [ 'self._last |= (1 << self._bits) - 1', 'pass' ],
		Go         => [ 's.last |= 1<<new.bits - 1', 's.last |= 0' ],
		JavaScript => [ 'this.#sequence = (1 << layout.sequence_bits) - 1', 'this.#sequence |= 0' ],
		'C++'      => [ 'layout.tick_of(std::max(newest_ + 1, from))', 'std::max(last == Generator::kClosed ? 0 : last, layout.tick_of(from))' ],
	},
	{
		name   => 'a child keeps the lease of its parent',
		step   => 'fork',
		found  => qr/came twice/,
		Python => [ 'lambda: begin() and begin()()', 'lambda: None' ],
		'C++'  => [ 'forks++;', '' ],
	});

foreach my $mistake (@mistakes)
{
	foreach my $client (go_through(build($registry, $mistake), $mistake->{step}))
	{
		my ($fault) = grep { $_ =~ $mistake->{found} } @{ $client->{faults} };

		ok($fault, "$client->{language}, $mistake->{name}: is found")
		  or diag(join "\n", @{ $client->{faults} });
		note($fault) if $fault;
	}
}
$registry->stop;

# All at once: 4 instances of each language make so many IDs each.
my $each = $ENV{SNOWFLAKE_TEST_LONG} ? 100_000 : 20_000;
my $dir  = PostgreSQL::Test::Utils::tempdir();
my $seed = $ENV{APPLICATIONS_SEED} // time;

note("APPLICATIONS_SEED=$seed");
srand $seed;
my $old = $registry = new_log('registry2');
my $standby = new_standby($registry, 'standby');
my $server = new_node('server', registry => $registry,
	conf => "snowflake.worker_bits = 16\nsnowflake.lease_duration = 3s\ncluster_name = 'server'");
my $statements = "$dir/statements.sql";
append_to_file($statements, "SELECT snowflake_next() FROM generate_series(1, 20);\nSELECT FROM pg_sleep(0.005);\n" x 200_000);
my $beside = {
	name    => 'server',
	file    => "$dir/server",
	earlier => [],
	faults  => [],
	run     => IPC::Run::start([ 'psql', '-XqAt', '-d', $server->connstr('postgres'), '-f', $statements ],
		'<', \undef, '>', "$dir/server.0", '2>', "$dir/errors"),
};
my @clients = map { my $language = $_; map { start_client($registry, $language, $programs, threads => 1, pause => 10) } 1 .. 4 } @languages;

goes_on('at the start', [ @clients, $beside ]);

sub some
{
	my ($n) = @_;
	my @shuffled = List::Util::shuffle(@clients);
	return @shuffled[ 0 .. $n - 1 ];
}

my %fault = (
	'clocks step' => sub {
		my @some = some(6);

		clock_of((-3600, -2, 2, 3600)[ rand 4 ], $_) foreach @some;
		goes_on('while clocks step', [$beside]);
		Time::HiRes::sleep(rand 4);
		clock_of(0, @some);
	},
	'clients are stopped' => sub {
		my @some = some(4);

		signal_client('STOP', @some);
		foreach my $client (@some)
		{
			ok($registry->poll_query_until('postgres',
					"SELECT count(*) = 0 FROM snowflake_registry.status WHERE holder = '$client->{name}' AND state = 'leased'"),
				"$client->{name} has no lease");
		}
		signal_client('CONT', @some);
	},
	'clients are killed' => sub { replace_client($registry, $_) foreach some(3); },
	'the registry is restarted' => sub { $registry->restart; },
	'the registry crashes' => sub {
		$registry->stop('immediate');
		goes_on('without the registry', [$beside], patience => 3);
		Time::HiRes::sleep(rand 4);
		$registry->start;
	},
	'the registry hangs' => sub {
		my @pids = pause_registry();

		Time::HiRes::sleep(rand 8);
		resume_registry(@pids);
	},
	'the registry is fenced' => sub {
		is(sql('SELECT snowflake_registry.fence() > clock_timestamp()'), 't', 'no worker ID is free for some time');
		ok($registry->poll_query_until('postgres', q{SELECT count(*) > 16 FROM snowflake_registry.status WHERE state = 'leased'}),
			'all lease again');
	},

	# To a standby that lacks the latest commits, at the same address.
	'the registry fails over' => sub {
		my $port = $registry->port;

		return if $registry == $standby;
		$standby->append_conf('postgresql.conf', "primary_conninfo = ''");
		$standby->reload;
		ok($standby->poll_query_until('postgres', 'SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)'), 'the standby is cut off');
		ok($standby->poll_query_until('postgres', 'SELECT max(valid_until) < clock_timestamp() FROM snowflake_registry.worker'),
			'it has no lease that has not ended');
		$registry->stop('immediate');
		$standby->stop;
		$standby->append_conf('postgresql.conf', "port = $port");
		$standby->{_port} = $port;
		$standby->start;
		$standby->promote;
		$registry = $standby;
		ok($registry->poll_query_until('postgres', 'SELECT timeline = 2 AND fence_needed IS NULL FROM snowflake_registry.registry'),
			'it fences itself');
		ok($registry->poll_query_until('postgres', q{SELECT count(*) > 16 FROM snowflake_registry.status WHERE state = 'leased'}),
			'all lease again');
	});

# Each at least once, and on until there are enough.
my @to_come = List::Util::shuffle(sort keys %fault);
my $rounds = 0;
while (@to_come || grep { ($_->{taken} = List::Util::sum0(map { -s $_ } @{ $_->{earlier} }, ids_of($_))) < 20 * $each } @clients)
{
	my $name = shift @to_come // (sort keys %fault)[ rand keys %fault ];

	note($name);
	$fault{$name}->();
	goes_on("$name, and after that", [ @clients, $beside ], patience => 60);
	last if ++$rounds == 100;
}
note("$rounds faults");

end_client($registry, $_) foreach @clients;
$beside->{run}->signal('TERM');
$beside->{run}->finish;

# What the old registry had leased before it was stopped counts, too.
$old->append_conf('postgresql.conf', 'port = ' . ($old->{_port} = PostgreSQL::Test::Cluster::get_free_port()));
$old->start;
my $logged = 'SELECT DISTINCT holder, worker_id, valid_from, valid_until FROM lease_log ORDER BY 1, 2, 3, 4';
my %kept = map { $_ => 1 } split /\n/, $registry->safe_psql('postgres', $logged);
cmp_ok((grep { !$kept{$_} } split /\n/, $old->safe_psql('postgres', $logged)), '>', 0, 'the failover lost leases');

# A server's name is followed by where it runs.
my $leased = leased($registry, $old);
my ($holder) = grep { /^server / } keys %$leased;
$leased->{server} = $leased->{ $holder // '' };
read_ids($leased, @clients, $beside);
foreach my $client (@clients, $beside)
{
	is_deeply($client->{faults}, [], "$client->{name}: nothing is wrong");
	cmp_ok($client->{ids}, '>', $each, "$client->{name}: it has made $client->{ids} IDs");
}

# Blocks, as doc/applications.md has them, for threads of a process and of its child.
append_to_file("$dir/blocks.py", page_block('applications.md', 'python blocks') . <<'END');
import sys

ids = Ids('')
ids.next()
child = os.fork()
def take(n):
    with open(f'{sys.argv[1]}.{child == 0}.{n}', 'w') as file:
        for _ in range(5000):
            print(ids.next(), file=file)
threads = [threading.Thread(target=take, args=(n,)) for n in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if child:
    os.waitpid(child, 0)
END
{
	local %ENV = (%ENV, PGHOST => $server->host, PGPORT => $server->port, PGDATABASE => 'postgres');
	ok(IPC::Run::run([ '/usr/bin/python3', "$dir/blocks.py", "$dir/blocks" ]), 'blocks');
}
is(check_ids('blocks', [ glob "$dir/blocks.*.*" ]), 30_000, 'blocks: all of them');

$_->stop foreach $server, $registry, $old;
done_testing();
