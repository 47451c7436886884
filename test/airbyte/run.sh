#!/usr/bin/env bash
# test/airbyte/run.sh VENVS CONNECTOR pyairbyte|streams: the tests of the Airbyte destination.
#	pyairbyte	PyAirbyte drives the connector, from source-faker and other sources
#	streams		recorded streams go through it and through the SQL functions, cut and killed
# Makes a Python environment for it below VENVS, where all that is left is.
#
# Needs a server with the extension, as a superuser, in PGHOST (a socket's directory), PGPORT and
# PGUSER; it makes a database loader_airbyte there. Optional:
#	LOADER_TEST_RESTART	a command that crashes and restarts the server
#	LOADER_TEST_CUTS=all	cut the streams at every message: takes long
#	PYTEST_ADDOPTS		more arguments, such as -k NAME
# The last line is the sum: "N passed, N failed[, N skipped]".
set -u

venv=$1/$3 tests=test_$3.py
[ "$3" != pyairbyte ] || tests="$tests test_walk_through.py"
export LOADER_TEST_CONNECTOR=$2 LOADER_TEST_FAKER=$venv/bin/source-faker
here=$(cd "$(dirname "$0")" && pwd)
# no registry of connectors is asked and nobody is told; nothing is left outside
export AIRBYTE_OFFLINE_MODE=1 DO_NOT_TRACK=1
export AIRBYTE_PROJECT_DIR=$venv/project AIRBYTE_LOGGING_ROOT=$venv/logs AIRBYTE_TEMP_DIR=$venv/tmp
# PyAirbyte takes the time stamps of its cache for local ones
export TZ=UTC
export PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore COLUMNS=100

# make_venv DIR: PyAirbyte and source-faker with those packages that they load; pip would add as
# many again that nothing here does. Recorded streams need next to nothing, and what is there will do.
make_venv()
{
	[ ! -x "$1/bin/pytest" ] || return 0
	python3 -m venv "$1" || return
	if [ "${tests%% *}" = test_pyairbyte.py ]; then
		set -- "$1" --no-deps --only-binary :all: -r "$here/requirements.txt"
	else
		set -- "$1" pytest 'psycopg[binary]'
	fi
	"$1/bin/pip" install -q --disable-pip-version-check "${@:2}"
}

# counted WORD LOG: how many pytest says there are of them
counted()
{
	local n
	n=$(tail -n 1 "$2" | grep -oE "[0-9]+ $1" | grep -oE '^[0-9]+')
	echo "${n:-0}"
}

mkdir -p "$1"
[ "$3" != streams ] || [ ! -x "$1/pyairbyte/bin/pytest" ] || venv=$1/pyairbyte
if ! make_venv "$venv" >"$venv.log" 2>&1; then
	tail -n 5 "$venv.log"
	rm -rf "$venv"
	echo "FAILED: no Python environment for $tests"
	echo "0 passed, 1 failed"
	exit 1
fi
mkdir -p "$AIRBYTE_PROJECT_DIR" "$AIRBYTE_LOGGING_ROOT" "$AIRBYTE_TEMP_DIR"
log=$1/$3.log
(cd "$here" && "$venv/bin/python" -m pytest -q -p no:cacheprovider --tb=short \
	--show-capture=no $tests) 2>&1 | tee "$log"
rc=${PIPESTATUS[0]}
f=$(($(counted failed "$log") + $(counted error "$log")))
[ "$rc" = 0 ] || [ "$f" -gt 0 ] || f=1
echo "$(counted passed "$log") passed, $f failed, $(counted skipped "$log") skipped"
[ "$f" = 0 ]
