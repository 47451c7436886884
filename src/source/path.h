/*
 * source/path.h: directories on the server that a role may read.
 */
#ifndef LDR_PATH_H
#define LDR_PATH_H

#include "nodes/pg_list.h"

/* Real path of a directory that the current role may read. Raises 42501, 58P01, 22023. */
extern char *ldr_directory_resolve(const char *path);

/* Open a resolved directory, following no link; the caller owns the descriptor. */
extern int	ldr_directory_open(const char *real);

/* The names in an open directory (List of char *), without "." and "..". */
extern List *ldr_directory_list(int fd, const char *real);

/* Raise what errno says about path: which element, which operating system user, what to do. */
extern void ldr_path_error(const char *path, int err) __attribute__((noreturn));

#endif							/* LDR_PATH_H */
