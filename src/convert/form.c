/*
 * convert/form.c: the fields of a row -> a heap tuple, without Datums in between.
 *
 * A tuple's data are written column by column, with the columns' own routines where they have
 * some, and its header is put before them when it is known whether that has a null bitmap. Room for
 * tuples is taken from one piece of memory after the other: the first is kept for the next batch,
 * and grows to what a batch needs; the others are of the batch's context.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "rewrite/rewriteHandler.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "compat.h"
#include "convert/form.h"

#define FIRST_SIZE	(32 * 1024)
#define NEXT_SIZE	(128 * 1024)
#define KEEP_MAX	(1024 * 1024)	/* of the piece that is kept */
#define ROW_MAX		(256 * 1024)	/* longer rows are not formed here */

/* A column of the table that the file fills; in the order of the table. */
typedef struct FormColumn
{
	LdrPutFn	put[2];			/* of any field, of ASCII */
	LdrConverter *c;
	Form_pg_attribute att;
	int			field;			/* number in the row */
	bool		empty_is_null;
	bool		null_ok;		/* NULL passes all that there is to pass */
	bool		absent_is_null;
	uint16		infomask;		/* what a value adds */
} FormColumn;

struct LdrForm
{
	MemoryContext cxt;
	TupleDesc	desc;
	int			ncolumns;
	bool		ordered;		/* the columns stand in the file as in the table */
	bool		always_null;	/* some column is NULL in each row */
	size_t		header_max;		/* the header with a null bitmap */
	size_t		slack;			/* bytes that a row may need beyond its fields' lengths */
	size_t		bits_len;
	uint8	   *no_nulls;		/* the bitmap if no field is NULL */
	uint8	   *bits;			/* that of the row in work */
	char	   *keep;			/* the first piece of each batch */
	size_t		keep_size;
	size_t		used;			/* in pieces before this one */
	char	   *start;			/* this piece, aligned */
	char	   *at;				/* the next free byte, aligned */
	char	   *end;
	FormColumn	columns[FLEXIBLE_ARRAY_MEMBER];
};

/* Is the column's default NULL? */
static bool
form_default_is_null(Relation rel, AttrNumber attnum)
{
	return build_column_default(rel, attnum) == NULL;
}

/* Of a column without a routine that can be used. */
static char *
form_put_nothing(const LdrConverter *c, const LdrField *f, char *dst)
{
	return NULL;
}

static void
form_init_column(LdrForm *form, FormColumn *column, Relation rel, LdrConverter *c, int field,
				 AttrNumber attnum)
{
	Form_pg_attribute att = TupleDescAttr(form->desc, attnum - 1);

	column->att = att;
	column->c = c;
	column->field = field;
	column->put[false] = column->put[true] = form_put_nothing;
	form->slack += c->put_slack;
	column->empty_is_null = c->empty_is_null;
	/* the routines write short headers, which a column without TOAST has not */
	if (c->put != NULL && (att->attlen != -1 || att->attstorage != TYPSTORAGE_PLAIN))
	{
		column->put[false] = c->put;
		column->put[true] = c->put_ascii;
	}
	if (att->attlen < 0)
		column->infomask = HEAP_HASVARWIDTH;
	column->null_ok = !TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attnotnull &&
		!DomainHasConstraints(att->atttypid);
	column->absent_is_null = column->null_ok && c->format == LDR_JSONL &&
		form_default_is_null(rel, attnum);
}

/*
 * The bitmap of a row without a NULL in the file; false if a column that the file has not would
 * need more than that.
 */
static bool
form_init_nulls(LdrForm *form, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool	   *filled = palloc0(sizeof(bool) * desc->natts);

	for (int i = 0; i < form->ncolumns; i++)
		filled[form->columns[i].att->attnum - 1] = true;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (filled[i])
		{
			form->no_nulls[i >> 3] |= 1 << (i & 7);
			continue;
		}
		form->always_null = true;
		if (!att->attisdropped && (att->attnotnull || DomainHasConstraints(att->atttypid) ||
								   !form_default_is_null(rel, i + 1)))
			return false;
	}
	pfree(filled);
	return true;
}

LdrForm *
ldr_form_create(Relation rel, LdrConverter *converters, const AttrNumber *attnums, int n)
{
	int			natts = RelationGetNumberOfAttributes(rel);
	LdrForm    *form = palloc0(offsetof(LdrForm, columns) + sizeof(FormColumn) * n);
	int		   *field_of = palloc0(sizeof(int) * (natts + 1));

	form->cxt = CurrentMemoryContext;
	form->desc = CreateTupleDescCopy(RelationGetDescr(rel));
	form->ordered = true;
	form->bits_len = BITMAPLEN(natts);
	form->header_max = MAXALIGN(SizeofHeapTupleHeader + form->bits_len);
	form->no_nulls = palloc0(form->bits_len);
	form->bits = palloc0(form->bits_len);
	for (int i = 0; i < n; i++)
	{
		field_of[attnums[i]] = i + 1;
		form->ordered &= i == 0 || attnums[i] > attnums[i - 1];
	}
	for (int i = 1; i <= natts; i++)
	{
		int			field = field_of[i] - 1;

		if (field >= 0)
			form_init_column(form, &form->columns[form->ncolumns++], rel, &converters[field], field,
							 i);
	}
	pfree(field_of);
	return form_init_nulls(form, rel) ? form : NULL;
}

/* Take the tuples of the batch from another piece, of the given size at least. */
static void
form_next_piece(LdrForm *form, size_t size)
{
	/* aligned, as at is after each row, so that at never stands behind end */
	size = MAXALIGN(Max(size, NEXT_SIZE));
	form->used += form->at - form->start;
	form->start = form->at = MemoryContextAlloc(CurrentMemoryContext, size);
	form->end = form->start + size;
}

void
ldr_form_begin_batch(LdrForm *form)
{
	size_t		used = form->used + (form->at - form->start);

	if (form->keep == NULL || (form->used > 0 && used > form->keep_size))
	{
		size_t		size = MAXALIGN(Min(Max(used + used / 4, FIRST_SIZE), KEEP_MAX));

		if (size > form->keep_size)
		{
			if (form->keep != NULL)
				pfree(form->keep);
			form->keep = NULL;
			form->keep = MemoryContextAlloc(form->cxt, size);
			form->keep_size = size;
		}
	}
	form->used = 0;
	form->start = form->at = form->keep;
	form->end = form->keep + form->keep_size;
}

/*
 * Have room for more bytes behind dst, which are of the row in work, and may have to move with it.
 * Returns where dst is then; NULL if the row is too long.
 */
static char *
form_reserve(LdrForm *form, char *dst, size_t more)
{
	char	   *row = form->at;
	size_t		done = dst - row;

	if (done + more > ROW_MAX + form->slack)
		return NULL;
	form_next_piece(form, done + more);
	memcpy(form->at, row, done);
	return form->at + done;
}

/*
 * A Datum, as heap_form_tuple writes it, with room behind it for all the others; NULL if the row is
 * too long, or the value out of line.
 */
static char *
form_put_datum(LdrForm *form, const FormColumn *column, Datum value, size_t bytes, char *dst)
{
	Form_pg_attribute att = column->att;
	size_t		size = sizeof(Datum);
	size_t		room;
	bool		make_short = false;
	bool		align = true;

	if (att->attlen == -1)
	{
		const struct varlena *v = (const struct varlena *) DatumGetPointer(value);

		if (VARATT_IS_EXTERNAL(v))
			return NULL;
		size = VARSIZE_ANY(v);
		make_short = att->attstorage != TYPSTORAGE_PLAIN && VARATT_CAN_MAKE_SHORT(v);
		align = !make_short && !VARATT_IS_SHORT(v);
	}
	else if (att->attlen == -2)
		size = strlen(DatumGetCString(value)) + 1;
	else if (!att->attbyval)
		size = att->attlen;
	room = size + LDR_PUT_SLACK + bytes + form->slack;
	if (form->end - dst < room)
	{
		dst = form_reserve(form, dst, room);
		if (dst == NULL)
			return NULL;
	}

	if (align)
	{
		memset(dst, 0, MAXIMUM_ALIGNOF);
		dst = (char *) att_align_nominal(dst, att->attalign);
	}
	if (make_short)
	{
		size -= VARHDRSZ;
		SET_VARSIZE_SHORT(dst, size + VARHDRSZ_SHORT);
		dst += VARHDRSZ_SHORT;
		memcpy(dst, VARDATA(DatumGetPointer(value)), size);
	}
	else if (att->attbyval)
	{
		store_att_byval(dst, value, att->attlen);
		size = att->attlen;
	}
	else
		memcpy(dst, DatumGetPointer(value), size);
	return dst + size;
}

/* A value that has no routine, or that this does not take. */
static char *
form_put_other(LdrForm *form, const FormColumn *column, const LdrField *f, size_t bytes, int *field,
			   char *dst)
{
	int			before = *field;

	/* it may raise an error, which must be that of the first bad field of the row */
	if (!form->ordered)
		return NULL;
	*field = column->field;
	dst = form_put_datum(form, column, column->c->fn(column->c, f), bytes, dst);
	*field = before;
	return dst;
}

/* All fields from dst on; NULL if that cannot be done here. The row may have moved then. */
static inline char *
form_put_fields(LdrForm *form, const LdrField *fields, size_t bytes, bool ascii, int *field,
				char *dst, bool *has_nulls, uint16 *infomask)
{
	const FormColumn *end = form->columns + form->ncolumns;
	uint16		mask = 0;
	bool		nulls = form->always_null;

	if (nulls)
		memcpy(form->bits, form->no_nulls, form->bits_len);
	for (const FormColumn *column = form->columns; column < end; column++)
	{
		const LdrField *f = &fields[column->field];
		char	   *next;

		if (unlikely(f->kind == LDR_NULL || f->kind == LDR_ABSENT ||
					 (f->len == 0 && column->empty_is_null)))
		{
			int			i = column->att->attnum - 1;

			if (!(f->kind == LDR_ABSENT ? column->absent_is_null : column->null_ok))
				return NULL;
			if (!nulls)
				memcpy(form->bits, form->no_nulls, form->bits_len);
			nulls = true;
			form->bits[i >> 3] &= ~(1 << (i & 7));
			continue;
		}
		mask |= column->infomask;
		next = column->put[ascii] (column->c, f, dst);
		if (unlikely(next == NULL))
		{
			next = form_put_other(form, column, f, bytes, field, dst);
			if (next == NULL)
				return NULL;
		}
		dst = next;
	}
	*has_nulls = nulls;
	*infomask = mask;
	return dst;
}

HeapTuple
ldr_form_row(LdrForm *form, const LdrField *fields, size_t bytes, bool ascii, int *field)
{
	size_t		before = MAXALIGN(HEAPTUPLESIZE) + form->header_max;
	char	   *data;
	char	   *end;
	bool		nulls;
	uint16		infomask;
	size_t		header_len = form->header_max;
	HeapTuple	tuple;
	HeapTupleHeader header;

	/* room for all fields, but for what becomes longer by more than the slack */
	if (unlikely(form->end - form->at < before + bytes + form->slack))
	{
		if (bytes + form->slack > ROW_MAX)
			return NULL;		/* also of a table with a long char(n) */
		form_next_piece(form, before + bytes + form->slack);
	}
	end = form_put_fields(form, fields, bytes, ascii, field, form->at + before, &nulls, &infomask);
	if (end == NULL)
		return NULL;

	/* the row is where form->at is now */
	tuple = (HeapTuple) form->at;
	data = form->at + before;
	if (!nulls)
		header_len = MAXALIGN(SizeofHeapTupleHeader);
	header = (HeapTupleHeader) (data - header_len);
	memset(header, 0, header_len);	/* also what makes a Datum of a tuple: it is for a table */
	ItemPointerSetInvalid(&header->t_ctid);
	HeapTupleHeaderSetNatts(header, form->desc->natts);
	header->t_hoff = header_len;
	header->t_infomask = infomask;
	if (nulls)
	{
		header->t_infomask |= HEAP_HASNULL;
		memcpy(header->t_bits, form->bits, form->bits_len);
	}
	tuple->t_len = header_len + (end - data);
	ItemPointerSetInvalid(&tuple->t_self);
	tuple->t_tableOid = InvalidOid;
	tuple->t_data = header;
	form->at += MAXALIGN(end - form->at);
	return tuple;
}
