/*
 * destination-loader.c: the Airbyte destination connector of the extension loader: its commands.
 *
 * The server does the work; this program carries bytes to it and messages back. Exit status: 0, or
 * 1 after a TRACE ERROR message, or 2 for a command line that is none. `check` has an answer in any
 * case, and 0.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "connector.h"
#include "schema/airbyte.h"
#include "version.h"

static const char usage[] =
LDR_PROGRAM ": an Airbyte destination, PostgreSQL with the extension loader\n"
"\n"
"Usage:\n"
"  " LDR_PROGRAM " spec\n"
"  " LDR_PROGRAM " check --config FILE\n"
"  " LDR_PROGRAM " write --config FILE --catalog FILE [--source-name NAME]\n"
"\n"
"  spec       print what a configuration consists of\n"
"  check      connect and look whether a sync could be run\n"
"  write      load the messages on standard input; print states as they are committed\n"
"\n"
"  --config FILE       configuration, JSON\n"
"  --catalog FILE      configured catalog, JSON\n"
"  --source-name NAME  under which the server keeps the states\n"
"  --help, --version   this text; the version\n"
"\n"
"Output is messages of the Airbyte protocol, one a line. The exit status is 0 if all is loaded.\n";

static bool
command_spec(void)
{
	ldr_out_payload("SPEC", "spec", ldr_airbyte_spec, strlen(ldr_airbyte_spec));
	return true;
}

/* What the server says of the configuration: NULL is for yes. */
static char *
check_problem(LdrSession *session, const LdrConfig *config, LdrFailure *failure)
{
	const char *params[1] = {config->server};
	char	   *sql = ldr_text("SELECT CASE WHEN c.r OPERATOR(pg_catalog.->>) 'status'"
							   " OPERATOR(pg_catalog.=) 'SUCCEEDED' THEN '' ELSE"
							   " c.r OPERATOR(pg_catalog.->>) 'message' END"
							   " FROM (SELECT %s.loader_airbyte_check($1::pg_catalog.jsonb)) c(r)",
							   session->schema);
	char	   *problem = ldr_session_value(session, sql, 1, params, failure);

	free(sql);
	if (problem != NULL && problem[0] == '\0')
	{
		free(problem);
		problem = NULL;
	}
	return problem;
}

static void
command_check(const LdrOptions *options)
{
	LdrFailure	failure = {0};
	LdrConfig	config;
	LdrSession	session = {0};
	char	   *problem = NULL;

	if (ldr_config_read(options->config, &config, &failure) &&
		ldr_session_open(&session, &config, &failure))
		problem = check_problem(&session, &config, &failure);
	ldr_session_close(&session);
	if (problem == NULL)
		problem = failure.message;
	ldr_out_status(problem == NULL, problem);
}

/* Open a sync; returns its id, or NULL. */
static char *
write_open(LdrSession *session, const LdrConfig *config, const LdrOptions *options,
		   const char *catalog, LdrFailure *failure)
{
	const char *params[3] = {config->server, catalog, options->source_name};
	char	   *sql = ldr_text("SELECT %s.loader_airbyte_open(config => $1::pg_catalog.jsonb,"
							   " catalog => $2::pg_catalog.json,"
							   " source_name => $3::pg_catalog.text)", session->schema);
	char	   *id = ldr_session_value(session, sql, 3, params, failure);

	free(sql);
	return id;
}

static bool
command_write(const LdrOptions *options, LdrFailure *failure)
{
	LdrConfig	config;
	LdrSession	session = {0};
	char	   *catalog;
	char	   *id = NULL;
	size_t		len;
	bool		ok;

	ok = ldr_config_read(options->config, &config, failure) &&
		ldr_file_read(options->catalog, "catalog", &catalog, &len, failure);
	ldr_out_flush();			/* connecting may take its time */
	ok = ok && ldr_session_open(&session, &config, failure) &&
		(id = write_open(&session, &config, options, catalog, failure)) != NULL &&
		ldr_sync_run(&session, id, failure);
	ldr_session_close(&session);
	free(id);
	return ok;
}

/* Files with certificates do not outlive us, whatever ends us. */
static void
end_by_signal(int signo)
{
	ldr_certificates_remove();
	raise(signo);				/* its default action is in place again */
}

static void
prepare_signals(void)
{
	static const int ending[] = {SIGTERM, SIGINT, SIGHUP};
	struct sigaction end = {.sa_handler = end_by_signal, .sa_flags = SA_RESETHAND};
	struct sigaction old;

	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
	{
		sigaction(ending[i], &end, &old);
		/* nohup, or in the background of a shell */
		if (ending[i] != SIGTERM && old.sa_handler == SIG_IGN)
			sigaction(ending[i], &old, NULL);
	}
	/* whoever started us may have it ignored; we end when nobody reads what we say */
	signal(SIGPIPE, SIG_DFL);
}

/*
 * A file or socket of ours must not become standard input or output because that was closed. This
 * cannot be read, so that a missing input is not taken for an empty one.
 */
static void
prepare_files(void)
{
	int			fd;

	do
		fd = open("/dev/null", O_WRONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int
run(const LdrOptions *options)
{
	LdrFailure	failure = {0};

	switch (options->command)
	{
		case LDR_COMMAND_SPEC:
			command_spec();
			break;
		case LDR_COMMAND_CHECK:
			command_check(options);
			break;
		case LDR_COMMAND_WRITE:
			if (!command_write(options, &failure))
				ldr_out_error(&failure);
			break;
		case LDR_COMMAND_HELP:
			fputs(usage, stdout);
			break;
		case LDR_COMMAND_VERSION:
			puts(LDR_PROGRAM " " LDR_VERSION);
			break;
		case LDR_COMMAND_NONE:
			break;
	}
	ldr_certificates_remove();
	ldr_out_flush();
	return failure.message == NULL ? 0 : 1;
}

int
main(int argc, char **argv)
{
	LdrOptions	options;
	LdrFailure	failure = {0};

	prepare_files();
	prepare_signals();
	if (ldr_options_parse(argc, argv, &options, &failure))
		return run(&options);
	fprintf(stderr, LDR_PROGRAM ": %s\nTry \"" LDR_PROGRAM " --help\".\n", failure.message);
	ldr_out_error(&failure);
	ldr_out_flush();
	return 2;
}
