/*
 * convert/encoding.h: text of a file -> text in the server's encoding.
 */
#ifndef LDR_CONVERT_ENCODING_H
#define LDR_CONVERT_ENCODING_H

#include "convert/convert.h"

/* Some bytes; owned if they were allocated for the caller, in its current context. */
typedef struct LdrText
{
	const char *data;
	size_t		len;
	bool		owned;
} LdrText;

/* ASCII without a zero byte: the same in all encodings, and valid in each. */
extern bool ldr_is_plain_ascii(const char *s, size_t len);

/* The same, and copies the text, also where it is not plain; dst has room for len bytes. */
extern bool ldr_copy_plain_ascii(char *dst, const char *s, size_t len);

/* The slow half of ldr_server_text: verify and convert what is not plain ASCII. */
extern LdrText ldr_server_text_convert(const LdrConverter *c, const LdrField *f);

/*
 * The text of a field in the server's encoding, verified. Raises the server's error for invalid
 * bytes and for zero bytes. The result points into the field if there was nothing to convert.
 */
static inline LdrText
ldr_server_text(const LdrConverter *c, const LdrField *f)
{
	if (likely(ldr_is_plain_ascii(f->data, f->len)))
		return (LdrText) {f->data, f->len, false};
	return ldr_server_text_convert(c, f);
}

static inline void
ldr_text_free(const LdrText *text)
{
	if (text->owned)
		pfree((void *) text->data);
}

#endif							/* LDR_CONVERT_ENCODING_H */
