-- IDs for existing rows: the queries of doc/backfill.md, with many rows that have the same time
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';

-- 200 rows a millisecond, in no order, each microsecond twice; and 4096 at once, as many as a millisecond has room for
CREATE TABLE message (id integer PRIMARY KEY, created_at timestamptz, new_id bigint);
INSERT INTO message SELECT i, timestamptz '2024-02-29 12:00Z' + (i * 7919 % 25000) * interval '2 microseconds' FROM generate_series(1, 10000) AS i;
INSERT INTO message SELECT i, '2025-07-01 08:30:00.0009Z' FROM generate_series(10001, 10000 + 4096) AS i;
CREATE FUNCTION backfill() RETURNS void LANGUAGE sql AS $$
  UPDATE message SET new_id = numbered.new_id
    FROM (SELECT id, snowflake_encode(created_at, 1023, (row_number() OVER same_ms - 1)::int) AS new_id
            FROM message
          WINDOW same_ms AS (PARTITION BY date_trunc('milliseconds', created_at) ORDER BY created_at, id)) AS numbered
   WHERE message.id = numbered.id
$$;
SELECT backfill();
CREATE VIEW verdict AS
SELECT count(*), count(DISTINCT new_id) AS ids,
       count(*) FILTER (WHERE snowflake_worker_id(new_id) <> 1023) AS other_workers,
       count(*) FILTER (WHERE before IS DISTINCT FROM before_by_time) AS out_of_order,
       count(*) FILTER (WHERE snowflake_timestamp(new_id) < date_trunc('milliseconds', created_at)) AS too_early,
       count(*) FILTER (WHERE snowflake_timestamp(new_id) > created_at) AS late,
       max(snowflake_timestamp(new_id) - date_trunc('milliseconds', created_at)) AS by
  FROM (SELECT *, lag(id) OVER (ORDER BY new_id) AS before, lag(id) OVER (ORDER BY created_at, id) AS before_by_time FROM message) AS rows;
SELECT * FROM verdict;
SELECT count(*) AS in_a_range, min(snowflake_sequence(new_id)), max(snowflake_sequence(new_id))
  FROM message WHERE snowflake_between(new_id, '2025-07-01Z', '2025-07-02Z');
SELECT max(new_id) < snowflake_next() AS before_new_ones FROM message;

-- one more is refused, with the message that the page quotes
INSERT INTO message VALUES (0, '2025-07-01 08:30:00.000Z');
\set SHOW_CONTEXT never
SELECT backfill();
\echo :LAST_ERROR_SQLSTATE
\set SHOW_CONTEXT errors
SELECT count(*) AS unchanged FROM message WHERE new_id IS NOT NULL;

-- Overflow: three milliseconds' rows in one, some in the next, and one in the first place that is free again.
INSERT INTO message SELECT i, '2025-07-01 08:30:00.0005Z' FROM generate_series(20001, 20000 + 2 * 4096) AS i;
INSERT INTO message SELECT i, '2025-07-01 08:30:00.001Z' FROM generate_series(30001, 30100) AS i;
INSERT INTO message VALUES (40000, '2025-07-01 08:30:00.005Z'), (40001, '2022-12-31 23:59:59.999Z');
CREATE FUNCTION backfill_over() RETURNS void LANGUAGE sql AS $$
  WITH numbered AS (
    SELECT id, created_at,
           floor(extract(epoch FROM created_at) * 1000)::bigint * 4096 AS place,
           row_number() OVER (ORDER BY created_at, id) AS n
      FROM message
  ), placed AS (
    SELECT id, n + max(place - n) OVER (ORDER BY n) AS place FROM numbered
  )
  UPDATE message SET new_id = snowflake_encode('epoch'::timestamptz + place / 4096 * interval '1 millisecond', 1023, (place % 4096)::int)
    FROM placed WHERE message.id = placed.id
$$;
-- before the epoch there are no IDs
\set SHOW_CONTEXT never
SELECT backfill_over();
\echo :LAST_ERROR_SQLSTATE
\set SHOW_CONTEXT errors
DELETE FROM message WHERE id = 40001;
CREATE TEMPORARY TABLE fitted AS SELECT id, new_id FROM message WHERE id BETWEEN 1 AND 10000;
SELECT backfill_over();
SELECT * FROM verdict;
SELECT count(*) AS fit_as_before FROM message JOIN fitted USING (id, new_id);
SELECT snowflake_timestamp(new_id) AS ms, count(*), min(snowflake_sequence(new_id)), max(snowflake_sequence(new_id))
  FROM message WHERE created_at >= '2025-07-01Z' GROUP BY ms ORDER BY ms;

DROP VIEW verdict;
DROP TABLE message, fitted;
DROP FUNCTION backfill, backfill_over;
RESET ALL;
