#!/usr/bin/env bash
# bench/run.sh: `make bench`: our loads beside COPY, dlt's own loader and others, each group in one
# run on a throw-away server. Prints tables in markdown; only the ratios mean something.
#
#	GROUP=...	one or several of these, "load targets" if nothing is said:
#	  load		lineitem from dlt packages beside COPY csv, dlt and, if it is installed, pg_bulkload
#	  targets	what loads are to be as fast as: COPY, dlt, an index, many jobs
#	  sizes		what a row costs, by the number of rows: SIZES="200000 2000000 20000000"
#	  memory	what processes take: a csv file of SIZE=10 GB, others of MORE_SIZE=2
#	  neighbour	pgbench beside loads: DURATION=30 s each, SCALE=20, CLIENTS=4, RATE, MAX_RATE
#	  reject	what on_error => 'reject' costs where no row is bad
#	  reject_merge	the same of merges of 600,000 rows (or N), and what they cost with bad ones
#	  client	pipeline.load() by dlt's destination and by ours
#	  swap		what readers see while N rows, and ten times N, are replaced
#	  merge		merges into 1 M rows (N must be that many), and into 3 M and 10 M
#	  queue		1,000 packages queued, 50 sessions that poll the views, 10,000 finished packages
#	  airbyte	messages of Airbyte (N=100000 of them), beside what else takes them to PostgreSQL
#	  or another one of peers.py
#	N=2000000	rows; RUNS=3 times each
#	ONLY=REGEX	only some of the group's peers; GROW=1,3,10: other sizes of merge, in millions
#	LOADER_BENCH	where input, packages and the Python environments are kept between runs
#			(default /tmp/loader-bench)
#	LOADER_TMP	where the server and files that go again are (default /tmp)
#	PYTHON		a Python with dlt[postgres,parquet], psycopg and, beside it, tpchgen-cli
. "$(dirname "$0")/../test/lib.sh"

runs=${RUNS:-3}
keep=${LOADER_BENCH:-/tmp/loader-bench}
only=${ONLY:-.}
read -ra groups <<<"${GROUP:-load targets}"

# rows_of GROUP
rows_of() { echo "${N:-$([ "$1" = airbyte ] && echo 100000 || echo 2000000)}"; }

# packages_of GROUP: what dlt has to make for it.
packages_of()
{
	case $1 in
		swap) echo replace_csv_split ;;
		targets) echo append_{insert_values,csv_plain,csv_split,jsonl} replace_csv_plain events_jsonl ;;
		merge) echo merge_{delete_insert,upsert,scd2}_{csv,insert_values_delta} ;;
		sizes | memory | neighbour) ;;
		*) echo append_{insert_values,csv,csv_plain,jsonl,jsonl_plain} ;;
	esac
}

# settings_of GROUP: of its server, a line each.
settings_of()
{
	case $1 in
		# over TCP everybody on the machine is let in while this runs
		client | airbyte) echo "listen_addresses = 'localhost'" ;;
		queue) printf '%s\n' "max_connections = 100" "max_worker_processes = 24" "loader.max_workers = 8" ;;
		# what a process has touched of them counts as its memory; and the log needs not be kept
		memory) printf '%s\n' "shared_buffers = 64MB" "max_wal_size = 1GB" "autovacuum = off" ;;
		sizes | neighbour | reject_merge) echo "autovacuum = off" ;;
	esac
}

# One Python environment is enough for most groups; sets PYTHON.
prepare_python()
{
	case $1 in
		airbyte)
			make_venv "$keep/singer" meltanolabs-target-postgres==0.8.1 &&
				make_venv "$keep/pyairbyte" --no-deps --only-binary :all: \
					-r "$top/test/airbyte/requirements.txt"
			return
			;;
		queue | reject_merge) [ -n "$own_python" ] || PYTHON=$keep/queue/bin/python ;;
		*) [ -n "$own_python" ] || PYTHON=$keep/venv/bin/python ;;
	esac
	[ -z "$own_python" ] || return 0
	case $1 in
		queue | reject_merge) [ -x "$PYTHON" ] || make_venv "$keep/queue" 'psycopg[binary]' ;;
		*) make_venv "$keep/venv" 'dlt[postgres,parquet]==1.31.0' tpchgen-cli 'psycopg[binary]' ;;
	esac
}

# A server of its own for each group, with its settings.
fresh_server()
{
	local settings
	server_stop
	as_user rm -rf "$work/data" "$work/socket"
	mapfile -t settings < <(settings_of "$1")
	server_start ${settings[@]+"${settings[@]}"} || die "the server does not start"
	new_database bench || exit 1
	dsn="postgresql://postgres:x@localhost/bench?host=$PGHOST&port=$PGPORT"
}

# What dlt's packages are made of, and these; kept.
prepare_packages()
{
	local name group=$1 rows=$2
	say "making $rows rows of lineitem and the packages, where they are not there yet ..."
	if [ ! -s "$data/li_$rows.parquet" ]; then
		PYTHON=$PYTHON TPCHGEN=$(dirname "$PYTHON")/tpchgen-cli EVENTS=0 \
			"$top/bench/make_data.sh" "$data" "$rows" >"$work/data.log" 2>&1 ||
			{ cat "$work/data.log"; return 1; }
	fi
	[ "$group" != targets ] || [ -s "$data/events.jsonl" ] ||
		"$PYTHON" "$top/bench/make_events.py" "$data" 200000 1 || return 1
	for name in $(packages_of "$group"); do
		[ ! -d "$made/$name" ] || continue
		N=$rows "$PYTHON" "$top/bench/make_packages.py" "$data" "$work/made" "$name" \
			2>"$work/packages.log" || { cat "$work/packages.log"; return 1; }
		mkdir -p "$made" && mv "$work/made/$name" "$made/$name" || return 1
	done
	chmod -R a+rX "$keep"
}

# lineitem ROWS: that many rows of csv with a header, in $input; goes again.
lineitem()
{
	input=$work/lineitem.csv
	# 6 M rows are one unit of scale; a unit more, as the number is not exact
	"$(dirname "$PYTHON")/tpchgen-cli" csv -s $(($1 / 6000000 + 1)) --tables=lineitem --stdout \
		2>"$work/data.log" | head -n $(($1 + 1)) >"$input"
	if [ "$(wc -l <"$input")" != $(($1 + 1)) ]; then
		cat "$work/data.log"
		say "tpchgen-cli did not make $1 rows"
		return 1
	fi
	chmod a+r "$input"
}

# has_room BYTES: in $work.
has_room()
{
	local free
	free=$(df -Pk "$work" | awk 'NR == 2 { print $4 }')
	[ $((free * 1024)) -ge "$1" ] ||
		{ say "$work has $((free / 1000000)) GB free, and $(($1 / 1000000000 + 1)) GB are needed: LOADER_TMP names another place"; return 1; }
}

headline() { printf '\n%s\n\n' "$("$pg_config" --version), $(nproc) cores, $*:"; }

# bench_script NAME ARGUMENT...: one of those that load packages of dlt
bench_script()
{
	"$PYTHON" "$top/bench/$1.py" --packages "$made" --dsn "$dsn" --runs "$runs" --only "$only" "${@:2}"
}

run_airbyte()
{
	headline "$1 records, medians of $runs runs"
	"$keep/pyairbyte/bin/python" "$top/bench/messages.py" --data "$keep/airbyte_$1" \
		--dsn "postgresql://postgres:x@localhost:$PGPORT/bench" --venvs "$keep" --n "$1" \
		--connector "$("$pg_config" --bindir)/destination-loader" --runs "$runs" --only "$only"
}

run_queue()
{
	headline "a long queue"
	"$PYTHON" "$top/bench/load.py" --dir "$work/queue" --dsn "$dsn"
}

run_reject_merge()
{
	as_user mkdir -p "$work/rejects" && chmod 755 "$work/rejects" || return
	headline "merges with rejects, medians of ${RUNS:-9} runs"
	"$PYTHON" "$top/bench/reject_merge.py" --dir "$work/rejects" --dsn "$dsn" \
		--runs "${RUNS:-9}" --rows "${N:-600000}"
}

run_sizes()
{
	local n sizes=${SIZES:-200000 2000000 20000000} largest=0 all=0
	for n in $sizes; do
		all=$((all + n))
		[ "$n" -le "$largest" ] || largest=$n
	done
	# 140 bytes a row of input; as much again for a table, and twice for the log
	has_room $((140 * (all + 3 * largest))) && lineitem "$largest" || return 1
	headline "lineitem csv, medians of $runs runs"
	"$PYTHON" "$top/bench/sizes.py" --dsn "$dsn" --tmp "$work" --data "$input" --rows "$sizes" \
		--runs "$runs" --only "$only"
}

run_memory()
{
	lineitem 200000 || return 1
	headline "files of ${SIZE:-10} and ${MORE_SIZE:-2} GB"
	"$PYTHON" "$top/bench/memory.py" --dsn "$dsn" --tmp "$work" --data "$input" \
		--size "${SIZE:-10}" --more "${MORE_SIZE:-2}" --only "$only"
}

run_neighbour()
{
	lineitem "$1" || return 1
	headline "$1 rows of lineitem, medians of $runs runs"
	"$PYTHON" "$top/bench/neighbour.py" --dsn "$dsn" --tmp "$work" --data "$input" --rows "$1" \
		--runs "$runs" --only "$only" --pgbin "$("$pg_config" --bindir)" --seconds "${DURATION:-30}" \
		--scale "${SCALE:-20}" --clients "${CLIENTS:-4}" --rate "${RATE:-0}" --max-rate "${MAX_RATE:-0}"
}

run_packages()
{
	made=$keep/packages_$2
	prepare_packages "$1" "$2" || return 1
	headline "$2 rows of lineitem, medians of $runs runs"
	case $1 in
		swap)
			bench_script swap && printf '\n%s\n\n' "ten times as many rows:" &&
				bench_script swap --times 10
			;;
		targets) bench_script targets --data "$data" --n "$2" --tmp "$work" ;;
		merge)
			bench_script merge --tmp "$work" && printf '\n%s\n\n' "into an analyzed table:" &&
				bench_script merge --tmp "$work" --analyze && say "" &&
				bench_script merge --tmp "$work" --analyze --grow "${GROW:-1,3,10}"
			;;
		*)
			bench_script peers --data "$data" --n "$2" --group "$1" \
				--pgbin "$("$pg_config" --bindir)" --tmp "$work" --python "$PYTHON"
			;;
	esac
}

choose_server
# shellcheck disable=SC2046
setup $(base_packages) python3 python3-venv
make_work
mkdir -p "$keep" || exit 1
data=$keep/data own_python=${PYTHON:-}
for group in "${groups[@]}"; do
	prepare_python "$group" || die "no Python environment"
done
export PYTHONPATH=$top/clients/dlt PYTHONDONTWRITEBYTECODE=1
copy_tree "$top" "$work/tree"
build_and_install "$work/tree" || die "the build failed"
server_conf=$top/bench/postgresql.conf
bad=0
for group in "${groups[@]}"; do
	fresh_server "$group"
	prepare_python "$group"
	rows=$(rows_of "$group")
	[ ${#groups[@]} = 1 ] || printf '\n== %s\n' "$group"
	case $group in
		airbyte) run_airbyte "$rows" ;;
		queue) run_queue ;;
		reject_merge) run_reject_merge ;;
		sizes) run_sizes ;;
		memory) run_memory ;;
		neighbour) run_neighbour "$rows" ;;
		*) run_packages "$group" "$rows" ;;
	esac || { bad=1; say "the group $group has failed"; }
done
exit $bad
