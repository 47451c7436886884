/*
 * schema/postgis.c: PostGIS's type geometry, wherever that is.
 *
 * dlt writes the bare name and lets search_path find it, which is the dataset and public there. What
 * the hint means is the type of PostGIS, which a database has in one schema only, as the extension
 * cannot be moved. So that schema is looked up and written: a load does not depend on the search_path
 * of the session that started it, and no other type of that name can come in between.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "schema/postgis.h"

/* The schema that holds what the extension postgis has made; InvalidOid if it is not here. */
static Oid
postgis_namespace(void)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	Oid			namespace = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum("postgis"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		namespace = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return namespace;
}

Oid
ldr_geometry_type(char **schema)
{
	Oid			namespace = postgis_namespace();

	if (!OidIsValid(namespace))
		return InvalidOid;
	if (schema != NULL)
		*schema = get_namespace_name(namespace);
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("geometry"),
						   ObjectIdGetDatum(namespace));
}
