# shellcheck shell=bash
# What setup, demo and test share.  To be sourced before the arguments are read.

# A script that another one starts in the background ignores SIGINT, and so would
# all the servers and tests under it, some of which are ended by one.
if [[ $(trap -p INT) ]]; then
	exec env --default-signal=INT,QUIT "$0" "$@"
fi

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The directory of a run, below which everything happens; see make_work.
work=

fail() {
	echo "${0##*/}: $*" >&2
	exit 1
}

as_root() {
	if ((EUID == 0)); then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		fail "neither root nor sudo, and this takes one of them: $*"
	fi
}

# PostgreSQL refuses to run as root, and only root can remove what root builds.
as_user() {
	(
		cd "${work:-/}" || exit
		if ((EUID == 0)); then exec runuser -u postgres -- "$@"; else exec "$@"; fi
	)
}

# Sets PG_CONFIG and PG_MAJOR.  Either may be set in the environment; the default
# is the server of this release of the distribution.  PG_MAJOR is empty for a
# server that is not one of the distribution's packages, and both are empty as long
# as apt does not know its packages.
choose_server() {
	if [[ -n ${PG_CONFIG:-} ]]; then
		PG_MAJOR=
		if [[ $PG_CONFIG =~ ^/usr/lib/postgresql/([0-9]+)/bin/pg_config$ ]]; then
			PG_MAJOR=${BASH_REMATCH[1]}
		fi
		return
	fi
	if [[ -z ${PG_MAJOR:-} ]]; then
		PG_MAJOR=$(apt-cache depends postgresql 2>/dev/null |
			sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p') || PG_MAJOR=
	fi
	PG_CONFIG=${PG_MAJOR:+/usr/lib/postgresql/$PG_MAJOR/bin/pg_config}
}

# The Debian release whose PostgreSQL has this major version.
release_of() {
	case "$1" in
		15) echo bookworm ;;
		17) echo trixie ;;
		18) echo sid ;;
		19) echo experimental ;;
	esac
}

# None of the caller's environment may reach our servers and clients: not the host,
# service or port of some other server, nor the language.
clean_environment() {
	local name
	for name in $(compgen -v PG); do
		[[ $name == PG_CONFIG || $name == PG_MAJOR ]] || unset "$name"
	done
	unset MAKEFLAGS MAKELEVEL
	export LC_ALL=C.UTF-8
}

# Creates the run's directory, owned by the unprivileged user, and makes sure that
# it is removed, with every process in it, however the run ends.  It has a short
# name in /tmp because the path of a socket is limited to 107 bytes, and because the
# unprivileged user must be able to reach it.
make_work() {
	if ((EUID == 0)) && ! id postgres >/dev/null 2>&1; then
		fail 'running as root takes a user "postgres", to run the server as; there is none'
	fi
	work=$(as_user mktemp -d "/tmp/snowflake-$1.XXXXXX")
	trap remove_work EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	as_user mkdir tmp
	export HOME=$work TMPDIR=$work/tmp
}

remove_work() {
	trap '' HUP INT TERM
	stop_processes
	rm -rf "${work:?}"
}

# Whatever runs in or below the run's directory is ours, and nothing else is: make,
# prove and psql were started there, and a server changes to its data directory.
processes() {
	find /proc/[0-9]* -maxdepth 1 -name cwd -lname "${work:?}*" -printf '%h\n' 2>/dev/null |
		sed 's,^/proc/,,'
}

# Sends SIGTERM first, but not to servers: those that initdb runs would leave shared
# memory behind, and exit cleanly by themselves when initdb, which waits for them,
# does.  Nor to the sh or the runuser between the two.  Then SIGQUIT, which is an
# immediate shutdown to a server.
stop_processes() {
	local i pid pids command signal
	for ((i = 0; i < 100; i++)); do
		mapfile -t pids < <(processes)
		((${#pids[@]})) || return 0
		for pid in "${pids[@]}"; do
			command=$(cat "/proc/$pid/comm" 2>/dev/null) || continue
			case "$i:$command" in
				[0-9]:postgres | [0-9]:sh | [0-9]:runuser) continue ;;
				[0-9]:*) signal=TERM ;;
				[1-7][0-9]:*) signal=QUIT ;;
				*) signal=KILL ;;
			esac
			kill -s "$signal" "$pid" 2>/dev/null || true
		done
		sleep 0.1
	done
}

# Runs a command that may take long.  A trap has to wait for a command in the
# foreground, but not for wait.  Uses job control, because without it a background
# command ignores SIGINT, and so would all the servers and tests under it.  Not for
# as_root: sudo could not ask for a password.
run() {
	set -m
	"$@" &
	set +m
	wait $!
}

# Copies the sources, as they are now, to a directory below $work: a build in
# the checkout would leave files of another user, or of another server version.
copy_tree() {
	as_user mkdir "$1"
	tar -C "$top" --exclude-vcs --exclude-vcs-ignores -cf - . |
		as_user tar -C "$1" -xf -
}

# "make install", as root only if that is needed.
install_from() {
	if [[ -w $("$PG_CONFIG" --pkglibdir) && -w $("$PG_CONFIG" --sharedir)/extension ]]; then
		make -C "$1" install PG_CONFIG="$PG_CONFIG"
	else
		as_root make -C "$1" install PG_CONFIG="$PG_CONFIG"
	fi
}
