/*
 * source/spool.c: files that come by SQL, piece by piece.
 *
 * A file grows under .unfinished and is renamed when it is complete: size and hash are right, and it
 * is on disk. So a crash leaves either the file, or a part of it that the client can go on with; a
 * part is never taken for the file. A piece that was written twice, because the answer to the first
 * was lost, lands in the same place.
 *
 * Locks, in this order, let go at the end of the call: the upload (shared, so that no sweep comes
 * between), the file, the role's limit. The last is taken only where the limit is near.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#include "common/cryptohash.h"
#include "common/hashfn.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "loader.h"
#include "source/spool.h"
#include "source/spool_name.h"

#define SPOOL_PIECE		(1024 * 1024)	/* written between two looks for a cancel */
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
ldr_spool_unlock(Oid role, const char *name, LOCKMODE mode)
{
	LOCKTAG		tag = spool_tag(MyDatabaseId, role, name, CLASS_UPLOAD);

	(void) LockRelease(&tag, mode, false);
}

static void
__attribute__((noreturn))
spool_error(const char *what)
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
		spool_error("look for a file");
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
		spool_error("look for its directory");
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
		spool_error("make its directory");
	spool_check_root(root);
	for (char *slash = strchr(parent + len + 1, '/'); slash; slash = strchr(slash + 1, '/'))
	{
		*slash = '\0';
		if (mkdir(parent, S_IRWXU) != 0 && errno != EEXIST)
			spool_error("make a directory");
		*slash = '/';
	}
	pfree(parent);
	pfree(root);
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
		if (fsync_fname_ext(parent, true, false, ERROR) != 0)
			spool_error("fsync a directory");
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

/* The same of a file's first size bytes. They were just written, so they come from memory. */
static void
spool_hash_file(int fd, int64 size, uint8 *out)
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
			spool_error("read a file");
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

/* What a file or directory of that size counts: nobody fills the disk with empty ones either. */
static uint64
spool_counts(uint64 size)
{
	return (size / SPOOL_BLOCK + 1) * SPOOL_BLOCK;
}

static void
spool_add_usage(const char *path, const char *name, void *arg)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return;					/* it has gone meanwhile */
	*(uint64 *) arg += spool_counts(S_ISDIR(st.st_mode) ? 0 : st.st_size);
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

/*
 * May the role have so many bytes more? Raises 53400 if not. True if the lock of its limit is held
 * now, which the caller lets go when they are written: until then others would not see them.
 */
static bool
spool_limit_begin(uint64 need)
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
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	looked = GetCurrentTimestamp();
	room = spool_room(need);
	limit = ldr_upload_limit;
	role = GetUserId();
	return true;
}

static void
spool_limit_end(bool locked)
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

/* --- writing ---------------------------------------------------------------------------------- */

/* For messages: as a source names it, and no path of the server. */
static char *
spool_shown(const LdrSpoolChunk *chunk)
{
	return psprintf(LDR_UPLOAD_PREFIX "%s/%s", chunk->upload_id, chunk->file);
}

/* Open a regular file of the spool, made if flags say so; -1 if it, or a directory, is missing. */
static int
spool_open(const char *path, int flags, int64 *size)
{
	int			fd = OpenTransientFilePerm(path, flags | O_NOFOLLOW | PG_BINARY,
										   S_IRUSR | S_IWUSR);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return -1;
	if (fd < 0 || fstat(fd, &st) != 0)
		spool_error("open a file");
	if (!S_ISREG(st.st_mode))
		elog(ERROR, "\"%s\" in the spool is not a regular file", path);
	*size = st.st_size;
	return fd;
}

static void
spool_close(int fd)
{
	if (CloseTransientFile(fd) != 0)
		spool_error("close a file");
}

static void
spool_write_all(int fd, const char *data, size_t len, int64 offset)
{
	while (len > 0)
	{
		ssize_t		n;

		CHECK_FOR_INTERRUPTS();
		errno = 0;
		pgstat_report_wait_start(PG_WAIT_EXTENSION);
		n = pg_pwrite(fd, data, Min(len, SPOOL_PIECE), offset);
		pgstat_report_wait_end();
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			if (errno == 0)
				errno = ENOSPC;
			spool_error("write a file");
		}
		data += n;
		len -= n;
		offset += n;
	}
}

static char *
spool_hex(const uint8 *hash)
{
	char	   *hex = palloc(2 * LDR_SHA256 + 1);

	hex[hex_encode((const char *) hash, LDR_SHA256, hex)] = '\0';
	return hex;
}

static void
spool_check_hash(const LdrSpoolChunk *chunk, const uint8 *hash, const char *hint)
{
	if (memcmp(hash, chunk->sha256, LDR_SHA256) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("SHA-256 of \"%s\" is not the one given", spool_shown(chunk)),
				 errdetail("The bytes that came have %s, not %s.", spool_hex(hash),
						   spool_hex(chunk->sha256)),
				 errhint("%s", hint)));
}

/* Are these bytes in the file, at this place? */
static bool
spool_has(int fd, const char *data, size_t len, int64 offset)
{
	size_t		room = Min(len, 1024 * 1024);
	char	   *buf = palloc(room + 1);

	for (size_t at = 0; at < len;)
	{
		ssize_t		got = pg_pread(fd, buf, Min(room, len - at), offset + at);

		CHECK_FOR_INTERRUPTS();
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			spool_error("read a file");
		if (got == 0 || memcmp(buf, data + at, got) != 0)
			return false;
		at += got;
	}
	pfree(buf);
	return true;
}

/* The file is complete already. Is this the call that completed it, once more? */
static void
spool_repeat(const LdrSpoolChunk *chunk, int fd, int64 size)
{
	bool		same = chunk->size == size && chunk->offset + (int64) chunk->len == size;

	if (same && chunk->sha256)
	{
		uint8		hash[LDR_SHA256];

		spool_hash_file(fd, size, hash);
		same = memcmp(hash, chunk->sha256, LDR_SHA256) == 0;
	}
	else if (same)
		same = spool_has(fd, chunk->data, chunk->len, chunk->offset);
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" is complete already, and is not this file", spool_shown(chunk)),
				 errdetail("It has " INT64_FORMAT " bytes.", size),
				 errhint("Choose another upload_id, or call loader_upload_drop first.")));
}

/* Does the chunk fit to what is there? */
static void
spool_check_place(const LdrSpoolChunk *chunk, int64 there)
{
	if (chunk->offset > there)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("offset " INT64_FORMAT " is behind the end of \"%s\"", chunk->offset,
						spool_shown(chunk)),
				 errdetail(INT64_FORMAT " bytes of it are there.", there),
				 errhint("Go on at that offset.")));
	if (chunk->size >= 0 && chunk->offset + (int64) chunk->len != chunk->size)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" would have " INT64_FORMAT " bytes, not " INT64_FORMAT,
						spool_shown(chunk), chunk->offset + (int64) chunk->len, chunk->size),
				 errhint("Give size, and sha256, with the last chunk of the file.")));
}

/*
 * Have the directory of a complete file on disk. Those above it once in a session: they are the same
 * for all files of a package.
 */
static void
spool_sync_directory(const char *path)
{
	static char synced[MAXPGPATH] = "";
	char	   *parent = pnstrdup(path, strrchr(path, '/') - path);

	if (strcmp(parent, synced) != 0)
		ldr_spool_sync_parents(path);
	else if (fsync_fname_ext(parent, true, false, ERROR) != 0)
		spool_error("fsync a directory");
	strlcpy(synced, parent, sizeof(synced));
}

/* All bytes are there. Check them, bring them to disk, give the file its name. */
static void
spool_complete(const LdrSpoolChunk *chunk, int fd, const char *part, const char *path)
{
	uint8		hash[LDR_SHA256];

	if (chunk->sha256 && chunk->offset > 0) /* else the chunk is the file, and was looked at */
	{
		spool_hash_file(fd, chunk->size, hash);
		if (memcmp(hash, chunk->sha256, LDR_SHA256) != 0)
		{
			/* nobody can tell which of them are wrong */
			(void) unlink(part);
			spool_check_hash(chunk, hash, "What was there of the file is removed; send it again.");
		}
	}
	if (pg_fsync(fd) != 0)
	{
		int			error = errno;

		(void) unlink(part);	/* what is in memory of it may not be what is on disk */
		errno = error;
		spool_error("fsync a file");
	}
	ldr_spool_make_parents(path);
	if (rename(part, path) != 0)
		spool_error("rename a file");
	spool_sync_directory(path);
}

/* Write the chunk to the unfinished file; returns how many bytes there are. */
static int64
spool_append(const LdrSpoolChunk *chunk, const char *part, const char *path)
{
	int64		there = 0;
	int64		end = chunk->offset + (int64) chunk->len;
	int			fd = spool_open(part, O_RDWR, &there);
	bool		locked;

	spool_check_place(chunk, there);
	if (chunk->sha256 && chunk->offset == 0)
	{
		uint8		hash[LDR_SHA256];

		ldr_spool_sha256(chunk->data, chunk->len, hash);
		spool_check_hash(chunk, hash, "Send it again.");
	}
	locked = spool_limit_begin(fd < 0 ? spool_counts(end)
							   : spool_counts(Max(end, there)) - spool_counts(there));
	if (fd < 0)
	{
		ldr_spool_make_parents(part);
		fd = spool_open(part, O_RDWR | O_CREAT, &there);
		if (fd < 0)
			spool_error("make a file");
	}
	if (chunk->offset < there && ftruncate(fd, chunk->offset) != 0)
		spool_error("truncate a file");
	spool_write_all(fd, chunk->data, chunk->len, chunk->offset);
	spool_limit_end(locked);
	if (chunk->size >= 0)
		spool_complete(chunk, fd, part, path);
	spool_close(fd);
	return end;
}

static void
spool_check_chunk(const LdrSpoolChunk *chunk)
{
	LdrSpoolKind kind;
	LdrError	err = {0};

	if (ldr_upload_id_check(chunk->upload_id, &err) != LDR_OK ||
		ldr_spool_name_check(chunk->file, &kind, &err) != LDR_OK)
		ldr_raise(&err, spool_shown(chunk));
	if (chunk->offset < 0 || chunk->offset > PG_INT64_MAX - (int64) chunk->len)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("offset " INT64_FORMAT " is out of range", chunk->offset)));
}

int64_t
ldr_spool_write(const LdrSpoolChunk *chunk)
{
	Oid			role = GetUserId();
	char	   *upload = ldr_spool_upload(chunk->upload_id);
	char	   *path = psprintf("%s/%s", upload, chunk->file);
	char	   *part = psprintf("%s/" LDR_SPOOL_UNFINISHED "/%s", upload, chunk->file);
	LOCKTAG		tag = spool_tag(MyDatabaseId, role, psprintf("%s/%s", chunk->upload_id, chunk->file),
								CLASS_FILE);
	int64		there = 0;
	int			fd;

	spool_check_chunk(chunk);
	(void) ldr_spool_lock(role, chunk->upload_id, ShareLock, true);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	fd = spool_open(path, O_RDONLY, &there);
	if (fd >= 0)
	{
		if (chunk->data)
			spool_repeat(chunk, fd, there);
		spool_close(fd);
	}
	else if (chunk->data)
	{
		there = spool_append(chunk, part, path);
		/* the age of the upload, for sweeps */
		(void) utime(upload, NULL);
	}
	else if ((fd = spool_open(part, O_RDONLY, &there)) >= 0)
		spool_close(fd);
	(void) LockRelease(&tag, ExclusiveLock, false);
	ldr_spool_unlock(role, chunk->upload_id, ShareLock);
	return there;
}

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
		*found = pstrdup(path);	/* the entry's own is freed */
}

char *
ldr_spool_unfinished(const char *upload)
{
	char	   *directory = psprintf("%s/" LDR_SPOOL_UNFINISHED, upload);
	char	   *found = NULL;

	ldr_spool_each(directory, spool_first_file, &found);
	return found ? found + strlen(directory) + 1 : NULL;
}
