/*
 * reader/airbyte_parts.h: what the files of the reader of Airbyte messages share. No postgres.h.
 *
 *	airbyte.c			lines, and which payload is whose; TRACE and LOG
 *	airbyte_record.c	RECORD
 *	airbyte_state.c		STATE
 *	airbyte_streams.c	which stream a message is about
 *	airbyte_walk.c		members of objects
 */
#ifndef LDR_AIRBYTE_PARTS_H
#define LDR_AIRBYTE_PARTS_H

#include <string.h>

#include "reader/airbyte.h"
#include "reader/base.h"
#include "reader/json.h"

/* A stream and how its last record spelled its properties. */
typedef struct LdrAirbyteStream
{
	const LdrMessageStream *def;
	uint32_t	name_len;
	uint32_t	name_space_len; /* 0: none */
	int			first;			/* the first stream of the same name */
	int			next;			/* the next one, -1: no more */
	int			used;			/* in the first one: which of them had the last record */
	LdrNameIndex exact;
	LdrNameIndex folded;
	bool	   *clashes;		/* by position: another column differs in letter case only */
	/*
	 * Spellings to compare a key with: those of the columns, and behind them, at position +
	 * ncolumns, how the column was last spelled otherwise.
	 */
	LdrNameKey *spellings;
	char	   *spelled;		/* the bytes of the latter */
	int		   *expected;		/* the spelling of the n-th key of the last record, -1: none */
	int			nexpected;
} LdrAirbyteStream;

/* What is known of a record. */
typedef struct LdrAirbyteRecord
{
	bool		present;
	LdrField	name;
	LdrField	name_space;
	const char *data;			/* its brace, NULL: there is none */
	const char *parsed;			/* the data that r->fields were taken from */
	int			parsed_for;		/* with the columns of this stream */
	int64_t		emitted_at;
	LdrField	changes;
} LdrAirbyteRecord;

/* A member of a STATE's object. */
typedef struct LdrAirbyteMember
{
	LdrField	key;
	const char *key_text;		/* with its quotes */
	size_t		key_len;
	LdrField	value;
} LdrAirbyteMember;

struct LdrAirbyteReader
{
	LdrReaderBase base;
	bool		begun;			/* past what a byte order mark could stand before */
	char	   *eol;			/* of the line in work */
	LdrAirbyteStream *streams;
	int			nstreams;
	LdrNameIndex names;			/* of streams, without their namespaces */
	int			last;			/* the stream of the last record, -1: none */
	LdrField   *fields;			/* of a record, as many as the widest stream has columns */
	bool	   *by_case;		/* a field that is not absent: its key differed in case */
	LdrAirbyteMember *members;	/* of a state */
	int			nmembers;
	int			members_size;
	char	   *state;
	size_t		state_size;
};

/* A payload by its key, for ldr_airbyte_pick. */
typedef struct LdrAirbytePick
{
	const char *key;
	LdrField	value;			/* LDR_RAW_JSON, or LDR_NULL */
} LdrAirbytePick;

/* Steps over the members of an object. */
typedef struct LdrAirbyteWalk
{
	bool		begun;
	bool		ended;
	LdrField	key;
	const char *key_text;		/* its opening quote */
	size_t		key_len;		/* with both quotes */
} LdrAirbyteWalk;

static inline bool
ldr_airbyte_is(const LdrField *f, const char *text)
{
	size_t		len = strlen(text);

	return f->kind == LDR_STRING && f->len == len && memcmp(f->data, text, len) == 0;
}

/* Behind a key at j->p: its colon. */
static inline LdrStatus
ldr_airbyte_colon(LdrJson *j)
{
	ldr_json_space(j);
	if (*j->p != ':')
		return ldr_json_unexpected(j, "where a colon is expected");
	j->p++;
	ldr_json_space(j);
	return LDR_OK;
}

/* The value at j->p as it stands in the line; null is LDR_NULL. */
static inline LdrStatus
ldr_airbyte_raw(LdrJson *j, LdrField *value)
{
	const char *begin = j->p;
	LdrStatus	status = ldr_json_skip(j);

	if (status != LDR_OK)
		return status;
	if (*begin == 'n')
		*value = (LdrField) {NULL, 0, LDR_NULL};
	else
		*value = (LdrField) {begin, (uint32_t) (j->p - begin), LDR_RAW_JSON};
	return LDR_OK;
}

static inline bool
ldr_airbyte_in_namespace(const LdrAirbyteStream *s, const LdrField *name_space)
{
	uint32_t	len = 0;

	if (name_space->kind == LDR_STRING)
		len = name_space->len;
	else if (name_space->kind != LDR_NULL)
		return false;
	return len == s->name_space_len &&
		(len == 0 || memcmp(s->def->name_space, name_space->data, len) == 0);
}

static inline bool
ldr_airbyte_has_name(const LdrAirbyteStream *s, const LdrField *name)
{
	return name->kind == LDR_STRING && name->len == s->name_len &&
		memcmp(name->data, s->def->name, s->name_len) == 0;
}

/* airbyte_walk.c */

/*
 * The next member of the object whose brace is at j->p: its key, and j->p on its value, which the
 * caller steps over. At the end of the object ended is set, and j->p is behind it.
 */
extern LdrStatus ldr_airbyte_walk(LdrJson *j, LdrAirbyteWalk *walk);

/* The value at j->p as text: null is LDR_NULL, and what is no string LDR_INVALID. */
extern LdrStatus ldr_airbyte_text(LdrJson *j, LdrField *value);

/* The same of a value that ldr_airbyte_raw has stepped over. */
extern LdrStatus ldr_airbyte_raw_text(const LdrJson *j, const LdrField *raw, LdrField *value);

/*
 * Look in an object that ldr_airbyte_raw has stepped over for some keys. What is no object has none
 * of them.
 */
extern LdrStatus ldr_airbyte_pick(const LdrJson *j, const LdrField *object, LdrAirbytePick *picks,
								  int n);

/* airbyte_streams.c */

/* Index the streams of a catalog. False: out of memory. */
extern bool ldr_airbyte_open_streams(LdrAirbyteReader *r, const LdrMessageStream *streams,
									 int nstreams);
extern void ldr_airbyte_close_streams(LdrAirbyteReader *r);

/* The first stream of a name, -1 if there is none. */
extern int	ldr_airbyte_named(const LdrAirbyteReader *r, const LdrField *name);

/*
 * The stream of a name in a namespace, -1 if there is none. guess, if not -1, is looked at first.
 */
extern int	ldr_airbyte_find(const LdrAirbyteReader *r, const LdrField *name,
							 const LdrField *name_space, int guess);

/* Say in a message which stream it is about, by its names. */
extern void ldr_airbyte_set_stream(LdrAirbyteReader *r, LdrMessage *m, const LdrField *name,
								   const LdrField *name_space, int guess);

/* The same by a stream_descriptor. */
extern LdrStatus ldr_airbyte_descriptor(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m,
										const LdrField *descriptor);

/* airbyte_record.c */

/* The value of a record, at j->p. */
extern LdrStatus ldr_airbyte_record(LdrAirbyteReader *r, LdrJson *j, LdrAirbyteRecord *record);

/* The whole line of a RECORD has been read: fill the message. */
extern LdrStatus ldr_airbyte_take_record(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m,
										 const LdrAirbyteRecord *record);

/* airbyte_state.c: the payload of a STATE. */
extern LdrStatus ldr_airbyte_take_state(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m,
										const LdrField *state);

/* airbyte.c */

/* A message that is JSON, but not what it says it is. */
extern LdrStatus ldr_airbyte_fail(LdrAirbyteReader *r, LdrJson *j, const char *message);
extern LdrStatus ldr_airbyte_no_memory(LdrAirbyteReader *r, LdrJson *j);

#endif							/* LDR_AIRBYTE_PARTS_H */
