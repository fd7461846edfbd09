/*
 * horizon_wait.cpp
 *		snowflake_wait_for_horizon(): waits until no transaction can bring a row
 *		at or below an ID any more.
 */
#include <algorithm>
#include <cstdint>

#include "prelude.h"

extern "C"
{
#include "access/xact.h"
#include "access/xlog.h"
#include "datatype/timestamp.h"
#include "miscadmin.h"
#include "storage/latch.h"
}

#include "arguments.hpp"
#include "claim.hpp"
#include "core/stopwatch.hpp"
#include "horizon.hpp"
#include "horizon_memory.hpp"
#include "known_horizon.hpp"
#include "newest_id.hpp"
#include "now.hpp"
#include "pin.hpp"
#include "timestamps.hpp"
#include "transaction.hpp"

extern "C"
{
SQL_FUNCTION(snowflake_wait_for_horizon);
}

using namespace snowflake;

/* How often to look, in milliseconds: at first, and at last. */
static constexpr long kFirstLook = 1;
static constexpr long kLastLook = 20;

/* In milliseconds; a month has 30 days, as in comparisons of intervals. */
static int64_t
checked_timeout(const Interval &interval)
{
	const int64_t days = int64_t{interval.month} * DAYS_PER_MONTH + interval.day;
	const int64_t ms = days * SECS_PER_DAY * 1000 + interval.time / 1000;

	if (ms < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("timeout must not be negative")));
	return ms;
}

/* What would never end, or be of no use. */
static void
require_sense(int64_t id)
{
	if (RecoveryInProgress())
		raise_horizon_in_recovery();
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_STATE),
						errmsg("cannot wait for the snowflake horizon in isolation level \"%s\"",
							   XactIsoLevel == XACT_SERIALIZABLE ? "serializable" : "repeatable read"),
						errdetail("The snapshot of this transaction cannot see the rows that are waited for."),
						errhint("Call it before the transaction that reads the rows.")));
	if (my_announcement().first() <= id)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_STATE),
						errmsg("cannot wait for the snowflake horizon to reach an ID of this transaction"),
						errdetail("This transaction holds the horizon below the first ID that it took."),
						errhint("Call it after the transaction has ended.")));
}

/*
 * The horizon does not pass the newest ID.  If there has been none since the time
 * of the one that is waited for, one is taken, for nobody.
 */
static void
let_time_pass(int64_t id)
{
	if (newest_id() < id && layout.decompose(id).ms < now_ms())
		(void) claim(1);
}

static bool
wait_for_horizon(int64_t id, int64_t timeout)
{
	static uint32 event = 0;
	const Stopwatch since_start;
	long		pause = kFirstLook;

	for (;;)
	{
		let_time_pass(id);
		if (horizon_now() >= id)
		{
			forget_known_horizons();
			return true;
		}

		const int64_t left = timeout - since_start.elapsed_ms();

		if (left <= 0)
			return false;
		WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, std::min<int64_t>(left, pause),
				  EXTENSION_WAIT_EVENT(event, "SnowflakeHorizonWait"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		pause = std::min(2 * pause, kLastLook);
	}
}

Datum
snowflake_wait_for_horizon(PG_FUNCTION_ARGS)
{
	require_layout();

	const int64_t id = checked_id(PG_GETARG_INT64(0));
	const int64_t timeout = checked_timeout(*PG_GETARG_INTERVAL_P(1));

	require_sense(id);
	require_prepared_known();
	PG_RETURN_BOOL(wait_for_horizon(id, timeout));
}
