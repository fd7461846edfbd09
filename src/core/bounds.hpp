/*
 * bounds.hpp
 *		The smallest and greatest IDs for a time, to turn a condition on the time
 *		into one on the key.
 *
 * A time is exact to the microsecond, an ID to the millisecond.  For every time
 * t and every ID of the layout,
 *
 *		time of the ID >= t   exactly if   ID >= min_id(t)
 *		time of the ID <= t   exactly if   ID <= max_id(t)
 *		time of the ID <  t   exactly if   ID <= last_before(t)
 */
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "layout.hpp"

namespace snowflake
{

/* Any time; both ends of the 64-bit range also stand for infinity. */
struct UnixTime
{
	int64_t		ms;				/* rounded down */
	int			us;				/* the remainder, 0 to 999 */
};

/* 0 for the epoch and earlier; nothing if no ID can be that late. */
constexpr std::optional<int64_t>
min_id(const Layout &layout, UnixTime time) noexcept
{
	const int64_t ms = layout.since_epoch(time.ms) + (time.us > 0);

	if (ms >= kEndOfTime)
		return {};
	return std::max<int64_t>(ms, 0) << layout.worker_and_sequence_bits();
}

/* The greatest possible ID for the last millisecond and later; nothing before the epoch. */
constexpr std::optional<int64_t>
max_id(const Layout &layout, UnixTime time) noexcept
{
	const int64_t ms = layout.since_epoch(time.ms);

	if (ms < 0)
		return {};
	if (ms >= kEndOfTime - 1)
		return layout.max_id();
	return ((ms + 1) << layout.worker_and_sequence_bits()) - 1;
}

/* -1, which is no ID, for the epoch and earlier; the greatest possible ID after the end. */
constexpr int64_t
last_before(const Layout &layout, UnixTime time) noexcept
{
	const auto	id = min_id(layout, time);

	return id ? *id - 1 : layout.max_id();
}

} // namespace snowflake
