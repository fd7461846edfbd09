/*
 * snowflake.cpp
 *		Where the server enters the library.
 *
 * A worker ID in postgresql.conf, a generator in shared memory, and a keeper
 * that makes sure that no ID is issued twice; see core/generator.hpp,
 * mark.hpp and keeper.hpp for the parts.
 */
#include "prelude.h"

extern "C"
{
#include "miscadmin.h"
}

#include "keeper_main.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "transaction.hpp"

extern "C"
{
#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "snowflake", .version = "1.0");
#else
PG_MODULE_MAGIC;
#endif

PGDLLEXPORT void _PG_init(void);
}

/*
 * Without the preload there is no generator: each function says so, and what
 * only creates objects still works.  The same goes for pg_upgrade, which must not
 * issue IDs in the new cluster.
 */
void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;

	snowflake::define_settings();
	snowflake::install_shared_memory_hooks();
	snowflake::register_transaction_callback();
	snowflake::register_keeper();
}
