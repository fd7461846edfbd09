/*
 * published_test.cpp
 *		Other systems' layouts: their own published examples, and a check that the
 *		fields of each fill it without a gap.
 */
#include <limits>
#include <set>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "core/published.hpp"

using namespace snowflake;

namespace
{

const PublishedLayout &
layout(const char *name)
{
	return *find_published_layout(name);
}

/* Times in Unix milliseconds. */
ForeignFields
fields(int64_t unix_ms, std::optional<int32_t> worker, std::optional<int32_t> sequence)
{
	return {unix_ms * 1000, worker, sequence};
}

TEST(Published, Examples)
{
	/* Discord's API reference */
	EXPECT_EQ(layout("discord").decompose(175928847299117063), fields(1462015105796, 32, 7));
	/* Twitter's "Introduction to Tweet JSON" */
	EXPECT_EQ(layout("twitter").decompose(1050118621198921728), fields(1539202764211, 347, 0));
	/* Instagram's "Sharding & IDs" */
	EXPECT_EQ(layout("instagram").decompose(11637205501278089), fields(1315607284721, 1341, 905));
	/* Mastodon's Status entity */
	EXPECT_EQ(layout("mastodon").decompose(103270115826048975), fields(1575776913849, {}, 40911));
	/* tsid-creator's README */
	EXPECT_EQ(layout("tsid").decompose(38390726480144748).unix_us, 1586989862458000);
	/* ClickHouse's reference of generateSnowflakeID() */
	EXPECT_EQ(layout("clickhouse").decompose(7199081390080409600), fields(1716394755859, 484, 0));
	/* An activity whose time LinkedIn shows, too */
	EXPECT_EQ(layout("linkedin").decompose(7075043149462556672), fields(1686821734777, {}, {}));
	/* @atcute/tid's README: 3l25zusnsfctk */
	EXPECT_EQ(layout("bluesky").decompose(1765551611692032816), (ForeignFields{1724171495793000, 816, {}}));
	/* What Compose() of github.com/sony/sonyflake/v2 makes of 2026-03-04 05:06:07.89 UTC, 171 and 4660 */
	EXPECT_EQ(layout("sonyflake_v2").decompose(61926663661490740), fields(1772600767890, 4660, 171));
	/* A video whose time TikTok shows, too */
	EXPECT_EQ(layout("tiktok").decompose(6854717870488702213), fields(1595988373000, {}, {}));
}

/* Bits set by hand, one field at a time. */
TEST(Published, FieldsStandWhereTheirMakersSay)
{
	for (const auto &[name, epoch_ms] : {std::pair{"sonyflake", 1409529600000}, std::pair{"sonyflake_v2", 1735689600000}})
	{
		EXPECT_EQ(layout(name).decompose(1), fields(epoch_ms, 1, 0));
		EXPECT_EQ(layout(name).decompose(1 << 16), fields(epoch_ms, 0, 1));
		EXPECT_EQ(layout(name).decompose(1 << 24), fields(epoch_ms + 10, 0, 0));
	}
	EXPECT_EQ(layout("cockroachdb").decompose(0x7fff), fields(1420070400000, 32767, {}));
	EXPECT_EQ(layout("cockroachdb").decompose(0x8000), (ForeignFields{1420070400000010, 0, {}}));
	EXPECT_EQ(layout("pgedge").decompose(4214793), fields(1672531200001, 5, 9));
	EXPECT_EQ(layout("mastodon").decompose(0x10000), fields(1, {}, 0));
	EXPECT_EQ(layout("bluesky").decompose(0x401), (ForeignFields{1, 1, {}}));
	EXPECT_EQ(layout("tiktok").decompose(0x1ffffffff), fields(1000, {}, {}));
	EXPECT_EQ(layout("linkedin").decompose(0x7fffff), fields(1, {}, {}));
}

TEST(Published, FieldsFillTheId)
{
	for (const PublishedLayout &layout : kPublishedLayouts)
	{
		const bool	is_sparse = layout.worker.bits == 0 && layout.sequence.bits == 0;
		uint64_t	covered = is_sparse ? (uint64_t{1} << layout.time.shift) - 1 : 0;

		for (const BitField &field : {layout.time, layout.worker, layout.sequence})
		{
			const uint64_t mask = field.mask() << field.shift;

			EXPECT_EQ(covered & mask, 0u) << layout.name;
			covered |= mask;
		}
		EXPECT_EQ(covered | uint64_t{1} << 63, std::numeric_limits<uint64_t>::max()) << layout.name;
		EXPECT_EQ(layout.fits(-1), covered >> 63 != 0) << layout.name;
		EXPECT_TRUE(layout.is_possible()) << layout.name;
		EXPECT_TRUE(layout.sorts_by_time()) << layout.name;
	}
}

/* The sign bit is the time's highest: the time goes on growing where the number turns negative. */
TEST(Published, TheSignBitIsABitOfTheTime)
{
	for (const PublishedLayout &layout : kPublishedLayouts)
		if (layout.can_be(-1))
		{
			EXPECT_EQ(layout.decompose(std::numeric_limits<int64_t>::max()).unix_us + layout.unit_us,
					  layout.decompose(std::numeric_limits<int64_t>::min()).unix_us) << layout.name;
			EXPECT_EQ(layout.decompose(-1).unix_us + layout.unit_us, layout.end_us()) << layout.name;
		}
	/* 2046-06-27, where Instagram's IDs turn negative */
	EXPECT_EQ(layout("instagram").decompose(std::numeric_limits<int64_t>::min()).unix_us / 86'400'000'000, 27936);
}

/* What is below the first ID is none: the numbers of a sequence, and those that stand for nothing. */
TEST(Published, FirstIds)
{
	for (const PublishedLayout &layout : kPublishedLayouts)
	{
		const auto	first = static_cast<int64_t>(layout.first_id);

		EXPECT_TRUE(layout.can_be(first)) << layout.name;
		EXPECT_FALSE(layout.can_be(first - 1)) << layout.name;
		for (const int64_t id : {0, 1, 20, 1000000, 2147483647})
			EXPECT_FALSE(layout.can_be(id)) << layout.name;
		EXPECT_TRUE(layout.can_be(std::numeric_limits<int64_t>::max())) << layout.name;
	}
	/* The first tweet with a snowflake ID, by "TweetedAt" of the WS-DL group, 2019. */
	EXPECT_EQ(layout("twitter").decompose(29700859247).unix_us, 1288834981738000);
	EXPECT_FALSE(layout("twitter").can_be(29700859246));
}

TEST(Published, Names)
{
	std::set<std::string> names;

	for (const PublishedLayout &layout : kPublishedLayouts)
	{
		EXPECT_EQ(find_published_layout(layout.name), &layout);
		names.insert(layout.name);
	}
	EXPECT_EQ(names.size(), kPublishedLayouts.size());
	for (const char *name : {"", "Twitter", "twitte", "twitterr"})
		EXPECT_EQ(find_published_layout(name), nullptr);
}

} // namespace
