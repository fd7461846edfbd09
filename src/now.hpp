/*
 * now.hpp
 *		The system clock, in this server's layout.
 */
#pragma once

#include <cstdint>

#include "core/clock.hpp"
#include "settings.hpp"

namespace snowflake
{

/* Milliseconds since the layout's epoch, clamped as in Layout::since_epoch(). */
inline int64_t
now_ms()
{
	return layout.since_epoch(read_system_clock().unix_ms);
}

} // namespace snowflake
