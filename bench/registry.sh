# shellcheck shell=bash
# Part 7, the registry: how many leases and renewals it grants per second, and
# whether ten thousand instances are served in time; and how many leases per second
# when each of 65536 worker IDs has been used, beside a fresh registry.

registry_instances() { by_size 1000 10000 10000; }

# run_registry DATABASE SERIES INSTANCES CONNECTIONS DURATION STEADY FLAT, whose series
# match SERIES
run_registry() {
	local database=$1 series=$2
	shift 2
	run as_user ./registry_bench "host=$work/registry user=postgres dbname=$database" "$@" \
		>"$work/registry.out" 2>"$work/log" </dev/null || fail "$(tail -n 40 "$work/log")"
	[[ ! -s $work/log ]] || fail "$(tail -n 40 "$work/log")"
	awk -v OFS='\t' -v series="$series" -v name="$database" '
		$1 ~ series { print "registry", (name == "postgres" ? $1 : name), 0, $2, 1, $3 }' "$work/registry.out" | load_samples
}

# A registry of 16 worker bits in a database of its own; with a second argument, each
# worker ID has been leased, and all leases have ended.
used_registry() {
	sql_on registry -c "CREATE DATABASE $1" >/dev/null
	sql_on registry -d "$1" -c "CREATE EXTENSION snowflake_registry" -c "SELECT snowflake_registry.setup(worker_bits => 16)" >/dev/null
	[[ -n ${2-} ]] || return 0
	sql_on registry -d "$1" -c "
		INSERT INTO snowflake_registry.worker (worker_id, holder, valid_from, valid_until, first_seen, last_seen)
		SELECT n, 'holder ' || n, t, t + '1 min', t, t
		  FROM generate_series(0, 65535) AS n, LATERAL (SELECT timestamptz '2024-01-01 00:00:00Z' + n * interval '1 ms' AS t) AS s" \
		-c "UPDATE snowflake_registry.registry SET next_unused = 65536" -c "VACUUM ANALYZE" >/dev/null
}

measure_registry() {
	local instances connections=16 steady duration
	instances=$(registry_instances)
	steady=$(by_size 4 60 60)
	duration=$(by_size 4 60 60)
	progress registry "compiling"
	logged as_user g++ -std=c++20 -O2 -I "$("$PG_CONFIG" --includedir)" -o registry_bench build/bench/registry.cpp \
		-L "$("$PG_CONFIG" --libdir)" -lpq -pthread
	new_cluster registry "autovacuum = on"
	start_cluster registry
	sql_on registry -c "CREATE EXTENSION snowflake_registry" -c "SELECT snowflake_registry.setup(worker_bits => 14)" >/dev/null
	progress registry "$instances instances, $steady s"
	run_registry postgres . "$instances" "$connections" "$duration" "$steady" "$(by_size 1 5 20)"
	used_registry fresh
	used_registry ended yes
	run_registry fresh lease "$instances" "$connections" 60 0 0
	run_registry ended lease "$instances" "$connections" 60 0 0
	stop_cluster registry
	progress_done registry "$instances instances, $steady s"
}

registry_figure() { sql -c "SELECT value FROM sample WHERE part = 'registry' AND series = '$1' AND metric = '$2'"; }

report_registry() {
	local instances
	instances=$(registry_instances)
	cat <<-TEXT
		## The registry

		$instances simulated instances with \`worker_bits = 14\`, over 16 connections. Each takes a lease,
		as fast as the registry answers; then each renews at half time, together
		$(registry_figure steady rate) per second; then as fast as the registry answers. A steady renewal is
		timed from when it was due. Each call is a transaction that is flushed, and the simulation shares
		this machine. The last two lines are leases with \`worker_bits = 16\`: by a fresh registry, and
		by one in which all 65536 worker IDs have been used.

	TEXT
	markdown_table 'calls | per second | median, ms | 99 % within, ms | refused' '--- | ---: | ---: | ---: | ---:' "
		SELECT name, max(value) FILTER (WHERE metric = 'rate'), max(value) FILTER (WHERE metric = 'p50_ms'),
		       max(value) FILTER (WHERE metric = 'p99_ms'), max(value) FILTER (WHERE metric = 'refused')
		  FROM sample JOIN (VALUES (1, 'lease', 'leases'), (2, 'steady', 'renewals, steadily'), (3, 'flat', 'renewals, flat out'),
		         (4, 'fresh', 'leases, fresh'), (5, 'ended', 'leases, all used')) AS s (n, series, name) USING (series)
		 WHERE part = 'registry' GROUP BY n, name ORDER BY n"
}
