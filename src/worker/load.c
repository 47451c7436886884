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

#include "convert/convert.h"
#include "loader.h"
#include "sink/sink.h"
#include "worker/load.h"
#include "worker/worker.h"

/* between two looks at progress and cancel */
#define CHECK_ROWS	128
#define CHECK_BYTES (1024 * 1024)
#define MAX_MESSAGE 1000		/* bytes of an error's message or detail */

/* Where we are, for the detail of an error. */
typedef struct Load
{
	const char *path;
	LdrReader  *reader;
	LdrSink    *sink;
	LdrConverter *converters;	/* one per column of the file */
	AttrNumber *attnums;
	Relation	rel;
	LdrRow		row;
	int			field;			/* being converted, -1: none */
	uint64		rows;
	uint64		bytes_unseen;	/* converted since the last look */
} Load;

static void
load_close_reader(void *reader)
{
	ldr_reader_close(reader);
}

/* The names that a file may have columns of: those of the live table, by attribute number. */
static LdrColumnName *
load_column_names(TupleDesc desc, AttrNumber *attnums, int *n)
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

LdrReader *
ldr_load_reader(LdrPackageDir *dir, const char *file_name, const LdrFileStamp *stamp,
				LdrFormat format,
				const LdrColumnName *names, int n, const LdrOptions *options)
{
	LdrReaderOptions ro = {0};
	LdrError	err = {0};
	LdrReader  *reader;
	MemoryContextCallback *cb = palloc0(sizeof(MemoryContextCallback));

	ro.columns = names;
	ro.ncolumns = n;
	ro.delimiter = options->csv_delimiter;
	ro.no_header = !options->csv_header;
	reader = ldr_reader_open(format, ldr_package_job_source(dir, file_name, stamp), &ro, &err);
	if (reader == NULL)
		ldr_raise(&err, file_name);
	cb->func = load_close_reader;
	cb->arg = reader;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, cb);
	return reader;
}

/* A reader for the columns of the live table, and which attribute each field of a row is for. */
static void
load_open(Load *load, LdrPackageDir *dir, const LdrFileStamp *stamp, LdrFormat format,
		  const LdrSchemaTable *table, const LdrOptions *options)
{
	TupleDesc	desc = RelationGetDescr(load->rel);
	AttrNumber *all = palloc(sizeof(AttrNumber) * Max(Max(desc->natts, table->ncolumns), 1));
	int			n;
	LdrColumnName *names = format == LDR_CSV && !options->csv_header
		? load_schema_names(table, load->rel, all, &n) : load_column_names(desc, all, &n);

	load->reader = ldr_load_reader(dir, load->path, stamp, format, names, n, options);
	load->attnums = palloc(sizeof(AttrNumber) * Max(load->reader->ncolumns, 1));
	for (int i = 0; i < load->reader->ncolumns; i++)
		load->attnums[i] = all[load->reader->columns[i]];
}

static void
load_init_converters(Load *load, LdrFormat format, const LdrOptions *options)
{
	TupleDesc	desc = RelationGetDescr(load->rel);
	int			encoding = format == LDR_CSV ? ldr_options_encoding(options) : PG_UTF8;

	load->converters = palloc0(sizeof(LdrConverter) * Max(load->reader->ncolumns, 1));
	for (int i = 0; i < load->reader->ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, load->attnums[i] - 1);

		ldr_converter_init(&load->converters[i], att->atttypid, att->atttypmod, !att->attnotnull,
						   format, encoding);
	}
}

/* The row that the reader found becomes Datums in the sink's slot. */
static void
load_convert_row(Load *load)
{
	LdrSink    *sink = load->sink;
	MemoryContext old = MemoryContextSwitchTo(sink->batch_cxt);

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
		sink->batch_bytes += f->len;
		load->bytes_unseen += f->len;
	}
	load->field = -1;
	MemoryContextSwitchTo(old);
}

static void
load_look_up(Load *load)
{
	load->bytes_unseen = 0;
	ldr_progress_rows(load->rows, load->reader->source->consumed(load->reader->source));
	ldr_check_cancel();
}

static void
load_rows(Load *load)
{
	LdrError	err = {0};
	LdrStatus	status;

	while ((status = ldr_reader_next(load->reader, &load->row, &err)) == LDR_OK)
	{
		CHECK_FOR_INTERRUPTS();
		load_convert_row(load);
		load->sink->line = load->row.line;
		ldr_sink_put(load->sink);
		if (++load->rows % CHECK_ROWS == 0 || load->bytes_unseen > CHECK_BYTES)
			load_look_up(load);
	}
	if (status != LDR_END)
	{
		load->row.line = 0;		/* the reader knows better */
		ldr_raise(&err, load->path);
	}
}

/* What the server says of a bad value quotes the whole of it; the catalog keeps the start. */
static char *
load_clip(char *text)
{
	int			len = text ? strlen(text) : 0;

	return len <= MAX_MESSAGE ? text : psprintf("%s...", pnstrdup(text, pg_mbcliplen(text, len,
																					 MAX_MESSAGE)));
}

/*
 * Say in the detail of an error where in the file it came from, before what it said itself. The
 * reader's own errors have said so already.
 */
static void
load_locate_error(Load *load, ErrorData *edata)
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

void
ldr_load_file(LdrPackageDir *dir, const char *file_name, const LdrFileStamp *stamp,
			  LdrFormat format,
			  const LdrSchemaTable *table, Relation rel, Relation into, const LdrOptions *options,
			  LdrLoadResult *result)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader job",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Load	   *load = palloc0(sizeof(Load));
	LdrSinkKind kind;

	load->path = file_name;
	load->rel = rel;
	load->field = -1;
	kind = into ? LDR_SINK_SWAP : ldr_sink_choose(rel, &result->reason);
	PG_TRY();
	{
		load_open(load, dir, stamp, format, table, options);
		load_init_converters(load, format, options);
		load->sink = ldr_sink_open(rel, into, kind, load->attnums,
								   load->reader->ncolumns);
		result->sink = load->sink->ops->name;
		load_rows(load);
		load_look_up(load);
		result->rows_read = load->rows;
		result->bytes = stamp->size;
		load->sink->ops->flush(load->sink);
		result->rows_inserted = load->sink->inserted;
		ldr_sink_close(load->sink);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(cxt);
		edata = CopyErrorData();
		FlushErrorState();
		load_locate_error(load, edata);
		ReThrowError(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}
