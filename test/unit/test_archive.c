/*
 * test/unit/test_archive.c: what comes out of an archive, and what does not.
 *
 * Archives are made block by block, so that they can say what no program would write.
 */
#include <stdlib.h>

#include "rows.h"
#include "source/archive.h"
#include "unit.h"

#define BLOCK 512

typedef struct Tar
{
	char		data[64 * BLOCK];
	size_t		len;
} Tar;

/* A header of one block, in the ustar format. */
static void
tar_header(Tar *t, const char *name, char type, size_t size, const char *link)
{
	char	   *h = t->data + t->len;
	unsigned	sum = 0;

	memset(h, 0, BLOCK);
	snprintf(h, 100, "%s", name);
	snprintf(h + 100, 8, "%07o", 0644);
	snprintf(h + 108, 8, "%07o", 0);
	snprintf(h + 116, 8, "%07o", 0);
	snprintf(h + 124, 12, "%011o", (unsigned) size);
	snprintf(h + 136, 12, "%011o", 0);
	memset(h + 148, ' ', 8);
	h[156] = type;
	snprintf(h + 157, 100, "%s", link);
	memcpy(h + 257, "ustar\0" "00", 8);
	for (int i = 0; i < BLOCK; i++)
		sum += (unsigned char) h[i];
	snprintf(h + 148, 8, "%06o", sum);
	t->len += BLOCK;
}

static void
tar_file(Tar *t, const char *name, const char *content)
{
	tar_header(t, name, '0', strlen(content), "");
	memset(t->data + t->len, 0, BLOCK);
	memcpy(t->data + t->len, content, strlen(content));
	if (content[0])
		t->len += BLOCK;
}

static void
tar_end(Tar *t, int blocks)
{
	memset(t->data + t->len, 0, (size_t) blocks * BLOCK);
	t->len += (size_t) blocks * BLOCK;
}

/* Read all of it, in steps; lists what came out as "name:bytes ". Returns the last status. */
static LdrStatus
tar_read(const char *data, size_t len, size_t step, char *list, LdrError *err)
{
	LdrArchive *a;
	LdrMember	member;
	LdrStatus	status;

	list[0] = '\0';
	memset(err, 0, sizeof(*err));
	a = ldr_archive_open(step_source(data, len, step), err);
	if (a == NULL)
		return err->status;
	while ((status = ldr_archive_next(a, &member, err)) == LDR_OK)
	{
		const char *bytes;
		ssize_t		got = 0;

		if (member.kind == LDR_MEMBER_SKIPPED)
			continue;
		sprintf(list + strlen(list), "%s:", member.name);
		while ((got = ldr_archive_read(a, &bytes, err)) > 0)
			sprintf(list + strlen(list), "%.*s", (int) got, bytes);
		if (got < 0)
		{
			status = err->status;
			break;
		}
		strcat(list, " ");
	}
	ldr_archive_close(a);
	return status;
}

/* One archive with one odd member, after a good one; what is to be said of it. */
static void
check_member(const char *name, char type, const char *link, LdrStatus want, const char *message)
{
	Tar			t = {.len = 0};
	char		list[1000];
	LdrError	err;
	LdrStatus	status;

	tar_file(&t, "1/schema.json", "{}");
	tar_header(&t, name, type, 0, link);
	tar_end(&t, 2);
	status = tar_read(t.data, t.len, t.len, list, &err);
	CHECK_MSG(status == want, "\"%s\" of type %c: status %d: %s", name, type, status, err.message);
	CHECK_MSG(strstr(err.message, message) != NULL, "\"%s\" of type %c: %s", name, type,
			  err.message);
}

static void
check_members(void)
{
	check_member("1/new_jobs/t.a.0.csv", '0', "", LDR_END, "");
	check_member("1/new_jobs/t.a.0.csv", '2', "/etc/passwd", LDR_BAD_ARCHIVE, "a symbolic link");
	check_member("1/new_jobs/t.a.0.csv", '1', "1/schema.json", LDR_BAD_ARCHIVE, "a hard link");
	check_member("1/new_jobs/t.a.0.csv", '1', "\xff", LDR_BAD_ARCHIVE, "a hard link");
	check_member("1/new_jobs/t.a.0.csv", '3', "", LDR_BAD_ARCHIVE, "neither a file");
	check_member("1/new_jobs/t.a.0.csv", '4', "", LDR_BAD_ARCHIVE, "neither a file");
	check_member("1/new_jobs/t.a.0.csv", '6', "", LDR_BAD_ARCHIVE, "neither a file");
	check_member("../1/new_jobs/t.a.0.csv", '0', "", LDR_BAD_NAME, "it leads out of the archive");
	check_member("/1/new_jobs/t.a.0.csv", '0', "", LDR_BAD_NAME, "it is an absolute path");
	check_member("2/schema.json", '0', "", LDR_BAD_ARCHIVE, "directory: \"1\" and \"2\"");
	check_member("11/schema.json", '0', "", LDR_BAD_ARCHIVE, "more than one directory");
	check_member("2/", '5', "", LDR_BAD_ARCHIVE, "more than one directory");
	check_member("1/started_jobs/t.a.0.csv", '0', "", LDR_BAD_ARCHIVE, "has begun");
	check_member("1/evil.sh", '0', "", LDR_BAD_NAME, "no package has such a file");
	check_member("1/new_jobs/\xc3\xa4.a.0.csv", '0', "", LDR_END, "");
	check_member("1/new_jobs/\xff.a.0.csv", '0', "", LDR_END, "");	/* told at registration */
	check_member("", '0', "", LDR_CORRUPT, "without a name");
}

/* A member that is too large for what it is: told by its header, before a byte of it is unpacked. */
static void
check_size(const char *name, char type, size_t size, LdrStatus want)
{
	Tar			t = {.len = 0};
	char		list[1000];
	LdrError	err;

	tar_header(&t, name, type, size, "");
	CHECK_INT(tar_read(t.data, t.len, t.len, list, &err), want);
	CHECK_MSG((strstr(err.message, "too large for what it is") != NULL) == (want == LDR_BAD_ARCHIVE),
			  "\"%s\" of %zu bytes: %s", name, size, err.message);
}

static void
check_sizes(void)
{
	check_size("1/schema.json", '0', LDR_MAX_DOCUMENT, LDR_CORRUPT);	/* it has no bytes at all */
	check_size("1/schema.json", '0', LDR_MAX_DOCUMENT + 1, LDR_BAD_ARCHIVE);
	check_size("1/load_package_state.json", '0', LDR_MAX_DOCUMENT + 1, LDR_BAD_ARCHIVE);
	check_size("1/schema_updates.json", '0', LDR_MAX_DOCUMENT, LDR_BAD_ARCHIVE);
	check_size("1/new_jobs/t.a.0.csv", '0', 0xffffffff, LDR_CORRUPT);
}

static const char *const whole = "1/schema.json:{} 1/load_package_state.json:{\"a\": 1} "
	"1/new_jobs/t.a.0.csv:id ";

static void
make_whole(Tar *t, int end)
{
	t->len = 0;
	tar_header(t, "./1/", '5', 0, "");
	tar_file(t, "./1/schema.json", "{}");
	tar_file(t, "./1/load_package_state.json", "{\"a\": 1}");
	tar_file(t, "./1/schema_updates.json", "none");
	tar_header(t, "./1/new_jobs/", '5', 0, "");
	tar_file(t, "./1/new_jobs/t.a.0.csv", "id");
	tar_end(t, end);
}

/* In any steps it is the same; cut at any byte it is never whole. */
static void
check_cuts(void)
{
	Tar			t;
	char		list[1000];
	LdrError	err;

	make_whole(&t, 20);
	for (size_t step = 1; step <= t.len; step = step * 3 + 1)
	{
		CHECK_INT(tar_read(t.data, t.len, step, list, &err), LDR_END);
		CHECK_STR(list, whole);
	}
	make_whole(&t, 2);
	for (size_t len = 0; len < t.len; len++)
	{
		LdrStatus	status = tar_read(t.data, len, 4096, list, &err);

		CHECK_MSG(status == LDR_CORRUPT, "cut at %d: status %d", (int) len, status);
		CHECK_MSG(err.message[0] != '\0', "cut at %d: no message", (int) len);
	}
}

static void
check_end(void)
{
	Tar			t;
	char		list[1000];
	LdrError	err;
	char	   *large;

	make_whole(&t, 3);
	t.data[t.len - 1] = 'x';
	CHECK_INT(tar_read(t.data, t.len, 4096, list, &err), LDR_CORRUPT);
	CHECK_STR(err.message, "archive is followed by other bytes");
	/* another archive behind it */
	make_whole(&t, 2);
	tar_file(&t, "1/new_jobs/u.a.0.csv", "id");
	tar_end(&t, 2);
	CHECK_INT(tar_read(t.data, t.len, 4096, list, &err), LDR_CORRUPT);
	CHECK_STR(err.message, "archive is followed by other bytes");
	/* the last file ends with zeros, and the archive with it */
	make_whole(&t, 0);
	memset(t.data + t.len, 0, 4 * BLOCK);
	tar_header(&t, "1/new_jobs/v.a.0.csv", '0', 2 * BLOCK, "");
	CHECK_INT(tar_read(t.data, t.len + 2 * BLOCK, 4096, list, &err), LDR_CORRUPT);
	CHECK_STR(err.message, "archive ends too early");
	/* zeros without an end */
	make_whole(&t, 2);
	large = calloc(1, 4 << 20);
	memcpy(large, t.data, t.len);
	CHECK_INT(tar_read(large, 4 << 20, 65536, list, &err), LDR_CORRUPT);
	free(large);
	/* nothing at all but an end, and what is no archive */
	t.len = 0;
	tar_end(&t, 2);
	CHECK_INT(tar_read(t.data, t.len, 4096, list, &err), LDR_END);
	CHECK_INT(tar_read("PK\3\4", 4, 4096, list, &err), LDR_CORRUPT);
	CHECK_INT(tar_read("", 0, 4096, list, &err), LDR_CORRUPT);
}

/* Add a record of a pax header: its length, which counts itself, and what it says. */
static void
pax_record(char *text, const char *record)
{
	size_t		len = strlen(record) + 4;

	sprintf(text + strlen(text), "%d %s\n", (int) len, record);
	CHECK(len >= 10 && len < 100);
}

/* A pax header of one or two records, for the file that follows. */
static void
tar_pax(Tar *t, const char *record, const char *another)
{
	char		text[BLOCK] = "";

	pax_record(text, record);
	if (another)
		pax_record(text, another);
	tar_header(t, "pax", 'x', strlen(text), "");
	memset(t->data + t->len, 0, BLOCK);
	memcpy(t->data + t->len, text, strlen(text));
	t->len += BLOCK;
}

static void
check_pax(void)
{
	Tar			t = {.len = 0};
	char		list[1000];
	LdrError	err;

	/* names beyond ASCII come as they are, also decomposed ones, whatever the locale */
	tar_pax(&t, "path=1/new_jobs/a\xcc\x88.a.0.csv", NULL);
	tar_file(&t, "1/x", "id");
	tar_end(&t, 2);
	CHECK_INT(tar_read(t.data, t.len, 4096, list, &err), LDR_END);
	CHECK_STR(list, "1/new_jobs/a\xcc\x88.a.0.csv:id ");
	t.len = 0;
	tar_pax(&t, "path=../../evil.json", NULL);
	tar_file(&t, "1/schema.json", "id");
	tar_end(&t, 2);
	CHECK_INT(tar_read(t.data, t.len, 4096, list, &err), LDR_BAD_NAME);
	/* a few bytes that say that they are a terabyte of holes */
	t.len = 0;
	tar_pax(&t, "GNU.sparse.size=1099511627777", "GNU.sparse.map=1099511627776,1");
	tar_file(&t, "1/schema.json", "x");
	tar_end(&t, 2);
	CHECK_INT(tar_read(t.data, t.len, 4096, list, &err), LDR_BAD_ARCHIVE);
	CHECK_STR(err.message, "\"1/schema.json\" in the archive is a sparse file");
	/* the same without saying how large it is */
	t.len = 0;
	tar_pax(&t, "GNU.sparse.map=1099511627776,1", NULL);
	tar_file(&t, "1/schema.json", "x");
	tar_end(&t, 2);
	CHECK_INT(tar_read(t.data, t.len, 4096, list, &err), LDR_CORRUPT);
}

/* Headers upon headers do no harm. */
static void
check_headers(void)
{
	Tar			t = {.len = 0};
	char		list[1000];
	LdrError	err;
	size_t		len = 100000 * BLOCK * 2;
	char	   *data = malloc(len);

	tar_pax(&t, "comment=1234567", NULL);
	for (size_t at = 0; at < len; at += t.len)
		memcpy(data + at, t.data, t.len);
	CHECK_INT(tar_read(data, len, 65536, list, &err), LDR_CORRUPT);
	/* the same of long names */
	t.len = 0;
	tar_header(&t, "long", 'L', 5, "");
	memset(t.data + t.len, 0, BLOCK);
	strcpy(t.data + t.len, "1/x");
	t.len += BLOCK;
	for (size_t at = 0; at < len; at += t.len)
		memcpy(data + at, t.data, t.len);
	CHECK_INT(tar_read(data, len, 65536, list, &err), LDR_CORRUPT);
	free(data);
}

int
main(void)
{
	check_members();
	check_sizes();
	check_cuts();
	check_end();
	check_pax();
	check_headers();
	return unit_report("test_archive");
}
