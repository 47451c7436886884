/*
 * options.h: the named arguments of loader_start and its kin, which are configuration in dlt and
 * so not in a package. Stored with the package as jsonb, so that a worker sees the same.
 */
#ifndef LDR_OPTIONS_H
#define LDR_OPTIONS_H

#include "fmgr.h"
#include "utils/jsonb.h"

typedef struct LdrOptions
{
	char	   *replace_strategy;	/* NULL: the table's hint or the default */
	char	   *default_schema_name;
	char	   *staging_dataset_name_layout;
	bool		create_indexes;
	bool		truncate_staging_dataset;
	int			workers;		/* 0: loader.workers */
	bool		atomic;
	bool		complete_with_failed_jobs;
	bool		reject;			/* on_error: bad rows are set aside, and the load goes on */
	char	   *max_rejects;	/* as it was given; NULL: no limit. One of: */
	int64		max_rejected_rows;	/* -1: not by number */
	double		max_rejected_share; /* of the rows read, 0 to 1; -1: not by share */
	char	   *destination_name;	/* stored with the package, not among these; NULL: not said */
	/* csv_format */
	char		csv_delimiter;
	bool		csv_header;
	char	   *csv_encoding;	/* NULL: UTF8 */
} LdrOptions;

/* The arguments of a call; first is the position of replace_strategy. Raises 22023 or 0A000. */
extern LdrOptions *ldr_options_from_args(FunctionCallInfo fcinfo, int first);

/* Those that job mode has; each may be NULL. Raises 22023. */
extern LdrOptions *ldr_options_of_jobs(Jsonb *csv_format, char *replace_strategy,
									   char *staging_dataset_name_layout, char *destination_name);

/* To the text of a jsonb value and back; what is at its default is left out. */
extern char *ldr_options_to_json(const LdrOptions *options);
extern LdrOptions *ldr_options_from_json(const char *json);

#define LDR_REPLACE_STRATEGIES \
	"truncate-and-insert, insert-from-staging, staging-optimized or diff"
extern bool ldr_options_is_replace_strategy(const char *name);

/* Is the schema of that name the server's or ours? A sweep would drop what is in loader_swap. */
extern bool ldr_options_is_reserved(const char *dataset);

/* Processes that load a package: the argument, or the setting. */
extern int	ldr_options_workers(const LdrOptions *options);

/* The name of a dataset's staging dataset. Raises 42602 or 42939 for one that cannot be used. */
extern char *ldr_options_staging(const LdrOptions *options, const char *dataset);

/* The PostgreSQL encoding of csv files. */
extern int	ldr_options_encoding(const LdrOptions *options);

#endif							/* LDR_OPTIONS_H */
