/*
 * reader/jsonl.c: rows of a file with one JSON object per line. No postgres.h.
 *
 * The grammar is RFC 8259's, with nothing added: a row is an object on one line, its keys are names
 * of columns, of a key that comes twice the last value counts. Bytes of UTF-8 are passed on as they
 * are. A writer nearly always puts its keys in the same order, so each key is first compared with
 * the one that stood in its place in the row before, and looked up only if it is another.
 */
#include "reader/reader.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "reader/base.h"
#include "reader/json.h"
#include "reader/scan.h"

/* A column's name as a row nearly always has it, to be compared eight bytes at a time. */
typedef struct JsonlKey
{
	char	   *text;			/* "name": with zero bytes behind it */
	uint32_t	len;
	uint64_t	last;			/* the bits that count in the last eight bytes */
} JsonlKey;

typedef struct JsonlReader
{
	LdrReaderBase base;
	int		   *expected;		/* the column of the n-th key of the last row, -1: none */
	JsonlKey   *keys;			/* by column */
	char	   *texts;			/* of all of them */
} JsonlReader;

static void
jsonl_place(LdrJson *j, int column)
{
	j->place.column = column;
}

/* A key that is not where it was in the last row: find its column. j->p is on its quote. */
static LdrStatus
jsonl_find_key(JsonlReader *r, LdrJson *j, int *column)
{
	LdrReaderBase *b = &r->base;
	LdrField	key;
	const char *at = j->p;
	LdrStatus	status;

	if (*j->p != '"')
		return ldr_json_unexpected(j, "where a key is expected");
	status = ldr_json_string(j, &key);
	if (status != LDR_OK)
		return status;
	*column = ldr_reader_column(b, key.data, key.len);
	if (*column < 0)
	{
		j->place.at = at;
		return ldr_reader_unknown_column(b, j->err, j->place, key.data, key.len);
	}
	/* the names with escapes are few: never expect them, a plain compare would not find them */
	if (j->place.field <= b->options.ncolumns && key.data == at + 1)
		r->expected[j->place.field - 1] = *column;
	return LDR_OK;
}

/* The key at j->p; leaves j->p behind it. */
static inline LdrStatus
jsonl_key(JsonlReader *r, LdrJson *j, int *column)
{
	LdrReaderBase *b = &r->base;
	int			guess = -1;

	if (j->place.field <= b->options.ncolumns)
		guess = r->expected[j->place.field - 1];
	if (guess >= 0 && *j->p == '"')
	{
		const LdrNameKey *k = &b->index.keys[guess];

		/* the closing quote is compared too: it must lie before the end of the window */
		if ((size_t) (j->end - j->p) > (size_t) k->len + 1 && j->p[k->len + 1] == '"' &&
			memcmp(j->p + 1, k->name, k->len) == 0)
		{
			j->p += k->len + 2;
			*column = guess;
			return LDR_OK;
		}
	}
	return jsonl_find_key(r, j, column);
}

/* The value at j->p for a column. */
static inline LdrStatus
jsonl_value(JsonlReader *r, LdrJson *j, LdrField *field, bool raw)
{
	const char *begin = j->p;
	LdrStatus	status;

	if (*begin == '"' && !raw)
		return ldr_json_string(j, field);
	status = ldr_json_skip(j);
	if (status != LDR_OK)
		return status;
	field->data = begin;
	field->len = (uint32_t) (j->p - begin);
	if ((size_t) (j->p - begin) > ldr_reader_limits.field)
	{
		j->place.at = begin;
		return ldr_reader_too_long(&r->base, j->err, j->place);
	}
	if (*begin == 'n')
	{
		*field = (LdrField) {NULL, 0, LDR_NULL};
		return LDR_OK;
	}
	field->kind = (raw || *begin == '{' || *begin == '[') ? LDR_RAW_JSON : LDR_BARE;
	return LDR_OK;
}

/* Is that key at p, with its colon? */
static inline bool
jsonl_is_key(const JsonlKey *key, const char *p, const char *end)
{
	const char *text = key->text;
	uint32_t	left = key->len;

	if ((size_t) (end - p) < left)
		return false;
	for (; left > 8; left -= 8, p += 8, text += 8)
		if (ldr_scan_load(p) != ldr_scan_load(text))
			return false;
	return ((ldr_scan_load(p) ^ ldr_scan_load(text)) & key->last) == 0;
}

/*
 * A member as nearly all are, at j->p: the key that stood in its place in the row before, and a
 * string without escapes or a whole number, with no space around them. Steps over it. False, with j
 * as it was, if it is anything else, be that right or wrong.
 */
static inline bool
jsonl_plain_member(JsonlReader *r, LdrJson *j)
{
	LdrReaderBase *b = &r->base;
	const size_t limit = ldr_reader_limits.field;
	const char *begin;
	const char *p;
	int			column;

	if (j->place.field > b->options.ncolumns)
		return false;
	column = r->expected[j->place.field - 1];
	if (column < 0 || !jsonl_is_key(&r->keys[column], j->p, j->end))
		return false;
	begin = j->p + r->keys[column].len;
	if (b->options.columns[column].raw_json)
		return false;
	if (*begin == '"')
	{
		p = ldr_scan_two(++begin, '"', '\\');
		if (*p != '"' || (size_t) (p - begin) > limit)
			return false;
		b->fields[column] = (LdrField) {begin, (uint32_t) (p - begin), LDR_STRING};
		j->p = p + 1;
		jsonl_place(j, column);
		return true;
	}
	p = begin + (*begin == '-');
	if (*p < '1' || *p > '9')
		return false;
	while (*p >= '0' && *p <= '9')
		p++;
	if ((*p != ',' && *p != '}') || (size_t) (p - begin) > limit)
		return false;
	b->fields[column] = (LdrField) {begin, (uint32_t) (p - begin), LDR_BARE};
	j->p = p;
	jsonl_place(j, column);
	return true;
}

/* Any member at j->p. */
static LdrStatus
jsonl_member(JsonlReader *r, LdrJson *j)
{
	LdrReaderBase *b = &r->base;
	int			column = -1;
	LdrStatus	status = jsonl_key(r, j, &column);

	if (status != LDR_OK)
		return status;
	jsonl_place(j, column);
	ldr_json_space(j);
	if (*j->p != ':')
		return ldr_json_unexpected(j, "where a colon is expected");
	j->p++;
	ldr_json_space(j);
	return jsonl_value(r, j, &b->fields[column], b->options.columns[column].raw_json);
}

/* The members of the object whose brace was read; leaves j->p behind its end. */
static LdrStatus
jsonl_members(JsonlReader *r, LdrJson *j)
{
	ldr_json_space(j);
	if (*j->p == '}')
	{
		j->p++;
		return LDR_OK;
	}
	for (;;)
	{
		j->place.field++;
		if (!jsonl_plain_member(r, j))
		{
			LdrStatus	status = jsonl_member(r, j);

			if (status != LDR_OK)
				return status;
		}
		ldr_json_space(j);
		if (*j->p == '}')
			break;
		if (*j->p != ',')
			return ldr_json_unexpected(j, "where a comma or the end of the object is expected");
		j->p++;
		ldr_json_space(j);
		jsonl_place(j, -1);
	}
	j->p++;
	j->place.field = 0;
	jsonl_place(j, -1);
	return LDR_OK;
}

/* Move w.cur over blank lines to the first byte of a row. */
static LdrStatus
jsonl_skip_blank(JsonlReader *r)
{
	LdrReaderBase *b = &r->base;
	LdrWindow  *w = &b->w;

	for (;; w->cur++)
	{
		if (*w->cur == '\n')
			b->line++;
		else if (*w->cur != ' ' && *w->cur != '\t' && *w->cur != '\r')
			break;
	}
	if (w->cur < w->end)
		return LDR_OK;
	return w->eof ? LDR_END : LDR_MORE;
}

/* One attempt at a row. */
static LdrStatus
jsonl_row(JsonlReader *r, LdrError *err)
{
	LdrReaderBase *b = &r->base;
	LdrWindow  *w = &b->w;
	LdrJson		j = {.base = b, .err = err};
	LdrStatus	status = jsonl_skip_blank(r);

	if (status != LDR_OK)
		return status;
	j.p = w->cur;
	j.end = w->end;
	j.place = (LdrPlace) {w->cur, b->line, 0, -1};
	b->scratch_pos = b->scratch;
	b->marks.row_wide = false;
	if (*j.p != '{')
	{
		strcpy(err->hint, *j.p == '[' ?
			   "The file must have one JSON object per line, not one array of all." :
			   "Each line of the file must be a JSON object.");
		return ldr_json_unexpected(&j, "where an object is expected");
	}
	for (int i = 0; i < b->options.ncolumns; i++)
		b->fields[i] = (LdrField) {NULL, 0, LDR_ABSENT};
	j.p++;
	status = jsonl_members(r, &j);
	if (status != LDR_OK)
		return status;
	b->pub.raw = w->cur;
	b->pub.raw_len = (size_t) (j.p - w->cur);
	ldr_json_space(&j);
	if (j.p == w->end ? !w->eof : *j.p != '\n')
		return ldr_json_unexpected(&j, "after the end of the object");
	/* the line's end too, so that the next row finds nothing to skip */
	w->cur = (char *) j.p + (j.p < w->end);
	return LDR_OK;
}

static LdrStatus
jsonl_next(LdrReader *pub, LdrRow *out, LdrError *err)
{
	JsonlReader *r = (JsonlReader *) pub;
	LdrReaderBase *b = &r->base;
	LdrStatus	status;

	LDR_FAULT("read: jsonl");
	while ((status = jsonl_row(r, err)) == LDR_MORE)
		if ((status = ldr_reader_more(b, err)) != LDR_OK)
			return status;
	if (status != LDR_OK)
		return status;
	out->fields = b->fields;
	/* an escape that may stand for something else makes it wide as well */
	out->ascii = !b->marks.row_wide && ldr_scan_is_ascii(b->pub.raw, b->pub.raw_len);
	out->line = b->line++;		/* a row is one line */
	return LDR_OK;
}

/* A row is one line, whatever is in it: JSON escapes an end of line within a string. */
static LdrStatus
jsonl_skip(LdrReader *pub, LdrRow *out, LdrError *err)
{
	LdrReaderBase *b = (LdrReaderBase *) pub;
	const char *eol;
	LdrStatus	status;

	while ((eol = memchr(b->w.cur, '\n', (size_t) (b->w.end - b->w.cur))) == NULL && !b->w.eof)
		if ((status = ldr_reader_more(b, err)) != LDR_OK)
			return status;
	if (eol == NULL)
		return ldr_reader_pass(b, out, b->w.end, b->w.end, b->line + 1);
	return ldr_reader_pass(b, out, eol, eol + 1, b->line + 1);
}

static void
jsonl_close(LdrReader *pub)
{
	JsonlReader *r = (JsonlReader *) pub;

	free(r->expected);
	free(r->keys);
	free(r->texts);
	ldr_reader_free(pub);
}

/* The keys as rows have them. False: out of memory. */
static bool
jsonl_make_keys(JsonlReader *r)
{
	const LdrReaderBase *b = &r->base;
	size_t		size = 1;
	char	   *text;

	for (int i = 0; i < b->options.ncolumns; i++)
		size += b->index.keys[i].len + 3 + 8;
	r->keys = calloc((size_t) b->options.ncolumns + 1, sizeof(JsonlKey));
	r->texts = text = calloc(1, size);
	if (r->keys == NULL || r->texts == NULL)
		return false;
	for (int i = 0; i < b->options.ncolumns; i++)
	{
		JsonlKey   *key = &r->keys[i];
		uint32_t	len = b->index.keys[i].len + 3;
		uint32_t	last = (len - 1) % 8 + 1;

		text[0] = text[len - 2] = '"';
		text[len - 1] = ':';
		memcpy(text + 1, b->index.keys[i].name, b->index.keys[i].len);
		*key = (JsonlKey) {text, len, ~UINT64_C(0) >> (8 * (8 - last))};
		text += (len + 7) / 8 * 8;
	}
	return true;
}

LdrReader *
ldr_jsonl_make(LdrSource *source, const LdrReaderOptions *options, LdrError *err)
{
	JsonlReader *r = (JsonlReader *) ldr_reader_new(sizeof(JsonlReader), source, options, err);

	if (r == NULL)
		return NULL;
	r->base.format = LDR_JSONL;
	r->base.pub.next = jsonl_next;
	r->base.pub.skip = jsonl_skip;
	r->base.pub.close = jsonl_close;
	r->base.pub.ncolumns = options->ncolumns;
	r->expected = malloc(sizeof(int) * ((size_t) options->ncolumns + 1));
	if (r->expected == NULL || !jsonl_make_keys(r))
	{
		ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory for a reader");
		jsonl_close(&r->base.pub);
		return NULL;
	}
	for (int i = 0; i < options->ncolumns; i++)
	{
		r->expected[i] = -1;
		r->base.pub.columns[i] = i;
	}
	return &r->base.pub;
}

LdrReader *
ldr_jsonl_open(LdrSource *source, const LdrReaderOptions *options, LdrError *err)
{
	LdrReader  *r = ldr_jsonl_make(source, options, err);
	LdrReaderBase *b = (LdrReaderBase *) r;

	if (r == NULL)
		return NULL;
	while (b->w.end - b->w.cur < 3 && !b->w.eof)
		if (ldr_reader_more(b, err) != LDR_OK)
		{
			r->close(r);
			return NULL;
		}
	if (b->w.end - b->w.cur >= 3 && memcmp(b->w.cur, "\xEF\xBB\xBF", 3) == 0)
		b->w.cur += 3;			/* a byte order mark, which parsers may skip */
	return r;
}
