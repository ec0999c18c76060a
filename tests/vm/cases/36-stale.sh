#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Nothing old lands on what is new: WRITEs of a connection that broke, of a program that was
# killed in O_DIRECT, and of before a truncation.
#
#     web-1  /mnt/a (shared) --- lossproxy ---+--- server
#     web-2  /mnt/b (shared) -----------------+

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lossproxy.sh"

SIZE=$((3 << 20))

says() { [ "$(grep -c "$1" $SAID)" -ge "$2" ]; }
# fill CHARACTER FILE [DD-OPTION...]
fill() { head -c $SIZE /dev/zero | tr '\0' "$1" | dd of="$2" bs=1M iflag=fullblock status=none "${@:3}"; }
# all CHARACTER FILE: is it full of that?
all() { [ "$(stat -c %s "$2")" = $SIZE ] && [ -z "$(tr -d "$1" <"$2" | head -c 1)" ]; }
# everywhere CHARACTER NAME
everywhere() {
	sleep 1.1
	check "$2 is all $1 on the other client" all "$1" "/mnt/b/$2"
	echo 1 >/proc/sys/vm/drop_caches
	check 'and on its own, read anew' all "$1" "/mnt/a/$2"
}

net_up 2
start_server
start_agent 1
start_agent 2
start_proxy
must proxied /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/a/d

echo '# ---- WRITEs in an old connection, delivered after newer ones'
fill 0 /mnt/a/d/late conv=fsync
echo 'hold WRITE 3' >&9
sleep 0.1
fill 1 /mnt/a/d/late conv=notrunc,fsync &
pid=$!
check 'they are held back' wait_until 20 says '^held' 1
check 'and sent again on a new connection' wait $pid
check 'newer ones' fill 2 /mnt/a/d/late conv=notrunc,fsync
echo release >&9
check 'the old ones are delivered' wait_until 10 says '^released' 1
sleep 0.5
everywhere 2 d/late

echo '# ---- the same, while the server reads nothing: both wait in its sockets'
echo 'hold WRITE 3' >&9
sleep 0.1
fill 3 /mnt/a/d/late conv=notrunc,fsync &
pid=$!
check 'they are held back' wait_until 20 says '^held' 2
kill -STOP "$SERVER_PID"
echo release >&9
check 'the old ones are delivered' wait_until 10 says '^released' 2
sleep 1
kill -CONT "$SERVER_PID"
check 'all are answered' wait $pid
check 'newer ones' fill 4 /mnt/a/d/late conv=notrunc,fsync
everywhere 4 d/late

echo '# ---- programs killed in the middle of O_DIRECT'
fill 0 /mnt/a/d/direct conv=fsync
set_rtt 40
for n in 5 6 7; do
	fill $n /mnt/a/d/direct conv=notrunc oflag=direct &
	pid=$!
	sleep 0.$((RANDOM % 3 + 1))
	kill -KILL $pid
	pkill -KILL -x dd
	wait $pid 2>/dev/null
	[ -z "$(tr -d '05-7' </mnt/a/d/direct | head -c 1)" ] || fail 'something else is in it'
	# what the killed one has left on its way does not come after this
	check "written over, $n" fill 9 /mnt/a/d/direct conv=notrunc,fsync
	everywhere 9 d/direct
	fill 0 /mnt/a/d/direct conv=notrunc,fsync
done
set_rtt 0

echo '# ---- truncation and holes against WRITE, in every order'
must mkdir /mnt/a/quiet /mnt/a/killed /mnt/a/random
check 'in every order' orders /mnt/a/quiet
orders /mnt/a/killed >/tmp/orders 2>&1 &
pid=$!
fileops /mnt/a/random 1500 "${SEED:-1}" >/tmp/fileops 2>&1 &
random=$!
for ((i = 0; i < 4; i++)); do
	sleep 1.$((RANDOM % 10))
	kill_server
	start_server
done
check 'the same while the server is killed' wait $pid || cat /tmp/orders
check 'and at random' wait $random || tail -n 45 /tmp/fileops
sleep 1.1
check 'the other client agrees' orders -c /mnt/b/quiet
check 'also on those' orders -c /mnt/b/killed
must umount /mnt/a
must umount /mnt/b
stop_proxy
stop_server
check 'the store is in order' archil-server check "$STORE"
