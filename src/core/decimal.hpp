/*
 * decimal.hpp
 *		Reads the numbers that decide uniqueness.
 *
 * What else reads numbers takes more: "010" is octal to one and decimal to the
 * other, "1.4" is rounded, "1e3" and "0x10" are meant well.  Two servers whose
 * numbers differ on paper must differ, so here each number has one text only.
 */
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace snowflake
{

/*
 * The number that a text is: 0 to max, in decimal digits and nothing else, with
 * no leading zero; nothing if it is not one.
 */
constexpr std::optional<int64_t>
parse_decimal(std::string_view text, int64_t max) noexcept
{
	int64_t		value = 0;

	if (text.empty() || (text.front() == '0' && text.size() > 1))
		return {};
	for (const char c : text)
	{
		const int	digit = c - '0';

		if (digit < 0 || digit > 9 || digit > max || value > (max - digit) / 10)
			return {};
		value = value * 10 + digit;
	}
	return value;
}

} // namespace snowflake
