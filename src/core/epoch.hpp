/*
 * epoch.hpp
 *		Reads the setting snowflake.epoch: a date with an optional time, in UTC.
 *
 * Much stricter than timestamptz input: an epoch must mean the same on every
 * server, whatever its TimeZone and DateStyle, and "now" is not accepted.
 */
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace snowflake
{

/*
 * Parses an ISO 8601 text into Unix milliseconds; nothing if it is not of this form:
 *
 *	   YYYY-MM-DD [ ("T" | " ") HH:MM:SS [ "." 1 to 3 digits ] ] [ zone ]
 *
 * where zone is "Z", "UTC", "+00" or "+00:00", with or without a space before
 * it, and may be omitted: the time is UTC anyway.
 */
constexpr std::optional<int64_t>
parse_epoch(std::string_view text) noexcept
{
	const auto take = [&text](std::string_view expected) noexcept
	{
		if (!text.starts_with(expected))
			return false;
		text.remove_prefix(expected.size());
		return true;
	};
	/* Takes min to max digits; -1 if there are fewer. */
	const auto number = [&text](int min, int max, int *digits = nullptr) noexcept
	{
		int			value = 0;
		int			n = 0;

		while (n < max && !text.empty() && text.front() >= '0' && text.front() <= '9')
		{
			value = value * 10 + (text.front() - '0');
			text.remove_prefix(1);
			n++;
		}
		if (digits)
			*digits = n;
		return n < min ? -1 : value;
	};

	const int	year = number(4, 4);
	const bool	dash1 = take("-");
	const int	month = number(2, 2);
	const bool	dash2 = take("-");
	const int	day = number(2, 2);

	if (year < 0 || month < 0 || day < 0 || !dash1 || !dash2)
		return {};

	const std::chrono::year_month_day date{std::chrono::year(year),
										   std::chrono::month(static_cast<unsigned>(month)),
										   std::chrono::day(static_cast<unsigned>(day))};

	if (!date.ok())
		return {};

	int64_t		ms = int64_t{std::chrono::sys_days(date).time_since_epoch().count()} * 86'400'000;

	if (text.size() > 1 && (text[0] == 'T' || text[0] == ' ') && text[1] >= '0' && text[1] <= '9')
	{
		text.remove_prefix(1);

		const int	hour = number(2, 2);
		const bool	colon1 = take(":");
		const int	minute = number(2, 2);
		const bool	colon2 = take(":");
		const int	second = number(2, 2);

		if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 ||
			!colon1 || !colon2)
			return {};
		ms += ((int64_t{hour} * 60 + minute) * 60 + second) * 1000;

		if (take("."))
		{
			int			digits = 0;
			int			fraction = number(1, 3, &digits);

			if (fraction < 0)
				return {};
			for (; digits < 3; digits++)
				fraction *= 10;
			ms += fraction;
		}
	}

	const bool	zone_follows = take(" ") || !text.empty();

	if (zone_follows && !take("Z") && !take("UTC") && !take("+00:00") && !take("+00"))
		return {};
	if (!text.empty())
		return {};
	return ms;
}

} // namespace snowflake
