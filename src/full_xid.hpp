/*
 * full_xid.hpp
 *		64-bit transaction IDs, which can be compared however old they are.
 */
#pragma once

#include <cstdint>

#include "prelude.h"

extern "C"
{
#include "access/transam.h"
}

namespace snowflake
{

inline uint64_t
next_full_xid()
{
	return U64FromFullTransactionId(ReadNextFullTransactionId());
}

/* xid: one that is not in the future, and less than 2^32 transactions old. */
inline uint64_t
full_xid(TransactionId xid)
{
	const uint64_t next = next_full_xid();

	return next - static_cast<uint32>(static_cast<uint32>(next) - xid);
}

} // namespace snowflake
