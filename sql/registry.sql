-- snowflake_registry: leases of worker IDs.  The asker's clock is long ago, so
-- that the intervals are always the same.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
CREATE EXTENSION snowflake_registry;

-- the error of a call, without the times that the clock shows
CREATE FUNCTION fails(sql text, OUT code text, OUT message text, OUT detail text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE sql;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	message := regexp_replace(message, '20(2[5-9]|[3-9]\d)-[-0-9 :.+]*\d', '~', 'g');
	detail := regexp_replace(detail, '20(2[5-9]|[3-9]\d)-[-0-9 :.+]*\d', '~', 'g');
END
$$;

-- set-up
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'')');
SELECT * FROM fails('SELECT snowflake_registry.fence()');
SELECT * FROM fails('SELECT snowflake_registry.setup(0)');
SELECT * FROM fails('SELECT snowflake_registry.setup(17)');
SELECT * FROM fails('SELECT snowflake_registry.setup(NULL)');
SELECT * FROM fails('SELECT snowflake_registry.setup(epoch => ''1969-12-31 23:59:59Z'')');
SELECT * FROM fails('SELECT snowflake_registry.setup(epoch => ''2023-01-01 00:00:00.0001Z'')');
SELECT * FROM fails('SELECT snowflake_registry.setup(epoch => ''infinity'')');
SELECT * FROM fails('SELECT snowflake_registry.setup(epoch => NULL)');
SELECT * FROM fails('SELECT snowflake_registry.setup(epoch => now() + ''1 min'')');
SELECT * FROM fails('SELECT snowflake_registry.setup(longest_lease => ''999 ms'')');
SELECT * FROM fails('SELECT snowflake_registry.setup(longest_lease => ''25 h'')');
SELECT * FROM fails('SELECT snowflake_registry.setup(longest_lease => NULL)');
SELECT * FROM fails('SELECT snowflake_registry.setup(fence_itself => NULL)');
SELECT snowflake_registry.setup(2, longest_lease => '1 day') IS NOT NULL AS setup;
SELECT * FROM fails('SELECT snowflake_registry.setup()');
SELECT worker_bits, epoch, longest_lease, fence_itself, timeline, floor, next_unused, fence_needed FROM snowflake_registry.registry;
SELECT r.system_identifier = c.system_identifier AS this_system FROM snowflake_registry.registry AS r, pg_control_system() AS c;

-- invalid requests
SELECT * FROM fails('SELECT snowflake_registry.lease(NULL)');
SELECT * FROM fails('SELECT snowflake_registry.lease('' '')');
SELECT * FROM fails('SELECT snowflake_registry.lease(repeat(''x'', 256))');
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'', NULL)');
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'', ''0'')');
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'', ''-1 min'')');
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'', ''999.999 ms'')');
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'', ''25 h'')');
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'', worker_id => -1)');
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'', worker_id => 4)');
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'', asker_now => NULL)');
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'', asker_now => ''-infinity'')');
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'', asker_now => ''infinity'')');
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'', asker_now => ''2022-12-31 23:59:59.999Z'')');
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'', asker_now => ''2100-01-01 00:00:00Z'')');
SELECT * FROM fails('SELECT snowflake_registry.lease(''a'', asker_now => clock_timestamp() + ''25 h'')');
SELECT count(*) FROM snowflake_registry.worker;

-- the lowest worker ID that was never used, in whole milliseconds
SELECT worker_id, valid_from, valid_until, worker_bits, epoch FROM snowflake_registry.lease('a', asker_now => '2024-01-01 00:00:00.0004Z');
SELECT * FROM snowflake_registry.lease('b', '10.0009 s', asker_now => '2024-01-01 00:00:01Z') \gset b_
SELECT :b_worker_id AS worker_id, :'b_valid_from' AS valid_from, :'b_valid_until' AS valid_until, :'b_registry' = uuid AS registry
  FROM snowflake_registry.registry;
SELECT worker_id, valid_until FROM snowflake_registry.lease('d', '5 s', 3, asker_now => '2024-01-01 00:00:02Z');
SELECT worker_id, valid_until FROM snowflake_registry.lease('c', '30 s', asker_now => '2024-01-01 00:00:03Z');
SELECT * FROM fails('SELECT snowflake_registry.lease(''e'', asker_now => ''2024-01-01 00:00:06Z'')');
SELECT * FROM fails('SELECT snowflake_registry.lease(''e'', worker_id => 2, asker_now => ''2024-01-01 00:00:06Z'')');
-- an interval is over at its very end
SELECT * FROM fails('SELECT snowflake_registry.lease(''e'', asker_now => ''2024-01-01 00:00:06.9999Z'')');
SELECT worker_id, valid_from, valid_until FROM snowflake_registry.lease('e', '10 s', asker_now => '2024-01-01 00:00:07Z');
-- then the one that ended longest ago and, by the registry's clock, has not called since
SELECT worker_id, valid_from, valid_until FROM snowflake_registry.lease('f', asker_now => '2024-01-01 00:00:50Z');
SELECT worker_id, valid_from, valid_until FROM snowflake_registry.lease('g', asker_now => '2024-01-01 00:00:51Z');
SELECT worker_id, holder, state, reserved, valid_from, valid_until, time_left, renewals, client_addr IS NOT DISTINCT FROM inet_client_addr() AS ours FROM snowflake_registry.status;

-- renewals: a new token each time, and never a shorter lease
SELECT * FROM snowflake_registry.lease('h', '60 s', 2, '2024-01-02 00:00:00Z') \gset h0_
SELECT * FROM snowflake_registry.renew(:'h0_token', '60 s', asker_now => '2024-01-02 00:00:20Z') \gset h1_
SELECT * FROM snowflake_registry.renew(:'h1_token', '10 s', :'h1_valid_until', 2, '2024-01-02 00:00:30Z') \gset h2_
SELECT :h2_worker_id AS worker_id, :'h1_valid_from' AS valid_from, :'h1_valid_until' AS valid_until, :'h2_valid_until' AS the_same,
	   :'h0_token' <> :'h1_token' AND :'h1_token' <> :'h2_token' AS rotated;
\set sql 'SELECT snowflake_registry.renew(''' :h1_token ''', asker_now => ''2024-01-02 00:00:40Z'')'
SELECT code, message, detail LIKE 'Worker ID 2 was last leased by "h", at %.' AS detail FROM fails(:'sql');
SELECT * FROM fails('SELECT snowflake_registry.renew(''ffff0000-0000-4000-8000-000000000000'')');
SELECT code FROM fails('SELECT snowflake_registry.renew(''00020000-0000-4000-8000-000000000000'')');
SELECT * FROM fails('SELECT snowflake_registry.renew(NULL)');
\set sql 'SELECT snowflake_registry.renew(''' :h2_token ''', worker_id => 1)'
SELECT code FROM fails(:'sql');
\set sql 'SELECT snowflake_registry.renew(''' :h2_token ''', valid_until => ''infinity'')'
SELECT code FROM fails(:'sql');
\set sql 'SELECT snowflake_registry.renew(''' :h2_token ''', asker_now => clock_timestamp() + ''25 h'')'
SELECT * FROM fails(:'sql');
-- a call to another registry, by mistake
\set sql 'SELECT snowflake_registry.renew(''' :h2_token ''', ''60 s'', ''2024-02-01 00:00:00Z'', 2, registry => ''00000000-0000-4000-8000-000000000000'')'
SELECT code, message FROM fails(:'sql');
SELECT fence_needed FROM snowflake_registry.registry;
SELECT holder, renewals, valid_until FROM snowflake_registry.status WHERE worker_id = 2;

-- release: what was used stays used
\set sql 'SELECT snowflake_registry.release(''' :h2_token ''', ''2024-01-02 00:01:20.0001Z'')'
SELECT * FROM fails(:'sql');
\set sql 'SELECT snowflake_registry.release(''' :h2_token ''', NULL)'
SELECT code FROM fails(:'sql');
SELECT snowflake_registry.release(:'h2_token', '2024-01-02 00:00:30.0001Z');
\set sql 'SELECT snowflake_registry.release(''' :h2_token ''', ''2024-01-02 00:00:30Z'')'
SELECT code FROM fails(:'sql');
\set sql 'SELECT snowflake_registry.renew(''' :h2_token ''')'
SELECT code FROM fails(:'sql');
SELECT worker_id, state, valid_from, valid_until FROM snowflake_registry.status WHERE worker_id = 2;
SELECT * FROM fails('SELECT snowflake_registry.lease(''i'', worker_id => 2, asker_now => ''2024-01-02 00:00:30Z'')');
SELECT valid_from FROM snowflake_registry.lease('i', worker_id => 2, asker_now => '2024-01-02 00:00:30.001Z');
-- nothing was used
SELECT token FROM snowflake_registry.lease('i', worker_id => 2, asker_now => '2024-01-03 00:00:00Z') \gset
SELECT snowflake_registry.release(:'token', '2024-01-02 12:00:00Z');
SELECT worker_id, valid_from, valid_until FROM snowflake_registry.status WHERE worker_id = 2;

-- reservations
SELECT snowflake_registry.reserve(1, 'db1');
SELECT snowflake_registry.reserve(1, 'db1');
SELECT * FROM fails('SELECT snowflake_registry.reserve(1, ''db2'')');
SELECT * FROM fails('SELECT snowflake_registry.reserve(4, ''db2'')');
SELECT * FROM fails('SELECT snowflake_registry.reserve(3, '''')');
SELECT code FROM fails(format('SELECT snowflake_registry.renew(%L)', :'b_token'));
SELECT worker_id, holder, state FROM snowflake_registry.status WHERE reserved;
SELECT * FROM fails('SELECT snowflake_registry.lease(''db2'', worker_id => 1)');
SELECT count(DISTINCT l.worker_id), bool_or(l.worker_id = 1) AS reserved
  FROM generate_series(0, 2) AS n, snowflake_registry.lease('i' || n, asker_now => '2024-02-01 00:00:00Z') AS l;
SELECT * FROM fails('SELECT snowflake_registry.lease(''i'', asker_now => ''2024-02-01 00:00:00Z'')');
SELECT worker_id, valid_from FROM snowflake_registry.lease('db1', worker_id => 1, asker_now => '2024-01-05 00:00:00Z');
SELECT * FROM fails('SELECT snowflake_registry.unreserve(2)');
SELECT * FROM fails('SELECT snowflake_registry.unreserve(NULL)');
SELECT worker_id FROM snowflake_registry.lease('db1', '1 h', worker_id => 1);
SELECT * FROM fails('SELECT snowflake_registry.unreserve(1)');
SELECT snowflake_registry.release(token, valid_from) FROM snowflake_registry.worker WHERE worker_id = 1;
SELECT snowflake_registry.unreserve(1);
SELECT worker_id, state, time_left > '23 h' AS rests FROM snowflake_registry.status WHERE worker_id = 1;
SELECT * FROM fails('SELECT snowflake_registry.lease(''db1'', worker_id => 1)');
SELECT * FROM fails('SELECT snowflake_registry.reserve(1, ''db1'')');

-- the registry is behind a holder: closed, without an error that would undo it
\set VERBOSITY terse
SELECT token FROM snowflake_registry.lease('j', worker_id => 2, asker_now => '2024-03-01 00:00:00Z') \gset
SELECT * FROM snowflake_registry.renew(:'token', valid_until => '2024-03-01 00:01:00.001Z', worker_id => 2);
\set VERBOSITY default
SELECT * FROM fails('SELECT snowflake_registry.lease(''j'')');
SELECT code FROM fails(format('SELECT snowflake_registry.renew(%L)', :'token'));
SELECT code FROM fails(format('SELECT snowflake_registry.release(%L, ''2024-03-01 00:00:00Z'')', :'token'));
SELECT code FROM fails('SELECT snowflake_registry.reserve(3, ''j'')');
SELECT code FROM fails('SELECT snowflake_registry.unreserve(3)');
SELECT f BETWEEN clock_timestamp() + '23 h' AND clock_timestamp() + '24 h' AS fenced FROM snowflake_registry.fence() AS f;
SELECT code FROM fails(format('SELECT snowflake_registry.renew(%L)', :'token'));
SELECT state, count(*), bool_and(time_left > '23 h') AS lifted FROM snowflake_registry.status GROUP BY state;
SELECT * FROM fails('SELECT snowflake_registry.lease(''j'')');

-- several statements in one message
SELECT snowflake_registry.several_statements(q), q FROM (VALUES
	('SELECT 1'), ('SELECT 1;'), (E'SELECT 1 ;\n ; '), ('SELECT '';'', ";"'), ('SELECT ''it''''s;'''),
	('SELECT 1; SELECT 2'), ('SELECT '';''; SELECT 2'), ('SELECT 1; -- two'), (E'SELECT E''\\''; SELECT 1 --'''),
	('SELECT $$;$$'), ('SELECT /*;*/ 1'), (''), (NULL)) AS v (q);

-- every object has a comment, every function has the right properties, PUBLIC has no privileges
SELECT c.relname AS object FROM pg_class AS c WHERE c.relnamespace = 'snowflake_registry'::regnamespace AND c.relkind <> 'i'
   AND obj_description(c.oid, 'pg_class') IS NULL AND (c.relkind <> 'c' OR obj_description(c.reltype, 'pg_type') IS NULL)
UNION ALL
SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'snowflake_registry'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL;
SELECT proname, provolatile, proisstrict, proparallel, prosecdef, proconfig, prosqlbody IS NOT NULL AS bound,
	   has_function_privilege('snowflake_registry', oid, 'EXECUTE') AS granted
  FROM pg_proc WHERE pronamespace = 'snowflake_registry'::regnamespace ORDER BY prosecdef, proname COLLATE "C";
CREATE ROLE regress_registry_nobody;
SELECT has_schema_privilege('regress_registry_nobody', 'snowflake_registry', 'USAGE');
SELECT proname FROM pg_proc WHERE pronamespace = 'snowflake_registry'::regnamespace
   AND has_function_privilege('regress_registry_nobody', oid, 'EXECUTE');
SELECT relname FROM pg_class WHERE relnamespace = 'snowflake_registry'::regnamespace AND relkind IN ('r', 'v')
   AND has_any_column_privilege('regress_registry_nobody', oid, 'SELECT, INSERT, UPDATE, REFERENCES');
DROP ROLE regress_registry_nobody;

DROP FUNCTION fails(text);
DROP EXTENSION snowflake_registry;
DROP ROLE snowflake_registry;
