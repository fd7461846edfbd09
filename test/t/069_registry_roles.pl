# Who may do what; and the registry where extension files cannot be installed, run
# by psql as somebody who is no superuser.
#
# Ruled out: a call for everybody; a token that somebody else can read; a lease
# that is renewed or released without its token; a caller who gets the owner's
# rights by search_path, or by what stands in pg_temp; a script that makes
# something else by psql than by CREATE EXTENSION.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Registry;
use Snowflake;
use Test::More;

my $node   = new_registry('registry', conf => 'fsync = off');
my $scripts = $node->config_data('--sharedir') . '/extension';
my $script = install_script('snowflake_registry', $scripts, $scripts);

$node->safe_psql('postgres', q{
	CREATE ROLE owner LOGIN CREATEROLE;
	CREATE ROLE app LOGIN;
	CREATE ROLE other LOGIN;
	CREATE DATABASE plain OWNER owner;
	CREATE DATABASE again OWNER owner;
	CREATE DATABASE poor OWNER other});

# Runs each in a session of its own, as a role.
sub as_role
{
	my ($role, $database, $sql) = @_;
	return $node->psql($database, "\\set VERBOSITY verbose\n$sql", extra_params => [ '-U', $role ]);
}

sub refused
{
	my ($role, $database, $sql) = @_;
	my ($status, $out, $err) = as_role($role, $database, $sql);

	like($err, qr/ERROR:  42501: permission denied/, "$role may not: $sql");
	return;
}

# By psql, as the database's owner.  The role is there already: the extension made it.
my @psql = ('psql', '-Xq', '-1', '-v', 'ON_ERROR_STOP=1', '-f', $script);
$node->command_ok([ @psql, '-d', $node->connstr('plain'), '-U', 'owner' ], 'the script runs by psql');
$node->command_fails([ @psql, '-d', $node->connstr('plain'), '-U', 'owner' ], 'but not twice');

# The same objects, with the same privileges, except for the owner.
my $objects = q{
	SELECT pg_describe_object(d.classid, d.objid, 0), coalesce(p.proacl, c.relacl, t.typacl)::text,
		   md5(p.prosrc), p.proconfig, p.prosecdef
	  FROM pg_depend AS d
	  LEFT JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	  LEFT JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
	  LEFT JOIN pg_type AS t ON d.classid = 'pg_type'::regclass AND d.objid = t.oid
	 WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'snowflake_registry'::regnamespace
	 ORDER BY 1};
my ($by_extension, $by_psql) = map { $node->safe_psql($_, $objects) } 'postgres', 'plain';
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
s/\b(owner|\Q$superuser\E)\b/OWNER/g foreach $by_extension, $by_psql;
is($by_psql, $by_extension, 'psql and CREATE EXTENSION make the same');
cmp_ok(scalar(split /\n/, $by_psql), '>', 25, 'and a lot of it');
is($node->safe_psql($_->[0], q{SELECT count(*) FROM pg_depend WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
		AND objid IN ('snowflake_registry.worker'::regclass, 'snowflake_registry.registry'::regclass)}),
	$_->[1], "$_->[0]: tables of an extension") foreach [ 'postgres', 2 ], [ 'plain', 0 ];
is($node->safe_psql('postgres', q{SELECT extconfig::regclass[] FROM pg_extension WHERE extname = 'snowflake_registry'}),
	'{snowflake_registry.registry,snowflake_registry.worker}', 'which pg_dump takes along');

# An owner who is no superuser, by CREATE EXTENSION; nobody who may not make the role.
$node->command_ok([ 'psql', '-Xq', '-d', $node->connstr('again'), '-U', 'owner', '-c', 'CREATE EXTENSION snowflake_registry' ],
	'the owner of a database creates the extension');
$node->safe_psql('plain', 'DROP SCHEMA snowflake_registry CASCADE');
$node->safe_psql($_, 'DROP EXTENSION snowflake_registry') foreach 'postgres', 'again';
$node->safe_psql('postgres', 'DROP ROLE snowflake_registry');
my ($status, $out, $err) = as_role('other', 'poor', 'CREATE EXTENSION snowflake_registry');
like($err, qr/ERROR:  42501: /, 'who may not create roles needs the role');
$node->command_ok([ @psql, '-d', $node->connstr('plain'), '-U', 'owner' ], 'the script makes the role');
is($node->safe_psql('postgres', q{SELECT rolcanlogin FROM pg_roles WHERE rolname = 'snowflake_registry'}), 'f', 'which cannot log in');

# Everybody else: nothing, not even the names.
is((as_role('owner', 'plain', q{SELECT snowflake_registry.setup(longest_lease => '1 h')}))[0], 0, 'the owner sets it up');
refused('app', 'plain', $_) foreach
  q{CALL snowflake_registry.lease('app')},
  q{SELECT snowflake_registry.fence()},
  q{SELECT * FROM snowflake_registry.status},
  q{SELECT * FROM snowflake_registry.registry};

# Members of the role.
$node->safe_psql('plain', 'GRANT snowflake_registry TO app, other');
($status, $out, $err) = as_role('app', 'plain', q{CALL snowflake_registry.lease('app') \\gset
SELECT :worker_id, :'token'});
like($out, qr/^0\|[-0-9a-f]{36}$/, 'app leases');
my ($token) = $out =~ /\|(.*)/;
foreach my $sql (
	'SELECT * FROM snowflake_registry.worker', 'SELECT token FROM snowflake_registry.worker',
	'UPDATE snowflake_registry.worker SET holder = holder', 'DELETE FROM snowflake_registry.registry',
	'SELECT snowflake_registry.fence()', q{SELECT snowflake_registry.reserve(1, 'a')}, 'SELECT snowflake_registry.unreserve(1)',
	'SELECT snowflake_registry.setup()', 'SELECT snowflake_registry.apply_fence(NULL)',
	'SELECT snowflake_registry.lock_lease(gen_random_uuid(), NULL)', q{SELECT snowflake_registry.new_token('', 1, 1)},
	'SELECT key FROM snowflake_registry.registry', 'SELECT snowflake_registry.set_longest_lease(NULL)', 'SELECT snowflake_registry.new_proposal(1)',
	'CREATE TABLE snowflake_registry.t ()')
{
	refused('other', 'plain', $sql);
}
($status, $out, $err) = as_role('other', 'plain', 'SELECT s::text FROM snowflake_registry.status AS s');
like($out, qr/^\(0,app,leased,f,.*\)$/, 'other sees who holds it');
unlike($out, qr/\Q$token\E/, 'but not the token');
my $wrong = substr($token, 0, 35) . (substr($token, 35) eq '0' ? '1' : '0');
foreach my $sql ("CALL renew('$wrong')", "SELECT release('$wrong', now())", q{CALL lease('app', worker_id => 0)})
{
	($status, $out, $err) = as_role('other', 'plain', $sql =~ s/ / snowflake_registry./r);
	like($err, qr/ERROR:  (?:SR001|55006): /, "other cannot $sql");
	unlike($err, qr/\Q$token\E/, 'nor learns the token');
}
is((as_role('app', 'plain', "SELECT snowflake_registry.release('$token', now())"))[0], 0, 'app can');

# What the caller puts in the way is not called.
$node->safe_psql('plain', 'CREATE SCHEMA trap AUTHORIZATION other');
my $trap = q{
	GRANT USAGE ON SCHEMA trap TO PUBLIC;
	CREATE FUNCTION trap.caught() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'caught as %', current_user; END $$;
	CREATE FUNCTION trap.date_trunc(text, timestamptz) RETURNS timestamptz LANGUAGE SQL AS $$ SELECT now() WHERE trap.caught() $$;
	CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE SQL AS $$ SELECT now() WHERE trap.caught() $$;
	CREATE DOMAIN trap.uuid AS text CHECK (trap.caught());
	CREATE FUNCTION trap.texteq(text, text) RETURNS boolean LANGUAGE SQL AS $$ SELECT trap.caught() $$;
	CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.texteq);
	CREATE FUNCTION trap.isfinite(timestamptz) RETURNS boolean LANGUAGE SQL AS $$ SELECT trap.caught() $$;
	CREATE FUNCTION trap.current_setting(text) RETURNS text LANGUAGE SQL AS $$ SELECT 'off' WHERE trap.caught() $$;
	CREATE FUNCTION trap.lt(interval, interval) RETURNS boolean LANGUAGE SQL AS $$ SELECT trap.caught() $$;
	CREATE OPERATOR trap.< (LEFTARG = interval, RIGHTARG = interval, FUNCTION = trap.lt);
	CREATE FUNCTION trap.plus(timestamptz, interval) RETURNS timestamptz LANGUAGE SQL AS $$ SELECT now() WHERE trap.caught() $$;
	CREATE OPERATOR trap.+ (LEFTARG = timestamptz, RIGHTARG = interval, FUNCTION = trap.plus)};
is((as_role('other', 'plain', $trap))[0], 0, 'other lays traps');
($status, $out, $err) = as_role('other', 'plain', 'SET search_path = trap, pg_catalog; SELECT clock_timestamp()');
like($err, qr/caught as other/, 'which work');
foreach my $path ('trap, pg_catalog', 'pg_temp, trap, pg_catalog')
{
	($status, $out, $err) = as_role('other', 'plain', qq{
		CREATE TEMPORARY TABLE worker (worker_id integer, token uuid);
		CREATE TEMPORARY TABLE registry (uuid uuid);
		SET search_path = $path;
		CALL snowflake_registry.lease('other', '60 s', NULL, pg_catalog.clock_timestamp()) \\gset
		CALL snowflake_registry.renew(:'token', asker_now => pg_catalog.clock_timestamp()) \\gset
		SELECT snowflake_registry.release(:'token', :'valid_from');
		SELECT 'done'});
	like($out, qr/done/, "with search_path = $path it works") or diag($err);
	unlike($err, qr/ERROR/, 'and nothing was caught');
}

$node->stop;
done_testing();
