/*
 * encode.cpp
 *		Turns times into IDs of this server's layout.
 *
 * Immutable for the same reason as the functions in decode.cpp.
 */
#include "core/bounds.hpp"

#include "prelude.h"

#include "pin.hpp"
#include "settings.hpp"
#include "timestamps.hpp"

extern "C"
{
SQL_FUNCTION(snowflake_encode);
SQL_FUNCTION(snowflake_min_id);
SQL_FUNCTION(snowflake_max_id);
SQL_FUNCTION(snowflake_last_before);
}

using namespace snowflake;

[[noreturn]] static void
raise_no_such_time(TimestampTz time)
{
	ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					errmsg("timestamp out of range for snowflake IDs: %s",
						   pstrdup(timestamptz_to_str(time))),
					errdetail("This layout covers the times from %s to %s.",
							  to_text(layout.epoch_ms), to_text(layout.unix_ms(kEndOfTime - 1)))));
}

static void
check_field(const char *what, int32_t value, int32_t max)
{
	if (value < 0 || value > max)
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("%s out of range: %d", what, value),
						errdetail("Allowed: 0 to %d.", max)));
}

Datum
snowflake_encode(PG_FUNCTION_ARGS)
{
	const TimestampTz created_at = PG_GETARG_TIMESTAMPTZ(0);

	require_layout();

	const Fields fields{layout.since_epoch(to_unix_time(created_at).ms),
						PG_GETARG_INT32(1), PG_GETARG_INT32(2)};

	if (fields.ms < 0 || fields.ms >= kEndOfTime)
		raise_no_such_time(created_at);
	check_field("worker ID", fields.worker, layout.max_worker());
	check_field("sequence", fields.sequence, layout.max_sequence());
	PG_RETURN_INT64(layout.compose(fields));
}

Datum
snowflake_min_id(PG_FUNCTION_ARGS)
{
	const TimestampTz time = PG_GETARG_TIMESTAMPTZ(0);

	require_layout();

	const auto	id = min_id(layout, to_unix_time(time));

	if (!id)
		raise_no_such_time(time);
	PG_RETURN_INT64(*id);
}

Datum
snowflake_max_id(PG_FUNCTION_ARGS)
{
	const TimestampTz time = PG_GETARG_TIMESTAMPTZ(0);

	require_layout();

	const auto	id = max_id(layout, to_unix_time(time));

	if (!id)
		raise_no_such_time(time);
	PG_RETURN_INT64(*id);
}

/* There is an answer for every time, so that a range may be open-ended. */
Datum
snowflake_last_before(PG_FUNCTION_ARGS)
{
	const TimestampTz time = PG_GETARG_TIMESTAMPTZ(0);

	require_layout();
	PG_RETURN_INT64(last_before(layout, to_unix_time(time)));
}
