/*
 * keeper_test.cpp
 *		The keeper's states, for all that it can observe, and the request that it
 *		takes or finds withdrawn.
 */
#include <gtest/gtest.h>

#include <vector>

#include "core/forget_request.hpp"
#include "core/keeper_state.hpp"

using namespace snowflake;

using State = KeeperState;
using Phase = ForgetRequest::Phase;

static constexpr State kStates[] = {State::kWaitingForRecovery, State::kClosed, State::kOpen, State::kWrongLayout};

/* All combinations of facts. */
static std::vector<KeeperFacts>
all_facts()
{
	std::vector<KeeperFacts> all;

	for (unsigned bits = 0; bits < 256; bits++)
		all.push_back({(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0,
					   (bits & 16) != 0, (bits & 32) != 0, (bits & 64) != 0, (bits & 128) != 0});
	return all;
}

/* A primary with a configured worker ID, and nothing going on. */
static constexpr KeeperFacts kQuiet = {.in_recovery = false, .issues_in_recovery = false, .wrong_layout = false,
									   .has_worker = true, .lease_waits = false, .forget_waits = false,
									   .standbys_changed = false, .opened_in_recovery = false};

TEST(KeeperState, OpensWhenNothingIsInTheWay)
{
	EXPECT_EQ(next_state(State::kWaitingForRecovery, kQuiet), State::kClosed);
	EXPECT_EQ(next_state(State::kClosed, kQuiet), State::kOpen);
	EXPECT_EQ(next_state(State::kOpen, kQuiet), State::kOpen);
}

TEST(KeeperState, ClosesForEachReason)
{
	const auto	with = [](bool KeeperFacts::*fact, bool value)
	{
		KeeperFacts facts = kQuiet;

		facts.*fact = value;
		return next_state(State::kOpen, facts);
	};

	EXPECT_EQ(with(&KeeperFacts::in_recovery, true), State::kWaitingForRecovery);
	EXPECT_EQ(with(&KeeperFacts::wrong_layout, true), State::kWrongLayout);
	EXPECT_EQ(with(&KeeperFacts::has_worker, false), State::kClosed);
	EXPECT_EQ(with(&KeeperFacts::lease_waits, true), State::kClosed);
	EXPECT_EQ(with(&KeeperFacts::forget_waits, true), State::kClosed);
	EXPECT_EQ(with(&KeeperFacts::standbys_changed, true), State::kClosed);
	EXPECT_EQ(with(&KeeperFacts::opened_in_recovery, true), State::kClosed);
}

TEST(KeeperState, IsNeverOpenWhereNoIdMayBeIssued)
{
	for (const State state : kStates)
		for (const KeeperFacts &facts : all_facts())
		{
			if (next_state(state, facts) != State::kOpen)
				continue;
			EXPECT_TRUE(facts.has_worker);
			EXPECT_FALSE(facts.wrong_layout);
			EXPECT_FALSE(facts.forget_waits);
			EXPECT_FALSE(facts.lease_waits);
			EXPECT_TRUE(!facts.in_recovery || facts.issues_in_recovery);
			/* What made it close does not reopen it as it was. */
			EXPECT_TRUE(state == State::kClosed || !facts.standbys_changed);
			EXPECT_TRUE(state == State::kClosed || facts.in_recovery || !facts.opened_in_recovery);
			/* It is opened from kClosed only. */
			EXPECT_TRUE(state == State::kClosed || state == State::kOpen);
		}
}

TEST(KeeperState, WrongLayoutIsFinal)
{
	for (const KeeperFacts &facts : all_facts())
		EXPECT_EQ(next_state(State::kWrongLayout, facts), State::kWrongLayout);
}

/* If the facts stay the same and the work is done, the state settles. */
TEST(KeeperState, ComesToRest)
{
	for (State state : kStates)
		for (KeeperFacts facts : all_facts())
		{
			int			steps = 0;

			for (State next = next_state(state, facts); next != state || (state == State::kClosed && has_work_while_closed(facts));
				 next = next_state(state, facts))
			{
				ASSERT_LT(steps++, 8);
				if (next == state)
				{
					facts.forget_waits = false;
					facts.lease_waits = false;
				}
				if (next == State::kOpen)
				{
					facts.standbys_changed = false;
					facts.opened_in_recovery = facts.in_recovery;
				}
				state = next;
			}
		}
}

TEST(ForgetRequest, IsAnsweredOnce)
{
	ForgetRequest request;

	EXPECT_TRUE(request.begin());
	EXPECT_FALSE(request.begin());
	EXPECT_TRUE(request.waits());
	EXPECT_TRUE(request.take());
	EXPECT_FALSE(request.take());
	request.finish(Phase::kDone);
	EXPECT_EQ(request.phase(), Phase::kDone);
	EXPECT_TRUE(request.end());
	EXPECT_TRUE(request.begin());
}

TEST(ForgetRequest, IsNotTakenOnceWithdrawn)
{
	ForgetRequest request;

	EXPECT_TRUE(request.begin());
	EXPECT_TRUE(request.end());
	EXPECT_FALSE(request.waits());
	EXPECT_FALSE(request.take());
}

/* Nobody mistakes the answer for that of a later request. */
TEST(ForgetRequest, AnswerThatNobodyWaitsForIsDropped)
{
	ForgetRequest request;

	EXPECT_TRUE(request.begin());
	EXPECT_TRUE(request.take());
	EXPECT_FALSE(request.end());
	EXPECT_FALSE(request.begin());
	request.finish(Phase::kDone);
	EXPECT_EQ(request.phase(), Phase::kNone);
	EXPECT_TRUE(request.begin());
	EXPECT_TRUE(request.waits());
}

TEST(ForgetRequest, KeeperThatDiedOverItSaysSo)
{
	ForgetRequest request;

	request.finish(Phase::kFailed);
	EXPECT_EQ(request.phase(), Phase::kNone);
	EXPECT_TRUE(request.begin());
	request.finish(Phase::kFailed);
	EXPECT_TRUE(request.waits());
	EXPECT_TRUE(request.take());
	request.finish(Phase::kFailed);
	EXPECT_EQ(request.phase(), Phase::kFailed);
}
