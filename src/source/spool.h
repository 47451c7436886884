/*
 * source/spool.h: files that came by SQL, and archives unpacked.
 *
 *	<loader.spool_directory>/<database oid>/<role oid>/
 *		<upload_id>/					an upload
 *			<load_id>/schema.json, ...	files that are complete
 *			<name>.tar.gz				the same, an archive
 *			.unfinished/<file>			files that are not
 *			.package/<load_id>/...		the archive, unpacked
 *			.done						nobody needs it any more
 *		.archive.<key>/<load_id>/...	an archive that lies elsewhere on the server, unpacked
 *			.source						its path
 *			.done
 *		.tmp.<key>						one that is being unpacked
 *		.gone.<...>						what is being removed
 *
 * What begins with a dot is ours: no upload_id and no load_id does. All of it is written outside of
 * transactions and of the WAL, so it is on this server only.
 *
 * Paths are followed from the root: each directory was made here, for the server's user alone, and
 * no link is ever made in it.
 */
#ifndef LDR_SPOOL_H
#define LDR_SPOOL_H

#include "source/source.h"
#include "storage/lockdefs.h"

#define LDR_UPLOAD_PREFIX	"upload:"
#define LDR_SPOOL_PACKAGE	".package"
#define LDR_SPOOL_UNFINISHED ".unfinished"
#define LDR_SPOOL_DONE		".done"
#define LDR_SPOOL_SOURCE	".source"
#define LDR_SPOOL_GONE		".gone."
#define LDR_SPOOL_TMP		".tmp."
#define LDR_SPOOL_UNPACKED	".archive."

/* One call of loader_upload. */
typedef struct LdrSpoolChunk
{
	const char *upload_id;
	const char *file;
	int64_t		offset;
	const char *data;			/* NULL: none, only tell */
	size_t		len;
	int64_t		size;			/* of the whole file, which this chunk completes; -1: more come */
	const uint8_t *sha256;		/* of the whole file; NULL: not checked */
} LdrSpoolChunk;

/*
 * upload.c: write a chunk to the upload of the current role. Returns how many bytes of the file are
 * there. Raises 42602, 22023, 53400 beyond loader.upload_limit, 55000 if the file is complete and
 * another, XX001 if it is not what sha256 says, and what the file system says.
 */
extern int64_t ldr_spool_write(const LdrSpoolChunk *chunk);

/* Raise what errno says of something in the spool, "open a file"; no path of it is shown. */
extern void ldr_spool_error(const char *what) __attribute__((noreturn));

/* Directory of the spool, of a role's part of it, of an upload of the current role. */
extern char *ldr_spool_root(void);
extern char *ldr_spool_of(Oid role);
extern char *ldr_spool_upload(const char *upload_id);

/* Path of the first unfinished file below an upload's directory, relative to it; NULL if none. */
extern char *ldr_spool_unfinished(const char *upload);

/* Make the directory of path and those above it, up to the spool's. */
extern void ldr_spool_make_parents(const char *path);

/* Bring a file, or the names in a directory, to disk. False, with errno, if that cannot be done. */
extern bool ldr_spool_sync(const char *path, bool is_directory);

/* Have what was renamed into a directory, and the directories above it, on disk. */
extern void ldr_spool_sync_parents(const char *path);

/* Does a path exist? Follows no link; raises all errors but that it does not. */
extern bool ldr_spool_exists(const char *path);

/* What is called with an entry of a directory: its path and its name, which are gone afterwards. */
typedef void (*LdrSpoolFn) (const char *path, const char *name, void *arg);

/* Call fn for each entry of a directory that may be missing, or go meanwhile. */
extern void ldr_spool_each(const char *directory, LdrSpoolFn fn, void *arg);

/*
 * Locks of a role's spool, on what is in it by name. They last until the end of the transaction, or
 * until they are let go. An upload: shared by who writes to it or wants it to stay, exclusive to
 * remove it. A file of the current role's uploads: by who writes to it.
 */
extern bool ldr_spool_lock(Oid role, const char *name, LOCKMODE mode, bool wait);
extern void ldr_spool_unlock(Oid role, const char *name, LOCKMODE mode);
extern void ldr_spool_lock_file(const char *file);
extern void ldr_spool_unlock_file(const char *file);

/* What a file or directory of that size counts. */
extern uint64_t ldr_spool_counts(uint64_t size);

/*
 * May the current role have so many bytes more? Raises 53400 if not. True if the lock of its limit
 * is held now, which the caller lets go when they are written: until then others do not see them.
 */
extern bool ldr_spool_limit_begin(uint64_t need);
extern void ldr_spool_limit_end(bool locked);

/*
 * Room under loader.upload_limit for what is unpacked, taken in steps. To begin with all zero.
 */
typedef struct LdrSpoolCredit
{
	uint64_t	bytes;			/* taken, and not used yet */
	uint64_t	total;			/* used */
	uint64_t	room;			/* what there was to begin with */
} LdrSpoolCredit;

/*
 * Use so many bytes (0: another file or directory, of any kind) of what the current role may have.
 * Raises 53400 if that is used up, by others or by this alone: also by what takes no place.
 */
extern void ldr_spool_charge(LdrSpoolCredit *credit, uint64_t bytes);

/* SHA-256 of bytes in memory, and of the first bytes of a file. */
#define LDR_SHA256	32
extern void ldr_spool_sha256(const void *data, size_t len, uint8_t *out);
extern void ldr_spool_hash_file(int fd, int64_t size, uint8_t *out);

/*
 * unpack.c: unpack an archive into the directory final, which is there afterwards with all of it,
 * or not at all. tmp is a directory beside it. Takes tar over, the archive's plain bytes. origin,
 * if not NULL, is left in it as the path of the archive. Raises what is wrong with the archive, by
 * the name shown. Caller holds the lock of final.
 */
extern void ldr_spool_unpack(LdrSource *tar, const char *shown, const char *origin,
							 const char *tmp, const char *final);

/*
 * sweep.c
 */

/* Remove an entry of a role's directory; caller holds its lock. It is gone at once. */
extern void ldr_spool_remove(Oid role, const char *name);

/* Remove an upload of the current role. False if there is none; 55006 if a package needs it. */
extern bool ldr_spool_drop(const char *upload_id);

/* May a package's source have left something in the spool? Cheap; a directory has not. */
extern bool ldr_spool_concerns(const char *source);

/* What a package's source left in the spool of its role is needed no more; a sweep removes it. */
extern void ldr_spool_done(const char *source, Oid role);

/*
 * Remove what is done, or was abandoned, and no package that is still to be loaded has as source.
 * Caller is in a transaction. Raises no error because of files.
 */
extern void ldr_spool_sweep(void);

#endif							/* LDR_SPOOL_H */
