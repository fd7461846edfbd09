/*
 * registry.hpp
 *		The client of the registry: one request at a time, over a connection of
 *		its own, without ever waiting.
 *
 * The registry is a PostgreSQL database with the extension snowflake_registry;
 * "snowflake.registry" is its connection string.  Belongs to the keeper.
 */
#pragma once

#include <cstdint>
#include <optional>

#include "prelude.h"
#include "core/lease.hpp"
#include "core/stopwatch.hpp"

extern "C"
{
#include "libpq-fe.h"
}

namespace snowflake
{

enum class RegistryState
{
	kIdle,
	kAsking,
	kAnswered,
	kRefused,					/* the token does not belong to a lease, or no longer does */
	kFailed						/* failure() says why */
};

/*
 * The name under which this server leases: "cluster_name" if it is set, host and port,
 * and the system identifier of the data directory.  For people, and to match
 * reservations in the registry, which may name the first part or parts only.
 */
const char *lease_holder();

/* What to wait for: milliseconds, or one of these events (WL_SOCKET_…; 0: no socket). */
struct RegistryWait
{
	long		timeout;
	pgsocket	socket;
	int			events;
};

class RegistryRequest
{
public:
	/*
	 * Each begins a request.  now: what our clock shows; worker: -1 for any;
	 * attempt: a UUID, the same when a renewal is repeated; nullptr if no renewal
	 * is unanswered.
	 */
	void		lease(int64_t now, int64_t duration, int32_t worker);
	void		renew(const Lease &lease, const char *attempt, int64_t now, int64_t duration);
	void		release(const Lease &lease, const char *attempt, int64_t used_until);

	/* Advances the request as far as possible without waiting. */
	RegistryState advance();

	RegistryState
	state() const
	{
		return state_;
	}

	/* While the state is kAsking. */
	RegistryWait wait() const;

	void
	socket_is_ready()
	{
		ready_ = true;
	}

	/* Ends the request, or abandons it. */
	void		end();

	/* While the state is kAnswered: what was granted (renew_at is not set). */
	const Lease &
	grant() const
	{
		return grant_;
	}

	/* While the state is kFailed or kRefused. */
	const char *
	failure() const
	{
		return failure_;
	}

private:
	static constexpr int kMaxParameters = 5;

	void		begin(const char *query, bool grants);
	void		add_text(const char *value);
	void		add_integer(int64_t value);
	void		add_null();
	void		add_time(int64_t ms);
	RegistryState fail(const char *message);
	RegistryState start_connection();
	RegistryState go_on_connecting();
	RegistryState send_query();
	RegistryState go_on();
	RegistryState read_result(const PGresult *result);
	int64_t		milliseconds_left() const;

	RegistryState state_ = RegistryState::kIdle;
	PGconn	   *connection_ = nullptr;
	bool		connected_ = false;
	const char *query_ = nullptr;
	bool		grants_ = false;	/* the answer should be a row */
	int			parameters_ = 0;
	const char *parameter_[kMaxParameters] = {};
	char		values_[kMaxParameters][256] = {};
	int			events_ = 0;		/* that the connection waits for, */
	bool		ready_ = false;		/* and whether one of them has come */
	std::optional<Stopwatch> since_start_;
	RegistryState outcome_ = RegistryState::kFailed;	/* once there is a result */
	Lease		grant_ = {};
	char		failure_[256] = "";
};

} // namespace snowflake
