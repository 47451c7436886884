/*
 * source/archive.c: the files in a tar archive, one after the other. No postgres.h.
 *
 * libarchive knows the dialects of tar; it is given nothing else to know: no other format, no
 * filter, no program. What archives are packed in is codec.c's business, which takes no damaged
 * stream for a short one. The end is checked here, since libarchive takes a file that ends between
 * two members for a whole archive.
 */
#include "source/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARCHIVE_BUFFER	(256 * 1024)
#define ARCHIVE_END		1024	/* two blocks of zeros */
#define ARCHIVE_PADDING	(1024 * 1024)	/* of zeros at most: no tar pads records to more */
#define ARCHIVE_SKIP	(64 * 1024 * 1024)	/* of a member that nobody needs */

struct LdrArchive
{
	LdrSource  *inner;
	struct archive *tar;
	char	   *buf;
	LdrError   *err;			/* of the call in hand: what inner says goes there */
	bool		failed;			/* inner has said it */
	uint64_t	total;			/* bytes that inner gave */
	uint64_t	nonzero;		/* where the last of them that is not zero ends */
	uint64_t	offset;			/* in the member's data */
	uint64_t	size;
	char		load_id[LDR_MAX_LOAD_ID + 1];
};

/* For libarchive: the next bytes. Nothing is raised from here. */
static la_ssize_t
archive_fill(struct archive *tar, void *arg, const void **data)
{
	LdrArchive *a = arg;
	ssize_t		got = -1;

	(void) tar;
	*data = a->buf;
	/* it may ask again: what was said first stays */
	if (!a->failed)
		got = a->inner->read(a->inner, a->buf, ARCHIVE_BUFFER, a->err);
	if (got < 0)
	{
		a->failed = true;
		return ARCHIVE_FATAL;
	}
	for (ssize_t i = got; i > 0; i--)
		if (a->buf[i - 1] != '\0')
		{
			a->nonzero = a->total + (uint64_t) i;
			break;
		}
	a->total += (uint64_t) got;
	return got;
}

static LdrStatus
archive_corrupt(LdrError *err, const char *what)
{
	strcpy(err->hint, "Copy or make the archive again.");
	return ldr_fail(err, LDR_CORRUPT, "archive %s", what);
}

/* What libarchive says, unless inner has said why. */
static LdrStatus
archive_fail(LdrArchive *a, LdrError *err)
{
	const char *text = archive_error_string(a->tar);

	if (a->failed)
		return err->status;
	if (archive_errno(a->tar) == ENOMEM)
		return ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory while reading an archive");
	strcpy(err->hint, "Only tar archives are read, plain or packed by gzip or zstd. Copy or make "
		   "the archive again.");
	return ldr_fail(err, LDR_CORRUPT, "archive is damaged: %s", text ? text : "unknown error");
}

LdrArchive *
ldr_archive_open(LdrSource *inner, LdrError *err)
{
	LdrArchive *a = calloc(1, sizeof(LdrArchive));

	if (a == NULL)
	{
		inner->close(inner);
		ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory while opening an archive");
		return NULL;
	}
	a->inner = inner;
	a->err = err;
	a->buf = malloc(ARCHIVE_BUFFER);
	a->tar = archive_read_new();
	if (a->buf == NULL || a->tar == NULL || archive_read_support_format_tar(a->tar) != ARCHIVE_OK)
		ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory while opening an archive");
	else if (archive_read_open(a->tar, a, NULL, archive_fill, NULL) == ARCHIVE_OK)
		return a;
	else
		archive_fail(a, err);
	ldr_archive_close(a);
	return NULL;
}

void
ldr_archive_close(LdrArchive *a)
{
	if (a->tar)
		archive_read_free(a->tar);
	a->inner->close(a->inner);
	free(a->buf);
	free(a);
}

static LdrStatus
archive_refuse(const char *name, const char *what, LdrError *err)
{
	char		excerpt[160];

	ldr_excerpt(excerpt, sizeof(excerpt), name, strlen(name));
	strcpy(err->hint, "Pack the package as it is: one directory with regular files.");
	return ldr_fail(err, LDR_BAD_ARCHIVE, "\"%s\" in the archive is %s", excerpt, what);
}

/* Regular files with all their bytes, and directories. */
static LdrStatus
archive_check_type(struct archive_entry *entry, const char *name, LdrError *err)
{
	if (archive_entry_hardlink(entry) != NULL)
		return archive_refuse(name, "a hard link", err);
	switch (archive_entry_filetype(entry))
	{
		case AE_IFREG:
			if (archive_entry_sparse_count(entry) > 0)
				return archive_refuse(name, "a sparse file", err);
			return LDR_OK;
		case AE_IFDIR:
			return LDR_OK;
		case AE_IFLNK:
			return archive_refuse(name, "a symbolic link", err);
		default:
			return archive_refuse(name, "neither a file nor a directory", err);
	}
}

/* All members are in one directory. */
static LdrStatus
archive_check_directory(LdrArchive *a, const char *name, LdrError *err)
{
	size_t		len = strcspn(name, "/");
	char		both[160];

	if (len == 0)
		return LDR_OK;			/* the root */
	if (a->load_id[0] == '\0')
	{
		memcpy(a->load_id, name, len);	/* its length was checked */
		a->load_id[len] = '\0';
	}
	if (strlen(a->load_id) == len && memcmp(a->load_id, name, len) == 0)
		return LDR_OK;
	snprintf(both, sizeof(both), "\"%s\" and \"%.*s\"", a->load_id, (int) len, name);
	strcpy(err->hint, "Pack each package into an archive of its own.");
	return ldr_fail(err, LDR_BAD_ARCHIVE, "archive has more than one directory: %s", both);
}

/* Behind the last member: the end mark, and zeros up to the end of the file. */
static LdrStatus
archive_check_end(LdrArchive *a, LdrError *err)
{
	uint64_t	end = (uint64_t) archive_read_header_position(a->tar);
	const void *ignored;
	la_ssize_t	got = 1;

	while (got > 0 && a->nonzero <= end && a->total - end <= ARCHIVE_PADDING)
		got = archive_fill(a->tar, a, &ignored);
	if (got < 0)
		return err->status;
	if (a->nonzero > end || a->total - end > ARCHIVE_PADDING)
		return archive_corrupt(err, "is followed by other bytes");
	if (a->total < end + ARCHIVE_END)
		return archive_corrupt(err, "ends too early");
	return LDR_OK;
}

/* The header of the next member, as libarchive has it. */
static LdrStatus
archive_next_entry(LdrArchive *a, struct archive_entry **entry, LdrError *err)
{
	int			rc;
	const char *name;
	bool		is_ascii = true;

	a->err = err;
	rc = archive_read_next_header(a->tar, entry);
	if (rc == ARCHIVE_EOF)
	{
		LdrStatus	status = archive_check_end(a, err);

		return status == LDR_OK ? LDR_END : status;
	}
	if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
		return archive_fail(a, err);
	name = archive_entry_pathname(*entry);
	if (name == NULL || name[0] == '\0')
		return archive_corrupt(err, "has a member without a name");

	/* it also warns when it cannot translate a name, and then gives it as it is, which is right */
	for (const char *p = name; *p; p++)
		is_ascii &= (unsigned char) *p < 0x80;
	if (rc == ARCHIVE_WARN && is_ascii)
		return archive_fail(a, err);
	return LDR_OK;
}

/* How large a member may be. It is refused before its first byte: a few may unpack to very many. */
static uint64_t
archive_max_size(const LdrMember *member)
{
	if (member->kind == LDR_MEMBER_SKIPPED)
		return ARCHIVE_SKIP;
	return strstr(member->name, "/new_jobs/") != NULL ? UINT64_MAX : LDR_MAX_DOCUMENT;
}

static LdrStatus
archive_next(LdrArchive *a, LdrMember *member, LdrError *err)
{
	struct archive_entry *entry;
	LdrStatus	status = archive_next_entry(a, &entry, err);
	const char *name;
	bool		is_directory;

	if (status != LDR_OK)
		return status;
	name = archive_entry_pathname(entry);
	is_directory = archive_entry_filetype(entry) == AE_IFDIR;
	if ((status = archive_check_type(entry, name, err)) != LDR_OK ||
		(status = ldr_member_name_parse(name, is_directory, member->name, &member->kind,
										err)) != LDR_OK ||
		(status = archive_check_directory(a, member->name, err)) != LDR_OK)
		return status;
	a->offset = 0;
	a->size = member->size = is_directory ? 0 : (uint64_t) archive_entry_size(entry);
	if (member->size > archive_max_size(member))
		return archive_refuse(name, "too large for what it is", err);
	return LDR_OK;
}

/*
 * libarchive translates names from what an archive says to the process's locale, which is that of
 * the database. In "C" it leaves them as they are.
 */
static locale_t
archive_locale_c(void)
{
	static locale_t c = (locale_t) 0;

	if (c == (locale_t) 0)
		c = newlocale(LC_ALL_MASK, "C", (locale_t) 0);
	return c == (locale_t) 0 ? (locale_t) 0 : uselocale(c);
}

LdrStatus
ldr_archive_next(LdrArchive *a, LdrMember *member, LdrError *err)
{
	locale_t	before = archive_locale_c();
	LdrStatus	status = archive_next(a, member, err);

	if (before != (locale_t) 0)
		uselocale(before);
	return status;
}

ssize_t
ldr_archive_read(LdrArchive *a, const char **data, LdrError *err)
{
	const void *block;
	size_t		len = 0;
	la_int64_t	at = 0;
	int			rc;

	a->err = err;
	do
		rc = archive_read_data_block(a->tar, &block, &len, &at);
	while (rc == ARCHIVE_OK && len == 0);
	if (rc == ARCHIVE_EOF)
	{
		/* holes, which only sparse files have, or less than it says */
		if (a->offset == a->size)
			return 0;
		archive_corrupt(err, "has a member without all its bytes");
		return -1;
	}
	if (rc != ARCHIVE_OK)
	{
		archive_fail(a, err);
		return -1;
	}
	if ((uint64_t) at != a->offset || len > a->size - a->offset)
	{
		archive_corrupt(err, "has a member with other bytes than it says");
		return -1;
	}
	a->offset += len;
	*data = block;
	return (ssize_t) len;
}
