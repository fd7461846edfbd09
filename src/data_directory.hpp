/*
 * data_directory.hpp
 *		What the data directory reveals, when the server starts, about where its
 *		data come from.
 *
 * The generator starts at the high-water mark ("mark" for short, see mark.hpp).
 * That is right only if this server, or one that was properly promoted, was the
 * last to issue IDs as its worker.  A copy that was started as if it were the
 * original has the original's mark and worker ID, and no new timeline gives it
 * away; so it is detected here.
 */
#pragma once

namespace snowflake
{

/*
 * Stops the server when its data are a copy that is started without a
 * promotion, or when the file that keeps the mark is missing.  To be called by
 * the postmaster, before it starts recovery.
 */
void		check_data_directory();

/*
 * Has the machine been restarted since the server last ran, without a clean
 * shutdown of the server?  Then the data may be older than what was issued: a
 * storage snapshot, or an old primary after a failover.  Says so in the log.
 * Postmaster only, once.
 */
bool		may_be_rolled_back();

} // namespace snowflake
