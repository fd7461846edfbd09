/*
 * refusals.cpp
 *		Raises the errors of calls that get no ID, from the state in shared memory.
 */
#include <cstdint>
#include <cstring>

#include "prelude.h"

extern "C"
{
#include "miscadmin.h"
}

#include "now.hpp"
#include "privileges.hpp"
#include "refusals.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "timestamps.hpp"

namespace snowflake
{

void
raise_exhausted()
{
	ereport(ERROR, (errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
					errmsg("the time bits of snowflake IDs are used up"),
					errdetail("This layout ends at %s.", to_text(layout.unix_ms(kEndOfTime))),
					errhint("If that time is in the future, correct the system clock.")));
}

/* blocked_ms: the time of the ID that cannot be issued yet. */
void
raise_clock_behind(int64_t blocked_ms, int64_t now)
{
	ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
					errmsg("the system clock is too far behind the newest snowflake ID"),
					errdetail("The clock shows %s, and the next ID would have the time %s, which is %s ahead; \"snowflake.max_ahead\" allows %s.",
							  to_text(layout.unix_ms(now)), to_text(layout.unix_ms(blocked_ms)),
							  duration_text(blocked_ms - now), duration_text(max_ahead)),
					errhint("IDs will be issued again when the clock shows %s. If the clock was set to the future by mistake, give the server a worker ID that has never been used, restart it, and call snowflake_forget_mark() as a superuser.",
							to_text(layout.unix_ms(blocked_ms - max_ahead)))));
}

void
raise_in_recovery()
{
	ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
					errmsg("cannot issue snowflake IDs during recovery"),
					errdetail("The primary issues IDs with the worker ID that is configured here."),
					errhint("Get the ID from the primary.")));
}

/*
 * The registry's message may have names in it that are not for everybody, so it is
 * shown only to roles that may see all statistics.
 */
void
raise_no_lease()
{
	LWLockAcquire(shared->lock, LW_SHARED);

	const Lease lease = shared->lease;
	const Failure failure = shared->lease_failure;

	LWLockRelease(shared->lock);

	const int64_t now = now_ms();

	if (lease.until > now)
		ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
						errmsg("snowflake IDs have run ahead of the clock to the end of the lease of their worker ID"),
						errdetail("The clock shows %s, and the lease of worker ID %d ends at %s.",
								  to_text(layout.unix_ms(now)), lease.worker, to_text(layout.unix_ms(lease.until))),
						errhint("IDs will be issued again when the clock has caught up. A longer \"snowflake.lease_duration\" lets them run further ahead.")));

	const char *ended = lease.until > 0
							? psprintf("The lease of worker ID %d ended at %s.", lease.worker, to_text(layout.unix_ms(lease.until)))
							: "None has been granted yet.";

	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("this server holds no lease of a worker ID"),
					failure.count == 0 ? errdetail("%s The registry has not answered yet.", ended) :
					may_see_all() ? errdetail("%s The last request to the registry failed at %s: %s.", ended, timestamptz_to_str(failure.at), failure.message) :
									errdetail("%s The last request to the registry failed at %s.", ended, timestamptz_to_str(failure.at)),
					errhint("IDs will be issued again as soon as the registry grants a lease. See \"lease_error\" in snowflake_status(), and the server log.")));
}

/*
 * An error of the server may name files and roles: like the registry's message, it
 * and its hint are shown only to roles that may see all statistics.
 */
void
raise_keeper_late()
{
	char		attempt[sizeof(shared->keeper_attempt)];
	const bool	running = shared->keeper_pid.load() != 0;

	LWLockAcquire(shared->lock, LW_SHARED);
	strlcpy(attempt, shared->keeper_attempt, sizeof(attempt));

	const Failure failure = shared->keeper_failure;

	LWLockRelease(shared->lock);

	const bool	failed = failure.count > 0;
	const char *hint = failed && failure.hint[0] != '\0' && may_see_all() ? failure.hint :
		!failed && !running ? "Check the server log, and make sure that \"max_worker_processes\" leaves room for the background worker." :
							  "Check the server log.";

	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("could not issue a snowflake ID: the background worker did not respond in time"),
					failed && may_see_all() ? errdetail("The background worker \"snowflake keeper\" failed at %s: %s.",
														timestamptz_to_str(failure.at), failure.message) :
					failed ? errdetail("The background worker \"snowflake keeper\" failed at %s.",
									   timestamptz_to_str(failure.at)) :
					!running ? errdetail("The background worker \"snowflake keeper\" is not running.") :
					attempt[0] != '\0' ? errdetail("The background worker \"snowflake keeper\" is %s.", attempt) :
										 errdetail("The background worker \"snowflake keeper\" is not responding."),
					errhint("%s", hint)));
}

} // namespace snowflake
