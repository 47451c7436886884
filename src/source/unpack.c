/*
 * source/unpack.c: an archive becomes a directory of the spool, all of it or nothing.
 *
 * It is unpacked beside its place, brought to disk, and renamed. What a crash leaves is removed by
 * the next one who unpacks it, or by a sweep.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#include "fault.h"
#include "loader.h"
#include "source/archive.h"
#include "source/spool.h"

typedef struct Unpack
{
	LdrArchive *archive;
	const char *shown;			/* the archive, in messages */
	const char *tmp;			/* the directory it goes to */
	LdrSpoolCredit credit;
	uint64		files;			/* of the package */
} Unpack;

static void
unpack_release(void *arg)
{
	Unpack	   *u = arg;

	if (u->archive)
		ldr_archive_close(u->archive);
}

static void
__attribute__((noreturn))
unpack_error(const Unpack *u, const char *what)
{
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not %s while unpacking \"%s\": %m", what, u->shown)));
}

/* Make a file that is not there yet: a name that comes twice would decide which of them counts. */
static int
unpack_create(Unpack *u, const char *path, const char *name)
{
	int			flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | PG_BINARY;
	int			fd = OpenTransientFilePerm(path, flags, S_IRUSR | S_IWUSR);

	if (fd < 0 && errno == ENOENT)
	{
		ldr_spool_make_parents(path);
		fd = OpenTransientFilePerm(path, flags, S_IRUSR | S_IWUSR);
	}
	if (fd < 0 && errno == EEXIST)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is in the archive more than once", ldr_printable(name)),
				 errdetail("Archive \"%s\".", u->shown),
				 errhint("Pack the package again.")));
	if (fd < 0)
		unpack_error(u, "make a file");
	return fd;
}

static void
unpack_write(Unpack *u, int fd, const char *data, size_t len)
{
	while (len > 0)
	{
		ssize_t		n;

		CHECK_FOR_INTERRUPTS();
		errno = 0;
		n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			if (errno == 0)
				errno = ENOSPC;
			unpack_error(u, "write a file");
		}
		data += n;
		len -= n;
	}
}

static void
unpack_file(Unpack *u, const LdrMember *member)
{
	char	   *path = psprintf("%s/%s", u->tmp, member->name);
	LdrError	err = {0};
	const char *data;
	ssize_t		got;
	int			fd;

	fd = unpack_create(u, path, member->name);
	u->files++;
	while ((got = ldr_archive_read(u->archive, &data, &err)) > 0)
	{
		ldr_spool_charge(&u->credit, got);
		unpack_write(u, fd, data, got);
	}
	if (got < 0)
		ldr_raise(&err, psprintf("%s/%s", u->shown, member->name));
	LDR_FAULT("unpack: a file written");
	if (CloseTransientFile(fd) != 0)
		unpack_error(u, "close a file");
	pfree(path);
}

static void
unpack_members(Unpack *u)
{
	LdrMember	member;
	LdrError	err = {0};
	LdrStatus	status;

	while ((status = ldr_archive_next(u->archive, &member, &err)) == LDR_OK)
	{
		CHECK_FOR_INTERRUPTS();
		ldr_spool_charge(&u->credit, 0);
		if (member.kind == LDR_MEMBER_FILE)
			unpack_file(u, &member);
	}
	if (status != LDR_END)
		ldr_raise(&err, u->shown);
	if (u->files == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("archive \"%s\" has no package in it", u->shown),
				 errhint("Pack one directory, named by its load_id, with schema.json, "
						 "load_package_state.json and new_jobs in it.")));
}

/* Whose copy it is: a sweep, which sees the copy, has to ask whether a package needs it. */
static void
unpack_origin(Unpack *u, const char *origin)
{
	int			fd = OpenTransientFilePerm(psprintf("%s/" LDR_SPOOL_SOURCE, u->tmp),
										   O_WRONLY | O_CREAT | O_EXCL | PG_BINARY,
										   S_IRUSR | S_IWUSR);

	if (fd < 0)
		unpack_error(u, "make a file");
	unpack_write(u, fd, origin, strlen(origin));
	if (CloseTransientFile(fd) != 0)
		unpack_error(u, "close a file");
}

static void
unpack_sync(const char *path, const char *name, void *arg)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		unpack_error(arg, "look for a file");
	if (S_ISDIR(st.st_mode))
		ldr_spool_each(path, unpack_sync, arg);
	if (!ldr_spool_sync(path, S_ISDIR(st.st_mode)))
		unpack_error(arg, "fsync a file");
}

void
ldr_spool_unpack(LdrSource *tar, const char *shown, const char *origin, const char *tmp,
				 const char *final)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader archive",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Unpack	   *u = palloc0(sizeof(Unpack));
	MemoryContextCallback *cb = palloc0(sizeof(MemoryContextCallback));
	LdrError	err = {0};

	u->shown = shown;
	u->tmp = tmp;
	cb->func = unpack_release;
	cb->arg = u;
	MemoryContextRegisterResetCallback(cxt, cb);
	if ((u->archive = ldr_archive_open(tar, &err)) == NULL)
		ldr_raise(&err, shown);
	if (ldr_spool_exists(tmp) && !rmtree(tmp, true))
		ereport(ERROR, (errmsg("could not remove what an earlier unpacking left")));
	PG_TRY();
	{
		ldr_spool_make_parents(psprintf("%s/", tmp));
		unpack_members(u);
		if (origin)
			unpack_origin(u, origin);
		unpack_sync(tmp, "", u);
		LDR_FAULT("unpack: synced");
		if (rename(tmp, final) != 0)
			unpack_error(u, "rename a directory");
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		(void) rmtree(tmp, true);
		PG_RE_THROW();
	}
	PG_END_TRY();
	LDR_FAULT("unpack: renamed");
	ldr_spool_sync_parents(final);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}
