/*
 * sink/index_sort.c: index entries in an order close to that of their index.
 *
 * Entries are sorted by a number of eight bytes that is made of each, never by the index's own
 * comparison: that costs a call of strcoll() for a text of most collations, 20 times for each of a
 * million entries. The number is what follows the start that all texts have in common; those that
 * have the same number are sorted again by what follows, and at last by the next column. What has
 * no number (numeric does, approximately; a range does not) stays in the order of the file.
 */
#include "postgres.h"

#include <math.h>
#include <string.h>

#include "access/nbtree.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/pg_locale.h"
#include "utils/sortsupport.h"
#include "utils/uuid.h"
#include "utils/varlena.h"

#include "compat.h"
#include "sink/index.h"

#define MAX_COLUMNS		4		/* that are looked at */
#define MAX_DEPTH		12		/* sorts of the same entry */
#define FEW_ENTRIES		8		/* with the same number: not sorted again */
#define RESET_ENTRIES	1024	/* between two looks at memory */
#define TEXT_BYTES		32		/* of a text that make its number */
#define TRANSFORMED		1024	/* bytes that strxfrm() may need for them */

typedef enum OrderKind
{
	ORDER_NONE,
	ORDER_SIGNED,				/* integers, dates, times */
	ORDER_UNSIGNED,
	ORDER_FLOAT4,
	ORDER_FLOAT8,
	ORDER_NUMERIC,
	ORDER_BYTES,				/* a string as it is */
	ORDER_ABBREVIATED,			/* a string, by what the server sorts it by first */
	ORDER_TRANSFORMED			/* a string, by strxfrm() */
} OrderKind;

typedef struct OrderColumn
{
	OrderKind	kind;
	int			len;			/* of bytes of fixed length; 0: a varlena */
	bool		descending;
	bool		nulls_first;
	Oid			collation;
	SortSupportData support;
} OrderColumn;

typedef struct LdrIndexOrder
{
	TupleDesc	desc;
	int			ncolumns;
	OrderColumn columns[MAX_COLUMNS];
} LdrIndexOrder;

#define ST_SORT sort_entries
#define ST_ELEMENT_TYPE LdrIndexEntry
#define ST_COMPARE(a, b) \
	((a)->key < (b)->key ? -1 : (a)->key > (b)->key ? 1 : \
	 (a)->at < (b)->at ? -1 : (a)->at > (b)->at)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DEFINE
#include "lib/sort_template.h"

/* A text of the collation; opfamilies of patterns have none. */
static OrderKind
order_text_kind(OrderColumn *column, Oid opfamily, Oid collation)
{
	if (opfamily == TEXT_PATTERN_BTREE_FAM_OID || opfamily == BPCHAR_PATTERN_BTREE_FAM_OID ||
		!OidIsValid(collation) || ldr_collate_is_c(collation))
		return ORDER_BYTES;
	column->collation = collation;
	column->support.ssup_cxt = CurrentMemoryContext;
	column->support.ssup_collation = collation;
	column->support.abbreviate = true;
	varstr_sortsupport(&column->support, TEXTOID, collation);
	return column->support.abbrev_converter ? ORDER_ABBREVIATED : ORDER_TRANSFORMED;
}

static OrderKind
order_kind(OrderColumn *column, Oid opfamily, Oid type, Oid collation)
{
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return ORDER_SIGNED;
		case OIDOID:
		case BOOLOID:
		case CHAROID:
			return ORDER_UNSIGNED;
		case FLOAT4OID:
			return ORDER_FLOAT4;
		case FLOAT8OID:
			return ORDER_FLOAT8;
		case NUMERICOID:
			return ORDER_NUMERIC;
		case UUIDOID:
			column->len = UUID_LEN;
			return ORDER_BYTES;
		case BYTEAOID:
			return ORDER_BYTES;
		case TEXTOID:
		case BPCHAROID:
			return order_text_kind(column, opfamily, collation);
		default:
			return ORDER_NONE;
	}
}

struct LdrIndexOrder *
ldr_index_order(Relation index)
{
	LdrIndexOrder *order = palloc0(sizeof(LdrIndexOrder));

	order->desc = RelationGetDescr(index);
	order->ncolumns = Min(IndexRelationGetNumberOfKeyAttributes(index), MAX_COLUMNS);
	for (int i = 0; i < order->ncolumns; i++)
	{
		OrderColumn *column = &order->columns[i];

		column->descending = (index->rd_indoption[i] & INDOPTION_DESC) != 0;
		column->nulls_first = (index->rd_indoption[i] & INDOPTION_NULLS_FIRST) != 0;
		column->kind = order_kind(column, index->rd_opfamily[i], index->rd_opcintype[i],
								  index->rd_indcollation[i]);
	}
	return order;
}

/* Numbers of the same order as the doubles. */
static uint64
order_of_double(double value)
{
	uint64		bits;

	if (isnan(value))
		return PG_UINT64_MAX;
	memcpy(&bits, &value, sizeof(bits));
	return (bits >> 63) != 0 ? ~bits : bits | UINT64CONST(1) << 63;
}

static uint64
order_of_signed(Datum value, const OrderColumn *column, int16 len)
{
	int64		number = len == 8 ? DatumGetInt64(value)
		: len == 4 ? DatumGetInt32(value) : DatumGetInt16(value);

	return (uint64) number ^ UINT64CONST(1) << 63;
}

/* The first eight bytes as a number. */
static uint64
order_of_bytes(const char *bytes, int len)
{
	uint64		number = 0;

	memcpy(&number, bytes, Min(len, (int) sizeof(number)));
	return pg_ntoh64(number);
}

static uint64
order_of_text(OrderColumn *column, const char *bytes, int len)
{
	char		text[VARHDRSZ + TEXT_BYTES + 1];
	char		transformed[TRANSFORMED];

	if (len > TEXT_BYTES)
		len = pg_mbcliplen(bytes, len, TEXT_BYTES);
	memcpy(text + VARHDRSZ, bytes, len);
	text[VARHDRSZ + len] = '\0';
	if (column->kind == ORDER_ABBREVIATED)
	{
		SET_VARSIZE(text, VARHDRSZ + len);
		return column->support.abbrev_converter(PointerGetDatum(text), &column->support);
	}
	len = ldr_strxfrm(transformed, text + VARHDRSZ, sizeof(transformed), column->collation);
	return (size_t) len < sizeof(transformed) ? order_of_bytes(transformed, len) : 0;
}

/* The string of a value; none of one that is compressed, which stays where it is. */
static const char *
order_bytes(const OrderColumn *column, Datum value, int *len)
{
	struct varlena *string = (struct varlena *) DatumGetPointer(value);

	*len = column->len;
	if (column->len > 0)
		return (const char *) string;
	if (VARATT_IS_COMPRESSED(string) || VARATT_IS_EXTERNAL(string))
		return "";
	*len = VARSIZE_ANY_EXHDR(string);
	return VARDATA_ANY(string);
}

static bool
order_is_string(const OrderColumn *column)
{
	return column->kind >= ORDER_BYTES;
}

/* The number of a value that is not NULL; of a string, of what follows the first skip bytes. */
static uint64
order_of_value(OrderColumn *column, Datum value, int16 attlen, int skip)
{
	const char *bytes;
	int			len;

	switch (column->kind)
	{
		case ORDER_NONE:
			return 0;
		case ORDER_SIGNED:
			return order_of_signed(value, column, attlen);
		case ORDER_UNSIGNED:
			return attlen == 1 ? DatumGetUInt8(value) : DatumGetObjectId(value);
		case ORDER_FLOAT4:
			return order_of_double(DatumGetFloat4(value));
		case ORDER_FLOAT8:
			return order_of_double(DatumGetFloat8(value));
		case ORDER_NUMERIC:
			return order_of_double(DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
																	  value)));
		default:
			break;
	}
	bytes = order_bytes(column, value, &len);
	skip = Min(skip, len);
	return column->kind == ORDER_BYTES ? order_of_bytes(bytes + skip, len - skip)
		: order_of_text(column, bytes + skip, len - skip);
}

static inline Datum
order_value(LdrIndexRun *run, const LdrIndexEntry *entry, int column, bool *isnull)
{
	return index_getattr(ldr_index_tuple(run, entry), column + 1, run->order->desc, isnull);
}

/*
 * How many bytes all strings begin with, which are known to have the first skip in common, but for
 * those that are NULL; *all if they have no others.
 */
static int
order_common(LdrIndexRun *run, const LdrIndexEntry *entries, int n, int column, int skip, bool *all)
{
	const OrderColumn *c = &run->order->columns[column];
	const char *first = NULL;
	int			common = 0;

	*all = true;
	for (int i = 0; i < n && (first == NULL || common > skip || *all); i++)
	{
		bool		isnull;
		Datum		value = order_value(run, &entries[i], column, &isnull);
		const char *bytes;
		int			len;
		int			j = skip;

		if (isnull)
			continue;
		bytes = order_bytes(c, value, &len);
		if (first == NULL)
		{
			first = bytes;
			common = len;
		}
		while (j < Min(common, len) && bytes[j] == first[j])
			j++;
		*all = *all && j == len && j == common;
		common = Min(common, j);
	}
	if (common > skip && c->kind > ORDER_BYTES)
		common = skip + pg_mbcliplen(first + skip, common + 1 - skip, common - skip);
	return common;
}

/* Give each entry its number. */
static void
order_number(LdrIndexRun *run, LdrIndexEntry *entries, int n, int column, int skip)
{
	OrderColumn *c = &run->order->columns[column];
	int16		attlen = TupleDescAttr(run->order->desc, column)->attlen;

	for (int i = 0; i < n; i++)
	{
		bool		isnull;
		Datum		value = order_value(run, &entries[i], column, &isnull);

		if (isnull)
			entries[i].key = c->nulls_first ? 0 : PG_UINT64_MAX;
		else
		{
			entries[i].key = order_of_value(c, value, attlen, skip);
			if (c->descending)
				entries[i].key = ~entries[i].key;
		}
		/* numerics leave something behind */
		if (i % RESET_ENTRIES == 0)
			MemoryContextReset(CurrentMemoryContext);
	}
}

/*
 * Sort entries by a column. same: their strings there are known to have the same number, and to
 * begin with the same skip bytes.
 */
static void
order_sort(LdrIndexRun *run, LdrIndexEntry *entries, int n, int column, bool same, int skip,
		   int depth)
{
	const OrderColumn *c = &run->order->columns[column];
	bool		all = false;

	if (column >= run->order->ncolumns || depth > MAX_DEPTH || n < (depth > 0 ? FEW_ENTRIES : 2))
		return;
	if (order_is_string(c))
	{
		int			common = order_common(run, entries, n, column, skip, &all);

		/* a collation may give many texts the same number, and there is no more of it */
		if (same && common == skip && !all && c->kind != ORDER_BYTES)
			return;
		skip = common;
	}
	order_number(run, entries, n, column, skip);
	sort_entries(entries, n);
	for (int from = 0, i = 1; i <= n; i++)
	{
		if (i < n && entries[i].key == entries[from].key)
			continue;
		if (order_is_string(c) && !all)
			order_sort(run, entries + from, i - from, column, true, skip, depth + 1);
		else
			order_sort(run, entries + from, i - from, column + 1, false, 0, depth + 1);
		from = i;
	}
}

void
ldr_index_sort(LdrIndexRun *run)
{
	order_sort(run, run->entries, run->nentries, 0, false, 0, 0);
}
