/*
 * clock_watch.cpp
 *		Compares the system clock with the monotonic one.
 */
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <ctime>

#include "clock_watch.hpp"

#include "now.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "timestamps.hpp"

namespace snowflake
{

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
	const int64_t now = now_ms();
	const int64_t lead = last == Generator::kClosed ? 0 : std::max<int64_t>(layout.ms_of(last) - now, 0);

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

void
ClockWatch::look()
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

} // namespace snowflake
