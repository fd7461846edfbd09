/*
 * lease_holder.cpp
 *		When to ask the registry for what.
 *
 * A lease is renewed when a third of it is over.  A renewal that fails is retried
 * until the lease is over, and after that.  One that is refused, because the token
 * is no longer the lease's, ends that lease, and another one is taken.  Either way
 * IDs are issued to the end of the interval, which is ours.
 *
 * The renewal whose answer is lost may have replaced the token.  It is repeated with the
 * old token and the same attempt, a random number by which the registry recognises it.
 */
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

#include "prelude.h"

extern "C"
{
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
}

#include "lease_holder.hpp"
#include "plain_text.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "timestamps.hpp"

namespace snowflake
{

/* How long to wait after a failure, in milliseconds: twice as long each time. */
static constexpr int64_t kFirstRetry = 200;
static constexpr int64_t kLastRetry = 5000;

/* A lease is not renewed early to make it longer by less than this. */
static constexpr int64_t kWorthRenewing = 500;

/* How long a shutdown may wait for the registry. */
static constexpr int64_t kGiveBackPatience = 500;

static void
hold(const Lease &lease)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->lease = lease;
	LWLockRelease(shared->lock);
}

void
LeaseHolder::note_success()
{
	if (failures_ > 0)
		ereport(LOG, (errmsg("snowflake registry is granting leases again")));
	failures_ = 0;
	since_success_.emplace();
	since_failure_.reset();
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->lease_failure.count = 0;
	LWLockRelease(shared->lock);
}

void
LeaseHolder::note_failure(const char *why)
{
	const bool	is_news = failures_ == 0 || !differ_in_numbers_only(shared->lease_failure.message, why);

	failures_++;
	since_failure_.emplace();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	snowflake::note_failure(&shared->lease_failure, why, nullptr);
	LWLockRelease(shared->lock);

	if (is_news)
		ereport(WARNING, (errmsg("could not lease a snowflake worker ID: %s", why),
						  shared->lease.until > 0 ? errdetail("The lease of worker ID %d ends at %s.",
															  shared->lease.worker, to_text(layout.unix_ms(shared->lease.until))) : 0));
	ConditionVariableBroadcast(&shared->keeper_progress);
}

/*
 * A burst may reach the end of the lease before the clock does.  But a renewal adds only
 * the time since the last one, so that is not done again at once.
 */
bool
LeaseHolder::is_due(int64_t now, int64_t newest) const
{
	const Lease &lease = shared->lease;
	const bool	just_renewed = since_success_ && since_success_->elapsed_ms() < kWorthRenewing;

	return lease.token[0] == '\0' || now >= lease.renew_at ||
		   (!just_renewed && newest + kWorthRenewing >= lease.until && now + lease_duration >= lease.until + kWorthRenewing);
}

int64_t
LeaseHolder::retry_in() const
{
	if (!since_failure_)
		return 0;
	return std::min(kFirstRetry << std::min(failures_ - 1, 10), kLastRetry) - since_failure_->elapsed_ms();
}

void
LeaseHolder::watch_setting()
{
	if (conninfo_ && strcmp(conninfo_, registry_conninfo) == 0)
		return;
	if (conninfo_)
		pfree(conninfo_);
	conninfo_ = MemoryContextStrdup(TopMemoryContext, registry_conninfo);
	request_.end();
	since_failure_.reset();
}

void
LeaseHolder::accept_renewal(const Lease &granted)
{
	if (granted.worker != shared->lease.worker || granted.until < shared->lease.until)
	{
		note_failure("it answered a renewal with a different lease");
		return;
	}

	Lease		renewed = granted;

	renewed.from = shared->lease.from;
	hold(renewed);
	note_success();

	/* Callers that wait at the end of the lease try again at once. */
	ConditionVariableBroadcast(&shared->keeper_progress);
}

/* A new lease, if that is what the registry has granted. */
std::optional<Lease>
LeaseHolder::accept_answer()
{
	Lease		granted = request_.grant();

	granted.renew_at = asked_at_ + std::max<int64_t>(granted.until - asked_at_, 0) / 3;
	if (worker_id >= 0 && granted.worker != worker_id)
	{
		note_failure("it granted a worker ID other than the configured one");
		return {};
	}
	if (renewing_)
	{
		accept_renewal(granted);
		return {};
	}
	note_success();
	return granted;
}

/* The lease can no longer be renewed; it is ours until its end. */
void
LeaseHolder::accept_loss()
{
	Lease		lost = shared->lease;

	ereport(WARNING, (errmsg("lost the lease of snowflake worker ID %d", lost.worker),
					  errdetail("The registry said: %s.", request_.failure())));
	lost.token[0] = '\0';
	hold(lost);
}

void
LeaseHolder::ask(int64_t now)
{
	if (*registry_conninfo == '\0')
	{
		note_failure("\"snowflake.registry\" is empty");
		return;
	}

	renewing_ = shared->lease.token[0] != '\0';
	asked_at_ = now;
	if (renewing_)
		request_.renew(shared->lease, attempt_.number_for(shared->lease.token), now, lease_duration);
	else
		request_.lease(now, lease_duration, worker_id);
	request_.advance();
}

std::optional<Lease>
LeaseHolder::tend(int64_t now, int64_t newest)
{
	watch_setting();

	const RegistryState state = request_.advance();

	if (state == RegistryState::kAsking)
	{
		if (renewing_ && failures_ == 0 && now >= shared->lease.until)
			note_failure("it has not answered before the end of the lease");
		return {};
	}
	if (state == RegistryState::kAnswered)
	{
		const auto	lease = accept_answer();

		request_.end();
		return lease;
	}
	if (state == RegistryState::kRefused)
		accept_loss();
	if (state == RegistryState::kFailed)
		note_failure(request_.failure());
	request_.end();

	if (is_due(now, newest) && retry_in() <= 0)
		ask(now);
	return {};
}

void
LeaseHolder::take_over(const Lease &lease)
{
	const Lease previous = shared->lease;

	hold(lease);

	char	   *until = to_text(layout.unix_ms(lease.until));

	ereport(LOG, (errmsg("snowflake IDs are issued as worker %d", lease.worker),
				  previous.until == 0 ? errdetail("The registry leases it until %s.", until)
									  : errdetail("The registry leases it until %s. It was worker %d before.", until, previous.worker)));
}

RegistryWait
LeaseHolder::wait(int64_t now) const
{
	if (request_.state() == RegistryState::kAsking)
		return request_.wait();
	if (request_.state() == RegistryState::kFailed)
		return {0, PGINVALID_SOCKET, 0};

	int64_t		left = is_due(now, now) ? retry_in() : shared->lease.renew_at - now;

	if (since_success_ && since_success_->elapsed_ms() < kWorthRenewing)
		left = std::min(left, kWorthRenewing - since_success_->elapsed_ms());
	return {static_cast<long>(std::clamp<int64_t>(left, 10, 60'000)), PGINVALID_SOCKET, 0};
}

void
LeaseHolder::forget()
{
	hold({});
	request_.end();
	since_failure_.reset();
}

/* Waits for the answer to the request under way, for as long as that may take at a shutdown. */
void
LeaseHolder::finish_request()
{
	static uint32 event = 0;
	const Stopwatch since_start;

	while (request_.advance() == RegistryState::kAsking && since_start.elapsed_ms() < kGiveBackPatience)
	{
		const RegistryWait wait = request_.wait();

		if (WaitLatchOrSocket(nullptr, wait.events | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, wait.socket, 100,
							  EXTENSION_WAIT_EVENT(event, "SnowflakeLeaseGiveBack")) & wait.events)
			request_.socket_is_ready();
	}
}

/*
 * A renewal under way is abandoned: by its attempt the registry knows the token.  If the
 * last request failed, nothing is sent; nor to an empty string, libpq's default server.
 */
void
LeaseHolder::give_back(int64_t used_until)
{
	const Lease lease = shared->lease;

	request_.end();
	hold({});
	if (lease.token[0] == '\0' || *registry_conninfo == '\0')
		return;
	if (failures_ == 0)
	{
		request_.release(lease, attempt_.is_open(lease.token) ? attempt_.number_for(lease.token) : nullptr,
						 std::clamp(used_until, lease.from, lease.until));
		finish_request();
	}
	if (request_.state() != RegistryState::kAnswered)
		ereport(LOG, (errmsg("could not give back the lease of snowflake worker ID %d", lease.worker),
					  errdetail("It ends by itself at %s.", to_text(layout.unix_ms(lease.until)))));
	request_.end();
}

} // namespace snowflake
