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

static inline bool
bool_parse(const LdrField *f, bool *value)
{
	*value = true;
	if (f->len == 4 && bool_is(f->data, "true", 4))
		return true;
	if (f->len == 1 && (f->data[0] == '1' || f->data[0] == 't' || f->data[0] == 'T'))
		return true;
	*value = false;
	if (f->len == 5 && bool_is(f->data, "false", 5))
		return true;
	return f->len == 1 && (f->data[0] == '0' || f->data[0] == 'f' || f->data[0] == 'F');
}

static Datum
bool_convert(LdrConverter *c, const LdrField *f)
{
	bool		value;

	if (!bool_parse(f, &value))
		return ldr_convert_input(c, f);
	return BoolGetDatum(value);
}

static char *
bool_put(const LdrConverter *c, const LdrField *f, char *dst)
{
	bool		value;

	if (!bool_parse(f, &value))
		return NULL;
	*dst = value;
	return dst + 1;
}

bool
ldr_bool_converter(LdrConverter *c)
{
	if (c->typid != BOOLOID)
		return false;
	c->fn = bool_convert;
	c->put = bool_put;
	return true;
}
