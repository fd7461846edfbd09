/*
 * claim.hpp
 *		How a backend claims IDs: the fast path, which never waits, and the slow
 *		one for when no ID is available.
 */
#pragma once

#include <cstdint>

#include "prelude.h"
#include "core/clock.hpp"
#include "core/generator.hpp"
#include "settings.hpp"
#include "shared.hpp"

namespace snowflake
{

extern Clock backend_clock;

/*
 * The transaction is announced, the layout is the pinned one, and the server is
 * not in recovery, nor is the generator as it was opened there.
 */
extern bool is_ready;

/*
 * As claim(), for a caller that is not ready, most likely because it is the first
 * of its transaction.  Announces the transaction, and makes sure of the rest.
 */
Claim		first_claim(int32_t wanted);

/*
 * One attempt, which never waits.  Returns the time that it used in *now.
 *
 * This function and claim() are always inlined: the compiler would rather share
 * them, and passing a Claim through memory costs as much as the swap.
 */
[[gnu::always_inline]] inline Claim
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
 * Claims at least one tick, and waits for the keeper or the clock until one is
 * available.  Raises an error if that takes too long.
 */
[[gnu::cold, gnu::noinline]] Claim wait_and_claim(int32_t wanted);

[[gnu::always_inline]] inline Claim
claim(int32_t wanted)
{
	int64_t		now;
	Claim		claim = try_claim(wanted, &now);

	if (claim.count == 0) [[unlikely]]
		claim = wait_and_claim(wanted);
	return claim;
}

} // namespace snowflake
