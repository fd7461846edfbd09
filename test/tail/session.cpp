/*
 * session.cpp
 *		A connection that comes back.
 */
#include "session.hpp"

#include <bit>
#include <cstring>

PGresult *
Session::checked(PGresult *result)
{
	const ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_COPY_IN)
		return result;

	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const std::string sqlstate = state ? state : "";
	const std::string message = PQerrorMessage(connection_);

	PQclear(result);
	if (PQstatus(connection_) != CONNECTION_OK || sqlstate.empty() || sqlstate.starts_with("57P"))
		throw Gone(message);
	throw Refused(sqlstate, message);
}

PGresult *
Session::run(const std::string &sql)
{
	return checked(PQexec(connection_, sql.c_str()));
}

void
Session::copy(const std::string &sql, const std::string &data)
{
	exec(sql);
	if (PQputCopyData(connection_, data.data(), static_cast<int>(data.size())) != 1 || PQputCopyEnd(connection_, nullptr) != 1)
		throw Gone(PQerrorMessage(connection_));

	/* The one of the COPY, and the end of the results. */
	PGresult   *result = PQgetResult(connection_);

	while (PGresult *next = PQgetResult(connection_))
		PQclear(next);
	PQclear(checked(result));
}

Ids
Session::ids_binary(const std::string &sql, int64_t parameter)
{
	const std::string text = std::to_string(parameter);
	const char *values[] = {text.c_str()};
	PGresult   *result = checked(PQexecParams(connection_, sql.c_str(), 1, nullptr, values, nullptr, nullptr, 1));
	Ids			found;

	for (int row = 0; row < PQntuples(result); row++)
	{
		uint64_t	big_endian;

		memcpy(&big_endian, PQgetvalue(result, row, 0), sizeof(big_endian));
		static_assert(std::endian::native == std::endian::little);
		found.push_back(static_cast<int64_t>(__builtin_bswap64(big_endian)));
	}
	PQclear(result);
	return found;
}

void
Session::reset()
{
	if (connection_ && PQstatus(connection_) == CONNECTION_OK)
	{
		if (PQtransactionStatus(connection_) != PQTRANS_IDLE)
			PQclear(PQexec(connection_, "ROLLBACK"));
		if (PQstatus(connection_) == CONNECTION_OK)
			return;
	}
	PQfinish(connection_);
	connection_ = PQconnectdb(conninfo_.c_str());
	if (PQstatus(connection_) != CONNECTION_OK)
		throw Gone(PQerrorMessage(connection_));
	exec(settings_ + "; SET client_min_messages = error");
}
