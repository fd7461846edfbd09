# shellcheck shell=bash
# What test and check share: parts that run one after the other, each of which says
# how many passed and failed, and a last line with the totals.  To be sourced after
# lib.sh, by a script that defines show_logs_of(), which shows the logs of a failed
# part.

passed=0
failed=0
finish() {
	[[ -z $work ]] || remove_work
	trap - EXIT
	echo "$passed passed, $failed failed"
	((failed == 0)) || exit 1
	exit 0
}

# How many passed, failed and were skipped, according to the log of a part.  A part
# that is a single test has no counter.
count_unit() {
	awk '/^\[  PASSED  \] [0-9]+ test/ { p += $4 }
		/^\[  FAILED  \] [0-9]+ test/  { f += $4 }
		/^\[  SKIPPED \] [0-9]+ test/  { s += $4 }
		END                            { print p + 0, f + 0, s + 0 }'
}
count_core() {
	awk '/^ok /           { p++ }
		/error: |error:$/ { f++ }
		END               { print p + 0, f + 0, 0 }'
}
count_model() {
	sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2 0/p' | tail -n 1
}
# From PostgreSQL 16 pg_regress writes TAP itself.
count_regress() {
	awk '/ \.\.\. ok/ || /^ok [0-9]/             { p++ }
		/ \.\.\. FAILED/ || /^not ok [0-9]/     { f++ }
		END                                     { print p + 0, f + 0, 0 }'
}
count_tap() {
	awk '/^ok [0-9].*# skip/ || /^1\.\.0 # SKIP/ { s++; next }
		/^not ok [0-9].*# TODO/                 { next }
		/^ok [0-9]/                             { p++ }
		/^not ok [0-9]/                         { f++ }
		/^Bailout called/ || /\(Wstat: .* Failed: 0\)$/ { f++ }
		END                                     { print p + 0, f + 0, s + 0 }'
}

show() {
	local file
	for file in "$@"; do
		[[ -s $file ]] || continue
		echo "--- ${file#"$work"/}, its end"
		grep -Ev '^(ok [0-9]|\[ RUN  |\[       OK )' "$file" | tail -n 80
	done
}

# part NAME COMMAND...
part() {
	local name=$1 start=$SECONDS status=0 p=0 f=0 s=0 note=
	shift
	printf '%-8s ' "$name"
	"$@" >"$work/$name.log" 2>&1 </dev/null || status=$?
	stop_processes
	if declare -F "count_$name" >/dev/null; then
		read -r p f s < <("count_$name" <"$work/$name.log")
	elif ((status == 0)); then
		p=1
	fi
	if ((status != 0 && f == 0)); then
		f=1 note=", exit status $status"
	elif ((p + f == 0)); then
		f=1 note=", for no test was run"
	fi
	((s == 0)) || note+=", $s skipped"
	echo "$p passed, $f failed$note ($((SECONDS - start)) s)"
	passed=$((passed + p))
	failed=$((failed + f))
	((f == 0)) || show_logs_of "$name"
	return $((f > 0))
}

# build DIRECTORY COMPILER [WARNING FLAG]...
build() {
	local dir=$1 cxx=$2
	shift 2
	copy_tree "$dir"
	run as_user make -C "$dir" -j"$(nproc)" PG_CONFIG="$PG_CONFIG" CXX="$cxx" \
		WARNINGS="-Wall -Wextra -Werror $*"
}
