#!/usr/bin/env bash
# tools/coverage.sh: `make coverage`: which lines and branches of src/ the tests reach.
#
# Builds everything, the parts that tests build for themselves included, with gcov's counters, runs
# steps of test/run.sh against a copy of PostgreSQL, and adds up (coverage.py says how). Results go to
# coverage/: summary.txt, and uncovered.txt with every line and branch that was not reached.
#
#	STEPS=REGEX	steps of test/run.sh; the default are those that need no Python
#	see test/lib.sh for NO_INSTALL, PG_CONFIG
#
# A process writes its counters when it exits, or when SIGQUIT ends it (coverage_exit.c); those of
# processes killed by SIGKILL are lost, and what only these have done counts as not reached. Everything
# runs as the server's user, so that all can write to the same files of counters.
. "$(dirname "$0")/private.sh"
make_work
private_postgres "$work/postgres"
mkdir -p "$work/out"
copy_tree "$top" "$work/source"
[ "$(id -u)" != 0 ] || chown "$server_user" "$work/out"

# Optimized code has no branches to count; what has none of it cannot be fortified either.
export COPT="--coverage -O0 -Wno-cpp -include $work/source/tools/coverage_dump.h"
cc -shared -fPIC -o "$work/coverage_exit.so" "$top/tools/coverage_exit.c" -ldl || exit 1
ONLY="^($(tr ' ' '|' <<<"${STEPS:-symbols unit fuzz_corpus convert sink merge names regress isolation tap}"))\$" \
	as_user env LD_PRELOAD="$work/coverage_exit.so" KEEP=1 NO_INSTALL=1 SAN=0 CONVERT_VALUES=20000 PG_CONFIG="$pg_config" LOADER_TMP="$work/out" TMPDIR="$work/out" \
	bash "$work/source/test/run.sh" </dev/null
rc=$?
for data in "$work"/out/loader.*/data; do
	[ ! -f "$data/postmaster.pid" ] || as_user "$("$pg_config" --bindir)/pg_ctl" -D "$data" -m fast -w -s stop
done
mkdir -p "$top/coverage"
python3 "$top/tools/coverage.py" "$work"/out/loader.*/tree "$work"/out/tmp.* -- "$top/coverage" || rc=1
exit $rc
