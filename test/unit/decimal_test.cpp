/*
 * decimal_test.cpp
 *		Each number has one text, and no other text is a number.
 */
#include <cstdint>
#include <string>

#include <gtest/gtest.h>

#include "core/decimal.hpp"

using namespace snowflake;

namespace
{

constexpr int64_t kGreatest = INT64_MAX;

TEST(Decimal, ReadsWhatIsPrinted)
{
	for (int64_t value = 0; value <= 70'000; value++)
		EXPECT_EQ(parse_decimal(std::to_string(value), 65'535),
				  value <= 65'535 ? std::optional(value) : std::nullopt);
	EXPECT_EQ(parse_decimal("9223372036854775807", kGreatest), kGreatest);
	EXPECT_EQ(parse_decimal("9223372036854775806", kGreatest - 1), kGreatest - 1);
}

TEST(Decimal, KeepsToTheLimit)
{
	EXPECT_EQ(parse_decimal("0", 0), 0);
	EXPECT_FALSE(parse_decimal("1", 0));
	EXPECT_EQ(parse_decimal("3", 3), 3);
	EXPECT_FALSE(parse_decimal("4", 3));
	EXPECT_FALSE(parse_decimal("9", 3));
	EXPECT_FALSE(parse_decimal("9223372036854775807", kGreatest - 1));
	EXPECT_FALSE(parse_decimal("9223372036854775808", kGreatest));
	EXPECT_FALSE(parse_decimal("18446744073709551616", kGreatest));
	EXPECT_FALSE(parse_decimal("99999999999999999999999999999999999999", kGreatest));
}

/* Every text of up to three characters: if it is a number, that prints as the text. */
TEST(Decimal, GivesEachNumberOneText)
{
	int			numbers = 0;

	for (int first = 0; first < 256; first++)
		for (int second = -1; second < 256; second++)
			for (int third = -1; third < (second < 0 ? 0 : 256); third++)
			{
				std::string text(1, static_cast<char>(first));

				if (second >= 0)
					text += static_cast<char>(second);
				if (third >= 0)
					text += static_cast<char>(third);
				if (const auto value = parse_decimal(text, kGreatest))
				{
					numbers++;
					EXPECT_EQ(std::to_string(*value), text);
				}
			}
	EXPECT_EQ(numbers, 1000);
}

TEST(Decimal, RefusesEverythingElse)
{
	for (const char *text :
		 {"", " ", "-", "+", "-1", "+1", "-0", "00", "010", "0777", "01", " 1", "1 ", "\t1", "1\n",
		  "1.0", "1.4", "-0.4", "1e3", "1E3", "0x10", "0b1", "0o7", "1_000", "1,000", "1kB", "1s",
		  "ten", "NaN", "1a", "\xd9\xa1"})
		EXPECT_FALSE(parse_decimal(text, kGreatest)) << '"' << text << '"';
}

} // namespace
