/*
 * data_directory.hpp
 *		What the data directory tells, when the server starts, of where its data
 *		come from.
 *
 * The generator starts at the mark.  That is right only if this server, or one
 * that was promoted properly, was the last to issue IDs as its worker.  A copy
 * that was started as if it were the original has the original's mark and its
 * worker ID, and no new timeline tells of it; so it is looked for here.
 */
#pragma once

namespace snowflake
{

/*
 * Stops the server when its data are a copy that is started without a
 * promotion, or when the file that keeps the mark is missing.  To be called by
 * the postmaster, before it starts the recovery.
 */
void		check_data_directory();

/*
 * Was the machine started since the server ran last, and did the server not
 * shut down in good order?  Then the data may be older than what was issued: a
 * storage snapshot, or an old primary after a failover.  Says so in the log.
 * Postmaster only, once.
 */
bool		may_be_rolled_back();

} // namespace snowflake
