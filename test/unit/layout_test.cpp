/*
 * layout_test.cpp
 *		Every edge of every field, in every possible layout.
 */
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "core/layout.hpp"
#include "layouts.hpp"

using namespace snowflake;

namespace
{

constexpr Layout kDefault{1672531200000, 10};

TEST(Layout, WorkerAndSequenceShareTheLowBits)
{
	for (const Layout &layout : all_layouts())
	{
		EXPECT_EQ(layout.sequence_bits(), layout.id_bits - 41 - layout.worker_bits);
		EXPECT_EQ(layout.max_worker(), (1 << layout.worker_bits) - 1);
		EXPECT_EQ((int64_t{layout.max_worker()} + 1) * (layout.max_sequence() + 1), 1 << (layout.id_bits - 41));
	}
}

/* Worked out by hand: 53 bits hold 1 to 6 bits of worker, and so on up to 16. */
TEST(Layout, TheSequenceKeepsSixBits)
{
	EXPECT_EQ(max_worker_bits(53), 6);
	EXPECT_EQ(max_worker_bits(54), 7);
	EXPECT_EQ(max_worker_bits(62), 15);
	EXPECT_EQ(max_worker_bits(63), 16);
	EXPECT_EQ(all_layouts().size(), 6 + 7 + 8 + 9 + 10 + 11 + 12 + 13 + 14 + 15 + 16);
	for (const Layout &layout : all_layouts())
		EXPECT_GE(layout.max_sequence(), 63);
}

/* Which is what a double, and so a JavaScript number, holds exactly. */
TEST(Layout, OfFiftyThreeBitsFitsADouble)
{
	for (const Layout &layout : all_layouts())
	{
		EXPECT_EQ(layout.max_id(), layout.compose({kEndOfTime - 1, layout.max_worker(), layout.max_sequence()}));
		EXPECT_TRUE(layout.has(0) && layout.has(layout.max_id()));
		EXPECT_FALSE(layout.has(-1) || layout.has(INT64_MIN) || (layout.id_bits < 63 && layout.has(layout.max_id() + 1)));
		EXPECT_EQ(layout.max_id() == static_cast<int64_t>(static_cast<double>(layout.max_id())), layout.id_bits == 53);
	}
	EXPECT_EQ((Layout{0, 1, 53}.max_id()), 9007199254740991);
	EXPECT_EQ((Layout{0, 1}.max_id()), INT64_MAX);
}

TEST(Layout, IsPinnedInOneWord)
{
	std::set<uint64_t> words;

	for (const int64_t epoch_ms : {int64_t{0}, int64_t{1}, int64_t{1672531200000}, (int64_t{1} << 48) - 1})
		for (const Layout &layout : all_layouts(epoch_ms))
		{
			EXPECT_EQ(LayoutSettings::unpack(layout.pack()), layout);
			words.insert(layout.pack());
		}
	EXPECT_EQ(words.size(), 4 * all_layouts().size());
	EXPECT_FALSE(words.contains(0)) << "0 stands for nothing pinned";
	/* As it was before there were other id_bits. */
	EXPECT_EQ(kDefault.pack(), uint64_t{1672531200000} << 8 | 10);
	/* Of numbers that nobody packed: no trap. */
	EXPECT_NE(LayoutSettings::unpack(UINT64_MAX), kDefault);
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
	EXPECT_EQ((Layout{0, 3, 53}.compose({0, 0, 511})), 0x1ff);
	EXPECT_EQ((Layout{0, 3, 53}.compose({0, 1, 0})), 0x200);
	EXPECT_EQ((Layout{0, 3, 53}.compose({1, 7, 0})), 0x1e00);
	EXPECT_EQ((Layout{0, 6, 53}.compose({1, 63, 63})), 0x1fff);
}

TEST(Layout, DecomposeUndoesComposeAtEveryEdge)
{
	for (const Layout &layout : all_layouts())
		for (const int64_t ms : {int64_t{0}, int64_t{1}, kEndOfTime - 1})
			for (const int32_t worker : {0, 1, layout.max_worker()})
				for (const int32_t sequence : {0, 1, layout.max_sequence()})
				{
					const Fields fields{ms, worker, sequence};

					ASSERT_GE(layout.compose(fields), 0);
					ASSERT_LE(layout.compose(fields), layout.max_id());
					ASSERT_EQ(layout.decompose(layout.compose(fields)), fields);
					ASSERT_EQ(layout.id_of(layout.tick_of(ms) + sequence, worker), layout.compose(fields));
				}
}

TEST(Layout, DecomposeUndoesComposeAtRandom)
{
	std::mt19937_64 random(1);

	for (int i = 0; i < 1000000; i++)
	{
		const Layout layout = random_layout(random);
		const int64_t id = static_cast<int64_t>(random()) & layout.max_id();
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
		const Layout layout = random_layout(random);
		const int64_t end = layout.tick_of(kEndOfTime);
		const int64_t tick = static_cast<int64_t>(random() % static_cast<uint64_t>(end - 1));
		const int32_t worker = static_cast<int32_t>(random()) & layout.max_worker();
		const int64_t id = layout.id_of(tick, worker);

		ASSERT_LE(id, layout.max_id());
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
