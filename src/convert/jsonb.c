/*
 * convert/jsonb.c: json and jsonb from JSON of moderate size, built directly in the stored form.
 *
 * A value is read into nodes, its strings being slices of the text (or of a buffer, where they have
 * escapes), and then written: a container's header, an entry for each child, the children's data;
 * of an object all keys in the order of their length and bytes, of equal ones the last, and then
 * the values. Like that of numeric, the stored form is what lies on disk in every cluster.
 *
 * All that is invalid, large or deep, numbers with exponents, and escapes that are not the same in
 * every encoding are the input function's.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "convert/convert.h"
#include "convert/encoding.h"
#include "reader/json_escape.h"

#define MAX_TEXT	(256 * 1024)
#define MAX_NODES	8192
#define MAX_DEPTH	64
#define MAX_PAIRS	64			/* of one object; they are sorted by insertion */
#define FIRST_NODES	64
#define NUMBER_MAX	64			/* characters */

typedef enum NodeKind
{
	NODE_NULL,
	NODE_FALSE,
	NODE_TRUE,
	NODE_NUMBER,
	NODE_STRING,
	NODE_ARRAY,
	NODE_OBJECT
} NodeKind;

typedef struct JsonNode
{
	NodeKind	kind;
	uint32		len;			/* of a string or a number, or how many children */
	uint32		key_len;
	int			next;			/* the next child of the same parent; 0: none */
	const char *text;
	const char *key;
} JsonNode;

/* What a column keeps from one value to the next */
typedef struct JsonBuilder
{
	JsonNode   *nodes;			/* the first is the value itself; children stand behind parents */
	int			nnodes;
	int			max_nodes;
	char	   *strings;		/* without their escapes */
	size_t		strings_size;
	char	   *strings_end;
	const char *p;				/* what is read next */
	const char *end;
	int			depth;
	MemoryContext cxt;
} JsonBuilder;

static int	json_value(JsonBuilder *b);

static inline void
json_space(JsonBuilder *b)
{
	while (b->p < b->end && (*b->p == ' ' || *b->p == '\n' || *b->p == '\t' || *b->p == '\r'))
		b->p++;
}

/* Step over the character, if it is what comes next. */
static inline bool
json_take(JsonBuilder *b, char c)
{
	json_space(b);
	if (b->p == b->end || *b->p != c)
		return false;
	b->p++;
	return true;
}

/* A new node, -1 if there are too many; the others may have moved then. */
static int
json_node(JsonBuilder *b, NodeKind kind)
{
	if (b->nnodes == b->max_nodes)
	{
		if (b->max_nodes == MAX_NODES)
			return -1;
		b->nodes = repalloc(b->nodes, sizeof(JsonNode) * b->max_nodes * 2);
		b->max_nodes *= 2;
	}
	b->nodes[b->nnodes] = (JsonNode) {.kind = kind};
	return b->nnodes++;
}

/* The rest of a string that has an escape at b->p, and began at start. */
static bool
json_unescape(JsonBuilder *b, const char *start, const char **text, uint32 *len)
{
	char	   *out = b->strings_end;

	*text = out;
	memcpy(out, start, b->p - start);
	out += b->p - start;
	while (b->p < b->end && *b->p != '"')
	{
		char		c = *b->p++;

		if ((unsigned char) c < ' ')
			return false;
		if (c == '\\')
		{
			c = b->p < b->end ? ldr_json_escape(*b->p++) : '\0';
			if (c == '\0')
				return false;
		}
		*out++ = c;
	}
	if (b->p == b->end)
		return false;
	b->p++;
	*len = (uint32) (out - *text);
	b->strings_end = out;
	return true;
}

/* The string behind the quote that was read. */
static bool
json_string(JsonBuilder *b, const char **text, uint32 *len)
{
	const char *start = b->p;

	for (; b->p < b->end; b->p++)
	{
		unsigned char c = *b->p;

		if (c == '"')
		{
			*text = start;
			*len = (uint32) (b->p++ - start);
			return true;
		}
		if (c == '\\')
			return json_unescape(b, start, text, len);
		if (c < ' ')
			return false;
	}
	return false;
}

static inline bool
json_digits(JsonBuilder *b)
{
	const char *start = b->p;

	while (b->p < b->end && (unsigned char) (*b->p - '0') <= 9)
		b->p++;
	return b->p > start;
}

/* A number without exponent. */
static int
json_number(JsonBuilder *b)
{
	const char *start = b->p;
	int			node;

	if (*b->p == '-')
		b->p++;
	if (b->p < b->end && *b->p == '0')
		b->p++;
	else if (!json_digits(b))
		return -1;
	if (b->p < b->end && *b->p == '.')
	{
		b->p++;
		if (!json_digits(b))
			return -1;
	}
	/* what else may follow a number is up to the caller, and no letter may follow anything */
	if (b->p - start > NUMBER_MAX || (node = json_node(b, NODE_NUMBER)) < 0)
		return -1;
	b->nodes[node].text = start;
	b->nodes[node].len = (uint32) (b->p - start);
	return node;
}

static int
json_word(JsonBuilder *b, const char *word, NodeKind kind)
{
	size_t		len = strlen(word);

	if (b->end - b->p < len || memcmp(b->p, word, len) != 0)
		return -1;
	b->p += len;
	return json_node(b, kind);
}

/* The children of the container whose bracket was read. */
static int
json_container(JsonBuilder *b, NodeKind kind)
{
	char		closing = kind == NODE_OBJECT ? '}' : ']';
	int			parent = json_node(b, kind);
	int			last = 0;
	uint32		n = 0;

	if (parent < 0 || ++b->depth > MAX_DEPTH)
		return -1;
	if (!json_take(b, closing))
	{
		do
		{
			const char *key = NULL;
			uint32		key_len = 0;
			int			child;

			if (kind == NODE_OBJECT &&
				(!json_take(b, '"') || !json_string(b, &key, &key_len) || !json_take(b, ':')))
				return -1;
			child = json_value(b);
			if (child < 0)
				return -1;
			b->nodes[child].key = key;
			b->nodes[child].key_len = key_len;
			if (n++ > 0)
				b->nodes[last].next = child;
			last = child;
		} while (json_take(b, ','));
		if (!json_take(b, closing) || (kind == NODE_OBJECT && n > MAX_PAIRS))
			return -1;
	}
	b->depth--;
	b->nodes[parent].len = n;
	return parent;
}

/* Any value; returns its node, -1 if it cannot be taken here. */
static int
json_value(JsonBuilder *b)
{
	int			node;

	json_space(b);
	if (b->p == b->end)
		return -1;
	switch (*b->p)
	{
		case '{':
			b->p++;
			return json_container(b, NODE_OBJECT);
		case '[':
			b->p++;
			return json_container(b, NODE_ARRAY);
		case '"':
			b->p++;
			node = json_node(b, NODE_STRING);
			if (node < 0 || !json_string(b, &b->nodes[node].text, &b->nodes[node].len))
				return -1;
			return node;
		case 't':
			return json_word(b, "true", NODE_TRUE);
		case 'f':
			return json_word(b, "false", NODE_FALSE);
		case 'n':
			return json_word(b, "null", NODE_NULL);
		default:
			if (*b->p == '-' || (*b->p >= '0' && *b->p <= '9'))
				return json_number(b);
			return -1;
	}
}

/* Is the text of the field valid in the server's encoding as it is? */
static bool
json_is_text(const LdrConverter *c, const LdrField *f)
{
	return ldr_is_plain_ascii(f->data, f->len) ||
		(c->encoding == c->server_encoding &&
		 pg_encoding_verifymbstr(c->encoding, f->data, (int) f->len) == (int) f->len);
}

/* Read a whole text into nodes; false if it is the input function's. */
static bool
json_read(JsonBuilder *b, const char *text, size_t len)
{
	if (len > MAX_TEXT)
		return false;
	if (len > b->strings_size)
	{
		/* nothing in it is needed; consistent at any time: the allocation may fail */
		b->strings_size = 0;
		if (b->strings != NULL)
			pfree(b->strings);
		b->strings = NULL;
		b->strings = MemoryContextAlloc(b->cxt, len);
		b->strings_size = len;
	}
	b->nnodes = 0;
	b->strings_end = b->strings;
	b->p = text;
	b->end = text + len;
	b->depth = 0;
	if (json_value(b) < 0)
		return false;
	json_space(b);
	return b->p == b->end;
}

/* --- writing ---------------------------------------------------------------------------------- */

static inline char *
jsonb_align(char *out)
{
	while ((uintptr_t) out % sizeof(uint32) != 0)
		*out++ = '\0';
	return out;
}

/*
 * The entry of child i, whose data lie in [start, end): its kind and length; every so many children
 * it has, in place of the length, the offset of its end from that of the first child's beginning.
 */
static inline void
jsonb_put_entry(char *entries, int i, JEntry kind, const char *first, const char *start,
				const char *end)
{
	JEntry		entry = i % JB_OFFSET_STRIDE == 0 ? kind | (JEntry) (end - first) | JENTRY_HAS_OFF
		: kind | (JEntry) (end - start);

	memcpy(entries + i * sizeof(JEntry), &entry, sizeof(entry));
}

/* The pairs of an object in the order of the stored form; returns how many. */
static int
jsonb_sort(const JsonBuilder *b, const JsonNode *object, int *pairs)
{
	int			n = 0;
	int			child = object - b->nodes + 1;

	for (uint32 i = 0; i < object->len; i++, child = b->nodes[child].next)
	{
		const JsonNode *node = &b->nodes[child];
		int			at = n;
		int			order = 1;

		for (; at > 0; at--)
		{
			const JsonNode *before = &b->nodes[pairs[at - 1]];

			order = node->key_len != before->key_len ? (node->key_len > before->key_len ? 1 : -1)
				: memcmp(node->key, before->key, node->key_len);
			if (order >= 0)
				break;
		}
		if (at > 0 && order == 0)
		{
			pairs[at - 1] = child;	/* the last of equal ones counts */
			continue;
		}
		memmove(pairs + at + 1, pairs + at, sizeof(int) * (n - at));
		pairs[at] = child;
		n++;
	}
	return n;
}

static char *jsonb_write(const JsonBuilder *b, const JsonNode *node, char *out, JEntry *kind);

static char *
jsonb_write_object(const JsonBuilder *b, const JsonNode *object, char *out)
{
	int			pairs[MAX_PAIRS + 1];
	int			n = jsonb_sort(b, object, pairs);
	uint32		header = n | JB_FOBJECT;
	char	   *entries,
			   *first,
			   *start;

	out = jsonb_align(out);
	memcpy(out, &header, sizeof(header));
	entries = out + sizeof(header);
	first = out = entries + 2 * n * sizeof(JEntry);
	for (int i = 0; i < n; i++)
	{
		const JsonNode *node = &b->nodes[pairs[i]];

		start = out;
		memcpy(out, node->key, node->key_len);
		out += node->key_len;
		jsonb_put_entry(entries, i, JENTRY_ISSTRING, first, start, out);
	}
	for (int i = 0; i < n; i++)
	{
		JEntry		kind;

		start = out;
		out = jsonb_write(b, &b->nodes[pairs[i]], out, &kind);
		jsonb_put_entry(entries, n + i, kind, first, start, out);
	}
	return out;
}

static char *
jsonb_write_array(const JsonBuilder *b, const JsonNode *array, char *out)
{
	uint32		header = array->len | JB_FARRAY;
	int			child = array - b->nodes + 1;
	char	   *entries,
			   *first;

	out = jsonb_align(out);
	memcpy(out, &header, sizeof(header));
	entries = out + sizeof(header);
	first = out = entries + array->len * sizeof(JEntry);
	for (uint32 i = 0; i < array->len; i++, child = b->nodes[child].next)
	{
		char	   *start = out;
		JEntry		kind;

		out = jsonb_write(b, &b->nodes[child], out, &kind);
		jsonb_put_entry(entries, i, kind, first, start, out);
	}
	return out;
}

/* The data of a value, and what kind it is; returns their end. */
static char *
jsonb_write(const JsonBuilder *b, const JsonNode *node, char *out, JEntry *kind)
{
	switch (node->kind)
	{
		case NODE_NULL:
			*kind = JENTRY_ISNULL;
			return out;
		case NODE_FALSE:
			*kind = JENTRY_ISBOOL_FALSE;
			return out;
		case NODE_TRUE:
			*kind = JENTRY_ISBOOL_TRUE;
			return out;
		case NODE_NUMBER:
			*kind = JENTRY_ISNUMERIC;
			return ldr_write_numeric(node->text, node->len, jsonb_align(out));
		case NODE_STRING:
			*kind = JENTRY_ISSTRING;
			memcpy(out, node->text, node->len);
			return out + node->len;
		case NODE_ARRAY:
			*kind = JENTRY_ISCONTAINER;
			return jsonb_write_array(b, node, out);
		case NODE_OBJECT:
			*kind = JENTRY_ISCONTAINER;
			return jsonb_write_object(b, node, out);
	}
	return out;
}

/* The value that was read, from a text of len bytes. */
static Datum
jsonb_build(const JsonBuilder *b, size_t len)
{
	struct varlena *result;
	char	   *out;
	JEntry		kind;

	/* for each node a key's entry, its own, a header, padding, and a number's header */
	result = palloc(64 + 32 * (size_t) b->nnodes + 2 * len);
	out = VARDATA(result);
	if (b->nodes[0].kind == NODE_ARRAY || b->nodes[0].kind == NODE_OBJECT)
		out = jsonb_write(b, &b->nodes[0], out, &kind);
	else
	{
		/* a scalar is the only child of an array of another kind */
		uint32		header = 1 | JB_FARRAY | JB_FSCALAR;
		char	   *first = out + sizeof(header) + sizeof(JEntry);

		memcpy(out, &header, sizeof(header));
		out = jsonb_write(b, &b->nodes[0], first, &kind);
		jsonb_put_entry((char *) VARDATA(result) + sizeof(header), 0, kind, first, first, out);
	}
	SET_VARSIZE(result, out - (char *) result);
	return PointerGetDatum(result);
}

bool
ldr_json_build(LdrConverter *c, const char *text, size_t len, Datum *value)
{
	if (!json_read(c->state, text, len))
		return false;
	if (c->typid == JSONBOID)
		*value = jsonb_build(c->state, len);
	else
	{
		/* json is the text itself, once it is known to be valid */
		struct varlena *result = palloc(len + VARHDRSZ);

		SET_VARSIZE(result, len + VARHDRSZ);
		memcpy(VARDATA(result), text, len);
		*value = PointerGetDatum(result);
	}
	return true;
}

static Datum
json_convert(LdrConverter *c, const LdrField *f)
{
	Datum		value;

	if (!json_is_text(c, f) || !ldr_json_build(c, f->data, f->len, &value))
		return ldr_convert_input(c, f);
	return value;
}

bool
ldr_json_converter(LdrConverter *c)
{
	JsonBuilder *b;

	if (c->typid != JSONBOID && c->typid != JSONOID)
		return false;
	b = palloc0(sizeof(JsonBuilder));
	b->cxt = c->cxt;
	b->max_nodes = FIRST_NODES;
	b->nodes = palloc(sizeof(JsonNode) * b->max_nodes);
	c->state = b;
	c->fn = json_convert;
	return true;
}
