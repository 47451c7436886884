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
#include "convert/put.h"

#define DATE_LENGTH		10		/* YYYY-MM-DD */
#define TIME_LENGTH		8		/* HH:MM:SS */

/* Days of the year before each month, and in the end all of them; of a leap year */
static const int16 days_before[2][MONTHS_PER_YEAR + 1] = {
	{0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365},
	{0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335, 366}
};

/* Days from 2000-01-01 to the first of a year from 1 on. */
static inline int
datetime_first_of_year(int year)
{
	year--;
	return 365 * year + year / 4 - year / 100 + year / 400 - 730119;
}

/*
 * Parse the date at p, which has DATE_LENGTH bytes, to days since 2000; false if it is no date. Its
 * first eight bytes and its last eight are two words. Of each one comparison says whether it has
 * the right characters: without its digits' high halves and its dashes, a digit stays below 16 also
 * after 6 is added, and a dash after 15. One multiplication makes all pairs of digits in it numbers.
 */
static inline bool
datetime_parse_date(const char *p, DateADT *date)
{
	uint64		head = ldr_load_eight(p) ^ UINT64CONST(0x2d30302d30303030);
	uint64		tail = ldr_load_eight(p + 2) ^ UINT64CONST(0x30302d30302d3030);
	unsigned int century,
				year,
				month,
				day;
	bool		leap;

	if (((head | (head + UINT64CONST(0x0f06060f06060606)) |
		  tail | (tail + UINT64CONST(0x06060f06060f0606))) & UINT64CONST(0xf0f0f0f0f0f0f0f0)) != 0)
		return false;
	head = head * 10 + (head >> 8);
	tail = tail * 10 + (tail >> 8);
	century = head & 0xff;
	year = tail & 0xff;
	month = tail >> 24 & 0xff;
	day = tail >> 48 & 0xff;
	leap = ((year == 0 ? century : year) & 3) == 0;
	year += century * 100;
	if (year < 1 || month - 1 >= MONTHS_PER_YEAR || day < 1 ||
		day > (unsigned int) (days_before[leap][month] - days_before[leap][month - 1]))
		return false;
	*date = datetime_first_of_year((int) year) + days_before[leap][month - 1] + (int) day - 1;
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

/* Each of the four types from a whole field; false if it is not written as we read it. */
static inline bool
datetime_read_date(const LdrField *f, DateADT *date)
{
	return f->len == DATE_LENGTH && datetime_parse_date(f->data, date);
}

static inline bool
datetime_read_time(const LdrConverter *c, const LdrField *f, TimeADT *time)
{
	const char *p = f->data;
	const char *end = p + f->len;

	if (!datetime_parse_time(&p, end, time) || p != end)
		return false;
	AdjustTimeForTypmod(time, c->typmod);
	return true;
}

static inline bool
datetime_read_timestamp(const LdrConverter *c, const LdrField *f, Timestamp *timestamp)
{
	const char *p = f->data;
	const char *end = p + f->len;

	if (!datetime_parse_timestamp(&p, end, timestamp) || p != end)
		return false;
	*timestamp = ldr_round_timestamp(*timestamp, c->typmod);
	return true;
}

static inline bool
datetime_read_timestamptz(const LdrConverter *c, const LdrField *f, TimestampTz *timestamp)
{
	const char *p = f->data;
	const char *end = p + f->len;
	int64		offset;

	if (!datetime_parse_timestamp(&p, end, timestamp) || p == end ||
		!datetime_parse_offset(p, end, &offset))
		return false;
	*timestamp = ldr_round_timestamp(*timestamp - offset, c->typmod);
	return true;
}

static Datum
datetime_date(LdrConverter *c, const LdrField *f)
{
	DateADT		date;

	return likely(datetime_read_date(f, &date)) ? DateADTGetDatum(date) : ldr_convert_input(c, f);
}

static Datum
datetime_time(LdrConverter *c, const LdrField *f)
{
	TimeADT		time;

	return likely(datetime_read_time(c, f, &time)) ? TimeADTGetDatum(time)
		: ldr_convert_input(c, f);
}

static Datum
datetime_timestamp(LdrConverter *c, const LdrField *f)
{
	Timestamp	timestamp;

	return likely(datetime_read_timestamp(c, f, &timestamp)) ? TimestampGetDatum(timestamp)
		: ldr_convert_input(c, f);
}

static Datum
datetime_timestamptz(LdrConverter *c, const LdrField *f)
{
	TimestampTz timestamp;

	return likely(datetime_read_timestamptz(c, f, &timestamp)) ? TimestampTzGetDatum(timestamp)
		: ldr_convert_input(c, f);
}

static char *
datetime_put_date(const LdrConverter *c, const LdrField *f, char *dst)
{
	DateADT		date;

	return likely(datetime_read_date(f, &date)) ? ldr_put_int32(dst, date) : NULL;
}

static char *
datetime_put_time(const LdrConverter *c, const LdrField *f, char *dst)
{
	TimeADT		time;

	return likely(datetime_read_time(c, f, &time)) ? ldr_put_int64(dst, time) : NULL;
}

static char *
datetime_put_timestamp(const LdrConverter *c, const LdrField *f, char *dst)
{
	Timestamp	timestamp;

	return likely(datetime_read_timestamp(c, f, &timestamp)) ? ldr_put_int64(dst, timestamp) : NULL;
}

static char *
datetime_put_timestamptz(const LdrConverter *c, const LdrField *f, char *dst)
{
	TimestampTz timestamp;

	return likely(datetime_read_timestamptz(c, f, &timestamp)) ? ldr_put_int64(dst, timestamp)
		: NULL;
}

bool
ldr_datetime_converter(LdrConverter *c)
{
	switch (c->typid)
	{
		case DATEOID:
			c->fn = datetime_date;
			c->put = datetime_put_date;
			return true;
		case TIMEOID:
			c->fn = datetime_time;
			c->put = datetime_put_time;
			return true;
		case TIMESTAMPOID:
			c->fn = datetime_timestamp;
			c->put = datetime_put_timestamp;
			return true;
		case TIMESTAMPTZOID:
			c->fn = datetime_timestamptz;
			c->put = datetime_put_timestamptz;
			return true;
		default:
			return false;
	}
}
