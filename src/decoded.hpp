/*
 * decoded.hpp
 *		What snowflake_decode() returns: a row of the type snowflake_decoded.
 */
#pragma once

#include <cstdint>
#include <cstring>

#include "core/foreign.hpp"

#include "prelude.h"

extern "C"
{
#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/timestamp.h"
}

#include "result.hpp"

namespace snowflake
{

/* The columns as they lie after the header if none is null; all have a fixed width. */
struct DecodedColumns
{
	TimestampTz created_at;
	int32		worker;
	int32		sequence;
};

static_assert(sizeof(DecodedColumns) == 16);

/*
 * The type, looked up once per query, and a row of it from heap_form_tuple().  Rows
 * without nulls differ only in their columns, so others are made by copying its
 * header.  The header is not made here, since a minor release of the server may put
 * more into it than the headers that this was built with say.
 */
struct DecodedType
{
	TupleDesc	descriptor;
	HeapTupleHeader example;
};

/* In the current memory context. */
inline void
look_up_decoded_type(FunctionCallInfo fcinfo, DecodedType *type)
{
	Datum		values[] = {TimestampTzGetDatum(0), Int32GetDatum(0), Int32GetDatum(0)};
	bool		nulls[lengthof(values)] = {};

	type->descriptor = look_up_row_type(fcinfo);
	type->example = DatumGetHeapTupleHeader(
		HeapTupleGetDatum(heap_form_tuple(type->descriptor, values, nulls)));
	if (VARSIZE(type->example) != type->example->t_hoff + sizeof(DecodedColumns))
		elog(ERROR, "row of type snowflake_decoded has %d bytes", static_cast<int>(VARSIZE(type->example)));
}

[[gnu::cold, gnu::noinline]] inline const DecodedType *
look_up_decoded_type(FunctionCallInfo fcinfo)
{
	const MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	DecodedType *type = static_cast<DecodedType *>(palloc0(sizeof(DecodedType)));

	look_up_decoded_type(fcinfo, type);
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = type;
	return type;
}

/* Uses fn_extra. */
inline const DecodedType &
decoded_type(FunctionCallInfo fcinfo)
{
	const DecodedType *type = static_cast<const DecodedType *>(fcinfo->flinfo->fn_extra);

	if (!type) [[unlikely]]
		type = look_up_decoded_type(fcinfo);
	return *type;
}

/* palloc'd */
inline Datum
decoded_datum(const DecodedType &type, const DecodedColumns &columns)
{
	const Size	header = type.example->t_hoff;
	char	   *row = static_cast<char *>(palloc(header + sizeof(columns)));

	memcpy(row, type.example, header);
	*reinterpret_cast<DecodedColumns *>(row + header) = columns;
	return PointerGetDatum(row);
}

/* The same for another system's ID, whose layout may lack a field. */
inline Datum
decoded_datum(const DecodedType &type, TimestampTz created_at, const ForeignFields &fields)
{
	if (fields.worker && fields.sequence)
		return decoded_datum(type, {created_at, *fields.worker, *fields.sequence});

	Datum		values[] = {TimestampTzGetDatum(created_at), Int32GetDatum(fields.worker.value_or(0)),
							Int32GetDatum(fields.sequence.value_or(0))};
	bool		nulls[] = {false, !fields.worker, !fields.sequence};

	return HeapTupleGetDatum(heap_form_tuple(type.descriptor, values, nulls));
}

} // namespace snowflake
