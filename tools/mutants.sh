#!/usr/bin/env bash
# tools/mutants.sh: `make mutants`: small changes to the code of publish, and which the tests notice.
#
# Goes on where it was stopped. See mutants.py for what a change is and which tests it meets.
#
#	WORK=DIR	where it works and keeps its results (/tmp/loader-mutants)
#	MUTANTS='...'	arguments of mutants.py instead of "run": list, report, run --n 200 --seed 1,
#			run --only src/publish/swap.c:120
#	see test/lib.sh for NO_INSTALL, PG_CONFIG
. "$(dirname "$0")/private.sh"
keep_work "${WORK:-/tmp/loader-mutants}"
private_postgres "$work/postgres"
case ${MUTANTS:-run} in
	*run*)
		# the sources stay as they are while this runs, whatever is worked on meanwhile
		exec 9>"$work/lock"
		flock -n 9 || die "$work is in use"
		rm -rf "$work/source"
		copy_tree "$top" "$work/source"
		;;
esac
cd "$work" || exit 1
# shellcheck disable=SC2086
as_user python3 "$work/source/tools/mutants.py" --work "$work" --pg-config "$pg_config" ${MUTANTS:-run}
