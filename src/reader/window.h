/*
 * reader/window.h: the part of a file that a reader has in memory. No postgres.h.
 *
 * It holds whole rows and the beginning of one more. A reader parses a row that begins at cur;
 * when it meets the end of the window inside that row, it asks for more with ldr_window_fill and
 * parses the row again from its beginning. The rest of a row is moved to the front before the
 * window is filled, and the window at least doubles the bytes it has of a row, so every byte is
 * parsed twice in a row that fits the window once more and O(1) times in one of any length.
 *
 * Behind end there are always LDR_WINDOW_SLACK zero bytes: loops may stop at a zero byte instead of
 * comparing with end, and load a block of mask.h at once.
 */
#ifndef LDR_WINDOW_H
#define LDR_WINDOW_H

#include "source/source.h"

#define LDR_WINDOW_SLACK 64

typedef struct LdrWindow
{
	LdrSource  *source;			/* not owned */
	char	   *buf;
	size_t		size;			/* bytes of buf, without the slack */
	char	   *cur;			/* where the row in work begins */
	char	   *end;			/* behind the last byte that was read */
	bool		eof;			/* the source has no more than this */
	bool		by_line;		/* fill no further than a line's end: more may be long in coming */
	LdrError	failed;			/* what the source has failed with while blocks were cut from it */
} LdrWindow;

/* Limits of the readers. Variables, so that tests can put every edge on every byte. */
typedef struct LdrReaderLimits
{
	size_t		window;			/* bytes that a window begins with */
	size_t		field;			/* LDR_MAX_FIELD */
	size_t		record;			/* LDR_MAX_RECORD */
} LdrReaderLimits;

extern LdrReaderLimits ldr_reader_limits;

/* An empty window, in which a reader may look for bytes already. */
extern void ldr_window_init(LdrWindow *w);

/*
 * Have more bytes behind cur, or eof set. Moves what lies between cur and end, so all pointers
 * into the window are void after it. LDR_TOO_LONG if a row needs more than the limit,
 * LDR_OUT_OF_MEMORY, or what the source fails with; the window is then as it was.
 */
extern LdrStatus ldr_window_fill(LdrWindow *w, LdrError *err);
extern void ldr_window_free(LdrWindow *w);

/* Put bytes behind end; moves what lies between cur and end. LDR_OUT_OF_MEMORY. */
extern LdrStatus ldr_window_append(LdrWindow *w, const char *data, size_t n, LdrError *err);

#endif							/* LDR_WINDOW_H */
