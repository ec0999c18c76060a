#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module is loaded and unloaded fifty times, a disk mounted and unmounted two
# hundred times, in every way of mounting; nothing is left over: no module reference,
# slab object, thread, socket, descriptor, session, delegation, memory.
#
#     web-1  mounts, works a little, unmounts, again and again
#     web-2  /mnt/b (shared)   stays mounted

. "$(dirname "$0")/../lib.sh"

LOADS=${ARCHIL_LONG:+500} MOUNTS=${ARCHIL_LONG:+5000}
LOADS=${LOADS:-50} MOUNTS=${MOUNTS:-200}
SOURCE=$SERVER_ADDR:$PORT/disk

# objects in use in our slab caches; what KASAN keeps back for a while is not
slabs() {
	local f
	for f in /sys/kernel/slab/archil*/shrink; do
		[ ! -w "$f" ] || echo 1 >"$f"
	done
	awk '/^archil/ { sum += $2 } END { print sum + 0 }' /proc/slabinfo
}
few_slabs() { [ "$(slabs)" -le "$1" ]; }
fds() { local f=(/proc/"$1"/fd/*); echo ${#f[@]}; }
server_socks() { readlink /proc/"$1"/fd/* | grep -c '^socket:'; }
few_socks() { [ "$(server_socks "$SERVER_PID")" -le "$1" ]; }
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }
meminfo() { awk "/^$1:/ { print \$2 }" /proc/meminfo; }
# what is free, or grows with what was done: the server, its store and the logs, which lie in memory
available_now() {
	local kb
	sync
	echo 3 >/proc/sys/vm/drop_caches
	kb=$(du -sck "$STORE" "$LOGS" | awk 'END { print $1 }')
	echo $(($(meminfo MemAvailable) + $(rss "$SERVER_PID") + kb))
}
# the same when it has come to rest: for seconds after much work it still moves, by megabytes
available() {
	local i now was
	was=$(available_now)
	for ((i = 0; i < 20; i++)); do
		sleep 1
		now=$(available_now)
		[ $((now - was)) -gt 512 ] || [ $((was - now)) -gt 512 ] || break
		was=$now
	done
	echo "$now"
}

net_up 2
echo "# ---- loading $LOADS times"
must modprobe archil
must rmmod archil
kb=$(meminfo SUnreclaim)
loads() {
	local i
	for ((i = 0; i < LOADS; i++)); do
		modprobe archil || return
		[ $((i % 10)) != 0 ] || grep -qw archil /proc/filesystems || return
		rmmod archil || return
	done
}
check "loaded and unloaded" loads
is 'the file system is unknown again' "$(grep -cw archil /proc/filesystems)" 0
is 'and /dev/archil is gone' "$(ls /dev/archil 2>/dev/null)" ''
grown=$(($(meminfo SUnreclaim) - kb))
check "memory of the kernel's own has grown by $grown KiB" test $grown -lt 4096

echo "# ---- mounting $MOUNTS times"
start_server
start_agent 1
start_agent 2
must cmount 2 shared disk /mnt/b
must mkdir /mnt/b/theirs /mnt/b/ours
must archilctl checkin /mnt/b/ours
echo data >/mnt/b/theirs/f
must sync -f /mnt/b
mkdir -p /mnt/a

# Ways to mount, and something to do then; in one shell, with few processes.
cat >/tmp/mounts.sh <<'END'
# mounts.sh TIMES SOURCE TOKENFILE
for ((i = 0; i < $1; i++)); do
	case $((i % 8)) in
	0|4) opts=shared src=$2;;
	1|5) opts=ro src=$2;;
	2|6) opts=defaults src=$2:/ours;;
	3|7) opts=commit=1,cache_ttl=0 src=$2:/ours;;
	esac
	/sbin/mount.archil "$src" /mnt/a -o "$opts,tokenfile=$3" || exit
	case $((i % 8)) in
	0) read -r line </mnt/a/theirs/f; [ "$line" = data ] || exit;;
	2) echo "$i" >"/mnt/a/f$((i % 16))" || exit;;
	# dirty, and a file removed while it is open
	3) exec 5>/mnt/a/open; echo x >&5; rm /mnt/a/open; mkdir -p "/mnt/a/d$((i % 24))"; exec 5>&-;;
	# busy
	4) exec 5</mnt/a/theirs/f; ! /sbin/umount.archil /mnt/a 2>/dev/null || exit 1; exec 5<&-;;
	5) ! { echo x >/mnt/a/theirs/f; } 2>/dev/null || exit 1;;
	# another mount that is refused
	6) ! /sbin/mount.archil "$2" /mnt -o "tokenfile=$3" 2>/dev/null || exit 1;;
	# dirty, and lost
	7) echo "$i" >/mnt/a/lost; /sbin/umount.archil -f /mnt/a || exit; continue;;
	esac
	/sbin/umount.archil /mnt/a || exit
done
END
rounds() { in_client 1 bash /tmp/mounts.sh "$1" "$SOURCE" "$TOKENS/disk"; }

# the first ones fill caches that stay, and what memory is free is not settled before
check 'the first 64' rounds 64
agent_fds=$(fds "${AGENT_PIDS[1]}")
server_fds=$(fds "$SERVER_PID") socks=$(server_socks "$SERVER_PID")
agent_rss=$(rss "${AGENT_PIDS[1]}") server_rss=$(rss "$SERVER_PID")
before=$(available) objects=$(slabs) refs=$(</sys/module/archil/refcnt)
begin=$SECONDS
check 'all of them' rounds "$MOUNTS"
echo "# took $((SECONDS - begin)) s"
after=$(available)
is 'nothing is mounted' "$(archil_mounts)" /mnt/b
is 'references to the module' "$(</sys/module/archil/refcnt)" "$refs"
check "no more objects in our caches than before, $objects" wait_until 10 few_slabs $((objects + 20))
check "no more descriptors of the agent than before, $agent_fds" \
	test "$(fds "${AGENT_PIDS[1]}")" -le "$agent_fds"
check "no more sockets of the server than before, $socks" wait_until 5 few_socks "$socks"
# the store's engine opens and closes tables as it compacts them
grown=$(($(fds "$SERVER_PID") - server_fds))
check "the server has $grown more descriptors" test $grown -lt $((MOUNTS / 16))
grown=$(($(rss "${AGENT_PIDS[1]}") - agent_rss))
check "the agent has grown by $grown KiB" test $grown -lt $((512 + MOUNTS))
grown=$(($(rss "$SERVER_PID") - server_rss))
check "the server has grown by $grown KiB" test $grown -lt $((8192 + MOUNTS * 4))
check "available memory is $after KiB, before $before" test "$after" -gt $((before - 20480))
is 'one session is left at the server' \
	"$(archil-server session list "$STORE" disk --json | grep -c '"client"')" 1
is 'and what it owns' \
	"$(archil-server delegations "$STORE" disk --json | grep -o '"path": "[^"]*"')" '"path": "/theirs"'
check 'the other client did not notice' bash -c 'echo more >>/mnt/b/theirs/f && sync /mnt/b/theirs/f'
