/*
 * session.hpp
 *		A connection that comes back, and a thread's dice.
 */
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <libpq-fe.h>

/* The connection or the session is gone; what was done in it may or may not be. */
struct Gone : std::runtime_error
{
	using std::runtime_error::runtime_error;
};

/* Any other error, with its SQLSTATE. */
struct Refused : std::runtime_error
{
	Refused(std::string state, const std::string &message)
		: std::runtime_error(message), sqlstate(std::move(state))
	{
	}
	std::string sqlstate;
};

using Ids = std::vector<int64_t>;

class Session
{
public:
	Session(std::string conninfo, std::string settings)
		: conninfo_(std::move(conninfo)), settings_(std::move(settings))
	{
	}
	~Session() { PQfinish(connection_); }
	Session(const Session &) = delete;
	Session &operator=(const Session &) = delete;

	/* Rows of the first column, which may be null: then they are left out. */
	Ids
	ids(const std::string &sql)
	{
		Ids			found;
		PGresult   *result = run(sql);

		for (int row = 0; row < PQntuples(result); row++)
			if (!PQgetisnull(result, row, 0))
				found.push_back(strtoll(PQgetvalue(result, row, 0), nullptr, 10));
		PQclear(result);
		return found;
	}

	int64_t
	number(const std::string &sql)
	{
		const Ids	found = ids(sql);

		if (found.empty())
			throw Refused("02000", "no rows: " + sql);
		return found[0];
	}

	void
	exec(const std::string &sql)
	{
		PQclear(run(sql));
	}

	void copy(const std::string &sql, const std::string &data);

	/* With a parameter, in the extended protocol; binary results. */
	Ids			ids_binary(const std::string &sql, int64_t parameter);

	/* Leaves any transaction, and comes back if the connection is gone. */
	void		reset();

	int
	pid()
	{
		return PQbackendPID(connection_);
	}

private:
	PGresult   *run(const std::string &sql);
	PGresult   *checked(PGresult *result);

	std::string conninfo_;
	std::string settings_;
	PGconn	   *connection_ = nullptr;
};

class Dice
{
public:
	explicit Dice(uint64_t seed) : engine_(seed) {}

	int
	below(int n)
	{
		return std::uniform_int_distribution<int>(0, n - 1)(engine_);
	}

	bool
	one_in(int n)
	{
		return below(n) == 0;
	}

	/* Most pauses are short, and some are not. */
	void
	pause(int longest_ms = 40)
	{
		const int	most = one_in(4) ? longest_ms : 3;

		std::this_thread::sleep_for(std::chrono::microseconds(below(1000 * most + 1)));
	}

private:
	std::mt19937_64 engine_;
};
