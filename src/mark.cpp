/*
 * mark.cpp
 *		Keeps the mark and the pinned layout in replication origin states.
 */
#include <cstdint>
#include <optional>

#include "compat.h"

extern "C"
{
#include "access/xlog.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"
}

#include "mark.hpp"

namespace snowflake
{

/* At the far end of the range 1 to 65534: core's own numbers start at 1. */
static constexpr RepOriginId kMarkOrigin = 65001;
static constexpr RepOriginId kLayoutOrigin = 65002;

static uint64_t
read_origin(RepOriginId origin)
{
	return replorigin_get_progress(origin, false);
}

/*
 * The position of the record, not of the WAL's end, is what has to be flushed:
 * the latter may lie behind a page header that nobody has written yet.
 */
static XLogRecPtr
write_origin(RepOriginId origin, uint64_t value, bool go_backward)
{
	replorigin_advance(origin, value, InvalidXLogRecPtr, go_backward, true);
	XLogFlush(XactLastRecEnd);
	return XactLastRecEnd;
}

int64_t
read_mark()
{
	return static_cast<int64_t>(read_origin(kMarkOrigin));
}

XLogRecPtr
raise_mark(int64_t unix_ms)
{
	return write_origin(kMarkOrigin, static_cast<uint64_t>(unix_ms), false);
}

XLogRecPtr
force_mark(int64_t unix_ms)
{
	return write_origin(kMarkOrigin, static_cast<uint64_t>(unix_ms), true);
}

/* The pin's value: epoch in Unix milliseconds << 8 | worker_bits. */
std::optional<Layout>
read_pinned_layout()
{
	const uint64_t value = read_origin(kLayoutOrigin);

	if (value == 0)
		return {};
	return Layout{static_cast<int64_t>(value >> 8), static_cast<int>(value & 0xff)};
}

XLogRecPtr
pin_layout(const Layout &layout)
{
	return write_origin(kLayoutOrigin,
						static_cast<uint64_t>(layout.epoch_ms) << 8 |
							static_cast<uint64_t>(layout.worker_bits),
						false);
}

/*
 * Not SyncRepWaitForLSN(): it returns normally when it is cancelled, and holds
 * up a shutdown.  Whatever this process's synchronous_commit is, some session
 * may ask for more, so that only the list of standbys counts.
 */
bool
flushed_on_standbys(XLogRecPtr end)
{
	if (max_wal_senders == 0 || SyncRepStandbyNames == nullptr || *SyncRepStandbyNames == '\0')
		return true;

	LWLockAcquire(SyncRepLock, LW_SHARED);

	const XLogRecPtr flushed = WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH];

	LWLockRelease(SyncRepLock);
	return flushed >= end;
}

} // namespace snowflake
