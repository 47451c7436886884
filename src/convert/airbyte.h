/*
 * convert/airbyte.h: one field of an Airbyte record -> one Datum, and never an error: a value that
 * does not fit becomes NULL, and the reason is told.
 */
#ifndef LDR_CONVERT_AIRBYTE_H
#define LDR_CONVERT_AIRBYTE_H

#include "convert/convert.h"
#include "schema/airbyte.h"

typedef enum LdrNulled
{
	LDR_NULLED_NOT,				/* the value, or a NULL that was one */
	LDR_NULLED_SERIALIZATION,	/* cannot be converted */
	LDR_NULLED_SIZE				/* out of the type's range, or too long */
} LdrNulled;

/* How _airbyte_meta.changes calls it. */
extern const char *ldr_nulled_reason(LdrNulled nulled);

typedef struct LdrStreamConverter LdrStreamConverter;

/*
 * A converter for a property of that type into a column of type typid/typmod, which need not be the
 * type that the property asks for (then what the property allows goes through the type's input
 * function). Allocated in the current context.
 */
extern LdrStreamConverter *ldr_stream_converter(LdrStreamType type, Oid typid, int32 typmod);

/*
 * Convert a field of any kind (LDR_NULL and LDR_ABSENT become NULL). The Datum is allocated in the
 * current context. Raises nothing that the value is to blame for.
 */
extern LdrNulled ldr_stream_convert(LdrStreamConverter *c, const LdrField *f, Datum *value,
									bool *isnull);

#endif							/* LDR_CONVERT_AIRBYTE_H */
