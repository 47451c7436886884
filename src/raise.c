/*
 * raise.c: an LdrError becomes an ereport, in this one place.
 */
#include "postgres.h"

#include <errno.h>

#include "mb/pg_wchar.h"

#include "loader.h"

int
ldr_error_sqlstate(const LdrError *err)
{
	switch (err->status)
	{
		case LDR_IO:
			errno = err->sys_errno;
			return 0;			/* errcode_for_file_access */
		case LDR_OUT_OF_MEMORY:
			return ERRCODE_OUT_OF_MEMORY;
		case LDR_FILE_CHANGED:
			return ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
		case LDR_CORRUPT:
			return ERRCODE_DATA_CORRUPTED;
		case LDR_TOO_LONG:
		case LDR_TOO_DEEP:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case LDR_UNKNOWN_COLUMN:
			return ERRCODE_UNDEFINED_COLUMN;
		case LDR_DUPLICATE_COLUMN:
			return ERRCODE_DUPLICATE_COLUMN;
		case LDR_NUL_CHARACTER:
			return ERRCODE_UNTRANSLATABLE_CHARACTER;
		case LDR_BAD_JSON:
			return ERRCODE_INVALID_JSON_TEXT;
		case LDR_BAD_NAME:
			return ERRCODE_INVALID_NAME;
		case LDR_BAD_SCHEMA:
		case LDR_BAD_ARCHIVE:
			return ERRCODE_INVALID_PARAMETER_VALUE;
		case LDR_UNKNOWN_KEY:
		case LDR_UNSUPPORTED:
			return ERRCODE_FEATURE_NOT_SUPPORTED;
		default:
			return ERRCODE_BAD_COPY_FILE_FORMAT;
	}
}

/* Make control characters question marks, in place; but for those that may stay. */
static void
raise_no_control(char *text, const char *but)
{
	for (char *p = text; *p; p++)
		if (((unsigned char) *p < ' ' || *p == 0x7f) && strchr(but, *p) == NULL)
			*p = '?';
		else if (GetDatabaseEncoding() == PG_UTF8 && *p == '\xc2' && (unsigned char) p[1] < 0xa0)
			*p++ = '?', *p = '?';	/* those beyond ASCII */
}

char *
ldr_printable(const char *text)
{
	char	   *copy = pstrdup(text);
	bool		as_it_is = GetDatabaseEncoding() == PG_UTF8 &&
		pg_verify_mbstr(PG_UTF8, text, strlen(text), true);

	for (char *p = copy; *p && !as_it_is; p++)
		if (IS_HIGHBIT_SET(*p))
			*p = '?';
	raise_no_control(copy, "");
	return copy;
}

ErrorData *
ldr_error_printable(ErrorData *edata)
{
	char	   *texts[] = {edata->message, edata->detail, edata->hint};

	for (int i = 0; i < lengthof(texts); i++)
		if (texts[i] != NULL)
			raise_no_control(texts[i], "\n\t");
	return edata;
}

/* "<place>, line 3, column "id", value "abc"." as far as it is known; NULL if nothing is. */
static char *
raise_place(const LdrError *err, char *place)
{

	if (err->line > 0)
		place = psprintf("%s, line %lld", place, (long long) err->line);
	/* an unknown column is named by the message, and this says where it stands */
	if (err->column[0] != '\0' && err->status != LDR_UNKNOWN_COLUMN)
		place = psprintf("%s, column \"%s\"", place, err->column);
	else if (err->column_no > 0)
		place = psprintf("%s, field %d", place, err->column_no);
	if (err->value[0] != '\0')
		place = psprintf("%s, near \"%s\"", place, err->value);
	return psprintf("%s.", place);
}

static void
__attribute__((noreturn))
raise_error(const LdrError *err, char *place)
{
	int			code = ldr_error_sqlstate(err);

	ereport(ERROR,
			(code ? errcode(code) : errcode_for_file_access(),
			 errmsg("%s", ldr_printable(err->message)),
			 errdetail("%s", ldr_printable(raise_place(err, place))),
			 err->hint[0] != '\0' ? errhint("%s", err->hint) : 0));
}

void
ldr_raise(const LdrError *err, const char *file)
{
	raise_error(err, file ? psprintf("File \"%s\"", file) : pstrdup("Input"));
}

void
ldr_raise_in(const LdrError *err, const char *what)
{
	raise_error(err, pstrdup(what));
}
