/*
 * keeper_main.cpp
 *		Registers the keeper as a background worker, and runs it.
 *
 * It uses only shared memory, no database, but still initializes as a backend, so
 * that it shows in pg_stat_activity and can be terminated by SQL.
 *
 * Any error ends it (one inside replorigin_advance() leaves a lock held), and
 * the postmaster starts it again after kKeeperRestartSeconds.  Its exit status
 * is always 1, since a worker that exits with 0 is not started again.
 */
#include "prelude.h"

extern "C"
{
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
}

#include "keeper.hpp"
#include "keeper_main.hpp"
#include "keeper_report.hpp"
#include "shared.hpp"

extern "C" PGDLLEXPORT void snowflake_keeper_main(Datum);

namespace snowflake
{

extern "C" void
snowflake_keeper_exit(int, Datum)
{
	shared->keeper_latch.store(nullptr);
	shared->keeper_pid.store(0);
}

void
register_keeper()
{
	BackgroundWorker worker = {};

	strlcpy(worker.bgw_name, "snowflake keeper", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "snowflake keeper", sizeof(worker.bgw_type));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = kKeeperRestartSeconds;
	strlcpy(worker.bgw_library_name, "snowflake", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "snowflake_keeper_main", sizeof(worker.bgw_function_name));
	RegisterBackgroundWorker(&worker);
}

} // namespace snowflake

void
snowflake_keeper_main(Datum)
{
	using namespace snowflake;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);

	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "snowflake keeper",
												ALLOCSET_SMALL_SIZES));
	on_shmem_exit(snowflake_keeper_exit, 0);
	shared->keeper_pid.store(MyProcPid);
	shared->keeper_latch.store(MyLatch);

	PG_TRY();
	{
		Keeper().run();
	}
	PG_CATCH();
	{
		/* The lock that was held may be ours. */
		LWLockReleaseAll();
		MemoryContextSwitchTo(TopMemoryContext);

		const ErrorData *error = CopyErrorData();

		record_failure(error->message, error->hint);
		PG_RE_THROW();
	}
	PG_END_TRY();
	proc_exit(1);
}
