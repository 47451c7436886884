/*
 * json.h: jansson, in a process that has a json_object() of its own.
 *
 * The server exports an SQL function of that C name, and in a backend the server's symbol wins
 * over the library's. So nobody may call jansson's: an empty object is made by ldr_json_object().
 * (Inside the library the calls are bound to its own.)
 */
#ifndef LDR_JSON_H
#define LDR_JSON_H

#define json_object ldr_not_json_object
#include <jansson.h>
#undef json_object
#include <stdbool.h>
#include <string.h>

static inline json_t *
ldr_json_object(void)
{
	return json_pack("{}");
}

/* A member; NULL if it is missing or null, or if object is none. */
static inline json_t *
ldr_json_get(json_t *object, const char *key)
{
	json_t	   *value = json_object_get(object, key);

	return json_is_null(value) ? NULL : value;
}

/* The text of a string, which belongs to it; NULL for anything else, and for a zero character. */
static inline const char *
ldr_json_text(json_t *value)
{
	const char *text = json_string_value(value);

	return text != NULL && strlen(text) == json_string_length(value) ? text : NULL;
}

/* Is it this text? */
static inline bool
ldr_json_is(json_t *value, const char *text)
{
	const char *string = ldr_json_text(value);

	return string != NULL && strcmp(string, text) == 0;
}

#endif							/* LDR_JSON_H */
