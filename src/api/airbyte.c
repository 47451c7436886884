/*
 * api/airbyte.c: an Airbyte destination without a sync: spec, check, and the states that sources go
 * on from.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "api/airbyte.h"
#include "api/api.h"
#include "compat.h"
#include "loader.h"
#include "publish/stream.h"
#include "schema/live.h"

PG_FUNCTION_INFO_V1(loader_airbyte_spec);
PG_FUNCTION_INFO_V1(loader_airbyte_check);
PG_FUNCTION_INFO_V1(loader_airbyte_states);

char *
ldr_airbyte_utf8(char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

/* The configuration of an argument, {} for NULL; the error in *err. */
static LdrAirbyteConfig *
airbyte_parse_config(FunctionCallInfo fcinfo, int arg, LdrConfigUse use, LdrError *err)
{
	LdrAirbyteConfig *config = NULL;
	char	   *text = "{}";

	if (!PG_ARGISNULL(arg))
	{
		Jsonb	   *json = PG_GETARG_JSONB_P(arg);

		text = ldr_airbyte_utf8(JsonbToCString(NULL, &json->root, VARSIZE(json)));
	}
	if (ldr_airbyte_config_parse(text, strlen(text), use, &config, err) != LDR_OK)
		return NULL;
	return config;
}

/* What a sync needs of it; names become those of schemas. */
LdrSyncOptions *
ldr_airbyte_options(FunctionCallInfo fcinfo, int arg)
{
	LdrError	err = {0};
	LdrAirbyteConfig *config = airbyte_parse_config(fcinfo, arg, LDR_CONFIG_IN_SESSION, &err);
	LdrSyncOptions *options = palloc0(sizeof(LdrSyncOptions));

	if (config == NULL)
		ldr_raise_in(&err, "Argument \"config\"");
	options->schema = ldr_airbyte_identifier(config->schema);
	options->raw_data_schema = ldr_airbyte_identifier(config->raw_data_schema);
	options->source_name = ldr_sync_text(config->source_name);
	options->soft_delete = config->soft_delete;
	options->fail_on_bad_value = config->fail_on_bad_value;
	ldr_airbyte_config_free(config);
	return options;
}

/*
 * loader_airbyte_spec(): the payload of a SPEC message.
 */
Datum
loader_airbyte_spec(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(ldr_airbyte_spec));
}

/* Why the role could not sync into this schema; NULL: it could. */
char *
ldr_airbyte_check_schema(const char *schema)
{
	Oid			namespace = get_namespace_oid(schema, true);
	Oid			user = GetUserId();

	if (ldr_options_is_reserved(schema))
		return psprintf("schema name \"%s\" is reserved", schema);
	if (OidIsValid(namespace) && ldr_namespace_aclcheck(namespace, user, ACL_CREATE) != ACLCHECK_OK)
		return psprintf("role \"%s\" needs CREATE on schema \"%s\"",
						GetUserNameFromId(user, false), schema);
	if (!OidIsValid(namespace) &&
		ldr_database_aclcheck(MyDatabaseId, user, ACL_CREATE) != ACLCHECK_OK)
		return psprintf("role \"%s\" needs CREATE on database \"%s\", or a schema \"%s\" that is "
						"its own", GetUserNameFromId(user, false),
						get_database_name(MyDatabaseId), schema);
	return NULL;
}

/* The same of the schema of staging tables, which nobody else may own. */
char *
ldr_airbyte_check_stage(const char *schema, const char *dataset)
{
	Oid			namespace = get_namespace_oid(schema, true);
	char	   *why;

	if (OidIsValid(namespace) &&
		!ldr_create_trusts(ldr_live_schema_owner(namespace), get_namespace_oid(dataset, true)))
		why = psprintf("schema \"%s\" belongs to another role", schema);
	else
		why = ldr_airbyte_check_schema(schema);
	return why == NULL ? NULL
		: psprintf("%s; it is for staging tables, and raw_data_schema of the configuration can name "
				   "another one", why);
}

/* Why a sync could not be run here and now; NULL: it could. */
static char *
check_session(const LdrAirbyteConfig *config)
{
	char	   *why;

	if (RecoveryInProgress())
		return "the server is a standby, which cannot be written to";
	if (XactReadOnly)
		return "the session is read-only";
	if (ldr_database_aclcheck(MyDatabaseId, GetUserId(), ACL_CONNECT) != ACLCHECK_OK)
		return psprintf("role \"%s\" needs CONNECT on database \"%s\"",
						GetUserNameFromId(GetUserId(), false), get_database_name(MyDatabaseId));
	why = ldr_airbyte_check_schema(ldr_airbyte_identifier(config->schema));
	if (why == NULL)
		why = ldr_airbyte_check_stage(ldr_airbyte_identifier(config->raw_data_schema),
									  ldr_airbyte_identifier(config->schema));
	return why;
}

/*
 * loader_airbyte_check(config, validate_only): the payload of a CONNECTION_STATUS message.
 */
Datum
loader_airbyte_check(PG_FUNCTION_ARGS)
{
	bool		validate_only = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	LdrError	err = {0};
	LdrAirbyteConfig *config = airbyte_parse_config(fcinfo, 0, validate_only ? LDR_CONFIG_TO_CONNECT
													: LDR_CONFIG_IN_SESSION, &err);
	char	   *why = NULL;
	StringInfoData status;

	if (config == NULL)
		why = psprintf("%s%s%s", ldr_printable(err.message), err.hint[0] ? ". " : "", err.hint);
	else if (!validate_only)
		why = check_session(config);
	ldr_airbyte_config_free(config);
	initStringInfo(&status);
	appendStringInfo(&status, "{\"status\": \"%s\"", why ? "FAILED" : "SUCCEEDED");
	if (why)
	{
		appendStringInfoString(&status, ", \"message\": ");
		escape_json(&status, why);
	}
	appendStringInfoChar(&status, '}');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(status.data)));
}

/*
 * loader_airbyte_states(source_name, destination_name, streams): where a source goes on.
 */
Datum
loader_airbyte_states(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(ldr_stream_states(ldr_airbyte_optional_text(fcinfo, 0),
													   ldr_airbyte_optional_text(fcinfo, 1),
													   PG_ARGISNULL(2) ? (Datum) 0
													   : PG_GETARG_DATUM(2))));
}
