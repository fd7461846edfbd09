/*
 * forget_request.hpp
 *		snowflake_forget_mark()'s request to the keeper: one at a time, and
 *		withdrawn when its caller does not wait for the answer any more.
 *
 * A request that its caller has given up must not be carried out later, when IDs
 * have been issued that would then be issued again.  So the keeper takes it, by a
 * compare-and-swap that a withdrawal competes with, while the generator is closed.
 */
#pragma once

#include <atomic>
#include <cstdint>

namespace snowflake
{

class ForgetRequest
{
public:
	enum class Phase : uint32_t
	{
		kNone,
		kWaiting,				/* for the keeper to take it */
		kTaken,					/* it is being carried out */
		kGivenUp,				/* the same, but nobody waits for it */
		kDone,
		kRefused,
		kFailed,				/* the keeper died over it */
	};

	/* Caller: false if another one's is under way. */
	bool
	begin() noexcept
	{
		return change(Phase::kNone, Phase::kWaiting);
	}

	/* Caller: what has become of it. */
	Phase
	phase() const noexcept
	{
		return phase_.load();
	}

	/*
	 * Caller, after begin(), however it ends.  False if the keeper had taken it,
	 * and was not ready.
	 */
	bool
	end() noexcept
	{
		if (change(Phase::kWaiting, Phase::kNone))
			return true;
		if (change(Phase::kTaken, Phase::kGivenUp))
			return false;
		phase_.store(Phase::kNone);
		return true;
	}

	/* Keeper: is there one to be taken? */
	bool
	waits() const noexcept
	{
		return phase() == Phase::kWaiting;
	}

	/* Keeper, with the generator closed: false if it was withdrawn. */
	bool
	take() noexcept
	{
		return change(Phase::kWaiting, Phase::kTaken);
	}

	/* Keeper, after take(): kDone, kRefused or kFailed. */
	void
	finish(Phase outcome) noexcept
	{
		if (!change(Phase::kTaken, outcome))
			change(Phase::kGivenUp, Phase::kNone);
	}

private:
	bool
	change(Phase from, Phase to) noexcept
	{
		return phase_.compare_exchange_strong(from, to);
	}

	std::atomic<Phase> phase_{Phase::kNone};
};

} // namespace snowflake
