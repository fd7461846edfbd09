/*
 * stopwatch.hpp
 *		How long something takes, by the monotonic clock: the system clock may be
 *		the very thing that is waited for.
 */
#pragma once

#include <cstdint>

#include "compat.h"

extern "C"
{
#include "portability/instr_time.h"
}

namespace snowflake
{

class Stopwatch
{
public:
	Stopwatch()
	{
		INSTR_TIME_SET_CURRENT(start_);
	}

	int64_t
	elapsed_us() const
	{
		instr_time	now;

		INSTR_TIME_SET_CURRENT(now);
		INSTR_TIME_SUBTRACT(now, start_);
		return static_cast<int64_t>(INSTR_TIME_GET_MICROSEC(now));
	}

	int64_t
	elapsed_ms() const
	{
		return elapsed_us() / 1000;
	}

private:
	instr_time	start_;
};

} // namespace snowflake
