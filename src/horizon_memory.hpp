/*
 * horizon_memory.hpp
 *		What the horizon is read from: who has taken an ID and not ended, who has
 *		ended last, and what is prepared.
 *
 * Made anew with the rest of the shared memory.  Then no backend is left, and
 * what was prepared before is found again by its locks; see prepared.hpp.
 */
#pragma once

#include <atomic>
#include <cstdint>

#include "prelude.h"

extern "C"
{
#include "storage/lwlock.h"
#include "storage/spin.h"
}

#include "core/announcement.hpp"
#include "core/ended_ring.hpp"

namespace snowflake
{

/* A prepared transaction that has taken IDs; xid is 0 in an entry that was never used. */
struct PreparedEntry
{
	uint64_t	xid;
	int64_t		first;
};

struct HorizonMemory
{
	EndedRing	ended;

	/* Of each backend, by the number of its process; MaxBackends of them. */
	Announcement *announcements;

	/* Protects the entries: as many as can be prepared or preparing at once. */
	LWLock	   *prepared_lock;
	PreparedEntry *prepared;
	int			prepared_size;

	/* What was prepared before this memory was made is known. */
	std::atomic<bool> prepared_known;

	/* Whoever holds it may append to the ring. */
	slock_t		ring_lock;

	/* Each backend's transaction at the time when prepared_known was set. */
	LocalTransactionId *in_before;
};

/* nullptr unless the library was preloaded. */
extern HorizonMemory *horizon_memory;

Size		horizon_memory_size();

/* To be called with AddinShmemInitLock. */
void		init_horizon_memory(LWLock *prepared_lock);

} // namespace snowflake
