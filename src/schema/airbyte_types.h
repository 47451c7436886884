/*
 * schema/airbyte_types.h: the type of a column, from the JSON schema of a property. No postgres.h.
 */
#ifndef LDR_AIRBYTE_TYPES_H
#define LDR_AIRBYTE_TYPES_H

#include "json.h"

#include "schema/airbyte.h"

/* Of any JSON value: one that says nothing, or several things, is LDR_STREAM_JSON. */
extern LdrStreamType ldr_stream_type(json_t *schema);

#endif							/* LDR_AIRBYTE_TYPES_H */
