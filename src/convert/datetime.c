/*
 * convert/datetime.c: date, time, timestamp and timestamptz from ISO 8601 text:
 * YYYY-MM-DD, HH:MM:SS[.fraction], both with 'T' or a space between, and Z or +HH, +HHMM, +HH:MM
 * behind a timestamptz.
 *
 * These forms mean the same under every DateStyle and TimeZone. A timestamptz without an offset
 * does not, and is the input function's, as are years before 1 and after 9999, leap seconds,
 * 24:00:00, names of zones, a timestamp with an offset, and all that is invalid.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "convert/convert.h"

#define DATE_LENGTH		10		/* YYYY-MM-DD */
#define TIME_LENGTH		8		/* HH:MM:SS */

/*
 * Up to this many digits a fraction is the quotient of two integers that a double holds exactly,
 * and so what strtod makes of it.
 */
#define MAX_FRACTION	15

/* Two digits -> their value, or 100 and more if they are not digits. */
static inline unsigned int
datetime_two(const char *p)
{
	unsigned int high = (unsigned char) p[0] - '0';
	unsigned int low = (unsigned char) p[1] - '0';

	return (high > 9 || low > 9) ? 100 : high * 10 + low;
}

/* Parse the date at p, which has DATE_LENGTH bytes, to days since 2000; false if it is no date. */
static inline bool
datetime_parse_date(const char *p, DateADT *date)
{
	unsigned int century = datetime_two(p);
	unsigned int decade = datetime_two(p + 2);
	unsigned int month = datetime_two(p + 5);
	unsigned int day = datetime_two(p + 8);
	int			year = century * 100 + decade;

	if (p[4] != '-' || p[7] != '-' || century > 99 || decade > 99 || year < 1 ||
		month < 1 || month > MONTHS_PER_YEAR ||
		day < 1 || day > (unsigned int) day_tab[isleap(year)][month - 1])
		return false;
	*date = date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
	return true;
}

/*
 * Parse digits at *p as the fraction of a second, in microseconds, possibly a whole second after
 * rounding; false if there are none or too many.
 */
static inline bool
datetime_parse_fraction(const char **p, const char *end, int64 *usecs)
{
	static const int ten[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
	static const double double_ten[] = {1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
	const char *start = *p;
	const char *s = start;
	int64		value = 0;
	int			ndigits;

	for (; s < end; s++)
	{
		unsigned int digit = (unsigned char) *s - '0';

		if (digit > 9)
			break;
		if (s - start >= MAX_FRACTION)
			return false;
		value = value * 10 + digit;
	}
	ndigits = (int) (s - start);
	if (ndigits == 0)
		return false;
	*p = s;
	if (ndigits <= 6)
		*usecs = value * ten[ndigits];
	else
		/* the server's own arithmetic, so that ties fall the same way */
		*usecs = (int64) rint((double) value / double_ten[ndigits - 7] * USECS_PER_SEC);
	return true;
}

/* Parse the time at *p and move on behind it; false if it is not a time before 24:00. */
static inline bool
datetime_parse_time(const char **p, const char *end, int64 *usecs)
{
	const char *s = *p;
	unsigned int hour,
				minute,
				second;
	int64		fraction = 0;

	if (end - s < TIME_LENGTH || s[2] != ':' || s[5] != ':')
		return false;
	hour = datetime_two(s);
	minute = datetime_two(s + 3);
	second = datetime_two(s + 6);
	if (hour > 23 || minute > 59 || second > 59)
		return false;
	s += TIME_LENGTH;
	if (s < end && *s == '.')
	{
		s++;
		if (!datetime_parse_fraction(&s, end, &fraction))
			return false;
	}
	*usecs = (int64) (hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE + second) * USECS_PER_SEC +
		fraction;
	*p = s;
	return true;
}

/*
 * Parse [p, end) as an offset from UTC, east of it being positive. Z is UTC in every set of time
 * zone abbreviations that comes with the server.
 */
static inline bool
datetime_parse_offset(const char *p, const char *end, int64 *usecs)
{
	bool		negative = (*p == '-');
	unsigned int hour,
				minute = 0;

	if (end - p == 1 && *p == 'Z')
	{
		*usecs = 0;
		return true;
	}
	if (end - p < 3 || (*p != '-' && *p != '+'))
		return false;
	hour = datetime_two(p + 1);
	p += 3;
	if (end - p == 3 && *p == ':')
		minute = datetime_two(p + 1);
	else if (end - p == 2)
		minute = datetime_two(p);
	else if (p != end)
		return false;
	if (hour > MAX_TZDISP_HOUR || minute > 59)
		return false;
	*usecs = (int64) (hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE) * USECS_PER_SEC;
	if (negative)
		*usecs = -*usecs;
	return true;
}

/* Parse the date and the time at *p and move on behind them. */
static inline bool
datetime_parse_timestamp(const char **p, const char *end, Timestamp *timestamp)
{
	const char *s = *p;
	DateADT		date;
	int64		time;

	if (end - s < DATE_LENGTH + 1 + TIME_LENGTH ||
		!datetime_parse_date(s, &date) || (s[DATE_LENGTH] != 'T' && s[DATE_LENGTH] != ' '))
		return false;
	s += DATE_LENGTH + 1;
	if (!datetime_parse_time(&s, end, &time))
		return false;
	*timestamp = date * USECS_PER_DAY + time;
	*p = s;
	return true;
}

/*
 * Round to the precision of timestamp(p), half away from 2000, as the server does. Its function
 * for that is not exported by all versions.
 */
static inline Timestamp
datetime_round(Timestamp timestamp, int32 typmod)
{
	static const int64 unit[MAX_TIMESTAMP_PRECISION] = {1000000, 100000, 10000, 1000, 100, 10};
	int64		u;

	if (typmod < 0 || typmod >= MAX_TIMESTAMP_PRECISION)
		return timestamp;
	u = unit[typmod];
	return (timestamp + (timestamp < 0 ? -u / 2 : u / 2)) / u * u;
}

static Datum
datetime_date(LdrConverter *c, const LdrField *f)
{
	DateADT		date;

	if (unlikely(f->len != DATE_LENGTH || !datetime_parse_date(f->data, &date)))
		return ldr_convert_input(c, f);
	return DateADTGetDatum(date);
}

static Datum
datetime_time(LdrConverter *c, const LdrField *f)
{
	const char *p = f->data;
	const char *end = p + f->len;
	TimeADT		time;

	if (unlikely(!datetime_parse_time(&p, end, &time) || p != end))
		return ldr_convert_input(c, f);
	AdjustTimeForTypmod(&time, c->typmod);
	return TimeADTGetDatum(time);
}

static Datum
datetime_timestamp(LdrConverter *c, const LdrField *f)
{
	const char *p = f->data;
	const char *end = p + f->len;
	Timestamp	timestamp;

	if (unlikely(!datetime_parse_timestamp(&p, end, &timestamp) || p != end))
		return ldr_convert_input(c, f);
	return TimestampGetDatum(datetime_round(timestamp, c->typmod));
}

static Datum
datetime_timestamptz(LdrConverter *c, const LdrField *f)
{
	const char *p = f->data;
	const char *end = p + f->len;
	Timestamp	timestamp;
	int64		offset;

	if (unlikely(!datetime_parse_timestamp(&p, end, &timestamp) || p == end ||
				 !datetime_parse_offset(p, end, &offset)))
		return ldr_convert_input(c, f);
	return TimestampTzGetDatum(datetime_round(timestamp - offset, c->typmod));
}

LdrConvertFn
ldr_datetime_converter(Oid typid)
{
	switch (typid)
	{
		case DATEOID:
			return datetime_date;
		case TIMEOID:
			return datetime_time;
		case TIMESTAMPOID:
			return datetime_timestamp;
		case TIMESTAMPTZOID:
			return datetime_timestamptz;
		default:
			return NULL;
	}
}
