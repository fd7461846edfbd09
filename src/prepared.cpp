/*
 * prepared.cpp
 *		Keeps the prepared transactions that have taken IDs.
 */
#include <cstdint>

#include "prelude.h"

extern "C"
{
#include "access/transam.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
}

#include "full_xid.hpp"
#include "horizon_memory.hpp"
#include "prepared.hpp"
#include "transaction.hpp"

namespace snowflake
{

/* Tells our locks from those that somebody else may take in this class. */
static constexpr uint16 kLockMagic = 0x5f1a;

static LOCKTAG
lock_tag(uint64_t xid, int64_t first)
{
	LOCKTAG		tag = {};

	tag.locktag_field1 = static_cast<uint32>(xid);
	tag.locktag_field2 = static_cast<uint32>(first >> 32);
	tag.locktag_field3 = static_cast<uint32>(first);
	tag.locktag_field4 = kLockMagic;
	tag.locktag_type = LOCKTAG_USERLOCK;
	tag.locktag_lockmethodid = USER_LOCKMETHOD;
	return tag;
}

/* The server takes 32 bits of a transaction that is very old for one to come. */
bool
is_running(uint64_t xid)
{
	return next_full_xid() - xid <= PG_INT32_MAX && TransactionIdIsInProgress(static_cast<TransactionId>(xid));
}

/* Under the lock. */
static void
insert(uint64_t xid, int64_t first)
{
	PreparedEntry *free = nullptr;

	for (int i = 0; i < horizon_memory->prepared_size; i++)
	{
		PreparedEntry &entry = horizon_memory->prepared[i];

		if (entry.xid == xid)
			return;
		if (!free && (entry.xid == 0 || !is_running(entry.xid)))
			free = &entry;
	}
	if (!free)
		elog(ERROR, "no place for a prepared transaction");
	if (free->xid != 0)
		append_ended(free->xid, free->first);
	*free = {xid, first};
}

void
remember_prepared(uint64_t xid, int64_t first)
{
	const LOCKTAG tag = lock_tag(xid, first);

	(void) LockAcquire(&tag, ExclusiveLock, false, true);
	LWLockAcquire(horizon_memory->prepared_lock, LW_EXCLUSIVE);
	insert(xid, first);
	LWLockRelease(horizon_memory->prepared_lock);
}

void
find_prepared()
{
	if (horizon_memory->prepared_known.load())
		return;

	LWLockAcquire(horizon_memory->prepared_lock, LW_EXCLUSIVE);

	const LockData *locks = GetLockStatusData();

	for (int i = 0; i < locks->nelements; i++)
	{
		const LOCKTAG &tag = locks->locks[i].locktag;

		if (tag.locktag_type == LOCKTAG_USERLOCK && tag.locktag_lockmethodid == USER_LOCKMETHOD && tag.locktag_field4 == kLockMagic)
			insert(full_xid(tag.locktag_field1),
				   static_cast<int64_t>(uint64_t{tag.locktag_field2} << 32 | tag.locktag_field3));
	}
	LWLockRelease(horizon_memory->prepared_lock);

	/* Who is in a transaction now may have a snapshot from before. */
	for (int i = 0; i < MaxBackends; i++)
		horizon_memory->in_before[i] = LOCAL_XID(GetPGProcByNumber(i));
	horizon_memory->prepared_known.store(true);
}

bool
prepared_is_known()
{
	return horizon_memory->prepared_known.load() &&
		   horizon_memory->in_before[MY_PROC_NUMBER] != LOCAL_XID(MyProc);
}

} // namespace snowflake
