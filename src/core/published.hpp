/*
 * published.hpp
 *		The layouts of other systems, as they have published them.
 */
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "foreign.hpp"

namespace snowflake
{

struct PublishedLayout : ForeignLayout
{
	const char *name;
	uint64_t	first_id;		/* no number below it is an ID */

	/* Can the system have made it, as far as its first ID and its bits say? */
	constexpr bool
	can_be(int64_t id) const noexcept
	{
		return fits(id) && static_cast<uint64_t>(id) >= first_id;
	}

	/* id: any number that fits.  In these layouts all times are in range. */
	constexpr ForeignFields
	decompose(int64_t id) const noexcept
	{
		return ForeignLayout::decompose(id, *unix_us(id));
	}

	/* Where the time bits end, in Unix microseconds. */
	constexpr int64_t
	end_us() const noexcept
	{
		return epoch_us + (int64_t{1} << time.bits) * unit_us;
	}
};

/* since_ms: no ID of this layout is older; Unix milliseconds. */
constexpr PublishedLayout
publish(const char *name, int64_t epoch_ms, int64_t since_ms, int64_t unit_us,
		BitField time, BitField worker, BitField sequence) noexcept
{
	const ForeignLayout fields{epoch_ms * 1000, unit_us, time, worker, sequence};

	return {fields, name, static_cast<uint64_t>(*fields.min_id(since_ms * 1000))};
}

constexpr PublishedLayout
publish_from(uint64_t first_id, PublishedLayout published) noexcept
{
	published.first_id = first_id;
	return published;
}

/*
 * worker is what the makers call worker, machine, node, shard, clock, or data
 * centre and worker, or worker and process.
 *
 * No ID is older than the system, or than its use of the layout.  Where that day is
 * not known, the day after the epoch is taken, which is older than the layout: that
 * keeps out the numbers of a sequence.
 */
inline constexpr std::array kPublishedLayouts = {
	/* The AT Protocol is from 2022.  Clients may choose older record keys, which are not from a clock. */
	publish("bluesky", 0, 1640995200000, 1, {10, 53}, {0, 10}, {}),
	/* Open source since 2016-06-15. */
	publish("clickhouse", 0, 1465948800000, 1000, {22, 41}, {12, 10}, {0, 12}),
	publish("cockroachdb", 1420070400000, 1420156800000, 10, {15, 48}, {0, 15}, {}),
	publish("discord", 1420070400000, 1420156800000, 1000, {22, 42}, {12, 10}, {0, 12}),
	/* The layout is as old as its epoch, so this is an hour later. */
	publish("instagram", 1314220021721, 1314223621721, 1000, {23, 41}, {10, 13}, {0, 10}),
	/* Launched on 2003-05-05.  What the lower bits are is not published. */
	publish("linkedin", 0, 1052092800000, 1000, {22, 41}, {}, {}),
	/* Posts from other servers have the time when they were written, from 2008 on. */
	publish("mastodon", 0, 1199145600000, 1000, {16, 48}, {}, {0, 16}),
	publish("pgedge", 1672531200000, 1672617600000, 1000, {22, 41}, {12, 10}, {0, 12}),
	publish("sonyflake", 1409529600000, 1409616000000, 10000, {24, 39}, {0, 16}, {16, 8}),
	publish("sonyflake_v2", 1735689600000, 1735776000000, 10000, {24, 39}, {0, 16}, {16, 8}),
	/* Its maker was founded in 2012.  What the lower bits are is not published. */
	publish("tiktok", 0, 1325376000000, 1000000, {32, 32}, {}, {}),
	publish("tsid", 1577836800000, 1577923200000, 1000, {22, 42}, {12, 10}, {0, 12}),
	/* Earlier tweets have the numbers of a sequence, which ended below this one. */
	publish_from(29700859247, publish("twitter", 1288834974657, 1288834974657, 1000, {22, 41}, {12, 10}, {0, 12})),
};

/* Null if there is no layout of this name. */
constexpr const PublishedLayout *
find_published_layout(std::string_view name) noexcept
{
	for (const PublishedLayout &published : kPublishedLayouts)
		if (published.name == name)
			return &published;
	return nullptr;
}

} // namespace snowflake
