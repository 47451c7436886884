/*
 * reader/airbyte_walk.c: members of JSON objects, one by one or by their keys. No postgres.h.
 */
#include "reader/airbyte_parts.h"

LdrStatus
ldr_airbyte_walk(LdrJson *j, LdrAirbyteWalk *walk)
{
	LdrStatus	status;

	if (!walk->begun)
		j->p++;
	ldr_json_space(j);
	walk->ended = (*j->p == '}');
	if (walk->ended)
	{
		j->p++;
		return LDR_OK;
	}
	if (walk->begun)
	{
		if (*j->p != ',')
			return ldr_json_unexpected(j, "where a comma or the end of an object is expected");
		j->p++;
		ldr_json_space(j);
	}
	walk->begun = true;
	if (*j->p != '"')
		return ldr_json_unexpected(j, "where a key is expected");
	walk->key_text = j->p;
	status = ldr_json_string(j, &walk->key);
	if (status != LDR_OK)
		return status;
	walk->key_len = (size_t) (j->p - walk->key_text);
	return ldr_airbyte_colon(j);
}

LdrStatus
ldr_airbyte_text(LdrJson *j, LdrField *value)
{
	LdrStatus	status;

	if (*j->p == '"')
		return ldr_json_string(j, value);
	status = ldr_airbyte_raw(j, value);
	if (status == LDR_OK && value->kind != LDR_NULL)
		value->kind = LDR_INVALID;
	return status;
}

LdrStatus
ldr_airbyte_raw_text(const LdrJson *j, const LdrField *raw, LdrField *value)
{
	LdrJson		inner = *j;

	*value = (LdrField) {NULL, 0, LDR_NULL};
	if (raw->kind == LDR_NULL)
		return LDR_OK;
	inner.p = raw->data;
	return ldr_airbyte_text(&inner, value);
}

LdrStatus
ldr_airbyte_pick(const LdrJson *j, const LdrField *object, LdrAirbytePick *picks, int n)
{
	LdrJson		inner = *j;
	LdrAirbyteWalk walk = {0};
	LdrStatus	status;

	if (object->kind == LDR_NULL || *object->data != '{')
		return LDR_OK;
	inner.p = object->data;
	for (;;)
	{
		LdrField	value;

		status = ldr_airbyte_walk(&inner, &walk);
		if (status != LDR_OK || walk.ended)
			return status;
		status = ldr_airbyte_raw(&inner, &value);
		if (status != LDR_OK)
			return status;
		for (int i = 0; i < n; i++)
			if (ldr_airbyte_is(&walk.key, picks[i].key))
				picks[i].value = value;
	}
}
