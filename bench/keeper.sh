# shellcheck shell=bash
# Part 5, the keeper's price: what the high-water mark costs, and whether callers
# notice.

# A server that issues an ID every so many seconds.
seldom=6

measure_keeper() {
	local seconds rounds ids load round
	seconds=$(by_size 6 12 60)
	rounds=$(by_size 1 3 10)
	ids=$(by_size 3 10 20)
	new_cluster keeper
	start_cluster keeper
	sql_on keeper -f "$work/build/bench/samples.sql"
	script one_id "SELECT snowflake_next();"
	script many_ids "SELECT count(id) FROM (SELECT snowflake_next(10000)) AS ids (id);"
	script empty "SELECT pg_backend_pid();"
	start_pair

	# The pair is idle meanwhile.
	{
		progress keeper "idle, $seconds s"
		marks idle sql_on keeper -c "SELECT pg_sleep($seconds)"
		progress keeper "an ID every $seldom s, $ids times"
		sql_on keeper -c "SELECT snowflake_next()" >/dev/null
		marks seldom seldom_ids "$ids"
		sample keeper seldom ids "$ids"
		first_ids 1
		for load in one_id many_ids empty; do
			progress keeper "$load, $seconds s"
			# The window may have lapsed while the latencies were sorted.
			sql_on keeper -c "SELECT snowflake_next()" >/dev/null
			marks "$load" pgbench_run keeper 2 "$seconds" "$load"
			sample keeper "$load" max_ms "$(latency_quantile 1)"
			sample keeper "$load" p9999_ms "$(latency_quantile 0.9999)"
		done
		for ((round = 2; round <= rounds; round++)); do
			progress keeper "silence, round $round of $rounds"
			first_ids "$round"
		done
	} >"$work/keeper.tsv"
	stop_cluster keeper
	stop_cluster pair
	stop_cluster pair_standby
	load_samples <"$work/keeper.tsv"
	sql <<-'SQL'
		CREATE VIEW keeper_silence AS
		SELECT series, metric, count(*) AS rounds, (percentile_cont(0.5) WITHIN GROUP (ORDER BY value))::numeric AS median
		  FROM (SELECT series, metric, value FROM sample WHERE part = 'keeper' AND metric IN ('first_ms', 'second_ms', 'commit_ms')
		        UNION ALL
		        SELECT f.series, 'ratio', f.value / c.value
		          FROM sample AS f JOIN sample AS c USING (part, series, round)
		         WHERE part = 'keeper' AND f.metric = 'first_ms' AND c.metric = 'commit_ms') AS s (series, metric, value)
		 GROUP BY series, metric;
	SQL
	progress_done keeper "$rounds silences, $ids IDs seldom, $seconds s a load"
}

# A primary and a synchronous standby, on this machine, which have issued IDs.
start_pair() {
	new_cluster pair
	start_cluster pair
	sql_on pair -f "$work/build/bench/samples.sql"
	logged as_user "$bindir/pg_basebackup" -h "$work/pair" -U postgres -D pair_standby -R -c fast
	# The primary's socket is in its directory.
	as_user find pair_standby -maxdepth 1 -name '.s.PGSQL.*' -delete
	as_user tee -a "$work/pair_standby/postgresql.conf" >/dev/null <<<"unix_socket_directories = '$work/pair_standby'"
	start_cluster pair_standby
	sql_on pair -c "ALTER SYSTEM SET synchronous_standby_names = '*'" -c "SELECT pg_reload_conf()" >/dev/null
	poll pair "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')"
	local cluster
	for cluster in main pair; do
		sql_on "$cluster" -c "CREATE TABLE IF NOT EXISTS committed (n integer)" -c "SELECT snowflake_next()" >/dev/null
	done
}

# poll CLUSTER QUERY: waits until it is true, for some minutes at most
poll() {
	local i
	for ((i = 0; i < 1800; i++)); do
		[[ $(sql_on "$1" -c "$2") != t ]] || return 0
		sleep 0.1
	done
	fail "not in three minutes: $2"
}

# first_ids ROUND: the first ID after an idle time in which the window has lapsed,
# and the one after it, against a commit: alone, and with the synchronous standby.
# The ID and the commit take turns in coming first, which wakes whatever sleeps.
first_ids() {
	local cluster order times time next='SELECT snowflake_next();' commit='INSERT INTO committed VALUES (1);'
	for cluster in main pair; do
		poll "$cluster" "SELECT window_until < clock_timestamp() FROM snowflake_status()"
	done
	for cluster in main pair; do
		if (($1 % 2)); then
			order=(first second commit)
			times=$(timed "$cluster" "$next" "$next" "$commit")
		else
			order=(commit first second)
			times=$(timed "$cluster" "$commit" "$next" "$next")
		fi
		for time in $times; do
			printf 'keeper\t%s\t0\t%s_ms\t%s\t%s\n' "$cluster" "${order[0]}" "$1" "$time"
			order=("${order[@]:1}")
		done
		((${#order[@]} == 0)) || fail "three times were to come from $cluster: $times"
	done
}

# timed CLUSTER STATEMENT...: what each takes, in milliseconds, in one session
timed() {
	{
		# Loads the library, and its catalog entries into the cache.
		printf '%s\n' '\o /dev/null' 'SELECT snowflake_timestamp(0), count(*) FROM committed;' '\timing on'
		printf '%s\n' "${@:2}"
	} | sql_on "$1" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'
}

seldom_ids() {
	local i
	for ((i = 0; i < $1; i++)); do
		sleep "$seldom"
		sql_on keeper -c "SELECT snowflake_next()"
	done
}

# sample PART SERIES METRIC VALUE
sample() { printf '%s\t%s\t0\t%s\t1\t%s\n' "$@"; }

# marks SERIES COMMAND...: what the command has the keeper write to the WAL, each
# record with a flush of its own, and how many callers wait for it
marks() {
	local series=$1 start end waits before=$SECONDS
	shift
	read -r start waits < <(sql_on keeper -c "SELECT pg_current_wal_insert_lsn(), keeper_waits FROM snowflake_status()")
	"$@" >/dev/null
	read -r end waits < <(sql_on keeper -c "SELECT pg_current_wal_flush_lsn(), keeper_waits - $waits FROM snowflake_status()")
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
	compared "the first ID after silence / a commit, with a synchronous standby on the same machine" "$(
		sql -c "SELECT round(median, 2) FROM keeper_silence WHERE series = 'pair' AND metric = 'ratio'"
	)"
	cat <<-'TEXT'
		## The keeper's price

		Each high-water mark is one small WAL record and a flush. Two pgbench clients take one ID per query,
		or 10 000, which is more than the layout allows, so that calls wait for the clock; `empty` calls
		`pg_backend_pid()`, to show the machine's own pauses.
	TEXT
	printf 'In `seldom`, one client takes an ID every %s seconds.\n\n' "$seldom"
	markdown_table 'load | marks per minute | WAL bytes per minute | waits for the keeper | waits per ID | 99.99 % within, ms | longest, ms' '--- | ---: | ---: | ---: | ---: | ---: | ---:' "
		SELECT series, round((60 * marks / seconds)::numeric, 1), round(60 * bytes / seconds), waits, round((waits / ids)::numeric, 2),
		       round(p9999::numeric, 1), round(longest::numeric, 1)
		  FROM (SELECT series, max(value) FILTER (WHERE metric = 'marks'), max(value) FILTER (WHERE metric = 'bytes'), max(value) FILTER (WHERE metric = 'seconds'),
		               max(value) FILTER (WHERE metric = 'waits'), max(value) FILTER (WHERE metric = 'ids'),
		               max(value) FILTER (WHERE metric = 'p9999_ms'), max(value) FILTER (WHERE metric = 'max_ms')
		          FROM sample WHERE part = 'keeper' GROUP BY series) AS load (series, marks, bytes, seconds, waits, ids, p9999, longest)
		 WHERE marks IS NOT NULL
		 ORDER BY array_position(array['idle', 'seldom', 'one_id', 'many_ids', 'empty'], series)"
	cat <<-'TEXT'
		The first ID after a silence waits for a mark, and for the synchronous standby if there is one (here
		on the same machine). For comparison, a commit of one row after the same silence; the ID and the
		commit take turns to come first. Medians, also of the ratio per round.

	TEXT
	markdown_table 'rounds | first ID, ms | commit, ms | ratio | next ID, ms' '--- | ---: | ---: | ---: | ---:' "
		SELECT CASE series WHEN 'main' THEN 'alone' ELSE 'with a synchronous standby' END || ', ' || max(rounds),
		       round(max(median) FILTER (WHERE metric = 'first_ms'), 2), round(max(median) FILTER (WHERE metric = 'commit_ms'), 2),
		       round(max(median) FILTER (WHERE metric = 'ratio'), 2), round(max(median) FILTER (WHERE metric = 'second_ms'), 3)
		  FROM keeper_silence GROUP BY series ORDER BY series"
}
