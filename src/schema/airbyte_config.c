/*
 * schema/airbyte_config.c: the configuration of an Airbyte destination. No postgres.h, and nothing
 * of src but status.c and airbyte_spec.c: the connector uses it, too.
 *
 * An older form is brought to today's first; then the configuration is checked by the very JSON
 * schema that the spec shows. A member that is null is as good as missing. The text of a
 * configuration holds secrets, so that nothing of it is quoted but names of keys and values that
 * the spec enumerates; what the JSON parser says is not passed on either.
 */
#include "json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/airbyte.h"

#define CONFIG_MAX_SIZE (1024 * 1024)

typedef struct ConfigCheck
{
	LdrError   *err;
	LdrConfigUse use;
	const char *hint;			/* what is right where we are; of the spec's tree */
} ConfigCheck;

static LdrStatus
config_no_memory(LdrError *err)
{
	return ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
}

static json_t *
config_property(json_t *schema, const char *key)
{
	return json_object_get(json_object_get(schema, "properties"), key);
}

/* Fail for the value at a path. */
static LdrStatus __attribute__((format(printf, 3, 4)))
config_wrong(ConfigCheck *c, const char *path, const char *fmt,...)
{
	char		expected[256];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(expected, sizeof(expected), fmt, args);
	va_end(args);
	snprintf(c->err->hint, sizeof(c->err->hint), "%s", c->hint == NULL ? "" : c->hint);
	if (path[0] == '\0')
		return ldr_fail(c->err, LDR_BAD_SCHEMA, "the configuration %s", expected);
	return ldr_fail(c->err, LDR_BAD_SCHEMA, "\"%s\" of the configuration %s", path, expected);
}

/* Is it of the JSON type that a schema names? */
static bool
config_has_type(json_t *value, const char *type)
{
	switch (json_typeof(value))
	{
		case JSON_STRING:
			return strcmp(type, "string") == 0;
		case JSON_INTEGER:
			return strcmp(type, "integer") == 0 || strcmp(type, "number") == 0;
		case JSON_REAL:
			return strcmp(type, "number") == 0;
		case JSON_TRUE:
		case JSON_FALSE:
			return strcmp(type, "boolean") == 0;
		case JSON_OBJECT:
			return strcmp(type, "object") == 0;
		case JSON_ARRAY:
			return strcmp(type, "array") == 0;
		default:
			return false;
	}
}

static LdrStatus
config_check_type(ConfigCheck *c, json_t *schema, json_t *value, const char *path)
{
	const char *type = json_string_value(json_object_get(schema, "type"));

	if (type == NULL || config_has_type(value, type))
		return LDR_OK;
	if (strcmp(type, "boolean") == 0)
		return config_wrong(c, path, "must be true or false");
	return config_wrong(c, path, "must be %s %s", strchr("aio", type[0]) != NULL ? "an" : "a",
						type);
}

/* Fail for a value that is none of those that are allowed; it is no secret, then. */
static LdrStatus
config_none_of(ConfigCheck *c, json_t *allowed, json_t *value, const char *path)
{
	char		list[160] = "";
	char		shown[48];
	size_t		len = 0;
	json_t	   *one;
	size_t		i;

	json_array_foreach(allowed, i, one)
	{
		char	   *text = json_dumps(one, JSON_ENCODE_ANY);

		if (text == NULL)
			return config_no_memory(c->err);
		if (len < sizeof(list))
			len += snprintf(list + len, sizeof(list) - len, "%s%s", i == 0 ? ""
							: i + 1 < json_array_size(allowed) ? ", " : " or ", text);
		free(text);
	}
	if (!json_is_string(value))
		return config_wrong(c, path, "must be %s", list);
	ldr_excerpt(shown, sizeof(shown), json_string_value(value), json_string_length(value));
	return config_wrong(c, path, "is \"%s\", and must be %s", shown, list);
}

/* const and enum */
static LdrStatus
config_check_values(ConfigCheck *c, json_t *schema, json_t *value, const char *path)
{
	json_t	   *only = json_object_get(schema, "const");
	json_t	   *allowed = only != NULL ? json_pack("[O]", only)
		: json_incref(json_object_get(schema, "enum"));
	LdrStatus	status = LDR_OK;
	json_t	   *one;
	size_t		i;

	if (only != NULL && allowed == NULL)
		return config_no_memory(c->err);
	json_array_foreach(allowed, i, one)
		if (json_equal(one, value))
			break;
	if (allowed != NULL && i == json_array_size(allowed))
		status = config_none_of(c, allowed, value, path);
	json_decref(allowed);
	return status;
}

/* minimum, maximum, minLength */
static LdrStatus
config_check_bounds(ConfigCheck *c, json_t *schema, json_t *value, const char *path)
{
	json_t	   *minimum = json_object_get(schema, "minimum");
	json_t	   *maximum = json_object_get(schema, "maximum");
	json_t	   *shortest = json_object_get(schema, "minLength");

	if (json_is_number(value) && minimum != NULL &&
		json_number_value(value) < json_number_value(minimum))
		return config_wrong(c, path, "must be at least %.15g", json_number_value(minimum));
	if (json_is_number(value) && maximum != NULL &&
		json_number_value(value) > json_number_value(maximum))
		return config_wrong(c, path, "must be at most %.15g", json_number_value(maximum));
	/* the spec asks for one character at most */
	if (json_is_string(value) && json_integer_value(shortest) > 0 &&
		json_string_length(value) == 0)
		return config_wrong(c, path, "must not be empty");
	return LDR_OK;
}

static LdrStatus config_check(ConfigCheck *c, json_t *schema, json_t *value, const char *path);

/* required and properties */
static LdrStatus
config_check_object(ConfigCheck *c, json_t *schema, json_t *value, const char *path)
{
	const char *outer = c->hint;
	LdrStatus	status = LDR_OK;
	json_t	   *property;
	json_t	   *required;
	const char *key;
	size_t		i;

	json_array_foreach(json_object_get(schema, "required"), i, required)
	{
		const char *description;

		key = json_string_value(required);
		if (ldr_json_get(value, key) != NULL ||
			(path[0] == '\0' && c->use == LDR_CONFIG_IN_SESSION))
			continue;
		description = json_string_value(json_object_get(config_property(schema, key),
														"description"));
		if (description != NULL)
			c->hint = description;
		return config_wrong(c, path, "has no \"%s\"", key);
	}
	json_object_foreach(json_object_get(schema, "properties"), key, property)
	{
		json_t	   *member = ldr_json_get(value, key);
		json_t	   *description = json_object_get(property, "description");
		char		inner[128];

		if (member == NULL)
			continue;
		snprintf(inner, sizeof(inner), "%s%s%s", path, path[0] == '\0' ? "" : ".", key);
		c->hint = description != NULL ? json_string_value(description) : outer;
		if ((status = config_check(c, property, member, inner)) != LDR_OK)
			return status;
	}
	c->hint = outer;
	return LDR_OK;
}

/* The property that tells the branches of a oneOf: the one that is a const. */
static const char *
config_discriminator(json_t *branch)
{
	const char *key;
	json_t	   *property;

	json_object_foreach(json_object_get(branch, "properties"), key, property)
		if (json_object_get(property, "const") != NULL)
			return key;
	return "";
}

/* oneOf: the branch whose const the value has. */
static LdrStatus
config_check_branches(ConfigCheck *c, json_t *branches, json_t *value, const char *path)
{
	const char *key = config_discriminator(json_array_get(branches, 0));
	json_t	   *chosen = ldr_json_get(value, key);
	json_t	   *allowed = json_array();
	LdrStatus	status;
	json_t	   *branch;
	size_t		i;
	char		inner[128];

	if (allowed == NULL)
		return config_no_memory(c->err);
	json_array_foreach(branches, i, branch)
	{
		json_t	   *one = json_object_get(config_property(branch, key), "const");

		if (chosen == NULL || json_equal(one, chosen))
		{
			/* without any, the first branch says what is missing */
			json_decref(allowed);
			return config_check(c, branch, value, path);
		}
		json_array_append(allowed, one);
	}
	snprintf(inner, sizeof(inner), "%s.%s", path, key);
	status = config_none_of(c, allowed, chosen, inner);
	json_decref(allowed);
	return status;
}

/* Check a value against a schema. As deep as the spec is, whatever the value. */
static LdrStatus
config_check(ConfigCheck *c, json_t *schema, json_t *value, const char *path)
{
	json_t	   *branches = json_object_get(schema, "oneOf");
	LdrStatus	status;

	if ((status = config_check_type(c, schema, value, path)) != LDR_OK ||
		(status = config_check_values(c, schema, value, path)) != LDR_OK ||
		(status = config_check_bounds(c, schema, value, path)) != LDR_OK ||
		(status = config_check_object(c, schema, value, path)) != LDR_OK)
		return status;
	return branches == NULL ? LDR_OK : config_check_branches(c, branches, value, path);
}

/*
 * Older forms.
 */

/* Give a key the name that it has today, unless that is taken. False: out of memory. */
static bool
config_rename(json_t *root, const char *older, const char *key, bool *changed)
{
	json_t	   *value = ldr_json_get(root, older);

	if (value == NULL || ldr_json_get(root, key) != NULL)
		return true;
	*changed = true;
	return json_object_set(root, key, value) == 0 && json_object_del(root, older) == 0;
}

/* A port as a text of digits, or as 5432.0. */
static bool
config_upgrade_port(json_t *root, bool *changed)
{
	json_t	   *port = ldr_json_get(root, "port");
	const char *text = json_string_value(port);
	double		real = json_real_value(port);
	int			number;

	if (text != NULL && text[0] != '\0' && strspn(text, "0123456789") == strlen(text) &&
		strlen(text) <= 9)
		number = atoi(text);
	else if (json_is_real(port) && real >= 0 && real <= 999999999 && real == (int) real)
		number = (int) real;
	else
		return true;
	*changed = true;
	return json_object_set_new(root, "port", json_integer(number)) == 0;
}

/*
 * ssl_mode as a text, or only ssl. That one stays: Airbyte's own destination does not heed ssl_mode
 * without it.
 */
static bool
config_upgrade_ssl(json_t *root, bool *changed)
{
	json_t	   *mode = ldr_json_get(root, "ssl_mode");
	json_t	   *ssl = ldr_json_get(root, "ssl");
	json_t	   *object;

	if (json_is_string(mode))
		object = json_pack("{sO}", "mode", mode);
	else if (mode == NULL && json_is_boolean(ssl))
		object = json_pack("{ss}", "mode", json_is_true(ssl) ? "require" : "disable");
	else
		return true;
	*changed = true;
	return json_object_set_new(root, "ssl_mode", object) == 0;
}

/* Bring it to today's form. False: out of memory. */
static bool
config_upgrade(json_t *root, bool *changed)
{
	*changed = false;
	return config_rename(root, "user", "username", changed) &&
		config_rename(root, "default_schema", "schema", changed) &&
		config_upgrade_port(root, changed) && config_upgrade_ssl(root, changed);
}

/* What a key says or, if it says nothing, what the spec says for it. */
static json_t *
config_value(json_t *schema, json_t *root, const char *key)
{
	json_t	   *value = ldr_json_get(root, key);

	if (value == NULL || (json_is_string(value) && json_string_length(value) == 0))
		value = json_object_get(config_property(schema, key), "default");
	return value;
}

/* All that the server heeds. False: out of memory. */
static bool
config_fill(json_t *schema, json_t *root, LdrAirbyteConfig *config)
{
	const char *deletion = json_string_value(config_value(schema, root, "cdc_deletion_mode"));
	const char *bad = json_string_value(config_value(schema, root, "bad_values"));

	config->schema = strdup(json_string_value(config_value(schema, root, "schema")));
	config->raw_data_schema = strdup(json_string_value(config_value(schema, root,
																	"raw_data_schema")));
	config->soft_delete = strcmp(deletion, "Soft delete") == 0;
	config->fail_on_bad_value = strcmp(bad, "fail") == 0;
	config->source_name = strdup(json_string_value(config_value(schema, root, "source_name")));
	return config->schema != NULL && config->raw_data_schema != NULL &&
		config->source_name != NULL;
}

/* Everything after the JSON itself. */
static LdrStatus
config_document(ConfigCheck *c, json_t *schema, json_t *root, LdrAirbyteConfig *config)
{
	bool		changed;
	LdrStatus	status;

	c->hint = "Pass one JSON object with the keys that the spec lists.";
	if (!json_is_object(root))
		return config_wrong(c, "", "must be an object");
	if (!config_upgrade(root, &changed))
		return config_no_memory(c->err);
	if ((status = config_check(c, schema, root, "")) != LDR_OK)
		return status;
	if (!config_fill(schema, root, config))
		return config_no_memory(c->err);
	if (changed && (config->upgraded = json_dumps(root, JSON_COMPACT)) == NULL)
		return config_no_memory(c->err);
	return LDR_OK;
}

static LdrStatus
config_load(const char *json, size_t len, json_t **root, LdrError *err)
{
	json_error_t jerr;

	if (len > CONFIG_MAX_SIZE)
		return ldr_fail(err, LDR_TOO_LONG, "the configuration is longer than %d bytes",
						CONFIG_MAX_SIZE);
	/* the library passes over those behind a value, and whoever takes the text for one stops there */
	if (memchr(json, '\0', len) != NULL)
	{
		*root = NULL;
		strcpy(err->hint, "Pass one JSON object with the keys that the spec lists.");
		return ldr_fail(err, LDR_BAD_JSON, "the configuration contains a zero byte");
	}
	*root = json_loadb(json, len, JSON_DECODE_ANY, &jerr);
	if (*root != NULL)
		return LDR_OK;
	/* jansson does not always say that memory was out: then it may say nothing */
	if (json_error_code(&jerr) == json_error_out_of_memory || jerr.text[0] == '\0')
		return config_no_memory(err);
	snprintf(err->hint, sizeof(err->hint),
			 "Pass one JSON object with the keys that the spec lists.");
	err->line = jerr.line > 0 ? jerr.line : 0;
	switch (json_error_code(&jerr))
	{
		case json_error_premature_end_of_input:
			return ldr_fail(err, LDR_BAD_JSON,
							"invalid JSON in the configuration: it ends too early");
		case json_error_null_character:
		case json_error_null_byte_in_key:
			return ldr_fail(err, LDR_BAD_JSON,
							"invalid JSON in the configuration: \\u0000 is not allowed");
		case json_error_numeric_overflow:
			return ldr_fail(err, LDR_BAD_JSON,
							"invalid JSON in the configuration: a number is too large");
		case json_error_invalid_utf8:
			return ldr_fail(err, LDR_BAD_JSON,
							"invalid JSON in the configuration: it is not UTF-8");
		case json_error_stack_overflow:
			return ldr_fail(err, LDR_BAD_JSON,
							"invalid JSON in the configuration: it is nested too deeply");
		default:
			return ldr_fail(err, LDR_BAD_JSON,
							"invalid JSON in the configuration at line %d, column %d",
							jerr.line, jerr.column);
	}
}

LdrStatus
ldr_airbyte_config_parse(const char *json, size_t len, LdrConfigUse use, LdrAirbyteConfig **out,
						 LdrError *err)
{
	ConfigCheck c = {.err = err, .use = use};
	LdrAirbyteConfig *config;
	json_t	   *spec;
	json_t	   *root;
	LdrStatus	status;

	*out = NULL;
	if ((status = config_load(json, len, &root, err)) != LDR_OK)
		return status;
	spec = json_loads(ldr_airbyte_spec, 0, NULL);
	config = calloc(1, sizeof(*config));
	if (spec == NULL || config == NULL)
		status = config_no_memory(err);
	else
		status = config_document(&c, json_object_get(spec, "connectionSpecification"), root,
								 config);
	json_decref(spec);
	json_decref(root);
	if (status != LDR_OK)
	{
		ldr_airbyte_config_free(config);
		return status;
	}
	*out = config;
	return LDR_OK;
}

void
ldr_airbyte_config_free(LdrAirbyteConfig *config)
{
	if (config == NULL)
		return;
	free(config->schema);
	free(config->raw_data_schema);
	free(config->source_name);
	free(config->upgraded);
	free(config);
}
