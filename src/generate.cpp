/*
 * generate.cpp
 *		snowflake_next(): claims ticks, and waits when none are to be had.
 */
#include <algorithm>
#include <cstdint>

#include "compat.h"

extern "C"
{
#include "access/xact.h"
#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
}

#include "core/clock.hpp"
#include "core/stopwatch.hpp"
#include "pin.hpp"
#include "privileges.hpp"
#include "refusals.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "timestamps.hpp"

namespace snowflake
{

/* The longest that a call waits for the clock, in milliseconds (promise P3). */
static constexpr int64_t kClockPatience = 1000;

/* The longest that a call waits for a lease once the registry is known to be in trouble. */
static constexpr int64_t kLeasePatience = 1000;

/* How many ticks snowflake_next(count) claims at a time, at most. */
static constexpr int32_t kChunk = 256;

/* Of chunks of that size, every so many rows it looks at the clock. */
static constexpr int32_t kLookInterval = 16;

static Clock backend_clock;

[[noreturn]] static void
raise_exhausted()
{
	ereport(ERROR, (errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
					errmsg("the time bits of snowflake IDs are used up"),
					errdetail("This layout ends at %s.", to_text(layout.epoch_ms + kEndOfTime)),
					errhint("If that is still to come, set the system clock right.")));
	pg_unreachable();
}

/* blocked_ms: the time of the ID that cannot be issued yet. */
[[noreturn]] static void
raise_clock_behind(int64_t blocked_ms, int64_t now)
{
	ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
					errmsg("the system clock is too far behind the newest snowflake ID"),
					errdetail("The clock shows %s, the next ID would have the time %s: %s ahead, where \"snowflake.max_ahead\" allows %s.",
							  to_text(layout.epoch_ms + now), to_text(layout.epoch_ms + blocked_ms),
							  duration_text(blocked_ms - now), duration_text(max_ahead)),
					errhint("IDs go on when the clock shows %s. If it was in the future by mistake: give the server a worker ID that nobody has used, restart it, and call snowflake_forget_mark() as superuser.",
							to_text(layout.epoch_ms + blocked_ms - max_ahead))));
	pg_unreachable();
}

[[noreturn]] static void
raise_in_recovery()
{
	ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
					errmsg("cannot issue snowflake IDs during recovery"),
					errdetail("The primary issues IDs as the worker ID that is configured here."),
					errhint("Take the ID from the primary.")));
	pg_unreachable();
}

/*
 * The registry may have been called by names that are nobody's business, so its
 * own words are for those who may see all of the statistics.
 */
[[noreturn]] static void
raise_no_lease()
{
	char		failure[sizeof(shared->lease_failure)];

	LWLockAcquire(shared->lock, LW_SHARED);

	const Lease lease = shared->lease;
	const TimestampTz failure_at = shared->lease_failure_at;
	const int	failures = shared->lease_failures;

	strlcpy(failure, shared->lease_failure, sizeof(failure));
	LWLockRelease(shared->lock);

	const int64_t now = layout.since_epoch(read_system_clock().unix_ms);

	if (lease.until > now)
		ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
						errmsg("snowflake IDs are ahead of the clock as far as the lease of their worker ID reaches"),
						errdetail("The clock shows %s, and the lease of worker ID %d ends at %s.",
								  to_text(layout.epoch_ms + now), lease.worker, to_text(layout.epoch_ms + lease.until)),
						errhint("IDs go on when the clock has come nearer. A longer \"snowflake.lease_duration\" lets them be further ahead.")));

	const char *ended = lease.until > 0
							? psprintf("The lease of worker ID %d ended at %s.", lease.worker, to_text(layout.epoch_ms + lease.until))
							: "None has been granted yet.";

	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("no lease of a worker ID for snowflake IDs"),
					failures == 0 ? errdetail("%s The registry has not answered yet.", ended) :
					may_see_all() ? errdetail("%s The registry, at %s: %s.", ended, timestamptz_to_str(failure_at), failure) :
									errdetail("%s The registry did not grant one at %s.", ended, timestamptz_to_str(failure_at)),
					errhint("IDs go on as soon as the registry grants a lease; see lease_error in snowflake_status and the server log.")));
	pg_unreachable();
}

/* Is it the registry that the keeper waits for? */
static bool
lease_is_missing(int64_t blocked_ms)
{
	LWLockAcquire(shared->lock, LW_SHARED);

	const bool	missing = leasing() && blocked_ms >= shared->lease.until;

	LWLockRelease(shared->lock);
	return missing;
}

static bool
registry_is_in_trouble()
{
	LWLockAcquire(shared->lock, LW_SHARED);

	const bool	trouble = shared->lease_failures > 0;

	LWLockRelease(shared->lock);
	return trouble;
}

/*
 * An error of the server may name files and roles: like those of the registry, its
 * words and its hint are for those who may see all.
 */
void
raise_keeper_late()
{
	char		attempt[sizeof(shared->keeper_attempt)];
	char		failure[sizeof(shared->keeper_failure)];
	char		hint[sizeof(shared->keeper_failure_hint)];
	TimestampTz failure_at;
	int			failures;
	const bool	running = shared->keeper_pid.load() != 0;

	LWLockAcquire(shared->lock, LW_SHARED);
	strlcpy(attempt, shared->keeper_attempt, sizeof(attempt));
	strlcpy(failure, shared->keeper_failure, sizeof(failure));
	strlcpy(hint, shared->keeper_failure_hint, sizeof(hint));
	failure_at = shared->keeper_failure_at;
	failures = shared->keeper_failures;
	LWLockRelease(shared->lock);

	if (failures == 0 && !running)
		strlcpy(hint, "Look into the server log, and see that \"max_worker_processes\" leaves a worker for it.", sizeof(hint));
	else if (failures == 0 || hint[0] == '\0' || !may_see_all())
		strlcpy(hint, "Look into the server log.", sizeof(hint));

	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("could not get a window for snowflake IDs in time"),
					failures > 0 && may_see_all() ? errdetail("The background worker \"snowflake keeper\" failed at %s: %s.",
															  timestamptz_to_str(failure_at), failure) :
					failures > 0 ? errdetail("The background worker \"snowflake keeper\" failed at %s.",
											 timestamptz_to_str(failure_at)) :
					!running ? errdetail("The background worker \"snowflake keeper\" is not running.") :
					attempt[0] != '\0' ? errdetail("The background worker \"snowflake keeper\" is %s.", attempt) :
										 errdetail("The background worker \"snowflake keeper\" does not answer."),
					errhint("%s", hint)));
	pg_unreachable();
}

/*
 * One attempt, which never waits.  Tells the time that it used.
 *
 * It and claim() are inlined by force: the compiler would rather share them, and
 * a Claim that is handed over in memory costs as much as the swap.
 */
[[gnu::always_inline]] static inline Claim
try_claim(int32_t wanted, int64_t *now)
{
	*now = backend_clock.now(layout);

	Claim		claim = shared->generator.claim(layout, wanted, *now, max_ahead);

	if (claim.renew) [[unlikely]]
	{
		if (shared->generator.take_renewal())
			wake_keeper();
	}
	if (claim.count > 0) [[likely]]
	{
		my_counters->ids.add(static_cast<uint64_t>(claim.count));
		my_counters->max_lead.raise_to(
			static_cast<uint64_t>(layout.ms_of(claim.first + claim.count - 1) - *now));
	}
	return claim;
}

/*
 * Claims at least one tick, waiting until it can be had: for the keeper, or for
 * the clock.
 *
 * The patience starts again whenever somebody got a tick: then clock and keeper
 * are fine, and this is a burst that is paced at the layout's rate.
 */
[[gnu::cold, gnu::noinline]] static Claim
wait_and_claim(int32_t wanted)
{
	static uint32 clock_event = 0;
	static uint32 window_event = 0;
	Stopwatch	since_progress;
	int64_t		last_seen = -1;
	Stop		last_stop = Stop::kNone;
	bool		waited_for_clock = false;
	bool		waited_for_window = false;

	for (;;)
	{
		int64_t		now;
		const Claim claim = try_claim(wanted, &now);

		if (claim.count > 0)
		{
			ConditionVariableCancelSleep();
			return claim;
		}

		if (claim.stop == Stop::kExhausted)
			raise_exhausted();

		/* Not claim.first, which follows the clock. */
		const int64_t last = shared->generator.last();

		if (last != last_seen || claim.stop != last_stop)
			since_progress = Stopwatch();
		last_seen = last;
		last_stop = claim.stop;

		if (claim.stop == Stop::kLead)
		{
			const int64_t blocked_ms = layout.ms_of(claim.first);
			const int64_t deficit = blocked_ms - (now + max_ahead);

			if (deficit > kClockPatience || since_progress.elapsed_ms() > kClockPatience)
				raise_clock_behind(blocked_ms, now);

			if (!waited_for_clock)
				my_counters->clock_waits.add(1);
			waited_for_clock = true;

			const Stopwatch wait;

			ConditionVariableCancelSleep();
			WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					  deficit, EXTENSION_WAIT_EVENT(clock_event, "SnowflakeClockWait"));
			ResetLatch(MyLatch);
			my_counters->clock_wait_us.add(static_cast<uint64_t>(wait.elapsed_us()));
			CHECK_FOR_INTERRUPTS();
			continue;
		}

		/* The keeper has to do something, unless it never will. */
		confirm_layout();
		if (RecoveryInProgress() && !leases_in_recovery())
			raise_in_recovery();

		const bool	lease_missing = lease_is_missing(std::max(now, layout.ms_of(claim.first)));
		const int64_t patience = lease_missing && registry_is_in_trouble() ? kLeasePatience : kKeeperPatience;
		const int64_t left = patience - since_progress.elapsed_ms();

		if (left <= 0 && lease_missing)
			raise_no_lease();
		if (left <= 0)
			raise_keeper_late();

		if (!waited_for_window)
			my_counters->window_waits.add(1);
		waited_for_window = true;

		const Stopwatch wait;

		shared->window_wanted.store(true);
		wake_keeper();
		ConditionVariableTimedSleep(&shared->keeper_did, std::min<int64_t>(left, 1000),
									EXTENSION_WAIT_EVENT(window_event, "SnowflakeWindowWait"));
		my_counters->window_wait_us.add(static_cast<uint64_t>(wait.elapsed_us()));
	}
}

[[gnu::always_inline]] static inline Claim
claim(int32_t wanted)
{
	int64_t		now;
	Claim		claim = try_claim(wanted, &now);

	if (claim.count == 0) [[unlikely]]
		claim = wait_and_claim(wanted);
	return claim;
}

/* The slow path of snowflake_next(), so that the fast one needs no stack. */
[[gnu::cold, gnu::noinline]] static Datum
wait_for_one()
{
	const Claim got = wait_and_claim(1);

	return Int64GetDatum(layout.id_of(got.first, got.worker));
}

/*
 * The layout is the pinned one, and the server is not in recovery, nor is the
 * generator as it was opened there.
 */
static bool is_ready = false;

/*
 * After a promotion the keeper has to open the generator anew, above what is in
 * the data.  A call that finds the promotion done waits for that.
 */
[[gnu::cold, gnu::noinline]] static void
get_ready()
{
	static uint32 event = 0;
	const Stopwatch since_start;

	require_layout();
	if (RecoveryInProgress())
		return;
	while (shared->opened_in_recovery.load())
	{
		const int64_t left = kKeeperPatience - since_start.elapsed_ms();

		if (left <= 0)
			raise_keeper_late();
		wake_keeper();
		ConditionVariableTimedSleep(&shared->keeper_did, std::min<int64_t>(left, 1000),
									EXTENSION_WAIT_EVENT(event, "SnowflakeWindowWait"));
	}
	ConditionVariableCancelSleep();
	is_ready = layout_confirmed;
}

/* What snowflake_next(count) keeps between two rows. */
struct Batch
{
	int64_t		wanted;			/* rows that are not claimed yet */
	int32_t		size;			/* of the chunk, as it was asked for */
	Claim		chunk;			/* first and count: the rest of what is claimed */
	TimestampTz statement;		/* for which it was claimed */
};

/*
 * May what is left of the chunk be below IDs that were returned before this row
 * was asked for, or behind the clock?
 *
 * Where another statement asks, the rows go through a cursor, and anything may
 * have happened since.  Within a statement a look at the clock for each row would
 * make the batch slower by a quarter: each row is looked at only while it is not
 * known that they follow each other fast.  A chunk that is ahead of the clock is
 * kept: the next one would be further ahead.
 */
[[gnu::always_inline]] static inline bool
is_stale(const Batch &batch)
{
	if (batch.statement != GetCurrentStatementStartTimestamp()) [[unlikely]]
		return true;
	if (batch.size == kChunk && batch.chunk.count % kLookInterval != 0) [[likely]]
		return false;
	return layout.ms_of(batch.chunk.first) < backend_clock.now(layout);
}

/* The rest is lost, so the next chunk is small: no more is lost than is used. */
[[gnu::cold, gnu::noinline]] static void
abandon_chunk(Batch *batch)
{
	batch->wanted += batch->chunk.count;
	batch->chunk.count = 0;
	batch->size = 0;
}

static void
claim_chunk(Batch *batch)
{
	batch->size = std::clamp(2 * batch->size, 1, kChunk);
	batch->chunk = claim(static_cast<int32_t>(std::min<int64_t>(batch->wanted, batch->size)));
	batch->wanted -= batch->chunk.count;
	batch->statement = GetCurrentStatementStartTimestamp();
}

} // namespace snowflake

extern "C"
{
SQL_FUNCTION(snowflake_next);
SQL_FUNCTION(snowflake_next_count);
}

using namespace snowflake;

Datum
snowflake_next(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	if (!is_ready) [[unlikely]]
		get_ready();

	int64_t		now;
	const Claim got = try_claim(1, &now);

	if (got.count == 0) [[unlikely]]
		return wait_for_one();
	PG_RETURN_INT64(layout.id_of(got.first, got.worker));
}

/*
 * One row a call, so that a select list streams it.  Claims in chunks: what is
 * left of one that has become stale, or of the last one when the caller wants no
 * more, is lost, as with a sequence's cache.
 */
Datum
snowflake_next_count(PG_FUNCTION_ARGS)
{
	if (SRF_IS_FIRSTCALL())
	{
		const int32_t count = PG_GETARG_INT32(0);

		if (count < 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("count must not be negative"),
							errdetail("The count is %d.", count)));
		if (!is_ready)
			get_ready();

		FuncCallContext *context = SRF_FIRSTCALL_INIT();
		Batch	   *batch = static_cast<Batch *>(MemoryContextAllocZero(context->multi_call_memory_ctx,
																		sizeof(Batch)));

		batch->wanted = count;
		/* The first chunk is half a one, so that each of its rows is looked at. */
		batch->size = kChunk / 4;
		context->user_fctx = batch;
	}

	FuncCallContext *context = SRF_PERCALL_SETUP();
	Batch	   *batch = static_cast<Batch *>(context->user_fctx);
	Claim	   *chunk = &batch->chunk;

	if (chunk->count > 0 && is_stale(*batch)) [[unlikely]]
		abandon_chunk(batch);
	if (chunk->count == 0)
	{
		if (batch->wanted == 0)
			SRF_RETURN_DONE(context);

		CHECK_FOR_INTERRUPTS();
		claim_chunk(batch);
	}

	chunk->count--;
	SRF_RETURN_NEXT(context, Int64GetDatum(layout.id_of(chunk->first++, chunk->worker)));
}
