#!/usr/bin/env bash
# test/demo.sh: `make demo`: build, start a throw-away server, load packages that append, replace
# and merge, and show what came of it. KEEP=1 leaves the server up. See lib.sh for the other
# variables.
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
packages=$work/tree/test/packages

# A copy of a package under another name is another package: enough of them to read meanwhile. Not
# its appended rows, whose unique ids would be there already.
replace_copies()
{
	local n=0 package copy
	mkdir "$work/copies"
	while [ $n -lt 30 ]; do
		for package in 1795377788.7219872 1795377789.1019075 1795377789.7673; do
			n=$((n + 1))
			copy=$work/copies/1795377790.$(printf '%02d' $n)
			cp -r "$packages/replace_optimized/$package" "$copy"
			rm -f "$copy/new_jobs/log."*
		done
	done
}

show() { psql -X -v ON_ERROR_STOP=1 "$@" || die "the demonstration failed"; }

show -v packages="$packages/append_nested" -f test/demo.sql
replace_copies
show -v packages="$packages" -v copies="$work/copies" -f test/demo_replace.sql
elapsed=$((SECONDS - started))
printf '\nServer, extension and packages: %d second%s.\n' "$elapsed" "$([ "$elapsed" = 1 ] || echo s)"
