#!/usr/bin/env bash
# tools/growth.sh: `make growth`: memory of what lives long, over repeated loads.
#
# A session that loads a package, plans it, looks into the views and forgets it, again and again; the
# worker of one Airbyte sync, checkpoint after checkpoint; the launcher beside both. Their memory after
# a tenth of the rounds, when caches are filled, and at the end: what grew with every round has leaked.
# Memory is what the process has for itself (RssAnon), and, of a session, what its contexts hold.
#
#	ROUNDS=N	rounds of each (300)
#	MAY_GROW=KB	in all, over the rounds (1024: the allocator's steps; a leak of 4 kB a load would show)
#	see test/lib.sh for NO_INSTALL, PG_CONFIG
. "$(dirname "$0")/private.sh"
make_work
private_postgres "$work/postgres"
copy_tree "$top" "$work/tree"
build_and_install "$work/tree" || exit 1
server_start "shared_preload_libraries = 'loader'" || exit 1
psql -X -q -c 'CREATE EXTENSION loader' || exit 1
psql -X -At -v ON_ERROR_STOP=1 -v rounds="${ROUNDS:-300}" -v may_grow="${MAY_GROW:-1024}" \
	-v packages="$work/tree/test/packages" -f "$top/tools/growth.sql" | tee "$work/growth.out"
[ "${PIPESTATUS[0]}" = 0 ] && ! grep -q 'grows$' "$work/growth.out"
