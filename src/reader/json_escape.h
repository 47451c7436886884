/*
 * reader/json_escape.h: the escapes of JSON that are one letter. No postgres.h.
 */
#ifndef LDR_JSON_ESCAPE_H
#define LDR_JSON_ESCAPE_H

/* What a backslash and c stand for, 0 if nothing. \u is not among them. */
static inline char
ldr_json_escape(char c)
{
	switch (c)
	{
		case '"':
		case '\\':
		case '/':
			return c;
		case 'b':
			return '\b';
		case 'f':
			return '\f';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		default:
			return '\0';
	}
}

#endif							/* LDR_JSON_ESCAPE_H */
