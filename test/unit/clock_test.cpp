/*
 * clock_test.cpp
 *		The clock that is read as rarely as possible shows the same as one that is
 *		read each time.
 */
#include <random>

#include <gtest/gtest.h>

#include "core/clock.hpp"

using namespace snowflake;

namespace
{

constexpr Layout kLayout{1672531200000, 10};
constexpr int64_t kStart = 1700000000000;

/* A machine whose time and counter the test moves. */
struct Machine
{
	static inline int64_t ns;				/* real time since kStart */
	static inline int64_t offset_ns;		/* of the clock against it */
	static inline double counts_per_ns;
	static inline uint64_t counter_base;
	static inline bool invariant;
	static inline int clock_reads;

	static void
	reset(double rate, bool is_invariant)
	{
		ns = 0;
		offset_ns = 0;
		counts_per_ns = rate;
		counter_base = 0;
		invariant = is_invariant;
		clock_reads = 0;
	}

	static uint64_t
	counter() noexcept
	{
		return counter_base + static_cast<uint64_t>(static_cast<double>(ns) * counts_per_ns);
	}

	static bool
	counter_is_invariant() noexcept
	{
		return invariant;
	}

	static int64_t
	clock_ms() noexcept
	{
		return kStart + (ns + offset_ns) / 1000000;
	}

	static ClockReading
	clock() noexcept
	{
		clock_reads++;
		return {clock_ms(), static_cast<uint32_t>(1000000 - (ns + offset_ns) % 1000000)};
	}
};

TEST(Clock, IsExactWhateverTheCountersRate)
{
	for (const double rate : {1.0, 1.7, 2.45, 5.0})
	{
		std::mt19937_64 random(3);
		BasicClock<Machine> clock;
		int			calls = 0;

		Machine::reset(rate, true);
		Machine::counter_base = UINT64_MAX - 1000000;	/* it wraps under way */
		while (Machine::ns < 50000000)
		{
			ASSERT_EQ(clock.now(kLayout), kLayout.since_epoch(Machine::clock_ms())) << rate;
			Machine::ns += static_cast<int64_t>(random() % 100);
			calls++;
		}
		EXPECT_LT(Machine::clock_reads, calls / 100) << "that saves nothing";
	}
}

TEST(Clock, IsReadEachTimeWithoutAnInvariantCounter)
{
	BasicClock<Machine> clock;

	Machine::reset(1.0, false);
	for (int i = 0; i < 1000; i++, Machine::ns += 7777)
		ASSERT_EQ(clock.now(kLayout), kLayout.since_epoch(Machine::clock_ms()));
	EXPECT_EQ(Machine::clock_reads, 1000);
}

TEST(Clock, IsReadAgainWhenTheCounterGoesBack)
{
	BasicClock<Machine> clock;

	Machine::reset(1.0, true);
	Machine::counter_base = 1000000000;
	clock.now(kLayout);
	Machine::counter_base -= 1000;
	clock.now(kLayout);
	EXPECT_EQ(Machine::clock_reads, 2);
}

TEST(Clock, SeesTheClockSetWithinTheMillisecond)
{
	BasicClock<Machine> clock;

	for (const int64_t step : {int64_t{-3600000000000}, int64_t{-1000000}, int64_t{1000000}, int64_t{3600000000000}})
	{
		Machine::reset(2.0, true);
		clock.now(kLayout);
		Machine::offset_ns = step;
		Machine::ns += 1000000;
		EXPECT_EQ(clock.now(kLayout), kLayout.since_epoch(Machine::clock_ms()));
	}
}

TEST(Clock, AgreesWithThisMachinesClock)
{
	Clock		clock;

	for (int i = 0; i < 1000000; i++)
	{
		const int64_t before = kLayout.since_epoch(read_system_clock().unix_ms);
		const int64_t now = clock.now(kLayout);
		const int64_t after = kLayout.since_epoch(read_system_clock().unix_ms);

		ASSERT_LE(before, now);
		ASSERT_LE(now, after);
	}
}

} // namespace
