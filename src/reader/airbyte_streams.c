/*
 * reader/airbyte_streams.c: the streams of a catalog, by name and namespace. No postgres.h.
 */
#include "reader/airbyte_parts.h"

#include <stdlib.h>

/* Index the columns of a stream. False: out of memory. */
static bool
airbyte_open_columns(LdrAirbyteStream *s)
{
	int			n = s->def->ncolumns;
	size_t		bytes = 0;
	char	   *spelled;

	for (int i = 0; i < n; i++)
		bytes += strlen(s->def->columns[i].name);
	/* some more than columns, as records may have properties that the stream does not */
	s->nexpected = n * 2 + 16;
	s->clashes = calloc((size_t) n + 1, sizeof(bool));
	s->spellings = calloc((size_t) n * 2 + 1, sizeof(LdrNameKey));
	s->spelled = spelled = malloc(bytes + 1);
	s->expected = malloc(sizeof(int) * (size_t) s->nexpected);
	if (s->clashes == NULL || s->spellings == NULL || s->spelled == NULL || s->expected == NULL ||
		!ldr_name_index_init(&s->exact, n, false) || !ldr_name_index_init(&s->folded, n, true))
		return false;
	for (int i = 0; i < s->nexpected; i++)
		s->expected[i] = -1;
	for (int i = 0; i < n; i++)
	{
		const char *name = s->def->columns[i].name;
		size_t		len = strlen(name);
		int			first = ldr_name_index_add(&s->folded, name, len);

		ldr_name_index_add(&s->exact, name, len);
		s->clashes[first] = (first != i);
		s->spellings[i] = (LdrNameKey) {name, (uint32_t) len, 0};
		s->spellings[n + i] = (LdrNameKey) {spelled, (uint32_t) len, 0};
		memcpy(spelled, name, len);
		spelled += len;
	}
	return true;
}

/* Index a stream by its name, behind others of the same. */
static void
airbyte_open_name(LdrAirbyteReader *r, int i)
{
	LdrAirbyteStream *s = &r->streams[i];
	int			first;

	s->name_len = (uint32_t) strlen(s->def->name);
	s->name_space_len = s->def->name_space ? (uint32_t) strlen(s->def->name_space) : 0;
	s->next = -1;
	s->used = i;
	s->first = first = ldr_name_index_add(&r->names, s->def->name, s->name_len);
	if (first == i)
		return;
	while (r->streams[first].next >= 0)
		first = r->streams[first].next;
	r->streams[first].next = i;
}

bool
ldr_airbyte_open_streams(LdrAirbyteReader *r, const LdrMessageStream *streams, int nstreams)
{
	size_t		widest = 0;

	r->streams = calloc((size_t) nstreams + 1, sizeof(LdrAirbyteStream));
	if (r->streams == NULL || !ldr_name_index_init(&r->names, nstreams, false))
		return false;
	r->nstreams = nstreams;
	for (int i = 0; i < nstreams; i++)
	{
		r->streams[i].def = &streams[i];
		if (!airbyte_open_columns(&r->streams[i]))
			return false;
		airbyte_open_name(r, i);
		if ((size_t) streams[i].ncolumns > widest)
			widest = (size_t) streams[i].ncolumns;
	}
	r->fields = calloc(widest + 1, sizeof(LdrField));
	r->by_case = calloc(widest + 1, sizeof(bool));
	return r->fields != NULL && r->by_case != NULL;
}

void
ldr_airbyte_close_streams(LdrAirbyteReader *r)
{
	for (int i = 0; i < r->nstreams; i++)
	{
		LdrAirbyteStream *s = &r->streams[i];

		ldr_name_index_free(&s->exact);
		ldr_name_index_free(&s->folded);
		free(s->clashes);
		free(s->spellings);
		free(s->spelled);
		free(s->expected);
	}
	free(r->streams);
	ldr_name_index_free(&r->names);
	free(r->fields);
	free(r->by_case);
}

int
ldr_airbyte_named(const LdrAirbyteReader *r, const LdrField *name)
{
	if (name->kind != LDR_STRING)
		return -1;
	return ldr_name_index_find(&r->names, name->data, name->len);
}

int
ldr_airbyte_find(const LdrAirbyteReader *r, const LdrField *name, const LdrField *name_space,
				 int guess)
{
	int			i = guess;

	if (i >= 0 && ldr_airbyte_has_name(&r->streams[i], name) &&
		ldr_airbyte_in_namespace(&r->streams[i], name_space))
		return i;
	i = ldr_airbyte_named(r, name);
	while (i >= 0 && !ldr_airbyte_in_namespace(&r->streams[i], name_space))
		i = r->streams[i].next;
	return i;
}

void
ldr_airbyte_set_stream(LdrAirbyteReader *r, LdrMessage *m, const LdrField *name,
					   const LdrField *name_space, int guess)
{
	m->name = *name;
	m->name_space = *name_space;
	if (name_space->kind == LDR_STRING && name_space->len == 0)
		m->name_space = (LdrField) {NULL, 0, LDR_NULL};
	m->stream = ldr_airbyte_find(r, name, name_space, guess);
}

LdrStatus
ldr_airbyte_descriptor(LdrAirbyteReader *r, LdrJson *j, LdrMessage *m, const LdrField *descriptor)
{
	LdrAirbytePick picks[] = {{.key = "name"}, {.key = "namespace"}};
	LdrField	name;
	LdrField	name_space;
	LdrStatus	status = ldr_airbyte_pick(j, descriptor, picks, 2);

	if (status == LDR_OK)
		status = ldr_airbyte_raw_text(j, &picks[0].value, &name);
	if (status == LDR_OK)
		status = ldr_airbyte_raw_text(j, &picks[1].value, &name_space);
	if (status == LDR_OK)
		ldr_airbyte_set_stream(r, m, &name, &name_space, -1);
	return status;
}
