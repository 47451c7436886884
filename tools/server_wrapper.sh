# shellcheck shell=bash
# tools/server_wrapper.sh: let every server of a private copy of PostgreSQL run under something.
#
# Sourced after private.sh. wrap_server COMMAND...: what `postgres` of $pg_config does from now on;
# "postgres.real" in it stands for the program.
wrap_server()
{
	local bin
	bin=$("$pg_config" --bindir)
	[ -e "$bin/postgres.real" ] || mv "$bin/postgres" "$bin/postgres.real"
	{
		echo '#!/bin/bash'
		# what initdb and pg_ctl ask for
		echo "case \$1 in -V | --version | -C | --check | --boot | --single) exec -a \"\$0\" $bin/postgres.real \"\$@\" ;; esac"
		echo "exec ${*//postgres.real/$bin/postgres.real} \"\$@\""
	} >"$bin/postgres"
	chmod 755 "$bin/postgres"
	[ "$(id -u)" != 0 ] || chown "$server_user" "$bin/postgres"
}
