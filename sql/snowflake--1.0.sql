/* sql/snowflake--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION snowflake" to load this file. \quit

-- Generating

CREATE FUNCTION snowflake_next() RETURNS bigint
AS 'MODULE_PATHNAME', 'snowflake_next'
LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_next() IS 'the next snowflake ID';

CREATE FUNCTION snowflake_next(count integer) RETURNS SETOF bigint
AS 'MODULE_PATHNAME', 'snowflake_next_count'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_next(integer) IS 'a given number of snowflake IDs, in increasing order';

CREATE FUNCTION snowflake_forget_mark() RETURNS void
AS 'MODULE_PATHNAME', 'snowflake_forget_mark'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION snowflake_forget_mark() IS 'restart IDs from the clock, with a worker ID that has never been used';
REVOKE ALL ON FUNCTION snowflake_forget_mark() FROM PUBLIC;

-- Decoding

CREATE TYPE snowflake_decoded AS (created_at timestamptz, worker_id integer, sequence integer);
COMMENT ON TYPE snowflake_decoded IS 'the fields of an ID; null for a field that the layout does not have';

CREATE FUNCTION snowflake_decode(id bigint) RETURNS snowflake_decoded
AS 'MODULE_PATHNAME', 'snowflake_decode'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_decode(bigint) IS 'time, worker ID and sequence of a snowflake ID';

CREATE FUNCTION snowflake_timestamp(id bigint) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'snowflake_timestamp'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_timestamp(bigint) IS 'time of a snowflake ID';

CREATE FUNCTION snowflake_worker_id(id bigint) RETURNS integer
AS 'MODULE_PATHNAME', 'snowflake_worker_id'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_worker_id(bigint) IS 'worker ID of a snowflake ID';

CREATE FUNCTION snowflake_sequence(id bigint) RETURNS integer
AS 'MODULE_PATHNAME', 'snowflake_sequence'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_sequence(bigint) IS 'sequence within the millisecond of a snowflake ID';

CREATE FUNCTION snowflake_is_valid(id bigint) RETURNS boolean
AS 'MODULE_PATHNAME', 'snowflake_is_valid'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_is_valid(bigint) IS 'whether a number can be a snowflake ID, and so be decoded';

-- From times to IDs

CREATE FUNCTION snowflake_encode(created_at timestamptz, worker_id integer, sequence integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'snowflake_encode'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_encode(timestamptz, integer, integer) IS 'the snowflake ID of a time, worker ID and sequence';

CREATE FUNCTION snowflake_min_id(since timestamptz) RETURNS bigint
AS 'MODULE_PATHNAME', 'snowflake_min_id'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_min_id(timestamptz) IS 'the smallest snowflake ID of this time or a later one';

CREATE FUNCTION snowflake_max_id(until timestamptz) RETURNS bigint
AS 'MODULE_PATHNAME', 'snowflake_max_id'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_max_id(timestamptz) IS 'the greatest snowflake ID of this time or an earlier one';

CREATE FUNCTION snowflake_last_before(until timestamptz) RETURNS bigint
AS 'MODULE_PATHNAME', 'snowflake_last_before'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_last_before(timestamptz) IS 'the greatest snowflake ID before this time, or -1';

-- Not strict, or the planner would not inline it.  Each argument but the key is
-- used only once, or it would not be inlined with a subquery.  Compares with the
-- greatest ID rather than "<" the smallest one, because no ID is after infinity.
CREATE FUNCTION snowflake_between(id bigint, since timestamptz, until timestamptz) RETURNS boolean
LANGUAGE SQL IMMUTABLE PARALLEL SAFE
RETURN id >= snowflake_min_id(since) AND id <= snowflake_last_before(until);
COMMENT ON FUNCTION snowflake_between(bigint, timestamptz, timestamptz) IS 'whether the time of a snowflake ID is at or after the first time and before the second';

-- As text

CREATE FUNCTION snowflake_to_text(id bigint, encoding text DEFAULT 'base32') RETURNS text
AS 'MODULE_PATHNAME', 'snowflake_to_text'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_to_text(bigint, text) IS 'a snowflake ID as text that sorts like the number, in base32 or base58';

CREATE FUNCTION snowflake_from_text(value text, encoding text DEFAULT 'base32') RETURNS bigint
AS 'MODULE_PATHNAME', 'snowflake_from_text'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_from_text(text, text) IS 'the snowflake ID in a text from snowflake_to_text()';

-- IDs of other systems

CREATE FUNCTION snowflake_decode(id bigint, layout text) RETURNS snowflake_decoded
AS 'MODULE_PATHNAME', 'snowflake_decode_as'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_decode(bigint, text) IS 'time, worker ID and sequence of an ID of a published layout';

CREATE FUNCTION snowflake_is_valid(id bigint, layout text) RETURNS boolean
AS 'MODULE_PATHNAME', 'snowflake_is_valid_as'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_is_valid(bigint, text) IS 'whether a number can be an ID of a published layout, and so be decoded';

CREATE FUNCTION snowflake_min_id(since timestamptz, layout text) RETURNS bigint
AS 'MODULE_PATHNAME', 'snowflake_min_id_as'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_min_id(timestamptz, text) IS 'the smallest ID of this time or a later one, in a published layout';

-- The same for any layout, described by its fields.  A shift that is null follows
-- from the widths: the sequence is lowest, the worker above it, and the time above
-- both.  That is why the functions are not strict.
CREATE FUNCTION snowflake_decode(id bigint, epoch timestamptz, unit interval DEFAULT '1 ms',
	time_bits integer DEFAULT 41, worker_bits integer DEFAULT 10, sequence_bits integer DEFAULT 12,
	time_shift integer DEFAULT NULL, worker_shift integer DEFAULT NULL, sequence_shift integer DEFAULT NULL) RETURNS snowflake_decoded
AS 'MODULE_PATHNAME', 'snowflake_decode_fields'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_decode(bigint, timestamptz, interval, integer, integer, integer, integer, integer, integer)
	IS 'time, worker ID and sequence of an ID of any layout';

CREATE FUNCTION snowflake_min_id(since timestamptz, epoch timestamptz, unit interval DEFAULT '1 ms',
	time_bits integer DEFAULT 41, worker_bits integer DEFAULT 10, sequence_bits integer DEFAULT 12,
	time_shift integer DEFAULT NULL, worker_shift integer DEFAULT NULL, sequence_shift integer DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'snowflake_min_id_fields'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_min_id(timestamptz, timestamptz, interval, integer, integer, integer, integer, integer, integer)
	IS 'the smallest ID of this time or a later one, in any layout';

CREATE FUNCTION snowflake_layouts(OUT layout text, OUT epoch timestamptz, OUT unit interval,
	OUT time_bits integer, OUT worker_bits integer, OUT sequence_bits integer,
	OUT time_shift integer, OUT worker_shift integer, OUT sequence_shift integer,
	OUT since timestamptz, OUT time_exhausted_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'snowflake_layouts'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 13;
COMMENT ON FUNCTION snowflake_layouts() IS 'the published layouts that snowflake_decode() knows';

-- Reading on

CREATE FUNCTION snowflake_horizon() RETURNS bigint
AS 'MODULE_PATHNAME', 'snowflake_horizon'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION snowflake_horizon() IS 'the ID up to which the statement sees every row that it will ever see';

CREATE FUNCTION snowflake_wait_for_horizon(id bigint, timeout interval) RETURNS boolean
AS 'MODULE_PATHNAME', 'snowflake_wait_for_horizon'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION snowflake_wait_for_horizon(bigint, interval) IS 'wait until the horizon has reached this ID; false if the timeout comes first';

CREATE FUNCTION _snowflake_horizon_holders(OUT pid integer, OUT xid xid, OUT first_id bigint) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'snowflake_horizon_holders'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION _snowflake_horizon_holders() IS 'internal to snowflake_horizon_holders()';

CREATE FUNCTION snowflake_horizon_holders(OUT pid integer, OUT gid text, OUT first_id bigint, OUT xid xid,
	OUT since timestamptz, OUT state text, OUT query text) RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT holder.pid, prepared.gid, holder.first_id, coalesce(holder.xid, activity.backend_xid),
		   coalesce(prepared.prepared, activity.xact_start),
		   CASE WHEN holder.pid IS NULL THEN 'prepared' ELSE activity.state END, activity.query
	  FROM _snowflake_horizon_holders() AS holder
	  LEFT JOIN pg_stat_activity AS activity ON activity.pid = holder.pid
	  LEFT JOIN pg_prepared_xacts AS prepared ON prepared.transaction = holder.xid
	 ORDER BY holder.first_id;
END;
COMMENT ON FUNCTION snowflake_horizon_holders() IS 'transactions that have taken an ID and not ended, and so hold the horizon back';

CREATE FUNCTION snowflake_require_own_id() RETURNS trigger
AS 'MODULE_PATHNAME', 'snowflake_require_own_id'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION snowflake_require_own_id() IS 'trigger that refuses a key which this transaction did not take';

-- Watching

CREATE FUNCTION snowflake_status(
	OUT worker_id integer,
	OUT worker_source text,
	OUT state text,
	OUT id_bits integer,
	OUT worker_bits integer,
	OUT sequence_bits integer,
	OUT epoch timestamptz,
	OUT time_exhausted_at timestamptz,
	OUT ids_issued bigint,
	OUT last_id bigint,
	OUT last_id_at timestamptz,
	OUT lead interval,
	OUT max_lead interval,
	OUT window_until timestamptz,
	OUT mark timestamptz,
	OUT horizon_lag interval,
	OUT lease_holder text,
	OUT lease_valid_until timestamptz,
	OUT lease_error text,
	OUT lease_error_at timestamptz,
	OUT clock_waits bigint,
	OUT clock_wait_time double precision,
	OUT keeper_waits bigint,
	OUT keeper_wait_time double precision,
	OUT clock_steps_back bigint,
	OUT largest_step_back interval,
	OUT last_step_back_at timestamptz,
	OUT keeper_pid integer,
	OUT keeper_error text,
	OUT keeper_error_at timestamptz,
	OUT stats_reset timestamptz)
AS 'MODULE_PATHNAME', 'snowflake_status'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_status() IS 'state of the snowflake generator';

CREATE FUNCTION snowflake_status_reset() RETURNS void
AS 'MODULE_PATHNAME', 'snowflake_status_reset'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION snowflake_status_reset() IS 'set the counters of snowflake_status() to zero';
REVOKE ALL ON FUNCTION snowflake_status_reset() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION snowflake_status_reset() TO pg_monitor;

-- Moving tables over

-- snowflake_convert() is the last function of this section; the others are its
-- steps.  No body can name the schema of a relocatable extension, so it is bound
-- to the steps when it is created.  The search_path is that schema then, and
-- others may have functions and operators in it.  So its body uses no operator,
-- and the arguments of a call have exactly the types of the function.  The steps
-- are not bound: each of them runs under a search_path of its own.
--
-- The lock that keeps other DDL out comes first.  The checks are statements that
-- follow it, so their snapshots are newer.  The lock that keeps everybody out is
-- taken only when there is something to do.
--
-- Everybody may call the steps: they do nothing that the caller could not do by
-- hand, and none takes a statement, or a part of one, as text.

-- Locks a table that the caller may convert.
CREATE FUNCTION _snowflake_convert_lock(table_name regclass, column_name name) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	target record;
BEGIN
	IF table_name IS NULL OR column_name IS NULL THEN
		RAISE EXCEPTION 'table and column must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
		RAISE EXCEPTION 'cannot convert a column in isolation level "%"', current_setting('transaction_isolation')
			USING ERRCODE = 'invalid_transaction_state',
				  DETAIL = 'Its snapshot is older than the lock, so that rows could be overlooked.',
				  HINT = 'Call it in a transaction that was begun with ISOLATION LEVEL READ COMMITTED.';
	END IF;

	SELECT relkind, relowner INTO target FROM pg_class WHERE oid = table_name;
	IF NOT FOUND OR target.relkind NOT IN ('r', 'p') OR table_name::oid < 16384 THEN
		RAISE EXCEPTION '"%" is not a table', table_name
			USING ERRCODE = 'wrong_object_type',
				  DETAIL = CASE WHEN target.relkind IS NULL THEN 'There is nothing of this name.'
								ELSE format('It is a %s.', CASE target.relkind
									WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
									WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence'
									WHEN 'r' THEN 'table of the system' ELSE 'relation of another kind' END) END,
				  HINT = 'Name the table that the rows are inserted into.';
	END IF;
	IF NOT pg_has_role(target.relowner, 'USAGE') THEN
		RAISE EXCEPTION 'must be owner of table %', table_name
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = format('It belongs to "%s".', pg_get_userbyid(target.relowner)),
				  HINT = 'The default of a column is part of the table, and only its owner may change it.';
	END IF;
	EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', table_name);
END
$$;
COMMENT ON FUNCTION _snowflake_convert_lock(regclass, name) IS 'internal to snowflake_convert(): locks a table that the caller may convert';

-- The hint for an integer column: the statements that widen it and all that has
-- to become a bigint with it, from each column to the partitions and children, to
-- the parents, and to the foreign keys that refer to it.  Null for other types.
CREATE FUNCTION _snowflake_convert_widen(table_name regclass, column_name name) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE wide (relid, name) AS (
		SELECT attrelid, attname FROM pg_attribute
		 WHERE attrelid = table_name AND attname = column_name AND atttypid IN ('integer'::regtype, 'smallint'::regtype)
		UNION
		SELECT next.relid, next.name
		  FROM wide JOIN pg_attribute AS a ON attrelid = relid AND attname = name,
			   LATERAL (SELECT inhrelid, name FROM pg_inherits WHERE inhparent = relid
						UNION ALL
						SELECT inhparent, name FROM pg_inherits JOIN pg_attribute AS p ON p.attrelid = inhparent AND p.attname = name
						 WHERE inhrelid = relid
						UNION ALL
						SELECT conrelid, f.attname
						  FROM pg_constraint JOIN pg_attribute AS f ON f.attrelid = conrelid AND f.attnum = conkey[array_position(confkey, a.attnum)]
						 WHERE contype = 'f' AND confrelid = relid) AS next (relid, name)
	), narrow AS (
		SELECT relid, name, attnum, attinhcount,
			   EXISTS (SELECT FROM pg_depend
						WHERE classid = 'pg_class'::regclass AND objid = relid AND objsubid = attnum
						  AND refclassid = 'pg_class'::regclass AND refobjid = relid AND deptype = 'i') AS in_key
		  FROM wide JOIN pg_attribute ON attrelid = relid AND attname = name
		 WHERE atttypid IN ('integer'::regtype, 'smallint'::regtype)
	), tables AS (
		SELECT relid,
			   CASE reloftype WHEN 0 THEN format('ALTER TABLE %s ', relid::regclass) ELSE format('ALTER TYPE %s ', reloftype::regtype) END ||
			   string_agg(format(CASE reloftype WHEN 0 THEN 'ALTER COLUMN %I TYPE bigint' ELSE 'ALTER ATTRIBUTE %I TYPE bigint CASCADE' END, name),
						  ', ' ORDER BY attnum) || ';' AS statement
		  FROM narrow JOIN pg_class ON oid = relid
		 WHERE attinhcount = 0
		 GROUP BY relid, reloftype
	)
	SELECT coalesce((SELECT format('Make a new table, and move the rows over: column "%s" of "%s" cannot be widened, for it is %s.',
								   name, relid::regclass, CASE WHEN in_key THEN 'in a partition key' ELSE 'inherited from two tables' END)
					   FROM narrow WHERE in_key OR attinhcount > 1 ORDER BY relid LIMIT 1),
					(SELECT string_agg(tables.statement, E'\n' ORDER BY relid <> table_name, relid) FROM tables));
$$;
COMMENT ON FUNCTION _snowflake_convert_widen(regclass, name) IS 'internal to snowflake_convert(): how to widen an integer column';

-- Checks that the column is the table's own and can hold a snowflake ID.
CREATE FUNCTION _snowflake_convert_check_column(table_name regclass, column_name name, widen text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	target record;
BEGIN
	SELECT atttypid::regtype, attinhcount INTO target
	  FROM pg_attribute WHERE attrelid = table_name AND attname = column_name AND attnum > 0;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'column "%" of table "%" does not exist', column_name, table_name
			USING ERRCODE = 'undefined_column';
	END IF;
	IF target.attinhcount > 0 THEN
		RAISE EXCEPTION 'column "%" of table "%" is inherited', column_name, table_name
			USING ERRCODE = 'wrong_object_type',
				  DETAIL = 'Partitions and child tables are converted with the table that they belong to.',
				  HINT = (WITH RECURSIVE up (relid, inherits) AS (
							SELECT table_name::oid, true
							UNION
							SELECT inhparent, attinhcount > 0
							  FROM up JOIN pg_inherits ON inhrelid = relid
							  JOIN pg_attribute ON attrelid = inhparent AND attname = column_name
							 WHERE inherits)
						  SELECT format('Convert %s.', string_agg(format('"%s"', relid::regclass), ', ' ORDER BY relid)) FROM up WHERE NOT inherits);
	END IF;
	IF target.atttypid <> 'bigint'::regtype THEN
		RAISE EXCEPTION 'column "%" of table "%" is not of type bigint', column_name, table_name
			USING ERRCODE = 'datatype_mismatch',
				  DETAIL = format('It is of type %s, and a snowflake ID has 64 bits.', target.atttypid),
				  HINT = coalesce(widen, 'Add a column of type bigint to the table, and let that be the key.');
	END IF;
END
$$;
COMMENT ON FUNCTION _snowflake_convert_check_column(regclass, name, text) IS 'internal to snowflake_convert(): checks that a column can hold snowflake IDs';

-- The column in the table and in all that inherit from it, the deepest first.  A
-- table below needs no default; nor does the topmost one if any of them takes
-- its values from a sequence, or did.
CREATE FUNCTION _snowflake_convert_defaults(table_name regclass, column_name name, next_id regprocedure)
RETURNS TABLE (
	relid regclass,
	value text,			-- the default
	generated boolean,
	movable boolean,	-- snowflake_next() may be the default
	done boolean,		-- it is
	identity boolean,	-- has an identity that goes by itself
	owned oid[],		-- sequences of this column
	drawn oid)			-- sequence that its default names
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE tree (relid, depth) AS (
		SELECT table_name::oid, 0
		UNION
		SELECT inhrelid, depth + 1 FROM tree JOIN pg_inherits ON inhparent = relid
	), members AS (
		SELECT relid::regclass, depth, attidentity, attgenerated, pg_get_expr(adbin, adrelid) AS value,
			   ARRAY(SELECT objid
					   FROM pg_depend JOIN pg_class AS s ON s.oid = objid AND relkind = 'S'
					  WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
						AND refobjid = relid AND refobjsubid = attnum AND deptype IN ('a', 'i')) AS owned,
			   (SELECT refobjid
				  FROM pg_depend JOIN pg_class AS s ON s.oid = refobjid AND relkind = 'S'
				 WHERE classid = 'pg_attrdef'::regclass AND objid = d.oid AND refclassid = 'pg_class'::regclass LIMIT 1) AS drawn
		  FROM (SELECT relid, max(depth) AS depth FROM tree GROUP BY relid) AS tables
		  JOIN pg_attribute ON attrelid = relid AND attname = column_name
		  LEFT JOIN pg_attrdef AS d ON adrelid = relid AND adnum = attnum
	)
	SELECT relid, value, attgenerated <> '',
		   CASE WHEN value IS NULL THEN relid <> table_name OR bool_or(value IS NOT NULL OR owned <> '{}') OVER ()
				-- The last two are those of pgEdge's extension.
				ELSE value IN (next_id::text, format('nextval(%L::regclass)', drawn::regclass),
							   format('snowflake.nextval(%L::regclass)', drawn::regclass), 'snowflake.nextval()') END,
		   value IS NOT DISTINCT FROM next_id::text,
		   attidentity <> '' AND (relid = table_name OR value IS NULL AND owned <> '{}'),
		   owned, drawn
	  FROM members ORDER BY depth DESC, relid;
$$;
COMMENT ON FUNCTION _snowflake_convert_defaults(regclass, name, regprocedure) IS 'internal to snowflake_convert(): the defaults of a column, in each table of the tree';

-- Checks that snowflake_next() may replace the default of one of these.
CREATE FUNCTION _snowflake_convert_check_default(table_name regclass, column_name name, next_id regprocedure,
	value text, generated boolean, movable boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT movable THEN
		RAISE EXCEPTION 'column "%" of table "%" does not take its values from a sequence', column_name, table_name
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = CASE WHEN value IS NULL THEN 'It has no default.'
								WHEN generated THEN format('It is generated as %s.', value)
								ELSE format('Its default is %s.', value) END,
				  HINT = CASE WHEN generated THEN 'A generated column has no default.'
							  ELSE format('To give new rows a snowflake ID there: ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s;',
										  table_name, column_name, next_id) END;
	END IF;
END
$$;
COMMENT ON FUNCTION _snowflake_convert_check_default(regclass, name, regprocedure, text, boolean, boolean)
	IS 'internal to snowflake_convert(): checks that a default may be replaced';

-- Replaces the default, and returns the statements that it ran.  All are run
-- before the first is returned.  The new ID is taken after the lock: those of the
-- rows are all below it, and all later ones above.  A policy that hides rows is an
-- error, for the largest value could be in one of them.
CREATE FUNCTION _snowflake_convert_run(table_name regclass, column_name name, next_id regprocedure,
	identities regclass[], owned oid[], drawn oid[]) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET row_security = off
AS $$
DECLARE
	smallest bigint;
	largest bigint;
	fresh bigint;
	statement text;
BEGIN
	EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', table_name);
	EXECUTE format('SELECT min(%1$I), max(%1$I) FROM %2$s', column_name, table_name) INTO smallest, largest;
	EXECUTE format('SELECT %s', next_id) INTO fresh;
	IF largest >= fresh THEN
		RAISE EXCEPTION 'column "%" of table "%" has values above new IDs', column_name, table_name
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = format('The largest value is %s, and the next ID is %s.', largest, fresh),
				  HINT = 'New IDs would be among the old values, and could be equal to one. Nothing was changed.';
	END IF;
	IF smallest < 1 THEN
		RAISE NOTICE 'column "%" of table "%" has values that are not snowflake IDs', column_name, table_name
			USING DETAIL = format('The smallest value is %s.', smallest),
				  HINT = 'Queries that decode such a row may fail: ask snowflake_is_valid() first.';
	END IF;

	FOREACH statement IN ARRAY
		ARRAY(SELECT format('ALTER TABLE ONLY %s ALTER COLUMN %I DROP IDENTITY', relid, column_name)
				FROM unnest(identities) WITH ORDINALITY AS i (relid, n) WHERE relid <> table_name ORDER BY n) ||
		format('ALTER TABLE %s ALTER COLUMN %I %sSET DEFAULT %s', table_name, column_name,
			   CASE WHEN table_name = ANY (identities) THEN format('DROP IDENTITY, ALTER COLUMN %I ', column_name) END, next_id)
	LOOP
		EXECUTE statement;
		RETURN NEXT statement;
	END LOOP;

	-- A sequence stays where something else uses it or owns it.
	FOR statement IN
		SELECT format('DROP SEQUENCE %s', s.oid::regclass)
		  FROM pg_class AS s
		 WHERE oid = ANY (owned || drawn) AND pg_has_role(relowner, 'USAGE')
		   AND NOT EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_class'::regclass AND refobjid = s.oid AND deptype <> 'i')
		   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = s.oid
							  AND (deptype IN ('i', 'e') OR deptype = 'a' AND s.oid <> ALL (owned)))
		 ORDER BY 1
	LOOP
		EXECUTE statement;
		RETURN NEXT statement;
	END LOOP;
END
$$;
COMMENT ON FUNCTION _snowflake_convert_run(regclass, name, regprocedure, regclass[], oid[], oid[])
	IS 'internal to snowflake_convert(): replaces the default, and drops the sequences';

CREATE FUNCTION snowflake_convert(table_name regclass, column_name name) RETURNS SETOF text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT _snowflake_convert_lock(table_name, column_name);
	SELECT _snowflake_convert_check_column(table_name, column_name, _snowflake_convert_widen(table_name, column_name));
	SELECT _snowflake_convert_check_default(relid, column_name, 'snowflake_next()'::regprocedure, value, generated, movable)
	  FROM _snowflake_convert_defaults(table_name, column_name, 'snowflake_next()'::regprocedure);
	WITH defaults AS (
		SELECT * FROM _snowflake_convert_defaults(table_name, column_name, 'snowflake_next()'::regprocedure)
	)
	SELECT _snowflake_convert_run(table_name, column_name, 'snowflake_next()'::regprocedure,
								  ARRAY(SELECT relid FROM defaults WHERE identity),
								  ARRAY(SELECT pg_catalog.unnest(owned) FROM defaults),
								  ARRAY(SELECT drawn FROM defaults))
	 WHERE EXISTS (SELECT FROM defaults WHERE NOT done);
END;
COMMENT ON FUNCTION snowflake_convert(regclass, name) IS 'switch a column from a sequence to snowflake IDs; returns the statements that were run';
