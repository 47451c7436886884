/*
 * test/unit/test_airbyte_config.c: the configuration of an Airbyte destination, and the spec of it.
 */
#include <jansson.h>
#include <stdlib.h>

#include "schema/airbyte.h"
#include "unit.h"

#define SECRET "s3cr3t"
#define LOGIN "\"host\":\"h\",\"port\":5432,\"database\":\"d\",\"username\":\"u\"," \
	"\"password\":\"" SECRET "\""
#define CONFIG(more) "{" LOGIN more "}"

static LdrAirbyteConfig *
parse(const char *json, LdrConfigUse use, LdrStatus *status, LdrError *err)
{
	LdrAirbyteConfig *config;

	memset(err, 0, sizeof(*err));
	*status = ldr_airbyte_config_parse(json, strlen(json), use, &config, err);
	return config;
}

/* One document, what it must give, and the message, or a part of it. */
typedef struct DocumentCase
{
	const char *json;
	LdrStatus	status;
	const char *message;
} DocumentCase;

static const DocumentCase documents[] = {
	{CONFIG(""), LDR_OK, ""},
	{"", LDR_BAD_JSON, "ends too early"},
	{"{" LOGIN, LDR_BAD_JSON, "ends too early"},
	{CONFIG("") "x", LDR_BAD_JSON, "at line 1, column"},
	{"{\"password\":\"" SECRET "\" \"" SECRET "\"}", LDR_BAD_JSON, "at line 1, column"},
	{"{\"password\":\"\\u" SECRET "\"}", LDR_BAD_JSON, "at line 1, column"},
	{"{\"password\":" SECRET "}", LDR_BAD_JSON, "at line 1, column"},
	{"{\"password\":\"" SECRET "\xff\"}", LDR_BAD_JSON, "not UTF-8"},
	{"{\"password\":\"" SECRET "\\u0000\"}", LDR_BAD_JSON, "\\u0000 is not allowed"},
	{"{\"" SECRET "\\u0000\":1}", LDR_BAD_JSON, "\\u0000 is not allowed"},
	{"{\"password\":99999999999999999999}", LDR_BAD_JSON, "a number is too large"},
	{"null", LDR_BAD_SCHEMA, "the configuration must be an object"},
	{"[]", LDR_BAD_SCHEMA, "the configuration must be an object"},
	{"\"" SECRET "\"", LDR_BAD_SCHEMA, "the configuration must be an object"},
	/* what must be there */
	{"{}", LDR_BAD_SCHEMA, "the configuration has no \"host\""},
	{"{\"host\":null}", LDR_BAD_SCHEMA, "the configuration has no \"host\""},
	{"{\"host\":\"h\",\"database\":\"d\",\"username\":\"u\"}", LDR_BAD_SCHEMA,
	"the configuration has no \"port\""},
	{"{\"host\":\"h\",\"port\":1,\"username\":\"u\"}", LDR_BAD_SCHEMA,
	"the configuration has no \"database\""},
	{"{\"host\":\"h\",\"port\":1,\"database\":\"d\"}", LDR_BAD_SCHEMA,
	"the configuration has no \"username\""},
	/* types and bounds */
	{CONFIG(",\"host\":\"\""), LDR_BAD_SCHEMA, "\"host\" of the configuration must not be empty"},
	{CONFIG(",\"host\":7"), LDR_BAD_SCHEMA, "\"host\" of the configuration must be a string"},
	{CONFIG(",\"port\":0"), LDR_BAD_SCHEMA, "\"port\" of the configuration must be at least 1"},
	{CONFIG(",\"port\":65536"), LDR_BAD_SCHEMA,
	"\"port\" of the configuration must be at most 65535"},
	{CONFIG(",\"port\":1.5"), LDR_BAD_SCHEMA, "\"port\" of the configuration must be an integer"},
	{CONFIG(",\"port\":true"), LDR_BAD_SCHEMA, "must be an integer"},
	{CONFIG(",\"port\":\"70000\""), LDR_BAD_SCHEMA, "must be at most 65535"},
	{CONFIG(",\"port\":\"\""), LDR_BAD_SCHEMA, "must be an integer"},
	{CONFIG(",\"port\":\"-1\""), LDR_BAD_SCHEMA, "must be an integer"},
	{CONFIG(",\"port\":\"54 32\""), LDR_BAD_SCHEMA, "must be an integer"},
	{CONFIG(",\"port\":\"99999999999999999999\""), LDR_BAD_SCHEMA, "must be an integer"},
	{CONFIG(",\"password\":[\"" SECRET "\"]"), LDR_BAD_SCHEMA,
	"\"password\" of the configuration must be a string"},
	{CONFIG(",\"drop_cascade\":\"" SECRET "\""), LDR_BAD_SCHEMA,
	"\"drop_cascade\" of the configuration must be true or false"},
	{CONFIG(",\"unconstrained_number\":1"), LDR_BAD_SCHEMA, "must be true or false"},
	{CONFIG(",\"jdbc_url_params\":{}"), LDR_BAD_SCHEMA, "must be a string"},
	{CONFIG(",\"schema\":[]"), LDR_BAD_SCHEMA, "\"schema\" of the configuration must be a string"},
	{CONFIG(",\"disable_type_dedupe\":false"), LDR_OK, ""},
	{CONFIG(",\"disable_type_dedupe\":true"), LDR_BAD_SCHEMA,
	"\"disable_type_dedupe\" of the configuration must be false"},
	{CONFIG(",\"cdc_deletion_mode\":\"soft\""), LDR_BAD_SCHEMA,
	"\"cdc_deletion_mode\" of the configuration is \"soft\", and must be \"Hard delete\" or "
	"\"Soft delete\""},
	{CONFIG(",\"bad_values\":null"), LDR_OK, ""},
	{CONFIG(",\"bad_values\":\"Fail\""), LDR_BAD_SCHEMA, "must be \"null\" or \"fail\""},
	{CONFIG(",\"bad_values\":7"), LDR_BAD_SCHEMA, "must be a string"},
	/* ssl_mode and tunnel_method */
	{CONFIG(",\"ssl_mode\":{\"mode\":\"verify-full\",\"ca_certificate\":\"x\",\"any\":1}"), LDR_OK,
	""},
	{CONFIG(",\"ssl_mode\":{\"mode\":\"verify-ca\"}"), LDR_OK, ""},
	{CONFIG(",\"ssl_mode\":{\"mode\":\"verify-ca\",\"client_key\":[\"" SECRET "\"]}"),
	LDR_BAD_SCHEMA, "\"ssl_mode.client_key\" of the configuration must be a string"},
	{CONFIG(",\"ssl_mode\":{\"mode\":\"require\",\"client_key\":7}"), LDR_OK, ""},
	{CONFIG(",\"ssl_mode\":{}"), LDR_BAD_SCHEMA,
	"\"ssl_mode\" of the configuration has no \"mode\""},
	{CONFIG(",\"ssl_mode\":{\"mode\":null}"), LDR_BAD_SCHEMA, "has no \"mode\""},
	{CONFIG(",\"ssl_mode\":{\"mode\":\"always\"}"), LDR_BAD_SCHEMA,
	"\"ssl_mode.mode\" of the configuration is \"always\", and must be \"disable\", \"allow\", "
	"\"prefer\", \"require\", \"verify-ca\" or \"verify-full\""},
	{CONFIG(",\"ssl_mode\":{\"mode\":[]}"), LDR_BAD_SCHEMA,
	"\"ssl_mode.mode\" of the configuration must be \"disable\""},
	{CONFIG(",\"ssl_mode\":\"always\""), LDR_BAD_SCHEMA, "\"ssl_mode.mode\""},
	{CONFIG(",\"ssl_mode\":7"), LDR_BAD_SCHEMA,
	"\"ssl_mode\" of the configuration must be an object"},
	{CONFIG(",\"ssl\":\"yes\""), LDR_BAD_SCHEMA, "\"ssl\" of the configuration must be true or"},
	{CONFIG(",\"tunnel_method\":{\"tunnel_method\":\"NO_TUNNEL\"}"), LDR_OK, ""},
	{CONFIG(",\"tunnel_method\":{\"tunnel_method\":\"SSH_PASSWORD_AUTH\",\"tunnel_user_password\":"
			"\"" SECRET "\"}"), LDR_BAD_SCHEMA,
	"\"tunnel_method.tunnel_method\" of the configuration is \"SSH_PASSWORD_AUTH\", and must be "
	"\"NO_TUNNEL\""},
	{CONFIG(",\"tunnel_method\":\"SSH_KEY_AUTH\""), LDR_BAD_SCHEMA, "must be an object"},
	/* anything else is allowed */
	{CONFIG(",\"x\":{\"host\":7},\"\":null"), LDR_OK, ""}
};

static void
test_documents(void)
{
	for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++)
	{
		const DocumentCase *d = &documents[i];
		LdrError	err;
		LdrStatus	status;
		LdrAirbyteConfig *config = parse(d->json, LDR_CONFIG_TO_CONNECT, &status, &err);

		CHECK_MSG(status == d->status, "document %zu: status %d (%s), not %d", i, status,
				  err.message, d->status);
		CHECK_MSG((config != NULL) == (status == LDR_OK), "document %zu: output", i);
		CHECK_MSG(config == NULL || config->upgraded == NULL, "document %zu: upgraded", i);
		CHECK_MSG(err.status == status, "document %zu: status in the error", i);
		CHECK_MSG(strstr(err.message, d->message) != NULL, "document %zu: \"%s\" lacks \"%s\"",
				  i, err.message, d->message);
		CHECK_MSG(strstr(err.message, SECRET) == NULL && strstr(err.hint, SECRET) == NULL &&
				  err.value[0] == '\0' && err.column[0] == '\0',
				  "document %zu: \"%s\" tells the secret", i, err.message);
		/* what is right, for a key */
		CHECK_MSG(status == LDR_OK || err.hint[0] != '\0', "document %zu: hint", i);
		ldr_airbyte_config_free(config);
	}
}

/* In a session nothing has to be there, but what is there has to be right. */
static void
test_session(void)
{
	LdrError	err;
	LdrStatus	status;
	LdrAirbyteConfig *config = parse("{}", LDR_CONFIG_IN_SESSION, &status, &err);

	if (CHECK_MSG(config != NULL, "%s", err.message))
	{
		CHECK_STR(config->schema, "public");
		CHECK_STR(config->raw_data_schema, "airbyte_internal");
		CHECK(!config->soft_delete && config->source_name[0] == '\0' && !config->fail_on_bad_value);
		CHECK(config->upgraded == NULL);
	}
	ldr_airbyte_config_free(config);
	config = parse("{\"port\":0}", LDR_CONFIG_IN_SESSION, &status, &err);
	CHECK(config == NULL && status == LDR_BAD_SCHEMA);
	CHECK_STR(err.hint, "Port of the server, a number from 1 to 65535.");
	config = parse("{\"ssl_mode\":{}}", LDR_CONFIG_IN_SESSION, &status, &err);
	CHECK(config == NULL && status == LDR_BAD_SCHEMA);
}

static void
test_values(void)
{
	LdrError	err;
	LdrStatus	status;
	LdrAirbyteConfig *config = parse(CONFIG(",\"schema\":\"\xc3\xa9t\xc3\xa9\","
											"\"raw_data_schema\":\"raw\",\"source_name\":\"shop\","
											"\"cdc_deletion_mode\":\"Soft delete\","
											"\"bad_values\":\"fail\",\"schema\":\"last\""),
									 LDR_CONFIG_TO_CONNECT, &status, &err);

	if (CHECK_MSG(config != NULL, "%s", err.message))
	{
		CHECK_STR(config->schema, "last");
		CHECK_STR(config->raw_data_schema, "raw");
		CHECK(config->soft_delete && strcmp(config->source_name, "shop") == 0 && config->fail_on_bad_value);
	}
	ldr_airbyte_config_free(config);

	config = parse(CONFIG(",\"schema\":\"\",\"raw_data_schema\":\"\",\"drop_cascade\":false,"
						  "\"cdc_deletion_mode\":\"Hard delete\",\"bad_values\":\"null\""),
				   LDR_CONFIG_TO_CONNECT, &status, &err);
	if (CHECK_MSG(config != NULL, "%s", err.message))
	{
		CHECK_STR(config->schema, "public");
		CHECK_STR(config->raw_data_schema, "airbyte_internal");
		CHECK(!config->soft_delete && config->source_name[0] == '\0' && !config->fail_on_bad_value);
	}
	ldr_airbyte_config_free(config);
}

/* An older form, and today's; NULL: it is today's. */
static const struct
{
	const char *older;
	const char *upgraded;
}			upgrades[] = {
	{"{\"port\":\"5432\"}", "{\"port\":5432}"},
	{"{\"port\":\"05432\"}", "{\"port\":5432}"},
	{"{\"port\":5432.0}", "{\"port\":5432}"},
	{"{\"port\":5432}", NULL},
	{"{\"user\":\"u\"}", "{\"username\":\"u\"}"},
	{"{\"user\":\"u\",\"username\":null}", "{\"username\":\"u\"}"},
	{"{\"user\":\"u\",\"username\":\"v\"}", NULL},
	{"{\"user\":null}", NULL},
	{"{\"default_schema\":\"s\"}", "{\"schema\":\"s\"}"},
	{"{\"default_schema\":\"s\",\"schema\":\"t\"}", NULL},
	{"{\"ssl\":true}", "{\"ssl\":true,\"ssl_mode\":{\"mode\":\"require\"}}"},
	{"{\"ssl\":false}", "{\"ssl\":false,\"ssl_mode\":{\"mode\":\"disable\"}}"},
	{"{\"ssl_mode\":null,\"ssl\":false}", "{\"ssl_mode\":{\"mode\":\"disable\"},\"ssl\":false}"},
	{"{\"ssl\":false,\"ssl_mode\":{\"mode\":\"allow\"}}", NULL},
	{"{\"ssl\":null}", NULL},
	{"{\"ssl_mode\":\"prefer\"}", "{\"ssl_mode\":{\"mode\":\"prefer\"}}"},
	{"{\"ssl\":true,\"ssl_mode\":\"verify-ca\"}",
	"{\"ssl\":true,\"ssl_mode\":{\"mode\":\"verify-ca\"}}"},
	/* all of it, with what we do not know and what is null */
	{"{\"host\": \"h\", \"port\": \"1\", \"user\": \"\xc3\xbc\", \"x\": {\"a\": [1, null]}, "
	"\"password\": \"p\\\"\\n\", \"tunnel_method\": null}",
	"{\"host\":\"h\",\"port\":1,\"x\":{\"a\":[1,null]},\"password\":\"p\\\"\\n\","
	"\"tunnel_method\":null,\"username\":\"\xc3\xbc\"}"},
};

static void
test_upgrades(void)
{
	for (size_t i = 0; i < sizeof(upgrades) / sizeof(upgrades[0]); i++)
	{
		LdrError	err;
		LdrStatus	status;
		LdrAirbyteConfig *config = parse(upgrades[i].older, LDR_CONFIG_IN_SESSION, &status, &err);
		LdrAirbyteConfig *again;

		if (!CHECK_MSG(config != NULL, "%s: %s", upgrades[i].older, err.message))
			continue;
		CHECK_STR(config->upgraded == NULL ? "none" : config->upgraded,
				  upgrades[i].upgraded == NULL ? "none" : upgrades[i].upgraded);
		if (config->upgraded != NULL)
		{
			again = parse(config->upgraded, LDR_CONFIG_IN_SESSION, &status, &err);
			CHECK_MSG(again != NULL && again->upgraded == NULL, "%s: upgraded twice",
					  upgrades[i].older);
			ldr_airbyte_config_free(again);
		}
		ldr_airbyte_config_free(config);
	}
}

static void
test_size(void)
{
	size_t		size = 1024 * 1024 + 1;
	char	   *json = malloc(size);
	LdrAirbyteConfig *config;

	for (size_t len = size; len >= size - 1; len--)
	{
		LdrError	err = {0};

		memset(json, ' ', size);
		memcpy(json, "{}", 2);
		CHECK_INT(ldr_airbyte_config_parse(json, len, LDR_CONFIG_IN_SESSION, &config, &err),
				  len == size ? LDR_TOO_LONG : LDR_OK);
		ldr_airbyte_config_free(config);
	}
	free(json);
}

/* Words that the interpreter knows, and those that only say something to people. */
static bool
spec_word_known(const char *word)
{
	static const char *const words[] = {"$schema", "title", "description", "type", "required",
		"properties", "const", "enum", "minimum", "maximum", "minLength", "oneOf", "default",
		"examples", "group", "groups", "order", "multiline", "always_show", "airbyte_secret",
	"airbyte_hidden", "additionalProperties"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i], word) == 0)
			return true;
	return false;
}

/* One schema of the spec: known words only, described, numbered, and its default allowed by it. */
static void
check_schema(json_t *schema, const char *name)
{
	const char *description = json_string_value(json_object_get(schema, "description"));
	json_t	   *allowed = json_object_get(schema, "enum");
	json_t	   *otherwise = json_object_get(schema, "default");
	json_t	   *only = json_object_get(schema, "const");
	json_t	   *properties = json_object_get(schema, "properties");
	unsigned	orders = 0;
	const char *key;
	json_t	   *value;
	size_t		i;

	json_object_foreach(schema, key, value)
		CHECK_MSG(spec_word_known(key), "%s: word %s", name, key);
	CHECK_MSG(json_is_string(json_object_get(schema, "type")), "%s has no type", name);
	/* a hint is that long at most */
	CHECK_MSG(description == NULL || (strlen(description) < sizeof(((LdrError *) 0)->hint) &&
									  description[strlen(description) - 1] == '.'),
			  "%s: description", name);
	CHECK_MSG(only == NULL || otherwise == NULL || json_equal(only, otherwise), "%s: default",
			  name);
	json_array_foreach(allowed, i, value)
		if (json_equal(value, otherwise))
			break;
	CHECK_MSG(allowed == NULL || i < json_array_size(allowed), "%s: default", name);
	json_array_foreach(json_object_get(schema, "required"), i, value)
		CHECK_MSG(json_object_get(properties, json_string_value(value)) != NULL, "%s: required %s",
				  name, json_string_value(value));
	json_array_foreach(json_object_get(schema, "oneOf"), i, value)
		check_schema(value, name);
	json_object_foreach(properties, key, value)
	{
		json_int_t	order = json_integer_value(json_object_get(value, "order"));

		CHECK_MSG(order >= 0 && order < (json_int_t) json_object_size(properties) &&
				  (orders & 1U << order) == 0, "%s: order of %s", name, key);
		orders |= 1U << order;
		CHECK_MSG(json_object_get(value, "const") != NULL ||
				  (json_object_get(value, "title") != NULL &&
				   json_object_get(value, "description") != NULL), "%s is not described", key);
		CHECK_MSG((strstr(key, "password") == NULL && strstr(key, "certificate") == NULL &&
				   strstr(key, "client_key") == NULL) ||
				  json_is_true(json_object_get(value, "airbyte_secret")), "%s is no secret", key);
		check_schema(value, key);
	}
}

static void
test_spec(void)
{
	static const char *const keys[] = {"host", "port", "database", "schema", "username", "password",
		"ssl", "ssl_mode", "jdbc_url_params", "raw_data_schema", "disable_type_dedupe",
	"source_name", "drop_cascade", "unconstrained_number", "cdc_deletion_mode", "tunnel_method", "bad_values"};
	json_error_t error;
	json_t	   *spec = json_loads(ldr_airbyte_spec, JSON_REJECT_DUPLICATES, &error);
	json_t	   *schema = json_object_get(spec, "connectionSpecification");
	json_t	   *properties = json_object_get(schema, "properties");
	json_t	   *modes = json_object_get(spec, "supported_destination_sync_modes");

	if (!CHECK_MSG(spec != NULL, "%s", error.text))
		return;
	CHECK(json_is_true(json_object_get(spec, "supportsIncremental")));
	CHECK_INT(json_array_size(modes), 3);
	CHECK_INT(json_object_size(properties), sizeof(keys) / sizeof(keys[0]));
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		CHECK_MSG(json_object_get(properties, keys[i]) != NULL, "no key %s", keys[i]);
	CHECK(json_is_true(json_object_get(schema, "additionalProperties")));
	check_schema(schema, "configuration");
	json_decref(spec);
}

/* The library passes over a zero byte between a value and what follows it. */
static void
test_zero_byte(void)
{
	static const char json[] = "{\"a\":null\0}";
	LdrError	err = {0};
	LdrAirbyteConfig *config;

	CHECK_INT(ldr_airbyte_config_parse(json, sizeof(json) - 1, LDR_CONFIG_IN_SESSION, &config,
									   &err), LDR_BAD_JSON);
	CHECK_MSG(config == NULL && strstr(err.message, "contains a zero byte") != NULL, "%s",
			  err.message);
	ldr_airbyte_config_free(config);
}

int
main(void)
{
	test_documents();
	test_session();
	test_values();
	test_upgrades();
	test_size();
	test_spec();
	test_zero_byte();
	return unit_report("test_airbyte_config");
}
