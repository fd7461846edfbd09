/*
 * lease.hpp
 *		A lease of a worker ID: for some interval of ID time the worker ID is ours,
 *		whatever any clock shows.
 */
#pragma once

#include <cstdint>

namespace snowflake
{

/* A UUID as text, with its terminator. */
inline constexpr int kUuidSize = 37;

struct Lease
{
	int32_t		worker;
	int64_t		from;			/* the first millisecond that is ours, */
	int64_t		until;			/* and the first that is not; since the epoch; 0: there is no lease */
	int64_t		renew_at;		/* when the clock shows this, renew */
	char		token[kUuidSize];	/* empty: it cannot be renewed or given back */
	char		registry[kUuidSize];
};

} // namespace snowflake
