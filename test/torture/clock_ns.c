/*
 * clock_ns.c
 *		clock_ns(clock) in SQL, for the torture: what clock_gettime() tells the
 *		server, in nanoseconds.  0 is the clock that IDs are made from, and that the
 *		torture sets; 1 the monotonic one, which nobody sets, and which all processes
 *		of a machine share.
 */
#include "postgres.h"

#include <time.h>

#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(clock_ns);

Datum
clock_ns(PG_FUNCTION_ARGS)
{
	struct timespec now;

	if (clock_gettime((clockid_t) PG_GETARG_INT32(0), &now) != 0)
		elog(ERROR, "could not read clock %d: %m", PG_GETARG_INT32(0));
	PG_RETURN_INT64(now.tv_sec * INT64CONST(1000000000) + now.tv_nsec);
}
