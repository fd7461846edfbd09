/*
 * shared.hpp
 *		What all processes share: the generator, and how callers and the keeper
 *		reach each other.
 *
 * The shared memory is reinitialized after any backend crashes.  The generator is
 * then closed until the keeper has read the high-water mark.
 */
#pragma once

#include <atomic>
#include <cstdint>

#include "prelude.h"

extern "C"
{
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"
}

#include "core/counters.hpp"
#include "core/forget_request.hpp"
#include "core/generator.hpp"
#include "core/lease.hpp"

namespace snowflake
{

/* Clock steps that the keeper has seen; times in milliseconds. */
struct ClockSteps
{
	int64_t		back;
	int64_t		largest_back;
	TimestampTz last_back_at;	/* 0: never */
};

/*
 * How often something has failed since it last succeeded; and why it last
 * failed, and when; empty and 0 if it has not.
 */
struct Failure
{
	int			count;
	char		message[256];
	char		hint[256];
	TimestampTz at;
};

struct Shared
{
	Generator	generator;

	/* The tick above which the generator was last opened: no ID has it. */
	std::atomic<int64_t> opened_at;

	/* While it is closed: the newest ID, or one below all that are to come. */
	std::atomic<int64_t> closed_at_id;

	/* The keeper; nullptr and 0 while there is none.  Latches are never freed. */
	std::atomic<Latch *> keeper_latch;
	std::atomic<int> keeper_pid;

	/*
	 * The first millisecond in which no ID has been issued, as of the last time that
	 * the generator was closed since this memory was made; 0 if it was not.
	 */
	std::atomic<int64_t> unissued_from;

	/* The first millisecond after the newest ID, likewise; 0 if there was none. */
	std::atomic<int64_t> issued_until;

	/* The data may be older than the IDs that were issued; see data_directory.hpp. */
	std::atomic<bool> starts_beyond_lead;

	/* The generator was opened in recovery: nothing but the lease keeps IDs apart. */
	std::atomic<bool> opened_in_recovery;

	/* A caller waits for the window.  Set by callers, reset by the keeper. */
	std::atomic<bool> window_wanted;

	/* Broadcast when the window has moved or a request is done. */
	ConditionVariable keeper_progress;

	ForgetRequest forget_request;

	/* The rest is protected by this lock. */
	LWLock	   *lock;

	/* What the keeper is doing that may fail or take long; empty if nothing. */
	char		keeper_attempt[128];

	Failure		keeper_failure;

	/*
	 * The lease of the worker ID; until is 0 while there has been none.  Only the
	 * keeper writes it, and reads it without the lock.
	 */
	Lease		lease;

	Failure		lease_failure;

	ClockSteps	clock_steps;

	/* When the counters were reset, and what their sums were then. */
	TimestampTz reset_at;
	Counters	reset_sums;

	/* One for each backend, MaxBackends in all.  Not protected by the lock. */
	Counters	counters[FLEXIBLE_ARRAY_MEMBER];
};

/* nullptr unless the library was preloaded. */
extern Shared *shared;

/* Raises an error unless the library was preloaded. */
void		require_preload();

/* Of this backend; set by require_layout(). */
extern Counters *my_counters;

/* To be called once, by the postmaster while it preloads. */
void		install_shared_memory_hooks();

/* Makes this the last failure.  The caller holds the lock. */
void		note_failure(Failure *failure, const char *message, const char *hint);

/* Does nothing if there is no keeper: it looks for itself when it starts. */
void		wake_keeper();

} // namespace snowflake
