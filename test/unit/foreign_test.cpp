/*
 * foreign_test.cpp
 *		Layouts of any form: what their fields are, and the bound of a time.
 */
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "core/foreign.hpp"
#include "core/published.hpp"

using namespace snowflake;

namespace
{

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

/* Milliseconds since 2020-02-20, 6 bits of worker, 6 of sequence. */
constexpr ForeignLayout kShort{1582156800000000, 1000, {12, 41}, {6, 6}, {0, 6}};

/* The worker is above the time. */
constexpr ForeignLayout kWorkerFirst{0, 1000, {12, 41}, {53, 10}, {0, 12}};

TEST(Foreign, FieldsAndTheBitsAboveThem)
{
	EXPECT_EQ(kShort.id_bits(), 53);
	EXPECT_TRUE(kShort.fits((int64_t{1} << 53) - 1));
	EXPECT_FALSE(kShort.fits(int64_t{1} << 53));
	EXPECT_FALSE(kShort.fits(-1));
	EXPECT_EQ(kShort.unix_us(0x1fff), 1582156800001000);
	EXPECT_EQ(kShort.decompose(0x1fc1, 5), (ForeignFields{5, 63, 1}));
	EXPECT_EQ(kWorkerFirst.decompose((int64_t{7} << 53) | 9, 5), (ForeignFields{5, 7, 9}));
	EXPECT_EQ(kWorkerFirst.unix_us((int64_t{7} << 53) | (1 << 12) | 9), 1000);
	EXPECT_TRUE(kShort.sorts_by_time());
	EXPECT_FALSE(kWorkerFirst.sorts_by_time());
}

TEST(Foreign, WhatIsPossible)
{
	EXPECT_TRUE(kShort.is_possible());
	EXPECT_TRUE(kWorkerFirst.is_possible());
	EXPECT_TRUE((ForeignLayout{0, 1, {1, 63}, {}, {}}.is_possible()));
	EXPECT_TRUE((ForeignLayout{0, 1, {22, 42}, {12, 10}, {0, 12}}.is_possible()));
	EXPECT_FALSE((ForeignLayout{0, 1, {22, 43}, {12, 10}, {0, 12}}.is_possible())) << "65 bits";
	EXPECT_FALSE((ForeignLayout{0, 1, {22, 41}, {12, 11}, {0, 12}}.is_possible()));
	EXPECT_FALSE((ForeignLayout{0, 1, {22, 41}, {12, 10}, {0, 13}}.is_possible()));
	EXPECT_FALSE((ForeignLayout{0, 1, {22, 41}, {0, 10}, {0, 12}}.is_possible()));
	EXPECT_FALSE((ForeignLayout{0, 1, {22, 41}, {12, 10}, {60, 3}}.is_possible()));
	EXPECT_TRUE((ForeignLayout{0, 1, {22, 41}, {}, {0, 12}}.is_possible())) << "a field of no bits is nowhere";
}

TEST(Foreign, TimesOutOfRange)
{
	const ForeignLayout seconds{0, 1000000, {0, 63}, {}, {}};
	const ForeignLayout late{kMax, 1, {0, 63}, {}, {}};

	EXPECT_EQ(seconds.unix_us(kMax / 1000000), kMax / 1000000 * 1000000);
	EXPECT_EQ(seconds.unix_us(kMax / 1000000 + 1), std::nullopt);
	EXPECT_EQ(seconds.unix_us(kMax), std::nullopt);
	EXPECT_EQ(late.unix_us(0), kMax);
	EXPECT_EQ(late.unix_us(1), std::nullopt);
}

TEST(Foreign, BoundsAtTheEdges)
{
	const int64_t epoch = kShort.epoch_us;

	EXPECT_EQ(kShort.min_id(kMin), 0);
	EXPECT_EQ(kShort.min_id(epoch), 0);
	EXPECT_EQ(kShort.min_id(epoch + 1), 1 << 12);
	EXPECT_EQ(kShort.min_id(epoch + 1000), 1 << 12);
	EXPECT_EQ(kShort.min_id(epoch + 1001), 2 << 12);
	EXPECT_EQ(kShort.min_id(epoch + ((int64_t{1} << 41) - 1) * 1000), ((int64_t{1} << 41) - 1) << 12);
	EXPECT_EQ(kShort.min_id(epoch + ((int64_t{1} << 41) - 1) * 1000 + 1), std::nullopt);
	EXPECT_EQ(kShort.min_id(kMax), std::nullopt);
	EXPECT_EQ((ForeignLayout{kMin, 1, {0, 63}, {}, {}}.min_id(kMax)), std::nullopt);
	/* Where the numbers turn negative there is no bound. */
	EXPECT_EQ((ForeignLayout{0, 1, {1, 63}, {}, {}}.min_id(kMax / 2)), kMax / 2 * 2);
	EXPECT_EQ((ForeignLayout{0, 1, {1, 63}, {}, {}}.min_id(kMax / 2 + 1)), std::nullopt);
}

/* The condition on the number means the same as the one on the time. */
TEST(Foreign, BoundsAtRandom)
{
	std::mt19937_64 random(1);

	for (int i = 0; i < 300000; i++)
	{
		const ForeignLayout &layout = kPublishedLayouts[random() % kPublishedLayouts.size()];
		const auto	id = static_cast<int64_t>(random() >> (1 + random() % 20));
		const int64_t its = *layout.unix_us(id);

		for (const int64_t near : {-layout.unit_us - 1, -layout.unit_us, int64_t{-1}, int64_t{0}, int64_t{1}, layout.unit_us, layout.unit_us + 1})
		{
			const auto	bound = layout.min_id(its + near);

			if (bound)
				ASSERT_EQ(id >= *bound, its >= its + near) << id << " " << near;
			else
				ASSERT_GT(near, 0) << id;
		}
	}
}

} // namespace
