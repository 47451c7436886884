/*
 * reader/window.c: the growing buffer between a source and a reader. No postgres.h.
 */
#include "reader/window.h"

#include <stdlib.h>
#include <string.h>

#include "reader/reader.h"

_Static_assert(LDR_WINDOW_SLACK >= LDR_FIELD_SLACK, "a field may end where a window does");

#define WINDOW_SHRINK	32			/* give memory back if so many times less is wanted */

LdrReaderLimits ldr_reader_limits = {256 * 1024, LDR_MAX_FIELD, LDR_MAX_RECORD};

void
ldr_window_init(LdrWindow *w)
{
	static char nothing[LDR_WINDOW_SLACK];	/* zero bytes that stop every loop; never written */

	w->buf = NULL;
	w->size = 0;
	w->cur = w->end = nothing;
	w->eof = false;
	w->failed.status = LDR_OK;
}

/* Make buf hold size bytes and the slack; what is in use lies at its front already. */
static LdrStatus
window_resize(LdrWindow *w, size_t size, LdrError *err)
{
	size_t		have = (size_t) (w->end - w->cur);
	char	   *buf = realloc(w->buf, size + LDR_WINDOW_SLACK);

	if (buf == NULL)
		return ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory for a row of %zu bytes", size);
	w->buf = buf;
	w->size = size;
	w->cur = buf;
	w->end = buf + have;
	return LDR_OK;
}

/* Move what is in use to the front. */
static void
window_move(LdrWindow *w)
{
	size_t		have = (size_t) (w->end - w->cur);

	if (w->buf == NULL)
		return;
	if (w->cur != w->buf && have > 0)
		memmove(w->buf, w->cur, have);
	w->cur = w->buf;
	w->end = w->buf + have;
}

LdrStatus
ldr_window_append(LdrWindow *w, const char *data, size_t n, LdrError *err)
{
	size_t		have = (size_t) (w->end - w->cur);

	window_move(w);
	if (have + n > w->size && window_resize(w, have + n, err) != LDR_OK)
		return err->status;
	memcpy(w->end, data, n);
	w->end += n;
	memset(w->end, 0, LDR_WINDOW_SLACK);
	return LDR_OK;
}

LdrStatus
ldr_window_fill(LdrWindow *w, LdrError *err)
{
	size_t		have = (size_t) (w->end - w->cur);
	size_t		want = ldr_reader_limits.window;

	if (w->eof)
		return LDR_OK;
	if (have >= ldr_reader_limits.record)
		return ldr_fail(err, LDR_TOO_LONG, "row is longer than %zu bytes",
						ldr_reader_limits.record);
	if (want < have * 2)
		want = have * 2;
	if (want > ldr_reader_limits.record)
		want = ldr_reader_limits.record;

	window_move(w);
	if (w->failed.status != LDR_OK)
	{
		*err = w->failed;
		return err->status;
	}
	if ((want > w->size || want < w->size / WINDOW_SHRINK) &&
		window_resize(w, want, err) != LDR_OK)
		return err->status;

	/* Not more than is wanted, though buf may be larger: a huge row must not slow the rest. */
	while (have < want && !w->eof)
	{
		ssize_t		got = w->source->read(w->source, w->buf + have, want - have, err);

		if (got < 0)
		{
			memset(w->end, 0, LDR_WINDOW_SLACK);
			return err->status;
		}
		w->eof = (got == 0);
		w->end += got;
		if (w->by_line && memchr(w->buf + have, '\n', (size_t) got) != NULL)
			break;
		have += (size_t) got;
	}
	memset(w->end, 0, LDR_WINDOW_SLACK);
	return LDR_OK;
}

void
ldr_window_free(LdrWindow *w)
{
	free(w->buf);
	w->buf = w->cur = w->end = NULL;
	w->size = 0;
}
