/*
 * readers.cpp
 *		Every way in which rows are read on, from a position to the horizon.
 *
 * A reader returns the rows of a turn, and sets its position behind them.
 */
#include <algorithm>

#include "tail.hpp"

static std::string
after(int64_t position)
{
	return "id > " + std::to_string(position);
}

static const std::string kUpTo = " AND id <= snowflake_horizon() ORDER BY id";

/* To the last row. */
static Ids
keep(Ids ids, int64_t *position)
{
	if (!ids.empty())
		*position = *std::max_element(ids.begin(), ids.end());
	return ids;
}

/* The horizon comes as the first value, and is the new position. */
static Ids
keep_horizon(Ids ids, int64_t *position)
{
	*position = std::max(*position, ids.at(0));
	ids.erase(ids.begin());
	return ids;
}

/* What everybody does, and loses rows by. */
static Ids
naive(Session &session, Dice &, int64_t *position)
{
	return keep(session.ids("SELECT id FROM event WHERE " + after(*position) + " ORDER BY id"), position);
}

static Ids
plain(Session &session, Dice &, int64_t *position)
{
	return keep(session.ids("SELECT id FROM event WHERE " + after(*position) + kUpTo), position);
}

static Ids
limited(Session &session, Dice &dice, int64_t *position)
{
	return keep(session.ids("SELECT id FROM event WHERE " + after(*position) + kUpTo + " LIMIT " + std::to_string(1 + dice.below(500))), position);
}

static Ids
prepared_statement(Session &session, Dice &, int64_t *position)
{
	if (session.number("SELECT count(*) FROM pg_prepared_statements") == 0)
		session.exec("PREPARE read AS SELECT id FROM event WHERE id > $1" + kUpTo);
	return keep(session.ids("EXECUTE read(" + std::to_string(*position) + ")"), position);
}

/* The snapshot is older than the call. */
static Ids
late_call(Session &session, Dice &dice, int64_t *position, const char *level)
{
	Ids			ids;

	session.exec(std::string("BEGIN ISOLATION LEVEL ") + level + "; SELECT FROM event LIMIT 1");
	for (int turn = 0; turn < 2; turn++)
	{
		dice.pause(100);

		const Ids	more = keep(session.ids("SELECT id FROM event WHERE " + after(*position) + kUpTo + " LIMIT 300"), position);

		ids.insert(ids.end(), more.begin(), more.end());
	}
	session.exec("COMMIT");
	return ids;
}

static Ids
repeatable_read(Session &session, Dice &dice, int64_t *position)
{
	return late_call(session, dice, position, "REPEATABLE READ");
}

static Ids
serializable(Session &session, Dice &dice, int64_t *position)
{
	return late_call(session, dice, position, "SERIALIZABLE");
}

/* A scan in the order of the table calls the function again and again. */
static Ids
unordered(Session &session, Dice &, int64_t *position)
{
	return keep(session.ids("SELECT id FROM event WHERE " + after(*position) + " AND id <= snowflake_horizon()"), position);
}

static Ids
subselect(Session &session, Dice &, int64_t *position)
{
	return keep(session.ids("SELECT id FROM event WHERE " + after(*position) + " AND id <= (SELECT snowflake_horizon())"), position);
}

/* With other statements between two fetches, which have horizons of their own. */
static Ids
slow_cursor(Session &session, Dice &dice, int64_t *position)
{
	Ids			ids;
	size_t		before;

	session.exec("BEGIN; DECLARE rows NO SCROLL CURSOR FOR SELECT id FROM event WHERE " + after(*position) + " AND id <= snowflake_horizon()");
	do
	{
		const Ids	more = session.ids("FETCH " + std::to_string(1 + dice.below(100)) + " FROM rows");

		before = ids.size();
		ids.insert(ids.end(), more.begin(), more.end());
		dice.pause(10);
		session.exec("SELECT snowflake_horizon()");
	} while (ids.size() > before);
	session.exec("COMMIT");
	return keep(ids, position);
}

static Ids
in_function(Session &session, Dice &, int64_t *position)
{
	return keep_horizon(session.ids("SELECT * FROM read_on(" + std::to_string(*position) + ")"), position);
}

static Ids
binary(Session &session, Dice &, int64_t *position)
{
	return keep(session.ids_binary("SELECT id FROM event WHERE id > $1" + kUpTo, *position), position);
}

/* Up to a horizon that is a query's, in one statement; from there the next one goes on. */
static Ids
up_to(Session &session, const char *horizon, int64_t *position)
{
	return keep_horizon(session.ids(std::string("WITH h AS MATERIALIZED (") + horizon + ") SELECT h FROM h UNION ALL (SELECT id FROM h, event WHERE " +
									after(*position) + " AND id <= h)"), position);
}

static Ids
from_horizon(Session &session, Dice &, int64_t *position)
{
	return up_to(session, "SELECT snowflake_horizon() AS h", position);
}

/* The horizon in a row, which is replicated like any other. */
static Ids
heartbeat(Session &session, Dice &, int64_t *position)
{
	return up_to(session, "SELECT h FROM heartbeat", position);
}

/* As a NOTIFY would have it: the ID is known before the row is readable. */
static Ids
waiting(Session &session, Dice &, int64_t *position)
{
	const int64_t id = session.number("SELECT snowflake_next()");

	if (session.number("SELECT snowflake_wait_for_horizon(" + std::to_string(id) + ", '1 s')::int") == 0)
		return {};

	const Ids	ids = session.ids("SELECT id FROM event WHERE " + after(*position) + " AND id <= " + std::to_string(id));

	*position = id;
	return ids;
}

static const std::string kSequential = "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off";
static const std::string kParallel = kSequential +
	"; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2";

const std::vector<Reader> readers = {
	{"naive", Where::kPrimary, "", naive, true},
	{"plain", Where::kPrimary, "", plain, false},
	{"limited", Where::kPrimary, "", limited, false},
	{"generic plan", Where::kPrimary, "SET plan_cache_mode = force_generic_plan", prepared_statement, false},
	{"repeatable read", Where::kPrimary, "", repeatable_read, false},
	{"serializable", Where::kPrimary, "", serializable, false},
	{"sequential scan", Where::kPrimary, kSequential, unordered, false},
	{"parallel scan", Where::kPrimary, kParallel, subselect, false},
	{"slow cursor", Where::kPrimary, kSequential, slow_cursor, false},
	{"slow cursor by index", Where::kPrimary, "SET enable_seqscan = off", slow_cursor, false},
	{"PL/pgSQL", Where::kPrimary, "", in_function, false},
	{"extended protocol", Where::kPrimary, "", binary, false},
	{"from horizon to horizon", Where::kPrimary, "", from_horizon, false},
	{"wait", Where::kPrimary, "", waiting, false},
	{"heartbeat", Where::kPrimary, "", heartbeat, false},
	{"heartbeat on the standby", Where::kStandby, "", heartbeat, false},
	{"heartbeat on the subscriber", Where::kSubscriber, "", heartbeat, false},
};
