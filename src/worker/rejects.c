/*
 * worker/rejects.c: rows that are refused while the load goes on (on_error => 'reject').
 *
 * They are written by the transaction that holds the rows of their job, so a retry has each of them
 * once. By then the reader is far behind the row, so the bytes of each row are kept until its batch
 * is settled.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "worker/rejects.h"

#define PENDING_BYTES	(8 * 1024 * 1024)
#define PENDING_ROWS	10000
#define STORE_ROWS		500		/* in one statement */
#define STORE_BYTES		(1024 * 1024)

/* --- rows that were read and may still be refused -------------------------------------------- */

typedef struct PendingRow
{
	int64		line;
	const char *raw;			/* until it is saved ... */
	size_t		offset;			/* ... and then, in bytes */
	size_t		size;
} PendingRow;

struct LdrPending
{
	int64		first;			/* number of rows[0] */
	int			n;
	int			saved;			/* so many have their bytes here */
	int			size;
	PendingRow *rows;
	size_t		used;
	size_t		allocated;
	char	   *bytes;
};

LdrPending *
ldr_pending_create(void)
{
	LdrPending *p = palloc0(sizeof(LdrPending));

	p->size = 1024;
	p->rows = palloc(sizeof(PendingRow) * p->size);
	p->allocated = 64 * 1024;
	p->bytes = palloc(p->allocated);
	return p;
}

/* As many bytes of a row as are kept. */
static size_t
pending_kept(const PendingRow *row)
{
	return Min(row->size, LDR_REJECT_RAW_MAX);
}

void
ldr_pending_add(LdrPending *p, int64 row, int64 line, const char *raw, size_t len)
{
	if (p->n == 0)
		p->first = row;
	if (p->n == p->size)
	{
		p->size *= 2;
		p->rows = repalloc_huge(p->rows, sizeof(PendingRow) * p->size);
	}
	p->rows[p->n++] = (PendingRow) {.line = line, .raw = raw, .size = len};
}

void
ldr_pending_save(void *arg)
{
	LdrPending *p = arg;

	for (; p->saved < p->n; p->saved++)
	{
		PendingRow *row = &p->rows[p->saved];
		size_t		kept = pending_kept(row);

		if (p->used + kept > p->allocated)
		{
			p->allocated = Max(p->allocated * 2, p->used + kept);
			p->bytes = repalloc_huge(p->bytes, p->allocated);
		}
		memcpy(p->bytes + p->used, row->raw, kept);
		row->offset = p->used;
		p->used += kept;
	}
}

void
ldr_pending_drop(LdrPending *p, int64 row)
{
	int64		n = row - p->first;

	if (p->n == 0 || n <= 0)
		return;
	if (n >= p->n)
	{
		p->n = p->saved = 0;
		p->used = 0;
		return;
	}
	/* those that are left are few, and newer than what was saved */
	memmove(p->rows, p->rows + n, sizeof(PendingRow) * (p->n - n));
	p->n -= n;
	p->saved = Max(p->saved - n, 0);
	p->first = row;
	if (p->saved == 0)
		p->used = 0;
}

void
ldr_pending_fill(const LdrPending *p, int64 row, LdrReject *reject)
{
	const PendingRow *r = &p->rows[row - p->first];

	if (row < p->first || row >= p->first + p->n)
		elog(ERROR, "row " INT64_FORMAT " is not among those that wait", row);
	reject->line = r->line;
	reject->raw = row - p->first < p->saved ? p->bytes + r->offset : r->raw;
	reject->raw_len = pending_kept(r);
	reject->raw_size = r->size;
}

bool
ldr_pending_is_full(const LdrPending *p)
{
	return p->used > PENDING_BYTES || p->n > PENDING_ROWS;
}

/* --- the rejects of a job ------------------------------------------------------------------- */

typedef struct JobRejects
{
	LdrRejects	base;			/* first: an LdrRejects is one of these */
	int64		package_id;
	const LdrJob *job;
	const LdrOptions *options;
	int64		before;			/* rows that other jobs have set aside */
	char	   *first;			/* what the first one of this job was */
	MemoryContext cxt;			/* of the list, emptied when it is stored */
	List	   *list;			/* of LdrReject, not stored yet */
	size_t		bytes;
} JobRejects;

/*
 * The rejects are gone with the transaction, so the message is all that is left of them: the first
 * one, and, where they were counted as they came, the one that was too many, which may have another
 * reason; where they were counted at the end, how many there were.
 */
static void
__attribute__((noreturn))
rejects_raise(const LdrOptions *options, const char *first, const char *last, int64 rejected,
			  int64 read)
{
	StringInfoData detail;

	initStringInfo(&detail);
	if (last == NULL)
		appendStringInfo(&detail, INT64_FORMAT " of " INT64_FORMAT " rows. ", rejected, read);
	if (first)
		appendStringInfo(&detail, "The first one: %s", first);
	if (last && first && strcmp(first, last) != 0)
		appendStringInfo(&detail, "%s The last one: %s",
						 strchr(".!?", first[strlen(first) - 1]) ? "" : ".", last);
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("more than %s of the package's rows were rejected", options->max_rejects),
			 errdetail("%s", detail.data),
			 errhint("Mend the data, or load the directory again with a larger max_rejects.")));
}

bool
ldr_rejects_is_limit(const ErrorData *edata)
{
	return edata->sqlerrcode == ERRCODE_DATA_EXCEPTION && edata->funcname &&
		strcmp(edata->funcname, "rejects_raise") == 0;
}

/* 'File "a.csv", line 3, column "id": it is no number' */
static char *
rejects_describe(const LdrJob *job, const LdrReject *reject)
{
	const char *column = reject->column;

	return psprintf("File \"%s\", line " INT64_FORMAT "%s%s%s: %s", job->file_name, reject->line,
					column ? ", column \"" : "", column ? column : "", column ? "\"" : "",
					reject->message);
}

static void
rejects_write(JobRejects *self)
{
	if (self->list == NIL)
		return;
	ldr_reject_insert(self->package_id, self->job->job_id, self->list);
	self->list = NIL;
	self->bytes = 0;
	MemoryContextReset(self->cxt);
}

static void
rejects_add(LdrRejects *base, const LdrReject *reject)
{
	JobRejects *self = (JobRejects *) base;
	MemoryContext old;

	base->count++;
	if (self->first == NULL)
	{
		old = MemoryContextSwitchTo(MemoryContextGetParent(self->cxt));
		self->first = rejects_describe(self->job, reject);
		MemoryContextSwitchTo(old);
	}
	if (self->options->max_rejected_rows >= 0 &&
		self->before + base->count > self->options->max_rejected_rows)
		rejects_raise(self->options,
					  self->before > 0 ? ldr_reject_first(self->package_id) : self->first,
					  rejects_describe(self->job, reject), 0, 0);
	old = MemoryContextSwitchTo(self->cxt);
	self->list = lappend(self->list, ldr_reject_copy(reject));
	self->bytes += reject->raw_len;
	MemoryContextSwitchTo(old);
}

static void
rejects_store(LdrRejects *base)
{
	JobRejects *self = (JobRejects *) base;

	if (list_length(self->list) >= STORE_ROWS || self->bytes >= STORE_BYTES)
		rejects_write(self);
}

LdrRejects *
ldr_rejects_of_job(int64 package_id, const LdrJob *job, const LdrOptions *options)
{
	JobRejects *self = palloc0(sizeof(JobRejects));

	self->base.add = rejects_add;
	self->base.store = rejects_store;
	self->package_id = package_id;
	self->job = job;
	self->options = options;
	self->cxt = AllocSetContextCreate(CurrentMemoryContext, "loader rejects",
									  ALLOCSET_DEFAULT_SIZES);
	ldr_reject_delete_job(package_id, job->job_id);
	self->before = ldr_reject_total(package_id, job->ordinal, NULL);
	return &self->base;
}

void
ldr_rejects_end(LdrRejects *base, List *columns)
{
	JobRejects *self = (JobRejects *) base;

	rejects_write(self);
	if (base->count > 0 && columns != NIL)
		ldr_job_set_columns(self->package_id, self->job->ordinal, columns);
}

void
ldr_rejects_check(int64 package_id, const LdrOptions *options, bool complete)
{
	int64		read;
	int64		rejected;

	if (options->max_rejects == NULL || (options->max_rejected_rows < 0 && !complete))
		return;
	rejected = ldr_reject_total(package_id, 0, &read);
	if (options->max_rejected_rows >= 0 ? rejected <= options->max_rejected_rows
		: (double) rejected <= options->max_rejected_share * (double) read)
		return;
	rejects_raise(options, ldr_reject_first(package_id), NULL, rejected, read);
}
