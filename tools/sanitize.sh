#!/usr/bin/env bash
# tools/sanitize.sh: `make sanitize`: the extension, built with address and undefined-behaviour
# sanitizers, in a server that is not.
#
# Only our code is instrumented; what it hands to the C library is checked, too, also by the server.
# Memory of palloc comes out of blocks that the server cuts up itself, in which an overrun meets the
# next chunk unseen. So what our code allocates itself gets a block of its own, whose rest is poisoned
# (sanitize_palloc.c). Leaks are not looked for: a server leaves its memory to the end of the process
# by design; see tools/growth.sh.
#
#	STEPS=REGEX	steps of test/run.sh
#	see test/lib.sh for NO_INSTALL, PG_CONFIG
. "$(dirname "$0")/private.sh"
. "$(dirname "$0")/server_wrapper.sh"
make_work
private_postgres "$work/postgres"
copy_tree "$top" "$work/source"
mkdir -p "$work/out" "$work/reports"
[ "$(id -u)" != 0 ] || chown "$server_user" "$work/out" "$work/reports"

cc -O1 -g -fsanitize=address -shared -fPIC -o "$work/palloc.so" -I"$("$pg_config" --includedir-server)" \
	"$top/tools/sanitize_palloc.c" || exit 1
options="detect_leaks=0:abort_on_error=1:disable_coredump=0:allocator_may_return_null=1:log_path=$work/reports/asan"
wrap_server env LD_PRELOAD="$(cc -print-file-name=libasan.so):$(cc -print-file-name=libubsan.so):$work/palloc.so" \
	ASAN_OPTIONS="$options" UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=0:log_path=$work/reports/ubsan" \
	postgres.real
export COPT='-fsanitize=address,undefined -fno-omit-frame-pointer -g -O1 -Dpalloc=ldr_san_palloc -Dpalloc0=ldr_san_palloc0'
ONLY="^($(tr ' ' '|' <<<"${STEPS:-sink merge names regress isolation}"))\$" \
	as_user env NO_INSTALL=1 PG_CONFIG="$pg_config" LOADER_TMP="$work/out" \
	bash "$work/source/test/run.sh" </dev/null
rc=$?
reports=$(find "$work/reports" -type f | wc -l)
if [ "$reports" != 0 ]; then
	say "== reports"
	grep -hE '(runtime error|ERROR: AddressSanitizer|SUMMARY)' "$work"/reports/* | sort | uniq -c | sort -rn | head -n 60
	mkdir -p "$top/sanitize" && cp "$work"/reports/* "$top/sanitize/" && say "all of them: $top/sanitize"
	rc=1
fi
say "$reports reports"
exit $rc
