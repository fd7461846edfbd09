/*
 * foreign_time.hpp
 *		From a time to an ID of another system's layout.
 */
#pragma once

#include <cstdint>
#include <optional>

#include "core/foreign.hpp"

#include "prelude.h"

#include "timestamps.hpp"

namespace snowflake
{

/* Nothing for the very last times, which Unix microseconds do not reach. */
inline std::optional<int64_t>
to_unix_us(TimestampTz time)
{
	int64_t		us;

	if (__builtin_add_overflow(time, kPostgresEpochMs * 1000, &us))
		return {};
	return us;
}

/* The smallest ID of this time or a later one; raises an error if there is none. */
inline int64_t
min_foreign_id(const ForeignLayout &layout, TimestampTz time)
{
	const auto	unix_us = to_unix_us(time);
	const auto	id = TIMESTAMP_IS_NOEND(time) || !unix_us ? std::nullopt : layout.min_id(*unix_us);

	if (!id)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("timestamp out of range for IDs of this layout: %s", pstrdup(timestamptz_to_str(time))),
						errdetail("IDs that late do not exist, or are negative.")));
	return *id;
}

} // namespace snowflake
