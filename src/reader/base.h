/*
 * reader/base.h: what the readers of all formats have in common. For src/reader only.
 *
 * A row is parsed in one attempt, from w.cur on and without changing the window, so that the raw
 * text stays as it was and an attempt that meets the end of the window can be made again with more
 * bytes. Escapes are therefore undone into scratch; slices without any point into the window.
 */
#ifndef LDR_READER_BASE_H
#define LDR_READER_BASE_H

#include "reader/name_index.h"
#include "reader/reader.h"
#include "reader/window.h"

/* An attempt met the end of the window, and the file goes on. Never leaves this directory. */
#define LDR_MORE ((LdrStatus) 1000)

typedef struct LdrReaderBase
{
	LdrReader	pub;			/* first: an LdrReader is one of these */
	LdrWindow	w;
	LdrFormat	format;
	LdrReaderOptions options;
	LdrField   *fields;			/* one more than options.ncolumns */
	int64_t		line;			/* of w.cur */
	int			state;			/* insert_values: where in a statement w.cur is; else 0 */
	bool		goes_on;		/* the window is a block, and the file goes on behind it */
	bool		split;			/* all of the file was handed out in blocks */
	/* decoded bytes of the row; never moves during an attempt, see ldr_reader_scratch */
	char	   *scratch;
	size_t		scratch_size;
	char	   *scratch_pos;
	LdrNameIndex index;			/* of options.columns */
} LdrReaderBase;

/* Where in the file something is wrong. */
typedef struct LdrPlace
{
	const char *at;				/* in the window: the text to quote */
	int64_t		line;
	int			field;			/* 1-based, 0: none */
	int			column;			/* position in options.columns, -1: unknown */
} LdrPlace;

/*
 * Allocate a reader of the given size, which begins with an LdrReaderBase, and set it up. Takes
 * the source over, also if it fails (NULL, *err filled).
 */
extern LdrReaderBase *ldr_reader_new(size_t size, LdrSource *source,
									 const LdrReaderOptions *options, LdrError *err);

/* The half of opening a reader that does not read: for readers of files and of blocks. */
extern LdrReader *ldr_insert_values_make(LdrSource *source, const LdrReaderOptions *options,
										 LdrError *err);
extern LdrReader *ldr_csv_make(LdrSource *source, const LdrReaderOptions *options, LdrError *err);
extern LdrReader *ldr_jsonl_make(LdrSource *source, const LdrReaderOptions *options,
								 LdrError *err);

/* The close of every format; also for a reader that is only half made. */
extern void ldr_reader_free(LdrReader *r);

/* The position of a column in options.columns, -1 if there is none of that name. */
static inline int
ldr_reader_column(const LdrReaderBase *b, const char *name, size_t len)
{
	return ldr_name_index_find(&b->index, name, len);
}

/* More bytes for another attempt; fills the line in if it fails. */
extern LdrStatus ldr_reader_more(LdrReaderBase *b, LdrError *err);

/*
 * Have room for the decoded bytes of this attempt, at scratch_pos. Decoding never makes text
 * longer, and an attempt sees only what is in the window: so one check per field is enough, and
 * only the first one of an attempt can move scratch.
 */
extern LdrStatus ldr_reader_grow_scratch(LdrReaderBase *b, size_t need, LdrError *err);

static inline LdrStatus
ldr_reader_scratch(LdrReaderBase *b, LdrError *err)
{
	size_t		need = (size_t) (b->w.end - b->w.cur);

	if (b->scratch_size >= need)
		return LDR_OK;
	return ldr_reader_grow_scratch(b, need, err);
}

/* Fill *err and the raw text of the failed row; returns status. The hint is set beforehand. */
extern LdrStatus ldr_reader_fail(LdrReaderBase *b, LdrError *err, LdrStatus status, LdrPlace place,
								 const char *fmt,...) __attribute__((format(printf, 5, 6)));

/* The same for a header that names a column which the table has not. */
extern LdrStatus ldr_reader_unknown_column(LdrReaderBase *b, LdrError *err, LdrPlace place,
										   const char *name, size_t len);

/* Fill the name of a column in: whole if it fits, as a name of PostgreSQL does. */
extern void ldr_reader_name(LdrError *err, const char *name, size_t len);

/*
 * The row at w.cur ends at end, the next one begins at next, on the line given: for skip. w.cur
 * must not have moved since end was found.
 */
extern LdrStatus ldr_reader_pass(LdrReaderBase *b, LdrRow *row, const char *end, const char *next,
								 int64_t line);

/* A value of more bytes than LDR_MAX_FIELD. */
extern LdrStatus ldr_reader_too_long(LdrReaderBase *b, LdrError *err, LdrPlace place);

/* A byte as messages show it: "x" or 0x0A. dst has room for 8 bytes. */
extern const char *ldr_reader_show(char *dst, char c);

/* Write a code point as UTF-8, return the end. The caller has checked that it is one, not 0. */
extern char *ldr_utf8_put(char *dst, uint32_t code);

/* The value of n hexadecimal digits at p, or -1. Reads no further than the first other byte. */
extern int64_t ldr_hex(const char *p, int n);

#endif							/* LDR_READER_BASE_H */
