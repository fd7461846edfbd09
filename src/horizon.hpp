/*
 * horizon.hpp
 *		The ID up to which a reader has seen all rows that it will ever see.
 */
#pragma once

#include <cstdint>

#include "prelude.h"

namespace snowflake
{

/*
 * Every row whose key this server's generator issued, at or below this ID, in
 * the transaction that inserted the row, is visible to the active snapshot, or
 * never will be to any.  Raises an error where that cannot be known.
 */
int64_t		horizon_of_active_snapshot();

/*
 * The same for a snapshot that is taken after the call.  It need not be as high as
 * possible: what is prepared counts until somebody has noticed that it ended.
 */
int64_t		horizon_now();

[[noreturn, gnu::cold]] void raise_horizon_in_recovery();

/*
 * For how long the horizon has been held back, in milliseconds: the age of the
 * oldest ID whose transaction has not ended, 0 if there is none.
 */
int64_t		horizon_lag();

/* Waits until the keeper has found what was prepared before a restart. */
void		require_prepared_known();

} // namespace snowflake
