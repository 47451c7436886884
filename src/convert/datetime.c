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
#include "convert/digits.h"

#define DATE_LENGTH		10		/* YYYY-MM-DD */
#define TIME_LENGTH		8		/* HH:MM:SS */

/* Parse the date at p, which has DATE_LENGTH bytes, to days since 2000; false if it is no date. */
static inline bool
datetime_parse_date(const char *p, DateADT *date)
{
	unsigned int century = ldr_two_digits(p);
	unsigned int decade = ldr_two_digits(p + 2);
	unsigned int month = ldr_two_digits(p + 5);
	unsigned int day = ldr_two_digits(p + 8);
	int			year = century * 100 + decade;

	if (p[4] != '-' || p[7] != '-' || century > 99 || decade > 99 || year < 1 ||
		month < 1 || month > MONTHS_PER_YEAR ||
		day < 1 || day > (unsigned int) day_tab[isleap(year)][month - 1])
		return false;
	*date = date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
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
	hour = ldr_two_digits(s);
	minute = ldr_two_digits(s + 3);
	second = ldr_two_digits(s + 6);
	if (hour > 23 || minute > 59 || second > 59)
		return false;
	s += TIME_LENGTH;
	if (s < end && *s == '.')
	{
		s++;
		if (!ldr_fraction(&s, end, &fraction))
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
	hour = ldr_two_digits(p + 1);
	p += 3;
	if (end - p == 3 && *p == ':')
		minute = ldr_two_digits(p + 1);
	else if (end - p == 2)
		minute = ldr_two_digits(p);
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
Timestamp
ldr_round_timestamp(Timestamp timestamp, int32 typmod)
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
	return TimestampGetDatum(ldr_round_timestamp(timestamp, c->typmod));
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
	return TimestampTzGetDatum(ldr_round_timestamp(timestamp - offset, c->typmod));
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
