/*
 * publish/condition.c: the conditions in a package's hints, the only text of it that becomes SQL.
 *
 * Each has to be one expression and nothing else: parsed alone, by the grammar that knows nothing
 * but expressions, before it gets its parentheses. It runs with the rights of the package's role.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"

#include "publish/merge_sql.h"

#define CONDITION_SHOWN 100		/* bytes of it in a message */

/* What is looked at, for messages. */
typedef struct Condition
{
	const LdrSchemaTable *table;
	const char *hint;
	const char *text;
} Condition;

static void
__attribute__((noreturn))
condition_fail(const Condition *c, const char *detail)
{
	int			len = strlen(c->text);
	int			shown = pg_mbcliplen(c->text, len, CONDITION_SHOWN);

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid condition in hint \"%s\" of table \"%s\": %s", c->hint,
					c->table->name, detail),
			 errdetail("The condition is \"%s%s\".", pnstrdup(c->text, shown),
					   shown < len ? "..." : ""),
			 errhint("Write one boolean expression. A literal brace is written twice.")));
}

/* The end of a placeholder that begins at text[0] = '{'; appends the name that it stands for. */
static const char *
condition_placeholder(const Condition *c, const char *text, const char *target,
					  const char *staging, StringInfo sql)
{
	static const char table_mark[] = "{table}";
	static const char staging_mark[] = "{staging_table}";

	if (target != NULL && strncmp(text, table_mark, strlen(table_mark)) == 0)
	{
		appendStringInfoString(sql, target);
		return text + strlen(table_mark);
	}
	if (staging != NULL && strncmp(text, staging_mark, strlen(staging_mark)) == 0)
	{
		appendStringInfoString(sql, staging);
		return text + strlen(staging_mark);
	}
	condition_fail(c, target == NULL ? "it has a placeholder, and may have none" :
				   "it has a placeholder other than {table} and {staging_table}");
}

/* Names for placeholders, one brace for two. */
static char *
condition_expand(const Condition *c, const char *target, const char *staging)
{
	StringInfoData sql;
	const char *p = c->text;

	initStringInfo(&sql);
	while (*p != '\0')
	{
		if ((*p == '{' || *p == '}') && p[1] == *p)
		{
			appendStringInfoChar(&sql, *p);
			p += 2;
		}
		else if (*p == '{')
			p = condition_placeholder(c, p, target, staging, &sql);
		else if (*p == '}')
			condition_fail(c, "a brace is not closed or not opened");
		else
			appendStringInfoChar(&sql, *p++);
	}
	return sql.data;
}

/* Parse it as an expression. An error of the grammar is one of the hint. */
static List *
condition_parse(const Condition *c, const char *sql)
{
	MemoryContext cxt = CurrentMemoryContext;
	List	   *volatile parsed = NIL;

	PG_TRY();
	{
		parsed = raw_parser(sql, RAW_PARSE_PLPGSQL_EXPR);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) !=
			ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR))
			ReThrowError(error);
		FlushErrorState();
		condition_fail(c, error->message);
	}
	PG_END_TRY();
	return parsed;
}

/* Has it a part that no expression has? The grammar takes what may follow SELECT. */
static bool
condition_has_more(const SelectStmt *s)
{
	return s->distinctClause != NIL || s->intoClause != NULL || s->fromClause != NIL ||
		s->whereClause != NULL || s->groupClause != NIL || s->havingClause != NULL ||
		s->windowClause != NIL || s->valuesLists != NIL || s->sortClause != NIL ||
		s->limitOffset != NULL || s->limitCount != NULL || s->lockingClause != NIL ||
		s->withClause != NULL || s->op != SETOP_NONE;
}

/* A parameter, anywhere: there is nobody to give it a value. */
static bool
condition_has_parameter(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return IsA(node, ParamRef) ||
		raw_expression_tree_walker(node, condition_has_parameter, context);
}

static void
condition_check(const Condition *c, const char *sql)
{
	List	   *parsed = condition_parse(c, sql);
	SelectStmt *select;
	ResTarget  *target;

	if (list_length(parsed) != 1)
		condition_fail(c, "it is not one expression");
	select = (SelectStmt *) linitial_node(RawStmt, parsed)->stmt;
	if (!IsA(select, SelectStmt) || condition_has_more(select) ||
		list_length(select->targetList) != 1)
		condition_fail(c, "it is not one expression");
	target = linitial_node(ResTarget, select->targetList);
	if (target->name != NULL || target->indirection != NIL || target->val == NULL)
		condition_fail(c, "it is not one expression");
	if (IsA(target->val, ColumnRef) &&
		IsA(llast(((ColumnRef *) target->val)->fields), A_Star))
		condition_fail(c, "it is not one expression");
	if (condition_has_parameter(target->val, NULL))
		condition_fail(c, "it has a parameter");
}

char *
ldr_condition_sql(const LdrSchemaTable *table, const char *hint, const char *text,
				  const char *target, const char *staging)
{
	Condition	c = {.table = table, .hint = hint};
	char	   *sql;

	c.text = pg_any_to_server(text, strlen(text), PG_UTF8);
	sql = condition_expand(&c, target, staging);
	condition_check(&c, sql);
	/* the line break ends a comment that the condition may end with */
	sql = psprintf("(%s\n)", sql);
	/* "ALL x" passes for an expression where it stands alone, and is none in parentheses */
	condition_check(&c, sql);
	return sql;
}
