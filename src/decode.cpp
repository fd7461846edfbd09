/*
 * decode.cpp
 *		Decodes IDs of this server's layout.
 *
 * Immutable although they depend on settings: the layout is pinned, so that
 * these functions can stand in indexes and partition bounds.
 */
#include "prelude.h"

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
	return TimestampTzGetDatum(to_timestamptz(layout.unix_ms(fields.ms)));
}

/*
 * A row's columns, as heap_form_tuple() would lay them out behind the header:
 * all have a fixed width and none is null, so there is no need to compute it for
 * each row.
 */
struct Columns
{
	TimestampTz created_at;
	int32		worker;
	int32		sequence;
};

static_assert(sizeof(Columns) == 16);

static constexpr Size kRowHeader = MAXALIGN(SizeofHeapTupleHeader);

Datum
snowflake_decode(PG_FUNCTION_ARGS)
{
	const Fields fields = decompose_argument(fcinfo);
	const TupleDesc descriptor = result_descriptor(fcinfo);
	char	   *row = static_cast<char *>(palloc0(kRowHeader + sizeof(Columns)));
	HeapTupleHeader header = reinterpret_cast<HeapTupleHeader>(row);
	Columns    *columns = reinterpret_cast<Columns *>(row + kRowHeader);

	HeapTupleHeaderSetDatumLength(header, kRowHeader + sizeof(Columns));
	HeapTupleHeaderSetTypeId(header, descriptor->tdtypeid);
	HeapTupleHeaderSetTypMod(header, descriptor->tdtypmod);
	HeapTupleHeaderSetNatts(header, 3);
	ItemPointerSetInvalid(&header->t_ctid);
	header->t_hoff = kRowHeader;
	columns->created_at = to_timestamptz(layout.unix_ms(fields.ms));
	columns->worker = fields.worker;
	columns->sequence = fields.sequence;
	PG_RETURN_POINTER(row);
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
