/*
 * counters.hpp
 *		The counters behind snowflake_status(); each backend writes only its own.
 *
 * There is one slot for each possible backend, on cache lines of its own; readers
 * sum them up.  A backend that exits leaves its numbers to the next one that gets
 * the slot.  The counters guard nothing: all accesses are relaxed, and since a
 * slot has one writer at a time, adding takes no locked instruction.
 */
#pragma once

#include <atomic>
#include <cstdint>

namespace snowflake
{

class RelaxedCounter
{
public:
	void
	add(uint64_t n) noexcept
	{
		value_.store(get() + n, std::memory_order_relaxed);
	}

	void
	raise_to(uint64_t n) noexcept
	{
		if (n > get()) [[unlikely]]
			value_.store(n, std::memory_order_relaxed);
	}

	void
	reset() noexcept
	{
		value_.store(0, std::memory_order_relaxed);
	}

	uint64_t
	get() const noexcept
	{
		return value_.load(std::memory_order_relaxed);
	}

	RelaxedCounter() = default;

	RelaxedCounter &
	operator=(const RelaxedCounter &other) noexcept
	{
		value_.store(other.get(), std::memory_order_relaxed);
		return *this;
	}

private:
	std::atomic<uint64_t> value_{0};
};

struct alignas(128) Counters
{
	RelaxedCounter ids;				/* ticks claimed */
	RelaxedCounter max_lead;		/* milliseconds */
	RelaxedCounter clock_waits;		/* calls that waited for the clock */
	RelaxedCounter clock_wait_us;
	RelaxedCounter window_waits;	/* calls that waited for the keeper */
	RelaxedCounter window_wait_us;
};

static_assert(sizeof(Counters) == 128);

} // namespace snowflake
