/*
 * convert/airbyte_time.c: dates and times by ISO 8601, with what sources make of it: other
 * separators, blanks, eras. Depends on no setting. Where there is a choice (24:00:00, a second 60,
 * how a fraction is rounded, the limits), it is the server's.
 */
#include "postgres.h"

#include "utils/datetime.h"

#include "convert/airbyte_value.h"
#include "convert/digits.h"

#define MAX_YEAR 10000000		/* beyond what any type holds */

/* A date and a time as they were written */
typedef struct IsoTime
{
	int			year;			/* 0 is 1 BC */
	unsigned int month;
	unsigned int day;
	int64		time;			/* microseconds, up to a whole day */
	int			offset;			/* seconds east of UTC */
} IsoTime;

/* One or two digits at *p; more than 99 if there are none. */
static inline unsigned int
iso_number(const char **p, const char *end)
{
	unsigned int value,
				digit;

	if (*p == end || (value = (unsigned char) **p - '0') > 9)
		return 100;
	if (++*p < end && (digit = (unsigned char) **p - '0') <= 9)
	{
		value = value * 10 + digit;
		++*p;
	}
	return value;
}

/* Two digits at *p; more than 99 if there are none. */
static inline unsigned int
iso_two(const char **p, const char *end)
{
	unsigned int value = end - *p < 2 ? 100 : ldr_two_digits(*p);

	*p += 2;
	return value;
}

/* The year at *p, which has four digits or more, with a sign where it has more. */
static bool
iso_year(const char **p, const char *end, int *year)
{
	const char *start;
	int			value = 0;

	if (*p < end && **p == '+')
		++*p;
	for (start = *p; *p < end; ++*p)
	{
		unsigned int digit = (unsigned char) **p - '0';

		if (digit > 9)
			break;
		value = Min(value * 10 + (int) digit, MAX_YEAR);
	}
	*year = value;
	return *p - start >= 4 && value > 0;
}

/* Year, month and day at *p; false if there are none. Months and days need not exist. */
static inline bool
iso_date(const char **p, const char *end, IsoTime *t)
{
	char		separator;

	if (likely(end - *p >= 10 && ldr_two_digits(*p) < 100 && ldr_two_digits(*p + 2) < 100 &&
			   (*p)[4] == '-'))
	{
		t->year = ldr_two_digits(*p) * 100 + ldr_two_digits(*p + 2);
		*p += 4;
		if (t->year == 0)
			return false;
	}
	else if (!iso_year(p, end, &t->year))
		return false;
	if (*p == end)
		return false;
	separator = *(*p)++;
	if (separator != '-' && separator != '/' && separator != '.' && separator != ' ')
		return false;
	t->month = iso_number(p, end);
	if (*p == end || *(*p)++ != separator)
		return false;
	t->day = iso_number(p, end);
	return true;
}

/* The fraction of a second at *p, behind its point. */
static bool
iso_fraction(const char **p, const char *end, int64 *usecs)
{
	char		text[MAXDATELEN + 1] = ".";
	int			n = 1;

	if (likely(ldr_fraction(p, end, usecs)))
		return true;
	/* many digits; the text is not longer than this */
	while (*p < end && n < MAXDATELEN && (unsigned char) (**p - '0') <= 9)
		text[n++] = *(*p)++;
	text[n] = '\0';
	*usecs = (int64) rint(strtod(text, NULL) * USECS_PER_SEC);
	return n > 1;
}

/* Hours, minutes and perhaps seconds at *p, a time of a day. */
static inline bool
iso_time(const char **p, const char *end, int64 *time)
{
	unsigned int hour = iso_two(p, end),
				minute,
				second = 0;
	int64		fraction = 0;

	if (hour > HOURS_PER_DAY || *p >= end || *(*p)++ != ':' || (minute = iso_two(p, end)) > 59)
		return false;
	if (*p < end && **p == ':')
	{
		++*p;
		if ((second = iso_two(p, end)) > SECS_PER_MINUTE)
			return false;
		if (*p < end && (**p == '.' || **p == ','))
		{
			++*p;
			if (!iso_fraction(p, end, &fraction))
				return false;
		}
	}
	*time = (hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE + second) * USECS_PER_SEC + fraction;
	return *time <= USECS_PER_DAY;
}

/* What is between *p and the end must be nothing, or an offset. */
static inline bool
iso_offset(const char *p, const char *end, int *offset)
{
	unsigned int hour,
				minute = 0,
				second = 0;
	bool		negative,
				colon;

	*offset = 0;
	if (p < end && *p == ' ')
	{
		/* a blank before it, but not one that nothing follows */
		if (++p == end)
			return false;
	}
	if (p == end)
		return true;
	if ((*p | 0x20) == 'z')
		return p + 1 == end;
	if (*p != '+' && *p != '-')
		return false;
	negative = (*p++ == '-');
	hour = iso_two(&p, end);
	colon = (p < end && *p == ':');
	if (p < end)
	{
		p += colon;
		minute = iso_two(&p, end);
	}
	if (p < end)
	{
		if (colon && *p++ != ':')
			return false;
		second = iso_two(&p, end);
	}
	if (p != end || hour > MAX_TZDISP_HOUR || minute > 59 || second > 59)
		return false;
	*offset = hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE + second;
	if (negative)
		*offset = -*offset;
	return true;
}

/* Take an era off the end; true if it is BC. */
static inline bool
iso_era(const char *s, const char **end)
{
	const char *p = *end;
	bool		bc;

	if (p - s < 3 || ((p[-1] | 0x20) != 'c' && (p[-1] | 0x20) != 'd'))
		return false;
	bc = ((p[-1] | 0x20) == 'c');
	if ((p[-2] | 0x20) != (bc ? 'b' : 'a'))
		return false;
	p -= 2;
	if (p[-1] == ' ')
		p--;
	*end = p;
	return bc;
}

/* A date, and perhaps a time behind it; days since 2000. */
static inline LdrNulled
iso_parse(const char *s, size_t len, IsoTime *t, DateADT *date)
{
	const char *p = s;
	const char *end = s + len;
	bool		bc;

	if (len > MAXDATELEN)
		return LDR_NULLED_SERIALIZATION;
	bc = iso_era(s, &end);
	if (!iso_date(&p, end, t))
		return LDR_NULLED_SERIALIZATION;
	if (bc)
		t->year = 1 - t->year;
	t->time = 0;
	t->offset = 0;
	if (p < end)
	{
		if (*p != 'T' && *p != ' ' && *p != 't')
			return LDR_NULLED_SERIALIZATION;
		p++;
		if (!iso_time(&p, end, &t->time) || !iso_offset(p, end, &t->offset))
			return LDR_NULLED_SERIALIZATION;
	}
	if (t->month < 1 || t->month > MONTHS_PER_YEAR ||
		t->day < 1 || t->day > (unsigned int) day_tab[isleap(t->year)][t->month - 1])
		return LDR_NULLED_SERIALIZATION;
	if (!IS_VALID_JULIAN(t->year, (int) t->month, (int) t->day))
		return LDR_NULLED_SIZE;
	*date = date2j(t->year, t->month, t->day) - POSTGRES_EPOCH_JDATE;
	return LDR_NULLED_NOT;
}

LdrNulled
ldr_iso_date(const char *s, size_t len, DateADT *date)
{
	IsoTime		t;
	LdrNulled	nulled = iso_parse(s, len, &t, date);

	if (nulled == LDR_NULLED_NOT && !IS_VALID_DATE(*date))
		return LDR_NULLED_SIZE;
	return nulled;
}

LdrNulled
ldr_iso_timestamp(const char *s, size_t len, Timestamp *timestamp, int *offset)
{
	IsoTime		t;
	DateADT		date;
	LdrNulled	nulled = iso_parse(s, len, &t, &date);

	if (nulled != LDR_NULLED_NOT)
		return nulled;
	/* so that it does not overflow: the last days before that are eight */
	if (date > TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE + 1)
		return LDR_NULLED_SIZE;
	*timestamp = date * USECS_PER_DAY + t.time;
	*offset = t.offset;
	return LDR_NULLED_NOT;
}

LdrNulled
ldr_iso_time(const char *s, size_t len, TimeADT *time, int *offset)
{
	const char *p = s;
	const char *end = s + len;

	if (len > MAXDATELEN || !iso_time(&p, end, time) || !iso_offset(p, end, offset))
		return LDR_NULLED_SERIALIZATION;
	return LDR_NULLED_NOT;
}
