# shellcheck shell=bash
# Part 2, many sessions: what all clients get together, and how long the unlucky
# ones wait, with snowflake_next() and with nextval on one sequence.
#
# Each transaction takes 1000 IDs in one query, to measure the generator and not the
# messages.  Runs are meant to reach the layout's own rate; the lead is small, so
# that no run benefits from what the one before it has left.

session_clients=(1 2 4 8 16 64)
ids_a_query=1000

measure_sessions() {
	local rounds seconds round clients series
	rounds=$(by_size 1 3 5)
	seconds=$(by_size 1 1 10)
	new_cluster sessions "snowflake.max_ahead = 10ms"
	start_cluster sessions
	sql_on sessions -c "CREATE EXTENSION snowflake" -c "CREATE SEQUENCE plain_seq" -c "CREATE SEQUENCE cached_seq CACHE 1000"
	script sessions_1 "SELECT count(snowflake_next()) FROM generate_series(1, $ids_a_query);"
	script sessions_2 "SELECT count(nextval('plain_seq')) FROM generate_series(1, $ids_a_query);"
	script sessions_3 "SELECT count(nextval('cached_seq')) FROM generate_series(1, $ids_a_query);"
	for ((round = 1; round <= rounds; round++)); do
		for clients in "${session_clients[@]}"; do
			for series in 1 2 3; do
				progress sessions "round $round of $rounds, $clients clients, script $series"
				pgbench_run sessions "$clients" "$seconds" "sessions_$series"
				echo "sessions|$series|$clients|rate|$round|$(awk -v tps="$tps" -v n="$ids_a_query" 'BEGIN { print tps * n }')"
				echo "sessions|$series|$clients|p999_ms|$round|$(latency_quantile 0.999)"
			done
		done
	done | tr '|' '\t' >"$work/sessions.tsv"
	stop_cluster sessions
	load_samples <"$work/sessions.tsv"
	progress_done sessions "$rounds rounds of ${session_clients[*]} clients"
}

session_figures() {
	sql -c "CREATE VIEW session_figure AS
	        SELECT x AS clients, series::integer AS series,
	               percentile_cont(0.5) WITHIN GROUP (ORDER BY value) FILTER (WHERE metric = 'rate') / 1e6 AS rate,
	               percentile_cont(0.5) WITHIN GROUP (ORDER BY value) FILTER (WHERE metric = 'p999_ms') AS p999
	          FROM sample WHERE part = 'sessions' GROUP BY x, series"
}

report_sessions() {
	session_figures
	compared "nextval / snowflake_next(), IDs per second, at the worst number of clients" "$(
		sql -c "SELECT round(max(n.rate / s.rate)::numeric, 2) FROM session_figure AS s JOIN session_figure AS n USING (clients) WHERE s.series = 1 AND n.series = 2"
	)"
	cat <<-TEXT
		## Many sessions

		pgbench, where each transaction is one query that takes $ids_a_query IDs; nextval on one sequence.
		The columns have million IDs per second of all clients together, and the milliseconds within which
		99.9 % of the transactions were done (pgbench shares this machine with the server). The layout
		allows 4.096 million per second.

		![IDs per second against clients](sessions.svg)

	TEXT
	markdown_table 'clients | snowflake_next() | nextval, cache 1 | nextval, cache 1000 | 99.9 %: snowflake_next() | nextval, cache 1 | nextval, cache 1000' \
		'---: | ---: | ---: | ---: | ---: | ---: | ---:' "
		SELECT clients, round(sum(rate) FILTER (WHERE series = 1)::numeric, 2), round(sum(rate) FILTER (WHERE series = 2)::numeric, 2), round(sum(rate) FILTER (WHERE series = 3)::numeric, 2),
		       round(sum(p999) FILTER (WHERE series = 1)::numeric, 1), round(sum(p999) FILTER (WHERE series = 2)::numeric, 1), round(sum(p999) FILTER (WHERE series = 3)::numeric, 1)
		  FROM session_figure GROUP BY clients ORDER BY clients"
	sql -F ' ' -c "SELECT clients, sum(rate) FILTER (WHERE series = 1), sum(rate) FILTER (WHERE series = 2), sum(rate) FILTER (WHERE series = 3) FROM session_figure GROUP BY clients ORDER BY clients" >"$work/sessions.dat"
	plot sessions <<-'GNUPLOT'
		set title "IDs per second of all clients, 1000 per query"
		set xlabel "clients"
		set ylabel "million per second"
		set logscale x 2
		set yrange [0:]
		set key top left
		plot data using 1:2 with linespoints title "snowflake_next()", \
		     data using 1:3 with linespoints title "nextval, cache 1", \
		     data using 1:4 with linespoints title "nextval, cache 1000", \
		     4.096 with lines dashtype 2 title "the layout's limit"
	GNUPLOT
}
