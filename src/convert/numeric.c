/*
 * convert/numeric.c: numeric from plain decimal numbers, built directly in its stored form.
 *
 * The stored form is private to the server's numeric.c, but it is what lies on disk in every
 * cluster, so it cannot change: a header, then digits of base 10000 without zeros at either end.
 * The header is one word (short form) if scale and weight are small, else two. NaN, exponents,
 * other radixes, underscores, spaces, very long numbers and all that does not fit the column are
 * the input function's.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "compat.h"
#include "convert/convert.h"

#define MAX_LENGTH		320		/* of the text; numeric(156,78) needs 158 */
#define GROUP			4		/* decimal digits in a stored digit */
#define BASE			10000
#define MAX_GROUPS		(MAX_LENGTH / GROUP + 3)

/* The header, see above */
#define SHORT_FORM			0x8000
#define SHORT_NEGATIVE		0x2000
#define SHORT_SCALE_SHIFT	7
#define SHORT_SCALE_MAX		0x3f
#define SHORT_WEIGHT_SIGN	0x0040
#define SHORT_WEIGHT_MASK	0x003f
#define SHORT_WEIGHT_MIN	(-64)
#define SHORT_WEIGHT_MAX	63
#define LONG_NEGATIVE		0x4000

/* A number in text: sign, digits before and behind the point */
typedef struct NumericText
{
	const char *integer;		/* without zeros in front */
	const char *fraction;
	int			ninteger;
	int			nfraction;
	bool		negative;
} NumericText;

/* A number in groups: the sum of groups[first + i] * BASE^(weight - i) */
typedef struct NumericValue
{
	int16		groups[MAX_GROUPS];
	int			first;			/* 1, groups[0] being free for a carry */
	int			ngroups;
	int			weight;
	int			scale;			/* digits shown behind the point */
	bool		negative;
} NumericValue;

static const int16 ten[GROUP] = {1, 10, 100, 1000};

static inline const char *
numeric_skip_digits(const char *p, const char *end)
{
	while (p < end && (unsigned char) (*p - '0') <= 9)
		p++;
	return p;
}

/* Find the parts of [sign] digits [. digits]; false if the field is anything else, or too long. */
static inline bool
numeric_split(const LdrField *f, NumericText *t)
{
	const char *p = f->data;
	const char *end = p + f->len;
	const char *start;

	if (f->len == 0 || f->len > MAX_LENGTH)
		return false;
	t->negative = (*p == '-');
	if (*p == '-' || *p == '+')
		p++;

	start = p;
	p = numeric_skip_digits(p, end);
	t->integer = start;
	t->ninteger = (int) (p - start);
	t->fraction = p;
	t->nfraction = 0;
	if (p < end && *p == '.')
	{
		start = ++p;
		p = numeric_skip_digits(p, end);
		t->fraction = start;
		t->nfraction = (int) (p - start);
	}
	if (p < end || t->ninteger + t->nfraction == 0)
		return false;
	while (t->ninteger > 0 && *t->integer == '0')
	{
		t->integer++;
		t->ninteger--;
	}
	return true;
}

static inline int16
numeric_group(const char *p, int ndigits)
{
	int			value = 0;

	for (int i = 0; i < ndigits; i++)
		value = value * 10 + (p[i] - '0');
	return (int16) value;
}

/* Put the digits into groups, of the fraction as many as there are in the scale. */
static inline void
numeric_build(const NumericText *t, NumericValue *v)
{
	int16	   *group = v->groups;
	int			nfraction = Min(t->nfraction, v->scale);
	int			odd = t->ninteger % GROUP;
	const char *p;
	const char *end;

	*group++ = 0;				/* room for a carry */

	p = t->integer;
	end = p + t->ninteger;
	if (odd > 0)
	{
		*group++ = numeric_group(p, odd);
		p += odd;
	}
	for (; p < end; p += GROUP)
		*group++ = numeric_group(p, GROUP);

	odd = nfraction % GROUP;
	p = t->fraction;
	end = p + nfraction - odd;
	for (; p < end; p += GROUP)
		*group++ = numeric_group(p, GROUP);
	if (odd > 0)
		*group++ = numeric_group(p, odd) * ten[GROUP - odd];

	v->negative = t->negative;
	v->weight = (t->ninteger + GROUP - 1) / GROUP - 1;
	v->first = 1;
	v->ngroups = (int) (group - v->groups) - 1;
}

/* Add one to the last digit of the scale. */
static void
numeric_carry(NumericValue *v)
{
	int			i = v->first + v->ngroups - 1;

	v->groups[i] += ten[(GROUP - v->scale % GROUP) % GROUP];
	while (v->groups[i] >= BASE)
	{
		v->groups[i] -= BASE;
		v->groups[--i]++;
	}
	if (i < v->first)
	{
		/* also where there was no group at all: 0.7 at scale 0 */
		v->first--;
		v->ngroups++;
		v->weight++;
	}
}

/* The stored form has no zeros at either end, and one zero only. */
static inline void
numeric_strip(NumericValue *v)
{
	while (v->ngroups > 0 && v->groups[v->first] == 0)
	{
		v->first++;
		v->ngroups--;
		v->weight--;
	}
	while (v->ngroups > 0 && v->groups[v->first + v->ngroups - 1] == 0)
		v->ngroups--;
	if (v->ngroups == 0)
	{
		v->weight = 0;
		v->negative = false;
	}
}

/* Position of the highest digit that is not zero, from the point: 3 for 123, 0 for 0.1 */
static inline int
numeric_magnitude(const NumericValue *v)
{
	int			top = v->groups[v->first];

	return v->weight * GROUP + (top >= 1000 ? 4 : top >= 100 ? 3 : top >= 10 ? 2 : 1);
}

static inline Datum
numeric_store(const NumericValue *v)
{
	bool		is_short = v->scale <= SHORT_SCALE_MAX &&
		v->weight >= SHORT_WEIGHT_MIN && v->weight <= SHORT_WEIGHT_MAX;
	size_t		size = VARHDRSZ + sizeof(int16) * ((is_short ? 1 : 2) + v->ngroups);
	struct varlena *result = palloc(size);
	uint16	   *word = (uint16 *) VARDATA(result);

	SET_VARSIZE(result, size);
	if (is_short)
		*word++ = SHORT_FORM | (v->negative ? SHORT_NEGATIVE : 0) |
			v->scale << SHORT_SCALE_SHIFT |
			(v->weight < 0 ? SHORT_WEIGHT_SIGN : 0) | (v->weight & SHORT_WEIGHT_MASK);
	else
	{
		*word++ = (v->negative ? LONG_NEGATIVE : 0) | v->scale;
		*word++ = (uint16) (int16) v->weight;
	}
	memcpy(word, v->groups + v->first, v->ngroups * sizeof(int16));
	return PointerGetDatum(result);
}

/* With a precision and a scale, rounds half away from zero, as the input function does. */
static Datum
numeric_convert(LdrConverter *c, const LdrField *f)
{
	bool		has_typmod = c->typmod >= (int32) VARHDRSZ;
	int			precision = 0;
	NumericText t;
	NumericValue v;

	if (unlikely(!numeric_split(f, &t)))
		return ldr_convert_input(c, f);

	v.scale = t.nfraction;
	if (has_typmod)
	{
		precision = ((c->typmod - VARHDRSZ) >> 16) & 0xffff;
		v.scale = (c->typmod - VARHDRSZ) & 0x7ff;
		if (v.scale & 0x400)	/* negative */
			return ldr_convert_input(c, f);
	}

	numeric_build(&t, &v);
	if (t.nfraction > v.scale && t.fraction[v.scale] >= '5')
		numeric_carry(&v);
	numeric_strip(&v);

	if (has_typmod && v.ngroups > 0 && numeric_magnitude(&v) > precision - v.scale)
		return ldr_convert_input(c, f);
	return numeric_store(&v);
}

LdrConvertFn
ldr_numeric_converter(Oid typid)
{
	return typid == NUMERICOID ? numeric_convert : NULL;
}
