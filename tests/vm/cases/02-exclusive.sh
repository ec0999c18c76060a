#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Exclusive mounts: one at a time, or of disjoint subdirectories.
#
#     disk  /            web-1 exclusive           then nobody else exclusive
#           +-- left     web-1 exclusive --+
#           +-- right    web-2 exclusive --+       side by side
#           web-3 shared: reads beside either

. "$(dirname "$0")/../lib.sh"

owner() { archilctl delegations --json "$1" | tr -d ' \n'; }
mounted() { grep -q " $1 archil " /proc/mounts; }

net_up 3
start_server
for n in 1 2 3; do
	start_agent $n
done

must cmount 1 '' disk /mnt/a
check 'it owns the root from the mount on' \
	bash -c "archilctl delegations /mnt/a | grep -q 'live *mount .* /mnt/a$'"
check 'what is in it can be changed' mkdir -p /mnt/a/left/l /mnt/a/right/r
echo old >/mnt/a/left/f
# others know of left when it is durable
must sync -f /mnt/a

mkdir -p /mnt/b /mnt/c
fails_with 32 'owned by client web-1 \(since .*[0-9]+:[0-9]+:[0-9]+\)' cmount 2 '' disk /mnt/b
fails_with 32 'web-1' cmount 2 '' disk:/left /mnt/b
check 'a refused mount leaves nothing' bash -c '! grep " /mnt/b archil " /proc/mounts'
fails_with 32 'web-1' cmount 1 '' disk /mnt/b
ok 'and a second mount of the same client is another session'

must cmount 3 shared disk /mnt/c
must sync -f /mnt/a
is 'a shared mount beside it reads' "$(</mnt/c/left/f)" old
expect_errno EBUSY touch /mnt/c/left/f
expect_errno EBUSY mkdir /mnt/c/middle
fails_with 3 'owned by client web-1' archilctl checkout /mnt/c/left
is 'and owns nothing' "$(owner /mnt/c)" '[]'

echo unsynced >/mnt/a/left/f
check 'unmount' umount /mnt/a
check 'lets the next one in' cmount 2 '' disk /mnt/b
is 'which sees what was not synced before the unmount' "$(</mnt/b/left/f)" unsynced
sleep 1.1
is 'and so does the shared one' "$(</mnt/c/left/f)" unsynced
must umount /mnt/b

# disjoint subdirectories
must cmount 1 '' disk:/left /mnt/a
must cmount 2 '' disk:/right /mnt/b
check 'both can be written' bash -c 'echo 1 >/mnt/a/mine && echo 2 >/mnt/b/mine'
is 'each is its own root' "$(ls /mnt/a) $(ls /mnt/b)" 'f
l
mine mine
r'
is 'the source is in /proc/mounts' "$(awk '$2 == "/mnt/a" { print $1 }' /proc/mounts)" \
	"$SERVER_ADDR:$PORT/disk:/left"
fails_with 32 'web-[12]' in_client 3 mount -t archil -o "tokenfile=$TOKENS/disk" \
	"$SERVER_ADDR:$PORT/disk" /mnt
fails_with 32 'web-1' cmount 2 '' disk:/left/l /mnt/d
must sync -f /mnt/a
must sync -f /mnt/b
sleep 1.1
is 'the shared one sees both' "$(</mnt/c/left/mine)$(</mnt/c/right/mine)" 12
expect_errno EBUSY touch /mnt/c/right/mine
check 'the disk has its root free' mkdir /mnt/c/middle
must umount /mnt/a /mnt/b

# something owned by a shared mount is in the way of an exclusive one
fails_with 32 'middle.* owned by client web-3' cmount 1 '' disk /mnt/a
must archilctl checkin /mnt/c/middle
must cmount 1 '' disk /mnt/a
must umount /mnt/a

# ro mounts own nothing, need nothing, get in always
must cmount 2 '' disk /mnt/b
must cmount 1 ro disk /mnt/a
is 'a ro mount owns nothing' "$(owner /mnt/a)" '[]'
is 'and reads' "$(</mnt/a/left/f)" unsynced
expect_errno EROFS touch /mnt/a/left/f
expect_errno EROFS mkdir /mnt/a/x
fails_with 6 'read-only' archilctl checkout /mnt/a/left

# a bind mount is the same session: it lasts until the last is gone
mkdir -p /mnt/bound
must mount --bind /mnt/b/left /mnt/bound
must umount /mnt/b
check 'the bind mount goes on' touch /mnt/bound/later
fails_with 32 'web-2' cmount 3 '' disk /mnt/d
must umount /mnt/bound
check 'and when it is gone, so is the ownership' cmount 3 '' disk /mnt/d
check 'with what was done last' test -e /mnt/d/left/later
check 'nothing is mounted that should not be' bash -c '! grep " /mnt/bound archil " /proc/mounts'

# a mount in the way can be forced; its own case has the details
must cmount 1 force disk /mnt/e
expect_errno EBUSY touch /mnt/d/left/new
check 'the one who forced can write' touch /mnt/e/left/new
