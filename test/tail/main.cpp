/*
 * main.cpp
 *		Many writers, many readers; in the end each reader has to have every row
 *		that was committed, once, and no other.
 *
 * usage: tail SECONDS SEED PRIMARY [STANDBY [SUBSCRIBER]]
 *
 * The servers are given by connection strings, and have what schema.sql makes.
 * They may be killed and come back: a writer or reader that loses its connection
 * goes on with another one, a reader from where it was.  Prints TAP.
 */
#include <algorithm>
#include <ctime>
#include <functional>
#include <iterator>
#include <mutex>

#include "tail.hpp"

using namespace std::chrono_literals;

static std::atomic<bool> writing{true};
static std::atomic<bool> reading{true};
static std::atomic<int64_t> last_row{INT64_MAX};

static std::mutex output;
static int	checks = 0;
static int	failed = 0;

static void
check(bool right, const std::string &what)
{
	std::lock_guard<std::mutex> guard(output);

	failed += !right;
	printf("%sok %d - %s\n", right ? "" : "not ", ++checks, what.c_str());
	fflush(stdout);
}

static void
note(const std::string &what)
{
	std::lock_guard<std::mutex> guard(output);

	printf("# %s\n", what.c_str());
	fflush(stdout);
}

/*
 * A turn, and what may end it before its end.  False if nothing was done: the
 * server is away, or the keeper has just been started, or serializable
 * transactions got into each other's way.
 */
template <typename Turn>
static bool
try_turn(const char *name, Session &session, Turn turn)
{
	try
	{
		session.reset();
		turn();
		return true;
	}
	catch (const Gone &)
	{
		std::this_thread::sleep_for(5ms);
	}
	catch (const Refused &error)
	{
		if (error.sqlstate != "55000" && error.sqlstate != "40001" && error.sqlstate != "42704" && error.sqlstate != "53200")
			check(false, std::string(name) + ": " + error.sqlstate + " " + error.what());
		std::this_thread::sleep_for(5ms);
	}
	return false;
}

struct WriterState
{
	int			turns = 0;
};

struct ReaderState
{
	Ids			ids;
	int			turns = 0;
};

static void
keep_writing(const Writer &writer, const std::string &conninfo, uint64_t seed, WriterState *state)
{
	Session		session(conninfo, writer.settings);
	Dice		dice(seed);

	while (writing)
	{
		if (!writer.in_quiet && time(nullptr) % 2)
		{
			std::this_thread::sleep_for(10ms);
			continue;
		}
		state->turns += try_turn(writer.name, session, [&] { writer.turn(session, dice); });
	}
}

/* Goes on until it is past the last row. */
static void
keep_reading(const Reader &reader, const std::string &conninfo, uint64_t seed, ReaderState *state)
{
	Session		session(conninfo, reader.settings);
	Dice		dice(seed);
	int64_t		position = 0;

	while (reading && position < last_row)
	{
		int64_t		reached = position;
		Ids			ids;

		if (!try_turn(reader.name, session, [&] { ids = reader.turn(session, dice, &reached); }))
			continue;
		state->turns++;
		state->ids.insert(state->ids.end(), ids.begin(), ids.end());
		position = reached;
		dice.pause(20);
	}
}

/* Writes the horizon into a row, for those who cannot ask for it. */
static void
beat(const std::string &conninfo)
{
	Session		session(conninfo, "");

	while (reading)
	{
		try_turn("the heartbeat", session, [&] { session.exec("UPDATE heartbeat SET h = greatest(h, snowflake_horizon())"); });
		std::this_thread::sleep_for(5ms);
	}
}

static void
judge(const Reader &reader, const Ids &committed, ReaderState &state)
{
	Ids			missed;
	Ids			extra;
	const std::string name = std::string(reader.name) + ": ";

	std::sort(state.ids.begin(), state.ids.end());

	const size_t all = state.ids.size();

	state.ids.erase(std::unique(state.ids.begin(), state.ids.end()), state.ids.end());
	std::set_difference(committed.begin(), committed.end(), state.ids.begin(), state.ids.end(), std::back_inserter(missed));
	std::set_difference(state.ids.begin(), state.ids.end(), committed.begin(), committed.end(), std::back_inserter(extra));
	if (reader.loses)
		check(!missed.empty(), name + std::to_string(missed.size()) + " rows missed, as had to be");
	else
		check(missed.empty(), name + "no row missed, of " + std::to_string(committed.size()) + " in " + std::to_string(state.turns) + " turns" +
								  (missed.empty() ? "" : "; missed " + std::to_string(missed.size()) + ", the first is " + std::to_string(missed[0])));
	check(all == state.ids.size(), name + "no row twice");
	check(extra.empty(), name + "no row that was not committed");
}

/* What no writer has ended, and then all rows that there are. */
static Ids
finish(const std::string &conninfo)
{
	Session		session(conninfo, "");
	Ids			committed;

	while (!try_turn("the end", session, [&]
		{
			for (int64_t gid : session.ids("SELECT substr(gid, 5) FROM pg_prepared_xacts WHERE gid LIKE 'tail%'"))
				session.exec("COMMIT PREPARED 'tail" + std::to_string(gid) + "'");
			committed = session.ids("SELECT id FROM event ORDER BY id");
		}))
		;
	return committed;
}

int
main(int argc, char **argv)
{
	if (argc < 4 || argc > 6)
	{
		fprintf(stderr, "usage: tail SECONDS SEED PRIMARY [STANDBY [SUBSCRIBER]]\n");
		return 2;
	}

	const std::vector<std::string> servers(argv + 3, argv + argc);
	const uint64_t seed = strtoull(argv[2], nullptr, 10);
	std::vector<WriterState> written(writers.size());
	std::vector<ReaderState> read_states(readers.size());
	std::vector<std::thread> writing_threads;
	std::vector<std::thread> reading_threads;

	for (size_t i = 0; i < writers.size(); i++)
		writing_threads.emplace_back(keep_writing, std::cref(writers[i]), servers[0], 1000 * seed + i, &written[i]);
	for (size_t i = 0; i < readers.size(); i++)
		if (static_cast<size_t>(readers[i].where) < servers.size())
			reading_threads.emplace_back(keep_reading, std::cref(readers[i]), servers[static_cast<size_t>(readers[i].where)], 1000 * seed + 500 + i, &read_states[i]);
	std::thread beating(beat, servers[0]);

	std::this_thread::sleep_for(std::chrono::seconds(atoi(argv[1])));
	writing = false;
	for (std::thread &thread : writing_threads)
		thread.join();

	const Ids	committed = finish(servers[0]);

	last_row = committed.empty() ? 0 : committed.back();
	std::thread watchdog([]
		{
			for (int i = 0; i < 600 && reading; i++)
				std::this_thread::sleep_for(100ms);
			reading = false;
		});
	for (std::thread &thread : reading_threads)
		thread.join();
	reading = false;
	watchdog.join();
	beating.join();

	check(committed.size() > 100, std::to_string(committed.size()) + " rows were committed");
	for (size_t i = 0; i < writers.size(); i++)
		check(written[i].turns > 0, std::string(writers[i].name) + ": " + std::to_string(written[i].turns) + " turns");
	for (size_t i = 0; i < readers.size(); i++)
		if (static_cast<size_t>(readers[i].where) < servers.size())
			judge(readers[i], committed, read_states[i]);
	note("seed " + std::to_string(seed));
	printf("1..%d\n", checks);
	return failed > 0;
}
