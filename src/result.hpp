/*
 * result.hpp
 *		The row type that a function returns, looked up once per query.
 */
#pragma once

#include "prelude.h"

extern "C"
{
#include "funcapi.h"
}

namespace snowflake
{

/* In the current memory context. */
inline TupleDesc
look_up_row_type(FunctionCallInfo fcinfo)
{
	TupleDesc	descriptor;

	if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return BlessTupleDesc(descriptor);
}

[[gnu::cold, gnu::noinline]] inline TupleDesc
look_up_result_descriptor(FunctionCallInfo fcinfo)
{
	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

	fcinfo->flinfo->fn_extra = look_up_row_type(fcinfo);
	MemoryContextSwitchTo(old);
	return static_cast<TupleDesc>(fcinfo->flinfo->fn_extra);
}

/* Uses fn_extra. */
inline TupleDesc
result_descriptor(FunctionCallInfo fcinfo)
{
	if (!fcinfo->flinfo->fn_extra) [[unlikely]]
		return look_up_result_descriptor(fcinfo);
	return static_cast<TupleDesc>(fcinfo->flinfo->fn_extra);
}

} // namespace snowflake
