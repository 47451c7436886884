/*
 * test/unit/test_spool_name.c: names of uploads, of files in them, and of what is in an archive.
 */
#include "source/spool_name.h"
#include "unit.h"

/* Two and four times 16 characters. */
#define C32 "0123456789abcdef0123456789abcdef"
#define C64 C32 C32

static const struct
{
	const char *id;
	bool		good;
}			ids[] = {
	{"a", true}, {"A.b_c-9", true}, {"-", true}, {"_", true}, {C64, true}, {"x.tar", true},
	{"1..2", true},
	{"", false}, {".", false}, {"..", false}, {".a", false}, {"a/b", false}, {"/", false},
	{"a b", false}, {"a\nb", false}, {"\xc3\xa4", false}, {"a\\b", false}, {"a:b", false},
	{C64 "x", false}, {"~", false}, {"a%2fb", false}
};

static const struct
{
	const char *name;
	int			kind;			/* -1: refused */
}			files[] = {
	{"1700000000.1/schema.json", LDR_SPOOL_DOCUMENT},
	{"1700000000.1/load_package_state.json", LDR_SPOOL_DOCUMENT},
	{"1700000000.1/new_jobs/items.a.0.csv", LDR_SPOOL_JOB},
	{"1/new_jobs/items.a.0.insert_values.gz", LDR_SPOOL_JOB},
	{"1/new_jobs/Zażółć.a.0.jsonl", LDR_SPOOL_JOB},
	{C64 "/schema.json", LDR_SPOOL_DOCUMENT},
	{"1.tar", LDR_SPOOL_ARCHIVE}, {"1.2.tar.gz", LDR_SPOOL_ARCHIVE}, {"x.tgz", LDR_SPOOL_ARCHIVE},
	{"x.tar.zst", LDR_SPOOL_ARCHIVE},
	{"", -1}, {"/", -1}, {"//", -1}, {".", -1}, {"..", -1}, {"../schema.json", -1},
	{"./schema.json", -1},
	{"/schema.json", -1}, {"schema.json", -1}, {"1/", -1}, {"1/.", -1}, {"1/..", -1},
	{"1//schema.json", -1},
	{"1/schema.json/", -1}, {"1/schema.json.", -1}, {"1/Schema.json", -1},
	{"1/schema_updates.json", -1},
	{"1/new_jobs", -1}, {"1/new_jobs/", -1}, {"1/new_jobs/..", -1},
	{"1/new_jobs/../schema.json", -1},
	{"1/new_jobs/a/items.a.0.csv", -1}, {"1/new_jobs/items.a.csv", -1},
	{"1/new_jobs/.items.a.0.csv", -1},
	{"1/new_jobs/items.a.0.csv\n", -1}, {"1/new_jobs/items\\.a.0.csv", -1},
	{"1/new_jobs/it\x01ms.a.0.csv", -1},
	{"1/new_jobs/it\x7fms.a.0.csv", -1}, {"1/started_jobs/items.a.0.csv", -1},
	{"1/2/schema.json", -1},
	{".1/schema.json", -1}, {".unfinished/schema.json", -1}, {C64 "x/schema.json", -1},
	{"1 /schema.json", -1},
	{"1.tar/schema.json", -1}, {".tar", -1}, {".tar.gz", -1}, {"..tar", -1}, {"x.tar.bz2", -1},
	{"x.zip", -1},
	{"x.TAR", -1}, {"x y.tar", -1}, {C64 ".tar", -1}
};

/* What is skipped counts as no kind of file: its name is NULL where it is refused. */
static const struct
{
	const char *text;
	bool		directory;
	const char *name;
	int			kind;
}			members[] = {
	{".", true, "", LDR_MEMBER_SKIPPED}, {"./", true, "", LDR_MEMBER_SKIPPED},
	{"1/", true, "1", LDR_MEMBER_SKIPPED}, {"./1/", true, "1", LDR_MEMBER_SKIPPED},
	{"1", true, "1", LDR_MEMBER_SKIPPED}, {"1/new_jobs/", true, "1/new_jobs", LDR_MEMBER_SKIPPED},
	{"1/completed_jobs", true, "1/completed_jobs", LDR_MEMBER_SKIPPED},
	{"1/schema.json", false, "1/schema.json", LDR_MEMBER_FILE},
	{"./1/schema.json", false, "1/schema.json", LDR_MEMBER_FILE},
	{"1/load_package_state.json", false, "1/load_package_state.json", LDR_MEMBER_FILE},
	{"1/new_jobs/items.a.0.csv", false, "1/new_jobs/items.a.0.csv", LDR_MEMBER_FILE},
	{"1/schema_updates.json", false, "1/schema_updates.json", LDR_MEMBER_SKIPPED},
	{"1/.restore", true, "1/.restore", LDR_MEMBER_SKIPPED},
	{"1/.restore/schemas", true, "1/.restore/schemas", LDR_MEMBER_SKIPPED},
	{"1/.restore/schemas/s.schema.json", false, "1/.restore/schemas/s.schema.json", LDR_MEMBER_SKIPPED},
	{"1/.exceptions", true, "1/.exceptions", LDR_MEMBER_SKIPPED},
	{"1/.pending_transitions", true, "1/.pending_transitions", LDR_MEMBER_SKIPPED},
	{"1/.restore/../x", false, NULL, 0},
	{"1/../x", true, NULL, 0},
	{"1/..", true, NULL, 0},
	{"1/applied_schema_updates.json", false, "1/applied_schema_updates.json", LDR_MEMBER_SKIPPED},
	{"", false, NULL, 0}, {".", false, NULL, 0}, {"..", false, NULL, 0}, {"..", true, NULL, 0},
	{"../", true, NULL, 0}, {"../1/schema.json", false, NULL, 0},
	{"./../1/schema.json", false, NULL, 0},
	{"1/../../etc/passwd", false, NULL, 0}, {"1/new_jobs/../../../x", false, NULL, 0},
	{"/1/schema.json", false, NULL, 0}, {"/etc", true, NULL, 0}, {"/", true, NULL, 0},
	{".//1/schema.json", false, NULL, 0}, {"././1/schema.json", false, NULL, 0},
	{"1//schema.json", false, NULL, 0}, {"1/./schema.json", false, NULL, 0},
	{"1/schema.json/", false, NULL, 0},
	{"1//", true, NULL, 0}, {"1/other", true, NULL, 0}, {"1/new_jobs/deep/", true, NULL, 0},
	{"schema.json", false, NULL, 0}, {"1/README", false, NULL, 0}, {"1/.DS_Store", false, NULL, 0},
	{"1/._schema.json", false, NULL, 0}, {"1", false, NULL, 0},
	{"C:\\1\\schema.json", false, NULL, 0},
	{"1\\schema.json", false, NULL, 0}, {"1/new_jobs/items.a.0.csv\r", false, NULL, 0},
	{"1/started_jobs/items.a.0.csv", false, NULL, 0},
	{"1/completed_jobs/items.a.0.csv", false, NULL, 0},
	{"1/package_completed.json", false, NULL, 0}, {"1/new_jobs/items", false, NULL, 0}
};

static void
check_members(void)
{
	for (int i = 0; i < (int) (sizeof(members) / sizeof(members[0])); i++)
	{
		char		name[LDR_MAX_SPOOL_NAME + 1] = "?";
		LdrMemberKind kind;
		LdrError	err = {0};
		LdrStatus	status = ldr_member_name_parse(members[i].text, members[i].directory, name, &kind,
												   &err);

		CHECK_MSG((status == LDR_OK) == (members[i].name != NULL), "member %d: \"%s\": status %d", i,
				  members[i].text, status);
		CHECK_MSG((err.message[0] != '\0') == (status != LDR_OK), "member %d: message", i);
		if (status != LDR_OK || members[i].name == NULL)
			continue;
		CHECK_STR(name, members[i].name);
		CHECK_INT(kind, members[i].kind);
	}
}

/* The longest name that fits, and one that does not. */
static void
check_length(void)
{
	char		text[2 * LDR_MAX_SPOOL_NAME];
	char		name[LDR_MAX_SPOOL_NAME + 1];
	LdrMemberKind kind;
	LdrError	err = {0};

	memset(text, 'x', sizeof(text));
	memcpy(text, C64 "/new_jobs/", 74);
	strcpy(text + 74 + 255 - 8, ".a.0.csv");
	CHECK_INT(ldr_member_name_parse(text, false, name, &kind, &err), LDR_OK);
	CHECK_STR(name, text);
	memset(text + 74, 'x', sizeof(text) - 74);
	text[sizeof(text) - 1] = '\0';
	CHECK_INT(ldr_member_name_parse(text, false, name, &kind, &err), LDR_BAD_NAME);
}

static void
check_endings(void)
{
	CHECK_INT(ldr_archive_ending("/a/1.2.tar"), 4);
	CHECK_INT(ldr_archive_ending("/a/1.2.tar.gz"), 7);
	CHECK_INT(ldr_archive_ending("1.2.tgz"), 4);
	CHECK_INT(ldr_archive_ending("1.2.tar.zst"), 8);
	CHECK_INT(ldr_archive_ending("1.2.tar.xz"), 0);
	CHECK_INT(ldr_archive_ending("tar"), 0);
	CHECK_INT(ldr_archive_ending(".tar"), 0);
	CHECK_INT(ldr_archive_ending("/a/.tar"), 0);
	CHECK_INT(ldr_archive_ending(""), 0);
}

int
main(void)
{
	for (int i = 0; i < (int) (sizeof(ids) / sizeof(ids[0])); i++)
	{
		LdrError	err = {0};
		LdrStatus	status = ldr_upload_id_check(ids[i].id, &err);

		CHECK_MSG(status == (ids[i].good ? LDR_OK : LDR_BAD_NAME), "id %d: status %d", i, status);
		CHECK_MSG((err.message[0] != '\0') != ids[i].good, "id %d: message", i);
	}
	for (int i = 0; i < (int) (sizeof(files) / sizeof(files[0])); i++)
	{
		LdrError	err = {0};
		LdrSpoolKind kind = LDR_SPOOL_DOCUMENT;
		LdrStatus	status = ldr_spool_name_check(files[i].name, &kind, &err);

		CHECK_MSG(status == (files[i].kind >= 0 ? LDR_OK : LDR_BAD_NAME), "file %d: \"%s\": status %d",
				  i, files[i].name, status);
		CHECK_MSG((err.message[0] != '\0') == (files[i].kind < 0), "file %d: message", i);
		if (files[i].kind >= 0)
			CHECK_INT(kind, files[i].kind);
	}
	check_members();
	check_length();
	check_endings();
	return unit_report("test_spool_name");
}
