/*
 * unknown_settings.hpp
 *		Settings with our prefix that do not exist.
 */
#pragma once

namespace snowflake
{

/*
 * FATAL if a configuration file or the command line gives one.  To be called by
 * the postmaster once all settings are defined, and before the prefix is
 * reserved, which drops the unknown ones.
 */
void		refuse_unknown_settings();

} // namespace snowflake
