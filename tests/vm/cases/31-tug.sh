#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Ownership of a directory comes and goes, a thousand times, by checkin and by force, while
# many threads on both clients write, store, rename, link and lock in it: no hang, nothing
# that nobody wrote, no dirty page without a delegation (the kernel warns of one).
#
#     web-1  /mnt/a (shared) --+
#                              +-- /t
#     web-2  /mnt/b (shared) --+
#
# vm-run: --timeout 400

. "$(dirname "$0")/../lib.sh"

ROUNDS=${ARCHIL_LONG:+10000}
ROUNDS=${ROUNDS:-1000}
SEED=${SEED:-$RANDOM}
echo "# seed $SEED"

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/a/t
set_rtt 0.5

check 'everybody comes to an end, and what is there was written' tug /mnt/a/t /mnt/b/t "$ROUNDS" "$SEED"
check 'the server took all that it was given' bash -c '! grep refused "$1"' - "$LOGS/server"
# what was lost is said once
sync -f /mnt/a /mnt/b 2>/dev/null
must sync -f /mnt/a /mnt/b
sleep 1.1
tree /mnt/a >/tmp/a.tree
tree /mnt/b >/tmp/b.tree
check 'both clients see the same' cmp /tmp/a.tree /tmp/b.tree
must umount /mnt/a
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
