/*
 * test/fuzz/fuzz_job_name.c: the grammar of job file names.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/job_name.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A name that is accepted must be made of its parts again. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *name = malloc(size + 1);
	LdrJobName	job;
	LdrError	err = {0};

	memcpy(name, data, size);
	name[size] = '\0';
	if (ldr_job_name_parse(name, &job, &err) == LDR_OK)
	{
		char		head[2 * LDR_MAX_FILE_NAME + 2];
		size_t		len = (size_t) snprintf(head, sizeof(head), "%s.%s.", job.table, job.file_id);

		if (strncmp(name, head, len) != 0 || strncmp(job.job_id, head, len) != 0 ||
			strncmp(job.job_id + len, job.format, strlen(job.format)) != 0 ||
			atoi(name + len) != job.retry || strchr(job.job_id, '/') != NULL)
			abort();
	}
	else if (err.message[0] == '\0')
		abort();
	free(name);
	return 0;
}
