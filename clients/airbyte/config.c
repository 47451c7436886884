/*
 * config.c: a configuration -> the parameters of a connection, and what the server gets of it.
 *
 * Secrets end here: they become parameters of the connection or files that only we can read, and
 * the configuration that goes to the server, which may log its parameters, is without them. No
 * message quotes a value of any of them.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "connector.h"
#include "schema/airbyte.h"

/* A configuration or a catalog: of thousands of streams, they are some megabytes. */
#define FILE_MAX_BYTES (256 * 1024 * 1024)

#define DEFAULT_CONNECT_TIMEOUT "30"	/* seconds */

/* What concerns nobody but who connects, secrets among it. */
static const char *const connection_keys[] = {
	"host", "port", "database", "username", "password", "ssl", "ssl_mode", "jdbc_url_params",
	"tunnel_method"
};

/* --- files ------------------------------------------------------------------------------------ */

static bool
file_read_all(int fd, char **content, size_t *len)
{
	size_t		size = 64 * 1024;
	ssize_t		n;

	*content = ldr_alloc(size);
	*len = 0;
	while ((n = read(fd, *content + *len, size - *len - 1)) != 0)
	{
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		*len += n;
		if (*len > FILE_MAX_BYTES)
		{
			errno = EFBIG;
			return false;
		}
		if (size - *len == 1)
			*content = ldr_realloc(*content, size *= 2);
	}
	(*content)[*len] = '\0';
	return true;
}

bool
ldr_file_read(const char *path, const char *what, char **content, size_t *len, LdrFailure *failure)
{
	int			fd = open(path, O_RDONLY | O_CLOEXEC);

	*content = NULL;
	if (fd < 0 || !file_read_all(fd, content, len))
	{
		ldr_failure_set(failure, LDR_CONFIG_ERROR, "could not read the %s, file \"%s\": %s", what,
						path, strerror(errno));
		free(*content);
		*content = NULL;
	}
	else if (strlen(*content) != *len)
		ldr_failure_set(failure, LDR_CONFIG_ERROR,
						"the %s, file \"%s\", is not JSON: it contains a zero byte", what, path);
	if (fd >= 0)
		close(fd);
	return failure->message == NULL;
}

/* --- certificates ----------------------------------------------------------------------------- */

/* Names that a signal handler finds complete or empty. */
static char cert_dir[PATH_MAX];
static char cert_files[3][PATH_MAX];
static int	cert_count;

void
ldr_certificates_remove(void)
{
	for (int i = 0; i < cert_count; i++)
		unlink(cert_files[i]);
	if (cert_dir[0] != '\0')
		rmdir(cert_dir);
	cert_count = 0;
	cert_dir[0] = '\0';
}

static bool
cert_fail(LdrFailure *failure, const char *what)
{
	return ldr_failure_set(failure, LDR_SYSTEM_ERROR,
						   "could not write the %s to a temporary file: %s", what,
						   strerror(errno));
}

static bool
cert_directory(LdrFailure *failure, const char *what)
{
	const char *tmp = getenv("TMPDIR");
	char		name[PATH_MAX];

	if (cert_dir[0] != '\0')
		return true;
	snprintf(name, sizeof(name), "%s/" LDR_PROGRAM ".XXXXXX", tmp == NULL ? "/tmp" : tmp);
	if (mkdtemp(name) == NULL)
		return cert_fail(failure, what);
	memcpy(cert_dir, name, sizeof(name));
	return true;
}

/* Put a certificate or a key into a file, which libpq wants it in. Returns its name, or NULL. */
static const char *
cert_file(const char *what, const char *content, LdrFailure *failure)
{
	char	   *name = cert_files[cert_count];
	size_t		len = strlen(content);
	int			fd;
	bool		written;

	if (!cert_directory(failure, what))
		return NULL;
	if (snprintf(name, PATH_MAX, "%s/%d", cert_dir, cert_count) >= PATH_MAX)
	{
		errno = ENAMETOOLONG;
		cert_fail(failure, what);
		return NULL;
	}
	cert_count++;
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	written = fd >= 0 && write(fd, content, len) == (ssize_t) len;
	if (!written)
		cert_fail(failure, what);
	if (fd >= 0 && close(fd) != 0 && written)
		cert_fail(failure, what);
	return failure->message == NULL ? name : NULL;
}

/* --- parameters of the connection ------------------------------------------------------------- */

const char *
ldr_config_parameter(const LdrConfig *config, const char *keyword)
{
	for (int i = 0; i < config->nparameters; i++)
		if (strcmp(config->keywords[i], keyword) == 0)
			return config->values[i];
	return NULL;
}

/* Set a parameter, or set it anew; NULL leaves it alone. Both texts must last. */
static void
parameter_set(LdrConfig *config, const char *keyword, const char *value)
{
	int			i = 0;

	if (value == NULL)
		return;
	while (i < config->nparameters && strcmp(config->keywords[i], keyword) != 0)
		i++;
	if (i == LDR_MAX_PARAMETERS)
		return;
	config->keywords[i] = keyword;
	config->values[i] = value;
	if (i == config->nparameters)
		config->nparameters++;
}

/* A member that is text, or a number. Of its own; NULL if there is none. */
static char *
config_text(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_integer(value))
		return ldr_text("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return json_is_string(value) ? ldr_text("%s", json_string_value(value)) : NULL;
}

static bool
config_certificate(LdrConfig *config, const json_t *ssl, const char *key, const char *keyword,
				   const char *what, LdrFailure *failure)
{
	const char *content = json_string_value(json_object_get(ssl, key));
	const char *name;

	if (content == NULL || content[0] == '\0')
		return true;
	name = cert_file(what, content, failure);
	parameter_set(config, keyword, name);
	return name != NULL;
}

static bool
config_ssl(LdrConfig *config, const json_t *json, LdrFailure *failure)
{
	const json_t *ssl = json_object_get(json, "ssl_mode");

	parameter_set(config, "sslmode", config_text(ssl, "mode"));
	parameter_set(config, "sslpassword", config_text(ssl, "client_key_password"));
	return config_certificate(config, ssl, "ca_certificate", "sslrootcert", "CA certificate",
							  failure) &&
		config_certificate(config, ssl, "client_certificate", "sslcert", "client certificate",
						   failure) &&
		config_certificate(config, ssl, "client_key", "sslkey", "client key", failure);
}

/* --- jdbc_url_params: those of them that mean something here ---------------------------------- */

/* Undo %XX and '+', in place. */
static void
url_decode(char *text)
{
	char	   *to = text;

	for (char *from = text; *from; from++)
	{
		unsigned int byte;

		if (*from == '%' && isxdigit((unsigned char) from[1]) &&
			isxdigit((unsigned char) from[2]) && sscanf(from + 1, "%2x", &byte) == 1)
		{
			*to++ = byte;
			from += 2;
		}
		else
			*to++ = *from == '+' ? ' ' : *from;
	}
	*to = '\0';
}

/* connectTimeout is connect_timeout, ApplicationName is application_name. */
static bool
url_same_name(const char *a, const char *b)
{
	for (;; a++, b++)
	{
		a += strspn(a, "_");
		b += strspn(b, "_");
		if (tolower((unsigned char) *a) != tolower((unsigned char) *b))
			return false;
		if (*a == '\0')
			return true;
	}
}

/* The configuration has keys for these, or we do. */
static bool
url_is_ours(const char *keyword)
{
	static const char *const ours[] = {
		"host", "port", "dbname", "user", "password", "client_encoding"
	};

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strcmp(keyword, ours[i]) == 0)
			return true;
	return false;
}

/* One parameter; libpq's list of those it knows lasts as long as the program. */
static void
url_parameter(LdrConfig *config, const PQconninfoOption *known, char *name, char *value)
{
	url_decode(name);
	for (; known->keyword != NULL; known++)
	{
		if (!url_same_name(known->keyword, name) || url_is_ours(known->keyword))
			continue;
		if (value == NULL)
			break;
		url_decode(value);
		parameter_set(config, known->keyword, value);
		return;
	}
	ldr_out_log("WARN", "\"%.64s\" in \"jdbc_url_params\" is ignored", name);
}

static void
config_url(LdrConfig *config, const json_t *json)
{
	char	   *params = config_text(json, "jdbc_url_params");
	const PQconninfoOption *known = PQconndefaults();
	char	   *rest = NULL;

	if (params == NULL || known == NULL)
		return;
	for (char *one = strtok_r(params, "&", &rest); one != NULL; one = strtok_r(NULL, "&", &rest))
	{
		char	   *value = strchr(one, '=');

		if (value != NULL)
			*value++ = '\0';
		url_parameter(config, known, one, value);
	}
}

/* --- the whole -------------------------------------------------------------------------------- */

static bool
config_parameters(LdrConfig *config, const json_t *json, LdrFailure *failure)
{
	parameter_set(config, "application_name", LDR_PROGRAM);
	if (getenv("PGCONNECT_TIMEOUT") == NULL)
		parameter_set(config, "connect_timeout", DEFAULT_CONNECT_TIMEOUT);
	/* what the configuration has keys for wins over what its parameters of a URL say */
	config_url(config, json);
	parameter_set(config, "host", config_text(json, "host"));
	parameter_set(config, "port", config_text(json, "port"));
	parameter_set(config, "dbname", config_text(json, "database"));
	parameter_set(config, "user", config_text(json, "username"));
	parameter_set(config, "password", config_text(json, "password"));
	parameter_set(config, "client_encoding", "UTF8");
	return config_ssl(config, json, failure);
}

bool
ldr_config_read(const char *path, LdrConfig *config, LdrFailure *failure)
{
	LdrAirbyteConfig *parsed = NULL;
	LdrError	err = {0};
	char	   *content;
	size_t		len;
	json_t	   *json;
	bool		ok;

	memset(config, 0, sizeof(*config));
	if (!ldr_file_read(path, "configuration", &content, &len, failure))
		return false;
	if (ldr_airbyte_config_parse(content, len, LDR_CONFIG_TO_CONNECT, &parsed, &err) != LDR_OK)
		return ldr_failure_set(failure, LDR_CONFIG_ERROR, "%s%s%s", err.message,
							   err.hint[0] ? ". " : "", err.hint);
	if (parsed->upgraded != NULL)
	{
		config->upgraded = ldr_text("%s", parsed->upgraded);
		ldr_out_config(config->upgraded);
	}
	json = json_loads(config->upgraded == NULL ? content : config->upgraded, 0, NULL);
	if (json == NULL)
		return ldr_failure_set(failure, LDR_CONFIG_ERROR, "the configuration is not valid JSON");
	ok = config_parameters(config, json, failure);
	for (size_t i = 0; i < sizeof(connection_keys) / sizeof(connection_keys[0]); i++)
		json_object_del(json, connection_keys[i]);
	config->server = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	ldr_airbyte_config_free(parsed);
	free(content);
	return ok;
}
