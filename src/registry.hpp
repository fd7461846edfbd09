/*
 * registry.hpp
 *		The client of the registry: one request at a time, over a connection of
 *		its own, without ever waiting.
 *
 * The registry is a PostgreSQL database with the extension snowflake_registry;
 * "snowflake.registry" is its connection string.  Belongs to the keeper.
 */
#pragma once

#include <cstdint>

#include "compat.h"
#include "lease.hpp"

namespace snowflake
{

enum class RegistryState
{
	kIdle,
	kAsking,
	kAnswered,
	kRefused,					/* the token is not, or not any more, that of a lease */
	kFailed						/* registry_failure() says why */
};

/*
 * Under which name this server leases: "cluster_name", or its host and port.  For
 * people, and for what is reserved in the registry.
 */
const char *lease_holder();

/* now: what our clock shows; worker: -1 for any. */
void		ask_for_lease(int64_t now, int64_t duration, int32_t worker);
void		ask_for_renewal(const Lease &lease, int64_t now, int64_t duration);
void		ask_to_take_back(const Lease &lease, int64_t used_until);

/* Goes on with the request as far as it can without waiting. */
RegistryState advance_request();

RegistryState request_state();

/* While it is kAsking: what it waits for. */
LeaseWait	request_wait();
void		request_is_ready();

/* The request is over, or given up. */
void		end_request();

/* While the state is kAnswered: what was granted (renew_at is not set). */
const Lease &registry_grant();

/* While the state is kFailed or kRefused. */
const char *registry_failure();

} // namespace snowflake
