/*
 * worker_id.hpp
 *		The setting snowflake.worker_id; settings.hpp has what becomes of it.
 */
#pragma once

namespace snowflake
{

/* Defines it, and returns what a configuration file or the command line gives, or nullptr. */
const char *define_worker_id();

/*
 * Sets worker_id and worker_source, from what was found of the setting, the
 * environment or the registry; FATAL if there is none, or one that is out of
 * range.  To be called once layout and leasing() are known.
 */
void		choose_worker_id(const char *found);

} // namespace snowflake
