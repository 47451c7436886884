/*
 * publish/sift_package.c: staged rows that a target refuses become rejects of their files.
 *
 * A staged row does not say which file it came from, and need not where none is refused. So the
 * files of the table are read once more, and each of their rows, as it would be staged, is compared
 * with those that are refused. Of rows that are equal to the last bit the last ones are meant.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "publish/sift.h"
#include "worker/worker.h"

/* Where in the files a row was found. */
typedef struct SiftPlace
{
	int			job;			/* index in jobs */
	LdrReject  *reject;
} SiftPlace;

/* Refused rows that are equal. */
typedef struct SiftRow
{
	uint32		hash;			/* key of the table of them */
	struct SiftRow *next;		/* another one of this hash */
	HeapTuple	tuple;
	List	   *refused;		/* of LdrRefused */
	int64		seen;			/* in the files */
	SiftPlace  *places;			/* of the last ones, as many as are refused */
} SiftRow;

typedef struct SiftEntry
{
	uint32		hash;			/* key */
	SiftRow    *rows;
} SiftEntry;

typedef struct SiftSearch
{
	MemoryContext cxt;
	Relation	rel;
	HTAB	   *rows;
	List	   *all;			/* of SiftRow */
	int			job;			/* being read */
} SiftSearch;

/* --- rows by what is in them ------------------------------------------------------------------ */

static uint32
sift_hash(const SiftSearch *search, TupleTableSlot *slot)
{
	TupleDesc	desc = RelationGetDescr(search->rel);
	uint32		hash = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		uint32		h = 0;

		if (!att->attisdropped && !slot->tts_isnull[i])
			h = datum_image_hash(slot->tts_values[i], att->attbyval, att->attlen);
		hash = hash_combine(hash, h);
	}
	return hash;
}

static bool
sift_equal(const SiftSearch *search, TupleTableSlot *slot, const SiftRow *row)
{
	TupleDesc	desc = RelationGetDescr(search->rel);
	Datum	   *values = palloc(sizeof(Datum) * Max(desc->natts, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(desc->natts, 1));
	bool		equal = true;

	heap_deform_tuple(row->tuple, desc, values, nulls);
	for (int i = 0; equal && i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		equal = nulls[i] == slot->tts_isnull[i] &&
			(nulls[i] || datum_image_eq(values[i], slot->tts_values[i], att->attbyval,
										att->attlen));
	}
	pfree(values);
	pfree(nulls);
	return equal;
}

static SiftRow *
sift_lookup(const SiftSearch *search, TupleTableSlot *slot, uint32 hash)
{
	SiftEntry  *entry = hash_search(search->rows, &hash, HASH_FIND, NULL);

	for (SiftRow *row = entry ? entry->rows : NULL; row; row = row->next)
		if (sift_equal(search, slot, row))
			return row;
	return NULL;
}

/* A staged row that is refused. */
static void
sift_want(SiftSearch *search, TupleTableSlot *slot, LdrRefused *refused)
{
	uint32		hash;
	SiftRow    *row;

	slot_getallattrs(slot);
	hash = sift_hash(search, slot);
	row = sift_lookup(search, slot, hash);
	if (row == NULL)
	{
		bool		found;
		SiftEntry  *entry = hash_search(search->rows, &hash, HASH_ENTER, &found);

		row = palloc0(sizeof(SiftRow));
		row->hash = hash;
		row->next = found ? entry->rows : NULL;
		row->tuple = ExecCopySlotHeapTuple(slot);
		entry->rows = row;
		search->all = lappend(search->all, row);
	}
	row->refused = lappend(row->refused, refused);
}

static void
sift_want_all(SiftSearch *search, const List *refused)
{
	TupleTableSlot *slot = table_slot_create(search->rel, NULL);
	HASHCTL		ctl = {.keysize = sizeof(uint32), .entrysize = sizeof(SiftEntry)};
	ListCell   *lc;

	ctl.hcxt = search->cxt;
	search->rows = hash_create("loader refused rows", list_length(refused), &ctl,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	foreach(lc, refused)
	{
		LdrRefused *r = lfirst(lc);

		if (!table_tuple_fetch_row_version(search->rel, &r->tid, SnapshotSelf, slot))
			elog(ERROR, "row of staging table \"%s\" is not where it was",
				 RelationGetRelationName(search->rel));
		sift_want(search, slot, r);
	}
	ExecDropSingleTupleTableSlot(slot);
	foreach(lc, search->all)
	{
		SiftRow    *row = lfirst(lc);

		row->places = palloc0(sizeof(SiftPlace) * list_length(row->refused));
	}
}

/* --- where they stand ------------------------------------------------------------------------- */

/* LdrLoadLookFn: a row of a file, as it was staged. */
static void
sift_look(void *arg, TupleTableSlot *slot, const LdrReject *where)
{
	SiftSearch *search = arg;
	SiftRow    *row = sift_lookup(search, slot, sift_hash(search, slot));
	SiftPlace  *place;
	MemoryContext old;

	if (row == NULL)
		return;
	place = &row->places[row->seen++ % list_length(row->refused)];
	old = MemoryContextSwitchTo(search->cxt);
	place->job = search->job;
	place->reject = palloc0(sizeof(LdrReject));
	place->reject->line = where->line;
	place->reject->raw = memcpy(palloc(where->raw_len + 1), where->raw, where->raw_len);
	place->reject->raw_len = where->raw_len;
	place->reject->raw_size = where->raw_size;
	MemoryContextSwitchTo(old);
}

/* Is it one of those whose rows are staged for the table? */
static bool
sift_is_of(const LdrJob *job, const LdrSchemaTable *table)
{
	return strcmp(job->table_name, table->name) == 0 && strcmp(job->state, "completed") == 0;
}

/* Read the table's files. Returns the names of columns of each (List of char *), by job. */
static List **
sift_read_files(SiftSearch *search, LdrRun *run, const LdrSchemaTable *table, List *jobs)
{
	List	  **columns = palloc0(sizeof(List *) * Max(list_length(jobs), 1));

	for (int i = 0; i < list_length(jobs); i++)
	{
		LdrJob	   *job = list_nth(jobs, i);
		LdrFormat	format;

		if (!sift_is_of(job, table))
			continue;
		if (!ldr_format_from_name(job->format, &format))
			elog(ERROR, "job \"%s\" has unknown format \"%s\"", job->job_id, job->format);
		search->job = i;
		columns[i] = ldr_load_look(run->dir, job, format, table, search->rel, run->options,
								   sift_look, search);
		ldr_progress_rows(0, 0);
	}
	return columns;
}

/* --- they become rejects ---------------------------------------------------------------------- */

static int
sift_compare_lines(const ListCell *a, const ListCell *b)
{
	int64		x = ((LdrReject *) lfirst(a))->line;
	int64		y = ((LdrReject *) lfirst(b))->line;

	return x < y ? -1 : x > y;
}

/* Equal rows have equal reasons, or nearly so: the first of them that was refused, its place. */
static void
sift_place(const SiftRow *row, List **rejects)
{
	int			n = list_length(row->refused);

	if (row->seen < n)
		ReThrowError(((LdrRefused *) linitial(row->refused))->edata);
	for (int i = 0; i < n; i++)
	{
		const SiftPlace *place = &row->places[(row->seen + i) % n];

		ldr_load_explain(place->reject, ((LdrRefused *) list_nth(row->refused, i))->edata);
		rejects[place->job] = lappend(rejects[place->job], place->reject);
	}
}

static void
sift_record(LdrRun *run, const LdrSchemaTable *table, const LdrJob *job, List *rejects,
			List *columns)
{
	int64		id = run->package->package_id;

	list_sort(rejects, sift_compare_lines);
	ldr_reject_insert(id, job->job_id, rejects);
	ldr_reject_settled_job(id, job, -list_length(rejects), -list_length(rejects));
	if (columns != NIL)
		ldr_job_set_columns(id, job->ordinal, columns);
	ldr_run_stats(run, table)->rows_rejected += list_length(rejects);
	ldr_event(id, "rejected", job->job_id, "%d more rows, which table \"%s\" refused.",
			  list_length(rejects), table->name);
}

/* If the files do not show which row it was, its error is the package's. */
static void
sift_package_refuse(LdrSift *sift, int n, List *refused)
{
	LdrRun	   *run = sift->run;
	const LdrSchemaTable *table = sift->merge->tables[n].table;
	List	   *jobs = ldr_job_list(run->package->package_id, false);
	SiftSearch	search = {0};
	List	  **rejects = palloc0(sizeof(List *) * Max(list_length(jobs), 1));
	List	  **columns;
	ListCell   *lc;

	search.cxt = CurrentMemoryContext;
	search.rel = table_open(ldr_stage_hold(run, table->name), NoLock);
	sift_want_all(&search, refused);
	columns = sift_read_files(&search, run, table, jobs);
	foreach(lc, search.all)
		sift_place(lfirst(lc), rejects);
	for (int i = 0; i < list_length(jobs); i++)
		if (rejects[i] != NIL)
			sift_record(run, table, list_nth(jobs, i), rejects[i], columns[i]);
	table_close(search.rel, NoLock);
	ldr_rejects_check(run->package->package_id, run->options, true);
}

static bool
sift_package_lacks(LdrSift *sift, int n)
{
	return sift->merge->tables[0].table->root->disposition == LDR_MERGE &&
		ldr_reject_count(sift->run->package->package_id, sift->merge->tables[n].table->name) > 0;
}

void
ldr_sift_package(LdrRun *run, LdrMerge *merge, void (*apply) (LdrSift *sift))
{
	LdrSift		sift = {.run = run, .merge = merge, .apply = apply};

	sift.refuse = sift_package_refuse;
	sift.lacks = sift_package_lacks;
	sift.limit = run->options->max_rejected_rows;
	ldr_sift(&sift);
}
