/*
 * test/fuzz/fuzz_source.h: bytes that come a few at a time, and what a reader made of them. Slices
 * are read to their last byte, so that a sanitizer sees one that points elsewhere.
 */
#ifndef LDR_FUZZ_SOURCE_H
#define LDR_FUZZ_SOURCE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reader/window.h"

typedef struct FuzzResult
{
	LdrStatus	status;
	uint64_t	hash;			/* of all of them */
	int64_t		rows;			/* or messages */
	LdrError	err;
} FuzzResult;

typedef struct FuzzSource
{
	LdrSource	base;
	const uint8_t *data;
	size_t		len;
	size_t		pos;
	size_t		step;
} FuzzSource;

static ssize_t
fuzz_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	FuzzSource *s = (FuzzSource *) self;
	size_t		left = s->len - s->pos;

	(void) err;
	n = n < s->step ? n : s->step;
	n = n < left ? n : left;
	if (n > 0)
		memcpy(buf, s->data + s->pos, n);
	s->pos += n;
	return (ssize_t) n;
}

static void
fuzz_close(LdrSource *self)
{
	(void) self;
}

static uint64_t
fuzz_consumed(const LdrSource *self)
{
	return ((const FuzzSource *) self)->pos;
}

static void
fuzz_hash(FuzzResult *result, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		result->hash = (result->hash ^ p[i]) * UINT64_C(1099511628211);
}

/* Abort if a small window, or whatever was tried, gave something else than a large one. */
static void __attribute__((unused))
fuzz_same(const FuzzResult *large, const FuzzResult *small, const char *what, size_t size)
{
	/* the excerpt may be shorter, as a small window does not have the rest of the line yet */
	if (large->status != small->status || large->rows != small->rows ||
		large->hash != small->hash || large->err.line != small->err.line ||
		large->err.column_no != small->err.column_no ||
		strcmp(large->err.column, small->err.column) != 0 ||
		strcmp(large->err.message, small->err.message) != 0)
	{
		fprintf(stderr, "a %s of %zu bytes differs: \"%s\" line %lld, not \"%s\" line %lld\n",
				what, size, small->err.message, (long long) small->err.line, large->err.message,
				(long long) large->err.line);
		abort();
	}
	if (large->status == LDR_OK || (large->status != LDR_END && large->err.message[0] == '\0'))
		abort();
}

#endif							/* LDR_FUZZ_SOURCE_H */
