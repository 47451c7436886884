/*
 * catalog/catalog.c: how a statement reaches the extension's own tables. Owns no table.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "catalog/loader_catalog.h"
#include "fault.h"
#include "version.h"

const char *const ldr_library_version = LDR_VERSION;

/* The table everything hangs on; InvalidOid if the extension is not here. */
static Oid
catalog_anchor(void)
{
	Oid			nsp = get_namespace_oid("loader", true);

	return OidIsValid(nsp) ? get_relname_relid("package", nsp) : InvalidOid;
}

/*
 * Is it our catalog? A schema named loader is anybody's to create where the extension is not
 * installed, so the extension itself is asked for too.
 */
bool
ldr_catalog_exists(void)
{
	return OidIsValid(get_extension_oid("loader", true)) && OidIsValid(catalog_anchor());
}

/* A column of the extension's pg_extension row. Caller passes where to put the value. */
static bool
catalog_extension(Oid *owner, char **version)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum("loader"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		bool		isnull;
		Datum		v = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(rel),
									 &isnull);

		if (owner)
			*owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
		if (version)
			*version = isnull ? pstrdup("") : TextDatumGetCString(v);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * The library and the SQL script carry the same version, or neither knows the other's tables. Asked
 * with each statement: the extension may be updated while a process that has the old library works.
 */
static void
catalog_check_version(const char *version)
{
	if (strcmp(version, LDR_VERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("library loader has version %s, but extension \"loader\" has version %s",
						LDR_VERSION, version),
				 errdetail("Database \"%s\".", get_database_name(MyDatabaseId)),
				 errhint("Run ALTER EXTENSION loader UPDATE; where a process has still the old "
						 "library, reconnect, or restart the server.")));
}

void
ldr_catalog_check(void)
{
	char	   *version;

	if (catalog_extension(NULL, &version))
		catalog_check_version(version);
}

/*
 * The owner's identity and search_path pg_catalog hold only inside; an error leaves both to the
 * abort of the (sub)transaction. The path makes plain operators in our statements safe, which
 * keeps them readable; pg_temp comes last and is never searched for functions and operators.
 */
uint64
ldr_catalog_execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls,
					int expect, bool fresh, LdrRowFn fn, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			user,
				owner;
	char	   *version;
	int			sec,
				nest,
				rc;
	uint64		n;

	if (!catalog_extension(&owner, &version))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"loader\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION loader.")));
	catalog_check_version(version);
	pfree(version);
	GetUserIdAndSecContext(&user, &sec);
	SetUserIdAndSecContext(owner, sec | SECURITY_LOCAL_USERID_CHANGE);
	nest = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	/* beside parallel workers only this way of a fresh snapshot is open: we are READ COMMITTED then */
	if (fresh)
		PushActiveSnapshot(IsInParallelMode() ? GetTransactionSnapshot() : GetLatestSnapshot());
	LDR_FAULT("statement on the catalog");
	rc = SPI_execute_with_args(sql, nargs, types, values, nulls, fresh, 0);
	if (fresh)
		PopActiveSnapshot();
	if (rc != expect)
		elog(ERROR, "unexpected result %s of \"%s\"", SPI_result_code_string(rc), sql);
	n = SPI_processed;
	if (fn)
	{
		MemoryContext spi = MemoryContextSwitchTo(caller);

		for (uint64 i = 0; i < n; i++)
			fn(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, arg);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	AtEOXact_GUC(true, nest);
	SetUserIdAndSecContext(user, sec);
	return n;
}

char *
ldr_catalog_text(HeapTuple tuple, TupleDesc desc, int column)
{
	return SPI_getvalue(tuple, desc, column);
}

void
ldr_catalog_read_text(HeapTuple tuple, TupleDesc desc, void *arg)
{
	*(char **) arg = ldr_catalog_text(tuple, desc, 1);
}

void
ldr_catalog_read_int(HeapTuple tuple, TupleDesc desc, void *arg)
{
	*(int64 *) arg = ldr_catalog_int(tuple, desc, 1);
}

void
ldr_catalog_append_id(HeapTuple tuple, TupleDesc desc, void *arg)
{
	int64	   *id = palloc(sizeof(int64));

	*id = ldr_catalog_int(tuple, desc, 1);
	*(List **) arg = lappend(*(List **) arg, id);
}

int64
ldr_catalog_int(HeapTuple tuple, TupleDesc desc, int column)
{
	char	   *text = SPI_getvalue(tuple, desc, column);

	/* through text, so that integer, bigint, oid, xid and boolean columns all do */
	if (text == NULL)
		return 0;
	if (strcmp(text, "t") == 0)
		return 1;
	if (strcmp(text, "f") == 0)
		return 0;
	return strtoll(text, NULL, 10);
}
