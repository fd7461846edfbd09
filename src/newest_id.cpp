/*
 * newest_id.cpp
 *		What is known of the newest ID before the generator is opened first.
 */
#include <algorithm>
#include <cstdint>

#include "prelude.h"

#include "mark.hpp"
#include "newest_id.hpp"

namespace snowflake
{

void
learn_newest_id()
{
	if (shared->generator.last() != Generator::kClosed || shared->closed_at_id.load() != 0)
		return;

	const int64_t marked = std::clamp<int64_t>(layout.since_epoch(read_mark().unix_ms), 0, kEndOfTime - 1);

	shared->closed_at_id.store(std::max<int64_t>(layout.compose({marked, 0, 0}) - 1, 0));
}

} // namespace snowflake
