# shellcheck shell=bash
# Part 9, applications: how long an ID takes in the generators of client/, beside the
# generators of npm and UUIDs.

bench_packages+=(golang-go golang-github-jackc-pgx-v4-dev libpq-dev python3-psycopg)
command -v npm >/dev/null || bench_packages+=(nodejs npm)

# time_ids COMMAND...: a program, which gets the connection string or the host, the
# rounds, and the IDs of a round.
time_ids() {
	run as_user "$@" "$(by_size 2 9 25)" "$(by_size 1000 100000 100000)" >"$work/applications.out" 2>"$work/log" </dev/null ||
		fail "$(tail -n 40 "$work/log")"
	awk -F '\t' -v OFS='\t' '{ print "applications", $1, 0, "ns", ++round[$1], $2 }' "$work/applications.out" | load_samples
}

measure_applications() {
	local client=build/client programs=build/bench/applications conninfo="host=$work/registry_of_ids user=postgres dbname=postgres"
	progress applications "compiling"
	as_user mkdir -p ids/src/time_ids ids/src/snowflakes
	as_user cp $client/{python/snowflakes.py,javascript/snowflakes.mjs} $programs/{package.json,time.py,time.mjs} ids
	as_user cp $client/go/snowflakes.go ids/src/snowflakes
	as_user cp $programs/time.go ids/src/time_ids
	logged as_user env -C ids npm install --no-package-lock --no-audit --no-fund
	logged as_user env -C ids GO111MODULE=off GOPATH="$work/ids:/usr/share/gocode" GOCACHE="$work/ids/cache" go build -o time_go time_ids
	logged as_user g++ -std=c++20 -O2 -I build/src -I $client/cpp -I "$("$PG_CONFIG" --includedir)" -o ids/time_cpp \
		$programs/time.cpp -L "$("$PG_CONFIG" --libdir)" -lpq -pthread
	new_cluster registry_of_ids
	start_cluster registry_of_ids
	sql_on registry_of_ids -c "CREATE EXTENSION snowflake_registry" \
		-c "SELECT snowflake_registry.setup(longest_lease => '2 h')" >/dev/null
	progress applications "running"
	time_ids ids/time_cpp "$conninfo"
	time_ids ids/time_go "$conninfo"
	time_ids node ids/time.mjs "$work/registry_of_ids"
	time_ids /usr/bin/python3 ids/time.py "$conninfo"
	stop_cluster registry_of_ids
	progress_done applications "4 languages"
}

report_applications() {
	cat <<-'TEXT'
		## Applications

		The generators of `client/` in one thread, each on a leased worker ID, beside the generators of npm
		and UUIDs. Those of npm have a fixed worker ID, and nothing to keep two of them apart. `flake-idgen`
		throws when a millisecond is full, which is counted as an ID here.

	TEXT
	markdown_table 'language and call | ns an ID | middle half' '--- | ---: | ---:' "
		SELECT series, median(q), middle_half(q)
		  FROM (SELECT series, percentile_cont(array[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY value)
		          FROM sample WHERE part = 'applications' GROUP BY series) AS quartiles (series, q)
		 ORDER BY series"
}
