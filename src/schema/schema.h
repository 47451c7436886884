/*
 * schema/schema.h: one description of tables, whatever ecosystem it came from, and its difference
 * from the live tables. No postgres.h.
 *
 * dlt's schema.json becomes an LdrSchema here; an Airbyte catalog will too. Everything hangs on
 * one LdrSchema and is freed with it.
 */
#ifndef LDR_SCHEMA_H
#define LDR_SCHEMA_H

#include "status.h"

#define LDR_ENGINE_VERSION 11	/* of dlt's schema, the one we know by heart */
#define LDR_MAX_NAME 63			/* bytes of an identifier in PostgreSQL */

typedef enum LdrDataType
{
	LDR_TYPE_NONE,				/* a column that dlt knows by name only: not created */
	LDR_TYPE_TEXT,
	LDR_TYPE_BIGINT,
	LDR_TYPE_DOUBLE,
	LDR_TYPE_BOOL,
	LDR_TYPE_TIMESTAMP,
	LDR_TYPE_TIME,
	LDR_TYPE_DATE,
	LDR_TYPE_DECIMAL,
	LDR_TYPE_WEI,
	LDR_TYPE_BINARY,
	LDR_TYPE_JSON
} LdrDataType;

typedef enum LdrDisposition
{
	LDR_APPEND,
	LDR_REPLACE,
	LDR_MERGE,
	LDR_SKIP
} LdrDisposition;

typedef struct LdrSchemaColumn
{
	char	   *name;
	LdrDataType type;
	int			precision;		/* -1: none */
	int			scale;			/* -1: none */
	bool		nullable;
	bool		timezone;		/* timestamp: with time zone */
	bool		unique;
	bool		primary_key;
	bool		merge_key;
	bool		row_key;
	bool		parent_key;
	bool		root_key;
	bool		hard_delete;
	int			dedup_sort;		/* 0 none, 1 asc, -1 desc */
	bool		row_version;	/* x-row-version: tells versions of a row apart (scd2) */
	bool		valid_from;		/* x-valid-from, x-valid-to: columns that scd2 fills */
	bool		valid_to;
	char	   *active_timestamp;	/* x-active-record-timestamp of valid_to; NULL: none, or null */
	bool		geometry;		/* a hint of dlt's postgres_adapter: PostGIS */
	int			srid;			/* of the geometry */
} LdrSchemaColumn;

typedef struct LdrSchemaTable
{
	char	   *name;
	char	   *parent;			/* NULL: a root table */
	char	   *resource;		/* NULL: none */
	char	   *file_format;	/* the hint, its own or the nearest ancestor's; NULL: none */
	LdrDisposition disposition; /* its own, or the nearest ancestor's */
	char	   *strategy;		/* x-merge-strategy or x-replace-strategy, found likewise */
	bool		seen_data;		/* x-normalizer.seen-data: dlt creates no table without it */
	/* for merges, of root tables; NULL and false: not said */
	char	   *source_filter;	/* x-merge-source-filter */
	char	   *destination_scope;	/* x-merge-destination-scope */
	char	   *boundary_timestamp; /* x-boundary-timestamp (scd2) */
	bool		skip_unchanged; /* x-merge-skip-unchanged-rows */
	bool		deduplicated;	/* x-stage-data-deduplicated */
	LdrSchemaColumn *columns;
	int			ncolumns;
	struct LdrSchemaTable *root;	/* itself for a root table */
	int			depth;			/* of nesting, 0 for a root table */
	LdrSchemaColumn **by_name;	/* for ldr_schema_column; may be NULL */
} LdrSchemaTable;

typedef struct LdrSchema
{
	char	   *name;
	int64_t		version;
	int64_t		engine_version;
	char	   *version_hash;
	LdrSchemaTable *tables;
	int			ntables;
	LdrSchemaTable *version_table;	/* _dlt_version and _dlt_loads, in whatever letter case the */
	LdrSchemaTable *loads_table;	/* naming convention left them; never NULL after a parse */
	LdrSchemaTable *state_table;	/* _dlt_pipeline_state, NULL if the schema has none */
	void	   *index;			/* names -> tables */
} LdrSchema;

/*
 * Parse schema.json. On failure *out is NULL and *err says what and, for broken JSON, which line.
 * Engine version LDR_ENGINE_VERSION is accepted as it is; any other only if every key in it is
 * known to us, otherwise LDR_UNKNOWN_KEY and the message names the keys.
 * Names that are empty or over LDR_MAX_NAME bytes are LDR_BAD_NAME, with the list in the message.
 * A document whose JSON tree would take more memory than is sane is LDR_TOO_LONG.
 */
extern LdrStatus ldr_schema_parse(const char *json, size_t len, LdrSchema **out, LdrError *err);
extern void ldr_schema_free(LdrSchema *schema);

/*
 * The schema's own text without the tables that keep() refuses, dlt's own are kept in any case:
 * what the staging dataset's _dlt_version holds; and *content, which is the same for two texts that
 * differ in their versions only. Both are malloc'd, for the caller to free.
 */
extern LdrStatus ldr_schema_trim(const char *json, size_t len,
								 bool (*keep) (const char *table, void *arg), void *arg,
								 char **out, char **content, LdrError *err);

/* Look a table or a column up by name; NULL if there is none. */
extern LdrSchemaTable *ldr_schema_table(const LdrSchema *schema, const char *name);
extern LdrSchemaColumn *ldr_schema_column(const LdrSchemaTable *table, const char *name);

/*
 * The type that dlt's postgres destination gives a column, as SQL text ("character varying(8)",
 * spelled as format_type() spells it). table_format is the table's file_format hint (parquet makes
 * json of jsonb). LDR_UNSUPPORTED for a precision that PostgreSQL does not have.
 */
extern LdrStatus ldr_column_type(const LdrSchemaColumn *column, const char *table_format,
								 char *buf, size_t bufsize, LdrError *err);

/*
 * The same for a statement, whatever its search_path: a type whose name is no keyword of the
 * grammar gets its schema ("pg_catalog.jsonb"), so that no other type can shadow it. geometry
 * stays as it is: its schema is for the caller to find, in the catalog.
 */
extern LdrStatus ldr_column_type_sql(const LdrSchemaColumn *column, const char *table_format,
									 char *buf, size_t bufsize, LdrError *err);

/* What is in load_package_state.json; everything may be missing. */
typedef struct LdrPackageState
{
	char	   *created_at;		/* ISO text without dlt's type mark */
	char	   *pipeline_name;
	char	   *dataset_name;	/* from the pipeline state inside, if there is one */
	char	   *default_schema_name;
	char	   *refresh;		/* drop_data, drop_sources, drop_resources; NULL: none */
	char	  **dropped_tables; /* names, which need not be in the schema */
	int			ndropped;
	char	  **truncated_tables;
	int			ntruncated;
} LdrPackageState;

extern LdrStatus ldr_package_state_parse(const char *json, size_t len, LdrPackageState **out,
										 LdrError *err);
extern void ldr_package_state_free(LdrPackageState *state);

/* A live table, as far as the difference needs it. The caller fills it from the catalog. */
typedef struct LdrLiveColumn
{
	const char *name;
	const char *type;			/* format_type() */
	bool		nullable;
} LdrLiveColumn;

typedef struct LdrLiveTable
{
	bool		exists;
	const LdrLiveColumn *columns;
	int			ncolumns;
} LdrLiveTable;

typedef enum LdrChangeKind
{
	LDR_CREATE_TABLE,			/* all typed columns of the table */
	LDR_ADD_COLUMN,
	/* nothing to do: the live type stays and values are converted to it */
	LDR_KEEP_TYPE
} LdrChangeKind;

typedef struct LdrChange
{
	LdrChangeKind kind;
	const LdrSchemaTable *table;
	const LdrSchemaColumn *column;	/* NULL for LDR_CREATE_TABLE */
	const char *live_type;		/* LDR_KEEP_TYPE */
} LdrChange;

/*
 * What must change for the live table to hold rows of the package's table: additive only, in the
 * order of the schema's columns. *changes is malloc'd, for the caller to free; *n may be 0.
 */
extern LdrStatus ldr_schema_diff(const LdrSchemaTable *table, const LdrLiveTable *live,
								 LdrChange **changes, int *n, LdrError *err);

/*
 * Changes of the schema's tables as dlt describes them: {table: {..., "columns": {the new ones}}},
 * without those that change nothing. json is the text that the tables of the changes were parsed
 * from; replace_strategy is what tables of disposition replace get, NULL: what their hint says, or
 * the default. *out is malloc'd, for the caller to free.
 */
extern LdrStatus ldr_schema_update(const char *json, size_t len, const LdrChange *changes,
								   int nchanges, const char *replace_strategy, char **out,
								   LdrError *err);

#endif							/* LDR_SCHEMA_H */
