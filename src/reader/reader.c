/*
 * reader/reader.c: opening and closing of readers, look-up of columns, errors with their place.
 * No postgres.h.
 */
#include "reader/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reader/base.h"

#define SCRATCH_MIN 4096

LdrReader *
ldr_reader_open(LdrFormat format, LdrSource *source, const LdrReaderOptions *options,
				LdrError *err)
{
	switch (format)
	{
		case LDR_INSERT_VALUES:
			return ldr_insert_values_open(source, options, err);
		case LDR_CSV:
			return ldr_csv_open(source, options, err);
		case LDR_JSONL:
			return ldr_jsonl_open(source, options, err);
	}
	source->close(source);
	ldr_fail(err, LDR_UNSUPPORTED, "unknown file format %d", (int) format);
	return NULL;
}

void
ldr_reader_close(LdrReader *r)
{
	if (r != NULL)
		r->close(r);
}

void
ldr_reader_free(LdrReader *r)
{
	LdrReaderBase *b = (LdrReaderBase *) r;

	r->source->close(r->source);
	ldr_window_free(&b->w);
	free(r->columns);
	free(b->fields);
	free(b->scratch);
	ldr_name_index_free(&b->index);
	free(b);
}

/* Index options.columns by name; of two with the same name the first is found. */
static bool
reader_index(LdrReaderBase *b)
{
	if (!ldr_name_index_init(&b->index, b->options.ncolumns, false))
		return false;
	for (int i = 0; i < b->options.ncolumns; i++)
		ldr_name_index_add(&b->index, b->options.columns[i].name,
						   strlen(b->options.columns[i].name));
	return true;
}

LdrReaderBase *
ldr_reader_new(size_t size, LdrSource *source, const LdrReaderOptions *options, LdrError *err)
{
	LdrReaderBase *b = calloc(1, size);

	if (b == NULL)
	{
		source->close(source);
		ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory for a reader");
		return NULL;
	}
	b->pub.source = source;
	b->pub.close = ldr_reader_free;
	b->w.source = source;
	ldr_window_init(&b->w);
	b->options = *options;
	b->line = 1;
	b->fields = calloc((size_t) options->ncolumns + 1, sizeof(LdrField));
	b->pub.columns = calloc((size_t) options->ncolumns + 1, sizeof(int));
	if (b->fields == NULL || b->pub.columns == NULL || !reader_index(b))
	{
		ldr_reader_free(&b->pub);
		ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory for a reader");
		return NULL;
	}
	return b;
}

LdrStatus
ldr_reader_more(LdrReaderBase *b, LdrError *err)
{
	LdrStatus	status;

	if (b->pub.forget != NULL)
		b->pub.forget(b->pub.forget_arg);
	status = ldr_window_fill(&b->w, err);
	/* what it pointed to has moved */
	b->marks.valid = false;
	b->pub.raw = b->w.cur;
	b->pub.raw_len = (status == LDR_OK) ? 0 : (size_t) (b->w.end - b->w.cur);
	/* the place of what is wrong with a row; a damaged file is not about a line */
	if (status == LDR_TOO_LONG || status == LDR_OUT_OF_MEMORY)
	{
		err->line = b->line;
		ldr_excerpt(err->value, sizeof(err->value), b->w.cur, (size_t) (b->w.end - b->w.cur));
	}
	return status;
}

LdrStatus
ldr_reader_grow_scratch(LdrReaderBase *b, size_t need, LdrError *err)
{
	size_t		size = b->scratch_size * 2;
	char	   *scratch;

	if (size < need)
		size = need;
	if (size < SCRATCH_MIN)
		size = SCRATCH_MIN;
	/* nothing in it yet that this attempt could miss: no need to copy */
	free(b->scratch);
	scratch = malloc(size + LDR_FIELD_SLACK);
	b->scratch = scratch;
	b->scratch_pos = scratch;
	b->scratch_size = scratch != NULL ? size : 0;
	if (scratch == NULL)
		return ldr_reader_fail(b, err, LDR_OUT_OF_MEMORY, (LdrPlace) {b->w.cur, b->line, 0, -1},
							   "out of memory for a row of %zu bytes", need);
	return LDR_OK;
}

void
ldr_reader_name(LdrError *err, const char *name, size_t len)
{
	if (len < sizeof(err->column))
	{
		memcpy(err->column, name, len);
		err->column[len] = '\0';
	}
	else
		ldr_excerpt(err->column, sizeof(err->column), name, len);
}

LdrStatus
ldr_reader_fail(LdrReaderBase *b, LdrError *err, LdrStatus status, LdrPlace place,
				const char *fmt,...)
{
	LdrWindow  *w = &b->w;
	size_t		left = (size_t) (w->end - place.at);
	const char *eol = memchr(place.at, '\n', left);
	va_list		args;

	if (eol != NULL)
		left = (size_t) (eol - place.at);
	err->status = status;
	err->line = place.line;
	err->column_no = place.field;
	if (place.column >= 0)
		ldr_reader_name(err, b->index.keys[place.column].name, b->index.keys[place.column].len);
	va_start(args, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	ldr_excerpt(err->value, sizeof(err->value), place.at, left);
	b->pub.raw = w->cur;
	b->pub.raw_len = (size_t) (place.at + left - w->cur);
	return status;
}

LdrStatus
ldr_reader_unknown_column(LdrReaderBase *b, LdrError *err, LdrPlace place, const char *name,
						  size_t len)
{
	char		shown[72];

	ldr_excerpt(shown, sizeof(shown), name, len);
	strcpy(err->hint, "The package's schema must name every column that its files have.");
	ldr_reader_fail(b, err, LDR_UNKNOWN_COLUMN, place,
					"the file names column \"%s\", which the table does not have", shown);
	ldr_reader_name(err, name, len);
	return LDR_UNKNOWN_COLUMN;
}

LdrStatus
ldr_reader_pass(LdrReaderBase *b, LdrRow *row, const char *end, const char *next, int64_t line)
{
	b->pub.raw = b->w.cur;
	b->pub.raw_len = (size_t) (end - b->w.cur);
	row->fields = NULL;
	row->line = b->line;
	row->ascii = false;
	b->line = line;
	b->w.cur = (char *) next;
	return LDR_OK;
}

/* Is it about one row, in a file that goes on behind it as it should? */
static bool
reader_is_of_row(const LdrError *err)
{
	switch (err->status)
	{
		case LDR_UNEXPECTED:
		case LDR_TOO_FEW_FIELDS:
		case LDR_TOO_MANY_FIELDS:
		case LDR_TOO_LONG:
		case LDR_BAD_ESCAPE:
		case LDR_NUL_CHARACTER:
		case LDR_UNKNOWN_COLUMN:
		case LDR_TOO_DEEP:
			return true;
		default:
			return false;
	}
}

LdrStatus
ldr_reader_skip(LdrReader *r, LdrRow *row, LdrError *err)
{
	if (r->skip == NULL || !reader_is_of_row(err))
		return err->status;
	return r->skip(r, row, err);
}

LdrStatus
ldr_reader_too_long(LdrReaderBase *b, LdrError *err, LdrPlace place)
{
	return ldr_reader_fail(b, err, LDR_TOO_LONG, place, "value is longer than %zu bytes",
						   ldr_reader_limits.field);
}

const char *
ldr_reader_show(char *dst, char c)
{
	unsigned char u = (unsigned char) c;

	if (u > 0x20 && u < 0x7f)
		snprintf(dst, 8, "\"%c\"", c);
	else
		snprintf(dst, 8, "0x%02X", u);
	return dst;
}

char *
ldr_utf8_put(char *dst, uint32_t code)
{
	if (code < 0x80)
		*dst++ = (char) code;
	else if (code < 0x800)
	{
		*dst++ = (char) (0xC0 | (code >> 6));
		*dst++ = (char) (0x80 | (code & 0x3F));
	}
	else if (code < 0x10000)
	{
		*dst++ = (char) (0xE0 | (code >> 12));
		*dst++ = (char) (0x80 | ((code >> 6) & 0x3F));
		*dst++ = (char) (0x80 | (code & 0x3F));
	}
	else
	{
		*dst++ = (char) (0xF0 | (code >> 18));
		*dst++ = (char) (0x80 | ((code >> 12) & 0x3F));
		*dst++ = (char) (0x80 | ((code >> 6) & 0x3F));
		*dst++ = (char) (0x80 | (code & 0x3F));
	}
	return dst;
}

int64_t
ldr_hex(const char *p, int n)
{
	int64_t		value = 0;

	for (int i = 0; i < n; i++)
	{
		char		c = p[i];
		int			digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			digit = c - 'A' + 10;
		else
			return -1;
		value = value * 16 + digit;
	}
	return value;
}
