# shellcheck shell=bash
# Part 7, the registry: how many leases and renewals it grants per second, and
# whether ten thousand instances are served in time.

registry_instances() { by_size 1000 10000 10000; }

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
	run as_user ./registry_bench "host=$work/registry user=postgres dbname=postgres" "$instances" "$connections" "$duration" "$steady" "$(by_size 1 5 20)" \
		>"$work/registry.out" 2>"$work/log" </dev/null || fail "$(tail -n 40 "$work/log")"
	[[ ! -s $work/log ]] || fail "$(tail -n 40 "$work/log")"
	stop_cluster registry
	awk -v OFS='\t' '{ print "registry", $1, 0, $2, 1, $3 }' "$work/registry.out" | load_samples
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
		this machine.

	TEXT
	markdown_table 'calls | per second | median, ms | 99 % within, ms | refused' '--- | ---: | ---: | ---: | ---:' "
		SELECT name, max(value) FILTER (WHERE metric = 'rate'), max(value) FILTER (WHERE metric = 'p50_ms'),
		       max(value) FILTER (WHERE metric = 'p99_ms'), max(value) FILTER (WHERE metric = 'refused')
		  FROM sample JOIN (VALUES (1, 'lease', 'leases'), (2, 'steady', 'renewals, steadily'), (3, 'flat', 'renewals, flat out')) AS s (n, series, name) USING (series)
		 WHERE part = 'registry' GROUP BY n, name ORDER BY n"
}
