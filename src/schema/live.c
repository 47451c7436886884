/*
 * schema/live.c: the tables of a dataset as they are in the database now.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "locks.h"
#include "schema/live.h"
#include "schema/postgis.h"

Oid
ldr_live_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

Oid
ldr_live_schema_owner(Oid namespace)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(namespace));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

List *
ldr_live_relations(Oid namespace)
{
	Relation	rel = table_open(RelationRelationId, AccessShareLock);
	List	   *relids = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_class_relnamespace, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(namespace));
	/* there is no index to begin with the schema */
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		if (form->relkind != RELKIND_INDEX && form->relkind != RELKIND_PARTITIONED_INDEX &&
			form->relkind != RELKIND_COMPOSITE_TYPE)
			relids = lappend_oid(relids, form->oid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return relids;
}

/* Open a relation for a look; NULL if it has gone. */
static Relation
live_open(Oid relid)
{
	Relation	rel;

	ldr_lock_for_look(relid);
	rel = try_relation_open(relid, NoLock);
	if (rel == NULL)
		UnlockRelationOid(relid, AccessShareLock);
	return rel;
}

/*
 * A column's type as ldr_column_type writes it: geometry without its schema, wherever PostGIS is.
 * What else that writes is pg_catalog's, so a type that shows its schema is another one.
 */
static char *
live_type(Form_pg_attribute att)
{
	char	   *type = format_type_with_typemod(att->atttypid, att->atttypmod);

	if (att->atttypid < FirstNormalObjectId || TypeIsVisible(att->atttypid) ||
		att->atttypid != ldr_geometry_type(NULL))
		return type;
	return strrchr(type, '.') + 1;
}

Oid
ldr_live_table(Oid namespace, const char *name, LdrLiveTable *live)
{
	Oid			relid = OidIsValid(namespace) ? get_relname_relid(name, namespace) : InvalidOid;
	Relation	rel = OidIsValid(relid) ? live_open(relid) : NULL;
	TupleDesc	desc;
	LdrLiveColumn *columns;

	memset(live, 0, sizeof(*live));
	if (rel == NULL)
		return InvalidOid;
	desc = RelationGetDescr(rel);
	columns = palloc0(sizeof(LdrLiveColumn) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		columns[live->ncolumns].name = pstrdup(NameStr(att->attname));
		columns[live->ncolumns].type = live_type(att);
		columns[live->ncolumns].nullable = !att->attnotnull;
		live->ncolumns++;
	}
	live->exists = true;
	live->columns = columns;
	relation_close(rel, AccessShareLock);
	return relid;
}

/* A type, or one that it is made of, may bring casts and operators of its owner with it. */
static bool
live_has_own_types(Relation rel)
{
	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

		if (!att->attisdropped && att->atttypid >= FirstNormalObjectId)
			return true;
	}
	return false;
}

/* What may the current role do with the relation of that name? InvalidOid: not even look. */
static Oid
live_permitted(const char *dataset, const char *name)
{
	Oid			nsp = get_namespace_oid(dataset, true);
	Oid			relid = OidIsValid(nsp) ? get_relname_relid(name, nsp) : InvalidOid;

	if (!OidIsValid(relid) ||
		ldr_namespace_aclcheck(nsp, GetUserId(), ACL_USAGE) != ACLCHECK_OK ||
		pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		return InvalidOid;
	return relid;
}

/* Others that inherit from it are read with it: plain tables, too, and not what a server brings. */
static bool
live_is_plain(Relation rel)
{
	ListCell   *lc;

	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return false;
	foreach(lc, find_all_inheritors(RelationGetRelid(rel), AccessShareLock, NULL))
	{
		char		kind = get_rel_relkind(lfirst_oid(lc));

		if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
			return false;
	}
	return true;
}

/* Looked at with its lock held: what it is, and that it is the one of that name, stays so. */
Relation
ldr_live_readable(const char *dataset, const char *name)
{
	Oid			relid = live_permitted(dataset, name);
	Relation	rel = OidIsValid(relid) ? try_relation_open(relid, AccessShareLock) : NULL;

	if (rel == NULL)
		return NULL;
	if (live_permitted(dataset, name) == relid && live_is_plain(rel) &&
		!live_has_own_types(rel) && check_enable_rls(relid, InvalidOid, true) == RLS_NONE)
		return rel;
	relation_close(rel, AccessShareLock);
	return NULL;
}

static bool
live_each_of(Relation rel, Snapshot snapshot, LdrLiveRowFn fn, void *arg)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader row",
											  ALLOCSET_DEFAULT_SIZES);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	bool		more = true;

	while (more && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(cxt);
		more = fn(slot, arg);
	}
	MemoryContextSwitchTo(old);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(cxt);
	return more;
}

bool
ldr_live_each(Relation rel, LdrLiveRowFn fn, void *arg)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		more = true;
	ListCell   *lc;

	foreach(lc, find_all_inheritors(RelationGetRelid(rel), AccessShareLock, NULL))
	{
		Relation	child = table_open(lfirst_oid(lc), NoLock);

		if (more && child->rd_rel->relkind == RELKIND_RELATION)
			more = live_each_of(child, snapshot, fn, arg);
		table_close(child, NoLock);
	}
	UnregisterSnapshot(snapshot);
	return more;
}

static Oid
live_find(const char *dataset, const char *name)
{
	Oid			nsp = get_namespace_oid(dataset, true);

	return OidIsValid(nsp) ? get_relname_relid(name, nsp) : InvalidOid;
}

/* The one relation of the dataset that is called so but for the case of letters; NULL if none is. */
static char *
live_find_folded(const char *dataset, const char *name)
{
	Oid			nsp = get_namespace_oid(dataset, true);
	char	   *found = NULL;
	ListCell   *lc;

	if (!OidIsValid(nsp))
		return NULL;
	foreach(lc, ldr_live_relations(nsp))
	{
		char	   *relname = get_rel_name(lfirst_oid(lc));

		if (relname == NULL || pg_strcasecmp(relname, name) != 0)
			continue;
		if (found)
			return NULL;
		found = relname;
	}
	return found;
}

Oid
ldr_live_own_table(const char *dataset, const char *name, const char **found)
{
	Oid			relid = live_find(dataset, name);
	char	   *folded;

	*found = name;
	if (OidIsValid(relid))
		return relid;
	folded = live_find_folded(dataset, name);
	if (folded == NULL)
		return InvalidOid;
	*found = folded;
	return live_find(dataset, folded);
}
