/*
 * generate.h: random text for a type, half of it valid.
 */
#ifndef GENERATE_H
#define GENERATE_H

#include "lib/stringinfo.h"

typedef struct Random
{
	uint64		state;
} Random;

extern uint64 random_next(Random *r);

/* Replace the contents of buf by a random value for a column of the type. */
extern void generate_value(Random *r, Oid typid, int32 typmod, StringInfo buf);

#endif							/* GENERATE_H */
