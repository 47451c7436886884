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
