/*
 * keeper_state.hpp
 *		The keeper's life, as a function from what it observes to what it does.
 *
 *		                  start
 *		                    |
 *		                    v
 *		  WaitingForRecovery --> Closed <==> Open
 *		          ^                |          |
 *		          +----------------+----------+
 *		  any of them --> WrongLayout (final)
 *
 * Closed: nobody gets an ID.  Work that requires this is done here: forgetting the
 * high-water mark, taking over a lease.  Open: callers get IDs up to the end of the
 * window, which is empty at first and which the keeper extends on demand.
 *
 * Plain C++, so that a test can drive it without a server.
 */
#pragma once

#include <cstdint>

namespace snowflake
{

enum class KeeperState : uint8_t
{
	kWaitingForRecovery,
	kClosed,
	kOpen,
	kWrongLayout,
};

/* What the keeper observes before each step. */
struct KeeperFacts
{
	bool		in_recovery;
	bool		issues_in_recovery; /* on a lease of this server's own */
	bool		wrong_layout;		/* the pinned layout is not the configured one */
	bool		has_worker;			/* it is configured, or leased */
	bool		lease_waits;		/* a new lease is to be taken over */
	bool		forget_waits;		/* snowflake_forget_mark() was called */
	bool		standbys_changed;	/* the current standbys have not acknowledged the window */
	bool		opened_in_recovery; /* the generator was opened before a promotion */
};

/* Is there work that requires a closed generator? */
constexpr bool
has_work_while_closed(const KeeperFacts &facts) noexcept
{
	return facts.lease_waits || facts.forget_waits;
}

constexpr bool
may_be_open(const KeeperFacts &facts) noexcept
{
	return facts.has_worker && !has_work_while_closed(facts);
}

/* May an open generator stay as it is? */
constexpr bool
may_stay_open(const KeeperFacts &facts) noexcept
{
	return may_be_open(facts) && !facts.standbys_changed &&
		   !(facts.opened_in_recovery && !facts.in_recovery);
}

/*
 * The next state.  A generator that has to be reopened goes through kClosed:
 * the keeper looks again before it opens.
 */
constexpr KeeperState
next_state(KeeperState state, const KeeperFacts &facts) noexcept
{
	if (state == KeeperState::kWrongLayout || facts.wrong_layout)
		return KeeperState::kWrongLayout;
	if (facts.in_recovery && !facts.issues_in_recovery)
		return KeeperState::kWaitingForRecovery;

	switch (state)
	{
		case KeeperState::kOpen:
			return may_stay_open(facts) ? KeeperState::kOpen : KeeperState::kClosed;
		case KeeperState::kClosed:
			return may_be_open(facts) ? KeeperState::kOpen : KeeperState::kClosed;
		default:
			return KeeperState::kClosed;
	}
}

} // namespace snowflake
