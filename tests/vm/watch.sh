# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For cases in which something may hang: what does is not waited for, and who waits for what
# is shown.

# who_waits: every task that cannot be interrupted, and where it is
who_waits() {
	local dir
	for dir in /proc/[0-9]*; do
		grep -q '^State:.D' "$dir/status" || continue
		echo "--- $dir $(tr '\0' ' ' <"$dir/cmdline") ($(<"$dir/comm"))"
		cat "$dir/stack"
	done 2>/dev/null
	grep -E '^(MemFree|MemAvailable|Dirty|Writeback|Slab)' /proc/meminfo
}

# is_there PID: a child of ours has not ended
is_there() { kill -0 "$1" 2>/dev/null; }
is_gone() { ! is_there "$1"; }

# in_time SECONDS PID: it ends in that time; if not, says where it hangs
in_time() {
	wait_until "$1" is_gone "$2" && return
	who_waits
	kill -KILL "$2" 2>/dev/null
	return 1
}

# ends_within SECONDS TEXT PID: a test: a child ends in that time, and well
ends_within() {
	local begin=$SECONDS
	in_time "$1" "$3" || bail "$2: no end in $1 s"
	check "$2 ($((SECONDS - begin)) s)" wait "$3"
}

# within SECONDS TEXT CMD...: a test: the command does
within() {
	local limit=$1 text=$2
	shift 2
	show "$@"
	"$@" &
	ends_within "$limit" "$text" $!
}
