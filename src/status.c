/*
 * status.c: filling an LdrError. No postgres.h here.
 */
#include "status.h"

#include <stdio.h>
#include <string.h>

LdrStatus
ldr_fail(LdrError *err, LdrStatus status, const char *fmt,...)
{
	va_list		args;

	err->status = status;
	va_start(args, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	return status;
}

void
ldr_excerpt(char *dst, size_t dstsize, const char *src, size_t len)
{
	size_t		room = dstsize - 4; /* "..." and the terminator */
	size_t		n = len;

	if (n > room)
	{
		n = room;
		while (n > 0 && ((unsigned char) src[n] & 0xC0) == 0x80)
			n--;
	}
	memcpy(dst, src, n);
	for (size_t i = 0; i < n; i++)
		if (dst[i] == '\0')
			dst[i] = ' ';
	strcpy(dst + n, n < len ? "..." : "");
}
