/*
 * core.cpp
 *		The core without a server: what an ID costs, and what it could cost at
 *		best on this machine.
 *
 * The best is what no generator in shared memory that uses the time can do without:
 * reading the time-stamp counter, and a compare-and-swap on a cache line that this
 * processor already owns.  Neither the window nor max_ahead limits a claim here, so
 * nothing waits.
 */
#include <atomic>
#include <cstdint>

#include <unistd.h>

#include <benchmark/benchmark.h>

#include "core/clock.hpp"
#include "core/generator.hpp"

using namespace snowflake;

/* Not const: the server has it from its settings. */
extern Layout layout;
Layout layout = {1672531200000, 10};

static Clock &
thread_clock()
{
	static thread_local Clock clock;

	return clock;
}

static Generator &
open_generator()
{
	static Generator *generator = []
	{
		auto	   *g = new Generator;

		g->publish({1, kEndOfTime}, layout.tick_of(kEndOfTime));
		g->open(0);
		return g;
	}();

	return *generator;
}

static void
counter_and_swap(benchmark::State &state)
{
	alignas(128) static std::atomic<int64_t> word;

	for (auto _ : state)
	{
		int64_t		last = word.load(std::memory_order_acquire);

		benchmark::DoNotOptimize(SystemTime::counter());
		while (!word.compare_exchange_weak(last, last + 1, std::memory_order_acquire))
			;
		benchmark::DoNotOptimize(last);
	}
}

static void
claim(benchmark::State &state)
{
	Generator  &generator = open_generator();
	Clock	   &clock = thread_clock();

	for (auto _ : state)
	{
		const Claim got = generator.claim(layout, 1, clock.now(layout), kEndOfTime);

		benchmark::DoNotOptimize(layout.id_of(got.first, got.worker));
	}
}

/* An iteration claims 256 IDs and composes all of them. */
static void
claim_256(benchmark::State &state)
{
	Generator  &generator = open_generator();
	Clock	   &clock = thread_clock();

	for (auto _ : state)
	{
		Claim		got = generator.claim(layout, 256, clock.now(layout), kEndOfTime);

		for (; got.count > 0; got.count--)
			benchmark::DoNotOptimize(layout.id_of(got.first++, got.worker));
	}
}

static void
clock_now(benchmark::State &state)
{
	Clock	   &clock = thread_clock();

	for (auto _ : state)
		benchmark::DoNotOptimize(clock.now(layout));
}

static void
system_clock(benchmark::State &state)
{
	for (auto _ : state)
		benchmark::DoNotOptimize(read_system_clock());
}

/* All of them on one line: up to as many threads as there are processors. */
static void
contended(benchmark::internal::Benchmark *benchmark)
{
	const int	processors = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));

	benchmark->UseRealTime();
	for (int threads = 2; threads < processors; threads *= 2)
		benchmark->Threads(threads);
	if (processors > 1)
		benchmark->Threads(processors);
}

BENCHMARK(counter_and_swap);
BENCHMARK(claim);
BENCHMARK(claim_256);
BENCHMARK(clock_now);
BENCHMARK(system_clock);
BENCHMARK(counter_and_swap)->Apply(contended);
BENCHMARK(claim)->Apply(contended);
BENCHMARK(claim_256)->Apply(contended);

BENCHMARK_MAIN();
