/*
 * decode.cpp
 *		Decodes IDs of this server's layout.
 *
 * Immutable although they depend on settings: the layout is pinned, so that
 * these functions can stand in indexes and partition bounds.
 */
#include "prelude.h"

#include "arguments.hpp"
#include "decoded.hpp"
#include "pin.hpp"
#include "settings.hpp"
#include "timestamps.hpp"

extern "C"
{
SQL_FUNCTION(snowflake_decode);
SQL_FUNCTION(snowflake_is_valid);
SQL_FUNCTION(snowflake_timestamp);
SQL_FUNCTION(snowflake_worker_id);
SQL_FUNCTION(snowflake_sequence);
}

using namespace snowflake;

static inline Fields
decompose_argument(FunctionCallInfo fcinfo)
{
	const int64_t id = PG_GETARG_INT64(0);

	require_layout();
	return layout.decompose(checked_id(id));
}

static inline Datum
timestamp_datum(const Fields &fields)
{
	return TimestampTzGetDatum(to_timestamptz(layout.unix_ms(fields.ms)));
}

Datum
snowflake_decode(PG_FUNCTION_ARGS)
{
	const Fields fields = decompose_argument(fcinfo);

	return decoded_datum(decoded_type(fcinfo),
						 {to_timestamptz(layout.unix_ms(fields.ms)), fields.worker, fields.sequence});
}

/*
 * For tables with numbers that are not IDs, such as -1 and 0.  0 fits every layout,
 * but no server has issued it.
 */
Datum
snowflake_is_valid(PG_FUNCTION_ARGS)
{
	const int64_t id = PG_GETARG_INT64(0);

	require_layout();
	PG_RETURN_BOOL(id != 0 && layout.has(id));
}

Datum
snowflake_timestamp(PG_FUNCTION_ARGS)
{
	return timestamp_datum(decompose_argument(fcinfo));
}

Datum
snowflake_worker_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(decompose_argument(fcinfo).worker);
}

Datum
snowflake_sequence(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(decompose_argument(fcinfo).sequence);
}
