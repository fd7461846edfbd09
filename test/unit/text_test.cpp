/*
 * text_test.cpp
 *		Texts of IDs: round trip, order, and every way to be malformed.
 */
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/text.hpp"

using namespace snowflake;

namespace
{

constexpr int64_t kMaxId = std::numeric_limits<int64_t>::max();

const TextEncoding &
encoding(const char *name)
{
	return *find_text_encoding(name);
}

std::string
write(const TextEncoding &encoding, int64_t id)
{
	std::string text(static_cast<size_t>(encoding.length), '?');

	encoding.write(id, text.data());
	return text;
}

constexpr ParsedText
good(int64_t id)
{
	return {id, TextFault::kNone, 0};
}

/* Edges, powers of two and of both bases with their neighbours, and random values of every width. */
std::vector<int64_t>
ids()
{
	std::mt19937_64 random(1);
	std::vector<int64_t> ids{0, 1, kMaxId - 1, kMaxId};

	for (const uint64_t base : {2u, 32u, 58u})
		for (uint64_t power = base; power <= static_cast<uint64_t>(kMaxId) / base; power *= base)
			for (const uint64_t near : {power - 1, power, power + 1})
				ids.push_back(static_cast<int64_t>(near));
	for (int i = 0; i < 200000; i++)
		ids.push_back(static_cast<int64_t>(random() >> (1 + random() % 63)));
	return ids;
}

TEST(Text, TellsTids)
{
	/* @atcute/tid's README, and the AT Protocol's specification of TIDs */
	EXPECT_EQ(encoding("tid").read("3l25zusnsfctk"), good(1765551611692032816));
	EXPECT_EQ(encoding("tid").read("2222222222222"), good(0));
	EXPECT_EQ(write(encoding("tid"), 1765551611692032816), "3l25zusnsfctk");
	EXPECT_EQ(write(encoding("tid"), kMaxId), "bzzzzzzzzzzzz");
	EXPECT_EQ(encoding("tid").read("c222222222222").fault, TextFault::kOverflow);

	for (const char *text : {"3l25zusnsfctk", "3jzfcijpj2z2a", "3kabcdefghjko", "3ku2345672345", "bi22222222222"})
		EXPECT_TRUE(is_tid_for_sure(text)) << text;
	/* Without those letters, with digits that no TID has, in upper case, too great, too long. */
	for (const char *text : {"3kabcdefghjkm", "2222222222222", "oi23456789abc", "3L25ZVSNSFCTK", "jl22222222222", "3l25zusnsfctkk", "3l25zusnsfct", ""})
		EXPECT_FALSE(is_tid_for_sure(text)) << text;

	/* What is written in base32 is never taken for one. */
	for (const int64_t id : ids())
		ASSERT_FALSE(is_tid_for_sure(write(encoding("base32"), id)));
}

TEST(Text, PublishedExamples)
{
	EXPECT_EQ(write(encoding("base32"), 38390726480144748), "0123456789ABC");
	EXPECT_EQ(write(encoding("base32"), kMaxId), "7ZZZZZZZZZZZZ");
	EXPECT_EQ(write(encoding("base32"), 0), "0000000000000");
	EXPECT_EQ(write(encoding("base58"), 0), "11111111111");
	EXPECT_EQ(write(encoding("base58"), 57), "1111111111z");
	EXPECT_EQ(write(encoding("base58"), 58), "11111111121");
	EXPECT_EQ(write(encoding("base58"), kMaxId), "NQm6nKp8qFC");
}

TEST(Text, ReadUndoesWrite)
{
	for (const TextEncoding &encoding : kTextEncodings)
		for (const int64_t id : ids())
			ASSERT_EQ(encoding.read(write(encoding, id)), good(id)) << encoding.name;
}

TEST(Text, SortsAsTheNumbersDo)
{
	const std::vector<int64_t> some = ids();

	for (const TextEncoding &encoding : kTextEncodings)
		for (size_t i = 1; i < some.size(); i++)
			ASSERT_EQ(some[i - 1] < some[i],
					  write(encoding, some[i - 1]) < write(encoding, some[i]));
}

/* Each byte in each place: it is a digit, or the text is refused with that position. */
TEST(Text, EveryByteInEveryPlace)
{
	for (const TextEncoding &encoding : kTextEncodings)
	{
		const std::string valid = write(encoding, 1234567890123456789);

		for (size_t place = 0; place < valid.size(); place++)
			for (int byte = 0; byte < 256; byte++)
			{
				std::string text = valid;
				const char	c = static_cast<char>(byte);

				text[place] = c;

				const ParsedText parsed = encoding.read(text);
				std::string_view seen = encoding.digits;
				const bool	crockford = encoding.name == "base32";

				if (seen.find(c) != seen.npos)
				{
					if (parsed.fault == TextFault::kNone)
					{
						ASSERT_EQ(write(encoding, parsed.id), text);
					}
					else
					{
						ASSERT_EQ(parsed, (ParsedText{0, TextFault::kOverflow, 0}));
						ASSERT_EQ(place, 0u);
					}
				}
				else if (crockford && isalpha(byte) && byte < 128 && toupper(byte) != 'U')
				{
					ASSERT_NE(parsed.fault, TextFault::kCharacter) << text;
				}
				else
				{
					ASSERT_EQ(parsed, (ParsedText{0, TextFault::kCharacter, static_cast<int>(place)})) << text;
				}
			}
	}
}

TEST(Text, CrockfordReadsWhatPeopleWrite)
{
	const TextEncoding &base32 = encoding("base32");

	EXPECT_EQ(base32.read("0123456789abc"), good(38390726480144748));
	EXPECT_EQ(base32.read("oIz3456789ABC").fault, TextFault::kNone);
	EXPECT_EQ(base32.read("0l23456789abc"), good(38390726480144748));
	EXPECT_EQ(base32.read("OI23456789abc"), good(38390726480144748));
	EXPECT_EQ(base32.read("oi23456789abc"), good(38390726480144748));
	EXPECT_EQ(base32.read("OL23456789abc"), good(38390726480144748));
	EXPECT_EQ(base32.read("U123456789ABC"), (ParsedText{0, TextFault::kCharacter, 0}));
	EXPECT_EQ(base32.read("012345678-ABC"), (ParsedText{0, TextFault::kCharacter, 9}));
}

TEST(Text, Base58TellsCaseApart)
{
	const TextEncoding &base58 = encoding("base58");

	EXPECT_NE(base58.read("1111111111A"), base58.read("1111111111a"));
	for (const char bad : {'0', 'I', 'O', 'l'})
		EXPECT_EQ(base58.read(std::string(10, '1') + bad), (ParsedText{0, TextFault::kCharacter, 10}));
}

TEST(Text, WrongLength)
{
	for (const TextEncoding &encoding : kTextEncodings)
		for (size_t length = 0; length < 100; length++)
			if (length != static_cast<size_t>(encoding.length))
			{
				ASSERT_EQ(encoding.read(std::string(length, '1')), (ParsedText{0, TextFault::kLength, 0}));
			}
}

/* The text after that of the greatest ID, and all that are greater. */
TEST(Text, Overflow)
{
	std::mt19937_64 random(2);

	for (const TextEncoding &encoding : kTextEncodings)
	{
		const std::string greatest = write(encoding, kMaxId);
		std::string text = greatest;

		for (size_t place = text.size(); place-- > 0;)
		{
			const size_t digit = encoding.digits.find(text[place]);

			if (digit + 1 < encoding.digits.size())
			{
				text[place] = encoding.digits[digit + 1];
				break;
			}
			text[place] = encoding.digits[0];
		}
		ASSERT_GT(text, greatest);
		EXPECT_EQ(encoding.read(text), (ParsedText{0, TextFault::kOverflow, 0})) << text;

		for (int i = 0; i < 200000; i++)
		{
			for (char &c : text)
				c = encoding.digits[random() % encoding.digits.size()];
			ASSERT_EQ(encoding.read(text).fault == TextFault::kOverflow, text > greatest) << text;
		}
	}
}

TEST(Text, EncodingsByName)
{
	EXPECT_EQ(find_text_encoding("base32")->length, 13);
	EXPECT_EQ(find_text_encoding("base58")->length, 11);
	for (const TextEncoding &encoding : kTextEncodings)
		EXPECT_LE(encoding.length, kMaxTextLength);
	for (const char *name : {"", "base64", "BASE32", "base3", "base322"})
		EXPECT_EQ(find_text_encoding(name), nullptr);
}

} // namespace
