/*
 * clock.hpp
 *		The system clock in milliseconds, read no more often than exactness needs.
 *
 * Reading the clock costs more than the rest of generating an ID.  So a backend
 * reads the processor's time-stamp counter instead, and the clock only when it
 * cannot prove that the millisecond it last read has not ended:
 *
 * - the counter was read before the clock was, so less time than the counter's
 *	 difference has passed since the clock was read;
 * - one count is taken as one nanosecond.  Every processor that has an
 *	 invariant counter runs it at 1 GHz or more, so this overestimates the time
 *	 that has passed, and the clock is merely read somewhat more often;
 * - the difference is unsigned: a counter that went back (another socket, a
 *	 restored machine) is a huge difference, and the clock is read.
 *
 * A step of the clock is noticed when the millisecond ends at the latest.  Without
 * an invariant counter (CPUID 80000007H, EDX bit 8; AMD64 Architecture
 * Programmer's Manual volume 3, appendix E.4.6), or on another processor, the
 * clock is read each time.
 *
 * One object belongs to one thread or backend.
 */
#pragma once

#include <cstdint>
#include <ctime>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

#include "layout.hpp"

namespace snowflake
{

/* A reading: Unix milliseconds, and the nanoseconds until that millisecond ends. */
struct ClockReading
{
	int64_t		unix_ms;
	uint32_t	left_ns;		/* 1 to 1000000 */
};

inline ClockReading
read_system_clock() noexcept
{
	timespec	ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return {int64_t{ts.tv_sec} * 1000 + ts.tv_nsec / 1'000'000,
			static_cast<uint32_t>(1'000'000 - ts.tv_nsec % 1'000'000)};
}

struct SystemTime
{
	static ClockReading
	clock() noexcept
	{
		return read_system_clock();
	}

#if defined(__x86_64__)
	static uint64_t
	counter() noexcept
	{
		return __rdtsc();
	}

	static bool
	counter_is_invariant() noexcept
	{
		unsigned	a, b, c, d;

		return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1u << 8));
	}
#else
	static uint64_t
	counter() noexcept
	{
		return 0;
	}

	static bool
	counter_is_invariant() noexcept
	{
		return false;
	}
#endif
};

template <typename Source>
class BasicClock
{
public:
	/* Milliseconds since the layout's epoch, clamped as in since_epoch(). */
	int64_t
	now(const Layout &layout) noexcept
	{
		if (Source::counter() - counter_ < valid_for_) [[likely]]
			return ms_;
		return read(layout);
	}

private:
	[[gnu::cold, gnu::noinline]] int64_t
	read(const Layout &layout) noexcept
	{
		if (trust_ == Trust::kUnknown)
			trust_ = Source::counter_is_invariant() ? Trust::kYes : Trust::kNo;

		counter_ = Source::counter();

		const ClockReading reading = Source::clock();

		ms_ = layout.since_epoch(reading.unix_ms);
		valid_for_ = trust_ == Trust::kYes ? reading.left_ns : 0;
		return ms_;
	}

	enum class Trust : uint8_t
	{
		kUnknown,
		kNo,
		kYes
	};

	uint64_t	counter_ = 0;
	uint64_t	valid_for_ = 0; /* counts since counter_ for which ms_ holds */
	int64_t		ms_ = 0;
	Trust		trust_ = Trust::kUnknown;
};

using Clock = BasicClock<SystemTime>;

} // namespace snowflake
