# shellcheck shell=bash
# Part 1: what one call costs over an empty one.

measure_one_call() {
	local rounds line
	rounds=$(by_size 16 120 400)

	# The paced rate, before anything has run ahead of the clock: the first batch
	# uses up the small lead that is allowed, the second one is measured.
	local rate paced
	rate=$(sql -c "SELECT 1000 << (22 - current_setting('snowflake.worker_bits')::int)")
	set_max_ahead main 100ms
	paced=$(by_size 1 3 5)
	sql <<-SQL >"$work/one_call.tsv"
		SELECT count(*) FROM (SELECT snowflake_next($rate / 4)) AS ids \g /dev/null
		SELECT 'one_call', 'snowflake_next(), paced', 9, 'call', round, elapsed_ns('SELECT snowflake_next() FROM generate_series(1, $rate) OFFSET $rate') / $rate
		  FROM generate_series(1, $paced) AS round;
	SQL
	set_max_ahead main 1h

	sql -v rounds="$rounds" -v table_rows="$(by_size 100000 1000000 1000000)" -f "$work/build/bench/one_call.sql" |
		while read -r line; do
			echo "$line"
			line=${line%$'\t'*}
			progress one_call "round ${line##*$'\t'} of $rounds"
		done >>"$work/one_call.tsv"
	check_unpaced main
	load_samples <"$work/one_call.tsv"
	progress_done one_call "$rounds rounds"
}

# over_empty SERIES: the least of the calls minus the least of the empty calls
over_empty() {
	sql -c "SELECT min(value) FILTER (WHERE metric = 'call') - min(value) FILTER (WHERE metric = 'empty')
	          FROM sample WHERE part = 'one_call' AND series = '$1' AND round > 0"
}
one_call_ratio() { awk -v a="$(over_empty "$1")" -v b="$(over_empty "$2")" 'BEGIN { printf "%.3f\n", a / b }'; }

report_one_call() {
	compared 'snowflake_next() / clock_timestamp()' "$(one_call_ratio 'snowflake_next()' 'clock_timestamp()')"
	compared 'snowflake_next() / nextval' "$(one_call_ratio 'snowflake_next()' 'nextval, cache 1')"
	compared 'snowflake_next(n), ns per ID over generate_series' "$(printf %.2f "$(over_empty 'snowflake_next(n), an ID')")"
	compared 'snowflake_decode(id) / to_timestamp(id >> 22), in a select list over a table' \
		"$(sql -c "SELECT round((min(value) FILTER (WHERE series = 'snowflake_decode(id), a row') / min(value) FILTER (WHERE series = 'to_timestamp(id >> 22), a row'))::numeric, 2)
		             FROM sample WHERE part = 'one_call' AND metric = 'call' AND round > 0")"

	cat <<-'TEXT'
		## One call

		Nanoseconds over an empty call, `pg_backend_pid()`, with 20 calls per row. Each query runs right
		after one with as many empty calls. For `snowflake_next(n)` the empty call is `generate_series`, for
		decoding it is a plain column. Nothing in the table ran far enough ahead of the clock to be paced.
		The table at the top compares the fastest rounds.

	TEXT
	echo '![Nanoseconds a call](one_call.svg)'
	echo
	markdown_table 'call | ns over an empty call | middle half | ns in total' '--- | ---: | --- | ---:' "
		SELECT series, median(over), middle_half(over), median(total)
		  FROM (SELECT series, x, percentile_cont(array[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY call - empty),
		               percentile_cont(array[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY call)
		          FROM (SELECT series, x, max(value) FILTER (WHERE metric = 'call'), max(value) FILTER (WHERE metric = 'empty')
		                  FROM sample WHERE part = 'one_call' AND round > 0 GROUP BY series, x, round) AS pair (series, x, call, empty)
		         WHERE empty IS NOT NULL GROUP BY series, x) AS quartiles (series, x, over, total)
		 ORDER BY x"
	sql -c "SELECT format('A session that has used up \`snowflake.max_ahead\` is paced by the layout: %s ns per ID, %s million per second.',
	                      round(min(value)::numeric, 1), round((1000 / min(value))::numeric, 3))
	          FROM sample WHERE part = 'one_call' AND series = 'snowflake_next(), paced'"
	echo
	sql -F ';' -c "SELECT series, greatest(percentile_cont(0.5) WITHIN GROUP (ORDER BY call - empty), 0.1)
	                 FROM (SELECT series, x, max(value) FILTER (WHERE metric = 'call'), max(value) FILTER (WHERE metric = 'empty')
	                         FROM sample WHERE part = 'one_call' AND round > 0 AND x <= 8 GROUP BY series, x, round) AS pair (series, x, call, empty)
	                GROUP BY series, x ORDER BY 2 DESC" >"$work/one_call.dat"
	plot one_call <<-'GNUPLOT'
		set title "Nanoseconds over an empty call"
		set datafile separator ";"
		set logscale x 10
		set format x "%g"
		set grid xtics lc rgb '#dddddd'
		set boxwidth 0.7 relative
		set style fill solid 0.8
		set offsets 0, 0, 0.5, 0.5
		unset key
		plot [0.1:*] data using (0):0:(0.1):2:($0 - 0.35):($0 + 0.35):ytic(1) with boxxyerror, \
		     data using 2:0:(sprintf(" %.1f", $2)) with labels left
	GNUPLOT
}
