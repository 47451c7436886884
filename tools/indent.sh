#!/usr/bin/env bash
# tools/indent.sh: pgindent over our C files, with the server's types and ours. With --check it only
# shows what would change, and fails if anything would. Needs pgindent and pg_bsd_indent, which
# postgresql-server-dev-17 and later bring; PG_CONFIG names that server.
set -eu
cd "$(dirname "$0")/.."
bin=$("${PG_CONFIG:-pg_config}" --bindir)
mode=()
[ "${1:-}" != --check ] || mode=(--check --diff)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
types=$work/typedefs
# pgindent breaks comments at 79 columns; ours may have 100
printf '#!/bin/sh\nexec "%s" "$@" -l100 -lc100\n' "$bin/pg_bsd_indent" >"$work/pg_bsd_indent"
chmod +x "$work/pg_bsd_indent"
# our own: what a typedef in a header or a source ends with
{
	sed -n 's/^typedef .*[ *]\([A-Za-z]\w*\);.*/\1/p; s/^} \([A-Za-z]\w*\);.*/\1/p' \
		src/*.[ch] src/*/*.[ch] clients/*/*.[ch] test/*/*.[ch] 2>/dev/null
	echo json_t					# jansson's
	cat "$("${PG_CONFIG:-pg_config}" --sharedir)/typedefs.list"
} | sort -u >"$types"
find src clients test/unit test/fuzz test/sink test/convert -name '*.[ch]' 2>/dev/null | sort |
	xargs "$bin/pgindent" --typedefs="$types" --indent="$work/pg_bsd_indent" ${mode[@]+"${mode[@]}"}
