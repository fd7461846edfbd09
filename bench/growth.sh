# shellcheck shell=bash
# Part 6, growth: IDs per second by worker_bits and clients.  The layout is pinned,
# so each has a cluster of its own, copied before its first start.

measure_growth() {
	local bits clients seconds
	seconds=$(by_size 1 1 5)
	new_cluster growth "snowflake.max_ahead = 10ms"
	script growth "SELECT count(id) FROM (SELECT snowflake_next(10000)) AS ids (id);"
	for bits in 1 6 10 12 14 16; do
		as_user cp -a growth "growth_$bits"
		as_user sed -i "s,/growth',/growth_$bits'," "growth_$bits/postgresql.conf"
		as_user tee -a "$work/growth_$bits/postgresql.conf" >/dev/null <<<"snowflake.worker_bits = $bits"
		start_cluster "growth_$bits"
		sql_on "growth_$bits" -c "CREATE EXTENSION snowflake"
		for clients in 1 2 8; do
			progress growth "worker_bits $bits, $clients clients"
			pgbench_run "growth_$bits" "$clients" "$seconds" growth
			printf 'growth\t%s\t%s\trate\t1\t%s\n' "$clients" "$bits" "$(awk -v tps="$tps" 'BEGIN { print tps * 10000 }')"
		done
		stop_cluster "growth_$bits"
		as_user rm -rf "growth_$bits"
	done >"$work/growth.tsv"
	load_samples <"$work/growth.tsv"
	progress_done growth "$seconds s each"
}

report_growth() {
	cat <<-'TEXT'
		## Growth

		Million IDs per second with `snowflake_next(10000)`, against the layout's limit. [How far it
		goes](../../doc/how-far.md) explains the limits.

		![IDs per second against worker_bits](growth.svg)

	TEXT
	sql -c "CREATE VIEW growth_figure AS
	        SELECT x AS bits, 1000 * 2 ^ (22 - x) / 1e6 AS allowed, max(value) FILTER (WHERE series = '1') / 1e6 AS one,
	               max(value) FILTER (WHERE series = '2') / 1e6 AS two, max(value) FILTER (WHERE series = '8') / 1e6 AS eight
	          FROM sample WHERE part = 'growth' GROUP BY x"
	markdown_table 'worker_bits | the layout allows | 1 client | 2 clients | 8 clients' '---: | ---: | ---: | ---: | ---:' "
		SELECT bits, round(allowed::numeric, 3), round(one::numeric, 3), round(two::numeric, 3), round(eight::numeric, 3) FROM growth_figure ORDER BY bits"
	sql -F ' ' -c "SELECT * FROM growth_figure ORDER BY bits" >"$work/growth.dat"
	plot growth <<-'GNUPLOT'
		set title "IDs per second, snowflake_next(10000)"
		set xlabel "snowflake.worker_bits"
		set ylabel "million per second"
		set logscale y 10
		set format y "%g"
		plot data using 1:3 with linespoints title "1 client", \
		     data using 1:4 with linespoints title "2 clients", \
		     data using 1:5 with linespoints title "8 clients", \
		     data using 1:2 with lines dashtype 2 title "the layout's limit"
	GNUPLOT
}
