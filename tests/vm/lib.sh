# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For scripts that run in a guest (tests/vm/run): one machine that is a server
# and several clients, each in a network namespace of its own.
#
#     netns server           netns c1             netns c2
#     archil-server          archil-agent web-1   archil-agent web-2    ...
#     10.99.0.1              10.99.0.11           10.99.0.12
#          | eth0                 | eth0               | eth0
#     =====+======================+====================+=====  bridge "wire"
#
# Mounts are seen from everywhere: only the network is separate. Under
# `tests/vm/run --hosts N` each host is a machine of its own, 10.77.0.HOST; host
# 1 has the server, and the same functions leave the namespaces away.
#
#	. "$(dirname "$0")/../lib.sh"
#	net_up 2
#	start_server
#	start_agent 1
#	cmount 1 shared disk /mnt/a
#	check 'a file can be made' touch /mnt/a/f
#
# When the script ends, however it ends, everything is taken down, what should
# then be gone is looked for, and the tests are counted: exit status 0 if all
# went well, 1 if not, 77 for a skip.

STORE=${STORE:-/srv/archil}		# the server's store
LOGS=/tmp/archil-logs			# what server and agents say
TOKENS=/tmp/archil-tokens		# one file a disk
PORT=7464
HOSTS=${HOSTS:-1}
HOST=${HOST:-1}
export LC_ALL=C

SERVER_PID=''
AGENT_PIDS=()
CLIENTS=0
TESTS=0
FAILED=0

if [ "$HOSTS" -gt 1 ]; then
	SERVER_ADDR=10.77.0.1
else
	SERVER_ADDR=10.99.0.1
fi
mkdir -p "$LOGS" "$TOKENS"

# ---- counting --------------------------------------------------------------

ok() { TESTS=$((TESTS + 1)); printf 'ok %d - %s\n' "$TESTS" "$*"; }

fail() {
	TESTS=$((TESTS + 1)) FAILED=$((FAILED + 1))
	printf 'not ok %d - %s\n' "$TESTS" "$*"
	return 1
}

# skip REASON...: ends the script
skip() { printf 'skip: %s\n' "$*"; exit 77; }

# bail REASON...: ends the script; what follows would make no sense
bail() { fail "$*"; exit 1; }

# run CMD...: says what it does, does it
run() {
	show "$@"
	"$@"
}

# show WORD...: as one would type it
show() {
	local line
	printf -v line ' %q' "$@"
	printf '+%s\n' "$line" >&2
}

# must CMD...: without this the rest makes no sense
must() { run "$@" || bail "'$*' failed with status $?"; }

# check TEXT CMD...: a test: the command succeeds
check() {
	local text=$1 status
	shift
	if run "$@"; then
		ok "$text"
	else
		status=$?
		fail "$text (status $status)"
	fi
}

# is TEXT GOT WANTED: a test: two strings are the same
is() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		fail "$1: got '$2', wanted '$3'"
	fi
}

# fails_with STATUS PATTERN CMD...: a test: the command exits with this status and
# says something that matches the extended regular expression; '-' is any but 0
fails_with() {
	local want=$1 pattern=$2 said status
	shift 2
	show "$@"
	said=$("$@" 2>&1)
	status=$?
	if [ "$want" = - ] && [ $status != 0 ] || [ "$status" = "$want" ]; then
		if [[ $said =~ $pattern ]]; then
			ok "$*: status $status, says '$pattern'"
			return
		fi
	fi
	printf '%s\n' "$said"
	fail "$*: status $status (wanted $want), wanted '$pattern' said"
}

# expect_errno ERRNO CMD...: a test: the command fails and its message is that error's
expect_errno() {
	local errno=$1 text
	shift
	case $errno in
	EACCES) text='Permission denied';;
	EBUSY) text='Device or resource busy';;
	EEXIST) text='File exists';;
	EINVAL) text='Invalid argument';;
	EIO) text='Input/output error';;
	ENOENT) text='No such file or directory';;
	ENOSPC) text='No space left on device';;
	ENOTCONN) text='Transport endpoint is not connected';;
	ENOTEMPTY) text='Directory not empty';;
	EOPNOTSUPP) text='Operation not supported';;
	EPERM) text='Operation not permitted';;
	EPROTO) text='Protocol error';;
	EROFS) text='Read-only file system';;
	ESTALE) text='Stale file handle';;
	ETIMEDOUT) text='Connection timed out';;
	EXDEV) text='Invalid cross-device link';;
	*) bail "expect_errno: no text for $errno";;
	esac
	fails_with - "$text" "$@"
}

# wait_until SECONDS CMD...: tries until it succeeds; fails if it never does
wait_until() {
	local end=$((SECONDS + $1)) status
	shift
	until "$@"; do
		status=$?
		[ $SECONDS -lt $end ] || return $status
		sleep 0.1
	done
}

# ---- network ---------------------------------------------------------------

# net_up N: the server's namespace and those of clients 1 to N
net_up() {
	local n
	CLIENTS=$1
	[ "$HOSTS" = 1 ] || return 0
	must ip link add wire type bridge
	must ip link set wire up
	net_join server 1
	for ((n = 1; n <= CLIENTS; n++)); do
		net_join "c$n" "1$n"
	done
}

# net_join NETNS LAST-BYTE: a namespace on the wire; its port is called like it
net_join() {
	ip -batch - <<-EOF || bail "the namespace $1 could not be made"
		netns add $1
		link add $1 type veth peer name eth0 netns $1
		link set $1 master wire up
	EOF
	ip -n "$1" -batch - <<-EOF || bail "the network of $1 could not be set up"
		link set lo up
		link set eth0 up
		addr add 10.99.0.$2/24 dev eth0
	EOF
}

# in_net NETNS CMD...: not `ip netns exec`, whose mounts vanish with the command
in_net() {
	local ns=$1
	shift
	if [ "$HOSTS" -gt 1 ]; then
		"$@"
	else
		nsenter --net="/run/netns/$ns" "$@"
	fi
}

# in_client N CMD...
in_client() {
	local n=$1
	shift
	in_net "c$n" "$@"
}

# set_rtt MS: round trip between a client and the server, such as 0.3; 0 is none.
# Each side delays what it sends by half.
set_rtt() {
	local us ns dev=eth0
	us=$(awk -v ms="$1" 'BEGIN { printf "%d", ms * 500 }')
	modprobe sch_netem
	for ns in server $(seq -f 'c%.0f' 1 "$CLIENTS"); do
		if [ "$us" = 0 ]; then
			in_net "$ns" tc qdisc del dev $dev root 2>/dev/null
		else
			in_net "$ns" tc qdisc replace dev $dev root netem delay "${us}us" limit 100000 ||
				bail 'the round trip time could not be set'
		fi
		[ "$HOSTS" = 1 ] || break
	done
}

# cut N / heal N: takes client N's cable out, puts it back
cut() { run ip link set "c$1" down; }
heal() { run ip link set "c$1" up; }

# patience SECONDS: what to give to something that may take so long; four times as much on the kernel
# that looks for bugs, as tests/vm/image.sh has it
patience() {
	if [ -e /sys/kernel/debug/kmemleak ]; then echo $(($1 * 4)); else echo "$1"; fi
}

# ---- server and agents -----------------------------------------------------

# disk_create NAME: makes a disk, keeps its token in $TOKENS/NAME
disk_create() {
	must archil-server disk create "$STORE" "$1" >"$TOKENS/$1.out"
	(umask 077; tail -n 1 "$TOKENS/$1.out" >"$TOKENS/$1")
}

# listening PID: whether that process's network has somebody on our port
listening() {
	local f line
	[ -e "/proc/$1/exe" ] || bail 'the server has ended'
	for f in tcp tcp6; do
		while read -r line; do
			[[ $line != *:"$(printf %04X $PORT)"\ *:0000\ 0A\ * ]] || return 0
		done <"/proc/$1/net/$f"
	done 2>/dev/null
	return 1
}

# start_server [ARG...]: makes the store with a disk called "disk" if there is none
start_server() {
	if [ ! -e "$STORE" ]; then
		mkdir -p "$(dirname "$STORE")"
		must archil-server init "$STORE"
		disk_create disk
	fi
	show archil-server run "$STORE" --listen "$SERVER_ADDR:$PORT" "$@"
	in_background server archil-server run "$STORE" --listen "$SERVER_ADDR:$PORT" "$@" \
		>>"$LOGS/server" 2>&1
	SERVER_PID=$!
	wait_until 120 listening "$SERVER_PID" || bail 'the server does not listen'
}

# in_background NETNS CMD...: sets $!
in_background() {
	local ns=$1
	shift
	if [ "$HOSTS" -gt 1 ]; then
		"$@" &
	else
		nsenter --net="/run/netns/$ns" "$@" &
	fi
}

# end PID SIGNAL: ends a child of ours, by force if it takes a minute; returns its status
end() {
	local status dog
	kill "-$2" "$1" 2>/dev/null
	( sleep 60; kill -KILL "$1" ) 2>/dev/null &
	dog=$!
	wait "$1" 2>/dev/null
	status=$?
	# KILL: a fork that has not yet dropped our trap would run it on TERM
	kill -KILL $dog 2>/dev/null
	wait $dog 2>/dev/null
	return $status
}

# stop_server: as its operator would; it must end well
stop_server() {
	local status pid=$SERVER_PID
	[ -n "$pid" ] || return 0
	SERVER_PID=''
	run end "$pid" TERM
	status=$?
	[ $status = 0 ] || fail "the server ended with status $status"
}

kill_server() {
	local pid=$SERVER_PID
	SERVER_PID=''
	run end "$pid" KILL
	return 0
}

# start_agent N [ARG...]
start_agent() {
	local n=$1
	shift
	[ -e /sys/module/archil ] || must modprobe archil
	show archil-agent --client-id "web-$n" "$@"
	in_background "c$n" archil-agent --client-id "web-$n" "$@" >>"$LOGS/agent-$n" 2>&1
	AGENT_PIDS[n]=$!
}

stop_agent() {
	local status pid=${AGENT_PIDS[$1]-}
	[ -n "$pid" ] || return 0
	unset "AGENT_PIDS[$1]"
	run end "$pid" TERM
	status=$?
	[ $status = 0 ] || fail "agent $1 ended with status $status"
}

kill_agent() {
	local pid=${AGENT_PIDS[$1]-}
	unset "AGENT_PIDS[$1]"
	run end "$pid" KILL
	return 0
}

# cmount N OPTIONS DISK[:/SUBDIR] DIR: mounts on client N; '' is no options.
# The disk's token is found unless the options bring one.
cmount() {
	local n=$1 opts=$2 disk=${3%%:*} source=$SERVER_ADDR:$PORT/$3 dir=$4
	mkdir -p "$dir"
	case ,$opts in
	*,tokenfile=*) ;;
	*) opts=${opts:+$opts,}tokenfile=$TOKENS/$disk;;
	esac
	run in_client "$n" mount -t archil -o "$opts" "$source" "$dir"
}

# ---- the end ---------------------------------------------------------------

# archil_mounts: mount points of ours, the youngest first
archil_mounts() {
	local _ dir type
	while read -r _ dir type _; do
		# the kernel writes blanks as \040
		[ "$type" != archil ] || printf '%b\n' "${dir//\\/\\0}"
	done </proc/self/mounts | tac
}

# threads: kernel threads of ours
threads() {
	local comm pid
	for pid in /proc/[0-9]*; do
		read -r comm <"$pid/comm" || continue
		case $comm in
		# "+": at it now; an idle worker is still called by what it did last, "-"
		archil*|kworker*+archil*) [ -e "$pid/exe" ] || echo "$comm";;
		esac
	done 2>/dev/null
}

# sockets: TCP sockets of our port that are not just waiting for their end (06)
sockets() {
	local ns port
	port=$(printf %04X $PORT)
	for ns in server $(seq -f 'c%.0f' 1 "$CLIENTS"); do
		in_net "$ns" cat /proc/net/tcp /proc/net/tcp6
		[ "$HOSTS" = 1 ] || break
	done | awk -v p=":$port\$" '($2 ~ p || $3 ~ p) && $4 != "06"'
}

no_sockets() { [ -z "$(sockets)" ]; }
no_threads() { [ -z "$(threads)" ]; }

# cleanup: takes everything down, the way a user would; what does not go, or
# leaves something, is a failure
cleanup() {
	local dir n
	while read -r dir; do
		[ -n "$dir" ] || continue
		run timeout 60 umount "$dir" || fail "$dir could not be unmounted"
	done <<<"$(archil_mounts)"
	for n in "${!AGENT_PIDS[@]}"; do
		stop_agent "$n"
	done
	stop_server
	if [ -e /sys/module/archil ]; then
		if ! run rmmod archil; then
			fail "the module could not be unloaded"
		else
			[ ! -e /sys/kernel/debug/archil ] || fail 'debugfs entries are left'
			! grep -q '^archil' /proc/slabinfo || fail 'slab caches are left'
		fi
		no_threads || fail "kernel threads are left: $(threads | tr '\n' ' ')"
	fi
	if [ "$CLIENTS" -gt 0 ]; then
		wait_until 5 no_sockets || { sockets; fail 'sockets are left'; }
		[ "$HOSTS" -gt 1 ] || {
			for n in server $(seq -f 'c%.0f' 1 "$CLIENTS"); do
				echo "netns del $n"
			done
			echo 'link del wire'
		} | ip -batch - || fail 'the network could not be taken down'
		CLIENTS=0
	fi
}

finish() {
	local status=$? f
	trap - EXIT
	cleanup >&2
	if [ $status = 77 ] && [ $FAILED = 0 ]; then
		exit 77
	fi
	[ $status = 0 ] || [ $FAILED != 0 ] || fail "the script ended with status $status"
	[ $TESTS != 0 ] || fail 'nothing was tested'
	if [ $FAILED != 0 ]; then
		for f in "$LOGS"/*; do
			[ -s "$f" ] || continue
			echo "--- the end of ${f##*/}'s log"
			tail -n 25 "$f"
		done
	fi
	printf '%d tests, %d failed\n' "$TESTS" "$FAILED"
	# a bare exit would give the status from before the trap
	exit $((FAILED != 0))
}
trap finish EXIT

# ---- between hosts (--hosts N) ---------------------------------------------

# A small notice board on host 1, port 7999, one request a connection:
#	put KEY VALUE		get KEY (waits until it is there)
#	barrier NAME HOST	(waits until all hosts are there)
BOARD=/run/board

board_serve() {
	local what key value
	read -r what key value
	case $what in
	put)
		echo "$value" >"$BOARD/.$key.$$"
		mv "$BOARD/.$key.$$" "$BOARD/$key"
		echo ok;;
	get)
		wait_until 600 test -e "$BOARD/$key"
		cat "$BOARD/$key";;
	barrier)
		mkdir -p "$BOARD/=$key"
		: >"$BOARD/=$key/$value"
		wait_until 600 board_all "$BOARD/=$key"
		echo ok;;
	esac
}
board_all() { local f=("$1"/*); [ ${#f[@]} -ge "$HOSTS" ]; }

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	# as socat's child
	trap - EXIT
	board_serve
	exit
elif [ "$HOSTS" -gt 1 ] && [ "$HOST" = 1 ]; then
	mkdir -p "$BOARD"
	HOSTS=$HOSTS socat TCP-LISTEN:7999,fork,reuseaddr \
		"EXEC:bash $(realpath "${BASH_SOURCE[0]}")" </dev/null >/dev/null 2>&1 &
fi

board_ask() {
	local fd answer
	wait_until 120 board_open || bail 'host 1 does not answer'
	echo "$*" >&"$fd"
	read -r -t 600 -u "$fd" answer || bail "no answer to '$*'"
	exec {fd}>&-
	echo "$answer"
}
board_open() { exec {fd}<>/dev/tcp/10.77.0.1/7999; } 2>/dev/null

# put KEY VALUE; get KEY: pass a line, such as a token, from one host to the others
put() { board_ask put "$@" >/dev/null; }
get() { board_ask get "$@"; }

# power_off K, power_on K: what its kernel held in memory is gone; disks given
# with --disk stay. The script starts anew there, with BOOT one higher.
power_off() { show power_off "$1"; echo "off $1" >/run/host; }
power_on() { show power_on "$1"; echo "on $1" >/run/host; }

# pause K, go_on K: another host stands still; its clock too, and its network
pause() { show pause "$1"; echo "pause $1" >/run/host; }
go_on() { show go_on "$1"; echo "go $1" >/run/host; }

# power_cycle: that, on this host; does not return
power_cycle() { show power_cycle; printf 'off %d\non %d\n' "$HOST" "$HOST" >/run/host; sleep 1000; }

# barrier NAME: goes on when all hosts have come here
barrier() { board_ask barrier "$1" "$HOST" >/dev/null; }
