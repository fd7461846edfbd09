/*
 * claim.cpp
 *		Waits when no tick is available, and says why if that takes too long.
 */
#include <algorithm>
#include <cstdint>

#include "prelude.h"

extern "C"
{
#include "access/xlog.h"
#include "miscadmin.h"
}

#include "claim.hpp"
#include "core/stopwatch.hpp"
#include "keeper_wait.hpp"
#include "pin.hpp"
#include "refusals.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "transaction.hpp"

namespace snowflake
{

/* The longest that a call waits for the clock, in milliseconds (promise P3). */
static constexpr int64_t kClockPatience = 1000;

/* The longest that a call waits for a lease once the registry is known to be in trouble. */
static constexpr int64_t kLeasePatience = 1000;

Clock		backend_clock;
bool		is_ready = false;

static uint32
window_event()
{
	static uint32 event = 0;

	return EXTENSION_WAIT_EVENT(event, "SnowflakeWindowWait");
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

	const bool	trouble = shared->lease_failure.count > 0;

	LWLockRelease(shared->lock);
	return trouble;
}

/*
 * A call that found nothing to claim.
 *
 * Its patience starts anew whenever anybody gets a tick: then the clock and the
 * keeper are fine, and this is a burst that is paced at the layout's rate.
 */
class ClaimWait
{
public:
	Claim		run(int32_t wanted);

private:
	void		note_progress(const Claim &claim);
	void		wait_for_clock(int64_t blocked_ms, int64_t now);
	void		wait_for_window(int64_t blocked_ms);

	Stopwatch	since_progress_;
	int64_t		last_seen_ = -1;
	Shortfall	last_shortfall_ = Shortfall::kNone;
	bool		waited_for_clock_ = false;
	bool		waited_for_window_ = false;
};

/* Does not use claim.first, which follows the clock. */
void
ClaimWait::note_progress(const Claim &claim)
{
	const int64_t last = shared->generator.last();

	if (last != last_seen_ || claim.shortfall != last_shortfall_)
		since_progress_ = Stopwatch();
	last_seen_ = last;
	last_shortfall_ = claim.shortfall;
}

void
ClaimWait::wait_for_clock(int64_t blocked_ms, int64_t now)
{
	static uint32 event = 0;
	const int64_t deficit = blocked_ms - (now + max_ahead);
	const Stopwatch wait;

	if (deficit > kClockPatience || since_progress_.elapsed_ms() > kClockPatience)
		raise_clock_behind(blocked_ms, now);

	if (!waited_for_clock_)
		my_counters->clock_waits.add(1);
	waited_for_clock_ = true;

	ConditionVariableCancelSleep();
	WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
			  deficit, EXTENSION_WAIT_EVENT(event, "SnowflakeClockWait"));
	ResetLatch(MyLatch);
	my_counters->clock_wait_us.add(static_cast<uint64_t>(wait.elapsed_us()));
	CHECK_FOR_INTERRUPTS();
}

/* Waits for the keeper, unless it will never act. */
void
ClaimWait::wait_for_window(int64_t blocked_ms)
{
	confirm_layout();
	if (RecoveryInProgress() && !leases_in_recovery())
		raise_in_recovery();

	const bool	lease_missing = lease_is_missing(blocked_ms);
	const int64_t patience = lease_missing && registry_is_in_trouble() ? kLeasePatience : kKeeperPatience;
	const int64_t left = patience - since_progress_.elapsed_ms();
	const Stopwatch wait;

	if (left <= 0 && lease_missing)
		raise_no_lease();
	if (left <= 0)
		raise_keeper_late();

	if (!waited_for_window_)
		my_counters->window_waits.add(1);
	waited_for_window_ = true;

	shared->window_wanted.store(true);
	wake_keeper();
	ConditionVariableTimedSleep(&shared->keeper_progress, std::min(left, kLookInterval), window_event());
	my_counters->window_wait_us.add(static_cast<uint64_t>(wait.elapsed_us()));
}

Claim
ClaimWait::run(int32_t wanted)
{
	for (;;)
	{
		int64_t		now;
		const Claim claim = try_claim(wanted, &now);

		if (claim.count > 0)
		{
			ConditionVariableCancelSleep();
			return claim;
		}

		const int64_t blocked_ms = layout.ms_of(claim.first);

		note_progress(claim);
		if (claim.shortfall == Shortfall::kExhausted)
			raise_exhausted();
		if (claim.shortfall == Shortfall::kLead)
			wait_for_clock(blocked_ms, now);
		else
			wait_for_window(std::max(now, blocked_ms));
	}
}

Claim
wait_and_claim(int32_t wanted)
{
	return ClaimWait().run(wanted);
}

/*
 * After a promotion the keeper has to reopen the generator, above what is in
 * the data.  A call that finds the promotion done waits for that.
 */
static void
get_ready()
{
	if (RecoveryInProgress())
		return;
	if (!wait_for_keeper([] { return !shared->opened_in_recovery.load(); }, kKeeperPatience, window_event()))
		raise_keeper_late();
	is_ready = layout_confirmed;
}

/*
 * A bound that is the ID itself tells for how long the horizon has been held back:
 * the ID before it may be old.
 */
[[gnu::cold, gnu::noinline]] Claim
first_claim(int32_t wanted)
{
	require_layout();

	const bool	may_settle = announce_transaction();

	get_ready();

	const Claim first = claim(wanted);

	if (may_settle)
		settle_announcement(layout.id_of(first.first, first.worker));
	return first;
}

} // namespace snowflake
