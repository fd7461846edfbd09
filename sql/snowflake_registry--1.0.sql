/* sql/snowflake_registry--1.0.sql */

-- The registry leases worker IDs to servers and to applications.
--
-- CREATE EXTENSION runs it, and so can psql, where the files of an extension cannot
-- be installed:  psql -1 -v ON_ERROR_STOP=1 -f <this file>
-- That is why all of it is one file.
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
-- How I3 is kept.  lease() and renew() are procedures that commit by themselves.
-- The first transaction writes the row and returns a proposal, which is no lease:
-- it has neither a worker ID to use nor a token.  The second one, confirm(), reads
-- the row and returns the lease, unless the row was written by the very
-- transaction that asks.  So a caller who has a lease has read a committed row; if
-- that reading is rolled back, the row stays.  In a transaction block there is no
-- second transaction, and the call fails.  Nothing but confirm() shows a token.
-- release() needs none of this: if it is rolled back, the lease ends by itself.
--
-- The rule of tokens.
--
--	T1	One token belongs to one state of one lease.  A token is shown to whoever
--		took or renewed the lease, and to nobody else.
--	T2	A renewal replaces the token.  The one before works once more, for a
--		repetition of that same renewal: its attempt, a random number that the
--		holder makes up for each renewal, has to be the same.  The answer has the
--		same new token.  A lost answer does not cost the lease then.
--	T3	A new lease of the worker ID, a release and a fence end both tokens.
--
-- So two holders cannot use one lease.  A former holder of the worker ID has no
-- token that works, by T3.  A copy of a running holder has its token, and the one
-- of the two that renews first makes up an attempt that the other does not know:
-- the other is refused, and stops at the end of the interval that it knows.
-- (A copy made while a renewal is under way knows the attempt, too.  Nobody can
-- tell such a copy from the original.)  An abandoned call that is carried out late
-- either repeats the latest renewal, which can only move its end up, or finds that
-- its token does not work.
--
-- Lock order, so that there is no deadlock: lease(), reserve(), unreserve() and
-- fence() lock the row of registry first and then rows of worker.  renew() and
-- release() lock one row of worker, and after that nothing; or, when they have to
-- write there, the row of registry and then all of worker, as fence() does.
-- Whoever locks the row of registry also updates it, so that at the isolation
-- levels with one snapshot per transaction a concurrent call gets 40001.  Nobody
-- waits for a lock for more than a few seconds, nor keeps one while idle: a call that
-- was abandoned ends before it has written anything.
--
-- Failover.  A registry that took over from another one may have lost the latest
-- commits of that one.  It knows this by its timeline or its system identifier, and
-- is closed until fence() is called, which voids all tokens and lets no worker ID,
-- used or not, start before
--
--		greatest(its valid_until, now + longest_lease)
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
-- longest_lease is the one that was in force in the lost call.  Commits are lost
-- from the end, so a lost call came after every change of longest_lease that was
-- not lost.  A raise that was lost would make the fence too short.  Hence a raise
-- takes effect only after the former longest_lease has passed: a standby that lags
-- by less than that has the raise before anybody has a lease of the new length.  A
-- row remembers the greatest one in force during its lease.
--
-- A copy of the database in the same cluster, by CREATE DATABASE ... TEMPLATE or by
-- a dump, has the same timeline and system identifier.  It is recognised by the OIDs
-- of the database and of the table, and is closed, too.
--
-- A storage snapshot that is rolled back leaves no trace in the registry itself.
-- Its holders detect it.  A token has the number of its row's change, and a hash
-- of that with a key that only the registry knows.  So a token proves that this
-- registry handed it out, and when it is of a later change than the row, the
-- registry has lost that change, and closes.  fence() changes the key, after which
-- old tokens prove nothing.  What is not detected: a lost lease whose holder never
-- calls again; one whose worker ID has meanwhile been leased and renewed as often
-- as was lost.  Until the first such call the registry may lease what somebody has.
--
-- SQLSTATEs, for programs:
--
--	SR001	the token is unknown, superseded, released or void: take a new lease
--	53400	all worker IDs are taken, or this holder has too many of them; the detail
--			says when one is free
--	55006	this worker ID is held by, or reserved for, another holder
--	55000	an administrator has to act: call setup() or fence()
--	55P03	others kept the registry busy for too long: call again
--	22008	the asker's clock cannot be used: too far ahead of the registry's, or
--			before the epoch
--	2200H	the time bits are used up
--	22003	a worker ID out of range
--	22023	an argument that makes no sense
--	25001	called in a transaction block
--	25006	called on a standby
--	40001	concurrent calls of a function, such as release(), reserve() or fence(), at
--			REPEATABLE READ or SERIALIZABLE: call again
--
-- A function that closes the registry, or fences it by itself, returns NULL with a
-- WARNING, since an error would undo that.

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
	id_bits integer NOT NULL CHECK (id_bits BETWEEN 53 AND 63),
	worker_bits integer NOT NULL CHECK (worker_bits BETWEEN 1 AND least(16, id_bits - 47)),
	epoch timestamptz NOT NULL,
	longest_lease interval NOT NULL,
	longest_lease_before interval NOT NULL,
	longest_lease_from timestamptz NOT NULL,
	fence_itself boolean NOT NULL,
	most_per_holder integer NOT NULL CHECK (most_per_holder > 0),
	system_identifier bigint NOT NULL,
	timeline integer NOT NULL,
	database oid NOT NULL,
	relation oid NOT NULL,
	floor timestamptz NOT NULL,
	next_unused integer NOT NULL,
	fence_needed text,
	fenced_at timestamptz,
	key bytea NOT NULL,
	changes bigint NOT NULL,
	-- A day or a month has no fixed length.
	CHECK (longest_lease BETWEEN '1 s' AND '24 h' AND extract(day FROM longest_lease) = 0
		AND extract(month FROM longest_lease) = 0 AND extract(microseconds FROM longest_lease) % 1000 = 0)
) WITH (fillfactor = 10);
COMMENT ON TABLE snowflake_registry.registry IS 'the registry: one row';
COMMENT ON COLUMN snowflake_registry.registry.longest_lease IS 'how far a lease may reach beyond the registry''s clock; set by set_longest_lease()';
COMMENT ON COLUMN snowflake_registry.registry.longest_lease_before IS 'what longest_lease was before it was raised';
COMMENT ON COLUMN snowflake_registry.registry.longest_lease_from IS 'when longest_lease takes effect';
COMMENT ON COLUMN snowflake_registry.registry.fence_itself IS 'whether the registry fences itself on a new timeline, without waiting for an administrator';
COMMENT ON COLUMN snowflake_registry.registry.most_per_holder IS 'how many running leases one holder may have from one address';
COMMENT ON COLUMN snowflake_registry.registry.database IS 'OID of the database that this registry was set up in, or fenced in';
COMMENT ON COLUMN snowflake_registry.registry.relation IS 'OID of the table worker in that database';
COMMENT ON COLUMN snowflake_registry.registry.floor IS 'earliest ID time at which a worker ID without a row may start';
COMMENT ON COLUMN snowflake_registry.registry.next_unused IS 'all worker IDs below this one have a row in worker';
COMMENT ON COLUMN snowflake_registry.registry.fence_needed IS 'why the registry is closed until fence() is called';
COMMENT ON COLUMN snowflake_registry.registry.key IS 'proves that a token is from this registry; secret';
COMMENT ON COLUMN snowflake_registry.registry.changes IS 'number of calls that have locked this row';
REVOKE ALL ON snowflake_registry.registry FROM PUBLIC;
GRANT SELECT (uuid, id_bits, worker_bits, epoch, longest_lease, longest_lease_before, longest_lease_from, fence_itself, most_per_holder,
	system_identifier, timeline, database, relation, floor, next_unused, fence_needed, fenced_at, changes)
	ON snowflake_registry.registry TO snowflake_registry;

CREATE TABLE snowflake_registry.worker (
	worker_id integer PRIMARY KEY,
	holder text NOT NULL,
	reserved boolean NOT NULL DEFAULT false,
	token uuid,
	previous_token uuid,
	attempt uuid,
	proposal uuid,
	proposed_by xid8,
	valid_from timestamptz,
	valid_until timestamptz,
	longest interval,
	renewals bigint NOT NULL DEFAULT 0,
	changes bigint NOT NULL DEFAULT 0,
	client_addr inet,
	first_seen timestamptz NOT NULL,
	last_seen timestamptz NOT NULL,
	CHECK (valid_from <= valid_until)
) WITH (fillfactor = 50);
COMMENT ON TABLE snowflake_registry.worker IS 'every worker ID that was ever leased or reserved, with its latest lease';
COMMENT ON COLUMN snowflake_registry.worker.token IS 'token that renews or releases the lease; secret';
COMMENT ON COLUMN snowflake_registry.worker.previous_token IS 'token of the latest renewal, which may be repeated; secret';
COMMENT ON COLUMN snowflake_registry.worker.attempt IS 'recognises a repetition of the latest renewal; secret';
COMMENT ON COLUMN snowflake_registry.worker.proposal IS 'what confirm() is called with; secret';
COMMENT ON COLUMN snowflake_registry.worker.proposed_by IS 'transaction that proposed the lease in its present state';
COMMENT ON COLUMN snowflake_registry.worker.longest IS 'the greatest longest_lease in force during this lease';
COMMENT ON COLUMN snowflake_registry.worker.renewals IS 'how often this lease has been renewed';
COMMENT ON COLUMN snowflake_registry.worker.changes IS 'how often this worker ID has been leased or renewed; part of the token';
COMMENT ON COLUMN snowflake_registry.worker.first_seen IS 'when this lease was taken, by the registry''s clock';
COMMENT ON COLUMN snowflake_registry.worker.last_seen IS 'when it was last taken, renewed or released, by the registry''s clock';
REVOKE ALL ON snowflake_registry.worker FROM PUBLIC;

-- So that a lease takes the same time however many rows there are.
CREATE INDEX worker_free ON snowflake_registry.worker (valid_until, worker_id) WHERE NOT reserved;
CREATE INDEX worker_holder ON snowflake_registry.worker (holder, coalesce(client_addr, '0.0.0.0'), valid_until);
COMMENT ON INDEX snowflake_registry.worker_free IS 'the worker IDs in the order in which they become free';
COMMENT ON INDEX snowflake_registry.worker_holder IS 'the leases of one holder';

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
	registry uuid,
	id_bits integer
);
COMMENT ON TYPE snowflake_registry.leased IS 'a lease';
REVOKE ALL ON TYPE snowflake_registry.leased FROM PUBLIC;
GRANT USAGE ON TYPE snowflake_registry.leased TO snowflake_registry;

-- How a call begins

-- What COMMIT says where it is not allowed, as in a function.
CREATE FUNCTION snowflake_registry.refusal_to_commit() RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	COMMIT;
EXCEPTION WHEN invalid_transaction_termination THEN
	RETURN SQLERRM;
END
$$;
COMMENT ON FUNCTION snowflake_registry.refusal_to_commit() IS 'the server''s message for a COMMIT where none is allowed';
REVOKE ALL ON FUNCTION snowflake_registry.refusal_to_commit() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION snowflake_registry.refusal_to_commit() TO snowflake_registry;

-- The COMMIT always fails, because a block with a handler is a subtransaction.  Its
-- message tells whether it would fail without that, too.  A SET clause would make it
-- fail everywhere with the same message, so each operator has its schema instead.
CREATE PROCEDURE snowflake_registry.refuse_block()
LANGUAGE plpgsql
AS $$
BEGIN
	COMMIT;
EXCEPTION WHEN invalid_transaction_termination THEN
	IF SQLERRM OPERATOR(pg_catalog.=) snowflake_registry.refusal_to_commit() THEN
		RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction',
			MESSAGE = 'a worker ID cannot be leased or renewed in a transaction block',
			DETAIL = 'A rollback would take back what the holder relies on.',
			HINT = 'Call with autocommit, one statement at a time, and not from a function.';
	END IF;
END
$$;
COMMENT ON PROCEDURE snowflake_registry.refuse_block() IS 'fail where a procedure cannot commit';
REVOKE ALL ON PROCEDURE snowflake_registry.refuse_block() FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE snowflake_registry.refuse_block() TO snowflake_registry;

-- Uses set_config() and not a SET clause, which ends with the function: the
-- settings have to last until the commit.
CREATE FUNCTION snowflake_registry.begin_call() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF pg_is_in_recovery() THEN
		RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction',
			MESSAGE = 'the registry cannot be used during recovery',
			HINT = 'Connect to the primary.';
	END IF;
	IF current_setting('synchronous_commit') <> 'remote_apply' THEN
		PERFORM set_config('synchronous_commit', 'on', true);
	END IF;
	-- 0 means no limit.
	PERFORM set_config(bound.name, bound.most, true)
	   FROM (VALUES ('lock_timeout', '3s'), ('idle_in_transaction_session_timeout', '5s')) AS bound (name, most)
	  WHERE current_setting(bound.name) = '0' OR current_setting(bound.name)::interval > bound.most::interval;
END
$$;
COMMENT ON FUNCTION snowflake_registry.begin_call() IS 'checks and settings at the start of each call';
REVOKE ALL ON FUNCTION snowflake_registry.begin_call() FROM PUBLIC;

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
CREATE FUNCTION snowflake_registry.here(OUT system_identifier bigint, OUT timeline integer, OUT database oid, OUT relation oid)
LANGUAGE plpgsql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	system_identifier := (SELECT c.system_identifier FROM pg_control_system() AS c);
	timeline := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer;
	database := (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database());
	relation := 'snowflake_registry.worker'::regclass;
END
$$;
COMMENT ON FUNCTION snowflake_registry.here() IS 'what tells this registry from another one, or from a copy';
REVOKE ALL ON FUNCTION snowflake_registry.here() FROM PUBLIC;

CREATE FUNCTION snowflake_registry.new_key() RETURNS bytea
LANGUAGE SQL VOLATILE PARALLEL SAFE
RETURN uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
COMMENT ON FUNCTION snowflake_registry.new_key() IS 'a new secret key';
REVOKE ALL ON FUNCTION snowflake_registry.new_key() FROM PUBLIC;

CREATE FUNCTION snowflake_registry.longest_in_force(r snowflake_registry.registry, clock timestamptz) RETURNS interval
LANGUAGE SQL IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN clock < (r).longest_lease_from THEN least((r).longest_lease, (r).longest_lease_before) ELSE (r).longest_lease END;
COMMENT ON FUNCTION snowflake_registry.longest_in_force(snowflake_registry.registry, timestamptz) IS 'how far a lease may reach now';
REVOKE ALL ON FUNCTION snowflake_registry.longest_in_force(snowflake_registry.registry, timestamptz) FROM PUBLIC;

-- See the head of this file.  The caller has locked the row of registry.
CREATE FUNCTION snowflake_registry.apply_fence(now_is timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r snowflake_registry.registry;
	clock timestamptz := snowflake_registry.clock();
	seen timestamptz := (SELECT max(last_seen) FROM snowflake_registry.worker);
	latest timestamptz := coalesce(now_is, greatest(clock, seen));
BEGIN
	SELECT * INTO r FROM snowflake_registry.registry;
	-- A single call while the clock was far ahead would close the registry until then.
	IF now_is IS NULL AND seen > clock + r.longest_lease THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = 'the registry''s clock is far behind the latest call',
			DETAIL = format('The clock shows %s, and the latest call was at %s.', clock, seen),
			HINT = 'An administrator must say what is right, in snowflake_registry.fence(now_is => ...).';
	END IF;
	UPDATE snowflake_registry.worker
	   SET token = NULL, previous_token = NULL, attempt = NULL, proposal = NULL,
		   valid_until = greatest(valid_until, latest + greatest(longest, r.longest_lease)),
		   last_seen = least(last_seen, latest);
	UPDATE snowflake_registry.registry AS o
	   SET floor = greatest(floor, latest + r.longest_lease),
		   key = snowflake_registry.new_key(),
		   system_identifier = here.system_identifier,
		   timeline = here.timeline,
		   database = here.database,
		   relation = here.relation,
		   fence_needed = NULL,
		   fenced_at = clock,
		   changes = changes + 1
	  FROM snowflake_registry.here() AS here;
END
$$;
COMMENT ON FUNCTION snowflake_registry.apply_fence(timestamptz) IS 'void all tokens and move all intervals up';
REVOKE ALL ON FUNCTION snowflake_registry.apply_fence(timestamptz) FROM PUBLIC;

-- Why the registry cannot be used here until it is fenced, or NULL.
CREATE FUNCTION snowflake_registry.reason_to_fence(r snowflake_registry.registry, OUT reason text, OUT failover boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	here record;
BEGIN
	SELECT * INTO here FROM snowflake_registry.here();
	failover := false;
	IF r.fence_needed IS NOT NULL THEN
		reason := r.fence_needed;
	ELSIF here.system_identifier <> r.system_identifier THEN
		reason := format('Its data is from the system %s, and this is the system %s.', r.system_identifier, here.system_identifier);
	ELSIF here.database <> r.database THEN
		reason := format('It is a copy: its data is from the database with OID %s, and this is the one with OID %s.', r.database, here.database);
	ELSIF here.relation <> r.relation THEN
		reason := format('It is a copy: its data is from the table with OID %s, and this is the one with OID %s.', r.relation, here.relation);
	ELSIF here.timeline <> r.timeline THEN
		reason := format('It was on timeline %s, and is now on timeline %s.', r.timeline, here.timeline);
		failover := true;
	END IF;
END
$$;
COMMENT ON FUNCTION snowflake_registry.reason_to_fence(snowflake_registry.registry) IS 'why the registry is closed, and whether that is a failover';
REVOKE ALL ON FUNCTION snowflake_registry.reason_to_fence(snowflake_registry.registry) FROM PUBLIC;

-- The row of registry, locked if exclusive; an error if the registry is closed;
-- NULL if it has just fenced itself.
CREATE FUNCTION snowflake_registry.open_registry(exclusive boolean) RETURNS snowflake_registry.registry
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r snowflake_registry.registry;
	closed record;
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

	closed := snowflake_registry.reason_to_fence(r);
	IF closed.failover AND r.fence_itself THEN
		IF NOT exclusive THEN
			RETURN snowflake_registry.open_registry(true);
		END IF;
		PERFORM snowflake_registry.apply_fence(NULL);
		RAISE WARNING USING
			MESSAGE = format('the registry has fenced itself on its new timeline %s', (snowflake_registry.here()).timeline),
			DETAIL = 'All tokens are void. This call had no other effect.',
			HINT = 'Check the reservations; some may be lost.';
		RETURN NULL;
	END IF;
	IF closed.reason IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = 'the registry may have lost leases, and is closed until it is fenced',
			DETAIL = closed.reason,
			HINT = 'Make sure that nobody uses the old registry any more, then call snowflake_registry.fence() as an administrator.';
	END IF;
	RETURN r;
END
$$;
COMMENT ON FUNCTION snowflake_registry.open_registry(boolean) IS 'the registry, if it may be used';
REVOKE ALL ON FUNCTION snowflake_registry.open_registry(boolean) FROM PUBLIC;

-- Checks a request, and returns the two clocks, how far a lease may reach, and the
-- longest_lease in force.  A longer duration is cut to that, so that lowering it
-- does not lock out holders that ask for more.
CREATE FUNCTION snowflake_registry.check_asked(r snowflake_registry.registry, duration interval, asker_now timestamptz,
	OUT clock timestamptz, OUT asker timestamptz, OUT until timestamptz, OUT longest interval)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	time_end timestamptz := r.epoch + make_interval(secs => 2199023255.552);	-- 2^41 ms
BEGIN
	IF duration IS NULL OR duration < interval '1 s' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('the duration of a lease cannot be %s', coalesce(duration::text, 'NULL')),
			DETAIL = format('The shortest is 1 s, the longest here is %s.', r.longest_lease);
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

	clock := snowflake_registry.clock();
	asker := date_trunc('milliseconds', asker_now);
	longest := snowflake_registry.longest_in_force(r, clock);
	IF asker > time_end - interval '1 s' THEN
		RAISE EXCEPTION USING ERRCODE = 'sequence_generator_limit_exceeded',
			MESSAGE = 'the time bits of snowflake IDs are used up',
			DETAIL = format('With the epoch %s they end at %s; the asker''s clock shows %s.', r.epoch, time_end, asker_now);
	END IF;
	until := least(asker + snowflake_registry.to_ms(least(duration, longest)), clock + longest, time_end);
END
$$;
COMMENT ON FUNCTION snowflake_registry.check_asked(snowflake_registry.registry, interval, timestamptz) IS 'check a request for a lease, and how far the lease may reach';
REVOKE ALL ON FUNCTION snowflake_registry.check_asked(snowflake_registry.registry, interval, timestamptz) FROM PUBLIC;

-- A lease that ends within a second by the asker's clock would be of no use.
CREATE FUNCTION snowflake_registry.check_usable(r snowflake_registry.registry, clock timestamptz, asker timestamptz, until timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF until < asker + interval '1 s' THEN
		RAISE EXCEPTION USING ERRCODE = 'datetime_field_overflow',
			MESSAGE = 'the asker''s clock is too far ahead of the registry''s',
			DETAIL = format('It shows %s, the registry''s %s, and no lease reaches further than %s beyond that.', asker, clock, snowflake_registry.longest_in_force(r, clock));
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

-- A token is, in hexadecimal digits: 4 of its worker ID, by which its row is found; 8
-- of the number of the change; 8 that are random; and 12 of a hash, by which the
-- registry recognises it after the row is lost.
CREATE FUNCTION snowflake_registry.seal(key bytea, digits text) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN digits || left(encode(sha256(key || decode(digits, 'hex')), 'hex'), 12);
END
$$;
COMMENT ON FUNCTION snowflake_registry.seal(bytea, text) IS 'a token that begins with these digits';
REVOKE ALL ON FUNCTION snowflake_registry.seal(bytea, text) FROM PUBLIC;

CREATE FUNCTION snowflake_registry.new_token(key bytea, worker_id integer, changes bigint) RETURNS uuid
LANGUAGE SQL VOLATILE STRICT PARALLEL SAFE
RETURN snowflake_registry.seal(key, lpad(to_hex(worker_id), 4, '0') || lpad(to_hex(changes), 8, '0') || left(gen_random_uuid()::text, 8));
COMMENT ON FUNCTION snowflake_registry.new_token(bytea, integer, bigint) IS 'a new token for this change of this worker ID';
REVOKE ALL ON FUNCTION snowflake_registry.new_token(bytea, integer, bigint) FROM PUBLIC;

CREATE FUNCTION snowflake_registry.new_proposal(worker_id integer) RETURNS uuid
LANGUAGE SQL VOLATILE STRICT PARALLEL SAFE
RETURN overlay(gen_random_uuid()::text PLACING lpad(to_hex(worker_id), 4, '0') FROM 1)::uuid;
COMMENT ON FUNCTION snowflake_registry.new_proposal(integer) IS 'a new proposal for this worker ID';
REVOKE ALL ON FUNCTION snowflake_registry.new_proposal(integer) FROM PUBLIC;

CREATE FUNCTION snowflake_registry.token_worker_id(token uuid) RETURNS integer
LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
RETURN ('x' || left(token::text, 4))::bit(16)::integer;
COMMENT ON FUNCTION snowflake_registry.token_worker_id(uuid) IS 'the worker ID that a token or a proposal is for';
REVOKE ALL ON FUNCTION snowflake_registry.token_worker_id(uuid) FROM PUBLIC;

-- Is this a token of this registry, and of a later change than the row?
CREATE FUNCTION snowflake_registry.is_lost(r snowflake_registry.registry, token uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	digits text := left(replace(token::text, '-', ''), 20);
BEGIN
	RETURN ('x' || substr(digits, 5, 8))::bit(32)::bigint > coalesce(
			(SELECT o.changes FROM snowflake_registry.worker AS o WHERE o.worker_id = snowflake_registry.token_worker_id(is_lost.token)), 0)
		AND snowflake_registry.seal(r.key, digits) = is_lost.token;
END
$$;
COMMENT ON FUNCTION snowflake_registry.is_lost(snowflake_registry.registry, uuid) IS 'whether the registry handed this token out and does not know it';
REVOKE ALL ON FUNCTION snowflake_registry.is_lost(snowflake_registry.registry, uuid) FROM PUBLIC;

-- The row of the lease that this token belongs to, locked.  In a repetition of the
-- latest renewal, the token before that renewal belongs to it as well.
CREATE FUNCTION snowflake_registry.lock_lease(token uuid, attempt uuid) RETURNS snowflake_registry.worker
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	w snowflake_registry.worker;
BEGIN
	SELECT * INTO w FROM snowflake_registry.worker
	 WHERE worker_id = snowflake_registry.token_worker_id(lock_lease.token) FOR UPDATE;
	IF (w.token = lock_lease.token OR w.previous_token = lock_lease.token AND w.attempt = lock_lease.attempt) IS NOT TRUE THEN
		RAISE EXCEPTION USING ERRCODE = 'SR001',
			MESSAGE = 'this token does not belong to a current lease',
			DETAIL = CASE WHEN w.worker_id IS NULL THEN 'Its worker ID has never been leased here.'
				ELSE format('Worker ID %s was last leased by "%s", at %s.', w.worker_id, w.holder, w.first_seen) END,
			HINT = 'Stop using the worker ID by the end of its lease, and take a new lease.';
	END IF;
	RETURN w;
END
$$;
COMMENT ON FUNCTION snowflake_registry.lock_lease(uuid, uuid) IS 'the lease that a token belongs to';
REVOKE ALL ON FUNCTION snowflake_registry.lock_lease(uuid, uuid) FROM PUBLIC;

-- For holders: how a worker ID is chosen

-- The worker ID with which this very server issues IDs without a lease, if any.
-- What a session has set itself does not count.  snowflake.registry is hidden from
-- an owner who may not see all settings; then the worker ID counts.
CREATE FUNCTION snowflake_registry.own_worker_id() RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF coalesce(current_setting('snowflake.worker_id', true), '') IN ('', '-1') THEN
		RETURN NULL;
	END IF;
	RETURN (SELECT o.setting::integer FROM pg_settings AS o
			 WHERE o.name = 'snowflake.worker_id' AND o.context = 'postmaster'
			   AND NOT EXISTS (SELECT FROM pg_settings AS s WHERE s.name = 'snowflake.registry' AND s.setting <> ''));
END
$$;
COMMENT ON FUNCTION snowflake_registry.own_worker_id() IS 'the worker ID that the registry''s own server is configured with';
REVOKE ALL ON FUNCTION snowflake_registry.own_worker_id() FROM PUBLIC;

-- Reserves the worker ID of the registry's own server as soon as it is known.
CREATE FUNCTION snowflake_registry.reserve_own(r snowflake_registry.registry, clock timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	own integer := snowflake_registry.own_worker_id();
BEGIN
	IF own < 1 << r.worker_bits THEN
		INSERT INTO snowflake_registry.worker AS o (worker_id, holder, reserved, first_seen, last_seen)
		VALUES (own, 'the registry''s own server', true, reserve_own.clock, reserve_own.clock)
		ON CONFLICT (worker_id) DO NOTHING;
	END IF;
END
$$;
COMMENT ON FUNCTION snowflake_registry.reserve_own(snowflake_registry.registry, timestamptz) IS 'reserve the worker ID of the registry''s own server';
REVOKE ALL ON FUNCTION snowflake_registry.reserve_own(snowflake_registry.registry, timestamptz) FROM PUBLIC;

-- Is what is reserved under this name for this holder?  A server's holder name may go
-- on with a space and where it runs.
CREATE FUNCTION snowflake_registry.is_for(reserved_for text, holder text) RETURNS boolean
LANGUAGE SQL IMMUTABLE PARALLEL SAFE
RETURN holder = reserved_for OR starts_with(holder, reserved_for || ' ');
COMMENT ON FUNCTION snowflake_registry.is_for(text, text) IS 'whether a reservation is for this holder';
REVOKE ALL ON FUNCTION snowflake_registry.is_for(text, text) FROM PUBLIC;

-- May this worker ID, which was asked for, be leased now?
CREATE FUNCTION snowflake_registry.check_given(r snowflake_registry.registry, given integer, holder text,
	clock timestamptz, asker timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	w snowflake_registry.worker;
	earlier timestamptz := least(clock, asker);
BEGIN
	PERFORM snowflake_registry.check_worker_id(r, given);
	SELECT * INTO w FROM snowflake_registry.worker WHERE worker_id = given FOR UPDATE;
	IF given = snowflake_registry.own_worker_id() THEN
		RAISE EXCEPTION USING ERRCODE = 'object_in_use',
			MESSAGE = format('worker ID %s is that of the registry''s own server', given),
			DETAIL = 'Its "snowflake.worker_id" is set, and it leases none.';
	ELSIF w.reserved AND NOT snowflake_registry.is_for(w.holder, check_given.holder) THEN
		RAISE EXCEPTION USING ERRCODE = 'object_in_use',
			MESSAGE = format('worker ID %s is reserved for "%s"', given, w.holder);
	ELSIF w.valid_until > earlier THEN
		RAISE EXCEPTION USING ERRCODE = 'object_in_use',
			MESSAGE = format('worker ID %s is held by "%s" until %s', given, w.holder, w.valid_until),
			DETAIL = format('The registry''s clock shows %s, the asker''s %s.', clock, asker);
	ELSIF w.valid_until IS NULL AND r.floor > earlier THEN
		RAISE EXCEPTION USING ERRCODE = 'object_in_use',
			MESSAGE = format('worker ID %s may be held until %s by a lease that was lost', given, r.floor),
			DETAIL = format('The registry was fenced at %s.', r.fenced_at);
	ELSIF w.reserved IS NOT TRUE THEN
		PERFORM snowflake_registry.check_share(r, holder, clock);
	END IF;
END
$$;
COMMENT ON FUNCTION snowflake_registry.check_given(snowflake_registry.registry, integer, text, timestamptz, timestamptz) IS 'refuse a worker ID that cannot be leased now';
REVOKE ALL ON FUNCTION snowflake_registry.check_given(snowflake_registry.registry, integer, text, timestamptz, timestamptz) FROM PUBLIC;

-- A holder that crashes again and again, or leases in a loop, must not take all
-- worker IDs.
CREATE FUNCTION snowflake_registry.check_share(r snowflake_registry.registry, holder text, clock timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	running record;
BEGIN
	SELECT count(*) AS n, min(o.valid_until) AS first_end INTO running
	  FROM (SELECT w.valid_until FROM snowflake_registry.worker AS w
			 WHERE w.holder = check_share.holder AND coalesce(w.client_addr, '0.0.0.0') = coalesce(inet_client_addr(), '0.0.0.0')
			   AND w.valid_until > check_share.clock AND w.token IS NOT NULL
			 ORDER BY w.valid_until LIMIT r.most_per_holder) AS o;
	IF running.n >= r.most_per_holder THEN
		RAISE EXCEPTION USING ERRCODE = 'configuration_limit_exceeded',
			MESSAGE = format('"%s" has %s running leases, the most that one holder may have from one address', holder, running.n),
			DETAIL = format('The first of them ends at %s.', running.first_end),
			HINT = 'Give each instance a name of its own, or raise "most_per_holder" in the table snowflake_registry.registry.';
	END IF;
END
$$;
COMMENT ON FUNCTION snowflake_registry.check_share(snowflake_registry.registry, text, timestamptz) IS 'refuse a holder that has too many leases';
REVOKE ALL ON FUNCTION snowflake_registry.check_share(snowflake_registry.registry, text, timestamptz) FROM PUBLIC;

-- The lowest worker ID without a row, from next_unused on.
CREATE FUNCTION snowflake_registry.first_unused() RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	unused integer := (SELECT r.next_unused FROM snowflake_registry.registry AS r);
BEGIN
	WHILE EXISTS (SELECT FROM snowflake_registry.worker AS o WHERE o.worker_id = unused) LOOP
		unused := unused + 1;
	END LOOP;
	RETURN unused;
END
$$;
COMMENT ON FUNCTION snowflake_registry.first_unused() IS 'the lowest worker ID that was never used';
REVOKE ALL ON FUNCTION snowflake_registry.first_unused() FROM PUBLIC;

-- A worker ID that nobody has, with its row locked if there is one: the one that
-- this holder had before; else the lowest that was never used; else the one whose
-- interval ended longest ago.  A row that is locked is being renewed, and is skipped.
-- The interval of a holder whose clock is far behind has always ended: as long as it
-- calls, its worker ID is chosen after others.
CREATE FUNCTION snowflake_registry.choose(r snowflake_registry.registry, holder text, earlier timestamptz,
	OUT chosen integer, OUT next_unused integer)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	own integer := snowflake_registry.own_worker_id();
	candidate integer;
BEGIN
	next_unused := r.next_unused;
	SELECT o.worker_id INTO chosen FROM snowflake_registry.worker AS o
	 WHERE o.holder = choose.holder AND coalesce(o.client_addr, '0.0.0.0') = coalesce(inet_client_addr(), '0.0.0.0')
	   AND o.valid_until <= choose.earlier AND NOT o.reserved
	 ORDER BY o.valid_until LIMIT 1 FOR UPDATE SKIP LOCKED;
	IF FOUND THEN
		RETURN;
	END IF;

	next_unused := snowflake_registry.first_unused();
	IF choose.next_unused < 1 << r.worker_bits AND r.floor <= choose.earlier THEN
		chosen := choose.next_unused;
		next_unused := choose.next_unused + 1;
		RETURN;
	END IF;

	FOR candidate IN
		SELECT f.worker_id
		  FROM (SELECT o.worker_id, greatest(o.valid_until, o.last_seen) AS seen FROM snowflake_registry.worker AS o
				 WHERE NOT o.reserved AND o.valid_until <= choose.earlier AND o.worker_id IS DISTINCT FROM own
				 ORDER BY o.valid_until, o.worker_id LIMIT 20) AS f
		 ORDER BY f.seen, f.worker_id
	LOOP
		SELECT o.worker_id INTO chosen FROM snowflake_registry.worker AS o
		 WHERE o.worker_id = candidate AND NOT o.reserved AND o.valid_until <= choose.earlier FOR UPDATE SKIP LOCKED;
		EXIT WHEN FOUND;
	END LOOP;
END
$$;
COMMENT ON FUNCTION snowflake_registry.choose(snowflake_registry.registry, text, timestamptz) IS 'a worker ID that can be leased now';
REVOKE ALL ON FUNCTION snowflake_registry.choose(snowflake_registry.registry, text, timestamptz) FROM PUBLIC;

-- Which worker ID is free first, and when.
CREATE FUNCTION snowflake_registry.first_free(OUT worker_id integer, OUT free_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	SELECT o.worker_id, o.free_at INTO worker_id, free_at
	  FROM ((SELECT w.worker_id, w.valid_until AS free_at FROM snowflake_registry.worker AS w
			  WHERE NOT w.reserved ORDER BY w.valid_until, w.worker_id LIMIT 1)
			UNION ALL
			SELECT u.worker_id, r.floor
			  FROM snowflake_registry.registry AS r, snowflake_registry.first_unused() AS u (worker_id)
			 WHERE u.worker_id < 1 << r.worker_bits) AS o
	 ORDER BY o.free_at, o.worker_id LIMIT 1;
END
$$;
COMMENT ON FUNCTION snowflake_registry.first_free() IS 'which worker ID can be leased first, and when';
REVOKE ALL ON FUNCTION snowflake_registry.first_free() FROM PUBLIC;

CREATE FUNCTION snowflake_registry.raise_taken(clock timestamptz, asker timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	soonest record;
BEGIN
	SELECT * INTO soonest FROM snowflake_registry.first_free();
	RAISE EXCEPTION USING ERRCODE = 'configuration_limit_exceeded',
		MESSAGE = 'all worker IDs are taken',
		DETAIL = CASE WHEN soonest.worker_id IS NULL THEN 'All are reserved.'
			ELSE format('Worker ID %s is free at %s. The registry''s clock shows %s, the asker''s %s.',
				soonest.worker_id, soonest.free_at, clock, asker) END;
END
$$;
COMMENT ON FUNCTION snowflake_registry.raise_taken(timestamptz, timestamptz) IS 'say that there is no free worker ID';
REVOKE ALL ON FUNCTION snowflake_registry.raise_taken(timestamptz, timestamptz) FROM PUBLIC;

-- For holders: the two steps of a call

-- Writes a lease of a free worker ID, or of the given one, and returns the proposal;
-- NULL if there is no lease, but something to commit.
CREATE FUNCTION snowflake_registry.propose_lease(holder text, duration interval, worker_id integer, asker_now timestamptz) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r snowflake_registry.registry;
	asked record;
	chosen integer := propose_lease.worker_id;
	unused integer;
BEGIN
	PERFORM snowflake_registry.begin_call();
	PERFORM snowflake_registry.check_holder(holder);
	r := snowflake_registry.open_registry(true);
	IF r.uuid IS NULL THEN
		RETURN NULL;
	END IF;
	asked := snowflake_registry.check_asked(r, duration, asker_now);
	PERFORM snowflake_registry.check_usable(r, asked.clock, asked.asker, asked.until);
	PERFORM snowflake_registry.reserve_own(r, asked.clock);

	-- An interval has ended when it has by both clocks: by the registry's, so that
	-- nobody whose clock is ahead takes over from a healthy holder; and by the asker's,
	-- so that the asker can use the new interval at once.
	IF chosen IS NOT NULL THEN
		PERFORM snowflake_registry.check_given(r, chosen, propose_lease.holder, asked.clock, asked.asker);
		unused := r.next_unused;
	ELSE
		PERFORM snowflake_registry.check_share(r, propose_lease.holder, asked.clock);
		SELECT c.chosen, c.next_unused INTO chosen, unused
		  FROM snowflake_registry.choose(r, propose_lease.holder, least(asked.clock, asked.asker)) AS c;
		IF chosen IS NULL THEN
			PERFORM snowflake_registry.raise_taken(asked.clock, asked.asker);
		END IF;
	END IF;

	UPDATE snowflake_registry.registry SET next_unused = unused, changes = changes + 1;
	RETURN snowflake_registry.write_lease(r, chosen, propose_lease.holder, asked.clock, asked.asker, asked.until, asked.longest);
END
$$;
COMMENT ON FUNCTION snowflake_registry.propose_lease(text, interval, integer, timestamptz) IS 'write a lease of a worker ID; the first step of lease()';
REVOKE ALL ON FUNCTION snowflake_registry.propose_lease(text, interval, integer, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION snowflake_registry.propose_lease(text, interval, integer, timestamptz) TO snowflake_registry;

CREATE FUNCTION snowflake_registry.write_lease(r snowflake_registry.registry, chosen integer, holder text,
	clock timestamptz, asker timestamptz, until timestamptz, longest interval) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	w snowflake_registry.worker;
	id uuid := snowflake_registry.new_proposal(chosen);
BEGIN
	SELECT * INTO w FROM snowflake_registry.worker AS o WHERE o.worker_id = chosen;
	INSERT INTO snowflake_registry.worker AS o
		(worker_id, holder, token, proposal, proposed_by, valid_from, valid_until, longest,
		 changes, client_addr, first_seen, last_seen)
	VALUES (chosen, write_lease.holder, snowflake_registry.new_token(r.key, chosen, coalesce(w.changes, 0) + 1), id, pg_current_xact_id(),
		greatest(w.valid_until, write_lease.asker), write_lease.until, write_lease.longest,
		coalesce(w.changes, 0) + 1, inet_client_addr(), write_lease.clock, write_lease.clock)
	ON CONFLICT (worker_id) DO UPDATE
	   SET holder = CASE WHEN o.reserved THEN o.holder ELSE excluded.holder END,
		   token = excluded.token, previous_token = NULL, attempt = NULL,
		   proposal = excluded.proposal, proposed_by = excluded.proposed_by,
		   valid_from = excluded.valid_from, valid_until = excluded.valid_until, longest = excluded.longest,
		   renewals = 0, changes = excluded.changes, client_addr = excluded.client_addr,
		   first_seen = excluded.first_seen, last_seen = excluded.last_seen;
	RETURN id;
END
$$;
COMMENT ON FUNCTION snowflake_registry.write_lease(snowflake_registry.registry, integer, text, timestamptz, timestamptz, timestamptz, interval) IS 'write a new lease, and return its proposal';
REVOKE ALL ON FUNCTION snowflake_registry.write_lease(snowflake_registry.registry, integer, text, timestamptz, timestamptz, timestamptz, interval) FROM PUBLIC;

-- Closes the registry if this token proves that it has lost a commit.  Returns true
-- if the call must end without a lease, since it has closed or fenced the registry.
CREATE FUNCTION snowflake_registry.close_if_lost(token uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r snowflake_registry.registry;
	holds text := format('A holder of worker ID %s has a lease that the registry does not know about.',
		snowflake_registry.token_worker_id(token));
BEGIN
	-- No row of worker is locked yet, so the row of registry may be.
	r := snowflake_registry.open_registry(true);
	IF r.uuid IS NULL OR NOT snowflake_registry.is_lost(r, token) THEN
		RETURN r.uuid IS NULL;
	END IF;
	UPDATE snowflake_registry.registry SET fence_needed = holds, changes = changes + 1;
	RAISE WARNING USING
		MESSAGE = 'the registry has lost leases, and is now closed until it is fenced',
		DETAIL = holds,
		HINT = 'An administrator must call snowflake_registry.fence().';
	RETURN true;
END
$$;
COMMENT ON FUNCTION snowflake_registry.close_if_lost(uuid) IS 'close the registry if it has lost the lease of this token';
REVOKE ALL ON FUNCTION snowflake_registry.close_if_lost(uuid) FROM PUBLIC;

-- Writes a renewal, or repeats the latest one, and returns the proposal; NULL if there
-- is no lease, but something to commit.  A repetition changes neither the token nor
-- the proposal, so that it does not matter which of the calls comes last.
CREATE FUNCTION snowflake_registry.propose_renewal(token uuid, duration interval, asker_now timestamptz, registry uuid, attempt uuid) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r snowflake_registry.registry;
	w snowflake_registry.worker;
	asked record;
	new_until timestamptz;
BEGIN
	PERFORM snowflake_registry.begin_call();
	IF token IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the token cannot be NULL';
	END IF;
	r := snowflake_registry.open_registry(false);
	IF r.uuid IS NULL THEN
		RETURN NULL;
	END IF;
	IF registry <> r.uuid THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'the lease belongs to another registry',
			DETAIL = format('It belongs to registry %s, and this is registry %s.', registry, r.uuid);
	END IF;
	IF snowflake_registry.is_lost(r, token) AND snowflake_registry.close_if_lost(token) THEN
		RETURN NULL;
	END IF;

	w := snowflake_registry.lock_lease(token, attempt);
	asked := snowflake_registry.check_asked(r, duration, asker_now);
	new_until := greatest(w.valid_until, asked.until);
	PERFORM snowflake_registry.check_usable(r, asked.clock, asked.asker, new_until);
	IF w.token = propose_renewal.token THEN
		w.previous_token := w.token;
		w.changes := w.changes + 1;
		w.token := snowflake_registry.new_token(r.key, w.worker_id, w.changes);
		w.attempt := propose_renewal.attempt;
		w.proposal := snowflake_registry.new_proposal(w.worker_id);
		w.renewals := w.renewals + 1;
	END IF;
	UPDATE snowflake_registry.worker AS o
	   SET token = w.token, previous_token = w.previous_token, attempt = w.attempt, proposal = w.proposal,
		   proposed_by = pg_current_xact_id(), valid_until = new_until, longest = greatest(o.longest, asked.longest),
		   renewals = w.renewals, changes = w.changes, client_addr = inet_client_addr(), last_seen = asked.clock
	 WHERE o.worker_id = w.worker_id;
	RETURN w.proposal;
END
$$;
COMMENT ON FUNCTION snowflake_registry.propose_renewal(uuid, interval, timestamptz, uuid, uuid) IS 'write a renewal; the first step of renew()';
REVOKE ALL ON FUNCTION snowflake_registry.propose_renewal(uuid, interval, timestamptz, uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION snowflake_registry.propose_renewal(uuid, interval, timestamptz, uuid, uuid) TO snowflake_registry;

-- The lease that was proposed, if that is committed.  A row that is visible here has
-- been written by a committed transaction or by this one, whose ID is the same in its
-- subtransactions and in everything that it calls.
CREATE FUNCTION snowflake_registry.confirm(proposal uuid) RETURNS snowflake_registry.leased
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r snowflake_registry.registry;
	w snowflake_registry.worker;
BEGIN
	IF proposal IS NULL THEN
		-- Raises the reason where there is one.
		PERFORM snowflake_registry.open_registry(false);
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = 'the registry has just fenced itself, and has leased nothing',
			HINT = 'Call again.';
	END IF;
	SELECT * INTO r FROM snowflake_registry.registry;
	SELECT * INTO w FROM snowflake_registry.worker AS o WHERE o.worker_id = snowflake_registry.token_worker_id(confirm.proposal);
	IF w.proposed_by = pg_current_xact_id_if_assigned() THEN
		RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction',
			MESSAGE = 'a lease cannot be confirmed in the transaction that proposed it',
			DETAIL = 'A rollback would take back what the holder relies on.',
			HINT = 'Commit in between, or call snowflake_registry.lease() or renew().';
	ELSIF w.proposal IS DISTINCT FROM confirm.proposal OR w.token IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'SR001',
			MESSAGE = 'this proposal does not belong to a current lease',
			HINT = 'Take a new lease.';
	END IF;
	RETURN row(w.worker_id, w.token, w.valid_from, w.valid_until, r.worker_bits, r.epoch, r.uuid, r.id_bits);
END
$$;
COMMENT ON FUNCTION snowflake_registry.confirm(uuid) IS 'the lease that was proposed and committed; the second step of lease() and renew()';
REVOKE ALL ON FUNCTION snowflake_registry.confirm(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION snowflake_registry.confirm(uuid) TO snowflake_registry;

-- For holders: the calls
--
-- A procedure that commits can have neither SECURITY DEFINER nor a SET clause.  So
-- the caller's search_path is in effect: every name, and every operator, has its
-- schema.  The first COMMIT ends a transaction that has done nothing, so that the
-- isolation level can be set in the next one.

CREATE PROCEDURE snowflake_registry.lease(holder text, duration interval DEFAULT '60 s', INOUT worker_id integer DEFAULT NULL,
	asker_now timestamptz DEFAULT clock_timestamp(), INOUT token uuid DEFAULT NULL, INOUT valid_from timestamptz DEFAULT NULL,
	INOUT valid_until timestamptz DEFAULT NULL, INOUT worker_bits integer DEFAULT NULL, INOUT epoch timestamptz DEFAULT NULL,
	INOUT registry uuid DEFAULT NULL, INOUT id_bits integer DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
	proposal pg_catalog.uuid;
BEGIN
	CALL snowflake_registry.refuse_block();
	COMMIT;
	SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
	proposal := snowflake_registry.propose_lease(holder, duration, worker_id, asker_now);
	COMMIT;
	SELECT l.worker_id, l.token, l.valid_from, l.valid_until, l.worker_bits, l.epoch, l.registry, l.id_bits
	  INTO worker_id, token, valid_from, valid_until, worker_bits, epoch, registry, id_bits
	  FROM snowflake_registry.confirm(proposal) AS l;
END
$$;
COMMENT ON PROCEDURE snowflake_registry.lease(text, interval, integer, timestamptz, uuid, timestamptz, timestamptz, integer, timestamptz, uuid, integer) IS 'lease a worker ID: any, or a given one';
REVOKE ALL ON PROCEDURE snowflake_registry.lease(text, interval, integer, timestamptz, uuid, timestamptz, timestamptz, integer, timestamptz, uuid, integer) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE snowflake_registry.lease(text, interval, integer, timestamptz, uuid, timestamptz, timestamptz, integer, timestamptz, uuid, integer) TO snowflake_registry;

CREATE PROCEDURE snowflake_registry.renew(INOUT token uuid, duration interval DEFAULT '60 s', asker_now timestamptz DEFAULT clock_timestamp(),
	INOUT registry uuid DEFAULT NULL, attempt uuid DEFAULT NULL, INOUT worker_id integer DEFAULT NULL,
	INOUT valid_from timestamptz DEFAULT NULL, INOUT valid_until timestamptz DEFAULT NULL,
	INOUT worker_bits integer DEFAULT NULL, INOUT epoch timestamptz DEFAULT NULL, INOUT id_bits integer DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
	proposal pg_catalog.uuid;
BEGIN
	CALL snowflake_registry.refuse_block();
	COMMIT;
	SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
	proposal := snowflake_registry.propose_renewal(token, duration, asker_now, registry, attempt);
	COMMIT;
	SELECT l.token, l.registry, l.worker_id, l.valid_from, l.valid_until, l.worker_bits, l.epoch, l.id_bits
	  INTO token, registry, worker_id, valid_from, valid_until, worker_bits, epoch, id_bits
	  FROM snowflake_registry.confirm(proposal) AS l;
END
$$;
COMMENT ON PROCEDURE snowflake_registry.renew(uuid, interval, timestamptz, uuid, uuid, integer, timestamptz, timestamptz, integer, timestamptz, integer) IS 'extend a lease, and get a new token for it';
REVOKE ALL ON PROCEDURE snowflake_registry.renew(uuid, interval, timestamptz, uuid, uuid, integer, timestamptz, timestamptz, integer, timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE snowflake_registry.renew(uuid, interval, timestamptz, uuid, uuid, integer, timestamptz, timestamptz, integer, timestamptz, integer) TO snowflake_registry;

-- IDs before used_until have been used.  attempt is that of an unanswered renewal, if
-- there is one.
CREATE FUNCTION snowflake_registry.release(token uuid, used_until timestamptz, attempt uuid DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r snowflake_registry.registry;
	w snowflake_registry.worker;
	used timestamptz := date_trunc('milliseconds', used_until + interval '999 us');
BEGIN
	PERFORM snowflake_registry.begin_call();
	IF token IS NULL OR used_until IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'neither the token nor used_until can be NULL';
	END IF;
	r := snowflake_registry.open_registry(false);
	IF r.uuid IS NULL THEN
		RETURN;
	END IF;
	w := snowflake_registry.lock_lease(token, attempt);
	IF used > w.valid_until THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('worker ID %s cannot have been used until %s', w.worker_id, used_until),
			DETAIL = format('The lease is from %s to %s.', w.valid_from, w.valid_until);
	END IF;
	UPDATE snowflake_registry.worker AS o
	   SET token = NULL, previous_token = NULL, attempt = NULL, proposal = NULL,
		   valid_until = greatest(used, w.valid_from), last_seen = snowflake_registry.clock()
	 WHERE o.worker_id = w.worker_id;
END
$$;
COMMENT ON FUNCTION snowflake_registry.release(uuid, timestamptz, uuid) IS 'give back what is left of a lease';
REVOKE ALL ON FUNCTION snowflake_registry.release(uuid, timestamptz, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION snowflake_registry.release(uuid, timestamptz, uuid) TO snowflake_registry;

-- For administrators

-- Returns it in whole milliseconds.
CREATE FUNCTION snowflake_registry.check_longest_lease(longest_lease interval) RETURNS interval
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF longest_lease IS NULL OR NOT longest_lease BETWEEN '1 s' AND '24 h' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('the longest lease cannot be %s', coalesce(longest_lease::text, 'NULL')),
			DETAIL = 'It must be between 1 s and 24 h.';
	END IF;
	IF extract(day FROM longest_lease) <> 0 OR extract(month FROM longest_lease) <> 0 OR extract(year FROM longest_lease) <> 0 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('the longest lease cannot be %s', longest_lease),
			DETAIL = 'A day or a month has no fixed length.',
			HINT = 'Give it in hours, minutes and seconds.';
	END IF;
	RETURN snowflake_registry.to_ms(longest_lease);
END
$$;
COMMENT ON FUNCTION snowflake_registry.check_longest_lease(interval) IS 'refuse an invalid longest_lease';
REVOKE ALL ON FUNCTION snowflake_registry.check_longest_lease(interval) FROM PUBLIC;

CREATE FUNCTION snowflake_registry.setup(worker_bits integer DEFAULT 10, epoch timestamptz DEFAULT '2023-01-01 00:00:00Z',
	longest_lease interval DEFAULT '2 min', fence_itself boolean DEFAULT false, most_per_holder integer DEFAULT NULL,
	id_bits integer DEFAULT 63)
RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	id uuid := gen_random_uuid();
	longest interval;
BEGIN
	PERFORM snowflake_registry.begin_call();
	IF id_bits IS NULL OR id_bits NOT BETWEEN 53 AND 63 THEN
		RAISE EXCEPTION USING ERRCODE = 'numeric_value_out_of_range',
			MESSAGE = format('id_bits cannot be %s', coalesce(id_bits::text, 'NULL')),
			DETAIL = 'It must be between 53 and 63.';
	END IF;
	IF worker_bits IS NULL OR worker_bits NOT BETWEEN 1 AND least(16, id_bits - 47) THEN
		RAISE EXCEPTION USING ERRCODE = 'numeric_value_out_of_range',
			MESSAGE = format('worker_bits cannot be %s', coalesce(worker_bits::text, 'NULL')),
			DETAIL = format('With id_bits = %s, it must be between 1 and %s.', id_bits, least(16, id_bits - 47));
	END IF;
	IF epoch IS NULL OR NOT epoch BETWEEN 'epoch' AND clock_timestamp() OR epoch <> date_trunc('milliseconds', epoch) THEN
		RAISE EXCEPTION USING ERRCODE = 'datetime_field_overflow',
			MESSAGE = format('the epoch cannot be %s', coalesce(epoch::text, 'NULL')),
			DETAIL = 'It must be a whole millisecond, in 1970 or later, and not in the future.';
	END IF;
	IF fence_itself IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'fence_itself cannot be NULL';
	END IF;
	IF most_per_holder < 1 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('most_per_holder cannot be %s', most_per_holder);
	END IF;
	longest := snowflake_registry.check_longest_lease(longest_lease);
	INSERT INTO snowflake_registry.registry (uuid, id_bits, worker_bits, epoch, longest_lease, longest_lease_before, longest_lease_from,
		fence_itself, most_per_holder, system_identifier, timeline, database, relation, floor, next_unused, key, changes)
	SELECT id, setup.id_bits, setup.worker_bits, setup.epoch, longest, longest, setup.epoch,
		   setup.fence_itself, coalesce(setup.most_per_holder, greatest(2, (1 << setup.worker_bits) / 8)),
		   here.system_identifier, here.timeline, here.database, here.relation, setup.epoch, 0, snowflake_registry.new_key(), 0
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
COMMENT ON FUNCTION snowflake_registry.setup(integer, timestamptz, interval, boolean, integer, integer) IS 'set the registry up, once';
REVOKE ALL ON FUNCTION snowflake_registry.setup(integer, timestamptz, interval, boolean, integer, integer) FROM PUBLIC;

-- Returns the time at which it takes effect: a lower one at once, a higher one when
-- the former one has passed.  See the head of this file.
CREATE FUNCTION snowflake_registry.set_longest_lease(longest_lease interval) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r snowflake_registry.registry;
	longest interval := snowflake_registry.check_longest_lease(set_longest_lease.longest_lease);
	clock timestamptz;
	before interval;
	running interval;
	since timestamptz;
BEGIN
	PERFORM snowflake_registry.begin_call();
	r := snowflake_registry.open_registry(true);
	IF r.uuid IS NULL THEN
		RETURN NULL;
	END IF;
	clock := snowflake_registry.clock();
	running := (SELECT max(o.valid_until) FROM snowflake_registry.worker AS o WHERE o.token IS NOT NULL) - clock;
	IF longest < running THEN
		RAISE EXCEPTION USING ERRCODE = 'object_in_use',
			MESSAGE = format('the longest lease cannot be %s while longer ones are running', longest),
			DETAIL = format('One of them lasts for another %s.', running),
			HINT = 'Have the holders ask for shorter ones first.';
	END IF;
	before := snowflake_registry.longest_in_force(r, clock);
	since := CASE WHEN longest > before THEN clock + before ELSE clock END;
	UPDATE snowflake_registry.registry
	   SET longest_lease = longest, longest_lease_before = before, longest_lease_from = since, changes = changes + 1;
	RETURN since;
END
$$;
COMMENT ON FUNCTION snowflake_registry.set_longest_lease(interval) IS 'set how far a lease may reach; returns the time at which that takes effect';
REVOKE ALL ON FUNCTION snowflake_registry.set_longest_lease(interval) FROM PUBLIC;

CREATE FUNCTION snowflake_registry.reserve(worker_id integer, holder text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r snowflake_registry.registry;
	w snowflake_registry.worker;
	clock timestamptz;
BEGIN
	PERFORM snowflake_registry.begin_call();
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
	   SET holder = excluded.holder, reserved = true, token = NULL, previous_token = NULL, last_seen = excluded.last_seen;
END
$$;
COMMENT ON FUNCTION snowflake_registry.reserve(integer, text) IS 'set a worker ID aside for a server that is configured with it';
REVOKE ALL ON FUNCTION snowflake_registry.reserve(integer, text) FROM PUBLIC;

-- The registry does not know up to which time the server that had it has issued IDs,
-- so the worker ID rests for a while.
CREATE FUNCTION snowflake_registry.unreserve(worker_id integer) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r snowflake_registry.registry;
	w snowflake_registry.worker;
	clock timestamptz;
BEGIN
	PERFORM snowflake_registry.begin_call();
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
	   SET reserved = false, token = NULL, previous_token = NULL,
		   valid_until = greatest(o.valid_until, clock + r.longest_lease),
		   last_seen = clock
	 WHERE o.worker_id = unreserve.worker_id;
END
$$;
COMMENT ON FUNCTION snowflake_registry.unreserve(integer) IS 'let a reserved worker ID be leased again, after the longest lease has passed';
REVOKE ALL ON FUNCTION snowflake_registry.unreserve(integer) FROM PUBLIC;

-- now_is is the administrator's word where the clock of the registry, the old one or
-- this one, is or was wrong.
CREATE FUNCTION snowflake_registry.fence(now_is timestamptz DEFAULT NULL) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM snowflake_registry.begin_call();
	PERFORM FROM snowflake_registry.registry FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = 'the registry has not been set up',
			HINT = 'An administrator must call snowflake_registry.setup().';
	END IF;
	IF NOT isfinite(now_is) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('it cannot be %s now', now_is);
	END IF;
	PERFORM snowflake_registry.apply_fence(date_trunc('milliseconds', now_is));
	RAISE NOTICE USING
		MESSAGE = 'all tokens are void',
		DETAIL = format('%s worker IDs are reserved.', (SELECT count(*) FROM snowflake_registry.worker WHERE reserved)),
		HINT = 'Compare the reservations with the servers whose worker ID is configured. Some may be lost; reserve() restores them.';
	RETURN (snowflake_registry.first_free()).free_at;
END
$$;
COMMENT ON FUNCTION snowflake_registry.fence(timestamptz) IS 'reopen the registry after a failover; returns the time from which it leases again';
REVOKE ALL ON FUNCTION snowflake_registry.fence(timestamptz) FROM PUBLIC;

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
