/*
 * newest_id.hpp
 *		The newest ID, read so that what is claimed later is above it.
 */
#pragma once

#include <cstdint>

#include "settings.hpp"
#include "shared.hpp"

namespace snowflake
{

/*
 * After a start: whatever was issued before is below the mark, and whatever is to
 * come is above.  Keeper only, after recovery.
 */
void		learn_newest_id();

/*
 * An ID that is not below any that was claimed before, and below all that are
 * claimed later.  It need not have been issued.
 *
 * The worker belongs to the tick only if the window is the same before and after.
 * A closed generator has left it behind; whoever reads that too early reads one
 * that is older, and so as good as the caller's look a moment before.
 */
inline int64_t
newest_id()
{
	for (;;)
	{
		const Window window = shared->generator.window();
		const int64_t last = shared->generator.last();

		if (last == Generator::kClosed)
			return shared->closed_at_id.load(std::memory_order_acquire);
		if (shared->generator.window() == window)
			return layout.id_of(last, window.worker);
	}
}

} // namespace snowflake
