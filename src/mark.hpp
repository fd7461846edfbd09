/*
 * mark.hpp
 *		The high-water mark ("mark" for short): a durable promise that no ID at or
 *		after it has been issued.  And the pinned layout, which is kept the same way.
 *
 * Both are replication origin states.  PostgreSQL keeps a 64-bit position for
 * each origin, for replication progress, with all the guarantees that a mark
 * needs: it is written to the WAL, checkpointed, restored by crash recovery, and
 * replayed on every standby and in point-in-time recovery.
 *
 * The two origins have no row in pg_replication_origin, so SQL has no name by which
 * to drop or move them.  Core numbers origins from 1 upwards, so nobody gets these
 * numbers by chance.  It can be done on purpose, though: a role with EXECUTE on the
 * functions for origins, which only superusers have by default, can create origins
 * until one has the number 65001, and then move or drop its state, which is the
 * mark.  So can a role that may create subscriptions.  The two show with a NULL
 * name in pg_replication_origin_status.
 */
#pragma once

#include <cstdint>
#include <optional>

#include "prelude.h"
#include "core/layout.hpp"

namespace snowflake
{

/* The cluster's mark, whatever the worker ID. */
struct Mark
{
	int64_t		unix_ms;		/* 0: none yet */
	TimeLineID	timeline;		/* on which it was written; 1 if there is none */
};

Mark		read_mark();

/*
 * Writes the mark, for the current timeline, and flushes it, or raises an error.
 * Returns the end of its WAL record.  Not in recovery.  raise_mark() never lowers
 * it; force_mark() does.
 *
 * An error leaves one of the server's lightweight locks held: the caller must exit.
 */
XLogRecPtr	raise_mark(int64_t unix_ms);
XLogRecPtr	force_mark(int64_t unix_ms);

/* Has the server been promoted, or recovered from an archive, since it was written? */
bool		is_of_earlier_timeline(const Mark &mark);

/* The layout that this cluster's IDs have; nothing if not pinned yet. */
std::optional<LayoutSettings> read_pinned_layout();

/* Pins it, as raise_mark() does. */
XLogRecPtr	pin_layout(const LayoutSettings &settings);

/*
 * Is everything up to this position safe on the synchronous standbys too?  True
 * if none are configured.
 */
bool		flushed_on_standbys(XLogRecPtr end);

/* The standbys that this is about, as configured; empty if none. */
const char *synchronous_standbys();

} // namespace snowflake
