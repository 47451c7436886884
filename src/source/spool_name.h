/*
 * source/spool_name.h: names of uploads, of the files in them, and of what is in an archive. No
 * postgres.h.
 *
 * All of them become parts of paths, so all are told here, by what is allowed and not by what is
 * not.
 */
#ifndef LDR_SPOOL_NAME_H
#define LDR_SPOOL_NAME_H

#include "status.h"

#define LDR_MAX_UPLOAD_ID	64
#define LDR_MAX_LOAD_ID		64
#define LDR_MAX_SPOOL_NAME	512 /* load_id, new_jobs and a file name fit */
#define LDR_MAX_DOCUMENT	(128 * 1024 * 1024) /* bytes of schema.json, far beyond any real one */

typedef enum LdrSpoolKind
{
	LDR_SPOOL_DOCUMENT,			/* <load_id>/schema.json, <load_id>/load_package_state.json */
	LDR_SPOOL_JOB,				/* <load_id>/new_jobs/<job file> */
	LDR_SPOOL_ARCHIVE			/* <name>.tar, .tar.gz, .tgz, .tar.zst */
} LdrSpoolKind;

/* 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a dot. LDR_BAD_NAME. */
extern LdrStatus ldr_upload_id_check(const char *id, LdrError *err);

/* The name of a file in an upload. LDR_BAD_NAME with a message that says what is wrong. */
extern LdrStatus ldr_spool_name_check(const char *file, LdrSpoolKind *kind, LdrError *err);

/* Length of the ending that makes a file name one of an archive; 0 if it has none of them. */
extern size_t ldr_archive_ending(const char *name);

typedef enum LdrMemberKind
{
	LDR_MEMBER_FILE,			/* belongs to the package */
	LDR_MEMBER_SKIPPED			/* a directory, or a file that dlt leaves there and nobody needs */
} LdrMemberKind;

/*
 * What a file or directory in an archive is, by its name there. Fills name with the same without a
 * "./" before and a "/" behind it (at least LDR_MAX_SPOOL_NAME + 1 bytes; empty for the root).
 * LDR_BAD_NAME, and LDR_BAD_ARCHIVE for files that no package may have.
 */
extern LdrStatus ldr_member_name_parse(const char *text, bool is_directory, char *name,
									   LdrMemberKind *kind, LdrError *err);

#endif							/* LDR_SPOOL_NAME_H */
