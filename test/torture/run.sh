#!/usr/bin/env bash
# test/torture/run.sh: `make torture`, complete in itself: set-up, build, throw-away server, faults.
#
#	SEED=N		which faults (1); the same are chosen again
#	FAULTS=N	how many (2000)
#	VERBOSE=1	a line for each
#	see ../lib.sh for NO_INSTALL, PG_CONFIG
. "$(dirname "$0")/../../tools/private.sh"
. "$(dirname "$0")/lib.sh"

make_work
private_postgres "$work/postgres" python3-venv
copy_tree "$top" "$work/build"
build_and_install "$work/build" || exit
make_venv "$work/venv" 'psycopg[binary]' || exit
torture "$work/venv/bin/python" "$work/torture"
