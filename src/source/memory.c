/*
 * source/memory.c: bytes that are in memory already. No postgres.h.
 */
#include "source/source.h"

#include <stdlib.h>
#include <string.h>

typedef struct MemorySource
{
	LdrSource	base;
	const char *data;
	size_t		len;
	size_t		offset;
} MemorySource;

static ssize_t
memory_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	MemorySource *s = (MemorySource *) self;
	size_t		left = s->len - s->offset;

	(void) err;
	if (n > left)
		n = left;
	if (n > 0)					/* data may be NULL when there is none */
		memcpy(buf, s->data + s->offset, n);
	s->offset += n;
	return (ssize_t) n;
}

static void
memory_close(LdrSource *self)
{
	free(self);
}

static uint64_t
memory_consumed(const LdrSource *self)
{
	return ((const MemorySource *) self)->offset;
}

/* Returns NULL only when memory is short. */
LdrSource *
ldr_memory_source(const char *data, size_t len)
{
	MemorySource *s = calloc(1, sizeof(MemorySource));

	if (s == NULL)
		return NULL;
	s->base.read = memory_read;
	s->base.close = memory_close;
	s->base.consumed = memory_consumed;
	s->data = data;
	s->len = len;
	return &s->base;
}
