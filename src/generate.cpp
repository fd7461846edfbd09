/*
 * generate.cpp
 *		snowflake_next(), single and in batches.
 */
#include <algorithm>
#include <cstdint>

#include "prelude.h"

extern "C"
{
#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
}

#include "claim.hpp"
#include "pin.hpp"
#include "settings.hpp"

namespace snowflake
{

/* The most ticks that snowflake_next(count) claims at a time. */
static constexpr int32_t kChunk = 256;

/* In chunks of that size, it checks the clock once every so many rows. */
static constexpr int32_t kClockInterval = 16;

/* The slow path of snowflake_next(), so that the fast one needs no stack. */
[[gnu::cold, gnu::noinline]] static Datum
wait_for_one()
{
	const Claim got = wait_and_claim(1);

	return Int64GetDatum(layout.id_of(got.first, got.worker));
}

[[gnu::cold, gnu::noinline]] static Datum
take_first()
{
	const Claim got = first_claim(1);

	return Int64GetDatum(layout.id_of(got.first, got.worker));
}

/* What snowflake_next(count) keeps between two rows. */
struct Batch
{
	int64_t		wanted;			/* rows that are not claimed yet */
	int32_t		size;			/* of the chunk, as requested */
	Claim		chunk;			/* first and count: what is left of it */
	TimestampTz statement;		/* in which it was claimed */
};

/*
 * Could the rest of the chunk be below IDs that were returned before this row was
 * requested, or behind the clock?
 *
 * If another statement asks, the rows go through a cursor, and anything may have
 * happened since.  Within a statement, checking the clock for each row would make
 * the batch slower by a quarter, so every row is checked only until the rows are
 * known to follow each other fast.  A chunk that is ahead of the clock is kept: a
 * new one would be even further ahead.
 */
[[gnu::always_inline]] static inline bool
is_stale(const Batch &batch)
{
	if (batch.statement != GetCurrentStatementStartTimestamp()) [[unlikely]]
		return true;
	if (batch.size == kChunk && batch.chunk.count % kClockInterval != 0) [[likely]]
		return false;
	return layout.ms_of(batch.chunk.first) < backend_clock.now(layout);
}

/* The rest is lost, so the next chunk is small: no more is lost than is used. */
[[gnu::cold, gnu::noinline]] static void
abandon_chunk(Batch *batch)
{
	batch->wanted += batch->chunk.count;
	batch->chunk.count = 0;
	batch->size = 0;
}

static void
claim_chunk(Batch *batch)
{
	batch->size = std::clamp(2 * batch->size, 1, kChunk);

	const auto	wanted = static_cast<int32_t>(std::min<int64_t>(batch->wanted, batch->size));

	batch->chunk = is_ready ? claim(wanted) : first_claim(wanted);
	batch->wanted -= batch->chunk.count;
	batch->statement = GetCurrentStatementStartTimestamp();
}

} // namespace snowflake

extern "C"
{
SQL_FUNCTION(snowflake_next);
SQL_FUNCTION(snowflake_next_count);
}

using namespace snowflake;

Datum
snowflake_next(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	if (!is_ready) [[unlikely]]
		return take_first();

	int64_t		now;
	const Claim got = try_claim(1, &now);

	if (got.count == 0) [[unlikely]]
		return wait_for_one();
	PG_RETURN_INT64(layout.id_of(got.first, got.worker));
}

/*
 * Returns one row per call, so that a select list streams.  Claims in chunks: the
 * rest of a stale chunk is lost, and so is the rest of the last one if the caller
 * stops early, as with a sequence's cache.
 */
Datum
snowflake_next_count(PG_FUNCTION_ARGS)
{
	if (SRF_IS_FIRSTCALL())
	{
		const int32_t count = PG_GETARG_INT32(0);

		if (count < 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("count must not be negative"),
							errdetail("The count is %d.", count)));
		require_layout();

		FuncCallContext *context = SRF_FIRSTCALL_INIT();
		Batch	   *batch = static_cast<Batch *>(MemoryContextAllocZero(context->multi_call_memory_ctx,
																		sizeof(Batch)));

		batch->wanted = count;
		/* Make the first chunk half a full one, so that each of its rows is checked. */
		batch->size = kChunk / 4;
		context->user_fctx = batch;
	}

	FuncCallContext *context = SRF_PERCALL_SETUP();
	Batch	   *batch = static_cast<Batch *>(context->user_fctx);
	Claim	   *chunk = &batch->chunk;

	if (chunk->count > 0 && is_stale(*batch)) [[unlikely]]
		abandon_chunk(batch);
	if (chunk->count == 0)
	{
		if (batch->wanted == 0)
			SRF_RETURN_DONE(context);

		CHECK_FOR_INTERRUPTS();
		claim_chunk(batch);
	}

	chunk->count--;
	SRF_RETURN_NEXT(context, Int64GetDatum(layout.id_of(chunk->first++, chunk->worker)));
}
