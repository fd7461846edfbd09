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

-- The first steps of the two procedures, which is where they fail; a procedure that
-- commits cannot be called by fails().
CREATE FUNCTION try_lease(holder text, duration interval DEFAULT '60 s', worker_id integer DEFAULT NULL,
	asker_now timestamptz DEFAULT clock_timestamp()) RETURNS uuid LANGUAGE SQL
RETURN snowflake_registry.propose_lease(holder, duration, worker_id, asker_now);
CREATE FUNCTION try_renewal(token uuid, duration interval DEFAULT '60 s', asker_now timestamptz DEFAULT clock_timestamp(),
	registry uuid DEFAULT NULL, attempt uuid DEFAULT NULL) RETURNS uuid LANGUAGE SQL
RETURN snowflake_registry.propose_renewal(token, duration, asker_now, registry, attempt);
\set show 'SELECT :worker_id AS worker_id, :''valid_from'' AS valid_from, :''valid_until'' AS valid_until;'

-- set-up
SELECT * FROM fails('SELECT try_lease(''a'')');
SELECT * FROM fails('SELECT snowflake_registry.fence()');
SELECT * FROM fails('SELECT snowflake_registry.setup(0)');
SELECT * FROM fails('SELECT snowflake_registry.setup(17)');
SELECT * FROM fails('SELECT snowflake_registry.setup(NULL)');
SELECT * FROM fails('SELECT snowflake_registry.setup(id_bits => 52)');
SELECT * FROM fails('SELECT snowflake_registry.setup(worker_bits => 7, id_bits => 53)');
SELECT * FROM fails('SELECT snowflake_registry.setup(epoch => ''1969-12-31 23:59:59Z'')');
SELECT * FROM fails('SELECT snowflake_registry.setup(epoch => ''2023-01-01 00:00:00.0001Z'')');
SELECT * FROM fails('SELECT snowflake_registry.setup(epoch => ''infinity'')');
SELECT * FROM fails('SELECT snowflake_registry.setup(epoch => NULL)');
SELECT * FROM fails('SELECT snowflake_registry.setup(epoch => now() + ''1 min'')');
SELECT * FROM fails('SELECT snowflake_registry.setup(longest_lease => ''999 ms'')');
SELECT * FROM fails('SELECT snowflake_registry.setup(longest_lease => ''25 h'')');
SELECT * FROM fails('SELECT snowflake_registry.setup(longest_lease => NULL)');
SELECT * FROM fails('SELECT snowflake_registry.setup(longest_lease => ''1 day'')');
SELECT * FROM fails('SELECT snowflake_registry.setup(most_per_holder => 0)');
SELECT * FROM fails('SELECT snowflake_registry.setup(fence_itself => NULL)');
SELECT snowflake_registry.setup(2, longest_lease => '24 h', most_per_holder => 4) IS NOT NULL AS setup;
SELECT * FROM fails('SELECT snowflake_registry.setup()');
SELECT worker_bits, epoch, longest_lease, fence_itself, most_per_holder, timeline, floor, next_unused, fence_needed FROM snowflake_registry.registry;
SELECT r.system_identifier = c.system_identifier AS this_system, r.database = d.oid AS this_database
  FROM snowflake_registry.registry AS r, pg_control_system() AS c, pg_database AS d WHERE d.datname = current_database();

-- invalid requests
SELECT * FROM fails('SELECT try_lease(NULL)');
SELECT * FROM fails('SELECT try_lease('' '')');
SELECT * FROM fails('SELECT try_lease(repeat(''x'', 256))');
SELECT * FROM fails('SELECT try_lease(''a'', NULL)');
SELECT * FROM fails('SELECT try_lease(''a'', ''0'')');
SELECT * FROM fails('SELECT try_lease(''a'', ''-1 min'')');
SELECT * FROM fails('SELECT try_lease(''a'', ''999.999 ms'')');
SELECT * FROM fails('SELECT try_lease(''a'', worker_id => -1)');
SELECT * FROM fails('SELECT try_lease(''a'', worker_id => 4)');
SELECT * FROM fails('SELECT try_lease(''a'', asker_now => NULL)');
SELECT * FROM fails('SELECT try_lease(''a'', asker_now => ''-infinity'')');
SELECT * FROM fails('SELECT try_lease(''a'', asker_now => ''infinity'')');
SELECT * FROM fails('SELECT try_lease(''a'', asker_now => ''2022-12-31 23:59:59.999Z'')');
SELECT * FROM fails('SELECT try_lease(''a'', asker_now => ''2100-01-01 00:00:00Z'')');
SELECT * FROM fails('SELECT try_lease(''a'', asker_now => clock_timestamp() + ''25 h'')');
SELECT count(*) FROM snowflake_registry.worker;

-- the lowest worker ID that was never used, in whole milliseconds
CALL snowflake_registry.lease('a', asker_now => '2024-01-01 00:00:00.0004Z') \gset
:show
SELECT :worker_bits AS worker_bits, :'epoch' AS epoch, :'registry' = uuid AS registry FROM snowflake_registry.registry;
CALL snowflake_registry.lease('b', '10.0009 s', asker_now => '2024-01-01 00:00:01Z') \gset
\set b_token :token
:show
CALL snowflake_registry.lease('d', '5 s', 3, asker_now => '2024-01-01 00:00:02Z') \gset
:show
CALL snowflake_registry.lease('c', '30 s', asker_now => '2024-01-01 00:00:03Z') \gset
:show
SELECT * FROM fails('SELECT try_lease(''e'', asker_now => ''2024-01-01 00:00:06Z'')');
SELECT * FROM fails('SELECT try_lease(''e'', worker_id => 2, asker_now => ''2024-01-01 00:00:06Z'')');
-- an interval is over at its very end
SELECT * FROM fails('SELECT try_lease(''e'', asker_now => ''2024-01-01 00:00:06.9999Z'')');
CALL snowflake_registry.lease('e', '10 s', asker_now => '2024-01-01 00:00:07Z') \gset
:show
-- then the one that ended longest ago and, by the registry's clock, has not called since
CALL snowflake_registry.lease('f', asker_now => '2024-01-01 00:00:50Z') \gset
:show
CALL snowflake_registry.lease('g', asker_now => '2024-01-01 00:00:51Z') \gset
:show
SELECT worker_id, holder, state, reserved, valid_from, valid_until, time_left, renewals, client_addr IS NOT DISTINCT FROM inet_client_addr() AS ours FROM snowflake_registry.status;

-- renewals: a new token each time, and never a shorter lease
CALL snowflake_registry.lease('h', '60 s', 2, '2024-01-02 00:00:00Z') \gset h0_
CALL snowflake_registry.renew(:'h0_token', '60 s', '2024-01-02 00:00:20Z') \gset h1_
CALL snowflake_registry.renew(:'h1_token', '10 s', '2024-01-02 00:00:30Z', :'h1_registry') \gset h2_
SELECT :h2_worker_id AS worker_id, :'h1_valid_from' AS valid_from, :'h1_valid_until' AS valid_until, :'h2_valid_until' AS the_same,
	   :'h0_token' <> :'h1_token' AND :'h1_token' <> :'h2_token' AS rotated;
SELECT code, message, detail LIKE 'Worker ID 2 was last leased by "h", at %.' AS detail
  FROM fails(format('SELECT try_renewal(%L, asker_now => ''2024-01-02 00:00:40Z'')', :'h1_token'));
SELECT * FROM fails('SELECT try_renewal(''ffff0000-0000-4000-8000-000000000000'')');
SELECT code FROM fails('SELECT try_renewal(''00020000-0000-4000-8000-000000000000'')');
SELECT * FROM fails('SELECT try_renewal(NULL)');
SELECT * FROM fails(format('SELECT try_renewal(%L, asker_now => clock_timestamp() + ''25 h'')', :'h2_token'));
-- a call to another registry, by mistake
SELECT code, message
  FROM fails(format('SELECT try_renewal(%L, registry => ''00000000-0000-4000-8000-000000000000'')', :'h2_token'));
SELECT holder, renewals, valid_until FROM snowflake_registry.status WHERE worker_id = 2;

-- a renewal that is repeated: the same attempt, and the same new token
SELECT gen_random_uuid() AS attempt, gen_random_uuid() AS other \gset
CALL snowflake_registry.renew(:'h2_token', '60 s', '2024-01-02 00:00:31Z', attempt => :'attempt') \gset h3_
CALL snowflake_registry.renew(:'h2_token', '60 s', '2024-01-02 00:00:32Z', attempt => :'attempt') \gset h4_
SELECT :'h3_token' = :'h4_token' AS the_same, :'h2_token' <> :'h4_token' AS rotated, :'h3_valid_until' AS first, :'h4_valid_until' AS second;
SELECT renewals FROM snowflake_registry.status WHERE worker_id = 2;
SELECT code FROM fails(format('SELECT try_renewal(%L, attempt => %L)', :'h2_token', :'other'));
SELECT code FROM fails(format('SELECT try_renewal(%L)', :'h2_token'));
-- until the next one
CALL snowflake_registry.renew(:'h4_token', '60 s', '2024-01-02 00:00:33Z', attempt => :'other') \gset h5_
SELECT code FROM fails(format('SELECT try_renewal(%L, attempt => %L)', :'h2_token', :'attempt'));
SELECT code FROM fails(format('SELECT try_renewal(%L, attempt => %L)', :'h4_token', :'attempt'));

-- by hand, in two steps: no lease before the commit, whatever is between
BEGIN;
SELECT try_renewal(:'h5_token', '60 s', '2024-01-02 00:00:34Z') AS proposal \gset
SELECT * FROM fails(format('SELECT snowflake_registry.confirm(%L)', :'proposal'));
SAVEPOINT s;
SELECT code FROM fails(format('SELECT snowflake_registry.confirm(%L)', :'proposal'));
COMMIT;
SELECT (l).worker_id, (l).valid_until FROM snowflake_registry.confirm(:'proposal') AS l;
SELECT (l).token AS h6_token FROM snowflake_registry.confirm(:'proposal') AS l \gset
BEGIN;
SELECT try_renewal(:'h6_token', '60 s', '2024-01-02 00:00:35Z') AS proposal \gset
ROLLBACK;
SELECT * FROM fails(format('SELECT snowflake_registry.confirm(%L)', :'proposal'));
SELECT code FROM fails('SELECT snowflake_registry.confirm(NULL)');

-- release: what was used stays used
\set sql 'SELECT snowflake_registry.release(''' :h6_token ''', ''2024-01-02 00:02:20.0001Z'')'
SELECT * FROM fails(:'sql');
\set sql 'SELECT snowflake_registry.release(''' :h6_token ''', NULL)'
SELECT code FROM fails(:'sql');
SELECT snowflake_registry.release(:'h6_token', '2024-01-02 00:00:40.0001Z');
\set sql 'SELECT snowflake_registry.release(''' :h6_token ''', ''2024-01-02 00:00:40Z'')'
SELECT code FROM fails(:'sql');
\set sql 'SELECT try_renewal(''' :h6_token ''')'
SELECT code FROM fails(:'sql');
SELECT worker_id, state, valid_from, valid_until FROM snowflake_registry.status WHERE worker_id = 2;
SELECT * FROM fails('SELECT try_lease(''i'', worker_id => 2, asker_now => ''2024-01-02 00:00:40Z'')');
CALL snowflake_registry.lease('i', worker_id => 2, asker_now => '2024-01-02 00:00:40.001Z') \gset
:show
-- nothing was used
CALL snowflake_registry.lease('i', worker_id => 2, asker_now => '2024-01-03 00:00:00Z') \gset
SELECT snowflake_registry.release(:'token', '2024-01-02 12:00:00Z');
SELECT worker_id, valid_from, valid_until FROM snowflake_registry.status WHERE worker_id = 2;

-- reservations
SELECT snowflake_registry.reserve(1, 'db1');
SELECT snowflake_registry.reserve(1, 'db1');
SELECT * FROM fails('SELECT snowflake_registry.reserve(1, ''db2'')');
SELECT * FROM fails('SELECT snowflake_registry.reserve(4, ''db2'')');
SELECT * FROM fails('SELECT snowflake_registry.reserve(3, '''')');
SELECT code FROM fails(format('SELECT try_renewal(%L)', :'b_token'));
SELECT worker_id, holder, state FROM snowflake_registry.status WHERE reserved;
SELECT * FROM fails('SELECT try_lease(''db2'', worker_id => 1)');
CALL snowflake_registry.lease('i0', asker_now => '2024-02-01 00:00:00Z') \gset
CALL snowflake_registry.lease('i1', asker_now => '2024-02-01 00:00:00Z') \gset
CALL snowflake_registry.lease('i2', asker_now => '2024-02-01 00:00:00Z') \gset
SELECT worker_id, holder FROM snowflake_registry.status WHERE holder LIKE 'i_' ORDER BY holder;
SELECT * FROM fails('SELECT try_lease(''i'', asker_now => ''2024-02-01 00:00:00Z'')');
CALL snowflake_registry.lease('db1', worker_id => 1, asker_now => '2024-01-05 00:00:00Z') \gset
:show
-- a server's name is followed by where it runs
SELECT code FROM fails('SELECT try_lease(''db12 host:5432 1'', worker_id => 1, asker_now => ''2024-01-06 00:00:00Z'')');
CALL snowflake_registry.lease('db1 host:5432 1', worker_id => 1, asker_now => '2024-01-06 00:00:00Z') \gset
:show
SELECT holder FROM snowflake_registry.status WHERE worker_id = 1;
SELECT * FROM fails('SELECT snowflake_registry.unreserve(2)');
SELECT * FROM fails('SELECT snowflake_registry.unreserve(NULL)');
CALL snowflake_registry.lease('db1', '1 h', worker_id => 1) \gset
SELECT * FROM fails('SELECT snowflake_registry.unreserve(1)');
SELECT snowflake_registry.release(token, valid_from) FROM snowflake_registry.worker WHERE worker_id = 1;
SELECT snowflake_registry.unreserve(1);
SELECT worker_id, state, time_left > '23 h' AS rests FROM snowflake_registry.status WHERE worker_id = 1;
SELECT * FROM fails('SELECT try_lease(''db1'', worker_id => 1)');
SELECT * FROM fails('SELECT snowflake_registry.reserve(1, ''db1'')');

-- a duration that is too long is cut
CALL snowflake_registry.lease('long', '1 year', worker_id => 2) \gset
SELECT :'valid_until'::timestamptz BETWEEN clock_timestamp() + '23 h' AND clock_timestamp() + '24 h' AS cut;
SELECT * FROM fails('SELECT snowflake_registry.set_longest_lease(''1 day'')');
SELECT * FROM fails('SELECT snowflake_registry.set_longest_lease(''1 month'')');
SELECT * FROM fails('SELECT snowflake_registry.set_longest_lease(NULL)');
SELECT code, message FROM fails('SELECT snowflake_registry.set_longest_lease(''1 h'')');
SELECT snowflake_registry.release(:'token', :'valid_from');
-- lower at once; higher when the former one has passed
SELECT snowflake_registry.set_longest_lease('1:00:00.0009') <= clock_timestamp() AS now;
SELECT snowflake_registry.set_longest_lease('24 h') > clock_timestamp() + '59 min' AS later;
CALL snowflake_registry.lease('long', '24 h') \gset
SELECT :'valid_until'::timestamptz BETWEEN clock_timestamp() + '59 min' AND clock_timestamp() + '1 h' AS cut;
SELECT snowflake_registry.release(:'token', :'valid_from');

-- a token proves what the registry has lost; nothing else closes it
CALL snowflake_registry.lease('j', asker_now => '2024-03-01 00:00:00Z') \gset j0_
CREATE TABLE rolled_back AS SELECT * FROM snowflake_registry.worker WHERE worker_id = :j0_worker_id;
CALL snowflake_registry.renew(:'j0_token', '10 s', '2024-03-01 00:00:00Z') \gset j1_
SELECT code FROM fails(format('SELECT try_renewal(%L)', overlay(replace(:'j1_token', '-', '') PLACING 'ffffffff' FROM 5)));
SELECT fence_needed FROM snowflake_registry.registry;
UPDATE snowflake_registry.worker AS w SET changes = o.changes, token = o.token, valid_until = o.valid_until
  FROM rolled_back AS o WHERE o.worker_id = w.worker_id;
DROP TABLE rolled_back;
\set VERBOSITY terse
CALL snowflake_registry.renew(:'j1_token');
\set token :j0_token
\set VERBOSITY default
SELECT * FROM fails('SELECT try_lease(''j'')');
SELECT code FROM fails(format('SELECT try_renewal(%L)', :'token'));
SELECT code FROM fails(format('SELECT snowflake_registry.release(%L, ''2024-03-01 00:00:00Z'')', :'token'));
SELECT code FROM fails('SELECT snowflake_registry.reserve(3, ''j'')');
SELECT code FROM fails('SELECT snowflake_registry.unreserve(3)');
SELECT f BETWEEN clock_timestamp() + '23 h' AND clock_timestamp() + '24 h' AS fenced FROM snowflake_registry.fence() AS f;
SELECT code FROM fails(format('SELECT try_renewal(%L)', :'token'));
-- once more: no later than by the time that has passed
SELECT f < clock_timestamp() + '24 h' AS no_later FROM snowflake_registry.fence() AS f;
SELECT state, count(*), bool_and(time_left > '23 h') AS lifted FROM snowflake_registry.status GROUP BY state;
SELECT * FROM fails('SELECT try_lease(''j'')');

-- a clock that was wrong: the administrator's word counts
UPDATE snowflake_registry.worker SET last_seen = '2099-01-01' WHERE worker_id = 0;
SELECT * FROM fails('SELECT snowflake_registry.fence()');
SELECT * FROM fails('SELECT snowflake_registry.fence(''infinity'')');
SELECT f < clock_timestamp() + '24 h' AS no_later FROM snowflake_registry.fence(clock_timestamp()) AS f;
SELECT f < clock_timestamp() + '24 h' AS no_later FROM snowflake_registry.fence() AS f;

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

DROP FUNCTION fails(text), try_lease(text, interval, integer, timestamptz), try_renewal(uuid, interval, timestamptz, uuid, uuid);
DROP EXTENSION snowflake_registry;
DROP ROLE snowflake_registry;
