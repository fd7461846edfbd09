/*
 * timestamps.hpp
 *		Converts between Unix milliseconds, timestamptz and text.
 */
#pragma once

#include <cstdint>

#include "core/bounds.hpp"
#include "prelude.h"

extern "C"
{
#include "datatype/timestamp.h"
#include "utils/timestamp.h"
}

namespace snowflake
{

/* 2000-01-01, from which a timestamptz counts microseconds, in Unix milliseconds. */
inline constexpr int64_t kPostgresEpochMs =
	int64_t{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * SECS_PER_DAY * 1000;

/* unix_ms: 1970 to some centuries after. */
constexpr TimestampTz
to_timestamptz(int64_t unix_ms) noexcept
{
	return (unix_ms - kPostgresEpochMs) * 1000;
}

/* unix_us: in a timestamptz's range. */
constexpr TimestampTz
unix_us_to_timestamptz(int64_t unix_us) noexcept
{
	return unix_us - kPostgresEpochMs * 1000;
}

/* Any timestamptz; infinity turns into the ends of time. */
constexpr UnixTime
to_unix_time(TimestampTz time) noexcept
{
	const int64_t ms = time / 1000 + kPostgresEpochMs;
	const int	us = static_cast<int>(time % 1000);

	return us < 0 ? UnixTime{ms - 1, us + 1000} : UnixTime{ms, us};
}

/* palloc'd. */
inline Datum
interval_datum(int64_t ms)
{
	Interval   *interval = static_cast<Interval *>(palloc0(sizeof(Interval)));

	interval->time = ms * 1000;
	return IntervalPGetDatum(interval);
}

/* For messages; palloc'd. */
inline char *
to_text(int64_t unix_ms)
{
	return pstrdup(timestamptz_to_str(to_timestamptz(unix_ms)));
}

/* "1.234 s", for messages; palloc'd.  ms: not negative. */
inline char *
duration_text(int64_t ms)
{
	return psprintf("%lld.%03d s", (long long) (ms / 1000), (int) (ms % 1000));
}

} // namespace snowflake
