/*
 * test/fuzz/fuzz_airbyte.c: the reader of Airbyte messages. What a large window gives, a tiny one
 * must give too; and a state that was given back is read as just the same state.
 */
#include "../fuzz/fuzz_source.h"
#include "reader/airbyte.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const LdrColumnName users[] = {{"id", false}, {"Name", false}, {"js", true},
{"q\"", false}};
static const LdrColumnName others[] = {{"name", true}, {"NAME", false}};
static const LdrMessageStream streams[] = {{"users", NULL, users, 4}, {"users", "ns", others, 2},
{"x", "ns", NULL, 0}};

static void
hash_field(FuzzResult *result, const LdrField *f)
{
	fuzz_hash(result, &f->kind, sizeof(f->kind));
	fuzz_hash(result, &f->len, sizeof(f->len));
	fuzz_hash(result, f->data, f->len);
	if ((f->data == NULL) != (f->kind == LDR_NULL || f->kind == LDR_ABSENT))
		abort();
}

static void
hash_message(FuzzResult *result, const LdrMessage *m)
{
	fuzz_hash(result, &m->kind, sizeof(m->kind));
	fuzz_hash(result, &m->line, sizeof(m->line));
	fuzz_hash(result, m->raw, m->raw_len);
	fuzz_hash(result, &m->stream, sizeof(m->stream));
	fuzz_hash(result, &m->emitted_at, sizeof(m->emitted_at));
	fuzz_hash(result, &m->state_kind, sizeof(m->state_kind));
	fuzz_hash(result, &m->status, sizeof(m->status));
	fuzz_hash(result, &m->row_estimate, sizeof(m->row_estimate));
	fuzz_hash(result, &m->byte_estimate, sizeof(m->byte_estimate));
	hash_field(result, &m->name);
	hash_field(result, &m->name_space);
	hash_field(result, &m->changes);
	hash_field(result, &m->state);
	hash_field(result, &m->text);
	hash_field(result, &m->level);
	if (m->stream >= 3 || (m->fields != NULL) != (m->kind == LDR_MESSAGE_RECORD && m->stream >= 0))
		abort();
	for (int i = 0; m->fields != NULL && i < streams[m->stream].ncolumns; i++)
		hash_field(result, &m->fields[i]);
}

/* Send a state that was given back once more. */
static void
state_again(const LdrMessage *m)
{
	static const char head[] = "{\"type\":\"STATE\",\"state\":";
	size_t		len = sizeof(head) - 1 + m->state.len + 1;
	char	   *text = malloc(len);
	LdrError	err = {0};
	LdrMessage	again;
	LdrAirbyteReader *r;

	memcpy(text, head, sizeof(head) - 1);
	memcpy(text + sizeof(head) - 1, m->state.data, m->state.len);
	text[len - 1] = '}';
	r = ldr_airbyte_open(ldr_memory_source(text, len), streams, 3, &err);
	if (ldr_airbyte_next(r, &again, &err) != LDR_OK || again.kind != LDR_MESSAGE_STATE ||
		again.state_kind != m->state_kind || again.stream != m->stream ||
		again.state.len != m->state.len ||
		memcmp(again.state.data, m->state.data, m->state.len) != 0)
	{
		fprintf(stderr, "not the state that it was: %.*s\n", (int) m->state.len, m->state.data);
		abort();
	}
	ldr_airbyte_close(r);
	free(text);
}

static FuzzResult
read_messages(const uint8_t *data, size_t len, size_t window, size_t step)
{
	FuzzSource	source = {{fuzz_read, fuzz_close, fuzz_consumed}, data, len, 0, step};
	FuzzResult	result = {LDR_OK, 0, 0, {0}};
	LdrAirbyteReader *r;
	LdrMessage	m;

	ldr_reader_limits.window = window;
	r = ldr_airbyte_open(&source.base, streams, 3, &result.err);
	if (r == NULL)
		result.status = result.err.status;
	while (result.status == LDR_OK)
	{
		result.status = ldr_airbyte_next(r, &m, &result.err);
		if (result.status != LDR_OK)
			break;
		result.rows++;
		hash_message(&result, &m);
		if (m.kind == LDR_MESSAGE_STATE)
			state_again(&m);
	}
	ldr_airbyte_close(r);
	return result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzResult	large = read_messages(data, size, 1 << 16, size + 1);
	size_t		window = size > 0 ? 1 + data[size / 2] % 16 : 1;
	FuzzResult	small = read_messages(data, size, window, 1);

	fuzz_same(&large, &small, "window", window);
	return 0;
}
