/*
 * refusals.hpp
 *		Why there is no ID: the errors of calls that waited for the keeper.
 */
#pragma once

#include <cstdint>

namespace snowflake
{

/*
 * The longest that a call waits for the keeper, in milliseconds.  Twice what it
 * takes for a keeper that has failed to be started again.
 */
inline constexpr int64_t kKeeperPatience = 10000;

/* Says what the keeper does, or why it last failed. */
[[noreturn]] void raise_keeper_late();

} // namespace snowflake
