/*
 * lease.cpp
 *		When to ask the registry for what.
 *
 * A lease is renewed when a third of it is over.  A renewal that fails is tried
 * again until the lease is over, and after; one that is refused, because the
 * token is not the lease's any more, is the end of that lease, and another one
 * is taken.  Either way IDs go on to the end of the interval, which is ours.
 *
 * An answer that is lost takes the token with it: the registry has handed out
 * another one, and the old one must not work twice.
 */
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

#include "compat.h"

extern "C"
{
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
}

#include "lease.hpp"
#include "registry.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "stopwatch.hpp"
#include "timestamps.hpp"

namespace snowflake
{

/* How long to wait after a failure: twice as long each time. */
static constexpr int64_t kFirstRetry = 200;
static constexpr int64_t kLastRetry = 5000;

/* For less a lease is not renewed early. */
static constexpr int64_t kMinGain = 500;

/* How long a shutdown may wait for the registry. */
static constexpr int64_t kGiveBackPatience = 2000;

/* What the registry was asked for. */
static bool renewing;
static int64_t asked_at;

static Lease granted;

static int	failures;
static constinit std::optional<Stopwatch> since_failure;

/* The registry that this is about: a reload may name another. */
static char *asked_registry;

static void
change_lease(const Lease &lease)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->lease = lease;
	LWLockRelease(shared->lock);
}

static void
note_success()
{
	if (failures > 0)
		ereport(LOG, (errmsg("snowflake registry grants a lease again")));
	failures = 0;
	since_failure.reset();
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->lease_failures = 0;
	LWLockRelease(shared->lock);
}

/* Are they alike but for times and other numbers? */
static bool
same_reason(const char *a, const char *b)
{
	constexpr char kNumbers[] = "0123456789.:+- ";

	for (;;)
	{
		a += strspn(a, kNumbers);
		b += strspn(b, kNumbers);
		if (*a != *b || *a == '\0')
			return *a == *b;
		a++;
		b++;
	}
}

static void
note_failure(const char *why)
{
	const bool	is_news = failures == 0 || !same_reason(shared->lease_failure, why);

	failures++;
	since_failure.emplace();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->lease_failures = failures;
	strlcpy(shared->lease_failure, why, sizeof(shared->lease_failure));
	shared->lease_failure_at = GetCurrentTimestamp();
	LWLockRelease(shared->lock);

	if (is_news)
		ereport(WARNING, (errmsg("could not lease a snowflake worker ID: %s", why),
						  shared->lease.until > 0 ? errdetail("The lease of worker ID %d ends at %s.",
															  shared->lease.worker, to_text(layout.epoch_ms + shared->lease.until)) : 0));
	ConditionVariableBroadcast(&shared->keeper_did);
}

/* A burst may come to the end of the lease before the clock does. */
static bool
is_due(int64_t now, int64_t newest)
{
	const Lease &lease = shared->lease;

	return lease.token[0] == '\0' || now >= lease.renew_at ||
		   (newest + kMinGain >= lease.until && now + lease_duration >= lease.until + kMinGain);
}

static int64_t
retry_in()
{
	if (!since_failure)
		return 0;
	return std::min(kFirstRetry << std::min(failures - 1, 10), kLastRetry) - since_failure->elapsed_ms();
}

static void
watch_setting()
{
	if (asked_registry && strcmp(asked_registry, registry_conninfo) == 0)
		return;
	if (asked_registry)
		pfree(asked_registry);
	asked_registry = MemoryContextStrdup(TopMemoryContext, registry_conninfo);
	end_request();
	since_failure.reset();
}

bool
tend_lease(int64_t now, int64_t newest)
{
	watch_setting();
	switch (advance_request())
	{
		case RegistryState::kAsking:
			return false;

		case RegistryState::kAnswered:
			granted = registry_grant();
			granted.renew_at = asked_at + std::max<int64_t>(granted.until - asked_at, 0) / 3;
			end_request();
			if (worker_id >= 0 && granted.worker != worker_id)
			{
				note_failure("it leases another worker ID than the one that is configured");
				return false;
			}
			if (!renewing)
			{
				note_success();
				return true;
			}
			if (granted.worker == shared->lease.worker && granted.until >= shared->lease.until)
			{
				granted.from = shared->lease.from;
				change_lease(granted);
				note_success();
				/* Who has met the end of the lease has not to wait until the next look. */
				ConditionVariableBroadcast(&shared->keeper_did);
			}
			else
				note_failure("its answer to a renewal is another lease");
			return false;

		case RegistryState::kRefused:
			ereport(WARNING, (errmsg("lost the lease of snowflake worker ID %d", shared->lease.worker),
							  errdetail("The registry: %s.", registry_failure())));
			granted = shared->lease;
			granted.token[0] = '\0';
			change_lease(granted);
			end_request();
			break;

		case RegistryState::kFailed:
			note_failure(registry_failure());
			end_request();
			break;

		case RegistryState::kIdle:
			break;
	}

	if (!is_due(now, newest) || retry_in() > 0)
		return false;
	if (*registry_conninfo == '\0')
	{
		note_failure("\"snowflake.registry\" is empty");
		return false;
	}

	renewing = shared->lease.token[0] != '\0';
	asked_at = now;
	if (renewing)
		ask_for_renewal(shared->lease, now, lease_duration);
	else
		ask_for_lease(now, lease_duration, worker_id);
	advance_request();
	return false;
}

const Lease &
new_lease()
{
	return granted;
}

LeaseWait
lease_wait(int64_t now)
{
	if (request_state() == RegistryState::kAsking)
		return request_wait();
	if (request_state() == RegistryState::kFailed)
		return {0, PGINVALID_SOCKET, 0};

	const int64_t left = is_due(now, now) ? retry_in() : shared->lease.renew_at - now;

	return {static_cast<long>(std::clamp<int64_t>(left, 10, 60'000)), PGINVALID_SOCKET, 0};
}

void
lease_is_ready()
{
	request_is_ready();
}

void
forget_lease()
{
	change_lease({});
	end_request();
	since_failure.reset();
}

void
give_back_lease(int64_t used_until)
{
	const Lease lease = shared->lease;

	change_lease({});

	/*
	 * A renewal under way may have changed the token by now.  An empty connection
	 * string is libpq's default server, which is no registry of ours.
	 */
	if (lease.token[0] == '\0' || request_state() == RegistryState::kAsking || *registry_conninfo == '\0')
		return;

	const Stopwatch stopwatch;

	end_request();
	ask_to_take_back(lease, std::clamp(used_until, lease.from, lease.until));
	while (advance_request() == RegistryState::kAsking && stopwatch.elapsed_ms() < kGiveBackPatience)
	{
		const LeaseWait wait = request_wait();

		if (WaitLatchOrSocket(nullptr, wait.events | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, wait.socket, 100, PG_WAIT_EXTENSION) & wait.events)
			request_is_ready();
	}
	if (request_state() != RegistryState::kAnswered)
		ereport(LOG, (errmsg("could not give back the lease of snowflake worker ID %d", lease.worker),
					  errdetail("It ends by itself when the time is %s.", to_text(layout.epoch_ms + lease.until))));
	end_request();
}

} // namespace snowflake
