#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Names move between two delegations of one session while both are worked in, and who
# moves them is killed; nothing is refused, nothing is lost.
#
# vm-run: --timeout 200
#
#     web-1  /mnt/a (shared)   owns /d1 and /d2
#     web-2  /mnt/b (shared)   reads

. "$(dirname "$0")/../lib.sh"

LONG=${ARCHIL_LONG:+240}
SEED=${SEED:-$RANDOM}
echo "# seed $SEED"

taken() { archilctl status --json "$1" | grep -o '"taken": *[0-9]*' | grep -o '[0-9]*$'; }

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/a/d1 /mnt/a/d2
set_rtt 3

check 'work and moves' across /mnt/a/d1 /mnt/a/d2 "$SEED" "${LONG:-20}"
is 'no delegation was lost' "$(taken /mnt/a)" 0
must archilctl checkin /mnt/a/d1 /mnt/a/d2
tree /mnt/a >/tmp/a.tree
tree /mnt/b >/tmp/b.tree
check 'the other client sees the same' cmp /tmp/a.tree /tmp/b.tree

echo '# ---- killed while it waits for the server, and unmounted'
for ((i = 0; i < 6; i++)); do
	must mkdir /mnt/a/x$i /mnt/a/y$i
	echo data >/mnt/a/x$i/f
	ln /mnt/a/x$i/f /mnt/a/x$i/g
	must sync -f /mnt/a
	set_rtt 400
	case $((i % 3)) in
	0) mv /mnt/a/x$i/f /mnt/a/y$i/f & delay=0.3 ;;
	1) rm -f /mnt/a/x$i/f & delay=0.3 ;;
	2) mkdir /mnt/a/z$i & delay=0.7 ;;
	esac
	victim=$!
	sleep "$delay"
	kill -KILL $victim
	wait $victim 2>/dev/null
	check 'unmounts at once' timeout 20 umount /mnt/a
	set_rtt 1
	must cmount 1 shared disk /mnt/a
done
