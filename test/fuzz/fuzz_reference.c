/*
 * test/fuzz/fuzz_reference.c: any bytes as the file of a reference job, and the address in it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "source/reference.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was accepted is an absolute path; an address that is a path already is that path. */
static void
check_path(const char *url)
{
	LdrError	err = {0};
	char	   *path;
	char	   *again;
	char		format[16];

	if (ldr_reference_path(url, &path, &err) != LDR_OK)
	{
		if (path != NULL || err.message[0] == '\0' || err.hint[0] == '\0')
			abort();
		return;
	}
	if (path[0] != '/' || strlen(path) > strlen(url) ||
		(url[0] == '/' && strcmp(path, url) != 0))
		abort();
	ldr_reference_format(path, format, sizeof(format));
	if (strchr(format, '/') != NULL || strchr(format, '.') != NULL)
		abort();
	/* what an unescaped path looks like is not looked at once more, unless it is a path with :// */
	if (strstr(path, "://") == NULL &&
		(ldr_reference_path(path, &again, &err) != LDR_OK || strcmp(again, path) != 0))
		abort();
	if (strstr(path, "://") == NULL)
		free(again);
	free(path);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	LdrError	err = {0};
	char	   *url;

	if (ldr_reference_parse((const char *) data, size, &url, &err) != LDR_OK)
	{
		if (url != NULL || err.message[0] == '\0')
			abort();
		return 0;
	}
	if (url[0] == '\0' || strchr(url, '\n') != NULL || strlen(url) > size)
		abort();
	check_path(url);
	free(url);
	return 0;
}
