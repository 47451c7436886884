/*
 * schema/airbyte_types.c: the type of a column, from the JSON schema of a property. No postgres.h.
 *
 * A JSON schema allows a set of types, one bit each; null is no bit. A column has one type only,
 * and whatever allows none or several becomes JSON, which takes any value.
 */
#include "schema/airbyte_types.h"

static const char *const types_names[] = {
	[LDR_STREAM_VARCHAR] = "character varying",
	[LDR_STREAM_BIGINT] = "bigint",
	[LDR_STREAM_NUMERIC] = "numeric",
	[LDR_STREAM_BOOL] = "boolean",
	[LDR_STREAM_DATE] = "date",
	[LDR_STREAM_TIMESTAMPTZ] = "timestamp with time zone",
	[LDR_STREAM_TIMESTAMP] = "timestamp without time zone",
	[LDR_STREAM_TIMETZ] = "time with time zone",
	[LDR_STREAM_TIME] = "time without time zone",
	[LDR_STREAM_OBJECT] = "jsonb",
	[LDR_STREAM_ARRAY] = "jsonb",
	[LDR_STREAM_JSON] = "jsonb"
};

const char *
ldr_stream_type_name(LdrStreamType type)
{
	return types_names[type];
}

static unsigned
types_of_string(json_t *schema)
{
	json_t	   *format = json_object_get(schema, "format");
	json_t	   *type = json_object_get(schema, "airbyte_type");

	if (ldr_json_is(format, "date"))
		return 1 << LDR_STREAM_DATE;
	if (ldr_json_is(format, "date-time"))
		return 1 << (ldr_json_is(type, "timestamp_without_timezone") ? LDR_STREAM_TIMESTAMP
					 : LDR_STREAM_TIMESTAMPTZ);
	if (ldr_json_is(format, "time"))
		return 1 << (ldr_json_is(type, "time_without_timezone") ? LDR_STREAM_TIME
					 : LDR_STREAM_TIMETZ);
	return 1 << LDR_STREAM_VARCHAR;
}

/* One name that "type" may hold; the rest of the schema says more of it. */
static unsigned
types_named(const char *name, json_t *schema)
{
	if (name == NULL)
		return 1 << LDR_STREAM_JSON;
	if (strcmp(name, "null") == 0)
		return 0;
	if (strcmp(name, "string") == 0)
		return types_of_string(schema);
	if (strcmp(name, "integer") == 0 || strcmp(name, "int") == 0)
		return 1 << LDR_STREAM_BIGINT;
	if (strcmp(name, "number") == 0)
		return 1 << (ldr_json_is(json_object_get(schema, "airbyte_type"), "integer")
					 ? LDR_STREAM_BIGINT : LDR_STREAM_NUMERIC);
	if (strcmp(name, "boolean") == 0)
		return 1 << LDR_STREAM_BOOL;
	if (strcmp(name, "object") == 0)
		return 1 << LDR_STREAM_OBJECT;
	if (strcmp(name, "array") == 0)
		return 1 << LDR_STREAM_ARRAY;
	return 1 << LDR_STREAM_JSON;
}

/* How sources of version 1 of the types name them. */
static unsigned
types_well_known(const char *ref)
{
	static const struct
	{
		const char *name;
		LdrStreamType type;
	}			known[] = {
		{"Integer", LDR_STREAM_BIGINT},
		{"Number", LDR_STREAM_NUMERIC},
		{"String", LDR_STREAM_VARCHAR},
		{"BinaryData", LDR_STREAM_VARCHAR},
		{"Boolean", LDR_STREAM_BOOL},
		{"Date", LDR_STREAM_DATE},
		{"TimestampWithTimezone", LDR_STREAM_TIMESTAMPTZ},
		{"TimestampWithoutTimezone", LDR_STREAM_TIMESTAMP},
		{"TimeWithTimezone", LDR_STREAM_TIMETZ},
		{"TimeWithoutTimezone", LDR_STREAM_TIME}
	};
	static const char prefix[] = "WellKnownTypes.json#/definitions/";

	if (ref != NULL && strncmp(ref, prefix, sizeof(prefix) - 1) == 0)
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (strcmp(ref + sizeof(prefix) - 1, known[i].name) == 0)
				return 1 << known[i].type;
	return 1 << LDR_STREAM_JSON;
}

/* All types that a schema allows. As deep as the JSON parser lets a document be, and no deeper. */
static unsigned
types_allowed(json_t *schema)
{
	json_t	   *type = ldr_json_get(schema, "type");
	json_t	   *ref = ldr_json_get(schema, "$ref");
	json_t	   *options;
	json_t	   *option;
	unsigned	types = 0;
	size_t		i;

	/* "string" for {"type": "string"} */
	if (json_is_string(schema))
		return types_named(ldr_json_text(schema), schema);
	if (json_is_array(type))
	{
		json_array_foreach(type, i, option)
			types |= json_is_string(option) ? types_named(ldr_json_text(option), schema)
			: types_allowed(option);
		return types;
	}
	if (type != NULL)
		return types_named(ldr_json_text(type), schema);
	if (ref != NULL)
		return types_well_known(ldr_json_text(ref));
	if ((options = ldr_json_get(schema, "oneOf")) == NULL &&
		(options = ldr_json_get(schema, "anyOf")) == NULL)
		options = ldr_json_get(schema, "allOf");
	if (!json_is_array(options))
		return 1 << LDR_STREAM_JSON;
	json_array_foreach(options, i, option)
		types |= types_allowed(option);
	return types;
}

LdrStreamType
ldr_stream_type(json_t *schema)
{
	unsigned	types = types_allowed(schema);

	for (int type = 0; type <= LDR_STREAM_JSON; type++)
		if (types == 1U << type)
			return (LdrStreamType) type;
	return LDR_STREAM_JSON;
}

const char *
ldr_stream_mode_name(LdrStreamMode mode)
{
	static const char *const names[] = {"append", "overwrite", "append_dedup"};

	return names[mode];
}
