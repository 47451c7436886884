/*
 * worker/load_guarded.c: a load that goes on behind bad rows (on_error => 'reject').
 *
 * What a row does is done under the sink's guard, a subtransaction that stays open until its batch
 * is written; an error of a row is undone with it, and the row set aside.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "loader.h"
#include "publish/swap.h"
#include "worker/load_file.h"

/* Set a row aside. What is raised here is not about the row in hand. */
void
ldr_load_reject(LdrLoad *load, LdrReject *reject)
{
	int64		line = load->row.line;
	int			field = load->field;

	load->row.line = 0;
	load->field = -1;
	load->rejects->add(load->rejects, reject);
	load->row.line = line;
	load->field = field;
}

/* LdrRefuseFn: a row that has been read, this one or one of the batch. */
static void
guarded_refuse(void *arg, int64 row, ErrorData *edata)
{
	LdrLoad	   *load = arg;
	LdrReject	reject = {0};

	if (load->into && load->sink->indexes)
		ldr_swap_rename(load->rel, load->into, edata);
	ldr_pending_fill(load->pending, row, &reject);
	reject.row = row;
	ldr_load_explain(&reject, edata);
	if (load->field >= 0)
		reject.column = NameStr(TupleDescAttr(RelationGetDescr(load->rel),
											  load->attnums[load->field] - 1)->attname);
	ldr_load_reject(load, &reject);
}

static void
guarded_written(void *arg, int64 row)
{
	LdrLoad	   *load = arg;

	ldr_pending_drop(load->pending, row);
}

/* LdrLookFn */
static void
guarded_show(void *arg, int64 row, TupleTableSlot *slot)
{
	LdrLoad	   *load = arg;
	LdrReject	where = {0};

	ldr_pending_fill(load->pending, row, &where);
	load->look(load->look_arg, slot, &where);
}

/*
 * An error was raised. Undo what the row in hand began, and set it aside, if that was of the row;
 * else raise it.
 */
void
ldr_load_catch_row(LdrLoad *load)
{
	LdrSink    *sink = load->sink;
	ErrorData  *edata = ldr_guard_catch(&sink->guard, load->row_cxt);

	if (!load->in_row || sink->writing || !ldr_guard_is_of_row(edata, load->field >= 0))
		ReThrowError(edata);
	load->in_row = false;
	guarded_refuse(load, load->rows, edata);
	load->field = -1;
	ldr_sink_withdraw(sink);
}

/* Convert and put a row under the guard, which stays open until its batch is written. */
void
ldr_load_put_guarded(LdrLoad *load)
{
	LdrSink    *sink = load->sink;

	load->in_row = true;
	ldr_pending_add(load->pending, load->rows, load->row.line, load->reader->raw,
					load->reader->raw_len);
	ldr_guard_begin(&sink->guard);
	ldr_load_put_row(load);
	load->in_row = false;
}

/* A row that the reader has failed on. */
void
ldr_load_reject_unread(LdrLoad *load, LdrReject *reject, const LdrError *err)
{
	reject->row = load->rows;
	ldr_pending_add(load->pending, load->rows, reject->line, "", 0);	/* they are counted */
	reject->sqlstate = pstrdup(unpack_sql_state(ldr_error_sqlstate(err)));
	reject->message = ldr_printable(err->message);
	if (err->value[0] != '\0')
		reject->detail = psprintf("Near \"%s\".", ldr_printable(err->value));
	if (err->column[0] != '\0')
		reject->column = ldr_printable(err->column);
	ldr_load_reject(load, reject);
}

/* The reader has failed on a row: set that aside, if it is known where the next one begins. */
static void
guarded_skip_row(LdrLoad *load, LdrError *err)
{
	LdrReject	reject = {0};

	load->row.line = 0;			/* the reader knows better */
	if (ldr_reader_skip(load->reader, &load->row, err) != LDR_OK)
		ldr_raise(err, load->path);
	reject.line = load->row.line;
	reject.raw = load->reader->raw;
	reject.raw_size = load->reader->raw_len;
	reject.raw_len = Min(reject.raw_size, LDR_REJECT_RAW_MAX);
	ldr_load_reject_unread(load, &reject, err);
	MemSet(err, 0, sizeof(LdrError));
}

/* Between two rows, outside the guard: what is done inside is undone with the next bad row. */
void
ldr_load_settle(LdrLoad *load)
{
	if (unlikely(ldr_pending_is_full(load->pending)))
		load->sink->ops->flush(load->sink);
	if (load->sink->pending == 0)
		ldr_pending_drop(load->pending, load->rows);
	MemoryContextReset(load->row_cxt);
	load->rejects->store(load->rejects);
	if (ldr_load_is_to_look(load))
		ldr_load_look_up(load);
}

/* Load rows until one of them is bad, or there is no other that can be read. */
static LdrStatus
guarded_run(LdrLoad *load, LdrError *err)
{
	volatile LdrStatus status = LDR_OK;

	PG_TRY();
	{
		while ((status = ldr_reader_next(load->reader, &load->row, err)) == LDR_OK)
		{
			CHECK_FOR_INTERRUPTS();
			ldr_load_put_guarded(load);
			load->rows++;
			if (unlikely(ldr_pending_is_full(load->pending)))
				load->sink->ops->flush(load->sink);
			if (!load->sink->guard.open)
				ldr_load_settle(load);
		}
	}
	PG_CATCH();
	{
		ldr_load_catch_row(load);
		load->rows++;
		status = LDR_OK;
	}
	PG_END_TRY();
	return status;
}

void
ldr_load_rows_guarded(LdrLoad *load)
{
	LdrError	err = {0};
	LdrStatus	status;

	load->row_cxt = AllocSetContextCreate(load->cxt, "loader row", ALLOCSET_SMALL_SIZES);
	load->reader->forget = ldr_pending_save;
	load->reader->forget_arg = load->pending;
	MemoryContextSwitchTo(load->row_cxt);
	while ((status = guarded_run(load, &err)) != LDR_END)
	{
		if (status != LDR_OK)
		{
			guarded_skip_row(load, &err);
			load->rows++;
		}
		if (!load->sink->guard.open)
			ldr_load_settle(load);
	}
	load->sink->ops->flush(load->sink);
	ldr_guard_commit(&load->sink->guard);
	ldr_load_settle(load);
	MemoryContextSwitchTo(load->cxt);
}

void
ldr_load_guard_sink(LdrLoad *load)
{
	LdrSink    *sink = load->sink;

	ldr_sink_check_expressions(load->rel);
	if (sink->kind == LDR_SINK_TRIAL)
		ldr_swap_set_exclusion(load->rel, load->into, sink->indexes);
	load->pending = ldr_pending_create();
	sink->refuse = guarded_refuse;
	sink->written = guarded_written;
	sink->look = guarded_show;
	sink->refuse_arg = load;
}
