#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The shortest way through everything: if this fails, look here first.
#
#     web-1  /mnt/a (shared) ----+
#                                +---- server, disk "disk"
#     web-2  /mnt/b (shared) ----+

. "$(dirname "$0")/../lib.sh"

# the other client's view lags by cache_ttl at most
later() { sleep 1.1; }

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b
is 'the type in /proc/mounts' "$(awk '$2 == "/mnt/a" { print $3 }' /proc/mounts)" archil
check 'its options are in /proc/mounts' \
	grep -q ' /mnt/a archil rw,.*shared,cache_ttl=1,commit=5,timeo=30' /proc/mounts
check 'no token is in /proc/mounts' bash -c "! grep -qF '$(<"$TOKENS/disk")' /proc/mounts"

check 'mkdir' mkdir /mnt/a/d
check 'create and write' bash -c 'echo hello >/mnt/a/d/f && echo more >>/mnt/a/d/f'
is 'the owner reads what it wrote' "$(</mnt/a/d/f)" $'hello\nmore'
check 'sync' sync -f /mnt/a/d
later
is 'the other reads it' "$(</mnt/b/d/f)" $'hello\nmore'
expect_errno EBUSY touch /mnt/b/d/f
expect_errno EBUSY mkdir /mnt/b/d/e

check 'rename' mv /mnt/a/d/f /mnt/a/d/g
must sync -f /mnt/a/d
later
is 'the other sees the new name only' "$(ls /mnt/b/d)" g
check 'unlink' rm /mnt/a/d/g
must sync -f /mnt/a/d
later
is 'the other sees no name' "$(ls /mnt/b/d)" ''

check 'delegations are listed' bash -c 'archilctl delegations /mnt/a | grep -q "live *dynamic.* /mnt/a/d$"'
check 'status' archilctl status /mnt/a
check 'status in JSON' bash -c 'archilctl status --json /mnt/a | grep -q "\"connection\": \"up\""'
check 'checkin' archilctl checkin /mnt/a/d
check 'and the other can own it' archilctl checkout /mnt/b/d
check 'and change it' touch /mnt/b/d/mine

check 'unmount' umount /mnt/a
check 'unmount of the other' umount /mnt/b
must cmount 1 '' disk /mnt/a
is 'what was written is there in the next mount' "$(find /mnt/a -mindepth 1 | sort | tr '\n' ' ')" \
	'/mnt/a/d /mnt/a/d/mine '
