/*
 * reader/json.h: strict JSON text in a window. For src/reader only. No postgres.h.
 *
 * Whatever meets the end of the window returns LDR_MORE, or LDR_TRUNCATED if the file ends there.
 * A value never goes on over the end of its line.
 */
#ifndef LDR_JSON_H
#define LDR_JSON_H

#include "reader/base.h"

typedef struct LdrJson
{
	LdrReaderBase *base;
	LdrError   *err;
	const char *p;				/* what is read next */
	const char *end;			/* of the window, where zero bytes begin */
	LdrPlace	place;			/* for errors; at is set by whoever fails */
	int			depth;			/* objects around the value at p, without the row's own */
	/*
	 * Of strings, \u0000 is left out, and one with a lone surrogate or beyond the limit of a field
	 * is LDR_INVALID. Otherwise both are errors.
	 */
	bool		lenient;
} LdrJson;

static inline void
ldr_json_space(LdrJson *j)
{
	while (*j->p == ' ' || *j->p == '\t' || *j->p == '\r')
		j->p++;
}

/* The byte at p is not allowed, or there is none. where ends the message. */
extern LdrStatus ldr_json_unexpected(LdrJson *j, const char *where);

/*
 * The string at p, decoded: a slice of the window, or of scratch if it has escapes. An LDR_INVALID
 * one is a slice of the window with its quotes.
 */
extern LdrStatus ldr_json_string(LdrJson *j, LdrField *field);

/* Check any value at p and step over it. Escapes must be well formed, whatever they mean. */
extern LdrStatus ldr_json_skip(LdrJson *j);

#endif							/* LDR_JSON_H */
