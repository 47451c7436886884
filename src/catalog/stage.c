/*
 * catalog/stage.c: loader.stage, relations that a package has for itself until it ends.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "catalog/loader_catalog.h"

/* Does a package still need what it has? Of a row of loader.stage called s. */
#define STAGE_IS_LIVE \
	"EXISTS (SELECT FROM loader.package p WHERE p.package_id = s.package_id " \
	"AND p.state IN ('new', 'loading'))"

/*
 * In job mode nobody knows whether a client comes back: the staging tables of such a package are
 * there for others who empty them. Its jobs whose rows are in one have to run again, which what
 * follows for their chain sees to.
 */
void
ldr_stage_seize(Oid relation)
{
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(relation)};

	ldr_catalog_execute("UPDATE loader.job j "
						"SET state = 'new', relation = NULL, finished_at = NULL "
						"FROM loader.stage s JOIN loader.package p USING (package_id) "
						"WHERE s.relation = $1 AND p.mode = 'job' "
						"AND p.state IN ('new', 'loading') AND j.package_id = p.package_id "
						"AND j.relation = $1 AND j.kind = 'load' AND j.state = 'completed' "
						"AND NOT " LDR_JOB_IS_FOLLOWED,
						1, types, values, NULL, SPI_OK_UPDATE, false, NULL, NULL);
	ldr_catalog_execute("DELETE FROM loader.stage s USING loader.package p "
						"WHERE s.relation = $1 AND p.package_id = s.package_id "
						"AND p.mode = 'job'",
						1, types, values, NULL, SPI_OK_DELETE, false, NULL, NULL);
}

/*
 * Note that a relation is the package's; part of the transaction that makes or empties it. A table
 * of the staging dataset may have been that of a package that has ended. Raises 55P03, which is
 * tried again, if it is that of one that has not.
 */
void
ldr_stage_insert(const LdrStage *stage)
{
	Oid			types[] = {OIDOID, INT8OID, TEXTOID, TEXTOID, OIDOID, INT8OID};
	Datum		values[] = {ObjectIdGetDatum(stage->relation), Int64GetDatum(stage->package_id),
		CStringGetTextDatum(stage->table_name), CStringGetTextDatum(stage->kind),
	ObjectIdGetDatum(stage->target), Int64GetDatum(stage->fingerprint)};
	char		nulls[] = {' ', ' ', ' ', ' ', OidIsValid(stage->target) ? ' ' : 'n',
	OidIsValid(stage->target) ? ' ' : 'n'};

	if (ldr_catalog_execute("INSERT INTO loader.stage AS s (relation, package_id, table_name, "
							"kind, target, fingerprint) VALUES ($1, $2, $3, $4, $5, $6) "
							"ON CONFLICT (relation) DO UPDATE SET "
							"package_id = excluded.package_id, table_name = excluded.table_name, "
							"kind = excluded.kind, target = excluded.target, "
							"fingerprint = excluded.fingerprint "
							"WHERE s.package_id = $2 OR NOT " STAGE_IS_LIVE,
							6, types, values, nulls, SPI_OK_INSERT, false, NULL, NULL) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("staging table \"%s\" belongs to another package", stage->table_name),
				 errhint("It is free when that package has ended. Datasets need staging datasets "
						 "of their own: see staging_dataset_name_layout.")));
}

void
ldr_stage_delete(Oid relation)
{
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(relation)};

	ldr_catalog_execute("DELETE FROM loader.stage WHERE relation = $1",
						1, types, values, NULL, SPI_OK_DELETE, false, NULL, NULL);
}

static void
stage_append(HeapTuple t, TupleDesc d, void *arg)
{
	LdrStage   *s = palloc0(sizeof(LdrStage));

	s->relation = (Oid) ldr_catalog_int(t, d, 1);
	s->package_id = ldr_catalog_int(t, d, 2);
	s->table_name = ldr_catalog_text(t, d, 3);
	s->kind = ldr_catalog_text(t, d, 4);
	s->target = (Oid) ldr_catalog_int(t, d, 5);
	s->fingerprint = ldr_catalog_int(t, d, 6);
	*(List **) arg = lappend(*(List **) arg, s);
}

#define STAGE_COLUMNS \
	"s.relation, s.package_id, s.table_name, s.kind, s.target, s.fingerprint"

List *
ldr_stage_list(int64 package_id)
{
	List	   *stages = NIL;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	ldr_catalog_execute("SELECT " STAGE_COLUMNS " FROM loader.stage s WHERE package_id = $1 "
						"ORDER BY relation",
						1, types, values, NULL, SPI_OK_SELECT, false, stage_append, &stages);
	return stages;
}

List *
ldr_stage_orphans(void)
{
	List	   *stages = NIL;

	ldr_catalog_execute("SELECT " STAGE_COLUMNS " FROM loader.stage s WHERE NOT " STAGE_IS_LIVE
						" ORDER BY relation",
						0, NULL, NULL, NULL, SPI_OK_SELECT, true, stage_append, &stages);
	return stages;
}

static bool
stage_finds(const char *sql, Oid relation)
{
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(relation)};

	return ldr_catalog_execute(sql, 1, types, values, NULL, SPI_OK_SELECT, true, NULL, NULL) > 0;
}

bool
ldr_stage_is_of(Oid relation, int64 package_id)
{
	Oid			types[] = {OIDOID, INT8OID};
	Datum		values[] = {ObjectIdGetDatum(relation), Int64GetDatum(package_id)};

	return ldr_catalog_execute("SELECT FROM loader.stage WHERE relation = $1 AND package_id = $2",
							   2, types, values, NULL, SPI_OK_SELECT, true, NULL, NULL) > 0;
}

bool
ldr_stage_is_seizable(Oid relation)
{
	return stage_finds("SELECT FROM loader.stage s JOIN loader.package p USING (package_id) "
					   "WHERE s.relation = $1 AND p.mode = 'job' AND p.state IN ('new', 'loading')",
					   relation);
}

bool
ldr_stage_exists(Oid relation)
{
	return stage_finds("SELECT FROM loader.stage s WHERE relation = $1", relation);
}

bool
ldr_stage_is_orphan(Oid relation)
{
	return stage_finds("SELECT FROM loader.stage s WHERE relation = $1 AND NOT " STAGE_IS_LIVE,
					   relation);
}

LdrStage *
ldr_stage_of_live(const List *relids)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(list_length(relids), 1));
	List	   *stages = NIL;
	Oid			types[] = {OIDARRAYOID};
	Datum		values[1];
	int			n = 0;
	const ListCell *lc;

	foreach(lc, relids)
		elements[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	values[0] = PointerGetDatum(construct_array(elements, n, OIDOID, sizeof(Oid), true,
												TYPALIGN_INT));
	ldr_catalog_execute("SELECT " STAGE_COLUMNS " FROM loader.stage s WHERE relation = ANY ($1) "
						"AND " STAGE_IS_LIVE " ORDER BY package_id, table_name LIMIT 1",
						1, types, values, NULL, SPI_OK_SELECT, true, stage_append, &stages);
	return stages == NIL ? NULL : linitial(stages);
}
