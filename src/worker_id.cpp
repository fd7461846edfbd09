/*
 * worker_id.cpp
 *		Which worker this server is: from the configuration, or the environment,
 *		or left to the registry.  Nothing is guessed.
 *
 * The setting is a string, since PostgreSQL reads integer settings as C does:
 * '010' is 8, and '1.4' is 1.
 */
#include <cstdint>
#include <cstdlib>

#include "prelude.h"

extern "C"
{
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
}

#include "core/decimal.hpp"
#include "setting_checks.hpp"
#include "settings.hpp"
#include "worker_id.hpp"

namespace snowflake
{

int			worker_id = -1;
const char *worker_source = nullptr;

static char *worker_id_text = nullptr;

static constexpr char kWorkerIdVariable[] = "SNOWFLAKE_WORKER_ID";

static constexpr int kMaxWorkerId = (1 << kMaxWorkerBits) - 1;

/*
 * Also called for what ALTER SYSTEM is to write, and for a reload, which cannot
 * change it.  Whether the number fits into snowflake.worker_bits is left to the
 * start: both may have changed before it.
 *
 * The default is empty, for unset; no other source may leave it empty.
 */
extern "C" bool
snowflake_check_worker_id(char **value, void **, GucSource source)
{
	if (source == PGC_S_DEFAULT)
		return true;
	if (!parse_decimal(*value, kMaxWorkerId))
	{
		GUC_check_errdetail("Allowed: 0 to 2^\"%s\" - 1 in plain decimal digits.", kWorkerBits);
		return false;
	}
	if (process_shared_preload_libraries_in_progress && source > PGC_S_DYNAMIC_DEFAULT)
		worker_source = GucSource_Names[source];
	return true;
}

/* The worker ID from the environment; -1 if there is none. */
static int
worker_id_from_environment()
{
	const char *value = getenv(kWorkerIdVariable);

	if (!value)
		return -1;

	const auto	worker = parse_decimal(value, layout.max_worker());

	if (!worker)
		ereport(FATAL, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for environment variable \"%s\": \"%s\"",
							   kWorkerIdVariable, value),
						errdetail("Allowed: 0 to %d in plain decimal digits, with \"%s\" = %d.",
								  layout.max_worker(), kWorkerBits, layout.worker_bits),
						errhint("Correct \"%s\", or set \"%s\" in postgresql.conf, and start the server again.",
								kWorkerIdVariable, kWorkerId)));
	SetConfigOption(kWorkerId, psprintf("%d", static_cast<int>(*worker)), PGC_POSTMASTER, PGC_S_ENV_VAR);
	return static_cast<int>(*worker);
}

const char *
define_worker_id()
{
	const char *found = find_setting(kWorkerId);

	DefineCustomStringVariable(kWorkerId,
							   "Sets the worker ID of this server; no other server may have the same one.",
							   "0 to 2^snowflake.worker_bits - 1, in plain decimal digits. If it is not configured, the environment variable SNOWFLAKE_WORKER_ID is used.",
							   &worker_id_text, "",
							   PGC_POSTMASTER, 0, snowflake_check_worker_id, nullptr, nullptr);
	return found;
}

/* The file wins over the environment, and that over the registry. */
void
choose_worker_id(const char *found)
{
	char		allowed[100];

	snprintf(allowed, sizeof(allowed), "0 to %d in plain decimal digits, with \"%s\" = %d",
			 layout.max_worker(), kWorkerBits, layout.worker_bits);

	if (found)
	{
		const auto	worker = parse_decimal(found, layout.max_worker());

		check_text(kWorkerId, found, worker_id_text, allowed);
		if (!worker)
			refuse(kWorkerId, found, allowed);
		worker_id = static_cast<int>(*worker);
	}
	else
		worker_id = worker_id_from_environment();
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

} // namespace snowflake
