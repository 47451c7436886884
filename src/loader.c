/*
 * loader.c: the module: its settings and its launcher.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "compat.h"
#include "loader.h"
#include "sink/index.h"
#include "sink/storage.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

static const struct config_enum_entry storage_sink_options[] = {
	{"auto", LDR_STORAGE_AUTO, false},
	{"on", LDR_STORAGE_ON, false},
	{"off", LDR_STORAGE_OFF, false},
	{NULL, 0, false}
};

int			ldr_workers = 2;
int			ldr_max_workers = 4;
int			ldr_min_parallel_file_size = 4096;
int			ldr_max_rate = 0;
char	   *ldr_package_directories = NULL;
int			ldr_small_package = 4096;
int			ldr_lock_timeout = 200;
int			ldr_lock_deadline = 600000;
int			ldr_retry_attempts = 5;
int			ldr_retry_delay = 1000;
int			ldr_checkpoint_interval = 1000;
int			ldr_retention = -1;
int			ldr_reject_retention = -1;
int			ldr_launcher_naptime = 60;
char	   *ldr_spool_directory = NULL;
int			ldr_upload_limit = 100 * 1024 * 1024;
int			ldr_upload_retention = 24 * 60;

void		_PG_init(void);

/* What is below it, names of uploads and files, must fit into a path of the server. */
#define MAX_SPOOL_DIRECTORY (MAXPGPATH / 2 - 100)

/*
 * A sweep removes directories that are named by a database's OID, and in those of the server are
 * some whose database is only just being created.
 */
static bool
is_directory_of_server(const char *path)
{
	char		full[MAXPGPATH];
	const char *below = full;

	if (is_absolute_path(path))
		strlcpy(full, path, sizeof(full));
	else
		join_path_components(full, DataDir, path);
	canonicalize_path(full);
	if (!path_is_prefix_of_path(DataDir, full))
		return false;
	below += strlen(DataDir);
	below += *below == '/';
	return *below == '\0' || path_is_prefix_of_path("base", below) ||
		path_is_prefix_of_path("global", below) || strncmp(below, "pg_", 3) == 0;
}

static bool
check_spool_directory(char **value, void **extra, GucSource source)
{
	canonicalize_path(*value);
	if (strlen(*value) <= MAX_SPOOL_DIRECTORY && !is_directory_of_server(*value))
		return true;
	GUC_check_errdetail("It must name a directory of its own, in at most %d bytes.",
						MAX_SPOOL_DIRECTORY);
	return false;
}

static void
define_spool_settings(void)
{
	DefineCustomStringVariable("loader.spool_directory",
							   "Directory for uploads and unpacked archives.",
							   "Relative to the data directory, or an absolute path. It is made if "
							   "the directory above it is there.",
							   &ldr_spool_directory, "loader_spool", PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY, check_spool_directory, NULL, NULL);
	DefineCustomIntVariable("loader.upload_limit",
							"What a role may have in the spool: its uploads and unpacked archives.",
							"Each file and directory counts as at least 4 kB. -1: no limit. ALTER "
							"ROLE sets it for one role.",
							&ldr_upload_limit, 100 * 1024 * 1024, -1, INT_MAX, PGC_SUSET,
							GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("loader.upload_retention",
							"Time after which an upload that no package needs is removed.",
							"Counted from its last chunk. The upload of a package that is new, "
							"loading or failed stays. -1 keeps them for ever.",
							&ldr_upload_retention, 24 * 60, -1, INT_MAX, PGC_SIGHUP,
							GUC_UNIT_MIN, NULL, NULL, NULL);
}

void
_PG_init(void)
{
	DefineCustomIntVariable("loader.workers", "Processes that load the jobs of one package, the "
							"coordinator included.",
							"Used where jobs commit by themselves: by packages with atomic => "
							"false, and by what is staged of large ones. The argument workers "
							"overrides it.",
							&ldr_workers, 2, 1, 64, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("loader.max_workers",
							"Processes that load, over all packages and databases.",
							"They come out of max_worker_processes, which parallel query uses too. "
							"A package that finds no place waits.",
							&ldr_max_workers, 4, 1, 1024, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("loader.min_parallel_file_size",
							"Size of a job file from which on several processes load it.",
							"Of the file as it is. Such a load takes up to loader.workers parallel "
							"workers, which also count as loader.max_workers and "
							"max_parallel_workers.",
							&ldr_min_parallel_file_size, 4096, 0, INT_MAX, PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("loader.max_rate",
							"How much of job files each process that reads them takes a second.",
							"Of files as they are. What is read in parallel counts for the process "
							"that reads it. 0: no limit.",
							&ldr_max_rate, 0, 0, INT_MAX, PGC_USERSET, GUC_UNIT_KB, NULL, NULL,
							NULL);
	DefineCustomStringVariable("loader.package_directories",
							   "Directories that every role may load packages from.",
							   "A list of absolute paths with commas between them. Members of "
							   "pg_read_server_files may load from anywhere.",
							   &ldr_package_directories, "", PGC_SIGHUP,
							   GUC_LIST_INPUT | GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomIntVariable("loader.small_package",
							"Size of job files up to which one worker loads them in one "
							"transaction.",
							"Counts files, as they are, of tables that are replaced or merged. "
							"More than that is staged by several workers in transactions of their own "
							"before the package is published.",
							&ldr_small_package, 4096, 0, INT_MAX, PGC_USERSET, GUC_UNIT_KB, NULL,
							NULL, NULL);
	DefineCustomIntVariable("loader.index_memory",
							"Memory of one load for index entries that are made in key order.",
							"Not more than maintenance_work_mem. 0: entries are made row by row.",
							&ldr_index_memory, 16 * 1024, 0, MAX_KILOBYTES, PGC_USERSET,
							GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("loader.lock_timeout",
							"Longest wait in one try for locks on the tables of a package.",
							"Others queue behind a waiting request, so it is short; it is tried "
							"again until loader.lock_deadline.",
							&ldr_lock_timeout, 200, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL,
							NULL, NULL);
	DefineCustomIntVariable("loader.lock_deadline", "Time after which a package gives up on locks.",
							NULL, &ldr_lock_deadline, 600000, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("loader.retry_attempts",
							"Times that a transient error or an interruption is tried again.",
							"Deadlocks, lock timeouts, I/O trouble and the like; bad data is never "
							"tried again.",
							&ldr_retry_attempts, 5, 0, 1000, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("loader.retry_delay",
							"Time before the first retry; doubled with each one, up to a minute.",
							NULL, &ldr_retry_delay, 1000, 0, 3600000, PGC_USERSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("loader.checkpoint_interval",
							"Least time between two commits of a sync while messages come in.",
							"When none come, what states cover is committed at once.",
							&ldr_checkpoint_interval, 1000, 0, 3600 * 1000, PGC_USERSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("loader.retention",
							"Time for which loaded and cancelled packages stay in the catalog.",
							"What a package loaded stays, and still counts as loaded. One that "
							"has rejected rows stays longer, see loader.reject_retention. -1 "
							"keeps them for ever.",
							&ldr_retention, -1, -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MIN, NULL, NULL,
							NULL);
	DefineCustomIntVariable("loader.reject_retention",
							"Time for which they stay although they have rejected rows.",
							"Where loader.retention would remove them. -1: until the rows are "
							"loaded again or discarded.",
							&ldr_reject_retention, -1, -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MIN, NULL,
							NULL, NULL);
	DefineCustomIntVariable("loader.launcher_naptime", "Time between two rounds of the launcher.",
							"The launcher runs only if loader is in shared_preload_libraries.",
							&ldr_launcher_naptime, 60, 1, INT_MAX / 1000, PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomEnumVariable("loader.storage_sink",
							 "Whether new heaps are filled by pages that are built in memory.",
							 "auto does so where there are enough rows. For tests, and in case of "
							 "trouble.",
							 &ldr_storage_use, LDR_STORAGE_AUTO, storage_sink_options, PGC_USERSET,
							 GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	define_spool_settings();
	ldr_reserve_settings("loader");

	if (process_shared_preload_libraries_in_progress)
		ldr_launcher_register();
}
