/*
 * registry_answer.cpp
 *		Checks a lease against this server's layout, and the registry that grants
 *		it against the one that this server has leased from before.
 */
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "prelude.h"

extern "C"
{
#include "storage/fd.h"
}

#include "core/decimal.hpp"
#include "registry_answer.hpp"
#include "settings.hpp"
#include "timestamps.hpp"

namespace snowflake
{

static constexpr int kGrantColumns = 7;

/* The file in the data directory that remembers the registry. */
static constexpr char kRegistryFile[] = "snowflake_registry";

static bool
parse_integer(const char *text, int64_t min, int64_t max, int64_t *value)
{
	const auto	parsed = parse_decimal(text, max);

	*value = parsed.value_or(0);
	return parsed >= min;
}

static bool
is_uuid(const char *text)
{
	return strlen(text) == kUuidSize - 1 && strspn(text, "0123456789abcdef-") == kUuidSize - 1;
}

static void
remember_registry(const char *uuid)
{
	const char *temporary = psprintf("%s.tmp", kRegistryFile);
	FILE	   *file = AllocateFile(temporary, "w");

	if (!file || fwrite(uuid, 1, kUuidSize - 1, file) != kUuidSize - 1 || FreeFile(file) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not write file \"%s\": %m", temporary)));
	durable_rename(temporary, kRegistryFile, ERROR);
}

/*
 * Is this the registry that this server has leased from before?  Neither of two
 * registries knows what the other one leases.
 */
static const char *
check_registry(const char *uuid)
{
	FILE	   *file = AllocateFile(kRegistryFile, "r");

	if (!file && errno != ENOENT)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not open file \"%s\": %m", kRegistryFile)));
	if (!file)
	{
		remember_registry(uuid);
		return nullptr;
	}

	char		known[kUuidSize];
	const size_t length = fread(known, 1, kUuidSize - 1, file);

	FreeFile(file);
	known[length] = '\0';
	if (strcmp(known, uuid) == 0)
		return nullptr;
	return psprintf("it is not the same registry as before: it is %s, but file \"%s\" in the data directory has %s",
					uuid, kRegistryFile, known);
}

const char *
read_grant(const PGresult *result, Lease *grant)
{
	constexpr int64_t kLastMs = int64_t{1} << 43;
	static constexpr char kImpossible[] = "its answer has values that are impossible for a lease";
	const char *field[kGrantColumns];
	int64_t		worker,
				from,
				until,
				worker_bits,
				epoch_ms;

	if (PQntuples(result) == 0)
		return "it returned no lease: it is closed until an administrator calls snowflake_registry.fence(), or has just fenced itself";
	if (PQntuples(result) != 1 || PQnfields(result) != kGrantColumns)
		return "its answer does not have the form of a lease";
	for (int i = 0; i < kGrantColumns; i++)
	{
		if (PQgetisnull(result, 0, i))
			return "its answer does not have the form of a lease";
		field[i] = PQgetvalue(result, 0, i);
	}

	if (!parse_integer(field[0], 0, (1 << kMaxWorkerBits) - 1, &worker) || !is_uuid(field[1]) ||
		!parse_integer(field[2], 0, kLastMs, &from) || !parse_integer(field[3], 0, kLastMs, &until) ||
		!parse_integer(field[4], kMinWorkerBits, kMaxWorkerBits, &worker_bits) ||
		!parse_integer(field[5], 0, kLastMs, &epoch_ms) || !is_uuid(field[6]) || from >= until)
		return kImpossible;
	if (worker_bits != layout.worker_bits || epoch_ms != layout.epoch_ms)
		return psprintf("it has another layout: epoch %s, %d worker bits; configured here: epoch %s, %d worker bits",
						to_text(epoch_ms), static_cast<int>(worker_bits),
						to_text(layout.epoch_ms), layout.worker_bits);
	if (worker > layout.max_worker() || from < layout.epoch_ms || until > layout.unix_ms(kEndOfTime))
		return kImpossible;

	*grant = {static_cast<int32_t>(worker), layout.since_epoch(from), layout.since_epoch(until), 0, "", ""};
	strlcpy(grant->token, field[1], sizeof(grant->token));
	strlcpy(grant->registry, field[6], sizeof(grant->registry));
	return check_registry(field[6]);
}

} // namespace snowflake
