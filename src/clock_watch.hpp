/*
 * clock_watch.hpp
 *		Detects when the system clock is set.
 *
 * The monotonic clock runs at the same rate, NTP's corrections included, so the
 * difference between the two changes only in steps.  Belongs to the keeper.
 */
#pragma once

#include <cstdint>

#include "prelude.h"

namespace snowflake
{

class ClockWatch
{
public:
	/* Reports a step since the last look, in the log and in shared memory. */
	void		look();

private:
	bool		known_ = false;
	int64_t		offset_ = 0;
};

} // namespace snowflake
