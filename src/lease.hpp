/*
 * lease.hpp
 *		A worker ID that the registry leases to this server.
 *
 * With "snowflake.registry" set, the worker ID is ours for some interval of ID
 * time, whatever any clock shows.  The keeper takes the lease, renews it well
 * before its end, and lets no window pass that.
 */
#pragma once

#include <cstdint>

#include "compat.h"

namespace snowflake
{

/* A UUID as text, with its end. */
inline constexpr int kUuidSize = 37;

struct Lease
{
	int32_t		worker;
	int64_t		from;			/* the first millisecond that is ours, */
	int64_t		until;			/* and the first that is not; since the epoch */
	int64_t		renew_at;		/* when the clock shows this, renew */
	char		token[kUuidSize];	/* empty: it cannot be renewed or given back */
	char		registry[kUuidSize];
};

/*
 * Does what is due, without waiting for the registry.  now: what the clock shows;
 * newest: the time of the newest ID, which may be ahead.  True if there is a new
 * lease, of another worker ID most likely, to be put into shared->lease.
 */
bool		tend_lease(int64_t now, int64_t newest);
const Lease &new_lease();

/*
 * When tend_lease() has something to do again: in how many milliseconds, or when
 * that socket has one of those events (WL_SOCKET_…; 0: no socket).
 */
struct LeaseWait
{
	long		timeout;
	pgsocket	socket;
	int			events;
};

LeaseWait	lease_wait(int64_t now);

/* Such an event has come. */
void		lease_is_ready();

/* Drops the lease without giving it back: another one is taken. */
void		forget_lease();

/*
 * Gives back what is left of the lease from this time on, and waits for that a
 * little.  The generator has to be closed.
 */
void		give_back_lease(int64_t used_until);

} // namespace snowflake
