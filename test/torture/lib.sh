# shellcheck shell=bash
# test/torture/lib.sh: how the torture test is set up. Sourced after test/lib.sh, with a normal build
# installed. As root it gets two small file systems, which are there for it alone and go with it: one
# for a tablespace, one for WAL. Where they cannot be had, full disks are errors at fault points.

# torture PYTHON DIR: with SEED and FAULTS from the environment. PYTHON has psycopg; DIR is made.
torture()
{
	local python=$1 dir=$2 more=() inside=()
	mkdir -p "$dir"/{small,wal,packages,library} && copy_tree "$top" "$dir/tree" || return
	as_user make -C "$dir/tree" -s "$(make_jobs)" PG_CONFIG="$pg_config" WERROR="${WERROR:-0}" \
		FAULTS=1 PROFILE=-O1 loader.so || return
	cp "$dir/tree/loader.so" "$dir/library/" || return
	grep -aq ldr_fault "$dir/library/loader.so" || {
		say "the build for faults has none"
		return 1
	}
	[ "$(id -u)" != 0 ] || {
		chown "$server_user" "$dir"
		more+=(--user "$server_user")
	}
	if [ "$(id -u)" = 0 ] && unshare -m mount -t tmpfs tmpfs "$dir/small" 2>/dev/null; then
		inside=(unshare -m bash -c 'mount -t tmpfs -o size=192m tmpfs "$1/small" &&
			mount -t tmpfs -o size=96m tmpfs "$1/wal" && chown "$2" "$1/small" "$1/wal" &&
			shift 2 && exec "$@"' - "$dir" "$server_user")
		more+=(--small "$dir/small" --wal "$dir/wal")
	fi
	PYTHONDONTWRITEBYTECODE=1 "${inside[@]}" timeout -k 60 "${limit:-14400}" "$python" \
		"$dir/tree/test/torture/torture.py" --work "$dir" --bindir "$("$pg_config" --bindir)" \
		--library "$dir/library" --source "$dir/tree" "${more[@]}"
}
