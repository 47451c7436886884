#!/usr/bin/env bash
# test/fuzz/long.sh: run the fuzz targets with libFuzzer, under address and undefined-behaviour
# sanitizers, one after the other: make fuzz-long [TARGET='csv jsonl'] [MINUTES=20]
#
# MINUTES are of CPU time and for each target. The corpus that is in the repository is where a run
# begins; what it finds goes to FUZZ_DIR (default: test/fuzz/build), where the next run goes on from
# it. Each target ends with a line that says what it did; results.txt there keeps them all. A
# finding is made small and kept in FUZZ_DIR/TARGET/found; then the status is 1.
#
#	EDGES=1		afterwards write the smallest inputs that reach all edges into the corpus of the
#			repository, edges.hex; with MINUTES=0 do nothing else
#	CLANG=...	which compiler; else clang, which is installed where it is missing
. "$(dirname "$0")/../lib.sh"
fuzz=$top/test/fuzz
dir=${FUZZ_DIR:-$fuzz/build}
minutes=${MINUTES:-20}

# In the order of what hostile input could do there.
order="insert_values jsonl csv airbyte archive schema codec airbyte_catalog"

# find_clang: sets $clang to one that comes with libFuzzer
find_clang()
{
	local c
	for c in "${CLANG:-clang}" clang-{19,18,17,16,15,14}; do
		command -v "$c" >/dev/null || continue
		echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d[n] == 0; }' |
			"$c" -x c -fsanitize=fuzzer,address,undefined - -o /dev/null 2>/dev/null || continue
		clang=$c
		return
	done
	return 1
}

# The named targets, or all: those of $order first.
targets()
{
	local t
	[ -z "${TARGET:-}" ] || { echo "$TARGET"; return; }
	for t in $order; do [ ! -f "$fuzz/fuzz_$t.c" ] || echo "$t"; done
	for t in "$fuzz"/fuzz_*.c; do
		t=${t##*/fuzz_}
		[[ " $order " == *" ${t%.c} "* ]] || echo "${t%.c}"
	done
}

# options TARGET: how long an input may be, and the words of its language
options()
{
	local dict=$1 len=4096
	case $1 in
		archive) len=32768 ;;
		codec) len=8192 ;;
		job_name | spool_name) dict=names len=512 ;;
	esac
	echo "-max_len=$len"
	[ ! -f "$fuzz/dict/$dict.dict" ] || echo "-dict=$fuzz/dict/$dict.dict"
}

# cpu_seconds FILE: user and system time, as `time` wrote them
cpu_seconds() { awk '{ printf "%d\n", $1 + $2 + 0.5 }' "$1"; }

# What a run said last of: executions; edges; features.
executions() { sed -n 's/^stat::number_of_executed_units: *//p' "$1" | tail -n 1; }
reached() { grep -oE "\b$2: [0-9]+" "$1" | tail -n 1 | sed 's/.* //'; }

# found TARGET PROGRAM: make each finding small
found()
{
	local f
	for f in "$dir/$1"/found/{crash,leak,timeout,oom}-*; do
		[ -f "$f" ] || continue
		say "$1: FOUND $f"
		case $f in
			*.small | */timeout-* | */oom-*) continue ;;
		esac
		"$2" -minimize_crash=1 -max_total_time=60 -exact_artifact_path="$f.small" "$f" >/dev/null 2>&1
	done
}

# unpack_edges DIRECTORY: what edges.hex there holds, as files in $seeds
unpack_edges()
{
	rm -rf "$seeds"
	mkdir -p "$seeds"
	[ ! -f "$1/edges.hex" ] || seeds=$seeds perl -ne 'chomp; open(my $f, ">", "$ENV{seeds}/$.") or die;
		binmode $f; print $f pack("H*", $_)' "$1/edges.hex"
}

# write_edges NAME: of all inputs the few that reach, beyond the named ones, every edge
write_edges()
{
	local work=$dir/$1 named=$fuzz/corpus/$1
	rm -rf "$work/edges" "$work/small"
	mkdir "$work/edges" "$work/small"
	find "$named" -type f ! -name edges.hex -exec cp -t "$work/edges" {} +
	find "$work/corpus" "$seeds" -type f -size -3 -exec cp -t "$work/small" {} +
	"$build/libfuzzer/fuzz_$1" -use_counters=0 -merge=1 "$work/edges" "$work/small" \
		>"$work/merge.log" 2>&1 || return
	(cd "$work/edges" && for f in *; do [ -f "$named/$f" ] || printf '%s\n' "$f"; done) |
		edges=$work/edges perl -ne 'chomp; open(my $f, "<", "$ENV{edges}/$_") or die; binmode $f;
			print unpack("H*", join "", <$f>), "\n"' | LC_ALL=C sort -u >"$work/edges.hex"
	cp "$work/edges.hex" "$named/edges.hex"
	say "$1: $(wc -l <"$named/edges.hex") inputs in edges.hex"
}

# fuzz_target NAME: slices of time until the CPU time is used up, as the machine may be busy
fuzz_target()
{
	local bin=$build/libfuzzer/fuzz_$1 work=$dir/$1 log=$dir/$1/log used=0 runs=0 n rc=0
	local seeds=$dir/$1/seeds
	local seconds=$((minutes * 60)) opts
	mapfile -t opts < <(options "$1")
	mkdir -p "$work/corpus" "$work/found"
	unpack_edges "$fuzz/corpus/$1"
	[ "$minutes" != 0 ] || { write_edges "$1"; return; }
	TIMEFORMAT='%U %S'
	while [ $used -lt $seconds ] && [ $rc = 0 ]; do
		n=$((seconds - used < 300 ? seconds - used : 300))
		{ time "$bin" "${opts[@]}" -max_total_time=$n -timeout=60 -rss_limit_mb=1500 \
			-print_final_stats=1 -reload=0 -artifact_prefix="$work/found/" \
			"$work/corpus" "$fuzz/corpus/$1" "$seeds" >"$log" 2>&1; } 2>"$work/time"
		rc=$?
		n=$(cpu_seconds "$work/time")
		used=$((used + (n > 0 ? n : 1)))
		n=$(executions "$log")
		runs=$((runs + ${n:-0}))
	done
	say "$1: $((used / 60)).$((used % 60 / 6)) CPU minutes, $runs executions," \
		"$(reached "$log" cov) edges, $(reached "$log" ft) features," \
		"corpus of $(find "$work/corpus" -type f | wc -l) new files," \
		"$(find "$work/corpus" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }') bytes" |
		tee -a "$dir/results.txt"
	[ -z "${EDGES:-}" ] || write_edges "$1"
	[ $rc != 0 ] || return 0
	say "$1: status $rc, see $log"
	grep -E 'ERROR|SUMMARY|differs|runtime error' "$log" | head -n 5
	found "$1" "$bin"
	return 1
}

if ! find_clang; then
	[ -z "${NO_INSTALL:-}" ] || die "missing: clang with libFuzzer and sanitizers"
	say "installing: clang"
	apt_install clang
	find_clang || apt_install libclang-rt-dev
	find_clang || die "no clang with libFuzzer and sanitizers"
fi
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
build=$dir/objects
make -s -C "$top/test/unit" "$(make_jobs)" BUILD="$build" CC="$clang" LIBFUZZER=1 fuzzers || exit 1
status=0
for target in $(targets); do
	fuzz_target "$target" || status=1
done
exit $status
