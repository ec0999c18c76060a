#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The server's power is cut, at many moments. Its store is on a disk that logs what it was
# written and when it was told to flush; while two clients work, each thing that they are
# told is durable leaves a mark in that log. Afterwards the log is replayed up to some
# place, as a power cut there would have left the disk, and a server is started on
# it: all that was promised by then must be there, and nothing that nobody wrote.
# A server that does not flush must be found out.
#
# vm-run: --mem 3072 --timeout 900
#
#     web-1  /mnt/a  w1 w2 w3 --+            store on ext4 on dm-log-writes
#                               +-- server --+        +-- disk
#     web-2  /mnt/b  w4 w5 -----+                     +-- log  --> replayed --> server -- web-3  /mnt/r

. "$(dirname "$0")/../lib.sh"


SAMPLES=${ARCHIL_LONG:+60}
SAMPLES=${SAMPLES:-8}
WORK=${ARCHIL_LONG:+60}
WORK=${WORK:-15}
SEED=${SEED:-$RANDOM}
echo "# seed $SEED"
RANDOM=$SEED

MB=512		# of the disk
# there is no udev that would make the devices' names
export DM_DISABLE_UDEV=1
mkdir -p /srv/power /srv/replay /mnt/r

# loop FILE MB: a disk of zeros; sets LOOP
loop() {
	rm -f "$1"
	must truncate -s "${2}M" "$1"
	LOOP=$(losetup -f --show "$1") || bail "no loop device for $1"
}

# store_up: a new store on a disk that logs
store_up() {
	loop /tmp/disk $MB
	DISK=$LOOP
	loop /tmp/log 2048
	LOG=$LOOP
	must dmsetup create power --table "0 $((MB * 2048)) log-writes $DISK $LOG"
	must mkfs.ext4 -qF -J size=16 -E nodiscard /dev/mapper/power
	must mount -o noinit_itable /dev/mapper/power /srv/power
	STORE=/srv/power/store
	must archil-server init "$STORE"
	disk_create disk
}

# store_down: all that is left is the log
store_down() {
	must umount /srv/power
	must dmsetup remove power
	must losetup -d "$DISK"
	rm -f /tmp/disk
	must replay-log "$LOG" >/tmp/marks
	grep -q ' done:' /tmp/marks || bail 'there was no room in the log'
}

# work [PRELOAD]: two clients work on a server with a new store
work() {
	local pids=() pid
	store_up
	LD_PRELOAD=${1-} start_server
	start_agent 1
	start_agent 2
	must cmount 1 shared,cache_ttl=0 disk /mnt/a
	must cmount 2 shared,cache_ttl=0 disk /mnt/b
	promise work power "$SEED" "$WORK" /mnt/a/w1 /mnt/a/w2 /mnt/a/w3 & pids+=($!)
	promise work power "$SEED" "$WORK" /mnt/b/w4 /mnt/b/w5 & pids+=($!)
	promise look power "$WORK" /mnt/b/w1 /mnt/b/w2 /mnt/b/w3 & pids+=($!)
	promise look power "$WORK" /mnt/a/w4 /mnt/a/w5 & pids+=($!)
	for pid in "${pids[@]}"; do
		check 'a client has done its work' wait "$pid"
	done
	must umount /mnt/a
	must umount /mnt/b
	# for the servers to come, they are gone without a word
	kill_agent 1
	kill_agent 2
	stop_server
	store_down
	echo "# $(tail -n 1 /tmp/marks) of the log"
}

# places N KIND: of the log, "mark" those of marks, "any" any; while all worked
places() {
	awk -v n="$1" -v kind="$2" -v seed="$RANDOM" '
		/ w[0-9]*:0$/ { first = $1 }
		/ done:/ && !last { last = $1 }
		/ (look:)?w/ { mark[$1] = 1 }
		END {
			srand(seed)
			for (place in mark)
				if (place + 0 >= first && place + 0 <= last)
					list[m++] = place
			while (n-- > 0)
				if (kind == "mark")
					print list[int(rand() * m)]
				else
					print first + int(rand() * (last - first + 1))
		}' /tmp/marks
}

# owned: what the client was told about owning its directory is so
owned() {
	local name want wrong=0
	archil-server delegations "$STORE" disk --json >/tmp/delegations || return
	while read -r _ name want; do
		case $want in
		maybe) ;;
		yes) grep -q "\"/$name\"" /tmp/delegations;;
		no) ! grep -q "\"/$name\"" /tmp/delegations;;
		esac || { echo "wrong: /$name is owned: $want"; wrong=1; }
	# the last word counts
	done < <(grep '^own ' | tac | awk '!seen[$2]++')
	return $wrong
}

# kept PLACE: the power was cut there; is the store in order, and what was promised there?
kept() {
	local status=0
	loop /tmp/replayed $MB
	must replay-log "$LOG" "$1" "$LOOP"
	if run mount -o noinit_itable "$LOOP" /srv/replay; then
		STORE=/srv/replay/store
		if run archil-server check "$STORE"; then
			start_server
			must cmount 3 ro disk /mnt/r
			promise check "$SEED" /mnt/r "$1" </tmp/marks >/tmp/checked || status=1
			cat /tmp/checked
			owned </tmp/checked || status=1
			must umount /mnt/r
			stop_server
		else
			status=1
		fi
		must umount /srv/replay
	else
		status=1
	fi
	must losetup -d "$LOOP"
	return $status
}

modprobe -a loop dm-log-writes || skip 'no dm-log-writes'
net_up 3
start_agent 3

echo '# ---- a server as it is'
work
for place in $(places $((SAMPLES / 2)) mark; places $((SAMPLES - SAMPLES / 2)) any); do
	check "what was promised survives a power cut after entry $place" kept "$place"
done
must losetup -d "$LOG"

echo '# ---- one that does not flush'
work "$(command -v noflush)"
lost=0
for place in $(places 4 mark); do
	kept "$place" || lost=$((lost + 1))
done
must losetup -d "$LOG"
check "it is found out ($lost times of 4)" test $lost != 0
