#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Random operations on three clients with random faults, against a model: after each round, what
# is there is what semantics.md, section 5, allows. The model and its rules: progs/torture*.h.
#
#     web-1  /mnt/1 (shared) --+
#     web-2  /mnt/2 (shared) --+-- /d1 /d2 /d3, each checked out by one of them
#     web-3  /mnt/3 (shared) --+
#
# Faults: server or agent killed, a cable out, a slow network, caches dropped; force by another
# client, abort, umount -f. SEED repeats operations and faults, TORTURE_ROUNDS says how many times.
#
# vm-run: --mem 3072 --timeout 14400

. "$(dirname "$0")/../lib.sh"

ROUNDS=${TORTURE_ROUNDS:-${ARCHIL_LONG:+500}}
ROUNDS=${ROUNDS:-20}
MS=${TORTURE_MS:-${ARCHIL_LONG:+2000}}
MS=${MS:-800}			# of work in a round
EVERY=10		# rounds between two looks at the whole store
SEED=${SEED:-$RANDOM}
echo "# seed $SEED"

# do_fault COMMAND ARG...: what the program asks for; answers "ok" or what is wrong
do_fault() {
	local n=${2-}
	case $1 in
	mount) cmount "$n" "$3" disk "$4";;
	kill-server) kill_server;;
	start-server) start_server;;
	kill-agent) kill_agent "$n";;
	start-agent) start_agent "$n";;
	cut) cut "$n";;
	heal) heal "$n";;
	slow) in_client "$n" tc qdisc add dev eth0 root netem delay 20ms 10ms limit 100000;;
	quick) in_client "$n" tc qdisc del dev eth0 root;;
	check) stop_server && archil-server check "$STORE" >&2 && start_server;;
	hang) echo t >/proc/sysrq-trigger;;
	*) false;;
	esac
}

check 'the checker finds what is wrong, and takes what is right' torture --self-test "$SEED"

modprobe sch_netem
net_up 3
start_server
for n in 1 2 3; do
	start_agent $n
done

# what it has found, by itself
must cmount 1 shared,commit=600 disk /mnt/1
must cmount 2 shared disk /mnt/2
must mkdir /mnt/1/grown
head -c 65536 /dev/zero | tr '\0' x >/mnt/1/grown/up
truncate -s 98304 /mnt/1/grown/up
head -c 65536 /dev/zero | tr '\0' x >/mnt/1/grown/down
truncate -s 49152 /mnt/1/grown/down
must sync /mnt/1/grown
is 'nobody sees the size that truncate gave without the bytes below it' \
	"$(head -c 65536 /mnt/2/grown/up | tr -d x | wc -c) $(tr -d x </mnt/2/grown/down | wc -c)" '0 0'
must mkdir /mnt/1/grown/p /mnt/1/grown/p/x /mnt/1/grown/q
must archilctl checkin /mnt/1/grown
must archilctl checkout /mnt/2/grown
must mv /mnt/2/grown/p/x /mnt/2/grown/q/x
must archilctl checkin /mnt/2/grown
must archilctl checkout /mnt/1/grown
check 'a directory that another client has moved can be moved on at once' \
	perl -e 'rename("/mnt/1/grown/q/x", "/mnt/1/grown/p/y") or die $!'
must rm -r /mnt/1/grown/up /mnt/1/grown/down /mnt/1/grown/p /mnt/1/grown/q
must umount /mnt/1
must umount /mnt/2

coproc TORTURE { exec torture "$SEED" "$ROUNDS" "$MS" "$EVERY" /mnt/1 /mnt/2 /mnt/3; }
# gone when it ends
pid=$TORTURE_PID
exec {from}<&"${TORTURE[0]}" {to}>&"${TORTURE[1]}"
while read -r -u "$from" line; do
	case $line in
	'! '*)
		# shellcheck disable=SC2086
		if do_fault ${line#! } {from}<&- {to}>&-; then
			echo ok >&"$to"
		else
			echo "'${line#! }' failed" >&"$to"
		fi;;
	*)	echo "$line";;
	esac
done
check "$ROUNDS rounds" wait "$pid"
exec {from}<&- {to}>&-

check 'the server took all that it was given' bash -c '! grep refused "$1"' - "$LOGS/server"
for n in 1 2 3; do
	must umount /mnt/$n
done
stop_server
check 'the store is in order' archil-server check "$STORE"
