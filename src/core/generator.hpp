/*
 * generator.hpp
 *		The generator: one word that counts ticks, and one that says how far it
 *		may count.
 *
 * Thread safety: claim() and take_renewal() may be called by any number of
 * threads or processes at once.  close(), publish() and open() belong to one
 * of them, the keeper.
 *
 * Invariants:
 *
 * 1. The tick only grows while it is open, and every claim takes its ticks by
 *	  a compare-and-swap on it.  So no tick is claimed twice, and a claim that
 *	  returned before another one began has the smaller ticks.
 * 2. The worker ID changes only while the tick is closed, and the tick is
 *	  reopened above every tick that was claimed before.  A caller reads the
 *	  tick, then the window, then swaps on the tick: when the swap succeeds the
 *	  tick had not been closed since it was read, so the window that was read
 *	  in between is the one that goes with it.
 * 3. No claim passes the window's end, nor the clock by more than max_ahead.
 *	  The window's end never passes the durable high-water mark; that is the
 *	  keeper's job.
 *
 * The class is a template over the atomic so that a test can step through the
 * interleavings one by one.
 */
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "layout.hpp"

namespace snowflake
{

/*
 * How far the worker ID may be used: for ticks whose own millisecond is before
 * `until` (since the layout's epoch, 0 to kEndOfTime).  Packed into one word, so
 * that a caller reads a consistent pair.
 */
struct Window
{
	int32_t		worker;
	int64_t		until;

	constexpr uint64_t
	pack() const noexcept
	{
		return static_cast<uint64_t>(until) << kMaxWorkerBits |
			   static_cast<uint64_t>(worker);
	}

	static constexpr Window
	unpack(uint64_t word) noexcept
	{
		return {static_cast<int32_t>(word & ((1u << kMaxWorkerBits) - 1)),
				static_cast<int64_t>(word >> kMaxWorkerBits)};
	}

	bool		operator==(const Window &) const = default;
};

/* Why a claim got fewer ticks than it asked for. */
enum class Shortfall : uint8_t
{
	kNone,
	kClosed,					/* the keeper has not opened the generator */
	kWindow,					/* the keeper has to extend the window */
	kLead,						/* the clock has to catch up */
	kExhausted,					/* the time bits are used up */
};

/* The ticks first to first + count - 1 are the caller's, as this worker. */
struct Claim
{
	int64_t		first;
	int32_t		count;
	int32_t		worker;
	Shortfall	shortfall;		/* kNone if and only if the claim got all it wanted */
	bool		renew;			/* the window is half used: see take_renewal() */
};

/*
 * True for half of all milliseconds, without a pattern among evenly spaced ones:
 * multiplicative hashing (Knuth, The Art of Computer Programming volume 3,
 * section 6.4), applied twice, since once leaves such a pattern.
 */
constexpr bool
starts_one_further(int64_t ms) noexcept
{
	constexpr uint64_t kGoldenRatio = 0x9e3779b97f4a7c15;	/* of 2^64 */
	uint64_t	hash = static_cast<uint64_t>(ms) * kGoldenRatio;

	hash = (hash ^ hash >> 32) * kGoldenRatio;
	return hash >> 63;
}

/*
 * The first tick to claim in a millisecond that has no claim yet; last is below it.
 *
 * It continues the sequence, modulo 64, instead of starting at 0: that way the low
 * bits cycle at a low rate, too, and id % 16 spreads over shards.  In half of the
 * milliseconds it skips one more; otherwise the first IDs of a client that always
 * takes two at a time would all be even.  64 is the size of the smallest sequence
 * that a layout can have.
 */
constexpr int64_t
fresh_tick(const Layout &layout, int64_t last, int64_t ms) noexcept
{
	constexpr int64_t kRoundMask = (int64_t{1} << kMinSequenceBits) - 1;

	return layout.tick_of(ms) | ((last + 1 + starts_one_further(ms)) & kRoundMask);
}

/*
 * What a claim would take: the pure step inside the compare-and-swap loop.
 *
 * last: the newest tick.  now: milliseconds since the epoch, in the range of
 * Layout::since_epoch().  max_ahead: milliseconds, not negative.
 */
constexpr Claim
next_claim(const Layout &layout, int64_t last, const Window &window,
		   int32_t wanted, int64_t now, int64_t max_ahead) noexcept
{
	const int64_t first = last >= layout.tick_of(now) ? last + 1 : fresh_tick(layout, last, now);
	const int64_t lead_end = now + max_ahead + 1;
	const int64_t room = layout.tick_of(std::min(window.until, lead_end)) - first;

	if (room >= wanted) [[likely]]
		return {first, wanted, window.worker, Shortfall::kNone, false};

	const int64_t count = std::max<int64_t>(room, 0);
	const int64_t blocked_ms = layout.ms_of(first + count);

	return {first, static_cast<int32_t>(count), window.worker,
			blocked_ms >= kEndOfTime ? Shortfall::kExhausted :
			blocked_ms >= lead_end	 ? Shortfall::kLead :
									   Shortfall::kWindow,
			false};
}

template <template <typename> class Atomic>
class BasicGenerator
{
public:
	/* The tick while nobody may claim: greater than any real one. */
	static constexpr int64_t kClosed = std::numeric_limits<int64_t>::max();

	/*
	 * Takes up to `wanted` (at least 1) ticks in one swap.  Never waits: the
	 * result says how many it got, and why not more.
	 */
	Claim
	claim(const Layout &layout, int32_t wanted, int64_t now, int64_t max_ahead) noexcept
	{
		/*
		 * Acquire pairs with the release in open(): whoever sees a reopened
		 * tick sees the window that was published before it.
		 */
		int64_t		last = tick_.load(std::memory_order_acquire);

		for (;;)
		{
			if (last == kClosed) [[unlikely]]
				return {0, 0, 0, Shortfall::kClosed, false};

			/*
			 * Acquire pairs with the release in publish(): whoever sees a
			 * window that was published behind a closed tick cannot swap on a
			 * tick from before it was closed.  It also keeps the swap below
			 * from being reordered before this load.
			 */
			const Window window = Window::unpack(window_.load(std::memory_order_acquire));
			Claim		claim = next_claim(layout, last, window, wanted, now, max_ahead);

			if (claim.count == 0) [[unlikely]]
				return claim;

			/*
			 * Acquire on failure, as for the first load.  Release on success
			 * pairs with the acquire in last(): whoever sees this tick sees
			 * what the caller announced before; see announcement.hpp.
			 */
			const int64_t newest = claim.first + claim.count - 1;

			if (tick_.compare_exchange_weak(last, newest, std::memory_order_acq_rel,
											std::memory_order_acquire)) [[likely]]
			{
				/* A hint, guards nothing: relaxed. */
				claim.renew = newest >= renew_at_.load(std::memory_order_relaxed);
				return claim;
			}
		}
	}

	/*
	 * True for the first caller whose claim says renew after a publish(): that
	 * caller has to wake the keeper.
	 */
	bool
	take_renewal() noexcept
	{
		return renew_at_.exchange(kNever, std::memory_order_relaxed) != kNever;
	}

	/* Has a caller taken the renewal since the last publish()? */
	bool
	renewal_taken() const noexcept
	{
		return renew_at_.load(std::memory_order_relaxed) == kNever;
	}

	/* The newest tick, or kClosed. */
	int64_t
	last() const noexcept
	{
		return tick_.load(std::memory_order_acquire);
	}

	Window
	window() const noexcept
	{
		return Window::unpack(window_.load(std::memory_order_acquire));
	}

	/*
	 * Keeper only: stops all claims.  Returns exactly the newest tick that was
	 * claimed, or kClosed if it was already closed.
	 */
	int64_t
	close() noexcept
	{
		return tick_.exchange(kClosed, std::memory_order_acquire);
	}

	/*
	 * Keeper only: replaces the window.  While the tick is open, only to extend
	 * it for the same worker.  The caller whose claim reaches renew_at (a tick)
	 * is told to wake the keeper.
	 */
	void
	publish(const Window &window, int64_t renew_at) noexcept
	{
		window_.store(window.pack(), std::memory_order_release);
		renew_at_.store(renew_at, std::memory_order_relaxed);
	}

	/*
	 * Keeper only: lets claims continue from last + 1.  After a change of worker,
	 * `last` itself must be above every tick that was claimed before; otherwise a
	 * delayed caller could swap on the tick that it had read, with the window that
	 * it had read.  So pass the first tick of the next millisecond, which is then
	 * not claimed.
	 */
	void
	open(int64_t last) noexcept
	{
		tick_.store(last, std::memory_order_release);
	}

private:
	static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

	/*
	 * The tick is written by every claim, the window only every few seconds:
	 * they must not share a cache line (nor a pair of adjacent ones, which some
	 * processors fetch together).
	 */
	alignas(128) Atomic<int64_t> tick_{kClosed};
	alignas(128) Atomic<uint64_t> window_{0};
	Atomic<int64_t> renew_at_{kNever};
};

using Generator = BasicGenerator<std::atomic>;

/* It lives in shared memory, where a lock hidden in the library would not work. */
static_assert(std::atomic<int64_t>::is_always_lock_free);
static_assert(std::atomic<uint64_t>::is_always_lock_free);
static_assert(sizeof(Generator) == 256 && alignof(Generator) == 128);
static_assert(std::is_trivially_destructible_v<Generator>);

} // namespace snowflake
