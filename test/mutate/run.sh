#!/usr/bin/env bash
# test/mutate/run.sh: damaged packages against a throw-away server: make mutate [N=5000] [SEED=1]
#
#	N=...		how many mutants; and a fifth as many Airbyte syncs
#	SEED=...	of which random numbers; each mutant of a seed has a number
#	ONLY='17 18'	these mutants only
#	SCENARIOS='DIR ...'	where packages are taken from (default: test/oracle/scenarios)
#	see ../lib.sh for NO_INSTALL, KEEP, PG_CONFIG
. "$(dirname "$0")/../../tools/private.sh"

make_work
private_postgres "$work/postgres" python3-venv
copy_tree "$top" "$work/tree"
cd "$work/tree" || exit 1
build_and_install "$work/tree" && server_start || exit 1
new_database mutate || exit 1
make_venv "$work/venv" 'psycopg[binary]' || exit 1
as_user mkdir -p "$work/mutants" && chmod 777 "$work/mutants"
options=(--count "${N:-5000}" --seed "${SEED:-1}" --syncs "$((${N:-5000} / 5))")
for i in ${ONLY:-}; do options+=(--only "$i" --verbose); done
for i in ${SCENARIOS:-}; do options+=(--scenarios "$i"); done
"$work/venv/bin/python" test/mutate/mutate.py --dsn dbname=mutate --work "$work/mutants" \
	--log "$work/server.log" "${options[@]}"
