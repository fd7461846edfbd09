/*
 * text.hpp
 *		An ID as a short text that sorts like the number.
 *
 * base32: 13 characters of Douglas Crockford's alphabet.  It has no I, L, O or U;
 * input may be in lower case, I and L are read as 1, and O as 0.
 * base58: 11 characters of Bitcoin's alphabet, which has no 0, I, O or l; it is
 * case-sensitive.
 *
 * tid: 13 characters of the alphabet that the AT Protocol writes its TIDs in:
 * digits from 2 on, and lower case.  For Bluesky's IDs, not for our own.
 *
 * Every text of an encoding has the same length, padded with the alphabet's digit
 * 0, and all alphabets ascend in ASCII.  So texts sort bytewise like the IDs.
 * None has a check digit: any well-formed text is accepted.
 */
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

namespace snowflake
{

enum class TextFault : uint8_t
{
	kNone,
	kLength,
	kCharacter,					/* not a digit of the encoding */
	kOverflow,					/* greater than the greatest ID */
};

struct ParsedText
{
	int64_t		id;				/* 0 unless fault is kNone */
	TextFault	fault;
	int			position;		/* of the character for kCharacter, from 0 */

	bool		operator==(const ParsedText &) const = default;
};

struct TextEncoding
{
	std::string_view name;
	std::string_view digits;
	int			length;			/* digits that the greatest ID takes */
	std::array<int8_t, 256> values; /* of each byte as a digit; -1 if it is none */

	/* id: not negative.  out: `length` bytes, without a terminator. */
	constexpr void
	write(int64_t id, char *out) const noexcept
	{
		const auto	base = static_cast<int64_t>(digits.size());

		for (int i = length - 1; i >= 0; i--)
		{
			out[i] = digits[static_cast<size_t>(id % base)];
			id /= base;
		}
	}

	/* Accepts any bytes; never returns a number that the text does not stand for. */
	constexpr ParsedText
	read(std::string_view text) const noexcept
	{
		constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
		const auto	base = static_cast<int64_t>(digits.size());
		int64_t		id = 0;
		bool		overflow = false;

		if (text.size() != static_cast<size_t>(length))
			return {0, TextFault::kLength, 0};

		for (int i = 0; i < length; i++)
		{
			const int8_t digit = values[static_cast<unsigned char>(text[static_cast<size_t>(i)])];

			if (digit < 0)
				return {0, TextFault::kCharacter, i};
			if (id > (kMax - digit) / base)
				overflow = true;
			else
				id = id * base + digit;
		}
		if (overflow)
			return {0, TextFault::kOverflow, 0};
		return {id, TextFault::kNone, 0};
	}
};

constexpr TextEncoding
make_text_encoding(std::string_view name, std::string_view digits) noexcept
{
	TextEncoding encoding{name, digits, 0, {}};

	for (int64_t rest = std::numeric_limits<int64_t>::max(); rest > 0;
		 rest /= static_cast<int64_t>(digits.size()))
		encoding.length++;

	encoding.values.fill(-1);
	for (size_t i = 0; i < digits.size(); i++)
		encoding.values[static_cast<unsigned char>(digits[i])] = static_cast<int8_t>(i);
	return encoding;
}

constexpr TextEncoding
make_crockford() noexcept
{
	TextEncoding encoding = make_text_encoding("base32", "0123456789ABCDEFGHJKMNPQRSTVWXYZ");

	encoding.values['I'] = encoding.values['L'] = 1;
	encoding.values['O'] = 0;
	for (size_t upper = 'A'; upper <= 'Z'; upper++)
		encoding.values[upper + ('a' - 'A')] = encoding.values[upper];
	return encoding;
}

inline constexpr std::array kTextEncodings = {
	make_crockford(),
	make_text_encoding("base58", "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"),
	make_text_encoding("tid", "234567abcdefghijklmnopqrstuvwxyz"),
};

inline constexpr const TextEncoding &kBase32 = kTextEncodings[0];
inline constexpr const TextEncoding &kTid = kTextEncodings[2];

static_assert(kBase32.length == 13 && kTextEncodings[1].length == 11 && kTid.length == 13);

inline constexpr int kMaxTextLength = 13;

/*
 * Is it a TID for sure, rather than base32?  Both have 13 characters and most of
 * their digits in common.  But base32 is never written with these letters, and on
 * input three of them only stand for 0 and 1, which no TID has.
 */
constexpr bool
is_tid_for_sure(std::string_view text) noexcept
{
	return text.find_first_of("ilou") != std::string_view::npos && kTid.read(text).fault == TextFault::kNone;
}

/* Null if there is no encoding of this name. */
constexpr const TextEncoding *
find_text_encoding(std::string_view name) noexcept
{
	for (const TextEncoding &encoding : kTextEncodings)
		if (encoding.name == name)
			return &encoding;
	return nullptr;
}

} // namespace snowflake
