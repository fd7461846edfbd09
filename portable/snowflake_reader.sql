-- snowflake_reader.sql
--
-- Reads snowflake IDs where the extension cannot be installed: the functions of the
-- extension that decode IDs and turn times into ranges of IDs, in SQL, under the
-- same names.  For PostgreSQL 14 or later.
--
--	psql -1 -v ON_ERROR_STOP=1 -f snowflake_reader.sql
--
-- in the database; if the servers that issue the IDs do not have the default layout,
-- with theirs:
--
--	-v epoch='2023-01-01 00:00:00Z' -v worker_bits=10 -v id_bits=63
--
-- snowflake_status() on any of these servers shows the three.  They become part of
-- the functions: to change them, drop the functions and run the file again.
--
-- There is no generator here, and there cannot be a good one.  To issue no ID twice
-- takes a counter that all sessions share, a record that survives a crash, and a watch
-- on the clock; in SQL that takes a lock and a write for each ID.

\if :{?epoch}
\else
\set epoch '2023-01-01 00:00:00Z'
\endif
\if :{?worker_bits}
\else
\set worker_bits 10
\endif
\if :{?id_bits}
\else
\set id_bits 63
\endif

-- The layout

CREATE FUNCTION snowflake_reader_epoch() RETURNS timestamptz
LANGUAGE SQL IMMUTABLE PARALLEL SAFE
RETURN timestamptz :'epoch';
COMMENT ON FUNCTION snowflake_reader_epoch() IS 'the start of the milliseconds';

CREATE FUNCTION snowflake_reader_worker_bits() RETURNS integer
LANGUAGE SQL IMMUTABLE PARALLEL SAFE
RETURN :worker_bits;
COMMENT ON FUNCTION snowflake_reader_worker_bits() IS 'bits of the worker ID';

-- The time has 41 bits, above the two other fields.
CREATE FUNCTION snowflake_reader_time_shift() RETURNS integer
LANGUAGE SQL IMMUTABLE PARALLEL SAFE
RETURN :id_bits - 41;
COMMENT ON FUNCTION snowflake_reader_time_shift() IS 'bits below the time';

CREATE FUNCTION snowflake_reader_max_id() RETURNS bigint
LANGUAGE SQL IMMUTABLE PARALLEL SAFE
RETURN (((1::bigint << (:id_bits - 1)) - 1) << 1) | 1;
COMMENT ON FUNCTION snowflake_reader_max_id() IS 'the greatest ID';

DO $$
BEGIN
	IF snowflake_reader_time_shift() NOT BETWEEN 12 AND 22 THEN
		RAISE EXCEPTION 'id_bits must be from 53 to 63' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF snowflake_reader_worker_bits() NOT BETWEEN 1 AND least(16, snowflake_reader_time_shift() - 6) THEN
		RAISE EXCEPTION 'worker_bits must be from 1 to %', least(16, snowflake_reader_time_shift() - 6)
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
END
$$;

-- Errors

CREATE FUNCTION snowflake_reader_raise(code text, message text, detail text) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail;
END
$$;
COMMENT ON FUNCTION snowflake_reader_raise(text, text, text) IS 'raises an error';

CREATE FUNCTION snowflake_reader_checked(id bigint) RETURNS bigint
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN id >= 0 AND id <= snowflake_reader_max_id() THEN id
	ELSE snowflake_reader_raise('22003', format('%s is not a snowflake ID', id),
								format('Snowflake IDs are from 0 to %s.', snowflake_reader_max_id())) END;
COMMENT ON FUNCTION snowflake_reader_checked(bigint) IS 'the number itself; an error if it is not an ID';

-- Milliseconds since the epoch; for infinity, a number far outside of the 41 bits.
CREATE FUNCTION snowflake_reader_ms(t timestamptz) RETURNS numeric
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE t WHEN 'infinity' THEN 1e15 WHEN '-infinity' THEN -1e15
	ELSE 1000 * extract(epoch FROM t - snowflake_reader_epoch()) END;
COMMENT ON FUNCTION snowflake_reader_ms(timestamptz) IS 'milliseconds since the epoch';

CREATE FUNCTION snowflake_reader_raise_time(t timestamptz) RETURNS bigint
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN snowflake_reader_raise('22008', format('no snowflake ID has this time: %s', t),
	format('This layout covers 2^41 milliseconds from %s on.', snowflake_reader_epoch()));
COMMENT ON FUNCTION snowflake_reader_raise_time(timestamptz) IS 'raises an error for a time that no ID has';

-- Decoding

CREATE FUNCTION snowflake_is_valid(id bigint) RETURNS boolean
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN id > 0 AND id <= snowflake_reader_max_id();
COMMENT ON FUNCTION snowflake_is_valid(bigint) IS 'whether a number can be a snowflake ID, and so be decoded';

-- 2^53 microseconds reach beyond the end of the layout, so a double is exact enough.
CREATE FUNCTION snowflake_timestamp(id bigint) RETURNS timestamptz
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN to_timestamp(extract(epoch FROM snowflake_reader_epoch() - timestamptz '1970-01-01Z')::double precision +
					(snowflake_reader_checked(id) >> snowflake_reader_time_shift()) / 1000::double precision);
COMMENT ON FUNCTION snowflake_timestamp(bigint) IS 'time of a snowflake ID';

CREATE FUNCTION snowflake_worker_id(id bigint) RETURNS integer
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN ((snowflake_reader_checked(id) >> (snowflake_reader_time_shift() - snowflake_reader_worker_bits())) &
		((1 << snowflake_reader_worker_bits()) - 1))::integer;
COMMENT ON FUNCTION snowflake_worker_id(bigint) IS 'worker ID of a snowflake ID';

CREATE FUNCTION snowflake_sequence(id bigint) RETURNS integer
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN (snowflake_reader_checked(id) &
		((1::bigint << (snowflake_reader_time_shift() - snowflake_reader_worker_bits())) - 1))::integer;
COMMENT ON FUNCTION snowflake_sequence(bigint) IS 'sequence within the millisecond of a snowflake ID';

CREATE TYPE snowflake_decoded AS (created_at timestamptz, worker_id integer, sequence integer);
COMMENT ON TYPE snowflake_decoded IS 'what is in an ID';

CREATE FUNCTION snowflake_decode(id bigint) RETURNS snowflake_decoded
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN ROW(snowflake_timestamp(id), snowflake_worker_id(id), snowflake_sequence(id))::snowflake_decoded;
COMMENT ON FUNCTION snowflake_decode(bigint) IS 'time, worker ID and sequence of a snowflake ID';

-- From times to IDs

CREATE FUNCTION snowflake_min_id(since timestamptz) RETURNS bigint
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN ceil(snowflake_reader_ms(since)) >= 2199023255552 THEN snowflake_reader_raise_time(since)
	ELSE greatest(ceil(snowflake_reader_ms(since)), 0)::bigint << snowflake_reader_time_shift() END;
COMMENT ON FUNCTION snowflake_min_id(timestamptz) IS 'the smallest snowflake ID of this time or a later one';

CREATE FUNCTION snowflake_max_id(until timestamptz) RETURNS bigint
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN snowflake_reader_ms(until) < 0 THEN snowflake_reader_raise_time(until)
	WHEN floor(snowflake_reader_ms(until)) >= 2199023255551 THEN snowflake_reader_max_id()
	ELSE ((floor(snowflake_reader_ms(until))::bigint + 1) << snowflake_reader_time_shift()) - 1 END;
COMMENT ON FUNCTION snowflake_max_id(timestamptz) IS 'the greatest snowflake ID of this time or an earlier one';

CREATE FUNCTION snowflake_last_before(until timestamptz) RETURNS bigint
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN ceil(snowflake_reader_ms(until)) >= 2199023255552 THEN snowflake_reader_max_id()
	ELSE (greatest(ceil(snowflake_reader_ms(until)), 0)::bigint << snowflake_reader_time_shift()) - 1 END;
COMMENT ON FUNCTION snowflake_last_before(timestamptz) IS 'the greatest snowflake ID before this time, or -1';

-- Not strict, or the planner would not inline it, and no index would be used.
CREATE FUNCTION snowflake_between(id bigint, since timestamptz, until timestamptz) RETURNS boolean
LANGUAGE SQL IMMUTABLE PARALLEL SAFE
RETURN id >= snowflake_min_id(since) AND id <= snowflake_last_before(until);
COMMENT ON FUNCTION snowflake_between(bigint, timestamptz, timestamptz) IS 'whether the time of a snowflake ID is at or after the first time and before the second';

-- As text

CREATE FUNCTION snowflake_reader_digits(encoding text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
	CASE encoding
		WHEN 'base32' THEN RETURN '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
		WHEN 'base58' THEN RETURN '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
		ELSE
			RAISE EXCEPTION 'unknown ID encoding: "%"', encoding
				USING ERRCODE = 'invalid_parameter_value', DETAIL = 'Known names are "base32", "base58".';
	END CASE;
END
$$;
COMMENT ON FUNCTION snowflake_reader_digits(text) IS 'the digits of an encoding, from 0 on';

CREATE FUNCTION snowflake_to_text(id bigint, encoding text DEFAULT 'base32') RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
	digits text := snowflake_reader_digits(encoding);
	rest bigint := snowflake_reader_checked(id);
	value text := '';
BEGIN
	WHILE length(value) < (CASE encoding WHEN 'base32' THEN 13 ELSE 11 END) LOOP
		value := substr(digits, (rest % length(digits))::integer + 1, 1) || value;
		rest := rest / length(digits);
	END LOOP;
	RETURN value;
END
$$;
COMMENT ON FUNCTION snowflake_to_text(bigint, text) IS 'a snowflake ID as text that sorts like the number, in base32 or base58';

CREATE FUNCTION snowflake_from_text(value text, encoding text DEFAULT 'base32') RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
	digits text := snowflake_reader_digits(encoding);
	normal text := CASE encoding WHEN 'base32' THEN translate(upper(value COLLATE "C"), 'ILO', '110') ELSE value END;
	wanted integer := CASE encoding WHEN 'base32' THEN 13 ELSE 11 END;
	id numeric := 0;
	digit integer;
BEGIN
	IF length(value) <> wanted THEN
		RAISE EXCEPTION 'invalid snowflake ID in %: "%"', encoding, value
			USING ERRCODE = 'invalid_text_representation',
				  DETAIL = format('It must have exactly %s characters, and has %s.', wanted, length(value));
	END IF;
	FOR i IN 1 .. wanted LOOP
		digit := strpos(digits, substr(normal, i, 1));
		IF digit = 0 THEN
			RAISE EXCEPTION 'invalid snowflake ID in %: "%"', encoding, value
				USING ERRCODE = 'invalid_text_representation',
					  DETAIL = format('Character %s is not one of "%s".', i, digits);
		END IF;
		id := id * length(digits) + digit - 1;
	END LOOP;
	IF id > snowflake_reader_max_id() THEN
		RAISE EXCEPTION 'invalid snowflake ID in %: "%"', encoding, value
			USING ERRCODE = 'invalid_text_representation',
				  DETAIL = format('The greatest ID is "%s".', snowflake_to_text(snowflake_reader_max_id(), encoding));
	END IF;
	RETURN id;
END
$$;
COMMENT ON FUNCTION snowflake_from_text(text, text) IS 'the snowflake ID in a text from snowflake_to_text()';
