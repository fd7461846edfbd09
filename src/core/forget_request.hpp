/*
 * forget_request.hpp
 *		The request of snowflake_forget_mark() to the keeper: one at a time, and
 *		withdrawn when its caller stops waiting for the answer.
 *
 * A request must not be carried out after its caller has given up: IDs issued in
 * the meantime would be issued again.  So the keeper takes it by a compare-and-swap
 * that competes with the withdrawal, while the generator is closed.
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
		kGivenUp,				/* likewise, but nobody waits for it */
		kDone,
		kRefused,
		kFailed,				/* the keeper died while carrying it out */
	};

	/* Caller: false if another request is pending. */
	bool
	begin() noexcept
	{
		return change(Phase::kNone, Phase::kWaiting);
	}

	/* Caller: how far it has got. */
	Phase
	phase() const noexcept
	{
		return phase_.load();
	}

	/*
	 * Caller, after begin(), however the call ends.  False if the keeper has taken
	 * the request and not finished it.
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

	/* Keeper: is there a request to take? */
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
