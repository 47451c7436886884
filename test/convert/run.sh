#!/bin/sh
# Compare the converters with the input functions of the server.
#
#	run.sh [PG_CONFIG] [n]
#
# Builds loader_convert_test in a directory of its own, installs it into the server of PG_CONFIG and
# runs n (200000) random values per type, and some chosen ones, in databases of three encodings on
# the server that PGHOST and PGPORT name; it must be that server, and we superuser on it.
set -eu

pg_config=${1:-pg_config}
n=${2:-200000}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
psql="$("$pg_config" --bindir)/psql"
work=$(mktemp -d)
databases='convert_utf8 convert_latin1 convert_ascii'

query()
{
	"$psql" -XAtq -v ON_ERROR_STOP=1 -v n="$n" -d "$@"
}

clean_up()
{
	rm -rf "$work"
	for db in $databases; do
		query postgres -c "DROP DATABASE IF EXISTS $db" >/dev/null 2>&1 || true
	done
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

cp "$here"/Makefile "$here"/*.c "$here"/*.h "$here"/*.control "$here"/*.sql "$work"
if ! make -C "$work" ROOT="$root" PG_CONFIG="$pg_config" install >"$work/make.log" 2>&1; then
	cat "$work/make.log" >&2
	exit 1
fi

make_database()
{
	query postgres -c "DROP DATABASE IF EXISTS $1" \
		-c "CREATE DATABASE $1 TEMPLATE template0 ENCODING '$2' LC_COLLATE 'C' LC_CTYPE 'C'" 2>/dev/null
	query "$1" -c 'CREATE EXTENSION loader_convert_test'
}
make_database convert_utf8 UTF8
make_database convert_latin1 LATIN1
make_database convert_ascii SQL_ASCII

# Each line that a script prints is one check: ok or FAIL, what, and in the end what was found.
{
	query convert_utf8 -f "$here/cases.sql"
	query convert_utf8 -v encoding=UTF8 -f "$here/random.sql"
	query convert_utf8 -v encoding=LATIN1 -f "$here/random_text.sql"
	query convert_utf8 -v encoding=SJIS -f "$here/random_text.sql"
	query convert_latin1 -v encoding=UTF8 -f "$here/random.sql"
	query convert_latin1 -v encoding=LATIN1 -f "$here/random_text.sql"
	query convert_ascii -v encoding=UTF8 -f "$here/random.sql"
	query convert_ascii -v encoding=SQL_ASCII -f "$here/random_text.sql"
	query convert_ascii -v encoding=SJIS -f "$here/random_text.sql"
	query convert_utf8 -f "$here/random_settings.sql"
} >"$work/results" || echo "FAIL the scripts did not run to their end" >>"$work/results"

if [ -n "${VERBOSE:-}" ]; then cat "$work/results"; else grep -v '^ok ' "$work/results" || true; fi
passed=$(grep -c '^ok ' "$work/results" || true)
failed=$(grep -vc '^ok ' "$work/results" || true)
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
