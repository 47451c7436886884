/*
 * schema/package_state.c: dlt's load_package_state.json, as far as loading needs it. No postgres.h.
 *
 * Inside it lies, if the pipeline's state changed, that state as text: base64 of zlib of JSON, or
 * JSON as it is. It names the dataset. Both documents carry values of the user's sources, which
 * are nothing to us: zero characters and numbers beyond 64 bits in them are let through.
 */
#include "json.h"
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "schema/names.h"

/* The largest pipeline state, decompressed: a few kilobytes could otherwise become gigabytes. */
#define STATE_MAX_BYTES (64 * 1024 * 1024)

#define STATE_JSON_FLAGS (JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL)

static LdrStatus
state_no_memory(LdrError *err)
{
	return ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
}

/* Parse one of the two documents, which must be an object. */
static LdrStatus
state_load(const char *json, size_t len, const char *what, json_t **root, LdrError *err)
{
	LdrStatus	status = ldr_json_load_bounded(json, len, STATE_JSON_FLAGS, what, root, err);

	if (status != LDR_OK)
		return status;
	if (!json_is_object(*root))
	{
		json_decref(*root);
		*root = NULL;
		return ldr_fail(err, LDR_BAD_SCHEMA, "the %s must be an object", what);
	}
	return LDR_OK;
}

/* An optional text that PostgreSQL can hold; *out stays NULL if there is none. */
static LdrStatus
state_text(json_t *object, const char *key, const char **out, LdrError *err)
{
	json_t	   *value = json_object_get(object, key);

	*out = NULL;
	if (value == NULL || json_is_null(value))
		return LDR_OK;
	if (!json_is_string(value))
		return ldr_fail(err, LDR_BAD_SCHEMA, "\"%s\" of the package state must be a string", key);
	if (strlen(json_string_value(value)) != json_string_length(value))
		return ldr_fail(err, LDR_NUL_CHARACTER,
						"\"%s\" of the package state contains a zero character", key);
	*out = json_string_value(value);
	return LDR_OK;
}

/* The same, copied; leaves *out alone if there is none, or if it is filled already. */
static LdrStatus
state_copy(json_t *object, const char *key, char **out, LdrError *err)
{
	const char *text;
	LdrStatus	status = state_text(object, key, &text, err);

	if (status != LDR_OK || text == NULL || *out != NULL)
		return status;
	*out = strdup(text);
	return *out == NULL ? state_no_memory(err) : LDR_OK;
}

/*
 * dlt marks a text that stands for another type with one character of the private use area, by
 * default U+F026 and its successors, but the start of the range can be configured. Skip it.
 */
static const char *
state_skip_type_mark(const char *text)
{
	const unsigned char *s = (const unsigned char *) text;

	/* U+E000..U+F8FF are EE 80 80 .. EF A3 BF */
	if (s[0] == 0xEE || (s[0] == 0xEF && s[1] >= 0x80 && s[1] <= 0xA3))
		return text + 3;
	return text;
}

/* The six bits of one character of base64, or -1. */
static int
state_base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/*
 * Decode strict base64: whole groups of four, padding at the end only. *out has room for
 * len / 4 * 3 bytes. Returns the number of bytes, or -1 if it is no base64.
 */
static ssize_t
state_base64(const char *text, size_t len, unsigned char *out)
{
	unsigned char *end = out;
	size_t		padding = 0;

	if (len == 0 || len % 4 != 0)
		return -1;
	while (padding < 2 && text[len - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < len; i += 4)
	{
		uint32_t	bits = 0;

		for (size_t k = i; k < i + 4; k++)
		{
			int			digit = k >= len - padding ? 0 : state_base64_digit(text[k]);

			if (digit < 0)
				return -1;
			bits = bits << 6 | (uint32_t) digit;
		}
		*end++ = bits >> 16 & 0xFF;
		*end++ = bits >> 8 & 0xFF;
		*end++ = bits & 0xFF;
	}
	return end - out - (ssize_t) padding;
}

/* Run an initialised zlib stream to its end into *out, which grows up to the limit. */
static LdrStatus
state_inflate_all(z_stream *z, char **out, size_t *outlen, LdrError *err)
{
	*outlen = 0;
	for (size_t size = 16 * 1024; size <= STATE_MAX_BYTES; size *= 2)
	{
		char	   *grown = realloc(*out, size);
		int			rc;

		if (grown == NULL)
			return state_no_memory(err);
		*out = grown;
		z->next_out = (Bytef *) *out + *outlen;
		z->avail_out = size - *outlen;
		rc = inflate(z, Z_NO_FLUSH);
		*outlen = size - z->avail_out;
		if (rc == Z_MEM_ERROR)
			return state_no_memory(err);
		if (rc == Z_STREAM_END)
			return LDR_OK;
		/* room left and no end: the input is cut short */
		if (rc != Z_OK || z->avail_out > 0)
			return ldr_fail(err, LDR_CORRUPT, "the compressed pipeline state is damaged");
	}
	return ldr_fail(err, LDR_TOO_LONG, "the pipeline state is larger than %d bytes",
					STATE_MAX_BYTES);
}

/* Decompress; *out is to be freed whatever the result. */
static LdrStatus
state_inflate(unsigned char *data, size_t len, char **out, size_t *outlen, LdrError *err)
{
	z_stream	z = {.next_in = data, .avail_in = len};
	LdrStatus	status;

	if (len > STATE_MAX_BYTES)
		return ldr_fail(err, LDR_TOO_LONG, "the pipeline state is larger than %d bytes",
						STATE_MAX_BYTES);
	if (inflateInit(&z) != Z_OK)
		return state_no_memory(err);
	status = state_inflate_all(&z, out, outlen, err);
	inflateEnd(&z);
	return status;
}

/* Take the names out of the pipeline's state, given as JSON. */
static LdrStatus
state_pipeline_names(const char *json, size_t len, LdrPackageState *state, LdrError *err)
{
	json_t	   *root;
	LdrStatus	status = state_load(json, len, "pipeline state", &root, err);

	if (status != LDR_OK)
		return status;
	if ((status = state_copy(root, "dataset_name", &state->dataset_name, err)) == LDR_OK &&
		(status = state_copy(root, "default_schema_name",
							 &state->default_schema_name, err)) == LDR_OK)
		status = state_copy(root, "pipeline_name", &state->pipeline_name, err);
	json_decref(root);
	return status;
}

/* The text of the pipeline's state, packed or not. */
static LdrStatus
state_pipeline_text(const char *text, LdrPackageState *state, LdrError *err)
{
	size_t		len = strlen(text);
	unsigned char *packed = malloc(len / 4 * 3 + 1);
	char	   *json = NULL;
	size_t		jsonlen = 0;
	ssize_t		packedlen;
	LdrStatus	status;

	if (packed == NULL)
		return state_no_memory(err);
	packedlen = state_base64(text, len, packed);
	if (packedlen < 0)
		status = state_pipeline_names(text, len, state, err);
	else if ((status = state_inflate(packed, packedlen, &json, &jsonlen, err)) == LDR_OK)
		status = state_pipeline_names(json, jsonlen, state, err);
	free(json);
	free(packed);
	return status;
}

/* "pipeline_state" of the package state: absent unless the state changed. */
static LdrStatus
state_pipeline(json_t *root, LdrPackageState *state, LdrError *err)
{
	json_t	   *object = json_object_get(root, "pipeline_state");
	const char *text;
	LdrStatus	status;

	if (object == NULL || json_is_null(object))
		return LDR_OK;
	if (!json_is_object(object))
		return ldr_fail(err, LDR_BAD_SCHEMA,
						"\"pipeline_state\" of the package state must be an object");
	if ((status = state_copy(object, "pipeline_name", &state->pipeline_name, err)) != LDR_OK ||
		(status = state_text(object, "state", &text, err)) != LDR_OK || text == NULL)
		return status;
	return state_pipeline_text(text, state, err);
}

/*
 * Put the names of a list's entries into an object, as its keys: so each is kept once, in the order
 * of the list, however long that is. An entry is a table as the schema describes it; all but its
 * name is nothing to us.
 */
static LdrStatus
state_list_names(json_t *list, const char *key, json_t *names, LdrError *err)
{
	LdrNameList bad = {0};
	size_t		i;
	json_t	   *entry;

	json_array_foreach(list, i, entry)
	{
		json_t	   *value = json_object_get(entry, "name");
		const char *name = json_string_value(value);

		if (name == NULL)
			return ldr_fail(err, LDR_BAD_SCHEMA, "\"%s\" of the package state must be a list of "
							"objects that have a \"name\"", key);
		if (strlen(name) != json_string_length(value))
			return ldr_fail(err, LDR_NUL_CHARACTER,
							"a name in \"%s\" of the package state contains a zero character", key);
		if (!ldr_name_usable(name))
			ldr_name_list_add(&bad, NULL, name);
		else if (json_object_set_new(names, name, json_true()) != 0)
			return state_no_memory(err);
	}
	if (bad.total == 0)
		return LDR_OK;
	return ldr_fail(err, LDR_BAD_NAME, "names in \"%s\" that are empty or longer than %d bytes: %s",
					key, LDR_MAX_NAME, ldr_name_list_text(&bad));
}

/* Copy the keys of an object. What was copied is freed with the state, also if this fails. */
static LdrStatus
state_copy_keys(json_t *names, char ***out, int *n, LdrError *err)
{
	*out = calloc(json_object_size(names) + 1, sizeof(**out));
	if (*out == NULL)
		return state_no_memory(err);
	for (void *at = json_object_iter(names); at != NULL; at = json_object_iter_next(names, at))
	{
		(*out)[*n] = strdup(json_object_iter_key(at));
		if ((*out)[*n] == NULL)
			return state_no_memory(err);
		(*n)++;
	}
	return LDR_OK;
}

/* The names of the tables that are listed under this key; there may be no list. */
static LdrStatus
state_tables(json_t *root, const char *key, char ***out, int *n, LdrError *err)
{
	json_t	   *list = json_object_get(root, key);
	json_t	   *names;
	LdrStatus	status;

	if (list == NULL || json_is_null(list))
		return LDR_OK;
	if (!json_is_array(list))
		return ldr_fail(err, LDR_BAD_SCHEMA, "\"%s\" of the package state must be a list", key);
	names = ldr_json_object();
	if (names == NULL)
		return state_no_memory(err);
	status = state_list_names(list, key, names, err);
	if (status == LDR_OK && json_object_size(names) > 0)
		status = state_copy_keys(names, out, n, err);
	json_decref(names);
	return status;
}

static void
state_free_names(char **names, int n)
{
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

static LdrStatus
state_document(json_t *root, LdrPackageState *state, LdrError *err)
{
	const char *created_at;
	LdrStatus	status;

	if ((status = state_text(root, "created_at", &created_at, err)) != LDR_OK ||
		(status = state_copy(root, "refresh", &state->refresh, err)) != LDR_OK ||
		(status = state_tables(root, "dropped_tables", &state->dropped_tables,
							   &state->ndropped, err)) != LDR_OK ||
		(status = state_tables(root, "truncated_tables", &state->truncated_tables,
							   &state->ntruncated, err)) != LDR_OK)
		return status;
	if (created_at != NULL)
	{
		state->created_at = strdup(state_skip_type_mark(created_at));
		if (state->created_at == NULL)
			return state_no_memory(err);
	}
	return state_pipeline(root, state, err);
}

LdrStatus
ldr_package_state_parse(const char *json, size_t len, LdrPackageState **out, LdrError *err)
{
	LdrPackageState *state;
	json_t	   *root;
	LdrStatus	status;

	*out = NULL;
	status = state_load(json, len, "package state", &root, err);
	if (status != LDR_OK)
		return status;
	state = calloc(1, sizeof(*state));
	status = state == NULL ? state_no_memory(err) : state_document(root, state, err);
	json_decref(root);
	if (status != LDR_OK)
	{
		ldr_package_state_free(state);
		return status;
	}
	*out = state;
	return LDR_OK;
}

void
ldr_package_state_free(LdrPackageState *state)
{
	if (state == NULL)
		return;
	free(state->created_at);
	free(state->pipeline_name);
	free(state->dataset_name);
	free(state->default_schema_name);
	free(state->refresh);
	state_free_names(state->dropped_tables, state->ndropped);
	state_free_names(state->truncated_tables, state->ntruncated);
	free(state);
}
