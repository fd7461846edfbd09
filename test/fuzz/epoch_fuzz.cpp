/*
 * epoch_fuzz.cpp
 *		Arbitrary bytes, read as the setting snowflake.epoch: either they are
 *		refused, or the time that they stand for, written out in full, is read as
 *		the same time and begins as the text did.
 */
#include <cstdio>
#include <cstdlib>

#include "core/epoch.hpp"

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

extern "C" int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	using namespace std::chrono;

	const std::string_view text(reinterpret_cast<const char *>(data), size);
	const auto	parsed = parse_epoch(text);

	if (!parsed)
		return 0;

	const sys_time<milliseconds> time{milliseconds{*parsed}};
	const auto	day = floor<days>(time);
	const year_month_day date{day};
	const hh_mm_ss<milliseconds> clock{time - day};
	char		full[64];

	snprintf(full, sizeof(full), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
			 static_cast<int>(date.year()), static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
			 static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
			 static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
	CHECK(parse_epoch(full) == parsed);
	CHECK(text.size() >= 10 && text.substr(0, 10) == std::string_view(full).substr(0, 10));
	if (text.size() >= 19 && text[13] == ':')
		CHECK(text.substr(11, 8) == std::string_view(full).substr(11, 8));
	if (text.size() >= 21 && text[19] == '.')
		for (size_t i = 20; i < text.size() && text[i] >= '0' && text[i] <= '9'; i++)
			CHECK(text[i] == full[i]);
	return 0;
}
