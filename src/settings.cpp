/*
 * settings.cpp
 *		Defines the settings and refuses to start when one is missing or wrong.
 *
 * PostgreSQL only warns when a custom setting in the configuration file cannot
 * be applied, and goes on with the next source: the environment, or the
 * default.  A worker ID that was meant otherwise makes duplicates, so here that
 * stops the server: what the file or the command line said is looked up before
 * the setting is defined, and compared with what took effect.
 */
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "compat.h"

extern "C"
{
#include "libpq-fe.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/timestamp.h"
}

#include "clock.hpp"
#include "epoch.hpp"
#include "settings.hpp"

namespace snowflake
{

int			worker_id = -1;
const char *worker_source = nullptr;
Layout		layout = {0, 10};
int			max_ahead = 5000;
char	   *registry_conninfo = nullptr;
int			lease_duration = 60'000;

static char *epoch = nullptr;

static bool is_leasing = false;

static constexpr char kWorkerId[] = "snowflake.worker_id";
static constexpr char kWorkerBits[] = "snowflake.worker_bits";
static constexpr char kEpoch[] = "snowflake.epoch";
static constexpr char kMaxAhead[] = "snowflake.max_ahead";
static constexpr char kRegistry[] = "snowflake.registry";
static constexpr char kLeaseDuration[] = "snowflake.lease_duration";
static constexpr char kWorkerIdVariable[] = "SNOWFLAKE_WORKER_ID";

static constexpr char kAllowedEpoch[] = "a date and time in UTC as in \"2023-01-01 00:00:00 UTC\", from 1970 on";

static constexpr int kMaxWorkerId = (1 << kMaxWorkerBits) - 1;

/*
 * Stops the server.  `found` came from the configuration file, the command
 * line or the environment.
 */
[[noreturn]] static void
refuse(const char *name, const char *found, const char *allowed)
{
	ereport(FATAL, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid value for parameter \"%s\": \"%s\"", name, found),
					errdetail("Allowed: %s.", allowed),
					errhint("Correct \"%s\" and start the server again.", name)));
	pg_unreachable();
}

/* What a configuration file or the command line gives, or nullptr. */
static const char *
find_setting(const char *name)
{
	const char *value = GetConfigOption(name, true, false);

	return value ? pstrdup(value) : nullptr;
}

static void
check_int(const char *name, const char *found, int value, int flags, const char *allowed)
{
	int			parsed;

	if (found && !(parse_int(found, &parsed, flags, nullptr) && parsed == value))
		refuse(name, found, allowed);
}

/*
 * The check hooks refuse what the server would not start with, so that ALTER
 * SYSTEM does not take it either.
 *
 * This one also remembers where the worker ID came from.  It is called for every
 * attempt to set it; those after the preload cannot succeed.
 */
extern "C" bool
snowflake_check_worker_id(int *value, void **, GucSource source)
{
	if (*value > layout.max_worker())
	{
		GUC_check_errdetail("Allowed: 0 to %d with \"%s\" = %d.",
							layout.max_worker(), kWorkerBits, layout.worker_bits);
		return false;
	}
	if (process_shared_preload_libraries_in_progress && source > PGC_S_DYNAMIC_DEFAULT)
		worker_source = GucSource_Names[source];
	return true;
}

extern "C" bool
snowflake_check_epoch(char **value, void **, GucSource)
{
	const auto	parsed = parse_epoch(*value);

	if (!parsed || *parsed < 0)
	{
		GUC_check_errdetail("Allowed: %s.", kAllowedEpoch);
		return false;
	}
	return true;
}

/*
 * The worker ID from the environment, if there is one.  Digits only: what
 * parse_int() would round or scale was hardly meant so.
 */
static void
worker_id_from_environment()
{
	const char *value = getenv(kWorkerIdVariable);

	if (!value)
		return;
	if (*value == '\0' || strlen(value) > 9 || strspn(value, "0123456789") != strlen(value) ||
		atoi(value) > layout.max_worker())
		ereport(FATAL, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for environment variable \"%s\": \"%s\"",
							   kWorkerIdVariable, value),
						errdetail("Allowed: 0 to %d, in decimal digits, with \"%s\" = %d.",
								  layout.max_worker(), kWorkerBits, layout.worker_bits),
						errhint("Correct \"%s\", or set \"%s\" in postgresql.conf, and start the server again.",
								kWorkerIdVariable, kWorkerId)));
	SetConfigOption(kWorkerId, value, PGC_POSTMASTER, PGC_S_ENV_VAR);
}

static void
define_layout()
{
	const char *bits_found = find_setting(kWorkerBits);
	const char *epoch_found = find_setting(kEpoch);

	DefineCustomIntVariable(kWorkerBits,
							"Sets how many bits of an ID are the worker ID's.",
							"1 to 16. The sequence has 22 minus that. It cannot be changed once IDs have been issued.",
							&layout.worker_bits, 10, kMinWorkerBits, kMaxWorkerBits,
							PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
	check_int(kWorkerBits, bits_found, layout.worker_bits, 0, "1 to 16");

	DefineCustomStringVariable(kEpoch,
							   "Sets the time that IDs count their milliseconds from.",
							   "ISO 8601, UTC, from 1970 on and not in the future. It cannot be changed once IDs have been issued.",
							   &epoch, "2023-01-01 00:00:00 UTC",
							   PGC_POSTMASTER, 0, snowflake_check_epoch, nullptr, nullptr);
	if (epoch_found && strcmp(epoch_found, epoch) != 0)
		refuse(kEpoch, epoch_found, kAllowedEpoch);

	layout.epoch_ms = *parse_epoch(epoch);
	if (layout.epoch_ms > read_system_clock().unix_ms)
		ereport(FATAL, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for parameter \"%s\": \"%s\"", kEpoch, epoch),
						errdetail("It is in the future: this server's clock shows %s.",
								  timestamptz_to_str(GetCurrentTimestamp())),
						errhint("Correct \"%s\" or the clock, and start the server again.", kEpoch)));
}

static void
define_worker_id()
{
	const char *found = find_setting(kWorkerId);
	char		allowed[100];

	snprintf(allowed, sizeof(allowed), "0 to %d with \"%s\" = %d",
			 layout.max_worker(), kWorkerBits, layout.worker_bits);

	DefineCustomIntVariable(kWorkerId,
							"Sets which worker this server is; no other server may be the same.",
							"0 to 2^snowflake.worker_bits - 1. -1 stands for unset: then the environment variable SNOWFLAKE_WORKER_ID gives it.",
							&worker_id, -1, -1, kMaxWorkerId,
							PGC_POSTMASTER, 0, snowflake_check_worker_id, nullptr, nullptr);
	check_int(kWorkerId, found, worker_id, 0, allowed);
	if (worker_id < 0)
		worker_id_from_environment();
	if (worker_id >= 0)
		return;
	if (!leasing())
		ereport(FATAL, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"%s\" is not set", kWorkerId),
						errdetail("Every server needs a worker ID that no other server has; allowed: %s.", allowed),
						errhint("Set \"%s\" in postgresql.conf, or the environment variable \"%s\", or \"%s\" for a registry that leases worker IDs, and start the server again.",
								kWorkerId, kWorkerIdVariable, kRegistry)));
	worker_source = "registry";
}

/* libpq's own words would show what they stumble over, a password perhaps. */
static bool
is_connection_string(const char *value)
{
	char	   *error = nullptr;
	PQconninfoOption *options = PQconninfoParse(value, &error);

	PQconninfoFree(options);
	PQfreemem(error);
	return options != nullptr;
}

/* While the server starts we refuse it ourselves: core would show the value. */
extern "C" bool
snowflake_check_registry(char **value, void **, GucSource)
{
	if (process_shared_preload_libraries_in_progress || is_connection_string(*value))
		return true;
	GUC_check_errdetail("It is not a libpq connection string.");
	return false;
}

static void
define_registry()
{
	const char *duration_found = find_setting(kLeaseDuration);

	DefineCustomStringVariable(kRegistry,
							   "Sets how to connect to the registry that leases worker IDs.",
							   "A libpq connection string. With \"snowflake.worker_id\" set as well, that worker ID is leased. Whether there is a registry is decided when the server starts.",
							   &registry_conninfo, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, snowflake_check_registry, nullptr, nullptr);
	if (!is_connection_string(registry_conninfo))
		refuse(kRegistry, "...", "a libpq connection string");
	is_leasing = *registry_conninfo != '\0';

	DefineCustomIntVariable(kLeaseDuration,
							"Sets how much time of IDs a lease reserves at a time.",
							"1 second to 1 day. So long the registry may be away at the most.",
							&lease_duration, 60'000, 1000, 86'400'000,
							PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr, nullptr);
	check_int(kLeaseDuration, duration_found, lease_duration, GUC_UNIT_MS, "1s to 1d");
}

static void
define_max_ahead()
{
	const char *found = find_setting(kMaxAhead);

	DefineCustomIntVariable(kMaxAhead,
							"Sets how far IDs may run ahead of the clock.",
							"0 to 1 hour. A burst uses it up, and so does a clock that steps back; then callers wait.",
							&max_ahead, 5000, 0, 3'600'000,
							PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr, nullptr);
	check_int(kMaxAhead, found, max_ahead, GUC_UNIT_MS, "0 to 1h");
}

bool
leasing()
{
	return is_leasing;
}

void
define_settings()
{
	define_layout();
	define_registry();
	define_worker_id();
	define_max_ahead();
	MarkGUCPrefixReserved("snowflake");

	if (ORIGIN_STATES < 2)
		ereport(FATAL, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for parameter \"%s\": \"%d\"", ORIGIN_STATES_SETTING, ORIGIN_STATES),
						errdetail("The snowflake generator keeps its durable mark in two replication origin states."),
						errhint("Set \"%s\" to 2 more than replication needs, on each standby first.",
								ORIGIN_STATES_SETTING)));
}

} // namespace snowflake
