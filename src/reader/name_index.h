/*
 * reader/name_index.h: find a name among many. For src/reader only. No postgres.h.
 */
#ifndef LDR_NAME_INDEX_H
#define LDR_NAME_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct LdrNameKey
{
	const char *name;			/* not owned */
	uint32_t	len;
	uint32_t	hash;
} LdrNameKey;

typedef struct LdrNameIndex
{
	LdrNameKey *keys;			/* in the order of their positions */
	int			nkeys;
	bool		fold;			/* the case of ASCII letters does not count */
	int		   *slots;			/* position + 1, 0: free; open addressing */
	uint32_t	mask;
} LdrNameIndex;

/* Make an empty index with room for n names. False: out of memory; free it nevertheless. */
extern bool ldr_name_index_init(LdrNameIndex *x, int n, bool fold);

/* Give a name the next position. Returns it, or that of an equal name that was added before. */
extern int	ldr_name_index_add(LdrNameIndex *x, const char *name, size_t len);

/* The position of a name, the first one if it was added more than once; -1 if there is none. */
extern int	ldr_name_index_find(const LdrNameIndex *x, const char *name, size_t len);

extern void ldr_name_index_free(LdrNameIndex *x);

#endif							/* LDR_NAME_INDEX_H */
