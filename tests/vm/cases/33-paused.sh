#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The owner's whole machine stands still, its folder is taken by force, and it goes on where
# it was: it learns so, and nothing that it had under way changes the disk. Then its power is
# cut: what it owned stays its own until it is forced away, or until it is back, restarted.
# Another machine that comes with its client id is refused while it is there.
#
#     host 1   server; web-1  /mnt/b (shared)   looks, and takes
#     host 2   web-2  /mnt/a (shared)           owns /d, writes and syncs
#
# vm-run: --hosts 2 --timeout 400

. "$(dirname "$0")/../lib.sh"

sum() { echo 1 >/proc/sys/vm/drop_caches; md5sum <"$1"; }
owned() { archil-server delegations "$STORE" disk --json | grep -c "\"path\": \"$1\""; }

if [ "$HOST" = 2 ]; then
	(umask 077; get token >"$TOKENS/disk")
	begin=$SECONDS
	start_agent 2
	must cmount 2 shared disk /mnt/a
	if [ "${BOOT:-1}" -gt 1 ]; then
		took=$((SECONDS - begin))
		check "restarted, it mounts within $(patience 5) s: $took" test $took -le "$(patience 5)"
		is 'and owns nothing that was left over' "$(archilctl delegations /mnt/a | awk 'NR > 1')" ''
		fails_with - 'Read-only' rm /mnt/a/e/synced
		must archilctl checkout /mnt/a/e
		is 'what was synced is there' "$(cat /mnt/a/e/synced)" synced
		check 'and it works on' bash -c 'echo more >>/mnt/a/e/synced && sync /mnt/a/e/synced'
		barrier back
		barrier seen
		must umount /mnt/a
		barrier end
		exit
	fi
	must mkdir /mnt/a/d
	fence /mnt/a/d/f >/tmp/acked &
	writer=$!
	sleep 2
	barrier writing
	check 'it learns what has happened' wait_until 60 grep -q . /tmp/acked
	wait $writer
	put acked "$(cat /tmp/acked)"
	must mkdir /mnt/a/e
	echo synced >/mnt/a/e/synced
	must sync /mnt/a/e/synced
	must mkdir /mnt/a/g
	cp /mnt/a/e/synced /mnt/a/g/synced
	must sync /mnt/a/g/synced
	echo lost >/mnt/a/e/lost
	barrier dirty
	sleep 1000
fi

must modprobe archil
start_server
put token "$(<"$TOKENS/disk")"
start_agent 1
must cmount 1 shared disk /mnt/b
barrier writing
pause 2
sleep 1
check 'forced while the owner stands still' timeout 30 archilctl checkout --force --yes /mnt/b/d
first=$(sum /mnt/b/d/f)
sleep 2
go_on 2
read -ra acked <<<"$(get acked)"
is 'the old owner went on to an error' "${acked[0]}" EIO
sleep 1
is 'nothing arrived later' "$(sum /mnt/b/d/f)" "$first"
check 'what it was told was durable is' fence /mnt/b/d/f "${acked[@]}"

barrier dirty
power_off 2
sleep 1
is 'a dead client keeps what it owned' "$(owned /e)" 1
fails_with - 'owned by client web-2' timeout 20 archilctl checkout /mnt/b/e
is 'what it had synced can be read' "$(cat /mnt/b/e/synced)" synced
check 'force takes it' timeout 20 archilctl checkout --force --yes /mnt/b/g
is 'with what was synced' "$(cat /mnt/b/g/synced)" synced
check 'to work on' bash -c 'echo more >>/mnt/b/g/synced && sync /mnt/b/g/synced'
power_on 2
barrier back
is 'what it owned before it died was released, what it has now is listed once' "$(owned /e)" 1
must umount /mnt/b
stop_agent 1
in_background c1 archil-agent --client-id web-2 >>"$LOGS/agent-1" 2>&1
AGENT_PIDS[1]=$!
fails_with - 'client id in use' timeout 60 mount -t archil \
	-o "shared,tokenfile=$TOKENS/disk" "$SERVER_ADDR:$PORT/disk" /mnt/b
is 'the first one goes on' "$(owned /e)" 1
barrier seen
barrier end
