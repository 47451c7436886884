/*
 * reader/airbyte.c: messages of the Airbyte protocol. No postgres.h.
 *
 * A line is looked for first and parsed then, so that a message is handed out as soon as its last
 * byte is there, however slowly its source gives them. A RECORD is parsed in one pass: its stream
 * nearly always stands before its data, and where the namespace does not, the stream that had the
 * name last is a good guess. If the guess was wrong, or there was none, data is parsed again when
 * the line has been read. Payloads of other messages are stepped over, and looked into when the
 * type is known, since it may come last.
 *
 * null means absent, everywhere; of a key that comes twice the last value counts. As in jsonl.c, a
 * property is first compared with the one that stood in its place in the stream's last record.
 */
#include "reader/airbyte.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reader/base.h"
#include "reader/json.h"
#include "reader/scan.h"

#define AIRBYTE_KEEP	(1024 * 1024)	/* bytes of scratch that are kept from line to line */
/* What PostgreSQL's timestamps begin with, in microseconds since 1970: 4714-11-24 BC. */
#define AIRBYTE_MIN_TIME INT64_C(-210866803200000000)

/* A stream and how its last record spelled its properties. */
typedef struct AirbyteStream
{
	const LdrMessageStream *def;
	uint32_t	name_len;
	uint32_t	name_space_len; /* 0: none */
	int			first;			/* the first stream of the same name */
	int			next;			/* the next one, -1: no more */
	int			used;			/* in the first one: which of them had the last record */
	LdrNameIndex exact;
	LdrNameIndex folded;
	bool	   *clashes;		/* by position: another column differs in letter case only */
	/*
	 * Spellings to compare a key with: those of the columns, and behind them, at position +
	 * ncolumns, how the column was last spelled otherwise.
	 */
	LdrNameKey *spellings;
	char	   *spelled;		/* the bytes of the latter */
	int		   *expected;		/* the spelling of the n-th key of the last record, -1: none */
	int			nexpected;
} AirbyteStream;

/* What is known of a record. */
typedef struct AirbyteRecord
{
	bool		present;
	LdrField	name;
	LdrField	name_space;
	const char *data;			/* its brace, NULL: there is none */
	const char *parsed;			/* the data that r->fields were taken from */
	int			parsed_for;		/* with the columns of this stream */
	int64_t		emitted_at;
	LdrField	changes;
} AirbyteRecord;

/* A member of a STATE's object. */
typedef struct AirbyteMember
{
	LdrField	key;
	const char *key_text;		/* with its quotes */
	size_t		key_len;
	LdrField	value;
} AirbyteMember;

struct LdrAirbyteReader
{
	LdrReaderBase base;
	bool		begun;			/* past what a byte order mark could stand before */
	char	   *eol;			/* of the line in work */
	AirbyteStream *streams;
	int			nstreams;
	LdrNameIndex names;			/* of streams, without their namespaces */
	int			last;			/* the stream of the last record, -1: none */
	LdrField   *fields;			/* of a record, as many as the widest stream has columns */
	bool	   *by_case;		/* a field that is not absent: its key differed in case */
	AirbyteMember *members;		/* of a state */
	int			nmembers;
	int			members_size;
	char	   *state;
	size_t		state_size;
};

/* A payload by its key, for airbyte_pick. */
typedef struct AirbytePick
{
	const char *key;
	LdrField	value;			/* LDR_RAW_JSON, or LDR_NULL */
} AirbytePick;

/* Steps over the members of an object. */
typedef struct AirbyteWalk
{
	bool		begun;
	bool		ended;
	LdrField	key;
	const char *key_text;		/* its opening quote */
	size_t		key_len;		/* with both quotes */
} AirbyteWalk;

static inline bool
airbyte_is(const LdrField *f, const char *text)
{
	size_t		len = strlen(text);

	return f->kind == LDR_STRING && f->len == len && memcmp(f->data, text, len) == 0;
}

/* Behind a key at j->p: its colon. */
static inline LdrStatus
airbyte_colon(LdrJson *j)
{
	ldr_json_space(j);
	if (*j->p != ':')
		return ldr_json_unexpected(j, "where a colon is expected");
	j->p++;
	ldr_json_space(j);
	return LDR_OK;
}

/*
 * The next member of the object whose brace is at j->p: its key, and j->p on its value, which the
 * caller steps over. At the end of the object ended is set, and j->p is behind it.
 */
static LdrStatus
airbyte_walk(LdrJson *j, AirbyteWalk *walk)
{
	LdrStatus	status;

	if (!walk->begun)
		j->p++;
	ldr_json_space(j);
	walk->ended = (*j->p == '}');
	if (walk->ended)
	{
		j->p++;
		return LDR_OK;
	}
	if (walk->begun)
	{
		if (*j->p != ',')
			return ldr_json_unexpected(j, "where a comma or the end of an object is expected");
		j->p++;
		ldr_json_space(j);
	}
	walk->begun = true;
	if (*j->p != '"')
		return ldr_json_unexpected(j, "where a key is expected");
	walk->key_text = j->p;
	status = ldr_json_string(j, &walk->key);
	if (status != LDR_OK)
		return status;
	walk->key_len = (size_t) (j->p - walk->key_text);
	return airbyte_colon(j);
}

/* The value at j->p as it stands in the line; null is LDR_NULL. */
static LdrStatus
airbyte_raw(LdrJson *j, LdrField *value)
{
	const char *begin = j->p;
	LdrStatus	status = ldr_json_skip(j);

	if (status != LDR_OK)
		return status;
	if (*begin == 'n')
		*value = (LdrField) {NULL, 0, LDR_NULL};
	else
		*value = (LdrField) {begin, (uint32_t) (j->p - begin), LDR_RAW_JSON};
	return LDR_OK;
}

/* The value at j->p as text: null is LDR_NULL, and what is no string LDR_INVALID. */
static LdrStatus
airbyte_text(LdrJson *j, LdrField *value)
{
	LdrStatus	status;

	if (*j->p == '"')
		return ldr_json_string(j, value);
	status = airbyte_raw(j, value);
	if (status == LDR_OK && value->kind != LDR_NULL)
		value->kind = LDR_INVALID;
	return status;
}

/* The same of a value that airbyte_raw has stepped over. */
static LdrStatus
airbyte_raw_text(const LdrJson *j, const LdrField *raw, LdrField *value)
{
	LdrJson		inner = *j;

	*value = (LdrField) {NULL, 0, LDR_NULL};
	if (raw->kind == LDR_NULL)
		return LDR_OK;
	inner.p = raw->data;
	return airbyte_text(&inner, value);
}

/* Look in an object that airbyte_raw has stepped over for some keys. No object has none of them. */
static LdrStatus
airbyte_pick(const LdrJson *j, const LdrField *object, AirbytePick *picks, int n)
{
	LdrJson		inner = *j;
	AirbyteWalk walk = {0};
	LdrStatus	status;

	if (object->kind == LDR_NULL || *object->data != '{')
		return LDR_OK;
	inner.p = object->data;
	for (;;)
	{
		LdrField	value;

		status = airbyte_walk(&inner, &walk);
		if (status != LDR_OK || walk.ended)
			return status;
		status = airbyte_raw(&inner, &value);
		if (status != LDR_OK)
			return status;
		for (int i = 0; i < n; i++)
			if (airbyte_is(&walk.key, picks[i].key))
				picks[i].value = value;
	}
}

/* The first stream of a name, -1 if there is none. */
static int
airbyte_named(const LdrAirbyteReader *r, const LdrField *name)
{
	if (name->kind != LDR_STRING)
		return -1;
	return ldr_name_index_find(&r->names, name->data, name->len);
}

static inline bool
airbyte_in_namespace(const AirbyteStream *s, const LdrField *name_space)
{
	uint32_t	len = 0;

	if (name_space->kind == LDR_STRING)
		len = name_space->len;
	else if (name_space->kind != LDR_NULL)
		return false;
	return len == s->name_space_len &&
		(len == 0 || memcmp(s->def->name_space, name_space->data, len) == 0);
}

static inline bool
airbyte_has_name(const AirbyteStream *s, const LdrField *name)
{
	return name->kind == LDR_STRING && name->len == s->name_len &&
		memcmp(name->data, s->def->name, s->name_len) == 0;
}

/* The stream of a name in a namespace, -1 if there is none. guess is looked at first, if not -1. */
static int
airbyte_find(const LdrAirbyteReader *r, const LdrField *name, const LdrField *name_space, int guess)
{
	int			i = guess;

	if (i >= 0 && airbyte_has_name(&r->streams[i], name) &&
		airbyte_in_namespace(&r->streams[i], name_space))
		return i;
	i = airbyte_named(r, name);
	while (i >= 0 && !airbyte_in_namespace(&r->streams[i], name_space))
		i = r->streams[i].next;
	return i;
}

/* Say in a message which stream it is about. */
static void
airbyte_set_stream(LdrAirbyteReader *r, LdrMessage *m, const LdrField *name,
				   const LdrField *name_space, int guess)
{
	m->name = *name;
	m->name_space = *name_space;
	if (name_space->kind == LDR_STRING && name_space->len == 0)
		m->name_space = (LdrField) {NULL, 0, LDR_NULL};
	m->stream = airbyte_find(r, name, name_space, guess);
}

/* The same by a stream_descriptor. */
static LdrStatus
airbyte_descriptor(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const LdrField *descriptor)
{
	AirbytePick picks[] = {{.key = "name"}, {.key = "namespace"}};
	LdrField	name;
	LdrField	name_space;
	LdrStatus	status = airbyte_pick(j, descriptor, picks, 2);

	if (status == LDR_OK)
		status = airbyte_raw_text(j, &picks[0].value, &name);
	if (status == LDR_OK)
		status = airbyte_raw_text(j, &picks[1].value, &name_space);
	if (status == LDR_OK)
		airbyte_set_stream(r, m, &name, &name_space, -1);
	return status;
}

/*
 * RECORD
 */

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
	LdrStatus	status = airbyte_text(j, &value);

	*time = INT64_MIN;
	if (status == LDR_OK && value.kind != LDR_NULL)
		*time = airbyte_time(value.data, value.len);
	return status;
}

/* The value of meta, at j->p: its changes. */
static LdrStatus
airbyte_meta(LdrJson *j, LdrField *changes)
{
	AirbytePick picks[] = {{.key = "changes"}};
	LdrField	meta;
	const char *p;
	LdrStatus	status = airbyte_raw(j, &meta);

	*changes = (LdrField) {NULL, 0, LDR_NULL};
	if (status == LDR_OK)
		status = airbyte_pick(j, &meta, picks, 1);
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
airbyte_find_property(AirbyteStream *s, LdrJson *j, int n, int *spelling)
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
airbyte_property(AirbyteStream *s, LdrJson *j, int n, int *spelling)
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
	status = airbyte_raw(j, field);
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
airbyte_member(LdrAirbyteReader *r, AirbyteStream *s, LdrJson *j, int spelling)
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
airbyte_members(LdrAirbyteReader *r, AirbyteStream *s, LdrJson *j)
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
		status = airbyte_colon(j);
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
airbyte_guess(const LdrAirbyteReader *r, const AirbyteRecord *record)
{
	int			first;

	/* the namespace may still come */
	if (record->name_space.kind != LDR_NULL)
		return airbyte_find(r, &record->name, &record->name_space, r->last);
	if (r->last >= 0 && airbyte_has_name(&r->streams[r->last], &record->name))
		return r->last;
	first = airbyte_named(r, &record->name);
	return first < 0 ? -1 : r->streams[first].used;
}

/* The value of data, at j->p. */
static LdrStatus
airbyte_data(LdrAirbyteReader *r, LdrJson *j, AirbyteRecord *record)
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

/* The value of record, at j->p. */
static LdrStatus
airbyte_record(LdrAirbyteReader *r, LdrJson *j, AirbyteRecord *record)
{
	AirbyteWalk walk = {0};
	LdrStatus	status = LDR_OK;

	*record = (AirbyteRecord) {.present = (*j->p == '{'), .emitted_at = INT64_MIN};
	if (!record->present)
		return ldr_json_skip(j);
	j->depth++;
	for (;;)
	{
		status = airbyte_walk(j, &walk);
		if (status != LDR_OK || walk.ended)
			break;
		if (airbyte_is(&walk.key, "data"))
			status = airbyte_data(r, j, record);
		else if (airbyte_is(&walk.key, "stream"))
			status = airbyte_text(j, &record->name);
		else if (airbyte_is(&walk.key, "namespace"))
			status = airbyte_text(j, &record->name_space);
		else if (airbyte_is(&walk.key, "emitted_at"))
			status = airbyte_emitted_at(j, &record->emitted_at);
		else if (airbyte_is(&walk.key, "meta"))
			status = airbyte_meta(j, &record->changes);
		else
			status = ldr_json_skip(j);
		if (status != LDR_OK)
			break;
	}
	j->depth--;
	return status;
}

/* A message that is JSON, but not what it says it is. */
static LdrStatus
airbyte_fail(LdrAirbyteReader *r, LdrJson *j, const char *message)
{
	j->place.at = r->base.w.cur;
	strcpy(j->err->hint, "What wrote the messages does not follow the Airbyte protocol.");
	return ldr_reader_fail(&r->base, j->err, LDR_UNEXPECTED, j->place, "%s", message);
}

/* Parse data with the columns of the stream that it turned out to be for. */
static LdrStatus
airbyte_data_again(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const char *data)
{
	AirbyteStream *s = &r->streams[m->stream];
	LdrJson		inner = *j;

	/* take the names from the catalog, so that nothing in scratch is needed any more */
	m->name = (LdrField) {s->def->name, s->name_len, LDR_STRING};
	if (s->name_space_len > 0)
		m->name_space = (LdrField) {s->def->name_space, s->name_space_len, LDR_STRING};
	r->base.scratch_pos = r->base.scratch;
	inner.p = data;
	return airbyte_members(r, s, &inner);
}

/* The whole line of a RECORD has been read. */
static LdrStatus
airbyte_take_record(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const AirbyteRecord *record)
{
	int			guess;

	m->kind = LDR_MESSAGE_RECORD;
	if (!record->present)
		return airbyte_fail(r, j, "a RECORD message has no record");
	if (record->name.kind == LDR_NULL)
		return airbyte_fail(r, j, "a RECORD message names no stream");
	if (record->data == NULL)
		return airbyte_fail(r, j, "a RECORD message has no data, or none that is an object");
	m->emitted_at = record->emitted_at;
	m->changes = record->changes;
	guess = record->parsed != NULL ? record->parsed_for : -1;
	airbyte_set_stream(r, m, &record->name, &record->name_space, guess);
	if (m->stream < 0)
		return LDR_OK;
	r->last = m->stream;
	r->streams[r->streams[m->stream].first].used = m->stream;
	m->fields = r->fields;
	if (record->parsed == record->data && guess == m->stream)
		return LDR_OK;
	return airbyte_data_again(r, j, m, record->data);
}

/*
 * STATE
 */

static LdrStatus
airbyte_no_memory(LdrAirbyteReader *r, LdrJson *j)
{
	j->place.at = r->base.w.cur;
	return ldr_reader_fail(&r->base, j->err, LDR_OUT_OF_MEMORY, j->place,
						   "out of memory for a message of %zu bytes",
						   (size_t) (r->eol - r->base.w.cur));
}

/* The members of a state object that airbyte_raw has stepped over, as they come. */
static LdrStatus
airbyte_state_members(LdrAirbyteReader *r, const LdrJson *j, const LdrField *state)
{
	LdrJson		inner = *j;
	AirbyteWalk walk = {0};
	LdrStatus	status;

	inner.p = state->data;
	r->nmembers = 0;
	for (;;)
	{
		AirbyteMember *member;

		status = airbyte_walk(&inner, &walk);
		if (status != LDR_OK || walk.ended)
			return status;
		if (r->nmembers == r->members_size)
		{
			int			size = r->members_size * 2 + 16;
			AirbyteMember *members = realloc(r->members, sizeof(*members) * (size_t) size);

			if (members == NULL)
				return airbyte_no_memory(r, &inner);
			r->members = members;
			r->members_size = size;
		}
		member = &r->members[r->nmembers++];
		member->key = walk.key;
		member->key_text = walk.key_text;
		member->key_len = walk.key_len;
		status = airbyte_raw(&inner, &member->value);
		if (status != LDR_OK)
			return status;
	}
}

/* Order keys; those that are equal are the same. */
static int
airbyte_compare_keys(const LdrField *a, const LdrField *b)
{
	int			order;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	order = memcmp(a->data, b->data, a->len < b->len ? a->len : b->len);
	return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

/* Of equal keys the one that stands last comes first. */
static int
airbyte_by_key(const void *a, const void *b)
{
	const AirbyteMember *x = a;
	const AirbyteMember *y = b;
	int			order = airbyte_compare_keys(&x->key, &y->key);

	return order != 0 ? order : (x->key_text < y->key_text) - (x->key_text > y->key_text);
}

static int
airbyte_by_place(const void *a, const void *b)
{
	const AirbyteMember *x = a;
	const AirbyteMember *y = b;

	return (x->key_text > y->key_text) - (x->key_text < y->key_text);
}

/* A member of the state, NULL if it has none of that name. */
static AirbyteMember *
airbyte_state_member(LdrAirbyteReader *r, const char *key)
{
	for (int i = 0; i < r->nmembers; i++)
		if (airbyte_is(&r->members[i].key, key))
			return &r->members[i];
	return NULL;
}

/* Is there a member of that name, and is it an object? */
static bool
airbyte_state_object(LdrAirbyteReader *r, const char *key)
{
	const AirbyteMember *member = airbyte_state_member(r, key);

	return member != NULL && *member->value.data == '{';
}

/* Keep of each key the last member, and of those the ones that are to be given back. */
static void
airbyte_state_settle(LdrAirbyteReader *r)
{
	AirbyteMember *global;
	AirbyteMember *global_;
	int			n = 0;

	if (r->nmembers == 0)
		return;
	qsort(r->members, (size_t) r->nmembers, sizeof(AirbyteMember), airbyte_by_key);
	for (int i = 0; i < r->nmembers; i++)
	{
		const AirbyteMember *member = &r->members[i];

		/* marked, as the next one is still compared with it */
		if ((i > 0 && airbyte_compare_keys(&member->key, &member[-1].key) == 0) ||
			airbyte_is(&member->key, "destinationStats"))
			r->members[i].value.kind = LDR_NULL;
	}
	for (int i = 0; i < r->nmembers; i++)
		if (r->members[i].value.kind != LDR_NULL)
			r->members[n++] = r->members[i];
	r->nmembers = n;
	qsort(r->members, (size_t) n, sizeof(AirbyteMember), airbyte_by_place);
	global = airbyte_state_member(r, "global");
	global_ = airbyte_state_member(r, "global_");
	/* two names of one thing */
	if (global_ != NULL)
	{
		if (global != NULL)
			(global < global_ ? global : global_)->value.kind = LDR_NULL;
		global_->key = (LdrField) {"global", 6, LDR_STRING};
		global_->key_text = "\"global\"";
		global_->key_len = 8;
	}
}

static char *
airbyte_put(char *out, const char *text, size_t len)
{
	memcpy(out, text, len);
	return out + len;
}

/* Write the state down: its type first, then its members. */
static LdrStatus
airbyte_state_write(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const char *type,
					size_t type_len)
{
	size_t		need = type_len + 16;
	char	   *out;

	for (int i = 0; i < r->nmembers; i++)
		need += r->members[i].key_len + r->members[i].value.len + 2;
	if (need > r->state_size)
	{
		free(r->state);
		r->state = malloc(need);
		r->state_size = r->state != NULL ? need : 0;
		if (r->state == NULL)
			return airbyte_no_memory(r, j);
	}
	out = airbyte_put(r->state, "{\"type\":", 8);
	out = airbyte_put(out, type, type_len);
	for (int i = 0; i < r->nmembers; i++)
	{
		const AirbyteMember *member = &r->members[i];

		if (member->value.kind == LDR_NULL || airbyte_is(&member->key, "type"))
			continue;
		*out++ = ',';
		out = airbyte_put(out, member->key_text, member->key_len);
		*out++ = ':';
		out = airbyte_put(out, member->value.data, member->value.len);
	}
	*out++ = '}';
	m->state = (LdrField) {r->state, (uint32_t) (out - r->state), LDR_RAW_JSON};
	return LDR_OK;
}

/* The kind of the state in r->members. *type is how to write it down. */
static LdrStatus
airbyte_state_kind(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, LdrField *type)
{
	static const char *const kinds[] = {"\"STREAM\"", "\"GLOBAL\"", "\"LEGACY\""};
	const AirbyteMember *member = airbyte_state_member(r, "type");
	LdrField	text;

	/* a type that we do not know: at least nothing is said about one stream only */
	m->state_kind = LDR_STATE_LEGACY;
	if (member != NULL)
	{
		LdrStatus	status = airbyte_raw_text(j, &member->value, &text);

		if (status != LDR_OK)
			return status;
		*type = member->value;
		if (airbyte_is(&text, "STREAM"))
			m->state_kind = LDR_STATE_STREAM;
		else if (airbyte_is(&text, "GLOBAL"))
			m->state_kind = LDR_STATE_GLOBAL;
		return LDR_OK;
	}
	if (airbyte_state_object(r, "stream"))
		m->state_kind = LDR_STATE_STREAM;
	else if (airbyte_state_object(r, "global"))
		m->state_kind = LDR_STATE_GLOBAL;
	*type = (LdrField) {kinds[m->state_kind], 8, LDR_RAW_JSON};
	return LDR_OK;
}

/* The payload of a STATE. */
static LdrStatus
airbyte_take_state(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const LdrField *state)
{
	AirbytePick picks[] = {{.key = "stream_descriptor"}};
	const AirbyteMember *stream;
	LdrField	type;
	LdrStatus	status;

	m->kind = LDR_MESSAGE_STATE;
	if (state->kind == LDR_NULL || *state->data != '{')
		return airbyte_fail(r, j, "a STATE message has no state, or none that is an object");
	status = airbyte_state_members(r, j, state);
	if (status != LDR_OK)
		return status;
	airbyte_state_settle(r);
	status = airbyte_state_kind(r, j, m, &type);
	if (status != LDR_OK)
		return status;
	stream = airbyte_state_member(r, "stream");
	if (m->state_kind == LDR_STATE_STREAM && stream != NULL)
	{
		status = airbyte_pick(j, &stream->value, picks, 1);
		if (status == LDR_OK)
			status = airbyte_descriptor(r, j, m, &picks[0].value);
		if (status != LDR_OK)
			return status;
	}
	return airbyte_state_write(r, j, m, type.data, type.len);
}

/*
 * TRACE and LOG
 */

static LdrStatus
airbyte_status(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const LdrField *payload)
{
	static const char *const names[] = {NULL, "STARTED", "RUNNING", "COMPLETE", "INCOMPLETE"};
	AirbytePick picks[] = {{.key = "stream_descriptor"}, {.key = "status"}};
	LdrField	text;
	LdrStatus	status = airbyte_pick(j, payload, picks, 2);

	m->kind = LDR_MESSAGE_STATUS;
	if (status == LDR_OK)
		status = airbyte_raw_text(j, &picks[1].value, &text);
	if (status != LDR_OK)
		return status;
	for (int i = LDR_STATUS_STARTED; i <= LDR_STATUS_INCOMPLETE; i++)
		if (airbyte_is(&text, names[i]))
			m->status = (LdrStreamStatus) i;
	return airbyte_descriptor(r, j, m, &picks[0].value);
}

/* A number that a message says, -1 if it says none. */
static double
airbyte_number(const LdrField *raw)
{
	if (raw->kind == LDR_NULL || (*raw->data != '-' && (*raw->data < '0' || *raw->data > '9')))
		return -1;
	/* something that is no part of a number stands behind each */
	return strtod(raw->data, NULL);
}

static LdrStatus
airbyte_estimate(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const LdrField *payload)
{
	AirbytePick picks[] = {{.key = "row_estimate"}, {.key = "byte_estimate"}};
	LdrStatus	status = airbyte_pick(j, payload, picks, 2);

	m->kind = LDR_MESSAGE_ESTIMATE;
	if (status != LDR_OK)
		return status;
	m->row_estimate = airbyte_number(&picks[0].value);
	m->byte_estimate = airbyte_number(&picks[1].value);
	/* it names its stream as a stream_descriptor does */
	return airbyte_descriptor(r, j, m, payload);
}

/* The text and the level of an ERROR or a LOG, which call them differently. */
static LdrStatus
airbyte_report(LdrJson *j, LdrMessage *m, const LdrField *message, const LdrField *level)
{
	LdrStatus	status = airbyte_raw_text(j, message, &m->text);

	return status != LDR_OK ? status : airbyte_raw_text(j, level, &m->level);
}

static LdrStatus
airbyte_error(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const LdrField *payload)
{
	AirbytePick picks[] = {{.key = "message"}, {.key = "failure_type"},
	{.key = "stream_descriptor"}};
	LdrStatus	status = airbyte_pick(j, payload, picks, 3);

	m->kind = LDR_MESSAGE_ERROR;
	if (status == LDR_OK)
		status = airbyte_report(j, m, &picks[0].value, &picks[1].value);
	return status != LDR_OK ? status : airbyte_descriptor(r, j, m, &picks[2].value);
}

static LdrStatus
airbyte_log(LdrJson *j, LdrMessage *m, const LdrField *payload)
{
	AirbytePick picks[] = {{.key = "message"}, {.key = "level"}};
	LdrStatus	status = airbyte_pick(j, payload, picks, 2);

	m->kind = LDR_MESSAGE_LOG;
	return status != LDR_OK ? status : airbyte_report(j, m, &picks[0].value, &picks[1].value);
}

static LdrStatus
airbyte_trace(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const LdrField *payload)
{
	AirbytePick picks[] = {{.key = "type"}, {.key = "stream_status"}, {.key = "estimate"},
	{.key = "error"}};
	LdrField	type;
	LdrStatus	status = airbyte_pick(j, payload, picks, 4);

	if (status == LDR_OK)
		status = airbyte_raw_text(j, &picks[0].value, &type);
	if (status != LDR_OK)
		return status;
	if (airbyte_is(&type, "STREAM_STATUS"))
		return airbyte_status(r, j, m, &picks[1].value);
	if (airbyte_is(&type, "ESTIMATE"))
		return airbyte_estimate(r, j, m, &picks[2].value);
	if (airbyte_is(&type, "ERROR"))
		return airbyte_error(r, j, m, &picks[3].value);
	return LDR_OK;
}

/*
 * Lines
 */

/* What the members of a line's object are. */
typedef struct AirbyteEnvelope
{
	LdrField	type;
	AirbyteRecord record;
	LdrField	state;
	LdrField	trace;
	LdrField	log;
} AirbyteEnvelope;

/* The object at j->p, which is all of a message. */
static LdrStatus
airbyte_envelope(LdrAirbyteReader *r, LdrJson *j, AirbyteEnvelope *e)
{
	AirbyteWalk walk = {0};
	LdrStatus	status;

	for (;;)
	{
		status = airbyte_walk(j, &walk);
		if (status != LDR_OK || walk.ended)
			return status;
		if (airbyte_is(&walk.key, "type"))
			status = airbyte_text(j, &e->type);
		else if (airbyte_is(&walk.key, "record"))
			status = airbyte_record(r, j, &e->record);
		else if (airbyte_is(&walk.key, "state"))
			status = airbyte_raw(j, &e->state);
		else if (airbyte_is(&walk.key, "trace"))
			status = airbyte_raw(j, &e->trace);
		else if (airbyte_is(&walk.key, "log"))
			status = airbyte_raw(j, &e->log);
		else
			status = ldr_json_skip(j);
		if (status != LDR_OK)
			return status;
	}
}

/* The message in the line, whose brace is at j->p. */
static LdrStatus
airbyte_message(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m)
{
	AirbyteEnvelope e = {0};
	LdrStatus	status = airbyte_envelope(r, j, &e);

	if (status != LDR_OK)
		return status;
	ldr_json_space(j);
	if (j->p != r->eol)
		return ldr_json_unexpected(j, "after the end of the object");
	/* a record is not lost for want of a type */
	if (airbyte_is(&e.type, "RECORD") ||
		(e.type.kind == LDR_NULL && e.record.name.kind != LDR_NULL && e.record.data != NULL))
		return airbyte_take_record(r, j, m, &e.record);
	if (airbyte_is(&e.type, "STATE"))
		return airbyte_take_state(r, j, m, &e.state);
	if (airbyte_is(&e.type, "TRACE"))
		return airbyte_trace(r, j, m, &e.trace);
	if (airbyte_is(&e.type, "LOG"))
		return airbyte_log(j, m, &e.log);
	if (airbyte_is(&e.type, "CONTROL"))
		m->kind = LDR_MESSAGE_CONTROL;
	return LDR_OK;
}

/* Move w.cur over blank lines to one that has something in it, *p; r->eol is its end. */
static LdrStatus
airbyte_line(LdrAirbyteReader *r, const char **p, LdrError *err)
{
	LdrWindow  *w = &r->base.w;

	for (;;)
	{
		char	   *eol = memchr(w->cur, '\n', (size_t) (w->end - w->cur));

		if (eol == NULL && !w->eof)
		{
			LdrStatus	status = ldr_reader_more(&r->base, err);

			if (status != LDR_OK)
				return status;
			continue;
		}
		r->eol = eol != NULL ? eol : w->end;
		if (!r->begun && r->eol - w->cur >= 3 && memcmp(w->cur, "\xEF\xBB\xBF", 3) == 0)
			w->cur += 3;		/* a byte order mark, which parsers may skip */
		r->begun = true;
		for (*p = w->cur; **p == ' ' || **p == '\t' || **p == '\r';)
			(*p)++;
		if (*p != r->eol)
			return LDR_OK;
		w->cur = r->eol;
		if (eol == NULL)
			return LDR_END;
		w->cur++;
		r->base.line++;
	}
}

/* The line in work as it stands. */
static void
airbyte_whole_line(const LdrAirbyteReader *r, LdrMessage *m)
{
	const char *end = r->eol;

	while (end > r->base.w.cur && end[-1] == '\r')
		end--;
	m->raw = r->base.w.cur;
	m->raw_len = (size_t) (end - m->raw);
}

/* Say it in the words of messages: what reads JSON calls a line a row of a file. */
static void
airbyte_reword(const LdrJson *j, LdrError *err)
{
	if (err->status == LDR_TRUNCATED)
	{
		strcpy(err->message, "the input ends inside a message");
		strcpy(err->hint, "What wrote the messages was cut off; run it again.");
	}
	else if (err->status == LDR_UNEXPECTED && *j->place.at == '\n')
		strcpy(err->hint, "Each message must be one JSON object on one line.");
}

/* Nothing of the last message is needed any more: give back what a huge one took. */
static inline void
airbyte_begin(LdrAirbyteReader *r)
{
	LdrReaderBase *b = &r->base;

	if (b->scratch_size > AIRBYTE_KEEP)
	{
		free(b->scratch);
		b->scratch = NULL;
		b->scratch_size = 0;
	}
	b->scratch_pos = b->scratch;
	if (r->state_size > AIRBYTE_KEEP)
	{
		free(r->state);
		r->state = NULL;
		r->state_size = 0;
	}
}

LdrStatus
ldr_airbyte_next(LdrAirbyteReader *r, LdrMessage *m, LdrError *err)
{
	LdrReaderBase *b = &r->base;
	LdrJson		j = {.base = b, .err = err, .lenient = true};
	LdrStatus	status;

	airbyte_begin(r);
	status = airbyte_line(r, &j.p, err);
	if (status != LDR_OK)
		return status;
	j.end = b->w.end;
	j.place = (LdrPlace) {b->w.cur, b->line, 0, -1};
	*m = (LdrMessage) {.kind = LDR_MESSAGE_OTHER, .line = b->line, .stream = -1,
		.emitted_at = INT64_MIN, .row_estimate = -1, .byte_estimate = -1
	};
	airbyte_whole_line(r, m);
	if (*j.p == '{')
		status = airbyte_message(r, &j, m);
	else
	{
		m->kind = LDR_MESSAGE_NOT_JSON;
		m->text = (LdrField) {m->raw, (uint32_t) m->raw_len, LDR_STRING};
	}
	if (status != LDR_OK)
	{
		airbyte_reword(&j, err);
		return status;
	}
	/* the line's end too, so that the next one finds nothing to skip */
	b->w.cur = r->eol + (r->eol < b->w.end);
	b->line++;
	return LDR_OK;
}

uint64_t
ldr_airbyte_consumed(const LdrAirbyteReader *r)
{
	return r->base.pub.source->consumed(r->base.pub.source);
}

/*
 * Opening and closing
 */

/* Index the columns of a stream. False: out of memory. */
static bool
airbyte_open_columns(AirbyteStream *s)
{
	int			n = s->def->ncolumns;
	size_t		bytes = 0;
	char	   *spelled;

	for (int i = 0; i < n; i++)
		bytes += strlen(s->def->columns[i].name);
	/* some more than columns, as records may have properties that the stream does not */
	s->nexpected = n * 2 + 16;
	s->clashes = calloc((size_t) n + 1, sizeof(bool));
	s->spellings = calloc((size_t) n * 2 + 1, sizeof(LdrNameKey));
	s->spelled = spelled = malloc(bytes + 1);
	s->expected = malloc(sizeof(int) * (size_t) s->nexpected);
	if (s->clashes == NULL || s->spellings == NULL || s->spelled == NULL || s->expected == NULL ||
		!ldr_name_index_init(&s->exact, n, false) || !ldr_name_index_init(&s->folded, n, true))
		return false;
	for (int i = 0; i < s->nexpected; i++)
		s->expected[i] = -1;
	for (int i = 0; i < n; i++)
	{
		const char *name = s->def->columns[i].name;
		size_t		len = strlen(name);
		int			first = ldr_name_index_add(&s->folded, name, len);

		ldr_name_index_add(&s->exact, name, len);
		s->clashes[first] = (first != i);
		s->spellings[i] = (LdrNameKey) {name, (uint32_t) len, 0};
		s->spellings[n + i] = (LdrNameKey) {spelled, (uint32_t) len, 0};
		spelled = airbyte_put(spelled, name, len);
	}
	return true;
}

/* Index a stream by its name, behind others of the same. */
static void
airbyte_open_name(LdrAirbyteReader *r, int i)
{
	AirbyteStream *s = &r->streams[i];
	int			first;

	s->name_len = (uint32_t) strlen(s->def->name);
	s->name_space_len = s->def->name_space ? (uint32_t) strlen(s->def->name_space) : 0;
	s->next = -1;
	s->used = i;
	s->first = first = ldr_name_index_add(&r->names, s->def->name, s->name_len);
	if (first == i)
		return;
	while (r->streams[first].next >= 0)
		first = r->streams[first].next;
	r->streams[first].next = i;
}

static bool
airbyte_open_streams(LdrAirbyteReader *r, const LdrMessageStream *streams, int nstreams)
{
	size_t		widest = 0;

	r->streams = calloc((size_t) nstreams + 1, sizeof(AirbyteStream));
	if (r->streams == NULL || !ldr_name_index_init(&r->names, nstreams, false))
		return false;
	r->nstreams = nstreams;
	for (int i = 0; i < nstreams; i++)
	{
		r->streams[i].def = &streams[i];
		if (!airbyte_open_columns(&r->streams[i]))
			return false;
		airbyte_open_name(r, i);
		if ((size_t) streams[i].ncolumns > widest)
			widest = (size_t) streams[i].ncolumns;
	}
	r->fields = calloc(widest + 1, sizeof(LdrField));
	r->by_case = calloc(widest + 1, sizeof(bool));
	return r->fields != NULL && r->by_case != NULL;
}

LdrAirbyteReader *
ldr_airbyte_open(LdrSource *source, const LdrMessageStream *streams, int nstreams, LdrError *err)
{
	LdrReaderOptions options = {NULL, 0, 0, false};
	LdrAirbyteReader *r;

	r = (LdrAirbyteReader *) ldr_reader_new(sizeof(LdrAirbyteReader), source, &options, err);
	if (r == NULL)
		return NULL;
	r->base.w.by_line = true;
	r->last = -1;
	if (!airbyte_open_streams(r, streams, nstreams))
	{
		ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory for a reader of %d streams", nstreams);
		ldr_airbyte_close(r);
		return NULL;
	}
	return r;
}

void
ldr_airbyte_close(LdrAirbyteReader *r)
{
	if (r == NULL)
		return;
	for (int i = 0; i < r->nstreams; i++)
	{
		AirbyteStream *s = &r->streams[i];

		ldr_name_index_free(&s->exact);
		ldr_name_index_free(&s->folded);
		free(s->clashes);
		free(s->spellings);
		free(s->spelled);
		free(s->expected);
	}
	free(r->streams);
	ldr_name_index_free(&r->names);
	free(r->fields);
	free(r->by_case);
	free(r->members);
	free(r->state);
	ldr_reader_free(&r->base.pub);
}
