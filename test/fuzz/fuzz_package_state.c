/*
 * test/fuzz/fuzz_package_state.c: any bytes as load_package_state.json, and as the pipeline's state
 * that lies packed in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "schema/schema.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The lists of a package state: usable names, each once. */
static void
fuzz_use_names(char **names, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (names[i][0] == '\0' || strlen(names[i]) > LDR_MAX_NAME)
			abort();
		for (int k = 0; k < i; k++)
			if (strcmp(names[i], names[k]) == 0)
				abort();
	}
}

static void
fuzz_state(const char *json, size_t len)
{
	LdrError	err = {0};
	LdrPackageState *state;
	LdrStatus	status = ldr_package_state_parse(json, len, &state, &err);

	if ((status == LDR_OK) != (state != NULL) || (status != LDR_OK && err.message[0] == '\0'))
		abort();
	if (state == NULL)
		return;
	fuzz_use_names(state->dropped_tables, state->ndropped);
	fuzz_use_names(state->truncated_tables, state->ntruncated);
	ldr_package_state_free(state);
}

static char *
fuzz_base64(char *out, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i += 3)
	{
		uint32_t	bits = (uint32_t) data[i] << 16 |
			(i + 1 < len ? (uint32_t) data[i + 1] << 8 : 0) | (i + 2 < len ? data[i + 2] : 0);

		*out++ = digits[bits >> 18];
		*out++ = digits[bits >> 12 & 63];
		*out++ = i + 1 < len ? digits[bits >> 6 & 63] : '=';
		*out++ = i + 2 < len ? digits[bits & 63] : '=';
	}
	return out;
}

/* A document in which the bytes are the state: base64 of them, packed before if asked for. */
static void
fuzz_inside(const uint8_t *data, size_t size, int pack)
{
	uLongf		len = pack ? compressBound(size) : size;
	uint8_t    *packed = malloc(len + 1);
	char	   *json = malloc(len * 2 + 200);
	char	   *end = json + sprintf(json, "{\"pipeline_state\":{\"state\":\"");

	if (pack && compress2(packed, &len, data, size, 1) != Z_OK)
		abort();
	end = fuzz_base64(end, pack ? packed : data, len);
	end += sprintf(end, "\"}}");
	fuzz_state(json, (size_t) (end - json));
	free(json);
	free(packed);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_state((const char *) data, size);
	fuzz_inside(data, size, 1);
	fuzz_inside(data, size, 0);
	return 0;
}
