/*
 * source/sweep.c: what is removed from the spool, and when.
 *
 * An entry of a role's directory goes when nobody needs it any more (.done: its package was loaded
 * or forgotten; or it was loaded, and whoever did so was killed before he left that mark), when its
 * role has gone, or when it was abandoned for loader.upload_retention; and
 * then only if no package that is still to be loaded has it as source, which is asked with its lock
 * held. Who registers a package holds that lock until the catalog has it.
 *
 * It is renamed before it is removed: half an upload must never look like a whole one.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "catalog/loader_catalog.h"
#include "fault.h"
#include "loader.h"
#include "source/spool.h"
#include "source/spool_name.h"

#ifdef __APPLE__
#define st_mtim st_mtimespec
#endif

static void
sweep_log(const char *what, const char *path)
{
	ereport(LOG,
			(errcode_for_file_access(),
			 errmsg("could not %s \"%s\": %m", what, path)));
}

/* Rename an entry out of the way, durably, and remove it. */
static void
sweep_remove(const char *directory, const char *name)
{
	char	   *path = psprintf("%s/%s", directory, name);
	char	   *gone = psprintf("%s/" LDR_SPOOL_GONE "%s", directory, name);

	if (ldr_spool_exists(gone))
		(void) rmtree(gone, true);
	LDR_FAULT("spool: entry to be removed");
	if (rename(path, gone) != 0)
	{
		if (errno != ENOENT)
			sweep_log("rename", path);
		return;
	}
	if (!ldr_spool_sync(directory, true))
		sweep_log("fsync", directory);
	LDR_FAULT("spool: entry renamed");
	(void) rmtree(gone, true);	/* it warns of what it cannot remove */
}

void
ldr_spool_remove(Oid role, const char *name)
{
	sweep_remove(ldr_spool_of(role), name);
}

/* The source that a package names an entry by, NULL if there is none. */
static char *
sweep_source(const char *directory, const char *name)
{
	char		path[MAXPGPATH];
	ssize_t		len;
	int			fd;

	if (name[0] != '.')
		return psprintf(LDR_UPLOAD_PREFIX "%s", name);
	fd = OpenTransientFile(psprintf("%s/%s/" LDR_SPOOL_SOURCE, directory, name),
						   O_RDONLY | PG_BINARY);
	if (fd < 0)
		return NULL;
	len = read(fd, path, sizeof(path) - 1);
	CloseTransientFile(fd);
	return len > 0 ? pnstrdup(path, len) : NULL;
}

static bool
sweep_is_needed(const char *directory, const char *name, Oid role)
{
	char	   *source = sweep_source(directory, name);

	return source && ldr_catalog_exists() && ldr_package_source_is_live(source, role);
}

bool
ldr_spool_drop(const char *upload_id)
{
	Oid			role = GetUserId();
	char	   *source = psprintf(LDR_UPLOAD_PREFIX "%s", upload_id);
	LdrError	err = {0};
	bool		found;

	if (ldr_upload_id_check(upload_id, &err) != LDR_OK)
		ldr_raise(&err, source);
	(void) ldr_spool_lock(role, upload_id, ExclusiveLock, true);
	found = ldr_spool_exists(ldr_spool_upload(upload_id));
	if (found && ldr_package_source_is_live(source, role))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("\"%s\" is the source of a package that is not loaded", source),
				 errhint("It is removed with the package: call loader_forget, or loader_cancel and "
						 "then this.")));
	if (found)
		ldr_spool_remove(role, upload_id);
	ldr_spool_unlock(role, upload_id, ExclusiveLock);
	return found;
}

static void
sweep_mark(const char *path)
{
	char	   *mark = psprintf("%s/" LDR_SPOOL_DONE, path);
	int			fd = OpenTransientFilePerm(mark, O_WRONLY | O_CREAT | O_NOFOLLOW | PG_BINARY,
										   S_IRUSR | S_IWUSR);

	LDR_FAULT("spool: entry marked");
	if (fd >= 0)
		CloseTransientFile(fd);
	else if (errno != ENOENT && errno != ENOTDIR)
		sweep_log("mark", path);
}

typedef struct SweepMark
{
	char	   *directory;
	const char *source;
} SweepMark;

/* Is it a copy of that archive? */
static void
sweep_mark_copy(const char *path, const char *name, void *arg)
{
	SweepMark  *m = arg;
	char	   *source;

	if (strncmp(name, LDR_SPOOL_UNPACKED, strlen(LDR_SPOOL_UNPACKED)) != 0)
		return;
	source = sweep_source(m->directory, name);
	if (source && strcmp(source, m->source) == 0)
		sweep_mark(path);
}

bool
ldr_spool_concerns(const char *source)
{
	return strncmp(source, LDR_UPLOAD_PREFIX, strlen(LDR_UPLOAD_PREFIX)) == 0 ||
		ldr_archive_ending(source) > 0;
}

void
ldr_spool_done(const char *source, Oid role)
{
	SweepMark	m = {ldr_spool_of(role), source};
	const char *id = source + strlen(LDR_UPLOAD_PREFIX);

	if (strncmp(source, LDR_UPLOAD_PREFIX, strlen(LDR_UPLOAD_PREFIX)) == 0)
		sweep_mark(psprintf("%s/%.*s", m.directory, (int) strcspn(id, "/"), id));
	else if (ldr_archive_ending(source) > 0)
		ldr_spool_each(m.directory, sweep_mark_copy, &m);
}

/* --- sweeping --------------------------------------------------------------------------------- */

/* A number that a directory is named by: an OID. InvalidOid if it is none. */
static Oid
sweep_oid(const char *name)
{
	char	   *end;
	unsigned long n = strtoul(name, &end, 10);

	return name[0] >= '1' && name[0] <= '9' && *end == '\0' && n <= PG_UINT32_MAX ? (Oid) n
		: InvalidOid;
}

/* Was there a chunk, or any other change, less than the retention ago? */
static bool
sweep_is_young(const char *path)
{
	struct stat st;

	if (ldr_upload_retention < 0 || lstat(path, &st) != 0)
		return true;
	return st.st_mtime > time(NULL) - (time_t) ldr_upload_retention * 60;
}

typedef struct SweepRole
{
	Oid			role;
	bool		exists;
	char	   *directory;
} SweepRole;

/* Was its package loaded, and nothing of it written since? */
static bool
sweep_is_loaded(const SweepRole *r, const char *path, const char *name)
{
	char	   *source = sweep_source(r->directory, name);
	struct stat st;

	return source && lstat(path, &st) == 0 && ldr_catalog_exists() &&
		ldr_package_source_is_loaded(source, r->role, time_t_to_timestamptz(st.st_mtim.tv_sec) +
									 st.st_mtim.tv_nsec / 1000);
}

static bool
sweep_may_go(const SweepRole *r, const char *path, const char *name)
{
	return !r->exists || !sweep_is_young(path) ||
		ldr_spool_exists(psprintf("%s/" LDR_SPOOL_DONE, path)) || sweep_is_loaded(r, path, name);
}

/* One entry of a role's directory. Never waits for its lock: who holds it needs it. */
static void
sweep_entry(const char *path, const char *name, void *arg)
{
	SweepRole  *r = arg;
	bool		is_gone = strncmp(name, LDR_SPOOL_GONE, strlen(LDR_SPOOL_GONE)) == 0;
	bool		is_tmp = strncmp(name, LDR_SPOOL_TMP, strlen(LDR_SPOOL_TMP)) == 0;
	char	   *lock;

	if (is_gone)
		lock = pstrdup(name + strlen(LDR_SPOOL_GONE));
	else if (is_tmp)
		lock = psprintf(LDR_SPOOL_UNPACKED "%s", name + strlen(LDR_SPOOL_TMP));
	else
		lock = pstrdup(name);
	if (!is_gone && !is_tmp && !sweep_may_go(r, path, name))
		return;
	if (!ldr_spool_lock(r->role, lock, ExclusiveLock, false))
		return;
	if (is_gone)
	{
		if (ldr_spool_exists(path)) /* whoever had the lock before us may have removed it */
			(void) rmtree(path, true);
	}
	else if (is_tmp || (sweep_may_go(r, path, name) &&
						(!r->exists || !sweep_is_needed(r->directory, name, r->role))))
		sweep_remove(r->directory, name);
	ldr_spool_unlock(r->role, lock, ExclusiveLock);
}

static void
sweep_role(const char *path, const char *name, void *arg)
{
	SweepRole	r = {sweep_oid(name), false, pstrdup(path)};

	if (!OidIsValid(r.role))
		return;
	r.exists = SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(r.role));
	ldr_spool_each(path, sweep_entry, &r);
	if (!r.exists && rmdir(path) != 0 && errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT)
		sweep_log("remove", path);
}

/*
 * A database's part of the spool. One that was dropped cannot come back, nor can anybody be at work
 * there; of several who find it, the first to rename it removes it.
 */
static void
sweep_database(const char *path, const char *name, void *arg)
{
	Oid			db = sweep_oid(name);

	if (db == MyDatabaseId)
		ldr_spool_each(path, sweep_role, NULL);
	else if (OidIsValid(db) && get_database_name(db) == NULL)
		sweep_remove(arg, name);
	else if (strncmp(name, LDR_SPOOL_GONE, strlen(LDR_SPOOL_GONE)) == 0 && !sweep_is_young(path))
		(void) rmtree(path, true);
}

void
ldr_spool_sweep(void)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader sweep",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	char	   *root = ldr_spool_root();

	/* what was listed below was there before: then its database, or its role, is seen as well */
	AcceptInvalidationMessages();
	ldr_spool_each(root, sweep_database, root);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}
