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

/*
 * Reads a lease, except for renew_at, from the result of lease() or renew() in the
 * binary format, which no session setting can change.  Returns why this server
 * cannot hold it, or nullptr.
 */
const char *read_grant(const PGresult *result, Lease *grant);

} // namespace snowflake
