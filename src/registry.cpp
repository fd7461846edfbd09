/*
 * registry.cpp
 *		Asks the registry, through libpq.
 *
 * Nothing here waits: the keeper has callers to serve meanwhile.  (One thing of
 * libpq may: the look-up of a host name.)  A connection serves one request, so
 * that a thousand servers do not hold a thousand connections, and one that died
 * unnoticed cannot delay a renewal.
 *
 * Nothing that the registry answers is trusted further than it was checked.
 */
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>

#include <unistd.h>

#include "compat.h"

extern "C"
{
#include "libpq-fe.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/guc.h"
}

#include "decimal.hpp"
#include "registry.hpp"
#include "settings.hpp"
#include "stopwatch.hpp"
#include "timestamps.hpp"

namespace snowflake
{

/* A request that takes longer has failed. */
static constexpr int64_t kRequestMilliseconds = 10'000;

static constexpr int kMaxParameters = 6;

/* All times go as Unix milliseconds, which no setting of the session can change. */
#define MS_OF(column) "(extract(epoch FROM " column ") * 1000)::bigint"
#define TIME_OF(parameter) "timestamptz 'epoch' + " parameter "::bigint * interval '1 ms'"
#define INTERVAL_OF(parameter) parameter "::bigint * interval '1 ms'"
#define GRANT_FROM \
	"SELECT worker_id, token, " MS_OF("valid_from") ", " MS_OF("valid_until") ", worker_bits, " MS_OF("epoch") ", registry" \
	" FROM snowflake_registry."

static constexpr char kLeaseQuery[] =
	GRANT_FROM "lease(holder => $1, duration => " INTERVAL_OF("$2") ", worker_id => $3::integer, asker_now => " TIME_OF("$4") ")";
static constexpr char kRenewQuery[] =
	GRANT_FROM "renew(token => $1::uuid, duration => " INTERVAL_OF("$2") ", valid_until => " TIME_OF("$3") ", worker_id => $4::integer, asker_now => " TIME_OF("$5") ", registry => $6::uuid)";
static constexpr char kReleaseQuery[] =
	"SELECT snowflake_registry.release(token => $1::uuid, used_until => " TIME_OF("$2") ")";

/* The SQLSTATE of a token that is no lease's: see snowflake_registry--1.0.sql. */
static constexpr char kBadToken[] = "28000";

/* The file in the data directory that remembers the registry. */
static constexpr char kRegistryFile[] = "snowflake_registry";

struct Request
{
	RegistryState state;
	bool		connected;
	PGconn	   *connection;
	const char *query;
	bool		grants;			/* a row is to be answered */
	int			parameters;
	bool		is_null[kMaxParameters];
	char		values[kMaxParameters][100];
	int			events;			/* that the connection waits for, */
	bool		ready;			/* and whether one of them has come */
	std::optional<Stopwatch> since_start;
	RegistryState outcome;		/* once there is a result */
	Lease		grant;
	char		failure[256];
};

static constinit Request request = {};

static void
begin(const char *query, bool grants)
{
	end_request();
	request = Request{};
	request.query = query;
	request.grants = grants;
	request.since_start.emplace();
	request.outcome = RegistryState::kFailed;
	request.state = RegistryState::kAsking;
}

static void
add_text(const char *value)
{
	strlcpy(request.values[request.parameters++], value, sizeof(request.values[0]));
}

static void
add_integer(int64_t value)
{
	snprintf(request.values[request.parameters++], sizeof(request.values[0]), "%lld", (long long) value);
}

static void
add_null()
{
	request.is_null[request.parameters++] = true;
}

static void
add_time(int64_t ms)
{
	add_integer(layout.epoch_ms + ms);
}

const char *
lease_holder()
{
	char		host[64] = "";
	const char *cluster = GetConfigOption("cluster_name", true, false);

	if (cluster && *cluster != '\0')
		return cluster;
	gethostname(host, sizeof(host) - 1);
	return psprintf("%s:%d", host, PostPortNumber);
}

void
ask_for_lease(int64_t now, int64_t duration, int32_t worker)
{
	begin(kLeaseQuery, true);
	add_text(lease_holder());
	add_integer(duration);
	if (worker < 0)
		add_null();
	else
		add_integer(worker);
	add_time(now);
}

void
ask_for_renewal(const Lease &lease, int64_t now, int64_t duration)
{
	begin(kRenewQuery, true);
	add_text(lease.token);
	add_integer(duration);
	add_time(lease.until);
	add_integer(lease.worker);
	add_time(now);
	add_text(lease.registry);
}

void
ask_to_take_back(const Lease &lease, int64_t used_until)
{
	begin(kReleaseQuery, false);
	add_text(lease.token);
	add_time(used_until);
}

/* Messages of libpq and of servers: one line, without the end of it. */
static RegistryState
fail(const char *message)
{
	size_t		length = strlcpy(request.failure, message, sizeof(request.failure));

	length = Min(length, sizeof(request.failure) - 1);
	while (length > 0 && (request.failure[length - 1] == '\n' || request.failure[length - 1] == '.'))
		request.failure[--length] = '\0';
	/* It may be cut within a character, or be in another encoding than ours. */
	for (char *c = request.failure; *c; c++)
		if (*c == '\n' || *c == '\t')
			*c = ' ';
		else if (IS_HIGHBIT_SET(*c))
			*c = '?';
	return RegistryState::kFailed;
}

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

/*
 * Is this the registry that this server has leased from before?  Two registries
 * do not know what the other one leases.
 */
static bool
is_the_same_registry(const char *uuid)
{
	FILE	   *file = AllocateFile(kRegistryFile, "r");

	if (file)
	{
		char		known[kUuidSize];
		const size_t length = fread(known, 1, kUuidSize - 1, file);

		FreeFile(file);
		known[length] = '\0';
		if (strcmp(known, uuid) == 0)
			return true;
		fail(psprintf("it is another registry than before: %s, where file \"%s\" in the data directory has %s",
					  uuid, kRegistryFile, known));
		return false;
	}
	if (errno != ENOENT)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not open file \"%s\": %m", kRegistryFile)));

	const char *temporary = psprintf("%s.tmp", kRegistryFile);

	file = AllocateFile(temporary, "w");
	if (!file || fwrite(uuid, 1, kUuidSize - 1, file) != kUuidSize - 1 || FreeFile(file) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not write file \"%s\": %m", temporary)));
	durable_rename(temporary, kRegistryFile, ERROR);
	return true;
}

/* Takes what was granted from a result, if it is what it has to be. */
static RegistryState
read_grant(const PGresult *result)
{
	if (PQntuples(result) == 0)
		return fail("it answers with no lease: it has been closed until an administrator calls snowflake_registry.fence(), or has just fenced itself");
	if (PQntuples(result) != 1 || PQnfields(result) != 7)
		return fail("its answer has another form than a lease");

	const char *field[7];

	for (int i = 0; i < 7; i++)
	{
		if (PQgetisnull(result, 0, i))
			return fail("its answer has another form than a lease");
		field[i] = PQgetvalue(result, 0, i);
	}

	int64_t		worker,
				from,
				until,
				worker_bits,
				epoch_ms;
	constexpr int64_t kLastMs = int64_t{1} << 43;

	if (!parse_integer(field[0], 0, (1 << kMaxWorkerBits) - 1, &worker) || !is_uuid(field[1]) ||
		!parse_integer(field[2], 0, kLastMs, &from) || !parse_integer(field[3], 0, kLastMs, &until) ||
		!parse_integer(field[4], kMinWorkerBits, kMaxWorkerBits, &worker_bits) ||
		!parse_integer(field[5], 0, kLastMs, &epoch_ms) || !is_uuid(field[6]) || from >= until)
		return fail("its answer has values that no lease can have");

	if (worker_bits != layout.worker_bits || epoch_ms != layout.epoch_ms)
		return fail(psprintf("it has another layout: epoch %s, %d worker bits; configured here: epoch %s, %d worker bits",
							 to_text(epoch_ms), static_cast<int>(worker_bits),
							 to_text(layout.epoch_ms), layout.worker_bits));
	if (worker > layout.max_worker() || from < layout.epoch_ms || until > layout.epoch_ms + kEndOfTime)
		return fail("its answer has values that no lease can have");
	if (!is_the_same_registry(field[6]))
		return RegistryState::kFailed;

	request.grant = {static_cast<int32_t>(worker), layout.since_epoch(from), layout.since_epoch(until), 0, "", ""};
	strlcpy(request.grant.token, field[1], sizeof(request.grant.token));
	strlcpy(request.grant.registry, field[6], sizeof(request.grant.registry));
	return RegistryState::kAnswered;
}

static RegistryState
read_result(const PGresult *result)
{
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return request.grants ? read_grant(result) : RegistryState::kAnswered;

	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);

	fail(!message ? PQresultErrorMessage(result) : detail ? psprintf("%s: %s", message, detail) : message);
	return sqlstate && strcmp(sqlstate, kBadToken) == 0 ? RegistryState::kRefused : RegistryState::kFailed;
}

static RegistryState
start_connection()
{
	/* The one in "snowflake.registry" wins. */
	static const char *const keywords[] = {"fallback_application_name", "dbname", nullptr};
	const char *const values[] = {"snowflake keeper", registry_conninfo, nullptr};

	ReserveExternalFD();
	request.connection = PQconnectStartParams(keywords, values, 1);
	if (!request.connection)
	{
		ReleaseExternalFD();
		return fail("out of memory");
	}
	if (PQstatus(request.connection) == CONNECTION_BAD)
		return fail(PQerrorMessage(request.connection));
	PQsetNoticeProcessor(request.connection, [](void *, const char *) {}, nullptr);
	request.events = WL_SOCKET_WRITEABLE;
	return RegistryState::kAsking;
}

static RegistryState
send_query()
{
	const char *values[kMaxParameters];

	for (int i = 0; i < request.parameters; i++)
		values[i] = request.is_null[i] ? nullptr : request.values[i];
	if (PQsetnonblocking(request.connection, 1) != 0 ||
		!PQsendQueryParams(request.connection, request.query, request.parameters, nullptr, values, nullptr, nullptr, 0))
		return fail(PQerrorMessage(request.connection));
	return RegistryState::kAsking;
}

/* To be called only when the socket is ready: libpq takes it for granted. */
static RegistryState
advance()
{
	if (!request.connection)
		return start_connection();

	if (!request.connected)
	{
		switch (PQconnectPoll(request.connection))
		{
			case PGRES_POLLING_READING:
				request.events = WL_SOCKET_READABLE;
				return RegistryState::kAsking;
			case PGRES_POLLING_WRITING:
				request.events = WL_SOCKET_WRITEABLE;
				return RegistryState::kAsking;
			case PGRES_POLLING_OK:
				request.connected = true;
				if (send_query() == RegistryState::kFailed)
					return RegistryState::kFailed;
				break;
			default:
				return fail(PQerrorMessage(request.connection));
		}
	}

	const int	unsent = PQflush(request.connection);

	if (unsent < 0 || !PQconsumeInput(request.connection))
		return fail(PQerrorMessage(request.connection));
	request.events = unsent > 0 ? WL_SOCKET_READABLE | WL_SOCKET_WRITEABLE : WL_SOCKET_READABLE;

	/*
	 * A result is not yet a commit: that comes when the server is ready for the
	 * next query, and may fail.
	 */
	while (!PQisBusy(request.connection))
	{
		PGresult   *result = PQgetResult(request.connection);

		if (!result)
			return request.outcome;
		request.outcome = read_result(result);
		PQclear(result);
	}
	return RegistryState::kAsking;
}

static int64_t
milliseconds_left()
{
	return kRequestMilliseconds - request.since_start->elapsed_ms();
}

RegistryState
advance_request()
{
	if (request.state != RegistryState::kAsking)
		return request.state;

	/* We may be late ourselves: then what has come meanwhile counts. */
	const bool	late = milliseconds_left() <= 0;

	if (request.ready || !request.connection || late)
	{
		request.ready = false;
		request.state = advance();
	}
	if (request.state == RegistryState::kAsking && late)
		request.state = fail("it has not answered in time");
	return request.state;
}

RegistryState
request_state()
{
	return request.state;
}

LeaseWait
request_wait()
{
	return {static_cast<long>(Max(milliseconds_left(), 0)), PQsocket(request.connection), request.events};
}

void
request_is_ready()
{
	request.ready = true;
}

void
end_request()
{
	if (request.connection)
	{
		PQfinish(request.connection);
		ReleaseExternalFD();
	}
	request.connection = nullptr;
	request.state = RegistryState::kIdle;
}

const Lease &
registry_grant()
{
	return request.grant;
}

const char *
registry_failure()
{
	return request.failure;
}

} // namespace snowflake
