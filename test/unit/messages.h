/*
 * test/unit/messages.h: read a whole stream of messages and write down what came out, one line for
 * each, which begins with the number of its line.
 *
 *	1 record 0 users@ns at 12 changes [..] b:1|s:text|N|A|j:{}|i:"\ud800"
 *	2 state STREAM 0 users {"type":"STREAM",...}
 *	3 status -1 - COMPLETE
 *	4 log s:INFO s:text
 *
 * Line ends in values become ~, zero bytes %.
 */
#ifndef LDR_MESSAGES_H
#define LDR_MESSAGES_H

#include <inttypes.h>

#include "reader/airbyte.h"
#include "rows.h"

typedef struct MessagesOptions
{
	const LdrMessageStream *streams;
	int			nstreams;
	size_t		window;			/* 0: the default */
	size_t		step;			/* bytes that the source gives at once, 0: all */
} MessagesOptions;

static void __attribute__((unused, format(printf, 2, 3)))
messages_printf(Rows *out, const char *fmt,...)
{
	char		text[256];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	rows_put(out, text, strlen(text));
}

/* The position of a message's stream, and how the message names it. */
static void
messages_put_stream(Rows *out, const LdrMessage *m)
{
	messages_printf(out, " %d ", m->stream);
	if (m->name.kind == LDR_NULL)
		rows_put(out, "-", 1);
	if (m->name.kind == LDR_INVALID)
		rows_put(out, "i:", 2);
	rows_put(out, m->name.data, m->name.len);
	if (m->name_space.kind != LDR_NULL)
		rows_put(out, m->name_space.kind == LDR_STRING ? "@" : "@i:", 1);
	rows_put(out, m->name_space.data, m->name_space.len);
}

static void
messages_put_record(Rows *out, const LdrMessage *m, const LdrMessageStream *streams)
{
	rows_put(out, " record", 7);
	messages_put_stream(out, m);
	if (m->emitted_at != INT64_MIN)
		messages_printf(out, " at %" PRId64, m->emitted_at);
	if (m->changes.kind != LDR_NULL)
	{
		rows_put(out, " changes ", 9);
		rows_put(out, m->changes.data, m->changes.len);
	}
	CHECK((m->fields != NULL) == (m->stream >= 0));
	for (int i = 0; m->fields != NULL && i < streams[m->stream].ncolumns; i++)
	{
		rows_put(out, i ? "|" : " ", 1);
		rows_put_field(out, &m->fields[i]);
	}
}

static void
messages_put(Rows *out, const LdrMessage *m, const LdrMessageStream *streams)
{
	static const char *const kinds[] = {"STREAM", "GLOBAL", "LEGACY"};
	static const char *const status[] = {"NONE", "STARTED", "RUNNING", "COMPLETE", "INCOMPLETE"};

	messages_printf(out, "%" PRId64, m->line);
	switch (m->kind)
	{
		case LDR_MESSAGE_RECORD:
			messages_put_record(out, m, streams);
			break;
		case LDR_MESSAGE_STATE:
			messages_printf(out, " state %s", kinds[m->state_kind]);
			messages_put_stream(out, m);
			rows_put(out, " ", 1);
			CHECK_INT(m->state.kind, LDR_RAW_JSON);
			rows_put(out, m->state.data, m->state.len);
			break;
		case LDR_MESSAGE_STATUS:
			rows_put(out, " status", 7);
			messages_put_stream(out, m);
			messages_printf(out, " %s", status[m->status]);
			break;
		case LDR_MESSAGE_ESTIMATE:
			rows_put(out, " estimate", 9);
			messages_put_stream(out, m);
			messages_printf(out, " %g %g", m->row_estimate, m->byte_estimate);
			break;
		case LDR_MESSAGE_ERROR:
			rows_put(out, " error", 6);
			messages_put_stream(out, m);
			rows_put(out, " ", 1);
			rows_put_field(out, &m->level);
			rows_put(out, " ", 1);
			rows_put_field(out, &m->text);
			break;
		case LDR_MESSAGE_LOG:
			rows_put(out, " log ", 5);
			rows_put_field(out, &m->level);
			rows_put(out, " ", 1);
			rows_put_field(out, &m->text);
			break;
		case LDR_MESSAGE_CONTROL:
			rows_put(out, " control", 8);
			break;
		case LDR_MESSAGE_OTHER:
			rows_put(out, " other", 6);
			break;
		case LDR_MESSAGE_NOT_JSON:
			rows_put(out, " text ", 6);
			rows_put_field(out, &m->text);
			break;
	}
	rows_put(out, "\n", 1);
	out->n++;
}

/* The line of a file where the raw text of a message stands, without its end. */
static bool
messages_is_line(const char *data, size_t len, const LdrMessage *m)
{
	size_t		begin = rows_line(data, len, m->line, LDR_JSONL, 0);
	const char *eol = memchr(data + begin, '\n', len - begin);
	const char *end = eol != NULL ? eol : data + len;

	while (end > data + begin && end[-1] == '\r')
		end--;
	return m->raw_len == (size_t) (end - data) - begin &&
		memcmp(m->raw, data + begin, m->raw_len) == 0;
}

/* Read data to its end or to the first error. The caller frees the result with rows_free. */
static Rows __attribute__((unused))
messages_read(const char *data, size_t len, const MessagesOptions *options)
{
	Rows		out = {0};
	size_t		window = ldr_reader_limits.window;
	LdrAirbyteReader *r;
	LdrMessage	m;

	rows_put(&out, "", 0);
	if (options->window > 0)
		ldr_reader_limits.window = options->window;
	r = ldr_airbyte_open(step_source(data, len, options->step), options->streams,
						 options->nstreams, &out.err);
	out.status = (r == NULL) ? out.err.status : LDR_OK;
	while (out.status == LDR_OK)
	{
		out.status = ldr_airbyte_next(r, &m, &out.err);
		if (out.status != LDR_OK)
			break;
		CHECK_MSG(messages_is_line(data, len, &m), "raw text is not that of line %lld",
				  (long long) m.line);
		out.last = out.len;
		messages_put(&out, &m, options->streams);
		for (size_t i = out.last; i < out.len - 1; i++)
			if (out.text[i] == '\n' || out.text[i] == '\0')
				out.text[i] = out.text[i] == '\n' ? '~' : '%';
	}
	if (out.status == LDR_END)
		CHECK_INT(ldr_airbyte_consumed(r), len);
	ldr_airbyte_close(r);
	ldr_reader_limits.window = window;
	return out;
}

/* One case of a table: what a stream gives, or how and where it fails. */
typedef struct MessagesCase
{
	const char *data;
	size_t		len;			/* 0: up to the first zero byte */
	const char *text;			/* messages, also those before the error */
	LdrStatus	status;			/* LDR_OK stands for the end of the stream */
	int64_t		line;			/* of the error */
	const char *column;			/* of the error, NULL: not checked */
} MessagesCase;

/* Does a window, or how fast its bytes come, make a difference? */
static void
messages_windows(const char *data, size_t len, const char *what, MessagesOptions options,
				 const Rows *whole)
{
	for (size_t window = 1; window <= len + 2; window += (window < 300 ? 1 : 97 + len / 200))
	{
		Rows		got;

		options.window = window;
		options.step = window % 3;
		got = messages_read(data, len, &options);
		CHECK_MSG(got.status == whole->status && strcmp(got.text, whole->text) == 0 &&
				  got.err.line == whole->err.line &&
				  strcmp(got.err.message, whole->err.message) == 0 &&
				  strcmp(got.err.column, whole->err.column) == 0,
				  "%s: window of %zu bytes: %d \"%s\" line %lld, not %d \"%s\" line %lld\n%s", what,
				  window, got.status, got.err.message, (long long) got.err.line, whole->status,
				  whole->err.message, (long long) whole->err.line, got.text);
		rows_free(&got);
	}
}

/* Where the lines end that whole lines give up to a message of this line, or a later one. */
static size_t
messages_before(const Rows *whole, int64_t line)
{
	size_t		pos = 0;

	while (pos < whole->len && strtoll(whole->text + pos, NULL, 10) < line)
		pos = (size_t) (strchr(whole->text + pos, '\n') + 1 - whole->text);
	return pos;
}

/*
 * Cut anywhere, a stream gives the messages of all whole lines. What is left of the last one is
 * nothing, or text, or an object that is whole but for the line's end, or reported as cut.
 */
static void
messages_cut(const char *data, size_t len, size_t cut, const char *what, MessagesOptions options,
			 const Rows *whole)
{
	char	   *copy = malloc(cut + 1); /* of its own, so that a sanitizer sees its end */
	size_t		begin = 0;
	size_t		end = cut;
	int64_t		line = 1;
	size_t		before;
	Rows		got;

	for (size_t i = 0; i < cut; i++)
		if (data[i] == '\n')
		{
			begin = i + 1;
			line++;
		}
	if (begin == 0 && cut >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0)
		begin = 3;
	before = messages_before(whole, line);
	while (begin < cut && strchr(" \t\r", data[begin]) != NULL && data[begin] != '\0')
		begin++;
	while (end < len && strchr(" \t\r", data[end]) != NULL && data[end] != '\0')
		end++;
	memcpy(copy, data, cut);
	options.step = cut % 2;
	got = messages_read(copy, cut, &options);
	CHECK_MSG(strncmp(got.text, whole->text, before) == 0, "%s: cut at %zu: other messages", what,
			  cut);
	if (whole->status != LDR_END && whole->err.line < line)
		CHECK_MSG(got.status == whole->status && got.len == whole->len, "%s: cut at %zu: %d", what,
				  cut, got.status);
	else if (begin == cut)
		CHECK_MSG(got.status == LDR_END && got.len == before, "%s: cut at %zu: %d, %zu bytes",
				  what, cut, got.status, got.len);
	else if (data[begin] != '{')
		CHECK_MSG(got.status == LDR_END && strstr(got.text + before, " text s:") != NULL,
				  "%s: cut at %zu: %s", what, cut, got.text);
	else if ((end == len || data[end] == '\n') && got.status == LDR_END)
		CHECK_MSG(got.len == messages_before(whole, line + 1), "%s: cut at %zu: %s", what, cut,
				  got.text);
	else if (got.status == LDR_END && whole->status != LDR_END && line == whole->err.line)
		/* what is wrong with the line may stand behind an object */
		CHECK_MSG(strchr("} \r", data[cut - 1]) != NULL, "%s: cut at %zu: %s", what, cut, got.text);
	else
		CHECK_MSG(got.len == before && (got.status == LDR_TRUNCATED ||
										(got.status == whole->status && got.status != LDR_END)),
				  "%s: cut at %zu of %zu: %d %s", what, cut, len, got.status, got.text);
	rows_free(&got);
	free(copy);
}

/* All windows, and all cuts. */
static void __attribute__((unused))
messages_edges(const char *data, size_t len, const char *what, const MessagesOptions *options,
			   const Rows *whole)
{
	messages_windows(data, len, what, *options, whole);
	for (size_t cut = 0; cut < len; cut++)
		messages_cut(data, len, cut, what, *options, whole);
}

static void __attribute__((unused))
messages_case(const MessagesCase *c, int i, const MessagesOptions *options)
{
	size_t		len = c->len > 0 ? c->len : strlen(c->data);
	LdrStatus	want = c->status == LDR_OK ? LDR_END : c->status;
	Rows		whole = messages_read(c->data, len, options);
	char		what[32];

	snprintf(what, sizeof(what), "case %d", i);
	CHECK_MSG(whole.status == want, "%s: status %d (%s), not %d", what, whole.status,
			  whole.err.message, want);
	CHECK_MSG(strcmp(whole.text, c->text) == 0, "%s: messages\n%snot\n%s", what, whole.text,
			  c->text);
	if (want != LDR_END)
	{
		CHECK_MSG(whole.err.line == c->line, "%s: line %lld, not %lld (%s)", what,
				  (long long) whole.err.line, (long long) c->line, whole.err.message);
		CHECK_MSG(whole.err.message[0] != '\0' && whole.err.status == want, "%s: err", what);
	}
	if (c->column != NULL)
		CHECK_MSG(strcmp(whole.err.column, c->column) == 0, "%s: column \"%s\", not \"%s\"", what,
				  whole.err.column, c->column);
	messages_edges(c->data, len, what, options, &whole);
	rows_free(&whole);
}

#endif							/* LDR_MESSAGES_H */
