/*
 * source/reference.h: the address of a file, as a reference job or a staging area gives it. No
 * postgres.h.
 */
#ifndef LDR_REFERENCE_H
#define LDR_REFERENCE_H

#include "status.h"

/*
 * The path that a file:// URL names, or a path as it is; malloc'd, for the caller to free.
 * LDR_UNSUPPORTED for any other scheme, which the message names; LDR_BAD_NAME for a URL that is
 * none: relative, of another host, with a %-escape that is broken or stands for a zero byte.
 */
extern LdrStatus ldr_reference_path(const char *url, char **path, LdrError *err);

/*
 * The one address in the text of a reference job's file, without the end of its line; malloc'd.
 * LDR_UNSUPPORTED if there are several, LDR_BAD_NAME if there is none.
 */
extern LdrStatus ldr_reference_parse(const char *text, size_t len, char **url, LdrError *err);

/* The format in the name of a file, "jsonl" of "a/b.1.jsonl.gz": into buf; "" if it has none. */
extern void ldr_reference_format(const char *path, char *buf, size_t bufsize);

#endif							/* LDR_REFERENCE_H */
