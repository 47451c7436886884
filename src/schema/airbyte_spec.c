/*
 * schema/airbyte_spec.c: what a configuration looks like, for Airbyte and for our own check of it.
 * No postgres.h.
 *
 * Keys have the names that Airbyte's own PostgreSQL destination gives them, so that a configuration
 * of that one works here; bad_values is ours. airbyte_config.c interprets what it finds here; of
 * JSON Schema it knows type, required, properties, const, enum, minimum, maximum, minLength, and
 * oneOf with branches that differ in a const. A default is what a missing key means. The
 * description of a key is the hint when its value is wrong: it says what is right.
 */
#include "schema/airbyte.h"

/* A key: what every one of them has, and more, which starts with a comma. */
#define SPEC_KEY(key, type, group, order, title, description, more) \
	"\"" key "\": {\"title\": \"" title "\", \"description\": \"" description "\", " \
	"\"type\": \"" type "\", \"group\": \"" group "\", \"order\": " #order more "}"

/* One branch of a oneOf, which key tells from the others; more properties start with a comma. */
#define SPEC_BRANCH(key, value, title, description, more) \
	"{\"title\": \"" title "\", \"description\": \"" description "\", \"type\": \"object\", " \
	"\"required\": [\"" key "\"], \"additionalProperties\": true, \"properties\": {" \
	"\"" key "\": {\"type\": \"string\", \"const\": \"" value "\", \"default\": \"" value "\", " \
	"\"order\": 0}" more "}}"

#define SPEC_SSL(mode, description, more) SPEC_BRANCH("mode", mode, mode, description, more)

/* A secret of more than one line. */
#define SPEC_PEM(key, order, title, description) \
	", \"" key "\": {\"title\": \"" title "\", \"description\": \"" description "\", " \
	"\"type\": \"string\", \"airbyte_secret\": true, \"multiline\": true, \"order\": " #order "}"

#define SPEC_CERTIFICATES \
	SPEC_PEM("ca_certificate", 1, "CA Certificate", \
			 "PEM text of the certificates that are trusted; without it, the file that libpq " \
			 "looks for.") \
	SPEC_PEM("client_certificate", 2, "Client Certificate", \
			 "PEM text of the client's certificate, if the server wants one.") \
	SPEC_PEM("client_key", 3, "Client Key", \
			 "PEM text of the key that belongs to the client's certificate.") \
	", \"client_key_password\": {\"title\": \"Client Key Password\", " \
	"\"description\": \"Password of the client's key, if it is encrypted.\", " \
	"\"type\": \"string\", \"airbyte_secret\": true, \"order\": 4}"

const char	ldr_airbyte_spec[] =
	"{\"protocol_version\": \"0.3.0\", \"supportsIncremental\": true, "
	"\"supportsNormalization\": false, \"supportsDBT\": false, "
	"\"supported_destination_sync_modes\": [\"overwrite\", \"append\", \"append_dedup\"], "
	"\"connectionSpecification\": {\"$schema\": \"http://json-schema.org/draft-07/schema#\", "
	"\"title\": \"PostgreSQL with loader\", \"type\": \"object\", "
	"\"required\": [\"host\", \"port\", \"database\", \"username\"], "
	"\"additionalProperties\": true, "
	"\"groups\": [{\"id\": \"connection\", \"title\": \"Connection\"}, "
	"{\"id\": \"sync_behavior\", \"title\": \"Sync Behavior\"}, "
	"{\"id\": \"advanced\", \"title\": \"Advanced\"}], "
	"\"properties\": {"
	SPEC_KEY("host", "string", "connection", 0, "Host",
			 "Host name or address of the server, or the directory of its socket.",
			 ", \"minLength\": 1")
	", "
	SPEC_KEY("port", "integer", "connection", 1, "Port",
			 "Port of the server, a number from 1 to 65535.",
			 ", \"minimum\": 1, \"maximum\": 65535, \"default\": 5432, \"examples\": [5432]")
	", "
	SPEC_KEY("database", "string", "connection", 2, "Database Name",
			 "Name of the database. The extension loader is installed in it.",
			 ", \"minLength\": 1")
	", "
	SPEC_KEY("schema", "string", "connection", 3, "Default Schema",
			 "Schema for the tables of streams that have no namespace. It is created if need be.",
			 ", \"default\": \"public\", \"examples\": [\"public\"]")
	", "
	SPEC_KEY("username", "string", "connection", 4, "Username",
			 "Role that loads. It owns the tables that are made.",
			 ", \"minLength\": 1")
	", "
	SPEC_KEY("password", "string", "connection", 5, "Password",
			 "Password of the role, if the server asks for one.",
			 ", \"airbyte_secret\": true")
	", "
	SPEC_KEY("ssl", "boolean", "connection", 6, "SSL Connection",
			 "Older form of ssl_mode: true is require, false is disable. Where both are given, "
			 "ssl_mode counts.",
			 ", \"airbyte_hidden\": true")
	", "
	SPEC_KEY("ssl_mode", "object", "connection", 7, "SSL Mode",
			 "Whether the connection is encrypted and whose certificate is trusted, as sslmode of "
			 "libpq: disable, allow, prefer, require, verify-ca or verify-full. Without it, "
			 "libpq's own default, which is prefer.",
			 ", \"oneOf\": ["
			 SPEC_SSL("disable", "Never encrypted.", "") ", "
			 SPEC_SSL("allow", "Encrypted only if the server insists.", "") ", "
			 SPEC_SSL("prefer", "Encrypted if the server can.", "") ", "
			 SPEC_SSL("require", "Always encrypted. The certificate is not verified.", "") ", "
			 SPEC_SSL("verify-ca",
					  "Always encrypted. The certificate comes from a trusted authority.",
					  SPEC_CERTIFICATES) ", "
			 SPEC_SSL("verify-full",
					  "Always encrypted. The certificate comes from a trusted authority and is for "
					  "this host.",
					  SPEC_CERTIFICATES)
			 "]")
	", "
	SPEC_KEY("jdbc_url_params", "string", "connection", 8, "Connection Parameters",
			 "More parameters of the connection: key=value pairs with & between them.",
			 ", \"examples\": [\"connect_timeout=10&application_name=sync\"]")
	", "
	SPEC_KEY("tunnel_method", "object", "connection", 9, "SSH Tunnel Method",
			 "The connector opens no tunnel. Open one beside it, give its local end as host and "
			 "port, and leave this at NO_TUNNEL.",
			 ", \"oneOf\": ["
			 SPEC_BRANCH("tunnel_method", "NO_TUNNEL", "No Tunnel",
						 "The server is reached without a tunnel.", "")
			 "]")
	", "
	SPEC_KEY("cdc_deletion_mode", "string", "sync_behavior", 10, "CDC Deletion Mode",
			 "What becomes of a row that was deleted at the source: \\\"Hard delete\\\" deletes it "
			 "here, too; \\\"Soft delete\\\" keeps it, with the time of its deletion.",
			 ", \"enum\": [\"Hard delete\", \"Soft delete\"], \"default\": \"Hard delete\", "
			 "\"always_show\": true")
	", "
	SPEC_KEY("bad_values", "string", "sync_behavior", 11, "Bad Values",
			 "What becomes of a value that does not fit its column: \\\"null\\\" makes it NULL, "
			 "with an entry in _airbyte_meta; \\\"fail\\\" lets the sync fail.",
			 ", \"enum\": [\"null\", \"fail\"], \"default\": \"null\"")
	", "
	SPEC_KEY("raw_data_schema", "string", "advanced", 12, "Internal Schema",
			 "Schema for the tables of syncs that are under way. It is created if need be.",
			 ", \"default\": \"airbyte_internal\", \"examples\": [\"airbyte_internal\"]")
	", "
	SPEC_KEY("source_name", "string", "advanced", 13, "Source Name",
			 "Under which the server keeps the states of the source, for sources that have streams "
			 "of the same names.",
			 ", \"default\": \"\", \"examples\": [\"shop\"]")
	", "
	SPEC_KEY("drop_cascade", "boolean", "advanced", 14, "Drop with CASCADE",
			 "Either is right, and makes no difference: no table or column is ever dropped.",
			 ", \"default\": false, \"airbyte_hidden\": true")
	", "
	SPEC_KEY("unconstrained_number", "boolean", "advanced", 15, "Unconstrained Numbers",
			 "Either is right, and makes no difference: numbers are never cut, since their columns "
			 "are numeric without a precision.",
			 ", \"airbyte_hidden\": true")
	", "
	SPEC_KEY("disable_type_dedupe", "boolean", "advanced", 16, "Raw Tables Only",
			 "Raw tables are not made: leave it out, or at false. Each stream becomes a table with "
			 "a column for each property.",
			 ", \"const\": false, \"default\": false, \"airbyte_hidden\": true")
	"}}}";
