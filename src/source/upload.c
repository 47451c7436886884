/*
 * source/upload.c: files that come by SQL, piece by piece.
 *
 * A file grows under .unfinished and is renamed when it is complete: size and hash are right, and
 * it is on disk. So a crash leaves either the file, or a part of it that the client can go on with; a
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

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/wait_event.h"

#include "fault.h"
#include "loader.h"
#include "source/spool.h"
#include "source/spool_name.h"

#define UPLOAD_PIECE	(1024 * 1024)	/* written between two looks for a cancel */

/* For messages: as a source names it, and no path of the server. */
static char *
upload_shown(const LdrSpoolChunk *chunk)
{
	return psprintf(LDR_UPLOAD_PREFIX "%s/%s", chunk->upload_id, chunk->file);
}

/* Open a regular file of the spool, made if flags say so; -1 if it, or a directory, is missing. */
static int
upload_open(const char *path, int flags, int64 *size)
{
	int			fd = OpenTransientFilePerm(path, flags | O_NOFOLLOW | PG_BINARY,
										   S_IRUSR | S_IWUSR);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return -1;
	if (fd < 0 || fstat(fd, &st) != 0)
		ldr_spool_error("open a file");
	if (!S_ISREG(st.st_mode))
		elog(ERROR, "\"%s\" in the spool is not a regular file", path);
	*size = st.st_size;
	return fd;
}

static void
upload_close(int fd)
{
	if (CloseTransientFile(fd) != 0)
		ldr_spool_error("close a file");
}

static void
upload_write_all(int fd, const char *data, size_t len, int64 offset)
{
	while (len > 0)
	{
		ssize_t		n;

		CHECK_FOR_INTERRUPTS();
		errno = 0;
		pgstat_report_wait_start(PG_WAIT_EXTENSION);
		n = pg_pwrite(fd, data, Min(len, UPLOAD_PIECE), offset);
		pgstat_report_wait_end();
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			if (errno == 0)
				errno = ENOSPC;
			ldr_spool_error("write a file");
		}
		data += n;
		len -= n;
		offset += n;
	}
}

static char *
upload_hex(const uint8 *hash)
{
	char	   *hex = palloc(2 * LDR_SHA256 + 1);

	hex[hex_encode((const char *) hash, LDR_SHA256, hex)] = '\0';
	return hex;
}

static void
upload_check_hash(const LdrSpoolChunk *chunk, const uint8 *hash, const char *hint)
{
	if (memcmp(hash, chunk->sha256, LDR_SHA256) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("SHA-256 of \"%s\" is not the one given", upload_shown(chunk)),
				 errdetail("The bytes that came have %s, not %s.", upload_hex(hash),
						   upload_hex(chunk->sha256)),
				 errhint("%s", hint)));
}

/* Are these bytes in the file, at this place? */
static bool
upload_has(int fd, const char *data, size_t len, int64 offset)
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
			ldr_spool_error("read a file");
		if (got == 0 || memcmp(buf, data + at, got) != 0)
			return false;
		at += got;
	}
	pfree(buf);
	return true;
}

/* The file is complete already. Is this the call that completed it, once more? */
static void
upload_repeat(const LdrSpoolChunk *chunk, int fd, int64 size)
{
	bool		same = chunk->size == size && chunk->offset + (int64) chunk->len == size;

	if (same && chunk->sha256)
	{
		uint8		hash[LDR_SHA256];

		ldr_spool_hash_file(fd, size, hash);
		same = memcmp(hash, chunk->sha256, LDR_SHA256) == 0;
	}
	else if (same)
		same = upload_has(fd, chunk->data, chunk->len, chunk->offset);
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" is complete already, and is not this file", upload_shown(chunk)),
				 errdetail("It has " INT64_FORMAT " bytes.", size),
				 errhint("Choose another upload_id, or call loader_upload_drop first.")));
}

/* Does the chunk fit to what is there? */
static void
upload_check_place(const LdrSpoolChunk *chunk, int64 there)
{
	if (chunk->offset > there)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("offset " INT64_FORMAT " is behind the end of \"%s\"", chunk->offset,
						upload_shown(chunk)),
				 errdetail(INT64_FORMAT " bytes of it are there.", there),
				 errhint("Go on at that offset.")));
	if (chunk->size >= 0 && chunk->offset + (int64) chunk->len != chunk->size)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" would have " INT64_FORMAT " bytes, not " INT64_FORMAT,
						upload_shown(chunk), chunk->offset + (int64) chunk->len, chunk->size),
				 errhint("Give size, and sha256, with the last chunk of the file.")));
}

/* All bytes are there. Check them, bring them to disk, give the file its name. */
static void
upload_complete(const LdrSpoolChunk *chunk, int fd, const char *part, const char *path)
{
	uint8		hash[LDR_SHA256];

	if (chunk->sha256 && chunk->offset > 0) /* else the chunk is the file, and was looked at */
	{
		ldr_spool_hash_file(fd, chunk->size, hash);
		if (memcmp(hash, chunk->sha256, LDR_SHA256) != 0)
		{
			/* nobody can tell which of them are wrong */
			(void) unlink(part);
			upload_check_hash(chunk, hash, "What was there of the file is removed; send it again.");
		}
	}
	if (pg_fsync(fd) != 0)
	{
		int			error = errno;

		(void) unlink(part);	/* what is in memory of it may not be what is on disk */
		errno = error;
		ldr_spool_error("fsync a file");
	}
	ldr_spool_make_parents(path);
	LDR_FAULT("upload: synced");
	if (rename(part, path) != 0)
		ldr_spool_error("rename a file");
	/* all of them each time: one above may have been removed and made anew since the last file */
	LDR_FAULT("upload: renamed");
	ldr_spool_sync_parents(path);
}

/* Write the chunk to the unfinished file; returns how many bytes there are. */
static int64
upload_append(const LdrSpoolChunk *chunk, const char *part, const char *path)
{
	int64		there = 0;
	int64		end = chunk->offset + (int64) chunk->len;
	int			fd = upload_open(part, O_RDWR, &there);
	bool		locked;

	upload_check_place(chunk, there);
	if (chunk->sha256 && chunk->offset == 0)
	{
		uint8		hash[LDR_SHA256];

		ldr_spool_sha256(chunk->data, chunk->len, hash);
		upload_check_hash(chunk, hash, "Send it again.");
	}
	locked = ldr_spool_limit_begin(fd < 0 ? ldr_spool_counts(end)
								   : ldr_spool_counts(Max(end, there)) - ldr_spool_counts(there));
	if (fd < 0)
	{
		ldr_spool_make_parents(part);
		fd = upload_open(part, O_RDWR | O_CREAT, &there);
		if (fd < 0)
			ldr_spool_error("make a file");
	}
	if (chunk->offset < there && ftruncate(fd, chunk->offset) != 0)
		ldr_spool_error("truncate a file");
	LDR_FAULT("upload: place made");
	upload_write_all(fd, chunk->data, chunk->len, chunk->offset);
	LDR_FAULT("upload: written");
	ldr_spool_limit_end(locked);
	if (chunk->size >= 0)
		upload_complete(chunk, fd, part, path);
	upload_close(fd);
	return end;
}

static void
upload_check_chunk(const LdrSpoolChunk *chunk)
{
	LdrSpoolKind kind;
	LdrError	err = {0};

	if (ldr_upload_id_check(chunk->upload_id, &err) != LDR_OK ||
		ldr_spool_name_check(chunk->file, &kind, &err) != LDR_OK)
		ldr_raise(&err, upload_shown(chunk));
	if (chunk->offset < 0 || chunk->offset > PG_INT64_MAX - (int64) chunk->len)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("offset " INT64_FORMAT " is out of range", chunk->offset)));
}

/*
 * For sweeps: the upload is not one that was done with, and how old it is. By the clock that says
 * when a package has ended: what the file system takes for the present may lie before that.
 */
static void
upload_touch(const char *upload)
{
	struct timespec now[2];

	(void) unlink(psprintf("%s/" LDR_SPOOL_DONE, upload));
	(void) clock_gettime(CLOCK_REALTIME, &now[0]);
	now[1] = now[0];
	(void) utimensat(AT_FDCWD, upload, now, 0);
}

int64_t
ldr_spool_write(const LdrSpoolChunk *chunk)
{
	Oid			role = GetUserId();
	char	   *upload = ldr_spool_upload(chunk->upload_id);
	char	   *path = psprintf("%s/%s", upload, chunk->file);
	char	   *part = psprintf("%s/" LDR_SPOOL_UNFINISHED "/%s", upload, chunk->file);
	char	   *lock = psprintf("%s/%s", chunk->upload_id, chunk->file);
	int64		there = 0;
	int			fd;

	upload_check_chunk(chunk);
	(void) ldr_spool_lock(role, chunk->upload_id, ShareLock, true);
	ldr_spool_lock_file(lock);
	fd = upload_open(path, O_RDONLY, &there);
	if (fd >= 0)
	{
		if (chunk->data)
			upload_repeat(chunk, fd, there);
		upload_close(fd);
	}
	else if (chunk->data)
	{
		there = upload_append(chunk, part, path);
		upload_touch(upload);
	}
	else if ((fd = upload_open(part, O_RDONLY, &there)) >= 0)
		upload_close(fd);
	ldr_spool_unlock_file(lock);
	ldr_spool_unlock(role, chunk->upload_id, ShareLock);
	return there;
}
