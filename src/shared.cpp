/*
 * shared.cpp
 *		Sets up the shared memory, and logs what this server issues.
 */
#include <new>

#include "prelude.h"

extern "C"
{
#include "miscadmin.h"
#include "replication/logicallauncher.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
}

#include "data_directory.hpp"
#include "horizon_memory.hpp"
#include "plain_text.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "timestamps.hpp"

namespace snowflake
{

Shared	   *shared = nullptr;
Counters   *my_counters = nullptr;

static constexpr char kName[] = "snowflake";

static shmem_request_hook_type prev_shmem_request_hook = nullptr;
static shmem_startup_hook_type prev_shmem_startup_hook = nullptr;

/* ShmemAlloc guarantees less alignment than the generator's cache lines need. */
static Size
shared_size()
{
	return sizeof(Shared) + static_cast<Size>(MaxBackends) * sizeof(Counters) + alignof(Shared);
}

extern "C" void
snowflake_shmem_request()
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	RequestAddinShmemSpace(add_size(shared_size(), horizon_memory_size()));
	RequestNamedLWLockTranche(kName, 2);
}

/*
 * The origin states that the generator takes may be missing for subscriptions:
 * each of their workers may want one.
 */
static bool
origin_states_are_short()
{
	return ORIGIN_STATES - 2 < max_logical_replication_workers;
}

static void
log_what_is_issued()
{
	ereport(LOG, (worker_id < 0 ? errmsg("snowflake IDs are issued with a worker ID leased from the registry, of 0 to %d", layout.max_worker())
								: errmsg("snowflake IDs are issued as worker %d (%s), of 0 to %d",
										 worker_id, worker_source, layout.max_worker()),
				  errdetail("The layout allows %lld IDs a second, until %s.",
							1000LL << layout.sequence_bits(),
							timestamptz_to_str(to_timestamptz(layout.unix_ms(kEndOfTime)))),
				  origin_states_are_short()
					  ? errhint("The generator takes two of \"%s\" (%d), which leaves fewer than \"%s\" (%d). If subscriptions need them, raise it by two, on each standby first.",
								ORIGIN_STATES_SETTING, ORIGIN_STATES,
								"max_logical_replication_workers", max_logical_replication_workers)
					  : 0));
}

extern "C" void
snowflake_shmem_startup()
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);

	void	   *memory = ShmemInitStruct(kName, shared_size(), &found);

	shared = reinterpret_cast<Shared *>(TYPEALIGN(alignof(Shared), memory));
	if (!found)
	{
		new (shared) Shared{};
		for (int i = 0; i < MaxBackends; i++)
			new (&shared->counters[i]) Counters{};
		shared->reset_at = GetCurrentTimestamp();
		ConditionVariableInit(&shared->keeper_progress);
		shared->lock = &GetNamedLWLockTranche(kName)[0].lock;
	}
	init_horizon_memory(&GetNamedLWLockTranche(kName)[1].lock);
	LWLockRelease(AddinShmemInitLock);

	/* Not again when the memory is reinitialized after a crash of a backend. */
	static bool is_started = false;

	if (!IsUnderPostmaster && !is_started)
	{
		is_started = true;
		log_what_is_issued();
		if (IsPostmasterEnvironment)
		{
			check_data_directory();
			shared->starts_beyond_lead.store(may_be_rolled_back());
		}
	}
}

void
require_preload()
{
	if (!shared)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("snowflake must be loaded via \"shared_preload_libraries\""),
						errhint("Add snowflake to \"shared_preload_libraries\", set \"snowflake.worker_id\" in postgresql.conf, and restart the server.")));
}

void
install_shared_memory_hooks()
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = snowflake_shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = snowflake_shmem_startup;
}

void
note_failure(Failure *failure, const char *message, const char *hint)
{
	failure->count++;
	strlcpy(failure->message, message, sizeof(failure->message));
	strlcpy(failure->hint, hint ? hint : "", sizeof(failure->hint));
	make_plain(failure->message);
	make_plain(failure->hint);
	failure->at = GetCurrentTimestamp();
}

void
wake_keeper()
{
	if (Latch *latch = shared->keeper_latch.load(std::memory_order_acquire))
		SetLatch(latch);
}

} // namespace snowflake
