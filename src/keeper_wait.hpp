/*
 * keeper_wait.hpp
 *		Waiting for the keeper.
 */
#pragma once

#include <algorithm>
#include <cstdint>

#include "prelude.h"
#include "core/stopwatch.hpp"
#include "shared.hpp"

namespace snowflake
{

/*
 * The longest that a call waits for the keeper, in milliseconds.  Twice the time
 * that it takes to restart a keeper that has failed.
 */
inline constexpr int64_t kKeeperPatience = 10000;

/* How often a waiter checks by itself, in case a wake-up is lost. */
inline constexpr int64_t kLookInterval = 1000;

/*
 * Wakes the keeper and waits until is_done() or for `patience` milliseconds.
 * Returns false on timeout.  Cancellable.
 */
template <typename Predicate>
bool
wait_for_keeper(Predicate is_done, int64_t patience, uint32 event)
{
	const Stopwatch since_start;
	bool		done;

	for (;;)
	{
		const int64_t left = patience - since_start.elapsed_ms();

		done = is_done();
		if (done || left <= 0)
			break;
		wake_keeper();
		ConditionVariableTimedSleep(&shared->keeper_progress, std::min(left, kLookInterval), event);
	}
	ConditionVariableCancelSleep();
	return done;
}

} // namespace snowflake
