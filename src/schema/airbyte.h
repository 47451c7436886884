/*
 * schema/airbyte.h: the configured catalog of an Airbyte sync, and the connector's configuration.
 * No postgres.h, but for what airbyte_names.c does with names.
 *
 * A stream becomes a table: its name, its columns, how it is written.
 */
#ifndef LDR_AIRBYTE_H
#define LDR_AIRBYTE_H

#include "status.h"

/* What a property of the stream's JSON schema becomes. */
typedef enum LdrStreamType
{
	LDR_STREAM_VARCHAR,
	LDR_STREAM_BIGINT,
	LDR_STREAM_NUMERIC,
	LDR_STREAM_BOOL,
	LDR_STREAM_DATE,
	LDR_STREAM_TIMESTAMPTZ,
	LDR_STREAM_TIMESTAMP,
	LDR_STREAM_TIMETZ,
	LDR_STREAM_TIME,
	LDR_STREAM_OBJECT,			/* jsonb that takes objects only */
	LDR_STREAM_ARRAY,			/* jsonb that takes arrays only */
	LDR_STREAM_JSON				/* jsonb that takes any value: unions, unknown types */
} LdrStreamType;

typedef struct LdrStreamColumn
{
	char	   *property;		/* its name in the records, UTF-8 */
	char	   *name;			/* its name in the table; NULL before ldr_airbyte_name */
	LdrStreamType type;
} LdrStreamColumn;

typedef enum LdrStreamMode
{
	LDR_STREAM_APPEND,
	LDR_STREAM_OVERWRITE,
	LDR_STREAM_APPEND_DEDUP
} LdrStreamMode;

/* Columns of one stream; a table can have 1,600, and ours are among them. */
#define LDR_STREAM_MAX_COLUMNS 1500

#define LDR_NO_ID INT64_MIN		/* of a generation or a sync: absent, or null */

typedef struct LdrStream
{
	char	   *name;			/* as messages have it, UTF-8 */
	char	   *name_space;		/* NULL: none */
	char	   *object_name;	/* what the catalog calls the table; NULL: as the stream */
	char	   *dataset;		/* of the table; both NULL before ldr_airbyte_name */
	char	   *table;
	LdrStreamColumn *columns;	/* those of the JSON schema, in its order */
	int			ncolumns;
	bool		full_refresh;	/* sync_mode; else incremental */
	LdrStreamMode mode;
	int		   *keys;			/* positions in columns: primary key, of APPEND_DEDUP only */
	int			nkeys;
	int			cursor;			/* likewise, -1: none */
	int			deleted;		/* of _ab_cdc_deleted_at, -1: none */
	int64_t		generation_id;	/* these three: LDR_NO_ID if absent */
	int64_t		minimum_generation_id;
	int64_t		sync_id;
} LdrStream;

typedef struct LdrAirbyteCatalog
{
	LdrStream  *streams;
	int			nstreams;
} LdrAirbyteCatalog;

/* What a caller says about the whole catalog, as PyAirbyte's write() does. All texts are UTF-8. */
typedef struct LdrAirbyteChoice
{
	const char *write_strategy; /* auto, append, merge, replace, in any letter case; NULL: as the
								 * catalog says */
	const char *const *streams; /* names of the only ones that take part; NULL: all */
	int			nstreams;
	bool		force_full_refresh;
} LdrAirbyteChoice;

/*
 * Parse a configured catalog, UTF-8. LDR_BAD_JSON for broken JSON, LDR_BAD_SCHEMA for what is no
 * catalog or cannot be followed (append_dedup without a primary key, update and soft_delete, a
 * minimum generation that is neither 0 nor the generation, a key or cursor of append_dedup that is
 * no top-level property, two streams of one name, no streams, an unknown write strategy, a name in
 * choice that is no stream), LDR_TOO_LONG for more columns than a table can have; the message names
 * the stream. Members that are null count as absent. Streams that do not take part are not looked
 * at beyond their names. choice may be NULL.
 */
extern LdrStatus ldr_airbyte_catalog_parse(const char *json, size_t len,
										   const LdrAirbyteChoice *choice,
										   LdrAirbyteCatalog **out, LdrError *err);
extern void ldr_airbyte_catalog_free(LdrAirbyteCatalog *catalog);

/* The PostgreSQL type, as format_type() spells it. */
extern const char *ldr_stream_type_name(LdrStreamType type);

/* How the protocol spells a mode. */
extern const char *ldr_stream_mode_name(LdrStreamMode mode);

/*
 * airbyte_names.c, the part with postgres.h: give every stream its dataset and table, every column
 * its name. All of them are ASCII. schema, UTF-8, is the dataset of streams without a namespace; it
 * goes through the same rule. LDR_BAD_NAME if two streams would share a table. What it allocates
 * hangs on the catalog.
 */
extern LdrStatus ldr_airbyte_name(LdrAirbyteCatalog *catalog, const char *schema, LdrError *err);

/* The same rule for any name, UTF-8. Allocated in the current context. */
extern char *ldr_airbyte_identifier(const char *name);

/* Our own columns, before those of the stream. */
#define LDR_AIRBYTE_RAW_ID		"_airbyte_raw_id"
#define LDR_AIRBYTE_EXTRACTED_AT "_airbyte_extracted_at"
#define LDR_AIRBYTE_META		"_airbyte_meta"
#define LDR_AIRBYTE_GENERATION	"_airbyte_generation_id"

/* The column of a staging table that numbers its rows in order of arrival. */
#define LDR_STREAM_ARRIVAL "_loader_arrival"

/*
 * The connector's configuration. Keys that only a client needs (host, password, ...) are checked
 * and otherwise left alone.
 */
typedef struct LdrAirbyteConfig
{
	char	   *schema;			/* default public */
	char	   *raw_data_schema;	/* where staging tables are; default airbyte_internal */
	char	   *source_name;	/* default "": not said */
	bool		soft_delete;	/* cdc_deletion_mode is "Soft delete" */
	bool		fail_on_bad_value;	/* bad_values is "fail"; else NULL and an entry in meta */
	char	   *upgraded;		/* the whole config in today's form, if it came in an older one;
								 * else NULL */
} LdrAirbyteConfig;

/* Who asks. */
typedef enum LdrConfigUse
{
	LDR_CONFIG_TO_CONNECT,		/* a client: host, port, ... must be there */
	LDR_CONFIG_IN_SESSION		/* in a session they may be missing */
} LdrConfigUse;

/*
 * Check a configuration, UTF-8, against the spec. LDR_BAD_JSON, LDR_TOO_LONG, or LDR_BAD_SCHEMA
 * with a message that names the key and what it must be. Unknown keys are allowed, null counts as
 * absent, and so does an empty schema. Secrets never come into a message.
 *
 * An older form: user and default_schema for username and schema, port as text, ssl_mode as text or
 * only ssl (true is require, false is disable).
 */
extern LdrStatus ldr_airbyte_config_parse(const char *json, size_t len, LdrConfigUse use,
										  LdrAirbyteConfig **out, LdrError *err);
extern void ldr_airbyte_config_free(LdrAirbyteConfig *config);

/* What loader_airbyte_spec() and the connector's spec return: the payload of a SPEC message. */
extern const char ldr_airbyte_spec[];

#endif							/* LDR_AIRBYTE_H */
