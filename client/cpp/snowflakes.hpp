/*
 * snowflakes.hpp
 *		Snowflake IDs made by an application, on a worker ID leased from a registry.
 *
 *		snowflake::Snowflakes ids("host=registry.example dbname=registry", "orders-7f9c:8080");
 *		ids.next();				// an int64_t; throws NoLease when there is no lease
 *		ids.next_many(100);		// a vector of increasing IDs
 *		ids.close();			// gives back what is left of the lease
 *
 * One object per process is enough.  All threads may use it, and so may a child after
 * fork(): its first call takes a lease of its own.  A thread renews the lease, so next()
 * waits for the registry only where the process has not had a lease yet.
 *
 * It takes C++20, the directory src of this repository for the generator, which is the
 * server's, and libpq.  doc/applications.md has more.
 */
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "lease_keeper.hpp"

namespace snowflake
{

class Snowflakes
{
public:
	/* Throws if it gets no lease. */
	Snowflakes(std::string conninfo, std::string holder, Milliseconds duration = Milliseconds(60'000))
		: holder_{std::move(conninfo), std::move(holder), duration}
	{
		LeaseKeeper::count_forks();
		keeper();
	}

	Snowflakes(const Snowflakes &) = delete;

	~Snowflakes()
	{
		LeaseKeeper *keeper = keeper_;

		close();
		if (keeper->is_of_this_process())
			delete keeper;
	}

	int64_t
	next()
	{
		LeaseKeeper &keeper = this->keeper();

		return keeper.id_of(keeper.take(1), 0);
	}

	std::vector<int64_t>
	next_many(int32_t n)
	{
		LeaseKeeper &keeper = this->keeper();
		const Claim claim = keeper.take(n);
		std::vector<int64_t> ids;

		for (int32_t i = 0; i < n; i++)
			ids.push_back(keeper.id_of(claim, i));
		return ids;
	}

	void
	close()
	{
		LeaseKeeper *keeper = keeper_;

		if (!closed_.exchange(true) && keeper->is_of_this_process())
			keeper->stop();
	}

private:
	/* A child must not use its parent's lease, nor a lock that was held at the fork. */
	LeaseKeeper &
	keeper()
	{
		LeaseKeeper *keeper = keeper_;

		if (!keeper || !keeper->is_of_this_process()) [[unlikely]]
		{
			auto	   *fresh = new LeaseKeeper(holder_);

			if (keeper_.compare_exchange_strong(keeper, fresh))
				keeper = fresh;
			else
				delete fresh;
		}
		std::call_once(keeper->started, [this, keeper] {
			if (closed_)
				throw NoLease("closed");
			keeper->start();
		});
		return *keeper;
	}

	const Holder holder_;
	std::atomic<LeaseKeeper *> keeper_{nullptr};	/* a child leaves its parent's behind */
	std::atomic<bool> closed_{false};
};

} // namespace snowflake
