/*
 * schema/names.h: what the parsers of src/schema share: loading JSON within bounds, names that can
 * be used, keys that are known, finding things by name. No postgres.h.
 *
 * Private to src/schema; the rest of the extension sees schema.h.
 */
#ifndef LDR_NAMES_H
#define LDR_NAMES_H

#include "json.h"

#include "schema/schema.h"

/* Quoted names for a message: as many as fit, and how many there were. Starts out zeroed. */
typedef struct LdrNameList
{
	char		text[224];
	size_t		len;
	int			shown;
	int			total;			/* more than shown: the rest did not fit */
} LdrNameList;

/* Memory that one JSON tree may take; 10,000 tables with 20 columns each take a quarter of it. */
#define LDR_MAX_JSON_MEMORY (512 * 1024 * 1024)

extern LdrStatus ldr_json_load_bounded(const char *json, size_t len, size_t flags,
									   const char *what, json_t **root, LdrError *err);

extern bool ldr_name_usable(const char *name);
extern bool ldr_name_same(const char *a, const char *b);
extern void ldr_name_list_add(LdrNameList *list, const char *table, const char *name);
extern const char *ldr_name_list_text(LdrNameList *list);

extern LdrStatus ldr_schema_check_keys(json_t *root, int64_t engine_version, LdrError *err);

/* Build the look-up orders of a schema's tables and of each table's columns. */
extern LdrStatus ldr_schema_build_index(LdrSchema *schema, LdrError *err);

#endif							/* LDR_NAMES_H */
