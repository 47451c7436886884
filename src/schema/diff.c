/*
 * schema/diff.c: what a live table lacks to hold rows of a package's table. No postgres.h.
 *
 * Additive only: nothing is dropped, and a type that differs stays as it is.
 */
#include "schema/schema.h"

#include <stdlib.h>
#include <string.h>

/* Room for any type that ldr_column_type writes. */
#define DIFF_TYPE_SIZE 64

static int
diff_compare_live(const void *a, const void *b)
{
	return strcmp((*(const LdrLiveColumn *const *) a)->name,
				  (*(const LdrLiveColumn *const *) b)->name);
}

/*
 * The live columns in order of their names, for diff_find. NULL if memory is out; never NULL for
 * a table without columns.
 */
static const LdrLiveColumn **
diff_sort_live(const LdrLiveTable *live)
{
	const LdrLiveColumn **order = malloc((live->ncolumns + 1) * sizeof(*order));

	if (order == NULL)
		return NULL;
	for (int i = 0; i < live->ncolumns; i++)
		order[i] = &live->columns[i];
	qsort(order, live->ncolumns, sizeof(*order), diff_compare_live);
	return order;
}

static const LdrLiveColumn *
diff_find(const LdrLiveColumn **order, int n, const char *name)
{
	LdrLiveColumn key = {.name = name};
	const LdrLiveColumn *keyp = &key;
	const LdrLiveColumn **found;

	found = bsearch(&keyp, order, n, sizeof(keyp), diff_compare_live);
	return found == NULL ? NULL : *found;
}

/* The typed columns of a table that does not exist yet must all have a type in PostgreSQL. */
static LdrStatus
diff_create(const LdrSchemaTable *table, LdrChange *changes, int *n, LdrError *err)
{
	char		type[DIFF_TYPE_SIZE];
	int			typed = 0;

	for (int i = 0; i < table->ncolumns; i++)
	{
		const LdrSchemaColumn *column = &table->columns[i];
		LdrStatus	status;

		if (column->type == LDR_TYPE_NONE)
			continue;
		status = ldr_column_type(column, table->file_format, type, sizeof(type), err);
		if (status != LDR_OK)
			return status;
		typed++;
	}
	/* dlt does not create a table of which it knows no column */
	if (typed > 0)
		changes[(*n)++] = (LdrChange) {.kind = LDR_CREATE_TABLE, .table = table};
	return LDR_OK;
}

/* Compare one typed column with what is there under its name (NULL: nothing). */
static LdrStatus
diff_column(const LdrSchemaTable *table, const LdrSchemaColumn *column,
			const LdrLiveColumn *live, LdrChange *changes, int *n, LdrError *err)
{
	LdrError	ignored = {0};
	char		type[DIFF_TYPE_SIZE];
	LdrStatus	status;

	status = ldr_column_type(column, table->file_format, type, sizeof(type),
							 live == NULL ? err : &ignored);
	if (live == NULL)
	{
		if (status != LDR_OK)
			return status;
		changes[(*n)++] = (LdrChange) {.kind = LDR_ADD_COLUMN, .table = table, .column = column};
		return LDR_OK;
	}
	/* a column that exists need not have the declared type, so an impossible one does no harm */
	if (status != LDR_OK || strcmp(type, live->type) != 0)
		changes[(*n)++] = (LdrChange) {.kind = LDR_KEEP_TYPE, .table = table, .column = column,
			.live_type = live->type};
	return LDR_OK;
}

LdrStatus
ldr_schema_diff(const LdrSchemaTable *table, const LdrLiveTable *live, LdrChange **changes,
				int *n, LdrError *err)
{
	const LdrLiveColumn **order = NULL;
	LdrStatus	status = LDR_OK;

	*n = 0;
	/* at most one change a column, and one for a table */
	*changes = malloc((table->ncolumns + 1) * sizeof(**changes));
	if (*changes != NULL && live->exists)
		order = diff_sort_live(live);
	if (*changes == NULL || (live->exists && order == NULL))
		status = ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
	else if (!live->exists)
		status = diff_create(table, *changes, n, err);
	else
	{
		for (int i = 0; i < table->ncolumns && status == LDR_OK; i++)
		{
			const LdrSchemaColumn *column = &table->columns[i];

			if (column->type != LDR_TYPE_NONE)
				status = diff_column(table, column,
									 diff_find(order, live->ncolumns, column->name),
									 *changes, n, err);
		}
	}

	free(order);
	if (status != LDR_OK)
	{
		free(*changes);
		*changes = NULL;
		*n = 0;
	}
	return status;
}
