/*
 * prepared.hpp
 *		Prepared transactions that have taken IDs.
 *
 * Whoever ends a prepared transaction need not know of its IDs, so nothing is
 * told then.  An entry stays until it is used again, which is after its
 * transaction has ended and was appended to the ended ones; readers judge by
 * their snapshot whether it has ended.
 *
 * Over a restart the entry is kept in the name of a lock, which the server saves
 * with the prepared transaction, in the WAL too.
 */
#pragma once

#include <cstdint>

#include "prelude.h"

namespace snowflake
{

/* To be called before a transaction is prepared, when it may still fail. */
void		remember_prepared(uint64_t xid, int64_t first);

/* Finds what was prepared before the shared memory was made.  Keeper only, after recovery. */
void		find_prepared();

/* Has a transaction of an entry not ended? */
bool		is_running(uint64_t xid);

/*
 * Does this process's transaction know all prepared ones?  One that was ended
 * before it could be found, but after a snapshot was taken, is in no place where
 * that snapshot's reader looks; so the transaction must have begun later.
 */
bool		prepared_is_known();

} // namespace snowflake
