/*
 * source/origin.c: from the source that a caller names to the directory of a package.
 *
 * What the catalog keeps is what a worker finds the same directory by: the real path, or the
 * upload's name, which is the role's own. An archive is unpacked once, when it is first read; its
 * copy is found again by what the archive looks like (path, size, inode, time), so one that was
 * changed has none.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"

#include "loader.h"
#include "source/origin.h"
#include "source/package.h"
#include "source/path.h"
#include "source/spool.h"
#include "source/spool_name.h"

/* What is in a directory of the spool, but for our own: one name, and whether there are more. */
typedef struct OriginEntries
{
	char	   *name;
	char	   *another;
} OriginEntries;

static void
origin_add_entry(const char *path, const char *name, void *arg)
{
	OriginEntries *e = arg;

	if (name[0] == '.')
		return;
	if (e->name == NULL)
		e->name = pstrdup(name);
	else if (e->another == NULL)
		e->another = pstrdup(name);
}

bool
ldr_origin_is_upload(const char *source)
{
	return strncmp(source, LDR_UPLOAD_PREFIX, strlen(LDR_UPLOAD_PREFIX)) == 0;
}

/* The upload_id of a source, checked. A slash ends it where a file may follow. */
static char *
origin_upload_id(const char *source, bool file)
{
	char	   *id = pstrdup(source + strlen(LDR_UPLOAD_PREFIX));
	LdrError	err = {0};

	if (file && strchr(id, '/'))
		*strchr(id, '/') = '\0';
	if (ldr_upload_id_check(id, &err) != LDR_OK)
		ldr_raise(&err, source);
	return id;
}

static void
__attribute__((noreturn))
origin_no_upload(const char *source)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("\"%s\" does not exist", source),
			 errdetail("Role \"%s\" has nothing of that name in the spool of this database.",
					   GetUserNameFromId(GetUserId(), false)),
			 errhint("Bring it with loader_upload. Each role has its own uploads; they are removed "
					 "when they are loaded, and some time after the last chunk if no package "
					 "needs them (loader.upload_retention).")));
}

/* A package whose files are still coming must not be taken for one without them. */
static void
origin_check_finished(const char *upload, const char *source)
{
	char	   *file = ldr_spool_unfinished(upload);

	if (file)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" is not complete", source),
				 errdetail("File \"%s\" is unfinished.", file),
				 errhint("Give size with its last chunk, or call loader_upload_drop.")));
}

static void
__attribute__((noreturn))
origin_not_one(const char *source, const OriginEntries *e)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not a package that can be loaded", source),
			 e->name ? errdetail("It has more than one: \"%s\" and \"%s\", among others.",
								 e->name, e->another)
			 : errdetail("It is empty."),
			 errhint("An upload holds one package: a directory named by its load_id, or an "
					 "archive.")));
}

/* The one directory below an unpacked archive. */
static LdrOrigin *
origin_of_copy(const char *copy, const char *source, const char *shown)
{
	OriginEntries e = {0};
	LdrOrigin  *o = palloc0(sizeof(LdrOrigin));

	ldr_spool_each(copy, origin_add_entry, &e);
	if (e.name == NULL || e.another)
		origin_not_one(source, &e);
	o->source = pstrdup(source);
	o->shown = psprintf("%s/%s", shown, e.name);
	o->real = psprintf("%s/%s", copy, e.name);
	return o;
}

/* The plain bytes of a file whose descriptor, counted, is taken over. */
static LdrSource *
origin_bytes(int fd, const LdrFileStamp *stamp, const char *shown)
{
	LdrError	err = {0};
	LdrSource  *source = ldr_counted_source(fd, stamp, &err);

	if (source)
		source = ldr_codec_source(source, &err);
	if (source == NULL)
		ldr_raise(&err, shown);
	return source;
}

/* Open a file and count its descriptor. what opens it: it raises an error, or sets errno. */
static int
origin_open(const char *path, int (*what) (const char *path), const char *shown)
{
	int			fd;
	int			error;

	if (!AcquireExternalFD())
		ldr_path_error(shown, errno);
	PG_TRY();
	{
		fd = what(path);
		error = errno;
	}
	PG_CATCH();
	{
		ReleaseExternalFD();
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (fd < 0)
	{
		ReleaseExternalFD();
		ldr_path_error(shown, error);
	}
	return fd;
}

static void
origin_close(int fd)
{
	close(fd);
	ReleaseExternalFD();
}

/* A file of the spool, whose directories have no links. */
static int
origin_open_spooled(const char *path)
{
	return open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

static void
origin_stamp(int fd, LdrFileStamp *stamp, const char *shown)
{
	LdrError	err = {0};

	if (ldr_file_stamp(fd, stamp, &err) != LDR_OK)
	{
		origin_close(fd);
		ldr_raise(&err, shown);
	}
}

/* An upload that is an archive: its copy is beside it. The lock lets only one unpack it. */
static LdrOrigin *
origin_of_upload_archive(const char *upload, const char *id, const char *name, const char *source,
						 LdrOriginUse use)
{
	char	   *copy = psprintf("%s/" LDR_SPOOL_PACKAGE, upload);
	char	   *path = psprintf("%s/%s", upload, name);
	char	   *shown = psprintf("%s/%s", source, name);
	char	   *lock = psprintf("%s/" LDR_SPOOL_PACKAGE, id);
	LdrFileStamp stamp;

	if (use == LDR_ORIGIN_FIRST)
	{
		(void) ldr_spool_lock(GetUserId(), lock, ExclusiveLock, true);
		if (!ldr_spool_exists(copy))
		{
			int			fd = origin_open(path, origin_open_spooled, shown);

			origin_stamp(fd, &stamp, shown);
			ldr_spool_unpack(origin_bytes(fd, &stamp, shown), shown, NULL,
							 psprintf("%s/.tmp", upload), copy);
		}
		ldr_spool_unlock(GetUserId(), lock, ExclusiveLock);
	}
	return origin_of_copy(copy, source, shown);
}

static LdrOrigin *
origin_of_upload(const char *source, LdrOriginUse use)
{
	char	   *id = origin_upload_id(source, false);
	char	   *upload = ldr_spool_upload(id);
	OriginEntries e = {0};

	/* until commit: then the catalog says that a package needs it */
	if (use == LDR_ORIGIN_FIRST)
		(void) ldr_spool_lock(GetUserId(), id, ShareLock, true);
	if (!ldr_spool_exists(upload))
		origin_no_upload(source);
	if (use == LDR_ORIGIN_FIRST)
		origin_check_finished(upload, source);
	ldr_spool_each(upload, origin_add_entry, &e);
	if (e.name == NULL || e.another)
		origin_not_one(source, &e);
	if (ldr_archive_ending(e.name) > 0)
		return origin_of_upload_archive(upload, id, e.name, source, use);
	return origin_of_copy(upload, source, source);
}

/* What the copy of an archive is called: the same for as long as the archive is the same. */
static char *
origin_copy_key(const char *real, const LdrFileStamp *stamp)
{
	char	   *text = psprintf(UINT64_FORMAT " " UINT64_FORMAT " " INT64_FORMAT " %s",
								(uint64) stamp->size, (uint64) stamp->inode,
								(int64) stamp->mtime_ns, real);
	uint8		hash[LDR_SHA256];
	char		hex[2 * LDR_SHA256 + 1];

	ldr_spool_sha256(text, strlen(text), hash);
	hex[hex_encode((const char *) hash, LDR_SHA256, hex)] = '\0';
	return pnstrdup(hex, 32);
}

/*
 * Have a copy of the archive, kept until commit. Takes fd over. Whoever has to unpack it is alone
 * with it meanwhile; the shared lock is taken before the other is let go.
 */
static void
origin_make_copy(int fd, const LdrFileStamp *stamp, const char *real, const char *name,
				 const char *key)
{
	Oid			role = GetUserId();
	char	   *copy = psprintf("%s/%s", ldr_spool_of(role), name);
	LdrSource  *tar = origin_bytes(fd, stamp, real);

	(void) ldr_spool_lock(role, name, ShareLock, true);
	if (ldr_spool_exists(copy))
	{
		tar->close(tar);
		return;
	}
	ldr_spool_unlock(role, name, ShareLock);
	(void) ldr_spool_lock(role, name, ExclusiveLock, true);
	if (ldr_spool_exists(copy))
		tar->close(tar);
	else
		ldr_spool_unpack(tar, real, real,
						 psprintf("%s/" LDR_SPOOL_TMP "%s", ldr_spool_of(role), key), copy);
	(void) ldr_spool_lock(role, name, ShareLock, true);
	ldr_spool_unlock(role, name, ExclusiveLock);
}

/* An archive somewhere on the server. */
static LdrOrigin *
origin_of_archive(const char *real, LdrOriginUse use)
{
	int			fd = origin_open(real, ldr_file_open, real);
	LdrFileStamp stamp;
	char	   *key;
	char	   *name;
	char	   *copy;

	origin_stamp(fd, &stamp, real);
	key = origin_copy_key(real, &stamp);
	name = psprintf(LDR_SPOOL_UNPACKED "%s", key);
	copy = psprintf("%s/%s", ldr_spool_of(GetUserId()), name);
	if (use == LDR_ORIGIN_FIRST)
		origin_make_copy(fd, &stamp, real, name, key);
	else
		origin_close(fd);
	if (!ldr_spool_exists(copy))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("archive \"%s\" is not the one that was registered", real),
				 errdetail("It was changed since, or its unpacked copy is gone from the spool."),
				 errhint("Register it anew, with loader_start and its path.")));
	return origin_of_copy(copy, real, real);
}

LdrOrigin *
ldr_origin_find(const char *source, LdrOriginUse use)
{
	LdrOrigin  *o;
	char	   *real;
	struct stat st;

	if (ldr_origin_is_upload(source))
		return origin_of_upload(source, use);
	real = ldr_directory_resolve(source);
	if (ldr_archive_ending(real) > 0 && lstat(real, &st) == 0 && S_ISREG(st.st_mode))
		return origin_of_archive(real, use);
	o = palloc0(sizeof(LdrOrigin));
	o->source = o->shown = o->real = real;
	return o;
}

/* The file of a source upload:<upload_id>/<file>, checked. */
static char *
origin_upload_file(const char *source, const char *id)
{
	const char *file = source + strlen(LDR_UPLOAD_PREFIX) + strlen(id);
	LdrSpoolKind kind;
	LdrError	err = {0};

	if (ldr_spool_name_check(*file == '/' ? file + 1 : file, &kind, &err) != LDR_OK)
		ldr_raise(&err, source);
	return pstrdup(file + 1);
}

char *
ldr_origin_file(const char *source)
{
	char	   *id = origin_upload_id(source, true);
	char	   *file = origin_upload_file(source, id);
	char	   *upload = ldr_spool_upload(id);
	char	   *path = psprintf("%s/%s", upload, file);

	(void) ldr_spool_lock(GetUserId(), id, ShareLock, true);
	if (!ldr_spool_exists(path))
	{
		if (ldr_spool_exists(psprintf("%s/" LDR_SPOOL_UNFINISHED "/%s", upload, file)))
			origin_check_finished(upload, psprintf(LDR_UPLOAD_PREFIX "%s", id));
		origin_no_upload(source);
	}
	return path;
}

static void
origin_find_file(const char *path, const char *name, void *arg)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return;
	if (S_ISDIR(st.st_mode) && name[0] != '.')
		ldr_spool_each(path, origin_find_file, arg);
	else if (!S_ISDIR(st.st_mode))
		*(bool *) arg = true;
}

static bool
origin_has_files(const char *upload)
{
	bool		found = false;

	ldr_spool_each(upload, origin_find_file, &found);
	return found;
}

void
ldr_origin_file_remove(const char *source)
{
	char	   *id;
	char	   *upload;
	char	   *path;

	if (!ldr_origin_is_upload(source))
		return;
	id = origin_upload_id(source, true);
	upload = ldr_spool_upload(id);
	path = psprintf("%s/%s", upload, origin_upload_file(source, id));
	if (unlink(path) != 0 && errno != ENOENT)
		ereport(LOG, (errcode_for_file_access(), errmsg("could not remove \"%s\": %m", path)));
	/* somebody writes there, or reads: a sweep sees to the rest */
	if (!ldr_spool_lock(GetUserId(), id, ExclusiveLock, false))
		return;
	if (ldr_spool_unfinished(upload) == NULL && !origin_has_files(upload))
		ldr_spool_remove(GetUserId(), id);
	ldr_spool_unlock(GetUserId(), id, ExclusiveLock);
}
