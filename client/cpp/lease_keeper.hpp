/*
 * lease_keeper.hpp
 *		Takes a lease of a worker ID for one process, keeps it, and makes its IDs: for
 *		snowflakes.hpp.
 *
 * The generator is that of the server.  A thread extends its window when a lease is
 * renewed, and closes it for a moment when the worker ID changes.
 *
 * Thread safety: take() and id_of() may be called by any number of threads at once,
 * after start() and until stop() has begun.  start() and stop() are called once.
 */
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.hpp"
#include "core/generator.hpp"
#include "registry_call.hpp"

namespace snowflake
{

inline constexpr Milliseconds kLeastPause{500};		/* between two calls */

inline constexpr char kLeaseSql[] = R"(CALL snowflake_registry.lease(holder => $1, duration => $2::bigint * interval '1 ms',
	asker_now => timestamptz 'epoch' + $3::bigint * interval '1 ms'))";
inline constexpr char kRenewSql[] = R"(CALL snowflake_registry.renew(token => $1::uuid, duration => $2::bigint * interval '1 ms',
	asker_now => timestamptz 'epoch' + $3::bigint * interval '1 ms', registry => $4::uuid, attempt => $5::uuid))";
inline constexpr char kReleaseSql[] = R"(SELECT snowflake_registry.release(token => $1::uuid,
	used_until => timestamptz 'epoch' + $2::bigint * interval '1 ms', attempt => nullif($3, '')::uuid))";

class LeaseKeeper
{
public:
	std::once_flag started;		/* by start() */

	/* So that a child knows that it is one. */
	static void
	count_forks()
	{
		static const int failed = pthread_atfork(nullptr, nullptr, [] { forks++; });

		if (failed)
			throw std::bad_alloc();
	}

	bool		is_of_this_process() const { return process_ == forks; }

	explicit LeaseKeeper(const Holder &holder) : holder_(holder) {}

	/* Throws if there is no lease. */
	void
	start()
	{
		renew_or_lease();
		thread_ = std::thread([this] { renew_for_ever(); });
	}

	/* Rule 1: above the last ID, and before the end of the interval. */
	Claim
	take(int32_t n)
	{
		for (;;)
		{
			const int64_t now = layout_.since_epoch(read_system_clock().unix_ms);
			const Claim claim = generator_.claim(layout_, n, now, kEndOfTime);
			const bool	all = claim.shortfall == Shortfall::kNone;

			if ((claim.renew && generator_.take_renewal()) || !all)
				wake_up();
			if (all) [[likely]]
				return claim;

			/* It is closed for a moment while the worker ID changes. */
			const std::lock_guard lock(mutex_);

			if (stopped_)
				throw NoLease("closed");
			if (claim.shortfall != Shortfall::kClosed)
				throw NoLease("the lease of worker ID " + std::to_string(worker_) + " has ended: " + error_);
		}
	}

	int64_t
	id_of(const Claim &claim, int32_t i) const
	{
		return layout_.id_of(claim.first + i, claim.worker);
	}

	/* Rule 3: no more IDs, and then the millisecond after the last one. */
	void
	stop()
	{
		{
			const std::lock_guard lock(mutex_);

			stopped_ = true;
			woken_.notify_all();
		}
		if (!thread_.joinable())
			return;
		thread_.join();
		newest_ = layout_.ms_of(generator_.close());
		if (!token_.empty())	/* if this fails, the lease ends by itself */
			RegistryCall(holder_, kReleaseSql,
						 {token_, std::to_string(layout_.unix_ms(std::max(newest_ + 1, from_))), attempt_});
	}

private:
	void
	wake_up()
	{
		const std::lock_guard lock(mutex_);

		wake_ = true;
		woken_.notify_all();
	}

	/* This clock, or the time of the newest ID where that is ahead of it. */
	int64_t
	now() const
	{
		const int64_t last = generator_.last();
		const int64_t newest = last == Generator::kClosed ? 0 : layout_.unix_ms(layout_.ms_of(last));

		return std::max(read_system_clock().unix_ms, newest);
	}

	/* Rule 2: renews when half of the time is over, by the clock or by the last ID. */
	void
	renew_for_ever()
	{
		std::minstd_rand random(std::random_device{}());
		Milliseconds pause = kLeastPause;
		std::unique_lock lock(mutex_);

		for (int failures = 0; !woken_.wait_for(lock, pause, [this] { return stopped_; });)
		{
			const Milliseconds left(failures > 0 ? 0 : std::min(layout_.unix_ms(half_) - now(), holder_.duration.count()));

			if (woken_.wait_for(lock, left, [this] { return stopped_ || wake_; }) && stopped_)
				return;
			wake_ = false;
			lock.unlock();
			try
			{
				renew_or_lease();
				failures = 0;
				pause = kLeastPause;
				lock.lock();
			}
			catch (const std::exception &failure)
			{
				failures = std::min(failures + 1, 3);
				pause = kLeastPause * (1 << failures) * (random() % 100 + 100) / 200;
				lock.lock();
				error_ = failure.what();
			}
		}
	}

	/*
	 * An answer that is lost may have replaced the token.  The same renewal, with the
	 * same attempt, is repeated until there is an answer.  Nothing recognises the
	 * repetition of a lease: if that answer is lost, the worker ID is unused until its
	 * interval ends.
	 */
	void
	renew_or_lease()
	{
		const int64_t asked = now();
		const std::string duration = std::to_string(holder_.duration.count());

		if (!token_.empty())
		{
			for (std::random_device random; attempt_.size() < 32;)
				attempt_ += "0123456789abcdef"[random() % 16];

			const RegistryCall renewal(holder_, kRenewSql, {token_, duration, std::to_string(asked), registry_, attempt_});

			if (renewal.sqlstate != "SR001")
				return accept(renewal, asked);
			token_.clear();
		}
		accept(RegistryCall(holder_, kLeaseSql, {holder_.name, duration, std::to_string(asked)}), asked);
	}

	void
	accept(const RegistryCall &answer, int64_t asked)
	{
		if (!answer.error.empty())
			throw NoLease(answer.error);

		const Layout layout = {answer.unix_ms("epoch"), static_cast<int>(answer.integer("worker_bits")), static_cast<int>(answer.integer("id_bits"))};
		const std::string registry = answer.uuid("registry");

		if (!registry_.empty() && (registry != registry_ || layout != layout_))
			throw NoLease("this is another registry, or its layout has changed: " + registry);
		if (registry_.empty())
			layout_ = layout;
		registry_ = registry;

		const int32_t worker = static_cast<int32_t>(answer.integer("worker_id"));
		const int64_t from = layout.since_epoch(answer.unix_ms("valid_from"));
		const int64_t until = layout.since_epoch(answer.unix_ms("valid_until"));
		const std::lock_guard lock(mutex_);

		half_ = (std::max(layout.since_epoch(asked), from) + until) / 2;
		if (worker == worker_ && from == from_)
			generator_.publish({worker, until}, layout.tick_of(half_));
		else
		{
			/* The next ID may have a smaller worker ID, so it needs a greater time. */
			const int64_t last = generator_.close();

			newest_ = last == Generator::kClosed ? newest_ : layout.ms_of(last);
			generator_.publish({worker, until}, layout.tick_of(half_));
			generator_.open(layout.tick_of(std::max(newest_ + 1, from)));
		}
		worker_ = worker;
		from_ = from;
		token_ = answer.uuid("token");
		attempt_.clear();
		error_.clear();
	}

	static inline std::atomic<unsigned> forks{0};

	const unsigned process_ = forks;
	const Holder holder_;
	std::thread thread_;
	Generator	generator_;
	Layout		layout_{0, kMinWorkerBits};		/* of the first lease */
	std::string registry_;
	std::string token_;
	std::string attempt_;		/* of the renewal whose answer has not come */
	int64_t		from_ = 0;		/* ms since the epoch, as half_ and newest_ */
	int64_t		half_ = 0;
	int64_t		newest_ = -1;
	std::mutex	mutex_;			/* guards the rest, and closing and opening */
	std::condition_variable woken_;
	int32_t		worker_ = -1;
	bool		wake_ = false;
	bool		stopped_ = false;
	std::string error_;			/* why there is no other lease */
};

} // namespace snowflake
