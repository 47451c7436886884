/*
 * connector.h: what the parts of destination-loader share.
 *
 *	destination-loader.c	the commands
 *	options.c				the command line
 *	config.c				a configuration -> parameters of a connection, and what the server gets
 *	connection.c			a session, and the extension in it
 *	sync.c					one sync: the input to the server, its states to the output
 *	report.c				how it has ended
 *	message.c				the output: messages of the Airbyte protocol, one a line
 *	failure.c				what went wrong, in the protocol's terms
 */
#ifndef LDR_CONNECTOR_H
#define LDR_CONNECTOR_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

#define LDR_PROGRAM "destination-loader"

/* --- failure.c -------------------------------------------------------------------------------- */

typedef enum LdrFailureType
{
	LDR_CONFIG_ERROR,			/* the user has to change something */
	LDR_SYSTEM_ERROR,			/* neither of the others */
	LDR_TRANSIENT_ERROR			/* the same again may succeed */
} LdrFailureType;

typedef struct LdrFailure
{
	LdrFailureType type;
	char	   *message;		/* for people; NULL: nothing has failed */
	char	   *internal;		/* for who looks into it; may be NULL */
	char	   *stream;			/* its descriptor, JSON; may be NULL */
} LdrFailure;

/* Fill it, unless it is filled already: the first failure is the cause. Returns false. */
extern bool ldr_failure_set(LdrFailure *failure, LdrFailureType type, const char *fmt,...)
			__attribute__((format(printf, 3, 4)));

/* The same from an error of the server; detail and hint may be NULL. */
extern bool ldr_failure_sql(LdrFailure *failure, const char *sqlstate, const char *message,
							const char *detail, const char *hint);
extern bool ldr_failure_result(LdrFailure *failure, const PGresult *result);

/* The same from a connection that could not be made, or was lost. */
extern bool ldr_failure_connect(LdrFailure *failure, const PGconn *conn);
extern bool ldr_failure_lost(LdrFailure *failure, const PGconn *conn);

extern LdrFailureType ldr_failure_type(const char *sqlstate);

/* A text of its own; ends the program if there is no memory. */
extern char *ldr_text(const char *fmt,...) __attribute__((format(printf, 1, 2)));
extern void *ldr_alloc(size_t size);
extern void *ldr_realloc(void *old, size_t size);

/* --- message.c -------------------------------------------------------------------------------- */

/*
 * Each call appends a whole line to a buffer; nothing is written before one of the last two is
 * called.
 */
extern void ldr_out_payload(const char *type, const char *key, const char *json, size_t len);
extern void ldr_out_log(const char *level, const char *fmt,...)
			__attribute__((format(printf, 2, 3)));
extern void ldr_out_config(const char *json);
extern void ldr_out_status(bool succeeded, const char *message);
extern void ldr_out_error(const LdrFailure *failure);

/* Bytes that wait to be written. */
extern size_t ldr_out_pending(void);

/* Write a little: as much as cannot block where poll() says that standard output takes some. */
extern void ldr_out_some(void);

/* Write all, however long that takes. */
extern void ldr_out_flush(void);

/* --- options.c -------------------------------------------------------------------------------- */

typedef enum LdrCommand
{
	LDR_COMMAND_NONE,
	LDR_COMMAND_SPEC,
	LDR_COMMAND_CHECK,
	LDR_COMMAND_WRITE,
	LDR_COMMAND_HELP,
	LDR_COMMAND_VERSION
} LdrCommand;

typedef struct LdrOptions
{
	LdrCommand	command;
	const char *config;			/* files */
	const char *catalog;
	const char *source_name;	/* may be NULL */
} LdrOptions;

/* Returns false and says why, if the command line is not one. */
extern bool ldr_options_parse(int argc, char **argv, LdrOptions *options, LdrFailure *failure);

/* --- config.c --------------------------------------------------------------------------------- */

#define LDR_MAX_PARAMETERS 64

typedef struct LdrConfig
{
	char	   *upgraded;		/* JSON, if it came in an older form; else NULL */
	char	   *server;			/* JSON for the server: without what concerns the connection only */
	/* of the connection, for PQconnectStartParams: both end with a NULL */
	const char *keywords[LDR_MAX_PARAMETERS + 1];
	const char *values[LDR_MAX_PARAMETERS + 1];
	int			nparameters;
} LdrConfig;

/* Read a whole file; what it is for the message. */
extern bool ldr_file_read(const char *path, const char *what, char **content, size_t *len,
						  LdrFailure *failure);

/*
 * Read and check a configuration. Says what it had to do with it: the upgraded one goes out as a
 * message, then warnings. Certificates are in files afterwards.
 */
extern bool ldr_config_read(const char *path, LdrConfig *config, LdrFailure *failure);

/* The value of a parameter of the connection, or NULL. */
extern const char *ldr_config_parameter(const LdrConfig *config, const char *keyword);

/* Remove those files. May be called from a signal handler, and more than once. */
extern void ldr_certificates_remove(void);

/* --- connection.c ----------------------------------------------------------------------------- */

typedef struct LdrSession
{
	PGconn	   *conn;
	char	   *schema;			/* of the extension, quoted */
	char	   *version;		/* of the extension */
} LdrSession;

/* Connect and find the extension and its functions. */
extern bool ldr_session_open(LdrSession *session, const LdrConfig *config, LdrFailure *failure);
extern void ldr_session_close(LdrSession *session);

/*
 * Run a statement with parameters that are text, and return its only row's first column, a text
 * of its own; NULL if it failed.
 */
extern char *ldr_session_value(LdrSession *session, const char *sql, int nparams,
							   const char *const *params, LdrFailure *failure);

/* --- report.c --------------------------------------------------------------------------------- */

/* The report of a sync, JSON, but for its states: into the log; a failed one fails. */
extern void ldr_report(const char *text, const char *package_id, LdrFailure *failure);

/* --- sync.c ----------------------------------------------------------------------------------- */

/*
 * Run a sync: what standard input has, up to its end. Returns false if it failed, with the reason;
 * what has been loaded is in the output all the same. Does not return after a signal that ends the
 * program.
 */
extern bool ldr_sync_run(LdrSession *session, const char *package_id, LdrFailure *failure);

#endif							/* LDR_CONNECTOR_H */
