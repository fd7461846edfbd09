/*
 * foreign.hpp
 *		The layout of another system's IDs: where their fields are, and how to
 *		decode them.
 *
 * It differs from ours in where the fields are, and in the unit of the time.  Some
 * systems use the sign bit, so IDs are shifted as unsigned numbers.  Bits between or
 * below the fields are ignored, but those above all fields must be clear.
 */
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

namespace snowflake
{

/* Some bits of an ID; none if the layout has no such field. */
struct BitField
{
	int			shift;			/* distance from the lowest bit, 0 to 63 */
	int			bits;			/* 0 to 63 */

	constexpr int
	end() const noexcept
	{
		return bits == 0 ? 0 : shift + bits;
	}

	constexpr uint64_t
	mask() const noexcept
	{
		return (uint64_t{1} << bits) - 1;
	}

	constexpr uint64_t
	of(uint64_t id) const noexcept
	{
		return id >> shift & mask();
	}

	/* For a field of at most 31 bits. */
	constexpr std::optional<int32_t>
	value_of(uint64_t id) const noexcept
	{
		if (bits == 0)
			return {};
		return static_cast<int32_t>(of(id));
	}
};

struct ForeignFields
{
	int64_t		unix_us;
	std::optional<int32_t> worker;
	std::optional<int32_t> sequence;

	bool		operator==(const ForeignFields &) const = default;
};

struct ForeignLayout
{
	int64_t		epoch_us;		/* Unix microseconds */
	int64_t		unit_us;		/* of the time field, at least 1 */
	BitField	time;			/* 1 bit at least */
	BitField	worker;
	BitField	sequence;

	/* How many bits there are up to the highest field's last. */
	constexpr int
	id_bits() const noexcept
	{
		return std::max({time.end(), worker.end(), sequence.end()});
	}

	/* Are the bits above all fields clear? */
	constexpr bool
	fits(int64_t id) const noexcept
	{
		const int	bits = id_bits();

		return bits == 64 || static_cast<uint64_t>(id) >> bits == 0;
	}

	/* Do all fields lie within 64 bits, and do no two overlap? */
	constexpr bool
	is_possible() const noexcept
	{
		return id_bits() <= 64 && are_apart(time, worker) && are_apart(time, sequence) && are_apart(worker, sequence);
	}

	/* Is a later ID a greater one? */
	constexpr bool
	sorts_by_time() const noexcept
	{
		return time.end() == id_bits();
	}

	/* Nothing if the time does not fit into the result. */
	constexpr std::optional<int64_t>
	unix_us(int64_t id) const noexcept
	{
		int64_t		us;

		if (__builtin_mul_overflow(time.of(static_cast<uint64_t>(id)), unit_us, &us) ||
			__builtin_add_overflow(us, epoch_us, &us))
			return {};
		return us;
	}

	/* unix_us: unix_us(id). */
	constexpr ForeignFields
	decompose(int64_t id, int64_t unix_us) const noexcept
	{
		const auto	bits = static_cast<uint64_t>(id);

		return {unix_us, worker.value_of(bits), sequence.value_of(bits)};
	}

	/*
	 * The smallest ID of this time or a later one: 0 for the epoch and earlier,
	 * nothing if there is no ID that late, or if such an ID is negative.  Requires
	 * sorts_by_time().
	 */
	constexpr std::optional<int64_t>
	min_id(int64_t unix_us) const noexcept
	{
		int64_t		since;

		if (unix_us <= epoch_us)
			return 0;
		if (__builtin_sub_overflow(unix_us, epoch_us, &since))
			return {};

		const int64_t ticks = since / unit_us + (since % unit_us > 0);

		if (static_cast<uint64_t>(ticks) > time.mask() || ticks > std::numeric_limits<int64_t>::max() >> time.shift)
			return {};
		return ticks << time.shift;
	}

private:
	static constexpr bool
	are_apart(const BitField &a, const BitField &b) noexcept
	{
		return a.bits == 0 || b.bits == 0 || a.end() <= b.shift || b.end() <= a.shift;
	}
};

} // namespace snowflake
