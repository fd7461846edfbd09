/*
 * keeper.cpp
 *		The keeper: a background worker that opens the generator at the mark, and
 *		extends the window, but never past a mark that is durable.
 *
 * keeper_state.hpp has its life as a picture and as a function.  Here it is
 * lived: facts are observed, the next state is entered, and an open generator's
 * window is extended, see window_writer.hpp.  The keeper is the only writer of
 * window and mark.  It uses shared memory only, no database; it initialises as a
 * backend all the same, to stand in pg_stat_activity and to be ended by SQL.
 *
 * It sleeps until somebody needs it: the caller whose claim passes the middle of
 * the window, a caller who finds the window used up, or snowflake_forget_mark().
 * So while IDs are issued the window is always ahead, and without them nothing
 * is written.
 *
 * Where the worker ID is leased, it takes and renews the lease, see lease.cpp.
 *
 * Any error ends it (one inside replorigin_advance() leaves a lock held), and
 * the postmaster starts it again after kRestartSeconds.  Its exit status is
 * always 1, since a worker that exits with 0 is not started again.
 */
#include <algorithm>
#include <cstdint>

#include "compat.h"

extern "C"
{
#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
}

#include "clock_watch.hpp"
#include "keeper.hpp"
#include "keeper_report.hpp"
#include "keeper_state.hpp"
#include "lease.hpp"
#include "mark.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "stopwatch.hpp"
#include "timestamps.hpp"
#include "window_writer.hpp"

extern "C" PGDLLEXPORT void snowflake_keeper_main(Datum);

namespace snowflake
{

static constexpr int kRestartSeconds = 5;
static constexpr int kLongestBackOffSeconds = 60;

/* How often to look whether the recovery has ended. */
static constexpr long kRecoveryInterval = 500;

static constexpr long kForever = WindowWriter::kForever;

/* The sooner of two timeouts. */
static long
sooner(long a, long b)
{
	return a == kForever ? b : b == kForever ? a : std::min(a, b);
}

class Keeper
{
public:
	/* Returns when the keeper is to end. */
	void		run();

private:
	void		back_off();
	KeeperFacts observe();
	void		enter(KeeperState state);
	void		work_while_closed(const KeeperFacts &facts);
	void		take_over_lease();
	void		forget_mark();
	void		sleep(long timeout);
	void		read_configuration();
	void		end();

	/* Is the lease, rather than the configuration, what counts at present? */
	bool
	leases() const
	{
		return leasing() && (!in_recovery_ || leases_in_recovery());
	}

	KeeperState state_ = KeeperState::kWaitingForRecovery;
	bool		in_recovery_ = true;
	bool		lease_waits_ = false;
	WindowWriter window_;
	ClockWatch	clock_watch_;
};

KeeperFacts
Keeper::observe()
{
	in_recovery_ = in_recovery_ && RecoveryInProgress();
	clock_watch_.look();
	if (leases() && !lease_waits_)
		lease_waits_ = tend_lease(now_ms(), window_.current_ms());

	const auto	pinned = read_pinned_layout();

	return {
		.in_recovery = in_recovery_,
		.issues_in_recovery = leases_in_recovery(),
		.wrong_layout = pinned && *pinned != layout,
		.has_worker = !leasing() || shared->lease.until > 0,
		.lease_waits = lease_waits_,
		.forget_waits = shared->forget_request.waits(),
		.standbys_changed = !in_recovery_ && window_.standbys_changed(),
		.opened_in_recovery = shared->opened_in_recovery.load(),
	};
}

/*
 * An open generator is left by closing it.  One that a keeper before this one
 * has opened is as good as ever.
 */
void
Keeper::enter(KeeperState state)
{
	if (state == KeeperState::kOpen)
		window_.open(in_recovery_);
	else if (state_ != KeeperState::kClosed)
		window_.close();
	state_ = state;
	if (state == KeeperState::kWrongLayout)
		/* Callers find out by themselves; only a restart can help. */
		ereport(WARNING, (errmsg("no snowflake IDs are issued: the configured layout is not the one of this cluster's IDs")));
}

/* There is a new lease, most likely of another worker ID. */
void
Keeper::take_over_lease()
{
	const Lease previous = shared->lease;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->lease = new_lease();
	LWLockRelease(shared->lock);
	lease_waits_ = false;

	char	   *until = to_text(layout.epoch_ms + shared->lease.until);

	ereport(LOG, (errmsg("snowflake IDs are issued as worker %d", shared->lease.worker),
				  previous.until == 0 ? errdetail("The registry leases it until %s.", until)
									  : errdetail("The registry leases it until %s. It was worker %d before.",
												  until, previous.worker)));
}

/*
 * Carries out snowflake_forget_mark(): the generator starts from the clock
 * again.  The only time that a mark is lowered, and that the tick is reopened
 * below what it was.  A configured worker ID must not have been used for later
 * IDs; of those of this run the server knows.  A lease reaches where the mark
 * was: another one is taken.
 */
void
Keeper::forget_mark()
{
	const int64_t now = std::max<int64_t>(now_ms(), 0);
	const int64_t forgotten = read_mark().unix_ms;

	if (!shared->forget_request.take())
		return;
	if (!leasing() && shared->issued_until.load() > now)
	{
		shared->forget_request.finish(ForgetRequest::Phase::kRefused);
		ConditionVariableBroadcast(&shared->keeper_did);
		return;
	}
	set_attempt("forgetting the mark");
	window_.forget_mark(now);
	if (leasing())
	{
		forget_lease();
		lease_waits_ = false;
	}
	record_success();

	char	   *detail = psprintf("It was %s and is %s", to_text(forgotten), to_text(layout.epoch_ms + now));

	ereport(LOG, (errmsg("snowflake mark was forgotten"),
				  leasing() ? errdetail("%s; another lease is taken.", detail)
							: errdetail("%s; IDs are issued as worker %d.", detail, worker_id)));
	shared->forget_request.finish(ForgetRequest::Phase::kDone);
	ConditionVariableBroadcast(&shared->keeper_did);
}

void
Keeper::work_while_closed(const KeeperFacts &facts)
{
	if (facts.forget_waits)
		forget_mark();
	else
		take_over_lease();
}

/* A registry that comes by a reload would be one that other servers do not ask yet. */
void
Keeper::read_configuration()
{
	const bool	had_registry = *registry_conninfo != '\0';

	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	window_.configuration_was_read();
	if (!leasing() && !had_registry && *registry_conninfo != '\0')
		ereport(LOG, (errmsg("parameter \"%s\" takes effect when the server is restarted", "snowflake.registry"),
					  errdetail("Until then IDs are issued as worker %d, without a lease.", worker_id)));
}

/*
 * Until the latch is set, timeout milliseconds have passed, or the registry has
 * answered.
 */
void
Keeper::sleep(long timeout)
{
	static uint32 event = 0;
	const LeaseWait lease = leases() ? lease_wait(now_ms()) : LeaseWait{kForever, PGINVALID_SOCKET, 0};
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | lease.events;

	timeout = sooner(timeout, lease.timeout);
	if (in_recovery_)
		timeout = sooner(timeout, kRecoveryInterval);
	if (timeout != kForever)
		events |= WL_TIMEOUT;

	MemoryContextReset(CurrentMemoryContext);
	if (WaitLatchOrSocket(MyLatch, events, lease.socket, timeout,
						  EXTENSION_WAIT_EVENT(event, "SnowflakeKeeperMain")) & lease.events)
		lease_is_ready();
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
		read_configuration();
}

/*
 * Waits before the next attempt when more than one has failed: twice as long
 * each time, so that the log does not fill up.  Callers cannot hurry it.
 */
void
Keeper::back_off()
{
	const int	failures = failures_in_a_row();

	if (failures < 2)
		return;

	/* The postmaster has waited for kRestartSeconds already. */
	const int64_t total = 1000 * (std::min<int64_t>(int64_t{kRestartSeconds} << std::min(failures - 1, 10),
													kLongestBackOffSeconds) -
								  kRestartSeconds);
	const Stopwatch stopwatch;

	for (int64_t left = total; left > 0 && !ShutdownRequestPending; left = total - stopwatch.elapsed_ms())
		sleep(left);
}

void
Keeper::end()
{
	if (!leasing())
		return;
	window_.close();
	give_back_lease(shared->unissued_from.load());
}

void
Keeper::run()
{
	in_recovery_ = RecoveryInProgress();
	shared->forget_request.finish(ForgetRequest::Phase::kFailed);
	back_off();
	if (window_.is_open())
		state_ = KeeperState::kOpen;

	while (!ShutdownRequestPending)
	{
		const KeeperFacts facts = observe();
		const KeeperState next = next_state(state_, facts);
		long		timeout = kForever;

		if (next != state_)
		{
			enter(next);
			continue;
		}
		if (state_ == KeeperState::kClosed && has_work_while_closed(facts))
		{
			work_while_closed(facts);
			continue;
		}
		if (state_ == KeeperState::kOpen)
			timeout = window_.extend(in_recovery_);
		sleep(timeout);
	}
	end();
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
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
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
	BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);

	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "snowflake keeper",
												ALLOCSET_SMALL_SIZES));
	on_shmem_exit(snowflake_keeper_exit, 0);
	shared->keeper_pid.store(MyProcPid);
	shared->keeper_latch.store(MyLatch);

	PG_TRY();
	{
		Keeper().run();
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
	proc_exit(1);
}
