/*
 * source/path.h: directories on the server that a role may read.
 */
#ifndef LDR_PATH_H
#define LDR_PATH_H

#include "nodes/pg_list.h"

/*
 * Real path of a directory (or a file) that the current role may read. Raises 42501, 58P01, 22023,
 * and 22021 if it is no text of the database.
 */
extern char *ldr_directory_resolve(const char *path);

/* Open a resolved directory, following no link; the caller owns the descriptor. */
extern int	ldr_directory_open(const char *real);

/* The same of a file, for reading; -1 with errno if that, not its directory, cannot be opened. */
extern int	ldr_file_open(const char *real);

/* The names in an open directory (List of char *), without "." and "..". */
extern List *ldr_directory_list(int fd, const char *real);

/* Raise what errno says about path: which element, which operating system user, what to do. */
extern void ldr_path_error(const char *path, int err) __attribute__((noreturn));

/* Why path is not permitted to the server's user, and what to do: a detail and a hint. */
extern void ldr_path_explain(const char *path, char **detail, char **hint);

/* Raise 22021 if a name from the file system is no text of the database; what: "path", say. */
extern void ldr_path_check_text(const char *what, const char *name);

#endif							/* LDR_PATH_H */
