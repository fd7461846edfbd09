/*
 * transaction.cpp
 *		Announces a transaction that takes IDs, and says when it has ended.
 *
 * The callbacks come when the transaction is out of the array of running ones,
 * and so is seen by every snapshot that is taken from then on.  A wait for a
 * synchronous standby is over then, too.
 */
#include <cstdint>

#include "prelude.h"

extern "C"
{
#include "access/parallel.h"
#include "access/transam.h"
#include "access/xact.h"
#include "storage/spin.h"
}

#include "claim.hpp"
#include "horizon_memory.hpp"
#include "newest_id.hpp"
#include "prepared.hpp"
#include "transaction.hpp"

namespace snowflake
{

uint64_t	transaction_number = 1;

Announcement &
my_announcement()
{
	const PGPROC *leader = MyProc->lockGroupLeader;

	return horizon_memory->announcements[leader ? PROC_NUMBER(leader) : MY_PROC_NUMBER];
}

bool
announce_transaction()
{
	return my_announcement().announce(newest_id() + 1) && !IsInParallelMode();
}

void
settle_announcement(int64_t first)
{
	my_announcement().settle(first);
}

void
append_ended(uint64_t xid, int64_t first)
{
	SpinLockAcquire(&horizon_memory->ring_lock);
	horizon_memory->ended.append({U64FromFullTransactionId(TRANSAM_VARIABLES->latestCompletedXid), xid, first});
	SpinLockRelease(&horizon_memory->ring_lock);
}

/* Whoever has announced it: this process may have left that to its parallel workers. */
static void
end_committed(Announcement &announcement)
{
	const int64_t first = announcement.first();
	const FullTransactionId xid = GetTopFullTransactionIdIfAny();

	if (FullTransactionIdIsValid(xid))
		append_ended(U64FromFullTransactionId(xid), first);
	announcement.withdraw();
}

/*
 * A parallel worker leaves the announcement to its leader.  It also has a short
 * transaction of its own first, which ends like any other.
 */
extern "C" void
snowflake_transaction_callback(XactEvent event, void *)
{
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PARALLEL_PRE_COMMIT)
		return;

	Announcement &announcement = my_announcement();
	const bool	is_announced = !IsParallelWorker() && announcement.first() != Announcement::kNone;

	if (event == XACT_EVENT_PRE_PREPARE)
	{
		if (is_announced)
			remember_prepared(U64FromFullTransactionId(GetTopFullTransactionId()), announcement.first());
		return;
	}
	is_ready = false;
	transaction_number++;
	if (is_announced && event == XACT_EVENT_COMMIT)
		end_committed(announcement);
	else if (is_announced)
		announcement.withdraw();
}

void
register_transaction_callback()
{
	RegisterXactCallback(snowflake_transaction_callback, nullptr);
}

} // namespace snowflake
