/*
 * reader/airbyte_record.c: RECORD messages, whose data become fields. No postgres.h.
 *
 * A record is parsed in one pass: its stream nearly always stands before its data, and where the
 * namespace does not, the stream that had the name last is a good guess. If the guess was wrong, or
 * there was none, data is parsed again when the line has been read. As in jsonl.c, a property is
 * first compared with the one that stood in its place in the stream's last record.
 */
#include "reader/airbyte_parts.h"

/* What PostgreSQL's timestamps begin with, in microseconds since 1970: 4714-11-24 BC. */
#define AIRBYTE_MIN_TIME INT64_C(-210866803200000000)

/* Digits of a number, without its point, and the power of ten that they are to be taken by. */
typedef struct AirbyteDecimal
{
	bool		negative;
	uint64_t	digits;
	int			ndigits;
	int			exponent;
} AirbyteDecimal;

/* Read a number of JSON. What digits cannot hold goes into the exponent. False if it is none. */
static bool
airbyte_decimal(const char *p, size_t len, AirbyteDecimal *d)
{
	const char *end = p + len;
	bool		point = false;
	int			exponent = 0;
	int			sign = 1;

	*d = (AirbyteDecimal) {false, 0, 0, 0};
	if (p < end && *p == '-')
	{
		d->negative = true;
		p++;
	}
	if (p == end || *p < '0' || *p > '9')
		return false;
	for (; p < end && ((*p >= '0' && *p <= '9') || (*p == '.' && !point)); p++)
	{
		if (*p == '.')
			point = true;
		else if (d->ndigits < 18)
		{
			d->digits = d->digits * 10 + (uint64_t) (*p - '0');
			d->ndigits += (d->digits != 0);
			/* bounded, like the other way: nobody needs so many zeros */
			d->exponent -= (point && d->exponent > -1000);
		}
		else if (!point && d->exponent < 1000)
			d->exponent++;
	}
	if (p < end && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			sign = (*p++ == '-') ? -1 : 1;
		for (; p < end && *p >= '0' && *p <= '9'; p++)
			if (exponent < 10000)
				exponent = exponent * 10 + (*p - '0');
	}
	d->exponent += sign * exponent;
	return p == end;
}

/* A number of seconds or milliseconds since 1970, told by its size, as microseconds. */
static int64_t
airbyte_time(const char *p, size_t len)
{
	AirbyteDecimal d;
	uint64_t	value;
	int			scale;
	bool		up = false;

	if (!airbyte_decimal(p, len, &d))
		return INT64_MIN;
	if (d.digits == 0)
		return 0;
	value = d.digits;
	/* below 1e11 it is seconds */
	scale = d.exponent + (d.ndigits + d.exponent <= 11 ? 6 : 3);
	for (; scale > 0; scale--)
		if (__builtin_mul_overflow(value, 10, &value))
			return INT64_MIN;
	for (; scale < 0 && (value > 0 || up); scale++)
	{
		up = (value % 10 >= 5);
		value /= 10;
	}
	value += up;
	if (value > INT64_MAX || (d.negative && value > (uint64_t) -AIRBYTE_MIN_TIME))
		return INT64_MIN;
	return d.negative ? -(int64_t) value : (int64_t) value;
}

/* The value of emitted_at, at j->p. */
static LdrStatus
airbyte_emitted_at(LdrJson *j, int64_t *time)
{
	LdrField	value;
	LdrStatus	status = ldr_airbyte_text(j, &value);

	*time = INT64_MIN;
	if (status == LDR_OK && value.kind != LDR_NULL)
		*time = airbyte_time(value.data, value.len);
	return status;
}

/* The value of meta, at j->p: its changes. */
static LdrStatus
airbyte_meta(LdrJson *j, LdrField *changes)
{
	LdrAirbytePick picks[] = {{.key = "changes"}};
	LdrField	meta;
	const char *p;
	LdrStatus	status = ldr_airbyte_raw(j, &meta);

	*changes = (LdrField) {NULL, 0, LDR_NULL};
	if (status == LDR_OK)
		status = ldr_airbyte_pick(j, &meta, picks, 1);
	if (status != LDR_OK || picks[0].value.kind == LDR_NULL || *picks[0].value.data != '[')
		return status;
	for (p = picks[0].value.data + 1; *p == ' ' || *p == '\t' || *p == '\r'; p++)
		;
	if (*p != ']')
		*changes = picks[0].value;
	return LDR_OK;
}

/*
 * A property that is not where it was in the last record: the position of its spelling, -1 if the
 * stream has no such column. j->p is on its quote.
 */
static LdrStatus
airbyte_find_property(LdrAirbyteStream *s, LdrJson *j, int n, int *spelling)
{
	const char *at = j->p;
	LdrField	key;
	LdrStatus	status;

	if (*j->p != '"')
		return ldr_json_unexpected(j, "where a key is expected");
	status = ldr_json_string(j, &key);
	*spelling = -1;
	if (status != LDR_OK || key.kind != LDR_STRING)
		return status;
	*spelling = ldr_name_index_find(&s->exact, key.data, key.len);
	if (*spelling < 0)
	{
		int			column = ldr_name_index_find(&s->folded, key.data, key.len);

		if (column < 0 || s->clashes[column])
			return LDR_OK;
		*spelling = s->def->ncolumns + column;
		memcpy((char *) s->spellings[*spelling].name, key.data, key.len);
	}
	/* the names with escapes are few: never expect them, a plain compare would not find them */
	if (n < s->nexpected && key.data == at + 1)
		s->expected[n] = *spelling;
	return LDR_OK;
}

/* The n-th key of data, at j->p; leaves j->p behind it. */
static inline LdrStatus
airbyte_property(LdrAirbyteStream *s, LdrJson *j, int n, int *spelling)
{
	int			guess = n < s->nexpected ? s->expected[n] : -1;

	if (guess >= 0 && *j->p == '"')
	{
		const LdrNameKey *k = &s->spellings[guess];

		/* the closing quote is compared too: it must lie before the end of the window */
		if ((size_t) (j->end - j->p) > (size_t) k->len + 1 && j->p[k->len + 1] == '"' &&
			memcmp(j->p + 1, k->name, k->len) == 0)
		{
			j->p += k->len + 2;
			*spelling = guess;
			return LDR_OK;
		}
	}
	return airbyte_find_property(s, j, n, spelling);
}

/* The value at j->p for a column. */
static inline LdrStatus
airbyte_value(LdrJson *j, LdrField *field, bool raw)
{
	const char *begin = j->p;
	LdrStatus	status;

	if (*begin == '"' && !raw)
		return ldr_json_string(j, field);
	status = ldr_airbyte_raw(j, field);
	if (status != LDR_OK || field->kind == LDR_NULL)
		return status;
	if (field->len > ldr_reader_limits.field)
		field->kind = LDR_INVALID;
	else if (!raw && *begin != '{' && *begin != '[')
		field->kind = LDR_BARE;
	return LDR_OK;
}

/* The value at j->p of a property that was found by a spelling. */
static inline LdrStatus
airbyte_member(LdrAirbyteReader *r, LdrAirbyteStream *s, LdrJson *j, int spelling)
{
	int			column = spelling;

	if (spelling >= s->def->ncolumns)
	{
		column -= s->def->ncolumns;
		/* a name that is just the column's wins, wherever it stands */
		if (r->fields[column].kind != LDR_ABSENT && !r->by_case[column])
			return ldr_json_skip(j);
	}
	r->by_case[column] = (spelling != column);
	return airbyte_value(j, &r->fields[column], s->def->columns[column].raw_json);
}

/* The members of the object at j->p as fields of a stream's columns. */
static LdrStatus
airbyte_members(LdrAirbyteReader *r, LdrAirbyteStream *s, LdrJson *j)
{
	LdrStatus	status = LDR_OK;
	int			spelling = -1;

	for (int i = 0; i < s->def->ncolumns; i++)
		r->fields[i] = (LdrField) {NULL, 0, LDR_ABSENT};
	j->p++;
	ldr_json_space(j);
	if (*j->p == '}')
	{
		j->p++;
		return LDR_OK;
	}
	for (int n = 0;; n++)
	{
		status = airbyte_property(s, j, n, &spelling);
		if (status != LDR_OK)
			return status;
		status = ldr_airbyte_colon(j);
		if (status == LDR_OK)
			status = spelling < 0 ? ldr_json_skip(j) : airbyte_member(r, s, j, spelling);
		if (status != LDR_OK)
			break;
		ldr_json_space(j);
		if (*j->p == '}')
		{
			j->p++;
			return LDR_OK;
		}
		if (*j->p != ',')
		{
			status = ldr_json_unexpected(j, "where a comma or the end of the object is expected");
			break;
		}
		j->p++;
		ldr_json_space(j);
	}
	if (spelling >= 0)
		ldr_reader_name(j->err, s->spellings[spelling].name, s->spellings[spelling].len);
	return status;
}

/* The stream that data most likely belongs to, as far as the record has been read; -1: none. */
static inline int
airbyte_guess(const LdrAirbyteReader *r, const LdrAirbyteRecord *record)
{
	int			first;

	/* the namespace may still come */
	if (record->name_space.kind != LDR_NULL)
		return ldr_airbyte_find(r, &record->name, &record->name_space, r->last);
	if (r->last >= 0 && ldr_airbyte_has_name(&r->streams[r->last], &record->name))
		return r->last;
	first = ldr_airbyte_named(r, &record->name);
	return first < 0 ? -1 : r->streams[first].used;
}

/* The value of data, at j->p. */
static LdrStatus
airbyte_data(LdrAirbyteReader *r, LdrJson *j, LdrAirbyteRecord *record)
{
	LdrStatus	status;

	record->data = NULL;
	if (*j->p != '{')
		return ldr_json_skip(j);
	record->data = j->p;
	/* a second one is parsed at the end: what escapes of the first became may fill scratch */
	if (record->parsed == NULL)
		record->parsed_for = airbyte_guess(r, record);
	if (record->parsed != NULL || record->parsed_for < 0)
		return ldr_json_skip(j);
	record->parsed = j->p;
	j->depth++;
	status = airbyte_members(r, &r->streams[record->parsed_for], j);
	j->depth--;
	return status;
}

LdrStatus
ldr_airbyte_record(LdrAirbyteReader *r, LdrJson *j, LdrAirbyteRecord *record)
{
	LdrAirbyteWalk walk = {0};
	LdrStatus	status = LDR_OK;

	*record = (LdrAirbyteRecord) {.present = (*j->p == '{'), .emitted_at = INT64_MIN};
	if (!record->present)
		return ldr_json_skip(j);
	j->depth++;
	for (;;)
	{
		status = ldr_airbyte_walk(j, &walk);
		if (status != LDR_OK || walk.ended)
			break;
		if (ldr_airbyte_is(&walk.key, "data"))
			status = airbyte_data(r, j, record);
		else if (ldr_airbyte_is(&walk.key, "stream"))
			status = ldr_airbyte_text(j, &record->name);
		else if (ldr_airbyte_is(&walk.key, "namespace"))
			status = ldr_airbyte_text(j, &record->name_space);
		else if (ldr_airbyte_is(&walk.key, "emitted_at"))
			status = airbyte_emitted_at(j, &record->emitted_at);
		else if (ldr_airbyte_is(&walk.key, "meta"))
			status = airbyte_meta(j, &record->changes);
		else
			status = ldr_json_skip(j);
		if (status != LDR_OK)
			break;
	}
	j->depth--;
	return status;
}

/* Parse data with the columns of the stream that it turned out to be for. */
static LdrStatus
airbyte_data_again(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const char *data)
{
	LdrAirbyteStream *s = &r->streams[m->stream];
	LdrJson		inner = *j;

	/* take the names from the catalog, so that nothing in scratch is needed any more */
	m->name = (LdrField) {s->def->name, s->name_len, LDR_STRING};
	if (s->name_space_len > 0)
		m->name_space = (LdrField) {s->def->name_space, s->name_space_len, LDR_STRING};
	r->base.scratch_pos = r->base.scratch;
	inner.p = data;
	return airbyte_members(r, s, &inner);
}

LdrStatus
ldr_airbyte_take_record(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m,
						const LdrAirbyteRecord *record)
{
	int			guess;

	m->kind = LDR_MESSAGE_RECORD;
	if (!record->present)
		return ldr_airbyte_fail(r, j, "a RECORD message has no record");
	if (record->name.kind == LDR_NULL)
		return ldr_airbyte_fail(r, j, "a RECORD message names no stream");
	if (record->data == NULL)
		return ldr_airbyte_fail(r, j, "a RECORD message has no data, or none that is an object");
	m->emitted_at = record->emitted_at;
	m->changes = record->changes;
	guess = record->parsed != NULL ? record->parsed_for : -1;
	ldr_airbyte_set_stream(r, m, &record->name, &record->name_space, guess);
	if (m->stream < 0)
		return LDR_OK;
	r->last = m->stream;
	r->streams[r->streams[m->stream].first].used = m->stream;
	m->fields = r->fields;
	if (record->parsed == record->data && guess == m->stream)
		return LDR_OK;
	return airbyte_data_again(r, j, m, record->data);
}
