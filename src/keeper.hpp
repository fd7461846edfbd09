/*
 * keeper.hpp
 *		The keeper: opens the generator at the high-water mark ("mark" for short,
 *		see mark.hpp), and extends the window, but never past the durable mark.
 *
 * keeper_state.hpp has its states, as a picture and as a function.  This class
 * runs them: it observes the facts, enters the next state, and extends the window
 * of an open generator, see window_writer.hpp.  The keeper is the only writer of
 * window and mark, and it holds the lease if the worker ID is leased.
 *
 * It sleeps until somebody needs it: the caller whose claim passes the middle of
 * the window, a caller who finds the window used up, or snowflake_forget_mark().
 * So the window stays ahead while IDs are issued, and nothing is written while
 * none are.
 */
#pragma once

#include <optional>

#include "clock_watch.hpp"
#include "prelude.h"
#include "core/keeper_state.hpp"
#include "core/lease.hpp"
#include "lease_holder.hpp"
#include "settings.hpp"
#include "window_writer.hpp"

namespace snowflake
{

/* How long the postmaster waits before it restarts the keeper. */
inline constexpr int kKeeperRestartSeconds = 5;

class Keeper
{
public:
	/* Returns when the keeper should exit. */
	void		run();

private:
	void		back_off();
	KeeperFacts observe();
	void		enter(KeeperState state);
	void		work_while_closed(const KeeperFacts &facts);
	void		forget_mark();
	void		sleep(long timeout);
	void		read_configuration();
	void		end();

	/* Is it at present a lease, rather than the configuration, that counts? */
	bool
	leases() const
	{
		return leasing() && (!in_recovery_ || leases_in_recovery());
	}

	KeeperState state_ = KeeperState::kWaitingForRecovery;
	bool		in_recovery_ = true;
	WindowWriter window_;
	LeaseHolder lease_;
	std::optional<Lease> new_lease_;	/* to be taken over */
	ClockWatch	clock_watch_;
};

} // namespace snowflake
