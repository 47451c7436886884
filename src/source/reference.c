/*
 * source/reference.c: the address of a file, as a reference job or a staging area gives it. No
 * postgres.h.
 */
#include "source/reference.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define SCHEME_SIZE 32			/* of a scheme that a message names */

static LdrStatus
reference_bad(const char *url, LdrError *err, const char *why)
{
	ldr_excerpt(err->value, sizeof(err->value), url, strlen(url));
	strcpy(err->hint, "Name a file of the server: its absolute path, or file:// and that.");
	return ldr_fail(err, LDR_BAD_NAME, "invalid address of a file: %s", why);
}

static int
reference_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char) tolower((unsigned char) c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undo the %-escapes of a URL in place. False if one is broken, or stands for a zero byte. */
static bool
reference_unescape(char *text)
{
	char	   *to = text;

	for (const char *p = text; *p != '\0'; p++)
	{
		int			high,
					low;

		if (*p != '%')
		{
			*to++ = *p;
			continue;
		}
		high = reference_hex(p[1]);
		low = high < 0 ? -1 : reference_hex(p[2]);
		if (low < 0 || (high == 0 && low == 0))
			return false;
		*to++ = (char) (high * 16 + low);
		p += 2;
	}
	*to = '\0';
	return true;
}

/* The scheme of a URL into buf; false if it has none, so that it is a path. */
static bool
reference_scheme(const char *url, char *buf)
{
	const char *colon = strstr(url, "://");
	size_t		len = colon != NULL ? (size_t) (colon - url) : 0;

	if (len == 0)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char) url[i]) && strchr("+-.", url[i]) == NULL)
			return false;
	ldr_excerpt(buf, SCHEME_SIZE, url, len);
	return true;
}

LdrStatus
ldr_reference_path(const char *url, char **path, LdrError *err)
{
	char		scheme[SCHEME_SIZE];
	bool		is_url = reference_scheme(url, scheme);
	const char *rest = url;

	*path = NULL;
	if (is_url && strcmp(scheme, "file") != 0)
	{
		ldr_excerpt(err->value, sizeof(err->value), url, strlen(url));
		strcpy(err->hint, "Let the staging area be a directory of the server: a bucket_url that "
			   "begins with file://.");
		return ldr_fail(err, LDR_UNSUPPORTED, "files of scheme \"%s\" are not supported", scheme);
	}
	if (is_url)
	{
		rest = strstr(url, "://") + 3;
		if (strncmp(rest, "localhost/", 10) == 0)
			rest += 9;
		if (rest[0] != '/')
			return reference_bad(url, err, "it is one of another machine, or relative");
	}
	if (rest[0] != '/')
		return reference_bad(url, err, "it is relative");
	*path = strdup(rest);
	if (*path == NULL)
		return ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
	if (is_url && !reference_unescape(*path))
	{
		free(*path);
		*path = NULL;
		return reference_bad(url, err, "a %-escape in it is broken");
	}
	return LDR_OK;
}

LdrStatus
ldr_reference_parse(const char *text, size_t len, char **url, LdrError *err)
{
	*url = NULL;
	while (len > 0 && isspace((unsigned char) text[len - 1]))
		len--;
	if (memchr(text, '\n', len) != NULL)
		return ldr_fail(err, LDR_UNSUPPORTED, "reference to several files is not supported");
	if (len == 0 || memchr(text, '\0', len) != NULL)
		return ldr_fail(err, LDR_BAD_NAME, "reference does not hold the address of a file");
	*url = strndup(text, len);
	return *url != NULL ? LDR_OK : ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
}

void
ldr_reference_format(const char *path, char *buf, size_t bufsize)
{
	const char *name = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
	size_t		len = strlen(name);
	size_t		begin;

	if (len > 3 && strcmp(name + len - 3, ".gz") == 0)
		len -= 3;
	else if (len > 4 && strcmp(name + len - 4, ".zst") == 0)
		len -= 4;
	for (begin = len; begin > 0 && name[begin - 1] != '.'; begin--)
		;
	buf[0] = '\0';
	if (begin == 0 || len - begin >= bufsize)
		return;
	memcpy(buf, name + begin, len - begin);
	buf[len - begin] = '\0';
}
