/*
 * settings.cpp
 *		Defines the settings and refuses to start when one is missing, wrong or
 *		unknown.
 *
 * snowflake.id_bits and snowflake.worker_bits are strings, since PostgreSQL reads
 * integer settings as C does: '010' is 8, and '1.4' is 1.
 */
#include <cstdint>
#include <optional>

#include "prelude.h"

extern "C"
{
#include "libpq-fe.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
}

#include "core/clock.hpp"
#include "core/decimal.hpp"
#include "core/epoch.hpp"
#include "setting_checks.hpp"
#include "settings.hpp"
#include "unknown_settings.hpp"
#include "worker_id.hpp"

namespace snowflake
{

constinit Layout layout = {0, 10};
int			max_ahead = 5000;
char	   *registry_conninfo = nullptr;
int			lease_duration = 60'000;

/* The settings as strings. */
static char *id_bits_text = nullptr;
static char *worker_bits_text = nullptr;
static char *epoch = nullptr;

static bool is_leasing = false;

static constexpr char kEpoch[] = "snowflake.epoch";
static constexpr char kMaxAhead[] = "snowflake.max_ahead";
static constexpr char kLeaseDuration[] = "snowflake.lease_duration";

static constexpr char kAllowedIdBits[] = "53 to 63 in plain decimal digits";
static constexpr char kAllowedWorkerBits[] = "1 to 16 in plain decimal digits";
static constexpr char kAllowedEpoch[] = "a date and time in UTC as in \"2023-01-01 00:00:00 UTC\", from 1970 on";

static std::optional<int64_t>
parse_bits(const char *text, int min, int max)
{
	const auto	bits = parse_decimal(text, max);

	return bits >= min ? bits : std::nullopt;
}

static std::optional<int64_t>
parse_id_bits(const char *text)
{
	return parse_bits(text, kMinIdBits, kMaxIdBits);
}

static std::optional<int64_t>
parse_worker_bits(const char *text)
{
	return parse_bits(text, kMinWorkerBits, kMaxWorkerBits);
}

/*
 * The check hooks refuse what the server would not start with, so that ALTER
 * SYSTEM does not take it either.
 */
extern "C" bool
snowflake_check_id_bits(char **value, void **, GucSource)
{
	if (parse_id_bits(*value))
		return true;
	GUC_check_errdetail("Allowed: %s.", kAllowedIdBits);
	return false;
}

/* Whether it fits "snowflake.id_bits" is checked at the start: both may change until then. */
extern "C" bool
snowflake_check_worker_bits(char **value, void **, GucSource)
{
	if (parse_worker_bits(*value))
		return true;
	GUC_check_errdetail("Allowed: %s.", kAllowedWorkerBits);
	return false;
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

static int
define_id_bits()
{
	const char *found = find_setting(kIdBits);

	DefineCustomStringVariable(kIdBits,
							   "Sets the number of bits of an ID.",
							   "53 to 63, in plain decimal digits; 53 is exact as a JavaScript number. It cannot be changed once IDs have been issued.",
							   &id_bits_text, "63",
							   PGC_POSTMASTER, 0, snowflake_check_id_bits, nullptr, nullptr);
	check_text(kIdBits, found, id_bits_text, kAllowedIdBits);
	return static_cast<int>(*parse_id_bits(id_bits_text));
}

/* Even the default does not fit every id_bits, and another value is not guessed. */
static int
define_worker_bits(int id_bits)
{
	const char *found = find_setting(kWorkerBits);

	DefineCustomStringVariable(kWorkerBits,
							   "Sets the number of bits of an ID that hold the worker ID.",
							   "1 to 16, in plain decimal digits, and at most snowflake.id_bits - 47. The sequence gets the rest of the bits below the time. It cannot be changed once IDs have been issued.",
							   &worker_bits_text, "10",
							   PGC_POSTMASTER, 0, snowflake_check_worker_bits, nullptr, nullptr);
	check_text(kWorkerBits, found, worker_bits_text, kAllowedWorkerBits);

	const int	worker_bits = static_cast<int>(*parse_worker_bits(worker_bits_text));

	if (worker_bits > max_worker_bits(id_bits))
		refuse(kWorkerBits, worker_bits_text,
			   psprintf("1 to %d in plain decimal digits, with \"%s\" = %d", max_worker_bits(id_bits), kIdBits, id_bits));
	return worker_bits;
}

static int64_t
define_epoch()
{
	const char *found = find_setting(kEpoch);

	DefineCustomStringVariable(kEpoch,
							   "Sets the time from which IDs count milliseconds.",
							   "ISO 8601, UTC, from 1970 on and not in the future. It cannot be changed once IDs have been issued.",
							   &epoch, "2023-01-01 00:00:00 UTC",
							   PGC_POSTMASTER, 0, snowflake_check_epoch, nullptr, nullptr);
	check_text(kEpoch, found, epoch, kAllowedEpoch);

	const int64_t epoch_ms = *parse_epoch(epoch);

	if (epoch_ms > read_system_clock().unix_ms)
		ereport(FATAL, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for parameter \"%s\": \"%s\"", kEpoch, epoch),
						errdetail("It is in the future: this server's clock shows %s.",
								  timestamptz_to_str(GetCurrentTimestamp())),
						errhint("Correct \"%s\" or the clock, and start the server again.", kEpoch)));
	return epoch_ms;
}

static void
define_layout()
{
	const int	id_bits = define_id_bits();
	const int	worker_bits = define_worker_bits(id_bits);

	layout = Layout(define_epoch(), worker_bits, id_bits);
}

/* libpq's own message would show the offending text, perhaps a password. */
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
							   "A libpq connection string. With \"snowflake.worker_id\" set as well, that worker ID is leased. Whether the server uses a registry is decided when it starts.",
							   &registry_conninfo, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, snowflake_check_registry, nullptr, nullptr);
	if (!is_connection_string(registry_conninfo))
		refuse(kRegistry, "...", "a libpq connection string");
	is_leasing = *registry_conninfo != '\0';

	DefineCustomIntVariable(kLeaseDuration,
							"Sets how much ID time a lease reserves.",
							"1 second to 1 day. IDs keep flowing for up to this long while the registry is unreachable.",
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
							"0 to 1 hour. Bursts and backward steps of the clock use it up; callers then wait.",
							&max_ahead, 5000, 0, 3'600'000,
							PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr, nullptr);
	check_int(kMaxAhead, found, max_ahead, GUC_UNIT_MS, "0 to 1h");
}

static void
check_origin_states()
{
	if (ORIGIN_STATES < 2)
		ereport(FATAL, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for parameter \"%s\": \"%d\"", ORIGIN_STATES_SETTING, ORIGIN_STATES),
						errdetail("The snowflake generator keeps its durable state in two replication origin states."),
						errhint("Set \"%s\" to 2 more than replication needs, on each standby first.",
								ORIGIN_STATES_SETTING)));
}

bool
leasing()
{
	return is_leasing;
}

/* Report a misspelt setting before whatever is missing, or wrong, because of it. */
void
define_settings()
{
	define_layout();
	define_registry();

	const char *worker_id_found = define_worker_id();

	define_max_ahead();
	refuse_unknown_settings();
	choose_worker_id(worker_id_found);
	MarkGUCPrefixReserved("snowflake");
	check_origin_states();
}

} // namespace snowflake
