/*
 * status.h: how the parts without postgres.h say what went wrong.
 *
 * They never throw: each returns an LdrStatus and fills an LdrError, and raise.c turns that into
 * an ereport in one place.
 */
#ifndef LDR_STATUS_H
#define LDR_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum LdrStatus
{
	LDR_OK = 0,
	LDR_END,					/* no more rows; not an error */
	/* bad bytes in a data file */
	LDR_UNTERMINATED_QUOTE,
	LDR_UNEXPECTED,				/* a character that the grammar does not allow here */
	LDR_TRUNCATED,				/* the file ends inside a row or a statement */
	LDR_TOO_FEW_FIELDS,
	LDR_TOO_MANY_FIELDS,
	LDR_TOO_LONG,				/* a value or a row beyond its limit */
	LDR_BAD_ESCAPE,				/* an escape that means nothing, or a lone surrogate */
	LDR_NUL_CHARACTER,			/* \u0000 or a zero byte: text of PostgreSQL cannot hold it */
	LDR_UNKNOWN_COLUMN,
	LDR_DUPLICATE_COLUMN,
	LDR_NO_HEADER,				/* csv or insert_values without the column list it must have */
	LDR_TOO_DEEP,				/* nested beyond LDR_MAX_DEPTH */
	/* bytes that could not be had */
	LDR_IO,						/* sys_errno says why */
	LDR_CORRUPT,				/* the compressed stream is damaged */
	LDR_FILE_CHANGED,			/* the file is not the one that was registered */
	LDR_OUT_OF_MEMORY,
	LDR_BAD_ARCHIVE,			/* one with something in it that no package may bring */
	/* documents */
	LDR_BAD_JSON,
	LDR_BAD_SCHEMA,				/* valid JSON, but not a dlt schema */
	LDR_UNKNOWN_KEY,			/* another engine version, with keys we do not know */
	LDR_BAD_NAME,				/* a file name, table name or column name that cannot be used */
	LDR_UNSUPPORTED
} LdrStatus;

/*
 * Where and why. The caller zeroes it once; whoever fails fills it. Messages follow the house
 * rules: lower case, no full stop; hint is a whole sentence or empty.
 */
typedef struct LdrError
{
	LdrStatus	status;
	int			sys_errno;		/* for LDR_IO, else 0 */
	int64_t		line;			/* 1-based; 0: not about a line */
	int			column_no;		/* 1-based position of the field in the file's row; 0: none */
	char		column[64];		/* its name where known, else "" */
	char		message[320];
	char		hint[320];
	char		value[72];		/* the start of the offending value or text, cut at a character */
} LdrError;

/* Fill *err and return its status, so that one can write: return ldr_fail(err, LDR_X, "..."). */
extern LdrStatus ldr_fail(LdrError *err, LdrStatus status, const char *fmt,...)
			__attribute__((format(printf, 3, 4)));

/* Copy the start of some foreign bytes into dst, cut at a UTF-8 character, with "..." if cut. */
extern void ldr_excerpt(char *dst, size_t dstsize, const char *src, size_t len);

#endif							/* LDR_STATUS_H */
