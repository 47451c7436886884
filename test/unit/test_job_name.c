/*
 * test/unit/test_job_name.c: the grammar of job file names.
 */
#include "source/job_name.h"
#include "unit.h"

typedef struct NameCase
{
	const char *name;
	const char *table;			/* NULL: refused */
	const char *file_id;
	int			retry;
	const char *format;
	const char *job_id;
} NameCase;

static const NameCase cases[] = {
	{"t.id.0.csv", "t", "id", 0, "csv", "t.id.csv"},
	{"t.id.12.insert_values.gz", "t", "id", 12, "insert_values", "t.id.insert_values.gz"},
	{"t.id.0.jsonl.zst", "t", "id", 0, "jsonl", "t.id.jsonl.zst"},
	{"_dlt_pipeline_state.057c5da41f.0.insert_values.gz", "_dlt_pipeline_state", "057c5da41f", 0,
	"insert_values", "_dlt_pipeline_state.057c5da41f.insert_values.gz"},
	{"Zażółć tab.id x.2147483647.model", "Zażółć tab", "id x", 2147483647, "model",
	"Zażółć tab.id x.model"},
	{"t.0.0.0", "t", "0", 0, "0", "t.0.0"},
	{"", NULL, NULL, 0, NULL, NULL},
	{"t", NULL, NULL, 0, NULL, NULL},
	{"...", NULL, NULL, 0, NULL, NULL},
	{"..", NULL, NULL, 0, NULL, NULL},
	{"t.id.0", NULL, NULL, 0, NULL, NULL},
	{"t.id.0.csv.gz.gz", NULL, NULL, 0, NULL, NULL},
	{"a.t.id.0.csv", NULL, NULL, 0, NULL, NULL},
	{"t.id.0.csv.zip", NULL, NULL, 0, NULL, NULL},
	{"t.id.0.csv.", NULL, NULL, 0, NULL, NULL},
	{"t.id.0.csv.GZ", NULL, NULL, 0, NULL, NULL},
	{".id.0.csv", NULL, NULL, 0, NULL, NULL},
	{"t..0.csv", NULL, NULL, 0, NULL, NULL},
	{"t.id..csv", NULL, NULL, 0, NULL, NULL},
	{"t.id.0.", NULL, NULL, 0, NULL, NULL},
	{"t.id.-1.csv", NULL, NULL, 0, NULL, NULL},
	{"t.id.+1.csv", NULL, NULL, 0, NULL, NULL},
	{"t.id. 1.csv", NULL, NULL, 0, NULL, NULL},
	{"t.id.1x.csv", NULL, NULL, 0, NULL, NULL},
	{"t.id.2147483648.csv", NULL, NULL, 0, NULL, NULL},
	{"t.id.99999999999999999999999999.csv", NULL, NULL, 0, NULL, NULL},
	{"t\n.id.0.csv", NULL, NULL, 0, NULL, NULL},
	{"\x1b[31mt.id.0.csv", NULL, NULL, 0, NULL, NULL},
	{"t.i\x7f.0.csv", NULL, NULL, 0, NULL, NULL},
	{"../t.id.0.csv", NULL, NULL, 0, NULL, NULL},
	{"a/t.id.0.csv", NULL, NULL, 0, NULL, NULL},
	{"t.id.0.csv/", NULL, NULL, 0, NULL, NULL},
	{"t.id.0.aformatwhosenameislongerthanany32", NULL, NULL, 0, NULL, NULL},
};

/* A name of the greatest length, and one byte more. */
static void
length(void)
{
	char		name[LDR_MAX_FILE_NAME + 2];
	LdrJobName	job;
	LdrError	err = {0};

	memset(name, 't', sizeof(name));
	strcpy(name + LDR_MAX_FILE_NAME - 9, ".id.0.csv");
	CHECK_INT(strlen(name), LDR_MAX_FILE_NAME);
	CHECK_INT(ldr_job_name_parse(name, &job, &err), LDR_OK);
	CHECK_INT(strlen(job.table), LDR_MAX_FILE_NAME - 9);
	strcpy(name + LDR_MAX_FILE_NAME - 8, ".id.0.csv");
	name[LDR_MAX_FILE_NAME - 9] = 't';
	CHECK_INT(ldr_job_name_parse(name, &job, &err), LDR_BAD_NAME);
}

int
main(void)
{
	for (int i = 0; i < (int) (sizeof(cases) / sizeof(cases[0])); i++)
	{
		const NameCase *c = &cases[i];
		LdrJobName	job;
		LdrError	err = {0};
		LdrStatus	status = ldr_job_name_parse(c->name, &job, &err);

		CHECK_MSG(status == (c->table ? LDR_OK : LDR_BAD_NAME), "case %d: status %d", i, status);
		CHECK_MSG((err.message[0] != '\0') == (c->table == NULL), "case %d: message", i);
		if (c->table == NULL || status != LDR_OK)
			continue;
		CHECK_STR(job.table, c->table);
		CHECK_STR(job.file_id, c->file_id);
		CHECK_STR(job.format, c->format);
		CHECK_STR(job.job_id, c->job_id);
		CHECK_INT(job.retry, c->retry);
	}
	length();
	return unit_report("test_job_name");
}
