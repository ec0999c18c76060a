#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What is cached of names, attributes and small contents stays right whatever
# memory forgets, and the other client reads what was synced.
#
#     web-1  /mnt/a (shared)   owns /n, changes it at random while caches are dropped
#     web-2  /mnt/b (shared)   reads /n

. "$(dirname "$0")/../lib.sh"

OPS=${ARCHIL_LONG:+20000}
OPS=${OPS:-1500}
SEED=${SEED:-$RANDOM}

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/a/n

# drop WHAT SECONDS: drops caches until killed
drop() { while sleep "$2"; do echo "$1" >/proc/sys/vm/drop_caches; done; }

check 'random changes, nothing dropped' names /mnt/a/n "$OPS" "$SEED"
must rm -rf /mnt/a/n/d0 /mnt/a/n/d1 /mnt/a/n/d2 /mnt/a/n/d3 /mnt/a/n/d4 /mnt/a/n/d5 \
	/mnt/a/n/d6 /mnt/a/n/d7
is 'all is gone' "$(ls /mnt/a/n)" ''

drop 3 0.2 & dropper=$!
check 'the same while caches are dropped' names /mnt/a/n "$OPS" "$((SEED + 1))"
kill $dropper

must archilctl checkin /mnt/a/n
tree /mnt/a/n >/tmp/a.tree
tree /mnt/b/n >/tmp/b.tree
check 'the other client sees the same' cmp /tmp/a.tree /tmp/b.tree

must archilctl checkout /mnt/b/n
must rm -rf /mnt/b/n/d0 /mnt/b/n/d1 /mnt/b/n/d2 /mnt/b/n/d3 /mnt/b/n/d4 /mnt/b/n/d5 \
	/mnt/b/n/d6 /mnt/b/n/d7
drop 2 0.1 & dropper=$!
check 'random changes by the other client, names dropped' names /mnt/b/n "$OPS" "$((SEED + 2))"
kill $dropper

echo '# ---- who lists a directory has read a part of it, and the rest of it changes'
must mkdir /mnt/b/half /mnt/b/half/in /mnt/b/half/out
must touch /mnt/b/half/in/{1..40}
must ln /mnt/b/half/in/* /mnt/b/half/out/
must sync -f /mnt/b
echo 2 >/proc/sys/vm/drop_caches
check 'a name is removed that is read already' halfway /mnt/b/half/in rm /mnt/b/half/in/40
check 'it does not come back' [ ! -e /mnt/b/half/in/40 ]
is 'nor in a listing' "$(find /mnt/b/half/in -type f | wc -l)" 39
echo 2 >/proc/sys/vm/drop_caches
check 'a name is moved away' halfway /mnt/b/half/in mv /mnt/b/half/in/39 /mnt/b/half/out/new
check 'it does not come back' [ ! -e /mnt/b/half/in/39 ]
check 'and is where it went' [ /mnt/b/half/out/new -ef /mnt/b/half/out/39 ]
is 'nor in a listing' "$(find /mnt/b/half/in -type f | wc -l)" 38
check 'all of it goes' rm -r /mnt/b/half/in /mnt/b/half/out
