/*
 * decode.cpp
 *		Takes IDs of this server's layout apart.
 *
 * Immutable although they depend on settings: the layout is pinned, so that
 * these functions can stand in indexes and partition bounds.
 */
#include "compat.h"

extern "C"
{
#include "access/htup_details.h"
}

#include "arguments.hpp"
#include "pin.hpp"
#include "result.hpp"
#include "settings.hpp"
#include "timestamps.hpp"

extern "C"
{
SQL_FUNCTION(snowflake_decode);
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
	return TimestampTzGetDatum(to_timestamptz(layout.epoch_ms + fields.ms));
}

Datum
snowflake_decode(PG_FUNCTION_ARGS)
{
	const Fields fields = decompose_argument(fcinfo);
	Datum		values[] = {timestamp_datum(fields), Int32GetDatum(fields.worker),
							Int32GetDatum(fields.sequence)};
	bool		nulls[lengthof(values)] = {};

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(result_descriptor(fcinfo), values, nulls)));
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
