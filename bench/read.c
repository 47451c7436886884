/*
 * bench/read.c: how fast are files read? MB of plain bytes a second of processor time, without a
 * server: file -> codec -> reader, as a load does it.
 *
 *	make -C test/unit bench
 *	test/unit/build/plain/bench_read [-n times] [-u] file...
 *
 * The format is told by the file's name, the columns are those of its header or of its first row.
 * -u: only unpack. The best of so many times (3) counts.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "reader/reader.h"
#include "reader/window.h"

#define BENCH_HEAD	65536

typedef struct Columns
{
	LdrColumnName names[LDR_MAX_COLUMNS];
	int			n;
} Columns;

static double
bench_cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
		(double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void
bench_die(const char *path, const LdrError *err)
{
	fprintf(stderr, "%s: %s, line %lld\n", path, err->message, (long long) err->line);
	exit(1);
}

static LdrSource *
bench_source(const char *path)
{
	LdrError	err = {0};
	int			fd = open(path, O_RDONLY);
	LdrSource  *source;

	if (fd < 0)
	{
		perror(path);
		exit(1);
	}
	source = ldr_file_source(fd, NULL, &err);
	if (source != NULL)
		source = ldr_codec_source(source, &err);
	if (source == NULL)
		bench_die(path, &err);
	return source;
}

/* Names of columns: what stands in double quotes, in json before a colon, in the first line. */
static void
bench_columns(const char *path, LdrFormat format, Columns *columns)
{
	LdrSource  *source = bench_source(path);
	LdrError	err = {0};
	char	   *head = calloc(1, BENCH_HEAD + 1);
	char	   *end;
	ssize_t		got;
	size_t		len = 0;

	while (len < BENCH_HEAD && (got = source->read(source, head + len, BENCH_HEAD - len, &err)) > 0)
		len += (size_t) got;
	source->close(source);
	if ((end = strchr(head, '\n')) != NULL)
		*end = '\0';
	columns->n = 0;
	for (char *p = head; (p = strchr(p, '"')) != NULL && (end = strchr(p + 1, '"')) != NULL;)
	{
		bool		is_name = (format != LDR_JSONL || end[1] == ':');

		*end = '\0';
		if (is_name && columns->n < LDR_MAX_COLUMNS)
			columns->names[columns->n++] = (LdrColumnName) {strdup(p + 1), false};
		p = end + 1;
	}
	free(head);
}

static LdrFormat
bench_format(const char *path)
{
	if (strstr(path, ".csv") != NULL)
		return LDR_CSV;
	return strstr(path, ".jsonl") != NULL ? LDR_JSONL : LDR_INSERT_VALUES;
}

typedef struct Count
{
	uint64_t	bytes;			/* of raw rows, or unpacked */
	uint64_t	rows;
	uint64_t	fields;			/* bytes of fields: somebody has to look at them */
} Count;

static void
bench_rows(const char *path, LdrFormat format, const Columns *columns, Count *count)
{
	LdrReaderOptions options = {columns->names, columns->n, 0, false};
	LdrError	err = {0};
	LdrReader  *r = ldr_reader_open(format, bench_source(path), &options, &err);
	LdrRow		row;
	LdrStatus	status;

	if (r == NULL)
		bench_die(path, &err);
	while ((status = ldr_reader_next(r, &row, &err)) == LDR_OK)
	{
		count->rows++;
		count->bytes += r->raw_len + 1;
		for (int i = 0; i < r->ncolumns; i++)
			count->fields += row.fields[i].len;
	}
	if (status != LDR_END)
		bench_die(path, &err);
	ldr_reader_close(r);
}

static void
bench_unpack(const char *path, Count *count)
{
	LdrSource  *source = bench_source(path);
	LdrError	err = {0};
	char	   *buf = malloc(ldr_reader_limits.window);
	ssize_t		got;

	while ((got = source->read(source, buf, ldr_reader_limits.window, &err)) > 0)
		count->bytes += (uint64_t) got;
	if (got < 0)
		bench_die(path, &err);
	source->close(source);
	free(buf);
}

int
main(int argc, char **argv)
{
	static Columns columns;
	int			times = 3;
	char		mode = 'r';
	int			c;

	while ((c = getopt(argc, argv, "n:u")) != -1)
	{
		if (c == 'n')
			times = atoi(optarg);
		else if (c == 'u')
			mode = 'u';
		else
			return 2;
	}
	for (int i = optind; i < argc; i++)
	{
		LdrFormat	format = bench_format(argv[i]);
		double		best = 1e9;
		Count		count = {0};

		if (mode != 'u')
			bench_columns(argv[i], format, &columns);
		for (int t = 0; t < times; t++)
		{
			double		begin = bench_cpu();

			count = (Count) {0};
			if (mode == 'u')
				bench_unpack(argv[i], &count);
			else
				bench_rows(argv[i], format, &columns, &count);
			if (bench_cpu() - begin < best)
				best = bench_cpu() - begin;
		}
		printf("%-60s %6.0f MB/s  %7.3f s  %llu rows\n", argv[i], (double) count.bytes / best / 1e6,
			   best, (unsigned long long) count.rows);
	}
	return 0;
}
