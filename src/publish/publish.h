/*
 * publish/publish.h: from a registered package to what readers see.
 */
#ifndef LDR_PUBLISH_H
#define LDR_PUBLISH_H

#include "catalog/loader_catalog.h"
#include "options.h"
#include "schema/plan.h"
#include "source/package.h"
#include "worker/load.h"

/* A package that is being loaded, for the life of one attempt. */
typedef struct LdrRun
{
	MemoryContext cxt;			/* where all of it lives */
	LdrPackage *package;
	LdrPackageDir *dir;
	LdrOptions *options;
	List	   *jobs;			/* of LdrJob, in order */
	TimestampTz started_at;
	LdrJob	   *job;			/* in hand, for whoever reports an error; NULL: none */
	TimestampTz job_started_at;
	List	   *stats;			/* of LdrTableStats */
} LdrRun;

/* publish.c */

/* New nullable columns of existing tables, in a short transaction of its own. */
extern void ldr_migrate(LdrRun *run);

/* The one transaction of an atomic package: everything, or nothing. */
extern void ldr_publish(LdrRun *run);

/* The first and the last transaction of a package whose jobs commit one by one. */
extern bool ldr_publish_tables(LdrRun *run); /* false: it was loaded already, all is done */
extern void ldr_publish_end(LdrRun *run);

extern bool ldr_publish_next_job(LdrRun *run);

/* system.c: dlt's own tables, as the current role */
extern bool ldr_system_is_loaded(const LdrSchema *schema, const char *dataset, const char *load_id);
extern void ldr_system_record(const LdrRun *run);

#endif							/* LDR_PUBLISH_H */
