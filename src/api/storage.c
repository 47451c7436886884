/*
 * api/storage.c: dlt's job client, as far as it makes, changes, empties and drops what is stored:
 * one function per method, each in the caller's transaction and with the caller's rights.
 */
#include "postgres.h"

#include <ctype.h>
#include <unistd.h>

#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "common/base64.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "api/api.h"
#include "compat.h"
#include "loader.h"
#include "publish/storage.h"

PG_FUNCTION_INFO_V1(loader_fingerprint);
PG_FUNCTION_INFO_V1(loader_location);
PG_FUNCTION_INFO_V1(loader_normalize_dataset_name);
PG_FUNCTION_INFO_V1(loader_is_storage_initialized);
PG_FUNCTION_INFO_V1(loader_initialize_storage);
PG_FUNCTION_INFO_V1(loader_drop_storage);
PG_FUNCTION_INFO_V1(loader_drop_tables);
PG_FUNCTION_INFO_V1(loader_update_stored_schema);

/* The name of the staging dataset; layout is an argument that may be NULL. */
static char *
storage_staging(FunctionCallInfo fcinfo, const char *dataset, int layout)
{
	LdrOptions	options = {0};

	if (!PG_ARGISNULL(layout))
		options.staging_dataset_name_layout = text_to_cstring(PG_GETARG_TEXT_PP(layout));
	return ldr_options_staging(&options, dataset);
}

char *
ldr_api_storage(FunctionCallInfo fcinfo, int arg, int staging)
{
	char	   *dataset = ldr_api_text(fcinfo, arg, "dataset");

	ldr_api_check_dataset(dataset);
	if (PG_ARGISNULL(staging) || !PG_GETARG_BOOL(staging))
		return dataset;
	return storage_staging(fcinfo, dataset, staging + 1);
}

List *
ldr_api_names(FunctionCallInfo fcinfo, int arg, const char *name)
{
	List	   *names = NIL;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	if (PG_ARGISNULL(arg))
		return NIL;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(arg), TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not contain nulls", name)));
		names = lappend(names, TextDatumGetCString(elements[i]));
	}
	return names;
}

static void
storage_free_schema(void *schema)
{
	ldr_schema_free(schema);
}

/* Read a schema, which is freed with the current memory context. */
static LdrSchema *
storage_parse(const char *text, size_t len)
{
	MemoryContextCallback *cb = palloc0(sizeof(MemoryContextCallback));
	const char *document = pg_server_to_any(text, len, PG_UTF8);
	LdrSchema  *schema;
	LdrError	err = {0};

	if (ldr_schema_parse(document, strlen(document), &schema, &err) != LDR_OK)
		ldr_raise(&err, NULL);
	cb->func = storage_free_schema;
	cb->arg = schema;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, cb);
	ldr_api_check_encoding(schema->name, text, len);
	return schema;
}

/*
 * loader_fingerprint(): which database this is. By its OID, not its name: one that was dropped and
 * made again holds nothing of what was loaded before, one that was renamed still does.
 */
Datum
loader_fingerprint(PG_FUNCTION_ARGS)
{
	char	   *text = psprintf(UINT64_FORMAT "/%u", GetSystemIdentifier(), MyDatabaseId);
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char		hash[PG_SHA256_DIGEST_LENGTH + 1] = "";
	const int	used = 15;		/* as many bytes as in fingerprints of dlt: no padding */

	if (ctx == NULL || pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) text, strlen(text)) < 0 ||
		pg_cryptohash_final(ctx, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a SHA-256 hash");
	pg_cryptohash_free(ctx);
	if (ldr_b64_encode(digest, used, hash, sizeof(hash) - 1) < 0)
		elog(ERROR, "could not encode a hash");
	PG_RETURN_TEXT_P(cstring_to_text(hash));
}

/* The address that the client came to, or what this machine is called. */
static char *
location_host(void)
{
	LOCAL_FCINFO(call, 0);
	Datum		address;
	char		name[256] = "";

	InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
	address = inet_server_addr(call);
	if (!call->isnull)
	{
		char	   *host = TextDatumGetCString(DirectFunctionCall1(network_host, address));

		return strchr(host, ':') ? psprintf("[%s]", host) : host;
	}
	if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0')
		return pstrdup("localhost");
	return pstrdup(name);
}

/*
 * loader_location(): where that is, for people: nothing in it is secret.
 */
Datum
loader_location(PG_FUNCTION_ARGS)
{
	StringInfoData uri;

	initStringInfo(&uri);
	appendStringInfo(&uri, "postgresql://%s:%d/", location_host(), PostPortNumber);
	for (const char *p = get_database_name(MyDatabaseId); p && *p; p++)
	{
		if (isalnum((unsigned char) *p) && !IS_HIGHBIT_SET(*p))
			appendStringInfoChar(&uri, *p);
		else if (strchr("-._~", *p))
			appendStringInfoChar(&uri, *p);
		else
			appendStringInfo(&uri, "%%%02X", (unsigned char) *p);
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(uri.data, uri.len));
}

/* The layout with the dataset in place of %s. */
static char *
storage_layout(const char *layout, const char *dataset)
{
	const char *place = strstr(layout, "%s");

	if (place == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value \"%s\" for argument \"dataset_name_layout\"", layout),
				 errhint("It contains %%s, for the dataset's name.")));
	return psprintf("%.*s%s%s", (int) (place - layout), layout, dataset, place + 2);
}

/*
 * loader_normalize_dataset_name(dataset, schema_name, default_schema_name, dataset_name_layout,
 * staging, staging_dataset_name_layout): dlt's names of datasets.
 */
Datum
loader_normalize_dataset_name(PG_FUNCTION_ARGS)
{
	char	   *dataset = ldr_api_text(fcinfo, 0, "dataset");
	char	   *schema_name = ldr_api_text(fcinfo, 1, "schema_name");

	if (!PG_ARGISNULL(3))
		dataset = storage_layout(text_to_cstring(PG_GETARG_TEXT_PP(3)), dataset);
	if (!PG_ARGISNULL(2) && strcmp(text_to_cstring(PG_GETARG_TEXT_PP(2)), schema_name) != 0)
		dataset = psprintf("%s_%s", dataset, schema_name);
	ldr_api_check_dataset(dataset);
	if (!PG_ARGISNULL(4) && PG_GETARG_BOOL(4))
		dataset = storage_staging(fcinfo, dataset, 5);
	PG_RETURN_TEXT_P(cstring_to_text(dataset));
}

/*
 * loader_is_storage_initialized(dataset, staging, staging_dataset_name_layout)
 */
Datum
loader_is_storage_initialized(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(OidIsValid(get_namespace_oid(ldr_api_storage(fcinfo, 0, 1), true)));
}

/*
 * loader_initialize_storage(dataset, truncate_tables, staging, staging_dataset_name_layout)
 */
Datum
loader_initialize_storage(PG_FUNCTION_ARGS)
{
	ldr_api_writes("loader_initialize_storage()");
	ldr_storage_initialize(ldr_api_storage(fcinfo, 0, 2),
						   ldr_api_names(fcinfo, 1, "truncate_tables"));
	PG_RETURN_VOID();
}

/*
 * loader_drop_storage(dataset, staging_dataset_name_layout)
 */
Datum
loader_drop_storage(PG_FUNCTION_ARGS)
{
	char	   *dataset = ldr_api_text(fcinfo, 0, "dataset");

	ldr_api_writes("loader_drop_storage()");
	ldr_api_check_dataset(dataset);
	ldr_storage_drop(dataset, storage_staging(fcinfo, dataset, 1));
	PG_RETURN_VOID();
}

/*
 * loader_drop_tables(dataset, tables, schema_name, delete_schema, staging,
 * staging_dataset_name_layout)
 */
Datum
loader_drop_tables(PG_FUNCTION_ARGS)
{
	bool		delete_schema = PG_ARGISNULL(3) || PG_GETARG_BOOL(3);

	ldr_api_writes("loader_drop_tables()");
	if (delete_schema && PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"schema_name\" must not be null"),
				 errdetail("All stored versions of that schema are deleted."),
				 errhint("Name the schema, or say delete_schema => false.")));
	ldr_storage_drop_tables(ldr_api_storage(fcinfo, 0, 4), ldr_api_names(fcinfo, 1, "tables"),
							delete_schema ? text_to_cstring(PG_GETARG_TEXT_PP(2)) : NULL);
	PG_RETURN_VOID();
}

/*
 * loader_update_stored_schema(dataset, schema, only_tables, expected_update, force, dry_run,
 * create_indexes, replace_strategy, staging, staging_dataset_name_layout). expected_update says
 * what the client would expect; dlt's clients for databases compare for themselves, and so does
 * this.
 */
Datum
loader_update_stored_schema(PG_FUNCTION_ARGS)
{
	LdrStorageUpdate u = {0};
	char	   *document = ldr_api_text(fcinfo, 1, "schema");

	u.dry_run = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5);
	if (!u.dry_run)
		ldr_api_writes("loader_update_stored_schema()");
	u.dataset = ldr_api_storage(fcinfo, 0, 8);
	u.text = document;
	u.len = strlen(document);
	u.schema = storage_parse(document, u.len);
	u.only_tables = ldr_api_names(fcinfo, 2, "only_tables");
	u.force = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);
	u.create_indexes = PG_ARGISNULL(6) || PG_GETARG_BOOL(6);
	if (!PG_ARGISNULL(7))
	{
		u.replace_strategy = text_to_cstring(PG_GETARG_TEXT_PP(7));
		if (!ldr_options_is_replace_strategy(u.replace_strategy))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value \"%s\" for argument \"replace_strategy\"",
							u.replace_strategy),
					 errhint("It is " LDR_REPLACE_STRATEGIES ".")));
	}
	PG_RETURN_TEXT_P(cstring_to_text(ldr_storage_update(&u)));
}
