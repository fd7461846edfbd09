/*
 * registry_answer.hpp
 *		Reads what the registry grants, and trusts nothing that was not checked.
 */
#pragma once

#include "prelude.h"
#include "core/lease.hpp"

extern "C"
{
#include "libpq-fe.h"
}

namespace snowflake
{

/* The columns of a query whose answer is a lease, in their order. */
#define GRANT_COLUMNS \
	"worker_id, token, " MS_OF("valid_from") ", " MS_OF("valid_until") ", worker_bits, " MS_OF("epoch") ", registry"

/* All times are passed as Unix milliseconds, which no session setting can change. */
#define MS_OF(column) "(extract(epoch FROM " column ") * 1000)::bigint"

/*
 * Reads a lease, except for renew_at, from the result of such a query.  Returns
 * why this server cannot hold it, or nullptr.
 */
const char *read_grant(const PGresult *result, Lease *grant);

} // namespace snowflake
