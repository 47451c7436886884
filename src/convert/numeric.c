/*
 * convert/numeric.c: numeric from plain decimal numbers, built directly in its stored form.
 *
 * The stored form is private to the server's numeric.c, but it is what lies on disk in every
 * cluster, so it cannot change: a header, then digits of base 10000 without zeros at either end.
 * The header is one word (short form) if scale and weight are small, else two. NaN, exponents,
 * other radixes, underscores, spaces, very long numbers and all that does not fit the column are
 * the input function's.
 *
 * There are three ways. Numbers with up to seven digits before the point and eight behind it, which
 * is what there mostly is, are two words, and become groups without a division; with AVX2, one
 * vector. Others of up to 16 characters that need no rounding are taken as one integer. The rest is
 * read digit by digit.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "port/pg_bitutils.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define NUMERIC_VECTORS
#endif

#include "compat.h"
#include "convert/convert.h"
#include "convert/digits.h"
#include "convert/put.h"

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

#define DIRECT_MAX		8		/* digits before the point and behind it, of the first way */
#define QUICK_MAX		16		/* characters without the sign, of the second */

/*
 * The quick way's result: the stored form behind the length word. Four words of it are one integer,
 * as that is written at once: the processor would have to wait for single ones to be read again.
 */
typedef struct NumericWords
{
	uint64		first;			/* the header and three groups */
	uint64		second;			/* two groups, if there are so many */
	int			n;
} NumericWords;

/* A word at its place of the four */
#ifdef WORDS_BIGENDIAN
#define WORD_AT(i, word) ((uint64) (word) << (48 - 16 * (i)))
#else
#define WORD_AT(i, word) ((uint64) (word) << (16 * (i)))
#endif

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

/* Bytes of the stored form, without the length word */
static inline size_t
numeric_size(const NumericValue *v, bool *is_short)
{
	*is_short = v->scale <= SHORT_SCALE_MAX &&
		v->weight >= SHORT_WEIGHT_MIN && v->weight <= SHORT_WEIGHT_MAX;
	return sizeof(int16) * ((*is_short ? 1 : 2) + v->ngroups);
}

static inline uint16
numeric_short_header(bool negative, int scale, int weight)
{
	return SHORT_FORM | (negative ? SHORT_NEGATIVE : 0) | scale << SHORT_SCALE_SHIFT |
		(weight & (SHORT_WEIGHT_SIGN | SHORT_WEIGHT_MASK));
}

/* Write the stored form behind the length word, to any address. */
static inline void
numeric_write(const NumericValue *v, bool is_short, char *dst)
{
	uint16		header[2];
	size_t		size = is_short ? sizeof(uint16) : sizeof(header);

	if (is_short)
		header[0] = numeric_short_header(v->negative, v->scale, v->weight);
	else
	{
		header[0] = (v->negative ? LONG_NEGATIVE : 0) | v->scale;
		header[1] = (uint16) (int16) v->weight;
	}
	memcpy(dst, header, size);
	memcpy(dst + size, v->groups + v->first, v->ngroups * sizeof(int16));
}

/* Scale and precision of the column; false if it has none. From 15 on scale may be negative. */
static inline bool
numeric_typmod(const LdrConverter *c, int *precision, int *scale)
{
	if (c->typmod < (int32) VARHDRSZ)
		return false;
	*precision = ((c->typmod - VARHDRSZ) >> 16) & 0xffff;
	*scale = (((c->typmod - VARHDRSZ) & 0x7ff) ^ 0x400) - 0x400;
	return true;
}

/*
 * Read digit by digit. With a precision and a scale, round half away from zero, as the input
 * function does. False if the value is one for that.
 */
static bool
numeric_read(const LdrConverter *c, const LdrField *f, NumericValue *v)
{
	int			precision = 0,
				scale;
	bool		has_typmod = numeric_typmod(c, &precision, &scale);
	NumericText t;

	if (unlikely(!numeric_split(f, &t)))
		return false;
	v->scale = has_typmod ? scale : t.nfraction;
	if (v->scale < 0)
		return false;
	numeric_build(&t, v);
	if (t.nfraction > v->scale && t.fraction[v->scale] >= '5')
		numeric_carry(v);
	numeric_strip(v);
	return !has_typmod || v->ngroups == 0 || numeric_magnitude(v) <= precision - v->scale;
}

/*
 * The characters at p, of which there are at least one and at most QUICK_MAX, as an integer, and
 * how many of the digits were behind the point. False if there is anything but digits and one
 * point, that stands before one of the last eight characters or nowhere; or no digit.
 */
static inline bool
numeric_quick_parse(const char *p, size_t len, uint64 *value, int *nfraction)
{
	uint64		high = LDR_EIGHT_ZEROS,
				low,
				point,
				high_value = 0;

	if (len <= 8)
		low = ldr_load_short(p, len);
	else
	{
		high = ldr_load_short(p, len - 8);
		low = ldr_load_eight(p + len - 8);
	}

	/* a byte's high bit is set where there is a point; the lowest is right, others may be wrong */
	point = low ^ UINT64CONST(0x2e2e2e2e2e2e2e2e);
	point = (point - UINT64CONST(0x0101010101010101)) & ~point & UINT64CONST(0x8080808080808080);
	*nfraction = 0;
	if (point != 0)
	{
		/* close the gap: what was before the point moves up by one character */
		uint64		upto = point ^ (point - 1);

		if (unlikely(len == 1))
			return false;
		*nfraction = 7 - pg_rightmost_one_pos64(point) / 8;
		low = (low & ~upto) | (low & upto >> 8) << 8 | high >> 56;
		high = high << 8 | '0';
	}
	if (!ldr_word_digits(low, value) ||
		(high != LDR_EIGHT_ZEROS && !ldr_word_digits(high, &high_value)))
		return false;
	*value += high_value * 100000000;
	return true;
}

static const uint64 power_of_ten[QUICK_MAX + 1] = {
	UINT64CONST(1), UINT64CONST(10), UINT64CONST(100), UINT64CONST(1000), UINT64CONST(10000),
	UINT64CONST(100000), UINT64CONST(1000000), UINT64CONST(10000000), UINT64CONST(100000000),
	UINT64CONST(1000000000), UINT64CONST(10000000000), UINT64CONST(100000000000),
	UINT64CONST(1000000000000), UINT64CONST(10000000000000), UINT64CONST(100000000000000),
	UINT64CONST(1000000000000000), UINT64CONST(10000000000000000)
};

#define BASE_2	UINT64CONST(100000000)
#define BASE_3	UINT64CONST(1000000000000)
#define BASE_4	UINT64CONST(10000000000000000)

/*
 * The groups of a value that is not zero, at their places behind the header; returns how many. Zeros
 * at the end are counted.
 */
static inline int
numeric_quick_groups(uint64 value, NumericWords *words)
{
	if (value < BASE)
	{
		words->first = WORD_AT(1, value);
		return 1;
	}
	if (value < BASE_2)
	{
		words->first = WORD_AT(1, value / BASE) | WORD_AT(2, value % BASE);
		return 2;
	}
	if (value < BASE_3)
	{
		words->first = WORD_AT(1, value / BASE_2) | WORD_AT(2, value / BASE % BASE) |
			WORD_AT(3, value % BASE);
		return 3;
	}
	if (value < BASE_4)
	{
		words->first = WORD_AT(1, value / BASE_3) | WORD_AT(2, value / BASE_2 % BASE) |
			WORD_AT(3, value / BASE % BASE);
		words->second = WORD_AT(0, value % BASE);
		return 4;
	}
	words->first = WORD_AT(1, value / BASE_4) | WORD_AT(2, value / BASE_3 % BASE) |
		WORD_AT(3, value / BASE_2 % BASE);
	words->second = WORD_AT(0, value / BASE % BASE) | WORD_AT(1, value % BASE);
	return 5;
}

/* The quick way; false if the other one has to be gone. */
static inline bool
numeric_quick(const LdrConverter *c, const LdrField *f, NumericWords *words)
{
	const char *p = f->data;
	size_t		len = f->len;
	bool		negative = len > 0 && *p == '-';
	uint64		value;
	int			precision,
				scale,
				nfraction,
				nbehind,
				ngroups;

	p += negative;
	len -= negative;
	if (len - 1 >= QUICK_MAX || !numeric_quick_parse(p, len, &value, &nfraction))
		return false;
	if (numeric_typmod(c, &precision, &scale))
	{
		int			free = precision - scale + nfraction;	/* digits there is room for */

		if (nfraction > scale || scale > SHORT_SCALE_MAX ||
			(free < QUICK_MAX && (free < 0 || value >= power_of_ten[free])))
			return false;
	}
	else
		scale = nfraction;
	words->second = 0;
	if (value == 0)
	{
		words->first = WORD_AT(0, numeric_short_header(false, scale, 0));
		words->n = 1;
		return true;
	}
	nbehind = (nfraction + GROUP - 1) / GROUP;
	value *= ten[nbehind * GROUP - nfraction];
	ngroups = numeric_quick_groups(value, words);
	words->first |= WORD_AT(0, numeric_short_header(negative, scale, ngroups - 1 - nbehind));
	words->n = 1 + ngroups;
	for (; value % BASE == 0; value /= BASE)
		words->n--;
	return true;
}

/* Up to 16 bytes, of which words->n words count. */
static inline void
numeric_quick_write(const NumericWords *words, char *dst)
{
	memcpy(dst, &words->first, sizeof(words->first));
	memcpy(dst + sizeof(words->first), &words->second, sizeof(words->second));
}

/* Four groups, the first of them lowest, of two words of eight digits without their high halves. */
static inline uint64
numeric_direct_groups(uint64 high, uint64 low)
{
#define PAIRS UINT64CONST(0x00ff00ff00ff00ff)
#define GROUPS UINT64CONST(0x0000ffff0000ffff)
	high = (high * 10 + (high >> 8)) & PAIRS;
	low = (low * 10 + (low >> 8)) & PAIRS;
	high = (high * 100 + (high >> 16)) & GROUPS;
	low = (low * 100 + (low >> 16)) & GROUPS;
#undef PAIRS
#undef GROUPS
	return ((high | high >> 16) & PG_UINT32_MAX) | (low | low >> 16) << 32;
}

/* Of each set of groups that are not zero: where the stored ones begin, how many, what weight. */
typedef struct NumericShape
{
	uint8		shift;			/* bits before the first */
	uint8		size;			/* bytes from the first to the last */
	uint16		header;			/* its constant bits, the weight, and the sign if there may be one */
} NumericShape;

#define SHAPE(first, n) \
	{16 * (first), 2 * (n), SHORT_FORM | SHORT_NEGATIVE | \
		((1 - (first)) & (SHORT_WEIGHT_SIGN | SHORT_WEIGHT_MASK))}

static const NumericShape numeric_shapes[16] = {
	{0, 0, SHORT_FORM}, SHAPE(0, 1), SHAPE(1, 1), SHAPE(0, 2), SHAPE(2, 1), SHAPE(0, 3),
	SHAPE(1, 2), SHAPE(0, 3), SHAPE(3, 1), SHAPE(0, 4), SHAPE(1, 3), SHAPE(0, 4), SHAPE(2, 2),
	SHAPE(0, 4), SHAPE(1, 3), SHAPE(0, 4)
};

/*
 * Write a number of four groups, of which the first is lowest, and its length; returns its end. Two
 * of the groups are before the point.
 */
static inline char *
numeric_direct_write(uint64 groups, unsigned int negative, int scale, char *dst)
{
	/* the highest bit of each that is not zero, then these four moved together */
	uint64		bits = ((groups + UINT64CONST(0x7fff7fff7fff7fff)) >> 15) &
		UINT64CONST(0x0001000100010001);
	NumericShape shape = numeric_shapes[(bits * UINT64CONST(0x0001000200040008)) >> 48 & 15];
	unsigned int header = (shape.header & (~SHORT_NEGATIVE | negative << 13)) |
		scale << SHORT_SCALE_SHIFT;
	uint16		word = (uint16) header;

	groups >>= shape.shift;
	SET_VARSIZE_SHORT(dst, VARHDRSZ_SHORT + sizeof(word) + shape.size);
	memcpy(dst + VARHDRSZ_SHORT, &word, sizeof(word));
	dst += VARHDRSZ_SHORT + sizeof(word);
#ifdef WORDS_BIGENDIAN
	for (int i = 0; i < 4; i++)
	{
		int16		group = (int16) (groups >> (16 * i));

		memcpy(dst + i * sizeof(group), &group, sizeof(group));
	}
#else
	memcpy(dst, &groups, sizeof(groups));
#endif
	return dst + shape.size;
}

/*
 * The direct way, for what has a point among the first eight characters behind the sign and no more
 * than eight digits behind it. What is behind the field can be read. Writes the value with its
 * length, from dst on, and returns its end; NULL if another way has to be gone.
 */
static inline char *
numeric_direct_put(const LdrConverter *c, const LdrField *f, char *dst)
{
	const char *p = f->data;
	unsigned int negative = ldr_same_byte(*p, '-');
	uint64		high,
				low,
				point,
				groups;
	int			len,
				ninteger,
				nfraction,
				scale;

	p += negative;
	len = (int) f->len - negative;
	high = ldr_load_eight(p);
	/* a byte's high bit is set where there is a point; the lowest is right, others may be wrong */
	point = high ^ UINT64CONST(0x2e2e2e2e2e2e2e2e);
	point = (point - UINT64CONST(0x0101010101010101)) & ~point & UINT64CONST(0x8080808080808080);
	if (point == 0)
		return NULL;
	ninteger = pg_rightmost_one_pos64(point) / 8;
	nfraction = len - ninteger - 1;
	if (nfraction < 1 || nfraction > c->behind)
		return NULL;

	/* digits before the point end where a word ends, those behind it begin where one begins */
	high = ((high ^ LDR_EIGHT_ZEROS) << 8) << (8 * (DIRECT_MAX - 1 - ninteger));
	low = (ldr_load_eight(p + ninteger + 1) ^ LDR_EIGHT_ZEROS) &
		(~UINT64CONST(0) >> (8 * (DIRECT_MAX - nfraction)));
	if (!ldr_are_digits(high) || !ldr_are_digits(low) || (ninteger > c->before && high != 0))
		return NULL;
	groups = numeric_direct_groups(high, low);
	scale = c->scale < 0 ? nfraction : c->scale;
	return numeric_direct_write(groups, negative, scale, dst);
}

/* Apart, so that the direct way needs no room on the stack. */
static pg_noinline char *
numeric_put_other(const LdrConverter *c, const LdrField *f, char *dst)
{
	NumericWords words;
	NumericValue v;
	bool		is_short;
	size_t		size;

	if (numeric_quick(c, f, &words))
	{
		size = words.n * sizeof(uint16);
		dst = ldr_put_varlena(dst, size);
		numeric_quick_write(&words, dst);
		return dst + size;
	}
	if (!numeric_read(c, f, &v))
		return NULL;
	size = numeric_size(&v, &is_short);
	dst = ldr_put_varlena(dst, size);
	numeric_write(&v, is_short, dst);
	return dst + size;
}

#ifdef NUMERIC_VECTORS
#define VECTORS __attribute__((target("avx2,bmi,bmi2")))

/*
 * The same with all characters in one vector, also of a number without a point. A column's routine
 * by itself, which goes on to the others.
 */
VECTORS static char *
numeric_put_vector(const LdrConverter *c, const LdrField *f, char *dst)
{
	/* in memory: compilers would rather make them anew each time */
	static const struct
	{
		int8		points[16];
		int8		zeros[16];
		int8		nines[16];
		int8		high[16];
		/* of which characters the digits are: eight that end before the point, eight behind it */
		int8		places[16];
		int8		tens[16];
		int16		hundreds[8];
		int8		ones[32];
	}			k = {
		{'.', '.', '.', '.', '.', '.', '.', '.', '.', '.', '.', '.', '.', '.', '.', '.'},
		{'0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0'},
		{9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9},
		{112, 112, 112, 112, 112, 112, 112, 112, 112, 112, 112, 112, 112, 112, 112, 112},
		{-8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8},
		{10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1},
		{100, 1, 100, 1, 100, 1, 100, 1},
		{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}
	};
#define K(name) _mm_loadu_si128((const __m128i *) k.name)
	unsigned int negative = ldr_same_byte(*f->data, '-');
	unsigned int len = f->len - negative;
	unsigned int keep = (1U << (len & 31)) - 1;
	unsigned int point,
				digits;
	int			ninteger,
				nfraction,
				scale;
	uint64		groups;
	__m128i		x = _mm_loadu_si128((const __m128i *) (f->data + negative));

	point = (unsigned int) _mm_movemask_epi8(_mm_cmpeq_epi8(x, K(points))) & keep;
	x = _mm_sub_epi8(x, K(zeros));
	digits = (unsigned int) _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(x, K(nines)), x));
	ninteger = (int) _tzcnt_u32(point | (keep + 1));
	nfraction = (int) len - ninteger - (point != 0);
	if (unlikely(len - 1 >= QUICK_MAX || (keep & ~(digits | (point & -point))) != 0 ||
				 ninteger > DIRECT_MAX || nfraction > c->behind || point == keep))
		return numeric_put_other(c, f, dst);

	/* what is behind the number becomes zeros, and so does what would be outside of the vector */
	x = _mm_and_si128(x, _mm_loadu_si128((const __m128i *) (k.ones + 16 - len)));
	x = _mm_shuffle_epi8(x, _mm_adds_epu8(_mm_add_epi8(K(places), _mm_set1_epi8((char) ninteger)),
										  K(high)));
	x = _mm_madd_epi16(_mm_maddubs_epi16(x, K(tens)), K(hundreds));
	groups = (uint64) _mm_cvtsi128_si64(_mm_packus_epi32(x, x));
#undef K
	if (unlikely(ninteger > c->before && (groups & PG_UINT32_MAX) != 0))
		return numeric_put_other(c, f, dst);
	scale = c->scale < 0 ? nfraction : c->scale;
	return numeric_direct_write(groups, negative, scale, dst);
}

static bool
numeric_has_vectors(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
		__builtin_cpu_supports("bmi2");
}
#endif

char *
ldr_write_numeric(const char *text, size_t len, char *dst)
{
	static const LdrConverter any = {.typid = NUMERICOID, .typmod = -1};
	const LdrField f = {text, (uint32_t) len, LDR_BARE};
	NumericWords words;
	NumericValue v;
	bool		is_short;
	size_t		size;

	if (numeric_quick(&any, &f, &words))
	{
		size = words.n * sizeof(uint16);
		numeric_quick_write(&words, dst + VARHDRSZ);
	}
	else
	{
		if (!numeric_read(&any, &f, &v))
			elog(ERROR, "unexpected number in JSON");
		size = numeric_size(&v, &is_short);
		numeric_write(&v, is_short, dst + VARHDRSZ);
	}
	SET_VARSIZE(dst, VARHDRSZ + size);
	return dst + VARHDRSZ + size;
}

static Datum
numeric_convert(LdrConverter *c, const LdrField *f)
{
	NumericWords words;
	NumericValue v;
	bool		is_short;
	size_t		size;
	struct varlena *result;

	if (likely(numeric_quick(c, f, &words)))
	{
		size = words.n * sizeof(uint16);
		result = palloc(VARHDRSZ + 2 * sizeof(uint64));
		numeric_quick_write(&words, VARDATA(result));
	}
	else
	{
		if (!numeric_read(c, f, &v))
			return ldr_convert_input(c, f);
		size = numeric_size(&v, &is_short);
		result = palloc(VARHDRSZ + size);
		numeric_write(&v, is_short, VARDATA(result));
	}
	SET_VARSIZE(result, VARHDRSZ + size);
	return PointerGetDatum(result);
}

char *
ldr_put_numeric(const LdrConverter *c, const LdrField *f, char *dst)
{
	char	   *end = numeric_direct_put(c, f, dst);

	return likely(end != NULL) ? end : numeric_put_other(c, f, dst);
}

/* Of which numbers the direct way may be gone. */
static void
numeric_direct_init(LdrConverter *c)
{
	int			precision,
				scale;

	c->scale = -1;
	c->before = INT_MAX;
	c->behind = DIRECT_MAX;
	if (!numeric_typmod(c, &precision, &scale))
		return;
	c->scale = scale;
	c->before = precision - scale;
	c->behind = scale > SHORT_SCALE_MAX || c->before < 0 ? -1 : Min(scale, DIRECT_MAX);
}

bool
ldr_numeric_converter(LdrConverter *c)
{
	if (c->typid != NUMERICOID)
		return false;
	numeric_direct_init(c);
	c->fn = numeric_convert;
	c->put = ldr_put_numeric;
#ifdef NUMERIC_VECTORS
	if (numeric_has_vectors())
		c->put = numeric_put_vector;
#endif
	return true;
}
