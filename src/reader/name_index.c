/*
 * reader/name_index.c: a hash table of names with open addressing. No postgres.h.
 */
#include "reader/name_index.h"

#include <stdlib.h>
#include <string.h>

static inline unsigned char
name_lower(char c)
{
	return (unsigned char) (c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* FNV-1a: names are short, and few of them are ever looked up by hash. */
static uint32_t
name_hash(const char *s, size_t len, bool fold)
{
	uint32_t	h = 2166136261U;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (fold ? name_lower(s[i]) : (unsigned char) s[i])) * 16777619U;
	return h ^ (h >> 15);
}

static bool
name_equal(const char *a, const char *b, size_t len, bool fold)
{
	if (!fold)
		return memcmp(a, b, len) == 0;
	for (size_t i = 0; i < len; i++)
		if (name_lower(a[i]) != name_lower(b[i]))
			return false;
	return true;
}

bool
ldr_name_index_init(LdrNameIndex *x, int n, bool fold)
{
	uint32_t	size = 8;

	while (size < (uint32_t) n * 2)
		size *= 2;
	x->fold = fold;
	x->nkeys = 0;
	x->mask = size - 1;
	x->slots = calloc(size, sizeof(int));
	x->keys = calloc((size_t) n + 1, sizeof(LdrNameKey));
	return x->slots != NULL && x->keys != NULL;
}

/* The slot of a name, or the free one where it belongs. */
static uint32_t
name_slot(const LdrNameIndex *x, const char *name, size_t len, uint32_t hash)
{
	uint32_t	slot = hash & x->mask;

	for (; x->slots[slot] != 0; slot = (slot + 1) & x->mask)
	{
		const LdrNameKey *k = &x->keys[x->slots[slot] - 1];

		if (k->hash == hash && k->len == len && name_equal(k->name, name, len, x->fold))
			break;
	}
	return slot;
}

int
ldr_name_index_add(LdrNameIndex *x, const char *name, size_t len)
{
	uint32_t	hash = name_hash(name, len, x->fold);
	uint32_t	slot = name_slot(x, name, len, hash);

	x->keys[x->nkeys++] = (LdrNameKey) {name, (uint32_t) len, hash};
	if (x->slots[slot] == 0)
		x->slots[slot] = x->nkeys;
	return x->slots[slot] - 1;
}

int
ldr_name_index_find(const LdrNameIndex *x, const char *name, size_t len)
{
	return x->slots[name_slot(x, name, len, name_hash(name, len, x->fold))] - 1;
}

void
ldr_name_index_free(LdrNameIndex *x)
{
	free(x->keys);
	free(x->slots);
}
