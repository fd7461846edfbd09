/*
 * layouts.hpp
 *		Every pair of id_bits and worker_bits that a server can have.
 */
#pragma once

#include <random>
#include <vector>

#include "core/layout.hpp"

inline std::vector<snowflake::Layout>
all_layouts(int64_t epoch_ms = 0)
{
	std::vector<snowflake::Layout> layouts;

	for (int id_bits = snowflake::kMinIdBits; id_bits <= snowflake::kMaxIdBits; id_bits++)
		for (int bits = snowflake::kMinWorkerBits; bits <= snowflake::max_worker_bits(id_bits); bits++)
			layouts.emplace_back(epoch_ms, bits, id_bits);
	return layouts;
}

/* Each id_bits is as likely as any other. */
inline snowflake::Layout
random_layout(std::mt19937_64 &random, int64_t epoch_ms = 0)
{
	const int	id_bits = snowflake::kMinIdBits + static_cast<int>(random() % 11);
	const int	bits = snowflake::kMinWorkerBits +
		static_cast<int>(random() % static_cast<uint64_t>(snowflake::max_worker_bits(id_bits)));

	return {epoch_ms, bits, id_bits};
}
