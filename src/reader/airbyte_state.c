/*
 * reader/airbyte_state.c: STATE messages, and how they are given back. No postgres.h.
 *
 * What a state says is opaque: values stay as they are, byte for byte. Only the members of the
 * state object itself are put in order.
 */
#include "reader/airbyte_parts.h"

#include <stdlib.h>

/* The members of a state object that airbyte_raw has stepped over, as they come. */
static LdrStatus
airbyte_state_members(LdrAirbyteReader *r, const LdrJson *j, const LdrField *state)
{
	LdrJson		inner = *j;
	LdrAirbyteWalk walk = {0};
	LdrStatus	status;

	inner.p = state->data;
	r->nmembers = 0;
	for (;;)
	{
		LdrAirbyteMember *member;

		status = ldr_airbyte_walk(&inner, &walk);
		if (status != LDR_OK || walk.ended)
			return status;
		if (r->nmembers == r->members_size)
		{
			int			size = r->members_size * 2 + 16;
			LdrAirbyteMember *members = realloc(r->members, sizeof(*members) * (size_t) size);

			if (members == NULL)
				return ldr_airbyte_no_memory(r, &inner);
			r->members = members;
			r->members_size = size;
		}
		member = &r->members[r->nmembers++];
		member->key = walk.key;
		member->key_text = walk.key_text;
		member->key_len = walk.key_len;
		status = ldr_airbyte_raw(&inner, &member->value);
		if (status != LDR_OK)
			return status;
	}
}

/* Order keys; those that are equal are the same. */
static int
airbyte_compare_keys(const LdrField *a, const LdrField *b)
{
	int			order;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	order = memcmp(a->data, b->data, a->len < b->len ? a->len : b->len);
	return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

/* Of equal keys the one that stands last comes first. */
static int
airbyte_by_key(const void *a, const void *b)
{
	const LdrAirbyteMember *x = a;
	const LdrAirbyteMember *y = b;
	int			order = airbyte_compare_keys(&x->key, &y->key);

	return order != 0 ? order : (x->key_text < y->key_text) - (x->key_text > y->key_text);
}

static int
airbyte_by_place(const void *a, const void *b)
{
	const LdrAirbyteMember *x = a;
	const LdrAirbyteMember *y = b;

	return (x->key_text > y->key_text) - (x->key_text < y->key_text);
}

/* A member of the state, NULL if it has none of that name. */
static LdrAirbyteMember *
airbyte_state_member(LdrAirbyteReader *r, const char *key)
{
	for (int i = 0; i < r->nmembers; i++)
		if (ldr_airbyte_is(&r->members[i].key, key))
			return &r->members[i];
	return NULL;
}

/* Is there a member of that name, and is it an object? */
static bool
airbyte_state_object(LdrAirbyteReader *r, const char *key)
{
	const LdrAirbyteMember *member = airbyte_state_member(r, key);

	return member != NULL && *member->value.data == '{';
}

/* Keep of each key the last member, and of those the ones that are to be given back. */
static void
airbyte_state_settle(LdrAirbyteReader *r)
{
	LdrAirbyteMember *global;
	LdrAirbyteMember *global_;
	int			n = 0;

	if (r->nmembers == 0)
		return;
	qsort(r->members, (size_t) r->nmembers, sizeof(LdrAirbyteMember), airbyte_by_key);
	for (int i = 0; i < r->nmembers; i++)
	{
		const LdrAirbyteMember *member = &r->members[i];

		/* marked, as the next one is still compared with it */
		if ((i > 0 && airbyte_compare_keys(&member->key, &member[-1].key) == 0) ||
			ldr_airbyte_is(&member->key, "destinationStats"))
			r->members[i].value.kind = LDR_NULL;
	}
	for (int i = 0; i < r->nmembers; i++)
		if (r->members[i].value.kind != LDR_NULL)
			r->members[n++] = r->members[i];
	r->nmembers = n;
	qsort(r->members, (size_t) n, sizeof(LdrAirbyteMember), airbyte_by_place);
	global = airbyte_state_member(r, "global");
	global_ = airbyte_state_member(r, "global_");
	/* two names of one thing */
	if (global_ != NULL)
	{
		if (global != NULL)
			(global < global_ ? global : global_)->value.kind = LDR_NULL;
		global_->key = (LdrField) {"global", 6, LDR_STRING};
		global_->key_text = "\"global\"";
		global_->key_len = 8;
	}
}

static char *
airbyte_put(char *out, const char *text, size_t len)
{
	memcpy(out, text, len);
	return out + len;
}

/* Write the state down: its type first, then its members. */
static LdrStatus
airbyte_state_write(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const char *type,
					size_t type_len)
{
	size_t		need = type_len + 16;
	char	   *out;

	for (int i = 0; i < r->nmembers; i++)
		need += r->members[i].key_len + r->members[i].value.len + 2;
	if (need > r->state_size)
	{
		free(r->state);
		r->state = malloc(need);
		r->state_size = r->state != NULL ? need : 0;
		if (r->state == NULL)
			return ldr_airbyte_no_memory(r, j);
	}
	out = airbyte_put(r->state, "{\"type\":", 8);
	out = airbyte_put(out, type, type_len);
	for (int i = 0; i < r->nmembers; i++)
	{
		const LdrAirbyteMember *member = &r->members[i];

		if (member->value.kind == LDR_NULL || ldr_airbyte_is(&member->key, "type"))
			continue;
		*out++ = ',';
		out = airbyte_put(out, member->key_text, member->key_len);
		*out++ = ':';
		out = airbyte_put(out, member->value.data, member->value.len);
	}
	*out++ = '}';
	m->state = (LdrField) {r->state, (uint32_t) (out - r->state), LDR_RAW_JSON};
	return LDR_OK;
}

/* The kind of the state in r->members. *type is how to write it down. */
static LdrStatus
airbyte_state_kind(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, LdrField *type)
{
	static const char *const kinds[] = {"\"STREAM\"", "\"GLOBAL\"", "\"LEGACY\""};
	const LdrAirbyteMember *member = airbyte_state_member(r, "type");
	LdrField	text;

	/* a type that we do not know: at least nothing is said about one stream only */
	m->state_kind = LDR_STATE_LEGACY;
	if (member != NULL)
	{
		LdrStatus	status = ldr_airbyte_raw_text(j, &member->value, &text);

		if (status != LDR_OK)
			return status;
		*type = member->value;
		if (ldr_airbyte_is(&text, "STREAM"))
			m->state_kind = LDR_STATE_STREAM;
		else if (ldr_airbyte_is(&text, "GLOBAL"))
			m->state_kind = LDR_STATE_GLOBAL;
		return LDR_OK;
	}
	if (airbyte_state_object(r, "stream"))
		m->state_kind = LDR_STATE_STREAM;
	else if (airbyte_state_object(r, "global"))
		m->state_kind = LDR_STATE_GLOBAL;
	*type = (LdrField) {kinds[m->state_kind], 8, LDR_RAW_JSON};
	return LDR_OK;
}

LdrStatus
ldr_airbyte_take_state(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const LdrField *state)
{
	LdrAirbytePick picks[] = {{.key = "stream_descriptor"}};
	const LdrAirbyteMember *stream;
	LdrField	type;
	LdrStatus	status;

	m->kind = LDR_MESSAGE_STATE;
	if (state->kind == LDR_NULL || *state->data != '{')
		return ldr_airbyte_fail(r, j, "a STATE message has no state, or none that is an object");
	status = airbyte_state_members(r, j, state);
	if (status != LDR_OK)
		return status;
	airbyte_state_settle(r);
	status = airbyte_state_kind(r, j, m, &type);
	if (status != LDR_OK)
		return status;
	stream = airbyte_state_member(r, "stream");
	if (m->state_kind == LDR_STATE_STREAM && stream != NULL)
	{
		status = ldr_airbyte_pick(j, &stream->value, picks, 1);
		if (status == LDR_OK)
			status = ldr_airbyte_descriptor(r, j, m, &picks[0].value);
		if (status != LDR_OK)
			return status;
	}
	return airbyte_state_write(r, j, m, type.data, type.len);
}
