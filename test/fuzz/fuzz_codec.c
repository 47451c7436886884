/*
 * test/fuzz/fuzz_codec.c: packed bytes, read in large and in small parts.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "source/source.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_MAX_OUTPUT (1 << 20)	/* a few bytes can unpack to gigabytes */

/* What comes out: its length and hash, with the status in the end. */
static uint64_t
unpack(const uint8_t *data, size_t size, size_t n)
{
	char	   *buf = malloc(n);
	LdrError	err = {0};
	LdrSource  *s = ldr_codec_source(ldr_memory_source((const char *) data, size), &err);
	uint64_t	hash = 14695981039346656037ULL;
	size_t		total = 0;
	ssize_t		got = -1;

	while (s != NULL && total < FUZZ_MAX_OUTPUT && (got = s->read(s, buf, n, &err)) > 0)
		for (ssize_t i = 0; i < got && total < FUZZ_MAX_OUTPUT; i++, total++)
			hash = (hash ^ (unsigned char) buf[i]) * 1099511628211ULL;
	if (s != NULL)
		s->close(s);
	if (got < 0 && err.message[0] == '\0')
		abort();
	free(buf);
	/* before an error, more or less may have come out */
	return got < 0 ? 1 : hash;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t	a = unpack(data, size, 1 << 16);
	uint64_t	b = unpack(data, size, 7);

	/* at the limit of the output, one of them may not have met an error yet */
	if (a != b && a != 1 && b != 1)
		abort();
	return 0;
}
