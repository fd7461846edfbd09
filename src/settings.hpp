/*
 * settings.hpp
 *		The settings, snowflake.*, and what follows from them.
 *
 * Fixed for the life of the server unless marked "reload".
 */
#pragma once

#include "core/layout.hpp"

namespace snowflake
{

/* Which worker this server is: 0 to layout.max_worker(); -1: the registry decides. */
extern int	worker_id;

/* Where worker_id came from, as pg_settings names it. */
extern const char *worker_source;

/* From snowflake.id_bits, snowflake.worker_bits and snowflake.epoch. */
extern Layout layout;

/*
 * How to connect to the registry; reload.  Empty: there is none, or no longer
 * one; only leasing() says whether IDs need one.
 */
extern char *registry_conninfo;

/* How much ID time a lease reserves, in milliseconds; reload. */
extern int	lease_duration;

/*
 * Does the worker ID need a lease?  It does if there was a registry when the
 * server started.  A reload must not decide it: servers reload at different
 * times, and as long as one of them leased a worker ID that another one was still
 * configured with, both would issue its IDs.
 */
bool		leasing();

/*
 * Does this server issue IDs on its lease in recovery, too?  A configured worker
 * ID is the primary's: a standby that leased it would issue as its primary,
 * which may not lease it yet.
 */
inline bool
leases_in_recovery()
{
	return leasing() && worker_id < 0;
}

/* The largest lead over the clock, in milliseconds; reload. */
extern int	max_ahead;

/*
 * Defines the settings and checks them.  To be called once, by the postmaster
 * while it preloads; FATAL when a setting is missing, wrong or unknown.
 */
void		define_settings();

} // namespace snowflake
