# shellcheck shell=bash
# Part 9, the horizon's price: what a transaction pays that takes an ID, what a
# call costs, how far the horizon is behind the clock, and what people would use
# instead, an xid8 column with an index.

horizon_clients=(1 8 64)
horizon_keys=(identity snowflake xid8)

measure_horizon() {
	local rounds seconds samples round clients key
	rounds=$(by_size 1 3 5)
	seconds=$(by_size 1 3 10)
	samples=$(by_size 100 2000 10000)
	new_cluster horizon "synchronous_commit = off" "max_connections = 100"
	start_cluster horizon
	sql_on horizon -f "$work/build/bench/horizon.sql"
	for key in "${horizon_keys[@]}"; do
		script "horizon_$key" "INSERT INTO h_$key (note) VALUES ('a row of its own transaction');"
	done
	{
		for ((round = 1; round <= rounds; round++)); do
			for clients in "${horizon_clients[@]}"; do
				for key in "${horizon_keys[@]}"; do
					progress horizon "round $round of $rounds, $clients clients, $key"
					sql_on horizon -c "TRUNCATE h_$key" -c "CHECKPOINT"
					inserted "$key" "$clients" "$round" "$seconds"
				done
			done
		done
		progress horizon "lag, 8 writers"
		lag "$samples"
	} >"$work/horizon.tsv"
	stop_cluster horizon
	load_samples <"$work/horizon.tsv"
	horizon_instructions
	progress_done horizon "$rounds rounds of ${horizon_clients[*]} clients, $samples looks at the lag"
}

# inserted KEY CLIENTS ROUND SECONDS: rows a second, and bytes of WAL a row
inserted() {
	local start rows
	start=$(sql_on horizon -c "SELECT pg_current_wal_insert_lsn()")
	pgbench_run horizon "$2" "$4" "horizon_$1"
	rows=$(sql_on horizon -c "SELECT count(*) FROM h_$1")
	printf 'horizon\t%s\t%s\trate\t%s\t%s\n' "$1" "$2" "$3" "$tps"
	printf 'horizon\t%s\t%s\twal\t%s\t%s\n' "$1" "$2" "$3" \
		"$(sql_on horizon -c "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '$start') / $rows")"
}

# lag LOOKS: milliseconds between the horizon and the clock, with 8 busy writers
lag() {
	as_user "$bindir/pgbench" -h "$work/horizon" -U postgres -n -M prepared -c 8 -j 2 -T 3600 -f "$work/horizon_snowflake.sql" postgres >/dev/null 2>&1 &
	local writers=$!
	sql_on horizon -c "CALL look($1)" -c "SELECT 'horizon', 'lag', 8, 'ms', n, ms FROM lag"
	kill "$writers"
	wait "$writers" || true
}

# horizon_instructions: of a transaction's end with and without an ID, and of a
# call, each in a transaction of its own, with room for 100 and for 1000 sessions
horizon_instructions() {
	local room
	for room in 100 1000; do
		new_cluster "horizon_$room" "max_connections = $room"
		count_calls "horizon_$room" snowflake_horizon call "SELECT snowflake_horizon()"
		count_calls "horizon_$room" snowflake_transaction_callback with "SELECT snowflake_next()"
		count_calls "horizon_$room" snowflake_transaction_callback without "SELECT 1"
	done >"$work/horizon_instructions.tsv"
	load_samples <"$work/horizon_instructions.tsv"
}

# count_calls CLUSTER FUNCTION NAME QUERY: a thousand of them
count_calls() {
	local calls=1000 pid file
	as_user valgrind -q --tool=callgrind --trace-children=yes --collect-atstart=no --toggle-collect="$2" \
		--callgrind-out-file="$work/callgrind.%p" "$bindir/postgres" -D "$1" >"$work/$1.log" 2>&1 </dev/null &
	local server=$! tries=0
	until as_user "$bindir/pg_isready" -q -h "$work/$1"; do
		((tries++ < 300)) || fail "no server under valgrind: $(tail -n 40 "$work/$1.log")"
		sleep 0.2
	done
	sql_on "$1" -c "CREATE EXTENSION IF NOT EXISTS snowflake" 2>/dev/null
	pid=$({
		echo "SELECT pg_backend_pid();"
		awk -v query="$4;" -v n="$calls" 'BEGIN { while (n-- > 0) print query }'
	} | sql_on "$1" | sed -n 1p)
	file=$work/callgrind.$pid
	tries=0
	until grep -qs '^totals:' "$file"; do
		((tries++ < 600)) || fail "callgrind wrote no $file"
		sleep 0.1
	done
	printf 'horizon\t%s\t%s\tcount\t1\t%s\n' "$3" "${1#horizon_}" \
		"$(as_user callgrind_annotate "$file" | tr -d , | awk -v calls="$calls" '/PROGRAM TOTALS/ { print $1 / calls }')"
	stop_cluster "$1"
	wait "$server" || true
}

report_horizon() {
	compared "snowflake / xid8 column with its index, rows per second, 8 clients" "$(
		sql -c "SELECT round(((percentile_cont(0.5) WITHIN GROUP (ORDER BY value) FILTER (WHERE series = 'snowflake')) /
		                      (percentile_cont(0.5) WITHIN GROUP (ORDER BY value) FILTER (WHERE series = 'xid8')))::numeric, 2)
		          FROM sample WHERE part = 'horizon' AND metric = 'rate' AND x = 8"
	)"
	cat <<-TEXT
		## The horizon

		Rows of one transaction each, by pgbench: with \`snowflake_next()\`, whose horizon readers follow;
		with an identity column, which no reader can follow; and with an identity column beside an xid8 one and
		the index that its readers need.

	TEXT
	markdown_table 'key | clients | rows per second | WAL bytes a row' '--- | ---: | ---: | ---:' "
		SELECT series, x, round((percentile_cont(0.5) WITHIN GROUP (ORDER BY value) FILTER (WHERE metric = 'rate'))::numeric),
		       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY value) FILTER (WHERE metric = 'wal'))::numeric)
		  FROM sample WHERE part = 'horizon' AND metric IN ('rate', 'wal') GROUP BY series, x ORDER BY x, series"
	echo "The milliseconds by which the horizon was behind the clock, with 8 busy writers:"
	echo
	markdown_table 'median | 99 % within | longest' '---: | ---: | ---:' "
		SELECT round((percentile_cont(0.5) WITHIN GROUP (ORDER BY value))::numeric, 1),
		       round((percentile_cont(0.99) WITHIN GROUP (ORDER BY value))::numeric, 1), round(max(value)::numeric, 1)
		  FROM sample WHERE part = 'horizon' AND metric = 'ms'"
	echo "Instructions, by callgrind, with room for so many sessions (\`max_connections\`): of a call, and of a"
	echo "transaction's end with an ID and without."
	echo
	markdown_table 'sessions | call | end with an ID | end without' '---: | ---: | ---: | ---:' "
		SELECT x, round(sum(value) FILTER (WHERE series = 'call')), round(sum(value) FILTER (WHERE series = 'with')), round(sum(value) FILTER (WHERE series = 'without'))
		  FROM sample WHERE part = 'horizon' AND metric = 'count' GROUP BY x ORDER BY x"
}
