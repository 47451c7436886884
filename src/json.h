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

static inline json_t *
ldr_json_object(void)
{
	return json_pack("{}");
}

#endif							/* LDR_JSON_H */
