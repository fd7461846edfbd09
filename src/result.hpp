/*
 * result.hpp
 *		The row type that a function returns.
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

} // namespace snowflake
