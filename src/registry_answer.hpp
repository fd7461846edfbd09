/*
 * registry_answer.hpp
 *		Reads what the registry grants; nothing in it is trusted further than it
 *		was checked.
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

/* All times go as Unix milliseconds, which no setting of the session can change. */
#define MS_OF(column) "(extract(epoch FROM " column ") * 1000)::bigint"

/*
 * Takes a lease (but for renew_at) from the result of such a query.  Returns why
 * it is none that this server could hold, or nullptr.
 */
const char *read_grant(const PGresult *result, Lease *grant);

} // namespace snowflake
