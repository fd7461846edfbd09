/*
 * epoch_test.cpp
 *		Which texts are a date and time, and which are not.
 */
#include <gtest/gtest.h>

#include "core/epoch.hpp"

using namespace snowflake;

namespace
{

TEST(Epoch, ReadsIso8601)
{
	EXPECT_EQ(parse_epoch("1970-01-01"), 0);
	EXPECT_EQ(parse_epoch("2023-01-01"), 1672531200000);
	EXPECT_EQ(parse_epoch("2023-01-01 00:00:00"), 1672531200000);
	EXPECT_EQ(parse_epoch("2023-01-01 00:00:00 UTC"), 1672531200000);
	EXPECT_EQ(parse_epoch("2023-01-01T00:00:00Z"), 1672531200000);
	EXPECT_EQ(parse_epoch("2023-01-01 00:00:00+00"), 1672531200000);
	EXPECT_EQ(parse_epoch("2023-01-01 00:00:00+00:00"), 1672531200000);
	EXPECT_EQ(parse_epoch("2023-01-01Z"), 1672531200000);
	EXPECT_EQ(parse_epoch("2010-11-04 01:42:54.657Z"), 1288834974657);
	EXPECT_EQ(parse_epoch("2010-11-04 01:42:54.6"), 1288834974600);
	EXPECT_EQ(parse_epoch("2024-02-29 23:59:59.999"), 1709251199999);
	EXPECT_EQ(parse_epoch("1969-12-31 23:59:59.999"), -1);
}

TEST(Epoch, RefusesEverythingElse)
{
	for (const char *text :
		 {"", " ", "now", "infinity", "epoch", "yesterday", "2023", "2023-1-1", "2023-01-01x",
		  "2023-13-01", "2023-00-01", "2023-02-29", "2023-01-00", "2023-04-31", "01/02/2023",
		  "2023/01/01", "20230101", "2023-01-01 24:00:00", "2023-01-01 00:60:00",
		  "2023-01-01 00:00:60", "2023-01-01 00:00", "2023-01-01 00:00:00.", "2023-01-01 00:00:00.1234",
		  "2023-01-01 00:00:00 CET", "2023-01-01 00:00:00+01", "2023-01-01 00:00:00-05",
		  "2023-01-01 00:00:00ZZ", "2023-01-01 00:00:00 UTC ", "2023-01-01 ", "2023-01-01 00:00:00 ", " 2023-01-01", "1672531200000",
		  "-2023-01-01", "+2023-01-01", "2023-01-01 00:00:00+00:30"})
		EXPECT_FALSE(parse_epoch(text).has_value()) << '"' << text << '"';
}

} // namespace
