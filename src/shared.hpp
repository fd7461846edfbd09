/*
 * shared.hpp
 *		What all processes share: the generator, and how callers and the keeper
 *		reach each other.
 *
 * The shared memory is made anew after the crash of any backend.  The generator
 * is closed then, until the keeper has read the mark.
 */
#pragma once

#include <atomic>
#include <cstdint>

#include "compat.h"

extern "C"
{
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"
}

#include "generator.hpp"

namespace snowflake
{

struct Shared
{
	Generator	generator;

	/* The keeper; nullptr and 0 while there is none.  Latches are never freed. */
	std::atomic<Latch *> keeper_latch;
	std::atomic<int> keeper_pid;

	/* A caller waits for the window.  Set by callers, reset by the keeper. */
	std::atomic<bool> window_wanted;

	/* Broadcast when the window has moved or a request is done. */
	ConditionVariable keeper_did;

	/*
	 * snowflake_forget_mark(): callers count the one up, the keeper makes the
	 * other equal when it has done it.
	 */
	std::atomic<uint64_t> forget_requested;
	std::atomic<uint64_t> forget_done;

	/*
	 * This server has been in recovery since it started.  The keeper's, but it
	 * has to outlive it.
	 */
	bool		seen_recovery;

	/* The rest is protected by this lock. */
	LWLock	   *lock;

	/* What the keeper is doing that may fail or take long; empty if nothing. */
	char		keeper_attempt[128];

	/* Why the keeper last failed, and when; empty if it has not. */
	char		keeper_failure[256];
	char		keeper_failure_hint[256];
	TimestampTz keeper_failure_at;
};

/* nullptr unless the library was preloaded. */
extern Shared *shared;

/* To be called once, by the postmaster while it preloads. */
void		install_shared_memory_hooks();

/* Does nothing if there is no keeper: it looks for itself when it starts. */
void		wake_keeper();

} // namespace snowflake
