#!/usr/bin/env bash
# bench/run.sh: `make bench`: our load of TPC-H lineitem beside COPY csv and dlt's own loader, in one
# run on a throw-away server. Prints a table in markdown; only the ratios mean something.
#
#	N=2000000	rows; RUNS=3 times each
#	GROUP=load	which peers, see peers.py (client: pipeline.load() by dlt's destination and ours); or
#	GROUP=targets	what loads are to be as fast as: COPY, dlt, an index, many jobs
#	GROUP=reject	what on_error => 'reject' costs where no row is bad; or
#	GROUP=reject_merge	the same of merges, and what they cost with one bad row in a hundred
#	GROUP=swap	what readers see while N rows, and ten times N, are replaced
#	GROUP=merge	merges into 1 M rows (N must be that many), and into 3 M and 10 M
#	GROUP=queue	1,000 packages queued, 50 sessions that poll the views, 10,000 finished packages
#	GROUP=airbyte	messages of Airbyte (N=100000 of them), beside what else takes them to PostgreSQL
#	ONLY=REGEX	only some of the group's peers; GROW=1,3,10: other sizes, in millions
#	LOADER_BENCH	where input, packages and the Python environment are kept between runs
#			(default /tmp/loader-bench)
#	PYTHON		a Python with dlt[postgres,parquet], psycopg and, beside it, tpchgen-cli
. "$(dirname "$0")/../test/lib.sh"

runs=${RUNS:-3} group=${GROUP:-load}
rows=${N:-$([ "$group" = airbyte ] && echo 100000 || echo 2000000)}
keep=${LOADER_BENCH:-/tmp/loader-bench}
only=${ONLY:-.}
case $group in
	swap) packages=(replace_csv_split) ;;
	targets) packages=(append_{insert_values,csv_plain,csv_split,jsonl} replace_csv_plain events_jsonl) ;;
	merge) packages=(merge_{delete_insert,upsert,scd2}_{csv,insert_values_delta}) ;;
	*) packages=(append_insert_values append_csv append_csv_plain append_jsonl append_jsonl_plain) ;;
esac

choose_server
# shellcheck disable=SC2046
setup $(base_packages) python3 python3-venv
make_work
mkdir -p "$keep" || exit 1
if [ "$group" = airbyte ]; then
	make_venv "$keep/singer" meltanolabs-target-postgres==0.8.1 &&
		make_venv "$keep/pyairbyte" --no-deps --only-binary :all: \
			-r "$top/test/airbyte/requirements.txt" || die "no Python environments"
elif [[ $group =~ ^(queue|reject_merge)$ ]]; then
	PYTHON=${PYTHON:-$keep/queue/bin/python}
	[ -x "$PYTHON" ] || make_venv "$keep/queue" 'psycopg[binary]' || die "no Python environment"
elif [ -z "${PYTHON:-}" ]; then
	make_venv "$keep/venv" 'dlt[postgres,parquet]==1.31.0' tpchgen-cli 'psycopg[binary]' ||
		die "no Python environment"
	PYTHON=$keep/venv/bin/python
fi
export PYTHONPATH=$top/clients/dlt

copy_tree "$top" "$work/tree"
build_and_install "$work/tree" || die "the build failed"
server_conf=$top/bench/postgresql.conf
# over TCP everybody on the machine is let in while this runs
more=()
[[ ! $group =~ ^(client|airbyte)$ ]] || more=("listen_addresses = 'localhost'")
# of the queue
[ "$group" != queue ] || more=("max_connections = 100" "max_worker_processes = 24" \
	"loader.max_workers = 8")
server_start "${more[@]}" || die "the server does not start"
new_database bench || exit 1

if [ "$group" = airbyte ]; then
	say "$("$pg_config" --version), $(nproc) cores, $rows records, medians of $runs runs:"
	"$keep/pyairbyte/bin/python" "$top/bench/messages.py" --data "$keep/airbyte_$rows" \
		--dsn "postgresql://postgres:x@localhost:$PGPORT/bench" --venvs "$keep" --n "$rows" \
		--connector "$("$pg_config" --bindir)/destination-loader" --runs "$runs" --only "$only"
	exit
fi

if [ "$group" = queue ]; then
	say "$("$pg_config" --version), $(nproc) cores:"
	"$PYTHON" "$top/bench/load.py" --dir "$work/queue" \
		--dsn "postgresql://postgres:x@localhost/bench?host=$PGHOST&port=$PGPORT"
	exit
fi

if [ "$group" = reject_merge ]; then
	say "$("$pg_config" --version), $(nproc) cores:"
	as_user mkdir -p "$work/rejects" && chmod 755 "$work/rejects" || exit
	"$PYTHON" "$top/bench/reject_merge.py" --dir "$work/rejects" --runs "${RUNS:-9}" ${N:+--rows "$N"} \
		--dsn "postgresql://postgres:x@localhost/bench?host=$PGHOST&port=$PGPORT"
	exit
fi

say "making $rows rows of lineitem and the packages, where they are not there yet ..."
data=$keep/data made=$keep/packages_$rows
if [ ! -s "$data/li_$rows.parquet" ]; then
	PYTHON=$PYTHON TPCHGEN=$(dirname "$PYTHON")/tpchgen-cli EVENTS=0 \
		"$top/bench/make_data.sh" "$data" "$rows" >"$work/data.log" 2>&1 ||
		{ cat "$work/data.log"; exit 1; }
fi
[ "$group" != targets ] || [ -s "$data/events.jsonl" ] ||
	"$PYTHON" "$top/bench/make_events.py" "$data" 200000 1 || exit 1
for name in "${packages[@]}"; do
	[ ! -d "$made/$name" ] || continue
	N=$rows "$PYTHON" "$top/bench/make_packages.py" "$data" "$work/made" "$name" \
		2>"$work/packages.log" || { cat "$work/packages.log"; exit 1; }
	mkdir -p "$made" && mv "$work/made/$name" "$made/$name"
done
chmod -R a+rX "$keep"

say ""
say "$("$pg_config" --version), $(nproc) cores, $rows rows of lineitem, medians of $runs runs:"
say ""
dsn="postgresql://postgres:x@localhost/bench?host=$PGHOST&port=$PGPORT"
script() { "$PYTHON" "$top/bench/$1.py" --packages "$made" --dsn "$dsn" --runs "$runs" --only "$only" "${@:2}"; }
case $group in
	swap)
		script swap && say "" && say "ten times as many rows:" && say "" && script swap --times 10
		;;
	targets) script targets --data "$data" --n "$rows" --tmp "$work" ;;
	merge)
		script merge --tmp "$work" && say "" && say "into an analyzed table:" && say "" &&
			script merge --tmp "$work" --analyze && say "" &&
			script merge --tmp "$work" --analyze --grow "${GROW:-1,3,10}"
		;;
	*)
		script peers --data "$data" --n "$rows" --group "$group" \
			--pgbin "$("$pg_config" --bindir)" --tmp "$work" --python "$PYTHON"
		;;
esac
