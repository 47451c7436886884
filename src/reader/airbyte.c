/*
 * reader/airbyte.c: messages of the Airbyte protocol, line by line. No postgres.h.
 *
 * A line is looked for first and parsed then, so that a message is handed out as soon as its last
 * byte is there, however slowly its source gives them. Records are parsed where they stand. Other
 * payloads are stepped over, and looked into when the type is known, since it may come last.
 *
 * null means absent, everywhere; of a key that comes twice the last value counts.
 */
#include "reader/airbyte_parts.h"

#include <stdlib.h>

#include "fault.h"

#define AIRBYTE_KEEP	(1024 * 1024)	/* bytes of scratch that are kept from line to line */

LdrStatus
ldr_airbyte_fail(LdrAirbyteReader *r, LdrJson *j, const char *message)
{
	j->place.at = r->base.w.cur;
	strcpy(j->err->hint, "What wrote the messages does not follow the Airbyte protocol.");
	return ldr_reader_fail(&r->base, j->err, LDR_UNEXPECTED, j->place, "%s", message);
}

LdrStatus
ldr_airbyte_no_memory(LdrAirbyteReader *r, LdrJson *j)
{
	j->place.at = r->base.w.cur;
	return ldr_reader_fail(&r->base, j->err, LDR_OUT_OF_MEMORY, j->place,
						   "out of memory for a message of %zu bytes",
						   (size_t) (r->eol - r->base.w.cur));
}

static LdrStatus
airbyte_status(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const LdrField *payload)
{
	static const char *const names[] = {NULL, "STARTED", "RUNNING", "COMPLETE", "INCOMPLETE"};
	LdrAirbytePick picks[] = {{.key = "stream_descriptor"}, {.key = "status"}};
	LdrField	text;
	LdrStatus	status = ldr_airbyte_pick(j, payload, picks, 2);

	m->kind = LDR_MESSAGE_STATUS;
	if (status == LDR_OK)
		status = ldr_airbyte_raw_text(j, &picks[1].value, &text);
	if (status != LDR_OK)
		return status;
	for (int i = LDR_STATUS_STARTED; i <= LDR_STATUS_INCOMPLETE; i++)
		if (ldr_airbyte_is(&text, names[i]))
			m->status = (LdrStreamStatus) i;
	return ldr_airbyte_descriptor(r, j, m, &picks[0].value);
}

/* A number that a message says, -1 if it says none. */
static double
airbyte_number(const LdrField *raw)
{
	if (raw->kind == LDR_NULL || (*raw->data != '-' && (*raw->data < '0' || *raw->data > '9')))
		return -1;
	/* something that is no part of a number stands behind each */
	return strtod(raw->data, NULL);
}

static LdrStatus
airbyte_estimate(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const LdrField *payload)
{
	LdrAirbytePick picks[] = {{.key = "row_estimate"}, {.key = "byte_estimate"}};
	LdrStatus	status = ldr_airbyte_pick(j, payload, picks, 2);

	m->kind = LDR_MESSAGE_ESTIMATE;
	if (status != LDR_OK)
		return status;
	m->row_estimate = airbyte_number(&picks[0].value);
	m->byte_estimate = airbyte_number(&picks[1].value);
	/* it names its stream as a stream_descriptor does */
	return ldr_airbyte_descriptor(r, j, m, payload);
}

/* The text and the level of an ERROR or a LOG, which call them differently. */
static LdrStatus
airbyte_report(LdrJson *j, LdrMessage *m, const LdrField *message, const LdrField *level)
{
	LdrStatus	status = ldr_airbyte_raw_text(j, message, &m->text);

	return status != LDR_OK ? status : ldr_airbyte_raw_text(j, level, &m->level);
}

static LdrStatus
airbyte_error(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const LdrField *payload)
{
	LdrAirbytePick picks[] = {{.key = "message"}, {.key = "failure_type"},
	{.key = "stream_descriptor"}};
	LdrStatus	status = ldr_airbyte_pick(j, payload, picks, 3);

	m->kind = LDR_MESSAGE_ERROR;
	if (status == LDR_OK)
		status = airbyte_report(j, m, &picks[0].value, &picks[1].value);
	return status != LDR_OK ? status : ldr_airbyte_descriptor(r, j, m, &picks[2].value);
}

static LdrStatus
airbyte_log(LdrJson *j, LdrMessage *m, const LdrField *payload)
{
	LdrAirbytePick picks[] = {{.key = "message"}, {.key = "level"}};
	LdrStatus	status = ldr_airbyte_pick(j, payload, picks, 2);

	m->kind = LDR_MESSAGE_LOG;
	return status != LDR_OK ? status : airbyte_report(j, m, &picks[0].value, &picks[1].value);
}

static LdrStatus
airbyte_trace(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const LdrField *payload)
{
	LdrAirbytePick picks[] = {{.key = "type"}, {.key = "stream_status"}, {.key = "estimate"},
	{.key = "error"}};
	LdrField	type;
	LdrStatus	status = ldr_airbyte_pick(j, payload, picks, 4);

	if (status == LDR_OK)
		status = ldr_airbyte_raw_text(j, &picks[0].value, &type);
	if (status != LDR_OK)
		return status;
	if (ldr_airbyte_is(&type, "STREAM_STATUS"))
		return airbyte_status(r, j, m, &picks[1].value);
	if (ldr_airbyte_is(&type, "ESTIMATE"))
		return airbyte_estimate(r, j, m, &picks[2].value);
	if (ldr_airbyte_is(&type, "ERROR"))
		return airbyte_error(r, j, m, &picks[3].value);
	return LDR_OK;
}

/* What the members of a line's object are. */
typedef struct AirbyteEnvelope
{
	LdrField	type;
	LdrAirbyteRecord record;
	LdrField	state;
	LdrField	trace;
	LdrField	log;
} AirbyteEnvelope;

/* The object at j->p, which is all of a message. */
static LdrStatus
airbyte_envelope(LdrAirbyteReader *r, LdrJson *j, AirbyteEnvelope *e)
{
	LdrAirbyteWalk walk = {0};
	LdrStatus	status;

	for (;;)
	{
		status = ldr_airbyte_walk(j, &walk);
		if (status != LDR_OK || walk.ended)
			return status;
		if (ldr_airbyte_is(&walk.key, "type"))
			status = ldr_airbyte_text(j, &e->type);
		else if (ldr_airbyte_is(&walk.key, "record"))
			status = ldr_airbyte_record(r, j, &e->record);
		else if (ldr_airbyte_is(&walk.key, "state"))
			status = ldr_airbyte_raw(j, &e->state);
		else if (ldr_airbyte_is(&walk.key, "trace"))
			status = ldr_airbyte_raw(j, &e->trace);
		else if (ldr_airbyte_is(&walk.key, "log"))
			status = ldr_airbyte_raw(j, &e->log);
		else
			status = ldr_json_skip(j);
		if (status != LDR_OK)
			return status;
	}
}

/* The message in the line, whose brace is at j->p. */
static LdrStatus
airbyte_message(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m)
{
	AirbyteEnvelope e = {0};
	LdrStatus	status = airbyte_envelope(r, j, &e);

	if (status != LDR_OK)
		return status;
	ldr_json_space(j);
	if (j->p != r->eol)
		return ldr_json_unexpected(j, "after the end of the object");
	/* a record is not lost for want of a type */
	if (ldr_airbyte_is(&e.type, "RECORD") ||
		(e.type.kind == LDR_NULL && e.record.name.kind != LDR_NULL && e.record.data != NULL))
		return ldr_airbyte_take_record(r, j, m, &e.record);
	if (ldr_airbyte_is(&e.type, "STATE"))
		return ldr_airbyte_take_state(r, j, m, &e.state);
	if (ldr_airbyte_is(&e.type, "TRACE"))
		return airbyte_trace(r, j, m, &e.trace);
	if (ldr_airbyte_is(&e.type, "LOG"))
		return airbyte_log(j, m, &e.log);
	if (ldr_airbyte_is(&e.type, "CONTROL"))
		m->kind = LDR_MESSAGE_CONTROL;
	return LDR_OK;
}

/* Move w.cur over blank lines to one that has something in it, *p; r->eol is its end. */
static LdrStatus
airbyte_line(LdrAirbyteReader *r, const char **p, LdrError *err)
{
	LdrWindow  *w = &r->base.w;

	for (;;)
	{
		char	   *eol = memchr(w->cur, '\n', (size_t) (w->end - w->cur));

		if (eol == NULL && !w->eof)
		{
			LdrStatus	status = ldr_reader_more(&r->base, err);

			if (status != LDR_OK)
				return status;
			continue;
		}
		r->eol = eol != NULL ? eol : w->end;
		if (!r->begun && r->eol - w->cur >= 3 && memcmp(w->cur, "\xEF\xBB\xBF", 3) == 0)
			w->cur += 3;		/* a byte order mark, which parsers may skip */
		r->begun = true;
		for (*p = w->cur; **p == ' ' || **p == '\t' || **p == '\r';)
			(*p)++;
		if (*p != r->eol)
			return LDR_OK;
		w->cur = r->eol;
		if (eol == NULL)
			return LDR_END;
		w->cur++;
		r->base.line++;
	}
}

/* The line in work as it stands. */
static void
airbyte_whole_line(const LdrAirbyteReader *r, LdrMessage *m)
{
	const char *end = r->eol;

	while (end > r->base.w.cur && end[-1] == '\r')
		end--;
	m->raw = r->base.w.cur;
	m->raw_len = (size_t) (end - m->raw);
}

/* Say it in the words of messages: what reads JSON calls a line a row of a file. */
static void
airbyte_reword(const LdrJson *j, LdrError *err)
{
	if (err->status == LDR_TRUNCATED)
	{
		strcpy(err->message, "the input ends inside a message");
		strcpy(err->hint, "What wrote the messages was cut off; run it again.");
	}
	else if (err->status == LDR_UNEXPECTED && *j->place.at == '\n')
		strcpy(err->hint, "Each message must be one JSON object on one line.");
}

/* Nothing of the last message is needed any more: give back what a huge one took. */
static inline void
airbyte_begin(LdrAirbyteReader *r)
{
	LdrReaderBase *b = &r->base;

	if (b->scratch_size > AIRBYTE_KEEP)
	{
		free(b->scratch);
		b->scratch = NULL;
		b->scratch_size = 0;
	}
	b->scratch_pos = b->scratch;
	if (r->state_size > AIRBYTE_KEEP)
	{
		free(r->state);
		r->state = NULL;
		r->state_size = 0;
	}
}

LdrStatus
ldr_airbyte_next(LdrAirbyteReader *r, LdrMessage *m, LdrError *err)
{
	LdrReaderBase *b = &r->base;
	LdrJson		j = {.base = b, .err = err, .lenient = true};
	LdrStatus	status;

	LDR_FAULT("read: Airbyte");
	airbyte_begin(r);
	status = airbyte_line(r, &j.p, err);
	if (status != LDR_OK)
		return status;
	j.end = b->w.end;
	j.place = (LdrPlace) {b->w.cur, b->line, 0, -1};
	*m = (LdrMessage) {.kind = LDR_MESSAGE_OTHER, .line = b->line, .stream = -1,
		.emitted_at = INT64_MIN, .row_estimate = -1, .byte_estimate = -1
	};
	airbyte_whole_line(r, m);
	if (*j.p == '{')
		status = airbyte_message(r, &j, m);
	else
	{
		m->kind = LDR_MESSAGE_NOT_JSON;
		m->text = (LdrField) {m->raw, (uint32_t) m->raw_len, LDR_STRING};
	}
	if (status != LDR_OK)
	{
		airbyte_reword(&j, err);
		return status;
	}
	/* the line's end too, so that the next one finds nothing to skip */
	b->w.cur = r->eol + (r->eol < b->w.end);
	b->line++;
	return LDR_OK;
}

uint64_t
ldr_airbyte_consumed(const LdrAirbyteReader *r)
{
	return r->base.pub.source->consumed(r->base.pub.source);
}

LdrAirbyteReader *
ldr_airbyte_open(LdrSource *source, const LdrMessageStream *streams, int nstreams, LdrError *err)
{
	LdrReaderOptions options = {NULL, 0, 0, false};
	LdrAirbyteReader *r;

	r = (LdrAirbyteReader *) ldr_reader_new(sizeof(LdrAirbyteReader), source, &options, err);
	if (r == NULL)
		return NULL;
	r->base.w.by_line = true;
	r->last = -1;
	if (!ldr_airbyte_open_streams(r, streams, nstreams))
	{
		ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory for a reader of %d streams", nstreams);
		ldr_airbyte_close(r);
		return NULL;
	}
	return r;
}

void
ldr_airbyte_close(LdrAirbyteReader *r)
{
	if (r == NULL)
		return;
	ldr_airbyte_close_streams(r);
	free(r->members);
	free(r->state);
	ldr_reader_free(&r->base.pub);
}
