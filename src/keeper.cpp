/*
 * keeper.cpp
 *		The keeper's main loop, and what it does in each change of state.
 */
#include <algorithm>
#include <cstdint>
#include <optional>

#include "prelude.h"

extern "C"
{
#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "utils/guc.h"
#include "utils/memutils.h"
}

#include "core/stopwatch.hpp"
#include "keeper.hpp"
#include "keeper_report.hpp"
#include "mark.hpp"
#include "newest_id.hpp"
#include "now.hpp"
#include "prepared.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "timestamps.hpp"

namespace snowflake
{

static constexpr int kLongestBackOffSeconds = 60;

/* How often to check whether recovery has ended. */
static constexpr long kRecoveryInterval = 500;

static constexpr long kForever = WindowWriter::kForever;

/* The sooner of two timeouts. */
static long
sooner(long a, long b)
{
	return a == kForever ? b : b == kForever ? a : std::min(a, b);
}

KeeperFacts
Keeper::observe()
{
	in_recovery_ = in_recovery_ && RecoveryInProgress();
	clock_watch_.look();
	if (!in_recovery_)
	{
		find_prepared();
		learn_newest_id();
	}
	if (leases() && !new_lease_)
		new_lease_ = lease_.tend(now_ms(), window_.current_ms());

	const auto	pinned = read_pinned_layout();

	return {
		.in_recovery = in_recovery_,
		.issues_in_recovery = leases_in_recovery(),
		.wrong_layout = pinned && *pinned != layout,
		.has_worker = !leasing() || shared->lease.until > 0,
		.lease_waits = new_lease_.has_value(),
		.forget_waits = shared->forget_request.waits(),
		.standbys_changed = !in_recovery_ && window_.standbys_changed(),
		.opened_in_recovery = shared->opened_in_recovery.load(),
	};
}

/*
 * To leave the open state is to close the generator.  A generator that a previous
 * keeper left open is still good.
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
		ereport(WARNING, (errmsg("no snowflake IDs are issued: the configured layout does not match this cluster's IDs")));
}

/*
 * Carries out snowflake_forget_mark(): the generator starts from the clock again.
 * Only here is a mark lowered, and the tick reopened below what it was.  A
 * configured worker ID must not have been used for later IDs; the server knows of
 * those that it issued in this run.  A lease reaches to where the mark was, so
 * another one is taken.
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
		ConditionVariableBroadcast(&shared->keeper_progress);
		return;
	}
	set_attempt("carrying out snowflake_forget_mark()");
	window_.forget_mark(now);
	if (leasing())
	{
		lease_.forget();
		new_lease_.reset();
	}
	record_success();

	char	   *detail = psprintf("The value of \"mark\" in snowflake_status() was %s and is now %s", to_text(forgotten), to_text(layout.unix_ms(now)));

	ereport(LOG, (errmsg("snowflake_forget_mark() has taken effect"),
				  leasing() ? errdetail("%s; another lease is taken.", detail)
							: errdetail("%s; IDs are issued as worker %d.", detail, worker_id)));
	shared->forget_request.finish(ForgetRequest::Phase::kDone);
	ConditionVariableBroadcast(&shared->keeper_progress);
}

void
Keeper::work_while_closed(const KeeperFacts &facts)
{
	if (facts.forget_waits)
	{
		forget_mark();
		return;
	}
	lease_.take_over(*new_lease_);
	new_lease_.reset();
}

/* A registry that comes with a reload may be one that other servers do not ask yet. */
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
 * Sleeps until the latch is set, timeout milliseconds have passed, or the registry
 * has answered.
 */
void
Keeper::sleep(long timeout)
{
	static uint32 event = 0;
	const RegistryWait registry = leases() ? lease_.wait(now_ms()) : RegistryWait{kForever, PGINVALID_SOCKET, 0};
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | registry.events;

	timeout = sooner(timeout, registry.timeout);
	if (in_recovery_)
		timeout = sooner(timeout, kRecoveryInterval);
	if (timeout != kForever)
		events |= WL_TIMEOUT;

	MemoryContextReset(CurrentMemoryContext);
	if (WaitLatchOrSocket(MyLatch, events, registry.socket, timeout,
						  EXTENSION_WAIT_EVENT(event, "SnowflakeKeeperMain")) & registry.events)
		lease_.socket_is_ready();
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
		read_configuration();
}

/*
 * Waits before the next attempt if more than one has failed in a row: twice as
 * long each time, so that the log does not fill up.  Callers cannot hurry it.
 */
void
Keeper::back_off()
{
	const int	failures = failures_in_a_row();

	if (failures < 2)
		return;

	/* The postmaster has waited for kKeeperRestartSeconds already. */
	const int64_t total = 1000 * (std::min<int64_t>(int64_t{kKeeperRestartSeconds} << std::min(failures - 1, 10),
													kLongestBackOffSeconds) -
								  kKeeperRestartSeconds);
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
	lease_.give_back(shared->unissued_from.load());
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

} // namespace snowflake
