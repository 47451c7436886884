/*
 * guard.c: memory with an end.
 */
#include "postgres.h"

#include <sys/mman.h>

#include "guard.h"

/* Make one, at the first call with this *end. */
static char *
guard_make(char **end)
{
	if (*end == NULL)
	{
		char	   *start = mmap(NULL, 2 * GUARDED_SIZE, PROT_READ | PROT_WRITE,
								 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (start == MAP_FAILED || mprotect(start + GUARDED_SIZE, GUARDED_SIZE, PROT_NONE) != 0)
			elog(ERROR, "could not set up guarded memory: %m");
		*end = start + GUARDED_SIZE;
	}
	return *end;
}

char *
guarded_end(void)
{
	static char *end = NULL;

	return guard_make(&end);
}

char *
guarded_output_end(void)
{
	static char *end = NULL;

	return guard_make(&end);
}

LdrField
guarded_slack_field(const LdrField *f)
{
	static const char slack[][8] = {"00000000", "99999999", ".5.5.5.5", "\0\0\0\0\0\0\0",
	"-1,2\"\n:Z", "\xff\xff\xff\xff\xff\xff\xff\xff", "abcdefgh"};
	static char *end = NULL;
	static unsigned int turn = 0;
	char	   *p = guard_make(&end) - LDR_FIELD_SLACK;
	LdrField	result = *f;

	for (int i = 0; i < LDR_FIELD_SLACK; i += 8)
		memcpy(p + i, slack[turn % lengthof(slack)], 8);
	turn++;
	result.data = memcpy(p - f->len, f->data, f->len);
	return result;
}

bool
field_is_ascii(const LdrField *f)
{
	for (uint32_t i = 0; i < f->len; i++)
	{
		if ((signed char) f->data[i] <= 0)
			return false;
	}
	return true;
}
