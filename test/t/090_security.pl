# What an unprivileged role may do with the extensions, and what it may not: each
# function, each setting, the mark, and whatever it puts in the way of the names
# that our SQL uses.  The lists are read from the catalogs, so that something new
# has to be classified here.  (069_registry_roles.pl has the registry's roles.)
#
# Ruled out: a function that is open to everybody by oversight, a role that moves
# the mark or reads the connection string, and a function or an operator of an
# attacker that is run with somebody else's rights.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

my $node = new_node('main', conf => "timezone = 'UTC'");

# In a session of the unprivileged role.
sub as_visitor
{
	my ($sql, $database) = @_;
	return $node->psql($database // 'postgres', "\\set VERBOSITY verbose\n$sql", extra_params => [ '-U', 'visitor' ]);
}

sub refused
{
	my ($what, $sql, $sqlstate) = @_;
	my ($status, $out, $err) = as_visitor($sql);

	$sqlstate //= '42501';
	like($err, qr/ERROR:  $sqlstate: /, "visitor may not: $what");
	return;
}

$node->safe_psql('postgres', q{
	CREATE ROLE visitor LOGIN;
	CREATE EXTENSION snowflake_registry;
	CREATE SCHEMA trap AUTHORIZATION visitor;
	CREATE TABLE theirs (id bigserial PRIMARY KEY)});

# Each function: a call by which it is tried, and who may do that.
my %functions = (
	'snowflake_next()'                                                      => [ 'all', 'snowflake_next()' ],
	'snowflake_next(integer)'                                               => [ 'all', 'snowflake_next(2)' ],
	'snowflake_decode(bigint)'                                              => [ 'all', 'snowflake_decode(1)' ],
	'snowflake_decode(bigint,text)'                                         => [ 'all', q{snowflake_decode(38390726480144748, 'tsid')} ],
	'snowflake_decode(bigint,timestamp with time zone,interval,integer,integer,integer,integer,integer,integer)' =>
	  [ 'all', q{snowflake_decode(1, epoch => '2020-01-01Z')} ],
	'snowflake_is_valid(bigint)'                                            => [ 'all', 'snowflake_is_valid(1)' ],
	'snowflake_is_valid(bigint,text)'                                       => [ 'all', q{snowflake_is_valid(1, 'tsid')} ],
	'snowflake_min_id(timestamp with time zone,text)'                       => [ 'all', q{snowflake_min_id('2026-01-01Z', 'tsid')} ],
	'snowflake_min_id(timestamp with time zone,timestamp with time zone,interval,integer,integer,integer,integer,integer,integer)' =>
	  [ 'all', q{snowflake_min_id('2026-01-01Z', epoch => '2020-01-01Z')} ],
	'snowflake_timestamp(bigint)'                                           => [ 'all', 'snowflake_timestamp(1)' ],
	'snowflake_worker_id(bigint)'                                           => [ 'all', 'snowflake_worker_id(1)' ],
	'snowflake_sequence(bigint)'                                            => [ 'all', 'snowflake_sequence(1)' ],
	'snowflake_encode(timestamp with time zone,integer,integer)'            => [ 'all', q{snowflake_encode('2026-01-01Z', 1, 1)} ],
	'snowflake_min_id(timestamp with time zone)'                            => [ 'all', q{snowflake_min_id('2026-01-01Z')} ],
	'snowflake_max_id(timestamp with time zone)'                            => [ 'all', q{snowflake_max_id('2026-01-01Z')} ],
	'snowflake_last_before(timestamp with time zone)'                       => [ 'all', q{snowflake_last_before('2026-01-01Z')} ],
	'snowflake_between(bigint,timestamp with time zone,timestamp with time zone)' => [ 'all', q{snowflake_between(1, '2026-01-01Z', '2026-01-02Z')} ],
	'snowflake_to_text(bigint,text)'                                        => [ 'all', 'snowflake_to_text(1)' ],
	'snowflake_from_text(text,text)'                                        => [ 'all', q{snowflake_from_text('0000000000001')} ],
	'snowflake_layouts()'                                                   => [ 'all', 'snowflake_layouts()' ],
	'snowflake_status()'                                                    => [ 'all', 'snowflake_status()' ],
	'snowflake_horizon()'                                                   => [ 'all', 'snowflake_horizon()' ],
	'snowflake_wait_for_horizon(bigint,interval)'                           => [ 'all', q{snowflake_wait_for_horizon(1, '0')} ],
	'snowflake_horizon_holders()'                                           => [ 'all', 'snowflake_horizon_holders()' ],
	'_snowflake_horizon_holders()'                                          => [ 'all', '_snowflake_horizon_holders()' ],
	'snowflake_require_own_id()'                                            => [ 'trigger', 'snowflake_require_own_id()' ],
	'snowflake_convert(regclass,name)'                                      => [ 'owner', q{snowflake_convert('theirs', 'id')} ],
	'_snowflake_convert_lock(regclass,name)'                                => [ 'owner', q{_snowflake_convert_lock('theirs', 'id')} ],
	'_snowflake_convert_widen(regclass,name)'                               => [ 'all', q{_snowflake_convert_widen('theirs', 'id')} ],
	'_snowflake_convert_check_column(regclass,name,text)'                   => [ 'all', q{_snowflake_convert_check_column('theirs', 'id', NULL)} ],
	'_snowflake_convert_defaults(regclass,name,regprocedure)'               => [ 'all', q{_snowflake_convert_defaults('theirs', 'id', 'snowflake_next()')} ],
	'_snowflake_convert_check_default(regclass,name,regprocedure,text,boolean,boolean)' =>
	  [ 'all', q{_snowflake_convert_check_default('theirs', 'id', 'snowflake_next()', NULL, false, true)} ],
	'_snowflake_convert_run(regclass,name,regprocedure,regclass[],oid[],oid[])' =>
	  [ 'owner', q{_snowflake_convert_run('theirs', 'id', 'snowflake_next()', '{}', '{}', '{}')} ],
	'snowflake_status_reset()'                                              => [ 'monitor', 'snowflake_status_reset()' ],
	'snowflake_forget_mark()'                                               => [ 'superuser', 'snowflake_forget_mark()' ]);

my @members = split /\n/, $node->safe_psql('postgres', q{
	SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	 WHERE d.deptype = 'e' AND d.refobjid IN (SELECT oid FROM pg_extension WHERE extname ~ '^snowflake')
	 ORDER BY 1});
is_deeply([ sort grep { !/^snowflake_registry\./ } @members ], [ sort keys %functions ], 'each function is classified');
cmp_ok(scalar(grep { /^snowflake_registry\./ } @members), '>', 10, 'the registry has functions');

foreach my $name (sort keys %functions)
{
	my ($who, $call) = @{ $functions{$name} };

	if ($who eq 'trigger')
	{
		refused("$name, but as a trigger", "SELECT $call", '39P01');
		next;
	}
	if ($who ne 'all')
	{
		refused("$name ($who)", "SELECT $call");
		next;
	}
	my ($status, $out, $err) = as_visitor("SELECT $call");
	is($err, '', "visitor may: $name");
}

# The registry's schema is closed to everybody, and so is each function in it.
foreach my $name (grep { /^snowflake_registry\./ } @members)
{
	is($node->safe_psql('postgres', "SELECT has_function_privilege('visitor', '$name', 'EXECUTE')"), 'f', "visitor may not: $name");
}
is($node->safe_psql('postgres', q{SELECT has_schema_privilege('visitor', 'snowflake_registry', 'USAGE, CREATE')}), 'f', 'nor see the schema');

# Members of pg_monitor may reset the counters; the mark takes more than that.
$node->safe_psql('postgres', 'GRANT pg_monitor TO visitor');
is((as_visitor('SELECT snowflake_status_reset()'))[2], '', 'pg_monitor may reset the counters');
refused('forget the mark as pg_monitor', 'SELECT snowflake_forget_mark()');
$node->safe_psql('postgres', 'REVOKE pg_monitor FROM visitor; GRANT EXECUTE ON FUNCTION snowflake_forget_mark() TO visitor');
refused('forget the mark although EXECUTE was granted', 'SELECT snowflake_forget_mark()');
$node->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION snowflake_forget_mark() FROM visitor');

# Relations: none can be read nor written, so nothing of ours is among a user's tables.
is( $node->safe_psql('postgres', q{
		SELECT string_agg(c.oid::regclass::text, ' ' ORDER BY c.relname)
		  FROM pg_class AS c JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
		  JOIN pg_extension AS e ON d.refobjid = e.oid AND e.extname ~ '^snowflake'
		 WHERE c.relkind <> 'c' AND has_any_column_privilege('visitor', c.oid, 'SELECT')}),
	'', 'visitor sees no relation');
is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM pg_class AS c JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
		  JOIN pg_extension AS e ON d.refobjid = e.oid AND e.extname ~ '^snowflake'
		 WHERE c.relkind <> 'c' AND (has_any_column_privilege('visitor', c.oid, 'INSERT, UPDATE') OR has_table_privilege('visitor', c.oid, 'DELETE, TRUNCATE, TRIGGER'))}),
	0, 'and write nothing');

# The mark.
my $mark = $node->safe_psql('postgres', 'SELECT sum(remote_lsn - $$0/0$$) FROM pg_replication_origin_status WHERE local_id > 65000');
refused($_, "SELECT $_") foreach
  q{pg_replication_origin_create('mine')}, q{pg_replication_origin_drop('mine')}, q{pg_replication_origin_advance('mine', '0/1')},
  q{pg_replication_origin_session_setup('mine')}, 'pg_replication_origin_session_reset()', q{pg_replication_origin_xact_setup('0/1', now())},
  'count(*) FROM pg_replication_origin_status';
refused('write the catalog', $_) foreach q{INSERT INTO pg_replication_origin VALUES (65001, 'mine')}, 'DELETE FROM pg_replication_origin';
cmp_ok($node->safe_psql('postgres', 'SELECT sum(remote_lsn - $$0/0$$) FROM pg_replication_origin_status WHERE local_id > 65000'), '>=', $mark,
	'the mark and the pinned layout are where they were');

# The settings: none can be changed in a session, by nobody.
my @settings = split /\n/, $node->safe_psql('postgres', q{SELECT name FROM pg_settings WHERE name ~ '^snowflake\.'});
cmp_ok(scalar @settings, '>=', 6, 'there are settings');
foreach my $setting (@settings)
{
	refused("set $setting", "SET $setting = '1'", '55P02');
	refused("set $setting for himself", "ALTER ROLE visitor SET $setting = '1'", '55P02');
	like(($node->psql('postgres', "SET $setting = '1'"))[2], qr/cannot be changed/, "nor may a superuser set $setting");
}
refused('make up a setting', q{SET snowflake.made_up = '1'}, '42602');

# Every function body is safe: what is not C either was parsed when it was made,
# or has a search_path of its own; and the latter where it has its owner's rights.  A
# procedure that commits cannot: there each function and each operator has its schema.
is( $node->safe_psql('postgres', q{
		SELECT string_agg(p.oid::regprocedure::text, ' ') FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
		  JOIN pg_language AS l ON l.oid = p.prolang
		 WHERE d.deptype = 'e' AND d.refobjid IN (SELECT oid FROM pg_extension WHERE extname ~ '^snowflake')
		   AND (p.prosecdef OR (l.lanname <> 'c' AND p.prosqlbody IS NULL))
		   AND (p.prosecdef OR p.prokind <> 'p' OR
				regexp_replace(p.prosrc, $$--[^\n]*|'[^']*'|OPERATOR\(pg_catalog\.[^)]*\)|:=|(ERRCODE|MESSAGE|DETAIL|HINT) =$$, '', 'g')
				~ '[-+*/<>=~!@#%^&|]|(?<![.\w])\w+\s*\(')
		   AND NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)}),
	'', 'no function body depends on the search_path');

# What is put in the way: overloads that match better than core's own, and the
# operators that our SQL uses.  Each one that is called reports as whom it ran.
sub traps
{
	my ($schema) = @_;
	my @functions = (
		'format(text)', 'format(text, text)', 'format(text, name)', 'format(text, regclass)', 'format(text, integer)', 'format(text, bigint)',
		'format(text, text, text)', 'format(text, name, regclass)', 'format(text, regclass, name)', 'format(text, name, name)',
		'quote_ident(name)', 'current_setting(text)', 'set_config(text, text, boolean)', 'pg_get_serial_sequence(regclass, name)', 'max(bigint)',
		'pg_extension_config_dump(text, text)', 'clock_timestamp()', 'snowflake_min_id(timestamptz)', 'snowflake_last_before(timestamptz)',
		'snowflake_status()', 'snowflake_layouts()', 'snowflake_next()', 'unnest(oid[])',
		'_snowflake_convert_lock(regclass, name)', '_snowflake_convert_run(regclass, name, regprocedure, regclass[], oid[], oid[])');
	my @operators = (
		[ '>=', 'bigint' ], [ '<=', 'bigint' ], [ '=', 'bigint' ], [ '>', 'bigint' ], [ '=', 'oid' ], [ '=', 'name' ], [ '=', 'text' ], [ '=', '"char"' ],
		[ '||', 'text' ], [ '=', 'regclass' ], [ '=', 'regtype' ], [ '<>', 'name' ]);
	my $sql = qq{CREATE FUNCTION $schema.caught() RETURNS boolean LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'caught as %', current_user; END \$\$;};

	$sql .= "CREATE FUNCTION $schema.$_ RETURNS text LANGUAGE sql AS \$\$ SELECT 'x' WHERE $schema.caught() \$\$;\n" foreach grep { !/^max/ } @functions;
	my $n = 0;
	foreach my $operator (@operators)
	{
		my ($symbol, $type) = @$operator;
		my $returns = $symbol eq '||' ? 'text' : 'boolean';

		$n++;
		$sql .= "CREATE FUNCTION $schema.operator$n($type, $type) RETURNS $returns LANGUAGE sql AS \$\$ SELECT '1'::$returns WHERE $schema.caught() \$\$;\n"
		  . "CREATE OPERATOR $schema.$symbol (LEFTARG = $type, RIGHTARG = $type, FUNCTION = $schema.operator$n);\n";
	}
	return $sql;
}
is((as_visitor(traps('trap') . 'GRANT USAGE ON SCHEMA trap TO PUBLIC'))[0], 0, 'visitor sets traps');

# The traps work: careless SQL falls into them.
like(($node->psql('postgres', 'SET search_path = trap, pg_catalog; SELECT 1::bigint >= 2::bigint'))[2], qr/caught as/, 'they catch a superuser');
like(($node->psql('postgres', q{SET search_path = pg_catalog, trap; SELECT format('%s', 'x'::name)}))[2], qr/caught as/, 'and behind pg_catalog, too');

my @paths = ('trap, pg_catalog, public', 'pg_catalog, trap, public', 'pg_temp, trap, public');
foreach my $path (@paths)
{
	foreach my $call (
		q{public.snowflake_between(1, '2026-01-01Z', '2026-01-02Z')}, 'public.snowflake_next()', 'public.snowflake_decode(1)',
		'public.snowflake_to_text(1)', '* FROM public.snowflake_status()', '* FROM public.snowflake_layouts()')
	{
		my ($status, $out, $err) = $node->psql('postgres', "SET search_path = $path; SELECT $call");

		is($err, '', "search_path = $path: $call");
	}
	my ($status, $out, $err) = $node->psql('postgres',
		"CREATE TABLE ours (id bigserial PRIMARY KEY); SET search_path = $path; SELECT public.snowflake_convert('public.ours', 'id')");
	is($err, '', "search_path = $path: snowflake_convert()");
	$node->safe_psql('postgres', 'DROP TABLE ours');
}

# In pg_temp of the session itself, where an inlined body would be looked up.
{
	my ($status, $out, $err) = $node->psql('postgres', traps('pg_temp') . q{
		SET search_path = pg_temp, public;
		CREATE TABLE public.ours (id bigserial PRIMARY KEY);
		SELECT count(*) FROM public.ours WHERE public.snowflake_between(id, '2026-01-01Z', '2026-01-02Z');
		SELECT public.snowflake_convert('public.ours', 'id');
		SELECT count(*) FROM public.snowflake_status()});
	is($err, '', 'with the traps in pg_temp');
	$node->safe_psql('postgres', 'DROP TABLE ours');
}

# Whoever owns a database may create the extension, and is not its master.
$node->safe_psql('postgres', 'CREATE DATABASE owned OWNER visitor');
foreach my $may ('CREATE SCHEMA extensions', 'CREATE EXTENSION snowflake SCHEMA extensions', 'SELECT extensions.snowflake_next(), state FROM extensions.snowflake_status()')
{
	is((as_visitor($may, 'owned'))[2], '', "the owner of a database may: $may");
}
foreach my $may_not (
	'SELECT extensions.snowflake_forget_mark()',
	'SELECT extensions.snowflake_status_reset()',
	'GRANT EXECUTE ON FUNCTION extensions.snowflake_forget_mark() TO visitor; SELECT extensions.snowflake_forget_mark()',
	'CREATE OR REPLACE FUNCTION extensions.snowflake_next() RETURNS bigint LANGUAGE sql RETURN 1',
	'ALTER FUNCTION extensions.snowflake_forget_mark() OWNER TO visitor')
{
	my (undef, undef, $err) = as_visitor($may_not, 'owned');

	like($err, qr/ERROR:  42501: (?:permission denied|must be owner)/, "but may not: $may_not");
}

# While the extension is created, in a schema that somebody else may write to.
$node->safe_psql('postgres', 'CREATE DATABASE attacked');
$node->safe_psql('attacked', 'GRANT CREATE ON SCHEMA public TO visitor');
{
	my $traps = traps('public');

	# What we create ourselves cannot exist before: CREATE FUNCTION would fail.
	$traps =~ s/^CREATE FUNCTION public\._?snowflake_.*\n//mg;
	$traps .= "CREATE FUNCTION public.$_ RETURNS text LANGUAGE sql AS \$\$ SELECT 'x' WHERE public.caught() \$\$;\n"
	  foreach '_snowflake_convert_lock(text, text)', '_snowflake_convert_lock(regclass, VARIADIC name[])',
	  '_snowflake_convert_run(regclass, name, text, regclass[], oid[], oid[])';
	is((as_visitor($traps, 'attacked'))[0], 0, 'visitor sets traps in another database');
	foreach my $extension ('snowflake', 'snowflake_registry')
	{
		my ($status, $out, $err) = $node->psql('attacked', "SET search_path = public, pg_catalog; CREATE EXTENSION $extension");

		is($err, '', "CREATE EXTENSION $extension is not caught");
	}
	my ($status, $out, $err) = $node->psql('attacked', q{
		SET search_path = public, pg_catalog;
		CREATE TABLE ours (id bigserial PRIMARY KEY);
		SELECT snowflake_convert('ours', 'id');
		SELECT snowflake_between(1, '2026-01-01Z', '2026-01-02Z'), snowflake_registry.setup()});
	is($err, '', 'nor is what it made');

	# A function of ours that already exists stops it with an error.
	$node->safe_psql('attacked', 'DROP TABLE ours; DROP EXTENSION snowflake');
	as_visitor('CREATE FUNCTION snowflake_min_id(timestamptz) RETURNS bigint LANGUAGE sql RETURN 1', 'attacked');
	like(($node->psql('attacked', 'CREATE EXTENSION snowflake'))[2], qr/already exists with same argument types/, 'a function of somebody else is not taken over');
}

# The connection string may have a password.
$node->append_conf('postgresql.conf', q{snowflake.registry = 'host=/nowhere password=hunter2'});
$node->restart;
refused('read the connection string', 'SHOW snowflake.registry');
refused('read it by a function', q{SELECT current_setting('snowflake.registry')});
foreach my $query (q{SELECT * FROM pg_settings}, 'SHOW ALL', 'SELECT * FROM snowflake_status()', 'SELECT * FROM pg_stat_activity')
{
	my ($status, $out, $err) = as_visitor($query);

	is($status, 0, "visitor may: $query");
	unlike($out, qr/hunter2/, 'but does not find the password');
}
like($node->safe_psql('postgres', 'SHOW snowflake.registry'), qr/hunter2/, 'a superuser does');
unlike(log_since($node, 0), qr/hunter2/, 'nor is it in the log');

$node->stop;
done_testing();
