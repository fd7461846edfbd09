/*
 * horizon_holders.cpp
 *		Who holds the horizon back: transactions that have taken an ID and not
 *		ended.  The SQL function joins what the server says about them.
 */
#include <cstdint>

#include "prelude.h"

extern "C"
{
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
}

#include "horizon_memory.hpp"
#include "pin.hpp"
#include "prepared.hpp"

extern "C"
{
SQL_FUNCTION(snowflake_horizon_holders);
}

using namespace snowflake;

enum Column
{
	kPid,
	kXid,
	kFirstId,
	kColumns
};

static void
put_backends(ReturnSetInfo *result)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		const int64_t first = horizon_memory->announcements[i].first();
		const int	pid = GetPGProcByNumber(i)->pid;

		if (first == Announcement::kNone || pid == 0)
			continue;

		Datum		values[kColumns] = {Int32GetDatum(pid), Datum{0}, Int64GetDatum(first)};
		bool		nulls[kColumns] = {false, true, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

static void
put_prepared(ReturnSetInfo *result)
{
	LWLockAcquire(horizon_memory->prepared_lock, LW_SHARED);
	for (int i = 0; i < horizon_memory->prepared_size; i++)
	{
		const PreparedEntry entry = horizon_memory->prepared[i];

		if (entry.xid == 0 || !is_running(entry.xid))
			continue;

		Datum		values[kColumns] = {Datum{0}, TransactionIdGetDatum(static_cast<TransactionId>(entry.xid)), Int64GetDatum(entry.first)};
		bool		nulls[kColumns] = {true, false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	LWLockRelease(horizon_memory->prepared_lock);
}

Datum
snowflake_horizon_holders(PG_FUNCTION_ARGS)
{
	require_layout();
	InitMaterializedSRF(fcinfo, 0);

	ReturnSetInfo *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);

	put_backends(result);
	put_prepared(result);
	return Datum{0};
}
