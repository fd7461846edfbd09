/*
 * own_id.cpp
 *		snowflake_require_own_id(): a trigger that refuses a key which this
 *		transaction did not take.
 *
 * The horizon knows of the IDs of transactions that took them themselves.  A row
 * with any other key may come below it, and is never read.
 */
#include <cstdint>

#include "prelude.h"

extern "C"
{
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include "horizon_memory.hpp"
#include "newest_id.hpp"
#include "pin.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "transaction.hpp"

extern "C"
{
SQL_FUNCTION(snowflake_require_own_id);
}

using namespace snowflake;

static void
require_protocol(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" was not called by trigger manager", "snowflake_require_own_id")));

	const TriggerData *trigger = reinterpret_cast<TriggerData *>(fcinfo->context);

	if (!TRIGGER_FIRED_BEFORE(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" must be fired BEFORE INSERT OR UPDATE, FOR EACH ROW", "snowflake_require_own_id")));
	if (trigger->tg_trigger->tgnargs > 1)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("trigger \"%s\" has more than one argument", trigger->tg_trigger->tgname),
						errdetail("The argument is the name of the key's column; without it the column is \"id\".")));
}

/* The number of the key's column. */
static int
key_column(const TriggerData &trigger)
{
	const char *name = trigger.tg_trigger->tgnargs == 1 ? trigger.tg_trigger->tgargs[0] : "id";
	const TupleDesc columns = RelationGetDescr(trigger.tg_relation);
	const int	number = SPI_fnumber(columns, name);

	if (number <= 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of relation \"%s\" does not exist", name, RelationGetRelationName(trigger.tg_relation)),
						errhint("Name the key's column as the argument of trigger \"%s\".", trigger.tg_trigger->tgname)));
	if (TupleDescAttr(columns, number - 1)->attgenerated != '\0')
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("column \"%s\" of relation \"%s\" is a generated column", name, RelationGetRelationName(trigger.tg_relation)),
						errdetail("Its value is not known yet when trigger \"%s\" is fired.", trigger.tg_trigger->tgname)));
	if (getBaseType(SPI_gettypeid(columns, number)) != INT8OID)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("column \"%s\" of relation \"%s\" is not of type bigint", name, RelationGetRelationName(trigger.tg_relation))));
	return number;
}

/*
 * Another server's IDs may lie between ours.  A worker ID that changed within the
 * transaction is refused once: the rows are inserted again, in another one.
 */
static bool
is_own(int64_t id)
{
	return id >= my_announcement().first() && id <= newest_id() &&
		   layout.decompose(id).worker == shared->generator.window().worker;
}

[[noreturn, gnu::cold]] static void
raise_not_own(const TriggerData &trigger, int64_t id)
{
	const int64_t first = my_announcement().first();

	ereport(ERROR, (errcode(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION),
					errmsg("ID %lld was not taken in this transaction", (long long) id),
					first == Announcement::kNone
						? errdetail("This transaction has not taken an ID.")
						: errdetail("The IDs that this transaction took are of worker ID %d, and not below %lld.",
									shared->generator.window().worker, (long long) first),
					trigger.tg_relation->rd_rel->relispartition && TRIGGER_FIRED_BY_INSERT(trigger.tg_event)
						? errhint("An UPDATE that moves a row to another partition inserts it there. Otherwise, let the column's default make the ID, or call snowflake_next() in the transaction that inserts the row.")
						: errhint("Readers of \"%s\" that follow snowflake_horizon() could miss the row. Let the column's default make the ID, or call snowflake_next() in the transaction that inserts the row.",
								  RelationGetRelationName(trigger.tg_relation)),
					errtable(trigger.tg_relation)));
}

/* The key of a row; false if it is null. */
static bool
get_key(HeapTuple row, const TriggerData &trigger, int column, int64_t *key)
{
	bool		is_null;
	const Datum value = SPI_getbinval(row, RelationGetDescr(trigger.tg_relation), column, &is_null);

	*key = is_null ? 0 : DatumGetInt64(value);
	return !is_null;
}

Datum
snowflake_require_own_id(PG_FUNCTION_ARGS)
{
	require_protocol(fcinfo);
	require_layout();

	const TriggerData &trigger = *reinterpret_cast<TriggerData *>(fcinfo->context);
	const bool	is_update = TRIGGER_FIRED_BY_UPDATE(trigger.tg_event);
	const HeapTuple row = is_update ? trigger.tg_newtuple : trigger.tg_trigtuple;
	const int	column = key_column(trigger);
	int64_t		key;
	int64_t		old_key;

	if (!get_key(row, trigger, column, &key))
		return PointerGetDatum(row);
	if (is_update && get_key(trigger.tg_trigtuple, trigger, column, &old_key) && key == old_key)
		return PointerGetDatum(row);
	if (!is_own(key))
		raise_not_own(trigger, key);
	return PointerGetDatum(row);
}
