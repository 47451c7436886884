/*
 * source/source.h: bytes of one file, whatever they were packed in. No postgres.h.
 *
 *	file -> codec -> reader
 *
 * A source is pulled. Whoever opens one owns it and closes it; closing the outer closes the inner.
 */
#ifndef LDR_SOURCE_H
#define LDR_SOURCE_H

#include "status.h"

typedef struct LdrSource LdrSource;

struct LdrSource
{
	/* Put up to n bytes at buf. Returns how many, 0 at the end, -1 with *err filled. */
	ssize_t		(*read) (LdrSource *self, char *buf, size_t n, LdrError *err);
	void		(*close) (LdrSource *self);
	/* bytes taken from the file so far, as they lie on disk: progress is measured by it */
	uint64_t	(*consumed) (const LdrSource *self);
};

/* What a file looked like when it was registered; a file that differs later is refused. */
typedef struct LdrFileStamp
{
	uint64_t	size;
	uint64_t	inode;
	int64_t		mtime_ns;
} LdrFileStamp;

/* The same of the documents of a package: schema.json and load_package_state.json. */
typedef struct LdrPackageStamps
{
	LdrFileStamp schema;
	LdrFileStamp state;
} LdrPackageStamps;

/* Fill *stamp from an open file. LDR_IO, or LDR_UNSUPPORTED if it is not a regular file. */
extern LdrStatus ldr_file_stamp(int fd, LdrFileStamp *stamp, LdrError *err);

/* Is an open file still the one of the stamp? LDR_FILE_CHANGED if not, or as ldr_file_stamp. */
extern LdrStatus ldr_file_check(int fd, const LdrFileStamp *expect, LdrError *err);

/*
 * A source over an open regular file; takes the descriptor over, also if it fails. If expect is
 * given, the file must match it now and, when its end is reached, still (LDR_FILE_CHANGED).
 */
extern LdrSource *ldr_file_source(int fd, const LdrFileStamp *expect, LdrError *err);

/* A source over memory that outlives it: for tests, fuzzers and messages that came by SQL. */
extern LdrSource *ldr_memory_source(const char *data, size_t len);

/*
 * Look at the first bytes of inner and return a source of the plain bytes: gzip (also several
 * members), zstd (also several frames) or inner's bytes as they are. Takes inner over, also if it
 * fails (NULL, *err filled). A stream that ends early is LDR_CORRUPT, never a silent end.
 */
extern LdrSource *ldr_codec_source(LdrSource *inner, LdrError *err);

#endif							/* LDR_SOURCE_H */
