/*
 * keeper.hpp
 *		The keeper: opens the generator at the mark, and extends the window, but
 *		never past a mark that is durable.
 *
 * keeper_state.hpp has its life as a picture and as a function.  Here it is
 * lived: facts are observed, the next state is entered, and an open generator's
 * window is extended, see window_writer.hpp.  The keeper is the only writer of
 * window and mark, and where the worker ID is leased, it holds the lease.
 *
 * It sleeps until somebody needs it: the caller whose claim passes the middle of
 * the window, a caller who finds the window used up, or snowflake_forget_mark().
 * So while IDs are issued the window is always ahead, and without them nothing
 * is written.
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

/* How long after its end the postmaster starts the keeper again. */
inline constexpr int kKeeperRestartSeconds = 5;

class Keeper
{
public:
	/* Returns when the keeper is to end. */
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

	/* Is the lease, rather than the configuration, what counts at present? */
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
