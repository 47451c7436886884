/*
 * source/codec.c: what a file was packed in, told by its first bytes and not by its name.
 * No postgres.h.
 *
 * gzip may have several members and zstd several frames, skippable ones included. A file may end
 * only between two of them: an end anywhere else is LDR_CORRUPT, and so is anything that follows
 * the last one. Memory is bounded: a window of 32 kB for gzip, of 128 MB at most for zstd.
 */
#include "source/source.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "fault.h"
#include "source/inflate.h"

#define CODEC_BUFFER		(128 * 1024)
#define CODEC_MAX_WINDOW_LOG 27
#define CODEC_MAGIC			4	/* bytes that tell what it is */

typedef enum CodecKind
{
	CODEC_PLAIN,
	CODEC_GZIP,
	CODEC_ZSTD
} CodecKind;

typedef struct CodecSource
{
	LdrSource	base;
	LdrSource  *inner;
	char	   *in;				/* packed bytes: in[in_pos .. in_end) are still to be taken */
	size_t		in_pos;
	size_t		in_end;
	bool		in_eof;			/* inner has said that it has no more */
	bool		between;		/* between two members or frames, where a file may end */
	bool		failed;			/* once wrong, always wrong */
	LdrInflate *inflate;
	ZSTD_DCtx  *zstd;
} CodecSource;

static ssize_t
codec_fail(CodecSource *s, LdrError *err, LdrStatus status, const char *message)
{
	s->failed = true;
	if (status == LDR_CORRUPT && err->hint[0] == '\0')
		strcpy(err->hint, "Copy or make the file again.");
	ldr_fail(err, status, "%s", message);
	return -1;
}

/* Have at least one packed byte, unless the file is at its end. 1, 0 at the end, -1 on failure. */
static int
codec_refill(CodecSource *s, LdrError *err)
{
	ssize_t		got;

	if (s->in_pos < s->in_end)
		return 1;
	if (s->in_eof)
		return 0;
	got = s->inner->read(s->inner, s->in, CODEC_BUFFER, err);
	if (got < 0)
	{
		s->failed = true;
		return -1;
	}
	s->in_pos = 0;
	s->in_end = (size_t) got;
	s->in_eof = (got == 0);
	return got > 0;
}

static ssize_t
plain_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	CodecSource *s = (CodecSource *) self;
	size_t		left = s->in_end - s->in_pos;

	if (left == 0)				/* the sniffed bytes are gone: nothing between us and the file */
		return s->in_eof ? 0 : s->inner->read(s->inner, buf, n, err);
	if (n > left)
		n = left;
	memcpy(buf, s->in + s->in_pos, n);
	s->in_pos += n;
	return (ssize_t) n;
}

/* A step that was no good, in our words. */
static ssize_t
gzip_fail(CodecSource *s, LdrInflateStatus status, const char *message, LdrError *err)
{
	if (status == LDR_INFLATE_NO_MEMORY)
		return codec_fail(s, err, LDR_OUT_OF_MEMORY, "out of memory while reading gzip data");
	if (status == LDR_INFLATE_NO_MEMBER)
		return codec_fail(s, err, LDR_CORRUPT, "there are bytes after the end of the gzip data");
	s->failed = true;
	strcpy(err->hint, "Copy or make the file again.");
	ldr_fail(err, LDR_CORRUPT, "gzip data is damaged: %s", message);
	return -1;
}

static ssize_t
gzip_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	CodecSource *s = (CodecSource *) self;
	LdrInflateStep step = {.out = buf, .out_len = n};

	LDR_FAULT_MUTE("read: gzip");
	if (s->failed)
		return codec_fail(s, err, LDR_CORRUPT, "gzip data is damaged");
	while (step.out == buf && n > 0)
	{
		int			more = codec_refill(s, err);
		LdrInflateStatus status;

		if (more < 0)
			return -1;
		if (more == 0 && s->between)
			return 0;
		/* with no input left, the stream may still hold output that did not fit before */
		step.in = s->in + s->in_pos;
		step.in_len = s->in_end - s->in_pos;
		status = ldr_inflate(s->inflate, &step);
		if (status != LDR_INFLATE_MORE && status != LDR_INFLATE_END)
			return gzip_fail(s, status, step.message, err);
		s->in_pos = s->in_end - step.in_len;
		s->between = (status == LDR_INFLATE_END);
		if (more == 0 && step.out == buf && !s->between)
			return codec_fail(s, err, LDR_CORRUPT, "gzip data ends too early");
	}
	return step.out - buf;
}

static ssize_t
zstd_fail(CodecSource *s, size_t code, LdrError *err)
{
	switch (ZSTD_getErrorCode(code))
	{
		case ZSTD_error_memory_allocation:
			return codec_fail(s, err, LDR_OUT_OF_MEMORY, "out of memory while reading zstd data");
		case ZSTD_error_frameParameter_windowTooLarge:
			strcpy(err->hint, "Compress the file again without --ultra and --long.");
			return codec_fail(s, err, LDR_UNSUPPORTED,
							  "zstd data needs a window of more than 128 MB");
		case ZSTD_error_dictionary_wrong:
			return codec_fail(s, err, LDR_UNSUPPORTED, "zstd data needs a dictionary");
		case ZSTD_error_prefix_unknown:
			return codec_fail(s, err, LDR_CORRUPT,
							  "there are bytes after the end of the zstd data");
		default:
			s->failed = true;
			strcpy(err->hint, "Copy or make the file again.");
			ldr_fail(err, LDR_CORRUPT, "zstd data is damaged: %s", ZSTD_getErrorName(code));
			return -1;
	}
}

static ssize_t
zstd_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	CodecSource *s = (CodecSource *) self;
	ZSTD_outBuffer out = {buf, n, 0};

	LDR_FAULT_MUTE("read: zstd");
	if (s->failed)
		return codec_fail(s, err, LDR_CORRUPT, "zstd data is damaged");
	while (out.pos == 0 && n > 0)
	{
		int			more = codec_refill(s, err);
		ZSTD_inBuffer in = {s->in, s->in_end, s->in_pos};
		size_t		code;

		if (more < 0)
			return -1;
		if (more == 0 && s->between)
			return 0;
		/* with no input left, the frame may still hold output that did not fit before */
		code = ZSTD_decompressStream(s->zstd, &out, &in);
		if (ZSTD_isError(code))
			return zstd_fail(s, code, err);
		s->in_pos = in.pos;
		s->between = (code == 0);
		if (more == 0 && out.pos == 0 && !s->between)
			return codec_fail(s, err, LDR_CORRUPT, "zstd data ends too early");
	}
	return (ssize_t) out.pos;
}

static void
codec_close(LdrSource *self)
{
	CodecSource *s = (CodecSource *) self;

	ldr_inflate_free(s->inflate);
	ZSTD_freeDCtx(s->zstd);
	s->inner->close(s->inner);
	free(s->in);
	free(s);
}

static uint64_t
codec_consumed(const LdrSource *self)
{
	const CodecSource *s = (const CodecSource *) self;

	return s->inner->consumed(s->inner);
}

/*
 * What the first bytes say. A file that ends inside the mark of a packed one is taken for a
 * damaged packed file, if no text can begin with these bytes.
 */
static CodecKind
codec_sniff(const unsigned char *b, size_t n)
{
	if (n >= 1 && b[0] == 0x1f && (n == 1 || b[1] == 0x8b))
		return CODEC_GZIP;
	if (n >= 2 && b[0] == 0x28 && b[1] == 0xb5 &&
		(n == 2 || (b[2] == 0x2f && (n == 3 || b[3] == 0xfd))))
		return CODEC_ZSTD;
	if (n >= 4 && (b[0] & 0xf0) == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18)
		return CODEC_ZSTD;		/* a skippable frame comes first */
	return CODEC_PLAIN;
}

/* Make the state that the kind needs. */
static LdrStatus
codec_start(CodecSource *s, CodecKind kind, LdrError *err)
{
	switch (kind)
	{
		case CODEC_PLAIN:
			s->base.read = plain_read;
			return LDR_OK;
		case CODEC_GZIP:
			s->base.read = gzip_read;
			s->inflate = ldr_inflate_new();
			if (s->inflate != NULL)
				return LDR_OK;
			break;
		case CODEC_ZSTD:
			s->base.read = zstd_read;
			s->zstd = ZSTD_createDCtx();
			if (s->zstd != NULL &&
				!ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax,
													 CODEC_MAX_WINDOW_LOG)))
				return LDR_OK;
			break;
	}
	return ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory while opening packed data");
}

LdrSource *
ldr_codec_source(LdrSource *inner, LdrError *err)
{
	CodecSource *s = calloc(1, sizeof(CodecSource));

	if (s != NULL)
		s->in = malloc(CODEC_BUFFER);
	if (s == NULL || s->in == NULL)
	{
		free(s);
		inner->close(inner);
		ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory while opening a file");
		return NULL;
	}
	memset(s->in, 0, CODEC_MAGIC);
	s->inner = inner;
	s->base.close = codec_close;
	s->base.consumed = codec_consumed;
	while (s->in_end < CODEC_MAGIC && !s->in_eof)
	{
		ssize_t		got = inner->read(inner, s->in + s->in_end, CODEC_BUFFER - s->in_end, err);

		if (got < 0)
		{
			codec_close(&s->base);
			return NULL;
		}
		s->in_end += (size_t) got;
		s->in_eof = (got == 0);
	}
	if (codec_start(s, codec_sniff((unsigned char *) s->in, s->in_end), err) != LDR_OK)
	{
		codec_close(&s->base);
		return NULL;
	}
	return &s->base;
}
