/*
 * worker/load.c: one job file into one table: reader -> convert -> sink.
 *
 * Memory is bounded by the batch: a row's fields are slices of the reader's window, its Datums
 * live in the sink's batch, which the sink empties when it is full.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "loader.h"
#include "sink/storage.h"
#include "worker/load_file.h"
#include "worker/parallel.h"
#include "worker/worker.h"

#define MAX_MESSAGE 1000		/* bytes of an error's message or detail */

static void
load_close_reader(void *reader)
{
	ldr_reader_close(reader);
}

/* The names that a file may have columns of: those of the live table, by attribute number. */
LdrColumnName *
ldr_load_column_names(TupleDesc desc, AttrNumber *attnums, int *n)
{
	LdrColumnName *names = palloc(sizeof(LdrColumnName) * Max(desc->natts, 1));

	*n = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Oid			base;

		if (att->attisdropped)
			continue;
		base = getBaseType(att->atttypid);
		names[*n].name = pg_server_to_any(NameStr(att->attname), strlen(NameStr(att->attname)),
										  PG_UTF8);
		names[*n].raw_json = base == JSONBOID || base == JSONOID;
		attnums[*n] = att->attnum;
		(*n)++;
	}
	return names;
}

/*
 * The columns of a csv file without a header: those of the package's schema that have a type, in
 * its order, wherever they stand in the live table.
 */
static LdrColumnName *
load_schema_names(const LdrSchemaTable *table, Relation rel, AttrNumber *attnums, int *n)
{
	LdrColumnName *names = palloc0(sizeof(LdrColumnName) * Max(table->ncolumns, 1));

	*n = 0;
	for (int i = 0; i < table->ncolumns; i++)
	{
		const char *name = table->columns[i].name;

		if (table->columns[i].type == LDR_TYPE_NONE)
			continue;
		names[*n].name = name;
		attnums[*n] = get_attnum(RelationGetRelid(rel), pg_any_to_server(name, strlen(name),
																		 PG_UTF8));
		if (attnums[*n] <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("the table does not have column \"%s\" of the package",
							ldr_printable(name))));
		(*n)++;
	}
	return names;
}

/* Have it closed when the current memory context goes. */
void
ldr_load_keep_reader(LdrReader *reader)
{
	MemoryContextCallback *cb = palloc0(sizeof(MemoryContextCallback));

	cb->func = load_close_reader;
	cb->arg = reader;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, cb);
}

LdrReader *
ldr_load_reader(LdrPackageDir *dir, const char *file_name, const LdrFileStamp *stamp,
				LdrFormat format,
				const LdrColumnName *names, int n, const LdrOptions *options)
{
	LdrReaderOptions ro = {
		.columns = names, .ncolumns = n,
		.delimiter = options->csv_delimiter, .no_header = !options->csv_header
	};
	LdrError	err = {0};
	LdrReader  *reader = ldr_reader_open(format, ldr_package_job_source(dir, file_name, stamp),
										 &ro, &err);

	if (reader == NULL)
		ldr_raise(&err, file_name);
	ldr_load_keep_reader(reader);
	return reader;
}

/* Which attribute each field of a row is for; all: of the columns that the reader was given. */
void
ldr_load_attnums(LdrLoad *load, const AttrNumber *all)
{
	load->attnums = palloc(sizeof(AttrNumber) * Max(load->reader->ncolumns, 1));
	for (int i = 0; i < load->reader->ncolumns; i++)
		load->attnums[i] = all[load->reader->columns[i]];
}

/* A reader for the columns of the live table, and which attribute each field of a row is for. */
static void
load_open(LdrLoad *load, LdrPackageDir *dir, const LdrFileStamp *stamp, LdrFormat format,
		  const LdrSchemaTable *table, const LdrOptions *options)
{
	TupleDesc	desc = RelationGetDescr(load->rel);
	AttrNumber *all = palloc(sizeof(AttrNumber) * Max(Max(desc->natts, table->ncolumns), 1));
	int			n;
	LdrColumnName *names = format == LDR_CSV && !options->csv_header
		? load_schema_names(table, load->rel, all, &n) : ldr_load_column_names(desc, all, &n);

	load->reader = ldr_load_reader(dir, load->path, stamp, format, names, n, options);
	load->names = names;
	load->nnames = n;
	ldr_load_attnums(load, all);
}

void
ldr_load_converters(LdrLoad *load, LdrFormat format, int encoding)
{
	TupleDesc	desc = RelationGetDescr(load->rel);

	load->format = format;
	load->encoding = encoding;
	load->converters = palloc0(sizeof(LdrConverter) * Max(load->reader->ncolumns, 1));
	for (int i = 0; i < load->reader->ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, load->attnums[i] - 1);

		ldr_converter_init(&load->converters[i], att->atttypid, att->atttypmod, !att->attnotnull,
						   format, encoding);
	}
}

void
ldr_load_file_converters(LdrLoad *load, LdrFormat format, const LdrOptions *options)
{
	load->delimiter = options->csv_delimiter;
	ldr_load_converters(load, format,
						format == LDR_CSV ? ldr_options_encoding(options) : PG_UTF8);
}

void
ldr_load_form(LdrLoad *load)
{
	if (ldr_sink_takes_tuples(load->sink))
		load->form = ldr_form_create(load->rel, load->converters, load->attnums,
									 load->reader->ncolumns);
}

/* The row that the reader found becomes Datums in the sink's slot. */
static void
load_convert_row(LdrLoad *load)
{
	LdrSink    *sink = load->sink;

	for (int i = 0; i < load->reader->ncolumns; i++)
	{
		LdrField   *f = &load->row.fields[i];
		int			att = load->attnums[i] - 1;

		load->field = i;
		sink->absent[att] = f->kind == LDR_ABSENT;
		if (f->kind == LDR_ABSENT)
			continue;
		sink->slot->tts_values[att] = ldr_convert(&load->converters[i], f,
												  &sink->slot->tts_isnull[att]);
	}
	load->field = -1;
}

/* Count the bytes of the row's fields; returns how many there are. */
static size_t
load_count_bytes(LdrLoad *load)
{
	size_t		bytes = 0;

	for (int i = 0; i < load->reader->ncolumns; i++)
		bytes += load->row.fields[i].len;
	load->sink->batch_bytes += bytes;
	load->bytes_unseen += bytes;
	return bytes;
}

/* Put the row that the reader found: as a tuple, if it needs nothing else, or else as Datums. */
void
ldr_load_put_row(LdrLoad *load)
{
	LdrSink    *sink = load->sink;
	HeapTuple	tuple = NULL;
	MemoryContext old = MemoryContextSwitchTo(sink->batch_cxt);
	size_t		bytes = load_count_bytes(load); /* also of a row that is refused */

	if (load->form != NULL)
	{
		if (sink->pending == 0 || sink->ops->copies)
			ldr_form_begin_batch(load->form);
		tuple = ldr_form_row(load->form, load->row.fields, bytes, load->row.ascii,
							 &load->field);
	}
	if (tuple == NULL)
		load_convert_row(load);
	MemoryContextSwitchTo(old);
	sink->line = load->row.line;
	sink->row = load->rows;
	if (tuple != NULL)
		ldr_sink_put_tuple(sink, tuple);
	else
		ldr_sink_put(sink);
}

void
ldr_load_look_up(LdrLoad *load)
{
	load->bytes_unseen = 0;
	load->rows_seen = load->rows;
	ldr_progress_rows(load->rows, load->reader->source->consumed(load->reader->source));
	ldr_rate_pace(&load->bytes_paced, load->reader->source->consumed(load->reader->source));
	ldr_check_cancel();
}

/* What the server says of a bad value quotes the whole of it; the catalog keeps the start. */
static char *
load_clip(char *text)
{
	int			len = text ? strlen(text) : 0;

	return len <= MAX_MESSAGE ? text : psprintf("%s...", pnstrdup(text, pg_mbcliplen(text, len,
																					 MAX_MESSAGE)));
}

void
ldr_load_explain(LdrReject *reject, ErrorData *edata)
{
	ldr_error_printable(edata);
	reject->sqlstate = pstrdup(unpack_sql_state(edata->sqlerrcode));
	reject->message = load_clip(edata->message);
	reject->detail = load_clip(edata->detail);
	reject->column = edata->column_name;
}

void
ldr_load_row(LdrLoad *load)
{
	ldr_load_put_row(load);
	load->rows++;
}

void
ldr_load_raise(LdrLoad *load, const LdrError *err)
{
	load->row.line = 0;			/* the reader knows better */
	ldr_raise(err, load->path);
}

void
ldr_load_rows(LdrLoad *load)
{
	LdrError	err = {0};
	LdrStatus	status;

	while ((status = ldr_reader_next(load->reader, &load->row, &err)) == LDR_OK)
	{
		CHECK_FOR_INTERRUPTS();
		ldr_load_row(load);
		if (ldr_load_is_to_look(load))
			ldr_load_look_up(load);
	}
	if (status != LDR_END)
		ldr_load_raise(load, &err);
}

/* Names of the file's columns, for whoever reads its rejected rows again. */
static List *
load_file_columns(const LdrLoad *load)
{
	List	   *names = NIL;

	for (int i = 0; i < load->reader->ncolumns; i++)
		names = lappend(names, pstrdup(NameStr(TupleDescAttr(RelationGetDescr(load->rel),
															 load->attnums[i] - 1)->attname)));
	return names;
}

/* A sink for the columns of the file, into the table or into the new one that stands for it. */
void
ldr_load_open_sink(LdrLoad *load, LdrLoadResult *result)
{
	LdrSinkKind kind = load->look ? LDR_SINK_LOOK
		: load->into == NULL ? ldr_sink_choose(load->rel, &result->reason)
		: load->rejects && load->rejects->trial ? LDR_SINK_TRIAL : LDR_SINK_SWAP;

	if (load->rejects == NULL)
		kind = ldr_storage_choose(kind, load->rel, load->into, load->table_bytes,
								  load->builds_indexes);
	load->sink = ldr_sink_open(load->rel, load->into, kind, load->attnums,
							   load->reader->ncolumns);
	result->sink = load->sink->ops->name;
	result->unindexed = kind == LDR_SINK_STORAGE && load->into == NULL &&
		load->rel->rd_rel->relhasindex;
	ldr_load_form(load);
	if (load->rejects)
		ldr_load_guard_sink(load);
}

/*
 * Say in the detail of an error where in the file it came from, before what it said itself. The
 * reader's own errors have said so already.
 */
void
ldr_load_locate_error(LdrLoad *load, ErrorData *edata)
{
	StringInfoData detail;
	int64		line = load->row.line;
	char		value[72] = "";

	edata->message = load_clip(edata->message);
	edata->detail = load_clip(edata->detail);
	if (line == 0)
		return;
	initStringInfo(&detail);
	if (load->field >= 0)
	{
		LdrField   *f = &load->row.fields[load->field];
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(load->rel),
											  load->attnums[load->field] - 1);

		ldr_excerpt(value, sizeof(value), f->data ? f->data : "", f->len);
		appendStringInfo(&detail, "File \"%s\", line " INT64_FORMAT ", column \"%s\", value "
						 "\"%s\".", load->path, line,
						 NameStr(att->attname), ldr_printable(value));
	}
	else if (load->sink && load->sink->error_line > 0)
		appendStringInfo(&detail, "File \"%s\", line " INT64_FORMAT ".", load->path,
						 load->sink->error_line);
	else if (load->sink && load->sink->first_line > 0)
		appendStringInfo(&detail, "File \"%s\", lines " INT64_FORMAT " to " INT64_FORMAT ".",
						 load->path,
						 load->sink->first_line, line);
	else
		appendStringInfo(&detail, "File \"%s\", line " INT64_FORMAT ".", load->path, line);
	if (edata->detail)
		appendStringInfo(&detail, " %s", edata->detail);
	edata->detail = detail.data;
}

/* A load in a context of its own, into the table, or into the new one that stands for it. */
LdrLoad *
ldr_load_make(const char *path, Relation rel, Relation into, LdrRejects *rejects)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader job",
											  ALLOCSET_DEFAULT_SIZES);
	LdrLoad	   *load = MemoryContextAllocZero(cxt, sizeof(LdrLoad));

	load->cxt = cxt;
	load->path = path;
	load->rel = rel;
	load->into = into;
	load->field = -1;
	load->rejects = rejects;
	return load;
}

/*
 * Half a row at the end of a file that somebody writes to is not bad data: say that it was changed.
 * Not if the load will be tried again, or was cancelled.
 */
static void
load_check_file(const LdrLoad *load, const ErrorData *edata)
{
	if (load->dir != NULL && !ldr_error_is_transient(edata) &&
		ERRCODE_TO_CATEGORY(edata->sqlerrcode) != ERRCODE_OPERATOR_INTERVENTION)
		ldr_package_job_check(load->dir, load->path, load->stamp);
}

/* An error was raised, and ends the load: raise it again, with where in the file it was. */
void
ldr_load_fail(LdrLoad *load)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(load->cxt);
	edata = CopyErrorData();
	FlushErrorState();
	if (load->sink)
		ldr_guard_abort(&load->sink->guard);
	load_check_file(load, edata);
	ldr_load_locate_error(load, edata);
	ReThrowError(edata);
}

/* All of a file, in the context of the load. */
static void
load_whole(LdrLoad *load, LdrPackageDir *dir, const LdrFileStamp *stamp, LdrFormat format,
		   const LdrSchemaTable *table, const LdrOptions *options, LdrLoadResult *result)
{
	load->dir = dir;
	load->stamp = stamp;
	ldr_rate_begin();
	PG_TRY();
	{
		load_open(load, dir, stamp, format, table, options);
		ldr_load_file_converters(load, format, options);
		ldr_load_open_sink(load, result);
		load->workers = ldr_parallel_workers(load, stamp->size);
		if (load->rejects)
			ldr_load_rows_guarded(load);
		else if (load->workers == 0 || !ldr_parallel_load(load))
			ldr_load_rows(load);
		ldr_load_look_up(load);
		result->workers = load->workers;
		result->rows_read = load->rows;
		result->bytes = stamp->size;
		load->sink->ops->flush(load->sink);
		result->rows_inserted = load->sink->inserted;
		ldr_sink_close(load->sink);
	}
	PG_CATCH();
	{
		ldr_load_fail(load);
	}
	PG_END_TRY();
}

void
ldr_load_file(LdrPackageDir *dir, const char *file_name, const LdrFileStamp *stamp,
			  LdrFormat format,
			  const LdrSchemaTable *table, Relation rel, Relation into, uint64 table_bytes,
			  bool builds_indexes, int share, const LdrOptions *options, LdrRejects *rejects,
			  LdrLoadResult *result)
{
	LdrLoad	   *load = ldr_load_make(file_name, rel, into, rejects);
	MemoryContext cxt = load->cxt;
	MemoryContext old = MemoryContextSwitchTo(cxt);

	load->table_bytes = table_bytes;
	load->builds_indexes = builds_indexes;
	load->share = share;
	load_whole(load, dir, stamp, format, table, options, result);
	MemoryContextSwitchTo(old);
	if (rejects)
	{
		result->rows_rejected = rejects->count;
		if (rejects->count > 0 && format != LDR_JSONL)
			result->columns = load_file_columns(load);
	}
	MemoryContextDelete(cxt);
}

/* --- rows of a file that are only looked at --------------------------------------------------- */

/* Its bad rows were set aside when it was loaded. */
static void
look_pass_over(LdrRejects *self, const LdrReject *reject)
{
	self->count++;
}

static void
look_store(LdrRejects *self)
{
	/* nothing was kept */
}

List *
ldr_load_look(LdrPackageDir *dir, const LdrJob *job, LdrFormat format, const LdrSchemaTable *table,
			  Relation rel, const LdrOptions *options, LdrLoadLookFn look, void *arg)
{
	LdrRejects	rejects = {.add = look_pass_over, .store = look_store};
	LdrLoad	   *load = ldr_load_make(job->file_name, rel, NULL, &rejects);
	MemoryContext cxt = load->cxt;
	MemoryContext old = MemoryContextSwitchTo(cxt);
	LdrLoadResult result = {0};
	List	   *columns = NIL;

	load->look = look;
	load->look_arg = arg;
	load_whole(load, dir, &job->stamp, format, table, options, &result);
	MemoryContextSwitchTo(old);
	if (format != LDR_JSONL)
		columns = load_file_columns(load);
	MemoryContextDelete(cxt);
	return columns;
}
