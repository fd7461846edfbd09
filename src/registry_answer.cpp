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
#include "catalog/pg_type_d.h"
#include "port/pg_bswap.h"
#include "storage/fd.h"
}

#include "registry_answer.hpp"
#include "settings.hpp"
#include "timestamps.hpp"

namespace snowflake
{

/* The file in the data directory that remembers the registry. */
static constexpr char kRegistryFile[] = "snowflake_registry";

/* The value of a column; nullptr unless it has this type and length. */
static const char *
read_value(const PGresult *result, const char *name, Oid type, int length)
{
	const int	column = PQfnumber(result, name);

	if (column < 0 || PQftype(result, column) != type || PQfformat(result, column) != 1 ||
		PQgetisnull(result, 0, column) || PQgetlength(result, 0, column) != length)
		return nullptr;
	return PQgetvalue(result, 0, column);
}

static bool
read_integer(const PGresult *result, const char *name, int64_t *value)
{
	const char *bytes = read_value(result, name, INT4OID, 4);
	uint32		number = 0;

	if (bytes)
		memcpy(&number, bytes, 4);
	*value = static_cast<int32_t>(pg_ntoh32(number));
	return bytes != nullptr;
}

/* In Unix milliseconds; -1 if it is not a whole number of them. */
static bool
read_time(const PGresult *result, const char *name, int64_t *ms)
{
	const char *bytes = read_value(result, name, TIMESTAMPTZOID, 8);
	uint64		number = 0;

	if (bytes)
		memcpy(&number, bytes, 8);

	const int64_t us = static_cast<int64_t>(pg_ntoh64(number));

	*ms = us % 1000 == 0 ? us / 1000 + kPostgresEpochMs : -1;
	return bytes != nullptr;
}

static bool
read_uuid(const PGresult *result, const char *name, char (&text)[kUuidSize])
{
	const char *bytes = read_value(result, name, UUIDOID, 16);
	char	   *out = text;

	for (int i = 0; bytes && i < 16; i++)
		out += snprintf(out, 4, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", static_cast<unsigned char>(bytes[i]));
	return bytes != nullptr;
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
	int64_t		worker,
				from,
				until,
				worker_bits,
				id_bits,
				epoch_ms;
	char		token[kUuidSize],
				registry[kUuidSize];

	if (PQntuples(result) != 1 ||
		!read_integer(result, "worker_id", &worker) || !read_uuid(result, "token", token) ||
		!read_time(result, "valid_from", &from) || !read_time(result, "valid_until", &until) ||
		!read_integer(result, "worker_bits", &worker_bits) || !read_integer(result, "id_bits", &id_bits) || !read_time(result, "epoch", &epoch_ms) ||
		!read_uuid(result, "registry", registry))
		return "its answer does not have the form of a lease";
	if (worker < 0 || id_bits < kMinIdBits || id_bits > kMaxIdBits ||
		worker_bits < kMinWorkerBits || worker_bits > max_worker_bits(static_cast<int>(id_bits)) ||
		epoch_ms < 0 || epoch_ms > kLastMs || from < 0 || from >= until || until > kLastMs)
		return kImpossible;
	if (LayoutSettings{epoch_ms, static_cast<int>(worker_bits), static_cast<int>(id_bits)} != layout)
		return psprintf("it has another layout: epoch %s, %d worker bits of %d; configured here: epoch %s, %d worker bits of %d",
						to_text(epoch_ms), static_cast<int>(worker_bits), static_cast<int>(id_bits),
						to_text(layout.epoch_ms), layout.worker_bits, layout.id_bits);
	if (worker > layout.max_worker() || from < layout.epoch_ms || until > layout.unix_ms(kEndOfTime))
		return kImpossible;

	*grant = {static_cast<int32_t>(worker), layout.since_epoch(from), layout.since_epoch(until), 0, "", ""};
	strlcpy(grant->token, token, sizeof(grant->token));
	strlcpy(grant->registry, registry, sizeof(grant->registry));
	return check_registry(registry);
}

} // namespace snowflake
