/*
 * announcement.hpp
 *		From which ID on a transaction may have taken some.
 *
 * One word for each backend.  It is a lower bound of the first ID of the
 * backend's transaction, announced before that ID is claimed, and withdrawn when
 * the transaction has ended for everybody.  Parallel workers announce in their
 * leader's word.
 *
 * A reader looks at the generator's newest ID first and at the announcements
 * after that.  An ID that it did not see there was claimed later than it looked;
 * one that it saw was announced before: the store here, the swap of the claim and
 * the reader's loads are release and acquire in this order.
 */
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

namespace snowflake
{

class alignas(128) Announcement
{
public:
	/* No transaction that has taken an ID. */
	static constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

	/*
	 * Keeps the smallest: a transaction has several processes.  True if nothing
	 * was announced before.
	 */
	bool
	announce(int64_t first) noexcept
	{
		int64_t		known = first_.load(std::memory_order_relaxed);

		while (first < known && !first_.compare_exchange_weak(known, first, std::memory_order_release,
															  std::memory_order_relaxed))
			;
		return known == kNone;
	}

	/*
	 * The bound turned out to be this ID: only if the caller is the transaction's
	 * only process, and was the first to announce.
	 */
	void
	settle(int64_t first) noexcept
	{
		first_.store(first, std::memory_order_release);
	}

	void
	withdraw() noexcept
	{
		first_.store(kNone, std::memory_order_release);
	}

	/* A lower bound of the transaction's first ID, or kNone. */
	int64_t
	first() const noexcept
	{
		return first_.load(std::memory_order_acquire);
	}

private:
	std::atomic<int64_t> first_{kNone};
};

static_assert(sizeof(Announcement) == 128);

} // namespace snowflake
