/*
 * status.cpp
 *		snowflake_status(): state of the snowflake generator, for people
 *		and for monitoring.
 *
 * Everything is read without blocking anybody, so the columns are not a consistent
 * snapshot.
 */
#include <algorithm>
#include <cstdint>

#include "prelude.h"

extern "C"
{
#include "access/htup_details.h"
#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
}

#include "horizon.hpp"
#include "mark.hpp"
#include "now.hpp"
#include "prepared.hpp"
#include "privileges.hpp"
#include "registry.hpp"
#include "result.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "timestamps.hpp"

extern "C"
{
SQL_FUNCTION(snowflake_status);
SQL_FUNCTION(snowflake_status_reset);
}

using namespace snowflake;

namespace
{

/* The columns of snowflake_status(), in their order. */
enum Column
{
	kWorkerId,
	kWorkerSource,
	kState,
	kIdBits,
	kWorkerBits,
	kSequenceBits,
	kEpoch,
	kTimeExhaustedAt,
	kIdsIssued,
	kLastId,
	kLastIdAt,
	kLead,
	kMaxLead,
	kWindowUntil,
	kMark,
	kHorizonLag,
	kLeaseHolder,
	kLeaseValidUntil,
	kLeaseError,
	kLeaseErrorAt,
	kClockWaits,
	kClockWaitTime,
	kKeeperWaits,
	kKeeperWaitTime,
	kClockStepsBack,
	kLargestStepBack,
	kLastStepBackAt,
	kKeeperPid,
	kKeeperError,
	kKeeperErrorAt,
	kStatsReset,
	kColumns
};

/* ms: since the layout's epoch. */
Datum
time_datum(int64_t ms)
{
	return TimestampTzGetDatum(to_timestamptz(layout.unix_ms(ms)));
}

/* What all backends have counted since the server started. */
void
sum_counters(Counters *sums)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		const Counters &one = shared->counters[i];

		sums->ids.add(one.ids.get());
		sums->max_lead.raise_to(one.max_lead.get());
		sums->clock_waits.add(one.clock_waits.get());
		sums->clock_wait_us.add(one.clock_wait_us.get());
		sums->window_waits.add(one.window_waits.get());
		sums->window_wait_us.add(one.window_wait_us.get());
	}
}

struct Observation
{
	Counters	sums;			/* since the server started */
	Counters	reset_sums;		/* the same, as of the last reset */
	int64_t		last;			/* tick */
	int64_t		now;
	TimestampTz reset_at;
	Window		window;
	ClockSteps	steps;
	Lease		lease;
	Failure		lease_failure;
	Failure		keeper_failure;
	bool		sees_all;

	bool
	issued() const
	{
		return last != Generator::kClosed && last > shared->opened_at.load();
	}

	int64_t
	counted(RelaxedCounter Counters::*counter) const
	{
		return static_cast<int64_t>((sums.*counter).get() - (reset_sums.*counter).get());
	}
};

/* The window may be older or newer than the tick: nothing acts on them. */
void
observe(Observation *seen)
{
	seen->last = shared->generator.last();
	seen->window = shared->generator.window();
	seen->now = now_ms();
	seen->sees_all = may_see_all();
	sum_counters(&seen->sums);

	LWLockAcquire(shared->lock, LW_SHARED);
	seen->reset_sums = shared->reset_sums;
	seen->reset_at = shared->reset_at;
	seen->steps = shared->clock_steps;
	seen->lease = shared->lease;
	seen->lease_failure = shared->lease_failure;
	seen->keeper_failure = shared->keeper_failure;
	LWLockRelease(shared->lock);
}

/* What a call for an ID would meet now. */
const char *
state(const Observation &seen)
{
	const auto	pinned = read_pinned_layout();

	if (pinned && *pinned != layout)
		return "wrong layout";
	if (RecoveryInProgress() && !leases_in_recovery())
		return "in recovery";
	if (leasing() && seen.lease.until <= seen.now)
		return "no lease";
	if (seen.last == Generator::kClosed)
		return "waiting for the keeper";

	switch (next_claim(layout, seen.last, seen.window, 1, seen.now, max_ahead).shortfall)
	{
		case Shortfall::kLead:
			return "waiting for the clock";
		case Shortfall::kExhausted:
			return "time bits used up";
		case Shortfall::kWindow:
			/* After idle time it is extended for the first caller at once. */
			if (shared->window_wanted.load() || shared->keeper_pid.load() == 0)
				return "waiting for the keeper";
			break;
		default:
			break;
	}
	return "issuing";
}

struct Row
{
	Datum		values[kColumns];
	bool		nulls[kColumns];

	void
	set(Column column, Datum value, bool known = true)
	{
		values[column] = value;
		nulls[column] = !known;
	}

	void
	set_failure(Column message, Column at, const Failure &failure, bool visible)
	{
		const bool	known = failure.message[0] != '\0' && visible;

		set(message, CStringGetTextDatum(failure.message), known);
		set(at, TimestampTzGetDatum(failure.at), known);
	}
};

void
set_generator(Row *row, const Observation &seen)
{
	const bool	issued = seen.issued();
	const bool	leased = leasing() && seen.lease.until > 0;
	const int64_t mark = read_mark().unix_ms;

	row->set(kWorkerId, Int32GetDatum(leased ? seen.lease.worker : worker_id), leased || worker_id >= 0);
	row->set(kWorkerSource, CStringGetTextDatum(worker_source));
	row->set(kState, CStringGetTextDatum(state(seen)));
	row->set(kIdBits, Int32GetDatum(layout.id_bits));
	row->set(kWorkerBits, Int32GetDatum(layout.worker_bits));
	row->set(kSequenceBits, Int32GetDatum(layout.sequence_bits()));
	row->set(kEpoch, time_datum(0));
	row->set(kTimeExhaustedAt, time_datum(kEndOfTime));
	row->set(kIdsIssued, Int64GetDatum(seen.counted(&Counters::ids)));
	row->set(kLastId, Int64GetDatum(issued ? layout.id_of(seen.last, seen.window.worker) : 0), issued && seen.sees_all);
	row->set(kLastIdAt, time_datum(issued ? layout.ms_of(seen.last) : 0), issued && seen.sees_all);
	row->set(kLead, interval_datum(issued ? std::max<int64_t>(layout.ms_of(seen.last) - seen.now, 0) : 0), issued);
	row->set(kMaxLead, interval_datum(static_cast<int64_t>(seen.sums.max_lead.get())));
	row->set(kWindowUntil, time_datum(seen.window.until), seen.last != Generator::kClosed);
	row->set(kMark, time_datum(layout.since_epoch(mark)), mark != 0);
	row->set(kHorizonLag, interval_datum(horizon_lag()), !RecoveryInProgress() && prepared_is_known());
	row->set(kLeaseHolder, CStringGetTextDatum(lease_holder()), leased && seen.sees_all);
	row->set(kLeaseValidUntil, time_datum(seen.lease.until), leased);
	row->set_failure(kLeaseError, kLeaseErrorAt, seen.lease_failure, seen.sees_all);
}

void
set_waits_and_keeper(Row *row, const Observation &seen)
{
	const int	keeper_pid = shared->keeper_pid.load();
	const bool	stepped = seen.steps.back > 0;
	const auto	milliseconds = [&seen](RelaxedCounter Counters::*us) { return Float8GetDatum(static_cast<double>(seen.counted(us)) / 1000); };

	row->set(kClockWaits, Int64GetDatum(seen.counted(&Counters::clock_waits)));
	row->set(kClockWaitTime, milliseconds(&Counters::clock_wait_us));
	row->set(kKeeperWaits, Int64GetDatum(seen.counted(&Counters::window_waits)));
	row->set(kKeeperWaitTime, milliseconds(&Counters::window_wait_us));
	row->set(kClockStepsBack, Int64GetDatum(seen.steps.back));
	row->set(kLargestStepBack, interval_datum(seen.steps.largest_back), stepped);
	row->set(kLastStepBackAt, TimestampTzGetDatum(seen.steps.last_back_at), stepped);
	row->set(kKeeperPid, Int32GetDatum(keeper_pid), keeper_pid != 0);
	row->set_failure(kKeeperError, kKeeperErrorAt, seen.keeper_failure, seen.sees_all);
	row->set(kStatsReset, TimestampTzGetDatum(seen.reset_at));
}

} // namespace

Datum
snowflake_status(PG_FUNCTION_ARGS)
{
	Observation seen = {};
	Row			row = {};

	require_preload();

	const TupleDesc tupdesc = look_up_row_type(fcinfo);

	/* The SQL of an older version has the first ones only. */
	Assert(tupdesc->natts <= kColumns);
	observe(&seen);
	set_generator(&row, seen);
	set_waits_and_keeper(&row, seen);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(tupdesc, row.values, row.nulls)));
}

/*
 * A slot belongs to its backend, so the sums are not set to zero but remembered.
 * The largest lead cannot be handled that way; there a backend may win the race
 * and keep the old one.
 */
Datum
snowflake_status_reset(PG_FUNCTION_ARGS)
{
	Counters	sums;

	(void) fcinfo;
	require_preload();
	sum_counters(&sums);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->reset_sums = sums;
	shared->clock_steps = {};
	shared->reset_at = GetCurrentTimestamp();
	LWLockRelease(shared->lock);

	for (int i = 0; i < MaxBackends; i++)
		shared->counters[i].max_lead.reset();
	PG_RETURN_VOID();
}
