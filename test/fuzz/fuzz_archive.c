/*
 * test/fuzz/fuzz_archive.c: archives, plain or packed. Names that come out stay below their
 * directory, and of each member come as many bytes as it says.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "source/archive.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_MAX_OUTPUT (1 << 20)

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	LdrError	err = {0};
	LdrSource  *s = ldr_codec_source(ldr_memory_source((const char *) data, size), &err);
	LdrArchive *a = s ? ldr_archive_open(s, &err) : NULL;
	LdrMember	member;
	LdrStatus	status = err.status;
	uint64_t	total = 0;

	while (a && total < FUZZ_MAX_OUTPUT && (status = ldr_archive_next(a, &member, &err)) == LDR_OK)
	{
		const char *bytes;
		ssize_t		got = 0;
		uint64_t	len = 0;

		if (member.kind == LDR_MEMBER_SKIPPED)
			continue;
		if (member.name[0] == '.' || member.name[0] == '/' || strstr(member.name, "/.") != NULL)
			abort();
		while (total < FUZZ_MAX_OUTPUT && (got = ldr_archive_read(a, &bytes, &err)) > 0)
		{
			/* touch the bytes, for the sanitizers */
			for (ssize_t i = 0; i < got; i++)
				len += bytes[i] != '\0' || bytes[i] == '\0';
			total += (uint64_t) got;
		}
		if (len > member.size || (got == 0 && total < FUZZ_MAX_OUTPUT && len != member.size))
			abort();
		if (got < 0)
		{
			status = err.status;
			break;
		}
	}
	if (a)
		ldr_archive_close(a);
	if (status != LDR_END && status != LDR_OK && err.message[0] == '\0')
		abort();
	return 0;
}
