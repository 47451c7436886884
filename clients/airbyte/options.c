/*
 * options.c: the command line: one command, and options in any order around it, long names only.
 */
#include <string.h>

#include "connector.h"

static LdrCommand
options_command(const char *word)
{
	static const struct
	{
		const char *word;
		LdrCommand	command;
	}			commands[] = {
		{"spec", LDR_COMMAND_SPEC},
		{"check", LDR_COMMAND_CHECK},
		{"write", LDR_COMMAND_WRITE},
		{"--help", LDR_COMMAND_HELP},
		{"--version", LDR_COMMAND_VERSION},
	};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(word, commands[i].word) == 0)
			return commands[i].command;
	return LDR_COMMAND_NONE;
}

/*
 * If argv[*i] is the option --name, take its value: what follows '=', or the next word. Returns
 * false if it is another; *value stays NULL if there is none.
 */
static bool
options_take(const char *name, int argc, char **argv, int *i, const char **value)
{
	const char *word = argv[*i] + 2;
	size_t		len = strlen(name);

	if (strncmp(word, name, len) != 0 || (word[len] != '\0' && word[len] != '='))
		return false;
	*value = NULL;
	if (word[len] == '=')
		*value = word + len + 1;
	else if (*i + 1 < argc)
		*value = argv[++*i];
	return true;
}

static bool
options_option(int argc, char **argv, int *i, LdrOptions *options, LdrFailure *failure)
{
	const char *word = argv[*i];
	const char *value;

	if (options_take("config", argc, argv, i, &value))
		options->config = value;
	else if (options_take("catalog", argc, argv, i, &value))
		options->catalog = value;
	else if (options_take("source-name", argc, argv, i, &value))
		options->source_name = value;
	else
		return ldr_failure_set(failure, LDR_SYSTEM_ERROR, "unknown option \"%s\"", word);
	if (value == NULL)
		return ldr_failure_set(failure, LDR_SYSTEM_ERROR, "option \"%s\" needs a value", word);
	return true;
}

/* Has the command all that it needs? */
static bool
options_complete(const LdrOptions *options, LdrFailure *failure)
{
	switch (options->command)
	{
		case LDR_COMMAND_NONE:
			return ldr_failure_set(failure, LDR_SYSTEM_ERROR,
								   "no command: one of spec, check, write");
		case LDR_COMMAND_CHECK:
		case LDR_COMMAND_WRITE:
			if (options->config == NULL)
				return ldr_failure_set(failure, LDR_SYSTEM_ERROR, "option \"--config\" is missing");
			if (options->command == LDR_COMMAND_WRITE && options->catalog == NULL)
				return ldr_failure_set(failure, LDR_SYSTEM_ERROR,
									   "option \"--catalog\" is missing");
			break;
		case LDR_COMMAND_SPEC:
		case LDR_COMMAND_HELP:
		case LDR_COMMAND_VERSION:
			break;
	}
	return true;
}

bool
ldr_options_parse(int argc, char **argv, LdrOptions *options, LdrFailure *failure)
{
	memset(options, 0, sizeof(*options));
	for (int i = 1; i < argc; i++)
	{
		LdrCommand	command = options_command(argv[i]);

		/* who asks for help gets it, whatever else there is */
		if (command == LDR_COMMAND_HELP || command == LDR_COMMAND_VERSION)
		{
			options->command = command;
			return true;
		}
		if (command != LDR_COMMAND_NONE && options->command == LDR_COMMAND_NONE)
			options->command = command;
		else if (strncmp(argv[i], "--", 2) != 0)
			return ldr_failure_set(failure, LDR_SYSTEM_ERROR, "unexpected argument \"%s\"",
								   argv[i]);
		else if (!options_option(argc, argv, &i, options, failure))
			return false;
	}
	return options_complete(options, failure);
}
