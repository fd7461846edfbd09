/*
 * text_fuzz.cpp
 *		Arbitrary bytes, read as the text of an ID: either they are refused, or the
 *		ID that they stand for is written as the same text again.
 *
 * The first byte chooses the encoding.
 */
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/text.hpp"

using namespace snowflake;

#define CHECK(condition) \
	do \
	{ \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

/* The canonical text for an input: base32 has several inputs for one ID. */
static std::string
canonical(const TextEncoding &encoding, std::string_view text)
{
	std::string result(text);

	if (encoding.name == "base32")
		for (char &c : result)
		{
			c = static_cast<char>(toupper(static_cast<unsigned char>(c)));
			if (c == 'I' || c == 'L')
				c = '1';
			if (c == 'O')
				c = '0';
		}
	return result;
}

extern "C" int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;

	const TextEncoding &encoding = kTextEncodings[data[0] % kTextEncodings.size()];
	const std::string_view text(reinterpret_cast<const char *>(data) + 1, size - 1);
	const ParsedText parsed = encoding.read(text);
	std::string written(static_cast<size_t>(encoding.length), '?');
	std::string greatest = written;

	encoding.write(parsed.id, written.data());
	encoding.write(std::numeric_limits<int64_t>::max(), greatest.data());
	switch (parsed.fault)
	{
		case TextFault::kNone:
			CHECK(parsed.id >= 0);
			CHECK(written == canonical(encoding, text));
			break;
		case TextFault::kLength:
			CHECK(text.size() != written.size());
			break;
		case TextFault::kCharacter:
			CHECK(text.size() == written.size());
			CHECK(parsed.position >= 0 && parsed.position < encoding.length);
			CHECK(encoding.digits.find(canonical(encoding, text)[static_cast<size_t>(parsed.position)]) == std::string_view::npos);
			break;
		case TextFault::kOverflow:
			CHECK(canonical(encoding, text) > greatest);
			break;
	}
	CHECK(parsed.fault == TextFault::kNone || parsed.id == 0);
	return 0;
}
