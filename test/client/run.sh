#!/usr/bin/env bash
# test/client/run.sh VENVS [DLT_VERSION...]: the tests of clients/dlt, with both ends of the versions
# of dlt that it is for. Makes a Python environment for each below VENVS.
#
# Needs a server with the extension, as a superuser, in PGHOST (a socket's directory), PGPORT and
# PGUSER; it makes databases there whose names begin with dlt_loader_. Optional:
#	LOADER_TEST_RESTART	a command that crashes and restarts the server
#	PYTEST_ADDOPTS		more arguments, such as -k NAME
# The last line is the sum: "N passed, N failed[, N skipped]".
set -u

venvs=$1
shift
[ $# -gt 0 ] || set -- 1.26.0 1.31.0
client=$(cd "$(dirname "$0")/../../clients/dlt" && pwd)
export LOADER_TEST_DSN="postgresql://$PGUSER:unused@localhost/{}?host=$PGHOST&port=$PGPORT"
passed=0 failed=0 skipped=0

# make_venv DIR VERSION
make_venv()
{
	[ -x "$1/bin/pytest" ] && return
	# what the package depends on is pip's to find, but for dlt's version
	python3 -m venv "$1" && "$1/bin/pip" install -q --disable-pip-version-check \
		"dlt[postgres]==$2" pyarrow pytest mypy 'psycopg[binary]' "$client"
}

# counted WORD LOG: how many pytest says there are of them
counted()
{
	local n
	n=$(tail -n 1 "$2" | grep -oE "[0-9]+ $1" | grep -oE '^[0-9]+')
	echo "${n:-0}"
}

for version; do
	echo "dlt $version"
	venv=$venvs/dlt-$version
	if ! make_venv "$venv" "$version" >"$venvs/pip.log" 2>&1; then
		tail -n 5 "$venvs/pip.log"
		echo "FAILED: no Python environment with dlt $version"
		failed=$((failed + 1))
		continue
	fi
	log=$venvs/pytest-$version.log
	if (cd "$client" && "$venv/bin/mypy" --cache-dir "$venv/mypy" dlt_loader); then
		passed=$((passed + 1))
	else
		echo "FAILED: mypy with dlt $version"
		failed=$((failed + 1))
	fi
	(cd "$client" && "$venv/bin/python" -m pytest -q -p no:cacheprovider) 2>&1 | tee "$log"
	rc=${PIPESTATUS[0]}
	f=$(($(counted failed "$log") + $(counted error "$log")))
	[ "$rc" = 0 ] || [ "$f" -gt 0 ] || f=1
	passed=$((passed + $(counted passed "$log"))) failed=$((failed + f))
	skipped=$((skipped + $(counted skipped "$log")))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
