/*
 * privileges.hpp
 *		Who may see what.
 */
#pragma once

#include "prelude.h"

extern "C"
{
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
}

namespace snowflake
{

/* By the rule for the server's own statistics. */
inline bool
may_see_all()
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
}

} // namespace snowflake
