/*
 * source/job_name.c: split the file name of a job at its dots. No postgres.h.
 */
#include "source/job_name.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define JOB_NAME_PARTS 5		/* at most: with .gz or .zst */

static LdrStatus
job_name_bad(const char *file_name, LdrError *err, const char *why)
{
	char		name[160];

	ldr_excerpt(name, sizeof(name), file_name, strlen(file_name));
	ldr_excerpt(err->value, sizeof(err->value), file_name, strlen(file_name));
	strcpy(err->hint, "Job files are named table.file_id.retry.format, with .gz or .zst at the"
		   " end if they are compressed.");
	return ldr_fail(err, LDR_BAD_NAME, "invalid job file name \"%s\": %s", name, why);
}

/* The retry count: digits only. -1 if it is anything else, or too large for an int. */
static int
job_name_retry(const char *s, size_t len)
{
	int64_t		n = 0;

	if (len == 0)
		return -1;
	for (size_t i = 0; i < len; i++)
	{
		if (s[i] < '0' || s[i] > '9')
			return -1;
		n = n * 10 + (s[i] - '0');
		if (n > INT_MAX)
			return -1;
	}
	return (int) n;
}

static void
job_name_copy(char *dst, const char *src, size_t len)
{
	memcpy(dst, src, len);
	dst[len] = '\0';
}

LdrStatus
ldr_job_name_parse(const char *file_name, LdrJobName *out, LdrError *err)
{
	const char *part[JOB_NAME_PARTS];
	size_t		len[JOB_NAME_PARTS];
	int			n = 0;
	const char *p = file_name;

	memset(out, 0, sizeof(*out));
	if (strlen(file_name) > LDR_MAX_FILE_NAME)
		return job_name_bad(file_name, err, "it is too long");
	if (strchr(file_name, '/') != NULL)
		return job_name_bad(file_name, err, "it contains a slash");
	for (p = file_name; *p != '\0'; p++)
		if ((unsigned char) *p < ' ' || *p == 0x7f)
			return job_name_bad(file_name, err, "it has a control character");
	p = file_name;
	for (;;)
	{
		const char *dot = strchr(p, '.');

		if (n == JOB_NAME_PARTS)
			return job_name_bad(file_name, err, "it has too many parts");
		part[n] = p;
		len[n] = dot != NULL ? (size_t) (dot - p) : strlen(p);
		if (len[n] == 0)
			return job_name_bad(file_name, err, "a part of it is empty");
		n++;
		if (dot == NULL)
			break;
		p = dot + 1;
	}
	if (n < 4)
		return job_name_bad(file_name, err, "it has too few parts");
	if (n == 5 && strcmp(part[4], "gz") != 0 && strcmp(part[4], "zst") != 0)
		return job_name_bad(file_name, err, "its last part is neither gz nor zst");
	out->retry = job_name_retry(part[2], len[2]);
	if (out->retry < 0)
		return job_name_bad(file_name, err, "the retry count is not a number");
	if (len[3] >= sizeof(out->format))
		return job_name_bad(file_name, err, "the format is too long");
	job_name_copy(out->table, part[0], len[0]);
	job_name_copy(out->file_id, part[1], len[1]);
	job_name_copy(out->format, part[3], len[3]);
	/* everything but the retry count: the rest of the name begins at the format */
	snprintf(out->job_id, sizeof(out->job_id), "%.*s%s",
			 (int) (part[2] - file_name), file_name, part[3]);
	return LDR_OK;
}
