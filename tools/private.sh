# shellcheck shell=bash
# tools/private.sh: a copy of PostgreSQL of one's own, for checks that must not touch the installed one.
#
# Sourced, not run. The copy belongs to the user who runs the server, so that he builds, installs,
# serves and writes counters, and no file of one user is in the way of another.
. "$(dirname "${BASH_SOURCE[0]}")/../test/lib.sh"

# private_postgres DIR [PACKAGE...]: install what is needed, copy PostgreSQL into DIR, unless it is
# there, and point pg_config at the copy. PostgreSQL finds its files relative to its programs.
private_postgres()
{
	local to=$1 dir
	shift
	choose_server
	# shellcheck disable=SC2046
	setup $(base_packages) libpq-dev perl libipc-run-perl python3 "$@"
	for dir in --bindir --pkglibdir --sharedir; do
		dir=$(readlink -f "$("$pg_config" $dir)")
		[ -d "$to$dir" ] || { mkdir -p "$to${dir%/*}" && cp -a "$dir" "$to${dir%/*}/"; } || exit 1
	done
	for dir in --includedir --pkgincludedir --includedir-server; do
		dir=$("$pg_config" $dir)
		[ -e "$to$dir" ] || { mkdir -p "$to${dir%/*}" && ln -s "$dir" "$to$dir"; } || exit 1
	done
	pg_config=$to$(readlink -f "$("$pg_config" --bindir)")/pg_config
	[ "$(id -u)" != 0 ] || chown -R "$server_user" "$to"
	[[ $("$pg_config" --pkglibdir) = "$to"/* ]] || die "this PostgreSQL cannot be moved to another directory"
}

# keep_work DIR: instead of make_work, for what goes on where it was stopped: DIR stays.
keep_work()
{
	work=$1
	mkdir -p "$work" && chmod 755 "$work"
	server_user=$(id -un)
	[ "$(id -u)" != 0 ] || { server_user=postgres && chown "$server_user" "$work"; }
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}
