/*
 * api/airbyte.h: what the files api/airbyte*.c share.
 */
#ifndef LDR_API_AIRBYTE_H
#define LDR_API_AIRBYTE_H

#include "fmgr.h"
#include "publish/stream.h"

/* airbyte.c */
extern char *ldr_airbyte_utf8(char *text);

/* What a sync needs of the configuration that is this argument. Raises 22023. */
extern LdrSyncOptions *ldr_airbyte_options(FunctionCallInfo fcinfo, int arg);

/*
 * Why the role could not sync into this schema, or have staging tables for a dataset in it; NULL: it
 * could.
 */
extern char *ldr_airbyte_check_schema(const char *schema);
extern char *ldr_airbyte_check_stage(const char *schema, const char *dataset);

/* airbyte_register.c */
extern char *ldr_airbyte_optional_text(FunctionCallInfo fcinfo, int arg);

/* The arguments from source_name on, which open and start have in the same order. */
extern void ldr_airbyte_read_choice(FunctionCallInfo fcinfo, int first, LdrSyncOptions *options,
									char **destination_name);

/* Raises 42501 for what the sync would fail at. */
extern void ldr_airbyte_check_rights(const LdrAirbyteCatalog *catalog,
									 const LdrSyncOptions *options);

/* The package of a sync, without its load_id; then its streams, each with its job. */
extern LdrPackage *ldr_airbyte_describe(const LdrSyncOptions *options, const char *catalog,
										char *destination_name);
extern void ldr_airbyte_insert(const LdrPackage *package, const LdrAirbyteCatalog *catalog,
							   const char *file_name, const LdrFileStamp *stamp);

#endif							/* LDR_API_AIRBYTE_H */
