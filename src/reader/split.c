/*
 * reader/split.c: blocks of whole rows. No postgres.h.
 *
 * Where a row ends is told by as little of the grammar as decides it: quotes in csv, strings and
 * parentheses in insert_values, lines in jsonl. In a file that follows the grammar that is where
 * its reader finds the ends; in another one the reader fails in the block where it stops to follow,
 * or goes on behind the row by the same rules (the skip of each format).
 */
#include "reader/split.h"

#include <string.h>

#include "reader/base.h"
#include "reader/literal.h"
#include "reader/mask.h"

#define SPLIT_CHUNK	64			/* blocks that are looked at in one step */

_Static_assert(LDR_BLOCK_SLACK >= LDR_FIELD_SLACK, "a field may end where a block does");

/* What was found of whole rows. */
typedef struct SplitEnd
{
	size_t		len;			/* up to behind the last one, 0: there is none */
	int			state;			/* of the reader there */
} SplitEnd;

/* How many blocks n bytes take, the last one with zero bytes behind them. */
static inline size_t
split_blocks(size_t n)
{
	return (n + LDR_BLOCK - 1) / LDR_BLOCK;
}

/* --- csv ------------------------------------------------------------------------------------ */

/*
 * Quotes are even in number before the end of a row, and odd before other ends of line: so count
 * them all, and go back from the end. A CR at the very end may have its LF still to come.
 */
static size_t
split_csv(const char *buf, size_t n)
{
	size_t		counts[3];
	bool		quoted;

	ldr_mask_way->tally(buf, split_blocks(n), "\"\"\"", counts);
	quoted = counts[0] % 2 == 1;
	for (size_t i = n; i > 0; i--)
	{
		char		c = buf[i - 1];

		if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '\n' || (c == '\r' && i < n)))
			return i;
	}
	return 0;
}

/* --- insert_values -------------------------------------------------------------------------- */

/* A walk over what decides where rows end: quotes, backslashes, closing parentheses. */
typedef struct SplitWalk
{
	const char *buf;
	size_t		n;
	size_t		chunk;			/* where masks begin */
	size_t		block;			/* among them */
	uint64_t	mask;			/* what is left of the one in work */
	uint64_t	masks[SPLIT_CHUNK];
} SplitWalk;

static const LdrByteSet split_literals = {0, {'\'', '\\', ')'}};

/* Go on from a place, which lies at the front or behind all that was found so far. */
static void
split_seek(SplitWalk *walk, size_t at)
{
	size_t		blocks;

	walk->chunk = at - at % LDR_BLOCK;
	blocks = split_blocks(walk->n - walk->chunk);
	if (blocks > SPLIT_CHUNK)
		blocks = SPLIT_CHUNK;
	else
		memset(walk->masks + blocks, 0, sizeof(uint64_t) * (SPLIT_CHUNK - blocks));
	if (blocks > 0)
		ldr_mask_way->find(walk->buf + walk->chunk, blocks, &split_literals, walk->masks);
	walk->block = 0;
	walk->mask = walk->masks[0] & (~UINT64_C(0) << at % LDR_BLOCK);
}

/* The next of these bytes, n if there is none. */
static inline size_t
split_step(SplitWalk *walk)
{
	size_t		at;

	while (walk->mask == 0)
	{
		if (++walk->block < SPLIT_CHUNK)
			walk->mask = walk->masks[walk->block];
		else if (walk->chunk + SPLIT_CHUNK * LDR_BLOCK >= walk->n)
			return walk->n;
		else
			split_seek(walk, walk->chunk + SPLIT_CHUNK * LDR_BLOCK);
	}
	at = walk->chunk + walk->block * LDR_BLOCK + (size_t) __builtin_ctzll(walk->mask);
	walk->mask &= walk->mask - 1;
	return at;
}

/* The end of a string that opens at the quote, on its closing quote; n if it does not end. */
static size_t
split_string(SplitWalk *walk, size_t quote)
{
	const char *buf = walk->buf;
	bool		escapes = quote > 0 && (buf[quote - 1] | 0x20) == 'e';
	size_t		at = split_step(walk);

	for (;;)
	{
		if (at == walk->n || buf[at] == '\'')
		{
			size_t		next = at < walk->n ? at + 1 : at;

			if (next >= walk->n || buf[next] != '\'')
				return at;
			(void) split_step(walk);	/* two quotes are one in the string */
		}
		else if (buf[at] == '\\' && escapes)
		{
			size_t		next = at + 1;

			/* what is escaped decides nothing; it may not be among what we look for */
			at = split_step(walk);
			if (at != next || at == walk->n)
				continue;
		}
		at = split_step(walk);
	}
}

/* The end of a statement's header that begins at p: behind the parenthesis of its names. */
static const char *
split_header(const char *p, const char *end)
{
	bool		quoted = false;

	for (; p < end; p++)
	{
		if (*p == '"')
			quoted = !quoted;
		else if (*p == ')' && !quoted)
			return p + 1;
	}
	return end;
}

static SplitEnd
split_insert_values(const char *buf, size_t n, int state)
{
	SplitWalk	walk = {.buf = buf, .n = n};
	SplitEnd	end = {0, state};
	const char *behind = buf + n;
	const char *p = buf;
	size_t		at;

	if (state == LDR_AT_STATEMENT)
		p = split_header(buf, behind);
	split_seek(&walk, (size_t) (p - buf));
	while ((at = split_step(&walk)) < n)
	{
		if (buf[at] == '\'')
			(void) split_string(&walk, at);
		if (buf[at] != ')')
			continue;
		for (p = buf + at + 1; p < behind && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r');)
			p++;
		if (p == behind || (*p != ',' && *p != ';'))
			continue;
		end.len = (size_t) (p + 1 - buf);
		end.state = (*p == ',') ? LDR_AT_ROW : LDR_AT_STATEMENT;
		if (*p == ';')
			split_seek(&walk, (size_t) (split_header(p + 1, behind) - buf));
	}
	return end;
}

/* --- all ------------------------------------------------------------------------------------ */

static SplitEnd
split_find(const LdrReaderBase *b, const char *buf, size_t n)
{
	SplitEnd	end = {0, b->state};

	switch (b->format)
	{
		case LDR_CSV:
			end.len = split_csv(buf, n);
			break;
		case LDR_INSERT_VALUES:
			return split_insert_values(buf, n, b->state);
		case LDR_JSONL:
			for (end.len = n; end.len > 0 && buf[end.len - 1] != '\n';)
				end.len--;
			break;
	}
	return end;
}

/* How many lines end in n bytes; in csv also by CR, but only once where LF follows. */
static int64_t
split_lines(LdrFormat format, const char *buf, size_t n)
{
	size_t		counts[3];
	int64_t		lines;

	ldr_mask_way->tally(buf, split_blocks(n), "\n\r\r", counts);
	lines = (int64_t) counts[0];
	if (format == LDR_CSV && counts[1] > 0)
	{
		const char *end = buf + n;

		for (const char *p = buf; (p = memchr(p, '\r', (size_t) (end - p))) != NULL; p++)
			lines += (p + 1 == end || p[1] != '\n');
	}
	return lines;
}

/*
 * Fill the buffer from the window, which keeps its bytes, and from the source. Returns how many
 * bytes it has now; what a source fails with stays in the window.
 */
static size_t
split_fill(LdrWindow *w, char *buf, size_t size)
{
	size_t		have = (size_t) (w->end - w->cur);

	if (have >= size)
		have = size;
	memcpy(buf, w->cur, have);
	while (have < size && !w->eof && w->failed.status == LDR_OK)
	{
		ssize_t		got = w->source->read(w->source, buf + have, size - have, &w->failed);

		if (got < 0)
			break;
		w->eof = (got == 0);
		have += (size_t) got;
	}
	return have;
}

/* The first len bytes of the n in the buffer are taken: have the others in the window. */
static LdrStatus
split_take(LdrWindow *w, const char *buf, size_t n, size_t len, LdrError *err)
{
	size_t		have = (size_t) (w->end - w->cur);
	size_t		kept = have < n ? have : n; /* what the window has of them */

	if (n > kept)
	{
		size_t		from = len > kept ? len : kept;

		if (len >= kept)
			w->cur = w->end;
		if (ldr_window_append(w, buf + from, n - from, err) != LDR_OK)
			return err->status;
		if (len < kept)
			w->cur += len;
	}
	else
		w->cur += len;
	return LDR_OK;
}

LdrStatus
ldr_reader_split(LdrReader *r, char *buf, size_t size, LdrBlock *block, LdrError *err)
{
	LdrReaderBase *b = (LdrReaderBase *) r;
	LdrWindow  *w = &b->w;
	SplitEnd	end;
	size_t		n;

	if (b->split)
		return LDR_END;
	if (r->forget != NULL)
		r->forget(r->forget_arg);
	n = split_fill(w, buf, size);
	*block = (LdrBlock) {.line = b->line, .state = b->state};
	/* all that is left is one block, whatever it is: only now a row may end without its end */
	block->last = w->eof && n >= (size_t) (w->end - w->cur);
	memset(buf + n, 0, LDR_BLOCK_SLACK);
	if (block->last)
		end = (SplitEnd) {n, b->state};
	else
		end = split_find(b, buf, n);
	if (split_take(w, buf, n, end.len, err) != LDR_OK)
		return err->status;
	b->marks.valid = false;			/* what it pointed to has moved */
	r->raw = w->cur;
	r->raw_len = 0;
	if (end.len == 0 && !block->last)
		return LDR_TOO_LONG;
	b->split = block->last;
	/* nothing more: only insert_values can be wrong there, and its reader says so */
	if (end.len == 0 && (b->format != LDR_INSERT_VALUES || b->state == LDR_AT_STATEMENT))
		return LDR_END;
	block->len = end.len;
	memset(buf + end.len, 0, LDR_BLOCK_SLACK);
	b->line += split_lines(b->format, buf, end.len);
	b->state = end.state;
	return LDR_OK;
}

LdrReader *
ldr_block_reader_open(LdrFormat format, const LdrReaderOptions *options, const int *columns,
					  int ncolumns, LdrError *err)
{
	LdrSource  *nothing = ldr_memory_source(NULL, 0);
	LdrReader  *r = NULL;

	if (nothing == NULL)
	{
		ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory for a reader");
		return NULL;
	}
	switch (format)
	{
		case LDR_INSERT_VALUES:
			r = ldr_insert_values_make(nothing, options, err);
			break;
		case LDR_CSV:
			r = ldr_csv_make(nothing, options, err);
			break;
		case LDR_JSONL:
			r = ldr_jsonl_make(nothing, options, err);
			break;
	}
	if (r == NULL)
		return NULL;
	r->ncolumns = ncolumns;
	memcpy(r->columns, columns, sizeof(int) * (size_t) ncolumns);
	((LdrReaderBase *) r)->w.eof = true;
	return r;
}

void
ldr_block_reader_begin(LdrReader *r, char *data, const LdrBlock *block)
{
	LdrReaderBase *b = (LdrReaderBase *) r;

	b->w.cur = data;			/* not owned: w.buf stays NULL */
	b->w.end = data + block->len;
	b->w.eof = true;
	b->marks.valid = false;
	b->line = block->line;
	b->state = block->state;
	b->goes_on = !block->last;
}
