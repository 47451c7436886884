/*
 * api/reject.c: loader_replay, loader_discard, and the text of rejected rows.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "api/api.h"
#include "convert/encoding.h"
#include "worker/replay.h"

PG_FUNCTION_INFO_V1(loader_raw_text);
PG_FUNCTION_INFO_V1(loader_replay);
PG_FUNCTION_INFO_V1(loader_discard);

/* Convert what is valid in its encoding; NULL if the database's lacks a character of it. */
static text *
reject_convert(const char *data, int len, int encoding)
{
	Oid			proc = FindDefaultConversionProc(encoding, GetDatabaseEncoding());
	int			size = len * MAX_CONVERSION_GROWTH + 1;
	unsigned char *dest;

	if (!OidIsValid(proc))
		return NULL;
	dest = palloc(size);
	if (pg_do_encoding_conversion_buf(proc, encoding, GetDatabaseEncoding(),
									  (unsigned char *) data, len, dest, size, true) < len)
		return NULL;
	return cstring_to_text((char *) dest);
}

/* raw_text(raw, encoding): never an error, as one bad row would make the whole view unreadable. */
Datum
loader_raw_text(PG_FUNCTION_ARGS)
{
	bytea	   *raw;
	char	   *data;
	int			len;
	int			encoding = PG_UTF8;
	text	   *result;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	raw = PG_GETARG_BYTEA_PP(0);
	data = VARDATA_ANY(raw);
	len = VARSIZE_ANY_EXHDR(raw);
	if (!PG_ARGISNULL(1))
	{
		const char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));

		if (pg_strcasecmp(name, "utf-8") != 0)
			encoding = pg_char_to_encoding(name);
	}
	if (ldr_is_plain_ascii(data, len))
		PG_RETURN_TEXT_P(cstring_to_text_with_len(data, len));
	if (!PG_VALID_BE_ENCODING(encoding) || !pg_verify_mbstr(encoding, data, len, true))
		PG_RETURN_NULL();
	if (encoding == GetDatabaseEncoding())
		PG_RETURN_TEXT_P(cstring_to_text_with_len(data, len));
	result = reject_convert(data, len, encoding);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}

/* A package of the caller's that has ended; nobody else touches its rejects until we commit. */
static LdrPackage *
reject_package(int64 package_id)
{
	LdrPackage *package = ldr_api_package(package_id, true);
	bool		locked = ldr_api_lock(package);

	package = ldr_api_package(package_id, true);
	if (!locked && ldr_package_has_ended(package))
		ldr_api_raise_in_use(package_id);
	if (!ldr_package_has_ended(package))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("package " INT64_FORMAT " has not ended", package_id),
				 errdetail("Its state is %s.", package->state),
				 errhint("Wait until it is loaded (loader_wait), or call loader_cancel.")));
	return package;
}

/* The table that is named, NULL: all. A name that is not one of the package's was mistyped. */
static char *
reject_table(FunctionCallInfo fcinfo, int64 package_id)
{
	char	   *table_name = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));

	if (table_name && !ldr_job_has_table(package_id, table_name))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("package " INT64_FORMAT " has no file of table \"%s\"", package_id,
						table_name),
				 errhint("See the view loader.jobs; the name is without that of the dataset.")));
	return table_name;
}

/*
 * Whoever has put on a role to do this keeps it while code of the tables runs; an abort, of a
 * subtransaction as well, takes it back by itself.
 */
static void
reject_replay(const LdrPackage *package, const char *table_name, int64 *loaded, int64 *left)
{
	Oid			user;
	int			sec;

	GetUserIdAndSecContext(&user, &sec);
	SetUserIdAndSecContext(user, sec | SECURITY_LOCAL_USERID_CHANGE);
	ldr_replay(package, table_name, loaded, left);
	SetUserIdAndSecContext(user, sec);
}

/* loader_replay(package_id, table_name): in the caller's transaction, and with its rights. */
Datum
loader_replay(PG_FUNCTION_ARGS)
{
	LdrPackage *package;
	TupleDesc	desc;
	int64		loaded;
	int64		left;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	ldr_api_writes("loader_replay()");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	package = reject_package(PG_GETARG_INT64(0));
	reject_replay(package, reject_table(fcinfo, package->package_id), &loaded, &left);
	values[0] = Int64GetDatum(loaded);
	values[1] = Int64GetDatum(left);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* loader_discard(package_id, table_name) */
Datum
loader_discard(PG_FUNCTION_ARGS)
{
	int64		package_id;
	char	   *table_name;
	int64		removed;

	ldr_api_writes("loader_discard()");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	package_id = reject_package(PG_GETARG_INT64(0))->package_id;
	table_name = reject_table(fcinfo, package_id);
	removed = ldr_reject_discard(package_id, table_name);
	if (removed > 0)
		ldr_event(package_id, "discarded", table_name, "Rejected rows removed: " INT64_FORMAT ".",
				  removed);
	PG_RETURN_INT64(removed);
}
