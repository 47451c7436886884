/*
 * loader.h: the module's settings, and what every room with postgres.h may use.
 */
#ifndef LOADER_H
#define LOADER_H

#include "status.h"

/* Settings, see loader.c */
extern int	ldr_workers;
extern int	ldr_max_workers;
extern int	ldr_min_parallel_file_size; /* kB */
extern int	ldr_max_rate;		/* kB a second; 0: no limit */
extern char *ldr_package_directories;
extern int	ldr_small_package;	/* kB */
extern int	ldr_lock_timeout;	/* ms */
extern int	ldr_lock_deadline;	/* ms */
extern int	ldr_retry_attempts;
extern int	ldr_retry_delay;	/* ms */
extern int	ldr_checkpoint_interval;	/* ms */
extern int	ldr_retention;		/* minutes; -1: keep for ever */
extern int	ldr_reject_retention;	/* the same where rows were rejected */
extern int	ldr_launcher_naptime;	/* s */
extern char *ldr_spool_directory;
extern int	ldr_upload_limit;	/* kB; -1: none */
extern int	ldr_upload_retention;	/* minutes; -1: keep for ever */

/*
 * Raise what a part without postgres.h reported, with its SQLSTATE, the place as detail and its
 * hint. file may be NULL. Does not return.
 */
extern void ldr_raise(const LdrError *err, const char *file) __attribute__((noreturn));

/* The same for something that is no file, such as an argument. */
extern void ldr_raise_in(const LdrError *err, const char *what) __attribute__((noreturn));

/* The SQLSTATE of what such a part reported; 0: that of a file that could not be read. */
extern int	ldr_error_sqlstate(const LdrError *err);

/* Foreign text for a message: control characters, and what the encoding cannot hold, become '?'. */
extern char *ldr_printable(const char *text);

/*
 * The same for a copied error that is kept and shown, in place: the server quotes names and rows as
 * they are, and whoever brings a package chooses both. Lines stay. Returns edata.
 */
extern struct ErrorData *ldr_error_printable(struct ErrorData *edata);

#endif							/* LOADER_H */
