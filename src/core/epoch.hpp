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

/* Takes the parts of a text off its front. */
class TextReader
{
public:
	constexpr explicit TextReader(std::string_view text) noexcept : text_(text) {}

	constexpr bool
	at_end() const noexcept
	{
		return text_.empty();
	}

	constexpr bool
	take(std::string_view expected) noexcept
	{
		if (!text_.starts_with(expected))
			return false;
		text_.remove_prefix(expected.size());
		return true;
	}

	/* Takes one of the separators if a digit follows it. */
	constexpr bool
	take_before_digit(std::string_view separators) noexcept
	{
		if (text_.size() < 2 || separators.find(text_[0]) == separators.npos || !is_digit(text_[1]))
			return false;
		text_.remove_prefix(1);
		return true;
	}

	/* A number of this many digits; -1 if there are fewer. */
	constexpr int
	number(int digits) noexcept
	{
		int			value = 0;

		for (int n = 0; n < digits; n++)
		{
			if (text_.empty() || !is_digit(text_.front()))
				return -1;
			value = value * 10 + (text_.front() - '0');
			text_.remove_prefix(1);
		}
		return value;
	}

	/* Milliseconds from one to three digits after a decimal point; -1 if there is none. */
	constexpr int
	fraction() noexcept
	{
		int			value = number(1);

		if (value < 0)
			return -1;
		for (int n = 1; n < 3; n++)
			value = value * 10 + (at_end() || !is_digit(text_.front()) ? 0 : number(1));
		return value;
	}

private:
	static constexpr bool
	is_digit(char c) noexcept
	{
		return c >= '0' && c <= '9';
	}

	std::string_view text_;
};

/* The date's first millisecond. */
constexpr std::optional<int64_t>
parse_date(TextReader &reader) noexcept
{
	const int	year = reader.number(4);
	const bool	dash1 = reader.take("-");
	const int	month = reader.number(2);
	const bool	dash2 = reader.take("-");
	const int	day = reader.number(2);

	if (year < 0 || month < 0 || day < 0 || !dash1 || !dash2)
		return {};

	const std::chrono::year_month_day date{std::chrono::year(year),
										   std::chrono::month(static_cast<unsigned>(month)),
										   std::chrono::day(static_cast<unsigned>(day))};

	if (!date.ok())
		return {};
	return int64_t{std::chrono::sys_days(date).time_since_epoch().count()} * 86'400'000;
}

/* The milliseconds since midnight. */
constexpr std::optional<int64_t>
parse_time(TextReader &reader) noexcept
{
	const int	hour = reader.number(2);
	const bool	colon1 = reader.take(":");
	const int	minute = reader.number(2);
	const bool	colon2 = reader.take(":");
	const int	second = reader.number(2);
	const int	fraction = reader.take(".") ? reader.fraction() : 0;

	if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 ||
		!colon1 || !colon2 || fraction < 0)
		return {};
	return ((int64_t{hour} * 60 + minute) * 60 + second) * 1000 + fraction;
}

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
	TextReader	reader(text);
	const auto	date = parse_date(reader);
	const auto	time = date && reader.take_before_digit("T ") ? parse_time(reader) : 0;

	if (!date || !time)
		return {};

	const bool	zone_follows = reader.take(" ") || !reader.at_end();

	if (zone_follows && !reader.take("Z") && !reader.take("UTC") && !reader.take("+00:00") && !reader.take("+00"))
		return {};
	if (!reader.at_end())
		return {};
	return *date + *time;
}

} // namespace snowflake
