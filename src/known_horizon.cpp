/*
 * known_horizon.cpp
 *		snowflake_horizon(): one value for each snapshot of a transaction.
 *
 * A statement that reads up to one horizon, and stores another as its position,
 * loses the rows between the two.  So all calls with one snapshot return the same
 * value until the transaction ends, whatever is executed in between: calls from other
 * places in the statement, from functions that it calls, and from a cursor.
 */
#include <cstdint>
#include <type_traits>

#include "prelude.h"

extern "C"
{
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
}

#include "horizon.hpp"
#include "known_horizon.hpp"
#include "pin.hpp"
#include "transaction.hpp"

extern "C"
{
SQL_FUNCTION(snowflake_horizon);
}

namespace snowflake
{

/* Snapshots of a transaction that agree in this see the same. */
struct HorizonKey
{
	uint64_t	transaction;
	TransactionId xmin;
	TransactionId xmax;
	uint64_t	running;

	bool		operator==(const HorizonKey &) const = default;
};

static_assert(std::has_unique_object_representations_v<HorizonKey>, "it is hashed by its bytes");

struct KnownHorizon
{
	HorizonKey	key;
	int64_t		value;
};

/* The one that was used last, and the others of its transaction; null if there are none. */
static KnownHorizon newest_known = {};
static HTAB *others = nullptr;

void
forget_known_horizons()
{
	newest_known = {};
}

static HTAB *
create_table()
{
	HASHCTL		control = {};

	control.keysize = sizeof(HorizonKey);
	control.entrysize = sizeof(KnownHorizon);
	control.hcxt = TopTransactionContext;
	return hash_create("snowflake horizons", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
remember(const KnownHorizon &known)
{
	if (!others)
		others = create_table();
	static_cast<KnownHorizon *>(hash_search(others, &known.key, HASH_ENTER, nullptr))->value = known.value;
}

static KnownHorizon *
find_among_others(const HorizonKey &key)
{
	return others ? static_cast<KnownHorizon *>(hash_search(others, &key, HASH_FIND, nullptr)) : nullptr;
}

static int64_t
horizon_for(const HorizonKey &key)
{
	if (newest_known.key == key)
		return newest_known.value;
	if (newest_known.key.transaction == key.transaction)
		remember(newest_known);
	else
		others = nullptr;		/* freed with its transaction */

	const KnownHorizon *known = find_among_others(key);

	newest_known = known ? *known : KnownHorizon{key, horizon_of_active_snapshot()};
	return newest_known.value;
}

/*
 * All places in a plan share one value for as long as the plan runs.  The memory
 * context of a place tells which plan it belongs to.
 */
struct RunningPlan
{
	MemoryContextCallback at_end;
	MemoryContext context;
	RunningPlan *next;
	KnownHorizon known;
};

static RunningPlan *running_plans = nullptr;

extern "C" void
snowflake_forget_plan(void *argument)
{
	RunningPlan *ended = static_cast<RunningPlan *>(argument);
	RunningPlan **link = &running_plans;

	while (*link != ended)
		link = &(*link)->next;
	*link = ended->next;
}

static RunningPlan *
add_plan(MemoryContext context)
{
	RunningPlan *plan = static_cast<RunningPlan *>(MemoryContextAllocZero(context, sizeof(RunningPlan)));

	plan->context = context;
	plan->next = running_plans;
	running_plans = plan;
	plan->at_end.func = snowflake_forget_plan;
	plan->at_end.arg = plan;
	MemoryContextRegisterResetCallback(context, &plan->at_end);
	return plan;
}

static RunningPlan *
plan_of(FmgrInfo *place)
{
	if (!place->fn_extra)
	{
		RunningPlan *plan = running_plans;

		while (plan && plan->context != place->fn_mcxt)
			plan = plan->next;
		place->fn_extra = plan ? plan : add_plan(place->fn_mcxt);
	}
	return static_cast<RunningPlan *>(place->fn_extra);
}

static int64_t
known_horizon(FmgrInfo *place)
{
	const Snapshot snapshot = GetActiveSnapshot();
	const HorizonKey key = {transaction_number, snapshot->xmin, snapshot->xmax, snapshot->xcnt};
	KnownHorizon &known = plan_of(place)->known;

	if (!(known.key == key)) [[unlikely]]
		known = {key, horizon_for(key)};
	return known.value;
}

} // namespace snowflake

using namespace snowflake;

Datum
snowflake_horizon(PG_FUNCTION_ARGS)
{
	require_layout();
	if (!ActiveSnapshotSet())
		elog(ERROR, "no active snapshot");
	PG_RETURN_INT64(known_horizon(fcinfo->flinfo));
}
