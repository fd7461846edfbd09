/*
 * writers.cpp
 *		Every way in which a row with an ID of its own transaction comes about.
 */
#include "tail.hpp"

static const std::string kInsert = "INSERT INTO event (what) VALUES ('x')";

static void
autocommit(Session &session, Dice &dice)
{
	session.exec(dice.one_in(3) ? "INSERT INTO event (what) SELECT 'many' FROM generate_series(1, 1 + (random() * 20)::int)" : kInsert);
}

static void
end(Session &session, Dice &dice)
{
	session.exec(dice.one_in(4) ? "ROLLBACK" : "COMMIT");
}

/* Rows with pauses between them and the end. */
static void
block(Session &session, Dice &dice)
{
	session.exec("BEGIN");
	for (int rows = 1 + dice.below(3); rows > 0; rows--)
	{
		session.exec(kInsert);
		dice.pause();
	}
	end(session, dice);
}

/* The ID first, and the row later; a reader in between would be past it. */
static void
id_first(Session &session, Dice &dice)
{
	session.exec("BEGIN");

	const Ids	ids = session.ids(dice.one_in(2) ? "SELECT snowflake_next()" : "SELECT snowflake_next(300)");

	dice.pause();
	for (int64_t id : ids)
		if (ids.size() == 1 || id % 50 == 0)
			session.exec("INSERT INTO event (id, what) VALUES (" + std::to_string(id) + ", 'later')");
	dice.pause();
	end(session, dice);
}

static void
savepoints(Session &session, Dice &dice)
{
	session.exec("BEGIN; SAVEPOINT a; " + kInsert);
	dice.pause();
	session.exec(dice.one_in(2) ? "ROLLBACK TO a" : "RELEASE a");
	dice.pause();
	session.exec("SAVEPOINT b; " + kInsert + "; SAVEPOINT c; " + kInsert + "; ROLLBACK TO c");
	end(session, dice);
}

static void
exceptions(Session &session, Dice &)
{
	session.exec(R"(DO $$ BEGIN
		FOR n IN 1 .. 5 LOOP
			BEGIN
				INSERT INTO event (what) VALUES ('caught');
				PERFORM pg_sleep(random() * 0.005);
				IF random() < 0.5 THEN RAISE EXCEPTION 'no'; END IF;
			EXCEPTION WHEN raise_exception THEN NULL;
			END;
		END LOOP; END $$)");
}

/* Several transactions in one call. */
static void
procedure(Session &session, Dice &)
{
	session.exec("CALL several_transactions()");
}

/* The workers take the IDs; the leader may take none. */
static void
parallel(Session &session, Dice &dice)
{
	session.exec("BEGIN");
	if (dice.one_in(2))
	{
		session.exec("CREATE TEMP TABLE taken ON COMMIT DROP AS SELECT snowflake_next() AS id FROM several WHERE n % 40 = 0");
		dice.pause();
		session.exec("INSERT INTO event (id, what) SELECT id, 'by workers' FROM taken");
	}
	else
	{
		const int64_t id = session.number("SELECT max(snowflake_next()) FROM several WHERE n % 100 = 0");

		dice.pause();
		session.exec("INSERT INTO event (id, what) VALUES (" + std::to_string(id) + ", 'by workers')");
	}
	dice.pause();
	end(session, dice);
}

static void
copy(Session &session, Dice &dice)
{
	session.exec("BEGIN");
	session.copy("COPY event (what) FROM STDIN", "a\nb\nc\nd\ne\n");
	dice.pause();
	end(session, dice);
}

/* The row comes with the COMMIT. */
static void
deferred(Session &session, Dice &dice)
{
	session.exec("BEGIN; INSERT INTO cause VALUES (1)");
	dice.pause();
	end(session, dice);
}

/* Another session ends it. */
static void
two_phases(Session &session, Dice &dice)
{
	static std::atomic<int> count{0};
	const std::string gid = "'tail" + std::to_string(++count) + "'";

	session.exec("BEGIN; " + kInsert);
	dice.pause();
	session.exec("PREPARE TRANSACTION " + gid);
	if (dice.one_in(3))
		session.exec(kInsert);
}

static void
finish_prepared(Session &session, Dice &dice)
{
	for (int64_t gid : session.ids("SELECT substr(gid, 5) FROM pg_prepared_xacts WHERE gid LIKE 'tail%' AND prepared < now() - random() * '60 ms'::interval"))
		session.exec((dice.one_in(4) ? "ROLLBACK PREPARED 'tail" : "COMMIT PREPARED 'tail") + std::to_string(gid) + "'");
	dice.pause();
}

/* Ends in the middle. */
static void
killed(Session &session, Dice &dice)
{
	session.exec("BEGIN; " + kInsert);
	dice.pause();
	try
	{
		session.exec("SELECT pg_terminate_backend(pg_backend_pid())");
	}
	catch (const Gone &)
	{
	}
}

/* What makes SELECT and CREATE TABLE AS go to parallel workers, however small the table. */
static const std::string kParallel =
	"SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2";

const std::vector<Writer> writers = {
	{"autocommit", "", autocommit, true},
	{"autocommit again", "", autocommit, true},
	{"block", "", block},
	{"block again", "", block},
	{"ID first", "", id_first},
	{"savepoints", "", savepoints},
	{"exceptions", "", exceptions},
	{"procedure", "", procedure},
	{"parallel", kParallel, parallel},
	{"parallel without leader", kParallel + "; SET parallel_leader_participation = off", parallel},
	{"COPY", "", copy},
	{"deferred trigger", "", deferred},
	{"two phases", "", two_phases},
	{"the second phase", "", finish_prepared, true},
	{"killed", "", killed},
};
