/*
 * mark.cpp
 *		Keeps the high-water mark and the pinned layout in replication origin states.
 */
#include <algorithm>
#include <cstdint>
#include <optional>

#include "prelude.h"

extern "C"
{
#include "access/xlog.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"
}

#include "mark.hpp"
#include "timestamps.hpp"

namespace snowflake
{

/* At the far end of the range 1 to 65534: core's own numbers start at 1. */
static constexpr OriginId kMarkOrigin = 65001;
static constexpr OriginId kLayoutOrigin = 65002;

static uint64_t
read_origin(OriginId origin)
{
	return replorigin_get_progress(origin, false);
}

/*
 * The position of the record, not of the WAL's end, is what has to be flushed:
 * the latter may be past a page header that nobody has written yet.
 */
static XLogRecPtr
write_origin(OriginId origin, uint64_t value, bool go_backward)
{
	replorigin_advance(origin, value, InvalidXLogRecPtr, go_backward, true);
	XLogFlush(XactLastRecEnd);
	return XactLastRecEnd;
}

/*
 * The mark's value: Unix milliseconds, and in the bits above them the number of
 * timelines before the one on which it was written.  So until the first promotion
 * it is just the milliseconds.  A recovery that ends in a promotion always starts a
 * timeline, so the new primary can tell that the mark it finds was written before,
 * however often the server is restarted until the mark is raised.
 */
static constexpr int kMillisecondBits = 43;	/* until the year 2248 */
static constexpr uint64_t kMillisecondMask = (uint64_t{1} << kMillisecondBits) - 1;

static uint64_t
mark_value(int64_t unix_ms)
{
	return static_cast<uint64_t>(GetWALInsertionTimeLine() - 1) << kMillisecondBits |
		   static_cast<uint64_t>(unix_ms);
}

Mark
read_mark()
{
	const uint64_t value = read_origin(kMarkOrigin);

	return {static_cast<int64_t>(value & kMillisecondMask),
			static_cast<TimeLineID>(value >> kMillisecondBits) + 1};
}

bool
is_of_earlier_timeline(const Mark &mark)
{
	return mark.unix_ms != 0 && mark.timeline != GetWALInsertionTimeLine();
}

/* What this process wrote last; 0 if nothing. */
static uint64_t written = 0;

/* A role that may create origins can reach the mark's; see mark.hpp. */
static void
check_for_others()
{
	if (written == 0 || read_origin(kMarkOrigin) == written)
		return;
	ereport(WARNING, (errmsg("replication origin %u of snowflake was changed by another process", kMarkOrigin),
					  errdetail("It was %s, and is now %s.", to_text(written & kMillisecondMask), to_text(read_mark().unix_ms)),
					  errhint("Grant EXECUTE on functions that create, advance or drop replication origins to superusers only.")));
}

/*
 * The value of a later timeline is greater, whatever its milliseconds; one of an
 * earlier timeline, after pg_resetwal say, would be silently ignored.
 */
XLogRecPtr
raise_mark(int64_t unix_ms)
{
	check_for_others();

	const XLogRecPtr end = write_origin(kMarkOrigin, mark_value(std::max(unix_ms, read_mark().unix_ms)), false);
	const Mark	mark = read_mark();

	written = read_origin(kMarkOrigin);

	if (mark.unix_ms < unix_ms || is_of_earlier_timeline(mark))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("could not advance replication origin %u of snowflake", kMarkOrigin),
						errdetail("It was written on timeline %u, and the server is on timeline %u.",
								  mark.timeline, GetWALInsertionTimeLine()),
						errhint("The server went back to an earlier timeline. Move the data to a new cluster, with a worker ID that has never been used.")));
	return end;
}

XLogRecPtr
force_mark(int64_t unix_ms)
{
	const XLogRecPtr end = write_origin(kMarkOrigin, mark_value(unix_ms), true);

	written = read_origin(kMarkOrigin);
	return end;
}

std::optional<LayoutSettings>
read_pinned_layout()
{
	const uint64_t value = read_origin(kLayoutOrigin);

	if (value == 0)
		return {};
	return LayoutSettings::unpack(value);
}

XLogRecPtr
pin_layout(const LayoutSettings &settings)
{
	return write_origin(kLayoutOrigin, settings.pack(), false);
}

const char *
synchronous_standbys()
{
	return max_wal_senders > 0 && SyncRepStandbyNames ? SyncRepStandbyNames : "";
}

/*
 * Not SyncRepWaitForLSN(): it returns normally when it is cancelled, and holds
 * up a shutdown.  Whatever this process's synchronous_commit is, some session
 * may ask for more, so only the list of standbys counts.
 */
bool
flushed_on_standbys(XLogRecPtr end)
{
	if (*synchronous_standbys() == '\0')
		return true;

	LWLockAcquire(SyncRepLock, LW_SHARED);

	const XLogRecPtr flushed = WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH];

	LWLockRelease(SyncRepLock);
	return flushed >= end;
}

} // namespace snowflake
