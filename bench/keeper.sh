# shellcheck shell=bash
# Part 5, the keeper's price: what the mark costs, and whether callers notice.

measure_keeper() {
	local seconds samples load
	seconds=$(by_size 6 12 60)
	samples=$(by_size 1 4 10)
	new_cluster keeper
	start_cluster keeper
	sql_on keeper -f "$work/build/bench/samples.sql"
	script one_id "SELECT snowflake_next();"
	script many_ids "SELECT count(id) FROM (SELECT snowflake_next(10000)) AS ids (id);"
	script empty "SELECT pg_backend_pid();"

	# The window lapses five seconds after the last ID.
	progress keeper "the first ID after idle, $samples times"
	sql_on keeper <<-SQL >"$work/keeper.tsv"
		SELECT snowflake_next() \g /dev/null
		SELECT elapsed_ns('SELECT snowflake_next()') \g /dev/null
		SELECT format(\$\$SELECT 'keeper', '%1\$s', 0, 'ns', %2\$s, elapsed_ns('SELECT snowflake_next()') FROM pg_sleep(%3\$s)\$\$, series, round, sleep)
		  FROM generate_series(1, $samples) AS round, (VALUES (1, 'first', 6), (2, 'second', 0)) AS s (position, series, sleep)
		 ORDER BY round, position \gexec
		SELECT pg_sleep(6) \g /dev/null
	SQL
	{
		progress keeper "idle, $seconds s"
		marks idle sql_on keeper -c "SELECT pg_sleep($seconds)"
		for load in one_id many_ids empty; do
			progress keeper "$load, $seconds s"
			# The window may have lapsed while the latencies were sorted.
			sql_on keeper -c "SELECT snowflake_next()" >/dev/null
			marks "$load" pgbench_run keeper 2 "$seconds" "$load"
			sample keeper "$load" max_ms "$(latency_quantile 1)"
			sample keeper "$load" p9999_ms "$(latency_quantile 0.9999)"
		done
	} >>"$work/keeper.tsv"
	stop_cluster keeper
	load_samples <"$work/keeper.tsv"
	progress_done keeper "$samples times idle, $seconds s a load"
}

# sample PART SERIES METRIC VALUE
sample() { printf '%s\t%s\t0\t%s\t1\t%s\n' "$@"; }

# marks SERIES COMMAND...: what the command makes the keeper write to the WAL,
# each record with a flush of its own, and how many callers wait for it
marks() {
	local series=$1 start end waits before=$SECONDS
	shift
	read -r start waits < <(sql_on keeper -c "SELECT pg_current_wal_insert_lsn(), keeper_waits FROM snowflake_status")
	"$@" >/dev/null
	read -r end waits < <(sql_on keeper -c "SELECT pg_current_wal_flush_lsn(), keeper_waits - $waits FROM snowflake_status")
	sample keeper "$series" waits "$waits"
	sample keeper "$series" seconds $((SECONDS - before))
	if [[ $start == "$end" ]]; then
		sample keeper "$series" marks 0
		sample keeper "$series" bytes 0
	else
		as_user "$bindir/pg_waldump" -p keeper/pg_wal -s "$start" -e "$end" >"$work/waldump"
		awk -v OFS='\t' -v series="$series" '
			/^rmgr: ReplicationOrigin / { sub(/.*len \(rec\/tot\): */, ""); split($0, len, /[\/,]/); n++; bytes += len[2] }
			END { print "keeper", series, 0, "marks", 1, n + 0; print "keeper", series, 0, "bytes", 1, bytes + 0 }' "$work/waldump"
	fi
}

report_keeper() {
	goal "calls that waited for the keeper while IDs were issued steadily" 0 "$(
		sql -c "SELECT sum(value) FROM sample WHERE part = 'keeper' AND metric = 'waits' AND series IN ('one_id', 'many_ids')"
	)"
	cat <<-'TEXT'
		## The keeper's price

		The mark is one small WAL record and a flush each time. Two pgbench clients: an ID a query, or 10 000 a query, which is more than
		the layout allows, so that calls wait for the clock; `empty` is `pg_backend_pid()`, to tell what the machine's own pauses are.

	TEXT
	markdown_table 'load | marks a minute | WAL bytes a minute | waits for the keeper | 99.99 % within, ms | longest, ms' '--- | ---: | ---: | ---: | ---: | ---:' "
		SELECT series, round((60 * marks / seconds)::numeric, 1), round(60 * bytes / seconds), waits, round(p9999::numeric, 1), round(longest::numeric, 1)
		  FROM (SELECT series, max(value) FILTER (WHERE metric = 'marks'), max(value) FILTER (WHERE metric = 'bytes'), max(value) FILTER (WHERE metric = 'seconds'),
		               max(value) FILTER (WHERE metric = 'waits'), max(value) FILTER (WHERE metric = 'p9999_ms'), max(value) FILTER (WHERE metric = 'max_ms')
		          FROM sample WHERE part = 'keeper' GROUP BY series) AS load (series, marks, bytes, seconds, waits, p9999, longest)
		 WHERE marks IS NOT NULL
		 ORDER BY array_position(array['idle', 'one_id', 'many_ids', 'empty'], series)"
	sql -c "SELECT format('The first ID after idle waits for a mark: %s ms, the one after it took %s ms (medians of %s, each a whole query).',
	                      round((percentile_cont(0.5) WITHIN GROUP (ORDER BY value) FILTER (WHERE series = 'first') / 1e6)::numeric, 2),
	                      round((percentile_cont(0.5) WITHIN GROUP (ORDER BY value) FILTER (WHERE series = 'second') / 1e6)::numeric, 3), max(round))
	          FROM sample WHERE part = 'keeper' AND metric = 'ns'"
	echo
}
