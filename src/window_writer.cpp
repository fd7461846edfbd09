/*
 * window_writer.cpp
 *		Opens the generator at the high-water mark, and extends the window up to it.
 */
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "prelude.h"

extern "C"
{
#include "postmaster/interrupt.h"
#include "utils/memutils.h"
}

#include "core/clock.hpp"
#include "keeper_report.hpp"
#include "mark.hpp"
#include "now.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "window_writer.hpp"

namespace snowflake
{

/* How far the window is extended beyond the newest tick, in milliseconds. */
static constexpr int64_t kWindowLength = 5000;

/*
 * How far the window may reach beyond what max_ahead allows.  This leaves time for
 * a flush while a burst runs at the limit, and after a crash no call has to wait
 * longer than this.
 */
static constexpr int64_t kWindowMargin = 1000;

/* A smaller gain than this is not worth a flush, unless a caller waits for it. */
static constexpr int64_t kMinGain = 500;

/* For how long the window is kept open after the newest ID, in milliseconds. */
static constexpr int64_t kKeptOpen = 60'000;

/* How often to check whether the window is about to lapse. */
static constexpr long kLapseInterval = 1000;

/* How often to look for a standby's acknowledgement: at first, and at last. */
static constexpr int64_t kFirstPoll = 1;
static constexpr int64_t kLastPoll = 100;

static int32_t
current_worker()
{
	return worker_id >= 0 ? worker_id : shared->lease.worker;
}

bool
WindowWriter::is_open() const
{
	return shared->generator.last() != Generator::kClosed;
}

int64_t
WindowWriter::current_ms() const
{
	const int64_t last = shared->generator.last();

	return std::max(now_ms(), last == Generator::kClosed ? 0 : layout.ms_of(last));
}

void
WindowWriter::close()
{
	const int64_t last = shared->generator.close();

	pending_.reset();
	if (last == Generator::kClosed)
		return;
	shared->closed_at_id.store(layout.id_of(last, shared->generator.window().worker), std::memory_order_release);

	const int64_t end = layout.ms_of(last) + 1;

	shared->unissued_from.store(end);
	if (last > shared->opened_at.load())
		shared->issued_until.store(std::max(shared->issued_until.load(), end));
}

/*
 * Beyond the time of any ID that may have been issued without this server's
 * knowledge, if our clock is right: none can have led it by more.  With a lease, no
 * ID is ahead of the clock by more than the lease reaches.
 */
static int64_t
beyond_lead()
{
	return now_ms() + (leasing() ? std::min(max_ahead, lease_duration) : max_ahead) + 1;
}

/* The first millisecond that the mark allows.  Without a mark no ID was issued. */
int64_t
WindowWriter::first_ms_by_mark() const
{
	const Mark	mark = read_mark();

	if (mark.unix_ms == 0)
		return 0;

	const int64_t marked = layout.since_epoch(mark.unix_ms);

	return is_of_earlier_timeline(mark) || shared->starts_beyond_lead.load() ? std::max(marked, beyond_lead()) : marked;
}

/*
 * The first millisecond in which an ID may be issued.  This shared memory knows it
 * as long as it lasts; but after a promotion the data that were taken over may have
 * IDs up to the mark.  In recovery nothing durable tells what was issued before a
 * crash, so the clock has to.
 */
int64_t
WindowWriter::first_ms(bool in_recovery) const
{
	const int64_t remembered = shared->unissued_from.load();
	int64_t		first = remembered;

	if (in_recovery)
	{
		if (remembered == 0)
			first = beyond_lead();
	}
	else if (remembered == 0 || shared->opened_in_recovery.load())
		first = std::max(remembered, first_ms_by_mark());
	if (leasing())
		first = std::max(first, shared->lease.from);
	return std::clamp<int64_t>(first, 0, kEndOfTime);
}

static bool
mark_is_below(int64_t ms)
{
	const Mark	mark = read_mark();

	return ms > std::max<int64_t>(layout.since_epoch(mark.unix_ms), 0) || is_of_earlier_timeline(mark);
}

/*
 * After a promotion, IDs may have been handed out that were not replicated.
 * Those that led our clock by no more than max_ahead are below the start that is
 * chosen then, and starting there costs a wait of a millisecond.  Until the mark
 * is raised that far, it is of an earlier timeline.
 *
 * The tick at which the generator opens is not issued.  Otherwise, if the worker ID
 * has changed, a delayed caller might swap on the tick that it had read, with the
 * window that it had read.
 */
void
WindowWriter::open(bool in_recovery)
{
	const int64_t start = first_ms(in_recovery);
	const int64_t last = layout.tick_of(start);

	if (!in_recovery && mark_is_below(start))
	{
		set_attempt("reserving IDs in the WAL");
		raise_mark(layout.unix_ms(start));
		record_success();
	}
	shared->opened_at.store(last);
	shared->opened_in_recovery.store(in_recovery);
	shared->generator.publish({current_worker(), start}, last);
	shared->generator.open(last);
	acknowledged_by(synchronous_standbys());
	last_seen_ = last;
	ConditionVariableBroadcast(&shared->keeper_progress);
}

void
WindowWriter::forget_mark(int64_t now)
{
	force_mark(layout.unix_ms(now));
	shared->unissued_from.store(0);
	shared->closed_at_id.store(0);
	shared->starts_beyond_lead.store(false);
}

/* Has an ID been issued within the time for which the window is kept open? */
bool
WindowWriter::is_active()
{
	const int64_t last = shared->generator.last();

	if (last != last_seen_)
		since_last_id_.emplace();
	last_seen_ = last;
	return since_last_id_ && since_last_id_->elapsed_ms() < kKeptOpen;
}

void
WindowWriter::acknowledged_by(const char *standbys)
{
	if (acknowledged_by_ && strcmp(acknowledged_by_, standbys) == 0)
		return;
	if (acknowledged_by_)
		pfree(acknowledged_by_);
	acknowledged_by_ = MemoryContextStrdup(TopMemoryContext, standbys);
}

bool
WindowWriter::standbys_changed() const
{
	const char *standbys = synchronous_standbys();

	return *standbys != '\0' && !(acknowledged_by_ && strcmp(acknowledged_by_, standbys) == 0);
}

/* The caller that is half way from `base`, the time that IDs have, wakes the keeper. */
void
WindowWriter::publish(int64_t target, int64_t base)
{
	/* Reset before the window is written: a request that comes later is not lost. */
	shared->window_wanted.store(false);
	shared->generator.publish({current_worker(), target}, layout.tick_of(base + (target - base) / 2));
	record_success();
	ConditionVariableBroadcast(&shared->keeper_progress);
}

/*
 * Publishes the window if the mark is acknowledged.  A pending reload may have
 * changed who has to acknowledge it.
 */
long
WindowWriter::publish_if_acknowledged()
{
	const Pending pending = *pending_;

	if (ConfigReloadPending || !flushed_on_standbys(pending.end))
	{
		const int64_t waited = pending.since.elapsed_ms();

		/* It is still wanted, even if the generator is closed or the pending mark dropped. */
		shared->window_wanted.store(true);
		if (waited > kFirstPoll)
			set_attempt("waiting for a synchronous standby to flush WAL");
		return static_cast<long>(std::clamp(waited / 8, kFirstPoll, kLastPoll));
	}
	pending_.reset();
	acknowledged_by(synchronous_standbys());
	publish(pending.target, pending.base);
	return kLapseInterval;
}

/*
 * The layout is pinned after the first mark, when no ID has been issued under it
 * yet, so a mark without a pin leaves the layout free.
 */
static XLogRecPtr
write_mark(int64_t target)
{
	const XLogRecPtr end = raise_mark(layout.unix_ms(target));

	return read_pinned_layout() ? end : pin_layout(layout);
}

long
WindowWriter::extend(bool in_recovery)
{
	if (pending_)
		return publish_if_acknowledged();

	const bool	wanted = shared->window_wanted.exchange(false);
	const bool	active = is_active();
	const int64_t base = current_ms();
	const int64_t until = shared->generator.window().until;
	const bool	lapses = active && until - base <= kWindowLength / 2;

	if (!wanted && !lapses && !shared->generator.renewal_taken())
		return active ? kLapseInterval : kForever;

	const int64_t target = std::min({base + kWindowLength, now_ms() + max_ahead + kWindowMargin,
									 leasing() ? shared->lease.until : kEndOfTime});
	const int64_t gain = target - until;

	if (gain < (wanted ? 1 : kMinGain))
		return std::clamp<long>(static_cast<long>(kMinGain - gain), 10, kLapseInterval);
	if (in_recovery)
	{
		publish(target, base);
		return kLapseInterval;
	}
	set_attempt("reserving IDs in the WAL");
	pending_ = Pending{target, base, write_mark(target), Stopwatch()};
	return publish_if_acknowledged();
}

} // namespace snowflake
