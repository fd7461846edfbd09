/*
 * published_test.cpp
 *		Other systems' layouts: their own published examples, and a check that the
 *		fields of each fill it without a gap.
 */
#include <limits>
#include <set>
#include <string>

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
PublishedFields
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
}

/* Bits set by hand, one field at a time. */
TEST(Published, FieldsStandWhereTheirMakersSay)
{
	EXPECT_EQ(layout("sonyflake").decompose(1), fields(1409529600000, 1, 0));
	EXPECT_EQ(layout("sonyflake").decompose(1 << 16), fields(1409529600000, 0, 1));
	EXPECT_EQ(layout("sonyflake").decompose(1 << 24), fields(1409529600010, 0, 0));
	EXPECT_EQ(layout("cockroachdb").decompose(0x7fff), fields(1420070400000, 32767, {}));
	EXPECT_EQ(layout("cockroachdb").decompose(0x8000), (PublishedFields{1420070400000010, 0, {}}));
	EXPECT_EQ(layout("pgedge").decompose(4214793), fields(1672531200001, 5, 9));
	EXPECT_EQ(layout("mastodon").decompose(0x10000), fields(1, {}, 0));
}

TEST(Published, FieldsFillTheId)
{
	for (const PublishedLayout &layout : kPublishedLayouts)
	{
		uint64_t	covered = 0;

		for (const BitField &field : {layout.time, layout.worker, layout.sequence})
		{
			const uint64_t mask = ((uint64_t{1} << field.bits) - 1) << field.shift;

			EXPECT_EQ(covered & mask, 0u) << layout.name;
			covered |= mask;
		}
		EXPECT_EQ(covered | uint64_t{1} << 63, std::numeric_limits<uint64_t>::max()) << layout.name;
		EXPECT_EQ(layout.can_be(-1), covered >> 63 != 0) << layout.name;
		EXPECT_TRUE(layout.can_be(0)) << layout.name;
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
