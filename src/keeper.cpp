/*
 * keeper.cpp
 *		The keeper: opens the generator at the mark, and extends the window, but
 *		never past a mark that is durable.
 *
 * It is the only writer of the window and of the mark.  It uses shared memory
 * only, no database.  It sleeps until somebody needs it: the caller whose claim
 * passes the middle of the window, a caller who finds the window used up, or
 * snowflake_forget_mark().  So while IDs are issued the window is always ahead,
 * and without them nothing is written.
 *
 * Any error ends it (one inside replorigin_advance() leaves a lock held), and
 * the postmaster starts it again after kRestartSeconds.  Its exit status is
 * always 1, since a worker that exits with 0 is not started again.
 */
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <ctime>

#include "compat.h"

extern "C"
{
#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
}

#include "clock.hpp"
#include "keeper.hpp"
#include "mark.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "stopwatch.hpp"
#include "timestamps.hpp"

extern "C" PGDLLEXPORT void snowflake_keeper_main(Datum);

namespace snowflake
{

static constexpr int kRestartSeconds = 5;
static constexpr int kLongestBackOffSeconds = 60;

/* How far the window is extended beyond the newest tick, in milliseconds. */
static constexpr int64_t kWindowLength = 5000;

/*
 * How far the window may reach beyond what max_ahead allows.  It leaves the
 * time for a flush while a burst runs at the limit, and after a crash no call
 * has to wait longer than this.
 */
static constexpr int64_t kWindowMargin = 1000;

/* A smaller gain than this is not worth a flush, unless a caller waits for it. */
static constexpr int64_t kMinGain = 500;

/* How often the clock is compared with the monotonic one while IDs are issued. */
static constexpr long kClockWatchInterval = 1000;

/* How often to look whether the recovery has ended. */
static constexpr long kRecoveryInterval = 1000;

/* How often to look whether the synchronous standbys have flushed. */
static constexpr long kStandbyInterval = 10;

static constexpr long kForever = -1;

static int64_t
now_ms()
{
	return layout.since_epoch(read_system_clock().unix_ms);
}

static int64_t
unix_ms(int64_t ms)
{
	return layout.epoch_ms + ms;
}

/* Sleeps until the latch is set or timeout milliseconds have passed. */
static void
wait(long timeout)
{
	static uint32 event = 0;

	WaitLatch(MyLatch,
			  WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout == kForever ? 0 : WL_TIMEOUT),
			  timeout, EXTENSION_WAIT_EVENT(event, "SnowflakeKeeperMain"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ShutdownRequestPending)
		proc_exit(1);
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* Says what is being done, in the words that follow "The keeper is ". */
static void
set_attempt(const char *attempt)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	strlcpy(shared->keeper_attempt, attempt, sizeof(shared->keeper_attempt));
	LWLockRelease(shared->lock);
}

static void
record_failure(const char *message, const char *hint)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->keeper_failures++;
	strlcpy(shared->keeper_failure, message, sizeof(shared->keeper_failure));
	strlcpy(shared->keeper_failure_hint, hint ? hint : "", sizeof(shared->keeper_failure_hint));
	shared->keeper_failure_at = GetCurrentTimestamp();
	LWLockRelease(shared->lock);
}

static void
record_success()
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->keeper_attempt[0] = '\0';
	shared->keeper_failures = 0;
	LWLockRelease(shared->lock);
}

/*
 * Waits before the next attempt when more than one has failed: twice as long
 * each time, so that the log does not fill up.  Callers cannot hurry it.
 */
static void
back_off()
{
	LWLockAcquire(shared->lock, LW_SHARED);

	const int	failures = shared->keeper_failures;

	LWLockRelease(shared->lock);
	if (failures < 2)
		return;

	/* The postmaster has waited for kRestartSeconds already. */
	const int64_t total = 1000 * (std::min<int64_t>(int64_t{kRestartSeconds} << std::min(failures - 1, 10),
													kLongestBackOffSeconds) -
								  kRestartSeconds);
	const Stopwatch stopwatch;

	for (int64_t left = total; left > 0; left = total - stopwatch.elapsed_ms())
		wait(left);
}

static void
wait_for_standbys(XLogRecPtr end)
{
	if (flushed_on_standbys(end))
		return;

	set_attempt("waiting until a synchronous standby has flushed the mark");
	do
		wait(kStandbyInterval);
	while (!flushed_on_standbys(end));
}

/*
 * Raises the mark to `target`, durably, and only then the window.  Both are
 * milliseconds since the epoch.  `base` is the time that IDs have now; half way
 * from there the next caller wakes the keeper.
 */
static void
extend_window_to(int64_t target, int64_t base)
{
	set_attempt("writing the mark");
	wait_for_standbys(raise_mark(unix_ms(target)));
	shared->generator.publish({worker_id, target},
							  layout.tick_of(base + (target - base) / 2));
	record_success();
	ConditionVariableBroadcast(&shared->keeper_did);
}

/*
 * Extends the window if it can be and if that is worth it.  Returns the
 * milliseconds after which to try again, or kForever if that is up to the
 * callers.
 */
static long
extend_window()
{
	/* Reset before the window is read: a caller that comes later counts anew. */
	const bool	wanted = shared->window_wanted.exchange(false);
	const int64_t now = now_ms();
	const int64_t base = std::max(now, layout.ms_of(shared->generator.last()));
	const int64_t target = std::min({base + kWindowLength,
									 now + max_ahead + kWindowMargin,
									 kEndOfTime});
	const int64_t gain = target - shared->generator.window().until;

	if (gain < (wanted ? 1 : kMinGain))
		return std::clamp<int64_t>(kMinGain - gain, 10, 1000);

	extend_window_to(target, base);
	return kForever;
}

/*
 * Tells when standbys have become synchronous that were not before, so far as
 * this keeper knows: they need not have the mark that the window depends on.
 */
class StandbyWatch
{
public:
	bool
	asks_others()
	{
		if (strcmp(names_, synchronous_standbys()) == 0)
			return false;
		pfree(names_);
		names_ = MemoryContextStrdup(TopMemoryContext, synchronous_standbys());
		return *names_ != '\0';
	}

private:
	char	   *names_ = MemoryContextStrdup(TopMemoryContext, "");
};

/*
 * Holds all claims until the synchronous standbys have the mark.  It is written
 * once more, because only what was written after the reload is certain to be
 * acknowledged by the standbys that are asked now.
 */
static void
hold_for_standbys()
{
	const int64_t last = shared->generator.close();

	set_attempt("writing the mark");
	wait_for_standbys(raise_mark(read_mark().unix_ms));
	record_success();
	shared->generator.open(last);
	ConditionVariableBroadcast(&shared->keeper_did);
}

/* Lets IDs be issued from `start` to before `until`, if there is anything between. */
static void
open_at(int64_t start, int64_t until)
{
	const int64_t last = layout.tick_of(start) - 1;

	shared->opened_at.store(last);
	shared->generator.publish({worker_id, until}, layout.tick_of(until));
	shared->generator.open(last);
	ConditionVariableBroadcast(&shared->keeper_did);
}

/*
 * Opens the generator at the mark, with nothing to issue: the first caller has
 * the window extended.
 *
 * After a promotion, IDs may have been handed out that were not replicated.
 * Those that did not lead our clock by more than max_ahead are below the start
 * that is taken then, and starting there costs a wait of a millisecond.  Until
 * the mark is raised that far, it is of an earlier timeline.
 */
static void
open_generator()
{
	const Mark	mark = read_mark();
	int64_t		start = std::max<int64_t>(layout.since_epoch(mark.unix_ms), 0);
	const int64_t until = start;

	if (is_of_earlier_timeline(mark))
	{
		start = std::clamp(now_ms() + max_ahead + 1, start, kEndOfTime);
		set_attempt("writing the mark");
		raise_mark(unix_ms(start));
		record_success();
	}

	open_at(start, until);
}

/*
 * Carries out snowflake_forget_mark(): the generator starts from the clock
 * again.  The only time that a mark is lowered, and that the tick is reopened
 * below what it was.
 */
static void
forget_mark()
{
	const uint64_t requested = shared->forget_requested.load();
	const int64_t now = std::max<int64_t>(now_ms(), 0);
	const int64_t forgotten = read_mark().unix_ms;

	set_attempt("forgetting the mark");
	shared->generator.close();
	force_mark(unix_ms(now));
	open_at(now, now);
	record_success();

	ereport(LOG, (errmsg("snowflake mark was forgotten"),
				  errdetail("It was %s and is %s; IDs are issued as worker %d.",
							to_text(forgotten), to_text(unix_ms(now)), worker_id)));
	shared->forget_done.store(requested);
	ConditionVariableBroadcast(&shared->keeper_did);
}

/* Pins the layout if this is the first start; false if another one is pinned. */
static bool
check_pinned_layout()
{
	const auto	pinned = read_pinned_layout();

	if (!pinned)
	{
		set_attempt("pinning the layout");
		wait_for_standbys(pin_layout(layout));
		record_success();
		return true;
	}
	return *pinned == layout;
}

/*
 * Tells when the clock was set.  The monotonic clock runs at the same rate,
 * NTP's corrections included, so their difference changes only in steps.
 */
class ClockWatch
{
public:
	void
	look()
	{
		int64_t		offset;

		if (!read_offset(&offset))
			return;

		const int64_t step = offset - offset_;

		offset_ = offset;
		if (!known_)
			known_ = true;
		else if (step <= -kSmallestStep || step >= kSmallestStep)
			report(step);
	}

private:
	static constexpr int64_t kSmallestStep = 500'000;	/* ns */

	static int64_t
	read_ns(clockid_t clock)
	{
		timespec	ts;

		clock_gettime(clock, &ts);
		return int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
	}

	/*
	 * The clock minus the monotonic clock, in nanoseconds.  False if they could
	 * not be read close enough together.
	 */
	static bool
	read_offset(int64_t *offset)
	{
		for (int i = 0; i < 10; i++)
		{
			const int64_t before = read_ns(CLOCK_MONOTONIC);
			const int64_t clock = read_ns(CLOCK_REALTIME);
			const int64_t after = read_ns(CLOCK_MONOTONIC);

			if (after - before < kSmallestStep / 4)
			{
				*offset = clock - before;
				return true;
			}
		}
		return false;
	}

	static void
	report(int64_t step)
	{
		const int64_t ms = (std::abs(step) + 500'000) / 1'000'000;
		const int64_t last = shared->generator.last();
		const int64_t lead = std::max<int64_t>(layout.ms_of(last) - now_ms(), 0);

		if (step > 0)
		{
			ereport(WARNING, (errmsg("system clock was set forward by %s", duration_text(ms))));
			return;
		}

		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
		shared->clock_steps.back++;
		shared->clock_steps.largest_back = std::max(shared->clock_steps.largest_back, ms);
		shared->clock_steps.last_back_at = GetCurrentTimestamp();
		LWLockRelease(shared->lock);
		ereport(WARNING, (errmsg("system clock was set back by %s", duration_text(ms)),
						  errdetail("The newest snowflake ID is %s ahead of it; \"snowflake.max_ahead\" is %s.",
									duration_text(lead), duration_text(max_ahead))));
	}

	bool		known_ = false;
	int64_t		offset_ = 0;
};

[[noreturn]] static void
run()
{
	ClockWatch	clock_watch;
	StandbyWatch standby_watch;
	int64_t		last_seen = -1;

	back_off();
	while (RecoveryInProgress())
		wait(kRecoveryInterval);

	if (!check_pinned_layout())
	{
		/* Callers find out by themselves; only a restart can help. */
		ereport(WARNING, (errmsg("no snowflake IDs are issued: the configured layout is not the one of this cluster's IDs")));
		for (;;)
			wait(kForever);
	}

	/*
	 * An open generator is one that a keeper before this one has opened, and is
	 * as good as ever.
	 */
	if (shared->generator.last() == Generator::kClosed)
		open_generator();

	for (;;)
	{
		long		timeout = kForever;

		clock_watch.look();
		if (standby_watch.asks_others())
			hold_for_standbys();
		if (shared->forget_requested.load() != shared->forget_done.load())
			forget_mark();
		if (shared->window_wanted.load() || shared->generator.renewal_taken())
			timeout = extend_window();
		if (timeout == kForever && shared->generator.last() != last_seen)
			timeout = kClockWatchInterval;
		last_seen = shared->generator.last();

		MemoryContextReset(CurrentMemoryContext);
		wait(timeout);
	}
}

extern "C" void
snowflake_keeper_exit(int, Datum)
{
	shared->keeper_latch.store(nullptr);
	shared->keeper_pid.store(0);
}

void
register_keeper()
{
	BackgroundWorker worker = {};

	strlcpy(worker.bgw_name, "snowflake keeper", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "snowflake keeper", sizeof(worker.bgw_type));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = kRestartSeconds;
	strlcpy(worker.bgw_library_name, "snowflake", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "snowflake_keeper_main", sizeof(worker.bgw_function_name));
	RegisterBackgroundWorker(&worker);
}

} // namespace snowflake

void
snowflake_keeper_main(Datum)
{
	using namespace snowflake;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();

	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "snowflake keeper",
												ALLOCSET_SMALL_SIZES));
	on_shmem_exit(snowflake_keeper_exit, 0);
	shared->keeper_pid.store(MyProcPid);
	shared->keeper_latch.store(MyLatch);

	PG_TRY();
	{
		run();
	}
	PG_CATCH();
	{
		/* The lock that was held may be ours. */
		LWLockReleaseAll();
		MemoryContextSwitchTo(TopMemoryContext);

		const ErrorData *error = CopyErrorData();

		record_failure(error->message, error->hint);
		PG_RE_THROW();
	}
	PG_END_TRY();
}
