#!/usr/bin/env bash
# test/run.sh: `make test`, complete in itself: set-up, build, throw-away server, all tests.
#
# Works in a copy of the tree, as a user that is not root. Each step prints its own count, a step
# that dies counts as failed, one that cannot run says why. The last line is the sum:
# "N passed, N failed", with ", N skipped" where there are any. Status 1 if anything failed.
#
#	ONLY=REGEX	only the steps whose name matches (the others are not counted)
#	CI=true		warnings are errors
#	SAN=0		unit tests without sanitizers
#	CONVERT_VALUES=N	random values of each type for the converters, instead of 200000
#	SEED=N		which packages are damaged, and how, and what goes wrong meanwhile (1)
#	see lib.sh for NO_INSTALL, KEEP, PG_CONFIG
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/count.sh"

choose_server
# shellcheck disable=SC2046
setup $(base_packages) perl -- libpq-dev libipc-run-perl python3 python3-venv "postgresql-$pg_major-cron" \
	"postgresql-$pg_major-postgis-3"
[ -z "${CI:-}" ] || WERROR=1
make_work
tree=$work/tree
copy_tree "$top" "$tree"
# The sources may be where the server's user cannot look; the packages are in the copy.
export LOADER_PACKAGES=$tree/test/packages
cd "$tree" || exit 1

# Limits are for what hangs: a slow machine needs several times as long as others.
make_here() { as_user make -s --no-print-directory PG_CONFIG="$pg_config" "$@"; }

# The tests that need a server need a build, too.
need_server()
{
	[ -n "${server_ready:-}" ] || skip_step "the build or the server's start failed"
}

step_build()
{
	build_and_install "$tree" && server_start || return
	server_ready=1
	say "built and installed for $("$pg_config" --version), server started"
}

# The server's own functions win over those of a library: json_object is one of the server as well
# as of jansson, and a call to it from here would end in the server's.
step_symbols()
{
	need_server
	local clash
	clash=$(comm -12 \
		<(nm -D --undefined-only loader.so | sed 's/.* //; s/@.*//' | sort -u) \
		<(comm -12 \
			<(nm -D --defined-only "$("$pg_config" --bindir)/postgres" | sed 's/.* //; s/@.*//' | sort -u) \
			<(ldd loader.so | awk '/libjansson|libz|libarchive|libisal/ { print $3 }' | xargs nm -D --defined-only |
				sed 's/.* //; s/@.*//' | sort -u)))
	[ -z "$clash" ] || {
		say "taken by the server instead of the library: $clash"
		return 1
	}
	# places for the torture test are for its build alone
	! grep -aqE 'ldr_fault|loader_faults' loader.so || {
		say "there are fault points in a normal build"
		return 1
	}
}

step_unit()
{
	[ -f test/unit/Makefile ] || skip_step "no unit tests here"
	limit=1800 make_here unit SAN="${SAN:-1}"
}

step_fuzz_corpus()
{
	compgen -G 'test/fuzz/fuzz_*.c' >/dev/null || skip_step "no fuzz drivers here"
	limit=1800 make_here fuzz SAN="${SAN:-1}"
}

step_convert()
{
	[ -x test/convert/run.sh ] || skip_step "test/convert/run.sh is not here"
	need_server
	local rc
	as_installer timeout -k 10 1800 test/convert/run.sh "$pg_config" ${CONVERT_VALUES:-}
	rc=$?
	uninstall_test loader_convert_test
	return $rc
}

# regress_of NAME: the regression tests of an extension that is made for them, test/NAME
regress_of()
{
	[ -f "test/$1/Makefile" ] || skip_step "test/$1/Makefile is not here"
	need_server
	local rc
	build_and_install "test/$1" || return
	limit=900 make_here -C "test/$1" installcheck >"$work/$1.log" 2>&1
	rc=$?
	uninstall_test "loader_$1_test"
	count_regress "$work/$1.log"
	[ ! -f "test/$1/regression.diffs" ] || head -n 300 "test/$1/regression.diffs"
	return $rc
}

step_sink() { regress_of sink; }

step_merge() { regress_of merge; }

step_names() { regress_of names; }

# An extension that was made for a test does not stay in the server's directories.
uninstall_test()
{
	as_installer rm -f "$("$pg_config" --pkglibdir)/$1.so" \
		"$("$pg_config" --sharedir)/extension/$1.control" \
		"$("$pg_config" --sharedir)/extension/$1--1.0.sql"
	as_installer rm -rf "$("$pg_config" --pkglibdir)/bitcode/$1" \
		"$("$pg_config" --pkglibdir)/bitcode/$1.index.bc"
}

step_regress()
{
	need_server
	limit=900 make_here installcheck >"$work/regress.log" 2>&1
	local rc=$?
	count_regress "$work/regress.log"
	[ ! -f regression.diffs ] || head -n 300 regression.diffs
	return $rc
}

step_isolation()
{
	need_server
	compgen -G 'test/isolation/specs/*.spec' >/dev/null || skip_step "no specs here"
	[ -x "$(dirname "$("$pg_config" --pgxs)")/../test/isolation/pg_isolation_regress" ] ||
		skip_step "this server comes without pg_isolation_regress"
	limit=1800 make_here installcheck-isolation >"$work/isolation.log" 2>&1
	local rc=$?
	count_regress "$work/isolation.log"
	[ ! -f output_iso/regression.diffs ] || head -n 300 output_iso/regression.diffs
	return $rc
}

step_tap()
{
	[ -n "${server_ready:-}" ] || skip_step "the build failed"
	compgen -G 'test/t/*.pl' >/dev/null || skip_step "no TAP tests here"
	has_perl IPC::Run || skip_step "Perl's IPC::Run (libipc-run-perl) is missing"
	[ "$pg_major" -ge 15 ] || skip_step "PostgreSQL 14 has other TAP modules"
	[ -d "$(dirname "$("$pg_config" --pgxs)")/../test/perl" ] ||
		skip_step "this server comes without the TAP modules"
	limit=3600 make_here installcheck-tap PROVE_FLAGS='--verbose --nocolor --timer' \
		>"$work/tap.log" 2>&1
	local rc=$?
	count_tap "$work/tap.log"
	[ $rc = 0 ] || tap_failures
	return $rc
}

# What a failed TAP test said, and what its servers complained of last.
tap_failures()
{
	grep -E '^ *(not ok|#)' "$work/tap.log" | head -n 100
	tail -n 5 "$work/tap.log"
	find tmp_check/log -name '*.log' -newer "$work/server.log" -exec \
		grep -HE '(WARNING|ERROR|FATAL|PANIC|DETAIL|HINT|terminated by signal)' {} + 2>/dev/null |
		sed 's,.*/,,' | tail -n 40
}

# A Python with psycopg, in $python: made once, by whichever step wants it first.
need_python()
{
	python=$work/venv/bin/python
	[ ! -x "$python" ] || return 0
	make_venv "$work/venv" 'psycopg[binary]' && return
	python=/usr/bin/python3
	"$python" -c 'import psycopg' 2>/dev/null ||
		{ [ -z "${NO_INSTALL:-}" ] && apt_install python3-psycopg; } ||
		skip_step "no Python with psycopg: neither the package index nor python3-psycopg"
}

# A Python with dlt and what its postgres destination needs, in $dlt_python.
need_dlt()
{
	# the tests of the client have made one, if they ran
	for dlt_python in "$work"/{client/dlt-1.31.0,dlt}/bin/python; do
		[ ! -x "$dlt_python" ] || return 0
	done
	make_venv "$work/dlt" 'dlt[postgres]==1.31.0' 'psycopg[binary]' ||
		skip_step "no Python with dlt: it is not in the package index"
}

step_storage()
{
	need_server
	local dlt_python
	need_dlt
	new_database storage || return
	HOME=$work PGDATABASE=storage RUNTIME__LOG_LEVEL=CRITICAL RUNTIME__DLTHUB_TELEMETRY=false \
		timeout -k 10 1800 "$dlt_python" test/client/storage.py --scenarios test/oracle/scenarios
}

# The oracle's packages, driven by dlt's loader through our client: client_oracle MODE
client_oracle()
{
	need_server
	local dlt_python
	need_dlt
	new_database "client_$1" || return
	HOME=$work PYTHONPATH=$tree/clients/dlt timeout -k 10 1800 "$dlt_python" test/client/oracle.py \
		--mode "$1" --dsn "postgresql://postgres:x@localhost/client_$1?host=$PGHOST&port=$PGPORT"
}

step_client_package() { client_oracle package; }

step_client_job() { client_oracle job; }

step_oracle()
{
	need_server
	local python
	need_python
	new_database oracle || return
	PYTHON=$python timeout -k 10 1800 test/oracle/run.sh --dsn dbname=oracle \
		--copy-to "$work/oracle"
}

# The same where jobs commit one by one, and where everything is staged by transactions before, by pages and by several
# processes a file.
step_oracle_ways()
{
	need_server
	local python rc=0
	need_python
	new_database oracle_ways || return
	export PYTHON=$python
	timeout -k 10 1800 test/oracle/run.sh --dsn dbname=oracle_ways --copy-to "$work/oracle_jobs" \
		--sql 'CALL loader_run(%s, dataset => %s, atomic => false{options})' || rc=1
	PGOPTIONS='-c loader.small_package=0 -c loader.storage_sink=on -c loader.min_parallel_file_size=0' \
		timeout -k 10 1800 test/oracle/run.sh --dsn dbname=oracle_ways --copy-to "$work/oracle_staged" || rc=1
	return $rc
}

# The Python client, in environments of its own with the oldest and the newest dlt that it is for.
step_client()
{
	need_server
	has_venv || skip_step "python3-venv is missing"
	mkdir -p "$work/client"
	LOADER_TEST_RESTART=$(restart_command) timeout -k 10 3600 test/client/run.sh "$work/client"
}

# A command that crashes the server and starts it again, for tests that need one.
restart_command()
{
	[ "$(id -u)" != 0 ] || printf 'runuser -u %s -- ' "$server_user"
	echo "$("$pg_config" --bindir)/pg_ctl -D $server_data -l $work/server.log -w -s -m immediate restart"
}

# airbyte_tests WHICH: of the Airbyte destination, with a Python environment of their own.
airbyte_tests()
{
	need_server
	has_venv || skip_step "python3-venv is missing"
	LOADER_TEST_RESTART=$(restart_command) timeout -k 10 900 test/airbyte/run.sh "$work/airbyte" \
		"$("$pg_config" --bindir)/destination-loader" "$1"
}

step_airbyte()
{
	python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' ||
		skip_step "PyAirbyte and what it needs are pinned for Python 3.11 and 3.12"
	airbyte_tests pyairbyte
}

step_airbyte_streams() { airbyte_tests streams; }

# Damaged packages; make mutate loads more of them.
step_mutate()
{
	need_server
	local python
	need_python
	new_database mutate || return
	as_user mkdir -p "$work/mutants" && chmod 777 "$work/mutants" || return
	timeout -k 10 1800 "$python" test/mutate/mutate.py --dsn dbname=mutate --work "$work/mutants" \
		--count 230 --syncs 60 --seed "${SEED:-1}" --limit 180 --log "$work/server.log"
}

# Packages and syncs while things go wrong; make torture has more faults for them.
step_torture()
{
	need_server
	local python
	need_python
	. test/torture/lib.sh
	FAULTS=100 limit=1800 torture "$python" "$work/torture"
}

step_other_servers()
{
	local python
	need_python
	PYTHON=$python timeout -k 10 3600 test/matrix.sh "$tree" "$pg_major"
}

run_step build 'build, install, start a server'
run_step symbols 'no library function shadowed by the server'
run_step unit 'unit tests, under sanitizers'
run_step fuzz_corpus 'fuzz corpus, replayed'
run_step convert 'converters against the server'
run_step sink 'sinks against the server'
run_step merge 'merges and replaces by SQL against the server'
run_step names 'names for Airbyte streams'
run_step regress 'pg_regress'
run_step isolation 'isolation'
run_step tap 'TAP'
run_step client 'the Python client, with dlt'
run_step airbyte 'PyAirbyte drives the connector'
run_step airbyte_streams 'Airbyte streams, cut and killed'
run_step storage "storage functions beside dlt's own client"
run_step client_package 'the oracle through the client, whole packages'
run_step client_job 'the oracle through the client, file by file'
run_step oracle "comparison with what dlt's own loader left"
run_step oracle_ways 'the same, by job and staged'
run_step mutate 'damaged packages'
run_step torture 'packages and syncs while things go wrong'
run_step other_servers 'other servers'
summary
