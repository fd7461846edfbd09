/*
 * prelude.h
 *		What each file of the server side includes first: postgres.h, and what
 *		differs between PostgreSQL versions; PG_VERSION_NUM is used nowhere else.
 *
 * 15 is the oldest that is supported: shmem_request_hook and
 * MarkGUCPrefixReserved are new there.
 */
#pragma once

extern "C"
{
#include "postgres.h"

#include "fmgr.h"
#include "pgstat.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "storage/proc.h"
#include "utils/wait_event.h"
}

/*
 * The library exports only what the server looks up by name.  On 15
 * PGDLLEXPORT is empty, and PG_FUNCTION_INFO_V1 does not use it for the function.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif
#define SQL_FUNCTION(name) \
	PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name)

/* How many replication origin states there are, and which setting says so. */
#if PG_VERSION_NUM >= 180000
#define ORIGIN_STATES max_active_replication_origins
#define ORIGIN_STATES_SETTING "max_active_replication_origins"
#else
#define ORIGIN_STATES max_replication_slots
#define ORIGIN_STATES_SETTING "max_replication_slots"
#endif

/* The number of a replication origin. */
#if PG_VERSION_NUM >= 190000
using OriginId = ReplOriginId;
#else
using OriginId = RepOriginId;
#endif

/* The server's settings, in an array of *count. */
#if PG_VERSION_NUM >= 160000
#define GUC_VARIABLES(count) get_guc_variables(count)
#else
#define GUC_VARIABLES(count) (*(count) = GetNumConfigOptions(), get_guc_variables())
#endif

/* The number of a process that can run SQL, 0 to MaxBackends - 1. */
#if PG_VERSION_NUM >= 170000
#define PROC_NUMBER(proc) GetNumberFromPGProc(proc)
#else
#define PROC_NUMBER(proc) (proc)->pgprocno
#endif

/* The number of a process's transaction, which its next one does not have. */
#if PG_VERSION_NUM >= 170000
#define LOCAL_XID(proc) (proc)->vxid.lxid
#else
#define LOCAL_XID(proc) (proc)->lxid
#endif

/* Where the newest transaction ID is that has ended. */
#if PG_VERSION_NUM >= 170000
#define TRANSAM_VARIABLES TransamVariables
#else
#define TRANSAM_VARIABLES ShmemVariableCache
#endif

#ifndef ERRCODE_SNAPSHOT_TOO_OLD
#define ERRCODE_SNAPSHOT_TOO_OLD MAKE_SQLSTATE('7', '2', '0', '0', '0')
#endif

/* This process's number, 0 to MaxBackends - 1 for whatever can run SQL. */
#if PG_VERSION_NUM >= 170000
#define MY_PROC_NUMBER MyProcNumber
#else
#define MY_PROC_NUMBER MyProc->pgprocno
#endif

/*
 * Extensions name their wait events from 17 on; `cache` is a uint32 that starts
 * as 0 and lives as long as the process.
 */
#if PG_VERSION_NUM >= 170000
#define EXTENSION_WAIT_EVENT(cache, name) ((cache) ? (cache) : ((cache) = WaitEventExtensionNew(name)))
#else
#define EXTENSION_WAIT_EVENT(cache, name) ((void) (cache), PG_WAIT_EXTENSION)
#endif
