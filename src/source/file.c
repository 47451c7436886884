/*
 * source/file.c: the bytes of a regular file, and the check that nobody changed it meanwhile.
 * No postgres.h.
 *
 * The stamp is compared when the source is opened and again at the end of the file: a reader that
 * saw the last byte knows that it saw one version of the file. Reading goes by position, so it
 * does not matter where the descriptor stands.
 */
#include "source/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"

typedef struct FileSource
{
	LdrSource	base;
	int			fd;
	uint64_t	offset;			/* bytes read so far */
	LdrFileStamp stamp;			/* of the file when it was opened */
} FileSource;

static LdrStatus
file_errno(LdrError *err, const char *what)
{
	err->sys_errno = errno;
	return ldr_fail(err, LDR_IO, "could not %s file: %s", what, strerror(err->sys_errno));
}

static LdrStatus
file_changed(LdrError *err)
{
	strcpy(err->hint, "Files of a package must not be written to while it is loaded.");
	return ldr_fail(err, LDR_FILE_CHANGED, "file was changed after it was registered");
}

static bool
file_same(const LdrFileStamp *a, const LdrFileStamp *b)
{
	return a->size == b->size && a->inode == b->inode && a->mtime_ns == b->mtime_ns;
}

LdrStatus
ldr_file_stamp(int fd, LdrFileStamp *stamp, LdrError *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return file_errno(err, "stat");
	if (!S_ISREG(st.st_mode))
		return ldr_fail(err, LDR_UNSUPPORTED, "not a regular file");
	stamp->size = (uint64_t) st.st_size;
	stamp->inode = (uint64_t) st.st_ino;
#ifdef __APPLE__
	stamp->mtime_ns = (int64_t) st.st_mtimespec.tv_sec * 1000000000 + st.st_mtimespec.tv_nsec;
#else
	stamp->mtime_ns = (int64_t) st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
#endif
	return LDR_OK;
}

/* At the end of the file: it must still be as it was, and have given all its bytes. */
static ssize_t
file_end(FileSource *s, LdrError *err)
{
	LdrFileStamp now;

	if (ldr_file_stamp(s->fd, &now, err) != LDR_OK)
		return -1;
	if (!file_same(&now, &s->stamp) || s->offset != now.size)
	{
		file_changed(err);
		return -1;
	}
	return 0;
}

static ssize_t
file_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	FileSource *s = (FileSource *) self;
	ssize_t		got;

	if (n == 0)
		return 0;
	LDR_FAULT_MUTE("read: file");
	do
		got = pread(s->fd, buf, n, (off_t) s->offset);
	while (got < 0 && errno == EINTR);
	if (got < 0)
	{
		file_errno(err, "read");
		return -1;
	}
	if (got == 0)
		return file_end(s, err);
	s->offset += (uint64_t) got;
	return got;
}

static void
file_close(LdrSource *self)
{
	FileSource *s = (FileSource *) self;

	close(s->fd);
	free(s);
}

static uint64_t
file_consumed(const LdrSource *self)
{
	return ((const FileSource *) self)->offset;
}

LdrStatus
ldr_file_check(int fd, const LdrFileStamp *expect, LdrError *err)
{
	LdrFileStamp now;
	LdrStatus	status = ldr_file_stamp(fd, &now, err);

	return status == LDR_OK && !file_same(&now, expect) ? file_changed(err) : status;
}

LdrSource *
ldr_file_source(int fd, const LdrFileStamp *expect, LdrError *err)
{
	FileSource *s = calloc(1, sizeof(FileSource));
	LdrStatus	status;

	if (s == NULL)
		status = ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
	else
		status = ldr_file_stamp(fd, &s->stamp, err);
	if (status == LDR_OK && expect != NULL && !file_same(&s->stamp, expect))
		status = file_changed(err);
	if (status != LDR_OK)
	{
		close(fd);
		free(s);
		return NULL;
	}
#ifdef POSIX_FADV_SEQUENTIAL
	(void) posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);	/* advice only */
#endif
	s->base.read = file_read;
	s->base.close = file_close;
	s->base.consumed = file_consumed;
	s->fd = fd;
	return &s->base;
}
