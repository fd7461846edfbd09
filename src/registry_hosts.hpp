/*
 * registry_hosts.hpp
 *		Connects to the hosts of the registry in turn.
 */
#pragma once

#include "prelude.h"

extern "C"
{
#include "libpq-fe.h"
}

namespace snowflake
{

/*
 * Begins to connect to "snowflake.registry", as PQconnectStart() does; nullptr if
 * there is no memory.
 */
PGconn	   *start_connecting();

/*
 * The next connection begins with the next host of the list.  libpq tries all of
 * them, but it waits for one that accepts and never answers until the request's
 * time is over.
 */
void		begin_with_next_host();

} // namespace snowflake
