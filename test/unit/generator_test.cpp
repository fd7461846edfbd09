/*
 * generator_test.cpp
 *		The generator: its limits, many threads against an oracle, and the change
 *		of worker in every interleaving with a caller, also in wrong orders, which
 *		must fail.
 */
#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "core/generator.hpp"
#include "layouts.hpp"

using namespace snowflake;

namespace
{

constexpr Layout kLayout{0, 10};
constexpr int64_t kFar = INT64_MAX - 1;	/* renewal: never */

/* A generator that is open at the given millisecond. */
void
open_at(Generator &generator, const Layout &layout, int64_t ms, const Window &window)
{
	generator.publish(window, kFar);
	generator.open(layout.tick_of(ms) - 1);
}

TEST(Window, IsOneWord)
{
	std::mt19937_64 random(4);

	for (int i = 0; i < 100000; i++)
	{
		const Window window{static_cast<int32_t>(random() & 0xffff),
							static_cast<int64_t>(random() % (kEndOfTime + 1))};

		ASSERT_EQ(Window::unpack(window.pack()), window);
	}
	EXPECT_EQ((Window::unpack(Window{65535, kEndOfTime}.pack())), (Window{65535, kEndOfTime}));
	EXPECT_EQ(Window::unpack(0), (Window{0, 0}));
}

TEST(Generator, IsClosedAtFirst)
{
	Generator	generator;

	EXPECT_EQ(generator.claim(kLayout, 1, 1000, 0).shortfall, Shortfall::kClosed);
	EXPECT_EQ(generator.claim(kLayout, 1, 1000, 0).count, 0);
	EXPECT_EQ(generator.close(), Generator::kClosed);
}

TEST(Generator, GivesTheClocksMillisecond)
{
	for (const Layout &layout : all_layouts())
	{
		Generator	generator;

		open_at(generator, layout, 0, {1, kEndOfTime});
		for (const int64_t now : {int64_t{1}, int64_t{2}, int64_t{1000}, kEndOfTime - 1})
		{
			const Claim claim = generator.claim(layout, 1, now, 0);

			ASSERT_EQ(claim.count, 1);
			ASSERT_EQ(claim.shortfall, Shortfall::kNone);
			ASSERT_EQ(claim.worker, 1);
			ASSERT_EQ(layout.ms_of(claim.first), now);
		}
	}
}

/*
 * However many IDs a client takes together, and at whatever distance: the first
 * of them has each of the low values about as often.
 */
TEST(Generator, MovesTheLowBitsAtALowRate)
{
	constexpr int kShards = 16;
	constexpr int kTimes = 16000;

	for (const Layout &layout : {Layout{0, kMinWorkerBits}, kLayout, Layout{0, kMaxWorkerBits}, Layout{0, 6, 53}})
		for (const int32_t together : {1, 2, 3, 4, 8, 16})
			for (const int64_t distance : {2, 3, 7, 16, 100, 987, 1000, 1024, 60000})
			{
				Generator	generator;
				int			times[kShards] = {};

				open_at(generator, layout, 0, {0, kEndOfTime});
				for (int64_t now = distance; now <= distance * kTimes; now += distance)
					times[generator.claim(layout, together, now, 1).first % kShards]++;
				for (int i = 0; i < kShards; i++)
					ASSERT_NEAR(times[i], kTimes / kShards, 200) << layout.worker_bits << " of " << layout.id_bits << " bits, " << together << " every " << distance << " ms";
			}
}

/* A value is not used again until its turn comes. */
TEST(Generator, GoesRoundWithoutHaste)
{
	int64_t		last = 0;

	for (int64_t now = 1; now < 1000; now++)
	{
		const int64_t first = fresh_tick(kLayout, last, now);

		ASSERT_EQ(kLayout.ms_of(first), now);
		ASSERT_GE((first - last) & 63, 1);
		ASSERT_LE((first - last) & 63, 2);
		last = first;
	}
}

TEST(Generator, OverflowsIntoTheNextMillisecondUpToTheLead)
{
	Generator	generator;
	int64_t		last = -1;
	int64_t		taken = 0;

	open_at(generator, kLayout, 0, {3, kEndOfTime});
	for (;;)
	{
		const Claim claim = generator.claim(kLayout, 1000, 100, 5);

		if (claim.count == 0)
		{
			EXPECT_EQ(claim.shortfall, Shortfall::kLead);
			break;
		}
		ASSERT_GT(claim.first, last);
		last = claim.first + claim.count - 1;
		taken += claim.count;
		ASSERT_LE(kLayout.ms_of(last), 105);
		ASSERT_EQ(claim.shortfall, claim.count == 1000 ? Shortfall::kNone : Shortfall::kLead);
	}
	EXPECT_EQ(last, kLayout.tick_of(106) - 1) << "all that is allowed, to the last tick";
	EXPECT_EQ(taken, 6 * 4096 - (fresh_tick(kLayout, -1, 100) & 63));
	EXPECT_EQ(generator.claim(kLayout, 1, 101, 5).first, kLayout.tick_of(106));
}

TEST(Generator, WithoutLeadWaitsForTheNextMillisecond)
{
	Generator	generator;

	open_at(generator, kLayout, 0, {3, kEndOfTime});
	EXPECT_EQ(generator.claim(kLayout, 10000, 100, 0).shortfall, Shortfall::kLead);
	EXPECT_EQ(generator.claim(kLayout, 1, 100, 0).count, 0);
	EXPECT_EQ(generator.claim(kLayout, 1, 101, 0).count, 1);
}

TEST(Generator, StopsAtTheWindow)
{
	Generator	generator;

	open_at(generator, kLayout, 50, {3, 60});
	EXPECT_EQ(kLayout.ms_of(generator.claim(kLayout, 1, 10, 100).first), 50) << "not before the mark";

	const Claim claim = generator.claim(kLayout, 1000000, 59, 100);

	EXPECT_EQ(claim.shortfall, Shortfall::kWindow);
	EXPECT_EQ(claim.first + claim.count, kLayout.tick_of(60));
	EXPECT_EQ(generator.claim(kLayout, 1, 59, 100).shortfall, Shortfall::kWindow);
	EXPECT_EQ(generator.claim(kLayout, 1, 70, 100).shortfall, Shortfall::kWindow);

	/* The keeper could not help here: only the clock can. */
	EXPECT_EQ(generator.claim(kLayout, 1, 20, 5).shortfall, Shortfall::kLead);

	generator.publish({3, 80}, kFar);
	EXPECT_EQ(generator.claim(kLayout, 1, 59, 100).first, kLayout.tick_of(60));
}

TEST(Generator, TimeBitsAreUsedUp)
{
	for (const Layout &layout : all_layouts())
	{
		Generator	generator;
		const int64_t left = layout.max_sequence() + 1;

		open_at(generator, layout, kEndOfTime - 1, {layout.max_worker(), kEndOfTime});

		const Claim claim = generator.claim(layout, static_cast<int32_t>(left + 1), kEndOfTime - 1, 1000);

		ASSERT_EQ(claim.count, left);
		ASSERT_EQ(claim.shortfall, Shortfall::kExhausted);
		ASSERT_EQ(layout.id_of(claim.first + claim.count - 1, claim.worker), layout.max_id());
		ASSERT_EQ(generator.claim(layout, 1, kEndOfTime - 1, 1000).shortfall, Shortfall::kExhausted);
		ASSERT_EQ(generator.claim(layout, 1, kEndOfTime, 1000).shortfall, Shortfall::kExhausted);
		ASSERT_EQ(generator.claim(layout, 1, kEndOfTime, 1000).count, 0);
	}
}

TEST(Generator, ClockBeforeTheEpoch)
{
	Generator	generator;

	open_at(generator, kLayout, 0, {3, kEndOfTime});
	EXPECT_EQ(generator.claim(kLayout, 1, -kEndOfTime, 3600000).shortfall, Shortfall::kLead);
	EXPECT_EQ(generator.claim(kLayout, 1, -1, 0).shortfall, Shortfall::kLead);

	const Claim claim = generator.claim(kLayout, 1, -1, 1);

	EXPECT_EQ(claim.count, 1);
	EXPECT_EQ(kLayout.ms_of(claim.first), 0);
}

TEST(Generator, TellsOneCallerToWakeTheKeeper)
{
	Generator	generator;

	generator.publish({3, 1000}, kLayout.tick_of(500));
	generator.open(kLayout.tick_of(100) - 1);
	EXPECT_FALSE(generator.renewal_taken());
	EXPECT_FALSE(generator.claim(kLayout, 1, 499, 0).renew);
	EXPECT_TRUE(generator.claim(kLayout, 1, 500, 0).renew);
	EXPECT_TRUE(generator.claim(kLayout, 1, 500, 0).renew);
	EXPECT_TRUE(generator.take_renewal());
	EXPECT_TRUE(generator.renewal_taken());
	EXPECT_FALSE(generator.take_renewal());
	EXPECT_FALSE(generator.claim(kLayout, 1, 501, 0).renew);
	generator.publish({3, 2000}, kLayout.tick_of(1500));
	EXPECT_FALSE(generator.renewal_taken());
}

/* A clock that jumps anywhere changes the lead and nothing else. */
TEST(Generator, ClockThatJumpsAtRandom)
{
	std::mt19937_64 random(5);

	for (int round = 0; round < 200; round++)
	{
		const Layout layout = random_layout(random);
		const int64_t max_ahead = static_cast<int64_t>(random() % 3 ? random() % 5000 : 0);
		Generator	generator;
		int64_t		last = -1;
		int64_t		until = 1000000;

		open_at(generator, layout, 0, {1, until});
		for (int i = 0; i < 5000; i++)
		{
			const int64_t now = static_cast<int64_t>(random() % 2 ? random() % 1200000
																  : 500000 + random() % 100) - 1000;
			const int32_t wanted = static_cast<int32_t>(random() % 5000) + 1;
			const Claim claim = generator.claim(layout, wanted, now, max_ahead);

			ASSERT_GE(claim.count, 0);
			ASSERT_LE(claim.count, wanted);
			ASSERT_EQ(claim.count == wanted, claim.shortfall == Shortfall::kNone);
			if (claim.count == 0)
				continue;
			ASSERT_GT(claim.first, last);
			last = claim.first + claim.count - 1;
			ASSERT_GE(layout.ms_of(claim.first), now);
			ASSERT_LE(layout.ms_of(last), now + max_ahead);
			ASSERT_LT(layout.ms_of(last), until);
		}
	}
}

/*
 * Many threads claim while the keeper extends the window and changes the
 * worker.  The oracle: no tick twice, each thread's grow, and each belongs to
 * the worker whose turn it was.
 */
TEST(GeneratorThreads, NoTickTwiceWhileTheWorkerChanges)
{
	struct Got
	{
		int64_t		first;
		int32_t		count;
		int32_t		worker;
	};
	struct Turn
	{
		int64_t		from;	/* the first tick that may be this worker's */
		int32_t		worker;
	};

	const Layout layout{0, 10};
	Generator	generator;
	std::atomic<int64_t> now{1000};
	std::atomic<bool> stop{false};
	std::atomic<size_t> started{0};
	std::vector<std::vector<Got>> got(4);
	std::vector<Turn> turns;
	std::vector<std::thread> threads;

	turns.push_back({layout.tick_of(1000), 0});
	open_at(generator, layout, 1000, {0, 1100});
	for (auto &mine : got)
		threads.emplace_back([&, seed = &mine - got.data()]
							 {
			std::mt19937_64 random(static_cast<uint64_t>(seed));

			while (!stop.load())
			{
				const int32_t wanted = static_cast<int32_t>(random() % 100) + 1;
				const Claim claim = generator.claim(layout, wanted, now.load(), 20);

				if (claim.count > 0 && mine.size() < 200000)
				{
					mine.push_back({claim.first, claim.count, claim.worker});
					if (mine.size() == 1)
						started++;
				}
			} });

	/* All of them are running before the worker changes. */
	while (started.load() < got.size())
	{
		generator.publish({0, now.fetch_add(1) + 100}, kFar);
		std::this_thread::yield();
	}

	std::mt19937_64 random(6);

	for (int i = 0; i < 500; i++)
	{
		const int64_t ms = now.fetch_add(static_cast<int64_t>(random() % 3)) + static_cast<int64_t>(random() % 3);

		std::this_thread::yield();
		if (i % 3 == 0)
		{
			const int64_t last = generator.close();
			const int64_t reopen = layout.ms_of(last) + 1;
			const int32_t worker = static_cast<int32_t>(random() % 1024);

			turns.push_back({layout.tick_of(reopen) + 1, worker});
			generator.publish({worker, std::max(ms, reopen) + 10}, kFar);
			generator.open(layout.tick_of(reopen));
		}
		else
		{
			const Window window = generator.window();

			generator.publish({window.worker, std::max(window.until, ms + 10)}, kFar);
		}
	}
	stop.store(true);
	for (auto &thread : threads)
		thread.join();

	std::vector<Got> all;

	for (const auto &mine : got)
	{
		EXPECT_FALSE(mine.empty());
		for (size_t i = 1; i < mine.size(); i++)
			ASSERT_GT(mine[i].first, mine[i - 1].first);
		all.insert(all.end(), mine.begin(), mine.end());
	}
	std::sort(all.begin(), all.end(), [](const Got &a, const Got &b)
			  { return a.first < b.first; });
	for (size_t i = 1; i < all.size(); i++)
		ASSERT_GE(all[i].first, all[i - 1].first + all[i - 1].count);

	size_t		turn = 0;

	for (const Got &one : all)
	{
		while (turn + 1 < turns.size() && one.first >= turns[turn + 1].from)
			turn++;
		ASSERT_EQ(one.worker, turns[turn].worker);
		if (turn + 1 < turns.size())
		{
			ASSERT_LE(one.first + one.count, turns[turn + 1].from);
		}
	}
}

/*
 * The change of worker, in every interleaving with a caller.
 *
 * An atomic that stops before each of the caller's accesses lets the test run
 * any number of the keeper's steps there.  Worker 1 is followed by worker 2;
 * then a server elsewhere may be worker 1, from the tick on where ours was
 * closed.  So an ID of worker 1 at or after that tick is a duplicate in waiting.
 */
std::function<void()> before_access;

template <typename T>
class SteppedAtomic
{
public:
	SteppedAtomic(T value) : value_(value) {}

	T
	load(std::memory_order) const
	{
		step();
		return value_;
	}

	void
	store(T value, std::memory_order)
	{
		step();
		value_ = value;
	}

	T
	exchange(T value, std::memory_order)
	{
		step();
		return std::exchange(value_, value);
	}

	bool
	compare_exchange_weak(T &expected, T desired, std::memory_order, std::memory_order)
	{
		step();
		if (value_ == expected)
		{
			value_ = desired;
			return true;
		}
		expected = value_;
		return false;
	}

private:
	static void
	step()
	{
		if (before_access)
			before_access();
	}

	T			value_;
};

using SteppedGenerator = BasicGenerator<SteppedAtomic>;

/* The steps of a change, and what they leave behind. */
struct Change
{
	SteppedGenerator &generator;
	int64_t		closed_at = INT64_MAX;	/* the first tick after worker 1's */
	int64_t		last = 0;
};

using Steps = std::vector<std::function<void(Change &)>>;
using Caller = std::function<Claim(SteppedGenerator &)>;

void
close_step(Change &change)
{
	change.last = change.generator.close();
	change.closed_at = change.last + 1;
}

void
publish_step(Change &change)
{
	change.generator.publish({2, 2000}, kFar);
}

/* As close_step, but only looks: callers can continue. */
void
look_step(Change &change)
{
	change.last = change.generator.last();
	change.closed_at = change.last + 1;
}

void
open_step(Change &change)
{
	change.generator.open(kLayout.tick_of(kLayout.ms_of(change.last) + 1));
}

/*
 * Reopens where the tick was, which the caller may have read before.  (The last
 * tick before the next millisecond is no better: it may be that very tick.)
 */
void
open_at_the_old_tick_step(Change &change)
{
	change.generator.open(change.last);
}

Claim
claim_once(SteppedGenerator &generator)
{
	return generator.claim(kLayout, 1, 1000, 500);
}

/* Reads the window before the tick. */
Claim
claim_in_the_wrong_order(SteppedGenerator &generator)
{
	const Window window = generator.window();
	const int64_t last = generator.last();

	if (last == SteppedGenerator::kClosed)
		return {0, 0, 0, Shortfall::kClosed, false};

	/* The swap on the unchanged tick, by way of a claim that finds it so. */
	Claim		claim = next_claim(kLayout, last, window, 1, 1000, 500);
	const Claim swapped = generator.claim(kLayout, 1, 1000, 500);

	if (swapped.count == 0 || swapped.first != claim.first)
		return {0, 0, 0, Shortfall::kClosed, false};
	return claim;
}

/*
 * How many of the schedules give a wrong ID.  A schedule says how many keeper
 * steps are done before each of the caller's accesses.
 */
int
wrong_schedules(const Steps &steps, const Caller &caller, int *tried)
{
	constexpr int kAccesses = 7;
	int			wrong = 0;
	std::vector<size_t> schedule(kAccesses, 0);

	*tried = 0;
	const std::function<void(int, size_t)> each = [&](int access, size_t done)
	{
		if (access < kAccesses)
		{
			for (size_t n = 0; done + n <= steps.size(); n++)
			{
				schedule[static_cast<size_t>(access)] = n;
				each(access + 1, done + n);
			}
			return;
		}

		SteppedGenerator generator;
		Change		change{generator};
		size_t		next_access = 0;
		size_t		next_step = 0;
		bool		inside = false;

		generator.publish({1, 2000}, kFar);
		generator.open(kLayout.tick_of(1000) + 5);
		before_access = [&]
		{
			if (inside || next_access == kAccesses)
				return;
			inside = true;
			for (size_t n = schedule[next_access++]; n > 0; n--)
				steps[next_step++](change);
			inside = false;
		};

		const Claim claim = caller(generator);

		before_access = nullptr;
		for (; next_step < steps.size(); next_step++)
			steps[next_step](change);

		++*tried;
		if (claim.count > 0 && claim.worker == 1 && claim.first >= change.closed_at)
			wrong++;
		if (claim.count > 0 && claim.worker == 2 && claim.first < change.closed_at)
			wrong++;
	};

	each(0, 0);
	return wrong;
}

TEST(WorkerChange, IsRightInEveryInterleaving)
{
	int			tried;

	EXPECT_EQ(wrong_schedules({close_step, publish_step, open_step}, claim_once, &tried), 0);
	EXPECT_GT(tried, 100);
}

TEST(WorkerChange, ShowsThatEachWeakerOrderIsWrong)
{
	int			tried;

	EXPECT_GT(wrong_schedules({look_step, publish_step, open_step}, claim_once, &tried), 0)
		<< "the tick was not closed";
	EXPECT_GT(wrong_schedules({close_step, open_step, publish_step}, claim_once, &tried), 0)
		<< "reopened before the window was published";
	EXPECT_GT(wrong_schedules({close_step, publish_step, open_at_the_old_tick_step}, claim_once, &tried), 0)
		<< "reopened at the old tick";
	EXPECT_GT(wrong_schedules({publish_step, close_step, open_step}, claim_once, &tried), 0)
		<< "published while the tick was open";
	EXPECT_GT(wrong_schedules({close_step, publish_step, open_step}, claim_in_the_wrong_order, &tried), 0)
		<< "the caller read the window before the tick";
}

} // namespace
