/*
 * horizon.cpp
 *		Reads who has taken an ID and not ended.
 *
 * The order is all that matters:
 *
 * 1. The newest ID.  What is claimed after this look is above it.
 * 2. The announcements.  Whoever claimed before that look had announced before.
 * 3. The prepared transactions.  One is known before its announcement goes.
 * 4. The ended ones.  A transaction is among them before its announcement goes,
 *	  or before its entry among the prepared ones is used again.
 *
 * The snapshot is older than all of this.  A transaction that has ended since
 * it was taken has not ended for it.
 */
#include <algorithm>
#include <cstdint>

#include "prelude.h"

extern "C"
{
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/snapmgr.h"
}

#include "full_xid.hpp"
#include "horizon.hpp"
#include "horizon_memory.hpp"
#include "keeper_wait.hpp"
#include "newest_id.hpp"
#include "now.hpp"
#include "prepared.hpp"

namespace snowflake
{

/* What an active snapshot sees of top-level transactions, with 64-bit IDs. */
class Sight
{
public:
	explicit Sight(const SnapshotData &snapshot)
		: snapshot_(snapshot), xmin_(full_xid(snapshot.xmin)), xmax_(full_xid(snapshot.xmax))
	{
		TransactionId newest = snapshot.xmax;

		/* Some transaction IDs are never used. */
		TransactionIdRetreat(newest);
		known_from_ = IsolationUsesXactSnapshot() ? xmin_ : full_xid(newest);
	}

	/* Has it ended for the snapshot? */
	bool
	sees(uint64_t xid) const
	{
		if (xid < xmin_)
			return true;
		if (xid >= xmax_)
			return false;

		const TransactionId *end = snapshot_.xip + snapshot_.xcnt;

		return std::find(static_cast<const TransactionId *>(snapshot_.xip), end, static_cast<TransactionId>(xid)) == end;
	}

	/*
	 * Was the snapshot taken after a time at which this was the newest to have ended?
	 * One that was imported may be logical decoding's, which follows the WAL and not
	 * the array of running transactions: then only xmin tells.
	 */
	bool
	is_after(uint64_t latest) const
	{
		return latest < known_from_;
	}

private:
	const SnapshotData &snapshot_;
	uint64_t	xmin_;
	uint64_t	xmax_;
	uint64_t	known_from_;
};

static int64_t
below_announced()
{
	int64_t		first = Announcement::kNone;

	for (int i = 0; i < MaxBackends; i++)
		first = std::min(first, horizon_memory->announcements[i].first());
	return first - 1;
}

/* counts(xid): has it not ended? */
template <typename Counts>
static int64_t
below_prepared(Counts counts)
{
	int64_t		first = Announcement::kNone;

	LWLockAcquire(horizon_memory->prepared_lock, LW_SHARED);
	for (int i = 0; i < horizon_memory->prepared_size; i++)
	{
		const PreparedEntry &entry = horizon_memory->prepared[i];

		if (entry.xid != 0 && entry.first < first && counts(entry.xid))
			first = entry.first;
	}
	LWLockRelease(horizon_memory->prepared_lock);
	return first - 1;
}

static int64_t
below_ended(const Sight &sight)
{
	int64_t		first = Announcement::kNone;
	const bool	complete = horizon_memory->ended.visit([&](const Ended &ended)
		{
			if (sight.is_after(ended.latest))
				return false;
			if (!sight.sees(ended.xid))
				first = std::min(first, ended.first);
			return true;
		});

	if (!complete)
		ereport(ERROR, (errcode(ERRCODE_SNAPSHOT_TOO_OLD),
						errmsg("the snapshot is too old for the snowflake horizon"),
						errdetail("More than %d transactions that took IDs have ended since it was taken.", static_cast<int>(EndedRing::kSize)),
						errhint("Call snowflake_horizon() early in the transaction, or begin a new one.")));
	return first - 1;
}

void
raise_horizon_in_recovery()
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("the snowflake horizon is not known during recovery"),
					errdetail("Only the primary knows which transactions have taken IDs."),
					errhint("Read a horizon that the primary has stored in a table, in the statement that reads the rows.")));
}

[[noreturn]] static void
raise_unknown_prepared()
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("the snowflake horizon is not known to this transaction"),
					errdetail("It began before the background worker \"snowflake keeper\" had looked for prepared transactions from before the start of the server."),
					errhint("Try again in a new transaction.")));
}

void
require_prepared_known()
{
	static uint32 event = 0;

	if (!wait_for_keeper([] { return horizon_memory->prepared_known.load(); }, kKeeperPatience,
						 EXTENSION_WAIT_EVENT(event, "SnowflakeHorizonStart")))
		raise_unknown_prepared();
}

int64_t
horizon_of_active_snapshot()
{
	const SnapshotData &snapshot = *GetActiveSnapshot();

	if (RecoveryInProgress() || snapshot.takenDuringRecovery)
		raise_horizon_in_recovery();
	if (!prepared_is_known())
		raise_unknown_prepared();

	const Sight sight(snapshot);
	int64_t		horizon = newest_id();

	horizon = std::min(horizon, below_announced());
	horizon = std::min(horizon, below_prepared([&](uint64_t xid) { return !sight.sees(xid); }));
	return std::min(horizon, below_ended(sight));
}

/* The first ID, less one, of those that have not ended. */
static int64_t
below_running()
{
	const int64_t announced = below_announced();

	return std::min(announced, below_prepared(is_running));
}

int64_t
horizon_now()
{
	const int64_t newest = newest_id();

	return std::min(newest, below_running());
}

int64_t
horizon_lag()
{
	const int64_t below = below_running();

	return below == Announcement::kNone - 1 ? 0 : std::max<int64_t>(now_ms() - layout.decompose(below + 1).ms, 0);
}

} // namespace snowflake
