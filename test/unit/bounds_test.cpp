/*
 * bounds_test.cpp
 *		The conditions on an ID mean what those on its time mean, at every edge
 *		and for every microsecond.
 */
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "core/bounds.hpp"
#include "layouts.hpp"

using namespace snowflake;

namespace
{

constexpr Layout kDefault{1672531200000, 10};
constexpr Layout kFiftyThree{1672531200000, 3, 53};
constexpr int64_t kMaxId = std::numeric_limits<int64_t>::max();

/* The definition: compares the time of an ID, which has no microseconds, with a time. */
int
compare(const Layout &layout, int64_t id, UnixTime time)
{
	const int64_t ms = layout.epoch_ms + layout.decompose(id).ms;

	if (ms != time.ms)
		return ms < time.ms ? -1 : 1;
	return time.us > 0 ? -1 : 0;
}

void
check(const Layout &layout, int64_t id, UnixTime time)
{
	const auto	min = min_id(layout, time);
	const auto	max = max_id(layout, time);

	ASSERT_EQ(compare(layout, id, time) >= 0, min && id >= *min) << id << " " << time.ms << " " << time.us;
	ASSERT_EQ(compare(layout, id, time) <= 0, max && id <= *max) << id << " " << time.ms << " " << time.us;
	ASSERT_EQ(compare(layout, id, time) < 0, id <= last_before(layout, time)) << id << " " << time.ms << " " << time.us;
}

/* The IDs around both bounds of a time, and the times around an ID's. */
void
check_around(const Layout &layout, UnixTime time)
{
	const int64_t max = layout.max_id();
	std::vector<int64_t> ids{0, 1, max - 1, max};

	for (const auto &bound : {min_id(layout, time), max_id(layout, time)})
		for (const int64_t step : {-1, 0, 1})
			if (bound && (step < 0 ? *bound > 0 : *bound < max))
				ids.push_back(*bound + step);
	for (const int64_t id : ids)
		check(layout, id, time);
}

TEST(Bounds, EveryMicrosecondOfThreeMilliseconds)
{
	for (const int64_t ms : {int64_t{0}, int64_t{1}, int64_t{123456789012}, kEndOfTime - 2, kEndOfTime - 1})
		for (const int64_t near : {ms - 1, ms, ms + 1})
			for (int us = 0; us < 1000; us++)
				for (const Layout &layout : {kDefault, kFiftyThree})
					check_around(layout, {layout.epoch_ms + near, us});
}

TEST(Bounds, AtRandom)
{
	std::mt19937_64 random(1);

	for (int i = 0; i < 300000; i++)
	{
		const Layout layout = random_layout(random, static_cast<int64_t>(random() % 2000000000000));
		const int64_t id = static_cast<int64_t>(random()) & layout.max_id();
		const int64_t ms = layout.epoch_ms + layout.decompose(id).ms;

		check_around(layout, {static_cast<int64_t>(random()), static_cast<int>(random() % 1000)});
		for (const int64_t near : {ms - 1, ms, ms + 1})
			for (const int us : {0, 1, 500, 999})
				check(layout, id, {near, us});
	}
}

TEST(Bounds, Edges)
{
	const int64_t epoch = kDefault.epoch_ms;

	EXPECT_EQ(min_id(kDefault, {epoch, 0}), 0);
	EXPECT_EQ(min_id(kDefault, {epoch - 1, 1}), 0);
	EXPECT_EQ(min_id(kDefault, {epoch, 1}), 1 << 22);
	EXPECT_EQ(min_id(kDefault, {epoch + kEndOfTime - 1, 0}), (kEndOfTime - 1) << 22);
	EXPECT_EQ(min_id(kDefault, {epoch + kEndOfTime - 1, 1}), std::nullopt);
	EXPECT_EQ(min_id(kDefault, {epoch + kEndOfTime, 0}), std::nullopt);

	EXPECT_EQ(max_id(kDefault, {epoch - 1, 999}), std::nullopt);
	EXPECT_EQ(max_id(kDefault, {epoch, 0}), (1 << 22) - 1);
	EXPECT_EQ(max_id(kDefault, {epoch + kEndOfTime - 2, 999}), kMaxId - (1 << 22));
	EXPECT_EQ(max_id(kDefault, {epoch + kEndOfTime - 1, 0}), kMaxId);
	EXPECT_EQ(max_id(kDefault, {epoch + kEndOfTime, 0}), kMaxId);

	EXPECT_EQ(last_before(kDefault, {epoch, 0}), -1);
	EXPECT_EQ(last_before(kDefault, {epoch, 1}), (1 << 22) - 1);
	EXPECT_EQ(last_before(kDefault, {epoch + kEndOfTime - 1, 0}), kMaxId - (1 << 22));
	EXPECT_EQ(last_before(kDefault, {epoch + kEndOfTime - 1, 1}), kMaxId);
}

/* Every layout, at the ends of its time. */
TEST(Bounds, EdgesOfEveryLayout)
{
	const int64_t epoch = 1672531200000;

	for (const Layout &layout : all_layouts(epoch))
	{
		for (const int64_t ms : {int64_t{-1}, int64_t{0}, int64_t{1}, kEndOfTime - 2, kEndOfTime - 1, kEndOfTime})
			for (const int us : {0, 1, 999})
				check_around(layout, {epoch + ms, us});

		EXPECT_EQ(min_id(layout, {epoch, 1}), int64_t{1} << (layout.id_bits - 41));
		EXPECT_EQ(min_id(layout, {epoch + kEndOfTime - 1, 1}), std::nullopt);
		EXPECT_EQ(max_id(layout, {epoch + kEndOfTime - 1, 0}), layout.max_id());
		EXPECT_EQ(max_id(layout, {INT64_MAX, 999}), layout.max_id());
		EXPECT_EQ(last_before(layout, {INT64_MAX, 999}), layout.max_id());
		EXPECT_EQ(last_before(layout, {epoch + kEndOfTime - 1, 1}), layout.max_id());
	}
	EXPECT_EQ(last_before(kFiftyThree, {epoch + kEndOfTime - 1, 0}), (int64_t{1} << 53) - 1 - (1 << 12));
}

TEST(Bounds, Infinity)
{
	EXPECT_EQ(min_id(kDefault, {INT64_MIN, 0}), 0);
	EXPECT_EQ(max_id(kDefault, {INT64_MIN, 0}), std::nullopt);
	EXPECT_EQ(min_id(kDefault, {INT64_MAX, 999}), std::nullopt);
	EXPECT_EQ(max_id(kDefault, {INT64_MAX, 999}), kMaxId);
	EXPECT_EQ(last_before(kDefault, {INT64_MIN, 0}), -1);
	EXPECT_EQ(last_before(kDefault, {INT64_MAX, 999}), kMaxId);
}

} // namespace
