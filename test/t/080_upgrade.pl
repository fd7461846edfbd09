# Every version of the extensions that can be reached by upgrading is the one that
# is installed afresh, object by object.  As long as there is one version only, a
# made-up one shows that this works: with a script that brings all of it, and with
# scripts that each forget something.
#
# Ruled out: a server that was upgraded and lacks a function, a REVOKE or a COMMENT
# that a fresh one has.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Snowflake;
use Test::More;

# A copy of the server, for the scripts that are made up here.
sub directory
{
	my ($kind) = @_;
	my $path = `$ENV{PG_CONFIG} --$kind`;

	chomp $path;
	return $path;
}
$ENV{PG_CONFIG} //= 'pg_config';

my $copy = PostgreSQL::Test::Utils::tempdir() . '/server';
mkdir $copy or die "$copy: $!";
system_or_bail('sh', '-c', 'tar -C / --exclude=bitcode --exclude=pgxs --exclude=man -cPf - "$1" "$2" "$3" | tar -C "$0" -xf - --transform "s,^/*,,"',
	$copy, map { directory($_) } qw(bindir pkglibdir sharedir));
my $scripts = $copy . directory('sharedir') . '/extension';
my ($install_path) = directory('bindir') =~ m,^(.*)/bin$,;

my $node = PostgreSQL::Test::Cluster->new('main', install_path => $copy . $install_path);
$node->init;
$node->append_conf('postgresql.conf', q{
	shared_preload_libraries = 'snowflake'
	snowflake.worker_id = 1});
$node->start;

# All that belongs to an extension and what depends on that, without OIDs: one
# line for each property of an object.
my $description = q{
	WITH RECURSIVE member (classid, objid, objsubid) AS (
		SELECT classid, objid, objsubid FROM pg_depend
		 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'EXTENSION')
		UNION
		SELECT d.classid, d.objid, d.objsubid FROM pg_depend AS d JOIN member AS m ON d.refclassid = m.classid AND d.refobjid = m.objid
		 WHERE d.deptype IN ('a', 'i')
	), object AS (
		SELECT DISTINCT classid, objid, 0 AS objsubid FROM member
		 WHERE NOT (classid = 'pg_trigger'::regclass AND objid IN (SELECT oid FROM pg_trigger WHERE tgisinternal))
		   AND NOT (classid = 'pg_class'::regclass AND objid IN (SELECT oid FROM pg_class WHERE relkind IN ('t', 'i') AND relnamespace = 'pg_toast'::regnamespace))
	), named AS (
		SELECT o.*, type || ' ' || identity AS name FROM object AS o, pg_identify_object(classid, objid, objsubid)
	), property (name, what, value) AS (
		SELECT name, 'is there', '' FROM named
		UNION ALL
		SELECT name, 'comment', obj_description(objid, classid::regclass::name) FROM named
		UNION ALL
		SELECT name, 'dependency', d.deptype::text || ' ' || pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)
		  FROM named AS n JOIN pg_depend AS d ON d.classid = n.classid AND d.objid = n.objid
		UNION ALL
		SELECT name, 'initial privileges', (SELECT string_agg(a::text, ' ' ORDER BY a::text COLLATE "C") FROM unnest(i.initprivs) AS a)
		  FROM named AS n JOIN pg_init_privs AS i ON i.classoid = n.classid AND i.objoid = n.objid
		UNION ALL
		SELECT name, property, value
		  FROM named AS n JOIN pg_proc AS p ON n.classid = 'pg_proc'::regclass AND p.oid = n.objid,
			   LATERAL (VALUES ('definition', pg_get_functiondef(p.oid)), ('owner', p.proowner::regrole::text),
				('privileges', (SELECT string_agg(a::text, ' ' ORDER BY a::text COLLATE "C") FROM unnest(coalesce(p.proacl, acldefault('f', p.proowner))) AS a))) AS v (property, value)
		UNION ALL
		SELECT name, property, value
		  FROM named AS n JOIN pg_class AS c ON n.classid = 'pg_class'::regclass AND c.oid = n.objid,
			   LATERAL (VALUES ('kind', c.relkind::text || c.relpersistence::text || c.relrowsecurity::text), ('owner', c.relowner::regrole::text), ('options', c.reloptions::text),
				('privileges', (SELECT string_agg(a::text, ' ' ORDER BY a::text COLLATE "C") FROM unnest(coalesce(c.relacl, acldefault('r', c.relowner))) AS a)),
				('view', CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END),
				('index', CASE WHEN c.relkind = 'i' THEN pg_get_indexdef(c.oid) END)) AS v (property, value)
		UNION ALL
		SELECT name, 'column ' || a.attnum, concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attacl,
				pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum), a.attcollation::regcollation)
		  FROM named AS n JOIN pg_attribute AS a ON n.classid = 'pg_class'::regclass AND a.attrelid = n.objid AND a.attnum > 0 AND NOT a.attisdropped
			   LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		UNION ALL
		SELECT name, 'definition', pg_get_constraintdef(objid) FROM named WHERE classid = 'pg_constraint'::regclass
		UNION ALL
		SELECT name, 'definition', pg_get_triggerdef(objid) FROM named WHERE classid = 'pg_trigger'::regclass
		UNION ALL
		SELECT name, 'privileges', (SELECT string_agg(a::text, ' ' ORDER BY a::text COLLATE "C") FROM unnest(coalesce(t.typacl, acldefault('T', t.typowner))) AS a)
		  FROM named AS n JOIN pg_type AS t ON n.classid = 'pg_type'::regclass AND t.oid = n.objid
		UNION ALL
		SELECT name, 'privileges', (SELECT string_agg(a::text, ' ' ORDER BY a::text COLLATE "C") FROM unnest(coalesce(s.nspacl, acldefault('n', s.nspowner))) AS a)
		  FROM named AS n JOIN pg_namespace AS s ON n.classid = 'pg_namespace'::regclass AND s.oid = n.objid
		UNION ALL
		SELECT 'the extension', property, value
		  FROM pg_extension AS e,
			   LATERAL (VALUES ('version', e.extversion), ('schema', e.extnamespace::regnamespace::text), ('relocatable', e.extrelocatable::text), ('conditions', e.extcondition::text),
				('configuration', (SELECT string_agg(c::regclass::text, ' ' ORDER BY n) FROM unnest(e.extconfig) WITH ORDINALITY AS u (c, n))),
				('comment', obj_description(e.oid, 'pg_extension'))) AS v (property, value)
		 WHERE extname = 'EXTENSION'
	)
	SELECT line FROM (SELECT concat_ws(': ', name, what, replace(value, E'\n', ' ')) FROM property) AS l (line) ORDER BY line COLLATE "C"};

my $databases = 0;

# What is in a new database after these statements.
sub described
{
	my ($extension, @statements) = @_;
	my $database = 'd' . ++$databases;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, $_) foreach @statements;
	my $sql = $description;
	$sql =~ s/EXTENSION/$extension/g;
	my @lines = split /\n/, $node->safe_psql($database, $sql);
	$node->safe_psql('postgres', "DROP DATABASE $database");
	return @lines;
}

# What only one of two lists has.
sub difference
{
	my ($old, $new) = @_;
	my %count;

	$count{$_}-- foreach @$old;
	$count{$_}++ foreach @$new;
	return map { ($count{$_} < 0 ? '- ' : '+ ') . $_ } grep { $count{$_} } sort keys %count;
}

sub upgraded
{
	my ($extension, $from, $to) = @_;
	return described($extension, "CREATE EXTENSION $extension VERSION '$from'", "ALTER EXTENSION $extension UPDATE TO '$to'");
}

my %extensions = (snowflake => 'public.snowflake_', snowflake_registry => 'snowflake_registry.');

foreach my $extension (sort keys %extensions)
{
	my @fresh   = map { m,/$extension--([^-]+)\.sql$, ? $1 : () } glob "$scripts/$extension--*.sql";
	my $default = $node->safe_psql('postgres', "SELECT default_version FROM pg_available_extensions WHERE name = '$extension'");

	ok((grep { $_ eq $default } @fresh), "$extension: the default version $default can be installed afresh");
	cmp_ok(scalar described($extension, "CREATE EXTENSION $extension"), '>', 50, "$extension: it consists of much");

	# The versions that there are.
	foreach my $from (@fresh)
	{
		my @to = split /\n/, $node->safe_psql('postgres',
			"SELECT target FROM pg_extension_update_paths('$extension') WHERE source = '$from' AND path IS NOT NULL");

		ok($from eq $default || (grep { $_ eq $default } @to), "$extension: from $from there is a way to $default");
		foreach my $to (grep { my $v = $_; grep { $_ eq $v } @fresh } @to)
		{
			is_deeply([ difference([ described($extension, "CREATE EXTENSION $extension VERSION '$to'") ], [ upgraded($extension, $from, $to) ]) ],
				[], "$extension: $from, upgraded to $to, is $to");
		}
	}

	# One that is made up.  Each piece is something that an upgrade script could forget.
	my $prefix = $extensions{$extension};
	my @pieces = (
		[ 'a function'        => "CREATE FUNCTION ${prefix}made_up(n integer) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN n + 1;" ],
		[ 'its comment'       => "COMMENT ON FUNCTION ${prefix}made_up(integer) IS 'made up';" ],
		[ 'its privileges'    => "REVOKE ALL ON FUNCTION ${prefix}made_up(integer) FROM PUBLIC;" ],
		[ 'a table'           => "CREATE TABLE ${prefix}made_up_table (n integer PRIMARY KEY);" ],
		[ 'a column'          => "ALTER TABLE ${prefix}made_up_table ADD COLUMN what text NOT NULL DEFAULT 'x';" ],
		[ 'a constraint'      => "ALTER TABLE ${prefix}made_up_table ADD CHECK (n > 0);" ],
		[ 'an index'          => "CREATE INDEX ON ${prefix}made_up_table (what);" ],
		[ 'what is dumped'    => "SELECT pg_catalog.pg_extension_config_dump('${prefix}made_up_table', '');" ],
		[ 'a view'            => "CREATE VIEW ${prefix}made_up_view AS SELECT n FROM ${prefix}made_up_table;" ],
		[ 'a column of it'    => "CREATE OR REPLACE VIEW ${prefix}made_up_view AS SELECT n, what FROM ${prefix}made_up_table;" ],
		[ 'what it returns'   => "CREATE OR REPLACE FUNCTION ${prefix}made_up(n integer) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN n + 2;" ],
		[ 'parallel safety'   => "ALTER FUNCTION ${prefix}made_up(integer) PARALLEL RESTRICTED;" ],
		[ 'a type'            => "CREATE TYPE ${prefix}made_up_type AS (n integer);" ]);
	my $install = slurp_file("$scripts/$extension--$default.sql");
	my $write = sub {
		my ($name, $text) = @_;
		unlink "$scripts/$name";
		append_to_file("$scripts/$name", $text);
	};
	my $all = join "\n", map { $_->[1] } @pieces;

	$write->("$extension--9999.sql", "$install\n$all\n");
	my @new = described($extension, "CREATE EXTENSION $extension VERSION '9999'");

	$write->("$extension--$default--9999.sql", $all);
	is_deeply([ difference(\@new, [ upgraded($extension, $default, '9999') ]) ], [], "$extension: a made-up version is the same either way");

	foreach my $piece (@pieces)
	{
		my ($what, $statement) = @$piece;

		# What others need cannot be forgotten without an error.
		next if $what =~ /^a (?:function|table|view|column)$/;
		$write->("$extension--$default--9999.sql", join "\n", map { $_->[1] } grep { $_ != $piece } @pieces);
		isnt(scalar difference(\@new, [ upgraded($extension, $default, '9999') ]), 0, "$extension: it shows that an upgrade forgot $what");
	}
	unlink "$scripts/$extension--9999.sql", "$scripts/$extension--$default--9999.sql";
}

# "Add a column to snowflake_status()" in CONTRIBUTING, step by step.

# Replaces what is there once.
sub edit
{
	my ($file, $old, $new) = @_;
	my $text = slurp_file($file);

	is(scalar(() = $text =~ /\Q$old\E/g), 1, "$file has the place to be changed: $old");
	$text =~ s/\Q$old\E/$new/;
	unlink $file or die "$file: $!";
	append_to_file($file, $text);
}

# Two statements, or more, of a script: those about the status.
sub about_status
{
	my ($script) = @_;
	return join "\n", grep { /^(?:CREATE|COMMENT ON|GRANT \w+ ON) FUNCTION snowflake_status\b(?!_)/ } slurp_file($script) =~ /^([A-Z].*?;)$/msg;
}

my $top     = "$FindBin::RealBin/../..";
my $tree    = PostgreSQL::Test::Utils::tempdir() . '/tree';
my $default = $node->safe_psql('postgres', q{SELECT default_version FROM pg_available_extensions WHERE name = 'snowflake'});

mkdir $tree or die "$tree: $!";
system_or_bail('cp', '-a', (map { "$top/$_" } qw(Makefile META.json src sql snowflake.control snowflake_registry.control)), $tree);
edit("$tree/src/status.cpp", "\tkColumns\n", "\tkMadeUp,\n\tkColumns\n");
edit("$tree/src/status.cpp", "\trow->set(kStatsReset,", "\trow->set(kMadeUp, Int32GetDatum(42));\n\trow->set(kStatsReset,");
edit("$tree/src/status.cpp", "SQL_FUNCTION(snowflake_status);", "SQL_FUNCTION(snowflake_status);\nSQL_FUNCTION(snowflake_status_9999);");
append_to_file("$tree/src/status.cpp", "Datum\nsnowflake_status_9999(PG_FUNCTION_ARGS)\n{\n\treturn snowflake_status(fcinfo);\n}\n");

system_or_bail('cp', "$tree/sql/snowflake--$default.sql", "$tree/sql/snowflake--9999.sql");
edit("$tree/sql/snowflake--9999.sql", "\tOUT stats_reset timestamptz)\nAS 'MODULE_PATHNAME', 'snowflake_status'",
	"\tOUT stats_reset timestamptz,\n\tOUT made_up integer)\nAS 'MODULE_PATHNAME', 'snowflake_status_9999'");
append_to_file("$tree/sql/snowflake--$default--9999.sql",
	"DROP FUNCTION snowflake_status();\n" . about_status("$tree/sql/snowflake--9999.sql"));

$node->safe_psql('postgres', 'CREATE EXTENSION snowflake');
my $columns = $node->safe_psql('postgres', q{SELECT cardinality(proallargtypes) FROM pg_proc WHERE proname = 'snowflake_status'});
delete local @ENV{qw(MAKEFLAGS MAKELEVEL)};
system_or_bail('make', '-s', '-C', $tree, "PG_CONFIG=$ENV{PG_CONFIG}", 'with_llvm=no', 'all');
$node->stop;
system_or_bail('cp', "$tree/snowflake.so", $copy . directory('pkglibdir'));
system_or_bail('cp', "$tree/sql/snowflake--9999.sql", "$tree/sql/snowflake--$default--9999.sql", $scripts);
$node->start;

my $issued = 'SELECT state, made_up FROM snowflake_status()';
like(($node->psql('postgres', $issued))[2], qr/column "made_up" does not exist/, 'a new column: the old SQL does not have it');
is($node->safe_psql('postgres', 'SELECT state FROM snowflake_status()'), 'issuing', 'a new column: the old SQL works on the new library');
is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT (snowflake_status()).*) AS s WHERE stats_reset <= now()'), 1, 'and its last column is what it was');

$node->safe_psql('postgres', 'CREATE VIEW watched AS SELECT state FROM snowflake_status()');
my (undef, undef, $refused) = $node->psql('postgres', q{ALTER EXTENSION snowflake UPDATE TO '9999'});
like($refused, qr/cannot drop function snowflake_status\(\) because other objects depend on it.*view watched depends on function snowflake_status/s,
	"a new column: a user's view is not dropped");
$node->safe_psql('postgres', q{DROP VIEW watched; ALTER EXTENSION snowflake UPDATE TO '9999'});
is($node->safe_psql('postgres', $issued), 'issuing|42', 'a new column: it is there after the upgrade');
is($node->safe_psql('postgres', q{SELECT cardinality(proallargtypes) FROM pg_proc WHERE proname = 'snowflake_status'}), $columns + 1,
	'a new column: all the others are there, too');
is_deeply([ difference([ described('snowflake', q{CREATE EXTENSION snowflake VERSION '9999'}) ], [ upgraded('snowflake', $default, '9999') ]) ],
	[], 'a new column: the upgraded one is as the fresh one');

$node->stop;
done_testing();
