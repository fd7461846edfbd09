-- from times to IDs: the layout has 41 bits of milliseconds since 2023-01-01
SET timezone = 'UTC';
SET datestyle = 'ISO';

SELECT snowflake_encode('2023-01-01 00:00:00.001Z', 5, 9), snowflake_encode('2023-01-01Z', 0, 0),
       snowflake_encode('2092-09-06 15:47:35.551Z', 1023, 4095);
-- microseconds are cut off
SELECT snowflake_decode(snowflake_encode('2026-03-04 05:06:07.891999Z', 1, 2));
-- round trip
SELECT count(*) FROM snowflake_next(1000) AS id, snowflake_decode(id) AS d
 WHERE snowflake_encode(d.created_at, d.worker_id, d.sequence) = id;

SELECT snowflake_encode('2022-12-31 23:59:59.999999Z', 0, 0);
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_encode('2092-09-06 15:47:35.552Z', 0, 0);
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_encode('infinity', 0, 0);
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_encode('-infinity', 0, 0);
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_encode('294276-12-31Z', 0, 0);
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_encode('4714-11-24 BC', 0, 0);
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_encode('2026-01-01Z', -1, 0);
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_encode('2026-01-01Z', 1024, 0);
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_encode('2026-01-01Z', 0, -1);
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_encode('2026-01-01Z', 0, 4096);
\echo :LAST_ERROR_SQLSTATE

-- the bounds of a time
SELECT t, snowflake_min_id(t), snowflake_max_id(t), snowflake_last_before(t), snowflake_timestamp(snowflake_max_id(t))
  FROM unnest('{2023-01-01Z, 2023-01-01 00:00:00.000001Z, 2026-01-01Z, 2092-09-06 15:47:35.550999Z, 2092-09-06 15:47:35.551Z}'::timestamptz[]) AS t;
SELECT t, snowflake_min_id(t) FROM unnest('{-infinity, 4714-11-24 BC, 2022-12-31 23:59:59.999999Z}'::timestamptz[]) AS t;
SELECT t, snowflake_max_id(t) FROM unnest('{2092-09-06 15:47:35.552Z, 294276-12-31Z, infinity}'::timestamptz[]) AS t;
SELECT t, snowflake_last_before(t)
  FROM unnest('{-infinity, 4714-11-24 BC, 2023-01-01Z, 2092-09-06 15:47:35.551001Z, 294276-12-31Z, infinity}'::timestamptz[]) AS t;
SELECT snowflake_min_id('2092-09-06 15:47:35.551001Z');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_min_id('294276-12-31Z');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_min_id('infinity');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_max_id('2022-12-31 23:59:59.999999Z');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_max_id('4714-11-24 BC');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_max_id('-infinity');
\echo :LAST_ERROR_SQLSTATE

-- A condition on the ID means the same as the one on its time: for random IDs and both ends of their milliseconds,
-- and for times from a millisecond before to a millisecond after, including the microseconds in between.
WITH ids AS (
  SELECT ('x' || md5(i::text))::bit(64)::bigint & 9223372036854775807 AS id FROM generate_series(1, 3000) AS i
  UNION ALL
  SELECT unnest('{0, 1, 4194303, 4194304, 9223372036854775807, 9223372036850581504, 9223372036850581503}'::bigint[])
), edges AS (
  SELECT unnest(ARRAY[id, id | 4194303, id & ~4194303::bigint]) AS id FROM ids
), pairs AS (
  SELECT id, snowflake_timestamp(id) AS its, snowflake_timestamp(id) + us * interval '1 microsecond' AS t
    FROM edges, unnest('{-1001, -1000, -999, -1, 0, 1, 500, 999, 1000, 1001}'::int[]) AS us
), inside AS (
  SELECT * FROM pairs WHERE t BETWEEN '2023-01-01Z' AND '2092-09-06 15:47:35.551Z'
)
SELECT count(*) > 80000 AS many,
       count(*) FILTER (WHERE (its >= t) <> (id >= snowflake_min_id(t))) AS min_differs,
       count(*) FILTER (WHERE (its <= t) <> (id <= snowflake_max_id(t))) AS max_differs,
       count(*) FILTER (WHERE (its < t) <> (id <= snowflake_last_before(t))) AS before_differs,
       count(*) FILTER (WHERE (its >= t AND its < '2092-01-01Z') <> snowflake_between(id, t, '2092-01-01Z')) AS since_differs,
       count(*) FILTER (WHERE (its >= '2024-01-01Z' AND its < t) <> snowflake_between(id, '2024-01-01Z', t)) AS until_differs
  FROM inside;

-- any range of times, open-ended ones too, except those that begin after the end
SELECT since, until, count(*) FILTER (WHERE snowflake_between(id, since, until))
  FROM unnest('{0, 4194303, 4194304, 9223372036854775807}'::bigint[]) AS id,
       unnest('{-infinity, 4714-11-24 BC, 2023-01-01Z, 2023-01-01 00:00:00.001Z, 2092-09-06 15:47:35.551Z}'::timestamptz[]) AS since,
       unnest('{-infinity, 2023-01-01Z, 2023-01-01 00:00:00.001Z, 2092-09-06 15:47:35.551Z, infinity}'::timestamptz[]) AS until
 GROUP BY since, until ORDER BY since, until;
\set SHOW_CONTEXT never
SELECT snowflake_between(1, 'infinity', 'infinity');
\set SHOW_CONTEXT errors

-- NULL is no bound
SELECT snowflake_encode(NULL, 0, 0) IS NULL AS created_at, snowflake_encode(now(), NULL, 0) IS NULL AS worker_id,
       snowflake_encode(now(), 0, NULL) IS NULL AS sequence, snowflake_min_id(NULL) IS NULL AS min, snowflake_max_id(NULL) IS NULL AS max,
       snowflake_last_before(NULL) IS NULL AS before;
SELECT snowflake_between(1, NULL, '2026-01-01Z') AS since, snowflake_between(1, '2022-01-01Z', NULL) AS until,
       snowflake_between(NULL, '2022-01-01Z', '2026-01-01Z') AS id, snowflake_between(1, '2025-01-01Z', NULL) AS outside;
