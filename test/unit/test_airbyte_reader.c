/*
 * test/unit/test_airbyte_reader.c: the reader of Airbyte messages: every kind of message and of key
 * order, what is wrong with them, limits, and a source that gives its bytes slowly.
 */
#include "messages.h"

static const LdrColumnName users[] = {{"id", false}, {"name", false}, {"js", true},
{"Mixed", false}, {"q\"\\\n", false}};
static const LdrColumnName other_users[] = {{"name", true}, {"id", false}};
static const LdrColumnName cases_of[] = {{"Id", false}, {"ID", false}, {"Only", false},
{"\xC3\x84", false}, {"a\"b", false}};

static const LdrMessageStream streams[] = {
	{"users", NULL, users, 5},
	{"users", "ns", other_users, 2},
	{"orders", "ns", users, 1},
	{"cases", "", cases_of, 5},
	{"a\"b\xE2\x82\xAC", NULL, users, 1},
	{"empty", NULL, NULL, 0},
	{"users", "ns2", users, 2},
};

static const MessagesOptions options = {streams, sizeof(streams) / sizeof(streams[0]), 0, 0};

#define REC(data) "{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":" data "}}\n"
#define USERS "record 0 users "
#define AT(time) "{\"type\":\"RECORD\",\"record\":{\"stream\":\"empty\",\"emitted_at\":" time \
	",\"data\":{}}}\n"
#define STATE(state) "{\"type\":\"STATE\",\"state\":" state "}\n"
#define TRACE(trace) "{\"type\":\"TRACE\",\"trace\":" trace "}\n"
#define NULLS "\"log\":null,\"spec\":null,\"connectionStatus\":null,\"catalog\":null," \
	"\"control\":null,\"destination_catalog\":null"

static const MessagesCase records[] = {
	{REC("{\"id\":1,\"name\":\"x\"}") REC("{\"name\":\"y\",\"id\":2}"), 0,
		"1 " USERS "b:1|s:x|A|A|A\n2 " USERS "b:2|s:y|A|A|A\n", LDR_OK, 0, NULL},
	{REC("{}") REC("{ }") REC("{\"id\":null,\"name\":true,\"js\":null}"), 0,
		"1 " USERS "A|A|A|A|A\n2 " USERS "A|A|A|A|A\n3 " USERS "N|b:true|N|A|A\n", LDR_OK, 0,
	NULL},
	/* kinds of values: a column of JSON takes them as they are, others take objects so */
	{REC("{\"js\":\"s\\u0000\\ud800\",\"name\":{\"a\":[1]},\"id\":[ ]}"), 0,
		"1 " USERS "j:[ ]|j:{\"a\":[1]}|j:\"s\\u0000\\ud800\"|A|A\n", LDR_OK, 0, NULL},
	{REC("{\"js\":-1.5e3,\"id\":-0.10}") REC("{\"js\":{\"k\":null}}") REC("{\"js\":false}"), 0,
		"1 " USERS "b:-0.10|A|j:-1.5e3|A|A\n2 " USERS "A|A|j:{\"k\":null}|A|A\n"
	"3 " USERS "A|A|j:false|A|A\n", LDR_OK, 0, NULL},
	/* white space, carriage returns, blank lines, a byte order mark */
	{"\xEF\xBB\xBF\r\n\n  { \"type\" : \"RECORD\" ,\t\"record\" : { \"stream\" : \"users\" , "
		"\"data\" : { \"id\" : 1 , \"name\" : \"x\" } } } \r\n \t\r\n" REC("{\"id\":2}") "\n", 0,
	"3 " USERS "b:1|s:x|A|A|A\n5 " USERS "b:2|A|A|A|A\n", LDR_OK, 0, NULL},
	/* properties that the stream does not have */
	{REC("{\"zz\":[{\"id\":9}],\"id\":1,\"yy\":\"\\ud800\",\"\":null,\"\\u0069d2\":3}")
		REC("{\"zz\":[{\"id\":9}],\"id\":2,\"yy\":\"\",\"\":null,\"\\ud800\":3}"), 0,
	"1 " USERS "b:1|A|A|A|A\n2 " USERS "b:2|A|A|A|A\n", LDR_OK, 0, NULL},
	/* names in another letter case; the exact one wins, wherever it stands */
	{REC("{\"ID\":1,\"mixed\":2}") REC("{\"ID\":3,\"mixed\":4}") REC("{\"iD\":5,\"MIXED\":6}")
		REC("{\"\\u0049D\":7,\"Mixed\":8}"), 0,
		"1 " USERS "b:1|A|A|b:2|A\n2 " USERS "b:3|A|A|b:4|A\n3 " USERS "b:5|A|A|b:6|A\n"
	"4 " USERS "b:7|A|A|b:8|A\n", LDR_OK, 0, NULL},
	{REC("{\"ID\":1,\"id\":2}") REC("{\"id\":2,\"ID\":1}") REC("{\"iD\":1,\"id\":2,\"ID\":3}")
		REC("{\"iD\":1,\"ID\":2}") REC("{\"id\":null,\"ID\":3}")
		REC("{\"id\":4,\"ID\":\"\\ud800\"}"),
		0,
		"1 " USERS "b:2|A|A|A|A\n2 " USERS "b:2|A|A|A|A\n3 " USERS "b:2|A|A|A|A\n"
		"4 " USERS "b:2|A|A|A|A\n5 " USERS "N|A|A|A|A\n6 " USERS "b:4|A|A|A|A\n", LDR_OK, 0,
	NULL},
	/* two columns that differ in case only: no other spelling is one of them; only ASCII folds */
	{"{\"type\":\"RECORD\",\"record\":{\"stream\":\"cases\",\"data\":{\"id\":1,\"Id\":2,\"ID\":3,"
		"\"iD\":4,\"ONLY\":5,\"\xC3\xA4\":6}}}\n"
		"{\"type\":\"RECORD\",\"record\":{\"stream\":\"cases\",\"data\":{\"id\":1,\"only\":2,"
	"\"\\u00c4\":3}}}\n", 0, "1 record 3 cases b:2|b:3|b:5|A|A\n2 record 3 cases A|A|b:2|b:3|A\n",
	LDR_OK, 0, NULL},
	/* the last of two equal keys counts */
	{REC("{\"id\":1,\"id\":\"x\"}") REC("{\"id\":1,\"id\":null}")
		REC("{\"id\":2,\"name\":3,\"id\":4,\"name\":5,\"id\":6}"), 0,
		"1 " USERS "s:x|A|A|A|A\n2 " USERS "N|A|A|A|A\n3 " USERS "b:6|b:5|A|A|A\n", LDR_OK, 0,
	NULL},
	/* keys with escapes, those that need them and those that do not */
	{REC("{\"q\\\"\\\\\\n\":1,\"\\u0069d\":2}") REC("{\"q\\\"\\\\\\n\":3,\"i\\u0064\":4}"), 0,
	"1 " USERS "b:2|A|A|A|b:1\n2 " USERS "b:4|A|A|A|b:3\n", LDR_OK, 0, NULL},
	/* strings: escapes, \u0000, lone surrogates, bytes that are no UTF-8 */
	{REC("{\"name\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d\\ude00.\"}"), 0,
		"1 " USERS "A|s:\"\\/\b\f~\r\tA\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80.|A|A|A\n", LDR_OK,
	0, NULL},
	{REC("{\"name\":\"\\u0000a\\u0000\\u0000b\\u0000\",\"id\":\"\\u0000\"}"), 0,
	"1 " USERS "s:|s:ab|A|A|A\n", LDR_OK, 0, NULL},
	{REC("{\"name\":\"a\\ud800b\\u0000\",\"id\":\"\\n\\udc00\"}")
		REC("{\"name\":\"\\ud83d\\ud83d\\ude00\",\"id\":\"\\ud83d\\n\"}")
		REC("{\"name\":\"\\ud83d\\u0041\",\"id\":\"\\ud83d\\\\ude00\"}")
		REC("{\"name\":\"\\ud83d\",\"id\":\"\\ud83d\\ude00\"}"), 0,
		"1 " USERS "i:\"\\n\\udc00\"|i:\"a\\ud800b\\u0000\"|A|A|A\n"
		"2 " USERS "i:\"\\ud83d\\n\"|i:\"\\ud83d\\ud83d\\ude00\"|A|A|A\n"
		"3 " USERS "i:\"\\ud83d\\\\ude00\"|i:\"\\ud83d\\u0041\"|A|A|A\n"
	"4 " USERS "s:\xF0\x9F\x98\x80|i:\"\\ud83d\"|A|A|A\n", LDR_OK, 0, NULL},
	{REC("{\"name\":\"\xFF\xC5\xED\xA0\x80\",\"id\":\"\xC0\x80\\n\"}"), 0,
	"1 " USERS "s:\xC0\x80~|s:\xFF\xC5\xED\xA0\x80|A|A|A\n", LDR_OK, 0, NULL},
	/* whose record it is */
	{"{\"type\":\"RECORD\",\"record\":{\"namespace\":\"ns\",\"stream\":\"users\",\"data\":"
		"{\"id\":1,\"name\":\"x\"}}}\n"
		"{\"type\":\"RECORD\",\"record\":{\"namespace\":\"\",\"stream\":\"users\",\"data\":"
		"{\"id\":1,\"name\":\"x\"}}}\n"
		"{\"type\":\"RECORD\",\"record\":{\"namespace\":null,\"stream\":\"orders\",\"data\":{}}}\n"
		"{\"type\":\"RECORD\",\"record\":{\"namespace\":\"zz\",\"stream\":\"users\",\"data\":{}}}\n"
		"{\"type\":\"RECORD\",\"record\":{\"namespace\":\"n\\u0073\",\"stream\":\"ord\\u0065rs\","
		"\"data\":{\"id\":7}}}\n"
		"{\"type\":\"RECORD\",\"record\":{\"stream\":\"zz\",\"data\":{\"id\":1}}}\n"
	"{\"type\":\"RECORD\",\"record\":{\"stream\":\"a\\\"b\\u20ac\",\"data\":{\"id\":1}}}\n", 0,
		"1 record 1 users@ns j:\"x\"|b:1\n2 record 0 users b:1|s:x|A|A|A\n3 record -1 orders\n"
		"4 record -1 users@zz\n5 record 2 orders@ns b:7\n6 record -1 zz\n"
	"7 record 4 a\"b\xE2\x82\xAC b:1\n", LDR_OK, 0, NULL},
	/* names that are not text */
	{"{\"type\":\"RECORD\",\"record\":{\"stream\":\"\\ud800\",\"data\":{\"id\":1}}}\n"
		"{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"namespace\":\"\\ud800\","
		"\"data\":{}}}\n"
	"{\"type\":\"RECORD\",\"record\":{\"stream\":12,\"namespace\":[],\"data\":{}}}\n", 0,
	"1 record -1 i:\"\\ud800\"\n2 record -1 users@\"\\ud800\"\n3 record -1 i:12@[]\n", LDR_OK, 0,
	NULL},
	/* key orders: the stream, or its namespace, behind data; a wrong guess first */
	{"{\"record\":{\"data\":{\"id\":1,\"name\":\"\\n\"},\"stream\":\"us\\u0065rs\"},"
		"\"type\":\"RECORD\"}\n"
		"{\"record\":{\"stream\":\"users\",\"data\":{\"id\":1,\"name\":\"\\n\"},"
		"\"namespace\":\"n\\u0073\"},\"type\":\"RECORD\"}\n"
		"{\"record\":{\"stream\":\"users\",\"data\":{\"id\":2,\"name\":\"\\n\"},"
		"\"namespace\":\"ns\"},\"type\":\"RECORD\"}\n"
		REC("{\"id\":3,\"name\":\"\\n\"}")
		"{\"record\":{\"stream\":\"users\",\"data\":{\"id\":4,\"name\":\"\\n\"},"
		"\"namespace\":\"zz\"},\"type\":\"RECORD\"}\n"
	REC("{\"id\":5,\"name\":\"\\n\"}"), 0,
		"1 " USERS "b:1|s:~|A|A|A\n2 record 1 users@ns j:\"\\n\"|b:1\n"
		"3 record 1 users@ns j:\"\\n\"|b:2\n4 " USERS "b:3|s:~|A|A|A\n5 record -1 users@zz\n"
	"6 " USERS "b:5|s:~|A|A|A\n", LDR_OK, 0, NULL},
	/* what comes twice, with what was decoded of the first lying in scratch */
	{"{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{\"name\":\"\\n1\"},"
		"\"data\":{\"id\":\"\\n2\"}}}\n"
		"{\"type\":\"RECORD\",\"record\":{\"data\":{\"name\":\"\\n1\"},\"stream\":\"zz\\n\","
		"\"stream\":\"users\",\"data\":{\"id\":\"\\n2\"}}}\n"
		"{\"type\":\"RECORD\",\"record\":{\"stream\":\"zz\\n\",\"data\":{\"name\":\"\\n1\"},"
		"\"data\":{\"id\":\"\\n2\"},\"stream\":\"users\"}}\n"
		"{\"type\":\"RECORD\",\"record\":{\"stream\":\"orders\",\"namespace\":\"\\u006es\","
		"\"data\":{\"id\":\"\\n1\\n2\\n3\\n4\"},\"data\":{\"name\":\"\\n5\"},"
		"\"stream\":\"us\\u0065rs\"}}\n"
		"{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{\"id\":\"\\n1\"}},"
		"\"record\":{\"stream\":\"users\",\"data\":{\"name\":\"\\n2\"}}}\n"
		"{\"type\":\"STATE\",\"type\":\"RECORD\",\"record\":null,"
	"\"record\":{\"data\":null,\"data\":{\"id\":1},\"stream\":\"users\"}}\n", 0,
		"1 " USERS "s:~2|A|A|A|A\n2 " USERS "s:~2|A|A|A|A\n3 " USERS "s:~2|A|A|A|A\n"
		"4 record 1 users@ns j:\"\\n5\"|A\n5 " USERS "A|s:~2|A|A|A\n6 " USERS "b:1|A|A|A|A\n",
	LDR_OK, 0, NULL},
	/* nulls everywhere, and everything that a record may have */
	{"{\"type\":\"RECORD\"," NULLS ",\"record\":{\"namespace\":null,\"stream\":\"users\",\"data\":"
		"{\"id\":1},\"emitted_at\":null,\"meta\":null,\"file_reference\":null},\"state\":null,"
		"\"trace\":null}\n"
		"{\"type\":\"RECORD\"," NULLS ",\"record\":{\"stream\":\"users\",\"data\":{\"id\":1},"
		"\"emitted_at\":1795377950800,\"meta\":{\"changes\":null},\"file_reference\":{\"a\":1}}}\n"
		"{\"record\":{\"meta\":{\"x\":1,\"changes\":[{\"field\":\"id\",\"change\":\"NULLED\"}] },"
		"\"emitted_at\":1,\"data\":{},\"stream\":\"users\"},\"type\":\"RECORD\"}\n"
		"{\"record\":{\"meta\":{\"changes\":[1],\"changes\":[\t]},\"data\":{},"
		"\"stream\":\"users\"},"
		"\"type\":\"RECORD\"}\n"
		"{\"record\":{\"meta\":{\"changes\":{}},\"data\":{},\"stream\":\"users\"},"
		"\"type\":\"RECORD\"}\n"
		"{\"record\":{\"meta\":{\"changes\":[1]},\"meta\":[],\"data\":{},\"stream\":\"users\"},"
	"\"type\":\"RECORD\"}\n", 0,
		"1 " USERS "b:1|A|A|A|A\n2 record 0 users at 1795377950800000 b:1|A|A|A|A\n"
		"3 record 0 users at 1000000 changes [{\"field\":\"id\",\"change\":\"NULLED\"}] A|A|A|A|A\n"
		"4 " USERS "A|A|A|A|A\n5 " USERS "A|A|A|A|A\n6 " USERS "A|A|A|A|A\n", LDR_OK, 0, NULL},
	/* emitted_at: seconds or milliseconds, and never a digit that was not there */
	{AT("0") AT("1795377950800") AT("1795377950799.1182") AT("1795377951.213656")
		AT("99999999999") AT("100000000000") AT("1.7953779508e12") AT("1.7953779508E+9")
		AT("\"1795377950800\""), 0,
		"1 record 5 empty at 0\n2 record 5 empty at 1795377950800000\n"
		"3 record 5 empty at 1795377950799118\n4 record 5 empty at 1795377951213656\n"
		"5 record 5 empty at 99999999999000000\n6 record 5 empty at 100000000000000\n"
		"7 record 5 empty at 1795377950800000\n8 record 5 empty at 1795377950800000\n"
	"9 record 5 empty at 1795377950800000\n", LDR_OK, 0, NULL},
	{AT("-1") AT("-1000000000000") AT("-62135596800") AT("-210866803200") AT("-210866803200001")
		AT("0.0000004") AT("0.0000005") AT("-0.0000005") AT("0.00000009")
		AT("-0") AT("0e9") AT("1e-400")
		AT("17953779510000000000000000000e-19"), 0,
		"1 record 5 empty at -1000000\n2 record 5 empty at -1000000000000000\n"
		"3 record 5 empty at -62135596800000000\n4 record 5 empty at -210866803200000\n"
		"5 record 5 empty\n6 record 5 empty at 0\n7 record 5 empty at 1\n8 record 5 empty at -1\n"
		"9 record 5 empty at 0\n10 record 5 empty at 0\n11 record 5 empty at 0\n"
	"12 record 5 empty at 0\n13 record 5 empty at 1795377951000000\n", LDR_OK, 0, NULL},
	{AT("9223372036854775") AT("9223372036854776") AT("1e300") AT("-1e300") AT("1e99999999999")
		AT("99999999999999999999999999") AT("true") AT("{}") AT("[1]") AT("\"\"") AT("\"x\"")
		AT("\"2026-01-01\"") AT("\"\\ud800\""), 0,
		"1 record 5 empty at 9223372036854775000\n2 record 5 empty\n3 record 5 empty\n"
		"4 record 5 empty\n5 record 5 empty\n6 record 5 empty\n7 record 5 empty\n"
		"8 record 5 empty\n9 record 5 empty\n10 record 5 empty\n11 record 5 empty\n"
	"12 record 5 empty\n13 record 5 empty\n", LDR_OK, 0, NULL},
	/* a record without a type is one nevertheless, if it is one */
	{"{\"type\":null,\"record\":{\"stream\":\"users\",\"data\":{\"id\":1}}}\n"
		"{\"record\":{\"data\":{}}}\n{\"record\":{\"stream\":\"users\"}}\n{\"record\":[]}\n{}\n", 0,
	"1 " USERS "b:1|A|A|A|A\n2 other\n3 other\n4 other\n5 other\n", LDR_OK, 0, NULL},
};

static const MessagesCase others[] = {
	/* states: what they say stays as it is, byte for byte */
	{STATE("{\"type\":\"STREAM\",\"stream\":{\"stream_descriptor\":{\"name\":\"users\"},"
		   "\"stream_state\":{\"id\": 1.0e5 ,\"x\":\"\\u0000\\ud800\\/\"}},"
		   "\"sourceStats\":{\"recordCount\":100.0}}")
		STATE("{\"stream\":{\"stream_state\":null,\"stream_descriptor\":{\"namespace\":\"ns\","
			  "\"name\":\"orders\"}},\"type\":\"STREAM\"}"), 0,
		"1 state STREAM 0 users {\"type\":\"STREAM\",\"stream\":{\"stream_descriptor\":"
		"{\"name\":\"users\"},\"stream_state\":{\"id\": 1.0e5 ,\"x\":\"\\u0000\\ud800\\/\"}},"
		"\"sourceStats\":{\"recordCount\":100.0}}\n"
		"2 state STREAM 2 orders@ns {\"type\":\"STREAM\",\"stream\":{\"stream_state\":null,"
		"\"stream_descriptor\":{\"namespace\":\"ns\",\"name\":\"orders\"}}}\n", LDR_OK, 0,
	NULL},
	/* nulls go, and so do our own numbers; keys that nobody knows stay */
	{"{\"state\":{\"global_\":null,\"data\":null,\"destinationStats\":{\"recordCount\":1.0},"
		"\"id\":7,\"stream\":{\"stream_descriptor\":{\"name\":\"users\",\"namespace\":null},"
		"\"stream_state\":[]},\"type\":\"STREAM\",\"sourceStats\":null,\"a b\" : 1 }," NULLS
	",\"type\":\"STATE\"}\n", 0,
		"1 state STREAM 0 users {\"type\":\"STREAM\",\"id\":7,\"stream\":{\"stream_descriptor\":"
		"{\"name\":\"users\",\"namespace\":null},\"stream_state\":[]},\"a b\":1}\n", LDR_OK, 0,
	NULL},
	/* the key of a global state has two names */
	{STATE("{\"type\":\"GLOBAL\",\"global_\":{\"shared_state\":1}}")
		STATE("{\"type\":\"GLOBAL\",\"global_\":{\"shared_state\":1},\"global_\":{\"b\":2}}")
		STATE("{\"type\":\"GLOBAL\",\"global\":{\"a\":1},\"global_\":{\"b\":2}}")
		STATE("{\"type\":\"GLOBAL\",\"global_\":{\"a\":1},\"global\":{\"b\":2}}")
		STATE("{\"type\":\"GLOBAL\",\"global_\":{\"a\":1},\"global\":null}")
		STATE("{\"type\":\"GLOBAL\",\"global_\":{\"a\":1},\"x\":0,\"global_\":null}")
		STATE("{\"type\":\"GLOBAL\",\"glob\\u0061l\":{\"a\":1}}"), 0,
		"1 state GLOBAL -1 - {\"type\":\"GLOBAL\",\"global\":{\"shared_state\":1}}\n"
		"2 state GLOBAL -1 - {\"type\":\"GLOBAL\",\"global\":{\"b\":2}}\n"
		"3 state GLOBAL -1 - {\"type\":\"GLOBAL\",\"global\":{\"b\":2}}\n"
		"4 state GLOBAL -1 - {\"type\":\"GLOBAL\",\"global\":{\"b\":2}}\n"
		"5 state GLOBAL -1 - {\"type\":\"GLOBAL\",\"global\":{\"a\":1}}\n"
		"6 state GLOBAL -1 - {\"type\":\"GLOBAL\",\"x\":0}\n"
		"7 state GLOBAL -1 - {\"type\":\"GLOBAL\",\"glob\\u0061l\":{\"a\":1}}\n", LDR_OK, 0,
	NULL},
	/* no type, or one that we do not know */
	{STATE("{\"data\":{\"users\":{\"id\":1}}}") STATE("{\"type\":\"LEGACY\",\"data\":{}}")
		STATE("{\"type\":null,\"data\":1}") STATE("{}")
		STATE("{\"stream\":{\"stream_descriptor\":{\"name\":\"users\"}}}")
		STATE("{\"global_\":{},\"stream\":null}") STATE("{\"type\":\"X\",\"stream\":{}}")
		STATE("{\"type\":7,\"stream\":1}"), 0,
		"1 state LEGACY -1 - {\"type\":\"LEGACY\",\"data\":{\"users\":{\"id\":1}}}\n"
		"2 state LEGACY -1 - {\"type\":\"LEGACY\",\"data\":{}}\n"
		"3 state LEGACY -1 - {\"type\":\"LEGACY\",\"data\":1}\n"
		"4 state LEGACY -1 - {\"type\":\"LEGACY\"}\n"
		"5 state STREAM 0 users {\"type\":\"STREAM\",\"stream\":{\"stream_descriptor\":"
		"{\"name\":\"users\"}}}\n"
		"6 state GLOBAL -1 - {\"type\":\"GLOBAL\",\"global\":{}}\n"
		"7 state LEGACY -1 - {\"type\":\"X\",\"stream\":{}}\n"
		"8 state LEGACY -1 - {\"type\":7,\"stream\":1}\n", LDR_OK, 0,
	NULL},
	/* a stream's state that does not say of which, or of one that is not there */
	{STATE("{\"type\":\"STREAM\"}") STATE("{\"type\":\"STREAM\",\"stream\":[]}")
		STATE("{\"type\":\"STREAM\",\"stream\":{\"stream_descriptor\":\"users\"}}")
		STATE("{\"type\":\"STREAM\",\"stream\":{\"stream_descriptor\":{\"name\":\"zz\"}}}")
		STATE("{\"type\":\"STREAM\",\"stream\":{\"stream_descriptor\":"
			  "{\"name\":\"\\u0075sers\"}}}"),
		0,
		"1 state STREAM -1 - {\"type\":\"STREAM\"}\n"
		"2 state STREAM -1 - {\"type\":\"STREAM\",\"stream\":[]}\n"
		"3 state STREAM -1 - {\"type\":\"STREAM\",\"stream\":{\"stream_descriptor\":\"users\"}}\n"
		"4 state STREAM -1 zz {\"type\":\"STREAM\",\"stream\":{\"stream_descriptor\":"
		"{\"name\":\"zz\"}}}\n"
		"5 state STREAM 0 users {\"type\":\"STREAM\",\"stream\":{\"stream_descriptor\":"
	"{\"name\":\"\\u0075sers\"}}}\n", LDR_OK, 0, NULL},
	/* members that come twice: the last one, whatever its key looks like */
	{STATE("{\"x\":1,\"type\":\"GLOBAL\",\"y\":2,\"\\u0078\":3,\"y\":null,\"type\":\"STREAM\","
		   "\"\\\"\\\\ud800\\\"\":4,\"\\ud800\":5,\"\\ud800\":6,\"\":7,\"\":8}"), 0,
		"1 state STREAM -1 - {\"type\":\"STREAM\",\"\\u0078\":3,\"\\\"\\\\ud800\\\"\":4,"
		"\"\\ud800\":6,\"\":8}\n", LDR_OK, 0,
	NULL},
	/* traces */
	{TRACE("{\"type\":\"STREAM_STATUS\",\"emitted_at\":1.5,\"stream_status\":"
		   "{\"stream_descriptor\":{\"name\":\"users\"},\"status\":\"STARTED\"}}")
		TRACE("{\"stream_status\":{\"status\":\"RUN\\u004eING\",\"stream_descriptor\":"
			  "{\"namespace\":\"ns\",\"name\":\"users\"}},\"type\":\"STREAM_STATUS\"}")
		TRACE("{\"type\":\"STREAM_STATUS\",\"error\":null,\"estimate\":null,\"stream_status\":"
			  "{\"reasons\":null,\"stream_descriptor\":{\"name\":\"users\",\"namespace\":null},"
			  "\"status\":\"COMPLETE\"}}")
		TRACE("{\"type\":\"STREAM_STATUS\",\"stream_status\":{\"stream_descriptor\":"
			  "{\"name\":\"zz\"},\"status\":\"INCOMPLETE\"}}")
		TRACE("{\"type\":\"STREAM_STATUS\",\"stream_status\":{\"status\":\"complete\"}}")
		TRACE("{\"type\":\"STREAM_STATUS\"}"), 0,
		"1 status 0 users STARTED\n2 status 1 users@ns RUNNING\n3 status 0 users COMPLETE\n"
	"4 status -1 zz INCOMPLETE\n5 status -1 - NONE\n6 status -1 - NONE\n", LDR_OK, 0, NULL},
	{TRACE("{\"type\":\"ESTIMATE\",\"estimate\":{\"name\":\"users\",\"type\":\"STREAM\","
		   "\"row_estimate\":100,\"byte_estimate\":18000}}")
		TRACE("{\"type\":\"ESTIMATE\",\"estimate\":{\"name\":\"orders\",\"namespace\":\"ns\","
			  "\"row_estimate\":1.5e3,\"byte_estimate\":null}}")
		TRACE("{\"type\":\"ESTIMATE\",\"estimate\":{\"type\":\"SYNC\",\"row_estimate\":\"9\"}}")
		TRACE("{\"type\":\"ESTIMATE\"}"), 0,
		"1 estimate 0 users 100 18000\n2 estimate 2 orders@ns 1500 -1\n3 estimate -1 - -1 -1\n"
	"4 estimate -1 - -1 -1\n", LDR_OK, 0, NULL},
	{TRACE("{\"type\":\"ERROR\",\"error\":{\"message\":\"it\\nbroke\",\"internal_message\":\"x\","
		   "\"failure_type\":\"config_error\",\"stream_descriptor\":{\"name\":\"users\"}}}")
		TRACE("{\"type\":\"ERROR\",\"error\":{\"message\":null,\"stream_descriptor\":null}}")
		TRACE("{\"type\":\"ERROR\"}"), 0,
		"1 error 0 users s:config_error s:it~broke\n2 error -1 - N N\n3 error -1 - N N\n", LDR_OK,
	0, NULL},
	{TRACE("{\"type\":\"ANALYTICS\",\"analytics\":{}}") TRACE("{}") TRACE("null") TRACE("[1]")
		TRACE("{\"type\":1,\"error\":{}}"), 0, "1 other\n2 other\n3 other\n4 other\n5 other\n",
	LDR_OK, 0, NULL},
	/* the rest */
	{"{\"type\":\"LOG\",\"log\":{\"level\":\"INFO\",\"message\":\"a \\\"b\\\"\"}}\n"
		"{\"log\":{\"message\":\"\\ud800\",\"level\":7,\"stack_trace\":null},\"type\":\"LOG\"}\n"
		"{\"type\":\"LOG\"}\n{\"type\":\"CONTROL\",\"control\":{\"type\":\"CONNECTOR_CONFIG\"}}\n"
		"{\"type\":\"CATALOG\",\"catalog\":{}}\n{\"type\":\"SPEC\"}\n{\"type\":\"record\"}\n"
		"{\"type\":\"\\ud800\"}\n{\"type\":[\"RECORD\"]}\n{\"type\":true}\n{\"x\":[{}]}\n"
	"{\"type\":\"CONTROL\",\"record\":{\"stream\":\"users\",\"data\":{\"id\":1}}}\n", 0,
		"1 log s:INFO s:a \"b\"\n2 log i:7 i:\"\\ud800\"\n3 log N N\n4 control\n5 other\n6 other\n"
	"7 other\n8 other\n9 other\n10 other\n11 other\n12 control\n", LDR_OK, 0, NULL},
	{"", 0, "", LDR_OK, 0, NULL},
	{" \r\n\t\n\n", 0, "", LDR_OK, 0, NULL},
	{"\xEF\xBB\xBF", 0, "", LDR_OK, 0, NULL},
	{"{\"type\":\"CONTROL\"}", 0, "1 control\n", LDR_OK, 0, NULL},
	/* lines that are no message at all */
	{"hello\n  at x(y)\r\n[{\"type\":\"LOG\"}]\n\xFF\n1\n\"{}\"\n\0x\n\r{}\n"
	"\xEF\xBB\xBF{}\nbye", 59,
		"1 text s:hello\n2 text s:  at x(y)\n3 text s:[{\"type\":\"LOG\"}]\n4 text s:\xFF\n"
		"5 text s:1\n6 text s:\"{}\"\n7 text s:%x\n8 other\n9 text s:\xEF\xBB\xBF{}\n"
	"10 text s:bye\n",
	LDR_OK, 0, NULL},
};

#define OK_LINE "{\"type\":\"CONTROL\"}\n"

static const MessagesCase broken[] = {
	/* JSON, but no record and no state */
	{OK_LINE "{\"type\":\"RECORD\"}\n", 0, "1 control\n", LDR_UNEXPECTED, 2, ""},
	{"{\"type\":\"RECORD\",\"record\":null}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{}},\"record\":null}\n", 0, "",
	LDR_UNEXPECTED, 1, ""},
	{"{\"type\":\"RECORD\",\"record\":[]}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"type\":\"RECORD\",\"record\":{\"data\":{}}}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"type\":\"RECORD\",\"record\":{\"stream\":null,\"data\":{}}}\n", 0, "",
	LDR_UNEXPECTED, 1, ""},
	{"{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\"}}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{REC("null"), 0, "", LDR_UNEXPECTED, 1, ""},
	{REC("[{\"id\":1}]"), 0, "", LDR_UNEXPECTED, 1, ""},
	{REC("\"{}\""), 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{},\"data\":null}}\n", 0, "",
	LDR_UNEXPECTED, 1, ""},
	{OK_LINE "\n{\"type\":\"STATE\"}\n", 0, "1 control\n", LDR_UNEXPECTED, 3, ""},
	{STATE("null"), 0, "", LDR_UNEXPECTED, 1, ""},
	{STATE("[]"), 0, "", LDR_UNEXPECTED, 1, ""},
	/* no JSON */
	{OK_LINE "{\n", 0, "1 control\n", LDR_UNEXPECTED, 2, ""},
	{"{\"type\":\"RECORD\",\n\"record\":{}}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{OK_LINE "{} {}\n", 0, "1 control\n", LDR_UNEXPECTED, 2, ""},
	{"{}\r{}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{},\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{}\0\n", 4, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\":1,}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\" 1}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\":}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{a:1}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\":1;\"b\":2}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\":tru}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\":NaN}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\":01}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\":[1 2]}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\":{\"b\":1]}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\":\"\t\"}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\":\"\0\"}\n", 11, "", LDR_NUL_CHARACTER, 1, ""},
	{"{\"a\":\"\\q\"}\n", 0, "", LDR_BAD_ESCAPE, 1, ""},
	{"{\"\\u00g0\":1}\n", 0, "", LDR_BAD_ESCAPE, 1, ""},
	{"{\"a\":\"x\n", 0, "", LDR_UNEXPECTED, 1, ""},
	/* the same where fields are made */
	{REC("{\"id\":1,\"name\":tru}"), 0, "", LDR_UNEXPECTED, 1, "name"},
	{REC("{\"id\":1,\"name\":\"\\x\"}"), 0, "", LDR_BAD_ESCAPE, 1, "name"},
	{REC("{\"id\":1,\"name\":\"\\ud83d\\u12x4\"}"), 0, "", LDR_BAD_ESCAPE, 1, "name"},
	{REC("{\"id\":1,\"name\":\"\\ud83d\\u12x4"), 0, "", LDR_BAD_ESCAPE, 1, "name"},
	{REC("{\"id\":1,\"MIXED\":\"a\nb\"}"), 0, "", LDR_UNEXPECTED, 1, "MIXED"},
	{REC("{\"id\":1}") REC("{\"id\" 1}"), 0, "1 " USERS "b:1|A|A|A|A\n", LDR_UNEXPECTED, 2, "id"},
	{REC("{\"id\":1 \"name\":2}"), 0, "", LDR_UNEXPECTED, 1, "id"},
	{REC("{\"id\":1,\"zz\":-}"), 0, "", LDR_UNEXPECTED, 1, ""},
	{REC("{\"id\":1,}"), 0, "", LDR_UNEXPECTED, 1, ""},
	/* as long as the name that was expected, and the same bytes */
	{"{\"type\":\"RECORD\",\"record\":{\"stream\":\"cases\",\"data\":{\"a\\\"b\":1}}}\n"
		"{\"type\":\"RECORD\",\"record\":{\"stream\":\"cases\",\"data\":{\"a\"b\":1}}}\n", 0,
	"1 record 3 cases A|A|A|A|b:1\n", LDR_UNEXPECTED, 2, ""},
	{REC("{,}"), 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{\"id\":1}\n", 0, "",
	LDR_UNEXPECTED, 1, ""},
	/* the last line, cut */
	{OK_LINE "{", 0, "1 control\n", LDR_TRUNCATED, 2, ""},
	{OK_LINE "{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{\"id\":12", 0,
	"1 control\n", LDR_TRUNCATED, 2, "id"},
	{"{\"a\":\"\\ud83d", 0, "", LDR_TRUNCATED, 1, ""},
	{"{\"a\":\"\\u00", 0, "", LDR_TRUNCATED, 1, ""},
	{"{\"a\":nul", 0, "", LDR_TRUNCATED, 1, ""},
};

static void
test_cases(void)
{
	for (int i = 0; i < (int) (sizeof(records) / sizeof(records[0])); i++)
		messages_case(&records[i], i, &options);
	for (int i = 0; i < (int) (sizeof(others) / sizeof(others[0])); i++)
		messages_case(&others[i], 100 + i, &options);
	for (int i = 0; i < (int) (sizeof(broken) / sizeof(broken[0])); i++)
		messages_case(&broken[i], 200 + i, &options);
}

/* What an error says is about messages, not about files. */
static void
test_errors(void)
{
	Rows		got = messages_read("{\"a", 3, &options);

	CHECK_STR(got.err.message, "the input ends inside a message");
	CHECK_STR(got.err.hint, "What wrote the messages was cut off; run it again.");
	rows_free(&got);
	got = messages_read("{\"a\"\n", 5, &options);
	CHECK_STR(got.err.message, "the line ends where a colon is expected");
	CHECK_STR(got.err.hint, "Each message must be one JSON object on one line.");
	rows_free(&got);
	got = messages_read("{\"type\":\"STATE\"}\n", 17, &options);
	CHECK_STR(got.err.message, "a STATE message has no state, or none that is an object");
	CHECK_STR(got.err.value, "{\"type\":\"STATE\"}");
	rows_free(&got);
}

/* Where values are nested: as deep as a line may be, and one level more. */
static void
test_depth(void)
{
	static const struct
	{
		const char *head;
		const char *tail;
		int			around;		/* levels */
	}			places[] = {
		{"{\"x\":", "}\n", 1},
		{"{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{\"id\":", "}}}\n", 3},
		{"{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{\"js\":", "}}}\n", 3},
		{"{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{\"zz\":", "}}}\n", 3},
		{"{\"type\":\"RECORD\",\"record\":{\"stream\":\"zz\",\"data\":{\"js\":", "}}}\n", 3},
		{"{\"type\":\"RECORD\",\"record\":{\"data\":{\"js\":", "},\"stream\":\"users\"}}\n", 3},
		{"{\"type\":\"RECORD\",\"record\":{\"meta\":{\"changes\":", "},\"data\":{},"
		"\"stream\":\"users\"}}\n", 3},
		{"{\"type\":\"STATE\",\"state\":{\"data\":", "}}\n", 2},
		{"{\"type\":\"TRACE\",\"trace\":{\"x\":", "}}\n", 2},
	};

	for (int place = 0; place < (int) (sizeof(places) / sizeof(places[0])); place++)
		for (int extra = 0; extra < 2; extra++)
		{
			int			levels = LDR_MAX_DEPTH - places[place].around + extra;
			Rows		file = {0};
			Rows		got;

			rows_put(&file, places[place].head, strlen(places[place].head));
			for (int i = 0; i < levels; i++)
				rows_put(&file, i % 3 ? "[" : "{\"k\":", i % 3 ? 1 : 5);
			rows_put(&file, "0", 1);
			for (int i = levels - 1; i >= 0; i--)
				rows_put(&file, i % 3 ? "]" : "}", 1);
			rows_put(&file, places[place].tail, strlen(places[place].tail));
			got = messages_read(file.text, file.len, &options);
			CHECK_MSG(got.status == (extra ? LDR_TOO_DEEP : LDR_END) && got.n == !extra,
					  "place %d, %d levels: status %d, %d messages", place, levels, got.status,
					  got.n);
			rows_free(&got);
			rows_free(&file);
		}
}

/* A value beyond the limit does not stop the stream; a line beyond it does. */
static void
test_limits(void)
{
	static const char data[] =
		REC("{\"id\":\"123456789\",\"name\":\"\\n2345678\",\"js\":[1,2,3,4],\"mixed\":123456789}")
		REC("{\"id\":\"1234567890\",\"name\":\"\\n234567890\",\"js\":[1,2,3,45],"
			"\"mixed\":1234567890}")
		REC("{\"id\":\"123456789\\n\",\"name\":\"\\n234567890\\ud800\",\"js\":\"\\u0031\\u0031\"}");
	LdrReaderLimits saved = ldr_reader_limits;
	Rows		got;

	ldr_reader_limits.field = 9;
	got = messages_read(data, sizeof(data) - 1, &options);
	CHECK_STR(got.text,
			  "1 " USERS "s:123456789|s:~2345678|j:[1,2,3,4]|b:123456789|A\n"
			  "2 " USERS "i:\"1234567890\"|i:\"\\n234567890\"|i:[1,2,3,45]|i:1234567890|A\n"
			  "3 " USERS "i:\"123456789\\n\"|i:\"\\n234567890\\ud800\"|i:\"\\u0031\\u0031\"|A|A\n");
	CHECK_INT(got.status, LDR_END);
	rows_free(&got);
	for (ldr_reader_limits.record = 100; ldr_reader_limits.record < 200; ldr_reader_limits.record++)
	{
		size_t		longest = 0;

		ldr_reader_limits.window = 16;
		got = messages_read(data, sizeof(data) - 1, &options);
		for (const char *p = data; *p != '\0'; p = strchr(p, '\n') + 1)
			if ((size_t) (strchr(p, '\n') - p) > longest)
				longest = (size_t) (strchr(p, '\n') - p);
		if (ldr_reader_limits.record > longest)
			CHECK_INT(got.status, LDR_END);
		else
		{
			CHECK_INT(got.status, LDR_TOO_LONG);
			CHECK(got.err.line >= 1 && got.err.line <= 3);
		}
		rows_free(&got);
	}
	ldr_reader_limits = saved;
}

/*
 * A long value that is decoded once more, for the columns of the stream that it really is. The line
 * before it makes for the wrong guess.
 */
static void
test_decoded_twice(void)
{
	static const char head[] =
		"{\"type\":\"RECORD\",\"record\":{\"stream\":\"us\\u0065rs\",\"data\":{\"id\":1}}}\n"
		"{\"type\":\"RECORD\",\"record\":{\"stream\":\"us\\u0065rs\",\"data\":{\"id\":\"\\n";
	static const char want[] = "1 " USERS "b:1|A|A|A|A\n2 record 6 users@ns2 s:~x";
	Rows		file = {0};
	Rows		got;

	rows_put(&file, head, sizeof(head) - 1);
	for (int i = 0; i < 20000; i++)
		rows_put(&file, "x", 1);
	messages_printf(&file, "\"},\"namespace\":\"ns2\"}}\n");
	got = messages_read(file.text, file.len, &options);
	CHECK_INT(got.status, LDR_END);
	CHECK(strncmp(got.text, want, sizeof(want) - 1) == 0);
	CHECK_INT(strspn(got.text + sizeof(want) - 2, "x"), 20000);
	CHECK_STR(got.text + sizeof(want) - 2 + 20000, "|A\n");
	rows_free(&got);
	rows_free(&file);
}

/* Huge messages of each kind, and small ones between them, which find less memory than before. */
static void
test_huge(void)
{
	static const char *const heads[] = {
		"{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{\"id\":\"\\n",
		"{\"type\":\"STATE\",\"state\":{\"data\":\"",
		"{\"type\":\"LOG\",\"log\":{\"message\":\"\\t",
	"text "};
	static const char *const tails[] = {"\"}}}\n", "\"}}\n", "\"}}\n", "\n"};
	const size_t size = 3 * 1024 * 1024;
	Rows		file = {0};
	Rows		got;
	const char *p;

	for (int i = 0; i < 12; i++)
	{
		rows_put(&file, heads[i % 4], strlen(heads[i % 4]));
		for (size_t j = 0; j < (i / 4 % 2 ? 1 : size); j++)
			rows_put(&file, "z", 1);
		rows_put(&file, tails[i % 4], strlen(tails[i % 4]));
	}
	got = messages_read(file.text, file.len, &options);
	CHECK_INT(got.status, LDR_END);
	CHECK_INT(got.n, 12);
	p = got.text;
	for (int i = 0; i < got.n; i++, p = strchr(p, '\n') + 1)
		CHECK_INT(strspn(strchr(p, 'z'), "z"), i / 4 % 2 ? 1 : size);
	rows_free(&got);
	rows_free(&file);
}

/* Many streams, whose records come in turns, with columns that differ. */
static void
test_many_streams(void)
{
	enum
	{
		N = 400
	};
	static LdrMessageStream many[N];
	static LdrColumnName columns[N][2];
	static char names[N][32];
	MessagesOptions all = {many, N, 0, 0};
	Rows		file = {0};
	Rows		want = {0};
	Rows		got;

	for (int i = 0; i < N; i++)
	{
		snprintf(names[i], sizeof(names[i]), "c%d", i);
		columns[i][0] = (LdrColumnName) {names[i], false};
		columns[i][1] = (LdrColumnName) {"x", i % 2 == 0};
		/* each name three times: in two namespaces and without one */
		many[i] = (LdrMessageStream) {names[i / 3], (const char *[]) {NULL, "one", "two"}[i % 3],
		columns[i], 2};
	}
	rows_put(&want, "", 0);
	for (int n = 0; n < 5 * N; n++)
	{
		int			i = n * 7 % N;
		const char *space = many[i].name_space;

		messages_printf(&file, "{\"type\":\"RECORD\",\"record\":{\"stream\":\"%s\",\"data\":"
						"{\"x\":\"%d\",\"c%d\":\"%d\"}", many[i].name, n, i, -n);
		if (space != NULL)
			messages_printf(&file, ",\"namespace\":\"%s\"", space);
		messages_printf(&file, "}}\n");
		messages_printf(&want, "%d record %d %s%s%s s:%d|", n + 1, i, many[i].name,
						space ? "@" : "", space ? space : "", -n);
		messages_printf(&want, i % 2 == 0 ? "j:\"%d\"\n" : "s:%d\n", n);
	}
	got = messages_read(file.text, file.len, &all);
	CHECK_INT(got.status, LDR_END);
	CHECK_INT(got.n, 5 * N);
	CHECK(strcmp(got.text, want.text) == 0);
	rows_free(&got);
	rows_free(&want);
	rows_free(&file);
}

/* A source that gives one piece at a time, and counts them. */
typedef struct PieceSource
{
	LdrSource	base;
	const char *const *pieces;
	int			given;
} PieceSource;

static ssize_t
piece_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	PieceSource *s = (PieceSource *) self;
	const char *piece = s->pieces[s->given];

	(void) err;
	if (piece == NULL)
		return 0;
	if (!CHECK(strlen(piece) <= n))
		return 0;
	s->given++;
	memcpy(buf, piece, strlen(piece));
	return (ssize_t) strlen(piece);
}

static void
piece_close(LdrSource *self)
{
	(void) self;
}

static uint64_t
piece_consumed(const LdrSource *self)
{
	return (uint64_t) ((const PieceSource *) self)->given;
}

/* A message is handed out before more is read than its last byte needs. */
static void
test_slow_source(void)
{
	static const char *const pieces[] = {"{\"type\":", "\"CON", "TROL\"}", "\n", "\n",
		"text\n{}\n{\"type", "\":\"LOG\"}\n{", "}\nx", NULL};
	static const struct
	{
		LdrMessageKind kind;
		int			given;
	}			want[] = {{LDR_MESSAGE_CONTROL, 4}, {LDR_MESSAGE_NOT_JSON, 6},
	{LDR_MESSAGE_OTHER, 6}, {LDR_MESSAGE_LOG, 7}, {LDR_MESSAGE_OTHER, 8},
	{LDR_MESSAGE_NOT_JSON, 8}};
	PieceSource source = {{piece_read, piece_close, piece_consumed}, pieces, 0};
	LdrError	err = {0};
	LdrAirbyteReader *r = ldr_airbyte_open(&source.base, streams, 1, &err);
	LdrMessage	m;

	CHECK_INT(source.given, 0);
	for (int i = 0; i < (int) (sizeof(want) / sizeof(want[0])); i++)
	{
		CHECK_INT(ldr_airbyte_next(r, &m, &err), LDR_OK);
		CHECK_INT(m.kind, want[i].kind);
		CHECK_INT(source.given, want[i].given);
		CHECK_INT(ldr_airbyte_consumed(r), want[i].given);
	}
	CHECK_INT(ldr_airbyte_next(r, &m, &err), LDR_END);
	CHECK_INT(ldr_airbyte_next(r, &m, &err), LDR_END);
	ldr_airbyte_close(r);
	ldr_airbyte_close(NULL);
}

/* A source that fails: its error, and no message that was not whole. */
static ssize_t
failing_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	PieceSource *s = (PieceSource *) self;

	if (s->pieces[s->given] == NULL)
	{
		ldr_fail(err, LDR_IO, "no more");
		return -1;
	}
	return piece_read(self, buf, n, err);
}

static void
test_failing_source(void)
{
	static const char *const pieces[] = {"{}\n{}", NULL};
	PieceSource source = {{failing_read, piece_close, piece_consumed}, pieces, 0};
	LdrError	err = {0};
	LdrAirbyteReader *r = ldr_airbyte_open(&source.base, NULL, 0, &err);
	LdrMessage	m;

	CHECK_INT(ldr_airbyte_next(r, &m, &err), LDR_OK);
	CHECK_INT(ldr_airbyte_next(r, &m, &err), LDR_IO);
	CHECK_STR(err.message, "no more");
	CHECK_INT(err.line, 0);
	ldr_airbyte_close(r);
}

int
main(void)
{
	test_cases();
	test_errors();
	test_depth();
	test_limits();
	test_decoded_twice();
	test_huge();
	test_many_streams();
	test_slow_source();
	test_failing_source();
	return unit_report("test_airbyte_reader");
}
