/*
 * transaction.hpp
 *		What a transaction tells of the IDs that it takes: see core/announcement.hpp
 *		and core/ended_ring.hpp.
 */
#pragma once

#include <cstdint>

#include "prelude.h"
#include "core/announcement.hpp"

namespace snowflake
{

/*
 * Counts this process's transactions, so that what was remembered in one is not
 * used in another.
 */
extern uint64_t transaction_number;

/*
 * Where this process announces.  A parallel worker's transaction is its leader's.
 */
Announcement &my_announcement();

/*
 * To be called before the first ID of a transaction is claimed, in each of its
 * processes.  True if settle_announcement() may follow.
 */
bool		announce_transaction();

/* The first ID is this one, and not just any above the bound. */
void		settle_announcement(int64_t first);

/* To be called once, while the library is preloaded. */
void		register_transaction_callback();

/* Appends a transaction that has ended. */
void		append_ended(uint64_t xid, int64_t first);

} // namespace snowflake
