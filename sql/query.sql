-- a condition on the time becomes one on the key: what the planner makes of snowflake_between()
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';

-- A row every ten minutes of 2026, ordered as such rows come in.
CREATE TABLE event (id bigint PRIMARY KEY, what text);
INSERT INTO event SELECT snowflake_encode(t, 3, 0), 'event' FROM generate_series(timestamptz '2026-01-01Z', '2026-12-31Z', '10 minutes') AS t;
VACUUM ANALYZE event;

-- constants: a range of the primary key
EXPLAIN (COSTS OFF) SELECT count(id) FROM event WHERE snowflake_between(id, '2026-02-01Z', '2026-02-02Z');
SELECT count(id), min(snowflake_timestamp(id)), max(snowflake_timestamp(id))
  FROM event WHERE snowflake_between(id, '2026-02-01Z', '2026-02-02Z');

-- parameters, with a generic plan
SET plan_cache_mode = force_generic_plan;
PREPARE q (timestamptz, timestamptz) AS SELECT count(id) FROM event WHERE snowflake_between(id, $1, $2);
EXPLAIN (COSTS OFF) EXECUTE q ('2026-02-01Z', '2026-02-02Z');
EXECUTE q ('2026-02-01Z', '2026-02-02Z');
EXECUTE q ('2026-02-02Z', '2026-02-01Z');
EXECUTE q (NULL, '2026-02-02Z');
EXECUTE q ('2026-02-01Z', NULL);
RESET plan_cache_mode;

-- the last hours
EXPLAIN (COSTS OFF) SELECT count(id) FROM event WHERE snowflake_between(id, now() - interval '1 day', now());
EXPLAIN (COSTS OFF) SELECT count(id) FROM event WHERE id >= snowflake_min_id(now() - interval '1 day');
EXPLAIN (COSTS OFF) SELECT count(id) FROM event WHERE snowflake_between(id, now() - interval '1 day', 'infinity');

-- since the result of a subquery, whose plan's name differs between versions
CREATE TABLE poll (last timestamptz);
CREATE FUNCTION index_condition(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
    IF line ~ 'Index Cond:' THEN
      RETURN regexp_replace(line, '(\$0|\(InitPlan [^)]*\)\.col1)', 'subquery');
    END IF;
  END LOOP;
  RETURN NULL;
END
$$;
SELECT index_condition('SELECT count(id) FROM event WHERE snowflake_between(id, (SELECT max(last) FROM poll), $$infinity$$)');
DROP FUNCTION index_condition;
DROP TABLE poll;

-- a join condition
CREATE TABLE sale (name text, since timestamptz, until timestamptz);
INSERT INTO sale VALUES ('winter', '2026-01-10Z', '2026-01-11Z'), ('summer', '2026-07-01Z', '2026-07-03Z');
ANALYZE sale;
SET enable_memoize = off;
EXPLAIN (COSTS OFF) SELECT name, count(id) FROM sale JOIN event ON snowflake_between(id, since, until) GROUP BY name;
SELECT name, count(id) FROM sale JOIN event ON snowflake_between(id, since, until) GROUP BY name ORDER BY name;

-- whatever the search path is
SET search_path = '';
EXPLAIN (COSTS OFF) SELECT count(id) FROM public.event WHERE public.snowflake_between(id, '2026-02-01Z', '2026-02-02Z');
EXPLAIN (COSTS OFF) SELECT count(id) FROM public.event WHERE public.snowflake_between(id, pg_catalog.now() - interval '1 day', pg_catalog.now());
SELECT count(id) FROM public.event WHERE public.snowflake_between(id, '2026-02-01Z', '2026-02-02Z');
RESET search_path;

-- a role without other privileges
CREATE ROLE regress_snowflake_user;
GRANT SELECT ON event TO regress_snowflake_user;
SET ROLE regress_snowflake_user;
EXPLAIN (COSTS OFF) SELECT count(id) FROM event WHERE snowflake_between(id, '2026-02-01Z', '2026-02-02Z');
RESET ROLE;
DROP OWNED BY regress_snowflake_user;
DROP ROLE regress_snowflake_user;

-- the newest rows
EXPLAIN (COSTS OFF) SELECT * FROM event ORDER BY id DESC LIMIT 10;

-- an index on the time, for those who cannot change the query
CREATE INDEX event_time ON event (snowflake_timestamp(id));
ANALYZE event;
EXPLAIN (COSTS OFF) SELECT what FROM event WHERE snowflake_timestamp(id) >= '2026-12-30 12:00Z';
SELECT count(what) FROM event WHERE snowflake_timestamp(id) >= '2026-12-30 12:00Z';

-- a generated column
ALTER TABLE event ADD COLUMN created_at timestamptz GENERATED ALWAYS AS (snowflake_timestamp(id)) STORED;
SELECT count(*) FROM event WHERE created_at = snowflake_timestamp(id);
INSERT INTO event (id, what) VALUES (snowflake_encode('2027-01-01 00:00:00.123Z', 1, 2), 'new year') RETURNING created_at;

-- a small index on a large table that grows by time
CREATE TABLE event_log AS SELECT id, what FROM event ORDER BY id;
CREATE INDEX ON event_log USING brin (id) WITH (pages_per_range = 8);
ANALYZE event_log;
EXPLAIN (COSTS OFF) SELECT count(what) FROM event_log WHERE snowflake_between(id, '2026-02-01Z', '2026-02-02Z');
SELECT count(what) FROM event_log WHERE snowflake_between(id, '2026-02-01Z', '2026-02-02Z');

DROP TABLE event, event_log, sale;
DEALLOCATE q;
RESET ALL;
