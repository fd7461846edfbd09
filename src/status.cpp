/*
 * status.cpp
 *		The view snowflake_status: how the generator is, for people and for
 *		monitoring.
 *
 * Everything is read without stopping anybody, so the columns are not of the
 * very same moment.
 */
#include <algorithm>
#include <cstdint>

#include "compat.h"

extern "C"
{
#include "access/htup_details.h"
#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
}

#include "mark.hpp"
#include "now.hpp"
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

/* The columns of snowflake_status, in their order. */
enum Column
{
	kWorkerId,
	kWorkerSource,
	kState,
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

Datum
interval_datum(int64_t ms)
{
	Interval   *interval = static_cast<Interval *>(palloc0(sizeof(Interval)));

	interval->time = ms * 1000;
	return IntervalPGetDatum(interval);
}

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

/* What a call would meet that asked for an ID now. */
const char *
state(int64_t last, const Window &window, const Lease &lease, int64_t now)
{
	const auto	pinned = read_pinned_layout();

	if (pinned && *pinned != layout)
		return "wrong layout";
	if (RecoveryInProgress() && !leases_in_recovery())
		return "in recovery";
	if (leasing() && lease.until <= now)
		return "no lease";
	if (last == Generator::kClosed)
		return "waiting for the keeper";

	switch (next_claim(layout, last, window, 1, now, max_ahead).stop)
	{
		case Stop::kLead:
			return "waiting for the clock";
		case Stop::kExhausted:
			return "time bits used up";
		case Stop::kWindow:
			/* After idle time the first caller has it extended at once. */
			if (shared->window_wanted.load() || shared->keeper_pid.load() == 0)
				return "waiting for the keeper";
			break;
		default:
			break;
	}
	return "issuing";
}

} // namespace

Datum
snowflake_status(PG_FUNCTION_ARGS)
{
	require_preload();

	const TupleDesc tupdesc = look_up_row_type(fcinfo);

	Assert(tupdesc->natts == kColumns);

	/* The window before the tick or after it: neither is acted upon. */
	const int64_t last = shared->generator.last();
	const Window window = shared->generator.window();
	const int64_t now = now_ms();
	const int64_t mark = read_mark().unix_ms;
	const int	keeper_pid = shared->keeper_pid.load();
	const bool	issued = last != Generator::kClosed && last > shared->opened_at.load();
	const bool	sees_all = may_see_all();
	Counters	sums;
	char		keeper_failure[sizeof(shared->keeper_failure)];
	char		lease_failure[sizeof(shared->lease_failure)];

	sum_counters(&sums);

	LWLockAcquire(shared->lock, LW_SHARED);

	const TimestampTz keeper_failure_at = shared->keeper_failure_at;
	const TimestampTz lease_failure_at = shared->lease_failure_at;
	const Lease lease = shared->lease;
	const ClockSteps steps = shared->clock_steps;
	const TimestampTz reset_at = shared->reset_at;
	const uint64_t ids = sums.ids.get() - shared->reset_sums.ids.get();
	const uint64_t clock_waits = sums.clock_waits.get() - shared->reset_sums.clock_waits.get();
	const uint64_t clock_wait_us = sums.clock_wait_us.get() - shared->reset_sums.clock_wait_us.get();
	const uint64_t window_waits = sums.window_waits.get() - shared->reset_sums.window_waits.get();
	const uint64_t window_wait_us = sums.window_wait_us.get() - shared->reset_sums.window_wait_us.get();

	strlcpy(keeper_failure, shared->keeper_failure, sizeof(keeper_failure));
	strlcpy(lease_failure, shared->lease_failure, sizeof(lease_failure));
	LWLockRelease(shared->lock);

	Datum		values[kColumns];
	bool		nulls[kColumns];
	const auto	set = [&values, &nulls](Column column, Datum value, bool known = true)
	{
		values[column] = value;
		nulls[column] = !known;
	};

	const bool	leased = leasing() && lease.until > 0;
	const bool	shows_lease_failure = lease_failure[0] != '\0' && sees_all;
	const bool	shows_keeper_failure = keeper_failure[0] != '\0' && sees_all;

	set(kWorkerId, Int32GetDatum(leased ? lease.worker : worker_id), leased || worker_id >= 0);
	set(kWorkerSource, CStringGetTextDatum(worker_source));
	set(kState, CStringGetTextDatum(state(last, window, lease, now)));
	set(kWorkerBits, Int32GetDatum(layout.worker_bits));
	set(kSequenceBits, Int32GetDatum(layout.sequence_bits()));
	set(kEpoch, time_datum(0));
	set(kTimeExhaustedAt, time_datum(kEndOfTime));
	set(kIdsIssued, Int64GetDatum(static_cast<int64_t>(ids)));
	set(kLastId, Int64GetDatum(issued ? layout.id_of(last, window.worker) : 0), issued && sees_all);
	set(kLastIdAt, time_datum(issued ? layout.ms_of(last) : 0), issued && sees_all);
	set(kLead, interval_datum(issued ? std::max<int64_t>(layout.ms_of(last) - now, 0) : 0), issued);
	set(kMaxLead, interval_datum(static_cast<int64_t>(sums.max_lead.get())));
	set(kWindowUntil, time_datum(window.until), last != Generator::kClosed);
	set(kMark, time_datum(layout.since_epoch(mark)), mark != 0);
	set(kLeaseHolder, CStringGetTextDatum(lease_holder()), leased && sees_all);
	set(kLeaseValidUntil, time_datum(lease.until), leased);
	set(kLeaseError, CStringGetTextDatum(lease_failure), shows_lease_failure);
	set(kLeaseErrorAt, TimestampTzGetDatum(lease_failure_at), shows_lease_failure);
	set(kClockWaits, Int64GetDatum(static_cast<int64_t>(clock_waits)));
	set(kClockWaitTime, Float8GetDatum(static_cast<double>(clock_wait_us) / 1000));
	set(kKeeperWaits, Int64GetDatum(static_cast<int64_t>(window_waits)));
	set(kKeeperWaitTime, Float8GetDatum(static_cast<double>(window_wait_us) / 1000));
	set(kClockStepsBack, Int64GetDatum(steps.back));
	set(kLargestStepBack, interval_datum(steps.largest_back), steps.back > 0);
	set(kLastStepBackAt, TimestampTzGetDatum(steps.last_back_at), steps.back > 0);
	set(kKeeperPid, Int32GetDatum(keeper_pid), keeper_pid != 0);
	set(kKeeperError, CStringGetTextDatum(keeper_failure), shows_keeper_failure);
	set(kKeeperErrorAt, TimestampTzGetDatum(keeper_failure_at), shows_keeper_failure);
	set(kStatsReset, TimestampTzGetDatum(reset_at));

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls)));
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
