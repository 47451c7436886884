/*
 * source/spool.c: the spool's directories, its locks, and how much of it a role may have.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cryptohash.h"
#include "common/hashfn.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/lock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "loader.h"
#include "source/spool.h"

#define SPOOL_BLOCK		4096	/* what a file or directory counts at least, and in steps of */
#define SPOOL_STEP		(16 * 1024 * 1024)	/* taken from the limit at once, to unpack */

/*
 * Within the time for which one look at the limit is good, nobody writes that much: while that and
 * more is left, the role's spool need not be summed up for each piece.
 */
#define SPOOL_LOOK_MS	1000
#define SPOOL_PLENTY	(UINT64CONST(16) * 1024 * 1024 * 1024)

/* Classes of advisory locks, beside those of worker/locks.c. */
enum
{
	CLASS_UPLOAD = 0x4c20,		/* an upload, or an unpacked archive */
	CLASS_FILE,					/* a file of an upload that is being written */
	CLASS_LIMIT					/* what a role has in the spool, over all databases */
};

static LOCKTAG
spool_tag(Oid db, Oid role, const char *name, uint16 class)
{
	char	   *text = psprintf("%u/%s", role, name);
	uint64		id = hash_bytes_extended((const unsigned char *) text, strlen(text), 0);
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, db, (uint32) (id >> 32), (uint32) id, class);
	pfree(text);
	return tag;
}

bool
ldr_spool_lock(Oid role, const char *name, LOCKMODE mode, bool wait)
{
	LOCKTAG		tag = spool_tag(MyDatabaseId, role, name, CLASS_UPLOAD);

	return LockAcquire(&tag, mode, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

void
ldr_spool_lock_file(const char *file)
{
	LOCKTAG		tag = spool_tag(MyDatabaseId, GetUserId(), file, CLASS_FILE);

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

void
ldr_spool_unlock_file(const char *file)
{
	LOCKTAG		tag = spool_tag(MyDatabaseId, GetUserId(), file, CLASS_FILE);

	(void) LockRelease(&tag, ExclusiveLock, false);
}

void
ldr_spool_unlock(Oid role, const char *name, LOCKMODE mode)
{
	LOCKTAG		tag = spool_tag(MyDatabaseId, role, name, CLASS_UPLOAD);

	(void) LockRelease(&tag, mode, false);
}

void
ldr_spool_error(const char *what)
{
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not %s in the spool: %m", what)));
}

char *
ldr_spool_root(void)
{
	return is_absolute_path(ldr_spool_directory) ? pstrdup(ldr_spool_directory)
		: psprintf("%s/%s", DataDir, ldr_spool_directory);
}

char *
ldr_spool_of(Oid role)
{
	return psprintf("%s/%u/%u", ldr_spool_root(), MyDatabaseId, role);
}

char *
ldr_spool_upload(const char *upload_id)
{
	return psprintf("%s/%s", ldr_spool_of(GetUserId()), upload_id);
}

bool
ldr_spool_exists(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0)
		return true;
	if (errno != ENOENT && errno != ENOTDIR)
		ldr_spool_error("look for a file");
	return false;
}

void
ldr_spool_each(const char *directory, LdrSpoolFn fn, void *arg)
{
	DIR		   *dir = AllocateDir(directory);
	struct dirent *de;

	if (dir == NULL && (errno == ENOENT || errno == ENOTDIR))
		return;
	while ((de = ReadDirExtended(dir, directory, LOG)) != NULL)
	{
		char	   *path;

		CHECK_FOR_INTERRUPTS();
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		path = psprintf("%s/%s", directory, de->d_name);
		fn(path, path + strlen(directory) + 1, arg);
		pfree(path);
	}
	if (dir)
		FreeDir(dir);
}

/* The spool's own directory must be the server's alone: who can write there could set traps. */
static void
spool_check_root(const char *root)
{
	struct stat st;

	if (stat(root, &st) != 0)
		ldr_spool_error("look for its directory");
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("loader.spool_directory is not a directory of the server's own"),
				 errdetail("It must belong to the operating system user of the server, and nobody "
						   "else may write to it."),
				 errhint("Ask an administrator to set its owner, and chmod 700.")));
}

void
ldr_spool_make_parents(const char *path)
{
	char	   *root = ldr_spool_root();
	char	   *parent = pstrdup(path);
	size_t		len = strlen(root);

	Assert(strncmp(path, root, len) == 0 && path[len] == '/');
	if (mkdir(root, S_IRWXU) != 0 && errno != EEXIST)
		ldr_spool_error("make its directory");
	spool_check_root(root);
	for (char *slash = strchr(parent + len + 1, '/'); slash; slash = strchr(slash + 1, '/'))
	{
		*slash = '\0';
		if (mkdir(parent, S_IRWXU) != 0 && errno != EEXIST)
			ldr_spool_error("make a directory");
		*slash = '/';
	}
	pfree(parent);
	pfree(root);
}

bool
ldr_spool_sync(const char *path, bool is_directory)
{
	int			fd = OpenTransientFile(path, (is_directory ? O_RDONLY : O_RDWR) | PG_BINARY);
	bool		done = fd >= 0 && pg_fsync(fd) == 0;
	int			error = errno;

	if (fd >= 0)
		(void) CloseTransientFile(fd);
	errno = error;
	return done;
}

void
ldr_spool_sync_parents(const char *path)
{
	size_t		len = strlen(ldr_spool_root());
	char	   *parent = pstrdup(path);
	char	   *slash;

	while ((slash = strrchr(parent, '/')) != NULL && slash >= parent + len)
	{
		*slash = '\0';
		if (!ldr_spool_sync(parent, true))
			ldr_spool_error("fsync a directory");
	}
}

/* The hash that the server calculates may fail in a library; there is nothing to do about it. */
static void
spool_hash_check(bool ok)
{
	if (!ok)
		elog(ERROR, "could not calculate SHA-256");
}

void
ldr_spool_sha256(const void *data, size_t len, uint8_t *out)
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	spool_hash_check(ctx != NULL && pg_cryptohash_init(ctx) >= 0 &&
					 pg_cryptohash_update(ctx, data, len) >= 0 &&
					 pg_cryptohash_final(ctx, out, LDR_SHA256) >= 0);
	pg_cryptohash_free(ctx);
}

/* The bytes were just written, so they come from memory. */
void
ldr_spool_hash_file(int fd, int64 size, uint8 *out)
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);
	size_t		room = 1024 * 1024;
	char	   *buf = palloc(room);

	spool_hash_check(ctx != NULL && pg_cryptohash_init(ctx) >= 0);
	for (int64 at = 0; at < size;)
	{
		ssize_t		got = pg_pread(fd, buf, Min(room, (size_t) (size - at)), at);

		CHECK_FOR_INTERRUPTS();
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			ldr_spool_error("read a file");
		if (got == 0)
			break;				/* somebody cut it: the hash will not be right */
		spool_hash_check(pg_cryptohash_update(ctx, (uint8 *) buf, got) >= 0);
		at += got;
	}
	spool_hash_check(pg_cryptohash_final(ctx, out, LDR_SHA256) >= 0);
	pg_cryptohash_free(ctx);
	pfree(buf);
}

/* --- the limit -------------------------------------------------------------------------------- */

/* Nobody fills the disk with empty files either. */
uint64
ldr_spool_counts(uint64 size)
{
	return (size / SPOOL_BLOCK + 1) * SPOOL_BLOCK;
}

static void
spool_add_usage(const char *path, const char *name, void *arg)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return;					/* it has gone meanwhile */
	*(uint64 *) arg += ldr_spool_counts(S_ISDIR(st.st_mode) ? 0 : st.st_size);
	if (S_ISDIR(st.st_mode))
		ldr_spool_each(path, spool_add_usage, arg);
}

/* The same below one database's directory, for the current role. */
static void
spool_add_database(const char *path, const char *name, void *arg)
{
	ldr_spool_each(psprintf("%s/%u", path, GetUserId()), spool_add_usage, arg);
}

static uint64
spool_usage(void)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader spool",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	uint64		used = 0;

	ldr_spool_each(ldr_spool_root(), spool_add_database, &used);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	return used;
}

static uint64
spool_limit(void)
{
	return ldr_upload_limit < 0 ? PG_UINT64_MAX : (uint64) ldr_upload_limit * 1024;
}

static void
__attribute__((noreturn))
spool_limit_error(uint64 used, uint64 need)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("loader.upload_limit of role \"%s\" is exceeded",
					GetUserNameFromId(GetUserId(), false)),
			 errdetail("Its uploads and unpacked archives take " UINT64_FORMAT " kB, this needs "
					   UINT64_FORMAT " kB more, and %d kB are allowed.", used / 1024,
					   (need + 1023) / 1024, ldr_upload_limit),
			 errhint("Load or drop what is there (loader_upload_drop), or ask an administrator to "
					 "raise it: ALTER ROLE ... SET loader.upload_limit.")));
}

/* How much more than need bytes the role may have at this moment; 53400 if not even that. */
static uint64
spool_room(uint64 need)
{
	uint64		limit = spool_limit();
	uint64		used;

	if (limit == PG_UINT64_MAX)
		return limit;
	used = spool_usage();
	if (used > limit || need > limit - used)
		spool_limit_error(used, need);
	return limit - used - need;
}

bool
ldr_spool_limit_begin(uint64 need)
{
	static Oid	role = InvalidOid;
	static int	limit = -1;
	static uint64 room = 0;		/* as of the last look, less what was written since */
	static TimestampTz looked = 0;
	TimestampTz now = GetCurrentTimestamp();
	LOCKTAG		tag = spool_tag(InvalidOid, GetUserId(), "", CLASS_LIMIT);

	if (ldr_upload_limit < 0)
		return false;
	if (role == GetUserId() && limit == ldr_upload_limit && room > SPOOL_PLENTY &&
		need < room - SPOOL_PLENTY && !TimestampDifferenceExceeds(looked, now, SPOOL_LOOK_MS))
	{
		room -= need;
		return false;
	}
	role = InvalidOid;
	looked = now;
	room = spool_room(need);
	limit = ldr_upload_limit;
	role = GetUserId();
	if (room > SPOOL_PLENTY)
		return false;
	/* others may be about to take the same room: look again, as the only one */
	role = InvalidOid;
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	looked = GetCurrentTimestamp();
	room = spool_room(need);
	role = GetUserId();
	return true;
}

void
ldr_spool_limit_end(bool locked)
{
	LOCKTAG		tag = spool_tag(InvalidOid, GetUserId(), "", CLASS_LIMIT);

	if (locked)
		(void) LockRelease(&tag, ExclusiveLock, false);
}

/*
 * Steps are small beside what a look at the limit costs, and large beside what an archive can bring
 * in before it is noticed.
 */
void
ldr_spool_charge(LdrSpoolCredit *credit, uint64 bytes)
{
	if (bytes == 0)
		bytes = SPOOL_BLOCK;
	if (credit->bytes < bytes)
	{
		uint64		room = spool_room(bytes);

		credit->bytes = bytes + Min(room, SPOOL_STEP);
		if (credit->total == 0)
			credit->room = room;
	}
	if (credit->total > credit->room)
		spool_limit_error(spool_limit() - credit->room, credit->total);
	credit->bytes -= bytes;
	credit->total += bytes;
}

/* --- what is unfinished ---------------------------------------------------------------------- */

static void
spool_first_file(const char *path, const char *name, void *arg)
{
	char	  **found = arg;
	struct stat st;

	if (*found || lstat(path, &st) != 0)
		return;
	if (S_ISDIR(st.st_mode))
		ldr_spool_each(path, spool_first_file, arg);
	else
		*found = pstrdup(path); /* the entry's own is freed */
}

char *
ldr_spool_unfinished(const char *upload)
{
	char	   *directory = psprintf("%s/" LDR_SPOOL_UNFINISHED, upload);
	char	   *found = NULL;

	ldr_spool_each(directory, spool_first_file, &found);
	return found ? found + strlen(directory) + 1 : NULL;
}
