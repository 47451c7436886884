/*
 * source/job_name.h: the file name of a job, by dlt's grammar. No postgres.h.
 *
 *	table.file_id.retry.format[.gz|.zst]
 */
#ifndef LDR_JOB_NAME_H
#define LDR_JOB_NAME_H

#include "status.h"

#define LDR_MAX_FILE_NAME 255

typedef struct LdrJobName
{
	char		table[LDR_MAX_FILE_NAME + 1];
	char		file_id[LDR_MAX_FILE_NAME + 1];
	char		format[32];		/* as written, also one that we do not load */
	char		job_id[LDR_MAX_FILE_NAME + 1];	/* the name without the retry count */
	int			retry;
} LdrJobName;

/* Split a file name (no path). LDR_BAD_NAME with a message that says what is wrong. */
extern LdrStatus ldr_job_name_parse(const char *file_name, LdrJobName *out, LdrError *err);

#endif							/* LDR_JOB_NAME_H */
