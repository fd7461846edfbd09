/*
 * horizon_memory.cpp
 *		Makes the shared memory that the horizon is read from.
 */
#include <new>

#include "prelude.h"

extern "C"
{
#include "access/twophase.h"
#include "miscadmin.h"
#include "storage/shmem.h"
}

#include "horizon_memory.hpp"

namespace snowflake
{

HorizonMemory *horizon_memory = nullptr;

/* A prepared transaction has an entry, and one that is being prepared has one. */
static int
prepared_size()
{
	return max_prepared_xacts > 0 ? max_prepared_xacts + MaxBackends : 0;
}

Size
horizon_memory_size()
{
	return alignof(HorizonMemory) + sizeof(HorizonMemory) +
		   static_cast<Size>(MaxBackends) * sizeof(Announcement) +
		   static_cast<Size>(prepared_size()) * sizeof(PreparedEntry) +
		   static_cast<Size>(MaxBackends) * sizeof(LocalTransactionId);
}

void
init_horizon_memory(LWLock *prepared_lock)
{
	bool		found;
	void	   *memory = ShmemInitStruct("snowflake horizon", horizon_memory_size(), &found);

	horizon_memory = reinterpret_cast<HorizonMemory *>(TYPEALIGN(alignof(HorizonMemory), memory));
	if (found)
		return;

	new (horizon_memory) HorizonMemory{};
	SpinLockInit(&horizon_memory->ring_lock);
	horizon_memory->announcements = reinterpret_cast<Announcement *>(horizon_memory + 1);
	for (int i = 0; i < MaxBackends; i++)
		new (&horizon_memory->announcements[i]) Announcement{};
	horizon_memory->prepared_lock = prepared_lock;
	horizon_memory->prepared_size = prepared_size();
	horizon_memory->prepared = reinterpret_cast<PreparedEntry *>(horizon_memory->announcements + MaxBackends);
	for (int i = 0; i < prepared_size(); i++)
		horizon_memory->prepared[i] = {};
	horizon_memory->in_before = reinterpret_cast<LocalTransactionId *>(horizon_memory->prepared + prepared_size());
	for (int i = 0; i < MaxBackends; i++)
		horizon_memory->in_before[i] = InvalidLocalTransactionId;
	horizon_memory->prepared_known.store(max_prepared_xacts == 0);
}

} // namespace snowflake
