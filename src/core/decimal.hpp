/*
 * decimal.hpp
 *		Reads the numbers that decide uniqueness.
 *
 * Other parsers accept more: "010" is octal to one and decimal to another, "1.4"
 * is rounded, "1e3" and "0x10" are valid.  Two servers whose numbers are spelled
 * differently must get different ones, so here each number has only one spelling.
 */
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace snowflake
{

/*
 * Parses a number from 0 to max: decimal digits only, without a leading zero.
 * Returns nothing for any other text.
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
