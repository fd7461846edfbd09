# shellcheck shell=bash
# Part 4, continued: how many instructions the hot paths take, in a server under
# callgrind.  The number depends only on the code and the compiler, so that a change
# that adds some shows where nanoseconds would be lost in the noise.

bench_packages+=(valgrind)

counted=(snowflake_next snowflake_next_count snowflake_timestamp snowflake_decode nextval_oid)
counted_calls=20000

measure_instructions() {
	progress instructions "starting a server under valgrind"
	new_cluster instructions "snowflake.max_ahead = 1h"
	as_user valgrind -q --tool=callgrind --trace-children=yes --collect-atstart=no \
		"${counted[@]/#/--toggle-collect=}" --callgrind-out-file="$work/callgrind.%p" \
		"$bindir/postgres" -D instructions >"$work/instructions.log" 2>&1 </dev/null &

	local tries=0
	until as_user "$bindir/pg_isready" -q -h "$work/instructions"; do
		((tries++ < 300)) || fail "no server under valgrind: $(tail -n 40 "$work/instructions.log")"
		sleep 0.2
	done
	sql_on instructions -c "CREATE EXTENSION snowflake" -c "CREATE SEQUENCE seq"

	local n=$counted_calls
	{
		count_instructions snowflake_next "SELECT count(snowflake_next()) FROM generate_series(1, $n)"
		count_instructions snowflake_next_count "SELECT count(id) FROM (SELECT snowflake_next($n)) AS ids (id)"
		count_instructions snowflake_timestamp "SELECT count(snowflake_timestamp(id)) FROM generate_series(1, $n) AS id"
		count_instructions snowflake_decode "SELECT count(snowflake_decode(id)) FROM generate_series(1, $n) AS id"
		count_instructions nextval_oid "SELECT count(nextval('seq')) FROM generate_series(1, $n)"
	} >"$work/instructions.tsv"
	stop_cluster instructions
	load_samples <"$work/instructions.tsv"
	progress_done instructions "${#counted[@]} functions"
}

# count_instructions FUNCTION QUERY
#
# A backend writes its file when it exits.  Code that reads the system clock is left
# out: how often that happens does depend on time.
count_instructions() {
	local pid file tries=0
	progress instructions "$1"
	pid=$(sql_on instructions -c "SELECT pg_backend_pid()" -c "$2")
	pid=${pid%%$'\n'*}
	file=$work/callgrind.$pid
	until grep -qs '^totals:' "$file"; do
		((tries++ < 600)) || fail "callgrind wrote no $file: $(tail -n 40 "$work/instructions.log")"
		sleep 0.1
	done
	as_user callgrind_annotate --inclusive=yes --threshold=100 "$file" | tr -d , |
		awk -v OFS='\t' -v function_name="$1" -v calls="$counted_calls" '
			/PROGRAM TOTALS/         { total = $1 }
			/BasicClock<.*>::read\(/ { clock = $1 }
			END { print "instructions", function_name, 0, "count", 1, (total - clock) / calls }'
}

# The compiler, as in the recorded file.
compiler() { echo "$(g++ -dumpfullversion) $(g++ -dumpmachine)"; }

report_instructions() {
	local recorded=$top/bench/results/instructions.tsv
	{
		echo "g++ $(compiler)"
		sql -c "SELECT series, round(value) FROM sample WHERE part = 'instructions' ORDER BY series"
	} >"$work/instructions.recorded"
	echo "## Instructions"
	echo
	echo "Instructions per call inside of the function, counted by callgrind in a server; g++ $(compiler)."
	echo "The read of the system clock, once per millisecond, is not counted; the way to it adds or saves a few instructions."
	echo
	if [[ -f $recorded ]]; then
		echo "| function | instructions | recorded before |"
		echo "| --- | ---: | ---: |"
		awk -F '\t' 'NR == FNR { before[$1] = $2; next } NF == 2 { printf "| %s | %s | %s |\n", $1, $2, before[$1] }' \
			"$recorded" "$work/instructions.recorded"
		[[ $(head -n 1 "$recorded") == "$(head -n 1 "$work/instructions.recorded")" ]] ||
			printf '\nRecorded with %s.\n' "$(head -n 1 "$recorded")"
	else
		echo "| function | instructions |"
		echo "| --- | ---: |"
		awk -F '\t' 'NF == 2 { printf "| %s | %s |\n", $1, $2 }' "$work/instructions.recorded"
	fi
	echo
}
