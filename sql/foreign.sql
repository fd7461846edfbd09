-- IDs of any layout, which is given by where its fields stand
SET timezone = 'UTC';
SET datestyle = 'ISO';

-- the defaults are those of most: 41 bits of milliseconds, 10 of worker, 12 of sequence
SELECT * FROM snowflake_decode(1050118621198921728, epoch => '2010-11-04 01:42:54.657Z');
-- 12 bits below the time
SELECT * FROM snowflake_decode((1 << 12) | (2 << 6) | 3, epoch => '2020-02-20Z', worker_bits => 6, sequence_bits => 6);
-- seconds; an example of the maker's, whose clock is that of Shanghai
SELECT d.created_at AT TIME ZONE 'Asia/Shanghai' AS created_at, worker_id, sequence
  FROM snowflake_decode(180363646902239241, epoch => '2016-09-20 00:00+08', unit => '1 s', time_bits => 29, worker_bits => 21, sequence_bits => 13) AS d;
-- the sequence above the worker, and 10 ms
SELECT * FROM snowflake_decode((1 << 24) | (2 << 16) | 3, epoch => '2025-01-01Z', unit => '10 ms', time_bits => 39,
                               worker_bits => 16, worker_shift => 0, sequence_bits => 8, sequence_shift => 16);
-- the worker above the time
SELECT * FROM snowflake_decode((7::bigint << 53) | (1 << 12) | 9, epoch => '2020-05-03Z', worker_shift => 53, time_shift => 12);
-- microseconds; days; no worker; no sequence; bits that nobody knows
SELECT * FROM snowflake_decode(1765551611692032816, epoch => 'epoch', unit => '1 us', time_bits => 53, sequence_bits => 0);
SELECT * FROM snowflake_decode(3 << 8 | 5, epoch => '2026-01-01Z', unit => '1 day', time_bits => 20, worker_bits => 0, sequence_bits => 8);
SELECT * FROM snowflake_decode(6854717870488702213, epoch => 'epoch', unit => '1 s', time_bits => 32, time_shift => 32, worker_bits => 0, sequence_bits => 0);
-- the sign bit, if a field has it
SELECT * FROM snowflake_decode(-1, epoch => '2015-01-01Z', time_bits => 42);

-- for each row another layout
SELECT n, d.* FROM generate_series(1, 3) AS n,
       snowflake_decode(4096 + n, epoch => timestamptz '2020-01-01Z' + n * interval '1 year', worker_bits => n, sequence_bits => 12 - n) AS d;

-- NULL
SELECT snowflake_decode(NULL, epoch => '2020-01-01Z') IS NULL AS id, snowflake_decode(1, epoch => NULL) IS NULL AS epoch,
       snowflake_decode(1, epoch => '2020-01-01Z', unit => NULL) IS NULL AS unit, snowflake_decode(1, epoch => '2020-01-01Z', time_bits => NULL) IS NULL AS time_bits,
       snowflake_decode(1, epoch => '2020-01-01Z', worker_bits => NULL) IS NULL AS worker_bits, snowflake_min_id(NULL, epoch => '2020-01-01Z') IS NULL AS min_id,
       snowflake_min_id('2026-01-01Z', epoch => '2020-01-01Z', sequence_bits => NULL) IS NULL AS sequence_bits;

-- no such ID
SELECT snowflake_decode(-1, epoch => '2020-01-01Z');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_decode(1::bigint << 53, epoch => '2020-02-20Z', worker_bits => 6, sequence_bits => 6);
SELECT snowflake_decode(9223372036854775807, epoch => '2020-01-01Z', unit => '1 s', time_bits => 63, worker_bits => 0, sequence_bits => 0);
SELECT snowflake_decode(9223372036854, epoch => '2020-01-01Z', unit => '1 s', time_bits => 63, worker_bits => 0, sequence_bits => 0);

-- no such layout
SELECT snowflake_decode(1, epoch => '2020-01-01Z', time_bits => 0);
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_decode(1, epoch => '2020-01-01Z', time_bits => 64);
SELECT snowflake_decode(1, epoch => '2020-01-01Z', time_bits => 43);
SELECT snowflake_decode(1, epoch => '2020-01-01Z', worker_bits => -1);
SELECT snowflake_decode(1, epoch => '2020-01-01Z', worker_bits => 32);
SELECT snowflake_decode(1, epoch => '2020-01-01Z', sequence_bits => 2147483647);
SELECT snowflake_decode(1, epoch => '2020-01-01Z', time_shift => 64);
SELECT snowflake_decode(1, epoch => '2020-01-01Z', worker_shift => -1);
SELECT snowflake_decode(1, epoch => '2020-01-01Z', worker_shift => 11);
SELECT snowflake_decode(1, epoch => '2020-01-01Z', time_shift => 21);
SELECT snowflake_decode(1, epoch => '2020-01-01Z', unit => '0');
SELECT snowflake_decode(1, epoch => '2020-01-01Z', unit => '-1 s');
SELECT snowflake_decode(1, epoch => '2020-01-01Z', unit => '1 month');
SELECT snowflake_decode(1, epoch => '2020-01-01Z', unit => '2147483647 days');
SELECT snowflake_decode(1, epoch => '-infinity');
SELECT snowflake_decode(1, epoch => '294276-12-31Z');
SELECT snowflake_min_id('2026-01-01Z', epoch => '2020-01-01Z', worker_shift => 53, time_shift => 12);

-- the smallest ID of a time, exactly
WITH ids AS (
  SELECT (('x' || md5(i::text))::bit(64)::bigint & 9223372036854775807) >> (i % 10 + 11) AS id, i % 3 AS kind FROM generate_series(1, 3000) AS i
), edges AS (
  SELECT kind, unnest(ARRAY[id, id | 4095, id & ~4095::bigint]) AS id FROM ids
), pairs AS (
  SELECT id, d.created_at AS its, d.created_at + us * interval '1 microsecond' AS t,
         (ARRAY['1 ms', '10 ms', '1 s'])[kind + 1]::interval AS unit
    FROM edges, snowflake_decode(id, epoch => '2020-02-20Z', unit => (ARRAY['1 ms', '10 ms', '1 s'])[kind + 1]::interval, worker_bits => 6, sequence_bits => 6) AS d,
         unnest('{-1000001, -10001, -1001, -1000, -999, -1, 0, 1, 999, 1000, 1001, 10001, 1000001}'::int[]) AS us
)
SELECT count(*) > 40000 AS many,
       count(*) FILTER (WHERE (its >= t) <> (id >= snowflake_min_id(t, epoch => '2020-02-20Z', unit => unit, worker_bits => 6, sequence_bits => 6))) AS differ
  FROM pairs WHERE its < '2089-10-01Z';
SELECT snowflake_min_id('-infinity', epoch => '2020-01-01Z'), snowflake_min_id('2019-12-31Z', epoch => '2020-01-01Z'),
       snowflake_min_id('2020-01-01 00:00:00.000001Z', epoch => '2020-01-01Z');
SELECT snowflake_min_id('infinity', epoch => '2020-01-01Z');
SELECT snowflake_min_id('2089-09-07Z', epoch => '2020-01-01Z');

-- the planner computes the bound, and so uses the index
CREATE TABLE foreign_event (id bigint PRIMARY KEY);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT count(id) FROM foreign_event
 WHERE id >= snowflake_min_id('2026-01-01Z', epoch => '2020-02-20Z', worker_bits => 6, sequence_bits => 6)
   AND id < snowflake_min_id('2026-01-02Z', epoch => '2020-02-20Z', worker_bits => 6, sequence_bits => 6);
RESET enable_seqscan;
RESET enable_bitmapscan;
DROP TABLE foreign_event;
