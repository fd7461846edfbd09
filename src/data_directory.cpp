/*
 * data_directory.cpp
 *		Looks at pg_control, at the files that request recovery, and at which boot
 *		of the machine this is.
 */
#include <cerrno>
#include <cstring>

#include <sys/stat.h>
#include <unistd.h>

#include "prelude.h"

extern "C"
{
#include "access/xlog.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "storage/fd.h"
}

#include "data_directory.hpp"
#include "settings.hpp"

namespace snowflake
{

/* Where core keeps replication origin states, the high-water mark among them. */
static constexpr char kOriginFile[] = "pg_logical/replorigin_checkpoint";

/* Identifies the boot of the machine; Linux only. */
static constexpr char kSystemBootFile[] = "/proc/sys/kernel/random/boot_id";

/* Where the server records the boot during which it last started. */
static constexpr char kBootFile[] = "snowflake_boot_id";

static constexpr int kBootSize = 64;

static bool
exists(const char *name)
{
	struct stat found;

	if (stat(name, &found) == 0)
		return true;
	if (errno != ENOENT)
		ereport(FATAL, (errcode_for_file_access(), errmsg("could not stat file \"%s\": %m", name)));
	return false;
}

static DBState
control_state()
{
	bool		is_valid;
	ControlFileData *control = get_controlfile(DataDir, &is_valid);
	const DBState state = control->state;

	/* Core has already read it, and would not have got this far. */
	if (!is_valid)
		ereport(FATAL, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("incorrect checksum in control file")));
	pfree(control);
	return state;
}

/* Core takes a missing file for a cluster that has no origins. */
static void
check_origin_file()
{
	if (!exists(kOriginFile))
		ereport(FATAL, (errcode_for_file_access(),
						errmsg("could not find file \"%s\"", kOriginFile),
						errdetail("It records which snowflake IDs this cluster may have issued. Without it, IDs might be issued twice."),
						errhint("Restore the file. If this cluster has never issued snowflake IDs, start and stop it once without snowflake in \"shared_preload_libraries\", which creates the file.")));
}

[[noreturn]] static void
refuse_copy(const char *evidence)
{
	ereport(FATAL, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("this data directory is a copy of another server's, and was not promoted"),
					errdetail("%s, and there is neither \"%s\" nor \"%s\". The other server may still issue snowflake IDs as worker %d.",
							  evidence, STANDBY_SIGNAL_FILE, RECOVERY_SIGNAL_FILE, worker_id),
					errhint("Stop the other server, or set \"snowflake.worker_id\" to one that has never been used. Then create \"%s\", start this server, and promote it.",
							STANDBY_SIGNAL_FILE)));
}

/* Such a recovery ends on a timeline of its own. */
static bool
recovery_is_asked_for()
{
	return exists(STANDBY_SIGNAL_FILE) || exists(RECOVERY_SIGNAL_FILE);
}

/* A lease is never shared: it lives in shared memory, and no copy has it. */
static void
check_for_copy()
{
	if (leasing() || recovery_is_asked_for())
		return;
	if (exists(BACKUP_LABEL_FILE))
		refuse_copy("It is a base backup: there is a file \"" BACKUP_LABEL_FILE "\"");

	const DBState state = control_state();

	if (state == DB_IN_ARCHIVE_RECOVERY || state == DB_SHUTDOWNED_IN_RECOVERY)
		refuse_copy("It is a standby's: its control file says that it was in recovery");
}

void
check_data_directory()
{
	check_origin_file();
	check_for_copy();
}

/* The file's first line; empty if there is no such file. */
static void
read_boot(const char *name, char (&boot)[kBootSize])
{
	FILE	   *file = AllocateFile(name, "r");

	boot[0] = '\0';
	if (!file)
		return;
	if (!fgets(boot, kBootSize, file))
		boot[0] = '\0';
	boot[strcspn(boot, "\n")] = '\0';
	FreeFile(file);
}

static void
remember_boot(const char *boot)
{
	FILE	   *file = AllocateFile(kBootFile, "w");

	if (!file || fprintf(file, "%s\n", boot) < 0 || FreeFile(file) != 0)
		ereport(FATAL, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", kBootFile)));
	fsync_fname(kBootFile, false);
}

bool
may_be_rolled_back()
{
	char		known[kBootSize];
	char		present[kBootSize];

	read_boot(kBootFile, known);
	read_boot(kSystemBootFile, present);
	if (strcmp(known, present) == 0)
		return false;
	remember_boot(present);

	/* The first start, or a system that does not name its boots. */
	if (known[0] == '\0' || present[0] == '\0')
		return false;
	if (recovery_is_asked_for() || control_state() == DB_SHUTDOWNED)
		return false;
	ereport(LOG, (errmsg("snowflake IDs start \"snowflake.max_ahead\" ahead of the clock"),
				  errdetail("The machine was restarted since the server last ran, and the server was not shut down cleanly. Its data may be older than the IDs that it issued.")));
	return true;
}

} // namespace snowflake
