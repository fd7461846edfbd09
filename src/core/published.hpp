/*
 * published.hpp
 *		The layouts of other systems, as they have published them, and how to
 *		decode their IDs.
 *
 * They differ from ours in where the fields are, in the unit of the time, and
 * in that some use the sign bit: those are shifted as unsigned numbers.
 */
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace snowflake
{

/* Bits of an ID; no bits if the layout has no such field. */
struct BitField
{
	int			shift;			/* distance from the lowest bit */
	int			bits;

	constexpr uint64_t
	of(uint64_t id) const noexcept
	{
		return id >> shift & ((uint64_t{1} << bits) - 1);
	}

	constexpr std::optional<int32_t>
	value_of(uint64_t id) const noexcept
	{
		if (bits == 0)
			return {};
		return static_cast<int32_t>(of(id));
	}
};

struct PublishedFields
{
	int64_t		unix_us;
	std::optional<int32_t> worker;
	std::optional<int32_t> sequence;

	bool		operator==(const PublishedFields &) const = default;
};

struct PublishedLayout
{
	const char *name;
	int64_t		epoch_ms;		/* Unix milliseconds */
	int32_t		unit_us;		/* of the time field */
	BitField	time;
	BitField	worker;
	BitField	sequence;

	/* Is the sign bit clear, or used by the layout? */
	constexpr bool
	can_be(int64_t id) const noexcept
	{
		return id >= 0 || time.shift + time.bits == 64;
	}

	/* id: can_be(id) must be true. */
	constexpr PublishedFields
	decompose(int64_t id) const noexcept
	{
		const auto	bits = static_cast<uint64_t>(id);

		return {epoch_ms * 1000 + static_cast<int64_t>(time.of(bits)) * unit_us,
				worker.value_of(bits), sequence.value_of(bits)};
	}

	/* Where the time bits end, in Unix microseconds. */
	constexpr int64_t
	end_us() const noexcept
	{
		return epoch_ms * 1000 + (int64_t{1} << time.bits) * unit_us;
	}
};

/*
 * worker is what the makers call worker, machine, node, shard, or data centre
 * and worker, or worker and process.
 */
inline constexpr std::array kPublishedLayouts = {
	PublishedLayout{"cockroachdb", 1420070400000, 10, {15, 48}, {0, 15}, {}},
	PublishedLayout{"discord", 1420070400000, 1000, {22, 42}, {12, 10}, {0, 12}},
	PublishedLayout{"instagram", 1314220021721, 1000, {23, 41}, {10, 13}, {0, 10}},
	PublishedLayout{"mastodon", 0, 1000, {16, 48}, {}, {0, 16}},
	PublishedLayout{"pgedge", 1672531200000, 1000, {22, 41}, {12, 10}, {0, 12}},
	PublishedLayout{"sonyflake", 1409529600000, 10000, {24, 39}, {0, 16}, {16, 8}},
	PublishedLayout{"tsid", 1577836800000, 1000, {22, 42}, {12, 10}, {0, 12}},
	PublishedLayout{"twitter", 1288834974657, 1000, {22, 41}, {12, 10}, {0, 12}},
};

/* Null if there is no layout of this name. */
constexpr const PublishedLayout *
find_published_layout(std::string_view name) noexcept
{
	for (const PublishedLayout &layout : kPublishedLayouts)
		if (layout.name == name)
			return &layout;
	return nullptr;
}

} // namespace snowflake
