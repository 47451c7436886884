/*
 * source/origin.h: from the source that a caller names to the directory of a package: a path on the
 * server, an archive there, or what the role has uploaded.
 */
#ifndef LDR_ORIGIN_H
#define LDR_ORIGIN_H

#include "source/source.h"

typedef struct LdrOrigin
{
	char	   *source;			/* for the catalog: a real path, or upload:<upload_id> */
	char	   *shown;			/* the package's directory, for messages: no path of the spool */
	char	   *real;			/* the same on disk; its last element is the load_id */
} LdrOrigin;

typedef enum LdrOriginUse
{
	LDR_ORIGIN_FIRST,			/* unpacks an archive, and keeps sweeps off until commit */
	LDR_ORIGIN_AGAIN			/* what was found before: by workers */
} LdrOriginUse;

/*
 * Find the package at source; the current role must be allowed to read there. Raises 42704 no such
 * upload, 55000 an upload that is not complete, 22023 one that is no package, and what
 * ldr_directory_resolve and ldr_spool_unpack raise.
 */
extern LdrOrigin *ldr_origin_find(const char *source, LdrOriginUse use);

/* Does the source name an upload, or a file in one? */
extern bool ldr_origin_is_upload(const char *source);

/*
 * The path of one file by itself, upload:<upload_id>/<file>, which stays until the end of the
 * transaction. Raises 42704 no such upload or file, 55000 one that is not complete.
 */
extern char *ldr_origin_file(const char *source);

/* Remove such a file from the spool, and its upload if it was the last. Others are left alone. */
extern void ldr_origin_file_remove(const char *source);

#endif							/* LDR_ORIGIN_H */
