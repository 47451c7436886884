/*
 * schema/types.c: the PostgreSQL type of a dlt column. No postgres.h.
 *
 * Spelled as format_type() spells it, so that it can be compared with a live column as text.
 */
#include "schema/schema.h"

#include <stdio.h>
#include <string.h>

/* what dlt takes where a column says nothing */
#define TYPES_DECIMAL_PRECISION 38
#define TYPES_DECIMAL_SCALE 9
#define TYPES_WEI_PRECISION 156
#define TYPES_WEI_SCALE 78

/* limits of PostgreSQL */
#define TYPES_MAX_VARCHAR 10485760
#define TYPES_MAX_NUMERIC 1000
#define TYPES_MAX_FRACTION 6	/* digits of a second */

/* Fail for a precision or scale that the type does not have. */
static LdrStatus
types_unsupported(const LdrSchemaColumn *column, const char *type, const char *what, int value,
				  LdrError *err)
{
	snprintf(err->column, sizeof(err->column), "%s", column->name);
	return ldr_fail(err, LDR_UNSUPPORTED, "column \"%s\": type %s cannot have %s %d",
					err->column, type, what, value);
}

static LdrStatus
types_text(const LdrSchemaColumn *column, char *buf, size_t bufsize, LdrError *err)
{
	if (column->precision < 0)
		snprintf(buf, bufsize, "character varying");
	else if (column->precision >= 1 && column->precision <= TYPES_MAX_VARCHAR)
		snprintf(buf, bufsize, "character varying(%d)", column->precision);
	else
		return types_unsupported(column, "character varying", "length", column->precision, err);
	return LDR_OK;
}

/* The precision of an integer is its width in bits. */
static LdrStatus
types_bigint(const LdrSchemaColumn *column, char *buf, size_t bufsize, LdrError *err)
{
	const char *type = "bigint";

	if (column->precision > 64)
		return types_unsupported(column, "bigint", "precision", column->precision, err);
	if (column->precision >= 0 && column->precision <= 16)
		type = "smallint";
	else if (column->precision >= 0 && column->precision <= 32)
		type = "integer";
	snprintf(buf, bufsize, "%s", type);
	return LDR_OK;
}

/* decimal and wei differ only in their defaults; each part falls back to its own. */
static LdrStatus
types_numeric(const LdrSchemaColumn *column, int default_precision, int default_scale,
			  char *buf, size_t bufsize, LdrError *err)
{
	int			precision = column->precision < 0 ? default_precision : column->precision;
	int			scale = column->scale < 0 ? default_scale : column->scale;

	if (precision < 1 || precision > TYPES_MAX_NUMERIC)
		return types_unsupported(column, "numeric", "precision", precision, err);
	if (scale > TYPES_MAX_NUMERIC)
		return types_unsupported(column, "numeric", "scale", scale, err);
	snprintf(buf, bufsize, "numeric(%d,%d)", precision, scale);
	return LDR_OK;
}

/*
 * dlt refuses a timestamp of more than six digits, but not a time: there the server warns and
 * makes it six, so a table that dlt created has time(6).
 */
static LdrStatus
types_moment(const LdrSchemaColumn *column, char *buf, size_t bufsize, LdrError *err)
{
	bool		is_time = column->type == LDR_TYPE_TIME;
	const char *type = is_time ? "time" : "timestamp";
	const char *zone = !is_time && column->timezone ? "with" : "without";
	int			precision = column->precision;

	if (precision > TYPES_MAX_FRACTION)
	{
		if (!is_time)
			return types_unsupported(column, type, "precision", precision, err);
		precision = TYPES_MAX_FRACTION;
	}
	if (precision < 0)
		snprintf(buf, bufsize, "%s %s time zone", type, zone);
	else
		snprintf(buf, bufsize, "%s(%d) %s time zone", type, precision, zone);
	return LDR_OK;
}

/* With SRID 0 PostGIS does not spell out that it is any geometry, but it still has no Z and M. */
static void
types_geometry(const LdrSchemaColumn *column, char *buf, size_t bufsize)
{
	if (column->srid == 0)
		snprintf(buf, bufsize, "geometry");
	else
		snprintf(buf, bufsize, "geometry(Geometry,%d)", column->srid);
}

/* The type as text, without looking whether it was cut. */
static LdrStatus
types_write(const LdrSchemaColumn *column, const char *table_format, char *buf, size_t bufsize,
			LdrError *err)
{
	if (column->geometry)
	{
		types_geometry(column, buf, bufsize);
		return LDR_OK;
	}
	switch (column->type)
	{
		case LDR_TYPE_TEXT:
			return types_text(column, buf, bufsize, err);
		case LDR_TYPE_BIGINT:
			return types_bigint(column, buf, bufsize, err);
		case LDR_TYPE_DECIMAL:
			return types_numeric(column, TYPES_DECIMAL_PRECISION, TYPES_DECIMAL_SCALE,
								 buf, bufsize, err);
		case LDR_TYPE_WEI:
			return types_numeric(column, TYPES_WEI_PRECISION, TYPES_WEI_SCALE,
								 buf, bufsize, err);
		case LDR_TYPE_TIMESTAMP:
		case LDR_TYPE_TIME:
			return types_moment(column, buf, bufsize, err);
		case LDR_TYPE_DOUBLE:
			snprintf(buf, bufsize, "double precision");
			return LDR_OK;
		case LDR_TYPE_BOOL:
			snprintf(buf, bufsize, "boolean");
			return LDR_OK;
		case LDR_TYPE_DATE:
			snprintf(buf, bufsize, "date");
			return LDR_OK;
		case LDR_TYPE_BINARY:
			snprintf(buf, bufsize, "bytea");
			return LDR_OK;
		case LDR_TYPE_JSON:
			/* dlt's parquet route cannot copy into jsonb, so it makes json there */
			snprintf(buf, bufsize, "%s",
					 table_format != NULL && strcmp(table_format, "parquet") == 0 ?
					 "json" : "jsonb");
			return LDR_OK;
		case LDR_TYPE_NONE:
			break;
	}
	return ldr_fail(err, LDR_UNSUPPORTED, "column \"%s\" has no data type", column->name);
}

LdrStatus
ldr_column_type(const LdrSchemaColumn *column, const char *table_format, char *buf,
				size_t bufsize, LdrError *err)
{
	LdrStatus	status = types_write(column, table_format, buf, bufsize, err);

	/* the longest is "timestamp(6) without time zone" */
	if (status == LDR_OK && strlen(buf) + 1 >= bufsize)
		return ldr_fail(err, LDR_TOO_LONG, "type of column \"%s\" does not fit", column->name);
	return status;
}

LdrStatus
ldr_column_type_sql(const LdrSchemaColumn *column, const char *table_format, char *buf,
					size_t bufsize, LdrError *err)
{
	static const char *const plain_names[] = {"jsonb", "json", "bytea", "date"};
	char		type[64];
	const char *prefix = "";
	LdrStatus	status = ldr_column_type(column, table_format, type, sizeof(type), err);

	if (status != LDR_OK)
		return status;
	if (column->geometry && column->srid == 0)
		snprintf(type, sizeof(type), "geometry(Geometry,0)");
	for (size_t i = 0; i < sizeof(plain_names) / sizeof(plain_names[0]); i++)
		if (strcmp(type, plain_names[i]) == 0)
			prefix = "pg_catalog.";
	if ((size_t) snprintf(buf, bufsize, "%s%s", prefix, type) >= bufsize)
		return ldr_fail(err, LDR_TOO_LONG, "type of column \"%s\" does not fit", column->name);
	return LDR_OK;
}
