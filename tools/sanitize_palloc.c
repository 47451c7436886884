/*
 * tools/sanitize_palloc.c: what our code allocates, in blocks of its own. Preloaded into a server in
 * which the extension calls these functions instead of palloc and palloc0.
 *
 * A chunk of more than 8 kB is a block of malloc, which the server gives back when the chunk or its
 * context goes. The part that was not asked for is poisoned.
 */
#include "postgres.h"

#include <sanitizer/asan_interface.h>

#define BLOCK (16 * 1024)

extern void *ldr_san_palloc(Size size);
extern void *ldr_san_palloc0(Size size);

void *
ldr_san_palloc(Size size)
{
	char	   *p;

	/* what is large has a block of its own, or is refused */
	if (size > BLOCK / 2)
		return palloc(size);
	p = palloc(BLOCK);
	ASAN_POISON_MEMORY_REGION(p + size, BLOCK - size);
	return p;
}

void *
ldr_san_palloc0(Size size)
{
	return memset(ldr_san_palloc(size), 0, size);
}

/*
 * With the sanitizer's library loaded first, a lock of the C library's for translations is found in a
 * state that it cannot leave, and the server would wait for it before it has said a word. Messages
 * stay untranslated.
 */
char *
textdomain(const char *domain)
{
	return unconstify(char *, domain);
}

char *
bindtextdomain(const char *domain, const char *directory)
{
	return unconstify(char *, directory);
}

char *
bind_textdomain_codeset(const char *domain, const char *codeset)
{
	return unconstify(char *, codeset);
}
