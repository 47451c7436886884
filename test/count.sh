# shellcheck shell=bash
# test/count.sh: steps of a test run, each with a counted result, and their sum.
#
# A step is a shell function step_NAME. What it prints is shown and kept; a last line
# "N passed, N failed[, N skipped]" is its count. Without one it counts as one test. A step that
# ends with an error and admits no failure has one failure more: it crashed.

passed=0 failed=0 skipped=0
results=() bad_items=()

# From within a step: stop it here, for this reason.
skip_step() { say "skipped: $*"; exit 77; }

# run_step NAME TITLE: run step_NAME in a subshell, so that nothing it does ends the run; what a
# build must leave behind for others it leaves in variables, so that step runs in this shell.
run_step()
{
	local name=$1 title=$2 log=$work/step_$1.log rc started=$SECONDS counts p f s
	[[ $name =~ ${ONLY:-.} || $name = build ]] || return 0
	say "== $title"
	if [ "$name" = build ]; then
		step_build >"$log" 2>&1 </dev/null
		rc=$?
		cat "$log"
	else
		("step_$name") </dev/null 2>&1 | tee "$log"
		rc=${PIPESTATUS[0]}
	fi
	counts=$(grep -aE '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$log" | tail -n 1)
	if [ "$rc" = 77 ]; then
		p=0 f=0 s=1
	elif [ -n "$counts" ]; then
		read -r p f s < <(sed 's/[^0-9 ]//g' <<<"$counts")
		s=${s:-0}
		[ "$rc" = 0 ] || [ "$f" -gt 0 ] || f=1
	elif [ "$rc" = 0 ]; then
		p=1 f=0 s=0
	else
		p=0 f=1 s=0
	fi
	[ "$f" = 0 ] || note_failures "$title" "$log" "$f"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	results+=("$(printf '%-45s %5d passed %5d failed %5d skipped %5d s' "$title" "$p" "$f" "$s" \
		$((SECONDS - started)))")
	[ "$rc" = 0 ] || [ "$rc" = 77 ] || say "step ended with status $rc"
	say ""
}

# note_failures TITLE LOG N: keep the names of what failed in a step, as far as it printed them in
# one of the usual forms, for the end.
note_failures()
{
	local names name
	names=$(sed -nE -e 's/^not ok [0-9]+ *-? *([^#]*[^ #]).*/\1/p' \
		-e 's/^(test|     ) *([^ ]+) +\.\.\. FAILED.*/\2/p' \
		-e 's/^(FAIL|FAILED|failed):? +(.*)/\2/p' "$2" | cut -c 1-120 | head -n 20)
	[ -n "$names" ] || names="$3 failed"
	while read -r name; do
		bad_items+=("$1: $name")
	done <<<"$names"
}

# count_regress LOG: pg_regress and pg_isolation_regress, before 16 ("test x ... ok") and since (TAP).
count_regress()
{
	awk '
		/^(test|     ) *[^ ]+ +\.\.\. ok/ || /^ok [0-9]/ { ok++; next }
		/^(test|     ) *[^ ]+ +\.\.\. FAILED/ || /^not ok [0-9]/ { bad++; print; next }
		/could not|error:|Error [0-9]|FATAL/ { print }
		END { printf "%d passed, %d failed\n", ok, bad }' "$1"
}

# count_tap LOG: prove --verbose; subtests are indented and count as the one they belong to. A line
# per file with its count, and lines for what failed or was skipped.
count_tap()
{
	awk '
		function file_end() {
			if (file != "")
				printf "%-30s %4d passed, %d failed\n", file, ok - ok_before, bad - bad_before
			file = ""; ok_before = ok; bad_before = bad
		}
		/^ok [0-9].*# [Ss][Kk][Ii][Pp]/ { skip++; sub(/.*# [Ss][Kk][Ii][Pp] */, ""); print "skipped: " $0; next }
		/^1\.\.0 # [Ss][Kk][Ii][Pp]/ { skip++; sub(/^1\.\.0 # [Ss][Kk][Ii][Pp] */, ""); print "skipped: " $0; next }
		/^ok [0-9]/ { ok++; next }
		/^not ok [0-9]/ { bad++; print; next }
		/^  (Parse errors|Non-zero exit status): / { died = 1; print; next }
		/^(\[.*\] )?test\/t\/.*\.pl \.+/ { file_end(); file = $0; sub(/^\[[^]]*\] /, "", file); sub(/ \..*/, "", file); next }
		/^Test Summary Report|^All tests successful/ { file_end() }
		END { file_end(); printf "%d passed, %d failed, %d skipped\n", ok, bad + !!(died && !bad), skip }' "$1"
}

# The table of steps, and the last line. Also into $LOADER_SUMMARY, for a caller that wants it last.
summary()
{
	local line="$passed passed, $failed failed"
	[ "$skipped" = 0 ] || line="$line, $skipped skipped"
	say "== summary"
	printf '%s\n' "${results[@]}"
	[ ${#bad_items[@]} = 0 ] || printf 'failed: %s\n' "${bad_items[@]}"
	[ -z "${LOADER_SUMMARY:-}" ] || echo "$line" >"$LOADER_SUMMARY"
	server_stop
	say "$line"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
	exit
}
