/*
 * test/unit/test_airbyte_streams.c: what a real source wrote, read by our reader and by jansson:
 * both must see the same. Then the same messages in all the forms that they come in: with nulls for
 * every key, with keys in other orders and other letter case.
 */
#include <jansson.h>

#include "messages.h"

static const LdrColumnName products[] = {{"id", false}, {"make", false}, {"model", false},
{"year", false}, {"price", false}, {"created_at", false}, {"updated_at", false}};
static const LdrColumnName users[] = {{"id", false}, {"created_at", false}, {"updated_at", false},
{"name", false}, {"title", false}, {"age", false}, {"email", false}, {"telephone", false},
{"gender", false}, {"language", false}, {"academic_degree", false}, {"nationality", false},
{"occupation", false}, {"height", false}, {"blood_type", false}, {"weight", false},
{"address", true}};
/* in another order than that of the records, and some are in none */
static const LdrColumnName purchases[] = {{"id", false}, {"user_id", true}, {"product_id", false},
{"created_at", true}, {"updated_at", false}, {"added_to_cart_at", false}, {"purchased_at", false},
{"returned_at", false}, {"none", false}};

static const LdrMessageStream streams[] = {{"products", NULL, products, 7},
{"users", NULL, users, 17}, {"purchases", NULL, purchases, 9}};
static const MessagesOptions options = {streams, 3, 0, 0};

static json_t *
parse(const char *data, size_t len)
{
	return json_loadb(data, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

/* Is that text, as it stands, a way to write a value down? */
static bool
is_json(const LdrField *f, const json_t *want)
{
	json_t	   *got = parse(f->data, f->len);
	bool		same = json_equal(got, want) != 0;

	json_decref(got);
	return same;
}

static bool
is_text(const LdrField *f, const json_t *want)
{
	if (want == NULL || json_is_null(want))
		return f->kind == LDR_NULL;
	return f->kind == LDR_STRING && f->len == json_string_length(want) &&
		memcmp(f->data, json_string_value(want), f->len) == 0;
}

static bool
is_field(const LdrField *f, const json_t *want, bool raw)
{
	if (want == NULL)
		return f->kind == LDR_ABSENT;
	if (json_is_null(want))
		return f->kind == LDR_NULL;
	if (raw || json_is_object(want) || json_is_array(want))
		return f->kind == LDR_RAW_JSON && is_json(f, want);
	if (json_is_string(want))
		return is_text(f, want);
	return f->kind == LDR_BARE && is_json(f, want);
}

static void
check_record(const LdrMessage *m, json_t *record)
{
	json_t	   *data = json_object_get(record, "data");

	CHECK(is_text(&m->name, json_object_get(record, "stream")));
	if (!CHECK(m->stream >= 0 && m->fields != NULL))
		return;
	CHECK_STR(json_string_value(json_object_get(record, "stream")), streams[m->stream].name);
	CHECK_INT(m->emitted_at, json_integer_value(json_object_get(record, "emitted_at")) * 1000);
	for (int i = 0; i < streams[m->stream].ncolumns; i++)
	{
		const LdrColumnName *column = &streams[m->stream].columns[i];

		CHECK_MSG(is_field(&m->fields[i], json_object_get(data, column->name), column->raw_json),
				  "line %lld, column %s", (long long) m->line, column->name);
	}
}

static void
check_trace(const LdrMessage *m, json_t *trace)
{
	json_t	   *what = json_object_get(trace, "stream_status");
	json_t	   *estimate = json_object_get(trace, "estimate");

	if (what != NULL)
	{
		static const char *const names[] = {"", "STARTED", "RUNNING", "COMPLETE", "INCOMPLETE"};
		json_t	   *descriptor = json_object_get(what, "stream_descriptor");

		CHECK_INT(m->kind, LDR_MESSAGE_STATUS);
		CHECK_STR(names[m->status], json_string_value(json_object_get(what, "status")));
		CHECK(is_text(&m->name, json_object_get(descriptor, "name")));
		return;
	}
	CHECK_INT(m->kind, LDR_MESSAGE_ESTIMATE);
	CHECK(is_text(&m->name, json_object_get(estimate, "name")));
	CHECK(m->row_estimate == json_number_value(json_object_get(estimate, "row_estimate")));
	CHECK(m->byte_estimate == json_number_value(json_object_get(estimate, "byte_estimate")));
}

/* One message against what jansson reads in its line. */
static void
check_message(const LdrMessage *m)
{
	json_t	   *line = parse(m->raw, m->raw_len);
	const char *type = json_string_value(json_object_get(line, "type"));

	if (!CHECK(type != NULL))
		return;
	if (strcmp(type, "RECORD") == 0 && CHECK_INT(m->kind, LDR_MESSAGE_RECORD))
		check_record(m, json_object_get(line, "record"));
	else if (strcmp(type, "STATE") == 0 && CHECK_INT(m->kind, LDR_MESSAGE_STATE))
	{
		CHECK_INT(m->state_kind, LDR_STATE_STREAM);
		CHECK(m->stream >= 0);
		CHECK(is_json(&m->state, json_object_get(line, "state")));
	}
	else if (strcmp(type, "TRACE") == 0)
		check_trace(m, json_object_get(line, "trace"));
	else if (strcmp(type, "LOG") == 0 && CHECK_INT(m->kind, LDR_MESSAGE_LOG))
	{
		CHECK(is_text(&m->text, json_object_get(json_object_get(line, "log"), "message")));
		CHECK(is_text(&m->level, json_object_get(json_object_get(line, "log"), "level")));
	}
	else
		CHECK_MSG(strcmp(type, "RECORD") == 0 || strcmp(type, "STATE") == 0 ||
				  strcmp(type, "LOG") == 0, "a %s message", type);
	json_decref(line);
}

static void
test_against_jansson(const char *data, size_t len)
{
	LdrError	err = {0};
	LdrAirbyteReader *r = ldr_airbyte_open(ldr_memory_source(data, len), streams, 3, &err);
	LdrStatus	status;
	LdrMessage	m;
	int			lines = 0;
	int			n = 0;

	for (size_t i = 0; i < len; i++)
		lines += data[i] == '\n';
	while ((status = ldr_airbyte_next(r, &m, &err)) == LDR_OK)
	{
		check_message(&m);
		n++;
	}
	CHECK_INT(status, LDR_END);
	CHECK_INT(n, lines);
	ldr_airbyte_close(r);
}

/* In what form to write a message again. */
typedef enum Form
{
	FORM_NULLS,					/* every key there is, as PyAirbyte writes them */
	FORM_DATA_FIRST,			/* data before stream, the payload before its type */
	FORM_BACKWARDS,				/* the members of data in reverse */
	FORM_UPPER,					/* names of properties in capitals, and one that nobody knows */
	FORM_ESCAPED,				/* no byte that is not ASCII */
	FORM_LAST
} Form;

/* An object with its members in reverse, or with keys in capital letters. */
static json_t *
changed(json_t *object, Form form)
{
	json_t	   *out = json_object();
	const char **keys = malloc(sizeof(char *) * (json_object_size(object) + 1));
	size_t		n = 0;
	const char *key;
	json_t	   *value;

	json_object_foreach(object, key, value)
		keys[n++] = key;
	for (size_t i = 0; i < n; i++)
	{
		char		name[64];

		snprintf(name, sizeof(name), "%s", keys[form == FORM_BACKWARDS ? n - 1 - i : i]);
		value = json_object_get(object, name);
		for (char *p = name; form == FORM_UPPER && *p != '\0'; p++)
			if (*p >= 'a' && *p <= 'z')
				*p += 'A' - 'a';
		json_object_set(out, name, value);
	}
	free(keys);
	return out;
}

static json_t *
nulls(json_t *message)
{
	static const char *const keys[] = {"log", "spec", "connectionStatus", "catalog", "record",
	"state", "trace", "control", "destination_catalog"};
	json_t	   *out = json_object();

	json_object_set(out, "type", json_object_get(message, "type"));
	for (int i = 0; i < 9; i++)
	{
		json_t	   *payload = json_object_get(message, keys[i]);

		if (payload == NULL)
			json_object_set_new(out, keys[i], json_null());
		else
		{
			json_object_set(out, keys[i], payload);
			if (json_object_get(payload, "data") != NULL)
			{
				json_object_set_new(payload, "namespace", json_null());
				json_object_set_new(payload, "meta", json_null());
				json_object_set_new(payload, "file_reference", json_null());
			}
		}
	}
	return out;
}

/* A line in another form. The caller frees it. */
static char *
in_form(const char *line, size_t len, Form form)
{
	json_t	   *message = parse(line, len);
	json_t	   *record = json_object_get(message, "record");
	json_t	   *out = NULL;
	size_t		flags = JSON_COMPACT | (form == FORM_ESCAPED ? JSON_ENSURE_ASCII : 0);
	char	   *text;

	if (record != NULL && (form == FORM_BACKWARDS || form == FORM_UPPER))
	{
		json_t	   *data = changed(json_object_get(record, "data"), form);

		if (form == FORM_UPPER)
			json_object_set_new(data, "_airbyte_raw_id", json_string("0123-\n"));
		json_object_set_new(record, "data", data);
	}
	if (record != NULL && form == FORM_DATA_FIRST)
		json_object_set_new(message, "record", changed(record, FORM_BACKWARDS));
	if (form == FORM_DATA_FIRST)
		out = changed(message, FORM_BACKWARDS);
	else if (form == FORM_NULLS)
		out = nulls(message);
	text = json_dumps(out != NULL ? out : message, flags);
	json_decref(out);
	json_decref(message);
	return text;
}

/*
 * All in another form. STATE and LOG lines stay as they are if the form would change what they
 * say: the order of keys in a state is the source's, to be given back.
 */
static void
test_form(const char *data, size_t len, Form form, const Rows *want)
{
	Rows		file = {0};
	Rows		got;

	for (const char *line = data; line < data + len;)
	{
		const char *eol = strchr(line, '\n');

		if (strncmp(line, "{\"type\":\"STATE\"", 15) == 0 && form != FORM_NULLS)
			rows_put(&file, line, (size_t) (eol - line));
		else
		{
			char	   *text = in_form(line, (size_t) (eol - line), form);

			rows_put(&file, text, strlen(text));
			free(text);
		}
		rows_put(&file, "\n", 1);
		line = eol + 1;
	}
	got = messages_read(file.text, file.len, &options);
	CHECK_INT(got.status, LDR_END);
	CHECK_MSG(strcmp(got.text, want->text) == 0, "form %d: other messages", form);
	messages_windows(file.text, file.len, "form", options, &got);
	rows_free(&got);
	rows_free(&file);
}

int
main(int argc, char **argv)
{
	FILE	   *f = fopen(argc > 1 ? argv[1] : "airbyte_faker.jsonl", "rb");
	Rows		file = {0};
	char		buf[4096];
	size_t		n;
	Rows		whole;

	if (!CHECK_MSG(f != NULL, "cannot open the stream"))
		return unit_report("test_airbyte_streams");
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		rows_put(&file, buf, n);
	fclose(f);
	whole = messages_read(file.text, file.len, &options);
	CHECK_INT(whole.status, LDR_END);
	test_against_jansson(file.text, file.len);
	for (Form form = FORM_NULLS; form < FORM_LAST; form++)
		test_form(file.text, file.len, form, &whole);
	for (size_t cut = 0; cut < file.len; cut += 1 + file.len / 2500)
		messages_cut(file.text, file.len, cut, "stream", options, &whole);
	rows_free(&whole);
	rows_free(&file);
	return unit_report("test_airbyte_streams");
}
