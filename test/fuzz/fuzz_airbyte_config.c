/*
 * test/fuzz/fuzz_airbyte_config.c: any bytes as the configuration of an Airbyte destination.
 */
#include <stdlib.h>
#include <string.h>

#include "schema/airbyte.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns today's form of it, or a copy of it; NULL: it was refused. */
static char *
fuzz_config(const char *json, size_t len, LdrConfigUse use)
{
	LdrError	err = {0};
	LdrAirbyteConfig *config;
	char	   *upgraded;

	if (ldr_airbyte_config_parse(json, len, use, &config, &err) != LDR_OK)
	{
		if (config != NULL || err.message[0] == '\0' || err.hint[0] == '\0')
			abort();
		return NULL;
	}
	if (config->schema[0] == '\0' || config->raw_data_schema[0] == '\0')
		abort();
	upgraded = config->upgraded != NULL ? strdup(config->upgraded) : strndup(json, len);
	ldr_airbyte_config_free(config);
	return upgraded;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *today;
	char	   *again;

	today = fuzz_config((const char *) data, size, LDR_CONFIG_TO_CONNECT);
	again = fuzz_config((const char *) data, size, LDR_CONFIG_IN_SESSION);
	/* who connects must say more */
	if (today != NULL && (again == NULL || strcmp(today, again) != 0))
		abort();
	free(today);
	/* what is of today's form stays as it is */
	today = again == NULL ? NULL : fuzz_config(again, strlen(again), LDR_CONFIG_IN_SESSION);
	if (again != NULL && (today == NULL || strcmp(today, again) != 0))
		abort();
	free(today);
	free(again);
	return 0;
}
