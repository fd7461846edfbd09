/*
 * setting_checks.hpp
 *		What was set is what takes effect, or the server does not start.
 *
 * PostgreSQL only warns when a custom setting in the configuration file cannot
 * be applied, and goes on with the next source: the environment, or the
 * default.  A worker ID other than the intended one makes duplicates, so here that
 * stops the server: what the file or the command line said is looked up before
 * the setting is defined, and compared with what took effect.
 */
#pragma once

namespace snowflake
{

/* Names that more than one file uses. */
inline constexpr char kIdBits[] = "snowflake.id_bits";
inline constexpr char kWorkerId[] = "snowflake.worker_id";
inline constexpr char kWorkerBits[] = "snowflake.worker_bits";
inline constexpr char kRegistry[] = "snowflake.registry";

/*
 * What a configuration file or the command line gives, or nullptr; palloc'd.
 * For a setting that is not defined yet.
 */
const char *find_setting(const char *name);

/*
 * Stops the server.  `found` is what find_setting() returned, and `allowed` a
 * phrase.
 */
[[noreturn]] void refuse(const char *name, const char *found, const char *allowed);

/* Stop the server if what was found did not take effect; flags: GUC_UNIT_… */
void		check_text(const char *name, const char *found, const char *value, const char *allowed);
void		check_int(const char *name, const char *found, int value, int flags, const char *allowed);

} // namespace snowflake
