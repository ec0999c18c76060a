#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The server is killed, with SIGKILL, and started again, several times, while two clients
# work. Every program ends well, everything is as the programs remember it, nothing was
# applied twice.
#
#     web-1  /mnt/a  owns /a1 /a2 /atree --+              +-- killed, restarted
#                                          +---- server --+
#     web-2  /mnt/b  owns /b1 /b2 /btree --+              +-- again and again
#            both make files in /free, which nobody owns

. "$(dirname "$0")/../lib.sh"

KILLS=${ARCHIL_LONG:+20}
KILLS=${KILLS:-4}

# trees DIR TAR: unpacks, checks, removes, until told to stop; leaves the last one
trees() {
	local n=0
	while :; do
		mkdir "$1/$n" && tar -C "$1/$n" -xpf "$2" || return
		[ ! -e /tmp/stop ] || break
		tar -C "$1/$n" -df "$2" >/dev/null || return
		rm -r "${1:?}/$n" || return
		n=$((n + 1))
	done
	echo "tree $n stays"
}

# explain TOP: what differs, and what was done to it
explain() {
	diff "/tmp/$1.a" "/tmp/$1.b" | head
	diff "/tmp/$1.a" "/tmp/$1.b" | sed -n 's|^< /\(f[0-9]*\) .*|\1|p' | head -n 1 |
		xargs -I F grep -wF F "/tmp/trace.${1:0:1}" | tail -n 30
}

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/a/a1 /mnt/a/a2 /mnt/a/atree /mnt/b/b1 /mnt/b/b2 /mnt/b/btree /mnt/a/free
must archilctl checkin /mnt/a/free
tar -C / -cf /tmp/tree.tar usr/share/perl5 2>/dev/null || bail 'no tree to unpack'

work=$((KILLS * 10 + 5))
trees /mnt/a/atree /tmp/tree.tar >/tmp/trees.1 2>&1 &
pids=($!)
trees /mnt/b/btree /tmp/tree.tar >/tmp/trees.2 2>&1 &
pids+=($!)
show work /mnt/a/a1 /mnt/a/a2 /mnt/a/free 1 $work
work /mnt/a/a1 /mnt/a/a2 /mnt/a/free 1 $work /tmp/trace.a >/tmp/work.1 2>&1 &
pids+=($!)
show work /mnt/b/b1 /mnt/b/b2 /mnt/b/free 2 $work
work /mnt/b/b1 /mnt/b/b2 /mnt/b/free 2 $work /tmp/trace.b >/tmp/work.2 2>&1 &
pids+=($!)

for ((i = 1; i <= KILLS; i++)); do
	sleep $((i % 3 + 4)).$((RANDOM % 10))
	kill_server
	sleep $((i % 2 * 3)).$((RANDOM % 10))
	start_server
done
touch /tmp/stop
texts=('unpacking and removing trees on client 1' 'and on client 2'
	'random changes on client 1, and as they are remembered' 'and on client 2')
outs=(trees.1 trees.2 work.1 work.2)
for i in 0 1 2 3; do
	check "${texts[i]}" wait "${pids[i]}"
	cat "/tmp/${outs[i]}"
done

for m in a b; do
	check "connection of client $m is up" \
		bash -c "archilctl status --json /mnt/$m | grep -q '\"connection\": \"up\"'"
	archilctl status /mnt/$m | grep -E '^(connection|log|requests)'
done
check 'something was sent again' bash -c \
	"archilctl status --json /mnt/a | grep -q '\"resent\": [1-9]'"
must sync -f /mnt/a
must sync -f /mnt/b
sleep 1.1
for top in a1 a2 b1 b2 free; do
	tree /mnt/a/$top >/tmp/$top.a
	tree /mnt/b/$top >/tmp/$top.b
	check "$top is the same on both ($(wc -l <"/tmp/$top.a") entries)" cmp /tmp/$top.a /tmp/$top.b ||
		explain $top
done
mkdir /tmp/ref
must tar -C /tmp/ref -xpf /tmp/tree.tar
tree /tmp/ref/usr/share/perl5 >/tmp/tree.want
tree "$(echo /mnt/b/atree/*/usr/share/perl5)" >/tmp/tree.a
check 'the last tree of client 1 is whole' cmp /tmp/tree.want /tmp/tree.a
tree "$(echo /mnt/a/btree/*/usr/share/perl5)" >/tmp/tree.b
check 'the last tree of client 2 is whole' cmp /tmp/tree.want /tmp/tree.b

for n in a b; do
	check "what client $n is granted did not add up" \
		test "$(archilctl status --json /mnt/$n | sed -n 's/.*"credit_bytes": \([0-9]*\).*/\1/p')" \
		-le $((600 << 20))
done

must umount /mnt/a
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
start_server
must cmount 1 ro disk /mnt/a
for top in a1 b2 free; do
	tree /mnt/a/$top >/tmp/$top.b
	check "$top is the same in the next mount" cmp /tmp/$top.a /tmp/$top.b
done
