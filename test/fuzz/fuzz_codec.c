/*
 * test/fuzz/fuzz_codec.c: packed bytes, read in large and in small parts. What gzip holds is compared
 * with what zlib makes of it, whatever the codec unpacks it by.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

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

/* The same by zlib, of bytes that begin as gzip does. */
static uint64_t
unpack_by_zlib(const uint8_t *data, size_t size)
{
	static Bytef buf[1 << 16];
	z_stream	z = {.next_in = (Bytef *) data, .avail_in = (uInt) size};
	uint64_t	hash = 14695981039346656037ULL;
	size_t		total = 0;
	int			code;

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		abort();
	do
	{
		z.next_out = buf;
		z.avail_out = sizeof(buf);
		code = inflate(&z, Z_NO_FLUSH);
		for (Bytef *p = buf; p < z.next_out && total < FUZZ_MAX_OUTPUT; p++, total++)
			hash = (hash ^ *p) * 1099511628211ULL;
		if (code == Z_STREAM_END && z.avail_in > 0)
			code = inflateReset(&z);
	} while (code == Z_OK && total < FUZZ_MAX_OUTPUT);
	inflateEnd(&z);
	/* at the limit of the output nobody looks for what is wrong behind it */
	return total < FUZZ_MAX_OUTPUT && code != Z_STREAM_END ? 1 : hash;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t	a = unpack(data, size, 1 << 16);
	uint64_t	b = unpack(data, size, 7);

	/* at the limit of the output, one of them may not have met an error yet */
	if (a != b && a != 1 && b != 1)
		abort();
	if (size >= 2 && data[0] == 0x1f && data[1] == 0x8b && unpack_by_zlib(data, size) != b)
		abort();
	return 0;
}
