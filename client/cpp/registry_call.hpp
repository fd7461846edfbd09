/*
 * registry_call.hpp
 *		One call of the registry of worker IDs, by libpq: for snowflakes.hpp.
 */
#pragma once

#include <libpq-fe.h>
#include <poll.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace snowflake
{

struct NoLease : std::runtime_error
{
	using std::runtime_error::runtime_error;
};

using Milliseconds = std::chrono::milliseconds;

struct Holder
{
	std::string conninfo;
	std::string name;
	Milliseconds duration;
};

/* One statement, with autocommit, on a connection of its own, and the row it returned. */
class RegistryCall
{
public:
	std::string sqlstate;		/* empty: there is a row, or no server answered */
	std::string error;

	RegistryCall(const Holder &holder, const char *sql, const std::vector<std::string> &arguments)
	{
		static constexpr const char *keywords[] = {"fallback_application_name", "connect_timeout", "dbname", nullptr};
		const char *values[] = {holder.name.c_str(), "5", holder.conninfo.c_str(), nullptr};
		const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectdbParams(keywords, values, 1), PQfinish);
		const auto	end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
		std::vector<const char *> texts;

		PQsetNoticeProcessor(connection.get(), [](void *, const char *) {}, nullptr);
		for (const std::string &argument : arguments)
			texts.push_back(argument.c_str());
		PQsendQueryParams(connection.get(), sql, static_cast<int>(texts.size()), nullptr, texts.data(), nullptr, nullptr, 1);
		do
		{
			while (PQisBusy(connection.get()))
			{
				const auto	left = std::chrono::duration_cast<Milliseconds>(end - std::chrono::steady_clock::now());
				pollfd		socket = {PQsocket(connection.get()), POLLIN, 0};

				if (left.count() <= 0)
				{
					error = "the registry did not answer in time";
					return;
				}
				poll(&socket, 1, static_cast<int>(left.count()));
				PQconsumeInput(connection.get());
			}
		} while (keep(PQgetResult(connection.get())));
		if (PQresultStatus(row_.get()) == PGRES_TUPLES_OK && PQntuples(row_.get()) == 1)
			return;
		error = PQerrorMessage(connection.get());
		if (const char *state = PQresultErrorField(row_.get(), PG_DIAG_SQLSTATE))
			sqlstate = state;
	}

	int64_t
	integer(const char *column) const
	{
		uint64_t	value = 0;

		for (const char byte : bytes(column))
			value = value << 8 | static_cast<unsigned char>(byte);
		return static_cast<int64_t>(value);
	}

	/* A timestamptz, in microseconds since 2000, as milliseconds since 1970. */
	int64_t
	unix_ms(const char *column) const
	{
		return integer(column) / 1000 + 946'684'800'000;
	}

	std::string
	uuid(const char *column) const
	{
		std::string digits;

		for (const char byte : bytes(column))
		{
			digits += "0123456789abcdef"[static_cast<unsigned char>(byte) >> 4];
			digits += "0123456789abcdef"[byte & 15];
		}
		return digits;
	}

private:
	bool
	keep(PGresult *result)
	{
		if (result)
			row_.reset(result);
		return result;
	}

	std::string_view
	bytes(const char *column) const
	{
		const int	field = PQfnumber(row_.get(), column);

		if (field < 0 || PQgetisnull(row_.get(), 0, field))
			throw NoLease("the registry has returned no lease");
		return {PQgetvalue(row_.get(), 0, field), static_cast<size_t>(PQgetlength(row_.get(), 0, field))};
	}

	std::unique_ptr<PGresult, decltype(&PQclear)> row_{nullptr, PQclear};
};

} // namespace snowflake
