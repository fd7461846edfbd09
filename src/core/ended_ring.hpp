/*
 * ended_ring.hpp
 *		The transactions that ended last, for readers whose snapshot is older.
 *
 * Appending belongs to one process at a time; reading never waits.  A transaction
 * is appended when it has ended for everybody and before its announcement is
 * withdrawn: who finds no announcement any more finds it here.
 *
 * `latest` is the newest transaction ID that had ended when the entry was made.
 * It never falls from one entry to the next.  A snapshot that knows a newer one
 * was taken after the entry's transaction had ended, and so after those before it.
 *
 * The fences are those of a sequence lock (Boehm, Can seqlocks get along with
 * programming language memory models?, 2012): the words are relaxed, and who has
 * read one that was overwritten sees by the count that it was.
 */
#pragma once

#include <atomic>
#include <cstdint>

namespace snowflake
{

/* 64-bit transaction IDs; first: a lower bound of the transaction's first ID. */
struct Ended
{
	uint64_t	latest;
	uint64_t	xid;
	int64_t		first;
};

class EndedRing
{
public:
	static constexpr uint64_t kSize = 65536;

	/* One process at a time. */
	void
	append(const Ended &ended) noexcept
	{
		const uint64_t position = count_.load(std::memory_order_relaxed);
		Entry	   &entry = entries_[position % kSize];

		/* Pairs with the fence in visit(): who reads what follows reads this count, or a later one. */
		std::atomic_thread_fence(std::memory_order_release);
		entry.latest.store(ended.latest, std::memory_order_relaxed);
		entry.xid.store(ended.xid, std::memory_order_relaxed);
		entry.first.store(ended.first, std::memory_order_relaxed);
		count_.store(position + 1, std::memory_order_release);
	}

	/*
	 * Calls visit(ended) from the newest to the oldest until it returns false.
	 * False if entries were overwritten that it had not refused yet, or while it
	 * looked at them: then what it has seen may be wrong, and is not all.
	 */
	template <typename Visit>
	bool
	visit(Visit visit) const noexcept
	{
		const uint64_t count = count_.load(std::memory_order_acquire);
		uint64_t	oldest = count;

		while (oldest > 0 && count - oldest < kSize - 1)
		{
			const Entry &entry = entries_[(oldest - 1) % kSize];

			oldest--;
			if (!visit(Ended{entry.latest.load(std::memory_order_relaxed),
							 entry.xid.load(std::memory_order_relaxed),
							 entry.first.load(std::memory_order_relaxed)}))
				return is_intact(oldest);
		}
		return oldest == 0 && is_intact(oldest);
	}

private:
	struct Entry
	{
		std::atomic<uint64_t> latest;
		std::atomic<uint64_t> xid;
		std::atomic<int64_t> first;
	};

	/* Whoever appends now overwrites the entry that is kSize before the count. */
	bool
	is_intact(uint64_t position) const noexcept
	{
		std::atomic_thread_fence(std::memory_order_acquire);
		return count_.load(std::memory_order_relaxed) < position + kSize;
	}

	alignas(128) std::atomic<uint64_t> count_{0};
	alignas(128) Entry entries_[kSize];
};

} // namespace snowflake
