/*
 * test/unit/test_reference.c: addresses of files, as a reference job and a staging area give them.
 */
#include <stdlib.h>

#include "source/reference.h"
#include "unit.h"

typedef struct PathCase
{
	const char *url;
	LdrStatus	status;
	const char *path;			/* or a part of the message */
} PathCase;

static const PathCase paths[] = {
	{"/a/b.csv", LDR_OK, "/a/b.csv"},
	{"/a/%20b.csv", LDR_OK, "/a/%20b.csv"},
	{"file:///a/b.csv", LDR_OK, "/a/b.csv"},
	{"file:///a/%20%C3%a4.csv", LDR_OK, "/a/ \xc3\xa4.csv"},
	{"file://localhost/a", LDR_OK, "/a"},
	{"file://localhost", LDR_BAD_NAME, "another machine"},
	{"file://other/a", LDR_BAD_NAME, "another machine"},
	{"file://a", LDR_BAD_NAME, "another machine"},
	{"file:///a%00b", LDR_BAD_NAME, "a %-escape"},
	{"file:///a%", LDR_BAD_NAME, "a %-escape"},
	{"file:///a%4", LDR_BAD_NAME, "a %-escape"},
	{"file:///a%g0", LDR_BAD_NAME, "a %-escape"},
	{"", LDR_BAD_NAME, "relative"},
	{"a/b.csv", LDR_BAD_NAME, "relative"},
	{"../b.csv", LDR_BAD_NAME, "relative"},
	{"://a", LDR_BAD_NAME, "relative"},
	{"s3://bucket/a", LDR_UNSUPPORTED, "scheme \"s3\""},
	{"FILE:///a", LDR_UNSUPPORTED, "scheme \"FILE\""},
};

static void
check_paths(void)
{
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
	{
		const PathCase *c = &paths[i];
		LdrError	err = {0};
		char	   *path;

		CHECK_INT(ldr_reference_path(c->url, &path, &err), c->status);
		if (c->status == LDR_OK)
			CHECK_STR(path, c->path);
		else
			CHECK_MSG(path == NULL && strstr(err.message, c->path) != NULL, "\"%s\": %s", c->url,
					  err.message);
		free(path);
	}
}

static void
check_text(const char *text, size_t len, LdrStatus status, const char *url)
{
	LdrError	err = {0};
	char	   *got;

	CHECK_INT(ldr_reference_parse(text, len, &got, &err), status);
	if (status == LDR_OK)
		CHECK_STR(got, url);
	else
		CHECK_MSG(got == NULL && err.message[0] != '\0', "\"%.*s\": %s", (int) len, text,
				  err.message);
	free(got);
}

static void
check_format(const char *path, const char *format)
{
	char		buf[8];

	ldr_reference_format(path, buf, sizeof(buf));
	CHECK_STR(buf, format);
}

int
main(void)
{
	check_paths();
	check_text("file:///a", 9, LDR_OK, "file:///a");
	check_text("file:///a\r\n \t", 13, LDR_OK, "file:///a");
	check_text("/a\n/b", 5, LDR_UNSUPPORTED, NULL);
	check_text("", 0, LDR_BAD_NAME, NULL);
	check_text(" \n", 2, LDR_BAD_NAME, NULL);
	check_text("/a\0b", 4, LDR_BAD_NAME, NULL);
	check_format("/a/b.1.jsonl.gz", "jsonl");
	check_format("/a/b.csv.zst", "csv");
	check_format("/a.csv/b", "");
	check_format("b.insert_values", "");	/* longer than the buffer */
	check_format("gz", "");
	check_format(".gz", "gz");
	return unit_report("test_reference");
}
