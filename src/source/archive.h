/*
 * source/archive.h: the files in a tar archive, one after the other. No postgres.h.
 *
 *	source of its plain bytes -> archive -> members and their bytes
 *
 * Only what a package may consist of comes out; anything else is LDR_BAD_ARCHIVE or LDR_BAD_NAME.
 */
#ifndef LDR_ARCHIVE_H
#define LDR_ARCHIVE_H

#include "source/source.h"
#include "source/spool_name.h"

typedef struct LdrArchive LdrArchive;

typedef struct LdrMember
{
	LdrMemberKind kind;
	uint64_t	size;			/* as the archive has it; its bytes are counted, too */
	char		name[LDR_MAX_SPOOL_NAME + 1];	/* <load_id>/..., checked */
} LdrMember;

/* Takes inner over, also if it fails (NULL, *err filled). */
extern LdrArchive *ldr_archive_open(LdrSource *inner, LdrError *err);

/*
 * The next member. What the last one has left is skipped. LDR_END only when the archive is whole:
 * its end mark is there, and nothing but zeros behind it. A name may come twice: that is for the
 * caller to see.
 */
extern LdrStatus ldr_archive_next(LdrArchive *archive, LdrMember *member, LdrError *err);

/* Bytes of the member in hand: how many at *data, 0 at its end, -1 with *err filled. */
extern ssize_t ldr_archive_read(LdrArchive *archive, const char **data, LdrError *err);

extern void ldr_archive_close(LdrArchive *archive);

#endif							/* LDR_ARCHIVE_H */
