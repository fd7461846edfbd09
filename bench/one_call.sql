-- Part 1, one call: each candidate 20 times per row, and just before it an empty call
-- as often.  Writes lines for the table "sample".
--
-- Variables: rounds, table_rows.  The numbers of rows make each query take some
-- milliseconds: short enough for some to run undisturbed.  Round 0 warms up.

CREATE SEQUENCE plain_seq;
CREATE SEQUENCE cached_seq CACHE 1000;
CREATE SEQUENCE table_id_seq;

-- The popular one, as published by Instagram Engineering in 2012.
CREATE FUNCTION next_id(OUT result bigint) AS $$
DECLARE
    our_epoch bigint := 1314220021721;
    seq_id bigint;
    now_millis bigint;
    shard_id int := 5;
BEGIN
    SELECT nextval('table_id_seq') % 1024 INTO seq_id;
    SELECT FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) INTO now_millis;
    result := (now_millis - our_epoch) << 23;
    result := result | (shard_id << 10);
    result := result | (seq_id);
END;
$$ LANGUAGE PLPGSQL;

CREATE TABLE candidate (position integer, name text, call text, rows integer);
INSERT INTO candidate VALUES
	(1, 'snowflake_next()', 'snowflake_next()', 5000),
	(2, 'clock_timestamp()', 'clock_timestamp()', 5000),
	(3, 'nextval, cache 1', $$nextval('plain_seq')$$, 1000),
	(4, 'nextval, cache 1000', $$nextval('cached_seq')$$, 1000),
	(5, 'gen_random_uuid()', 'gen_random_uuid()', 200),
	(7, 'PL/pgSQL function over a sequence', 'next_id()', 200);
INSERT INTO candidate
SELECT 6, 'uuidv7()', 'uuidv7()', 200 FROM pg_proc WHERE proname = 'uuidv7' AND pronamespace = 'pg_catalog'::regnamespace;

CREATE FUNCTION calls(call text, rows bigint) RETURNS text LANGUAGE sql IMMUTABLE
RETURN format('SELECT %s FROM generate_series(1, %s) OFFSET %2$s', array_to_string(array_fill(call, '{20}'), ', '), rows);

CREATE FUNCTION rows_of(call text, rows bigint) RETURNS text LANGUAGE sql IMMUTABLE
RETURN format('SELECT %s OFFSET %s', call, rows);

-- The last column: run in every nth round.
CREATE TABLE comparison (position integer, name text, query text, empty text, calls bigint, every integer);
INSERT INTO comparison
SELECT position, name, calls(call, rows), calls('pg_backend_pid()', rows), 20 * rows, 1
  FROM candidate;
INSERT INTO comparison
SELECT 8, 'snowflake_next(n), an ID', rows_of(format('snowflake_next(%s)', n), n), rows_of(format('generate_series(1, %s)', n), n), n, 1
  FROM (VALUES (100000)) AS size (n);

-- What decoding costs, compared to the arithmetic that people write instead.
CREATE TABLE decoded AS SELECT snowflake_next(:table_rows) AS id;
VACUUM ANALYZE decoded;
INSERT INTO comparison
SELECT position, call || ', a row', rows_of(call || ' FROM decoded', :table_rows), rows_of('id FROM decoded', :table_rows), :table_rows, 8
  FROM (VALUES (10, 'to_timestamp(id >> 22)'), (11, 'snowflake_timestamp(id)'), (12, 'snowflake_decode(id)')) AS decode (position, call);

SELECT format($$SELECT 'one_call', %1$L, %2$s, m, %3$s, v FROM (SELECT elapsed_ns(%4$L) / %6$s, elapsed_ns(%5$L) / %6$s) AS s (empty, call), LATERAL (VALUES ('empty', empty), ('call', call)) AS v (m, v)$$,
              name, position, round, empty, query, calls)
  FROM generate_series(0, :rounds) AS round, comparison
 WHERE round % every = 0
 ORDER BY round, position \gexec
