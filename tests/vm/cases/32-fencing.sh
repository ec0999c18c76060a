#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# After a force, not one byte of the old owner's reaches the disk, whatever has become of him:
# what the first look shows is what stays.
#
#     web-1  /mnt/a (shared)   owns /N, writes and syncs without a pause; its agent is stopped
#                              or killed, its cable is out, its requests are slow
#     web-2  /mnt/b (shared)   takes /N by force
#
# vm-run: --timeout 400

. "$(dirname "$0")/../lib.sh"

sum() { echo 1 >/proc/sys/vm/drop_caches; md5sum <"$1"; }
nothing() { :; }

# fenced NAME MEANWHILE THEN: the force between two commands that are run
fenced() {
	local d=$1 meanwhile=$2 then=$3 first last writer acked
	echo "# ---- $d"
	must mkdir "/mnt/a/$d"
	fence "/mnt/a/$d/f" >"/tmp/$d.acked" &
	writer=$!
	sleep 2
	$meanwhile
	check "$d: forced" timeout 30 archilctl checkout --force --yes "/mnt/b/$d"
	first=$(sum "/mnt/b/$d/f")
	sleep 1
	$then
	wait_until 30 grep -q . "/tmp/$d.acked" || fail "$d: the old owner does not notice"
	wait "$writer"
	# what was under way has arrived, or never will
	sleep 2
	last=$(sum "/mnt/b/$d/f")
	is "$d: nothing arrived later" "$last" "$first"
	read -ra acked <"/tmp/$d.acked"
	is "$d: the old owner's error" "${acked[0]}" EIO
	check "$d: what it was told was durable is" fence "/mnt/b/$d/f" "${acked[@]}"
	echo new >"/mnt/b/$d/f"
	must sync "/mnt/b/$d/f"
	is "$d: the old owner reads what is new" "$(sleep 1.1; head -c 3 "/mnt/a/$d/f")" new
	must archilctl checkin "/mnt/b/$d"
}

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b
stop_its_agent() { kill -STOP "${AGENT_PIDS[1]}"; }
continue_its_agent() { kill -CONT "${AGENT_PIDS[1]}"; }
kill_its_agent() { kill_agent 1; }
new_agent() { start_agent 1; }
cut_it() { cut 1; }
heal_it() { heal 1; }
# the server reads nothing for a while: what was sent waits in its sockets with the force
pause_server() { kill -STOP "$SERVER_PID"; { sleep 3; kill -CONT "$SERVER_PID"; } & }
slow() { in_client 1 tc qdisc add dev eth0 root netem delay 300ms limit 100000; }
quick() { in_client 1 tc qdisc del dev eth0 root; }

modprobe sch_netem
fenced plain nothing nothing
fenced stopped stop_its_agent continue_its_agent
fenced killed kill_its_agent new_agent
fenced cut cut_it heal_it
fenced slow slow nothing
quick
fenced paused pause_server nothing
