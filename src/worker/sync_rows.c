/*
 * worker/sync_rows.c: a record of a stream becomes a row of its table, or of its staging table, or
 * waits in the stream's spool.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "convert/airbyte.h"
#include "fault.h"
#include "loader.h"
#include "sink/sink.h"
#include "worker/sync.h"
#include "worker/worker.h"

/* Our own columns, in front of the stream's. */
enum
{
	OWN_RAW_ID,
	OWN_EXTRACTED_AT,
	OWN_META,
	OWN_GENERATION,
	OWN_ARRIVAL,				/* of staging tables only */
	OWN_COLUMNS
};

/* The table that is being written to. Everything lives in cxt. */
typedef struct SyncWriter
{
	SyncStream *stream;
	MemoryContext cxt;
	Relation	rel;
	LdrSink    *sink;
	AttrNumber *attnums;		/* of our columns, then of the stream's */
	LdrStreamConverter **converters;	/* of the stream's columns */
	LdrStreamConverter *changes;	/* of meta.changes */
	Datum		meta;			/* of a row that came as it should */
	LdrNulled  *nulled;			/* by column, of the row in hand */
} SyncWriter;

/* --- random ids --------------------------------------------------------------------------------- */

#define UUID_LEN		36
#define UUIDS			256		/* made at a time */

/* A random UUID (version 4) as varchar. */
static Datum
row_raw_id(void)
{
	static uint8 random[UUIDS][16];
	static int	left = 0;
	static const char digits[] = "0123456789abcdef";
	struct varlena *value = palloc(VARHDRSZ + UUID_LEN);
	char	   *p = VARDATA(value);
	uint8	   *bytes;

	if (left == 0)
	{
		if (!pg_strong_random(random, sizeof(random)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		left = UUIDS;
	}
	bytes = random[--left];
	bytes[6] = (bytes[6] & 0x0f) | 0x40;
	bytes[8] = (bytes[8] & 0x3f) | 0x80;
	for (int i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[bytes[i] >> 4];
		*p++ = digits[bytes[i] & 0xf];
	}
	SET_VARSIZE(value, VARHDRSZ + UUID_LEN);
	return PointerGetDatum(value);
}

/* --- the writer --------------------------------------------------------------------------------- */

static AttrNumber
writer_attnum(Relation rel, const char *name)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" was dropped during the sync", name,
						RelationGetRelationName(rel)),
				 errhint("Sync again; the next one adds it.")));
	return attnum;
}

static void
writer_find_columns(SyncWriter *w, int nown)
{
	static const char *const own[] = {LDR_AIRBYTE_RAW_ID, LDR_AIRBYTE_EXTRACTED_AT,
	LDR_AIRBYTE_META, LDR_AIRBYTE_GENERATION, LDR_STREAM_ARRIVAL};
	const LdrStream *stream = w->stream->t.stream;

	w->attnums = palloc(sizeof(AttrNumber) * (OWN_COLUMNS + stream->ncolumns));
	w->converters = palloc(sizeof(LdrStreamConverter *) * (stream->ncolumns + 1));
	for (int i = 0; i < nown; i++)
		w->attnums[i] = writer_attnum(w->rel, own[i]);
	for (int i = 0; i < stream->ncolumns; i++)
	{
		AttrNumber	attnum = writer_attnum(w->rel, stream->columns[i].name);
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(w->rel), attnum - 1);

		w->attnums[nown + i] = attnum;
		w->converters[i] = ldr_stream_converter(stream->columns[i].type, att->atttypid,
												att->atttypmod);
	}
}

static Datum
writer_jsonb(const char *text)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

static int64
writer_sync_id(const SyncWriter *w)
{
	int64		id = w->stream->t.stream->sync_id;

	return id == LDR_NO_ID ? 0 : id;
}

/* The table of the stream, open for rows. Closes the one before. */
static SyncWriter *
writer_open(Sync *sync, SyncStream *s)
{
	MemoryContext cxt;
	MemoryContext old;
	SyncWriter *w = sync->writer;
	const char *reason = NULL;
	int			nown = ldr_stream_is_staged(&s->t) ? OWN_COLUMNS : OWN_ARRIVAL;

	if (w && w->stream == s)
		return w;
	ldr_sync_close_writer(sync);
	cxt = AllocSetContextCreate(sync->run->cxt, "loader stream", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cxt);
	w = palloc0(sizeof(SyncWriter));
	w->stream = s;
	w->cxt = cxt;
	w->rel = ldr_stream_open(&s->t);
	writer_find_columns(w, nown);
	w->changes = ldr_stream_converter(LDR_STREAM_ARRAY, JSONBOID, -1);
	w->nulled = palloc0(sizeof(LdrNulled) * (s->t.stream->ncolumns + 1));
	w->meta = writer_jsonb(psprintf("{\"sync_id\": " INT64_FORMAT ", \"changes\": []}",
									writer_sync_id(w)));
	w->sink = ldr_sink_open(w->rel, NULL, ldr_sink_choose(w->rel, &reason), w->attnums,
							nown + s->t.stream->ncolumns);
	s->t.stats.sink = w->sink->ops->name;
	if (reason && s->t.stats.reason == NULL)
		s->t.stats.reason = MemoryContextStrdup(sync->run->cxt, reason);
	MemoryContextSwitchTo(old);
	sync->writer = w;
	return w;
}

/* Write what is left, and close the table. */
void
ldr_sync_close_writer(Sync *sync)
{
	SyncWriter *w = sync->writer;

	if (w == NULL)
		return;
	w->sink->ops->flush(w->sink);
	if (!ldr_stream_is_staged(&w->stream->t))
		w->stream->t.stats.rows_inserted += w->sink->inserted;
	ldr_sink_close(w->sink);
	table_close(w->rel, NoLock);
	sync->writer = NULL;
	MemoryContextDelete(w->cxt);
}

/* What it holds of the server goes, or has gone, with a (sub)transaction. */
void
ldr_sync_drop_writer(Sync *sync)
{
	if (sync->writer)
		MemoryContextDelete(sync->writer->cxt);
	sync->writer = NULL;
}

/* --- a row -------------------------------------------------------------------------------------- */

/* A bad value that the caller does not want to lose. */
static void
__attribute__((noreturn))
row_refuse(const Sync *sync, const SyncStream *s, const LdrField *f, int column, LdrNulled nulled)
{
	char		value[72];

	ldr_excerpt(value, sizeof(value), f->data ? f->data : "", f->len);
	ereport(ERROR,
			(errcode(nulled == LDR_NULLED_SIZE ? ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE
					 : ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("value does not fit into column \"%s\" of type %s",
					s->t.stream->columns[column].name,
					ldr_stream_type_name(s->t.stream->columns[column].type)),
			 errdetail("Value \"%s\".", ldr_printable(value)),
			 errhint("With bad_values \"null\" in the configuration it would become NULL, with an "
					 "entry in _airbyte_meta.")));
}

/* {"sync_id": n, "changes": [those that the record brought, those that we made]} */
static Datum
row_meta(SyncWriter *w, const LdrField *changes)
{
	const LdrStream *stream = w->stream->t.stream;
	StringInfoData text;
	Datum		brought = (Datum) 0;
	bool		isnull = true;
	const char *separator = "";

	if (changes->kind == LDR_RAW_JSON)
		(void) ldr_stream_convert(w->changes, changes, &brought, &isnull);
	initStringInfo(&text);
	appendStringInfo(&text, "{\"sync_id\": " INT64_FORMAT ", \"changes\": [", writer_sync_id(w));
	if (!isnull)
	{
		char	   *array = JsonbToCString(NULL, &DatumGetJsonbP(brought)->root,
										   VARSIZE(DatumGetPointer(brought)));

		appendBinaryStringInfo(&text, array + 1, strlen(array) - 2);
		separator = strlen(array) > 2 ? ", " : "";
	}
	for (int i = 0; i < stream->ncolumns; i++)
	{
		if (w->nulled[i] == LDR_NULLED_NOT)
			continue;
		appendStringInfo(&text, "%s{\"field\": ", separator);
		escape_json(&text, ldr_printable(stream->columns[i].property));
		appendStringInfo(&text, ", \"change\": \"NULLED\", \"reason\": \"%s\"}",
						 ldr_nulled_reason(w->nulled[i]));
		separator = ", ";
	}
	appendStringInfoString(&text, "]}");
	return writer_jsonb(text.data);
}

static TimestampTz
row_extracted_at(int64 emitted_at)
{
	if (emitted_at == INT64_MIN)
		return GetCurrentTimestamp();
	return emitted_at - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

static inline void
row_set(SyncWriter *w, int column, Datum value)
{
	w->sink->slot->tts_values[w->attnums[column] - 1] = value;
	w->sink->slot->tts_isnull[w->attnums[column] - 1] = false;
}

/* The stream's own columns. Returns how many values did not fit. */
static int
row_convert(const Sync *sync, SyncWriter *w, const LdrMessage *m, int first)
{
	const LdrStream *stream = w->stream->t.stream;
	int			bad = 0;

	for (int i = 0; i < stream->ncolumns; i++)
	{
		AttrNumber	att = w->attnums[first + i] - 1;
		LdrNulled	nulled = ldr_stream_convert(w->converters[i], &m->fields[i],
												&w->sink->slot->tts_values[att],
												&w->sink->slot->tts_isnull[att]);

		w->sink->batch_bytes += m->fields[i].len;
		w->nulled[i] = nulled;
		if (nulled == LDR_NULLED_NOT)
			continue;
		if (sync->options->fail_on_bad_value)
			row_refuse(sync, w->stream, &m->fields[i], i, nulled);
		bad++;
	}
	return bad;
}

static void
row_write(Sync *sync, SyncStream *s, const LdrMessage *m)
{
	SyncWriter *w = writer_open(sync, s);
	MemoryContext old = MemoryContextSwitchTo(w->sink->batch_cxt);
	const LdrStream *stream = s->t.stream;
	bool		staged = ldr_stream_is_staged(&s->t);
	int			bad = row_convert(sync, w, m, staged ? OWN_COLUMNS : OWN_ARRIVAL);

	row_set(w, OWN_RAW_ID, row_raw_id());
	row_set(w, OWN_EXTRACTED_AT, TimestampTzGetDatum(row_extracted_at(m->emitted_at)));
	row_set(w, OWN_META, bad > 0 || m->changes.kind == LDR_RAW_JSON ? row_meta(w, &m->changes)
			: w->meta);
	row_set(w, OWN_GENERATION, Int64GetDatum(stream->generation_id == LDR_NO_ID ? 0
											 : stream->generation_id));
	if (staged)
		row_set(w, OWN_ARRIVAL, Int64GetDatum(++s->t.arrivals));
	w->sink->batch_bytes += 200;	/* what is ours */
	MemoryContextSwitchTo(old);
	w->sink->line = m->line;
	ldr_sink_put(w->sink);
	s->t.stats.rows_read++;
	s->t.stats.bytes += m->raw_len;
	s->counts.nulled_values += bad;
}

/* --- the spool ---------------------------------------------------------------------------------- */

#define SPOOL_SEGMENT	INT64CONST(0x40000000)	/* of the files that a BufFile consists of */

static void
spool_seek(SyncStream *s, int64 at)
{
	if (BufFileSeek(s->spool, (int) (at / SPOOL_SEGMENT), (off_t) (at % SPOOL_SEGMENT),
					SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not seek in temporary file: %m")));
}

static void
spool_append(SyncStream *s, const LdrMessage *m)
{
	if (s->spool == NULL)
	{
		s->spool = BufFileCreateTemp(true);
		s->spool_read = s->spool_end = 0;
	}
	spool_seek(s, s->spool_end);
	LDR_FAULT("sync: row spooled");
	BufFileWrite(s->spool, unconstify(char *, m->raw), m->raw_len);
	BufFileWrite(s->spool, "\n", 1);
	s->spool_end += m->raw_len + 1;
}

void
ldr_sync_drop_spool(SyncStream *s)
{
	if (s->spool)
		BufFileClose(s->spool);
	s->spool = NULL;
	s->spool_read = s->spool_end = 0;
}

/* A source of what is spooled, up to some byte. */
typedef struct SpoolSource
{
	LdrSource	base;
	BufFile    *file;
	int64		left;
} SpoolSource;

static ssize_t
spool_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	SpoolSource *source = (SpoolSource *) self;

	CHECK_FOR_INTERRUPTS();
	n = Min((int64) n, source->left);
	if (n > 0 && BufFileRead(source->file, buf, n) != n)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from temporary file: %m")));
	source->left -= n;
	return (ssize_t) n;
}

static void
spool_close(LdrSource *self)
{
	(void) self;				/* it lives on its caller's stack */
}

static uint64_t
spool_consumed(const LdrSource *self)
{
	(void) self;
	return 0;
}

static void
spool_write_rows(Sync *sync, SyncStream *s, LdrAirbyteReader *reader)
{
	LdrMessage	m;
	LdrError	err = {0};
	LdrStatus	status;

	while ((status = ldr_airbyte_next(reader, &m, &err)) == LDR_OK)
	{
		m.line = sync->line;
		row_write(sync, s, &m);
	}
	if (status != LDR_END)
		ldr_raise(&err, NULL);
}

/* Write the records of the spool up to that byte, which are covered. */
void
ldr_sync_write_spooled(Sync *sync, SyncStream *s, int64 bytes)
{
	SpoolSource source = {{spool_read, spool_close, spool_consumed}, s->spool,
	bytes - s->spool_read};
	LdrAirbyteReader *reader;
	LdrError	err = {0};

	if (s->spool == NULL || source.left <= 0)
		return;
	ldr_sync_begin(sync);
	ldr_stream_stage(sync->run, sync->options, &s->t);
	spool_seek(s, s->spool_read);
	LDR_FAULT("sync: spooled rows to be written");
	reader = ldr_airbyte_open(&source.base, sync->names, sync->nstreams, &err);
	if (reader == NULL)
		ldr_raise(&err, NULL);
	PG_TRY();
	{
		spool_write_rows(sync, s, reader);
	}
	PG_FINALLY();
	{
		ldr_airbyte_close(reader);
	}
	PG_END_TRY();
	s->spool_read = bytes;
	if (s->spool_read == s->spool_end)
		ldr_sync_drop_spool(s);
}

void
ldr_sync_record(Sync *sync, SyncStream *s, const LdrMessage *m)
{
	s->received++;
	s->counts.records++;
	s->counts.bytes += m->raw_len;
	s->since_state++;
	sync->since_global++;
	sync->records++;
	ldr_sync_make_room(sync);
	ldr_sync_begin(sync);
	sync->xact_bytes += m->raw_len;
	/* not beside rows that wait for their commit: that must be possible when the source falls silent */
	if (sync->direct == NULL && sync->states == NIL)
		ldr_sync_make_direct(sync, s);
	if (sync->direct == s)
		row_write(sync, s, m);
	else
		spool_append(s, m);
}
