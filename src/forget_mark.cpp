/*
 * forget_mark.cpp
 *		snowflake_forget_mark(): lets the generator start from the clock again,
 *		after a clock that was far in the future has moved the high-water mark there.
 */
#include <cstdint>

#include "prelude.h"

extern "C"
{
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/ipc.h"
}

#include "core/clock.hpp"
#include "keeper_wait.hpp"
#include "pin.hpp"
#include "refusals.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "timestamps.hpp"

extern "C"
{
SQL_FUNCTION(snowflake_forget_mark);
}

using namespace snowflake;

using Phase = ForgetRequest::Phase;

static void
require_permission()
{
	if (!superuser())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be superuser to call snowflake_forget_mark()")));
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
						errmsg("cannot execute snowflake_forget_mark() during recovery")));
}

/* The keeper knows of IDs that would be issued again. */
[[noreturn]] static void
raise_issued_ahead()
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("cannot execute snowflake_forget_mark() because worker ID %d has issued IDs with a future time", worker_id),
					errdetail("Since it was started, this server has issued IDs up to %s, and the clock shows %s.",
							  to_text(layout.unix_ms(shared->issued_until.load())),
							  to_text(read_system_clock().unix_ms)),
					errhint("Give the server a worker ID that has never been used, restart it, and call snowflake_forget_mark() again.")));
}

/*
 * Withdraws the request, or takes note of its answer.  Also runs when this process
 * is terminated, when nothing else of the call does.
 */
extern "C" void
snowflake_end_forget_request(int, Datum)
{
	if (!shared->forget_request.end())
		ereport(WARNING, (errmsg("snowflake_forget_mark() could not be withdrawn and will take effect"),
						  errdetail("The background worker \"snowflake keeper\" had already started to carry it out.")));
}

/* The keeper's answer; kWaiting or kTaken if it does not come in time. */
static Phase
wait_for_answer()
{
	static uint32 event = 0;
	const auto	is_answered = []
	{
		const Phase phase = shared->forget_request.phase();

		return phase != Phase::kWaiting && phase != Phase::kTaken;
	};

	wait_for_keeper(is_answered, kKeeperPatience, EXTENSION_WAIT_EVENT(event, "SnowflakeForgetMark"));
	return shared->forget_request.phase();
}

Datum
snowflake_forget_mark(PG_FUNCTION_ARGS)
{
	Phase		answer;

	(void) fcinfo;
	require_layout();
	require_permission();
	ereport(WARNING, (errmsg("snowflake IDs start from the system clock again"),
					  leasing() ? errdetail("They are issued with another lease from the registry. They do not repeat, but sort below IDs that had a later time.")
								: errdetail("This assumes that worker ID %d has never issued an ID later than now. If it has, IDs will repeat.",
											worker_id)));
	ereport(LOG, (errmsg("snowflake_forget_mark() was called by role \"%s\"",
						 GetUserNameFromId(GetUserId(), false))));

	if (!shared->forget_request.begin())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("snowflake_forget_mark() is running in another session")));
	PG_ENSURE_ERROR_CLEANUP(snowflake_end_forget_request, Datum{0});
	{
		answer = wait_for_answer();
	}
	PG_END_ENSURE_ERROR_CLEANUP(snowflake_end_forget_request, Datum{0});
	snowflake_end_forget_request(0, Datum{0});

	if (answer == Phase::kRefused)
		raise_issued_ahead();
	if (answer != Phase::kDone)
		raise_keeper_late();
	PG_RETURN_VOID();
}
