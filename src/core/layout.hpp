/*
 * layout.hpp
 *		How the 63 bits of an ID divide, and the conversions between an ID, its
 *		fields and a tick.
 *
 *		 63 62                        22 21      12 11        0
 *		+--+---------------------------+----------+-----------+
 *		| 0| 41 bits of milliseconds   | worker   | sequence  |
 *		+--+---------------------------+----------+-----------+
 *
 * The milliseconds count from the layout's epoch.  Worker and sequence share
 * 22 bits: worker_bits (1 to 16) of them are the worker's.  The sign bit stays
 * clear, so that IDs sort as bigint in the order in which they were made.
 *
 * A tick is an ID without its worker: ms << sequence_bits | sequence.  It is
 * what the generator counts.  All of this is plain C++: nothing here knows of
 * PostgreSQL, and nothing throws.
 */
#pragma once

#include <algorithm>
#include <cstdint>

namespace snowflake
{

inline constexpr int kTimestampBits = 41;
inline constexpr int kWorkerAndSequenceBits = 22; /* worker and sequence together */
inline constexpr int kMinWorkerBits = 1;
inline constexpr int kMaxWorkerBits = 16;

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

struct Layout
{
	int64_t		epoch_ms;	/* Unix milliseconds */
	int			worker_bits;

	bool		operator==(const Layout &) const = default;

	constexpr int
	sequence_bits() const noexcept
	{
		return kWorkerAndSequenceBits - worker_bits;
	}

	constexpr int32_t
	max_worker() const noexcept
	{
		return (int32_t{1} << worker_bits) - 1;
	}

	constexpr int32_t
	max_sequence() const noexcept
	{
		return (int32_t{1} << sequence_bits()) - 1;
	}

	/* The fields must be in range. */
	constexpr int64_t
	compose(const Fields &fields) const noexcept
	{
		return fields.ms << kWorkerAndSequenceBits |
			   int64_t{fields.worker} << sequence_bits() | fields.sequence;
	}

	/* The fields of an ID that is not negative. */
	constexpr Fields
	decompose(int64_t id) const noexcept
	{
		return {id >> kWorkerAndSequenceBits,
				static_cast<int32_t>(id >> sequence_bits()) & max_worker(),
				static_cast<int32_t>(id) & max_sequence()};
	}

	/* The first tick of a millisecond. */
	constexpr int64_t
	tick_of(int64_t ms) const noexcept
	{
		return ms << sequence_bits();
	}

	constexpr int64_t
	ms_of(int64_t tick) const noexcept
	{
		return tick >> sequence_bits();
	}

	constexpr int64_t
	id_of(int64_t tick, int32_t worker) const noexcept
	{
		return compose({ms_of(tick), worker,
						static_cast<int32_t>(tick) & max_sequence()});
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
};

} // namespace snowflake
