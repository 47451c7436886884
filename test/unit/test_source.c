/*
 * test/unit/test_source.c: files, and what they may be packed in.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "rows.h"
#include "source/source.h"

typedef struct Bytes
{
	char	   *data;
	size_t		len;
	size_t		size;
} Bytes;

static void
bytes_add(Bytes *b, const void *data, size_t len)
{
	if (b->data == NULL || b->len + len > b->size)
	{
		b->size = (b->len + len + 1) * 2;
		b->data = realloc(b->data, b->size);
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

/* Text that packs neither too well nor too badly. */
static Bytes
sample(size_t len)
{
	Bytes		b = {malloc(len), len, len};
	uint32_t	x = 1;

	for (size_t i = 0; i < len; i++)
	{
		x = x * 1664525 + 1013904223;
		b.data[i] = "abcdefgh\n, 01"[(x >> 24) % 13];
	}
	return b;
}

static void
add_gzip(Bytes *out, const char *data, size_t len)
{
	size_t		size = len * 2 + 1000;
	char	   *buf = malloc(size);
	z_stream	z = {0};

	deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
	z.next_in = (Bytef *) data;
	z.avail_in = (uInt) len;
	z.next_out = (Bytef *) buf;
	z.avail_out = (uInt) size;
	CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
	bytes_add(out, buf, size - z.avail_out);
	deflateEnd(&z);
	free(buf);
}

static void
add_zstd(Bytes *out, const char *data, size_t len, int window_log)
{
	size_t		size = ZSTD_compressBound(len);
	char	   *buf = malloc(size);
	ZSTD_CCtx  *c = ZSTD_createCCtx();
	ZSTD_outBuffer o = {buf, size, 0};
	ZSTD_inBuffer in = {data, len, 0};

	ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
	if (window_log > 0)
	{
		ZSTD_CCtx_setParameter(c, ZSTD_c_enableLongDistanceMatching, 1);
		ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
	}
	/* as a stream, so that the frame does not say how long its content is */
	while (in.pos < in.size)
		CHECK(!ZSTD_isError(ZSTD_compressStream2(c, &o, &in, ZSTD_e_continue)));
	CHECK(ZSTD_compressStream2(c, &o, &in, ZSTD_e_end) == 0);
	bytes_add(out, buf, o.pos);
	ZSTD_freeCCtx(c);
	free(buf);
}

static void
add_skippable(Bytes *out)
{
	bytes_add(out, "\x5A\x2A\x4D\x18\x05\x00\x00\x00skip!", 13);
}

/* Read to the end, n bytes at a time from a source that gives step. LDR_OK or the error. */
static LdrStatus
unpack(const Bytes *in, size_t step, size_t n, Bytes *out, LdrError *err)
{
	LdrSource  *s;
	LdrStatus	status;
	char	   *buf = malloc(n);
	LdrError	again = {0};
	ssize_t		got;

	*out = (Bytes) {0};
	memset(err, 0, sizeof(*err));
	s = ldr_codec_source(step_source(in->data, in->len, step), err);
	if (s == NULL)
	{
		free(buf);
		return err->status;
	}
	while ((got = s->read(s, buf, n, err)) > 0)
		bytes_add(out, buf, (size_t) got);
	status = (got == 0) ? LDR_OK : err->status;
	if (got == 0)
	{
		CHECK_INT(s->consumed(s), in->len);
		CHECK_INT(s->read(s, buf, n, err), 0);	/* the end stays the end */
	}
	else
		CHECK_INT(s->read(s, buf, n, &again), -1);	/* and damage stays damage */
	s->close(s);
	free(buf);
	return status;
}

/* in must give plain, however it is read. */
static void
check_unpack(const Bytes *in, const Bytes *plain, const char *what)
{
	static const size_t sizes[][2] = {{0, 1 << 20}, {1, 7}, {7, 1}, {100, 4096}, {1, 1 << 20}};

	for (int i = 0; i < 5; i++)
	{
		Bytes		out;
		LdrError	err;
		LdrStatus	status = unpack(in, sizes[i][0], sizes[i][1], &out, &err);

		CHECK_MSG(status == LDR_OK && out.len == plain->len &&
				  (out.len == 0 || memcmp(out.data, plain->data, out.len) == 0),
				  "%s: read %d: status %d (%s), %zu bytes of %zu", what, i, status, err.message,
				  out.len, plain->len);
		free(out.data);
	}
}

/*
 * Each cut must be an error, but for those at edges; the bytes before a cut may come out, others
 * may not. A changed byte must never give other bytes without an error.
 */
static void
check_damage(const Bytes *in, const Bytes *plain, const size_t *edges, int nedges, const char *what)
{
	for (size_t cut = 0; cut < in->len; cut++)
	{
		Bytes		part = {in->data, cut, cut};
		Bytes		out;
		LdrError	err;
		LdrStatus	status = unpack(&part, cut % 2, 999, &out, &err);
		bool		edge = (cut == 0 || (cut == 1 && in->data[0] == '('));	/* this is text, too */

		for (int i = 0; i < nedges; i++)
			edge = edge || cut == edges[i];
		CHECK_MSG(status == (edge ? LDR_OK : LDR_CORRUPT), "%s: cut at %zu: status %d", what, cut,
				  status);
		CHECK_MSG(cut == 1 || out.len == 0 || (out.len <= plain->len &&
											memcmp(out.data, plain->data, out.len) == 0),
				  "%s: cut at %zu: other bytes", what, cut);
		free(out.data);
	}
	for (size_t at = 4; at < in->len; at++)
	{
		Bytes		out;
		LdrError	err;
		LdrStatus	status;

		in->data[at] ^= 0x41;
		status = unpack(in, 0, 4096, &out, &err);
		CHECK_MSG(status != LDR_OK || (out.len == plain->len &&
									   memcmp(out.data, plain->data, out.len) == 0),
				  "%s: byte %zu changed: other bytes without an error", what, at);
		in->data[at] ^= 0x41;
		free(out.data);
	}
}

static void
garbage(const Bytes *in, const char *what)
{
	for (size_t n = 1; n < 6; n++)
	{
		Bytes		more = {0};
		Bytes		out;
		LdrError	err;

		bytes_add(&more, in->data, in->len);
		bytes_add(&more, n % 2 ? "xyz\0\0\0" : "\0\0\0\0\0\0", n);
		CHECK_MSG(unpack(&more, n % 3, 100, &out, &err) == LDR_CORRUPT, "%s: garbage of %zu",
				  what, n);
		CHECK(err.hint[0] != '\0');
		free(out.data);
		free(more.data);
	}
}

static void
test_plain(void)
{
	static const char *const texts[] = {"", "a", "ab", "(", "P*M", "\x28", "\x28\xb6", "PK\x03\x04",
	"INSERT INTO {}", "\x78\x9c zlib is not ours"};
	Bytes		big = sample(300000);

	for (int i = 0; i < (int) (sizeof(texts) / sizeof(texts[0])); i++)
	{
		Bytes		b = {(char *) texts[i], strlen(texts[i]), 0};

		check_unpack(&b, &b, "plain");
	}
	check_unpack(&big, &big, "plain");
	free(big.data);
}

static void
test_gzip(void)
{
	Bytes		big = sample(300000);
	Bytes		small = {big.data, 700, 700};
	Bytes		none = {0};
	Bytes		in = {0};
	size_t		edge[2];

	add_gzip(&in, NULL, 0);
	check_unpack(&in, &none, "gzip of nothing");
	in.len = 0;
	add_gzip(&in, big.data, big.len);
	check_unpack(&in, &big, "gzip");
	garbage(&in, "gzip");
	in.len = 0;
	add_gzip(&in, big.data, 300);
	edge[0] = in.len;
	add_gzip(&in, NULL, 0);
	edge[1] = in.len;
	add_gzip(&in, big.data + 300, 400);
	check_unpack(&in, &small, "gzip of three members");
	check_damage(&in, &small, edge, 2, "gzip");
	garbage(&in, "gzip of three members");
	free(in.data);
	free(big.data);
}

/* A header of gzip that has everything a header can have, and the wrong ones. */
static void
test_gzip_header(void)
{
	static const char head[] = "\x1f\x8b\x08\x1e\1\2\3\4\0\3" "\3\0abc" "name\0" "comment\0";
	static const struct
	{
		size_t		at;
		char		byte;
		const char *message;
	}			wrong[] = {
		{2, 7, "gzip data is damaged: unknown compression method"},
		{3, 0x3e, "gzip data is damaged: unknown header flags set"},
		{3, 0x5e, "gzip data is damaged: unknown header flags set"},
		{4, 9, "gzip data is damaged: header crc mismatch"},
		{13, 'x', "gzip data is damaged: header crc mismatch"},
		{16, 'x', "gzip data is damaged: header crc mismatch"},
		{sizeof(head) - 1, 'x', "gzip data is damaged: header crc mismatch"},
		{sizeof(head) + 1, 7, "gzip data is damaged: invalid block type"},
	};
	Bytes		plain = {"hello", 5, 0};
	Bytes		packed = {0};
	Bytes		in = {0};
	uLong		crc = crc32(0, (const Bytef *) head, sizeof(head) - 1);
	char		hcrc[2] = {(char) crc, (char) (crc >> 8)};

	add_gzip(&packed, plain.data, plain.len);
	bytes_add(&in, head, sizeof(head) - 1);
	bytes_add(&in, hcrc, 2);
	bytes_add(&in, packed.data + 10, packed.len - 10);
	check_unpack(&in, &plain, "gzip with a long header");
	check_damage(&in, &plain, NULL, 0, "gzip with a long header");
	garbage(&in, "gzip with a long header");
	for (int i = 0; i < (int) (sizeof(wrong) / sizeof(wrong[0])); i++)
		for (size_t step = 0; step < 3; step++)
		{
			char		was = in.data[wrong[i].at];
			Bytes		out;
			LdrError	err;

			in.data[wrong[i].at] = wrong[i].byte;
			CHECK_INT(unpack(&in, step, 100, &out, &err), LDR_CORRUPT);
			CHECK_MSG(strcmp(err.message, wrong[i].message) == 0, "byte %zu: \"%s\"", wrong[i].at,
					  err.message);
			in.data[wrong[i].at] = was;
			free(out.data);
		}
	free(in.data);
	free(packed.data);
}

/* What stands at the end of a member is checked: sum and length. */
static void
test_gzip_check(void)
{
	for (size_t back = 1; back <= 8; back++)
	{
		Bytes		in = {0};
		Bytes		out;
		LdrError	err;

		add_gzip(&in, "hello", 5);
		in.data[in.len - back] ^= 1;
		bytes_add(&in, "\x1f", back % 2);	/* the next one has begun, or not */
		CHECK_INT(unpack(&in, back % 3, 100, &out, &err), LDR_CORRUPT);
		CHECK_MSG(strcmp(err.message, "gzip data is damaged: incorrect data check") == 0,
				  "byte %zu from the end: \"%s\"", back, err.message);
		free(out.data);
		free(in.data);
	}
}

static void
test_zstd(void)
{
	Bytes		big = sample(300000);
	Bytes		small = {big.data, 700, 700};
	Bytes		none = {0};
	Bytes		in = {0};
	size_t		edge[3];

	add_skippable(&in);
	check_unpack(&in, &none, "zstd of nothing");
	add_zstd(&in, big.data, big.len, 0);
	check_unpack(&in, &big, "zstd behind a skippable frame");
	garbage(&in, "zstd");
	in.len = 0;
	add_zstd(&in, big.data, 300, 0);
	edge[0] = in.len;
	add_skippable(&in);
	edge[1] = in.len;
	add_zstd(&in, NULL, 0, 0);
	edge[2] = in.len;
	add_zstd(&in, big.data + 300, 400, 0);
	check_unpack(&in, &small, "zstd of four frames");
	check_damage(&in, &small, edge, 3, "zstd");
	free(in.data);
	free(big.data);
}

/* The largest window that is taken, and one that is not. */
static void
test_zstd_window(void)
{
	for (int log = 27; log <= 28; log++)
	{
		Bytes		in = {0};
		Bytes		out;
		LdrError	err;

		add_zstd(&in, "hello", 5, log);
		CHECK_INT(unpack(&in, 0, 100, &out, &err), log == 27 ? LDR_OK : LDR_UNSUPPORTED);
		free(out.data);
		free(in.data);
	}
}

static void
write_file(const char *path, const char *data, int flags)
{
	int			fd = open(path, O_WRONLY | O_CREAT | flags, 0600);

	CHECK(fd >= 0);
	CHECK(write(fd, data, strlen(data)) == (ssize_t) strlen(data));
	close(fd);
}

/* Open path as a source, read it in parts, with a change in the middle if there is one. */
static LdrStatus
read_file(const char *path, const LdrFileStamp *expect, const char *append)
{
	LdrError	err = {0};
	LdrSource  *s = ldr_file_source(open(path, O_RDONLY), expect, &err);
	char		buf[4];
	ssize_t		got;

	if (s == NULL)
		return err.status;
	CHECK_INT(s->read(s, buf, 4, &err), 4);
	CHECK_INT(s->consumed(s), 4);
	if (append != NULL)
		write_file(path, append, O_APPEND);
	while ((got = s->read(s, buf, 4, &err)) > 0)
		;
	s->close(s);
	return got < 0 ? err.status : LDR_OK;
}

static void
test_file(void)
{
	const char *dir = getenv("TEST_TMPDIR");
	char		path[4096];
	LdrFileStamp stamp;
	LdrFileStamp other;
	LdrError	err = {0};
	int			fd;

	snprintf(path, sizeof(path), "%s/test_source.data", dir != NULL ? dir : ".");
	write_file(path, "0123456789", O_TRUNC);
	fd = open(path, O_RDONLY);
	CHECK_INT(ldr_file_stamp(fd, &stamp, &err), LDR_OK);
	CHECK_INT(stamp.size, 10);
	close(fd);

	CHECK_INT(read_file(path, NULL, NULL), LDR_OK);
	CHECK_INT(read_file(path, &stamp, NULL), LDR_OK);
	other = stamp;
	other.size++;
	CHECK_INT(read_file(path, &other, NULL), LDR_FILE_CHANGED);
	other = stamp;
	other.inode++;
	CHECK_INT(read_file(path, &other, NULL), LDR_FILE_CHANGED);
	other = stamp;
	other.mtime_ns--;
	CHECK_INT(read_file(path, &other, NULL), LDR_FILE_CHANGED);
	/* changed while it is read */
	CHECK_INT(read_file(path, &stamp, "more"), LDR_FILE_CHANGED);
	CHECK_INT(read_file(path, NULL, "more"), LDR_FILE_CHANGED);
	unlink(path);

	/* no regular file, and no file */
	fd = open("/", O_RDONLY);
	CHECK_INT(ldr_file_stamp(fd, &stamp, &err), LDR_UNSUPPORTED);
	CHECK(ldr_file_source(fd, NULL, &err) == NULL && err.status == LDR_UNSUPPORTED);
	CHECK(fcntl(fd, F_GETFD) == -1);	/* it was closed */
	memset(&err, 0, sizeof(err));
	CHECK_INT(ldr_file_stamp(-1, &stamp, &err), LDR_IO);
	CHECK(err.sys_errno != 0);
}

/* A source that fails: the error goes through the codec and the reader as it is. */
static ssize_t
failing_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	StepSource *s = (StepSource *) self;
	ssize_t		got = step_read(self, buf, n, err);

	if (got == 0 || s->pos > s->len)
	{
		err->sys_errno = 5;
		ldr_fail(err, LDR_IO, "broken");
		return -1;
	}
	return got;
}

static void
test_failing(void)
{
	LdrColumnName column = {"a", false};
	LdrReaderOptions options = {&column, 1, 0, false};
	Bytes		in = {0};

	add_gzip(&in, "a\n1\n2\n", 6);
	for (size_t len = 0; len <= in.len; len++)
	{
		LdrError	err = {0};
		LdrSource  *s = step_source(in.data, len, 3);
		LdrReader  *r = NULL;
		LdrRow		row;
		LdrStatus	status = LDR_OK;

		s->read = failing_read;
		s = ldr_codec_source(s, &err);
		if (s != NULL)
			r = ldr_reader_open(LDR_CSV, s, &options, &err);
		while (r != NULL && status == LDR_OK)
			status = ldr_reader_next(r, &row, &err);
		CHECK_MSG(err.status == LDR_IO && err.sys_errno == 5, "%zu: status %d", len, err.status);
		ldr_reader_close(r);
	}
	free(in.data);
}

static void
test_memory(void)
{
	LdrError	err = {0};
	LdrSource  *s = ldr_memory_source("hello", 5);
	char		buf[8];

	CHECK_INT(s->read(s, buf, 3, &err), 3);
	CHECK_INT(s->consumed(s), 3);
	CHECK_INT(s->read(s, buf, 8, &err), 2);
	CHECK(memcmp(buf, "lo", 2) == 0);
	CHECK_INT(s->read(s, buf, 8, &err), 0);
	s->close(s);
	s = ldr_memory_source(NULL, 0);
	CHECK_INT(s->read(s, buf, 8, &err), 0);
	s->close(s);
}

int
main(void)
{
	test_memory();
	test_plain();
	test_gzip();
	test_gzip_header();
	test_gzip_check();
	test_zstd();
	test_zstd_window();
	test_file();
	test_failing();
	return unit_report("test_source");
}
