/* sql/snowflake_registry--1.0.sql */

-- The registry: leases worker IDs, to servers and to applications.
--
-- Runs by CREATE EXTENSION, and just as well by psql where the files of an
-- extension cannot be installed:  psql -1 -v ON_ERROR_STOP=1 -f <this file>
--
-- A lease is an interval of ID time: its holder may issue IDs with that worker
-- ID whose own time t is valid_from <= t < valid_until.  So two holders of one
-- worker ID are kept apart by disjoint intervals, whatever any clock shows.
-- All times are whole milliseconds.
--
--	I1	The intervals ever handed out for one worker ID do not overlap, where a
--		renewal extends the interval that it renews.
--	I2	No call ever hands out ID time further than longest_lease beyond the
--		registry's clock, as read in that call.
--	I3	What is handed out is committed and flushed before the asker gets the
--		answer; nothing takes it back.
--
-- Lock order, so that there is no deadlock: lease(), reserve(), unreserve() and
-- fence() lock the row of registry first and then rows of worker.  renew() and
-- release() lock one row of worker, and after that nothing; or, when they have to
-- write there, the row of registry and then all of worker, as fence() does.
-- Whoever locks the row of registry also updates it, so that at the isolation
-- levels with one snapshot per transaction a concurrent call gets 40001.
--
-- Failover.  A registry that took over from another one may have lost the latest
-- commits of that one.  It knows this by its timeline or its system identifier, and
-- is closed until fence() is called, which voids all tokens and lets no worker ID,
-- used or not, start before
--
--		greatest(its valid_until, now) + longest_lease
--
-- Why that is enough.  Take any interval that was handed out, and the call that
-- set its valid_until.  If the commit of that call is not lost, the row has this
-- valid_until, or a later one.  If it is lost, the call took place before the
-- failover, so before "now", and by I2 valid_until <= now + longest_lease.  A
-- lost renew() without effect on valid_until adds nothing, nor does a lost
-- release(): both leave the holder with at most what it had.  No lost token works
-- again, since none does.  This assumes that "now" is not before the clock of the
-- old registry in the lost call; the latest last_seen of all rows helps if the new
-- clock is behind.  It also assumes that the old registry has stopped: nothing here
-- can tell two registries apart that run side by side.  And a reservation that was
-- lost is lost.
--
-- A storage snapshot that is rolled back leaves no trace in the registry itself.
-- Its holders detect it: each says in renew() what it holds, and if that is more
-- than was ever handed out (greatest_until), the registry is closed, too.
--
-- SQLSTATEs, for programs:
--
--	28000	the token is unknown, superseded, released or void: take a new lease
--	53400	all worker IDs are taken; the detail says when the next one is free
--	55006	this worker ID is held by, or reserved for, another holder
--	55000	an administrator has to act: call setup() or fence()
--	22008	the asker's clock cannot be used: too far ahead of the registry's, or
--			before the epoch
--	2200H	the time bits are used up
--	22003	a worker ID out of range
--	22023	an argument that makes no sense
--	25001	called in a transaction block
--	25006	called on a standby
--	40001	concurrent calls at REPEATABLE READ or SERIALIZABLE: call again
--
-- A call returns no row, with a WARNING, rather than an error if something has to
-- be committed: the registry has been closed, or has fenced itself.  There is no
-- lease then; the next call reports the state of things.

SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA snowflake_registry;
COMMENT ON SCHEMA snowflake_registry IS 'leases worker IDs for snowflake IDs';
REVOKE ALL ON SCHEMA snowflake_registry FROM PUBLIC;

-- A role belongs to the whole cluster, so another database may have created it.
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'snowflake_registry') THEN
		CREATE ROLE snowflake_registry NOLOGIN;
		COMMENT ON ROLE snowflake_registry IS 'may lease worker IDs; for the users of servers and applications';
	END IF;
EXCEPTION
	WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
GRANT USAGE ON SCHEMA snowflake_registry TO snowflake_registry;

-- Tables

CREATE TABLE snowflake_registry.registry (
	one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
	uuid uuid NOT NULL,
	worker_bits integer NOT NULL CHECK (worker_bits BETWEEN 1 AND 16),
	epoch timestamptz NOT NULL,
	longest_lease interval NOT NULL,
	fence_itself boolean NOT NULL,
	system_identifier bigint NOT NULL,
	timeline integer NOT NULL,
	floor timestamptz NOT NULL,
	next_unused integer NOT NULL,
	fence_needed text,
	fenced_at timestamptz,
	changes bigint NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE snowflake_registry.registry IS 'the registry: one row';
COMMENT ON COLUMN snowflake_registry.registry.longest_lease IS 'how far a lease may reach beyond the registry''s clock';
COMMENT ON COLUMN snowflake_registry.registry.fence_itself IS 'whether the registry fences itself on a new timeline, without an administrator';
COMMENT ON COLUMN snowflake_registry.registry.floor IS 'earliest ID time at which a worker ID without a row may start';
COMMENT ON COLUMN snowflake_registry.registry.next_unused IS 'all worker IDs below this one have a row in worker';
COMMENT ON COLUMN snowflake_registry.registry.fence_needed IS 'why the registry is closed until fence() is called';
COMMENT ON COLUMN snowflake_registry.registry.changes IS 'number of calls that have locked this row';
REVOKE ALL ON snowflake_registry.registry FROM PUBLIC;
GRANT SELECT ON snowflake_registry.registry TO snowflake_registry;

-- Has no index except for the key, and free space in each page, so that a renewal
-- is a heap-only update.
CREATE TABLE snowflake_registry.worker (
	worker_id integer PRIMARY KEY,
	holder text NOT NULL,
	reserved boolean NOT NULL DEFAULT false,
	token uuid,
	valid_from timestamptz,
	valid_until timestamptz,
	greatest_until timestamptz,
	renewals bigint NOT NULL DEFAULT 0,
	client_addr inet,
	first_seen timestamptz NOT NULL,
	last_seen timestamptz NOT NULL,
	CHECK (valid_from <= valid_until AND valid_until <= greatest_until)
) WITH (fillfactor = 50);
COMMENT ON TABLE snowflake_registry.worker IS 'every worker ID that was ever leased or reserved, with its latest lease';
COMMENT ON COLUMN snowflake_registry.worker.token IS 'token that renews or releases the lease; secret';
COMMENT ON COLUMN snowflake_registry.worker.greatest_until IS 'the greatest valid_until ever; release() does not lower it';
COMMENT ON COLUMN snowflake_registry.worker.renewals IS 'how often this lease has been renewed';
COMMENT ON COLUMN snowflake_registry.worker.first_seen IS 'when this lease was taken, by the registry''s clock';
COMMENT ON COLUMN snowflake_registry.worker.last_seen IS 'when it was last taken, renewed or released, by the registry''s clock';
REVOKE ALL ON snowflake_registry.worker FROM PUBLIC;

CREATE VIEW snowflake_registry.status AS
SELECT worker_id, holder,
	   CASE WHEN token IS NOT NULL AND valid_until > clock_timestamp() THEN 'leased'
			WHEN reserved THEN 'reserved'
			WHEN valid_until > clock_timestamp() THEN 'not free yet'
			ELSE 'ended' END AS state,
	   reserved, valid_from, valid_until,
	   greatest(valid_until - clock_timestamp(), interval '0') AS time_left,
	   renewals, client_addr, first_seen, last_seen
  FROM snowflake_registry.worker
 ORDER BY worker_id;
COMMENT ON VIEW snowflake_registry.status IS 'who holds which worker ID, and for how long';
REVOKE ALL ON snowflake_registry.status FROM PUBLIC;
GRANT SELECT ON snowflake_registry.status TO snowflake_registry;

CREATE TYPE snowflake_registry.leased AS (
	worker_id integer,
	token uuid,
	valid_from timestamptz,
	valid_until timestamptz,
	worker_bits integer,
	epoch timestamptz,
	registry uuid
);
COMMENT ON TYPE snowflake_registry.leased IS 'what lease() and renew() return';
REVOKE ALL ON TYPE snowflake_registry.leased FROM PUBLIC;
GRANT USAGE ON TYPE snowflake_registry.leased TO snowflake_registry;

-- How a call begins and ends

-- Is this more than one statement?  A semicolon in a literal does not count; where
-- that would be hard to tell, the answer is yes.
CREATE FUNCTION snowflake_registry.several_statements(query text) RETURNS boolean
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN strpos(rtrim(query, E' \t\r\n;'), ';') > 0
	AND (query ~ '[\\$]|--|/\*'
		OR strpos(regexp_replace(rtrim(query, E' \t\r\n;'), '''[^'']*''|"[^"]*"', '', 'g'), ';') > 0);
COMMENT ON FUNCTION snowflake_registry.several_statements(text) IS 'whether a query string has more than one statement';
REVOKE ALL ON FUNCTION snowflake_registry.several_statements(text) FROM PUBLIC;

-- Has the transaction begun with this call?
--
-- In the simple protocol both timestamps are that of the one message, unless there
-- is a transaction block; several statements in one message are a block, too.  In
-- the extended protocol the transaction begins with Parse or Bind, and the statement
-- with Execute, so there the call may be up to a second later, and check_commit()
-- catches the rest.  pg_cursors shows portals of that protocol only.
CREATE FUNCTION snowflake_registry.is_alone() RETURNS boolean
LANGUAGE SQL VOLATILE PARALLEL RESTRICTED
RETURN CASE
	WHEN EXISTS (SELECT FROM pg_cursors WHERE statement = current_query()) THEN
		statement_timestamp() - transaction_timestamp() < interval '1 s'
	ELSE statement_timestamp() = transaction_timestamp()
		AND snowflake_registry.several_statements(current_query()) IS NOT TRUE
	END
	-- nor may an earlier message of this transaction have made a call
	AND coalesce(nullif(current_setting('snowflake_registry.called', true), ''), extract(epoch FROM statement_timestamp())::text)
		= extract(epoch FROM statement_timestamp())::text;
COMMENT ON FUNCTION snowflake_registry.is_alone() IS 'whether this call is the first thing in its transaction';
REVOKE ALL ON FUNCTION snowflake_registry.is_alone() FROM PUBLIC;

-- Uses set_config() and not a SET clause, which ends with the function: these two
-- settings have to last until the commit.
CREATE FUNCTION snowflake_registry.begin_call(alone boolean) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF pg_is_in_recovery() THEN
		RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction',
			MESSAGE = 'the registry cannot be used during recovery',
			HINT = 'Connect to the primary.';
	END IF;
	IF alone THEN
		IF NOT snowflake_registry.is_alone() THEN
			RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction',
				MESSAGE = 'a worker ID cannot be leased, renewed or released in a transaction block',
				DETAIL = 'A rollback would take back what the holder relies on.',
				HINT = 'Call with autocommit, one statement at a time.';
		END IF;
		PERFORM set_config('snowflake_registry.called', extract(epoch FROM statement_timestamp())::text, true);
	END IF;
	IF current_setting('synchronous_commit') <> 'remote_apply' THEN
		PERFORM set_config('synchronous_commit', 'on', true);
	END IF;
END
$$;
COMMENT ON FUNCTION snowflake_registry.begin_call(boolean) IS 'checks and settings at the start of each call';
REVOKE ALL ON FUNCTION snowflake_registry.begin_call(boolean) FROM PUBLIC;

-- Has the transaction ended with the call?  A COMMIT, or another statement
-- before it, is another message and has another timestamp.
CREATE FUNCTION snowflake_registry.check_commit() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF nullif(current_setting('snowflake_registry.called', true), '') <> extract(epoch FROM statement_timestamp())::text THEN
		RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction',
			MESSAGE = 'a worker ID cannot be leased, renewed or released in a transaction block',
			DETAIL = 'The transaction is rolled back, so there is no lease.',
			HINT = 'Call with autocommit, one statement at a time.';
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION snowflake_registry.check_commit() IS 'refuse to commit a call that was made in a transaction block';
REVOKE ALL ON FUNCTION snowflake_registry.check_commit() FROM PUBLIC;

CREATE CONSTRAINT TRIGGER check_commit AFTER INSERT OR UPDATE ON snowflake_registry.worker
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION snowflake_registry.check_commit();
COMMENT ON TRIGGER check_commit ON snowflake_registry.worker IS 'refuse to commit a call that was made in a transaction block';

-- Whole milliseconds without days or months, which a time zone could stretch.
CREATE FUNCTION snowflake_registry.to_ms(i interval) RETURNS interval
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN make_interval(secs => floor(extract(epoch FROM i) * 1000)::double precision / 1000);
COMMENT ON FUNCTION snowflake_registry.to_ms(interval) IS 'an interval in whole milliseconds';
REVOKE ALL ON FUNCTION snowflake_registry.to_ms(interval) FROM PUBLIC;

CREATE FUNCTION snowflake_registry.clock() RETURNS timestamptz
LANGUAGE SQL VOLATILE PARALLEL SAFE
RETURN date_trunc('milliseconds', clock_timestamp());
COMMENT ON FUNCTION snowflake_registry.clock() IS 'the registry''s clock, in whole milliseconds';
REVOKE ALL ON FUNCTION snowflake_registry.clock() FROM PUBLIC;

-- The timeline is taken from the name of the WAL file: pg_control_checkpoint() has
-- the old one for a while after a promotion.
CREATE FUNCTION snowflake_registry.here(OUT system_identifier bigint, OUT timeline integer)
LANGUAGE SQL VOLATILE PARALLEL SAFE
BEGIN ATOMIC
	SELECT c.system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer
	  FROM pg_control_system() AS c;
END;
COMMENT ON FUNCTION snowflake_registry.here() IS 'system identifier and timeline of this server';
REVOKE ALL ON FUNCTION snowflake_registry.here() FROM PUBLIC;

-- See the head of this file.  The caller has locked the row of registry.
CREATE FUNCTION snowflake_registry.apply_fence() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	latest timestamptz;
	longest interval := (SELECT longest_lease FROM snowflake_registry.registry);
BEGIN
	latest := greatest(snowflake_registry.clock(), (SELECT max(last_seen) FROM snowflake_registry.worker));
	UPDATE snowflake_registry.worker
	   SET token = NULL,
		   valid_until = greatest(valid_until, latest) + longest,
		   greatest_until = greatest(greatest_until, latest) + longest;
	UPDATE snowflake_registry.registry AS r
	   SET floor = greatest(floor, latest) + longest,
		   system_identifier = here.system_identifier,
		   timeline = here.timeline,
		   fence_needed = NULL,
		   fenced_at = snowflake_registry.clock(),
		   changes = changes + 1
	  FROM snowflake_registry.here() AS here;
END
$$;
COMMENT ON FUNCTION snowflake_registry.apply_fence() IS 'void all tokens and move all intervals up';
REVOKE ALL ON FUNCTION snowflake_registry.apply_fence() FROM PUBLIC;

-- The row of registry, locked if that is asked for; an error if the registry is
-- closed; NULL if it has fenced itself.
CREATE FUNCTION snowflake_registry.open_registry(exclusive boolean) RETURNS snowflake_registry.registry
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r snowflake_registry.registry;
	here record;
	reason text;
BEGIN
	IF exclusive THEN
		SELECT * INTO r FROM snowflake_registry.registry FOR UPDATE;
	ELSE
		SELECT * INTO r FROM snowflake_registry.registry;
	END IF;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = 'the registry has not been set up',
			HINT = 'An administrator must call snowflake_registry.setup().';
	END IF;

	SELECT * INTO here FROM snowflake_registry.here();
	IF r.fence_needed IS NOT NULL THEN
		reason := r.fence_needed;
	ELSIF here.system_identifier <> r.system_identifier THEN
		reason := format('Its data is from the system %s, and this is the system %s.', r.system_identifier, here.system_identifier);
	ELSIF here.timeline <> r.timeline THEN
		IF r.fence_itself THEN
			IF NOT exclusive THEN
				RETURN snowflake_registry.open_registry(true);
			END IF;
			PERFORM snowflake_registry.apply_fence();
			RAISE WARNING USING
				MESSAGE = format('the registry has fenced itself on its new timeline %s', here.timeline),
				DETAIL = 'All tokens are void. This call had no other effect.',
				HINT = 'Check the reservations; some may be lost.';
			RETURN NULL;
		END IF;
		reason := format('It was on timeline %s, and is now on timeline %s.', r.timeline, here.timeline);
	END IF;
	IF reason IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = 'the registry may have lost leases, and is closed until it is fenced',
			DETAIL = reason,
			HINT = 'Make sure that the old registry is no longer running, then call snowflake_registry.fence() as an administrator.';
	END IF;
	RETURN r;
END
$$;
COMMENT ON FUNCTION snowflake_registry.open_registry(boolean) IS 'the registry, if it may be used';
REVOKE ALL ON FUNCTION snowflake_registry.open_registry(boolean) FROM PUBLIC;

-- Checks a request, and returns the two clocks and how far a lease may reach.
CREATE FUNCTION snowflake_registry.check_asked(r snowflake_registry.registry, duration interval, asker_now timestamptz,
	OUT clock timestamptz, OUT asker timestamptz, OUT until timestamptz)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	time_end timestamptz := r.epoch + make_interval(secs => 2199023255.552);	-- 2^41 ms
	length interval;
BEGIN
	IF duration IS NULL OR duration < interval '1 s' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('the duration of a lease cannot be %s', coalesce(duration::text, 'NULL')),
			DETAIL = format('The shortest is 1 s, the longest here is %s.', r.longest_lease);
	END IF;
	-- Before it is used in arithmetic.
	IF duration > r.longest_lease THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('the duration of a lease cannot be %s', duration),
			DETAIL = format('The longest here is %s.', r.longest_lease);
	END IF;
	IF asker_now IS NULL OR NOT isfinite(asker_now) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('the asker''s clock cannot show %s', coalesce(asker_now::text, 'NULL'));
	END IF;
	IF asker_now < r.epoch THEN
		RAISE EXCEPTION USING ERRCODE = 'datetime_field_overflow',
			MESSAGE = 'the asker''s clock is before the epoch',
			DETAIL = format('It shows %s, and the epoch is %s.', asker_now, r.epoch);
	END IF;

	length := snowflake_registry.to_ms(duration);
	clock := snowflake_registry.clock();
	asker := date_trunc('milliseconds', asker_now);
	IF asker > time_end - interval '1 s' THEN
		RAISE EXCEPTION USING ERRCODE = 'sequence_generator_limit_exceeded',
			MESSAGE = 'the time bits of snowflake IDs are used up',
			DETAIL = format('With the epoch %s they end at %s; the asker''s clock shows %s.', r.epoch, time_end, asker_now);
	END IF;
	until := least(asker + length, clock + r.longest_lease, time_end);
END
$$;
COMMENT ON FUNCTION snowflake_registry.check_asked(snowflake_registry.registry, interval, timestamptz) IS 'check a request for a lease, and how far the lease may reach';
REVOKE ALL ON FUNCTION snowflake_registry.check_asked(snowflake_registry.registry, interval, timestamptz) FROM PUBLIC;

-- A lease of less than a second from the asker's clock on would be of no use.
CREATE FUNCTION snowflake_registry.check_usable(r snowflake_registry.registry, clock timestamptz, asker timestamptz, until timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF until < asker + interval '1 s' THEN
		RAISE EXCEPTION USING ERRCODE = 'datetime_field_overflow',
			MESSAGE = 'the asker''s clock is too far ahead of the registry''s',
			DETAIL = format('It shows %s, the registry''s %s, and no lease reaches further than %s beyond that.', asker, clock, r.longest_lease);
	END IF;
END
$$;
COMMENT ON FUNCTION snowflake_registry.check_usable(snowflake_registry.registry, timestamptz, timestamptz, timestamptz) IS 'refuse a lease that would be too short to use';
REVOKE ALL ON FUNCTION snowflake_registry.check_usable(snowflake_registry.registry, timestamptz, timestamptz, timestamptz) FROM PUBLIC;

CREATE FUNCTION snowflake_registry.check_holder(holder text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF holder IS NULL OR btrim(holder) = '' OR char_length(holder) > 255 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'the name of a holder must have 1 to 255 characters',
			HINT = 'Use a name that identifies the holder, such as its host and port.';
	END IF;
END
$$;
COMMENT ON FUNCTION snowflake_registry.check_holder(text) IS 'refuse an invalid name of a holder';
REVOKE ALL ON FUNCTION snowflake_registry.check_holder(text) FROM PUBLIC;

CREATE FUNCTION snowflake_registry.check_worker_id(r snowflake_registry.registry, worker_id integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF worker_id IS NULL OR worker_id NOT BETWEEN 0 AND (1 << r.worker_bits) - 1 THEN
		RAISE EXCEPTION USING ERRCODE = 'numeric_value_out_of_range',
			MESSAGE = format('worker ID %s is out of range', coalesce(worker_id::text, 'NULL')),
			DETAIL = format('With worker_bits = %s, worker IDs are 0 to %s.', r.worker_bits, (1 << r.worker_bits) - 1);
	END IF;
END
$$;
COMMENT ON FUNCTION snowflake_registry.check_worker_id(snowflake_registry.registry, integer) IS 'refuse a worker ID that does not fit the layout';
REVOKE ALL ON FUNCTION snowflake_registry.check_worker_id(snowflake_registry.registry, integer) FROM PUBLIC;

-- A token begins with its worker ID, in four hexadecimal digits, so that it can be
-- found without an index that each renewal would have to update.  The other
-- 106 bits are random.
CREATE FUNCTION snowflake_registry.new_token(worker_id integer) RETURNS uuid
LANGUAGE SQL VOLATILE STRICT PARALLEL SAFE
RETURN overlay(gen_random_uuid()::text PLACING lpad(to_hex(worker_id), 4, '0') FROM 1)::uuid;
COMMENT ON FUNCTION snowflake_registry.new_token(integer) IS 'a new token for this worker ID';
REVOKE ALL ON FUNCTION snowflake_registry.new_token(integer) FROM PUBLIC;

CREATE FUNCTION snowflake_registry.token_worker_id(token uuid) RETURNS integer
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN ('x' || left(token::text, 4))::bit(16)::integer;
COMMENT ON FUNCTION snowflake_registry.token_worker_id(uuid) IS 'the worker ID that a token is for';
REVOKE ALL ON FUNCTION snowflake_registry.token_worker_id(uuid) FROM PUBLIC;

-- The row of the lease that this token belongs to, locked.
CREATE FUNCTION snowflake_registry.lock_lease(token uuid) RETURNS snowflake_registry.worker
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	w snowflake_registry.worker;
BEGIN
	SELECT * INTO w FROM snowflake_registry.worker
	 WHERE worker_id = snowflake_registry.token_worker_id(lock_lease.token) FOR UPDATE;
	IF w.token IS DISTINCT FROM lock_lease.token OR w.token IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_authorization_specification',
			MESSAGE = 'this token does not belong to a current lease',
			DETAIL = CASE WHEN w.worker_id IS NULL THEN 'Its worker ID has never been leased here.'
				ELSE format('Worker ID %s was last leased by "%s", at %s.', w.worker_id, w.holder, w.first_seen) END,
			HINT = 'Stop using the worker ID by the end of its lease, and take a new lease.';
	END IF;
	RETURN w;
END
$$;
COMMENT ON FUNCTION snowflake_registry.lock_lease(uuid) IS 'the lease that a token belongs to';
REVOKE ALL ON FUNCTION snowflake_registry.lock_lease(uuid) FROM PUBLIC;

-- Does a holder of this worker ID know of a later end than was ever handed out?
CREATE FUNCTION snowflake_registry.is_behind(worker_id integer, known_until timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN known_until > coalesce(
		(SELECT w.greatest_until FROM snowflake_registry.worker AS w WHERE w.worker_id = is_behind.worker_id),
		(SELECT r.floor FROM snowflake_registry.registry AS r));
END
$$;
COMMENT ON FUNCTION snowflake_registry.is_behind(integer, timestamptz) IS 'whether a holder knows of a lease that the registry does not';
REVOKE ALL ON FUNCTION snowflake_registry.is_behind(integer, timestamptz) FROM PUBLIC;

-- For holders

CREATE FUNCTION snowflake_registry.lease(holder text, duration interval DEFAULT '60 s', worker_id integer DEFAULT NULL,
	asker_now timestamptz DEFAULT clock_timestamp())
RETURNS SETOF snowflake_registry.leased
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 1 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r snowflake_registry.registry;
	w snowflake_registry.worker;
	asked record;
	chosen integer := lease.worker_id;
	earlier timestamptz;	-- of both clocks
	soonest record;
BEGIN
	PERFORM snowflake_registry.begin_call(true);
	PERFORM snowflake_registry.check_holder(holder);
	r := snowflake_registry.open_registry(true);
	IF r.uuid IS NULL THEN
		RETURN;
	END IF;
	asked := snowflake_registry.check_asked(r, duration, asker_now);
	PERFORM snowflake_registry.check_usable(r, asked.clock, asked.asker, asked.until);

	-- An interval has ended when it has by both clocks: by the registry's, so that
	-- nobody whose clock is ahead takes over from a healthy holder; by the asker's,
	-- so that the asker can use the new interval now.
	earlier := least(asked.clock, asked.asker);

	IF chosen IS NOT NULL THEN
		PERFORM snowflake_registry.check_worker_id(r, chosen);
		SELECT * INTO w FROM snowflake_registry.worker AS o WHERE o.worker_id = chosen FOR UPDATE;
		IF w.reserved AND w.holder <> lease.holder THEN
			RAISE EXCEPTION USING ERRCODE = 'object_in_use',
				MESSAGE = format('worker ID %s is reserved for "%s"', chosen, w.holder);
		ELSIF w.valid_until > earlier THEN
			RAISE EXCEPTION USING ERRCODE = 'object_in_use',
				MESSAGE = format('worker ID %s is held by "%s" until %s', chosen, w.holder, w.valid_until),
				DETAIL = format('The registry''s clock shows %s, the asker''s %s.', asked.clock, asked.asker);
		ELSIF w.valid_until IS NULL AND r.floor > earlier THEN
			RAISE EXCEPTION USING ERRCODE = 'object_in_use',
				MESSAGE = format('worker ID %s may be held until %s by a lease that was lost', chosen, r.floor),
				DETAIL = format('The registry was fenced at %s.', r.fenced_at);
		END IF;
	ELSE
		-- The lowest that was never used, else the one that ended longest ago,
		-- without waiting for one that is just being renewed.  A holder whose
		-- clock is behind has an interval that has always ended: as long as it
		-- calls, its worker ID is the last choice.
		WHILE EXISTS (SELECT FROM snowflake_registry.worker AS o WHERE o.worker_id = r.next_unused) LOOP
			r.next_unused := r.next_unused + 1;
		END LOOP;
		IF r.next_unused < 1 << r.worker_bits AND r.floor <= earlier THEN
			chosen := r.next_unused;
			r.next_unused := chosen + 1;
		ELSE
			SELECT * INTO w FROM snowflake_registry.worker AS o
			 WHERE NOT o.reserved AND o.valid_until <= earlier
			 ORDER BY greatest(o.valid_until, o.last_seen), o.worker_id LIMIT 1 FOR UPDATE SKIP LOCKED;
			chosen := w.worker_id;
		END IF;
	END IF;

	IF chosen IS NULL THEN
		SELECT o.worker_id, o.valid_until INTO soonest
		  FROM (SELECT o.worker_id, o.valid_until FROM snowflake_registry.worker AS o WHERE NOT o.reserved
				UNION ALL
				SELECT r.next_unused, r.floor WHERE r.next_unused < 1 << r.worker_bits) AS o
		 ORDER BY o.valid_until, o.worker_id LIMIT 1;
		RAISE EXCEPTION USING ERRCODE = 'configuration_limit_exceeded',
			MESSAGE = 'all worker IDs are taken',
			DETAIL = CASE WHEN soonest.worker_id IS NULL THEN 'All are reserved.'
				ELSE format('Worker ID %s is free at %s. The registry''s clock shows %s, the asker''s %s.',
					soonest.worker_id, soonest.valid_until, asked.clock, asked.asker) END;
	END IF;

	UPDATE snowflake_registry.registry SET next_unused = r.next_unused, changes = changes + 1;
	RETURN QUERY
		INSERT INTO snowflake_registry.worker AS o
			(worker_id, holder, token, valid_from, valid_until, greatest_until, client_addr, first_seen, last_seen)
		VALUES (chosen, lease.holder, snowflake_registry.new_token(chosen),
			greatest(w.valid_until, asked.asker), asked.until, greatest(w.greatest_until, asked.until),
			inet_client_addr(), asked.clock, asked.clock)
		ON CONFLICT (worker_id) DO UPDATE
		   SET holder = excluded.holder, token = excluded.token,
			   valid_from = excluded.valid_from, valid_until = excluded.valid_until, greatest_until = excluded.greatest_until,
			   renewals = 0, client_addr = excluded.client_addr, first_seen = excluded.first_seen, last_seen = excluded.last_seen
		RETURNING o.worker_id, o.token, o.valid_from, o.valid_until, r.worker_bits, r.epoch, r.uuid;
END
$$;
COMMENT ON FUNCTION snowflake_registry.lease(text, interval, integer, timestamptz) IS 'lease a worker ID, any or a given one';
REVOKE ALL ON FUNCTION snowflake_registry.lease(text, interval, integer, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION snowflake_registry.lease(text, interval, integer, timestamptz) TO snowflake_registry;

-- valid_until and worker_id are what the holder knows: a registry that knows less
-- has lost it.
CREATE FUNCTION snowflake_registry.renew(token uuid, duration interval DEFAULT '60 s', valid_until timestamptz DEFAULT NULL,
	worker_id integer DEFAULT NULL, asker_now timestamptz DEFAULT clock_timestamp(), registry uuid DEFAULT NULL)
RETURNS SETOF snowflake_registry.leased
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 1 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r snowflake_registry.registry;
	w snowflake_registry.worker;
	asked record;
	new_until timestamptz;
BEGIN
	PERFORM snowflake_registry.begin_call(true);
	IF token IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the token cannot be NULL';
	END IF;
	IF worker_id <> snowflake_registry.token_worker_id(token) OR NOT isfinite(valid_until) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('this token was not returned with worker ID %s and valid_until %s', worker_id, valid_until);
	END IF;
	r := snowflake_registry.open_registry(false);
	IF r.uuid IS NULL THEN
		RETURN;
	END IF;

	-- A call that was meant for another registry must not close this one.
	IF registry <> r.uuid THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'the lease belongs to another registry',
			DETAIL = format('It belongs to registry %s, and this is registry %s.', registry, r.uuid);
	END IF;

	-- Has the registry ever handed out what the holder holds?  No row of worker is
	-- locked yet, so the row of registry may be.
	IF worker_id IS NOT NULL AND snowflake_registry.is_behind(worker_id, valid_until) THEN
		r := snowflake_registry.open_registry(true);
		IF r.uuid IS NULL THEN
			RETURN;
		END IF;
		IF snowflake_registry.is_behind(worker_id, valid_until) THEN
			UPDATE snowflake_registry.registry
			   SET fence_needed = format('A holder of worker ID %s has a lease until %s that the registry does not know about.',
					renew.worker_id, renew.valid_until),
				   changes = changes + 1;
			RAISE WARNING USING
				MESSAGE = 'the registry has lost leases, and is now closed until it is fenced',
				DETAIL = format('The holder of worker ID %s has a lease until %s that the registry does not know about.',
					worker_id, valid_until),
				HINT = 'An administrator must call snowflake_registry.fence().';
			RETURN;
		END IF;
	END IF;

	w := snowflake_registry.lock_lease(token);
	asked := snowflake_registry.check_asked(r, duration, asker_now);
	new_until := greatest(w.valid_until, asked.until);
	PERFORM snowflake_registry.check_usable(r, asked.clock, asked.asker, new_until);
	RETURN QUERY
		UPDATE snowflake_registry.worker AS o
		   SET token = snowflake_registry.new_token(w.worker_id),
			   valid_until = new_until, greatest_until = greatest(o.greatest_until, new_until),
			   renewals = o.renewals + 1, client_addr = inet_client_addr(), last_seen = asked.clock
		 WHERE o.worker_id = w.worker_id
		RETURNING o.worker_id, o.token, o.valid_from, o.valid_until, r.worker_bits, r.epoch, r.uuid;
END
$$;
COMMENT ON FUNCTION snowflake_registry.renew(uuid, interval, timestamptz, integer, timestamptz, uuid) IS 'extend a lease, and get a new token for it';
REVOKE ALL ON FUNCTION snowflake_registry.renew(uuid, interval, timestamptz, integer, timestamptz, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION snowflake_registry.renew(uuid, interval, timestamptz, integer, timestamptz, uuid) TO snowflake_registry;

-- IDs before used_until have been used.
CREATE FUNCTION snowflake_registry.release(token uuid, used_until timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r snowflake_registry.registry;
	w snowflake_registry.worker;
	used timestamptz := date_trunc('milliseconds', used_until + interval '999 us');
BEGIN
	PERFORM snowflake_registry.begin_call(true);
	IF token IS NULL OR used_until IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'neither the token nor used_until can be NULL';
	END IF;
	r := snowflake_registry.open_registry(false);
	IF r.uuid IS NULL THEN
		RETURN;
	END IF;
	w := snowflake_registry.lock_lease(token);
	IF used > w.valid_until THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('worker ID %s cannot have been used until %s', w.worker_id, used_until),
			DETAIL = format('The lease is from %s to %s.', w.valid_from, w.valid_until);
	END IF;
	UPDATE snowflake_registry.worker AS o
	   SET token = NULL, valid_until = greatest(used, w.valid_from), last_seen = snowflake_registry.clock()
	 WHERE o.worker_id = w.worker_id;
END
$$;
COMMENT ON FUNCTION snowflake_registry.release(uuid, timestamptz) IS 'give back what is left of a lease';
REVOKE ALL ON FUNCTION snowflake_registry.release(uuid, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION snowflake_registry.release(uuid, timestamptz) TO snowflake_registry;

-- For administrators

CREATE FUNCTION snowflake_registry.setup(worker_bits integer DEFAULT 10, epoch timestamptz DEFAULT '2023-01-01 00:00:00Z',
	longest_lease interval DEFAULT '2 min', fence_itself boolean DEFAULT false)
RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	id uuid := gen_random_uuid();
BEGIN
	PERFORM snowflake_registry.begin_call(false);
	IF worker_bits IS NULL OR worker_bits NOT BETWEEN 1 AND 16 THEN
		RAISE EXCEPTION USING ERRCODE = 'numeric_value_out_of_range',
			MESSAGE = format('worker_bits cannot be %s', coalesce(worker_bits::text, 'NULL')),
			DETAIL = 'It must be between 1 and 16.';
	END IF;
	IF epoch IS NULL OR NOT epoch BETWEEN 'epoch' AND clock_timestamp() OR epoch <> date_trunc('milliseconds', epoch) THEN
		RAISE EXCEPTION USING ERRCODE = 'datetime_field_overflow',
			MESSAGE = format('the epoch cannot be %s', coalesce(epoch::text, 'NULL')),
			DETAIL = 'It must be a whole millisecond, in 1970 or later, and not in the future.';
	END IF;
	IF longest_lease IS NULL OR NOT longest_lease BETWEEN '1 s' AND '1 day' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('the longest lease cannot be %s', coalesce(longest_lease::text, 'NULL')),
			DETAIL = 'It must be between 1 s and 1 day.';
	END IF;
	IF fence_itself IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'fence_itself cannot be NULL';
	END IF;
	INSERT INTO snowflake_registry.registry (uuid, worker_bits, epoch, longest_lease, fence_itself,
		system_identifier, timeline, floor, next_unused, changes)
	SELECT id, setup.worker_bits, setup.epoch, snowflake_registry.to_ms(setup.longest_lease), setup.fence_itself,
		   here.system_identifier, here.timeline, setup.epoch, 0, 0
	  FROM snowflake_registry.here() AS here
	ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'duplicate_object',
			MESSAGE = 'the registry has been set up already',
			DETAIL = 'IDs of two layouts could collide.';
	END IF;
	RETURN id;
END
$$;
COMMENT ON FUNCTION snowflake_registry.setup(integer, timestamptz, interval, boolean) IS 'set the registry up, once';
REVOKE ALL ON FUNCTION snowflake_registry.setup(integer, timestamptz, interval, boolean) FROM PUBLIC;

CREATE FUNCTION snowflake_registry.reserve(worker_id integer, holder text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r snowflake_registry.registry;
	w snowflake_registry.worker;
	clock timestamptz;
BEGIN
	PERFORM snowflake_registry.begin_call(false);
	PERFORM snowflake_registry.check_holder(holder);
	r := snowflake_registry.open_registry(true);
	IF r.uuid IS NULL THEN
		RETURN;
	END IF;
	PERFORM snowflake_registry.check_worker_id(r, worker_id);
	SELECT * INTO w FROM snowflake_registry.worker AS o WHERE o.worker_id = reserve.worker_id FOR UPDATE;
	clock := snowflake_registry.clock();
	IF w.reserved THEN
		IF w.holder = reserve.holder THEN
			RETURN;
		END IF;
		RAISE EXCEPTION USING ERRCODE = 'object_in_use',
			MESSAGE = format('worker ID %s is reserved for "%s"', worker_id, w.holder);
	ELSIF coalesce(w.valid_until, r.floor) > clock THEN
		RAISE EXCEPTION USING ERRCODE = 'object_in_use',
			MESSAGE = format('worker ID %s is not free until %s', worker_id, coalesce(w.valid_until, r.floor)),
			DETAIL = CASE WHEN w.worker_id IS NULL THEN 'It may be held by a lease that was lost.'
				ELSE format('It was last held by "%s".', w.holder) END;
	END IF;
	UPDATE snowflake_registry.registry SET changes = changes + 1;
	INSERT INTO snowflake_registry.worker AS o (worker_id, holder, reserved, first_seen, last_seen)
	VALUES (reserve.worker_id, reserve.holder, true, clock, clock)
	ON CONFLICT (worker_id) DO UPDATE
	   SET holder = excluded.holder, reserved = true, token = NULL, last_seen = excluded.last_seen;
END
$$;
COMMENT ON FUNCTION snowflake_registry.reserve(integer, text) IS 'set a worker ID aside for a server that is configured with it';
REVOKE ALL ON FUNCTION snowflake_registry.reserve(integer, text) FROM PUBLIC;

-- The registry does not know what the server that had it has issued: up to its
-- clock and the lead, so the worker ID rests for a while.
CREATE FUNCTION snowflake_registry.unreserve(worker_id integer) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r snowflake_registry.registry;
	w snowflake_registry.worker;
	clock timestamptz;
BEGIN
	PERFORM snowflake_registry.begin_call(false);
	r := snowflake_registry.open_registry(true);
	IF r.uuid IS NULL THEN
		RETURN;
	END IF;
	SELECT * INTO w FROM snowflake_registry.worker AS o WHERE o.worker_id = unreserve.worker_id FOR UPDATE;
	clock := snowflake_registry.clock();
	IF w.reserved IS NOT TRUE THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object',
			MESSAGE = format('worker ID %s is not reserved', coalesce(worker_id::text, 'NULL'));
	ELSIF w.token IS NOT NULL AND w.valid_until > clock THEN
		RAISE EXCEPTION USING ERRCODE = 'object_in_use',
			MESSAGE = format('worker ID %s is held by "%s" until %s', worker_id, w.holder, w.valid_until);
	END IF;
	UPDATE snowflake_registry.registry SET changes = changes + 1;
	UPDATE snowflake_registry.worker AS o
	   SET reserved = false, token = NULL,
		   valid_until = greatest(o.valid_until, clock + r.longest_lease),
		   greatest_until = greatest(o.greatest_until, clock + r.longest_lease),
		   last_seen = clock
	 WHERE o.worker_id = unreserve.worker_id;
END
$$;
COMMENT ON FUNCTION snowflake_registry.unreserve(integer) IS 'let a reserved worker ID be leased again, after the longest lease has passed';
REVOKE ALL ON FUNCTION snowflake_registry.unreserve(integer) FROM PUBLIC;

CREATE FUNCTION snowflake_registry.fence() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM snowflake_registry.begin_call(false);
	PERFORM FROM snowflake_registry.registry FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = 'the registry has not been set up',
			HINT = 'An administrator must call snowflake_registry.setup().';
	END IF;
	PERFORM snowflake_registry.apply_fence();
	RAISE NOTICE USING
		MESSAGE = 'all tokens are void',
		DETAIL = format('%s worker IDs are reserved.', (SELECT count(*) FROM snowflake_registry.worker WHERE reserved)),
		HINT = 'Compare the reservations with the servers whose worker ID is configured. Some may be lost; reserve() restores them.';
	RETURN (SELECT floor FROM snowflake_registry.registry);
END
$$;
COMMENT ON FUNCTION snowflake_registry.fence() IS 'reopen the registry after a failover; returns when it leases again';
REVOKE ALL ON FUNCTION snowflake_registry.fence() FROM PUBLIC;

-- What pg_dump includes if this is an extension

DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass
			   AND objid = 'snowflake_registry.worker'::regclass AND deptype = 'e') THEN
		PERFORM pg_extension_config_dump('snowflake_registry.registry', '');
		PERFORM pg_extension_config_dump('snowflake_registry.worker', '');
	END IF;
END
$$;
