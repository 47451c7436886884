/*
 * message.c: the output: messages of the Airbyte protocol, one a line.
 *
 * Lines are collected in a buffer and written by whoever can wait, so that a full pipe never stops
 * the one who has something to say.
 */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "connector.h"

/* A buffer that had to grow beyond this is given back once it is empty. */
#define OUT_KEEP (1024 * 1024)

static char *out_data;
static size_t out_start;		/* of what is not yet written */
static size_t out_end;
static size_t out_size;

static void
out_append(const char *bytes, size_t len)
{
	if (out_start > 0 && out_end + len > out_size)
	{
		memmove(out_data, out_data + out_start, out_end - out_start);
		out_end -= out_start;
		out_start = 0;
	}
	if (out_end + len > out_size)
	{
		out_size = 2 * (out_end + len);
		out_data = ldr_realloc(out_data, out_size);
	}
	memcpy(out_data + out_end, bytes, len);
	out_end += len;
}

static void
out_append_text(const char *text)
{
	out_append(text, strlen(text));
}

/*
 * JSON of which we know no more than that it is valid. Line ends can only be between its tokens;
 * there a blank is as good.
 */
static void
out_append_json(const char *json, size_t len)
{
	size_t		start;

	out_append(json, len);
	start = out_end - len;
	for (char *p = out_data + start; p < out_data + out_end; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
}

void
ldr_out_payload(const char *type, const char *key, const char *json, size_t len)
{
	out_append_text("{\"type\":\"");
	out_append_text(type);
	out_append_text("\",\"");
	out_append_text(key);
	out_append_text("\":");
	out_append_json(json, len);
	out_append_text("}\n");
}

/* The same of a payload that we have made. Takes it over. */
static void
out_object(const char *type, const char *key, json_t *payload)
{
	char	   *json = payload == NULL ? NULL : json_dumps(payload, JSON_COMPACT);

	if (json == NULL)
	{
		fprintf(stderr, LDR_PROGRAM ": out of memory\n");
		exit(1);
	}
	ldr_out_payload(type, key, json, strlen(json));
	free(json);
	json_decref(payload);
}

/*
 * A string of any bytes. Messages from before the encoding of the session is agreed on need not be
 * UTF-8: then what is not ASCII becomes '?'.
 */
static json_t *
out_string(const char *text)
{
	json_t	   *string = json_string(text);
	char	   *ascii;

	if (string != NULL)
		return string;
	ascii = ldr_text("%s", text);
	for (char *p = ascii; *p; p++)
		if ((unsigned char) *p >= 0x80)
			*p = '?';
	string = json_string(ascii);
	free(ascii);
	return string;
}

void
ldr_out_log(const char *level, const char *fmt,...)
{
	char	   *text;
	va_list		args;
	int			len;

	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	out_object("LOG", "log", json_pack("{s:s, s:o}", "level", level,
									   "message", out_string(len < 0 ? fmt : text)));
	if (len >= 0)
		free(text);
}

/* Milliseconds since 1970. */
static json_int_t
out_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (json_int_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A connector's own configuration, for its caller to keep. */
void
ldr_out_config(const char *json)
{
	json_t	   *config = json_loads(json, 0, NULL);

	out_object("CONTROL", "control",
			   json_pack("{s:s, s:I, s:{s:o}}", "type", "CONNECTOR_CONFIG", "emitted_at", out_now(),
						 "connectorConfig", "config", config));
}

void
ldr_out_status(bool succeeded, const char *message)
{
	json_t	   *status = json_pack("{s:s}", "status", succeeded ? "SUCCEEDED" : "FAILED");

	if (message != NULL)
		json_object_set_new(status, "message", out_string(message));
	out_object("CONNECTION_STATUS", "connectionStatus", status);
}

static const char *
out_failure_type(LdrFailureType type)
{
	switch (type)
	{
		case LDR_CONFIG_ERROR:
			return "config_error";
		case LDR_TRANSIENT_ERROR:
			return "transient_error";
		case LDR_SYSTEM_ERROR:
			break;
	}
	return "system_error";
}

void
ldr_out_error(const LdrFailure *failure)
{
	json_t	   *error = json_pack("{s:o, s:s}", "message", out_string(failure->message),
								  "failure_type", out_failure_type(failure->type));

	if (failure->internal != NULL)
		json_object_set_new(error, "internal_message", out_string(failure->internal));
	if (failure->stream != NULL)
		json_object_set_new(error, "stream_descriptor", json_loads(failure->stream, 0, NULL));
	out_object("TRACE", "trace", json_pack("{s:s, s:I, s:o}", "type", "ERROR",
										   "emitted_at", out_now(), "error", error));
}

size_t
ldr_out_pending(void)
{
	return out_end - out_start;
}

/* Write up to max bytes. Who reads our output is told by SIGPIPE; another error ends us too. */
static void
out_write(size_t max)
{
	size_t		len = out_end - out_start;
	ssize_t		written = write(STDOUT_FILENO, out_data + out_start, len < max ? len : max);

	if (written < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (written < 0)
	{
		fprintf(stderr, LDR_PROGRAM ": could not write to standard output: %s\n", strerror(errno));
		ldr_certificates_remove();
		_exit(1);
	}
	out_start += written;
	if (out_start < out_end)
		return;
	out_start = out_end = 0;
	if (out_size > OUT_KEEP)
	{
		free(out_data);
		out_data = NULL;
		out_size = 0;
	}
}

void
ldr_out_some(void)
{
	/* a pipe that has room has room for this much, and a longer write would wait for more */
	if (ldr_out_pending() > 0)
		out_write(PIPE_BUF);
}

void
ldr_out_flush(void)
{
	while (ldr_out_pending() > 0)
		out_write(SIZE_MAX);
}
