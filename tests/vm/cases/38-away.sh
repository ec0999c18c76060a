#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Writing back and leaving while the server is gone (killed), paused (stopped), or slow (far
# away); on one small machine. sync(2) waits until the server is back, and then comes to an end.
# umount waits too, but can be interrupted, and then the disk stays mounted; one that cannot be
# (without the helper) is freed by an abort. umount -f and abort end in a few seconds whatever
# the server does. When it is back, all goes on.
#
#     web-1  /mnt/a (shared)   /N: synced and not synced -- server: killed, stopped, slow
#     web-2  /mnt/b (ro)       looks
#
# vm-run: --mem 512 --timeout 600

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../watch.sh"

SOON=10		# seconds for what must not wait for the server
LATE=60		# for what goes on when it is back

gone() { kill_server; }
gone_back() { start_server; }
paused() { run kill -STOP "$SERVER_PID"; }
paused_back() { run kill -CONT "$SERVER_PID"; }
slow() { run in_client 1 tc qdisc add dev eth0 root netem delay 500ms limit 100000; }
slow_back() { run in_client 1 tc qdisc del dev eth0 root; }

status() { archilctl status --json /mnt/a | sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p"; }

# without asking the server
is_mounted() { archil_mounts | grep -qx /mnt/a; }
not_mounted() { ! is_mounted; }

# busy NAME: web-1 owns a directory, and has in it what is durable and what is not
busy() {
	D=$1
	echo "# ---- $D"
	must mkdir "/mnt/a/$D"
	echo 'durable' >"/mnt/a/$D/durable"
	must sync -f /mnt/a
	head -c 8000000 /dev/zero | tr '\0' x >"/mnt/a/$D/big"
	for i in 1 2 3 4 5 6 7 8 9; do echo "$i" >"/mnt/a/$D/$i"; done
	echo 'more' >>"/mnt/a/$D/durable"
}

# kept: all of it is on the server
kept() {
	is "$D: it is all there" "$(cd "/mnt/b/$D" && cat durable [1-9] | tr '\n' ' '; wc -c <big)" \
		'durable more 1 2 3 4 5 6 7 8 9 8000000'
}

# partly: what was durable is; of the rest no byte that nobody wrote
partly() {
	is "$D: what was durable is there" "$(head -n 1 "/mnt/b/$D/durable")" durable
	[ ! -e "/mnt/b/$D/big" ] ||
		is "$D: and nothing that nobody wrote" "$(tr -d 'x\0' <"/mnt/b/$D/big" | wc -c)" 0
}

# mounted: again, and it works
mounted() {
	within $LATE "$D: a new mount" cmount 1 shared disk /mnt/a
	within $LATE "$D: works" bash -c "mkdir /mnt/a/$D.2 && echo x >/mnt/a/$D.2/f && sync /mnt/a/$D.2/f"
}

# goes_on: the mount does
goes_on() {
	within $LATE "$D: it goes on" bash -c "echo on >/mnt/a/$D/on && sync /mnt/a/$D/on"
	is "$D: the other client sees it" "$(sleep 1.1; cat "/mnt/b/$D/on")" on
}

# waits TEXT PID: a test: it does not end without the server
waits() {
	sleep 3
	check "$1" is_there "$2"
}

# synced HOW, and so on: each while the server is away in this way
synced() {
	busy "sync.$1"
	"$1"
	show sync
	sync & pid=$!
	if [ "$1" = slow ]; then
		ends_within $LATE "$D: sync(2) ends" $pid
	else
		waits "$D: sync(2) waits" $pid
		"$1_back"
		ends_within $LATE "$D: and ends when the server is back" $pid
	fi
	kept
	[ "$1" != slow ] || "$1_back"
	goes_on
}

unmounted() {
	busy "umount.$1"
	"$1"
	show umount.archil /mnt/a
	umount.archil /mnt/a & pid=$!
	if [ "$1" = slow ]; then
		ends_within $LATE "$D: umount ends" $pid
		"$1_back"
	else
		waits "$D: umount waits" $pid
		kill -TERM $pid
		check "$D: it can be interrupted" in_time $SOON $pid
		check "$D: the disk stays mounted" is_mounted
		"$1_back"
		goes_on
		within $LATE "$D: umount ends when the server is back" umount /mnt/a
	fi
	kept
	mounted
}

forced() {
	busy "force.$1"
	"$1"
	within $SOON "$D: umount -f ends" umount -f /mnt/a
	check "$D: it is unmounted" not_mounted
	within $SOON "$D: sync(2) has nothing to wait for" sync
	"$1_back"
	partly
	mounted
}

aborted() {
	busy "abort.$1"
	"$1"
	sync & pid=$!
	cat "/mnt/a/$D/not there" 2>/dev/null & other=$!
	sleep 2
	within $SOON "$D: status can be had" archilctl status /mnt/a
	within $SOON "$D: abort ends" archilctl abort /mnt/a
	ends_within $SOON "$D: and so does a sync(2) that waited" $pid
	check "$D: and whoever waited for the server" in_time $SOON $other
	within $SOON "$D: what came later gets an error" bash -c "! touch /mnt/a/$D/x 2>/dev/null"
	within $SOON "$D: umount ends" umount /mnt/a
	"$1_back"
	partly
	mounted
}

# umount(2) alone cannot be interrupted; by its number the mount can be aborted all the same
stuck() {
	local number
	busy "stuck.$1"
	number=$(status mount_id)
	"$1"
	show umount -i /mnt/a
	umount -i /mnt/a & pid=$!
	waits "$D: umount(2) waits" $pid
	sync & other=$!
	within $SOON "$D: abort ends" archilctl abort "$number"
	check "$D: umount(2) too" in_time $SOON $pid
	ends_within $SOON "$D: and sync(2)" $other
	"$1_back"
	partly
	mounted
}

modprobe sch_netem
net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared,commit=600 disk /mnt/a
must cmount 2 ro disk /mnt/b

for how in gone paused slow; do
	synced $how
	unmounted $how
	forced $how
	aborted $how
	[ $how = slow ] || stuck $how
done

must umount /mnt/a
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
