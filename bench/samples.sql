-- The table of all samples, and the queries on it.
CREATE EXTENSION snowflake;

CREATE TABLE sample
(
	part text NOT NULL,
	series text NOT NULL,
	x float8 NOT NULL,
	metric text NOT NULL,
	round integer NOT NULL,
	value float8 NOT NULL
);

-- How long a query takes if nobody reads its rows.
CREATE FUNCTION elapsed_ns(query text) RETURNS float8 LANGUAGE plpgsql AS
$$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	EXECUTE query;
	RETURN extract(epoch FROM clock_timestamp() - start) * 1e9;
END
$$;

-- A median, and the range of the middle half of the samples.
CREATE FUNCTION median(quartiles float8[]) RETURNS numeric LANGUAGE sql IMMUTABLE RETURN round(quartiles[2]::numeric, 1);
CREATE FUNCTION middle_half(quartiles float8[]) RETURNS text LANGUAGE sql IMMUTABLE
RETURN format('%s to %s', round(quartiles[1]::numeric, 1), round(quartiles[3]::numeric, 1));
