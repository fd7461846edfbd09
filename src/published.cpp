/*
 * published.cpp
 *		Decodes the IDs of other systems by the system's name, and lists their
 *		layouts; depends on no setting, and works without the preload.
 */
#include "core/published.hpp"

#include "prelude.h"

extern "C"
{
#include "funcapi.h"
#include "utils/builtins.h"
}

#include "arguments.hpp"
#include "decoded.hpp"
#include "foreign_time.hpp"
#include "result.hpp"
#include "timestamps.hpp"

extern "C"
{
SQL_FUNCTION(snowflake_decode_as);
SQL_FUNCTION(snowflake_is_valid_as);
SQL_FUNCTION(snowflake_min_id_as);
SQL_FUNCTION(snowflake_layouts);
}

using namespace snowflake;

static const PublishedLayout &
layout_argument(text *argument)
{
	const std::string_view name = view_of(argument);
	const PublishedLayout *published = find_published_layout(name);

	if (!published)
		raise_unknown("ID layout", name, kPublishedLayouts);
	return *published;
}

static TimestampTz
first_time(const PublishedLayout &published)
{
	return unix_us_to_timestamptz(*published.unix_us(static_cast<int64_t>(published.first_id)));
}

[[noreturn, gnu::cold]] static void
raise_not_of(const PublishedLayout &published, int64_t id)
{
	ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					errmsg("%lld is not a %s ID", (long long) id, published.name),
					published.fits(id) ? errdetail("The first ID of this layout is %lld, of %s.", (long long) published.first_id,
												   timestamptz_to_str(first_time(published)))
									   : errdetail("IDs of this layout are not negative.")));
}

namespace
{

/* What a call keeps for the next one, in fn_extra. */
struct Known
{
	DecodedType type;
	const PublishedLayout *published;	/* null if it may differ from row to row */
};

} // namespace

[[gnu::cold, gnu::noinline]] static Known *
look_up_known(FunctionCallInfo fcinfo)
{
	const MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	Known	   *known = static_cast<Known *>(palloc0(sizeof(Known)));

	look_up_decoded_type(fcinfo, &known->type);
	if (get_fn_expr_arg_stable(fcinfo->flinfo, 1))
		known->published = &layout_argument(PG_GETARG_TEXT_PP(1));
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = known;
	return known;
}

Datum
snowflake_decode_as(PG_FUNCTION_ARGS)
{
	const int64_t id = PG_GETARG_INT64(0);
	const Known *known = static_cast<const Known *>(fcinfo->flinfo->fn_extra);

	if (!known) [[unlikely]]
		known = look_up_known(fcinfo);

	const PublishedLayout &published = known->published ? *known->published : layout_argument(PG_GETARG_TEXT_PP(1));

	if (!published.can_be(id))
		raise_not_of(published, id);

	const ForeignFields fields = published.decompose(id);

	return decoded_datum(known->type, unix_us_to_timestamptz(fields.unix_us), fields);
}

Datum
snowflake_is_valid_as(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(layout_argument(PG_GETARG_TEXT_PP(1)).can_be(PG_GETARG_INT64(0)));
}

Datum
snowflake_min_id_as(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(min_foreign_id(layout_argument(PG_GETARG_TEXT_PP(1)), PG_GETARG_TIMESTAMPTZ(0)));
}

static Datum
unit_datum(int64_t us)
{
	Interval   *unit = static_cast<Interval *>(palloc0(sizeof(Interval)));

	unit->time = us;
	return IntervalPGetDatum(unit);
}

Datum
snowflake_layouts(PG_FUNCTION_ARGS)
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
	Datum		values[] = {CStringGetTextDatum(published.name),
							TimestampTzGetDatum(unix_us_to_timestamptz(published.epoch_us)),
							unit_datum(published.unit_us),
							Int32GetDatum(published.time.bits),
							Int32GetDatum(published.worker.bits),
							Int32GetDatum(published.sequence.bits),
							Int32GetDatum(published.time.shift),
							Int32GetDatum(published.worker.shift),
							Int32GetDatum(published.sequence.shift),
							TimestampTzGetDatum(first_time(published)),
							TimestampTzGetDatum(unix_us_to_timestamptz(published.end_us()))};
	bool		nulls[lengthof(values)] = {};

	nulls[7] = published.worker.bits == 0;
	nulls[8] = published.sequence.bits == 0;
	SRF_RETURN_NEXT(context, HeapTupleGetDatum(heap_form_tuple(context->tuple_desc, values, nulls)));
}
