#!/usr/bin/env bash
# test/demo.sh: `make demo`: build, start a throw-away server, load three packages of one pipeline
# and show what came of it. KEEP=1 leaves the server up. See lib.sh for the other variables.
. "$(dirname "$0")/lib.sh"

choose_server
# shellcheck disable=SC2046
setup $(base_packages)
make_work
copy_tree "$top" "$work/tree"
cd "$work/tree" || exit 1
say "building for $("$pg_config" --version) ..."
build_and_install "$work/tree" || exit 1
started=$SECONDS
server_start || die "the server does not start"
export PAGER=cat
psql -X -v ON_ERROR_STOP=1 -v packages="$work/tree/test/packages/append_nested" \
	-f test/demo.sql || die "the demonstration failed"
elapsed=$((SECONDS - started))
printf '\nServer, extension and packages: %d second%s.\n' "$elapsed" "$([ "$elapsed" = 1 ] || echo s)"
