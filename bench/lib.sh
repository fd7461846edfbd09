# shellcheck shell=bash
# What the parts of script/bench share: servers, samples, tables.  To be
# sourced after script/lib.sh.
#
# A part is a file bench/PART.sh with two functions: measure_PART records
# samples, report_PART writes its section of the report.

# shellcheck disable=SC2034,SC2154 # set in one file and used in others
bench_packages=(gnuplot-nox)

step() { printf '%-10s %s\n' "$1" "$2"; }

# Shows how far a part has got, on one line if there is a terminal.
progress() {
	if [[ -t 2 ]]; then
		printf '\r\e[K%-10s %s' "$1" "$2" >&2
	fi
}
progress_done() {
	if [[ -t 2 ]]; then
		printf '\r\e[K' >&2
	fi
	step "$1" "$2"
}

# by_size QUICK PLAIN FULL
by_size() {
	case "$size" in
		quick) echo "$1" ;;
		plain) echo "$2" ;;
		full) echo "$3" ;;
	esac
}

# logged COMMAND...: shows the output only if the command fails
logged() {
	run "$@" >"$work/log" 2>&1 </dev/null || {
		tail -n 40 "$work/log" >&2
		fail "failed: $*"
	}
}

# new_cluster NAME [LINE OF postgresql.conf]...
#
# Its port is only part of the socket's name.  JIT and autovacuum would run at
# arbitrary times, and checkpoints are requested where they matter.
new_cluster() {
	local name=$1
	shift
	logged as_user "$bindir/initdb" -D "$name" -U postgres --auth=trust --no-sync
	as_user tee -a "$work/$name/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$work/$name'
		jit = off
		autovacuum = off
		max_parallel_workers_per_gather = 0
		shared_buffers = 256MB
		max_wal_size = 8GB
		checkpoint_timeout = 1h
		shared_preload_libraries = 'snowflake'
		snowflake.worker_id = 1
		$(printf '%s\n' "$@")
	CONF
}
start_cluster() {
	run as_user "$bindir/pg_ctl" start -w -s -D "$1" -l "$1.log" >"$work/log" 2>&1 </dev/null || {
		cat "$work/log" "$work/$1.log" >&2
		fail "the server did not start"
	}
}
stop_cluster() {
	logged as_user "$bindir/pg_ctl" stop -s -D "$1"
}

# sql_on CLUSTER ARGUMENT...
sql_on() {
	as_user "$bindir/psql" -XAtq -F $'\t' -v ON_ERROR_STOP=1 -h "$work/$1" -U postgres -d postgres "${@:2}"
}
sql() { sql_on main "$@"; }

# set_max_ahead CLUSTER VALUE: returns once new sessions have it
set_max_ahead() {
	sql_on "$1" -c "ALTER SYSTEM SET snowflake.max_ahead = '$2'" -c "SELECT pg_reload_conf()" >/dev/null
	until [[ $(sql_on "$1" -c "SHOW snowflake.max_ahead") == "$2" ]]; do
		:
	done
}

# Fails if the generator ran so far ahead that it was paced, or nearly so: a figure
# must not mix paced and unpaced calls.
check_unpaced() {
	[[ $(sql_on "$1" -c "SELECT snowflake_timestamp(snowflake_next()) - clock_timestamp() < current_setting('snowflake.max_ahead')::interval * 0.9") == t ]] ||
		fail "the generator ran ahead of the clock until it was paced: the figures are mixed"
}

# script NAME TEXT: a script for pgbench
script() { as_user tee "$work/$1.sql" >/dev/null <<<"$2"; }

# pgbench_run CLUSTER CLIENTS SECONDS SCRIPT [OPTION]...
#
# Sets tps, and leaves the latencies in $work/latencies.*.  Queries are prepared, and
# planned once, so that planning is not measured.
pgbench_run() {
	rm -f "$work"/latencies.*
	logged as_user env PGOPTIONS='-c plan_cache_mode=force_generic_plan' "$bindir/pgbench" -h "$work/$1" -U postgres -n -M prepared -c "$2" \
		-j "$(($2 < 2 ? $2 : 2))" -T "$3" -f "$work/$4.sql" -l --log-prefix="$work/latencies" "${@:5}" postgres
	tps=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$work/log")
}

# latency_quantile Q: of the last pgbench_run, in milliseconds
latency_quantile() {
	cat "$work"/latencies.* | cut -d ' ' -f 3 | sort -n |
		awk -v q="$1" '{ v[NR] = $1 } END { print v[int((NR - 1) * q) + 1] / 1000 }'
}

# load_samples: reads lines of part, series, x, metric, round, value
load_samples() { sql -c '\copy sample FROM pstdin'; }

# markdown_table HEADER ALIGNMENT SQL: both with | between columns
markdown_table() {
	printf '| %s |\n| %s |\n' "$1" "$2"
	sql -F ' | ' -c "$3" | sed 's/^/| /; s/$/ |/'
	echo
}

# plot NAME: an SVG of NAME.dat by the commands on standard input
plot() {
	{
		echo "set terminal svg noenhanced size 720,400 font 'sans,12' background 'white'"
		echo "set output '$work/$1.svg'"
		echo "set grid ytics lc rgb '#dddddd'"
		echo "set border 3"
		echo "set tics nomirror"
		echo "data = '$work/$1.dat'"
		cat
	} >"$work/$1.gp"
	gnuplot "$work/$1.gp"
}

# compared TEXT VALUE: a line of the table at the head of the report
compared() {
	[[ -n $2 ]] || fail "no figure for \"$1\""
	echo "| $1 | $2 |" >>"$work/compared"
}

# The mean of some hundred flushes, in microseconds: this is what commits cost here.
measure_fsync() {
	local seconds
	seconds=$(as_user dd if=/dev/zero of=fsync bs=8k count=300 oflag=dsync 2>&1 |
		sed -n 's/.* copied, \([0-9.e-]*\) s, .*/\1/p')
	as_user rm fsync
	awk -v s="$seconds" 'BEGIN { printf "%.0f\n", s / 300 * 1e6 }'
}

machine() {
	cat <<-TEXT
		- $(date -u +%F), $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors, $(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo), Linux $(uname -r)
		- $(sql -c 'SELECT version()')
		- clock source $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource); load at the start $load_at_start
		- fsync of 8 kB in the cluster's directory: $fsync_us µs
		- size of the run: $size
	TEXT
}

write_report() {
	echo "# How fast"
	echo
	echo "Written by \`script/bench\`. Each figure is the median of interleaved rounds, and a range holds the"
	echo "middle half of them."
	echo
	machine
	echo
	if [[ -s $work/compared ]]; then
		echo "| comparison | measured |"
		echo "| --- | ---: |"
		cat "$work/compared"
		echo
	fi
	local part
	for part in "${parts[@]}"; do
		cat "$work/$part.md"
	done
}
