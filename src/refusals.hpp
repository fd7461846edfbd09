/*
 * refusals.hpp
 *		Why there is no ID: the errors of calls that get none.
 *
 * All times are milliseconds since the layout's epoch.
 */
#pragma once

#include <cstdint>

namespace snowflake
{

[[noreturn]] void raise_exhausted();

/* blocked_ms: the time of the ID that cannot be issued yet. */
[[noreturn]] void raise_clock_behind(int64_t blocked_ms, int64_t now);

[[noreturn]] void raise_in_recovery();

/* There is no lease, or the lead has reached its end. */
[[noreturn]] void raise_no_lease();

/* Says what the keeper is doing, or why it last failed. */
[[noreturn]] void raise_keeper_late();

} // namespace snowflake
