# shellcheck shell=bash
# test/lib.sh: what demo, test, matrix and bench share: set-up, build, a throw-away server.
#
# Sourced, not run. As root everything but installation is done by an unprivileged user, because
# the server refuses to run as root; as an ordinary user installation goes through sudo.
#
#	NO_INSTALL=1	say what is missing instead of installing it
#	KEEP=1		leave the server and its directory, print how to connect
#	PG_CONFIG=...	which server; else 15, else what the distribution offers

set -u
umask 022
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

as_root()
{
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# --- set-up -------------------------------------------------------------------------------------

apt_updated=

# Bring the package lists up to date, once and only if somebody needs it.
apt_refresh()
{
	[ -z "$apt_updated" ] || return 1
	apt_updated=1
	as_root apt-get -q -o DPkg::Lock::Timeout=120 update >/dev/null
}

apt_has()
{
	apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [^(]'
}

apt_install()
{
	local p
	command -v apt-get >/dev/null || return 1
	for p; do apt_has "$p" || apt_refresh; done
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
		-o DPkg::Lock::Timeout=120 install "$@" >/dev/null </dev/null && return
	apt_refresh || return 1		# the lists may name a version that is gone
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
		-o DPkg::Lock::Timeout=120 install "$@" >/dev/null </dev/null
}

# Choose the server: sets pg_config (which may not exist yet) and pg_major.
choose_server()
{
	local found
	if [ -n "${PG_CONFIG:-}" ]; then
		pg_config=$PG_CONFIG
		"$pg_config" --version >/dev/null || die "PG_CONFIG=$PG_CONFIG does not work"
		pg_major=$("$pg_config" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
		return
	fi
	found=$(find /usr/lib/postgresql -path '*/bin/postgres' 2>/dev/null |
		sed 's,^/usr/lib/postgresql/\([0-9]*\)/.*,\1,' | sort -n | tail -n 1)
	if [ -x /usr/lib/postgresql/15/bin/postgres ]; then
		pg_major=15
	elif [ -n "$found" ]; then
		pg_major=$found
	elif command -v apt-cache >/dev/null; then
		apt_has postgresql || { [ -z "${NO_INSTALL:-}" ] && apt_refresh; }
		pg_major=15
		apt_has postgresql-15 || pg_major=$(apt-cache depends postgresql 2>/dev/null |
			sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1)
	fi
	[ -n "${pg_major:-}" ] || die "no PostgreSQL found: install one and set PG_CONFIG"
	pg_config=/usr/lib/postgresql/$pg_major/bin/pg_config
}

has_header() { echo "#include <$1>" | cc -E - >/dev/null 2>&1; }
has_perl() { perl -M"$1" -e 1 2>/dev/null; }
has_venv() { python3 -c 'import venv, ensurepip' 2>/dev/null; }
has_server_header() { [ -f "$("$pg_config" --includedir-server 2>/dev/null)/postgres.h" ]; }
has_server() { [ -x "$("$pg_config" --bindir 2>/dev/null)/$1" ]; }
has_extension() { [ -f "$("$pg_config" --sharedir 2>/dev/null)/extension/$1.control" ]; }

# Print the Debian packages of the list that are not there, in the words of a probe each: other
# distributions have the same things under other names.
missing_of()
{
	local what
	for what; do
		case $what in
			gcc) command -v cc >/dev/null ;;
			make | perl | python3) command -v "$what" >/dev/null ;;
			libc6-dev) has_header stdio.h ;;
			libjansson-dev) has_header jansson.h ;;
			libpq-dev) [ -f "$("$pg_config" --includedir 2>/dev/null)/libpq-fe.h" ] ;;
			zlib1g-dev) has_header zlib.h ;;
			libzstd-dev) has_header zstd.h ;;
			libarchive-dev) has_header archive.h ;;
			libisal-dev) has_header isa-l/igzip_lib.h ;;
			libipc-run-perl) has_perl IPC::Run ;;
			python3-venv) has_venv ;;
			postgresql-server-dev-*) has_server_header ;;
			postgresql-client-*) has_server psql ;;
			postgresql-*-cron) has_extension pg_cron ;;
			postgresql-*-postgis-*) has_extension postgis ;;
			postgresql-[0-9]*) has_server postgres ;;
			*) false ;;
		esac || echo "$what"
	done
}

# setup NEEDED... [-- WANTED...]: install what is missing. Without a needed thing we cannot go on; a
# wanted one that cannot be had makes a test skip itself. Every build wants libisal-dev, which makes
# reading gzip faster.
setup()
{
	local needed=() wanted=(libisal-dev) list missing
	while [ $# -gt 0 ] && [ "$1" != -- ]; do needed+=("$1"); shift; done
	[ $# -eq 0 ] || { shift; wanted+=("$@"); }
	for list in needed wanted; do
		local -n names=$list
		mapfile -t missing < <(missing_of ${names[@]+"${names[@]}"})
		[ ${#missing[@]} -gt 0 ] || continue
		if [ -n "${NO_INSTALL:-}" ]; then
			say "missing ($list): ${missing[*]}"
			[ $list = wanted ] || setup_failed=1
			continue
		fi
		say "installing: ${missing[*]}"
		apt_install "${missing[@]}"
		mapfile -t missing < <(missing_of "${names[@]}")
		[ ${#missing[@]} -gt 0 ] || continue
		say "cannot be installed ($list): ${missing[*]}"
		[ $list = wanted ] || setup_failed=1
	done
	[ -z "${setup_failed:-}" ] || exit 1
}

# The needed packages of every script.
base_packages()
{
	echo "gcc make libc6-dev libjansson-dev zlib1g-dev libzstd-dev libarchive-dev" \
		"postgresql-$pg_major postgresql-client-$pg_major postgresql-server-dev-$pg_major"
}

# --- work directory and user --------------------------------------------------------------------

# Make $work, which the server's user owns and everybody may read, and see to its end.
make_work()
{
	work=$(mktemp -d "${LOADER_TMP:-/tmp}/loader.XXXXXX") || exit 1
	chmod 755 "$work"
	server_user=$(id -un)
	if [ "$(id -u)" = 0 ]; then
		server_user=postgres
		id postgres >/dev/null 2>&1 || useradd --system --no-create-home postgres ||
			die "cannot create a user for the server: it does not run as root"
		chown "$server_user" "$work"
	fi
	trap clean_up EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# as_user COMMAND...: as the server's user; for at most $limit seconds where that is set.
as_user()
{
	[ -z "${limit:-}" ] || set -- timeout -k 10 "$limit" "$@"
	[ "$(id -u)" != 0 ] || set -- runuser -u "$server_user" -- env HOME="$work" "$@"
	"$@"
}

# copy_tree FROM TO: sources only, readable by the server's user and owned by it.
copy_tree()
{
	mkdir -p "$2"
	tar -C "$1" --exclude=./.git --exclude='*.o' --exclude='*.d' --exclude='*.so' \
		--exclude=./src/.build --exclude='./test/*/build' --exclude=./bench/work \
		--exclude=./tmp_check -cf - . | tar -C "$2" -xf -
	chmod -R u+w,a+rX "$2"
	[ "$(id -u)" != 0 ] || chown -R "$server_user" "$2"
}

make_jobs() { echo "-j$(nproc 2>/dev/null || echo 2)"; }

# build_and_install TREE: build as the server's user where it owns the tree, install as root. PGXS has
# a NO_INSTALL of its own, with which it would install nothing.
build_and_install()
{
	as_user make -C "$1" -s "$(make_jobs)" PG_CONFIG="$pg_config" WERROR="${WERROR:-0}" &&
		install_built make -C "$1" -s install NO_INSTALL= PG_CONFIG="$pg_config" \
			WERROR="${WERROR:-0}"
}

# install_built COMMAND...: install what was built, and say where that goes.
install_built()
{
	local dir
	dir=$("$pg_config" --pkglibdir)
	say "installing into $dir, which every cluster of this server uses"
	as_installer "$@" && return
	say "built, but cannot be installed into $dir:" \
		"run as root, or name a server of yours with PG_CONFIG"
	return 1
}

# as_installer COMMAND...: as a user who may write into the server's directories.
as_installer()
{
	if [ -w "$("$pg_config" --pkglibdir)" ]; then
		"$@"
	else
		as_root env ${PGHOST:+PGHOST="$PGHOST" PGPORT="$PGPORT" PGUSER="$PGUSER"} "$@"
	fi
}

# --- throw-away server --------------------------------------------------------------------------

export PGCTLTIMEOUT=${PGCTLTIMEOUT:-180}	# on a slow machine the server takes its time

# server_start [SETTING=VALUE...]: a new cluster in $work, on a Unix socket only. Sets PGHOST,
# PGPORT, PGUSER, PGDATABASE for everything that follows. Settings: $server_conf.
server_start()
{
	local bin
	bin=$("$pg_config" --bindir)
	# The socket's directory keeps others out: whoever reaches the socket is a superuser here.
	as_user mkdir -m 700 "$work/socket"
	as_user "$bin/initdb" -D "$work/data" -U postgres -A trust -E UTF8 --locale=C \
		--no-sync >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log"; return 1; }
	{
		echo "listen_addresses = ''"
		echo "port = 5432"
		echo "unix_socket_directories = '$work/socket'"
		cat "${server_conf:-$top/test/postgresql.conf}"
		[ $# -eq 0 ] || printf '%s\n' "$@"
	} | as_user tee -a "$work/data/postgresql.conf" >/dev/null
	server_data=$work/data
	as_user "$bin/pg_ctl" -D "$server_data" -l "$work/server.log" -w -s start ||
		{ tail -n 30 "$work/server.log"; return 1; }
	export PGHOST=$work/socket PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	PATH=$bin:$PATH
}

# A database of its own with the extension in it: new_database NAME
new_database()
{
	psql -X -q -c "CREATE DATABASE $1" && psql -X -q -d "$1" -c 'CREATE EXTENSION loader'
}

server_stop()
{
	[ -n "${server_data:-}" ] && [ -f "$server_data/postmaster.pid" ] || return 0
	as_user "$("$pg_config" --bindir)/pg_ctl" -D "$server_data" -m immediate -w -s stop
}

# At exit, whatever the reason: stop the server and remove $work, or leave both.
clean_up()
{
	local rc=$?
	trap - EXIT
	if [ -n "${KEEP:-}" ]; then
		say "kept: $work (remove it by hand, after the server was stopped)"
		[ ! -f "${server_data:-/nonexistent}/postmaster.pid" ] || {
			say "connect:  psql -h $PGHOST -p $PGPORT -U $PGUSER -d $PGDATABASE"
			say "stop:     $([ "$(id -u)" != 0 ] || echo "runuser -u $server_user -- ")$("$pg_config" --bindir)/pg_ctl -D $server_data -m fast stop"
		}
	else
		server_stop
		rm -rf "$work"
	fi
	exit $rc
}

# make_venv DIR PACKAGE...: a Python environment with these packages; what pip says only on failure.
make_venv()
{
	local dir=$1
	shift
	[ -x "$dir/bin/python" ] || python3 -m venv "$dir" >"$work/venv.log" 2>&1 ||
		{ cat "$work/venv.log"; return 1; }
	"$dir/bin/pip" install -q --disable-pip-version-check "$@" >"$work/venv.log" 2>&1 ||
		{ cat "$work/venv.log"; return 1; }
}
