/*
 * convert/bool.c: bool from true and false in any letter case, t, f, 1 and 0. The other spellings
 * (yes, on, prefixes, spaces) are the input function's.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "convert/convert.h"

/* Equal but for letter case; word consists of small letters, of the same length as s. */
static inline bool
bool_is(const char *s, const char *word, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		/* the bit makes a letter small, and makes no letter of anything else */
		if ((s[i] | 0x20) != word[i])
			return false;
	}
	return true;
}

static Datum
bool_convert(LdrConverter *c, const LdrField *f)
{
	if (f->len == 4 && bool_is(f->data, "true", 4))
		return BoolGetDatum(true);
	if (f->len == 5 && bool_is(f->data, "false", 5))
		return BoolGetDatum(false);
	if (f->len == 1)
	{
		switch (f->data[0])
		{
			case '1':
			case 't':
			case 'T':
				return BoolGetDatum(true);
			case '0':
			case 'f':
			case 'F':
				return BoolGetDatum(false);
		}
	}
	return ldr_convert_input(c, f);
}

LdrConvertFn
ldr_bool_converter(Oid typid)
{
	return typid == BOOLOID ? bool_convert : NULL;
}
