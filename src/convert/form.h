/*
 * convert/form.h: the fields of a row -> a heap tuple, without Datums in between.
 *
 * Only rows that need nothing but conversion: no default, no constraint that could fail. For each
 * other row the caller is told to go the way of Datums, which then finds what there is to do or
 * to complain about, in the order of the file.
 */
#ifndef LDR_CONVERT_FORM_H
#define LDR_CONVERT_FORM_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "convert/convert.h"
#include "utils/rel.h"

typedef struct LdrForm LdrForm;

/*
 * For rows of n fields, field i being column attnums[i] of the table and converted by
 * converters[i], which must live as long. Allocated in the current context. NULL if no row of
 * such a file can be formed.
 *
 * The caller knows that the table has no constraints but NOT NULL, and no generated columns.
 */
extern LdrForm *ldr_form_create(Relation rel, LdrConverter *converters, const AttrNumber *attnums,
								int n);

/* The tuples so far are no longer needed. */
extern void ldr_form_begin_batch(LdrForm *form);

/*
 * The tuple of a row, or NULL. It lives until the next ldr_form_begin_batch, in which time the
 * current context is not reset. It is the tuple that heap_form_tuple would make of the Datums, but
 * without a row type: it is for a table. bytes: of all fields together; ascii as in LdrRow; each
 * field has LDR_FIELD_SLACK.
 * Raises the errors of input functions; then, and only then, *field says of which field.
 */
extern HeapTuple ldr_form_row(LdrForm *form, const LdrField *fields, size_t bytes, bool ascii,
							  int *field);

#endif							/* LDR_CONVERT_FORM_H */
