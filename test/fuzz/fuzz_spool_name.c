/*
 * test/fuzz/fuzz_spool_name.c: names that become paths: whatever is accepted stays below its
 * directory.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "source/spool_name.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No element that is empty, or begins with a dot, and at most three of them. */
static void
check_path(const char *path)
{
	int			depth = 1;

	for (const char *p = path;; p = strchr(p, '/') + 1)
	{
		if (*p == '\0' || *p == '/' || *p == '.')
			abort();
		if (strchr(p, '/') == NULL)
			break;
		depth++;
	}
	if (depth > 3 || strchr(path, '\\') != NULL || strlen(path) > LDR_MAX_SPOOL_NAME)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size + 1);
	char		name[LDR_MAX_SPOOL_NAME + 1];
	LdrSpoolKind kind;
	LdrMemberKind member;
	LdrError	err = {0};

	memcpy(text, data, size);
	text[size] = '\0';
	if (ldr_upload_id_check(text, &err) == LDR_OK && (strchr(text, '/') || text[0] == '.'))
		abort();
	if (ldr_spool_name_check(text, &kind, &err) == LDR_OK)
		check_path(text);
	else if (err.message[0] == '\0')
		abort();
	for (int directory = 0; directory < 2; directory++)
	{
		memset(&err, 0, sizeof(err));
		if (ldr_member_name_parse(text, directory, name, &member, &err) != LDR_OK)
		{
			if (err.message[0] == '\0')
				abort();
		}
		else if (member == LDR_MEMBER_FILE)
			check_path(name);
	}
	free(text);
	return 0;
}
