-- snowflake_next(): where a key can be asked for
CREATE EXTENSION snowflake;

-- one call
SELECT snowflake_next() > 0 AS positive;
SELECT snowflake_next() < snowflake_next() AS increasing;
SELECT snowflake_worker_id(snowflake_next());
SELECT abs(extract(epoch FROM clock_timestamp() - snowflake_timestamp(snowflake_next()))) < 60 AS now;

-- batches
SELECT count(*), count(DISTINCT id) FROM snowflake_next(10000) AS id;
SELECT count(*) FROM snowflake_next(0);
SELECT count(*) FROM snowflake_next(NULL);
SELECT snowflake_next(-1);
SELECT bool_and(id > previous) AS increasing
  FROM (SELECT id, lag(id) OVER (ORDER BY n) AS previous
          FROM snowflake_next(5000) WITH ORDINALITY AS batch (id, n)) AS pairs;
SELECT count(*) FROM (SELECT snowflake_next(1000000) LIMIT 3) AS ids;
-- after a batch that was not read to its end
SELECT count(*), count(DISTINCT id) FROM (
  SELECT id FROM (SELECT snowflake_next(1000) AS id LIMIT 10) AS a
  UNION ALL
  SELECT id FROM (SELECT snowflake_next(1000) AS id LIMIT 10) AS b) AS ids;

-- a column default
CREATE TABLE event (id bigint DEFAULT snowflake_next() PRIMARY KEY, what text);
INSERT INTO event (what) VALUES ('a'), ('b'), ('c');
INSERT INTO event (what) SELECT 'd' FROM generate_series(1, 1000);
COPY event (what) FROM stdin;
e
f
\.
WITH new AS (INSERT INTO event (what) VALUES ('g') RETURNING id)
SELECT snowflake_worker_id(id) FROM new;
PREPARE new_event(text) AS INSERT INTO event (what) VALUES ($1) RETURNING snowflake_worker_id(id);
EXECUTE new_event('h');
EXECUTE new_event('i');
SELECT count(*), count(DISTINCT id) FROM event;
SELECT string_agg(what, '' ORDER BY id) FROM event WHERE what <> 'd';
ALTER TABLE event ADD COLUMN other_id bigint DEFAULT snowflake_next();
SELECT count(DISTINCT other_id), min(other_id) > max(id) AS later FROM event;

-- PL/pgSQL
DO $$
DECLARE
  previous bigint := 0;
  id bigint;
BEGIN
  FOR i IN 1..100000 LOOP
    id := snowflake_next();
    IF id <= previous THEN
      RAISE EXCEPTION '% does not follow %', id, previous;
    END IF;
    previous := id;
  END LOOP;
END
$$;

-- a read-only transaction, a subtransaction, a rollback
BEGIN READ ONLY;
SELECT snowflake_next() > 0 AS positive;
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;
BEGIN;
SELECT snowflake_next() AS before \gset
SAVEPOINT s;
SELECT snowflake_next() AS inside \gset
ROLLBACK TO s;
SELECT snowflake_next() > :inside AND :inside > :before AS increasing;
ROLLBACK;
SELECT snowflake_next() > :inside AS increasing;

-- a parallel plan
CREATE TABLE many AS SELECT FROM generate_series(1, 20000);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT count(id) FROM (SELECT snowflake_next() AS id FROM many OFFSET 0) AS ids;
SELECT count(id), count(DISTINCT id) FROM (SELECT snowflake_next() AS id FROM many OFFSET 0) AS ids;
RESET ALL;

-- what others may do
CREATE ROLE regress_snowflake_user;
SET ROLE regress_snowflake_user;
SELECT snowflake_next() > 0 AS positive;
SELECT snowflake_forget_mark();
RESET ROLE;
GRANT EXECUTE ON FUNCTION snowflake_forget_mark() TO regress_snowflake_user;
SET ROLE regress_snowflake_user;
SELECT snowflake_forget_mark();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION snowflake_forget_mark() FROM regress_snowflake_user;
DROP ROLE regress_snowflake_user;

-- the settings and their properties
SELECT name, setting, unit, context, vartype, min_val, max_val, boot_val
  FROM pg_settings WHERE name LIKE 'snowflake.%' ORDER BY name;
SET snowflake.worker_id = 8;
SET snowflake.max_ahead = 0;
SET snowflake.no_such_setting = 0;

-- each object has a comment
SELECT pg_describe_object(classid, objid, 0) AS object
  FROM pg_depend
 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'snowflake')
   AND obj_description(objid, classid::regclass::name) IS NULL
   AND pg_describe_object(classid, objid, 0) NOT LIKE 'type %';

DROP TABLE event, many;

-- it can be moved
CREATE SCHEMA elsewhere;
ALTER EXTENSION snowflake SET SCHEMA elsewhere;
SELECT elsewhere.snowflake_next() > 0 AS positive;
ALTER EXTENSION snowflake SET SCHEMA public;
DROP SCHEMA elsewhere;
