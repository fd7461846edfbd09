# shellcheck shell=bash
# Part 4, the limit: the core without a server, against the least that an ID could
# cost on this machine.

bench_packages+=(libbenchmark-dev)

measure_core() {
	progress core "compiling"
	logged as_user g++ -std=c++20 -O2 -fno-exceptions -fno-rtti -I build/src -o core \
		build/bench/core.cpp -lbenchmark -pthread
	progress core "running"
	run as_user ./core --benchmark_format=csv --benchmark_enable_random_interleaving=true \
		--benchmark_repetitions="$(by_size 3 15 40)" --benchmark_min_time="$(by_size 0.01 0.05 0.1)" \
		>"$work/core.csv" 2>"$work/log" </dev/null || fail "$(tail -n 40 "$work/log")"

	# A thread alone is measured by its processor time, so that whatever else runs
	# here does not count; several are measured by the time until all are done.
	tr -d '"' <"$work/core.csv" | awk -F, -v OFS='\t' '
		$1 == "name" || $1 ~ /_(mean|median|stddev|cv)$/ { next }
		{
			split($1, name, "/"); threads = 1; value = $4
			if (name[2] == "real_time") { split(name[3], t, ":"); threads = t[2]; value = $3 }
			if (name[1] == "claim_256") value /= 256
			print "core", name[1], threads, "ns", ++round[$1], value
		}' >"$work/core.tsv"
	load_samples <"$work/core.tsv"
	progress_done core "$(wc -l <"$work/core.tsv") runs"
}

# swap_ratio SERIES: the least that an ID could cost, in terms of another call
swap_ratio() {
	sql -c "SELECT round((min(value) / $(over_empty "$1"))::numeric, 3)
	          FROM sample WHERE part = 'core' AND x = 1 AND series = 'counter_and_swap'"
}

report_core() {
	compared "the core's claim / a counter read and a compare-and-swap" "$(
		sql -c "SELECT round((min(value) FILTER (WHERE series = 'claim') / min(value) FILTER (WHERE series = 'counter_and_swap'))::numeric, 2)
		          FROM sample WHERE part = 'core' AND x = 1"
	)"
	if [[ " ${parts[*]} " == *' one_call '* ]]; then
		compared 'a counter read and a compare-and-swap, which is the least a generator can cost / clock_timestamp()' "$(swap_ratio 'clock_timestamp()')"
		compared 'the same / nextval' "$(swap_ratio 'nextval, cache 1')"
	fi
	cat <<-'TEXT'
		## The limit

		The core in a loop, without a server. `counter_and_swap` is the least that an ID can cost: a read of
		the time-stamp counter, and a compare-and-swap on a cache line that the processor owns. `claim` is
		one ID, `claim_256` one ID of a batch. Several threads work on the same word; the time per ID is
		then that of all threads together: half the time is twice the rate.

	TEXT
	markdown_table 'what | threads | ns | middle half' '--- | ---: | ---: | ---' "
		SELECT series, x, median(q), middle_half(q)
		  FROM (SELECT series, x, percentile_cont(array[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY value)
		          FROM sample WHERE part = 'core' GROUP BY series, x) AS quartiles (series, x, q)
		 ORDER BY x, array_position(array['counter_and_swap', 'claim', 'claim_256', 'clock_now', 'system_clock'], series)"
}
