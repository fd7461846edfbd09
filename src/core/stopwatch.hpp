/*
 * stopwatch.hpp
 *		Measures elapsed time by the monotonic clock: the system clock may be the
 *		very thing being waited for.
 */
#pragma once

#include <cstdint>
#include <ctime>

namespace snowflake
{

class Stopwatch
{
public:
	Stopwatch() noexcept : start_us_(now_us())
	{
	}

	int64_t
	elapsed_us() const noexcept
	{
		return now_us() - start_us_;
	}

	int64_t
	elapsed_ms() const noexcept
	{
		return elapsed_us() / 1000;
	}

private:
	static int64_t
	now_us() noexcept
	{
		timespec	ts;

		clock_gettime(CLOCK_MONOTONIC, &ts);
		return int64_t{ts.tv_sec} * 1'000'000 + ts.tv_nsec / 1000;
	}

	int64_t		start_us_;
};

} // namespace snowflake
