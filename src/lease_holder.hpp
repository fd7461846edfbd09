/*
 * lease_holder.hpp
 *		Takes a lease of a worker ID from the registry, and renews it in time.
 *
 * shared->lease is the lease that is held.  Belongs to the keeper, which lets no
 * window pass its end.
 */
#pragma once

#include <cstdint>
#include <optional>

#include "prelude.h"
#include "attempt.hpp"
#include "core/lease.hpp"
#include "core/stopwatch.hpp"
#include "registry.hpp"

namespace snowflake
{

class LeaseHolder
{
public:
	/*
	 * Does what is due, without waiting for the registry.  now: what the clock
	 * shows; newest: the time of the newest ID, which may be ahead.  Returns a new
	 * lease, of another worker ID most likely, once there is one: take_over() has
	 * to follow, with the generator closed.
	 */
	std::optional<Lease> tend(int64_t now, int64_t newest);

	/* Holds this lease from now on. */
	void		take_over(const Lease &lease);

	/* Drops the lease without giving it back: another one is taken. */
	void		forget();

	/*
	 * Gives back what is left of the lease from this time on, and waits briefly for
	 * the answer.  The generator must be closed.
	 */
	void		give_back(int64_t used_until);

	/* When tend() has something to do again. */
	RegistryWait wait(int64_t now) const;

	/* The socket of wait() is ready. */
	void
	socket_is_ready()
	{
		request_.socket_is_ready();
	}

private:
	void		watch_setting();
	void		ask(int64_t now);
	std::optional<Lease> accept_answer();
	void		accept_renewal(const Lease &granted);
	void		accept_loss();
	void		finish_request();
	bool		is_due(int64_t now, int64_t newest) const;
	int64_t		retry_in() const;
	void		note_success();
	void		note_failure(const char *why);

	RegistryRequest request_;

	/* What the registry was asked for, and when. */
	bool		renewing_ = false;
	int64_t		asked_at_ = 0;

	/* The latest renewal. */
	Attempt		attempt_;

	/* Time since the last success, the failures since then, and the time since the last of these. */
	std::optional<Stopwatch> since_success_;
	int			failures_ = 0;
	std::optional<Stopwatch> since_failure_;

	/* The registry that this is about: a reload may name another. */
	char	   *conninfo_ = nullptr;
};

} // namespace snowflake
