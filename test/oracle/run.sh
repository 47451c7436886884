#!/usr/bin/env bash
# test/oracle/run.sh: load every saved package that is supported and compare with the result that
# dlt's own loader left; list the scenarios that are not supported yet, with the reason.
#
#	usage: run.sh [--dsn DSN] [--copy-to DIR] [--only NAME] ...	(the options of check.py)
#
# The datasets of the scenarios (sc_*) are dropped first. --copy-to makes a copy that the server's
# user can read. Environment: PYTHON, a Python with psycopg. Counts steps; a scenario that is not
# supported counts as one skipped.
set -u
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}

"$python" -c 'import psycopg' 2>/dev/null || {
	echo "$python has no psycopg: pip install 'psycopg[binary]', or set PYTHON" >&2
	exit 1
}

# A scenario in both lists, or in none, is a mistake.
for dir in "$here"/scenarios/*/; do
	name=$(basename "$dir")
	! grep -q "^$name	" "$here/unsupported.txt" || {
		echo "$name has its packages here and stands in unsupported.txt, too" >&2
		exit 1
	}
done

output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT
"$python" "$here/check.py" --scenarios "$here/scenarios" "$@" | tee "$output" |
	grep --line-buffered -vE '^[0-9]+ passed, [0-9]+ failed$'
rc=${PIPESTATUS[0]}

skipped=0
while IFS=$'\t' read -r name reason; do
	[[ -n $name && $name != \#* ]] || continue
	echo "skip $name: $reason"
	skipped=$((skipped + 1))
done <"$here/unsupported.txt"
counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$output") || exit 1
echo "$counts, $skipped skipped"
exit "$rc"
