/*
 * keeper_report.cpp
 *		Writes the keeper's report into shared memory.
 */
#include <cstring>

#include "prelude.h"

#include "keeper_report.hpp"
#include "shared.hpp"

namespace snowflake
{

void
set_attempt(const char *attempt)
{
	/* The keeper is the only one that writes it, and may read it without the lock. */
	if (strcmp(shared->keeper_attempt, attempt) == 0)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	strlcpy(shared->keeper_attempt, attempt, sizeof(shared->keeper_attempt));
	LWLockRelease(shared->lock);
}

void
record_failure(const char *message, const char *hint)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	note_failure(&shared->keeper_failure, message, hint);
	LWLockRelease(shared->lock);
}

void
record_success()
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->keeper_attempt[0] = '\0';
	shared->keeper_failure.count = 0;
	LWLockRelease(shared->lock);
}

int
failures_in_a_row()
{
	LWLockAcquire(shared->lock, LW_SHARED);

	const int	failures = shared->keeper_failure.count;

	LWLockRelease(shared->lock);
	return failures;
}

} // namespace snowflake
