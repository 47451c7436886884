#!/usr/bin/env bash
# test/oracle/run.sh: load every saved package that is supported and compare with the result that
# dlt's own loader left, the staging dataset included; list the scenarios that are not supported
# yet, and those whose staging dataset differs by design, with the reason.
#
#	usage: run.sh [--dsn DSN] [--copy-to DIR] [--only NAME] ...	(the options of check.py)
#
# The datasets of the scenarios (sc_*) are dropped first. --copy-to makes a copy that the server's
# user can read. Environment: PYTHON, a Python with psycopg. Counts steps; a scenario that is not
# supported, or needs an extension that cannot be had, counts as one skipped.
set -u
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}

"$python" -c 'import psycopg' 2>/dev/null || {
	echo "$python has no psycopg: pip install 'psycopg[binary]', or set PYTHON" >&2
	exit 1
}

# is_in LIST NAME, and entries LIST: lists are files of name, tab, reason, and comments.
is_in() { grep -q "^$2	" "$here/$1"; }
entries() { grep -v -e '^#' -e '^$' "$here/$1"; }

# A scenario that is here and unsupported, or is in another list and not here, is a mistake.
for dir in "$here"/scenarios/*/; do
	name=$(basename "$dir")
	! is_in unsupported.txt "$name" || {
		echo "$name has its packages here and stands in unsupported.txt, too" >&2
		exit 1
	}
done
while IFS=$'\t' read -r name _; do
	[ -d "$here/scenarios/$name" ] || {
		echo "$name stands in a list and has no packages here" >&2
		exit 1
	}
done < <(entries staging_differs.txt; entries extensions.txt)

# --only is dealt out between the runs of check.py; the rest is for all of them.
options=() only=() dsn=${ORACLE_DSN:-}
while [ $# -gt 0 ]; do
	case $1 in
		--dsn) dsn=${2:-}; options+=("$1") ;;
		--dsn=*) dsn=${1#*=}; options+=("$1") ;;
		--only) only+=("${2:-}"); shift ;;
		--only=*) only+=("${1#*=}") ;;
		*) options+=("$1") ;;
	esac
	[ $# -eq 0 ] || shift
done
[ ${#only[@]} -gt 0 ] || mapfile -t only < <(ls "$here/scenarios")

same=() differing=() skipped=0
for name in "${only[@]}"; do
	missing=
	! is_in extensions.txt "$name" || missing=$("$python" "$here/extensions.py" "$dsn" "$name") || {
		echo "skip $name: this server has no extension $missing"
		skipped=$((skipped + 1))
		continue
	}
	if is_in staging_differs.txt "$name"; then differing+=("$name"); else same+=("$name"); fi
done

output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT
passed=0 failed=0

# check ARGUMENT... -- NAME...: run check.py for these scenarios; its last line is the count.
check()
{
	local arguments=() names=()
	while [ "$1" != -- ]; do arguments+=("$1"); shift; done
	shift
	for name; do names+=(--only "$name"); done
	"$python" "$here/check.py" --scenarios "$here/scenarios" ${options[@]+"${options[@]}"} \
		${arguments[@]+"${arguments[@]}"} "${names[@]}"
}

# The same, shown and counted.
count()
{
	local counts
	check "$@" | tee "$output" | grep --line-buffered -vE '^[0-9]+ passed, [0-9]+ failed$'
	counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$output") || exit 1
	passed=$((passed + ${counts%% *}))
	counts=${counts#*, }
	failed=$((failed + ${counts%% *}))
}

# fail NAME WHAT: a failure of ours.
fail()
{
	echo "FAIL $1: $2"
	failed=$((failed + 1))
}

[ ${#same[@]} = 0 ] || count --staging -- "${same[@]}"
[ ${#differing[@]} = 0 ] || count -- "${differing[@]}"

# Do they differ, and only by what is missing or left? The first step that differs shows it.
for name in ${differing[@]+"${differing[@]}"}; do
	if check --staging --show 1000 -- "$name" >"$output"; then
		fail "$name" "its staging dataset is dlt's, but it stands in staging_differs.txt"
	elif grep '^       ' "$output" | grep -qvE \
		'^ +staging: ((dataset|table .*) is missing|[^:]*: [0-9]+ rows, expected [0-9]+)$'; then
		fail "$name" "its staging dataset differs in another way than staging_differs.txt says"
		grep '^       ' "$output"
	fi
done
while IFS=$'\t' read -r name reason; do
	echo "staging not compared: $name: $reason"
done < <(entries staging_differs.txt)
while IFS=$'\t' read -r name reason; do
	echo "skip $name: $reason"
	skipped=$((skipped + 1))
done < <(entries unsupported.txt)
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
