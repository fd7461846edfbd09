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
COMMENT ON FUNCTION snowflake_next(integer) IS 'the next count snowflake IDs, in increasing order';

CREATE FUNCTION snowflake_forget_mark() RETURNS void
AS 'MODULE_PATHNAME', 'snowflake_forget_mark'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION snowflake_forget_mark() IS 'start from the clock again, as a worker ID that was never used';
REVOKE ALL ON FUNCTION snowflake_forget_mark() FROM PUBLIC;

-- Decoding

CREATE FUNCTION snowflake_decode(id bigint,
	OUT created_at timestamptz, OUT worker_id integer, OUT sequence integer)
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

-- Not strict, or the planner would not inline it.  Each argument but the key
-- once, or it would not with a subquery.  The greatest ID rather than "<" the
-- smallest one, because there is none after infinity.
CREATE FUNCTION snowflake_between(id bigint, since timestamptz, until timestamptz) RETURNS boolean
LANGUAGE SQL IMMUTABLE PARALLEL SAFE
RETURN id >= snowflake_min_id(since) AND id <= snowflake_last_before(until);
COMMENT ON FUNCTION snowflake_between(bigint, timestamptz, timestamptz) IS 'is the time of a snowflake ID at or after the first and before the second?';

-- As text

CREATE FUNCTION snowflake_to_text(id bigint, encoding text DEFAULT 'base32') RETURNS text
AS 'MODULE_PATHNAME', 'snowflake_to_text'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_to_text(bigint, text) IS 'a snowflake ID as text that sorts as the number does: base32 or base58';

CREATE FUNCTION snowflake_from_text(value text, encoding text DEFAULT 'base32') RETURNS bigint
AS 'MODULE_PATHNAME', 'snowflake_from_text'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_from_text(text, text) IS 'the snowflake ID that a text of snowflake_to_text() stands for';

-- IDs of other systems

CREATE FUNCTION snowflake_decode(id bigint, layout text,
	OUT created_at timestamptz, OUT worker_id integer, OUT sequence integer)
AS 'MODULE_PATHNAME', 'snowflake_decode_as'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION snowflake_decode(bigint, text) IS 'time, worker ID and sequence of an ID of a published layout';

CREATE FUNCTION snowflake_layout(OUT layout text, OUT epoch timestamptz, OUT unit interval,
	OUT time_bits integer, OUT worker_bits integer, OUT sequence_bits integer, OUT time_exhausted_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'snowflake_layout'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 8;
COMMENT ON FUNCTION snowflake_layout() IS 'the published layouts that snowflake_decode() knows';

CREATE VIEW snowflake_layout AS SELECT * FROM snowflake_layout();
COMMENT ON VIEW snowflake_layout IS 'the published layouts that snowflake_decode() knows';
GRANT SELECT ON snowflake_layout TO PUBLIC;

-- Watching

CREATE FUNCTION snowflake_status(
	OUT worker_id integer,
	OUT worker_source text,
	OUT state text,
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
COMMENT ON FUNCTION snowflake_status() IS 'how the snowflake generator is';

CREATE VIEW snowflake_status AS SELECT * FROM snowflake_status();
COMMENT ON VIEW snowflake_status IS 'how the snowflake generator is, in one row';
GRANT SELECT ON snowflake_status TO PUBLIC;

CREATE FUNCTION snowflake_status_reset() RETURNS void
AS 'MODULE_PATHNAME', 'snowflake_status_reset'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION snowflake_status_reset() IS 'set the counters of snowflake_status to zero';
REVOKE ALL ON FUNCTION snowflake_status_reset() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION snowflake_status_reset() TO pg_monitor;
