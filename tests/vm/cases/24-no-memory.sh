#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Allocations of the kernel's fail, here and there, for whoever works on a mount, and for
# whoever mounts and unmounts: ENOMEM or success, nothing lost, nothing left over. Needs
# failslab: `tests/vm/run --kernel debug`.
#
#     web-1  /mnt/a (shared)  works, without memory now and then
#     web-2  /mnt/b (shared)  compares

. "$(dirname "$0")/../lib.sh"

FAILSLAB=/sys/kernel/debug/failslab
[ -e $FAILSLAB ] || skip 'this kernel has no failslab'
ROUNDS=${ARCHIL_LONG:+20000} MOUNTS=${ARCHIL_LONG:+300}
ROUNDS=${ROUNDS:-1500} MOUNTS=${MOUNTS:-40}
SEED=${SEED:-$RANDOM}
echo "# seed $SEED"

# fail_slab PERCENT: for tasks that ask for it, in allocations that may sleep too
fail_slab() {
	echo Y >$FAILSLAB/task-filter
	echo N >$FAILSLAB/ignore-gfp-wait
	echo -1 >$FAILSLAB/times
	echo 0 >$FAILSLAB/verbose
	echo "$1" >$FAILSLAB/probability
}

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/a/n /mnt/a/m
fail_slab 3
check 'ENOMEM or success' nomem /mnt/a/n "$ROUNDS" "$SEED"
fail_slab 15
check 'the same with more failures' nomem /mnt/a/m 300 "$((SEED + 1))"
fail_slab 0
must sync -f /mnt/a
sleep 1.1
tree /mnt/a >/tmp/a.tree
tree /mnt/b >/tmp/b.tree
check 'the other client sees the same' cmp /tmp/a.tree /tmp/b.tree
must umount /mnt/a

# a client without memory for its FIN leaves the server's end half closed for this long
in_net server bash -c 'echo 2 >/proc/sys/net/ipv4/tcp_fin_timeout'
fail_slab 1
check 'mounting and unmounting' in_client 1 nomem mount "$SERVER_ADDR:$PORT/disk" /mnt/a \
	"shared,token=$(<"$TOKENS/disk")" "$MOUNTS"
fail_slab 0
must cmount 1 shared disk /mnt/a
tree /mnt/a >/tmp/b.tree
check 'and all is there' cmp /tmp/a.tree /tmp/b.tree
