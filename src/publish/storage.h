/*
 * publish/storage.h: what dlt's job client asks of the database between packages, in the caller's
 * transaction and as the caller.
 */
#ifndef LDR_STORAGE_H
#define LDR_STORAGE_H

#include "nodes/pg_list.h"
#include "schema/schema.h"
#include "utils/array.h"
#include "utils/tuplestore.h"

/* --- storage.c: schemas and tables --- */

/* The dataset's schema if it is missing, else these tables (List of char *) emptied. */
extern void ldr_storage_initialize(const char *dataset, List *truncate_tables);

/* Drop the dataset's schema, and that of its staging dataset if there is one, with all in it. */
extern void ldr_storage_drop(const char *dataset, const char *staging);

/*
 * Drop the tables that exist; not what depends on them. With schema_name, forget all versions of
 * that schema too.
 */
extern void ldr_storage_drop_tables(const char *dataset, List *tables, const char *schema_name);

typedef struct LdrStorageUpdate
{
	const char *dataset;
	const char *text;			/* of the schema, which is stored byte for byte */
	size_t		len;
	const LdrSchema *schema;	/* the same, parsed */
	List	   *only_tables;	/* of char *; NIL: all */
	bool		force;			/* also if the schema is stored already */
	bool		dry_run;
	bool		create_indexes;
	const char *replace_strategy; /* NULL: not said */
} LdrStorageUpdate;

/* Bring the tables up to the schema and store it. Returns the changes as dlt's JSON, "{}": none. */
extern char *ldr_storage_update(const LdrStorageUpdate *update);

/* --- stored.c: what is stored there; rows go into a tuplestore of the function's result type --- */

/*
 * A row of _dlt_version: of that hash; else the newest, of that schema if it is not NULL. Nothing
 * if there is none, or no such table.
 */
extern void ldr_stored_schema(Tuplestorestate *rows, const char *dataset, const char *schema_name,
							  const char *version_hash);

/* The text of the schema of that hash, in UTF-8; NULL if there is none. */
extern char *ldr_stored_schema_text(const char *dataset, const char *version_hash);

/* The newest state of a pipeline whose load was completed. Raises 42P01 without the tables. */
extern void ldr_stored_state(Tuplestorestate *rows, const char *dataset,
							 const char *pipeline_name);

/* Columns as information_schema shows them, of these tables (an array of text; NULL: of all). */
extern void ldr_stored_columns(Tuplestorestate *rows, const char *dataset, ArrayType *tables);

/* Delete all versions of a schema, if versions are stored there at all. */
extern void ldr_stored_forget(const char *dataset, const char *schema_name);

#endif							/* LDR_STORAGE_H */
