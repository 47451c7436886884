#!/bin/sh
# Compare the converters with the input functions of the server.
#
#	run.sh [PG_CONFIG] [n]
#
# Builds loader_convert_test in a directory of its own, from which the server loads it (nothing is
# installed), and runs n (200000) random values per type, and some chosen ones, in databases of
# three encodings on the server that PGHOST and PGPORT name; it must run on this machine with the version
# of PG_CONFIG, and we must be superuser on it. VERBOSE=1 shows every check, TIMES=1 the times of all
# routines beside those of the input functions. KEEP=1 leaves the directory of the build.
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
	[ -n "${KEEP:-}" ] || rm -rf "$work"
	for db in $databases; do
		query postgres -c "DROP DATABASE IF EXISTS $db" >/dev/null 2>&1 || true
	done
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

cp "$here"/Makefile "$here"/*.c "$here"/*.h "$here"/*.control "$here"/*.sql "$work"
if ! make -C "$work" ROOT="$root" PG_CONFIG="$pg_config" >"$work/make.log" 2>&1; then
	cat "$work/make.log" >&2
	exit 1
fi
chmod 755 "$work"		# the server runs as another user
sed "s|MODULE_PATHNAME|$work/loader_convert_test|" "$work"/loader_convert_test--1.0.sql \
	>"$work/functions.sql"

make_database()
{
	query postgres -c "DROP DATABASE IF EXISTS $1" \
		-c "CREATE DATABASE $1 TEMPLATE template0 ENCODING '$2' LC_COLLATE 'C' LC_CTYPE 'C'" 2>/dev/null
	query "$1" -f "$work/functions.sql"
}
make_database convert_utf8 UTF8
make_database convert_latin1 LATIN1
make_database convert_ascii SQL_ASCII

# Each line that a script prints is one check: ok or FAIL, what, and in the end what was found.
# check DATABASE SCRIPT [psql option ...]
check()
{
	db=$1
	script=$2
	shift 2
	query "$db" "$@" -f "$here/$script" >>"$work/results" ||
		echo "FAIL $script did not run to its end in $db" >>"$work/results"
}
check convert_utf8 cases.sql
check convert_utf8 limits.sql
check convert_utf8 random.sql -v encoding=UTF8
check convert_utf8 random_text.sql -v encoding=LATIN1
check convert_utf8 random_text.sql -v encoding=SJIS
check convert_latin1 random.sql -v encoding=UTF8
check convert_latin1 random_text.sql -v encoding=LATIN1
check convert_ascii random.sql -v encoding=UTF8
check convert_ascii random_text.sql -v encoding=SQL_ASCII
check convert_ascii random_text.sql -v encoding=SJIS
check convert_utf8 random_settings.sql
check convert_utf8 form.sql -v encoding=UTF8
check convert_utf8 form.sql -v encoding=LATIN1
check convert_latin1 form.sql -v encoding=UTF8
check convert_ascii form.sql -v encoding=SQL_ASCII

check convert_utf8 airbyte.sql
PGOPTIONS='-c TimeZone=Pacific/Apia -c DateStyle=SQL,DMY -c IntervalStyle=iso_8601' \
	check convert_utf8 airbyte.sql
check convert_utf8 airbyte_random.sql
check convert_latin1 airbyte_random.sql -v n=$((n / 10))
check convert_latin1 airbyte_encoding.sql -v encoding=LATIN1
check convert_ascii airbyte_encoding.sql -v encoding=SQL_ASCII

if [ -n "${VERBOSE:-}" ]; then cat "$work/results"; else grep -v '^ok ' "$work/results" || true; fi
if [ -n "${TIMES:-}" ]; then "$psql" -Xq -d convert_utf8 -f "$here/time.sql"; fi
passed=$(grep -c '^ok ' "$work/results" || true)
failed=$(grep -vc '^ok ' "$work/results" || true)
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
