/*
 * reader/reader.h: bytes -> rows, one file per format. No postgres.h.
 *
 * A reader pulls from its source into one window, finds the next row in it, undoes quoting and
 * escapes in place and hands out slices. Slices stay valid until the next call of next. The
 * window grows with the longest row, never with the file.
 */
#ifndef LDR_READER_H
#define LDR_READER_H

#include "source/source.h"

#define LDR_MAX_FIELD	0x3fffff00	/* just below PostgreSQL's limit for one value, 1 GB */
#define LDR_MAX_RECORD	0xffffff00U /* raw bytes of one row */
#define LDR_MAX_DEPTH	512			/* nesting of JSON */
#define LDR_MAX_COLUMNS 1600		/* of a PostgreSQL table */
#define LDR_FIELD_SLACK 64		/* bytes behind each field that can be read, whatever they are */

typedef enum LdrFormat
{
	LDR_INSERT_VALUES,
	LDR_CSV,
	LDR_JSONL
} LdrFormat;

typedef enum LdrFieldKind
{
	LDR_NULL,					/* NULL in insert_values, null in JSON */
	LDR_ABSENT,					/* the row does not mention the column: jsonl only */
	LDR_BARE,					/* an unquoted token: number, True, false, csv without quotes */
	LDR_STRING,					/* was quoted; escapes are undone */
	LDR_RAW_JSON,				/* a JSON value as it stands in the file */
	/* Airbyte, as it stands in the file: a string that is not text, a value beyond LDR_MAX_FIELD */
	LDR_INVALID
} LdrFieldKind;

typedef struct LdrField
{
	const char *data;			/* not terminated; NULL for LDR_NULL and LDR_ABSENT */
	uint32_t	len;
	LdrFieldKind kind;
} LdrField;

typedef struct LdrRow
{
	LdrField   *fields;			/* r->ncolumns of them */
	int64_t		line;			/* where the row begins, 1-based */
	/*
	 * No byte of any field is beyond 0x7f, nor zero: the text is the same in every encoding and
	 * valid in each. False says nothing.
	 */
	bool		ascii;
} LdrRow;

/* A column that the caller expects: jsonl finds its keys by it, the others check against it. */
typedef struct LdrColumnName
{
	const char *name;			/* UTF-8, terminated */
	/* jsonl: hand out any value but null as LDR_RAW_JSON (json columns) */
	bool		raw_json;
} LdrColumnName;

typedef struct LdrReaderOptions
{
	const LdrColumnName *columns;	/* the table's; must outlive the reader */
	int			ncolumns;
	/* csv only */
	char		delimiter;		/* one byte, ',' if 0 */
	bool		no_header;		/* the file's columns are the first ones of these, in order */
} LdrReaderOptions;

typedef struct LdrReader LdrReader;

struct LdrReader
{
	LdrStatus	(*next) (LdrReader *r, LdrRow *row, LdrError *err);
	/* NULL: this format has no rows that can be passed over */
	LdrStatus	(*skip) (LdrReader *r, LdrRow *row, LdrError *err);
	void		(*close) (LdrReader *r);	/* closes the source too */
	LdrSource  *source;
	/*
	 * The columns of a row, as positions in options.columns. csv and insert_values: in the order
	 * of the file's header; jsonl: all of options.columns, one to one.
	 */
	int			ncolumns;
	int		   *columns;
	/* the raw text of the row that next returned or failed on, for error reports and rejects */
	const char *raw;
	size_t		raw_len;
	/*
	 * Called before the raw texts of earlier rows go away: until then they are where they were. The
	 * caller may set it; NULL: nobody keeps them.
	 */
	void		(*forget) (void *arg);
	void	   *forget_arg;
};

/*
 * Open a reader of the format over source, reading the header where there is one. Takes the
 * source over, also if it fails. A header that names a column not in options (LDR_UNKNOWN_COLUMN)
 * or one twice (LDR_DUPLICATE_COLUMN) is refused. An empty file is valid in jsonl, and in csv.
 */
extern LdrReader *ldr_reader_open(LdrFormat format, LdrSource *source,
								  const LdrReaderOptions *options, LdrError *err);

/*
 * The next row. LDR_OK, LDR_END, or an error with line and column filled; then only skip or close.
 */
static inline LdrStatus
ldr_reader_next(LdrReader *r, LdrRow *row, LdrError *err)
{
	return r->next(r, row, err);
}

/*
 * Go on behind the row that next has just failed on with *err: LDR_OK if it is known where that row
 * ends. Then raw is the whole of it, row->line its first line, and next reads the row behind it.
 * Else the status of *err, which stays, or of an error on the way, which takes its place.
 */
extern LdrStatus ldr_reader_skip(LdrReader *r, LdrRow *row, LdrError *err);

/* Close the reader, its window and its source. NULL is allowed. */
extern void ldr_reader_close(LdrReader *r);

/* One per format, called by ldr_reader_open. */
extern LdrReader *ldr_insert_values_open(LdrSource *source, const LdrReaderOptions *options,
										 LdrError *err);
extern LdrReader *ldr_csv_open(LdrSource *source, const LdrReaderOptions *options, LdrError *err);
extern LdrReader *ldr_jsonl_open(LdrSource *source, const LdrReaderOptions *options, LdrError *err);

#endif							/* LDR_READER_H */
