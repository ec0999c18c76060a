#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Server and client on one machine of 512 MB, and more dirty data than that: written, stored
# through a mapping, in small files, all without a sync; also by a writer with a small memory
# of its own, and while the server is away for a time. It goes on, nobody is killed for want of
# memory, and everything is there. Four times the memory in the long form, just more than it in
# the short one: emulated machines are slow.
#
#     512 MB:  writer -- web-1  /mnt/a (shared) --+
#              in a cgroup of 32 MB               +-- server -- disk
#              reader -- web-2  /mnt/b (shared) --+
#
# vm-run: --mem 512 --timeout 900

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../watch.sh"

MB=${ARCHIL_LONG:+2048}
MB=${MB:-540}
SEED=${SEED:-$RANDOM}
echo "# seed $SEED"
GROUP=/sys/fs/cgroup/writer

# in_group CMD...: in the cgroup
in_group() { (echo $BASHPID >$GROUP/cgroup.procs && exec "$@"); }

killed() { dmesg | grep -E 'oom-kill|Out of memory|Memory cgroup out of memory'; }

look() {
	echo 3 >/proc/sys/vm/drop_caches
	within 300 "$2" dirty check "$1" "$3" "$SEED"
}

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b

echo '# ---- more than there is'
must mkdir /mnt/a/all
within 600 "$MB MB are written" dirty write /mnt/a/all "$MB" "$SEED"
within 300 'and synced' sync -f /mnt/a
look /mnt/a/all 'they are there' "$MB"

echo '# ---- in a small cgroup'
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
must mkdir $GROUP
echo 32M >$GROUP/memory.max
must mkdir /mnt/a/group
within 300 '64 MB by one who has 32' in_group dirty write /mnt/a/group 64 "$SEED"
within 300 'and synced' sync -f /mnt/a
grep -E '^(max|oom|oom_kill) ' $GROUP/memory.events
look /mnt/b/group 'the other client sees them' 64

echo '# ---- without a server for a time'
must mkdir /mnt/a/away /mnt/a/far
in_group dirty write /mnt/a/away 60 "$SEED" & pids=($!)
dirty write /mnt/a/far 60 "$SEED" & pids+=($!)
sleep 2
kill_server
sleep 6
within 20 'the machine goes on' bash -c 'cp -a /usr/share/perl5 /srv/copy && sync -f /srv/copy && rm -r /srv/copy'
start_server
ends_within 300 'it goes on in the cgroup' "${pids[0]}"
ends_within 300 'and beside it' "${pids[1]}"
within 300 'and is synced' sync -f /mnt/a
look /mnt/b/away 'the other client sees what was written in the cgroup' 60
look /mnt/b/far 'and the rest' 60
is 'nobody was killed for want of memory' "$(killed)" ''
within 60 'unmounted' umount /mnt/a
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
