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

typedef struct JsonlReader
{
	LdrReaderBase base;
	int		   *expected;		/* the column of the n-th key of the last row, -1: none */
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

/* The members of the object whose brace was read; leaves j->p behind its end. */
static LdrStatus
jsonl_members(JsonlReader *r, LdrJson *j)
{
	LdrReaderBase *b = &r->base;
	LdrStatus	status;
	int			column = -1;

	ldr_json_space(j);
	if (*j->p == '}')
	{
		j->p++;
		return LDR_OK;
	}
	for (;;)
	{
		j->place.field++;
		status = jsonl_key(r, j, &column);
		if (status != LDR_OK)
			return status;
		jsonl_place(j, column);
		ldr_json_space(j);
		if (*j->p != ':')
			return ldr_json_unexpected(j, "where a colon is expected");
		j->p++;
		ldr_json_space(j);
		status = jsonl_value(r, j, &b->fields[column], b->options.columns[column].raw_json);
		if (status != LDR_OK)
			return status;
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
	ldr_reader_free(pub);
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
	if (r->expected == NULL)
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
