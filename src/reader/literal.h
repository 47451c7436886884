/*
 * reader/literal.h: SQL literals in a window. For src/reader only. No postgres.h.
 *
 * A literal is NULL, a number, True, False, nan, inf, infinity, '...' or E'...', and nothing else.
 * Whatever meets the end of the window returns LDR_MORE, or LDR_TRUNCATED if the file ends there.
 */
#ifndef LDR_LITERAL_H
#define LDR_LITERAL_H

#include "reader/base.h"

/* Where a reader of insert_values is between two rows. */
typedef enum LdrLiteralState
{
	LDR_AT_FIRST,				/* before the first statement */
	LDR_AT_FIRST_VALUES,		/* behind its VALUES: only here a file may end without a row */
	LDR_AT_ROW,					/* behind a comma */
	LDR_AT_STATEMENT,			/* before another statement, or at the end of the file */
	LDR_AT_VALUES				/* behind its VALUES */
} LdrLiteralState;

/* One attempt at a row or a header. */
typedef struct LdrLiteralScan
{
	LdrReaderBase *base;
	LdrError   *err;
	const char *p;				/* what is read next */
	int64_t		line;			/* of p */
	int			field;			/* 1-based, 0: none */
} LdrLiteralScan;

static inline void
ldr_literal_space(LdrLiteralScan *s)
{
	for (;; s->p++)
	{
		if (*s->p == '\n')
			s->line++;
		else if (*s->p != ' ' && *s->p != '\t' && *s->p != '\r')
			break;
	}
}

/* The literal at p; leaves p behind it. */
extern LdrStatus ldr_literal(LdrLiteralScan *s, LdrField *field);

extern LdrPlace ldr_literal_place(const LdrLiteralScan *s, const char *at, int64_t line);

/* The window ends at p: LDR_MORE, or the file was cut. line is where the unfinished began. */
extern LdrStatus ldr_literal_end(LdrLiteralScan *s, int64_t line, const char *what);

/* The byte at p is not allowed, or there is none. where ends the message. */
extern LdrStatus ldr_literal_unexpected(LdrLiteralScan *s, const char *where);

/* A zero byte, as it stands or escaped. */
extern LdrStatus ldr_literal_nul(LdrLiteralScan *s, const char *at);

#endif							/* LDR_LITERAL_H */
