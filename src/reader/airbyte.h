/*
 * reader/airbyte.h: messages of the Airbyte protocol, one JSON object a line. No postgres.h.
 *
 * A line is read once: its envelope tells the stream, the stream the columns, and the members of
 * data become fields in place. All slices stay valid until the next call of next.
 */
#ifndef LDR_READER_AIRBYTE_H
#define LDR_READER_AIRBYTE_H

#include "reader/reader.h"

/* A stream of the catalog, as far as a reader needs it. */
typedef struct LdrMessageStream
{
	const char *name;			/* UTF-8, terminated */
	const char *name_space;		/* NULL: none */
	/* the properties; an exact name first, else one that differs in letter case only */
	const LdrColumnName *columns;
	int			ncolumns;
} LdrMessageStream;

typedef enum LdrMessageKind
{
	LDR_MESSAGE_RECORD,
	LDR_MESSAGE_STATE,
	LDR_MESSAGE_STATUS,			/* TRACE STREAM_STATUS */
	LDR_MESSAGE_ESTIMATE,		/* TRACE ESTIMATE */
	LDR_MESSAGE_ERROR,			/* TRACE ERROR */
	LDR_MESSAGE_LOG,
	LDR_MESSAGE_CONTROL,
	LDR_MESSAGE_OTHER,			/* any other type: to be ignored */
	LDR_MESSAGE_NOT_JSON		/* a line that does not begin with a brace: text of a log */
} LdrMessageKind;

typedef enum LdrStateKind
{
	LDR_STATE_STREAM,
	LDR_STATE_GLOBAL,
	LDR_STATE_LEGACY
} LdrStateKind;

typedef enum LdrStreamStatus
{
	LDR_STATUS_NONE,
	LDR_STATUS_STARTED,
	LDR_STATUS_RUNNING,
	LDR_STATUS_COMPLETE,
	LDR_STATUS_INCOMPLETE
} LdrStreamStatus;

typedef struct LdrMessage
{
	LdrMessageKind kind;
	int64_t		line;			/* 1-based */
	const char *raw;			/* the whole line, without its end */
	size_t		raw_len;
	/* the stream that a RECORD, STREAM state, STATUS, ESTIMATE or ERROR is about */
	int			stream;			/* position among the reader's streams; -1: none named, or unknown */
	LdrField	name;			/* as the message says it; LDR_NULL if it does not */
	LdrField	name_space;
	/* RECORD: of an unknown stream, fields is NULL */
	LdrField   *fields;			/* one for each column of the stream */
	int64_t		emitted_at;		/* microseconds since 1970; INT64_MIN: missing or out of range */
	LdrField	changes;		/* meta.changes, an array as LDR_RAW_JSON; LDR_NULL: none */
	/* STATE */
	LdrStateKind state_kind;
	/*
	 * The state object as it is to be given back, LDR_RAW_JSON: type first, "global" for "global_",
	 * of members that come twice the last one, none that is null, no destinationStats; everything
	 * else as it came.
	 */
	LdrField	state;
	/* STATUS, ESTIMATE (-1: not said), ERROR and LOG */
	LdrStreamStatus status;
	double		row_estimate;
	double		byte_estimate;
	LdrField	text;			/* message of ERROR or LOG; the line of NOT_JSON; else LDR_NULL */
	LdrField	level;			/* of LOG: INFO, WARN, ...; of ERROR: failure_type */
} LdrMessage;

typedef struct LdrAirbyteReader LdrAirbyteReader;

/*
 * Read messages from source. Takes it over, also if it fails (NULL, *err filled). The streams must
 * outlive the reader.
 */
extern LdrAirbyteReader *ldr_airbyte_open(LdrSource *source, const LdrMessageStream *streams,
										  int nstreams, LdrError *err);

/*
 * The next message. LDR_OK, LDR_END, or an error with its line; then only close. Blank lines are
 * skipped. A line that begins with a brace and is not one JSON object, or is a RECORD without
 * stream or data, is an error: what cannot be read must not be lost. A last line that is cut
 * (no line end, and not a whole object) is LDR_TRUNCATED.
 *
 * Strings: \u0000 is left out. One that is not text (a lone surrogate) is LDR_INVALID, as it stands
 * in the line; bytes that are not UTF-8 are passed on. A name that is not text is no stream's.
 * A value of any kind that is longer than LDR_MAX_FIELD is LDR_INVALID, too.
 */
extern LdrStatus ldr_airbyte_next(LdrAirbyteReader *r, LdrMessage *message, LdrError *err);

/* Bytes of the source that were read so far, as they lie on disk. */
extern uint64_t ldr_airbyte_consumed(const LdrAirbyteReader *r);

/* NULL is allowed. */
extern void ldr_airbyte_close(LdrAirbyteReader *r);

#endif							/* LDR_READER_AIRBYTE_H */
