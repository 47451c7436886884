/*
 * worker/load_again.c: rows of a file that were set aside, loaded once more. Each of them is made a
 * file of its own, in memory.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "loader.h"
#include "worker/load_file.h"

/* What must stand before a row, and behind it, to make a file of it. */
typedef struct Again
{
	LdrFormat	format;
	LdrReaderOptions reader;
	AttrNumber *attnums;		/* of reader.columns */
	char	   *head;
	const char *tail;
	StringInfoData file;
} Again;

/* The names between quotes, with a separator between them. */
static void
again_put_names(StringInfo head, const List *columns, char separator)
{
	const ListCell *lc;

	foreach(lc, columns)
	{
		const char *name = lfirst(lc);

		if (lc != list_head(columns))
			appendStringInfoChar(head, separator);
		appendStringInfoChar(head, '"');
		for (const char *p = pg_server_to_any(name, strlen(name), PG_UTF8); *p != '\0'; p++)
		{
			if (*p == '"')
				appendStringInfoChar(head, '"');
			appendStringInfoChar(head, *p);
		}
		appendStringInfoChar(head, '"');
	}
}

static void
again_init(Again *again, Relation rel, LdrFormat format, const List *columns,
		   const LdrOptions *options)
{
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData head;

	MemSet(again, 0, sizeof(Again));
	initStringInfo(&head);
	initStringInfo(&again->file);
	again->format = format;
	again->attnums = palloc(sizeof(AttrNumber) * Max(desc->natts, 1));
	again->reader.columns = ldr_load_column_names(desc, again->attnums, &again->reader.ncolumns);
	again->reader.delimiter = options->csv_delimiter;
	again->tail = "\n";
	if (format == LDR_CSV)
	{
		again_put_names(&head, columns, options->csv_delimiter);
		appendStringInfoChar(&head, '\n');
	}
	else if (format == LDR_INSERT_VALUES)
	{
		appendStringInfoString(&head, "INSERT INTO {}(");
		again_put_names(&head, columns, ',');
		appendStringInfoString(&head, ") VALUES\n");
		again->tail = ";\n";
	}
	again->head = head.data;
}

/* A reader of one row. */
static LdrReader *
again_open(const LdrLoad *load, Again *again, const LdrReject *row)
{
	LdrError	err = {0};
	LdrReader  *reader;

	resetStringInfo(&again->file);
	appendStringInfoString(&again->file, again->head);
	if (row)
		appendBinaryStringInfo(&again->file, row->raw, (int) row->raw_len);
	appendStringInfoString(&again->file, again->tail);
	reader = ldr_reader_open(again->format,
							 ldr_memory_source(again->file.data, (size_t) again->file.len),
							 &again->reader, &err);
	if (reader == NULL)
		ldr_raise(&err, load->path);
	return reader;
}

/* Only the start of the row is there. */
static void
again_reject_cut(LdrLoad *load, const LdrReject *row)
{
	LdrReject	reject = *row;

	reject.row = load->rows;
	ldr_pending_add(load->pending, load->rows, reject.line, "", 0);
	reject.sqlstate = pstrdup(unpack_sql_state(ERRCODE_PROGRAM_LIMIT_EXCEEDED));
	reject.message = psprintf("row of %zu bytes was not kept whole", row->raw_size);
	ldr_load_reject(load, &reject);
}

static void
again_load(LdrLoad *load, Again *again, const LdrReject *row)
{
	LdrError	err = {0};
	LdrReject	reject = *row;

	if (row->raw_len < row->raw_size)
	{
		again_reject_cut(load, row);
		return;
	}
	ldr_pending_save(load->pending);
	ldr_reader_close(load->reader);
	load->reader = NULL;
	load->reader = again_open(load, again, row);
	if (ldr_reader_next(load->reader, &load->row, &err) != LDR_OK)
	{
		ldr_load_reject_unread(load, &reject, &err);
		return;
	}
	load->row.line = row->line;
	PG_TRY();
	{
		ldr_load_put_guarded(load);
	}
	PG_CATCH();
	{
		ldr_load_catch_row(load);
	}
	PG_END_TRY();
}

static void
again_close_reader(void *load)
{
	ldr_reader_close(((LdrLoad *) load)->reader);
}

static void
again_load_all(LdrLoad *load, Again *again, const List *rows)
{
	const ListCell *lc;

	foreach(lc, rows)
	{
		CHECK_FOR_INTERRUPTS();
		again_load(load, again, lfirst(lc));
		load->rows++;
		if (!load->sink->guard.open)
			ldr_load_settle(load);
	}
	load->sink->ops->flush(load->sink);
	ldr_guard_commit(&load->sink->guard);
}

void
ldr_load_rejects(const LdrJob *job, LdrFormat format, const List *columns, Relation rel,
				 const LdrOptions *options, const List *rows, LdrRejects *rejects,
				 LdrLoadResult *result)
{
	LdrLoad	   *load = ldr_load_make(job->file_name, rel, NULL, rejects);
	MemoryContext cxt = load->cxt;
	MemoryContext old = MemoryContextSwitchTo(cxt);
	MemoryContextCallback *cb = palloc0(sizeof(MemoryContextCallback));
	Again		again;

	load->row_cxt = AllocSetContextCreate(cxt, "loader row", ALLOCSET_SMALL_SIZES);
	cb->func = again_close_reader;
	cb->arg = load;
	MemoryContextRegisterResetCallback(cxt, cb);
	PG_TRY();
	{
		again_init(&again, rel, format, columns, options);
		load->reader = again_open(load, &again, NULL);
		ldr_load_attnums(load, again.attnums);
		ldr_load_file_converters(load, format, options);
		ldr_load_open_sink(load, result);
		MemoryContextSwitchTo(load->row_cxt);
		again_load_all(load, &again, rows);
		MemoryContextSwitchTo(cxt);
		result->rows_inserted = load->sink->inserted;
		ldr_sink_close(load->sink);
	}
	PG_CATCH();
	{
		ldr_load_fail(load);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}
