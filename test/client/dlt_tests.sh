#!/usr/bin/env bash
# test/client/dlt_tests.sh: dlt's own tests of destinations, with our client in place of PostgresClient,
# beside the same tests with PostgresClient. Sets up a throw-away server and a Python environment.
#
#	DLT_SOURCE=DIR	a checkout of dlt of version 1.26 (tests are not in its package); only read
#	LOADER_CLIENT	where the environment, the logs and the results of dlt's client are kept between
#			runs (default /tmp/loader-client)
#	REUSE=1		do not run dlt's client again where its results were kept
#	usage: dlt_tests.sh [TEST ...]	paths below DLT_SOURCE, as pytest has them; default: see .py
#
# Not part of `make test`: the tests come from elsewhere. Ends with "N passed, N failed, N skipped".
. "$(dirname "$0")/../lib.sh"

[ -d "${DLT_SOURCE:-}/tests/load" ] || die "DLT_SOURCE must name a checkout of dlt, with its tests"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$DLT_SOURCE/pyproject.toml" | head -n 1)
keep=${LOADER_CLIENT:-/tmp/loader-client}

choose_server
# shellcheck disable=SC2046
setup $(base_packages) python3 python3-venv unixodbc -- "postgresql-$pg_major-postgis-3"
make_work
mkdir -p "$keep" || exit 1

# What the tests of that version were written for: later ones of it break them.
sqlglot=$(sed -n '/^name = "sqlglot"$/{n;s/version = "\(.*\)"/==\1/p;q}' "$DLT_SOURCE/uv.lock" 2>/dev/null)
make_venv "$keep/venv" "dlt[postgres]==$version" "sqlglot${sqlglot:-<29}" \
	'pytest<8' 'pytest-asyncio<0.24' 'pytest-cases' 'pytest-console-scripts<2' 'pytest-forked' \
	'pytest-mock<4' 'pytest-order' 'pytest-timeout<3' 'requests-mock<2' 'sqlfluff<3' 'pandas<3' \
	'sqlalchemy<2' 'ibis-framework[postgres]' adbc-driver-manager adbc-driver-postgresql boto3 \
	duckdb mimesis pyarrow pydantic pyodbc shapely s3fs || die "no Python environment"
make_venv "$keep/venv" --no-deps --force-reinstall "$top/clients/dlt" || die "no client"

copy_tree "$top" "$work/tree"
build_and_install "$work/tree" || die "the build failed"
port=$("$keep/venv/bin/python" -c 'import socket
with socket.create_server(("localhost", 0)) as s: print(s.getsockname()[1])')
server_start "listen_addresses = 'localhost'" "port = $port" 'max_connections = 200' \
	'max_worker_processes = 32' || die "the server does not start"
export PGPORT=$port
psql -X -q -c "CREATE ROLE tester SUPERUSER LOGIN PASSWORD 'tester'" || exit 1
for name in baseline ours; do
	psql -X -q -c "CREATE DATABASE $name OWNER tester" || exit 1
	! has_extension postgis || psql -X -q -d $name -c 'CREATE EXTENSION postgis' || exit 1
done
psql -X -q -d ours -c 'CREATE EXTENSION loader' || exit 1

# The tests write beside themselves.
copy_tree "$DLT_SOURCE" "$work/dlt"
dsn=postgresql://tester:tester@localhost:$port
"$keep/venv/bin/python" "$top/test/client/dlt_tests.py" --source "$work/dlt" --keep "$keep" \
	--baseline "$dsn/baseline" --ours "$dsn/ours" ${REUSE:+--reuse} "$@"
