# shellcheck shell=bash
# Part 3, inserts and reads by key, on a server whose shared buffers are smaller
# than the tables.  Commits do not wait for the disk, which would hide the rest.

keys=(identity identity_time snowflake uuidv4 uuidv7)

measure_inserts() {
	local rounds seconds copied selected round key
	rounds=$(by_size 1 3 3)
	seconds=$(by_size 1 2 10)
	copied=$(by_size 20000 300000 1000000)
	selected=$(by_size 100000 600000 10000000)
	new_cluster inserts "shared_buffers = 32MB" "synchronous_commit = off" "snowflake.max_ahead = 1h"
	start_cluster inserts
	sql_on inserts -f "$work/build/bench/samples.sql" -f "$work/build/bench/inserts.sql" \
		-c "COPY (SELECT i, 'row number ' || i FROM generate_series(1, $copied) AS i) TO '$work/rows'"
	for key in "${keys[@]}"; do
		script "single_$key" "INSERT INTO t_$key (account, note) VALUES (1, 'a row of its own transaction');"
		script "multi_$key" "INSERT INTO t_$key (account, note) SELECT i, 'a row of many' FROM generate_series(1, 100) AS i;"
	done

	for ((round = 1; round <= rounds; round++)); do
		for key in "${keys[@]}"; do
			progress inserts "round $round of $rounds, $key"
			sql_on inserts -c "TRUNCATE t_$key" -c "CHECKPOINT"
			pgbench_run inserts 4 "$seconds" "single_$key"
			inserts_sample "$key" single "$round" "$tps"
			pgbench_run inserts 4 "$seconds" "multi_$key"
			inserts_sample "$key" multi "$round" "$(awk -v tps="$tps" 'BEGIN { print tps * 100 }')"
			sql_on inserts -c "TRUNCATE t_$key" -c "CHECKPOINT" \
				-c "SELECT load('$key', 'copy', $round, $copied, \$\$COPY t_$key (account, note) FROM '$work/rows'\$\$)" \
				-c "TRUNCATE t_$key" -c "CHECKPOINT" \
				-c "SELECT load('$key', 'select', $round, $selected, 'INSERT INTO t_$key (account, note) SELECT i, ''row number '' || i FROM generate_series(1, $selected) AS i')"
		done
	done >"$work/inserts.tsv"
	check_unpaced inserts
	for key in "${keys[@]}"; do
		sql_on inserts -c "SELECT sizes('$key')"
		prepare_lookups "$key" "$selected"
	done >>"$work/inserts.tsv"
	prepare_ranges
	for ((round = 1; round <= rounds; round++)); do
		for key in "${keys[@]}"; do
			progress inserts "reads, round $round of $rounds, $key"
			measure_lookups "$key" "$round" "$seconds"
		done
		for key in identity_time snowflake; do
			pgbench_run inserts 2 "$seconds" "range_$key"
			inserts_sample "$key" range "$round" "$tps"
		done
	done >>"$work/inserts.tsv"
	stop_cluster inserts
	as_user rm -rf inserts
	load_samples <"$work/inserts.tsv"
	progress_done inserts "$rounds rounds, $selected rows"
}

# inserts_sample KEY METRIC ROUND VALUE
inserts_sample() { printf 'inserts\t%s\t0\t%s\t%s\t%s\n' "$@"; }

# prepare_lookups KEY ROWS: by ID, of the newest tenth of the rows
prepare_lookups() {
	progress inserts "lookups, $1"
	sql_on inserts -c "CREATE TABLE wanted_$1 AS SELECT row_number() OVER ()::integer AS n, id FROM t_$1 WHERE account > $2 * 0.9 AND account % 10 = 0" \
		-c "ALTER TABLE wanted_$1 ADD PRIMARY KEY (n)" -c "VACUUM ANALYZE wanted_$1" -c "VACUUM ANALYZE t_$1"
	script "lookup_$1" "\\set n random(1, $(($2 / 100)))
SELECT note FROM t_$1 WHERE id = (SELECT id FROM wanted_$1 WHERE n = :n);"
}

# measure_lookups KEY ROUND SECONDS: the first run only fills the buffers
measure_lookups() {
	local hit total newhit newtotal
	pgbench_run inserts 2 1 "lookup_$1"
	read -r hit total < <(sql_on inserts -c "SELECT * FROM blocks('$1')")
	pgbench_run inserts 2 "$3" "lookup_$1"
	read -r newhit newtotal < <(sql_on inserts -c "SELECT * FROM blocks('$1')")
	inserts_sample "$1" lookup "$2" "$tps"
	inserts_sample "$1" lookup_hits "$2" "$(awk -v h=$((newhit - hit)) -v t=$((newtotal - total)) 'BEGIN { print 100 * h / t }')"
}

# A thousandth of the time span of the rows.
prepare_ranges() {
	local since step
	read -r since step < <(sql_on inserts -c "SELECT extract(epoch FROM min(created_at)), extract(epoch FROM max(created_at) - min(created_at)) / 1000 FROM t_identity_time")
	script range_identity_time "\\set n random(0, 999)
SELECT count(*), sum(account) FROM t_identity_time WHERE created_at >= to_timestamp($since + :n * $step) AND created_at < to_timestamp($since + (:n + 1) * $step);"
	read -r since step < <(sql_on inserts -c "SELECT extract(epoch FROM a), extract(epoch FROM b - a) / 1000 FROM (SELECT snowflake_timestamp(min(id)), snowflake_timestamp(max(id)) FROM t_snowflake) AS span (a, b)")
	script range_snowflake "\\set n random(0, 999)
SELECT count(*), sum(account) FROM t_snowflake WHERE snowflake_between(id, to_timestamp($since + :n * $step), to_timestamp($since + (:n + 1) * $step));"
}

report_inserts() {
	local what
	sql -c "CREATE VIEW insert_figure AS
	        SELECT series AS key, metric, percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS value
	          FROM sample WHERE part = 'inserts' GROUP BY series, metric" \
		-c "CREATE VIEW insert_key AS SELECT DISTINCT key FROM insert_figure" \
		-c "CREATE FUNCTION inserts(k text, m text, divisor float8) RETURNS numeric LANGUAGE sql
		    RETURN (SELECT round((value / divisor)::numeric, 1) FROM insert_figure WHERE key = k AND metric = m)"
	for what in single multi copy select; do
		compared "rows per second, identity / snowflake, $what" "$(insert_ratio identity snowflake "$what")"
	done
	compared "WAL bytes per row, snowflake / identity, INSERT … SELECT" "$(insert_ratio snowflake identity select_wal)"
	compared "time ranges per second, identity with a second index / snowflake" "$(insert_ratio identity_time snowflake range)"
	cat <<-'TEXT'
		## Inserts

		Tables of an ID, an integer and a short text, which differ only by the key; `identity_time` also has
		`created_at` and an index on it, for reads by time. pgbench runs 4 clients, 2 for reads, with
		`synchronous_commit = off`, because otherwise the disk dominates. The tables are larger than
		`shared_buffers` (32 MB). Before PostgreSQL 18, `uuidv7` is a SQL function. Thousand rows per
		second, and WAL bytes per row:

		![Rows per second by key](inserts.svg)

	TEXT
	markdown_table 'key | single rows | 100 per statement | COPY | INSERT … SELECT | WAL, COPY | WAL, INSERT … SELECT' '--- | ---: | ---: | ---: | ---: | ---: | ---:' "
		SELECT key, inserts(key, 'single', 1e3), inserts(key, 'multi', 1e3), inserts(key, 'copy', 1e3), inserts(key, 'select', 1e3),
		       inserts(key, 'copy_wal', 1), inserts(key, 'select_wal', 1)
		  FROM insert_key ORDER BY key"
	cat <<-'TEXT'
		After INSERT … SELECT: sizes in MB; lookups per second by ID, in the newest tenth of the rows, and
		the share of their blocks found in shared buffers; and aggregates per second over a thousandth of
		the time that the rows span, by `snowflake_between(id, …)` and by the index on `created_at`:

	TEXT
	markdown_table 'key | table | indexes | lookups | found in buffers, % | time ranges' '--- | ---: | ---: | ---: | ---: | ---:' "
		SELECT key, inserts(key, 'table_mb', 1), inserts(key, 'index_mb', 1), round(inserts(key, 'lookup', 1)), inserts(key, 'lookup_hits', 1), round(inserts(key, 'range', 1))
		  FROM insert_key ORDER BY key"
	cat <<-'TEXT'
		COPY writes more WAL for every key but identity: PostgreSQL inserts a page of rows at a time only if
		no default is volatile, and makes an exception only for nextval (copyfrom.c). This does not affect a
		COPY that brings the IDs along, taken with `snowflake_next(count)`.

	TEXT
	sql -F ' ' -c "SELECT key, inserts(key, 'single', 1e3), inserts(key, 'multi', 1e3), inserts(key, 'copy', 1e3), inserts(key, 'select', 1e3) FROM insert_key ORDER BY key" >"$work/inserts.dat"
	plot inserts <<-'GNUPLOT'
		set title "Rows per second by key"
		set ylabel "thousand per second"
		set style data histograms
		set style fill solid 0.8
		set yrange [0:]
		set key outside right
		plot data using 2:xtic(1) title "single rows", data using 3 title "100 a statement", \
		     data using 4 title "COPY", data using 5 title "INSERT … SELECT"
	GNUPLOT
}

# insert_ratio KEY KEY METRIC
insert_ratio() {
	sql -c "SELECT round((a.value / b.value)::numeric, 2) FROM insert_figure AS a, insert_figure AS b
	         WHERE a.key = '$1' AND b.key = '$2' AND a.metric = '$3' AND b.metric = '$3'"
}
