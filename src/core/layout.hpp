/*
 * layout.hpp
 *		How the bits of an ID divide, and the conversions between an ID, its fields
 *		and a tick.
 *
 *		 63 62                        22 21      12 11        0
 *		+--+---------------------------+----------+-----------+
 *		| 0| 41 bits of milliseconds   | worker   | sequence  |
 *		+--+---------------------------+----------+-----------+
 *
 * The milliseconds count from the layout's epoch.  Worker and sequence share the
 * rest of the id_bits (53 to 63; the picture shows 63): worker_bits of them are
 * the worker's, the others the sequence's, which has 6 at least.  The bits above
 * id_bits stay clear.  So IDs sort as bigint in the order in which they were made,
 * and with 53 bits they are exact as a double, too.
 *
 * A tick is an ID without its worker: ms << sequence_bits | sequence.  It is
 * what the generator counts.  All of this is plain C++: nothing here knows of
 * PostgreSQL, and nothing throws.
 */
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace snowflake
{

inline constexpr int kTimestampBits = 41;
inline constexpr int kMinIdBits = 53;
inline constexpr int kMaxIdBits = 63;
inline constexpr int kMinWorkerBits = 1;
inline constexpr int kMaxWorkerBits = 16;
inline constexpr int kMinSequenceBits = 6;

/* The widest worker ID that leaves the sequence its bits. */
constexpr int
max_worker_bits(int id_bits) noexcept
{
	return std::min(kMaxWorkerBits, id_bits - kTimestampBits - kMinSequenceBits);
}

/* The first millisecond that no longer fits into the time bits. */
inline constexpr int64_t kEndOfTime = int64_t{1} << kTimestampBits;

/* What an ID is made of.  ms: since the layout's epoch, 0 to kEndOfTime - 1. */
struct Fields
{
	int64_t		ms;
	int32_t		worker;
	int32_t		sequence;

	bool		operator==(const Fields &) const = default;
};

/* What is configured, and what is pinned with the first ID. */
struct LayoutSettings
{
	int64_t		epoch_ms;	/* Unix milliseconds, not negative */
	int			worker_bits;	/* kMinWorkerBits to max_worker_bits(id_bits) */
	int			id_bits;		/* kMinIdBits to kMaxIdBits */

	constexpr
	LayoutSettings(int64_t epoch, int worker, int id) noexcept
		: epoch_ms(epoch), worker_bits(worker), id_bits(id)
	{
	}

	bool		operator==(const LayoutSettings &) const = default;

	/* With 63 bits it is the same number as before there were other widths. */
	constexpr uint64_t
	pack() const noexcept
	{
		return static_cast<uint64_t>(kMaxIdBits - id_bits) << 56 |
			   static_cast<uint64_t>(epoch_ms) << 8 |
			   static_cast<uint64_t>(worker_bits);
	}

	/* Takes any number; from one that pack() did not make, settings may be out of range. */
	static constexpr LayoutSettings
	unpack(uint64_t word) noexcept
	{
		return {static_cast<int64_t>(word << 8 >> 16), static_cast<int>(word & 0xff),
				kMaxIdBits - static_cast<int>(word >> 56)};
	}
};

/*
 * Made as a whole, so that what follows from the settings is computed once, and not
 * for each ID.
 */
struct Layout : LayoutSettings
{
	constexpr
	Layout(int64_t epoch_ms, int worker_bits, int id_bits = kMaxIdBits) noexcept
		: LayoutSettings(epoch_ms, worker_bits, id_bits),
		  time_shift_(id_bits - kTimestampBits),
		  sequence_bits_(time_shift_ - worker_bits),
		  max_worker_((int32_t{1} << worker_bits) - 1),
		  max_sequence_((int32_t{1} << sequence_bits_) - 1),
		  max_id_(std::numeric_limits<int64_t>::max() >> (kMaxIdBits - id_bits))
	{
	}

	/* Also how far the time is shifted. */
	constexpr int
	worker_and_sequence_bits() const noexcept
	{
		return time_shift_;
	}

	constexpr int
	sequence_bits() const noexcept
	{
		return sequence_bits_;
	}

	constexpr int32_t
	max_worker() const noexcept
	{
		return max_worker_;
	}

	constexpr int32_t
	max_sequence() const noexcept
	{
		return max_sequence_;
	}

	/* The greatest ID. */
	constexpr int64_t
	max_id() const noexcept
	{
		return max_id_;
	}

	/* Is it from 0 to max_id()? */
	constexpr bool
	has(int64_t id) const noexcept
	{
		return static_cast<uint64_t>(id) <= static_cast<uint64_t>(max_id_);
	}

	/* The fields must be in range. */
	constexpr int64_t
	compose(const Fields &fields) const noexcept
	{
		return fields.ms << time_shift_ | int64_t{fields.worker} << sequence_bits_ | fields.sequence;
	}

	/* The fields of an ID from 0 to max_id(). */
	constexpr Fields
	decompose(int64_t id) const noexcept
	{
		return {id >> time_shift_,
				static_cast<int32_t>(id >> sequence_bits_) & max_worker_,
				static_cast<int32_t>(id) & max_sequence_};
	}

	/* The first tick of a millisecond. */
	constexpr int64_t
	tick_of(int64_t ms) const noexcept
	{
		return ms << sequence_bits_;
	}

	constexpr int64_t
	ms_of(int64_t tick) const noexcept
	{
		return tick >> sequence_bits_;
	}

	constexpr int64_t
	id_of(int64_t tick, int32_t worker) const noexcept
	{
		return compose({ms_of(tick), worker,
						static_cast<int32_t>(tick) & max_sequence_});
	}

	/*
	 * Unix milliseconds to this layout's.  The result is clamped to
	 * [-kEndOfTime, kEndOfTime], so that no clock, however wrong, can make a
	 * later shift overflow; both ends mean "no ID has this time".
	 */
	constexpr int64_t
	since_epoch(int64_t unix_ms) const noexcept
	{
		return std::clamp(unix_ms, epoch_ms - kEndOfTime, epoch_ms + kEndOfTime) - epoch_ms;
	}

	/* This layout's milliseconds to Unix milliseconds. */
	constexpr int64_t
	unix_ms(int64_t ms) const noexcept
	{
		return epoch_ms + ms;
	}

private:
	int			time_shift_;
	int			sequence_bits_;
	int32_t		max_worker_;
	int32_t		max_sequence_;
	int64_t		max_id_;
};

} // namespace snowflake
