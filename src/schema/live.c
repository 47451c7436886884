/*
 * schema/live.c: the tables of a dataset as they are in the database now.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
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
live_has_own_types(Oid relid)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	bool		found = false;

	if (rel == NULL)
		return true;
	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

		found = found || (!att->attisdropped && att->atttypid >= FirstNormalObjectId);
	}
	relation_close(rel, AccessShareLock);
	return found;
}

/*
 * Only a table whose reading runs nobody else's code: no view, no row security of another owner, no
 * column of a type that somebody made.
 */
Oid
ldr_live_readable(const char *dataset, const char *name)
{
	Oid			nsp = get_namespace_oid(dataset, true);
	Oid			relid = OidIsValid(nsp) ? get_relname_relid(name, nsp) : InvalidOid;
	char		kind = OidIsValid(relid) ? get_rel_relkind(relid) : '\0';

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		return InvalidOid;
	if (ldr_namespace_aclcheck(nsp, GetUserId(), ACL_USAGE) != ACLCHECK_OK ||
		pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK ||
		check_enable_rls(relid, InvalidOid, true) != RLS_NONE || live_has_own_types(relid))
		return InvalidOid;
	return relid;
}

static Oid
live_find(const char *dataset, const char *name, bool readable)
{
	Oid			nsp;

	if (readable)
		return ldr_live_readable(dataset, name);
	nsp = get_namespace_oid(dataset, true);
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
ldr_live_own_table(const char *dataset, const char *name, bool readable, const char **found)
{
	Oid			relid = live_find(dataset, name, readable);
	char	   *folded;

	*found = name;
	if (OidIsValid(relid))
		return relid;
	folded = live_find_folded(dataset, name);
	if (folded == NULL)
		return InvalidOid;
	*found = folded;
	return live_find(dataset, folded, readable);
}
