/*
 * published.cpp
 *		Decodes the IDs of other systems, and lists their layouts; depends on no
 *		setting, and works without the preload.
 */
#include "core/published.hpp"

#include "prelude.h"

extern "C"
{
#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/builtins.h"
}

#include "arguments.hpp"
#include "result.hpp"
#include "timestamps.hpp"

extern "C"
{
SQL_FUNCTION(snowflake_decode_as);
SQL_FUNCTION(snowflake_layout);
}

using namespace snowflake;

Datum
snowflake_decode_as(PG_FUNCTION_ARGS)
{
	const int64_t id = PG_GETARG_INT64(0);
	const std::string_view name = view_of(PG_GETARG_TEXT_PP(1));
	const PublishedLayout *published = find_published_layout(name);

	if (!published)
		raise_unknown("ID layout", name, kPublishedLayouts);
	if (!published->can_be(id))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("%lld is not a %s ID", (long long) id, published->name),
						errdetail("IDs of this layout are not negative.")));

	const PublishedFields fields = published->decompose(id);
	Datum		values[] = {TimestampTzGetDatum(unix_us_to_timestamptz(fields.unix_us)),
							Int32GetDatum(fields.worker.value_or(0)),
							Int32GetDatum(fields.sequence.value_or(0))};
	bool		nulls[] = {false, !fields.worker, !fields.sequence};

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(result_descriptor(fcinfo), values, nulls)));
}

Datum
snowflake_layout(PG_FUNCTION_ARGS)
{
	if (SRF_IS_FIRSTCALL())
	{
		FuncCallContext *context = SRF_FIRSTCALL_INIT();
		MemoryContext old = MemoryContextSwitchTo(context->multi_call_memory_ctx);

		context->tuple_desc = look_up_row_type(fcinfo);
		MemoryContextSwitchTo(old);
	}

	FuncCallContext *context = SRF_PERCALL_SETUP();

	if (context->call_cntr >= kPublishedLayouts.size())
		SRF_RETURN_DONE(context);

	const PublishedLayout &published = kPublishedLayouts[context->call_cntr];
	Interval   *unit = static_cast<Interval *>(palloc0(sizeof(Interval)));

	unit->time = published.unit_us;

	Datum		values[] = {CStringGetTextDatum(published.name),
							TimestampTzGetDatum(to_timestamptz(published.epoch_ms)),
							IntervalPGetDatum(unit),
							Int32GetDatum(published.time.bits),
							Int32GetDatum(published.worker.bits),
							Int32GetDatum(published.sequence.bits),
							TimestampTzGetDatum(unix_us_to_timestamptz(published.end_us()))};
	bool		nulls[lengthof(values)] = {};

	SRF_RETURN_NEXT(context, HeapTupleGetDatum(heap_form_tuple(context->tuple_desc, values, nulls)));
}
