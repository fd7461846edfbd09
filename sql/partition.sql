-- partitions by the time in the key
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';

CREATE TABLE event (id bigint DEFAULT snowflake_next() PRIMARY KEY, what text) PARTITION BY RANGE (id);
CREATE TABLE event_2025 PARTITION OF event FOR VALUES FROM (MINVALUE) TO (snowflake_min_id('2026-01-01Z'));
CREATE TABLE event_2026_01 PARTITION OF event
  FOR VALUES FROM (snowflake_min_id('2026-01-01Z')) TO (snowflake_min_id('2026-02-01Z'));
CREATE TABLE event_2026_02 PARTITION OF event
  FOR VALUES FROM (snowflake_min_id('2026-02-01Z')) TO (snowflake_min_id('2026-03-01Z'));
CREATE TABLE event_2026_03 PARTITION OF event
  FOR VALUES FROM (snowflake_min_id('2026-03-01Z')) TO (snowflake_min_id('2026-04-01Z'));
SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'event_2026_01';

-- each row goes into the partition of its month, to the millisecond
INSERT INTO event
SELECT snowflake_encode(t + ms * interval '1 millisecond', 3, 0), 'event'
  FROM generate_series(timestamptz '2025-12-01Z', '2026-03-01Z', '1 month') AS t, generate_series(-1, 1) AS ms;
SELECT tableoid::regclass, count(*), min(snowflake_timestamp(id)), max(snowflake_timestamp(id)) FROM event GROUP BY tableoid ORDER BY 3;
ANALYZE event;

-- pruned when planned
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM event WHERE snowflake_between(id, '2026-02-03Z', '2026-02-20Z');
EXPLAIN (COSTS OFF) SELECT id FROM event WHERE snowflake_between(id, '2026-01-31Z', '2026-02-01Z');
EXPLAIN (COSTS OFF) SELECT id FROM event WHERE snowflake_between(id, '2026-01-31Z', '2026-02-01 00:00:00.000001Z');
EXPLAIN (COSTS OFF) SELECT id FROM event WHERE id <= snowflake_max_id('2025-06-01Z');

-- pruned when executed: parameters
SET plan_cache_mode = force_generic_plan;
PREPARE q (timestamptz, timestamptz) AS SELECT id FROM event WHERE snowflake_between(id, $1, $2);
EXPLAIN (COSTS OFF) EXECUTE q ('2026-02-03Z', '2026-02-20Z');
EXPLAIN (COSTS OFF) EXECUTE q (NULL, '2026-02-20Z');
SET search_path = '';
PREPARE qualified (timestamptz, timestamptz) AS SELECT id FROM public.event WHERE public.snowflake_between(id, $1, $2);
EXPLAIN (COSTS OFF) EXECUTE qualified ('2026-02-03Z', '2026-02-20Z');
RESET search_path;
RESET plan_cache_mode;

-- pruned when executed: one row of a join after the other
CREATE FUNCTION explain_what_runs(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) ' || query LOOP
    CONTINUE WHEN line ~ '^ *(Heap Fetches|Index Searches|Disabled):';
    RETURN NEXT regexp_replace(line, '\(actual [^)]*\)', '(executed)');
  END LOOP;
END
$$;
CREATE TABLE sale (name text, since timestamptz, until timestamptz);
INSERT INTO sale VALUES ('a', '2026-02-10Z', '2026-02-11Z'), ('b', '2026-02-01Z', '2026-02-02Z');
ANALYZE sale;
SET enable_memoize = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SELECT explain_what_runs('SELECT name, id FROM sale, LATERAL (SELECT id FROM event WHERE snowflake_between(id, since, until) OFFSET 0) AS sold');
SELECT name, event.tableoid::regclass, snowflake_timestamp(id) FROM sale JOIN event ON snowflake_between(id, since, until) ORDER BY id;

-- now: an insert by the default lands where it belongs, and the last hour is in one partition
DROP TABLE event;
CREATE TABLE event (id bigint DEFAULT snowflake_next() PRIMARY KEY, what text) PARTITION BY RANGE (id);
CREATE TABLE event_before PARTITION OF event FOR VALUES FROM (MINVALUE) TO (snowflake_min_id(now() - interval '10 days'));
CREATE TABLE event_now PARTITION OF event
  FOR VALUES FROM (snowflake_min_id(now() - interval '10 days')) TO (snowflake_min_id(now() + interval '10 days'));
CREATE TABLE event_after PARTITION OF event FOR VALUES FROM (snowflake_min_id(now() + interval '10 days')) TO (MAXVALUE);
INSERT INTO event (what) SELECT 'now' FROM generate_series(1, 100);
INSERT INTO event SELECT snowflake_encode(now() - interval '11 days', 7, n), 'before' FROM generate_series(1, 10) AS n;
SELECT tableoid::regclass, what, count(*) FROM event GROUP BY 1, 2 ORDER BY 1, 2;
EXPLAIN (COSTS OFF) SELECT id FROM event WHERE snowflake_between(id, now() - interval '1 hour', now());
EXPLAIN (COSTS OFF) SELECT id FROM event WHERE id < snowflake_min_id(now() - interval '11 days');
SELECT count(*) FROM event WHERE snowflake_between(id, now() - interval '1 hour', now() + interval '1 minute');

DROP TABLE event, sale;
DROP FUNCTION explain_what_runs;
DEALLOCATE ALL;
RESET ALL;
