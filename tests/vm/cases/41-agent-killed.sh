#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The agent is killed and started again, at random, while everything that needs it is going on:
# mounting and unmounting, checkout and checkin, reconnecting; and what does not: reading and
# writing, dynamic ownership. Nothing fails.
#
#     web-1  /mnt/a (shared)   works without a pause
#            /mnt/m            is mounted and unmounted
#     web-2  /mnt/b (shared)   looks at the end

. "$(dirname "$0")/../lib.sh"

KILLS=${ARCHIL_LONG:+200}
KILLS=${KILLS:-12}

going_on() { [ ! -e /tmp/stop ]; }

# mounts: how often it was mounted
mounts() {
	local n=0
	while going_on; do
		cmount 1 "$([ $((n % 2)) = 0 ] && echo shared)" disk:/m /mnt/m || return
		[ $((n % 2)) = 0 ] || touch "/mnt/m/$n" || return
		umount /mnt/m || return
		n=$((n + 1))
	done
	echo "mounted $n times"
}

# checkouts: how often
checkouts() {
	local n=0
	while going_on; do
		archilctl checkout /mnt/a/c && echo "$n" >>/mnt/a/c/lines &&
			archilctl checkin /mnt/a/c || return
		n=$((n + 1))
	done >/dev/null
	echo "checked out $n times" >&2
	[ "$(wc -l </mnt/a/c/lines)" = $n ]
}

# dynamic: without the agent
dynamic() {
	local n=0
	while going_on; do
		mkdir "/mnt/a/free/$n" && echo "$n" >"/mnt/a/free/$n/f" || return
		n=$((n + 1))
		sleep 0.2
	done
	echo "made $n directories"
	[ "$(cat /mnt/a/free/*/f | wc -l)" = $n ]
}

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/a/{w1,w2} /mnt/b/{c,m,free}
must archilctl checkin /mnt/b/c
must archilctl checkin /mnt/b/m
must archilctl checkin /mnt/b/free

work /mnt/a/w1 /mnt/a/w2 /mnt/b/free 1 $((KILLS * 2)) >/tmp/work 2>&1 &
pids=($!)
mounts >/tmp/mounts 2>&1 &
pids+=($!)
checkouts >/tmp/checkouts 2>&1 &
pids+=($!)
dynamic >/tmp/dynamic 2>&1 &
pids+=($!)
for ((i = 0; i < KILLS; i++)); do
	sleep $((RANDOM % 2)).$((RANDOM % 10))
	# while it connects again, every third time
	case $((i % 6)) in
	2) kill_server; start_server;;
	5) cut 1; sleep 0.5; heal 1;;
	esac
	kill_agent 1
	sleep 0.$((RANDOM % 10))
	start_agent 1
done 2>/dev/null
touch /tmp/stop
texts=('what was changed is as remembered' 'mounting' 'checkout and checkin' 'dynamic ownership')
outs=(work mounts checkouts dynamic)
for i in 0 1 2 3; do
	check "${texts[i]}" wait "${pids[i]}" || tail -n 20 "/tmp/${outs[i]}"
	grep -E 'times|directories' "/tmp/${outs[i]}"
done
check 'everything is durable' sync -f /mnt/a
sleep 1.1
for top in w1 w2 c free m; do
	tree /mnt/a/$top >/tmp/$top.a
	tree /mnt/b/$top >/tmp/$top.b
	check "$top is the same on both" cmp /tmp/$top.a /tmp/$top.b
done
is 'sessions' "$(archil-server session list "$STORE" disk | grep -c web-)" 2
