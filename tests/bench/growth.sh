# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# How the cost of one operation grows with how much there is: files in a tree,
# delegations held, clients that work each in a place of its own. Sourced by guest.sh.
#
# Rules:
# 1. What is timed ends with syncfs, so that the server's part is in it; and what its engine puts
#    off (tables written and merged) is added to what made it, not found in the next row.
# 2. Each size has a disk of its own. Its owner has what it made in memory; the reader,
#    who finds it, has just mounted.

GROWN=$BENCH/growth

# grow WORK SIZE OPERATIONS CMD...: measures the command, which does so many operations
# where there is so much already
grow() {
	# for result
	# shellcheck disable=SC2034
	local SIZE=$2 OPERATIONS=$3
	measure "growth-$1" "${@:4}"
}

# synced DIR CMD...: the command's seconds and those of syncfs after it
synced() {
	local dir=$1 a b
	shift
	a=$("$@") && b=$(fsyncs syncfs "$dir" 1) || return
	awk -v a="$a" -v b="$b" 'BEGIN { printf "%.6f\n", a + b }'
}

# less A B SECONDS: is B - A less?
less() { awk -v a="$1" -v b="$2" -v secs="$3" 'BEGIN { exit !(b - a < secs) }'; }

# settled DIR CMD...: the same, and the server's processor time until it has nothing more to do
settled() {
	local secs before last now
	secs=$(synced "$@") || return
	before=$(cputime archil-server)
	now=$before
	while last=$now; do
		sleep 3
		now=$(cputime archil-server)
		! less "$last" "$now" 0.03 || break
	done
	awk -v secs="$secs" -v a="$before" -v b="$now" 'BEGIN { printf "%.6f\n", secs + b - a }'
}

# grown_mount CLIENT OPTIONS DISK: on $GROWN.CLIENT
grown_mount() { must cmount "$1" "$2" "$3" "$GROWN.$1"; }

growth_files() {
	local size sizes='1000 10000 100000' dir=$GROWN.1 DIR
	[ -z "$LONG" ] || sizes+=' 1000000'
	for size in $sizes; do
		DIR=$dir
		disk_create "files$size"
		grown_mount 1 '' "files$size"
		grow create "$size" "$size" settled "$dir" files create-tree "$dir" "$size"
		grow stat "$size" "$size" files stat-tree "$dir" "$size"
		DIR=$GROWN.2
		grown_mount 2 shared "files$size"
		grow find "$size" "$size" lap find "$DIR" -type f -size +0
		must umount "$DIR"
		DIR=$dir
		grow unlink "$size" "$size" settled "$dir" files unlink-tree "$dir" "$size"
		must umount "$dir"
	done
}

growth_delegations() {
	local held=0 size dir=$GROWN.1 DIR=$GROWN.1 n=1000 first=9000000
	disk_create delegations
	grown_mount 1 shared delegations
	# where nobody owns the place, who makes a directory owns it
	for size in 1 100 10000; do
		files mkdir "$dir" "$size" "$held" >/dev/null
		held=$size
		settle
		# names that were there before would cost more than new ones
		must mkdir "$dir/d0000000/$size"
		grow deleg-create "$size" "$n" synced "$dir" files create "$dir/d0000000/$size" "$n"
		settle
		grow deleg-grant "$size" 100 files mkdir "$dir" $((first + 100)) "$first"
		settle
		grow deleg-checkin "$size" 100 lap archilctl checkin "$dir/d${first%00}"*
		first=$((first + 100))
	done
	must umount "$dir"
}

# crowd CLIENTS FILES: each makes so many files in a place of its own, all at once
crowd() {
	local n begin=$EPOCHREALTIME pids=()
	for ((n = 1; n <= $1; n++)); do
		synced "$GROWN.$n" files create-tree "$GROWN.$n/own$n" "$2" >/dev/null &
		pids+=($!)
	done
	for n in "${pids[@]}"; do
		wait "$n" || return
	done
	awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.6f\n", b - a }'
}

growth_clients() {
	local size n files=1000
	for size in 1 4 16; do
		disk_create "clients$size"
		MOUNTS=()
		for ((n = 1; n <= size; n++)); do
			[ -n "${AGENT_PIDS[n]-}" ] || start_agent "$n"
			grown_mount "$n" shared "clients$size"
			must mkdir "$GROWN.$n/own$n"
			MOUNTS+=("$GROWN.$n")
		done
		settle
		grow clients "$size" $((size * files)) crowd "$size" "$files"
		must umount "${MOUNTS[@]}"
	done
	MOUNTS=()
}
