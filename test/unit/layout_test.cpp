/*
 * layout_test.cpp
 *		Every edge of every field, in every possible layout.
 */
#include <random>

#include <gtest/gtest.h>

#include "core/layout.hpp"

using namespace snowflake;

namespace
{

constexpr Layout kDefault{1672531200000, 10};

TEST(Layout, WorkerAndSequenceShareTheLowBits)
{
	for (int bits = kMinWorkerBits; bits <= kMaxWorkerBits; bits++)
	{
		const Layout layout{0, bits};

		EXPECT_EQ(layout.sequence_bits(), 22 - bits);
		EXPECT_EQ(layout.max_worker(), (1 << bits) - 1);
		EXPECT_EQ((int64_t{layout.max_worker()} + 1) * (layout.max_sequence() + 1), 1 << 22);
	}
}

/* The values are worked out by hand from the picture in layout.hpp. */
TEST(Layout, PutsEachFieldWhereThePictureSays)
{
	EXPECT_EQ(kDefault.compose({0, 0, 0}), 0);
	EXPECT_EQ(kDefault.compose({0, 0, 1}), 1);
	EXPECT_EQ(kDefault.compose({0, 0, 4095}), 0xfff);
	EXPECT_EQ(kDefault.compose({0, 1, 0}), 0x1000);
	EXPECT_EQ(kDefault.compose({0, 1023, 0}), 0x3ff000);
	EXPECT_EQ(kDefault.compose({1, 0, 0}), 0x400000);
	EXPECT_EQ(kDefault.compose({kEndOfTime - 1, 1023, 4095}), INT64_MAX);
	EXPECT_EQ((Layout{0, 16}.compose({1, 65535, 63})), 0x7fffff);
	EXPECT_EQ((Layout{0, 1}.compose({1, 1, 0})), 0x600000);
}

TEST(Layout, DecomposeUndoesComposeAtEveryEdge)
{
	for (int bits = kMinWorkerBits; bits <= kMaxWorkerBits; bits++)
	{
		const Layout layout{0, bits};

		for (const int64_t ms : {int64_t{0}, int64_t{1}, kEndOfTime - 1})
			for (const int32_t worker : {0, 1, layout.max_worker()})
				for (const int32_t sequence : {0, 1, layout.max_sequence()})
				{
					const Fields fields{ms, worker, sequence};

					ASSERT_GE(layout.compose(fields), 0);
					ASSERT_EQ(layout.decompose(layout.compose(fields)), fields);
				}
	}
}

TEST(Layout, DecomposeUndoesComposeAtRandom)
{
	std::mt19937_64 random(1);

	for (int i = 0; i < 1000000; i++)
	{
		const Layout layout{0, static_cast<int>(random() % 16) + 1};
		const int64_t id = static_cast<int64_t>(random() >> 1);
		const Fields fields = layout.decompose(id);

		ASSERT_GE(fields.ms, 0);
		ASSERT_LT(fields.ms, kEndOfTime);
		ASSERT_GE(fields.worker, 0);
		ASSERT_LE(fields.worker, layout.max_worker());
		ASSERT_GE(fields.sequence, 0);
		ASSERT_LE(fields.sequence, layout.max_sequence());
		ASSERT_EQ(layout.compose(fields), id);
	}
}

/* A later tick gives a greater ID, whatever the workers are. */
TEST(Layout, TicksSortAsTheirIds)
{
	std::mt19937_64 random(2);

	for (int i = 0; i < 1000000; i++)
	{
		const Layout layout{0, static_cast<int>(random() % 16) + 1};
		const int64_t end = layout.tick_of(kEndOfTime);
		const int64_t tick = static_cast<int64_t>(random() % static_cast<uint64_t>(end - 1));
		const int32_t worker = static_cast<int32_t>(random()) & layout.max_worker();
		const int64_t id = layout.id_of(tick, worker);

		ASSERT_EQ(layout.decompose(id).worker, worker);
		ASSERT_EQ(layout.decompose(id).ms, layout.ms_of(tick));
		ASSERT_LT(id, layout.id_of(tick + 1, worker));
		if (layout.ms_of(tick) + 1 < kEndOfTime)
		{
			ASSERT_LT(id, layout.id_of(layout.tick_of(layout.ms_of(tick) + 1), 0));
		}
	}
}

TEST(Layout, ClampsClocksThatAreOutOfThisWorld)
{
	EXPECT_EQ(kDefault.since_epoch(1672531200000), 0);
	EXPECT_EQ(kDefault.since_epoch(1672531200001), 1);
	EXPECT_EQ(kDefault.since_epoch(1672531199999), -1);
	EXPECT_EQ(kDefault.since_epoch(INT64_MAX), kEndOfTime);
	EXPECT_EQ(kDefault.since_epoch(INT64_MIN), -kEndOfTime);
	EXPECT_EQ(kDefault.since_epoch(1672531200000 + kEndOfTime - 1), kEndOfTime - 1);
}

} // namespace
