/*
 * registry.cpp
 *		Asks the registry, through libpq.
 *
 * Nothing here waits: the keeper has callers to serve meanwhile.  (One thing in
 * libpq may: the lookup of a host name.)  A connection serves one request, so
 * that a thousand servers do not hold a thousand connections, and a connection
 * that died unnoticed cannot delay a renewal.
 */
#include <cstdint>
#include <cstring>

#include <unistd.h>

#include "prelude.h"

extern "C"
{
#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/guc.h"
}

#include "plain_text.hpp"
#include "registry.hpp"
#include "registry_answer.hpp"
#include "registry_hosts.hpp"
#include "settings.hpp"

namespace snowflake
{

/* A request that takes longer has failed. */
static constexpr int64_t kRequestMilliseconds = 10'000;

#define TIME_OF(parameter) "timestamptz 'epoch' + " parameter "::bigint * interval '1 ms'"
#define INTERVAL_OF(parameter) parameter "::bigint * interval '1 ms'"

/* lease() and renew() answer after they have committed: see snowflake_registry--1.0.sql. */
static constexpr char kLeaseQuery[] =
	"CALL snowflake_registry.lease(holder => $1, duration => " INTERVAL_OF("$2")
	", worker_id => $3::integer, asker_now => " TIME_OF("$4") ")";
static constexpr char kRenewQuery[] =
	"CALL snowflake_registry.renew(token => $1::uuid, duration => " INTERVAL_OF("$2")
	", asker_now => " TIME_OF("$3") ", registry => $4::uuid, attempt => $5::uuid)";
static constexpr char kReleaseQuery[] =
	"SELECT snowflake_registry.release(token => $1::uuid, used_until => " TIME_OF("$2") ", attempt => $3::uuid)";

/* The SQLSTATE for a token that belongs to no lease. */
static constexpr char kBadToken[] = "SR001";

const char *
lease_holder()
{
	char		host[64] = "";
	const char *cluster = GetConfigOption("cluster_name", true, false);
	const bool	named = cluster && *cluster != '\0';

	gethostname(host, sizeof(host) - 1);
	return psprintf("%s%s%s:%d %llu", named ? cluster : "", named ? " " : "", host, PostPortNumber,
					(unsigned long long) GetSystemIdentifier());
}

void
RegistryRequest::begin(const char *query, bool grants)
{
	end();
	*this = RegistryRequest();
	query_ = query;
	grants_ = grants;
	since_start_.emplace();
	state_ = RegistryState::kAsking;
}

void
RegistryRequest::add_text(const char *value)
{
	strlcpy(values_[parameters_], value, sizeof(values_[0]));
	parameter_[parameters_] = values_[parameters_];
	parameters_++;
}

void
RegistryRequest::add_integer(int64_t value)
{
	add_text(psprintf("%lld", (long long) value));
}

void
RegistryRequest::add_null()
{
	parameter_[parameters_++] = nullptr;
}

void
RegistryRequest::add_time(int64_t ms)
{
	add_integer(layout.unix_ms(ms));
}

void
RegistryRequest::lease(int64_t now, int64_t duration, int32_t worker)
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
RegistryRequest::renew(const Lease &lease, const char *attempt, int64_t now, int64_t duration)
{
	begin(kRenewQuery, true);
	add_text(lease.token);
	add_integer(duration);
	add_time(now);
	add_text(lease.registry);
	add_text(attempt);
}

void
RegistryRequest::release(const Lease &lease, const char *attempt, int64_t used_until)
{
	begin(kReleaseQuery, false);
	add_text(lease.token);
	add_time(used_until);
	if (attempt)
		add_text(attempt);
	else
		add_null();
}

/* Keeps a message of libpq or of a server, as one line without its final period. */
RegistryState
RegistryRequest::fail(const char *message)
{
	size_t		length = strlcpy(failure_, message, sizeof(failure_));

	length = Min(length, sizeof(failure_) - 1);
	while (length > 0 && (failure_[length - 1] == '\n' || failure_[length - 1] == '.'))
		failure_[--length] = '\0';
	make_plain(failure_);
	return RegistryState::kFailed;
}

RegistryState
RegistryRequest::read_result(const PGresult *result)
{
	if (PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK)
	{
		const char *fault = grants_ ? read_grant(result, &grant_) : nullptr;

		return fault ? fail(fault) : RegistryState::kAnswered;
	}

	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);

	fail(!message ? PQresultErrorMessage(result) : detail ? psprintf("%s: %s", message, detail) : message);
	return sqlstate && strcmp(sqlstate, kBadToken) == 0 ? RegistryState::kRefused : RegistryState::kFailed;
}

RegistryState
RegistryRequest::start_connection()
{
	ReserveExternalFD();
	connection_ = start_connecting();
	if (!connection_)
	{
		ReleaseExternalFD();
		return fail("out of memory");
	}
	if (PQstatus(connection_) == CONNECTION_BAD)
		return fail(PQerrorMessage(connection_));
	PQsetNoticeProcessor(connection_, [](void *, const char *) {}, nullptr);
	events_ = WL_SOCKET_WRITEABLE;
	return RegistryState::kAsking;
}

RegistryState
RegistryRequest::send_query()
{
	if (PQsetnonblocking(connection_, 1) != 0 ||
		!PQsendQueryParams(connection_, query_, parameters_, nullptr, parameter_, nullptr, nullptr, 1))
		return fail(PQerrorMessage(connection_));
	return RegistryState::kAsking;
}

RegistryState
RegistryRequest::go_on_connecting()
{
	switch (PQconnectPoll(connection_))
	{
		case PGRES_POLLING_READING:
			events_ = WL_SOCKET_READABLE;
			return RegistryState::kAsking;
		case PGRES_POLLING_WRITING:
			events_ = WL_SOCKET_WRITEABLE;
			return RegistryState::kAsking;
		case PGRES_POLLING_OK:
			connected_ = true;
			return send_query();
		default:
			return fail(PQerrorMessage(connection_));
	}
}

/* To be called only when the socket is ready: libpq relies on that. */
RegistryState
RegistryRequest::go_on()
{
	if (!connection_)
		return start_connection();
	if (!connected_)
	{
		const RegistryState state = go_on_connecting();

		if (state != RegistryState::kAsking || !connected_)
			return state;
	}

	const int	unsent = PQflush(connection_);

	/* A server that closes the connection has usually said why. */
	if (unsent < 0 || !PQconsumeInput(connection_))
		return failure_[0] != '\0' ? outcome_ : fail(PQerrorMessage(connection_));
	events_ = unsent > 0 ? WL_SOCKET_READABLE | WL_SOCKET_WRITEABLE : WL_SOCKET_READABLE;

	/*
	 * A result is not yet a commit: that comes when the server is ready for the
	 * next query, and may fail.
	 */
	while (!PQisBusy(connection_))
	{
		PGresult   *result = PQgetResult(connection_);

		if (!result)
			return outcome_;
		outcome_ = read_result(result);
		PQclear(result);
	}
	return RegistryState::kAsking;
}

int64_t
RegistryRequest::milliseconds_left() const
{
	return kRequestMilliseconds - since_start_->elapsed_ms();
}

RegistryState
RegistryRequest::advance()
{
	if (state_ != RegistryState::kAsking)
		return state_;

	/* We may be late ourselves: an answer that has come meanwhile still counts. */
	const bool	late = milliseconds_left() <= 0;

	if (ready_ || !connection_ || late)
	{
		ready_ = false;
		state_ = go_on();
	}
	if (state_ == RegistryState::kAsking && late)
		state_ = fail("it did not answer in time");
	if (state_ == RegistryState::kFailed && !connected_)
		begin_with_next_host();
	return state_;
}

RegistryWait
RegistryRequest::wait() const
{
	return {static_cast<long>(Max(milliseconds_left(), 0)), PQsocket(connection_), events_};
}

void
RegistryRequest::end()
{
	if (connection_)
	{
		PQfinish(connection_);
		ReleaseExternalFD();
	}
	connection_ = nullptr;
	state_ = RegistryState::kIdle;
}

} // namespace snowflake
