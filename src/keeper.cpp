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
 * Where the worker ID is leased, it takes and renews the lease, see lease.cpp,
 * and lets the window pass neither the mark nor the lease.  In recovery there is
 * no mark to be written; then the lease alone keeps the IDs apart.
 *
 * Any error ends it (one inside replorigin_advance() leaves a lock held), and
 * the postmaster starts it again after kRestartSeconds.  Its exit status is
 * always 1, since a worker that exits with 0 is not started again.
 */
#include <algorithm>
#include <cstdint>
#include <cstring>

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
#include "clock_watch.hpp"
#include "keeper.hpp"
#include "lease.hpp"
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
static constexpr long kRecoveryInterval = 500;

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

/* Was the server in recovery when this process looked last?  Then there is no mark to write. */
static bool in_recovery;

/*
 * The first millisecond in which an ID may be issued, while the generator is
 * closed.  In recovery nothing durable tells what was issued before a crash, so
 * the clock has to: as far as max_ahead allowed.
 */
static int64_t
first_ms()
{
	const int64_t floor = shared->floor.load();

	/* On a lease no ID is further ahead than that reaches, and none could be. */
	const int64_t lead = leasing() ? std::min(max_ahead, lease_duration) : max_ahead;
	const int64_t beyond_lead = now_ms() + lead + 1;
	int64_t		first = floor;

	if (in_recovery)
	{
		if (floor == 0)
			first = beyond_lead;
	}
	else
	{
		const Mark	mark = read_mark();

		first = std::max(floor, layout.since_epoch(mark.unix_ms));
		if (is_of_earlier_timeline(mark))
			first = std::max(first, beyond_lead);
	}
	return std::clamp<int64_t>(first, 0, kEndOfTime);
}

/*
 * Stops all claims, and remembers where they stopped.  Returns the newest tick,
 * or kClosed if the generator was closed already.
 */
static int64_t
close_generator()
{
	const int64_t last = shared->generator.close();

	if (last != Generator::kClosed)
		shared->floor.store(layout.ms_of(last) + 1);
	return last;
}

[[noreturn]] static void
shut_down()
{
	if (leasing())
	{
		close_generator();
		give_back_lease(shared->floor.load());
	}
	proc_exit(1);
}

/*
 * Sleeps until the latch is set, timeout milliseconds have passed, or the socket
 * has one of those events.
 */
static void
wait(long timeout, const LeaseWait &lease = {kForever, PGINVALID_SOCKET, 0})
{
	static uint32 event = 0;
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | lease.events;

	if (lease.timeout != kForever)
		timeout = timeout == kForever ? lease.timeout : std::min(timeout, lease.timeout);
	if (timeout != kForever)
		events |= WL_TIMEOUT;

	if (WaitLatchOrSocket(MyLatch, events, lease.socket, timeout,
						  EXTENSION_WAIT_EVENT(event, "SnowflakeKeeperMain")) & lease.events)
		lease_is_ready();
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ShutdownRequestPending)
		shut_down();
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

static int32_t
current_worker()
{
	return worker_id >= 0 ? worker_id : shared->lease.worker;
}

/*
 * Raises the mark to `target`, durably, and only then the window.  Both are
 * milliseconds since the epoch.  `base` is the time that IDs have now; half way
 * from there the next caller wakes the keeper.
 *
 * The wait for a standby may be long.  When a registry has come meanwhile, by a
 * reload, the lease decides, and it was not asked.
 */
static void
extend_window_to(int64_t target, int64_t base)
{
	const bool	leased = leasing();

	set_attempt("writing the mark");
	if (!in_recovery)
		wait_for_standbys(raise_mark(unix_ms(target)));
	if (leasing() != leased)
	{
		record_success();
		SetLatch(MyLatch);
		return;
	}
	shared->generator.publish({current_worker(), target},
							  layout.tick_of(base + (target - base) / 2));
	record_success();
	ConditionVariableBroadcast(&shared->keeper_did);
}

/* The time that IDs have now. */
static int64_t
current_ms()
{
	const int64_t last = shared->generator.last();

	return std::max(now_ms(), last == Generator::kClosed ? 0 : layout.ms_of(last));
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
	const int64_t base = current_ms();
	const int64_t target = std::min({base + kWindowLength,
									 now_ms() + max_ahead + kWindowMargin,
									 leasing() ? shared->lease.until : kEndOfTime});
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
	const int64_t last = close_generator();

	set_attempt("writing the mark");
	wait_for_standbys(raise_mark(read_mark().unix_ms));
	record_success();
	shared->generator.open(last);
	ConditionVariableBroadcast(&shared->keeper_did);
}

/*
 * May the generator be open?  In recovery not without a lease, and with a
 * registry not before the first one.
 */
static bool
may_issue()
{
	return leasing() ? shared->lease.until > 0 : !in_recovery;
}

static bool
mark_is_below(int64_t ms)
{
	const Mark	mark = read_mark();

	return ms > std::max<int64_t>(layout.since_epoch(mark.unix_ms), 0) || is_of_earlier_timeline(mark);
}

/*
 * Opens the generator, with nothing to issue: the first caller has the window
 * extended.
 *
 * It opens at the mark, or above.  After a promotion, IDs may have been handed
 * out that were not replicated.  Those that did not lead our clock by more than
 * max_ahead are below the start that is taken then, and starting there costs a
 * wait of a millisecond.  Until the mark is raised that far, it is of an earlier
 * timeline.
 *
 * The tick at which it opens is not issued.  With another worker ID than before,
 * a caller that was held up might else swap on the tick that it had read, with
 * the window that it had read.
 */
static void
open_generator()
{
	int64_t		start = first_ms();

	if (leasing())
		start = std::max(start, shared->lease.from);
	if (!in_recovery && mark_is_below(start))
	{
		set_attempt("writing the mark");
		raise_mark(unix_ms(start));
		record_success();
	}

	const int64_t last = layout.tick_of(start);

	shared->opened_at.store(last);
	shared->opened_in_recovery.store(in_recovery);
	shared->generator.publish({current_worker(), start}, last);
	shared->generator.open(last);
	ConditionVariableBroadcast(&shared->keeper_did);
}

/* There is a new lease, most likely of another worker ID: the closing protocol. */
static void
change_lease()
{
	const int32_t previous = shared->lease.worker;
	const bool	first = shared->lease.until == 0;

	close_generator();
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->lease = new_lease();
	LWLockRelease(shared->lock);
	open_generator();

	ereport(LOG, (errmsg("snowflake IDs are issued as worker %d", shared->lease.worker),
				  first ? errdetail("The registry leases it until %s.", to_text(unix_ms(shared->lease.until)))
						: errdetail("The registry leases it until %s. It was worker %d before.",
									to_text(unix_ms(shared->lease.until)), previous)));
}

/*
 * Carries out snowflake_forget_mark(): the generator starts from the clock
 * again.  The only time that a mark is lowered, and that the tick is reopened
 * below what it was.  A lease reaches where the mark was: another one is taken.
 */
static void
forget_mark()
{
	const uint64_t requested = shared->forget_requested.load();
	const int64_t now = std::max<int64_t>(now_ms(), 0);
	const int64_t forgotten = read_mark().unix_ms;

	set_attempt("forgetting the mark");
	close_generator();
	force_mark(unix_ms(now));
	shared->floor.store(0);
	if (leasing())
		forget_lease();
	else
		open_generator();
	record_success();

	ereport(LOG, (errmsg("snowflake mark was forgotten"),
				  leasing() ? errdetail("It was %s and is %s; another lease is taken.",
										to_text(forgotten), to_text(unix_ms(now)))
							: errdetail("It was %s and is %s; IDs are issued as worker %d.",
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
 * The promotion of a server that has issued IDs on a lease of its own, which goes
 * on.  From here on the mark counts; the data that were taken over may have IDs
 * up to there.
 */
static void
end_recovery()
{
	close_generator();
	in_recovery = false;
}

static bool
is_open()
{
	return shared->generator.last() != Generator::kClosed;
}

[[noreturn]] static void
run()
{
	ClockWatch	clock_watch;
	StandbyWatch standby_watch;
	int64_t		last_seen = -1;
	bool		was_leasing;

	back_off();
	in_recovery = RecoveryInProgress();
	while (in_recovery && !(leasing() && read_pinned_layout()))
	{
		wait(kRecoveryInterval);
		in_recovery = RecoveryInProgress();
	}

	if (!check_pinned_layout())
	{
		/* Callers find out by themselves; only a restart can help. */
		ereport(WARNING, (errmsg("no snowflake IDs are issued: the configured layout is not the one of this cluster's IDs")));
		for (;;)
			wait(kForever);
	}

	/*
	 * An open generator is one that a keeper before this one has opened, and is
	 * as good as ever, unless that was in recovery.
	 */
	if (is_open() && !in_recovery && is_of_earlier_timeline(read_mark()))
		end_recovery();

	was_leasing = leasing();
	for (;;)
	{
		long		timeout = kForever;
		LeaseWait	lease = {kForever, PGINVALID_SOCKET, 0};

		clock_watch.look();
		if (in_recovery && !RecoveryInProgress())
			end_recovery();
		/* What is closed will open with a window that is empty. */
		if (!in_recovery && standby_watch.asks_others() && is_open())
			hold_for_standbys();
		/* A reload has brought a registry, or taken it away: the window is not of that kind. */
		if (leasing() != was_leasing || !may_issue())
			close_generator();
		was_leasing = leasing();
		if (shared->forget_requested.load() != shared->forget_done.load())
			forget_mark();
		if (leasing())
		{
			if (tend_lease(now_ms(), current_ms()))
				change_lease();
			lease = lease_wait(now_ms());
		}
		/* Whatever has closed it, be it a keeper that died before it had it open. */
		if (!is_open() && may_issue())
			open_generator();
		if (is_open() && (shared->window_wanted.load() || shared->generator.renewal_taken()))
			timeout = extend_window();
		if (timeout == kForever && shared->generator.last() != last_seen)
			timeout = kClockWatchInterval;
		if (in_recovery)
			timeout = timeout == kForever ? kRecoveryInterval : std::min(timeout, kRecoveryInterval);
		last_seen = shared->generator.last();

		MemoryContextReset(CurrentMemoryContext);
		wait(timeout, lease);
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
