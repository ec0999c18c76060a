#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The store's file system fills up, by two clients who work in all ways, and by something else
# beside the store: what grows is refused as it is done, nothing that was accepted is lost,
# removing and shrinking work, and all goes on when there is room again.
#
# vm-run: --timeout 900
#
#     web-1  /mnt/a  /a --+            300 MiB of ext4: the store,
#                         +-- server --and a file beside it
#     web-2  /mnt/b  /b --+

. "$(dirname "$0")/../lib.sh"


MB=300
mkdir -p /srv/full

# kib_avail DIR: that can be written in its file system
kib_avail() { echo $(($(stat -f -c '%a * %S / 1024' "$1"))); }

# same TEXT DIR: both trees are as they were
same() {
	local n
	for n in a b; do
		tree "$2/$n" >/tmp/$n.now
		check "$1: $n" cmp /tmp/$n.tree /tmp/$n.now || diff /tmp/$n.tree /tmp/$n.now | head
	done
}

modprobe loop
must truncate -s ${MB}M /tmp/disk
must mkfs.ext4 -qF -m 0 /tmp/disk
must mount -o loop /tmp/disk /srv/full
STORE=/srv/full/store
net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b

echo '# ---- two clients fill it'
# The second begins first, so that what it gives back later is worth something.
full /mnt/b/b & pid=$!
has_much() { [ -e /mnt/b/b/chunk/80 ]; }
must wait_until "$(patience 60)" has_much
check 'on one client' full /mnt/a/a
check 'on the other' wait $pid
check 'the disk is full' test "$(kib_avail /mnt/a)" -lt 8192
echo "# $(kib_avail /srv/full) KiB are left beside the store"
tree /mnt/a/a >/tmp/a.tree
tree /mnt/b/b >/tmp/b.tree
must umount /mnt/a
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
start_server
must cmount 1 shared disk /mnt/b
same 'what was accepted is there' /mnt/b

echo '# ---- it is emptied'
must archilctl checkout /mnt/b/b
check 'removing works' rm -r /mnt/b/b/chunk /mnt/b/b/bulk /mnt/b/b/small /mnt/b/b/create
room() { [ "$(kib_avail /mnt/b)" -gt 60000 ]; }
check 'there is room again' wait_until 30 room
check 'for new files' bash -c 'head -c 5000000 /dev/urandom >/mnt/b/new && sync /mnt/b/new'

echo '# ---- something else fills it'
must cmount 2 shared disk /mnt/a
must mkdir /mnt/a/c
head -c 3000000 /dev/urandom >/tmp/want
must cp /tmp/want /mnt/a/c/synced
must sync -f /mnt/a
(cd /mnt/a/c && for i in $(seq 200); do echo "$i" >"small.$i"; done)
must cp /tmp/want /mnt/a/c/dirty
dd if=/dev/zero of=/srv/full/other bs=64k 2>/dev/null
show dd if=/dev/zero of=/srv/full/other bs=64k
is 'nothing is left' "$(($(kib_avail /srv/full) / 100))" 0
sync -f /mnt/a 2>/tmp/sync.said &
pid=$!
expect_errno ENOSPC bash -c 'for i in $(seq 1000); do cp /tmp/want /mnt/a/c/more.$i || exit; done'
check 'what was accepted can be read' cmp /tmp/want /mnt/a/c/dirty
check 'and what was there' cmp /tmp/want /mnt/b/c/synced
(cd /mnt/a/c && for i in $(seq 1 2 200); do rm "small.$i" || exit; done) || fail 'removing does not work'
check 'shrinking works' truncate -s 1000 /mnt/a/c/synced
sleep 2
must rm /srv/full/other
check 'all of it gets written when there is room' wait $pid
cat /tmp/sync.said
check 'and what came later' sync -f /mnt/a
check 'the server is there' kill -0 "$SERVER_PID"
rm -f /mnt/a/c/more.*
goes_on() { head -c 2000000 /dev/zero >/mnt/a/c/later && sync /mnt/a/c/later; }
check 'it goes on' wait_until 20 goes_on
tree /mnt/a/c >/tmp/c.tree
must umount /mnt/a
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
start_server
must cmount 1 ro disk /mnt/b
check 'what was accepted is there' cmp /tmp/c.tree <(tree /mnt/b/c)
check 'byte for byte' cmp /tmp/want /mnt/b/c/dirty
is 'and nothing that was removed' "$(find /mnt/b/c -name 'small.*' | wc -l)" 100
check 'what the first client had' cmp /tmp/a.tree <(tree /mnt/b/a)
must umount /mnt/b
stop_server
must umount /srv/full
