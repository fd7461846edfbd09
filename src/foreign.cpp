/*
 * foreign.cpp
 *		Decodes the IDs of any layout, which is described by its fields; depends on
 *		no setting, and works without the preload.
 *
 * Not strict: a shift that is NULL follows from the widths.  Decoding works the
 * layout out once per query if it is the same for all rows.
 */
#include <algorithm>
#include <cstdint>
#include <optional>

#include "core/foreign.hpp"

#include "prelude.h"

extern "C"
{
#include "utils/builtins.h"
}

#include "decoded.hpp"
#include "foreign_time.hpp"
#include "timestamps.hpp"

extern "C"
{
SQL_FUNCTION(snowflake_decode_fields);
SQL_FUNCTION(snowflake_min_id_fields);
}

using namespace snowflake;

namespace
{

/* The arguments of both functions, in their order. */
enum Argument
{
	kValue,						/* the ID, or the time */
	kEpoch,
	kUnit,
	kTimeBits,
	kWorkerBits,
	kSequenceBits,
	kTimeShift,
	kWorkerShift,
	kSequenceShift,
	kArguments
};

/* What a call keeps for the next one, in fn_extra. */
struct Known
{
	DecodedType type;
	bool		same;			/* the layout is the same for all rows */
	ForeignLayout layout;
};

} // namespace

[[noreturn, gnu::cold]] static void
raise_invalid(const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid ID layout"),
					errdetail_internal("%s", detail)));
}

static int
bits_argument(FunctionCallInfo fcinfo, Argument argument, int min, int max, const char *detail)
{
	const int32 bits = PG_GETARG_INT32(argument);

	if (bits < min || bits > max)
		raise_invalid(detail);
	return bits;
}

static int
shift_argument(FunctionCallInfo fcinfo, Argument argument, int otherwise)
{
	if (PG_ARGISNULL(argument))
		return otherwise;
	return bits_argument(fcinfo, argument, 0, 63, "A shift must be 0 to 63.");
}

static int64_t
epoch_argument(FunctionCallInfo fcinfo)
{
	const TimestampTz epoch = PG_GETARG_TIMESTAMPTZ(kEpoch);

	const auto	unix_us = to_unix_us(epoch);

	if (TIMESTAMP_NOT_FINITE(epoch) || !unix_us)
		raise_invalid("The epoch must be finite, and not at the end of time.");
	return *unix_us;
}

static int64_t
unit_argument(FunctionCallInfo fcinfo)
{
	const Interval *unit = PG_GETARG_INTERVAL_P(kUnit);
	int64_t		us;

	if (unit->month != 0)
		raise_invalid("The unit must not have months, which differ in length.");
	if (__builtin_mul_overflow(int64_t{unit->day}, USECS_PER_DAY, &us) || __builtin_add_overflow(us, unit->time, &us))
		raise_invalid("The unit is out of range.");
	if (us <= 0)
		raise_invalid("The unit must be positive.");
	return us;
}

/* Without shifts, the sequence is lowest, the worker above it, and the time above both. */
static ForeignLayout
layout_arguments(FunctionCallInfo fcinfo)
{
	const int	time_bits = bits_argument(fcinfo, kTimeBits, 1, 63, "\"time_bits\" must be 1 to 63.");
	const int	worker_bits = bits_argument(fcinfo, kWorkerBits, 0, 31, "\"worker_bits\" must be 0 to 31.");
	const int	sequence_bits = bits_argument(fcinfo, kSequenceBits, 0, 31, "\"sequence_bits\" must be 0 to 31.");
	const BitField sequence{shift_argument(fcinfo, kSequenceShift, 0), sequence_bits};
	const BitField worker{shift_argument(fcinfo, kWorkerShift, sequence.end()), worker_bits};
	const BitField time{shift_argument(fcinfo, kTimeShift, std::max(worker.end(), sequence.end())), time_bits};
	const ForeignLayout layout{epoch_argument(fcinfo), unit_argument(fcinfo), time, worker, sequence};

	if (layout.id_bits() > 64)
		raise_invalid("The fields take more than 64 bits.");
	if (!layout.is_possible())
		raise_invalid("Two fields share a bit.");
	return layout;
}

static bool
any_is_null(FunctionCallInfo fcinfo)
{
	for (int i = 0; i < kTimeShift; i++)
		if (PG_ARGISNULL(i))
			return true;
	return false;
}

static bool
is_same_for_all_rows(FunctionCallInfo fcinfo)
{
	for (int i = kEpoch; i < kArguments; i++)
		if (!get_fn_expr_arg_stable(fcinfo->flinfo, i))
			return false;
	return true;
}

[[gnu::cold, gnu::noinline]] static Known *
look_up_known(FunctionCallInfo fcinfo)
{
	const MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	Known	   *known = static_cast<Known *>(palloc0(sizeof(Known)));

	look_up_decoded_type(fcinfo, &known->type);
	known->layout = layout_arguments(fcinfo);
	known->same = is_same_for_all_rows(fcinfo);
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = known;
	return known;
}

[[noreturn, gnu::cold]] static void
raise_not_of_layout(const ForeignLayout &layout, int64_t id)
{
	ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					errmsg("%lld is not an ID of this layout", (long long) id),
					layout.fits(id) ? errdetail("Its time would be out of range.")
									: errdetail("IDs of this layout have %d bits.", layout.id_bits())));
}

Datum
snowflake_decode_fields(PG_FUNCTION_ARGS)
{
	if (any_is_null(fcinfo))
		PG_RETURN_NULL();

	const int64_t id = PG_GETARG_INT64(kValue);
	Known	   *known = static_cast<Known *>(fcinfo->flinfo->fn_extra);

	if (!known) [[unlikely]]
		known = look_up_known(fcinfo);
	else if (!known->same)
		known->layout = layout_arguments(fcinfo);

	const ForeignLayout &layout = known->layout;
	const auto	unix_us = layout.fits(id) ? layout.unix_us(id) : std::nullopt;
	TimestampTz created_at;

	if (!unix_us || __builtin_sub_overflow(*unix_us, kPostgresEpochMs * 1000, &created_at) || !IS_VALID_TIMESTAMP(created_at))
		raise_not_of_layout(layout, id);
	return decoded_datum(known->type, created_at, layout.decompose(id, *unix_us));
}

Datum
snowflake_min_id_fields(PG_FUNCTION_ARGS)
{
	if (any_is_null(fcinfo))
		PG_RETURN_NULL();

	const ForeignLayout layout = layout_arguments(fcinfo);

	if (!layout.sorts_by_time())
		raise_invalid("The time is not the highest field, so that a later ID need not be greater.");
	PG_RETURN_INT64(min_foreign_id(layout, PG_GETARG_TIMESTAMPTZ(kValue)));
}
