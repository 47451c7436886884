/*
 * schema/trim.c: the text of dlt's schema.json without some of its tables. No postgres.h.
 *
 * Works on the JSON tree, not on LdrSchema: keys that mean nothing to us are in the text too. What
 * stays keeps its order; blanks go, and a number with a fraction is written with all its digits.
 * Two trimmed schemas are the same for dlt if they differ in their versions only: hence content.
 */
#include "json.h"
#include <stdlib.h>

#include "schema/names.h"

/* Is this one of the tables without which a schema is none? */
static bool
trim_is_own(const char *name)
{
	return ldr_name_same(name, "_dlt_version") || ldr_name_same(name, "_dlt_loads") ||
		ldr_name_same(name, "_dlt_pipeline_state");
}

/* Remove the tables that keep() refuses. */
static LdrStatus
trim_tables(json_t *root, bool (*keep) (const char *table, void *arg), void *arg, LdrError *err)
{
	json_t	   *tables = json_object_get(root, "tables");
	const char *name;
	json_t	   *table;
	void	   *next;

	if (!json_is_object(root))
		return ldr_fail(err, LDR_BAD_SCHEMA, "the schema must be an object");
	if (!json_is_object(tables))
		return ldr_fail(err, LDR_BAD_SCHEMA, "\"tables\" of the schema must be an object");
	json_object_foreach_safe(tables, next, name, table)
	{
		if (!trim_is_own(name) && !keep(name, arg))
			json_object_del(tables, name);
	}
	return LDR_OK;
}

/*
 * What dlt's hash of a schema covers: all but versions, in whatever order. NULL if memory is out.
 */
static char *
trim_content(json_t *root)
{
	static const char *const versions[] = {"version", "version_hash", "imported_version_hash",
	"previous_hashes"};

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		(void) json_object_del(root, versions[i]);
	return json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
}

/*
 * keep() is called once for each table that is not dlt's own, in the order of the document. It must
 * return: an error raised from it would leave the tree behind. On failure *out is NULL. The tables
 * themselves are not checked, that is what ldr_schema_parse does.
 */
LdrStatus
ldr_schema_trim(const char *json, size_t len, bool (*keep) (const char *table, void *arg),
				void *arg, char **out, char **content, LdrError *err)
{
	json_t	   *root;
	LdrStatus	status;

	*out = *content = NULL;
	status = ldr_json_load_bounded(json, len, JSON_REJECT_DUPLICATES, "schema", &root, err);
	if (status != LDR_OK)
		return status;
	status = trim_tables(root, keep, arg, err);
	if (status == LDR_OK)
	{
		/* of jansson's allocator, which is malloc as long as no tree is loaded */
		*out = json_dumps(root, JSON_COMPACT);
		*content = trim_content(root);
		if (*out == NULL || *content == NULL)
			status = ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
	}
	if (status != LDR_OK)
	{
		free(*out);
		free(*content);
		*out = *content = NULL;
	}
	json_decref(root);
	return status;
}
